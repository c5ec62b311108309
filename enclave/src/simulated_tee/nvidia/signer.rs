//! A P-384 key with a name, and the certificates it signs.

use p384::ecdsa::signature::Signer as _;
use p384::ecdsa::{Signature, SigningKey};
use rand_core::CryptoRng;

use super::super::authority::Validity;
use super::super::der::{
    Certificate, Extension, Name, Serial, bit_string, date, integer, object, sequence, tagged,
};

const OID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const OID_P384: &str = "1.3.132.0.34";
const OID_ECDSA_SHA384: &str = "1.2.840.10045.4.3.3";
const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const EXTENDED_KEY_USAGE: &str = "2.5.29.37";
const OCSP_SIGNING: &str = "1.3.6.1.5.5.7.3.9";

/// Length of a P-384 scalar.
const SCALAR_BYTES: usize = 48;

/// A key that signs certificates, reports, manifests or answers.
#[derive(Clone)]
pub struct Signer {
    /// Its name.
    pub name: Name,
    key: SigningKey,
}

impl Signer {
    /// Makes a key.
    pub fn generate(common_name: &str, rng: &mut impl CryptoRng) -> Signer {
        let key = loop {
            let mut scalar = [0; SCALAR_BYTES];
            rng.fill_bytes(&mut scalar);
            // Fails for zero and for values beyond the group order: once in 2^190 draws.
            if let Ok(key) = SigningKey::from_slice(&scalar) {
                break key;
            }
        };
        Signer { name: Name(common_name.to_owned()), key }
    }

    /// The public key as an uncompressed point.
    pub fn point(&self) -> Vec<u8> {
        self.key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
    }

    /// SubjectPublicKeyInfo, DER.
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = sequence(&[object(OID_EC_PUBLIC_KEY), object(OID_P384)]);
        sequence(&[algorithm, bit_string(&self.point())])
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
    pub fn certify(&self, template: &Certificate) -> Vec<u8> {
        let extensions: Vec<u8> = template.extensions.iter().flat_map(Extension::der).collect();
        self.seal(sequence(&[
            tagged(0xa0, &integer(2)),
            integer(template.serial),
            ecdsa_sha384(),
            template.issuer.der(),
            sequence(&[date(template.not_before), date(template.not_after)]),
            template.subject.der(),
            template.spki.clone(),
            tagged(0xa3, &tagged(0x30, &extensions)),
        ]))
    }

    /// A revocation list over `revoked`, DER.
    pub fn revocation_list(&self, revoked: &[Serial], window: Validity) -> Vec<u8> {
        let entries: Vec<u8> = revoked
            .iter()
            .flat_map(|serial| sequence(&[integer(*serial), date(window.not_before)]))
            .collect();
        let entries = if revoked.is_empty() { entries } else { tagged(0x30, &entries) };
        self.seal(sequence(&[
            integer(1),
            ecdsa_sha384(),
            self.name.der(),
            date(window.not_before),
            date(window.not_after),
            entries,
        ]))
    }

    /// `signed` with algorithm and signature around it.
    fn seal(&self, signed: Vec<u8>) -> Vec<u8> {
        let signature = self.sign_der(&signed);
        sequence(&[signed, ecdsa_sha384(), bit_string(&signature)])
    }

    /// A signature as X.509 carries it.
    pub fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_der().as_bytes().to_vec()
    }

    /// A signature as r || s.
    pub fn sign_fixed(&self, message: &[u8]) -> Vec<u8> {
        let signature: Signature = self.key.sign(message);
        signature.to_bytes().to_vec()
    }
}

/// AlgorithmIdentifier of ECDSA with SHA-384.
pub(super) fn ecdsa_sha384() -> Vec<u8> {
    sequence(&[object(OID_ECDSA_SHA384)])
}

fn extension(oid: &str, critical: bool, value: Vec<u8>) -> Extension {
    Extension { oid: oid.to_owned(), critical, value }
}

/// CA, keyCertSign, cRLSign.
pub fn authority_extensions() -> Vec<Extension> {
    vec![
        extension(BASIC_CONSTRAINTS, true, sequence(&[tagged(0x01, &[0xff])])),
        extension(KEY_USAGE, true, vec![0x03, 0x02, 0x01, 0x06]),
    ]
}

/// digitalSignature.
pub fn leaf_extensions() -> Vec<Extension> {
    vec![extension(KEY_USAGE, true, vec![0x03, 0x02, 0x07, 0x80])]
}

/// digitalSignature, and made for OCSP.
pub fn responder_extensions() -> Vec<Extension> {
    let mut extensions = leaf_extensions();
    extensions.push(extension(EXTENDED_KEY_USAGE, true, sequence(&[object(OCSP_SIGNING)])));
    extensions
}
