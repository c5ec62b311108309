//! Policies with what they name beside them: reference-value documents and Rego modules, read from
//! the policy's own folder.

use std::path::{Path, PathBuf};

use bulla_attestation::policy::{MAX_POLICY_BYTES, Policy, PolicyError};

use super::folder::{FolderError, read_limited};

/// Largest file beside a policy, in bytes; their readers have lower limits of their own.
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// A file is missing, too long or not text.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The policy does not hold.
    #[error("{}: {source}", .path.display())]
    Policy {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: PolicyError,
    },
}

/// Reads a policy file and what it names.
pub fn read(path: &Path) -> Result<Policy, RulesError> {
    let policy = Policy::from_toml(&text(path, MAX_POLICY_BYTES)?)
        .map_err(|source| RulesError::Policy { path: path.to_owned(), source })?;
    complete(policy, path.parent().unwrap_or(Path::new("")))
}

/// Gives a policy the files it names in `folder`.
pub fn complete(policy: Policy, folder: &Path) -> Result<Policy, RulesError> {
    let read = |file: &str| read_limited(&folder.join(file), MAX_DOCUMENT_BYTES);
    Ok(policy.complete(read)?)
}

/// A text file.
pub fn text(path: &Path, max_bytes: usize) -> Result<String, FolderError> {
    String::from_utf8(read_limited(path, max_bytes)?)
        .map_err(|_| FolderError::Content { path: path.to_owned(), expected: "text in UTF-8" })
}
