//! What is asked of an engine: a prompt, how to sample, when to stop.

use std::fmt;

use crate::chat::Prompt;
use crate::grammar::GrammarError;
use crate::sampling::Sampling;

/// Stop strings per request. The OpenAI protocol allows 4.
pub const MAX_STOP_STRINGS: usize = 16;
/// UTF-8 bytes per stop string; also bounds how much text an engine may hold back.
pub const MAX_STOP_BYTES: usize = 256;
/// Likeliest tokens whose log probabilities are reported: the OpenAI protocol's bound.
pub const MAX_TOP_LOGPROBS: u8 = 20;

/// Names one running request; chosen by the caller, unique while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Who is served: requests of one tenant wait in order, tenants share by weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TenantId(pub [u8; 32]);

/// Highest weight: a tenant's share is at most so many times another's.
pub const MAX_TENANT_WEIGHT: u32 = 1000;

/// A tenant and its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// Who.
    pub id: TenantId,
    /// 1 to [`MAX_TENANT_WEIGHT`]; twice the weight is twice the service when there is not enough
    /// for all.
    pub weight: u32,
}

impl Default for Tenant {
    /// One tenant of weight 1, for engines that serve one.
    fn default() -> Self {
        Tenant { id: TenantId::default(), weight: 1 }
    }
}

/// Shares the pages of equal prompt starts among all requests of one scope.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    /// Secret of the tenant, or of one request: only requests with the same scope share. Must never
    /// be equal for two tenants.
    pub scope: [u8; 32],
    /// Whether pages stay after the last request that holds them, until the room is needed.
    pub keep: bool,
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefix").field("keep", &self.keep).finish_non_exhaustive()
    }
}

/// One request for one answer.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// Made by the same engine.
    pub prompt: Prompt,
    /// How to choose tokens.
    pub sampling: Sampling,
    /// Most tokens to generate, the stop token included. Prompt and answer together must fit the
    /// context.
    pub max_tokens: u32,
    /// The answer ends before the first of these strings; they are not part of the text.
    pub stop: Vec<String>,
    /// Who is served.
    pub tenant: Tenant,
    /// With whom the prompt's pages are shared; `None`: with nobody.
    pub prefix: Option<Prefix>,
    /// The answer ends when so many milliseconds have passed since it was submitted, by the
    /// engine's clock.
    pub run_ms: Option<u64>,
    /// Report each token's log probability, and those of so many likeliest tokens beside it.
    pub logprobs: Option<u8>,
    /// The answer, after any reasoning the prompt has opened, is JSON of this schema. The scripted
    /// engine keeps to its script.
    pub schema: Option<String>,
}

impl GenerateRequest {
    /// For one answer of at most `max_tokens`, everything else at its default.
    pub fn new(prompt: Prompt, sampling: Sampling, max_tokens: u32) -> GenerateRequest {
        GenerateRequest {
            prompt,
            sampling,
            max_tokens,
            stop: Vec::new(),
            tenant: Tenant::default(),
            prefix: None,
            run_ms: None,
            logprobs: None,
            schema: None,
        }
    }

    /// Checks that need no running engine, only its model's digest and context.
    pub(crate) fn check(
        &self,
        manifest_digest: &[u8; 32],
        context_tokens: u32,
        vocab: usize,
    ) -> Result<(), SubmitError> {
        if self.prompt.manifest_digest() != manifest_digest {
            return Err(SubmitError::ForeignPrompt);
        }
        if self.max_tokens == 0 {
            return Err(SubmitError::NoTokensAsked);
        }
        let prompt_tokens = self.prompt.token_count();
        if u64::from(prompt_tokens) + u64::from(self.max_tokens) > u64::from(context_tokens) {
            return Err(SubmitError::Context {
                context_tokens,
                prompt_tokens,
                max_tokens: self.max_tokens,
            });
        }
        if self.stop.len() > MAX_STOP_STRINGS {
            return Err(SubmitError::StopStrings { limit: MAX_STOP_STRINGS, got: self.stop.len() });
        }
        for stop in &self.stop {
            if stop.is_empty() || stop.len() > MAX_STOP_BYTES {
                return Err(SubmitError::StopBytes { limit: MAX_STOP_BYTES, got: stop.len() });
            }
        }
        if let Some(got) = self.logprobs.filter(|count| *count > MAX_TOP_LOGPROBS) {
            return Err(SubmitError::TopLogprobs { got });
        }
        let mut biased = self.sampling.logit_bias().iter().map(|(id, _)| *id);
        match biased.find(|id| *id as usize >= vocab) {
            Some(id) => Err(SubmitError::LogitBias { id, vocab }),
            None => Ok(()),
        }
    }
}

/// Why an engine did not take a request. Nothing was run, nothing is to be charged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// The id belongs to a request that has not finished.
    #[error("sequence {} is already running; choose another id", id.0)]
    DuplicateId {
        /// As asked for.
        id: SequenceId,
    },
    /// The prompt was made with another model's tokenizer.
    #[error("the prompt was made for another model; make it again with this engine")]
    ForeignPrompt,
    /// `max_tokens` is zero.
    #[error("max_tokens is 0; ask for at least 1")]
    NoTokensAsked,
    /// Prompt and answer do not fit the context.
    #[error(
        "{prompt_tokens} prompt tokens and max_tokens {max_tokens} exceed the context of \
         {context_tokens}; shorten the prompt or ask for less"
    )]
    Context {
        /// The model's context length.
        context_tokens: u32,
        /// Tokens of the prompt.
        prompt_tokens: u32,
        /// As asked for.
        max_tokens: u32,
    },
    /// Too many stop strings.
    #[error("at most {limit} stop strings are accepted, got {got}")]
    StopStrings {
        /// [`MAX_STOP_STRINGS`].
        limit: usize,
        /// As asked for.
        got: usize,
    },
    /// A stop string is empty or too long.
    #[error("a stop string must have 1 to {limit} bytes, got {got}")]
    StopBytes {
        /// [`MAX_STOP_BYTES`].
        limit: usize,
        /// As asked for.
        got: usize,
    },
    /// More likeliest tokens than [`MAX_TOP_LOGPROBS`].
    #[error("top_logprobs must be at most {MAX_TOP_LOGPROBS}, got {got}")]
    TopLogprobs {
        /// As asked for.
        got: u8,
    },
    /// A bias on a token that the model does not have.
    #[error("logit_bias names token {id}, the model's vocabulary has {vocab}")]
    LogitBias {
        /// As asked for.
        id: u32,
        /// Rows of the vocabulary.
        vocab: usize,
    },
    /// Texts to embed for a model that generates.
    #[error("this model writes answers and makes no embeddings; ask it for a chat completion")]
    Generates,
    /// A chat for a model that embeds.
    #[error("this model makes embeddings and writes no answers; ask it for embeddings")]
    Embeds,
    /// The answer cannot be kept to the schema.
    #[error(transparent)]
    Schema(#[from] GrammarError),
    /// The queue is full.
    #[error("the engine's queue of {limit} requests is full; try again later")]
    QueueFull {
        /// Requests that may wait.
        limit: usize,
    },
    /// The tenant has too many requests waiting.
    #[error("{limit} requests of this tenant wait already; try again later")]
    TenantQueueFull {
        /// Requests of one tenant that may wait.
        limit: usize,
    },
    /// The sequence alone would need more cache than the engine owns.
    #[error(
        "the request needs {need} bytes of key-value cache, the engine has {limit}; shorten the \
         prompt or ask for less"
    )]
    CacheBytes {
        /// The engine's whole cache.
        limit: u64,
        /// What prompt and answer would fill.
        need: u64,
    },
}
