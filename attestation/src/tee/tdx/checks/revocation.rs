//! Whether platform or authority has been revoked, at the time of appraisal. The root's list is about
//! the authority (and who signs collateral), the authority's list about platforms.

use super::{Case, NO_LEAF};
use crate::endorsement::{Certificate, Crl, Endorsements, rfc3339};
use crate::policy::Demand;
use crate::result::{Check, CheckName};
use crate::tee::tdx::chain::Chain;

/// The lists that carry the names of this chain's authorities, each verified once.
#[derive(Debug, Clone, Default)]
pub(in crate::tee::tdx) struct RevocationLists<'a> {
    /// By the PCK authority, and whether its key signed it.
    platforms: Vec<(&'a Crl, bool)>,
    /// By the root.
    authorities: Vec<(&'a Crl, bool)>,
}

impl<'a> RevocationLists<'a> {
    /// Finds and verifies the lists of this chain's authorities.
    pub fn find(chain: &Chain<'a>, endorsements: &'a Endorsements) -> RevocationLists<'a> {
        let by = |issuer: Option<&Certificate>| match issuer {
            Some(issuer) => lists(issuer, endorsements),
            None => Vec::new(),
        };
        RevocationLists { platforms: by(chain.intermediate()), authorities: by(chain.root()) }
    }

    fn all(&self) -> impl Iterator<Item = &(&'a Crl, bool)> {
        self.platforms.iter().chain(&self.authorities)
    }

    /// Whether the root's lists revoke `certificate`.
    pub fn revoke_issued_by_root(&self, certificate: &Certificate, now: i64) -> bool {
        usable(&self.authorities).any(|crl| crl.revokes(&certificate.serial, now))
    }
}

fn lists<'a>(issuer: &Certificate, endorsements: &'a Endorsements) -> Vec<(&'a Crl, bool)> {
    let may_sign = issuer.key_usage.is_some_and(|usage| usage.signs_crls);
    let named = endorsements.crls.iter().filter(|crl| crl.issuer == issuer.subject);
    named.map(|crl| (crl, may_sign && crl.is_signed_by(&issuer.public_key))).collect()
}

/// The genuine ones without anything critical that we do not follow.
fn usable<'l>(lists: &'l [(&Crl, bool)]) -> impl Iterator<Item = &'l Crl> {
    let genuine = lists.iter().filter(|(_, is_genuine)| *is_genuine).map(|(crl, _)| *crl);
    genuine.filter(|crl| !crl.has_unknown_critical)
}

pub(super) fn crl_signature(case: &Case<'_>) -> Check {
    let name = CheckName::CrlSignature;
    let mut all = case.material.crls.all().peekable();
    if all.peek().is_none() {
        return Check::not_required(name, "no revocation list for this chain given");
    }
    let verifies = all.all(|(_, is_genuine)| *is_genuine);
    let got = if verifies { "verifies" } else { "does not verify" };
    Check::judge(name, verifies, "signed by PCK authority and root", got)
}

/// What the genuine lists say of this chain at the time of appraisal.
enum Finding {
    /// Not listed, by lists current at this time.
    Clear { until: i64 },
    /// Listed. A list past its successor's date still tells: revocations are not taken back.
    Revoked(&'static str),
    /// No list speaks for this time.
    Unknown(String),
}

fn finding(case: &Case<'_>) -> Finding {
    let chain = &case.material.chain;
    let Some(leaf) = chain.leaf() else {
        return Finding::Unknown(NO_LEAF.to_owned());
    };
    let Some(intermediate) = chain.intermediate() else {
        return Finding::Unknown("no PCK authority".to_owned());
    };
    let (platforms, authorities) = (&case.material.crls.platforms, &case.material.crls.authorities);
    let of_leaf = of(platforms, leaf, "platform", case.now);
    let of_authority = of(authorities, intermediate, "PCK authority", case.now);
    match (of_leaf, of_authority) {
        (Finding::Revoked(who), _) | (_, Finding::Revoked(who)) => Finding::Revoked(who),
        (Finding::Unknown(why), _) | (_, Finding::Unknown(why)) => Finding::Unknown(why),
        (Finding::Clear { until: one }, Finding::Clear { until: other }) => {
            Finding::Clear { until: one.min(other) }
        }
    }
}

fn of(lists: &[(&Crl, bool)], certificate: &Certificate, who: &'static str, now: i64) -> Finding {
    if usable(lists).any(|crl| crl.revokes(&certificate.serial, now)) {
        return Finding::Revoked(who);
    }
    match usable(lists).find(|crl| crl.is_current(now)) {
        Some(crl) => Finding::Clear { until: crl.next_update.unwrap_or(now) },
        None => Finding::Unknown(match usable(lists).next() {
            Some(crl) => format!(
                "list about the {who} made {}, due again {}",
                rfc3339(crl.this_update),
                crl.next_update.map_or("never".to_owned(), rfc3339)
            ),
            None => format!("no revocation list about the {who} given"),
        }),
    }
}

pub(super) fn revocation(case: &Case<'_>) -> Check {
    let name = CheckName::Revocation;
    let expected = format!("not revoked, by lists current at {}", rfc3339(case.now));
    match finding(case) {
        Finding::Clear { until } => Check::judge(
            name,
            true,
            expected,
            format!("not revoked, lists until {}", rfc3339(until)),
        ),
        Finding::Revoked(who) => Check::judge(name, false, expected, format!("{who} revoked")),
        Finding::Unknown(why) => Check::unknown(name, expected, why),
    }
}

pub(super) fn revocation_known(case: &Case<'_>) -> Check {
    let name = CheckName::RevocationKnown;
    let expected = "current revocation lists of PCK authority and root";
    if case.rules.revocation == Demand::NotRequired {
        return Check::not_required(name, "taken if given");
    }
    match finding(case) {
        Finding::Clear { .. } | Finding::Revoked(_) => Check::judge(name, true, expected, "known"),
        Finding::Unknown(why) => Check::judge(name, false, expected, why),
    }
}
