//! The embedded bus: the promises of every bus, and what only files can suffer.
//!
//! In scope: torn tails, flipped bits, segments. Out of scope: what a frame says.

use std::fs;
use std::path::{Path, PathBuf};

use sharetrail_ledger::LedgerError;
use sharetrail_ledger::bus::{Bus, EmbeddedBus, StreamSeq};

use crate::bus::promises::{all, frames, keeps_its_promises, put, serves_many};
use crate::support::{Rng, name, wait};

fn open(folder: &Path) -> (EmbeddedBus, Vec<String>) {
    EmbeddedBus::open(folder, 2).unwrap()
}

/// The fault: whatever a bus does otherwise than the sequencer and the publishers rely on.
#[test]
fn the_embedded_bus_keeps_the_promises_of_a_bus() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let reopen = |bus: EmbeddedBus, folder: &Path| {
        drop(bus);
        let (bus, notices) = open(folder);
        assert!(notices.is_empty());
        bus
    };
    let (first, second) = (folders[0].path(), folders[1].path());
    keeps_its_promises(open(first).0, |bus| reopen(bus, first));
    serves_many(open(second).0, |bus| reopen(bus, second));
}

fn segment(folder: &Path) -> PathBuf {
    folder.join("0").join(format!("{:020}.seg", 1))
}

/// A stream of three messages; gives its bytes and where each of them begins, and the end.
fn three(folder: &Path) -> (Vec<u8>, [usize; 4]) {
    let (bus, _) = open(folder);
    let mut places = [36; 4];
    for n in 0..3_u8 {
        put(&bus, 0, &[n; 50]);
        places[usize::from(n) + 1] = usize::try_from(fs::metadata(segment(folder)).unwrap().len()).unwrap();
    }
    (fs::read(segment(folder)).unwrap(), places)
}

/// The fault: a record that was half-written when the power went is taken for damage, so that nothing starts; or for
/// whole. It was never acknowledged: the note of what was acknowledged stands before it.
#[test]
fn a_torn_tail_is_cut_off_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, places) = three(folder.path());
    let before = fs::read(folder.path().join("0/acked")).unwrap();
    let (bus, _) = open(folder.path());
    put(&bus, 0, &[9; 40]);
    drop(bus);
    let longer = fs::read(segment(folder.path())).unwrap();
    for cut in places[3]..longer.len() {
        for garbage in [0, 3, 200] {
            let mut bytes = longer[..cut].to_vec();
            bytes.extend(vec![0xA5; garbage]);
            fs::write(segment(folder.path()), &bytes).unwrap();
            fs::write(folder.path().join("0/acked"), &before).unwrap();
            let (bus, notices) = open(folder.path());
            assert_eq!(
                notices.len(),
                usize::from(bytes.len() > whole.len()),
                "cut {cut}, garbage {garbage}"
            );
            assert_eq!(
                frames(&bus, 0),
                [[0; 50], [1; 50], [2; 50]],
                "cut {cut}, garbage {garbage}"
            );
            assert_eq!(put(&bus, 0, b"next"), StreamSeq(4));
            assert_eq!(all(&bus, 0).len(), 4);
        }
    }
}

fn damage(folder: &Path) -> Option<(PathBuf, Option<u64>)> {
    match EmbeddedBus::open(folder, 2) {
        Err(LedgerError::Damaged { path, at, .. }) => Some((path, at)),
        _ => None,
    }
}

/// The fault: a flipped bit in an acknowledged message is taken for a torn tail, and all behind it is lost silently.
#[test]
fn a_flipped_bit_is_damage_and_the_place_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, places) = three(folder.path());
    let mut rng = Rng(5);
    for at in 36..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1_u8 << rng.below(8);
        fs::write(segment(folder.path()), bytes).unwrap();
        let record = places.iter().rfind(|place| **place <= at).unwrap();
        assert_eq!(
            damage(folder.path()),
            Some((segment(folder.path()), Some(*record as u64))),
            "byte {at}"
        );
    }
    for at in 0..36 {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(segment(folder.path()), bytes).unwrap();
        assert!(damage(folder.path()).is_some(), "byte {at} of the head");
    }
}

/// The fault: messages that were acknowledged are missing at the end, and the stream goes on with their numbers.
#[test]
fn a_missing_acknowledged_message_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, places) = three(folder.path());
    for end in 36..whole.len() {
        fs::write(segment(folder.path()), &whole[..end]).unwrap();
        let record = places.iter().rfind(|place| **place <= end).unwrap();
        assert_eq!(
            damage(folder.path()),
            Some((segment(folder.path()), Some(*record as u64))),
            "cut at {end}"
        );
    }
}

/// The fault: at the end of a segment a message is lost, doubled or out of reach of a reader.
#[test]
fn messages_are_read_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path());
    let frame = |n: u8| vec![n; 1_000_000];
    let answers: Vec<_> = (0..74).map(|n| bus.publish(0, &name("till"), frame(n))).collect();
    for (seq, answer) in (1..).zip(answers) {
        assert_eq!(wait(answer).unwrap(), StreamSeq(seq));
    }
    // A full segment is left at the next write.
    assert_eq!(
        wait(bus.publish(0, &name("till"), frame(74))).unwrap(),
        StreamSeq(75)
    );
    let id = wait(bus.info(0)).unwrap().id;
    drop(bus);
    let segments = fs::read_dir(folder.path().join("0")).unwrap();
    let segments = segments.filter(|item| {
        item.as_ref()
            .unwrap()
            .path()
            .extension()
            .is_some_and(|end| end == "seg")
    });
    assert_eq!(segments.count(), 2);
    let (bus, notices) = open(folder.path());
    assert!(notices.is_empty());
    assert_eq!(wait(bus.info(0)).unwrap().id, id);
    for after in [60, 74, 0, 66, 67, 68, 69, 30] {
        let read = wait(bus.read(0, StreamSeq(after), 2_500_000)).unwrap();
        let expected = (after..75).take(3).map(|n| StreamSeq(n + 1));
        assert!(
            read.iter().map(|message| message.seq).eq(expected),
            "after {after}"
        );
        assert!(
            (after..)
                .zip(&read)
                .all(|(n, message)| message.frame == frame(u8::try_from(n).unwrap()))
        );
    }
    assert_eq!(put(&bus, 0, b"next"), StreamSeq(76));
}

/// The fault: the last segment is gone; the stream would go on with numbers that were given out before.
#[test]
fn a_missing_last_segment_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (bus, _) = open(folder.path());
    for n in 0..70_u8 {
        put(&bus, 0, &vec![n; 1_000_000]);
    }
    drop(bus);
    let mut segments: Vec<_> = fs::read_dir(folder.path().join("0"))
        .unwrap()
        .map(|item| item.unwrap().path())
        .collect();
    segments.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    segments.sort();
    fs::remove_file(segments.pop().unwrap()).unwrap();
    assert!(damage(folder.path()).is_some());
}
