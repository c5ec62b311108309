//! Checkpoints: a log's signed statement of its size and root (C2SP tlog-checkpoint).
//!
//! ```text
//! broker.example/usage
//! 20852163
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//!
//! — broker.example/usage base64(key id || Ed25519 signature)
//! — witness.example/w1 base64(key id || timestamp || Ed25519 signature)
//! ```

use std::fmt;

use crate::hash::Hash;
use crate::key::MAX_NAME_BYTES;
use crate::note::{Note, NoteError, NoteSignature, NoteVerifyError, SignerKey, VerifierKey};
use crate::strict;
use crate::tree::{IncludedLeaf, InclusionError, MAX_TREE_SIZE, verify_inclusion};

/// Bytes in an origin: what the messages of tlog-cosignature allow it.
pub const MAX_ORIGIN_BYTES: usize = MAX_NAME_BYTES;

/// Extension lines in a checkpoint. tlog-checkpoint advises against any; ours.
pub const MAX_EXTENSION_LINES: usize = 16;

/// Bytes in one extension line; ours.
pub const MAX_EXTENSION_BYTES: usize = 4096;

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines.
    #[error("a checkpoint has an origin, a size and a root line, this one has {got} lines")]
    MissingLine {
        /// Lines found.
        got: usize,
    },
    /// The text does not end in a newline.
    #[error("the checkpoint does not end in a newline")]
    NoFinalNewline,
    /// The origin is empty.
    #[error("the checkpoint's origin is empty")]
    OriginEmpty,
    /// The origin is too long.
    #[error("the checkpoint's origin has {got} bytes, at most {MAX_ORIGIN_BYTES} are allowed")]
    OriginTooLong {
        /// Bytes found.
        got: usize,
    },
    /// The origin or an extension line holds a newline or another control character.
    #[error("a line of the checkpoint holds control character {got:#04x}")]
    ControlCharacter {
        /// The first one.
        got: u8,
    },
    /// The size line is no decimal without leading zeroes.
    #[error("the checkpoint's size is not a decimal without leading zeroes")]
    Size,
    /// More leaves than a tree may have.
    #[error("{got} leaves are more than a tree may have ({MAX_TREE_SIZE})")]
    SizeTooLarge {
        /// Leaves claimed.
        got: u64,
    },
    /// The root line is not base64 of 32 bytes.
    #[error("the checkpoint's root is not the base64 of 32 bytes")]
    Root,
    /// A tree without leaves has one root only, and this is not it.
    #[error("a tree of no leaves has root {expected}, got {got}")]
    EmptyRootMismatch {
        /// SHA-256 of nothing.
        expected: Hash,
        /// The root found.
        got: Hash,
    },
    /// An empty extension line.
    #[error("extension line {line} is empty")]
    ExtensionEmpty {
        /// Counted from 1 after the root.
        line: usize,
    },
    /// An extension line is too long.
    #[error("an extension line has {got} bytes, at most {MAX_EXTENSION_BYTES} are allowed")]
    ExtensionTooLong {
        /// Bytes found.
        got: usize,
    },
    /// Too many extension lines.
    #[error("the checkpoint has more than {MAX_EXTENSION_LINES} extension lines")]
    TooManyExtensions,
}

/// Why a signed checkpoint was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Not a signed note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The log's signature is missing or wrong.
    #[error("checkpoint not signed by the log: {0}")]
    Signature(#[from] NoteVerifyError),
    /// The note's text is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Another log's checkpoint.
    #[error("a checkpoint of {expected:?} is expected, this one is of {got:?}")]
    OriginMismatch {
        /// The origin wanted.
        expected: String,
        /// The origin found.
        got: String,
    },
}

/// What a log states: its origin, its size in leaves and its root. By itself it is only a
/// claim; [`SignedCheckpoint`] is one with the log's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        if origin.is_empty() {
            return Err(CheckpointError::OriginEmpty);
        }
        if origin.len() > MAX_ORIGIN_BYTES {
            return Err(CheckpointError::OriginTooLong { got: origin.len() });
        }
        check_line(origin)?;
        if size > MAX_TREE_SIZE {
            return Err(CheckpointError::SizeTooLarge { got: size });
        }
        let expected = Hash::empty_root();
        if size == 0 && root != expected {
            return Err(CheckpointError::EmptyRootMismatch { expected, got: root });
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions: Vec::new() })
    }

    /// Adds an extension line. No monitor audits those: prefer a leaf.
    ///
    /// # Errors
    /// The variants of [`CheckpointError`] that concern extensions.
    pub fn with_extension(mut self, text: &str) -> Result<Self, CheckpointError> {
        let line = self.extensions.len() + 1;
        if line > MAX_EXTENSION_LINES {
            return Err(CheckpointError::TooManyExtensions);
        }
        if text.is_empty() {
            return Err(CheckpointError::ExtensionEmpty { line });
        }
        if text.len() > MAX_EXTENSION_BYTES {
            return Err(CheckpointError::ExtensionTooLong { got: text.len() });
        }
        check_line(text)?;
        self.extensions.push(text.to_owned());
        Ok(self)
    }

    /// Parses the text of a note: the lines of the checkpoint, without signatures.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::NoFinalNewline)?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next())
        else {
            let got = body.split('\n').count();
            return Err(CheckpointError::MissingLine { got });
        };
        let size = strict::decimal(size).ok_or(CheckpointError::Size)?;
        let root = Hash::from_base64(root).ok_or(CheckpointError::Root)?;
        let checkpoint = Self::new(origin, size, root)?;
        lines.try_fold(checkpoint, |checkpoint, line| checkpoint.with_extension(line))
    }

    /// Which log this is.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Leaves in the log.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root over those leaves.
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The extension lines, which nobody audits.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }

    /// Signs as the log. The key's name is the origin, as tlog-checkpoint advises.
    ///
    /// A log never signs two checkpoints of which neither extends the other: make the
    /// tree durable first.
    ///
    /// # Errors
    /// [`OpenError::OriginMismatch`] where key and checkpoint name two logs.
    pub fn sign(&self, key: &SignerKey) -> Result<SignedCheckpoint, OpenError> {
        check_origin(key.verifier().name(), &self.origin)?;
        Ok(SignedCheckpoint { note: key.sign(&self.to_string())?, checkpoint: self.clone() })
    }
}

impl fmt::Display for Checkpoint {
    /// The note's text, with its final newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root)?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

fn check_line(line: &str) -> Result<(), CheckpointError> {
    match line.bytes().find(|byte| *byte < 0x20) {
        Some(got) => Err(CheckpointError::ControlCharacter { got }),
        None => Ok(()),
    }
}

fn check_origin(expected: &str, got: &str) -> Result<(), OpenError> {
    if expected != got {
        return Err(OpenError::OriginMismatch {
            expected: expected.to_owned(),
            got: got.to_owned(),
        });
    }
    Ok(())
}

/// A checkpoint whose log signature was verified (or made) here, with all its signatures.
/// There is no other way to get one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    note: Note,
    checkpoint: Checkpoint,
}

impl SignedCheckpoint {
    /// Opens a checkpoint of the log whose key this is; the key's name is the origin.
    ///
    /// # Errors
    /// One variant per failed check, signature before content.
    pub fn open(bytes: &[u8], key: &VerifierKey) -> Result<Self, OpenError> {
        Self::open_note(Note::parse(bytes)?, key.name(), key)
    }

    /// Opens a checkpoint of a log whose origin is not its key's name.
    ///
    /// # Errors
    /// One variant per failed check, signature before content.
    pub fn open_origin(bytes: &[u8], origin: &str, key: &VerifierKey) -> Result<Self, OpenError> {
        Self::open_note(Note::parse(bytes)?, origin, key)
    }

    pub(crate) fn open_note(
        note: Note,
        origin: &str,
        key: &VerifierKey,
    ) -> Result<Self, OpenError> {
        note.verify(key)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        check_origin(origin, &checkpoint.origin)?;
        Ok(Self { note, checkpoint })
    }

    /// What the log states.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with the signatures of witnesses, verified or not.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The signed note's bytes, to publish or keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_string().into_bytes()
    }

    /// Adds a witness's signature line. [`Quorum::check`](crate::cosignature::Quorum::check)
    /// is what verifies it.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`], [`NoteError::TooLong`].
    pub fn push_signature(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.note.push_signature(signature)
    }

    /// Drops every signature that carries none of these keys' names and ids.
    pub fn keep_signatures_by(&mut self, keys: &[VerifierKey]) {
        let known = |line: &NoteSignature| {
            keys.iter().any(|key| line.name() == key.name() && line.key_id() == key.key_id())
        };
        self.note.retain_signatures(known);
    }

    /// Checks that a leaf is in the log that this checkpoint states.
    ///
    /// # Errors
    /// As [`verify_inclusion`].
    pub fn verify_inclusion(
        &self,
        leaf_hash: Hash,
        index: u64,
        proof: &[Hash],
    ) -> Result<IncludedLeaf, InclusionError> {
        let Checkpoint { size, root, .. } = self.checkpoint;
        verify_inclusion(leaf_hash, index, size, proof, root)
    }
}
