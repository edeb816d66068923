//! Leaves of a map log: one root of the map, and the record-log checkpoint that it was built from.
//!
//! In scope: the text. Out of scope: the map log, which is a log like any other (see [`crate::tiles`]).
//! Trust: a parsed leaf is a claim until it is shown to stand in a map log that a policy believes; that its root is
//! right is the operator's word, or that of an auditor who computed it again.

use thiserror::Error;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::hash::Hash;
use crate::name::decimal;

const FIRST_LINE: &str = "sharetrail.org/map@v1";

/// What is wrong with the text of a map leaf.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapLeafError {
    /// A line that the format does not allow.
    #[error("map leaf, line {line}: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the format wants.
        reason: &'static str,
    },
    /// What follows is not the text of a checkpoint.
    #[error("map leaf, from line 5 on: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A leaf of the map log: the map's root at a moment of the record log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapLeaf {
    /// The root of the customer map.
    pub root: Hash,
    /// How many labels the map holds.
    pub labels: u64,
    /// When the root was sealed, in Unix seconds.
    pub time: u64,
    /// The checkpoint of the record log over the very leaves that the map was built from.
    pub checkpoint: Checkpoint,
}

impl MapLeaf {
    /// Reads the bytes of a leaf. There is one way of writing it: what parses is what [`MapLeaf::to_text`] gives.
    pub fn parse(text: &str) -> Result<Self, MapLeafError> {
        let wrong = |line, reason| MapLeafError::Line { line, reason };
        let mut parts = text.splitn(5, '\n');
        if parts.next() != Some(FIRST_LINE) {
            return Err(wrong(1, "expected sharetrail.org/map@v1"));
        }
        let root = parts.next().and_then(Hash::from_base64);
        let root = root.ok_or(wrong(2, "not a root hash"))?;
        let labels = parts.next().and_then(decimal);
        let labels = labels.ok_or(wrong(3, "not a number of labels"))?;
        let time = parts.next().and_then(decimal);
        let time = time.ok_or(wrong(4, "not a time in Unix seconds"))?;
        let checkpoint = Checkpoint::parse(parts.next().ok_or(wrong(5, "no checkpoint"))?)?;
        if !checkpoint.extensions.is_empty() {
            return Err(wrong(8, "a record log's checkpoint has three lines"));
        }
        Ok(Self {
            root,
            labels,
            time,
            checkpoint,
        })
    }

    /// The bytes of the leaf, with the last newline.
    pub fn to_text(&self) -> String {
        let Self {
            root, labels, time, ..
        } = self;
        let checkpoint = self.checkpoint.to_text();
        format!("{FIRST_LINE}\n{root}\n{labels}\n{time}\n{checkpoint}")
    }
}
