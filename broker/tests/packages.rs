//! Packages over time and by model, on every store: scopes, renewal, rollover, periods nobody was
//! there for, amounts beyond 10^12 tokens, units that never mix.

mod support;

use bulla_broker::calendar::Period;
use bulla_broker::io::store::Store;
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::recompute::recompute;
use bulla_broker::ledger::{Command, IssuePackage, Outcome, Rejection};
use bulla_broker::package::{PackageTerms, Renewal};
use bulla_wire::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};

/// 2027-01-31 00:00 in Hong Kong.
const JANUARY: UnixSeconds = UnixSeconds(1_801_324_800);
/// 2027-02-28, 2027-03-31 and 2027-04-30 there.
const ENDS: [UnixSeconds; 3] =
    [UnixSeconds(1_803_744_000), UnixSeconds(1_806_422_400), UnixSeconds(1_809_014_400)];

support::on_every_store! {
    a_package_pays_for_its_models_only,
    a_monthly_package_comes_again_once_and_takes_along_what_it_may,
    periods_nobody_was_there_for_are_made_up_for_in_order,
    terms_that_cannot_be_kept_are_refused,
    amounts_beyond_a_trillion_tokens_are_exact,
    units_of_account_never_mix,
}

fn one(store: &mut dyn Store, command: Command, now: UnixSeconds) -> Result<Outcome, Rejection> {
    store.execute(&[command], now.millis()).unwrap().remove(0)
}

fn monthly(load: &Workload, rollover: u64) -> IssuePackage {
    let renewal = Renewal {
        every: Period::Month,
        zone: "Asia/Hong_Kong".into(),
        anchor: JANUARY,
        round: 0,
        until: Some(UnixSeconds(ENDS[2].0 - 1)),
        amount: MicroUnits(100),
        rollover: MicroUnits(rollover),
    };
    IssuePackage {
        key: [1; 16],
        account: load.account(),
        unit: "HKD".parse().unwrap(),
        amount: MicroUnits(100),
        priority: 1,
        promotional: false,
        effective_from: JANUARY,
        expires_at: Some(ENDS[0]),
        memo: "monthly".into(),
        terms: PackageTerms { renewal: Some(renewal), ..PackageTerms::default() },
    }
}

fn prepared(store: &mut dyn Store) -> Workload {
    Workload::prepare(store, "node-1", 7, MicroUnits(10), JANUARY.millis()).unwrap()
}

fn hold(load: &Workload, n: u64, amount: u64, unit: &str, now: UnixSeconds) -> Command {
    let by = UnixSeconds(now.0 + 60);
    let Command::Hold(mut hold) = load.hold(n, MicroUnits(amount), by) else { unreachable!() };
    hold.unit = unit.parse().unwrap();
    Command::Hold(hold)
}

/// Available, held, spent, lapsed of each package but the first.
fn sides(store: &dyn Store, load: &Workload) -> Vec<[u64; 4]> {
    let packages = store.packages(load.account()).unwrap();
    let own = packages.iter().skip(1);
    own.map(|p| [p.available.0, p.held.0, p.spent.0, p.expired.0]).collect()
}

fn a_package_pays_for_its_models_only(store: &mut dyn Store) {
    let load = prepared(store);
    let mut package = monthly(&load, 0);
    package.terms = PackageTerms { models: vec!["other".into()], ..PackageTerms::default() };
    one(store, Command::IssuePackage(package.clone()), JANUARY).unwrap();
    let short = one(store, hold(&load, 1, 50, "HKD", JANUARY), JANUARY).unwrap_err();
    let (needed, available) = (MicroUnits(50), MicroUnits(0));
    let unit = package.unit.clone();
    assert_eq!(short, Rejection::InsufficientBalance { unit, needed, available });
    let Command::Hold(mut other) = hold(&load, 1, 50, "HKD", JANUARY) else { unreachable!() };
    other.model = "other".into();
    assert!(one(store, Command::Hold(other), JANUARY).is_ok());
    assert_eq!(sides(store, &load), [[50, 50, 0, 0]]);
}

fn a_monthly_package_comes_again_once_and_takes_along_what_it_may(store: &mut dyn Store) {
    let mut load = prepared(store);
    let package = Command::IssuePackage(monthly(&load, 20));
    one(store, package.clone(), JANUARY).unwrap();
    one(store, package, JANUARY).unwrap();
    one(store, hold(&load, 1, 30, "HKD", JANUARY), JANUARY).unwrap();
    one(store, load.settle(1, MicroUnits(30)), JANUARY).unwrap();
    // A second before the end nothing happens; at the end everything, and only once.
    let before = UnixSeconds(ENDS[0].0 - 1);
    one(store, Command::ExpireDue, before).unwrap();
    assert_eq!(sides(store, &load), [[70, 0, 30, 0]]);
    assert_eq!(store.next_expiry().unwrap(), Some(ENDS[0].millis()));
    for _ in 0..3 {
        one(store, Command::ExpireDue, ENDS[0]).unwrap();
        assert_eq!(sides(store, &load), [[0, 0, 30, 70], [120, 0, 0, 0]]);
    }
    let packages = store.packages(load.account()).unwrap();
    let next = &packages[2];
    assert_eq!((next.effective_from, next.expires_at), (ENDS[0], Some(ENDS[1])));
    // An empty one comes again too.
    one(store, hold(&load, 2, 120, "HKD", ENDS[0]), ENDS[0]).unwrap();
    one(store, load.settle(2, MicroUnits(120)), ENDS[0]).unwrap();
    one(store, Command::ExpireDue, ENDS[1]).unwrap();
    assert_eq!(sides(store, &load)[1..], [[0, 0, 120, 0], [100, 0, 0, 0]]);
    // The last one lapses for good.
    one(store, Command::ExpireDue, ENDS[2]).unwrap();
    assert_eq!(sides(store, &load)[2..], [[0, 0, 0, 100]]);
    assert_eq!(store.next_expiry().unwrap(), None);
    assert!(recompute(store).unwrap().differences.is_empty());
}

fn periods_nobody_was_there_for_are_made_up_for_in_order(store: &mut dyn Store) {
    let load = prepared(store);
    one(store, Command::IssuePackage(monthly(&load, 1000)), JANUARY).unwrap();
    let now = UnixSeconds(ENDS[1].0 + 5);
    while store.next_expiry().unwrap().is_some_and(|due: UnixMillis| due.seconds() <= now) {
        one(store, Command::ExpireDue, now).unwrap();
    }
    assert_eq!(sides(store, &load), [[0, 0, 0, 100], [0, 0, 0, 200], [300, 0, 0, 0]]);
    // What a hold returns to a package that ended lapses there and comes no second time.
    assert!(recompute(store).unwrap().differences.is_empty());
}

fn terms_that_cannot_be_kept_are_refused(store: &mut dyn Store) {
    let load = prepared(store);
    let mut nowhere = monthly(&load, 0);
    nowhere.terms.renewal.as_mut().unwrap().zone = "Asia/Nowhere".into();
    let mut elsewhere = monthly(&load, 0);
    elsewhere.expires_at = Some(UnixSeconds(ENDS[0].0 + 1));
    let mut many = monthly(&load, 0);
    many.terms.models = vec!["m".into(); 257];
    for (bad, why) in [(nowhere, "no time zone"), (elsewhere, "ends with"), (many, "256 models")] {
        let refused = one(store, Command::IssuePackage(bad), JANUARY).unwrap_err().to_string();
        assert!(refused.contains(why), "{refused}");
    }
    assert_eq!(sides(store, &load).len(), 0);
}

fn amounts_beyond_a_trillion_tokens_are_exact(store: &mut dyn Store) {
    let mut load = prepared(store);
    let mut large = monthly(&load, 0);
    // Nine trillion tokens in micro-units, and one micro-unit, near what 64 bits carry.
    large.amount = MicroUnits(9_000_000_000_000_000_001);
    large.terms = PackageTerms::default();
    one(store, Command::IssuePackage(large), JANUARY).unwrap();
    let most = 9_000_000_000_000_000_000;
    one(store, hold(&load, 1, most, "HKD", JANUARY), JANUARY).unwrap();
    one(store, load.settle(1, MicroUnits(most - 1)), JANUARY).unwrap();
    assert_eq!(sides(store, &load), [[2, 0, 8_999_999_999_999_999_999, 0]]);
    assert!(recompute(store).unwrap().differences.is_empty());
}

fn units_of_account_never_mix(store: &mut dyn Store) {
    let load = prepared(store);
    for (key, unit) in [(1, "HKD"), (2, "USD"), (3, "CU")] {
        let mut package = monthly(&load, 0);
        (package.key, package.unit) = ([key; 16], unit.parse().unwrap());
        package.terms = PackageTerms::default();
        one(store, Command::IssuePackage(package), JANUARY).unwrap();
    }
    let short = one(store, hold(&load, 1, 101, "HKD", JANUARY), JANUARY).unwrap_err();
    let unit: Unit = "HKD".parse().unwrap();
    let (needed, available) = (MicroUnits(101), MicroUnits(100));
    assert_eq!(short, Rejection::InsufficientBalance { unit, needed, available });
    one(store, hold(&load, 2, 60, "CU", JANUARY), JANUARY).unwrap();
    assert_eq!(sides(store, &load), [[100, 0, 0, 0], [100, 0, 0, 0], [40, 60, 0, 0]]);
    let totals = store.totals().unwrap();
    assert_eq!(totals.len(), 4, "TOK, HKD, USD, CU: each with its own sum");
}
