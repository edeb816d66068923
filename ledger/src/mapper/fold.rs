//! The record log folded into the customer map, and how far.
//!
//! In scope: the trie with its mark, folding on, beginning anew; keeping the last sealed version readable while versions
//! are committed that nobody sealed. Out of scope: which root is right.
//! Trust: the record log is checked piece by piece before it is folded; the trie by whoever compares its root.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::tree::CompactRange;

use super::Course;
use super::record::{Gathered, RecordLog};
use crate::error::LedgerError;
use crate::map::MapTree;

/// Roots' worth of events after which the trie is committed though no root is sealed: so that its files shrink again, and
/// a stop does not lose more than that.
const COMMIT_ROOTS: usize = 4;

/// What stands beside a version of the trie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// Leaves of the record log that are in it.
    size: TreeSize,
    /// The frontier of the record log at that size.
    range: Vec<Hash>,
    /// The map log whose last leaf has this version's root; none between two roots.
    pub(super) sealed: Option<Sealed>,
    /// A map log to whose last leaf this version leads, or that has its root, where nobody decided on that leaf yet.
    #[serde(default)]
    undecided: Option<Undecided>,
}

/// A map log that was made as far as this, lasts on disk, and is not decided on: it says nothing of the ledger and is never
/// signed, but need not be made again when the work is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Undecided {
    pub(super) size: TreeSize,
    pub(super) root: Hash,
}

/// A map log's checkpoint and last leaf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The signed note.
    pub(super) note: String,
    /// The leaf's text.
    pub(super) leaf: String,
}

impl Mark {
    fn nothing() -> Self {
        Self {
            size: TreeSize(0),
            range: Vec::new(),
            sealed: None,
            undecided: None,
        }
    }

    /// Reads a mark; a trie that was never committed has an empty one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Ok(Self::nothing());
        }
        serde_json::from_slice(bytes).map_err(|error| format!("its mark: {error}"))
    }
}

/// The trie of a shard, folded up to some size of the record log.
pub(super) struct Fold {
    folder: PathBuf,
    tree: MapTree,
    range: CompactRange,
    mark: Mark,
    limit: usize,
    uncommitted: usize,
}

impl Fold {
    /// Takes up the last version that was committed. `limit`: labelled leaves that are held in memory.
    pub(super) fn open(folder: &Path, limit: usize) -> Result<Self, LedgerError> {
        let wrong = |what: String| LedgerError::damaged(folder, None, what);
        let tree = MapTree::open(folder)?;
        let mark = Mark::parse(tree.mark()).map_err(wrong)?;
        let range = CompactRange::from_parts(mark.size, mark.range.clone());
        let range = range.map_err(|error| wrong(format!("its mark: {error}")))?;
        if mark.sealed.is_some() {
            // After a crash it may be there still. Nobody looks for it while the newest version is a sealed one.
            let _ = forget_sealed(folder);
        }
        Ok(Self {
            folder: folder.to_owned(),
            tree,
            range,
            mark,
            limit,
            uncommitted: 0,
        })
    }

    /// Begins with an empty trie; what was there is deleted.
    pub(super) fn anew(folder: &Path, limit: usize) -> Result<Self, LedgerError> {
        MapTree::clear(folder)?;
        Self::open(folder, limit)
    }

    /// As [`Fold::anew`], in the place of this one.
    pub(super) fn begin_anew(&mut self) -> Result<(), LedgerError> {
        *self = Self::anew(&self.folder, self.limit)?;
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves of the record log that are folded.
    pub(super) fn size(&self) -> TreeSize {
        self.range.size()
    }

    /// The root of the record log at that size.
    pub(super) fn record_root(&self) -> Hash {
        self.range.root()
    }

    /// The root of the map.
    pub(super) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The labels in the map.
    pub(super) fn labels(&self) -> u64 {
        self.tree.labels()
    }

    /// The checkpoint and leaf that the last committed version stands for.
    pub(super) fn sealed(&self) -> Option<&Sealed> {
        self.mark.sealed.as_ref()
    }

    /// How far the map log was made that the last committed version goes with, if nobody decided on that.
    pub(super) fn undecided(&self) -> Option<Undecided> {
        self.mark.undecided
    }

    /// Folds on towards `to`, as far as one root may go.
    pub(super) fn step(
        &mut self,
        record: &RecordLog,
        to: TreeSize,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        let Gathered { mut updates, leaves } = record.gather(self.size(), to, self.limit)?;
        self.range.extend_with(&leaves, &mut |_, _, _| {});
        drop(leaves);
        record.check(&self.range)?;
        self.uncommitted += updates.len();
        self.tree.apply(&mut updates)?;
        course.folded(self.size());
        Ok(())
    }

    /// Folds on to `to`, and commits nothing: no version stands between two leaves of the map log that are not decided on.
    pub(super) fn go_to(
        &mut self,
        record: &RecordLog,
        to: TreeSize,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        while self.size() < to {
            course.go_on()?;
            self.step(record, to, course)?;
        }
        Ok(())
    }

    /// As [`Fold::go_to`], to the last leaf of the map log, however far that is. `undecided`: that map log, if nobody decided
    /// on it.
    pub(super) fn go_far(
        &mut self,
        record: &RecordLog,
        to: TreeSize,
        undecided: Option<Undecided>,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        while self.size() < to {
            course.go_on()?;
            self.step(record, to, course)?;
            if self.is_due() {
                self.keep(undecided)?;
            }
        }
        Ok(())
    }

    /// Whether so much is not committed that it is to last now.
    pub(super) fn is_due(&self) -> bool {
        self.uncommitted > self.limit.saturating_mul(COMMIT_ROOTS)
    }

    /// Makes the present version last as the one that a map log was sealed with.
    pub(super) fn seal(&mut self, sealed: Sealed) -> Result<(), LedgerError> {
        self.commit(Some(sealed), None)?;
        // What stays is removed when the map is opened next.
        let _ = forget_sealed(&self.folder);
        Ok(())
    }

    /// Makes the present version last as work that is not done. Whoever reads keeps to the last sealed one.
    pub(super) fn keep(&mut self, undecided: Option<Undecided>) -> Result<(), LedgerError> {
        if self.mark.sealed.is_some() {
            // As where there are no hard links: then nothing can be read until the next root is sealed, and no harm is done.
            let _ = keep_sealed(&self.folder);
        }
        self.commit(None, undecided)
    }

    fn commit(&mut self, sealed: Option<Sealed>, undecided: Option<Undecided>) -> Result<(), LedgerError> {
        let mark = Mark {
            size: self.range.size(),
            range: self.range.hashes().to_vec(),
            sealed,
            undecided,
        };
        self.tree
            .commit(&serde_json::to_vec(&mark).expect("strings and numbers always serialise"))?;
        (self.mark, self.uncommitted) = (mark, 0);
        Ok(())
    }
}

/// Where the last sealed version is kept while newer ones are committed that nobody sealed.
pub(super) fn sealed_in(folder: &Path) -> PathBuf {
    folder.join("sealed")
}

/// Keeps the version that is committed now. Its files are only ever appended to, so that further names for them are enough;
/// under those they last when they are removed from the folder itself.
fn keep_sealed(folder: &Path) -> io::Result<()> {
    forget_sealed(folder)?;
    let new = folder.join("sealed.new");
    remove(&new)?;
    fs::create_dir(&new)?;
    for item in fs::read_dir(folder)? {
        let item = item?;
        if item.file_type()?.is_file() {
            fs::hard_link(item.path(), new.join(item.file_name()))?;
        }
    }
    fs::rename(&new, sealed_in(folder))
}

/// Removes what was kept. Whoever opens it meanwhile finds nothing there, and looks at the newest version again.
fn forget_sealed(folder: &Path) -> io::Result<()> {
    let old = folder.join("sealed.old");
    remove(&old)?;
    match fs::rename(sealed_in(folder), &old) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => remove(&old),
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
