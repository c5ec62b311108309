//! The questions as the page asks them, on the evidence and bundles under `tests/vectors`.

use bulla_attestation::result::CheckName;
use serde_json::{Value, json};

use crate::appraisal::{Appraised, appraise};
use crate::auditing::{Audited, audit};
use crate::reply::to_json;
use crate::request::written;
use crate::trust::shipped;

macro_rules! vector {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/vectors/", $name))
    };
}

type File<'a> = (&'a str, &'a str, &'a [u8]);

const REPORT: &[u8] = vector!("bundle/evidence-0.json");
const ROOT: File<'_> = ("root.der", "simulated-root", vector!("simulated-chain/genoa-ark.der"));
const TRUST: File<'_> = ("trust.json", "trust", vector!("bundle/trust.json"));
/// An instant at which the stored reports served.
const AT: u64 = 1_800_000_000;

fn settings() -> Value {
    json!({"policy": {"shipped": "development"}, "vendor_roots": true, "at": AT})
}

fn with(name: &str, value: Value) -> Value {
    let mut settings = settings();
    settings[name] = value;
    settings
}

fn judged(settings: &Value, files: &[File<'_>]) -> Appraised {
    appraise(&written(settings, files)).unwrap()
}

/// The names of the failed checks of the one verdict.
fn failed(settings: &Value, files: &[File<'_>]) -> Vec<CheckName> {
    let appraised = judged(settings, files);
    let [only] = appraised.verdicts.as_slice() else { panic!("{appraised:?}") };
    only.result.failed().map(|check| check.name).collect()
}

fn refusal(settings: &Value, files: &[File<'_>]) -> String {
    appraise(&written(settings, files)).unwrap_err().to_string()
}

#[test]
fn a_report_is_affirmed_under_a_root_that_was_named_and_says_it_is_simulated() {
    let appraised = judged(&settings(), &[("report.json", "judged", REPORT), ROOT]);
    let verdict = &appraised.verdicts[0];
    assert!(verdict.result.is_affirmed() && verdict.result.is_simulated() && verdict.is_report);
    assert_eq!(appraised.files[0].holds, ["attestation report (aci/1)"]);
    let shown: Value = serde_json::from_slice(&to_json::<_, String>(&Ok(appraised))).unwrap();
    assert_eq!(shown["ok"]["verdicts"][0]["result"]["verdict"], "affirmed");
}

#[test]
fn what_is_wrong_is_named() {
    let report = ("report.json", "judged", REPORT);
    assert_eq!(failed(&settings(), &[report]), [CheckName::RootPinned]);
    // A root dropped among the evidence is not a root that was named.
    let not_named = ("root.der", "judged", ROOT.2);
    assert_eq!(failed(&settings(), &[report, not_named]), [CheckName::RootPinned]);
    let other_nonce = with("expected", json!({"nonce": "5a".repeat(32)}));
    assert_eq!(failed(&other_nonce, &[report, ROOT]), [CheckName::Nonce]);
    let later = with("at", json!(AT + 3600));
    assert_eq!(failed(&later, &[report, ROOT]), [CheckName::KeysetExpiry]);
    let authentic = with("policy", json!({"shipped": "authentic"}));
    assert!(failed(&authentic, &[report, ROOT]).contains(&CheckName::SimulatedRoot));
}

#[test]
fn raw_evidence_is_taken_out_of_its_wrapping() {
    let document: Value = serde_json::from_slice(REPORT).unwrap();
    let evidence = serde_json::to_vec(&document["attestation"]["evidence"]).unwrap();
    let appraised = judged(&settings(), &[("evidence.json", "judged", &evidence), ROOT]);
    let verdict = &appraised.verdicts[0];
    assert!(verdict.result.is_affirmed() && !verdict.is_report, "{}", verdict.result);
    assert!(appraised.files[0].holds.iter().any(|held| held == "SEV-SNP report"));
    let files = [("evidence.json", "judged", &evidence[..]), ROOT];
    let bound = document["attestation"]["report_data"].as_str().unwrap();
    let rows = [
        ("measurement", "00".repeat(48), vec![CheckName::Measurement]),
        ("report_data", bound.to_owned(), vec![]),
        ("nonce", bound.to_uppercase(), vec![]),
        ("report_data", "00".to_owned(), vec![CheckName::ReportData]),
        ("nonce", "5a".repeat(65), vec![CheckName::ReportData]),
    ];
    for (name, value, wrong) in rows {
        assert_eq!(failed(&with("expected", json!({name: value})), &files), wrong, "{name}");
    }
}

#[test]
fn what_cannot_be_judged_is_said_in_a_sentence() {
    let report = ("report.json", "judged", REPORT);
    let rows = [
        (with("policy", json!({"shipped": "lax"})), "no built-in policy called \"lax\""),
        (with("policy", json!({"own": "name = 1"})), "policy does not read"),
        (with("expected", json!({"nonce": "xyz"})), "nonce must be hex"),
        (with("expected", json!({"nonce": "00"})), "nonce must have 32 bytes, got 1"),
        (with("expected", json!({"report_data": "00".repeat(65)})), "at most 64 bytes, got 65"),
        (with("expected", json!({"measurement": "00"})), "measurement can be expected of raw"),
    ];
    for (settings, expected) in rows {
        let got = refusal(&settings, &[report, ROOT]);
        assert!(got.contains(expected), "{got}");
    }
    let no_root = ("root.der", "simulated-root", &b"no certificate"[..]);
    assert!(refusal(&settings(), &[report, no_root]).contains("no certificate in DER or PEM"));
    let appraised = judged(&settings(), &[("noise", "judged", &[7; 40])]);
    assert!(appraised.verdicts.is_empty() && !appraised.files[0].left_aside.is_empty());
}

#[test]
fn every_shipped_policy_reads_and_describes_itself() {
    let shipped = shipped().unwrap();
    assert_eq!(shipped.len(), 4);
    assert!(shipped.iter().all(|policy| !policy.description.is_empty()));
    let simulated: Vec<_> = shipped.iter().filter(|policy| policy.allows_simulated).collect();
    assert_eq!(simulated.iter().map(|policy| policy.name).collect::<Vec<_>>(), ["development"]);
}

fn audited(files: &[File<'_>]) -> Result<Audited, String> {
    audit(&written(&settings(), files)).map_err(|error| error.to_string())
}

#[test]
fn bundles_are_audited_under_named_keys_only() {
    let full = ("full.cborseq", "judged", &vector!("bundle/full.cborseq")[..]);
    let clean = audited(&[full, TRUST, ROOT]).unwrap();
    assert_eq!((clean.exit_code, clean.errors), (0, 0), "{}", clean.report);
    let toml = ("trust.toml", "trust", &vector!("bundle/trust.toml")[..]);
    assert_eq!(audited(&[full, toml, TRUST, ROOT]).unwrap().exit_code, 0);
    assert!(audited(&[full, ROOT]).unwrap_err().contains("name the log's key"));
    let noise = ("notes.toml", "trust", &b"a = 1"[..]);
    assert!(audited(&[full, noise, ROOT]).unwrap_err().contains("notes.toml names no keys"));
    assert!(audited(&[full, full, TRUST]).unwrap_err().contains("one bundle at a time, got 2"));
    // Without the simulated root the receipts' keys are attested by nobody.
    assert_eq!(audited(&[full, TRUST]).unwrap().exit_code, 1);
    let lie = ("overcharged.cborseq", "judged", &vector!("bundle/overcharged.cborseq")[..]);
    let found = audited(&[lie, TRUST, ROOT]).unwrap();
    let checks: Vec<_> = found.report.errors().map(|finding| finding.check.as_str()).collect();
    assert_eq!((found.exit_code, checks), (1, vec!["receipt-charge"]));
    let cut = ("cut.cborseq", "judged", &full.2[..full.2.len() - 1]);
    assert_eq!(audited(&[cut, TRUST, ROOT]).unwrap().exit_code, 2);
}

#[test]
fn two_different_root_keys_are_one_too_many() {
    let full = ("full.cborseq", "judged", &vector!("bundle/full.cborseq")[..]);
    let mut settings = settings();
    settings["keys"] = json!({"broker_root": "00".repeat(32)});
    let error = audit(&written(&settings, &[full, TRUST, ROOT])).unwrap_err().to_string();
    assert!(error.contains("two different root keys"), "{error}");
}
