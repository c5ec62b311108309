//! The second reading: every leaf, receipt, order and transfer, judged by itself.

use bulla_wire::bundle::Item;

use super::AuditTrust;
use super::join;
use super::ledger::Ledger;
use super::log::Log;
use super::order::{Orders, TermsPool};
use super::receipt::Receipts;
use super::report::{Counts, Sheet};
use super::survey::Context;

/// The second reading, while it goes on.
pub(super) struct Walk<'a> {
    trust: &'a AuditTrust,
    context: &'a Context,
    sheet: &'a mut Sheet,
    pool: TermsPool,
    log: Log,
    orders: Orders,
    receipts: Receipts,
    ledger: Ledger,
    counts: Counts,
}

impl<'a> Walk<'a> {
    pub(super) fn new(trust: &'a AuditTrust, context: &'a Context, sheet: &'a mut Sheet) -> Self {
        Walk {
            trust,
            context,
            sheet,
            pool: TermsPool::default(),
            log: Log::default(),
            orders: Orders::default(),
            receipts: Receipts::default(),
            ledger: Ledger::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn item(&mut self, item: Item) {
        let number = self.counts.items;
        self.counts.items += 1;
        let (sheet, context) = (&mut *self.sheet, self.context);
        match item {
            Item::Header(_) => {}
            Item::Checkpoint(_) => self.counts.checkpoints += 1,
            Item::Evidence(_) => self.counts.evidence += 1,
            Item::Leaf(leaf) => self.log.leaf(sheet, context, &leaf.0),
            Item::Inclusion(shown) => self.log.inclusion(sheet, context, &shown),
            Item::Receipt(receipt) => {
                self.receipts.add(sheet, context, &mut self.pool, number, &receipt.0);
            }
            Item::Order(ordered) => {
                let root = &self.trust.broker_root;
                self.orders.add(sheet, context, root, &mut self.pool, (number, &ordered));
            }
            Item::Transfer(transfer) => self.ledger.transfer(sheet, context.view, &transfer),
            Item::Invoice(invoice) => self.ledger.invoice(sheet, invoice),
        }
    }

    /// Compares what must agree, and says how much was read.
    pub(super) fn conclude(mut self) -> Counts {
        let (sheet, context) = (self.sheet, self.context);
        self.log.conclude(sheet, context);
        let owners = self.ledger.handles(sheet);
        join::conclude(
            sheet,
            context,
            &self.log,
            &self.orders,
            &self.receipts,
            &self.ledger,
            &owners,
        );
        self.ledger.conclude(sheet, context);
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
