//! Hygon CSV: the real document of the evidence folder as far as it goes, and a simulated chain for
//! everything above and beside it, one thing wrong at a time.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;
mod csv_simulated;

use std::collections::BTreeSet;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::CheckName::{self, *};
use bulla_attestation::result::{AttestationResult, CheckResult};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::csv::certificate::{HygonCertificate, Usage};
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use csv_simulated::{CsvWorld, NONCE};
use data_encoding::BASE64;
use serde_json::{Value, json};

/// 2026-11-20T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);

fn authentic(evidence: &[u8]) -> AttestationResult {
    let text = include_str!("../../policies/appraisal/authentic.toml");
    let policy = Policy::from_toml(text).expect("the shipped policy reads");
    let (anchors, nothing) = (TrustAnchors::vendors(), Endorsements::default());
    appraise_raw(TeeKind::Csv, evidence, &nothing, &anchors, &policy, &Expectations::default(), NOW)
}

fn failed(result: &AttestationResult) -> BTreeSet<CheckName> {
    result.failed().map(|check| check.name).collect()
}

/// The document comes without the certificates of its chip, so the way from its PEK to Hygon's root
/// has a gap: what is there is genuine, and it is refused for the gap alone.
#[test]
fn the_real_document_is_genuine_up_to_its_platform_key_and_no_further() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let result = authentic(&folder.read("csv/csv_evidence.json"));
    // Of version 1, and nothing known of it beforehand.
    assert_eq!(failed(&result), BTreeSet::from([RootPinned, Nonce]), "{result}");
    let passed = |name| result.check(name).unwrap().result == CheckResult::Pass;
    assert!(passed(ReportFormat) && passed(ReportSignature) && passed(SignatureAlgorithm));
    assert!(passed(GuestDebug));
    let claims = serde_json::to_value(result.claims().unwrap()).unwrap();
    assert_eq!((&claims["generation"], &claims["policy"]), (&json!("csv3"), &json!("0x45")));
    let measurement = "ae2a2cf1f41a485fa37bf9ae92f678783c59fbc79de7b5d237743d58f5538034";
    assert_eq!(claims["measurement"], measurement);
    assert_eq!(claims["nonce"], "ad998a845c45cf30944d1c285629e768");
    println!("Hygon CSV: 1 real document, genuine up to its PEK");
}

#[test]
fn the_real_report_is_read_alone_disguised_and_in_other_encodings() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let document: Value = serde_json::from_slice(&folder.read("csv/csv_evidence.json")).unwrap();
    let data = &document["attestation_report"]["data"];
    let report: Vec<u8> = serde_json::from_value(data.clone()).unwrap();
    let whole = authentic(document.to_string().as_bytes());
    let mut disguised = report.clone();
    for at in 336..2484 {
        disguised[at] ^= report[188 + at % 4];
    }
    let text = json!({ "attestation_report": { "data": BASE64.encode(&report) } }).to_string();
    for form in [&report[..], &report[..2548], &disguised, text.as_bytes()] {
        let result = authentic(form);
        assert_eq!(result.checks(), whole.checks());
        assert_eq!(result.claims(), whole.claims());
    }
}

#[test]
fn every_byte_that_is_signed_counts() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let document: Value = serde_json::from_slice(&folder.read("csv/csv_evidence.json")).unwrap();
    let data = &document["attestation_report"]["data"];
    let report: Vec<u8> = serde_json::from_value(data.clone()).unwrap();
    for at in (0..180).chain(188..224) {
        let mut altered = report.clone();
        altered[at] ^= 1;
        let failed = failed(&authentic(&altered));
        let unsigned_nonce = (188..192).contains(&at);
        assert!(failed.contains(&ReportSignature) || unsigned_nonce, "byte {at}: {failed:?}");
    }
}

#[test]
fn the_published_root_is_the_pinned_one() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let file = folder.read("csv/hrk.cert");
    let root = HygonCertificate::parse(&file).unwrap();
    assert!(root.usage == Usage::Hrk && root.is_signed_by(&root));
    assert_eq!(root.user_id(), "HYGON-SSD-HRK");
    let anchors = TrustAnchors::vendors();
    assert!(anchors.iter().any(|anchor| anchor.matches_bytes(&file)));
}

/// What is wrong, how to make it so, and the check that has to say so.
type Row = (CheckName, &'static str, fn(&mut CsvWorld));

const TABLE: &[Row] = &[
    (TeeType, "a TEE the policy does not list", |w| w.change_policy("\"csv\", ", "")),
    (ReportFormat, "a truncated report", |w| w.on_report = |r| r.truncate(2547)),
    (ReportFormat, "something behind the report", |w| w.on_report = |r| r[4095] = 1),
    (ReportFormat, "no PEK certificate", |w| w.on_report = |r| r[336] ^= 1),
    (ReportFormat, "something behind a certificate's signature", |w| {
        w.on_report = |r| r[336 + 1044 + 152] = 1;
    }),
    (SignatureAlgorithm, "another algorithm", |w| w.algorithm = 5),
    (SignatureAlgorithm, "a report signed as another key", |w| w.signing_usage = 0x1003),
    (ReportSignature, "an altered report", |w| w.on_report = |r| r[32] ^= 1),
    (ReportSignature, "an altered signature", |w| w.on_report = |r| r[192] ^= 1),
    (ReportSignature, "a signature under another user id", |w| w.signs_as = "HYGON-SSD-CEK"),
    (PekSignature, "an altered PEK certificate", |w| {
        // The owner's id for the platform, which nobody asks for.
        w.on_report = |r| r[336 + 420] ^= 1;
    }),
    (PekSignature, "a PEK of another chip", |w| w.pek_issuer = csv_simulated::OTHER),
    (CekSignature, "an altered CEK certificate", |w| w.on_cek = |c| c[420] ^= 1),
    (HskSignature, "an altered HSK certificate", |w| w.on_hsk = |c| c[40] ^= 1),
    (HskSignature, "an HSK that names another signer", |w| w.hsk_signer_id = [9; 16]),
    (RootPinned, "a root nobody named", |w| w.anchors = TrustAnchors::vendors()),
    (RootPinned, "no certificates of the chip", |w| w.with_chain = false),
    (GuestDebug, "a guest the host can read", |w| w.guest_policy &= !1),
    (SimulatedRoot, "a policy that wants hardware", |w| {
        w.change_policy("allow_simulated = true", "allow_simulated = false");
    }),
    (CsvGeneration, "an earlier generation", |w| w.guest_policy &= !(1 << 6)),
    (GuestKeySharing, "a key others may share", |w| w.guest_policy &= !(1 << 1)),
    (GuestSending, "a guest that may be sent elsewhere", |w| w.guest_policy &= !(1 << 3)),
    (Measurement, "another workload", |w| w.measurement[0] ^= 1),
    (Measurement, "another workload than the caller expects", |w| {
        w.expectations.measurement = Some(vec![1; 32]);
    }),
    (Nonce, "an answer to somebody else", |w| w.nonce[15] ^= 1),
    (Nonce, "the beginning of the nonce only", |w| {
        w.expectations.nonce = Some(NONCE[..15].to_vec());
    }),
    (Nonce, "a verifier that sent none", |w| w.expectations.nonce = None),
    (ReportData, "other bytes than the guest was asked to sign", |w| w.report_data[63] ^= 1),
];

#[test]
fn the_world_passes_with_nothing_wrong_in_both_versions() {
    for version in [1, 2] {
        let world = CsvWorld { version, ..CsvWorld::new() };
        let result = world.judge();
        assert!(result.is_affirmed() && result.is_simulated(), "{result}");
        let asked = result.checks().iter().all(|check| check.result == CheckResult::Pass);
        assert!(asked, "a check that is not asked cannot be tested here\n{result}");
        assert_eq!(result.product(), Some("csv3"));
    }
}

#[test]
fn each_thing_wrong_is_refused_by_its_own_check_and_no_other() {
    for (name, what, make_wrong) in TABLE {
        let mut world = CsvWorld::new();
        make_wrong(&mut world);
        let result = world.judge();
        assert_eq!(failed(&result), BTreeSet::from([*name]), "{what}\n{result}");
    }
    println!("one thing wrong in Hygon CSV: {} cases refused, each by its check", TABLE.len());
}

#[test]
fn every_check_has_a_row() {
    let tested: BTreeSet<CheckName> = TABLE.iter().map(|(name, ..)| *name).collect();
    let result = CsvWorld::new().judge();
    let ran = result.checks().iter().map(|check| check.name);
    let untested: Vec<_> = ran.filter(|name| !tested.contains(name)).collect();
    assert!(untested.is_empty(), "{untested:?}");
}

#[test]
fn a_chain_in_the_document_is_as_good_as_one_beside_it() {
    let beside = CsvWorld::new().judge();
    let inside = CsvWorld { chain_inside: true, ..CsvWorld::new() }.judge();
    assert!(inside.is_affirmed(), "{inside}");
    assert_eq!(inside.claims(), beside.claims());
}

#[test]
fn fields_of_other_lengths_make_no_certificate() {
    let world = CsvWorld { chain_inside: true, ..CsvWorld::new() };
    let mut document: Value = serde_json::from_slice(&world.document()).unwrap();
    // As long as before: one byte moved from one field into the next.
    let ids = &mut document["cert_chain"]["hsk_cek"]["hsk"]["body"]["preamble"]["data"];
    let moved = ids["kid"].as_array_mut().unwrap().pop().unwrap();
    ids["sid"].as_array_mut().unwrap().insert(0, moved);
    let result = world.judge_bytes(document.to_string().as_bytes());
    assert!(failed(&result).contains(&ReportFormat), "{result}");
}

#[test]
fn a_root_of_another_version_or_curve_is_none() {
    let root = CsvWorld::new().endorsements().remove(0);
    assert!(HygonCertificate::parse(&root).is_some());
    for at in [0, 64] {
        let mut other = root.clone();
        other[at] ^= 4;
        assert!(HygonCertificate::parse(&other).is_none(), "byte {at}");
    }
}

#[test]
fn version_two_signs_its_registers() {
    let world = CsvWorld { version: 2, on_report: |r| r[208 + 32] ^= 1, ..CsvWorld::new() };
    assert_eq!(failed(&world.judge()), BTreeSet::from([ReportSignature]));
}

#[test]
fn registers_and_build_of_version_two_are_claimed() {
    let claims = |version| {
        let result = CsvWorld { version, ..CsvWorld::new() }.judge();
        serde_json::to_value(result.claims().unwrap()).unwrap()
    };
    let (first, second) = (claims(1), claims(2));
    assert_eq!((&first["firmware_build"], &first["registers"]), (&Value::Null, &Value::Null));
    assert_eq!(second["firmware_build"], 0x4444_4444);
    assert_eq!(second["registers"], json!(vec!["44".repeat(32); 5]));
}

/// The mark its driver gave a report says its version; one that does not fit is refused.
#[test]
fn a_report_under_another_mark_is_refused() {
    let mut document: Value = serde_json::from_slice(&CsvWorld::new().document()).unwrap();
    document["attestation_report"]["flags"] = 7.into();
    let result = CsvWorld::new().judge_bytes(document.to_string().as_bytes());
    assert!(failed(&result).contains(&ReportFormat), "{result}");
}

/// Version 1 signs its fields disguised: of some field it must be known what it should be.
#[test]
fn one_known_field_settles_a_report_of_version_one() {
    const LISTED: &str =
        "measurements = [\"7777777777777777777777777777777777777777777777777777777777777777\"]";
    let judged = |version: u8, is_listed: bool, expect: fn(&mut Expectations)| {
        let mut world = CsvWorld { version, ..CsvWorld::new() };
        world.expectations = Expectations::default();
        expect(&mut world.expectations);
        world.change_policy(
            "nonce = \"required\"\nkey_sharing",
            "nonce = \"not_required\"\nkey_sharing",
        );
        if !is_listed {
            world.change_policy(LISTED, "measurements = \"any\"");
        }
        world.judge().check(Nonce).unwrap().result
    };
    let report_data: fn(&mut Expectations) = |e| e.report_data = Some([0x33; 64]);
    let measurement: fn(&mut Expectations) = |e| e.measurement = Some(vec![0x77; 32]);
    assert_eq!(judged(1, false, |_| ()), CheckResult::Fail);
    assert_eq!(judged(1, true, |_| ()), CheckResult::NotRequired);
    assert_eq!(judged(1, false, report_data), CheckResult::NotRequired);
    assert_eq!(judged(1, false, measurement), CheckResult::NotRequired);
    assert_eq!(judged(2, false, |_| ()), CheckResult::NotRequired);
}

#[test]
fn a_verdict_says_whether_signatures_verify() {
    let words = |world: CsvWorld| world.judge().check(ReportSignature).unwrap().got.clone();
    assert_eq!(words(CsvWorld::new()), "verifies");
    let altered = CsvWorld { on_report: |r| r[32] ^= 1, ..CsvWorld::new() };
    assert_eq!(words(altered), "does not verify");
}

/// Bytes of a version 1 report that nothing judged here covers, and why they may change.
const UNCOVERED: &[(&str, std::ops::Range<usize>)] = &[
    ("the owner's signature of the PEK, which says nothing about the chip", 1900..2420),
    ("serial number, reserved and a MAC whose key stands beside it: no claims", 2420..2548),
];

/// Few every day; `BULLA_MUTATIONS=100000` and `--release` for the full count.
#[test]
fn no_mutation_is_accepted_with_other_claims() {
    use rand_core::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(5);
    let world = CsvWorld::new();
    let report = world.report();
    let original = world.judge_bytes(&report);
    let wanted = std::env::var("BULLA_MUTATIONS").ok();
    let tried = wanted.map_or(100, |text| text.parse().expect("BULLA_MUTATIONS is a number"));
    let mut accepted = 0;
    for _ in 0..tried {
        let mut mutated = report.clone();
        let at = rng.next_u32() as usize % mutated.len();
        mutated[at] ^= 1 << (rng.next_u32() % 8);
        let result = world.judge_bytes(&mutated);
        if result.is_affirmed() {
            assert_eq!(result.claims(), original.claims(), "byte {at}");
            assert!(UNCOVERED.iter().any(|(_, range)| range.contains(&at)), "byte {at}");
            accepted += 1;
        }
    }
    println!("CSV mutations: {tried} tried, {accepted} accepted with the same claims");
}
