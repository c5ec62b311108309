//! Commands, marshalled.

use super::{Code, NO_SESSIONS, SESSIONS, SHA256};

/// TPM_RH_ENDORSEMENT: the seed that survives its owner.
const ENDORSEMENT: u32 = 0x4000_000b;
/// TPM_RS_PW.
const PASSWORD_SESSION: u32 = 0x4000_0009;
/// Header of every command: tag, length, code.
const HEADER_BYTES: usize = 10;
/// Registers are selected by a bitmap of this many bytes.
const SELECT_BYTES: usize = 3;
const NULL: u16 = 0x0010;

/// An ECDSA P-256 key that signs with SHA-256 (TPMT_PUBLIC): fixedTPM, fixedParent,
/// sensitiveDataOrigin, userWithAuth, noDA, restricted, sign; no policy; the point left to the TPM.
const TEMPLATE: [u8; 26] = [
    0x00, 0x23, 0x00, 0x0b, 0x00, 0x05, 0x04, 0x72, 0x00,
    0x00, // ECC, name, attributes, policy
    0x00, 0x10, 0x00, 0x18, 0x00, 0x0b, 0x00, 0x03, 0x00, 0x10, // not symmetric, ECDSA, P-256
    0x00, 0x00, 0x00, 0x00, // x, y
    0x00, 0x00, // outside information (TPM2B_DATA, behind the template)
];
/// Length of the template itself.
const TEMPLATE_BYTES: u16 = 24;

fn command(tag: u16, code: Code, body: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_be_bytes().to_vec();
    bytes.extend(((HEADER_BYTES + body.len()) as u32).to_be_bytes());
    bytes.extend((code as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A handle, and the empty password that every hierarchy and key here has.
fn authorised(handle: u32) -> Vec<u8> {
    let mut bytes = handle.to_be_bytes().to_vec();
    let session = [&PASSWORD_SESSION.to_be_bytes()[..], &[0, 0], &[0], &[0, 0]].concat();
    bytes.extend((session.len() as u32).to_be_bytes());
    bytes.extend(session);
    bytes
}

/// TPML_PCR_SELECTION of the SHA-256 bank.
fn selection(registers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut bits = [0u8; SELECT_BYTES];
    for register in registers {
        if let Some(byte) = bits.get_mut(register / 8) {
            *byte |= 1 << (register % 8);
        }
    }
    let mut bytes = 1u32.to_be_bytes().to_vec();
    bytes.extend(SHA256.to_be_bytes());
    bytes.push(SELECT_BYTES as u8);
    bytes.extend(bits);
    bytes
}

/// TPM2_CreatePrimary of the attestation key.
pub fn create_attestation_key() -> Vec<u8> {
    let mut body = authorised(ENDORSEMENT);
    // TPM2B_SENSITIVE_CREATE: no password, no data.
    body.extend([0, 4, 0, 0, 0, 0]);
    body.extend(TEMPLATE_BYTES.to_be_bytes());
    body.extend(TEMPLATE);
    // No registers in the creation data.
    body.extend(0u32.to_be_bytes());
    command(SESSIONS, Code::CreatePrimary, &body)
}

/// TPM2_Quote of `registers` by the key at `handle`, over `data`.
pub fn quote(handle: u32, data: &[u8; 32], registers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let mut body = authorised(handle);
    body.extend((data.len() as u16).to_be_bytes());
    body.extend(data);
    // The key's own scheme.
    body.extend(NULL.to_be_bytes());
    body.extend(selection(registers));
    command(SESSIONS, Code::Quote, &body)
}

/// TPM2_PCR_Read. A TPM answers with as many as it likes, usually eight.
pub fn read_registers(registers: impl IntoIterator<Item = usize>) -> Vec<u8> {
    command(NO_SESSIONS, Code::PcrRead, &selection(registers))
}

/// TPM2_FlushContext: the key leaves the TPM's memory.
pub fn flush(handle: u32) -> Vec<u8> {
    command(NO_SESSIONS, Code::FlushContext, &handle.to_be_bytes())
}
