//! The guest: its launch policy, privilege level, measurement and what it had signed.

use data_encoding::HEXLOWER;

use super::Case;
use crate::hex::Hex;
use crate::policy::{Accept, Demand, Tolerance};
use crate::result::{Check, CheckName};

pub(super) fn debug(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.debug_allowed();
    let got = if allowed { "on (policy bit 19): the host can read the guest" } else { "off" };
    Check::judge(CheckName::GuestDebug, !allowed, "off", got)
}

pub(super) fn migration_agent(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.migration_agent_allowed();
    let got = if allowed { "may move the guest (policy bit 18)" } else { "none" };
    tolerate(CheckName::GuestMigrationAgent, case.rules.migration_agent, allowed, "none", got)
}

pub(super) fn smt(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.smt_allowed();
    let enabled = case.report.platform_info.smt_enabled();
    let got = format!(
        "{} by the guest's policy, {} on the platform",
        if allowed { "allowed" } else { "refused" },
        if enabled { "on" } else { "off" }
    );
    let expected = "refused by the guest's policy (bit 16)";
    tolerate(CheckName::GuestSmt, case.rules.smt, allowed, expected, &got)
}

fn tolerate(name: CheckName, rule: Tolerance, present: bool, expected: &str, got: &str) -> Check {
    match rule {
        Tolerance::Refused => Check::judge(name, !present, expected, got),
        Tolerance::Allowed => Check::not_required(name, got),
    }
}

pub(super) fn single_socket(case: &Case<'_>) -> Check {
    let single = case.report.policy.single_socket_only();
    let got = if single { "one socket only" } else { "any number of sockets" };
    match case.rules.single_socket {
        Demand::Required => Check::judge(
            CheckName::GuestSingleSocket,
            single,
            "one socket only (policy bit 20)",
            got,
        ),
        Demand::NotRequired => Check::not_required(CheckName::GuestSingleSocket, got),
    }
}

/// Level 0 is the most privileged: under a paravisor the workload runs above it, and a report the
/// host asked for carries 0xffffffff.
pub(super) fn vmpl(case: &Case<'_>) -> Check {
    let got = case.report.vmpl;
    match &case.rules.vmpl {
        Accept::Any => Check::not_required(CheckName::Vmpl, got.to_string()),
        Accept::Only(levels) => {
            let expected = format!("one of {levels:?}");
            Check::judge(CheckName::Vmpl, levels.contains(&got), expected, got.to_string())
        }
    }
}

/// The policy's list, and the caller's own expectation where there is one.
pub(super) fn measurement(case: &Case<'_>) -> Check {
    let name = CheckName::Measurement;
    let got = Hex(case.report.measurement);
    let listed = &case.rules.measurements;
    match (listed, &case.expectations.measurement) {
        (Accept::Any, None) => Check::not_required(name, got.to_string()),
        (listed, None) => Check::judge(
            name,
            listed.accepts(&got),
            "a measurement the policy lists",
            got.to_string(),
        ),
        (listed, Some(expected)) => {
            let passes = listed.accepts(&got) && expected[..] == case.report.measurement;
            Check::judge(name, passes, HEXLOWER.encode(expected), got.to_string())
        }
    }
}

pub(super) fn host_data(case: &Case<'_>) -> Check {
    let name = CheckName::HostData;
    let got = Hex(case.report.host_data);
    match &case.rules.host_data {
        Accept::Any => Check::not_required(name, got.to_string()),
        only => Check::judge(name, only.accepts(&got), "a value the policy lists", got.to_string()),
    }
}

/// What a caller of the raw appraisal expects the guest to have had signed; with a keyset beside
/// the report, [`appraise`](crate::appraise::appraise) checks the binding instead.
pub(super) fn report_data(case: &Case<'_>) -> Option<Check> {
    let expected = case.expectations.report_data?;
    let got = case.report.report_data;
    let same = subtle::ConstantTimeEq::ct_eq(&expected[..], &got[..]).into();
    Some(Check::judge(CheckName::ReportData, same, Hex(expected).to_string(), Hex(got).to_string()))
}
