//! Subtree hashes and proofs out of tiles.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};

use sharetrail_proof::hash::{LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tiles::{NodePlace, ReadError, RecentTiles, Tile, TileError, TileReader};
use sharetrail_proof::tree::{
    CompactRange, NodeSource, ProveError, prove_consistency, prove_inclusion, range_at, root_of,
    verify_inclusion,
};

/// A log of 65,537 leaves: its leaf hashes, and its tiles by level and index as wide as they got.
struct Log {
    leaves: Vec<LeafHash>,
    tiles: BTreeMap<(u8, u64), Vec<u8>>,
}

static LOG: LazyLock<Log> = LazyLock::new(|| {
    let leaves: Vec<LeafHash> = (0..65_537_u32).map(|n| LeafHash::of(&n.to_be_bytes())).collect();
    let mut tiles = BTreeMap::<(u8, u64), Vec<u8>>::new();
    let mut range = CompactRange::new();
    for leaf in &leaves {
        range.push_with(*leaf, &mut |level, index, hash| {
            if level % 8 == 0 {
                tiles.entry((level / 8, index / 256)).or_default().extend(hash.0);
            }
        });
    }
    Log { leaves, tiles }
});

/// There is no such tile, or it is not as wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such tile")]
struct Missing;

impl Log {
    fn fetch(&self, tile: Tile) -> Result<Vec<u8>, Missing> {
        let bytes = self.tiles.get(&(tile.level(), tile.index())).ok_or(Missing)?;
        bytes.get(..tile.byte_len()).map(<[u8]>::to_vec).ok_or(Missing)
    }
}

#[test]
fn subtrees_are_found_in_tiles() {
    let place = |tile_level, tile_index, offset, count| NodePlace {
        tile_level,
        tile_index,
        offset,
        count,
    };
    assert_eq!(NodePlace::of(0, 0), place(0, 0, 0, 1));
    assert_eq!(NodePlace::of(0, 257), place(0, 1, 1, 1));
    assert_eq!(NodePlace::of(7, 3), place(0, 1, 128, 128));
    assert_eq!(NodePlace::of(8, 3), place(1, 0, 3, 1));
    assert_eq!(NodePlace::of(17, 129), place(2, 1, 2, 2));
    for (level, index) in [(0, u64::MAX), (7, u64::MAX), (63, 1), (255, u64::MAX)] {
        assert_eq!(NodePlace::of(level, index).hash_in(&[0; 31]), None);
    }
}

#[test]
fn proofs_out_of_tiles_equal_those_of_the_tree_in_memory() {
    let (log, sizes) = (
        &*LOG,
        [1, 2, 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537],
    );
    for size in sizes.map(TreeSize) {
        let reader = TileReader::new(size, |tile| log.fetch(tile));
        let leaves = &log.leaves[..usize::try_from(size.0).unwrap()];
        assert_eq!(
            range_at(&reader, size).unwrap().root(),
            root_of(leaves),
            "{size} leaves"
        );
        let indexes = [0, 1, 254, 255, 256, 257, size.0 / 2, size.0 - 1];
        for index in indexes.into_iter().filter(|index| *index < size.0).map(LeafIndex) {
            let proof = prove_inclusion(&reader, index, size).unwrap();
            assert_eq!(
                proof,
                prove_inclusion(leaves, index, size).unwrap(),
                "leaf {index} of {size}"
            );
        }
        for old in sizes.into_iter().filter(|old| *old <= size.0).map(TreeSize) {
            let proof = prove_consistency(&reader, old, size).unwrap();
            assert_eq!(
                proof,
                prove_consistency(leaves, old, size).unwrap(),
                "{old} to {size}"
            );
            let root = range_at(&reader, old).unwrap().root();
            assert_eq!(
                root,
                root_of(&leaves[..usize::try_from(old.0).unwrap()]),
                "{old} of {size}"
            );
        }
    }
}

#[test]
fn every_node_of_a_tree_is_found_and_no_other() {
    let size = TreeSize(1025);
    let leaves = &LOG.leaves[..1025];
    let reader = TileReader::new(size, |tile| LOG.fetch(tile));
    for level in 0..=12_u8 {
        let complete = 1025_u64 >> level;
        for index in 0..complete {
            assert_eq!(
                reader.node(level, index).ok(),
                leaves.node(level, index).ok(),
                "{level} {index}"
            );
        }
        let beyond = TileError::NoSuchNode {
            level,
            index: complete,
            size,
        };
        assert_eq!(reader.node(level, complete), Err(ReadError::Tile(beyond)));
    }
    for (level, index) in [(63, 0), (64, 0), (255, u64::MAX), (0, u64::MAX)] {
        let beyond = TileError::NoSuchNode { level, index, size };
        assert_eq!(reader.node(level, index), Err(ReadError::Tile(beyond)));
    }
}

#[test]
fn a_reader_says_which_tile_is_missing_or_damaged() {
    let (size, index) = (TreeSize(300), LeafIndex(299));
    let tile = Tile::new(0, 1, 44).unwrap();
    let none = TileReader::new(size, |_| Err::<Vec<u8>, _>(Missing));
    let missing = ReadError::Fetch {
        tile,
        source: Missing,
    };
    assert_eq!(
        prove_inclusion(&none, index, size),
        Err(ProveError::Source(missing))
    );
    let short = TileReader::new(size, |tile| LOG.fetch(tile).map(|bytes| bytes[1..].to_vec()));
    let damaged = TileError::WrongLength {
        tile,
        expected: 1408,
        found: 1407,
    };
    let damaged = ProveError::Source(ReadError::Tile(damaged));
    assert_eq!(prove_inclusion(&short, index, size), Err(damaged));

    let zeroes = TileReader::new(size, |tile| Ok::<_, Missing>(vec![0; tile.byte_len()]));
    let (proof, root) = (
        prove_inclusion(&zeroes, index, size).unwrap(),
        root_of(&LOG.leaves[..300]),
    );
    assert!(verify_inclusion(&LOG.leaves[299], index, size, &proof, &root).is_err());
}

#[test]
fn a_reader_fetches_as_often_as_its_cache_forgets() {
    let (size, fetched) = (TreeSize(65_537), Cell::new(0));
    let fetch = |tile| {
        fetched.set(fetched.get() + 1);
        LOG.fetch(tile).map(Arc::<[u8]>::from)
    };
    let prove = |source: &dyn NodeSource<Error = ReadError<Missing>>| {
        let before = fetched.get();
        prove_inclusion(source, LeafIndex(1), size).unwrap();
        fetched.get() - before
    };
    let kept = TileReader::new(size, &fetch);
    assert_eq!((prove(&kept), prove(&kept), kept.size()), (3, 0, size));
    let locked = TileReader::with_cache(size, &fetch, Mutex::new(RecentTiles::new(3)));
    assert_eq!((prove(&locked), prove(&locked)), (3, 0));
    let small = TileReader::with_cache(size, &fetch, RefCell::new(RecentTiles::new(1)));
    assert_eq!((prove(&small), prove(&small)), (3, 3));
    let never = TileReader::with_cache(size, &fetch, ());
    assert_eq!((prove(&never), prove(&never)), (17, 17));
}
