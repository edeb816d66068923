//! Roots and paths over leaves that are there as a sorted list.
//!
//! In scope: one subtree in memory, at any depth. Out of scope: a trie that does not fit into memory; whoever keeps one
//! computes its small subtrees here and its upper nodes with [`crate::map::node_hash`].
//! Trust: none needed; that the list is sorted and each label in it once is the caller's to keep.

use crate::hash::Hash;
use crate::name::Label;

use super::{EMPTY, MAX_PATH, bit, node_hash, node_hashes};

/// What stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The label itself.
    Here,
    /// Nothing.
    Empty,
    /// Another label, which is alone in the subtree: its position in the list.
    Other(usize),
}

/// The root of the subtree at `depth` over leaves (label, leaf hash).
///
/// They are sorted by label, each label once, and share the first `depth` bits.
pub fn subtree_root(depth: usize, leaves: &[(Label, Hash)]) -> Hash {
    match leaves {
        [] => EMPTY,
        // Beyond the last bit only a list that holds a label twice can come; it must not lead to a panic.
        [(_, hash), rest @ ..] if rest.is_empty() || depth >= MAX_PATH => *hash,
        _ => {
            let (left, right) = leaves.split_at(middle(depth, leaves));
            node_hash(&subtree_root(depth + 1, left), &subtree_root(depth + 1, right))
        }
    }
}

/// The roots of several subtrees, each as [`subtree_root`] gives it: nodes that do not wait for each other are hashed side
/// by side, those of all subtrees together.
pub fn subtree_roots(subtrees: &[(usize, &[(Label, Hash)])]) -> Vec<Hash> {
    let mut plan = Plan::default();
    let tops: Vec<Part> = subtrees
        .iter()
        .map(|(depth, leaves)| plan.subtree(*depth, leaves).0)
        .collect();
    let made = plan.hash();
    tops.iter().map(|top| top.hash(&made)).collect()
}

/// One half of a node.
#[derive(Clone, Copy, Debug)]
enum Part {
    Known(Hash),
    /// A node: its height less one, and its place among those of that height.
    Made(usize, usize),
}

impl Part {
    fn hash(self, made: &[Vec<Hash>]) -> Hash {
        match self {
            Self::Known(hash) => hash,
            Self::Made(height, at) => made[height][at],
        }
    }
}

/// Nodes by height: one wants only what is below it.
#[derive(Debug, Default)]
struct Plan {
    heights: Vec<Vec<(Part, Part)>>,
}

impl Plan {
    /// Plans the nodes of a subtree; gives its root, and how high it is.
    fn subtree(&mut self, depth: usize, leaves: &[(Label, Hash)]) -> (Part, usize) {
        match leaves {
            [] => (Part::Known(EMPTY), 0),
            [(_, hash), rest @ ..] if rest.is_empty() || depth >= MAX_PATH => (Part::Known(*hash), 0),
            _ => {
                let (left, right) = leaves.split_at(middle(depth, leaves));
                let (left, right) = (self.subtree(depth + 1, left), self.subtree(depth + 1, right));
                let height = left.1.max(right.1);
                if self.heights.len() == height {
                    self.heights.push(Vec::new());
                }
                self.heights[height].push((left.0, right.0));
                (Part::Made(height, self.heights[height].len() - 1), height + 1)
            }
        }
    }

    fn hash(&self) -> Vec<Vec<Hash>> {
        let mut made: Vec<Vec<Hash>> = Vec::with_capacity(self.heights.len());
        for nodes in &self.heights {
            let pairs: Vec<(Hash, Hash)> = nodes
                .iter()
                .map(|(left, right)| (left.hash(&made), right.hash(&made)))
                .collect();
            made.push(node_hashes(&pairs));
        }
        made
    }
}

/// The part of a label's path that lies inside such a subtree: its siblings, the deepest first, and where it ends.
///
/// `label` shares the first `depth` bits with the leaves too.
pub fn path_in_subtree(depth: usize, leaves: &[(Label, Hash)], label: &Label) -> (Vec<Hash>, End) {
    let (mut depth, mut first, mut own) = (depth, 0, leaves);
    let mut siblings = Vec::new();
    while own.len() > 1 && depth < MAX_PATH {
        let (left, right) = own.split_at(middle(depth, own));
        let sibling = if bit(label, depth) {
            first += left.len();
            own = right;
            left
        } else {
            own = left;
            right
        };
        depth += 1;
        siblings.push(subtree_root(depth, sibling));
    }
    siblings.reverse();
    let end = match own.first() {
        None => End::Empty,
        Some((found, _)) if found == label => End::Here,
        Some(_) => End::Other(first),
    };
    (siblings, end)
}

/// Where the leaves begin that go to the right at `depth`.
fn middle(depth: usize, leaves: &[(Label, Hash)]) -> usize {
    leaves.partition_point(|(label, _)| !bit(label, depth))
}
