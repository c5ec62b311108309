//! Orders: held, granted, refused by the check that fails, settled or expired.

use bulla_wire::decision::{Decision, MAX_LOGGED_REFUSALS_PER_MINUTE};
use bulla_wire::leaf::Leaf;

use super::*;

#[test]
fn an_order_is_held_granted_settled_and_logged() {
    let mut town = Town::open(1000);
    let order = town.order(1, |_| {});
    let (grant, delegation, again) = town.granted(&order);
    assert_eq!(again, None);
    assert_eq!(town.balance(), (950, 50, 0));
    let root = town.broker.keys().root_public();
    let delegation: Signed<Delegation> = verify(&delegation, &root).unwrap();
    let grant: Signed<Grant> = verify(&grant, &delegation.grant_key).unwrap();
    assert_eq!((grant.order, grant.keyset), (order.digest(), KEYSET));

    let receipt = town.enclave.receipt(&order, 7, |_| {});
    let settlement = town.settle(receipt.clone());
    let tokens = |n: u64| MicroUnits(n * 1_000_000);
    assert_eq!(settlement, Settlement::Settled { charged: tokens(17), returned: tokens(33) });
    assert_eq!(town.balance(), (983, 0, 17));

    // Price book, delegation, keyset, epoch-open, the order's grant, receipt; all under a signed
    // checkpoint.
    assert_eq!(town.broker.log().size(), 6);
    let note = town.broker.log().published().unwrap().to_bytes();
    let checkpoint = SignedCheckpoint::open(&note, &town.broker.keys().log_verifier()).unwrap();
    assert_eq!(checkpoint.checkpoint().size(), 6);
    assert!(town.broker.log().prove(5, &[]).unwrap().starts_with("c2sp.org/tlog-proof@v1"));
}

impl Town {
    /// The log's decisions about orders, oldest first.
    pub(super) fn decisions(&self) -> Vec<(Digest, Decision)> {
        let leaves = self.store.leaves(0, 1000).unwrap();
        let all = leaves.iter().filter_map(|leaf| match Leaf::from_slice(leaf).unwrap() {
            Leaf::Decision { order, decision, .. } => Some((order, decision)),
            _ => None,
        });
        all.collect()
    }

    fn turn_away(&mut self, order: &Signed<Order>, decision: Decision) {
        let (request, account, bytes) = (REQUEST, self.account, order.bytes().to_vec());
        self.happen(Event::OrderTurnedAway { request, account, order: bytes, decision });
        self.take(|effect| matches!(effect, Effect::Done { .. }).then_some(()));
    }
}

#[test]
fn every_customers_order_has_its_decision_in_the_log() {
    let mut town = Town::open(60);
    let good = town.order(1, |_| {});
    town.granted(&good);
    // The same order again is the same decision.
    town.granted(&good);
    // More than there is: decided in the ledger, and logged in the same batch.
    let poor = town.order(3, |_| {});
    assert_eq!(town.refused(&poor).0, Problem::InsufficientBalance);
    // Another order under the first one's hold.
    let other = town.order(1, |order| order.max_charge.0 += 1);
    assert_eq!(town.refused(&other).0, Problem::HoldConflict);
    // At the door, before anybody judged it.
    let many = town.order(4, |_| {});
    town.turn_away(&many, Decision::RateLimited);
    let expected = [
        (good.digest(), Decision::Granted),
        (poor.digest(), Decision::InsufficientBalance),
        (other.digest(), Decision::HoldConflict),
        (many.digest(), Decision::RateLimited),
    ];
    assert_eq!(town.decisions(), expected);
}

#[test]
fn a_strangers_order_is_nobodys_and_not_logged() {
    let mut town = Town::open(60);
    town.customer = SigningKey::from_seed([77; 32]);
    let order = town.order(1, |_| {});
    assert_eq!(town.refused(&order).0, Problem::Forbidden);
    town.turn_away(&order, Decision::Busy);
    assert_eq!(town.decisions(), []);
}

#[test]
fn refusals_beyond_a_bound_are_not_logged_and_grants_always_are() {
    let mut town = Town::open(60);
    let most = MAX_LOGGED_REFUSALS_PER_MINUTE as usize;
    for n in 0..most + 5 {
        let order = town.order(n as u8, |order| order.max_charge.0 -= 1);
        assert_eq!(town.refused(&order).0, Problem::InvalidOrder);
    }
    assert_eq!(town.decisions().len(), most);
    let good = town.order(200, |_| {});
    town.granted(&good);
    let poor = town.order(201, |_| {});
    assert_eq!(town.refused(&poor).0, Problem::InsufficientBalance);
    assert_eq!(town.decisions().len(), most + 1, "of the two, the grant");
    town.now.0 += 1000;
    let poor = town.order(202, |_| {});
    assert_eq!(town.refused(&poor).0, Problem::InsufficientBalance);
    assert_eq!(town.decisions().last(), Some(&(poor.digest(), Decision::InsufficientBalance)));
}

#[test]
fn refuses_orders_by_the_check_that_fails() {
    let mut town = Town::open(100);
    let problem = |town: &mut Town, alter: fn(&mut Order)| {
        let order = town.order(1, alter);
        town.refused(&order)
    };
    type Case = (fn(&mut Order), Problem, Decision, &'static str);
    use Decision as D;
    let cases: [Case; 9] = [
        (
            |o| o.max_charge.0 -= 1,
            Problem::InvalidOrder,
            D::MaxCharge,
            "can cost 50, the order allows 49.999999:",
        ),
        (|o| o.not_after = START.seconds(), Problem::InvalidOrder, D::Expired, "expired"),
        (|o| o.issued_at.0 += 301, Problem::InvalidOrder, D::FromTheFuture, "set the clock"),
        (|o| o.keyset = Digest([9; 32]), Problem::StaleKeyset, D::StaleKeyset, "appraise"),
        (|o| o.model = Digest([9; 32]), Problem::NotFound, D::NoModel, "does not serve model"),
        (|o| o.rates = Rates::default(), Problem::StalePrices, D::Rates, "rates must be"),
        (|o| o.price_book = Digest([9; 32]), Problem::StalePrices, D::StaleBook, "is in force"),
        (|o| o.unit = "HKD".parse().unwrap(), Problem::StalePrices, D::NoPrice, "no HKD price"),
        (|o| o.ceiling_input_tokens.0 = 4097, Problem::TooLarge, D::Context, "context of 4096"),
    ];
    for (alter, expected, decision, words) in cases {
        let (got, message) = problem(&mut town, alter);
        assert_eq!(got, expected, "{message}");
        assert!(message.contains(words), "{message}");
        assert_eq!(town.decisions().last().map(|(_, logged)| *logged), Some(decision));
    }
    let stranger = SigningKey::from_seed([77; 32]);
    town.customer = stranger;
    let order = town.order(1, |_| {});
    let (got, message) = town.refused(&order);
    assert_eq!(got, Problem::Forbidden, "{message}");
    assert_eq!(town.balance(), (100, 0, 0), "nothing was held");
}

#[test]
fn an_empty_package_and_a_used_hold_are_refused() {
    let mut town = Town::open(70);
    let first = town.order(1, |_| {});
    let (grant, ..) = town.granted(&first);
    let second = town.order(2, |_| {});
    assert_eq!(town.refused(&second).0, Problem::InsufficientBalance);
    let (same, _, again) = town.granted(&first);
    assert_eq!((same, again), (grant, Some(HoldState::Active)), "the same answer");
    let other = town.order(1, |order| order.max_charge.0 -= 1);
    assert_eq!(town.refused(&other).0, Problem::HoldConflict);
    assert_eq!(town.balance(), (20, 50, 0));
}

#[test]
fn prices_that_change_between_order_and_grant_are_stale() {
    let mut town = Town::open(100);
    let order = town.order(1, |_| {});
    town.now.0 += 1000;
    town.sign_book(2, "2000000");
    let (problem, message) = town.refused(&order);
    assert_eq!(problem, Problem::StalePrices, "{message}");
    let fresh = town.order(1, |_| {});
    town.granted(&fresh);
}

#[test]
fn refused_orders_cost_nothing_and_return_their_hold() {
    let mut town = Town::open(100);
    let order = town.order(1, |_| {});
    town.granted(&order);
    let receipt = town.enclave.receipt(&order, 0, |receipt| {
        receipt.outcome = End::Refused;
        receipt.charge = MicroUnits(0);
    });
    let returned = MicroUnits(50_000_000);
    assert_eq!(town.settle(receipt), Settlement::Settled { charged: MicroUnits(0), returned });
    assert_eq!(town.balance(), (100, 0, 0));
    let order = town.order(2, |_| {});
    town.granted(&order);
    town.happen(Event::NotAdmitted { hold: order.hold });
    assert_eq!(town.balance(), (100, 0, 0));
    let receipt = town.enclave.receipt(&order, 3, |_| {});
    assert!(town.flagged(receipt).contains("was released before"));
    assert_eq!(town.refused(&order).0, Problem::HoldConflict);
}

#[test]
fn a_hold_without_a_receipt_expires_at_a_tick() {
    let mut town = Town::open(100);
    let order = town.order(1, |_| {});
    town.granted(&order);
    let settle_by = town.store.hold(&order.hold).unwrap().unwrap().settle_by;
    town.now = settle_by.millis();
    town.happen(Event::Tick);
    assert_eq!(town.balance(), (50, 50, 0), "still in time");
    town.now.0 += 1000;
    town.happen(Event::Tick);
    assert_eq!(town.balance(), (100, 0, 0));
    town.out.clear();
    let receipt = town.enclave.receipt(&order, 3, |_| {});
    assert!(town.flagged(receipt).contains("was expired before"));
}

#[test]
fn a_book_signed_beside_a_running_broker_is_taken_up_whatever_happens_meanwhile() {
    let mut town = Town::open(10);
    assert_eq!(town.broker.price_book_in_force(town.now.seconds()).unwrap().version, 1);
    // A local operation on the data folder, as `bulla broker price-book` does it.
    let (now, rows) = (town.now.seconds(), Vec::new());
    let book = crate::price::sign_book(town.broker.keys().root(), 2, now, now, rows).unwrap();
    let (digest, bytes) = (book.digest(), book.bytes().to_vec());
    let leaf = bulla_wire::leaf::Leaf::PriceBook { book: bulla_wire::cbor::Bytes(bytes.clone()) };
    let put = Command::PutPriceBook { version: 2, digest, book: bytes, leaf: leaf.to_vec() };
    assert!(town.store.execute(&[put], town.now).unwrap()[0].is_ok());
    // A commit of the broker's own comes first and finds the foreign leaf in the log already.
    town.register();
    town.happen(Event::Tick);
    assert_eq!(town.broker.price_book_in_force(now).unwrap().version, 2);
}
