//! Ours: the engine in this process, called as the enclave calls it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use bulla_engine::{
    BatchEngine, Engine, EngineLimits, GenerateRequest, LoadProgress, Model, Prompt, Sampling,
    SequenceId,
};
use indicatif::ProgressBar;

/// A prompt's text of that many tokens: digits are one token each in every vocabulary we write, and
/// `seed` makes it unlike all others from its first token.
pub fn digits(tokens: usize, seed: u64) -> String {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut digit = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 33) as u8 % 10)
    };
    (0..tokens).map(|_| digit()).collect()
}

/// An engine that runs one file.
pub struct Candidate {
    engine: BatchEngine,
    next_id: u64,
    next_seed: u64,
}

impl Candidate {
    /// Loads a file, with a progress bar.
    pub fn load(file: &Path, threads: usize) -> anyhow::Result<Candidate> {
        let bar = ProgressBar::new(0).with_message("loading");
        let mut progress = |p: LoadProgress| {
            bar.set_length(p.total_bytes);
            bar.set_position(p.done_bytes);
        };
        let model = Model::load(file, &mut progress)
            .with_context(|| format!("loading {}", file.display()))?;
        bar.finish_and_clear();
        Ok(Candidate { engine: engine(Arc::new(model), threads), next_id: 0, next_seed: 0 })
    }

    /// Which arithmetic runs.
    pub fn kernel_path(&self) -> String {
        self.engine.info().kernel_path
    }

    /// The engine, for a server.
    pub fn into_engine(self) -> BatchEngine {
        self.engine
    }

    /// Another engine on the same weights in memory.
    pub fn twin(&self) -> BatchEngine {
        engine(Arc::clone(self.engine.model()), self.engine.threads())
    }

    /// Tokens per second of a prompt.
    pub fn read(&mut self, tokens: usize) -> anyhow::Result<f64> {
        self.submit(tokens, 1, &Sampling::greedy())?;
        let started = Instant::now();
        while !self.engine.is_idle() {
            self.engine.step();
        }
        Ok(tokens as f64 / started.elapsed().as_secs_f64())
    }

    /// Tokens per second of `streams` answers together: from when all of them have begun to when
    /// the first one ends.
    pub fn decode(
        &mut self,
        streams: usize,
        prompt: usize,
        answer: usize,
        sampling: &Sampling,
    ) -> anyhow::Result<f64> {
        for _ in 0..streams {
            self.submit(prompt, answer, sampling)?;
        }
        let (mut begun, mut total) = (HashSet::new(), 0);
        let mut window = None;
        let rate = loop {
            let outputs = self.engine.step();
            let now = Instant::now();
            ensure!(!self.engine.is_idle() || !outputs.is_empty(), "an answer never ended");
            begun.extend(outputs.iter().map(|output| output.id));
            total += outputs.len();
            let has_ended = outputs.iter().any(|output| output.finish.is_some());
            match window {
                None if has_ended => bail!("no step in which all answers ran: ask for longer ones"),
                None if begun.len() == streams => window = Some((now, total)),
                Some((since, before)) if has_ended => {
                    break (total - before) as f64 / now.duration_since(since).as_secs_f64();
                }
                _ => {}
            }
        };
        while !self.engine.is_idle() {
            self.engine.step();
        }
        Ok(rate)
    }

    fn submit(
        &mut self,
        tokens: usize,
        max_tokens: usize,
        sampling: &Sampling,
    ) -> anyhow::Result<()> {
        let prompt = self.prompt(tokens)?;
        let max_tokens = u32::try_from(max_tokens)?;
        let request = GenerateRequest::new(prompt, sampling.clone(), max_tokens);
        self.engine.submit(SequenceId(self.next_id), request)?;
        self.next_id += 1;
        Ok(())
    }

    fn prompt(&mut self, tokens: usize) -> anyhow::Result<Prompt> {
        self.next_seed += 1;
        let prompt = self.engine.model().prompt_text(&digits(tokens, self.next_seed))?;
        ensure!(
            prompt.token_count() as usize == tokens,
            "{tokens} digits are {} tokens in this vocabulary",
            prompt.token_count()
        );
        Ok(prompt)
    }
}

fn engine(model: Arc<Model>, threads: usize) -> BatchEngine {
    let limits = EngineLimits { threads: Some(threads), ..EngineLimits::default() };
    let started = Instant::now();
    let clock = Box::new(move || started.elapsed().as_micros() as u64);
    BatchEngine::new(model, limits).with_clock(clock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_differ_from_their_first_digits() {
        assert_eq!(digits(128, 1).len(), 128);
        assert_ne!(digits(16, 1), digits(16, 2));
    }
}
