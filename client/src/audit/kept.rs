//! What one round keeps of leaves, receipts, orders and transfers until they are compared.

use std::collections::{HashMap, HashSet};

use bulla_wire::bundle::Transfer;
use bulla_wire::decision::Decision;
use bulla_wire::ids::{Digest, HoldId, ReceiptId};
use bulla_wire::leaf::Leaf;
use bulla_wire::receipt::{Outcome, UsageReceipt};

use super::decision::Ruling;
use super::hold::Holds;
use super::log::LeafFact;
use super::order::{OrderFact, TermsPool};
use super::own::OwnOrder;
use super::places::{Place, Places};
use super::receipt::{ReceiptFact, fact};
use super::report::Sheet;
use super::rounds::Round;
use super::{CheckName, Record};

/// What a customer kept is few: it is compared at once, so every round for holds keeps it.
#[derive(Debug, Default)]
pub(super) struct Pins {
    orders: HashSet<Digest>,
    receipts: HashSet<Digest>,
    holds: HashSet<HoldId>,
}

impl Pins {
    pub(super) fn of(own: &[OwnOrder]) -> Pins {
        Pins {
            orders: own.iter().map(|kept| kept.digest).collect(),
            receipts: own.iter().filter_map(OwnOrder::receipt).collect(),
            holds: own.iter().map(|kept| kept.order.hold).collect(),
        }
    }
}

/// The part of a bundle that one round compares.
#[derive(Debug)]
pub(super) struct Kept<'r> {
    pub(super) round: &'r Round,
    pins: &'r Pins,
    pool: TermsPool,
    /// Leaves of receipts, by the receipt's digest.
    pub(super) leaves: HashMap<Digest, LeafFact>,
    /// Grants in the log, by the order's digest.
    pub(super) granted: HashMap<Digest, Ruling>,
    /// The newest refusal of each order.
    pub(super) refused: HashMap<Digest, Ruling>,
    pub(super) receipts: HashMap<Digest, ReceiptFact>,
    pub(super) places: Places,
    pub(super) orders: HashMap<Digest, OrderFact>,
    pub(super) order_of: HashMap<HoldId, Digest>,
    pub(super) holds: Holds,
    ids: HashSet<ReceiptId>,
    /// Final receipts of answers, and of what failed in an enclave.
    pub(super) served: u64,
    pub(super) failed: u64,
}

impl<'r> Kept<'r> {
    pub(super) fn new(round: &'r Round, pins: &'r Pins) -> Kept<'r> {
        Kept {
            round,
            pins,
            pool: TermsPool::default(),
            leaves: HashMap::new(),
            granted: HashMap::new(),
            refused: HashMap::new(),
            receipts: HashMap::new(),
            places: Places::default(),
            orders: HashMap::new(),
            order_of: HashMap::new(),
            holds: Holds::default(),
            ids: HashSet::new(),
            served: 0,
            failed: 0,
        }
    }

    /// Takes what is compared of a leaf: where a receipt stands, and what was decided of an order.
    pub(super) fn leaf(&mut self, sheet: &mut Sheet, index: u64, leaf: &Leaf) {
        match *leaf {
            Leaf::Receipt { epoch, seq, prev, receipt } => {
                self.receipt_leaf(sheet, receipt, LeafFact { index, epoch, seq, prev });
            }
            Leaf::Decision { order, at, decision } => {
                self.ruling(sheet, order, Ruling { index, at, decision });
            }
            _ => {}
        }
    }

    fn receipt_leaf(&mut self, sheet: &mut Sheet, receipt: Digest, fact: LeafFact) {
        if !self.round.leaf(receipt) {
            return;
        }
        let LeafFact { epoch, seq, index, .. } = fact;
        if let Some(other) = self.leaves.get(&receipt) {
            let message =
                format!("receipt {receipt} is logged twice, in leaves {} and {index}", other.index);
            return sheet.fail(CheckName::ReceiptOnce, Record::Place { epoch, seq }, message);
        }
        self.leaves.insert(receipt, fact);
    }

    fn ruling(&mut self, sheet: &mut Sheet, order: Digest, ruling: Ruling) {
        let here = self.round.hold(order);
        if !here && !self.pins.orders.contains(&order) {
            return;
        }
        match ruling.decision {
            Decision::Granted => {}
            // Said of what came through witnesses: a reason that was given stands.
            Decision::NotReceived | Decision::UnknownKey => {
                self.refused.entry(order).or_insert(ruling);
                return;
            }
            _ => {
                self.refused.insert(order, ruling);
                return;
            }
        }
        let before = self.granted.get(&order).map(|before| before.index);
        self.granted.entry(order).or_insert(ruling);
        if here {
            let record = || Record::Leaf { index: ruling.index };
            sheet.judge(CheckName::OrderDecision, before.is_none(), record, || {
                format!("order {order} is granted twice, in leaf {} too", before.unwrap_or(0))
            });
        }
    }

    /// Takes a receipt; `ordinal` is its place among the receipts of the bundle.
    pub(super) fn receipt(
        &mut self,
        sheet: &mut Sheet,
        ordinal: u64,
        digest: Digest,
        receipt: UsageReceipt,
    ) {
        let round = self.round;
        if round.leaf(receipt.id) {
            self.count(sheet, digest, &receipt);
        }
        if round.hold(Places::block(&receipt)) {
            self.places.add(Place::of(digest, &receipt));
        }
        let wanted = round.leaf(digest)
            || round.hold(receipt.order)
            || round.hold(receipt.hold)
            || (round.is_for_holds() && self.pins.receipts.contains(&digest));
        if wanted {
            let fact = fact(ordinal, receipt, &mut self.pool);
            self.receipts.entry(digest).or_insert(fact);
        }
    }

    /// Counts each receipt once.
    fn count(&mut self, sheet: &mut Sheet, digest: Digest, receipt: &UsageReceipt) {
        let new = self.ids.insert(receipt.id);
        sheet.judge(
            CheckName::ReceiptOnce,
            new,
            || Record::Receipt { id: receipt.id, epoch: receipt.epoch, seq: receipt.seq, digest },
            || "another receipt of the bundle has the same id".to_owned(),
        );
        match receipt.outcome {
            _ if !new || receipt.interim.is_some() => {}
            Outcome::EnclaveError | Outcome::Refused => self.failed += 1,
            _ => self.served += 1,
        }
    }

    /// Takes an order; `fact` makes what is kept of it.
    pub(super) fn order(
        &mut self,
        sheet: &mut Sheet,
        (hold, digest): (HoldId, Digest),
        fact: impl FnOnce(&mut TermsPool) -> OrderFact,
    ) {
        if self.round.hold(hold) {
            let other = self.order_of.insert(hold, digest);
            let record = || Record::Order { hold, digest };
            sheet.judge(CheckName::OrderSignature, other.is_none(), record, || {
                "another order of the bundle names the same hold".to_owned()
            });
        }
        if self.round.hold(hold) || self.round.hold(digest) {
            self.orders.insert(digest, fact(&mut self.pool));
        }
    }

    /// Takes a transfer that places or ends a hold.
    pub(super) fn transfer(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        let Some(hold) = transfer.hold else { return };
        if self.round.hold(hold) {
            self.holds.take(sheet, transfer);
        } else if self.round.is_for_holds() && self.pins.holds.contains(&hold) {
            // What is wrong with it is written down in its own round.
            self.holds.take(&mut Sheet::default(), transfer);
        }
        if let Some(receipt) = transfer.receipt.filter(|receipt| self.round.leaf(*receipt)) {
            self.holds.settle_once(sheet, transfer, receipt);
        }
    }
}
