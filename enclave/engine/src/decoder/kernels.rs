//! The arithmetic between the matrix products: plain loops, fixed order of summation, so the
//! same input gives the same bits whatever the batch.

/// Partial sums of a dot product; enough for wide registers.
const LANES: usize = 16;

/// Root-mean-square normalisation of each row, times `weight`.
pub(super) fn rms_norm(rows: &[f32], weight: &[f32], eps: f32) -> Vec<f32> {
    let mut normed = Vec::with_capacity(rows.len());
    for row in rows.chunks_exact(weight.len()) {
        let mean_square = dot(row, row) / row.len() as f32;
        let scale = 1.0 / (mean_square + eps).sqrt();
        normed.extend(row.iter().zip(weight).map(|(value, weight)| value * scale * weight));
    }
    normed
}

/// `gate` becomes `silu(gate) * up`.
pub(super) fn silu_times(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + (-*gate).exp()) * up;
    }
}

/// `sum += more`.
pub(super) fn add(sum: &mut [f32], more: &[f32]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

/// One query head over `keys` and `values`, `query.len()` values per position; adds the weighted
/// values to `out`. `scores` is scratch.
pub(super) fn attend(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    let scale = 1.0 / (query.len() as f32).sqrt();
    scores.clear();
    scores.extend(keys.chunks_exact(query.len()).map(|key| dot(query, key) * scale));
    softmax(scores);
    for (score, value) in scores.iter().zip(values.chunks_exact(query.len())) {
        for (out, value) in out.iter_mut().zip(value) {
            *out += score * value;
        }
    }
}

/// Turns scores into weights that sum to one.
fn softmax(scores: &mut [f32]) {
    let highest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - highest).exp();
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

/// `out[i]` is row `i` of `matrix` times `row`.
pub(super) fn dot_rows(matrix: &[f32], row: &[f32], out: &mut [f32]) {
    for (out, weights) in out.iter_mut().zip(matrix.chunks_exact(row.len())) {
        *out = dot(weights, row);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let ((a_blocks, a_rest), (b_blocks, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sum_lanes(lanes) + rest
}

/// Folds in halves: a chain of single additions would take longer than a short row.
fn sum_lanes(lanes: [f32; LANES]) -> f32 {
    let eight: [f32; 8] = std::array::from_fn(|i| lanes[i] + lanes[i + 8]);
    let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
    (four[0] + four[2]) + (four[1] + four[3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_covers_blocks_and_rest() {
        for len in [0, 1, 15, 16, 17, 40] {
            let a: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|a| a * 2.0).sum();
            assert_eq!(dot(&a, &vec![2.0; len]), expected);
        }
    }

    #[test]
    fn attention_to_one_position_is_its_value() {
        let mut out = vec![0.0; 2];
        attend(&[3.0, -1.0], &[9.0, 9.0], &[5.0, 7.0], &mut Vec::new(), &mut out);
        assert_eq!(out, [5.0, 7.0]);
    }

    #[test]
    fn softmax_survives_large_scores() {
        let mut scores = [1000.0, 1000.0, -1000.0];
        softmax(&mut scores);
        assert_eq!(scores, [0.5, 0.5, 0.0]);
    }
}
