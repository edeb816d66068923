//! Entry bundles: 256 consecutive entries in one file.
//!
//! In scope: tlog-tiles, "Log entries": their bytes and their places. Out of scope: what an entry says, compression.
//! Trust: bytes are untrusted; each entry must still hash to its leaf in a level 0 tile.

use super::{FULL_WIDTH, TileError, grown, width_at};
use crate::hash::{LeafIndex, TreeSize};

/// An entry bundle: the entries from `index` · 256 on, `width` of them, 1 to 256. Displayed as its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bundle {
    index: u64,
    width: u16,
}

impl Bundle {
    /// A bundle by its coordinates, whether or not any log has it.
    ///
    /// # Errors
    /// [`TileError::BadTile`], of level 0, unless `width` is 1 to 256.
    pub fn new(index: u64, width: u16) -> Result<Self, TileError> {
        if width == 0 || width > FULL_WIDTH {
            return Err(TileError::BadTile { level: 0, width });
        }
        Ok(Self { index, width })
    }

    /// The bundle as it is in a log of `size` entries: full, partial, or none if it would be empty.
    pub fn at(index: u64, size: TreeSize) -> Option<Self> {
        let width = width_at(index, size.0);
        (width > 0).then_some(Self { index, width })
    }

    /// The bundle that holds entry `leaf` in a log of `size` entries, and the entry's position in it; none if the log
    /// has no such entry.
    pub fn holding(leaf: LeafIndex, size: TreeSize) -> Option<(Self, usize)> {
        if leaf.0 >= size.0 {
            return None;
        }
        let bundle = Self::at(leaf.0 / u64::from(FULL_WIDTH), size)?;
        // 256 entries a bundle: the low byte is the position.
        Some((bundle, usize::from(leaf.0.to_le_bytes()[0])))
    }

    /// The position among the bundles.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many entries it has, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }
}

/// The bundles to write when a log grows from `old` to `new` entries, left to right. From size 0 it is every bundle.
pub fn bundles_between(old: TreeSize, new: TreeSize) -> impl Iterator<Item = Bundle> {
    grown(old.0, new.0).map(|(index, width)| Bundle { index, width })
}

/// Appends an entry to the bytes of a bundle: its length as a big-endian u16, then the entry.
///
/// # Errors
/// [`TileError::EntryTooLong`] beyond [`crate::tiles::MAX_ENTRY_BYTES`]; then nothing is appended.
///
/// Spec: tlog-tiles, "Log entries".
pub fn append_entry(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TileError> {
    let too_long = TileError::EntryTooLong { len: entry.len() };
    let len = u16::try_from(entry.len()).map_err(|_| too_long)?;
    bundle.extend_from_slice(&len.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The entries of a bundle of `width` entries, borrowed from its bytes.
///
/// # Errors
/// [`TileError::TruncatedEntry`] if the bytes end before `width` entries, [`TileError::TrailingBytes`] if they go on.
///
/// Spec: tlog-tiles, "Log entries".
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, TileError> {
    let mut rest = bytes;
    let entries = (0..width).map(|entry| take_entry(&mut rest, entry, bytes.len()));
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    if !rest.is_empty() {
        return Err(TileError::TrailingBytes {
            offset: bytes.len() - rest.len(),
            found: rest.len(),
        });
    }
    Ok(entries)
}

fn take_entry<'a>(rest: &mut &'a [u8], entry: u16, total: usize) -> Result<&'a [u8], TileError> {
    let len = take(rest, 2, entry, total)?;
    let len = len
        .iter()
        .fold(0_usize, |len, byte| (len << 8) | usize::from(*byte));
    take(rest, len, entry, total)
}

/// Cuts `count` bytes off the front; `total` is the length of the bundle, so that errors can say where.
fn take<'a>(rest: &mut &'a [u8], count: usize, entry: u16, total: usize) -> Result<&'a [u8], TileError> {
    let bytes = *rest;
    let found = bytes.len();
    let (taken, left) = bytes.split_at_checked(count).ok_or(TileError::TruncatedEntry {
        entry,
        offset: total - found,
        expected: count,
        found,
    })?;
    *rest = left;
    Ok(taken)
}
