//! The report of a device: the request it answered and its answer, GET_MEASUREMENTS and MEASUREMENTS
//! of SPDM 1.1 (DMTF DSP0274 §10.11), as NVIDIA's tools write them one after the other.
//!
//! The signature is found by the length fields, never counted from the end: buffers of fixed size
//! carry zeros behind it.

use std::collections::BTreeMap;

/// Length of the request with its nonce and slot number.
const REQUEST_BYTES: usize = 37;
/// Length of a nonce.
pub const NONCE_BYTES: usize = 32;
/// r || s of P-384, big-endian.
pub const SIGNATURE_BYTES: usize = 96;
/// Largest report with what follows it (ours; NVIDIA's buffer has 8 KiB).
pub const MAX_REPORT_BYTES: usize = 1 << 16;
/// Most opaque fields (ours; 18 were seen).
const MAX_OPAQUE_FIELDS: usize = 256;

/// SPDM 1.1, in both headers.
const VERSION: u8 = 0x11;
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
/// Measurement specification DMTF.
const DMTF: u8 = 1;
/// What opaque data begins with whose fields state the type of their value (Rubin and later).
const TYPED_FIELDS: &[u8] = b"NVDAOD";

/// Why bytes are not a report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Too long to be one.
    #[error("a report has at most {MAX_REPORT_BYTES} bytes, got {got_bytes}")]
    TooLong {
        /// Bytes given.
        got_bytes: usize,
    },
    /// It ends inside a part.
    #[error("ends inside its {part}")]
    Truncated {
        /// Which part.
        part: &'static str,
    },
    /// Another SPDM version, which is signed in another way.
    #[error("SPDM version {major}.{minor}, expected 1.1")]
    Version {
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
    },
    /// Another message.
    #[error("message code {got:#04x}, expected {expected:#04x}")]
    Code {
        /// What is there.
        got: u8,
        /// What should be.
        expected: u8,
    },
    /// A measurement block of another specification, or of a length that does not fit.
    #[error("measurement block {index} is no DMTF measurement")]
    Block {
        /// Its index.
        index: u8,
    },
    /// Two blocks with one index, or a number of blocks that is not the stated one.
    #[error("{got} different measurement blocks, {stated} stated")]
    Blocks {
        /// How many there are.
        got: usize,
        /// How many the header states.
        stated: usize,
    },
    /// Opaque data laid out in a way that came later.
    #[error("opaque data of profile {got}, expected 0")]
    OpaqueProfile {
        /// Its profile.
        got: u16,
    },
    /// Two opaque fields of one type.
    #[error("opaque field {kind} appears twice")]
    RepeatedField {
        /// Its type.
        kind: u16,
    },
    /// Too many opaque fields.
    #[error("more than {MAX_OPAQUE_FIELDS} opaque fields")]
    TooManyFields,
    /// Something other than zeros behind the signature.
    #[error("bytes other than zero behind the signature")]
    Trailing,
}

/// One report, taken apart; the signed bytes are kept as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The verifier's nonce, from the request.
    pub nonce: [u8; NONCE_BYTES],
    /// The device's own nonce, from the answer.
    pub responder_nonce: [u8; NONCE_BYTES],
    /// Value by index, counted from 1.
    pub measurements: BTreeMap<u8, Vec<u8>>,
    /// Opaque fields by type.
    pub opaque: BTreeMap<u16, Vec<u8>>,
    signed: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
}

impl Report {
    /// Takes a report apart.
    pub fn parse(bytes: &[u8]) -> Result<Report, ReportError> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLong { got_bytes: bytes.len() });
        }
        let mut rest = Bytes(bytes);
        let request = Bytes(rest.take(REQUEST_BYTES, "request")?);
        let nonce = Bytes(request.message(GET_MEASUREMENTS)?).array("request")?;
        let header: [u8; 8] = rest.message_header(MEASUREMENTS)?;
        let [_, _, _, _, blocks, low, middle, high] = header;
        let record_bytes = u32::from_le_bytes([low, middle, high, 0]) as usize;
        let record = rest.take(record_bytes, "measurement record")?;
        let measurements = measurements(record, blocks)?;
        let responder_nonce = rest.array("nonce")?;
        let opaque_bytes = u16::from_le_bytes(rest.array("opaque length")?);
        let opaque = opaque_fields(rest.take(usize::from(opaque_bytes), "opaque data")?)?;
        let signed_bytes = bytes.len() - rest.0.len();
        let signature = rest.array("signature")?;
        if rest.0.iter().any(|byte| *byte != 0) {
            return Err(ReportError::Trailing);
        }
        let signed = bytes.get(..signed_bytes).unwrap_or(&[]).to_vec();
        Ok(Report { nonce, responder_nonce, measurements, opaque, signed, signature })
    }

    /// What the signature covers: the request, and the answer up to the signature.
    pub fn signed_bytes(&self) -> &[u8] {
        &self.signed
    }

    /// r || s, big-endian.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], ReportError> {
        let split = self.0.split_at_checked(count);
        let (taken, rest) = split.ok_or(ReportError::Truncated { part })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], ReportError> {
        let taken = self.take(N, part)?;
        taken.try_into().map_err(|_| ReportError::Truncated { part })
    }

    /// The content of a message with four bytes of header.
    fn message(&self, code: u8) -> Result<&'a [u8], ReportError> {
        let mut content = Bytes(self.0);
        let header: [u8; 4] = content.array("header")?;
        check_header(header, code)?;
        Ok(content.0)
    }

    /// The header of a measurements message, which has eight bytes.
    fn message_header(&mut self, code: u8) -> Result<[u8; 8], ReportError> {
        let header: [u8; 8] = self.array("header")?;
        let [version, message, first, second, ..] = header;
        check_header([version, message, first, second], code)?;
        Ok(header)
    }
}

fn check_header([version, code, ..]: [u8; 4], expected: u8) -> Result<(), ReportError> {
    if version != VERSION {
        return Err(ReportError::Version { major: version >> 4, minor: version & 0xf });
    }
    if code == expected { Ok(()) } else { Err(ReportError::Code { got: code, expected }) }
}

/// Blocks of index, specification, length, and in DMTF's: type of value, length, value.
fn measurements(record: &[u8], stated: u8) -> Result<BTreeMap<u8, Vec<u8>>, ReportError> {
    const PART: &str = "measurement record";
    let mut rest = Bytes(record);
    let (mut values, mut count) = (BTreeMap::new(), 0);
    while !rest.0.is_empty() {
        let [index, specification, low, high] = rest.array(PART)?;
        let mut block = Bytes(rest.take(usize::from(u16::from_le_bytes([low, high])), PART)?);
        let wrong = ReportError::Block { index };
        let [_, low, high] = block.array(PART).map_err(|_| wrong.clone())?;
        if specification != DMTF || block.0.len() != usize::from(u16::from_le_bytes([low, high])) {
            return Err(wrong);
        }
        values.insert(index, block.0.to_vec());
        count += 1;
    }
    let stated = usize::from(stated);
    if count != stated || values.len() != stated {
        return Err(ReportError::Blocks { got: values.len(), stated });
    }
    Ok(values)
}

/// Fields of type, length, value; types nobody has heard of are kept like the others. Behind a header
/// of twelve bytes (name, profile, version, two reserved) a field has the type of its value second.
fn opaque_fields(data: &[u8]) -> Result<BTreeMap<u16, Vec<u8>>, ReportError> {
    const PART: &str = "opaque data";
    let headed = data.strip_prefix(TYPED_FIELDS);
    let mut rest = Bytes(headed.unwrap_or(data));
    if headed.is_some() {
        let got = u16::from_le_bytes(rest.array(PART)?);
        let [_major, _minor, _, _] = rest.array(PART)?;
        if got != 0 {
            return Err(ReportError::OpaqueProfile { got });
        }
    }
    let mut fields = BTreeMap::new();
    while !rest.0.is_empty() {
        let kind = u16::from_le_bytes(rest.array(PART)?);
        if headed.is_some() {
            let [_value_type, _] = rest.array(PART)?;
        }
        let length = u16::from_le_bytes(rest.array(PART)?);
        let value = rest.take(usize::from(length), PART)?;
        if fields.insert(kind, value.to_vec()).is_some() {
            return Err(ReportError::RepeatedField { kind });
        }
        if fields.len() > MAX_OPAQUE_FIELDS {
            return Err(ReportError::TooManyFields);
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(blocks: &[u8], stated: u8, opaque: &[u8]) -> Vec<u8> {
        let mut bytes = vec![VERSION, GET_MEASUREMENTS, 1, 0xff];
        bytes.extend([7; NONCE_BYTES]);
        bytes.push(0);
        bytes.extend([VERSION, MEASUREMENTS, 0, 0, stated, blocks.len() as u8, 0, 0]);
        bytes.extend(blocks);
        bytes.extend([9; NONCE_BYTES]);
        bytes.extend([opaque.len() as u8, 0]);
        bytes.extend(opaque);
        bytes.extend([3; SIGNATURE_BYTES]);
        bytes
    }

    const BLOCK: [u8; 9] = [1, 1, 5, 0, 0, 2, 0, 0xaa, 0xbb];

    #[test]
    fn takes_a_report_apart_and_tolerates_zeros_behind_it_and_unknown_fields() {
        let mut bytes = report(&BLOCK, 1, &[0xe7, 3, 1, 0, 0x55]);
        let signed_bytes = bytes.len() - SIGNATURE_BYTES;
        bytes.extend([0; 100]);
        let report = Report::parse(&bytes).unwrap();
        assert_eq!((report.nonce, report.responder_nonce), ([7; 32], [9; 32]));
        assert_eq!(report.measurements, BTreeMap::from([(1, vec![0xaa, 0xbb])]));
        assert_eq!(report.opaque, BTreeMap::from([(999, vec![0x55])]));
        assert_eq!(report.signed_bytes(), &bytes[..signed_bytes]);
        *bytes.last_mut().unwrap() = 1;
        assert_eq!(Report::parse(&bytes), Err(ReportError::Trailing));
    }

    #[test]
    fn a_report_has_at_most_64_kibibytes() {
        let mut bytes = report(&BLOCK, 1, &[]);
        bytes.resize(64 * 1024, 0);
        assert!(Report::parse(&bytes).is_ok());
        bytes.push(0);
        let got_bytes = bytes.len();
        assert_eq!(Report::parse(&bytes), Err(ReportError::TooLong { got_bytes }));
    }

    #[test]
    fn there_are_at_most_256_opaque_fields() {
        let fields = |count: u16| {
            let field = |kind: u16| [kind.to_le_bytes(), [0, 0]].concat();
            let data: Vec<u8> = (0..count).flat_map(field).collect();
            opaque_fields(&data).map(|fields| fields.len())
        };
        assert_eq!((fields(256), fields(257)), (Ok(256), Err(ReportError::TooManyFields)));
    }

    #[test]
    fn fields_may_state_the_type_of_their_value() {
        let data = |profile: u8| {
            let header = [b"NVDAOD".as_slice(), &[profile, 0, 2, 0, 0, 0]].concat();
            [header, vec![3, 0, 0x86, 0, 1, 0, 0x55], vec![0xe7, 3, 0x99, 0, 0, 0]].concat()
        };
        let expected = BTreeMap::from([(3, vec![0x55]), (999, vec![])]);
        assert_eq!(opaque_fields(&data(0)), Ok(expected));
        assert_eq!(opaque_fields(&data(1)), Err(ReportError::OpaqueProfile { got: 1 }));
        // The header alone, the first field, the second.
        let whole = [12, 19, 25];
        for end in 6..data(0).len() {
            assert_eq!(opaque_fields(&data(0)[..end]).is_ok(), whole.contains(&end), "{end}");
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = report(&BLOCK, 1, &[6, 0, 1, 0, 0x55]);
        for end in 0..bytes.len() {
            assert!(Report::parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn refuses_ambiguity_and_other_messages() {
        let twice = [BLOCK, BLOCK].concat();
        let got = Report::parse(&report(&twice, 2, &[]));
        assert_eq!(got, Err(ReportError::Blocks { got: 1, stated: 2 }));
        let got = Report::parse(&report(&BLOCK, 2, &[]));
        assert_eq!(got, Err(ReportError::Blocks { got: 1, stated: 2 }));
        let field = [6, 0, 0, 0, 6, 0, 0, 0];
        let got = Report::parse(&report(&BLOCK, 1, &field));
        assert_eq!(got, Err(ReportError::RepeatedField { kind: 6 }));
        let mut block = BLOCK;
        block[5] = 3;
        let got = Report::parse(&report(&block, 1, &[]));
        assert_eq!(got, Err(ReportError::Block { index: 1 }));
        let mut bytes = report(&BLOCK, 1, &[]);
        bytes[37] = 0x12;
        assert_eq!(Report::parse(&bytes), Err(ReportError::Version { major: 1, minor: 2 }));
        bytes[37] = VERSION;
        bytes[1] = 0xe1;
        let got = Report::parse(&bytes);
        assert_eq!(got, Err(ReportError::Code { got: 0xe1, expected: GET_MEASUREMENTS }));
    }
}
