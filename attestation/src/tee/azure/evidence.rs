//! Evidence as it travels: the JSON document that guest agents write around the paravisor's report
//! and the vTPM's quote, or the report alone.
//!
//! Three forms of the document are about. The oldest calls its members `report` and `quote` and
//! writes bytes as lists of numbers; the later two call them `hcl_report` and `tpm_quote` and write
//! base64url or hex. The certificate (`vcek`) is PEM or DER, a TD quote (`td_quote`) is bytes. Each
//! spelling and each encoding is taken for each member.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::hcl::Hcl;
use crate::tee::TeeKind;
use crate::tee::encoded::Bytes;
use crate::tee::tpm::{PCRS, attest_of, signature_of};

/// Largest document in bytes (ours; lists of numbers make a real one 36 KiB).
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Why bytes are not evidence of an Azure VM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Too long.
    #[error("evidence is at most {MAX_DOCUMENT_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// Neither a report nor a JSON document with one.
    #[error("neither a paravisor's report nor a JSON document around one: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
    /// A text is none of the encodings taken.
    #[error("{member} is neither hex nor base64")]
    Encoding {
        /// Which.
        member: &'static str,
    },
    /// Registers of another number or size.
    #[error("pcrs must be up to {PCRS} values of 32 bytes")]
    Pcrs,
    /// No quote, but an object under a name nobody knows: a misspelt quote must not pass for none.
    #[error("no tpm_quote, and nobody knows what the object {member} is: name it or leave it out")]
    UnknownMember {
        /// Its name.
        member: String,
    },
}

/// The bytes of `member`.
fn decode(bytes: Bytes, member: &'static str) -> Result<Vec<u8>, EvidenceError> {
    bytes.decode().ok_or(EvidenceError::Encoding { member })
}

#[derive(Deserialize)]
struct QuoteDocument {
    message: Bytes,
    signature: Bytes,
    pcrs: Vec<Bytes>,
}

#[derive(Deserialize)]
struct Document {
    #[serde(alias = "report")]
    hcl_report: Bytes,
    #[serde(alias = "quote")]
    tpm_quote: Option<QuoteDocument>,
    td_quote: Option<Bytes>,
    vcek: Option<Bytes>,
}

/// A quote of the vTPM, its signature, and the values it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QuoteEvidence {
    pub message: Vec<u8>,
    pub signature: Vec<u8>,
    /// The SHA-256 bank, from register 0.
    pub pcrs: Vec<[u8; 32]>,
}

/// The pieces of evidence, decoded but not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    pub hcl: Vec<u8>,
    pub quote: Option<QuoteEvidence>,
    pub td_quote: Option<Vec<u8>>,
    /// Certificates that came along: PEM or DER.
    pub certificates: Option<Vec<u8>>,
}

impl Evidence {
    /// Reads a document, or a report alone.
    pub fn read(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(EvidenceError::Length { got: bytes.len() });
        }
        if Hcl::begins(bytes) {
            let hcl = bytes.to_vec();
            return Ok(Evidence { hcl, quote: None, td_quote: None, certificates: None });
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| EvidenceError::Syntax { reason: error.to_string() })?;
        if document.tpm_quote.is_none() {
            refuse_unknown_objects(bytes)?;
        }
        let td_quote = document.td_quote.map(|bytes| decode(bytes, "td_quote")).transpose()?;
        Ok(Evidence {
            hcl: decode(document.hcl_report, "hcl_report")?,
            quote: document.tpm_quote.map(quote).transpose()?,
            td_quote,
            certificates: document.vcek.map(certificates).transpose()?,
        })
    }
}

/// Members that may be objects are known by name.
fn refuse_unknown_objects(document: &[u8]) -> Result<(), EvidenceError> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_slice(document)
        .map_err(|error| EvidenceError::Syntax { reason: error.to_string() })?;
    let unknown = members.into_iter().find(|(name, value)| {
        value.get().starts_with('{') && !["quote", "tpm_quote"].contains(&name.as_str())
    });
    unknown.map_or(Ok(()), |(member, _)| Err(EvidenceError::UnknownMember { member }))
}

fn quote(document: QuoteDocument) -> Result<QuoteEvidence, EvidenceError> {
    if document.pcrs.len() > PCRS {
        return Err(EvidenceError::Pcrs);
    }
    let value = |bytes: Bytes| {
        decode(bytes, "pcrs").and_then(|value| value.try_into().map_err(|_| EvidenceError::Pcrs))
    };
    Ok(QuoteEvidence {
        message: attest_of(&decode(document.message, "message")?).to_vec(),
        signature: signature_of(&decode(document.signature, "signature")?).to_vec(),
        pcrs: document.pcrs.into_iter().map(value).collect::<Result<_, _>>()?,
    })
}

/// PEM stays text, as endorsements are read; anything else is decoded.
fn certificates(bytes: Bytes) -> Result<Vec<u8>, EvidenceError> {
    match bytes {
        Bytes::Text(text) if text.contains("-----BEGIN ") => Ok(text.into_bytes()),
        other => decode(other, "vcek"),
    }
}

/// Which hardware reports inside `evidence`; `None` where it is no evidence of an Azure VM, or its
/// report does not parse.
pub fn kind_of(evidence: &[u8]) -> Option<TeeKind> {
    let evidence = Evidence::read(evidence).ok()?;
    Hcl::parse(&evidence.hcl).ok().map(|hcl| hcl.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings_and_refuses_both_at_once() {
        let read = |text: &str| Evidence::read(text.as_bytes());
        let old = read(r#"{"report":[1,2],"quote":{"message":[3],"signature":[4],"pcrs":[]}}"#);
        let new = read(
            r#"{"hcl_report":"0102","tpm_quote":{"message":"03","signature":"04","pcrs":[]}}"#,
        );
        assert_eq!(old.unwrap(), new.unwrap());
        assert!(read(r#"{"report":[1],"hcl_report":[1]}"#).is_err());
        assert!(read(r#"{"vcek":"AQ"}"#).is_err());
    }

    #[test]
    fn refuses_registers_of_another_size_and_too_many() {
        let read = |pcrs: &str| {
            let quote = format!(r#"{{"message":[],"signature":[],"pcrs":[{pcrs}]}}"#);
            Evidence::read(format!(r#"{{"report":[],"quote":{quote}}}"#).as_bytes())
        };
        let value = format!("\"{}\"", "00".repeat(32));
        assert!(read(&vec![value.clone(); PCRS].join(",")).is_ok());
        assert_eq!(read(&vec![value; PCRS + 1].join(",")), Err(EvidenceError::Pcrs));
        assert_eq!(read("\"00\""), Err(EvidenceError::Pcrs));
        let got = 1024 * 1024 + 1;
        let long = vec![b' '; got];
        assert_eq!(Evidence::read(&long), Err(EvidenceError::Length { got }));
        assert_ne!(Evidence::read(&long[1..]), Err(EvidenceError::Length { got: got - 1 }));
    }

    #[test]
    fn a_misspelt_quote_is_not_a_missing_one() {
        let read = |text: &str| Evidence::read(text.as_bytes());
        let member = "quoue".to_owned();
        let misspelt = r#"{"report":[],"quoue":{"message":[],"signature":[],"pcrs":[]}}"#;
        assert_eq!(read(misspelt), Err(EvidenceError::UnknownMember { member }));
        assert!(read(r#"{"report":[],"version":1,"tpm_quote":null}"#).is_ok());
    }

    #[test]
    fn takes_a_report_alone() {
        let evidence = Evidence::read(b"HCLA and so on").unwrap();
        assert_eq!((evidence.hcl.as_slice(), evidence.quote), (&b"HCLA and so on"[..], None));
        assert_eq!(kind_of(b"HCLA and so on"), None);
    }
}
