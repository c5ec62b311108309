//! What a bundle shows, beside what is wrong with it: what a report for people begins with.

use std::collections::BTreeMap;

use bulla_wire::decision::Decision;
use bulla_wire::ids::{AccountHandle, Digest, EpochId, HoldId, InstanceId, PublicKey};
use bulla_wire::receipt::SecurityMode;
use bulla_wire::units::{MicroUnits, Unit, UnixSeconds};
use serde::Serialize;

use super::AuditTrust;
use super::join::ANONYMOUS;
use super::ledger::Ledger;
use super::log::Log;
use super::survey::Context;

/// Most open holds listed; those beyond are counted.
pub const MAX_OPEN_HOLDS: usize = 1000;

/// Whom and what a bundle is about, and under whose word it was judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Origin of the log.
    pub origin: String,
    /// When the bundle was made, by its maker's clock.
    pub created_at: UnixSeconds,
    /// Whose view it is, where it is one account's.
    pub account: Option<AccountHandle>,
    /// The newest checkpoint.
    pub checkpoint: Option<CheckpointFact>,
    /// Whom the auditor believed.
    pub trust: TrustFact,
    /// Every epoch, in the order of the log.
    pub epochs: Vec<EpochFact>,
    /// Every account and unit: what the ledger sums to.
    pub accounts: Vec<AccountFact>,
    /// What became of orders.
    pub orders: Orders,
    /// Holds that nothing has ended.
    pub open_holds: Vec<OpenHold>,
    /// How many there are.
    pub open_hold_count: u64,
}

/// A signed state of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckpointFact {
    /// Leaves.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
}

/// What the auditor took for true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustFact {
    /// Verifier keys of the log.
    pub log_keys: Vec<String>,
    /// The broker's root key.
    pub broker_root: PublicKey,
    /// Labels of the hardware roots.
    pub roots: Vec<String>,
    /// Name of the appraisal policy.
    pub policy: String,
    /// Digest of its text.
    pub policy_digest: Digest,
}

/// One life of an enclave's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochFact {
    /// Its id.
    pub epoch: EpochId,
    /// The enclave.
    pub instance: InstanceId,
    /// Digest of its keyset.
    pub keyset: Digest,
    /// Digest of its evidence.
    pub evidence: Digest,
    /// Digest of the measured configuration.
    pub configuration: Digest,
    /// When it opened.
    pub opened_at: UnixSeconds,
    /// What stands behind it; `None` where the evidence is missing or refused.
    pub security: Option<SecurityMode>,
    /// Highest place of a receipt in the log, or 0.
    pub receipts: u64,
    /// Whether it was closed.
    pub closed: bool,
}

/// What the ledger sums to for one account and unit; what exceeds 64 bits is cut to the largest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountFact {
    /// The account, by the broker's number.
    pub account: u64,
    /// The unit of account.
    pub unit: Unit,
    /// What entered.
    pub issued: MicroUnits,
    /// What was spent.
    pub charged: MicroUnits,
    /// What was given back.
    pub refunded: MicroUnits,
    /// What lapsed.
    pub lapsed: MicroUnits,
    /// What is left, holds not counted.
    pub available: MicroUnits,
    /// What is held.
    pub held: MicroUnits,
    /// What the broker claims to have charged; `None` without an invoice.
    pub invoiced: Option<MicroUnits>,
}

/// What became of orders, as far as the bundle shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Orders {
    /// How often the log has each decision.
    pub decisions: BTreeMap<Decision, u64>,
    /// Answered, or ended by their customer.
    pub served: u64,
    /// Ended by a fault of an enclave, or refused there.
    pub failed: u64,
    /// Granted and never answered: no receipt, and their holds ended.
    pub unanswered: u64,
    /// Refused for a reason on the broker's side: no enclave, no prices, no room.
    pub turned_away: u64,
    /// Served orders per million, those refused for the customer's own reasons left out.
    pub availability_ppm: u32,
}

/// A hold that nothing has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenHold {
    /// Its id.
    pub hold: HoldId,
    /// The account.
    pub account: u64,
    /// What is still held.
    pub left: MicroUnits,
    /// When it must be released at the latest, where its grant says so.
    pub settle_by: Option<UnixSeconds>,
}

/// An account as people read it: its number, or that an order named none.
pub fn account_name(account: u64) -> String {
    match account {
        ANONYMOUS => "anonymous".to_owned(),
        number => number.to_string(),
    }
}

/// A sum as an amount.
pub(super) fn cut(sum: u128) -> MicroUnits {
    MicroUnits(u64::try_from(sum).unwrap_or(u64::MAX))
}

/// The holds that must end first, of any number.
#[derive(Debug, Default)]
pub(super) struct OpenHolds {
    first: BTreeMap<(Option<UnixSeconds>, HoldId), OpenHold>,
    pub(super) count: u64,
}

impl OpenHolds {
    pub(super) fn add(&mut self, hold: OpenHold) {
        self.count += 1;
        self.first.insert((hold.settle_by, hold.hold), hold);
        if self.first.len() > MAX_OPEN_HOLDS {
            self.first.pop_last();
        }
    }
}

pub(super) fn facts(
    trust: &AuditTrust,
    context: &Context,
    (log, ledger): (&Log, &Ledger),
    orders: Orders,
    open: OpenHolds,
) -> Facts {
    Facts {
        origin: context.origin.clone(),
        created_at: context.created_at,
        account: context.account,
        checkpoint: context.newest.as_ref().map(|newest| CheckpointFact {
            size: newest.checkpoint().size(),
            root: Digest(*newest.checkpoint().root().as_bytes()),
        }),
        trust: TrustFact {
            log_keys: trust.log_keys.iter().map(ToString::to_string).collect(),
            broker_root: trust.broker_root,
            roots: trust.anchors.iter().map(|anchor| anchor.label().to_owned()).collect(),
            policy: trust.policy.name().to_owned(),
            policy_digest: trust.policy.digest(),
        },
        epochs: epochs(context, log),
        accounts: ledger.accounts(),
        orders,
        open_hold_count: open.count,
        open_holds: open.first.into_values().collect(),
    }
}

fn epochs(context: &Context, log: &Log) -> Vec<EpochFact> {
    let mut epochs: Vec<_> = context.epochs.iter().collect();
    epochs.sort_by_key(|(_, epoch)| epoch.leaf);
    let fact = |(id, epoch): (&EpochId, &super::epoch::Epoch)| EpochFact {
        epoch: *id,
        instance: epoch.issuer.clone(),
        keyset: epoch.keyset,
        evidence: epoch.evidence,
        configuration: epoch.configuration,
        opened_at: epoch.opened_at,
        security: epoch.keys.as_ref().map(|keys| match keys.simulated {
            true => SecurityMode::Simulated,
            false => SecurityMode::Hardware,
        }),
        receipts: log.highest(id),
        closed: log.is_closed(id),
    };
    epochs.into_iter().map(fact).collect()
}
