//! The response inside the envelope: binary HTTP of indeterminate length (RFC 9292 §3.2), read and
//! written as it streams; the usage receipt is its only trailer field.

use bulla_wire::http::TRAILER_RECEIPT;
use bulla_wire::receipt::MAX_RECEIPT_BYTES;
use data_encoding::BASE64URL_NOPAD;

use super::frame::{read_varint, write_varint};

/// Framing indicator of an indeterminate-length response.
const INDETERMINATE_RESPONSE: u64 = 3;
/// Longest status line and header, and longest trailer section, in bytes.
pub const MAX_ANSWER_HEAD_BYTES: usize = 16 * 1024;
/// Longest content chunk, in bytes.
const MAX_CONTENT_CHUNK_BYTES: u64 = 1 << 20;

/// What an answer opens to, in order: one head, any number of bodies, one receipt.
#[derive(Clone, PartialEq, Eq)]
pub enum AnswerEvent {
    /// Status and header fields.
    Head {
        /// HTTP status.
        status: u16,
        /// Header fields, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// A piece of the body.
    Body(Vec<u8>),
    /// The usage receipt (COSE_Sign1), not yet verified. Always the last event.
    Receipt(Vec<u8>),
}

/// Why opened bytes are not an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not binary HTTP of indeterminate length.
    #[error("malformed answer: {what}")]
    Malformed {
        /// Where.
        what: &'static str,
    },
    /// A part exceeds its limit.
    #[error("answer's {what} exceeds its limit")]
    TooLong {
        /// Which part.
        what: &'static str,
    },
    /// The answer ended without a usage receipt.
    #[error("answer carries no usage receipt")]
    NoReceipt,
}

/// Writes an answer.
pub struct AnswerWriter;

impl AnswerWriter {
    /// Status and header fields: the start of an answer.
    pub fn head(status: u16, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        write_varint(INDETERMINATE_RESPONSE, &mut out);
        write_varint(u64::from(status), &mut out);
        for (name, value) in headers {
            write_field(name.as_bytes(), value.as_bytes(), &mut out);
        }
        write_varint(0, &mut out);
        out
    }

    /// A piece of the body; nothing for an empty one.
    pub fn body(piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if !piece.is_empty() {
            write_varint(piece.len() as u64, &mut out);
            out.extend_from_slice(piece);
        }
        out
    }

    /// The end: terminator, the receipt as trailer field, and zero padding to a multiple of
    /// `bucket_bytes` (0 for none).
    pub fn end(receipt: &[u8], bucket_bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write_varint(0, &mut out);
        let value = BASE64URL_NOPAD.encode(receipt);
        write_field(TRAILER_RECEIPT.as_bytes(), value.as_bytes(), &mut out);
        write_varint(0, &mut out);
        if bucket_bytes > 0 {
            out.resize(out.len().next_multiple_of(bucket_bytes), 0);
        }
        out
    }
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, value] {
        write_varint(part.len() as u64, out);
        out.extend_from_slice(part);
    }
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Body,
    Trailer,
    Padding,
}

/// Reads an answer as it streams.
#[derive(Default)]
pub struct AnswerParser {
    state: State,
    buffer: Vec<u8>,
    receipt: Option<Vec<u8>>,
}

impl AnswerParser {
    /// Takes opened bytes; gives what is whole.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<AnswerEvent>, AnswerError> {
        self.buffer.extend_from_slice(bytes);
        let mut events = Vec::new();
        while self.step(&mut events)? {}
        Ok(events)
    }

    /// The answer ended: gives the receipt.
    pub fn finish(&mut self) -> Result<Vec<AnswerEvent>, AnswerError> {
        if self.state != State::Padding {
            return Err(AnswerError::Malformed { what: "end" });
        }
        let receipt = self.receipt.take().ok_or(AnswerError::NoReceipt)?;
        Ok(vec![AnswerEvent::Receipt(receipt)])
    }

    /// One step; false when more bytes are needed.
    fn step(&mut self, events: &mut Vec<AnswerEvent>) -> Result<bool, AnswerError> {
        match self.state {
            State::Head => self.step_head(events),
            State::Body => self.step_body(events),
            State::Trailer => self.step_trailer(),
            State::Padding => {
                if self.buffer.iter().any(|b| *b != 0) {
                    return Err(AnswerError::Malformed { what: "padding" });
                }
                self.buffer.clear();
                Ok(false)
            }
        }
    }

    fn step_head(&mut self, events: &mut Vec<AnswerEvent>) -> Result<bool, AnswerError> {
        let Some((head, taken)) = parse_head(&self.buffer)? else {
            return self.need_more("head");
        };
        events.push(head);
        self.advance(taken, State::Body);
        Ok(true)
    }

    fn step_body(&mut self, events: &mut Vec<AnswerEvent>) -> Result<bool, AnswerError> {
        let Some((length, prefix)) = read_varint(&self.buffer) else { return Ok(false) };
        if length == 0 {
            self.advance(prefix, State::Trailer);
            return Ok(true);
        }
        if length > MAX_CONTENT_CHUNK_BYTES {
            return Err(AnswerError::TooLong { what: "content chunk" });
        }
        let end = prefix + length as usize;
        let Some(piece) = self.buffer.get(prefix..end) else { return Ok(false) };
        events.push(AnswerEvent::Body(piece.to_vec()));
        self.advance(end, State::Body);
        Ok(true)
    }

    fn step_trailer(&mut self) -> Result<bool, AnswerError> {
        let Some((fields, taken)) = read_fields(&self.buffer)? else {
            return self.need_more("trailer");
        };
        let receipt = fields.into_iter().find(|(name, _)| name == TRAILER_RECEIPT);
        let (_, value) = receipt.ok_or(AnswerError::NoReceipt)?;
        let receipt = BASE64URL_NOPAD
            .decode(value.as_bytes())
            .map_err(|_| AnswerError::Malformed { what: "receipt trailer" })?;
        if receipt.len() > MAX_RECEIPT_BYTES {
            return Err(AnswerError::TooLong { what: "receipt" });
        }
        self.receipt = Some(receipt);
        self.advance(taken, State::Padding);
        Ok(true)
    }

    fn advance(&mut self, taken: usize, state: State) {
        self.buffer.drain(..taken);
        self.state = state;
    }

    fn need_more(&self, what: &'static str) -> Result<bool, AnswerError> {
        if self.buffer.len() > MAX_ANSWER_HEAD_BYTES {
            return Err(AnswerError::TooLong { what });
        }
        Ok(false)
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(AnswerEvent, usize)>, AnswerError> {
    let Some((indicator, first)) = read_varint(bytes) else { return Ok(None) };
    if indicator != INDETERMINATE_RESPONSE {
        return Err(AnswerError::Malformed { what: "framing indicator" });
    }
    let Some((status, second)) = read_varint(&bytes[first..]) else { return Ok(None) };
    let status = u16::try_from(status)
        .ok()
        .filter(|s| (200..600).contains(s))
        .ok_or(AnswerError::Malformed { what: "status" })?;
    let start = first + second;
    let Some((headers, taken)) = read_fields(&bytes[start..])? else { return Ok(None) };
    Ok(Some((AnswerEvent::Head { status, headers }, start + taken)))
}

type Fields = Vec<(String, String)>;

/// Reads fields up to their terminating zero; `None` when the bytes end before it.
fn read_fields(bytes: &[u8]) -> Result<Option<(Fields, usize)>, AnswerError> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let Some((length, prefix)) = read_varint(&bytes[at..]) else { return Ok(None) };
        if length == 0 {
            return Ok(Some((fields, at + prefix)));
        }
        let Some((name, next)) = read_text(bytes, at)? else { return Ok(None) };
        let Some((value, next)) = read_text(bytes, next)? else { return Ok(None) };
        fields.push((name.to_ascii_lowercase(), value));
        at = next;
    }
}

fn read_text(bytes: &[u8], at: usize) -> Result<Option<(String, usize)>, AnswerError> {
    let Some(rest) = bytes.get(at..) else { return Ok(None) };
    let Some((length, prefix)) = read_varint(rest) else { return Ok(None) };
    if length > MAX_ANSWER_HEAD_BYTES as u64 {
        return Err(AnswerError::TooLong { what: "field" });
    }
    let end = prefix + length as usize;
    let Some(text) = rest.get(prefix..end) else { return Ok(None) };
    let text = String::from_utf8(text.to_vec())
        .map_err(|_| AnswerError::Malformed { what: "field is not UTF-8" })?;
    Ok(Some((text, at + end)))
}
