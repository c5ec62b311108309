//! Revocation of the certificates between leaf and root.

use crate::endorsement::rfc3339;
use crate::policy::{Demand, Tolerance};
use crate::result::{Check, CheckName};
use crate::tee::nvidia::case::Case;
use crate::tee::nvidia::revocation::{Standing, Standings};

pub(super) fn crl_signature(case: &Case<'_>) -> Check {
    let expected = "every list signed by its authority";
    genuine(CheckName::CrlSignature, case.standings.lists, expected, "no revocation list")
}

/// Answers about the device's certificates and about those of its manifests alike.
pub(super) fn ocsp_signature(case: &Case<'_>) -> Check {
    let of_manifests = case.manifests.iter().map(|(_, manifest)| manifest.standings.answers);
    let all = of_manifests.fold(case.standings.answers, |sum, of| (sum.0 + of.0, sum.1 + of.1));
    let expected = "every answer signed by the issuer or a responder it appointed";
    genuine(CheckName::OcspSignature, all, expected, "no OCSP answer about these certificates")
}

fn genuine(name: CheckName, (all, genuine): (usize, usize), expected: &str, none: &str) -> Check {
    if all == 0 {
        return Check::not_required(name, none);
    }
    Check::judge(name, all == genuine, expected, format!("{genuine} of {all} verify"))
}

pub(super) fn revocation(case: &Case<'_>) -> Check {
    let hold = case.all.rules.certificate_hold;
    judge(CheckName::Revocation, &case.standings, hold, case.all.now)
}

/// Refused where one is revoked, unknown where nothing current speaks of one.
pub(super) fn judge(name: CheckName, standings: &Standings, hold: Tolerance, now: i64) -> Check {
    let expected = format!("none revoked, by answers current at {}", rfc3339(now));
    let tolerated = hold == Tolerance::Allowed;
    let (mut until, mut on_hold, mut open) = (i64::MAX, Vec::new(), Vec::new());
    for (certificate, standing) in &standings.of {
        match standing {
            Standing::Good { until: own } => until = until.min(*own),
            Standing::Hold if tolerated => on_hold.push(certificate.as_str()),
            Standing::Hold => {
                return Check::judge(name, false, expected, format!("{certificate}: on hold"));
            }
            Standing::Revoked(reason) => {
                let reason = reason.map_or(String::new(), |reason| format!(" (reason {reason})"));
                return Check::judge(
                    name,
                    false,
                    expected,
                    format!("{certificate}: revoked{reason}"),
                );
            }
            Standing::Unknown(why) => open.push(format!("{certificate}: {why}")),
        }
    }
    if standings.of.is_empty() {
        open.push("no authority between leaf and root".to_owned());
    }
    if !open.is_empty() {
        return Check::unknown(name, expected, open.join("; "));
    }
    let got = match on_hold.as_slice() {
        [] => format!("{} certificates good until {}", standings.of.len(), rfc3339(until)),
        names => format!("{}: on hold, which the policy allows", names.join(", ")),
    };
    Check::judge(name, true, expected, got)
}

pub(super) fn revocation_known(case: &Case<'_>) -> Check {
    let demand = case.all.rules.revocation;
    known(CheckName::RevocationKnown, &case.standings, demand)
}

/// The policy wants an answer about each.
pub(super) fn known(name: CheckName, standings: &Standings, demand: Demand) -> Check {
    let expected = "a current answer about each certificate between leaf and root";
    let open = standings.of.iter().find_map(|(certificate, standing)| match standing {
        Standing::Unknown(why) => Some(format!("{certificate}: {why}")),
        _ => None,
    });
    let got = match open {
        Some(open) => Some(open),
        None if standings.of.is_empty() => Some("no authority between leaf and root".to_owned()),
        None => None,
    };
    super::demanded(name, demand, got.is_none(), expected, got.unwrap_or("known".to_owned()))
}
