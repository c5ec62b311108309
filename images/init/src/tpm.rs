//! A TPM beside the machine, where there is one: development images say on their console what its
//! register 9 holds, so that the predicted value can be held against a measured one. Nothing is
//! decided by it, and nothing is signed: it is no evidence.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;

/// The kernel's TPM.
const DEVICE: &str = "/dev/tpm0";
/// The register the EFI stub measures command line and initial RAM disk into.
const REGISTER: u8 = 9;
/// Longest answer of a TPM (TPM 2.0, PC client: 4096 bytes).
const MAX_ANSWER_BYTES: usize = 4096;

const NO_SESSIONS: u16 = 0x8001;
const PCR_READ: u32 = 0x0000_017e;
const SHA256: u16 = 0x000b;
const SUCCESS: u32 = 0;
/// Where the digest begins in an answer: header, counter, selection, count, length.
const DIGEST_AT: usize = 10 + 4 + 10 + 4 + 2;

/// Says what register 9 holds.
pub fn tell_register() {
    if !Path::new(DEVICE).exists() {
        return;
    }
    match read_register() {
        Ok(digest) => {
            let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            eprintln!("bulla-init: PCR {REGISTER} {hex}");
        }
        Err(error) => eprintln!("bulla-init: reading {DEVICE}: {error}"),
    }
}

fn read_register() -> io::Result<[u8; 32]> {
    let mut device = OpenOptions::new().read(true).write(true).open(DEVICE)?;
    device.write_all(&question(REGISTER))?;
    let mut answer = vec![0; MAX_ANSWER_BYTES];
    let length = device.read(&mut answer)?;
    digest(&answer[..length]).ok_or_else(|| io::Error::other("it gave no SHA-256 register"))
}

/// TPM2_PCR_Read of one register of the SHA-256 bank (TPM 2.0 Library, part 3, §22.4).
fn question(register: u8) -> Vec<u8> {
    let mut selected = [0u8; 3];
    selected[usize::from(register / 8)] = 1 << (register % 8);
    let mut body = 1u32.to_be_bytes().to_vec();
    body.extend(SHA256.to_be_bytes());
    body.push(selected.len() as u8);
    body.extend(selected);
    let mut command = NO_SESSIONS.to_be_bytes().to_vec();
    command.extend((body.len() as u32 + 10).to_be_bytes());
    command.extend(PCR_READ.to_be_bytes());
    command.extend(body);
    command
}

/// The one digest of an answer.
fn digest(answer: &[u8]) -> Option<[u8; 32]> {
    let code = u32::from_be_bytes(answer.get(6..10)?.try_into().ok()?);
    let length = u16::from_be_bytes(answer.get(DIGEST_AT - 2..DIGEST_AT)?.try_into().ok()?);
    if code != SUCCESS || length != 32 {
        return None;
    }
    answer.get(DIGEST_AT..DIGEST_AT + 32)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_one_register_and_takes_one_digest() {
        let question = question(9);
        assert_eq!(question.len(), 20);
        assert_eq!(&question[..10], &[0x80, 1, 0, 0, 0, 20, 0, 0, 1, 0x7e]);
        assert_eq!(&question[10..], &[0, 0, 0, 1, 0, 0x0b, 3, 0, 2, 0]);
        let mut answer = vec![0; DIGEST_AT];
        answer[DIGEST_AT - 1] = 32;
        answer.extend([7; 32]);
        assert_eq!(digest(&answer), Some([7; 32]));
        for length in 0..answer.len() {
            assert_eq!(digest(&answer[..length]), None);
        }
        answer[9] = 1;
        assert_eq!(digest(&answer), None);
    }
}
