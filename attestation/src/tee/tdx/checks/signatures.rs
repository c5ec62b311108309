//! The signatures between the TD's body and the platform's key.

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256};

use super::{Case, NO_LEAF};
use crate::result::{Check, CheckName};
use crate::signature::{Memory, PublicKey};
use crate::tee::tdx::quote::{ECDSA_P256, Quote};

/// Intel's quoting enclave (vendor id in every quote header).
const INTEL_QE_VENDOR: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// First byte of an uncompressed point (SEC 1).
const UNCOMPRESSED: u8 = 4;

pub(super) fn algorithm(case: &Case<'_>) -> Check {
    let got = case.quote.key_type;
    let expected = "2 (ECDSA P-256 with SHA-256)";
    Check::judge(CheckName::SignatureAlgorithm, got == ECDSA_P256, expected, got.to_string())
}

pub(super) fn qe_vendor(case: &Case<'_>) -> Check {
    let got = case.quote.qe_vendor;
    let expected = HEXLOWER.encode(&INTEL_QE_VENDOR);
    Check::judge(CheckName::QeVendor, got == INTEL_QE_VENDOR, expected, HEXLOWER.encode(&got))
}

/// Whether the attestation key signed header and body.
pub(in crate::tee::tdx) fn quote_is_signed(quote: &Quote<'_>, memory: &Memory) -> bool {
    let mut point = vec![UNCOMPRESSED];
    point.extend(quote.attestation_key);
    let mut key = PublicKey::P256(point.into());
    key.remember_in(memory);
    key.verifies_fixed(quote.signed, &quote.signature)
}

pub(super) fn report_signature(case: &Case<'_>) -> Check {
    let verifies = case.material.is_signed;
    let got = if verifies { "verifies" } else { "does not verify: altered" };
    let expected = "signature over header and body by the attestation key";
    Check::judge(CheckName::ReportSignature, verifies, expected, got)
}

/// The quoting enclave vouches for the attestation key: its report carries SHA-256 over key and
/// authentication data in the first half of REPORT_DATA, zero in the second.
pub(super) fn attestation_key(case: &Case<'_>) -> Check {
    let mut hash = Context::new(&SHA256);
    hash.update(&case.quote.attestation_key);
    hash.update(case.quote.qe_auth_data);
    let digest = hash.finish();
    let (first, second) = case.quote.qe_report.report_data.split_at(32);
    let same = first == digest.as_ref() && second.iter().all(|byte| *byte == 0);
    let got = if same { "vouched for" } else { "another key, or other authentication data" };
    let expected = "vouched for in the quoting enclave's report";
    Check::judge(CheckName::AttestationKey, same, expected, got)
}

/// The platform's certificate is there: in the quote, or beside it.
pub(super) fn signing_key(case: &Case<'_>) -> Check {
    let kind = case.quote.certification.kind;
    let got = match case.material.chain.leaf() {
        Some(leaf) => leaf.subject.common_name.clone(),
        None => format!("{NO_LEAF} (certification data of type {kind})"),
    };
    let is_there = case.material.chain.leaf().is_some();
    Check::judge(CheckName::SigningKey, is_there, "a PCK certificate", got)
}

pub(super) fn qe_report_signature(case: &Case<'_>) -> Check {
    let name = CheckName::QeReportSignature;
    let expected = "signature over the quoting enclave's report by the platform's key";
    if case.material.chain.leaf().is_none() {
        return Check::unknown(name, expected, NO_LEAF);
    }
    let verifies = case.material.chain.signs_qe_report;
    let got = if verifies { "verifies" } else { "does not verify: altered, or another platform's" };
    Check::judge(name, verifies, expected, got)
}
