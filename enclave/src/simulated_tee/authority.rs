//! The two upper keys of a simulated chain: ARK and ASK, RSA-4096, certificates in AMD's shape.

use bulla_attestation::tee::snp::product::ProductLine;
use rand_core::CryptoRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey};
use zeroize::Zeroizing;

use super::der::{
    Certificate, Extension, ForRsa, Name, Serial, date, integer, pss_sha384, sequence, signed,
    tagged,
};

/// Size of ARK and ASK keys, as AMD's.
const RSA_BITS: usize = 4096;
/// Serial numbers, as Genoa's real ones.
const ARK_SERIAL: Serial = 0x20000;
/// Serial number of the ASK: what a revocation list would name.
const ASK_SERIAL: Serial = 0x20002;

const BASIC_CONSTRAINTS: &str = "2.5.29.19";
const KEY_USAGE: &str = "2.5.29.15";
const CRL_NUMBER: &str = "2.5.29.20";

/// Why there is no authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// RSA keys could not be made.
    #[error("RSA-{RSA_BITS} key could not be made: {reason}")]
    Generate {
        /// What the RSA implementation says.
        reason: String,
    },
    /// Stored bytes are not a PKCS#8 RSA key.
    #[error("{which} key does not read (PKCS#8 expected): delete the folder to make a new chain")]
    Malformed {
        /// ark or ask.
        which: &'static str,
    },
}

/// From when to when certificates are valid, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before: i64,
    /// Last second.
    pub not_after: i64,
}

impl Validity {
    /// `years` of 365 days from `now`, beginning one day earlier so that clocks may differ.
    pub fn years_from(now: i64, years: i64) -> Validity {
        const DAY: i64 = 24 * 3600;
        Validity { not_before: now - DAY, not_after: now + years * 365 * DAY }
    }
}

/// A simulated AMD: its keys and certificates.
#[derive(Clone)]
pub struct Authority {
    line: ProductLine,
    ark: RsaPrivateKey,
    ask: RsaPrivateKey,
    ark_certificate: Vec<u8>,
    ask_certificate: Vec<u8>,
}

impl Authority {
    /// Makes both keys, which takes seconds, and their certificates.
    pub fn generate(
        line: ProductLine,
        validity: Validity,
        rng: &mut impl CryptoRng,
    ) -> Result<Authority, AuthorityError> {
        let mut key = || {
            RsaPrivateKey::new(&mut ForRsa(rng), RSA_BITS)
                .map_err(|error| AuthorityError::Generate { reason: error.to_string() })
        };
        let (ark, ask) = (key()?, key()?);
        Authority::certify(line, validity, ark, ask, rng)
    }

    /// Takes up stored keys and certificates.
    pub fn from_stored(
        line: ProductLine,
        ark_pkcs8: &[u8],
        ask_pkcs8: &[u8],
        ark_certificate: Vec<u8>,
        ask_certificate: Vec<u8>,
    ) -> Result<Authority, AuthorityError> {
        let key = |pkcs8: &[u8], which| {
            RsaPrivateKey::from_pkcs8_der(pkcs8).map_err(|_| AuthorityError::Malformed { which })
        };
        let (ark, ask) = (key(ark_pkcs8, "ark")?, key(ask_pkcs8, "ask")?);
        Ok(Authority { line, ark, ask, ark_certificate, ask_certificate })
    }

    fn certify(
        line: ProductLine,
        validity: Validity,
        ark: RsaPrivateKey,
        ask: RsaPrivateKey,
        rng: &mut impl CryptoRng,
    ) -> Result<Authority, AuthorityError> {
        let certificate = |serial, subject, key: &RsaPrivateKey, extensions| {
            Ok(Certificate {
                serial,
                issuer: Authority::ark_name(line),
                subject,
                not_before: validity.not_before,
                not_after: validity.not_after,
                spki: spki(key)?,
                extensions,
            })
        };
        let root = certificate(ARK_SERIAL, Authority::ark_name(line), &ark, root_extensions())?;
        let intermediate =
            certificate(ASK_SERIAL, Authority::ask_name(line), &ask, intermediate_extensions())?;
        let (ark_certificate, ask_certificate) =
            (root.sign(&ark, rng), intermediate.sign(&ark, rng));
        Ok(Authority { line, ark, ask, ark_certificate, ask_certificate })
    }

    /// The product line it imitates.
    pub fn line(&self) -> ProductLine {
        self.line
    }

    /// The root certificate, DER: what a relying party has to name.
    pub fn ark_certificate(&self) -> &[u8] {
        &self.ark_certificate
    }

    /// The intermediate certificate, DER.
    pub fn ask_certificate(&self) -> &[u8] {
        &self.ask_certificate
    }

    /// The root key, PKCS#8.
    pub fn ark_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        pkcs8(&self.ark)
    }

    /// The intermediate key, PKCS#8.
    pub fn ask_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
        pkcs8(&self.ask)
    }

    /// Signs any certificate with the ASK.
    pub fn sign_with_ask(&self, certificate: &Certificate, rng: &mut impl CryptoRng) -> Vec<u8> {
        certificate.sign(&self.ask, rng)
    }

    /// Signs any certificate with the ARK.
    pub fn sign_with_ark(&self, certificate: &Certificate, rng: &mut impl CryptoRng) -> Vec<u8> {
        certificate.sign(&self.ark, rng)
    }

    /// The intermediate's certificate before it is signed, to be made wrong and signed again.
    pub fn ask_template(&self, validity: Validity) -> Result<Certificate, AuthorityError> {
        Ok(Certificate {
            serial: ASK_SERIAL,
            issuer: Authority::ark_name(self.line),
            subject: Authority::ask_name(self.line),
            not_before: validity.not_before,
            not_after: validity.not_after,
            spki: spki(&self.ask)?,
            extensions: intermediate_extensions(),
        })
    }

    /// A revocation list of the ARK over `revoked`, DER.
    pub fn revocation_list(
        &self,
        revoked: &[Serial],
        window: Validity,
        rng: &mut impl CryptoRng,
    ) -> Vec<u8> {
        let entries: Vec<u8> = revoked
            .iter()
            .flat_map(|serial| sequence(&[integer(*serial), date(window.not_before)]))
            .collect();
        let entries = if revoked.is_empty() { entries } else { tagged(0x30, &entries) };
        let number = Extension { oid: CRL_NUMBER.to_owned(), critical: false, value: integer(1) };
        let tbs = sequence(&[
            integer(1),
            pss_sha384(),
            Authority::ark_name(self.line).der(),
            date(window.not_before),
            date(window.not_after),
            entries,
            tagged(0xa0, &sequence(&[number.der()])),
        ]);
        signed(tbs, &self.ark, rng)
    }

    /// Serial number of the ASK certificate.
    pub fn ask_serial(&self) -> Serial {
        ASK_SERIAL
    }

    /// Name of the ARK of a product line.
    pub fn ark_name(line: ProductLine) -> Name {
        Name(format!("ARK-{}", line.amd_name()))
    }

    /// Name of the ASK of a product line.
    pub fn ask_name(line: ProductLine) -> Name {
        Name(format!("SEV-{}", line.amd_name()))
    }
}

fn spki(key: &RsaPrivateKey) -> Result<Vec<u8>, AuthorityError> {
    let der = key.to_public_key().to_public_key_der();
    der.map(|document| document.as_bytes().to_vec())
        .map_err(|error| AuthorityError::Generate { reason: error.to_string() })
}

fn pkcs8(key: &RsaPrivateKey) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let document = key
        .to_pkcs8_der()
        .map_err(|error| AuthorityError::Generate { reason: error.to_string() })?;
    Ok(Zeroizing::new(document.as_bytes().to_vec()))
}

fn critical(oid: &str, value: Vec<u8>) -> Extension {
    Extension { oid: oid.to_owned(), critical: true, value }
}

/// CA without a path length, keyCertSign and cRLSign, as an ARK's.
fn root_extensions() -> Vec<Extension> {
    vec![
        critical(KEY_USAGE, vec![0x03, 0x02, 0x01, 0x06]),
        critical(BASIC_CONSTRAINTS, sequence(&[tagged(0x01, &[0xff])])),
    ]
}

/// CA with path length 0, keyCertSign, as an ASK's.
fn intermediate_extensions() -> Vec<Extension> {
    vec![
        critical(BASIC_CONSTRAINTS, sequence(&[tagged(0x01, &[0xff]), integer(0)])),
        critical(KEY_USAGE, vec![0x03, 0x02, 0x02, 0x04]),
    ]
}
