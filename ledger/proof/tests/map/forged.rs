//! Paths that were tampered with: none shows anything.

use sharetrail_proof::hash::Hash;
use sharetrail_proof::map::{
    EMPTY, MAX_PATH, MapError, MapPath, MapValue, OtherLeaf, bit, shared_bits, verify_absent, verify_present,
};
use sharetrail_proof::name::Label;

use crate::map::{Map, Random};

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut flipped = hash;
    flipped.0[bit / 8] ^= 1 << (bit % 8);
    flipped
}

/// A path with one change, in each way that there is; what stands at its end is left as it is.
fn changed(path: &MapPath, random: &mut Random) -> Vec<MapPath> {
    let with = |siblings: Vec<Hash>| MapPath {
        siblings,
        other: path.other,
    };
    let mut all = Vec::new();
    for at in 0..path.siblings.len() {
        let mut flipped = path.siblings.clone();
        flipped[at] = flip(flipped[at], random.below(256));
        let mut dropped = path.siblings.clone();
        dropped.remove(at);
        let mut twice = path.siblings.clone();
        twice.insert(at, twice[at]);
        all.extend([flipped, dropped, twice].map(with));
        let mut swapped = path.siblings.clone();
        swapped.swap(at, 0);
        if swapped != path.siblings {
            all.push(with(swapped));
        }
    }
    for further in [EMPTY, Hash([7; 32])] {
        all.push(with([path.siblings.as_slice(), &[further]].concat()));
        all.push(with([&[further], path.siblings.as_slice()].concat()));
    }
    all
}

/// That the path is no proof any more. Which fault is named depends on what was changed.
fn is_refused(found: &Result<(), MapError>) -> bool {
    let known = |error: &MapError| {
        matches!(
            error,
            MapError::TooLong { .. } | MapError::Label { .. } | MapError::RootMismatch { .. }
        )
    };
    found.as_ref().err().is_some_and(known)
}

#[test]
fn a_changed_path_does_not_show_that_a_label_is_there() {
    let mut random = Random(1);
    for seed in 0..2 {
        let map = Map::random(seed, 16);
        for (label, value) in &map.values {
            let path = map.path(label);
            for changed in changed(&path, &mut random) {
                assert!(is_refused(&verify_present(label, value, &changed, &map.root)));
            }
            let other_root = flip(map.root, random.below(256));
            let found = verify_present(label, value, &path, &other_root);
            assert!(matches!(found, Err(MapError::RootMismatch { expected, found })
                if expected == other_root && found == map.root));
        }
    }
}

#[test]
fn a_value_has_one_count_and_one_root() {
    let map = Map::random(3, 16);
    for (label, value) in &map.values {
        let path = map.path(label);
        let fewer = MapValue {
            count: value.count - 1,
            ..*value
        };
        let more = MapValue {
            count: value.count + 1,
            ..*value
        };
        let elsewhere = MapValue {
            root: flip(value.root, 0),
            ..*value
        };
        for claimed in [fewer, more, elsewhere] {
            let found = verify_present(label, &claimed, &path, &map.root);
            assert!(matches!(found, Err(MapError::RootMismatch { .. })));
        }
    }
}

#[test]
fn the_path_of_another_label_shows_nothing_of_this_one() {
    let map = Map::random(4, 16);
    for (label, value) in &map.values {
        for (other, _) in map.values.iter().filter(|(other, _)| other != label) {
            let found = verify_present(label, value, &map.path(other), &map.root);
            assert!(matches!(found, Err(MapError::RootMismatch { .. })));
        }
    }
}

/// The lie that the map is there to prevent: leaves are hidden by an answer that says there are none.
#[test]
fn a_label_that_is_there_cannot_be_shown_absent() {
    let mut random = Random(2);
    let map = Map::random(5, 16);
    for (label, _) in &map.values {
        let path = map.path(label);
        // Cut anywhere: at no node on the way down does the path end at nothing, or at any leaf of the map.
        for cut in 0..=path.siblings.len() {
            let siblings = path.siblings[cut..].to_vec();
            let ends = (0..map.values.len()).map(|at| Some(map.other(at))).chain([None]);
            for other in ends {
                let claim = MapPath {
                    siblings: siblings.clone(),
                    other,
                };
                assert!(is_refused(&verify_absent(label, &claim, &map.root)));
            }
        }
        for changed in changed(&path, &mut random) {
            assert!(is_refused(&verify_absent(label, &changed, &map.root)));
        }
    }
}

#[test]
fn a_changed_path_does_not_show_that_a_label_is_absent() {
    let mut random = Random(6);
    let map = Map::random(6, 16);
    let (mut at_nothing, mut at_another) = (0, 0);
    for _ in 0..80 {
        let near = map.values[random.below(map.values.len())].0;
        let shared = random.below(256);
        let label = random.near(&near, shared);
        if map.holds(&label) {
            continue;
        }
        let path = map.path(&label);
        assert_eq!(verify_absent(&label, &path, &map.root), Ok(()));
        for changed in changed(&path, &mut random) {
            assert!(is_refused(&verify_absent(&label, &changed, &map.root)));
        }
        let ends: Vec<Option<OtherLeaf>> = if let Some(other) = path.other {
            at_another += 1;
            let value = flip(other.value, random.below(256));
            let neighbour = random.near(&other.label, 255);
            vec![
                None,
                Some(OtherLeaf { value, ..other }),
                Some(OtherLeaf {
                    label: neighbour,
                    ..other
                }),
            ]
        } else {
            at_nothing += 1;
            (0..map.values.len()).map(|at| Some(map.other(at))).collect()
        };
        for other in ends {
            let claim = MapPath {
                other,
                ..path.clone()
            };
            assert!(is_refused(&verify_absent(&label, &claim, &map.root)));
        }
    }
    assert!(at_nothing > 10 && at_another > 10, "{at_nothing}, {at_another}");
}

/// Without this rule any leaf of the map, with its true path, would show that any label is absent.
#[test]
fn the_other_label_shares_as_many_bits_as_the_path_is_long() {
    let mut random = Random(8);
    let map = Map::random(8, 16);
    for (at, (other, _)) in map.values.iter().enumerate() {
        let path = MapPath {
            other: Some(map.other(at)),
            ..map.path(other)
        };
        let wanted = path.siblings.len();
        for shared in [0, wanted / 2, wanted - 1] {
            let label = random.near(other, shared);
            assert_eq!(shared_bits(&label, other), shared);
            let expected = MapError::Label {
                label: *other,
                shared,
                wanted,
            };
            assert_eq!(verify_absent(&label, &path, &map.root), Err(expected));
        }
        if wanted < MAX_PATH {
            let label = random.near(other, wanted);
            assert_ne!(bit(&label, wanted), bit(other, wanted));
            assert_eq!(verify_absent(&label, &path, &map.root), Ok(()));
        }
    }
}

#[test]
fn a_label_is_not_absent_because_of_itself() {
    let map = Map::random(9, 10);
    for (at, (label, value)) in map.values.iter().enumerate() {
        let path = MapPath {
            other: Some(map.other(at)),
            ..map.path(label)
        };
        let wanted = path.siblings.len();
        let absent = verify_absent(label, &path, &map.root);
        assert_eq!(
            absent,
            Err(MapError::Label {
                label: *label,
                shared: 256,
                wanted
            })
        );
        let present = verify_present(label, value, &path, &map.root);
        assert_eq!(present, Err(MapError::Other { label: *label }));
    }
}

#[test]
fn no_path_is_longer_than_a_label() {
    let (label, value) = (
        Label([1; 32]),
        MapValue {
            count: 1,
            root: EMPTY,
        },
    );
    let other = OtherLeaf {
        label: Label([2; 32]),
        value: EMPTY,
    };
    for length in [257, 258, 1_000] {
        let path = |other| MapPath {
            siblings: vec![EMPTY; length],
            other,
        };
        let too_long = Err(MapError::TooLong { found: length });
        assert_eq!(verify_present(&label, &value, &path(None), &EMPTY), too_long);
        assert_eq!(verify_absent(&label, &path(None), &EMPTY), too_long);
        assert_eq!(verify_absent(&label, &path(Some(other)), &EMPTY), too_long);
    }
}
