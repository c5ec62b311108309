//! Policies with what they name beside them: reference-value documents and Rego modules, read from
//! the policy's own folder.

use std::path::{Path, PathBuf};

use bulla_attestation::policy::{MAX_MODULE_BYTES, MAX_POLICY_BYTES, Policy, PolicyError};
use bulla_attestation::reference::ReferenceDocuments;

use super::folder::{FolderError, read_limited};

/// Largest reference-value document, in bytes; the reader has its own, lower limits.
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

/// Gives a policy the files it names in `folder`. The names lead nowhere else: the policy's reader
/// has seen to that.
pub fn complete(policy: Policy, folder: &Path) -> Result<Policy, RulesError> {
    let mut documents = ReferenceDocuments::none();
    for file in policy.reference_values().manifests.iter().flat_map(|named| &named.files) {
        documents.add(file, &read_limited(&folder.join(file), MAX_DOCUMENT_BYTES)?);
    }
    let modules = policy.rego().modules.iter().map(|module| {
        let text = text(&folder.join(&module.file), MAX_MODULE_BYTES)?;
        Ok((module.file.clone(), text))
    });
    let modules = modules.collect::<Result<Vec<_>, FolderError>>()?;
    Ok(policy.with_reference_values(&documents).with_rego(&modules))
}

/// A text file.
pub fn text(path: &Path, max_bytes: usize) -> Result<String, FolderError> {
    String::from_utf8(read_limited(path, max_bytes)?)
        .map_err(|_| FolderError::Content { path: path.to_owned(), expected: "text in UTF-8" })
}
