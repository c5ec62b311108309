//! The customer's order: nobody is billed for what they did not sign.

use crate::cbor::cbor_map;
use crate::ids::{Digest, HoldId, PublicKey};
use crate::price::Rates;
use crate::units::{MicroUnits, TokenCount, Unit, UnixSeconds};

/// Largest order, in bytes.
pub const MAX_ORDER_BYTES: usize = 2048;

cbor_map! {
    /// What the customer agrees to pay for, signed with the order key over the sealed request.
    pub struct Order {
        /// After this instant the broker grants nothing on it.
        4 => not_after: UnixSeconds,
        /// When it was signed, by the customer's clock.
        6 => issued_at: UnixSeconds,
        /// The hold, named by the client; idempotency key of the whole request.
        -70001 => hold: HoldId,
        /// The key that signed; its digest is the account handle sealed in the request.
        -70002 => order_key: PublicKey,
        /// Digest of the sealed request ([`crate::labels::SEALED_REQUEST`]).
        -70003 => sealed_request: Digest,
        /// The keyset the request is sealed to.
        -70004 => keyset: Digest,
        /// Manifest of the model that shall run.
        -70005 => model: Digest,
        /// Most input tokens.
        -70006 => ceiling_input_tokens: TokenCount,
        /// Most output tokens.
        -70007 => ceiling_output_tokens: TokenCount,
        /// Unit of account of rates and charge.
        -70008 => unit: Unit,
        /// Rates the customer derived from the price book.
        -70009 => rates: Rates,
        /// Digest of that price book.
        -70010 => price_book: Digest,
        /// Never more than this is charged.
        -70011 => max_charge: MicroUnits,
    }
}

cbor_map! {
    /// A customer's claim on an order key, signed with that key: registers it with the account.
    pub struct OrderKeyRegistration {
        /// When it was signed.
        6 => issued_at: UnixSeconds,
        /// The key, which also signed this message.
        -70002 => order_key: PublicKey,
    }
}
