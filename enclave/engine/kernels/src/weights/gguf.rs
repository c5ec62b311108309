//! The quantised blocks of GGUF files, taken apart: quants and scales of one row.
//! Layouts: ggml's block structures as the GGUF specification lists them.

use super::SUPER;
use crate::activation::BLOCK;

/// Bytes of a Q8_0 block: scale, 32 signed quants.
pub const Q8_0_BYTES: usize = 34;
/// Bytes of a Q4_0 block: scale, 16 bytes of nibbles, the first half in the low ones.
pub const Q4_0_BYTES: usize = 18;
/// Bytes of a Q4_K block of 256: scale, minimum, twelve bytes of 6-bit steps, 128 of nibbles.
pub const Q4_K_BYTES: usize = 144;
/// Bytes of a Q6_K block of 256: 128 of low nibbles, 64 of high pairs of bits, 16 steps, scale.
pub const Q6_K_BYTES: usize = 210;

/// How a row's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    /// 8 bits.
    Q8_0,
    /// 4 bits.
    Q4_0,
    /// 4 bits, K.
    Q4K,
    /// 6 bits, K.
    Q6K,
}

impl BlockFormat {
    /// Bytes of a row of `inputs` values, a multiple of the block's.
    pub fn row_bytes(self, inputs: usize) -> usize {
        match self {
            BlockFormat::Q8_0 => inputs / BLOCK * Q8_0_BYTES,
            BlockFormat::Q4_0 => inputs / BLOCK * Q4_0_BYTES,
            BlockFormat::Q4K => inputs / (BLOCK * SUPER) * Q4_K_BYTES,
            BlockFormat::Q6K => inputs / (BLOCK * SUPER) * Q6_K_BYTES,
        }
    }
}

/// Steps and quants of 32 values.
type Steps<T> = ([T; 2], [u8; BLOCK]);

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Scale, and quants with 128 added.
pub(super) fn q8_0(block: &[u8; Q8_0_BYTES]) -> (u16, [u8; BLOCK]) {
    (half(block, 0), std::array::from_fn(|at| block[2 + at] ^ 0x80))
}

/// Scale, and quants with 8 added.
pub(super) fn q4_0(block: &[u8; Q4_0_BYTES]) -> (u16, [u8; BLOCK]) {
    let nibble = |at: usize| if at < 16 { block[2 + at] & 15 } else { block[2 + at - 16] >> 4 };
    (half(block, 0), std::array::from_fn(nibble))
}

/// Scale and minimum of 256 values, and for each of eight blocks their steps and the quants.
pub(super) fn q4_k(block: &[u8; Q4_K_BYTES]) -> ([u16; 2], [Steps<u8>; SUPER]) {
    let (steps, nibbles) = block[4..].split_at(12);
    let step = |at: usize| match at {
        0..4 => [steps[at] & 63, steps[at + 4] & 63],
        _ => {
            [steps[at + 4] & 15 | steps[at - 4] >> 6 << 4, steps[at + 4] >> 4 | steps[at] >> 6 << 4]
        }
    };
    // Two blocks share 32 bytes: the even one has the low nibbles.
    let quants = |at: usize| -> [u8; BLOCK] {
        let bytes = &nibbles[at / 2 * BLOCK..];
        std::array::from_fn(|i| if at.is_multiple_of(2) { bytes[i] & 15 } else { bytes[i] >> 4 })
    };
    ([half(block, 0), half(block, 2)], std::array::from_fn(|at| (step(at), quants(at))))
}

/// Scale of 256 values, and for each of eight blocks the steps of its halves and the quants with
/// 32 added.
pub(super) fn q6_k(block: &[u8; Q6_K_BYTES]) -> (u16, [Steps<i8>; SUPER]) {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let step = |at: usize| [rest[2 * at] as i8, rest[2 * at + 1] as i8];
    // Each half of 128 values: four blocks; 64 bytes of nibbles, 32 bytes of bit pairs.
    let quants = |at: usize| -> [u8; BLOCK] {
        let (side, quarter) = (at / 4, at % 4);
        std::array::from_fn(|i| {
            let byte = low[side * 64 + quarter % 2 * 32 + i];
            let nibble = if quarter < 2 { byte & 15 } else { byte >> 4 };
            nibble | (high[side * 32 + i] >> (2 * quarter) & 3) << 4
        })
    };
    (half(block, 208), std::array::from_fn(|at| (step(at), quants(at))))
}
