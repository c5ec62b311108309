//! What a report says, for people and for JSON: hex in lower case.

use serde::Serialize;

use super::product::{Cpu, Part, ProductLine};
use super::report::Report;
use super::tcb::{RawTcb, Tcb};
use crate::hex::Hex;

/// One TCB version: as it stands, and decoded where the product is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TcbClaim {
    /// The eight bytes as they stand.
    pub raw: RawTcb,
    /// The components.
    #[serde(flatten)]
    pub components: Option<Tcb>,
}

/// The claims of a SEV-SNP report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnpClaims {
    /// Report version.
    pub report_version: u32,
    /// Launch digest.
    pub measurement: Hex<48>,
    /// What the guest had signed.
    pub report_data: Hex<64>,
    /// The 64 report bytes as they stand.
    pub chip_id: Hex<64>,
    /// What the host attached at launch.
    pub host_data: Hex<32>,
    /// SHA-384 of the key that signed the ID block, zero without one.
    pub id_key_digest: Hex<48>,
    /// Security version of the guest.
    pub guest_svn: u32,
    /// Privilege level that asked.
    pub vmpl: u32,
    /// Launch policy, as `0x…`.
    pub policy: String,
    /// Platform information, as `0x…`.
    pub platform_info: String,
    /// vcek or vlek.
    pub signing_key: String,
    /// The processor, since version 3.
    pub cpu: Option<Cpu>,
    /// The part, where the processor is known.
    pub part: Option<Part>,
    /// The TCB the signing key is derived for.
    pub tcb: TcbClaim,
    /// The TCB below which the platform cannot go.
    pub committed_tcb: TcbClaim,
    /// The TCB that runs.
    pub current_tcb: TcbClaim,
    /// The TCB at launch.
    pub launch_tcb: TcbClaim,
}

impl SnpClaims {
    pub(super) fn of(report: &Report, line: Option<ProductLine>) -> SnpClaims {
        let tcb = |raw: RawTcb| TcbClaim { raw, components: line.map(|line| raw.decode(line)) };
        SnpClaims {
            report_version: report.version,
            measurement: Hex(report.measurement),
            report_data: Hex(report.report_data),
            chip_id: Hex(report.chip_id),
            host_data: Hex(report.host_data),
            id_key_digest: Hex(report.id_key_digest),
            guest_svn: report.guest_svn,
            vmpl: report.vmpl,
            policy: format!("{:#x}", report.policy.0),
            platform_info: format!("{:#x}", report.platform_info.0),
            signing_key: report.signing_key.to_string(),
            cpu: report.cpu,
            part: report.cpu.and_then(Cpu::part),
            tcb: tcb(report.reported_tcb),
            committed_tcb: tcb(report.committed_tcb),
            current_tcb: tcb(report.current_tcb),
            launch_tcb: tcb(report.launch_tcb),
        }
    }
}
