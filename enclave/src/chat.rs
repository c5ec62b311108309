//! The request inside the envelope as the OpenAI API writes it: `POST /v1/chat/completions`.

use bulla_engine::{ChatMessage, ChatRequest, Role, Sampling};
use serde::Deserialize;

/// The only path served inside an envelope.
pub const PATH_CHAT: &str = "/v1/chat/completions";
/// Sampling when the request does not say: OpenAI's defaults.
const DEFAULT_TEMPERATURE: f32 = 1.0;
const DEFAULT_TOP_P: f32 = 1.0;

/// What a chat request asks for, checked.
pub struct ChatOrder {
    /// The conversation.
    pub chat: ChatRequest,
    /// Model name, as the customer wrote it.
    pub model: String,
    /// How to sample.
    pub sampling: Sampling,
    /// Most tokens to generate, if said.
    pub max_tokens: Option<u32>,
    /// Stop strings.
    pub stop: Vec<String>,
    /// Stream the answer.
    pub stream: bool,
    /// Put usage into the stream.
    pub include_usage: bool,
}

/// Why a chat request cannot be served: an OpenAI-shaped error with status, parameter and code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ChatError {
    /// HTTP status.
    pub status: u16,
    /// For people; says what to do.
    pub message: String,
    /// The parameter at fault.
    pub param: Option<&'static str>,
    /// OpenAI's code, where it has one.
    pub code: Option<&'static str>,
}

impl ChatError {
    /// A `400` about one parameter.
    pub fn invalid(param: &'static str, message: impl Into<String>) -> ChatError {
        ChatError { status: 400, message: message.into(), param: Some(param), code: None }
    }

    /// The `404` for a model this enclave does not serve.
    pub fn unknown_model(asked: &str, served: &str) -> ChatError {
        let asked: String = asked.chars().take(128).collect();
        ChatError {
            status: 404,
            message: format!(
                "the model `{asked}` is not served here; this enclave serves `{served}`"
            ),
            param: Some("model"),
            code: Some("model_not_found"),
        }
    }

    /// The `400` for a conversation that does not fit.
    pub fn too_long(message: impl Into<String>) -> ChatError {
        ChatError {
            status: 400,
            message: message.into(),
            param: Some("messages"),
            code: Some("context_length_exceeded"),
        }
    }
}

#[derive(Deserialize)]
struct Body {
    model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<u32>,
    seed: Option<i64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    stop: Option<Stop>,
    n: Option<u32>,
    logprobs: Option<bool>,
    tools: Option<Vec<serde_json::Value>>,
    response_format: Option<ResponseFormat>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    logit_bias: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
}

/// Reads a chat request. `random_seed` is used when the request names none.
pub fn parse(body: &[u8], random_seed: u64) -> Result<ChatOrder, ChatError> {
    let body: Body = serde_json::from_slice(body).map_err(|e| ChatError {
        status: 400,
        // serde_json names line, column and field, and quotes at most a value's type.
        message: format!("the request body is not a chat completion request: {e}"),
        param: None,
        code: None,
    })?;
    refuse_unsupported(&body)?;
    let temperature = body.temperature.unwrap_or(DEFAULT_TEMPERATURE);
    let top_p = body.top_p.unwrap_or(DEFAULT_TOP_P);
    let seed = body.seed.map_or(random_seed, |seed| seed as u64);
    let sampling = Sampling::new(temperature, top_p, body.top_k.unwrap_or(0), seed)
        .map_err(|e| ChatError::invalid("temperature", e.to_string()))?;
    let max_tokens = body.max_completion_tokens.or(body.max_tokens);
    if max_tokens == Some(0) {
        return Err(ChatError::invalid("max_tokens", "max_tokens must be at least 1"));
    }
    let stop = match body.stop {
        None => Vec::new(),
        Some(Stop::One(text)) => vec![text],
        Some(Stop::Several(texts)) => texts,
    };
    let messages = body.messages.into_iter().map(message).collect::<Result<_, _>>()?;
    Ok(ChatOrder {
        chat: ChatRequest { messages },
        model: body.model,
        sampling,
        max_tokens,
        stop,
        stream: body.stream.unwrap_or(false),
        include_usage: body.stream_options.is_some_and(|o| o.include_usage),
    })
}

/// What we do not do yet is refused, never ignored: an answer that silently left out a constraint
/// would be a wrong answer.
fn refuse_unsupported(body: &Body) -> Result<(), ChatError> {
    let unsupported = [
        ("n", body.n.is_some_and(|n| n != 1)),
        ("logprobs", body.logprobs == Some(true)),
        ("tools", body.tools.as_ref().is_some_and(|t| !t.is_empty())),
        ("response_format", body.response_format.as_ref().is_some_and(|f| f.kind != "text")),
        ("frequency_penalty", body.frequency_penalty.is_some_and(|p| p != 0.0)),
        ("presence_penalty", body.presence_penalty.is_some_and(|p| p != 0.0)),
        ("logit_bias", body.logit_bias.as_ref().is_some_and(|b| !b.is_empty())),
    ];
    match unsupported.into_iter().find(|(_, asked)| *asked) {
        Some((param, _)) => Err(ChatError {
            status: 400,
            message: format!("`{param}` is not supported by this engine; leave it out"),
            param: Some(param),
            code: Some("unsupported_parameter"),
        }),
        None => Ok(()),
    }
}

fn message(message: Message) -> Result<ChatMessage, ChatError> {
    let role = match message.role.as_str() {
        "developer" => Role::System,
        word => Role::parse(word).ok_or_else(|| {
            ChatError::invalid("messages", "role must be system, developer, user or assistant")
        })?,
    };
    let content = match message.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => joined_text(parts)?,
    };
    Ok(ChatMessage::new(role, content))
}

fn joined_text(parts: Vec<Part>) -> Result<String, ChatError> {
    parts
        .into_iter()
        .map(|part| match (part.kind.as_str(), part.text) {
            ("text", Some(text)) => Ok(text),
            _ => Err(ChatError::invalid("messages", "only text content is supported")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Result<ChatOrder, ChatError> {
        parse(json.as_bytes(), 7)
    }

    #[test]
    fn reads_text_parts_seed_and_stop() {
        let order = parsed(
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],
                "seed":-1,"stop":"x","stream":true,"stream_options":{"include_usage":true}}"#,
        )
        .unwrap();
        assert_eq!(order.chat.messages[0].content, "hi");
        assert_eq!(order.sampling.seed(), u64::MAX);
        assert_eq!(order.stop, ["x"]);
        assert!(order.stream && order.include_usage);
    }

    #[test]
    fn takes_the_given_seed_when_none_is_named() {
        let order = parsed(r#"{"model":"m","messages":[]}"#).unwrap();
        assert_eq!(order.sampling.seed(), 7);
    }

    #[test]
    fn refuses_what_it_would_have_to_ignore() {
        for (param, value) in [("n", "2"), ("logprobs", "true"), ("presence_penalty", "0.5")] {
            let json = format!(r#"{{"model":"m","messages":[],"{param}":{value}}}"#);
            let error = parsed(&json).err().unwrap();
            assert_eq!(error.param, Some(param));
        }
    }

    #[test]
    fn refuses_absurd_sampling_and_unknown_roles() {
        assert!(parsed(r#"{"model":"m","messages":[],"temperature":9}"#).is_err());
        assert!(parsed(r#"{"model":"m","messages":[],"max_tokens":0}"#).is_err());
        assert!(parsed(r#"{"model":"m","messages":[{"role":"wizard","content":"x"}]}"#).is_err());
    }
}
