//! What an answer must look like: text, any JSON object, JSON of a schema.

use bulla_engine::MAX_SCHEMA_BYTES;
use serde::Deserialize;
use serde_json::Value;

use super::ChatError;

/// What the answer must look like.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AnswerFormat {
    /// Anything.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// JSON of this schema.
    Schema(String),
}

#[derive(Deserialize)]
pub(super) struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    json_schema: Option<NamedSchema>,
}

#[derive(Deserialize)]
struct NamedSchema {
    schema: Option<Value>,
}

impl AnswerFormat {
    /// As a JSON schema; `None` for text.
    pub fn schema(&self) -> Option<String> {
        match self {
            AnswerFormat::Text => None,
            AnswerFormat::Json => Some(r#"{"type":"object"}"#.to_owned()),
            AnswerFormat::Schema(schema) => Some(schema.clone()),
        }
    }

    pub(super) fn read(format: Option<ResponseFormat>) -> Result<AnswerFormat, ChatError> {
        let invalid = |message: String| Err(ChatError::invalid("response_format", message));
        let Some(format) = format else { return Ok(AnswerFormat::Text) };
        match format.kind.as_str() {
            "text" => Ok(AnswerFormat::Text),
            "json_object" => Ok(AnswerFormat::Json),
            "json_schema" => match format.json_schema.and_then(|named| named.schema) {
                Some(schema @ Value::Object(_)) => {
                    let schema = schema.to_string();
                    if schema.len() > MAX_SCHEMA_BYTES {
                        return invalid(format!(
                            "the schema has {} bytes, at most {MAX_SCHEMA_BYTES} are accepted",
                            schema.len()
                        ));
                    }
                    Ok(AnswerFormat::Schema(schema))
                }
                _ => invalid("json_schema.schema must be a JSON schema object".into()),
            },
            _ => invalid("type must be text, json_object or json_schema".into()),
        }
    }
}
