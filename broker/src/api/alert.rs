//! What is worth a message: a package that is half spent, lapses soon, or a balance that burns fast.
//! Each is raised once: its mark says what it is about.

use bulla_wire::units::{MicroUnits, UnixSeconds, decimal};
use serde_json::json;

use super::view::instant;
use crate::budget::Budget;
use crate::ledger::AccountNumber;
use crate::package::{Package, Purpose};

/// Parts of a package, in per cent, whose use is told.
pub const THRESHOLDS_PERCENT: [u64; 3] = [50, 80, 100];
/// A package that lapses within so many days, with something left, is told of.
pub const EXPIRY_DAYS: [u64; 2] = [7, 1];
/// A unit that lasts shorter than this at the rate of the last day is told of, in days.
pub const BURN_DAYS: u64 = 3;
/// Seconds in a day.
const DAY_SECONDS: u64 = 24 * 3600;

/// Something worth a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// What it is about: the same is raised once.
    pub mark: String,
    /// Its kind.
    pub kind: &'static str,
    /// In a sentence.
    pub text: String,
    /// What programs read of it.
    pub data: serde_json::Value,
}

impl Alert {
    /// The message, as Standard Webhooks lays it out.
    pub fn body(&self, account: AccountNumber, now: UnixSeconds) -> String {
        let mut data = self.data.clone();
        data["account"] = json!(account);
        data["text"] = json!(self.text);
        json!({ "type": self.kind, "timestamp": instant(now), "data": data }).to_string()
    }
}

/// What is to be told of one account. `spent_last_day` is what was charged in the last 24 hours, by
/// unit of account, in micro-units.
pub fn alerts(
    packages: &[Package],
    budgets: &[(u64, Budget)],
    spent_last_day: &[(String, u128)],
    now: UnixSeconds,
) -> Vec<Alert> {
    // What a party is owed is no package to spend.
    let live = |p: &&Package| {
        p.terms.purpose != Purpose::Payable && p.expires_at.is_none_or(|end| now < end)
    };
    let mut alerts: Vec<Alert> = packages.iter().filter(live).flat_map(thresholds).collect();
    alerts.extend(packages.iter().filter(live).filter_map(|package| expiring(package, now)));
    alerts.extend(budgets.iter().flat_map(|(number, budget)| budgeted(*number, budget)));
    alerts.extend(spent_last_day.iter().filter_map(|(unit, spent)| {
        let usable = packages.iter().filter(|p| p.unit.as_str() == unit && p.is_usable(now));
        burning(unit, usable.map(|p| u128::from(p.available.0)).sum(), *spent, now)
    }));
    alerts
}

/// Every threshold of a budget's hard limit that was spent in its window, and its soft limit. What
/// is only held may come back: nobody is told of it.
fn budgeted(number: u64, budget: &Budget) -> Vec<Alert> {
    let (spent, unit) = (u128::from(budget.spent.0), &budget.unit);
    let whose = match (budget.scope.project, budget.scope.credential) {
        (_, Some(_)) => "a credential".to_owned(),
        (Some(project), None) => format!("project {project}"),
        (None, None) => "the account".to_owned(),
    };
    let alert = |what: String, percent: Option<u64>| Alert {
        mark: format!("budget {number} at {what} since {}", budget.from),
        kind: if percent.is_some() { "budget.threshold" } else { "budget.soft" },
        text: format!(
            "{} {unit} were spent of budget {number}, of {whose}: {what}",
            decimal(spent)
        ),
        data: json!({
            "budget": number,
            "project": budget.scope.project,
            "percent": percent,
            "unit": unit,
            "spent": budget.spent,
            "soft": budget.soft,
            "hard": budget.hard,
            "until": budget.every.map(|_| instant(budget.until)),
        }),
    };
    let mut alerts = Vec::new();
    if budget.soft.is_some_and(|soft| budget.spent > soft) {
        alerts.push(alert("more than its soft limit".to_owned(), None));
    }
    if let Some(hard) = budget.hard.filter(|hard| hard.0 > 0) {
        let passed = |percent: &u64| spent * 100 >= u128::from(hard.0) * u128::from(*percent);
        let passed = THRESHOLDS_PERCENT.into_iter().filter(passed);
        alerts.extend(passed.map(|percent| alert(format!("{percent} %"), Some(percent))));
    }
    alerts
}

/// Every threshold that is passed, so that a jump over two tells of both; the highest last.
fn thresholds(package: &Package) -> Vec<Alert> {
    let used = u128::from(package.spent.0) + u128::from(package.expired.0);
    let granted = u128::from(package.granted.0);
    let passed = |percent: &&u64| granted > 0 && used * 100 >= granted * u128::from(**percent);
    let alert = |percent: &u64| Alert {
        mark: format!("package {} at {percent} %", package.number),
        kind: "package.threshold",
        text: format!(
            "package {} ({}) is {percent} % used: {} of {} {} are left",
            package.number,
            package.memo,
            package.available.whole(),
            decimal(granted),
            package.unit,
        ),
        data: json!({
            "package": package.number,
            "percent": percent,
            "unit": package.unit,
            "granted": package.granted,
            "spent": package.spent,
            "available": package.available,
        }),
    };
    THRESHOLDS_PERCENT.iter().filter(passed).map(alert).collect()
}

fn expiring(package: &Package, now: UnixSeconds) -> Option<Alert> {
    let end = package.expires_at.filter(|_| package.available > MicroUnits(0))?;
    let left = end.saturating_sub(now).0;
    let days = EXPIRY_DAYS.iter().rev().find(|days| left <= **days * DAY_SECONDS)?;
    Some(Alert {
        mark: format!("package {} lapses within {days} d", package.number),
        kind: "package.expiring",
        text: format!(
            "package {} ({}) lapses on {} with {} {} left",
            package.number,
            package.memo,
            instant(end),
            package.available.whole(),
            package.unit,
        ),
        data: json!({
            "package": package.number,
            "unit": package.unit,
            "available": package.available,
            "expires_at": instant(end),
        }),
    })
}

fn burning(unit: &str, available: u128, spent: u128, now: UnixSeconds) -> Option<Alert> {
    if spent == 0 || available == 0 || available >= spent * u128::from(BURN_DAYS) {
        return None;
    }
    let hours = available * 24 / spent;
    Some(Alert {
        // Told again on another day.
        mark: format!("{unit} burns on day {}", now.0 / DAY_SECONDS),
        kind: "balance.burning",
        text: format!(
            "{} {unit} were spent in the last 24 hours: the {} {unit} left last about {hours} hours",
            decimal(spent),
            decimal(available),
        ),
        data: json!({
            "unit": unit,
            "available": available as u64,
            "spent_last_day": spent as u64,
            "hours_left": hours as u64,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::Period;
    use crate::ledger::{IssuePackage, PackageNumber};
    use crate::project::Scope;

    fn package(spent: u64, expires_at: Option<u64>) -> Package {
        let issue = IssuePackage {
            key: [0; 16],
            account: AccountNumber(1),
            unit: "TOK".parse().unwrap(),
            amount: MicroUnits(100),
            priority: 0,
            promotional: false,
            effective_from: UnixSeconds(0),
            expires_at: expires_at.map(UnixSeconds),
            memo: "m".into(),
            terms: Default::default(),
        };
        let mut package = Package::issued(PackageNumber(7), &issue);
        package.granted = MicroUnits(100);
        package.spent = MicroUnits(spent);
        package.available = MicroUnits(100 - spent);
        package
    }

    fn marks(package: Package, spent: u128, now: u64) -> Vec<String> {
        let spent = [("TOK".to_owned(), spent)];
        alerts(&[package], &[], &spent, UnixSeconds(now))
            .into_iter()
            .map(|alert| alert.mark)
            .collect()
    }

    #[test]
    fn thresholds_are_told_exactly_when_they_are_passed() {
        assert_eq!(marks(package(49, None), 0, 0), Vec::<String>::new());
        assert_eq!(marks(package(50, None), 0, 0), ["package 7 at 50 %"]);
        assert_eq!(marks(package(99, None), 0, 0), ["package 7 at 50 %", "package 7 at 80 %"]);
        assert_eq!(marks(package(100, None), 0, 0).len(), 3);
    }

    #[test]
    fn nothing_is_told_of_what_a_party_is_owed_or_of_a_package_that_was_sent_away() {
        let mut owed = package(100, None);
        owed.terms.purpose = Purpose::Payable;
        assert_eq!(marks(owed, 0, 0), Vec::<String>::new());
        let mut sent = package(0, None);
        (sent.granted, sent.available) = (MicroUnits(0), MicroUnits(0));
        assert_eq!(marks(sent, 0, 0), Vec::<String>::new());
    }

    #[test]
    fn a_lapse_is_told_a_week_and_a_day_before() {
        let end = 100 * DAY_SECONDS;
        let told = |now: u64| marks(package(0, Some(end)), 0, now);
        assert!(told(end - 7 * DAY_SECONDS - 1).is_empty());
        assert_eq!(told(end - 7 * DAY_SECONDS), ["package 7 lapses within 7 d"]);
        assert_eq!(told(end - DAY_SECONDS), ["package 7 lapses within 1 d"]);
        assert!(told(end).is_empty(), "it has lapsed");
        let mut empty = package(0, Some(end));
        (empty.available, empty.held) = (MicroUnits(0), MicroUnits(100));
        assert!(marks(empty, 0, end - 1).is_empty(), "nothing is left to lapse");
    }

    #[test]
    fn a_fast_burn_is_told_once_a_day() {
        assert!(marks(package(0, None), 33, 0).is_empty(), "lasts three days");
        assert_eq!(marks(package(0, None), 34, 5 * DAY_SECONDS), ["TOK burns on day 5"]);
        let alert = &alerts(&[package(0, None)], &[], &[("TOK".into(), 50)], UnixSeconds(0))[0];
        assert_eq!(alert.data["hours_left"], 48);
        let body: serde_json::Value =
            serde_json::from_str(&alert.body(AccountNumber(3), UnixSeconds(0))).unwrap();
        assert_eq!(
            (&body["type"], &body["data"]["account"]),
            (&json!("balance.burning"), &json!(3))
        );
    }

    #[test]
    fn a_budget_is_told_of_by_what_was_spent_in_its_window() {
        let scope = Scope { project: Some(4), credential: None };
        let (unit, every) = ("TOK".parse().unwrap(), Some(Period::Month));
        let now = UnixSeconds(1_801_324_800);
        let mut budget = Budget::new(scope, unit, every, "Asia/Hong_Kong".into(), now).unwrap();
        (budget.soft, budget.hard) = (Some(MicroUnits(60)), Some(MicroUnits(100)));
        let marks = |budget: &Budget| -> Vec<String> {
            let told = alerts(&[], &[(7, budget.clone())], &[], now);
            told.into_iter().map(|alert| alert.mark).collect()
        };
        (budget.held, budget.spent) = (MicroUnits(90), MicroUnits(10));
        assert!(marks(&budget).is_empty(), "what is held may come back");
        (budget.held, budget.spent) = (MicroUnits(0), MicroUnits(80));
        let since = format!("since {}", budget.from);
        assert_eq!(
            marks(&budget),
            [
                format!("budget 7 at more than its soft limit {since}"),
                format!("budget 7 at 50 % {since}"),
                format!("budget 7 at 80 % {since}"),
            ]
        );
        let told = &alerts(&[], &[(7, budget.clone())], &[], now)[2];
        assert_eq!(told.text, "0.00008 TOK were spent of budget 7, of project 4: 80 %");
        assert_eq!(
            (told.kind, &told.data["until"]),
            ("budget.threshold", &json!(instant(budget.until)))
        );
        budget.roll(budget.until).unwrap();
        assert!(marks(&budget).is_empty(), "another window");
    }
}
