//! A log as static files (C2SP tlog-tiles): which tiles there are, how they are called,
//! what stands in them, and how proofs are read back out of them.
//!
//! A tile of level *l* holds up to 256 hashes, each over 256^*l* leaves; an entry bundle
//! holds the leaves under one tile of level 0. What is not full yet is *partial*: its
//! width stands in its path.

mod bundle;
mod edge;
mod read;

use std::fmt;

pub use bundle::{BundleError, MAX_ENTRY_BYTES, decode_bundle, encode_bundle};
pub use edge::{EdgeError, TileEdge, WrittenTile};
pub use read::{TileReadError, TileReader, TiledTree};

use crate::hash::{HASH_BYTES, Hash};
use crate::strict;
use crate::tree::Tree;

/// Levels of the tree that one tile spans.
pub const TILE_HEIGHT: u32 = 8;

/// Hashes in a full tile, leaves in a full bundle.
pub const TILE_WIDTH: u16 = 1 << TILE_HEIGHT;

/// Highest level a path may name (C2SP tlog-tiles). Trees below 2^63 leaves end at 7.
pub const MAX_TILE_LEVEL: u8 = 63;

/// Bytes in a tile's path: `tile/entries/`, seven elements of up to five, `.p/255`.
pub const MAX_TILE_PATH_BYTES: usize = 52;

/// Why a path names no tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TilePathError {
    /// The path is too long.
    #[error("the tile path has {got} bytes, at most {MAX_TILE_PATH_BYTES} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
    },
    /// The path does not begin with `tile/`.
    #[error("a tile path begins with tile/")]
    Prefix,
    /// Neither a level nor `entries`.
    #[error("the tile level is neither entries nor a decimal up to {MAX_TILE_LEVEL}")]
    Level,
    /// The index is not written in groups of three digits the one way it may be.
    #[error("the tile index is not written in groups of three digits, all but the last with x")]
    Index,
    /// The width of a partial tile is not between 1 and 255.
    #[error("the width of a partial tile is not a decimal between 1 and 255")]
    Width,
}

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileLevel {
    /// The leaves themselves.
    Entries,
    /// Hashes, each over 256^level leaves.
    Hashes(u8),
}

/// Names one tile, or one entry bundle, at one width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: TileLevel,
    index: u64,
    width: u16,
}

impl TileId {
    /// The tile at this place in a log of `size` leaves, as wide as it is there; `None`
    /// where it is empty.
    pub fn in_tree(level: TileLevel, index: u64, size: u64) -> Option<Self> {
        let start = index.checked_mul(TILE_WIDTH.into())?;
        let present = hashes_at(level, size).checked_sub(start)?;
        match u16::try_from(present).unwrap_or(TILE_WIDTH) {
            0 => None,
            present => Some(Self { level, index, width: present.min(TILE_WIDTH) }),
        }
    }

    /// What the tile holds.
    pub fn level(&self) -> TileLevel {
        self.level
    }

    /// Its place within the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or leaves in it, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it is still growing.
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The full tile at the same place: what to fetch where a partial one is gone.
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Parses a path below the log's prefix: `tile/<L>/<N>[.p/<W>]`, `tile/entries/…`.
    ///
    /// # Errors
    /// One variant per failed check.
    pub fn parse(path: &str) -> Result<Self, TilePathError> {
        if path.len() > MAX_TILE_PATH_BYTES {
            return Err(TilePathError::TooLong { got: path.len() });
        }
        let rest = path.strip_prefix("tile/").ok_or(TilePathError::Prefix)?;
        let (level, rest) = rest.split_once('/').ok_or(TilePathError::Level)?;
        let level = parse_level(level)?;
        let (index, width) = match rest.split_once(".p/") {
            Some((index, width)) => (index, parse_width(width)?),
            None => (rest, TILE_WIDTH),
        };
        let index = parse_index(index)?;
        Ok(Self { level, index, width })
    }
}

impl fmt::Display for TileId {
    /// The path below the log's prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            TileLevel::Entries => f.write_str("tile/entries/")?,
            TileLevel::Hashes(level) => write!(f, "tile/{level}/")?,
        }
        f.write_str(&index_path(self.index))?;
        if self.is_partial() {
            write!(f, ".p/{}", self.width)?;
        }
        Ok(())
    }
}

/// Hashes (or leaves) that a log of `size` leaves has at a level.
fn hashes_at(level: TileLevel, size: u64) -> u64 {
    let shift = match level {
        TileLevel::Entries => 0,
        TileLevel::Hashes(level) => TILE_HEIGHT * u32::from(level),
    };
    size.checked_shr(shift).unwrap_or(0)
}

fn parse_level(text: &str) -> Result<TileLevel, TilePathError> {
    if text == "entries" {
        return Ok(TileLevel::Entries);
    }
    match strict::decimal(text).map(u8::try_from) {
        Some(Ok(level)) if level <= MAX_TILE_LEVEL => Ok(TileLevel::Hashes(level)),
        _ => Err(TilePathError::Level),
    }
}

fn parse_width(text: &str) -> Result<u16, TilePathError> {
    match strict::decimal(text).map(u16::try_from) {
        Some(Ok(width)) if (1..TILE_WIDTH).contains(&width) => Ok(width),
        _ => Err(TilePathError::Width),
    }
}

/// Digits in one element of an index's path.
const GROUP: usize = 3;

/// 1234067 as `x001/x234/067`.
fn index_path(index: u64) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path.insert_str(0, &format!("x{:03}/", rest % 1000));
        rest /= 1000;
    }
    path
}

fn parse_index(text: &str) -> Result<u64, TilePathError> {
    let groups: Vec<&str> = text.split('/').collect();
    let mut index = 0_u64;
    for (at, group) in groups.iter().enumerate() {
        let last = at + 1 == groups.len();
        let digits = if last { Some(*group) } else { group.strip_prefix('x') };
        let number = digits
            .filter(|digits| digits.len() == GROUP && digits.bytes().all(|d| d.is_ascii_digit()))
            .and_then(|digits| digits.parse::<u64>().ok())
            .ok_or(TilePathError::Index)?;
        index = index
            .checked_mul(1000)
            .and_then(|index| index.checked_add(number))
            .ok_or(TilePathError::Index)?;
    }
    // Groups of zeroes in front would give one tile many paths.
    if index_path(index) != text {
        return Err(TilePathError::Index);
    }
    Ok(index)
}

/// Every tile and bundle that a log writes when it grows from `old_size` to `new_size`
/// leaves: bundles first, then tiles by level. From zero, it is all of them.
pub fn new_tiles(old_size: u64, new_size: u64) -> impl Iterator<Item = TileId> {
    let levels = (0..=MAX_TILE_LEVEL).map(TileLevel::Hashes);
    std::iter::once(TileLevel::Entries).chain(levels).flat_map(move |level| {
        let (old, new) = (hashes_at(level, old_size), hashes_at(level, new_size));
        let width = u64::from(TILE_WIDTH);
        // Nothing new at this level, nothing to write: the range is empty.
        let end = if new > old { new.div_ceil(width) } else { 0 };
        (old / width..end).filter_map(move |index| TileId::in_tree(level, index, new_size))
    })
}

/// The bytes of a hash tile; `None` for an entry bundle, whose leaves the tree does not
/// keep, and for a tile that the tree does not reach.
pub fn build_tile(tree: &Tree, id: TileId) -> Option<Vec<u8>> {
    let TileLevel::Hashes(level) = id.level else {
        return None;
    };
    let level = TILE_HEIGHT * u32::from(level);
    let start = id.index.checked_mul(TILE_WIDTH.into())?;
    let mut bytes = Vec::with_capacity(usize::from(id.width) * HASH_BYTES);
    for offset in 0..u64::from(id.width) {
        let hash = tree.node(level, start.checked_add(offset)?)?;
        bytes.extend_from_slice(hash.as_bytes());
    }
    Some(bytes)
}

/// The hashes in a tile's bytes; `None` unless there are exactly `width` of them, or a
/// full tile's worth, of which the first `width` count (a grown tile begins with them).
pub fn parse_tile(bytes: &[u8], width: u16) -> Option<Vec<Hash>> {
    let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
    let fits = hashes.len() == usize::from(width) || hashes.len() == usize::from(TILE_WIDTH);
    if !rest.is_empty() || !fits {
        return None;
    }
    let hashes = hashes.iter().take(width.into());
    Some(hashes.copied().map(Hash::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(level: u8, index: u64, size: u64) -> Option<TileId> {
        TileId::in_tree(TileLevel::Hashes(level), index, size)
    }

    #[test]
    fn writes_and_reads_paths() {
        let index = 1_234_067;
        let whole = hashes(0, index, u64::MAX).unwrap();
        assert_eq!(whole.to_string(), "tile/0/x001/x234/067");
        let partial = TileId::in_tree(TileLevel::Entries, index, index * 256 + 8).unwrap();
        assert_eq!(partial.to_string(), "tile/entries/x001/x234/067.p/8");
        for id in [whole, partial, hashes(7, 0, 1 << 56).unwrap()] {
            assert_eq!(TileId::parse(&id.to_string()), Ok(id));
        }
        let longest = TileId { level: TileLevel::Entries, index: u64::MAX, width: 255 };
        assert_eq!(longest.to_string().len(), MAX_TILE_PATH_BYTES);
        assert_eq!(TileId::parse(&longest.to_string()), Ok(longest));
    }

    #[test]
    fn refuses_paths_written_otherwise() {
        use TilePathError::{Index, Level, Prefix, Width};
        let wrong = [
            ("", Prefix),
            ("tiles/0/000", Prefix),
            ("tile/0", Level),
            ("tile/64/000", Level),
            ("tile/00/000", Level),
            ("tile/-1/000", Level),
            ("tile/Entries/000", Level),
            ("tile/0/", Index),
            ("tile/0/0", Index),
            ("tile/0/0000", Index),
            ("tile/0/x000/001", Index),
            ("tile/0/001/001", Index),
            ("tile/0/x001", Index),
            ("tile/0/x001/", Index),
            ("tile/0/x99/x999/x999/x999/x999/x999/999", Index),
            ("tile/0/x999/x999/x999/x999/x999/x999/999", Index),
            ("tile/0/+01", Index),
            ("tile/0/000.p", Index),
            ("tile/0/000.p/", Width),
            ("tile/0/000.p/0", Width),
            ("tile/0/000.p/01", Width),
            ("tile/0/000.p/256", Width),
            ("tile/0/000.p/1/", Width),
        ];
        for (path, error) in wrong {
            assert_eq!(TileId::parse(path), Err(error), "{path}");
        }
        let long = "tile/0/".repeat(9);
        let expected = TilePathError::TooLong { got: long.len() };
        assert_eq!(TileId::parse(&long), Err(expected));
    }

    #[test]
    fn counts_the_tiles_of_the_specification_s_example() {
        let all: Vec<TileId> = new_tiles(0, 70_000).collect();
        let count = |level, partial| {
            let at = |id: &&TileId| id.level == level && id.is_partial() == partial;
            all.iter().filter(at).count()
        };
        assert_eq!(count(TileLevel::Hashes(0), false), 273);
        assert_eq!(count(TileLevel::Hashes(1), false), 1);
        let partial: Vec<String> =
            all.iter().filter(|id| id.is_partial()).map(TileId::to_string).collect();
        let expected =
            ["tile/entries/273.p/112", "tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"];
        assert_eq!(partial, expected);
    }

    #[test]
    fn a_tree_of_256_has_a_full_tile_and_a_partial_one_above() {
        let paths: Vec<String> = new_tiles(255, 256).map(|id| id.to_string()).collect();
        assert_eq!(paths, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(new_tiles(256, 256).count(), 0);
        assert_eq!(new_tiles(300, 256).count(), 0);
    }

    #[test]
    fn no_tile_beyond_the_tree() {
        assert_eq!(hashes(0, 1, 256), None);
        assert_eq!(hashes(63, 0, u64::MAX), None);
        assert_eq!(hashes(0, u64::MAX, u64::MAX), None);
    }
}
