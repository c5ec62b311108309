//! The right edge of a log's tiles: all that whoever writes tiles has to keep, at most 255 hashes a
//! level.

use super::{TILE_WIDTH, TileId, TileLevel, parse_tile};
use crate::hash::{HASH_BYTES, Hash};
use crate::tree::{Frontier, MAX_TREE_SIZE};

/// Why an edge could not be taken up from partial tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError<E> {
    /// More leaves than a tree may have.
    #[error("{got} leaves are more than a tree may have ({MAX_TREE_SIZE})")]
    SizeTooLarge {
        /// Leaves claimed.
        got: u64,
    },
    /// A partial tile cannot be read.
    #[error("tile {id} cannot be read: {source}")]
    Read {
        /// The tile.
        id: TileId,
        /// The reader's error.
        source: E,
    },
    /// A tile has another number of hashes than its place asks for.
    #[error("tile {id} does not hold its {} hashes", id.width())]
    Length {
        /// The tile.
        id: TileId,
    },
}

/// A log's tiles while they grow. Whole tiles are given out once, when they fill up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TileEdge {
    size: u64,
    /// Hashes of the partial tile of each level.
    levels: Vec<Vec<Hash>>,
}

/// A tile's name and bytes.
pub type WrittenTile = (TileId, Vec<u8>);

impl TileEdge {
    /// Of a log without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes an edge up from the partial tiles of a log of `size` leaves. Compare
    /// [`TileEdge::root`] with a trusted root before relying on it.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn resume<E>(
        size: u64,
        mut read: impl FnMut(TileId) -> Result<Vec<u8>, E>,
    ) -> Result<Self, EdgeError<E>> {
        if size > MAX_TREE_SIZE {
            return Err(EdgeError::SizeTooLarge { got: size });
        }
        let mut levels = Vec::new();
        let mut hashes = size;
        for level in 0.. {
            if hashes == 0 {
                break;
            }
            let index = hashes / u64::from(TILE_WIDTH);
            levels.push(match TileId::in_tree(TileLevel::Hashes(level), index, size) {
                None => Vec::new(),
                Some(id) => {
                    let bytes = read(id).map_err(|source| EdgeError::Read { id, source })?;
                    parse_tile(&bytes, id.width()).ok_or(EdgeError::Length { id })?
                }
            });
            hashes /= u64::from(TILE_WIDTH);
        }
        Ok(Self { size, levels })
    }

    /// Leaves pushed so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash and returns the hash tiles that it fills, lowest level first.
    pub fn push(&mut self, leaf_hash: Hash) -> Vec<WrittenTile> {
        self.size += 1;
        let (mut full, mut hash) = (Vec::new(), leaf_hash);
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            let hashes = &mut self.levels[level];
            hashes.push(hash);
            if hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            let index = (self.size >> (super::TILE_HEIGHT * (level as u32 + 1))) - 1;
            let id = TileId { level: TileLevel::Hashes(level as u8), index, width: TILE_WIDTH };
            hash = fold(hashes);
            full.push((id, bytes_of(&std::mem::take(hashes))));
        }
        full
    }

    /// The partial hash tiles as they stand.
    pub fn partial(&self) -> Vec<WrittenTile> {
        let mut tiles = Vec::new();
        for (level, hashes) in (0..).zip(&self.levels) {
            let index = self.size >> (super::TILE_HEIGHT * (u32::from(level) + 1));
            // Fewer than 256 hashes: the width fits.
            let width = hashes.len() as u16;
            if width > 0 {
                let id = TileId { level: TileLevel::Hashes(level), index, width };
                tiles.push((id, bytes_of(hashes)));
            }
        }
        tiles
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        let mut peaks = Vec::new();
        for hashes in self.levels.iter().rev() {
            let mut rest = hashes.as_slice();
            // Runs of powers of two, the largest first: the complete subtrees within a tile.
            for bit in (0..super::TILE_HEIGHT).rev() {
                let run = 1 << bit;
                if hashes.len() & run != 0
                    && let Some((these, others)) = rest.split_at_checked(run)
                {
                    peaks.push(fold(these));
                    rest = others;
                }
            }
        }
        // One peak per set bit of the size, by the loops above.
        Frontier::resume(self.size, peaks).map_or_else(|_| Hash::empty_root(), |edge| edge.root())
    }
}

fn bytes_of(hashes: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(hashes.len() * HASH_BYTES);
    hashes.iter().for_each(|hash| bytes.extend_from_slice(hash.as_bytes()));
    bytes
}

/// The hash over a run of 2^h hashes.
pub(super) fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Hash::empty_root(),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Hash::node(&fold(left), &fold(right))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{build_tile, new_tiles};
    use super::*;
    use crate::tree::Tree;

    #[test]
    fn writes_the_tiles_of_the_whole_tree_and_resumes_anywhere() {
        let (mut tree, mut edge) = (Tree::new(), TileEdge::new());
        let mut tiles: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
        for number in 0..66_000_u64 {
            let hash = Hash::leaf(&number.to_be_bytes());
            tree.push_hash(hash);
            tiles.extend(edge.push(hash));
            let size = number + 1;
            let around = |at: u64| size.abs_diff(at) < 2;
            if size < 3 || around(256) || around(511) || around(65_536) || size == 66_000 {
                tiles.extend(edge.partial());
                assert_eq!(edge.root(), tree.root(), "{size}");
                let read = |id: TileId| tiles.get(&id).cloned().ok_or(id);
                assert_eq!(TileEdge::resume(size, read).as_ref(), Ok(&edge), "{size}");
                for id in new_tiles(0, size).filter(|id| id.level() != TileLevel::Entries) {
                    assert_eq!(tiles.get(&id), build_tile(&tree, id).as_ref(), "{id}");
                }
            }
        }
    }

    #[test]
    fn refuses_tiles_that_are_not_there_or_too_short() {
        let missing = TileEdge::resume(3, Err::<Vec<u8>, _>);
        assert!(matches!(missing, Err(EdgeError::Read { .. })));
        let short = TileEdge::resume(3, |_| Ok::<_, ()>(vec![0; 64]));
        assert!(matches!(short, Err(EdgeError::Length { .. })));
        let got = u64::MAX;
        let large = TileEdge::resume(got, |_| Ok::<_, ()>(Vec::new()));
        assert_eq!(large, Err(EdgeError::SizeTooLarge { got }));
    }
}
