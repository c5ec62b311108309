//! The certificates between the platform's key and the root.

use super::{Case, NO_LEAF};
use crate::endorsement::path::Step;
use crate::endorsement::{Certificate, rfc3339};
use crate::result::{Check, CheckName};
use crate::signature::PublicKey;
use crate::tee::tdx::pck::PCK_NAME;

/// Names Intel gives its authorities (PCK Certificate and CRL Profile Specification).
const ISSUER_NAMES: [&str; 2] = ["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"];
const ROOT_NAME: &str = "Intel SGX Root CA";
/// Words for the steps of a path, leaf first.
const WORDS: [&str; 3] = ["leaf", "intermediate", "root"];

fn steps<'a>(case: &Case<'a>) -> &'a [Step<'a>] {
    case.material.chain.path.as_ref().map_or(&[], |path| &path.steps)
}

/// The certificates of the path, with a word for each.
fn certificates<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'static str, &'a Certificate)> {
    let words = WORDS.into_iter().chain(std::iter::repeat("another"));
    words.zip(steps(case)).map(|(word, step)| (word, step.certificate))
}

/// Whether step `index` is signed by the next.
fn link(case: &Case<'_>, name: CheckName, index: usize, missing: &str) -> Check {
    let steps = steps(case);
    let Some(step) = steps.get(index) else {
        return Check::unknown(name, "a signature by its issuer", missing);
    };
    let expected = format!("signed by {}", step.certificate.issuer.common_name);
    if steps.get(index + 1).is_none() {
        return Check::judge(name, false, expected, "no certificate of that name");
    }
    let got = if step.is_signed_by_next { "verifies" } else { "does not verify" };
    Check::judge(name, step.is_signed_by_next, expected, got)
}

pub(super) fn leaf_signature(case: &Case<'_>) -> Check {
    link(case, CheckName::LeafSignature, 0, NO_LEAF)
}

pub(super) fn intermediate_signature(case: &Case<'_>) -> Check {
    link(case, CheckName::IntermediateSignature, 1, "no PCK authority")
}

/// The root is named by the relying party; a certificate that came along under the same name must
/// be that root, unaltered.
pub(super) fn root_pinned(case: &Case<'_>) -> Check {
    let name = CheckName::RootPinned;
    let expected = "a root the relying party named";
    let chain = &case.material.chain;
    let Some(root) = chain.root() else {
        return Check::judge(name, false, expected, "no root reached from the evidence");
    };
    let Some(anchor) = chain.path.as_ref().and_then(|path| path.anchor) else {
        let got = format!("{}, which nobody named", root.subject.common_name);
        return Check::judge(name, false, expected, got);
    };
    let is_impostor = |other: &&&Certificate| {
        other.is_self_issued()
            && other.subject == root.subject
            && other.der != root.der
            && !(anchor.matches(other) && other.is_signed_by(&root.public_key))
    };
    let impostor = case.material.pool.iter().find(is_impostor);
    let got = match impostor {
        Some(other) => format!("another certificate calls itself {}", other.subject.common_name),
        None => anchor.label().to_owned(),
    };
    Check::judge(name, impostor.is_none(), expected, got)
}

/// The leaf is a platform's, its issuer one of Intel's two authorities for platforms.
pub(super) fn names(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateNames;
    let expected = "Intel's names: PCK certificate, PCK CA, root CA";
    let mut names = certificates(case).map(|(_, found)| found.subject.common_name.as_str());
    let Some(leaf) = names.next() else {
        return Check::unknown(name, expected, NO_LEAF);
    };
    // Missing ones are another check's to refuse.
    let (issuer, root) = (names.next(), names.next());
    let passes = leaf == PCK_NAME
        && issuer.is_none_or(|issuer| ISSUER_NAMES.contains(&issuer))
        && root.is_none_or(|root| root == ROOT_NAME)
        && names.next().is_none();
    let got = [Some(leaf), issuer, root].into_iter().flatten().collect::<Vec<_>>().join(" under ");
    Check::judge(name, passes, expected, got)
}

pub(super) fn dates(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateDates;
    let expected = format!("all valid at {}", rfc3339(case.now));
    if steps(case).is_empty() {
        return Check::unknown(name, expected, NO_LEAF);
    }
    let outside = certificates(case).find(|(_, certificate)| !certificate.is_valid_at(case.now));
    let got = match outside {
        Some((word, certificate)) => format!("{word} {}", validity(certificate)),
        None => "inside their dates".to_owned(),
    };
    Check::judge(name, outside.is_none(), expected, got)
}

pub(super) fn validity(certificate: &Certificate) -> String {
    format!("valid {} to {}", rfc3339(certificate.not_before), rfc3339(certificate.not_after))
}

/// Authorities must be marked as such, the leaf must not be, and nothing critical may be unread.
pub(super) fn constraints(case: &Case<'_>) -> Check {
    let name = CheckName::CertificateConstraints;
    let expected =
        "authorities may sign certificates, a P-256 leaf may not, nothing unknown is critical";
    if steps(case).is_empty() {
        return Check::unknown(name, expected, NO_LEAF);
    }
    let faults = certificates(case).find_map(|(word, certificate)| {
        let fault = match word {
            "leaf" => leaf_fault(certificate),
            _ => authority_fault(certificate),
        };
        let fault = fault.map(str::to_owned).or_else(|| unknown_critical(certificate));
        Some(format!("{word} {}", fault?))
    });
    // Path length counts the authorities below: none under the PCK CA, one under the root.
    let too_long = || {
        let mut authorities = certificates(case).skip(1).enumerate();
        let (_, (word, _)) = authorities.find(|(below, (_, certificate))| {
            certificate.path_length().is_some_and(|limit| limit < *below)
        })?;
        Some(format!("{word} allows fewer authorities below it"))
    };
    let fault = faults.or_else(too_long);
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("as they should be"))
}

fn leaf_fault(leaf: &Certificate) -> Option<&'static str> {
    if !matches!(leaf.public_key, PublicKey::P256(_)) {
        Some("key is not on P-256")
    } else if leaf.is_ca == Some(true) {
        Some("claims to be an authority")
    } else {
        (!leaf.may_sign_data()).then_some("may not sign data")
    }
}

fn authority_fault(authority: &Certificate) -> Option<&'static str> {
    let is_fit = authority.is_ca == Some(true)
        && authority.key_usage.is_some_and(|usage| usage.signs_certificates);
    (!is_fit).then_some("is not an authority")
}

/// A critical extension nobody here follows.
pub(super) fn unknown_critical(certificate: &Certificate) -> Option<String> {
    let mut extensions = certificate.extensions.iter();
    let unknown = extensions.find(|extension| extension.critical && !extension.understood)?;
    Some(format!("has unknown critical extension {}", unknown.oid))
}

/// What Intel says of the platform is there and reads.
pub(super) fn platform(case: &Case<'_>) -> Check {
    let name = CheckName::PlatformExtensions;
    let expected = "Intel's SGX extensions: PPID, TCB, PCEID, FMSPC";
    if steps(case).is_empty() {
        return Check::unknown(name, expected, NO_LEAF);
    }
    match &case.material.chain.platform {
        Some(platform) => {
            let fmspc = data_encoding::HEXLOWER.encode(&platform.fmspc);
            Check::judge(name, true, expected, format!("FMSPC {fmspc}"))
        }
        None => Check::judge(name, false, expected, "missing or malformed"),
    }
}

pub(super) fn simulated_root(case: &Case<'_>) -> Check {
    let name = CheckName::SimulatedRoot;
    let expected = "hardware, or simulation allowed";
    if !case.material.chain.is_simulated() {
        return Check::judge(name, true, expected, "not simulated");
    }
    let allowed = case.policy.allows_simulated();
    Check::judge(name, allowed, expected, "SIMULATED: no hardware")
}
