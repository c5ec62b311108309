//! Policy for a TPM's quote without a TEE.

use serde::Deserialize;

use super::{Accept, PcrRule};

/// Rules for `vtpm-dev`. Its attestation key must be named as a simulated root besides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VtpmPolicy {
    /// Registers asked: each one listed must be quoted and hold one of its values.
    pub pcrs: Accept<PcrRule>,
}
