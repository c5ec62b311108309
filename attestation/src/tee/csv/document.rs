//! CSV evidence as it travels: the JSON that guest agents write, which spells every certificate out
//! field by field, or the report alone.

use serde::Deserialize;

use super::certificate::HygonCertificate;
use super::report::{Report, ReportError};
use crate::tee::encoded::Bytes;

/// Largest document in bytes (ours; a real one is 14 KiB, with a chain 25).
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// Why bytes are not CSV evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// Too long.
    #[error("evidence is at most {MAX_DOCUMENT_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// Neither a report nor a JSON document with one.
    #[error("neither a report nor a JSON document around one: {reason}")]
    Syntax {
        /// What the reader says.
        reason: String,
    },
    /// The bytes of the report are in no encoding taken.
    #[error("the report is neither hex nor base64")]
    Encoding,
    /// A certificate's fields make no certificate.
    #[error("{which} is no certificate in Hygon's form")]
    Certificate {
        /// Which.
        which: &'static str,
    },
    /// The report does not read.
    #[error(transparent)]
    Report(#[from] ReportError),
}

/// A report, and the certificates that came along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    pub report: Report,
    pub certificates: Vec<HygonCertificate>,
}

impl Evidence {
    /// Reads a document, or a report alone.
    pub fn read(bytes: &[u8]) -> Result<Evidence, EvidenceError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(EvidenceError::Length { got: bytes.len() });
        }
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Ok(Evidence { report: Report::parse(bytes)?, certificates: Vec::new() });
        }
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| EvidenceError::Syntax { reason: error.to_string() })?;
        let ReportDocument { magic, flags, data } = document.attestation_report;
        let data = data.decode().ok_or(EvidenceError::Encoding)?;
        let report = match (magic, flags) {
            (Some(magic), Some(flags)) => {
                let magic = magic.decode().ok_or(EvidenceError::Encoding)?;
                Report::parse_marked(&magic, flags, &data)?
            }
            _ => Report::parse(&data)?,
        };
        let chain = document.cert_chain.and_then(|chain| chain.hsk_cek);
        let certificates = match chain {
            Some(HskCek { hsk, cek }) => {
                vec![certificate(hsk.encode(), "hsk")?, certificate(cek.encode(), "cek")?]
            }
            None => Vec::new(),
        };
        Ok(Evidence { report, certificates })
    }
}

fn certificate(
    bytes: Option<Vec<u8>>,
    which: &'static str,
) -> Result<HygonCertificate, EvidenceError> {
    let parsed = bytes.and_then(|bytes| HygonCertificate::parse(&bytes));
    parsed.ok_or(EvidenceError::Certificate { which })
}

/// Members that say nothing the report does not are left aside: its PEK again, the serial number,
/// and the boot's event log.
#[derive(Deserialize)]
struct Document {
    attestation_report: ReportDocument,
    cert_chain: Option<ChainDocument>,
}

#[derive(Deserialize)]
struct ReportDocument {
    magic: Option<Bytes>,
    flags: Option<u32>,
    data: Bytes,
}

#[derive(Deserialize)]
struct ChainDocument {
    hsk_cek: Option<HskCek>,
}

#[derive(Deserialize)]
struct HskCek {
    hsk: RootForm,
    cek: ChipForm,
}

/// A certificate in root form, field by field.
#[derive(Deserialize)]
struct RootForm {
    body: RootBody,
    signature: SignatureFields,
    #[serde(rename = "_reserved")]
    reserved: Vec<u8>,
}

#[derive(Deserialize)]
struct RootBody {
    preamble: RootPreamble,
    pubkey: KeyFields,
    uid_size: u16,
    user_id: Vec<u8>,
    reserved: Vec<u8>,
}

#[derive(Deserialize)]
struct RootPreamble {
    ver: u32,
    data: RootData,
}

#[derive(Deserialize)]
struct RootData {
    kid: Vec<u8>,
    sid: Vec<u8>,
    usage: u32,
    reserved: Vec<u8>,
}

#[derive(Deserialize)]
struct KeyFields {
    g: u32,
    x: Vec<u8>,
    y: Vec<u8>,
}

#[derive(Deserialize)]
struct SignatureFields {
    r: Vec<u8>,
    s: Vec<u8>,
}

/// A certificate in chip form, field by field.
#[derive(Deserialize)]
struct ChipForm {
    body: ChipBody,
    sigs: Vec<SlotFields>,
}

#[derive(Deserialize)]
struct ChipBody {
    ver: u32,
    data: ChipData,
}

#[derive(Deserialize)]
struct ChipData {
    firmware: FirmwareVersion,
    reserved1: u16,
    pubkey: ChipKeyFields,
    uid_size: u16,
    user_id: Vec<u8>,
    sid: Vec<u8>,
    reserved2: Vec<u8>,
}

#[derive(Deserialize)]
struct FirmwareVersion {
    major: u8,
    minor: u8,
}

#[derive(Deserialize)]
struct ChipKeyFields {
    usage: u32,
    algo: u32,
    key: KeyFields,
}

#[derive(Deserialize)]
struct SlotFields {
    usage: u32,
    algo: u32,
    signature: SignatureFields,
    #[serde(rename = "_reserved")]
    reserved: Vec<u8>,
}

/// Writes fields one after another, each of a fixed length.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    is_broken: bool,
}

impl Writer {
    fn number(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn short(&mut self, value: u16) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn field(&mut self, bytes: &[u8], length: usize) {
        self.is_broken |= bytes.len() != length;
        self.bytes.extend(bytes);
    }

    fn key(&mut self, key: &KeyFields) {
        self.number(key.g);
        self.field(&key.x, 72);
        self.field(&key.y, 72);
    }

    fn signature(&mut self, signature: &SignatureFields) {
        self.field(&signature.r, 72);
        self.field(&signature.s, 72);
    }

    fn user_id(&mut self, length: u16, id: &[u8]) {
        self.short(length);
        self.field(id, 254);
    }

    fn finish(self) -> Option<Vec<u8>> {
        (!self.is_broken).then_some(self.bytes)
    }
}

impl RootForm {
    fn encode(&self) -> Option<Vec<u8>> {
        let RootBody { preamble, pubkey, uid_size, user_id, reserved } = &self.body;
        let mut writer = Writer::default();
        writer.number(preamble.ver);
        writer.field(&preamble.data.kid, 16);
        writer.field(&preamble.data.sid, 16);
        writer.number(preamble.data.usage);
        writer.field(&preamble.data.reserved, 24);
        writer.key(pubkey);
        writer.user_id(*uid_size, user_id);
        writer.field(reserved, 108);
        writer.signature(&self.signature);
        writer.field(&self.reserved, 112);
        writer.finish()
    }
}

impl ChipForm {
    fn encode(&self) -> Option<Vec<u8>> {
        let data = &self.body.data;
        let mut writer = Writer::default();
        writer.number(self.body.ver);
        writer.field(&[data.firmware.major, data.firmware.minor], 2);
        writer.short(data.reserved1);
        writer.number(data.pubkey.usage);
        writer.number(data.pubkey.algo);
        writer.key(&data.pubkey.key);
        writer.user_id(data.uid_size, &data.user_id);
        writer.field(&data.sid, 16);
        writer.field(&data.reserved2, 608);
        for slot in &self.sigs {
            writer.number(slot.usage);
            writer.number(slot.algo);
            writer.signature(&slot.signature);
            writer.field(&slot.reserved, 368);
        }
        writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_at_most_one_mebibyte() {
        let mut text = b"{}".to_vec();
        text.resize(1024 * 1024, b' ');
        let got = Evidence::read(&text).err();
        assert!(matches!(got, Some(EvidenceError::Syntax { .. })), "{got:?}");
        text.push(b' ');
        assert_eq!(Evidence::read(&text).err(), Some(EvidenceError::Length { got: text.len() }));
    }
}
