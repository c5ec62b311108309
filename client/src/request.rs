//! An OpenAI-shaped request for a chat completion or for embeddings, read only as far as ordering
//! needs it. The bytes are sealed as
//! the caller wrote them.

use bulla_wire::price::MAX_MODEL_NAME_BYTES;
use bulla_wire::units::TokenCount;
use serde::Deserialize;

/// Largest request body, in bytes: leaves room for headers and padding inside
/// [`bulla_wire::http::MAX_SEALED_REQUEST_BYTES`].
pub const MAX_REQUEST_BYTES: usize = 3 << 20;
/// Most messages in one request (ours; bounds what the template adds).
pub const MAX_MESSAGES: usize = 10_000;

/// Why a body cannot be ordered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Larger than [`MAX_REQUEST_BYTES`].
    #[error("request has {got_bytes} bytes, at most {MAX_REQUEST_BYTES} are allowed")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// Not JSON of OpenAI's shape. Says where, never what.
    #[error("request is none for a chat completion or embeddings: {reason}")]
    Malformed {
        /// What the reader says.
        reason: String,
    },
    /// More than [`MAX_MESSAGES`] messages.
    #[error("request has {got} messages, at most {MAX_MESSAGES} are allowed")]
    TooManyMessages {
        /// How many.
        got: usize,
    },
    /// No model, or a name above the limit.
    #[error("model must be a name of 1 to {MAX_MODEL_NAME_BYTES} bytes")]
    ModelName,
    /// A ceiling or a count of choices that is no whole number from 0 on.
    #[error("{param} must be a whole number, 1 or more")]
    Count {
        /// The member's name.
        param: &'static str,
    },
}

impl RequestError {
    /// The member at fault, where it is one.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            RequestError::ModelName => Some("model"),
            RequestError::TooManyMessages { .. } => Some("messages"),
            RequestError::Count { param } => Some(param),
            RequestError::TooLong { .. } | RequestError::Malformed { .. } => None,
        }
    }
}

/// Path of the inner request for a chat completion.
pub const PATH_CHAT: &str = "/v1/chat/completions";
/// Path of the inner request for embeddings.
pub const PATH_EMBEDDINGS: &str = "/v1/embeddings";

/// A request for a chat completion, or for embeddings, and the few facts an order needs.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatRequest {
    body: Vec<u8>,
    model: String,
    stream: bool,
    max_output: Option<TokenCount>,
    message_count: usize,
    /// Texts to embed; `None` for a chat.
    text_count: Option<usize>,
}

#[derive(Deserialize)]
struct EmbeddingShape {
    model: String,
    input: Input,
}

/// A text, a list of them, or tokens; what it is exactly, the enclave judges.
#[derive(Deserialize)]
#[serde(untagged)]
#[allow(dead_code, reason = "what is not of these types is refused")]
enum Input {
    Text(String),
    Tokens(Vec<u64>),
    Several(Vec<serde::de::IgnoredAny>),
}

impl Input {
    fn count(&self) -> usize {
        match self {
            Input::Text(_) | Input::Tokens(_) => 1,
            Input::Several(texts) => texts.len(),
        }
    }
}

#[derive(Deserialize)]
struct Shape {
    model: String,
    messages: Vec<serde::de::IgnoredAny>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_tokens: Option<serde_json::Number>,
    #[serde(default)]
    max_completion_tokens: Option<serde_json::Number>,
    #[serde(default)]
    n: Option<serde_json::Number>,
}

impl ChatRequest {
    /// Reads a body. Members not named here pass through unread: the enclave judges them.
    pub fn read(body: &[u8]) -> Result<ChatRequest, RequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { got_bytes: body.len() });
        }
        let shape: Shape = serde_json::from_slice(body)
            .map_err(|e| RequestError::Malformed { reason: reason_without_content(&e) })?;
        if shape.messages.len() > MAX_MESSAGES {
            return Err(RequestError::TooManyMessages { got: shape.messages.len() });
        }
        if shape.model.is_empty() || shape.model.len() > MAX_MODEL_NAME_BYTES {
            return Err(RequestError::ModelName);
        }
        let most = count("max_completion_tokens", shape.max_completion_tokens.as_ref())?;
        let max_tokens = count("max_tokens", shape.max_tokens.as_ref())?;
        let choices = count("n", shape.n.as_ref())?.unwrap_or(1).max(1);
        Ok(ChatRequest {
            body: body.to_vec(),
            model: shape.model,
            stream: shape.stream.unwrap_or(false),
            max_output: most.or(max_tokens).map(|each| TokenCount(each.saturating_mul(choices))),
            message_count: shape.messages.len(),
            text_count: None,
        })
    }

    /// Reads a request for embeddings. Members not named here pass through unread.
    pub fn read_embeddings(body: &[u8]) -> Result<ChatRequest, RequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { got_bytes: body.len() });
        }
        let shape: EmbeddingShape = serde_json::from_slice(body)
            .map_err(|e| RequestError::Malformed { reason: reason_without_content(&e) })?;
        if shape.model.is_empty() || shape.model.len() > MAX_MODEL_NAME_BYTES {
            return Err(RequestError::ModelName);
        }
        Ok(ChatRequest {
            body: body.to_vec(),
            model: shape.model,
            stream: false,
            max_output: Some(TokenCount(0)),
            message_count: 0,
            text_count: Some(shape.input.count()),
        })
    }

    /// Path of the inner request.
    pub fn path(&self) -> &'static str {
        if self.text_count.is_some() { PATH_EMBEDDINGS } else { PATH_CHAT }
    }

    /// How many texts are to be embedded; `None` for a chat.
    pub fn text_count(&self) -> Option<usize> {
        self.text_count
    }

    /// The bytes as written by the caller.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The model asked for.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the answer is wanted as server-sent events.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// `max_completion_tokens`, else `max_tokens`, for all choices (`n`) together.
    pub fn max_output(&self) -> Option<TokenCount> {
        self.max_output
    }

    /// How many messages.
    pub fn message_count(&self) -> usize {
        self.message_count
    }
}

/// A number from 0 on; that 0 is too few is the enclave's to say.
fn count(
    param: &'static str,
    number: Option<&serde_json::Number>,
) -> Result<Option<u64>, RequestError> {
    match number.map(serde_json::Number::as_u64) {
        None => Ok(None),
        Some(Some(count)) => Ok(Some(count)),
        Some(None) => Err(RequestError::Count { param }),
    }
}

/// Where and what is wrong, without quoting the value: serde quotes what it finds, and what it
/// finds here is a prompt.
fn reason_without_content(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = match error.classify() {
        serde_json::error::Category::Data if text.starts_with("missing field") => {
            return text;
        }
        serde_json::error::Category::Data => "a member of the wrong type",
        serde_json::error::Category::Eof => "it ends too early",
        _ => "not JSON",
    };
    format!("{what} at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_an_order_needs_and_keeps_the_bytes() {
        let body = br#"{ "model":"m", "messages":[{},{}], "stream":true, "max_tokens":9,
            "max_completion_tokens":4, "temperature":0 }"#;
        let request = ChatRequest::read(body).unwrap();
        assert_eq!(request.body(), body);
        assert_eq!((request.model(), request.message_count()), ("m", 2));
        assert!(request.is_stream());
        assert_eq!(request.max_output(), Some(TokenCount(4)));
        let several = br#"{"model":"m","messages":[],"max_tokens":9,"n":3}"#;
        assert_eq!(ChatRequest::read(several).unwrap().max_output(), Some(TokenCount(27)));
    }

    #[test]
    fn refuses_what_cannot_be_ordered() {
        let read = |body: &str| ChatRequest::read(body.as_bytes()).err().unwrap();
        assert!(matches!(read("{}"), RequestError::Malformed { .. }));
        assert!(matches!(read(r#"{"model":7,"messages":[]}"#), RequestError::Malformed { .. }));
        assert_eq!(read(r#"{"model":"","messages":[]}"#), RequestError::ModelName);
        for param in ["max_tokens", "max_completion_tokens", "n"] {
            for number in ["-1", "1.5"] {
                let error = read(&format!(r#"{{"model":"m","messages":[],"{param}":{number}}}"#));
                assert_eq!((error.param(), error), (Some(param), RequestError::Count { param }));
            }
        }
        let long = format!(r#"{{"model":"m","messages":[{}]}}"#, vec!["1"; 10_001].join(","));
        assert_eq!(read(&long), RequestError::TooManyMessages { got: 10_001 });
        let big = " ".repeat(MAX_REQUEST_BYTES + 1);
        assert_eq!(read(&big), RequestError::TooLong { got_bytes: MAX_REQUEST_BYTES + 1 });
    }

    #[test]
    fn embeddings_have_texts_and_no_answer_tokens() {
        for (input, texts) in [(r#""a""#, 1), ("[1,2,3]", 1), (r#"["a","b"]"#, 2), ("[[1],[2]]", 2)]
        {
            let body = format!(r#"{{"model":"m","input":{input},"user":"x"}}"#);
            let request = ChatRequest::read_embeddings(body.as_bytes()).unwrap();
            assert_eq!((request.path(), request.text_count()), (PATH_EMBEDDINGS, Some(texts)));
            assert_eq!(
                (request.body(), request.max_output()),
                (body.as_bytes(), Some(TokenCount(0)))
            );
        }
        let read = |body: &str| ChatRequest::read_embeddings(body.as_bytes()).err().unwrap();
        assert!(matches!(read(r#"{"model":"m"}"#), RequestError::Malformed { .. }));
        assert_eq!(read(r#"{"model":"","input":"a"}"#), RequestError::ModelName);
        let error = read(r#"{"model":"m","input":{"canary":1}}"#).to_string();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn an_error_never_repeats_the_content() {
        let body = br#"{"model":"m","messages":"canary-secret"}"#;
        let error = ChatRequest::read(body).err().unwrap().to_string();
        assert!(!error.contains("canary"), "{error}");
    }
}
