//! bulla-engine: tokens in, tokens out.
//!
//! An [`Engine`] is a step machine: it takes requests, and each [`Engine::step`] advances every
//! running sequence by at most one token. It has no clock and no network, and imports nothing of
//! ours, so the enclave drives it from a worker thread and a simulation drives it from a seed.
//!
//! Logs and `Debug` never carry content: prompts and texts print as their sizes.
#![forbid(unsafe_code)]

mod answer;
mod candle;
mod chat;
mod contract;
mod decoder;
mod manifest;
mod model;
mod request;
mod sampler;
pub mod scripted;
mod text;

pub use candle::{CandleEngine, EngineLimits};
pub use chat::{ChatMessage, ChatRequest, MAX_CHAT_BYTES, MAX_MESSAGES, Prompt, PromptError, Role};
pub use contract::{Engine, EngineInfo, Finish, Output, Usage};
pub use manifest::{FileRole, MANIFEST_LABEL, Manifest, ManifestFile};
pub use model::{
    LoadError, LoadProgress, LogitsError, MAX_CONTEXT, MAX_HEAD_DIM, MAX_HEADS, MAX_HIDDEN,
    MAX_INTERMEDIATE, MAX_LAYERS, MAX_VOCAB, Model,
};
pub use request::{
    GenerateRequest, MAX_STOP_BYTES, MAX_STOP_STRINGS, MAX_TEMPERATURE, MAX_TOP_K, Sampling,
    SamplingError, SequenceId, SubmitError,
};
pub use scripted::{Script, ScriptedEngine};
