//! Real evidence, changed: no flipped bit is accepted, and nothing panics.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]

mod common;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::tee::snp::appraise_raw;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// 2026-11-20T00:00:00Z.
const NOW: UnixSeconds = UnixSeconds(1_795_132_800);
/// Changes per file: enough to meet every field, few enough for every day.
const CHANGES: usize = 300;

fn is_affirmed(report: &[u8], leaf: &[u8], intermediate: &[u8]) -> bool {
    let policy = include_str!("../../policies/appraisal/authentic.toml");
    appraise_raw(
        report,
        &Endorsements::sort([leaf, intermediate]),
        &TrustAnchors::vendors(),
        &Policy::from_toml(policy).unwrap(),
        &Expectations::default(),
        NOW,
    )
    .is_affirmed()
}

/// Flips one bit, or cuts, or repeats a piece.
fn change(bytes: &[u8], rng: &mut ChaCha20Rng) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let at = rng.next_u32() as usize % bytes.len();
    match rng.next_u32() % 8 {
        0 => changed.truncate(at),
        1 => changed.push(0),
        2 => {
            changed.remove(at);
        }
        _ => changed[at] ^= 1 << (rng.next_u32() % 8),
    }
    changed
}

#[test]
fn no_changed_report_or_certificate_is_accepted() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut refused = 0;
    for (name, line) in [("oak-turin-v5", "turin"), ("oak-genoa-v5", "genoa")] {
        let read = |file: String| folder.read(&file);
        let report = read(format!("snp/{name}/report.bin"));
        let leaf = read(format!("snp/{name}/vcek.der"));
        let pem = folder.endorsements([format!("snp/ca/{line}/ask.pem").as_str()]);
        let intermediate = pem.certificates[0].der.clone();
        assert!(is_affirmed(&report, &leaf, &intermediate), "{name}");
        for _ in 0..CHANGES {
            let changed = change(&report, &mut rng);
            assert!(!is_affirmed(&changed, &leaf, &intermediate), "{name}: report");
            let changed = change(&leaf, &mut rng);
            assert!(!is_affirmed(&report, &changed, &intermediate), "{name}: leaf");
            let changed = change(&intermediate, &mut rng);
            assert!(!is_affirmed(&report, &leaf, &changed), "{name}: intermediate");
            refused += 3;
        }
    }
    println!("changed evidence: {refused} refused, none accepted");
}
