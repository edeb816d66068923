//! The text of a map leaf: one way of writing, and what is none.

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::map::{MapLeaf, MapLeafError};

use crate::support::{TIME, hex32};

const TEXT: &str = concat!(
    "sharetrail.org/map@v1\n",
    "zlREd1TUovrXo/oFEw/qwvLMnu6+yCcUCRGfngkGsLM=\n",
    "5\n",
    "1767225600\n",
    "shop.example/log/0of1\n",
    "7\n",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
);

fn leaf() -> MapLeaf {
    MapLeaf {
        root: Hash(hex32(
            "ce54447754d4a2fad7a3fa05130feac2f2cc9eeebec8271409119f9e0906b0b3",
        )),
        labels: 5,
        time: TIME,
        checkpoint: Checkpoint::new("shop.example/log/0of1".into(), TreeSize(7), Hash::ZERO),
    }
}

#[test]
fn a_leaf_has_a_known_text_and_reads_back() {
    assert_eq!(leaf().to_text(), TEXT);
    assert_eq!(MapLeaf::parse(TEXT), Ok(leaf()));
    let extreme = MapLeaf {
        labels: u64::MAX,
        time: 0,
        ..leaf()
    };
    assert_eq!(MapLeaf::parse(&extreme.to_text()), Ok(extreme));
}

#[test]
fn what_is_no_leaf_is_refused_at_its_line() {
    let cases = [
        (String::new(), 1),
        (TEXT.replace("@v1", "@v2"), 1),
        (TEXT.replacen("sharetrail", " sharetrail", 1), 1),
        (TEXT.replacen('\n', "\r\n", 1), 1),
        ("sharetrail.org/map@v1".to_owned(), 2),
        (TEXT.replace("zlRE", "zlR"), 2),
        (TEXT.replace("sLM=", "sLN="), 2),
        (TEXT.replace("sLM=", "sLM"), 2),
        (TEXT.replace("\n5\n", "\n05\n"), 3),
        (TEXT.replace("\n5\n", "\n+5\n"), 3),
        (TEXT.replace("\n5\n", "\n\n"), 3),
        (TEXT.replace("\n5\n", "\n18446744073709551616\n"), 3),
        (TEXT.replace("\n1767225600\n", "\n-1\n"), 4),
        (TEXT.replace("\n1767225600\n", "\n 1767225600\n"), 4),
        (TEXT.split_inclusive('\n').take(3).collect(), 4),
        (
            TEXT.split_inclusive('\n')
                .take(4)
                .collect::<String>()
                .trim_end()
                .to_owned(),
            5,
        ),
        (format!("{TEXT}prev AAAA\n"), 8),
    ];
    for (text, at) in cases {
        let found = MapLeaf::parse(&text);
        assert!(
            matches!(found, Err(MapLeafError::Line { line, .. }) if line == at),
            "{text:?}: {found:?}"
        );
    }
    let no_checkpoint = [
        TEXT.trim_end().to_owned(),
        format!("{TEXT}\n"),
        TEXT.replace("\n7\n", "\n07\n"),
        TEXT.replace("AAAA=", "AAAB="),
        TEXT.replace("shop.example/log/0of1", ""),
        TEXT.split_inclusive('\n').take(4).collect(),
    ];
    for text in no_checkpoint {
        let found = MapLeaf::parse(&text);
        assert!(
            matches!(found, Err(MapLeafError::Checkpoint(_))),
            "{text:?}: {found:?}"
        );
    }
}

/// No byte of a leaf is passed over: what still parses after a change is another leaf, written as it was read.
#[test]
fn a_leaf_with_any_bit_flipped_is_another_or_none() {
    for bit in 0..TEXT.len() * 8 {
        let mut bytes = TEXT.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if let Ok(found) = MapLeaf::parse(&text) {
            assert_ne!(found, leaf(), "bit {bit}");
            assert_eq!(found.to_text(), text, "bit {bit}");
        }
    }
}
