//! Every real SEV-SNP report of the evidence folder, judged as its manifest entry says.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::{AttestationResult, CheckName, Claims};
use bulla_attestation::tee::snp::appraise_raw;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use serde_json::Value;

/// 2026-11-20T00:00:00Z, the date the manifest speaks from.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// 2025-06-01T00:00:00Z: inside the year of the VLEK certificate.
const MID_2025: UnixSeconds = UnixSeconds(1_748_736_000);

fn authentic() -> Policy {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    Policy::from_toml(text).expect("the shipped policy reads")
}

fn judge(
    folder: &EvidenceFolder,
    report: &str,
    endorsements: &[&str],
    now: UnixSeconds,
) -> AttestationResult {
    appraise_raw(
        &folder.read(report),
        &folder.endorsements(endorsements.iter().copied()),
        &TrustAnchors::vendors(),
        &authentic(),
        &Expectations::default(),
        now,
    )
}

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

fn text<'a>(entry: &'a Value, pointer: &str) -> &'a str {
    entry.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// Companions in the manifest: certificate, intermediate, root. The root is pinned, so it is left
/// out half of the time.
fn companions(entry: &Value) -> Vec<&str> {
    let all = entry["companions"].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

#[test]
fn every_report_gets_its_verdict_for_its_reason() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let reports = manifest.as_array().unwrap().iter().filter(|e| e["kind"] == "snp-report");
    let (mut affirmed, mut refused) = (0, 0);
    for entry in reports {
        let file = text(entry, "/file");
        let result = judge(&folder, file, &companions(entry), NOW);
        let expected: Vec<CheckName> = match text(entry, "/expected/verdict") {
            "accept" => vec![],
            _ if text(entry, "/expected/reason").contains("DEBUG") => vec![CheckName::GuestDebug],
            _ if text(entry, "/expected/reason").contains("expired") => {
                vec![CheckName::CertificateDates]
            }
            "parse-only" => vec![CheckName::SigningKey, CheckName::RootPinned],
            other => panic!("{file}: unknown verdict {other}"),
        };
        assert_eq!(failed(&result), expected, "{file}\n{result}");
        assert_eq!(result.is_affirmed(), expected.is_empty());
        assert!(!result.is_simulated());
        agrees_with_the_manifest(&result, entry);
        if result.is_affirmed() { affirmed += 1 } else { refused += 1 }
    }
    println!("real SNP reports: {affirmed} affirmed, {refused} refused as the manifest says");
    assert!(affirmed >= 10 && refused >= 3);
}

fn agrees_with_the_manifest(result: &AttestationResult, entry: &Value) {
    let Some(Claims::Snp(claims)) = result.claims() else { panic!("no claims") };
    let file = text(entry, "/file");
    let field = |name: &str| text(entry, &format!("/expected/fields/{name}")).to_owned();
    let number = |name: &str| entry["expected"]["fields"][name].as_u64();
    assert_eq!(claims.measurement.to_string(), field("measurement"), "{file}");
    assert_eq!(claims.report_data.to_string(), field("report_data"), "{file}");
    assert_eq!(claims.chip_id.to_string(), field("chip_id"), "{file}");
    assert_eq!(claims.host_data.to_string(), field("host_data"), "{file}");
    assert_eq!(claims.id_key_digest.to_string(), field("id_key_digest"), "{file}");
    assert_eq!(claims.policy, field("policy_hex"), "{file}");
    assert_eq!(claims.platform_info, field("platform_info"), "{file}");
    assert_eq!(claims.signing_key, field("signing_key").to_lowercase(), "{file}");
    assert_eq!(claims.tcb.raw.to_string(), field("reported_tcb"), "{file}");
    assert_eq!(claims.committed_tcb.raw.to_string(), field("committed_tcb"), "{file}");
    assert_eq!(claims.current_tcb.raw.to_string(), field("current_tcb"), "{file}");
    assert_eq!(claims.launch_tcb.raw.to_string(), field("launch_tcb"), "{file}");
    assert_eq!(u64::from(claims.report_version), number("version").unwrap(), "{file}");
    assert_eq!(u64::from(claims.vmpl), number("vmpl").unwrap(), "{file}");
    assert_eq!(claims.cpu.map(|cpu| u64::from(cpu.family)), number("cpuid_fam"), "{file}");
    let product = text(entry, "/product");
    assert!(result.product().is_none_or(|got| got == product), "{file}");
    let decoded = &entry["expected"]["reported_tcb_decoded"];
    if let (Some(tcb), false) = (claims.tcb.components, decoded.is_null()) {
        assert_eq!(decoded["snpSPL"], tcb.snp, "{file}");
        assert_eq!(decoded["blSPL"], tcb.bootloader, "{file}");
        assert_eq!(decoded["ucodeSPL"], tcb.microcode, "{file}");
    }
}

#[test]
fn every_cross_pair_is_refused_for_its_reason() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let pairs = manifest.as_array().unwrap().iter().find(|e| e["kind"] == "cross-pairs").unwrap();
    let mut refused = 0;
    for pair in pairs["expected"].as_array().unwrap() {
        let report = text(pair, "/report");
        if !report.starts_with("snp/") {
            continue;
        }
        let certificate = text(pair, "/cert");
        let milan_or = |line: &'static str| if certificate.contains(line) { line } else { "milan" };
        let own = ["genoa", "turin"].into_iter().map(milan_or).find(|l| *l != "milan");
        let ca = match pair["ca"].as_str() {
            Some(ca) => ca.to_owned(),
            None => format!("snp/ca/{}", own.unwrap_or("milan")),
        };
        let authorities = ["ask", "asvk", "ark"].map(|name| format!("{ca}/{name}.pem"));
        let mut given = vec![certificate];
        given.extend(authorities.iter().map(String::as_str));
        let result = judge(&folder, report, &given, MID_2025);
        let expected = if pair["ca"].is_string() {
            CheckName::LeafSignature
        } else {
            CheckName::ReportSignature
        };
        assert!(failed(&result).contains(&expected), "{report} {certificate}\n{result}");
        assert!(!result.is_affirmed());
        refused += 1;
    }
    println!("cross-pairs: {refused} refused");
    assert!(refused >= 20);
}

#[test]
fn a_vlek_report_is_genuine_inside_the_year_of_its_certificate() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let report = "snp/trustee-aws-milan-v3-vlek/report.bin";
    let vlek = "snp/trustee-aws-milan-v3-vlek/vlek.der";
    let with_asvk = judge(&folder, report, &[vlek, "snp/ca/milan/asvk.pem"], MID_2025);
    assert!(with_asvk.is_affirmed(), "{with_asvk}");
    let with_ask = judge(&folder, report, &[vlek, "snp/ca/milan/ask.pem"], MID_2025);
    assert!(failed(&with_ask).contains(&CheckName::LeafSignature), "{with_ask}");
}

#[test]
fn everything_at_once_in_any_order_changes_nothing() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let manifest = folder.manifest();
    let entries = || manifest.as_array().unwrap().iter();
    let kinds = ["snp-vcek", "snp-vlek", "amd-ca-cert", "amd-crl", "snp-vcek-negative"];
    let mut given: Vec<&str> = entries()
        .filter(|e| kinds.iter().any(|kind| e["kind"] == *kind))
        .map(|e| text(e, "/file"))
        .collect();
    for _ in 0..2 {
        for entry in entries().filter(|e| e["kind"] == "snp-report") {
            if text(entry, "/expected/verdict") != "accept" {
                continue;
            }
            let result = judge(&folder, text(entry, "/file"), &given, NOW);
            assert!(result.is_affirmed(), "{}\n{result}", text(entry, "/file"));
        }
        given.reverse();
    }
}

/// AMD's key server gives intermediate and root as one PEM text.
#[test]
fn a_chain_in_one_pem_text_is_taken_apart() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let [ask, ark] = ["ask", "ark"].map(|name| folder.read(&format!("snp/ca/genoa/{name}.pem")));
    let chain = [ask, b"\n".to_vec(), ark].concat();
    let leaf = folder.read("snp/oak-genoa-v5/vcek.der");
    let result = appraise_raw(
        &folder.read("snp/oak-genoa-v5/report.bin"),
        &bulla_attestation::endorsement::Endorsements::sort([&chain[..], &leaf]),
        &TrustAnchors::vendors(),
        &authentic(),
        &Expectations::default(),
        NOW,
    );
    assert!(result.is_affirmed(), "{result}");
}

#[test]
fn the_revocation_list_tells_only_inside_its_window() {
    use bulla_attestation::result::CheckResult;
    let Some(folder) = EvidenceFolder::open() else { return };
    let given = ["snp/oak-cb-milan-v3/vcek.der", "snp/ca/milan/ask.pem", "snp/crl/milan.crl.pem"];
    for (now, expected) in [(MID_2025, CheckResult::Pass), (NOW, CheckResult::Unknown)] {
        let result = judge(&folder, "snp/oak-cb-milan-v3/report.bin", &given, now);
        assert_eq!(result.check(CheckName::Revocation).unwrap().result, expected);
        assert_eq!(result.check(CheckName::CrlSignature).unwrap().result, CheckResult::Pass);
        assert!(result.is_affirmed(), "{result}");
    }
}

/// What the shipped policies say of real machines, their measurement put on the list.
#[test]
fn the_shipped_policies_judge_real_machines() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let standard = include_str!("../../policies/appraisal/standard.toml");
    let strict = include_str!("../../policies/appraisal/strict.toml");
    let judge = |text: &str, name: &str, line: &str| {
        let report = folder.read(&format!("snp/{name}/report.bin"));
        let measurement = data_encoding::HEXLOWER.encode(&report[0x90..0xc0]);
        let list = format!("measurements = [\"{measurement}\"]");
        let policy = Policy::from_toml(&text.replacen("measurements = []", &list, 1)).unwrap();
        let leaf = format!("snp/{name}/vcek.der");
        let ask = format!("snp/ca/{line}/ask.pem");
        let given = folder.endorsements([leaf.as_str(), ask.as_str()]);
        let anchors = TrustAnchors::vendors();
        appraise_raw(&report, &given, &anchors, &policy, &Expectations::default(), NOW)
    };
    for (name, line) in
        [("oak-genoa-v5", "genoa"), ("oak-turin-v5", "turin"), ("oak-cb-milan-v3", "milan")]
    {
        let result = judge(standard, name, line);
        assert!(result.is_affirmed(), "{name}\n{result}");
    }
    let old = failed(&judge(standard, "virtee-milan-v2", "milan"));
    assert!(
        old.contains(&CheckName::ReportVersion) && old.contains(&CheckName::MinimumReportedTcb)
    );
    let milan = judge(strict, "oak-cb-milan-v3", "milan");
    assert!(milan.is_genuine() && failed(&milan).contains(&CheckName::ProductBanned), "{milan}");
    let unlisted = failed(&judge(strict, "oak-genoa-v5", "genoa"));
    assert!(unlisted.contains(&CheckName::ChipIdPinned), "{unlisted:?}");
    assert!(unlisted.contains(&CheckName::RevocationKnown), "{unlisted:?}");
}

#[test]
fn the_negative_files_are_refused() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let truncated = judge(&folder, "snp/neg/lit-report-truncated.bin", &[], NOW);
    assert_eq!(failed(&truncated), [CheckName::ReportFormat]);
    let ask = folder.endorsements(["snp/ca/milan/ask.pem"]);
    let legacy = folder.endorsements(["snp/neg/test-vcek-invalid-legacy.der"]);
    let key = &ask.certificates[0].public_key;
    assert!(!legacy.certificates[0].is_signed_by(key));
}
