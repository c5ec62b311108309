//! Messages: what was said, called and answered so far.

use bulla_engine::{ChatMessage, Role};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ChatError;

/// Calls in one message.
const MAX_CALLS: usize = 128;

#[derive(Deserialize)]
pub(super) struct Message {
    role: String,
    content: Option<Content>,
    tool_calls: Option<Vec<Call>>,
    tool_call_id: Option<String>,
    name: Option<String>,
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
struct Call {
    id: String,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: String,
}

/// One message, checked.
pub(super) fn read(message: Message) -> Result<ChatMessage, ChatError> {
    let invalid = |message: &str| ChatError::invalid("messages", message);
    let role = match message.role.as_str() {
        "developer" => Role::System,
        word => Role::parse(word)
            .ok_or_else(|| invalid("role must be system, developer, user, assistant or tool"))?,
    };
    let content = match message.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => joined_text(parts)?,
    };
    let calls = message.tool_calls.unwrap_or_default();
    if calls.len() > MAX_CALLS {
        return Err(invalid(&format!("a message may have at most {MAX_CALLS} tool calls")));
    }
    if !calls.is_empty() && role != Role::Assistant {
        return Err(invalid("only an assistant's message has tool_calls"));
    }
    if message.tool_call_id.is_some() != (role == Role::Tool) {
        return Err(invalid("a tool's message, and no other, has a tool_call_id"));
    }
    Ok(ChatMessage {
        tool_calls: calls.into_iter().map(call).collect(),
        tool_call_id: message.tool_call_id,
        name: message.name,
        ..ChatMessage::new(role, content)
    })
}

/// As chat templates expect it: with the arguments as JSON, which the API carries as text. Text that
/// is no JSON stays text.
fn call(call: Call) -> Value {
    let Function { name, arguments } = call.function;
    let arguments = serde_json::from_str(&arguments).unwrap_or(Value::String(arguments));
    let function = json!({"name": name, "arguments": arguments});
    json!({"id": call.id, "type": "function", "function": function})
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
