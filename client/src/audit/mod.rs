//! The audit: one bundle and the auditor's own trust in, one verdict out. Offline, years later.
//!
//! A bundle is read twice, item by item, and never held as a whole. The first reading (`survey`)
//! takes what everything else rests on: checkpoints, evidence, epochs, price books, delegations;
//! it passes over the rest. The second (`walk`) recomputes the log and judges every receipt, order
//! and transfer; their signatures are judged beside it, many at a time (`signatures`). `join` then
//! compares what must agree. What is kept of each record until then is a few hundred bytes; where
//! all of it is more than the auditor allows, the bundle is read again, part after part (`rounds`).
//!
//! # What is trusted
//! Only [`AuditTrust`]: log keys, the broker's root key, hardware roots and an appraisal policy,
//! all given by the caller. No key is ever taken from the bundle.
//!
//! # What an audit cannot know
//! The ledger export is the broker's unsigned word: amounts are tied to signed receipts, but the
//! names of packages, memos and what a purchase cost are not. Whether the log showed somebody else
//! another tree is for witnesses to say: their cosignatures are judged where the policy names them. The
//! instant at which evidence was appraised is the broker's word too, bounded by the keyset's own
//! expiry and the policy's longest keyset life. See `docs/spec/bundle.md`.

mod blind;
mod carried;
mod checks;
mod comparison;
mod decision;
mod epoch;
mod facts;
mod hold;
mod join;
mod kept;
mod ledger;
mod log;
mod order;
mod own;
mod places;
mod price;
mod receipt;
mod report;
mod rounds;
mod showing;
mod signatures;
mod supply;
mod survey;
#[cfg(test)]
mod tests;
mod walk;
mod witness;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::policy::Policy;
use bulla_tlog::VerifierKey;
use bulla_wire::bundle::{
    self, Item, KIND_INCLUSION, KIND_INVOICE, KIND_LEAF, KIND_ORDER, KIND_RECEIPT, KIND_SHOWING,
    KIND_TRANSFER,
};
use bulla_wire::ids::PublicKey;

pub use checks::{CheckName, Step};
pub use facts::{
    AccountFact, CheckpointFact, EpochFact, Facts, MAX_OPEN_HOLDS, OpenHold, Orders as OrdersFact,
    TrustFact, account_name,
};
pub use own::{OwnEnd, OwnOrder};
pub use report::{
    AuditReport, Check, CheckResult, Counts, Finding, MAX_FINDINGS, Record, Severity, View,
};

use comparison::Comparison;
use epoch::{Appraiser, appraiser};
use kept::{Kept, Pins};
use report::Sheet;
use signatures::Signatures;
use survey::Survey;
use walk::{Again, Walk};

/// Whom the auditor believes.
#[derive(Debug, Clone)]
pub struct AuditTrust {
    /// Keys of the log; a log that changed its key has more than one. The key's name is the origin.
    pub log_keys: Vec<VerifierKey>,
    /// The broker's root key: signs price books and delegations.
    pub broker_root: PublicKey,
    /// Hardware roots.
    pub anchors: TrustAnchors,
    /// What evidence must look like.
    pub policy: Policy,
}

/// Why a bundle could not be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unreadable at byte {offset}: {reason}")]
pub struct Unreadable {
    /// Where the item that cannot be read starts, in bytes.
    pub offset: u64,
    /// Why.
    pub reason: String,
}

/// The readings of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// Looks for what everything else rests on.
    First,
    /// Judges every item.
    Second,
    /// Once more, for what an earlier reading had no room to compare.
    Again,
}

impl Pass {
    /// Whether this reading looks at items of a kind, by its code.
    pub fn wants(self, kind: u8) -> bool {
        let many = matches!(kind, KIND_RECEIPT | KIND_ORDER | KIND_TRANSFER);
        match self {
            Pass::First => !many && !matches!(kind, KIND_INVOICE | KIND_SHOWING),
            Pass::Second => true,
            Pass::Again => many || matches!(kind, KIND_LEAF | KIND_INCLUSION),
        }
    }
}

/// How an audit works, and what it is given besides the bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means<'o> {
    /// Orders and receipts the customer kept, for a customer's own audit; else empty.
    pub own: &'o [OwnOrder],
    /// What witnesses said of orders they handed over, beside what the bundle has of it.
    pub showings: &'o [Vec<u8>],
    /// Served orders per million that the broker promised, where that is asked.
    pub promised_ppm: Option<u32>,
    /// What may be kept to be compared, in bytes, about; more is compared in several rounds, each of
    /// which reads the bundle again. `None`: all in one round. What does not grow with the number of
    /// requests (packages, epochs, checkpoints, eight bytes a receipt) comes on top.
    pub memory_bytes: Option<u64>,
    /// Threads that judge signatures beside the one that reads; 0: the reader does it itself.
    pub threads: usize,
    /// Judge signatures one by one even where batches can be had.
    pub one_by_one: bool,
}

/// An item, or `None` where it was passed over.
pub type Read = Result<Option<Item>, Unreadable>;

/// The items of a bundle in memory.
#[derive(Debug, Clone)]
pub struct Items<'b> {
    bytes: &'b [u8],
    offset: usize,
    pass: Pass,
    stopped: bool,
}

impl<'b> Items<'b> {
    /// Starts at the first item.
    pub fn new(bytes: &'b [u8], pass: Pass) -> Items<'b> {
        Items { bytes, offset: 0, pass, stopped: false }
    }

    fn stop(&mut self, reason: String) -> Option<Read> {
        self.stopped = true;
        Some(Err(Unreadable { offset: self.offset as u64, reason }))
    }
}

impl Iterator for Items<'_> {
    type Item = Read;

    fn next(&mut self) -> Option<Read> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        if self.stopped || rest.is_empty() {
            return None;
        }
        match bundle::next_item_of(rest, |kind| self.pass.wants(kind)) {
            Ok(Some((item, taken))) => {
                self.offset += taken;
                Some(Ok(item))
            }
            Ok(None) => self.stop("the bundle ends inside an item".to_owned()),
            Err(error) => self.stop(error.to_string()),
        }
    }
}

/// Audits a bundle in memory.
pub fn audit_bytes(bundle: &[u8], trust: &AuditTrust) -> AuditReport {
    audit(trust, Means::default(), |pass| Items::new(bundle, pass))
}

/// Audits the bundle that `open` opens: it is opened twice or more often, and must be the same each
/// time.
pub fn audit<I>(trust: &AuditTrust, means: Means<'_>, open: impl FnMut(Pass) -> I) -> AuditReport
where
    I: Iterator<Item = Read>,
{
    audit_with(trust, &appraiser(trust), means, open)
}

fn audit_with<I>(
    trust: &AuditTrust,
    appraise: Appraiser<'_>,
    means: Means<'_>,
    mut open: impl FnMut(Pass) -> I,
) -> AuditReport
where
    I: Iterator<Item = Read>,
{
    let mut sheet = Sheet::default();
    let mut survey = Survey::new(trust, appraise, &mut sheet);
    let first = feed(open(Pass::First), |item| survey.item(item));
    let (first_round, later) = rounds::plan(survey.items(), means.memory_bytes);
    let context = survey.conclude();
    let pins = Pins::of(means.own);
    let (second, (whole, kept)) = std::thread::scope(|scope| {
        let (signatures, kept) = (Signatures::start(scope, means), Kept::new(&first_round, &pins));
        let mut walk = Walk::new(trust, &context, &mut sheet, signatures, kept);
        let second = feed(open(Pass::Second), |item| walk.item(item));
        means.showings.iter().for_each(|word| walk.showing(Record::Bundle, word));
        (second, walk.conclude())
    });
    let mut readable = first.and(second);
    // A later reading passes over items whose faults ended this one: it ends where this one did.
    let items = usize::try_from(whole.items()).unwrap_or(usize::MAX);
    let mut comparison = Comparison::new(&mut sheet, trust, &context, means, whole);
    comparison.round(&mut sheet, kept, later.is_empty());
    for (number, round) in (1..).zip(&later) {
        let mut again = Again::new(&context, Kept::new(round, &pins));
        let read = feed(open(Pass::Again).take(items), |item| again.item(&mut sheet, item));
        readable = readable.and(read);
        comparison.round(&mut sheet, again.conclude(), number == later.len());
    }
    let (counts, facts) = comparison.conclude(&mut sheet);
    sheet.judge(
        CheckName::BundleFormat,
        readable.is_ok(),
        || Record::Item { number: counts.items },
        || readable.as_ref().err().map_or_else(String::new, Unreadable::to_string),
    );
    let readable = readable.is_ok() && context.has_header;
    sheet.conclude(context.view, readable, context.is_simulated(), counts, facts)
}

fn feed<I>(items: I, mut take: impl FnMut(Option<Item>)) -> Result<(), Unreadable>
where
    I: Iterator<Item = Read>,
{
    for item in items {
        take(item?);
    }
    Ok(())
}
