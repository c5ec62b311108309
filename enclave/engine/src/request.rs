//! What is asked of an engine: a prompt, how to sample, when to stop.

use crate::chat::Prompt;

/// Highest accepted temperature: the OpenAI protocol's bound.
pub const MAX_TEMPERATURE: f32 = 2.0;
/// Highest accepted top-k: more than any vocabulary we load.
pub const MAX_TOP_K: u32 = 1 << 20;
/// Stop strings per request. The OpenAI protocol allows 4.
pub const MAX_STOP_STRINGS: usize = 16;
/// UTF-8 bytes per stop string; also bounds how much text an engine may hold back.
pub const MAX_STOP_BYTES: usize = 256;

/// Names one running request; chosen by the caller, unique while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// How the next token is chosen. Applied in the order temperature, top-k, top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    temperature: f32,
    top_p: f32,
    top_k: u32,
    seed: u64,
}

impl Sampling {
    /// - `temperature` 0 to [`MAX_TEMPERATURE`]; 0 takes the likeliest token (greedy).
    /// - `top_p` over 0, up to 1: keep the likeliest tokens that together reach this probability.
    /// - `top_k` keep this many of the likeliest; 0 keeps all.
    /// - `seed` of this sequence's own random stream: same seed, same tokens.
    pub fn new(temperature: f32, top_p: f32, top_k: u32, seed: u64) -> Result<Self, SamplingError> {
        if !(0.0..=MAX_TEMPERATURE).contains(&temperature) {
            return Err(SamplingError::Temperature { got: temperature });
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(SamplingError::TopP { got: top_p });
        }
        if top_k > MAX_TOP_K {
            return Err(SamplingError::TopK { limit: MAX_TOP_K, got: top_k });
        }
        Ok(Sampling { temperature, top_p, top_k, seed })
    }

    /// Always the likeliest token; the lowest id among equals.
    pub const fn greedy() -> Self {
        Sampling { temperature: 0.0, top_p: 1.0, top_k: 0, seed: 0 }
    }

    /// See [`Sampling::new`].
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// See [`Sampling::new`].
    pub fn top_p(&self) -> f32 {
        self.top_p
    }

    /// See [`Sampling::new`].
    pub fn top_k(&self) -> u32 {
        self.top_k
    }

    /// See [`Sampling::new`].
    pub fn seed(&self) -> u64 {
        self.seed
    }
}

/// A sampling setting outside its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SamplingError {
    /// Not a number, negative or too high.
    #[error("temperature must be 0 to {MAX_TEMPERATURE}, got {got}")]
    Temperature {
        /// As asked for.
        got: f32,
    },
    /// Not a number, zero, negative or over one.
    #[error("top_p must be over 0 and at most 1, got {got}")]
    TopP {
        /// As asked for.
        got: f32,
    },
    /// Too high.
    #[error("top_k must be at most {limit} (0 keeps all tokens), got {got}")]
    TopK {
        /// [`MAX_TOP_K`].
        limit: u32,
        /// As asked for.
        got: u32,
    },
}

/// One request for one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// Made by the same engine.
    pub prompt: Prompt,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Most tokens to generate, the stop token included. Prompt and answer together must fit the
    /// context.
    pub max_tokens: u32,
    /// The answer ends before the first of these strings; they are not part of the text.
    pub stop: Vec<String>,
}

impl GenerateRequest {
    /// Checks that need no running engine, only its model's digest and context.
    pub(crate) fn check(
        &self,
        manifest_digest: &[u8; 32],
        context_tokens: u32,
    ) -> Result<(), SubmitError> {
        if self.prompt.manifest_digest() != manifest_digest {
            return Err(SubmitError::ForeignPrompt);
        }
        if self.max_tokens == 0 {
            return Err(SubmitError::NoTokensAsked);
        }
        let prompt_tokens = self.prompt.token_count();
        if u64::from(prompt_tokens) + u64::from(self.max_tokens) > u64::from(context_tokens) {
            return Err(SubmitError::Context {
                context_tokens,
                prompt_tokens,
                max_tokens: self.max_tokens,
            });
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return Err(SubmitError::StopStrings { limit: MAX_STOP_STRINGS, got: self.stop.len() });
        }
        for stop in &self.stop {
            if stop.is_empty() || stop.len() > MAX_STOP_BYTES {
                return Err(SubmitError::StopBytes { limit: MAX_STOP_BYTES, got: stop.len() });
            }
        }
        Ok(())
    }
}

/// Why an engine did not take a request. Nothing was run, nothing is to be charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The id belongs to a request that has not finished.
    #[error("sequence {} is already running; choose another id", id.0)]
    DuplicateId {
        /// As asked for.
        id: SequenceId,
    },
    /// The prompt was made with another model's tokenizer.
    #[error("the prompt was made for another model; make it again with this engine")]
    ForeignPrompt,
    /// `max_tokens` is zero.
    #[error("max_tokens is 0; ask for at least 1")]
    NoTokensAsked,
    /// Prompt and answer do not fit the context.
    #[error(
        "{prompt_tokens} prompt tokens and max_tokens {max_tokens} exceed the context of \
         {context_tokens}; shorten the prompt or ask for less"
    )]
    Context {
        /// The model's context length.
        context_tokens: u32,
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// As asked for.
        max_tokens: u32,
    },
    /// Too many stop strings.
    #[error("at most {limit} stop strings are accepted, got {got}")]
    StopStrings {
        /// [`MAX_STOP_STRINGS`].
        limit: usize,
        /// As asked for.
        got: usize,
    },
    /// A stop string is empty or too long.
    #[error("a stop string must have 1 to {limit} bytes, got {got}")]
    StopBytes {
        /// [`MAX_STOP_BYTES`].
        limit: usize,
        /// As asked for.
        got: usize,
    },
    /// The queue is full.
    #[error("the engine's queue of {limit} requests is full; try again later")]
    QueueFull {
        /// Requests that may wait.
        limit: usize,
    },
    /// The sequence alone would need more cache than the engine owns.
    #[error(
        "the request needs {need} bytes of key-value cache, the engine has {limit}; shorten the \
         prompt or ask for less"
    )]
    CacheBytes {
        /// The engine's whole cache.
        limit: u64,
        /// What prompt and answer would fill.
        need: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_absurd_sampling() {
        for temperature in [f32::NAN, -0.1, 2.1, f32::INFINITY] {
            let error = Sampling::new(temperature, 1.0, 0, 0).unwrap_err();
            assert!(matches!(error, SamplingError::Temperature { .. }), "{error}");
        }
        for top_p in [f32::NAN, 0.0, -1.0, 1.1] {
            let error = Sampling::new(1.0, top_p, 0, 0).unwrap_err();
            assert!(matches!(error, SamplingError::TopP { .. }), "{error}");
        }
        assert_eq!(
            Sampling::new(1.0, 1.0, u32::MAX, 0),
            Err(SamplingError::TopK { limit: MAX_TOP_K, got: u32::MAX })
        );
    }

    #[test]
    fn accepts_the_bounds() {
        Sampling::new(0.0, 1.0, 0, 0).unwrap();
        Sampling::new(2.0, f32::MIN_POSITIVE, MAX_TOP_K, u64::MAX).unwrap();
    }
}
