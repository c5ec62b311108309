//! Rounds: how an audit of any size stays within its memory.
//!
//! What must be compared is kept until the end of a reading, so its size grows with the bundle. Where
//! that is more than the auditor allows, the bundle is read again and again, and each round keeps one
//! part of what is compared: first the receipts and their leaves, by the receipt's digest; then what
//! has a hold (receipts, orders, decisions, transfers), by hold, order and place. A comparison is made
//! in the one round that has the part of its key, so the report is the same for any number of rounds.
//! Which part a key is in nobody can foresee: it is hashed with a key drawn for this audit.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

/// What the comparison of one item of a bundle takes, in bytes: measured over a bundle of a million
/// receipts, with the tables at their largest.
const BYTES_PER_ITEM: u64 = 250;
/// Most parts: each costs two more readings.
const MAX_PARTS: u64 = 1000;

/// What one reading keeps.
#[derive(Debug, Clone)]
pub(super) struct Round {
    hasher: RandomState,
    parts: u64,
    /// The part of the leaves that is kept; `None` in rounds for holds.
    leaves: Option<u64>,
    /// The part of the holds that is kept; `None` in rounds for leaves.
    holds: Option<u64>,
}

impl Round {
    /// Whether what is compared by a receipt's digest is kept here.
    pub(super) fn leaf(&self, key: impl Hash) -> bool {
        self.leaves.is_some_and(|part| self.part(key) == part)
    }

    /// Whether what is compared by hold, order or place is kept here.
    pub(super) fn hold(&self, key: impl Hash) -> bool {
        self.holds.is_some_and(|part| self.part(key) == part)
    }

    /// Whether this round is for receipts and their leaves.
    pub(super) fn is_for_leaves(&self) -> bool {
        self.leaves.is_some()
    }

    /// Whether this round is for what has a hold.
    pub(super) fn is_for_holds(&self) -> bool {
        self.holds.is_some()
    }

    fn part(&self, key: impl Hash) -> u64 {
        match self.parts {
            1 => 0,
            parts => self.hasher.hash_one(key) % parts,
        }
    }
}

/// The rounds of an audit: the first goes with the reading that judges each item, the others each
/// with a reading of their own, those for holds last.
pub(super) fn plan(items: u64, memory_bytes: Option<u64>) -> (Round, Vec<Round>) {
    let bytes = items.saturating_mul(BYTES_PER_ITEM);
    let parts = memory_bytes.map_or(1, |memory| bytes.div_ceil(memory.max(1)));
    let parts = parts.clamp(1, MAX_PARTS);
    let hasher = RandomState::new();
    let round = |(leaves, holds)| Round { hasher: hasher.clone(), parts, leaves, holds };
    if parts == 1 {
        return (round((Some(0), Some(0))), Vec::new());
    }
    let of_leaves = (1..parts).map(|part| (Some(part), None));
    let of_holds = (0..parts).map(|part| (None, Some(part)));
    (round((Some(0), None)), of_leaves.chain(of_holds).map(round).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_bundle_is_judged_in_one_round() {
        for memory in [None, Some(1000 * BYTES_PER_ITEM)] {
            let (round, later) = plan(1000, memory);
            assert!(later.is_empty());
            assert!(round.leaf(7) && round.hold(7));
        }
    }

    #[test]
    fn every_key_is_in_one_round_of_each_kind() {
        let (first, mut rounds) = plan(1000, Some(300 * BYTES_PER_ITEM));
        rounds.insert(0, first);
        assert_eq!(rounds.len(), 2 * 4);
        for key in 0..1000 {
            assert_eq!(rounds.iter().filter(|round| round.leaf(key)).count(), 1);
            assert_eq!(rounds.iter().filter(|round| round.hold(key)).count(), 1);
        }
        let first = (0..1000).filter(|key| rounds[0].leaf(key)).count();
        assert!((150..350).contains(&first), "{first} of 1000 keys in a quarter");
    }

    #[test]
    fn no_memory_at_all_is_still_an_audit() {
        assert_eq!(plan(u64::MAX, Some(0)).1.len() as u64 + 1, 2 * MAX_PARTS);
    }
}
