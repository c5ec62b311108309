//! Two heads of one log that do not go together, in one file that anybody can check.

use bulla_attestation::hash::sha256;
use bulla_tlog::checkpoint::OpenError;
use bulla_tlog::tree::ConsistencyError;
use bulla_tlog::{Hash, SignedCheckpoint, VerifierKey, verify_consistency};
use bulla_wire::units::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::Head;

/// Largest proof file, in bytes: two notes, 63 hashes, JSON around them.
pub const MAX_FORK_PROOF_BYTES: usize = 1 << 20;

const FORMAT: &str = "bulla-fork-proof/1";

/// Why a file proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForkError {
    /// Not JSON of this shape.
    #[error("not a fork proof: {reason}")]
    Content {
        /// What the reader says.
        reason: String,
    },
    /// Another format or version.
    #[error("expected format {FORMAT}, got {got:?}")]
    Format {
        /// The format named, cut.
        got: String,
    },
    /// A head that no named key of the log signed.
    #[error("the {which} head is not signed by a named key of the log: {source}")]
    Signature {
        /// `first` or `second`.
        which: &'static str,
        /// What fails, for the last key tried.
        source: OpenError,
    },
    /// Nobody named the log's key.
    #[error("no key of the log was named: give it with --log")]
    NoKey,
    /// Heads of two logs.
    #[error("heads of two logs, {first:?} and {second:?}")]
    Origins {
        /// Origin of the first head.
        first: String,
        /// Origin of the second head.
        second: String,
    },
    /// The first head is the larger one.
    #[error("the first head has {first} leaves, more than the second one's {second}")]
    Order {
        /// Leaves of the first head.
        first: u64,
        /// Leaves of the second head.
        second: u64,
    },
    /// The heads go together.
    #[error("the second head extends the first: there is no fork")]
    Consistent,
    /// Signed both, and yet nothing shows that they exclude each other.
    #[error(
        "both heads are the log's, but nothing here shows that they exclude each other ({0}): ask the log for a consistency proof between them"
    )]
    NotShown(ConsistencyError),
}

/// A fork, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forked {
    /// The first head.
    pub first: SignedCheckpoint,
    /// The second head.
    pub second: SignedCheckpoint,
    /// The root that the second head's tree has over as many leaves as the first head has.
    pub second_root_then: Hash,
}

/// What a witness keeps when a log asks it to cosign a head that does not extend the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForkProof {
    format: String,
    /// When it was seen, in seconds since the epoch, by the witness's clock. Nobody signs it.
    seen_at: UnixSeconds,
    /// The head cosigned before (a signed note).
    first: String,
    /// The head refused (a signed note).
    second: String,
    /// The consistency proof that came with it (base64): it leads from another root than the first
    /// head's to the second head's.
    proof: Vec<String>,
}

impl ForkProof {
    pub(super) fn new(
        first: &Head,
        second: &SignedCheckpoint,
        proof: &[Hash],
        seen_at: UnixSeconds,
    ) -> ForkProof {
        ForkProof {
            format: FORMAT.to_owned(),
            seen_at,
            first: first.note().to_owned(),
            second: second.note().to_string(),
            proof: proof.iter().map(Hash::to_base64).collect(),
        }
    }

    /// Reads a file.
    pub fn from_json(bytes: &[u8]) -> Result<ForkProof, ForkError> {
        let content = |reason: String| ForkError::Content { reason };
        if bytes.len() > MAX_FORK_PROOF_BYTES {
            return Err(content(format!("more than {MAX_FORK_PROOF_BYTES} bytes")));
        }
        let proof: ForkProof =
            serde_json::from_slice(bytes).map_err(|error| content(error.to_string()))?;
        match proof.format == FORMAT {
            true => Ok(proof),
            false => Err(ForkError::Format { got: proof.format.chars().take(80).collect() }),
        }
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        match serde_json::to_vec_pretty(self) {
            Ok(bytes) => bytes,
            Err(never) => unreachable!("numbers and texts: {never}"),
        }
    }

    /// A name for its file: the same heads have the same, whatever else was signed under them.
    pub fn name(&self) -> String {
        let text = |note: &str| note.split("\n\n").next().unwrap_or_default().to_owned();
        let digest = sha256(format!("{}\n\n{}", text(&self.first), text(&self.second)).as_bytes());
        digest.to_string().chars().take(32).collect()
    }

    /// When it was seen, by the witness's own clock.
    pub fn seen_at(&self) -> UnixSeconds {
        self.seen_at
    }

    /// Checks everything: both heads are signed by the log, and they exclude each other.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Forked, ForkError> {
        let first = open("first", &self.first, keys)?;
        let second = open("second", &self.second, keys)?;
        let (one, two) = (first.checkpoint(), second.checkpoint());
        if one.origin() != two.origin() {
            let (first, second) = (one.origin().to_owned(), two.origin().to_owned());
            return Err(ForkError::Origins { first, second });
        }
        if one.size() > two.size() {
            return Err(ForkError::Order { first: one.size(), second: two.size() });
        }
        let proof: Option<Vec<Hash>> =
            self.proof.iter().map(|text| Hash::from_base64(text)).collect();
        let proof =
            proof.ok_or_else(|| ForkError::Content { reason: "a hash of the proof".to_owned() })?;
        let second_root_then =
            match verify_consistency(one.size(), one.root(), two.size(), two.root(), &proof) {
                Ok(()) => return Err(ForkError::Consistent),
                // One size, two roots.
                Err(ConsistencyError::ForkedRoot { new_root, .. }) => new_root,
                // The proof may hold for another root: then that is what the second tree began with.
                Err(error @ ConsistencyError::OldRootMismatch { got, .. }) => {
                    match verify_consistency(one.size(), got, two.size(), two.root(), &proof) {
                        Ok(()) => got,
                        Err(_) => return Err(ForkError::NotShown(error)),
                    }
                }
                Err(error) => return Err(ForkError::NotShown(error)),
            };
        Ok(Forked { first, second, second_root_then })
    }
}

fn open(
    which: &'static str,
    note: &str,
    keys: &[VerifierKey],
) -> Result<SignedCheckpoint, ForkError> {
    let mut failed = ForkError::NoKey;
    for key in keys {
        match SignedCheckpoint::open(note.as_bytes(), key) {
            Ok(opened) => return Ok(opened),
            Err(source) => failed = ForkError::Signature { which, source },
        }
    }
    Err(failed)
}
