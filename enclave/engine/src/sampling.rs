//! How the next token is chosen, checked.

use std::sync::Arc;

/// Highest accepted temperature: the OpenAI protocol's bound.
pub const MAX_TEMPERATURE: f32 = 2.0;
/// Highest accepted top-k: more than any vocabulary we load.
pub const MAX_TOP_K: u32 = 1 << 20;
/// Presence and frequency penalties, either way: the OpenAI protocol's bound.
pub const MAX_PENALTY: f32 = 2.0;
/// Highest repetition penalty; the least is its inverse. Beyond it nothing is ever repeated.
pub const MAX_REPETITION_PENALTY: f32 = 10.0;
/// Bias of a token, either way: the OpenAI protocol's bound.
pub const MAX_LOGIT_BIAS: f32 = 100.0;
/// Tokens with a bias in one request. The OpenAI protocol allows 300.
pub const MAX_LOGIT_BIASES: usize = 1024;

/// How the next token is chosen. Applied in the order penalties, bias, temperature, top-k, top-p,
/// min-p.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    temperature: f32,
    top_p: f32,
    top_k: u32,
    min_p: f32,
    penalties: Penalties,
    logit_bias: Arc<[(u32, f32)]>,
    seed: u64,
}

/// What was said before becomes less likely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Penalties {
    /// Logits of tokens of prompt and answer are divided by this where positive, multiplied where
    /// negative; 1 does nothing.
    pub repetition: f32,
    /// Taken from the logits of tokens that the answer has; 0 does nothing.
    pub presence: f32,
    /// The same, for every time the answer has them; 0 does nothing.
    pub frequency: f32,
}

impl Penalties {
    /// Does nothing.
    pub const NONE: Penalties = Penalties { repetition: 1.0, presence: 0.0, frequency: 0.0 };
}

impl Default for Penalties {
    fn default() -> Self {
        Penalties::NONE
    }
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
        Ok(Sampling { temperature, top_p, top_k, seed, ..Sampling::greedy() })
    }

    /// Always the likeliest token; the lowest id among equals.
    pub fn greedy() -> Self {
        Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            penalties: Penalties::NONE,
            logit_bias: Arc::default(),
            seed: 0,
        }
    }

    /// Keeps tokens at least `min_p` times as likely as the likeliest; 0 to 1.
    pub fn with_min_p(self, min_p: f32) -> Result<Self, SamplingError> {
        match (0.0..=1.0).contains(&min_p) {
            true => Ok(Sampling { min_p, ..self }),
            false => Err(SamplingError::MinP { got: min_p }),
        }
    }

    /// Makes what was said before less likely.
    pub fn with_penalties(self, penalties: Penalties) -> Result<Self, SamplingError> {
        let allowed = -MAX_PENALTY..=MAX_PENALTY;
        let (got, least) = (penalties.repetition, 1.0 / MAX_REPETITION_PENALTY);
        if !(least..=MAX_REPETITION_PENALTY).contains(&got) {
            return Err(SamplingError::RepetitionPenalty { got });
        }
        if !allowed.contains(&penalties.presence) {
            return Err(SamplingError::PresencePenalty { got: penalties.presence });
        }
        if !allowed.contains(&penalties.frequency) {
            return Err(SamplingError::FrequencyPenalty { got: penalties.frequency });
        }
        Ok(Sampling { penalties, ..self })
    }

    /// Adds to the logits of some tokens; of several entries for a token, the last counts.
    pub fn with_logit_bias(self, mut bias: Vec<(u32, f32)>) -> Result<Self, SamplingError> {
        if bias.len() > MAX_LOGIT_BIASES {
            return Err(SamplingError::TooManyBiases { got: bias.len() });
        }
        let allowed = -MAX_LOGIT_BIAS..=MAX_LOGIT_BIAS;
        if let Some((_, got)) = bias.iter().find(|(_, bias)| !allowed.contains(bias)) {
            return Err(SamplingError::LogitBias { got: *got });
        }
        bias.reverse();
        bias.sort_by_key(|(id, _)| *id);
        bias.dedup_by_key(|(id, _)| *id);
        Ok(Sampling { logit_bias: bias.into(), ..self })
    }

    /// With another seed.
    pub fn with_seed(self, seed: u64) -> Self {
        Sampling { seed, ..self }
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

    /// See [`Sampling::with_min_p`].
    pub fn min_p(&self) -> f32 {
        self.min_p
    }

    /// See [`Sampling::with_penalties`].
    pub fn penalties(&self) -> &Penalties {
        &self.penalties
    }

    /// By token, ascending. See [`Sampling::with_logit_bias`].
    pub fn logit_bias(&self) -> &[(u32, f32)] {
        &self.logit_bias
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
    /// Not a number, negative or over one.
    #[error("min_p must be 0 to 1, got {got}")]
    MinP {
        /// As asked for.
        got: f32,
    },
    /// Not a number or out of range.
    #[error("repetition_penalty must be 0.1 to {MAX_REPETITION_PENALTY}, got {got}")]
    RepetitionPenalty {
        /// As asked for.
        got: f32,
    },
    /// Not a number or out of range.
    #[error("presence_penalty must be -{MAX_PENALTY} to {MAX_PENALTY}, got {got}")]
    PresencePenalty {
        /// As asked for.
        got: f32,
    },
    /// Not a number or out of range.
    #[error("frequency_penalty must be -{MAX_PENALTY} to {MAX_PENALTY}, got {got}")]
    FrequencyPenalty {
        /// As asked for.
        got: f32,
    },
    /// Not a number or out of range.
    #[error("logit_bias must be -{MAX_LOGIT_BIAS} to {MAX_LOGIT_BIAS}, got {got}")]
    LogitBias {
        /// As asked for.
        got: f32,
    },
    /// More than [`MAX_LOGIT_BIASES`] entries.
    #[error("logit_bias may name at most {MAX_LOGIT_BIASES} tokens, got {got}")]
    TooManyBiases {
        /// How many.
        got: usize,
    },
}

impl SamplingError {
    /// The request's member at fault, as the OpenAI protocol names it.
    pub fn param(&self) -> &'static str {
        match self {
            SamplingError::Temperature { .. } => "temperature",
            SamplingError::TopP { .. } => "top_p",
            SamplingError::TopK { .. } => "top_k",
            SamplingError::MinP { .. } => "min_p",
            SamplingError::RepetitionPenalty { .. } => "repetition_penalty",
            SamplingError::PresencePenalty { .. } => "presence_penalty",
            SamplingError::FrequencyPenalty { .. } => "frequency_penalty",
            SamplingError::LogitBias { .. } | SamplingError::TooManyBiases { .. } => "logit_bias",
        }
    }
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
        for min_p in [0.0, 1.0] {
            Sampling::greedy().with_min_p(min_p).unwrap();
        }
    }

    #[test]
    fn each_absurd_setting_is_named() {
        let penalties = |repetition, presence, frequency| {
            let penalties = Penalties { repetition, presence, frequency };
            Sampling::greedy().with_penalties(penalties)
        };
        let bias = |bias: f32, count| Sampling::greedy().with_logit_bias(vec![(1, bias); count]);
        for (name, result) in [
            ("min_p", Sampling::greedy().with_min_p(f32::NAN)),
            ("min_p", Sampling::greedy().with_min_p(-0.1)),
            ("min_p", Sampling::greedy().with_min_p(1.1)),
            ("repetition_penalty", penalties(0.0, 0.0, 0.0)),
            ("repetition_penalty", penalties(f32::NAN, 0.0, 0.0)),
            ("repetition_penalty", penalties(-1.0, 0.0, 0.0)),
            ("repetition_penalty", penalties(1e9, 0.0, 0.0)),
            ("presence_penalty", penalties(1.0, f32::NAN, 0.0)),
            ("presence_penalty", penalties(1.0, -2.1, 0.0)),
            ("frequency_penalty", penalties(1.0, 0.0, 2.1)),
            ("frequency_penalty", penalties(1.0, 0.0, f32::INFINITY)),
            ("logit_bias", bias(f32::NAN, 1)),
            ("logit_bias", bias(100.5, 1)),
            ("logit_bias", bias(1.0, MAX_LOGIT_BIASES + 1)),
        ] {
            let error = result.unwrap_err();
            assert_eq!(error.param(), name, "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn the_last_bias_of_a_token_counts() {
        let sampling = Sampling::greedy().with_logit_bias(vec![(5, 1.0), (2, 3.0), (5, -4.0)]);
        assert_eq!(sampling.unwrap().logit_bias(), [(2, 3.0), (5, -4.0)]);
    }
}
