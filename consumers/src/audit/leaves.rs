//! The leaves of a map log, one after the other, while its tree is computed again.
//!
//! In scope: reading bundles ahead of the leaf that is asked for, the tree over what was passed. Out of scope: whether a
//! leaf is true (`mapped`). Trust: none in the files.

use sharetrail_proof::hash::{LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH};
use sharetrail_proof::tree::CompactRange;

use super::error::AuditError;
use super::tree::{Broken, Tree};

/// A leaf of the map log, in its turn.
#[derive(Clone, Debug)]
pub(crate) struct Next {
    /// Its index in the map log.
    pub(crate) index: u64,
    hash: LeafHash,
    /// What it says, or why it says nothing.
    pub(crate) leaf: Result<MapLeaf, String>,
}

/// The map log, read from some leaf on.
pub(crate) struct Leaves<'a> {
    tree: Tree<'a>,
    size: TreeSize,
    range: CompactRange,
    /// The bundle of the next leaf.
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
    /// Where that bundle begins; none before the first is read.
    first: Option<u64>,
    next: Option<Next>,
}

impl<'a> Leaves<'a> {
    /// Goes on behind the leaves of `range`, up to `size`.
    pub(crate) fn new(tree: Tree<'a>, size: TreeSize, range: CompactRange) -> Self {
        Self {
            tree,
            size,
            range,
            bytes: Vec::new(),
            spans: Vec::new(),
            first: None,
            next: None,
        }
    }

    /// The tree over the leaves that were passed.
    pub(crate) fn range(&self) -> &CompactRange {
        &self.range
    }

    /// The leaf whose turn it is; none at the end.
    pub(crate) fn peek(&mut self) -> Result<Result<Option<&Next>, Broken>, AuditError> {
        if self.next.is_none() && self.range.size() < self.size {
            match self.read(self.range.size().0)? {
                Ok(next) => self.next = Some(next),
                Err(broken) => return Ok(Err(broken)),
            }
        }
        Ok(Ok(self.next.as_ref()))
    }

    /// Passes the leaf whose turn it is.
    pub(crate) fn pass(&mut self) {
        if let Some(next) = self.next.take() {
            self.range.push(next.hash);
        }
    }

    fn read(&mut self, index: u64) -> Result<Result<Next, Broken>, AuditError> {
        let width = u64::from(FULL_WIDTH);
        let number = index / width;
        let first = number * width;
        if self.first != Some(first) {
            (self.bytes, self.spans, self.first) = (Vec::new(), Vec::new(), None);
            let bundle = Bundle::at(number, self.size);
            let bundle = bundle.expect("there is a bundle for each index below the size");
            if let Err(broken) = self.tree.entries(bundle, &mut self.bytes, &mut self.spans)? {
                return Ok(Err(broken));
            }
            self.first = Some(first);
        }
        let at = usize::try_from(index - first).expect("a bundle has 256 entries");
        let (start, end) = self.spans[at];
        let entry = &self.bytes[start..end];
        let text = std::str::from_utf8(entry).map_err(|error| error.to_string());
        let leaf = text.and_then(|text| MapLeaf::parse(text).map_err(|error| error.to_string()));
        Ok(Ok(Next {
            index,
            hash: LeafHash::of(entry),
            leaf,
        }))
    }
}
