//! The broker's shell in the world: relay, errands to enclaves, and the store's writer.

mod books;
mod customers;
mod errands;
mod writer;

use std::collections::{BTreeMap, VecDeque};

use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::hash::labelled;
use bulla_attestation::sign::{SigningKey, verify_order};
use bulla_broker::broker::{BatchId, Broker, Effect, Event, PullTimes, RequestId, Settings};
use bulla_broker::catalogue::{Appraised, ServedModel};
use bulla_broker::hold::OrderTimes;
use bulla_broker::io::store::{SqliteStore, Store};
use bulla_broker::keys::BrokerKeys;
use bulla_broker::ledger::{
    AccountNumber, Command, HoldState, IssuePackage, Outcome, Queries, RecordKind, Rejection,
    Settlement,
};
use bulla_broker::price::{PricedModel, SourceBook, sign_book};
use bulla_tlog::{SignedCheckpoint, VerifierKey};
use bulla_wire::cbor;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::ids::{HoldId, InstanceId, PublicKey};
use bulla_wire::labels;
use bulla_wire::order::OrderKeyRegistration;
use bulla_wire::problem::Problem;
use bulla_wire::pull::{MAX_PULL_ANSWER_BYTES, Pulled};
use bulla_wire::statement::Nonce;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use rand_core::Rng;

use super::enclave::{instance, model, policy};
use super::faults::{Destiny, Sabotage};
use super::network::{Conn, Message, Party};
use super::street::{Happening, Street};
use super::{MODEL, chance};

const ME: Party = Party::Broker;
/// Origin of the log.
const ORIGIN: &str = "log.bulla.test";
const ROOT_SEED: [u8; 32] = [1; 32];
const LOG_SEED: [u8; 32] = [3; 32];
/// Between two ticks, in milliseconds.
const TICK_MS: u64 = 1_000;
/// Times of an order: short, so that a story drains soon; or so short that receipts come late.
const TIMES: [OrderTimes; 2] = [
    OrderTimes { admit_seconds: 30, run_seconds: 60, settle_seconds: 60 },
    OrderTimes { admit_seconds: 8, run_seconds: 12, settle_seconds: 4 },
];
/// How long before they hold new prices are published, in seconds.
const NOTICE_SECONDS: u64 = 5;
/// How enclaves are looked after.
const PULLS: PullTimes = PullTimes {
    pull_every_ms: 10_000,
    appraise_every_ms: 120_000,
    retry_ms: 2_000,
    patience_ms: 10_000,
};
/// A package, in micro-units: plenty, or enough for about two orders at once. A gift of a quarter
/// comes with it.
const PACKAGES: [u64; 2] = [1_000_000_000_000, 1_100_000_000];

/// Who waits for the end of a request inside the broker.
enum Waiting {
    /// A customer with its sealed request, for the grant.
    Grant { client: Conn, sealed: Vec<u8> },
    /// A customer whose answer may end once the receipt is durable.
    End { client: Conn },
    /// A customer who gets this problem once the receipt is durable.
    Problem { client: Conn, problem: Problem, message: String, receipt: Vec<u8> },
}

/// An order that may be sent on.
#[derive(Clone)]
struct Granted {
    client: Conn,
    instance: InstanceId,
    hold: HoldId,
    order: Vec<u8>,
    grant: Vec<u8>,
    delegation: Vec<u8>,
    sealed: Vec<u8>,
    again: Option<HoldState>,
}

/// What a connection to an enclave is for.
enum Errand {
    Appraise {
        instance: InstanceId,
        nonce: Nonce,
    },
    OpenEpoch {
        instance: InstanceId,
    },
    Pull {
        instance: InstanceId,
    },
    Evidence {
        client: Conn,
    },
    /// A granted order was sent.
    Answer {
        granted: Box<Granted>,
        begun: bool,
    },
    /// The kept answer of an order granted before.
    Before {
        granted: Box<Granted>,
        begun: bool,
    },
    /// The kept answer, as the customer asked.
    Again {
        client: Conn,
        instance: InstanceId,
        begun: bool,
    },
}

/// The broker with its store.
pub struct BrokerHost {
    /// Durable; outlives a crash.
    pub store: SqliteStore,
    /// Steps until the next crashes.
    pub fuses: VecDeque<u64>,
    core: Option<Broker>,
    life: u64,
    settings: Settings,
    queue: VecDeque<(BatchId, Vec<Command>)>,
    is_writing: bool,
    waiting: BTreeMap<RequestId, Waiting>,
    errands: BTreeMap<Conn, Errand>,
    next_request: u64,
    inbox: VecDeque<Event>,
    is_poor: bool,
    books: u64,
}

fn keys(street: &mut Street) -> BrokerKeys {
    BrokerKeys::new(ROOT_SEED, &LOG_SEED, ORIGIN, &mut street.rng).expect("a good origin")
}

/// The log's public key.
pub fn log_verifier() -> VerifierKey {
    crate::rig::log_signer().verifier()
}

impl BrokerHost {
    /// A broker with a price book, before its first tick.
    pub fn new(street: &mut Street, destiny: &Destiny) -> BrokerHost {
        let store = SqliteStore::in_memory().expect("a ledger in memory");
        let instances = (0..destiny.enclaves).map(instance).collect();
        let orders = TIMES[usize::from(destiny.is_hurried)];
        let settings = Settings { instances, orders, pulls: PULLS, ..Settings::default() };
        let core = Broker::resume(settings.clone(), keys(street), &store).expect("a first start");
        let mut host = BrokerHost {
            store,
            // Lit when the story begins.
            fuses: VecDeque::new(),
            core: Some(core),
            life: 0,
            settings,
            queue: VecDeque::new(),
            is_writing: false,
            waiting: BTreeMap::new(),
            errands: BTreeMap::new(),
            next_request: 0,
            inbox: VecDeque::new(),
            is_poor: destiny.is_poor,
            books: 0,
        };
        host.new_prices(street);
        host.settle_in(street);
        host
    }

    /// The root key, public half.
    pub fn root_public(&self) -> PublicKey {
        SigningKey::from_seed(ROOT_SEED).public()
    }

    /// The log's key.
    pub fn log_verifier(&self) -> VerifierKey {
        log_verifier()
    }

    /// The book in force, as the broker serves it.
    pub fn price_book(&self, street: &Street) -> Option<Vec<u8>> {
        let book = self.core.as_ref()?.price_book_in_force(street.now.seconds())?;
        Some(book.bytes().to_vec())
    }

    /// Nothing is held and nobody waits.
    pub fn is_quiet(&self) -> bool {
        let totals = self.store.totals().unwrap_or_default();
        let held: u128 = totals.iter().map(|(_, totals)| totals.held).sum();
        held == 0 && self.queue.is_empty() && !self.is_writing
    }

    /// Who still waits inside, for whom no answer can come any more.
    pub fn waiters(&self) -> usize {
        self.waiting.len()
    }

    /// In words.
    pub fn left(&self) -> String {
        let totals = self.store.totals().unwrap_or_default();
        let held: u128 = totals.iter().map(|(_, totals)| totals.held).sum();
        format!("held {held}, waiting {}, batches {}", self.waiting.len(), self.queue.len())
    }

    /// One step closer to the next crash; true when it comes now.
    fn blows(&mut self, street: &mut Street) -> bool {
        let Some(steps) = self.fuses.front_mut() else { return false };
        *steps -= 1;
        if *steps > 0 {
            return false;
        }
        self.fuses.pop_front();
        self.crash(street);
        true
    }

    /// Everything but the store is lost.
    pub fn crash(&mut self, street: &mut Street) {
        if self.core.take().is_none() {
            return;
        }
        street.note("Broker CRASH");
        street.tally.broker_crashes += 1;
        self.life += 1;
        self.queue.clear();
        self.is_writing = false;
        self.waiting.clear();
        self.errands.clear();
        self.inbox.clear();
        street.cut_off(ME);
        let down_ms = 100 + street.draw(4_000);
        street.after(down_ms, Happening::Rise(ME));
    }

    /// Takes up where the store stands.
    pub fn rise(&mut self, street: &mut Street) {
        if self.core.is_some() {
            return;
        }
        street.note("Broker RISE");
        match Broker::resume(self.settings.clone(), keys(street), &self.store) {
            Ok(core) => self.core = Some(core),
            Err(error) => street.blame("role-error", error.to_string()),
        }
    }

    /// Time passes.
    pub fn tick(&mut self, street: &mut Street) {
        self.happen(street, Event::Tick);
        street.after(TICK_MS, Happening::BrokerTick);
    }

    fn happen(&mut self, street: &mut Street, event: Event) {
        self.inbox.push_back(event);
        while let Some(event) = self.inbox.pop_front() {
            let Some(core) = &mut self.core else { return self.inbox.clear() };
            let effects = match core.handle(event, &self.store, street.now) {
                Ok(effects) => effects,
                Err(error) => return street.blame("role-error", format!("broker: {error}")),
            };
            for effect in effects {
                if self.blows(street) {
                    return;
                }
                self.perform(street, effect);
            }
        }
    }

    fn perform(&mut self, street: &mut Street, effect: Effect) {
        match effect {
            Effect::Commit { batch, commands } => self.commit(street, batch, commands),
            Effect::Forward { request, instance, hold, order, grant, delegation, again } => {
                let Some(Waiting::Grant { client, sealed }) = self.waiting.remove(&request) else {
                    return;
                };
                if !street.is_open(client) {
                    // Gone while the hold was placed: nothing was sent, the hold is given back.
                    if again.is_none() {
                        self.inbox.push_back(Event::NotAdmitted { hold });
                    }
                    return;
                }
                let granted =
                    Granted { client, instance, hold, order, grant, delegation, sealed, again };
                self.forward(street, granted);
            }
            Effect::Refuse { request, problem, message, .. } => {
                self.refuse(street, request, problem, message);
            }
            Effect::Settled { request, settlement } => self.settled(street, request, settlement),
            Effect::Done { .. } => {}
            Effect::PublishCheckpoint { note } => self.publish(street, note),
            // No witnesses are named here: `tests/witnessed.rs` has them.
            Effect::SeeWitness { .. } | Effect::AskWitness { .. } => {}
            Effect::SigningHalted { why } => street.blame("role-error", why),
            Effect::Appraise { instance } => {
                let mut nonce: Nonce = [0; 32];
                street.rng.fill_bytes(&mut nonce);
                let errand = Errand::Appraise { instance: instance.clone(), nonce };
                self.send(street, &instance, errand, Message::Appraise { nonce });
            }
            Effect::OpenEpoch { instance, offer, delegation } => {
                let errand = Errand::OpenEpoch { instance: instance.clone() };
                self.send(street, &instance, errand, Message::OpenEpoch { offer, delegation });
            }
            Effect::Pull { instance, pull, delegation } => {
                let errand = Errand::Pull { instance: instance.clone() };
                self.send(street, &instance, errand, Message::Pull { pull, delegation });
            }
        }
    }

    fn send(&mut self, street: &mut Street, to: &InstanceId, errand: Errand, message: Message) {
        let Some(which) = (0..self.settings.instances.len()).find(|n| instance(*n) == *to) else {
            return;
        };
        let conn = street.connect(ME, Party::Enclave(which));
        self.errands.insert(conn, errand);
        street.send(conn, ME, message);
    }

    fn publish(&mut self, street: &mut Street, note: Vec<u8>) {
        let Ok(mut signed) = SignedCheckpoint::open(&note, &log_verifier()) else {
            return street.blame("log-grows", "a checkpoint that does not verify".to_owned());
        };
        if street.sabotage == Some(Sabotage::ForksTheLog) && signed.checkpoint().size() > 4 {
            let (size, root) = (signed.checkpoint().size(), bulla_tlog::Hash::leaf(b"another"));
            let fork = bulla_tlog::Checkpoint::new(ORIGIN, size, root).expect("a good origin");
            signed = fork.sign(&crate::rig::log_signer()).expect("a good key");
        }
        let checkpoint = signed.checkpoint();
        if let Err(what) = street.witness.checkpoint(checkpoint.size(), checkpoint.root()) {
            street.blame("log-grows", what);
        }
    }
}

fn problem(street: &mut Street, client: Conn, problem: Problem, message: &str) {
    let message = message.to_owned();
    street.send(client, ME, Message::Problem { problem, message, receipt: None });
}
