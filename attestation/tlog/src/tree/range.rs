//! Which leaves each hash of a proof covers, apart from where the hashes are kept.

use std::ops::Range;

use super::ProveError;
use crate::hash::Hash;

/// Where the hashes of complete subtrees are kept: a tree in memory, or tiles.
pub(crate) trait NodeSource {
    /// Why a hash could not be had.
    type Error;

    /// The hash over leaves `index * 2^level .. (index + 1) * 2^level`.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// The largest power of two below `leaves`, which is at least 2: where RFC 6962 splits.
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

/// The ranges of leaves whose hashes prove leaf `index` in a tree of `size`, lowest first.
pub(crate) fn inclusion_ranges(index: u64, size: u64) -> Result<Vec<Range<u64>>, ProveError> {
    if index >= size {
        return Err(ProveError::IndexOutOfRange { index, size });
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    ranges.reverse();
    Ok(ranges)
}

/// The ranges of leaves whose hashes prove that `new_size` extends `old_size`.
pub(crate) fn consistency_ranges(
    old_size: u64,
    new_size: u64,
) -> Result<Vec<Range<u64>>, ProveError> {
    if old_size > new_size {
        return Err(ProveError::OldBeyondNew { old_size, new_size });
    }
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, new_size);
    while old_size > 0 && old_size < end {
        let middle = start + split(end - start);
        if old_size <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(start..middle);
            start = middle;
        }
    }
    // Reached by going right at least once, the last subtree is not the old tree itself,
    // whose root the verifier has, and so its hash has to be sent.
    if start > 0 {
        ranges.push(start..end);
    }
    ranges.reverse();
    Ok(ranges)
}

/// The complete subtrees (level, index) that make up a range of the tree, left to right.
pub(crate) fn peaks(range: Range<u64>) -> impl DoubleEndedIterator<Item = (u32, u64)> {
    let leaves = range.end - range.start;
    (0..64).rev().filter(move |level| (leaves >> level) & 1 == 1).map(move |level| {
        // Everything larger than this subtree stands to its left.
        let start = range.start + (((leaves >> level) & !1) << level);
        (level, start >> level)
    })
}

/// The hash over a range of leaves that RFC 6962 hashes as one subtree.
pub(crate) fn range_hash<S: NodeSource>(
    source: &mut S,
    range: Range<u64>,
) -> Result<Hash, S::Error> {
    let mut root = None;
    for (level, index) in peaks(range).rev() {
        let peak = source.node(level, index)?;
        root = Some(match root {
            Some(right) => Hash::node(&peak, &right),
            None => peak,
        });
    }
    Ok(root.unwrap_or_else(Hash::empty_root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_below_the_size() {
        let pairs = [(2, 1), (3, 2), (4, 2), (5, 4), (8, 4), (9, 8)];
        assert!(pairs.iter().all(|&(size, at)| split(size) == at));
    }

    #[test]
    fn peaks_cover_the_range_in_order() {
        assert_eq!(peaks(0..0).count(), 0);
        assert_eq!(peaks(0..7).collect::<Vec<_>>(), [(2, 0), (1, 2), (0, 6)]);
        assert_eq!(peaks(8..13).collect::<Vec<_>>(), [(2, 2), (0, 12)]);
    }

    #[test]
    fn ranges_of_the_rfc_example() {
        // RFC 6962 section 2.1.3, the tree of seven leaves.
        let of = |index| inclusion_ranges(index, 7).unwrap();
        assert_eq!(of(0), [1..2, 2..4, 4..7]);
        assert_eq!(of(3), [2..3, 0..2, 4..7]);
        assert_eq!(of(6), [4..6, 0..4]);
        let between = |old| consistency_ranges(old, 7).unwrap();
        assert_eq!(between(3), [2..3, 3..4, 0..2, 4..7]);
        assert_eq!(between(4), std::slice::from_ref(&(4..7)));
        assert_eq!(between(6), [4..6, 6..7, 0..4]);
        assert!(between(0).is_empty() && between(7).is_empty());
    }
}
