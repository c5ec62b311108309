//! Blind tokens and the broker: keys that everybody has, draws, payments, change. The wallet is
//! durable before anything is sent, so each step can be taken again.

use bulla_attestation::sign::{Signed, VerifyError, verify};
use bulla_tlog::proof::{ProofError, ProofFormatError};
use bulla_tlog::{Hash, TlogProof};
use bulla_wire::blind::{BlindKeys, LoggedEpoch};
use bulla_wire::cbor::Bytes;
use bulla_wire::ids::HoldId;
use bulla_wire::leaf::Leaf;
use bulla_wire::order::Order;
use bulla_wire::problem::Problem;
use bulla_wire::units::{MicroUnits, Unit};

use super::broker::BrokerError;
use super::client::Client;
use super::log::{LogError, extends_what_was_seen};
use super::system::{SystemRng, now};
use super::transport::TransportError;
use super::wallet::WalletFileError;
use crate::log::{LogRefusal, judge_leaf};

/// Why blind tokens are not drawn, spent or taken.
#[derive(Debug, thiserror::Error)]
pub enum AnonymousError {
    /// The broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletFileError),
    /// Nothing says what everybody sees.
    #[error(
        "log_key under [broker] must name the log's verifier key: without it nobody knows whether these keys are shown to everybody"
    )]
    NoLogKey,
    /// Not signed by the broker's root key.
    #[error("keys of blind tokens: {0}")]
    Signature(#[from] VerifyError),
    /// Values that divide nothing, or times that end before they begin.
    #[error("keys of blind tokens, epoch {epoch}: values or times make no sense")]
    Unsound {
        /// The epoch.
        epoch: u64,
    },
    /// Not a tlog-proof.
    #[error("proof of the keys of blind tokens: {0}")]
    Format(#[from] ProofFormatError),
    /// Not in the log.
    #[error("keys of blind tokens are not in the log: {0}")]
    Proof(#[from] ProofError),
    /// Not in the log as it must be.
    #[error("keys of blind tokens: {0}")]
    Refused(#[from] LogRefusal),
    /// The head that shows them.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No epoch to draw from, or to have change from.
    #[error("the broker shows no keys for blind tokens in {unit} now")]
    NoEpoch {
        /// Unit of account.
        unit: Unit,
    },
}

/// What became of payments that waited for their change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Collected {
    /// What came back.
    pub amount: MicroUnits,
    /// Payments that wait still.
    pub waiting: usize,
}

type Answer<T> = Result<T, AnonymousError>;

/// The keys in use, each signed by the broker's root key, in the log, and the one that was shown
/// for its epoch before.
pub async fn keys(client: &Client) -> Answer<Vec<Signed<BlindKeys>>> {
    let shown = client.broker().blind_keys().await?;
    let mut all = Vec::new();
    for epoch in &shown.epochs {
        all.push(judge(client, epoch).await?);
    }
    client
        .wallet()
        .change(|wallet| all.iter().try_for_each(|keys| wallet.see(keys.epoch, keys.digest())))?;
    Ok(all)
}

async fn judge(client: &Client, shown: &LoggedEpoch) -> Answer<Signed<BlindKeys>> {
    let keys: Signed<BlindKeys> = verify(&shown.keys.0, &client.config().broker.root_key)?;
    if !keys.is_sound() {
        return Err(AnonymousError::Unsound { epoch: keys.epoch });
    }
    let leaf = Leaf::BlindKeys { keys: Bytes(shown.keys.0.clone()) }.to_vec();
    let proof = shown.proof.as_bytes();
    match client.collateral().log_rule() {
        Some(rule) => {
            let head = judge_leaf(proof, &leaf, rule, now().seconds())?;
            extends_what_was_seen(client.broker(), client.folder(), rule, &head).await?;
        }
        None => {
            let key = client.log_key().ok_or(AnonymousError::NoLogKey)?;
            TlogProof::parse(proof)?.verify(Hash::leaf(&leaf), key, None)?;
        }
    }
    Ok(keys)
}

/// The keys that tokens of a unit are made under now.
fn current<'a>(keys: &'a [Signed<BlindKeys>], unit: &Unit) -> Answer<&'a Signed<BlindKeys>> {
    let now = now().seconds();
    let mut current = keys.iter().filter(|keys| keys.unit == *unit && now < keys.issue_until);
    current.next_back().ok_or_else(|| AnonymousError::NoEpoch { unit: unit.clone() })
}

/// Draws `amount` of the account's packages as blind tokens.
pub async fn draw(client: &Client, unit: &Unit, amount: MicroUnits) -> Answer<MicroUnits> {
    let keys = keys(client).await?;
    let epoch = current(&keys, unit)?;
    client.wallet().change(|wallet| wallet.begin_draw(epoch, amount, &mut SystemRng::new()))?;
    finish_draws(client, &keys).await
}

/// Asks again for what was drawn and never answered: paid once, however often it is asked.
pub async fn resume_draws(client: &Client) -> Answer<MicroUnits> {
    if client.wallet().read()?.draws().is_empty() {
        return Ok(MicroUnits(0));
    }
    finish_draws(client, &keys(client).await?).await
}

async fn finish_draws(client: &Client, keys: &[Signed<BlindKeys>]) -> Answer<MicroUnits> {
    let mut drawn = MicroUnits(0);
    for pending in client.wallet().read()?.draws() {
        let answer = match client.broker().draw(&pending.request).await {
            Err(error) if is_final(&error) || is_over(&error, pending.epoch, keys) => {
                client.wallet().change(|wallet| {
                    wallet.drop_draw(&pending.draw);
                    Ok(())
                })?;
                return Err(error.into());
            }
            answer => answer?,
        };
        let Some(epoch) = keys.iter().find(|keys| keys.epoch == pending.epoch) else { continue };
        let taken =
            client.wallet().change(|wallet| wallet.finish_draw(&pending.draw, epoch, &answer))?;
        drawn = drawn.saturating_add(taken);
    }
    Ok(drawn)
}

/// Whether the broker said no before anything was paid, and will say so again.
fn is_final(error: &BrokerError) -> bool {
    let BrokerError::Transport(TransportError::Problem(refusal)) = error else { return false };
    matches!(refusal.problem, Problem::InsufficientBalance | Problem::BadRequest)
}

/// Whether an epoch has lapsed, and not only its keys wait to be shown again: then later ones are
/// shown without it.
fn is_over(error: &BrokerError, epoch: u64, keys: &[Signed<BlindKeys>]) -> bool {
    let BrokerError::Transport(TransportError::Problem(refusal)) = error else { return false };
    refusal.problem == Problem::NotFound
        && keys.iter().all(|shown| shown.epoch != epoch)
        && keys.iter().any(|shown| shown.epoch > epoch)
}

/// What pays for an order: kept in the wallet before it is given out.
pub async fn pay(client: &Client, order: &Signed<Order>) -> Answer<Vec<u8>> {
    let keys = keys(client).await?;
    let epoch = current(&keys, &order.unit)?;
    let now = now().seconds();
    let pay = client
        .wallet()
        .change(|wallet| wallet.begin_spend(epoch, order, now, &mut SystemRng::new()))?;
    Ok(pay)
}

/// Takes note of an order that the broker refused for a token that was spent before, as one is that
/// comes out of an older copy of the wallet.
pub fn refused(client: &Client, hold: &HoldId, error: &TransportError) -> Answer<()> {
    let TransportError::Problem(refusal) = error else { return Ok(()) };
    if refusal.spent.is_empty() {
        return Ok(());
    }
    Ok(client.wallet().change(|wallet| {
        wallet.set_aside(hold, &refusal.spent);
        Ok(())
    })?)
}

/// Notes what a usage receipt charges.
pub fn charged(client: &Client, hold: &HoldId, charge: MicroUnits) -> Answer<()> {
    Ok(client.wallet().change(|wallet| {
        wallet.charged(hold, charge);
        Ok(())
    })?)
}

/// Takes in the change of every payment that has ended.
pub async fn collect(client: &Client) -> Answer<Collected> {
    let spends = client.wallet().read()?.spends().to_vec();
    let mut collected = Collected::default();
    if spends.is_empty() {
        return Ok(collected);
    }
    let keys = keys(client).await?;
    for spend in spends {
        let change = match client.broker().change(&spend.hold).await {
            Ok(change) => change,
            Err(BrokerError::Transport(TransportError::Problem(refusal))) => {
                let over = refusal.problem == Problem::NotFound
                    && client
                        .wallet()
                        .change(|wallet| Ok(wallet.give_up(&spend.hold, now().seconds())))?;
                match over {
                    true => collected.amount = collected.amount.saturating_add(spend.paid()),
                    false => collected.waiting += 1,
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some(epoch) = keys.iter().find(|keys| keys.epoch == spend.epoch) else {
            collected.waiting += 1;
            continue;
        };
        let back = client.wallet().change(|wallet| wallet.finish_spend(epoch, &change))?;
        collected.amount = collected.amount.saturating_add(back);
    }
    Ok(collected)
}
