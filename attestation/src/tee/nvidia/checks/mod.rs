//! The checks on NVIDIA evidence: one function each, in the order they are reported. Each judges one
//! device; over several devices the lines of one name become one line, which names the devices it
//! is about.

mod certificates;
mod device;
mod manifests;
mod report;
mod revocation;

use super::case::Case;
use crate::policy::{Demand, NvidiaPolicy, Policy};
use crate::result::{Check, CheckName, CheckResult};
use crate::tee::TeeKind;

/// Got-text for what depends on a missing piece.
const NO_LEAF: &str = "no certificate of the key that signed";

/// Most devices one line names.
const MAX_NAMED: usize = 8;

/// Every check on the devices of one document.
pub(super) fn all(cases: &[Case<'_>], rules: &NvidiaPolicy) -> Vec<Check> {
    let each: [fn(&Case<'_>) -> Check; 30] = [
        report::report_signature,
        certificates::leaf_signature,
        certificates::intermediate_signature,
        certificates::root_pinned,
        certificates::dates,
        certificates::constraints,
        revocation::crl_signature,
        revocation::ocsp_signature,
        revocation::revocation,
        report::product_line,
        report::firmware_identity,
        manifests::format,
        manifests::signature,
        manifests::certificates,
        manifests::dates,
        manifests::revocation,
        manifests::measurements,
        certificates::simulated_root,
        revocation::revocation_known,
        manifests::revocation_known,
        manifests::measurements_known,
        device::architecture,
        device::switches,
        device::driver_allowed,
        device::minimum_driver,
        device::vbios_allowed,
        device::minimum_vbios,
        device::pinned,
        report::document_agrees,
        report::nonce,
    ];
    let mut checks: Vec<Check> = each.iter().map(|check| over_all(cases, *check)).collect();
    checks.push(device::distinct(cases, rules));
    checks.push(device::closed_fabric(cases, rules));
    if let Some(first) = cases.first() {
        checks.extend(report::unmeetable(first));
    }
    checks
}

/// Whether the policy takes this TEE at all.
pub(super) fn tee_type(policy: &Policy) -> Check {
    let takes = policy.allows_tee(TeeKind::Nvidia);
    let got = TeeKind::Nvidia.to_string();
    Check::judge(CheckName::TeeType, takes, "a TEE the policy lists", got)
}

/// One line over all devices: the worst result, and the devices that have it, unless all say the
/// same.
fn over_all(cases: &[Case<'_>], check: fn(&Case<'_>) -> Check) -> Check {
    let lines: Vec<(String, Check)> =
        cases.iter().map(|case| (case.label(), check(case))).collect();
    let worst = lines.iter().max_by_key(|(_, check)| rank(check.result));
    let Some((_, worst)) = worst else {
        return Check::judge(check_of_none(), false, "a device", "none");
    };
    let (name, result, expected) = (worst.name, worst.result, worst.expected.clone());
    let got = match lines.as_slice() {
        [(_, only)] => only.got.clone(),
        several if several.iter().all(|(_, line)| line.got == worst.got) => {
            format!("all {} devices: {}", several.len(), worst.got)
        }
        several => named(several.iter().filter(|(_, line)| line.result == result)),
    };
    match result {
        CheckResult::Pass => Check::judge(name, true, expected, got),
        CheckResult::Fail => Check::judge(name, false, expected, got),
        CheckResult::Unknown => Check::unknown(name, expected, got),
        CheckResult::NotRequired => Check::not_required(name, got),
    }
}

/// A document without devices never gets here; were it to, it is refused.
fn check_of_none() -> CheckName {
    CheckName::ReportFormat
}

fn named<'a>(lines: impl Iterator<Item = &'a (String, Check)>) -> String {
    let texts: Vec<String> =
        lines.map(|(label, check)| format!("{label}: {}", check.got)).collect();
    let shown = texts.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join("; ");
    match texts.len().saturating_sub(MAX_NAMED) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

fn rank(result: CheckResult) -> u8 {
    match result {
        CheckResult::NotRequired => 0,
        CheckResult::Pass => 1,
        CheckResult::Unknown => 2,
        CheckResult::Fail => 3,
    }
}

/// Pass or fail where the policy asks, otherwise only shown.
fn demanded(
    name: CheckName,
    demand: Demand,
    holds: bool,
    expected: &str,
    got: impl Into<String>,
) -> Check {
    match demand {
        Demand::Required => Check::judge(name, holds, expected, got),
        Demand::NotRequired => Check::not_required(name, got),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tee::nvidia::case::tests::with_devices;

    fn got(devices: usize, check: fn(&Case<'_>) -> Check) -> String {
        with_devices(&vec![&[][..]; devices], |cases| over_all(cases, check).got)
    }

    #[test]
    fn devices_that_say_the_same_share_one_word_and_others_are_named() {
        let same = |_: &Case<'_>| Check::judge(CheckName::Nonce, true, "", "answered");
        assert_eq!(got(1, same), "answered");
        assert_eq!(got(3, same), "all 3 devices: answered");
        let own =
            |case: &Case<'_>| Check::judge(CheckName::Nonce, true, "", case.number.to_string());
        let (first, second) =
            ("device 1 (gpu without certificate): 1", "device 2 (gpu without certificate): 2");
        assert_eq!(got(2, own), format!("{first}; {second}"));
        let second_fails = |case: &Case<'_>| {
            Check::judge(CheckName::Nonce, case.number != 2, "", case.number.to_string())
        };
        assert_eq!(got(3, second_fails), second);
    }
}
