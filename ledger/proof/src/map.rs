//! The customer map: a binary Merkle trie that says, of every label, how many leaves it has and which.
//!
//! A record log shows that a leaf is there; the map shows that these are *all* the leaves of a label, or that there is
//! none. Each of its roots stands in a leaf of the map log ([`MapLeaf`]).
//!
//! The trie: bits of a label from the most significant on, 0 to the left; a subtree without a leaf is 32 zero bytes, one
//! with a single leaf is that leaf's hash at whatever depth, any other is the hash over its two halves.
//! In scope: hashing, paths and their checks, roots over sorted leaves, the text of a map leaf. Out of scope: keeping a
//! trie, and sealing its roots (the ledger does). Trust: a path is a claim until [`verify_present`] or
//! [`verify_absent`] held it to a root that somebody signed.

mod leaf;
mod path;
mod trie;

use crate::hash::Hash;
use crate::lanes::Messages;
use crate::name::Label;

pub use leaf::{MapLeaf, MapLeafError};
pub use path::{MapError, MapPath, OtherLeaf, verify_absent, verify_present};
pub use trie::{End, path_in_subtree, subtree_root, subtree_roots};

/// The root of a trie without leaves, and what stands for each subtree without one.
pub const EMPTY: Hash = Hash::ZERO;
/// The most siblings that a path can have: one for each bit of a label.
pub const MAX_PATH: usize = 256;

const LEAF: u8 = 0x02;
const NODE: u8 = 0x03;
const VALUE: u8 = 0x04;

/// What the map says of a label: how many leaves, and the RFC 6962 root over their leaf hashes in log order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapValue {
    /// How many leaves of the record log stand under the label.
    pub count: u64,
    /// The root over their leaf hashes, in the order of the log.
    pub root: Hash,
}

impl MapValue {
    /// `SHA-256(0x04 ‖ count ‖ root)`, the count in eight bytes, big-endian.
    pub fn hash(&self) -> Hash {
        Hash::of(&[&[VALUE], &self.count.to_be_bytes(), &self.root.0])
    }
}

/// `SHA-256(0x02 ‖ label ‖ value)`, the value as [`MapValue::hash`] gives it.
pub fn leaf_hash(label: &Label, value: &Hash) -> Hash {
    Hash::of(&[&[LEAF], &label.0, &value.0])
}

/// The leaf hashes of many labels; they are hashed side by side.
pub fn leaf_hashes(leaves: &[(Label, MapValue)]) -> Vec<Hash> {
    let mut values = Messages::new(41, leaves.len());
    for (_, value) in leaves {
        values.push(&[&[VALUE], &value.count.to_be_bytes(), &value.root.0]);
    }
    let mut messages = Messages::new(65, leaves.len());
    for ((label, _), value) in leaves.iter().zip(values.hash()) {
        messages.push(&[&[LEAF], &label.0, &value.0]);
    }
    messages.hash()
}

/// `SHA-256(0x03 ‖ left ‖ right)`.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::of(&[&[NODE], &left.0, &right.0])
}

/// The nodes over these pairs; they are hashed side by side.
pub fn node_hashes(pairs: &[(Hash, Hash)]) -> Vec<Hash> {
    let mut messages = Messages::new(65, pairs.len());
    for (left, right) in pairs {
        messages.push(&[&[NODE], &left.0, &right.0]);
    }
    messages.hash()
}

/// The bit of a label that decides at `depth`, which is below [`MAX_PATH`]; set: to the right.
pub fn bit(label: &Label, depth: usize) -> bool {
    label.0[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// How many bits two labels share before the first that differs.
pub fn shared_bits(one: &Label, other: &Label) -> usize {
    let mut bits = 0;
    for (a, b) in one.0.iter().zip(&other.0) {
        if a != b {
            return bits + (a ^ b).leading_zeros() as usize;
        }
        bits += 8;
    }
    bits
}
