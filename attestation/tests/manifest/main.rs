//! Every entry of the evidence folder's manifest gives its verdict for its reason, read the way a
//! file on the command line is: recognised, then judged as raw evidence under `authentic`.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

#[path = "../common/mod.rs"]
mod common;

mod amd;
mod encodings;
mod intel;
mod nvidia;
mod platforms;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::{Certificate, Endorsements};
use bulla_attestation::input::{self, EndorsementKind, File, Recognised, Role};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, Check, CheckName};
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The date the manifest speaks from.
const TODAY: &str = "2026-11-20T00:00:00Z";

fn at(text: &str) -> UnixSeconds {
    UnixSeconds(OffsetDateTime::parse(text, &Rfc3339).unwrap().unix_timestamp() as u64)
}

/// The folder, its manifest, and what came out so far.
struct Run {
    folder: EvidenceFolder,
    entries: Vec<Value>,
    anchors: TrustAnchors,
    policy: Policy,
    counts: BTreeMap<String, BTreeMap<&'static str, usize>>,
    not_judged: Vec<String>,
    wrong: Vec<String>,
}

/// What became of an entry.
enum Outcome {
    /// Judged, and affirmed as the manifest says.
    Affirmed,
    /// Judged, and refused as the manifest says.
    Refused,
    /// No evidence by itself: read, and found to be what the manifest says.
    Material,
    /// Not about evidence: other tests have it.
    Elsewhere,
    /// This version cannot judge it.
    NotJudged,
}

/// What is expected of one judgement.
struct Case<'a> {
    files: Vec<&'a str>,
    at: &'a str,
    nonce: Option<Vec<u8>>,
}

impl<'a> Case<'a> {
    fn new(files: Vec<&'a str>, at: &'a str) -> Case<'a> {
        Case { files, at, nonce: None }
    }
}

impl Run {
    fn open() -> Option<Run> {
        let folder = EvidenceFolder::open()?;
        let entries = folder.manifest().as_array().unwrap().clone();
        let text = include_str!("../../../policies/appraisal/authentic.toml");
        Some(Run {
            folder,
            entries,
            anchors: TrustAnchors::vendors(),
            policy: Policy::from_toml(text).unwrap(),
            counts: BTreeMap::new(),
            not_judged: Vec::new(),
            wrong: Vec::new(),
        })
    }

    fn recognise(&self, files: &[&str]) -> Recognised {
        let bytes: Vec<Vec<u8>> = files.iter().map(|file| self.folder.read(file)).collect();
        let views: Vec<File<'_>> = files
            .iter()
            .zip(&bytes)
            .map(|(name, bytes)| File { name, bytes, role: Role::Anything })
            .collect();
        input::recognise(&views, None)
    }

    /// Judges every piece of evidence in the files with everything in them.
    fn judge(&self, case: &Case<'_>) -> Vec<AttestationResult> {
        let found = self.recognise(&case.files);
        let expectations = Expectations { nonce: case.nonce.clone(), ..Expectations::default() };
        let one = |evidence: &input::Evidence| {
            appraise_raw(
                evidence.kind,
                &evidence.bytes,
                &Endorsements::sort(found.endorsements_for(evidence)),
                &self.anchors,
                &self.policy,
                &expectations,
                at(case.at),
            )
        };
        found.evidence.iter().map(one).collect()
    }

    fn judge_only(&self, case: &Case<'_>) -> AttestationResult {
        let mut results = self.judge(case);
        assert_eq!(results.len(), 1, "{:?}", case.files);
        results.remove(0)
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.entries.iter().filter(move |entry| entry["kind"] == kind)
    }

    /// Files of a kind.
    fn files(&self, kind: &str) -> Vec<&str> {
        self.of_kind(kind).map(|entry| text(entry, "/file")).collect()
    }
}

fn text<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

fn companions(entry: &Value) -> Vec<&str> {
    entry["companions"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The entry's file and its companions.
fn with_companions(entry: &Value) -> Vec<&str> {
    [vec![text(entry, "/file")], companions(entry)].concat()
}

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

/// Whether this version does not judge the kind of evidence at all, or not under this policy.
fn is_not_there(result: &AttestationResult) -> bool {
    let words = ["a TEE the policy lists", "evidence this version appraises"];
    let is_tee_type = failed(result) == [CheckName::TeeType];
    is_tee_type && result.failed().any(|check| words.contains(&check.expected.as_str()))
}

fn affirmed(result: &AttestationResult, what: &str) -> Outcome {
    if is_not_there(result) {
        return Outcome::NotJudged;
    }
    assert!(result.is_affirmed(), "{what}\n{result}");
    assert!(!result.is_simulated(), "{what}");
    Outcome::Affirmed
}

/// Refused, and one of the failed checks says why.
fn refused(result: &AttestationResult, what: &str, reason: impl Fn(&Check) -> bool) -> Outcome {
    if is_not_there(result) {
        return Outcome::NotJudged;
    }
    assert!(!result.is_affirmed() && result.failed().any(reason), "{what}\n{result}");
    Outcome::Refused
}

fn is_named(words: &'static [&'static str]) -> impl Fn(&Check) -> bool {
    move |check| words.iter().any(|word| check.name.as_str().contains(word))
}

#[test]
fn every_entry_gives_its_verdict() {
    let Some(mut run) = Run::open() else { return };
    for entry in run.entries.clone() {
        let kind = text(&entry, "/kind").to_owned();
        // One wrong entry does not hide the next.
        let outcome = catch_unwind(AssertUnwindSafe(|| run.entry(&entry)));
        let column = match outcome {
            Ok(Outcome::Affirmed) => "affirmed",
            Ok(Outcome::Refused) => "refused",
            Ok(Outcome::Material) => "material",
            Ok(Outcome::Elsewhere) => "elsewhere",
            Err(_) => {
                run.wrong.push(format!("{} ({kind})", text(&entry, "/file")));
                "WRONG"
            }
            Ok(Outcome::NotJudged) => {
                run.not_judged.push(format!("{} ({kind})", text(&entry, "/file")));
                "NOT JUDGED"
            }
        };
        *run.counts.entry(kind).or_default().entry(column).or_default() += 1;
    }
    let mut totals: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, counts) in &run.counts {
        let words: Vec<String> =
            counts.iter().map(|(column, count)| format!("{count} {column}")).collect();
        println!("{kind:<28}{}", words.join(", "));
        for (column, count) in counts {
            *totals.entry(column).or_default() += count;
        }
    }
    println!("{} entries: {totals:?}", run.entries.len());
    for file in &run.not_judged {
        println!("NOT JUDGED: {file}");
    }
    for file in &run.wrong {
        println!("WRONG: {file}");
    }
    assert!(run.not_judged.is_empty(), "{} entries are not judged", run.not_judged.len());
    assert!(run.wrong.is_empty(), "{} entries are judged otherwise", run.wrong.len());
}

impl Run {
    fn entry(&self, entry: &Value) -> Outcome {
        match text(entry, "/kind") {
            "amd-ca-cert" => self.amd_authority(entry),
            "snp-vcek" | "snp-vlek" | "snp-vcek-negative" => self.amd_leaf(entry),
            "amd-crl" => self.amd_crl(entry),
            "snp-report" => self.snp_report(entry),
            "snp-report-negative" => self.unreadable(entry),
            "oak-proto" => self.oak(entry),
            "azure-hcl-vtpm-evidence" => self.azure(entry),
            "tdx-quote" => self.tdx_quote(entry),
            "sgx-quote" => self.sgx_quote(entry),
            "tdx-collateral-v3" => self.tdx_collateral(entry),
            "tdx-collateral-raw" | "tpm-ak-cert" => self.material(entry),
            "intel-root" | "nvidia-root" | "hygon-root" => self.vendor_root(entry),
            "ccel-eventlog" | "rtmr-eventlog-json" => self.event_log(entry),
            "tdx-synthetic-set" => self.tdx_synthetic(entry),
            "nvidia-spdm-report" => self.nvidia_report(entry),
            "nvidia-chain" => self.material(entry),
            "nvidia-rim" => self.nvidia_rim(entry),
            "nvidia-ocsp" => self.nvidia_ocsp(entry),
            "nvidia-evidence-json" => self.nvidia_evidence(entry),
            "hygon-csv-evidence" => self.csv(entry),
            "cross-pairs" => self.cross_pairs(entry),
            // Launch digests have their own test, the protocol's vectors those of their crates.
            "measurement-vectors" | "measurement-input" | "snp-id-block" => Outcome::Elsewhere,
            _ if text(entry, "/file").starts_with("protocol/") => Outcome::Elsewhere,
            other => panic!("a kind of entry nobody judges: {other}"),
        }
    }

    /// Everything in a file, none of it evidence.
    fn material(&self, entry: &Value) -> Outcome {
        let found = self.recognise(&[text(entry, "/file")]);
        assert!(found.evidence.is_empty() && found.left_aside.is_empty(), "{:?}", found.left_aside);
        assert!(!found.endorsements.is_empty(), "{}", text(entry, "/file"));
        Outcome::Material
    }

    fn certificate(&self, file: &str) -> Certificate {
        let found = self.recognise(&[file]);
        let [only] = found.endorsements.as_slice() else { panic!("{file}: {found:?}") };
        assert_eq!(only.kind, EndorsementKind::Certificate, "{file}");
        Certificate::from_der(&only.bytes).unwrap()
    }

    fn vendor_root(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let found = self.recognise(&[file]);
        let Some(root) = found.endorsements.first() else { return Outcome::NotJudged };
        match Certificate::from_der(&root.bytes) {
            Ok(root) if self.anchors.pinning(&root).is_some() => Outcome::Material,
            Ok(_) => Outcome::NotJudged,
            // Hygon's root has a form of its own; the appraisal of CSV evidence has its key.
            Err(_) => Outcome::Material,
        }
    }
}
