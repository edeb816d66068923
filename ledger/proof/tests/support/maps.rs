//! Customer maps and map logs in memory, written down from their definitions and not with the crate's own functions.

use std::collections::BTreeMap;

use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::map::{MapPath, OtherLeaf};
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::root_of;

/// A customer map: each label, by rising bytes, with the hash of what the map says of it.
pub(crate) struct Map {
    leaves: Vec<(Label, Hash)>,
}

impl Map {
    /// The map over the entries of a log, in log order.
    pub(crate) fn of<'a>(entries: impl Iterator<Item = &'a Vec<u8>>) -> Self {
        let mut labels = BTreeMap::<Label, Vec<LeafHash>>::new();
        for bytes in entries {
            if let Some(label) = Entry::parse(bytes).ok().and_then(|entry| entry.label()) {
                labels.entry(label).or_default().push(LeafHash::of(bytes));
            }
        }
        let value = |leaves: &[LeafHash]| {
            let count = u64::try_from(leaves.len()).unwrap();
            Hash::of(&[&[0x04], &count.to_be_bytes(), &root_of(leaves).0])
        };
        Self {
            leaves: labels
                .iter()
                .map(|(label, leaves)| (*label, value(leaves)))
                .collect(),
        }
    }

    pub(crate) fn labels(&self) -> usize {
        self.leaves.len()
    }

    pub(crate) fn root(&self) -> Hash {
        root(&self.leaves, 0)
    }

    /// The way to a label, or to where it is not.
    pub(crate) fn path(&self, label: &Label) -> MapPath {
        let mut siblings = Vec::new();
        let found = descend(&self.leaves, 0, label, &mut siblings);
        MapPath {
            siblings,
            other: found
                .filter(|(other, _)| other != label)
                .map(|(label, value)| OtherLeaf { label, value }),
        }
    }
}

type Sorted<'a> = &'a [(Label, Hash)];

/// The leaves that go to the left at a depth, and those that go to the right.
fn split(leaves: Sorted<'_>, depth: usize) -> (Sorted<'_>, Sorted<'_>) {
    leaves.split_at(leaves.partition_point(|(label, _)| !is_right(label, depth)))
}

fn is_right(label: &Label, depth: usize) -> bool {
    (label.0[depth / 8] >> (7 - depth % 8)) & 1 == 1
}

fn root(leaves: &[(Label, Hash)], depth: usize) -> Hash {
    match leaves {
        [] => Hash([0; 32]),
        [(label, value)] => Hash::of(&[&[0x02], &label.0, &value.0]),
        _ => {
            let (left, right) = split(leaves, depth);
            Hash::of(&[&[0x03], &root(left, depth + 1).0, &root(right, depth + 1).0])
        }
    }
}

fn descend(
    leaves: &[(Label, Hash)],
    depth: usize,
    label: &Label,
    siblings: &mut Vec<Hash>,
) -> Option<(Label, Hash)> {
    if leaves.len() < 2 {
        return leaves.first().copied();
    }
    let (left, right) = split(leaves, depth);
    let (own, other) = if is_right(label, depth) {
        (right, left)
    } else {
        (left, right)
    };
    let found = descend(own, depth + 1, label, siblings);
    siblings.push(root(other, depth + 1));
    found
}
