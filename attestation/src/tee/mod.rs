//! Trusted execution environments: one module each, chosen at one `match` (in
//! [`appraise`](crate::appraise::appraise)).
//!
//! Delivered: AMD SEV-SNP. Not yet: Intel TDX, NVIDIA, Hygon CSV; their evidence is refused by
//! the check `tee_type`, never passed over.

pub mod snp;

use bulla_wire::evidence::{TEE_SEV_SNP, TEE_TDX};
use serde::{Deserialize, Serialize};

/// A kind of trusted execution environment. That it can be named does not mean it can be appraised:
/// what this crate cannot judge it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeeKind {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX: collected, not appraised yet.
    Tdx,
}

impl TeeKind {
    /// The value of `tee_type` in an aci/1 report (§4.2).
    pub fn aci_name(self) -> &'static str {
        match self {
            TeeKind::Snp => TEE_SEV_SNP,
            TeeKind::Tdx => TEE_TDX,
        }
    }

    /// The kind an aci/1 `tee_type` names.
    pub fn from_aci_name(name: &str) -> Option<TeeKind> {
        [TeeKind::Snp, TeeKind::Tdx].into_iter().find(|kind| kind.aci_name() == name)
    }
}

impl std::fmt::Display for TeeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TeeKind::Snp => "snp",
            TeeKind::Tdx => "tdx",
        })
    }
}
