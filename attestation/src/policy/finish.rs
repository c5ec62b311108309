//! The last word: rules that look at a whole verdict, after all its other checks.
//!
//! A result is born with these checks failed ([`pending`]) and only [`finish`] judges them, so no
//! way to appraise can pass them by.

use super::{Policy, rego};
use crate::reference;
use crate::result::{AttestationResult, Check, CheckName};

/// The checks that wait for the end, where the policy asks for any.
pub(crate) fn pending(policy: &Policy) -> Vec<Check> {
    let waiting =
        |name| Check::judge(name, false, "a judgement of the whole verdict", "not judged");
    let mut checks = Vec::new();
    if !policy.reference_values().manifests.is_empty() {
        checks.push(waiting(CheckName::ReferenceValues));
    }
    if !policy.rego().modules.is_empty() {
        checks.push(waiting(CheckName::Rego));
    }
    checks
}

/// Judges them; Rego last, since it sees the rest.
pub(crate) fn finish(mut result: AttestationResult, policy: &Policy) -> AttestationResult {
    // Whatever passed before: evidence of which nothing can be said was not read.
    if result.is_affirmed() && result.claims().is_none() {
        let expected = "evidence that makes claims";
        result.replace(Check::judge(CheckName::ReportFormat, false, expected, "none"));
    }
    if !policy.reference_values().manifests.is_empty() {
        let check = reference::judge(policy, &result);
        result.replace(check);
    }
    if !policy.rego().modules.is_empty() {
        let check = rego::judge(policy, &result);
        result.replace(check);
    }
    result
}

#[cfg(test)]
mod tests {
    use bulla_wire::units::UnixSeconds;

    use super::*;
    use crate::tee::TeeKind;

    /// As it is between its birth and [`finish`]: whoever forgot the end would refuse.
    #[test]
    fn a_verdict_that_nobody_finished_affirms_nothing() {
        let strict = include_str!("../../../policies/appraisal/strict.toml");
        let root = "00".repeat(32);
        let named = format!(
            "manifests = [{{ name = \"a\", root = \"{root}\", minimum_version = 1, files = [\"a\"] }}]"
        );
        let asks = Policy::from_toml(&strict.replacen("manifests = []", &named, 1)).unwrap();
        let born = |policy: &Policy| {
            let passed = Check::judge(CheckName::TeeType, true, "snp", "snp");
            AttestationResult::new(TeeKind::Snp, policy, UnixSeconds(0), vec![passed])
        };
        let failed: Vec<CheckName> = born(&asks).failed().map(|check| check.name).collect();
        assert_eq!(failed, [CheckName::ReferenceValues]);
        assert!(born(&Policy::from_toml(strict).unwrap()).is_affirmed());
    }
}
