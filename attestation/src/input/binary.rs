//! Bytes as hardware, firmware and certificate authorities write them, told apart by structure.

use super::EndorsementKind;
use super::encoding;
use super::table::{certificate_table, is_certificate_table};
use crate::endorsement::{Certificate, Crl};
use crate::tee::csv::certificate::HygonCertificate;
use crate::tee::snp::report::{REPORT_BYTES, Report};
use crate::tee::{TeeKind, csv};

/// What begins at the start of some bytes.
pub(super) enum Part<'a> {
    /// Evidence.
    Evidence { kind: TeeKind, what: &'static str, bytes: &'a [u8] },
    /// An endorsement.
    Endorsement { kind: EndorsementKind, bytes: &'a [u8] },
    /// Begins like something known, and is not.
    Broken { reason: String },
    /// Something else inside.
    Wrapped { how: &'static str, bytes: &'a [u8] },
}

/// SPDM versions 1.0 to 1.4 (DSP0274): major version 1.
const SPDM_VERSIONS: std::ops::RangeInclusive<u8> = 0x10..=0x14;
/// GET_MEASUREMENTS request and MEASUREMENTS response (DSP0274).
const GET_MEASUREMENTS: u8 = 0xe0;
const MEASUREMENTS: u8 = 0x60;
/// Length of the request in front of a device's report, in bytes.
const SPDM_REQUEST_BYTES: usize = 37;
/// Header of a quote, in bytes (Intel TDX DCAP Quoting Library API, quote format).
const QUOTE_HEADER_BYTES: usize = 48;
/// QE_VENDOR_ID of Intel's quoting enclave.
const INTEL_QE: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];
/// TEE types in a quote's header.
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
/// Where the paravisor's report of an Azure VM has the type of the hardware report.
const HCL_REPORT_TYPE_AT: usize = 1224;
/// Where it has the hardware report.
const HCL_HARDWARE_REPORT: std::ops::Range<usize> = 32..32 + REPORT_BYTES;
/// Bytes in front of a report in the firmware's MSG_REPORT_RSP (AMD 56860): status, size, reserved.
const REPORT_RESPONSE_HEADER_BYTES: usize = 32;
/// The first event of a log names its specification (TCG PC Client Platform Firmware Profile).
const EVENT_LOG_SIGNATURE: &[u8] = b"Spec ID Event03\0";
const EVENT_LOG_SIGNATURE_AT: usize = 32;
/// Most DER structures one after the other (ours).
const MAX_DER_STRUCTURES: usize = 64;

/// What `bytes` are; `None` where no structure known here begins like them.
pub(super) fn parts(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    hygon(bytes)
        .or_else(|| snp(bytes))
        .or_else(|| quote(bytes))
        .or_else(|| device_report(bytes))
        .or_else(|| azure(bytes))
        .or_else(|| event_log(bytes))
        .or_else(|| der(bytes))
        .or_else(|| table(bytes))
}

/// A word for bytes nobody knows.
pub(super) fn why_unknown(bytes: &[u8]) -> String {
    let first = bytes.get(..8).unwrap_or(bytes);
    let shown = data_encoding::HEXLOWER.encode(first);
    let length = bytes.len();
    match bytes {
        [0x84, 0x44, 0xa1, 0x01, 0x38, ..] | [0xd2, 0x84, ..] => {
            "a signed CBOR structure (COSE): no evidence of a kind appraised here".to_owned()
        }
        [0xff, b'T', b'C', b'G', ..] => {
            "a TPM quote alone: give the document that has the hardware report, too".to_owned()
        }
        _ if encoding::text(bytes).is_some() => {
            format!("text of {length} bytes in which nothing known was found")
        }
        _ => format!("{length} bytes that begin {shown}…: no structure known here"),
    }
}

fn number<const AT: usize>(bytes: &[u8]) -> Option<u32> {
    bytes.get(AT..AT + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// A CSV report, told by the certificate inside, or certificates in Hygon's form.
fn hygon(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if HygonCertificate::read(bytes).is_some() {
        return Some(vec![Part::Endorsement { kind: EndorsementKind::HygonCertificate, bytes }]);
    }
    let what = "Hygon CSV report";
    let report = Part::Evidence { kind: TeeKind::Csv, what, bytes };
    csv::report::Report::parse(bytes).is_ok().then(|| vec![report])
}

/// A report alone, with the host's certificate table behind it (go-sev-guest's extended report),
/// followed by zeros of a fixed-size buffer, or inside the firmware's response.
fn snp(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if let Some(inner) = report_in_response(bytes) {
        return snp(inner);
    }
    let begins_like_one = number::<0>(bytes).is_some_and(|version| (1..=16).contains(&version))
        && number::<0x34>(bytes) == Some(1)
        && number::<0x4c>(bytes) == Some(0);
    let Some((report, rest)) = bytes.split_at_checked(REPORT_BYTES) else {
        let reason =
            format!("the beginning of a SEV-SNP report: {} of {REPORT_BYTES} bytes", bytes.len());
        return begins_like_one.then(|| vec![Part::Broken { reason }]);
    };
    let is_followed_well =
        rest.iter().all(|byte| *byte == 0) || !certificate_table_behind(rest).is_empty();
    match Report::parse(report) {
        Ok(_) if is_followed_well => {
            let what = "SEV-SNP report";
            let mut parts = vec![Part::Evidence { kind: TeeKind::Snp, what, bytes: report }];
            let how = "certificate table";
            let certificates = certificate_table_behind(rest).into_iter();
            parts.extend(certificates.map(|bytes| Part::Wrapped { how, bytes }));
            Some(parts)
        }
        Err(error) if begins_like_one => {
            Some(vec![Part::Broken { reason: format!("like a SEV-SNP report, but {error}") }])
        }
        _ => None,
    }
}

fn certificate_table_behind(rest: &[u8]) -> Vec<&[u8]> {
    if is_certificate_table(rest) { certificate_table(rest) } else { Vec::new() }
}

fn report_in_response(bytes: &[u8]) -> Option<&[u8]> {
    let (header, report) = bytes.split_at_checked(REPORT_RESPONSE_HEADER_BYTES)?;
    let is_response = number::<0>(header) == Some(0)
        && number::<4>(header) == Some(REPORT_BYTES as u32)
        && header.iter().skip(8).all(|byte| *byte == 0);
    is_response.then_some(report)
}

/// A quote by its header: versions 3 to 5, an ECDSA key, a TEE type that exists. An SGX quote is
/// handed on: it is one, and it is not a TD's, which is a verdict.
fn quote(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let [v, 0, 2 | 3, 0, ..] = bytes else { return None };
    let tee_type = number::<4>(bytes)?;
    let is_intel = bytes.get(12..28) == Some(&INTEL_QE);
    let what = match (v, tee_type) {
        (4 | 5, TEE_TDX) => "TDX quote",
        (3..=5, TEE_SGX) if is_intel => "SGX quote",
        (3..=5, _) if is_intel => "quote of an unknown TEE",
        _ => return None,
    };
    if bytes.len() < QUOTE_HEADER_BYTES {
        return Some(vec![Part::Broken { reason: format!("the beginning of a {what}") }]);
    }
    Some(vec![Part::Evidence { kind: TeeKind::Tdx, what, bytes }])
}

/// A GPU's or switch's SPDM measurements: the request that was sent, then the response.
fn device_report(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let [version, GET_MEASUREMENTS, ..] = bytes else { return None };
    if !SPDM_VERSIONS.contains(version) {
        return None;
    }
    match bytes.get(SPDM_REQUEST_BYTES..) {
        Some([_, MEASUREMENTS, ..]) => {
            let what = "NVIDIA device report (SPDM)";
            Some(vec![Part::Evidence { kind: TeeKind::Nvidia, what, bytes }])
        }
        Some([_, _, ..]) => None,
        _ => {
            let reason = "the beginning of an SPDM measurement request".to_owned();
            Some(vec![Part::Broken { reason }])
        }
    }
}

/// The paravisor's report of an Azure VM, without a vTPM quote.
fn azure(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if !bytes.starts_with(b"HCLA") {
        return None;
    }
    let kind = match number::<HCL_REPORT_TYPE_AT>(bytes) {
        Some(2) => TeeKind::AzureSnp,
        Some(4) => TeeKind::AzureTdx,
        _ => {
            let reason = "like an Azure paravisor's report, but of no known hardware".to_owned();
            return Some(vec![Part::Broken { reason }]);
        }
    };
    Some(vec![Part::Evidence { kind, what: "Azure paravisor report", bytes }])
}

/// The SEV-SNP report inside a paravisor's report.
pub(super) fn report_in_azure(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(HCL_HARDWARE_REPORT).filter(|report| Report::parse(report).is_ok())
}

fn event_log(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let end = EVENT_LOG_SIGNATURE_AT + EVENT_LOG_SIGNATURE.len();
    (bytes.get(EVENT_LOG_SIGNATURE_AT..end) == Some(EVENT_LOG_SIGNATURE))
        .then(|| vec![Part::Endorsement { kind: EndorsementKind::EventLog, bytes }])
}

fn table(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    let how = "certificate table";
    let wrapped = |bytes| Part::Wrapped { how, bytes };
    is_certificate_table(bytes).then(|| certificate_table(bytes).into_iter().map(wrapped).collect())
}

/// DER structures, one after the other, and zeros behind. What can be read as text is left to be:
/// hex and base64 often begin with `0`, the number of a SEQUENCE.
fn der(bytes: &[u8]) -> Option<Vec<Part<'_>>> {
    if bytes.get(1).is_some_and(u8::is_ascii_graphic) {
        return None;
    }
    let mut parts = Vec::new();
    let mut rest = bytes;
    while !rest.iter().all(|byte| *byte == 0) {
        let (structure, after) = der_structure(rest)?;
        if parts.len() == MAX_DER_STRUCTURES {
            let reason = format!("more than {MAX_DER_STRUCTURES} DER structures");
            parts.push(Part::Broken { reason });
            break;
        }
        parts.push(der_part(structure));
        rest = after;
    }
    (!parts.is_empty()).then_some(parts)
}

fn der_part(bytes: &[u8]) -> Part<'_> {
    let certificate = Certificate::from_der(bytes);
    let kind = match &certificate {
        Ok(_) => EndorsementKind::Certificate,
        Err(_) if Crl::from_der(bytes).is_ok() => EndorsementKind::Crl,
        Err(_) if is_ocsp(bytes) => EndorsementKind::Ocsp,
        Err(error) => {
            return Part::Broken { reason: format!("a DER structure that is unusable: {error}") };
        }
    };
    Part::Endorsement { kind, bytes }
}

/// OCSPResponse (RFC 6960 §4.2.1): a status, then the answer under context tag 0.
fn is_ocsp(bytes: &[u8]) -> bool {
    let content = match bytes {
        [0x30, 0x82, _, _, content @ ..] | [0x30, 0x81, _, content @ ..] => content,
        [0x30, _, content @ ..] => content,
        _ => return false,
    };
    matches!(content, [0x0a, 0x01, 0..=6] | [0x0a, 0x01, 0, 0xa0, ..])
}

/// The first SEQUENCE, and what follows it.
fn der_structure(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x30, first, ..] = bytes else { return None };
    let (header, length) = match first {
        0..=0x7f => (2, usize::from(*first)),
        0x81..=0x83 => {
            let header = 2 + usize::from(first - 0x80);
            let digits = bytes.get(2..header)?;
            (header, digits.iter().fold(0, |value, digit| value << 8 | usize::from(*digit)))
        }
        _ => return None,
    };
    bytes.split_at_checked(header + length)
}
