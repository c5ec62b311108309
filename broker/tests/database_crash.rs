//! The database is stopped as one pulls a plug, again and again, while a broker writes: the store
//! finds out whether its last commit happened and goes on, so every command happens exactly once.
//! Alone in its file: the server is everybody's.

mod support;

use std::process::Command as Process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::{Command, Outcome, Settlement};
use bulla_wire::units::{MicroUnits, UnixMillis, UnixSeconds};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixSeconds = UnixSeconds(2_000);
/// Crashes of the server.
const CRASHES: usize = 3;

#[test]
fn a_crash_of_the_database_loses_and_doubles_nothing() {
    let Some(database) = support::postgres() else { return };
    let Ok(restart) = std::env::var("BULLA_POSTGRES_RESTART") else {
        println!("skipped: nobody says how to crash this PostgreSQL (run under .ci/postgres)");
        return;
    };
    let mut store = database.store();
    let balance = MicroUnits(1 << 40);
    let mut load = Workload::prepare(&mut *store, "node-1", 7, balance, NOW).unwrap();
    let crashing = AtomicBool::new(true);
    let mut pairs = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CRASHES {
                std::thread::sleep(Duration::from_millis(300));
                assert!(Process::new(&restart).status().unwrap().success());
            }
            crashing.store(false, Ordering::Relaxed);
        });
        while crashing.load(Ordering::Relaxed) {
            let hold = [load.hold(pairs, MicroUnits(10), LATER)];
            let held = store.execute(&hold, NOW).unwrap().remove(0);
            assert!(matches!(held, Ok(Outcome::Held { again: false, .. })), "{held:?}");
            let receipt = [load.settle(pairs, MicroUnits(4))];
            let settled = store.execute(&receipt, NOW).unwrap().remove(0);
            let charged = matches!(
                settled,
                Ok(Outcome::Recorded { again: false, settlement: Settlement::Settled { .. }, .. })
            );
            assert!(charged, "{settled:?}");
            // Not idempotent by itself: twice would be two leaves.
            store.execute(&[Command::LogLeaf { leaf: vec![1, 2, 3] }], NOW).unwrap();
            pairs += 1;
        }
    });
    let totals = &store.totals().unwrap()[0].1;
    assert!(totals.balances());
    assert_eq!((totals.held, totals.spent), (0, u128::from(pairs) * 4));
    assert_eq!(store.leaf_count().unwrap(), 2 + 2 * pairs, "keyset, epoch-open, two per pair");
    println!("{pairs} pairs through {CRASHES} crashes");
}
