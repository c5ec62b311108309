//! Needs of simulated and of real evidence, and what meets them.

use std::path::PathBuf;

use bulla_attestation::input::Role;
use bulla_wire::evidence_bundle::KIND_ACI;
use bulla_wire::units::UnixSeconds;

use super::*;
use crate::testing::{ASK, Enclave, VCEK};
use bulla_attestation::endorsement::Endorsements;

/// Noon of 2026-03-20, UTC.
const MARCH_2026: i64 = 1_774_008_000;

fn real(path: &str) -> Option<Vec<u8>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/evidence");
    let folder = std::env::var_os("BULLA_EVIDENCE").map_or_else(|| beside.into(), PathBuf::from);
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        println!("skipped: no evidence folder");
    }
    found
}

fn material(files: &[&[u8]]) -> Material {
    let mut material = Material::default();
    for bytes in files {
        material.add("file", bytes, Role::Anything).unwrap();
    }
    material
}

fn needs_of(files: &[&[u8]]) -> Needs {
    let material = material(files);
    let at_hand = Endorsements::sort(material.endorsements.iter().map(Vec::as_slice));
    material.needs(&at_hand, None)
}

fn urls(needs: &Needs) -> Vec<String> {
    needs.needs.iter().filter_map(|need| Request::of(need).ok()).map(|r| r.url()).collect()
}

#[test]
fn a_report_needs_its_own_leaf_and_what_stands_above() {
    let report = Enclave::new("one", 1).report(None).attestation.evidence.report;
    let needs = needs_of(&[&report]);
    assert!(needs.remarks.is_empty(), "{:?}", needs.remarks);
    let urls = urls(&needs);
    assert_eq!(urls.len(), 3);
    assert!(urls[0].starts_with("https://kdsintf.amd.com/vcek/v1/Genoa/000102030405"), "{urls:?}");
    assert!(urls[0].ends_with("?blSPL=10&teeSPL=00&snpSPL=25&ucodeSPL=84"), "{urls:?}");
    let none = Endorsements::default();
    assert_eq!(needs.missing(&none, 0), needs.needs);
    let left = needs.missing(&Endorsements::sort([VCEK, ASK]), 0);
    assert!(matches!(left.as_slice(), [Need::AmdCrl { .. }]), "{left:?}");
}

#[test]
fn a_leaf_of_another_chip_or_tcb_is_not_it() {
    let mut report = Enclave::new("one", 1).report(None).attestation.evidence.report;
    for at in [0x1a0, 0x180] {
        report[at] ^= 1;
        let needs = needs_of(&[&report]);
        let left = needs.missing(&Endorsements::sort([VCEK, ASK]), 0);
        assert!(matches!(left[0], Need::AmdVcek { .. }), "{at:#x}: {left:?}");
        report[at] ^= 1;
    }
}

#[test]
fn a_report_without_chip_or_product_says_so_and_asks_nobody() {
    let mut report = Enclave::new("one", 1).report(None).attestation.evidence.report;
    report[0x1a0..0x1e0].fill(0);
    let needs = needs_of(&[&report]);
    assert!(needs.remarks[0].contains("chip id"), "{:?}", needs.remarks);
    assert!(urls(&needs).iter().all(|url| !url.contains('?')));
    report[0] = 2;
    let needs = needs_of(&[&report]);
    assert!(needs.remarks[0].contains("--product"), "{:?}", needs.remarks);
    assert!(needs.needs.is_empty());
}

#[test]
fn material_becomes_a_bundle_and_comes_back() {
    let report = Enclave::new("one", 1).report(None);
    let material = material(&[&report.to_json()]);
    assert_eq!(material.evidence[0].kind, KIND_ACI);
    let at = UnixSeconds(1_800_000_000);
    let bundle = material.bundle([ASK.to_vec()], at).to_vec().unwrap();
    let mut again = Material::default();
    again.add("saved.bundle", &bundle, Role::Anything).unwrap();
    assert_eq!((&again.evidence, again.collected_at), (&material.evidence, Some(at)));
    assert_eq!(again.endorsements.len(), 2, "leaf and intermediate, each once");
    // Completed years later, it still says when it was collected.
    let later = again.bundle([], UnixSeconds(1_900_000_000));
    assert_eq!(later.collected_at, at);
    let cut = &bundle[..bundle.len() - 1];
    assert!(Material::default().add("cut", cut, Role::Anything).is_err());
}

#[test]
fn how_long_a_piece_is_worth_keeping_is_read_from_it() {
    assert_eq!(Piece::read(VCEK).unwrap().keep(), Keep::ForEver);
    assert!(Piece::read(b"nothing").is_none());
    assert!(Piece::read(&vec![0x30; MAX_PIECE_BYTES + 1]).is_none());
    let rows = [
        ("snp/crl/milan.der", false),
        ("tdx/collateral/lunal-50806f-2026-03.json", false),
        ("nvidia/hopper-550.90.07/ocsp/gpu_certificate_l3.der", false),
        ("nvidia/hopper-550.90.07/rim/NV_GPU_DRIVER_GH100_550.90.07.xml", true),
    ];
    for (path, for_ever) in rows {
        let Some(bytes) = real(path) else { continue };
        let piece = Piece::read(&bytes).expect(path);
        assert_eq!(piece.keep() == Keep::ForEver, for_ever, "{path}: {}", piece.keep());
    }
}

#[test]
fn real_turin_reports_ask_with_eight_bytes_and_fmc() {
    let Some(folder) = real("MANIFEST.json") else { return };
    let manifest: serde_json::Value = serde_json::from_slice(&folder).unwrap();
    let mut asked = 0;
    for entry in manifest.as_array().unwrap() {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        if text("kind") != "snp-report" || text("product") != "turin" {
            continue;
        }
        let needs = needs_of(&[&real(text("file")).unwrap()]);
        let url = &urls(&needs)[0];
        let (path, query) = url.split_once('?').unwrap();
        assert_eq!(path.rsplit('/').next().unwrap().len(), 16, "{url}");
        assert!(query.starts_with("fmcSPL="), "{url}");
        asked += 1;
    }
    println!("{asked} Turin reports");
    assert!(asked > 0);
}

#[test]
fn real_leaves_meet_the_needs_of_their_reports() {
    let Some(folder) = real("MANIFEST.json") else { return };
    let manifest: serde_json::Value = serde_json::from_slice(&folder).unwrap();
    let (mut met, mut other) = (0, Vec::new());
    for entry in manifest.as_array().unwrap() {
        let text = |name: &str| entry[name].as_str().unwrap_or_default();
        let is_good =
            entry["expected"]["verdict"].as_str().is_some_and(|v| v.starts_with("accept"));
        if text("kind") != "snp-report" || !is_good {
            continue;
        }
        let companions = entry["companions"].as_array().cloned().unwrap_or_default();
        let companions: Vec<Vec<u8>> =
            companions.iter().filter_map(|path| real(path.as_str()?)).collect();
        let mut files = vec![real(text("file")).unwrap()];
        files.extend(companions);
        let files: Vec<&[u8]> = files.iter().map(Vec::as_slice).collect();
        let material = material(&files);
        let at_hand = Endorsements::sort(material.endorsements.iter().map(Vec::as_slice));
        let needs = material.needs(&at_hand, None);
        let is_leaf = |need: &Need| matches!(need, Need::AmdVcek { .. } | Need::AmdVlek { .. });
        match needs.missing(&at_hand, 0).iter().any(is_leaf) || !needs.needs.iter().any(is_leaf) {
            true => other.push(text("file").to_owned()),
            false => met += 1,
        }
    }
    println!("{met} reports with their leaf, {} without: {other:?}", other.len());
    assert!(met >= 8);
}

#[test]
fn a_real_quote_needs_collateral_of_its_platform() {
    let Some(collateral) = real("tdx/collateral/lunal-50806f-2026-03.json") else { return };
    let Some(manifest) = real("MANIFEST.json") else { return };
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let quotes =
        manifest.as_array().unwrap().iter().filter(|entry| {
            entry["kind"].as_str().is_some_and(|kind| kind.starts_with("tdx-quote"))
        });
    let mut asked = 0;
    for entry in quotes {
        let path = entry["file"].as_str().unwrap();
        let needs = needs_of(&[&real(path).unwrap()]);
        let urls = urls(&needs);
        if urls.is_empty() {
            assert!(!needs.remarks.is_empty(), "{path}");
            continue;
        }
        assert_eq!(urls.len(), 4, "{path}: {urls:?}");
        assert!(urls[0].contains("/tdx/certification/v4/tcb?fmspc="), "{urls:?}");
        asked += 1;
        if urls[0].ends_with("=50806f000000") {
            let left = needs.missing(&Endorsements::sort([collateral.as_slice()]), MARCH_2026);
            assert!(left.iter().all(|need| matches!(need, Need::IntelPckCrl { .. })), "{left:?}");
        }
    }
    println!("{asked} quotes");
    assert!(asked >= 5);
}

#[test]
fn a_real_gpu_needs_its_manifests_and_answers_about_every_authority() {
    let Some(report) = real("nvidia/evidence-json/evidence_hopper_590_12.json") else { return };
    let needs = needs_of(&[&report]);
    let rims: Vec<_> =
        needs.needs.iter().filter(|need| matches!(need, Need::NvidiaRim { .. })).collect();
    assert_eq!(rims.len(), 2, "{needs:?}");
    let ocsp = needs.needs.len() - rims.len();
    assert_eq!(ocsp, 3, "leaf and root are not asked about");
    for need in &needs.needs {
        let request = Request::of(need).unwrap();
        assert_eq!(request.method() == "POST", matches!(need, Need::NvidiaOcsp { .. }));
    }
}

#[test]
fn real_ocsp_answers_and_manifests_meet_what_the_gpu_needs() {
    let folder = "nvidia/hopper-550.90.07";
    let Some(report) = real(&format!("{folder}/report.bin")) else { return };
    let files = [
        "chain.pem",
        "ocsp/gpu_certificate_l2.der",
        "ocsp/gpu_certificate_l3.der",
        "ocsp/gpu_certificate_l4.der",
        "rim/NV_GPU_DRIVER_GH100_550.90.07.xml",
        "rim/NV_GPU_VBIOS_1010_0200_882_96009F0001.xml",
    ];
    let files = files.map(|name| real(&format!("{folder}/{name}")).unwrap());
    let mut all: Vec<&[u8]> = vec![&report];
    all.extend(files.iter().map(Vec::as_slice));
    let material = material(&all);
    let at_hand = Endorsements::sort(material.endorsements.iter().map(Vec::as_slice));
    let needs = material.needs(&at_hand, None);
    // 2025-08-21 12:00, inside the answers about the device's chain.
    let left = needs.missing(&at_hand, 1_755_777_600);
    let of_rims = |need: &Need| {
        matches!(need, Need::NvidiaOcsp { certificate, .. }
        if certificate.subject.common_name.contains("RIM") || certificate.subject.common_name.contains("Reference"))
    };
    for need in &left {
        assert!(of_rims(need), "{need}");
    }
    println!("{} needs, {} about signers of manifests left", needs.needs.len(), left.len());
}
