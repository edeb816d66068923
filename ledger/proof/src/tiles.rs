//! The tree and the entries of a log as files: tiles and entry bundles, their names, what is in them.
//!
//! In scope: C2SP tlog-tiles: coordinates and paths, which files a tree of some size consists of, entry bundles, and
//! reading subtree hashes out of tiles ([`TileReader`]). Out of scope: reading and writing files, checkpoints, pruning.
//!
//! Trust: paths and bytes are untrusted. Hashes out of tiles prove nothing until the root they lead to equals that of a
//! verified checkpoint ([`crate::tree`]).

mod bundle;
mod path;
mod reader;

use crate::hash::TreeSize;

pub use bundle::{Bundle, append_entry, bundles_between, parse_bundle};
pub use reader::{NodePlace, ReadError, RecentTiles, TileCache, TileReader};

/// The hashes of a full tile, and the entries of a full bundle.
pub const FULL_WIDTH: u16 = 256;

/// The longest entry a bundle can hold, in bytes: its length is a u16.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// The highest level a tile path may name; trees of u64 sizes only reach level 7.
const MAX_LEVEL: u8 = 63;

/// The levels of tiles that a tree of a u64 size can have, at eight tree levels each.
const LEVELS: u8 = 8;

const HASH_BYTES: usize = 32;

/// A tile: `width` consecutive hashes, 1 to 256, of complete subtrees of 256^`level` leaves. Displayed as its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    width: u16,
}

impl Tile {
    /// A tile by its coordinates, whether or not any tree has it.
    ///
    /// # Errors
    /// [`TileError::BadTile`] unless `level` is at most 63 and `width` is 1 to 256.
    ///
    /// Spec: tlog-tiles, "Merkle Tree".
    pub fn new(level: u8, index: u64, width: u16) -> Result<Self, TileError> {
        if level > MAX_LEVEL || width == 0 || width > FULL_WIDTH {
            return Err(TileError::BadTile { level, width });
        }
        Ok(Self { level, index, width })
    }

    /// The tile as it is in a tree of `size` leaves: full, partial, or none if it would be empty.
    ///
    /// Spec: tlog-tiles, "Partial Tiles".
    pub fn at(level: u8, index: u64, size: TreeSize) -> Option<Self> {
        let hashes = size.0.checked_shr(8 * u32::from(level))?;
        let width = width_at(index, hashes);
        (width > 0).then_some(Self { level, index, width })
    }

    /// Counts from the leaf hashes (0); each level stands for eight levels of the tree.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// The position among the tiles of the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes it has, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never grow again.
    pub fn is_full(&self) -> bool {
        self.width == FULL_WIDTH
    }

    /// Its length in bytes, at most 8,192.
    pub fn byte_len(&self) -> usize {
        usize::from(self.width) * HASH_BYTES
    }

    /// The full tile in the same place. It begins with the hashes of this one, and may outlive it on a server.
    #[must_use]
    pub fn full(&self) -> Self {
        Self {
            width: FULL_WIDTH,
            ..*self
        }
    }
}

/// The tiles to write when a tree grows from `old` to `new` leaves: those that are new or wider than before, level by
/// level, left to right. From size 0 it is every tile of the tree. None if the tree does not grow.
///
/// Spec: tlog-tiles, "Partial Tiles".
pub fn tiles_between(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        let shift = 8 * u32::from(level);
        let grown = grown(old.0 >> shift, new.0 >> shift);
        grown.map(move |(index, width)| Tile { level, index, width })
    })
}

/// The groups of 256, as (index, width), that change when a level grows from `old` to `new` items.
fn grown(old: u64, new: u64) -> impl Iterator<Item = (u64, u16)> {
    let first = old / u64::from(FULL_WIDTH);
    let end = if new > old {
        new.div_ceil(u64::from(FULL_WIDTH))
    } else {
        first
    };
    (first..end).map(move |index| (index, width_at(index, new)))
}

/// How many of `items` fall into group `index` of 256.
fn width_at(index: u64, items: u64) -> u16 {
    let left = items.saturating_sub(index.saturating_mul(u64::from(FULL_WIDTH)));
    u16::try_from(left).map_or(FULL_WIDTH, |width| width.min(FULL_WIDTH))
}

/// What is wrong with a tile, a bundle or a path, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TileError {
    /// Not the one path that a tile or a bundle has.
    #[error("{path:?} is not the path of a tile or an entry bundle")]
    BadPath {
        /// As given, cut off after 128 characters.
        path: String,
    },
    /// No tile has this level or width.
    #[error("there is no tile of level {level} and width {width}")]
    BadTile {
        /// Must be at most 63.
        level: u8,
        /// Must be 1 to 256.
        width: u16,
    },
    /// The bytes are not as many hashes as the tile is wide.
    #[error("{tile} must have {expected} bytes and has {found}")]
    WrongLength {
        /// The tile.
        tile: Tile,
        /// Bytes, by its width.
        expected: usize,
        /// Bytes there are.
        found: usize,
    },
    /// The tree has no such complete subtree.
    #[error("a tree of {size} leaves has no complete subtree at index {index} of level {level}")]
    NoSuchNode {
        /// The subtree spans 2^level leaves.
        level: u8,
        /// The position among the subtrees of that level.
        index: u64,
        /// The size of the tree.
        size: TreeSize,
    },
    /// A bundle ends within an entry or before the last.
    #[error("entry {entry} of the bundle, at byte {offset}, needs {expected} bytes and has {found}")]
    TruncatedEntry {
        /// The position of the entry in the bundle.
        entry: u16,
        /// Where its bytes, or the two bytes of its length, should begin.
        offset: usize,
        /// Bytes that should follow there.
        expected: usize,
        /// Bytes that do.
        found: usize,
    },
    /// A bundle goes on after its last entry.
    #[error("{found} bytes follow the last entry of the bundle at byte {offset}")]
    TrailingBytes {
        /// Where the last entry ends.
        offset: usize,
        /// Bytes after it.
        found: usize,
    },
    /// An entry is longer than [`MAX_ENTRY_BYTES`].
    #[error("an entry of {len} bytes does not fit into a bundle")]
    EntryTooLong {
        /// Its length in bytes.
        len: usize,
    },
}
