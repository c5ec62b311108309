//! The numerics, the chat templates and the tokenizers against Hugging Face transformers, whose
//! results `golden/make.py` recorded.

mod common;

use std::collections::HashMap;

use bulla_engine::{ChatMessage, ChatRequest, Role};
use candle_core::{Device, Tensor};
use serde::Deserialize;

use common::{GOLDEN, copy_of, golden, load, model};

/// Both sides compute in f32, summing in different orders. Logits go up to 10, so this is about
/// ten units in the last place, accumulated over the layers; a wrong rotation, bias or head
/// shows in the first digit.
const TOLERANCE: f32 = 1e-4;

struct Recorded(HashMap<String, Tensor>);

impl Recorded {
    fn of(name: &str) -> Recorded {
        let file = golden(name).join("golden.safetensors");
        Recorded(candle_core::safetensors::load(file, &Device::Cpu).unwrap())
    }

    fn tokens(&self, name: &str) -> Vec<u32> {
        let ids: Vec<i64> = self.0[name].to_vec1().unwrap();
        ids.into_iter().map(|id| u32::try_from(id).unwrap()).collect()
    }

    fn rows(&self, name: &str) -> Vec<Vec<f32>> {
        self.0[name].to_vec2().unwrap()
    }
}

fn largest_difference(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    assert_eq!(a.len(), b.len());
    let rows = a.iter().zip(b);
    let differences = rows.flat_map(|(a, b)| {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| (a - b).abs())
    });
    differences.fold(0.0, |largest: f32, difference| {
        assert!(!difference.is_nan());
        largest.max(difference)
    })
}

/// The whole sequence: prompt, then the greedy tokens.
#[test]
fn logits_are_those_of_transformers() {
    for name in GOLDEN {
        let (model, recorded) = (model(name), Recorded::of(name));
        let tokens = [recorded.tokens("tokens"), recorded.tokens("greedy")].concat();
        let expected = [recorded.rows("logits"), recorded.rows("step_logits")].concat();
        // All at once, in passes that end anywhere, and token by token.
        for pass in [tokens.len(), 7, 1] {
            let logits = model.logits(&tokens, pass).unwrap();
            let difference = largest_difference(&logits, &expected);
            assert!(difference < TOLERANCE, "{name}, passes of {pass}: off by {difference}");
            println!("{name}, passes of {pass}: off by at most {difference:e}");
        }
    }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for name in GOLDEN {
        let (model, recorded) = (model(name), Recorded::of(name));
        let mut tokens = recorded.tokens("tokens");
        for expected in recorded.tokens("greedy") {
            let logits = model.logits(&tokens, 16).unwrap();
            let last = logits.last().unwrap();
            let best = (0..last.len()).max_by(|&a, &b| last[a].total_cmp(&last[b])).unwrap();
            assert_eq!(best as u32, expected, "{name} after {} tokens", tokens.len());
            tokens.push(expected);
        }
    }
}

#[derive(Deserialize)]
struct Chat {
    messages: Vec<Message>,
    tokens: Vec<u32>,
    #[serde(default)]
    decoded: String,
    #[serde(default)]
    template: String,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

impl Chat {
    fn request(&self) -> ChatRequest {
        let role = |word: &str| Role::parse(word).unwrap();
        let message = |m: &Message| ChatMessage::new(role(&m.role), m.content.as_str());
        ChatRequest::new(self.messages.iter().map(message).collect())
    }
}

/// Equal ids mean an equal text too: these tokenizers lose nothing.
#[test]
fn chats_become_the_tokens_of_transformers() {
    for name in GOLDEN {
        let model = model(name);
        let chats = std::fs::read(golden(name).join("chats.json")).unwrap();
        let chats: Vec<Chat> = serde_json::from_slice(&chats).unwrap();
        assert!(!chats.is_empty());
        for (at, chat) in chats.iter().enumerate() {
            let prompt = model.prompt(&chat.request()).unwrap();
            assert_eq!(prompt.tokens(), chat.tokens, "{name}, chat {at}");
            assert_eq!(model.decode(prompt.tokens()).unwrap(), chat.decoded, "{name}, chat {at}");
        }
    }
}

/// Templates that use what published ones use, under one model's tokenizer.
#[test]
fn templates_render_as_in_transformers() {
    let recorded = std::fs::read(golden("templates.json")).unwrap();
    let chats: Vec<Chat> = serde_json::from_slice(&recorded).unwrap();
    assert!(!chats.is_empty());
    let copy = copy_of("qwen2-sharded-f16");
    for chat in chats {
        std::fs::write(copy.path().join("chat_template.jinja"), &chat.template).unwrap();
        let model = load(copy.path()).unwrap();
        let prompt = model.prompt(&chat.request()).unwrap();
        let text = model.decode(prompt.tokens()).unwrap();
        assert_eq!(prompt.tokens(), chat.tokens, "{} became {text:?}", chat.template);
    }
}
