//! Proofs out of tiles: what a client of a log of static files does.

use std::collections::BTreeMap;

use super::edge::fold;
use super::{TILE_HEIGHT, TILE_WIDTH, TileId, TileLevel, parse_tile};
use crate::hash::Hash;
use crate::tree::{
    MAX_TREE_SIZE, NodeSource, ProveError, consistency_ranges, inclusion_ranges, range_hash,
};

/// Tiles kept in memory while proofs are made: at most 8 KiB each.
const MAX_CACHED_TILES: usize = 64;

/// Where tiles come from: a folder, a server, a map. A closure will do.
pub trait TileReader {
    /// Why a tile could not be had.
    type Error;

    /// The bytes of a hash tile. Where a partial one is gone, those of the full tile
    /// ([`TileId::full`]) will do.
    ///
    /// # Errors
    /// The reader's own.
    fn read_tile(&mut self, id: TileId) -> Result<Vec<u8>, Self::Error>;
}

impl<F, E> TileReader for F
where
    F: FnMut(TileId) -> Result<Vec<u8>, E>,
{
    type Error = E;

    fn read_tile(&mut self, id: TileId) -> Result<Vec<u8>, E> {
        self(id)
    }
}

/// Why a proof could not be made out of tiles.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileReadError<E> {
    /// The leaf or the size is not in this tree.
    #[error(transparent)]
    Prove(#[from] ProveError),
    /// The reader failed.
    #[error("tile {id} cannot be read: {source}")]
    Read {
        /// The tile.
        id: TileId,
        /// The reader's error.
        source: E,
    },
    /// A tile holds neither its own number of hashes nor a full tile's.
    #[error("tile {id} has {got} bytes, which are not its {} hashes", id.width())]
    Length {
        /// The tile.
        id: TileId,
        /// Bytes read.
        got: usize,
    },
}

/// A tree of a given size whose hashes are read from tiles as they are needed.
///
/// Tiles are **not** trusted and not checked here: verify each proof against a signed
/// checkpoint ([`verify_inclusion`](crate::verify_inclusion),
/// [`verify_consistency`](crate::verify_consistency)), which finds any false hash.
pub struct TiledTree<R> {
    reader: R,
    size: u64,
    cache: BTreeMap<TileId, Vec<Hash>>,
}

impl<R: TileReader> TiledTree<R> {
    /// A tree of `size` leaves, as a checkpoint states it.
    ///
    /// # Errors
    /// [`ProveError::SizeBeyondTree`] above [`MAX_TREE_SIZE`].
    pub fn new(reader: R, size: u64) -> Result<Self, ProveError> {
        if size > MAX_TREE_SIZE {
            let available = MAX_TREE_SIZE;
            return Err(ProveError::SizeBeyondTree { size, available });
        }
        Ok(Self { reader, size, cache: BTreeMap::new() })
    }

    /// The root that the tiles lead to; compare it with the checkpoint's.
    ///
    /// # Errors
    /// [`TileReadError::Read`], [`TileReadError::Length`].
    pub fn root(&mut self) -> Result<Hash, TileReadError<R::Error>> {
        range_hash(self, 0..self.size)
    }

    /// The hash of leaf `index`.
    ///
    /// # Errors
    /// As [`TileReadError`].
    pub fn leaf_hash(&mut self, index: u64) -> Result<Hash, TileReadError<R::Error>> {
        let size = self.size;
        if index >= size {
            return Err(ProveError::IndexOutOfRange { index, size }.into());
        }
        self.node(0, index)
    }

    /// The inclusion proof of leaf `index`, from the leaf's sibling up.
    ///
    /// # Errors
    /// As [`TileReadError`].
    pub fn inclusion_proof(&mut self, index: u64) -> Result<Vec<Hash>, TileReadError<R::Error>> {
        let ranges = inclusion_ranges(index, self.size)?;
        ranges.into_iter().map(|range| range_hash(self, range)).collect()
    }

    /// The proof that this tree extends the one of `old_size` leaves.
    ///
    /// # Errors
    /// As [`TileReadError`].
    pub fn consistency_proof(
        &mut self,
        old_size: u64,
    ) -> Result<Vec<Hash>, TileReadError<R::Error>> {
        let ranges = consistency_ranges(old_size, self.size)?;
        ranges.into_iter().map(|range| range_hash(self, range)).collect()
    }

    fn tile(&mut self, id: TileId) -> Result<&[Hash], TileReadError<R::Error>> {
        if !self.cache.contains_key(&id) {
            let read = self.reader.read_tile(id);
            let bytes = read.map_err(|source| TileReadError::Read { id, source })?;
            let got = bytes.len();
            let hashes = parse_tile(&bytes, id.width()).ok_or(TileReadError::Length { id, got })?;
            if self.cache.len() >= MAX_CACHED_TILES {
                self.cache.clear();
            }
            self.cache.insert(id, hashes);
        }
        Ok(self.cache.get(&id).map_or(&[], Vec::as_slice))
    }
}

impl<R: TileReader> NodeSource for TiledTree<R> {
    type Error = TileReadError<R::Error>;

    /// A node between two levels of tiles is the hash over a run of the lower tile.
    fn node(&mut self, level: u32, index: u64) -> Result<Hash, Self::Error> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        let run = 1_u64 << height;
        let tiles_wide = u64::from(TILE_WIDTH) >> height;
        let (tile_index, start) = (index / tiles_wide, index % tiles_wide * run);
        let beyond =
            ProveError::IndexOutOfRange { index, size: self.size.checked_shr(level).unwrap_or(0) };
        // Levels of a u64 tree end below 64, those of its tiles below 8.
        let tile_level = TileLevel::Hashes(tile_level as u8);
        let id = TileId::in_tree(tile_level, tile_index, self.size).ok_or(beyond)?;
        let run = start as usize..(start + run) as usize;
        let hashes = self.tile(id)?.get(run).ok_or(beyond)?;
        Ok(fold(hashes))
    }
}
