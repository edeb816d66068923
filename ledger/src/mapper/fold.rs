//! The record log folded into the customer map, and how far.
//!
//! In scope: the trie with its mark, folding on, beginning anew. Out of scope: which root is right.
//! Trust: the record log is checked piece by piece before it is folded; the trie by whoever compares its root.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::tree::CompactRange;

use super::Course;
use super::record::{Gathered, RecordLog};
use crate::error::LedgerError;
use crate::map::MapTree;

/// Roots' worth of events after which the trie is committed though no root is sealed: so that its files shrink again.
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

    /// Folds on to `to`, however far.
    pub(super) fn go_to(
        &mut self,
        record: &RecordLog,
        to: TreeSize,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        while self.size() < to {
            course.go_on()?;
            self.step(record, to, course)?;
            if self.uncommitted > self.limit.saturating_mul(COMMIT_ROOTS) {
                self.commit(None)?;
            }
        }
        Ok(())
    }

    /// Makes the present version last.
    pub(super) fn commit(&mut self, sealed: Option<Sealed>) -> Result<(), LedgerError> {
        let mark = Mark {
            size: self.range.size(),
            range: self.range.hashes().to_vec(),
            sealed,
        };
        self.tree
            .commit(&serde_json::to_vec(&mark).expect("strings and numbers always serialise"))?;
        (self.mark, self.uncommitted) = (mark, 0);
        Ok(())
    }
}
