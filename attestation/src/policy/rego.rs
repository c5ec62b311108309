//! Policy in Rego, for what types do not cover: modules evaluated over the verdict's own JSON.
//!
//! A module is named with its digest, so the typed policy's digest covers it, and it can only
//! refuse: everything typed must hold besides. Its package is `bulla`, and `data.bulla.allow` must
//! be `true` and nothing else. `input` is the verdict so far: `tee`, `product`, `simulated`,
//! `appraised_at`, `checks` and `claims`.

use serde::Deserialize;

use bulla_wire::ids::Digest;

use super::reference_values::beside_the_policy;
use super::{Policy, PolicyError};
use crate::result::{AttestationResult, Check, CheckName};

/// Most modules one policy names (ours).
const MAX_MODULES: usize = 8;
/// Largest module, in bytes (ours).
pub const MAX_MODULE_BYTES: usize = 64 * 1024;

/// The Rego modules that must allow what the typed policy affirms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegoRule {
    /// The modules, evaluated together.
    pub modules: Vec<RegoModule>,
}

/// One module beside the policy.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct RegoModule {
    /// Where it is, relative to the policy.
    pub file: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

impl RegoRule {
    pub(super) fn check(&self) -> Result<(), PolicyError> {
        if self.modules.is_empty() {
            return Ok(());
        }
        if !cfg!(feature = "rego") {
            return Err(PolicyError::RegoNotBuilt);
        }
        if self.modules.len() > MAX_MODULES {
            return Err(PolicyError::TooManyModules { got: self.modules.len() });
        }
        self.modules.iter().try_for_each(|module| beside_the_policy(&module.file))
    }
}

/// What must hold for the check to pass.
const EXPECTED: &str = "data.bulla.allow is true";

/// Evaluates the modules a policy names over `result`.
#[cfg(feature = "rego")]
pub(super) fn judge(policy: &Policy, result: &AttestationResult) -> Check {
    let name = CheckName::Rego;
    let given = policy.modules();
    let missing = |module: &&RegoModule| !given.iter().any(|(there, _)| there == *module);
    if let Some(module) = policy.rego().modules.iter().find(missing) {
        let got = format!("{} was not given, or is not the one the policy names", module.file);
        return Check::judge(name, false, EXPECTED, got);
    }
    match evaluate::allow(given, result) {
        Ok(value) => Check::judge(name, value == "true", EXPECTED, value),
        Err(reason) => Check::judge(name, false, EXPECTED, reason),
    }
}

/// This build evaluates no Rego, and takes no policy that names a module.
#[cfg(not(feature = "rego"))]
pub(super) fn judge(_policy: &Policy, _result: &AttestationResult) -> Check {
    Check::judge(CheckName::Rego, false, EXPECTED, "this build evaluates no Rego")
}

#[cfg(feature = "rego")]
mod evaluate;
