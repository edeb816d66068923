//! The Merkle tree of a log: its frontier, its roots, and the proofs that a leaf is in it and that it only grew.
//!
//! In scope: RFC 6962 §2.1 and RFC 9162 §2.1 over leaf hashes: appending ([`CompactRange`]), proving from any
//! [`NodeSource`], verifying. Out of scope: how entries are hashed ([`crate::hash`]), how nodes are stored
//! ([`crate::tiles`]), and who signed a root ([`crate::checkpoint`]).
//!
//! Trust: a root and its size must come from the same verified checkpoint; leaves, indexes and proofs are untrusted.
//! A node source is untrusted too: what it answers only makes a proof that does not verify, never a panic.

mod path;
mod prove;
mod range;
mod verify;

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, LeafIndex, TreeSize};

pub use prove::{
    Levels, NoSuchNode, NodeSource, ProveError, inclusion_proof, prove_consistency, prove_inclusion, range_at,
};
pub(crate) use range::root_of_hashes;
pub use range::{CompactRange, root_of};
pub use verify::{root_from_inclusion, verify_consistency, verify_inclusion};

/// The most hashes a proof may have (C2SP tlog-witness and tlog-proof).
pub const MAX_PROOF_HASHES: usize = 63;

/// The largest tree, 2^62 leaves: up to here no proof needs more than [`MAX_PROOF_HASHES`] hashes.
///
/// A consistency proof needs one hash more than the tree has levels, hence not 2^63.
pub const MAX_TREE_SIZE: TreeSize = TreeSize(1 << 62);

/// Sibling hashes from a leaf to the root (RFC 9162 §2.1.3). At most [`MAX_PROOF_HASHES`], or it does not verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InclusionProof(pub Vec<Hash>);

/// What links the root of a tree to the root of a later one (RFC 9162 §2.1.4). At most [`MAX_PROOF_HASHES`] hashes,
/// or it does not verify.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConsistencyProof(pub Vec<Hash>);

/// Why a proof does not hold, or cannot exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// The tree has no such leaf.
    #[error("leaf {index} is outside of a tree of {size} leaves")]
    IndexOutOfRange {
        /// The leaf asked for.
        index: LeafIndex,
        /// The leaves there are.
        size: TreeSize,
    },
    /// The tree has more than [`MAX_TREE_SIZE`] leaves.
    #[error("a tree of {size} leaves is larger than any that proofs are made for")]
    TreeTooLarge {
        /// The size given.
        size: TreeSize,
    },
    /// The later tree is smaller than the earlier one: the log was rolled back.
    #[error("a tree of {old} leaves cannot shrink to {new}")]
    Shrunk {
        /// The earlier size.
        old: TreeSize,
        /// The later size.
        new: TreeSize,
    },
    /// A different number of hashes than the sizes call for.
    #[error("{found} hashes where {expected} belong")]
    WrongLength {
        /// As many as the sizes call for.
        expected: usize,
        /// As many as were given.
        found: usize,
    },
    /// The proof leads to another root; in a consistency proof, to another later root.
    #[error("the proof leads to root {found}, not to {expected}")]
    RootMismatch {
        /// The root given.
        expected: Hash,
        /// The root the proof leads to.
        found: Hash,
    },
    /// The consistency proof leads to another earlier root.
    #[error("the proof leads to earlier root {found}, not to {expected}")]
    OldRootMismatch {
        /// The earlier root given.
        expected: Hash,
        /// The earlier root the proof leads to.
        found: Hash,
    },
}

/// Refuses sizes whose proofs could be longer than [`MAX_PROOF_HASHES`].
fn check_size(size: TreeSize) -> Result<(), ProofError> {
    if size > MAX_TREE_SIZE {
        return Err(ProofError::TreeTooLarge { size });
    }
    Ok(())
}

/// Counts before any hashing, so that an oversized proof costs nothing.
fn check_length(expected: usize, hashes: &[Hash]) -> Result<(), ProofError> {
    let found = hashes.len();
    if found != expected {
        return Err(ProofError::WrongLength { expected, found });
    }
    Ok(())
}
