//! Budgets: how much an organisation, a project or a credential may spend in a day, a month or ever.
//! They are counted in the same commit as the hold, so no burst passes them. A charge counts in
//! the window it was ordered in, whenever its receipt comes.

use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::{Deserialize, Serialize};

use crate::calendar::{CalendarError, Period, window};
use crate::ledger::AccountNumber;
use crate::ledger::{Queries, StoreError};
use crate::project::{Scope, Spender};
use crate::register::EntryKind;

/// Most budgets one account may have: all of them are looked at with every hold.
pub const MAX_BUDGETS: usize = 1_000;

/// A budget and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// Whose spending it bounds.
    pub scope: Scope,
    /// Unit of account.
    pub unit: Unit,
    /// Begins anew every day, week, month or year; never when absent.
    pub every: Option<Period>,
    /// The time zone its windows are counted in (IANA).
    pub zone: String,
    /// From here on it is told of, and nothing else happens.
    pub soft: Option<MicroUnits>,
    /// Beyond it nothing is held; absent, nothing is ever refused.
    pub hard: Option<MicroUnits>,
    /// When the window began that is counted.
    pub from: UnixSeconds,
    /// When it ends.
    pub until: UnixSeconds,
    /// Held for orders of this window.
    pub held: MicroUnits,
    /// Spent on orders of this window, refunds taken off.
    pub spent: MicroUnits,
}

/// What a hold is counted in: the budget's number and the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The budget.
    pub budget: u64,
    /// Begin of its window.
    pub from: UnixSeconds,
}

impl Budget {
    /// A budget nothing is used of.
    pub fn new(
        scope: Scope,
        unit: Unit,
        every: Option<Period>,
        zone: String,
        now: UnixSeconds,
    ) -> Result<Budget, CalendarError> {
        let (soft, hard, nothing) = (None, None, MicroUnits(0));
        let (from, until) = (UnixSeconds(0), UnixSeconds(0));
        let mut budget = Budget {
            scope,
            unit,
            every,
            zone,
            soft,
            hard,
            from,
            until,
            held: nothing,
            spent: nothing,
        };
        budget.roll(now)?;
        Ok(budget)
    }

    /// Whether an order of `spender` in `unit` counts.
    pub fn counts(&self, spender: &Spender, unit: &Unit) -> bool {
        self.unit == *unit && self.scope.covers(spender)
    }

    /// Begins the window of `now`, if that is another one.
    pub fn roll(&mut self, now: UnixSeconds) -> Result<(), CalendarError> {
        if now < self.until {
            return Ok(());
        }
        let (from, until) = match self.every {
            Some(period) => window(now, period, &self.zone)?,
            None => (UnixSeconds(0), UnixSeconds(u64::MAX)),
        };
        (self.from, self.until) = (from, until);
        (self.held, self.spent) = (MicroUnits(0), MicroUnits(0));
        Ok(())
    }

    /// Used in this window.
    pub fn used(&self) -> MicroUnits {
        self.held.saturating_add(self.spent)
    }

    /// What may still be held, if there is a bound.
    pub fn left(&self) -> Option<MicroUnits> {
        self.hard.map(|hard| hard.saturating_sub(self.used()))
    }

    /// Whether it is used beyond its soft limit.
    pub fn is_soft(&self) -> bool {
        self.soft.is_some_and(|soft| self.used() > soft)
    }

    /// Whether `amount` more fits.
    pub fn fits(&self, amount: MicroUnits) -> bool {
        self.left().is_none_or(|left| amount <= left)
    }

    /// Counts a hold.
    pub fn hold(&mut self, amount: MicroUnits) {
        self.held = self.held.saturating_add(amount);
    }

    /// Counts the end of a hold placed in the window that began at `from`.
    pub fn end(&mut self, from: UnixSeconds, held: MicroUnits, charge: MicroUnits) {
        if from == self.from {
            self.held = self.held.saturating_sub(held);
            self.spent = self.spent.saturating_add(charge);
        }
    }

    /// Counts what came back of a charge.
    pub fn give_back(&mut self, from: UnixSeconds, amount: MicroUnits) {
        if from == self.from {
            self.spent = self.spent.saturating_sub(amount);
        }
    }
}

/// Counts as a store keeps them: `BUDGET:FROM,…`.
pub fn counts_to_text(counts: &[Count]) -> String {
    let parts: Vec<String> =
        counts.iter().map(|count| format!("{}:{}", count.budget, count.from)).collect();
    parts.join(",")
}

/// Reads what [`counts_to_text`] writes.
pub fn counts_from_text(text: &str) -> Option<Vec<Count>> {
    let count = |part: &str| {
        let (budget, from) = part.split_once(':')?;
        Some(Count { budget: budget.parse().ok()?, from: UnixSeconds(from.parse().ok()?) })
    };
    text.split(',').filter(|part| !part.is_empty()).map(count).collect()
}

/// An account's budgets with their numbers, as they stand at `now`.
pub fn budgets(
    view: &dyn Queries,
    account: AccountNumber,
    now: UnixSeconds,
) -> Result<Vec<(u64, Budget)>, StoreError> {
    let entries = view.entries(EntryKind::Budget, Some(account), 0, MAX_BUDGETS)?;
    let read = |entry: &crate::register::Entry| {
        let mut budget: Budget = entry.read()?;
        let damaged = |_| StoreError::Damaged { what: format!("budget {}", entry.number) };
        budget.roll(now).map_err(damaged)?;
        Ok((entry.number, budget))
    };
    entries.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily(hard: u64) -> Budget {
        let unit = Unit::tokens();
        let zone = "Asia/Hong_Kong".to_owned();
        let now = UnixSeconds(1_801_324_800);
        let mut budget = Budget::new(Scope::default(), unit, Some(Period::Day), zone, now).unwrap();
        budget.hard = Some(MicroUnits(hard));
        budget
    }

    #[test]
    fn a_hold_counts_whole_and_its_charge_in_the_window_it_was_ordered_in() {
        let mut budget = daily(100);
        assert!(budget.fits(MicroUnits(100)) && !budget.fits(MicroUnits(101)));
        budget.hold(MicroUnits(60));
        let first = budget.from;
        assert_eq!(budget.left(), Some(MicroUnits(40)));
        budget.end(first, MicroUnits(60), MicroUnits(10));
        assert_eq!(budget.left(), Some(MicroUnits(90)));
        budget.hold(MicroUnits(50));
        budget.roll(UnixSeconds(first.0 + 24 * 3600 - 1)).unwrap();
        assert_eq!(budget.from, first, "the day is not over");
        budget.roll(UnixSeconds(first.0 + 24 * 3600)).unwrap();
        assert_eq!(budget.left(), Some(MicroUnits(100)));
        budget.end(first, MicroUnits(50), MicroUnits(50));
        assert_eq!(budget.left(), Some(MicroUnits(100)), "yesterday's receipt changes nothing");
    }

    #[test]
    fn a_scope_covers_its_own_and_an_empty_one_everybody() {
        let of =
            |project, n| Spender { project, credential: Some(bulla_wire::ids::Digest([n; 32])) };
        let everybody = Scope::default();
        let project = Scope { project: Some(3), credential: None };
        let credential =
            Scope { project: None, credential: Some(bulla_wire::ids::Digest([9; 32])) };
        let covered = |scope: Scope| {
            [of(Some(3), 1), of(Some(4), 9), of(None, 2)].map(|spender| scope.covers(&spender))
        };
        assert_eq!(covered(everybody), [true, true, true]);
        assert_eq!(covered(project), [true, false, false]);
        assert_eq!(covered(credential), [false, true, false]);
    }

    #[test]
    fn counts_read_as_written() {
        let counts = vec![
            Count { budget: 1, from: UnixSeconds(0) },
            Count { budget: 7, from: UnixSeconds(1_801_324_800) },
        ];
        assert_eq!(counts_from_text(&counts_to_text(&counts)), Some(counts));
        assert_eq!(counts_from_text(""), Some(vec![]));
        assert_eq!(counts_from_text("1"), None);
    }
}
