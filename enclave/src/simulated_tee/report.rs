//! The body of a report, every field settable.

use bulla_attestation::tee::snp::product::{Cpu, ProductLine};
use bulla_attestation::tee::snp::tcb::{RawTcb, Tcb};
use rand_core::CryptoRng;

/// The part of a report its signature covers.
pub(super) const SIGNED_BYTES: usize = 0x2a0;

/// Everything a report says but its REPORT_DATA; offsets as in AMD 56860.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportTemplate {
    /// 0x000.
    pub version: u32,
    /// 0x004.
    pub guest_svn: u32,
    /// 0x008.
    pub policy: u64,
    /// 0x030.
    pub vmpl: u32,
    /// 0x034.
    pub signature_algorithm: u32,
    /// 0x038.
    pub current_tcb: RawTcb,
    /// 0x040.
    pub platform_info: u64,
    /// 0x048: author key, mask, signing key.
    pub key_info: u32,
    /// 0x090.
    pub measurement: [u8; 48],
    /// 0x0C0.
    pub host_data: [u8; 32],
    /// 0x140.
    pub report_id: [u8; 32],
    /// 0x180.
    pub reported_tcb: RawTcb,
    /// 0x188.
    pub cpu: Cpu,
    /// 0x1A0.
    pub chip_id: [u8; 64],
    /// 0x1E0.
    pub committed_tcb: RawTcb,
    /// 0x1F0.
    pub launch_tcb: RawTcb,
}

/// Reserved bit 17 of a guest policy, always set.
const POLICY_RESERVED_ONE: u64 = 1 << 17;
/// ECC memory and ALIAS_CHECK_COMPLETE, as servers show.
const PLATFORM_INFO: u64 = 1 << 2 | 1 << 5;

impl ReportTemplate {
    /// A version 5 report of an up-to-date processor of `line` with a random chip id.
    pub fn new(line: ProductLine, rng: &mut impl CryptoRng) -> ReportTemplate {
        let mut chip_id = [0; 64];
        let chip_id_bytes = if line == ProductLine::Turin { 8 } else { 64 };
        rng.fill_bytes(&mut chip_id[..chip_id_bytes]);
        ReportTemplate::of_chip(line, chip_id)
    }

    /// A version 5 report of an up-to-date processor of `line` with this chip id.
    pub fn of_chip(line: ProductLine, chip_id: [u8; 64]) -> ReportTemplate {
        let (cpu, tcb) = processor(line);
        let tcb = tcb.encode(line);
        ReportTemplate {
            version: 5,
            guest_svn: 0,
            policy: POLICY_RESERVED_ONE,
            vmpl: 0,
            signature_algorithm: 1,
            current_tcb: tcb,
            platform_info: PLATFORM_INFO,
            key_info: 0,
            measurement: default_measurement(),
            host_data: [0; 32],
            report_id: [0; 32],
            reported_tcb: tcb,
            cpu,
            chip_id,
            committed_tcb: tcb,
            launch_tcb: tcb,
        }
    }

    /// The signed part of the report.
    pub fn encode(&self, report_data: &[u8; 64]) -> [u8; SIGNED_BYTES] {
        let mut body = [0; SIGNED_BYTES];
        let mut put = |at: usize, bytes: &[u8]| body[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x000, &self.version.to_le_bytes());
        put(0x004, &self.guest_svn.to_le_bytes());
        put(0x008, &self.policy.to_le_bytes());
        put(0x030, &self.vmpl.to_le_bytes());
        put(0x034, &self.signature_algorithm.to_le_bytes());
        put(0x038, &self.current_tcb.0);
        put(0x040, &self.platform_info.to_le_bytes());
        put(0x048, &self.key_info.to_le_bytes());
        put(0x050, report_data);
        put(0x090, &self.measurement);
        put(0x0c0, &self.host_data);
        put(0x140, &self.report_id);
        put(0x180, &self.reported_tcb.0);
        if self.version >= 3 {
            put(0x188, &[self.cpu.family, self.cpu.model, self.cpu.stepping]);
        }
        put(0x1a0, &self.chip_id);
        put(0x1e0, &self.committed_tcb.0);
        put(0x1f0, &self.launch_tcb.0);
        body
    }
}

/// Processor and firmware of a simulated machine: what `policies/appraisal/strict.toml` asks.
fn processor(line: ProductLine) -> (Cpu, Tcb) {
    let cpu = |family, model, stepping| Cpu { family, model, stepping };
    let tcb = |fmc, bootloader, snp, microcode| Tcb { fmc, bootloader, tee: 0, snp, microcode };
    match line {
        ProductLine::Milan => (cpu(0x19, 0x01, 1), tcb(None, 4, 0x1b, 0xde)),
        ProductLine::Genoa => (cpu(0x19, 0x11, 1), tcb(None, 10, 0x1b, 0x56)),
        ProductLine::Turin => (cpu(0x1a, 0x02, 1), tcb(Some(1), 1, 4, 0x51)),
    }
}

/// The launch digest of a simulated guest, which launched nothing: SHA-384 of a sentence.
pub fn default_measurement() -> [u8; 48] {
    let digest =
        ring::digest::digest(&ring::digest::SHA384, b"bulla simulated TEE: nothing was measured");
    let mut measurement = [0; 48];
    measurement.copy_from_slice(digest.as_ref());
    measurement
}
