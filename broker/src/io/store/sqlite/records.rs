//! Records of an epoch: settled as they arrive, logged strictly in their order.

use bulla_wire::ids::{Digest, EpochId};
use bulla_wire::units::UnixMillis;
use rusqlite::{OptionalExtension, params};

use super::{Fault, SqliteStore, int};
use crate::ledger::{
    Charge, EpochState, HoldState, Outcome, Queries, Record, RecordKind, Rejection, Settlement,
    StoreError,
};

/// A record that waits for its turn in the log.
struct Waiting {
    number: i64,
    kind: u8,
    prev: Option<Digest>,
    digest: Digest,
    leaf: Vec<u8>,
}

impl SqliteStore {
    pub(super) fn take_in(&self, record: &Record, now: UnixMillis) -> Result<Outcome, Fault> {
        if let Some(outcome) = self.taken_before(record, now)? {
            return Ok(outcome);
        }
        if record.kind == RecordKind::Open {
            // Only an archived keyset opens an epoch.
            if self.keyset(&record.keyset)?.is_none() {
                return Err(Rejection::UnknownEpoch { epoch: record.epoch }.into());
            }
            self.run(
                "INSERT INTO epochs (epoch, keyset, next_seq) VALUES (?1, ?2, 0)
                 ON CONFLICT (epoch) DO NOTHING",
                params![record.epoch.0, record.keyset.0],
            )?;
        }
        let epoch = self.open_epoch(&record.epoch)?;
        check_place(&epoch, record)?;
        let settlement = self.settle_by(record, now)?;
        let number = self.insert_record(record, &settlement)?;
        self.log_in_order(&record.epoch)?;
        let leaf_index: Option<i64> = self
            .conn
            .prepare_cached("SELECT leaf FROM records WHERE number = ?1")?
            .query_row([number], |row| row.get(0))?;
        let next_seq = self.open_epoch(&record.epoch)?.next_seq;
        let leaf_index = leaf_index.map(|index| index as u64);
        Ok(Outcome::Recorded { again: false, leaf_index, next_seq, settlement })
    }

    fn open_epoch(&self, epoch: &EpochId) -> Result<EpochState, Fault> {
        Ok(self.epoch(epoch)?.ok_or(Rejection::UnknownEpoch { epoch: *epoch })?)
    }

    /// The answer of the first time, when this very record stands at its place already.
    fn taken_before(&self, record: &Record, now: UnixMillis) -> Result<Option<Outcome>, Fault> {
        let known: Option<([u8; 32], Option<i64>, Option<String>)> = self
            .conn
            .prepare_cached("SELECT digest, leaf, flag FROM records WHERE epoch = ?1 AND seq = ?2")?
            .query_row(params![record.epoch.0, int(record.seq)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        let Some((digest, leaf, flag)) = known else {
            return Ok(None);
        };
        if digest != record.digest.0 {
            return Err(Rejection::RecordConflict {
                epoch: record.epoch,
                seq: record.seq,
                expected: Digest(digest),
                got: record.digest,
            }
            .into());
        }
        let settlement = match (&record.charge, flag) {
            (_, Some(why)) => Settlement::Flagged { why },
            (Charge::Final { hold, amount }, None) => {
                self.settle(hold, *amount, record.digest, now)?
            }
            _ => Settlement::NotAsked,
        };
        let next_seq = self.open_epoch(&record.epoch)?.next_seq;
        let leaf_index = leaf.map(|index| index as u64);
        Ok(Some(Outcome::Recorded { again: true, leaf_index, next_seq, settlement }))
    }

    fn settle_by(&self, record: &Record, now: UnixMillis) -> Result<Settlement, Fault> {
        match &record.charge {
            Charge::None => Ok(Settlement::NotAsked),
            Charge::Final { hold, amount } => self.settle(hold, *amount, record.digest, now),
            Charge::Interim { hold, .. } => match self.hold(hold)?.map(|known| known.state) {
                Some(HoldState::Active) => Ok(Settlement::NotAsked),
                _ => Ok(Settlement::Flagged { why: format!("hold {hold} is not active") }),
            },
            Charge::Flagged { why } => Ok(Settlement::Flagged { why: why.clone() }),
        }
    }

    fn insert_record(&self, record: &Record, settlement: &Settlement) -> Result<i64, Fault> {
        let flag = match settlement {
            Settlement::Flagged { why } => Some(why.as_str()),
            _ => None,
        };
        let (hold, interim, charge) = match &record.charge {
            Charge::Final { hold, amount } => (Some(hold.0), None, Some(int(amount.0))),
            // A flagged interim receipt must never settle.
            Charge::Interim { hold, index, amount } if flag.is_none() => {
                (Some(hold.0), Some(int(*index)), Some(int(amount.0)))
            }
            Charge::Interim { hold, amount, .. } => (Some(hold.0), None, Some(int(amount.0))),
            Charge::None | Charge::Flagged { .. } => (None, None, None),
        };
        let account = match &record.handle {
            Some(handle) => self.order_key_owner(handle)?.map(|account| int(account.0)),
            None => None,
        };
        self.run(
            "INSERT INTO records (epoch, seq, kind, prev, digest, keyset, bytes, leaf_bytes,
                 account, hold, interim, charge, flag)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            params![
                record.epoch.0,
                int(record.seq),
                record.kind as u8,
                record.prev.map(|digest| digest.0),
                record.digest.0,
                record.keyset.0,
                record.bytes,
                record.leaf,
                account,
                hold,
                interim,
                charge,
                flag
            ],
        )?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Logs every record whose turn has come.
    fn log_in_order(&self, epoch: &EpochId) -> Result<(), Fault> {
        let mut state = self.open_epoch(epoch)?;
        while let Some(next) = self.waiting(epoch, state.next_seq)? {
            if next.prev != state.tip {
                let (seq, expected) = (state.next_seq, state.tip.unwrap_or(Digest([0; 32])));
                let broken =
                    Rejection::ChainBroken { epoch: *epoch, seq, expected, got: next.prev };
                self.run(
                    "UPDATE records SET flag = ?2 WHERE number = ?1",
                    params![next.number, broken.to_string()],
                )?;
                break;
            }
            let leaf_index = self.append_leaf(&next.leaf)?;
            self.run(
                "UPDATE records SET leaf = ?2 WHERE number = ?1",
                params![next.number, int(leaf_index)],
            )?;
            state.next_seq += 1;
            state.tip = Some(next.digest);
            state.closed = next.kind == RecordKind::Close as u8;
        }
        self.run(
            "UPDATE epochs SET next_seq = ?2, tip = ?3, closed = ?4 WHERE epoch = ?1",
            params![epoch.0, int(state.next_seq), state.tip.map(|tip| tip.0), state.closed],
        )?;
        Ok(())
    }

    fn waiting(&self, epoch: &EpochId, seq: u64) -> Result<Option<Waiting>, StoreError> {
        self.conn
            .prepare_cached(
                "SELECT number, kind, prev, digest, leaf_bytes FROM records
                 WHERE epoch = ?1 AND seq = ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![epoch.0, int(seq)], |row| {
                        Ok(Waiting {
                            number: row.get(0)?,
                            kind: row.get(1)?,
                            prev: row.get::<_, Option<[u8; 32]>>(2)?.map(Digest),
                            digest: Digest(row.get(3)?),
                            leaf: row.get(4)?,
                        })
                    })
                    .optional()
            })
            .map_err(super::database)
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
