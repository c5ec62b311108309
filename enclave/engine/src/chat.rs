//! What a person asks: messages with roles, and the tokens they become.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

/// Messages in one chat. Far above any real conversation; bounds template rendering.
pub const MAX_MESSAGES: usize = 1024;
/// UTF-8 bytes over all messages of one chat. About a million tokens of English.
pub const MAX_CHAT_BYTES: usize = 4 * 1024 * 1024;
/// Tools described in one chat: the OpenAI protocol's bound.
pub const MAX_TOOLS: usize = 128;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions by the operator of the application.
    System,
    /// The person who asks.
    User,
    /// The model's earlier answers.
    Assistant,
    /// What a tool gave back.
    Tool,
}

impl Role {
    /// The word chat templates and the OpenAI protocol use for this role.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }

    /// Reads [`Role::as_str`] back; `None` for any other word.
    pub fn parse(word: &str) -> Option<Role> {
        let all = [Role::System, Role::User, Role::Assistant, Role::Tool];
        all.into_iter().find(|role| role.as_str() == word)
    }
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said. Untrusted: control tokens spelled out in it stay plain text.
    pub content: String,
    /// Calls the assistant made, as the OpenAI protocol writes them but for their arguments, which
    /// are JSON here. As untrusted as the content.
    pub tool_calls: Vec<Value>,
    /// Which call a tool's message answers.
    pub tool_call_id: Option<String>,
    /// Name of the speaker, or of the tool.
    pub name: Option<String>,
}

impl ChatMessage {
    /// A message of `role` saying `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        let content = content.into();
        ChatMessage { role, content, tool_calls: Vec::new(), tool_call_id: None, name: None }
    }

    /// Bytes of all text in it.
    fn bytes(&self) -> usize {
        let names = self.name.iter().chain(&self.tool_call_id).map(String::len).sum::<usize>();
        self.content.len() + names + self.tool_calls.iter().map(json_bytes).sum::<usize>()
    }
}

impl fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatMessage({}, {} bytes)", self.role.as_str(), self.content.len())
    }
}

/// A conversation that waits for the assistant's next message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatRequest {
    /// Oldest first; never empty in an accepted request.
    pub messages: Vec<ChatMessage>,
    /// Tools the model may call, as the OpenAI protocol describes them. As untrusted as messages.
    pub tools: Vec<Value>,
    /// Whether the model shall reason first, for templates that can be told (`enable_thinking`).
    pub thinking: Option<bool>,
}

impl ChatRequest {
    /// A conversation without tools.
    pub fn new(messages: Vec<ChatMessage>) -> Self {
        ChatRequest { messages, tools: Vec::new(), thinking: None }
    }

    /// A conversation of one user message.
    pub fn user(content: impl Into<String>) -> Self {
        ChatRequest::new(vec![ChatMessage::new(Role::User, content)])
    }

    /// UTF-8 bytes of all messages and tools together.
    pub(crate) fn content_bytes(&self) -> usize {
        let messages = self.messages.iter().map(ChatMessage::bytes).sum::<usize>();
        messages + self.tools.iter().map(json_bytes).sum::<usize>()
    }

    /// Calls `each` for every text in it that a stranger wrote.
    pub(crate) fn each_text<'a>(&'a self, each: &mut dyn FnMut(&'a str)) {
        for message in &self.messages {
            each(&message.content);
            message.name.iter().chain(&message.tool_call_id).for_each(|text| each(text));
            message.tool_calls.iter().for_each(|call| each_json_text(call, each));
        }
        self.tools.iter().for_each(|tool| each_json_text(tool, each));
    }

    /// The same with every text of a stranger changed.
    pub(crate) fn with_texts<E>(
        &self,
        change: &dyn Fn(&str) -> Result<String, E>,
    ) -> Result<ChatRequest, E> {
        let optional = |text: &Option<String>| text.as_deref().map(change).transpose();
        let values = |values: &[Value]| {
            values.iter().map(|value| with_json_texts(value, change)).collect::<Result<_, E>>()
        };
        let message = |message: &ChatMessage| {
            Ok(ChatMessage {
                role: message.role,
                content: change(&message.content)?,
                tool_calls: values(&message.tool_calls)?,
                tool_call_id: optional(&message.tool_call_id)?,
                name: optional(&message.name)?,
            })
        };
        Ok(ChatRequest {
            messages: self.messages.iter().map(message).collect::<Result<_, E>>()?,
            tools: values(&self.tools)?,
            thinking: self.thinking,
        })
    }

    /// The limits that hold for every engine, checked before any template runs.
    pub(crate) fn check(&self) -> Result<(), PromptError> {
        if self.messages.is_empty() {
            return Err(PromptError::NoMessages);
        }
        let messages = self.messages.len();
        if messages > MAX_MESSAGES {
            return Err(PromptError::TooManyMessages { limit: MAX_MESSAGES, got: messages });
        }
        if self.tools.len() > MAX_TOOLS {
            return Err(PromptError::TooManyTools { limit: MAX_TOOLS, got: self.tools.len() });
        }
        let bytes = self.content_bytes();
        if bytes > MAX_CHAT_BYTES {
            return Err(PromptError::TooManyBytes { limit: MAX_CHAT_BYTES, got: bytes });
        }
        Ok(())
    }
}

/// About as many bytes as the value has when it is written.
fn json_bytes(value: &Value) -> usize {
    let mut bytes = 0;
    let mut count = |text: &str| bytes += text.len() + 4;
    each_json_text(value, &mut count);
    bytes
}

/// Calls `each` for every text and name in a value; numbers and the like count as a short text.
fn each_json_text<'a>(value: &'a Value, each: &mut dyn FnMut(&'a str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| each_json_text(item, each)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            each(name);
            each_json_text(value, each);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => each(""),
    }
}

fn with_json_texts<E>(
    value: &Value,
    change: &dyn Fn(&str) -> Result<String, E>,
) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(change(text)?),
        Value::Array(items) => Value::Array(
            items.iter().map(|v| with_json_texts(v, change)).collect::<Result<_, E>>()?,
        ),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                Ok((change(name)?, with_json_texts(value, change)?))
            };
            Value::Object(members.iter().map(member).collect::<Result<_, E>>()?)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Token ids ready for one particular model. Made by [`crate::Engine::prompt`] or
/// [`crate::Model::prompt`] only, so its length is the input count that gets billed.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    tokens: Arc<[u32]>,
    manifest_digest: [u8; 32],
    opens_reasoning: bool,
}

impl Prompt {
    /// Refuses an empty prompt and one that leaves no room for an answer in `context_tokens`.
    pub(crate) fn new(
        tokens: Vec<u32>,
        manifest_digest: [u8; 32],
        context_tokens: u32,
    ) -> Result<Self, PromptError> {
        if tokens.is_empty() {
            return Err(PromptError::NoTokens);
        }
        match u32::try_from(tokens.len()) {
            Ok(count) if count < context_tokens => {
                Ok(Prompt { tokens: tokens.into(), manifest_digest, opens_reasoning: false })
            }
            _ => Err(PromptError::TooManyTokens { context_tokens, got: tokens.len() }),
        }
    }

    /// The same, the template having opened the model's reasoning already.
    pub(crate) fn opening_reasoning(self, opens_reasoning: bool) -> Self {
        Prompt { opens_reasoning, ..self }
    }

    /// Whether the answer begins within the model's reasoning.
    pub fn opens_reasoning(&self) -> bool {
        self.opens_reasoning
    }

    /// The token ids, in order.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many tokens: the input count of the usage.
    pub fn token_count(&self) -> u32 {
        // `new` refuses anything that does not fit.
        self.tokens.len() as u32
    }

    /// Digest of the manifest of the model whose tokenizer made this prompt.
    pub fn manifest_digest(&self) -> &[u8; 32] {
        &self.manifest_digest
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({} tokens)", self.tokens.len())
    }
}

/// Why a chat did not become a prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// The list of messages is empty.
    #[error("the chat has no messages; send at least one")]
    NoMessages,
    /// More messages than [`MAX_MESSAGES`].
    #[error("the chat has {got} messages, at most {limit} are accepted; send fewer")]
    TooManyMessages {
        /// [`MAX_MESSAGES`].
        limit: usize,
        /// Messages in the request.
        got: usize,
    },
    /// More tools than [`MAX_TOOLS`].
    #[error("the chat describes {got} tools, at most {limit} are accepted; send fewer")]
    TooManyTools {
        /// [`MAX_TOOLS`].
        limit: usize,
        /// Tools in the request.
        got: usize,
    },
    /// More text than [`MAX_CHAT_BYTES`], or than the context could ever hold.
    #[error("the chat has {got} bytes of text, at most {limit} are accepted; shorten it")]
    TooManyBytes {
        /// The lower of the two.
        limit: usize,
        /// Bytes in the request.
        got: usize,
    },
    /// Template and tokenizer made nothing of the chat.
    #[error("the chat becomes an empty prompt; say something in it")]
    NoTokens,
    /// The prompt leaves no room for an answer.
    #[error(
        "the prompt has {got} tokens, the model's context is {context_tokens} and one must be \
         left for the answer; shorten it"
    )]
    TooManyTokens {
        /// The model's context length.
        context_tokens: u32,
        /// Tokens in the prompt.
        got: usize,
    },
    /// The model makes embeddings.
    #[error("this model makes embeddings and writes no answers; ask it for embeddings")]
    Embeds,
    /// The model came without a chat template.
    #[error("the model has no chat template; use a chat model, or give it plain text")]
    NoTemplate,
    /// The template refused the chat (for example roles that do not alternate) or broke.
    #[error("the model's chat template refuses the chat: {0}")]
    Template(String),
    /// A message spells a control token in a way that cannot be kept plain text.
    #[error(
        "a message contains the control token {token:?}, which cannot be sent as text; remove it"
    )]
    ControlToken {
        /// The control token's text.
        token: String,
    },
    /// The tokenizer failed on the rendered text.
    #[error("the model's tokenizer fails on the chat: {0}")]
    Tokenizer(String),
}
