//! Random commands from a seed, on every store, against an oracle that knows nothing of SQL.
//! `BULLA_COMMANDS` says how many: a million takes minutes, not seconds.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bulla_broker::io::store::Store;
use bulla_broker::io::workload::Workload;
use bulla_broker::ledger::{
    AccountNumber, Command, HoldState, IssuePackage, Outcome, Rejection, Settlement,
};
use bulla_wire::units::{MicroUnits, Unit, UnixMillis, UnixSeconds};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Commands where nobody asks for more.
const COMMANDS: usize = 10_000;
const MAX_BATCH: u64 = 24;

/// A package as the oracle keeps it: available, held, spent, lapsed.
#[derive(Debug, Clone, PartialEq)]
struct Pot {
    account: AccountNumber,
    promotional: bool,
    priority: u8,
    from: u64,
    until: u64,
    sides: [u64; 4],
}

#[derive(Debug, Clone, PartialEq)]
struct Held {
    amount: u64,
    shares: Vec<(usize, u64)>,
    settle_by: u64,
    state: HoldState,
}

#[derive(Default)]
struct Oracle {
    pots: Vec<Pot>,
    holds: BTreeMap<(usize, u64), Held>,
    /// Pots that may still change, holds that are active: all the rest is history.
    live: BTreeSet<usize>,
    active: BTreeSet<(usize, u64)>,
}

const AVAILABLE: usize = 0;
const HELD: usize = 1;
const SPENT: usize = 2;
const LAPSED: usize = 3;

impl Oracle {
    fn hold(
        &mut self,
        key: (usize, u64),
        account: AccountNumber,
        amount: u64,
        by: u64,
        now: u64,
    ) -> bool {
        if self.holds.contains_key(&key) {
            return true;
        }
        let mut order: Vec<usize> = (self.live.iter().copied())
            .filter(|i| {
                let pot = &self.pots[*i];
                pot.account == account && pot.from <= now && now < pot.until
            })
            .collect();
        order.sort_by_key(|i| {
            let pot = &self.pots[*i];
            (!pot.promotional, pot.priority, pot.until, *i)
        });
        let total: u64 = order.iter().map(|i| self.pots[*i].sides[AVAILABLE]).sum();
        if total < amount {
            return false;
        }
        let (mut left, mut shares) = (amount, Vec::new());
        for i in order {
            let part = left.min(self.pots[i].sides[AVAILABLE]);
            if part > 0 {
                self.pots[i].sides[AVAILABLE] -= part;
                self.pots[i].sides[HELD] += part;
                shares.push((i, part));
                left -= part;
            }
        }
        self.active.insert(key);
        self.holds.insert(key, Held { amount, shares, settle_by: by, state: HoldState::Active });
        true
    }

    fn end(&mut self, key: (usize, u64), charge: u64, state: HoldState) {
        let held = self.holds.get_mut(&key).unwrap();
        held.state = state;
        self.active.remove(&key);
        let mut left = charge;
        for (pot, part) in held.shares.clone() {
            let used = left.min(part);
            left -= used;
            let sides = &mut self.pots[pot].sides;
            sides[HELD] -= part;
            sides[SPENT] += used;
            sides[AVAILABLE] += part - used;
        }
    }

    /// True when a receipt of `charge` settles.
    fn settle(&mut self, key: (usize, u64), charge: u64, now: u64) -> bool {
        let fits = self.holds.get(&key).is_some_and(|held| {
            held.state == HoldState::Active && now <= held.settle_by && charge <= held.amount
        });
        if fits {
            self.end(key, charge, HoldState::Settled);
        }
        fits
    }

    fn expire(&mut self, now: u64) {
        let due: Vec<_> =
            self.active.iter().copied().filter(|key| self.holds[key].settle_by < now).collect();
        for key in due {
            self.end(key, 0, HoldState::Expired);
        }
        let ended = |pot: &&usize| self.pots[**pot].until <= now;
        for pot in self.live.iter().filter(ended).copied().collect::<Vec<_>>() {
            let sides = &mut self.pots[pot].sides;
            sides[LAPSED] += std::mem::take(&mut sides[AVAILABLE]);
            if sides[HELD] == 0 {
                self.live.remove(&pot);
            }
        }
    }

    fn balances(&self, account: AccountNumber) -> Vec<[u64; 4]> {
        let mine = self.pots.iter().filter(|pot| pot.account == account);
        mine.map(|pot| pot.sides).collect()
    }
}

/// What the oracle says of one command.
#[derive(Debug, PartialEq)]
enum Expected {
    Fine,
    Short,
    Settled(bool),
    Ended,
}

fn got(result: &Result<Outcome, Rejection>) -> Expected {
    match result {
        Ok(Outcome::Recorded { settlement, .. }) => {
            Expected::Settled(matches!(settlement, Settlement::Settled { .. }))
        }
        Ok(_) => Expected::Fine,
        Err(Rejection::InsufficientBalance { .. }) => Expected::Short,
        Err(Rejection::HoldEnded { .. } | Rejection::UnknownHold { .. }) => Expected::Ended,
        Err(other) => panic!("the oracle knows no {other:?}"),
    }
}

struct World<'s> {
    rng: ChaCha8Rng,
    store: &'s mut dyn Store,
    loads: Vec<Workload>,
    oracle: Oracle,
    now: u64,
    packages: u64,
    holds: Vec<u64>,
}

impl World<'_> {
    fn new(seed: u64, store: &mut dyn Store) -> World<'_> {
        let mut oracle = Oracle::default();
        let now = 1_000;
        let loads: Vec<Workload> = (1..=3u8)
            .map(|salt| {
                let name = format!("node-{salt}");
                let at = UnixSeconds(now).millis();
                Workload::prepare(store, &name, salt, MicroUnits(500), at).unwrap()
            })
            .collect();
        for load in &loads {
            oracle.live.insert(oracle.pots.len());
            oracle.pots.push(Pot {
                account: load.account(),
                promotional: false,
                priority: 10,
                from: 0,
                until: u64::MAX,
                sides: [500, 0, 0, 0],
            });
        }
        let holds = vec![0; loads.len()];
        let rng = ChaCha8Rng::seed_from_u64(seed);
        World { rng, store, loads, oracle, now, packages: 0, holds }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }

    fn command(&mut self) -> (Command, Expected) {
        let who = self.below(self.loads.len() as u64) as usize;
        // Mostly holds of the recent past, sometimes one that never was.
        let recent = self.holds[who].saturating_sub(self.below(12));
        match self.below(100) {
            0..=3 => self.issue(who),
            4..=49 => {
                let n = if self.below(20) == 0 { recent } else { self.holds[who] + 1 };
                self.holds[who] = self.holds[who].max(n);
                let (amount, by) = (self.below(40), self.now + self.below(60));
                // The same id again must carry the same parameters: the oracle remembers them.
                let key = (who, n);
                let known = self.oracle.holds.get(&key);
                let (amount, by) = known.map_or((amount, by), |held| (held.amount, held.settle_by));
                let account = self.loads[who].account();
                let fits = self.oracle.hold(key, account, amount, by, self.now);
                let command = self.loads[who].hold(n, MicroUnits(amount), UnixSeconds(by));
                (command, if fits { Expected::Fine } else { Expected::Short })
            }
            50..=84 => {
                let charge = self.below(42);
                let settled = self.oracle.settle((who, recent), charge, self.now);
                let command = self.loads[who].settle(recent, MicroUnits(charge));
                (command, Expected::Settled(settled))
            }
            85..=94 => {
                let key = (who, recent);
                let state = self.oracle.holds.get(&key).map(|held| held.state);
                if state == Some(HoldState::Active) {
                    self.oracle.end(key, 0, HoldState::Released);
                }
                let fine = matches!(state, Some(HoldState::Active | HoldState::Released));
                let hold = self.loads[who].hold_id(recent);
                (Command::Release { hold }, if fine { Expected::Fine } else { Expected::Ended })
            }
            _ => {
                self.oracle.expire(self.now);
                (Command::ExpireDue, Expected::Fine)
            }
        }
    }

    fn issue(&mut self, who: usize) -> (Command, Expected) {
        self.packages += 1;
        let pot = Pot {
            account: self.loads[who].account(),
            promotional: self.below(3) == 0,
            priority: self.below(4) as u8,
            from: self.now + self.below(30),
            until: self.now + 31 + self.below(200),
            sides: [1 + self.below(300), 0, 0, 0],
        };
        let mut key = [0; 16];
        key[..8].copy_from_slice(&self.packages.to_be_bytes());
        let command = Command::IssuePackage(IssuePackage {
            key,
            account: pot.account,
            unit: Unit::tokens(),
            amount: MicroUnits(pot.sides[AVAILABLE]),
            priority: pot.priority,
            promotional: pot.promotional,
            effective_from: UnixSeconds(pot.from),
            expires_at: Some(UnixSeconds(pot.until)),
            memo: "random".into(),
            terms: Default::default(),
        });
        self.oracle.live.insert(self.oracle.pots.len());
        self.oracle.pots.push(pot);
        (command, Expected::Fine)
    }

    fn batch(&mut self) -> usize {
        let (commands, expected): (Vec<_>, Vec<_>) =
            (0..1 + self.below(MAX_BATCH)).map(|_| self.command()).unzip();
        let at = UnixMillis(self.now * 1000 + self.below(1000));
        let results = self.store.execute(&commands, at).unwrap();
        for ((command, expected), result) in commands.iter().zip(&expected).zip(&results) {
            assert_eq!(got(result), *expected, "{command:?} at {}: {result:?}", self.now);
        }
        self.now += self.below(6);
        commands.len()
    }

    fn compare(&self) {
        for load in &self.loads {
            let packages = self.store.packages(load.account()).unwrap();
            let stored: Vec<_> = packages
                .iter()
                .map(|p| [p.available.0, p.held.0, p.spent.0, p.expired.0])
                .collect();
            assert_eq!(stored, self.oracle.balances(load.account()));
        }
        assert!(self.store.totals().unwrap().iter().all(|(_, totals)| totals.balances()));
    }
}

support::on_every_store! {
    the_store_does_what_the_oracle_says,
}

fn commands() -> usize {
    std::env::var("BULLA_COMMANDS").map_or(COMMANDS, |text| text.parse().expect("a number"))
}

fn the_store_does_what_the_oracle_says(store: &mut dyn Store) {
    let commands = commands();
    let mut world = World::new(20_261_120, store);
    let (mut done, mut batches) = (0, 0);
    while done < commands {
        done += world.batch();
        batches += 1;
        // Comparing reads every package there ever was.
        if batches % (50 + commands / 500) == 0 {
            world.compare();
        }
    }
    world.compare();
    let (mut after, mut count) = (0, 0);
    loop {
        let page = world.store.transfers(None, after, 10_000).unwrap();
        let Some(last) = page.last() else { break };
        assert!((after + 1..).zip(&page).all(|(number, transfer)| transfer.number == number));
        (after, count) = (last.number, count + page.len());
    }
    assert!(count > commands / 2, "the commands moved value: {count}");

    // In the end nothing is pending, whatever became of each hold.
    let end = UnixMillis(u64::MAX >> 2);
    while world.store.next_expiry().unwrap().is_some() {
        world.store.execute(&[Command::ExpireDue], end).unwrap();
    }
    for (unit, totals) in world.store.totals().unwrap() {
        assert_eq!(totals.held, 0, "{unit}");
        assert!(totals.balances());
    }
}
