//! A log with witnesses: the story goes on as without them, and whoever lies about the log or the
//! time is found by the party that should find it.

use bulla_attestation::appraise::{Freshness, appraise_logged};
use bulla_attestation::policy::Policy;
use bulla_broker::broker::Effect;
use bulla_client::audit::CheckName;
use bulla_client::log::{LogConfig, LogRefusal, LogRule, follows, judge_epoch};
use bulla_enclave::{Event, Limits};
use bulla_engine::ScriptedEngine;
use bulla_tests::chip;
use bulla_tests::customer::Customer;
use bulla_tests::rig::{Rig, empty_checkpoint, log_signer};
use bulla_tests::world::START;
use bulla_tests::world::town::{Observer, Town};
use bulla_tlog::{Quorum, SignedCheckpoint, WitnessSigner};
use bulla_wire::cbor::Bytes;
use bulla_wire::epoch::EpochOffer;
use bulla_wire::units::{UnixMillis, UnixSeconds};

const NOW: UnixSeconds = UnixSeconds(chip::START_S);

fn witnesses() -> Vec<Observer> {
    (1..=3).map(Observer::new).collect()
}

fn town() -> Town {
    Town::found_with(2, witnesses())
}

fn vkeys(town: &Town) -> Vec<String> {
    town.witnesses.iter().map(|one| one.key().to_string()).collect()
}

/// The development policy, asking for two of the three witnesses.
fn demanding(town: &Town) -> Policy {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/appraisal/development.toml");
    let keys: Vec<String> = vkeys(town).iter().map(|key| format!("\"{key}\"")).collect();
    let text = std::fs::read_to_string(path)
        .unwrap()
        .replace("quorum = 0", "quorum = 2")
        .replace("keys = []", &format!("keys = [{}]", keys.join(", ")))
        .replace("maximum_age_seconds = \"any\"", "maximum_age_seconds = 600");
    Policy::from_toml(&text).unwrap()
}

fn rule(town: &Town, maximum_age_seconds: u64) -> LogRule {
    let (witnesses, maximum_age_seconds) = (vkeys(town), Some(maximum_age_seconds));
    let config = LogConfig { quorum: 2, witnesses, maximum_age_seconds };
    let key = log_signer().verifier();
    LogRule::of(&config, Some(key), &chip::policy("development")).unwrap().unwrap()
}

fn published(town: &Town) -> SignedCheckpoint {
    town.log().published().unwrap().clone()
}

#[test]
fn the_story_goes_on_under_witnesses() {
    let mut town = town();
    let report = town.enclave_boots();
    town.broker_publishes();
    assert!(town.is_served());
    assert_eq!(published(&town).checkpoint().size(), town.log().size());
    // The client sees the epoch logged and cosigned, and a policy that asks for that is met.
    let proof = town.epoch_proof().unwrap();
    let keyset = &report.attestation.workload_keyset;
    let shown = judge_epoch(proof.as_bytes(), keyset, &rule(&town, 600), NOW).unwrap();
    let freshness = Freshness::Nonce([7; 32]);
    let policy = demanding(&town);
    let judge = |logged| {
        appraise_logged(&report, &chip::anchors(), &policy, freshness.clone(), logged, NOW)
    };
    assert!(judge(Some(&shown.logged)).is_affirmed());
    assert!(!judge(None).is_affirmed());
    town.enclave_closes();
    let verdict = town.audit_under(&town.export_published(), policy.clone());
    assert!(verdict.is_clean() && verdict.warnings().count() == 0, "{verdict}");
    let examined = |name| verdict.check(name).unwrap().detail.clone();
    assert!(examined(CheckName::Cosignature).contains("examined"));
    assert!(examined(CheckName::EpochWitnessed).contains("examined"));
    // A bundle under a head that nobody cosigned is found out.
    let bare = town.audit_under(&town.export(), policy);
    assert!(bare.errors().any(|finding| finding.check == CheckName::Cosignature), "{bare}");
}

#[test]
fn no_enclave_serves_before_its_epoch_is_witnessed() {
    let mut away = witnesses();
    away.iter_mut().for_each(|witness| witness.is_here = false);
    let mut town = Town::found_with(2, away);
    town.tick(START);
    assert!(town.log().published().is_err());
    assert!(!town.wishes().iter().any(|wish| matches!(wish, Effect::OpenEpoch { .. })));
    assert!(!town.is_served() && town.epoch_proof().is_none());
    for witness in &mut town.witnesses {
        witness.is_here = true;
    }
    town.tick(UnixMillis(START.0 + 120_000));
    assert!(town.log().published().is_ok());
}

/// A head of the empty log, cosigned by these witnesses.
fn head_cosigned(by: &[WitnessSigner]) -> Vec<u8> {
    let mut head = SignedCheckpoint::open(&empty_checkpoint(), &log_signer().verifier()).unwrap();
    for witness in by {
        let line = witness.cosign(&head, NOW.0).unwrap();
        head.push_signature(line).unwrap();
    }
    head.to_bytes()
}

#[test]
fn an_enclave_opens_no_epoch_on_a_head_that_too_few_witnesses_cosigned() {
    let signer = |n: u8| WitnessSigner::from_seed(&format!("w{n}.example"), &[n; 32]).unwrap();
    let of = |all: &[u8]| -> Vec<WitnessSigner> { all.iter().map(|n| signer(*n)).collect() };
    let named = of(&[1, 2, 3]).iter().map(WitnessSigner::verifier).collect();
    let quorum = Quorum::new(2, named).unwrap();
    let desk = Customer::new(5);
    let open = |rig: &mut Rig, desk: &Customer, parent: Vec<u8>| {
        let offer = EpochOffer { parent: Bytes(parent), ..rig.epoch_offer() };
        let offer = desk.grant_key.sign(offer).bytes().to_vec();
        let delegation = desk.delegation(rig.now.seconds()).bytes().to_vec();
        let conn = rig.call(|conn| Event::OpenEpoch { conn, offer, delegation });
        rig.heard[&conn].reply.is_some()
    };
    let boot = |desk: &Customer| {
        let (root, engine) = (desk.root.public(), Box::new(ScriptedEngine::new("m", 1)));
        Rig::boot_under(Some(quorum.clone()), 5, root, engine, Limits::default(), Vec::new())
    };
    let mut rig = boot(&desk);
    // Nobody, one of two, one of them and a stranger.
    for too_few in [of(&[]), of(&[1]), of(&[1, 9])] {
        assert!(!open(&mut rig, &desk, head_cosigned(&too_few)));
        assert!(!rig.enclave.is_open());
    }
    // A false cosignature of a named witness, however many others signed.
    let liar = WitnessSigner::from_seed("w3.example", &[9; 32]).unwrap();
    let mut forged = head_cosigned(&of(&[1, 2, 3]));
    let last = forged.len() - 8;
    forged[last] ^= 1;
    assert!(!open(&mut rig, &desk, forged));
    // One of another key under a known name is a stranger's.
    assert!(!open(&mut rig, &desk, head_cosigned(&[signer(1), liar])));
    assert!(open(&mut rig, &desk, head_cosigned(&of(&[3, 1]))));
    assert!(rig.enclave.is_open());
}

#[test]
fn a_broker_that_forks_its_log_is_found_by_the_witnesses_and_can_be_shown() {
    let mut town = town();
    town.enclave_boots();
    town.broker_publishes();
    let honest = published(&town).checkpoint().clone();
    // It goes back to an earlier ledger and tells another history, longer than the first.
    let size = town.log().size();
    town.restore(3);
    for number in 0..size {
        town.forge(format!("another history {number}").as_bytes());
    }
    assert!(town.log().size() > size);
    town.tick(START);
    assert!(town.log().published().is_err(), "our own broker does not sign it");
    // One that has been changed to sign all the same is refused, and leaves the proof behind.
    let root = town.log().root_at(town.log().size()).unwrap();
    let forked = bulla_tlog::Checkpoint::new(honest.origin(), town.log().size(), root).unwrap();
    let forked = forked.sign(&log_signer()).unwrap();
    let tree = {
        let leaves = (0..town.log().size()).map(|at| town.leaf_hash(at));
        bulla_tlog::Tree::from_leaf_hashes(leaves)
    };
    let proof = tree.consistency_proof(honest.size(), tree.size()).unwrap();
    let request = bulla_tlog::submission::Submission::new(honest.size(), proof, &forked).unwrap();
    for witness in &mut town.witnesses {
        let answer = witness.add_checkpoint(request.to_string().as_bytes());
        assert!(
            matches!(answer, bulla_broker::log::WitnessAnswer::Refused { status: 422, .. }),
            "{answer:?}"
        );
        let shown = witness.forks.pop().unwrap();
        if !honest.size().is_power_of_two() {
            let forked = shown.verify(&[log_signer().verifier()]).unwrap();
            assert_eq!(forked.first.checkpoint().root(), honest.root());
        }
    }
    // A client that saw the first history does not take the second.
    let client = follows(&honest, forked.checkpoint());
    assert_eq!(client, Ok(Some(honest.size())), "and asks for a proof, which there is none of");
}

#[test]
fn a_broker_that_rewinds_its_log_is_found_by_client_and_witness() {
    let mut town = town();
    town.enclave_boots();
    town.broker_publishes();
    let seen = published(&town);
    let size = town.log().size();
    town.restore(3);
    town.tick(START);
    let why = town.log().halted().unwrap();
    assert!(why.contains(&format!("{size} leaves")) && why.contains("docs/log.md"), "{why}");
    assert!(town.wishes().iter().any(|wish| matches!(wish, Effect::SigningHalted { .. })));
    // What it showed before, shown again, is less than the client has seen, or too old.
    let old =
        bulla_tlog::Checkpoint::new(seen.checkpoint().origin(), 3, town.log().root_at(3).unwrap());
    let rewound = follows(seen.checkpoint(), &old.unwrap());
    assert_eq!(rewound, Err(LogRefusal::Rewound { seen: size, got: 3 }));
}

#[test]
fn a_stale_view_is_found_by_the_client() {
    let mut town = town();
    let report = town.enclave_boots();
    town.broker_publishes();
    let proof = town.epoch_proof().unwrap();
    let keyset = &report.attestation.workload_keyset;
    let later = UnixSeconds(NOW.0 + 601);
    let judged = judge_epoch(proof.as_bytes(), keyset, &rule(&town, 600), later);
    assert!(matches!(judged.err(), Some(LogRefusal::Stale { age_s: 601, maximum_s: 600 })));
    // An honest broker has its head cosigned again, grown or not.
    for witness in &mut town.witnesses {
        witness.clock = later;
    }
    town.tick(UnixMillis(START.0 + 601_000));
    let proof = town.epoch_proof().unwrap();
    assert!(judge_epoch(proof.as_bytes(), keyset, &rule(&town, 600), later).is_ok());
}

#[test]
fn a_host_that_sets_the_clock_back_is_found_by_the_audit() {
    // The witnesses own time: by their clocks it is an hour later than the enclave is told.
    let mut town = Town::found_with(2, witnesses());
    for witness in &mut town.witnesses {
        witness.clock = UnixSeconds(NOW.0 + 3600);
    }
    town.enclave_boots();
    town.broker_publishes();
    town.enclave_closes();
    let policy = demanding(&town);
    let verdict = town.audit_under(&town.export_published(), policy);
    let found: Vec<CheckName> = verdict.errors().map(|finding| finding.check).collect();
    assert_eq!(found, [CheckName::EpochWitnessed], "{verdict}");
}

#[test]
fn an_epoch_opened_on_an_old_head_is_found_by_the_client() {
    // The host kept an offer and opens an epoch on it later: its head was cosigned long ago.
    let mut early = witnesses();
    early.iter_mut().for_each(|witness| witness.clock = UnixSeconds(NOW.0 - 7200));
    let mut town = Town::found_with(2, early);
    let report = town.enclave_boots();
    town.broker_publishes();
    for witness in &mut town.witnesses {
        witness.clock = NOW;
    }
    town.tick(UnixMillis(START.0 + 301_000));
    let proof = town.epoch_proof().unwrap();
    let keyset = &report.attestation.workload_keyset;
    let shown = judge_epoch(proof.as_bytes(), keyset, &rule(&town, 600), NOW).unwrap();
    assert_eq!(shown.logged.since, UnixSeconds(NOW.0 - 7200));
    let policy = demanding(&town);
    let (anchors, logged) = (chip::anchors(), Some(&shown.logged));
    let result = appraise_logged(&report, &anchors, &policy, Freshness::Passport, logged, NOW);
    assert!(!result.is_affirmed(), "{result}");
}
