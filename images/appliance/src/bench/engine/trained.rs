//! The demo model as a GGUF file of 32-bit floats: trained weights, for questions of accuracy. The
//! peer's own `llama-quantize` makes the quantised files of it, so both sides read the same ones.
//! Source: safetensors (header of JSON, then data); GGUF names and row order of `llama`.

use std::path::Path;

use anyhow::{Context, ensure};
use serde_json::Value;

use super::gguf::{self, ALIGNMENT, Metadata};
use super::shape::{Kind, Tensor};

/// Writes the Hugging Face folder of a Llama with brain-float weights and tied embeddings to `file`.
pub fn write(folder: &Path, file: &Path) -> anyhow::Result<()> {
    let config: Value = json(&folder.join("config.json"))?;
    ensure!(config["model_type"] == "llama", "accuracy is measured on a Llama");
    let weights = Weights::read(&folder.join("model.safetensors"))?;
    let layers = number(&config, "num_hidden_layers")?;
    let mut parts = vec![weights.part("model.embed_tokens.weight", "token_embd.weight", None)?];
    parts.push(weights.part("model.norm.weight", "output_norm.weight", None)?);
    for layer in 0..layers {
        for (theirs, gguf, heads) in LAYER {
            let heads = heads.map(|key| number(&config, key)).transpose()?;
            let theirs = format!("model.layers.{layer}.{theirs}.weight");
            parts.push(weights.part(&theirs, &format!("blk.{layer}.{gguf}.weight"), heads)?);
        }
    }
    let tensors: Vec<Tensor> = parts.iter().map(|(tensor, _)| tensor.clone()).collect();
    let mut bytes = gguf::header(&metadata(folder, &config)?, &tensors);
    for (_, values) in parts {
        values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
    std::fs::write(file, bytes).with_context(|| format!("writing {}", file.display()))
}

/// Tensors of a layer: Hugging Face's name, GGUF's, and for those that rotary positions turn the
/// key of their number of heads.
const LAYER: [(&str, &str, Option<&str>); 9] = [
    ("input_layernorm", "attn_norm", None),
    ("self_attn.q_proj", "attn_q", Some("num_attention_heads")),
    ("self_attn.k_proj", "attn_k", Some("num_key_value_heads")),
    ("self_attn.v_proj", "attn_v", None),
    ("self_attn.o_proj", "attn_output", None),
    ("post_attention_layernorm", "ffn_norm", None),
    ("mlp.gate_proj", "ffn_gate", None),
    ("mlp.up_proj", "ffn_up", None),
    ("mlp.down_proj", "ffn_down", None),
];

/// A file of safetensors, whole.
struct Weights {
    head: Value,
    data: Vec<u8>,
}

impl Weights {
    fn read(path: &Path) -> anyhow::Result<Weights> {
        let mut bytes =
            std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let (length, _) = bytes.split_first_chunk().context("no length of a header")?;
        let end = 8 + u64::from_le_bytes(*length) as usize;
        let head = bytes.get(8..end).context("a header longer than its file")?;
        let head = serde_json::from_slice(head).context("the header of safetensors")?;
        Ok(Weights { head, data: bytes.split_off(end) })
    }

    /// A tensor under its name in GGUF; rows of `heads` heads as rotary positions in `llama` files
    /// want them: pairs side by side instead of half a head apart.
    fn part(
        &self,
        theirs: &str,
        ours: &str,
        heads: Option<usize>,
    ) -> anyhow::Result<(Tensor, Vec<f32>)> {
        let entry = &self.head[theirs];
        ensure!(entry["dtype"] == "BF16", "{theirs} is not there in brain floats");
        let of = |value: &Value| -> Vec<usize> {
            let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
            list.iter().filter_map(|n| n.as_u64().map(|n| n as usize)).collect()
        };
        let (shape, range) = (of(&entry["shape"]), of(&entry["data_offsets"]));
        let data = match range[..] {
            [from, to] => self.data.get(from..to).context("an offset beyond the file")?,
            _ => anyhow::bail!("{theirs} has no offsets"),
        };
        let float = |pair: [u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16);
        let mut values: Vec<f32> = data.as_chunks().0.iter().map(|pair| float(*pair)).collect();
        if let Some(heads) = heads {
            values = interleaved(&values, shape[0], heads);
        }
        let dimensions = shape.into_iter().rev().collect();
        Ok((Tensor { name: ours.to_owned(), dimensions, kind: Kind::F32 }, values))
    }
}

/// Rows of each head reordered: row `2 i + j` of the result is row `j * half + i`.
fn interleaved(values: &[f32], rows: usize, heads: usize) -> Vec<f32> {
    let (columns, head) = (values.len() / rows, rows / heads);
    let half = head / 2;
    let source = |row: usize| row / head * head + row % 2 * half + row % head / 2;
    (0..rows).flat_map(|row| values[source(row) * columns..][..columns].iter().copied()).collect()
}

fn metadata(folder: &Path, config: &Value) -> anyhow::Result<Metadata> {
    let mut metadata = Metadata::default();
    metadata.text("general.architecture", "llama");
    metadata.text("general.name", "demo");
    metadata.number("general.file_type", 0);
    let numbers = [
        ("llama.context_length", "max_position_embeddings"),
        ("llama.embedding_length", "hidden_size"),
        ("llama.block_count", "num_hidden_layers"),
        ("llama.feed_forward_length", "intermediate_size"),
        ("llama.attention.head_count", "num_attention_heads"),
        ("llama.attention.head_count_kv", "num_key_value_heads"),
        ("llama.attention.key_length", "head_dim"),
        ("llama.attention.value_length", "head_dim"),
        ("llama.rope.dimension_count", "head_dim"),
        ("llama.vocab_size", "vocab_size"),
    ];
    for (ours, theirs) in numbers {
        metadata.number(ours, number(config, theirs)? as u32);
    }
    let floats = [
        ("llama.rope.freq_base", "rope_theta"),
        ("llama.attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    ];
    for (ours, theirs) in floats {
        metadata.float(ours, config[theirs].as_f64().context(theirs)? as f32);
    }
    tokenizer(folder, &mut metadata)?;
    Ok(metadata)
}

/// The vocabulary, so that the peer starts; prompts are given as numbers.
fn tokenizer(folder: &Path, metadata: &mut Metadata) -> anyhow::Result<()> {
    let tokenizer = json(&folder.join("tokenizer.json"))?;
    let vocabulary = tokenizer["model"]["vocab"].as_object().context("a vocabulary")?;
    let mut tokens = vec![String::new(); vocabulary.len()];
    for (token, id) in vocabulary {
        let place = id.as_u64().and_then(|id| tokens.get_mut(id as usize));
        *place.context("a token numbered beyond the vocabulary")? = token.clone();
    }
    let merges = tokenizer["model"]["merges"].as_array().context("merges")?;
    let merge = |pair: &Value| Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?));
    let merges: Vec<String> = merges.iter().filter_map(merge).collect();
    let added = tokenizer["added_tokens"].as_array().map_or(0, Vec::len);
    let types: Vec<i32> = (0..tokens.len()).map(|id| if id < added { 3 } else { 1 }).collect();
    metadata.text("tokenizer.ggml.model", "gpt2");
    metadata.text("tokenizer.ggml.pre", "qwen2");
    metadata.texts("tokenizer.ggml.tokens", &tokens);
    metadata.integers("tokenizer.ggml.token_type", &types);
    metadata.texts("tokenizer.ggml.merges", &merges);
    metadata.flag("tokenizer.ggml.add_bos_token", false);
    Ok(())
}

fn json(path: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}

fn number(config: &Value, key: &str) -> anyhow::Result<usize> {
    let value = config[key].as_u64().with_context(|| format!("{key} in config.json"))?;
    Ok(value as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_a_head_are_interleaved() {
        // Two heads of four rows, one column.
        let rows: Vec<f32> = (0..8).map(|n| n as f32).collect();
        assert_eq!(interleaved(&rows, 8, 2), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
