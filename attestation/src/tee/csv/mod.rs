//! Hygon CSV: attestation reports under SM2 and SM3.

use bulla_wire::units::UnixSeconds;
use serde::Serialize;

use super::TeeKind;
use crate::anchor::{TrustAnchor, TrustAnchors};
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName};

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CsvClaims {}

/// The vendor's roots as trust anchors: hardware, not simulated.
pub fn hygon_anchors() -> Vec<TrustAnchor> {
    Vec::new()
}

/// Appraises raw evidence at the instant `now`. The result never yields keys.
pub fn appraise_raw(
    _evidence: &[u8],
    _endorsements: &Endorsements,
    _anchors: &TrustAnchors,
    policy: &Policy,
    _expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let kind = TeeKind::Csv;
    let check = Check::judge(
        CheckName::TeeType,
        false,
        "evidence this version appraises",
        kind.to_string(),
    );
    AttestationResult::new(kind, policy, now, vec![check])
}
