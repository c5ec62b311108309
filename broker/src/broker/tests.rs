//! The state machine over a store in memory, with an enclave that is one signing key.

use bulla_attestation::hash::{account_handle, labelled};
use bulla_attestation::sign::{Signed, SigningKey, verify, verify_any};
use bulla_tlog::SignedCheckpoint;
use bulla_wire::cbor::Bytes;
use bulla_wire::epoch::EpochOpen;
use bulla_wire::grant::{Delegation, Grant};
use bulla_wire::ids::{Digest, EpochId, HoldId, InstanceId, ReceiptId};
use bulla_wire::labels;
use bulla_wire::order::{Order, OrderKeyRegistration};
use bulla_wire::price::{Rates, TokenUsage};
use bulla_wire::problem::Problem;
use bulla_wire::pull::{OutboxRecord, Pull, RecordPlace};
use bulla_wire::receipt::{OrderMode, Outcome as End, RECEIPT_PROFILE, SecurityMode, UsageReceipt};
use bulla_wire::units::{MicroUnits, TokenCount, Unit, UnixMillis, UnixSeconds};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{Broker, Effect, Event, RequestId, Settings};
use crate::catalogue::{Appraised, ServedModel};
use crate::io::store::{SqliteStore, Store};
use crate::keys::BrokerKeys;
use crate::ledger::{
    AccountNumber, ArchivedKeyset, Command, HoldState, IssuePackage, Outcome, Queries, Settlement,
};
use crate::price::{PricedModel, SourceBook, sign_book};

const START: UnixMillis = UnixMillis(1_800_000_000_000);
pub(crate) const MODEL: Digest = Digest([0x11; 32]);
pub(crate) const KEYSET: Digest = Digest([0x22; 32]);
const REQUEST: RequestId = RequestId(1);

/// An enclave's chain of records.
pub(crate) struct Enclave {
    pub(crate) key: SigningKey,
    pub(crate) seq: u64,
    pub(crate) tip: Option<Digest>,
    pub(crate) records: Vec<OutboxRecord>,
}

impl Enclave {
    pub(crate) fn epoch() -> EpochId {
        EpochId::of_keyset(&KEYSET)
    }

    fn keep(&mut self, digest: Digest, bytes: &[u8]) {
        let record = Bytes(bytes.to_vec());
        self.records.push(OutboxRecord { epoch: Enclave::epoch(), seq: self.seq, record });
        self.seq += 1;
        self.tip = Some(digest);
    }

    pub(crate) fn open(&mut self, parent: &[u8]) -> Vec<u8> {
        if let Some(first) = self.records.first() {
            return first.record.0.clone();
        }
        let open = self.key.sign(EpochOpen {
            issuer: instance(),
            issued_at: START.seconds(),
            keyset: KEYSET,
            epoch: Enclave::epoch(),
            configuration: Digest([3; 32]),
            parent: Bytes(parent.to_vec()),
            evidence: Digest([0xee; 32]),
        });
        self.keep(open.digest(), open.bytes());
        open.bytes().to_vec()
    }

    /// A receipt for an order, changed by `alter` before it is signed.
    pub(crate) fn receipt(
        &mut self,
        order: &Signed<Order>,
        output: u64,
        alter: impl FnOnce(&mut UsageReceipt),
    ) -> Vec<u8> {
        let usage = TokenUsage {
            input: TokenCount(10),
            output: TokenCount(output),
            ..TokenUsage::default()
        };
        let mut receipt = UsageReceipt {
            issuer: instance(),
            issued_at: START.seconds(),
            id: ReceiptId([self.seq as u8; 16]),
            nonce: Digest([self.seq as u8; 32]),
            profile: RECEIPT_PROFILE.to_owned(),
            hold: order.hold,
            keyset: KEYSET,
            model: order.model,
            unit: order.unit.clone(),
            rates: order.rates,
            price_book: order.price_book,
            order: order.digest(),
            epoch: Enclave::epoch(),
            seq: self.seq,
            prev: self.tip.unwrap(),
            account: account_handle(&order.order_key),
            accelerator: "cpu:test".to_owned(),
            device_time_ms: 5,
            usage,
            charge: order.rates.charge(&usage).unwrap(),
            outcome: End::Complete,
            generated_tokens: TokenCount(output),
            sent_tokens: TokenCount(output),
            commit_request: None,
            commit_response: None,
            configuration: Digest([3; 32]),
            security: SecurityMode::Simulated,
            mode: OrderMode::Ordered,
            interim: None,
        };
        alter(&mut receipt);
        let signed = self.key.sign(receipt);
        self.keep(signed.digest(), signed.bytes());
        signed.bytes().to_vec()
    }
}

/// A broker, its store, one enclave, one customer.
struct Town {
    store: SqliteStore,
    broker: Broker,
    enclave: Enclave,
    customer: SigningKey,
    account: AccountNumber,
    now: UnixMillis,
    /// Effects that reach beyond broker and store.
    out: Vec<Effect>,
}

pub(crate) fn instance() -> InstanceId {
    "node-1".parse().unwrap()
}

fn keys() -> BrokerKeys {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    BrokerKeys::new([1; 32], &[2; 32], "broker.test/usage", &mut rng).unwrap()
}

fn settings() -> Settings {
    Settings { instances: vec![instance()], ..Settings::default() }
}

pub(crate) fn appraised(enclave: &SigningKey, now: UnixMillis) -> Appraised {
    let keyset = ArchivedKeyset {
        digest: KEYSET,
        instance: instance(),
        receipt_keys: vec![enclave.public()],
        simulated: true,
        not_after: now.seconds().saturating_add(UnixSeconds(6 * 3600)),
        appraised_at: now.seconds(),
        leaf_index: 0,
    };
    let model = ServedModel {
        name: "demo".to_owned(),
        manifest: MODEL,
        context_tokens: 4096,
        accelerator: "cpu:test".to_owned(),
    };
    Appraised::unappraised(keyset, vec![model])
}

impl Town {
    /// Everything up to an open epoch and a package of `tokens`.
    fn open(tokens: u64) -> Town {
        let mut store = SqliteStore::in_memory().unwrap();
        let open = Command::OpenAccount { name: "acme".into(), operator: false };
        let mut results = store.execute(&[open], START).unwrap();
        let Ok(Outcome::AccountOpened { account }) = results.remove(0) else { panic!() };
        let package = Command::IssuePackage(IssuePackage {
            key: [1; 16],
            account,
            unit: Unit::tokens(),
            amount: MicroUnits(tokens * 1_000_000),
            priority: 1,
            promotional: false,
            effective_from: UnixSeconds(0),
            expires_at: None,
            memo: "tokens".into(),
        });
        assert!(store.execute(&[package], START).unwrap()[0].is_ok());
        let broker = Broker::resume(settings(), keys(), &store).unwrap();
        let key = SigningKey::from_seed([5; 32]);
        let enclave = Enclave { key, seq: 0, tip: None, records: Vec::new() };
        let customer = SigningKey::from_seed([6; 32]);
        let out = Vec::new();
        let mut town = Town { store, broker, enclave, customer, account, now: START, out };
        town.sign_book(1, "1000000");
        town.register();
        town.start();
        town
    }

    /// Handles an event and everything that follows inside broker and store.
    fn happen(&mut self, event: Event) {
        let mut effects = self.broker.handle(event, &self.store, self.now).unwrap();
        while !effects.is_empty() {
            let mut next = Vec::new();
            for effect in effects {
                match effect {
                    Effect::Commit { batch, commands } => {
                        let results = self.store.execute(&commands, self.now).unwrap();
                        let event = Event::Committed { batch, results };
                        next.extend(self.broker.handle(event, &self.store, self.now).unwrap());
                    }
                    other => self.out.push(other),
                }
            }
            effects = next;
        }
    }

    fn take<T>(&mut self, pick: impl Fn(&Effect) -> Option<T>) -> T {
        let found = self.out.iter().find_map(pick);
        let found = found.unwrap_or_else(|| panic!("no such effect in {:?}", self.out));
        self.out.clear();
        found
    }

    fn sign_book(&mut self, version: u64, output: &str) {
        let text = format!(
            "[[price]]\nmodel = \"*\"\nunit = \"TOK\"\ninput = \"1000000\"\noutput = \"{output}\""
        );
        let model = PricedModel { name: "demo".into(), manifest: MODEL };
        let rows = SourceBook::from_toml(&text).unwrap().rows(&[model]).unwrap();
        let now = self.now.seconds();
        let book = sign_book(self.broker.keys().root(), version, now, now, rows).unwrap();
        self.happen(Event::PriceBookSigned { book: book.bytes().to_vec() });
    }

    fn register(&mut self) {
        let (issued_at, order_key) = (self.now.seconds(), self.customer.public());
        let registration = self.customer.sign(OrderKeyRegistration { issued_at, order_key });
        let (account, registration) = (self.account, registration.bytes().to_vec());
        self.happen(Event::OrderKeyOffered { request: REQUEST, account, registration });
        self.take(|effect| matches!(effect, Effect::Done { .. }).then_some(()));
    }

    /// Ticks until the enclave serves.
    fn start(&mut self) {
        self.happen(Event::Tick);
        self.take(|effect| matches!(effect, Effect::Appraise { .. }).then_some(()));
        self.happen(Event::EnclaveAppraised(Box::new(appraised(&self.enclave.key, START))));
        let checkpoint = self.take(|effect| match effect {
            Effect::OpenEpoch { checkpoint, .. } => Some(checkpoint.clone()),
            _ => None,
        });
        let record = self.enclave.open(&checkpoint);
        self.happen(Event::EpochOpened { instance: instance(), record });
        assert!(self.broker.catalogue().ready(&instance(), self.now.seconds()).is_some());
        self.out.clear();
    }

    fn order(&self, hold: u8, alter: impl FnOnce(&mut Order)) -> Signed<Order> {
        let book = self.broker.price_book_in_force(self.now.seconds()).unwrap();
        let rates = book.row(&MODEL, &Unit::tokens()).unwrap().rates;
        let mut order = Order {
            not_after: self.now.seconds().saturating_add(UnixSeconds(60)),
            issued_at: self.now.seconds(),
            hold: HoldId([hold; 16]),
            order_key: self.customer.public(),
            sealed_request: labelled(labels::SEALED_REQUEST, b"sealed"),
            keyset: KEYSET,
            model: MODEL,
            ceiling_input_tokens: TokenCount(20),
            ceiling_output_tokens: TokenCount(30),
            unit: Unit::tokens(),
            rates,
            price_book: book.digest(),
            max_charge: rates.most(TokenCount(20), TokenCount(30)).unwrap(),
        };
        alter(&mut order);
        self.customer.sign(order)
    }

    fn send(&mut self, order: &Signed<Order>) {
        let (account, order) = (self.account, order.bytes().to_vec());
        let instance = instance();
        self.happen(Event::OrderReceived { request: REQUEST, account, instance, order });
    }

    /// Sends an order that is granted.
    fn granted(&mut self, order: &Signed<Order>) -> (Vec<u8>, Vec<u8>, Option<HoldState>) {
        self.send(order);
        self.take(|effect| match effect {
            Effect::Forward { grant, delegation, again, .. } => {
                Some((grant.clone(), delegation.clone(), *again))
            }
            _ => None,
        })
    }

    fn refused(&mut self, order: &Signed<Order>) -> (Problem, String) {
        self.send(order);
        self.take(|effect| match effect {
            Effect::Refuse { problem, message, .. } => Some((*problem, message.clone())),
            _ => None,
        })
    }

    /// Delivers a receipt as a trailer; what it did.
    fn settle(&mut self, record: Vec<u8>) -> Settlement {
        self.happen(Event::RecordReceived { request: Some(REQUEST), record });
        self.take(|effect| match effect {
            Effect::Settled { settlement, .. } => Some(settlement.clone()),
            _ => None,
        })
    }

    fn flagged(&mut self, record: Vec<u8>) -> String {
        match self.settle(record) {
            Settlement::Flagged { why } => why,
            other => panic!("not flagged: {other:?}"),
        }
    }

    /// Available, held, spent, in tokens.
    fn balance(&self) -> (u64, u64, u64) {
        let package = &self.store.packages(self.account).unwrap()[0];
        let tokens = |amount: MicroUnits| amount.0 / 1_000_000;
        (tokens(package.available), tokens(package.held), tokens(package.spent))
    }

    /// The process dies; another takes up the same store.
    fn crash(&mut self) {
        let mut rng = ChaCha8Rng::seed_from_u64(self.now.0);
        let keys = BrokerKeys::new([1; 32], &[2; 32], "broker.test/usage", &mut rng).unwrap();
        self.broker = Broker::resume(settings(), keys, &self.store).unwrap();
        self.out.clear();
    }

    fn pull(&mut self) -> Signed<Pull> {
        self.happen(Event::Tick);
        let (pull, delegation) = self.take(|effect| match effect {
            Effect::Pull { pull, delegation, .. } => Some((pull.clone(), delegation.clone())),
            _ => None,
        });
        let root = self.broker.keys().root_public();
        let delegation: Signed<Delegation> = verify(&delegation, &root).unwrap();
        verify_any(&pull, &[delegation.grant_key]).unwrap()
    }
}

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

    // Price book, delegation, keyset, epoch-open, receipt; all under a signed checkpoint.
    assert_eq!(town.broker.log().size(), 5);
    let note = town.broker.log().checkpoint().to_bytes();
    let checkpoint = SignedCheckpoint::open(&note, &town.broker.keys().log_verifier()).unwrap();
    assert_eq!(checkpoint.checkpoint().size(), 5);
    assert!(town.broker.log().prove(4).unwrap().starts_with("c2sp.org/tlog-proof@v1"));
}

#[test]
fn refuses_orders_by_the_check_that_fails() {
    let mut town = Town::open(100);
    let problem = |town: &mut Town, alter: fn(&mut Order)| {
        let order = town.order(1, alter);
        town.refused(&order)
    };
    type Case = (fn(&mut Order), Problem, &'static str);
    let cases: [Case; 9] = [
        (|o| o.max_charge.0 -= 1, Problem::InvalidOrder, "can cost 50000000"),
        (|o| o.not_after = START.seconds(), Problem::InvalidOrder, "expired"),
        (|o| o.issued_at.0 += 301, Problem::InvalidOrder, "set the clock"),
        (|o| o.keyset = Digest([9; 32]), Problem::StaleKeyset, "appraise"),
        (|o| o.model = Digest([9; 32]), Problem::NotFound, "does not serve model"),
        (|o| o.rates = Rates::default(), Problem::StalePrices, "rates must be"),
        (|o| o.price_book = Digest([9; 32]), Problem::StalePrices, "is in force"),
        (|o| o.unit = "HKD".parse().unwrap(), Problem::StalePrices, "no HKD price"),
        (|o| o.ceiling_input_tokens.0 = 4097, Problem::TooLarge, "context of 4096"),
    ];
    for (alter, expected, words) in cases {
        let (got, message) = problem(&mut town, alter);
        assert_eq!(got, expected, "{message}");
        assert!(message.contains(words), "{message}");
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
fn replayed_forged_and_mismatching_receipts_change_nothing() {
    let mut town = Town::open(1000);
    let order = town.order(1, |_| {});
    town.granted(&order);
    let held = town.balance();

    let forger = SigningKey::from_seed([66; 32]);
    let mut forged = Enclave { key: forger, seq: 1, tip: town.enclave.tip, records: Vec::new() };
    let record = forged.receipt(&order, 7, |_| {});
    town.happen(Event::RecordReceived { request: None, record: record.clone() });
    assert_eq!(town.balance(), held);
    assert_eq!(town.store.anomalies().unwrap(), 1);
    town.happen(Event::RecordReceived { request: Some(REQUEST), record });
    let refused = town.take(|effect| match effect {
        Effect::Refuse { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert!(refused.contains("signed by another key"), "{refused}");

    type Alter = fn(&mut UsageReceipt);
    let mismatches: [(Alter, &str); 12] = [
        (|r| r.hold = HoldId([8; 16]), "never placed"),
        (|r| r.order = Digest([8; 32]), "order must be"),
        (|r| r.account.0[0] ^= 1, "account must be"),
        (|r| r.model = Digest([8; 32]), "model must be"),
        (|r| r.unit = "HKD".parse().unwrap(), "unit must be"),
        (|r| r.price_book = Digest([8; 32]), "price book must be"),
        (|r| r.rates.output += 1, "rates must be"),
        (|r| r.mode = OrderMode::BrokerVouched, "it was ordered"),
        (|r| r.usage.input = TokenCount(21), "input must be at most 20"),
        (|r| r.usage.output = TokenCount(31), "output must be at most 30"),
        (|r| r.usage.cached_input = TokenCount(11), "inconsistent usage"),
        (|r| r.charge.0 += 1, "charge must be"),
    ];
    for (alter, words) in mismatches {
        let receipt = town.enclave.receipt(&order, 7, alter);
        let why = town.flagged(receipt);
        assert!(why.contains(words), "{why}");
        assert_eq!(town.balance(), held, "{why}");
    }
    let size = town.broker.log().size();
    assert_eq!(size, 4 + mismatches.len() as u64, "logged all the same");

    let good = town.enclave.receipt(&order, 7, |_| {});
    assert!(matches!(town.settle(good.clone()), Settlement::Settled { .. }));
    let settled = town.balance();
    assert_eq!(town.settle(good), Settlement::AlreadySettled);
    let second = town.enclave.receipt(&order, 9, |_| {});
    assert!(town.flagged(second).contains("was settled before"));
    assert_eq!(town.balance(), settled);
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
fn the_outbox_is_pulled_acknowledged_and_logged_in_order() {
    let mut town = Town::open(1000);
    let first = town.pull();
    assert_eq!((first.keyset, first.acknowledged.clone()), (KEYSET, None));
    let orders: Vec<_> = (1..=3).map(|n| town.order(n, |_| {})).collect();
    for order in &orders {
        town.granted(order);
    }
    let receipts: Vec<_> =
        orders.iter().map(|order| town.enclave.receipt(order, 5, |_| {})).collect();
    // The last one comes first, as a trailer: settled at once, logged later.
    assert!(matches!(town.settle(receipts[2].clone()), Settlement::Settled { .. }));
    assert_eq!(town.broker.log().size(), 4);
    let records = town.enclave.records.clone();
    town.happen(Event::Pulled { instance: instance(), records: records.clone() });
    assert_eq!(town.broker.log().size(), 7);
    assert_eq!(town.balance(), (955, 0, 45));
    let place = RecordPlace { epoch: Enclave::epoch(), seq: 3 };
    let second = town.pull();
    assert_eq!(second.acknowledged, Some(place.clone()));
    // The answer is lost: asked again, the acknowledgement is repeated.
    town.happen(Event::EnclaveFailed { instance: instance(), refused: false });
    town.now.0 += 3000;
    assert_eq!(town.pull().acknowledged, Some(place));
    town.happen(Event::Pulled { instance: instance(), records: Vec::new() });
    town.now.0 += 60_000;
    assert_eq!(town.pull().acknowledged, None);
    // A duplicate of everything changes nothing.
    town.happen(Event::Pulled { instance: instance(), records });
    assert_eq!((town.broker.log().size(), town.balance()), (7, (955, 0, 45)));
}

#[test]
fn a_crash_between_any_two_effects_loses_and_doubles_nothing() {
    // Stop after each number of steps of the same story, restart, and finish it.
    let steps = 6;
    for stop in 0..=steps {
        let mut town = Town::open(1000);
        let order = town.order(1, |_| {});
        let mut receipt = Vec::new();
        for step in 0..steps {
            if step == stop {
                town.crash();
                town.start();
            }
            match step {
                0 => {
                    // The commit happened, the answer was lost.
                    let event = Event::OrderReceived {
                        request: REQUEST,
                        account: town.account,
                        instance: instance(),
                        order: order.bytes().to_vec(),
                    };
                    let effects = town.broker.handle(event, &town.store, town.now).unwrap();
                    for effect in effects {
                        if let Effect::Commit { commands, .. } = effect {
                            town.store.execute(&commands, town.now).unwrap();
                        }
                    }
                }
                1 => assert_eq!(town.granted(&order).2, Some(HoldState::Active)),
                2 => receipt = town.enclave.receipt(&order, 7, |_| {}),
                3 | 4 => {
                    town.settle(receipt.clone());
                }
                _ => {
                    let records = town.enclave.records.clone();
                    town.happen(Event::Pulled { instance: instance(), records });
                }
            }
        }
        assert_eq!(town.balance(), (983, 0, 17), "stopped before step {stop}");
        assert!(town.store.totals().unwrap()[0].1.balances());
        let receipts = town.store.receipts(None, 0, 10).unwrap();
        assert_eq!(receipts.len(), 1);
        assert!(receipts[0].leaf_index.is_some());
        // Whatever happened, the log is the same tree: a restart adds one delegation.
        let restarts = u64::from(stop < steps);
        assert_eq!(town.broker.log().size(), 5 + restarts);
    }
}

#[test]
fn an_enclave_that_signs_two_records_for_one_place_serves_no_more() {
    let mut town = Town::open(100);
    let order = town.order(1, |_| {});
    town.granted(&order);
    let (seq, tip) = (town.enclave.seq, town.enclave.tip);
    let first = town.enclave.receipt(&order, 7, |_| {});
    town.settle(first);
    (town.enclave.seq, town.enclave.tip) = (seq, tip);
    let fork = town.enclave.receipt(&order, 8, |_| {});
    let why = town.flagged(fork);
    assert!(why.contains("another one"), "{why}");
    assert_eq!(town.store.anomalies().unwrap(), 1);
    town.happen(Event::EnclaveAppraised(Box::new(appraised(&town.enclave.key, START))));
    assert!(town.broker.catalogue().ready(&instance(), town.now.seconds()).is_none());
    let next = town.order(2, |_| {});
    assert_eq!(town.refused(&next).0, Problem::NotFound);
}

#[test]
fn an_epoch_with_a_stale_or_foreign_parent_is_not_opened() {
    let mut town = Town::open(100);
    let good = town.broker.log().checkpoint().to_bytes();
    town.crash();
    town.happen(Event::Tick);
    let other = Digest([0x33; 32]);
    let key = SigningKey::from_seed([8; 32]);
    let mut keyset = appraised(&key, START).archive().keyset.clone();
    keyset.digest = other;
    let moved = Appraised::unappraised(keyset, Vec::new());
    town.happen(Event::EnclaveAppraised(Box::new(moved)));
    town.out.clear();
    let open = |parent: &[u8]| {
        let open = EpochOpen {
            issuer: instance(),
            issued_at: START.seconds(),
            keyset: other,
            epoch: EpochId::of_keyset(&other),
            configuration: Digest([3; 32]),
            parent: Bytes(parent.to_vec()),
            evidence: Digest([0xee; 32]),
        };
        key.sign(open).bytes().to_vec()
    };
    for (record, anomalies) in [(open(&good), 1), (open(b"no checkpoint"), 2)] {
        town.happen(Event::EpochOpened { instance: instance(), record });
        assert_eq!(town.store.anomalies().unwrap(), anomalies);
        assert!(town.broker.catalogue().ready(&instance(), town.now.seconds()).is_none());
    }
}
