//! The log: a Merkle tree over the store's leaves. It grows only from what is durable, so a start
//! after a crash is the same code as any other moment. Where witnesses are named, everybody sees a
//! head only once enough of them cosigned it (`witnessing`).

#[cfg(test)]
mod tests;
mod witnessing;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bulla_attestation::inclusion::{InclusionReceiptError, sign_inclusion};
use bulla_tlog::checkpoint::{CheckpointError, OpenError};
use bulla_tlog::proof::ProofFormatError;
use bulla_tlog::submission::SubmissionError;
use bulla_tlog::tile::{TileId, TileLevel, build_tile, encode_bundle};
use bulla_tlog::tree::ProveError;
use bulla_tlog::{Checkpoint, Hash, Quorum, SignedCheckpoint, SignerKey, TlogProof, Tree};
use bulla_wire::ids::Digest;
use bulla_wire::leaf::Leaf;
use bulla_wire::units::UnixMillis;

use crate::ledger::{Queries, StoreError};
use witnessing::Witnessing;
pub use witnessing::{LogEffect, WitnessAnswer, WitnessTimes};

/// Leaves read from the store at once.
pub const PAGE_LEAVES: usize = 4096;

/// Length of a reference leaf: an array of two, its kind, a digest behind its length.
const REFERENCE_LEAF_BYTES: usize = 2 + 2 + 32;

/// Why the log cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The checkpoint cannot be stated.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint cannot be signed.
    #[error(transparent)]
    Sign(#[from] OpenError),
    /// No such leaf under the checkpoint.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The proof cannot be written.
    #[error(transparent)]
    Proof(#[from] ProofFormatError),
    /// The COSE Receipt cannot be made.
    #[error(transparent)]
    Receipt(#[from] InclusionReceiptError),
    /// The request to a witness cannot be written.
    #[error(transparent)]
    Submission(#[from] SubmissionError),
    /// Nothing is published yet, or nothing that covers what was asked for.
    #[error("the log has not published this yet: {why}")]
    NotPublished {
        /// What is waited for.
        why: String,
    },
    /// Not a tile of this tree.
    #[error("no tile {path:?} in a log of {size} leaves")]
    NoTile {
        /// The path asked for, cut.
        path: String,
        /// Leaves in the log.
        size: u64,
    },
}

/// Signs the checkpoint of `size` leaves with this root.
pub fn sign_checkpoint(
    key: &SignerKey,
    size: u64,
    root: Hash,
) -> Result<SignedCheckpoint, LogError> {
    Ok(Checkpoint::new(key.verifier().name(), size, root)?.sign(key)?)
}

/// The document of a reference leaf. Other leaves are told by their length and not read.
pub fn reference_values(leaf: &[u8]) -> Option<Digest> {
    match (leaf.len() == REFERENCE_LEAF_BYTES).then(|| Leaf::from_slice(leaf)) {
        Some(Ok(Leaf::ReferenceValues { document })) => Some(document),
        _ => None,
    }
}

/// Who cosigns, and when they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogRule {
    /// The witnesses and how many of them must cosign; without, every durable head is published.
    pub quorum: Option<Quorum>,
    /// When they are asked.
    pub times: WitnessTimes,
}

/// The tree, and the newest checkpoint that everybody may see.
pub struct Log {
    tree: Tree,
    /// Published reference values, by the digest their leaf holds.
    reference_values: BTreeMap<Digest, u64>,
    published: Option<SignedCheckpoint>,
    witnessing: Option<Witnessing>,
}

impl Log {
    /// Takes the log up from the store. Where witnesses are named, nothing is published yet: see
    /// [`Log::tend`].
    pub fn resume(rule: &LogRule, key: &SignerKey, view: &dyn Queries) -> Result<Log, LogError> {
        let quorum = rule.quorum.clone();
        let witnessing = quorum.map(|quorum| Witnessing::new(quorum, rule.times));
        let (tree, reference_values) = (Tree::new(), BTreeMap::new());
        let mut log = Log { tree, reference_values, published: None, witnessing };
        log.catch_up(view)?;
        if !log.is_witnessed() {
            log.tend(key, UnixMillis(0))?;
        }
        Ok(log)
    }

    /// Takes in leaves that became durable; true if there were any.
    pub fn catch_up(&mut self, view: &dyn Queries) -> Result<bool, LogError> {
        let before = self.tree.size();
        loop {
            let page = view.leaves(self.tree.size(), PAGE_LEAVES)?;
            for leaf in &page {
                if let Some(document) = reference_values(leaf) {
                    self.reference_values.entry(document).or_insert(self.tree.size());
                }
                self.tree.push(leaf);
            }
            if page.len() < PAGE_LEAVES {
                break;
            }
        }
        Ok(self.tree.size() != before)
    }

    /// Publishes the head, or has witnesses asked for it.
    pub fn tend(&mut self, key: &SignerKey, now: UnixMillis) -> Result<Vec<LogEffect>, LogError> {
        match &mut self.witnessing {
            Some(witnessing) => witnessing.tend(key, &self.tree, now),
            None => {
                let size = self.tree.size();
                if self.published.as_ref().is_some_and(|head| head.checkpoint().size() == size) {
                    return Ok(Vec::new());
                }
                self.published = Some(sign_checkpoint(key, size, self.tree.root())?);
                Ok(vec![LogEffect::Publish])
            }
        }
    }

    /// A witness showed the newest head it cosigned; `None`: it never cosigned one.
    pub fn seen(
        &mut self,
        witness: usize,
        newest: Result<Option<Vec<u8>>, String>,
        key: &SignerKey,
        now: UnixMillis,
    ) {
        if let Some(witnessing) = &mut self.witnessing {
            witnessing.seen(witness, newest, &key.verifier(), &self.tree, now);
        }
    }

    /// A witness answered to a head.
    pub fn answered(
        &mut self,
        witness: usize,
        answer: WitnessAnswer,
        now: UnixMillis,
    ) -> Vec<LogEffect> {
        let Some(witnessing) = &mut self.witnessing else { return Vec::new() };
        let effects = witnessing.answered(witness, answer, now);
        if effects.contains(&LogEffect::Publish) {
            self.published = witnessing.published().cloned();
        }
        effects
    }

    /// Why no head is signed any more, where that is so.
    pub fn halted(&self) -> Option<&str> {
        self.witnessing.as_ref().and_then(Witnessing::halted)
    }

    /// Whether witnesses are named.
    pub fn is_witnessed(&self) -> bool {
        self.witnessing.is_some()
    }

    /// The leaf that holds this manifest or root document of reference values.
    pub fn reference_values(&self, document: &Digest) -> Option<u64> {
        self.reference_values.get(document).copied()
    }

    /// Leaves in the log.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The newest checkpoint that everybody may see.
    pub fn published(&self) -> Result<&SignedCheckpoint, LogError> {
        self.published.as_ref().ok_or_else(|| {
            let waiting = self.witnessing.as_ref().map(Witnessing::waiting);
            let why = waiting.unwrap_or_else(|| "the broker has just started".to_owned());
            LogError::NotPublished { why }
        })
    }

    /// Leaves under the newest checkpoint that everybody may see.
    pub fn published_size(&self) -> u64 {
        self.published.as_ref().map_or(0, |head| head.checkpoint().size())
    }

    /// The root over the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, ProveError> {
        self.tree.root_at(size)
    }

    /// The head that covers leaf `index`, and the leaf's path there.
    fn covering(&self, index: u64) -> Result<(&SignedCheckpoint, Vec<Hash>), LogError> {
        let head = self.published()?;
        let size = head.checkpoint().size();
        if index >= size && index < self.tree.size() {
            let why = format!("leaf {index} is not under the published head of {size} leaves");
            return Err(LogError::NotPublished { why });
        }
        Ok((head, self.tree.inclusion_proof(index, size)?))
    }

    /// A tlog-proof of a leaf under the published head, with `extra` for whoever reads it.
    pub fn prove(&self, index: u64, extra: &[u8]) -> Result<String, LogError> {
        let (head, hashes) = self.covering(index)?;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", TlogProof::new(index, hashes, head, extra)?);
        Ok(text)
    }

    /// A COSE Receipt (RFC 9942) of a leaf under the published head.
    pub fn cose_receipt(&self, index: u64, key: &SignerKey) -> Result<Vec<u8>, LogError> {
        let (head, path) = self.covering(index)?;
        let size = head.checkpoint().size();
        let leaf = self.tree.leaf_hash(index).ok_or(ProveError::IndexOutOfRange { index, size })?;
        Ok(sign_inclusion(key, head, leaf, index, &path)?)
    }

    /// The bytes of a tile, by its path below the log's prefix (`tile/…`).
    pub fn tile(&self, path: &str, view: &dyn Queries) -> Result<Vec<u8>, LogError> {
        let size = self.published_size();
        let missing = || LogError::NoTile { path: path.chars().take(80).collect(), size };
        let id = TileId::parse(path).map_err(|_| missing())?;
        let widest = TileId::in_tree(id.level(), id.index(), size).ok_or_else(missing)?;
        if id.width() > widest.width() {
            return Err(missing());
        }
        match id.level() {
            TileLevel::Hashes(_) => build_tile(&self.tree, id).ok_or_else(missing),
            TileLevel::Entries => {
                let from = id.index().saturating_mul(256);
                let leaves = view.leaves(from, usize::from(id.width()))?;
                encode_bundle(&leaves).map_err(|_| missing())
            }
        }
    }
}
