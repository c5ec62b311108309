//! The wallet of blind tokens: what was drawn, what is on its way, what was paid and waits for its
//! change. Pure; [`crate::io::wallet`] keeps it in a file.
//!
//! Every secret is in the wallet before anything made with it is sent, so whatever dies between a
//! question and its answer, asking again gives the same answer and nothing is lost:
//!
//! ```text
//! begin_draw ─▶ send ─▶ finish_draw          the same request is paid once
//! begin_spend ─▶ send ─▶ finish_spend        the same order has the same change
//!                  └─▶ give_up               never held: the tokens are ours again
//! ```

mod draw;
mod spend;
#[cfg(test)]
mod tests;

use bulla_attestation::blind::{BlindError, Blinded, InUse, OUTPUT_BYTES, Output, Scheme};
use bulla_wire::blind::BlindKeys;
use bulla_wire::evidence::base64_bytes;
use bulla_wire::ids::{Digest, DrawId, GroupElement, HoldId, TokenInput};
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use rand_core::CryptoRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Why the wallet does not do it. What it holds is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// An amount no tokens make.
    #[error(
        "{} cannot be drawn as at most {most} blind tokens: draw a multiple of {}, or less at once",
        amount.of(unit),
        smallest.of(unit)
    )]
    Amount {
        /// Asked for.
        amount: MicroUnits,
        /// Unit of account.
        unit: Unit,
        /// Most tokens of one draw.
        most: usize,
        /// The smallest value.
        smallest: MicroUnits,
    },
    /// Too few tokens.
    #[error(
        "blind tokens for {} are needed, the wallet can pay {} at once{}: run `bulla account draw AMOUNT`",
        needed.of(unit),
        available.of(unit),
        waits(*waiting, unit)
    )]
    Insufficient {
        /// What the order may cost.
        needed: MicroUnits,
        /// What the wallet's tokens can pay.
        available: MicroUnits,
        /// What was paid and has had no change yet.
        waiting: MicroUnits,
        /// Unit of account.
        unit: Unit,
    },
    /// Not begun here, or finished before.
    #[error("the wallet waits for nothing under {id}")]
    Unknown {
        /// The draw or hold.
        id: String,
    },
    /// Another answer than was asked for.
    #[error(
        "the broker's answer is not what was asked for: {what}; nothing was taken into the wallet"
    )]
    Answer {
        /// What differs.
        what: String,
    },
    /// The broker says more was charged than the usage receipt.
    #[error(
        "the broker keeps {} of the payment of hold {hold}, its usage receipt charges {}: keep the wallet, it shows so",
        got.whole(),
        expected.whole()
    )]
    Charged {
        /// The hold.
        hold: HoldId,
        /// By the receipt.
        expected: MicroUnits,
        /// By the broker.
        got: MicroUnits,
    },
    /// Made under another key than the published one, or by nobody.
    #[error(transparent)]
    Blind(#[from] BlindError),
    /// Two documents for one epoch: the broker gives customers different keys, and so knows them.
    #[error(
        "KEYS DIFFER: epoch {epoch} of blind tokens was shown as {seen} before, now as {got}: the broker may tell customers apart; show both to an auditor"
    )]
    KeysDiffer {
        /// The epoch.
        epoch: u64,
        /// Digest seen before.
        seen: Digest,
        /// Digest now.
        got: Digest,
    },
}

fn waits(waiting: MicroUnits, unit: &Unit) -> String {
    match waiting {
        MicroUnits(0) => String::new(),
        waiting => format!(", payments of {} wait for their change", waiting.of(unit)),
    }
}

/// A token that can be spent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Epoch of its key.
    pub epoch: u64,
    /// Unit of account.
    pub unit: Unit,
    /// What it is worth.
    pub value: MicroUnits,
    /// It is taken until then.
    pub lapses_at: UnixSeconds,
    /// The token.
    input: TokenInput,
    /// What only its owner and the broker know.
    #[serde(with = "base64_bytes")]
    output: Vec<u8>,
}

impl Token {
    fn output(&self) -> Output {
        let mut output = Zeroizing::new([0; OUTPUT_BYTES]);
        let length = self.output.len().min(OUTPUT_BYTES);
        output[..length].copy_from_slice(&self.output[..length]);
        Output(output)
    }
}

/// What takes the blind off an element that was sent.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Secret {
    input: TokenInput,
    #[serde(with = "base64_bytes")]
    blind: Vec<u8>,
    element: GroupElement,
}

impl Secret {
    fn make(rng: &mut dyn CryptoRng) -> Result<Secret, BlindError> {
        let (mut input, mut uniform) = ([0; 32], Zeroizing::new([0; 64]));
        rng.fill_bytes(&mut input);
        rng.fill_bytes(uniform.as_mut());
        let blinded = InUse::blind(&input, &uniform)?;
        let (input, blind) = (TokenInput(input), blinded.blind.to_vec());
        Ok(Secret { input, blind, element: blinded.element })
    }

    fn many(count: usize, rng: &mut dyn CryptoRng) -> Result<Vec<Secret>, BlindError> {
        (0..count).map(|_| Secret::make(rng)).collect()
    }

    fn blinded(&self) -> Blinded {
        let blind = <[u8; 32]>::try_from(self.blind.as_slice()).unwrap_or_default();
        Blinded {
            input: self.input.0.to_vec(),
            blind: Zeroizing::new(blind),
            element: self.element,
        }
    }
}

/// Tokens of one value that were asked for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    value: MicroUnits,
    secrets: Vec<Secret>,
}

/// A draw whose answer has not come yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingDraw {
    /// Its name.
    pub draw: DrawId,
    /// Epoch of the keys it is made under.
    pub epoch: u64,
    /// The request, byte for byte.
    #[serde(with = "base64_bytes")]
    pub request: Vec<u8>,
    asked: Vec<Asked>,
}

/// A payment whose change has not come yet.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spend {
    /// The hold it pays for.
    pub hold: HoldId,
    /// The order is granted until then.
    pub not_after: UnixSeconds,
    /// Epoch of the keys the change is made under.
    pub epoch: u64,
    /// The payment, byte for byte.
    #[serde(with = "base64_bytes")]
    pub payment: Vec<u8>,
    /// What the usage receipt charges, once it is here.
    #[serde(default)]
    pub charge: Option<MicroUnits>,
    tokens: Vec<Token>,
    blanks: Vec<Secret>,
}

impl Spend {
    /// What its tokens are worth.
    pub fn paid(&self) -> MicroUnits {
        sum(&self.tokens)
    }

    /// Unit of account.
    pub fn unit(&self) -> Option<&Unit> {
        self.tokens.first().map(|token| &token.unit)
    }
}

/// What an epoch's keys were shown as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    epoch: u64,
    keys: Digest,
}

/// Everything. Holds secrets: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wallet {
    tokens: Vec<Token>,
    draws: Vec<PendingDraw>,
    spends: Vec<Spend>,
    seen: Vec<Seen>,
    /// Tokens that the broker says were spent before: by another copy of this wallet, or it lies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    spent: Vec<Token>,
}

fn sum(tokens: &[Token]) -> MicroUnits {
    tokens.iter().fold(MicroUnits(0), |sum, token| sum.saturating_add(token.value))
}

/// What a wallet holds in one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Holding {
    /// Unit of account.
    pub unit: Unit,
    /// Tokens that can be spent.
    pub tokens: usize,
    /// What they are worth.
    pub amount: MicroUnits,
    /// The first of them lapse then.
    pub first_lapses_at: UnixSeconds,
}

impl Wallet {
    /// Draws whose answer has not come.
    pub fn draws(&self) -> &[PendingDraw] {
        &self.draws
    }

    /// Payments whose change has not come.
    pub fn spends(&self) -> &[Spend] {
        &self.spends
    }

    /// Tokens set aside, for the broker says that they were spent before.
    pub fn spent_before(&self) -> &[Token] {
        &self.spent
    }

    /// What can be spent, by unit.
    pub fn holdings(&self, now: UnixSeconds) -> Vec<Holding> {
        let mut holdings: Vec<Holding> = Vec::new();
        for token in self.tokens.iter().filter(|token| now < token.lapses_at) {
            let first_lapses_at = token.lapses_at;
            match holdings.iter_mut().find(|holding| holding.unit == token.unit) {
                Some(known) => {
                    known.tokens += 1;
                    known.amount = known.amount.saturating_add(token.value);
                    known.first_lapses_at = known.first_lapses_at.min(first_lapses_at);
                }
                None => {
                    let (unit, amount) = (token.unit.clone(), token.value);
                    holdings.push(Holding { unit, tokens: 1, amount, first_lapses_at });
                }
            }
        }
        holdings
    }

    /// Forgets tokens that lapsed; what they were worth, by unit, is nothing any more.
    pub fn drop_lapsed(&mut self, now: UnixSeconds) -> usize {
        let before = self.tokens.len();
        self.spent.retain(|token| now < token.lapses_at);
        self.tokens.retain(|token| now < token.lapses_at);
        before - self.tokens.len()
    }

    /// Takes note of the keys an epoch is shown with. Others for the same epoch, now or ever, are
    /// refused.
    pub fn see(&mut self, epoch: u64, keys: Digest) -> Result<(), WalletError> {
        match self.seen.iter().find(|seen| seen.epoch == epoch) {
            Some(seen) if seen.keys == keys => Ok(()),
            Some(seen) => Err(WalletError::KeysDiffer { epoch, seen: seen.keys, got: keys }),
            None => {
                self.seen.push(Seen { epoch, keys });
                Ok(())
            }
        }
    }

    /// Takes blinds off: tokens of one value, proven to be made under its published key.
    fn take(
        keys: &BlindKeys,
        value: MicroUnits,
        secrets: &[Secret],
        part: &bulla_wire::blind::DrawnPart,
    ) -> Result<Vec<Token>, WalletError> {
        let no_key = || WalletError::Answer { what: format!("{value} is no value of the epoch") };
        let public = keys.key(value).ok_or_else(no_key)?;
        let blinded: Vec<Blinded> = secrets.iter().map(Secret::blinded).collect();
        let outputs = InUse::unblind(public, &blinded, &part.clone().into())?;
        let token = |(secret, output): (&Secret, Output)| Token {
            epoch: keys.epoch,
            unit: keys.unit.clone(),
            value,
            lapses_at: keys.redeem_until,
            input: secret.input,
            output: output.0.to_vec(),
        };
        Ok(secrets.iter().zip(outputs).map(token).collect())
    }
}
