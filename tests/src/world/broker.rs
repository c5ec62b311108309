//! The broker's shell in the world: relay, errands to enclaves, and the store's writer.

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
use bulla_wire::ids::{Digest, HoldId, InstanceId, PublicKey};
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
    /// Keysets appraised last, whose TLS keys connections are pinned to.
    pinned: BTreeMap<InstanceId, Digest>,
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
        let settings = Settings { instances, orders, pulls: PULLS };
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
            pinned: BTreeMap::new(),
            is_poor: destiny.is_poor,
            books: 0,
        };
        host.new_prices(street);
        host.settle_in(street);
        host
    }

    /// Opens an account with a package and this order key.
    pub fn open_account(
        &mut self,
        street: &mut Street,
        number: usize,
        order_key: &SigningKey,
    ) -> AccountNumber {
        let open = Command::OpenAccount { name: format!("customer-{number}"), operator: false };
        let Ok(Outcome::AccountOpened { account }) = self.execute(street, open) else {
            panic!("a new name opens an account")
        };
        self.issue(street, account, false);
        self.issue(street, account, true);
        let (issued_at, public) = (street.now.seconds(), order_key.public());
        let claim = order_key.sign(OrderKeyRegistration { issued_at, order_key: public });
        let registration = claim.bytes().to_vec();
        let request = RequestId(u64::MAX - number as u64);
        self.happen(street, Event::OrderKeyOffered { request, account, registration });
        self.settle_in(street);
        account
    }

    /// The operator issues a package, or a gift.
    pub fn issue(&mut self, street: &mut Street, account: AccountNumber, promotional: bool) {
        let mut key = [0; 16];
        street.rng.fill_bytes(&mut key);
        let amount = PACKAGES[usize::from(self.is_poor)] / if promotional { 4 } else { 1 };
        let package = IssuePackage {
            key,
            account,
            unit: Unit::tokens(),
            amount: MicroUnits(amount),
            priority: 10,
            promotional,
            effective_from: UnixSeconds(0),
            expires_at: None,
            memo: "simulated".to_owned(),
        };
        self.execute(street, Command::IssuePackage(package)).expect("a package");
        street.witness_store(&self.store);
    }

    fn execute(&mut self, street: &Street, command: Command) -> Result<Outcome, Rejection> {
        self.store.execute(&[command], street.now).expect("a store in memory").remove(0)
    }

    /// Writes what waits at once: before the story begins.
    fn settle_in(&mut self, street: &mut Street) {
        while let Some((batch, commands)) = self.queue.pop_front() {
            let results = self.store.execute(&commands, street.now).expect("a store in memory");
            street.witness_store(&self.store);
            self.happen(street, Event::Committed { batch, results });
        }
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

    /// Signs and takes up a new price book.
    pub fn new_prices(&mut self, street: &mut Street) {
        self.books += 1;
        let output = 2 + self.books;
        let text = format!(
            "[[price]]\nmodel = \"*\"\nunit = \"TOK\"\ninput = \"1000000\"\noutput = \"{output}000000\""
        );
        let priced = PricedModel { name: MODEL.to_owned(), manifest: model() };
        let source = SourceBook::from_toml(&text).expect("a good book");
        let rows = source.rows(&[priced]).expect("a price for the model");
        let (root, now) = (SigningKey::from_seed(ROOT_SEED), street.now.seconds());
        // Announced, so that nobody grants at old prices in the second in which new ones begin.
        let notice = if self.books == 1 { 0 } else { NOTICE_SECONDS };
        let effective_from = UnixSeconds(now.0 + notice);
        let book = sign_book(&root, self.books, now, effective_from, rows).expect("within limits");
        self.happen(street, Event::PriceBookSigned { book: book.bytes().to_vec() });
        if self.core.is_none() {
            // Nobody was there to take it: the number is free again.
            self.books -= 1;
        }
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
        self.pinned.clear();
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
            Effect::Refuse { request, problem, message } => {
                self.refuse(street, request, problem, message);
            }
            Effect::Settled { request, settlement } => self.settled(street, request, settlement),
            Effect::Done { .. } => {}
            Effect::PublishCheckpoint { note } => self.publish(street, note),
            Effect::Appraise { instance } => {
                let mut nonce: Nonce = [0; 32];
                street.rng.fill_bytes(&mut nonce);
                let errand = Errand::Appraise { instance: instance.clone(), nonce };
                self.send(street, &instance, errand, Message::Appraise { nonce });
            }
            Effect::OpenEpoch { instance, checkpoint } => {
                let errand = Errand::OpenEpoch { instance: instance.clone() };
                let pinned = self.pinned.get(&instance).copied().unwrap_or(Digest([0; 32]));
                self.send(street, &instance, errand, Message::OpenEpoch { pinned, checkpoint });
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

    // The store's writer.

    fn commit(&mut self, street: &mut Street, batch: BatchId, commands: Vec<Command>) {
        self.queue.push_back((batch, commands));
        if !self.is_writing {
            self.is_writing = true;
            let ms = 1 + street.draw(20);
            street.after(ms, Happening::Writer { life: self.life });
        }
    }

    /// The writer's turn: all that waits, one durable batch after the other.
    pub fn write(&mut self, street: &mut Street, life: u64) {
        if life != self.life || self.core.is_none() {
            return;
        }
        self.is_writing = false;
        let mut wait_ms = 1;
        while let Some((batch, commands)) = self.queue.pop_front() {
            if self.blows(street) {
                return;
            }
            let fails = chance(&mut street.rng, street.weather.commit_fails);
            let results = match fails {
                true => {
                    street.tally.commits_failed += 1;
                    street.note(format_args!("commit {} FAILS", batch.0));
                    None
                }
                false => self.write_batch(street, &commands),
            };
            wait_ms += street.draw(5);
            street.after(wait_ms, Happening::Durable { life, batch, results });
            // The next one is told later: batches are told in their order.
            wait_ms += 1;
        }
    }

    fn write_batch(
        &mut self,
        street: &mut Street,
        commands: &[Command],
    ) -> Option<Vec<Result<Outcome, Rejection>>> {
        let is_receipt = |command: &Command| matches!(command, Command::Record(record) if record.kind == RecordKind::Receipt);
        if street.sabotage == Some(Sabotage::LosesReceipts) && commands.iter().any(is_receipt) {
            let lie = |_| {
                let settlement = Settlement::NotAsked;
                let (again, leaf_index, next_seq) = (false, None, 0);
                Ok(Outcome::Recorded { again, leaf_index, next_seq, settlement })
            };
            return Some(commands.iter().map(lie).collect());
        }
        match self.store.execute(commands, street.now) {
            Ok(results) => {
                for (command, result) in commands.iter().zip(&results) {
                    street.note(format_args!("durable {} {}", word(command), told(result)));
                    if matches!(
                        result,
                        Ok(Outcome::Recorded { settlement: Settlement::Flagged { .. }, .. })
                    ) {
                        street.tally.flagged += 1;
                    }
                }
                street.witness_store(&self.store);
                Some(results)
            }
            Err(error) => {
                street.blame("role-error", format!("store: {error}"));
                None
            }
        }
    }

    /// The writer tells what became of a batch.
    pub fn durable(
        &mut self,
        street: &mut Street,
        life: u64,
        batch: BatchId,
        results: Option<Vec<Result<Outcome, Rejection>>>,
    ) {
        if life != self.life || self.blows(street) {
            return;
        }
        let event = match results {
            Some(results) => Event::Committed { batch, results },
            None => Event::CommitFailed { batch },
        };
        self.happen(street, event);
    }

    // Customers.

    /// A message arrived.
    pub fn hear(&mut self, street: &mut Street, conn: Conn, message: Message) {
        if self.core.is_none() {
            return street.refuse(conn);
        }
        if self.errands.contains_key(&conn) {
            return self.enclave_answers(street, conn, message);
        }
        match message {
            Message::AskEvidence { instance, nonce } => {
                let errand = Errand::Evidence { client: conn };
                self.send(street, &instance, errand, Message::Appraise { nonce });
            }
            Message::Order { account, instance, order, sealed } => {
                let request = self.wait(Waiting::Grant { client: conn, sealed });
                self.happen(street, Event::OrderReceived { request, account, instance, order });
            }
            Message::Again { account, hold } => self.refetch(street, conn, account, hold),
            _ => {}
        }
    }

    fn wait(&mut self, waiting: Waiting) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.waiting.insert(request, waiting);
        request
    }

    fn refetch(
        &mut self,
        street: &mut Street,
        client: Conn,
        account: Option<AccountNumber>,
        hold: HoldId,
    ) {
        let known = match self.store.hold(&hold) {
            Ok(known) => known.filter(|known| Some(known.account) == account),
            Err(error) => return street.blame("role-error", format!("store: {error}")),
        };
        let Some(known) = known else {
            return problem(street, client, Problem::NotFound, "no such hold");
        };
        let instance = known.instance.clone();
        let errand = Errand::Again { client, instance: instance.clone(), begun: false };
        self.send(street, &instance, errand, Message::Again { account: None, hold });
    }

    fn forward(&mut self, street: &mut Street, granted: Granted) {
        let (instance, hold) = (granted.instance.clone(), granted.hold);
        if granted.again.is_some() {
            let errand = Errand::Before { granted: Box::new(granted), begun: false };
            return self.send(street, &instance, errand, Message::Again { account: None, hold });
        }
        self.send_sealed(street, granted);
    }

    fn send_sealed(&mut self, street: &mut Street, granted: Granted) {
        let ordered = verify_order(&granted.order).map(|order| order.sealed_request);
        if ordered.ok() != Some(labelled(labels::SEALED_REQUEST, &granted.sealed)) {
            if granted.again.is_none() {
                self.inbox.push_back(Event::NotAdmitted { hold: granted.hold });
            }
            return problem(street, granted.client, Problem::InvalidOrder, "not the ordered body");
        }
        let message = Message::Sealed {
            order: granted.order.clone(),
            grant: granted.grant.clone(),
            delegation: granted.delegation.clone(),
            sealed: granted.sealed.clone(),
        };
        let instance = granted.instance.clone();
        let errand = Errand::Answer { granted: Box::new(granted), begun: false };
        self.send(street, &instance, errand, message);
    }

    fn settled(&mut self, street: &mut Street, request: RequestId, _: Settlement) {
        if street.sabotage == Some(Sabotage::ForgetsWaiters) && request.0.is_multiple_of(5) {
            return;
        }
        match self.waiting.remove(&request) {
            Some(Waiting::End { client }) => street.send(client, ME, Message::End(None)),
            Some(Waiting::Problem { client, problem, message, receipt }) => {
                let receipt = Some(receipt);
                street.send(client, ME, Message::Problem { problem, message, receipt });
            }
            Some(Waiting::Grant { .. }) | None => {}
        }
    }

    fn refuse(&mut self, street: &mut Street, request: RequestId, which: Problem, text: String) {
        match self.waiting.remove(&request) {
            Some(Waiting::Grant { client, .. }) => problem(street, client, which, &text),
            // The receipt is not taken in; the answer is whole all the same.
            Some(Waiting::End { client }) => street.send(client, ME, Message::End(None)),
            Some(Waiting::Problem { client, problem, message, receipt }) => {
                let receipt = Some(receipt);
                street.send(client, ME, Message::Problem { problem, message, receipt });
            }
            None => {}
        }
    }

    // Enclaves.

    fn enclave_answers(&mut self, street: &mut Street, conn: Conn, message: Message) {
        if let Message::Chunk(bytes) = message {
            return self.chunk(street, conn, bytes);
        }
        let Some(errand) = self.errands.remove(&conn) else { return };
        match errand {
            Errand::Appraise { instance, nonce } => {
                let event = match &message {
                    Message::Evidence { report, passport } => {
                        appraised(&instance, nonce, report, passport, street)
                    }
                    _ => Event::EnclaveFailed { instance, refused: false },
                };
                if let Event::EnclaveAppraised(appraised) = &event {
                    let keyset = appraised.archive().keyset.digest;
                    self.pinned.insert(appraised.instance().clone(), keyset);
                }
                self.happen(street, event);
            }
            Errand::OpenEpoch { instance } => {
                let event = match message {
                    Message::Body(record) => Event::EpochOpened { instance, record },
                    _ => Event::EnclaveFailed { instance, refused: false },
                };
                self.happen(street, event);
            }
            Errand::Pull { instance } => self.pulled(street, instance, message),
            Errand::Evidence { client } => match message {
                Message::Evidence { report, .. } => street.send(client, ME, Message::Body(report)),
                _ => problem(street, client, Problem::Unavailable, "no evidence"),
            },
            Errand::Answer { granted, .. } => match message {
                Message::End(receipt) => self.answered(street, granted.client, receipt),
                Message::Problem { problem, message, receipt } => {
                    self.refused(street, &granted, problem, message, receipt);
                }
                _ => {}
            },
            Errand::Before { granted, .. } => match message {
                Message::End(receipt) => self.answered(street, granted.client, receipt),
                _ if granted.again == Some(HoldState::Active) => {
                    self.send_sealed(street, *granted);
                    self.drain_inbox(street);
                }
                _ => problem(street, granted.client, Problem::NotFound, "no longer kept"),
            },
            Errand::Again { client, .. } => match message {
                Message::End(receipt) => self.answered(street, client, receipt),
                _ => problem(street, client, Problem::NotFound, "not kept"),
            },
        }
    }

    fn pulled(&mut self, street: &mut Street, instance: InstanceId, message: Message) {
        let records = match &message {
            Message::Body(bytes) => cbor::from_slice::<Pulled>(bytes, MAX_PULL_ANSWER_BYTES).ok(),
            _ => None,
        };
        let event = match records {
            Some(pulled) => Event::Pulled { instance, records: pulled.records },
            None => Event::EnclaveFailed { instance, refused: false },
        };
        self.happen(street, event);
    }

    /// Passes sealed bytes on; where nobody listens any more, the enclave is told.
    fn chunk(&mut self, street: &mut Street, conn: Conn, bytes: Vec<u8>) {
        let (client, instance) = match self.errands.get_mut(&conn) {
            Some(Errand::Answer { granted, begun } | Errand::Before { granted, begun }) => {
                *begun = true;
                (granted.client, granted.instance.clone())
            }
            Some(Errand::Again { client, instance, begun }) => {
                *begun = true;
                (*client, instance.clone())
            }
            _ => return,
        };
        if street.is_open(client) {
            return street.send(client, ME, Message::Chunk(bytes));
        }
        self.errands.remove(&conn);
        street.hang_up(conn, ME);
        self.happen(street, Event::AnswerEnded { instance });
    }

    /// The answer is whole: it ends once its receipt is durable.
    fn answered(&mut self, street: &mut Street, client: Conn, receipt: Option<Vec<u8>>) {
        let Some(record) = receipt else {
            return street.send(client, ME, Message::End(None));
        };
        let request = self.wait(Waiting::End { client });
        self.happen(street, Event::RecordReceived { request: Some(request), record });
    }

    /// The enclave said no. A receipt with it settles; a plain no before admission gives the hold
    /// back at once.
    fn refused(
        &mut self,
        street: &mut Street,
        granted: &Granted,
        which: Problem,
        message: String,
        receipt: Option<Vec<u8>>,
    ) {
        let instance = granted.instance.clone();
        match receipt {
            Some(record) => {
                let client = granted.client;
                let receipt = record.clone();
                let waiting = Waiting::Problem { client, problem: which, message, receipt };
                let request = self.wait(waiting);
                self.happen(street, Event::RecordReceived { request: Some(request), record });
            }
            None => {
                let event = match granted.again.is_none() && is_before_admission(which) {
                    true => Event::NotAdmitted { hold: granted.hold },
                    false => Event::AnswerEnded { instance: instance.clone() },
                };
                problem(street, granted.client, which, &message);
                self.happen(street, event);
            }
        }
        if which == Problem::StaleKeyset {
            self.happen(street, Event::EnclaveFailed { instance, refused: false });
        }
    }

    /// A connection broke.
    pub fn broke(&mut self, street: &mut Street, conn: Conn, unreached: bool) {
        match self.errands.remove(&conn) {
            Some(
                Errand::Appraise { instance, .. }
                | Errand::OpenEpoch { instance }
                | Errand::Pull { instance },
            ) => self.happen(street, Event::EnclaveFailed { instance, refused: false }),
            Some(Errand::Evidence { client }) => {
                problem(street, client, Problem::Unavailable, "enclave out of reach");
            }
            Some(Errand::Answer { granted, begun }) => {
                let event = match unreached && granted.again.is_none() {
                    true => Event::NotAdmitted { hold: granted.hold },
                    false => Event::AnswerEnded { instance: granted.instance.clone() },
                };
                self.out_of_reach(street, granted.client, &granted.instance, begun);
                self.happen(street, event);
            }
            Some(Errand::Before { granted, begun }) => {
                self.out_of_reach(street, granted.client, &granted.instance, begun);
            }
            Some(Errand::Again { client, instance, begun }) => {
                self.out_of_reach(street, client, &instance, begun);
            }
            None => self.client_left(street, conn),
        }
    }

    fn out_of_reach(&mut self, street: &mut Street, client: Conn, to: &InstanceId, begun: bool) {
        match begun {
            true => street.hang_up(client, ME),
            false => {
                let instance = to.clone();
                self.happen(street, Event::EnclaveFailed { instance, refused: false });
                problem(street, client, Problem::Unavailable, "enclave out of reach");
            }
        }
    }

    /// A customer is gone: the enclave's stream is reset, and it signs that.
    fn client_left(&mut self, street: &mut Street, client: Conn) {
        let of_client = |errand: &Errand| match errand {
            Errand::Answer { granted, .. } | Errand::Before { granted, .. } => {
                granted.client == client
            }
            Errand::Again { client: other, .. } => *other == client,
            _ => false,
        };
        let found = self.errands.iter().find(|(_, errand)| of_client(errand)).map(|(c, _)| *c);
        let Some(conn) = found else { return };
        let errand = self.errands.remove(&conn);
        street.hang_up(conn, ME);
        if let Some(Errand::Answer { granted, .. } | Errand::Before { granted, .. }) = errand {
            let instance = granted.instance.clone();
            self.happen(street, Event::AnswerEnded { instance });
        }
    }

    fn drain_inbox(&mut self, street: &mut Street) {
        if let Some(event) = self.inbox.pop_front() {
            self.happen(street, event);
        }
    }
}

fn appraised(
    name: &InstanceId,
    nonce: Nonce,
    report: &[u8],
    passport: &[u8],
    street: &Street,
) -> Event {
    let now = street.now.seconds();
    let refused = || Event::EnclaveFailed { instance: name.clone(), refused: true };
    let Ok(parsed) = AttestationReport::from_json(report) else { return refused() };
    let (anchors, policy) = policy();
    let result = appraise(&parsed, anchors, policy, Freshness::Nonce(nonce), now);
    let Ok(keys) = result.into_keys() else { return refused() };
    let models = vec![ServedModel {
        name: MODEL.to_owned(),
        manifest: model(),
        context_tokens: 32_768,
        accelerator: "scripted".to_owned(),
    }];
    match Appraised::new(name, &keys, passport, models, now) {
        Ok(appraised) => Event::EnclaveAppraised(Box::new(appraised)),
        Err(_) => refused(),
    }
}

/// Problems an enclave states before it admits anything.
fn is_before_admission(problem: Problem) -> bool {
    matches!(
        problem,
        Problem::BadRequest
            | Problem::InvalidOrder
            | Problem::InvalidGrant
            | Problem::StaleKeyset
            | Problem::TooLarge
            | Problem::NotFound
            | Problem::Busy
    )
}

fn problem(street: &mut Street, client: Conn, problem: Problem, message: &str) {
    let message = message.to_owned();
    street.send(client, ME, Message::Problem { problem, message, receipt: None });
}

fn word(command: &Command) -> String {
    match command {
        Command::Hold(hold) => format!("hold {}", hold.hold),
        Command::Record(record) => {
            format!("record {:?} {} {}", record.kind, record.epoch, record.seq)
        }
        Command::Release { hold } => format!("release {hold}"),
        Command::ExpireDue => "expire".to_owned(),
        Command::KeepAnomaly { what, .. } => format!("anomaly: {what}"),
        Command::ArchiveEvidence(_) => "evidence".to_owned(),
        Command::KeepCheckpoint { size, .. } => format!("checkpoint {size}"),
        Command::LogLeaf { .. } => "leaf".to_owned(),
        Command::PutPriceBook { version, .. } => format!("price book {version}"),
        _ => "command".to_owned(),
    }
}

fn told(result: &Result<Outcome, Rejection>) -> String {
    match result {
        Ok(Outcome::Held { state, again, .. }) => format!("held {state} again={again}"),
        Ok(Outcome::Recorded { again, leaf_index, settlement, .. }) => {
            format!("again={again} leaf={leaf_index:?} {settlement:?}")
        }
        Ok(Outcome::Expired { holds, .. }) => format!("{holds} holds"),
        Ok(_) => "ok".to_owned(),
        Err(no) => format!("REJECTED {no}"),
    }
}
