//! What is done to bytes: one change at a time, from a seeded source.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// Values length fields are set to, besides one more and one less than they were.
const LENGTHS: [u32; 6] = [0, 1, 0x7f, 0xff, 0xffff, u32::MAX];
/// Longest piece that is moved, copied or put in.
const MAX_PIECE_BYTES: usize = 256;

/// `bytes`, changed; sometimes in vain (two equal pieces swapped).
pub fn change(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = below(rng, bytes.len());
    match below(rng, 16) {
        0..=6 => changed[at] ^= 1 << below(rng, 8),
        7 => changed[at] = rng.next_u32() as u8,
        8 => changed.truncate(at),
        9 => append(&mut changed, rng),
        10 => cut(&mut changed, at, rng),
        11 => insert(&mut changed, at, rng),
        12 => swap(&mut changed, at, rng),
        13 => copy(&mut changed, at, rng),
        14 => length_field(&mut changed, at, rng),
        _ => two_bits(&mut changed, rng),
    }
    changed
}

/// A number below `end`; 0 where there is none.
pub fn below(rng: &mut ChaCha20Rng, end: usize) -> usize {
    match end {
        0 => 0,
        end => rng.next_u32() as usize % end,
    }
}

fn piece(rng: &mut ChaCha20Rng) -> usize {
    let longest = [1, 4, 32, MAX_PIECE_BYTES][below(rng, 4)];
    1 + below(rng, longest)
}

fn append(bytes: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
    let filler = [0, b' ', b'\n', rng.next_u32() as u8][below(rng, 4)];
    bytes.extend(std::iter::repeat_n(filler, piece(rng)));
}

fn cut(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha20Rng) {
    let end = (at + piece(rng)).min(bytes.len());
    bytes.drain(at..end);
}

fn insert(bytes: &mut Vec<u8>, at: usize, rng: &mut ChaCha20Rng) {
    let filler = [0, b' ', b'\n', rng.next_u32() as u8][below(rng, 4)];
    let piece = vec![filler; piece(rng)];
    bytes.splice(at..at, piece);
}

/// Exchanges two pieces that do not overlap.
fn swap(bytes: &mut [u8], at: usize, rng: &mut ChaCha20Rng) {
    let other = below(rng, bytes.len());
    let (first, second) = (at.min(other), at.max(other));
    let length = piece(rng).min(second - first).min(bytes.len() - second);
    for n in 0..length {
        bytes.swap(first + n, second + n);
    }
}

/// Overwrites one piece with another.
fn copy(bytes: &mut [u8], at: usize, rng: &mut ChaCha20Rng) {
    let from = below(rng, bytes.len());
    let length = piece(rng).min(bytes.len() - from).min(bytes.len() - at);
    bytes.copy_within(from..from + length, at);
}

/// Treats one, two or four bytes as a length, of either byte order.
fn length_field(bytes: &mut [u8], at: usize, rng: &mut ChaCha20Rng) {
    let width = [1, 2, 4][below(rng, 3)].min(bytes.len() - at);
    let field = &mut bytes[at..at + width];
    let is_little = below(rng, 2) == 0;
    if is_little {
        field.reverse();
    }
    let old = field.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte));
    let new = match below(rng, 8) {
        0 => old.wrapping_add(1),
        1 => old.wrapping_sub(1),
        n => LENGTHS[n - 2],
    };
    for (n, byte) in field.iter_mut().rev().enumerate() {
        *byte = (new >> (8 * n)) as u8;
    }
    if is_little {
        field.reverse();
    }
}

fn two_bits(bytes: &mut [u8], rng: &mut ChaCha20Rng) {
    for _ in 0..2 {
        let at = below(rng, bytes.len());
        bytes[at] ^= 1 << below(rng, 8);
    }
}
