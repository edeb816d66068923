//! Old copies, other histories, lost streams: what a ledger refuses to sign on, and how the rest comes back.
//!
//! In scope: starting from less or other than was signed, `restore` with good, bad and no sources. Out of scope:
//! crashes (`crash`).

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sound::assert_sound;
use crate::support::{Outbox, StopAt, TestLedger, copy_tree, decided, files_in, refusal};
use sharetrail_ledger::{Ledger, LedgerError, Restored, Settings, Step, restore};
use sharetrail_proof::checkpoint::Checkpoint;

const PRODUCER: &str = "shop.example";

fn head(ledger: &Ledger) -> Checkpoint {
    ledger.reader(0).unwrap().checkpoint().clone()
}

fn run(ledger: &Ledger, from: &[PathBuf]) -> Result<Restored, LedgerError> {
    restore(ledger, from, &mut |_| ())
}

/// Starts, records batches of these sizes and stops cleanly; gives their frames.
fn record(place: &TestLedger, seed: u64, sizes: &[usize]) -> Vec<Vec<u8>> {
    let engine = place.start();
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, seed);
    let frames = sizes.iter().map(|&size| outbox.record(&engine, size)).collect();
    engine.stop().unwrap();
    frames
}

struct RolledBack {
    place: TestLedger,
    /// The head of what was put back.
    old: Checkpoint,
    /// A copy of the folder with all events.
    newer: PathBuf,
    /// The head of that copy: what was signed last.
    new: Checkpoint,
    frames: Vec<Vec<u8>>,
}

/// A ledger whose folder was replaced by an old copy, while the folder outside of it stayed.
fn rolled_back() -> RolledBack {
    let place = TestLedger::new(1);
    let mut frames = record(&place, 1, &[20, 30]);
    let (backup, old) = (place.copy("backup"), head(&place.open()));
    frames.extend(record(&place, 2, &[300, 5]));
    let (newer, new) = (place.copy("newer"), head(&place.open()));
    place.put_back(&backup);
    RolledBack {
        place,
        old,
        newer,
        new,
        frames,
    }
}

/// The fault: after a restore from last week's backup the ledger signs another continuation of last week's tree, and
/// everybody who saw this week's checkpoint can prove a split view.
#[test]
fn an_old_copy_is_refused_and_nothing_is_signed() {
    let RolledBack { place, old, new, .. } = rolled_back();
    let (before, outside) = (files_in(&place.root), files_in(&place.outside));
    match refusal(&place.open()) {
        LedgerError::RolledBack {
            shard: 0,
            known,
            have,
            ..
        } => assert_eq!((known, have), (new.size.0, old.size.0)),
        other => panic!("{other}"),
    }
    assert_eq!(files_in(&place.root), before);
    assert_eq!(files_in(&place.outside), outside);
}

/// The fault: a restore that has nothing to bring back says that all is well, or signs what is here.
#[test]
fn a_restore_without_sources_says_what_is_missing_and_changes_nothing() {
    let RolledBack { place, old, new, .. } = rolled_back();
    let (before, outside) = (files_in(&place.root), files_in(&place.outside));
    let restored = run(&place.open(), &[]).unwrap();
    assert!(!restored.complete);
    assert_eq!(restored.shards[0].missing, Some((old.size.0, new.size.0)));
    assert_eq!(
        (restored.shards[0].had, restored.shards[0].now),
        (old.size.0, old.size.0)
    );
    assert_eq!(files_in(&place.root), before);
    assert_eq!(files_in(&place.outside), outside);
    assert!(matches!(refusal(&place.open()), LedgerError::RolledBack { .. }));
}

/// The fault: what is brought back is not the history that was signed, or recording cannot go on after it.
#[test]
fn a_newer_copy_brings_everything_back() {
    let RolledBack {
        place,
        old,
        newer,
        new,
        mut frames,
    } = rolled_back();
    let restored = run(&place.open(), &[newer]).unwrap();
    assert!(restored.complete);
    let shard = &restored.shards[0];
    assert_eq!(
        (shard.had, shard.now, shard.known),
        (old.size.0, new.size.0, new.size.0)
    );
    assert_eq!(
        (shard.events_brought_back, shard.unreadable_events, shard.missing),
        (305, 0, None)
    );
    assert_eq!(head(&place.open()), new);
    frames.extend(record(&place, 3, &[4]));
    assert_sound(&place.open(), 0, &frames, &new, "after the restore");
}

/// The fault: events come back whose customers' keys do not, and nobody is told that they cannot be read.
#[test]
fn keys_come_back_with_the_events_or_are_counted_as_missing() {
    for keys_are_lost in [false, true] {
        let RolledBack { place, newer, .. } = rolled_back();
        if keys_are_lost {
            fs::remove_file(newer.join("vault/slots")).unwrap();
        }
        let restored = run(&place.open(), &[newer]).unwrap();
        let shard = &restored.shards[0];
        assert!(restored.complete);
        assert_eq!(restored.keys_brought_back == 0, keys_are_lost);
        assert_eq!(shard.unreadable_events > 0, keys_are_lost);
        assert!(shard.unreadable_events < shard.events_brought_back);
    }
}

/// The fault: a damaged copy is adopted, since somebody made a backup of it. Entries are refused by their batch's root.
#[test]
fn a_damaged_copy_is_refused_and_nothing_is_signed() {
    let RolledBack {
        place, newer, frames, ..
    } = rolled_back();
    let ledger = place.open();
    let checkpoint = fs::read(place.root.join("log/0/checkpoint")).unwrap();
    let outside = files_in(&place.outside);
    let leaves = newer.join("sealed/0/00000000000000000000.leaves");
    let whole = fs::read(&leaves).unwrap();
    fs::remove_dir_all(newer.join("bus")).unwrap();
    let parsed = sharetrail_proof::frame::Frame::parse(&frames[2]).unwrap();
    let entry = parsed.entries[17];
    let at = whole
        .windows(entry.len())
        .position(|window| window == entry)
        .unwrap();
    for byte in [at, at + 20, at + 80] {
        let mut bad = whole.clone();
        bad[byte] ^= 1;
        fs::write(&leaves, bad).unwrap();
        let restored = run(&ledger, std::slice::from_ref(&newer));
        assert!(!restored.is_ok_and(|restored| restored.complete), "byte {byte}");
        assert_eq!(
            fs::read(place.root.join("log/0/checkpoint")).unwrap(),
            checkpoint,
            "byte {byte}"
        );
        assert_eq!(files_in(&place.outside), outside, "byte {byte}");
    }
    fs::write(&leaves, whole).unwrap();
    assert!(
        run(&ledger, &[newer]).unwrap().complete,
        "the copy is whole again"
    );
}

/// The fault: one bad copy among several keeps the good one from being used.
#[test]
fn a_damaged_copy_does_not_keep_a_good_one_out() {
    let RolledBack {
        place,
        newer,
        frames,
        new,
        ..
    } = rolled_back();
    let bad = place.beside("bad");
    copy_tree(&newer, &bad);
    let leaves = bad.join("sealed/0/00000000000000000000.leaves");
    let mut bytes = fs::read(&leaves).unwrap();
    let parsed = sharetrail_proof::frame::Frame::parse(&frames[3]).unwrap();
    let entry = parsed.entries[0];
    let at = bytes
        .windows(entry.len())
        .position(|window| window == entry)
        .unwrap();
    bytes[at + 50] ^= 1;
    fs::write(&leaves, bytes).unwrap();
    assert!(run(&place.open(), &[bad, newer]).unwrap().complete);
    assert_sound(&place.open(), 0, &frames, &new, "the good copy was the second");
}

/// Copies the ledger with a folder outside of its own, as if somebody ran it twice.
fn twin(place: &TestLedger, name: &str) -> Ledger {
    let (root, base) = (place.copy(name), place.beside(&format!("{name}-outside")));
    copy_tree(&place.outside, &base.join(place.outside.file_name().unwrap()));
    let path = root.join("ledger.toml");
    let settings = Settings {
        outside: Some(base),
        ..Settings::read(&path).unwrap()
    };
    settings.write(&path).unwrap();
    Ledger::open(&root).unwrap()
}

fn record_in(ledger: &Ledger, seed: u64, sizes: &[usize]) {
    let engine = sharetrail_ledger::Engine::start(ledger).unwrap();
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, seed);
    for &size in sizes {
        outbox.record(&engine, size);
    }
    engine.stop().unwrap();
}

/// The fault: the folder is run on two machines at once; each signs another history. Whichever comes second to the
/// folder outside must be refused, also when both have the same number of leaves, or the stranger has more.
#[test]
fn another_history_is_refused_whatever_its_size() {
    for (theirs, forked) in [(10, true), (11, true), (9, false)] {
        let place = TestLedger::new(1);
        record(&place, 1, &[20]);
        let other = twin(&place, "twin");
        record(&place, 2, &[10]);
        record_in(&other, 3, &[theirs]);
        let outside = files_in(&place.outside);
        let settings = fs::read(place.root.join("ledger.toml")).unwrap();
        place.put_back(other.root());
        fs::write(place.root.join("ledger.toml"), settings).unwrap();
        let refused = refusal(&place.open());
        assert_eq!(
            matches!(refused, LedgerError::Forked { .. }),
            forked,
            "{theirs}: {refused}"
        );
        assert_eq!(
            matches!(refused, LedgerError::RolledBack { .. }),
            !forked,
            "{theirs}: {refused}"
        );
        assert_eq!(files_in(&place.outside), outside);
    }
}

/// The fault: `restore` takes a copy with a valid signature for the history that was signed here, because it is as
/// long or longer; the ledger then contradicts the checkpoint that is known from outside.
#[test]
fn another_history_is_not_adopted_as_a_source() {
    for theirs in [10, 11] {
        let place = TestLedger::new(1);
        record(&place, 1, &[20]);
        let (backup, other) = (place.copy("backup"), twin(&place, "twin"));
        record(&place, 2, &[10]);
        record_in(&other, 3, &[theirs]);
        place.put_back(&backup);
        let (outside, checkpoint) = (files_in(&place.outside), head(&place.open()));
        let restored = run(&place.open(), &[other.root().to_owned()]);
        let refused = restored.is_err_and(|error| matches!(error, LedgerError::Forked { .. }));
        assert!(refused, "{theirs} events on the other history");
        assert_eq!(files_in(&place.outside), outside);
        assert_eq!(head(&place.open()), checkpoint);
    }
}

/// The fault: a copy of some other ledger is taken for a source.
#[test]
fn another_ledger_is_no_source() {
    let RolledBack { place, .. } = rolled_back();
    let stranger = TestLedger::new(1);
    for path in [stranger.root.clone(), place.beside("nothing")] {
        assert!(matches!(
            run(&place.open(), &[path]),
            Err(LedgerError::Invalid(_))
        ));
    }
}

/// The fault: with the bus gone, a new stream begins at message 1 unnoticed, and the archive waits for message 9.
#[test]
fn a_lost_bus_is_noticed_and_a_restore_goes_on_without_it() {
    let place = TestLedger::new(1);
    let mut frames = record(&place, 1, &[20, 30]);
    let before = head(&place.open());
    fs::remove_dir_all(place.root.join("bus")).unwrap();
    assert!(matches!(
        refusal(&place.open()),
        LedgerError::Stream { shard: 0, .. }
    ));
    let restored = run(&place.open(), &[]).unwrap();
    assert!(restored.complete);
    assert_eq!(
        (restored.frames_sent_again, restored.shards[0].now),
        (0, before.size.0)
    );
    frames.extend(record(&place, 2, &[4]));
    assert_sound(&place.open(), 0, &frames, &before, "on a new stream");
}

/// Frames that are accepted and not sealed: the shard stops at the first of them.
fn accept_unsealed(place: &TestLedger, seed: u64) -> Vec<Vec<u8>> {
    let stop = StopAt::new(0, Step::Decided);
    let engine = stop.start(&place.open());
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, seed);
    stop.arm(1);
    let frames: Vec<_> = (1..=3).map(|size| outbox.batch(&engine, size)).collect();
    for frame in &frames {
        let seq = outbox.publish(&engine, frame);
        assert!(!decided(&engine, 0, seq));
    }
    frames
}

fn replace_folder(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy_tree(from, to);
}

/// The fault: frames that were acknowledged and wait on the bus are forgotten when the stream is replaced.
#[test]
fn accepted_frames_come_back_from_the_bus_of_a_copy() {
    let place = TestLedger::new(1);
    let mut frames = record(&place, 1, &[20]);
    let before = head(&place.open());
    frames.extend(accept_unsealed(&place, 2));
    let copy = place.copy("copy");
    fs::remove_dir_all(place.root.join("bus")).unwrap();
    let restored = run(&place.open(), &[copy]).unwrap();
    assert_eq!((restored.complete, restored.frames_sent_again), (true, 3));
    assert_sound(&place.open(), 0, &frames, &before, "from the copy's bus");
}

/// The fault: one shard is complete, so its stream is put aside; another lacks leaves, so nothing is sent again; the
/// next restore looks at the new stream only, and what was acknowledged is gone.
#[test]
fn accepted_frames_survive_a_restore_that_had_to_be_repeated() {
    let place = TestLedger::new(2);
    let backup = place.copy("backup");
    let engine = place.start();
    Outbox::open(&engine, PRODUCER, 1, 5).record(&engine, 9);
    engine.stop().unwrap();
    let frames = accept_unsealed(&place, 6);
    let before = head(&place.open());
    let newer = place.copy("newer");
    place.put_back(&backup);
    // The bus of shard 0 lies on a disk of its own, say, and was not rolled back.
    replace_folder(&newer.join("bus/0"), &place.root.join("bus/0"));
    replace_folder(&newer.join("outbox"), &place.root.join("outbox"));
    fs::remove_dir_all(newer.join("bus")).unwrap();
    assert!(!run(&place.open(), &[]).unwrap().complete);
    assert!(run(&place.open(), &[newer]).unwrap().complete);
    assert_sound(&place.open(), 0, &frames, &before, "after two restores");
}

/// The fault: a tile or a bundle of the published tree is damaged or gone, long after it was written; nobody looks at it
/// again until an auditor cannot make sense of the log.
#[test]
fn a_restore_mends_the_published_tree() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 9);
    (0..3).for_each(|_| drop(outbox.record(&engine, 300)));
    engine.stop().unwrap();
    let log = place.root.join("log/0");
    let whole = files_in(&log);
    fs::remove_file(log.join("tile/0/001")).unwrap();
    let bundle = log.join("tile/entries/000");
    let mut bytes = fs::read(&bundle).unwrap();
    bytes[1_000] ^= 1;
    fs::write(&bundle, bytes).unwrap();
    let mut notices = Vec::new();
    let restored = restore(&place.open(), &[], &mut |notice| notices.push(notice)).unwrap();
    assert!(restored.complete);
    assert!(!notices.is_empty(), "healing is told");
    assert_eq!(files_in(&log), whole);
}
