//! The paravisor's report, as an Azure confidential VM reads it from its vTPM (NV index
//! 0x01400001): a header, the hardware's report, and the runtime data that report is bound to.
//!
//! | offset | field, little-endian |
//! |---|---|
//! | 0 | `HCLA`, version (1, 2), length in bytes, request type, status, three reserved words |
//! | 32 | SNP report (1184 bytes), or TD report (1024) and zeros |
//! | 1216 | length of what follows, version, report type, hash type, length of the runtime data |
//! | 1236 | the runtime data, JSON; before it one word of capabilities since version 2 |
//!
//! Source: `openhcl_attestation_protocol` of Microsoft's OpenVMM, and Azure's guest attestation
//! documentation. Nothing here but the hardware's report and the runtime data is signed: the rest
//! is read in one way only, and the buffer's tail must be zero.

use ring::digest::{self, SHA256, SHA384, SHA512};

use crate::tee::TeeKind;

/// Largest report in bytes (ours; the NV index holds 2600, OpenHCL reads at most 4096).
pub const MAX_HCL_BYTES: usize = 64 * 1024;

const MAGIC: &[u8; 4] = b"HCLA";
const HEADER_BYTES: usize = 32;
/// Room for the hardware's report: the size of an SNP report.
pub(super) const HARDWARE_REPORT_BYTES: usize = 1184;
const DATA_HEADER_BYTES: usize = 20;
/// The capabilities that version 2 puts before the runtime data.
const EXTENSION_BYTES: usize = 4;
/// The request a guest's report is an answer to: an attestation key certificate.
const REQUEST_TYPE_AK_CERTIFICATE: u32 = 2;

/// Why bytes are not a paravisor's report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HclError {
    /// Shorter or longer than any.
    #[error("a report is 1236 to {MAX_HCL_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// It does not begin with `HCLA`.
    #[error("the report does not begin with HCLA")]
    Magic,
    /// A field has a value nobody defined.
    #[error("{field} must be {expected}, got {got}")]
    Field {
        /// Which.
        field: &'static str,
        /// What would do.
        expected: &'static str,
        /// What it says.
        got: u32,
    },
    /// The lengths inside contradict each other or the bytes given.
    #[error("{field} says {got} bytes, {expected} fit")]
    Lengths {
        /// Which.
        field: &'static str,
        /// What would agree.
        expected: usize,
        /// What it says.
        got: usize,
    },
    /// The buffer goes on after the report, and not with zeros.
    #[error("bytes after the report must be zero")]
    Tail,
}

/// How the runtime data is hashed into the hardware's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HashType {
    Sha256,
    Sha384,
    Sha512,
}

impl HashType {
    fn of(value: u32) -> Result<HashType, HclError> {
        match value {
            1 => Ok(HashType::Sha256),
            2 => Ok(HashType::Sha384),
            3 => Ok(HashType::Sha512),
            got => Err(HclError::Field { field: "hash type", expected: "1 to 3", got }),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            HashType::Sha256 => "SHA-256",
            HashType::Sha384 => "SHA-384",
            HashType::Sha512 => "SHA-512",
        }
    }

    /// The digest of `data` in the 64 bytes of a report's data field, the rest zero.
    pub fn slot(self, data: &[u8]) -> [u8; 64] {
        let algorithm = match self {
            HashType::Sha256 => &SHA256,
            HashType::Sha384 => &SHA384,
            HashType::Sha512 => &SHA512,
        };
        let digest = digest::digest(algorithm, data);
        let mut slot = [0; 64];
        for (to, from) in slot.iter_mut().zip(digest.as_ref()) {
            *to = *from;
        }
        slot
    }
}

/// A paravisor's report, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hcl<'a> {
    /// Which hardware reports inside.
    pub kind: TeeKind,
    /// The hardware's report and, after a TD report, the zeros.
    pub hardware_report: &'a [u8],
    /// How the runtime data is hashed.
    pub hash: HashType,
    /// The runtime data: JSON, as hashed.
    pub runtime_data: &'a [u8],
}

impl<'a> Hcl<'a> {
    /// Whether `bytes` begin as such a report does.
    pub fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(MAGIC)
    }

    /// Takes `bytes` apart.
    pub fn parse(bytes: &'a [u8]) -> Result<Hcl<'a>, HclError> {
        let wrong_length = HclError::Length { got: bytes.len() };
        if bytes.len() > MAX_HCL_BYTES {
            return Err(wrong_length);
        }
        let (header, rest) =
            bytes.split_first_chunk::<HEADER_BYTES>().ok_or(wrong_length.clone())?;
        let (hardware_report, rest) =
            rest.split_at_checked(HARDWARE_REPORT_BYTES).ok_or(wrong_length.clone())?;
        let (data, rest) = rest.split_first_chunk::<DATA_HEADER_BYTES>().ok_or(wrong_length)?;
        let [magic, version, report_bytes, request, status, reserved @ ..] = words::<8>(header);
        let [data_bytes, data_version, report_type, hash_type, runtime_bytes] = words::<5>(data);
        if magic != u32::from_le_bytes(*MAGIC) {
            return Err(HclError::Magic);
        }
        expect("version", "1 or 2", version, (1..=2).contains(&version))?;
        expect("request type", "2", request, request == REQUEST_TYPE_AK_CERTIFICATE)?;
        expect("status", "0", status, status == 0)?;
        for word in reserved {
            expect("reserved", "0", word, word == 0)?;
        }
        expect("runtime data version", "1 or 2", data_version, (1..=2).contains(&data_version))?;
        let kind = match report_type {
            2 => TeeKind::AzureSnp,
            4 => TeeKind::AzureTdx,
            got => {
                let expected = "2 (SNP) or 4 (TDX)";
                return Err(HclError::Field { field: "report type", expected, got });
            }
        };
        let extension_bytes = if data_version == 1 { 0 } else { EXTENSION_BYTES };
        let runtime_data = runtime_data(rest, extension_bytes, runtime_bytes)?;
        let data_length = DATA_HEADER_BYTES + extension_bytes + runtime_data.len();
        agree("length of the data", data_bytes, data_length)?;
        let whole = HEADER_BYTES + HARDWARE_REPORT_BYTES + data_length;
        agree("length of the report", report_bytes, whole)?;
        let tail = bytes.get(whole..).unwrap_or_default();
        if tail.iter().any(|byte| *byte != 0) {
            return Err(HclError::Tail);
        }
        Ok(Hcl { kind, hardware_report, hash: HashType::of(hash_type)?, runtime_data })
    }
}

/// The runtime data in `rest`, after the extension.
fn runtime_data(rest: &[u8], extension: usize, length: u32) -> Result<&[u8], HclError> {
    let room = rest.len().saturating_sub(extension);
    let got = usize::try_from(length).unwrap_or(usize::MAX);
    let field = "length of the runtime data";
    rest.get(extension..).and_then(|rest| rest.get(..got)).ok_or(HclError::Lengths {
        field,
        expected: room,
        got,
    })
}

fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

fn expect(
    field: &'static str,
    expected: &'static str,
    got: u32,
    holds: bool,
) -> Result<(), HclError> {
    if holds { Ok(()) } else { Err(HclError::Field { field, expected, got }) }
}

fn agree(field: &'static str, got: u32, expected: usize) -> Result<(), HclError> {
    let got = usize::try_from(got).unwrap_or(usize::MAX);
    if got == expected { Ok(()) } else { Err(HclError::Lengths { field, expected, got }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A report with four bytes of runtime data and three of tail.
    fn report() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = |words: &[u32]| bytes.extend(words.iter().flat_map(|w| w.to_le_bytes()));
        put(&[u32::from_le_bytes(*MAGIC), 2, 32 + 1184 + 24, 2, 0, 0, 0, 0]);
        put(&[7; 1184 / 4]);
        put(&[24, 1, 2, 1, 4]);
        bytes.extend(b"data\0\0\0");
        bytes
    }

    #[test]
    fn takes_a_report_apart() {
        let bytes = report();
        let hcl = Hcl::parse(&bytes).unwrap();
        assert_eq!((hcl.kind, hcl.hash), (TeeKind::AzureSnp, HashType::Sha256));
        assert_eq!((hcl.runtime_data, hcl.hardware_report.len()), (&b"data"[..], 1184));
    }

    #[test]
    fn reads_the_extension_of_version_two() {
        let mut bytes = report();
        bytes[8] += 4;
        bytes[1216] += 4;
        bytes[1220] = 2;
        bytes.splice(1236..1236, [9, 9, 9, 9]);
        assert_eq!(Hcl::parse(&bytes).unwrap().runtime_data, b"data");
    }

    #[test]
    fn refuses_every_flipped_bit_that_nothing_signs() {
        let unsigned = (0..32).chain(1216..1236).chain(1240..1243);
        for at in unsigned {
            for bit in 0..8 {
                let mut bytes = report();
                bytes[at] ^= 1 << bit;
                let harmless = Hcl::parse(&bytes).is_ok_and(|hcl| hcl.runtime_data == b"data");
                // Another hash is another thing to compare: the binding is judged with it.
                let selects_hash = at == 1228 && bit == 1;
                assert_eq!(harmless, selects_hash, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn refuses_every_truncation() {
        let bytes = report();
        for length in 0..1240 {
            assert!(Hcl::parse(&bytes[..length]).is_err(), "{length}");
        }
        let mut longest = report();
        longest.resize(64 * 1024, 0);
        assert!(Hcl::parse(&longest).is_ok());
        longest.push(0);
        assert_eq!(Hcl::parse(&longest).err(), Some(HclError::Length { got: longest.len() }));
    }

    #[test]
    fn hashes_have_names() {
        let all = [HashType::Sha256, HashType::Sha384, HashType::Sha512];
        assert_eq!(all.map(HashType::name), ["SHA-256", "SHA-384", "SHA-512"]);
    }

    #[test]
    fn puts_the_digest_at_the_front_of_the_slot() {
        assert!(HashType::Sha256.slot(b"x")[32..].iter().all(|byte| *byte == 0));
        assert!(HashType::Sha384.slot(b"x")[48..].iter().all(|byte| *byte == 0));
        assert!(HashType::Sha512.slot(b"x")[48..].iter().any(|byte| *byte != 0));
    }
}
