//! What a customer kept, held against what the broker shows: no receipt may be missing, no order be
//! refused for a reason that cannot be true, and none be there that the customer did not sign on
//! this machine.

use std::collections::HashSet;

use bulla_attestation::hash::account_handle;
use bulla_wire::decision::{Decision, MAX_LOGGED_REFUSALS_PER_MINUTE};
use bulla_wire::ids::{AccountHandle, Digest};
use bulla_wire::order::Order;
use bulla_wire::units::{UnixSeconds, decimal};

use super::decision::Ruling;
use super::join::Join;
use super::report::{Sheet, View};
use super::{CheckName, Record};

/// One order as its customer kept it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnOrder {
    /// Digest of the order.
    pub digest: Digest,
    /// The order.
    pub order: Order,
    /// Paid with blind tokens: no account's bundle shows it, the whole one does.
    pub anonymous: bool,
    /// What became of it.
    pub end: OwnEnd,
}

/// What became of an order, as its customer knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnEnd {
    /// The receipt of this digest came with the answer.
    Answered(Digest),
    /// The broker refused it.
    Refused,
    /// The answer was lost.
    Lost,
}

impl OwnOrder {
    /// Digest of the receipt that came with the answer.
    pub(super) fn receipt(&self) -> Option<Digest> {
        match self.end {
            OwnEnd::Answered(receipt) => Some(receipt),
            OwnEnd::Refused | OwnEnd::Lost => None,
        }
    }

    fn record(&self) -> Record {
        Record::Order { hold: self.order.hold, digest: self.digest }
    }
}

/// Compares what was kept with what is shown of it.
pub(super) fn compare(sheet: &mut Sheet, join: &Join<'_>, own: &[OwnOrder]) {
    let of_account = join.context.view == View::Account;
    for kept in own.iter().filter(|kept| !(of_account && kept.anonymous)) {
        match kept.end {
            OwnEnd::Answered(receipt) => answered(sheet, join, kept, receipt),
            // Refused before its tokens were verified, it has no decision: nobody's order is logged.
            OwnEnd::Refused if kept.anonymous => {}
            OwnEnd::Refused => refused(sheet, join, kept, own),
            OwnEnd::Lost => unanswered(sheet, join, kept),
        }
    }
}

/// A receipt the customer holds is there, under the same order, and has its leaf.
fn answered(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder, receipt: Digest) {
    let record = || kept.record();
    let shown = join.kept.receipts.get(&receipt);
    sheet.judge(CheckName::OwnReceipt, shown.is_some(), record, || {
        format!("receipt {receipt}, which you hold, is not in the bundle")
    });
    let Some(shown) = shown else { return };
    sheet.judge(CheckName::OwnReceipt, shown.order == kept.digest, record, || {
        format!("receipt {receipt} is shown for order {}", shown.order)
    });
    let hold = join.kept.holds.get(&kept.order.hold);
    let other = hold.and_then(|hold| hold.receipts.iter().find(|named| **named != receipt));
    sheet.judge(CheckName::OwnReceipt, other.is_none(), record, || {
        format!("charged under another receipt than yours, {}", other.copied().unwrap_or(receipt))
    });
}

/// What the broker refused stands in the log, for a reason that can be true.
fn refused(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder, own: &[OwnOrder]) {
    let check = CheckName::OwnRefusal;
    let Some(ruling) = join.kept.refused.get(&kept.digest) else {
        if join.kept.granted.contains_key(&kept.digest) {
            // Granted, and refused by the enclave or for want of one.
            return sheet.examine(check);
        }
        return match join.context.view {
            View::Full if were_many(kept, own) => {
                sheet.leave_open(check, "so many refusals a minute are not logged")
            }
            View::Full => sheet.fail(check, kept.record(), "refused, and the log does not say so"),
            _ => sheet.leave_open(check, "one account's view has no leaves of refused orders"),
        };
    };
    reason(sheet, join, kept, ruling);
}

/// The log's reason can be true.
fn reason(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder, ruling: &Ruling) {
    let contradiction = join.contradiction(&kept.order, ruling);
    sheet.judge(
        CheckName::OwnRefusal,
        contradiction.is_none(),
        || kept.record(),
        || {
            format!(
                "leaf {} says {} at {}, but {}",
                ruling.index,
                ruling.decision,
                ruling.at,
                contradiction.unwrap_or_default()
            )
        },
    );
}

/// Whether more orders were refused in the minute before this one than are logged.
fn were_many(kept: &OwnOrder, own: &[OwnOrder]) -> bool {
    let until = kept.order.issued_at;
    let minute = until.saturating_sub(UnixSeconds(60))..=until;
    let refused = own.iter().filter(|one| one.end == OwnEnd::Refused);
    let count = refused.filter(|one| minute.contains(&one.order.issued_at)).count();
    count as u64 > MAX_LOGGED_REFUSALS_PER_MINUTE
}

/// An answer that was lost may have been charged, once: the customer should know. Whether the order
/// arrived at all the log says.
fn unanswered(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder) {
    let spent = join.kept.holds.get(&kept.order.hold).and_then(|hold| hold.settled());
    if let Some(spent) = spent.filter(|spent| *spent > 0) {
        let (spent, unit) = (decimal(spent), &kept.order.unit);
        let message = format!("its answer did not reach you, and {spent} {unit} were charged");
        return sheet.warn(CheckName::OwnOrder, kept.record(), message);
    }
    if let Some(ruling) = join.kept.refused.get(&kept.digest) {
        reason(sheet, join, kept, ruling);
        return match ruling.decision {
            Decision::NotReceived => {
                let message = format!(
                    "a witness showed it; leaf {} says that its sealed request never came in",
                    ruling.index
                );
                sheet.warn(CheckName::OwnOrder, kept.record(), message);
            }
            _ => sheet.examine(CheckName::OwnOrder),
        };
    }
    let decided = join.kept.granted.contains_key(&kept.digest);
    match decided || join.context.view != View::Full {
        true => sheet.examine(CheckName::OwnOrder),
        false => {
            let message = "no decision about it is in the log: it did not arrive, or was withheld";
            sheet.warn(CheckName::OwnOrder, kept.record(), message);
        }
    }
}

/// Orders under the customer's keys that the customer does not know.
pub(super) fn strangers(sheet: &mut Sheet, join: &Join<'_>, own: &[OwnOrder]) {
    if own.is_empty() {
        return;
    }
    let accounts: HashSet<AccountHandle> =
        own.iter().map(|kept| account_handle(&kept.order.order_key)).collect();
    let known: HashSet<Digest> = own.iter().map(|kept| kept.digest).collect();
    let shown = join.orders().filter(|(_, order)| accounts.contains(&order.terms.account));
    for (digest, order) in shown {
        match known.contains(digest) {
            true => sheet.examine(CheckName::OwnOnly),
            false => sheet.warn(
                CheckName::OwnOnly,
                Record::Order { hold: order.hold, digest: *digest },
                "signed with your key, and not among the orders this machine kept",
            ),
        }
    }
}
