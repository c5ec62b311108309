//! The Merkle tree of RFC 6962 section 2.1 (the same in RFC 9162 section 2.1).

mod frontier;
mod range;
mod verify;

pub use frontier::{Frontier, FrontierError};
pub use verify::{
    ConsistencyError, IncludedLeaf, InclusionError, verify_consistency, verify_inclusion,
};

pub(crate) use range::{NodeSource, consistency_ranges, inclusion_ranges, range_hash};

use crate::hash::Hash;

/// Leaves a tree may have. RFC 6962 sets no limit; below 2^63 every index, size and
/// shift fits a `u64` and an `i64` alike.
pub const MAX_TREE_SIZE: u64 = i64::MAX as u64;

/// Hashes in one proof. A path in a tree of fewer than 2^63 leaves is no longer, and
/// C2SP tlog-witness allows no more in a request.
pub const MAX_PROOF_HASHES: usize = 63;

/// Why a proof or a root could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProveError {
    /// The leaf is not in a tree of this size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutOfRange {
        /// Zero-based leaf asked for.
        index: u64,
        /// Leaves in the tree asked about.
        size: u64,
    },
    /// The tree asked about is larger than the one at hand.
    #[error("a tree of {size} leaves was asked for, this one has {available}")]
    SizeBeyondTree {
        /// Leaves in the tree asked about.
        size: u64,
        /// Leaves at hand.
        available: u64,
    },
    /// The older tree is larger than the newer one.
    #[error("the older tree ({old_size} leaves) is larger than the newer ({new_size})")]
    OldBeyondNew {
        /// Leaves in the older tree.
        old_size: u64,
        /// Leaves in the newer tree.
        new_size: u64,
    },
}

/// An append-only tree that keeps the hash of every complete subtree, so that any root
/// and any proof of its past is a look-up of O(log n) hashes. About 64 bytes per leaf.
///
/// The leaves' bytes are not kept: whoever stores the log keeps them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// `levels[k][i]` covers leaves `i * 2^k .. (i + 1) * 2^k`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tree over these leaf hashes, in order: how a log comes back after a restart.
    pub fn from_leaf_hashes(hashes: impl IntoIterator<Item = Hash>) -> Self {
        let mut tree = Self::new();
        for hash in hashes {
            tree.push_hash(hash);
        }
        tree
    }

    /// Appends a leaf and returns its index. Amortised two hashes.
    pub fn push(&mut self, leaf: &[u8]) -> u64 {
        self.push_hash(Hash::leaf(leaf))
    }

    /// Appends a leaf by its hash ([`Hash::leaf`]) and returns its index.
    pub fn push_hash(&mut self, leaf_hash: Hash) -> u64 {
        let index = self.size();
        let mut hash = leaf_hash;
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(hash);
            match nodes.as_slice() {
                [.., left, right] if nodes.len().is_multiple_of(2) => {
                    hash = Hash::node(left, right);
                }
                _ => break,
            }
        }
        index
    }

    /// Leaves in the tree.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        self.frontier().root()
    }

    /// The root as it was when the tree had `size` leaves.
    ///
    /// # Errors
    /// [`ProveError::SizeBeyondTree`].
    pub fn root_at(&self, size: u64) -> Result<Hash, ProveError> {
        self.check_size(size)?;
        range_hash(&mut &*self, 0..size)
    }

    /// The hash of leaf `index`.
    pub fn leaf_hash(&self, index: u64) -> Option<Hash> {
        self.node(0, index)
    }

    /// The hash over leaves `index * 2^level .. (index + 1) * 2^level`, once all are there.
    pub fn node(&self, level: u32, index: u64) -> Option<Hash> {
        let nodes = self.levels.get(usize::try_from(level).ok()?)?;
        nodes.get(usize::try_from(index).ok()?).copied()
    }

    /// The inclusion proof of leaf `index` in the tree of `size` leaves, from the leaf's
    /// sibling up (RFC 6962 section 2.1.1).
    ///
    /// # Errors
    /// [`ProveError::SizeBeyondTree`], [`ProveError::IndexOutOfRange`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, ProveError> {
        self.check_size(size)?;
        let ranges = inclusion_ranges(index, size)?;
        ranges.into_iter().map(|range| range_hash(&mut &*self, range)).collect()
    }

    /// The proof that the tree of `new_size` leaves extends the one of `old_size`
    /// (RFC 6962 section 2.1.2). Empty where the sizes are equal or the old one is zero.
    ///
    /// # Errors
    /// [`ProveError::SizeBeyondTree`], [`ProveError::OldBeyondNew`].
    pub fn consistency_proof(&self, old_size: u64, new_size: u64) -> Result<Vec<Hash>, ProveError> {
        self.check_size(new_size)?;
        let ranges = consistency_ranges(old_size, new_size)?;
        ranges.into_iter().map(|range| range_hash(&mut &*self, range)).collect()
    }

    /// The same tree with bounded memory: O(log n) hashes.
    pub fn frontier(&self) -> Frontier {
        Frontier::of_tree(self)
    }

    fn check_size(&self, size: u64) -> Result<(), ProveError> {
        let available = self.size();
        if size > available {
            return Err(ProveError::SizeBeyondTree { size, available });
        }
        Ok(())
    }
}

impl NodeSource for &Tree {
    type Error = ProveError;

    fn node(&mut self, level: u32, index: u64) -> Result<Hash, ProveError> {
        Tree::node(self, level, index).ok_or(ProveError::SizeBeyondTree {
            size: index.saturating_add(1).saturating_mul(1 << level.min(62)),
            available: self.size(),
        })
    }
}
