//! Records of an epoch: settled as they arrive, logged strictly in their order.

use bulla_wire::ids::{Digest, EpochId};

use super::{Batch, Fault, NewRecord, Placed, RecordRow, missing, next};
use crate::ledger::{
    Charge, EpochState, HoldState, Outcome, Record, RecordKind, Rejection, Settlement, StoreError,
};

impl<'a> Batch<'a> {
    pub(super) fn take_in(&mut self, record: &'a Record) -> Result<Outcome, Fault> {
        if let Some(outcome) = self.taken_before(record)? {
            return Ok(outcome);
        }
        let epoch = self.epoch_for(record)?;
        check_place(&epoch, record)?;
        self.rows.epochs.entry(record.epoch).or_insert(epoch);
        let settlement = self.settle_by(record)?;
        self.insert(record, &settlement);
        self.log_in_order(&record.epoch)?;
        let place = (record.epoch, record.seq);
        let leaf_index = self.rows.records.get(&place).and_then(|row| row.leaf_index);
        let next_seq = self.epoch(&record.epoch)?.next_seq;
        Ok(Outcome::Recorded { again: false, leaf_index, next_seq, settlement })
    }

    fn epoch(&self, epoch: &EpochId) -> Result<&EpochState, Rejection> {
        self.rows.epochs.get(epoch).ok_or(Rejection::UnknownEpoch { epoch: *epoch })
    }

    /// The epoch as it stands; a new one for an open record under an archived keyset.
    fn epoch_for(&self, record: &Record) -> Result<EpochState, Rejection> {
        let archived = self.rows.keysets.contains_key(&record.keyset);
        match (self.epoch(&record.epoch), record.kind) {
            (Ok(_), RecordKind::Open) if !archived => {
                Err(Rejection::UnknownEpoch { epoch: record.epoch })
            }
            (Err(_), RecordKind::Open) if archived => Ok(EpochState {
                epoch: record.epoch,
                keyset: record.keyset,
                next_seq: 0,
                tip: None,
                closed: false,
            }),
            (known, _) => known.cloned(),
        }
    }

    /// The answer of the first time, when this very record stands at its place already.
    fn taken_before(&mut self, record: &Record) -> Result<Option<Outcome>, Fault> {
        let Some(known) = self.rows.records.get(&(record.epoch, record.seq)) else {
            return Ok(None);
        };
        if known.digest != record.digest {
            return Err(Rejection::RecordConflict {
                epoch: record.epoch,
                seq: record.seq,
                expected: known.digest,
                got: record.digest,
            }
            .into());
        }
        let leaf_index = known.leaf_index;
        let settlement = match (&record.charge, known.flag.clone()) {
            (_, Some(why)) => Settlement::Flagged { why },
            (Charge::Final { hold, amount }, None) => self.settle(hold, *amount, record.digest)?,
            _ => Settlement::NotAsked,
        };
        let next_seq = self.epoch(&record.epoch)?.next_seq;
        Ok(Some(Outcome::Recorded { again: true, leaf_index, next_seq, settlement }))
    }

    fn settle_by(&mut self, record: &Record) -> Result<Settlement, StoreError> {
        match &record.charge {
            Charge::None => Ok(Settlement::NotAsked),
            Charge::Final { hold, amount } => self.settle(hold, *amount, record.digest),
            Charge::Interim { hold, .. } => match self.rows.holds.get(hold).map(|h| h.state) {
                Some(HoldState::Active) => Ok(Settlement::NotAsked),
                _ => Ok(Settlement::Flagged { why: format!("hold {hold} is not active") }),
            },
            Charge::Flagged { why } => Ok(Settlement::Flagged { why: why.clone() }),
        }
    }

    fn insert(&mut self, record: &'a Record, settlement: &Settlement) {
        let flag = match settlement {
            Settlement::Flagged { why } => Some(why.clone()),
            _ => None,
        };
        let (hold, interim, charge) = match &record.charge {
            Charge::Final { hold, amount } => (Some(*hold), None, Some(*amount)),
            // A flagged interim receipt must never settle.
            Charge::Interim { hold, index, amount } => {
                (Some(*hold), flag.is_none().then_some(*index), Some(*amount))
            }
            Charge::None | Charge::Flagged { .. } => (None, None, None),
        };
        let account =
            record.handle.as_ref().and_then(|handle| self.rows.owners.get(handle)).copied();
        let number = next(&mut self.rows.heads.records);
        self.changes.records.push(NewRecord { number, record, account, hold, interim, charge });
        self.changes.placed.insert(number, Placed { leaf_index: None, flag: flag.clone() });
        let row = RecordRow {
            number,
            kind: record.kind,
            prev: record.prev,
            digest: record.digest,
            leaf_index: None,
            flag,
            leaf: record.leaf.clone(),
        };
        self.rows.records.insert((record.epoch, record.seq), row);
    }

    /// Logs every record whose turn has come.
    fn log_in_order(&mut self, id: &EpochId) -> Result<(), StoreError> {
        let unknown = || missing(format!("epoch {id}"));
        let mut epoch = self.rows.epochs.get(id).cloned().ok_or_else(unknown)?;
        loop {
            let place = (*id, epoch.next_seq);
            let Some(row) = self.rows.records.get_mut(&place) else { break };
            if row.leaf_index.is_some() {
                break;
            }
            if row.prev != epoch.tip {
                let (seq, expected) = (epoch.next_seq, epoch.tip.unwrap_or(Digest([0; 32])));
                let broken = Rejection::ChainBroken { epoch: *id, seq, expected, got: row.prev };
                row.flag = Some(broken.to_string());
                let placed = Placed { leaf_index: None, flag: row.flag.clone() };
                self.changes.placed.insert(row.number, placed);
                break;
            }
            let leaf_index = self.rows.heads.leaves;
            self.rows.heads.leaves += 1;
            self.changes.leaves.push(std::mem::take(&mut row.leaf));
            row.leaf_index = Some(leaf_index);
            let placed = Placed { leaf_index: Some(leaf_index), flag: row.flag.clone() };
            self.changes.placed.insert(row.number, placed);
            epoch.next_seq += 1;
            epoch.tip = Some(row.digest);
            epoch.closed = row.kind == RecordKind::Close;
        }
        self.changes.epochs.insert(*id, epoch.clone());
        self.rows.epochs.insert(*id, epoch);
        Ok(())
    }
}

/// A record that can be placed at once must follow the tip; nothing follows a close.
fn check_place(epoch: &EpochState, record: &Record) -> Result<(), Rejection> {
    if epoch.closed {
        return Err(Rejection::EpochClosed { epoch: record.epoch, seq: record.seq });
    }
    if record.seq == epoch.next_seq && record.prev != epoch.tip {
        return Err(Rejection::ChainBroken {
            epoch: record.epoch,
            seq: record.seq,
            expected: epoch.tip.unwrap_or(Digest([0; 32])),
            got: record.prev,
        });
    }
    Ok(())
}
