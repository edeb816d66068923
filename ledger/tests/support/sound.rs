//! Whether a shard's archive is whole: every byte of it recomputed from its leaves.
//!
//! In scope: order, root, tiles, bundles, signatures, exactly once. Out of scope: what the events say.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use sharetrail_ledger::{Ledger, Reader};
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::tiles::{Bundle, Tile, append_entry, bundles_between, tiles_between};
use sharetrail_proof::tree::{root_of, verify_consistency, verify_inclusion};

use super::files_in;

/// All entries of a shard, in order.
pub(crate) fn entries(reader: &Reader) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut visit = |index: LeafIndex, entry: &[u8], _: &[u8]| {
        assert_eq!(index.0, found.len() as u64);
        found.push(entry.to_vec());
        ControlFlow::Continue(())
    };
    reader.scan(LeafIndex(0), &mut visit).unwrap();
    found
}

/// How often a frame's batch is on record, each time with all of its entries behind it.
pub(crate) fn times_on_record(entries: &[Vec<u8>], frame: &[u8]) -> usize {
    let frame = Frame::parse(frame).unwrap();
    let mut note = vec![BATCH];
    note.extend_from_slice(frame.note_text.as_bytes());
    let places = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| **entry == note)
        .map(|(place, _)| place);
    let places: Vec<usize> = places.collect();
    for place in &places {
        let behind = &entries[place + 1..place + 1 + frame.entries.len()];
        assert!(
            behind
                .iter()
                .zip(&frame.entries)
                .all(|(there, sent)| there == sent),
            "entries of the batch at {place}"
        );
    }
    places.len()
}

/// As [`assert_archive`], and nothing lies in the log's folder that this tree does not have, or had when smaller.
pub(crate) fn assert_sound(ledger: &Ledger, shard: u32, frames: &[Vec<u8>], before: &Checkpoint, told: &str) {
    let (entries, leaves) = assert_archive(ledger, shard, frames, before, told);
    for (path, bytes) in files_in(&log_folder(ledger, shard)) {
        let path = path.to_str().unwrap();
        if path != "checkpoint" {
            assert_eq!(
                bytes_of(path, &entries, &leaves).as_ref(),
                Some(&bytes),
                "{path}; {told}"
            );
        }
    }
}

fn log_folder(ledger: &Ledger, shard: u32) -> PathBuf {
    ledger.root().join("log").join(shard.to_string())
}

/// What must lie at a path of the log's folder; nothing where the tree has no such place.
fn bytes_of(path: &str, entries: &[Vec<u8>], leaves: &[LeafHash]) -> Option<Vec<u8>> {
    match (path.parse::<Tile>(), path.parse::<Bundle>()) {
        (Ok(tile), _) => tile_bytes(tile, leaves),
        (_, Ok(bundle)) => bundle_bytes(bundle, entries),
        _ => None,
    }
}

/// Checks a shard from the first leaf to the last tile. `frames`: each must be on record exactly once. `before`: a
/// checkpoint that was published earlier, which this one must extend. `told`: what to say where it does not hold.
pub(crate) fn assert_archive(
    ledger: &Ledger,
    shard: u32,
    frames: &[Vec<u8>],
    before: &Checkpoint,
    told: &str,
) -> (Vec<Vec<u8>>, Vec<LeafHash>) {
    let reader = ledger.reader(shard).unwrap();
    let opened = ledger.policy().unwrap().open(reader.note()).unwrap();
    assert_eq!(opened.checkpoint(), reader.checkpoint(), "{told}");
    let entries = entries(&reader);
    let leaves: Vec<LeafHash> = entries.iter().map(|entry| LeafHash::of(entry)).collect();
    assert_eq!(
        (entries.len() as u64, root_of(&leaves)),
        (reader.size().0, reader.checkpoint().root),
        "{told}"
    );
    for (number, frame) in frames.iter().enumerate() {
        assert_eq!(times_on_record(&entries, frame), 1, "frame {number}; {told}");
    }
    let proof = reader.consistency(before.size).unwrap();
    let root = &reader.checkpoint().root;
    verify_consistency(before.size, &before.root, reader.size(), root, &proof)
        .unwrap_or_else(|error| panic!("{error}; {told}"));
    for index in [0, reader.size().0 / 2, reader.size().0 - 1] {
        let path = reader.inclusion(LeafIndex(index)).unwrap();
        let leaf = &leaves[usize::try_from(index).unwrap()];
        verify_inclusion(leaf, LeafIndex(index), reader.size(), &path, root)
            .unwrap_or_else(|error| panic!("{error}; {told}"));
    }
    let (nothing, size) = (TreeSize(0), reader.size());
    let tiles = tiles_between(nothing, size).map(|tile| tile.to_string());
    for path in tiles.chain(bundles_between(nothing, size).map(|bundle| bundle.to_string())) {
        let bytes = fs::read(log_folder(ledger, shard).join(&path)).ok();
        assert!(
            bytes.is_some() && bytes == bytes_of(&path, &entries, &leaves),
            "{path}; {told}"
        );
    }
    (entries, leaves)
}

fn tile_bytes(tile: Tile, leaves: &[LeafHash]) -> Option<Vec<u8>> {
    let span = 256_usize.checked_pow(u32::from(tile.level()))?;
    let first = usize::try_from(tile.index()).ok()? * 256;
    let hash = |at: usize| leaves.get(at * span..(at + 1) * span).map(|part| root_of(part).0);
    (first..first + usize::from(tile.width()))
        .map(hash)
        .collect::<Option<Vec<_>>>()
        .map(|hashes| hashes.concat())
}

fn bundle_bytes(bundle: Bundle, entries: &[Vec<u8>]) -> Option<Vec<u8>> {
    let first = usize::try_from(bundle.index()).ok()? * 256;
    let mut bytes = Vec::new();
    for entry in entries.get(first..first + usize::from(bundle.width()))? {
        append_entry(&mut bytes, entry).unwrap();
    }
    Some(bytes)
}
