//! Evidence as it comes: one report, or a JSON document of NVIDIA's tools with many.
//!
//! The documents differ from tool to tool: a list of `{evidence, certificate, arch, nonce}`, a
//! request with an `evidence_list` and one nonce for all, a dump of GPUs and switches with their
//! objects, a collection of wrapped messages (2026, RATS conceptual message wrappers). All have in
//! common that a device is an object with a report and a chain, so those are looked for, wherever
//! they are. What stands beside a report is signed by nobody and is compared with it, never
//! believed.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use serde_json::{Map, Value};
use x509_parser::pem::Pem;

use super::spdm::{Report, ReportError};
use crate::endorsement::{Certificate, Element};

/// Largest document in bytes (ours; 8 GPUs and 4 switches have 140 KiB).
pub const MAX_DOCUMENT_BYTES: usize = 4 << 20;
/// Most devices of one document (ours; a rack has 72 GPUs and 18 switches).
pub const MAX_DEVICES: usize = 128;
/// Most certificates beside one report (ours; a chain has 5).
const MAX_CERTIFICATES: usize = 16;
/// Deepest nesting looked into (ours; NVIDIA's deepest has 4).
const MAX_DEPTH: usize = 12;
/// Longest stated text that is kept, in characters.
const MAX_STATED_CHARS: usize = 128;

const REPORT_KEYS: [&str; 5] =
    ["evidence", "AttestationReport", "attestation_report", "attestationReport", "report"];
const CHAIN_KEYS: [&str; 6] = [
    "certificate",
    "CertificateChains",
    "attestation_cert_chain",
    "certificateChain",
    "certificate_chain",
    "cert_chain",
];

/// Why bytes hold no evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Larger than [`MAX_DOCUMENT_BYTES`].
    #[error("a document has at most {MAX_DOCUMENT_BYTES} bytes, got {got_bytes}")]
    TooLarge {
        /// Bytes given.
        got_bytes: usize,
    },
    /// Begins like JSON and is none.
    #[error("not JSON: {reason}")]
    Json {
        /// What the reader says.
        reason: String,
    },
    /// JSON in which no device is found.
    #[error("no device found: expected objects with a report and a certificate chain")]
    NoDevice,
    /// An element of a list of devices has no report: it would go unjudged beside the others.
    #[error("element {element} of a list of devices has no report")]
    NoReport {
        /// Counted from 1.
        element: usize,
    },
    /// More than [`MAX_DEVICES`].
    #[error("more than {MAX_DEVICES} devices")]
    TooManyDevices,
    /// A report in no encoding known here.
    #[error("the report of device {device} is neither base64 nor hex")]
    Encoding {
        /// Counted from 1.
        device: usize,
    },
    /// A chain that does not read.
    #[error("the certificates of device {device} do not read")]
    Certificates {
        /// Counted from 1.
        device: usize,
    },
    /// A report that does not read.
    #[error("device {device}: {error}")]
    Report {
        /// Counted from 1.
        device: usize,
        /// Why.
        error: ReportError,
    },
}

/// What stands beside a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stated {
    /// The nonce, hex as it stands.
    pub nonce: Option<String>,
    /// The generation, such as `HOPPER`.
    pub architecture: Option<String>,
    /// Driver version.
    pub driver: Option<String>,
    /// VBIOS version.
    pub vbios: Option<String>,
}

/// One device of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its report.
    pub report: Report,
    /// The certificates beside it; empty for a report that came alone.
    pub certificates: Vec<Certificate>,
    /// What else stands beside it.
    pub stated: Stated,
}

/// Finds the devices in `evidence`, in the order of the document; never none.
pub fn read(evidence: &[u8]) -> Result<Vec<Device>, DocumentError> {
    if evidence.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge { got_bytes: evidence.len() });
    }
    let text = evidence.strip_prefix(b"\xef\xbb\xbf").unwrap_or(evidence).trim_ascii_start();
    if !matches!(text.first(), Some(b'{' | b'[')) {
        let device = report(evidence, 1)?;
        return Ok(vec![device]);
    }
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| DocumentError::Json { reason: error.to_string() })?;
    let mut devices = Vec::new();
    search(&value, &Stated::default(), 0, &mut devices)?;
    if devices.is_empty() { Err(DocumentError::NoDevice) } else { Ok(devices) }
}

/// Whether `document` is JSON with a device in it, whether it reads or not.
pub(crate) fn holds_devices(document: &[u8]) -> bool {
    fn finds(value: &Value, depth: usize) -> bool {
        match value {
            _ if depth == MAX_DEPTH => false,
            Value::Array(items) => items.iter().any(|item| finds(item, depth + 1)),
            Value::Object(members) => {
                device_in(members).is_some_and(|(_, chain)| !chain.is_null())
                    || members.values().any(|member| finds(member, depth + 1))
            }
            _ => false,
        }
    }
    document.len() <= MAX_DOCUMENT_BYTES
        && serde_json::from_slice(document).is_ok_and(|value| finds(&value, 0))
}

/// The nonce the first device answers.
pub(crate) fn nonce(document: &[u8]) -> Option<[u8; 32]> {
    Some(read(document).ok()?.first()?.report.nonce)
}

fn report(bytes: &[u8], device: usize) -> Result<Device, DocumentError> {
    let report = Report::parse(bytes).map_err(|error| DocumentError::Report { device, error })?;
    Ok(Device { report, certificates: Vec::new(), stated: Stated::default() })
}

/// Walks the document; a nonce or architecture above holds for every device below.
fn search(
    value: &Value,
    above: &Stated,
    depth: usize,
    devices: &mut Vec<Device>,
) -> Result<(), DocumentError> {
    if depth == MAX_DEPTH {
        return Ok(());
    }
    match value {
        Value::Array(items) => {
            no_gap(items.iter())?;
            items.iter().try_for_each(|item| search(item, above, depth + 1, devices))
        }
        Value::Object(members) => {
            // What is no object says something about the collection of messages.
            if members.contains_key("__cmwc_t") {
                no_gap(members.values().filter(|member| member.is_object()))?;
            }
            let stated = Stated::of(members, above);
            if let Some((encoded, chain)) = device_in(members) {
                let number = devices.len() + 1;
                if number > MAX_DEVICES {
                    return Err(DocumentError::TooManyDevices);
                }
                devices.push(device(encoded, chain, stated, number)?);
                return Ok(());
            }
            members.values().try_for_each(|member| search(member, &stated, depth + 1, devices))
        }
        _ => Ok(()),
    }
}

/// Where one item is a device, all are.
fn no_gap<'a>(mut items: impl Iterator<Item = &'a Value> + Clone) -> Result<(), DocumentError> {
    let has_device = items.clone().any(is_device);
    match items.position(|item| has_device && !is_device(item)) {
        Some(at) => Err(DocumentError::NoReport { element: at + 1 }),
        None => Ok(()),
    }
}

fn is_device(value: &Value) -> bool {
    value.as_object().is_some_and(|members| device_in(members).is_some())
}

/// Report and chain, where this object is a device.
fn device_in(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let encoded = REPORT_KEYS.iter().find_map(|key| text_of(members.get(*key)?))?;
    let chain = CHAIN_KEYS.iter().find_map(|key| members.get(*key)).unwrap_or(&Value::Null);
    Some((encoded, chain))
}

/// A text, or the text in the wrapping a Python pickle of bytes is given in JSON, or in that of a
/// conceptual message.
fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("py/b64")?.as_str()).or_else(|| wrapped(value))
}

/// The content of a conceptual message as a JSON record, `[media type, base64url]`, behind which may
/// stand what kind of message it is (draft-ietf-rats-msg-wrap §3.1).
fn wrapped(value: &Value) -> Option<&str> {
    let [Value::String(kind), Value::String(content), rest @ ..] = value.as_array()?.as_slice()
    else {
        return None;
    };
    let is_record = kind.starts_with("application/") && matches!(rest, [] | [Value::Number(_)]);
    is_record.then_some(content)
}

fn device(
    encoded: &str,
    chain: &Value,
    stated: Stated,
    number: usize,
) -> Result<Device, DocumentError> {
    let bytes = decode(encoded).ok_or(DocumentError::Encoding { device: number })?;
    let mut certificates = Vec::new();
    collect(chain, 0, &mut certificates).ok_or(DocumentError::Certificates { device: number })?;
    Ok(Device { certificates, stated, ..report(&bytes, number)? })
}

impl Stated {
    fn of(members: &Map<String, Value>, above: &Stated) -> Stated {
        let say = |keys: &[&str], above: &Option<String>| {
            let own = keys.iter().find_map(|key| text_of(members.get(*key)?));
            let own = own.map(|text| text.chars().take(MAX_STATED_CHARS).collect());
            own.or_else(|| above.clone())
        };
        Stated {
            nonce: say(&["nonce"], &above.nonce),
            architecture: say(&["arch"], &above.architecture),
            driver: say(&["DriverVersion", "driver_version"], &above.driver),
            vbios: say(&["VbiosVersion", "vbios_version"], &above.vbios),
        }
    }
}

/// Hex, or base64 in any of its alphabets.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let unpadded = compact.trim_end_matches('=').as_bytes();
    HEXLOWER_PERMISSIVE
        .decode(compact.as_bytes())
        .or_else(|_| BASE64.decode(compact.as_bytes()))
        .or_else(|_| BASE64_NOPAD.decode(unpadded))
        .or_else(|_| BASE64URL_NOPAD.decode(unpadded))
        .ok()
}

/// Every certificate in `chain`, whatever it is wrapped in: PEM, base64 of PEM or of DER.
fn collect(chain: &Value, depth: usize, certificates: &mut Vec<Certificate>) -> Option<()> {
    if depth == MAX_DEPTH {
        return None;
    }
    match chain {
        Value::String(text) => {
            let bytes = match text.contains("-----BEGIN ") {
                true => text.as_bytes().to_vec(),
                false => decode(text)?,
            };
            add(&bytes, certificates)
        }
        Value::Array(_) if let Some(content) = wrapped(chain) => {
            add(&decode(content)?, certificates)
        }
        Value::Array(items) => {
            items.iter().try_for_each(|item| collect(item, depth + 1, certificates))
        }
        Value::Object(members) => {
            // Names of Python classes are texts too, and no certificates.
            let mut members = members.iter().filter(|(key, _)| key.as_str() != "py/object");
            members.try_for_each(|(_, member)| collect(member, depth + 1, certificates))
        }
        _ => Some(()),
    }
}

fn add(bytes: &[u8], certificates: &mut Vec<Certificate>) -> Option<()> {
    const SEQUENCE: u8 = 0x30;
    if bytes.first() != Some(&SEQUENCE) {
        for block in Pem::iter_from_buffer(bytes).take(MAX_CERTIFICATES + 1) {
            push(&block.ok()?.contents, certificates)?;
        }
        return Some(());
    }
    let mut rest = bytes;
    while !rest.is_empty() {
        let (element, after) = Element::read(rest)?;
        push(element.whole, certificates)?;
        rest = after;
    }
    Some(())
}

fn push(der: &[u8], certificates: &mut Vec<Certificate>) -> Option<()> {
    let certificate = Certificate::from_der(der).ok()?;
    if !certificates.contains(&certificate) {
        certificates.push(certificate);
    }
    (certificates.len() <= MAX_CERTIFICATES).then_some(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A device's object; `chain` is the JSON of what comes with the report.
    fn device(chain: &str) -> String {
        let report = super::super::identity::tests::report_with(&BTreeMap::new());
        let report = data_encoding::HEXLOWER.encode(&report);
        format!(r#"{{"evidence":"{report}","certificate":{chain}}}"#)
    }

    #[test]
    fn devices_are_found_so_deep_and_are_so_many() {
        let found = |text: &str| read(text.as_bytes()).map(|devices| devices.len());
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let inside = |times: usize| {
                format!("{}{}{}", open.repeat(times), device(r#""""#), close.repeat(times))
            };
            for times in [0, 1, MAX_DEPTH - 1] {
                assert_eq!(found(&inside(times)), Ok(1), "{times}");
                assert!(holds_devices(inside(times).as_bytes()), "{times}");
            }
            assert_eq!(found(&inside(MAX_DEPTH)), Err(DocumentError::NoDevice));
            assert!(!holds_devices(inside(MAX_DEPTH).as_bytes()));
        }
        let many = |count: usize| format!("[{}]", vec![device(r#""""#); count].join(","));
        assert_eq!(found(&many(MAX_DEVICES)), Ok(MAX_DEVICES));
        assert_eq!(found(&many(MAX_DEVICES + 1)), Err(DocumentError::TooManyDevices));
        let gap = format!("[{},{{}}]", device(r#""""#));
        assert_eq!(found(&gap), Err(DocumentError::NoReport { element: 2 }));
        assert!(!holds_devices(device("null").as_bytes()), "a report without a chain");
        assert!(!holds_devices(br#"{"a":[{"b":"c"}]}"#));
    }

    #[test]
    fn what_stands_beside_a_device_is_read_with_it() {
        let beside = device(r#""""#).replacen('{', r#"{"nonce":"inner","arch":"HOPPER","#, 1);
        let text = format!(r#"{{"nonce":"outer","driver_version":"1.2","all":[{beside}]}}"#);
        let stated = read(text.as_bytes()).unwrap().remove(0).stated;
        let got = [&stated.nonce, &stated.architecture, &stated.driver, &stated.vbios];
        assert_eq!(got.map(Option::as_deref), [Some("inner"), Some("HOPPER"), Some("1.2"), None]);
    }

    /// A collection of wrapped messages, as NVIDIA's tools write it since 2026.
    #[test]
    fn messages_are_unwrapped() {
        let report = super::super::identity::tests::report_with(&BTreeMap::new());
        let report = data_encoding::BASE64URL_NOPAD.encode(&report);
        let root = include_bytes!("../snp/roots/ark-milan.der");
        let chain = data_encoding::BASE64URL_NOPAD.encode(root);
        let collection = |kind: &str, chain: &str| {
            let item = format!(
                r#"{{"__cmwc_t":"tag:a","evidence":["{kind}","{report}",2],"certificate":{chain},
                "nonce":["application/octet-stream","_w"],"hints":["application/json","e30"]}}"#
            );
            let all = r#""nonce":["application/octet-stream","AA"]"#;
            read(
                format!(r#"{{"__cmwc_t":"tag:b",{all},"gpu_0":{item},"gpu_1":{item}}}"#).as_bytes(),
            )
        };
        let kind = "application/vnd.nvidia.spdm-measurement-transcript";
        let chain = format!(r#"["application/vnd.nvidia.pem-cert-chain","{chain}"]"#);
        let devices = collection(kind, &chain).unwrap();
        assert_eq!(devices.len(), 2);
        for device in devices {
            assert_eq!(device.certificates.len(), 1);
            assert_eq!(device.stated.nonce.as_deref(), Some("_w"));
        }
        assert_eq!(collection("tag:no-media-type", &chain), Err(DocumentError::NoDevice));
        let item = format!(r#"{{"evidence":["{kind}","{report}"],"certificate":{chain}}}"#);
        let gap = format!(r#"{{"__cmwc_t":"tag:b","gpu_0":{item},"gpu_1":{{"evidence":[]}}}}"#);
        assert_eq!(read(gap.as_bytes()), Err(DocumentError::NoReport { element: 2 }));
        let refused = Err(DocumentError::Certificates { device: 1 });
        assert_eq!(collection(kind, r#"["application/pem","_"]"#), refused);
    }

    #[test]
    fn certificates_are_found_so_deep() {
        let root = data_encoding::BASE64.encode(include_bytes!("../snp/roots/ark-milan.der"));
        let inside = |open: &str, times: usize, close: &str| {
            let chain = format!("{}\"{root}\"{}", open.repeat(times), close.repeat(times));
            read(device(&chain).as_bytes()).map(|devices| devices[0].certificates.len())
        };
        let refused = Err(DocumentError::Certificates { device: 1 });
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let got = [0, MAX_DEPTH - 1, MAX_DEPTH].map(|times| inside(open, times, close));
            assert_eq!(got, [Ok(1), Ok(1), refused.clone()]);
        }
    }

    #[test]
    fn a_document_has_at_most_four_mebibytes() {
        let mut text = br#"{"evidence":"","certificate":""}"#.to_vec();
        text.resize(4 * 1024 * 1024, b' ');
        let got = read(&text).err();
        assert!(matches!(got, Some(DocumentError::Report { device: 1, .. })), "{got:?}");
        assert!(holds_devices(&text));
        text.push(b' ');
        let got_bytes = text.len();
        assert_eq!(read(&text).err(), Some(DocumentError::TooLarge { got_bytes }));
        assert!(!holds_devices(&text));
    }

    #[test]
    fn a_chain_has_at_most_16_certificates() {
        let chain = |count: u8| {
            let certificate = |number: u8| {
                let mut der = include_bytes!("../snp/roots/ark-milan.der").to_vec();
                *der.last_mut().unwrap() = number;
                der
            };
            (0..count).map(certificate).collect::<Vec<_>>()
        };
        let as_der = |count: u8| BASE64.encode(&chain(count).concat());
        let as_pem = |count: u8| {
            let block = |der: &Vec<u8>| {
                let text = BASE64.encode(der);
                format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
            };
            chain(count).iter().map(block).collect::<String>()
        };
        let found = |text: String| {
            let devices = read(device(&serde_json::to_string(&text).unwrap()).as_bytes());
            devices.map(|devices| devices[0].certificates.len())
        };
        let refused = Err(DocumentError::Certificates { device: 1 });
        assert_eq!([found(as_pem(16)), found(as_pem(17))], [Ok(16), refused.clone()]);
        assert_eq!([found(as_der(16)), found(as_der(17))], [Ok(16), refused]);
    }
}
