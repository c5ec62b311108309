//! EAT Attestation Results (draft-ietf-rats-ear-04, a profile of RFC 9711): a verdict that others
//! can consume, signed by whoever reached it.
//!
//! * JWT (RFC 7519), in two dialects: the current draft's, and the one of 2023 that Veraison's and
//!   Trustee's releases read (`ear.status`, `ear.trustworthiness-vector`).
//! * CWT (RFC 8392), the current draft's, as COSE_Sign1 with Ed25519.
//!
//! What our checks mean in AR4SI's terms is one table ([`TrustVector::of`]). It claims no more than
//! was checked: what a policy does not ask is "no claim", and a simulated TEE is contraindicated
//! even where a development policy affirms it.

mod cwt;
mod jwt;
mod vector;

pub use jwt::{Dialect, UnsignedJwt};
pub use vector::{Tier, TrustVector};

use bulla_wire::units::UnixSeconds;
use serde_json::{Map, Value, json};

use crate::result::{AttestationResult, Verdict};

/// `eat_profile` of the current draft.
pub const PROFILE: &str = "tag:ietf.org,2026:rats/ear#04";
/// `eat_profile` of the dialect of 2023.
pub const PROFILE_2023: &str = "tag:github.com,2023:veraison/ear";
/// Lengths of a nonce (RFC 9711 §4.1), in bytes.
const NONCE_BYTES: std::ops::RangeInclusive<usize> = 8..=64;

/// Who reached the verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierId {
    /// Who answers for the verifier.
    pub developer: String,
    /// Which build it was.
    pub build: String,
}

/// A verdict about to be signed.
#[derive(Debug, Clone)]
pub struct Ear<'a> {
    result: &'a AttestationResult,
    verifier: VerifierId,
    issued_at: UnixSeconds,
    expires: Option<UnixSeconds>,
    nonce: Option<Vec<u8>>,
}

/// Why a verdict cannot be written as an EAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EarError {
    /// RFC 9711 fixes the length of a nonce.
    #[error("a nonce has 8 to 64 bytes, got {got_bytes}")]
    Nonce {
        /// Bytes given.
        got_bytes: usize,
    },
    /// The draft wants both names.
    #[error("a verifier needs a developer and a build")]
    Verifier,
    /// A claim that has no place in JSON or CBOR.
    #[error("claims cannot be written: {reason}")]
    Claims {
        /// What the writer says.
        reason: String,
    },
}

impl<'a> Ear<'a> {
    /// The EAR of `result`, as issued at `issued_at`.
    pub fn new(
        result: &'a AttestationResult,
        verifier: VerifierId,
        issued_at: UnixSeconds,
    ) -> Result<Ear<'a>, EarError> {
        if verifier.developer.is_empty() || verifier.build.is_empty() {
            return Err(EarError::Verifier);
        }
        Ok(Ear { result, verifier, issued_at, expires: None, nonce: None })
    }

    /// The instant after which nobody should rely on it.
    pub fn expiring(mut self, at: UnixSeconds) -> Ear<'a> {
        self.expires = Some(at);
        self
    }

    /// The relying party's nonce, which makes this very result fresh.
    pub fn answering(mut self, nonce: &[u8]) -> Result<Ear<'a>, EarError> {
        if !NONCE_BYTES.contains(&nonce.len()) {
            return Err(EarError::Nonce { got_bytes: nonce.len() });
        }
        self.nonce = Some(nonce.to_vec());
        Ok(self)
    }

    /// The overall tier.
    pub fn status(&self) -> Tier {
        let worst = TrustVector::of(self.result).worst();
        match self.result.verdict() {
            Verdict::Affirmed => worst.max(Tier::Affirming),
            Verdict::Refused => Tier::Contraindicated,
        }
    }

    /// What the submodule is called: the CPU's TEE, or the devices.
    fn submodule(&self) -> &'static str {
        match self.result.tee() {
            crate::tee::TeeKind::Nvidia => "gpu0",
            _ => "cpu0",
        }
    }

    /// The policy by name and digest.
    fn policy_id(&self) -> String {
        let policy = self.result.policy();
        format!("bulla:policy:{}:sha256:{}", policy.name, policy.digest)
    }

    /// What the evidence says, under the name of its kind; empty where it did not read.
    fn attester_claims(&self) -> Result<Map<String, Value>, EarError> {
        let refused = |error: serde_json::Error| EarError::Claims { reason: error.to_string() };
        let mut claims = Map::new();
        if let Some(said) = self.result.claims() {
            let said = serde_json::to_value(said).map_err(refused)?;
            claims.insert(self.result.tee().name().to_owned(), said);
        }
        Ok(claims)
    }

    /// What the verifier found: the verdict as it stands in our own JSON, without the claims.
    fn verifier_claims(&self) -> Result<Map<String, Value>, EarError> {
        let whole = serde_json::to_value(self.result);
        let whole = whole.map_err(|error| EarError::Claims { reason: error.to_string() })?;
        let Value::Object(mut whole) = whole else {
            return Err(EarError::Claims { reason: "a result is an object".to_owned() });
        };
        whole.remove("claims");
        Ok(whole)
    }

    fn verifier_id(&self) -> Value {
        json!({ "build": self.verifier.build, "developer": self.verifier.developer })
    }
}

#[cfg(test)]
mod tests;
