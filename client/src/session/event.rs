//! What happens to a session, what it asks of its shell, and how it can fail.

use std::sync::Arc;

use bulla_attestation::keys::AttestedKeys;
use bulla_attestation::result::Refused;
use bulla_attestation::seal::{OpenError, SealError};
use bulla_attestation::sign::Signed;
use bulla_wire::ids::{HoldId, InstanceId};
use bulla_wire::order::Order;
use bulla_wire::problem::Problem;
use bulla_wire::statement::Nonce;
use bulla_wire::units::UnixSeconds;
use zeroize::Zeroizing;

use super::receipt::{ReceiptError, VerifiedReceipt};
use super::release::TooLong;
use super::resume::Differs;

/// Names one telling of one answer, so that late bytes of an abandoned one are known as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

/// What happens to a session.
#[derive(Clone)]
pub enum Event {
    /// Begin; with the keys of the first instance, where an earlier appraisal still stands.
    Start {
        /// Attested keys of [`Plan::instances`](super::Plan::instances)' first entry.
        cached: Option<Arc<AttestedKeys>>,
    },
    /// The attestation asked for was appraised and affirmed.
    Appraised {
        /// The keys it affirmed.
        keys: Arc<AttestedKeys>,
    },
    /// The attestation asked for was refused.
    Refused {
        /// Why.
        why: Refused,
    },
    /// Bytes of a sealed answer.
    AnswerBytes {
        /// Which telling.
        stream: StreamId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// The stream of a sealed answer ended, or broke.
    AnswerEnded {
        /// Which telling.
        stream: StreamId,
    },
    /// An error came in place of what was asked for.
    Problem {
        /// Which telling; `None` for the attestation.
        stream: Option<StreamId>,
        /// What the other side says; `None` when the connection failed.
        problem: Option<Problem>,
        /// For people. Untrusted text.
        message: String,
        /// A usage receipt beside the error.
        receipt: Option<Vec<u8>>,
    },
    /// [`Session::deadline`](super::Session::deadline) has passed.
    Timeout,
}

/// What the shell shall do.
#[derive(Clone)]
pub enum Effect {
    /// Fetch the attestation report of `instance` with this nonce and appraise it; answer with
    /// [`Event::Appraised`], [`Event::Refused`] or [`Event::Problem`].
    FetchAttestation {
        /// Whom to ask about.
        instance: InstanceId,
        /// Must be in the evidence.
        nonce: Nonce,
        /// Keys from an earlier appraisal will not do: they were refused as stale.
        fresh: bool,
    },
    /// `POST` the sealed request with its order.
    Send {
        /// Names the answer's bytes.
        stream: StreamId,
        /// Where it goes.
        instance: InstanceId,
        /// The signed order.
        order: Box<Signed<Order>>,
        /// The sealed request.
        sealed: Vec<u8>,
    },
    /// `GET` the sealed answer of `hold` again, from its start.
    Refetch {
        /// Names the answer's bytes.
        stream: StreamId,
        /// The hold of the order.
        hold: HoldId,
        /// Wait this long first, in milliseconds.
        pause_ms: u64,
    },
    /// Another enclave is tried although this order may have been carried out: keep it, the broker
    /// must account for it.
    Abandon(Box<Signed<Order>>),
    /// Pass this on to the caller.
    Deliver(Piece),
    /// Over: the answer is whole and its receipt verified. Keep both.
    Done(Box<Settled>),
}

/// A piece of the opened answer. Content: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Piece {
    /// Status and header fields.
    Head {
        /// HTTP status.
        status: u16,
        /// Header fields, names in lower case.
        headers: Vec<(String, String)>,
    },
    /// Part of the body.
    Body(Vec<u8>),
}

/// An order with its verified receipt: worth keeping.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Who served it.
    pub instance: InstanceId,
    /// The attested keys it was sealed to.
    pub keys: Arc<AttestedKeys>,
    /// The order.
    pub order: Signed<Order>,
    /// Its usage receipt.
    pub receipt: VerifiedReceipt,
    /// What opens the receipt's commitments; `None` where the answer was too long to keep.
    pub opening: Option<Opening>,
}

/// What a customer keeps to show a judge what was asked and answered. Content: no `Debug` of it,
/// wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    /// Key of the commitments.
    pub salt: Zeroizing<[u8; 32]>,
    /// Body of the request as sealed.
    pub request: Zeroizing<Vec<u8>>,
    /// Body of the answer as opened; `None` where a problem came in its place.
    pub answer: Option<Zeroizing<Vec<u8>>>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opening(..)")
    }
}

/// Why a session failed. It is over then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SessionError {
    /// The plan names no enclave.
    #[error("no enclave serves this model now")]
    NoEnclave,
    /// Evidence was refused.
    #[error("{instance}: {why}")]
    Appraisal {
        /// The enclave.
        instance: InstanceId,
        /// Which checks failed.
        why: Box<Refused>,
    },
    /// Genuine keys, but of another instance than the one asked about.
    #[error("evidence of instance {got} in place of {expected}")]
    OtherInstance {
        /// Asked about.
        expected: InstanceId,
        /// Named in the attested keyset.
        got: InstanceId,
    },
    /// The keys end too soon to be sealed to.
    #[error("keys of {instance} end at {not_after}, too soon after {now}")]
    KeysExpire {
        /// The enclave.
        instance: InstanceId,
        /// Their end.
        not_after: UnixSeconds,
        /// Now.
        now: UnixSeconds,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The answer does not open: altered, reordered or cut.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A body without a head.
    #[error("answer has a body before its status")]
    NoHead,
    /// The answer is larger than may be held back.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The answer ended without a usage receipt.
    #[error("answer carries no usage receipt")]
    NoReceipt,
    /// The usage receipt fails a check.
    #[error(transparent)]
    Receipt(#[from] ReceiptError),
    /// The second telling of an answer differs from the first.
    #[error(transparent)]
    Differs(#[from] Differs),
    /// The broker or the enclave refused.
    #[error("{message} ({})", .problem.code())]
    Problem {
        /// What it says.
        problem: Problem,
        /// For people. Untrusted text.
        message: String,
        /// The receipt of a refusal after admission, verified.
        settled: Option<Box<Settled>>,
    },
    /// The broker cannot be reached.
    #[error("broker cannot be reached: {message}")]
    Unreachable {
        /// What the network says.
        message: String,
    },
    /// The answer stayed away. The order may have been carried out, and then it is charged once.
    #[error(
        "answer to hold {hold} was lost and could not be fetched again: {cause}; at most {} can be charged for it",
        .order.max_charge.of(&.order.unit)
    )]
    AnswerLost {
        /// The hold.
        hold: HoldId,
        /// What went wrong last.
        cause: String,
        /// The order, to be kept: the broker must account for it.
        order: Box<Signed<Order>>,
    },
}
