//! Policy for Intel TDX evidence.

use serde::Deserialize;

/// Rules for Intel TDX evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {}
