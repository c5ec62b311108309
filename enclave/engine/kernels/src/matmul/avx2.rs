//! The product with AVX2: sixteen outputs in two registers, up to four rows at once.
//!
//! Bytes are multiplied unsigned by signed and added in pairs to 16 bits. Nibbles and six-bit values
//! fit as they are; eight-bit weights give their sign to the activations first, because two products
//! of 255 × 127 would not fit.
//!
//! # Safety
//! Every function here needs the instructions of [`Path::Avx2`](crate::path::Path) and a task whose
//! shapes agree: `matmul` has compared them. Pointers stay inside the buffers because a tile's number
//! is below columns × blocks and a row's below the rows filled.

use std::arch::x86_64::*;

use super::part::Part;
use super::{Rows, Task};
use crate::weights::{LANES, SUPER, TILE, Tiles};

/// Bytes ahead that weights are asked for when few rows use them.
const AHEAD: usize = 16 * TILE;

/// Sixteen floats.
type Pair = [__m256; 2];
/// Sixteen integers.
type Dots = [__m256i; 2];

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) unsafe fn run(task: &Task<'_>) {
    let [start, end] = task.range;
    for column in task.columns[0]..task.columns[1] {
        let mut row = start;
        // SAFETY: see the module.
        unsafe {
            while row + 4 <= end {
                step::<4>(task, column, row);
                row += 4;
            }
            match end - row {
                1 => step::<1>(task, column, row),
                2 => step::<2>(task, column, row),
                3 => step::<3>(task, column, row),
                _ => {}
            }
        }
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn step<const M: usize>(task: &Task<'_>, column: usize, row: usize) {
    let matrix = task.matrix;
    let (blocks, inputs) = (matrix.blocks(), matrix.inputs);
    let tile = column * blocks;
    // SAFETY: see the module.
    let sums: [Pair; M] = unsafe {
        match (&matrix.tiles, task.rows) {
            (Tiles::Q8 { quants, scales }, Rows::Quantised(rows)) => {
                q8(quants, scales, tile, Part::of(rows, row), blocks)
            }
            (Tiles::Q4 { quants, scales }, Rows::Quantised(rows)) => {
                q4(quants, scales, tile, Part::of(rows, row), blocks)
            }
            (Tiles::Q4K { quants, steps, scales }, Rows::Quantised(rows)) => {
                q4k(quants, steps, scales, tile, Part::of(rows, row), blocks)
            }
            (Tiles::Q6K { low, high, steps, scales }, Rows::Quantised(rows)) => {
                q6k([low, high], steps, scales, tile, Part::of(rows, row), blocks)
            }
            (Tiles::F32 { values }, Rows::Floats(rows)) => {
                let values = values.as_ptr().add(column * inputs * LANES);
                floats(|k| f32s(values.add(k * LANES)), rows.as_ptr().add(row * inputs), inputs)
            }
            (Tiles::Bf16 { values }, Rows::Floats(rows)) => {
                let values = values.as_ptr().add(column * inputs * LANES);
                floats(|k| bf16s(values.add(k * LANES)), rows.as_ptr().add(row * inputs), inputs)
            }
            _ => return,
        }
    };
    for (m, [low, high]) in sums.into_iter().enumerate() {
        let mut lanes = [0.0; LANES];
        // SAFETY: sixteen floats.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), low);
            _mm256_storeu_ps(lanes.as_mut_ptr().add(8), high);
        }
        task.target.put(row + m, column, &lanes, task.into);
    }
}

/// `sums + dots × scale × row scale`, rounded as the other paths round.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn scaled(sums: Pair, dots: Dots, scale: Pair, row_scale: f32) -> Pair {
    let row_scale = _mm256_set1_ps(row_scale);
    std::array::from_fn(|half| {
        let both = _mm256_mul_ps(scale[half], row_scale);
        _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[half]), both, sums[half])
    })
}

/// Asks for the bytes that will be needed some tiles later.
#[inline(always)]
unsafe fn prefetch(at: *const u8) {
    // SAFETY: a prefetch never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast()) };
}

/// Sixteen 16-bit floats.
#[inline]
#[target_feature(enable = "avx2,f16c")]
unsafe fn halves(at: *const u16) -> Pair {
    // SAFETY: the caller gives sixteen.
    unsafe {
        [
            _mm256_cvtph_ps(_mm_loadu_si128(at.cast())),
            _mm256_cvtph_ps(_mm_loadu_si128(at.add(8).cast())),
        ]
    }
}

/// Sixteen unsigned bytes as floats.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bytes(at: *const u8) -> Pair {
    // SAFETY: the caller gives sixteen.
    unsafe {
        let eight =
            |at: *const u8| _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())));
        [eight(at), eight(at.add(8))]
    }
}

/// Sixteen signed bytes as floats.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn signed_bytes(at: *const i8) -> Pair {
    // SAFETY: the caller gives sixteen.
    unsafe {
        let eight =
            |at: *const i8| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())));
        [eight(at), eight(at.add(8))]
    }
}

#[inline]
#[target_feature(enable = "avx2")]
unsafe fn product(a: Pair, b: Pair) -> Pair {
    std::array::from_fn(|half| _mm256_mul_ps(a[half], b[half]))
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q8<const M: usize>(
    quants: &[u8],
    scales: &[u16],
    tile: usize,
    rows: Part,
    blocks: usize,
) -> [Pair; M] {
    let (zero, ones) = (_mm256_setzero_si256(), _mm256_set1_epi16(1));
    let flip = _mm256_set1_epi8(-128);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for b in 0..blocks {
        let mut dots = [[zero; 2]; M];
        // SAFETY: see the module.
        unsafe {
            let at = quants.as_ptr().add((tile + b) * TILE);
            for g in 0..8 {
                if M <= 2 {
                    prefetch(at.add(g * 64));
                }
                for half in 0..2 {
                    let stored = _mm256_loadu_si256(at.add(g * 64 + half * 32).cast());
                    let signed = _mm256_xor_si256(stored, flip);
                    let magnitude = _mm256_abs_epi8(signed);
                    for m in 0..M {
                        let four = _mm256_sign_epi8(_mm256_set1_epi32(rows.four(m, b, g)), signed);
                        let pairs = _mm256_maddubs_epi16(magnitude, four);
                        let sum = _mm256_madd_epi16(pairs, ones);
                        dots[m][half] = _mm256_add_epi32(dots[m][half], sum);
                    }
                }
            }
            let scale = halves(scales.as_ptr().add((tile + b) * LANES));
            for m in 0..M {
                sums[m] = scaled(sums[m], dots[m], scale, rows.scale(m, b));
            }
        }
    }
    sums
}

/// The dots of one tile of nibbles. Eight products of 15 × 127, two by two, fit 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn nibble_dots<const M: usize>(at: *const u8, rows: &Part, b: usize) -> [Dots; M] {
    let (low, ones) = (_mm256_set1_epi8(15), _mm256_set1_epi16(1));
    let mut short = [[_mm256_setzero_si256(); 2]; M];
    // SAFETY: see the module.
    unsafe {
        for pair in 0..4 {
            if M <= 2 {
                prefetch(at.add(pair * 64));
            }
            for half in 0..2 {
                let stored = _mm256_loadu_si256(at.add(pair * 64 + half * 32).cast());
                let even = _mm256_and_si256(stored, low);
                let odd = _mm256_and_si256(_mm256_srli_epi16::<4>(stored), low);
                for m in 0..M {
                    let first =
                        _mm256_maddubs_epi16(even, _mm256_set1_epi32(rows.four(m, b, pair * 2)));
                    let second =
                        _mm256_maddubs_epi16(odd, _mm256_set1_epi32(rows.four(m, b, pair * 2 + 1)));
                    let both = _mm256_add_epi16(first, second);
                    short[m][half] = _mm256_add_epi16(short[m][half], both);
                }
            }
        }
        short.map(|halves| halves.map(|half| _mm256_madd_epi16(half, ones)))
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4<const M: usize>(
    quants: &[u8],
    scales: &[u16],
    tile: usize,
    rows: Part,
    blocks: usize,
) -> [Pair; M] {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for b in 0..blocks {
        // SAFETY: see the module.
        unsafe {
            let at = quants.as_ptr().add((tile + b) * TILE / 2);
            let dots: [Dots; M] = nibble_dots(at, &rows, b);
            let scale = halves(scales.as_ptr().add((tile + b) * LANES));
            for m in 0..M {
                let offset = _mm256_set1_epi32(rows.offsets(m, b).times_8);
                let dots = dots[m].map(|dots| _mm256_add_epi32(dots, offset));
                sums[m] = scaled(sums[m], dots, scale, rows.scale(m, b));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q4k<const M: usize>(
    quants: &[u8],
    steps: &[u8],
    scales: &[u16],
    tile: usize,
    rows: Part,
    blocks: usize,
) -> [Pair; M] {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for b in 0..blocks {
        // SAFETY: see the module.
        unsafe {
            let at = quants.as_ptr().add((tile + b) * TILE / 2);
            let dots: [Dots; M] = nibble_dots(at, &rows, b);
            let both = scales.as_ptr().add((tile + b) / SUPER * 2 * LANES);
            let step = steps.as_ptr().add((tile + b) * 2 * LANES);
            let scale = product(halves(both), bytes(step));
            let minimum = product(halves(both.add(LANES)), bytes(step.add(LANES)));
            for m in 0..M {
                let sum = scaled(sums[m], dots[m], scale, rows.scale(m, b));
                let total = _mm256_set1_ps(rows.total(m, b));
                sums[m] =
                    std::array::from_fn(|half| _mm256_fnmadd_ps(minimum[half], total, sum[half]));
            }
        }
    }
    sums
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn q6k<const M: usize>(
    quants: [&[u8]; 2],
    steps: &[i8],
    scales: &[u16],
    tile: usize,
    rows: Part,
    blocks: usize,
) -> [Pair; M] {
    let (fifteen, high_bits) = (_mm256_set1_epi8(15), _mm256_set1_epi8(0x30));
    let ones = _mm256_set1_epi16(1);
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for b in 0..blocks {
        for part in 0..2 {
            // Four products of 63 × 127, two by two, would not fit 16 bits: two do.
            let mut dots = [[_mm256_setzero_si256(); 2]; M];
            // SAFETY: see the module.
            unsafe {
                for half in 0..2 {
                    let low =
                        quants[0].as_ptr().add((tile + b) * TILE / 2 + part * 128 + half * 32);
                    let high =
                        quants[1].as_ptr().add((tile + b) * TILE / 4 + part * 64 + half * 32);
                    if M <= 2 {
                        prefetch(low);
                    }
                    let lows = [low, low.add(64)].map(|at| _mm256_loadu_si256(at.cast()));
                    let high = _mm256_loadu_si256(high.cast());
                    for g in 0..4 {
                        let low = match g % 2 {
                            0 => lows[g / 2],
                            _ => _mm256_srli_epi16::<4>(lows[g / 2]),
                        };
                        let high = match g {
                            0 => _mm256_slli_epi16::<4>(high),
                            1 => _mm256_slli_epi16::<2>(high),
                            2 => high,
                            _ => _mm256_srli_epi16::<2>(high),
                        };
                        let weights = _mm256_or_si256(
                            _mm256_and_si256(low, fifteen),
                            _mm256_and_si256(high, high_bits),
                        );
                        for m in 0..M {
                            let four = _mm256_set1_epi32(rows.four(m, b, part * 4 + g));
                            let pairs = _mm256_maddubs_epi16(weights, four);
                            let sum = _mm256_madd_epi16(pairs, ones);
                            dots[m][half] = _mm256_add_epi32(dots[m][half], sum);
                        }
                    }
                }
                let scale = halves(scales.as_ptr().add((tile + b) / SUPER * LANES));
                let step = signed_bytes(steps.as_ptr().add(((tile + b) * 2 + part) * LANES));
                let scale = product(scale, step);
                for m in 0..M {
                    let offset = _mm256_set1_epi32(rows.offsets(m, b).times_32[part]);
                    let dots = dots[m].map(|dots| _mm256_add_epi32(dots, offset));
                    sums[m] = scaled(sums[m], dots, scale, rows.scale(m, b));
                }
            }
        }
    }
    sums
}

/// Sixteen floats.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn f32s(at: *const f32) -> Pair {
    // SAFETY: the caller gives sixteen.
    unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
}

/// Sixteen brain floats.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn bf16s(at: *const u16) -> Pair {
    // SAFETY: the caller gives sixteen.
    unsafe {
        let eight = |at: *const u16| {
            let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
        };
        [eight(at), eight(at.add(8))]
    }
}

/// `weights(k)` are those of input `k`.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn floats<const M: usize>(
    weights: impl Fn(usize) -> Pair,
    rows: *const f32,
    inputs: usize,
) -> [Pair; M] {
    let mut sums = [[_mm256_setzero_ps(); 2]; M];
    for k in 0..inputs {
        let weights = weights(k);
        for (m, sums) in sums.iter_mut().enumerate() {
            // SAFETY: inside row m.
            let input = unsafe { _mm256_set1_ps(*rows.add(m * inputs + k)) };
            for half in 0..2 {
                sums[half] = _mm256_fmadd_ps(weights[half], input, sums[half]);
            }
        }
    }
    sums
}
