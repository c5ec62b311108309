//! The ledger export, transfer by transfer, and the invoices made of it.

use std::collections::{BTreeMap, HashMap};

use bulla_wire::bundle::{Invoice, Transfer, TransferKind};
use bulla_wire::ids::AccountHandle;
use bulla_wire::units::{Unit, UnixMillis};

use super::facts::{AccountFact, cut};
use super::report::{Sheet, View};
use super::survey::Context;
use super::{CheckName, Record};

#[derive(Debug)]
struct Package {
    account: u64,
    unit: Unit,
    available: u64,
    spent: u64,
    /// Held without an order: in dispute, or a party's part of what is.
    frozen: u64,
    lapsed: bool,
}

/// Sums of one account in one unit.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    issued: u128,
    refunded: u128,
    charged: u128,
    lapsed: u128,
    /// Sent to another account, or taken back from a party.
    sent: u128,
    /// Charged, frozen and not decided yet.
    disputed: u128,
    available: u128,
    held: u128,
}

/// The ledger while it is read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) transfers: u64,
    last: Option<(u64, UnixMillis)>,
    packages: BTreeMap<u64, Package>,
    sums: BTreeMap<(u64, Unit), Sums>,
    invoices: BTreeMap<(u64, Unit), Invoice>,
    pub(super) invoice_count: u64,
}

impl Ledger {
    /// Takes the next transfer, in the order of their numbers.
    pub(super) fn transfer(&mut self, sheet: &mut Sheet, view: View, transfer: &Transfer) {
        self.transfers += 1;
        self.number(sheet, view, transfer);
        judge_fields(sheet, transfer);
        if !self.package(sheet, transfer) {
            return;
        }
        match transfer.kind {
            TransferKind::Issue
            | TransferKind::Refund
            | TransferKind::Receive
            | TransferKind::Earn => self.enter(sheet, transfer),
            TransferKind::Hold => self.hold(sheet, transfer),
            TransferKind::Settle | TransferKind::Release => self.post(sheet, transfer),
            TransferKind::Expire => self.expire(sheet, transfer),
            TransferKind::Send
            | TransferKind::Reverse
            | TransferKind::Void
            | TransferKind::Purchase
            | TransferKind::Payout => self.leave(sheet, transfer),
            TransferKind::Dispute
            | TransferKind::Uphold
            | TransferKind::Dismiss
            | TransferKind::Freeze
            | TransferKind::Thaw => self.freeze(sheet, transfer),
        }
    }

    fn number(&mut self, sheet: &mut Sheet, view: View, transfer: &Transfer) {
        let Transfer { number, at, .. } = *transfer;
        let record = || Record::Transfer { number };
        let (last, before) = self.last.unwrap_or((0, UnixMillis(0)));
        let holds = match view {
            View::Full => last.checked_add(1) == Some(number),
            View::Account | View::Receipt => number > last,
        };
        sheet.judge(CheckName::LedgerNumbers, holds, record, || {
            format!("transfer {last} stands before it: one is missing, repeated or out of order")
        });
        sheet.judge(CheckName::LedgerNumbers, at >= before, record, || {
            format!("committed at {at} ms, the transfer before it at {before} ms")
        });
        self.last = Some((number.max(last), at.max(before)));
    }

    /// Whether the package is the one it was; opens it at its first issue.
    fn package(&mut self, sheet: &mut Sheet, transfer: &Transfer) -> bool {
        let Transfer { number, account_number, package_number, kind, .. } = *transfer;
        if matches!(kind, TransferKind::Issue | TransferKind::Receive | TransferKind::Earn) {
            self.packages.entry(package_number).or_insert_with(|| Package {
                account: account_number,
                unit: transfer.unit.clone(),
                available: 0,
                spent: 0,
                frozen: 0,
                lapsed: false,
            });
        }
        let package = self.packages.get(&package_number);
        let same = package
            .is_some_and(|known| known.account == account_number && known.unit == transfer.unit);
        sheet.judge(CheckName::LedgerPackage, same, || Record::Transfer { number }, || match package {
            None => format!("package {package_number} was never issued"),
            Some(known) => format!(
                "package {package_number} belongs to account {} in {}, not to account {account_number} in {}",
                known.account, known.unit, transfer.unit
            ),
        });
        same
    }

    fn sums(&mut self, transfer: &Transfer) -> &mut Sums {
        self.sums.entry((transfer.account_number, transfer.unit.clone())).or_default()
    }

    fn add(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        let number = transfer.number;
        let Some(package) = self.packages.get_mut(&transfer.package_number) else { return };
        match package.available.checked_add(transfer.amount.0) {
            Some(sum) => package.available = sum,
            None => sheet.fail(
                CheckName::LedgerPackage,
                Record::Transfer { number },
                "the package would hold more than 64 bits can count",
            ),
        }
    }

    /// Takes from what is available; false and a finding where there is too little.
    fn take(&mut self, sheet: &mut Sheet, transfer: &Transfer) -> bool {
        let Transfer { number, package_number, amount, .. } = *transfer;
        let Some(package) = self.packages.get_mut(&package_number) else { return false };
        let before = package.available;
        let after = before.checked_sub(amount.0);
        package.available = after.unwrap_or(0);
        sheet.judge(
            CheckName::LedgerPackage,
            after.is_some(),
            || Record::Transfer { number },
            || format!("takes {amount} of {before} available in package {package_number}"),
        );
        after.is_some()
    }

    fn enter(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        self.add(sheet, transfer);
        let amount = u128::from(transfer.amount.0);
        match transfer.kind {
            TransferKind::Refund => {
                self.sums(transfer).refunded += amount;
                self.unspend(sheet, transfer);
            }
            _ => self.sums(transfer).issued += amount,
        }
    }

    /// Value that leaves for good, or is spent without an order.
    fn leave(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        self.take(sheet, transfer);
        let amount = transfer.amount.0;
        match transfer.kind {
            TransferKind::Purchase | TransferKind::Payout => {
                if let Some(package) = self.packages.get_mut(&transfer.package_number) {
                    package.spent = package.spent.saturating_add(amount);
                }
                self.sums(transfer).charged += u128::from(amount);
            }
            TransferKind::Void => self.sums(transfer).lapsed += u128::from(amount),
            _ => self.sums(transfer).sent += u128::from(amount),
        }
    }

    /// A dispute is opened or decided.
    fn freeze(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        let Transfer { number, kind, package_number, amount, .. } = *transfer;
        let wide = u128::from(amount.0);
        match kind {
            TransferKind::Freeze => {
                self.take(sheet, transfer);
            }
            TransferKind::Dispute => {
                self.unspend(sheet, transfer);
                self.sums(transfer).disputed += wide;
            }
            TransferKind::Uphold | TransferKind::Thaw => self.add(sheet, transfer),
            _ => {}
        }
        if matches!(kind, TransferKind::Uphold | TransferKind::Dismiss) {
            let sums = self.sums(transfer);
            sums.disputed = sums.disputed.saturating_sub(wide);
            if kind == TransferKind::Uphold {
                sums.refunded += wide;
            }
        }
        let Some(package) = self.packages.get_mut(&package_number) else { return };
        if matches!(kind, TransferKind::Freeze | TransferKind::Dispute) {
            package.frozen = package.frozen.saturating_add(amount.0);
            return;
        }
        if kind == TransferKind::Dismiss {
            package.spent = package.spent.saturating_add(amount.0);
        }
        let before = package.frozen;
        package.frozen = before.saturating_sub(amount.0);
        sheet.judge(
            CheckName::LedgerPackage,
            amount.0 <= before,
            || Record::Transfer { number },
            || format!("decides {amount} of {before} frozen in package {package_number}"),
        );
    }

    /// No more comes back than was spent.
    fn unspend(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        let Transfer { number, package_number, amount, .. } = *transfer;
        let Some(package) = self.packages.get_mut(&package_number) else { return };
        let before = package.spent;
        package.spent = before.saturating_sub(amount.0);
        sheet.judge(
            CheckName::LedgerPackage,
            amount.0 <= before,
            || Record::Transfer { number },
            || format!("refunds {amount} of {before} spent from package {package_number}"),
        );
    }

    fn hold(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        let Transfer { number, package_number, .. } = *transfer;
        let lapsed = self.packages.get(&package_number).is_some_and(|package| package.lapsed);
        sheet.judge(
            CheckName::LedgerExpiry,
            !lapsed,
            || Record::Transfer { number },
            || format!("holds from package {package_number}, which has lapsed"),
        );
        self.take(sheet, transfer);
    }

    /// Ends part of a hold; whether so much was held, `hold` says.
    fn post(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        if transfer.kind == TransferKind::Release {
            return self.add(sheet, transfer);
        }
        if let Some(package) = self.packages.get_mut(&transfer.package_number) {
            package.spent = package.spent.saturating_add(transfer.amount.0);
        }
        self.sums(transfer).charged += u128::from(transfer.amount.0);
    }

    fn expire(&mut self, sheet: &mut Sheet, transfer: &Transfer) {
        self.take(sheet, transfer);
        self.sums(transfer).lapsed += u128::from(transfer.amount.0);
        if let Some(package) = self.packages.get_mut(&transfer.package_number) {
            let left = package.available;
            package.lapsed = true;
            let (number, package) = (transfer.number, transfer.package_number);
            sheet.judge(
                CheckName::LedgerExpiry,
                left == 0,
                || Record::Transfer { number },
                || format!("package {package} lapses and keeps {left}"),
            );
        }
    }

    /// Takes the broker's claim for one account and unit.
    pub(super) fn invoice(&mut self, sheet: &mut Sheet, invoice: Invoice) {
        self.invoice_count += 1;
        let key = (invoice.account_number, invoice.unit.clone());
        let record = || Record::Invoice { account: key.0, unit: key.1.clone() };
        let new = !self.invoices.contains_key(&key);
        sheet.judge(CheckName::Invoice, new, record, || "claimed twice".to_owned());
        self.invoices.entry(key.clone()).or_insert(invoice);
    }

    /// Whose order keys these are, by the invoices.
    pub(super) fn handles(&self, sheet: &mut Sheet) -> HashMap<AccountHandle, u64> {
        let mut owners = HashMap::new();
        for invoice in self.invoices.values() {
            for handle in &invoice.handles {
                let owner = *owners.entry(*handle).or_insert(invoice.account_number);
                let account = invoice.account_number;
                let record = || Record::Invoice { account, unit: invoice.unit.clone() };
                sheet.judge(CheckName::LedgerAccount, owner == account, record, || {
                    format!("order key {handle} belongs to account {owner} already")
                });
            }
        }
        owners
    }

    /// Compares every invoice with the sums of the ledger, and both with zero.
    pub(super) fn conclude(&self, sheet: &mut Sheet, context: &Context) {
        for (key, sums) in &self.sums {
            let record = || Record::Invoice { account: key.0, unit: key.1.clone() };
            match self.invoices.get(key) {
                Some(invoice) => judge_invoice(sheet, sums, invoice),
                None => sheet.fail(CheckName::Invoice, record(), "transfers without an invoice"),
            }
        }
        for (key, invoice) in &self.invoices {
            if !self.sums.contains_key(key) {
                judge_invoice(sheet, &Sums::default(), invoice);
            }
        }
        self.balance(sheet);
        self.own_account(sheet, context);
    }

    /// The sums per account and unit, once [`Ledger::sum_up`] was called.
    pub(super) fn accounts(&self) -> Vec<AccountFact> {
        let fact = |(key, sums): (&(u64, Unit), &Sums)| AccountFact {
            account: key.0,
            unit: key.1.clone(),
            issued: cut(sums.issued),
            charged: cut(sums.charged),
            refunded: cut(sums.refunded),
            lapsed: cut(sums.lapsed),
            available: cut(sums.available),
            held: cut(sums.held),
            invoiced: self.invoices.get(key).map(|invoice| invoice.charged),
        };
        self.sums.iter().map(fact).collect()
    }

    /// Adds up what is left, at the end of the bundle; `held` is what holds still hold.
    pub(super) fn sum_up(&mut self, held: BTreeMap<(u64, Unit), u128>) {
        for package in self.packages.values() {
            let key = (package.account, package.unit.clone());
            let sums = self.sums.entry(key).or_default();
            sums.available += u128::from(package.available);
            sums.held += u128::from(package.frozen);
        }
        for (key, left) in held {
            self.sums.entry(key).or_default().held += left;
        }
    }

    fn balance(&self, sheet: &mut Sheet) {
        for ((account, unit), sums) in &self.sums {
            let Some(invoice) = self.invoices.get(&(*account, unit.clone())) else { continue };
            let entered = sums.issued + sums.refunded + sums.disputed;
            let kept = u128::from(invoice.available.0) + u128::from(invoice.held.0);
            let gone = u128::from(invoice.charged.0) + sums.lapsed + sums.sent;
            let record = || Record::Invoice { account: *account, unit: unit.clone() };
            sheet.judge(CheckName::LedgerBalance, entered == kept + gone, record, || {
                format!(
                    "{entered} entered, {gone} spent or lapsed and {kept} left do not sum to zero"
                )
            });
        }
    }

    fn own_account(&self, sheet: &mut Sheet, context: &Context) {
        let Some(own) = context.account else { return };
        for ((account, unit), invoice) in &self.invoices {
            let record = || Record::Invoice { account: *account, unit: unit.clone() };
            sheet.judge(CheckName::LedgerAccount, invoice.handles.contains(&own), record, || {
                format!("does not belong to order key {own}, whose view this is")
            });
        }
    }
}

fn judge_fields(sheet: &mut Sheet, transfer: &Transfer) {
    use TransferKind::*;
    let Transfer { number, kind, hold, receipt, memo, .. } = transfer;
    let of_hold = match kind {
        Hold | Settle | Release | Dispute | Uphold | Dismiss | Earn | Reverse | Freeze | Thaw => {
            true
        }
        // A refund may correct one charge, or what a package was spent on.
        Refund => hold.is_some(),
        _ => false,
    };
    let settled = match kind {
        Settle => receipt.is_some(),
        Release | Refund | Dispute | Uphold | Dismiss | Earn => true,
        _ => receipt.is_none(),
    };
    let explained = match kind {
        Hold | Settle | Release | Expire => memo.is_none(),
        Issue | Receive | Earn => true,
        _ => memo.as_ref().is_some_and(|memo| !memo.is_empty()),
    };
    let holds = hold.is_some() == of_hold && settled && explained;
    sheet.judge(
        CheckName::LedgerFields,
        holds,
        || Record::Transfer { number: *number },
        || {
            format!(
                "{kind:?} with hold {}, receipt {}, memo {}: \
             hold, settle, release, disputes and what parties earn name a hold, refund may; \
             settle names a receipt; what is done by name has a memo",
                hold.is_some(),
                receipt.is_some(),
                memo.is_some()
            )
        },
    );
}

fn judge_invoice(sheet: &mut Sheet, sums: &Sums, invoice: &Invoice) {
    let record = || Record::Invoice { account: invoice.account_number, unit: invoice.unit.clone() };
    let lines = [
        ("charged", invoice.charged, sums.charged),
        ("refunded", invoice.refunded, sums.refunded),
        ("available", invoice.available, sums.available),
        ("held", invoice.held, sums.held),
    ];
    for (name, claimed, expected) in lines {
        sheet.judge(CheckName::Invoice, u128::from(claimed.0) == expected, record, || {
            format!("claims {claimed} {name}, the ledger says {expected}")
        });
    }
}
