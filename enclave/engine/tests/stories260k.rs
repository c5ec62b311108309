//! A trained model that nobody of this project made, in llama2.c's checkpoint format: converted
//! to a Hugging Face folder here, it has to tell its story.

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_engine::Engine;
use bulla_engine::SequenceId;
use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use common::gguf::Kind;
use common::{engine, greedy, load, told};

const STORY: &str = "Once upon a time, there was a little girl named Lily. She loved to play \
                     outside in the park. One day, she saw a big, red ball";

/// `$BULLA_MODELS`, or the folder beside the repository.
fn checkpoint() -> Option<PathBuf> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/models");
    let models = std::env::var_os("BULLA_MODELS").map_or(shared, PathBuf::from);
    let folder = models.join("stories260k");
    folder.join("checkpoint_v1.bin").is_file().then_some(folder)
}

/// A version 1 checkpoint: magic, version, seven sizes, a flag, zeros up to 256 bytes, then f32
/// weights: all norms, the embedding, and each matrix kind for all layers.
struct Checkpoint {
    sizes: [usize; 7],
    shared: bool,
    floats: Vec<f32>,
}

impl Checkpoint {
    fn read(path: &Path) -> Checkpoint {
        let bytes = std::fs::read(path).unwrap();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4)), (0x616b_3432, 1));
        let floats = bytes[256..].chunks_exact(4);
        Checkpoint {
            sizes: std::array::from_fn(|i| word(8 + 4 * i) as usize),
            shared: bytes[36] == 1,
            floats: floats.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect(),
        }
    }

    /// By the names of Hugging Face; `sorted`: with the rows of queries and keys in its order.
    fn tensors(mut self, sorted: bool) -> HashMap<String, Tensor> {
        let [dim, hidden, layers, heads, kv_heads, vocab, _] = self.sizes;
        let kv = dim / heads * kv_heads;
        let mut tensors = HashMap::new();
        let mut take = |name: String, shape: &[usize], permuted_heads: usize| {
            let count: usize = shape.iter().product();
            let mut values: Vec<f32> = self.floats.drain(..count).collect();
            if sorted && permuted_heads > 0 {
                values = halves(&values, permuted_heads, shape[1]);
            }
            tensors.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        };
        let norms = [("input_layernorm", layers), ("post_attention_layernorm", layers)];
        for (norm, layers) in norms {
            for i in 0..layers {
                take(format!("model.layers.{i}.{norm}.weight"), &[dim], 0);
            }
        }
        take("model.norm.weight".into(), &[dim], 0);
        take("model.embed_tokens.weight".into(), &[vocab, dim], 0);
        let matrices = [
            ("self_attn.q_proj", [dim, dim], heads),
            ("self_attn.k_proj", [kv, dim], kv_heads),
            ("self_attn.v_proj", [kv, dim], 0),
            ("self_attn.o_proj", [dim, dim], 0),
            ("mlp.gate_proj", [hidden, dim], 0),
            ("mlp.down_proj", [dim, hidden], 0),
            ("mlp.up_proj", [hidden, dim], 0),
        ];
        for (name, shape, permuted_heads) in matrices {
            for i in 0..layers {
                take(format!("model.layers.{i}.{name}.weight"), &shape, permuted_heads);
            }
        }
        assert!(self.shared && self.floats.is_empty());
        tensors
    }
}

/// llama2.c rotates neighbouring rows of a head, Hugging Face rows half a head apart: row `2i`
/// goes to `i`, row `2i + 1` to `half + i`.
fn halves(values: &[f32], heads: usize, width: usize) -> Vec<f32> {
    let rows: Vec<&[f32]> = values.chunks_exact(width).collect();
    let head = rows.chunks_exact(rows.len() / heads);
    let sorted = head.flat_map(|head| {
        let even = head.iter().step_by(2);
        even.chain(head.iter().skip(1).step_by(2)).copied().collect::<Vec<_>>()
    });
    sorted.collect::<Vec<_>>().concat()
}

/// tokenizer.bin is a list of (score, length, bytes), after a maximum length; the vocabulary is
/// SentencePiece's, where a piece of a better score merges first.
fn tokenizer(path: &Path) -> Value {
    let bytes = std::fs::read(path).unwrap();
    let mut rest = &bytes[4..];
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let score = f32::from_le_bytes(rest[..4].try_into().unwrap());
        let len = u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        let text = String::from_utf8(rest[8..8 + len].to_vec()).unwrap();
        pieces.push((score, text.trim_matches('\n').replace(' ', "▁")));
        rest = &rest[8 + len..];
    }
    // A line feed is all there is of its piece; in the vocabulary proper it exists as <0x0A>.
    let vocab: serde_json::Map<String, Value> =
        pieces.iter().enumerate().map(|(id, (_, piece))| (piece.clone(), json!(id))).collect();
    let mut merges: Vec<(f32, String, String)> = Vec::new();
    for (score, piece) in pieces.iter().skip(259) {
        for (at, _) in piece.char_indices().skip(1) {
            let (left, right) = piece.split_at(at);
            if vocab.contains_key(left) && vocab.contains_key(right) {
                merges.push((*score, left.into(), right.into()));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0));
    let merges: Vec<Value> = merges.into_iter().map(|(_, a, b)| json!([a, b])).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "special": true, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    let begin = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let named = json!({"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}});
    json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "post_processor": {"type": "TemplateProcessing", "single": [begin, text],
                           "pair": [begin, text, text], "special_tokens": named},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": true, "fuse_unk": true,
                  "vocab": vocab, "merges": merges},
    })
}

fn convert(from: &Path, to: &Path) {
    let checkpoint = Checkpoint::read(&from.join("checkpoint_v1.bin"));
    let [dim, hidden, layers, heads, kv_heads, vocab, context] = checkpoint.sizes;
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "hidden_size": dim, "intermediate_size": hidden,
        "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocab,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": true, "hidden_act": "silu", "eos_token_id": [1, 2],
    });
    let write = |file: &str, json: Value| std::fs::write(to.join(file), json.to_string()).unwrap();
    write("config.json", config);
    write("tokenizer.json", tokenizer(&from.join("tokenizer.bin")));
    let tensors = checkpoint.tensors(true);
    candle_core::safetensors::save(&tensors, to.join("model.safetensors")).unwrap();
}

/// GGUF files of Llama keep the order of rows that the checkpoint has, so nothing is sorted on the
/// way: the file tells the story only if it is read as it was meant.
#[test]
fn tells_its_story_from_a_gguf_file() {
    let Some(from) = checkpoint() else {
        println!("skipped: no stories260k in $BULLA_MODELS or ../shared/models");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    convert(&from, folder.path());
    // The folder's settings and vocabulary, the checkpoint's own tensors.
    let mut gguf = common::gguf::convert(folder.path(), "llama", Kind::F32);
    gguf.tensors.clear();
    for (name, tensor) in Checkpoint::read(&from.join("checkpoint_v1.bin")).tensors(false) {
        gguf.add(&common::gguf::name(&name), &tensor, Kind::Q8_0);
    }
    let file = folder.path().join("stories260k.gguf");
    gguf.write(&file);
    let model = Arc::new(load(&file).unwrap());
    let prompt = model.prompt_text("Once upon a time").unwrap();
    let mut engine = engine(&model);
    engine.submit(SequenceId(1), greedy(prompt, 40)).unwrap();
    let told = told(&mut engine, 1);
    assert!(
        told.text.contains("there was a little girl named Lily. She loved to"),
        "{}",
        told.text
    );
}

#[test]
fn tells_its_known_story() {
    let Some(from) = checkpoint() else {
        println!("skipped: no stories260k in $BULLA_MODELS or ../shared/models");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    convert(&from, folder.path());
    let model = Arc::new(load(folder.path()).unwrap());
    let prompt = model.prompt_text("").unwrap();
    assert_eq!(prompt.tokens()[0], 1, "the prompt is the beginning token");
    let mut engine = engine(&model);
    engine.submit(SequenceId(1), greedy(prompt, 200)).unwrap();
    let told = told(&mut engine, 1);
    assert!(told.text.trim_start().starts_with(STORY), "{}", told.text);

    // The tokenizer made here reads text as the model was trained to.
    let opening = model.prompt_text("Once upon a time, there was a little girl").unwrap();
    assert!(opening.token_count() < 15, "{opening:?}");
    engine.submit(SequenceId(2), greedy(opening, 40)).unwrap();
    let told = common::told(&mut engine, 2);
    let rest = STORY.split("little girl").nth(1).unwrap().trim_start();
    assert!(told.text.trim_start().starts_with(&rest[..30]), "{}", told.text);
}
