//! What happens to rows between the products: normalisation, rotation, gates.

use crate::lanes::{self, Lanes, on_every_path};
use crate::path::Path;
use crate::pool::Pool;
use crate::split::Split;
use crate::weights::LANES;

/// Rows that a thread takes at a time.
const PART_ROWS: usize = 8;

/// Calls `work` for some rows of `from` and the same rows of `to` at a time, on all threads. Rows of
/// `from` have `width` values, rows of `to` as many as come out even.
pub fn over_rows(
    pool: &Pool,
    from: &[f32],
    width: usize,
    to: &mut [f32],
    work: &(dyn Fn(&[f32], &mut [f32]) + Sync),
) {
    let rows = from.len() / width;
    let to_width = to.len() / rows.max(1);
    let to = Split::new(to);
    pool.run(rows.div_ceil(PART_ROWS), &|part, _| {
        let range = part * PART_ROWS..((part + 1) * PART_ROWS).min(rows);
        // SAFETY: ranges of different parts do not overlap.
        let to = unsafe { to.part(range.start * to_width..range.end * to_width) };
        work(&from[range.start * width..range.end * width], to);
    });
}

/// [`rms_norm`] on all threads.
pub fn norm_rows(
    pool: &Pool,
    path: Path,
    rows: &[f32],
    weight: &[f32],
    epsilon: f32,
    out: &mut [f32],
) {
    over_rows(pool, rows, weight.len(), out, &|rows, out| {
        rms_norm(path, rows, weight, epsilon, out);
    });
}

/// [`silu_times`] on all threads.
pub fn gate_rows(pool: &Pool, path: Path, rows: &[f32], width: usize, out: &mut [f32]) {
    over_rows(pool, rows, 2 * width, out, &|rows, out| silu_times(path, rows, width, out));
}

on_every_path! {
    /// Root-mean-square normalisation: each row of `rows`, as long as `weight`, divided by its root
    /// mean square and multiplied with `weight`, into `out`.
    pub fn rms_norm(rows: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        let width = weight.len();
        for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let mean_square = square_sum(row) / width as f32;
            let scale = 1.0 / (mean_square + epsilon).sqrt();
            for ((out, value), weight) in out.iter_mut().zip(row).zip(weight) {
                *out = value * scale * weight;
            }
        }
    }
}

on_every_path! {
    /// Each row of `rows` holds a gate and a value of `width` each; `out` gets silu(gate) × value.
    pub fn silu_times(rows: &[f32], width: usize, out: &mut [f32]) {
        for (row, out) in rows.chunks_exact(2 * width).zip(out.chunks_exact_mut(width)) {
            let (gate, value) = row.split_at(width);
            for ((out, gate), value) in out.iter_mut().zip(gate).zip(value) {
                *out = *gate / (1.0 + lanes::exp(-*gate)) * value;
            }
        }
    }
}

on_every_path! {
    /// Rotates `heads` heads of one row: element i together with element i + half, by the angle whose
    /// sines and cosines are given, `half` values each.
    pub fn rotate(row: &mut [f32], sines: &[f32], cosines: &[f32]) {
        let half = sines.len();
        for head in row.chunks_exact_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for (((a, b), sine), cosine) in low.iter_mut().zip(high).zip(sines).zip(cosines) {
                (*a, *b) = (*a * cosine - *b * sine, *b * cosine + *a * sine);
            }
        }
    }
}

on_every_path! {
    /// `rows += bias` for each row.
    pub fn add_bias(rows: &mut [f32], bias: &[f32]) {
        for row in rows.chunks_exact_mut(bias.len()) {
            for (value, bias) in row.iter_mut().zip(bias) {
                *value += bias;
            }
        }
    }
}

/// Sixteen chains, then folded; what is over one by one.
#[inline(always)]
fn square_sum(row: &[f32]) -> f32 {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sums: Lanes = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] = block[lane].mul_add(block[lane], sums[lane]);
        }
    }
    let mut total = lanes::sum(&sums);
    for value in rest {
        total = value.mul_add(*value, total);
    }
    total
}
