//! Azure confidential VMs: the paravisor's report (HCL) around an SNP report or TDX quote, and a vTPM quote by the key it names.

use bulla_wire::units::UnixSeconds;
use serde::Serialize;

use super::TeeKind;
use crate::anchor::TrustAnchors;
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName};

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AzureClaims {}

/// Appraises raw evidence at the instant `now`. The result never yields keys.
pub fn appraise_raw(
    kind: TeeKind,
    _evidence: &[u8],
    _endorsements: &Endorsements,
    _anchors: &TrustAnchors,
    policy: &Policy,
    _expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let kind = kind;
    let check = Check::judge(
        CheckName::TeeType,
        false,
        "evidence this version appraises",
        kind.to_string(),
    );
    AttestationResult::new(kind, policy, now, vec![check])
}
