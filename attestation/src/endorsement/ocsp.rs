//! Answers of an OCSP responder (RFC 6960): whether certificates are good, revoked, on hold, or
//! unknown to it, for a window of time.
//!
//! Read strictly as DER. An answer with a critical extension we do not follow is left unused. The
//! nonce of a request is not compared: whoever hands an answer over did not ask on our behalf; the
//! window bounds how old it may be.

use ring::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512, digest};
use time::{Date, Month, PrimitiveDateTime, Time};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AlgorithmIdentifier;

use super::Certificate;
use super::frame::Element;
use crate::signature::{PublicKey, SignatureAlgorithm};

/// Most certificates one answer speaks of (ours; NVIDIA's speak of one).
const MAX_ANSWERS: usize = 64;
/// Most certificates that come along (ours; NVIDIA's answers carry one).
const MAX_CERTIFICATES: usize = 8;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const BOOLEAN: u8 = 0x01;

/// id-pkix-ocsp-basic, 1.3.6.1.5.5.7.48.1.1, as DER content.
const BASIC_RESPONSE: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// id-pkix-ocsp-nonce, 1.3.6.1.5.5.7.48.1.2: may be critical without harm.
const NONCE: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
/// CRLReason certificateHold (RFC 5280 §5.3.1).
const CERTIFICATE_HOLD: u8 = 6;

/// What the responder says of one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OcspStatus {
    /// Not revoked.
    Good,
    /// Put on hold: revoked until it is taken back.
    Hold,
    /// Revoked for good; with the CRLReason, where there is one.
    Revoked(Option<u8>),
    /// The responder does not know it.
    Unknown,
}

/// What an answer says of one certificate, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspEntry {
    hash: HashKind,
    issuer_name_hash: Vec<u8>,
    issuer_key_hash: Vec<u8>,
    serial: Vec<u8>,
    /// The status.
    pub status: OcspStatus,
    /// True since.
    pub this_update: i64,
    /// Newer information is due at; `None` where the answer does not say.
    pub next_update: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum HashKind {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// Who signed, as the answer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Responder {
    Name(Vec<u8>),
    KeyHash(Vec<u8>),
}

/// An OCSP answer, parsed; the signed bytes are kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OcspAnswer {
    /// What it says, per certificate.
    pub entries: Vec<OcspEntry>,
    /// It carries a critical extension we do not follow, so it must not be used.
    pub has_unknown_critical: bool,
    responder: Responder,
    pub(super) certificates: Vec<Certificate>,
    signed: Vec<u8>,
    signature: Vec<u8>,
    algorithm: SignatureAlgorithm,
}

/// Who made a genuine answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer<'a> {
    /// The authority that issued the certificate asked about.
    Issuer,
    /// A responder that authority appointed, by a certificate for signing OCSP answers.
    Appointed(&'a Certificate),
}

impl OcspAnswer {
    /// Parses one successful DER answer, nothing before or after it; `None` for anything else.
    pub fn from_der(der: &[u8]) -> Option<OcspAnswer> {
        let (outer, []) = Element::read(der)? else { return None };
        let mut outer = Reader(outer.content_of(SEQUENCE)?);
        // responseStatus: 0 is successful; an error carries nothing.
        let [0] = outer.take(ENUMERATED)? else { return None };
        let mut bytes = Reader(Reader(outer.last(0xa0)?).last(SEQUENCE)?);
        if bytes.take(OBJECT)? != BASIC_RESPONSE {
            return None;
        }
        let mut basic = Reader(Reader(bytes.last(OCTETS)?).last(SEQUENCE)?);
        let (data, rest) = Element::read(basic.0)?;
        basic.0 = rest;
        let (algorithm, rest) = Element::read(basic.0)?;
        basic.0 = rest;
        let (_, parsed) = AlgorithmIdentifier::from_der(algorithm.whole).ok()?;
        let [0, signature @ ..] = basic.take(BIT_STRING)? else { return None };
        let certificates = match basic.0 {
            [] => Vec::new(),
            _ => certificates(basic.last(0xa0)?)?,
        };
        let (responder, entries, has_unknown_critical) = response_data(data.content_of(SEQUENCE)?)?;
        Some(OcspAnswer {
            entries,
            has_unknown_critical,
            responder,
            certificates,
            signed: data.whole.to_vec(),
            signature: signature.to_vec(),
            algorithm: SignatureAlgorithm::of(&parsed),
        })
    }

    /// What it says of `certificate`, issued by `issuer`.
    pub fn about(&self, certificate: &Certificate, issuer: &Certificate) -> Option<&OcspEntry> {
        self.entries.iter().find(|entry| entry.is_about(certificate, issuer))
    }

    /// Who signed it, where that is `issuer` or a responder it appointed; `None` where it is nobody
    /// who may. Dates are the caller's to check.
    pub fn signer(&self, issuer: &Certificate) -> Option<Signer<'_>> {
        let signs = |key: &PublicKey| key.verifies(self.algorithm, &self.signed, &self.signature);
        if self.names(issuer) && signs(&issuer.public_key) {
            return Some(Signer::Issuer);
        }
        // One name, one responder: trying more would only cost time.
        let responder = self.certificates.iter().find(|responder| self.names(responder))?;
        let is_appointed = responder.issuer == issuer.subject
            && responder.is_for_ocsp()
            && responder.is_signed_by(&issuer.public_key)
            && signs(&responder.public_key);
        is_appointed.then_some(Signer::Appointed(responder))
    }

    fn names(&self, certificate: &Certificate) -> bool {
        match &self.responder {
            Responder::Name(name) => *name == certificate.subject.der,
            Responder::KeyHash(hash) => {
                key_bytes(certificate).is_some_and(|key| HashKind::Sha1.of(key) == *hash)
            }
        }
    }
}

impl OcspEntry {
    fn is_about(&self, certificate: &Certificate, issuer: &Certificate) -> bool {
        self.serial == certificate.serial
            && self.issuer_name_hash == self.hash.of(&certificate.issuer.der)
            && key_bytes(issuer).is_some_and(|key| self.issuer_key_hash == self.hash.of(key))
    }

    /// Whether it speaks for the second `now`.
    pub fn is_current(&self, now: i64) -> bool {
        self.this_update <= now && self.next_update.is_some_and(|next| now <= next)
    }
}

impl HashKind {
    fn from_oid(oid: &[u8]) -> Option<HashKind> {
        match oid {
            [0x2b, 0x0e, 3, 2, 0x1a] => Some(HashKind::Sha1),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1] => Some(HashKind::Sha256),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2] => Some(HashKind::Sha384),
            [0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3] => Some(HashKind::Sha512),
            _ => None,
        }
    }

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm: &'static Algorithm = match self {
            HashKind::Sha1 => &SHA1_FOR_LEGACY_USE_ONLY,
            HashKind::Sha256 => &SHA256,
            HashKind::Sha384 => &SHA384,
            HashKind::Sha512 => &SHA512,
        };
        digest(algorithm, bytes).as_ref().to_vec()
    }
}

/// Content of the subjectPublicKey BIT STRING, which both kinds of key hash are taken of.
fn key_bytes(certificate: &Certificate) -> Option<&[u8]> {
    match &certificate.public_key {
        PublicKey::Rsa(bytes) | PublicKey::P256(bytes) | PublicKey::P384(bytes) => Some(bytes),
        _ => None,
    }
}

/// What is left of a structure.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Content of the next element, which must carry `tag`.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (element, rest) = Element::read(self.0)?;
        let content = element.content_of(tag)?;
        self.0 = rest;
        Some(content)
    }

    /// The same, where it is there.
    fn take_if(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() == Some(&tag) { self.take(tag) } else { None }
    }

    /// The same, and nothing follows.
    fn last(&mut self, tag: u8) -> Option<&'a [u8]> {
        let content = self.take(tag)?;
        self.0.is_empty().then_some(content)
    }
}

fn certificates(explicit: &[u8]) -> Option<Vec<Certificate>> {
    let mut list = Reader(explicit).last(SEQUENCE)?;
    let mut certificates = Vec::new();
    while let Some((element, rest)) = Element::read(list) {
        if certificates.len() == MAX_CERTIFICATES {
            return None;
        }
        // One that does not parse cannot be the responder's: it is passed over.
        certificates.extend(Certificate::from_der(element.whole));
        list = rest;
    }
    list.is_empty().then_some(certificates)
}

fn response_data(content: &[u8]) -> Option<(Responder, Vec<OcspEntry>, bool)> {
    let mut data = Reader(content);
    // version, which DER leaves out: there is only v1.
    if data.take_if(0xa0).is_some() {
        return None;
    }
    let responder = match data.take_if(0xa1) {
        Some(name) => {
            let (whole, []) = Element::read(name)? else { return None };
            whole.content_of(SEQUENCE)?;
            Responder::Name(name.to_vec())
        }
        None => Responder::KeyHash(Reader(data.take(0xa2)?).last(OCTETS)?.to_vec()),
    };
    seconds(data.take(GENERALIZED_TIME)?)?;
    let mut list = data.take(SEQUENCE)?;
    let mut unknown = unknown_critical(&mut data, 0xa1)?;
    let mut entries = Vec::new();
    while let Some((element, rest)) = Element::read(list) {
        if entries.len() == MAX_ANSWERS {
            return None;
        }
        let (entry, unknown_here) = entry(element.content_of(SEQUENCE)?)?;
        unknown |= unknown_here;
        // A hash we do not know names no certificate of ours.
        entries.extend(entry);
        list = rest;
    }
    (list.is_empty() && data.0.is_empty()).then_some((responder, entries, unknown))
}

fn entry(content: &[u8]) -> Option<(Option<OcspEntry>, bool)> {
    let mut single = Reader(content);
    let mut id = Reader(single.take(SEQUENCE)?);
    let hash = HashKind::from_oid(Reader(id.take(SEQUENCE)?).take(OBJECT)?);
    let (name, key) = (id.take(OCTETS)?.to_vec(), id.take(OCTETS)?.to_vec());
    let serial = id.last(INTEGER)?.to_vec();
    let (status, rest) = Element::read(single.0)?;
    single.0 = rest;
    let status = status_of(&status)?;
    let this_update = seconds(single.take(GENERALIZED_TIME)?)?;
    let next_update = match single.take_if(0xa0) {
        Some(explicit) => Some(seconds(Reader(explicit).last(GENERALIZED_TIME)?)?),
        None => None,
    };
    let unknown = unknown_critical(&mut single, 0xa1)?;
    let entry = hash.map(|hash| OcspEntry {
        hash,
        issuer_name_hash: name,
        issuer_key_hash: key,
        serial,
        status,
        this_update,
        next_update,
    });
    single.0.is_empty().then_some((entry, unknown))
}

fn status_of(element: &Element<'_>) -> Option<OcspStatus> {
    match (element.tag, element.content) {
        (0x80, []) => Some(OcspStatus::Good),
        (0x82, []) => Some(OcspStatus::Unknown),
        (0xa1, revoked) => {
            let mut revoked = Reader(revoked);
            seconds(revoked.take(GENERALIZED_TIME)?)?;
            let reason = match revoked.0 {
                [] => None,
                _ => match Reader(revoked.last(0xa0)?).last(ENUMERATED)? {
                    [reason] => Some(*reason),
                    _ => return None,
                },
            };
            match reason {
                Some(CERTIFICATE_HOLD) => Some(OcspStatus::Hold),
                reason => Some(OcspStatus::Revoked(reason)),
            }
        }
        _ => None,
    }
}

/// Reads the extensions under `tag`, where there are any: whether one is critical and not a nonce.
fn unknown_critical(reader: &mut Reader<'_>, tag: u8) -> Option<bool> {
    let Some(explicit) = reader.take_if(tag) else { return Some(false) };
    let mut list = Reader(explicit).last(SEQUENCE)?;
    let mut unknown = false;
    while let Some((element, rest)) = Element::read(list) {
        let mut extension = Reader(element.content_of(SEQUENCE)?);
        let oid = extension.take(OBJECT)?;
        let is_critical = extension.take_if(BOOLEAN) == Some(&[0xff]);
        extension.last(OCTETS)?;
        unknown |= is_critical && oid != NONCE;
        list = rest;
    }
    list.is_empty().then_some(unknown)
}

/// A GeneralizedTime in the one form RFC 5280 §4.1.2.5.2 allows: `YYYYMMDDHHMMSSZ`.
fn seconds(text: &[u8]) -> Option<i64> {
    let ([year @ .., b'Z'], true) = (text, text.len() == 15) else { return None };
    let number = |from: usize, to: usize| {
        let digits = year.get(from..to)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        let add = |sum: u16, digit: &u8| sum * 10 + u16::from(digit - b'0');
        is_number.then(|| digits.iter().fold(0u16, add))
    };
    let small = |at: usize| u8::try_from(number(at, at + 2)?).ok();
    let month = Month::try_from(small(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
    let time = Time::from_hms(small(8)?, small(10)?, small(12)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endorsement::der;

    #[test]
    fn hashes_and_statuses_are_those_of_the_standards() {
        let hash = |last: &[u8]| HashKind::from_oid(last).map(|kind| kind.of(b"").len());
        assert_eq!(hash(&[0x2b, 0x0e, 3, 2, 0x1a]), Some(20));
        let sha_2 = |last: u8| hash(&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last]);
        assert_eq!([1, 2, 3, 4].map(sha_2), [Some(32), Some(48), Some(64), None]);
        let status = |bytes: &[u8]| status_of(&Element::read(bytes).unwrap().0);
        assert_eq!(status(&[0x80, 0]), Some(OcspStatus::Good));
        assert_eq!(status(&[0x82, 0]), Some(OcspStatus::Unknown));
        assert_eq!(status(&[0x82, 1, 0]), None);
    }

    #[test]
    fn reads_a_date_in_its_one_form() {
        assert_eq!(seconds(b"20250821064708Z"), Some(1_755_758_828));
        for wrong in [
            &b"20250821064708"[..],
            b"20251321064708Z",
            b"20250821064760Z",
            b"2025082106470Z",
            b"20250821064708z",
            b"2025082106:708Z",
            b"20250821064708.5Z",
        ] {
            assert_eq!(seconds(wrong), None);
        }
    }

    #[test]
    fn tells_hold_from_revoked_and_both_from_good() {
        let revoked = |reason: &[u8]| {
            let mut content = vec![0x18, 15];
            content.extend(b"20250821064708Z");
            content.extend(reason);
            let element = Element { tag: 0xa1, whole: &content, content: &content };
            status_of(&element)
        };
        assert_eq!(revoked(&[]), Some(OcspStatus::Revoked(None)));
        assert_eq!(revoked(&[0xa0, 3, 0x0a, 1, 6]), Some(OcspStatus::Hold));
        assert_eq!(revoked(&[0xa0, 3, 0x0a, 1, 1]), Some(OcspStatus::Revoked(Some(1))));
        assert_eq!(revoked(&[0xa0, 3, 0x0a, 1]), None);
        let good = Element { tag: 0x80, whole: &[], content: &[] };
        assert_eq!(status_of(&good), Some(OcspStatus::Good));
        let good_with_content = Element { tag: 0x80, whole: &[], content: &[0] };
        assert_eq!(status_of(&good_with_content), None);
    }

    fn certificate(der: &[u8]) -> Certificate {
        Certificate::from_der(der).unwrap()
    }

    fn milan() -> Certificate {
        certificate(include_bytes!("../tee/snp/roots/ark-milan.der"))
    }

    fn genoa() -> Certificate {
        certificate(include_bytes!("../tee/snp/roots/ark-genoa.der"))
    }

    /// What Milan's root signed, as an answer by `responder`.
    fn answer_by(responder: Responder) -> OcspAnswer {
        let root = milan();
        let frame = crate::endorsement::frame::Frame::of(&root.der).unwrap();
        OcspAnswer {
            entries: Vec::new(),
            has_unknown_critical: false,
            responder,
            certificates: Vec::new(),
            signed: frame.signed.to_vec(),
            signature: frame.signature.to_vec(),
            algorithm: root.algorithm,
        }
    }

    #[test]
    fn the_issuer_signs_under_its_own_name_or_key_hash_only() {
        let (issuer, other) = (milan(), genoa());
        let key_hash = |of: &Certificate| HashKind::Sha1.of(key_bytes(of).unwrap());
        for responder in
            [Responder::Name(issuer.subject.der.clone()), Responder::KeyHash(key_hash(&issuer))]
        {
            let answer = answer_by(responder);
            assert!(answer.names(&issuer) && !answer.names(&other));
            assert_eq!(answer.signer(&issuer), Some(Signer::Issuer));
            assert_eq!(answer.signer(&other), None);
        }
        for responder in
            [Responder::Name(other.subject.der.clone()), Responder::KeyHash(key_hash(&other))]
        {
            assert_eq!(answer_by(responder).signer(&issuer), None);
        }
    }

    #[test]
    fn an_entry_is_about_one_serial_number_of_one_name_and_key() {
        let (issuer, other) = (milan(), genoa());
        let about = OcspEntry {
            hash: HashKind::Sha256,
            issuer_name_hash: HashKind::Sha256.of(&issuer.subject.der),
            issuer_key_hash: HashKind::Sha256.of(key_bytes(&issuer).unwrap()),
            serial: issuer.serial.clone(),
            status: OcspStatus::Good,
            this_update: 0,
            next_update: None,
        };
        assert!(about.is_about(&issuer, &issuer));
        // Another key, and the hashes of another kind.
        assert!(!about.is_about(&issuer, &other));
        assert!(!OcspEntry { hash: HashKind::Sha384, ..about.clone() }.is_about(&issuer, &issuer));
        let wrong = vec![7];
        for entry in [
            OcspEntry { serial: wrong.clone(), ..about.clone() },
            OcspEntry { issuer_name_hash: wrong.clone(), ..about.clone() },
            OcspEntry { issuer_key_hash: wrong, ..about.clone() },
        ] {
            assert!(!entry.is_about(&issuer, &issuer), "{entry:?}");
        }
    }

    /// The extensions of an answer or entry, one by the name `oid`.
    fn extension(oid: &[u8], is_critical: bool) -> Vec<u8> {
        let critical: &[u8] = if is_critical { &[1, 1, 0xff] } else { &[] };
        let one = der(0x30, &[&der(OBJECT, &[oid]), critical, &[OCTETS, 1, 7]]);
        der(0xa1, &[&der(0x30, &[&one])])
    }

    /// A list of one entry that says good, with `extensions`.
    fn one_entry(extensions: &[u8]) -> Vec<u8> {
        let sha_1 = der(0x30, &[&[OBJECT, 5, 0x2b, 0x0e, 3, 2, 0x1a]]);
        let id = der(0x30, &[&sha_1, &[OCTETS, 1, 8], &[OCTETS, 1, 9], &[INTEGER, 1, 3]]);
        let since = der(GENERALIZED_TIME, &[b"20250821064708Z"]);
        der(0x30, &[&id, &[0x80, 0], &since, extensions])
    }

    /// The data of an answer by nobody in particular: `entries`, and what follows their list.
    fn data(entries: &[u8], after: &[u8]) -> Vec<u8> {
        let made_at = der(GENERALIZED_TIME, &[b"20250821064708Z"]);
        [&[0xa1, 2, 0x30, 0], &made_at[..], &der(0x30, &[entries]), after].concat()
    }

    #[test]
    fn nothing_follows_the_parts_of_an_answer() {
        let (responder, entries, unknown) = response_data(&data(&one_entry(&[]), &[])).unwrap();
        assert_eq!(responder, Responder::Name(vec![0x30, 0]));
        assert_eq!((entries.len(), unknown), (1, false));
        // A part too many, and a byte that is no entry.
        assert!(response_data(&data(&one_entry(&[]), &[5, 0])).is_none());
        assert!(response_data(&data(&[&one_entry(&[])[..], &[0x30]].concat(), &[])).is_none());
    }

    #[test]
    fn only_a_critical_extension_other_than_the_nonce_is_unknown() {
        let archive_cutoff = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 6];
        for (oid, is_critical, expected) in [
            (NONCE, true, false),
            (NONCE, false, false),
            (archive_cutoff, true, true),
            (archive_cutoff, false, false),
        ] {
            let extension = extension(&oid, is_critical);
            let unknown = |data: &[u8]| response_data(data).unwrap().2;
            assert_eq!(unknown(&data(&one_entry(&[]), &extension)), expected, "{oid:?}");
            assert_eq!(unknown(&data(&one_entry(&extension), &[])), expected, "{oid:?}");
        }
    }
}
