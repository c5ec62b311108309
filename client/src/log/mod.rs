//! What a client asks of the log before it believes an epoch: the record that opened it is in the
//! log, enough witnesses cosigned the head that shows so and the head it was opened on, and both are
//! recent enough. The host owns the clock, the witnesses own time.
//!
//! ```text
//! head the epoch was opened on      cosigned at t0: the epoch is not older
//! epoch-open record                 a leaf of the log
//! head that covers it               cosigned at t1, not long ago: the epoch is not newer, and this
//!                                   is what everybody is shown
//! ```

#[cfg(test)]
mod tests;

use bulla_attestation::hash::keyset_digest;
use bulla_attestation::policy::{Limit, Logged, Policy};
use bulla_attestation::sign::{VerifyError, verify_any};
use bulla_tlog::cosignature::{CosignatureError, QuorumError, WitnessError};
use bulla_tlog::key::KeyError;
use bulla_tlog::proof::{ProofError, ProofFormatError};
use bulla_tlog::tree::ConsistencyError;
use bulla_tlog::{Checkpoint, Hash, Quorum, SignedCheckpoint, TlogProof, VerifierKey, WitnessKey};
use bulla_wire::cbor::CborError;
use bulla_wire::epoch::EpochOpen;
use bulla_wire::ids::{Digest, EpochId, PublicKey};
use bulla_wire::keyset::Keyset;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixSeconds;
use serde::{Deserialize, Serialize};

/// How far a witness's clock may be ahead of ours, in seconds.
const CLOCK_TOLERANCE_S: u64 = 60;

/// `[log]` of the client's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// How many of the witnesses must have cosigned; 0 asks for none.
    pub quorum: usize,
    /// The witnesses that count, as `name+id+key`.
    pub witnesses: Vec<String>,
    /// The newest cosigned head may be so old, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_age_seconds: Option<u64>,
}

/// Why a rule cannot be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Whose log?
    #[error(
        "[log] or the policy asks for witnesses or a maximum age, so log_key under [broker] must name the log's verifier key"
    )]
    NoLogKey,
    /// A witness's key does not read.
    #[error("[log] witnesses: {text:?}: {source}")]
    WitnessKey {
        /// As written.
        text: String,
        /// What is wrong.
        source: KeyError,
    },
    /// The quorum cannot be met, or counts one witness twice.
    #[error("[log] {0}")]
    Quorum(#[from] QuorumError),
    /// An age without witnesses to tell it.
    #[error("[log] maximum_age_seconds needs witnesses: nobody else tells the time")]
    AgeAlone,
}

/// What is asked of the log.
#[derive(Debug, Clone)]
pub struct LogRule {
    key: VerifierKey,
    quorum: Quorum,
    /// Witnesses that only the policy names.
    named_by_policy: Vec<WitnessKey>,
    maximum_age_s: Option<u64>,
}

impl LogRule {
    /// The rule of a configuration and a policy; `None` where neither asks for anything.
    pub fn of(
        config: &LogConfig,
        log_key: Option<VerifierKey>,
        policy: &Policy,
    ) -> Result<Option<LogRule>, RuleError> {
        let named = policy.witnesses();
        let ages = matches!(policy.freshness().maximum_age_seconds, Limit::AtMost(_));
        let by_policy = named.quorum > 0 || (ages && !named.keys.is_empty());
        if *config == LogConfig::default() && !by_policy {
            return Ok(None);
        }
        let parse = |text: &String| {
            WitnessKey::parse(text)
                .map_err(|source| RuleError::WitnessKey { text: text.clone(), source })
        };
        let own: Vec<WitnessKey> = config.witnesses.iter().map(parse).collect::<Result<_, _>>()?;
        let quorum = match own.is_empty() && config.quorum == 0 {
            true if config.maximum_age_seconds.is_some() && named.keys.is_empty() => {
                return Err(RuleError::AgeAlone);
            }
            true => Quorum::new(named.quorum.max(1), named.keys.clone())?,
            false => Quorum::new(config.quorum, own)?,
        };
        let others = named.keys.iter().filter(|key| !quorum.keys().contains(key));
        Ok(Some(LogRule {
            key: log_key.ok_or(RuleError::NoLogKey)?,
            named_by_policy: others.cloned().collect(),
            quorum,
            maximum_age_s: config.maximum_age_seconds,
        }))
    }

    /// The log's key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }
}

/// Why an epoch is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogRefusal {
    /// Not a tlog-proof.
    #[error("proof of the epoch: {0}")]
    Format(#[from] ProofFormatError),
    /// The leaf does not read.
    #[error("leaf of the epoch: {0}")]
    Leaf(#[from] CborError),
    /// A leaf of another kind.
    #[error("the leaf shown for the epoch is no epoch-open record")]
    NoOpen,
    /// Not in the log, or the head is not witnessed.
    #[error("proof of the epoch: {0}")]
    Proof(#[from] ProofError),
    /// The record is not the keyset's.
    #[error("epoch-open record: {0}")]
    Record(#[from] VerifyError),
    /// The record of another keyset.
    #[error("the epoch shown is of keyset {got}, the evidence is of {expected}")]
    Keyset {
        /// In the evidence.
        expected: Digest,
        /// In the record.
        got: Digest,
    },
    /// The head it was opened on is not the log's, or not witnessed.
    #[error("head that the epoch was opened on: {0}")]
    Parent(String),
    /// A head is not witnessed well enough.
    #[error("{which}: {source}")]
    Witness {
        /// Which head.
        which: &'static str,
        /// What fails.
        source: WitnessError,
    },
    /// A false cosignature.
    #[error(transparent)]
    Cosignature(#[from] CosignatureError),
    /// The newest head is old: the broker shows a stale log, or its witnesses are gone.
    #[error(
        "the newest head of the log was cosigned {age_s} s ago, at most {maximum_s} s are allowed: a stale log, or witnesses that are away"
    )]
    Stale {
        /// Its age.
        age_s: u64,
        /// What the configuration allows.
        maximum_s: u64,
    },
    /// Cosigned in our future.
    #[error("the head was cosigned {ahead_s} s from now: set this machine's clock")]
    Future {
        /// By how much.
        ahead_s: u64,
    },
    /// The log shows less than it showed before.
    #[error(
        "the log shows {got} leaves, this client has seen {seen}: it was rewound, or this answer is old"
    )]
    Rewound {
        /// Leaves seen before.
        seen: u64,
        /// Leaves shown now.
        got: u64,
    },
    /// The log is not the one it was.
    #[error(
        "FORK: the log's head of {got} leaves does not extend the one of {seen} leaves this client has seen: {source}; both are kept"
    )]
    Forked {
        /// Leaves seen before.
        seen: u64,
        /// Leaves shown now.
        got: u64,
        /// What fails.
        source: ConsistencyError,
    },
}

/// What a verified log says of an epoch.
#[derive(Debug, Clone)]
pub struct Shown {
    /// For the appraisal.
    pub logged: Logged,
    /// The head that everybody is shown.
    pub head: SignedCheckpoint,
}

/// Judges the proof that a leaf is in the log, under a head that is witnessed and recent: that head.
pub fn judge_leaf(
    proof: &[u8],
    leaf: &[u8],
    rule: &LogRule,
    now: UnixSeconds,
) -> Result<SignedCheckpoint, LogRefusal> {
    let proof = TlogProof::parse(proof)?;
    let proven = proof.verify(Hash::leaf(leaf), &rule.key, Some(&rule.quorum))?;
    let head = proven.checkpoint().clone();
    rule.check_age(&head, now)?;
    Ok(head)
}

/// Judges the proof that the epoch of this keyset is logged and witnessed.
pub fn judge_epoch(
    proof: &[u8],
    keyset: &Keyset,
    rule: &LogRule,
    now: UnixSeconds,
) -> Result<Shown, LogRefusal> {
    let proof = TlogProof::parse(proof)?;
    let leaf = proof.extra();
    let Leaf::EpochOpen { record } = Leaf::from_slice(leaf)? else {
        return Err(LogRefusal::NoOpen);
    };
    let proven = proof.verify(Hash::leaf(leaf), &rule.key, Some(&rule.quorum))?;
    let open = verify_any::<EpochOpen>(&record.0, &receipt_keys(keyset))?;
    let expected = keyset_digest(keyset);
    if open.keyset != expected || open.epoch != EpochId::of_keyset(&expected) {
        return Err(LogRefusal::Keyset { expected, got: open.keyset });
    }
    let head = proven.checkpoint().clone();
    rule.check_age(&head, now)?;
    let parent = SignedCheckpoint::open(&open.parent.0, &rule.key)
        .map_err(|error| LogRefusal::Parent(error.to_string()))?;
    if parent.checkpoint().size() > proof.index() {
        let reason = "it covers the epoch's own record".to_owned();
        return Err(LogRefusal::Parent(reason));
    }
    let which = "head that the epoch was opened on";
    let since = rule.quorum.time(&parent);
    let since = since.map_err(|source| LogRefusal::Witness { which, source })?;
    Ok(Shown {
        logged: Logged { since: UnixSeconds(since), cosigners: rule.cosigners(&head)? },
        head,
    })
}

impl LogRule {
    fn check_age(&self, head: &SignedCheckpoint, now: UnixSeconds) -> Result<(), LogRefusal> {
        let which = "newest head";
        let at = self.quorum.time(head);
        let at = at.map_err(|source| LogRefusal::Witness { which, source })?;
        if at > now.0.saturating_add(CLOCK_TOLERANCE_S) {
            return Err(LogRefusal::Future { ahead_s: at - now.0 });
        }
        let age_s = now.0.saturating_sub(at);
        match self.maximum_age_s {
            Some(maximum_s) if age_s > maximum_s => Err(LogRefusal::Stale { age_s, maximum_s }),
            _ => Ok(()),
        }
    }

    /// All named witnesses that cosigned, whoever names them.
    fn cosigners(&self, head: &SignedCheckpoint) -> Result<Vec<WitnessKey>, CosignatureError> {
        let mut cosigners = self.quorum.cosigners(head)?;
        if !self.named_by_policy.is_empty()
            && let Ok(named) = Quorum::new(1, self.named_by_policy.clone())
        {
            cosigners.extend(named.cosigners(head)?);
        }
        Ok(cosigners.into_iter().map(|(key, _)| key).collect())
    }
}

/// Every receipt key of a keyset that reads.
fn receipt_keys(keyset: &Keyset) -> Vec<PublicKey> {
    let keys = keyset.receipt_signing_keys.iter();
    keys.filter_map(|entry| entry.public_key.parse().ok()).collect()
}

/// Whether a head may follow the one seen before, apart from the proof between them: `Some` says
/// from which size that proof has to lead.
pub fn follows(seen: &Checkpoint, got: &Checkpoint) -> Result<Option<u64>, LogRefusal> {
    if got.size() < seen.size() {
        return Err(LogRefusal::Rewound { seen: seen.size(), got: got.size() });
    }
    if got.size() > seen.size() {
        return Ok((seen.size() > 0).then_some(seen.size()));
    }
    match got.root() == seen.root() {
        true => Ok(None),
        false => {
            let (old_root, new_root) = (seen.root(), got.root());
            let source = ConsistencyError::ForkedRoot { old_root, new_root };
            Err(LogRefusal::Forked { seen: seen.size(), got: got.size(), source })
        }
    }
}
