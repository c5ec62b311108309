//! The ledger's language: commands in, outcomes or rejections out. Pure types; a store gives them
//! effect, all of a batch in one durable commit.

pub mod anonymous;
pub mod batch;
mod outcome;
mod posting;
pub mod recompute;
mod view;

pub use outcome::{HoldState, Outcome, Rejection, Settlement};
pub use posting::{Side, postings};
pub use view::{
    ArchivedKeyset, ArchivedReport, Corrections, EpochState, NothingLeft, Queries, StoreError,
    StoredHold, StoredRecord, Totals,
};

use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, InstanceId, PublicKey};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};

use crate::calendar::Period;
use crate::dispute::Exhibit;
use crate::limit::Limits;
use crate::package::PackageTerms;
use crate::payable::{Part, SplitTerms};
use crate::project::{Scope, Spender};
use crate::reservation::Booking;

/// Largest amount the ledger moves at once, in micro-units: what a signed 64-bit integer holds.
pub const MAX_AMOUNT: MicroUnits = MicroUnits(i64::MAX as u64);
/// Longest account name, label or memo, in bytes.
pub const MAX_TEXT_BYTES: usize = 256;
/// Most holds one [`Command::ExpireDue`] ends; the next one takes the rest.
pub const MAX_EXPIRED_HOLDS: usize = 1000;

macro_rules! number {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Debug,
            Clone,
            Copy,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            serde::Serialize,
            serde::Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
number!(
    /// An account, by the broker's own number.
    AccountNumber
);
number!(
    /// A package, by the broker's own number; rises in the order of creation.
    PackageNumber
);

/// One change asked of the ledger. Each either happens as a whole or leaves no trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Opens an account.
    OpenAccount {
        /// Unique name.
        name: String,
        /// Whether its credentials may see every account.
        operator: bool,
    },
    /// Adds a credential to an account.
    AddCredential {
        /// The account.
        account: AccountNumber,
        /// Labelled digest of the secret, the only form that is kept.
        digest: Digest,
        /// The project it speaks for; the account as a whole where it is absent.
        project: Option<u64>,
        /// What it is for.
        label: String,
        /// From then on it is refused.
        expires_at: Option<UnixSeconds>,
    },
    /// Revokes a credential at once.
    RevokeCredential {
        /// Its digest.
        digest: Digest,
    },
    /// Registers an order key. A handle belongs to one account for ever.
    RegisterOrderKey {
        /// The account.
        account: AccountNumber,
        /// The key.
        order_key: PublicKey,
        /// Its handle.
        handle: AccountHandle,
    },
    /// Opens a project of an account; a second one of the same name is the first.
    OpenProject {
        /// The account.
        account: AccountNumber,
        /// Its name.
        name: String,
    },
    /// Sets a budget, or changes its limits; what is used of it stays.
    SetBudget(SetBudget),
    /// Sets limits on requests, tokens and concurrency.
    SetLimits {
        /// The account.
        account: AccountNumber,
        /// Of all of it, a project or a credential.
        scope: Scope,
        /// The limits.
        limits: Limits,
    },
    /// Does something once under an idempotency key: the same key with another request is an error,
    /// the same request again changes nothing and has the outcome of the first time.
    Once {
        /// Whose key it is.
        account: AccountNumber,
        /// Digest of the key.
        key: Digest,
        /// Digest of the request.
        request: Digest,
        /// What is done.
        command: Box<Command>,
    },
    /// Issues a package.
    IssuePackage(IssuePackage),
    /// Sends free value of a package to another account, where it is a package of its own.
    Send {
        /// Idempotency key.
        key: [u8; 16],
        /// The package.
        package: PackageNumber,
        /// To whom.
        to: AccountNumber,
        /// How much.
        amount: MicroUnits,
        /// Why.
        memo: String,
    },
    /// Takes back free value of a package that should not have been issued.
    Void {
        /// Idempotency key.
        key: [u8; 16],
        /// The package.
        package: PackageNumber,
        /// How much.
        amount: MicroUnits,
        /// Why.
        memo: String,
    },
    /// Gives back part of a settled charge, or all of it, to the packages it was spent from.
    RefundHold(Correction),
    /// Freezes part of a settled charge, or all of it, until it is decided.
    Dispute(Correction),
    /// Keeps what was shown of a hold in dispute, once for ever.
    Exhibit(Exhibit),
    /// Decides a dispute: for the customer or against.
    Decide {
        /// The hold in dispute.
        hold: HoldId,
        /// For the customer.
        upheld: bool,
        /// Why.
        memo: String,
    },
    /// Says who earns what of a model's charges from now on.
    SetSplit(SplitTerms),
    /// Books that a party was paid.
    Payout {
        /// Idempotency key.
        key: [u8; 16],
        /// The party.
        account: AccountNumber,
        /// Unit of account.
        unit: Unit,
        /// How much.
        amount: MicroUnits,
        /// How: the reference of the bank's transfer, for instance.
        memo: String,
    },
    /// Books guaranteed throughput, paid at once.
    Reserve(Booking),
    /// Keeps a day's supply statement and logs it; a day has one.
    PutSupply {
        /// The day's begin, 00:00 UTC.
        day: UnixSeconds,
        /// The signed statement.
        statement: Vec<u8>,
        /// Its leaf.
        leaf: Vec<u8>,
    },
    /// Keeps an invoice or credit note.
    PutInvoice {
        /// Its number: one more than the last.
        number: u64,
        /// The account.
        account: AccountNumber,
        /// What it is for, once only: unit and period, or the correction.
        key: Vec<u8>,
        /// The signed document.
        document: Vec<u8>,
    },
    /// Sets an order's highest charge aside and keeps order, grant and delegation.
    Hold(Box<Hold>),
    /// Takes in a signed record of an epoch, settles with it where it says so, and logs what is
    /// now in order.
    Record(Box<Record>),
    /// Turns value of an account's packages into blind tokens.
    Draw(Box<anonymous::Draw>),
    /// Sets an anonymous order's highest charge aside and spends the blind tokens it is paid with.
    Redeem(Box<anonymous::Redeem>),
    /// Keeps the public keys of an epoch of blind tokens and logs them.
    PutBlindKeys {
        /// The epoch: one more than the last.
        epoch: u64,
        /// The signed document.
        document: Vec<u8>,
        /// Its leaf.
        leaf: Vec<u8>,
    },
    /// Returns a hold to its packages: nothing was and will be delivered on it.
    Release {
        /// The hold.
        hold: HoldId,
    },
    /// Ends holds past their settle-by (by their highest interim receipt, if there is one) and
    /// lapses packages past their expiry.
    ExpireDue,
    /// Moves spent value back into its package.
    Refund {
        /// Idempotency key.
        key: [u8; 16],
        /// The package it was spent from.
        package: PackageNumber,
        /// How much.
        amount: MicroUnits,
        /// Why.
        memo: String,
    },
    /// Appends a public leaf (delegation) to the log.
    LogLeaf {
        /// Leaf bytes.
        leaf: Vec<u8>,
    },
    /// Logs what became of the [`Command::Hold`] before it in the same batch: both happen, or
    /// neither. An order granted before is not logged again.
    LogDecision {
        /// Digest of the order.
        order: Digest,
        /// Whether a refusal is logged too; a grant always is.
        refused: bool,
    },
    /// Keeps a signed price book and logs it.
    PutPriceBook {
        /// Its version: one more than the last.
        version: u64,
        /// Its digest.
        digest: Digest,
        /// The signed book.
        book: Vec<u8>,
        /// Its leaf.
        leaf: Vec<u8>,
    },
    /// Keeps an appraised keyset with its evidence and logs it.
    ArchiveEvidence(Box<ArchivedReport>),
    /// Keeps a signed checkpoint.
    KeepCheckpoint {
        /// Leaves under it.
        size: u64,
        /// The signed note.
        note: Vec<u8>,
    },
    /// Keeps a message that was not believed, for an operator to look at.
    KeepAnomaly {
        /// Which check failed.
        what: String,
        /// The message.
        bytes: Vec<u8>,
    },
}

/// A package as issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuePackage {
    /// Idempotency key, made by whoever issues.
    pub key: [u8; 16],
    /// Whose it is.
    pub account: AccountNumber,
    /// Unit of account.
    pub unit: Unit,
    /// How much.
    pub amount: MicroUnits,
    /// Lower numbers burn first.
    pub priority: u8,
    /// A gift: burns before anything paid.
    pub promotional: bool,
    /// Not used before.
    pub effective_from: UnixSeconds,
    /// Lapses then.
    pub expires_at: Option<UnixSeconds>,
    /// What it is, for people.
    pub memo: String,
    /// What it may be spent on, and whether it comes again.
    pub terms: PackageTerms,
}

/// A budget to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetBudget {
    /// The account.
    pub account: AccountNumber,
    /// Of all of it, a project or a credential.
    pub scope: Scope,
    /// Unit of account.
    pub unit: Unit,
    /// Begins anew every day, week, month or year; never when absent.
    pub every: Option<Period>,
    /// The time zone its windows are counted in (IANA).
    pub zone: String,
    /// From here on it is told of.
    pub soft: Option<MicroUnits>,
    /// Beyond it nothing is held.
    pub hard: Option<MicroUnits>,
}

/// A settled charge that is given back or disputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Idempotency key.
    pub key: [u8; 16],
    /// The hold that was charged.
    pub hold: HoldId,
    /// How much of the charge.
    pub amount: MicroUnits,
    /// Why.
    pub memo: String,
}

/// What a hold needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its id, made by the client.
    pub hold: HoldId,
    /// Who pays.
    pub account: AccountNumber,
    /// Name of the model, as packages limited to some models know it.
    pub model: String,
    /// Unit of account.
    pub unit: Unit,
    /// The most it may cost.
    pub amount: MicroUnits,
    /// Released then, when no receipt came.
    pub settle_by: UnixSeconds,
    /// Digest of the order.
    pub order_digest: Digest,
    /// The signed order.
    pub order: Vec<u8>,
    /// The signed grant.
    pub grant: Vec<u8>,
    /// The delegation behind the grant.
    pub delegation: Vec<u8>,
    /// The enclave it is sent to.
    pub instance: InstanceId,
    /// Who in the account spends.
    pub spender: Spender,
    /// Who earns what of the charge; nobody is named where it is empty.
    pub split: Vec<Part>,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// Epoch-open: place 0.
    Open,
    /// Usage receipt.
    Receipt,
    /// Epoch-close: the last place.
    Close,
}

impl RecordKind {
    /// All kinds, in the order of their codes.
    pub const ALL: [RecordKind; 3] = [RecordKind::Open, RecordKind::Receipt, RecordKind::Close];
}

/// A verified record of an epoch's chain and what it shall do to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// The epoch.
    pub epoch: EpochId,
    /// Place in the epoch.
    pub seq: u64,
    /// Digest of the record before it; `None` for the first.
    pub prev: Option<Digest>,
    /// Digest of this record.
    pub digest: Digest,
    /// Keyset whose key signed it.
    pub keyset: Digest,
    /// The signed bytes.
    pub bytes: Vec<u8>,
    /// Its leaf in the public log.
    pub leaf: Vec<u8>,
    /// Who is meant to pay, for receipts.
    pub handle: Option<AccountHandle>,
    /// What it does to the ledger.
    pub charge: Charge,
}

/// What a record does to the ledger, as judged by [`crate::settlement`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// Nothing: an epoch record.
    None,
    /// Settles its hold.
    Final {
        /// The hold.
        hold: HoldId,
        /// The charge.
        amount: MicroUnits,
    },
    /// Settles its hold only if no final receipt comes.
    Interim {
        /// The hold.
        hold: HoldId,
        /// Index of the interim receipt.
        index: u64,
        /// The charge so far.
        amount: MicroUnits,
    },
    /// Logged, not charged: it does not fit its order.
    Flagged {
        /// Which check failed.
        why: String,
    },
}
