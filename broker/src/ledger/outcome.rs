//! What became of a command.

use bulla_wire::decision::Decision;
use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, TokenInput};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};

use super::{AccountNumber, PackageNumber};
use crate::account::date;

/// The life of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldState {
    /// Set aside, receipt awaited.
    Active,
    /// Charged, once.
    Settled,
    /// Given back: nothing ran.
    Released,
    /// Given back: no receipt came in time.
    Expired,
}

/// When a budget's window ends, for people; nothing where it never does.
fn over(until: UnixSeconds) -> String {
    match until {
        UnixSeconds(u64::MAX) => String::new(),
        until => format!(", or wait until {}", date(until)),
    }
}

fn list(tokens: &[TokenInput]) -> String {
    tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl HoldState {
    /// All states, in the order of their codes.
    pub const ALL: [HoldState; 4] =
        [HoldState::Active, HoldState::Settled, HoldState::Released, HoldState::Expired];
}

impl std::fmt::Display for HoldState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            HoldState::Active => "active",
            HoldState::Settled => "settled",
            HoldState::Released => "released",
            HoldState::Expired => "expired",
        })
    }
}

/// What a receipt did to its hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing was asked: epoch records, interim receipts.
    NotAsked,
    /// Charged.
    Settled {
        /// Spent.
        charged: MicroUnits,
        /// Given back.
        returned: MicroUnits,
    },
    /// This very receipt settled the hold before.
    AlreadySettled,
    /// Kept and logged, not charged.
    Flagged {
        /// Why not.
        why: String,
    },
}

/// A command that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An account was opened.
    AccountOpened {
        /// Its number.
        account: AccountNumber,
    },
    /// A project was opened, now or before under the same name.
    ProjectOpened {
        /// Its number.
        project: u64,
    },
    /// An entry was made, now or before.
    Entered {
        /// Its number among its kind.
        number: u64,
    },
    /// A package was issued, now or before with the same key and parameters.
    PackageIssued {
        /// Its number.
        package: PackageNumber,
    },
    /// The hold stands, or stood before with the same order.
    Held {
        /// Where it stands.
        state: HoldState,
        /// True when it was there before.
        again: bool,
        /// The grant that belongs to it.
        grant: Vec<u8>,
        /// The delegation behind that grant.
        delegation: Vec<u8>,
    },
    /// A record was taken in, now or before.
    Recorded {
        /// True when it was there before.
        again: bool,
        /// Its leaf, if its turn in the log has come.
        leaf_index: Option<u64>,
        /// Next place the epoch's log waits for: everything before is durable and logged.
        next_seq: u64,
        /// What it did to the ledger.
        settlement: Settlement,
    },
    /// A hold was given back.
    Released {
        /// How much.
        amount: MicroUnits,
    },
    /// Holds and packages past their time were ended.
    Expired {
        /// Holds ended.
        holds: u64,
        /// Packages lapsed.
        packages: u64,
    },
    /// A leaf was appended, now or before.
    Logged {
        /// Its index.
        leaf_index: u64,
    },
    /// Done; there is nothing to tell.
    Done,
}

/// Why a command did not happen. It left no trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No such account.
    #[error("no account {account}")]
    UnknownAccount {
        /// The number given.
        account: AccountNumber,
    },
    /// Another account has this name.
    #[error("an account named {name:?} exists already")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// A text above [`super::MAX_TEXT_BYTES`], or an empty name.
    #[error("{field} must have 1 to {max_bytes} bytes, got {got_bytes}")]
    TextLength {
        /// Which text.
        field: &'static str,
        /// Limit.
        max_bytes: usize,
        /// Its length.
        got_bytes: usize,
    },
    /// The credential exists already.
    #[error("this credential exists already")]
    CredentialExists,
    /// No such credential.
    #[error("no such credential")]
    UnknownCredential,
    /// The order key belongs to another account, for ever.
    #[error("order key {handle} belongs to another account: make a new one")]
    HandleTaken {
        /// Its handle.
        handle: AccountHandle,
    },
    /// An amount that is zero where value must move, or above [`super::MAX_AMOUNT`].
    #[error("amount must be 0.000001 to {}, got {}", super::MAX_AMOUNT.whole(), got.whole())]
    Amount {
        /// The amount.
        got: MicroUnits,
    },
    /// The package ends before it begins.
    #[error("the package expires before it takes effect")]
    PackageDates,
    /// Terms that cannot be kept: an unknown time zone, an end that is not the period's, too many
    /// models.
    #[error("terms of the package: {what}")]
    PackageTerms {
        /// What is wrong.
        what: String,
    },
    /// No such project in the account.
    #[error("account {account} has no project {project}")]
    UnknownProject {
        /// The account.
        account: AccountNumber,
        /// The number given.
        project: u64,
    },
    /// More of a kind than an account may have.
    #[error("account {account} has {most} {what} already: close some")]
    TooMany {
        /// The account.
        account: AccountNumber,
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// A budget, limits, a split or a booking that cannot be kept.
    #[error("{what}")]
    Terms {
        /// What is wrong.
        what: String,
    },
    /// A budget does not cover the hold.
    #[error(
        "budget {budget} allows {} more, {} are needed: raise it{}",
        left.of(unit),
        needed.of(unit),
        over(*until)
    )]
    OverBudget {
        /// The budget.
        budget: u64,
        /// Unit of account.
        unit: Unit,
        /// What the order may cost.
        needed: MicroUnits,
        /// What is left of the budget.
        left: MicroUnits,
        /// When its window ends; the largest number for one that never does.
        until: UnixSeconds,
    },
    /// More than the charge, or than is left of it.
    #[error("hold {hold}: {} are asked for, {} of its charge are left", asked.whole(), left.whole())]
    ExceedsCharge {
        /// The hold.
        hold: HoldId,
        /// Asked for.
        asked: MicroUnits,
        /// Left of the charge.
        left: MicroUnits,
    },
    /// The hold is in dispute, or is not where it would have to be.
    #[error("hold {hold} {what}")]
    Dispute {
        /// The hold.
        hold: HoldId,
        /// Why not.
        what: &'static str,
    },
    /// A package has less than is moved.
    #[error("package {package} has {} free, {} are asked for", available.whole(), asked.whole())]
    NotEnough {
        /// The package.
        package: PackageNumber,
        /// Asked for.
        asked: MicroUnits,
        /// Free.
        available: MicroUnits,
    },
    /// An invoice out of order: another one was made meanwhile.
    #[error("invoice {expected} is next, got {got}: make it again")]
    InvoiceNumber {
        /// Number wanted.
        expected: u64,
        /// Number given.
        got: u64,
    },
    /// The idempotency key was used with other parameters.
    #[error("this id was used before with other parameters: use a new one")]
    KeyConflict,
    /// No package covers the amount.
    #[error("{} are needed, {} are available: add a package", needed.of(unit), available.of(unit))]
    InsufficientBalance {
        /// Unit of account.
        unit: Unit,
        /// What the order may cost.
        needed: MicroUnits,
        /// What all usable packages hold.
        available: MicroUnits,
    },
    /// Blind tokens that were spent before: all of the payment's.
    #[error("spent before: blind token {}; pay with others", list(tokens))]
    TokensSpent {
        /// The tokens.
        tokens: Vec<TokenInput>,
    },
    /// The hold id was used before with another order.
    #[error("hold {hold} was used before with another order: make a new hold id")]
    HoldConflict {
        /// The hold.
        hold: HoldId,
    },
    /// No such hold.
    #[error("no hold {hold}")]
    UnknownHold {
        /// The hold.
        hold: HoldId,
    },
    /// The hold ended before.
    #[error("hold {hold} is {state}")]
    HoldEnded {
        /// The hold.
        hold: HoldId,
        /// How it ended.
        state: HoldState,
    },
    /// No such package.
    #[error("no package {package}")]
    UnknownPackage {
        /// The number given.
        package: PackageNumber,
    },
    /// More than was spent from the package.
    #[error("a refund of {} exceeds the {} spent from package {package}", asked.whole(), spent.whole())]
    RefundExceedsSpent {
        /// The package.
        package: PackageNumber,
        /// The refund.
        asked: MicroUnits,
        /// Spent so far.
        spent: MicroUnits,
    },
    /// The epoch's open record has not arrived.
    #[error("epoch {epoch} is not open")]
    UnknownEpoch {
        /// The epoch.
        epoch: EpochId,
    },
    /// Another record stands at this place: the enclave signed two.
    #[error("epoch {epoch} place {seq} holds record {expected}, got another one, {got}")]
    RecordConflict {
        /// The epoch.
        epoch: EpochId,
        /// The place.
        seq: u64,
        /// Digest of the record kept.
        expected: Digest,
        /// Digest of the other one.
        got: Digest,
    },
    /// The record does not follow the one before it.
    #[error("epoch {epoch} place {seq} must follow record {expected}, it follows {got:?}")]
    ChainBroken {
        /// The epoch.
        epoch: EpochId,
        /// The place.
        seq: u64,
        /// Digest of the record before.
        expected: Digest,
        /// Digest it names.
        got: Option<Digest>,
    },
    /// A record after the epoch's close.
    #[error("epoch {epoch} is closed: nothing may follow at place {seq}")]
    EpochClosed {
        /// The epoch.
        epoch: EpochId,
        /// The place.
        seq: u64,
    },
    /// A price book out of order.
    #[error("price book version {expected} is next, got {got}")]
    BookVersion {
        /// Version wanted.
        expected: u64,
        /// Version given.
        got: u64,
    },
}

impl Rejection {
    /// How the log calls it, where a hold was rejected for it.
    pub fn decision(&self) -> Decision {
        match self {
            Rejection::InsufficientBalance { .. } | Rejection::TokensSpent { .. } => {
                Decision::InsufficientBalance
            }
            Rejection::OverBudget { .. } => Decision::OverBudget,
            Rejection::HoldConflict { .. } => Decision::HoldConflict,
            // A hold is rejected for nothing else but an amount the ledger does not move, or that
            // blind tokens do not back.
            _ => Decision::Amount,
        }
    }
}
