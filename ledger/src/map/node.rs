//! Nodes: sixteen subtrees, each empty, a bucket or a node, and the root over them.
//!
//! In scope: entries and nodes to and from bytes, the binary levels within a node. Out of scope: what is in buckets.
//! Trust: bytes come from a page whose checksum held.

use std::ops::Range;

use sharetrail_proof::hash::Hash;
use sharetrail_proof::map::{EMPTY, bit, node_hashes};
use sharetrail_proof::name::Label;

use super::pages::{LOCATION_BYTES, Location, Pages};
use crate::error::LedgerError;

/// Children of a node.
pub(super) const WIDTH: usize = 16;
/// Bits of a label that a node decides.
pub(super) const STEP: usize = 4;
/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 8 + 32 + LOCATION_BYTES;

/// What a subtree's page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no page, and no label.
    Empty,
    /// Labels.
    Bucket,
    /// Further subtrees.
    Node,
}

impl Kind {
    pub(super) fn to_bits(self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Bucket => 1,
            Self::Node => 2,
        }
    }

    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0 => Some(Self::Empty),
            1 => Some(Self::Bucket),
            2 => Some(Self::Node),
            _ => None,
        }
    }
}

/// A subtree, as its parent knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) kind: Kind,
    /// How many labels are in it.
    pub(super) labels: u64,
    pub(super) root: Hash,
    pub(super) at: Location,
}

/// The subtrees of a node, in the order of the four bits that lead to them.
pub(super) type Children = [Child; WIDTH];

impl Child {
    /// A subtree without labels.
    pub(super) const EMPTY: Self = Self {
        kind: Kind::Empty,
        labels: 0,
        root: EMPTY,
        at: Location::NONE,
    };

    pub(super) fn append_entry(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.labels.to_be_bytes());
        bytes.extend(self.root.0);
        bytes.extend(self.at.to_bytes());
    }

    /// Splits an entry off the front.
    pub(super) fn split_entry(kind: Kind, bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (labels, rest) = bytes.split_first_chunk()?;
        let (root, rest) = rest.split_first_chunk()?;
        let (at, rest) = rest.split_first_chunk()?;
        let child = Self {
            kind,
            labels: u64::from_be_bytes(*labels),
            root: Hash(*root),
            at: Location::from_bytes(at),
        };
        Some((child, rest))
    }
}

/// Lays the body of a node's page into `body`.
pub(super) fn encode(children: &Children, body: &mut Vec<u8>) {
    body.clear();
    body.reserve(4 + WIDTH * ENTRY_BYTES);
    let kinds = children.iter().rev().fold(0_u32, |kinds, child| {
        (kinds << 2) | u32::from(child.kind.to_bits())
    });
    body.extend(kinds.to_be_bytes());
    for child in children.iter().filter(|child| child.kind != Kind::Empty) {
        child.append_entry(body);
    }
}

fn decode(body: &[u8]) -> Option<Children> {
    let (kinds, mut rest) = body.split_first_chunk::<4>()?;
    let mut kinds = u32::from_be_bytes(*kinds);
    let mut children = [Child::EMPTY; WIDTH];
    for child in &mut children {
        let kind = Kind::from_bits((kinds & 3).to_le_bytes()[0])?;
        kinds >>= 2;
        if kind != Kind::Empty {
            (*child, rest) = Child::split_entry(kind, rest)?;
        }
    }
    rest.is_empty().then_some(children)
}

/// Reads a node. `page`: room for its bytes.
pub(super) fn read(pages: &Pages, node: &Child, page: &mut Vec<u8>) -> Result<Children, LedgerError> {
    pages.read(node.at, &node.root, page)?;
    decode(page)
        .filter(|children| total(children) == Some(node.labels))
        .ok_or_else(|| pages.damaged(node.at, "a page is not the node that it must be"))
}

/// The labels of all these subtrees; none where they are more than can be counted.
fn total(children: &[Child]) -> Option<u64> {
    children
        .iter()
        .try_fold(0_u64, |sum, child| sum.checked_add(child.labels))
}

/// Labels and root of the binary subtree over these, which are 1, 2, 4, 8 or 16. What stands on one level is hashed side by
/// side.
pub(super) fn fold(children: &[Child]) -> (u64, Hash) {
    let mut level: Vec<(u64, Hash)> = children.iter().map(|child| (child.labels, child.root)).collect();
    while level.len() > 1 {
        let halves = level.as_chunks::<2>().0;
        // A label that is alone stands for its subtree, at whatever depth.
        let is_node = |[left, right]: &&[(u64, Hash); 2]| left.0 + right.0 > 1;
        let pairs: Vec<(Hash, Hash)> = halves
            .iter()
            .filter(is_node)
            .map(|[left, right]| (left.1, right.1))
            .collect();
        let mut made = node_hashes(&pairs).into_iter();
        let above = |[left, right]: &[(u64, Hash); 2]| match (left.0, right.0) {
            (0, 0) => (0, EMPTY),
            (1, 0) => *left,
            (0, 1) => *right,
            (labels, more) => (
                labels + more,
                made.next().expect("one for each node of the level"),
            ),
        };
        level = halves.iter().map(above).collect();
    }
    level.first().copied().unwrap_or((0, EMPTY))
}

/// Goes down the four levels of the node at `depth` along the bits of a label, and leaves the siblings it passes.
///
/// Gives what to look at next. It ends early where no label or one label is left: a path is never longer than that.
pub(super) fn descend(children: &Children, depth: usize, label: &Label, siblings: &mut Vec<Hash>) -> Child {
    let mut own = &children[..];
    for level in depth..depth + STEP {
        let (left, right) = own.split_at(own.len() / 2);
        let (near, far) = if bit(label, level) {
            (right, left)
        } else {
            (left, right)
        };
        siblings.push(fold(far).1);
        own = near;
        match total(own) {
            Some(0) => return Child::EMPTY,
            Some(1) => break,
            _ => {}
        }
    }
    let there = own.iter().find(|child| child.labels > 0);
    there.copied().unwrap_or(Child::EMPTY)
}

/// The four bits of a label that a node at `depth` decides by.
fn nibble(label: &Label, depth: usize) -> usize {
    let byte = label.0[depth / 8];
    usize::from(if depth.is_multiple_of(8) {
        byte >> 4
    } else {
        byte & 0x0f
    })
}

/// How sorted labels that share the first `depth` bits are spread over the children of a node.
pub(super) fn parts<T>(sorted: &[(Label, T)], depth: usize) -> [Range<usize>; WIDTH] {
    let mut from = 0;
    std::array::from_fn(|child| {
        let first = from;
        from += sorted[first..].partition_point(|(label, _)| nibble(label, depth) <= child);
        first..from
    })
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::map::node_hash;

    use super::*;

    fn child(kind: Kind, labels: u64, byte: u8) -> Child {
        Child {
            kind,
            labels,
            root: Hash([byte; 32]),
            at: Location::from_bytes(&[byte; LOCATION_BYTES]),
        }
    }

    #[test]
    fn a_node_reads_as_it_was_written_and_no_shorter_or_longer() {
        let mut children = [Child::EMPTY; WIDTH];
        children[0] = child(Kind::Bucket, 3, 1);
        children[7] = child(Kind::Node, u64::MAX, 2);
        children[15] = child(Kind::Bucket, 1, 3);
        let mut body = vec![9];
        encode(&children, &mut body);
        assert_eq!(body.len(), 4 + 3 * ENTRY_BYTES);
        assert_eq!(decode(&body), Some(children));
        for cut in 0..body.len() {
            assert_eq!(decode(&body[..cut]), None);
        }
        body.push(0);
        assert_eq!(decode(&body), None);
    }

    /// Hashing a lone label with an empty sibling would give a root that no other builder comes to.
    #[test]
    fn a_lone_label_is_passed_up_and_two_are_hashed() {
        let mut children = [Child::EMPTY; WIDTH];
        assert_eq!(fold(&children), (0, EMPTY));
        children[5] = child(Kind::Bucket, 1, 5);
        assert_eq!(fold(&children), (1, Hash([5; 32])));
        children[6] = child(Kind::Bucket, 1, 6);
        let two = node_hash(&Hash([5; 32]), &Hash([6; 32]));
        assert_eq!(fold(&children), (2, node_hash(&node_hash(&EMPTY, &two), &EMPTY)));
        children[6] = child(Kind::Empty, 0, 0);
        children[5].labels = 2;
        let lower = node_hash(&node_hash(&EMPTY, &Hash([5; 32])), &EMPTY);
        let root = node_hash(&node_hash(&EMPTY, &lower), &EMPTY);
        assert_eq!(fold(&children), (2, root));
    }
}
