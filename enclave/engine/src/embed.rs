//! What is asked of an engine that makes vectors of texts, and what it is made of.

use std::fmt;
use std::sync::Arc;

use crate::request::Tenant;

/// Texts of one request. The OpenAI protocol allows as many.
pub const MAX_EMBED_INPUTS: usize = 2048;

/// A text to be embedded, or the tokens of one.
#[derive(Clone, PartialEq, Eq)]
pub enum EmbedInput {
    /// Becomes tokens, with those the model wants around a text.
    Text(String),
    /// Taken as they are.
    Tokens(Vec<u32>),
}

/// Texts as tokens, ready for one particular model. Made by [`crate::Engine::prompt_texts`] only,
/// so its length is the input count that gets billed.
#[derive(Clone, PartialEq, Eq)]
pub struct EmbedPrompt {
    texts: Arc<[Vec<u32>]>,
    manifest_digest: [u8; 32],
}

impl EmbedPrompt {
    /// Texts of 1 to `context_tokens` tokens each.
    pub(crate) fn new(
        texts: Vec<Vec<u32>>,
        manifest_digest: [u8; 32],
        context_tokens: u32,
    ) -> Result<EmbedPrompt, EmbedError> {
        if texts.is_empty() || texts.len() > MAX_EMBED_INPUTS {
            return Err(EmbedError::Count { got: texts.len() });
        }
        for (index, text) in texts.iter().enumerate() {
            match text.len() {
                0 => return Err(EmbedError::Empty { index }),
                got if got > context_tokens as usize => {
                    return Err(EmbedError::Context { index, context_tokens, got });
                }
                _ => {}
            }
        }
        Ok(EmbedPrompt { texts: texts.into(), manifest_digest })
    }

    /// The token ids of each text.
    pub fn texts(&self) -> &[Vec<u32>] {
        &self.texts
    }

    /// Tokens of all texts: the input count of the usage.
    pub fn token_count(&self) -> u32 {
        let count: usize = self.texts.iter().map(Vec::len).sum();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Digest of the manifest of the model whose tokenizer made this.
    pub fn manifest_digest(&self) -> &[u8; 32] {
        &self.manifest_digest
    }
}

impl fmt::Debug for EmbedPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmbedPrompt({} texts, {} tokens)", self.texts.len(), self.token_count())
    }
}

/// One request for the vectors of some texts.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// Made by the same engine.
    pub prompt: EmbedPrompt,
    /// Who is served.
    pub tenant: Tenant,
    /// It ends when so many milliseconds have passed since it was submitted, by the engine's clock.
    pub run_ms: Option<u64>,
}

/// Why texts did not become an [`EmbedPrompt`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The model generates.
    #[error("this model writes answers and makes no embeddings; ask it for a chat completion")]
    Generates,
    /// No text, or too many.
    #[error(
        "{got} texts to embed, accepted are 1 to {MAX_EMBED_INPUTS}; send them in several requests"
    )]
    Count {
        /// In the request.
        got: usize,
    },
    /// A text without tokens.
    #[error("text {index} is empty; leave it out")]
    Empty {
        /// Which, from 0.
        index: usize,
    },
    /// More text than the context could ever hold.
    #[error("text {index} has {got} bytes, at most {limit} are accepted; cut it into parts")]
    Bytes {
        /// Which, from 0.
        index: usize,
        /// The most.
        limit: usize,
        /// In the request.
        got: usize,
    },
    /// A text that the model cannot read at once. It is never cut silently.
    #[error(
        "text {index} has {got} tokens, the model reads {context_tokens} at most; cut it into parts"
    )]
    Context {
        /// Which, from 0.
        index: usize,
        /// The model's context length.
        context_tokens: u32,
        /// Tokens of the text.
        got: usize,
    },
    /// A token that the model does not have.
    #[error("text {index} has token {id}, the model's vocabulary has {vocab}")]
    Vocabulary {
        /// Which text, from 0.
        index: usize,
        /// As asked for.
        id: u32,
        /// Rows of the vocabulary.
        vocab: usize,
    },
    /// The tokenizer failed.
    #[error("the model's tokenizer fails on text {index}: {reason}")]
    Tokenizer {
        /// Which, from 0.
        index: usize,
        /// In its words.
        reason: String,
    },
}
