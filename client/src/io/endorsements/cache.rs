//! The cache: a folder with one file per endorsement, named by the SHA-256 of its content. There
//! is no index: what a file is about and how long it is worth keeping is read from its bytes each
//! time, so nothing can disagree with them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bulla_attestation::hash::sha256;
use bulla_wire::ids::Digest;

use crate::endorsements::{Keep, MAX_PIECE_BYTES, Need, Piece};
use crate::io::folder::{Folder, FolderError, read_limited};

/// Most files (ours; a machine needs three to thirty).
const MAX_FILES: usize = 4096;
/// Most bytes of all files together (ours).
const MAX_CACHE_BYTES: u64 = 512 << 20;
/// Name of the folder in the client's.
const FOLDER: &str = "endorsements";

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The file system says no.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Bytes that hold no endorsement.
    #[error("no certificate, revocation list, collateral, manifest or OCSP answer")]
    NoEndorsement,
    /// It is full.
    #[error(
        "the cache is full ({files} files, {bytes} bytes; at most {MAX_FILES} and {MAX_CACHE_BYTES}): run `bulla endorsements prune`"
    )]
    Full {
        /// Files in it.
        files: usize,
        /// Bytes in it.
        bytes: u64,
    },
}

/// An endorsement in the cache.
#[derive(Debug, Clone)]
pub struct Kept {
    /// SHA-256 of its content, and its name.
    pub digest: Digest,
    /// Its content.
    pub bytes: Vec<u8>,
    /// What it says.
    pub piece: Piece,
}

/// What was taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Endorsements whose time is over.
    pub ended: usize,
    /// Files that are no endorsement of that name.
    pub damaged: usize,
    /// What stays.
    pub kept: usize,
}

/// A folder of endorsements.
#[derive(Debug, Clone)]
pub struct Cache {
    path: PathBuf,
}

impl Cache {
    /// The cache in the client's folder, made if it is not there.
    pub fn open(folder: &Folder) -> Result<Cache, CacheError> {
        let path = folder.file(FOLDER);
        Folder::open(&path)?;
        Ok(Cache { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps an endorsement; its name. One that is there already stays as it is.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, CacheError> {
        let digest = sha256(bytes);
        let path = self.path.join(digest.to_string());
        if read_limited(&path, MAX_PIECE_BYTES).is_ok_and(|there| there == bytes) {
            return Ok(digest);
        }
        Piece::read(bytes).ok_or(CacheError::NoEndorsement)?;
        let (files, used) = self.size()?;
        if files >= MAX_FILES || used.saturating_add(bytes.len() as u64) > MAX_CACHE_BYTES {
            return Err(CacheError::Full { files, bytes: used });
        }
        crate::io::folder::write_private(&path, bytes)?;
        Ok(digest)
    }

    /// Everything in it that is what its name says, in the order of names.
    pub fn all(&self) -> Result<Vec<Kept>, CacheError> {
        let names = self.names()?;
        Ok(names.iter().filter_map(|(path, digest)| read(path, (*digest)?)).collect())
    }

    /// What in it meets one of `needs` at the second `now`, those that hold longest first.
    pub fn meeting(&self, needs: &[Need], now: i64) -> Result<Vec<Kept>, CacheError> {
        let is_wanted = |kept: &Kept| needs.iter().any(|need| kept.piece.meets(need, now));
        let mut found: Vec<Kept> = self.all()?.into_iter().filter(is_wanted).collect();
        found.sort_by_key(|kept| (std::cmp::Reverse(kept.piece.keep()), kept.digest));
        Ok(found)
    }

    /// Takes out what is over at `now`, and what is no endorsement.
    pub fn prune(&self, now: i64) -> Result<Pruned, CacheError> {
        let mut pruned = Pruned::default();
        for (path, digest) in self.names()? {
            let kept = digest.and_then(|digest| read(&path, digest));
            match kept.map(|kept| kept.piece.keep().is_on(now)) {
                Some(true) => {
                    pruned.kept += 1;
                    continue;
                }
                Some(false) => pruned.ended += 1,
                None => pruned.damaged += 1,
            }
            std::fs::remove_file(&path)
                .map_err(|source| FolderError::File { path: path.clone(), source })?;
        }
        Ok(pruned)
    }

    /// Files, with the digest that is their name where it is one; folders are not ours.
    fn names(&self) -> Result<Vec<(PathBuf, Option<Digest>)>, CacheError> {
        let failed = |source| FolderError::File { path: self.path.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.is_dir() {
                continue;
            }
            let digest = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            names.push((path, digest));
            if names.len() > 2 * MAX_FILES {
                break;
            }
        }
        names.sort();
        Ok(names)
    }

    fn size(&self) -> Result<(usize, u64), CacheError> {
        let names = self.names()?;
        let mut bytes = 0u64;
        for (path, _) in &names {
            match std::fs::metadata(path) {
                Ok(metadata) => bytes = bytes.saturating_add(metadata.len()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(FolderError::File { path: path.clone(), source }.into());
                }
            }
        }
        Ok((names.len(), bytes))
    }
}

/// The endorsement in a file, if its content is what its name says.
fn read(path: &Path, digest: Digest) -> Option<Kept> {
    let bytes = read_limited(path, MAX_PIECE_BYTES).ok()?;
    if sha256(&bytes) != digest {
        return None;
    }
    let piece = Piece::read(&bytes)?;
    Some(Kept { digest, bytes, piece })
}

impl Kept {
    /// How long it is worth keeping.
    pub fn keep(&self) -> Keep {
        self.piece.keep()
    }
}
