//! Answers that are JSON of a schema: which tokens may come next.

use std::sync::OnceLock;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory, token_bytes_from_tokenizer_json};
use serde_json::{Value, json};

/// Longest JSON schema, in bytes (ours: compiling one costs time of everybody).
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Symbols of a compiled schema (ours; a megabyte or so).
const MAX_GRAMMAR_SYMBOLS: usize = 100_000;
/// States of its lexer (ours; 1 to 2 kB each).
const MAX_LEXER_STATES: usize = 20_000;
/// White space between the parts of JSON, as a pattern: bounded, or a model might never stop.
const WHITE_SPACE: &str = r"[\x20\x0A]{1,32}";

/// Why an answer cannot be kept to a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrammarError {
    /// Longer than [`MAX_SCHEMA_BYTES`].
    #[error("the schema has {got_bytes} bytes, at most {MAX_SCHEMA_BYTES} are accepted")]
    TooLong {
        /// Its length.
        got_bytes: usize,
    },
    /// No JSON, no schema, or one that uses what is not supported.
    #[error("the schema cannot be used: {reason}")]
    Schema {
        /// What is wrong, in the schema's own words.
        reason: String,
    },
    /// The tokenizer does not say which bytes its tokens are.
    #[error("this model's answers cannot be kept to a schema: {reason}")]
    Tokenizer {
        /// Why.
        reason: String,
    },
}

/// What grammars need to know of a model.
pub(crate) struct Vocabulary<'a> {
    /// As tokenizer.json.
    pub tokenizer: Value,
    /// Ascending.
    pub stop_tokens: &'a [u32],
}

/// Compiles schemas for one model. What all schemas share is made with the first.
#[derive(Default)]
pub(crate) struct Grammars {
    factory: OnceLock<Result<ParserFactory, GrammarError>>,
}

impl Grammars {
    /// The grammar of a schema, at its start.
    pub fn of_schema<'a>(
        &self,
        schema: &str,
        vocabulary: impl FnOnce() -> Vocabulary<'a>,
    ) -> Result<Grammar, GrammarError> {
        if schema.len() > MAX_SCHEMA_BYTES {
            return Err(GrammarError::TooLong { got_bytes: schema.len() });
        }
        let refused = |reason: String| GrammarError::Schema { reason };
        let mut schema: Value =
            serde_json::from_str(schema).map_err(|error| refused(error.to_string()))?;
        let Some(members) = schema.as_object_mut() else {
            return Err(refused("it is no object".into()));
        };
        // Ours, whatever stood there.
        members.insert("x-guidance".into(), json!({"whitespace_pattern": WHITE_SPACE}));
        let factory = self.factory.get_or_init(|| factory(&vocabulary()));
        let factory = factory.as_ref().map_err(GrammarError::clone)?;
        let grammar = TopLevelGrammar::from_json_schema(schema);
        let matcher = Matcher::new(factory.create_parser(grammar));
        match matcher.get_error() {
            Some(error) => Err(refused(error.chars().take(300).collect())),
            None => Ok(Grammar { matcher }),
        }
    }
}

fn factory(vocabulary: &Vocabulary<'_>) -> Result<ParserFactory, GrammarError> {
    let refused = |reason: String| GrammarError::Tokenizer { reason };
    let words = token_bytes_from_tokenizer_json(&vocabulary.tokenizer)
        .map_err(|e| refused(e.to_string()))?;
    let Some(stop) = vocabulary.stop_tokens.first() else {
        return Err(GrammarError::Tokenizer { reason: "it has no stop token".into() });
    };
    let info = TokRxInfo::new(words.len() as u32, *stop);
    let trie = TokTrie::from(&info, &words).with_eos_tokens(vocabulary.stop_tokens);
    let tokens: TokEnv = std::sync::Arc::new(ApproximateTokEnv::new(trie));
    let capabilities = InferenceCapabilities::default();
    let slices = llguidance::earley::SlicedBiasComputer::json_slices();
    let mut factory =
        ParserFactory::new(&tokens, capabilities, &slices).map_err(|e| refused(e.to_string()))?;
    factory.quiet();
    *factory.limits_mut() = ParserLimits {
        max_grammar_size: MAX_GRAMMAR_SYMBOLS,
        max_lexer_states: MAX_LEXER_STATES,
        verbose_errors: false,
        ..ParserLimits::default()
    };
    Ok(factory)
}

/// Follows one answer.
pub(crate) struct Grammar {
    matcher: Matcher,
}

impl Grammar {
    /// The tokens that may come next, a bit each. The error is for the operator and has no content.
    pub fn allowed(&mut self) -> Result<Vec<u32>, String> {
        let failed = |_| "the answer cannot go on within its schema".to_owned();
        Ok(self.matcher.compute_mask_or_eos().map_err(failed)?.as_slice().to_vec())
    }

    /// Goes on behind `token`.
    pub fn take(&mut self, token: u32) -> Result<(), String> {
        self.matcher.consume_token(token).map_err(|_| "the answer left its schema".to_owned())
    }

    /// Whether nothing can follow.
    pub fn is_complete(&self) -> bool {
        self.matcher.is_stopped()
    }
}
