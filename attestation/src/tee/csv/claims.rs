//! What a report says, for people and for JSON: hex in lower case.

use serde::Serialize;

use super::chain::Chain;
use super::report::{Generation, Report};
use crate::hash::sha256;
use crate::hex::Hex;

/// The claims of a Hygon CSV report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CsvClaims {
    /// Report version.
    pub report_version: u8,
    /// Launch digest (SM3).
    pub measurement: Hex<32>,
    /// What the guest had signed.
    pub report_data: Hex<64>,
    /// The guest's nonce.
    pub nonce: Hex<16>,
    /// csv, csv2 or csv3, as the launch policy asks.
    pub generation: Generation,
    /// Launch policy, as `0x…`.
    pub policy: String,
    /// The owner's name for the VM.
    pub vm_id: Hex<16>,
    /// The owner's version of the VM.
    pub vm_version: Hex<16>,
    /// Digest of the owner's session key, zero without one.
    pub user_pubkey_digest: Hex<32>,
    /// SHA-256 of the signed part of the chip's endorsement certificate (CEK, 1044 bytes): what names
    /// the chip. The serial number beside a report is signed by nobody and is no claim.
    pub chip_certificate: Option<Hex<32>>,
    /// Build of the firmware, since version 2.
    pub firmware_build: Option<u32>,
    /// Runtime registers (SM3), since version 2.
    pub registers: Option<[Hex<32>; 5]>,
}

impl CsvClaims {
    pub(super) fn of(report: &Report, chain: &Chain<'_>) -> CsvClaims {
        CsvClaims {
            report_version: report.version,
            measurement: Hex(report.measurement),
            report_data: Hex(report.report_data),
            nonce: Hex(report.nonce),
            generation: report.policy.generation(),
            policy: format!("{:#x}", report.policy.0),
            vm_id: Hex(report.vm_id),
            vm_version: Hex(report.vm_version),
            user_pubkey_digest: Hex(report.user_pubkey_digest),
            chip_certificate: chain.cek.map(|cek| Hex(sha256(cek.signed_part()).0)),
            firmware_build: report.firmware_build,
            registers: report.registers.map(|registers| registers.map(Hex)),
        }
    }
}
