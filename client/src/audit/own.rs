//! What a customer kept, held against what the broker shows: no receipt may be missing, and no
//! order be there that the customer did not sign on this machine.

use std::collections::HashSet;

use bulla_wire::ids::{AccountHandle, Digest, HoldId};

use super::join::Join;
use super::report::Sheet;
use super::{CheckName, Record};

/// One order as its customer kept it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnOrder {
    /// Digest of the order.
    pub order: Digest,
    /// The hold it names.
    pub hold: HoldId,
    /// The account it is paid from.
    pub account: AccountHandle,
    /// Digest of the receipt that came with the answer; `None` where the answer was lost.
    pub receipt: Option<Digest>,
}

/// Compares; without anything kept, nothing is asked.
pub(super) fn compare(sheet: &mut Sheet, join: &Join<'_>, own: &[OwnOrder]) {
    for kept in own {
        match kept.receipt {
            Some(receipt) => answered(sheet, join, kept, receipt),
            None => unanswered(sheet, join, kept),
        }
    }
    if !own.is_empty() {
        strangers(sheet, join, own);
    }
}

/// A receipt the customer holds is there, under the same order, and has its leaf.
fn answered(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder, receipt: Digest) {
    let record = || Record::Order { hold: kept.hold, digest: kept.order };
    let shown = join.receipts.by_digest.get(&receipt);
    sheet.judge(CheckName::OwnReceipt, shown.is_some(), record, || {
        format!("receipt {receipt}, which you hold, is not in the bundle")
    });
    let Some(shown) = shown else { return };
    sheet.judge(CheckName::OwnReceipt, shown.order == kept.order, record, || {
        format!("receipt {receipt} is shown for order {}", shown.order)
    });
    let hold = join.ledger.holds.get(&kept.hold);
    let other = hold.and_then(|hold| hold.receipts.iter().find(|named| **named != receipt));
    sheet.judge(CheckName::OwnReceipt, other.is_none(), record, || {
        format!("charged under another receipt than yours, {}", other.copied().unwrap_or(receipt))
    });
}

/// An answer that was lost may have been charged, once: the customer should know.
fn unanswered(sheet: &mut Sheet, join: &Join<'_>, kept: &OwnOrder) {
    let record = Record::Order { hold: kept.hold, digest: kept.order };
    let spent = join.ledger.holds.get(&kept.hold).and_then(|hold| hold.settled()).unwrap_or(0);
    match spent {
        0 => sheet.examine(CheckName::OwnOrder),
        _ => {
            let message =
                format!("its answer did not reach you, and {spent} micro-units were charged");
            sheet.warn(CheckName::OwnOrder, record, message);
        }
    }
}

/// Orders under the customer's keys that the customer does not know.
fn strangers(sheet: &mut Sheet, join: &Join<'_>, own: &[OwnOrder]) {
    let accounts: HashSet<AccountHandle> = own.iter().map(|kept| kept.account).collect();
    let known: HashSet<Digest> = own.iter().map(|kept| kept.order).collect();
    let mut shown: Vec<_> = join.orders.by_digest.iter().collect();
    shown.retain(|(_, order)| accounts.contains(&order.terms.account));
    shown.sort_by_key(|(digest, order)| (order.hold, **digest));
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
