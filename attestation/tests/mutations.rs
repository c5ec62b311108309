//! Evidence and endorsements, changed: nothing changed is accepted with other claims, nothing
//! panics, and what is accepted with the same claims is on a list that says why it may be.
//!
//! A thousand changes per format run every day; for the full count:
//! `BULLA_MUTATIONS=100000 cargo test --release -p bulla-attestation --test mutations -- --nocapture`.
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]
#![allow(dead_code, unused_imports, reason = "shared with other tests")]

mod common;
mod csv_simulated;
mod simulated;
mod specimens;

#[path = "mutations/change.rs"]
mod change;
#[path = "mutations/twins.rs"]
mod twins;
#[path = "mutations/uncovered.rs"]
mod uncovered;

use std::collections::BTreeMap;

use bulla_attestation::memo::Appraiser;
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::Expectations;
use bulla_attestation::result::{AttestationResult, CheckName, CheckResult};
use bulla_attestation::tee::TeeKind;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use specimens::Specimen;
use uncovered::{Accepted, UNCOVERED};

/// Changes per specimen every day.
const CHANGES: usize = 1_000;
/// Most unlisted changes shown.
const MAX_SHOWN: usize = 20;
/// Where the changes come from.
const SEED: u64 = 20_261_121;

fn changes() -> usize {
    let wanted = std::env::var("BULLA_MUTATIONS").ok();
    wanted.map_or(CHANGES, |text| text.parse().expect("BULLA_MUTATIONS is a number"))
}

/// Results of all checks, and every claim.
fn substance(result: &AttestationResult) -> (Vec<(CheckName, CheckResult)>, String) {
    let checks = result.checks().iter().map(|check| (check.name, check.result)).collect();
    (checks, format!("{:?} {:?}", result.claims(), result.product()))
}

struct Judge<'a> {
    specimen: &'a Specimen,
    appraiser: Appraiser,
}

impl Judge<'_> {
    fn judge(&self, evidence: &[u8], endorsements: &[&[u8]]) -> AttestationResult {
        let (kind, at) = (self.specimen.kind, self.specimen.at);
        let expected = Expectations::default();
        self.appraiser.appraise_raw(kind, evidence, endorsements, &expected, at)
    }

    /// Judges a change of part `part`: 0 is the evidence, then the endorsements in order.
    fn of(&self, part: usize, changed: &[u8]) -> AttestationResult {
        let mut blobs = self.specimen.blobs();
        match part.checked_sub(1) {
            None => self.judge(changed, &blobs),
            Some(n) => {
                blobs[n] = changed;
                self.judge(&self.specimen.evidence, &blobs)
            }
        }
    }

    fn without(&self, part: usize) -> Option<AttestationResult> {
        let mut blobs = self.specimen.blobs();
        blobs.remove(part.checked_sub(1)?);
        Some(self.judge(&self.specimen.evidence, &blobs))
    }
}

fn part(specimen: &Specimen, part: usize) -> &[u8] {
    match part.checked_sub(1) {
        None => &specimen.evidence,
        Some(n) => &specimen.endorsements[n],
    }
}

/// Changes one specimen; counts what was accepted by reason.
fn mutate(specimen: &Specimen) {
    let judge = Judge { specimen, appraiser: specimen.appraiser() };
    let original = judge.of(0, &specimen.evidence);
    assert!(original.is_affirmed(), "{}: {:?}", specimen.name, original.failed().next());
    let (_, claims) = substance(&original);
    let mut rng = ChaCha20Rng::seed_from_u64(SEED);
    let mut accepted: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut refused, mut unlisted) = (0, Vec::new());
    for n in 0..changes() {
        // Half of the changes go to the evidence, the rest to its endorsements by turns.
        let which = match n % 2 {
            0 => 0,
            _ => change::below(&mut rng, specimen.endorsements.len() + 1),
        };
        let before = part(specimen, which);
        let changed = change::change(before, &mut rng);
        if changed == before {
            continue;
        }
        let result = judge.of(which, &changed);
        if !result.is_affirmed() {
            refused += 1;
            continue;
        }
        let where_ = format!("{}, part {which}, change {n}", specimen.name);
        assert_eq!(substance(&result).1, claims, "{where_}: other claims accepted");
        let without = judge.without(which);
        let case = Accepted {
            kind: specimen.kind,
            is_evidence: which == 0,
            before,
            after: &changed,
            is_as_if_not_given: without.is_some_and(|w| substance(&w) == substance(&result)),
        };
        let listed = UNCOVERED.iter().find(|entry| (entry.covers)(&case));
        match listed {
            Some(entry) => *accepted.entry(entry.what).or_default() += 1,
            None => unlisted.push(format!("{where_}: {}", case.difference())),
        }
    }
    println!("{}: {refused} refused, accepted with the same claims: {accepted:?}", specimen.name);
    unlisted.truncate(MAX_SHOWN);
    assert!(unlisted.is_empty(), "accepted, and not on the list:\n{}", unlisted.join("\n"));
}

/// The one change that random ones never meet.
#[test]
fn the_other_signature_of_a_pair_is_accepted_and_listed() {
    for specimen in specimens::real() {
        let judge = Judge { specimen: &specimen, appraiser: specimen.appraiser() };
        let (_, claims) = substance(&judge.of(0, &specimen.evidence));
        for place in twins::places(specimen.kind, &specimen.evidence) {
            let after = twins::twin(specimen.kind, &specimen.evidence, place.clone());
            let result = judge.of(0, &after);
            assert!(result.is_affirmed(), "{}, s at {place:?}", specimen.name);
            assert_eq!(substance(&result).1, claims);
            let case = Accepted {
                kind: specimen.kind,
                is_evidence: true,
                before: &specimen.evidence,
                after: &after,
                is_as_if_not_given: false,
            };
            let listed = UNCOVERED.iter().find(|entry| (entry.covers)(&case));
            assert_eq!(
                listed.map(|entry| entry.what),
                Some("the other signature of an ECDSA pair")
            );
        }
    }
}

fn mutate_real(kind: TeeKind) {
    for specimen in specimens::real().iter().filter(|specimen| specimen.kind == kind) {
        mutate(specimen);
    }
}

/// With a revocation list, and there without the evidence folder too.
fn simulated_snp() -> Specimen {
    let world = simulated::World::new();
    let evidence = world.document().attestation.evidence;
    let policy = include_str!("../../policies/appraisal/authentic.toml");
    let policy = policy.replacen("allow_simulated = false", "allow_simulated = true", 1);
    Specimen {
        name: "SNP report, simulated, with a revocation list",
        kind: TeeKind::Snp,
        evidence: evidence.report,
        endorsements: evidence.endorsements.into_iter().map(|piece| piece.data).collect(),
        anchors: world.anchors,
        policy: Policy::from_toml(&policy).expect("the policy reads"),
        at: simulated::NOW,
    }
}

#[test]
fn snp() {
    mutate(&simulated_snp());
    mutate_real(TeeKind::Snp);
}

#[test]
fn tdx() {
    mutate_real(TeeKind::Tdx);
}

#[test]
fn nvidia() {
    mutate_real(TeeKind::Nvidia);
}

#[test]
fn azure() {
    mutate_real(TeeKind::AzureSnp);
    mutate_real(TeeKind::AzureTdx);
}

/// No real Hygon evidence comes with its chip's certificates, so this one is simulated: a
/// report alone, and in the document of a guest agent.
fn simulated_csv(name: &'static str, in_document: bool) -> Specimen {
    let mut world = csv_simulated::CsvWorld::new();
    world.version = 2;
    let policy = include_str!("../../policies/appraisal/authentic.toml");
    let policy = policy.replacen("allow_simulated = false", "allow_simulated = true", 1);
    Specimen {
        name,
        kind: TeeKind::Csv,
        evidence: if in_document { world.document() } else { world.report() },
        endorsements: world.endorsements(),
        anchors: world.anchors,
        policy: Policy::from_toml(&policy).expect("the policy reads"),
        at: simulated::NOW,
    }
}

#[test]
fn csv() {
    mutate(&simulated_csv("CSV report, simulated", false));
    mutate(&simulated_csv("CSV document, simulated", true));
}
