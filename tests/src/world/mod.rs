//! The simulated world: every role in one thread, from one seed, over a hostile network.
//!
//! The roles are the shipped state machines and the shipped verifier; what a shell does around them
//! over sockets, threads and clocks is done here over an event queue with virtual time. Everything
//! that is left open (when a message arrives, whether it does, who crashes between which two
//! effects) is drawn from the seed, so a seed is a story that can be told again.
//!
//! * [`street`]: time, the event queue and the lines between the parties; [`network`]: what may
//!   happen to a message. [`faults`]: what else goes wrong, and when.
//! * [`broker`], [`enclave`], [`client`]: one thin performer of effects per role.
//! * [`lies`]: what a broker could write into its books, and who finds it.
//! * [`invariants`]: what must hold, and the witness who watches.
//!
//! # A seed fails when
//! * `no-plaintext`: content shows up in bytes that left a client or an enclave unsealed, or in the
//!   broker's export.
//! * `ledger-balances`: value appears or vanishes, after any batch.
//! * `hold-ends-once`: a hold changes again after it was settled, released or expired, or is still
//!   active when everything has drained.
//! * `charge-within-order`: a settlement above the order's maximum, or other than its receipt says.
//! * `log-grows`: a leaf changes or goes, a checkpoint is not of this one growing log.
//! * `receipts-logged`: a record that became durable in an enclave is not in the log exactly once,
//!   or an epoch has a gap or a broken link.
//! * `answer-kept`: what a client took as done is not in the log, byte for byte.
//! * `one-answer`: a hold got two different answers, or a complete answer is not the engine's.
//! * `every-waiter-answered`: a request waits in the broker that nobody will answer.
//! * `recovers`: the network healed and a new request is still not served.
//! * `drains`: holds, outboxes or requests are left over when every deadline has passed.
//! * `audit-clean`: the shipped audit finds an error in the export, of the whole or of an account.
//! * `role-error`: a role answered an event with an error of its own.
//!
//! # A seed does not fail when
//! * a request is refused, lost or given up while things go wrong; its customer may be charged for
//!   an answer lost on the way, once, by receipt;
//! * a customer is not charged for an answer whose receipt came after its settle-by, or whose hold
//!   the broker had given back: such receipts are logged and flagged;
//! * an enclave that crashed takes with it what had not become durable, and never closes its epoch:
//!   the audit warns.
//!
//! # What the world leaves out
//! TLS: nothing may rest on it but the order of bytes inside one connection, and that a checkpoint
//! to open an epoch with reaches the enclave it was meant for. Left out too are the disk below
//! SQLite (batches are whole or absent), and wall-clock skew between parties.

pub mod broker;
pub mod client;
pub mod enclave;
pub mod faults;
pub mod invariants;
pub mod lies;
pub mod network;
pub mod street;
pub mod town;

use bulla_broker::ledger::Queries;
use bulla_client::audit::AuditTrust;
use bulla_wire::ids::Digest;
use bulla_wire::units::UnixMillis;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::chip;
use broker::BrokerHost;
use client::{Ask, Customer};
use enclave::EnclaveHost;
use faults::{Destiny, Sabotage};
pub use invariants::Violation;
use network::Party;
use street::{Happening, Street};

/// Name of the model.
pub const MODEL: &str = "scripted";
/// Stands in every prompt and every scripted answer, and nowhere else.
pub const CANARY: &str = "CANARY-bird";
/// Start of every story.
pub const START: UnixMillis = UnixMillis(chip::START_S * 1000);
/// Everything must have drained by then, in milliseconds after the network healed: every hold's
/// settle-by, and some rounds of pulling.
const DRAIN_MS: u64 = 400_000;
/// Most happenings of one story; a world that spins has failed.
const MAX_HAPPENINGS: u64 = 200_000;
/// Requests made after the network healed; one of them must be served.
const LAST_ASKS: usize = 4;

/// What happened in a story, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Tally {
    pub happenings: u64,
    pub messages: u64,
    pub lost: u64,
    pub delayed: u64,
    pub duplicated: u64,
    pub mangled: u64,
    pub unreached: u64,
    pub broker_crashes: u64,
    pub enclave_crashes: u64,
    pub epochs_closed: u64,
    pub commits_failed: u64,
    pub given_up: u64,
    pub asks: u64,
    pub done: u64,
    pub failed: u64,
    pub settled: u64,
    pub released: u64,
    pub expired: u64,
    pub flagged: u64,
    pub leaves: u64,
}

impl Tally {
    /// Adds another story's numbers.
    pub fn add(&mut self, other: &Tally) {
        let mine: [&mut u64; 20] = self.fields_mut();
        let mut other = *other;
        for (mine, other) in mine.into_iter().zip(other.fields_mut()) {
            *mine += *other;
        }
    }

    fn fields_mut(&mut self) -> [&mut u64; 20] {
        [
            &mut self.happenings,
            &mut self.messages,
            &mut self.lost,
            &mut self.delayed,
            &mut self.duplicated,
            &mut self.mangled,
            &mut self.unreached,
            &mut self.broker_crashes,
            &mut self.enclave_crashes,
            &mut self.epochs_closed,
            &mut self.commits_failed,
            &mut self.given_up,
            &mut self.asks,
            &mut self.done,
            &mut self.failed,
            &mut self.settled,
            &mut self.released,
            &mut self.expired,
            &mut self.flagged,
            &mut self.leaves,
        ]
    }
}

/// How a story ended that broke no invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Digest of the whole trace.
    pub trace: Digest,
    /// In numbers.
    pub tally: Tally,
}

/// The world of one seed.
pub struct World {
    seed: u64,
    street: Street,
    broker: BrokerHost,
    enclaves: Vec<EnclaveHost>,
    customers: Vec<Customer>,
    asks: Vec<Ask>,
    healed_at: Option<UnixMillis>,
}

/// Tells the story of a seed to its end.
pub fn run(seed: u64) -> Result<Ended, Box<Violation>> {
    World::new(seed, None, false).run()
}

/// Tells it aloud, every happening printed.
pub fn run_aloud(seed: u64) -> Result<Ended, Box<Violation>> {
    World::new(seed, None, true).run()
}

/// Tells it with one effect performed wrongly: an invariant must break.
pub fn run_sabotaged(seed: u64, sabotage: Sabotage) -> Result<Ended, Box<Violation>> {
    World::new(seed, Some(sabotage), false).run()
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>, aloud: bool) -> World {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let destiny = Destiny::draw(&mut rng);
        let mut street =
            Street::new(rng, destiny.enclaves, destiny.weather.clone(), sabotage, aloud);
        let mut broker = BrokerHost::new(&mut street, &destiny);
        let customers: Vec<Customer> =
            (0..destiny.customers).map(|n| Customer::new(n, &mut street, &mut broker)).collect();
        let enclaves = (0..destiny.enclaves)
            .map(|n| EnclaveHost::new(n, &mut street, &destiny, broker.root_public()))
            .collect();
        let mut world =
            World { seed, street, broker, enclaves, customers, asks: Vec::new(), healed_at: None };
        world.schedule(&destiny);
        world
    }

    fn schedule(&mut self, destiny: &Destiny) {
        self.broker.fuses = destiny.broker_fuses.iter().copied().collect();
        self.street.after(1, Happening::BrokerTick);
        for which in 0..self.enclaves.len() {
            self.street.after(1, Happening::EnclaveTick(which));
        }
        for ask in &destiny.asks {
            let number = self.asks.len();
            self.asks.push(Ask::new(number, ask.customer, ask.stream, &mut self.street));
            self.street.after(ask.at_ms, Happening::AskStarts(number));
            if let Some(patience_ms) = ask.gives_up_after_ms {
                self.street.after(ask.at_ms + patience_ms, Happening::AskLeaves(number));
            }
        }
        for (at_ms, happening) in &destiny.happenings {
            self.street.after(*at_ms, happening.clone());
        }
        self.street.after(destiny.heals_after_ms, Happening::Heal);
    }

    fn run(mut self) -> Result<Ended, Box<Violation>> {
        self.play();
        if self.street.witness.is_content() {
            let trust = self.trust();
            self.count();
            invariants::at_the_end(&mut self.street, &self.broker, &self.asks, &trust);
        }
        self.street.conclude(self.seed)
    }

    /// Until everything has drained, or an invariant broke.
    fn play(&mut self) {
        while self.street.witness.is_content() && !self.has_drained() {
            let Some(happening) = self.street.next_happening() else { break };
            self.street.tally.happenings += 1;
            if self.street.tally.happenings > MAX_HAPPENINGS {
                self.street.blame("drains", "the world spins".to_owned());
            }
            if self.is_too_late() {
                let left = self.what_is_left();
                self.street.blame("drains", left);
            }
            self.happen(happening);
        }
    }

    fn happen(&mut self, happening: Happening) {
        let street = &mut self.street;
        match happening {
            Happening::Heard { conn, by, message } => match by {
                Party::Broker => self.broker.hear(street, conn, message),
                Party::Enclave(n) => self.enclaves[n].hear(street, conn, message),
                Party::Client(n) => {
                    let ask = &mut self.asks[n];
                    ask.hear(street, &mut self.customers[ask.customer], conn, message);
                }
            },
            Happening::Broke { conn, by, unreached } => match by {
                Party::Broker => self.broker.broke(street, conn, unreached),
                Party::Enclave(n) => self.enclaves[n].broke(street, conn),
                Party::Client(n) => self.asks[n].broke(street, conn, unreached),
            },
            Happening::BrokerTick => self.broker.tick(street),
            Happening::Writer { life } => self.broker.write(street, life),
            Happening::Durable { life, batch, results } => {
                self.broker.durable(street, life, batch, results);
            }
            Happening::EnclaveTick(n) => self.enclaves[n].tick(street),
            Happening::EngineStep { which, life } => self.enclaves[which].step(street, life),
            Happening::Disk { which, life } => self.enclaves[which].disk(street, life),
            Happening::AskStarts(n) => {
                let ask = &mut self.asks[n];
                ask.start(street, &self.customers[ask.customer], &self.broker);
            }
            Happening::AskSends { ask, stream, hold } => {
                self.asks[ask].refetch(street, stream, hold)
            }
            Happening::AskDeadline(n) => self.asks[n].deadline(street),
            Happening::AskLeaves(n) => self.asks[n].leave(street),
            Happening::Crash(Party::Broker) => self.broker.crash(street),
            Happening::Crash(Party::Enclave(n)) => self.enclaves[n].crash(street),
            Happening::Crash(Party::Client(_)) => {}
            Happening::Rise(Party::Broker) => self.broker.rise(street),
            Happening::Rise(Party::Enclave(n)) => self.enclaves[n].rise(street),
            Happening::Rise(Party::Client(_)) => {}
            Happening::Close(n) => self.enclaves[n].close(street),
            Happening::NewPrices => self.broker.new_prices(street),
            Happening::Cut { between, for_ms } => street.cut(between, for_ms),
            Happening::Heal => self.heal(),
            Happening::LastAsk => self.last_ask(),
        }
    }

    /// From here on nothing goes wrong any more, and everything must come right.
    fn heal(&mut self) {
        self.street.heal();
        self.broker.fuses.clear();
        self.enclaves.iter_mut().for_each(|enclave| enclave.fuses.clear());
        self.healed_at = Some(self.street.now);
        self.street.after(40_000, Happening::LastAsk);
    }

    /// One more request, by somebody who knows nothing from before.
    fn last_ask(&mut self) {
        let number = self.asks.len();
        self.customers[0].forget();
        self.broker.issue(&mut self.street, self.customers[0].account(), false);
        let mut ask = Ask::new(number, 0, false, &mut self.street);
        ask.is_last = true;
        self.asks.push(ask);
        self.street.after(0, Happening::AskStarts(number));
    }

    fn has_drained(&mut self) -> bool {
        if self.healed_at.is_none() || self.asks.iter().any(|ask| !ask.is_over()) {
            return false;
        }
        let last = || self.asks.iter().filter(|ask| ask.is_last);
        if last().count() == 0 {
            return false;
        }
        if !last().any(Ask::is_done) {
            if last().count() < LAST_ASKS {
                self.last_ask();
            } else {
                let ends: Vec<String> = last().map(Ask::ending).collect();
                self.street.blame("recovers", ends.join("; "));
            }
            return false;
        }
        self.broker.is_quiet() && self.enclaves.iter().all(EnclaveHost::is_quiet)
    }

    fn is_too_late(&self) -> bool {
        let deadline = |healed: UnixMillis| UnixMillis(healed.0 + DRAIN_MS);
        self.healed_at.is_some_and(|healed| self.street.now > deadline(healed))
    }

    fn what_is_left(&self) -> String {
        let asks = self.asks.iter().filter(|ask| !ask.is_over()).count();
        let quiet: Vec<bool> = self.enclaves.iter().map(EnclaveHost::is_quiet).collect();
        format!("asks open: {asks}, broker: {}, enclaves quiet: {quiet:?}", self.broker.left())
    }

    fn trust(&self) -> AuditTrust {
        AuditTrust {
            log_keys: vec![self.broker.log_verifier()],
            broker_root: self.broker.root_public(),
            anchors: chip::anchors(),
            policy: chip::policy("development"),
        }
    }

    fn count(&mut self) {
        self.street.tally.leaves = self.broker.store.leaf_count().unwrap_or(0);
        self.street.tally.asks = self.asks.len() as u64;
        self.street.tally.done = self.asks.iter().filter(|ask| ask.is_done()).count() as u64;
        self.street.tally.failed = self.street.tally.asks - self.street.tally.done;
    }
}

/// A number below `bound`, from the dice.
pub(crate) fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    rng.next_u64() % bound.max(1)
}

/// True `permille` times in a thousand.
pub(crate) fn chance(rng: &mut ChaCha20Rng, permille: u64) -> bool {
    below(rng, 1000) < permille
}
