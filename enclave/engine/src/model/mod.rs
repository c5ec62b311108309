//! A model as it comes in a Hugging Face folder or a GGUF file: weights, tokenizer, chat template,
//! settings.

mod byte_level;
mod config;
mod eights;
mod embedding;
mod error;
mod files;
mod gguf;
mod huggingface;
mod merges;
mod packed;
mod post_processor;
mod pre;
mod safetensors;
mod stored;
mod template;
mod tensors;
mod tiktoken;
mod tokenizer;
mod whole_json;

use std::path::Path as FilePath;

use bulla_kernels::path::Path;
use bulla_kernels::pool::Pool;
use serde::{Deserialize, Serialize};

pub use config::{
    MAX_CONTEXT, MAX_EXPERTS, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN, MAX_INTERMEDIATE, MAX_LAYERS,
    MAX_VOCAB,
};
pub use embedding::EmbeddingModel;
pub use error::LoadError;
pub use files::LoadProgress;
pub use packed::{PackedCache, PackedFrom};

use crate::chat::{ChatRequest, Prompt, PromptError};
use crate::decoder::{Arena, Decoder, Machine, Room, Span, Step, Wanted, page_bytes, pages_for};
use crate::grammar::{Grammar, GrammarError, Grammars, Vocabulary};
use crate::manifest::{Manifest, ManifestFile, Statement};
use crate::text::Detokenize;
use config::Config;
use embedding::EncoderParts;
use template::ChatTemplate;
use tensors::Tensors;
use tokenizer::TextCodec;

/// Bytes of text that a tokenizer's normaliser may turn into one, at the very most: composing a
/// letter with its accents.
const NORMALISED_BYTES: usize = 4;
/// What models write before and after their reasoning.
const REASONING_OPENS: &str = "<think>";
const REASONING_CLOSES: &str = "</think>";

/// Weights, tokenizer, chat template and settings of one model. Immutable, shared by sequences.
pub struct Model {
    manifest: Manifest,
    context_tokens: u32,
    stop_tokens: Vec<u32>,
    codec: TextCodec,
    template: ChatTemplate,
    decoder: Decoder,
    grammars: Grammars,
    packed_from: PackedFrom,
}

/// What weights become in memory that are stored as floats, or in a way no kernel computes with.
/// Those that are stored quantised stay as they are: more bits would hold nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Quantisation {
    /// As stored.
    #[default]
    #[serde(rename = "none")]
    None,
    /// 8 bits and a 16-bit scale per 32 values, where rows are whole blocks of 32.
    #[serde(rename = "q8_0")]
    Q8_0,
    /// 4 bits and a 16-bit scale per 32 values, where rows are whole blocks of 32.
    #[serde(rename = "q4_0")]
    Q4_0,
}

impl Quantisation {
    /// The name in manifests, in configuration files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Quantisation::None => "none",
            Quantisation::Q8_0 => "q8_0",
            Quantisation::Q4_0 => "q4_0",
        }
    }
}

/// A model by what it is for.
#[allow(clippy::large_enum_variant, reason = "there are a few at a time")]
pub enum AnyModel {
    /// Writes answers.
    Generates(Model),
    /// Makes vectors of texts.
    Embeds(EmbeddingModel),
}

impl AnyModel {
    /// Loads what is at `path`, as [`Model::load_quantised`]; of embedding models BERT's encoders,
    /// with what sentence-transformers says about their vectors.
    pub fn load(
        path: &FilePath,
        options: LoadOptions,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<AnyModel, LoadError> {
        match &options.packed {
            Some(cache) => packed::load(path, &options, cache, progress),
            None => {
                let parts = AnyParts::read(path, Tensors::new(&options), progress)?;
                parts.build(options.quantisation)
            }
        }
    }

    /// Where its packed weights came from.
    pub fn packed_from(&self) -> &PackedFrom {
        match self {
            AnyModel::Generates(model) => &model.packed_from,
            AnyModel::Embeds(model) => &model.packed_from,
        }
    }

    fn packed_from_mut(&mut self) -> &mut PackedFrom {
        match self {
            AnyModel::Generates(model) => &mut model.packed_from,
            AnyModel::Embeds(model) => &mut model.packed_from,
        }
    }
}

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LoadOptions {
    /// What the weights become in memory.
    pub quantisation: Quantisation,
    /// Their memory is never written to a swap device.
    pub locked: bool,
    /// Where packed weights are kept between runs, if anywhere.
    pub packed: Option<PackedCache>,
}

/// What was read of any model.
#[allow(clippy::large_enum_variant, reason = "there are a few at a time")]
enum AnyParts {
    Decoder(Parts),
    Encoder(Box<EncoderParts>),
}

impl AnyParts {
    fn read(
        path: &FilePath,
        tensors: Tensors,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<AnyParts, LoadError> {
        match path.is_file() {
            true => gguf::read(path, tensors, progress),
            false => huggingface::read(path, tensors, progress),
        }
    }

    fn tensors(&mut self) -> &mut Tensors {
        match self {
            AnyParts::Decoder(parts) => &mut parts.tensors,
            AnyParts::Encoder(parts) => &mut parts.tensors,
        }
    }

    /// What packed weights of this model are called.
    fn key(&self, quantisation: Quantisation) -> packed::Key {
        let files = match self {
            AnyParts::Decoder(parts) => &parts.files,
            AnyParts::Encoder(parts) => &parts.files,
        };
        packed::Key::of(files, quantisation)
    }

    fn build(self, quantisation: Quantisation) -> Result<AnyModel, LoadError> {
        match self {
            AnyParts::Decoder(parts) => Model::of(parts, quantisation).map(AnyModel::Generates),
            AnyParts::Encoder(parts) => {
                EmbeddingModel::of(*parts, quantisation).map(AnyModel::Embeds)
            }
        }
    }
}

/// What was read of a model that generates, whatever it came in.
struct Parts {
    config: Config,
    codec: TextCodec,
    template: ChatTemplate,
    /// Tokens that end an answer, not checked yet.
    stops: Vec<u64>,
    tensors: Tensors,
    name: String,
    files: Vec<ManifestFile>,
}

impl Model {
    /// Loads the model at `path`: a GGUF file, or a Hugging Face folder with config.json,
    /// tokenizer.json, safetensors (one file, or shards with their index), and where present
    /// tokenizer_config.json, chat_template.jinja and generation_config.json. Weights stay in memory
    /// as they are stored, f16 becomes f32. `progress` is told about every few megabytes of weights.
    pub fn load(
        path: &FilePath,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Model, LoadError> {
        Model::load_quantised(path, Quantisation::None, progress)
    }

    /// As [`Model::load`], with the weights quantised: those that are stored as floats, or in a way
    /// no kernel computes with. The manifest says so, and has another digest.
    pub fn load_quantised(
        path: &FilePath,
        quantisation: Quantisation,
        progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Model, LoadError> {
        let options = LoadOptions { quantisation, ..LoadOptions::default() };
        match AnyParts::read(path, Tensors::new(&options), progress)? {
            AnyParts::Decoder(parts) => Model::of(parts, quantisation),
            AnyParts::Encoder(_) => Err(LoadError::Unsupported {
                feature: "answers from a model that makes embeddings".into(),
            }),
        }
    }

    fn of(parts: Parts, quantisation: Quantisation) -> Result<Model, LoadError> {
        let Parts { config, codec, template, stops, mut tensors, name, files } = parts;
        let stop_tokens = stop_tokens(stops, &codec, &template, config.shape.vocab)?;
        let stored = tensors.stored();
        let tied = config.shape.tied;
        let decoder = Decoder::build(config.shape, &mut tensors)?;
        // A tied model may still carry its output matrix.
        let packed_from = tensors.finish(&|name| tied && name == "lm_head.weight")?;
        let manifest = Manifest::new(Statement {
            architecture: config.architecture,
            compute: "f32".into(),
            format: Manifest::FORMAT,
            name,
            quantisation: quantisation.name().into(),
            weights: stored,
            files,
        });
        let context_tokens = config.context_tokens;
        let grammars = Grammars::default();
        Ok(Model {
            manifest,
            context_tokens,
            stop_tokens,
            codec,
            template,
            decoder,
            grammars,
            packed_from,
        })
    }

    /// Which model this is, to the byte.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The name of the folder, or of the file without its ending.
    pub fn name(&self) -> &str {
        self.manifest.name()
    }

    /// Prompt and answer together, in tokens.
    pub fn context_tokens(&self) -> u32 {
        self.context_tokens
    }

    /// Tokens that end an answer, ascending: those of generation_config.json (else config.json)
    /// and the tokenizer's own.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop_tokens
    }

    /// Applies the chat template and tokenizes. A control token spelled out in a message stays
    /// text (`tokenizer.rs` says how); one that cannot is refused.
    pub fn prompt(&self, chat: &ChatRequest) -> Result<Prompt, PromptError> {
        chat.check()?;
        self.refuse_hopeless(chat)?;
        let (marked, mark) = self.codec.mark(chat)?;
        let text = self.template.render(&marked)?;
        let prompt = self.own(self.codec.encode_chat(&text, mark)?)?;
        Ok(prompt.opening_reasoning(text.trim_end().ends_with(REASONING_OPENS)))
    }

    /// Refuses a chat that cannot fit the context, before any work is done on it.
    fn refuse_hopeless(&self, chat: &ChatRequest) -> Result<(), PromptError> {
        let context_tokens = self.context_tokens as usize;
        let limit = context_tokens * self.codec.longest_token_bytes() * NORMALISED_BYTES;
        match chat.content_bytes() {
            got if got > limit => Err(PromptError::TooManyBytes { limit, got }),
            _ => Ok(()),
        }
    }

    /// Tokenizes plain text for a model to continue. Control tokens in `text` count as such: this
    /// is for the owner of the model, not for strangers.
    pub fn prompt_text(&self, text: &str) -> Result<Prompt, PromptError> {
        self.own(self.codec.encode_text(text)?)
    }

    fn own(&self, tokens: Vec<u32>) -> Result<Prompt, PromptError> {
        Prompt::new(tokens, self.manifest.digest(), self.context_tokens)
    }

    /// The text of `tokens`, control tokens left out.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, PromptError> {
        self.codec.text(tokens).map_err(PromptError::Tokenizer)
    }

    /// The logits after each of `tokens`, one row of the vocabulary's size per token, computed in
    /// passes of at most `pass_tokens`. This is how the numerics are proven.
    pub fn logits(&self, tokens: &[u32], pass_tokens: usize) -> Result<Vec<Vec<f32>>, LogitsError> {
        let vocab = self.decoder.vocab();
        if let Some(&id) = tokens.iter().find(|&&id| id as usize >= vocab) {
            return Err(LogitsError::Vocabulary { id, vocab });
        }
        let pass_tokens = pass_tokens.clamp(1, tokens.len().max(1));
        let room = Room { rows: pass_tokens, logits: pass_tokens, spans: 1, context: tokens.len() };
        let pool = Pool::new(available_threads());
        let machine = Machine { pool: &pool, path: Path::detect() };
        let needed = pages_for(tokens.len());
        let mut arena =
            Arena::new(self.decoder.shape(), (needed * page_bytes(self.decoder.shape())) as u64);
        let pages: Vec<u32> = (0..needed as u32).collect();
        let mut scratch = self.decoder.scratch(&pool, room);
        let mut rows = Vec::with_capacity(tokens.len());
        for (at, pass) in tokens.chunks(pass_tokens).enumerate() {
            let start = at * pass_tokens;
            let span = Span { tokens: pass, start, pages: &pages, wanted: Wanted::All };
            let step = Step { spans: &[span] };
            let flat = self.decoder.forward(machine, &step, &mut arena, &mut scratch);
            rows.extend(flat.chunks_exact(vocab).map(<[f32]>::to_vec));
        }
        Ok(rows)
    }

    pub(crate) fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// What keeps an answer to JSON of `schema`.
    pub(crate) fn grammar(&self, schema: &str) -> Result<Grammar, GrammarError> {
        self.grammars.of_schema(schema, || Vocabulary {
            tokenizer: self.codec.to_json(),
            stop_tokens: &self.stop_tokens,
        })
    }

    /// The tokens that open and close reasoning, where the vocabulary has them.
    pub(crate) fn reasoning_tokens(&self) -> Option<(u32, u32)> {
        Some((self.codec.id(REASONING_OPENS)?, self.codec.id(REASONING_CLOSES)?))
    }

    pub(crate) fn detokenizer(&self) -> &dyn Detokenize {
        &self.codec
    }
}

/// Why logits were not computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogitsError {
    /// A token id without a row.
    #[error("token {id} is outside the vocabulary of {vocab}")]
    Vocabulary {
        /// As asked for.
        id: u32,
        /// Rows of the vocabulary.
        vocab: usize,
    },
}

/// Every id that ends an answer, checked against the vocabulary: those configured and the
/// tokenizer's own.
fn stop_tokens(
    configured: Vec<u64>,
    codec: &TextCodec,
    template: &ChatTemplate,
    vocab: usize,
) -> Result<Vec<u32>, LoadError> {
    let own = template.eos_token().and_then(|text| codec.id(text)).map(u64::from);
    let mut ids = configured
        .into_iter()
        .chain(own)
        .map(|id| match u32::try_from(id) {
            Ok(small) if (small as usize) < vocab => Ok(small),
            _ => Err(LoadError::StopToken { id, vocab }),
        })
        .collect::<Result<Vec<u32>, LoadError>>()?;
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Threads that make sense here: as many as there are processors.
pub(crate) fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
