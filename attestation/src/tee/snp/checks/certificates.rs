//! The certificates between the report's key and the root.

use super::{Case, NO_INTERMEDIATE, NO_LEAF, NO_ROOT};
use crate::endorsement::{Certificate, rfc3339};
use crate::result::{Check, CheckName};
use crate::signature::PublicKey;
use crate::tee::snp::leaf::Leaf;
use crate::tee::snp::report::SigningKey;

pub(super) fn leaf_signature(case: &Case<'_>) -> Check {
    let name = CheckName::LeafSignature;
    let Some(leaf) = &case.chain.leaf else {
        return Check::unknown(name, "a signature by its issuer", NO_LEAF);
    };
    let expected = format!("signed by {}", leaf.certificate.issuer.common_name);
    match case.chain.intermediate {
        Some(issuer) => {
            let verifies = leaf.certificate.is_signed_by(&issuer.public_key);
            Check::judge(name, verifies, expected, signature_words(verifies))
        }
        None => Check::judge(name, false, expected, NO_INTERMEDIATE),
    }
}

pub(super) fn intermediate_signature(case: &Case<'_>) -> Check {
    let name = CheckName::IntermediateSignature;
    let Some(intermediate) = case.chain.intermediate else {
        return Check::unknown(name, "a signature by its root", NO_INTERMEDIATE);
    };
    let expected = format!("signed by {}", intermediate.issuer.common_name);
    match case.chain.root {
        Some(root) => {
            let verifies = intermediate.is_signed_by(&root.certificate.public_key);
            Check::judge(name, verifies, expected, signature_words(verifies))
        }
        None => Check::unknown(name, expected, NO_ROOT),
    }
}

fn signature_words(verifies: bool) -> &'static str {
    if verifies { "verifies" } else { "does not verify" }
}

/// The root is named by the relying party; a certificate that came along under the same name must
/// be that root, unaltered.
pub(super) fn root_pinned(case: &Case<'_>) -> Check {
    let name = CheckName::RootPinned;
    let expected = "a root the relying party named";
    let Some(root) = case.chain.root else {
        return Check::judge(name, false, expected, "no root reached from the evidence");
    };
    let Some(anchor) = root.anchor else {
        let got = format!("{}, which nobody named", root.certificate.subject.common_name);
        return Check::judge(name, false, expected, got);
    };
    let is_impostor = |other: &&Certificate| {
        other.is_self_issued()
            && other.subject == root.certificate.subject
            && other.der != root.certificate.der
            && !(anchor.matches(other) && other.is_signed_by(&root.certificate.public_key))
    };
    let impostor = case.endorsements.certificates.iter().find(is_impostor);
    let got = match impostor {
        Some(other) => format!("another certificate calls itself {}", other.subject.common_name),
        None => anchor.label().to_owned(),
    };
    Check::judge(name, impostor.is_none(), expected, got)
}

/// AMD names its authorities by product line and kind of key.
pub(super) fn names(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateNames;
    let Some(leaf) = &case.chain.leaf else {
        return Check::unknown(name, "AMD's names", NO_LEAF);
    };
    let issuer = &leaf.certificate.issuer.common_name;
    let root = case.chain.root.map(|root| root.certificate.subject.common_name.as_str());
    let got = format!("{issuer} under {}", root.unwrap_or("no root"));
    let Some(line) = case.chain.line() else {
        return Check::judge(name, false, "an authority of a known product", got);
    };
    let vlek = if leaf.kind == SigningKey::Vlek { "VLEK-" } else { "" };
    let issuer_wanted = format!("SEV-{vlek}{}", line.amd_name());
    let root_wanted = format!("ARK-{}", line.amd_name());
    // A missing root is another check's to refuse.
    let passes = *issuer == issuer_wanted && root.is_none_or(|root| root == root_wanted);
    Check::judge(name, passes, format!("{issuer_wanted} under {root_wanted}"), got)
}

pub(super) fn dates(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateDates;
    let expected = format!("all valid at {}", rfc3339(case.now));
    if case.chain.leaf.is_none() {
        return Check::unknown(name, expected, NO_LEAF);
    }
    let outside = case.chain.certificates().find(|(_, certificate)| {
        case.now < certificate.not_before || case.now > certificate.not_after
    });
    let got = match outside {
        Some((word, certificate)) => format!(
            "{word} valid {} to {}",
            rfc3339(certificate.not_before),
            rfc3339(certificate.not_after)
        ),
        None => "inside their dates".to_owned(),
    };
    Check::judge(name, outside.is_none(), expected, got)
}

/// Authorities must be marked as such, the leaf must not be, and nothing critical may be unread.
pub(super) fn constraints(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateConstraints;
    let expected =
        "authorities may sign certificates, a P-384 leaf may not, nothing unknown is critical";
    let Some(leaf) = &case.chain.leaf else {
        return Check::unknown(name, expected, NO_LEAF);
    };
    let authority = |certificate: &Certificate| {
        certificate.is_ca == Some(true)
            && certificate.key_usage.is_some_and(|usage| usage.signs_certificates)
    };
    let fault = if !matches!(leaf.certificate.public_key, PublicKey::P384(_)) {
        Some("leaf key is not on P-384".to_owned())
    } else if leaf.certificate.is_ca == Some(true) {
        Some("leaf claims to be an authority".to_owned())
    } else {
        let mut authorities = case.chain.certificates().filter(|(word, _)| *word != "leaf");
        let unfit = authorities.find(|(_, certificate)| !authority(certificate));
        unfit.map(|(word, _)| format!("{word} is not an authority"))
    };
    let fault = fault.or_else(|| {
        let mut unread = case.chain.certificates();
        unread.find_map(|(word, certificate)| {
            let oid = Leaf::unknown_critical(certificate)?;
            Some(format!("{word} has unknown critical extension {oid}"))
        })
    });
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("as they should be"))
}

pub(super) fn simulated_root(case: &Case<'_>) -> Check {
    let name = CheckName::SimulatedRoot;
    if !case.chain.is_simulated() {
        return Check::judge(name, true, "hardware, or simulation allowed", "not simulated");
    }
    let allowed = case.policy.allows_simulated();
    Check::judge(name, allowed, "hardware, or simulation allowed", "SIMULATED: no hardware")
}
