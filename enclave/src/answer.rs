//! The answer as the OpenAI API writes it: one JSON object, or server-sent events.

use bulla_wire::price::TokenUsage;
use bulla_wire::receipt::Outcome;
use serde_json::{Value, json};

use crate::chat::ChatError;

/// Events are padded to multiples of this many bytes with a comment that every SSE reader skips,
/// so that a sealed chunk's size does not tell the length of a token (Whisper Leak).
pub const EVENT_BUCKET_BYTES: usize = 512;

/// Writes the bodies of one answer.
pub struct AnswerShape {
    id: String,
    model: String,
    created_s: u64,
    stream: bool,
    include_usage: bool,
}

impl AnswerShape {
    /// For an answer with that id, from that model.
    pub fn new(
        id: String,
        model: String,
        created_s: u64,
        stream: bool,
        include_usage: bool,
    ) -> Self {
        AnswerShape { id, model, created_s, stream, include_usage }
    }

    /// True for server-sent events.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// Media type of the body.
    pub fn content_type(&self) -> &'static str {
        if self.stream { "text/event-stream" } else { "application/json" }
    }

    /// First event: the role.
    pub fn first_event(&self) -> Vec<u8> {
        self.chunk(json!({"role": "assistant", "content": ""}), None)
    }

    /// An event with text.
    pub fn text_event(&self, text: &str) -> Vec<u8> {
        self.chunk(json!({"content": text}), None)
    }

    /// Last events: finish reason, usage if asked for, and the end mark.
    pub fn last_events(&self, outcome: Outcome, usage: &TokenUsage) -> Vec<u8> {
        let mut out = self.chunk(json!({}), Some(finish_reason(outcome)));
        if self.include_usage {
            let mut object = self.object("chat.completion.chunk");
            object["choices"] = json!([]);
            object["usage"] = usage_object(usage);
            out.extend(event(&object));
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        out
    }

    /// An event that says the answer failed half-way.
    pub fn error_event(&self, message: &str) -> Vec<u8> {
        event(&error_object(message, "server_error", None, None))
    }

    /// The whole answer as one object.
    pub fn whole(&self, text: &str, outcome: Outcome, usage: &TokenUsage) -> Vec<u8> {
        let mut object = self.object("chat.completion");
        object["choices"] = json!([{
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "logprobs": null,
            "finish_reason": finish_reason(outcome),
        }]);
        object["usage"] = usage_object(usage);
        object.to_string().into_bytes()
    }

    fn chunk(&self, delta: Value, finish: Option<&'static str>) -> Vec<u8> {
        let mut object = self.object("chat.completion.chunk");
        object["choices"] =
            json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
        event(&object)
    }

    fn object(&self, kind: &str) -> Value {
        json!({"id": self.id, "object": kind, "created": self.created_s, "model": self.model})
    }
}

/// The error body for a request that cannot be served.
pub fn error_body(error: &ChatError) -> Vec<u8> {
    error_object(&error.message, "invalid_request_error", error.param, error.code)
        .to_string()
        .into_bytes()
}

/// The error body for a fault of ours.
pub fn fault_body(message: &str) -> Vec<u8> {
    error_object(message, "server_error", None, None).to_string().into_bytes()
}

fn error_object(message: &str, kind: &str, param: Option<&str>, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
}

fn finish_reason(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Complete => "stop",
        _ => "length",
    }
}

fn usage_object(usage: &TokenUsage) -> Value {
    json!({
        "prompt_tokens": usage.input.0,
        "completion_tokens": usage.output.0,
        "total_tokens": usage.input.0.saturating_add(usage.output.0),
        "prompt_tokens_details": {"cached_tokens": usage.cached_input.0},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning.0},
    })
}

/// One event, padded with a comment line.
fn event(object: &Value) -> Vec<u8> {
    let mut out = format!("data: {object}\n\n").into_bytes();
    // The shortest comment is ":\n\n".
    let padded = (out.len() + 3).next_multiple_of(EVENT_BUCKET_BYTES);
    let filler = padded - out.len() - 3;
    out.push(b':');
    out.resize(out.len() + filler, b' ');
    out.extend_from_slice(b"\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_short_and_long_tokens_have_one_size() {
        let shape = AnswerShape::new("chatcmpl-1".into(), "m".into(), 0, true, false);
        for text in ["a", "antidisestablishmentarianism", ""] {
            assert_eq!(shape.text_event(text).len(), EVENT_BUCKET_BYTES);
        }
    }
}
