//! The report's own signature, what it answers, and what stands beside it.

use subtle::ConstantTimeEq;

use super::NO_LEAF;
use crate::policy::Demand;
use crate::result::{Check, CheckName};
use crate::tee::nvidia::case::Case;
use crate::tee::nvidia::document;
use crate::tee::nvidia::identity::{Architecture, hex};

pub(super) fn report_signature(case: &Case<'_>) -> Check {
    let expected = "signature over request and answer by the leaf's key";
    match (case.leaf, case.signature_holds) {
        (None, _) => Check::judge(CheckName::ReportSignature, false, expected, NO_LEAF),
        (Some(_), true) => Check::judge(CheckName::ReportSignature, true, expected, "verifies"),
        (Some(_), false) => {
            let got = "does not verify: altered, or another device's";
            Check::judge(CheckName::ReportSignature, false, expected, got)
        }
    }
}

/// A switch's report under a GPU's certificate, or the reverse.
pub(super) fn product_line(case: &Case<'_>) -> Check {
    let name = CheckName::ProductLine;
    let chip = case.identity.chip.as_deref().unwrap_or("no chip");
    let got = format!("report of a {}, certificate of {chip}", case.identity.kind);
    let expected = "a report of the kind of device its certificate names";
    match case.identity.certified_kind() {
        Some(kind) => Check::judge(name, kind == case.identity.kind, expected, got),
        None => Check::unknown(name, expected, got),
    }
}

/// Since 2024 reports repeat the firmware digest that the leaf's key was derived for. Older reports
/// and those of switches do not.
pub(super) fn firmware_identity(case: &Case<'_>) -> Check {
    let name = CheckName::FirmwareIdentity;
    let (stated, certified) = (case.identity.fwid, case.identity.certified_fwid);
    let show = |fwid: Option<_>| {
        fwid.map_or("none".to_owned(), |fwid: crate::hex::Hex<48>| fwid.to_string())
    };
    let (expected, got) = (show(certified), show(stated));
    match stated {
        Some(_) => Check::judge(name, stated == certified, expected, got),
        None => Check::unknown(name, expected, "the report names none"),
    }
}

/// What NVIDIA's tools write beside a report is signed by nobody: it may only repeat it. Words for
/// an architecture that nobody here knows say nothing.
pub(super) fn document_agrees(case: &Case<'_>) -> Check {
    let name = CheckName::DocumentAgrees;
    let expected = "what the reports say, and one nonce for all";
    let (stated, identity) = (&case.device.stated, &case.identity);
    let nonce = case.device.report.nonce;
    let stated_nonce = stated.nonce.as_deref();
    let is_nonce = |text: &str| {
        let text = text.strip_prefix("0x").unwrap_or(text);
        document::decode(text).is_some_and(|bytes| bytes == nonce)
    };
    let is_own = |text: &str| identity.architecture().is_none_or(|own| own.is_called(text));
    let is_architecture = |text: &&str| Architecture::ALL.iter().any(|one| one.is_called(text));
    let architecture = stated.architecture.as_deref().filter(is_architecture);
    let same = |text: &str, own: &Option<String>| {
        own.as_ref().is_none_or(|own| own.eq_ignore_ascii_case(text))
    };
    let words = [
        ("nonce", stated_nonce.filter(|text| !is_nonce(text))),
        ("architecture", architecture.filter(|text| !is_own(text))),
        ("driver", stated.driver.as_deref().filter(|text| !same(text, &identity.driver))),
        ("vbios", stated.vbios.as_deref().filter(|text| !same(text, &identity.vbios))),
    ];
    let differs = words
        .into_iter()
        .find_map(|(what, text)| Some(format!("{what} {:?} is not the report's", text?)));
    let other_nonce = (nonce != case.first_nonce).then(|| {
        format!("nonce {}, the first device's is {}", hex(&nonce), hex(&case.first_nonce))
    });
    let fault = differs.or(other_nonce);
    Check::judge(name, fault.is_none(), expected, fault.as_deref().unwrap_or("agrees"))
}

/// The nonce of the request, never the device's own in the answer.
pub(super) fn nonce(case: &Case<'_>) -> Check {
    let name = CheckName::Nonce;
    let own = &case.device.report.nonce;
    match (&case.all.expectations.nonce, case.all.policy.freshness().nonce) {
        (Some(sent), _) => {
            let answered: bool = own.as_slice().ct_eq(sent).into();
            let got =
                if answered { "answered".to_owned() } else { format!("another: {}", hex(own)) };
            Check::judge(name, answered, "the nonce that was sent", got)
        }
        (None, Demand::Required) => {
            Check::judge(name, false, "a nonce sent by the verifier", "none was sent")
        }
        (None, Demand::NotRequired) => Check::not_required(name, hex(own)),
    }
}

/// Expectations that no GPU evidence can meet are not passed over.
pub(super) fn unmeetable(case: &Case<'_>) -> Vec<Check> {
    let expectations = case.all.expectations;
    let got = "GPU evidence carries none: it answers a nonce, and its measurements are compared with manifests";
    let mut checks = Vec::new();
    if let Some(measurement) = &expectations.measurement {
        checks.push(Check::judge(CheckName::Measurement, false, hex(measurement), got));
    }
    if let Some(data) = &expectations.report_data {
        checks.push(Check::judge(CheckName::ReportData, false, hex(data), got));
    }
    checks
}
