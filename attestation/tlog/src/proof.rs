//! Self-contained proofs that a leaf is in a log (C2SP tlog-proof; files end in
//! `.tlog-proof`).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64(any bytes, authenticated by nobody)
//! index 73894
//! base64(hash), one line per hash, from the leaf's sibling up
//!
//! the signed checkpoint, verbatim
//! ```

use std::fmt;

use data_encoding::BASE64;

use crate::checkpoint::{Checkpoint, CheckpointError, OpenError, SignedCheckpoint};
use crate::cosignature::{Cosignature, Quorum, WitnessError};
use crate::hash::Hash;
use crate::note::{MAX_NOTE_BYTES, Note, NoteError, VerifierKey};
use crate::strict;
use crate::tree::{IncludedLeaf, InclusionError, MAX_PROOF_HASHES};

/// Bytes of extra data in a proof; ours.
pub const MAX_EXTRA_BYTES: usize = 64 * 1024;

/// Bytes in a proof file: the longest note, base64 of the extra data, header and hashes.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES;

const HEADER: &str = "c2sp.org/tlog-proof@v1";

/// Why a text is no proof file, or one could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofFormatError {
    /// The file is too long.
    #[error("the proof has {got} bytes, at most {MAX_PROOF_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// Not UTF-8.
    #[error("the proof is not utf-8 (first bad byte at {at})")]
    Utf8 {
        /// Offset in bytes.
        at: usize,
    },
    /// The first line names another format or version.
    #[error("the first line of a proof reads {HEADER}")]
    Header,
    /// The extra line is empty or not base64.
    #[error("the proof's extra data is empty or not standard base64")]
    Extra,
    /// Too much extra data.
    #[error("the extra data has {got} bytes, at most {MAX_EXTRA_BYTES} are allowed")]
    ExtraTooLong {
        /// Bytes found.
        got: usize,
    },
    /// The index line is missing or no decimal without leading zeroes.
    #[error("the proof has no line: index, space, decimal without leading zeroes")]
    Index,
    /// A hash line is not base64 of 32 bytes.
    #[error("hash line {line} is not the base64 of 32 bytes")]
    Hash {
        /// Counted from 1 after the index.
        line: usize,
    },
    /// More hashes than any proof.
    #[error("the proof has more than {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// No empty line parts the hashes from the checkpoint.
    #[error("no empty line parts the proof from its checkpoint")]
    NoSeparator,
    /// The checkpoint is no signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note's text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Why a proof does not convince.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The checkpoint is not the log's.
    #[error(transparent)]
    Checkpoint(#[from] OpenError),
    /// Too few witnesses, or a false one.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// The leaf is not in the checkpointed tree.
    #[error(transparent)]
    Inclusion(#[from] InclusionError),
}

/// What a proof proved. Only verification makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenLeaf {
    leaf: IncludedLeaf,
    checkpoint: SignedCheckpoint,
    cosignatures: Vec<Cosignature>,
}

impl ProvenLeaf {
    /// The leaf and its place.
    pub fn leaf(&self) -> &IncludedLeaf {
        &self.leaf
    }

    /// The checkpoint it is under.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The witnesses of the quorum that cosigned; empty where no quorum was asked for.
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }
}

/// A proof as parsed or made: **nothing is verified yet**.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    extra: Vec<u8>,
    index: u64,
    hashes: Vec<Hash>,
    note: Note,
    claimed: Checkpoint,
}

impl TlogProof {
    /// Makes a proof out of a leaf's index, its inclusion proof in the checkpointed tree,
    /// and the checkpoint. `extra` may be empty; nobody authenticates it.
    ///
    /// # Errors
    /// [`ProofFormatError::TooManyHashes`], [`ProofFormatError::ExtraTooLong`].
    pub fn new(
        index: u64,
        hashes: Vec<Hash>,
        checkpoint: &SignedCheckpoint,
        extra: &[u8],
    ) -> Result<Self, ProofFormatError> {
        if hashes.len() > MAX_PROOF_HASHES {
            return Err(ProofFormatError::TooManyHashes);
        }
        if extra.len() > MAX_EXTRA_BYTES {
            return Err(ProofFormatError::ExtraTooLong { got: extra.len() });
        }
        Ok(Self {
            extra: extra.to_vec(),
            index,
            hashes,
            note: checkpoint.note().clone(),
            claimed: checkpoint.checkpoint().clone(),
        })
    }

    /// Parses a proof file.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofFormatError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ProofFormatError::TooLong { got: bytes.len() });
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|error| ProofFormatError::Utf8 { at: error.valid_up_to() })?;
        // The first empty line ends the proof's own lines; the checkpoint has others.
        let (head, note) = text.split_once("\n\n").ok_or(ProofFormatError::NoSeparator)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(ProofFormatError::Header);
        }
        let extra = match lines.next_if(|line| line.starts_with("extra ")) {
            Some(line) => parse_extra(line)?,
            None => Vec::new(),
        };
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(strict::decimal)
            .ok_or(ProofFormatError::Index)?;
        let note = Note::parse(note.as_bytes())?;
        Ok(Self {
            extra,
            index,
            hashes: parse_hashes(lines)?,
            claimed: Checkpoint::parse(note.text())?,
            note,
        })
    }

    /// The leaf's zero-based index, as claimed.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The inclusion proof, from the leaf's sibling up.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Extra data, which nobody authenticates; empty where there is none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// The checkpoint as claimed, to choose the log's key by its origin.
    pub fn claimed_checkpoint(&self) -> &Checkpoint {
        &self.claimed
    }

    /// Checks the proof for the leaf with this hash: the log's signature, then the
    /// witnesses (where a quorum is asked for), then the inclusion. The key's name is the
    /// log's origin.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn verify(
        &self,
        leaf_hash: Hash,
        log_key: &VerifierKey,
        quorum: Option<&Quorum>,
    ) -> Result<ProvenLeaf, ProofError> {
        let checkpoint = SignedCheckpoint::open_note(self.note.clone(), log_key.name(), log_key)?;
        let cosignatures = match quorum {
            Some(quorum) => quorum.check(&checkpoint)?,
            None => Vec::new(),
        };
        Ok(ProvenLeaf {
            leaf: checkpoint.verify_inclusion(leaf_hash, self.index, &self.hashes)?,
            checkpoint,
            cosignatures,
        })
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, ProofFormatError> {
    let encoded = line.strip_prefix("extra ").unwrap_or_default();
    let extra = BASE64.decode(encoded.as_bytes()).map_err(|_| ProofFormatError::Extra)?;
    match extra.len() {
        0 => Err(ProofFormatError::Extra),
        got if got > MAX_EXTRA_BYTES => Err(ProofFormatError::ExtraTooLong { got }),
        _ => Ok(extra),
    }
}

fn parse_hashes<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<Hash>, ProofFormatError> {
    let mut hashes = Vec::new();
    for (text, line) in lines.zip(1..) {
        if line > MAX_PROOF_HASHES {
            return Err(ProofFormatError::TooManyHashes);
        }
        hashes.push(Hash::from_base64(text).ok_or(ProofFormatError::Hash { line })?);
    }
    Ok(hashes)
}

impl fmt::Display for TlogProof {
    /// The file's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", BASE64.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{hash}")?;
        }
        write!(f, "\n{}", self.note)
    }
}
