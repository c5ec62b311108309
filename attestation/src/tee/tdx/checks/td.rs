//! The TD: its attributes, measurements, and what it had signed.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use super::Case;
use crate::hex::Hex;
use crate::policy::{Accept, Demand, Tolerance};
use crate::result::{Check, CheckName};
use crate::tee::tdx::event_log::Registers;

pub(super) fn debug(case: &Case<'_>) -> Check {
    let on = case.quote.body.td_attributes.debug();
    let got = if on { "on (TD attribute bit 0): the host can read the TD" } else { "off" };
    Check::judge(CheckName::GuestDebug, !on, "off", got)
}

/// A log given must lead to the registers of the quote. A log names no quote, so one that leads
/// elsewhere cannot be told from an altered one.
pub(super) fn event_log(case: &Case<'_>) -> Check {
    let name = CheckName::EventLog;
    let logs = case.material.event_logs;
    let Some(first) = logs.first() else {
        return Check::not_required(name, "no event log given");
    };
    let registers = &case.quote.body.rtmrs;
    let matching = logs.iter().find(|log| log.replay() == *registers);
    let got = match matching {
        Some(log) => format!("{} events ({}) lead to them", log.events.len(), log.form),
        None => differing(&first.replay(), registers),
    };
    Check::judge(name, matching.is_some(), "an event log that leads to RTMR 0 to 3", got)
}

/// Which registers a log does not lead to.
fn differing(replayed: &Registers, reported: &Registers) -> String {
    let differ = replayed.iter().zip(reported).enumerate().filter(|(_, (one, other))| one != other);
    let names: Vec<String> = differ.map(|(number, _)| format!("RTMR{number}")).collect();
    format!("the log leads to another {}", names.join(", "))
}

pub(super) fn quote_version(case: &Case<'_>) -> Check {
    let (got, minimum) = (case.quote.version, case.rules.minimum_quote_version);
    let expected = format!("at least {minimum}");
    Check::judge(CheckName::ReportVersion, got >= minimum, expected, got.to_string())
}

pub(super) fn sept_ve_disable(case: &Case<'_>) -> Check {
    let name = CheckName::SeptVeDisable;
    let set = case.quote.body.td_attributes.sept_ve_disable();
    let got = if set { "set" } else { "not set" };
    match case.rules.sept_ve_disable {
        Demand::Required => Check::judge(name, set, "set (TD attribute bit 28)", got),
        Demand::NotRequired => Check::not_required(name, got),
    }
}

pub(super) fn profiling(case: &Case<'_>) -> Check {
    let on = case.quote.body.td_attributes.profiling();
    let got = if on { "the host may watch performance counters" } else { "off" };
    tolerate(CheckName::TdProfiling, case.rules.profiling, on, "off", got)
}

pub(super) fn migration(case: &Case<'_>) -> Check {
    let on = case.quote.body.td_attributes.migratable();
    let got = if on { "may be moved (TD attribute bit 29)" } else { "none" };
    tolerate(CheckName::GuestMigrationAgent, case.rules.migration, on, "none", got)
}

pub(super) fn service_td(case: &Case<'_>) -> Check {
    let bound = case.quote.body.mrservicetd.filter(|measurement| *measurement != [0; 48]);
    let got = bound.map_or("none".to_owned(), |measurement| HEXLOWER.encode(&measurement));
    tolerate(CheckName::ServiceTd, case.rules.service_td, bound.is_some(), "none", &got)
}

fn tolerate(name: CheckName, rule: Tolerance, present: bool, expected: &str, got: &str) -> Check {
    match rule {
        Tolerance::Refused => Check::judge(name, !present, expected, got),
        Tolerance::Allowed => Check::not_required(name, got),
    }
}

/// MRTD: the policy's list, and the caller's own expectation where there is one.
pub(super) fn measurement(case: &Case<'_>) -> Check {
    let name = CheckName::Measurement;
    let got = Hex(case.quote.body.mrtd);
    let listed = &case.rules.measurements;
    match &case.expectations.measurement {
        None => among(name, listed, case.quote.body.mrtd),
        Some(expected) => {
            let passes = listed.accepts(&got) && expected[..] == got.0;
            Check::judge(name, passes, HEXLOWER.encode(expected), got.to_string())
        }
    }
}

fn among(name: CheckName, listed: &Accept<Hex<48>>, got: [u8; 48]) -> Check {
    let got = Hex(got);
    match listed {
        Accept::Any => Check::not_required(name, got.to_string()),
        only => Check::judge(name, only.accepts(&got), "a value the policy lists", got.to_string()),
    }
}

pub(super) fn rtmr0(case: &Case<'_>) -> Check {
    among(CheckName::Rtmr0, &case.rules.rtmr0, case.quote.body.rtmrs[0])
}

pub(super) fn rtmr1(case: &Case<'_>) -> Check {
    among(CheckName::Rtmr1, &case.rules.rtmr1, case.quote.body.rtmrs[1])
}

pub(super) fn rtmr2(case: &Case<'_>) -> Check {
    among(CheckName::Rtmr2, &case.rules.rtmr2, case.quote.body.rtmrs[2])
}

pub(super) fn rtmr3(case: &Case<'_>) -> Check {
    among(CheckName::Rtmr3, &case.rules.rtmr3, case.quote.body.rtmrs[3])
}

pub(super) fn mrseam(case: &Case<'_>) -> Check {
    among(CheckName::MrSeam, &case.rules.mrseam, case.quote.body.mrseam)
}

pub(super) fn mrconfigid(case: &Case<'_>) -> Check {
    among(CheckName::MrConfigId, &case.rules.mrconfigid, case.quote.body.mrconfigid)
}

pub(super) fn mrowner(case: &Case<'_>) -> Check {
    among(CheckName::MrOwner, &case.rules.mrowner, case.quote.body.mrowner)
}

pub(super) fn mrownerconfig(case: &Case<'_>) -> Check {
    among(CheckName::MrOwnerConfig, &case.rules.mrownerconfig, case.quote.body.mrownerconfig)
}

/// The platform is on the list, by its instance or its package. Only the certificate names it, so one
/// without a name matches nothing.
pub(super) fn chip_id(case: &Case<'_>) -> Check {
    let name = CheckName::ChipIdPinned;
    let platform = case.material.chain.platform.as_ref();
    let got = platform.map_or("no platform".to_owned(), |found| HEXLOWER.encode(&found.id()));
    match &case.rules.chip_ids {
        Accept::Any => Check::not_required(name, got),
        Accept::Only(listed) => {
            // A package or instance id of zero would be nobody's in particular.
            let is_named = |id: &Hex<16>| {
                id.0 != [0; 16] && platform.is_some_and(|platform| platform.is_called(&id.0))
            };
            let expected = "a platform the policy lists";
            Check::judge(name, listed.iter().any(is_named), expected, got)
        }
    }
}

/// What a caller of the raw appraisal expects the TD to have had signed; with a keyset beside the
/// quote, [`appraise`](crate::appraise::appraise) checks the binding instead.
pub(super) fn report_data(case: &Case<'_>) -> Option<Check> {
    let expected = case.expectations.report_data?;
    let got = case.quote.body.report_data;
    let same = expected[..].ct_eq(&got[..]).into();
    Some(Check::judge(CheckName::ReportData, same, Hex(expected).to_string(), Hex(got).to_string()))
}
