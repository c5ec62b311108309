//! What happens to the broker, and what it wants done.

use bulla_attestation::sign::Signed;
use bulla_wire::decision::Decision;
use bulla_wire::grant::Delegation;
use bulla_wire::ids::{Digest, HoldId, InstanceId, TokenInput};
use bulla_wire::problem::Problem;
use bulla_wire::pull::{OutboxRecord, RecordPlace};

use crate::anonymous::{Evaluated, Redeemed};
use crate::catalogue::Appraised;
use crate::hold::HoldRefusal;
use crate::ledger::batch::Results;
use crate::ledger::{AccountNumber, Command, HoldState, Settlement};
use crate::log::WitnessAnswer;
use crate::project::Spender;
use crate::register::Once;

/// One request at the door, by the shell's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One batch handed to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A customer sent an order; the body waits at the door.
    OrderReceived {
        /// The request.
        request: RequestId,
        /// Whose credential it came with.
        account: AccountNumber,
        /// The credential, and its project.
        spender: Spender,
        /// The enclave it is sealed to.
        instance: InstanceId,
        /// The order as sent.
        order: Vec<u8>,
    },
    /// An order was refused at the door, by a limit or for want of room: the log shall say so.
    OrderTurnedAway {
        /// The request.
        request: RequestId,
        /// Whose credential it came with.
        account: AccountNumber,
        /// The order as sent.
        order: Vec<u8>,
        /// Why.
        decision: Decision,
    },
    /// An order came with blind tokens in place of a credential; all of them were verified.
    AnonymousOrder {
        /// The request.
        request: RequestId,
        /// The enclave it is sealed to.
        instance: InstanceId,
        /// The order as sent.
        order: Vec<u8>,
        /// What it is paid with.
        payment: Box<Redeemed>,
    },
    /// A customer draws blind tokens, which are made already and wait to be paid.
    DrawEvaluated {
        /// The request.
        request: RequestId,
        /// Whose credential it came with.
        account: AccountNumber,
        /// The credential, and its project.
        spender: Spender,
        /// The draw.
        draw: Box<Evaluated>,
    },
    /// A customer registers an order key.
    OrderKeyOffered {
        /// The request.
        request: RequestId,
        /// Whose credential it came with.
        account: AccountNumber,
        /// The registration, signed with the order key itself.
        registration: Vec<u8>,
        /// The client's idempotency key, if it sent one.
        once: Option<Once>,
    },
    /// A forwarded order surely never reached admission: refused without a receipt, or the body was
    /// not the ordered one.
    NotAdmitted {
        /// Its hold.
        hold: HoldId,
    },
    /// A record came with an answer (trailer or header).
    RecordReceived {
        /// The request that waits for its settlement, if one does.
        request: Option<RequestId>,
        /// The record.
        record: Vec<u8>,
    },
    /// An answer ended without its receipt: the outbox will have it.
    AnswerEnded {
        /// The enclave.
        instance: InstanceId,
    },
    /// An enclave answered a pull.
    Pulled {
        /// The enclave.
        instance: InstanceId,
        /// Its records, oldest first.
        records: Vec<OutboxRecord>,
    },
    /// An enclave's evidence was affirmed.
    EnclaveAppraised(Box<Appraised>),
    /// An enclave answered with its epoch-open record.
    EpochOpened {
        /// The enclave.
        instance: InstanceId,
        /// The record.
        record: Vec<u8>,
    },
    /// An enclave cannot be reached, or its evidence is refused.
    EnclaveFailed {
        /// The enclave.
        instance: InstanceId,
        /// Whether it must not be routed to until it is appraised anew.
        refused: bool,
    },
    /// A price book was signed with the root key.
    PriceBookSigned {
        /// The book.
        book: Vec<u8>,
    },
    /// A witness showed the newest head of our log that it cosigned.
    WitnessSeen {
        /// Its number in the quorum.
        witness: usize,
        /// The signed note; `None` where it never cosigned one; what went wrong.
        newest: Result<Option<Vec<u8>>, String>,
    },
    /// A witness answered to a head.
    WitnessAnswered {
        /// Its number in the quorum.
        witness: usize,
        /// What it said.
        answer: WitnessAnswer,
        /// Orders that customers brought it, because they had no answer of ours
        /// ([`bulla_wire::showing`]).
        orders: Vec<Vec<u8>>,
    },
    /// A batch is durable.
    Committed {
        /// The batch.
        batch: BatchId,
        /// A result per command.
        results: Results,
    },
    /// A batch did not happen.
    CommitFailed {
        /// The batch.
        batch: BatchId,
    },
    /// Time passed.
    Tick,
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Hand a batch to the store; answer with [`Event::Committed`]. Batches are carried out in the
    /// order of these effects.
    Commit {
        /// The batch.
        batch: BatchId,
        /// Its commands.
        commands: Vec<Command>,
    },
    /// The hold stands: send body, order, grant and delegation to the enclave.
    Forward {
        /// The request.
        request: RequestId,
        /// The enclave.
        instance: InstanceId,
        /// The hold.
        hold: HoldId,
        /// The order.
        order: Vec<u8>,
        /// The grant.
        grant: Vec<u8>,
        /// The delegation.
        delegation: Vec<u8>,
        /// `Some` when this order was granted before: fetch the kept answer first; send anew only
        /// where that hold is active and the enclave keeps no answer.
        again: Option<HoldState>,
    },
    /// Tell the customer no.
    Refuse {
        /// The request.
        request: RequestId,
        /// Which problem.
        problem: Problem,
        /// For people.
        message: String,
        /// The blind tokens it is about: those that were spent before.
        spent: Vec<TokenInput>,
    },
    /// The request's receipt is durable: its answer may end.
    Settled {
        /// The request.
        request: RequestId,
        /// What the receipt did.
        settlement: Settlement,
    },
    /// The request is done; there is nothing to tell.
    Done {
        /// The request.
        request: RequestId,
    },
    /// A new checkpoint over durable leaves, cosigned where witnesses are named.
    PublishCheckpoint {
        /// The signed note.
        note: Vec<u8>,
    },
    /// Ask a witness for the newest head of our log that it cosigned; answer with
    /// [`Event::WitnessSeen`].
    SeeWitness {
        /// Its number in the quorum.
        witness: usize,
    },
    /// Send a witness an add-checkpoint request; answer with [`Event::WitnessAnswered`].
    AskWitness {
        /// Its number in the quorum.
        witness: usize,
        /// The request's body.
        request: Vec<u8>,
    },
    /// No head is signed any more: tell the operator.
    SigningHalted {
        /// Why.
        why: String,
    },
    /// Fetch an enclave's evidence and appraise it.
    Appraise {
        /// The enclave.
        instance: InstanceId,
    },
    /// Ask an enclave to open its epoch.
    OpenEpoch {
        /// The enclave.
        instance: InstanceId,
        /// The signed offer of a checkpoint that covers its keyset.
        offer: Vec<u8>,
        /// The delegation behind it.
        delegation: Vec<u8>,
    },
    /// Fetch an enclave's outbox.
    Pull {
        /// The enclave.
        instance: InstanceId,
        /// The signed pull.
        pull: Vec<u8>,
        /// The delegation behind it.
        delegation: Vec<u8>,
    },
}

/// What a command in flight was for.
pub(super) enum Purpose {
    Hold(Placed),
    Record { request: Option<RequestId>, opens: Option<InstanceId>, bytes: Vec<u8> },
    Refused { request: RequestId, problem: Problem, message: String },
    TurnedAway { request: RequestId },
    OrderKey { request: RequestId },
    Draw { request: RequestId },
    BlindKeys,
    Keyset { instance: InstanceId },
    Delegation(Box<Signed<Delegation>>),
    PriceBook { bytes: Vec<u8> },
    Supply,
    Shown { order: Digest },
    Expiry,
    Housekeeping,
}

/// An order whose hold is being placed.
pub(super) struct Placed {
    pub(super) request: RequestId,
    pub(super) account: AccountNumber,
    pub(super) instance: InstanceId,
    pub(super) hold: HoldId,
    pub(super) order: Vec<u8>,
}

/// A batch in flight.
pub(super) struct Flight {
    pub(super) purposes: Vec<Purpose>,
    /// Places of an enclave's outbox that are durable once this batch is.
    pub(super) acknowledges: Option<(InstanceId, Vec<RecordPlace>)>,
}

impl Effect {
    pub(super) fn refuse(request: RequestId, problem: Problem, message: impl ToString) -> Effect {
        Effect::Refuse { request, problem, message: message.to_string(), spent: Vec::new() }
    }

    pub(super) fn refuse_hold(request: RequestId, refusal: &HoldRefusal) -> Effect {
        Effect::refuse(request, refusal.problem(), refusal)
    }
}
