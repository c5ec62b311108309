//! Looking after enclaves: appraise, archive, open the epoch, pull the outbox.

use std::collections::VecDeque;

use bulla_wire::cbor::Bytes;
use bulla_wire::epoch::EpochOffer;
use bulla_wire::ids::{Digest, EpochId, InstanceId};
use bulla_wire::pull::{MAX_PULLED_RECORDS, Pull, RecordPlace};
use bulla_wire::units::UnixMillis;

use super::event::Purpose;
use super::{Broker, Effect};
use crate::catalogue::{Appraised, Stage};
use crate::ledger::{Command, Outcome, Rejection};

/// How often enclaves are looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullTimes {
    /// Between two pulls of an idle outbox, in milliseconds.
    pub pull_every_ms: u64,
    /// Between two appraisals of a served enclave, in milliseconds.
    pub appraise_every_ms: u64,
    /// Between two attempts to reach an enclave, in milliseconds.
    pub retry_ms: u64,
    /// An answer is awaited this long, in milliseconds, before asking again.
    pub patience_ms: u64,
}

impl Default for PullTimes {
    fn default() -> PullTimes {
        PullTimes {
            pull_every_ms: 2_000,
            appraise_every_ms: 300_000,
            retry_ms: 2_000,
            patience_ms: 30_000,
        }
    }
}

/// When an enclave was last asked what.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Leaf of the keyset it serves under, once that is logged.
    keyset_leaf: Option<u64>,
    appraise_at: UnixMillis,
    open_at: UnixMillis,
    pull_at: UnixMillis,
    pulling: bool,
    /// What the pull in flight acknowledges.
    told: Option<RecordPlace>,
    /// What the next pulls have to acknowledge.
    acknowledged: VecDeque<RecordPlace>,
}

fn after(now: UnixMillis, ms: u64) -> UnixMillis {
    now.saturating_add(UnixMillis(ms))
}

impl Broker {
    pub(super) fn look_after_enclaves(&mut self, now: UnixMillis) -> Vec<Effect> {
        let mut effects = Vec::new();
        for instance in self.catalogue.instances() {
            effects.extend(self.appraise_if_due(&instance, now));
            effects.extend(self.open_if_due(&instance, now));
            effects.extend(self.pull_if_due(&instance, now));
        }
        effects
    }

    fn appraise_if_due(&mut self, instance: &InstanceId, now: UnixMillis) -> Option<Effect> {
        let times = self.settings.pulls;
        let round = self.rounds.get_mut(instance)?;
        if now < round.appraise_at {
            return None;
        }
        // Should the answer be lost, ask again; when it comes it sets the next date.
        round.appraise_at = after(now, times.patience_ms);
        Some(Effect::Appraise { instance: instance.clone() })
    }

    /// Offers the published head as the parent of the epoch, once it covers the keyset.
    pub(super) fn open_if_due(&mut self, instance: &InstanceId, now: UnixMillis) -> Option<Effect> {
        let Some(Stage::Opening(serving)) = self.catalogue.stage(instance) else {
            return None;
        };
        let keyset = serving.keyset;
        let delegation = self.delegation.as_ref()?.bytes().to_vec();
        let patience_ms = self.settings.pulls.patience_ms;
        let parent = Bytes(self.log.published().ok()?.to_bytes());
        let covered = self.log.published_size();
        let round = self.rounds.get_mut(instance)?;
        if now < round.open_at || round.keyset_leaf.is_none_or(|leaf| leaf >= covered) {
            return None;
        }
        round.open_at = after(now, patience_ms);
        let offer = EpochOffer { issued_at: now.seconds(), keyset, parent };
        let offer = self.keys.grant().sign(offer).bytes().to_vec();
        Some(Effect::OpenEpoch { instance: instance.clone(), offer, delegation })
    }

    /// The keyset an enclave answers pulls under, once it is archived.
    fn audience(&self, instance: &InstanceId) -> Option<Digest> {
        match self.catalogue.stage(instance)? {
            Stage::Opening(serving) | Stage::Ready(serving) => Some(serving.keyset),
            Stage::Unknown | Stage::Archiving(_) => None,
        }
    }

    fn pull_if_due(&mut self, instance: &InstanceId, now: UnixMillis) -> Option<Effect> {
        let keyset = self.audience(instance)?;
        let delegation = self.delegation.as_ref()?.bytes().to_vec();
        let PullTimes { patience_ms, .. } = self.settings.pulls;
        let round = self.rounds.get_mut(instance)?;
        if now < round.pull_at {
            return None;
        }
        round.pulling = true;
        round.pull_at = after(now, patience_ms);
        let acknowledged = round.acknowledged.front().cloned();
        round.told.clone_from(&acknowledged);
        let pull = Pull { issued_at: now.seconds(), keyset, acknowledged };
        let pull = self.keys.grant().sign(pull).bytes().to_vec();
        Some(Effect::Pull { instance: instance.clone(), pull, delegation })
    }

    /// A receipt waits in the outbox: pull at the next tick.
    pub(super) fn pull_soon(&mut self, instance: &InstanceId) {
        if let Some(round) = self.rounds.get_mut(instance)
            && !round.pulling
        {
            round.pull_at = UnixMillis(0);
        }
    }

    /// The pull arrived, and with it what it acknowledged.
    pub(super) fn pull_answered(&mut self, instance: &InstanceId, records: usize) {
        let every_ms = self.settings.pulls.pull_every_ms;
        let patience_ms = self.settings.pulls.patience_ms;
        let Some(round) = self.rounds.get_mut(instance) else {
            return;
        };
        round.pulling = false;
        if let Some(told) = round.told.take() {
            round.acknowledged.retain(|place| *place != told);
        }
        // `pull_at` was set to the time of asking plus our patience.
        let asked_at = round.pull_at.saturating_sub(UnixMillis(patience_ms));
        let more = records >= MAX_PULLED_RECORDS || !round.acknowledged.is_empty();
        round.pull_at = if more { UnixMillis(0) } else { after(asked_at, every_ms) };
    }

    /// These places are durable here: the next pulls say so.
    pub(super) fn acknowledge(&mut self, places: Option<(InstanceId, Vec<RecordPlace>)>) {
        let Some((instance, places)) = places else {
            return;
        };
        if let Some(round) = self.rounds.get_mut(&instance) {
            round.acknowledged.retain(|old| places.iter().all(|new| new.epoch != old.epoch));
            round.acknowledged.extend(places);
            round.pull_at = UnixMillis(0);
        }
    }

    pub(super) fn appraised(&mut self, appraised: &Appraised, now: UnixMillis) -> Option<Effect> {
        let instance = appraised.instance().clone();
        let every_ms = self.settings.pulls.appraise_every_ms;
        self.rounds.get_mut(&instance)?.appraise_at = after(now, every_ms);
        let serving = appraised.serving();
        if self.distrusted.contains(&EpochId::of_keyset(&serving.keyset)) {
            self.catalogue.set(&instance, Stage::Unknown);
            return None;
        }
        let refreshed = match self.catalogue.stage(&instance)? {
            Stage::Opening(old) if old.keyset == serving.keyset => Some(Stage::Opening(serving)),
            Stage::Ready(old) if old.keyset == serving.keyset => Some(Stage::Ready(serving)),
            _ => None,
        };
        if let Some(stage) = refreshed {
            self.catalogue.set(&instance, stage);
            return None;
        }
        self.catalogue.set(&instance, Stage::Archiving(appraised.serving()));
        let command = Command::ArchiveEvidence(Box::new(appraised.archive().clone()));
        Some(self.commit_one(command, Purpose::Keyset { instance }))
    }

    /// The keyset is in archive and log: now its epoch may open.
    pub(super) fn archived(
        &mut self,
        instance: &InstanceId,
        result: Result<Outcome, Rejection>,
        now: UnixMillis,
    ) -> Vec<Effect> {
        let Some(Stage::Archiving(serving)) = self.catalogue.stage(instance).cloned() else {
            return Vec::new();
        };
        let Ok(Outcome::Logged { leaf_index }) = result else {
            self.failed(instance, false, now);
            return Vec::new();
        };
        self.catalogue.set(instance, Stage::Opening(serving));
        if let Some(round) = self.rounds.get_mut(instance) {
            round.open_at = UnixMillis(0);
            round.keyset_leaf = Some(leaf_index);
        }
        self.open_if_due(instance, now).into_iter().collect()
    }

    /// The enclave of this epoch, if it is the one it serves under now.
    fn instance_of(&self, epoch: &EpochId) -> Option<InstanceId> {
        let instances = self.catalogue.instances();
        instances.into_iter().find(|instance| {
            let keyset = self.audience(instance);
            keyset.is_some_and(|keyset| EpochId::of_keyset(&keyset) == *epoch)
        })
    }

    /// Appraises the enclave of this epoch at the next tick.
    pub(super) fn look_again(&mut self, epoch: &EpochId) {
        if let Some(instance) = self.instance_of(epoch)
            && let Some(round) = self.rounds.get_mut(&instance)
        {
            round.appraise_at = UnixMillis(0);
        }
    }

    /// Nothing is sent to the enclave of this epoch again; new keys start anew.
    pub(super) fn distrust(&mut self, epoch: EpochId, now: UnixMillis) {
        if let Some(instance) = self.instance_of(&epoch) {
            self.failed(&instance, true, now);
        }
        self.distrusted.insert(epoch);
    }

    /// Asks again after a while: an enclave that cannot be reached may have new keys. One whose
    /// evidence is refused serves nothing meanwhile; one that is only out of reach keeps its place
    /// until its keyset ends.
    pub(super) fn failed(&mut self, instance: &InstanceId, refused: bool, now: UnixMillis) {
        let retry = after(now, self.settings.pulls.retry_ms);
        if refused || !matches!(self.catalogue.stage(instance), Some(Stage::Ready(_))) {
            self.catalogue.set(instance, Stage::Unknown);
        }
        if let Some(round) = self.rounds.get_mut(instance) {
            round.pulling = false;
            round.told = None;
            round.appraise_at = round.appraise_at.min(retry);
            round.pull_at = retry;
        }
    }
}
