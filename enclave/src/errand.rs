//! Errands: what the broker asks of an enclave beside requests. Each is signed with a delegated
//! grant key for one keyset and one moment, so that nobody else who reaches the port is obeyed.

use bulla_attestation::sign::{Signable, Signed, VerifyError, verify};
use bulla_wire::epoch::EpochOffer;
use bulla_wire::ids::Digest;
use bulla_wire::pull::Pull;
use bulla_wire::units::UnixSeconds;

use crate::admission::{AdmissionError, CLOCK_TOLERANCE_S, Gate, delegated_key};

/// A message of the broker to one enclave.
pub trait Errand: Signable {
    /// For whom.
    fn keyset(&self) -> Digest;
    /// When it was signed, by the broker's clock.
    fn issued_at(&self) -> UnixSeconds;
}

impl Errand for EpochOffer {
    fn keyset(&self) -> Digest {
        self.keyset
    }

    fn issued_at(&self) -> UnixSeconds {
        self.issued_at
    }
}

impl Errand for Pull {
    fn keyset(&self) -> Digest {
        self.keyset
    }

    fn issued_at(&self) -> UnixSeconds {
        self.issued_at
    }
}

/// Why an errand is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrandError {
    /// The delegation is not the broker root's, or does not hold now.
    #[error(transparent)]
    Delegation(AdmissionError),
    /// The message is not the grant key's.
    #[error("message: {0}")]
    Message(VerifyError),
    /// It is for another keyset.
    #[error("message is for keyset {got}, ours is {expected}")]
    Audience {
        /// Ours.
        expected: Digest,
        /// The message's.
        got: Digest,
    },
    /// It was signed too long ago, or by a clock too far ahead.
    #[error("message was signed at {issued_at}, now is {now}: outside the clock tolerance")]
    Clock {
        /// When it was signed.
        issued_at: UnixSeconds,
        /// Our time.
        now: UnixSeconds,
    },
}

impl Gate {
    /// The errand, if the broker signed it for us and now.
    pub fn errand<T: Errand>(
        &self,
        message: &[u8],
        delegation: &[u8],
        now: UnixSeconds,
    ) -> Result<Signed<T>, ErrandError> {
        let key =
            delegated_key(delegation, &self.broker_root, now).map_err(ErrandError::Delegation)?;
        let errand: Signed<T> = verify(message, &key).map_err(ErrandError::Message)?;
        if errand.keyset() != self.keyset {
            return Err(ErrandError::Audience { expected: self.keyset, got: errand.keyset() });
        }
        let issued_at = errand.issued_at();
        if issued_at.0.abs_diff(now.0) > CLOCK_TOLERANCE_S {
            return Err(ErrandError::Clock { issued_at, now });
        }
        Ok(errand)
    }
}
