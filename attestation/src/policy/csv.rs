//! Policy for Hygon CSV evidence.

use serde::Deserialize;

use super::{Accept, Demand, Tolerance};
use crate::hex::Hex;
use crate::tee::csv::report::Generation;

/// Rules for Hygon CSV evidence. DEBUG guests are refused by every policy: there is no key for it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvPolicy {
    /// Generations taken, as the guest's launch policy asks.
    pub generations: Accept<Generation>,
    /// Launch digests taken (SM3).
    pub measurements: Accept<Hex<32>>,
    /// The verifier's own nonce, 16 bytes, in the report.
    pub nonce: Demand,
    /// Guests whose key others may share.
    pub key_sharing: Tolerance,
    /// Guests that may be sent to another platform.
    pub sending: Tolerance,
}
