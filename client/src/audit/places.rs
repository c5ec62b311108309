//! Places of receipts in their epochs: time rises with them, and each is taken once.
//!
//! Places are compared block by block, so that a round keeps some blocks alone; the ends of every
//! block are carried on and compared with their neighbours' when all rounds are over.

use std::collections::BTreeMap;

use bulla_wire::ids::{Digest, EpochId, ReceiptId};
use bulla_wire::receipt::UsageReceipt;
use bulla_wire::units::UnixSeconds;

use super::report::Sheet;
use super::{CheckName, Record};

/// Places in a block.
const BLOCK_PLACES: u64 = 4096;

/// A run of places of one epoch, by its number.
pub(super) type Block = (EpochId, u64);

fn block(epoch: EpochId, seq: u64) -> Block {
    (epoch, seq / BLOCK_PLACES)
}

/// Where a receipt stands, and when it was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    epoch: EpochId,
    seq: u64,
    digest: Digest,
    issued_at: UnixSeconds,
    id: ReceiptId,
}

impl Place {
    pub(super) fn of(digest: Digest, receipt: &UsageReceipt) -> Place {
        let UsageReceipt { epoch, seq, issued_at, id, .. } = *receipt;
        Place { epoch, seq, digest, issued_at, id }
    }

    fn record(&self) -> Record {
        let Place { id, epoch, seq, digest, .. } = *self;
        Record::Receipt { id, epoch, seq, digest }
    }

    fn block(&self) -> Block {
        block(self.epoch, self.seq)
    }

    fn follows(&self, sheet: &mut Sheet, before: &Place) {
        let (now, at) = (self.issued_at, before.issued_at);
        sheet.judge(
            CheckName::ChainTime,
            now >= at,
            || self.record(),
            || format!("signed at {now}, the receipt before it at {at}"),
        );
        sheet.judge(
            CheckName::ChainFork,
            self.seq != before.seq,
            || self.record(),
            || format!("another receipt has place {} too", before.seq),
        );
    }
}

/// The places of one round.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

impl Places {
    /// The block a receipt belongs to.
    pub(super) fn block(receipt: &UsageReceipt) -> Block {
        block(receipt.epoch, receipt.seq)
    }

    pub(super) fn add(&mut self, place: Place) {
        self.0.push(place);
    }
}

/// First and last place of every block.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<Block, (Place, Place)>);

impl Ends {
    /// Compares the places of a round, and keeps the ends of its blocks.
    pub(super) fn take(&mut self, sheet: &mut Sheet, Places(mut places): Places) {
        places.sort_unstable();
        // A receipt that the bundle has twice is one receipt here.
        places.dedup_by_key(|place| place.digest);
        for run in places.chunk_by(|one, next| one.block() == next.block()) {
            for pair in run.windows(2) {
                pair[1].follows(sheet, &pair[0]);
            }
            if let [first, ..] = run {
                self.0.insert(first.block(), (*first, run[run.len() - 1]));
            }
        }
    }

    /// Compares the blocks of each epoch, one with the next.
    pub(super) fn conclude(&self, sheet: &mut Sheet) {
        let mut before: Option<Place> = None;
        for (first, last) in self.0.values() {
            if let Some(before) = before.filter(|before| before.epoch == first.epoch) {
                first.follows(sheet, &before);
            }
            before = Some(*last);
        }
    }
}
