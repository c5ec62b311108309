//! A certificate revocation list (RFC 5280 §5).

use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::certificate::Name;
use super::frame::Frame;
use crate::signature::{PublicKey, SignatureAlgorithm};

/// Extensions whose meaning we follow, so that they may be critical: authority key identifier and
/// number. A delta list or one for part of an authority's certificates carries others.
const UNDERSTOOD: [&str; 2] = ["2.5.29.35", "2.5.29.20"];

/// One revoked certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Serial number, big-endian, as it stands.
    pub serial: Vec<u8>,
    /// When it was revoked.
    pub since: i64,
}

/// A revocation list, parsed; the signed bytes are kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    /// Who signed it.
    pub issuer: Name,
    /// Made at.
    pub this_update: i64,
    /// The next one was due at; `None` where the list does not say.
    pub next_update: Option<i64>,
    /// What it revokes.
    pub revoked: Vec<Revoked>,
    /// It carries a critical extension we do not follow, so it must not be used.
    pub has_unknown_critical: bool,
    signed: Vec<u8>,
    signature: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

impl Crl {
    /// Parses one DER list, nothing before or after it. The error carries nothing: bytes that are
    /// no list are left aside.
    #[allow(clippy::result_unit_err)]
    pub fn from_der(der: &[u8]) -> Result<Crl, ()> {
        let (rest, parsed) = CertificateRevocationList::from_der(der).map_err(|_| ())?;
        let tbs = &parsed.tbs_cert_list;
        let frame = Frame::of(der).filter(|_| rest.is_empty()).ok_or(())?;
        let unknown = |oid: &str, critical: bool| critical && !UNDERSTOOD.contains(&oid);
        Ok(Crl {
            issuer: Name::of(&tbs.issuer),
            this_update: tbs.this_update.timestamp(),
            next_update: tbs.next_update.map(|date| date.timestamp()),
            revoked: parsed
                .iter_revoked_certificates()
                .map(|entry| Revoked {
                    serial: entry.raw_serial().to_vec(),
                    since: entry.revocation_date.timestamp(),
                })
                .collect(),
            has_unknown_critical: parsed
                .extensions()
                .iter()
                .any(|extension| unknown(&extension.oid.to_id_string(), extension.critical)),
            signed: frame.signed.to_vec(),
            signature: frame.signature.to_vec(),
            algorithm: SignatureAlgorithm::of(&parsed.signature_algorithm),
        })
    }

    /// Whether `issuer_key` made this list's signature.
    pub fn is_signed_by(&self, issuer_key: &PublicKey) -> bool {
        issuer_key.verifies(self.algorithm, &self.signed, &self.signature)
    }

    /// Whether it speaks for the second `now`: made before it, and its successor not yet due.
    pub fn is_current(&self, now: i64) -> bool {
        self.this_update <= now && self.next_update.is_some_and(|next| now <= next)
    }

    /// Whether it lists `serial` as revoked at `now` or before.
    pub fn revokes(&self, serial: &[u8], now: i64) -> bool {
        self.revoked.iter().any(|entry| entry.serial == serial && entry.since <= now)
    }
}
