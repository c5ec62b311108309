//! Some thousands of changed quotes and collateral, from a seed: none is accepted with other claims,
//! none panics. (The large run over all formats is elsewhere; this one is for every day.)
#![allow(dead_code, unused_imports, reason = "the simulated TEE is included by path")]

mod common;
mod simulated;
mod simulated_tdx;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::{AttestationResult, Claims};
use bulla_attestation::tee::tdx::appraise_raw;
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use simulated_tdx::World;

/// Changes tried on each part.
const CHANGES: usize = 250;

fn authentic() -> Policy {
    let text = include_str!("../../policies/appraisal/authentic.toml").replacen(
        "allow_simulated = false",
        "allow_simulated = true",
        1,
    );
    Policy::from_toml(&text).unwrap()
}

/// One change: a bit, a byte, a stretch filled, moved, cut or doubled.
fn change(bytes: &mut Vec<u8>, rng: &mut ChaCha20Rng) {
    let mut below = |limit: usize| rng.next_u32() as usize % limit.max(1);
    let at = below(bytes.len());
    let length = below(64).min(bytes.len() - at);
    match below(6) {
        0 | 1 => bytes[at] ^= 1 << below(8),
        2 => bytes[at] = below(256) as u8,
        3 => bytes.truncate(at),
        4 => bytes[at..at + length].fill(below(256) as u8),
        _ => {
            let piece = bytes[at..at + length].to_vec();
            let to = below(bytes.len());
            bytes.splice(to..to, piece);
        }
    }
}

/// What a verdict is judged by.
fn claims(result: &AttestationResult) -> Option<Claims> {
    result.is_affirmed().then(|| result.claims().cloned()).flatten()
}

/// Judges `CHANGES` changes of the quote, and of each endorsement; returns how many were accepted.
fn accepted_changes(
    quote: &[u8],
    endorsements: &[Vec<u8>],
    anchors: &TrustAnchors,
    now: UnixSeconds,
) -> [usize; 2] {
    let policy = authentic();
    let judge = |quote: &[u8], endorsements: &[Vec<u8>]| {
        let sorted = Endorsements::sort(endorsements.iter().map(Vec::as_slice));
        appraise_raw(quote, &sorted, anchors, &policy, &Expectations::default(), now)
    };
    let mut rng = ChaCha20Rng::seed_from_u64(20_261_121);
    let unchanged = judge(quote, endorsements);
    let expected = claims(&unchanged).unwrap_or_else(|| panic!("{unchanged}"));
    let mut accepted = [0; 2];
    for _ in 0..CHANGES {
        let mut changed = quote.to_vec();
        change(&mut changed, &mut rng);
        if let Some(claims) = claims(&judge(&changed, endorsements)) {
            assert_eq!(claims, expected);
            accepted[0] += 1;
        }
        let which = rng.next_u32() as usize % endorsements.len();
        let mut others = endorsements.to_vec();
        change(&mut others[which], &mut rng);
        if let Some(claims) = claims(&judge(quote, &others)) {
            assert_eq!(claims, expected);
            accepted[1] += 1;
        }
    }
    accepted
}

#[test]
fn no_changed_simulated_evidence_is_accepted_with_other_claims() {
    for since_1_5 in [false, true] {
        let mut world = World::of(since_1_5);
        world.intel.quote.padding = 8;
        let (quote, endorsements) = world.evidence(&[7; 64]);
        let accepted = accepted_changes(&quote, &endorsements, &world.anchors(), world.now);
        println!(
            "simulated: {CHANGES} changed quotes and as many endorsements, {accepted:?} accepted with the same claims"
        );
    }
}

#[test]
fn no_changed_real_evidence_is_accepted_with_other_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    // 2026-03-31T22:20:07Z and 2025-06-20T10:32:27Z: inside the collateral's dates.
    for (quote, collateral, now) in [
        ("tdx/gotdx-v5/quote.bin", "tdx/collateral/lunal-90c06f-2026-03.json", 1_774_995_607),
        ("tdx/phala-v4/quote.bin", "tdx/phala-v4/collateral.json", 1_750_415_547),
    ] {
        let quote = folder.read(quote);
        let endorsements = [folder.read(collateral)];
        let anchors = TrustAnchors::vendors();
        let accepted = accepted_changes(&quote, &endorsements, &anchors, UnixSeconds(now));
        println!(
            "real: {CHANGES} changed quotes and as many collaterals, {accepted:?} accepted with the same claims"
        );
    }
}
