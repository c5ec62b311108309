//! What the page asks: settings as JSON, and files as the bytes they are.
//!
//! ```text
//! u32, little-endian: length of the head | head: JSON | the files' bytes, one after another
//! ```
//! So a bundle of any size is never copied into a text form first.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Largest request in bytes (ours: WebAssembly addresses 4 GiB, and an audit needs room beside it).
pub const MAX_REQUEST_BYTES: usize = 1 << 30;
/// Most files in one request (ours; a folder of evidence and endorsements has a dozen).
pub const MAX_FILES: usize = 256;

/// A file somebody gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Given<'r> {
    /// Its name: for people, never for judging.
    pub name: &'r str,
    /// What it was given for.
    pub role: Role,
    /// What is in it.
    pub bytes: &'r [u8],
}

/// What a file was given for. Trust is never taken from what is to be judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Evidence, endorsement or audit bundle: found out by content.
    Judged,
    /// The root certificate of a simulated TEE that this person names.
    SimulatedRoot,
    /// A file that names the log's keys and the broker's root key.
    Trust,
}

/// A file in the head.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    name: String,
    role: Role,
    length_bytes: usize,
}

#[derive(Debug, Clone, Deserialize)]
struct Head<S> {
    files: Vec<Entry>,
    settings: S,
}

/// A request, taken apart.
#[derive(Debug, Clone)]
pub struct Request<'r, S> {
    bytes: &'r [u8],
    head: Head<S>,
}

/// Why a request cannot be read: a mistake of the page, not of a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Shorter than it says.
    #[error("the request ends before its head or its files do")]
    Short,
    /// Longer than it says.
    #[error("{left_bytes} bytes follow the last file")]
    Long {
        /// How many.
        left_bytes: usize,
    },
    /// Too many files.
    #[error("at most {MAX_FILES} files at once, got {got}")]
    Files {
        /// How many.
        got: usize,
    },
    /// The head is not the JSON it should be.
    #[error("the settings do not read: {reason}")]
    Head {
        /// What the reader says.
        reason: String,
    },
}

impl<'r, S: DeserializeOwned> Request<'r, S> {
    /// Takes `bytes` apart; every length in it is checked.
    pub fn parse(bytes: &'r [u8]) -> Result<Request<'r, S>, RequestError> {
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or(RequestError::Short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (head, bytes) = rest.split_at_checked(length).ok_or(RequestError::Short)?;
        let head: Head<S> = serde_json::from_slice(head)
            .map_err(|error| RequestError::Head { reason: error.to_string() })?;
        if head.files.len() > MAX_FILES {
            return Err(RequestError::Files { got: head.files.len() });
        }
        let total = head.files.iter().try_fold(0_usize, |sum, f| sum.checked_add(f.length_bytes));
        match total {
            Some(total) if total == bytes.len() => Ok(Request { bytes, head }),
            Some(total) if total < bytes.len() => {
                Err(RequestError::Long { left_bytes: bytes.len() - total })
            }
            _ => Err(RequestError::Short),
        }
    }
}

impl<S> Request<'_, S> {
    /// The settings.
    pub fn settings(&self) -> &S {
        &self.head.settings
    }

    /// Every file, in the order given.
    pub fn files(&self) -> impl Iterator<Item = Given<'_>> {
        let mut rest = self.bytes;
        self.head.files.iter().map_while(move |entry| {
            let (bytes, after) = rest.split_at_checked(entry.length_bytes)?;
            rest = after;
            Some(Given { name: &entry.name, role: entry.role, bytes })
        })
    }

    /// The files given for `role`.
    pub fn given_for(&self, role: Role) -> impl Iterator<Item = Given<'_>> {
        self.files().filter(move |file| file.role == role)
    }
}

/// Writes a request: what `page.js` does, for tests.
#[cfg(test)]
pub(crate) fn written(settings: &serde_json::Value, files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let entries: Vec<_> = files
        .iter()
        .map(|(name, role, bytes)| {
            serde_json::json!({"name": name, "role": role, "length_bytes": bytes.len()})
        })
        .collect();
    let head = serde_json::json!({"files": entries, "settings": settings}).to_string();
    let mut request = (head.len() as u32).to_le_bytes().to_vec();
    request.extend(head.as_bytes());
    files.iter().for_each(|(_, _, bytes)| request.extend(*bytes));
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn files_come_out_as_they_went_in() {
        let files: [(&str, &str, &[u8]); 3] =
            [("a", "judged", b"one"), ("b", "trust", b""), ("c", "simulated-root", b"three")];
        let bytes = written(&json!({"x": 1}), &files);
        let request = Request::<Value>::parse(&bytes).unwrap();
        let got: Vec<_> = request.files().map(|file| (file.name, file.bytes)).collect();
        assert_eq!(got, [("a", &b"one"[..]), ("b", b""), ("c", b"three")]);
        assert_eq!(request.given_for(Role::SimulatedRoot).count(), 1);
        assert_eq!(request.settings()["x"], 1);
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        let bytes = written(&json!({}), &[("a", "judged", b"one")]);
        let parse = |bytes: &[u8]| Request::<Value>::parse(bytes).map(|_| ());
        assert_eq!(parse(&bytes[..bytes.len() - 1]), Err(RequestError::Short));
        assert_eq!(parse(&bytes[..3]), Err(RequestError::Short));
        assert_eq!(parse(&[255, 255, 255, 255, b'{']), Err(RequestError::Short));
        let long = [&bytes[..], b"!"].concat();
        assert_eq!(parse(&long), Err(RequestError::Long { left_bytes: 1 }));
        let many = vec![("a", "judged", &b""[..]); MAX_FILES + 1];
        let many = written(&json!({}), &many);
        assert_eq!(parse(&many), Err(RequestError::Files { got: MAX_FILES + 1 }));
    }
}
