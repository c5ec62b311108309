//! Files as `bulla appraise` gets them, changed: recognised anew and judged. Where everything found
//! is affirmed, it says what the original said. (`mutations.rs` changes the evidence behind the
//! recogniser, many more times; this one is for documents whose names and structure count.)
#![allow(clippy::disallowed_methods, reason = "tests read evidence from files")]
#![allow(dead_code, unused_imports, reason = "shared with other tests")]

mod common;

#[path = "mutations/change.rs"]
mod change;

use bulla_attestation::anchor::TrustAnchors;
use bulla_attestation::endorsement::Endorsements;
use bulla_attestation::input::{File, Role, recognise};
use bulla_attestation::policy::Policy;
use bulla_attestation::raw::{Expectations, appraise_raw};
use bulla_attestation::result::{AttestationResult, Claims};
use bulla_wire::units::UnixSeconds;
use common::EvidenceFolder;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// Changes per file every day; `BULLA_FILE_MUTATIONS` sets another number.
const CHANGES: usize = 100;
/// Where the changes come from.
const SEED: u64 = 20_261_121;
/// 2026-11-20T00:00:00Z.
const NOVEMBER_2026: u64 = 1_795_132_800;
/// 2025-07-22T09:13:34Z, in the month of the collateral for Azure's TDX.
const JULY_2025: u64 = 1_753_175_614;

/// The file that is changed, when it is judged, and what else is given.
const FILES: &[(&str, u64, &[&str])] = &[
    ("azure-vtpm/az-snp-genoa.json", NOVEMBER_2026, &["snp/ca/genoa/ask.pem"]),
    ("azure-vtpm/az-snp-v0.json", NOVEMBER_2026, &["snp/ca/milan/ask.pem"]),
    ("azure-vtpm/az-tdx-v0.json", JULY_2025, &["tdx/collateral/automata-00806f05-2025-07.json"]),
    ("nvidia/evidence-json/evidence_hopper_590_12.json", NOVEMBER_2026, &[]),
    ("nvidia/evidence-json/switch_evidence_ls10.json", NOVEMBER_2026, &[]),
    ("nvidia/evidence-json/multi_switch_ls10.json", NOVEMBER_2026, &[]),
];

struct Judge {
    policy: Policy,
    anchors: TrustAnchors,
    more: Vec<Vec<u8>>,
    at: UnixSeconds,
}

impl Judge {
    /// The claims of every piece of evidence; `None` where the command would not exit with 0.
    fn claims(&self, file: &[u8]) -> Option<Vec<Claims>> {
        let first = File { name: "changed", bytes: file, role: Role::Anything };
        let more = self.more.iter();
        let more = more.map(|bytes| File { name: "more", bytes, role: Role::Endorsement });
        let files: Vec<File<'_>> = std::iter::once(first).chain(more).collect();
        let found = recognise(&files, None);
        let judged = found.evidence.iter().map(|evidence| {
            let endorsements = Endorsements::sort(found.endorsements_for(evidence));
            let (anchors, policy, none) = (&self.anchors, &self.policy, Expectations::default());
            let (kind, bytes) = (evidence.kind, &evidence.bytes);
            appraise_raw(kind, bytes, &endorsements, anchors, policy, &none, self.at)
        });
        let claims = |result: AttestationResult| {
            result.is_affirmed().then(|| result.claims().cloned()).flatten()
        };
        let claims: Vec<Claims> = judged.map(claims).collect::<Option<_>>()?;
        (!claims.is_empty()).then_some(claims)
    }
}

#[test]
fn no_changed_file_is_affirmed_with_other_claims() {
    let Some(folder) = EvidenceFolder::open() else { return };
    let wanted = std::env::var("BULLA_FILE_MUTATIONS").ok();
    let changes = wanted.map_or(CHANGES, |text| text.parse().expect("a number"));
    let policy = include_str!("../../policies/appraisal/authentic.toml");
    let mut wrong = Vec::new();
    for (name, at, more) in FILES {
        let judge = Judge {
            policy: Policy::from_toml(policy).expect("the shipped policy reads"),
            anchors: TrustAnchors::vendors(),
            more: more.iter().map(|path| folder.read(path)).collect(),
            at: UnixSeconds(*at),
        };
        let file = folder.read(name);
        let original = judge.claims(&file).unwrap_or_else(|| panic!("{name} is not affirmed"));
        let mut rng = ChaCha20Rng::seed_from_u64(SEED);
        let (mut refused, mut same) = (0, 0);
        let mut judge_one = |changed: &[u8], what: &str| match judge.claims(changed) {
            None => refused += 1,
            Some(claims) if claims == original => same += 1,
            Some(claims) => wrong.push(format!("{name}, {what}: {} pieces", claims.len())),
        };
        for n in 0..changes {
            judge_one(&change::change(&file, &mut rng), &format!("change {n}"));
        }
        // Random changes seldom meet a name, so each is misspelt in turn.
        for at in quoted_letters(&file) {
            let mut misspelt = file.clone();
            misspelt[at] ^= 1;
            judge_one(&misspelt, &format!("a letter at {at}"));
        }
        println!("{name}: {refused} refused, {same} affirmed with the same claims");
    }
    assert!(wrong.is_empty(), "affirmed with other claims:\n{}", wrong.join("\n"));
}

/// The first letter of everything in quotes that is short enough for a name.
fn quoted_letters(file: &[u8]) -> Vec<usize> {
    /// Longest name of a member (ours).
    const MAX_NAME: usize = 40;
    let text = String::from_utf8_lossy(file);
    let mut at = 0;
    let mut letters = Vec::new();
    for (n, piece) in text.split('"').enumerate() {
        if n % 2 == 1 && (1..MAX_NAME).contains(&piece.len()) {
            letters.push(at);
        }
        at += piece.len() + 1;
    }
    letters
}
