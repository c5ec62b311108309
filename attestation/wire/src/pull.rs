//! The outbox: an enclave never dials out, so the broker fetches records and acknowledges them.

use crate::cbor::{Bytes, cbor_map};
use crate::ids::{Digest, EpochId};
use crate::units::UnixSeconds;

/// Largest pull message, in bytes.
pub const MAX_PULL_BYTES: usize = 512;
/// Most records in one answer.
pub const MAX_PULLED_RECORDS: usize = 1024;
/// Largest answer, in bytes.
pub const MAX_PULL_ANSWER_BYTES: usize = 8 << 20;

cbor_map! {
    /// The broker asks for records; signed with its grant key.
    pub struct Pull {
        /// When it was signed; the enclave refuses one outside its clock's tolerance.
        6 => issued_at: UnixSeconds,
        /// Audience.
        -70004 => keyset: Digest,
        /// Records up to and including this place of that epoch are durable at the broker and may
        /// be dropped by the enclave.
        -70110 => acknowledged: Option<RecordPlace>,
    }
}

cbor_map! {
    /// A place in an epoch's chain.
    pub struct RecordPlace {
        /// The epoch.
        -70040 => epoch: EpochId,
        /// The place.
        -70041 => seq: u64,
    }
}

cbor_map! {
    /// One record of the outbox.
    pub struct OutboxRecord {
        /// The epoch: an outbox kept on disk may hold records of an earlier one.
        -70040 => epoch: EpochId,
        /// Its place.
        -70041 => seq: u64,
        /// The signed record.
        -70111 => record: Bytes,
    }
}

cbor_map! {
    /// What the enclave answers.
    pub struct Pulled {
        /// Records not yet acknowledged, oldest first, at most [`MAX_PULLED_RECORDS`].
        -70112 => records: Vec<OutboxRecord>,
    }
}
