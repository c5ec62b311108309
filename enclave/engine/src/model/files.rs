//! Reads the files of a model folder, each once: what is hashed is what is parsed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::error::LoadError;
use crate::manifest::{FileRole, ManifestFile};

/// Bytes of any JSON or template file but the tokenizer. Real ones have kilobytes.
const MAX_TEXT_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of tokenizer.json. The largest vocabularies in use make about 35 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes of one safetensors file. Hugging Face shards at 5 GB, some hand-made files have more.
const MAX_WEIGHTS_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Read and hashed at a time, in bytes; also how often progress is told.
const READ_BYTES: usize = 4 * 1024 * 1024;

/// How far loading has come, in bytes of weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProgress {
    /// The file being read.
    pub file: String,
    /// Weights read so far, over all files.
    pub done_bytes: u64,
    /// All weights.
    pub total_bytes: u64,
}

/// The model's folder, and what was read from it.
pub(super) struct Folder<'a> {
    path: PathBuf,
    read: Vec<ManifestFile>,
    progress: &'a mut dyn FnMut(LoadProgress),
    done_bytes: u64,
    total_bytes: u64,
}

impl<'a> Folder<'a> {
    pub fn open(path: &Path, progress: &'a mut dyn FnMut(LoadProgress)) -> Result<Self, LoadError> {
        let shown = || path.display().to_string();
        if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf")) {
            return Err(LoadError::Gguf { path: shown() });
        }
        match path.canonicalize() {
            Ok(whole) if whole.is_dir() => Ok(Folder {
                path: whole,
                read: Vec::new(),
                progress,
                done_bytes: 0,
                total_bytes: 0,
            }),
            _ => Err(LoadError::NotAFolder { path: shown() }),
        }
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Whether a file is there.
    pub fn has(&self, file: &str) -> bool {
        self.path.join(file).is_file()
    }

    /// Tells how many bytes of weights are to come, for progress.
    pub fn expect_weights(&mut self, files: &[String]) {
        let bytes = |file: &String| self.path.join(file).metadata().map_or(0, |data| data.len());
        self.total_bytes = files.iter().map(bytes).sum();
    }

    /// The bytes of a file that every model has.
    pub fn require(&mut self, file: &str, role: FileRole) -> Result<Vec<u8>, LoadError> {
        self.optional(file, role)?.ok_or_else(|| LoadError::MissingFile { file: file.into() })
    }

    /// The bytes of a file; `None` where there is none.
    pub fn optional(&mut self, file: &str, role: FileRole) -> Result<Option<Vec<u8>>, LoadError> {
        if !self.has(file) {
            return Ok(None);
        }
        let refused = |error: std::io::Error| LoadError::Read {
            file: file.into(),
            reason: error.to_string(),
        };
        let mut open = File::open(self.path.join(file)).map_err(refused)?;
        let expected = open.metadata().map_err(refused)?.len();
        let limit = limit_bytes(role);
        if expected > limit {
            return Err(LoadError::FileTooLarge { file: file.into(), limit, got: expected });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
        let mut hash = Context::new(&SHA256);
        loop {
            let from = bytes.len();
            let got =
                (&mut open).take(READ_BYTES as u64).read_to_end(&mut bytes).map_err(refused)?;
            if got == 0 {
                break;
            }
            hash.update(&bytes[from..]);
            if bytes.len() as u64 > limit {
                return Err(LoadError::FileTooLarge {
                    file: file.into(),
                    limit,
                    got: bytes.len() as u64,
                });
            }
            if role == FileRole::Weights {
                self.tell(file, got as u64);
            }
        }
        self.read.push(ManifestFile {
            bytes: bytes.len() as u64,
            name: file.into(),
            role,
            sha256: data_encoding::HEXLOWER.encode(hash.finish().as_ref()),
        });
        Ok(Some(bytes))
    }

    /// What was read, for the manifest.
    pub fn into_files(self) -> Vec<ManifestFile> {
        self.read
    }

    fn tell(&mut self, file: &str, bytes: u64) {
        self.done_bytes += bytes;
        (self.progress)(LoadProgress {
            file: file.into(),
            done_bytes: self.done_bytes,
            total_bytes: self.total_bytes,
        });
    }
}

fn limit_bytes(role: FileRole) -> u64 {
    match role {
        FileRole::Weights => MAX_WEIGHTS_BYTES,
        FileRole::Tokenizer => MAX_TOKENIZER_BYTES,
        _ => MAX_TEXT_BYTES,
    }
}

/// Parses a JSON file.
pub(super) fn json<T: serde::de::DeserializeOwned>(
    file: &str,
    bytes: &[u8],
) -> Result<T, LoadError> {
    serde_json::from_slice(bytes)
        .map_err(|error| LoadError::Json { file: file.into(), reason: error.to_string() })
}
