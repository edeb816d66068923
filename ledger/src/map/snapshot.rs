//! Reading one committed version of a customer map, while another process writes the next.
//!
//! In scope: paths, values, labels by rank. Out of scope: who believes the root (the map log says which was sealed).
//! Trust: none in what is read; a path is shown only if it leads to this version's root.

use std::path::{Path, PathBuf};

use sharetrail_proof::hash::Hash;
use sharetrail_proof::map::{
    End, MAX_PATH, MapPath, MapValue, OtherLeaf, path_in_subtree, verify_absent, verify_present,
};
use sharetrail_proof::name::Label;

use super::bucket::{self, Record};
use super::head::{self, Head};
use super::node::{self, Child, Kind};
use super::pages::Pages;
use crate::error::LedgerError;

/// How often a version is looked for that is not removed while its files are opened.
const TRIES: usize = 100;

/// One version of a map: it answers the same whatever is committed later.
#[derive(Debug)]
pub struct MapSnapshot {
    head: PathBuf,
    pages: Pages,
    root: Child,
    mark: Vec<u8>,
}

/// What a map says of a label, and the path that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The label's leaves; none where the map has no such label.
    pub value: Option<MapValue>,
    /// Shows that, under the map's root.
    pub path: MapPath,
}

impl MapSnapshot {
    /// Opens the version that was committed last; none where nothing was.
    ///
    /// # Errors
    /// `Damaged` where the head or a page file is not what was committed.
    pub fn open(folder: &Path) -> Result<Option<Self>, LedgerError> {
        let mut gone = None;
        for _ in 0..TRIES {
            let Some(head) = Head::read(folder)? else {
                return Ok(None);
            };
            if let Some(pages) = Pages::open(folder, head.epoch, &head.ends)? {
                return Ok(Some(Self {
                    head: head::path_in(folder),
                    pages,
                    root: head.root,
                    mark: head.mark,
                }));
            }
            // A file is removed only after a head that does not name it took its place: so look again, and if it still
            // names the file, then nobody removed it who may.
            if gone.replace(head.epoch) == Some(head.epoch) {
                break;
            }
        }
        let what = "it names a file that is gone";
        Err(LedgerError::damaged(&head::path_in(folder), None, what))
    }

    /// What the commit of this version was given.
    pub fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// The map's root.
    pub fn root(&self) -> Hash {
        self.root.root
    }

    /// How many labels there are.
    pub fn labels(&self) -> u64 {
        self.root.labels
    }

    /// What the map says of a label, with its path. Reads one page for each four levels.
    pub fn find(&self, label: &Label) -> Result<Found, LedgerError> {
        let (mut page, mut siblings) = (Vec::new(), Vec::new());
        let mut child = self.root;
        while child.kind == Kind::Node {
            let children = self.children(&child, siblings.len(), &mut page)?;
            child = node::descend(&children, siblings.len(), label, &mut siblings);
        }
        siblings.reverse();
        let found = if child.kind == Kind::Empty {
            let path = MapPath {
                siblings,
                other: None,
            };
            Found { value: None, path }
        } else {
            self.find_in(&child, label, siblings, &mut page)?
        };
        let checked = match &found.value {
            Some(value) => verify_present(label, value, &found.path, &self.root.root),
            None => verify_absent(label, &found.path, &self.root.root),
        };
        checked
            .map_err(|error| LedgerError::damaged(&self.head, None, format!("under its root, {error}")))?;
        Ok(found)
    }

    /// `above`: the siblings above the bucket, the deepest first.
    fn find_in(
        &self,
        bucket: &Child,
        label: &Label,
        above: Vec<Hash>,
        page: &mut Vec<u8>,
    ) -> Result<Found, LedgerError> {
        let records = bucket::read(&self.pages, bucket, page)?;
        let leaves: Vec<_> = records.iter().map(|record| (record.label, record.leaf)).collect();
        let (mut siblings, end) = path_in_subtree(above.len(), &leaves, label);
        siblings.extend(above);
        let (value, other) = match end {
            End::Empty => (None, None),
            End::Here => {
                let there = records.iter().find(|record| record.label == *label);
                (there.map(|record| self.value(bucket, record)).transpose()?, None)
            }
            End::Other(at) => {
                let other = OtherLeaf {
                    label: records[at].label,
                    value: self.value(bucket, &records[at])?.hash(),
                };
                (None, Some(other))
            }
        };
        let path = MapPath { siblings, other };
        Ok(Found { value, path })
    }

    /// The label of rank `n`, from 0, in the order of their bytes.
    pub fn nth(&self, n: u64) -> Result<Option<(Label, MapValue)>, LedgerError> {
        if n >= self.root.labels {
            return Ok(None);
        }
        let (mut page, mut depth, mut rank) = (Vec::new(), 0, n);
        let mut child = self.root;
        while child.kind == Kind::Node {
            let children = self.children(&child, depth, &mut page)?;
            depth += node::STEP;
            for under in children {
                child = under;
                if rank < under.labels {
                    break;
                }
                rank -= under.labels;
            }
        }
        let records = match child.kind {
            Kind::Bucket => bucket::read(&self.pages, &child, &mut page)?,
            _ => Vec::new(),
        };
        let record = usize::try_from(rank).ok().and_then(|rank| records.get(rank));
        let record = record.ok_or_else(|| self.pages.damaged(child.at, "fewer labels than are counted"))?;
        Ok(Some((record.label, self.value(&child, record)?)))
    }

    fn children(
        &self,
        node: &Child,
        depth: usize,
        page: &mut Vec<u8>,
    ) -> Result<node::Children, LedgerError> {
        if depth + node::STEP > MAX_PATH {
            return Err(self
                .pages
                .damaged(node.at, "a node below the last bit of any label"));
        }
        node::read(&self.pages, node, page)
    }

    fn value(&self, bucket: &Child, record: &Record<'_>) -> Result<MapValue, LedgerError> {
        let value = record.value();
        value.ok_or_else(|| {
            self.pages
                .damaged(bucket.at, "a label's leaves do not give its leaf hash")
        })
    }
}
