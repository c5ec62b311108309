//! The metadata of a GGUF file in the terms of config.json, so that one place checks both.

use serde_json::json;

use super::metadata::Metadata;
use super::table::Entry;
use crate::model::config::{Config, RawConfig, TokenIds};
use crate::model::error::LoadError;
use crate::model::tensors::Raw;

/// What GGUF calls a family, and what Hugging Face does. Llama's files hold Mistral's models too;
/// they rotate neighbouring elements of a head.
const FAMILIES: [(&str, &str, bool); 5] = [
    ("llama", "LlamaForCausalLM", true),
    ("qwen2moe", "Qwen2MoeForCausalLM", false),
    ("qwen3moe", "Qwen3MoeForCausalLM", false),
    ("qwen2", "Qwen2ForCausalLM", false),
    ("qwen3", "Qwen3ForCausalLM", false),
];

/// The configuration that metadata and tensors imply.
pub(super) fn config(metadata: &Metadata, tensors: &[Entry]) -> Result<Config, LoadError> {
    let architecture = metadata.text("general.architecture")?.unwrap_or_default().to_owned();
    let family = FAMILIES.into_iter().find(|(name, ..)| *name == architecture);
    let Some((_, mut theirs, interleaved)) = family else {
        return Err(LoadError::Architecture { got: architecture });
    };
    let experts = metadata.integer(&format!("{architecture}.expert_count"))?;
    if architecture == "llama" && experts.is_some_and(|experts| experts > 0) {
        theirs = "MixtralForCausalLM";
    }
    if metadata.integer("split.count")?.unwrap_or(1) > 1 {
        let feature = "a GGUF file in several parts (join them with llama-gguf-split --merge)";
        return Err(LoadError::Unsupported { feature: feature.into() });
    }
    let key = |key: &str| format!("{architecture}.{key}");
    let integer = |name: &str| metadata.integer(&key(name));
    let number = |name: &str| metadata.number(&key(name));
    let has = |name: &str| tensors.iter().any(|entry| entry.name == name);
    let embedding = tensors.iter().find(|entry| entry.name == "token_embd.weight");
    let attention_bias = has("blk.0.attn_q.bias");
    let raw = RawConfig {
        architectures: Some(vec![theirs.to_owned()]),
        hidden_size: integer("embedding_length")?,
        intermediate_size: integer("feed_forward_length")?,
        num_hidden_layers: integer("block_count")?,
        num_attention_heads: integer("attention.head_count")?,
        num_key_value_heads: integer("attention.head_count_kv")?,
        head_dim: integer("attention.key_length")?,
        vocab_size: embedding.and_then(|entry| entry.dims.first()).map(|rows| *rows as u64),
        max_position_embeddings: integer("context_length")?,
        rms_norm_eps: number("attention.layer_norm_rms_epsilon")?,
        rope_theta: number("rope.freq_base")?,
        rope_scaling: rope_scaling(metadata, &architecture)?,
        tie_word_embeddings: Some(!has("output.weight")),
        attention_bias: Some(attention_bias && architecture == "llama"),
        mlp_bias: Some(has("blk.0.ffn_gate.bias")),
        num_experts: experts,
        num_experts_per_tok: integer("expert_used_count")?,
        moe_intermediate_size: integer("expert_feed_forward_length")?,
        shared_expert_intermediate_size: integer("expert_shared_feed_forward_length")?,
        // What llama.cpp does for these families; the file does not say.
        norm_topk_prob: Some(architecture != "qwen2moe"),
        mlp_only_layers: Some(dense_layers(tensors)),
        sliding_window: integer("attention.sliding_window")?,
        eos_token_id: metadata.integer("tokenizer.ggml.eos_token_id")?.map(TokenIds::One),
        ..RawConfig::default()
    };
    let mut config = Config::of(raw)?;
    config.interleaved_rope = interleaved;
    let head_dim = config.shape.head_dim as u64;
    for name in ["attention.value_length", "rope.dimension_count"] {
        match integer(name)? {
            Some(got) if got != head_dim => {
                let feature = format!("{} of {got} with heads of {head_dim}", key(name));
                return Err(LoadError::Unsupported { feature });
            }
            _ => {}
        }
    }
    Ok(config)
}

/// Layers with one network, which a file with experts shows by what it holds.
fn dense_layers(tensors: &[Entry]) -> Vec<u64> {
    let layer = |entry: &Entry| {
        let rest = entry.name.strip_prefix("blk.")?.strip_suffix(".ffn_gate.weight")?;
        rest.parse().ok()
    };
    tensors.iter().filter_map(layer).collect()
}

fn rope_scaling(
    metadata: &Metadata,
    architecture: &str,
) -> Result<Option<serde_json::Value>, LoadError> {
    let key = |key: &str| format!("{architecture}.rope.scaling.{key}");
    let kind = metadata.text(&key("type"))?;
    let factor = metadata.number(&key("factor"))?;
    Ok(match (kind, factor) {
        (None | Some("none"), _) => None,
        (Some(kind), factor) => Some(json!({"rope_type": kind, "factor": factor})),
    })
}

/// The converter's divisors of the frequencies.
pub(super) fn add_rope_factors(config: &mut Config, raw: &Raw) -> Result<(), LoadError> {
    let (name, expected) = (super::names::ROPE_FACTORS.to_owned(), vec![config.shape.head_dim / 2]);
    if raw.dims != expected {
        return Err(LoadError::TensorShape { name, expected, got: raw.dims.clone() });
    }
    let factors = raw.stored.values(&raw.bytes);
    if !factors.iter().all(|factor| factor.is_finite() && *factor > 0.0) {
        return Err(LoadError::NotFinite { name });
    }
    config.shape.rope.scaling = Some(crate::decoder::RopeScaling::Divisors(factors));
    Ok(())
}
