//! Every answer of add-checkpoint, forks, and state files cut and changed.

use bulla_tlog::submission::Submission;
use bulla_tlog::{
    Checkpoint, Hash, Quorum, SignedCheckpoint, SignerKey, Tree, VerifierKey, WitnessSigner,
};
use bulla_wire::units::UnixSeconds;

use super::{
    Accepted, ForkError, ForkProof, Refusal, State, StateError, Verdict, Witness, hash_of,
};

const ORIGIN: &str = "log.example/usage";
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

fn log_key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn witness(state: State) -> Witness {
    let signers = vec![
        WitnessSigner::from_seed("w.example", &[2; 32]).unwrap(),
        WitnessSigner::ml_dsa_44_from_seed("w.example", &[3; 32]).unwrap(),
    ];
    Witness::new(signers, vec![log_key().verifier()], state)
}

/// The tree of a log; `fork` names a history that parts from leaf 5 on.
fn tree(size: u64, fork: u8) -> Tree {
    let leaf = |index: u64| match index < 5 {
        true => vec![0, index as u8],
        false => vec![fork, index as u8],
    };
    Tree::from_leaf_hashes((0..size).map(|index| Hash::leaf(&leaf(index))))
}

fn head(size: u64, fork: u8) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, size, tree(size, fork).root()).unwrap();
    checkpoint.sign(&log_key()).unwrap()
}

fn request(old: u64, size: u64, fork: u8) -> Vec<u8> {
    let proof = tree(size, fork).consistency_proof(old, size).unwrap();
    Submission::new(old, proof, &head(size, fork)).unwrap().to_string().into_bytes()
}

fn accepted(witness: &mut Witness, body: &[u8], now: UnixSeconds) -> Box<Accepted> {
    match witness.judge(body, now) {
        Verdict::Cosign(accepted) => {
            witness.apply(&accepted);
            accepted
        }
        Verdict::Refuse(refusal, _) => panic!("{refusal}"),
    }
}

fn refused(witness: &Witness, body: &[u8]) -> (Refusal, Option<Box<ForkProof>>) {
    match witness.judge(body, NOW) {
        Verdict::Cosign(_) => panic!("cosigned"),
        Verdict::Refuse(refusal, proof) => (refusal, proof),
    }
}

#[test]
fn cosigns_what_extends_the_head_it_knows_with_both_keys() {
    let mut witness = witness(State::default());
    assert_eq!(witness.newest(&hash_of(ORIGIN)), None);
    for (old, size) in [(0, 3), (3, 3), (3, 11), (11, 12), (12, 300)] {
        let accepted = accepted(&mut witness, &request(old, size, 0), NOW);
        assert!(accepted.answer().lines().count() == 2 && accepted.answer().ends_with('\n'));
        let note = witness.newest(&hash_of(ORIGIN)).unwrap();
        let opened = SignedCheckpoint::open(note.as_bytes(), &log_key().verifier()).unwrap();
        assert_eq!(opened.checkpoint().size(), size);
        for key in witness.keys() {
            let time = Quorum::new(1, vec![key]).unwrap().time(&opened);
            assert_eq!(time.unwrap(), NOW.0);
        }
        let foreign = WitnessSigner::from_seed("w.example", &[9; 32]).unwrap().verifier();
        assert!(Quorum::new(1, vec![foreign]).unwrap().check(&opened).is_err());
    }
}

#[test]
fn a_log_may_begin_empty_and_signatures_of_strangers_are_not_kept() {
    let mut witness = witness(State::default());
    accepted(&mut witness, &request(0, 0, 0), NOW);
    let mut with_stranger = head(2, 0);
    let stranger = WitnessSigner::from_seed("stranger.example", &[7; 32]).unwrap();
    let line = stranger.cosign(&with_stranger, 1).unwrap();
    with_stranger.push_signature(line).unwrap();
    let body = Submission::new(0, Vec::new(), &with_stranger).unwrap().to_string();
    accepted(&mut witness, body.as_bytes(), NOW);
    assert!(!witness.newest(&hash_of(ORIGIN)).unwrap().contains("stranger"));
}

#[test]
fn answers_with_the_status_of_the_specification() {
    let mut witness = witness(State::default());
    accepted(&mut witness, &request(0, 7, 0), NOW);
    let good = String::from_utf8(request(7, 9, 0)).unwrap();
    let signed_by = |seed: u8, origin: &str| {
        let key = SignerKey::from_seed(origin, &[seed; 32]).unwrap();
        let checkpoint = Checkpoint::new(origin, 9, tree(9, 0).root()).unwrap().sign(&key).unwrap();
        Submission::new(7, Vec::new(), &checkpoint).unwrap().to_string()
    };
    let signature = good.rsplit(' ').next().unwrap().to_owned();
    let other = head(8, 0).note().to_string();
    let wrong = good.replace(&signature, other.rsplit(' ').next().unwrap());
    let old_9 = String::from_utf8(request(7, 7, 0)).unwrap().replacen("old 7", "old 9", 1);
    let no_size = {
        let note = log_key().sign(&format!("{ORIGIN}\nx\ny\n")).unwrap();
        format!("old 7\n\n{note}")
    };
    let false_empty = {
        let note = log_key().sign(&format!("{ORIGIN}\n0\n{}\n", Hash::leaf(b""))).unwrap();
        format!("old 0\n\n{note}")
    };
    let cases = [
        (good.replacen("old ", "od ", 1), 400),
        (String::new(), 400),
        (no_size, 400),
        (old_9, 400),
        (signed_by(1, "other.example"), 404),
        (signed_by(8, ORIGIN), 403),
        (wrong, 403),
        (String::from_utf8(request(6, 9, 0)).unwrap(), 409),
        (String::from_utf8(request(0, 9, 0)).unwrap(), 409),
        (String::from_utf8(request(8, 9, 0)).unwrap(), 409),
        (false_empty, 422),
        (signed_by(1, ORIGIN), 422),
        (String::from_utf8(request(7, 9, 1)).unwrap(), 422),
        (String::from_utf8(request(7, 7, 1)).unwrap(), 422),
    ];
    for (body, status) in cases {
        let (refusal, _) = refused(&witness, body.as_bytes());
        assert_eq!(refusal.status(), status, "{refusal}: {body}");
    }
    let (conflict, proof) = refused(&witness, &request(0, 9, 0));
    assert_eq!((conflict, proof), (Refusal::Conflict { size: 7 }, None));
    // A proof where there must be none.
    let fresh = self::witness(State::default());
    let body = good.replacen("old 7", "old 0", 1);
    assert_eq!(refused(&fresh, body.as_bytes()).0.status(), 422);
    accepted(&mut witness, good.as_bytes(), NOW);
}

#[test]
fn the_clock_may_not_run_back() {
    let mut witness = witness(State::default());
    accepted(&mut witness, &request(0, 3, 0), NOW);
    let (early, late) = (UnixSeconds(NOW.0 - 3), UnixSeconds(NOW.0 - 3600));
    let again = accepted(&mut witness, &request(3, 4, 0), early);
    assert_eq!(again.state().time_s(), NOW.0, "never earlier than the one before");
    let Verdict::Refuse(refusal, _) = witness.judge(&request(4, 5, 0), late) else {
        panic!("cosigned an hour ago")
    };
    assert_eq!((refusal.status(), refusal), (503, Refusal::Clock { now: late.0, last: NOW.0 }));
}

#[test]
fn a_fork_is_refused_and_proven() {
    let keys = [log_key().verifier()];
    // Proof of another old root; one size, two roots, with and without the right old size.
    for (known, old, size) in [(7, 7, 9), (7, 7, 7), (9, 0, 9), (6, 6, 300)] {
        let mut witness = witness(State::default());
        accepted(&mut witness, &request(0, known, 0), NOW);
        let (_, proof) = refused(&witness, &request(old, size, 1));
        let proof = *proof.unwrap();
        let read = ForkProof::from_json(&proof.to_json()).unwrap();
        assert_eq!(read, proof);
        let forked = read.verify(&keys).unwrap();
        assert_eq!(forked.second_root_then, tree(known, 1).root());
        assert_eq!(forked.first.checkpoint().root(), tree(known, 0).root());
        assert_eq!(forked.second.checkpoint().size(), size);
        // The witness goes on with the history it knows.
        accepted(&mut witness, &request(known, known + 1, 0), NOW);
    }
}

#[test]
fn two_heads_that_go_together_prove_nothing() {
    let keys = [log_key().verifier()];
    let mut witness = witness(State::default());
    accepted(&mut witness, &request(0, 7, 0), NOW);
    // An honest head with a false proof; a fork at a power of two, which its proof does not show.
    let body = Submission::new(7, vec![Hash::leaf(b"x"); 4], &head(9, 0)).unwrap().to_string();
    let (refusal, proof) = refused(&witness, body.as_bytes());
    assert_eq!(refusal.status(), 422);
    let proof = proof.unwrap();
    assert!(matches!(proof.verify(&keys), Err(ForkError::NotShown(_))));
    assert_eq!(proof.verify(&[]), Err(ForkError::NoKey));
    let stranger = VerifierKey::new(ORIGIN, [4; 32]).unwrap();
    let unsigned = proof.verify(&[stranger]);
    assert!(matches!(unsigned, Err(ForkError::Signature { which: "first", .. })));
    let text = String::from_utf8(proof.to_json()).unwrap();
    let altered = text.replacen("\"second\": \"log", "\"second\": \"lag", 1);
    let altered = ForkProof::from_json(altered.as_bytes()).unwrap().verify(&keys);
    assert!(matches!(altered, Err(ForkError::Signature { which: "second", .. })));
    let other_format = text.replacen("proof/1", "proof/2", 1);
    let other_format = ForkProof::from_json(other_format.as_bytes());
    assert!(matches!(other_format, Err(ForkError::Format { .. })));
    assert!(matches!(ForkProof::from_json(b"{}"), Err(ForkError::Content { .. })));
}

#[test]
fn state_is_read_as_written_and_every_cut_or_change_is_refused() {
    let mut witness = witness(State::default());
    accepted(&mut witness, &request(0, 3, 0), NOW);
    let accepted = accepted(&mut witness, &request(3, 8, 0), NOW);
    let bytes = accepted.state().to_bytes();
    assert_eq!(State::from_bytes(&bytes).as_ref(), Ok(accepted.state()));
    for cut in 0..bytes.len() {
        let error = State::from_bytes(&bytes[..cut]).unwrap_err();
        assert!(matches!(error, StateError::Format | StateError::Checksum), "{cut}: {error}");
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(State::from_bytes(&changed).is_err(), "byte {at}");
    }
    let longer = [bytes.as_slice(), b"\n"].concat();
    assert_eq!(State::from_bytes(&longer), Err(StateError::Checksum));
}
