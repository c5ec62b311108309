//! Collateral: what Intel says about its platforms and quoting enclaves, signed JSON with the
//! certificates and revocation lists that go along.
//!
//! Found by content, in the forms it is handed around in: one object as Intel's verification
//! library and `dcap-qvl` name its fields (`tcb_info`, `tcb_info_signature`, …), or the single
//! responses of Intel's service (`{"tcbInfo":…,"signature":…}`, `{"enclaveIdentity":…,…}`).
//! Signatures cover the exact text, so it is kept as received. What is around it (white space, order
//! and case of the fields' encodings) is covered by nothing and says nothing.
//!
//! Source: Intel, *API for Provisioning Certification Service for ECDSA Attestation* v4.

mod qe_identity;
mod tcb_info;

pub use qe_identity::{EnclaveLevel, QeIdentity};
pub use tcb_info::{Module, ModuleIdentity, ModuleLevel, TcbInfo, TcbLevel, TcbStatus};

use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::signature::PublicKey;

/// r and s of a P-256 signature.
const SIGNATURE_BYTES: usize = 64;
/// Most layers of JSON in JSON that are opened (ours): the object, and a response kept as a string.
const MAX_LAYERS: usize = 2;

/// A statement, and the signature over its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What it says.
    pub statement: T,
    text: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl<T> Signed<T> {
    /// Whether `key` signed the text: ECDSA P-256 with SHA-256, r || s.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        matches!(key, PublicKey::P256(_)) && key.verifies_fixed(&self.text, &self.signature)
    }
}

/// A statement that speaks for a stretch of time.
pub trait Dated {
    /// First second it speaks for.
    fn issue_date(&self) -> i64;
    /// Last second it speaks for.
    fn next_update(&self) -> i64;
    /// Intel's counter of TCB recoveries it takes into account.
    fn evaluation_number(&self) -> u32;

    /// Whether it speaks for the second `now`.
    fn is_current(&self, now: i64) -> bool {
        self.issue_date() <= now && now <= self.next_update()
    }
}

/// Everything found in one JSON document.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub tcb_infos: Vec<Signed<TcbInfo>>,
    pub qe_identities: Vec<Signed<QeIdentity>>,
    /// Certificates and revocation lists, as text or bytes.
    pub blobs: Vec<Vec<u8>>,
    /// Parts of it that could not be read, or speak of something other than TDX.
    pub left_aside: usize,
}

/// The fields, by every name they go by. A field given twice is refused: its meaning would depend
/// on the reader.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow, default, alias = "tcbInfo")]
    tcb_info: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "tcbInfoSignature")]
    tcb_info_signature: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "qeIdentity", alias = "enclaveIdentity")]
    qe_identity: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "qeIdentitySignature", alias = "enclaveIdentitySignature")]
    qe_identity_signature: Option<&'a RawValue>,
    /// Of a single response.
    #[serde(borrow, default)]
    signature: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "pckCrlIssuerChain")]
    pck_crl_issuer_chain: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "rootCaCrl")]
    root_ca_crl: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "pckCrl")]
    pck_crl: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "tcbInfoIssuerChain")]
    tcb_info_issuer_chain: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "qeIdentityIssuerChain")]
    qe_identity_issuer_chain: Option<&'a RawValue>,
    #[serde(borrow, default, alias = "pckCertificateChain")]
    pck_certificate_chain: Option<&'a RawValue>,
    /// Collateral inside a larger document.
    #[serde(borrow, default, alias = "quote_collateral")]
    collateral: Option<&'a RawValue>,
}

/// Reads `json`; `None` where it holds nothing of Intel's.
pub(super) fn read(json: &[u8]) -> Option<Found> {
    let text = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json).trim_ascii_start();
    if text.first() != Some(&b'{') {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let mut found = Found::default();
    found.add(text, MAX_LAYERS);
    let is_empty =
        found.tcb_infos.is_empty() && found.qe_identities.is_empty() && found.blobs.is_empty();
    (!is_empty).then_some(found)
}

impl Found {
    fn add(&mut self, text: &str, layers: usize) {
        let Ok(document) = serde_json::from_str::<Document<'_>>(text) else {
            self.left_aside += 1;
            return;
        };
        if let Some(inner) = document.collateral.and_then(|_| layers.checked_sub(1)) {
            self.add(&text_of(document.collateral), inner);
        }
        let whole = document.signature;
        if document.tcb_info.is_some() {
            let signature = document.tcb_info_signature.or(whole);
            let text = text_of(document.tcb_info);
            match (signed(&text, signature, TcbInfo::read), layers.checked_sub(1)) {
                (Some(info), _) => self.tcb_infos.push(info),
                (None, Some(inner)) if is_response(&text) => self.add(&text, inner),
                _ => self.left_aside += 1,
            }
        }
        if document.qe_identity.is_some() {
            let signature = document.qe_identity_signature.or(whole);
            let text = text_of(document.qe_identity);
            match (signed(&text, signature, QeIdentity::read), layers.checked_sub(1)) {
                (Some(identity), _) => self.qe_identities.push(identity),
                (None, Some(inner)) if is_response(&text) => self.add(&text, inner),
                _ => self.left_aside += 1,
            }
        }
        self.blobs.extend(others(&document).map(bytes_in).filter(|bytes| !bytes.is_empty()));
    }
}

/// Certificates and revocation lists.
fn others<'a>(document: &Document<'a>) -> impl Iterator<Item = &'a RawValue> {
    [
        document.pck_certificate_chain,
        document.pck_crl_issuer_chain,
        document.tcb_info_issuer_chain,
        document.qe_identity_issuer_chain,
        document.pck_crl,
        document.root_ca_crl,
    ]
    .into_iter()
    .flatten()
}

/// Whether a text kept in a field is a whole response, with its own signature inside.
fn is_response(text: &str) -> bool {
    text.contains("\"signature\"")
}

fn signed<T>(
    text: &str,
    signature: Option<&RawValue>,
    read: fn(&str) -> Option<T>,
) -> Option<Signed<T>> {
    let signature = bytes_in(signature?).try_into().ok()?;
    Some(Signed { statement: read(text)?, text: text.as_bytes().to_vec(), signature })
}

/// A field's text: the content of a string, or the exact text of an object.
fn text_of(value: Option<&RawValue>) -> String {
    let raw = value.map_or("", RawValue::get);
    match raw.starts_with('"') {
        true => serde_json::from_str(raw).unwrap_or_default(),
        false => raw.to_owned(),
    }
}

/// The bytes a field stands for: see [`bytes_of`], or a list of numbers.
fn bytes_in(value: &RawValue) -> Vec<u8> {
    match value.get().starts_with('[') {
        true => serde_json::from_str(value.get()).unwrap_or_default(),
        false => bytes_of(&text_of(Some(value))),
    }
}

/// What a text stands for: PEM as it is (percent-encoded as in the service's headers, or not), or
/// bytes in hex or base64. Hex of hex occurs, too. Anything else stays as it is.
pub(super) fn bytes_of(text: &str) -> Vec<u8> {
    use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
    let text = text.trim();
    if text.contains("-----BEGIN") {
        return if text.contains("%20") { percent_decoded(text) } else { text.as_bytes().to_vec() };
    }
    if let Ok(bytes) = HEXLOWER_PERMISSIVE.decode(text.as_bytes()) {
        return HEXLOWER_PERMISSIVE.decode(&bytes).unwrap_or(bytes);
    }
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(&compact).unwrap_or_else(|_| text.as_bytes().to_vec())
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%');
        let decoded = escaped
            .and_then(|hex| data_encoding::HEXLOWER_PERMISSIVE.decode(hex).ok()?.first().copied());
        bytes.push(decoded.unwrap_or(first));
        rest = after.get(if decoded.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

/// Seconds since 1970 of an RFC 3339 date.
fn seconds(date: &str) -> Option<i64> {
    OffsetDateTime::parse(date, &Rfc3339).ok().map(OffsetDateTime::unix_timestamp)
}

/// `N` bytes of hex in either case.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let wanted = text.len() == 2 * N;
    let decoded = wanted
        .then(|| data_encoding::HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut bytes))?;
    (decoded == Ok(N)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = r#"{"id":"TD_QE","version":2,"issueDate":"2026-03-16T22:16:03Z","nextUpdate":"2026-04-15T22:16:03Z","tcbEvaluationDataNumber":18,"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5","isvprodid":2,"tcbLevels":[{"tcb":{"isvsvn":4},"tcbDate":"2024-11-13T00:00:00Z","tcbStatus":"UpToDate"}]}"#;

    fn forms() -> [String; 5] {
        let (signature, numbers) = ("ab".repeat(64), ["171"; 64].join(","));
        let quoted = serde_json::to_string(IDENTITY).unwrap();
        let response = format!(r#"{{"enclaveIdentity":{IDENTITY},"signature":"{signature}"}}"#);
        [
            format!(r#"{{"qe_identity":{quoted},"qe_identity_signature":"{signature}"}}"#),
            format!(r#"{{"qeIdentity":{IDENTITY},"qeIdentitySignature":"{signature}"}}"#),
            format!(r#"{{"qe_identity":{}}}"#, serde_json::to_string(&response).unwrap()),
            format!(r#"{{"qe_identity":{quoted},"qe_identity_signature":[{numbers}]}}"#),
            response,
        ]
    }

    #[test]
    fn keeps_the_signed_text_byte_for_byte_in_every_form() {
        for form in forms() {
            let found = read(form.as_bytes()).expect(&form);
            assert_eq!(found.qe_identities.len(), 1, "{form}");
            assert_eq!(found.qe_identities[0].text, IDENTITY.as_bytes());
            assert_eq!(found.qe_identities[0].signature, [0xab; 64]);
        }
    }

    #[test]
    fn refuses_a_field_given_twice() {
        let twice = forms()[4].replacen('{', r#"{"signature":"00","#, 1);
        assert!(read(twice.as_bytes()).is_none());
    }

    #[test]
    fn finds_nothing_in_other_documents() {
        for other in ["{}", "[]", "", "{\"id\":1}", "{\"tcb_info\":7}", "{\"collateral\":{}}"] {
            assert!(read(other.as_bytes()).is_none(), "{other}");
        }
    }

    #[test]
    fn reads_bytes_in_the_encodings_that_occur() {
        for text in ["30820122", "MIIBIg==", " 3330383230313232\n"] {
            assert_eq!(bytes_of(text), [0x30, 0x82, 1, 0x22], "{text}");
        }
        assert_eq!(
            bytes_of("-----BEGIN%20CERTIFICATE-----%0AAA%3D%3D%0A"),
            b"-----BEGIN CERTIFICATE-----\nAA==\n"
        );
        assert_eq!(bytes_of("-----BEGIN%20X%2"), b"-----BEGIN X%2");
    }

    #[test]
    fn reads_hex_of_exactly_the_length() {
        assert_eq!(hex::<2>("aBc1"), Some([0xab, 0xc1]));
        for bad in ["ab", "abcdef", "abcg", ""] {
            assert_eq!(hex::<2>(bad), None, "{bad}");
        }
    }

    #[test]
    fn opens_a_whole_response_kept_in_a_field() {
        let info = r#"{"id":"TDX","version":3,"issueDate":"2026-01-01T00:00:00Z","nextUpdate":"2026-02-01T00:00:00Z","fmspc":"B0C06F000000","pceId":"0000","tcbEvaluationDataNumber":18,"tcbLevels":[]}"#;
        let response = format!(r#"{{"tcbInfo":{info},"signature":"{}"}}"#, "ab".repeat(64));
        let quoted = serde_json::to_string(&response).unwrap();
        for form in [format!(r#"{{"tcb_info":{quoted}}}"#), format!(r#"{{"tcb_info":{response}}}"#)]
        {
            let found = read(form.as_bytes()).expect(&form);
            assert_eq!((found.tcb_infos.len(), found.left_aside), (1, 0), "{form}");
            assert_eq!(found.tcb_infos[0].text, info.as_bytes());
        }
    }

    #[test]
    fn counts_a_statement_without_a_signature_as_left_aside() {
        for field in ["tcb_info", "tcbInfo", "qe_identity", "enclaveIdentity"] {
            let document = format!(r#"{{"{field}":{IDENTITY},"pck_crl":"3000"}}"#);
            let found = read(document.as_bytes()).unwrap();
            assert!(found.tcb_infos.is_empty() && found.qe_identities.is_empty());
            assert_eq!((found.blobs.len(), found.left_aside), (1, 1), "{field}");
        }
    }
}
