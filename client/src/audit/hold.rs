//! Holds of the ledger, and what became of them: what is settled or released was held before.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use bulla_wire::bundle::{Transfer, TransferKind};
use bulla_wire::ids::{Digest, HoldId};
use bulla_wire::units::Unit;

use super::report::Sheet;
use super::{CheckName, Record};

/// One package's part in a hold.
#[derive(Debug)]
struct Part {
    package: u64,
    held: u64,
    settled: Option<u64>,
    released: u64,
}

impl Part {
    fn left(&self) -> u64 {
        self.held.saturating_sub(self.settled.unwrap_or(0)).saturating_sub(self.released)
    }
}

/// One hold with all that became of it.
#[derive(Debug)]
pub(super) struct HoldFact {
    pub(super) account: u64,
    pub(super) unit: Unit,
    parts: Vec<Part>,
    /// Receipts its settlements and releases name; one, if all is well.
    pub(super) receipts: Vec<Digest>,
}

impl HoldFact {
    /// What is still held.
    pub(super) fn left(&self) -> u128 {
        self.parts.iter().map(|part| u128::from(part.left())).sum()
    }

    /// What was spent; `None` while no receipt has ended it.
    pub(super) fn settled(&self) -> Option<u128> {
        let settled = self.parts.iter().filter_map(|part| part.settled);
        (!self.receipts.is_empty()).then(|| settled.map(u128::from).sum())
    }

    /// What was set aside.
    pub(super) fn held(&self) -> u128 {
        self.parts.iter().map(|part| u128::from(part.held)).sum()
    }
}

/// Holds, by id.
#[derive(Debug, Default)]
pub(super) struct Holds {
    by_id: HashMap<HoldId, HoldFact>,
    settled_receipts: HashSet<(Digest, u64)>,
}

impl Holds {
    pub(super) fn get(&self, id: &HoldId) -> Option<&HoldFact> {
        self.by_id.get(id)
    }

    pub(super) fn contains(&self, id: &HoldId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HoldId, &HoldFact)> {
        self.by_id.iter()
    }

    /// Takes a transfer that names a hold; those that neither place nor end one are passed over.
    pub(super) fn take(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        match (transfer.kind, transfer.hold) {
            (TransferKind::Hold, Some(id)) => self.place(sheet, id, transfer),
            (TransferKind::Settle | TransferKind::Release, Some(id)) => {
                self.post(sheet, id, transfer);
            }
            _ => {}
        }
    }

    fn place(&mut self, sheet: &mut Sheet, id: HoldId, transfer: &Transfer) {
        let Transfer { number, package_number: package, account_number: account, .. } = *transfer;
        let hold = match self.by_id.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(HoldFact {
                account,
                unit: transfer.unit.clone(),
                // Nearly always one of each: very many holds are kept.
                parts: Vec::with_capacity(1),
                receipts: Vec::with_capacity(1),
            }),
        };
        let fits = hold.account == account
            && hold.unit == transfer.unit
            && hold.parts.iter().all(|part| part.package != package);
        sheet.judge(
            CheckName::LedgerHold,
            fits,
            || Record::Transfer { number },
            || format!("hold {id} is placed a second time, or for another account or unit"),
        );
        hold.parts.push(Part { package, held: transfer.amount.0, settled: None, released: 0 });
    }

    /// Settles or releases part of a hold.
    fn post(&mut self, sheet: &mut Sheet, id: HoldId, transfer: &Transfer) {
        let Transfer { number, package_number: package, kind, amount, receipt, .. } = *transfer;
        let record = || Record::Transfer { number };
        let part = self.by_id.get_mut(&id).and_then(|hold| {
            if let Some(receipt) = receipt
                && !hold.receipts.contains(&receipt)
            {
                hold.receipts.push(receipt);
            }
            hold.parts.iter_mut().find(|part| part.package == package)
        });
        let Some(part) = part else {
            let message = format!("nothing of package {package} is held by {id}");
            return sheet.fail(CheckName::LedgerHold, record(), message);
        };
        let left = part.left();
        sheet.judge(CheckName::LedgerHold, amount.0 <= left, record, || {
            format!("{amount} of {left} left in hold {id}: more than was held")
        });
        let taken = amount.0.min(left);
        if kind == TransferKind::Release {
            part.released = part.released.saturating_add(taken);
            return;
        }
        let first = part.settled.is_none();
        part.settled = Some(part.settled.unwrap_or(0).saturating_add(taken));
        sheet.judge(CheckName::LedgerSettlement, first, record, || {
            format!("hold {id} is settled a second time from package {package}")
        });
    }

    /// No receipt is charged twice to one package, whatever hold it is charged under.
    pub(super) fn settle_once(&mut self, sheet: &mut Sheet, transfer: &Transfer, receipt: Digest) {
        if transfer.kind != TransferKind::Settle {
            return;
        }
        let new = self.settled_receipts.insert((receipt, transfer.package_number));
        let number = transfer.number;
        sheet.judge(
            CheckName::LedgerSettlement,
            new,
            || Record::Transfer { number },
            || format!("receipt {receipt} is charged a second time"),
        );
    }
}
