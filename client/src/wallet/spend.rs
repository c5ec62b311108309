//! Blind tokens pay for an order, and what is left of them comes back as others.

use bulla_attestation::blind::tag;
use bulla_attestation::sign::Signed;
use bulla_wire::blind::{
    Blanks, BlindKeys, Change, MAX_BLANKS, MAX_SPENT_TOKENS, Payment, SpentToken,
};
use bulla_wire::cbor;
use bulla_wire::ids::{HoldId, TokenInput};
use bulla_wire::order::Order;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use rand_core::CryptoRng;

use super::{Secret, Spend, Token, Wallet, WalletError, sum};

/// How long after an order's end the broker may still be answering it, in seconds.
const GRACE_SECONDS: u64 = 600;

impl Wallet {
    /// The payment of an order: made now, or as it was made before. Keep the wallet, then send it.
    pub fn begin_spend(
        &mut self,
        keys: &BlindKeys,
        order: &Signed<Order>,
        now: UnixSeconds,
        rng: &mut dyn CryptoRng,
    ) -> Result<Vec<u8>, WalletError> {
        if let Some(known) = self.spends.iter().find(|spend| spend.hold == order.hold) {
            return Ok(known.payment.clone());
        }
        let chosen = self.choose(&order.unit, order.max_charge, now)?;
        let tokens: Vec<Token> = chosen.iter().map(|place| self.tokens[*place].clone()).collect();
        let largest = keys.keys.last().map_or(1, |key| key.value.0.max(1));
        let most = sum(&tokens).0 / largest + keys.keys.len() as u64;
        let blanks = Secret::many(most.min(MAX_BLANKS as u64) as usize, rng)?;
        let show = |token: &Token| SpentToken {
            epoch: token.epoch,
            value: token.value,
            input: token.input,
            tag: tag(&token.output(), &order.digest()),
        };
        let blinded = blanks.iter().map(|secret| secret.element).collect();
        let payment = cbor::to_vec(&Payment {
            tokens: tokens.iter().map(show).collect(),
            change: Some(Blanks { epoch: keys.epoch, blinded }),
        });
        let mut place = 0;
        self.tokens.retain(|_| {
            place += 1;
            !chosen.contains(&(place - 1))
        });
        self.spends.push(Spend {
            hold: order.hold,
            not_after: order.not_after,
            epoch: keys.epoch,
            payment: payment.clone(),
            charge: None,
            tokens,
            blanks,
        });
        Ok(payment)
    }

    /// Places of tokens that cover `needed`: the largest that fit, then the smallest that covers
    /// what is left.
    fn choose(
        &self,
        unit: &Unit,
        needed: MicroUnits,
        now: UnixSeconds,
    ) -> Result<Vec<usize>, WalletError> {
        let usable = |(_, token): &(usize, &Token)| token.unit == *unit && now < token.lapses_at;
        let mut usable: Vec<(usize, &Token)> =
            self.tokens.iter().enumerate().filter(usable).collect();
        // Of equal ones those that lapse first.
        usable.sort_by_key(|(_, token)| (std::cmp::Reverse(token.value), token.lapses_at));
        let (mut chosen, mut left) = (Vec::new(), needed);
        for (place, token) in &usable {
            if token.value <= left && chosen.len() < MAX_SPENT_TOKENS {
                chosen.push(*place);
                left = left.saturating_sub(token.value);
            }
        }
        if left > MicroUnits(0) || chosen.is_empty() {
            let covers =
                |(place, token): &&(usize, &Token)| !chosen.contains(place) && token.value >= left;
            match usable.iter().rev().find(covers) {
                Some((place, _)) if chosen.len() < MAX_SPENT_TOKENS => chosen.push(*place),
                Some((place, token)) if token.value >= needed => chosen = vec![*place],
                _ => {
                    let most = usable.iter().take(MAX_SPENT_TOKENS);
                    let available =
                        most.fold(MicroUnits(0), |sum, (_, token)| sum.saturating_add(token.value));
                    let paid = self.spends.iter().filter(|spend| spend.unit() == Some(unit));
                    let waiting =
                        paid.fold(MicroUnits(0), |sum, spend| sum.saturating_add(spend.paid()));
                    let unit = unit.clone();
                    return Err(WalletError::Insufficient { needed, available, waiting, unit });
                }
            }
        }
        Ok(chosen)
    }

    /// Takes note of what a usage receipt charges, so that the change can be held against it.
    pub fn charged(&mut self, hold: &HoldId, charge: MicroUnits) {
        if let Some(spend) = self.spends.iter_mut().find(|spend| spend.hold == *hold) {
            spend.charge = Some(charge);
        }
    }

    /// Takes in the change of an order: all of it, or nothing.
    pub fn finish_spend(
        &mut self,
        keys: &BlindKeys,
        change: &Change,
    ) -> Result<MicroUnits, WalletError> {
        let hold = change.hold;
        let unknown = || WalletError::Unknown { id: format!("hold {hold}") };
        let place = self.spends.iter().position(|one| one.hold == hold).ok_or_else(unknown)?;
        let spend = &self.spends[place];
        let other = |what: &str| Err(WalletError::Answer { what: what.to_owned() });
        if change.epoch != Some(spend.epoch) || keys.epoch != spend.epoch {
            return other("the change is of another epoch");
        }
        if change.paid != spend.paid() {
            return other("the payment was worth something else");
        }
        if let Some(expected) = spend.charge.filter(|charge| change.charged > *charge) {
            return Err(WalletError::Charged { hold, expected, got: change.charged });
        }
        let left = change.paid.saturating_sub(change.charged);
        let (counts, kept) = keys.change(left, spend.blanks.len());
        let given = change.parts.iter().map(|part| (part.value, part.evaluated.len()));
        if !given.eq(counts.iter().copied()) || change.kept != kept {
            return other("the change is not what was left");
        }
        let (mut tokens, mut used) = (Vec::new(), 0);
        for part in &change.parts {
            let secrets = &spend.blanks[used..used + part.evaluated.len()];
            tokens.extend(Wallet::take(keys, part.value, secrets, part)?);
            used += part.evaluated.len();
        }
        let amount = sum(&tokens);
        self.tokens.extend(tokens);
        self.spends.remove(place);
        Ok(amount)
    }

    /// The broker refused a payment, for tokens it names were spent before. They are set aside, so
    /// that the next payment is made of others; those it does not name are ours again. Of a payment
    /// that it names nothing of, nothing changes.
    pub fn set_aside(&mut self, hold: &HoldId, spent_before: &[TokenInput]) {
        let Some(place) = self.spends.iter().position(|spend| spend.hold == *hold) else { return };
        let named = |token: &Token| spent_before.contains(&token.input);
        if !self.spends[place].tokens.iter().any(named) {
            return;
        }
        let (spent, ours): (Vec<Token>, Vec<Token>) =
            self.spends.remove(place).tokens.into_iter().partition(named);
        self.spent.extend(spent);
        self.tokens.extend(ours);
    }

    /// The broker knows of no hold. Once the order cannot be granted any more its tokens are ours
    /// again; true if they are.
    pub fn give_up(&mut self, hold: &HoldId, now: UnixSeconds) -> bool {
        let over = |spend: &Spend| {
            spend.hold == *hold && now > spend.not_after.saturating_add(UnixSeconds(GRACE_SECONDS))
        };
        let Some(place) = self.spends.iter().position(over) else { return false };
        let spend = self.spends.remove(place);
        self.tokens.extend(spend.tokens);
        true
    }
}
