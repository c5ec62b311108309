//! Records: believed, judged, settled and logged.

use bulla_attestation::sign::{Signed, verify_order};
use bulla_tlog::SignedCheckpoint;
use bulla_wire::epoch::EpochOpen;
use bulla_wire::ids::InstanceId;
use bulla_wire::problem::Problem;
use bulla_wire::pull::{OutboxRecord, RecordPlace};
use bulla_wire::receipt::UsageReceipt;
use bulla_wire::units::UnixMillis;

use super::event::Purpose;
use super::{Broker, BrokerError, Effect, RequestId};
use crate::catalogue::Stage;
use crate::ledger::{
    ArchivedKeyset, Charge, Command, Outcome, Queries, RecordKind, Rejection, Settlement,
    StoreError,
};
use crate::record::{RecordError, Verified, claimed_keyset, verify};
use crate::settlement::{SettlementError, judge};

/// A record the ledger has answered on.
pub(super) struct Recorded {
    /// Who waits for its settlement.
    pub(super) request: Option<RequestId>,
    /// The enclave whose epoch it opens.
    pub(super) opens: Option<InstanceId>,
    /// The record.
    pub(super) bytes: Vec<u8>,
}

/// A record ready for the ledger, or why it is not believed.
type Judged = Result<Command, String>;

impl Broker {
    pub(super) fn record(
        &mut self,
        request: Option<RequestId>,
        bytes: &[u8],
        view: &dyn Queries,
    ) -> Result<Vec<Effect>, BrokerError> {
        match self.judge_record(bytes, view)? {
            Ok(command) => {
                self.look_again_after_close(&command);
                let purpose = Purpose::Record { request, opens: None, bytes: bytes.to_vec() };
                Ok(vec![self.commit_one(command, purpose)])
            }
            Err(what) => {
                let mut effects = vec![self.keep_anomaly(what.clone(), bytes)];
                let refuse = |request| Effect::refuse(request, Problem::Internal, what);
                effects.extend(request.map(refuse));
                Ok(effects)
            }
        }
    }

    /// An enclave that closed its epoch has new keys soon.
    fn look_again_after_close(&mut self, command: &Command) {
        if let Command::Record(record) = command
            && record.kind == RecordKind::Close
        {
            self.look_again(&record.epoch);
        }
    }

    fn keep_anomaly(&mut self, what: String, bytes: &[u8]) -> Effect {
        let command = Command::KeepAnomaly { what, bytes: bytes.to_vec() };
        self.commit_one(command, Purpose::Housekeeping)
    }

    /// All of an outbox's answer in one batch; acknowledged once that is durable.
    pub(super) fn pulled(
        &mut self,
        instance: &InstanceId,
        records: &[OutboxRecord],
        view: &dyn Queries,
    ) -> Result<Option<Effect>, BrokerError> {
        self.pull_answered(instance, records.len());
        if records.is_empty() {
            return Ok(None);
        }
        let (mut commands, mut purposes) = (Vec::new(), Vec::new());
        for record in records {
            let bytes = &record.record.0;
            match self.judge_record(bytes, view)? {
                Ok(command) => {
                    self.look_again_after_close(&command);
                    commands.push(command);
                    let opens = None;
                    purposes.push(Purpose::Record { request: None, opens, bytes: bytes.clone() });
                }
                Err(what) => {
                    commands.push(Command::KeepAnomaly { what, bytes: bytes.clone() });
                    purposes.push(Purpose::Housekeeping);
                }
            }
        }
        let places = Some((instance.clone(), last_places(records)));
        Ok(Some(self.commit_and_acknowledge(commands, purposes, places)))
    }

    pub(super) fn epoch_opened(
        &mut self,
        instance: &InstanceId,
        bytes: &[u8],
        view: &dyn Queries,
        now: UnixMillis,
    ) -> Result<Effect, BrokerError> {
        match self.judge_record(bytes, view)? {
            Ok(command) => {
                let opens = Some(instance.clone());
                let purpose = Purpose::Record { request: None, opens, bytes: bytes.to_vec() };
                Ok(self.commit_one(command, purpose))
            }
            Err(what) => {
                self.failed(instance, true, now);
                Ok(self.keep_anomaly(what, bytes))
            }
        }
    }

    fn judge_record(&self, bytes: &[u8], view: &dyn Queries) -> Result<Judged, StoreError> {
        let keyset = match claimed_keyset(bytes) {
            Ok(keyset) => keyset,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(archived) = view.keyset(&keyset)? else {
            return Ok(Err(RecordError::UnknownKeyset { keyset }.to_string()));
        };
        let verified = match verify(bytes, &archived) {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let charge = match &verified {
            Verified::Receipt(receipt) => charge(receipt, view)?,
            Verified::Open(open) => match self.check_parent(open, &archived, view)? {
                Ok(()) => Charge::None,
                Err(what) => return Ok(Err(what)),
            },
            Verified::Close(_) => Charge::None,
        };
        Ok(Ok(Command::Record(Box::new(verified.into_record(charge)))))
    }

    /// The epoch is not older than its parent: a checkpoint of this very log that covers the
    /// keyset. A record that is logged already was judged then.
    fn check_parent(
        &self,
        open: &Signed<EpochOpen>,
        keyset: &ArchivedKeyset,
        view: &dyn Queries,
    ) -> Result<Result<(), String>, StoreError> {
        if view.record(&open.digest())?.is_some() {
            return Ok(Ok(()));
        }
        if open.evidence != keyset.evidence {
            return Ok(Err(format!(
                "epoch names evidence {}, its keyset was archived with {}",
                open.evidence, keyset.evidence
            )));
        }
        let parent = match SignedCheckpoint::open(&open.parent.0, &self.keys.log_verifier()) {
            Ok(parent) => parent,
            Err(error) => return Ok(Err(format!("parent of the epoch: {error}"))),
        };
        let (size, root) = (parent.checkpoint().size(), parent.checkpoint().root());
        if size <= keyset.leaf_index {
            return Ok(Err(format!(
                "parent of the epoch is stale: it has {size} leaves, the keyset is leaf {}",
                keyset.leaf_index
            )));
        }
        match self.log.root_at(size) {
            Ok(ours) if ours == root => Ok(Ok(())),
            Ok(ours) => Ok(Err(format!("parent of the epoch has root {root}, the log {ours}"))),
            Err(error) => Ok(Err(format!("parent of the epoch: {error}"))),
        }
    }

    pub(super) fn recorded(
        &mut self,
        record: Recorded,
        result: Result<Outcome, Rejection>,
        rejected: &mut Vec<Command>,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Recorded { request, opens, bytes } = record;
        match result {
            Ok(Outcome::Recorded { leaf_index, settlement, .. }) => {
                if let (Some(instance), Some(leaf)) = (opens, leaf_index) {
                    self.epoch_is_open(&instance, leaf);
                }
                request.map(|request| Effect::Settled { request, settlement }).into_iter().collect()
            }
            Ok(_) => Vec::new(),
            Err(no) => {
                if let Some(instance) = opens {
                    self.failed(&instance, true, now);
                }
                // Two records for one place, or a chain that breaks: this epoch's enclave lies.
                if let Rejection::RecordConflict { epoch, .. }
                | Rejection::ChainBroken { epoch, .. } = &no
                {
                    self.distrust(*epoch, now);
                }
                let what = no.to_string();
                rejected.push(Command::KeepAnomaly { what: what.clone(), bytes });
                let settlement = Settlement::Flagged { why: what };
                request.map(|request| Effect::Settled { request, settlement }).into_iter().collect()
            }
        }
    }

    /// The epoch is logged. Its enclave serves once everybody can see that.
    pub(super) fn epoch_is_open(&mut self, instance: &InstanceId, leaf: u64) {
        if leaf >= self.log.published_size() {
            self.opening.push((instance.clone(), leaf));
            return;
        }
        if let Some(Stage::Opening(serving)) = self.catalogue.stage(instance).cloned() {
            self.catalogue.set(instance, Stage::Ready(serving));
        }
    }
}

/// What a believed receipt does to the ledger.
fn charge(receipt: &Signed<UsageReceipt>, view: &dyn Queries) -> Result<Charge, StoreError> {
    let judged = match view.hold(&receipt.hold)? {
        None => Err(SettlementError::NoHold { got: receipt.hold }.to_string()),
        Some(hold) => match verify_order(&hold.order) {
            Ok(order) => judge(receipt, &order, hold.amount).map_err(|error| error.to_string()),
            Err(error) => {
                let what = format!("order of hold {}: {error}", hold.hold);
                return Err(StoreError::Damaged { what });
            }
        },
    };
    let hold = receipt.hold;
    Ok(match (judged, receipt.interim) {
        (Ok(amount), None) => Charge::Final { hold, amount },
        (Ok(amount), Some(index)) => Charge::Interim { hold, index, amount },
        (Err(why), _) => Charge::Flagged { why },
    })
}

/// The last place of each epoch in an outbox's answer.
fn last_places(records: &[OutboxRecord]) -> Vec<RecordPlace> {
    let mut places: Vec<RecordPlace> = Vec::new();
    for OutboxRecord { epoch, seq, .. } in records {
        match places.iter_mut().find(|place| place.epoch == *epoch) {
            Some(place) => place.seq = place.seq.max(*seq),
            None => places.push(RecordPlace { epoch: *epoch, seq: *seq }),
        }
    }
    places
}
