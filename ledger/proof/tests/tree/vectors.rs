//! Published vectors and probes, and the proofs of an independent implementation.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::Sha256;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tree::{
    CompactRange, ConsistencyProof, InclusionProof, inclusion_proof, prove_consistency, root_of,
    verify_consistency, verify_inclusion,
};

use crate::tree::{leaves, size};

#[derive(Deserialize)]
struct Golden {
    leaves: Vec<String>,
    roots: Vec<String>,
    inclusion: Vec<GoldenInclusion>,
    consistency: Vec<GoldenConsistency>,
}

#[derive(Deserialize)]
struct GoldenInclusion {
    index: u64,
    size: usize,
    proof: Vec<String>,
}

#[derive(Deserialize)]
struct GoldenConsistency {
    old_size: usize,
    new_size: usize,
    proof: Vec<String>,
}

#[derive(Deserialize)]
struct Probes {
    inclusion: Vec<InclusionProbe>,
    consistency: Vec<ConsistencyProbe>,
}

#[derive(Deserialize)]
struct InclusionProbe {
    name: String,
    index: u64,
    size: u64,
    leaf: String,
    root: String,
    proof: Vec<String>,
    holds: bool,
}

#[derive(Deserialize)]
struct ConsistencyProbe {
    name: String,
    old_size: u64,
    new_size: u64,
    old_root: String,
    new_root: String,
    proof: Vec<String>,
    holds: bool,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/tree.json")).unwrap()
}

fn probes() -> Probes {
    serde_json::from_str(include_str!("../golden/probes.json")).unwrap()
}

fn hash(hex: &str) -> Hash {
    Hash(HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap())
}

fn hashes(hex: &[String]) -> Vec<Hash> {
    hex.iter().map(|hex| hash(hex)).collect()
}

fn golden_leaves(golden: &Golden) -> Vec<LeafHash> {
    let entries = golden
        .leaves
        .iter()
        .map(|hex| HEXLOWER.decode(hex.as_bytes()).unwrap());
    entries.map(|entry| LeafHash::of(&entry)).collect()
}

fn concat(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn roots_are_the_published_ones() {
    let golden = golden();
    let leaves = golden_leaves(&golden);
    let mut range = CompactRange::new();
    for (count, root) in golden.roots.iter().enumerate() {
        assert_eq!(root_of(&leaves[..count]), hash(root), "{count} leaves");
        assert_eq!(range.root(), hash(root), "{count} leaves appended");
        if let Some(leaf) = leaves.get(count) {
            range.push(*leaf);
        }
    }
    assert_eq!(golden.roots.len(), leaves.len() + 1);
}

#[test]
fn proofs_are_the_published_ones() {
    let golden = golden();
    let leaves = golden_leaves(&golden);
    for case in &golden.inclusion {
        let proof = inclusion_proof(&leaves[..case.size], LeafIndex(case.index)).unwrap();
        assert_eq!(
            proof.0,
            hashes(&case.proof),
            "leaf {} of {}",
            case.index,
            case.size
        );
    }
    for case in &golden.consistency {
        let (old, new) = (size(&leaves[..case.old_size]), size(&leaves[..case.new_size]));
        let proof = prove_consistency(leaves.as_slice(), old, new).unwrap();
        assert_eq!(proof.0, hashes(&case.proof), "{old} to {new}");
    }
    assert_eq!((golden.inclusion.len(), golden.consistency.len()), (7, 4));
}

#[test]
fn published_probes_hold_or_fail_as_published() {
    let probes = probes();
    for probe in &probes.inclusion {
        let (index, size) = (LeafIndex(probe.index), TreeSize(probe.size));
        let (leaf, proof) = (LeafHash(hash(&probe.leaf)), InclusionProof(hashes(&probe.proof)));
        let verified = verify_inclusion(&leaf, index, size, &proof, &hash(&probe.root));
        assert_eq!(verified.is_ok(), probe.holds, "{}: {verified:?}", probe.name);
    }
    for probe in &probes.consistency {
        let (old, new) = (TreeSize(probe.old_size), TreeSize(probe.new_size));
        let (old_root, new_root) = (hash(&probe.old_root), hash(&probe.new_root));
        let proof = ConsistencyProof(hashes(&probe.proof));
        let verified = verify_consistency(old, &old_root, new, &new_root, &proof);
        assert_eq!(verified.is_ok(), probe.holds, "{}: {verified:?}", probe.name);
    }
    assert_eq!((probes.inclusion.len(), probes.consistency.len()), (72, 71));
}

#[test]
fn roots_and_inclusion_proofs_equal_those_of_ct_merkle() {
    let mut theirs = MemoryBackedTree::<Sha256, [u8; 4]>::new();
    for count in 0..=130_u32 {
        let ours = leaves(count);
        let root = root_of(&ours);
        assert_eq!(theirs.root().as_bytes().as_slice(), root.0, "{count} leaves");
        for (n, index) in (0..count).zip(0_usize..) {
            let proof = inclusion_proof(&ours, LeafIndex(u64::from(n))).unwrap();
            let their_proof = theirs.prove_inclusion(index);
            assert_eq!(concat(&proof.0), their_proof.as_bytes(), "leaf {n} of {count}");
            let carried = ct_merkle::InclusionProof::<Sha256>::try_from_bytes(concat(&proof.0)).unwrap();
            theirs
                .root()
                .verify_inclusion(&n.to_be_bytes(), u64::from(n), &carried)
                .unwrap();
            verify_inclusion(&ours[index], LeafIndex(u64::from(n)), size(&ours), &proof, &root).unwrap();
        }
        theirs.push(count.to_be_bytes());
    }
}

#[test]
fn consistency_proofs_equal_those_of_ct_merkle() {
    let all = leaves(130);
    let roots: Vec<Hash> = (0..=all.len()).map(|count| root_of(&all[..count])).collect();
    let mut theirs = MemoryBackedTree::<Sha256, [u8; 4]>::new();
    for (n, new) in (0..130_u32).zip(1_usize..) {
        theirs.push(n.to_be_bytes());
        for old in 1..=new {
            let (old_size, new_size) = (size(&all[..old]), size(&all[..new]));
            let proof = prove_consistency(all.as_slice(), old_size, new_size).unwrap();
            assert_eq!(
                concat(&proof.0),
                theirs.prove_consistency(new - old).as_bytes(),
                "{old} to {new}"
            );
            let carried = ct_merkle::ConsistencyProof::<Sha256>::try_from_bytes(concat(&proof.0)).unwrap();
            let old_root = ct_merkle::RootHash::<Sha256>::new(roots[old].0.into(), old_size.0);
            theirs.root().verify_consistency(&old_root, &carried).unwrap();
            verify_consistency(old_size, &roots[old], new_size, &roots[new], &proof).unwrap();
        }
    }
}
