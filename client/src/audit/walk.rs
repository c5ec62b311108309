//! The second reading: every leaf, receipt, order and transfer, judged by itself; and the readings
//! after it, of a bundle whose comparisons take more than one round.

use bulla_attestation::sign::read;
use bulla_wire::bundle::Item;
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::UsageReceipt;

use super::AuditTrust;
use super::kept::Kept;
use super::ledger::Ledger;
use super::log::Log;
use super::order::{self, Orders};
use super::receipt::Receipts;
use super::report::{Counts, Record, Sheet, View};
use super::showing::Showings;
use super::signatures::Signatures;
use super::supply::Supply;
use super::survey::Context;

/// What one item is judged with.
pub(super) struct Desk<'d, 's> {
    pub(super) sheet: &'d mut Sheet,
    pub(super) signatures: &'d mut Signatures<'s>,
    pub(super) context: &'d Context,
    /// Place of the item in the bundle.
    pub(super) number: u64,
}

/// What the second reading made of the whole bundle, beside what is kept to be compared.
#[derive(Debug, Default)]
pub(super) struct Whole {
    pub(super) log: Log,
    pub(super) orders: Orders,
    pub(super) receipts: Receipts,
    pub(super) ledger: Ledger,
    pub(super) showings: Showings,
    counts: Counts,
}

impl Whole {
    /// How many items were read.
    pub(super) fn items(&self) -> u64 {
        self.counts.items
    }

    /// How much was read.
    pub(super) fn counts(&self, context: &Context) -> Counts {
        Counts {
            leaves: self.log.leaves,
            inclusions: self.log.inclusions,
            epochs: context.epochs.len() as u64,
            receipts: self.receipts.count,
            orders: self.orders.count,
            transfers: self.ledger.transfers,
            invoices: self.ledger.invoice_count,
            ..self.counts
        }
    }
}

/// The second reading, while it goes on.
pub(super) struct Walk<'w, 'a, 's> {
    trust: &'a AuditTrust,
    context: &'a Context,
    sheet: &'w mut Sheet,
    signatures: Signatures<'s>,
    kept: Kept<'a>,
    whole: Whole,
    /// Where the whole ledger is shown.
    supply: Option<Supply<'a>>,
}

impl<'w, 'a, 's> Walk<'w, 'a, 's> {
    pub(super) fn new(
        trust: &'a AuditTrust,
        context: &'a Context,
        sheet: &'w mut Sheet,
        signatures: Signatures<'s>,
        kept: Kept<'a>,
    ) -> Self {
        let whole = Whole::default();
        let supply = (context.view == View::Full).then(|| Supply::new(&context.statements));
        Walk { trust, context, sheet, signatures, kept, whole, supply }
    }

    pub(super) fn item(&mut self, item: Option<Item>) {
        let number = self.whole.counts.items;
        self.whole.counts.items += 1;
        let Some(item) = item else { return };
        let (sheet, context, kept) = (&mut *self.sheet, self.context, &mut self.kept);
        let whole = &mut self.whole;
        let mut desk = Desk { sheet, signatures: &mut self.signatures, context, number };
        match item {
            Item::Header(_) => {}
            Item::Checkpoint(_) => whole.counts.checkpoints += 1,
            Item::Evidence(_) => whole.counts.evidence += 1,
            Item::Leaf(leaf) => whole.log.leaf(desk.sheet, context, kept, &leaf.0),
            Item::Inclusion(shown) => whole.log.inclusion(desk.sheet, context, kept, &shown),
            Item::Receipt(receipt) => whole.receipts.add(&mut desk, kept, &receipt.0),
            Item::Order(ordered) => {
                whole.orders.add(&mut desk, &self.trust.broker_root, kept, &ordered);
            }
            Item::Transfer(transfer) => {
                whole.ledger.transfer(desk.sheet, context.view, &transfer);
                kept.transfer(desk.sheet, &transfer);
                if let Some(supply) = &mut self.supply {
                    supply.transfer(desk.sheet, &transfer);
                }
            }
            Item::Invoice(invoice) => whole.ledger.invoice(desk.sheet, invoice),
            Item::Opening(opening) => whole.receipts.open(desk.sheet, number, opening),
            Item::Showing(word) => self.showing(Record::Item { number }, &word.0),
        }
    }

    /// Takes what a witness says of an order.
    pub(super) fn showing(&mut self, record: Record, word: &[u8]) {
        let of = (&self.trust.policy, self.context.origin.as_str());
        self.whole.showings.add(self.sheet, of, record, word);
    }

    /// Judges what the end of the reading shows.
    pub(super) fn conclude(mut self) -> (Whole, Kept<'a>) {
        let (sheet, context) = (self.sheet, self.context);
        self.signatures.finish(sheet);
        self.whole.log.conclude(sheet, context);
        self.whole.receipts.conclude(sheet, context.view);
        if let Some(supply) = &mut self.supply {
            supply.conclude(sheet);
        }
        (self.whole, self.kept)
    }
}

/// A later reading: it keeps another part, and judges nothing by itself a second time.
pub(super) struct Again<'a> {
    context: &'a Context,
    kept: Kept<'a>,
    leaves: u64,
    receipts: u64,
}

impl<'a> Again<'a> {
    pub(super) fn new(context: &'a Context, kept: Kept<'a>) -> Again<'a> {
        Again { context, kept, leaves: 0, receipts: 0 }
    }

    pub(super) fn item(&mut self, sheet: &mut Sheet, item: Option<Item>) {
        match item {
            Some(Item::Leaf(leaf)) => {
                self.leaf(sheet, self.leaves, &leaf.0);
                self.leaves += 1;
            }
            Some(Item::Inclusion(shown)) => self.leaf(sheet, shown.index, &shown.leaf.0),
            Some(Item::Receipt(bytes)) => {
                let ordinal = self.receipts;
                self.receipts += 1;
                if let Ok(receipt) = read::<UsageReceipt>(&bytes.0) {
                    self.kept.receipt(sheet, ordinal, receipt.digest, receipt.value);
                }
            }
            Some(Item::Order(ordered)) if self.kept.round.is_for_holds() => {
                order::keep(sheet, self.context, &mut self.kept, &ordered);
            }
            Some(Item::Transfer(transfer)) => self.kept.transfer(sheet, &transfer),
            _ => {}
        }
    }

    fn leaf(&mut self, sheet: &mut Sheet, index: u64, bytes: &[u8]) {
        let wanted = match self.kept.round.is_for_leaves() {
            true => Leaf::is_receipt(bytes),
            false => Leaf::is_decision(bytes),
        };
        if !wanted {
            return;
        }
        if let Ok(leaf) = Leaf::from_slice(bytes) {
            self.kept.leaf(sheet, index, &leaf);
        }
    }

    pub(super) fn conclude(self) -> Kept<'a> {
        self.kept
    }
}
