//! Why a witness does not cosign, and the HTTP status that says so (C2SP tlog-witness).

use bulla_tlog::checkpoint::{CheckpointError, OpenError};
use bulla_tlog::cosignature::CosignatureError;
use bulla_tlog::note::{NoteError, NoteVerifyError};
use bulla_tlog::submission::SubmissionError;
use bulla_tlog::tree::ConsistencyError;

/// A request that is not cosigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not an add-checkpoint request.
    #[error(transparent)]
    Malformed(SubmissionError),
    /// The note's text is no checkpoint.
    #[error(transparent)]
    Checkpoint(CheckpointError),
    /// The proof would lead backwards.
    #[error("the old size {old_size} is larger than the checkpoint's {new_size}")]
    OldBeyondNew {
        /// Leaves the proof starts from.
        old_size: u64,
        /// Leaves of the checkpoint.
        new_size: u64,
    },
    /// Nobody named this log here.
    #[error("log {origin:?} is not among those named with --log")]
    UnknownLog {
        /// Its origin, cut.
        origin: String,
    },
    /// No key of this log signed.
    #[error("the checkpoint is not signed by a key named for log {origin:?}")]
    NotSigned {
        /// Its origin.
        origin: String,
    },
    /// A line carries the name and id of the log's key, and is wrong.
    #[error(transparent)]
    BadSignature(NoteVerifyError),
    /// Signed, and still no checkpoint of this log.
    #[error(transparent)]
    Unopened(OpenError),
    /// The proof starts from another head than the one cosigned last.
    #[error("the last checkpoint cosigned here has {size} leaves")]
    Conflict {
        /// Leaves of the last one; 0 where there is none.
        size: u64,
    },
    /// A tree without leaves has one root.
    #[error(transparent)]
    EmptyRoot(CheckpointError),
    /// The new tree was not shown to extend the old one.
    #[error(transparent)]
    Inconsistent(ConsistencyError),
    /// The clock went back.
    #[error("the clock says {now}, the last cosignature was made at {last}: set the clock")]
    Clock {
        /// Seconds since the epoch.
        now: u64,
        /// Time of the last cosignature.
        last: u64,
    },
    /// The time does not fit a cosignature.
    #[error(transparent)]
    Cosignature(CosignatureError),
    /// The note has no room for another signature.
    #[error(transparent)]
    Note(NoteError),
    /// The new state could not be made durable, so nothing was cosigned.
    #[error("the state could not be written: {reason}")]
    NotDurable {
        /// What the system says.
        reason: String,
    },
}

impl Refusal {
    /// The HTTP status of the answer.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Malformed(_)
            | Refusal::Checkpoint(_)
            | Refusal::Unopened(_)
            | Refusal::Note(_)
            | Refusal::OldBeyondNew { .. } => 400,
            Refusal::NotSigned { .. } | Refusal::BadSignature(_) => 403,
            Refusal::UnknownLog { .. } => 404,
            Refusal::Conflict { .. } => 409,
            Refusal::EmptyRoot(_) | Refusal::Inconsistent(_) => 422,
            Refusal::Cosignature(_) | Refusal::NotDurable { .. } => 500,
            Refusal::Clock { .. } => 503,
        }
    }
}
