//! Checking proofs: RFC 9162 sections 2.1.3.2 (inclusion) and 2.1.4.2 (consistency).

use super::{MAX_PROOF_HASHES, MAX_TREE_SIZE};
use crate::hash::Hash;

/// Why an inclusion proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InclusionError {
    /// More leaves than a tree may have.
    #[error("{got} leaves are more than a tree may have ({MAX_TREE_SIZE})")]
    SizeTooLarge {
        /// Leaves claimed.
        got: u64,
    },
    /// The leaf's index is not below the tree's size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    IndexOutOfRange {
        /// Zero-based leaf claimed.
        index: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The proof has more hashes than any proof.
    #[error("{got} hashes are more than a proof may have ({MAX_PROOF_HASHES})")]
    TooLong {
        /// Hashes given.
        got: usize,
    },
    /// The proof has not the length that index and size ask for.
    #[error("an inclusion proof for this leaf has {expected} hashes, got {got}")]
    WrongLength {
        /// Hashes on the path.
        expected: usize,
        /// Hashes given.
        got: usize,
    },
    /// The proof leads to another root: leaf, index, proof or root is not the log's.
    #[error("the inclusion proof leads to root {got}, expected {expected}")]
    RootMismatch {
        /// The root to be met.
        expected: Hash,
        /// The root computed.
        got: Hash,
    },
}

/// Why a consistency proof was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConsistencyError {
    /// More leaves than a tree may have.
    #[error("{got} leaves are more than a tree may have ({MAX_TREE_SIZE})")]
    SizeTooLarge {
        /// Leaves claimed.
        got: u64,
    },
    /// The tree shrank.
    #[error("the older tree ({old_size} leaves) is larger than the newer ({new_size})")]
    OldBeyondNew {
        /// Leaves in the older tree.
        old_size: u64,
        /// Leaves in the newer tree.
        new_size: u64,
    },
    /// The proof has more hashes than any proof.
    #[error("{got} hashes are more than a proof may have ({MAX_PROOF_HASHES})")]
    TooLong {
        /// Hashes given.
        got: usize,
    },
    /// The proof has not the length that the two sizes ask for.
    #[error("a consistency proof between these sizes has {expected} hashes, got {got}")]
    WrongLength {
        /// Hashes needed.
        expected: usize,
        /// Hashes given.
        got: usize,
    },
    /// A tree without leaves has one root only, and this is not it.
    #[error("a tree of no leaves has root {expected}, got {got}")]
    EmptyRootMismatch {
        /// SHA-256 of nothing.
        expected: Hash,
        /// The root claimed.
        got: Hash,
    },
    /// Same size, two roots: a forked log.
    #[error("two roots for one size: {old_root} and {new_root}; keep both as proof of a fork")]
    ForkedRoot {
        /// The root seen earlier.
        old_root: Hash,
        /// The root seen now.
        new_root: Hash,
    },
    /// The proof does not lead to the older root.
    #[error("the consistency proof leads to old root {got}, expected {expected}")]
    OldRootMismatch {
        /// The root seen earlier.
        expected: Hash,
        /// The root computed.
        got: Hash,
    },
    /// The proof does not lead to the newer root.
    #[error("the consistency proof leads to new root {got}, expected {expected}")]
    NewRootMismatch {
        /// The root seen now.
        expected: Hash,
        /// The root computed.
        got: Hash,
    },
}

/// A leaf that an inclusion proof tied to a root. Only verification makes one.
///
/// It says nothing about where the root came from: take it from a
/// [`SignedCheckpoint`](crate::SignedCheckpoint).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IncludedLeaf {
    leaf_hash: Hash,
    index: u64,
    size: u64,
    root: Hash,
}

impl IncludedLeaf {
    /// The leaf's hash.
    pub fn leaf_hash(&self) -> Hash {
        self.leaf_hash
    }

    /// The leaf's zero-based index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Leaves in the tree that holds it.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree that holds it.
    pub fn root(&self) -> Hash {
        self.root
    }
}

/// The shape of the path from leaf `index` to the root of a tree of `size` > `index`.
struct Path {
    /// Steps whose side the index tells: up to where the path meets the tree's right edge.
    inner: u32,
    /// Steps along the right edge, where the sibling is always on the left.
    border: u32,
}

impl Path {
    fn new(index: u64, size: u64) -> Self {
        let inner = u64::BITS - (index ^ (size - 1)).leading_zeros();
        // Sizes are below 2^63, so the shift is below 64.
        let border = (index >> inner).count_ones();
        Self { inner, border }
    }

    fn hashes(&self) -> usize {
        (self.inner + self.border) as usize
    }
}

/// Checks that the leaf with this hash is number `index` in the tree of `size` leaves
/// with this `root`. The proof goes from the leaf's sibling up.
///
/// # Errors
/// One variant per failed check.
pub fn verify_inclusion(
    leaf_hash: Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: Hash,
) -> Result<IncludedLeaf, InclusionError> {
    if size > MAX_TREE_SIZE {
        return Err(InclusionError::SizeTooLarge { got: size });
    }
    if index >= size {
        return Err(InclusionError::IndexOutOfRange { index, size });
    }
    let got = proof.len();
    if got > MAX_PROOF_HASHES {
        return Err(InclusionError::TooLong { got });
    }
    let path = Path::new(index, size);
    let expected = path.hashes();
    if got != expected {
        return Err(InclusionError::WrongLength { expected, got });
    }
    let mut hash = leaf_hash;
    for (step, sibling) in proof.iter().enumerate() {
        let on_the_right = step >= path.inner as usize || (index >> step) & 1 == 1;
        hash = if on_the_right { Hash::node(sibling, &hash) } else { Hash::node(&hash, sibling) };
    }
    if hash != root {
        return Err(InclusionError::RootMismatch { expected: root, got: hash });
    }
    Ok(IncludedLeaf { leaf_hash, index, size, root })
}

/// Checks that the tree of `new_size` leaves begins with the leaves of the tree of
/// `old_size`. The empty tree is consistent with every tree, by an empty proof.
///
/// # Errors
/// One variant per failed check.
pub fn verify_consistency(
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    new_root: Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    check_sizes(old_size, new_size)?;
    check_empty_root(old_size, old_root)?;
    check_empty_root(new_size, new_root)?;
    let got = proof.len();
    if got > MAX_PROOF_HASHES {
        return Err(ConsistencyError::TooLong { got });
    }
    if old_size == 0 || old_size == new_size {
        if got != 0 {
            return Err(ConsistencyError::WrongLength { expected: 0, got });
        }
        if old_size == new_size && old_root != new_root {
            return Err(ConsistencyError::ForkedRoot { old_root, new_root });
        }
        return Ok(());
    }
    let (old_got, new_got) = extend(old_size, old_root, new_size, proof)?;
    if old_got != old_root {
        return Err(ConsistencyError::OldRootMismatch { expected: old_root, got: old_got });
    }
    if new_got != new_root {
        return Err(ConsistencyError::NewRootMismatch { expected: new_root, got: new_got });
    }
    Ok(())
}

fn check_sizes(old_size: u64, new_size: u64) -> Result<(), ConsistencyError> {
    if new_size > MAX_TREE_SIZE {
        return Err(ConsistencyError::SizeTooLarge { got: new_size });
    }
    if old_size > new_size {
        return Err(ConsistencyError::OldBeyondNew { old_size, new_size });
    }
    Ok(())
}

fn check_empty_root(size: u64, root: Hash) -> Result<(), ConsistencyError> {
    let expected = Hash::empty_root();
    if size == 0 && root != expected {
        return Err(ConsistencyError::EmptyRootMismatch { expected, got: root });
    }
    Ok(())
}

/// The two roots that a proof leads to, for 0 < `old_size` < `new_size`.
fn extend(
    old_size: u64,
    old_root: Hash,
    new_size: u64,
    proof: &[Hash],
) -> Result<(Hash, Hash), ConsistencyError> {
    // The walk starts at the last complete subtree of the old tree, of 2^shift leaves.
    let shift = old_size.trailing_zeros();
    let last = old_size - 1;
    let whole = Path::new(last, new_size);
    let path = Path { inner: whole.inner - shift, border: whole.border };
    // Where that subtree is the whole old tree, its hash is the old root and is not sent.
    let seed_sent = !old_size.is_power_of_two();
    let (expected, got) = (path.hashes() + usize::from(seed_sent), proof.len());
    if got != expected {
        return Err(ConsistencyError::WrongLength { expected, got });
    }
    let (seed, siblings) = match proof.split_first() {
        Some((seed, siblings)) if seed_sent => (*seed, siblings),
        _ => (old_root, proof),
    };
    let (mut old_hash, mut new_hash) = (seed, seed);
    for (step, sibling) in siblings.iter().enumerate() {
        if step >= path.inner as usize || (last >> shift >> step) & 1 == 1 {
            old_hash = Hash::node(sibling, &old_hash);
            new_hash = Hash::node(sibling, &new_hash);
        } else {
            new_hash = Hash::node(&new_hash, sibling);
        }
    }
    Ok((old_hash, new_hash))
}
