//! Which nodes a proof consists of: the walk from a node to the root, shared by those who prove and those who verify.
//!
//! In scope: the index arithmetic of RFC 9162 §2.1.3.2 and §2.1.4.2. Out of scope: hashes of nodes.
//! Trust: indexes and sizes are untrusted; they are checked here, once.

use super::{ProofError, check_size};
use crate::hash::{Hash, LeafIndex, TreeSize};

/// A node beside the path to the root: the subtree at `index` among those of 2^`level` leaves.
#[derive(Clone, Copy)]
pub(super) struct Sibling {
    level: u8,
    index: u64,
    /// Whether it lies to the left of the path, and so is complete in every later tree.
    pub(super) is_left: bool,
}

impl Sibling {
    /// The leaves under it, first and end, in a tree of `size` leaves: a right sibling may be cut off by the edge.
    pub(super) fn leaves(self, size: u64) -> (u64, u64) {
        (self.index << self.level, size.min((self.index + 1) << self.level))
    }

    /// The parent of `node` and this sibling, which hashes to `sibling`.
    pub(super) fn parent(self, node: &Hash, sibling: &Hash) -> Hash {
        if self.is_left {
            Hash::node(sibling, node)
        } else {
            Hash::node(node, sibling)
        }
    }
}

/// The siblings from a node up to the root, at most 62. Invariant: `index <= last < 2^62`.
#[derive(Clone)]
pub(super) struct Path {
    level: u8,
    /// The node's position in its level; `fn` in RFC 9162.
    index: u64,
    /// The last position in the level; `sn` in RFC 9162. At the root it is 0.
    last: u64,
}

impl Path {
    /// From a leaf (RFC 9162 §2.1.3.2, steps 1 and 2).
    pub(super) fn of_leaf(index: LeafIndex, size: TreeSize) -> Result<Self, ProofError> {
        check_size(size)?;
        if index.0 >= size.0 {
            return Err(ProofError::IndexOutOfRange { index, size });
        }
        Ok(Self {
            level: 0,
            index: index.0,
            last: size.0 - 1,
        })
    }

    /// From the last complete subtree of the old tree, into the new (RFC 9162 §2.1.4.2, steps 3 and 4).
    ///
    /// Empty when there is nothing to link: equal sizes, or an empty old tree.
    pub(super) fn between(old: TreeSize, new: TreeSize) -> Result<Self, ProofError> {
        check_size(new)?;
        if old > new {
            return Err(ProofError::Shrunk { old, new });
        }
        if old.0 == 0 || old == new {
            return Ok(Self {
                level: 0,
                index: 0,
                last: 0,
            });
        }
        let (index, last) = (old.0 - 1, new.0 - 1);
        let level = complete_levels(index);
        Ok(Self {
            level,
            index: index >> level,
            last: last >> level,
        })
    }

    /// The leaves under the node where the path starts; complete in every tree the path was made for.
    pub(super) fn start(&self) -> (u64, u64) {
        (self.index << self.level, (self.index + 1) << self.level)
    }

    fn climb(&mut self) {
        self.level += 1;
        self.index >>= 1;
        self.last >>= 1;
    }
}

impl Iterator for Path {
    type Item = Sibling;

    /// One round of RFC 9162 §2.1.3.2 step 4: a node on the right edge without a sibling is its own parent.
    fn next(&mut self) -> Option<Sibling> {
        while self.last > 0 && self.index == self.last && self.index.is_multiple_of(2) {
            self.climb();
        }
        if self.last == 0 {
            return None;
        }
        let sibling = Sibling {
            level: self.level,
            index: self.index ^ 1,
            is_left: self.index % 2 == 1,
        };
        self.climb();
        Some(sibling)
    }
}

/// The level of the largest complete subtree whose last leaf is `index`.
fn complete_levels(index: u64) -> u8 {
    u8::try_from(index.trailing_ones()).expect("a u64 has 64 bits at most")
}

/// Whether a consistency proof starts with the hash of a node, or with the old root itself (RFC 9162 §2.1.4.2, step 2).
pub(super) fn starts_with_node(old: TreeSize, new: TreeSize) -> bool {
    old != new && old.0 != 0 && !old.0.is_power_of_two()
}

/// The complete subtrees, largest first, that the leaves from `start` to `end` divide into, as (level, index).
///
/// `start` must be a multiple of a power of two no smaller than `end - start`, as it is at the left of any subtree.
pub(super) fn frontier(start: u64, end: u64) -> impl Iterator<Item = (u8, u64)> {
    let mut at = start;
    std::iter::from_fn(move || {
        let level = (end - at).checked_ilog2()?;
        let index = at >> level;
        at += 1_u64 << level;
        Some((u8::try_from(level).expect("a u64 has 64 bits at most"), index))
    })
}
