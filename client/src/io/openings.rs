//! What opens the commitments of receipts: salt, request and answer, one file per receipt that only
//! its owner can read. Kept for disputes and for running requests again; switched off with
//! `[disputes] keep_openings = false`.

use std::path::PathBuf;

use bulla_wire::evidence::base64_bytes;
use bulla_wire::ids::Digest;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::folder::{Folder, FolderError, read_limited, write_private};
use crate::session::Opening;

/// Largest file, in bytes: request and answer of 4 MiB each, in base64.
const MAX_FILE_BYTES: usize = 12 << 20;

/// The file's form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    salt: Digest,
    #[serde(with = "base64_bytes")]
    request: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<Base64>,
}

#[derive(Serialize, Deserialize)]
struct Base64(#[serde(with = "base64_bytes")] Vec<u8>);

fn path(folder: &Folder, receipt: &Digest) -> PathBuf {
    folder.file("openings").join(format!("{receipt}.json"))
}

/// Keeps an opening under its receipt's digest.
pub fn keep(folder: &Folder, receipt: &Digest, opening: &Opening) -> Result<(), FolderError> {
    // Makes the subfolder, for its owner only.
    Folder::open(&folder.file("openings"))?;
    let kept = Kept {
        salt: Digest(*opening.salt),
        request: opening.request.to_vec(),
        answer: opening.answer.as_ref().map(|answer| Base64(answer.to_vec())),
    };
    let path = path(folder, receipt);
    let failed = |e: serde_json::Error| FolderError::File { path: path.clone(), source: e.into() };
    let bytes = Zeroizing::new(serde_json::to_vec(&kept).map_err(failed)?);
    write_private(&path, &bytes)
}

/// The opening of a receipt; `None` where none was kept.
pub fn find(folder: &Folder, receipt: &Digest) -> Result<Option<Opening>, FolderError> {
    let path = path(folder, receipt);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = Zeroizing::new(read_limited(&path, MAX_FILE_BYTES)?);
    let expected = "the opening of a receipt";
    let kept: Kept = serde_json::from_slice(&bytes)
        .map_err(|_| FolderError::Content { path: path.clone(), expected })?;
    Ok(Some(Opening {
        salt: Zeroizing::new(kept.salt.0),
        request: Zeroizing::new(kept.request),
        answer: kept.answer.map(|answer| Zeroizing::new(answer.0)),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_is_kept_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(&home.path().join("client")).unwrap();
        let opening = Opening {
            salt: Zeroizing::new([7; 32]),
            request: Zeroizing::new(b"asked".to_vec()),
            answer: Some(Zeroizing::new(b"answered".to_vec())),
        };
        let receipt = Digest([1; 32]);
        assert_eq!(find(&folder, &receipt).unwrap(), None);
        keep(&folder, &receipt, &opening).unwrap();
        assert_eq!(find(&folder, &receipt).unwrap(), Some(opening));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(path(&folder, &receipt)), 0o600);
            assert_eq!(mode(folder.file("openings")), 0o700);
        }
        std::fs::write(path(&folder, &receipt), "{}").unwrap();
        assert!(matches!(find(&folder, &receipt), Err(FolderError::Content { .. })));
    }
}
