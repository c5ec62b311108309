//! What a log sends to a witness (C2SP tlog-witness, add-checkpoint).
//!
//! ```text
//! old 20852014
//! base64(hash), one line per hash of the consistency proof
//!
//! the signed checkpoint
//! ```

use std::fmt;

use crate::checkpoint::SignedCheckpoint;
use crate::hash::Hash;
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};
use crate::strict;
use crate::tree::MAX_PROOF_HASHES;

/// Bytes in a request: the longest note, the old size, 63 lines of 45 bytes.
pub const MAX_SUBMISSION_BYTES: usize = MAX_NOTE_BYTES + 64 * 48;

/// Content type of the answer to a request with another old size: the size, and a newline.
pub const MEDIA_TLOG_SIZE: &str = "text/x.tlog.size";

/// Path of a request below a witness's submission prefix.
pub const PATH_ADD_CHECKPOINT: &str = "/add-checkpoint";

/// Why bytes are no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError {
    /// The request is too long.
    #[error("the request has {got} bytes, at most {MAX_SUBMISSION_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// Not UTF-8.
    #[error("the request is not utf-8 (first bad byte at {at})")]
    Utf8 {
        /// Offset in bytes.
        at: usize,
    },
    /// The first line is not `old`, a space and a decimal without leading zeroes.
    #[error("the request has no line: old, space, decimal without leading zeroes")]
    OldSize,
    /// A hash line is not base64 of 32 bytes.
    #[error("hash line {line} is not the base64 of 32 bytes")]
    Hash {
        /// Counted from 1 after the old size.
        line: usize,
    },
    /// More hashes than any proof.
    #[error("the request has more than {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// No empty line parts the hashes from the checkpoint.
    #[error("no empty line parts the proof from its checkpoint")]
    NoSeparator,
    /// The checkpoint is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// A request as parsed or made: **nothing is verified yet**.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    old_size: u64,
    proof: Vec<Hash>,
    note: Note,
}

impl Submission {
    /// A request to cosign `checkpoint`, for a witness that knows `old_size` leaves.
    ///
    /// # Errors
    /// [`SubmissionError::TooManyHashes`].
    pub fn new(
        old_size: u64,
        proof: Vec<Hash>,
        checkpoint: &SignedCheckpoint,
    ) -> Result<Self, SubmissionError> {
        match proof.len() > MAX_PROOF_HASHES {
            true => Err(SubmissionError::TooManyHashes),
            false => Ok(Self { old_size, proof, note: checkpoint.note().clone() }),
        }
    }

    /// Parses a request.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubmissionError> {
        if bytes.len() > MAX_SUBMISSION_BYTES {
            return Err(SubmissionError::TooLong { got: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| SubmissionError::Utf8 { at: error.valid_up_to() })?;
        let (head, note) = text.split_once("\n\n").ok_or(SubmissionError::NoSeparator)?;
        let mut lines = head.split('\n');
        let old_size = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(strict::decimal)
            .ok_or(SubmissionError::OldSize)?;
        let mut proof = Vec::new();
        for (text, line) in lines.zip(1..) {
            if line > MAX_PROOF_HASHES {
                return Err(SubmissionError::TooManyHashes);
            }
            proof.push(Hash::from_base64(text).ok_or(SubmissionError::Hash { line })?);
        }
        Ok(Self { old_size, proof, note: Note::parse(note.as_bytes())? })
    }

    /// Leaves of the checkpoint that the proof starts from.
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof.
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The note with the checkpoint, as claimed.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The log whose checkpoint this claims to be: the note's first line.
    pub fn claimed_origin(&self) -> &str {
        self.note.text().lines().next().unwrap_or_default()
    }
}

impl fmt::Display for Submission {
    /// The request's body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        for hash in &self.proof {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.note)
    }
}

/// Reads a size as a witness answers it with [`MEDIA_TLOG_SIZE`]: a decimal and a newline.
pub fn parse_size(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.strip_suffix('\n').and_then(strict::decimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Checkpoint, SignerKey};

    fn request() -> Submission {
        let key = SignerKey::from_seed("log.example", &[1; 32]).unwrap();
        let checkpoint = Checkpoint::new("log.example", 3, Hash::leaf(b"root")).unwrap();
        let hashes = vec![Hash::leaf(b"a"), Hash::leaf(b"b")];
        Submission::new(2, hashes, &checkpoint.sign(&key).unwrap()).unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        let request = request();
        let text = request.to_string();
        assert!(text.starts_with("old 2\n"), "{text}");
        assert_eq!(Submission::parse(text.as_bytes()), Ok(request.clone()));
        assert_eq!(request.claimed_origin(), "log.example");
        let key = SignerKey::from_seed("log.example", &[1; 32]).unwrap();
        let empty = Checkpoint::new("log.example", 0, Hash::empty_root()).unwrap();
        let first = Submission::new(0, Vec::new(), &empty.sign(&key).unwrap()).unwrap();
        assert_eq!(Submission::parse(first.to_string().as_bytes()), Ok(first));
    }

    #[test]
    fn refuses_requests_of_another_shape() {
        use SubmissionError as E;
        let good = request().to_string();
        let line = format!("{}\n", Hash::leaf(b"a"));
        let cases = [
            (good.replacen("old 2", "old 02", 1), E::OldSize),
            (good.replacen("old 2", "new 2", 1), E::OldSize),
            (good.replacen("old 2", "old -1", 1), E::OldSize),
            (good.replacen(&line, "AAAA\n", 1), E::Hash { line: 1 }),
            (good.replacen(&line, &line.repeat(63), 1), E::TooManyHashes),
            ("old 0\n".to_owned(), E::NoSeparator),
            ("a".repeat(MAX_SUBMISSION_BYTES + 1), E::TooLong { got: MAX_SUBMISSION_BYTES + 1 }),
        ];
        for (text, expected) in cases {
            assert_eq!(Submission::parse(text.as_bytes()), Err(expected));
        }
        let unsigned = good.split("\n\n").take(2).collect::<Vec<_>>().join("\n\n");
        assert!(matches!(Submission::parse(unsigned.as_bytes()), Err(E::Note(_))));
        assert_eq!(Submission::parse(b"old 0\xff\n\n"), Err(E::Utf8 { at: 5 }));
    }

    #[test]
    fn reads_sizes_written_one_way() {
        assert_eq!(parse_size(b"17\n"), Some(17));
        for bad in [&b"17"[..], b"017\n", b"17\n\n", b" 17\n", b"\n", b""] {
            assert_eq!(parse_size(bad), None);
        }
    }
}
