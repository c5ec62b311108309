//! Policy for the vTPM of Azure confidential VMs.

use serde::Deserialize;

/// Rules for the vTPM of Azure confidential VMs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzurePolicy {}
