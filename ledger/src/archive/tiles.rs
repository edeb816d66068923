//! Writing a shard's tlog-tiles folder while leaves are appended.
//!
//! In scope: tiles, bundles and their partial forms for every checkpoint; taking up where a checkpoint left off.
//! Out of scope: the checkpoint file (the sequencer signs it last). Nothing here is synced file by file: all of it is
//! derived, see [`TreeWriter::sync`]. Trust: what is read back is compared with a registered root by the caller.

use std::fs;
use std::path::{Path, PathBuf};

use sharetrail_proof::hash::{Hash, LeafHash, TreeSize};
use sharetrail_proof::tiles::{
    Bundle, FULL_WIDTH, Tile, TileError, append_entry, bundles_between, parse_bundle, tiles_between,
};
use sharetrail_proof::tree::CompactRange;

use crate::error::{At, LedgerError};
use crate::files;

/// Writes the tree of one shard.
#[derive(Debug)]
pub(crate) struct TreeWriter {
    folder: PathBuf,
    range: CompactRange,
    /// The unfinished tile of each tile level: hashes, one after the other.
    levels: Vec<Vec<u8>>,
    bundle: Vec<u8>,
    /// Folders of partial tiles that full ones have replaced.
    replaced: Vec<PathBuf>,
    /// Files that were there otherwise than they should be.
    mended: u64,
}

impl TreeWriter {
    /// An empty tree.
    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            range: CompactRange::new(),
            levels: Vec::new(),
            bundle: Vec::new(),
            replaced: Vec::new(),
            mended: 0,
        }
    }

    /// Takes up the tree of `size` leaves from its tiles. `range`: its frontier, read from the same tiles.
    pub(crate) fn resume(folder: &Path, range: CompactRange) -> Result<Self, LedgerError> {
        let size = range.size();
        let mut writer = Self {
            folder: folder.to_owned(),
            range,
            levels: Vec::new(),
            bundle: Vec::new(),
            replaced: Vec::new(),
            mended: 0,
        };
        for tile in tiles_between(TreeSize(0), size).filter(|tile| !tile.is_full()) {
            let level = usize::from(tile.level());
            if writer.levels.len() <= level {
                writer.levels.resize(level + 1, Vec::new());
            }
            writer.levels[level] = read_tile(folder, tile)?;
        }
        if let Some(bundle) =
            Bundle::at(size.0 / u64::from(FULL_WIDTH), size).filter(|bundle| bundle.width() < FULL_WIDTH)
        {
            writer.bundle = read_bundle(folder, bundle)?;
        }
        Ok(writer)
    }

    pub(crate) fn size(&self) -> TreeSize {
        self.range.size()
    }

    pub(crate) fn range(&self) -> &CompactRange {
        &self.range
    }

    /// How many full tiles and bundles were not there as they should be, when a log that is on disk is folded again.
    pub(crate) fn mended(&self) -> u64 {
        self.mended
    }

    pub(crate) fn root(&self) -> Hash {
        self.range.root()
    }

    /// Appends leaves; tiles and bundles that they complete are written.
    pub(crate) fn extend(&mut self, entries: &[&[u8]], leaves: &[LeafHash]) -> Result<(), LedgerError> {
        debug_assert_eq!(entries.len(), leaves.len());
        let mut size = self.range.size().0;
        for entry in entries {
            append_entry(&mut self.bundle, entry).map_err(|error| LedgerError::Invalid(error.to_string()))?;
            size += 1;
            if size.is_multiple_of(FULL_WIDTH.into()) {
                let bundle = whole(Bundle::new(size / u64::from(FULL_WIDTH) - 1, FULL_WIDTH));
                let bytes = std::mem::take(&mut self.bundle);
                self.write_full(&bundle.to_string(), &bytes)?;
            }
        }
        let mut completed = Vec::with_capacity(leaves.len() + leaves.len() / 128);
        self.range.extend_with(leaves, &mut |level, index, hash| {
            if level % 8 == 0 {
                completed.push((level / 8, index, hash));
            }
        });
        completed
            .into_iter()
            .try_for_each(|(level, index, hash)| self.hash(level, index, &hash))
    }

    fn hash(&mut self, level: u8, index: u64, hash: &Hash) -> Result<(), LedgerError> {
        let at = usize::from(level);
        if self.levels.len() <= at {
            self.levels.resize(at + 1, Vec::new());
        }
        self.levels[at].extend_from_slice(&hash.0);
        if self.levels[at].len() == usize::from(FULL_WIDTH) * 32 {
            let tile = whole(Tile::new(level, index / u64::from(FULL_WIDTH), FULL_WIDTH));
            let bytes = std::mem::take(&mut self.levels[at]);
            self.write_full(&tile.to_string(), &bytes)?;
        }
        Ok(())
    }

    fn write_full(&mut self, name: &str, bytes: &[u8]) -> Result<(), LedgerError> {
        self.mended += u64::from(write(&self.folder.join(name), bytes)?);
        self.replaced.push(self.folder.join(format!("{name}.p")));
        Ok(())
    }

    /// Removes the partial forms of tiles that are full in a registered checkpoint (C2SP tlog-tiles, partial tiles).
    pub(crate) fn remove_replaced(&mut self) -> Result<(), LedgerError> {
        for partial in self.replaced.drain(..) {
            match fs::remove_dir_all(&partial) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).at("remove", &partial);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes the partial tiles and the partial bundle that a checkpoint of the present size needs.
    pub(crate) fn write_partials(&self) -> Result<(), LedgerError> {
        let size = self.size();
        for (level, bytes) in (0_u8..).zip(&self.levels).filter(|(_, bytes)| !bytes.is_empty()) {
            let index = size.0 >> (8 * (u32::from(level) + 1));
            let width = u16::try_from(bytes.len() / 32).expect("a tile has at most 256 hashes");
            write(
                &self
                    .folder
                    .join(whole(Tile::new(level, index, width)).to_string()),
                bytes,
            )?;
        }
        if !self.bundle.is_empty() {
            let width = u16::try_from(size.0 % u64::from(FULL_WIDTH)).expect("below 256");
            let bundle = whole(Bundle::new(size.0 / u64::from(FULL_WIDTH), width));
            write(&self.folder.join(bundle.to_string()), &self.bundle)?;
        }
        Ok(())
    }

    /// Makes everything written so far last, in one go.
    pub(crate) fn sync(folder: &Path) -> Result<(), LedgerError> {
        let file = fs::File::open(folder).at("open", folder)?;
        rustix::fs::syncfs(&file).map_err(Into::into).at("sync", folder)
    }

    /// Removes tiles and bundles that an unregistered checkpoint between `size` and `beyond` may have left.
    pub(crate) fn remove_beyond(folder: &Path, size: TreeSize, beyond: TreeSize) -> Result<(), LedgerError> {
        for tile in tiles_between(size, beyond) {
            let width = Tile::at(tile.level(), tile.index(), size).map_or(0, |before| before.width());
            remove_wider(&folder.join(tile.full().to_string()), width)?;
        }
        for bundle in bundles_between(size, beyond) {
            let width = Bundle::at(bundle.index(), size).map_or(0, |before| before.width());
            remove_wider(
                &folder.join(whole(Bundle::new(bundle.index(), FULL_WIDTH)).to_string()),
                width,
            )?;
        }
        Ok(())
    }
}

/// Removes the full form and every partial form that is wider than `width`.
fn remove_wider(full: &Path, width: u16) -> Result<(), LedgerError> {
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", path),
        _ => Ok(()),
    };
    if width < FULL_WIDTH {
        remove(full)?;
    }
    let partial = full.with_added_extension("p");
    for wider in width + 1..FULL_WIDTH {
        remove(&partial.join(wider.to_string()))?;
    }
    Ok(())
}

/// Coordinates that come from a tree's own size are always within the format's bounds.
fn whole<T, E: std::fmt::Debug>(place: Result<T, E>) -> T {
    place.expect("the place of a node that exists")
}

/// Writes a file of the tree, unless it is there as it should be: somebody may be reading it, and a file that is written
/// again is empty for a moment. Whether it had to be written.
fn write(path: &Path, bytes: &[u8]) -> Result<bool, LedgerError> {
    match files::read_if_there(path)? {
        Some(there) if there == bytes => return Ok(false),
        Some(_) => return files::replace_unsynced(path, bytes).map(|()| true),
        None => {}
    }
    match fs::write(path, bytes) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            files::make_folder(path.parent().unwrap_or(Path::new(".")))?;
            fs::write(path, bytes).at("write", path)?;
        }
        other => other.at("write", path)?,
    }
    Ok(true)
}

/// The bytes of a bundle as a tree of some size has it: from its file, or from the front of the full one that has replaced
/// it.
pub(crate) fn read_bundle(folder: &Path, bundle: Bundle) -> Result<Vec<u8>, LedgerError> {
    let path = folder.join(bundle.to_string());
    if let Some(bytes) = files::read_if_there(&path)? {
        return Ok(bytes);
    }
    let path = folder.join(whole(Bundle::new(bundle.index(), FULL_WIDTH)).to_string());
    let full = fs::read(&path).at("read", &path)?;
    let damaged = |error: TileError| LedgerError::damaged(&path, None, error.to_string());
    let mut bytes = Vec::new();
    for entry in parse_bundle(&full, FULL_WIDTH)
        .map_err(damaged)?
        .iter()
        .take(bundle.width().into())
    {
        append_entry(&mut bytes, entry).map_err(damaged)?;
    }
    Ok(bytes)
}

/// The bytes of a tile as a tree of some size has it: from the partial file, or from the front of the full one.
pub(super) fn read_tile(folder: &Path, tile: Tile) -> Result<Vec<u8>, LedgerError> {
    let path = folder.join(tile.to_string());
    match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !tile.is_full() => {
            let path = folder.join(tile.full().to_string());
            let mut bytes = fs::read(&path).at("read", &path)?;
            bytes.truncate(tile.byte_len());
            Ok(bytes)
        }
        other => other.at("read", &path),
    }
}
