//! Folding a made-up log: what is found, what a repeated fold changes, what is refused.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use sharetrail_proof::entry::{BATCH, ERASURE, EVENT, ErasureEntry, EventEntry};
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex};
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::root_of;

use super::LeafRef;
use super::fold::{Leaves, fold};
use super::index::Index;
use super::row::{CHUNK_LEAVES, cursor_key};
use crate::error::ConsumerError;
use crate::store::{self, StoreKind};

/// A log in memory. It has no genesis entry: a fold makes nothing of one.
#[derive(Clone, Default)]
struct Log {
    entries: Vec<Vec<u8>>,
}

impl Log {
    /// Batches of five entries, each with its batch entry before it, of seven customers in turn.
    fn of(leaves: u64) -> Self {
        let entries = (0..leaves).map(|index| match index % 6 {
            0 => vec![BATCH, b'x'],
            _ if index % 1_001 == 5 => ErasureEntry {
                label: label(index),
                generation: 0,
            }
            .to_bytes()
            .to_vec(),
            _ => EventEntry {
                id: [0; 16],
                label: label(index),
                commitment: number(index),
            }
            .to_bytes()
            .to_vec(),
        });
        Self {
            entries: entries.collect(),
        }
    }

    fn first(&self, leaves: usize) -> Self {
        Self {
            entries: self.entries[..leaves].to_vec(),
        }
    }

    /// What an index must answer.
    fn expected(&self) -> BTreeMap<Label, Vec<LeafRef>> {
        let mut expected: BTreeMap<Label, Vec<LeafRef>> = BTreeMap::new();
        for (index, entry) in (0..).zip(&self.entries) {
            if entry[0] != BATCH {
                let position = u16::try_from(index % 6 - 1).unwrap();
                let leaf = LeafRef {
                    shard: 0,
                    index: LeafIndex(index),
                    position,
                    kind: entry[0],
                };
                expected.entry(label(index)).or_default().push(leaf);
            }
        }
        expected
    }
}

impl Leaves for Log {
    fn shard_number(&self) -> u32 {
        0
    }

    fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    fn root(&self, size: u64) -> Result<Hash, ConsumerError> {
        let hashes: Vec<LeafHash> = self.entries.iter().map(|entry| LeafHash::of(entry)).collect();
        Ok(root_of(&hashes[..usize::try_from(size).unwrap()]))
    }

    fn each(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ConsumerError> {
        for (index, entry) in (0..).zip(&self.entries).skip(usize::try_from(from).unwrap()) {
            if visit(index, entry).is_break() {
                break;
            }
        }
        Ok(())
    }
}

fn label(index: u64) -> Label {
    Label([u8::try_from(index % 7).unwrap(); 32])
}

fn number(index: u64) -> Hash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    Hash(bytes)
}

fn open(kind: StoreKind, folder: &Path) -> Index {
    Index::open(kind, folder, 1).unwrap()
}

fn catch_up(index: &Index, log: &Log) -> u64 {
    let logs = std::slice::from_ref(log);
    index.check(logs).unwrap();
    index.catch_up(logs, &|_, _| ()).unwrap().folded
}

fn assert_answers(index: &Index, log: &Log) {
    let expected = log.expected();
    for number in 0..7 {
        let label = label(number);
        assert_eq!(Some(&index.leaves(&label).unwrap()), expected.get(&label));
        assert_eq!(index.leaves(&label).unwrap(), index.leaves_on(0, &label).unwrap());
    }
    assert!(index.leaves(&Label([9; 32])).unwrap().is_empty());
}

#[test]
fn every_leaf_is_found_under_its_label_in_log_order() {
    for kind in StoreKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let log = Log::of(CHUNK_LEAVES * 2 + 100);
        let index = open(kind, folder.path());
        assert_eq!(catch_up(&index, &log), log.count());
        assert_answers(&index, &log);
        assert_eq!(catch_up(&index, &log), 0);
    }
}

#[test]
fn folding_in_steps_answers_like_folding_at_once() {
    let whole = Log::of(CHUNK_LEAVES + 2_000);
    let boundary = usize::try_from(CHUNK_LEAVES).unwrap();
    for kind in StoreKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        // Within a batch, at a chunk's end, one leaf beyond it, and reopened each time.
        for leaves in [1, 10, boundary - 1, boundary, boundary + 1, boundary + 1_500] {
            let log = whole.first(leaves);
            let index = open(kind, folder.path());
            catch_up(&index, &log);
            assert_eq!(
                index.leaves(&label(3)).unwrap(),
                log.expected().remove(&label(3)).unwrap_or_default()
            );
        }
        let index = open(kind, folder.path());
        catch_up(&index, &whole);
        assert_answers(&index, &whole);
    }
}

#[test]
fn a_fold_that_was_cut_short_is_repeated_without_harm() {
    let log = Log::of(CHUNK_LEAVES + 500);
    let folder = tempfile::tempdir().unwrap();
    let index = open(StoreKind::Sled, folder.path());
    catch_up(&index, &log);
    drop(index);
    // As if the rows had been written and the cursor had not.
    let store = store::open(StoreKind::Sled, folder.path()).unwrap();
    store.remove(&cursor_key(0)).unwrap();
    drop(store);
    let index = open(StoreKind::Sled, folder.path());
    assert!(index.leaves(&label(1)).unwrap().is_empty());
    assert_eq!(catch_up(&index, &log), log.count());
    assert_answers(&index, &log);
}

#[test]
fn another_history_a_shorter_log_and_another_version_are_refused() {
    let log = Log::of(1_000);
    let folder = tempfile::tempdir().unwrap();
    let index = open(StoreKind::Sled, folder.path());
    catch_up(&index, &log);
    let mut other = log.clone();
    other.entries[10] = other.entries[11].clone();
    for wrong in [other, log.first(999)] {
        assert!(index.check(&[wrong]).unwrap_err().calls_for_a_rebuild());
    }
    index.check(&[Log::of(2_000)]).unwrap();
    drop(index);
    let store = store::open(StoreKind::Sled, folder.path()).unwrap();
    store.put_one(&cursor_key(0), &[0xff, 0]).unwrap();
    drop(store);
    let Err(error) = Index::open(StoreKind::Sled, folder.path(), 1) else {
        panic!("opened another version")
    };
    assert!(error.calls_for_a_rebuild());
}

#[test]
fn what_no_log_can_hold_stops_the_fold() {
    let folder = tempfile::tempdir().unwrap();
    let store = store::open(StoreKind::Sled, folder.path()).unwrap();
    let event = EventEntry {
        id: [0; 16],
        label: label(1),
        commitment: number(1),
    }
    .to_bytes()
    .to_vec();
    let orphan = Log {
        entries: vec![event.clone()],
    };
    let unknown = Log {
        entries: vec![vec![BATCH], vec![0x7f]],
    };
    let cut = Log {
        entries: vec![vec![BATCH], event[..80].to_vec()],
    };
    for log in [orphan, unknown, cut] {
        let error = fold(&log, store.as_ref(), &AtomicU64::new(0), &mut |_| ()).unwrap_err();
        assert!(matches!(error, ConsumerError::Log { shard: 0, .. }), "{error}");
    }
}

#[test]
fn the_kinds_of_leaves_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let index = open(StoreKind::Sled, folder.path());
    let log = Log::of(1_500);
    catch_up(&index, &log);
    let kinds: Vec<u8> = index
        .leaves(&label(5))
        .unwrap()
        .iter()
        .map(|leaf| leaf.kind)
        .collect();
    assert!(kinds.contains(&EVENT) && kinds.contains(&ERASURE));
}
