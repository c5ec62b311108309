//! From logits to the next token, by the request's own random stream.
//!
//! A vocabulary is long and an answer chooses from it at every token. So everything that looks at all
//! of it does so many numbers at a time, and only what can be chosen is sorted. All arithmetic is the kernels' own: the same request gives the same tokens on any
//! processor and with any C library.

use std::collections::BTreeMap;

use bulla_kernels::path::Path;
use bulla_kernels::weigh;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::sampling::{Penalties, Sampling};

/// Candidates sorted at first to find those that reach `top_p`: mostly enough.
const SORTED_AT_FIRST: usize = 512;
/// How many times as many the next time, where it is not.
const SORTED_MORE: usize = 8;
/// Logits looked through before anything is decided about them.
const BLOCK: usize = 1024;
/// Numbers whose highest says whether any of them matters: several registers of any width.
const GROUP: usize = 64;

/// Chooses the tokens of one sequence.
pub(crate) struct Sampler {
    sampling: Sampling,
    path: Path,
    random: ChaCha8Rng,
    /// How often each token is in the answer. Kept where a penalty asks for it.
    said: BTreeMap<u32, u32>,
    /// Tokens of the prompt, ascending. Kept where a penalty asks for it.
    asked: Vec<u32>,
    scratch: Scratch,
}

/// Room that is kept from token to token.
#[derive(Default)]
struct Scratch {
    /// Logits after penalties, bias and mask.
    adjusted: Vec<f32>,
    /// The highest of every [`GROUP`] of logits.
    highest: Vec<f32>,
    /// Unnormalised probabilities, and the sum of every [`weigh::BLOCK`] of them.
    weights: Vec<f32>,
    sums: Vec<f32>,
    /// What can be chosen, where that is not everything: weight (at first logit) and token.
    candidates: Vec<(f32, u32)>,
}

/// A bit for every token, lowest first; what lies beyond is not allowed.
#[derive(Clone, Copy)]
pub(crate) struct Allowed<'a>(pub &'a [u32]);

impl Allowed<'_> {
    /// Makes what is not allowed infinitely unlikely.
    fn mask(self, logits: &mut [f32]) {
        let words = self.0.iter().copied().chain(std::iter::repeat(0));
        for (logits, word) in logits.chunks_mut(u32::BITS as usize).zip(words) {
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

impl Sampler {
    /// For an answer to `prompt`, with the instructions of `path`.
    pub fn new(sampling: Sampling, prompt: &[u32], path: Path) -> Self {
        let random = ChaCha8Rng::seed_from_u64(sampling.seed());
        let mut asked = Vec::new();
        if sampling.penalties().repetition != 1.0 {
            asked.extend_from_slice(prompt);
            asked.sort_unstable();
            asked.dedup();
        }
        let (said, scratch) = (BTreeMap::new(), Scratch::default());
        Sampler { sampling, path, random, said, asked, scratch }
    }

    /// `None` when a logit is not a finite number (the model's arithmetic broke down) or nothing is
    /// allowed.
    pub fn choose(&mut self, logits: &[f32], allowed: Option<Allowed<'_>>) -> Option<u32> {
        if self.is_greedy() && allowed.is_none() {
            return likeliest(logits, are_finite);
        }
        if !are_finite(logits) {
            return None;
        }
        let mut adjusted = std::mem::take(&mut self.scratch.adjusted);
        let chosen = match self.adjusts() || allowed.is_some() {
            true => {
                self.adjust(logits, &mut adjusted);
                if let Some(allowed) = allowed {
                    allowed.mask(&mut adjusted);
                }
                self.pick(&adjusted)
            }
            false => self.pick(logits),
        };
        self.scratch.adjusted = adjusted;
        if *self.sampling.penalties() != Penalties::NONE
            && let Some(token) = chosen
        {
            *self.said.entry(token).or_default() += 1;
        }
        chosen
    }

    /// What the model computed, before anything that sampling changes.
    pub fn log_softmax<'a>(&self, logits: &'a [f32]) -> LogSoftmax<'a> {
        LogSoftmax::new(self.path, logits)
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

    fn pick(&mut self, logits: &[f32]) -> Option<u32> {
        let likeliest = likeliest(logits, |_| true)?;
        let highest = logits.get(likeliest as usize).copied().filter(|logit| logit.is_finite())?;
        if self.sampling.temperature() == 0.0 {
            return Some(likeliest);
        }
        let (temperature, top_k) = (self.sampling.temperature(), self.sampling.top_k() as usize);
        let cuts = if top_k > 0 && top_k < logits.len() {
            self.scratch.keep_top_k(logits, top_k);
            self.scratch.weigh_candidates(self.path, highest, temperature);
            true
        } else {
            self.scratch.weigh(self.path, logits, highest, temperature);
            self.scratch.keep_likely(&self.sampling)
        };
        // 53 random bits are exactly a double in [0, 1).
        let unit = (self.random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        if !cuts {
            return self.scratch.draw_of_all(unit);
        }
        self.scratch.keep_top_p(f64::from(self.sampling.top_p()));
        let min_p = self.sampling.min_p();
        self.scratch.candidates.retain(|(weight, _)| *weight >= min_p);
        let total: f64 = self.scratch.candidates.iter().map(|(weight, _)| f64::from(*weight)).sum();
        draw(self.scratch.candidates.iter().copied(), unit * total)
    }
}

impl Scratch {
    /// Leaves the `keep` highest logits; the lower id wins among equals.
    fn keep_top_k(&mut self, logits: &[f32], keep: usize) {
        self.highest.clear();
        self.highest.extend(logits.chunks(GROUP).map(highest));
        // So many groups have one at least as high. (What is not allowed is lower than any.)
        let mut bound = f32::MIN;
        if keep <= self.highest.len() {
            let (_, kth, _) = self.highest.select_nth_unstable_by(keep - 1, |a, b| b.total_cmp(a));
            bound = kth.max(bound);
        }
        gather(logits, bound, &mut self.candidates);
        if keep < self.candidates.len() {
            self.candidates.select_nth_unstable_by(keep - 1, likelier_first);
            self.candidates.truncate(keep);
        }
        // The selection leaves any order; drawing needs one that is always the same.
        self.candidates.sort_unstable_by(likelier_first);
    }

    /// Logits become unnormalised probabilities at the temperature.
    fn weigh(&mut self, path: Path, logits: &[f32], highest: f32, temperature: f32) {
        self.weights.resize(logits.len(), 0.0);
        self.sums.resize(logits.len().div_ceil(weigh::BLOCK), 0.0);
        let (weights, sums) = (&mut self.weights, &mut self.sums);
        weigh::weigh(path, logits, highest, temperature.recip(), weights, sums);
    }

    /// The same of the candidates alone.
    fn weigh_candidates(&mut self, path: Path, highest: f32, temperature: f32) {
        let mut logits = std::mem::take(&mut self.highest);
        logits.clear();
        logits.extend(self.candidates.iter().map(|(logit, _)| *logit));
        self.weigh(path, &logits, highest, temperature);
        self.highest = logits;
        for ((candidate, _), weight) in self.candidates.iter_mut().zip(&self.weights) {
            *candidate = *weight;
        }
    }

    /// What all weights come to.
    fn total(&self) -> f64 {
        self.sums.iter().copied().map(f64::from).sum()
    }

    /// Makes candidates of all weights that `top_p` and `min_p` can leave; false where they leave
    /// every one.
    fn keep_likely(&mut self, sampling: &Sampling) -> bool {
        // Tokens less likely than their part of what `top_p` may leave out are together less than
        // it: it never gets to them. By half of that, so that no rounding matters.
        let left_out = (1.0 - f64::from(sampling.top_p())).max(0.0);
        let rare = 0.5 * left_out * self.total() / self.weights.len() as f64;
        let bound = sampling.min_p().max(rare as f32);
        if bound > 0.0 {
            gather(&self.weights, bound, &mut self.candidates);
        }
        bound > 0.0
    }

    /// Leaves the likeliest candidates that together reach `top_p` of all weights, at least one.
    fn keep_top_p(&mut self, top_p: f64) {
        if top_p >= 1.0 {
            return;
        }
        let enough = top_p * self.total();
        let mut sorted = SORTED_AT_FIRST;
        while sorted < self.candidates.len() {
            self.candidates.select_nth_unstable_by(sorted - 1, likelier_first);
            self.candidates[..sorted].sort_unstable_by(likelier_first);
            if let Some(keep) = reaching(&self.candidates[..sorted], enough) {
                self.candidates.truncate(keep);
                return;
            }
            sorted *= SORTED_MORE;
        }
        self.candidates.sort_unstable_by(likelier_first);
        let keep = reaching(&self.candidates, enough).unwrap_or(self.candidates.len());
        self.candidates.truncate(keep);
    }

    /// The token at `unit`, in [0, 1), of all weights laid end to end.
    fn draw_of_all(&self, unit: f64) -> Option<u32> {
        let mut left = unit * self.total();
        let (mut block, mut left_in_block) = (0, 0.0);
        for (at, sum) in self.sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            (block, left_in_block) = (at, left);
            left -= f64::from(*sum);
            if left < 0.0 {
                break;
            }
        }
        let start = block * weigh::BLOCK;
        let weights = self.weights[start..].iter().take(weigh::BLOCK);
        draw(weights.copied().zip(start as u32..), left_in_block)
    }
}

/// The first of `candidates` at which their weights come to more than `left`.
fn draw(candidates: impl Iterator<Item = (f32, u32)>, mut left: f64) -> Option<u32> {
    // Rounding can leave a sliver: it belongs to the last candidate with any weight.
    let mut last = None;
    for (weight, id) in candidates.filter(|(weight, _)| *weight > 0.0) {
        last = Some(id);
        left -= f64::from(weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// All of `values` that are at least `bound`, with their places, into `found`.
fn gather(values: &[f32], bound: f32, found: &mut Vec<(f32, u32)>) {
    found.clear();
    for (at, group) in values.chunks(GROUP).enumerate() {
        if group.iter().fold(false, |found, value| found | (*value >= bound)) {
            let placed = group.iter().copied().zip((at * GROUP) as u32..);
            found.extend(placed.filter(|(value, _)| *value >= bound));
        }
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

/// The lowest id of the highest, if every block is as it should be: block by block, so that each is
/// read from memory once.
fn likeliest(logits: &[f32], is_sound: impl Fn(&[f32]) -> bool) -> Option<u32> {
    let (mut best, mut first) = (f32::NEG_INFINITY, None);
    for (at, block) in logits.chunks(BLOCK).enumerate() {
        if !is_sound(block) {
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
    let (rows, rest) = block.as_chunks::<GROUP>();
    let mut lanes = [f32::NEG_INFINITY; GROUP];
    for row in rows {
        for (lane, next) in lanes.iter_mut().zip(row) {
            *lane = higher(*lane, *next);
        }
    }
    // In halves: one after the other would wait for each.
    for width in [32, 16, 8, 4, 2, 1] {
        let (low, high) = lanes.split_at_mut(width);
        for (lane, next) in low.iter_mut().zip(high) {
            *lane = higher(*lane, *next);
        }
    }
    rest.iter().copied().fold(lanes[0], higher)
}

/// Log probabilities of what the model computed, before anything that sampling changes.
pub(crate) struct LogSoftmax<'a> {
    logits: &'a [f32],
    /// Logarithm of the sum of all exponentials.
    total: f64,
}

impl LogSoftmax<'_> {
    fn new(path: Path, logits: &[f32]) -> LogSoftmax<'_> {
        let highest = highest(logits);
        let mut scratch = Scratch::default();
        scratch.weigh(path, logits, highest, 1.0);
        LogSoftmax { logits, total: f64::from(highest) + scratch.total().ln() }
    }

    /// Of one token.
    pub fn of(&self, id: u32) -> f32 {
        self.logits.get(id as usize).map_or(f32::MIN, |l| (f64::from(*l) - self.total) as f32)
    }

    /// The `count` likeliest, likeliest first.
    pub fn top(&self, count: usize) -> Vec<(u32, f32)> {
        let mut best: Vec<(f32, u32)> = Vec::with_capacity(count + 1);
        for next in self.logits.iter().copied().zip(0..) {
            // Of equals the lower id is there already.
            if best.len() == count && best.last().is_none_or(|last| next.0 <= last.0) {
                continue;
            }
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

    fn of(sampling: Sampling, prompt: &[u32]) -> Sampler {
        Sampler::new(sampling, prompt, Path::detect())
    }

    fn sampler(temperature: f32, top_p: f32, top_k: u32, seed: u64) -> Sampler {
        of(Sampling::new(temperature, top_p, top_k, seed).unwrap(), &[])
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
        let length = 2 * BLOCK + GROUP + 7;
        for at in (0..length).step_by(61).chain([BLOCK - 1, BLOCK, 2 * BLOCK, length - 1]) {
            let mut logits: Vec<f32> = (0..length).map(|n| -1.0 - (n % 97) as f32).collect();
            logits[at] = -0.5;
            assert_eq!(likeliest(&logits, are_finite), Some(at as u32), "alone at {at}");
            logits[length - 1] = -0.5;
            assert_eq!(
                likeliest(&logits, are_finite),
                Some(at as u32),
                "the first of two, at {at}"
            );
            assert!(are_finite(&logits));
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                logits[at] = bad;
                assert!(!are_finite(&logits), "{bad} at {at}");
                assert_eq!(likeliest(&logits, are_finite), None, "{bad} at {at}");
            }
        }
        assert_eq!(likeliest(&[-0.0, 0.0], are_finite), Some(0));
        assert_eq!(likeliest(&[f32::MIN, f32::MIN], are_finite), Some(0));
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
            let mut seen = draws(&mut of(sampling, &[]), &logits, 200);
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
            draws(&mut of(sampling, &[2]), &[1.0, 0.9, 1.2, -5.0], 4)
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
        let mut sampler = of(sampling, &[]);
        let logits = [1.0, 2.0, 0.0, -9.0];
        assert_eq!(sampler.choose(&logits, None), Some(3));
        assert_eq!(sampler.choose(&logits, Some(Allowed(&[0b0111]))), Some(1));
        assert_eq!(sampler.choose(&logits, Some(Allowed(&[0]))), None);
        let mut random = self::sampler(2.0, 1.0, 0, 1);
        let mask = Some(Allowed(&[0b0101]));
        assert!((0..100).all(|_| [0, 2].contains(&random.choose(&logits, mask).unwrap())));
    }

    /// What can be chosen, found the long way: sorted as a whole, then cut.
    fn cut(logits: &[f32], sampling: &Sampling) -> Vec<(f32, u32)> {
        let (n, mut sorted) = (logits.len(), logits.iter().copied().zip(0..).collect::<Vec<_>>());
        sorted.sort_unstable_by(likelier_first);
        let top_k = sampling.top_k() as usize;
        sorted.truncate(if top_k == 0 { n } else { top_k.min(n) });
        let likely: Vec<f32> = sorted.iter().map(|(logit, _)| *logit).collect();
        let mut whole = Scratch::default();
        whole.weigh(Path::Portable, &likely, likely[0], sampling.temperature());
        for ((logit, _), weight) in sorted.iter_mut().zip(&whole.weights) {
            *logit = *weight;
        }
        let enough = f64::from(sampling.top_p()) * whole.total();
        if sampling.top_p() < 1.0 {
            sorted.truncate(reaching(&sorted, enough).unwrap());
        }
        sorted.retain(|(weight, _)| *weight >= sampling.min_p());
        sorted
    }

    #[test]
    fn what_is_left_of_a_large_vocabulary_is_what_a_whole_sort_leaves() {
        let logit = |id: u32| (id.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 20) as f32;
        let mut logits: Vec<f32> = (0..5003).map(logit).collect();
        // Equals, at the edges of groups and far apart.
        for at in [0, 63, 64, 1000, 5002] {
            logits[at] = 15.9;
        }
        for (temperature, top_p, top_k, min_p) in [
            (1.0, 0.1, 0, 0.0),
            (1.0, 0.9, 0, 0.0),
            (0.7, 0.999, 0, 0.0),
            (2.0, 0.95, 0, 0.01),
            (1.0, 1.0, 0, 0.05),
            (1.0, 1.0, 1, 0.0),
            (2.0, 1.0, 3, 0.0),
            (1.0, 0.8, 40, 0.0),
            (1.0, 0.99, 79, 0.02),
            (2.0, 0.99, 4000, 0.0),
        ] {
            let sampling = Sampling::new(temperature, top_p, top_k, 1).unwrap();
            let sampling = sampling.with_min_p(min_p).unwrap();
            let expected = cut(&logits, &sampling);
            let drawn = |path| {
                let mut sampler = Sampler::new(sampling.clone(), &[], path);
                let drawn = draws(&mut sampler, &logits, 20);
                let mut left = sampler.scratch.candidates;
                left.sort_unstable_by(likelier_first);
                assert_eq!(left, expected, "{sampling:?}");
                drawn
            };
            let first = drawn(Path::Portable);
            assert!(first.iter().all(|id| expected.iter().any(|(_, left)| left == id)));
            assert!(Path::ALL.iter().all(|path| drawn(*path) == first), "{sampling:?}");
        }
    }

    /// Tokens of many blocks, most of them too unlikely to count.
    #[test]
    fn every_block_is_drawn_from_as_often_as_it_weighs() {
        let mut logits = vec![-200.0_f32; 4 * BLOCK + 100];
        let likely = [(5, 0.1_f32), (BLOCK - 1, 0.2), (BLOCK, 0.3), (4 * BLOCK + 99, 0.4)];
        for (at, share) in likely {
            logits[at] = share.ln();
        }
        let seen = draws(&mut sampler(1.0, 1.0, 0, 4), &logits, 4000);
        for (at, share) in likely {
            let count = seen.iter().filter(|id| **id == at as u32).count() as f32;
            assert!((count / 4000.0 - share).abs() < 0.04, "{at}: {count}");
        }
        assert!(seen.iter().all(|id| likely.iter().any(|(at, _)| *at == *id as usize)));
        let last = Scratch { weights: vec![1.0, 0.0], sums: vec![1.0], ..Scratch::default() };
        assert_eq!(last.draw_of_all(1.0), Some(0), "a sliver that rounding leaves");
    }

    #[test]
    fn a_mask_holds_whatever_else_is_cut() {
        let logits: Vec<f32> = (0..200).map(|id| id as f32 / 40.0).collect();
        // Of 70 and 3 alone, and of nothing beyond the mask's own words.
        let mask = [1 << 3, 0, 1 << 6];
        for (temperature, top_p, top_k, min_p) in
            [(0.0, 1.0, 0, 0.0), (2.0, 1.0, 0, 0.0), (2.0, 0.99, 0, 0.001), (2.0, 1.0, 50, 0.0)]
        {
            let sampling = Sampling::new(temperature, top_p, top_k, 1).unwrap();
            let mut sampler = of(sampling.with_min_p(min_p).unwrap(), &[]);
            let chosen = |_| sampler.choose(&logits, Some(Allowed(&mask))).unwrap();
            let chosen: Vec<u32> = (0..100).map(chosen).collect();
            assert!(chosen.iter().all(|id| [3, 70].contains(id)), "{chosen:?}");
            assert!(chosen.contains(&70) && (temperature == 0.0 || chosen.contains(&3)));
            assert_eq!(sampler.choose(&logits, Some(Allowed(&[0; 7]))), None);
        }
    }

    #[test]
    fn log_probabilities_sum_to_one_and_come_likeliest_first() {
        let logits = [0.5_f32.ln() + 7.0, 0.3_f32.ln() + 7.0, 0.2_f32.ln() + 7.0];
        let soft = LogSoftmax::new(Path::detect(), &logits);
        assert!((soft.of(1).exp() - 0.3).abs() < 1e-5);
        let top = soft.top(2);
        assert_eq!(top.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(soft.top(9).len(), 3);
        assert!(soft.top(0).is_empty());
    }
}
