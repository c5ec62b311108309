//! config.json of an encoder, and how sentence-transformers says its rows become a vector.

use serde::Deserialize;
use serde_json::Value;

use crate::encoder::{EncoderShape, Pooling};
use crate::manifest::FileRole;
use crate::model::config::{
    MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS, MAX_VOCAB,
    sized, wrong,
};
use crate::model::error::LoadError;
use crate::model::files::{Folder, json};

/// The architecture, as config.json names it.
pub(in crate::model) const ARCHITECTURE: &str = "BertModel";
/// Rows of the embedding of token types. BERT has 2.
const MAX_TOKEN_TYPES: u64 = 64;
/// Modules of a sentence-transformers model. Usual are 2 or 3.
const MAX_MODULES: usize = 16;
const MODULES: &str = "modules.json";
const SENTENCE: &str = "sentence_bert_config.json";

/// The keys we read.
#[derive(Deserialize, Default)]
pub(in crate::model) struct RawEncoder {
    pub hidden_size: Option<u64>,
    pub intermediate_size: Option<u64>,
    pub num_hidden_layers: Option<u64>,
    pub num_attention_heads: Option<u64>,
    pub vocab_size: Option<u64>,
    pub max_position_embeddings: Option<u64>,
    pub type_vocab_size: Option<u64>,
    pub layer_norm_eps: Option<f64>,
    pub hidden_act: Option<String>,
    pub position_embedding_type: Option<String>,
    pub is_decoder: Option<bool>,
    pub quantization_config: Option<Value>,
}

impl RawEncoder {
    /// Checks what a configuration says.
    pub fn shape(self) -> Result<EncoderShape, LoadError> {
        let unsupported = |feature: String| Err(LoadError::Unsupported { feature });
        if self.quantization_config.is_some() {
            return unsupported("quantised weights (quantization_config)".into());
        }
        match self.hidden_act.as_deref() {
            None | Some("gelu") => {}
            Some(other) => return unsupported(format!("hidden_act {other:?}")),
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => {}
            Some(other) => return unsupported(format!("position embeddings of type {other:?}")),
        }
        if self.is_decoder == Some(true) {
            return unsupported("a BERT that writes (is_decoder)".into());
        }
        let hidden = sized("hidden_size", self.hidden_size, MAX_HIDDEN)?;
        let heads = sized("num_attention_heads", self.num_attention_heads, MAX_HEADS)?;
        if hidden % heads != 0 || hidden / heads > MAX_HEAD_DIM as usize {
            return Err(wrong("num_attention_heads", format!("a divisor of {hidden}"), heads));
        }
        let norm_eps = self.layer_norm_eps.unwrap_or(1e-12);
        if !(norm_eps > 0.0 && norm_eps < 1.0) {
            return Err(wrong("layer_norm_eps", "a number between 0 and 1".into(), norm_eps));
        }
        let (positions, types) = (self.max_position_embeddings, self.type_vocab_size.unwrap_or(2));
        Ok(EncoderShape {
            hidden,
            heads,
            intermediate: sized("intermediate_size", self.intermediate_size, MAX_INTERMEDIATE)?,
            layers: sized("num_hidden_layers", self.num_hidden_layers, MAX_LAYERS)?,
            vocab: sized("vocab_size", self.vocab_size, MAX_VOCAB)?,
            positions: sized("max_position_embeddings", positions, MAX_CONTEXT)?,
            token_types: sized("type_vocab_size", Some(types), MAX_TOKEN_TYPES)?,
            norm_eps: norm_eps as f32,
        })
    }
}

/// What becomes of an encoder's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) struct Head {
    pub pooling: Pooling,
    /// Vectors have length 1.
    pub normalised: bool,
    /// Longest text, in tokens, where the model was trained on less than it has positions.
    pub longest: Option<u64>,
}

#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct Sentence {
    max_seq_length: Option<u64>,
}

impl Head {
    /// By modules.json and what it names; the mean, normalised, in a folder without.
    pub fn read(folder: &mut Folder<'_>) -> Result<Head, LoadError> {
        let longest = match folder.optional(SENTENCE, FileRole::Pooling)? {
            Some(bytes) => json::<Sentence>(SENTENCE, &bytes)?.max_seq_length,
            None => None,
        };
        let Some(bytes) = folder.optional(MODULES, FileRole::Pooling)? else {
            return Ok(Head { pooling: Pooling::Mean, normalised: true, longest });
        };
        let modules: Vec<Module> = json(MODULES, &bytes)?;
        let unsupported = |feature: String| LoadError::Unsupported { feature };
        if modules.len() > MAX_MODULES {
            return Err(unsupported(format!("{} modules (modules.json)", modules.len())));
        }
        let (mut pooling, mut normalised) = (Pooling::Mean, false);
        for module in &modules {
            match module.kind.rsplit('.').next().unwrap_or_default() {
                "Transformer" if module.path.is_empty() => {}
                "Pooling" => pooling = read_pooling(folder, &module.path)?,
                "Normalize" => normalised = true,
                _ => return Err(unsupported(format!("the module {:?}", module.kind))),
            }
        }
        Ok(Head { pooling, normalised, longest })
    }
}

fn read_pooling(folder: &mut Folder<'_>, path: &str) -> Result<Pooling, LoadError> {
    // A folder in the model's; anything else could read other files of the machine.
    if path.is_empty() || path.starts_with('.') || path.contains(['/', '\\', '\0']) {
        let (expected, got) = ("the name of a folder".to_owned(), path.to_owned());
        return Err(LoadError::ConfigValue { key: "path", expected, got });
    }
    let file = format!("{path}/config.json");
    let bytes = folder.require(&file, FileRole::Pooling)?;
    let said: serde_json::Map<String, Value> = json(&file, &bytes)?;
    if let Some(mode) = said.get("pooling_mode").and_then(Value::as_str) {
        return named(mode);
    }
    let mut chosen = said
        .iter()
        .filter(|(key, value)| key.starts_with("pooling_mode_") && **value == Value::Bool(true));
    match (chosen.next(), chosen.next()) {
        (Some((key, _)), None) => named(key.trim_start_matches("pooling_mode_")),
        _ => Err(LoadError::Unsupported { feature: format!("several poolings at once ({file})") }),
    }
}

fn named(mode: &str) -> Result<Pooling, LoadError> {
    match mode {
        "mean" | "mean_tokens" => Ok(Pooling::Mean),
        "cls" | "cls_token" => Ok(Pooling::First),
        other => Err(LoadError::Unsupported { feature: format!("pooling {other:?}") }),
    }
}
