//! What one round leaves to the next, and to the end.

use std::collections::BTreeMap;

use bulla_wire::ids::HoldId;
use bulla_wire::units::{Unit, UnixSeconds};

use super::facts::{OpenHold, OpenHolds, cut};
use super::hold::HoldFact;
use super::places::{Ends, Places};
use super::receipt::ReceiptFact;
use super::report::Sheet;

/// Carried from round to round.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// Index of the leaf of each receipt, by the receipt's ordinal; [`NO_LEAF`] where it has none.
    leaf_of: Vec<u64>,
    ends: Ends,
    pub(super) open: OpenHolds,
    /// What holds still hold, by account and unit.
    pub(super) held: BTreeMap<(u64, Unit), u128>,
    /// Final receipts of answers, and of what failed in an enclave.
    pub(super) served: u64,
    pub(super) failed: u64,
}

/// No log has so many leaves.
const NO_LEAF: u64 = u64::MAX;

impl Carried {
    /// With room for this many receipts.
    pub(super) fn of(receipts: u64) -> Carried {
        let receipts = usize::try_from(receipts).unwrap_or(usize::MAX);
        Carried { leaf_of: vec![NO_LEAF; receipts], ..Carried::default() }
    }

    pub(super) fn note_leaf(&mut self, receipt: &ReceiptFact, leaf: u64) {
        let place = usize::try_from(receipt.ordinal).ok();
        if let Some(of_receipt) = place.and_then(|place| self.leaf_of.get_mut(place)) {
            *of_receipt = leaf;
        }
    }

    /// Where the leaf of a receipt stands, if it has one.
    pub(super) fn leaf_of(&self, receipt: &ReceiptFact) -> Option<u64> {
        let place = usize::try_from(receipt.ordinal).ok()?;
        self.leaf_of.get(place).copied().filter(|leaf| *leaf != NO_LEAF)
    }

    /// Adds what a hold still holds.
    pub(super) fn still_held(
        &mut self,
        id: HoldId,
        hold: &HoldFact,
        settle_by: Option<UnixSeconds>,
    ) {
        let left = hold.left();
        if left == 0 {
            return;
        }
        *self.held.entry((hold.account, hold.unit.clone())).or_default() += left;
        self.open.add(OpenHold { hold: id, account: hold.account, left: cut(left), settle_by });
    }

    /// Compares the places of a round.
    pub(super) fn places(&mut self, sheet: &mut Sheet, places: Places) {
        self.ends.take(sheet, places);
    }

    /// What only the end of all rounds shows.
    pub(super) fn conclude(&self, sheet: &mut Sheet) {
        self.ends.conclude(sheet);
    }
}
