//! Every entry of the evidence folder's manifest gives its verdict for its reason, read the way a
//! file on the command line is: recognised, then judged as raw evidence under `authentic`.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::rim::Rim;
use bulla_attestation::endorsement::{Certificate, Crl, Endorsements};
use bulla_attestation::input::{self, EndorsementKind, File, Recognised, Role};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, Check, CheckName, CheckResult};
use bulla_attestation::tee::TeeKind;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use data_encoding::{BASE64, BASE64_MIME, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use serde_json::{Value, json};
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
        let text = include_str!("../../policies/appraisal/authentic.toml");
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

    fn amd_authority(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let certificate = self.certificate(file);
        match text(entry, "/expected/verdict") {
            "trust-anchor" => assert!(self.anchors.pinning(&certificate).is_some(), "{file}"),
            _ => {
                let root = format!("snp/ca/{}/ark.pem", text(entry, "/product"));
                let root = self.certificate(&root);
                assert!(certificate.is_signed_by(&root.public_key), "{file}");
                assert!(self.anchors.pinning(&certificate).is_none(), "{file}");
            }
        }
        Outcome::Material
    }

    fn amd_leaf(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let leaf = self.certificate(file);
        let is_current = (leaf.not_before..=leaf.not_after).contains(&(at(TODAY).0 as i64));
        let issuer = companions(entry).first().map(|file| self.certificate(file));
        let milan = || self.certificate("snp/ca/milan/ask.pem");
        let is_signed = leaf.is_signed_by(&issuer.unwrap_or_else(milan).public_key);
        let (reason, verdict) = (text(entry, "/expected/reason"), text(entry, "/expected/verdict"));
        match (verdict, reason) {
            ("accept", _) => {
                assert!(is_current && is_signed, "{file}");
                Outcome::Affirmed
            }
            ("reject", reason) if reason.contains("expired") => {
                assert!(!is_current && is_signed, "{file}");
                Outcome::Refused
            }
            _ => {
                assert!(!is_signed, "{file}");
                Outcome::Refused
            }
        }
    }

    fn amd_crl(&self, entry: &Value) -> Outcome {
        let found = self.recognise(&[text(entry, "/file")]);
        let crl = Crl::from_der(&found.endorsements[0].bytes).unwrap();
        let root = self.certificate("snp/ca/milan/ark.pem");
        assert!(crl.is_signed_by(&root.public_key) && !crl.is_current(at(TODAY).0 as i64));
        assert!(crl.is_current(at("2025-06-01T00:00:00Z").0 as i64) && crl.revoked.is_empty());
        Outcome::Material
    }

    fn snp_report(&self, entry: &Value) -> Outcome {
        let (file, reason) = (text(entry, "/file"), text(entry, "/expected/reason"));
        let result = self.judge_only(&Case::new(with_companions(entry), TODAY));
        let claims = serde_json::to_value(result.claims()).unwrap();
        for field in ["measurement", "report_data", "chip_id"] {
            assert_eq!(claims[field], entry["expected"]["fields"][field], "{file}");
        }
        match text(entry, "/expected/verdict") {
            "accept" => {
                assert_eq!(result.product(), entry["product"].as_str(), "{file}");
                affirmed(&result, file)
            }
            _ if reason.contains("DEBUG") => {
                assert_eq!(failed(&result), [CheckName::GuestDebug], "{file}");
                Outcome::Refused
            }
            _ if reason.contains("expired") => {
                assert_eq!(failed(&result), [CheckName::CertificateDates], "{file}");
                let inside = Case::new(with_companions(entry), "2025-06-01T00:00:00Z");
                affirmed(&self.judge_only(&inside), file);
                Outcome::Refused
            }
            "parse-only" => refused(&result, file, |check| check.name == CheckName::SigningKey),
            other => panic!("{file}: {other}"),
        }
    }

    fn unreadable(&self, entry: &Value) -> Outcome {
        let found = self.recognise(&[text(entry, "/file")]);
        assert!(found.evidence.is_empty() && found.endorsements.is_empty());
        assert!(found.left_aside[0].reason.contains("793 of 1184"), "{:?}", found.left_aside);
        Outcome::Refused
    }

    /// Evidence and endorsements of one folder, in protobuf; the intermediate is AMD's.
    fn oak(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let (folder, name) = file.rsplit_once('/').unwrap();
        if name.starts_with("reference_values") {
            let found = self.recognise(&[file]);
            assert!(found.evidence.is_empty() && found.endorsements.is_empty(), "{file}");
            return Outcome::Material;
        }
        let [evidence, endorsements] =
            ["evidence", "endorsements"].map(|name| format!("{folder}/{name}.binarypb"));
        let authorities = self.files("amd-ca-cert");
        let files = [vec![evidence.as_str(), &endorsements], authorities].concat();
        affirmed(&self.judge_only(&Case::new(files, TODAY)), file)
    }

    fn azure(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let more = [self.files("amd-ca-cert"), self.files("tdx-collateral-v3")].concat();
        let when = match text(entry, "/expected/hcl_report_type") {
            "tdx" => "2025-07-22T09:13:34Z",
            _ => TODAY,
        };
        let nonce = HEXLOWER.decode(text(entry, "/expected/nonce_hex").as_bytes()).unwrap();
        let mut case = Case::new([vec![file], more].concat(), when);
        case.nonce = Some(nonce);
        let result = self.judge_only(&case);
        if is_not_there(&result) {
            return Outcome::NotJudged;
        }
        case.nonce = Some(b"another challenge".to_vec());
        assert!(!self.judge_only(&case).is_affirmed(), "{file}: any nonce will do");
        affirmed(&result, file)
    }

    /// The document comes without its chip's certificates (HSK, CEK), which Hygon's service hands out
    /// and the manifest's source fetched: all that is given is genuine, and the gap refuses it.
    fn csv(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        assert_eq!(text(entry, "/expected/verdict"), "accept-unchecked", "{file}");
        let result = self.judge_only(&Case::new(with_companions(entry), TODAY));
        assert!(
            result
                .check(CheckName::ReportSignature)
                .is_some_and(|check| { check.result == CheckResult::Pass })
        );
        refused(&result, file, |check| check.name == CheckName::RootPinned)
    }

    /// The quote with each collateral the manifest pairs it with, at its instant.
    fn tdx_quote(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let (verdict, reason) = (text(entry, "/expected/verdict"), text(entry, "/expected/reason"));
        let alone = self.judge_only(&Case::new(vec![file], TODAY));
        if is_not_there(&alone) {
            return Outcome::NotJudged;
        }
        let is_tcb = is_named(&["tcb", "collateral"]);
        assert!(alone.failed().all(&is_tcb) || reason.contains("DEBUG"), "{file}\n{alone}");
        assert!(!alone.is_affirmed(), "{file}: no level matches without collateral\n{alone}");
        let pairs = entry["expected"]["tcb_verdicts"].as_array().unwrap();
        for pair in pairs {
            let files = vec![file, text(pair, "/collateral")];
            let result = self.judge_only(&Case::new(files, text(pair, "/at_utc")));
            let status = text(pair, "/dcap_qvl_0_7_0");
            if reason.contains("DEBUG") {
                refused(&result, file, is_named(&["debug"]));
            } else if status.contains("No matching TCB level") {
                refused(&result, file, is_named(&["tcb"]));
            } else {
                affirmed(&result, file);
                let claims = serde_json::to_value(result.claims()).unwrap();
                if !status.starts_with("ERR") {
                    assert_eq!(claims["tcb_status"], status, "{file}");
                }
                agrees_with(&claims, entry);
            }
        }
        match verdict {
            "accept" | "OutOfDate" | "reject (strict)" => {
                assert!(!pairs.is_empty(), "{file}");
                Outcome::Affirmed
            }
            _ => Outcome::Refused,
        }
    }

    fn sgx_quote(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let result = self.judge_only(&Case::new(with_companions(entry), "2025-06-20T10:56:11Z"));
        refused(&result, file, |check| check.got.contains("SGX") || check.got.contains("type 0"))
    }

    /// Collateral is read as such; inside its window a quote of its FMSPC is judged with it above,
    /// and outside it says nothing.
    fn tdx_collateral(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let found = self.recognise(&[file]);
        assert_eq!(found.endorsements.len(), 1, "{file}");
        assert_eq!(found.endorsements[0].kind, EndorsementKind::IntelCollateral, "{file}");
        let quotes = self.of_kind("tdx-quote").filter(|quote| companions(quote).contains(&file));
        for quote in quotes {
            let quote = text(quote, "/file");
            let result = self.judge_only(&Case::new(vec![quote, file], TODAY));
            if is_not_there(&result) {
                return Outcome::NotJudged;
            }
            assert!(!result.is_affirmed(), "{file} is out of its window\n{result}");
        }
        Outcome::Material
    }

    /// The log replays to the quote it belongs to; with one digit changed it does not.
    fn event_log(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let quote = companions(entry)[0];
        let collateral = self.files("tdx-collateral-v3");
        let pair = self.of_kind("tdx-quote").find(|other| text(other, "/file") == quote).unwrap();
        let when = text(pair, "/expected/tcb_verdicts/0/at_utc");
        let files = [vec![quote], collateral].concat();
        let found = self.recognise(&[file]);
        let log = found.endorsements.iter().find(|e| e.kind == EndorsementKind::EventLog).unwrap();
        let judge = |log: &[u8]| {
            let found = self.recognise(&files);
            let mut blobs = found.endorsements_for(&found.evidence[0]);
            blobs.push(log);
            let (evidence, sorted) = (&found.evidence[0], Endorsements::sort(blobs));
            let none = Expectations::default();
            let (anchors, policy) = (&self.anchors, &self.policy);
            appraise_raw(evidence.kind, &evidence.bytes, &sorted, anchors, policy, &none, at(when))
        };
        let result = judge(&log.bytes);
        if is_not_there(&result) {
            return Outcome::NotJudged;
        }
        let replayed = result.checks().iter().find(|check| is_named(&["log", "rtmr"])(check));
        assert_eq!(replayed.unwrap().result, CheckResult::Pass, "{file}\n{result}");
        affirmed(&result, file)
    }

    /// Evidence under Intel's test root is refused under Intel's own.
    fn tdx_synthetic(&self, entry: &Value) -> Outcome {
        let set = self.files("tdx-synthetic-set");
        if !text(entry, "/file").ends_with("quote.dat") {
            return self.material(entry);
        }
        let result = self.judge_only(&Case::new(set, "2025-06-01T00:00:00Z"));
        refused(&result, "synthetic", is_named(&["root", "chain", "certificate", "quote", "pck"]))
    }

    fn nvidia_report(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let nonce = HEXLOWER.decode(text(entry, "/expected/nonce").as_bytes()).unwrap();
        let mut case = Case::new(with_companions(entry), TODAY);
        case.nonce = Some(nonce);
        let result = self.judge_only(&case);
        match text(entry, "/expected/verdict") {
            "reject" => refused(&result, file, is_named(&["signature"])),
            _ => {
                let outcome = affirmed(&result, file);
                if matches!(outcome, Outcome::Affirmed) {
                    let claims = serde_json::to_value(result.claims()).unwrap().to_string();
                    for field in ["driver", "nonce"] {
                        let expected = text(entry, &format!("/expected/{field}"));
                        assert!(claims.contains(expected), "{file}: {field} {expected}\n{claims}");
                    }
                    case.nonce = Some(vec![7; 32]);
                    refused(&self.judge_only(&case), file, is_named(&["nonce"]));
                }
                outcome
            }
        }
    }

    /// A manifest with each device report: it passes where it is about the device and genuine, it is
    /// refused where it is about it and altered, and ignored otherwise.
    fn nvidia_rim(&self, entry: &Value) -> Outcome {
        let (file, reason) = (text(entry, "/file"), text(entry, "/expected/reason"));
        let verdict = text(entry, "/expected/verdict");
        let signer = reason.split("leaf ('").nth(1).and_then(|dates| dates.split('\'').next());
        let inside = match (signer, verdict.split("before ").nth(1)) {
            (Some(first), _) => format!("{}-12-01T00:00:00Z", &first[..4]),
            (None, Some(_)) => "2025-10-24T12:00:00Z".to_owned(),
            (None, None) => TODAY.to_owned(),
        };
        let mut counts = (0, 0);
        for report in self.of_kind("nvidia-spdm-report") {
            if text(report, "/expected/verdict") == "reject" {
                continue;
            }
            let without = self.judge_only(&Case::new(with_companions(report), &inside));
            if is_not_there(&without) {
                return Outcome::NotJudged;
            }
            let files = [with_companions(report), vec![file]].concat();
            let with = self.judge_only(&Case::new(files, &inside));
            if !with.is_affirmed() {
                assert!(with.failed().any(is_named(&["manifest"])), "{file}\n{with}");
                counts.1 += 1;
            } else if with.checks().iter().zip(without.checks()).any(|(a, b)| a.result != b.result)
            {
                counts.0 += 1;
                if verdict.contains("before") {
                    let files = [with_companions(report), vec![file]].concat();
                    let late = self.judge_only(&Case::new(files, TODAY));
                    refused(&late, file, |check| check.name == CheckName::ManifestDates);
                }
            }
        }
        println!("{file}: passes with {} reports, refused with {} at {inside}", counts.0, counts.1);
        let rim = Rim::read(&self.folder.read(file)).unwrap();
        let mut links = rim.certificates.windows(2);
        let is_chained = links.all(|link| link[0].is_signed_by(&link[1].public_key));
        let is_genuine = rim.is_signed() && is_chained;
        assert_eq!(is_genuine, verdict != "reject", "{file}: signature or chain");
        match verdict {
            "reject" => {
                assert_eq!(counts.0, 0, "{file}");
                Outcome::Refused
            }
            "accept" => {
                assert!(counts.0 > 0 && counts.1 == 0, "{file} {counts:?}");
                Outcome::Affirmed
            }
            // Accepted before its signer's certificate ended.
            _ => {
                assert_eq!(counts.1, 0, "{file}");
                Outcome::Affirmed
            }
        }
    }

    /// Answers of one collection, inside their 24 hours, with the device and its manifests.
    fn nvidia_ocsp(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let report = "nvidia/hopper-550.90.07/report.bin";
        let report =
            self.of_kind("nvidia-spdm-report").find(|e| text(e, "/file") == report).unwrap();
        let when = match text(entry, "/expected/reason").contains("2025-08-2") {
            true => "2025-08-21T12:00:00Z",
            false => "2025-10-24T12:00:00Z",
        };
        let rims = self.files("nvidia-rim").into_iter().filter(|rim| rim.contains("550.90.07/"));
        let files: Vec<&str> = with_companions(report).into_iter().chain(rims).collect();
        let all = [files, self.files("nvidia-ocsp")].concat();
        let result = self.judge_only(&Case::new(all, when));
        affirmed(&result, file)
    }

    fn nvidia_evidence(&self, entry: &Value) -> Outcome {
        let file = text(entry, "/file");
        let result = self.judge_only(&Case::new(vec![file], TODAY));
        affirmed(&result, file)
    }

    fn cross_pairs(&self, entry: &Value) -> Outcome {
        let pairs = entry["expected"].as_array().unwrap();
        for pair in pairs {
            let (report, certificate) = (text(pair, "/report"), text(pair, "/cert"));
            let right = self.of_kind("snp-report").find(|other| text(other, "/file") == report);
            let authorities: Vec<String> = match pair["ca"].as_str() {
                Some(folder) => ["ask", "asvk", "ark"].map(|n| format!("{folder}/{n}.pem")).into(),
                None => companions(right.unwrap()).into_iter().skip(1).map(str::to_owned).collect(),
            };
            let files: Vec<&str> = [report, certificate]
                .into_iter()
                .chain(authorities.iter().map(String::as_str))
                .collect();
            let result = self.judge_only(&Case::new(files, "2025-06-01T00:00:00Z"));
            let expected = match pair["ca"].is_string() {
                true => CheckName::LeafSignature,
                false => CheckName::ReportSignature,
            };
            assert!(failed(&result).contains(&expected), "{report} {certificate}\n{result}");
            assert!(!result.is_affirmed());
        }
        println!("cross-pairs: {} refused", pairs.len());
        assert!(pairs.len() >= 20);
        Outcome::Refused
    }
}

/// Fields the manifest states for a quote, where the claims have them.
fn agrees_with(claims: &Value, entry: &Value) {
    for (claim, field) in [("measurement", "mr_td"), ("report_data", "report_data")] {
        let expected = &entry["expected"]["fields"][field];
        if expected.is_string() {
            assert_eq!(&claims[claim], expected, "{}: {field}", text(entry, "/file"));
        }
    }
}

/// Each piece of raw evidence in every encoding: the same bytes come out, so the same verdict.
#[test]
fn the_encoding_changes_nothing() {
    let Some(run) = Run::open() else { return };
    let mut count = 0;
    for kind in ["snp-report", "tdx-quote", "sgx-quote", "nvidia-spdm-report"] {
        for entry in run.of_kind(kind) {
            let file = text(entry, "/file");
            let raw = run.folder.read(file);
            let plain = run.recognise(&[file]).evidence.remove(0);
            for (how, wrapped) in wrappings(&raw) {
                let view = File { name: file, bytes: &wrapped, role: Role::Anything };
                let found = input::recognise(&[view], None);
                assert_eq!(found.evidence.len(), 1, "{file} as {how}: {:?}", found.left_aside);
                assert_eq!(found.evidence[0].kind, plain.kind, "{file} as {how}");
                assert!(found.evidence[0].bytes == plain.bytes, "{file} as {how}");
                count += 1;
            }
        }
    }
    for entry in run.of_kind("snp-vcek").chain(run.of_kind("nvidia-ocsp")) {
        let file = text(entry, "/file");
        let raw = run.folder.read(file);
        for (how, wrapped) in wrappings(&raw) {
            let view = File { name: file, bytes: &wrapped, role: Role::Endorsement };
            let found = input::recognise(&[view], None);
            assert_eq!(found.endorsements.len(), 1, "{file} as {how}: {:?}", found.left_aside);
            assert!(found.endorsements[0].bytes == raw, "{file} as {how}");
            count += 1;
        }
    }
    println!("{count} re-encoded files read like the originals");
    assert!(count > 400);
}

fn wrappings(raw: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = HEXLOWER.encode(raw);
    let lines: Vec<String> =
        hex.as_bytes().chunks(60).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
    let base64 = BASE64.encode(raw);
    let inner = json!({ "quote": base64 }).to_string();
    let texts = [
        ("hex", hex.clone()),
        ("upper hex", HEXUPPER.encode(raw)),
        ("0x hex", format!("0x{hex}\n")),
        ("hex in lines", lines.join("\n")),
        ("base64", base64.clone()),
        ("unpadded base64", base64.trim_end_matches('=').to_owned()),
        ("base64 in lines", BASE64_MIME.encode(raw)),
        ("base64url", BASE64URL_NOPAD.encode(raw)),
        ("base64 of hex", BASE64.encode(hex.as_bytes())),
        ("PEM", format!("-----BEGIN DATA-----\n{}-----END DATA-----\n", BASE64_MIME.encode(raw))),
        ("JSON hex", json!({ "a": [{ "report": hex }] }).to_string()),
        ("JSON numbers", json!({ "report": raw }).to_string()),
        ("JSON in JSON", json!({ "payload": inner }).to_string()),
        ("JSON text", json!(hex).to_string()),
    ];
    texts.into_iter().map(|(how, text)| (how, text.into_bytes())).collect()
}

/// Azure's documents are opened for the report inside where that is asked for.
#[test]
fn a_named_kind_opens_azures_documents() {
    let Some(run) = Run::open() else { return };
    for entry in run.of_kind("azure-hcl-vtpm-evidence") {
        let file = text(entry, "/file");
        let wanted = match text(entry, "/expected/hcl_report_type") {
            "tdx" => TeeKind::Tdx,
            _ => TeeKind::Snp,
        };
        let bytes = run.folder.read(file);
        let view = File { name: file, bytes: &bytes, role: Role::Anything };
        let found = input::recognise(&[view], Some(wanted));
        assert_eq!(found.evidence.len(), 1, "{file}");
        assert_eq!(found.evidence[0].kind, wanted, "{file}");
    }
}
