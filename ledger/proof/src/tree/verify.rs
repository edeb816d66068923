//! Checking proofs against roots.
//!
//! In scope: RFC 9162 §2.1.3.2 and §2.1.4.2. Out of scope: where the roots come from.
//! Trust: roots with their sizes come from verified checkpoints; all else is untrusted. Proofs are counted before
//! anything is hashed, and no input makes these functions panic.

use super::path::{Path, starts_with_node};
use super::{ConsistencyProof, InclusionProof, ProofError, check_length};
use crate::hash::{Hash, LeafHash, LeafIndex, TreeSize};

/// Checks that `leaf` is at `index` in the tree of `size` leaves with this `root`.
///
/// `size` and `root` must come from the same checkpoint: some proofs fit several sizes, so nothing is said about a
/// size that was not signed together with the root. Proves presence, not completeness.
///
/// # Errors
/// [`ProofError::RootMismatch`] holds both roots; and all errors of [`root_from_inclusion`].
///
/// Spec: RFC 9162 §2.1.3.2. Vectors: `tests/golden/tree.json`, `tests/golden/probes.json`.
pub fn verify_inclusion(
    leaf: &LeafHash,
    index: LeafIndex,
    size: TreeSize,
    proof: &InclusionProof,
    root: &Hash,
) -> Result<(), ProofError> {
    let found = root_from_inclusion(leaf, index, size, proof)?;
    check_root(root, found)
}

/// The root that a tree of `size` leaves has if `proof` is right: for a caller that compares it later.
///
/// # Errors
/// [`ProofError::IndexOutOfRange`], [`ProofError::TreeTooLarge`], or [`ProofError::WrongLength`] if there is not
/// exactly one hash for each sibling.
///
/// Spec: RFC 9162 §2.1.3.2, steps 1 to 4.
pub fn root_from_inclusion(
    leaf: &LeafHash,
    index: LeafIndex,
    size: TreeSize,
    proof: &InclusionProof,
) -> Result<Hash, ProofError> {
    let path = Path::of_leaf(index, size)?;
    check_length(path.clone().count(), &proof.0)?;
    Ok(path
        .zip(&proof.0)
        .fold(leaf.0, |node, (sibling, hash)| sibling.parent(&node, hash)))
}

/// Checks that the tree of `new_size` leaves with `new_root` extends the tree of `old_size` leaves with `old_root`.
///
/// For an old size of 0 the old root must be the empty root; for equal sizes the roots must be equal; both with an
/// empty proof. Each size must come from the same checkpoint as its root.
///
/// # Errors
/// [`ProofError::Shrunk`], [`ProofError::TreeTooLarge`], [`ProofError::WrongLength`];
/// [`ProofError::OldRootMismatch`] and [`ProofError::RootMismatch`] hold both roots.
///
/// Spec: RFC 9162 §2.1.4.2. Vectors: `tests/golden/tree.json`, `tests/golden/probes.json`.
pub fn verify_consistency(
    old_size: TreeSize,
    old_root: &Hash,
    new_size: TreeSize,
    new_root: &Hash,
    proof: &ConsistencyProof,
) -> Result<(), ProofError> {
    let path = Path::between(old_size, new_size)?;
    let first = usize::from(starts_with_node(old_size, new_size));
    check_length(first + path.clone().count(), &proof.0)?;
    if old_size.0 == 0 {
        return extends_nothing(old_root, new_size, new_root);
    }
    let (first, siblings) = proof.0.split_at(first);
    let (old, new) = climb(path, *first.first().unwrap_or(old_root), siblings);
    check_old_root(old_root, old)?;
    check_root(new_root, new)
}

/// The old and the new root over the node `start` (RFC 9162 §2.1.4.2, step 6): what is on the right is only in the new.
fn climb(path: Path, start: Hash, siblings: &[Hash]) -> (Hash, Hash) {
    path.zip(siblings)
        .fold((start, start), |(old, new), (sibling, hash)| {
            let old = if sibling.is_left {
                sibling.parent(&old, hash)
            } else {
                old
            };
            (old, sibling.parent(&new, hash))
        })
}

/// Every tree extends the empty one, which has only one root.
fn extends_nothing(old_root: &Hash, new_size: TreeSize, new_root: &Hash) -> Result<(), ProofError> {
    check_old_root(old_root, Hash::empty_root())?;
    if new_size.0 == 0 {
        check_root(new_root, Hash::empty_root())
    } else {
        Ok(())
    }
}

fn check_old_root(expected: &Hash, found: Hash) -> Result<(), ProofError> {
    if found == *expected {
        return Ok(());
    }
    Err(ProofError::OldRootMismatch {
        expected: *expected,
        found,
    })
}

fn check_root(expected: &Hash, found: Hash) -> Result<(), ProofError> {
    if found == *expected {
        return Ok(());
    }
    Err(ProofError::RootMismatch {
        expected: *expected,
        found,
    })
}
