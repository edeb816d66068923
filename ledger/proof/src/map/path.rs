//! Paths from a label to a map's root, and what they prove.
//!
//! In scope: folding a path and the rules that make it believable. Out of scope: where paths come from (see
//! [`crate::map::path_in_subtree`]). Trust: every part of a path is untrusted; the root is what the caller believes.
//!
//! Walking down from a root along the bits of a label there is one way only, and it ends at the first thing that is no
//! node: this label's leaf, another leaf, or nothing. So under one root no label can be shown both present and absent.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hash::Hash;
use crate::name::Label;

use super::{EMPTY, MAX_PATH, MapValue, bit, leaf_hash, node_hash, shared_bits};

/// Another label where one was looked for: the only leaf of a subtree that both would stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherLeaf {
    /// The label that stands there.
    pub label: Label,
    /// What the map says of it, hashed ([`MapValue::hash`]): enough for the proof, and tells nothing.
    pub value: Hash,
}

/// The siblings on the way from a label's place to the root, the deepest first, and what is found at that place if it
/// is not the label itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapPath {
    /// Sibling `i` of `n` stands at depth `n - 1 - i`, counted from the root.
    pub siblings: Vec<Hash>,
    /// Another label's leaf, where the path shows that a label is absent and its place is not empty.
    pub other: Option<OtherLeaf>,
}

/// Why a path does not show what it should.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MapError {
    /// A label has 256 bits, so no path is longer.
    #[error("the path has {found} hashes, and no map is deeper than {MAX_PATH}")]
    TooLong {
        /// How many siblings there are.
        found: usize,
    },
    /// The other label is the one that is to be absent, or stands elsewhere in the map.
    #[error(
        "the other label {label} shares {shared} bits with this one: expected {wanted} at least, and not all"
    )]
    Label {
        /// The label that the path shows in this one's place.
        label: Label,
        /// How many bits it shares with the one that was looked for.
        shared: usize,
        /// The length of the path.
        wanted: usize,
    },
    /// The path leads to another root.
    #[error("the path leads to the map root {found}, and {expected} was sealed")]
    RootMismatch {
        /// The root that the caller believes.
        expected: Hash,
        /// The root that follows from the path.
        found: Hash,
    },
    /// A path that is to show the label itself ends at another one.
    #[error("the path ends at the other label {label}, and was to show this one")]
    Other {
        /// The label at its end.
        label: Label,
    },
}

/// Checks that `root` commits to this very value of `label`: this many leaves, these, and no other.
pub fn verify_present(label: &Label, value: &MapValue, path: &MapPath, root: &Hash) -> Result<(), MapError> {
    if let Some(other) = &path.other {
        return Err(MapError::Other { label: other.label });
    }
    fold(label, leaf_hash(label, &value.hash()), path, root)
}

/// Checks that under `root` there is nothing of `label`.
///
/// The path ends at an empty subtree, or at the one leaf of a subtree that `label` would stand in.
pub fn verify_absent(label: &Label, path: &MapPath, root: &Hash) -> Result<(), MapError> {
    let Some(other) = &path.other else {
        return fold(label, EMPTY, path, root);
    };
    let (shared, wanted) = (shared_bits(label, &other.label), path.siblings.len());
    if wanted > MAX_PATH {
        return Err(MapError::TooLong { found: wanted });
    }
    if other.label == *label || shared < wanted {
        return Err(MapError::Label {
            label: other.label,
            shared,
            wanted,
        });
    }
    fold(label, leaf_hash(&other.label, &other.value), path, root)
}

/// Climbs from `start`, which stands at the path's end, and compares where that leads.
fn fold(label: &Label, start: Hash, path: &MapPath, root: &Hash) -> Result<(), MapError> {
    let length = path.siblings.len();
    if length > MAX_PATH {
        return Err(MapError::TooLong { found: length });
    }
    let mut hash = start;
    for (depth, sibling) in (0..length).rev().zip(&path.siblings) {
        hash = if bit(label, depth) {
            node_hash(sibling, &hash)
        } else {
            node_hash(&hash, sibling)
        };
    }
    if hash == *root {
        Ok(())
    } else {
        Err(MapError::RootMismatch {
            expected: *root,
            found: hash,
        })
    }
}
