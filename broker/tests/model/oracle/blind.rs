//! Blind tokens by the simplest means: a pot of nobody's for each epoch, and the set of all tokens
//! that were ever spent.

use std::collections::{BTreeMap, BTreeSet};

use bulla_broker::ledger::anonymous::{Draw, Pool, Redeem};
use bulla_broker::ledger::{Command, Outcome};
use bulla_broker::package::Purpose;
use bulla_broker::register::EntryKind;
use bulla_wire::ids::TokenInput;
use bulla_wire::units::Unit;

use super::{AVAILABLE, Answer, GRANTED, NOBODY, Oracle, Pot, amount};

/// What is known of blind tokens.
#[derive(Default)]
pub struct Blind {
    pub spent: BTreeSet<TokenInput>,
    pools: BTreeMap<(Unit, u64), usize>,
    /// Leaves of the documents of keys, by epoch from 1.
    pub keys: Vec<u64>,
}

impl Oracle {
    pub(super) fn draw(&mut self, draw: &Draw, command: &Command) -> Answer {
        self.deed(draw.account, &draw.id.0, command, |oracle| oracle.fill_from(draw))
            .map(|number| Outcome::Entered { number })
    }

    fn fill_from(&mut self, draw: &Draw) -> Result<u64, &'static str> {
        let Draw { account, pool, .. } = draw;
        let asked = amount(draw.amount)?;
        self.account(*account)?;
        if self.now >= pool.issue_until.0 {
            return Err("Terms");
        }
        let drawable = |pot: &Pot| {
            let whole = pot.models.is_empty() && pot.until >= pool.lapses_at.0;
            whole && pot.purpose == Purpose::Spending
        };
        let shares = self.covering_of(*account, &pool.unit, drawable, asked)?;
        let counts = self.counted(*account, &draw.spender, &pool.unit, asked)?;
        for (budget, from) in counts {
            self.budgets[budget].used.entry(from).or_default().1 += asked;
        }
        for (pot, part) in shares {
            self.give(pot, part);
        }
        Ok(self.fill(pool, asked) as u64 + 1)
    }

    fn give(&mut self, pot: usize, amount: u64) {
        for side in [GRANTED, AVAILABLE] {
            self.pots[pot].sides[side] -= amount;
        }
        self.live.insert(pot);
    }

    /// Value enters the pool of an epoch, which is made with the first.
    fn fill(&mut self, pool: &Pool, amount: u64) -> usize {
        let key = (pool.unit.clone(), pool.epoch);
        if let Some(place) = self.blind.pools.get(&key).copied() {
            self.earn(place, amount);
            self.live.insert(place);
            return place;
        }
        let place = self.new_pot(Pot {
            account: NOBODY,
            unit: pool.unit.clone(),
            purpose: Purpose::Spending,
            models: Vec::new(),
            promotional: false,
            priority: 0,
            from: 0,
            until: pool.lapses_at.0,
            memo: String::new(),
            renewal: None,
            renews: false,
            issued: amount,
            sides: [amount, amount, 0, 0, 0],
        });
        self.blind.pools.insert(key, place);
        place
    }

    pub(super) fn redeem(&mut self, redeem: &Redeem) -> Answer {
        let Redeem { hold, spent, home, redemption } = redeem;
        if let Some(answer) = self.held_before(hold) {
            return answer;
        }
        let own = hold.account == NOBODY && hold.unit == home.unit;
        if !own || self.now >= home.lapses_at.0 || spent.is_empty() {
            return Err("Terms");
        }
        let inputs: BTreeSet<TokenInput> = spent.iter().map(|token| token.input).collect();
        if inputs.len() < spent.len() || !inputs.is_disjoint(&self.blind.spent) {
            return Err("TokensSpent");
        }
        if hold.amount > redemption.paid {
            return Err("InsufficientBalance");
        }
        let mut sums: BTreeMap<u64, u64> = BTreeMap::new();
        for token in spent {
            *sums.entry(token.epoch).or_default() += token.value.0;
        }
        let mut parts = Vec::new();
        for (epoch, sum) in sums {
            let pot = self.blind.pools.get(&(home.unit.clone(), epoch)).copied();
            let pot = pot.filter(|place| {
                let pot = &self.pots[*place];
                self.now < pot.until && pot.sides[AVAILABLE] >= sum
            });
            parts.push((epoch, pot.ok_or("Terms")?, sum));
        }
        for (_, pot, sum) in parts.iter().filter(|(epoch, ..)| *epoch != home.epoch) {
            self.give(*pot, *sum);
            self.fill(home, *sum);
        }
        self.blind.spent.extend(inputs);
        self.enter(EntryKind::Redemption);
        let pool = self.blind.pools[&(home.unit.clone(), home.epoch)];
        let shares = if hold.amount.0 > 0 { vec![(pool, hold.amount.0)] } else { Vec::new() };
        Ok(self.place(hold, shares, Vec::new()))
    }

    pub(super) fn put_blind_keys(&mut self, epoch: u64) -> Answer {
        let keys = self.blind.keys.len() as u64;
        if (1..=keys).contains(&epoch) {
            return Ok(Outcome::Logged { leaf_index: self.blind.keys[epoch as usize - 1] });
        }
        if epoch != keys + 1 {
            return Err("Terms");
        }
        self.enter(EntryKind::BlindKeys);
        let leaf_index = self.leaf();
        self.blind.keys.push(leaf_index);
        Ok(Outcome::Logged { leaf_index })
    }
}
