//! The sealed terms: what travels inside the envelope beside the HTTP request.

use crate::cbor::{Bytes, cbor_map};
use crate::ids::{AccountHandle, Digest, HoldId};

/// Largest sealed terms, in bytes.
pub const MAX_TERMS_BYTES: usize = 512;
/// Length of a cache secret, in bytes.
pub const CACHE_SECRET_BYTES: usize = 32;

cbor_map! {
    /// Must agree with the order outside, or the enclave refuses.
    pub struct SealedTerms {
        /// The hold of the order.
        -70001 => hold: HoldId,
        /// The model of the order.
        -70005 => model: Digest,
        /// Who pays: digest of the order key.
        -70043 => account: AccountHandle,
        /// 16 random bytes: equal requests never make equal envelopes.
        -70120 => nonce: Bytes,
        /// Key of the commitments in the receipt; 32 random bytes.
        -70121 => salt: Digest,
        /// Names the tenant's own prefix cache; without it nothing is shared across requests.
        -70122 => cache_secret: Option<Bytes>,
    }
}
