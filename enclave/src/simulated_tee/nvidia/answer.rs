//! An OCSP answer (RFC 6960), every field settable.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA384, digest};
use time::OffsetDateTime;

use super::super::authority::Validity;
use super::super::der::{Serial, bit_string, integer, object, sequence, tagged};
use super::signer::{Signer, ecdsa_sha384};

const OID_SHA384: &str = "2.16.840.1.101.3.4.2.2";
const OID_BASIC: &str = "1.3.6.1.5.5.7.48.1.1";

/// What the responder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not revoked.
    Good,
    /// Revoked, with a CRLReason; 6 is on hold.
    Revoked(u8),
    /// Not known.
    Unknown,
}

/// Everything an answer says about one certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerTemplate {
    /// Serial number of the certificate asked about.
    pub serial: Serial,
    /// What is said of it.
    pub status: Status,
    /// From when to when.
    pub window: Validity,
    /// Adds a critical extension nobody knows.
    pub has_unknown_critical: bool,
}

impl AnswerTemplate {
    /// `serial` is good in `window`.
    pub fn good(serial: Serial, window: Validity) -> AnswerTemplate {
        AnswerTemplate { serial, status: Status::Good, window, has_unknown_critical: false }
    }

    /// The answer about a certificate that `issuer` signed, made by `responder`; its certificate
    /// goes along, where there is one.
    pub fn sign(&self, issuer: &Signer, responder: &Signer, certificate: Option<&[u8]>) -> Vec<u8> {
        let octets = |bytes: &[u8]| tagged(0x04, bytes);
        let sha384 = |bytes: &[u8]| octets(digest(&SHA384, bytes).as_ref());
        let id = sequence(&[
            sequence(&[object(OID_SHA384), tagged(0x05, &[])]),
            sha384(&issuer.name.der()),
            sha384(&issuer.point()),
            integer(self.serial),
        ]);
        let single = sequence(&[
            id,
            self.status_der(),
            date(self.window.not_before),
            tagged(0xa0, &date(self.window.not_after)),
        ]);
        let key_hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &responder.point());
        let extension = sequence(&[object("1.2.3.4"), tagged(0x01, &[0xff]), octets(&[5, 0])]);
        let extensions = match self.has_unknown_critical {
            true => tagged(0xa1, &tagged(0x30, &extension)),
            false => Vec::new(),
        };
        let data = sequence(&[
            tagged(0xa2, &octets(key_hash.as_ref())),
            date(self.window.not_before),
            tagged(0x30, &single),
            extensions,
        ]);
        let signature = bit_string(&responder.sign_der(&data));
        let certificates = certificate.map_or(Vec::new(), |der| tagged(0xa0, &tagged(0x30, der)));
        let basic = sequence(&[data, ecdsa_sha384(), signature, certificates]);
        let bytes = sequence(&[object(OID_BASIC), octets(&basic)]);
        sequence(&[tagged(0x0a, &[0]), tagged(0xa0, &bytes)])
    }

    fn status_der(&self) -> Vec<u8> {
        match self.status {
            Status::Good => tagged(0x80, &[]),
            Status::Unknown => tagged(0x82, &[]),
            Status::Revoked(reason) => {
                let reason = tagged(0xa0, &tagged(0x0a, &[reason]));
                tagged(0xa1, &[date(self.window.not_before), reason].concat())
            }
        }
    }
}

/// GeneralizedTime.
fn date(seconds: i64) -> Vec<u8> {
    let instant =
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, time) = (instant.date(), instant.time());
    let text = format!(
        "{:04}{:02}{:02}{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        time.hour(),
        time.minute(),
        time.second()
    );
    tagged(0x18, text.as_bytes())
}
