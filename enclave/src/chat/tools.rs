//! Tools the model may call.

use serde_json::{Value, json};

use super::ChatError;

/// Longest name of a function: the OpenAI protocol's bound.
const MAX_NAME_BYTES: usize = 64;

/// Whether tools may or must be called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// The model sees no tools.
    #[default]
    None,
    /// The model decides.
    Auto,
    /// The answer is a call of one of them.
    Required,
    /// The answer is a call of this one.
    Named(String),
}

impl ToolChoice {
    /// Schema of an answer that is one call of one of `tools`, where it must be one. The call is
    /// written as Llama models do, whatever the model's own way.
    pub fn schema(&self, tools: &[Value]) -> Option<String> {
        let may_be = |tool: &&Value| match self {
            ToolChoice::None | ToolChoice::Auto => false,
            ToolChoice::Required => true,
            ToolChoice::Named(name) => name_of(tool) == Some(name),
        };
        let call = |tool: &Value| {
            let parameters = tool.pointer("/function/parameters").filter(|p| p.is_object());
            let any = json!({"type": "object"});
            json!({
                "type": "object",
                "properties": {
                    "name": {"const": name_of(tool)},
                    "arguments": parameters.unwrap_or(&any),
                },
                "required": ["name", "arguments"],
                "additionalProperties": false,
            })
        };
        let calls: Vec<Value> = tools.iter().filter(may_be).map(call).collect();
        (!calls.is_empty()).then(|| json!({"anyOf": calls}).to_string())
    }

    /// From the request's `tool_choice`; without one tools may be called where there are any.
    pub(super) fn read(
        choice: Option<Value>,
        tools: Option<&[Value]>,
    ) -> Result<ToolChoice, ChatError> {
        let invalid = |message: String| Err(ChatError::invalid("tool_choice", message));
        let tools = tools.unwrap_or_default();
        let choice = match choice {
            None if tools.is_empty() => ToolChoice::None,
            None => ToolChoice::Auto,
            Some(choice) => match (choice.as_str(), choice.pointer("/function/name")) {
                (Some("none"), _) => ToolChoice::None,
                (Some("auto"), _) => ToolChoice::Auto,
                (Some("required"), _) => ToolChoice::Required,
                (None, Some(Value::String(name))) => ToolChoice::Named(name.clone()),
                _ => return invalid("tool_choice is none, auto, required or a function".into()),
            },
        };
        let named = |tool: &Value| match &choice {
            ToolChoice::Named(name) => name_of(tool) == Some(name),
            _ => true,
        };
        match &choice {
            ToolChoice::Required if tools.is_empty() => {
                invalid("there are no tools to call".into())
            }
            ToolChoice::Named(_) if !tools.iter().any(named) => {
                invalid("no tool has the name in tool_choice".into())
            }
            _ => Ok(choice),
        }
    }
}

/// The tools, if each is a function with a good name.
pub(super) fn checked(tools: Vec<Value>) -> Result<Vec<Value>, ChatError> {
    let good = |name: &str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(allowed)
    };
    for tool in &tools {
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            return Err(ChatError::invalid("tools", "a tool must be of type function"));
        }
        if !name_of(tool).is_some_and(good) {
            let message =
                format!("a function's name must be 1 to {MAX_NAME_BYTES} letters, digits, _ and -");
            return Err(ChatError::invalid("tools", message));
        }
        if tool.pointer("/function/parameters").is_some_and(|p| !p.is_object() && !p.is_null()) {
            return Err(ChatError::invalid("tools", "parameters must be a JSON schema object"));
        }
    }
    Ok(tools)
}

/// A tool's name.
pub(crate) fn name_of(tool: &Value) -> Option<&str> {
    tool.pointer("/function/name")?.as_str()
}
