//! JSON documents that are one thing as a whole, by their members.

use serde_json::value::RawValue;

use super::EndorsementKind;
use super::json::{Object, bytes_of, text_of};
use crate::tee::{TeeKind, vtpm};

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// Evidence, and what it is called.
    Evidence(TeeKind, &'static str),
    /// An endorsement.
    Endorsement(EndorsementKind),
}

const NVIDIA: Whole = Whole::Evidence(TeeKind::Nvidia, "NVIDIA device evidence");
/// Most elements of a list that are looked at for a device (ours; real lists have up to 16).
const MAX_DEVICES: usize = 64;
/// Names under which tools keep a device's report and its chain.
const DEVICE_REPORT: [&str; 4] = ["evidence", "attestation_report", "AttestationReport", "report"];
const DEVICE_CHAIN: [&str; 5] = [
    "certificate",
    "certificate_chain",
    "cert_chain",
    "attestation_cert_chain",
    "CertificateChains",
];

/// What an object is as a whole; `None`: look inside.
pub(super) fn whole_object(object: &Object<'_>) -> Option<Whole> {
    if object.member(&["format"]).and_then(text_of).as_deref() == Some(vtpm::FORMAT) {
        return Some(Whole::Evidence(TeeKind::VtpmDev, "a TPM's quote without a TEE"));
    }
    if let Some(kind) = azure(object) {
        return Some(Whole::Evidence(kind, "Azure evidence with a vTPM quote"));
    }
    if is_csv(object) {
        return Some(Whole::Evidence(TeeKind::Csv, "Hygon CSV evidence"));
    }
    if is_device(object) || has_devices(object) {
        return Some(NVIDIA);
    }
    is_intel_collateral(object).then_some(Whole::Endorsement(EndorsementKind::IntelCollateral))
}

/// What an array is as a whole; `None`: look inside.
pub(super) fn whole_array(elements: &[&RawValue]) -> Option<Whole> {
    if are_devices(elements) {
        return Some(NVIDIA);
    }
    let first = Object::of(elements.first()?)?;
    let is_event = first.has(&["imr", "rtmr", "index"]) && first.has(&["digest", "digests"]);
    is_event.then_some(Whole::Endorsement(EndorsementKind::EventLog))
}

/// A vTPM quote beside a paravisor's report, each under any name: a document with a name misspelt is
/// still one document, which its reader refuses, and not a report that came without a quote.
fn azure(object: &Object<'_>) -> Option<TeeKind> {
    let mut values = object.members.iter().map(|(_, value)| *value);
    values.find(|value| is_tpm_quote(value))?;
    let mut values = object.members.iter().map(|(_, value)| *value);
    let is_paravisor =
        |value: &&RawValue| bytes_of(value).is_some_and(|bytes| bytes.starts_with(b"HCLA"));
    match (object.has(&["td_quote"]), values.any(|value| is_paravisor(&value))) {
        (true, _) => Some(TeeKind::AzureTdx),
        (false, true) => Some(TeeKind::AzureSnp),
        (false, false) => None,
    }
}

/// Two of the three members of a quote: message, signature, registers.
fn is_tpm_quote(value: &RawValue) -> bool {
    let Some(quote) = Object::of(value) else { return false };
    let members = ["message", "signature", "pcrs"];
    members.iter().filter(|name| quote.has(&[**name])).count() >= 2
}

/// A CSV report beside Hygon's chain, each an object of its own.
fn is_csv(object: &Object<'_>) -> bool {
    let report = object.object(&["attestation_report"]);
    let chain = object.object(&["cert_chain"]);
    let has_magic = report.is_some_and(|report| report.has(&["magic", "data"]));
    has_magic && (object.has(&["serial_number"]) || chain.is_some_and(|chain| chain.has(&["pek"])))
}

/// A device's report beside its chain.
fn is_device(object: &Object<'_>) -> bool {
    if !object.has(&DEVICE_CHAIN) {
        return false;
    }
    let Some(report) = object.member(&DEVICE_REPORT) else { return false };
    let pickled = Object::of(report).and_then(|report| report.member(&["py/b64"]));
    let bytes = bytes_of(pickled.unwrap_or(report));
    bytes.is_some_and(|bytes| matches!(bytes.as_slice(), [0x10..=0x14, 0xe0, ..]))
}

/// A list with such a device in it: the others belong to it, whether they read or not.
fn are_devices(elements: &[&RawValue]) -> bool {
    let mut objects = elements.iter().take(MAX_DEVICES).filter_map(|element| Object::of(element));
    objects.any(|object| is_device(&object))
}

/// A list of such devices under a name.
fn has_devices(object: &Object<'_>) -> bool {
    let names =
        ["evidence_list", "device_evidence_list", "evidences", "gpus", "nvswitches", "devices"];
    object.members.iter().filter(|(name, _)| names.contains(&name.as_str())).any(|(_, list)| {
        let elements: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
        are_devices(&elements)
    })
}

/// What Intel's service answers, or all of a quote's collateral in one document (the member names of
/// Intel's quote verification library, in its spelling or in camel case).
fn is_intel_collateral(object: &Object<'_>) -> bool {
    let holds = |names: &[&str], inner: &str| {
        object.member(names).is_some_and(|value| match text_of(value) {
            Some(text) => text.contains(inner),
            None => value.get().contains(inner),
        })
    };
    holds(&["tcbInfo", "tcb_info", "tcbInfoBody"], "\"fmspc\"")
        || holds(&["enclaveIdentity", "qe_identity", "qeIdentity"], "\"mrsigner\"")
        || holds(&["enclaveIdentity", "qe_identity", "qeIdentity"], "\"isvprodid\"")
}
