//! Hugging Face folders: config.json, tokenizer.json, safetensors and what stands beside them.

use std::path::Path;

use serde::Deserialize;

use super::config::{Config, TokenIds};
use super::error::LoadError;
use super::files::{Folder, LoadProgress, json};
use super::template::ChatTemplate;
use super::tokenizer::TextCodec;
use super::{Parts, Quantisation, safetensors};
use crate::manifest::FileRole;

const GENERATION_CONFIG: &str = "generation_config.json";

#[derive(Deserialize)]
struct GenerationConfig {
    eos_token_id: Option<TokenIds>,
}

/// Reads the folder at `path`.
pub(super) fn read(
    path: &Path,
    quantisation: Quantisation,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<Parts, LoadError> {
    let mut folder = Folder::open(path, progress)?;
    // The small files first: a folder that cannot work fails before gigabytes are read.
    let config = Config::parse(&folder.require("config.json", FileRole::Config)?)?;
    let tokenizer = folder.require("tokenizer.json", FileRole::Tokenizer)?;
    let codec = TextCodec::parse(&tokenizer, config.shape.vocab)?;
    let template = ChatTemplate::read(&mut folder)?;
    let stops = stops(&mut folder, &config)?;
    let tensors = safetensors::read(&mut folder, quantisation)?;
    let (name, files) = (folder.name(), folder.into_files());
    Ok(Parts { config, codec, template, stops, tensors, name, files })
}

/// Tokens that end an answer, by generation_config.json, else config.json.
fn stops(folder: &mut Folder<'_>, config: &Config) -> Result<Vec<u64>, LoadError> {
    let generation = match folder.optional(GENERATION_CONFIG, FileRole::GenerationConfig)? {
        Some(bytes) => json::<GenerationConfig>(GENERATION_CONFIG, &bytes)?.eos_token_id,
        None => None,
    };
    Ok(generation.map_or_else(|| config.stop_tokens.clone(), TokenIds::into_vec))
}
