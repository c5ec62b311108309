//! Every real piece of Azure evidence of the evidence folder, judged as its manifest entry says, in
//! each form guest agents write it in.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::azure::kind_of;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::{Value, json};

/// 2026-11-20T00:00:00Z, the date the manifest speaks from.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);

const CHAINS: [&str; 4] = [
    "snp/ca/milan/ask.pem",
    "snp/ca/milan/ark.pem",
    "snp/ca/genoa/ask.pem",
    "snp/ca/genoa/ark.pem",
];

fn authentic() -> Policy {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    Policy::from_toml(text).expect("the shipped policy reads")
}

fn judge(kind: TeeKind, evidence: &[u8], endorsements: &Endorsements) -> AttestationResult {
    judge_with(kind, evidence, endorsements, &Expectations::default())
}

fn judge_with(
    kind: TeeKind,
    evidence: &[u8],
    endorsements: &Endorsements,
    expectations: &Expectations,
) -> AttestationResult {
    let anchors = TrustAnchors::vendors();
    appraise_raw(kind, evidence, endorsements, &anchors, &authentic(), expectations, NOW)
}

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

fn result_of(result: &AttestationResult, name: CheckName) -> CheckResult {
    result.check(name).unwrap_or_else(|| panic!("{name}\n{result}")).result
}

fn claims(result: &AttestationResult) -> Value {
    serde_json::to_value(result.claims().unwrap_or_else(|| panic!("{result}"))).unwrap()
}

/// Every entry of the manifest, with its kind.
fn entries(folder: &EvidenceFolder) -> Vec<(TeeKind, Value)> {
    let manifest = folder.manifest();
    let azure =
        manifest.as_array().unwrap().iter().filter(|e| e["kind"] == "azure-hcl-vtpm-evidence");
    let with_kind = |entry: &Value| {
        let kind = match entry["expected"]["hcl_report_type"].as_str() {
            Some("snp") => TeeKind::AzureSnp,
            Some("tdx") => TeeKind::AzureTdx,
            other => panic!("unknown hardware {other:?}"),
        };
        (kind, entry.clone())
    };
    azure.map(with_kind).collect()
}

fn read(folder: &EvidenceFolder, entry: &Value) -> Vec<u8> {
    folder.read(entry["file"].as_str().unwrap())
}

const PARAVISOR_AND_TPM: [CheckName; 6] = [
    CheckName::HclFormat,
    CheckName::RuntimeData,
    CheckName::RuntimeDataBound,
    CheckName::TpmQuoteFormat,
    CheckName::TpmQuoteSignature,
    CheckName::TpmPcrDigest,
];

#[test]
fn paravisor_and_vtpm_of_every_entry_are_genuine() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    let entries = entries(&folder);
    for (kind, entry) in &entries {
        let evidence = read(&folder, entry);
        assert_eq!(kind_of(&evidence), Some(*kind));
        let result = judge(*kind, &evidence, &endorsements);
        for name in PARAVISOR_AND_TPM {
            assert_eq!(result_of(&result, name), CheckResult::Pass, "{name}\n{result}");
        }
        let hardware = match kind {
            TeeKind::AzureTdx => CheckName::TdQuote,
            _ => CheckName::ParavisorLevel,
        };
        assert_eq!(result_of(&result, hardware), CheckResult::Pass, "{result}");
    }
    println!("Azure evidence: {} paravisors and vTPMs genuine", entries.len());
}

#[test]
fn snp_entries_are_affirmed_and_say_what_the_manifest_says() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    let mut affirmed = 0;
    for (kind, entry) in entries(&folder).iter().filter(|(kind, _)| *kind == TeeKind::AzureSnp) {
        let result = judge(*kind, &read(&folder, entry), &endorsements);
        assert!(result.is_affirmed() && !result.is_simulated(), "{result}");
        let (claims, expected) = (claims(&result), &entry["expected"]);
        assert_eq!(claims["vm_configuration"], expected["vm_configuration"]);
        assert_eq!(claims["nonce"], expected["nonce_hex"]);
        assert_eq!(claims["vmpl"], 0);
        assert_eq!(claims["pcrs"].as_object().unwrap().len(), 24);
        for member in
            ["measurement", "report_data", "chip_id", "tcb", "policy", "user_data", "keys"]
        {
            assert!(!claims[member].is_null(), "{member} in {claims}");
        }
        affirmed += 1;
    }
    assert!(affirmed > 0);
    println!("Azure SNP evidence: {affirmed} affirmed");
}

#[test]
fn the_certificate_inside_needs_its_issuer_from_outside() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let nothing = Endorsements::default();
    for (kind, entry) in entries(&folder).iter().filter(|(kind, _)| *kind == TeeKind::AzureSnp) {
        let result = judge(*kind, &read(&folder, entry), &nothing);
        let expected = [CheckName::LeafSignature, CheckName::RootPinned];
        assert_eq!(failed(&result), expected, "{result}");
    }
}

#[test]
fn a_nonce_is_compared_whole_with_the_extra_data() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    for (kind, entry) in &entries(&folder) {
        let hex = entry["expected"]["nonce_hex"].as_str().unwrap();
        let nonce = HEXLOWER.decode(hex.as_bytes()).unwrap();
        let evidence = read(&folder, entry);
        let with = |nonce: &[u8]| {
            let expectations = Expectations { nonce: Some(nonce.to_vec()), ..Default::default() };
            let result = judge_with(*kind, &evidence, &endorsements, &expectations);
            result_of(&result, CheckName::Nonce)
        };
        assert_eq!(with(&nonce), CheckResult::Pass);
        let mut other = nonce.clone();
        *other.last_mut().unwrap() ^= 1;
        for wrong in [&other[..], &nonce[..nonce.len() - 1], b""] {
            assert_eq!(with(wrong), CheckResult::Fail);
        }
    }
}

#[test]
fn report_data_is_the_user_data_or_the_hardwares_own_never_the_nonce() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    for (kind, entry) in entries(&folder).iter().filter(|(kind, _)| *kind == TeeKind::AzureSnp) {
        let evidence = read(&folder, entry);
        let of_hex = |hex: &Value| -> [u8; 64] {
            HEXLOWER.decode(hex.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
        };
        let with = |report_data: [u8; 64]| {
            let report_data = Some(report_data);
            let expectations = Expectations { report_data, ..Default::default() };
            judge_with(*kind, &evidence, &endorsements, &expectations)
        };
        let claims = claims(&judge(*kind, &evidence, &endorsements));
        for good in [&claims["user_data"], &claims["report_data"]] {
            assert!(with(of_hex(good)).is_affirmed());
        }
        let nonce = HEXLOWER.decode(claims["nonce"].as_str().unwrap().as_bytes()).unwrap();
        let mut padded = [0; 64];
        padded[..nonce.len()].copy_from_slice(&nonce);
        assert_eq!(failed(&with(padded)), [CheckName::ReportData]);
    }
}

/// Bytes in a list of numbers, rewritten by `encode`; everything else as it was.
fn rewritten(value: &Value, encode: fn(&[u8]) -> String) -> Value {
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_u64) => {
            let byte = |item: &Value| u8::try_from(item.as_u64().unwrap()).unwrap();
            Value::String(encode(&items.iter().map(byte).collect::<Vec<u8>>()))
        }
        Value::Array(items) => items.iter().map(|item| rewritten(item, encode)).collect(),
        Value::Object(members) => {
            members.iter().map(|(k, v)| (k.clone(), rewritten(v, encode))).collect()
        }
        other => other.clone(),
    }
}

#[test]
fn every_form_of_the_document_gives_the_same_verdict_and_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    let encodings: [fn(&[u8]) -> String; 4] = [
        |bytes| HEXLOWER.encode(bytes),
        |bytes| HEXUPPER.encode(bytes),
        |bytes| BASE64.encode(bytes),
        |bytes| BASE64URL_NOPAD.encode(bytes),
    ];
    let mut forms = 0;
    for (kind, entry) in &entries(&folder) {
        let evidence = read(&folder, entry);
        let original = judge(*kind, &evidence, &endorsements);
        let document: Value = serde_json::from_slice(&evidence).unwrap();
        let member = |names: [&str; 2]| names.iter().find_map(|n| document.get(n)).unwrap();
        for encode in encodings {
            let mut newer = json!({
                "version": 2,
                "hcl_report": rewritten(member(["report", "hcl_report"]), encode),
                "tpm_quote": rewritten(member(["quote", "tpm_quote"]), encode),
            });
            if let Some(vcek) = document.get("vcek") {
                let pem =
                    x509_parser::pem::Pem::iter_from_buffer(vcek.as_str().unwrap().as_bytes());
                newer["vcek"] = encode(&pem.last().unwrap().unwrap().contents).into();
            }
            if let Some(quote) = document.get("td_quote") {
                newer["td_quote"] = rewritten(quote, encode);
            }
            let other = judge(*kind, newer.to_string().as_bytes(), &endorsements);
            assert_eq!(other.checks(), original.checks(), "{newer}");
            assert_eq!(other.claims(), original.claims());
            forms += 1;
        }
    }
    println!("Azure evidence: {forms} rewritten documents judged alike");
}

#[test]
fn a_report_alone_says_nothing_of_the_vtpm() {
    let Some(folder) = EvidenceFolder::open() else { return };
    for (kind, entry) in &entries(&folder) {
        let document: Value = serde_json::from_slice(&read(&folder, entry)).unwrap();
        let report = document.get("report").or(document.get("hcl_report")).unwrap();
        let hcl: Vec<u8> = serde_json::from_value(report.clone()).unwrap();
        let vcek = document.get("vcek").and_then(Value::as_str).unwrap_or("").as_bytes().to_vec();
        let chains: Vec<Vec<u8>> = CHAINS.iter().map(|path| folder.read(path)).collect();
        let all = chains.iter().chain([&vcek]).map(Vec::as_slice);
        let result = judge(*kind, &hcl, &Endorsements::sort(all));
        assert_eq!(result_of(&result, CheckName::TpmQuoteSignature), CheckResult::Unknown);
        match kind {
            TeeKind::AzureSnp => assert!(result.is_affirmed(), "{result}"),
            // Nobody but its own machine can check a TD report's MAC.
            _ => assert_eq!(failed(&result), [CheckName::TdQuote], "{result}"),
        }
    }
}

#[test]
fn evidence_judged_as_the_other_kind_is_refused() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let endorsements = folder.endorsements(CHAINS);
    for (kind, entry) in &entries(&folder) {
        let other = match kind {
            TeeKind::AzureSnp => TeeKind::AzureTdx,
            _ => TeeKind::AzureSnp,
        };
        let result = judge(other, &read(&folder, entry), &endorsements);
        assert!(failed(&result).contains(&CheckName::HclReportType), "{result}");
    }
}
