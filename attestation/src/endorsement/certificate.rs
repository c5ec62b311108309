//! One X.509 certificate (RFC 5280), parsed once into the facts an appraisal asks for.

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{FromDer, ParsedExtension, X509Version};
use x509_parser::x509::X509Name;

use super::frame::Frame;
use crate::signature::{Memory, PublicKey, SignatureAlgorithm};

/// Why bytes are not a certificate we can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one whole DER certificate: another structure, truncated, or followed by other bytes.
    #[error("not a single DER certificate")]
    NotACertificate,
    /// An extension appears twice, so its meaning would depend on the reader.
    #[error("extension {oid} appears twice")]
    RepeatedExtension {
        /// Dotted object identifier.
        oid: String,
    },
    /// The frame around the signed part is not DER, or names another algorithm than the signed part
    /// (RFC 5280 §4.1.1.2).
    #[error("the frame around the signed part is altered")]
    Frame,
}

/// A distinguished name: its exact bytes, and the common name to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// DER as it stands; names are compared byte for byte.
    pub der: Vec<u8>,
    /// The common name, empty where there is none.
    pub common_name: String,
}

impl Name {
    pub(super) fn of(name: &X509Name<'_>) -> Name {
        let common_name = name.iter_common_name().next().and_then(|part| part.as_str().ok());
        Name { der: name.as_raw().to_vec(), common_name: common_name.unwrap_or("").to_owned() }
    }
}

/// Key usage bits an appraisal asks for (RFC 5280 §4.2.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsages {
    /// May sign certificates.
    pub signs_certificates: bool,
    /// May sign revocation lists.
    pub signs_crls: bool,
}

/// An extension, undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Dotted object identifier.
    pub oid: String,
    /// Whether whoever does not understand it must refuse.
    pub critical: bool,
    /// Whether it is one of those RFC 5280 rules this crate applies.
    pub understood: bool,
    /// Content of the OCTET STRING.
    pub value: Vec<u8>,
}

/// A certificate, parsed; the signed bytes are kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The whole certificate.
    pub der: Vec<u8>,
    /// The SubjectPublicKeyInfo as it stands, for pins.
    pub spki: Vec<u8>,
    /// Whom it is about.
    pub subject: Name,
    /// Who signed it.
    pub issuer: Name,
    /// Serial number, big-endian, as it stands.
    pub serial: Vec<u8>,
    /// First second of validity.
    pub not_before: i64,
    /// Last second of validity.
    pub not_after: i64,
    /// The key.
    pub public_key: PublicKey,
    /// Whether basicConstraints says CA; `None` without the extension.
    pub is_ca: Option<bool>,
    /// Key usage; `None` without the extension.
    pub key_usage: Option<KeyUsages>,
    /// Every extension, in order.
    pub extensions: Vec<Extension>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    /// How it is signed.
    pub algorithm: SignatureAlgorithm,
}

impl Certificate {
    /// Parses one DER certificate, nothing before or after it.
    pub fn from_der(der: &[u8]) -> Result<Certificate, CertificateError> {
        let (rest, parsed) =
            X509Certificate::from_der(der).map_err(|_| CertificateError::NotACertificate)?;
        let tbs = &parsed.tbs_certificate;
        if !rest.is_empty() || tbs.version != X509Version::V3 {
            return Err(CertificateError::NotACertificate);
        }
        let frame = Frame::of(der).ok_or(CertificateError::Frame)?;
        let extensions = extensions_of(&parsed)?;
        Ok(Certificate {
            der: der.to_vec(),
            spki: tbs.subject_pki.raw.to_vec(),
            subject: Name::of(&tbs.subject),
            issuer: Name::of(&tbs.issuer),
            serial: tbs.raw_serial().to_vec(),
            not_before: tbs.validity.not_before.timestamp(),
            not_after: tbs.validity.not_after.timestamp(),
            public_key: PublicKey::of(&tbs.subject_pki),
            is_ca: is_ca(&parsed),
            key_usage: key_usage(&parsed),
            extensions,
            signed: frame.signed.to_vec(),
            signature: frame.signature.to_vec(),
            algorithm: SignatureAlgorithm::of(&parsed.signature_algorithm),
        })
    }

    /// Whether `issuer_key` made this certificate's signature.
    pub fn is_signed_by(&self, issuer_key: &PublicKey) -> bool {
        issuer_key.verifies(self.algorithm, &self.signed, &self.signature)
    }

    /// From now on, valid signatures by this certificate's key are computed once per `memory`.
    pub fn remember_in(&mut self, memory: &Memory) {
        self.public_key.remember_in(memory);
    }

    /// Whether it names itself as its issuer.
    pub fn is_self_issued(&self) -> bool {
        self.subject == self.issuer
    }

    /// Content of the extension `oid`.
    pub fn extension(&self, oid: &str) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|extension| extension.oid == oid)?;
        Some(&found.value)
    }
}

fn extensions_of(parsed: &X509Certificate<'_>) -> Result<Vec<Extension>, CertificateError> {
    let mut extensions: Vec<Extension> = Vec::new();
    for extension in parsed.extensions() {
        let oid = extension.oid.to_id_string();
        if extensions.iter().any(|earlier| earlier.oid == oid) {
            return Err(CertificateError::RepeatedExtension { oid });
        }
        let understood = matches!(
            extension.parsed_extension(),
            ParsedExtension::BasicConstraints(_) | ParsedExtension::KeyUsage(_)
        );
        extensions.push(Extension {
            oid,
            critical: extension.critical,
            understood,
            value: extension.value.to_vec(),
        });
    }
    Ok(extensions)
}

fn is_ca(parsed: &X509Certificate<'_>) -> Option<bool> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::BasicConstraints(constraints) => Some(constraints.ca),
        _ => None,
    })
}

fn key_usage(parsed: &X509Certificate<'_>) -> Option<KeyUsages> {
    parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::KeyUsage(usage) => Some(KeyUsages {
            signs_certificates: usage.key_cert_sign(),
            signs_crls: usage.crl_sign(),
        }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARK_MILAN: &[u8] = include_bytes!("../tee/snp/roots/ark-milan.der");

    #[test]
    fn accepts_a_root_that_signed_itself() {
        let root = Certificate::from_der(ARK_MILAN).unwrap();
        assert_eq!(root.subject.common_name, "ARK-Milan");
        assert!(root.is_self_issued() && root.is_signed_by(&root.public_key));
        assert_eq!(root.is_ca, Some(true));
    }

    #[test]
    fn refuses_a_changed_byte_anywhere_that_still_parses() {
        let root = Certificate::from_der(ARK_MILAN).unwrap();
        let mut changed = ARK_MILAN.to_vec();
        for at in (0..ARK_MILAN.len()).step_by(7) {
            changed[at] ^= 1;
            if let Ok(altered) = Certificate::from_der(&changed) {
                assert!(!altered.is_signed_by(&root.public_key), "byte {at}");
            }
            changed[at] ^= 1;
        }
    }

    #[test]
    fn refuses_bytes_after_the_certificate() {
        let mut longer = ARK_MILAN.to_vec();
        longer.push(0);
        assert_eq!(Certificate::from_der(&longer), Err(CertificateError::NotACertificate));
    }
}
