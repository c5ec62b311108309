//! Messages read now whose signatures are judged later, one after the other or many at a time.

use bulla_wire::cbor;
use bulla_wire::cose::{KeyId, Sign1};
use bulla_wire::ids::{Digest, PublicKey, Signature};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::{Signable, VerifyError, other_key};
use crate::hash::labelled;

/// A message taken apart and decoded. Nobody has judged its signature: its value is a claim.
#[derive(Debug, Clone)]
pub struct Unverified<T> {
    /// What it says.
    pub value: T,
    /// Labelled digest of the message, as [`super::Signed::digest`].
    pub digest: Digest,
    /// Its signature, to be held against a key the reader trusts.
    pub signature: Loose,
}

/// A signature that nobody has tied to a key yet.
#[derive(Debug, Clone)]
pub struct Loose {
    kid: KeyId,
    message: Vec<u8>,
    signature: Signature,
}

/// That `key` signed `message`: true or not, judged by a [`Checker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub(super) key: PublicKey,
    pub(super) message: Vec<u8>,
    pub(super) signature: Signature,
}

/// Reads a message without believing it.
pub fn read<T: Signable>(bytes: &[u8]) -> Result<Unverified<T>, VerifyError> {
    let message = Sign1::parse(bytes, T::TYP, T::MAX_BYTES)?;
    let value = cbor::from_slice(message.payload, T::MAX_BYTES).map_err(VerifyError::Payload)?;
    let digest = labelled(T::DIGEST_LABEL, bytes);
    let (kid, signature) = (message.kid, message.signature);
    Ok(Unverified {
        value,
        digest,
        signature: Loose { kid, message: message.to_be_signed(), signature },
    })
}

impl Loose {
    /// The claim that whichever of `keys` the message names has signed it.
    pub fn by(self, keys: &[PublicKey]) -> Result<Claim, VerifyError> {
        let Loose { kid, message, signature } = self;
        match keys.iter().find(|key| KeyId::of(key) == kid) {
            Some(key) => Ok(Claim { key: *key, message, signature }),
            None => Err(other_key(keys.first(), kid)),
        }
    }
}

impl Claim {
    /// Judges this one alone.
    pub fn holds(&self) -> bool {
        UnparsedPublicKey::new(&ED25519, self.key.as_bytes())
            .verify(&self.message, self.signature.as_bytes())
            .is_ok()
    }
}

/// Judges claims. However it does: what it accepts is what [`Claim::holds`] accepts.
#[derive(Debug, Default)]
pub struct Checker {
    #[cfg(feature = "batch")]
    batch: Option<super::batch::Batch>,
}

impl Checker {
    /// One signature after the other.
    pub fn one_by_one() -> Checker {
        Checker::default()
    }

    /// Many signatures in one equation.
    #[cfg(feature = "batch")]
    pub fn in_batches() -> Checker {
        Checker { batch: Some(super::batch::Batch::default()) }
    }

    /// Which claims do not hold: their places, rising.
    pub fn failures(&mut self, claims: &[&Claim]) -> Vec<usize> {
        #[cfg(feature = "batch")]
        if let Some(batch) = &mut self.batch {
            return batch.failures(claims);
        }
        (0..claims.len()).filter(|at| !claims[*at].holds()).collect()
    }
}
