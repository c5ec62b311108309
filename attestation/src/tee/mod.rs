//! Trusted execution environments: one module each, chosen at one `match` (in
//! [`appraise`](crate::appraise::appraise)).
//!
//! Delivered: AMD SEV-SNP. Not yet: Intel TDX, NVIDIA, Hygon CSV; their evidence is refused by
//! the check `tee_type`, never passed over.

pub mod snp;

use serde::{Deserialize, Serialize};

/// A kind of trusted execution environment this crate can appraise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeeKind {
    /// AMD SEV-SNP.
    Snp,
}

impl TeeKind {
    /// The value of `tee_type` in an aci/1 report (§4.2).
    pub fn aci_name(self) -> &'static str {
        match self {
            TeeKind::Snp => "sev_snp",
        }
    }

    /// The kind an aci/1 `tee_type` names, if it can be appraised here.
    pub fn from_aci_name(name: &str) -> Option<TeeKind> {
        (name == TeeKind::Snp.aci_name()).then_some(TeeKind::Snp)
    }
}

impl std::fmt::Display for TeeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            TeeKind::Snp => "snp",
        })
    }
}
