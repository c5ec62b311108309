//! Raw evidence, without a keyset beside it: judged, never a source of keys.

use bulla_wire::units::UnixSeconds;

use crate::anchor::TrustAnchors;
use crate::endorsement::Endorsements;
use crate::policy::{self, Policy};
use crate::result::AttestationResult;
use crate::tee::{TeeKind, azure, csv, nvidia, snp, tdx, vtpm};

/// What a caller expects of raw evidence, beyond the policy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectations {
    /// What the guest was asked to have signed, all 64 bytes (CPU evidence).
    pub report_data: Option<[u8; 64]>,
    /// The nonce the verifier sent: the 32 bytes of a GPU's request, the extra data of a TPM quote.
    pub nonce: Option<Vec<u8>>,
    /// The launch digest: SNP's measurement, TDX's MRTD.
    pub measurement: Option<Vec<u8>>,
}

/// Appraises `evidence` of `kind` at the instant `now`: the bytes as the hardware signed them (SNP,
/// TDX, CSV), or a JSON document (NVIDIA, Azure, vtpm-dev).
pub fn appraise_raw(
    kind: TeeKind,
    evidence: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let result = match kind {
        TeeKind::Snp => {
            snp::appraise_raw(evidence, endorsements, anchors, policy, expectations, now)
        }
        TeeKind::Tdx => {
            tdx::appraise_raw(evidence, endorsements, anchors, policy, expectations, now)
        }
        TeeKind::Nvidia => {
            nvidia::appraise_raw(evidence, endorsements, anchors, policy, expectations, now)
        }
        TeeKind::AzureSnp | TeeKind::AzureTdx => {
            azure::appraise_raw(kind, evidence, endorsements, anchors, policy, expectations, now)
        }
        TeeKind::Csv => {
            csv::appraise_raw(evidence, endorsements, anchors, policy, expectations, now)
        }
        TeeKind::VtpmDev => {
            vtpm::appraise_raw(evidence, endorsements, anchors, policy, expectations, now)
        }
    };
    policy::finish(result, policy)
}
