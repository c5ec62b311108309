//! Getting heads of the log witnessed, as a state machine: which witness is asked what, when a head
//! is published, and when signing stops.
//!
//! * Before the first head is signed, witnesses are asked what they have seen of this log. A quorum
//!   of `k` of `n` may have cosigned a head that this ledger, restored from a backup, does not hold;
//!   so `n - k + 1` of them must have answered, and everything they saw must be in this tree.
//! * A head goes to every witness with the proof from the head it knows; it is published once `k`
//!   cosigned. Until then nobody else sees the log's signature over it.
//! * A witness that knows another head says so (409), and is asked again with the right proof.
//! * A witness that shows a head of this log that this tree does not contain stops the signing, for
//!   good: a person has to look.

use bulla_tlog::note::NoteSignature;
use bulla_tlog::submission::Submission;
use bulla_tlog::{Quorum, SignedCheckpoint, SignerKey, Tree, VerifierKey, WitnessKey};
use bulla_wire::units::UnixMillis;

use super::{LogError, sign_checkpoint};

/// When witnesses are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WitnessTimes {
    /// A head that did not grow is cosigned again after this, in milliseconds: cosignatures tell
    /// how fresh a head is.
    pub refresh_ms: u64,
    /// Between two attempts to reach a witness, in milliseconds; doubled with every failure.
    pub retry_ms: u64,
    /// At most so long between two attempts, in milliseconds.
    pub retry_most_ms: u64,
    /// An answer is awaited this long, in milliseconds.
    pub patience_ms: u64,
}

impl Default for WitnessTimes {
    fn default() -> WitnessTimes {
        WitnessTimes {
            refresh_ms: 300_000,
            retry_ms: 1_000,
            retry_most_ms: 60_000,
            patience_ms: 30_000,
        }
    }
}

/// What a witness answered to a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// 200: signature lines.
    Cosigned(String),
    /// 409: leaves of the head it knows.
    Conflict(u64),
    /// Another status.
    Refused {
        /// HTTP status.
        status: u16,
        /// For people. Untrusted text.
        message: String,
    },
    /// No answer.
    Unreachable(String),
}

/// What the log wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogEffect {
    /// Ask the witness of this number for the newest head of this log that it cosigned.
    See(usize),
    /// Send it an add-checkpoint request.
    Ask(usize, Vec<u8>),
    /// A head is published.
    Publish,
}

/// One witness.
#[derive(Debug)]
struct Desk {
    key: WitnessKey,
    /// Leaves of the head it knows; `None` until it has said, and that head was found in this tree.
    seen: Option<u64>,
    /// When it was asked what is not answered yet, and about how many leaves.
    asked: Option<(UnixMillis, u64)>,
    not_before: UnixMillis,
    failures: u32,
}

impl Desk {
    fn is_free(&self, now: UnixMillis, patience_ms: u64) -> bool {
        let lost = |at: UnixMillis| now.0 >= at.0.saturating_add(patience_ms);
        now >= self.not_before && self.asked.is_none_or(|(at, _)| lost(at))
    }

    fn fail(&mut self, times: &WitnessTimes, now: UnixMillis) {
        let pause = times.retry_ms.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before = UnixMillis(now.0.saturating_add(pause.min(times.retry_most_ms)));
    }

    fn succeed(&mut self) {
        (self.failures, self.not_before) = (0, UnixMillis(0));
    }
}

/// A head on its way to the witnesses, or published.
#[derive(Debug)]
struct Round {
    checkpoint: SignedCheckpoint,
    cosigned: Vec<usize>,
    published_at: Option<UnixMillis>,
}

/// The witnesses of one log.
#[derive(Debug)]
pub(super) struct Witnessing {
    quorum: Quorum,
    times: WitnessTimes,
    desks: Vec<Desk>,
    round: Option<Round>,
    halted: Option<String>,
}

impl Witnessing {
    pub(super) fn new(quorum: Quorum, times: WitnessTimes) -> Witnessing {
        let desk = |key: &WitnessKey| Desk {
            key: key.clone(),
            seen: None,
            asked: None,
            not_before: UnixMillis(0),
            failures: 0,
        };
        let desks = quorum.keys().iter().map(desk).collect();
        Witnessing { quorum, times, desks, round: None, halted: None }
    }

    /// Why no head is signed any more.
    pub(super) fn halted(&self) -> Option<&str> {
        self.halted.as_deref()
    }

    /// In words, why no head is published yet.
    pub(super) fn waiting(&self) -> String {
        let (k, n) = (self.quorum.threshold(), self.desks.len());
        match (&self.halted, self.may_sign()) {
            (Some(why), _) => why.clone(),
            (None, false) => format!(
                "{} of {n} witnesses have said what they saw, {} must: nothing is signed before",
                self.desks.iter().filter(|desk| desk.seen.is_some()).count(),
                n - k + 1
            ),
            (None, true) => format!("no head is cosigned by {k} of {n} witnesses yet"),
        }
    }

    /// Any quorum that ever published a head has a witness among those that answered.
    fn may_sign(&self) -> bool {
        let known = self.desks.iter().filter(|desk| desk.seen.is_some()).count();
        known > self.desks.len() - self.quorum.threshold()
    }

    /// What is due.
    pub(super) fn tend(
        &mut self,
        key: &SignerKey,
        tree: &Tree,
        now: UnixMillis,
    ) -> Result<Vec<LogEffect>, LogError> {
        if self.halted.is_some() {
            return Ok(Vec::new());
        }
        let mut effects = self.look(now);
        if !self.may_sign() {
            return Ok(effects);
        }
        if self.is_round_due(tree, now) {
            let checkpoint = sign_checkpoint(key, tree.size(), tree.root())?;
            self.round = Some(Round { checkpoint, cosigned: Vec::new(), published_at: None });
        }
        effects.extend(self.ask(tree, now)?);
        Ok(effects)
    }

    /// Asks the witnesses that have not said yet what they saw.
    fn look(&mut self, now: UnixMillis) -> Vec<LogEffect> {
        let patience_ms = self.times.patience_ms;
        let mut effects = Vec::new();
        for (number, desk) in self.desks.iter_mut().enumerate() {
            if desk.seen.is_none() && desk.is_free(now, patience_ms) {
                desk.asked = Some((now, 0));
                effects.push(LogEffect::See(number));
            }
        }
        effects
    }

    /// A new round begins when the last one is published and the log has grown, or its
    /// cosignatures grow old.
    fn is_round_due(&self, tree: &Tree, now: UnixMillis) -> bool {
        let Some(round) = &self.round else { return tree.size() > 0 };
        let size = round.checkpoint.checkpoint().size();
        let has_grown = tree.size() > size;
        match round.published_at {
            Some(at) => has_grown || now.0 >= at.0.saturating_add(self.times.refresh_ms),
            // A witness knows a larger head, of another broker over this ledger: this one will not
            // be cosigned there.
            None => has_grown && self.desks.iter().any(|desk| desk.seen > Some(size)),
        }
    }

    fn ask(&mut self, tree: &Tree, now: UnixMillis) -> Result<Vec<LogEffect>, LogError> {
        let Some(round) = &self.round else { return Ok(Vec::new()) };
        let size = round.checkpoint.checkpoint().size();
        let mut effects = Vec::new();
        for (number, desk) in self.desks.iter_mut().enumerate() {
            let Some(seen) = desk.seen.filter(|seen| *seen <= size) else { continue };
            let waits = !round.cosigned.contains(&number);
            if waits && desk.is_free(now, self.times.patience_ms) {
                let proof = tree.consistency_proof(seen, size)?;
                let request = Submission::new(seen, proof, &round.checkpoint)?;
                desk.asked = Some((now, size));
                effects.push(LogEffect::Ask(number, request.to_string().into_bytes()));
            }
        }
        Ok(effects)
    }

    /// A witness showed the newest head it cosigned; `None`: it never cosigned one.
    pub(super) fn seen(
        &mut self,
        number: usize,
        newest: Result<Option<Vec<u8>>, String>,
        log: &VerifierKey,
        tree: &Tree,
        now: UnixMillis,
    ) {
        let Some(desk) = self.desks.get_mut(number) else { return };
        desk.asked = None;
        let opened = match newest {
            Err(_) => return desk.fail(&self.times, now),
            Ok(None) => None,
            // What this log's key did not sign says nothing about this log.
            Ok(Some(note)) => match SignedCheckpoint::open(&note, log) {
                Ok(opened) => Some(opened),
                Err(_) => return desk.fail(&self.times, now),
            },
        };
        let Some(opened) = opened else {
            desk.seen = Some(0);
            return desk.succeed();
        };
        let (size, root) = (opened.checkpoint().size(), opened.checkpoint().root());
        let amiss = match tree.root_at(size) {
            Ok(ours) if ours == root => {
                desk.seen = Some(size);
                return desk.succeed();
            }
            Ok(ours) => format!("with root {root}; this ledger has {ours} there"),
            Err(_) => format!(
                "this ledger has {}: it was restored from a backup, or another one signs with this key",
                tree.size()
            ),
        };
        let name = desk.key.name();
        self.halted = Some(format!(
            "no head is signed any more: witness {name} has seen one of {size} leaves, {amiss}; see docs/log.md, \"After a restore\""
        ));
        self.round = None;
    }

    /// A witness answered to a head.
    pub(super) fn answered(
        &mut self,
        number: usize,
        answer: WitnessAnswer,
        now: UnixMillis,
    ) -> Vec<LogEffect> {
        let Some(desk) = self.desks.get_mut(number) else { return Vec::new() };
        let asked = desk.asked.take();
        match answer {
            WitnessAnswer::Cosigned(lines) => return self.cosigned(number, asked, &lines, now),
            WitnessAnswer::Conflict(size) => self.conflict(number, size, now),
            // It holds our proof for false: look at what it has seen before it is asked again.
            WitnessAnswer::Refused { status: 422, .. } => {
                desk.seen = None;
                desk.fail(&self.times, now);
            }
            WitnessAnswer::Refused { .. } | WitnessAnswer::Unreachable(_) => {
                desk.fail(&self.times, now);
            }
        }
        Vec::new()
    }

    fn conflict(&mut self, number: usize, size: u64, now: UnixMillis) {
        let newest = self.round.as_ref().map_or(0, |round| round.checkpoint.checkpoint().size());
        let Some(desk) = self.desks.get_mut(number) else { return };
        // Once without a pause; a witness that never agrees with itself is asked ever more rarely.
        if desk.failures > 0 {
            desk.fail(&self.times, now);
        } else {
            desk.failures = 1;
        }
        if size <= newest {
            desk.seen = Some(size);
            return;
        }
        // It knows a larger head: another broker's over the same ledger, or one we have forgotten.
        desk.seen = None;
        if self.round.as_ref().is_some_and(|round| round.published_at.is_none()) {
            self.round = None;
        }
    }

    fn cosigned(
        &mut self,
        number: usize,
        asked: Option<(UnixMillis, u64)>,
        lines: &str,
        now: UnixMillis,
    ) -> Vec<LogEffect> {
        let (threshold, times) = (self.quorum.threshold(), self.times);
        let (Some(desk), Some(round)) = (self.desks.get_mut(number), self.round.as_mut()) else {
            return Vec::new();
        };
        let size = round.checkpoint.checkpoint().size();
        if asked.is_none_or(|(_, asked)| asked != size) {
            // About an earlier round: what it knows now, it will say.
            return Vec::new();
        }
        match with_cosignature(&round.checkpoint, &desk.key, lines) {
            None => {
                desk.fail(&times, now);
                return Vec::new();
            }
            Some(checkpoint) => round.checkpoint = checkpoint,
        }
        desk.seen = Some(size);
        desk.succeed();
        round.cosigned.push(number);
        if round.cosigned.len() < threshold {
            return Vec::new();
        }
        round.published_at.get_or_insert(now);
        vec![LogEffect::Publish]
    }

    /// The head that is published, with all cosignatures that came so far.
    pub(super) fn published(&self) -> Option<&SignedCheckpoint> {
        let round = self.round.as_ref()?;
        round.published_at.map(|_| &round.checkpoint)
    }
}

/// The checkpoint with this witness's cosignature, where it is among the lines and holds.
fn with_cosignature(
    checkpoint: &SignedCheckpoint,
    key: &WitnessKey,
    lines: &str,
) -> Option<SignedCheckpoint> {
    let lines = NoteSignature::parse_lines(lines).ok()?;
    let line =
        lines.into_iter().find(|line| line.name() == key.name() && line.key_id() == key.key_id());
    let mut cosigned = checkpoint.clone();
    cosigned.push_signature(line?).ok()?;
    key.verify(&cosigned).is_ok().then_some(cosigned)
}
