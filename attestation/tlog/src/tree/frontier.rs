//! The right edge of a tree: all an auditor needs to recompute the root leaf by leaf.

use super::range::peaks;
use super::{MAX_TREE_SIZE, Tree};
use crate::hash::Hash;

/// Why a stored frontier could not be taken up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// More leaves than a tree may have.
    #[error("{got} leaves are more than a tree may have ({MAX_TREE_SIZE})")]
    SizeTooLarge {
        /// Leaves claimed.
        got: u64,
    },
    /// The number of hashes does not fit the size.
    #[error("a frontier of {size} leaves has {expected} hashes, got {got}")]
    WrongLength {
        /// Leaves claimed.
        size: u64,
        /// One hash per set bit of the size.
        expected: usize,
        /// Hashes given.
        got: usize,
    },
}

/// A tree of which only the complete subtrees on the right edge are kept: at most 63
/// hashes, however many leaves went in. Knows its root, makes no proofs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    /// Complete subtrees, largest (leftmost) first.
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up a frontier written down as [`Frontier::size`] and [`Frontier::peaks`].
    /// Compare [`Frontier::root`] with a trusted root before relying on it.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn resume(size: u64, peaks: Vec<Hash>) -> Result<Self, FrontierError> {
        if size > MAX_TREE_SIZE {
            return Err(FrontierError::SizeTooLarge { got: size });
        }
        let (expected, got) = (size.count_ones() as usize, peaks.len());
        if got != expected {
            return Err(FrontierError::WrongLength { size, expected, got });
        }
        Ok(Self { size, peaks })
    }

    pub(super) fn of_tree(tree: &Tree) -> Self {
        let size = tree.size();
        let peaks = peaks(0..size).filter_map(|(level, index)| tree.node(level, index));
        Self { size, peaks: peaks.collect() }
    }

    /// Appends a leaf and returns its index.
    pub fn push(&mut self, leaf: &[u8]) -> u64 {
        self.push_hash(Hash::leaf(leaf))
    }

    /// Appends a leaf by its hash ([`Hash::leaf`]) and returns its index.
    pub fn push_hash(&mut self, leaf_hash: Hash) -> u64 {
        let index = self.size;
        let mut hash = leaf_hash;
        // Each trailing one of the old size is a subtree that the new leaf completes.
        for _ in 0..index.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = Hash::node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
        index
    }

    /// Leaves pushed so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes to write down for [`Frontier::resume`], leftmost first.
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let folded = self.peaks.iter().rev().copied();
        folded.reduce(|right, left| Hash::node(&left, &right)).unwrap_or_else(Hash::empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resumes_where_it_stopped() {
        let mut whole = Frontier::new();
        for leaf in 0..21_u8 {
            let mut taken_up = Frontier::resume(whole.size(), whole.peaks().to_vec()).unwrap();
            whole.push(&[leaf]);
            taken_up.push(&[leaf]);
            assert_eq!(whole, taken_up);
        }
    }

    #[test]
    fn refuses_a_frontier_of_the_wrong_length() {
        let got = Frontier::resume(3, vec![Hash::leaf(b"")]);
        let expected = FrontierError::WrongLength { size: 3, expected: 2, got: 1 };
        assert_eq!(got, Err(expected));
        let too_large = Frontier::resume(u64::MAX, vec![Hash::leaf(b""); 64]);
        assert_eq!(too_large, Err(FrontierError::SizeTooLarge { got: u64::MAX }));
    }
}
