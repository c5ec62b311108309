//! Rows that go into a product with quantised weights: 8-bit blocks of 32 values.

use crate::buffer::{Buffer, Plain};
use crate::path::Path;
use crate::pool::Pool;
use crate::split::Split;

/// Values that share one scale.
pub const BLOCK: usize = 32;

/// Blocks that a thread quantises at a time.
const PART_BLOCKS: usize = 512;

/// What a block of activations adds up to, as the weight formats need it: each stores its quants
/// with an offset, so that they are unsigned, and the product takes that offset back.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Offsets {
    /// −128 times the sum of the quants: eight-bit weights.
    pub times_128: i32,
    /// −8 times the sum: four-bit weights.
    pub times_8: i32,
    /// −32 times the sums of the two half blocks: six-bit weights.
    pub times_32: [i32; 2],
}

// SAFETY: four integers of 32 bits.
unsafe impl Plain for Offsets {}

/// Rows of activations in 8 bits: value = quant × scale of its block, scale = largest magnitude of
/// the block ÷ 127. Allocated once for a most number of rows, filled for every product.
#[derive(Clone)]
pub struct Activations {
    /// Values per row, a multiple of [`BLOCK`].
    width: usize,
    rows: usize,
    capacity: usize,
    /// `[rows][width]`.
    pub(crate) quants: Buffer<i8>,
    /// `[rows][width / BLOCK]`.
    pub(crate) scales: Buffer<f32>,
    /// `[rows][width / BLOCK]`.
    pub(crate) offsets: Buffer<Offsets>,
    /// Scale times the sum of the quants: what a weight's minimum is multiplied with.
    pub(crate) totals: Buffer<f32>,
}

impl Activations {
    /// Room for `capacity` rows of `width` values; `width` is a multiple of [`BLOCK`].
    pub fn new(capacity: usize, width: usize) -> Activations {
        assert!(width.is_multiple_of(BLOCK), "a row is whole blocks of {BLOCK}");
        let blocks = width / BLOCK;
        Activations {
            width,
            rows: 0,
            capacity,
            quants: Buffer::zeroed(capacity * width),
            scales: Buffer::zeroed(capacity * blocks),
            offsets: Buffer::zeroed(capacity * blocks),
            totals: Buffer::zeroed(capacity * blocks),
        }
    }

    /// Values per row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows filled.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Blocks per row.
    pub fn blocks(&self) -> usize {
        self.width / BLOCK
    }

    /// Quantises `values`, whole rows one after the other.
    ///
    /// # Panics
    /// When they are no whole rows, or more than there is room for.
    pub fn fill(&mut self, pool: &Pool, path: Path, values: &[f32]) {
        let rows = values.len() / self.width;
        assert!(rows * self.width == values.len() && rows <= self.capacity, "rows that fit");
        assert!(path.is_available(), "this processor has no {}", path.name());
        self.rows = rows;
        let blocks = values.as_chunks::<BLOCK>().0;
        let quants = Split::new(&mut self.quants);
        let scales = Split::new(&mut self.scales);
        let offsets = Split::new(&mut self.offsets);
        let totals = Split::new(&mut self.totals);
        pool.run(blocks.len().div_ceil(PART_BLOCKS), &|part, _| {
            let range = part * PART_BLOCKS..((part + 1) * PART_BLOCKS).min(blocks.len());
            // SAFETY: ranges of different parts do not overlap.
            let (quants, scales, offsets, totals) = unsafe {
                (
                    quants.part(range.start * BLOCK..range.end * BLOCK),
                    scales.part(range.clone()),
                    offsets.part(range.clone()),
                    totals.part(range.clone()),
                )
            };
            let quants = quants.as_chunks_mut::<BLOCK>().0;
            for (at, block) in blocks[range].iter().enumerate() {
                let (scale, sums) = match path {
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: `path` is available, as asserted above.
                    Path::Avx512Vnni => unsafe { avx512::quantise(block, &mut quants[at]) },
                    #[cfg(target_arch = "x86_64")]
                    // SAFETY: as above.
                    Path::Avx2 => unsafe { avx2::quantise(block, &mut quants[at]) },
                    _ => quantise(block, &mut quants[at]),
                };
                // Wrapping: what is no number has sums beyond all bounds, and stays no number.
                let sum = sums[0].wrapping_add(sums[1]);
                scales[at] = scale;
                offsets[at] = Offsets {
                    times_128: sum.wrapping_mul(-128),
                    times_8: sum.wrapping_mul(-8),
                    times_32: sums.map(|sum| sum.wrapping_mul(-32)),
                };
                totals[at] = scale * sum as f32;
            }
        });
    }
}

/// Scale, and the sums of the quants of each half. The results are exact but for the order in which
/// nothing depends, so every way of computing them gives the same bits.
fn quantise(block: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, [i32; 2]) {
    let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    for (quant, value) in quants.iter_mut().zip(block) {
        *quant = (value * inverse).round_ties_even() as i8;
    }
    let (first, second) = quants.split_at(BLOCK / 2);
    let sum = |half: &[i8]| half.iter().map(|quant| i32::from(*quant)).sum();
    (largest / 127.0, [sum(first), sum(second)])
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    use super::BLOCK;

    /// As the portable one. Needs AVX-512F.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn quantise(
        block: &[f32; BLOCK],
        quants: &mut [i8; BLOCK],
    ) -> (f32, [i32; 2]) {
        // SAFETY: 32 floats are read, 32 bytes written.
        unsafe {
            let halves = [_mm512_loadu_ps(block.as_ptr()), _mm512_loadu_ps(block[16..].as_ptr())];
            let magnitudes = halves.map(|half| _mm512_abs_ps(half));
            let largest = _mm512_reduce_max_ps(_mm512_max_ps(magnitudes[0], magnitudes[1]));
            let inverse = _mm512_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let rounded = halves.map(|half| _mm512_cvtps_epi32(_mm512_mul_ps(half, inverse)));
            for (at, half) in rounded.into_iter().enumerate() {
                let bytes = _mm512_cvtsepi32_epi8(half);
                _mm_storeu_si128(quants.as_mut_ptr().add(at * 16).cast(), bytes);
            }
            (largest / 127.0, rounded.map(|half| _mm512_reduce_add_epi32(half)))
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    use super::BLOCK;

    /// As the portable one. Needs AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn quantise(
        block: &[f32; BLOCK],
        quants: &mut [i8; BLOCK],
    ) -> (f32, [i32; 2]) {
        // SAFETY: 32 floats are read, 32 bytes written.
        unsafe {
            let eights: [__m256; 4] =
                std::array::from_fn(|at| _mm256_loadu_ps(block.as_ptr().add(at * 8)));
            let sign = _mm256_set1_ps(-0.0);
            let magnitudes = eights.map(|eight| _mm256_andnot_ps(sign, eight));
            let most = _mm256_max_ps(
                _mm256_max_ps(magnitudes[0], magnitudes[1]),
                _mm256_max_ps(magnitudes[2], magnitudes[3]),
            );
            let mut lanes = [0.0f32; 8];
            _mm256_storeu_ps(lanes.as_mut_ptr(), most);
            let largest = lanes.into_iter().fold(0.0f32, f32::max);
            let inverse = _mm256_set1_ps(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let rounded = eights.map(|eight| _mm256_cvtps_epi32(_mm256_mul_ps(eight, inverse)));
            // Packing works inside 128-bit lanes: groups of four come out as 0 2 4 6 1 3 5 7.
            let shorts = _mm256_packs_epi16(
                _mm256_packs_epi32(rounded[0], rounded[1]),
                _mm256_packs_epi32(rounded[2], rounded[3]),
            );
            let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
            let bytes = _mm256_permutevar8x32_epi32(shorts, order);
            _mm256_storeu_si256(quants.as_mut_ptr().cast(), bytes);
            let sum = |halves: [__m256i; 2]| {
                let mut lanes = [0i32; 8];
                let both = _mm256_add_epi32(halves[0], halves[1]);
                _mm256_storeu_si256(lanes.as_mut_ptr().cast(), both);
                lanes.iter().sum()
            };
            let sums = [sum([rounded[0], rounded[1]]), sum([rounded[2], rounded[3]])];
            (largest / 127.0, sums)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_keeps_its_largest_value_and_its_signs() {
        let values: Vec<f32> = (0..64).map(|at| (at as f32 - 20.0) * 0.25).collect();
        let mut rows = Activations::new(2, 64);
        rows.fill(&Pool::new(1), Path::Portable, &values);
        assert_eq!(rows.rows(), 1);
        for (at, value) in values.iter().enumerate() {
            let restored = f32::from(rows.quants[at]) * rows.scales[at / BLOCK];
            assert!((restored - value).abs() <= rows.scales[at / BLOCK] * 0.5001, "{at}");
        }
        let sum: i32 = rows.quants[16..32].iter().map(|quant| i32::from(*quant)).sum();
        assert_eq!(rows.offsets[0].times_32[1], -32 * sum);
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        let values: Vec<f32> =
            (0..64_000).map(|at| ((at * 7919) % 1013) as f32 / 97.3 - 5.0).collect();
        let fill = |path, threads| {
            let mut rows = Activations::new(100, 640);
            rows.fill(&Pool::new(threads), path, &values);
            (rows.quants.to_vec(), rows.scales.to_vec(), rows.totals.to_vec())
        };
        let expected = fill(Path::Portable, 1);
        for path in Path::ALL.into_iter().filter(|path| path.is_available()) {
            assert!(fill(path, 2) == expected, "{path:?}");
        }
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut rows = Activations::new(1, 32);
        rows.fill(&Pool::new(1), Path::Portable, &[0.0; 32]);
        assert!(rows.quants.iter().all(|quant| *quant == 0) && rows.scales[0] == 0.0);
    }
}
