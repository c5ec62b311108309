//! A P-256 key with a name, and what it signs.
#![allow(clippy::disallowed_types, reason = "ring signs ECDSA only with its own randomness")]

use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};

use super::super::authority::Validity;
use super::super::der::{
    Certificate, Extension, Name, Serial, bit_string, date, integer, object, sequence, tagged,
};

const OID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const OID_P256: &str = "1.2.840.10045.3.1.7";
const OID_ECDSA_SHA256: &str = "1.2.840.10045.4.3.2";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";

/// Length of a signature as r || s.
const SIGNATURE_BYTES: usize = 64;

/// The machine's randomness failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("P-256 key could not be made or used: no randomness")]
pub struct KeyError;

/// A key that signs certificates, quotes or collateral.
#[derive(Clone)]
pub struct Signer {
    /// Its name.
    pub name: Name,
    key: Arc<EcdsaKeyPair>,
}

impl Signer {
    /// Makes a key.
    pub fn generate(common_name: &str) -> Result<Signer, KeyError> {
        let (rng, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).map_err(|_| KeyError)?;
        let key =
            EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &rng).map_err(|_| KeyError)?;
        Ok(Signer { name: Name(common_name.to_owned()), key: Arc::new(key) })
    }

    /// The public key as an uncompressed point.
    pub fn point(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = sequence(&[object(OID_EC_PUBLIC_KEY), object(OID_P256)]);
        sequence(&[algorithm, bit_string(self.point())])
    }

    /// This key's certificate before it is signed; every field can be made wrong.
    pub fn template(
        &self,
        issuer: &Signer,
        serial: Serial,
        validity: Validity,
        extensions: Vec<Extension>,
    ) -> Certificate {
        Certificate {
            serial,
            issuer: issuer.name.clone(),
            subject: self.name.clone(),
            not_before: validity.not_before,
            not_after: validity.not_after,
            spki: self.spki(),
            extensions,
        }
    }

    /// Signs a certificate, DER.
    pub fn certify(&self, template: &Certificate) -> Result<Vec<u8>, KeyError> {
        let extensions: Vec<u8> = template.extensions.iter().flat_map(Extension::der).collect();
        self.seal(sequence(&[
            tagged(0xa0, &integer(2)),
            integer(template.serial),
            ecdsa_sha256(),
            template.issuer.der(),
            sequence(&[date(template.not_before), date(template.not_after)]),
            template.subject.der(),
            template.spki.clone(),
            tagged(0xa3, &tagged(0x30, &extensions)),
        ]))
    }

    /// A revocation list over `revoked`, DER.
    pub fn revocation_list(
        &self,
        revoked: &[Serial],
        window: Validity,
    ) -> Result<Vec<u8>, KeyError> {
        let entries: Vec<u8> = revoked
            .iter()
            .flat_map(|serial| sequence(&[integer(*serial), date(window.not_before)]))
            .collect();
        let entries = if revoked.is_empty() { entries } else { tagged(0x30, &entries) };
        let number = Extension { oid: "2.5.29.20".to_owned(), critical: false, value: integer(1) };
        self.seal(sequence(&[
            integer(1),
            ecdsa_sha256(),
            self.name.der(),
            date(window.not_before),
            date(window.not_after),
            entries,
            tagged(0xa0, &sequence(&[number.der()])),
        ]))
    }

    /// `signed` with algorithm and signature around it.
    fn seal(&self, signed: Vec<u8>) -> Result<Vec<u8>, KeyError> {
        let signature = self.sign(&signed)?;
        let (r, s) = signature.split_at(SIGNATURE_BYTES / 2);
        let signature = sequence(&[unsigned(r), unsigned(s)]);
        Ok(sequence(&[signed, ecdsa_sha256(), bit_string(&signature)]))
    }

    /// A signature as r || s.
    pub fn sign(&self, message: &[u8]) -> Result<[u8; SIGNATURE_BYTES], KeyError> {
        let signature = self.key.sign(&SystemRandom::new(), message).map_err(|_| KeyError)?;
        signature.as_ref().try_into().map_err(|_| KeyError)
    }
}

/// AlgorithmIdentifier of ECDSA with SHA-256.
fn ecdsa_sha256() -> Vec<u8> {
    sequence(&[object(OID_ECDSA_SHA256)])
}

/// An INTEGER from big-endian bytes, in its shortest form.
fn unsigned(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len() - 1);
    let mut content = bytes[first..].to_vec();
    if content[0] >= 0x80 {
        content.insert(0, 0);
    }
    tagged(0x02, &content)
}

fn critical(oid: &str, value: Vec<u8>) -> Extension {
    Extension { oid: oid.to_owned(), critical: true, value }
}

/// CA with `below` authorities under it, keyCertSign, cRLSign.
pub fn authority_extensions(below: u32) -> Vec<Extension> {
    vec![
        critical(KEY_USAGE, vec![0x03, 0x02, 0x01, 0x06]),
        critical(BASIC_CONSTRAINTS, sequence(&[tagged(0x01, &[0xff]), integer(below)])),
    ]
}

/// digitalSignature, no CA.
pub fn leaf_extensions() -> Vec<Extension> {
    vec![
        critical(KEY_USAGE, vec![0x03, 0x02, 0x06, 0xc0]),
        critical(BASIC_CONSTRAINTS, sequence(&[])),
    ]
}
