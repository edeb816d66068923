//! Making proofs from stored nodes, for any size the tree ever had.
//!
//! In scope: RFC 9162 §2.1.3.1 and §2.1.4.1. Out of scope: where nodes are stored.
//! Trust: nodes are untrusted; a wrong one makes a proof that does not verify.

use super::path::{Path, Sibling, frontier, starts_with_node};
use super::range::{fold, root_of};
use super::{CompactRange, ConsistencyProof, InclusionProof, ProofError, check_size};
use crate::hash::{Hash, LeafHash, LeafIndex, TreeSize, node_hashes};

/// Where the hashes of complete subtrees come from. They never change once they exist.
pub trait NodeSource {
    /// Why a node could not be had.
    type Error;

    /// The hash of the complete subtree of 2^`level` leaves that begins at leaf `index` · 2^`level`.
    ///
    /// # Errors
    /// Whatever keeps the source from answering; a node that is not complete yet is such a case.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Leaves in memory: each node is hashed anew, so this is for batches (1,024 leaves), not for logs.
impl NodeSource for [LeafHash] {
    type Error = NoSuchNode;

    fn node(&self, level: u8, index: u64) -> Result<Hash, NoSuchNode> {
        let missing = NoSuchNode { level, index };
        let width = 1_usize.checked_shl(u32::from(level)).ok_or(missing)?;
        let start = usize::try_from(index)
            .ok()
            .and_then(|index| index.checked_mul(width))
            .ok_or(missing)?;
        let end = start.checked_add(width).ok_or(missing)?;
        self.get(start..end).map(root_of).ok_or(missing)
    }
}

/// All complete nodes of a small tree, hashed once: for several proofs of one batch.
#[derive(Clone, Debug)]
pub struct Levels {
    levels: Vec<Vec<Hash>>,
}

impl Levels {
    /// Hashes all nodes over `leaves`, one a leaf.
    pub fn new(leaves: &[LeafHash]) -> Self {
        let mut levels = vec![leaves.iter().map(|leaf| leaf.0).collect::<Vec<_>>()];
        while let Some(last) = levels.last().filter(|last| last.len() > 1) {
            let above = node_hashes(last);
            levels.push(above);
        }
        Self { levels }
    }

    /// How many leaves there are.
    pub fn size(&self) -> TreeSize {
        TreeSize(self.levels[0].len() as u64)
    }
}

impl NodeSource for Levels {
    type Error = NoSuchNode;

    fn node(&self, level: u8, index: u64) -> Result<Hash, NoSuchNode> {
        let nodes = self.levels.get(usize::from(level));
        let node = nodes
            .zip(usize::try_from(index).ok())
            .and_then(|(nodes, index)| nodes.get(index));
        node.copied().ok_or(NoSuchNode { level, index })
    }
}

/// There are fewer leaves than the node spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subtree at index {index} of level {level} is not complete")]
pub struct NoSuchNode {
    /// The subtree spans 2^level leaves.
    pub level: u8,
    /// The position among the subtrees of that level.
    pub index: u64,
}

/// Why a proof could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError<E> {
    /// There is no such proof.
    #[error(transparent)]
    Request(#[from] ProofError),
    /// The source could not give a node.
    #[error("a node of the tree cannot be read")]
    Source(#[source] E),
}

/// Proves that leaf `index` is in the tree of `size` leaves. At most 62 hashes.
///
/// # Errors
/// [`ProveError::Request`] if `index` is not below `size` or the tree is too large; [`ProveError::Source`].
///
/// Spec: RFC 9162 §2.1.3.1.
pub fn prove_inclusion<S: NodeSource + ?Sized>(
    source: &S,
    index: LeafIndex,
    size: TreeSize,
) -> Result<InclusionProof, ProveError<S::Error>> {
    let path = Path::of_leaf(index, size)?;
    let hashes = path
        .map(|sibling| sibling_hash(source, sibling, size))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(InclusionProof(hashes))
}

/// Proves that the tree of `new` leaves extends the tree of `old` leaves. At most 63 hashes; none if `old` is 0 or
/// equals `new`.
///
/// # Errors
/// [`ProveError::Request`] if `old` is above `new` or the tree is too large; [`ProveError::Source`].
///
/// Spec: RFC 9162 §2.1.4.1.
pub fn prove_consistency<S: NodeSource + ?Sized>(
    source: &S,
    old: TreeSize,
    new: TreeSize,
) -> Result<ConsistencyProof, ProveError<S::Error>> {
    let path = Path::between(old, new)?;
    let mut hashes = Vec::new();
    if starts_with_node(old, new) {
        let (start, end) = path.start();
        hashes.push(subtree(source, start, end)?);
    }
    for sibling in path {
        hashes.push(sibling_hash(source, sibling, new)?);
    }
    Ok(ConsistencyProof(hashes))
}

/// The frontier of the tree when it had `size` leaves: at most 62 nodes are read.
///
/// # Errors
/// [`ProveError::Request`] if the tree is too large; [`ProveError::Source`].
pub fn range_at<S: NodeSource + ?Sized>(
    source: &S,
    size: TreeSize,
) -> Result<CompactRange, ProveError<S::Error>> {
    check_size(size)?;
    Ok(CompactRange::from_parts(size, nodes(source, 0, size.0)?)?)
}

/// Proves that `leaves[index]` is in the tree over `leaves`; none if there is no such leaf. Hashes up to twice as many
/// nodes as there are leaves: for batches.
///
/// Spec: RFC 9162 §2.1.3.1. Vectors: `tests/golden/tree.json`.
pub fn inclusion_proof(leaves: &[LeafHash], index: LeafIndex) -> Option<InclusionProof> {
    let size = TreeSize(u64::try_from(leaves.len()).ok()?);
    prove_inclusion(leaves, index, size).ok()
}

fn sibling_hash<S: NodeSource + ?Sized>(
    source: &S,
    sibling: Sibling,
    size: TreeSize,
) -> Result<Hash, ProveError<S::Error>> {
    let (start, end) = sibling.leaves(size.0);
    subtree(source, start, end)
}

/// The hash of the leaves from `start` to `end`: one node, or at the right edge several, folded.
fn subtree<S: NodeSource + ?Sized>(source: &S, start: u64, end: u64) -> Result<Hash, ProveError<S::Error>> {
    Ok(fold(&nodes(source, start, end)?))
}

fn nodes<S: NodeSource + ?Sized>(
    source: &S,
    start: u64,
    end: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    let read = |(level, index)| source.node(level, index).map_err(ProveError::Source);
    frontier(start, end).map(read).collect()
}
