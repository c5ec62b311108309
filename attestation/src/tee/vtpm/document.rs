//! Evidence as it travels: a JSON document around what the TPM gave.
//!
//! | Member | Meaning |
//! |---|---|
//! | `format` | `bulla vtpm-dev evidence v1` |
//! | `public` | the attestation key (TPMT_PUBLIC) |
//! | `quote` | what the TPM signed (TPMS_ATTEST) |
//! | `signature` | its signature (TPMT_SIGNATURE, ECDSA P-256 with SHA-256) |
//! | `pcrs` | the SHA-256 bank from register 0, up to 24 values |
//!
//! Bytes are lower-case hex. A member nobody knows is an error.

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use crate::hex::Hex;
use crate::tee::tpm::{PCRS, Quote};

/// What the member `format` says.
pub const FORMAT: &str = "bulla vtpm-dev evidence v1";
/// Largest document in bytes (ours; a real one is 2.2 KiB).
pub const MAX_DOCUMENT_BYTES: usize = 16 * 1024;

/// Length of a statement digest, the only thing a guest of ours has a TPM sign.
pub(super) const QUALIFYING_BYTES: usize = 32;

/// Why bytes are not evidence of this kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Too long.
    #[error("evidence is at most {MAX_DOCUMENT_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// Not JSON of this shape.
    #[error("no vtpm-dev document: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
    /// Another format, or another version of it.
    #[error("format must be {FORMAT:?}, got {got:?}")]
    Format {
        /// What it says, cut.
        got: String,
    },
    /// Not hex.
    #[error("{member} is not lower-case hex")]
    Hex {
        /// Which.
        member: &'static str,
    },
    /// More registers than a TPM has.
    #[error("a TPM has {PCRS} registers, got {got}")]
    Registers {
        /// How many.
        got: usize,
    },
}

/// What a TPM gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VtpmEvidence {
    /// The attestation key (TPMT_PUBLIC).
    pub public: Vec<u8>,
    /// What was signed (TPMS_ATTEST).
    pub quote: Vec<u8>,
    /// The signature (TPMT_SIGNATURE).
    pub signature: Vec<u8>,
    /// The SHA-256 bank, from register 0.
    pub pcrs: Vec<[u8; 32]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: String,
    public: String,
    quote: String,
    signature: String,
    pcrs: Vec<Hex<32>>,
}

impl VtpmEvidence {
    /// Reads a document.
    pub fn from_json(bytes: &[u8]) -> Result<VtpmEvidence, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::Length { got: bytes.len() });
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| DocumentError::Syntax { reason: error.to_string() })?;
        if document.format != FORMAT {
            return Err(DocumentError::Format { got: document.format.chars().take(40).collect() });
        }
        if document.pcrs.len() > PCRS {
            return Err(DocumentError::Registers { got: document.pcrs.len() });
        }
        let bytes = |text: &str, member| {
            HEXLOWER.decode(text.as_bytes()).map_err(|_| DocumentError::Hex { member })
        };
        Ok(VtpmEvidence {
            public: bytes(&document.public, "public")?,
            quote: bytes(&document.quote, "quote")?,
            signature: bytes(&document.signature, "signature")?,
            pcrs: document.pcrs.into_iter().map(|Hex(value)| value).collect(),
        })
    }

    /// REPORT_DATA as the quote has it: its 32 bytes of qualifying data, and zeros. `None` where it
    /// does not read, or signs something of another length.
    pub fn report_data(&self) -> Option<[u8; 64]> {
        slot(&Quote::parse(&self.quote).ok()?)
    }

    /// Writes the document.
    pub fn to_json(&self) -> Vec<u8> {
        let document = Document {
            format: FORMAT.to_owned(),
            public: HEXLOWER.encode(&self.public),
            quote: HEXLOWER.encode(&self.quote),
            signature: HEXLOWER.encode(&self.signature),
            pcrs: self.pcrs.iter().copied().map(Hex).collect(),
        };
        // Text and numbers of our own always serialize.
        serde_json::to_vec(&document).unwrap_or_default()
    }
}

/// See [`VtpmEvidence::report_data`].
pub(super) fn slot(quote: &Quote) -> Option<[u8; 64]> {
    let signed: [u8; QUALIFYING_BYTES] = quote.extra_data.as_slice().try_into().ok()?;
    let mut slot = [0; 64];
    slot[..QUALIFYING_BYTES].copy_from_slice(&signed);
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> VtpmEvidence {
        VtpmEvidence {
            public: vec![1],
            quote: vec![2],
            signature: vec![3],
            pcrs: vec![[4; 32]; 16],
        }
    }

    #[test]
    fn reads_what_it_writes() {
        assert_eq!(VtpmEvidence::from_json(&evidence().to_json()), Ok(evidence()));
    }

    #[test]
    fn refuses_other_formats_members_encodings_and_too_many_registers() {
        let text = String::from_utf8(evidence().to_json()).unwrap();
        let read = |text: &str| VtpmEvidence::from_json(text.as_bytes());
        assert!(matches!(read(&text.replace(" v1", " v2")), Err(DocumentError::Format { .. })));
        let more = text.replace("{\"format\"", "{\"more\":1,\"format\"");
        assert!(matches!(read(&more), Err(DocumentError::Syntax { .. })));
        let shouted = text.replace("\"01\"", "\"0A\"");
        assert_eq!(read(&shouted), Err(DocumentError::Hex { member: "public" }));
        let many = VtpmEvidence { pcrs: vec![[0; 32]; PCRS + 1], ..evidence() };
        let got = VtpmEvidence::from_json(&many.to_json());
        assert_eq!(got, Err(DocumentError::Registers { got: PCRS + 1 }));
        let most = VtpmEvidence { pcrs: vec![[0; 32]; PCRS], ..evidence() };
        assert!(VtpmEvidence::from_json(&most.to_json()).is_ok());
        let long = [b' '; 16 * 1024 + 1];
        let got = VtpmEvidence::from_json(&long);
        assert_eq!(got, Err(DocumentError::Length { got: long.len() }));
        let got = VtpmEvidence::from_json(&long[1..]);
        assert!(matches!(got, Err(DocumentError::Syntax { .. })));
    }
}
