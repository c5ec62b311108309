//! The comparisons of all rounds, and what they come to.

use super::carried::Carried;
use super::facts::{self, Facts};
use super::join::{Join, Owners};
use super::kept::Kept;
use super::report::{Counts, Sheet, View};
use super::survey::Context;
use super::walk::Whole;
use super::{AuditTrust, CheckName, Means, decision, own};

/// The comparisons, while rounds go on.
pub(super) struct Comparison<'a> {
    trust: &'a AuditTrust,
    context: &'a Context,
    means: Means<'a>,
    whole: Whole,
    owners: Owners,
    carried: Carried,
}

impl<'a> Comparison<'a> {
    pub(super) fn new(
        sheet: &mut Sheet,
        trust: &'a AuditTrust,
        context: &'a Context,
        means: Means<'a>,
        whole: Whole,
    ) -> Comparison<'a> {
        let owners = whole.ledger.handles(sheet);
        let carried = Carried::of(whole.receipts.count);
        Comparison { trust, context, means, whole, owners, carried }
    }

    /// Compares what one round kept.
    pub(super) fn round(&mut self, sheet: &mut Sheet, mut kept: Kept<'_>, is_last: bool) {
        self.carried.places(sheet, std::mem::take(&mut kept.places));
        let join = Join {
            context: self.context,
            log: &self.whole.log,
            offers: &self.whole.orders.offers,
            owners: &self.owners,
            kept: &kept,
        };
        join.compare(sheet, &mut self.carried);
        if kept.round.is_for_holds() {
            self.whole.showings.compare(sheet, &self.trust.policy, &join);
            own::strangers(sheet, &join, self.means.own);
        }
        if is_last {
            own::compare(sheet, &join, self.means.own);
        }
    }

    /// Judges what the end of all rounds shows.
    pub(super) fn conclude(mut self, sheet: &mut Sheet) -> (Counts, Facts) {
        let (context, view) = (self.context, self.context.view);
        self.carried.conclude(sheet);
        if view != View::Full {
            let reason = "this view cannot show that no other record is missing";
            for check in [CheckName::ChainGap, CheckName::ChainLink, CheckName::LogCoverage] {
                sheet.leave_open(check, reason);
            }
        }
        let orders = self.whole.log.decisions.orders_fact(&self.carried);
        decision::availability(sheet, view, self.means.promised_ppm, &orders);
        let Whole { log, ledger, .. } = &mut self.whole;
        ledger.sum_up(self.carried.held);
        ledger.conclude(sheet, context);
        let facts = facts::facts(self.trust, context, (log, ledger), orders, self.carried.open);
        (self.whole.counts(context), facts)
    }
}
