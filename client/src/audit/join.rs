//! What must agree: receipt and leaf, receipt and order, hold and receipt. Of each comparison a round
//! makes those whose key is in its part.

use std::collections::{BTreeMap, HashMap};

use bulla_wire::ids::{AccountHandle, Digest, HoldId};
use bulla_wire::price::TokenUsage;
use bulla_wire::receipt::OrderMode;
use bulla_wire::units::{TokenCount, UnixSeconds};

use super::carried::Carried;
use super::hold::HoldFact;
use super::kept::Kept;
use super::log::{LeafFact, Log};
use super::order::{OrderFact, Terms};
use super::receipt::ReceiptFact;
use super::report::{Sheet, View};
use super::survey::Context;
use super::{CheckName, Record};

/// How long after settle-by a hold without a receipt may still stand before it is an error.
pub const RELEASE_GRACE_SECONDS: u64 = 3600;

/// The account of orders that name none: the broker's number for nobody.
pub(super) const ANONYMOUS: u64 = 0;

/// Order keys and the accounts they belong to.
pub(super) type Owners = HashMap<AccountHandle, u64>;

/// A receipt under its digest.
type Shown<'a> = (&'a Digest, &'a ReceiptFact);

/// Everything that one round has, side by side.
pub(super) struct Join<'a> {
    pub(super) context: &'a Context,
    pub(super) log: &'a Log,
    /// The most input tokens that were granted of a model, by keyset and model.
    pub(super) offers: &'a BTreeMap<(Digest, Digest), TokenCount>,
    pub(super) owners: &'a Owners,
    pub(super) kept: &'a Kept<'a>,
}

/// The receipts of one hold.
#[derive(Debug, Clone, Copy)]
struct OfHold<'s, 'a> {
    /// In the order of their places.
    interims: &'s [Shown<'a>],
    finals: &'s [Shown<'a>],
}

impl<'s, 'a> OfHold<'s, 'a> {
    /// Of receipts of one hold, sorted by [`order_within_hold`].
    fn new(receipts: &'s [Shown<'a>]) -> OfHold<'s, 'a> {
        let interims = receipts.partition_point(|(_, receipt)| receipt.interim.is_some());
        let (interims, finals) = receipts.split_at(interims);
        OfHold { interims, finals }
    }

    fn first(&self) -> Option<&ReceiptFact> {
        self.finals.first().or(self.interims.first()).map(|(_, receipt)| *receipt)
    }

    fn find(&self, digest: &Digest) -> Option<&ReceiptFact> {
        let mut all = self.interims.iter().chain(self.finals);
        all.find(|(shown, _)| *shown == digest).map(|(_, receipt)| *receipt)
    }
}

/// By hold, interim ones first, each in the order of the chain.
fn order_within_hold((one, a): &Shown<'_>, (other, b): &Shown<'_>) -> std::cmp::Ordering {
    let key = |digest, receipt: &ReceiptFact| {
        (receipt.hold, receipt.interim.is_none(), receipt.epoch, receipt.seq, digest)
    };
    key(**one, a).cmp(&key(**other, b))
}

impl<'a> Join<'a> {
    /// Makes the comparisons of this round.
    pub(super) fn compare(&self, sheet: &mut Sheet, carried: &mut Carried) {
        carried.served += self.kept.served;
        carried.failed += self.kept.failed;
        if self.kept.round.is_for_leaves() {
            self.leaves(sheet, carried);
        }
        if self.kept.round.is_for_holds() {
            self.holds(sheet, carried);
        }
    }

    /// What is compared by a receipt's digest.
    fn leaves(&self, sheet: &mut Sheet, carried: &mut Carried) {
        for (digest, receipt) in &self.kept.receipts {
            if self.kept.round.leaf(digest) {
                let leaf = self.leaf(sheet, *digest, receipt);
                leaf.into_iter().for_each(|leaf| carried.note_leaf(receipt, leaf));
            }
        }
        self.withheld(sheet);
    }

    /// What is compared by hold, order or place.
    fn holds(&self, sheet: &mut Sheet, carried: &mut Carried) {
        for (digest, receipt) in &self.kept.receipts {
            if self.kept.round.hold(receipt.order) {
                self.order(sheet, *digest, receipt);
                self.before_its_leaf(sheet, *digest, receipt, carried.leaf_of(receipt));
            }
            if self.kept.round.hold(receipt.hold) {
                self.has_hold(sheet, *digest, receipt);
            }
        }
        let of_holds = self.by_hold();
        for series in of_holds.chunk_by(|(_, one), (_, next)| one.hold == next.hold) {
            judge_series(sheet, OfHold::new(series));
        }
        for (id, hold) in self.kept.holds.iter().filter(|(id, _)| self.kept.round.hold(*id)) {
            self.hold(sheet, *id, hold, &of_holds);
            let settle_by = self.order_of(id).and_then(|order| order.settle_by);
            carried.still_held(*id, hold, settle_by);
        }
        self.unbacked_orders(sheet);
        self.decisions(sheet);
    }

    /// The receipts of this round's holds, hold by hold.
    fn by_hold(&self) -> Vec<Shown<'a>> {
        let receipts = self.kept.receipts.iter();
        let mut shown: Vec<_> =
            receipts.filter(|(_, receipt)| self.kept.round.hold(receipt.hold)).collect();
        shown.sort_unstable_by(order_within_hold);
        shown
    }

    /// The orders of this round's holds.
    pub(super) fn orders(&self) -> impl Iterator<Item = (&Digest, &OrderFact)> {
        self.kept.orders.iter().filter(|(_, order)| self.kept.round.hold(order.hold))
    }

    fn order_of(&self, hold: &HoldId) -> Option<&OrderFact> {
        self.kept.order_of.get(hold).and_then(|digest| self.kept.orders.get(digest))
    }

    /// Judges a receipt's leaf, and says where it stands.
    fn leaf(&self, sheet: &mut Sheet, digest: Digest, receipt: &ReceiptFact) -> Option<u64> {
        let record = || receipt.record(digest);
        let Some(leaf) = self.kept.leaves.get(&digest) else {
            let waits = self.log.may_follow(&receipt.epoch, receipt.seq);
            match waits && self.context.view != View::Receipt {
                true => sheet.warn(CheckName::ReceiptLeaf, record(), "not in the log yet"),
                false => sheet.fail(CheckName::ReceiptLeaf, record(), "not in the log"),
            }
            return None;
        };
        let same = (leaf.epoch, leaf.seq, leaf.prev) == (receipt.epoch, receipt.seq, receipt.prev);
        sheet.judge(CheckName::ReceiptLeaf, same, record, || {
            format!(
                "leaf {} says epoch {} place {} after {}",
                leaf.index, leaf.epoch, leaf.seq, leaf.prev
            )
        });
        let opened = self.context.epochs.get(&receipt.epoch).map(|epoch| epoch.leaf);
        sheet.judge(
            CheckName::ChainStart,
            opened.is_some_and(|at| at < leaf.index),
            record,
            || format!("leaf {} stands before its epoch was opened", leaf.index),
        );
        let priced = self.context.books.leaf(&receipt.terms.price_book);
        sheet.judge(
            CheckName::PriceInForce,
            priced.is_none_or(|at| at < leaf.index),
            record,
            || format!("leaf {} stands before its price book was logged", leaf.index),
        );
        Some(leaf.index)
    }

    /// A receipt's leaf stands behind what its order rests on.
    fn before_its_leaf(
        &self,
        sheet: &mut Sheet,
        digest: Digest,
        receipt: &ReceiptFact,
        leaf: Option<u64>,
    ) {
        let Some(leaf) = leaf else { return };
        self.grant_before(sheet, &receipt.order, leaf, receipt.record(digest));
        let order = self.kept.orders.get(&receipt.order);
        let delegated = order.and_then(|order| order.delegation_leaf);
        sheet.judge(
            CheckName::Delegation,
            delegated.is_none_or(|at| at < leaf),
            || receipt.record(digest),
            || format!("leaf {leaf} stands before its delegation was logged"),
        );
    }

    /// Leaves whose receipt nobody shows.
    fn withheld(&self, sheet: &mut Sheet) {
        for (digest, leaf) in &self.kept.leaves {
            let shown = self.kept.receipts.contains_key(digest);
            let LeafFact { index, epoch, seq, .. } = *leaf;
            sheet.judge(
                CheckName::ReceiptPresent,
                shown,
                || Record::Place { epoch, seq },
                || format!("leaf {index} names receipt {digest}, which is not in the bundle"),
            );
        }
    }

    fn order(&self, sheet: &mut Sheet, digest: Digest, receipt: &ReceiptFact) {
        let record = || receipt.record(digest);
        if receipt.mode == OrderMode::BrokerVouched {
            let ordered = self.kept.orders.contains_key(&receipt.order);
            sheet.judge(CheckName::ReceiptOrder, !ordered, record, || {
                "says broker-vouched, though a customer signed its order".to_owned()
            });
            let message = "broker-vouched: no customer signed an order for it";
            sheet.warn(CheckName::ReceiptOrder, record(), message);
            return self.context.books.judge(sheet, &receipt.terms, receipt.issued_at, record);
        }
        let Some(order) = self.kept.orders.get(&receipt.order) else {
            let message = format!("order {} is not in the bundle", receipt.order);
            return sheet.fail(CheckName::ReceiptOrder, record(), message);
        };
        let differing = differing(order, receipt);
        sheet.judge(CheckName::ReceiptOrder, differing.is_empty(), record, || {
            format!("differs from its order in {}", differing.join(", "))
        });
        let TokenUsage { input, output, .. } = receipt.usage;
        let within = input <= order.ceiling_input && output <= order.ceiling_output;
        sheet.judge(CheckName::ReceiptUsage, within, record, || {
            format!(
                "{input} input and {output} output tokens, ordered were at most {} and {}",
                order.ceiling_input, order.ceiling_output
            )
        });
        let (charge, most) = (receipt.charge, order.max_charge);
        sheet.judge(CheckName::ReceiptCharge, charge <= most, record, || {
            format!("charges {charge}, the customer signed for {most} at most")
        });
    }

    fn has_hold(&self, sheet: &mut Sheet, digest: Digest, receipt: &ReceiptFact) {
        if self.context.view == View::Receipt {
            return;
        }
        let free = self.order_of(&receipt.hold).is_some_and(|order| order.to_hold == 0);
        let held = free || self.kept.holds.contains(&receipt.hold);
        sheet.judge(
            CheckName::LedgerHold,
            held,
            || receipt.record(digest),
            || format!("its hold {} is not in the ledger", receipt.hold),
        );
    }

    /// A hold of the ledger against its order and its receipts.
    fn hold(&self, sheet: &mut Sheet, id: HoldId, hold: &HoldFact, of_holds: &[Shown<'_>]) {
        let from = of_holds.partition_point(|(_, receipt)| receipt.hold < id);
        let length = of_holds[from..].partition_point(|(_, receipt)| receipt.hold == id);
        let of_hold = OfHold::new(&of_holds[from..from + length]);
        self.owner(sheet, id, hold, of_hold);
        match hold.settled() {
            Some(settled) => self.settlement(sheet, id, hold, settled, of_hold),
            None => self.unsettled(sheet, id, hold, of_hold),
        }
    }

    /// Who is charged is who ordered, in the unit that was ordered.
    fn owner(&self, sheet: &mut Sheet, id: HoldId, hold: &HoldFact, of_hold: OfHold<'_, '_>) {
        let record = || Record::Hold { hold: id };
        let order = self.order_of(&id);
        let any = of_hold.first();
        let vouched = any.is_some_and(|receipt| receipt.mode == OrderMode::BrokerVouched);
        sheet.judge(CheckName::LedgerHold, order.is_some() || vouched, record, || {
            "no granted order names it".to_owned()
        });
        let (held, to_hold) = (hold.held(), order.map(|order| order.to_hold));
        let exact = to_hold.is_none_or(|to_hold| held == u128::from(to_hold));
        sheet.judge(CheckName::LedgerHold, exact, record, || {
            format!("holds {held}, the order can cost {} at most", to_hold.unwrap_or_default())
        });
        let terms = order.map(|order| &order.terms).or(any.map(|receipt| &receipt.terms));
        let Some(Terms { account, unit, .. }) = terms.map(|terms| &**terms) else { return };
        let owner = self.owners.get(account);
        // An anonymous order is signed with a key of its own, which is nobody's.
        let anonymous = hold.account == ANONYMOUS && owner.is_none();
        let fits = anonymous || owner == Some(&hold.account);
        sheet.judge(CheckName::LedgerAccount, fits, record, || {
            let owner = owner.map_or("no account".to_owned(), |owner| format!("account {owner}"));
            format!("held from account {}, ordered by {account} of {owner}", hold.account)
        });
        sheet.judge(CheckName::LedgerHold, *unit == hold.unit, record, || {
            format!("held in {}, ordered in {unit}", hold.unit)
        });
    }

    fn settlement(
        &self,
        sheet: &mut Sheet,
        id: HoldId,
        hold: &HoldFact,
        settled: u128,
        of_hold: OfHold<'_, '_>,
    ) {
        let record = || Record::Hold { hold: id };
        let check = CheckName::LedgerSettlement;
        let left = hold.left();
        sheet.judge(CheckName::LedgerHold, left == 0, record, || {
            format!("settled, and {left} of it neither spent nor released")
        });
        let [digest] = hold.receipts.as_slice() else {
            let message = format!("settled under {} receipts", hold.receipts.len());
            return sheet.fail(check, record(), message);
        };
        let Some(receipt) = of_hold.find(digest) else {
            let message =
                format!("settled under receipt {digest}: the bundle has none such for it");
            return sheet.fail(check, record(), message);
        };
        sheet.judge(check, settled == u128::from(receipt.charge.0), record, || {
            format!("{settled} settled, the receipt charges {}", receipt.charge)
        });
        let newest_interim = of_hold.interims.last().map(|(digest, _)| *digest);
        let due = match of_hold.finals.is_empty() {
            true => newest_interim == Some(digest),
            false => receipt.interim.is_none(),
        };
        sheet.judge(check, due, record, || {
            "settled under an interim receipt that another one supersedes".to_owned()
        });
    }

    fn unsettled(&self, sheet: &mut Sheet, id: HoldId, hold: &HoldFact, of_hold: OfHold<'_, '_>) {
        let record = || Record::Hold { hold: id };
        let left = hold.left();
        let charge = of_hold.finals.first().map(|(_, receipt)| receipt.charge);
        match (left, charge) {
            (0, Some(charge)) if charge.0 > 0 => {
                let message =
                    format!("released, and its receipt over {charge} came later: not charged");
                sheet.warn(CheckName::LedgerSettlement, record(), message);
            }
            (0, _) => sheet.judge(CheckName::LedgerHold, true, record, String::new),
            (_, Some(_)) => {
                let message = format!("{left} held, though its receipt is there");
                sheet.fail(CheckName::LedgerHold, record(), message);
            }
            (_, None) => self.waiting(sheet, id, left),
        }
    }

    /// A hold without a receipt may stand until settle-by.
    fn waiting(&self, sheet: &mut Sheet, id: HoldId, left: u128) {
        let order = self.order_of(&id);
        let Some(settle_by) = order.and_then(|order| order.settle_by) else { return };
        let latest = UnixSeconds(settle_by.0.saturating_add(RELEASE_GRACE_SECONDS));
        let made = self.context.created_at;
        sheet.judge(
            CheckName::LedgerHold,
            made <= latest,
            || Record::Hold { hold: id },
            || format!("{left} held without a receipt at {made}, settle-by was {settle_by}"),
        );
    }

    /// A grant is given only when the hold stands.
    fn unbacked_orders(&self, sheet: &mut Sheet) {
        if self.context.view == View::Receipt {
            return;
        }
        for (digest, order) in self.orders() {
            let record = || Record::Order { hold: order.hold, digest: *digest };
            // An order that can cost nothing holds nothing, and the ledger moves no zeros.
            let held = order.to_hold == 0 || self.kept.holds.contains(&order.hold);
            sheet.judge(CheckName::LedgerHold, held, record, || {
                "granted, but its hold is not in the ledger".to_owned()
            });
        }
    }
}

fn differing(order: &OrderFact, receipt: &ReceiptFact) -> Vec<&'static str> {
    let (ordered, billed) = (&*order.terms, &*receipt.terms);
    let pairs = [
        ("hold", order.hold == receipt.hold),
        ("account", ordered.account == billed.account),
        ("keyset", ordered.keyset == billed.keyset),
        ("model", ordered.model == billed.model),
        ("unit", ordered.unit == billed.unit),
        ("rates", ordered.rates == billed.rates),
        ("price book", ordered.price_book == billed.price_book),
    ];
    pairs.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

/// One final receipt, and before it interim ones that count up.
fn judge_series(sheet: &mut Sheet, of_hold: OfHold<'_, '_>) {
    let Some(hold) = of_hold.first().map(|receipt| receipt.hold) else { return };
    let finals = of_hold.finals.len();
    sheet.judge(
        CheckName::ReceiptOnce,
        finals <= 1,
        || Record::Hold { hold },
        || format!("{finals} final receipts for one hold"),
    );
    let mut before = TokenUsage::default();
    for (expected, (digest, receipt)) in of_hold.interims.iter().enumerate() {
        let record = || receipt.record(**digest);
        let numbered = receipt.interim == Some(expected as u64);
        sheet.judge(CheckName::ReceiptInterim, numbered, record, || {
            format!("interim index {:?}, {expected} comes next", receipt.interim)
        });
        sheet.judge(CheckName::ReceiptInterim, grows(&before, &receipt.usage), record, || {
            "counts less than the interim receipt before it".to_owned()
        });
        before = receipt.usage;
        let last = of_hold.finals.first().map(|(_, last)| *last);
        let precedes =
            last.is_none_or(|last| last.epoch == receipt.epoch && receipt.seq < last.seq);
        sheet.judge(CheckName::ReceiptInterim, precedes, record, || {
            "stands after the final receipt of its hold".to_owned()
        });
    }
    let (Some((digest, last)), false) = (of_hold.finals.first(), of_hold.interims.is_empty())
    else {
        return;
    };
    // A fault of the enclave is free, and so counts nothing.
    let holds = grows(&before, &last.usage) || last.charge.0 == 0;
    sheet.judge(
        CheckName::ReceiptInterim,
        holds,
        || last.record(**digest),
        || "counts less than the interim receipts before it".to_owned(),
    );
}

fn grows(before: &TokenUsage, after: &TokenUsage) -> bool {
    before.input <= after.input && before.output <= after.output
}
