//! Whole appraisals of a simulated node: what passes, what comes out, what is told.
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod simulated;

use bulla_attestation::anchor::{TrustAnchor, TrustAnchors};
use bulla_attestation::appraise::{Freshness, appraise};
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::hash;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult, Claims, Refused};
use bulla_attestation::tee::TeeKind;
use bulla_attestation::tee::snp::product::ProductLine;
use bulla_wire::evidence::AttestationReport;
use bulla_wire::keyset::{Keyset, Subject};
use bulla_wire::units::UnixSeconds;
use serde_json::Value;
use simulated::{Chip, LeafTemplate, NONCE, NOW, Name, Validity, World, hex, now};

const SHIPPED: [&str; 3] = [
    include_str!("../../policies/appraisal/strict.toml"),
    include_str!("../../policies/appraisal/standard.toml"),
    include_str!("../../policies/appraisal/authentic.toml"),
];

fn failed(result: &AttestationResult) -> Vec<CheckName> {
    result.failed().map(|check| check.name).collect()
}

fn development() -> Policy {
    Policy::from_toml(include_str!("../../policies/appraisal/development.toml")).unwrap()
}

#[test]
fn an_affirmed_report_yields_its_keys_and_nothing_else() {
    let world = World::new();
    let keys = world.judge().into_keys().unwrap();
    assert_eq!(keys.keyset_digest(), hash::keyset_digest(&world.keyset));
    assert_eq!(keys.receipt_keys()[0].public_key.0, [0x11; 32]);
    assert_eq!(hex(keys.key_configuration()), simulated::sealing_key(simulated::X_WING));
    assert_eq!(keys.not_after(), world.keyset.not_after);
    assert_eq!(keys.subject().unwrap().chip_id, hex(&world.template.chip_id));
    assert!(keys.is_simulated());
    assert!(keys.pins_tls(&bulla_wire::ids::Digest([3; 32]), "anywhere"));
    assert!(!keys.pins_tls(&bulla_wire::ids::Digest([4; 32]), "anywhere"));
}

/// Beside another key of the same names, this key's certificate for another TCB, and one of this key
/// that nobody signed: in whatever order they come.
#[test]
fn the_leaf_that_signed_is_found_among_others() {
    let orders: [fn(&mut AttestationReport); 2] =
        [|_| (), |document| document.attestation.evidence.endorsements.reverse()];
    for order in orders {
        let mut world = World::new();
        // The first from this seed is the world's own.
        let mut rng = World::rng();
        let [own, twin] = [(); 2].map(|()| Chip::generate(&world.authority, &world.leaf, &mut rng));
        assert_ne!(twin.certificate(), own.certificate());
        let mut older = world.leaf.clone();
        older.tcb.microcode -= 1;
        let mut unsigned = own.certificate().to_vec();
        *unsigned.last_mut().unwrap() ^= 1;
        world.more_endorsements = vec![
            twin.certificate().to_vec(),
            twin.certified(&world.authority, &older, &mut rng),
            unsigned,
        ];
        world.on_document = order;
        let result = world.judge();
        assert!(result.is_affirmed(), "{result}");
    }
}

/// The report alone and what endorses it, as a caller of the raw appraisal has them.
fn raw(world: &World, with_leaf: bool, report_data: Option<[u8; 64]>) -> AttestationResult {
    let evidence = world.document().attestation.evidence;
    let files = evidence.endorsements.iter().map(|one| one.data.as_slice());
    let endorsements = Endorsements::sort(files.filter(|_| with_leaf));
    let expectations = Expectations { report_data, ..Expectations::default() };
    let (anchors, policy) = (&world.anchors, world.policy());
    let report = &evidence.report;
    appraise_raw(TeeKind::Snp, report, &endorsements, anchors, &policy, &expectations, NOW)
}

#[test]
fn a_caller_of_the_raw_appraisal_may_say_what_was_signed() {
    let world = World::new();
    let signed = &world.document().attestation.evidence.report[0x50..0x90];
    let signed: [u8; 64] = signed.try_into().unwrap();
    let judged = |report_data| {
        let result = raw(&world, true, report_data);
        result.check(CheckName::ReportData).map(|check| check.result)
    };
    assert_eq!(judged(None), None);
    assert_eq!(judged(Some(signed)), Some(CheckResult::Pass));
    assert_eq!(judged(Some([8; 64])), Some(CheckResult::Fail));
}

#[test]
fn a_processor_without_sev_snp_is_refused_before_any_certificate() {
    let mut world = World::new();
    let judged =
        |world: &World| raw(world, false, None).check(CheckName::ProductLine).unwrap().result;
    assert_eq!(judged(&world), CheckResult::Unknown);
    world.template.cpu.family = 0x17;
    assert_eq!(judged(&world), CheckResult::Fail);
}

#[test]
fn a_verdict_names_the_product_it_judged() {
    let result = World::new().judge();
    assert_eq!(
        result.check(CheckName::ProductAllowed).unwrap().got,
        ProductLine::Genoa.to_string()
    );
}

#[test]
fn a_verdict_says_whether_signatures_verify() {
    let words = |change: fn(&mut World)| {
        let mut world = World::new();
        change(&mut world);
        world.judge().check(CheckName::IntermediateSignature).unwrap().got.clone()
    };
    assert_eq!(words(|_| ()), "verifies");
    assert_eq!(words(|world| *world.ask.last_mut().unwrap() ^= 1), "does not verify");
}

#[test]
fn a_tls_key_of_a_name_is_met_there_only() {
    let mut world = World::new();
    let spki_sha256 = bulla_wire::ids::Digest([3; 32]);
    let domain = Some("one.example".to_owned());
    world.keyset.tls_public_keys = vec![bulla_wire::keyset::TlsKey { spki_sha256, domain }];
    let keys = world.judge().into_keys().unwrap();
    assert!(keys.pins_tls(&spki_sha256, "one.example"));
    assert!(!keys.pins_tls(&spki_sha256, "two.example"));
    assert_eq!(keys.tls_keys(), world.keyset.tls_public_keys);
}

#[test]
fn a_refusal_names_the_checks_that_failed() {
    let mut world = World::new();
    world.template.vmpl = 2;
    let Err(Refused::FailedChecks { policy, failed }) = world.judge().into_keys() else {
        panic!("not refused")
    };
    assert_eq!((policy.as_str(), failed.len()), ("strict", 1));
    assert_eq!(failed[0].name, CheckName::Vmpl);
}

#[test]
fn the_development_policy_takes_a_default_node_and_a_passport() {
    let mut world = World::new();
    world.template = simulated::ReportTemplate::of_chip(world.line, world.template.chip_id);
    world.answered = None;
    world.crls.clear();
    let judged =
        appraise(&world.document(), &world.anchors, &development(), Freshness::Passport, NOW);
    assert!(judged.is_affirmed() && judged.is_simulated(), "{judged}");
}

#[test]
fn every_other_shipped_policy_refuses_a_simulated_node_though_its_root_is_named() {
    let world = World::new();
    for text in SHIPPED {
        let policy = Policy::from_toml(text).unwrap();
        let freshness = Freshness::Nonce(NONCE);
        let judged = appraise(&world.document(), &world.anchors, &policy, freshness, NOW);
        assert!(failed(&judged).contains(&CheckName::SimulatedRoot), "{judged}");
    }
}

#[test]
fn a_simulated_node_is_refused_where_nobody_named_its_root() {
    let world = World::new();
    let freshness = Freshness::Nonce(NONCE);
    let vendors = TrustAnchors::vendors();
    let judged = appraise(&world.document(), &vendors, &development(), freshness, NOW);
    assert_eq!(failed(&judged), [CheckName::RootPinned], "{judged}");
}

#[test]
fn a_root_can_be_named_by_digest_when_its_certificate_comes_along() {
    let mut world = World::new();
    let root = world.authority.ark_certificate().to_vec();
    world.anchors = TrustAnchors::none().with(TrustAnchor::by_certificate(
        "by digest",
        hash::sha256(&root),
        true,
    ));
    assert!(!world.judge().is_affirmed(), "its certificate is not there");
    world.more_endorsements.push(root);
    assert!(world.judge().is_affirmed(), "{}", world.judge());
}

#[test]
fn a_policy_for_evidence_never_yields_keys() {
    let world = World::new();
    let text = SHIPPED[2].replacen("allow_simulated = false", "allow_simulated = true", 1);
    let policy = Policy::from_toml(&text).unwrap();
    let freshness = Freshness::Nonce(NONCE);
    let judged = appraise(&world.document(), &world.anchors, &policy, freshness, NOW);
    assert!(judged.is_affirmed(), "{judged}");
    let refused = judged.into_keys().unwrap_err();
    assert_eq!(refused, Refused::PolicyGrantsNoKeys { policy: "authentic".to_owned() });
}

/// CVE-2026-33697: two honest nodes with one measurement; the evidence of one, the keys of the other.
#[test]
fn two_nodes_cannot_be_mixed() {
    let one = World::new();
    let mut two = World::new();
    two.template.chip_id = World::other_chip();
    two.leaf = LeafTemplate::for_report(two.line, &two.template, two.leaf.validity);
    let instance = "node-2".parse().unwrap();
    let subject = Subject { instance, chip_id: hex(&two.template.chip_id) };
    two.keyset.subject = Some(subject.to_string());
    two.keyset.receipt_signing_keys[0].public_key = "44".repeat(32);
    two.change_policy("chip_ids = [", "chip_ids = \"any\" # [");
    assert!(one.judge().is_affirmed() && two.judge().is_affirmed(), "{}", two.judge());

    let judge = |document: &AttestationReport| one.judge_document(document, &two.policy());
    // The keys of one beside the evidence of the other.
    let mut mixed = one.document();
    mixed.attestation.evidence = two.document().attestation.evidence;
    assert!(failed(&judge(&mixed)).contains(&CheckName::ReportData));
    // A node whose key leaked: its evidence signs what the attacker wants, but it is another chip.
    let mut relayed = World::new();
    relayed.template = two.template.clone();
    relayed.leaf = two.leaf.clone();
    assert_eq!(failed(&judge(&relayed.document())), [CheckName::KeysetChipId]);
    // And the pin of the high tier refuses the other chip whatever its keyset says.
    relayed.keyset = two.keyset.clone();
    assert_eq!(failed(&relayed.judge()), [CheckName::ChipIdPinned]);
}

#[test]
fn an_archived_report_is_judged_as_of_the_time_it_served() {
    let mut world = World::new();
    world.freshness = Freshness::Passport;
    world.change_policy("nonce = \"required\"", "nonce = \"not_required\"");
    assert!(world.judge().is_affirmed(), "the nonce somebody else sent still binds");
    world.now = UnixSeconds(NOW.0 + 10 * 365 * 24 * 3600);
    let later = failed(&world.judge());
    assert!(later.contains(&CheckName::KeysetExpiry), "{later:?}");
    assert!(later.contains(&CheckName::CertificateDates), "{later:?}");
}

#[test]
fn a_vlek_node_passes_where_the_policy_takes_it_and_never_matches_a_pin() {
    let mut world = World::new();
    world.template.key_info = 1 << 2;
    world.leaf.common_name = "SEV-VLEK".to_owned();
    world.leaf.issuer = Name("SEV-VLEK-Genoa".to_owned());
    world.leaf.hardware_id = None;
    world.leaf.provider_id = Some("CN=provider.example".to_owned());
    let mut asvk = world.authority.ask_template(Validity::years_from(now(), 25)).unwrap();
    asvk.subject = world.leaf.issuer.clone();
    world.ask = world.authority.sign_with_ark(&asvk, &mut World::rng());
    world.change_policy("signing_keys = [\"vcek\"]", "signing_keys = [\"vlek\"]");
    assert_eq!(failed(&world.judge()), [CheckName::ChipIdPinned], "{}", world.judge());
    world.change_policy("chip_ids = [", "chip_ids = \"any\" # [");
    assert!(world.judge().is_affirmed(), "{}", world.judge());
    let hardware_id = world.judge().check(CheckName::HardwareId).cloned().unwrap();
    assert_eq!(hardware_id.result, CheckResult::NotRequired);
    assert!(hardware_id.got.contains("provider.example"));
}

#[test]
fn a_version_2_report_cannot_reach_a_floor() {
    let mut world = World::new();
    world.template.version = 2;
    world.change_policy("minimum_report_version = 3", "minimum_report_version = 2");
    let expected = [
        CheckName::AliasCheckComplete,
        CheckName::MinimumReportedTcb,
        CheckName::MinimumLaunchTcb,
        CheckName::MinimumCommittedTcb,
        CheckName::MinimumCurrentTcb,
    ];
    assert_eq!(failed(&world.judge()), expected);
}

/// Read in the wrong layout, Turin's TCB looks like another firmware: the bytes agree with no
/// certificate of the other product line.
#[test]
fn the_tcb_is_read_in_the_layout_of_the_product() {
    let world = World::of(ProductLine::Turin);
    let result = world.judge();
    let Some(Claims::Snp(claims)) = result.claims() else { panic!("no claims") };
    let tcb = claims.tcb.components.unwrap();
    assert_eq!((tcb.fmc, tcb.bootloader, tcb.snp), (Some(1), 1, 4));
    let mut lying = World::of(ProductLine::Turin);
    (lying.template.cpu.family, lying.template.cpu.model) = (0x19, 0x11);
    assert!(failed(&lying.judge()).contains(&CheckName::ProductLine));
    (lying.template.cpu.family, lying.template.cpu.model) = (0x17, 0x31);
    assert!(failed(&lying.judge()).contains(&CheckName::ProductLine));
}

/// aci/1 test vectors, sections 1 and 2, through the whole appraisal: binding holds; only what that
/// keyset never had for this protocol is missing.
#[test]
fn binds_the_published_keyset() {
    const KEYSET: &str = r#"{"e2ee_public_keys":[{"algo":"x25519-aes-256-gcm-hkdf-sha256","key_id":"e2ee-1","public_key":"5dfedd3b6bd47f6fa28ee15d969d5bb0ea53774d488bdaf9df1c6e0124b3ef22"}],"not_after":1800000000,"receipt_signing_keys":[{"algo":"ed25519","key_id":"receipt-1","public_key":"8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394"}],"subject":"dstack-app://example-app","tls_public_keys":[{"domain":"api.example.com","spki_sha256":"c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0"}]}"#;
    let published = [
        (
            Some(std::array::from_fn(|i| i as u8)),
            "df2174d28130852b413646a3786927b93e94c11d770268b65def8bdba45cb49e",
        ),
        (None, "0633919ca3f00e97bafaa3304278eb22420cc3ff0d19f87dfca2d3f7508150bc"),
    ];
    for (nonce, slot) in published {
        let mut world = World::new();
        world.keyset = Keyset::from_json(KEYSET.as_bytes()).unwrap();
        world.answered = nonce;
        world.freshness = nonce.map_or(Freshness::Passport, Freshness::Nonce);
        world.now = UnixSeconds(1_799_990_000);
        world.change_policy("nonce = \"required\"", "nonce = \"not_required\"");
        world.logged.as_mut().unwrap().since = world.now;
        let result = world.judge();
        let expected = [CheckName::KeysetChipId, CheckName::Accelerator, CheckName::KeysetKeys];
        assert_eq!(failed(&result), expected, "{result}");
        let Some(Claims::Snp(claims)) = result.claims() else { panic!("no claims") };
        assert_eq!(claims.report_data.to_string(), format!("{slot}{}", "00".repeat(32)));
    }
}

#[test]
fn json_has_the_documented_shape() {
    let json: Value = serde_json::to_value(World::new().judge()).unwrap();
    assert_eq!(json["verdict"], "affirmed");
    assert_eq!(json["tee"], "snp");
    assert_eq!(json["product"], "genoa");
    assert_eq!(json["simulated"], true);
    assert_eq!(json["policy"]["name"], "strict");
    assert_eq!(json["policy"]["digest"].as_str().unwrap().len(), 64);
    for check in json["checks"].as_array().unwrap() {
        let result = check["result"].as_str().unwrap();
        assert!(["pass", "fail", "unknown", "not_required"].contains(&result));
        assert!(["evidence", "policy", "binding"].contains(&check["about"].as_str().unwrap()));
        assert!(
            check["name"].is_string() && check["expected"].is_string() && check["got"].is_string()
        );
    }
    let claims = &json["claims"];
    for (name, digits) in [("measurement", 96), ("report_data", 128), ("chip_id", 128)] {
        assert_eq!(claims[name].as_str().unwrap().len(), digits, "{name}");
    }
    assert_eq!(claims["tcb"]["snp"], 0x1b);
    assert_eq!(claims["vmpl"], 0);
    assert_eq!(claims["part"], "genoa");
}

#[test]
fn a_document_that_travelled_as_json_is_judged_the_same() {
    let world = World::new();
    let document = world.document();
    let travelled = AttestationReport::from_json(&document.to_json()).unwrap();
    let judged = world.judge_document(&travelled, &world.policy());
    let keys = judged.into_keys().unwrap();
    assert_eq!(keys.evidence_digest(), bulla_attestation::evidence::digest(&document));
}
