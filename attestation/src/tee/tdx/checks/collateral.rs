//! Intel's statements about the platform, and what they make of it.

use data_encoding::HEXLOWER;

use super::certificates::{unknown_critical, validity};
use super::{Case, RevocationLists};
use crate::endorsement::intel::{Dated, TcbStatus};
use crate::endorsement::rfc3339;
use crate::policy::{Accept, Limit};
use crate::result::{Check, CheckName};
use crate::tee::tdx::Material;
use crate::tee::tdx::chain::{Signer, Statements};
use crate::tee::tdx::quote::Quote;
use crate::tee::tdx::tcb::{self, Evaluation, NoLevel};

/// Why there is nothing to go by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::tee::tdx) enum NotEvaluated {
    /// Nobody says which platform it is.
    #[error("no platform: its certificate is missing or malformed")]
    NoPlatform,
    /// No usable statement of one kind.
    #[error("no TCB level matches: {what} {why}")]
    NoStatement {
        /// Which kind.
        what: &'static str,
        /// None, forged, or outside its dates.
        why: String,
    },
    /// Statements that have no level for it.
    #[error(transparent)]
    Level(#[from] NoLevel),
}

/// What the usable collateral makes of the platform.
pub(in crate::tee::tdx) fn evaluation(
    quote: &Quote<'_>,
    material: &Material<'_>,
) -> Result<Evaluation, NotEvaluated> {
    let platform = material.chain.platform.as_ref().ok_or(NotEvaluated::NoPlatform)?;
    let missing = |what, why| NotEvaluated::NoStatement { what, why };
    let info = &material.tcb_infos;
    let info = info.chosen.ok_or_else(|| missing("TCB info", absence(info)))?;
    let identity = &material.qe_identities;
    let identity = identity.chosen.ok_or_else(|| missing("QE identity", absence(identity)))?;
    Ok(tcb::evaluate(platform, &quote.body, &quote.qe_report, info, identity)?)
}

/// Why no statement of this kind can be used.
fn absence<T: Dated>(statements: &Statements<'_, T>) -> String {
    match statements.all.iter().max_by_key(|found| found.statement.issue_date()) {
        None => "about this platform not given".to_owned(),
        Some(found) if found.signer.is_none() => "is not genuine".to_owned(),
        Some(found) => format!("signed, {}, is not usable now", window(found.statement)),
    }
}

fn window(statement: &impl Dated) -> String {
    let (from, to) = (statement.issue_date(), statement.next_update());
    format!("valid {} to {}", rfc3339(from), rfc3339(to))
}

/// What is wrong with a certificate that signs collateral.
pub(in crate::tee::tdx) fn signer_fault(
    signer: &Signer<'_>,
    crls: &RevocationLists<'_>,
    now: i64,
) -> Option<String> {
    let certificate = signer.certificate;
    if !signer.is_issued_by_root {
        Some("not issued by the root of the platform's chain".to_owned())
    } else if !certificate.is_valid_at(now) {
        Some(validity(certificate))
    } else if certificate.is_ca == Some(true) || !certificate.may_sign_data() {
        Some("not made for signing data".to_owned())
    } else if crls.revoke_issued_by_root(certificate, now) {
        Some("revoked".to_owned())
    } else {
        unknown_critical(certificate)
    }
}

/// Every statement about this platform that was given must be signed by a certificate for that.
pub(super) fn collateral_signature(case: &Case<'_>) -> Check {
    let name = CheckName::CollateralSignature;
    let (infos, identities) = (&case.material.tcb_infos, &case.material.qe_identities);
    if infos.all.is_empty() && identities.all.is_empty() {
        return Check::not_required(name, "no collateral about this platform given");
    }
    let forged = match (infos.has_unsigned(), identities.has_unsigned()) {
        (true, _) => Some("TCB info"),
        (_, true) => Some("QE identity"),
        _ => None,
    };
    let expected = "TCB info and QE identity signed, to the last byte, by the certificate for it";
    if !case.material.has_signer {
        return Check::unknown(name, expected, "no certificate of who signs collateral given");
    }
    let got = match forged {
        Some(what) => format!("{what} does not verify: altered, or of another certificate's time"),
        None => "verifies".to_owned(),
    };
    Check::judge(name, forged.is_none(), expected, got)
}

/// Whoever signed collateral that speaks for this time must be allowed to. Collateral outside its
/// dates says nothing, so that its signer does not matter.
pub(super) fn collateral_signer(case: &Case<'_>) -> Check {
    let name = CheckName::CollateralSigner;
    let infos = case.material.tcb_infos.signed(case.now, true).filter_map(|found| found.signer);
    let identities = case.material.qe_identities.signed(case.now, true);
    let signers = infos.chain(identities.filter_map(|found| found.signer));
    let signers: Vec<Signer<'_>> = signers.collect();
    if signers.is_empty() {
        return Check::not_required(name, "no collateral for this time given");
    }
    let expected = "a collateral signing certificate of the same root, inside its dates";
    if case.material.chain.root().is_none() {
        return Check::unknown(name, expected, "no root");
    }
    let fault = signers.iter().find_map(|signer| {
        let fault = signer_fault(signer, &case.material.crls, case.now)?;
        Some(format!("{} {fault}", signer.certificate.subject.common_name))
    });
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("as it should be"))
}

/// The quoting enclave is Intel's, as its identity tells, and nobody can look into it.
pub(super) fn qe_identity(case: &Case<'_>) -> Check {
    let name = CheckName::QeIdentity;
    let expected = "Intel's TD quoting enclave, without DEBUG";
    let report = &case.quote.qe_report;
    if report.debug() {
        return Check::judge(name, false, expected, "an enclave with DEBUG");
    }
    let Some(identity) = case.material.qe_identities.chosen else {
        return Check::unknown(name, expected, "no QE identity for this time given");
    };
    let attributes =
        masked_equal(&report.attributes, &identity.attributes, &identity.attributes_mask);
    let miscselect =
        masked_equal(&report.miscselect, &identity.miscselect, &identity.miscselect_mask);
    let fault = if report.mrsigner != identity.mrsigner {
        Some(format!("MRSIGNER {}", HEXLOWER.encode(&report.mrsigner)))
    } else if report.isv_prod_id != identity.isv_prod_id {
        Some(format!("ISVPRODID {}", report.isv_prod_id))
    } else if !attributes {
        Some(format!("ATTRIBUTES {}", HEXLOWER.encode(&report.attributes)))
    } else {
        let words = || format!("MISCSELECT {}", HEXLOWER.encode(&report.miscselect));
        (!miscselect).then(words)
    };
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("Intel's"))
}

fn masked_equal(have: &[u8], wanted: &[u8], mask: &[u8]) -> bool {
    have.iter().zip(wanted).zip(mask).all(|((have, wanted), mask)| have & mask == wanted & mask)
}

/// Whether a bit is set for which `mask` has none.
fn has_beyond(have: &[u8], mask: &[u8]) -> bool {
    have.iter().zip(mask).any(|(have, mask)| have & !mask != 0)
}

/// The TDX module is signed as the TCB info says, with the attributes it says, and no others.
pub(super) fn tdx_module(case: &Case<'_>) -> Check {
    let name = CheckName::TdxModule;
    let expected = "a TDX module signed by Intel";
    let Some(info) = case.material.tcb_infos.chosen else {
        return Check::unknown(name, expected, "no TCB info for this time given");
    };
    let body = &case.quote.body;
    let Some(module) = tcb::expected_module(body, info) else {
        return Check::unknown(name, expected, "the TCB info does not know this module");
    };
    let mask = &module.attributes_mask;
    let fault = if body.mrsignerseam != module.mrsigner {
        Some(format!("MRSIGNERSEAM {}", HEXLOWER.encode(&body.mrsignerseam)))
    } else if has_beyond(&body.seam_attributes, mask)
        || !masked_equal(&body.seam_attributes, &module.attributes, mask)
    {
        Some(format!("SEAMATTRIBUTES {}", HEXLOWER.encode(&body.seam_attributes)))
    } else {
        None
    };
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("Intel's"))
}

/// Intel has a level for these security versions, at this time, and has not revoked it.
pub(super) fn tcb_level(case: &Case<'_>) -> Check {
    let name = CheckName::TcbLevel;
    let expected = format!("a TCB level that is not revoked, at {}", rfc3339(case.now));
    match &case.evaluation {
        Ok(found) => {
            let got = format!("{} (level of {})", found.status, rfc3339(found.date));
            Check::judge(name, found.status != TcbStatus::Revoked, expected, got)
        }
        Err(why) => Check::judge(name, false, expected, why.to_string()),
    }
}

/// What to say where no level matched: that is another check's to refuse.
fn unevaluated(name: CheckName) -> Check {
    Check::unknown(name, "a TCB level to ask this of", "no level")
}

pub(super) fn tcb_status(case: &Case<'_>) -> Check {
    let name = CheckName::TcbStatus;
    let Ok(found) = &case.evaluation else { return unevaluated(name) };
    let got = found.status.to_string();
    match &case.rules.tcb_statuses {
        Accept::Any => Check::not_required(name, got),
        Accept::Only(statuses) => {
            let words: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
            let expected = format!("one of {}", words.join(", "));
            Check::judge(name, statuses.contains(&found.status), expected, got)
        }
    }
}

pub(super) fn evaluation_number(case: &Case<'_>) -> Check {
    let name = CheckName::TcbEvaluationNumber;
    let Ok(found) = &case.evaluation else { return unevaluated(name) };
    let minimum = case.rules.minimum_tcb_evaluation_data_number;
    let got = found.evaluation_number;
    Check::judge(name, got >= minimum, format!("at least {minimum}"), got.to_string())
}

pub(super) fn advisories(case: &Case<'_>) -> Check {
    let name = CheckName::Advisories;
    let Ok(found) = &case.evaluation else { return unevaluated(name) };
    let got = match found.advisory_ids.is_empty() {
        true => "none".to_owned(),
        false => found.advisory_ids.join(", "),
    };
    let refused = &case.rules.refused_advisories;
    if case.rules.advisories == Accept::Any && refused.is_empty() {
        return Check::not_required(name, got);
    }
    let taken = |id: &String| case.rules.advisories.accepts(id) && !refused.contains(id);
    let expected = "only advisories the policy takes";
    Check::judge(name, found.advisory_ids.iter().all(taken), expected, got)
}

/// Collateral is good until its date; a policy may want it younger.
pub(super) fn collateral_age(case: &Case<'_>) -> Check {
    let name = CheckName::CollateralAge;
    let (infos, identities) = (&case.material.tcb_infos, &case.material.qe_identities);
    let (Some(info), Some(identity)) = (infos.chosen, identities.chosen) else {
        return Check::unknown(name, "collateral for this time", "none");
    };
    let made = info.issue_date().min(identity.issue_date());
    let got = format!("made {}", rfc3339(made));
    match case.rules.maximum_collateral_age_seconds {
        Limit::Any => Check::not_required(name, got),
        Limit::AtMost(maximum) => {
            let age = u64::try_from(case.now.saturating_sub(made)).unwrap_or(0);
            Check::judge(name, age <= maximum, format!("at most {maximum} s old"), got)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_beyond_a_mask_is_seen() {
        let beyond = |have: u8, mask: u8| has_beyond(&[0, have], &[0, mask]);
        assert!(beyond(0b10, 0b01) && beyond(0b11, 0b01));
        assert!(!beyond(0b01, 0b01) && !beyond(0, 0b01) && !beyond(0, 0));
        assert!(masked_equal(&[0b110], &[0b010], &[0b011]) && !masked_equal(&[1], &[0], &[1]));
    }
}
