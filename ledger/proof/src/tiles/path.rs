//! The paths of tiles and bundles, both ways. There is one path for each: parsing refuses all others.
//!
//! In scope: `tile/<L>/<N>[.p/<W>]`, `tile/entries/<N>[.p/<W>]` (tlog-tiles, "Merkle Tree", "Log entries").
//! Out of scope: prefixes of URLs and folders. Trust: paths are untrusted; what parses is safe as a relative file path.

use std::fmt;
use std::str::FromStr;

use super::{Bundle, FULL_WIDTH, Tile, TileError};

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level())?;
        write_place(f, self.index(), self.width())
    }
}

impl FromStr for Tile {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let parts = path.strip_prefix("tile/").and_then(|rest| rest.split_once('/'));
        let tile = parts.and_then(|(level, place)| {
            let (index, width) = read_place(place)?;
            Self::new(level.parse().ok()?, index, width).ok()
        });
        only_spelling(tile, path)
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tile/entries/")?;
        write_place(f, self.index(), self.width())
    }
}

impl FromStr for Bundle {
    type Err = TileError;

    fn from_str(path: &str) -> Result<Self, TileError> {
        let place = path.strip_prefix("tile/entries/").and_then(read_place);
        only_spelling(
            place.and_then(|(index, width)| Self::new(index, width).ok()),
            path,
        )
    }
}

/// Refuses leading zeroes, signs and the like, whatever they are: what was read must be written the same.
fn only_spelling<T: fmt::Display>(parsed: Option<T>, path: &str) -> Result<T, TileError> {
    parsed
        .filter(|parsed| parsed.to_string() == path)
        .ok_or_else(|| TileError::BadPath {
            path: path.chars().take(128).collect(),
        })
}

/// `<N>[.p/<W>]`.
fn write_place(f: &mut fmt::Formatter<'_>, index: u64, width: u16) -> fmt::Result {
    write_groups(f, index / 1000)?;
    write!(f, "{:03}", index % 1000)?;
    if width == FULL_WIDTH {
        Ok(())
    } else {
        write!(f, ".p/{width}")
    }
}

/// All but the last three digits, at most six groups: `x001/x234/`.
fn write_groups(f: &mut fmt::Formatter<'_>, groups: u64) -> fmt::Result {
    if groups == 0 {
        return Ok(());
    }
    write_groups(f, groups / 1000)?;
    write!(f, "x{:03}/", groups % 1000)
}

/// Reads at least all that [`write_place`] writes.
fn read_place(place: &str) -> Option<(u64, u16)> {
    let (digits, width) = match place.split_once(".p/") {
        Some((digits, width)) => (digits, width.parse().ok()?),
        None => (place, FULL_WIDTH),
    };
    let index = digits.split('/').try_fold(0_u64, |index, group| {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index.checked_mul(1000)?.checked_add(group)
    })?;
    Some((index, width))
}
