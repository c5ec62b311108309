//! What a measured guest says of the accelerators it verified itself, before it lets them work.
//!
//! A genuine device anywhere would answer a public nonce, so its evidence proves no place. The guest
//! talks to the device over its own session, judges the evidence, and signs that with the receipt
//! key of its keyset: the key stands behind the device, the CPU's hardware behind the key.

use crate::cbor::cbor_map;
use crate::ids::Digest;

/// Largest voucher, in bytes.
pub const MAX_VOUCHER_BYTES: usize = 512;

cbor_map! {
    /// A guest's word on its accelerators; signed with a receipt key of its keyset.
    pub struct AcceleratorVoucher {
        /// Digest of the statement the devices' nonces are made of.
        -70330 => statement: Digest,
        /// Labelled digest of the accelerators' evidence, as it travels.
        -70331 => evidence: Digest,
        /// Whether the guest found it genuine.
        -70332 => is_affirmed: bool,
    }
}
