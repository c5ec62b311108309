//! GGUF files (specification: ggml's docs/gguf.md, versions 2 and 3): metadata, a table of tensors
//! and their values, all in one file. Little-endian files only.

mod config;
mod encoder;
mod metadata;
mod names;
mod pre;
mod table;
mod vocabulary;

use std::collections::BTreeMap;
use std::path::Path;

use super::config::Config;
use super::error::LoadError;
use super::files::{Bytes, Folder, LoadProgress};
use super::template::ChatTemplate;
use super::tensors::{Raw, Tensors};
use super::tokenizer::TextCodec;
use super::{AnyParts, LoadOptions, Parts};
use crate::manifest::FileRole;
use metadata::Metadata;
use table::{Entry, read_table};

/// Metadata entries of a file. Real ones have a few dozen.
const MAX_ENTRIES: u64 = 10_000;
/// Tensors of a file. The largest models have a few thousand.
const MAX_TENSORS: u64 = 100_000;

/// The key that names the family.
const ARCHITECTURE: &str = "general.architecture";

/// What stands before the values of the tensors.
struct Header {
    metadata: Metadata,
    /// In the order their values lie in the file.
    tensors: Vec<Entry>,
}

/// Reads the model in the file at `path`.
pub(super) fn read(
    path: &Path,
    options: LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<AnyParts, LoadError> {
    let (mut folder, file) = Folder::around(path, progress)?;
    folder.expect_weights(std::slice::from_ref(&file));
    let Some(mut stream) = folder.stream(&file, FileRole::Weights)? else {
        return Err(LoadError::MissingFile { file });
    };
    let Header { metadata, tensors } = Header::read(&mut stream)?;
    if metadata.text(ARCHITECTURE)? == Some(encoder::ARCHITECTURE) {
        let read = encoder::read(&metadata, tensors, stream, options)?;
        let (name, files) = (folder.name(), folder.into_files());
        return Ok(AnyParts::Encoder(Box::new(read.named(name, files))));
    }
    // What the header says has to make sense before gigabytes are read.
    let mut config = config::config(&metadata, &tensors)?;
    let vocabulary = vocabulary::read(&metadata)?;
    let codec = TextCodec::new(vocabulary.tokenizer, config.shape.vocab)?;
    let template = ChatTemplate::new(vocabulary.template, vocabulary.named)?;
    let stops = vocabulary.stops;
    let mut kept = Tensors::new(options);
    for entry in tensors {
        skip(&mut stream, entry.from)?;
        let bytes = stream.take(entry.to - entry.from)?;
        let raw = Raw { stored: entry.stored, dims: entry.dims, bytes };
        keep(&mut config, &mut kept, &entry.name, raw)?;
    }
    stream.finish()?;
    let (name, files) = (folder.name(), folder.into_files());
    Ok(AnyParts::Decoder(Parts { config, codec, template, stops, tensors: kept, name, files }))
}

/// Adds a tensor under the name that Hugging Face has for it.
fn keep(
    config: &mut Config,
    kept: &mut Tensors,
    name: &str,
    mut raw: Raw,
) -> Result<(), LoadError> {
    if name == names::ROPE_FACTORS {
        return config::add_rope_factors(config, &raw);
    }
    let Some((ours, part)) = names::hugging_face(name) else {
        return Err(LoadError::UnknownTensor { name: name.into() });
    };
    if config.interleaved_rope {
        let heads = match part {
            "attn_q" => config.shape.heads,
            "attn_k" => config.shape.kv_heads,
            _ => 1,
        };
        if heads > 1 || part == "attn_q" || part == "attn_k" {
            raw.bytes = halves(&raw, heads);
        }
    }
    // One row, which the converter writes without its outer dimension.
    if part == "ffn_gate_inp_shexp" && raw.dims.len() == 1 {
        raw.dims.insert(0, 1);
    }
    let twice = || LoadError::Gguf { reason: format!("tensor {name} is there twice") };
    if !ours.contains('*') {
        return if kept.add(ours, raw) { Ok(()) } else { Err(twice()) };
    }
    let [experts, rows, width] = raw.dims[..] else {
        let (name, got) = (name.to_owned(), raw.dims);
        let count = config.shape.experts.as_ref().map_or(0, |experts| experts.count);
        return Err(LoadError::TensorShape { name, expected: vec![count], got });
    };
    if config.shape.experts.as_ref().is_none_or(|ours| ours.count != experts) {
        return Err(LoadError::UnknownTensor { name: name.into() });
    }
    for (at, bytes) in raw.bytes.chunks_exact(raw.bytes.len() / experts).enumerate() {
        let one = Raw { stored: raw.stored, dims: vec![rows, width], bytes: bytes.to_vec() };
        if !kept.add(ours.replace('*', &at.to_string()), one) {
            return Err(twice());
        }
    }
    Ok(())
}

/// Llama files rotate neighbouring rows of a head together, Hugging Face rows half a head apart: of
/// each head row `2i` goes to `i`, row `2i + 1` to `half + i`. A shape that does not divide stays
/// as it is; it is refused later.
fn halves(raw: &Raw, heads: usize) -> Vec<u8> {
    let rows = raw.dims.first().copied().unwrap_or(0);
    let (head, row) = (rows / heads, raw.bytes.len() / rows.max(1));
    if head * heads != rows || head % 2 != 0 || row * rows != raw.bytes.len() || row == 0 {
        return raw.bytes.clone();
    }
    let mut sorted = Vec::with_capacity(raw.bytes.len());
    for head in raw.bytes.chunks_exact(head * row) {
        for first in [0, 1] {
            head.chunks_exact(row).skip(first).step_by(2).for_each(|row| sorted.extend(row));
        }
    }
    sorted
}

fn skip(bytes: &mut impl Bytes, to: u64) -> Result<(), LoadError> {
    // Padding between tensors; the table was checked, so it is shorter than an alignment.
    let gap = to.saturating_sub(bytes.position());
    bytes.take(gap).map(drop)
}

impl Header {
    fn read(bytes: &mut impl Bytes) -> Result<Header, LoadError> {
        let malformed = |reason: String| LoadError::Gguf { reason };
        let magic: [u8; 4] = bytes.next()?;
        if &magic != b"GGUF" {
            return Err(malformed("it does not begin with GGUF".into()));
        }
        let version = u32::from_le_bytes(bytes.next()?);
        if !(2..=3).contains(&version) {
            return Err(malformed(format!("version {version} (read are 2 and 3, little-endian)")));
        }
        let (tensors, entries) =
            (u64::from_le_bytes(bytes.next()?), u64::from_le_bytes(bytes.next()?));
        if tensors > MAX_TENSORS || entries > MAX_ENTRIES {
            return Err(malformed(format!(
                "{tensors} tensors and {entries} metadata entries, accepted are {MAX_TENSORS} and \
                 {MAX_ENTRIES}"
            )));
        }
        let metadata = Metadata::read(bytes, entries)?;
        let tensors = read_table(bytes, tensors, &metadata)?;
        Ok(Header { metadata, tensors })
    }
}

/// Metadata or tensors by name.
type Named<T> = BTreeMap<String, T>;
