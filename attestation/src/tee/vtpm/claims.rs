//! What a quote says, for people and for JSON.

use std::collections::BTreeMap;

use bulla_wire::ids::Digest;
use serde::Serialize;

use super::checks::Case;
use crate::hex::Hex;
use crate::tee::tpm::Clock;

/// The claims of a TPM's quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VtpmClaims {
    /// REPORT_DATA: the qualifying data, and zeros. `None` where that has another length.
    pub report_data: Option<Hex<64>>,
    /// SHA-256 of the attestation key's SubjectPublicKeyInfo: what names this TPM.
    pub attestation_key: Digest,
    /// Attributes of that key, as `0x…`.
    pub key_attributes: String,
    /// The registers the quote covers: number and value (SHA-256 bank).
    pub pcrs: BTreeMap<usize, Hex<32>>,
    /// The TPM's clock when it signed.
    pub tpm_clock: Clock,
    /// Firmware version of the TPM, as `0x…`.
    pub tpm_firmware: String,
}

impl VtpmClaims {
    /// `None` where key or quote does not read.
    pub(super) fn of(case: &Case<'_>) -> Option<VtpmClaims> {
        let (key, _) = case.key.as_ref().ok()?;
        let (quote, values) = case.quoted()?;
        Some(VtpmClaims {
            report_data: case.slot().map(Hex),
            attestation_key: key.digest(),
            key_attributes: format!("{:#x}", key.attributes()),
            pcrs: quote.quoted(values).collect(),
            tpm_clock: quote.clock,
            tpm_firmware: format!("{:#x}", quote.firmware_version),
        })
    }
}
