//! The checks on a TPM's quote: one function each, in the order they are reported.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use super::document::{QUALIFYING_BYTES, VtpmEvidence, slot};
use crate::anchor::TrustAnchors;
use crate::hex::Hex;
use crate::policy::{Policy, VtpmPolicy};
use crate::raw::Expectations;
use crate::result::{Check, CheckName};
use crate::signature::PublicKey;
use crate::tee::tpm::{KeyError, Quote, QuoteError, TpmKey, registers};

const UNREADABLE_KEY: &str = "a key that does not read";
const UNREADABLE_QUOTE: &str = "a quote that does not read";

/// What the checks look at.
pub(super) struct Case<'a> {
    pub evidence: &'a VtpmEvidence,
    pub key: Result<(TpmKey, PublicKey), KeyError>,
    pub quote: Result<Quote, QuoteError>,
    /// r and s, where the signature is ECDSA with SHA-256.
    pub signature: Option<[u8; 64]>,
    pub anchors: &'a TrustAnchors,
    pub policy: &'a Policy,
    pub rules: &'a VtpmPolicy,
    pub expectations: &'a Expectations,
}

impl Case<'_> {
    /// The quote that reads, with the values beside it.
    pub fn quoted(&self) -> Option<registers::Quoted<'_>> {
        Some((self.quote.as_ref().ok()?, &self.evidence.pcrs))
    }

    /// REPORT_DATA as the TPM signed it.
    pub fn slot(&self) -> Option<[u8; 64]> {
        slot(self.quote.as_ref().ok()?)
    }
}

/// Every check on evidence that was taken apart.
pub(super) fn all(case: &Case<'_>) -> Vec<Check> {
    let checks: [fn(&Case<'_>) -> Check; 8] = [
        key,
        quote_format,
        quote_signature,
        pcr_digest,
        qualifying_data,
        root_pinned,
        simulated_root,
        pcrs,
    ];
    let mut all: Vec<Check> = checks.iter().map(|check| check(case)).collect();
    all.extend(nonce(case));
    all.extend(report_data(case));
    all
}

/// A key the TPM does not restrict would sign a quote that somebody else wrote.
fn key(case: &Case<'_>) -> Check {
    let expected = "a restricted signing key (ECDSA P-256) made by the TPM and kept in it";
    let (holds, got) = match &case.key {
        Ok((key, _)) => (key.is_attestation_key(), format!("attributes {:#x}", key.attributes())),
        Err(error) => (false, error.to_string()),
    };
    Check::judge(CheckName::TpmKey, holds, expected, got)
}

fn quote_format(case: &Case<'_>) -> Check {
    match &case.quote {
        Ok(quote) => registers::format(quote),
        Err(error) => {
            Check::judge(CheckName::TpmQuoteFormat, false, registers::QUOTE, error.to_string())
        }
    }
}

fn quote_signature(case: &Case<'_>) -> Check {
    let name = CheckName::TpmQuoteSignature;
    let expected = "signed by the attestation key (ECDSA P-256, SHA-256)";
    let Ok((_, key)) = &case.key else {
        return Check::unknown(name, expected, UNREADABLE_KEY);
    };
    let (verifies, got) = match &case.signature {
        None => (false, "a signature of another scheme"),
        Some(signature) => match key.verifies_fixed(&case.evidence.quote, signature) {
            true => (true, "verifies"),
            false => (false, "does not verify"),
        },
    };
    Check::judge(name, verifies, expected, got)
}

fn pcr_digest(case: &Case<'_>) -> Check {
    match case.quoted() {
        Some(quoted) => registers::digest(quoted),
        None => {
            let expected = "the digest of the registers given";
            Check::unknown(CheckName::TpmPcrDigest, expected, UNREADABLE_QUOTE)
        }
    }
}

fn qualifying_data(case: &Case<'_>) -> Check {
    let name = CheckName::TpmQualifyingData;
    let expected = "32 bytes: the digest of a statement";
    match &case.quote {
        Ok(quote) => {
            let holds = quote.extra_data.len() == QUALIFYING_BYTES;
            Check::judge(name, holds, expected, HEXLOWER.encode(&quote.extra_data))
        }
        Err(_) => Check::unknown(name, expected, UNREADABLE_QUOTE),
    }
}

/// Nobody vouches for the key but the relying party, who named it; only as a simulated root.
fn root_pinned(case: &Case<'_>) -> Check {
    let name = CheckName::RootPinned;
    let expected = "an attestation key the relying party named";
    let Ok((key, _)) = &case.key else {
        return Check::unknown(name, expected, UNREADABLE_KEY);
    };
    let spki = key.spki();
    let mut named = case.anchors.iter().filter(|anchor| anchor.is_simulated());
    match named.find(|anchor| anchor.matches_spki(&spki)) {
        Some(anchor) => Check::judge(name, true, expected, anchor.label()),
        None => {
            let got = format!("key {}, which nobody named", key.digest());
            Check::judge(name, false, expected, got)
        }
    }
}

fn simulated_root(case: &Case<'_>) -> Check {
    let expected = "hardware, or simulation allowed";
    let allowed = case.policy.allows_simulated();
    let got = "VTPM-DEV: a TPM without a TEE; no hardware protects the memory";
    Check::judge(CheckName::SimulatedRoot, allowed, expected, got)
}

fn pcrs(case: &Case<'_>) -> Check {
    registers::listed(&case.rules.pcrs, case.quoted(), UNREADABLE_QUOTE)
}

/// The qualifying data, compared whole, where the caller sent a nonce to be signed as it is.
fn nonce(case: &Case<'_>) -> Option<Check> {
    let sent = case.expectations.nonce.as_ref()?;
    let signed = case.quote.as_ref().ok().map(|quote| quote.extra_data.as_slice());
    let answered = signed.is_some_and(|signed| sent[..].ct_eq(signed).into());
    let got = signed.map_or(UNREADABLE_QUOTE.to_owned(), |data| HEXLOWER.encode(data));
    Some(Check::judge(CheckName::Nonce, answered, HEXLOWER.encode(sent), got))
}

fn report_data(case: &Case<'_>) -> Option<Check> {
    let expected = case.expectations.report_data?;
    let slot = case.slot();
    let same = slot.is_some_and(|slot| slot.ct_eq(&expected).into());
    let got = slot.map_or("none".to_owned(), |slot| Hex(slot).to_string());
    Some(Check::judge(CheckName::ReportData, same, Hex(expected).to_string(), got))
}
