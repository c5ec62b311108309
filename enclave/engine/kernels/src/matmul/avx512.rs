//! The product with AVX-512 and VNNI: sixteen outputs in a register, four inputs per lane and
//! instruction, up to eight rows and two columns of tiles at once.
//!
//! # Safety
//! Every function here needs the instructions of [`Path::Avx512Vnni`](crate::path::Path) and a task
//! whose shapes agree: `matmul` has compared them. Pointers stay inside the buffers because a tile's
//! number is below columns × blocks and a row's below the rows filled.

use std::arch::x86_64::*;

use super::part::Part;
use super::{Rows, Task};
use crate::weights::{LANES, SUPER, TILE, Tiles};

/// Lines ahead that weights are asked for when few rows use them: 8 KiB.
const AHEAD: usize = 16 * TILE;

/// `acc[m][n]`: sums of row m and column of tiles n.
type Sums<const M: usize, const N: usize> = [[__m512; N]; M];

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
pub(super) unsafe fn run(task: &Task<'_>) {
    let mut column = task.columns[0];
    // SAFETY: see the module.
    unsafe {
        while column + 2 <= task.columns[1] {
            down::<2>(task, column);
            column += 2;
        }
        if column < task.columns[1] {
            down::<1>(task, column);
        }
    }
}

/// All rows of the task for `N` columns of tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn down<const N: usize>(task: &Task<'_>, column: usize) {
    let [mut row, end] = task.range;
    // SAFETY: see the module.
    unsafe {
        while row + 8 <= end {
            step::<8, N>(task, column, row);
            row += 8;
        }
        if row + 4 <= end {
            step::<4, N>(task, column, row);
            row += 4;
        }
        match end - row {
            1 => step::<1, N>(task, column, row),
            2 => step::<2, N>(task, column, row),
            3 => step::<3, N>(task, column, row),
            _ => {}
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn step<const M: usize, const N: usize>(task: &Task<'_>, column: usize, row: usize) {
    let matrix = task.matrix;
    let (blocks, inputs) = (matrix.blocks(), matrix.inputs);
    let tiles: [usize; N] = std::array::from_fn(|n| (column + n) * blocks);
    // SAFETY: see the module.
    let sums: Sums<M, N> = unsafe {
        match (&matrix.tiles, task.rows) {
            (Tiles::Q8 { quants, scales }, Rows::Quantised(rows)) => {
                q8(quants, scales, tiles, Part::of(rows, row), blocks)
            }
            (Tiles::Q4 { quants, scales }, Rows::Quantised(rows)) => {
                q4(quants, scales, tiles, Part::of(rows, row), blocks)
            }
            (Tiles::Q4K { quants, steps, scales }, Rows::Quantised(rows)) => {
                q4k(quants, steps, scales, tiles, Part::of(rows, row), blocks)
            }
            (Tiles::Q6K { low, high, steps, scales }, Rows::Quantised(rows)) => {
                q6k([low, high], steps, scales, tiles, Part::of(rows, row), blocks)
            }
            (Tiles::F32 { values }, Rows::Floats(rows)) => {
                f32s(values, column, rows.as_ptr().add(row * inputs), inputs)
            }
            (Tiles::Bf16 { values }, Rows::Floats(rows)) => {
                bf16s(values, column, rows.as_ptr().add(row * inputs), inputs)
            }
            _ => return,
        }
    };
    for (m, sums) in sums.iter().enumerate() {
        for (n, sums) in sums.iter().enumerate() {
            let mut lanes = [0.0; LANES];
            // SAFETY: sixteen floats.
            unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), *sums) };
            task.target.put(row + m, column + n, &lanes, task.into);
        }
    }
}

/// Asks for the bytes that will be needed some tiles later.
#[inline(always)]
unsafe fn prefetch(at: *const u8) {
    // SAFETY: a prefetch never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(AHEAD).cast()) };
}

/// Sixteen 16-bit floats.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn halves(at: *const u16) -> __m512 {
    // SAFETY: the caller gives sixteen.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn q8<const M: usize, const N: usize>(
    quants: &[u8],
    scales: &[u16],
    tiles: [usize; N],
    rows: Part,
    blocks: usize,
) -> Sums<M, N> {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for b in 0..blocks {
        // SAFETY: see the module.
        unsafe {
            let mut dots = [[_mm512_setzero_si512(); N]; M];
            for m in 0..M {
                dots[m] = [_mm512_set1_epi32(rows.offsets(m, b).times_128); N];
            }
            let at: [*const u8; N] =
                std::array::from_fn(|n| quants.as_ptr().add((tiles[n] + b) * TILE));
            for g in 0..8 {
                let mut weights = [_mm512_setzero_si512(); N];
                for n in 0..N {
                    weights[n] = _mm512_loadu_si512(at[n].add(g * 64).cast());
                    if M <= 2 {
                        prefetch(at[n].add(g * 64));
                    }
                }
                for m in 0..M {
                    let four = _mm512_set1_epi32(rows.four(m, b, g));
                    for n in 0..N {
                        dots[m][n] = _mm512_dpbusd_epi32(dots[m][n], weights[n], four);
                    }
                }
            }
            for n in 0..N {
                let scale = halves(scales.as_ptr().add((tiles[n] + b) * LANES));
                for m in 0..M {
                    let both = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scale(m, b)));
                    let dot = _mm512_cvtepi32_ps(dots[m][n]);
                    sums[m][n] = _mm512_fmadd_ps(dot, both, sums[m][n]);
                }
            }
        }
    }
    sums
}

/// The dots of one tile of nibbles, from `start`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn nibble_dots<const M: usize, const N: usize>(
    dots: &mut [[__m512i; N]; M],
    at: [*const u8; N],
    rows: &Part,
    b: usize,
) {
    let low = _mm512_set1_epi8(15);
    // SAFETY: see the module.
    unsafe {
        for pair in 0..4 {
            let mut weights = [[_mm512_setzero_si512(); 2]; N];
            for n in 0..N {
                let bytes = _mm512_loadu_si512(at[n].add(pair * 64).cast());
                if M <= 2 {
                    prefetch(at[n].add(pair * 64));
                }
                weights[n] = [
                    _mm512_and_si512(bytes, low),
                    _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), low),
                ];
            }
            for side in 0..2 {
                for m in 0..M {
                    let four = _mm512_set1_epi32(rows.four(m, b, pair * 2 + side));
                    for n in 0..N {
                        dots[m][n] = _mm512_dpbusd_epi32(dots[m][n], weights[n][side], four);
                    }
                }
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn q4<const M: usize, const N: usize>(
    quants: &[u8],
    scales: &[u16],
    tiles: [usize; N],
    rows: Part,
    blocks: usize,
) -> Sums<M, N> {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for b in 0..blocks {
        // SAFETY: see the module.
        unsafe {
            let mut dots = [[_mm512_setzero_si512(); N]; M];
            for m in 0..M {
                dots[m] = [_mm512_set1_epi32(rows.offsets(m, b).times_8); N];
            }
            let at = std::array::from_fn(|n| quants.as_ptr().add((tiles[n] + b) * TILE / 2));
            nibble_dots(&mut dots, at, &rows, b);
            for n in 0..N {
                let scale = halves(scales.as_ptr().add((tiles[n] + b) * LANES));
                for m in 0..M {
                    let both = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scale(m, b)));
                    let dot = _mm512_cvtepi32_ps(dots[m][n]);
                    sums[m][n] = _mm512_fmadd_ps(dot, both, sums[m][n]);
                }
            }
        }
    }
    sums
}

/// Sixteen unsigned bytes as floats.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn bytes(at: *const u8) -> __m512 {
    // SAFETY: the caller gives sixteen.
    unsafe { _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()))) }
}

/// Sixteen signed bytes as floats.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn signed_bytes(at: *const i8) -> __m512 {
    // SAFETY: the caller gives sixteen.
    unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn q4k<const M: usize, const N: usize>(
    quants: &[u8],
    steps: &[u8],
    scales: &[u16],
    tiles: [usize; N],
    rows: Part,
    blocks: usize,
) -> Sums<M, N> {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for b in 0..blocks {
        // SAFETY: see the module.
        unsafe {
            let mut dots = [[_mm512_setzero_si512(); N]; M];
            let at = std::array::from_fn(|n| quants.as_ptr().add((tiles[n] + b) * TILE / 2));
            nibble_dots(&mut dots, at, &rows, b);
            for n in 0..N {
                let tile = tiles[n] + b;
                let both = scales.as_ptr().add(tile / SUPER * 2 * LANES);
                let step = steps.as_ptr().add(tile * 2 * LANES);
                let scale = _mm512_mul_ps(halves(both), bytes(step));
                let minimum = _mm512_mul_ps(halves(both.add(LANES)), bytes(step.add(LANES)));
                for m in 0..M {
                    let scale = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scale(m, b)));
                    let dot = _mm512_cvtepi32_ps(dots[m][n]);
                    let sum = _mm512_fmadd_ps(dot, scale, sums[m][n]);
                    sums[m][n] = _mm512_fnmadd_ps(minimum, _mm512_set1_ps(rows.total(m, b)), sum);
                }
            }
        }
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn q6k<const M: usize, const N: usize>(
    quants: [&[u8]; 2],
    steps: &[i8],
    scales: &[u16],
    tiles: [usize; N],
    rows: Part,
    blocks: usize,
) -> Sums<M, N> {
    let (fifteen, high_bits) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for b in 0..blocks {
        for half in 0..2 {
            // SAFETY: see the module.
            unsafe {
                let mut dots = [[_mm512_setzero_si512(); N]; M];
                for m in 0..M {
                    dots[m] = [_mm512_set1_epi32(rows.offsets(m, b).times_32[half]); N];
                }
                for g in 0..4 {
                    let mut weights = [_mm512_setzero_si512(); N];
                    for n in 0..N {
                        let tile = tiles[n] + b;
                        let low = quants[0].as_ptr().add(tile * TILE / 2 + (half * 2 + g / 2) * 64);
                        let high = quants[1].as_ptr().add(tile * TILE / 4 + half * 64);
                        if M <= 2 && g % 2 == 0 {
                            prefetch(low);
                        }
                        let low = _mm512_loadu_si512(low.cast());
                        let high = _mm512_loadu_si512(high.cast());
                        let low = if g % 2 == 0 { low } else { _mm512_srli_epi16::<4>(low) };
                        let high = match g {
                            0 => _mm512_slli_epi16::<4>(high),
                            1 => _mm512_slli_epi16::<2>(high),
                            2 => high,
                            _ => _mm512_srli_epi16::<2>(high),
                        };
                        weights[n] = _mm512_or_si512(
                            _mm512_and_si512(low, fifteen),
                            _mm512_and_si512(high, high_bits),
                        );
                    }
                    for m in 0..M {
                        let four = _mm512_set1_epi32(rows.four(m, b, half * 4 + g));
                        for n in 0..N {
                            dots[m][n] = _mm512_dpbusd_epi32(dots[m][n], weights[n], four);
                        }
                    }
                }
                for n in 0..N {
                    let tile = tiles[n] + b;
                    let scale = halves(scales.as_ptr().add(tile / SUPER * LANES));
                    let step = signed_bytes(steps.as_ptr().add((tile * 2 + half) * LANES));
                    let scale = _mm512_mul_ps(scale, step);
                    for m in 0..M {
                        let scale = _mm512_mul_ps(scale, _mm512_set1_ps(rows.scale(m, b)));
                        let dot = _mm512_cvtepi32_ps(dots[m][n]);
                        sums[m][n] = _mm512_fmadd_ps(dot, scale, sums[m][n]);
                    }
                }
            }
        }
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn f32s<const M: usize, const N: usize>(
    values: &[f32],
    column: usize,
    rows: *const f32,
    inputs: usize,
) -> Sums<M, N> {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for k in 0..inputs {
        for n in 0..N {
            // SAFETY: see the module.
            unsafe {
                let at = values.as_ptr().add(((column + n) * inputs + k) * LANES);
                let weights = _mm512_loadu_ps(at);
                if M <= 2 {
                    prefetch(at.cast());
                }
                for m in 0..M {
                    let input = _mm512_set1_ps(*rows.add(m * inputs + k));
                    sums[m][n] = _mm512_fmadd_ps(weights, input, sums[m][n]);
                }
            }
        }
    }
    sums
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma,f16c")]
unsafe fn bf16s<const M: usize, const N: usize>(
    values: &[u16],
    column: usize,
    rows: *const f32,
    inputs: usize,
) -> Sums<M, N> {
    let mut sums = [[_mm512_setzero_ps(); N]; M];
    for k in 0..inputs {
        for n in 0..N {
            // SAFETY: see the module.
            unsafe {
                let at = values.as_ptr().add(((column + n) * inputs + k) * LANES);
                let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(at.cast()));
                let weights = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide));
                if M <= 2 {
                    prefetch(at.cast());
                }
                for m in 0..M {
                    let input = _mm512_set1_ps(*rows.add(m * inputs + k));
                    sums[m][n] = _mm512_fmadd_ps(weights, input, sums[m][n]);
                }
            }
        }
    }
    sums
}
