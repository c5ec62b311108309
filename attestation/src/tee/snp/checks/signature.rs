//! The report's own signature, and which key made it.

use super::{Case, NO_LEAF};
use crate::policy::SigningKeyKind;
use crate::result::{Check, CheckName};
use crate::tee::snp::chain::verifies_report;
use crate::tee::snp::report::{ECDSA_P384_SHA384, SigningKey};

pub(super) fn algorithm(case: &Case<'_>) -> Check {
    let got = case.report.signature_algorithm;
    Check::judge(
        CheckName::SignatureAlgorithm,
        got == ECDSA_P384_SHA384,
        "1 (ECDSA P-384 with SHA-384)",
        got.to_string(),
    )
}

/// The report decides which kind of key must have signed, never the certificate handed over.
pub(super) fn signing_key(case: &Case<'_>) -> Check {
    let said = case.report.signing_key;
    let signs = matches!(said, SigningKey::Vcek | SigningKey::Vlek) && !case.report.key_is_masked;
    if !signs {
        let got = if case.report.key_is_masked { "key masked" } else { "no signing key" };
        return Check::judge(CheckName::SigningKey, false, "a report signed by VCEK or VLEK", got);
    }
    let expected = format!("a {said} certificate, as the report says");
    match &case.chain.leaf {
        Some(leaf) => {
            let got = format!("a {} certificate", leaf.kind);
            Check::judge(CheckName::SigningKey, leaf.kind == said, expected, got)
        }
        None => Check::judge(CheckName::SigningKey, false, expected, NO_LEAF),
    }
}

pub(super) fn report_signature(case: &Case<'_>) -> Check {
    let expected = "signature over bytes 0x000 to 0x29f by the leaf's key";
    match &case.chain.leaf {
        Some(leaf) => {
            let verifies = verifies_report(leaf, case.report);
            let got =
                if verifies { "verifies" } else { "does not verify: altered, or another chip's" };
            Check::judge(CheckName::ReportSignature, verifies, expected, got)
        }
        None => Check::unknown(CheckName::ReportSignature, expected, NO_LEAF),
    }
}

pub(super) fn signing_key_allowed(case: &Case<'_>) -> Check {
    let policy = &case.rules.signing_keys;
    let kind = match case.report.signing_key {
        SigningKey::Vcek => Some(SigningKeyKind::Vcek),
        SigningKey::Vlek => Some(SigningKeyKind::Vlek),
        SigningKey::None | SigningKey::Undefined(_) => None,
    };
    let got = case.report.signing_key.to_string();
    let allowed = kind.is_some_and(|kind| policy.accepts(&kind));
    Check::judge(CheckName::SigningKeyAllowed, allowed, "a key kind the policy lists", got)
}
