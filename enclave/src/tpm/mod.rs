//! The four commands that make evidence of a TPM 2.0: make the attestation key, quote, read the
//! registers, forget the key. Bytes in, bytes out (TPM 2.0 Library, part 3); devices and sockets are
//! [`crate::io::attester`]'s.
//!
//! The key is a primary key: the TPM derives it from its endorsement seed and this template, so it is
//! the same after every start, and nothing has to be stored.

mod answer;
mod command;

pub use answer::{Created, Quoted, Registers, TpmError, created, done, quoted, registers};
pub use command::{create_attestation_key, flush, quote, read_registers};

/// Registers a quote covers: what firmware, boot loader and kernel measure into (PC Client platform
/// profile, §3.3.4).
pub const QUOTED_REGISTERS: std::ops::Range<usize> = 0..16;
/// Longest answer of a TPM, in bytes (PC Client platform profile: TPM_PT_MAX_RESPONSE_SIZE, 4096).
pub const MAX_ANSWER_BYTES: usize = 4096;

/// TPM_ST_NO_SESSIONS.
const NO_SESSIONS: u16 = 0x8001;
/// TPM_ST_SESSIONS.
const SESSIONS: u16 = 0x8002;
/// TPM_ALG_SHA256.
const SHA256: u16 = 0x000b;

/// The commands by name, for errors, and by number (part 2, §6.5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// TPM2_CreatePrimary (part 3, §24.1).
    CreatePrimary = 0x131,
    /// TPM2_Quote (§18.4).
    Quote = 0x158,
    /// TPM2_FlushContext (§28.4).
    FlushContext = 0x165,
    /// TPM2_PCR_Read (§22.4).
    PcrRead = 0x17e,
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TPM2_{self:?}")
    }
}

#[cfg(test)]
mod tests;
