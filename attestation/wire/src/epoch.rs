//! Epochs: the broker's offer to open one, and the records that are the first and the last link of
//! an enclave's chain of receipts.

use crate::cbor::{Bytes, cbor_map};
use crate::ids::{Digest, EpochId, InstanceId};
use crate::units::UnixSeconds;

/// Largest epoch record, in bytes.
pub const MAX_EPOCH_RECORD_BYTES: usize = MAX_PARENT_CHECKPOINT_BYTES + 4096;
/// Largest checkpoint carried in an epoch-open record, in bytes: the log's signature and those of
/// seven witnesses with ML-DSA-44, of some 3.3 kB each.
pub const MAX_PARENT_CHECKPOINT_BYTES: usize = 24 * 1024;

/// Largest offer, in bytes: a checkpoint and its frame.
pub const MAX_EPOCH_OFFER_BYTES: usize = MAX_PARENT_CHECKPOINT_BYTES + 512;

cbor_map! {
    /// The broker asks an enclave to open its epoch; signed with its grant key. Without it, whoever
    /// reached the enclave first could open the epoch on an old checkpoint.
    pub struct EpochOffer {
        /// When it was signed; the enclave refuses one outside its clock's tolerance.
        6 => issued_at: UnixSeconds,
        /// Audience.
        -70004 => keyset: Digest,
        /// A signed checkpoint of the log that covers the keyset: the parent of the epoch.
        -70060 => parent: Bytes,
    }
}

cbor_map! {
    /// Opens an epoch: place 0 of its chain, signed by the epoch's receipt key.
    pub struct EpochOpen {
        /// The enclave instance.
        1 => issuer: InstanceId,
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// The keyset of the epoch.
        -70004 => keyset: Digest,
        /// The epoch: first half of `keyset`.
        -70040 => epoch: EpochId,
        /// Digest of the enclave's measured configuration.
        -70053 => configuration: Digest,
        /// A signed checkpoint of the log: the epoch is not older than it.
        -70060 => parent: Bytes,
        /// Digest of the attestation report the enclave published for this keyset.
        -70061 => evidence: Digest,
    }
}

cbor_map! {
    /// Closes an epoch after its last receipt left.
    pub struct EpochClose {
        /// The enclave instance.
        1 => issuer: InstanceId,
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// The keyset of the epoch.
        -70004 => keyset: Digest,
        /// The epoch.
        -70040 => epoch: EpochId,
        /// Place of this record: one more than the last receipt's.
        -70041 => seq: u64,
        /// Digest of the record before this one.
        -70042 => prev: Digest,
    }
}
