//! Value becomes blind tokens, and blind tokens pay: each once, in the commit of the hold.

use std::collections::{BTreeMap, BTreeSet};

use bulla_wire::bundle::TransferKind;
use bulla_wire::units::{MicroUnits, UnixSeconds};

use super::{Batch, Fault, NewNullifier, PackageRow, check_amount};
use crate::anonymous::KeptKeys;
use crate::ledger::anonymous::{ANONYMOUS, ANONYMOUS_NAME, Draw, Pool, Redeem, pool_key};
use crate::ledger::{IssuePackage, Outcome, PackageNumber, Rejection};
use crate::package::{PackageTerms, Purpose, Share, split};
use crate::register::{EntryKind, NOBODY, body};

/// What is told of a pool's package.
const POOL_MEMO: &str = "blind tokens outstanding";
/// What is told of value that became blind tokens.
const DRAWN: &str = "drawn as blind tokens";

impl<'a> Batch<'a> {
    pub(super) fn draw(&mut self, draw: &Draw) -> Result<Outcome, Fault> {
        let Draw { account, amount, pool, .. } = draw;
        let request = draw.request.to_string();
        if let Some(number) = self.done_before(*account, &draw.id.0, &request)? {
            return Ok(Outcome::Entered { number });
        }
        check_amount(*amount)?;
        self.check_account(*account)?;
        if self.now.seconds() >= pool.issue_until {
            let what = format!("epoch {} of blind tokens has ended: fetch the keys", pool.epoch);
            return Err(Rejection::Terms { what }.into());
        }
        let shares = self.drawable(draw)?;
        let counts = self.check_budgets(*account, &draw.spender, &pool.unit, *amount)?;
        self.open_anonymous()?;
        self.count_hold(&counts, *amount)?;
        self.count_end(&counts, *amount, *amount)?;
        for share in shares {
            self.give(TransferKind::Send, share.package, share.amount, DRAWN)?;
        }
        let number = self.fill(pool, *amount)?;
        self.note(*account, &draw.id.0, request, number.0);
        Ok(Outcome::Entered { number: number.0 })
    }

    /// What covers a draw, in burn order: packages for every model that end no sooner than the
    /// tokens, or a draw would prolong them; and no overdraft lines, since what is owed of one is
    /// what was spent of it.
    fn drawable(&self, draw: &Draw) -> Result<Vec<Share>, Rejection> {
        let Draw { account, amount, pool, .. } = draw;
        let lasts = |end: Option<UnixSeconds>| end.is_none_or(|end| end >= pool.lapses_at);
        let purse = self.purses.get(account).into_iter().flatten();
        let purse = purse.filter_map(|number| self.rows.packages.get(number));
        let purse = purse.map(|row| &row.package).filter(|package| {
            package.unit == pool.unit
                && package.terms.purpose == Purpose::Spending
                && package.terms.covers("")
                && lasts(package.expires_at)
        });
        let unit = || pool.unit.clone();
        split(purse, *amount, self.now.seconds()).map_err(|available| {
            Rejection::InsufficientBalance { unit: unit(), needed: *amount, available }
        })
    }

    /// Opens the account of the pools, where it is not open: an account of old may have its name.
    fn open_anonymous(&mut self) -> Result<(), Rejection> {
        if self.rows.accounts.contains(&ANONYMOUS) {
            return Ok(());
        }
        if !self.rows.names.insert(ANONYMOUS_NAME.to_owned()) {
            return Err(Rejection::NameTaken { name: ANONYMOUS_NAME.to_owned() });
        }
        self.rows.accounts.insert(ANONYMOUS);
        self.changes.accounts.push((ANONYMOUS, ANONYMOUS_NAME, false));
        Ok(())
    }

    /// Value enters a pool, which is made with the first.
    fn fill(&mut self, pool: &Pool, amount: MicroUnits) -> Result<PackageNumber, Fault> {
        if let Some(number) = self.pool(pool.key()) {
            self.give(TransferKind::Receive, number, amount, POOL_MEMO)?;
            return Ok(number);
        }
        let package = IssuePackage {
            key: pool.key(),
            account: ANONYMOUS,
            unit: pool.unit.clone(),
            amount,
            priority: u8::MAX,
            promotional: false,
            effective_from: UnixSeconds(0),
            expires_at: Some(pool.lapses_at),
            memo: POOL_MEMO.to_owned(),
            terms: PackageTerms::default(),
        };
        Ok(self.enter(&package, TransferKind::Receive)?)
    }

    fn pool(&self, key: [u8; 16]) -> Option<PackageNumber> {
        let mut known = self.rows.packages.iter();
        known.find(|(_, row)| row.key == key).map(|(number, _)| *number)
    }

    pub(super) fn redeem(&mut self, redeem: &'a Redeem) -> Result<Outcome, Fault> {
        let Redeem { hold, spent, home, redemption } = redeem;
        if let Some(outcome) = self.held_before(hold)? {
            return Ok(outcome);
        }
        let refused = |what: &str| Err(Rejection::Terms { what: what.to_owned() }.into());
        if hold.account != ANONYMOUS || hold.unit != home.unit {
            return refused("blind tokens pay for anonymous orders in their own unit");
        }
        if self.now.seconds() >= home.lapses_at {
            return refused("the epoch the change was asked under has lapsed: fetch the keys");
        }
        // A free order is paid with a token too, which comes back as change.
        if spent.is_empty() {
            return refused("an anonymous order is paid with one blind token at least");
        }
        let mut seen = BTreeSet::new();
        let inputs = spent.iter().map(|token| token.input);
        let is_spent = |input: &_| self.rows.nullifiers.contains(input) || !seen.insert(*input);
        let tokens: Vec<_> = inputs.filter(is_spent).collect();
        if !tokens.is_empty() {
            return Err(Rejection::TokensSpent { tokens }.into());
        }
        let (needed, available) = (hold.amount, redemption.paid);
        if needed > available {
            let unit = hold.unit.clone();
            return Err(Rejection::InsufficientBalance { unit, needed, available }.into());
        }
        let parts = self.backing(redeem)?;
        let number = self.gather(home, &parts)?;
        let share = Share { package: number, amount: hold.amount };
        let shares = if hold.amount > MicroUnits(0) { vec![share] } else { Vec::new() };
        for token in spent {
            self.rows.nullifiers.insert(token.input);
            let (input, epoch) = (token.input, token.epoch);
            self.changes.nullifiers.push(NewNullifier { input, epoch, hold: hold.hold });
        }
        let (key, redemption) = (hold.hold.0.to_vec(), body(redemption));
        self.enter_entry(EntryKind::Redemption, ANONYMOUS, key, redemption);
        Ok(self.place(hold, shares, Vec::new())?)
    }

    /// The pools behind a payment's tokens, and how much each gives. What the tokens are worth is
    /// there, unless somebody else has the keys: then nothing is held.
    fn backing(
        &self,
        redeem: &Redeem,
    ) -> Result<BTreeMap<u64, (PackageNumber, MicroUnits)>, Rejection> {
        let mut sums: BTreeMap<u64, MicroUnits> = BTreeMap::new();
        for token in &redeem.spent {
            let sum = sums.entry(token.epoch).or_default();
            *sum = sum.saturating_add(token.value);
        }
        let mut parts = BTreeMap::new();
        for (epoch, sum) in sums {
            let number = self.pool(pool_key(&redeem.home.unit, epoch));
            let covered = number.filter(|number| {
                self.rows.packages.get(number).is_some_and(|row| {
                    row.package.is_usable(self.now.seconds()) && row.package.available >= sum
                })
            });
            let what = || format!("blind tokens of epoch {epoch} have lapsed or are not covered");
            let number = covered.ok_or_else(|| Rejection::Terms { what: what() })?;
            parts.insert(epoch, (number, sum));
        }
        Ok(parts)
    }

    /// Moves what the tokens are worth into one pool.
    fn gather(
        &mut self,
        home: &Pool,
        parts: &BTreeMap<u64, (PackageNumber, MicroUnits)>,
    ) -> Result<PackageNumber, Fault> {
        let mut number = parts.get(&home.epoch).map(|(number, _)| *number);
        for (epoch, (from, sum)) in parts {
            if *epoch != home.epoch {
                self.give(TransferKind::Send, *from, *sum, POOL_MEMO)?;
                number = Some(self.fill(home, *sum)?);
            }
        }
        let missing = || super::missing(format!("pool of epoch {}", home.epoch));
        number.ok_or_else(|| missing().into())
    }

    pub(super) fn put_blind_keys(
        &mut self,
        epoch: u64,
        document: &[u8],
        leaf: &[u8],
    ) -> Result<Outcome, Fault> {
        let key = epoch.to_be_bytes().to_vec();
        if let Some(known) = self.entry(EntryKind::BlindKeys, &key) {
            let kept: KeptKeys = known.read()?;
            return Ok(Outcome::Logged { leaf_index: kept.leaf_index });
        }
        let expected = self.next_entry(EntryKind::BlindKeys);
        if epoch != expected {
            let what = format!("epoch {expected} of blind tokens is next, got {epoch}");
            return Err(Rejection::Terms { what }.into());
        }
        // Before anybody else takes the name. Who has it already is told of at the first draw.
        let _ = self.open_anonymous();
        let leaf_index = self.append(leaf);
        let kept = KeptKeys::new(document, leaf_index);
        self.enter_entry(EntryKind::BlindKeys, NOBODY, key, body(&kept));
        Ok(Outcome::Logged { leaf_index })
    }
}

/// What backs blind tokens is moved by draws and anonymous orders alone.
pub(super) fn check_spendable(row: &PackageRow) -> Result<(), Rejection> {
    if row.account == ANONYMOUS {
        let what = format!("package {} backs blind tokens", row.package.number);
        return Err(Rejection::Terms { what });
    }
    Ok(())
}
