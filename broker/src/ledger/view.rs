//! What can be asked of the ledger, and the rows that answer.

use bulla_wire::bundle::{Transfer, TransferKind};
use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, InstanceId, PublicKey};
use bulla_wire::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};

use super::{AccountNumber, HoldState, RecordKind};
use crate::account::{Account, Credential};
use crate::package::Package;
use crate::payable::Part;
use crate::project::Spender;
use crate::register::{Entry, EntryKind};

/// Why a store cannot answer. Nothing of the batch happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database failed: disk full, file locked, file damaged.
    #[error("the ledger's database failed: {reason}; check disk and permissions")]
    Database {
        /// What it says.
        reason: String,
    },
    /// A newer version of this program wrote the file.
    #[error("the ledger has schema {got}, this program knows {known}: start a newer version")]
    NewerSchema {
        /// Schema known here.
        known: u32,
        /// Schema found.
        got: u32,
    },
    /// A stored value is not what this program writes.
    #[error("the ledger holds a damaged {what}: restore it from a backup")]
    Damaged {
        /// Which value.
        what: String,
    },
    /// A backup that cannot be made or restored.
    #[error("{reason}")]
    Backup {
        /// Why not.
        reason: String,
    },
    /// The writer has stopped.
    #[error("the ledger's writer has stopped")]
    Stopped,
}

/// No part of a charge can be given back or disputed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "nothing of the charge of hold {hold} is left: it was given back, is in dispute, or was nothing"
)]
pub struct NothingLeft {
    /// The hold.
    pub hold: HoldId,
}

impl StoredHold {
    /// What of the charge was neither given back nor frozen.
    pub fn left_of_charge(&self) -> Result<MicroUnits, NothingLeft> {
        let charged = self.charged.unwrap_or_default();
        let left = charged.saturating_sub(self.credited).saturating_sub(self.disputed);
        match left {
            MicroUnits(0) => Err(NothingLeft { hold: self.hold }),
            left => Ok(left),
        }
    }
}

/// A hold as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredHold {
    /// Place in the order of creation.
    pub number: u64,
    /// Its id.
    pub hold: HoldId,
    /// Who pays.
    pub account: AccountNumber,
    /// Unit of account.
    pub unit: Unit,
    /// Set aside.
    pub amount: MicroUnits,
    /// Where it stands.
    pub state: HoldState,
    /// Charged at settlement.
    pub charged: Option<MicroUnits>,
    /// The receipt that settled it.
    pub receipt: Option<Digest>,
    /// Released then without a receipt.
    pub settle_by: UnixSeconds,
    /// Digest of the order.
    pub order_digest: Digest,
    /// The signed order.
    pub order: Vec<u8>,
    /// The signed grant.
    pub grant: Vec<u8>,
    /// The delegation behind it.
    pub delegation: Vec<u8>,
    /// The enclave it was sent to.
    pub instance: InstanceId,
    /// Name of the model; empty for holds of old ledgers.
    pub model: String,
    /// Who in the account spent.
    pub spender: Spender,
    /// Who earns what of the charge.
    pub split: Vec<Part>,
    /// Given back of the charge.
    pub credited: MicroUnits,
    /// Frozen of the charge until a dispute is decided.
    pub disputed: MicroUnits,
}

/// An appraised keyset with its evidence, as archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedReport {
    /// The keyset and its keys.
    pub keyset: ArchivedKeyset,
    /// JCS bytes of the keyset.
    pub keyset_jcs: Vec<u8>,
    /// The attestation report, exactly as served.
    pub report: Vec<u8>,
    /// Leaf bytes.
    pub leaf: Vec<u8>,
}

/// What of an appraised keyset is needed to believe its records. Only an appraisal leads here:
/// see [`crate::catalogue::Appraised`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedKeyset {
    /// Digest of the keyset.
    pub digest: Digest,
    /// The enclave.
    pub instance: InstanceId,
    /// Keys that sign its records.
    pub receipt_keys: Vec<PublicKey>,
    /// Whether no hardware stands behind it.
    pub simulated: bool,
    /// End of the keyset.
    pub not_after: UnixSeconds,
    /// When the broker appraised it.
    pub appraised_at: UnixSeconds,
    /// Digest of the report it was archived with.
    pub evidence: Digest,
    /// Its leaf.
    pub leaf_index: u64,
}

/// Where an epoch's log stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EpochState {
    /// The epoch.
    pub epoch: EpochId,
    /// Its keyset.
    pub keyset: Digest,
    /// Next place to be logged.
    pub next_seq: u64,
    /// Digest of the last record logged.
    pub tip: Option<Digest>,
    /// Whether its close record is logged.
    pub closed: bool,
}

/// A record as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Place in the order of arrival.
    pub number: u64,
    /// What it is.
    pub kind: RecordKind,
    /// The epoch.
    pub epoch: EpochId,
    /// Place in the epoch.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
    /// Keyset whose key signed it.
    pub keyset: Digest,
    /// The signed bytes.
    pub bytes: Vec<u8>,
    /// Its leaf, once logged.
    pub leaf_index: Option<u64>,
    /// Why it was not charged.
    pub flag: Option<String>,
}

/// Where all value of one unit of account is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Ever issued.
    pub issued: u128,
    /// Free.
    pub available: u128,
    /// Set aside.
    pub held: u128,
    /// Spent, refunds taken off.
    pub spent: u128,
    /// Lapsed.
    pub expired: u128,
}

impl Totals {
    /// True when nothing appeared or vanished.
    pub fn balances(&self) -> bool {
        self.issued == self.available + self.held + self.spent + self.expired
    }
}

/// Transfers that correct charges; there are few, and a store finds them without looking through
/// the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Corrections {
    /// Charges that were frozen.
    Disputes,
    /// What was given back: by a refund, or by a dispute decided for the customer.
    Refunds,
}

impl Corrections {
    /// The kinds of transfers it stands for.
    pub fn kinds(self) -> [TransferKind; 2] {
        match self {
            Corrections::Disputes => [TransferKind::Dispute; 2],
            Corrections::Refunds => [TransferKind::Refund, TransferKind::Uphold],
        }
    }
}

type Answer<T> = Result<T, StoreError>;

/// What can be asked. Answers are of the last durable state.
pub trait Queries {
    /// An account.
    fn account(&self, account: AccountNumber) -> Answer<Option<Account>>;
    /// All accounts, by number.
    fn accounts(&self) -> Answer<Vec<Account>>;
    /// A credential by digest.
    fn credential(&self, digest: &Digest) -> Answer<Option<Credential>>;
    /// The account an order key belongs to.
    fn order_key_owner(&self, handle: &AccountHandle) -> Answer<Option<AccountNumber>>;
    /// An account's order keys.
    fn order_keys(&self, account: AccountNumber) -> Answer<Vec<AccountHandle>>;
    /// An account's packages, by number.
    fn packages(&self, account: AccountNumber) -> Answer<Vec<Package>>;
    /// A hold.
    fn hold(&self, hold: &HoldId) -> Answer<Option<StoredHold>>;
    /// Holds after number `after`, in order of creation; one account's or all.
    fn holds(
        &self,
        account: Option<AccountNumber>,
        after: u64,
        limit: usize,
    ) -> Answer<Vec<StoredHold>>;
    /// An archived keyset.
    fn keyset(&self, digest: &Digest) -> Answer<Option<ArchivedKeyset>>;
    /// All archived keysets, oldest first.
    fn keysets(&self) -> Answer<Vec<ArchivedKeyset>>;
    /// The report a keyset was archived with.
    fn report(&self, keyset: &Digest) -> Answer<Option<Vec<u8>>>;
    /// Where an epoch stands.
    fn epoch(&self, epoch: &EpochId) -> Answer<Option<EpochState>>;
    /// Leaf of the record that opened an epoch, once it is logged.
    fn epoch_open_leaf(&self, epoch: &EpochId) -> Answer<Option<u64>>;
    /// A record by digest.
    fn record(&self, digest: &Digest) -> Answer<Option<StoredRecord>>;
    /// Receipts after arrival number `after`; one account's or all.
    fn receipts(
        &self,
        account: Option<AccountNumber>,
        after: u64,
        limit: usize,
    ) -> Answer<Vec<StoredRecord>>;
    /// The last `limit` receipts, in order of arrival; one account's or all.
    fn newest_receipts(
        &self,
        account: Option<AccountNumber>,
        limit: usize,
    ) -> Answer<Vec<StoredRecord>>;
    /// Leaves from index `from`, at most `limit`.
    fn leaves(&self, from: u64, limit: usize) -> Answer<Vec<Vec<u8>>>;
    /// How many leaves there are.
    fn leaf_count(&self) -> Answer<u64>;
    /// Transfers after number `after`; one account's or all.
    fn transfers(
        &self,
        account: Option<AccountNumber>,
        after: u64,
        limit: usize,
    ) -> Answer<Vec<Transfer>>;
    /// Corrections of charges after transfer number `after`; one account's or all.
    fn corrections(
        &self,
        which: Corrections,
        account: Option<AccountNumber>,
        after: u64,
        limit: usize,
    ) -> Answer<Vec<Transfer>>;
    /// The last `limit` corrections of charges, in order; one account's or all.
    fn newest_corrections(
        &self,
        which: Corrections,
        account: Option<AccountNumber>,
        limit: usize,
    ) -> Answer<Vec<Transfer>>;
    /// An account's transfers for a hold, oldest first.
    fn hold_transfers(&self, account: AccountNumber, hold: &HoldId) -> Answer<Vec<Transfer>>;
    /// Signed price books, oldest first.
    fn price_books(&self) -> Answer<Vec<Vec<u8>>>;
    /// Version of the newest price book; 0 before the first.
    fn newest_price_book(&self) -> Answer<u64>;
    /// Kept checkpoints, oldest first.
    fn checkpoints(&self) -> Answer<Vec<Vec<u8>>>;
    /// Entries of a kind after number `after`, by number; one account's or all.
    fn entries(
        &self,
        kind: EntryKind,
        account: Option<AccountNumber>,
        after: u64,
        limit: usize,
    ) -> Answer<Vec<Entry>>;
    /// The entry of a kind under a key.
    fn entry(&self, kind: EntryKind, key: &[u8]) -> Answer<Option<Entry>>;
    /// Number of the newest entry of a kind; 0 before the first.
    fn newest_entry(&self, kind: EntryKind) -> Answer<u64>;
    /// An account's credentials: digest and what is kept of each, oldest first.
    fn credentials(&self, account: AccountNumber) -> Answer<Vec<(Digest, Credential)>>;
    /// Where all value is, by unit, with the number of the last transfer behind it (0 before the
    /// first): one and the same durable state. What is owed to parties is not counted.
    fn supply(&self) -> Answer<(u64, Vec<(Unit, Totals)>)>;
    /// Where all value is, by unit.
    fn totals(&self) -> Answer<Vec<(Unit, Totals)>> {
        self.supply().map(|(_, totals)| totals)
    }
    /// How many messages were kept as not believed.
    fn anomalies(&self) -> Answer<u64>;
    /// When the earliest active hold or usable package ends, if any does.
    fn next_expiry(&self) -> Answer<Option<UnixMillis>>;
}
