//! The customer map: against values computed apart from this crate, a naive trie, and every kind of damaged path.

mod forged;
mod leaf;
mod vectors;

use sharetrail_proof::hash::Hash;
use sharetrail_proof::map::{
    EMPTY, End, MapPath, MapValue, OtherLeaf, bit, leaf_hash, leaf_hashes, path_in_subtree, shared_bits,
    subtree_root, subtree_roots, verify_absent, verify_present,
};
use sharetrail_proof::name::Label;

/// Numbers that are the same in every run (`SplitMix64`).
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.number() % u64::try_from(end).unwrap()).unwrap()
    }

    fn label(&mut self) -> Label {
        Label(Hash::of(&[&self.number().to_be_bytes()]).0)
    }

    /// A label that shares `shared` bits with another, and not the next.
    fn near(&mut self, other: &Label, shared: usize) -> Label {
        let mut label = self.label();
        for depth in 0..shared {
            set(&mut label, depth, bit(other, depth));
        }
        set(&mut label, shared, !bit(other, shared));
        label
    }

    /// Distinct labels, many of which share long prefixes.
    fn labels(&mut self, count: usize) -> Vec<Label> {
        let mut labels: Vec<Label> = Vec::new();
        while labels.len() < count {
            let label = if labels.is_empty() || self.below(2) == 0 {
                self.label()
            } else {
                let near = labels[self.below(labels.len())];
                let shared = self.below(256);
                self.near(&near, shared)
            };
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        labels
    }
}

fn set(label: &mut Label, depth: usize, to: bool) {
    let mask = 0x80 >> (depth % 8);
    if to {
        label.0[depth / 8] |= mask;
    } else {
        label.0[depth / 8] &= !mask;
    }
}

/// A whole map in memory.
struct Map {
    values: Vec<(Label, MapValue)>,
    leaves: Vec<(Label, Hash)>,
    root: Hash,
}

impl Map {
    fn new(labels: &[Label]) -> Self {
        let value = |label: &Label| MapValue {
            count: 1 + u64::from(label.0[31]),
            root: Hash::of(&[b"leaves of", &label.0]),
        };
        let mut values: Vec<_> = labels.iter().map(|label| (*label, value(label))).collect();
        values.sort_by_key(|(label, _)| *label);
        let leaves: Vec<_> = values
            .iter()
            .map(|(label, value)| (*label, leaf_hash(label, &value.hash())))
            .collect();
        let root = subtree_root(0, &leaves);
        Self { values, leaves, root }
    }

    fn random(seed: u64, count: usize) -> Self {
        Self::new(&Random(seed).labels(count))
    }

    /// What a ledger would hand out for this label.
    fn path(&self, label: &Label) -> MapPath {
        let (siblings, end) = path_in_subtree(0, &self.leaves, label);
        let other = match end {
            End::Here | End::Empty => None,
            End::Other(at) => Some(self.other(at)),
        };
        MapPath { siblings, other }
    }

    fn other(&self, at: usize) -> OtherLeaf {
        let (label, value) = self.values[at];
        OtherLeaf {
            label,
            value: value.hash(),
        }
    }

    fn holds(&self, label: &Label) -> bool {
        self.values.iter().any(|(held, _)| held == label)
    }
}

fn bits(label: &Label) -> String {
    let bytes: Vec<String> = label.0.iter().map(|byte| format!("{byte:08b}")).collect();
    bytes.concat()
}

/// The rule of the trie as it is written down: no leaf, one leaf, or two halves.
fn naive_root(prefix: &str, leaves: &[(String, Hash)]) -> Hash {
    let mut below = leaves.to_vec();
    below.retain(|(bits, _)| bits.starts_with(prefix));
    match below.as_slice() {
        [] => Hash([0; 32]),
        [(_, hash)] => *hash,
        _ => {
            let left = naive_root(&format!("{prefix}0"), &below);
            let right = naive_root(&format!("{prefix}1"), &below);
            Hash::of(&[&[3], &left.0, &right.0])
        }
    }
}

#[test]
fn the_root_is_that_of_the_rule_as_it_is_written_down() {
    for count in 0..40 {
        let map = Map::random(u64::try_from(count).unwrap(), count);
        let mut naive: Vec<_> = map
            .leaves
            .iter()
            .map(|(label, hash)| (bits(label), *hash))
            .collect();
        // The rule knows no order.
        naive.reverse();
        assert_eq!(map.root, naive_root("", &naive), "{count} labels");
    }
    assert_eq!(Map::random(0, 0).root, EMPTY);
}

#[test]
fn subtrees_come_together_to_the_whole() {
    let map = Map::random(7, 60);
    let naive: Vec<_> = map
        .leaves
        .iter()
        .map(|(label, hash)| (bits(label), *hash))
        .collect();
    for (label, _) in &map.leaves {
        for depth in [1, 2, 5, 17, 100, 255, 256] {
            let shares = |(other, _): &&(Label, Hash)| shared_bits(label, other) >= depth;
            let below: Vec<_> = map.leaves.iter().filter(shares).copied().collect();
            assert_eq!(
                subtree_root(depth, &below),
                naive_root(&bits(label)[..depth], &naive)
            );
            let whole = map.path(label).siblings;
            let inside = path_in_subtree(depth, &below, label);
            let length = whole.len().saturating_sub(depth);
            assert_eq!(inside, (whole[..length].to_vec(), End::Here), "depth {depth}");
        }
    }
}

/// The fault: a node is hashed before what is below it, or into another subtree.
#[test]
fn many_subtrees_at_once_have_the_roots_of_each() {
    let maps: Vec<Map> = (0..20)
        .map(|seed| Map::random(seed, usize::try_from(seed).unwrap()))
        .collect();
    let leaves: Vec<Vec<(Label, Hash)>> = maps
        .iter()
        .map(|map| {
            map.values
                .iter()
                .map(|(label, value)| (*label, leaf_hash(label, &value.hash())))
                .collect()
        })
        .collect();
    let all: Vec<(usize, &[(Label, Hash)])> = leaves.iter().map(|leaves| (0, leaves.as_slice())).collect();
    let roots: Vec<Hash> = maps.iter().map(|map| map.root).collect();
    assert_eq!(subtree_roots(&all), roots);
}

/// A map that can be asked answers for every label, and its answer is believed, whether the label is there or not.
#[test]
fn every_label_of_a_map_is_shown_present_and_no_other() {
    for seed in 0..10 {
        let (mut random, map) = (
            Random(seed + 1_000),
            Map::random(seed, 1 + usize::try_from(seed * 3).unwrap()),
        );
        for (label, value) in &map.values {
            let path = map.path(label);
            assert_eq!(verify_present(label, value, &path, &map.root), Ok(()));
            assert!(verify_absent(label, &path, &map.root).is_err());
        }
        for _ in 0..100 {
            let near = map.values[random.below(map.values.len())].0;
            let shared = random.below(256);
            let (near, far) = (random.near(&near, shared), random.label());
            for label in [near, far].iter().filter(|label| !map.holds(label)) {
                let path = map.path(label);
                assert_eq!(
                    verify_absent(label, &path, &map.root),
                    Ok(()),
                    "seed {seed}: {label}"
                );
                let claimed = map.values[0].1;
                assert!(verify_present(label, &claimed, &path, &map.root).is_err());
            }
        }
    }
}

/// The deepest trie that there can be: one more level would ask for a bit that no label has.
#[test]
fn labels_that_differ_in_the_last_bit_alone_have_the_longest_paths() {
    let (first, last) = (
        Label([0x5a; 32]),
        Label({
            let mut bytes = [0x5a; 32];
            bytes[31] ^= 1;
            bytes
        }),
    );
    assert_eq!(shared_bits(&first, &last), 255);
    assert_eq!(shared_bits(&first, &first), 256);
    let map = Map::new(&[last, first]);
    for (label, value) in &map.values {
        let path = map.path(label);
        assert_eq!(path.siblings.len(), 256);
        assert_eq!(path.siblings[1..], [EMPTY; 255]);
        assert_eq!(verify_present(label, value, &path, &map.root), Ok(()));
    }
    let mut between = first;
    between.0[31] ^= 2;
    let path = map.path(&between);
    assert_eq!((path.siblings.len(), path.other), (255, None));
    assert_eq!(verify_absent(&between, &path, &map.root), Ok(()));
}

#[test]
fn in_an_empty_map_there_is_nothing_and_in_a_map_of_one_label_its_leaf_is_the_root() {
    let (empty, label) = (Map::new(&[]), Label([9; 32]));
    assert_eq!(empty.path(&label), MapPath::default());
    assert_eq!(verify_absent(&label, &MapPath::default(), &EMPTY), Ok(()));
    let one = Map::new(&[label]);
    assert_eq!(one.root, one.leaves[0].1);
    assert_eq!(one.path(&label), MapPath::default());
    let far = Label([0xf0; 32]);
    let path = one.path(&far);
    assert_eq!((path.siblings.len(), path.other), (0, Some(one.other(0))));
    assert_eq!(verify_absent(&far, &path, &one.root), Ok(()));
}

#[test]
fn leaf_hashes_side_by_side_are_those_one_by_one() {
    for count in 0..20 {
        let map = Map::random(99, count);
        let one_by_one: Vec<Hash> = map.leaves.iter().map(|(_, hash)| *hash).collect();
        assert_eq!(leaf_hashes(&map.values), one_by_one);
    }
}

/// The list is the caller's to keep sorted and without repeats; a fault there must not end the program.
#[test]
fn a_label_that_stands_twice_in_the_list_leads_to_no_panic() {
    let twice = [(Label([1; 32]), Hash([1; 32])); 2];
    let _ = subtree_root(0, &twice);
    let (siblings, end) = path_in_subtree(0, &twice, &Label([1; 32]));
    assert_eq!((siblings.len(), end), (256, End::Here));
}
