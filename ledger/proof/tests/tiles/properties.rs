//! What holds for any path, any growth and any bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::tiles::{Bundle, NodePlace, Tile, append_entry, parse_bundle, tiles_between};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(level in 0_u8..=63, index: u64, width in 1_u16..=256) {
        let tile = Tile::new(level, index, width).unwrap();
        prop_assert_eq!(tile.to_string().parse::<Tile>(), Ok(tile));
        let bundle = Bundle::new(index, width).unwrap();
        prop_assert_eq!(bundle.to_string().parse::<Bundle>(), Ok(bundle));
    }

    #[test]
    fn what_is_read_is_written_the_same(path in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,7}[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(tile) = path.parse::<Tile>() {
            prop_assert_eq!(tile.to_string(), path.as_str());
        }
        if let Ok(bundle) = path.parse::<Bundle>() {
            prop_assert_eq!(bundle.to_string(), path.as_str());
        }
    }

    /// Writing what changed, checkpoint after checkpoint, leaves the same tiles as writing all at once.
    #[test]
    fn growing_writes_exactly_what_changed(sizes in prop::collection::vec(0_u64..200_000, 1..5)) {
        let (mut sizes, mut written, mut old) = (sizes, BTreeMap::new(), TreeSize(0));
        sizes.sort_unstable();
        for new in sizes.into_iter().map(TreeSize) {
            for tile in tiles_between(old, new) {
                let before = written.insert((tile.level(), tile.index()), tile.width());
                prop_assert!(before < Some(tile.width()));
                prop_assert_eq!(Tile::at(tile.level(), tile.index(), new), Some(tile));
            }
            old = new;
        }
        let all = tiles_between(TreeSize(0), old).map(|tile| ((tile.level(), tile.index()), tile.width()));
        prop_assert_eq!(written, all.collect::<BTreeMap<_, _>>());
    }

    #[test]
    fn bundles_are_read_as_they_were_written(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..30)) {
        let mut bytes = Vec::new();
        for entry in &entries {
            append_entry(&mut bytes, entry).unwrap();
        }
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(parse_bundle(&bytes, width).unwrap(), entries);
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..600), text: String, width: u16, level: u8, index: u64) {
        if let Ok(entries) = parse_bundle(&bytes, width) {
            prop_assert_eq!(entries.len(), usize::from(width));
        }
        prop_assert!(text.parse::<Tile>().is_err());
        let place = NodePlace::of(level, index);
        let enough = (place.offset + place.count) * 32 <= bytes.len();
        prop_assert_eq!(place.hash_in(&bytes).is_some(), enough);
        prop_assert!(place.hash_in(&[0; 8192]).is_some_and(|hash| hash != Hash::ZERO || place.count == 1));
    }
}
