//! The checks on Hygon CSV evidence: one function each, in the order they are reported.

use data_encoding::HEXLOWER;
use subtle::ConstantTimeEq;

use super::certificate::{HygonCertificate, Usage};
use super::chain::Chain;
use super::report::Report;
use crate::hex::Hex;
use crate::policy::{Accept, CsvPolicy, Demand, Policy, Tolerance};
use crate::raw::Expectations;
use crate::result::{Check, CheckName};

/// What the checks look at.
pub(super) struct Case<'a> {
    pub report: &'a Report,
    pub chain: &'a Chain<'a>,
    pub policy: &'a Policy,
    pub rules: &'a CsvPolicy,
    pub expectations: &'a Expectations,
}

/// SM2 with SM3, the only algorithm defined.
const ALGORITHM_SM2: u32 = 4;

/// Every check on a report that parsed.
pub(super) fn all(case: &Case<'_>) -> Vec<Check> {
    let checks: [fn(&Case<'_>) -> Check; 13] = [
        algorithm,
        report_signature,
        pek_signature,
        cek_signature,
        hsk_signature,
        root_pinned,
        debug,
        simulated_root,
        generation,
        key_sharing,
        sending,
        measurement,
        nonce,
    ];
    let mut all: Vec<Check> = checks.iter().map(|check| check(case)).collect();
    all.extend(report_data(case));
    all
}

fn algorithm(case: &Case<'_>) -> Check {
    let (usage, algorithm) = (case.report.signing_usage, case.report.signature_algorithm);
    let right = Usage::of(usage) == Some(Usage::Pek) && algorithm == ALGORITHM_SM2;
    let expected = "0x4 (SM2) by a key of usage 0x1002 (PEK)";
    let got = format!("{algorithm:#x} by a key of usage {usage:#x}");
    Check::judge(CheckName::SignatureAlgorithm, right, expected, got)
}

fn signature_words(verifies: bool) -> &'static str {
    if verifies { "verifies" } else { "does not verify" }
}

fn report_signature(case: &Case<'_>) -> Check {
    let verifies = case.report.is_signed();
    let expected = "signed by the PEK inside";
    Check::judge(CheckName::ReportSignature, verifies, expected, signature_words(verifies))
}

fn pek_signature(case: &Case<'_>) -> Check {
    signed_by(CheckName::PekSignature, Some(&case.report.pek), case.chain.cek, Usage::Cek)
}

fn cek_signature(case: &Case<'_>) -> Check {
    signed_by(CheckName::CekSignature, case.chain.cek, case.chain.hsk, Usage::Hsk)
}

fn hsk_signature(case: &Case<'_>) -> Check {
    signed_by(CheckName::HskSignature, case.chain.hsk, case.chain.root.as_ref(), Usage::Hrk)
}

/// A signature by a certificate that is missing proves nothing: where the path ends, the root is
/// not reached, and that check refuses.
fn signed_by(
    name: CheckName,
    signed: Option<&HygonCertificate>,
    issuer: Option<&HygonCertificate>,
    usage: Usage,
) -> Check {
    let expected = format!("signed by the {}", usage.name());
    match (signed, issuer) {
        (Some(signed), Some(issuer)) => {
            let verifies = signed.is_signed_by(issuer);
            Check::judge(name, verifies, expected, signature_words(verifies))
        }
        _ => Check::unknown(name, expected, format!("no {} certificate", usage.name())),
    }
}

fn root_pinned(case: &Case<'_>) -> Check {
    let got = match (&case.chain.root, case.chain.anchor) {
        (_, Some(anchor)) => anchor.label().to_owned(),
        (Some(_), None) => "a root nobody named".to_owned(),
        (None, _) => {
            "no path to a root: HSK and CEK certificates of the chip are wanted".to_owned()
        }
    };
    let pinned = case.chain.anchor.is_some();
    Check::judge(CheckName::RootPinned, pinned, "a root the relying party named", got)
}

fn debug(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.debug_allowed();
    let got =
        if allowed { "on (policy bit 0 not set): the host can read the guest" } else { "off" };
    Check::judge(CheckName::GuestDebug, !allowed, "off", got)
}

fn simulated_root(case: &Case<'_>) -> Check {
    let name = CheckName::SimulatedRoot;
    let expected = "hardware, or simulation allowed";
    if !case.chain.is_simulated() {
        return Check::judge(name, true, expected, "not simulated");
    }
    Check::judge(name, case.policy.allows_simulated(), expected, "SIMULATED: no hardware")
}

fn generation(case: &Case<'_>) -> Check {
    let name = CheckName::CsvGeneration;
    let got = case.report.policy.generation();
    match &case.rules.generations {
        Accept::Any => Check::not_required(name, got.name()),
        only => Check::judge(name, only.accepts(&got), "a generation on the list", got.name()),
    }
}

fn key_sharing(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.key_sharing_allowed();
    let got = if allowed { "allowed (policy bit 1 not set)" } else { "refused" };
    tolerate(CheckName::GuestKeySharing, case.rules.key_sharing, allowed, got)
}

fn sending(case: &Case<'_>) -> Check {
    let allowed = case.report.policy.sending_allowed();
    let got = if allowed { "allowed (policy bit 3 not set)" } else { "refused" };
    tolerate(CheckName::GuestSending, case.rules.sending, allowed, got)
}

fn tolerate(name: CheckName, rule: Tolerance, allowed: bool, got: &str) -> Check {
    match rule {
        Tolerance::Refused => Check::judge(name, !allowed, "refused by the guest's policy", got),
        Tolerance::Allowed => Check::not_required(name, got),
    }
}

/// The policy's list, and the caller's own expectation where there is one.
fn measurement(case: &Case<'_>) -> Check {
    let name = CheckName::Measurement;
    let got = Hex(case.report.measurement);
    let listed = &case.rules.measurements;
    match (listed, &case.expectations.measurement) {
        (Accept::Any, None) => Check::not_required(name, got.to_string()),
        (listed, None) => {
            let expected = "a measurement the policy lists";
            Check::judge(name, listed.accepts(&got), expected, got.to_string())
        }
        (listed, Some(expected)) => {
            let passes = listed.accepts(&got) && expected[..] == case.report.measurement;
            Check::judge(name, passes, HEXLOWER.encode(expected), got.to_string())
        }
    }
}

/// The nonce the guest gave with its request: 16 bytes, compared whole.
fn nonce(case: &Case<'_>) -> Check {
    let name = CheckName::Nonce;
    let got = Hex(case.report.nonce).to_string();
    match (&case.expectations.nonce, case.rules.nonce) {
        (Some(sent), _) => {
            let answered = sent[..].ct_eq(&case.report.nonce[..]).into();
            Check::judge(name, answered, HEXLOWER.encode(sent), got)
        }
        (None, Demand::Required) => {
            let got = format!("none was sent; {got}");
            Check::judge(name, false, "a nonce sent by the verifier", got)
        }
        (None, Demand::NotRequired) if is_open(case) => {
            let expected = "a nonce, report data or measurement to compare: this version's \
                            signature leaves the firmware's own nonce open";
            Check::judge(name, false, expected, format!("none was given; {got}"))
        }
        (None, Demand::NotRequired) => Check::not_required(name, got),
    }
}

/// Version 1 signs its fields disguised, and not the nonce they are disguised with: whoever changes
/// that changes every word of every field by one pattern. One known field settles the pattern.
fn is_open(case: &Case<'_>) -> bool {
    let Expectations { report_data, measurement, .. } = case.expectations;
    let is_any = matches!(case.rules.measurements, Accept::Any);
    case.report.version == 1 && is_any && report_data.is_none() && measurement.is_none()
}

fn report_data(case: &Case<'_>) -> Option<Check> {
    let expected = case.expectations.report_data?;
    let got = case.report.report_data;
    let same = expected[..].ct_eq(&got[..]).into();
    Some(Check::judge(CheckName::ReportData, same, Hex(expected).to_string(), Hex(got).to_string()))
}
