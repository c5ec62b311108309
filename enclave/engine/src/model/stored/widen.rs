//! Blocks rewritten as wider ones that have kernels: scales stay, quants get more bits than they
//! need, and every value stays the same number.

use super::blocks::{NON_LINEAR, fifth, nibble, q3_k_quant, q3_k_step};

/// Rewrites every block of `A` bytes as one of `B`.
pub(super) fn each<const A: usize, const B: usize>(
    row: &[u8],
    widen: fn(&[u8; A]) -> [u8; B],
) -> Vec<u8> {
    row.as_chunks::<A>().0.iter().flat_map(widen).collect()
}

/// A Q8_0 block: a scale and 32 signed quants.
fn q8_0(scale: [u8; 2], quant: impl Fn(usize) -> i8) -> [u8; 34] {
    std::array::from_fn(|at| if at < 2 { scale[at] } else { quant(at - 2) as u8 })
}

pub(super) fn q5_0(block: &[u8; 22]) -> [u8; 34] {
    let quant = |at| (nibble(&block[6..], at) | fifth(&block[2..6], at)) as i8 - 16;
    q8_0([block[0], block[1]], quant)
}

pub(super) fn iq4_nl(block: &[u8; 18]) -> [u8; 34] {
    q8_0([block[0], block[1]], |at| NON_LINEAR[nibble(&block[2..], at) as usize])
}

/// A Q6_K block: 128 bytes of nibbles, 64 of pairs of bits, 16 steps, a scale.
pub(super) fn q3_k(block: &[u8; 110]) -> [u8; 210] {
    let mut wide = [0; 210];
    for at in 0..256 {
        let (side, quarter, inner) = (at / 128, at / 32 % 4, at % 32);
        let quant = (q3_k_quant(block, at) + 32) as u8;
        wide[side * 64 + quarter % 2 * 32 + inner] |= (quant & 15) << (quarter / 2 * 4);
        wide[128 + side * 32 + inner] |= (quant >> 4) << (2 * quarter);
    }
    for at in 0..16 {
        wide[192 + at] = q3_k_step(&block[96..108], at) as u8;
    }
    wide[208..].copy_from_slice(&block[108..]);
    wide
}
