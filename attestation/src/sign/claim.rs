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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use bulla_wire::order::OrderKeyRegistration;
    use bulla_wire::units::UnixSeconds;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed([n; 32])
    }

    /// What `key(n)` signed, read and not believed.
    fn message(n: u8) -> Unverified<OrderKeyRegistration> {
        let order_key = key(n).public();
        let signed = key(n).sign(OrderKeyRegistration { issued_at: UnixSeconds(1), order_key });
        read(signed.bytes()).unwrap()
    }

    #[test]
    fn a_claim_is_about_the_key_that_the_message_names() {
        let keys = [key(1).public(), key(2).public()];
        for n in [1, 2] {
            let claim = message(n).signature.by(&keys).unwrap();
            assert_eq!(claim.key, key(n).public());
            assert!(claim.holds());
        }
        let got = message(3).signature.by(&keys);
        assert!(matches!(got, Err(VerifyError::OtherKey { .. })), "{got:?}");
    }

    #[test]
    fn every_checker_names_what_does_not_hold() {
        let mut claims: Vec<Claim> =
            (1..=5).map(|n| message(n).signature.by(&[key(n).public()]).unwrap()).collect();
        let failures = |claims: &[Claim]| {
            let claims: Vec<&Claim> = claims.iter().collect();
            let alone = Checker::one_by_one().failures(&claims);
            #[cfg(feature = "batch")]
            {
                let mut batches = Checker::in_batches();
                assert!(batches.batch.is_some());
                assert_eq!(batches.failures(&claims), alone);
            }
            alone
        };
        assert_eq!(failures(&claims), [0usize; 0]);
        claims[1].message.push(0);
        claims[4].signature = claims[3].signature;
        assert_eq!(failures(&claims), [1, 4]);
    }
}
