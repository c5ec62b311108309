//! The ledger against its rules, on every store: two phases, burn order, idempotency, order of the
//! log.

mod support;

use bulla_broker::io::store::Store;
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::{
    AccountNumber, Charge, Command, HoldState, IssuePackage, Outcome, RecordKind, Rejection,
    Settlement, postings,
};
use bulla_wire::bundle::TransferKind;
use bulla_wire::ids::{AccountHandle, Digest, PublicKey};
use bulla_wire::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixSeconds = UnixSeconds(2_000);

support::on_every_store! {
    holds_then_settles_and_returns_the_rest,
    the_same_hold_again_is_the_same_answer_and_another_order_conflicts,
    an_empty_package_holds_nothing,
    one_rejected_command_does_not_harm_the_others,
    a_hold_burns_several_packages_in_order_and_settles_the_first_first,
    a_receipt_settles_once_and_late_second_or_oversized_ones_change_nothing,
    without_a_receipt_a_hold_expires_and_an_interim_receipt_settles_it,
    a_package_lapses_and_what_a_hold_returns_to_it_lapses_too,
    refunds_what_was_spent_and_no_more,
    records_are_logged_in_order_and_settle_without_waiting,
    refuses_forked_broken_and_unopened_chains_whole,
    an_order_key_belongs_to_one_account_for_ever,
}

fn one(store: &mut dyn Store, command: Command) -> Result<Outcome, Rejection> {
    at(store, command, NOW)
}

fn at(store: &mut dyn Store, command: Command, now: UnixMillis) -> Result<Outcome, Rejection> {
    store.execute(&[command], now).unwrap().remove(0)
}

fn loaded(store: &mut dyn Store, balance: u64) -> Workload {
    Workload::prepare(store, "node-1", 7, MicroUnits(balance), NOW).unwrap()
}

fn balances(store: &dyn Store, account: AccountNumber) -> Vec<[u64; 4]> {
    let packages = store.packages(account).unwrap();
    packages.iter().map(|p| [p.available.0, p.held.0, p.spent.0, p.expired.0]).collect()
}

fn assert_sound(store: &dyn Store) {
    for (unit, totals) in store.totals().unwrap() {
        assert!(totals.balances(), "{unit}: {totals:?}");
    }
    let mut sums = std::collections::BTreeMap::new();
    let transfers = store.transfers(None, 0, usize::MAX >> 1).unwrap();
    for (number, transfer) in (1..).zip(&transfers) {
        assert_eq!(transfer.number, number, "transfers are numbered without gaps");
        let (from, to) = postings(transfer.kind);
        let amount = i128::from(transfer.amount.0);
        *sums.entry((transfer.package_number, format!("{from:?}"))).or_insert(0i128) -= amount;
        *sums.entry((transfer.package_number, format!("{to:?}"))).or_insert(0i128) += amount;
    }
    assert_eq!(sums.values().sum::<i128>(), 0, "double entry");
    for account in store.accounts().unwrap() {
        for package in store.packages(account.number).unwrap() {
            let side =
                |name: &str| sums.get(&(package.number.0, name.to_owned())).copied().unwrap_or(0);
            let amount = |value: MicroUnits| i128::from(value.0);
            assert_eq!(side("Issued"), -amount(package.granted));
            assert_eq!(side("Available"), amount(package.available));
            assert_eq!(side("Held"), amount(package.held));
            assert_eq!(side("Spent"), amount(package.spent));
            assert_eq!(side("Expired"), amount(package.expired));
        }
    }
}

fn holds_then_settles_and_returns_the_rest(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    let held = one(store, load.hold(1, MicroUnits(60), LATER)).unwrap();
    assert!(matches!(held, Outcome::Held { again: false, state: HoldState::Active, .. }));
    assert_eq!(balances(store, load.account()), [[40, 60, 0, 0]]);
    let settled = one(store, load.settle(1, MicroUnits(25))).unwrap();
    let Outcome::Recorded { settlement, leaf_index, .. } = settled else { panic!("{settled:?}") };
    let (charged, returned) = (MicroUnits(25), MicroUnits(35));
    assert_eq!(settlement, Settlement::Settled { charged, returned });
    assert_eq!(leaf_index, Some(2), "keyset, epoch-open, receipt");
    assert_eq!(balances(store, load.account()), [[75, 0, 25, 0]]);
    assert_sound(store);
}

fn the_same_hold_again_is_the_same_answer_and_another_order_conflicts(store: &mut dyn Store) {
    let load = loaded(store, 100);
    let hold = load.hold(1, MicroUnits(60), LATER);
    let first = one(store, hold.clone()).unwrap();
    let again = one(store, hold.clone()).unwrap();
    let (Outcome::Held { grant, .. }, Outcome::Held { grant: same, again: true, .. }) =
        (first, again)
    else {
        panic!("not held")
    };
    assert_eq!(grant, same);
    let Command::Hold(mut other) = hold else { panic!() };
    other.order_digest = Digest([9; 32]);
    let got = one(store, Command::Hold(other));
    assert_eq!(got, Err(Rejection::HoldConflict { hold: load.hold_id(1) }));
    assert_eq!(balances(store, load.account()), [[40, 60, 0, 0]]);
}

fn an_empty_package_holds_nothing(store: &mut dyn Store) {
    let load = loaded(store, 100);
    let got = one(store, load.hold(1, MicroUnits(101), LATER));
    let (needed, available) = (MicroUnits(101), MicroUnits(100));
    let unit = Unit::tokens();
    assert_eq!(got, Err(Rejection::InsufficientBalance { unit, needed, available }));
    assert_eq!(balances(store, load.account()), [[100, 0, 0, 0]]);
}

fn one_rejected_command_does_not_harm_the_others(store: &mut dyn Store) {
    let load = loaded(store, 100);
    let batch = [
        load.hold(1, MicroUnits(50), LATER),
        load.hold(2, MicroUnits(51), LATER),
        load.hold(3, MicroUnits(50), LATER),
    ];
    let results = store.execute(&batch, NOW).unwrap();
    let ok: Vec<bool> = results.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, false, true]);
    assert_sound(store);
}

fn a_hold_burns_several_packages_in_order_and_settles_the_first_first(store: &mut dyn Store) {
    let mut load = loaded(store, 10);
    let gift = Command::IssuePackage(IssuePackage {
        key: [1; 16],
        account: load.account(),
        unit: Unit::tokens(),
        amount: MicroUnits(10),
        priority: 200,
        promotional: true,
        effective_from: UnixSeconds(0),
        expires_at: Some(LATER),
        memo: "gift".into(),
        terms: Default::default(),
    });
    one(store, gift.clone()).unwrap();
    assert!(one(store, gift).is_ok(), "same key and parameters: same answer");
    one(store, load.hold(1, MicroUnits(15), LATER)).unwrap();
    assert_eq!(balances(store, load.account()), [[5, 5, 0, 0], [0, 10, 0, 0]]);
    one(store, load.settle(1, MicroUnits(12))).unwrap();
    assert_eq!(balances(store, load.account()), [[8, 0, 2, 0], [0, 0, 10, 0]]);
    assert_sound(store);
}

fn a_receipt_settles_once_and_late_second_or_oversized_ones_change_nothing(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    one(store, load.hold(1, MicroUnits(10), LATER)).unwrap();
    let receipt = load.settle(1, MicroUnits(4));
    one(store, receipt.clone()).unwrap();
    let before = store.transfers(None, 0, 100).unwrap();
    let replay = one(store, receipt).unwrap();
    let Outcome::Recorded { again: true, settlement, .. } = replay else { panic!("{replay:?}") };
    assert_eq!(settlement, Settlement::AlreadySettled);
    let flagged = |outcome: Result<Outcome, Rejection>| match outcome {
        Ok(Outcome::Recorded { settlement: Settlement::Flagged { why }, leaf_index, .. }) => {
            assert!(leaf_index.is_some(), "a flagged receipt is logged all the same");
            why
        }
        other => panic!("not flagged: {other:?}"),
    };
    let second = flagged(one(store, load.settle(1, MicroUnits(4))));
    assert!(second.contains("was settled before"), "{second}");
    let nowhere = flagged(one(store, load.settle(99, MicroUnits(4))));
    assert!(nowhere.contains("no hold"), "{nowhere}");
    assert_eq!(store.transfers(None, 0, 100).unwrap(), before);

    one(store, load.hold(2, MicroUnits(10), LATER)).unwrap();
    let oversized = flagged(one(store, load.settle(2, MicroUnits(11))));
    assert!(oversized.contains("exceeds hold"), "{oversized}");
    let too_late = LATER.millis().saturating_add(UnixMillis(1000));
    let late = flagged(at(store, load.settle(2, MicroUnits(1)), too_late));
    assert!(late.starts_with("late"), "{late}");
    one(store, Command::Release { hold: load.hold_id(2) }).unwrap();
    let released = flagged(one(store, load.settle(2, MicroUnits(1))));
    assert!(released.contains("was released before"), "{released}");
    assert_eq!(balances(store, load.account()), [[96, 0, 4, 0]]);
    assert_sound(store);
}

fn without_a_receipt_a_hold_expires_and_an_interim_receipt_settles_it(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    for n in [1, 2] {
        one(store, load.hold(n, MicroUnits(10), LATER)).unwrap();
    }
    for (index, amount) in [(0, 3), (1, 6)] {
        let (hold, amount) = (load.hold_id(2), MicroUnits(amount));
        let interim = load.record(RecordKind::Receipt, Charge::Interim { hold, index, amount });
        one(store, interim).unwrap();
    }
    let due = LATER.millis();
    assert_eq!(
        at(store, Command::ExpireDue, due),
        Ok(Outcome::Expired { holds: 0, packages: 0 }),
        "settle-by itself is still in time"
    );
    let after = due.saturating_add(UnixMillis(1000));
    assert_eq!(store.next_expiry().unwrap(), Some(after));
    let expired = at(store, Command::ExpireDue, after);
    assert_eq!(expired, Ok(Outcome::Expired { holds: 2, packages: 0 }));
    assert_eq!(store.hold(&load.hold_id(1)).unwrap().unwrap().state, HoldState::Expired);
    let settled = store.hold(&load.hold_id(2)).unwrap().unwrap();
    assert_eq!((settled.state, settled.charged), (HoldState::Settled, Some(MicroUnits(6))));
    assert_eq!(balances(store, load.account()), [[94, 0, 6, 0]]);
    assert_sound(store);
}

fn a_package_lapses_and_what_a_hold_returns_to_it_lapses_too(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    let lapsing = Command::IssuePackage(IssuePackage {
        key: [1; 16],
        account: load.account(),
        unit: Unit::tokens(),
        amount: MicroUnits(10),
        priority: 0,
        promotional: false,
        effective_from: UnixSeconds(0),
        expires_at: Some(UnixSeconds(1500)),
        memo: "short".into(),
        terms: Default::default(),
    });
    one(store, lapsing).unwrap();
    one(store, load.hold(1, MicroUnits(4), LATER)).unwrap();
    let end = UnixMillis(1_500_000);
    at(store, Command::ExpireDue, end).unwrap();
    assert_eq!(balances(store, load.account())[1], [0, 4, 0, 6]);
    at(store, load.settle(1, MicroUnits(1)), end).unwrap();
    at(store, Command::ExpireDue, end).unwrap();
    assert_eq!(balances(store, load.account())[1], [0, 0, 1, 9]);
    assert_sound(store);
}

fn refunds_what_was_spent_and_no_more(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    one(store, load.hold(1, MicroUnits(10), LATER)).unwrap();
    one(store, load.settle(1, MicroUnits(8))).unwrap();
    let package = store.packages(load.account()).unwrap()[0].number;
    let refund = |key: u8, amount| Command::Refund {
        key: [key; 16],
        package,
        amount: MicroUnits(amount),
        memo: "goodwill".into(),
    };
    assert_eq!(one(store, refund(1, 5)), Ok(Outcome::Done));
    assert_eq!(one(store, refund(1, 5)), Ok(Outcome::Done), "once");
    assert_eq!(one(store, refund(1, 6)), Err(Rejection::KeyConflict));
    let (asked, spent) = (MicroUnits(4), MicroUnits(3));
    assert_eq!(
        one(store, refund(2, 4)),
        Err(Rejection::RefundExceedsSpent { package, asked, spent })
    );
    assert_eq!(balances(store, load.account()), [[97, 0, 3, 0]]);
    let last = store.transfers(None, 0, 100).unwrap().pop().unwrap();
    assert_eq!(last.kind, TransferKind::Refund);
    assert_sound(store);
}

fn records_are_logged_in_order_and_settle_without_waiting(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    for n in [1, 2, 3] {
        one(store, load.hold(n, MicroUnits(10), LATER)).unwrap();
    }
    let receipts: Vec<Command> = (1..=3).map(|n| load.settle(n, MicroUnits(n))).collect();
    let early = one(store, receipts[2].clone()).unwrap();
    let Outcome::Recorded { leaf_index: None, next_seq: 1, settlement, .. } = early else {
        panic!("{early:?}")
    };
    assert!(matches!(settlement, Settlement::Settled { .. }), "{settlement:?}");
    assert_eq!(store.leaf_count().unwrap(), 2);
    one(store, receipts[0].clone()).unwrap();
    assert_eq!(store.leaf_count().unwrap(), 3);
    let gap_closed = one(store, receipts[1].clone()).unwrap();
    let Outcome::Recorded { leaf_index: Some(3), next_seq: 4, .. } = gap_closed else {
        panic!("{gap_closed:?}")
    };
    let leaves = store.leaves(2, 10).unwrap();
    let expected: Vec<Vec<u8>> = receipts
        .iter()
        .map(|command| match command {
            Command::Record(record) => record.leaf.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(leaves, expected);
    assert_sound(store);
}

fn refuses_forked_broken_and_unopened_chains_whole(store: &mut dyn Store) {
    let mut load = loaded(store, 100);
    one(store, load.hold(1, MicroUnits(10), LATER)).unwrap();
    let good = load.settle(1, MicroUnits(3));
    let Command::Record(record) = good.clone() else { panic!() };
    let mut broken = record.clone();
    broken.prev = Some(Digest([0xbb; 32]));
    let got = one(store, Command::Record(broken));
    assert!(matches!(got, Err(Rejection::ChainBroken { seq: 1, .. })), "{got:?}");
    assert_eq!(balances(store, load.account()), [[90, 10, 0, 0]], "nothing charged");
    one(store, good).unwrap();
    let mut fork = record.clone();
    fork.digest = Digest([0xcc; 32]);
    let got = one(store, Command::Record(fork));
    assert!(matches!(got, Err(Rejection::RecordConflict { seq: 1, .. })), "{got:?}");
    let mut unopened = record.clone();
    unopened.epoch.0[0] ^= 1;
    let got = one(store, Command::Record(unopened));
    assert!(matches!(got, Err(Rejection::UnknownEpoch { .. })), "{got:?}");
    one(store, load.record(RecordKind::Close, Charge::None)).unwrap();
    let got = one(store, load.settle(1, MicroUnits(3)));
    assert!(matches!(got, Err(Rejection::EpochClosed { seq: 3, .. })), "{got:?}");
    assert_sound(store);
}

fn an_order_key_belongs_to_one_account_for_ever(store: &mut dyn Store) {
    let load = loaded(store, 100);
    let open = Command::OpenAccount { name: "other".into(), operator: false };
    let Ok(Outcome::AccountOpened { account: other }) = one(store, open) else { panic!() };
    let register = |account| Command::RegisterOrderKey {
        account,
        order_key: PublicKey([1; 32]),
        handle: AccountHandle([2; 32]),
    };
    assert_eq!(one(store, register(load.account())), Ok(Outcome::Done));
    assert_eq!(one(store, register(load.account())), Ok(Outcome::Done));
    let handle = AccountHandle([2; 32]);
    assert_eq!(one(store, register(other)), Err(Rejection::HandleTaken { handle }));
}
