//! What an Azure VM's evidence says, for people and for JSON.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use serde::Serialize;
use serde_json::{Map, Value};

use super::checks::Case;
use crate::hex::Hex;
use crate::result::Claims;
use crate::tee::snp::SnpClaims;
use crate::tee::tdx::TdxClaims;
use crate::tee::tpm::Clock;

/// The claims of the hardware's report inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum CpuClaims {
    /// AMD SEV-SNP.
    Snp(Box<SnpClaims>),
    /// Intel TDX.
    Tdx(Box<TdxClaims>),
}

impl CpuClaims {
    /// The claims of an appraisal of SEV-SNP or TDX evidence.
    pub(super) fn of(claims: Claims) -> Option<CpuClaims> {
        match claims {
            Claims::Snp(claims) => Some(CpuClaims::Snp(claims)),
            Claims::Tdx(claims) => Some(CpuClaims::Tdx(claims)),
            _ => None,
        }
    }
}

/// The claims of an Azure confidential VM: those of the CPU, at the top, and the paravisor's. The
/// `report_data` among them is the hardware's own: the digest of the runtime data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AzureClaims {
    /// What the hardware's report says: its keys stand beside these.
    #[serde(flatten)]
    pub cpu: CpuClaims,
    /// How the VM is configured, as the paravisor says.
    pub vm_configuration: Map<String, Value>,
    /// The 64 bytes the guest wrote into the runtime data.
    pub user_data: Option<Hex<64>>,
    /// Names of the keys in the runtime data.
    pub keys: Vec<String>,
    /// Extra data of the vTPM's quote, lower-case hex: the verifier's nonce.
    pub nonce: Option<String>,
    /// The registers the quote covers: number and value (SHA-256 bank).
    pub pcrs: Option<BTreeMap<usize, Hex<32>>>,
    /// The vTPM's clock when it signed.
    pub tpm_clock: Option<Clock>,
    /// Firmware version of the vTPM, as `0x…`.
    pub tpm_firmware: Option<String>,
}

impl AzureClaims {
    pub(super) fn of(case: &Case<'_>, cpu: CpuClaims) -> AzureClaims {
        let runtime = case.runtime.as_ref().ok();
        let quote = case.quote();
        AzureClaims {
            cpu,
            vm_configuration: runtime.map(|r| r.vm_configuration.clone()).unwrap_or_default(),
            user_data: runtime.and_then(|r| r.user_data).map(Hex),
            keys: runtime.map(|r| r.key_names.clone()).unwrap_or_default(),
            nonce: quote.map(|(quote, _)| HEXLOWER.encode(&quote.extra_data)),
            pcrs: quote.map(|(quote, given)| quote.quoted(&given.pcrs).collect()),
            tpm_clock: quote.map(|(quote, _)| quote.clock),
            tpm_firmware: quote.map(|(quote, _)| format!("{:#x}", quote.firmware_version)),
        }
    }
}
