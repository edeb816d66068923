//! Trees and their proofs, against published vectors, an independent implementation and random damage.

mod properties;
mod vectors;

use std::collections::HashMap;

use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tree::{
    CompactRange, ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, MAX_TREE_SIZE, NoSuchNode, NodeSource,
    ProofError, ProveError, inclusion_proof, prove_consistency, prove_inclusion, range_at,
    root_from_inclusion, root_of, verify_consistency, verify_inclusion,
};

const ANY: Hash = Hash([7; 32]);

/// The leaves of the test's log: entry n is the four bytes of n.
fn leaves(count: u32) -> Vec<LeafHash> {
    (0..count).map(|n| LeafHash::of(&n.to_be_bytes())).collect()
}

fn size(leaves: &[LeafHash]) -> TreeSize {
    TreeSize(u64::try_from(leaves.len()).unwrap())
}

/// Every node that appending reported.
#[derive(Default)]
struct Nodes(HashMap<(u8, u64), Hash>);

impl NodeSource for Nodes {
    type Error = NoSuchNode;

    fn node(&self, level: u8, index: u64) -> Result<Hash, NoSuchNode> {
        self.0
            .get(&(level, index))
            .copied()
            .ok_or(NoSuchNode { level, index })
    }
}

/// A tree of any size whose leaves are all the same, so that each level has one hash.
struct Uniform;

impl NodeSource for Uniform {
    type Error = NoSuchNode;

    fn node(&self, level: u8, _: u64) -> Result<Hash, NoSuchNode> {
        Ok((0..level).fold(ANY, |node, _| Hash::node(&node, &node)))
    }
}

fn uniform_root(size: TreeSize) -> Hash {
    range_at(&Uniform, size).unwrap().root()
}

#[test]
fn appending_reports_each_node_once_and_keeps_the_frontier() {
    let (all, mut nodes, mut range) = (leaves(300), Nodes::default(), CompactRange::default());
    let mut completed = 0_usize;
    for (count, leaf) in all.iter().enumerate() {
        assert_eq!(range.hashes().len(), usize::try_from(count.count_ones()).unwrap());
        range.push_with(*leaf, &mut |level, index, hash| {
            completed += 1;
            assert_eq!(all.as_slice().node(level, index), Ok(hash));
            assert_eq!(nodes.0.insert((level, index), hash), None);
        });
        let again = CompactRange::from_parts(range.size(), range.hashes().to_vec());
        assert_eq!(again.as_ref(), Ok(&range));
        assert_eq!(range_at(&nodes, range.size()).as_ref(), Ok(&range));
    }
    assert_eq!(completed, 2 * 300 - range.hashes().len());
    for earlier in 0..=300_usize {
        let range = range_at(&nodes, size(&all[..earlier])).unwrap();
        assert_eq!(range.root(), root_of(&all[..earlier]), "{earlier} leaves");
    }
}

#[test]
fn the_empty_tree_has_one_root_and_no_leaves() {
    let (none, empty) = (TreeSize(0), Hash::empty_root());
    assert_eq!(root_of(&[]), empty);
    assert_eq!(inclusion_proof(&[], LeafIndex(0)), None);
    let (leaf, no_proof) = (LeafHash(ANY), InclusionProof::default());
    assert_eq!(
        verify_inclusion(&leaf, LeafIndex(0), none, &no_proof, &empty),
        Err(ProofError::IndexOutOfRange {
            index: LeafIndex(0),
            size: none
        })
    );
    let no_proof = ConsistencyProof::default();
    assert_eq!(verify_consistency(none, &empty, none, &empty, &no_proof), Ok(()));
    assert_eq!(
        verify_consistency(none, &empty, TreeSize(5), &ANY, &no_proof),
        Ok(())
    );
    assert_eq!(
        verify_consistency(none, &ANY, TreeSize(5), &ANY, &no_proof),
        Err(ProofError::OldRootMismatch {
            expected: ANY,
            found: empty
        })
    );
    assert_eq!(
        verify_consistency(none, &empty, none, &ANY, &no_proof),
        Err(ProofError::RootMismatch {
            expected: ANY,
            found: empty
        })
    );
    assert_eq!(
        verify_consistency(none, &empty, TreeSize(5), &ANY, &ConsistencyProof(vec![ANY])),
        Err(ProofError::WrongLength {
            expected: 0,
            found: 1
        })
    );
}

#[test]
fn errors_hold_what_was_expected_and_found() {
    let all = leaves(8);
    let (root, proof) = (root_of(&all), inclusion_proof(&all, LeafIndex(5)).unwrap());
    assert_eq!(
        verify_inclusion(&all[5], LeafIndex(5), TreeSize(8), &proof, &ANY),
        Err(ProofError::RootMismatch {
            expected: ANY,
            found: root
        })
    );
    let longer = InclusionProof(vec![ANY; 100_000]);
    assert_eq!(
        root_from_inclusion(&all[5], LeafIndex(5), TreeSize(8), &longer),
        Err(ProofError::WrongLength {
            expected: 3,
            found: 100_000
        })
    );
    let shrunk = ProofError::Shrunk {
        old: TreeSize(8),
        new: TreeSize(7),
    };
    let no_proof = ConsistencyProof::default();
    assert_eq!(
        verify_consistency(TreeSize(8), &root, TreeSize(7), &root, &no_proof),
        Err(shrunk.clone())
    );
    assert_eq!(
        prove_consistency(all.as_slice(), TreeSize(8), TreeSize(7)),
        Err(ProveError::Request(shrunk))
    );
    assert_eq!(
        prove_inclusion(all.as_slice(), LeafIndex(0), TreeSize(9)),
        Err(ProveError::Source(NoSuchNode { level: 0, index: 8 }))
    );
    assert_eq!(
        CompactRange::from_parts(TreeSize(6), vec![ANY]),
        Err(ProofError::WrongLength {
            expected: 2,
            found: 1
        })
    );
}

#[test]
fn the_longest_proofs_have_63_hashes_and_larger_trees_are_refused() {
    let (old, largest) = (TreeSize(3), MAX_TREE_SIZE);
    let inclusion = prove_inclusion(&Uniform, LeafIndex(0), largest).unwrap();
    let consistency = prove_consistency(&Uniform, old, largest).unwrap();
    assert_eq!((inclusion.0.len(), consistency.0.len()), (62, MAX_PROOF_HASHES));
    let (old_root, root) = (uniform_root(old), uniform_root(largest));
    assert_eq!(
        verify_consistency(old, &old_root, largest, &root, &consistency),
        Ok(())
    );

    let size = TreeSize(largest.0 + 1);
    let too_large = ProofError::TreeTooLarge { size };
    assert_eq!(
        root_from_inclusion(&LeafHash(ANY), LeafIndex(0), size, &inclusion),
        Err(too_large.clone())
    );
    assert_eq!(
        verify_consistency(old, &old_root, size, &root, &consistency),
        Err(too_large.clone())
    );
    assert_eq!(
        CompactRange::from_parts(size, vec![ANY; 2]),
        Err(too_large.clone())
    );
    assert_eq!(range_at(&Uniform, size), Err(ProveError::Request(too_large)));
}

#[test]
fn extreme_numbers_and_lengths_never_panic() {
    let extremes = [
        0,
        1,
        2,
        3,
        (1 << 62) - 1,
        1 << 62,
        (1 << 62) + 1,
        1 << 63,
        u64::MAX - 1,
        u64::MAX,
    ];
    for (a, b) in extremes
        .iter()
        .flat_map(|a| extremes.iter().map(move |b| (*a, *b)))
    {
        for length in [0, 1, 2, 61, 62, 63, 64, 65, 1000] {
            let (proof, leaf) = (vec![Hash::ZERO; length], LeafHash(ANY));
            let inclusion = InclusionProof(proof.clone());
            assert!(verify_inclusion(&leaf, LeafIndex(a), TreeSize(b), &inclusion, &Hash::ZERO).is_err());
            let consistency = ConsistencyProof(proof);
            let (old, new) = (TreeSize(a), TreeSize(b));
            assert!(verify_consistency(old, &ANY, new, &Hash::ZERO, &consistency).is_err());
        }
        let level = u8::try_from(b % 256).unwrap();
        assert!(leaves(1).as_slice().node(level, a).is_err() || (level, a) == (0, 0));
    }
}
