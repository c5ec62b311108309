//! Brokers that are killed (SIGKILL, no warning) while they write, over every store, again and
//! again: what was answered is there, once; nothing stays pending; sums hold.
//!
//! The child is this very test program: [`a_life`] does nothing unless it is told where to write.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use bulla_broker::io::store::{PostgresPlace, PostgresStore, SqliteStore, Store};
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::{Command, HoldState};
use bulla_wire::bundle::TransferKind;
use bulla_wire::ids::HoldId;
use bulla_wire::units::{MicroUnits, UnixMillis, UnixSeconds};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixSeconds = UnixSeconds(2_000);
/// What the child is told.
const STORE: &str = "BULLA_TEST_STORE";
const LIFE: &str = "BULLA_TEST_LIFE";
/// Pairs a life settles if nobody kills it, and how many per batch.
const PAIRS: u64 = 1_600;
const PER_BATCH: u64 = 8;

/// The child: holds and settles, and says of each batch when it is durable.
#[test]
fn a_life() {
    let (Ok(place), Ok(life)) = (std::env::var(STORE), std::env::var(LIFE)) else { return };
    let life: u8 = life.parse().unwrap();
    let mut store: Box<dyn Store> = match place.strip_prefix("sqlite:") {
        Some(path) => Box::new(SqliteStore::open(path.as_ref()).unwrap()),
        None => {
            let place = PostgresPlace::new(&place, None).unwrap();
            Box::new(PostgresStore::open(&place).unwrap())
        }
    };
    let name = format!("life-{life}");
    let balance = MicroUnits(PAIRS * 10);
    let mut load = Workload::prepare(&mut *store, &name, life, balance, NOW).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready").unwrap();
    for first in (0..PAIRS).step_by(PER_BATCH as usize) {
        let numbers = first..first + PER_BATCH;
        let holds: Vec<_> = numbers.clone().map(|n| load.hold(n, MicroUnits(10), LATER)).collect();
        // Of every batch one hold is left behind, as when an enclave dies too.
        let settled: Vec<_> =
            numbers.clone().skip(1).map(|n| load.settle(n, MicroUnits(4))).collect();
        for commands in [holds, settled] {
            for result in store.execute(&commands, NOW).unwrap() {
                result.unwrap();
            }
        }
        for n in numbers.skip(1) {
            writeln!(out, "settled {}", load.hold_id(n)).unwrap();
        }
        out.flush().unwrap();
    }
}

fn start(place: &str, life: u8) -> Child {
    Process::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_life", "--nocapture", "--test-threads=1"])
        .env(STORE, place)
        .env(LIFE, life.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Lets a life run for a while after it is ready, kills it, and returns what it had been told.
fn cut_short(mut child: Child, after: Option<Duration>) -> Vec<HoldId> {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The test harness says a line or two first.
    assert!(lines.any(|line| line.ends_with("ready")), "the child never got ready");
    let reading = std::thread::spawn(move || {
        let id = |line: String| line.strip_prefix("settled ").map(|id| id.parse().unwrap());
        lines.filter_map(id).collect()
    });
    match after {
        Some(after) => {
            std::thread::sleep(after);
            child.kill().unwrap();
            child.wait().unwrap();
        }
        None => assert!(child.wait().unwrap().success()),
    }
    reading.join().unwrap()
}

/// What must hold, whoever was killed when.
fn judge(store: &mut dyn Store, answered: &[HoldId]) {
    let end = UnixMillis(9_000_000);
    while store.next_expiry().unwrap().is_some() {
        store.execute(&[Command::ExpireDue], end).unwrap();
    }
    let mut settled: BTreeMap<HoldId, u64> = BTreeMap::new();
    let mut after = 0;
    loop {
        let page = store.transfers(None, after, 5_000).unwrap();
        let Some(last) = page.last() else { break };
        for transfer in page.iter().filter(|t| t.kind == TransferKind::Settle) {
            *settled.entry(transfer.hold.unwrap()).or_default() += transfer.amount.0;
        }
        assert!((after + 1..).zip(&page).all(|(number, transfer)| transfer.number == number));
        after = last.number;
    }
    assert!(settled.values().all(|amount| *amount == 4), "a receipt was charged twice");
    for hold in answered {
        assert!(settled.contains_key(hold), "hold {hold} was answered and is not settled");
        assert_eq!(store.hold(hold).unwrap().unwrap().state, HoldState::Settled);
    }
    let spent: u64 = settled.values().sum();
    for (unit, totals) in store.totals().unwrap() {
        assert!(totals.balances(), "{unit}: {totals:?}");
        assert_eq!(totals.held, 0, "pending returns to zero");
        assert_eq!(totals.spent, u128::from(spent), "what was spent is what was settled");
    }
    let leaves = store.leaf_count().unwrap();
    assert_eq!(store.leaves(0, 1 << 20).unwrap().len() as u64, leaves, "the log has no gap");
}

/// Kills one life after the other at ever other moments.
fn kill_again_and_again(place: &str, open: &dyn Fn() -> Box<dyn Store>) {
    let mut answered = Vec::new();
    for life in 1..=8u8 {
        let after = Duration::from_millis(3 + 29 * u64::from(life));
        answered.extend(cut_short(start(place, life), Some(after)));
    }
    assert!(!answered.is_empty(), "every life was killed before its first answer");
    judge(&mut *open(), &answered);
}

#[test]
fn sqlite_survives_any_kill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let place = format!("sqlite:{}", path.display());
    kill_again_and_again(&place, &|| Box::new(SqliteStore::open(&path).unwrap()));
}

#[test]
fn postgres_survives_any_kill() {
    let Some(database) = support::postgres() else { return };
    kill_again_and_again(&database.url(), &|| database.store());
}

#[test]
fn of_two_brokers_over_one_database_one_dies_under_load() {
    let Some(database) = support::postgres() else { return };
    // Once each way, so that either has been the one that dies.
    let mut answered = Vec::new();
    for (dies, lives) in [(1, 2), (4, 3)] {
        let (first, second) = (start(&database.url(), dies), start(&database.url(), lives));
        let other = std::thread::spawn(move || cut_short(second, None));
        answered.extend(cut_short(first, Some(Duration::from_millis(400))));
        let survivor = other.join().unwrap();
        assert_eq!(survivor.len() as u64, PAIRS - PAIRS / PER_BATCH, "the other went on");
        answered.extend(survivor);
    }
    judge(&mut *database.store(), &answered);
}
