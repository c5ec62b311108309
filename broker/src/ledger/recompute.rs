//! Every balance computed anew from the transfers, and what differs from what is kept.

use std::collections::BTreeMap;

use bulla_wire::bundle::TransferKind;
use bulla_wire::ids::HoldId;

use super::{HoldState, PackageNumber, Queries, Side, StoreError, postings};

/// Rows asked for at once.
const PAGE_ROWS: usize = 4096;

/// Something that is not what the transfers say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A side of a package.
    #[error("package {package}: {side} is {kept}, the transfers make {computed}")]
    Balance {
        /// The package.
        package: PackageNumber,
        /// Which side.
        side: &'static str,
        /// What is kept.
        kept: u64,
        /// What the transfers make.
        computed: i128,
    },
    /// A hold whose transfers do not fit its state.
    #[error("hold {hold}: {what} is {kept}, the transfers make {computed}")]
    Hold {
        /// The hold.
        hold: HoldId,
        /// Which amount.
        what: &'static str,
        /// What is kept.
        kept: u64,
        /// What the transfers make.
        computed: u64,
    },
    /// A transfer of a package or hold that is not there.
    #[error("transfer {number} names {what}, which is not there")]
    Stray {
        /// The transfer.
        number: u64,
        /// What it names.
        what: String,
    },
    /// A number that is missing among the transfers.
    #[error("transfer {expected} is missing: the next one there is {got}")]
    Gap {
        /// The number that should come.
        expected: u64,
        /// The number that comes.
        got: u64,
    },
}

/// What was looked at and what was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Transfers.
    pub transfers: u64,
    /// Packages.
    pub packages: u64,
    /// Holds.
    pub holds: u64,
    /// What differs; empty when all is well.
    pub differences: Vec<Difference>,
}

/// Sums of one package: what the transfers make of its five sides.
#[derive(Default)]
struct Sums([i128; 5]);

fn place(side: Side) -> usize {
    match side {
        Side::Issued => 0,
        Side::Available => 1,
        Side::Held => 2,
        Side::Spent => 3,
        Side::Expired => 4,
    }
}

/// Sums of one hold.
#[derive(Default)]
struct Ends {
    held: u64,
    settled: u64,
    released: u64,
}

/// Computes everything anew. `view` must show one and the same state throughout. Holds are summed
/// in memory, some hundred bytes for each.
pub fn recompute(view: &dyn Queries) -> Result<Recomputed, StoreError> {
    let mut work = Work::default();
    work.sum_transfers(view)?;
    work.compare_packages(view)?;
    work.compare_holds(view)?;
    Ok(work.found)
}

#[derive(Default)]
struct Work {
    packages: BTreeMap<u64, (Sums, u64)>,
    holds: BTreeMap<HoldId, (Ends, u64)>,
    found: Recomputed,
}

impl Work {
    fn sum_transfers(&mut self, view: &dyn Queries) -> Result<(), StoreError> {
        let mut last = 0;
        loop {
            let page = view.transfers(None, last, PAGE_ROWS)?;
            if page.is_empty() {
                return Ok(());
            }
            for transfer in page {
                let number = transfer.number;
                if number != last + 1 {
                    let gap = Difference::Gap { expected: last + 1, got: number };
                    self.found.differences.push(gap);
                }
                last = number;
                self.found.transfers += 1;
                let (from, to) = postings(transfer.kind);
                let amount = i128::from(transfer.amount.0);
                let sums = self
                    .packages
                    .entry(transfer.package_number)
                    .or_insert_with(|| (Sums::default(), number));
                sums.0.0[place(from)] -= amount;
                sums.0.0[place(to)] += amount;
                let Some(hold) = transfer.hold else { continue };
                let (ends, _) = self.holds.entry(hold).or_insert_with(|| (Ends::default(), number));
                let side = match transfer.kind {
                    TransferKind::Hold => &mut ends.held,
                    TransferKind::Settle => &mut ends.settled,
                    TransferKind::Release => &mut ends.released,
                    _ => continue,
                };
                *side = side.saturating_add(transfer.amount.0);
            }
        }
    }

    fn compare_packages(&mut self, view: &dyn Queries) -> Result<(), StoreError> {
        for account in view.accounts()? {
            for package in view.packages(account.number)? {
                self.found.packages += 1;
                let sums = self.packages.remove(&package.number.0);
                let sums = sums.map_or_else(Sums::default, |(sums, _)| sums);
                let sides = [
                    ("granted", package.granted, -sums.0[0]),
                    ("available", package.available, sums.0[1]),
                    ("held", package.held, sums.0[2]),
                    ("spent", package.spent, sums.0[3]),
                    ("expired", package.expired, sums.0[4]),
                ];
                for (side, kept, computed) in sides {
                    if i128::from(kept.0) != computed {
                        let (package, kept) = (package.number, kept.0);
                        let balance = Difference::Balance { package, side, kept, computed };
                        self.found.differences.push(balance);
                    }
                }
            }
        }
        for (package, (_, number)) in std::mem::take(&mut self.packages) {
            let stray = Difference::Stray { number, what: format!("package {package}") };
            self.found.differences.push(stray);
        }
        Ok(())
    }

    fn compare_holds(&mut self, view: &dyn Queries) -> Result<(), StoreError> {
        let mut last = 0;
        loop {
            let page = view.holds(None, last, PAGE_ROWS)?;
            if page.is_empty() {
                break;
            }
            for hold in page {
                last = hold.number;
                self.found.holds += 1;
                let ends = self.holds.remove(&hold.hold).unwrap_or_default().0;
                let charged = hold.charged.map_or(0, |charge| charge.0);
                let returned = match hold.state {
                    HoldState::Active => 0,
                    _ => hold.amount.0.saturating_sub(charged),
                };
                let parts = [
                    ("amount", hold.amount.0, ends.held),
                    ("charge", charged, ends.settled),
                    ("return", returned, ends.released),
                ];
                for (what, kept, computed) in parts {
                    if kept != computed {
                        let hold = hold.hold;
                        let differs = Difference::Hold { hold, what, kept, computed };
                        self.found.differences.push(differs);
                    }
                }
            }
        }
        for (hold, (_, number)) in std::mem::take(&mut self.holds) {
            let stray = Difference::Stray { number, what: format!("hold {hold}") };
            self.found.differences.push(stray);
        }
        Ok(())
    }
}
