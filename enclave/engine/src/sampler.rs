//! From logits to the next token, by the request's own random stream.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::sampling::{Penalties, Sampling};

/// Candidates sorted at first to find those that reach `top_p`: mostly enough, and far less than a
/// vocabulary.
const SORTED_AT_FIRST: usize = 512;
/// Logits looked through before anything is decided about them.
const BLOCK: usize = 1024;
/// Running maxima kept side by side: enough for several registers of any width.
const LANES: usize = 64;

/// Chooses the tokens of one sequence.
pub(crate) struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
    /// How often each token is in the answer. Kept where a penalty asks for it.
    said: BTreeMap<u32, u32>,
    /// Tokens of the prompt, ascending. Kept where a penalty asks for it.
    asked: Vec<u32>,
    /// Scratch: logit, later weight, and token id.
    candidates: Vec<(f32, u32)>,
    /// Scratch: logits after penalties and bias.
    adjusted: Vec<f32>,
}

/// A bit for every token, lowest first; what lies beyond is not allowed.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a>(pub &'a [u32]);

impl Allowed<'_> {
    pub fn has(self, id: u32) -> bool {
        self.0.get(id as usize / 32).is_some_and(|word| word >> (id % 32) & 1 == 1)
    }
}

impl Sampler {
    /// For an answer to `prompt`.
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sampling.seed());
        let mut asked = Vec::new();
        if sampling.penalties().repetition != 1.0 {
            asked.extend_from_slice(prompt);
            asked.sort_unstable();
            asked.dedup();
        }
        let said = BTreeMap::new();
        Sampler { sampling, random, said, asked, candidates: Vec::new(), adjusted: Vec::new() }
    }

    /// `None` when a logit is not a finite number (the model's arithmetic broke down) or nothing is
    /// allowed.
    pub fn choose(&mut self, logits: &[f32], allowed: Option<Allowed<'_>>) -> Option<u32> {
        if self.is_greedy() && allowed.is_none() {
            return likeliest(logits);
        }
        if logits.is_empty() || !are_finite(logits) {
            return None;
        }
        let mut adjusted = std::mem::take(&mut self.adjusted);
        let chosen = match self.adjusts() {
            true => {
                self.adjust(logits, &mut adjusted);
                self.pick(&adjusted, allowed)
            }
            false => self.pick(logits, allowed),
        };
        self.adjusted = adjusted;
        if *self.sampling.penalties() != Penalties::NONE
            && let Some(token) = chosen
        {
            *self.said.entry(token).or_default() += 1;
        }
        chosen
    }

    /// Takes the likeliest token as it stands.
    fn is_greedy(&self) -> bool {
        self.sampling.temperature() == 0.0 && !self.adjusts()
    }

    fn adjusts(&self) -> bool {
        *self.sampling.penalties() != Penalties::NONE || !self.sampling.logit_bias().is_empty()
    }

    /// Penalties and bias.
    fn adjust(&self, logits: &[f32], adjusted: &mut Vec<f32>) {
        let Penalties { repetition, presence, frequency } = *self.sampling.penalties();
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        let mut change = |id: u32, change: &dyn Fn(f32) -> f32| {
            if let Some(logit) = adjusted.get_mut(id as usize) {
                *logit = change(*logit);
            }
        };
        let repeat = |logit| if logit > 0.0 { logit / repetition } else { logit * repetition };
        for id in &self.asked {
            change(*id, &repeat);
        }
        for (id, count) in &self.said {
            if self.asked.binary_search(id).is_err() {
                change(*id, &repeat);
            }
            change(*id, &|logit| logit - presence - frequency * *count as f32);
        }
        for (id, bias) in self.sampling.logit_bias() {
            change(*id, &|logit| logit + bias);
        }
    }

    fn pick(&mut self, logits: &[f32], allowed: Option<Allowed<'_>>) -> Option<u32> {
        let ids = logits.iter().copied().zip(0..);
        let allows = |id: u32| allowed.is_none_or(|allowed| allowed.has(id));
        if self.sampling.temperature() == 0.0 {
            return likeliest_of(ids.filter(|(_, id)| allows(*id)));
        }
        self.candidates.clear();
        match allowed {
            None => self.candidates.extend(ids),
            Some(_) => self.candidates.extend(ids.filter(|(_, id)| allows(*id))),
        }
        if self.candidates.is_empty() {
            return None;
        }
        self.keep_top_k();
        self.weigh();
        self.keep_top_p();
        self.keep_min_p();
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
        let enough = top_p * self.total();
        if self.candidates.len() > SORTED_AT_FIRST {
            self.candidates.select_nth_unstable_by(SORTED_AT_FIRST - 1, likelier_first);
            self.candidates[..SORTED_AT_FIRST].sort_unstable_by(likelier_first);
            if let Some(keep) = reaching(&self.candidates[..SORTED_AT_FIRST], enough) {
                self.candidates.truncate(keep);
                return;
            }
        }
        self.candidates.sort_unstable_by(likelier_first);
        let keep = reaching(&self.candidates, enough).unwrap_or(self.candidates.len());
        self.candidates.truncate(keep);
    }

    /// Leaves the candidates at least `min_p` times as likely as the likeliest, whose weight is 1.
    fn keep_min_p(&mut self) {
        let min_p = self.sampling.min_p();
        if min_p > 0.0 {
            self.candidates.retain(|(weight, _)| *weight >= min_p);
        }
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

/// How many of the sorted `candidates` it takes to reach `enough`, at least one.
fn reaching(candidates: &[(f32, u32)], enough: f64) -> Option<usize> {
    let mut sum = 0.0;
    let reaches = |(weight, _): &(f32, u32)| {
        sum += f64::from(*weight);
        sum >= enough
    };
    candidates.iter().position(reaches).map(|at| at + 1)
}

/// Whether every number is finite.
fn are_finite(logits: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let is_broken = |logit: &f32| logit.to_bits() & EXPONENT == EXPONENT;
    logits.chunks(BLOCK).all(|block| !block.iter().fold(false, |found, l| found | is_broken(l)))
}

/// The lowest id of the highest, if all are finite. One thread looks for it in every sequence's
/// logits between two passes, while the others have nothing to do: so block by block, many numbers
/// at a time, each read from memory once.
fn likeliest(logits: &[f32]) -> Option<u32> {
    let (mut best, mut first) = (f32::NEG_INFINITY, None);
    for (at, block) in logits.chunks(BLOCK).enumerate() {
        if !are_finite(block) {
            return None;
        }
        let highest = highest(block);
        if highest > best {
            (best, first) = (highest, Some(at));
        }
    }
    let start = first? * BLOCK;
    let at = logits[start..].iter().position(|logit| *logit == best)?;
    u32::try_from(start + at).ok()
}

fn highest(block: &[f32]) -> f32 {
    let higher = |best: f32, next: f32| if next > best { next } else { best };
    let (rows, rest) = block.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for row in rows {
        for (lane, next) in lanes.iter_mut().zip(row) {
            *lane = higher(*lane, *next);
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, higher)
}

/// The same of those that are allowed.
fn likeliest_of(logits: impl Iterator<Item = (f32, u32)>) -> Option<u32> {
    let higher = |best: (f32, u32), next: (f32, u32)| if next.0 > best.0 { next } else { best };
    logits.reduce(higher).map(|(_, id)| id)
}

/// Log probabilities of what the model computed, before anything that sampling changes.
pub(crate) struct LogSoftmax<'a> {
    logits: &'a [f32],
    /// Logarithm of the sum of all exponentials.
    total: f64,
}

impl LogSoftmax<'_> {
    pub fn new(logits: &[f32]) -> LogSoftmax<'_> {
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = logits.iter().map(|logit| f64::from(logit - highest).exp()).sum();
        LogSoftmax { logits, total: f64::from(highest) + sum.ln() }
    }

    /// Of one token.
    pub fn of(&self, id: u32) -> f32 {
        self.logits.get(id as usize).map_or(f32::MIN, |l| (f64::from(*l) - self.total) as f32)
    }

    /// The `count` likeliest, likeliest first.
    pub fn top(&self, count: usize) -> Vec<(u32, f32)> {
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
        for next in self.logits.iter().copied().zip(0..) {
            let at = best.partition_point(|kept| likelier_first(kept, &next).is_lt());
            if at < count {
                best.truncate(count - 1);
                best.insert(at, next);
            }
        }
        best.into_iter().map(|(_, id)| (id, self.of(id))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(temperature: f32, top_p: f32, top_k: u32, seed: u64) -> Sampler {
        Sampler::new(Sampling::new(temperature, top_p, top_k, seed).unwrap(), &[])
    }

    fn draws(sampler: &mut Sampler, logits: &[f32], count: usize) -> Vec<u32> {
        (0..count).map(|_| sampler.choose(logits, None).unwrap()).collect()
    }

    #[test]
    fn greedy_takes_the_first_of_the_highest() {
        assert_eq!(sampler(0.0, 1.0, 0, 0).choose(&[1.0, 3.0, 3.0, -9.0], None), Some(1));
    }

    #[test]
    fn many_logits_are_looked_through_as_few_are() {
        // Every place within a block, at its edges and in a last one that is not whole.
        let length = 2 * BLOCK + LANES + 7;
        for at in (0..length).step_by(61).chain([BLOCK - 1, BLOCK, 2 * BLOCK, length - 1]) {
            let mut logits: Vec<f32> = (0..length).map(|n| -1.0 - (n % 97) as f32).collect();
            logits[at] = -0.5;
            assert_eq!(likeliest(&logits), Some(at as u32), "alone at {at}");
            logits[length - 1] = -0.5;
            assert_eq!(likeliest(&logits), Some(at as u32), "the first of two, at {at}");
            assert!(are_finite(&logits));
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                logits[at] = bad;
                assert!(!are_finite(&logits), "{bad} at {at}");
                assert_eq!(likeliest(&logits), None, "{bad} at {at}");
            }
        }
        assert_eq!(likeliest(&[-0.0, 0.0]), Some(0));
        assert_eq!(likeliest(&[f32::MIN, f32::MIN]), Some(0));
        assert!(are_finite(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE, 0.0, -0.0, 1e-45]));
    }

    #[test]
    fn refuses_broken_logits() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(sampler(0.0, 1.0, 0, 0).choose(&[1.0, bad], None), None);
        }
        assert_eq!(sampler(1.0, 1.0, 0, 0).choose(&[], None), None);
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

    #[test]
    fn min_p_leaves_what_is_likely_beside_the_likeliest() {
        let logits = [0.5_f32.ln(), 0.3_f32.ln(), 0.2_f32.ln()];
        let with = |min_p| {
            let sampling = Sampling::new(1.0, 1.0, 0, 3).unwrap().with_min_p(min_p).unwrap();
            let mut seen = draws(&mut Sampler::new(sampling, &[]), &logits, 200);
            seen.sort_unstable();
            seen.dedup();
            seen
        };
        assert_eq!((with(0.0), with(0.5), with(0.7)), (vec![0, 1, 2], vec![0, 1], vec![0]));
    }

    #[test]
    fn penalties_turn_to_what_was_not_said() {
        let with = |repetition, presence, frequency| {
            let penalties = Penalties { repetition, presence, frequency };
            let sampling = Sampling::greedy().with_penalties(penalties).unwrap();
            draws(&mut Sampler::new(sampling, &[2]), &[1.0, 0.9, 1.2, -5.0], 4)
        };
        assert_eq!(with(1.0, 0.0, 0.0), [2, 2, 2, 2]);
        // Token 2 is in the prompt, each other one is said once, then the least bad returns.
        assert_eq!(with(2.0, 0.0, 0.0), [0, 1, 2, 2]);
        // Presence counts once, frequency every time.
        assert_eq!(with(1.0, 0.25, 0.0), [2, 0, 2, 2]);
        assert_eq!(with(1.0, 0.0, 0.25), [2, 0, 2, 1]);
    }

    #[test]
    fn a_bias_lifts_a_token_and_a_mask_rules_it_out() {
        let sampling = Sampling::greedy().with_logit_bias(vec![(3, 50.0), (9, 100.0)]).unwrap();
        let mut sampler = Sampler::new(sampling, &[]);
        let logits = [1.0, 2.0, 0.0, -9.0];
        assert_eq!(sampler.choose(&logits, None), Some(3));
        assert_eq!(sampler.choose(&logits, Some(Allowed(&[0b0111]))), Some(1));
        assert_eq!(sampler.choose(&logits, Some(Allowed(&[0]))), None);
        let mut random = Sampler::new(Sampling::new(2.0, 1.0, 0, 1).unwrap(), &[]);
        let mask = Some(Allowed(&[0b0101]));
        assert!((0..100).all(|_| [0, 2].contains(&random.choose(&logits, mask).unwrap())));
    }

    #[test]
    fn top_p_of_a_large_vocabulary_is_that_of_a_whole_sort() {
        let logit = |id: u32| (id.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 22) as f32;
        let logits: Vec<f32> = (0..4000).map(logit).collect();
        for top_p in [0.1, 0.5, 0.9, 0.999] {
            let mut sampler = sampler(1.0, top_p, 0, 1);
            sampler.candidates.extend(logits.iter().copied().zip(0..));
            sampler.weigh();
            let mut sorted = sampler.candidates.clone();
            sampler.keep_top_p();
            sorted.sort_unstable_by(likelier_first);
            assert_eq!(sampler.candidates, sorted[..sampler.candidates.len()], "{top_p}");
            let all: f64 = sorted.iter().map(|(weight, _)| f64::from(*weight)).sum();
            let without_last = &sorted[..sampler.candidates.len() - 1];
            let rest: f64 = without_last.iter().map(|(weight, _)| f64::from(*weight)).sum();
            assert!(sampler.total() >= 0.999 * f64::from(top_p) * all);
            assert!(rest <= 1.001 * f64::from(top_p) * all, "{top_p}: one too many");
        }
    }

    #[test]
    fn log_probabilities_sum_to_one_and_come_likeliest_first() {
        let logits = [0.5_f32.ln() + 7.0, 0.3_f32.ln() + 7.0, 0.2_f32.ln() + 7.0];
        let soft = LogSoftmax::new(&logits);
        assert!((soft.of(1).exp() - 0.3).abs() < 1e-5);
        let top = soft.top(2);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(soft.top(9).len(), 3);
        assert!(soft.top(0).is_empty());
    }
}
