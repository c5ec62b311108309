//! The broker's grant over an order, and the delegation that makes a grant key a grant key.

use crate::cbor::cbor_map;
use crate::ids::{Digest, PublicKey};
use crate::units::UnixSeconds;

/// Largest grant, in bytes.
pub const MAX_GRANT_BYTES: usize = 1024;
/// Largest delegation, in bytes.
pub const MAX_DELEGATION_BYTES: usize = 1024;

cbor_map! {
    /// Given only when the hold stands.
    pub struct Grant {
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// Audience: the keyset that may act on it.
        -70004 => keyset: Digest,
        /// Digest of the order ([`crate::labels::ORDER`]).
        -70020 => order: Digest,
        /// The enclave admits the order until then.
        -70021 => admit_by: UnixSeconds,
        /// Generation stops then.
        -70022 => run_until: UnixSeconds,
        /// Without a usage receipt by then the hold is released.
        -70023 => settle_by: UnixSeconds,
    }
}

cbor_map! {
    /// The broker's root key lets a grant key speak for a short time. Logged.
    pub struct Delegation {
        /// End of the delegation.
        4 => not_after: UnixSeconds,
        /// Start of the delegation.
        6 => issued_at: UnixSeconds,
        /// The key that may sign grants, outbox pulls and epoch offers.
        -70030 => grant_key: PublicKey,
    }
}
