//! The mapper is stopped at each of its steps, loses files, and is set back; the map log stays one.
//!
//! In scope: process crashes, missing and damaged files, old folders put back, pinned readers. Out of scope: several hosts
//! and the size of roots (the mapper's own tests).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::support::sound::entries;
use crate::support::{Outbox, StopAt, TestLedger, copy_tree, files_in};
use sharetrail_ledger::{Engine, Ledger, LedgerError, Step, remap, restore, status};
use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::map::{MapLeaf, MapValue, leaf_hash, subtree_root, verify_absent, verify_present};
use sharetrail_proof::name::Label;
use sharetrail_proof::note::Cosigner;
use sharetrail_proof::tiles::{Bundle, parse_bundle};
use sharetrail_proof::tree::{root_of, verify_inclusion};

const PRODUCER: &str = "shop.example";
const STEPS: [Step; 7] = [
    Step::MapApplied,
    Step::MapWritten,
    Step::MapRegistered,
    Step::MapCopiedOutside,
    Step::MapSigned,
    Step::MapPublished,
    Step::MapCommitted,
];

fn map(engine: &Engine) -> Result<(), LedgerError> {
    engine.map(&|_, _| (), &AtomicBool::new(false))
}

/// Starts, maps and stops.
fn map_once(place: &TestLedger) -> Result<Vec<String>, LedgerError> {
    let engine = place.start();
    let mapped = map(&engine);
    let notices = engine.notices();
    engine.stop().unwrap();
    mapped.map(|()| notices)
}

/// A ledger with some rounds of events, each followed by a root.
fn with_roots(rounds: u64) -> TestLedger {
    let place = TestLedger::new(1);
    for round in 0..rounds {
        record(&place, round, 30);
        map_once(&place).unwrap();
    }
    place
}

fn record(place: &TestLedger, seed: u64, events: usize) {
    let engine = place.start();
    Outbox::open(&engine, PRODUCER, 0, seed).record(&engine, events);
    engine.stop().unwrap();
}

/// The published checkpoint of the map log, opened under the policy; none where nothing is published.
fn published(ledger: &Ledger) -> Option<Checkpoint> {
    let note = fs::read_to_string(ledger.root().join("map/0/checkpoint")).ok()?;
    Some(ledger.policy().unwrap().open(&note).unwrap().checkpoint().clone())
}

/// The leaves of the map log, with their hashes.
fn leaves(ledger: &Ledger, size: TreeSize) -> Vec<(MapLeaf, LeafHash)> {
    let mut found = Vec::new();
    for number in 0..size.0.div_ceil(256) {
        let bundle = Bundle::at(number, size).unwrap();
        let bytes = fs::read(ledger.root().join("map/0").join(bundle.to_string())).unwrap();
        for entry in parse_bundle(&bytes, bundle.width()).unwrap() {
            let leaf = MapLeaf::parse(std::str::from_utf8(entry).unwrap()).unwrap();
            found.push((leaf, LeafHash::of(entry)));
        }
    }
    found
}

/// The leaves of each label among these entries.
fn labels(entries: &[Vec<u8>]) -> BTreeMap<Label, Vec<LeafHash>> {
    let mut labels: BTreeMap<Label, Vec<LeafHash>> = BTreeMap::new();
    for entry in entries {
        if let Some(label) = Entry::parse(entry).unwrap().label() {
            labels.entry(label).or_default().push(LeafHash::of(entry));
        }
    }
    labels
}

fn value(hashes: &[LeafHash]) -> MapValue {
    MapValue {
        count: hashes.len() as u64,
        root: root_of(hashes),
    }
}

fn naive(entries: &[Vec<u8>]) -> (Hash, u64) {
    let labels = labels(entries);
    let leaf = |(label, hashes): (&Label, &Vec<LeafHash>)| (*label, leaf_hash(label, &value(hashes).hash()));
    let leaves: Vec<(Label, Hash)> = labels.iter().map(leaf).collect();
    (subtree_root(0, &leaves), leaves.len() as u64)
}

/// Checks the map log from the first leaf to the last, and the map at the last root. `before`: checkpoints that were
/// published earlier.
fn assert_whole(ledger: &Ledger, before: &[Checkpoint], told: &str) {
    let now = published(ledger).unwrap();
    let leaves = leaves(ledger, now.size);
    let hashes: Vec<LeafHash> = leaves.iter().map(|(_, hash)| *hash).collect();
    for checkpoint in before.iter().chain([&now]) {
        let size = usize::try_from(checkpoint.size.0).unwrap();
        assert!(size <= hashes.len(), "{told}");
        assert_eq!(root_of(&hashes[..size]), checkpoint.root, "{told}");
    }
    let record = ledger.reader(0).unwrap();
    let (entries, mut covered) = (entries(&record), 0);
    let mut moments = Vec::new();
    for (leaf, _) in &leaves {
        let size = usize::try_from(leaf.checkpoint.size.0).unwrap();
        assert!(size > covered, "{told}");
        assert_eq!((leaf.root, leaf.labels), naive(&entries[..size]), "{told}");
        let root = record.root_at(leaf.checkpoint.size).unwrap();
        assert_eq!(leaf.checkpoint.root, root, "{told}");
        moments.extend(leaf.checkpoint.size.0.to_be_bytes());
        moments.extend(leaf.time.to_be_bytes());
        covered = size;
    }
    let outside = fs::read(ledger.outside().unwrap().join("maps/0")).unwrap();
    assert_eq!(outside, moments, "{told}");
    let (last, hash) = leaves.last().unwrap();
    assert_map(ledger, last, *hash, &labels(&entries[..covered]), told);
}

/// Checks that the map says of every label what the record log says, and that what it says is proven.
fn assert_map(
    ledger: &Ledger,
    last: &MapLeaf,
    hash: LeafHash,
    labels: &BTreeMap<Label, Vec<LeafHash>>,
    told: &str,
) {
    let reader = ledger.map_reader(0).unwrap().unwrap();
    assert_eq!(reader.leaf(), last, "{told}");
    assert_eq!(reader.leaf_text(), last.to_text(), "{told}");
    let opened = ledger.policy().unwrap().open(reader.note()).unwrap();
    assert_eq!(opened.size(), reader.size(), "{told}");
    let (index, path) = (LeafIndex(reader.size().0 - 1), reader.inclusion().unwrap());
    verify_inclusion(&hash, index, reader.size(), &path, opened.root()).unwrap();
    for (rank, (label, hashes)) in (0_u64..).zip(labels) {
        let found = reader.find(label).unwrap();
        assert_eq!(found.value, Some(value(hashes)), "{told}");
        verify_present(label, &value(hashes), &found.path, &last.root).unwrap();
        assert_eq!(reader.nth(rank).unwrap(), Some((*label, value(hashes))), "{told}");
    }
    let nobody = Label([0x5a; 32]);
    let found = reader.find(&nobody).unwrap();
    assert_eq!(found.value, None);
    verify_absent(&nobody, &found.path, &last.root).unwrap();
    assert_eq!(reader.nth(labels.len() as u64).unwrap(), None);
}

/// The fault: a root that is signed before it is on disk, registered and outside; after a crash at the wrong moment the
/// map log goes on otherwise than it was signed.
#[test]
fn a_crash_at_any_step_leaves_one_map_log() {
    for step in STEPS {
        for nth in 1..=2 {
            let told = format!("stopped at {step:?}, time {nth}");
            let place = with_roots(1);
            let mut before = vec![published(&place.open()).unwrap()];
            let stop = StopAt::new(0, step);
            let engine = stop.start(&place.open());
            let mut outbox = Outbox::open(&engine, PRODUCER, 0, 7);
            stop.arm(nth);
            let stopped = (0..5).any(|_| {
                outbox.record(&engine, 20);
                let mapped = map(&engine);
                before.extend(published(&place.open()));
                mapped.is_err()
            });
            assert!(stopped, "{told}");
            outbox.record(&engine, 20);
            drop(engine);
            let notices = map_once(&place).unwrap_or_else(|error| panic!("{error}; {told}"));
            assert!(notices.is_empty(), "nothing was damaged: {notices:?}; {told}");
            assert_whole(&place.open(), &before, &told);
        }
    }
}

/// The fault: a mapper that failed goes on from what it holds in memory, which is not what is on disk.
#[test]
fn after_a_failed_step_the_same_engine_goes_on_from_what_is_on_disk() {
    for step in STEPS {
        let place = with_roots(1);
        let stop = StopAt::new(0, step);
        let engine = stop.start(&place.open());
        Outbox::open(&engine, PRODUCER, 0, 7).record(&engine, 20);
        stop.arm(1);
        assert!(map(&engine).is_err());
        map(&engine).unwrap();
        engine.stop().unwrap();
        assert_whole(&place.open(), &[], &format!("{step:?}"));
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// The fault: what can be made again is not; or it is made otherwise than it was.
#[test]
fn what_is_lost_is_made_again_byte_for_byte() {
    let made = with_roots(3);
    let outside = made.outside.clone();
    let (map_log, register) = (made.root.join("map/0"), made.root.join("register/0/map"));
    let lost = [
        vec![made.root.join("mapping")],
        vec![map_log.clone()],
        vec![map_log.join("tile/0")],
        vec![map_log.join("tile/entries")],
        vec![map_log.join("checkpoint")],
        vec![register.clone()],
        vec![outside.join("maps")],
        vec![outside.join("checkpoints/map-0")],
        vec![outside.join("maps"), outside.join("checkpoints/map-0")],
        vec![map_log.clone(), register.clone()],
        vec![map_log.clone(), made.root.join("mapping"), register.clone()],
        // The moments alone are left.
        vec![
            map_log,
            made.root.join("mapping"),
            register,
            outside.join("checkpoints/map-0"),
        ],
    ];
    let before = published(&made.open()).unwrap();
    let note = fs::read(made.root.join("map/0/checkpoint")).unwrap();
    for paths in lost {
        for path in &paths {
            remove(path);
        }
        map_once(&made).unwrap_or_else(|error| panic!("{error}; {paths:?}"));
        let told = format!("{paths:?}");
        assert_eq!(
            fs::read(made.root.join("map/0/checkpoint")).unwrap(),
            note,
            "{told}"
        );
        assert_whole(&made.open(), std::slice::from_ref(&before), &told);
        assert!(!made.root.join("map/0.new").exists());
    }
    record(&made, 9, 10);
    map_once(&made).unwrap();
    assert_whole(&made.open(), &[before], "goes on");
}

/// The fault: a file of the map, or of the map log, that rotted is built upon.
#[test]
fn what_is_damaged_is_made_again_and_told() {
    let made = with_roots(3);
    let note = fs::read(made.root.join("map/0/checkpoint")).unwrap();
    let damaged = [
        ("map/0/tile/0/000.p/3", 40),
        ("map/0/tile/entries/000.p/3", 300),
        ("mapping/0/head", 30),
    ];
    for (path, at) in damaged {
        let file = made.root.join(path);
        let mut bytes = fs::read(&file).unwrap();
        bytes[at] ^= 1;
        fs::write(&file, bytes).unwrap();
        let notices = map_once(&made).unwrap();
        assert!(!notices.is_empty(), "{path}");
        assert_eq!(
            fs::read(made.root.join("map/0/checkpoint")).unwrap(),
            note,
            "{path}"
        );
        assert_whole(&made.open(), &[], path);
    }
    // Pages are looked at when they are needed: at the next root.
    for item in fs::read_dir(made.root.join("mapping/0")).unwrap() {
        let file = item.unwrap().path();
        if file.file_name().is_some_and(|name| name != "head") {
            let bytes = vec![0x55; usize::try_from(fs::metadata(&file).unwrap().len()).unwrap()];
            fs::write(&file, bytes).unwrap();
        }
    }
    record(&made, 5, 30);
    assert!(!map_once(&made).unwrap().is_empty());
    assert_whole(&made.open(), &[], "pages");
    assert!(
        !status(&made.open()).unwrap().shards[0].incidents.is_empty(),
        "the operator is told"
    );
}

/// The fault: moments that are not those of the map log are built upon when it is made again later.
#[test]
fn moments_that_are_not_the_map_logs_are_read_again_from_its_leaves() {
    let made = with_roots(3);
    let path = made.outside.join("maps/0");
    let good = fs::read(&path).unwrap();
    for (at, by_remap) in [(47, false), (31, true)] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        if by_remap {
            let done = remap(&made.open(), &|_, _| ()).unwrap();
            assert!(!done[0].notices.is_empty());
        } else {
            assert!(!map_once(&made).unwrap().is_empty());
        }
        assert_eq!(fs::read(&path).unwrap(), good);
    }
    assert_whole(&made.open(), &[], "mended");
}

/// The fault: with leaves and moments both gone, another map log is begun that contradicts the one that was signed.
#[test]
fn a_map_log_that_cannot_be_made_again_is_refused_and_nothing_is_signed() {
    let made = with_roots(3);
    remove(&made.root.join("map/0"));
    remove(&made.outside.join("maps"));
    for _ in 0..2 {
        assert!(matches!(map_once(&made), Err(LedgerError::Damaged { .. })));
        assert_eq!(published(&made.open()), None);
    }
    assert!(!status(&made.open()).unwrap().shards[0].incidents.is_empty());
}

/// The fault: the map log of an old folder is continued otherwise than the one that was signed since.
#[test]
fn a_folder_that_was_put_back_comes_to_the_map_log_that_was_signed() {
    for outside_is_lost in [false, true] {
        let made = with_roots(2);
        let backup = made.copy("backup");
        for round in 5..8 {
            record(&made, round, 20);
            map_once(&made).unwrap();
        }
        let newer = made.copy("newer");
        let signed = published(&made.open()).unwrap();
        made.put_back(&backup);
        if outside_is_lost {
            remove(&made.outside.join("maps"));
            remove(&made.outside.join("checkpoints/map-0"));
        }
        assert!(restore(&made.open(), &[newer], &mut |_| ()).unwrap().complete);
        record(&made, 9, 5);
        map_once(&made).unwrap();
        assert_whole(
            &made.open(),
            &[signed],
            &format!("outside lost: {outside_is_lost}"),
        );
    }
}

/// The fault: a copy whose map log is not the one that was signed brings its moments in.
#[test]
fn moments_come_only_out_of_a_whole_copy() {
    let made = with_roots(3);
    let copy = made.copy("copy");
    let path = copy.join("map/0/tile/entries/000.p/3");
    let mut bytes = fs::read(&path).unwrap();
    bytes[75] ^= 1;
    fs::write(&path, bytes).unwrap();
    remove(&made.outside.join("maps"));
    let before = files_in(&made.outside);
    let mut notices = Vec::new();
    let restored = restore(&made.open(), &[copy], &mut |notice| notices.push(notice)).unwrap();
    assert!(restored.complete && !notices.is_empty());
    let mut after = files_in(&made.outside);
    after.retain(|path, bytes| !(path.ends_with("maps/0") && bytes.is_empty()));
    assert_eq!(after, before);
}

/// The fault: a reader that was opened before a root sees the map of the next one, and its path does not fit its leaf.
#[test]
fn a_reader_keeps_its_root_while_others_are_sealed() {
    let made = with_roots(2);
    let ledger = made.open();
    let reader = ledger.map_reader(0).unwrap().unwrap();
    let (text, size) = (reader.leaf_text().to_owned(), reader.size());
    let covered = reader.leaf().checkpoint.size;
    let all = entries(&ledger.reader(0).unwrap());
    let engine = made.start();
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 3);
    for _ in 0..3 {
        outbox.record(&engine, 50);
        map(&engine).unwrap();
        for (label, hashes) in labels(&all) {
            let found = reader.find(&label).unwrap();
            assert_eq!(found.value, Some(value(&hashes)));
            verify_present(&label, &value(&hashes), &found.path, &reader.leaf().root).unwrap();
        }
        assert_eq!((reader.leaf_text(), reader.size()), (text.as_str(), size));
        reader.inclusion().unwrap();
    }
    engine.stop().unwrap();
    assert_eq!(reader.covered_at(LeafIndex(covered.0)).unwrap(), None);
    let now = ledger.map_reader(0).unwrap().unwrap();
    let leaves = leaves(&ledger, now.size());
    for index in 0..now.leaf().checkpoint.size.0 {
        let first = leaves.iter().find(|(leaf, _)| leaf.checkpoint.size.0 > index);
        let time = first.map(|(leaf, _)| leaf.time);
        assert_eq!(now.covered_at(LeafIndex(index)).unwrap(), time);
    }
}

#[test]
fn folding_anew_says_the_same_and_reading_needs_no_writer() {
    let made = with_roots(3);
    let (note, before) = (
        fs::read(made.root.join("map/0/checkpoint")).unwrap(),
        published(&made.open()).unwrap(),
    );
    let copy = made.beside("copy");
    copy_tree(&made.root, &copy);
    let done = remap(&made.open(), &|_, _| ()).unwrap();
    assert_eq!((done[0].shard, done[0].leaves), (0, 3));
    assert!(done[0].notices.is_empty());
    assert_eq!(fs::read(made.root.join("map/0/checkpoint")).unwrap(), note);
    assert_whole(&made.open(), &[before], "folded anew");
    let told = status(&made.open()).unwrap();
    let map = told.shards[0].map.as_ref().unwrap();
    assert_eq!(
        (map.leaves, map.labels, map.covered),
        (3, done[0].labels, told.shards[0].leaves)
    );
    assert!(map.problems.is_empty(), "{:?}", map.problems);
    let there = Ledger::open(&copy).unwrap().map_reader(0).unwrap().unwrap();
    let here = made.open().map_reader(0).unwrap().unwrap();
    assert_eq!((there.leaf_text(), there.note()), (here.leaf_text(), here.note()));
}

/// The fault: a ledger without a map key gets a new one silently, which no policy names.
#[test]
fn a_missing_or_foreign_key_is_refused() {
    let made = with_roots(1);
    let note = fs::read(made.root.join("map/0/checkpoint")).unwrap();
    let (key, log_key) = (made.root.join("keys/map-0.key"), made.root.join("keys/log-0.key"));
    record(&made, 4, 3);
    fs::copy(&log_key, &key).unwrap();
    assert!(matches!(map_once(&made), Err(LedgerError::Damaged { .. })));
    remove(&key);
    assert!(matches!(map_once(&made), Err(LedgerError::Invalid(_))));
    assert!(!key.exists());
    assert_eq!(fs::read(made.root.join("map/0/checkpoint")).unwrap(), note);
}

/// The fault: one shard's checkpoint that cannot be read keeps all shards from their roots.
#[test]
fn a_shard_that_cannot_be_read_does_not_keep_the_others_from_their_roots() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let checkpoint = place.root.join("log/0/checkpoint");
    let note = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, b"").unwrap();
    assert!(map(&engine).is_err());
    assert!(!place.root.join("map/0/checkpoint").exists());
    assert!(place.root.join("map/1/checkpoint").exists());
    fs::write(&checkpoint, note).unwrap();
    map(&engine).unwrap();
    assert!(place.root.join("map/0/checkpoint").exists());
    engine.stop().unwrap();
}

/// The fault: a published map log that contradicts the one that was signed looks well at a glance.
#[test]
fn a_map_log_that_is_not_the_one_that_was_signed_shows_in_the_status() {
    let (made, other) = (with_roots(2), with_roots(2));
    let published = |place: &TestLedger| place.root.join("map/0/checkpoint");
    fs::copy(published(&other), published(&made)).unwrap();
    let told = status(&made.open()).unwrap();
    let map = told.shards[0].map.as_ref().unwrap();
    assert_eq!(map.problems.len(), 1, "{:?}", map.problems);
}

/// The fault: one rotten line in a cosigned note makes every dossier of the shard fail.
#[test]
fn a_cosigned_note_is_given_only_where_the_policy_opens_it() {
    let made = with_roots(2);
    let auditor = Cosigner::from_seed("auditor.example", &[7; 32]).unwrap();
    let policy = made.root.join("policy");
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(
        &policy,
        format!("{text}#sharetrail auditor {}\n", auditor.verifier()),
    )
    .unwrap();
    let plain = fs::read_to_string(made.root.join("map/0/checkpoint")).unwrap();
    let given = || {
        let problems = status(&made.open())
            .unwrap()
            .shards
            .remove(0)
            .map
            .unwrap()
            .problems;
        let note = made.open().map_reader(0).unwrap().unwrap().note().to_owned();
        (note, problems.len())
    };
    assert_eq!(given(), (plain.clone(), 0));
    let path = made.root.join("map/0/cosigned");
    let good = auditor.cosign(&plain, 1_700_000_000).unwrap();
    fs::write(&path, &good).unwrap();
    assert_eq!(given(), (good.clone(), 0));
    let mut rotten = good.clone().into_bytes();
    let at = rotten.len() - 10;
    rotten[at] = if rotten[at] == b'A' { b'B' } else { b'A' };
    let cut = good.as_bytes()[..good.len() - 10].to_vec();
    for wrong in [rotten, cut] {
        fs::write(&path, wrong).unwrap();
        assert_eq!(given(), (plain.clone(), 1));
    }
    // Of an earlier root: the auditor was not there again yet.
    fs::write(&path, &good).unwrap();
    record(&made, 9, 10);
    map_once(&made).unwrap();
    let now = fs::read_to_string(made.root.join("map/0/checkpoint")).unwrap();
    assert_eq!(given(), (now, 0));
}

/// The fault: with several shards, one's notices or work are lost among the others'.
#[test]
fn shards_are_mapped_side_by_side_and_each_tells_its_own() {
    let place = TestLedger::new(3);
    let engine = place.start();
    for shard in 0..3 {
        Outbox::open(&engine, PRODUCER, shard, 4).record(&engine, 30);
    }
    let told = std::cell::RefCell::new(Vec::new());
    let progress = |folded: u64, total: u64| told.borrow_mut().push((folded, total));
    engine.map(&progress, &AtomicBool::new(false)).unwrap();
    engine.stop().unwrap();
    let sizes = (0..3).map(|shard| place.open().reader(shard).unwrap().size().0);
    let total: u64 = sizes.sum();
    assert_eq!(told.into_inner().last(), Some(&(total, total)));
    let note = |shard: u32| fs::read(place.root.join(format!("map/{shard}/checkpoint"))).unwrap();
    let before: Vec<Vec<u8>> = (0..3).map(note).collect();
    for shard in 0..3 {
        let head = place.root.join(format!("mapping/{shard}/head"));
        let mut bytes = fs::read(&head).unwrap();
        bytes[30] ^= 1;
        fs::write(&head, bytes).unwrap();
    }
    assert_eq!(map_once(&place).unwrap().len(), 3);
    assert_eq!((0..3).map(note).collect::<Vec<_>>(), before);
    for shard in 0..3 {
        let reader = place.open().map_reader(shard).unwrap().unwrap();
        let size = place.open().reader(shard).unwrap().size();
        assert_eq!(reader.leaf().checkpoint.size, size);
    }
}
