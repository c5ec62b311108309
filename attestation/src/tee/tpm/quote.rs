//! A TPM 2.0 quote (TPM 2.0 Library, part 2, §10.12: TPMS_ATTEST with TPMS_QUOTE_INFO): what a TPM
//! signs when it is asked for the values of its platform configuration registers.

use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::reader::{Reader, Shape};
use crate::hex::Hex;

/// Largest quote in bytes (ours; a real one is 122 to 200).
pub const MAX_QUOTE_BYTES: usize = 4096;
/// Registers of one bank (TCG PC Client platform profile).
pub const PCRS: usize = 24;

/// TPM_GENERATED_VALUE: what no data from outside can begin with when a TPM signs it.
const MAGIC: u32 = 0xff54_4347;
/// TPM_ST_ATTEST_QUOTE.
const ATTEST_QUOTE: u16 = 0x8018;
/// TPM_ALG_SHA256.
const SHA256_BANK: u16 = 0x000b;
/// Banks one selection may name (TPM 2.0: HASH_COUNT of common TPMs is at most 4).
const MAX_BANKS: u32 = 16;
/// Bytes of one bank's bitmap: a register per bit.
const MAX_SELECT_BYTES: usize = 4;

/// Why bytes are not a quote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Too long.
    #[error("a quote is at most {MAX_QUOTE_BYTES} bytes, got {got}")]
    Length {
        /// Bytes given.
        got: usize,
    },
    /// It ends inside this field, or goes on after the last.
    #[error("the quote does not end where {field} says")]
    Shape {
        /// Which.
        field: &'static str,
    },
    /// Not something a TPM made.
    #[error("magic must be {MAGIC:#010x}, got {got:#010x}")]
    Magic {
        /// What it says.
        got: u32,
    },
    /// An attestation of something else.
    #[error("type must be {ATTEST_QUOTE:#06x} (quote), got {got:#06x}")]
    Type {
        /// What it says.
        got: u16,
    },
}

impl From<Shape> for QuoteError {
    fn from(Shape(field): Shape) -> QuoteError {
        QuoteError::Shape { field }
    }
}

/// The TPMS_ATTEST in `given`, with or without the length some tools keep in front of it
/// (TPM2B_ATTEST).
pub(in crate::tee) fn attest_of(given: &[u8]) -> &[u8] {
    behind_its_length(given).unwrap_or(given)
}

fn behind_its_length(sized: &[u8]) -> Option<&[u8]> {
    let (length, rest) = sized.split_first_chunk()?;
    (usize::from(u16::from_be_bytes(*length)) == rest.len()).then_some(rest)
}

/// The RSA signature in `given`: bare, or in TPM2_Quote's structure (TPMT_SIGNATURE: RSASSA,
/// SHA-256, length). Other schemes stay as they are, and verify under no key.
pub(in crate::tee) fn signature_of(given: &[u8]) -> &[u8] {
    const RSASSA_SHA256: [u8; 4] = [0x00, 0x14, 0x00, 0x0b];
    given.strip_prefix(&RSASSA_SHA256).and_then(behind_its_length).unwrap_or(given)
}

/// The clock of a TPM (TPMS_CLOCK_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Clock {
    /// Milliseconds the TPM was powered.
    pub clock_ms: u64,
    /// How often it was reset.
    pub resets: u32,
    /// How often it was restarted or resumed since.
    pub restarts: u32,
    /// Whether the clock never went back.
    pub safe: bool,
}

/// One bank of the registers quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tee) struct Bank {
    pub algorithm: u16,
    /// Register numbers, ascending.
    pub registers: Vec<usize>,
}

/// A quote, parsed; its signature covers all of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tee) struct Quote {
    /// What the asker had signed.
    pub extra_data: Vec<u8>,
    pub clock: Clock,
    pub firmware_version: u64,
    pub banks: Vec<Bank>,
    pub pcr_digest: Vec<u8>,
}

impl Quote {
    /// Parses a TPMS_ATTEST.
    pub fn parse(bytes: &[u8]) -> Result<Quote, QuoteError> {
        if bytes.len() > MAX_QUOTE_BYTES {
            return Err(QuoteError::Length { got: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let magic = u32::from_be_bytes(reader.array("magic")?);
        if magic != MAGIC {
            return Err(QuoteError::Magic { got: magic });
        }
        let kind = u16::from_be_bytes(reader.array("type")?);
        if kind != ATTEST_QUOTE {
            return Err(QuoteError::Type { got: kind });
        }
        let _qualified_signer = reader.sized("qualified signer")?;
        let extra_data = reader.sized("extra data")?.to_vec();
        let clock = reader.clock()?;
        let firmware_version = u64::from_be_bytes(reader.array("firmware version")?);
        let banks = reader.banks()?;
        let pcr_digest = reader.sized("PCR digest")?.to_vec();
        reader.end("PCR digest")?;
        Ok(Quote { extra_data, clock, firmware_version, banks, pcr_digest })
    }

    /// The digest the TPM would sign if its SHA-256 bank held `values`: over the selected registers
    /// in ascending order. `None` where another bank is quoted, or a value is missing.
    pub fn digest_over(&self, values: &[[u8; 32]]) -> Option<[u8; 32]> {
        let mut context = Context::new(&SHA256);
        for bank in &self.banks {
            for register in &bank.registers {
                let value = values.get(*register).filter(|_| bank.algorithm == SHA256_BANK)?;
                context.update(value);
            }
        }
        context.finish().as_ref().try_into().ok()
    }

    /// The registers of the SHA-256 bank that the quote speaks of, with their values.
    pub fn quoted<'a>(
        &'a self,
        values: &'a [[u8; 32]],
    ) -> impl Iterator<Item = (usize, Hex<32>)> + 'a {
        let banks = self.banks.iter().filter(|bank| bank.algorithm == SHA256_BANK);
        let registers = banks.flat_map(|bank| bank.registers.iter().copied());
        registers.filter_map(|register| Some((register, Hex(*values.get(register)?))))
    }
}

impl Reader<'_> {
    fn clock(&mut self) -> Result<Clock, QuoteError> {
        let field = "clock";
        let clock_ms = u64::from_be_bytes(self.array(field)?);
        let resets = u32::from_be_bytes(self.array(field)?);
        let restarts = u32::from_be_bytes(self.array(field)?);
        let [safe] = self.array(field)?;
        Ok(Clock { clock_ms, resets, restarts, safe: safe != 0 })
    }

    /// TPML_PCR_SELECTION.
    fn banks(&mut self) -> Result<Vec<Bank>, QuoteError> {
        let field = "PCR selection";
        let count = u32::from_be_bytes(self.array(field)?);
        if count > MAX_BANKS {
            return Err(QuoteError::Shape { field });
        }
        (0..count).map(|_| self.bank(field)).collect()
    }

    fn bank(&mut self, field: &'static str) -> Result<Bank, QuoteError> {
        let algorithm = u16::from_be_bytes(self.array(field)?);
        let [length] = self.array(field)?;
        if usize::from(length) > MAX_SELECT_BYTES {
            return Err(QuoteError::Shape { field });
        }
        let bits = self.take(field, length.into())?;
        let is_set = |register: &usize| {
            bits.get(register / 8).is_some_and(|byte| byte >> (register % 8) & 1 == 1)
        };
        let registers = (0..8 * bits.len()).filter(is_set).collect();
        Ok(Bank { algorithm, registers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote() -> Vec<u8> {
        let mut bytes =
            vec![0xff, 0x54, 0x43, 0x47, 0x80, 0x18, 0, 2, 1, 2, 0, 3, b'a', b'b', b'c'];
        bytes.extend([0; 17]);
        bytes.extend([1; 8]);
        // One bank, SHA-256, registers 0 and 9.
        bytes.extend([0, 0, 0, 1, 0, 0x0b, 3, 1, 2, 0]);
        bytes.extend([0, 2, 7, 7]);
        bytes
    }

    #[test]
    fn reads_what_a_tpm_signs() {
        let quote = Quote::parse(&quote()).unwrap();
        assert_eq!((quote.extra_data.as_slice(), quote.pcr_digest), (&b"abc"[..], vec![7, 7]));
        assert_eq!(quote.banks, [Bank { algorithm: 0x0b, registers: vec![0, 9] }]);
        assert!(!quote.clock.safe);
        let mut safe = super::tests::quote();
        safe[31] = 1;
        assert!(Quote::parse(&safe).unwrap().clock.safe);
    }

    #[test]
    fn refuses_every_truncation_and_every_addition() {
        let bytes = quote();
        for length in 0..bytes.len() {
            assert!(Quote::parse(&bytes[..length]).is_err(), "{length}");
        }
        assert!(Quote::parse(&[bytes, vec![0]].concat()).is_err());
        let long = [0xff; 4097];
        assert_eq!(Quote::parse(&long), Err(QuoteError::Length { got: 4097 }));
        assert_eq!(Quote::parse(&long[1..]), Err(QuoteError::Magic { got: u32::MAX }));
    }

    #[test]
    fn banks_and_their_registers_have_their_limits() {
        let with = |banks: u8, select: u8| {
            let mut bytes = quote()[..40].to_vec();
            bytes.extend([0, 0, 0, banks]);
            for _ in 0..banks {
                bytes.extend([0, 0x0b, select]);
                bytes.extend(vec![1; select.into()]);
            }
            bytes.extend([0, 0]);
            Quote::parse(&bytes).map(|quote| quote.banks.len())
        };
        let wrong = Err(QuoteError::Shape { field: "PCR selection" });
        assert_eq!((with(16, 1), with(17, 1)), (Ok(16), wrong.clone()));
        assert_eq!((with(1, 4), with(1, 5)), (Ok(1), wrong));
    }

    #[test]
    fn refuses_what_a_tpm_did_not_make_and_what_is_no_quote() {
        let mut other = quote();
        other[0] = 0;
        assert_eq!(Quote::parse(&other), Err(QuoteError::Magic { got: 0x0054_4347 }));
        let mut certify = quote();
        certify[5] = 0x17;
        assert_eq!(Quote::parse(&certify), Err(QuoteError::Type { got: 0x8017 }));
    }

    #[test]
    fn takes_quote_and_signature_out_of_their_structures() {
        let bytes = quote();
        let sized = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        assert_eq!((attest_of(&sized), attest_of(&bytes)), (&bytes[..], &bytes[..]));
        let bare = [7; 256];
        let structured = [&[0, 0x14, 0, 0x0b, 1, 0][..], &bare].concat();
        assert_eq!((signature_of(&structured), signature_of(&bare)), (&bare[..], &bare[..]));
        let other_scheme = [&[0, 0x16, 0, 0x0b, 1, 0][..], &bare].concat();
        let lying = [&[0, 0x14, 0, 0x0b, 0, 9][..], &bare].concat();
        for unchanged in [other_scheme, lying] {
            assert_eq!(signature_of(&unchanged), unchanged);
        }
    }

    #[test]
    fn recomputes_the_digest_over_the_selected_registers_only() {
        let parsed = Quote::parse(&quote()).unwrap();
        let mut values = [[0; 32]; PCRS];
        let digest = parsed.digest_over(&values).unwrap();
        values[1] = [1; 32];
        assert_eq!(parsed.digest_over(&values), Some(digest));
        values[9] = [1; 32];
        assert_ne!(parsed.digest_over(&values), Some(digest));
        assert_eq!(parsed.digest_over(&values[..9]), None);
        let mut sha1 = quote();
        sha1[0x2d] = 0x04;
        assert_eq!(Quote::parse(&sha1).unwrap().digest_over(&values), None);
    }
}
