//! Backups of either store, restored into either store; and what recomputing finds.

mod support;

use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::recompute::{Difference, recompute};
use bulla_broker::ledger::{Command, PackageNumber, Queries};
use bulla_wire::units::{MicroUnits, UnixMillis, UnixSeconds};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixSeconds = UnixSeconds(2_000);

/// Something of everything: holds in every state, a refund, an anomaly, a checkpoint.
fn busy(store: &mut dyn Store) -> Workload {
    let mut load = Workload::prepare(store, "node-1", 7, MicroUnits(1_000), NOW).unwrap();
    let mut commands: Vec<Command> = (0..8).map(|n| load.hold(n, MicroUnits(10), LATER)).collect();
    commands.extend((0..5).map(|n| load.settle(n, MicroUnits(4))));
    commands.push(Command::Release { hold: load.hold_id(5) });
    let package = PackageNumber(1);
    let (key, amount, memo) = ([9; 16], MicroUnits(3), "goodwill".to_owned());
    commands.push(Command::Refund { key, package, amount, memo });
    commands.push(Command::KeepAnomaly { what: "odd".into(), bytes: vec![1] });
    commands.push(Command::KeepCheckpoint { size: 3, note: b"note".to_vec() });
    assert!(store.execute(&commands, NOW).unwrap().iter().all(Result::is_ok));
    load
}

fn same(one: &dyn Queries, other: &dyn Queries) {
    assert_eq!(one.transfers(None, 0, 999).unwrap(), other.transfers(None, 0, 999).unwrap());
    assert_eq!(one.holds(None, 0, 999).unwrap(), other.holds(None, 0, 999).unwrap());
    assert_eq!(one.leaves(0, 999).unwrap(), other.leaves(0, 999).unwrap());
    assert_eq!(one.receipts(None, 0, 999).unwrap(), other.receipts(None, 0, 999).unwrap());
    assert_eq!(one.totals().unwrap(), other.totals().unwrap());
    assert_eq!(one.keysets().unwrap(), other.keysets().unwrap());
    assert_eq!(one.checkpoints().unwrap(), other.checkpoints().unwrap());
    assert_eq!(one.anomalies().unwrap(), other.anomalies().unwrap());
    assert_eq!(recompute(one).unwrap(), recompute(other).unwrap());
}

/// From one store through a file into another, which goes on where the first stood.
fn through_a_file(from: &mut dyn Store, into: &mut dyn Store) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.sqlite");
    let mut load = busy(from);
    from.back_up(&file).unwrap();
    let again = from.back_up(&file).unwrap_err().to_string();
    assert!(again.contains("exists already"), "{again}");
    into.restore(&file).unwrap();
    same(from, into);
    let twice = into.restore(&file).unwrap_err().to_string();
    assert!(twice.contains("in use"), "{twice}");
    let next = [load.hold(9, MicroUnits(10), LATER), load.settle(9, MicroUnits(2))];
    assert!(from.execute(&next, NOW).unwrap().iter().all(Result::is_ok));
    assert!(into.execute(&next, NOW).unwrap().iter().all(Result::is_ok));
    same(from, into);
    assert!(recompute(into).unwrap().differences.is_empty());
}

#[test]
fn from_sqlite_into_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str| SqliteStore::open(&folder.path().join(name)).unwrap();
    through_a_file(&mut open("one.sqlite"), &mut open("two.sqlite"));
}

#[test]
fn from_postgres_into_sqlite_and_back() {
    let (Some(one), Some(two)) = (support::postgres(), support::postgres()) else { return };
    through_a_file(&mut *one.store(), &mut *support::sqlite());
    through_a_file(&mut *support::sqlite(), &mut *two.store());
}

#[test]
fn recomputing_names_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.sqlite");
    let mut store = SqliteStore::open(&path).unwrap();
    let load = busy(&mut store);
    let found = recompute(&store).unwrap();
    assert_eq!((found.packages, found.holds, found.differences), (1, 8, vec![]));
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "UPDATE packages SET available = available - 5, spent = spent + 5;
         UPDATE holds SET charged = 9 WHERE number = 1;
         DROP TRIGGER transfers_stay;
         DELETE FROM transfers WHERE number = 3;",
    )
    .unwrap();
    let differences = recompute(&store).unwrap().differences;
    assert!(differences.contains(&Difference::Gap { expected: 3, got: 4 }));
    let hold = load.hold_id(0);
    let charge = Difference::Hold { hold, what: "charge", kept: 9, computed: 4 };
    assert!(differences.contains(&charge), "{differences:?}");
    let spent = |d: &Difference| matches!(d, Difference::Balance { side: "spent", .. });
    assert!(differences.iter().any(spent), "{differences:?}");
}
