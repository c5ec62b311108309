//! Public keys and the one place where a vendor's signature is verified: RSA-PSS for AMD, ECDSA
//! P-256 for Intel, ECDSA P-384 for NVIDIA and for SEV-SNP reports, SM2 for Hygon, RSA for TPMs.
//!
//! P-384 is the slowest step of an appraisal, so it goes through one joint (`p384`).

mod der;
mod memory;
mod p384;

pub use memory::Memory;
use memory::Question;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey, VerificationAlgorithm,
};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_HASH_SHA384,
    OID_PKCS1_RSAENCRYPTION, OID_PKCS1_RSASSAPSS, OID_PKCS1_SHA256WITHRSA, OID_PKCS1_SHA384WITHRSA,
    OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384,
};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// How a signature was made; its bytes as X.509 carries them (ECDSA as a DER sequence).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSA-PSS with SHA-384, MGF1-SHA-384 and a 48-byte salt (AMD 57230).
    RsaPssSha384,
    /// RSA PKCS #1 v1.5 with SHA-256: TPM quotes and their certificates.
    RsaPkcs1Sha256,
    /// RSA PKCS #1 v1.5 with SHA-384.
    RsaPkcs1Sha384,
    /// ECDSA with SHA-256; by P-256 keys only.
    EcdsaSha256,
    /// ECDSA with SHA-384; by P-384 keys only.
    EcdsaSha384,
    /// Anything else: never verifies.
    Other,
}

impl SignatureAlgorithm {
    pub(crate) fn of(algorithm: &AlgorithmIdentifier<'_>) -> SignatureAlgorithm {
        let oid = &algorithm.algorithm;
        let is_pss_sha384 = || {
            let parameters = algorithm.parameters.as_ref();
            parameters
                .and_then(|any| RsaSsaPssParams::try_from(any).ok())
                .is_some_and(|params| *params.hash_algorithm_oid() == OID_NIST_HASH_SHA384)
        };
        match oid {
            oid if *oid == OID_PKCS1_RSASSAPSS && is_pss_sha384() => Self::RsaPssSha384,
            oid if *oid == OID_PKCS1_SHA256WITHRSA => Self::RsaPkcs1Sha256,
            oid if *oid == OID_PKCS1_SHA384WITHRSA => Self::RsaPkcs1Sha384,
            oid if *oid == OID_SIG_ECDSA_WITH_SHA256 => Self::EcdsaSha256,
            oid if *oid == OID_SIG_ECDSA_WITH_SHA384 => Self::EcdsaSha384,
            _ => Self::Other,
        }
    }
}

/// A key's bytes, and where it remembers what it verified (nowhere, unless told).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyBytes {
    bytes: Vec<u8>,
    memory: Memory,
}

impl From<Vec<u8>> for KeyBytes {
    fn from(bytes: Vec<u8>) -> KeyBytes {
        KeyBytes { bytes, memory: Memory::default() }
    }
}

impl std::ops::Deref for KeyBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A key somebody signs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, as a DER `RSAPublicKey` (RFC 8017).
    Rsa(KeyBytes),
    /// NIST P-256, as an uncompressed point.
    P256(KeyBytes),
    /// NIST P-384, as an uncompressed point.
    P384(KeyBytes),
    /// Anything else, named.
    Other(String),
}

impl PublicKey {
    pub(crate) fn of(info: &SubjectPublicKeyInfo<'_>) -> PublicKey {
        let bytes = KeyBytes::from(info.subject_public_key.data.to_vec());
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        if info.algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            PublicKey::Rsa(bytes)
        } else if info.algorithm.algorithm == OID_KEY_TYPE_EC_PUBLIC_KEY {
            match curve {
                Some(oid) if oid == OID_NIST_EC_P384 => PublicKey::P384(bytes),
                Some(oid) if oid == OID_EC_P256 => PublicKey::P256(bytes),
                _ => PublicKey::Other("an unnamed curve".to_owned()),
            }
        } else {
            PublicKey::Other(info.algorithm.algorithm.to_id_string())
        }
    }

    /// From now on, signatures by this key that are valid are computed once per `memory`.
    pub fn remember_in(&mut self, memory: &Memory) {
        match self {
            PublicKey::Rsa(key) | PublicKey::P256(key) | PublicKey::P384(key) => {
                key.memory = memory.clone();
            }
            PublicKey::Other(_) => {}
        }
    }

    /// Verifies a signature as X.509 carries it. False for a key of another kind.
    pub fn verifies(&self, algorithm: SignatureAlgorithm, signed: &[u8], signature: &[u8]) -> bool {
        use SignatureAlgorithm as By;
        let (key, scheme) = match (self, algorithm) {
            (PublicKey::Rsa(key), By::RsaPssSha384) => (key, Scheme::RsaPssSha384),
            (PublicKey::Rsa(key), By::RsaPkcs1Sha256) => (key, Scheme::RsaPkcs1Sha256),
            (PublicKey::Rsa(key), By::RsaPkcs1Sha384) => (key, Scheme::RsaPkcs1Sha384),
            (PublicKey::P256(key), By::EcdsaSha256) => (key, Scheme::P256Der),
            (PublicKey::P384(key), By::EcdsaSha384) => (key, Scheme::P384Der),
            _ => return false,
        };
        scheme.verifies(key, signed, signature)
    }

    /// Verifies an ECDSA signature given as r || s, big-endian and of fixed length: P-256 with
    /// SHA-256 (64 bytes), P-384 with SHA-384 (96 bytes). False for a key of another kind.
    pub fn verifies_fixed(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            PublicKey::P256(key) => Scheme::P256Fixed.verifies(key, signed, signature),
            PublicKey::P384(key) => Scheme::P384Fixed.verifies(key, signed, signature),
            PublicKey::Rsa(_) | PublicKey::Other(_) => false,
        }
    }
}

/// Everything that decides how signature bytes are read; the number is its name in a [`Memory`].
#[derive(Clone, Copy)]
enum Scheme {
    RsaPssSha384 = 1,
    RsaPkcs1Sha256 = 2,
    RsaPkcs1Sha384 = 3,
    P256Der = 4,
    P256Fixed = 5,
    P384Der = 6,
    P384Fixed = 7,
}

impl Scheme {
    fn verifies(self, key: &KeyBytes, signed: &[u8], signature: &[u8]) -> bool {
        let question = Question { algorithm: &[self as u8], key: &key.bytes, signed, signature };
        key.memory.recall(question, || self.computes(&key.bytes, signed, signature))
    }

    fn computes(self, key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
        let by: &'static dyn VerificationAlgorithm = match self {
            Scheme::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
            Scheme::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            Scheme::RsaPkcs1Sha384 => &RSA_PKCS1_2048_8192_SHA384,
            Scheme::P256Der => &ECDSA_P256_SHA256_ASN1,
            Scheme::P256Fixed => &ECDSA_P256_SHA256_FIXED,
            Scheme::P384Der => return p384::verifies_der(key, signed, signature),
            Scheme::P384Fixed => return p384::verifies_fixed(key, signed, signature),
        };
        UnparsedPublicKey::new(by, key).verify(signed, signature).is_ok()
    }
}

#[cfg(test)]
mod tests;
