//! The data folder: ledger, keys, certificate. Keys are made at the first start, readable by their
//! owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bulla_attestation::hash::sha256;
use bulla_attestation::sign::SigningKey;
use bulla_tlog::key::KeyError;
use data_encoding::HEXLOWER;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::clock::Entropy;
use super::store::{Place, PostgresPlace};
use crate::config::StoreConfig;
use crate::keys::BrokerKeys;
use crate::ledger::StoreError;

/// Largest key or certificate file, in bytes.
pub const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

const LEDGER: &str = "ledger.sqlite";
const ROOT_KEY: &str = "root.key";
const LOG_KEY: &str = "log.key";
const ORIGIN: &str = "log.origin";

/// Why the data folder cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FolderError {
    /// The system says no.
    #[error("{path:?}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        reason: String,
    },
    /// Others may read a key.
    #[error("{path:?} is readable by others (mode {mode:o}): run chmod 600 on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Not what this program writes.
    #[error("{path:?} does not hold {expected}: restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The origin does not suit a log.
    #[error(transparent)]
    Origin(#[from] KeyError),
}

/// Why it is not known where the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// The file with the URL, or the certificate authority.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The environment variable that should hold the URL.
    #[error("the environment variable {name} is not set: it must hold the database's URL")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The URL, or the way to the database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The data folder.
#[derive(Debug, Clone)]
pub struct DataFolder {
    root: PathBuf,
}

impl DataFolder {
    /// Opens the folder, or makes it.
    pub fn open(root: &Path) -> Result<DataFolder, FolderError> {
        fs::create_dir_all(root).map_err(|e| failed(root, e))?;
        Ok(DataFolder { root: root.to_owned() })
    }

    /// The ledger's file.
    pub fn ledger(&self) -> PathBuf {
        self.root.join(LEDGER)
    }

    /// Where the ledger is kept, as configured.
    pub fn place(&self, store: &StoreConfig) -> Result<Place, PlaceError> {
        let StoreConfig::Postgres { url_file, url_variable, ca } = store else {
            return Ok(Place::Sqlite(self.ledger()));
        };
        let url = match (url_file, url_variable) {
            (Some(file), _) => {
                let text = read_secret(&self.root.join(file))?;
                Zeroizing::new(String::from_utf8_lossy(&text).into_owned())
            }
            (None, Some(name)) => std::env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| PlaceError::NoVariable { name: name.clone() })?,
            (None, None) => Zeroizing::new(String::new()),
        };
        let ca = ca.as_ref().map(|file| read(&self.root.join(file))).transpose()?;
        let place = PostgresPlace::new(&url, ca.as_ref().map(|pem| pem.as_slice()))?;
        Ok(Place::Postgres(Box::new(place)))
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The broker's keys; root key and log key are made at the first start.
    pub fn keys(&self) -> Result<BrokerKeys, FolderError> {
        let mut rng = Entropy::new();
        let root = self.seed(ROOT_KEY, &mut rng)?;
        let log = self.seed(LOG_KEY, &mut rng)?;
        let origin = self.origin(&root)?;
        Ok(BrokerKeys::new(*root, &log, &origin, &mut rng)?)
    }

    /// The log's origin: fixed for ever at the first start, named after the root key.
    fn origin(&self, root_seed: &[u8; 32]) -> Result<String, FolderError> {
        let path = self.file(ORIGIN);
        if !path.exists() {
            let public = SigningKey::from_seed(*root_seed).public();
            let name = sha256(&public.0).to_string();
            let short: String = name.chars().take(16).collect();
            write_new(&path, format!("bulla.invalid/broker/{short}\n").as_bytes(), 0o644)?;
        }
        let text = read(&path)?;
        let text = String::from_utf8(text.to_vec()).map_err(|_| damaged(&path, "an origin"))?;
        Ok(text.trim_end().to_owned())
    }

    fn seed(
        &self,
        name: &str,
        rng: &mut dyn CryptoRng,
    ) -> Result<Zeroizing<[u8; 32]>, FolderError> {
        let path = self.file(name);
        if !path.exists() {
            let mut seed = Zeroizing::new([0u8; 32]);
            rng.fill_bytes(seed.as_mut());
            let text = Zeroizing::new(format!("{}\n", HEXLOWER.encode(seed.as_ref())));
            write_new(&path, text.as_bytes(), 0o600)?;
        }
        let text = read_secret(&path)?;
        let hex = text.strip_suffix(b"\n").unwrap_or(&text);
        let bytes = Zeroizing::new(HEXLOWER.decode(hex).unwrap_or_default());
        let seed = <[u8; 32]>::try_from(bytes.as_slice());
        seed.map(Zeroizing::new).map_err(|_| damaged(&path, "64 hex characters"))
    }
}

fn failed(path: &Path, error: impl std::fmt::Display) -> FolderError {
    FolderError::Io { path: path.to_owned(), reason: error.to_string() }
}

fn damaged(path: &Path, expected: &'static str) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), expected }
}

/// Writes a file that must not exist yet, durably, under a temporary name first.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FolderError> {
    let partial = path.with_extension("partial");
    let write = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&partial)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)?;
        // The name is durable once the folder is.
        match path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    };
    write().map_err(|e: std::io::Error| failed(path, e))
}

/// Reads a file of limited size.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    let length = fs::metadata(path).map_err(|e| failed(path, e))?.len();
    if length > MAX_KEY_FILE_BYTES {
        let reason = format!("has {length} bytes, at most {MAX_KEY_FILE_BYTES} are allowed");
        return Err(failed(path, reason));
    }
    fs::read(path).map(Zeroizing::new).map_err(|e| failed(path, e))
}

/// Reads a file that nobody but its owner may read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FolderError> {
    let mode = fs::metadata(path).map_err(|e| failed(path, e))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FolderError::Exposed { path: path.to_owned(), mode });
    }
    read(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_stay() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temporary.path()).unwrap();
        let (first, second) = (folder.keys().unwrap(), folder.keys().unwrap());
        assert_eq!(first.root_public(), second.root_public());
        assert_eq!(first.log_verifier(), second.log_verifier());
        assert_ne!(first.grant().public(), second.grant().public(), "grant keys are never kept");
    }

    #[test]
    fn refuses_a_key_others_may_read_and_a_damaged_one() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(temporary.path()).unwrap();
        folder.keys().unwrap();
        let path = folder.file(ROOT_KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let got = folder.keys().err();
        assert_eq!(got, Some(FolderError::Exposed { path: path.clone(), mode: 0o644 }));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "abc").unwrap();
        assert!(matches!(folder.keys().err(), Some(FolderError::Damaged { .. })));
    }
}
