//! The certificates between the report's key and the root.

use super::NO_LEAF;
use crate::endorsement::path::Path;
use crate::endorsement::{Certificate, EXTENDED_KEY_USAGE, rfc3339};
use crate::result::{Check, CheckName};
use crate::tee::nvidia::case::Case;

/// Extensions of leaves that describe the device and limit nothing: TCG's DICE profiles.
const DICE_ARC: &str = "2.23.133.5.4.";

pub(super) fn leaf_signature(case: &Case<'_>) -> Check {
    let name = CheckName::LeafSignature;
    let Some(step) = case.path.as_ref().and_then(|path| path.steps.first()) else {
        return Check::unknown(name, "a signature by its issuer", NO_LEAF);
    };
    let issuer = &step.certificate.issuer.common_name;
    let expected = format!("signed by {issuer}");
    let got = match (case.path.as_ref().map_or(0, |path| path.steps.len()), step.is_signed_by_next)
    {
        (..=1, _) => "no certificate of its issuer",
        (_, true) => "verifies",
        (_, false) => "does not verify",
    };
    Check::judge(name, step.is_signed_by_next, expected, got)
}

/// Every authority by the next one, up to the root.
pub(super) fn intermediate_signature(case: &Case<'_>) -> Check {
    let name = CheckName::IntermediateSignature;
    let expected = "every authority signed by the next, up to a root";
    let Some(path) = &case.path else { return Check::unknown(name, expected, NO_LEAF) };
    let [_, authorities @ .., last] = path.steps.as_slice() else {
        return Check::unknown(name, expected, "no certificate of the leaf's issuer");
    };
    let broken = authorities.iter().find(|step| !step.is_signed_by_next);
    let got = match broken {
        Some(step) => format!("{} is not", step.certificate.subject.common_name),
        None if path.root().is_none() => {
            let missing = &last.certificate.issuer.common_name;
            return Check::unknown(name, expected, format!("no certificate of {missing}"));
        }
        None => format!("{} authorities", authorities.len()),
    };
    Check::judge(name, broken.is_none(), expected, got)
}

/// The root is named by the relying party; a certificate that came along under the same name must
/// be that root, unaltered.
pub(super) fn root_pinned(case: &Case<'_>) -> Check {
    let path = case.path.as_ref();
    let (pinned, got) = root(path, &case.pool);
    Check::judge(CheckName::RootPinned, pinned, "a root the relying party named", got)
}

/// Whether `path` ends at a pinned root that nothing in `pool` imitates, and a word on it.
pub(super) fn root(path: Option<&Path<'_>>, pool: &[&Certificate]) -> (bool, String) {
    let Some((path, root)) = path.and_then(|path| Some((path, path.root()?))) else {
        return (false, "no root reached from the evidence".to_owned());
    };
    let Some(anchor) = path.anchor else {
        return (false, format!("{}, which nobody named", root.subject.common_name));
    };
    let is_impostor = |other: &&&Certificate| {
        other.is_self_issued()
            && other.subject == root.subject
            && other.der != root.der
            && !(anchor.matches(other) && other.is_signed_by(&root.public_key))
    };
    match pool.iter().find(is_impostor) {
        Some(other) => {
            (false, format!("another certificate calls itself {}", other.subject.common_name))
        }
        None => (true, anchor.label().to_owned()),
    }
}

pub(super) fn dates(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateDates;
    let expected = format!("all valid at {}", rfc3339(case.all.now));
    let Some(path) = &case.path else { return Check::unknown(name, expected, NO_LEAF) };
    let outside = path.outside_dates(case.all.now);
    let got = outside.map_or("inside their dates".to_owned(), outside_words);
    Check::judge(name, outside.is_none(), expected, got)
}

pub(super) fn outside_words(certificate: &Certificate) -> String {
    format!(
        "{} valid {} to {}",
        certificate.subject.common_name,
        rfc3339(certificate.not_before),
        rfc3339(certificate.not_after)
    )
}

/// Authorities must be marked as such, the leaf must not be and may sign, no authority stands
/// deeper than one above it allows, and nothing critical may be unread.
pub(super) fn constraints(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateConstraints;
    let expected = "authorities may sign certificates, the leaf may sign data only, nothing unknown is critical";
    let Some(path) = &case.path else { return Check::unknown(name, expected, NO_LEAF) };
    let fault = fault(path);
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("as they should be"))
}

/// The first certificate of a path that may not do what it does there.
pub(super) fn fault(path: &Path<'_>) -> Option<String> {
    path.steps.iter().enumerate().find_map(|(place, step)| {
        let certificate = step.certificate;
        let what = if place == 0 {
            leaf_fault(certificate)
        } else if !certificate.may_sign_certificates() {
            Some("is not an authority")
        } else if certificate.path_length().is_some_and(|limit| place - 1 > limit) {
            Some("allows fewer authorities below it")
        } else {
            None
        };
        // What a leaf is for is read below; what an authority's are for is not.
        let is_read =
            |oid: &str| oid.starts_with(DICE_ARC) || (place == 0 && oid == EXTENDED_KEY_USAGE);
        let critical = certificate.extensions.iter().find(|extension| {
            extension.critical && !extension.understood && !is_read(&extension.oid)
        });
        let unread =
            critical.map(|extension| format!("has unknown critical extension {}", extension.oid));
        let what = what.map(str::to_owned).or(unread)?;
        Some(format!("{} {what}", certificate.subject.common_name))
    })
}

fn leaf_fault(leaf: &Certificate) -> Option<&'static str> {
    if leaf.is_ca == Some(true) {
        Some("claims to be an authority")
    } else if !leaf.may_sign_data() {
        Some("may not sign data")
    } else if leaf.names_ocsp_signing() {
        Some("was made for OCSP answers")
    } else {
        None
    }
}

pub(super) fn simulated_root(case: &Case<'_>) -> Check {
    let name = CheckName::SimulatedRoot;
    let expected = "hardware, or simulation allowed";
    if !case.is_simulated() {
        return Check::judge(name, true, expected, "not simulated");
    }
    let allowed = case.all.policy.allows_simulated();
    Check::judge(name, allowed, expected, "SIMULATED: no hardware")
}
