//! ML-DSA-44 (FIPS 204) keys of cosigners: what C2SP tlog-cosignature has as type 0x06.

use std::fmt;

use ml_dsa::{
    EncodedSignature, EncodedVerifyingKey, Keypair, MlDsa44, Signature, Signer, SigningKey,
    Verifier, VerifyingKey,
};
use zeroize::Zeroizing;

use crate::key::{
    KEY_ID_BYTES, KeyError, KeyText, KeyType, MAX_NAME_BYTES, check_name, key_id, write_key,
};

/// Bytes in an ML-DSA-44 public key (FIPS 204 table 2).
pub const ML_DSA_44_KEY_BYTES: usize = 1312;

/// Bytes in an ML-DSA-44 signature (FIPS 204 table 2).
pub const ML_DSA_44_SIGNATURE_BYTES: usize = 2420;

/// Bytes in the seed of a private key (FIPS 204, algorithm 6).
pub const ML_DSA_44_SEED_BYTES: usize = 32;

/// Bytes in a witness key's text of either type: name, two plus signs, 8 hex digits, base64 of
/// 1313 bytes.
pub const MAX_WITNESS_KEY_BYTES: usize = MAX_NAME_BYTES + 10 + 1752;

const TYPE: KeyType = KeyType::MlDsaCosignature;

/// A public key under a name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct MlDsaPublic {
    pub(crate) name: String,
    pub(crate) id: [u8; KEY_ID_BYTES],
    pub(crate) bytes: Vec<u8>,
}

impl MlDsaPublic {
    pub(crate) fn new(name: &str, bytes: &[u8]) -> Result<Self, KeyError> {
        check_name(name)?;
        let (expected, got) = (ML_DSA_44_KEY_BYTES, bytes.len());
        if got != expected {
            return Err(KeyError::KeyLength { expected, got });
        }
        let id = key_id(name, TYPE, bytes);
        Ok(Self { name: name.to_owned(), id, bytes: bytes.to_vec() })
    }

    pub(crate) fn of_text(text: &KeyText<'_>) -> Result<Self, KeyError> {
        text.check_type(TYPE)?;
        let parsed = Self::new(text.name, &text.key)?;
        text.check_id(parsed.id)?;
        Ok(parsed)
    }

    pub(crate) fn accepts(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = EncodedVerifyingKey::<MlDsa44>::try_from(self.bytes.as_slice());
        let signature = EncodedSignature::<MlDsa44>::try_from(signature);
        let (Ok(key), Ok(signature)) = (key, signature) else { return false };
        let key = VerifyingKey::<MlDsa44>::decode(&key);
        Signature::<MlDsa44>::decode(&signature)
            .is_some_and(|signature| key.verify(message, &signature).is_ok())
    }
}

impl fmt::Display for MlDsaPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_key(f, &self.name, &self.id, TYPE, &self.bytes)
    }
}

/// A private key under a name. No `Debug`; the seed is wiped on drop.
pub(crate) struct MlDsaPrivate {
    seed: Zeroizing<[u8; ML_DSA_44_SEED_BYTES]>,
    pub(crate) public: MlDsaPublic,
}

impl MlDsaPrivate {
    pub(crate) fn new(name: &str, seed: &[u8; ML_DSA_44_SEED_BYTES]) -> Result<Self, KeyError> {
        let key = SigningKey::<MlDsa44>::from_seed(&(*seed).into());
        let public = MlDsaPublic::new(name, key.verifying_key().encode().as_slice())?;
        Ok(Self { seed: Zeroizing::new(*seed), public })
    }

    /// The bytes of a signature, deterministic, with an empty context (FIPS 204 section 5.2).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let key = SigningKey::<MlDsa44>::from_seed(&(*self.seed).into());
        key.sign(message).encode().to_vec()
    }
}
