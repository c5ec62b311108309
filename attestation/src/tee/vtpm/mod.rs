//! `vtpm-dev`: a TPM's quote, and no TEE. **No hardware protects anything.**
//!
//! A sealed image started by UEFI firmware beside a TPM has its kernel, initial RAM disk and command
//! line measured into the TPM's registers, and the TPM signs them together with the digest of the
//! keyset's statement. That makes the whole path from a published reference value to a sealed request
//! true without a confidential processor, which is what it is for. Whoever runs the machine reads its
//! memory, and a software TPM is that machine's own program: so every verdict is marked simulated,
//! no policy takes it that does not say `allow_simulated`, and the key must be named.
//!
//! The root is the attestation key itself, by its public key. An endorsement key's certificate is not
//! followed: that key decrypts and cannot sign, so tying an attestation key to it takes a
//! conversation with the TPM (TPM2_ActivateCredential), which a relying party does not have.
//!
//! The qualifying data is the 32-byte statement digest, which is what REPORT_DATA begins with; the
//! other 32 bytes of REPORT_DATA are zero by definition.

mod checks;
mod claims;
mod document;

pub use claims::VtpmClaims;
pub use document::{DocumentError, FORMAT, MAX_DOCUMENT_BYTES, VtpmEvidence};

use bulla_wire::units::UnixSeconds;

use self::checks::Case;
use super::TeeKind;
use super::tpm::{Quote, TpmKey, ecdsa_signature};
use crate::anchor::TrustAnchors;
use crate::endorsement::Endorsements;
use crate::policy::Policy;
use crate::raw::Expectations;
use crate::result::{AttestationResult, Check, CheckName, Claims};

/// What a verdict calls the product.
const PRODUCT: &str = "TPM without a TEE";

/// Appraises raw evidence at the instant `now`. The result never yields keys.
pub fn appraise_raw(
    evidence: &[u8],
    endorsements: &Endorsements,
    anchors: &TrustAnchors,
    policy: &Policy,
    expectations: &Expectations,
    now: UnixSeconds,
) -> AttestationResult {
    let kind = TeeKind::VtpmDev;
    let takes = policy.allows_tee(kind);
    let tee_type = Check::judge(CheckName::TeeType, takes, "a TEE the policy lists", kind.name());
    let expected = "a vtpm-dev document: attestation key, quote, signature, registers";
    let evidence = match VtpmEvidence::from_json(evidence) {
        Ok(evidence) => evidence,
        Err(error) => {
            let format = Check::judge(CheckName::ReportFormat, false, expected, error.to_string());
            return AttestationResult::new(kind, policy, now, vec![tee_type, format]);
        }
    };
    let got = format!("{} registers", evidence.pcrs.len());
    let format = Check::judge(CheckName::ReportFormat, true, expected, got);
    let Some(rules) = policy.vtpm_dev() else {
        return AttestationResult::new(kind, policy, now, vec![tee_type, format]);
    };
    let key = TpmKey::parse(&evidence.public).map(|key| {
        let mut public = key.public_key();
        public.remember_in(&endorsements.memory);
        (key, public)
    });
    let case = Case {
        key,
        quote: Quote::parse(&evidence.quote),
        signature: ecdsa_signature(&evidence.signature),
        evidence: &evidence,
        anchors,
        policy,
        rules,
        expectations,
    };
    let mut checks = vec![tee_type, format];
    checks.extend(checks::all(&case));
    let result = AttestationResult::new(kind, policy, now, checks);
    match VtpmClaims::of(&case) {
        Some(claims) => {
            result.about(Some(PRODUCT.to_owned()), true, Claims::Vtpm(Box::new(claims)))
        }
        None => result.simulated_if(true),
    }
}
