//! Every real piece of NVIDIA evidence in the evidence folder, judged as its manifest entry says.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult, Claims};
use bulla_attestation::tee::nvidia::{DeviceKind, NvidiaClaims, appraise_raw};
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use serde_json::{Value, json};

/// 2026-11-20T00:00:00Z, the date the manifest speaks from.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// 2025-08-21T12:00:00Z, inside the window of the answers about the device.
const OCSP_OF_DEVICE: UnixSeconds = UnixSeconds(1_755_777_600);
/// 2025-10-24T18:00:00Z, inside the window of the answers about the manifests' signers.
const OCSP_OF_MANIFESTS: UnixSeconds = UnixSeconds(1_761_328_800);
/// 2025-06-01T00:00:00Z, before the oldest signers expired.
const MID_2025: UnixSeconds = UnixSeconds(1_748_736_000);

const H100: &str = "nvidia/hopper-550.90.07/";

fn authentic() -> Policy {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    Policy::from_toml(text).expect("the shipped policy reads")
}

fn judge_bytes(
    evidence: &[u8],
    endorsements: &Endorsements,
    now: UnixSeconds,
) -> AttestationResult {
    let (anchors, expectations) = (TrustAnchors::vendors(), Expectations::default());
    appraise_raw(evidence, endorsements, &anchors, &authentic(), &expectations, now)
}

fn judge(
    folder: &EvidenceFolder,
    evidence: &str,
    endorsements: &[&str],
    now: UnixSeconds,
) -> AttestationResult {
    let endorsements = folder.endorsements(endorsements.iter().copied());
    judge_bytes(&folder.read(evidence), &endorsements, now)
}

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

fn found(result: &AttestationResult, name: CheckName) -> CheckResult {
    result.check(name).unwrap_or_else(|| panic!("{name} did not run")).result
}

fn claims(result: &AttestationResult) -> &NvidiaClaims {
    match result.claims() {
        Some(Claims::Nvidia(claims)) => claims,
        other => panic!("no claims of NVIDIA's: {other:?}"),
    }
}

fn text<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn entries<'a>(manifest: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    manifest.as_array().unwrap().iter().filter(move |entry| entry["kind"] == kind)
}

#[test]
fn every_report_gets_its_verdict_and_its_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let (mut affirmed, mut refused) = (0, 0);
    for entry in entries(&manifest, "nvidia-spdm-report") {
        let file = text(entry, "/file");
        let chain = text(entry, "/companions/0");
        let result = judge(&folder, file, &[chain], NOW);
        if text(entry, "/expected/verdict") == "accept-crypto" {
            assert!(result.is_affirmed(), "{file}\n{result}");
            assert_eq!(found(&result, CheckName::DeviceMeasurements), CheckResult::Unknown);
            affirmed += 1;
        } else {
            // The manifest: a report of another GPU with this chain.
            let expected = [CheckName::ReportSignature, CheckName::FirmwareIdentity];
            assert_eq!(failed(&result), expected, "{file}\n{result}");
            refused += 1;
        }
        agrees_with_the_manifest(&result, entry);
        // Without its chain, or with another device's, no report is genuine.
        assert!(!judge(&folder, file, &[], NOW).is_affirmed());
    }
    println!("real NVIDIA reports: {affirmed} affirmed, {refused} refused as the manifest says");
    assert!(affirmed >= 3 && refused >= 1);
}

fn agrees_with_the_manifest(result: &AttestationResult, entry: &Value) {
    let (claims, expected) = (claims(result), &entry["expected"]);
    let [device] = claims.devices.as_slice() else { panic!("one device") };
    let file = text(entry, "/file");
    let same = |own: &Option<String>, name: &str| {
        assert_eq!(own.as_deref(), expected[name].as_str(), "{file}: {name}");
    };
    same(&claims.nonce.map(|nonce| nonce.to_string()), "nonce");
    same(&claims.driver, "driver");
    same(&device.project, "project");
    same(&device.sku, "sku");
    assert_eq!(device.vbios_raw, expected["vbios_raw"], "{file}");
    assert_eq!(device.measurements as u64, expected["n_measurements"].as_u64().unwrap(), "{file}");
    let fwid = device.fwid.expect("every leaf names one").to_string();
    assert!(fwid.starts_with(text(entry, "/expected/fwid")), "{file}");
    let serial = device.serial.clone().unwrap().to_uppercase();
    assert!(text(entry, "/expected/leaf").contains(&serial[..32]), "{file}");
    let fields = expected["opaque_fields"].as_object().unwrap();
    assert_eq!(fields.len(), device.opaque.len(), "{file}");
    for (kind, value) in fields {
        let own = &device.opaque[&kind.parse().unwrap()];
        let value = value.as_str().unwrap();
        // The manifest writes some as text and cuts long ones.
        let as_text = HEXLOWER.encode(value.as_bytes());
        assert!(own.starts_with(value) || own.starts_with(&as_text), "{file}: field {kind}");
    }
}

#[test]
fn every_document_gets_its_verdict_and_its_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let (mut documents, mut devices) = (0, 0);
    for entry in entries(&manifest, "nvidia-evidence-json") {
        let file = text(entry, "/file");
        let result = judge(&folder, file, &[], NOW);
        assert!(result.is_affirmed(), "{file}\n{result}");
        let shown = &claims(&result).devices;
        for (device, expected) in shown.iter().zip(entry["expected"]["devices"].as_array().unwrap())
        {
            let architecture = device.architecture.unwrap().to_string();
            assert_eq!(architecture, expected[0].as_str().unwrap().to_lowercase(), "{file}");
            let serial = device.serial.clone().unwrap().to_uppercase();
            assert!(serial.starts_with(expected[4].as_str().unwrap()), "{file}");
        }
        documents += 1;
        devices += shown.len();
    }
    println!("real NVIDIA documents: {documents} affirmed, {devices} devices in them");
    assert!(documents >= 5 && devices >= 19);
}

/// The lists that NVIDIA's tools wrote until 2025, wrapped as they write them since.
#[test]
fn a_collection_of_messages_says_what_the_list_says() {
    let Some(folder) = EvidenceFolder::open() else { return };
    for name in ["evidence_hopper_590_12", "multi_switch_ls10"] {
        let file = format!("nvidia/evidence-json/{name}.json");
        let listed = judge(&folder, &file, &[], NOW);
        let list: Vec<Value> = serde_json::from_slice(&folder.read(&file)).unwrap();
        let result = judge_bytes(&wrapped(&list, |_| ()), &Endorsements::default(), NOW);
        assert!(result.is_affirmed(), "{file}\n{result}");
        assert_eq!(result.claims(), listed.claims(), "{file}");
        assert_eq!(found(&result, CheckName::DocumentAgrees), CheckResult::Pass, "{file}");
        let other = BASE64URL_NOPAD.encode(&[7; 32]);
        let result = judge_bytes(
            &wrapped(&list, |item| item["nonce"][1] = other.clone().into()),
            &Endorsements::default(),
            NOW,
        );
        assert_eq!(failed(&result), [CheckName::DocumentAgrees], "{file}\n{result}");
    }
}

fn wrapped(list: &[Value], change: impl Fn(&mut Value)) -> Vec<u8> {
    let url = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let decoded = |device: &Value, name: &str| {
        let text = device[name].as_str().unwrap().as_bytes();
        url(&BASE64.decode(text).unwrap())
    };
    let mut collection = json!({"__cmwc_t": "tag:nvidia.com,2026:verifier-input"});
    for (n, device) in list.iter().enumerate() {
        let report = decoded(device, "evidence");
        let nonce = HEXLOWER.decode(device["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let mut item = json!({
            "__cmwc_t": "tag:nvidia.com,2026:evidence-item/v1",
            "evidence": ["application/vnd.nvidia.spdm-measurement-transcript", report],
            "certificate": ["application/vnd.nvidia.pem-cert-chain", decoded(device, "certificate")],
            "nonce": ["application/octet-stream", url(&nonce)],
        });
        change(&mut item);
        collection[format!("device_{n}")] = item;
    }
    serde_json::to_vec(&collection).unwrap()
}

#[test]
fn eight_gpus_and_four_switches_get_one_verdict() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let result = judge(&folder, "nvidia/evidence-json/test_ppcie_data.json", &[], NOW);
    assert!(result.is_affirmed(), "{result}");
    let claims = claims(&result);
    let of = |kind| claims.devices.iter().filter(|device| device.kind == kind).count();
    assert_eq!((of(DeviceKind::Gpu), of(DeviceKind::Switch)), (8, 4));
    assert_eq!(claims.driver.as_deref(), Some("570.124.06"));
    assert_eq!(claims.vbios.as_deref(), Some("96.00.CF.00.02"));
    assert_eq!(result.product(), Some("hopper + ls10"));
    // The same links are closed in a set that is whole, as the stricter policies ask.
    let text = include_str!("../../policies/appraisal/authentic.toml")
        .replace("closed_fabric = \"not_required\"", "closed_fabric = \"required\"")
        .replace("repeated_devices = \"allowed\"", "repeated_devices = \"refused\"");
    let policy = Policy::from_toml(&text).unwrap();
    let read = folder.read("nvidia/evidence-json/test_ppcie_data.json");
    let judge = |evidence: &[u8]| {
        let (anchors, none) = (TrustAnchors::vendors(), Expectations::default());
        appraise_raw(evidence, &Endorsements::default(), &anchors, &policy, &none, NOW)
    };
    let whole = judge(&read);
    assert_eq!(found(&whole, CheckName::FabricClosed), CheckResult::Pass, "{whole}");
    let mut document: Value = serde_json::from_slice(&read).unwrap();
    document["nvswitches"].as_array_mut().unwrap().pop();
    let partial = judge(&serde_json::to_vec(&document).unwrap());
    assert_eq!(failed(&partial), [CheckName::FabricClosed], "{partial}");
    let four = folder.read("nvidia/evidence-json/multi_switch_ls10.json");
    assert_eq!(failed(&judge(&four)), [CheckName::DistinctDevices]);
}

#[test]
fn a_document_is_refused_for_one_altered_device() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let read = folder.read("nvidia/evidence-json/test_ppcie_data.json");
    let document: Value = serde_json::from_slice(&read).unwrap();
    let path = "/gpus/3/AttestationReport/py~1b64";
    let encoded = document.pointer(path).unwrap().as_str().unwrap();
    let mut report = BASE64.decode(encoded.as_bytes()).unwrap();
    report[70] ^= 1;
    let mut altered = document.clone();
    *altered.pointer_mut(path).unwrap() = BASE64.encode(&report).into();
    let result = judge_bytes(&serde_json::to_vec(&altered).unwrap(), &Endorsements::default(), NOW);
    assert_eq!(failed(&result), [CheckName::ReportSignature]);
    let got = &result.check(CheckName::ReportSignature).unwrap().got;
    assert!(got.starts_with("device 4 (gpu "), "{got}");
}

#[test]
fn a_device_without_its_report_is_not_passed_over() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let read =
        String::from_utf8(folder.read("nvidia/evidence-json/multi_switch_ls10.json")).unwrap();
    let whole = judge_bytes(read.as_bytes(), &Endorsements::default(), NOW);
    assert_eq!(failed(&whole), [], "{whole}");
    let misspelt = read.replacen("\"evidence\"", "\"evidense\"", 1);
    assert_ne!(misspelt, read);
    let result = judge_bytes(misspelt.as_bytes(), &Endorsements::default(), NOW);
    assert_eq!(failed(&result), [CheckName::ReportFormat], "{result}");
}

#[test]
fn the_nonce_sent_is_the_one_answered() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let sent = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";
    let nonce = HEXLOWER.decode(sent.as_bytes()).unwrap();
    let judge = |nonce: Vec<u8>| {
        let expectations = Expectations { nonce: Some(nonce), ..Expectations::default() };
        appraise_raw(
            &folder.read(&format!("{H100}report.bin")),
            &folder.endorsements([format!("{H100}chain.pem").as_str()]),
            &TrustAnchors::vendors(),
            &authentic(),
            &expectations,
            NOW,
        )
    };
    assert!(judge(nonce.clone()).is_affirmed());
    assert_eq!(failed(&judge(nonce[..31].to_vec())), [CheckName::Nonce]);
    assert_eq!(failed(&judge(Vec::new())), [CheckName::Nonce]);
    let mut other = nonce;
    other[31] ^= 1;
    assert_eq!(failed(&judge(other)), [CheckName::Nonce]);
}

const DRIVER: &str = "rim/NV_GPU_DRIVER_GH100_550.90.07.xml";
const VBIOS: &str = "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml";

fn with(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{H100}{name}")).collect()
}

fn h100(folder: &EvidenceFolder, names: &[&str], now: UnixSeconds) -> AttestationResult {
    let files = with(names);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    judge(folder, &format!("{H100}report.bin"), &files, now)
}

#[test]
fn measurements_agree_with_both_manifests() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let result = h100(&folder, &["chain.pem", DRIVER, VBIOS], MID_2025);
    assert!(result.is_affirmed(), "{result}");
    let check = result.check(CheckName::DeviceMeasurements).unwrap();
    assert_eq!((check.result, check.got.as_str()), (CheckResult::Pass, "33 agree"));
    // One alone leaves the other's measurements open, and names what is missing.
    let result = h100(&folder, &["chain.pem", DRIVER], MID_2025);
    let check = result.check(CheckName::DeviceMeasurements).unwrap();
    assert_eq!(check.result, CheckResult::Unknown);
    assert_eq!(check.got, "21 agree; not given: NV_GPU_VBIOS_1010_0200_882_96009F0001");
    // Past its signer's dates a manifest is refused.
    let result = h100(&folder, &["chain.pem", DRIVER, VBIOS], NOW);
    assert_eq!(failed(&result), [CheckName::ManifestDates], "{result}");
}

#[test]
fn answers_count_inside_their_window_and_say_nothing_outside() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let of_device = ["l2", "l3", "l4"].map(|level| format!("ocsp/gpu_certificate_{level}.der"));
    let of_signers = ["driver_rim_l3", "driver_rim_l4", "rim_l2", "vbios_l4"]
        .map(|name| format!("ocsp/gpu_{name}.der"));
    let mut names = vec!["chain.pem", DRIVER, VBIOS];
    names.extend(of_device.iter().chain(&of_signers).map(String::as_str));
    let result = h100(&folder, &names, OCSP_OF_DEVICE);
    assert!(result.is_affirmed(), "{result}");
    assert_eq!(found(&result, CheckName::OcspSignature), CheckResult::Pass);
    assert_eq!(found(&result, CheckName::Revocation), CheckResult::Pass, "{result}");
    assert_eq!(found(&result, CheckName::ManifestRevocation), CheckResult::Unknown);
    let in_order = result;
    let result = h100(&folder, &names, OCSP_OF_MANIFESTS);
    assert!(result.is_affirmed(), "{result}");
    assert_eq!(found(&result, CheckName::Revocation), CheckResult::Unknown);
    assert_eq!(found(&result, CheckName::ManifestRevocation), CheckResult::Pass, "{result}");
    // The answers are the same in any order, and none about another device says anything.
    names.reverse();
    assert_eq!(h100(&folder, &names, OCSP_OF_DEVICE).checks(), in_order.checks());
    let mut three = vec!["nvidia/hopper-535.86.09/chain.pem".to_owned()];
    three.extend(with(&of_device.each_ref().map(String::as_str)));
    let three: Vec<&str> = three.iter().map(String::as_str).collect();
    let other = judge(&folder, "nvidia/hopper-535.86.09/report.bin", &three, OCSP_OF_DEVICE);
    assert_eq!(found(&other, CheckName::Revocation), CheckResult::Unknown, "{other}");
    println!("real OCSP answers: {} about device and signers, in and out of their windows", 7);
}

/// The manifests of the folder, with what refuses each, at the time its entry speaks of.
#[test]
fn every_manifest_gets_its_verdict_for_its_reason() {
    let Some(folder) = EvidenceFolder::open() else { return };
    use CheckName::*;
    let switch = "nvidia/switch-ls10/";
    let older = "nvidia/hopper-535.86.09/";
    let rows: [(&str, &str, UnixSeconds, &[CheckName]); 8] = [
        (H100, "hopper-550.90.07/rim/NV_GPU_DRIVER_GH100_550.90.07.xml", MID_2025, &[]),
        (
            H100,
            "hopper-550.90.07/rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml",
            NOW,
            &[ManifestDates],
        ),
        (switch, "rim/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml", NOW, &[]),
        (
            switch,
            "rim/NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml",
            MID_2025,
            &[ManifestSignature, DeviceMeasurements],
        ),
        (
            older,
            "rim/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml",
            NOW,
            &[ManifestSignature, DeviceMeasurements],
        ),
        (older, "rim/1010_0200_882_96005E0001_PROD.swidtag", MID_2025, &[]),
        (older, "rim/1010_0200_882_96005E0001_PROD.swidtag", NOW, &[ManifestDates]),
        // About drivers and chips of which there is no report: left aside.
        (H100, "rim/incorrect_cert_chain_driver_rim.xml", NOW, &[]),
    ];
    let mut refused = 0;
    for (device, manifest, now, expected) in rows {
        let report = format!("{device}report.bin");
        let files = [format!("{device}chain.pem"), format!("nvidia/{manifest}")];
        let result = judge(&folder, &report, &[&files[0], &files[1]], now);
        assert_eq!(failed(&result), expected, "{manifest}\n{result}");
        refused += usize::from(!expected.is_empty());
    }
    println!("real manifests: 8 pairs with reports, {refused} refused for their reasons");
}

/// Whether digest and signature hold, whoever signed: as the folder's manifest found out.
#[test]
fn every_manifest_is_signed_or_altered_as_its_entry_says() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let (mut signed, mut altered) = (0, 0);
    for entry in entries(&manifest, "nvidia-rim") {
        let file = text(entry, "/file");
        let rim = Rim::read(&folder.read(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(rim.rows.as_ref().is_ok_and(|rows| !rows.is_empty()), "{file}");
        let is_altered = text(entry, "/expected/reason").contains("[False] sig");
        assert_eq!(rim.is_signed(), !is_altered, "{file}");
        if is_altered { altered += 1 } else { signed += 1 }
    }
    println!("real manifests: {signed} signed, {altered} altered");
    assert!(signed >= 6 && altered >= 2);
}

#[test]
fn a_chain_of_another_device_is_refused() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let devices = ["hopper-550.90.07", "hopper-535.86.09", "switch-ls10"];
    let mut refused = 0;
    for report in devices {
        for chain in devices.iter().filter(|chain| **chain != report) {
            let result = judge(
                &folder,
                &format!("nvidia/{report}/report.bin"),
                &[&format!("nvidia/{chain}/chain.pem")],
                NOW,
            );
            assert!(failed(&result).contains(&CheckName::ReportSignature), "{report}, {chain}");
            refused += 1;
        }
    }
    println!("real NVIDIA cross-pairs: {refused} refused");
}
