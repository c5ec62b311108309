//! Policy for paravisor and vTPM of Azure confidential VMs, beside the section of the CPU inside.

use serde::Deserialize;

use super::{Accept, Demand, Tolerance};
use crate::hex::Hex;

/// What one register of the vTPM may hold.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcrRule {
    /// Number of the register, 0 to 23.
    pub pcr: usize,
    /// Values of the SHA-256 bank it may hold.
    pub values: Vec<Hex<32>>,
}

/// Rules for Azure's paravisor and vTPM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzurePolicy {
    /// A quote by the vTPM beside the paravisor's report.
    pub tpm_quote: Demand,
    /// The verifier's own nonce in that quote.
    pub nonce: Demand,
    /// Secure boot, as the paravisor configured the VM.
    pub secure_boot: Demand,
    /// A serial console, through which Azure's operator reaches the guest.
    pub console: Tolerance,
    /// Digests of the keys that signed the paravisor's ID block (SEV-SNP; a TD has no such key, its
    /// paravisor is told by the measurements of `[tdx]`).
    pub paravisor_signers: Accept<Hex<48>>,
    /// VMs taken, by the unique id the paravisor knows them under.
    pub vm_unique_ids: Accept<String>,
    /// Registers asked: each one listed must be quoted and hold one of its values.
    pub pcrs: Accept<PcrRule>,
}
