//! Blind tokens in the ledger, on every store: drawn once, spent once, backed by one pool for each
//! epoch, nothing lost or made.

mod support;

use bulla_broker::io::store::Store;
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::anonymous::{ANONYMOUS, Draw, Pool, Redeem, Redemption, Spent};
use bulla_broker::ledger::recompute::recompute;
use bulla_broker::ledger::{
    AccountNumber, Command, Correction, Hold, HoldState, IssuePackage, Outcome, PackageNumber,
    Rejection, SetBudget,
};
use bulla_broker::package::Purpose;
use bulla_broker::payable::{Part, Party, SplitTerms};
use bulla_wire::ids::{Digest, DrawId, TokenInput};
use bulla_wire::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};

const NOW: UnixMillis = UnixMillis(1_000_000);
const LATER: UnixSeconds = UnixSeconds(2_000);

support::on_every_store! {
    a_draw_moves_value_once_and_counts_in_budgets,
    a_token_is_spent_once_in_the_commit_of_its_hold,
    tokens_of_several_epochs_gather_where_the_change_will_be,
    a_hold_settles_and_the_rest_stays_in_its_pool,
    an_anonymous_hold_and_its_receipt_may_come_in_one_batch,
    a_pool_lapses_with_its_epoch,
    nobody_speaks_for_the_pools,
    a_draw_prolongs_nothing,
    a_draw_takes_nothing_that_is_owed,
    the_name_is_whose_it_was,
}

fn one(store: &mut dyn Store, command: Command) -> Result<Outcome, Rejection> {
    store.execute(&[command], NOW).unwrap().remove(0)
}

fn loaded(store: &mut dyn Store) -> Workload {
    Workload::prepare(store, "node-1", 7, MicroUnits(1_000), NOW).unwrap()
}

fn pool(epoch: u64) -> Pool {
    let issue_until = UnixSeconds(1_500 + epoch);
    Pool { unit: Unit::tokens(), epoch, issue_until, lapses_at: UnixSeconds(3_000 + epoch) }
}

fn draw(load: &Workload, id: u8, epoch: u64, amount: u64) -> Draw {
    Draw {
        id: DrawId([id; 16]),
        request: Digest([id; 32]),
        account: load.account(),
        spender: Default::default(),
        amount: MicroUnits(amount),
        pool: pool(epoch),
    }
}

fn drawn(store: &mut dyn Store, draw: Draw) -> Result<Outcome, Rejection> {
    one(store, Command::Draw(Box::new(draw)))
}

/// Hold `n` of `amount`, paid with these tokens: which, of which epoch, worth how much.
fn redeem(load: &Workload, n: u64, amount: u64, tokens: &[(u8, u64, u64)], home: u64) -> Command {
    let Command::Hold(hold) = load.hold(n, MicroUnits(amount), LATER) else { panic!() };
    let hold = Hold { account: ANONYMOUS, ..*hold };
    let spent: Vec<Spent> = tokens
        .iter()
        .map(|(id, epoch, value)| Spent {
            input: TokenInput([*id; 32]),
            epoch: *epoch,
            value: MicroUnits(*value),
        })
        .collect();
    let paid = spent.iter().fold(MicroUnits(0), |sum, token| sum.saturating_add(token.value));
    let redemption = Redemption { paid, epoch: Some(home), blanks: Vec::new() };
    Command::Redeem(Box::new(Redeem { hold, spent, home: pool(home), redemption }))
}

/// Available, held, spent and expired of each package of an account.
fn balances(store: &dyn Store, account: AccountNumber) -> Vec<[u64; 4]> {
    let packages = store.packages(account).unwrap();
    packages.iter().map(|p| [p.available.0, p.held.0, p.spent.0, p.expired.0]).collect()
}

fn assert_sound(store: &dyn Store) {
    for (unit, totals) in store.totals().unwrap() {
        assert!(totals.balances(), "{unit}: {totals:?}");
        assert_eq!(totals.issued, 1_000, "what was drawn was issued once");
    }
    assert_eq!(recompute(store).unwrap().differences, []);
}

fn a_draw_moves_value_once_and_counts_in_budgets(store: &mut dyn Store) {
    let load = loaded(store);
    let budget = Command::SetBudget(SetBudget {
        account: load.account(),
        scope: Default::default(),
        unit: Unit::tokens(),
        every: None,
        zone: "UTC".into(),
        soft: None,
        hard: Some(MicroUnits(300)),
    });
    one(store, budget).unwrap();
    let first = drawn(store, draw(&load, 1, 1, 200)).unwrap();
    assert_eq!(drawn(store, draw(&load, 1, 1, 200)), Ok(first), "again: the same, paid once");
    let other = Draw { request: Digest([9; 32]), ..draw(&load, 1, 1, 200) };
    assert_eq!(drawn(store, other), Err(Rejection::KeyConflict));
    assert_eq!(balances(store, load.account())[0][0], 800);
    assert_eq!(balances(store, ANONYMOUS), [[200, 0, 0, 0]]);
    let over = drawn(store, draw(&load, 2, 1, 101));
    assert!(matches!(over, Err(Rejection::OverBudget { .. })), "{over:?}");
    drawn(store, draw(&load, 3, 1, 100)).unwrap();
    assert_eq!(balances(store, ANONYMOUS), [[300, 0, 0, 0]], "one pool for an epoch");
    let ended = UnixMillis(pool(1).issue_until.0 * 1000);
    let mut late = store.execute(&[Command::Draw(Box::new(draw(&load, 4, 1, 1)))], ended).unwrap();
    assert!(matches!(late.remove(0), Err(Rejection::Terms { .. })));
    let again = Command::Draw(Box::new(draw(&load, 1, 1, 200)));
    assert!(store.execute(&[again], ended).unwrap().remove(0).is_ok(), "paid before: answered");
    assert_sound(store);
}

fn a_token_is_spent_once_in_the_commit_of_its_hold(store: &mut dyn Store) {
    let load = loaded(store);
    drawn(store, draw(&load, 1, 1, 400)).unwrap();
    // Two orders of one batch with a token in common: the first has it.
    let first = redeem(&load, 1, 70, &[(1, 1, 64), (2, 1, 64)], 1);
    let second = redeem(&load, 2, 70, &[(2, 1, 64), (3, 1, 64)], 1);
    let spent = Err(Rejection::TokensSpent { tokens: vec![TokenInput([2; 32])] });
    let results = store.execute(&[first.clone(), second.clone()], NOW).unwrap();
    assert!(matches!(results[0], Ok(Outcome::Held { again: false, .. })));
    assert_eq!(results[1], spent);
    assert_eq!(one(store, second), spent, "and in a batch of its own");
    assert!(matches!(one(store, first), Ok(Outcome::Held { again: true, .. })));
    // The refused order's other token is still good.
    assert!(one(store, redeem(&load, 3, 64, &[(3, 1, 64)], 1)).is_ok());
    let twice = redeem(&load, 4, 1, &[(5, 1, 1), (5, 1, 1)], 1);
    assert!(matches!(one(store, twice), Err(Rejection::TokensSpent { .. })));
    let short = redeem(&load, 5, 65, &[(6, 1, 64)], 1);
    assert!(matches!(one(store, short), Err(Rejection::InsufficientBalance { .. })));
    let none = redeem(&load, 6, 0, &[], 1);
    assert!(matches!(one(store, none), Err(Rejection::Terms { .. })));
    // Whoever had the keys could make tokens: the pool covers no more than was drawn.
    let forged = redeem(&load, 7, 1, &[(7, 1, 4_000)], 1);
    assert!(matches!(one(store, forged), Err(Rejection::Terms { .. })));
    let unknown = redeem(&load, 8, 1, &[(8, 2, 64)], 2);
    assert!(matches!(one(store, unknown), Err(Rejection::Terms { .. })));
    assert_eq!(balances(store, ANONYMOUS), [[400 - 134, 134, 0, 0]]);
    assert_sound(store);
}

fn tokens_of_several_epochs_gather_where_the_change_will_be(store: &mut dyn Store) {
    let load = loaded(store);
    drawn(store, draw(&load, 1, 1, 100)).unwrap();
    drawn(store, draw(&load, 2, 2, 100)).unwrap();
    // Nobody has drawn of epoch 3 yet: its pool begins with the change.
    one(store, redeem(&load, 1, 70, &[(1, 1, 32), (2, 2, 64)], 3)).unwrap();
    assert_eq!(balances(store, ANONYMOUS), [[68, 0, 0, 0], [36, 0, 0, 0], [26, 70, 0, 0]]);
    one(store, Command::Release { hold: load.hold_id(1) }).unwrap();
    assert_eq!(balances(store, ANONYMOUS), [[68, 0, 0, 0], [36, 0, 0, 0], [96, 0, 0, 0]]);
    assert_sound(store);
}

fn a_hold_settles_and_the_rest_stays_in_its_pool(store: &mut dyn Store) {
    let mut load = loaded(store);
    drawn(store, draw(&load, 1, 1, 100)).unwrap();
    one(store, redeem(&load, 1, 70, &[(1, 1, 64), (2, 1, 32)], 1)).unwrap();
    one(store, load.settle(1, MicroUnits(25))).unwrap();
    assert_eq!(balances(store, ANONYMOUS), [[75, 0, 25, 0]]);
    let hold = store.hold(&load.hold_id(1)).unwrap().unwrap();
    assert_eq!((hold.account, hold.state), (ANONYMOUS, HoldState::Settled));
    assert_eq!(store.account(ANONYMOUS).unwrap().unwrap().name, "anonymous");
    // There is no account to give back to: what is owed to the bearer is the change.
    let asked = Correction {
        key: [1; 16],
        hold: load.hold_id(1),
        amount: MicroUnits(5),
        memo: "complaint".into(),
    };
    for command in [Command::RefundHold(asked.clone()), Command::Dispute(asked)] {
        let got = one(store, command);
        assert!(matches!(got, Err(Rejection::Dispute { .. })), "{got:?}");
    }
    assert_sound(store);
}

fn an_anonymous_hold_and_its_receipt_may_come_in_one_batch(store: &mut dyn Store) {
    let mut load = loaded(store);
    let account = load.account();
    let party = Party { role: "model owner".into(), account, ppm: 400_000, package: None };
    let terms = SplitTerms {
        model: "model".into(),
        unit: Unit::tokens(),
        parties: vec![party],
        platform: account,
        platform_package: None,
    };
    one(store, Command::SetSplit(terms)).unwrap();
    drawn(store, draw(&load, 1, 1, 100)).unwrap();
    let Command::Redeem(mut redeem) = redeem(&load, 1, 70, &[(1, 1, 64), (2, 1, 32)], 1) else {
        unreachable!()
    };
    let part = |ppm| Part { package: PackageNumber(2), ppm };
    redeem.hold.split = vec![part(400_000), part(0)];
    let batch = [Command::Redeem(redeem), load.settle(1, MicroUnits(25))];
    store.execute(&batch, NOW).unwrap().into_iter().for_each(|result| assert!(result.is_ok()));
    assert_eq!(balances(store, account), [[900, 0, 0, 0], [25, 0, 0, 0]]);
    assert_eq!(balances(store, ANONYMOUS), [[75, 0, 25, 0]]);
    assert_sound(store);
}

fn a_pool_lapses_with_its_epoch(store: &mut dyn Store) {
    let load = loaded(store);
    drawn(store, draw(&load, 1, 1, 100)).unwrap();
    let after = UnixMillis((pool(1).lapses_at.0 + 1) * 1000);
    store.execute(&[Command::ExpireDue], after).unwrap().remove(0).unwrap();
    assert_eq!(balances(store, ANONYMOUS), [[0, 0, 0, 100]]);
    let late = store.execute(&[redeem(&load, 1, 1, &[(1, 1, 64)], 1)], after).unwrap().remove(0);
    assert!(matches!(late, Err(Rejection::Terms { .. })), "{late:?}");
    assert_sound(store);
}

fn nobody_speaks_for_the_pools(store: &mut dyn Store) {
    let load = loaded(store);
    let keys = Command::PutBlindKeys { epoch: 1, document: vec![1], leaf: vec![2] };
    one(store, keys).unwrap();
    let name = || "anonymous".to_owned();
    let open = one(store, Command::OpenAccount { name: name(), operator: false });
    assert_eq!(open, Err(Rejection::NameTaken { name: name() }), "since there are keys");
    drawn(store, draw(&load, 1, 1, 100)).unwrap();
    let package = store.packages(ANONYMOUS).unwrap()[0].number;
    let (amount, memo) = (MicroUnits(1), || "mine".to_owned());
    let unknown = Err(Rejection::UnknownAccount { account: ANONYMOUS });
    let credential = Command::AddCredential {
        account: ANONYMOUS,
        digest: Digest([1; 32]),
        project: None,
        label: memo(),
        expires_at: None,
    };
    assert_eq!(one(store, credential), unknown);
    let key = Command::RegisterOrderKey {
        account: ANONYMOUS,
        order_key: bulla_wire::ids::PublicKey([1; 32]),
        handle: bulla_wire::ids::AccountHandle([1; 32]),
    };
    assert_eq!(one(store, key), unknown);
    let Command::Hold(hold) = load.hold(1, amount, LATER) else { panic!() };
    let hold = Command::Hold(Box::new(Hold { account: ANONYMOUS, ..*hold }));
    assert_eq!(one(store, hold), unknown, "a credential-less hold without tokens");
    let send = Command::Send { key: [2; 16], package, to: load.account(), amount, memo: memo() };
    let void = Command::Void { key: [3; 16], package, amount, memo: memo() };
    let refund = Command::Refund { key: [4; 16], package, amount, memo: memo() };
    for command in [send, void, refund] {
        let got = one(store, command);
        assert!(matches!(got, Err(Rejection::Terms { .. })), "{got:?}");
    }
    assert_eq!(balances(store, ANONYMOUS), [[100, 0, 0, 0]]);
    assert_sound(store);
}

fn a_draw_prolongs_nothing(store: &mut dyn Store) {
    let open = Command::OpenAccount { name: "short".into(), operator: false };
    let Ok(Outcome::AccountOpened { account }) = one(store, open) else { panic!() };
    let issue = |key: u8, expires_at| {
        Command::IssuePackage(IssuePackage {
            key: [key; 16],
            account,
            unit: Unit::tokens(),
            amount: MicroUnits(500),
            priority: 1,
            promotional: false,
            effective_from: UnixSeconds(0),
            expires_at,
            memo: "lapses".into(),
            terms: Default::default(),
        })
    };
    let end = pool(1).lapses_at;
    one(store, issue(1, Some(UnixSeconds(end.0 - 1)))).unwrap();
    one(store, issue(2, Some(end))).unwrap();
    let draw = |id, amount| Draw {
        id: DrawId([id; 16]),
        request: Digest([id; 32]),
        account,
        spender: Default::default(),
        amount: MicroUnits(amount),
        pool: pool(1),
    };
    let got = drawn(store, draw(1, 501));
    let (needed, available) = (MicroUnits(501), MicroUnits(500));
    let unit = Unit::tokens();
    assert_eq!(got, Err(Rejection::InsufficientBalance { unit, needed, available }));
    drawn(store, draw(2, 500)).unwrap();
    assert_eq!(balances(store, account), [[500, 0, 0, 0], [0, 0, 0, 0]]);
}

fn a_draw_takes_nothing_that_is_owed(store: &mut dyn Store) {
    let load = loaded(store);
    let mut line = IssuePackage {
        key: [8; 16],
        account: load.account(),
        unit: Unit::tokens(),
        amount: MicroUnits(500),
        priority: 1,
        promotional: false,
        effective_from: UnixSeconds(0),
        expires_at: None,
        memo: "overdraft line".into(),
        terms: Default::default(),
    };
    line.terms.purpose = Purpose::Overdraft;
    one(store, Command::IssuePackage(line)).unwrap();
    let got = drawn(store, draw(&load, 1, 1, 1_001));
    let (needed, available) = (MicroUnits(1_001), MicroUnits(1_000));
    let unit = Unit::tokens();
    assert_eq!(got, Err(Rejection::InsufficientBalance { unit, needed, available }));
    drawn(store, draw(&load, 2, 1, 1_000)).unwrap();
    assert_eq!(balances(store, load.account()), [[0, 0, 0, 0], [500, 0, 0, 0]]);
}

fn the_name_is_whose_it_was(store: &mut dyn Store) {
    let load = loaded(store);
    let name = || "anonymous".to_owned();
    let open = || Command::OpenAccount { name: name(), operator: false };
    one(store, open()).unwrap();
    let keys = || Command::PutBlindKeys { epoch: 1, document: vec![1], leaf: vec![2] };
    one(store, keys()).unwrap();
    let taken = Err(Rejection::NameTaken { name: name() });
    assert_eq!(
        drawn(store, draw(&load, 1, 1, 1)),
        taken,
        "there are no pools, and nothing is paid"
    );
    assert_eq!(balances(store, load.account())[0][0], 1_000);
    assert_eq!(store.packages(ANONYMOUS).unwrap(), []);
}
