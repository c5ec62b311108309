//! What goes wrong in a seed besides the network, drawn before the story begins.

use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::network::{Party, Weather};
use super::street::Happening;
use super::{below, chance};

/// An effect performed wrongly on purpose: the proof that the world can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// The broker takes batches with a usage receipt for durable without writing them.
    LosesReceipts,
    /// The enclave's durable outbox keeps nothing.
    ForgetfulOutbox,
    /// A client sends its prompt in the open beside the sealed request.
    SpeaksInTheOpen,
    /// The broker publishes a checkpoint of another log.
    ForksTheLog,
    /// The broker forgets one in five who wait for a settlement.
    ForgetsWaiters,
    /// The enclave tells a kept answer differently the second time.
    TellsAnotherAnswer,
}

/// A request to come.
#[derive(Debug, Clone)]
pub struct AskToCome {
    /// Whose.
    pub customer: usize,
    /// Streamed.
    pub stream: bool,
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// Its customer leaves so long after.
    pub gives_up_after_ms: Option<u64>,
}

/// What a seed holds.
#[derive(Debug, Clone)]
pub struct Destiny {
    /// The network.
    pub weather: Weather,
    /// How many enclaves.
    pub enclaves: usize,
    /// How many customers.
    pub customers: usize,
    /// The requests.
    pub asks: Vec<AskToCome>,
    /// Crashes, closes, partitions, by milliseconds from the start.
    pub happenings: Vec<(u64, Happening)>,
    /// The broker crashes after so many steps, and again after so many more.
    pub broker_fuses: Vec<u64>,
    /// The same for each enclave.
    pub enclave_fuses: Vec<Vec<u64>>,
    /// The packages are small: some orders find no balance.
    pub is_poor: bool,
    /// Orders have so little time that receipts come late.
    pub is_hurried: bool,
    /// When the network heals.
    pub heals_after_ms: u64,
}

impl Destiny {
    /// Draws a destiny. One seed in ten is a quiet day.
    pub fn draw(rng: &mut ChaCha20Rng) -> Destiny {
        let rough = !chance(rng, 100);
        let enclaves = if chance(rng, 300) { 2 } else { 1 };
        let customers = 1 + below(rng, 2) as usize;
        let heals_after_ms = 45_000 + below(rng, 30_000);
        let mut destiny = Destiny {
            weather: if rough { weather(rng) } else { Weather::default() },
            enclaves,
            customers,
            asks: asks(rng, customers, rough),
            happenings: Vec::new(),
            broker_fuses: Vec::new(),
            enclave_fuses: vec![Vec::new(); enclaves],
            is_poor: chance(rng, 150),
            is_hurried: chance(rng, 300),
            heals_after_ms,
        };
        if rough {
            destiny.add_faults(rng);
        }
        destiny
    }

    fn add_faults(&mut self, rng: &mut ChaCha20Rng) {
        let at = |rng: &mut ChaCha20Rng| 2_000 + below(rng, 45_000);
        for _ in 0..below(rng, 3) {
            self.broker_fuses.push(1 + below(rng, 60));
        }
        for fuses in &mut self.enclave_fuses {
            if chance(rng, 400) {
                fuses.push(1 + below(rng, 50));
            }
        }
        let which = below(rng, self.enclaves as u64) as usize;
        if chance(rng, 250) {
            self.happenings.push((at(rng), Happening::Crash(Party::Broker)));
        }
        if chance(rng, 250) {
            self.happenings.push((at(rng), Happening::Crash(Party::Enclave(which))));
        }
        if chance(rng, 250) {
            self.happenings.push((at(rng), Happening::Close(which)));
        }
        if chance(rng, 200) {
            self.happenings.push((at(rng), Happening::NewPrices));
        }
        for between in [(Party::Client(0), Party::Broker), (Party::Broker, Party::Enclave(which))] {
            if chance(rng, 200) {
                let for_ms = 500 + below(rng, 30_000);
                self.happenings.push((at(rng), Happening::Cut { between, for_ms }));
            }
        }
    }
}

fn weather(rng: &mut ChaCha20Rng) -> Weather {
    let mut one_of = |values: &[u64]| values[rng.next_u32() as usize % values.len()];
    Weather {
        lost: one_of(&[0, 10, 30, 100]),
        slow: one_of(&[0, 20, 100]),
        twice: one_of(&[0, 30, 200]),
        mangled: one_of(&[0, 0, 20, 100]),
        commit_fails: one_of(&[0, 0, 20, 80]),
        cuts: Vec::new(),
    }
}

fn asks(rng: &mut ChaCha20Rng, customers: usize, rough: bool) -> Vec<AskToCome> {
    let count = 2 + below(rng, 5);
    (0..count)
        .map(|_| AskToCome {
            customer: below(rng, customers as u64) as usize,
            stream: chance(rng, 500),
            at_ms: 500 + below(rng, 40_000),
            gives_up_after_ms: (rough && chance(rng, 150)).then(|| 10 + below(rng, 4_000)),
        })
        .collect()
}
