//! Sampling settings of a request: OpenAI's, and those that other servers added.

use bulla_engine::{Penalties, Sampling, SamplingError};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::ChatError;

/// Sampling when the request does not say: OpenAI's defaults.
const DEFAULT_TEMPERATURE: f32 = 1.0;
const DEFAULT_TOP_P: f32 = 1.0;

/// As they stand in the request.
#[derive(Deserialize)]
pub(super) struct Settings {
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    logit_bias: Option<Map<String, Value>>,
    seed: Option<i64>,
}

impl Settings {
    /// Checked; `drawn_seed` where the request names none.
    pub fn read(self, drawn_seed: u64) -> Result<Sampling, ChatError> {
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        let top_p = self.top_p.unwrap_or(DEFAULT_TOP_P);
        // Other servers write -1 for all.
        let top_k = match self.top_k.unwrap_or(0) {
            -1 => 0,
            top_k => u32::try_from(top_k).map_err(|_| {
                ChatError::invalid("top_k", format!("top_k must not be negative, got {top_k}"))
            })?,
        };
        let seed = self.seed.map_or(drawn_seed, |seed| seed as u64);
        let penalties = Penalties {
            repetition: self.repetition_penalty.unwrap_or(1.0),
            presence: self.presence_penalty.unwrap_or(0.0),
            frequency: self.frequency_penalty.unwrap_or(0.0),
        };
        let bias = biases(self.logit_bias.unwrap_or_default())?;
        Sampling::new(temperature, top_p, top_k, seed)
            .and_then(|sampling| sampling.with_min_p(self.min_p.unwrap_or(0.0)))
            .and_then(|sampling| sampling.with_penalties(penalties))
            .and_then(|sampling| sampling.with_logit_bias(bias))
            .map_err(|error: SamplingError| ChatError::invalid(error.param(), error.to_string()))
    }
}

fn biases(written: Map<String, Value>) -> Result<Vec<(u32, f32)>, ChatError> {
    let invalid = |message: &str| ChatError::invalid("logit_bias", message);
    let bias = |(token, bias): (String, Value)| {
        let token = token.parse().map_err(|_| {
            invalid("logit_bias maps token ids, written as decimal strings, to numbers")
        })?;
        let bias = bias.as_f64().ok_or_else(|| invalid("a logit_bias must be a number"))?;
        Ok((token, bias as f32))
    };
    written.into_iter().map(bias).collect()
}
