//! Errors as OpenAI's API writes them.

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
    /// A `400` about the whole body.
    pub fn malformed(message: impl Into<String>) -> ChatError {
        ChatError { status: 400, message: message.into(), param: None, code: None }
    }

    /// A `400` about one parameter.
    pub fn invalid(param: &'static str, message: impl Into<String>) -> ChatError {
        ChatError { param: Some(param), ..ChatError::malformed(message) }
    }

    /// A `400` about something we do not do.
    pub fn unsupported(param: &'static str, advice: &str) -> ChatError {
        let message = format!("`{param}` is not supported here: {advice}");
        ChatError { code: Some("unsupported_parameter"), ..ChatError::invalid(param, message) }
    }

    /// The `404` for a model this enclave does not serve.
    pub fn unknown_model(asked: &str, served: &str) -> ChatError {
        let asked: String = asked.chars().take(128).collect();
        let message =
            format!("the model `{asked}` is not served here; this enclave serves `{served}`");
        let code = Some("model_not_found");
        ChatError { status: 404, code, ..ChatError::invalid("model", message) }
    }

    /// The `400` for a conversation that does not fit.
    pub fn too_long(message: impl Into<String>) -> ChatError {
        ChatError {
            code: Some("context_length_exceeded"),
            ..ChatError::invalid("messages", message)
        }
    }
}
