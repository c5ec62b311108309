//! Revocation: AMD's root signs a list per product line. It speaks of the certificates the root
//! issued (ASK, ASVK); leaves have serial number 0 and are never listed.

use super::{Case, NO_INTERMEDIATE};
use crate::endorsement::{Crl, Endorsements, rfc3339};
use crate::policy::Demand;
use crate::result::{Check, CheckName};
use crate::tee::snp::chain::Chain;

/// Lists that carry the name of this chain's root, and whether it signed them.
pub(super) fn lists<'a>(chain: &Chain<'a>, endorsements: &'a Endorsements) -> Vec<(&'a Crl, bool)> {
    let Some(root) = chain.root.map(|root| root.certificate) else {
        return Vec::new();
    };
    let may_sign = root.key_usage.is_some_and(|usage| usage.signs_crls);
    let named = endorsements.crls.iter().filter(|crl| crl.issuer == root.subject);
    named.map(|crl| (crl, may_sign && crl.is_signed_by(&root.public_key))).collect()
}

pub(super) fn crl_signature(case: &Case<'_>) -> Check {
    let name = CheckName::CrlSignature;
    let expected = "signed by the root";
    if case.crls.is_empty() {
        return Check::not_required(name, "no revocation list for this chain given");
    }
    let verifies = case.crls.iter().all(|(_, is_genuine)| *is_genuine);
    Check::judge(name, verifies, expected, if verifies { "verifies" } else { "does not verify" })
}

/// What the genuine lists say of this chain's intermediate at the time of appraisal.
enum Finding {
    /// Not listed, by a list current at this time.
    Clear { until: i64 },
    /// Listed. A list past its successor's date still tells: revocations are not taken back.
    Revoked,
    /// No list speaks for this time.
    Unknown(String),
}

fn finding(case: &Case<'_>) -> Finding {
    let Some(intermediate) = case.chain.intermediate else {
        return Finding::Unknown(NO_INTERMEDIATE.to_owned());
    };
    let genuine = case.crls.iter().filter(|(_, is_genuine)| *is_genuine).map(|(crl, _)| *crl);
    let usable: Vec<&Crl> = genuine.filter(|crl| !crl.has_unknown_critical).collect();
    if usable.iter().any(|crl| crl.revokes(&intermediate.serial, case.now)) {
        return Finding::Revoked;
    }
    match usable.iter().find(|crl| crl.is_current(case.now)) {
        Some(crl) => Finding::Clear { until: crl.next_update.unwrap_or(case.now) },
        None => Finding::Unknown(match usable.first() {
            Some(crl) => format!(
                "list made {}, due again {}",
                rfc3339(crl.this_update),
                crl.next_update.map_or("never".to_owned(), rfc3339)
            ),
            None => "no revocation list given".to_owned(),
        }),
    }
}

pub(super) fn revocation(case: &Case<'_>) -> Check {
    let name = CheckName::Revocation;
    let expected = format!("not revoked, by a list current at {}", rfc3339(case.now));
    match finding(case) {
        Finding::Clear { until } => Check::judge(
            name,
            true,
            expected,
            format!("not revoked, list until {}", rfc3339(until)),
        ),
        Finding::Revoked => Check::judge(name, false, expected, "revoked"),
        Finding::Unknown(why) => Check::unknown(name, expected, why),
    }
}

pub(super) fn revocation_known(case: &Case<'_>) -> Check {
    let name = CheckName::RevocationKnown;
    let known = match finding(case) {
        Finding::Clear { .. } | Finding::Revoked => Ok(()),
        Finding::Unknown(why) => Err(why),
    };
    match (case.rules.revocation, known) {
        (Demand::NotRequired, _) => Check::not_required(name, "taken if given"),
        (Demand::Required, Ok(())) => {
            Check::judge(name, true, "a current revocation list", "known")
        }
        (Demand::Required, Err(why)) => Check::judge(name, false, "a current revocation list", why),
    }
}
