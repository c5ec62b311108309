//! From logits to weights: what a softmax is before it is divided by its sum.

use crate::lanes::{self, Lanes, on_every_path};
use crate::weights::LANES;

/// Weights that have one sum.
pub const BLOCK: usize = 1024;
/// Below e to this power a weight is 0.
const LEAST_POWER: f32 = -87.0;

on_every_path! {
    /// e^((logit − `highest`) × `sharpness`) of every logit, into `weights`; 0 below e^−87, and so for
    /// −∞. The sum of every [`BLOCK`] of them, the last one as it comes, into `sums`.
    pub fn weigh(
        logits: &[f32],
        highest: f32,
        sharpness: f32,
        weights: &mut [f32],
        sums: &mut [f32],
    ) {
        let blocks = logits.chunks(BLOCK).zip(weights.chunks_mut(BLOCK));
        for ((logits, weights), sum) in blocks.zip(sums) {
            let (rows, rest) = logits.as_chunks::<LANES>();
            let (outs, rest_out) = weights.as_chunks_mut::<LANES>();
            let mut total: Lanes = [0.0; LANES];
            for (row, out) in rows.iter().zip(outs) {
                *out = lanes::map(*row, |logit| weight((logit - highest) * sharpness));
                for (total, out) in total.iter_mut().zip(out) {
                    *total += *out;
                }
            }
            for ((logit, out), total) in rest.iter().zip(rest_out).zip(&mut total) {
                *out = weight((logit - highest) * sharpness);
                *total += *out;
            }
            *sum = lanes::sum(&total);
        }
    }
}

#[inline(always)]
fn weight(power: f32) -> f32 {
    let weight = lanes::exp(power);
    if power < LEAST_POWER { 0.0 } else { weight }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::Path;

    #[test]
    fn weights_are_exponentials_and_sums_are_theirs() {
        for length in [1, LANES - 1, LANES, 100, BLOCK, BLOCK + 1, 3 * BLOCK + LANES + 5] {
            let logit = |n: usize| ((n * 2_654_435_761) % 4096) as f32 / 32.0 - 100.0;
            let mut logits: Vec<f32> = (0..length).map(logit).collect();
            logits[length / 2] = f32::NEG_INFINITY;
            let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max).max(-100.0);
            let weighed = |path: Path| {
                let mut weights = vec![f32::NAN; length];
                let mut sums = vec![f32::NAN; length.div_ceil(BLOCK)];
                weigh(path, &logits, highest, 1.5, &mut weights, &mut sums);
                (weights, sums)
            };
            let (weights, sums) = weighed(Path::Portable);
            for (logit, weight) in logits.iter().zip(&weights) {
                let power = f64::from((logit - highest) * 1.5);
                let exact = if power < -87.0 { 0.0 } else { power.exp() };
                assert!((f64::from(*weight) - exact).abs() <= 2.5e-7 * exact, "{logit}: {weight}");
            }
            for (sum, weights) in sums.iter().zip(weights.chunks(BLOCK)) {
                let exact: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
                assert!((f64::from(*sum) - exact).abs() <= 1e-5 * exact, "{length}: {sum}");
            }
            for path in Path::ALL {
                assert_eq!(weighed(path), (weights.clone(), sums.clone()), "{}", path.name());
            }
        }
    }
}
