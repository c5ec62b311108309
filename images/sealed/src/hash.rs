//! SHA-256, the only hash of this crate.

use std::io::{self, Read};

use data_encoding::HEXLOWER;
use ring::digest::{Context, SHA256, digest};

/// Of bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    finished(digest(&SHA256, bytes).as_ref())
}

/// Of pieces, one after the other.
pub fn sha256_of(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    finished(context.finish().as_ref())
}

/// Of a file of any length.
pub fn sha256_reader(mut reader: impl Read) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(finished(context.finish().as_ref())),
            count => context.update(&buffer[..count]),
        }
    }
}

/// In lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

fn finished(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(bytes);
    out
}
