//! What was admitted in this epoch. Never pruned: when it is full, the epoch ends.

use std::collections::HashSet;

use bulla_wire::ids::{Digest, HoldId};

/// Most requests of one epoch. 48 bytes each: half a gigabyte.
pub const MAX_REQUESTS_PER_EPOCH: usize = 10_000_000;

/// Hold ids and encapsulated keys of an epoch.
pub struct ReplaySet {
    holds: HashSet<HoldId>,
    encapsulated: HashSet<Digest>,
    limit: usize,
}

impl ReplaySet {
    /// An empty set that ends its epoch after `limit` requests.
    pub fn new(limit: usize) -> ReplaySet {
        let limit = limit.min(MAX_REQUESTS_PER_EPOCH);
        ReplaySet { holds: HashSet::new(), encapsulated: HashSet::new(), limit }
    }

    /// True when no further request fits.
    pub fn is_full(&self) -> bool {
        self.holds.len() >= self.limit
    }

    /// True when the hold was recorded.
    pub fn has_hold(&self, hold: &HoldId) -> bool {
        self.holds.contains(hold)
    }

    /// Records a hold; false when it was there.
    pub fn record_hold(&mut self, hold: HoldId) -> bool {
        self.holds.insert(hold)
    }

    /// Records the digest of an encapsulated key; false when it was there.
    pub fn record_encapsulated(&mut self, enc: Digest) -> bool {
        self.encapsulated.insert(enc)
    }
}
