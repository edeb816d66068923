//! The map log on disk: its leaves in a tlog-tiles tree.
//!
//! In scope: taking the tree up at a checkpoint, adding leaves, reading them back. Out of scope: which leaves, who signs.
//! Trust: a tree is taken up only where tiles and last bundle give the checkpoint's root; older leaves are checked by
//! whoever needs them.

use std::path::{Path, PathBuf};

use sharetrail_proof::hash::{Hash, LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH, parse_bundle};
use sharetrail_proof::tree::range_at;

use super::moments::Moment;
use super::to_be_made_again;
use crate::archive::{TreeWriter, proving, read_bundle, tile_reader};
use crate::error::LedgerError;

/// The map log of one shard.
pub(super) struct MapLog {
    folder: PathBuf,
    tree: TreeWriter,
    last: Option<MapLeaf>,
}

impl MapLog {
    /// A log without leaves.
    pub(super) fn empty(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            tree: TreeWriter::new(folder),
            last: None,
        }
    }

    /// Takes up the log of `size` leaves, at least one, if what lies there gives this root.
    pub(super) fn take_up(folder: &Path, size: TreeSize, root: Hash) -> Result<Self, LedgerError> {
        let range = range_at(&tile_reader(folder, size), size).map_err(|error| proving(folder, error))?;
        if range.root() != root {
            let what = format!("its tiles do not give the root of {size} leaves");
            return Err(LedgerError::damaged(folder, None, what));
        }
        let last = checked_last_leaf(folder, size, root)?;
        Ok(Self {
            folder: folder.to_owned(),
            tree: TreeWriter::resume(folder, range)?,
            last: Some(last),
        })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn size(&self) -> TreeSize {
        self.tree.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.tree.root()
    }

    pub(super) fn last(&self) -> Option<&MapLeaf> {
        self.last.as_ref()
    }

    /// Size and root as they would be with one more leaf.
    pub(super) fn with(&self, leaf: &MapLeaf) -> (TreeSize, Hash) {
        let mut range = self.tree.range().clone();
        range.push(LeafHash::of(leaf.to_text().as_bytes()));
        (range.size(), range.root())
    }

    /// Adds a leaf; full tiles and bundles are written.
    pub(super) fn push(&mut self, leaf: MapLeaf) -> Result<(), LedgerError> {
        let text = leaf.to_text();
        self.tree
            .extend(&[text.as_bytes()], &[LeafHash::of(text.as_bytes())])?;
        self.last = Some(leaf);
        Ok(())
    }

    /// Writes what a checkpoint of the present size needs; it lasts when this returns.
    pub(super) fn write(&self) -> Result<(), LedgerError> {
        self.tree.write_partials()?;
        TreeWriter::sync(&self.folder)
    }

    /// Removes what full tiles have replaced.
    pub(super) fn remove_replaced(&mut self) -> Result<(), LedgerError> {
        self.tree.remove_replaced()
    }

    /// The root that the log had when it had `size` leaves.
    pub(super) fn root_at(&self, size: TreeSize) -> Result<Hash, LedgerError> {
        if size == self.size() {
            return Ok(self.root());
        }
        let tiles = tile_reader(&self.folder, self.size());
        let range = range_at(&tiles, size).map_err(|error| proving(&self.folder, error));
        let range = range.map_err(|error| to_be_made_again(&self.folder, error))?;
        Ok(range.root())
    }

    /// Some leaves from `from` on, which is below the size: at least one.
    pub(super) fn leaves_from(&self, from: u64) -> Result<Vec<MapLeaf>, LedgerError> {
        let leaves = leaves_in(&self.folder, self.size(), from / u64::from(FULL_WIDTH));
        let mut leaves = leaves.map_err(|error| to_be_made_again(&self.folder, error))?;
        let skipped = usize::try_from(from % u64::from(FULL_WIDTH)).expect("below 256");
        leaves.drain(..skipped.min(leaves.len()));
        Ok(leaves)
    }

    /// The moments of some leaves from `from` on, which is below the size: at least one.
    pub(super) fn moments(&self, from: u64) -> Result<Vec<Moment>, LedgerError> {
        Ok(self.leaves_from(from)?.iter().map(Moment::of).collect())
    }
}

/// The texts of the leaves in bundle `number` of a log of `size` leaves.
pub(super) fn texts_in(folder: &Path, size: TreeSize, number: u64) -> Result<Vec<String>, LedgerError> {
    let none = || LedgerError::damaged(folder, None, format!("{size} leaves have no bundle {number}"));
    let bundle = Bundle::at(number, size).ok_or_else(none)?;
    let path = folder.join(bundle.to_string());
    let wrong = |what: String| LedgerError::damaged(&path, None, what);
    let bytes = read_bundle(folder, bundle)?;
    let entries = parse_bundle(&bytes, bundle.width()).map_err(|error| wrong(error.to_string()))?;
    let text = |entry: &&[u8]| String::from_utf8(entry.to_vec()).map_err(|error| wrong(error.to_string()));
    entries.iter().map(text).collect()
}

/// The leaves in bundle `number` of a log of `size` leaves.
pub(super) fn leaves_in(folder: &Path, size: TreeSize, number: u64) -> Result<Vec<MapLeaf>, LedgerError> {
    let parse = |text: &String| {
        let parsed = MapLeaf::parse(text);
        parsed.map_err(|error| LedgerError::damaged(folder, None, format!("bundle {number}: {error}")))
    };
    texts_in(folder, size, number)?.iter().map(parse).collect()
}

/// The last leaf of a log of `size` leaves; none where it has none. It is not compared with the log's root.
pub(crate) fn last_leaf(folder: &Path, size: TreeSize) -> Result<Option<MapLeaf>, LedgerError> {
    let Some(last) = size.0.checked_sub(1) else {
        return Ok(None);
    };
    let leaves = leaves_in(folder, size, last / u64::from(FULL_WIDTH));
    let mut leaves = leaves.map_err(|error| to_be_made_again(folder, error))?;
    Ok(leaves.pop())
}

/// The last leaf, once the last bundle was held to the log's root.
fn checked_last_leaf(folder: &Path, size: TreeSize, root: Hash) -> Result<MapLeaf, LedgerError> {
    let number = size.0.saturating_sub(1) / u64::from(FULL_WIDTH);
    let before = TreeSize(number * u64::from(FULL_WIDTH));
    let mut range = range_at(&tile_reader(folder, size), before).map_err(|error| proving(folder, error))?;
    for text in texts_in(folder, size, number)? {
        range.push(LeafHash::of(text.as_bytes()));
    }
    if range.size() != size || range.root() != root {
        let what = format!("bundle {number} does not give the root of {size} leaves");
        return Err(LedgerError::damaged(folder, None, what));
    }
    let none = || LedgerError::damaged(folder, None, "it has no leaf");
    leaves_in(folder, size, number)?.pop().ok_or_else(none)
}
