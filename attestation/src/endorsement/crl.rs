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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endorsement::der;

    /// An empty list of a nameless authority with one extension, 2.5.29.`last`.
    fn list_with(last: u8, is_critical: bool, value: &[u8]) -> Crl {
        let ecdsa_with_sha_256 = der(0x30, &[&[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]]);
        let critical: &[u8] = if is_critical { &[1, 1, 0xff] } else { &[] };
        let extension = der(0x30, &[&[6, 3, 0x55, 0x1d, last], critical, &der(4, &[value])]);
        let extensions = der(0xa0, &[&der(0x30, &[&extension])]);
        let made_at = der(0x17, &[b"260101000000Z"]);
        let signed =
            der(0x30, &[&[2, 1, 1], &ecdsa_with_sha_256, &[0x30, 0], &made_at, &extensions]);
        let whole = der(0x30, &[&signed, &ecdsa_with_sha_256, &[3, 2, 0, 0xaa]]);
        Crl::from_der(&whole).unwrap()
    }

    #[test]
    fn only_a_critical_extension_we_do_not_follow_forbids_a_list() {
        let (number, key, part_only) =
            (&[2, 1, 7][..], &[0x30, 3, 0x80, 1, 9][..], &[0x30, 3, 0x81, 1, 0xff][..]);
        for (last, value, forbids) in [(20, number, false), (35, key, false), (28, part_only, true)]
        {
            assert_eq!(list_with(last, true, value).has_unknown_critical, forbids, "{last}");
            assert!(!list_with(last, false, value).has_unknown_critical, "{last}");
        }
    }
}
