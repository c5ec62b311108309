//! Heads and witnesses: nothing is published too early, nothing is signed that witnesses contradict.

use bulla_tlog::submission::Submission;
use bulla_tlog::{Quorum, SignedCheckpoint, SignerKey, WitnessSigner, verify_consistency};
use bulla_wire::units::UnixMillis;

use super::{Log, LogEffect, LogError, LogRule, WitnessAnswer, WitnessTimes};
use crate::io::store::{SqliteStore, Store};
use crate::ledger::Command;

const ORIGIN: &str = "log.example/usage";
const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn key() -> SignerKey {
    SignerKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

fn later(seconds: u64) -> UnixMillis {
    UnixMillis(NOW.0 + seconds * 1000)
}

/// A witness as the specification has it, as far as this log needs one.
struct Desk {
    signer: WitnessSigner,
    newest: Option<SignedCheckpoint>,
    is_up: bool,
}

impl Desk {
    fn new(number: u8) -> Desk {
        let name = format!("w{number}.example");
        // One of three signs with ML-DSA.
        let signer = match number {
            2 => WitnessSigner::ml_dsa_44_from_seed(&name, &[number + 10; 32]),
            _ => WitnessSigner::from_seed(&name, &[number + 10; 32]),
        };
        Desk { signer: signer.unwrap(), newest: None, is_up: true }
    }

    fn see(&self) -> Result<Option<Vec<u8>>, String> {
        match self.is_up {
            true => Ok(self.newest.as_ref().map(SignedCheckpoint::to_bytes)),
            false => Err("down".to_owned()),
        }
    }

    fn ask(&mut self, request: &[u8]) -> WitnessAnswer {
        if !self.is_up {
            return WitnessAnswer::Unreachable("down".to_owned());
        }
        let request = Submission::parse(request).unwrap();
        let note = request.note().to_string();
        let new = SignedCheckpoint::open(note.as_bytes(), &key().verifier()).unwrap();
        let (size, root) =
            self.newest.as_ref().map_or((0, bulla_tlog::Hash::empty_root()), |old| {
                (old.checkpoint().size(), old.checkpoint().root())
            });
        if request.old_size() != size {
            return WitnessAnswer::Conflict(size);
        }
        let (new_size, new_root) = (new.checkpoint().size(), new.checkpoint().root());
        if verify_consistency(size, root, new_size, new_root, request.proof()).is_err() {
            return WitnessAnswer::Refused { status: 422, message: "forked".to_owned() };
        }
        let line = self.signer.cosign(&new, NOW.0 / 1000).unwrap();
        self.newest = Some(new);
        WitnessAnswer::Cosigned(format!("{line}\n"))
    }
}

/// Three witnesses, and what they were asked.
struct Town {
    store: SqliteStore,
    desks: Vec<Desk>,
    asked: Vec<(usize, Submission)>,
}

impl Town {
    fn new() -> Town {
        let desks = (0..3).map(Desk::new).collect();
        Town { store: SqliteStore::in_memory().unwrap(), desks, asked: Vec::new() }
    }

    fn rule(&self, threshold: usize) -> LogRule {
        let keys = self.desks.iter().map(|desk| desk.signer.verifier()).collect();
        let quorum = Some(Quorum::new(threshold, keys).unwrap());
        LogRule { quorum, times: WitnessTimes::default() }
    }

    fn log(&self, threshold: usize) -> Log {
        Log::resume(&self.rule(threshold), &key(), &self.store).unwrap()
    }

    fn grow(&mut self, leaves: u64) {
        grow(&mut self.store, leaves, 0);
    }

    /// Performs what the log asks for until it asks for nothing more; counts publications.
    fn run(&mut self, log: &mut Log, now: UnixMillis) -> usize {
        log.catch_up(&self.store).unwrap();
        let mut due = log.tend(&key(), now).unwrap();
        let mut published = 0;
        for _ in 0..100 {
            let Some(effect) = due.pop() else { return published };
            match effect {
                LogEffect::See(number) => log.seen(number, self.desks[number].see(), &key(), now),
                LogEffect::Ask(number, request) => {
                    self.asked.push((number, Submission::parse(&request).unwrap()));
                    let answer = self.desks[number].ask(&request);
                    due.extend(log.answered(number, answer, now));
                }
                LogEffect::Publish => published += 1,
            }
            due.extend(log.tend(&key(), now).unwrap());
        }
        panic!("the log never rests")
    }
}

fn grow(store: &mut SqliteStore, leaves: u64, salt: u64) {
    use crate::ledger::Queries;
    let from = store.leaf_count().unwrap();
    let leaf = |n: u64| [salt.to_be_bytes(), n.to_be_bytes()].concat();
    let commands: Vec<Command> =
        (from..from + leaves).map(|n| Command::LogLeaf { leaf: leaf(n) }).collect();
    assert!(store.execute(&commands, NOW).unwrap().iter().all(Result::is_ok));
}

fn sizes(log: &Log) -> (u64, u64) {
    (log.size(), log.published_size())
}

#[test]
fn without_witnesses_every_durable_head_is_published() {
    let mut store = SqliteStore::in_memory().unwrap();
    let mut log = Log::resume(&LogRule::default(), &key(), &store).unwrap();
    assert_eq!(log.published().unwrap().checkpoint().size(), 0);
    grow(&mut store, 3, 0);
    assert!(log.catch_up(&store).unwrap());
    assert_eq!(log.tend(&key(), NOW).unwrap(), [LogEffect::Publish]);
    assert_eq!(sizes(&log), (3, 3));
    assert_eq!(log.tend(&key(), NOW).unwrap(), []);
}

#[test]
fn a_head_is_published_once_a_quorum_cosigned_and_not_before() {
    let mut town = Town::new();
    town.grow(5);
    let mut log = town.log(2);
    assert!(matches!(log.published(), Err(LogError::NotPublished { .. })));
    assert!(matches!(log.prove(0, &[]), Err(LogError::NotPublished { .. })));
    assert!(matches!(log.cose_receipt(0, &key()), Err(LogError::NotPublished { .. })));
    assert!(town.run(&mut log, NOW) >= 1);
    assert_eq!(sizes(&log), (5, 5));
    let quorum = town.rule(2).quorum.unwrap();
    assert_eq!(quorum.check(log.published().unwrap()).unwrap().len(), 3, "late ones count too");
    // One witness is enough to look, but two must cosign.
    (town.desks[0].is_up, town.desks[1].is_up) = (false, false);
    town.grow(4);
    assert_eq!(town.run(&mut log, later(1)), 0);
    assert_eq!(sizes(&log), (9, 5));
    assert!(matches!(log.prove(7, &[]), Err(LogError::NotPublished { .. })));
    assert!(log.prove(4, &[]).is_ok() && log.cose_receipt(4, &key()).is_ok());
    // Asked again when it may be back, and not all the time.
    let before = town.asked.len();
    assert_eq!(town.run(&mut log, later(1)), 0);
    assert_eq!(town.asked.len(), before);
    town.desks[1].is_up = true;
    assert!(town.run(&mut log, later(10)) >= 1);
    assert_eq!(sizes(&log), (9, 9));
}

#[test]
fn a_head_that_does_not_grow_is_cosigned_anew_after_a_while() {
    let mut town = Town::new();
    town.grow(5);
    let mut log = town.log(2);
    town.run(&mut log, NOW);
    let before = town.asked.len();
    assert_eq!(town.run(&mut log, later(299)), 0);
    assert_eq!(town.asked.len(), before);
    assert!(town.run(&mut log, later(300)) >= 1);
    assert_eq!(town.asked.len(), before + 3);
}

#[test]
fn a_conflict_is_answered_with_the_right_proof() {
    let mut town = Town::new();
    town.grow(5);
    let mut log = town.log(3);
    town.run(&mut log, NOW);
    // One witness lost the answer's way: it has seen more than it said.
    town.grow(6);
    let mut other = town.log(3);
    let mut alone =
        Town { store: SqliteStore::in_memory().unwrap(), desks: Vec::new(), asked: Vec::new() };
    std::mem::swap(&mut alone.store, &mut town.store);
    std::mem::swap(&mut alone.desks, &mut town.desks);
    alone.run(&mut other, later(1));
    alone.grow(2);
    assert!(alone.run(&mut log, later(2)) >= 1);
    assert_eq!(sizes(&log), (13, 13));
    assert!(log.halted().is_none());
    let from: Vec<u64> = alone.asked.iter().map(|(_, request)| request.old_size()).collect();
    assert!(from.contains(&5) && from.contains(&11), "{from:?}");
}

#[test]
fn two_brokers_over_one_ledger_move_one_head() {
    let mut town = Town::new();
    town.grow(3);
    let (mut one, mut two) = (town.log(2), town.log(2));
    for round in 1..30 {
        town.grow(round % 3);
        let log = if round % 2 == 0 { &mut one } else { &mut two };
        town.run(log, later(round * 100));
        assert!(log.halted().is_none(), "{:?}", log.halted());
        assert_eq!(log.published_size(), log.size());
    }
    // What each witness saw last is one history.
    let newest = town.desks[0].newest.as_ref().unwrap().checkpoint().clone();
    assert_eq!(
        one.root_at(newest.size()).ok().or(two.root_at(newest.size()).ok()),
        Some(newest.root())
    );
}

#[test]
fn a_restored_backup_signs_nothing_until_a_person_looked() {
    let mut town = Town::new();
    town.grow(9);
    let mut log = town.log(2);
    town.run(&mut log, NOW);
    // The ledger as it was after 4 leaves, and new work on it.
    town.store = SqliteStore::in_memory().unwrap();
    town.grow(4);
    let mut restored = town.log(2);
    assert_eq!(town.run(&mut restored, later(60)), 0);
    let why = restored.halted().unwrap().to_owned();
    assert!(why.contains("9 leaves") && why.contains("this ledger has 4"), "{why}");
    grow(&mut town.store, 40, 7);
    let asked = town.asked.len();
    assert_eq!(town.run(&mut restored, later(600)), 0);
    assert_eq!(town.asked.len(), asked, "no signature over any head left");
    let Err(LogError::NotPublished { why: said }) = restored.published() else {
        panic!("published")
    };
    assert_eq!(said, why);
    // With another history of the same length, too.
    let mut again = town.log(2);
    town.run(&mut again, later(700));
    assert!(again.halted().unwrap().contains("this ledger has"), "{:?}", again.halted());
    assert_eq!(again.published_size(), 0);
}

#[test]
fn nothing_is_signed_before_enough_witnesses_said_what_they_saw() {
    let mut town = Town::new();
    town.grow(9);
    let mut log = town.log(2);
    // One witness is away: two cosigned.
    town.desks[2].is_up = false;
    town.run(&mut log, NOW);
    assert_eq!(log.published_size(), 9);
    // After a restore only the one answers that saw nothing; a quorum may have cosigned elsewhere.
    town.store = SqliteStore::in_memory().unwrap();
    town.grow(4);
    town.desks[2].is_up = true;
    (town.desks[0].is_up, town.desks[1].is_up) = (false, false);
    let mut restored = town.log(2);
    let asked = town.asked.len();
    assert_eq!(town.run(&mut restored, later(60)), 0);
    assert_eq!(town.asked.len(), asked, "nothing signed");
    let Err(LogError::NotPublished { why }) = restored.published() else { panic!("published") };
    assert!(why.contains("1 of 3") && why.contains("2 must"), "{why}");
    town.desks[0].is_up = true;
    town.run(&mut restored, later(120));
    assert!(restored.halted().is_some());
}

#[test]
fn false_cosignatures_and_false_heads_count_for_nothing() {
    let mut town = Town::new();
    town.grow(5);
    let mut log = town.log(1);
    let see = log.tend(&key(), NOW).unwrap();
    assert_eq!(see, [LogEffect::See(0), LogEffect::See(1), LogEffect::See(2)]);
    // A witness cannot stop this log with a head that this log's key did not sign.
    let stranger = SignerKey::from_seed(ORIGIN, &[99; 32]).unwrap();
    let false_head = super::sign_checkpoint(&stranger, 77, bulla_tlog::Hash::leaf(b"x")).unwrap();
    log.seen(0, Ok(Some(false_head.to_bytes())), &key(), NOW);
    assert!(log.halted().is_none());
    for number in 0..3 {
        log.seen(number, Ok(None), &key(), NOW);
    }
    let due = log.tend(&key(), NOW).unwrap();
    let LogEffect::Ask(number, request) = due[0].clone() else { panic!("{due:?}") };
    let WitnessAnswer::Cosigned(good) = town.desks[number].ask(&request) else { panic!() };
    let other = town.desks[2].signer.cosign(log_head(&request).as_ref().unwrap(), 5).unwrap();
    for bad in ["", "nonsense\n", &format!("{other}\n"), &good.replacen("A", "B", 3)] {
        assert_eq!(log.answered(number, WitnessAnswer::Cosigned(bad.to_owned()), NOW), []);
        // It was asked only once: ask again before the next answer.
        log.tend(&key(), later(3600)).unwrap();
    }
    assert_eq!(log.published_size(), 0);
    assert_eq!(log.answered(number, WitnessAnswer::Cosigned(good), NOW), [LogEffect::Publish]);
    assert_eq!(log.published_size(), 5);
}

fn log_head(request: &[u8]) -> Option<SignedCheckpoint> {
    let note = Submission::parse(request).ok()?.note().to_string();
    SignedCheckpoint::open(note.as_bytes(), &key().verifier()).ok()
}
