//! The metadata of a GGUF file in the terms of config.json, so that one place checks both.

use serde_json::json;

use super::metadata::Metadata;
use super::names::SHORT_ROPE_FACTORS;
use super::table::Entry;
use crate::model::config::{Config, RawConfig, TokenIds};
use crate::model::error::LoadError;
use crate::model::tensors::Raw;

/// What GGUF calls a family, and what Hugging Face does. Llama's files hold Mistral's models too;
/// they rotate neighbouring elements of a head, as GLM-4 does.
const FAMILIES: [(&str, &str, bool); 7] = [
    ("glm4", "Glm4ForCausalLM", true),
    ("phi3", "Phi3ForCausalLM", false),
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
    // GLM-4 of 2024 goes by the same name, without normalisations of what is added.
    if architecture == "glm4"
        && !tensors.iter().any(|e| e.name == "blk.0.post_attention_norm.weight")
    {
        theirs = "GlmForCausalLM";
    }
    if architecture == "llama" && experts.is_some_and(|experts| experts > 0) {
        theirs = "MixtralForCausalLM";
    }
    let key = |key: &str| format!("{architecture}.{key}");
    let integer = |name: &str| metadata.integer(&key(name));
    let number = |name: &str| metadata.number(&key(name));
    let has = |name: &str| tensors.iter().any(|entry| entry.name == name);
    let width = match (integer("embedding_length")?, integer("attention.head_count")?) {
        (Some(hidden), Some(heads)) if heads > 0 => Some(hidden / heads),
        _ => None,
    };
    let width = integer("attention.key_length")?.or(width);
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
        partial_rotary_factor: match &*architecture {
            "glm4" | "phi3" => rotary_part(integer("rope.dimension_count")?, width),
            _ => None,
        },
        tie_word_embeddings: Some(!has("output.weight")),
        attention_bias: Some(attention_bias && matches!(&*architecture, "llama" | "glm4")),
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
    let (head_dim, rotary) = (config.shape.head_dim as u64, config.shape.rotary as u64);
    for (name, expected) in [("attention.value_length", head_dim), ("rope.dimension_count", rotary)]
    {
        match integer(name)? {
            Some(got) if got != expected => {
                let feature = format!("{} of {got} with heads of {head_dim}", key(name));
                return Err(LoadError::Unsupported { feature });
            }
            _ => {}
        }
    }
    if has(SHORT_ROPE_FACTORS) {
        config.shape.rope.magnitude = number("rope.scaling.attn_factor")?.unwrap_or(1.0) as f32;
        // Beyond it other divisors hold, and with them other keys.
        let original = integer("rope.scaling.original_context_length")?.unwrap_or(u64::MAX);
        config.context_tokens = u64::from(config.context_tokens).min(original) as u32;
    }
    Ok(config)
}

/// Which part of a head is rotated, in families that rotate a part.
fn rotary_part(rotary: Option<u64>, width: Option<u64>) -> Option<f64> {
    match (rotary, width) {
        (Some(rotary), Some(width)) if width > 0 => Some(rotary as f64 / width as f64),
        _ => None,
    }
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
        // What LongRoPE needs comes as tensors.
        (None | Some("none" | "longrope"), _) => None,
        (Some(kind), factor) => Some(json!({"rope_type": kind, "factor": factor})),
    })
}

/// The converter's divisors of the frequencies.
pub(super) fn add_rope_factors(
    config: &mut Config,
    name: &str,
    raw: &Raw,
) -> Result<(), LoadError> {
    let name = name.to_owned();
    let expected = vec![config.shape.rotary / 2];
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
