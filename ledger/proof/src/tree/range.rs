//! The frontier of a growing tree, and the root it gives.
//!
//! In scope: appending at a cost of one hash a leaf on average, roots. Out of scope: storing nodes; whoever appends
//! is told each node as it is completed. Trust: a frontier that was stored must be checked against a known root.

use super::path::frontier;
use super::{ProofError, check_length, check_size};
use crate::hash::{Hash, LeafHash, TreeSize, node_hashes};

/// The right edge of a tree: one hash for each complete subtree, that is for each set bit of the size, largest first.
///
/// All that is needed to append and to compute roots; at most 63 hashes. The default is the empty tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactRange {
    size: TreeSize,
    hashes: Vec<Hash>,
}

impl CompactRange {
    /// The frontier of the empty tree.
    pub fn new() -> Self {
        Self {
            size: TreeSize(0),
            hashes: Vec::new(),
        }
    }

    /// A frontier that was stored. The hashes are taken as they are: compare [`CompactRange::root`] with a known root.
    ///
    /// # Errors
    /// [`ProofError::TreeTooLarge`] beyond [`crate::tree::MAX_TREE_SIZE`], [`ProofError::WrongLength`] if there is not one
    /// hash for each set bit of `size`.
    pub fn from_parts(size: TreeSize, hashes: Vec<Hash>) -> Result<Self, ProofError> {
        check_size(size)?;
        check_length(frontier(0, size.0).count(), &hashes)?;
        Ok(Self { size, hashes })
    }

    /// How many leaves were appended.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The hashes of the complete subtrees, largest first.
    pub fn hashes(&self) -> &[Hash] {
        &self.hashes
    }

    /// Appends a leaf. Costs one node hash on average, 62 at most.
    pub fn push(&mut self, leaf: LeafHash) {
        self.push_hash(leaf.0, &mut |_, _, _| {});
    }

    /// Appends a leaf and reports each subtree that it completes, from the leaf itself (level 0) upwards, as
    /// (level, index, hash): the subtree of 2^level leaves that begins at leaf index · 2^level.
    pub fn push_with(&mut self, leaf: LeafHash, completed: &mut impl FnMut(u8, u64, Hash)) {
        self.push_hash(leaf.0, completed);
    }

    fn push_hash(&mut self, hash: Hash, completed: &mut impl FnMut(u8, u64, Hash)) {
        let (mut level, mut index, mut hash) = (0, self.size.0, hash);
        completed(level, index, hash);
        while index % 2 == 1
            && let Some(left) = self.hashes.pop()
        {
            hash = Hash::node(&left, &hash);
            level += 1;
            index >>= 1;
            completed(level, index, hash);
        }
        self.hashes.push(hash);
        self.size.0 += 1;
    }

    /// Appends leaves, and reports every completed node as [`CompactRange::push_with`] does, but level by level: nodes of
    /// a level are hashed side by side.
    pub fn extend_with(&mut self, leaves: &[LeafHash], completed: &mut impl FnMut(u8, u64, Hash)) {
        self.extend_hashes(leaves.iter().map(|leaf| leaf.0).collect(), completed);
    }

    fn extend_hashes(&mut self, mut nodes: Vec<Hash>, completed: &mut impl FnMut(u8, u64, Hash)) {
        let (old, new) = (self.size.0, self.size.0 + nodes.len() as u64);
        let (mut level, mut rising) = (0_u8, Vec::new());
        while new.checked_shr(level.into()).unwrap_or(0) > 0 {
            let first = old >> level;
            for (node, index) in nodes.iter().zip(first..) {
                completed(level, index, *node);
            }
            if first % 2 == 1 {
                // The last node of this level waits in the frontier for its right sibling.
                nodes.insert(
                    0,
                    self.hashes.pop().expect("one hash for each set bit of the size"),
                );
            }
            if nodes.len() % 2 == 1 {
                rising.extend(nodes.last());
            }
            nodes = node_hashes(&nodes);
            level += 1;
        }
        rising.reverse();
        (self.hashes, self.size) = (rising, TreeSize(new));
    }

    /// The root of the tree (RFC 9162 §2.1.1): of the empty tree, the hash of nothing.
    pub fn root(&self) -> Hash {
        fold(&self.hashes)
    }
}

impl Default for CompactRange {
    fn default() -> Self {
        Self::new()
    }
}

/// The root over `leaves` (RFC 9162 §2.1.1), hashed level by level.
pub fn root_of(leaves: &[LeafHash]) -> Hash {
    root_of_hashes(leaves.iter().map(|leaf| leaf.0).collect())
}

/// The root over nodes of one level, which the same tree makes of its leaves.
pub(crate) fn root_of_hashes(nodes: Vec<Hash>) -> Hash {
    let mut range = CompactRange::new();
    range.extend_hashes(nodes, &mut |_, _, _| {});
    range.root()
}

/// The root over a frontier: each smaller subtree is the right child of the larger one before it.
pub(super) fn fold(frontier: &[Hash]) -> Hash {
    let root = frontier
        .iter()
        .rev()
        .copied()
        .reduce(|right, left| Hash::node(&left, &right));
    root.unwrap_or_else(Hash::empty_root)
}
