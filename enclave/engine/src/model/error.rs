//! Everything that can be wrong with a model folder, one variant per check.

/// Why a model did not load. Names files and tensors, which are public.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LoadError {
    /// Nothing there, or not a folder.
    #[error("{path:?} is no folder; name one with config.json, tokenizer.json and safetensors")]
    NotAFolder {
        /// As asked for.
        path: String,
    },
    /// A GGUF file: a later version reads those.
    #[error(
        "{path:?} is a GGUF file, which is not read yet; use the Hugging Face folder of the model"
    )]
    Gguf {
        /// As asked for.
        path: String,
    },
    /// A file that every model has is not there.
    #[error("the model folder lacks {file}; copy the whole folder again")]
    MissingFile {
        /// Its name.
        file: String,
    },
    /// The index names a shard that is not there.
    #[error("the index names shard {file}, which is missing; copy the whole folder again")]
    MissingShard {
        /// Its name.
        file: String,
    },
    /// The operating system refuses to read a file.
    #[error("{file} cannot be read: {reason}")]
    Read {
        /// Its name.
        file: String,
        /// In the words of the operating system.
        reason: String,
    },
    /// A file is larger than anything of its kind.
    #[error("{file} has {got} bytes, at most {limit} are accepted")]
    FileTooLarge {
        /// Its name.
        file: String,
        /// The limit of its kind.
        limit: u64,
        /// Its size.
        got: u64,
    },
    /// A file is not JSON, or not the JSON we expect.
    #[error("{file} does not parse: {reason}")]
    Json {
        /// Its name.
        file: String,
        /// Where and why.
        reason: String,
    },
    /// `architectures` names none we run.
    #[error("architecture {got:?} is unknown; those of Llama, Mistral, Qwen2 and Qwen3 are run")]
    Architecture {
        /// As config.json names it.
        got: String,
    },
    /// config.json lacks a size.
    #[error("config.json lacks {key:?}")]
    ConfigMissing {
        /// The key.
        key: &'static str,
    },
    /// A size in config.json is zero or beyond its limit.
    #[error("config.json says {key} = {got}, accepted is 1 to {limit}")]
    ConfigLimit {
        /// The key.
        key: &'static str,
        /// The named limit.
        limit: u64,
        /// As config.json says.
        got: u64,
    },
    /// A value in config.json contradicts another or makes no sense.
    #[error("config.json says {key} = {got}, expected {expected}")]
    ConfigValue {
        /// The key.
        key: &'static str,
        /// What would be right.
        expected: String,
        /// As config.json says.
        got: String,
    },
    /// The model uses something this engine does not compute; running it would give wrong answers.
    #[error("config.json asks for {feature}, which this engine does not compute")]
    Unsupported {
        /// What it asks for.
        feature: String,
    },
    /// A shard name that is a path, or too many shards.
    #[error("model.safetensors.index.json: {reason}")]
    Index {
        /// What is wrong.
        reason: String,
    },
    /// A safetensors file is truncated or malformed.
    #[error("{file} is no whole safetensors file: {reason}; copy it again")]
    Safetensors {
        /// Its name.
        file: String,
        /// In the words of the parser.
        reason: String,
    },
    /// The architecture needs a tensor that no file has.
    #[error("tensor {name} is missing from the weights")]
    MissingTensor {
        /// Its name.
        name: String,
    },
    /// A tensor the architecture does not know: the model is not what config.json says.
    #[error("tensor {name} has no place in this architecture")]
    UnknownTensor {
        /// Its name.
        name: String,
    },
    /// A tensor's shape is not what config.json implies.
    #[error("tensor {name} has shape {got:?}, config.json implies {expected:?}")]
    TensorShape {
        /// Its name.
        name: String,
        /// By config.json.
        expected: Vec<usize>,
        /// In the file.
        got: Vec<usize>,
    },
    /// A tensor's type is none of bf16, f16, f32.
    #[error("tensor {name} has type {got}, accepted are bf16, f16 and f32")]
    TensorType {
        /// Its name.
        name: String,
        /// In the file.
        got: String,
    },
    /// A weight is not a number or infinite.
    #[error("tensor {name} holds a value that is not a finite number")]
    NotFinite {
        /// Its name.
        name: String,
    },
    /// tokenizer.json does not load.
    #[error("tokenizer.json does not load: {reason}")]
    Tokenizer {
        /// In the words of the parser.
        reason: String,
    },
    /// The tokenizer knows ids the model has no row for.
    #[error(
        "tokenizer.json has token ids up to {highest_id}, config.json a vocabulary of {vocab}; \
         they belong to different models"
    )]
    Vocabulary {
        /// Highest id of the tokenizer.
        highest_id: u32,
        /// `vocab_size`.
        vocab: usize,
    },
    /// A stop token that the vocabulary does not have.
    #[error("stop token {id} is outside the vocabulary of {vocab}")]
    StopToken {
        /// As configured.
        id: u64,
        /// `vocab_size`.
        vocab: usize,
    },
    /// The chat template does not parse.
    #[error("the chat template does not parse: {reason}")]
    Template {
        /// In the words of the parser.
        reason: String,
    },
}
