//! What holds for any tree: damaged proofs fail, honest ones hold, garbage does no harm.

use proptest::prelude::*;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tree::{
    ConsistencyProof, InclusionProof, MAX_PROOF_HASHES, MAX_TREE_SIZE, ProofError, inclusion_proof,
    prove_consistency, prove_inclusion, root_of, verify_consistency, verify_inclusion,
};

use crate::tree::{ANY, Uniform, leaves, size, uniform_root};

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut flipped = hash;
    flipped.0[bit / 8] ^= 1 << (bit % 8);
    flipped
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each hash counts in each of its bits, and so do the leaf, its index and the number of hashes.
    #[test]
    fn a_changed_inclusion_proof_fails(count in 1_u32..300, at in any::<prop::sample::Index>(), bit in 0_usize..256) {
        let all = leaves(count);
        let at = at.index(all.len());
        let (leaf, size, root) = (all[at], size(&all), root_of(&all));
        let index = LeafIndex(u64::try_from(at).unwrap());
        let proof = inclusion_proof(&all, index).unwrap();
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root), Ok(()));
        for n in 0..proof.0.len() {
            let mut changed = proof.clone();
            changed.0[n] = flip(changed.0[n], bit);
            let verified = verify_inclusion(&leaf, index, size, &changed, &root);
            { let holds = matches!(verified, Err(ProofError::RootMismatch { .. })); prop_assert!(holds); }
        }
        prop_assert!(verify_inclusion(&LeafHash(flip(leaf.0, bit)), index, size, &proof, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &flip(root, bit)).is_err());
        for bit in 0..64 {
            let other = LeafIndex(index.0 ^ (1 << bit));
            prop_assert!(verify_inclusion(&leaf, other, size, &proof, &root).is_err());
        }
        let longer = InclusionProof([proof.0.as_slice(), &[root]].concat());
        prop_assert!(verify_inclusion(&leaf, index, size, &longer, &root).is_err());
    }

    /// Some proofs fit several sizes; with the roots that belong to the sizes, they fit none but their own.
    #[test]
    fn an_inclusion_proof_holds_for_its_own_checkpoint_only(count in 1_u32..80, at in any::<prop::sample::Index>()) {
        let all = leaves(count + 20);
        let at = at.index(usize::try_from(count).unwrap());
        let (index, own) = (LeafIndex(u64::try_from(at).unwrap()), TreeSize(u64::from(count)));
        let proof = prove_inclusion(all.as_slice(), index, own).unwrap();
        for other in 0..=all.len() {
            let (size, root) = (size(&all[..other]), root_of(&all[..other]));
            let verified = verify_inclusion(&all[at], index, size, &proof, &root);
            prop_assert_eq!(verified.is_ok(), size == own);
        }
    }

    #[test]
    fn a_changed_consistency_proof_fails(new in 2_usize..120, at in any::<prop::sample::Index>(), bit in 0_usize..256) {
        let all = leaves(120);
        let old = 1 + at.index(new - 1);
        let (old_size, new_size) = (size(&all[..old]), size(&all[..new]));
        let (old_root, new_root) = (root_of(&all[..old]), root_of(&all[..new]));
        let proof = prove_consistency(all.as_slice(), old_size, new_size).unwrap();
        prop_assert_eq!(verify_consistency(old_size, &old_root, new_size, &new_root, &proof), Ok(()));
        for n in 0..proof.0.len() {
            let mut changed = proof.clone();
            changed.0[n] = flip(changed.0[n], bit);
            prop_assert!(verify_consistency(old_size, &old_root, new_size, &new_root, &changed).is_err());
        }
        prop_assert!(verify_consistency(old_size, &flip(old_root, bit), new_size, &new_root, &proof).is_err());
        prop_assert!(verify_consistency(old_size, &old_root, new_size, &flip(new_root, bit), &proof).is_err());
        for other in 1..new {
            let (size, root) = (size(&all[..other]), root_of(&all[..other]));
            let verified = verify_consistency(size, &root, new_size, &new_root, &proof);
            prop_assert_eq!(verified.is_ok(), other == old);
        }
    }

    /// What is proved verifies, up to the largest trees.
    #[test]
    fn proofs_in_huge_trees_hold(a in 0..=MAX_TREE_SIZE.0, b in 1..=MAX_TREE_SIZE.0) {
        let (old, new) = (TreeSize(a.min(b)), TreeSize(a.max(b)));
        let (old_root, new_root) = (uniform_root(old), uniform_root(new));
        let proof = prove_consistency(&Uniform, old, new).unwrap();
        prop_assert!(proof.0.len() <= MAX_PROOF_HASHES);
        prop_assert_eq!(verify_consistency(old, &old_root, new, &new_root, &proof), Ok(()));
        let index = LeafIndex(a % new.0);
        let proof = prove_inclusion(&Uniform, index, new).unwrap();
        prop_assert_eq!(verify_inclusion(&LeafHash(ANY), index, new, &proof, &new_root), Ok(()));
    }

    #[test]
    fn garbage_never_verifies(a: u64, b: u64, root: [u8; 32], proof in prop::collection::vec(any::<[u8; 32]>(), 0..70)) {
        let (root, proof) = (Hash(root), proof.into_iter().map(Hash).collect::<Vec<_>>());
        let inclusion = InclusionProof(proof.clone());
        prop_assert!(verify_inclusion(&LeafHash(ANY), LeafIndex(a), TreeSize(b), &inclusion, &root).is_err());
        let consistency = ConsistencyProof(proof);
        prop_assert!(verify_consistency(TreeSize(a), &ANY, TreeSize(b), &root, &consistency).is_err());
    }
}
