//! What became of orders: the log's decisions, held against the orders, receipts and prices of the
//! bundle, and against the orders a customer kept.

use std::collections::BTreeMap;

use bulla_attestation::hash::account_handle;
use bulla_wire::decision::Decision;
use bulla_wire::ids::Digest;
use bulla_wire::order::Order;
use bulla_wire::units::UnixSeconds;

use super::carried::Carried;
use super::facts::Orders as OrdersFact;
use super::join::Join;
use super::kept::Kept;
use super::order::{MAX_CLOCK_SKEW_SECONDS, OrderFact};
use super::report::{Sheet, View};
use super::{CheckName, Record};

/// Parts in a whole, for availability.
const WHOLE_PPM: u128 = 1_000_000;

/// One decision leaf.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ruling {
    pub(super) index: u64,
    pub(super) at: UnixSeconds,
    pub(super) decision: Decision,
}

/// How often the log has each decision.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    pub(super) counts: BTreeMap<Decision, u64>,
    latest: UnixSeconds,
}

impl Decisions {
    /// Takes the next decision of the log.
    pub(super) fn take(&mut self, sheet: &mut Sheet, ruling: Ruling) {
        let Ruling { index, at, decision } = ruling;
        *self.counts.entry(decision).or_default() += 1;
        let earliest = self.latest.saturating_sub(UnixSeconds(MAX_CLOCK_SKEW_SECONDS));
        sheet.judge(
            CheckName::OrderDecision,
            at >= earliest,
            || Record::Leaf { index },
            || format!("decided at {at}, an order before it at {}", self.latest),
        );
        self.latest = self.latest.max(at);
    }

    /// What became of orders, in numbers.
    pub(super) fn orders_fact(&self, carried: &Carried) -> OrdersFact {
        let counts = &self.counts;
        let (served, failed) = (carried.served, carried.failed);
        let granted = counts.get(&Decision::Granted).copied().unwrap_or(0);
        // An order that waits until its settle-by may still be answered.
        let waiting = carried.open.count;
        let unanswered = granted.saturating_sub(served + failed).saturating_sub(waiting);
        let turned_away = counts.iter().filter(|(decision, _)| is_brokers(**decision));
        let turned_away: u64 = turned_away.map(|(_, count)| count).sum();
        let lost = failed + unanswered + turned_away;
        let all = u128::from(served) + u128::from(lost);
        let ppm = (u128::from(served) * WHOLE_PPM).checked_div(all).unwrap_or(WHOLE_PPM);
        OrdersFact {
            decisions: counts.clone(),
            served,
            failed,
            unanswered,
            turned_away,
            availability_ppm: u32::try_from(ppm).unwrap_or(u32::MAX),
        }
    }
}

/// What was served against what was promised.
pub(super) fn availability(
    sheet: &mut Sheet,
    view: View,
    promised_ppm: Option<u32>,
    orders: &OrdersFact,
) {
    let Some(promised) = promised_ppm else { return };
    let check = CheckName::Availability;
    if view != View::Full {
        return sheet.leave_open(check, "only everybody's orders show it");
    }
    let OrdersFact { served, failed, unanswered, turned_away, availability_ppm: got, .. } = orders;
    sheet.judge(
        check,
        *got >= promised,
        || Record::Bundle,
        || {
            format!(
                "{got} of a million orders were served, {promised} are promised: {served} served, \
             {failed} failed in an enclave, {unanswered} granted and never answered, \
             {turned_away} turned away"
            )
        },
    );
}

impl Join<'_> {
    /// Orders and the log's decisions about them, one for one.
    pub(super) fn decisions(&self, sheet: &mut Sheet) {
        if self.context.view == View::Receipt {
            return;
        }
        let Kept { orders, round, .. } = self.kept;
        for (digest, order) in orders.iter().filter(|(digest, _)| round.hold(*digest)) {
            self.grant_is_logged(sheet, *digest, order);
        }
        if self.context.view == View::Full {
            self.granted_are_shown(sheet);
        }
    }

    fn grant_is_logged(&self, sheet: &mut Sheet, digest: Digest, order: &OrderFact) {
        let check = CheckName::OrderDecision;
        let record = || Record::Order { hold: order.hold, digest };
        let granted = self.kept.granted.get(&digest);
        sheet.judge(check, granted.is_some(), record, || {
            "granted, and the log does not say so".to_owned()
        });
        let Some(Ruling { index, at, .. }) = granted else { return };
        let apart = at.0.abs_diff(order.granted_at.0);
        sheet.judge(check, apart <= MAX_CLOCK_SKEW_SECONDS, record, || {
            format!("granted at {}, leaf {index} says {at}", order.granted_at)
        });
    }

    /// A grant that was logged and whose order nobody shows is a request that was withheld.
    fn granted_are_shown(&self, sheet: &mut Sheet) {
        let Kept { orders, round, granted, .. } = self.kept;
        let withheld = granted.iter().filter(|(digest, _)| round.hold(*digest));
        for (digest, ruling) in withheld.filter(|(digest, _)| !orders.contains_key(*digest)) {
            let record = Record::Leaf { index: ruling.index };
            let message = format!("grants order {digest}, which is not in the bundle");
            sheet.fail(CheckName::OrderDecision, record, message);
        }
    }

    /// A receipt's leaf stands behind the grant of its order.
    pub(super) fn grant_before(&self, sheet: &mut Sheet, order: &Digest, at: u64, record: Record) {
        let granted = self.kept.granted.get(order);
        let before = granted.is_none_or(|ruling| ruling.index < at);
        sheet.judge(
            CheckName::OrderDecision,
            before,
            || record,
            || format!("leaf {at} stands before its order's grant was logged"),
        );
    }

    /// Why the log's reason for refusing this order cannot be true; `None` where it may be.
    pub(super) fn contradiction(&self, order: &Order, ruling: &Ruling) -> Option<String> {
        let (at, skew) = (ruling.at, UnixSeconds(MAX_CLOCK_SKEW_SECONDS));
        let books = &self.context.books;
        let granted = self.offers.get(&(order.keyset, order.model));
        match ruling.decision {
            Decision::Expired => (at.saturating_add(skew) < order.not_after)
                .then(|| format!("it was good until {}", order.not_after)),
            Decision::FromTheFuture => (order.issued_at <= at)
                .then(|| format!("it is dated {}, which had passed", order.issued_at)),
            Decision::NoPriceBook => books
                .in_force(at)
                .map(|(version, _)| format!("version {version} of the price book was in force")),
            Decision::StaleBook => books
                .in_force(at)
                .filter(|(_, digest)| *digest == order.price_book)
                .map(|(version, _)| format!("it names version {version}, which was in force")),
            Decision::NoPrice | Decision::Rates => books
                .has_plain_row(order)
                .then(|| "the price book it names has that very row".to_owned()),
            Decision::MaxCharge | Decision::Amount => most(order)
                .filter(|most| *most <= order.max_charge.0)
                .map(|most| format!("its ceilings can cost {most}, and it allows as much")),
            Decision::NoModel => {
                granted.map(|_| "the same keys were granted orders of that model".to_owned())
            }
            Decision::Context => granted
                .filter(|most| **most >= order.ceiling_input_tokens)
                .map(|most| format!("{most} tokens were granted to another")),
            Decision::UnknownKey => self
                .owners
                .get(&account_handle(&order.order_key))
                .map(|account| format!("its key is account {account}'s")),
            // What the broker knew of its enclaves, limits and balances at that instant is not in
            // the log: who is refused so too often has the count of it.
            _ => None,
        }
    }
}

/// What an order can cost, in micro-units.
fn most(order: &Order) -> Option<u64> {
    let most = order.rates.most(order.ceiling_input_tokens, order.ceiling_output_tokens);
    most.ok().map(|most| most.0)
}

/// Whether a refusal is for a reason on the broker's side.
fn is_brokers(decision: Decision) -> bool {
    matches!(
        decision,
        Decision::NoInstance | Decision::NoPriceBook | Decision::Busy | Decision::Starting
    )
}
