//! Policy for Hygon CSV evidence.

use serde::Deserialize;

/// Rules for Hygon CSV evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvPolicy {}
