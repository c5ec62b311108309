//! Rotary position embedding (RoFormer, arXiv 2104.09864) in the half-split layout of Hugging
//! Face weights: element `i` of a head is rotated together with element `i + head_dim / 2`.

use std::f32::consts::PI;

/// How positions become angles.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RopeSettings {
    /// Base of the wavelengths.
    pub theta: f32,
    /// Llama 3.1's stretching of long wavelengths, if any.
    pub scaling: Option<Llama3Scaling>,
}

/// `rope_type: llama3`: wavelengths much shorter than the original context stay, much longer
/// ones are stretched by `factor`, between them it is interpolated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Llama3Scaling {
    pub factor: f32,
    pub low_freq_factor: f32,
    pub high_freq_factor: f32,
    /// Context of the original training, in tokens.
    pub original_context: f32,
}

impl Llama3Scaling {
    fn apply(&self, frequency: f32) -> f32 {
        let wavelength = 2.0 * PI / frequency;
        let turns = self.original_context / wavelength;
        if turns > self.high_freq_factor {
            return frequency;
        }
        if turns < self.low_freq_factor {
            return frequency / self.factor;
        }
        let range = self.high_freq_factor - self.low_freq_factor;
        let keep = (turns - self.low_freq_factor) / range;
        (1.0 - keep) * frequency / self.factor + keep * frequency
    }
}

/// The frequencies of one model: half a head of them.
pub(super) struct Rope {
    frequencies: Vec<f32>,
}

/// Cosines and sines of consecutive positions, `half` values per position.
pub(super) struct Angles {
    half: usize,
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Rope {
    pub fn new(settings: &RopeSettings, head_dim: usize) -> Rope {
        let frequency = |i: usize| {
            let plain = 1.0 / settings.theta.powf((2 * i) as f32 / head_dim as f32);
            settings.scaling.as_ref().map_or(plain, |scaling| scaling.apply(plain))
        };
        Rope { frequencies: (0..head_dim / 2).map(frequency).collect() }
    }

    /// For `count` positions from `first`. Computed as needed: a table for the whole context
    /// would be hundreds of megabytes for the longest ones.
    pub fn angles(&self, first: usize, count: usize) -> Angles {
        let positions = first..first + count;
        let angle = |at: usize| self.frequencies.iter().map(move |f| at as f32 * f);
        let (sin, cos) = positions.flat_map(angle).map(f32::sin_cos).unzip();
        Angles { half: self.frequencies.len(), cos, sin }
    }
}

impl Angles {
    /// Rotates `rows`, each of `heads` heads, in place; row `t` is position `first + t`.
    pub fn rotate(&self, rows: &mut [f32], heads: usize) {
        let row_len = heads * 2 * self.half;
        let angles = self.cos.chunks_exact(self.half).zip(self.sin.chunks_exact(self.half));
        for (row, (cos, sin)) in rows.chunks_exact_mut(row_len).zip(angles) {
            for head in row.chunks_exact_mut(2 * self.half) {
                let (low, high) = head.split_at_mut(self.half);
                let pairs = low.iter_mut().zip(high).zip(cos.iter().zip(sin));
                for ((a, b), (cos, sin)) in pairs {
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(scaling: Option<Llama3Scaling>) -> Rope {
        Rope::new(&RopeSettings { theta: 10_000.0, scaling }, 8)
    }

    #[test]
    fn position_zero_changes_nothing_and_length_stays() {
        let start: Vec<f32> = (1..=16).map(|i| i as f32).collect();
        let mut rows = start.clone();
        rope(None).angles(0, 1).rotate(&mut rows, 2);
        assert_eq!(rows, start);
        rope(None).angles(77, 1).rotate(&mut rows, 2);
        let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>();
        assert_ne!(rows, start);
        assert!((norm(&rows) - norm(&start)).abs() < 1e-2);
    }

    #[test]
    fn pairs_are_half_a_head_apart() {
        let mut row = vec![0.0; 8];
        row[1] = 1.0;
        let rope = rope(None);
        rope.angles(3, 1).rotate(&mut row, 1);
        let (sin, cos) = (3.0 * rope.frequencies[1]).sin_cos();
        assert_eq!((row[1], row[5]), (cos, sin));
    }

    #[test]
    fn llama3_keeps_short_waves_and_stretches_long_ones() {
        let scaling = Llama3Scaling {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_context: 64.0,
        };
        let (plain, scaled) = (rope(None).frequencies, rope(Some(scaling)).frequencies);
        assert_eq!(scaled[0], plain[0]);
        assert_eq!(scaled[3], plain[3] / 8.0);
        assert!(scaled[1] < plain[1] && scaled[1] > plain[1] / 8.0);
    }
}
