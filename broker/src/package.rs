//! Packages: prepaid value, and the order in which it burns.

use std::cmp::Ordering;

use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::Serialize;

use crate::ledger::PackageNumber;

/// A package as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its number.
    pub number: PackageNumber,
    /// Unit of account.
    pub unit: Unit,
    /// Issued.
    pub granted: MicroUnits,
    /// Free.
    pub available: MicroUnits,
    /// Set aside.
    pub held: MicroUnits,
    /// Spent.
    pub spent: MicroUnits,
    /// Lapsed.
    pub expired: MicroUnits,
    /// Lower numbers burn first.
    pub priority: u8,
    /// Not used before.
    pub effective_from: UnixSeconds,
    /// Lapses then.
    pub expires_at: Option<UnixSeconds>,
    /// A gift: burns before anything paid.
    pub promotional: bool,
    /// What it is, for people.
    pub memo: String,
}

impl Package {
    /// True when holds may use it at `now`.
    pub fn is_usable(&self, now: UnixSeconds) -> bool {
        self.available > MicroUnits(0)
            && self.effective_from <= now
            && self.expires_at.is_none_or(|end| now < end)
    }

    /// Burn order: gifts first, then priority, then the earliest expiry, then creation.
    pub fn burns_before(&self, other: &Package) -> Ordering {
        let expiry = |p: &Package| p.expires_at.unwrap_or(UnixSeconds(u64::MAX));
        other
            .promotional
            .cmp(&self.promotional)
            .then(self.priority.cmp(&other.priority))
            .then(expiry(self).cmp(&expiry(other)))
            .then(self.number.cmp(&other.number))
    }
}

/// Part of a hold: one package's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The package.
    pub package: PackageNumber,
    /// Its part.
    pub amount: MicroUnits,
}

/// Splits `amount` over the usable packages in burn order, or says what all of them hold.
///
/// Packages must be of one unit of account.
pub fn split(
    mut packages: Vec<Package>,
    amount: MicroUnits,
    now: UnixSeconds,
) -> Result<Vec<Share>, MicroUnits> {
    packages.retain(|p| p.is_usable(now));
    packages.sort_by(Package::burns_before);
    let mut shares = Vec::new();
    let mut missing = amount;
    for package in &packages {
        if missing == MicroUnits(0) {
            break;
        }
        let part = missing.min(package.available);
        shares.push(Share { package: package.number, amount: part });
        missing = missing.saturating_sub(part);
    }
    match missing {
        MicroUnits(0) => Ok(shares),
        missing => Err(amount.saturating_sub(missing)),
    }
}

/// Splits what is spent of `shares` (in burn order): per share the part spent and the part
/// returned. `spent` is at most the sum of the shares.
pub fn spend(shares: &[Share], spent: MicroUnits) -> Vec<(Share, MicroUnits, MicroUnits)> {
    let mut left = spent;
    let mut parts = Vec::with_capacity(shares.len());
    for share in shares {
        let used = left.min(share.amount);
        left = left.saturating_sub(used);
        parts.push((*share, used, share.amount.saturating_sub(used)));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(number: u64, priority: u8, expires: Option<u64>, promotional: bool) -> Package {
        Package {
            number: PackageNumber(number),
            unit: Unit::tokens(),
            granted: MicroUnits(10),
            available: MicroUnits(10),
            held: MicroUnits(0),
            spent: MicroUnits(0),
            expired: MicroUnits(0),
            priority,
            effective_from: UnixSeconds(0),
            expires_at: expires.map(UnixSeconds),
            promotional,
            memo: String::new(),
        }
    }

    fn order(packages: Vec<Package>, amount: u64) -> Vec<(u64, u64)> {
        let shares = split(packages, MicroUnits(amount), UnixSeconds(50)).unwrap();
        shares.iter().map(|s| (s.package.0, s.amount.0)).collect()
    }

    #[test]
    fn burns_gifts_then_priority_then_expiry_then_creation() {
        let packages = vec![
            package(1, 5, None, false),
            package(2, 1, None, false),
            package(3, 5, Some(90), false),
            package(4, 5, Some(80), false),
            package(5, 9, None, true),
            package(6, 5, None, false),
        ];
        let all = [(5, 10), (2, 10), (4, 10), (3, 10), (1, 10), (6, 5)];
        assert_eq!(order(packages, 55), all);
    }

    #[test]
    fn never_uses_an_expired_or_future_package() {
        let mut future = package(2, 0, None, false);
        future.effective_from = UnixSeconds(51);
        let packages = vec![package(1, 0, Some(50), false), future, package(3, 9, None, false)];
        assert_eq!(order(packages.clone(), 10), [(3, 10)]);
        assert_eq!(split(packages, MicroUnits(11), UnixSeconds(50)), Err(MicroUnits(10)));
    }

    #[test]
    fn spends_in_burn_order_and_returns_the_rest() {
        let share = |n, amount| Share { package: PackageNumber(n), amount: MicroUnits(amount) };
        let parts = spend(&[share(1, 4), share(2, 6)], MicroUnits(5));
        let flat: Vec<_> = parts.iter().map(|(s, u, r)| (s.package.0, u.0, r.0)).collect();
        assert_eq!(flat, [(1, 4, 0), (2, 1, 5)]);
    }
}
