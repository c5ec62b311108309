//! Orders that stayed without a signed answer, brought to witnesses, and what the witnesses say of
//! them: one file for each order and witness, for the audit.

use std::io::ErrorKind;
use std::path::PathBuf;

use bulla_attestation::hash::{labelled, sha256};
use bulla_attestation::sign::{VerifyError, read};
use bulla_tlog::VerifierKey;
use bulla_wire::http::{MEDIA_COSE, PATH_SHOWN_ORDERS};
use bulla_wire::ids::Digest;
use bulla_wire::labels;
use bulla_wire::showing::{MAX_SHOWING_BYTES, Showing};
use bytes::Bytes;
use hyper::Method;

use super::folder::{Folder, FolderError, read_limited, write_private};
use super::transport::{Transport, TransportError};

/// Most files read: what an audit is given beside its bundle.
const MAX_SHOWINGS: usize = 10_000;

/// What a witness answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It handed the order over: its word, which is kept now.
    Handed(Showing),
    /// It will with its next answer to the log.
    Waits,
}

/// Why a witness's word is not there.
#[derive(Debug, thiserror::Error)]
pub enum ShowError {
    /// The witness cannot be reached, or does not take the order.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Not a showing.
    #[error("{url} answers something else than its word: {source}")]
    Malformed {
        /// The witness.
        url: String,
        /// What is wrong.
        source: VerifyError,
    },
    /// A showing of another order, or for another log.
    #[error("{url} answers about another order or log")]
    Other {
        /// The witness.
        url: String,
    },
    /// The file system.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

/// The folder of what witnesses said.
#[derive(Debug, Clone)]
pub struct Showings {
    path: PathBuf,
}

impl Showings {
    /// Of a client's folder.
    pub fn of(client: &Folder) -> Showings {
        Showings { path: client.file("showings") }
    }

    fn file(&self, order: &Digest, url: &str) -> PathBuf {
        let witness = sha256(url.as_bytes()).to_string();
        self.path.join(format!("{order}-{}.cose", &witness[..8]))
    }

    /// Everything kept.
    pub fn all(&self) -> Result<Vec<Vec<u8>>, FolderError> {
        let failed = |source| FolderError::File { path: self.path.clone(), source };
        let files = match std::fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut paths = Vec::new();
        for file in files.take(MAX_SHOWINGS) {
            paths.push(file.map_err(failed)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|end| end == "cose"));
        paths.sort();
        paths.iter().map(|path| read_limited(path, MAX_SHOWING_BYTES)).collect()
    }

    /// Brings an order of this log to each of the witnesses, as [`Showings::show_one`] does.
    pub async fn show(
        &self,
        witnesses: &[String],
        log: &VerifierKey,
        order: &[u8],
    ) -> Vec<(String, Result<Said, ShowError>)> {
        let mut said = Vec::new();
        for url in witnesses {
            said.push((url.clone(), self.show_one(url, log.name(), order).await));
        }
        said
    }

    /// Brings an order of the log of this origin to a witness, unless its word is kept already. Who
    /// signed is for the audit to judge, under the witnesses its reader names.
    pub async fn show_one(&self, url: &str, origin: &str, order: &[u8]) -> Result<Said, ShowError> {
        let digest = labelled(labels::ORDER, order);
        let file = self.file(&digest, url);
        let about = |bytes: &[u8]| {
            let word = read::<Showing>(bytes);
            let word = word.map_err(|source| ShowError::Malformed { url: url.to_owned(), source });
            let said = word?.value;
            match said.order == digest && said.origin == origin {
                true => Ok(Said::Handed(said)),
                false => Err(ShowError::Other { url: url.to_owned() }),
            }
        };
        if file.exists() {
            return about(&read_limited(&file, MAX_SHOWING_BYTES)?);
        }
        let path = format!("/{}{PATH_SHOWN_ORDERS}", sha256(origin.as_bytes()));
        let (transport, body) = (Transport::to_witness(url)?, Bytes::copy_from_slice(order));
        let asked = transport.ask(Method::POST, &path, &[], body, MAX_SHOWING_BYTES).await;
        let (headers, answer) = asked?;
        let media = headers.get("content-type").and_then(|value| value.to_str().ok());
        if media != Some(MEDIA_COSE) {
            return Ok(Said::Waits);
        }
        let said = about(&answer)?;
        // Makes the subfolder, for its owner only.
        Folder::open(&self.path)?;
        write_private(&file, &answer)?;
        Ok(said)
    }
}
