//! What a person asks: messages with roles, and the tokens they become.

use std::fmt;
use std::sync::Arc;

/// Messages in one chat. Far above any real conversation; bounds template rendering.
pub const MAX_MESSAGES: usize = 1024;
/// UTF-8 bytes over all messages of one chat. About a million tokens of English.
pub const MAX_CHAT_BYTES: usize = 4 * 1024 * 1024;

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Instructions by the operator of the application.
    System,
    /// The person who asks.
    User,
    /// The model's earlier answers.
    Assistant,
}

impl Role {
    /// The word chat templates and the OpenAI protocol use for this role.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        }
    }

    /// Reads [`Role::as_str`] back; `None` for any other word.
    pub fn parse(word: &str) -> Option<Role> {
        [Role::System, Role::User, Role::Assistant].into_iter().find(|role| role.as_str() == word)
    }
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said. Untrusted: control tokens spelled out in it stay plain text.
    pub content: String,
}

impl ChatMessage {
    /// A message of `role` saying `content`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        ChatMessage { role, content: content.into() }
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
}

impl ChatRequest {
    /// A conversation of one user message.
    pub fn user(content: impl Into<String>) -> Self {
        ChatRequest { messages: vec![ChatMessage::new(Role::User, content)] }
    }

    /// UTF-8 bytes of all messages together.
    pub(crate) fn content_bytes(&self) -> usize {
        self.messages.iter().map(|message| message.content.len()).sum()
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
        let bytes = self.content_bytes();
        if bytes > MAX_CHAT_BYTES {
            return Err(PromptError::TooManyBytes { limit: MAX_CHAT_BYTES, got: bytes });
        }
        Ok(())
    }
}

/// Token ids ready for one particular model. Made by [`crate::Engine::prompt`] or
/// [`crate::Model::prompt`] only, so its length is the input count that gets billed.
#[derive(Clone, PartialEq, Eq)]
pub struct Prompt {
    tokens: Arc<[u32]>,
    manifest_digest: [u8; 32],
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
                Ok(Prompt { tokens: tokens.into(), manifest_digest })
            }
            _ => Err(PromptError::TooManyTokens { context_tokens, got: tokens.len() }),
        }
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
