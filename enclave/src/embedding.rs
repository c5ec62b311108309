//! `POST /v1/embeddings` as the OpenAI API writes it: the request inside the envelope, and the
//! answer to it.

use bulla_engine::{EmbedInput, MAX_EMBED_INPUTS};
use bulla_wire::price::TokenUsage;
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use crate::chat::ChatError;

/// The path inside an envelope.
pub const PATH_EMBEDDINGS: &str = "/v1/embeddings";

/// How vectors are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// A list of numbers, each as short as it reads back to the same 32 bits.
    #[default]
    Float,
    /// Base64 of little-endian 32-bit floats.
    Base64,
}

/// What an embeddings request asks for, checked.
pub struct EmbeddingOrder {
    /// Model name, as the customer wrote it.
    pub model: String,
    /// The texts.
    pub inputs: Vec<EmbedInput>,
    /// How to write the vectors.
    pub encoding: Encoding,
    /// Numbers wanted in a vector, if said.
    pub dimensions: Option<u32>,
}

#[derive(Deserialize)]
struct Body {
    model: String,
    input: Input,
    encoding_format: Option<Encoding>,
    dimensions: Option<i64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    Several(Vec<Vec<u32>>),
}

impl EmbeddingOrder {
    /// Reads a request.
    pub fn parse(body: &[u8]) -> Result<EmbeddingOrder, ChatError> {
        let body: Body = serde_json::from_slice(body)
            .map_err(|e| ChatError::malformed(format!("not an embeddings request: {e}")))?;
        let inputs: Vec<EmbedInput> = match body.input {
            Input::Text(text) => vec![EmbedInput::Text(text)],
            Input::Texts(texts) => texts.into_iter().map(EmbedInput::Text).collect(),
            Input::Tokens(tokens) => vec![EmbedInput::Tokens(tokens)],
            Input::Several(texts) => texts.into_iter().map(EmbedInput::Tokens).collect(),
        };
        if inputs.is_empty() || inputs.len() > MAX_EMBED_INPUTS {
            let got = inputs.len();
            let message = format!("input must be 1 to {MAX_EMBED_INPUTS} texts, got {got}");
            return Err(ChatError::invalid("input", message));
        }
        let encoding = body.encoding_format.unwrap_or_default();
        let dimensions = body.dimensions.map(|asked| u32::try_from(asked).unwrap_or(0));
        Ok(EmbeddingOrder { model: body.model, inputs, encoding, dimensions })
    }

    /// Refuses vectors of another length than the model's: cutting them is for models that were
    /// trained for it.
    pub fn check_dimensions(&self, own: u32) -> Result<(), ChatError> {
        match self.dimensions {
            Some(asked) if asked != own => {
                let advice = format!("this model's vectors have {own} numbers; leave it out");
                Err(ChatError::unsupported("dimensions", &advice))
            }
            _ => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
    model: &'a str,
    usage: Counts,
}

#[derive(Serialize)]
struct Entry<'a> {
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Floats(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Counts {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// The answer's body.
pub fn answer(
    model: &str,
    vectors: &[Vec<f32>],
    encoding: Encoding,
    usage: &TokenUsage,
) -> Vec<u8> {
    let numbers = |vector: &'_ [f32]| match encoding {
        Encoding::Float => None,
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            Some(BASE64.encode(&bytes))
        }
    };
    let entry = |(index, vector): (usize, &'_ Vec<f32>)| (index, numbers(vector));
    let written: Vec<_> = vectors.iter().enumerate().map(entry).collect();
    let data = written.into_iter().zip(vectors).map(|((index, text), vector)| Entry {
        object: "embedding",
        index,
        embedding: text.map_or(Numbers::Floats(vector), Numbers::Base64),
    });
    let counts = Counts { prompt_tokens: usage.input.0, total_tokens: usage.input.0 };
    let answer = Answer { object: "list", data: data.collect(), model, usage: counts };
    // Finite numbers, texts and lists: writing them cannot fail.
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bulla_wire::units::TokenCount;

    use super::*;

    fn parsed(json: &str) -> Result<EmbeddingOrder, ChatError> {
        EmbeddingOrder::parse(json.as_bytes())
    }

    #[test]
    fn inputs_come_in_four_forms() {
        let text = |text: &str| EmbedInput::Text(text.to_owned());
        for (input, expected) in [
            (r#""a""#, vec![text("a")]),
            (r#"["a","b"]"#, vec![text("a"), text("b")]),
            ("[1,2]", vec![EmbedInput::Tokens(vec![1, 2])]),
            ("[[1],[2,3]]", vec![EmbedInput::Tokens(vec![1]), EmbedInput::Tokens(vec![2, 3])]),
        ] {
            let order = parsed(&format!(r#"{{"model":"m","input":{input}}}"#)).unwrap();
            assert!(order.inputs == expected, "{input}");
            assert_eq!(order.encoding, Encoding::Float);
        }
    }

    #[test]
    fn what_is_not_asked_rightly_is_refused() {
        for input in ["[]", "7", "[-1]", r#"[["a"]]"#, "null"] {
            assert!(parsed(&format!(r#"{{"model":"m","input":{input}}}"#)).is_err(), "{input}");
        }
        assert!(parsed(r#"{"model":"m","input":"a","encoding_format":"hex"}"#).is_err());
        for (dimensions, refused) in [(8, false), (4, true), (-1, true)] {
            let json = format!(r#"{{"model":"m","input":"a","dimensions":{dimensions}}}"#);
            let error = parsed(&json).unwrap().check_dimensions(8).err();
            assert_eq!(error.map(|e| e.param), refused.then_some(Some("dimensions")));
        }
    }

    #[test]
    fn both_encodings_hold_the_same_bits() {
        let vectors = vec![vec![0.1f32, -1.5e-7, 1.0], vec![0.0, 3.0, f32::MIN_POSITIVE]];
        let usage = TokenUsage { input: TokenCount(9), ..TokenUsage::default() };
        let read = |encoding| -> serde_json::Value {
            serde_json::from_slice(&answer("m", &vectors, encoding, &usage)).unwrap()
        };
        let (floats, base64) = (read(Encoding::Float), read(Encoding::Base64));
        for (index, vector) in vectors.iter().enumerate() {
            let entry = &floats["data"][index];
            assert_eq!((&entry["index"], &entry["object"]), (&index.into(), &"embedding".into()));
            let numbers = entry["embedding"].as_array().unwrap();
            let numbers: Vec<f32> = numbers.iter().map(|n| n.as_f64().unwrap() as f32).collect();
            assert_eq!(&numbers, vector);
            let text = base64["data"][index]["embedding"].as_str().unwrap();
            let bytes = BASE64.decode(text.as_bytes()).unwrap();
            let numbers = bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four));
            assert_eq!(&numbers.collect::<Vec<f32>>(), vector);
        }
        assert_eq!(floats["usage"]["total_tokens"], 9);
    }
}
