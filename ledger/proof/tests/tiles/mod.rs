//! Tiles and bundles: the examples of the spec, paths both ways, and proofs read out of tiles.

mod properties;
mod reader;

use serde::Deserialize;
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::tiles::{
    Bundle, FULL_WIDTH, MAX_ENTRY_BYTES, Tile, TileError, append_entry, bundles_between, parse_bundle,
    tiles_between,
};

#[derive(Deserialize)]
struct Golden {
    indexes: Vec<GoldenIndex>,
    trees: Vec<GoldenTree>,
}

#[derive(Deserialize)]
struct GoldenIndex {
    index: u64,
    path: String,
}

/// How many full tiles each level has, and how wide its partial tile is, 0 for none.
#[derive(Deserialize)]
struct GoldenTree {
    size: u64,
    full: Vec<usize>,
    partial: Vec<u16>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../golden/tiles.json")).unwrap()
}

#[test]
fn trees_consist_of_the_tiles_the_spec_says() {
    for tree in golden().trees {
        let tiles: Vec<Tile> = tiles_between(TreeSize(0), TreeSize(tree.size)).collect();
        for (level, (full, partial)) in (0_u8..).zip(tree.full.iter().zip(&tree.partial)) {
            let of_level = || tiles.iter().filter(move |tile| tile.level() == level);
            assert_eq!(of_level().filter(|tile| tile.is_full()).count(), *full);
            let widths: Vec<u16> = of_level()
                .filter(|tile| !tile.is_full())
                .map(Tile::width)
                .collect();
            assert_eq!(widths, if *partial == 0 { vec![] } else { vec![*partial] });
        }
        let partials = tree.partial.iter().filter(|width| **width > 0).count();
        assert_eq!(tiles.len(), tree.full.iter().sum::<usize>() + partials);
    }
}

#[test]
fn paths_are_those_of_the_spec() {
    for golden in golden().indexes {
        let (index, encoded) = (golden.index, golden.path);
        let path = |tile: Result<Tile, TileError>| tile.unwrap().to_string();
        assert_eq!(path(Tile::new(0, index, FULL_WIDTH)), format!("tile/0/{encoded}"));
        assert_eq!(
            path(Tile::new(63, index, 255)),
            format!("tile/63/{encoded}.p/255")
        );
        let bundle = Bundle::new(index, 1).unwrap();
        assert_eq!(bundle.to_string(), format!("tile/entries/{encoded}.p/1"));
    }
    assert_eq!(Tile::new(1, 0, 17).unwrap().to_string(), "tile/1/000.p/17");
    assert_eq!(
        Bundle::new(1000, 256).unwrap().to_string(),
        "tile/entries/x001/000"
    );
    let last = Tile::new(7, u64::MAX, 256).unwrap();
    assert_eq!(last.to_string(), "tile/7/x018/x446/x744/x073/x709/x551/615");
    assert_eq!(
        "tile/7/x018/x446/x744/x073/x709/x551/615".parse::<Tile>(),
        Ok(last)
    );
}

#[test]
fn paths_with_another_spelling_are_refused() {
    let bad = [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/+0/000",
        "tile/-1/000",
        "tile/64/000",
        "tile/256/000",
        "tile/0/x000/001",
        "tile/0/x01/001",
        "tile/0/001/001",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/X001/001",
        "tile/0/xx01/001",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/+1",
        "tile/0/000.p/1/",
        "tile/0/ 00",
        "tile/0/+01",
        "/tile/0/000",
        "tile/0/000\n",
        "tile/0/../000",
        "tile//000",
        "Tile/0/000",
        "tile/0/٠٠٠",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ];
    for path in bad {
        let refused = TileError::BadPath {
            path: path.to_owned(),
        };
        assert_eq!(path.parse::<Tile>(), Err(refused.clone()), "{path:?}");
        let as_entries = path.replacen("tile/0/", "tile/entries/", 1);
        assert!(
            matches!(as_entries.parse::<Bundle>(), Err(TileError::BadPath { .. })),
            "{path:?}"
        );
    }
    assert!("tile/entries/000".parse::<Tile>().is_err());
    assert!("tile/0/000".parse::<Bundle>().is_err());
    let long = "é".repeat(1_000_000).parse::<Tile>();
    assert_eq!(
        long,
        Err(TileError::BadPath {
            path: "é".repeat(128)
        })
    );
}

#[test]
fn coordinates_out_of_range_are_refused() {
    for (level, width) in [(64, 1), (255, 1), (0, 0), (0, 257), (0, u16::MAX)] {
        assert_eq!(
            Tile::new(level, 0, width),
            Err(TileError::BadTile { level, width })
        );
    }
    assert_eq!(Bundle::new(0, 0), Err(TileError::BadTile { level: 0, width: 0 }));
    assert_eq!(
        Bundle::new(0, 257),
        Err(TileError::BadTile { level: 0, width: 257 })
    );
    assert_eq!(Tile::at(0, 0, TreeSize(0)), None);
    assert_eq!(Tile::at(0, 1, TreeSize(256)), None);
    assert_eq!(Tile::at(255, 0, TreeSize(u64::MAX)), None);
    assert_eq!(Tile::at(0, u64::MAX, TreeSize(u64::MAX)), None);
    assert_eq!(
        Tile::at(7, 0, TreeSize(u64::MAX)).map(|tile| tile.width()),
        Some(255)
    );
    let partial = Tile::new(2, 3, 4).unwrap();
    assert_eq!(
        (partial.byte_len(), partial.full()),
        (128, Tile::new(2, 3, 256).unwrap())
    );
}

#[test]
fn bundles_hold_entries_by_their_low_byte() {
    let size = TreeSize(70_000);
    let (full, partial) = (Bundle::new(1, 256).unwrap(), Bundle::new(273, 112).unwrap());
    assert_eq!(Bundle::holding(LeafIndex(511), size), Some((full, 255)));
    assert_eq!(Bundle::holding(LeafIndex(69_999), size), Some((partial, 111)));
    assert_eq!(Bundle::holding(LeafIndex(70_000), size), None);
    assert_eq!(
        bundles_between(TreeSize(69_999), size).collect::<Vec<_>>(),
        [partial]
    );
    assert_eq!(bundles_between(size, size).count(), 0);
    assert_eq!(bundles_between(TreeSize(0), size).count(), 274);
}

#[test]
fn bundles_say_where_they_are_broken() {
    let mut bytes = Vec::new();
    for entry in [&b"first"[..], b"", &[7; 300]] {
        append_entry(&mut bytes, entry).unwrap();
    }
    assert_eq!(bytes[..9], [0, 5, b'f', b'i', b'r', b's', b't', 0, 0]);
    assert_eq!(parse_bundle(&bytes, 3).unwrap(), [&b"first"[..], b"", &[7; 300]]);
    assert_eq!(
        parse_bundle(&bytes, 2),
        Err(TileError::TrailingBytes {
            offset: 9,
            found: 302
        })
    );
    let truncated = |entry, offset, expected, found| {
        Err(TileError::TruncatedEntry {
            entry,
            offset,
            expected,
            found,
        })
    };
    assert_eq!(parse_bundle(&bytes, 4), truncated(3, 311, 2, 0));
    assert_eq!(parse_bundle(&bytes[..310], 3), truncated(2, 11, 300, 299));
    assert_eq!(parse_bundle(&bytes[..1], 3), truncated(0, 0, 2, 1));
    for end in 0..bytes.len() {
        let parsed = parse_bundle(&bytes[..end], 3);
        assert!(
            matches!(parsed, Err(TileError::TruncatedEntry { .. })),
            "cut at {end}"
        );
    }
}

#[test]
fn an_entry_has_at_most_65_535_bytes() {
    let (mut bytes, entry) = (Vec::new(), vec![1; MAX_ENTRY_BYTES + 1]);
    assert_eq!(
        append_entry(&mut bytes, &entry),
        Err(TileError::EntryTooLong { len: 65_536 })
    );
    assert!(bytes.is_empty());
    append_entry(&mut bytes, &entry[1..]).unwrap();
    assert_eq!(parse_bundle(&bytes, 1).unwrap(), [&entry[1..]]);
}
