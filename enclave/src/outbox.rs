//! The outbox: signed records wait here until the broker says that it has them for good.

use std::collections::VecDeque;

use bulla_wire::cbor::Bytes;
use bulla_wire::ids::EpochId;
use bulla_wire::pull::{MAX_PULL_ANSWER_BYTES, MAX_PULLED_RECORDS, OutboxRecord, RecordPlace};

/// Most records kept. At a thousand requests a second, a broker may be away for a minute.
pub const MAX_OUTBOX_RECORDS: usize = 65_536;

/// Records in the order they were signed, epoch after epoch.
#[derive(Default)]
pub struct Outbox {
    records: VecDeque<OutboxRecord>,
    /// Places promised to requests that run: their receipts must fit.
    reserved: usize,
}

impl Outbox {
    /// An outbox that starts with what an earlier life could not deliver.
    pub fn with_backlog(records: Vec<OutboxRecord>) -> Outbox {
        Outbox { records: records.into(), reserved: 0 }
    }

    /// Promises one place, or refuses: then the request must not be admitted.
    pub fn reserve(&mut self) -> bool {
        if self.records.len() + self.reserved >= MAX_OUTBOX_RECORDS {
            return false;
        }
        self.reserved += 1;
        true
    }

    /// Puts a record into a place promised before.
    pub fn push_reserved(&mut self, record: OutboxRecord) {
        self.reserved = self.reserved.saturating_sub(1);
        self.records.push_back(record);
    }

    /// Puts an epoch record in; there are two in an epoch, so they need no promise.
    pub fn push(&mut self, record: OutboxRecord) {
        self.records.push_back(record);
    }

    /// Drops every record of that epoch up to that place.
    pub fn acknowledge(&mut self, place: &RecordPlace) {
        self.records.retain(|r| r.epoch != place.epoch || r.seq > place.seq);
    }

    /// The oldest records, as many as one answer carries.
    pub fn oldest(&self) -> Vec<OutboxRecord> {
        let mut bytes = 0;
        self.records
            .iter()
            .take(MAX_PULLED_RECORDS)
            .take_while(|r| {
                bytes += r.record.0.len() + 64;
                bytes <= MAX_PULL_ANSWER_BYTES
            })
            .cloned()
            .collect()
    }

    /// How many records wait.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// A record for the outbox.
pub fn record(epoch: EpochId, seq: u64, bytes: &[u8]) -> OutboxRecord {
    OutboxRecord { epoch, seq, record: Bytes(bytes.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(epoch: u8, seq: u64) -> RecordPlace {
        RecordPlace { epoch: EpochId([epoch; 16]), seq }
    }

    #[test]
    fn acknowledging_drops_only_that_epoch_up_to_that_place() {
        let mut outbox = Outbox::default();
        for (epoch, seq) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)] {
            outbox.push(record(EpochId([epoch; 16]), seq, b"r"));
        }
        outbox.acknowledge(&place(2, 1));
        let left: Vec<_> = outbox.oldest().iter().map(|r| (r.epoch.0[0], r.seq)).collect();
        assert_eq!(left, [(1, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn a_full_outbox_promises_nothing() {
        let mut outbox = Outbox::default();
        for _ in 0..MAX_OUTBOX_RECORDS {
            assert!(outbox.reserve());
        }
        assert!(!outbox.reserve());
    }
}
