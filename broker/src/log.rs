//! The log: a Merkle tree over the store's leaves. It grows only from what is durable, so a start
//! after a crash is the same code as any other moment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bulla_tlog::checkpoint::{CheckpointError, OpenError};
use bulla_tlog::proof::ProofFormatError;
use bulla_tlog::tile::{TileId, TileLevel, build_tile, encode_bundle};
use bulla_tlog::tree::ProveError;
use bulla_tlog::{Checkpoint, Hash, SignedCheckpoint, SignerKey, TlogProof, Tree};

use bulla_wire::ids::Digest;
use bulla_wire::leaf::Leaf;

use crate::ledger::{Queries, StoreError};

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

/// The tree and its newest checkpoint.
pub struct Log {
    tree: Tree,
    /// Published reference values, by the digest their leaf holds.
    reference_values: BTreeMap<Digest, u64>,
    checkpoint: SignedCheckpoint,
}

impl Log {
    /// Takes the log up from the store.
    pub fn resume(key: &SignerKey, view: &dyn Queries) -> Result<Log, LogError> {
        let tree = Tree::new();
        let checkpoint = sign_checkpoint(key, 0, tree.root())?;
        let mut log = Log { tree, reference_values: BTreeMap::new(), checkpoint };
        log.catch_up(key, view)?;
        Ok(log)
    }

    /// Takes in leaves that became durable; signs a new checkpoint if there were any.
    pub fn catch_up(&mut self, key: &SignerKey, view: &dyn Queries) -> Result<bool, LogError> {
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
        let (size, root) = (self.tree.size(), self.tree.root());
        if size == before {
            return Ok(false);
        }
        self.checkpoint = sign_checkpoint(key, size, root)?;
        Ok(true)
    }

    /// The leaf that holds this manifest or root document of reference values.
    pub fn reference_values(&self, document: &Digest) -> Option<u64> {
        self.reference_values.get(document).copied()
    }

    /// Leaves in the log.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The newest checkpoint.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The root over the first `size` leaves.
    pub fn root_at(&self, size: u64) -> Result<Hash, ProveError> {
        self.tree.root_at(size)
    }

    /// A tlog-proof of a leaf under the newest checkpoint.
    pub fn prove(&self, index: u64) -> Result<String, LogError> {
        let hashes = self.tree.inclusion_proof(index, self.tree.size())?;
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", TlogProof::new(index, hashes, &self.checkpoint, &[])?);
        Ok(text)
    }

    /// The bytes of a tile, by its path below the log's prefix (`tile/…`).
    pub fn tile(&self, path: &str, view: &dyn Queries) -> Result<Vec<u8>, LogError> {
        let size = self.tree.size();
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
