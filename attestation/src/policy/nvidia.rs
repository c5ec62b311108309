//! Policy for NVIDIA GPU and switch evidence.

use serde::Deserialize;

/// Rules for NVIDIA GPU and switch evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvidiaPolicy {}
