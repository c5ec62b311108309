//! From logits to the next token, by the request's own random stream.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::request::Sampling;

/// Chooses the tokens of one sequence.
pub(crate) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// Scratch: logit, later weight, and token id.
    candidates: Vec<(f32, u32)>,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sampling.seed());
        Sampler { sampling, random, candidates: Vec::new() }
    }

    /// `None` when a logit is not a finite number: the model's arithmetic broke down.
    pub fn choose(&mut self, logits: &[f32]) -> Option<u32> {
        if logits.is_empty() || !logits.iter().all(|logit| logit.is_finite()) {
            return None;
        }
        if self.sampling.temperature() == 0.0 {
            return Some(likeliest(logits));
        }
        let ids = 0..logits.len() as u32;
        self.candidates.clear();
        self.candidates.extend(logits.iter().copied().zip(ids));
        self.keep_top_k();
        self.weigh();
        self.keep_top_p();
        Some(self.draw())
    }

    /// Leaves the `top_k` highest logits; the lower id wins among equals.
    fn keep_top_k(&mut self) {
        let keep = self.sampling.top_k() as usize;
        if keep > 0 && keep < self.candidates.len() {
            self.candidates.select_nth_unstable_by(keep - 1, likelier_first);
            self.candidates.truncate(keep);
            // The selection leaves any order; drawing needs one that is always the same.
            self.candidates.sort_unstable_by(likelier_first);
        }
    }

    /// Logits become unnormalised probabilities at the temperature.
    fn weigh(&mut self) {
        let logits = self.candidates.iter().map(|(logit, _)| *logit);
        let highest = logits.fold(f32::NEG_INFINITY, f32::max);
        for (logit, _) in &mut self.candidates {
            *logit = ((*logit - highest) / self.sampling.temperature()).exp();
        }
    }

    /// Leaves the likeliest candidates that together reach `top_p`, at least one.
    fn keep_top_p(&mut self) {
        let top_p = f64::from(self.sampling.top_p());
        if top_p >= 1.0 {
            return;
        }
        self.candidates.sort_unstable_by(likelier_first);
        let enough = top_p * self.total();
        let mut sum = 0.0;
        let before = self.candidates.iter().take_while(|(weight, _)| {
            let goes_on = sum < enough;
            sum += f64::from(*weight);
            goes_on
        });
        let keep = before.count().max(1);
        self.candidates.truncate(keep);
    }

    fn draw(&mut self) -> u32 {
        // 53 random bits are exactly a double in [0, 1).
        let unit = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        let mut left = unit * self.total();
        for &(weight, id) in &self.candidates {
            left -= f64::from(weight);
            if left < 0.0 {
                return id;
            }
        }
        // Rounding can leave a sliver: it belongs to the last candidate with any weight.
        let mut weighty = self.candidates.iter().rev().filter(|(weight, _)| *weight > 0.0);
        weighty.next().map_or(0, |(_, id)| *id)
    }

    fn total(&self) -> f64 {
        self.candidates.iter().map(|(weight, _)| f64::from(*weight)).sum()
    }
}

fn likelier_first(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, top_k: u32, seed: u64) -> Sampler {
        Sampler::new(Sampling::new(temperature, top_p, top_k, seed).unwrap())
    }

    fn draws(sampler: &mut Sampler, logits: &[f32], count: usize) -> Vec<u32> {
        (0..count).map(|_| sampler.choose(logits).unwrap()).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        assert_eq!(sampler(0.0, 1.0, 0, 0).choose(&[1.0, 3.0, 3.0, -9.0]), Some(1));
    }

    #[test]
    fn refuses_broken_logits() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(sampler(0.0, 1.0, 0, 0).choose(&[1.0, bad]), None);
        }
        assert_eq!(sampler(1.0, 1.0, 0, 0).choose(&[]), None);
    }

    #[test]
    fn the_seed_decides() {
        let logits = [0.1, 0.2, 0.3, 0.4, 0.5];
        let run = |seed| draws(&mut sampler(1.0, 1.0, 0, seed), &logits, 50);
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn top_k_leaves_the_highest() {
        let logits = [1.0, 5.0, 2.0, 4.9, 4.8];
        let seen = draws(&mut sampler(2.0, 1.0, 2, 3), &logits, 200);
        assert!(seen.iter().all(|id| [1, 3].contains(id)));
        assert!(seen.contains(&1) && seen.contains(&3));
    }

    #[test]
    fn top_p_leaves_the_smallest_set_that_reaches_it() {
        // Probabilities 0.5, 0.3, 0.2.
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        assert!(draws(&mut sampler(1.0, 0.45, 0, 1), &logits, 100).iter().all(|id| *id == 0));
        let seen = draws(&mut sampler(1.0, 0.7, 0, 1), &logits, 100);
        assert!(seen.contains(&1) && !seen.contains(&2));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let seen = draws(&mut sampler(1.0, 1.0, 0, 9), &logits, 20_000);
        for (id, expected) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
            let share = seen.iter().filter(|seen| **seen == id).count() as f64 / 20_000.0;
            assert!((share - expected).abs() < 0.02, "{id}: {share}");
        }
    }
}
