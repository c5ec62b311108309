//! Packages: prepaid value, and the order in which it burns.

use std::cmp::Ordering;

use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::calendar::{CalendarError, Period, boundary};
use crate::ledger::{AccountNumber, IssuePackage, PackageNumber};
use crate::price::Decimal;

/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;

/// A package as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Package {
    /// Its number.
    pub number: PackageNumber,
    /// Unit of account.
    pub unit: Unit,
    /// Issued, less what was sent to other accounts.
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
    /// What it may be spent on, and whether it comes again.
    pub terms: PackageTerms,
    /// Whether its successor is still to come.
    pub renews: bool,
}

/// Most models one package may be limited to.
pub const MAX_SCOPE: usize = 256;

/// What a package may be spent on, and whether it comes again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PackageTerms {
    /// Names of the models it pays for; every model where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
    /// When it lapses, the next one is issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// What it is for.
    #[serde(skip_serializing_if = "Purpose::is_spending")]
    pub purpose: Purpose,
}

/// What a package is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To be spent on orders.
    #[default]
    Spending,
    /// What a party of charges is owed ([`crate::payable`]): no order burns it, and it is no part of
    /// the supply.
    Payable,
    /// An overdraft line: burns last, and what is spent of it is owed.
    Overdraft,
}

impl Purpose {
    fn is_spending(&self) -> bool {
        *self == Purpose::Spending
    }
}

/// A package that comes again: each ends when the next begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    /// How often.
    pub every: Period,
    /// The time zone periods are counted in (IANA).
    pub zone: String,
    /// Where counting began: the first package's effective date.
    pub anchor: UnixSeconds,
    /// Number of the period this package is for, from 0.
    pub round: u32,
    /// No period begins at or after this.
    pub until: Option<UnixSeconds>,
    /// What every period grants.
    pub amount: MicroUnits,
    /// At most so much of what is left goes over into the next period; the rest lapses.
    pub rollover: MicroUnits,
}

impl Renewal {
    /// When this period ends, and the next one begins.
    pub fn end(&self) -> Result<UnixSeconds, CalendarError> {
        boundary(self.anchor, self.every, self.round.saturating_add(1), &self.zone)
    }
}

impl PackageTerms {
    /// Whether it pays for a model.
    pub fn covers(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|name| name == model)
    }

    /// As a store keeps them: nothing for the usual ones, else JSON.
    pub fn to_text(&self) -> String {
        match *self == PackageTerms::default() {
            true => String::new(),
            false => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// Reads what [`PackageTerms::to_text`] writes.
    pub fn from_text(text: &str) -> Option<PackageTerms> {
        match text {
            "" => Some(PackageTerms::default()),
            text => serde_json::from_str(text).ok(),
        }
    }
}

impl Package {
    /// As it stands before its value enters it.
    pub fn issued(number: PackageNumber, issue: &IssuePackage) -> Package {
        Package {
            number,
            unit: issue.unit.clone(),
            granted: MicroUnits(0),
            available: MicroUnits(0),
            held: MicroUnits(0),
            spent: MicroUnits(0),
            expired: MicroUnits(0),
            priority: issue.priority,
            effective_from: issue.effective_from,
            expires_at: issue.expires_at,
            promotional: issue.promotional,
            memo: issue.memo.clone(),
            terms: issue.terms.clone(),
            renews: issue.terms.renewal.is_some(),
        }
    }

    /// The package that follows it, with what goes over from this one; `None` when it is the last.
    pub fn successor(
        &self,
        account: AccountNumber,
        key: [u8; 16],
    ) -> Result<Option<(IssuePackage, MicroUnits)>, CalendarError> {
        let Some(renewal) = self.terms.renewal.as_ref().filter(|_| self.renews) else {
            return Ok(None);
        };
        let begins = renewal.end()?;
        if renewal.until.is_some_and(|until| until <= begins) {
            return Ok(None);
        }
        let next = Renewal { round: renewal.round.saturating_add(1), ..renewal.clone() };
        let expires_at = Some(next.end()?);
        let over = self.available.min(renewal.rollover);
        let terms = PackageTerms { renewal: Some(next), ..self.terms.clone() };
        let issue = IssuePackage {
            key,
            account,
            unit: self.unit.clone(),
            amount: renewal.amount,
            priority: self.priority,
            promotional: self.promotional,
            effective_from: begins,
            expires_at,
            memo: self.memo.clone(),
            terms,
        };
        Ok(Some((issue, over)))
    }

    /// True when holds may use it at `now`.
    pub fn is_usable(&self, now: UnixSeconds) -> bool {
        self.available > MicroUnits(0)
            && self.terms.purpose != Purpose::Payable
            && self.effective_from <= now
            && self.expires_at.is_none_or(|end| now < end)
    }

    /// Burn order: gifts first, then priority, then the earliest expiry, then creation; overdraft
    /// lines after everything else.
    pub fn burns_before(&self, other: &Package) -> Ordering {
        let expiry = |p: &Package| p.expires_at.unwrap_or(UnixSeconds(u64::MAX));
        let borrowed = |p: &Package| p.terms.purpose == Purpose::Overdraft;
        borrowed(self)
            .cmp(&borrowed(other))
            .then(other.promotional.cmp(&self.promotional))
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
pub fn split<'a>(
    packages: impl Iterator<Item = &'a Package>,
    amount: MicroUnits,
    now: UnixSeconds,
) -> Result<Vec<Share>, MicroUnits> {
    let mut packages: Vec<&Package> = packages.filter(|p| p.is_usable(now)).collect();
    packages.sort_by(|a, b| a.burns_before(b));
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

/// Shares as a store keeps them: `PACKAGE:AMOUNT,…` in burn order, empty for none.
pub fn shares_to_text(shares: &[Share]) -> String {
    let parts: Vec<String> =
        shares.iter().map(|share| format!("{}:{}", share.package, share.amount)).collect();
    parts.join(",")
}

/// Reads what [`shares_to_text`] writes.
pub fn shares_from_text(text: &str) -> Option<Vec<Share>> {
    let share = |part: &str| {
        let (package, amount) = part.split_once(':')?;
        let package = PackageNumber(package.parse().ok()?);
        Some(Share { package, amount: MicroUnits(amount.parse().ok()?) })
    };
    text.split(',').filter(|part| !part.is_empty()).map(share).collect()
}

/// A catalogue of packages, as people write it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageCatalogue {
    /// The packages.
    pub package: Vec<PackageOffer>,
}

/// One package of a catalogue.
///
/// ```toml
/// [[package]]
/// memo = "welcome"
/// unit = "TOK"
/// amount = "1000000"       # whole units, exact decimals
/// priority = 10            # lower burns first
/// promotional = true       # burns before anything paid
/// days = 30                # lapses then; never when left out
/// models = ["demo"]        # pays for these models only; for every model when left out
///
/// [[package]]
/// memo = "monthly"
/// unit = "HKD"
/// amount = "100"
/// every = "month"          # lapses when the next one comes
/// zone = "Asia/Hong_Kong"  # where months begin at midnight; UTC when left out
/// rollover = "20"          # at most so much goes over; nothing when left out
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageOffer {
    /// What it is, for people.
    pub memo: String,
    /// Unit of account.
    pub unit: Unit,
    /// How much, in units.
    pub amount: Decimal,
    /// Lower numbers burn first.
    #[serde(default = "usual_priority")]
    pub priority: u8,
    /// A gift.
    #[serde(default)]
    pub promotional: bool,
    /// Lapses after so many days.
    pub days: Option<u32>,
    /// Names of the models it pays for; every model when left out.
    #[serde(default)]
    pub models: Vec<String>,
    /// Comes again every day, week, month or year; then it takes no `days`.
    pub every: Option<Period>,
    /// The time zone periods are counted in (IANA).
    #[serde(default = "usual_zone")]
    pub zone: String,
    /// At most so much of what is left goes over into the next period.
    pub rollover: Option<Decimal>,
}

/// Time zone of an offer that names none.
fn usual_zone() -> String {
    "UTC".to_owned()
}

/// Priority of a package that names none.
fn usual_priority() -> u8 {
    100
}

impl PackageCatalogue {
    /// Reads TOML; the error says what does not read.
    pub fn from_toml(text: &str) -> Result<PackageCatalogue, String> {
        toml::from_str(text).map_err(|e| format!("package catalogue does not read: {e}"))
    }
}

impl PackageOffer {
    /// A package that does not lapse.
    pub fn plain(unit: Unit, amount: MicroUnits, memo: &str) -> PackageOffer {
        PackageOffer {
            memo: memo.to_owned(),
            unit,
            amount: Decimal(amount.0),
            priority: usual_priority(),
            promotional: false,
            days: None,
            models: Vec::new(),
            every: None,
            zone: usual_zone(),
            rollover: None,
        }
    }

    /// The package for an account, effective from `now`.
    pub fn issue(&self, key: [u8; 16], account: AccountNumber, now: UnixSeconds) -> IssuePackage {
        let lapses =
            |days: u32| now.saturating_add(UnixSeconds(u64::from(days).max(1) * DAY_SECONDS));
        let renewal = self.every.map(|every| Renewal {
            every,
            zone: self.zone.clone(),
            anchor: now,
            round: 0,
            until: None,
            amount: MicroUnits(self.amount.0),
            rollover: MicroUnits(self.rollover.map_or(0, |most| most.0)),
        });
        // A zone nobody knows leaves no end; the ledger refuses such a package by that.
        let period_end = renewal.as_ref().and_then(|renewal| renewal.end().ok());
        IssuePackage {
            key,
            account,
            unit: self.unit.clone(),
            amount: MicroUnits(self.amount.0),
            priority: self.priority,
            promotional: self.promotional,
            effective_from: now,
            expires_at: period_end.or(self.days.map(lapses)),
            memo: self.memo.clone(),
            terms: PackageTerms {
                models: self.models.clone(),
                renewal,
                purpose: Purpose::Spending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_reads() {
        let text = include_str!("../../policies/packages/demo.toml");
        let catalogue = PackageCatalogue::from_toml(text).unwrap();
        let issued = catalogue.package[0].issue([0; 16], AccountNumber(1), UnixSeconds(100));
        assert_eq!(issued.amount, MicroUnits(1_000_000_000_000));
        assert_eq!(issued.expires_at, Some(UnixSeconds(100 + 30 * DAY_SECONDS)));
        assert!(PackageCatalogue::from_toml("[[package]]\nmemmo = 1").is_err());
    }

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
            terms: PackageTerms::default(),
            renews: false,
        }
    }

    fn order(packages: &[Package], amount: u64) -> Vec<(u64, u64)> {
        let shares = split(packages.iter(), MicroUnits(amount), UnixSeconds(50)).unwrap();
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
        assert_eq!(order(&packages, 55), all);
    }

    #[test]
    fn an_overdraft_line_burns_last_and_what_is_owed_to_a_party_never() {
        let mut line = package(1, 0, Some(60), true);
        line.terms.purpose = Purpose::Overdraft;
        let mut owed = package(2, 0, None, true);
        owed.terms.purpose = Purpose::Payable;
        let packages = vec![line, owed, package(3, 255, None, false)];
        assert_eq!(order(&packages, 15), [(3, 10), (1, 5)]);
        let short = split(packages.iter(), MicroUnits(21), UnixSeconds(50));
        assert_eq!(short, Err(MicroUnits(20)));
    }

    #[test]
    fn never_uses_an_expired_or_future_package() {
        let mut future = package(2, 0, None, false);
        future.effective_from = UnixSeconds(51);
        let packages = vec![package(1, 0, Some(50), false), future, package(3, 9, None, false)];
        assert_eq!(order(&packages, 10), [(3, 10)]);
        let short = split(packages.iter(), MicroUnits(11), UnixSeconds(50));
        assert_eq!(short, Err(MicroUnits(10)));
    }

    #[test]
    fn shares_read_as_written() {
        let share = |n, amount| Share { package: PackageNumber(n), amount: MicroUnits(amount) };
        for shares in [vec![], vec![share(1, 4)], vec![share(7, 1), share(2, u64::MAX)]] {
            assert_eq!(shares_from_text(&shares_to_text(&shares)), Some(shares));
        }
        for bad in ["1", "1:", "a:1", "1:2;3:4"] {
            assert_eq!(shares_from_text(bad), None, "{bad}");
        }
    }

    #[test]
    fn spends_in_burn_order_and_returns_the_rest() {
        let share = |n, amount| Share { package: PackageNumber(n), amount: MicroUnits(amount) };
        let parts = spend(&[share(1, 4), share(2, 6)], MicroUnits(5));
        let flat: Vec<_> = parts.iter().map(|(s, u, r)| (s.package.0, u.0, r.0)).collect();
        assert_eq!(flat, [(1, 4, 0), (2, 1, 5)]);
    }
}
