//! What every bus promises, checked on the embedded one; and what only files can suffer.
//!
//! In scope: order, durability, reading, many publishers; torn tails, flipped bits, segments. Out of scope: what a
//! frame says.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use sharetrail_ledger::LedgerError;
use sharetrail_ledger::bus::{Bus, EmbeddedBus, Message, StreamSeq};
use sharetrail_proof::frame::MAX_FRAME_BYTES;
use support::{Rng, name, wait};

const NOTHING: StreamSeq = StreamSeq(0);

fn open(folder: &Path) -> (EmbeddedBus, Vec<String>) {
    EmbeddedBus::open(folder, 2).unwrap()
}

fn put(bus: &impl Bus, shard: u32, frame: &[u8]) -> StreamSeq {
    wait(bus.publish(shard, &name("till"), frame.to_vec())).unwrap()
}

fn all(bus: &impl Bus, shard: u32) -> Vec<Message> {
    wait(bus.read(shard, NOTHING, usize::MAX)).unwrap()
}

fn frames(bus: &impl Bus, shard: u32) -> Vec<Vec<u8>> {
    all(bus, shard).into_iter().map(|message| message.frame).collect()
}

/// What any bus must do. `reopen` ends a bus and opens the same streams again.
fn keeps_its_promises<B: Bus>(mut bus: B, reopen: impl Fn(B) -> B) {
    assert!(all(&bus, 0).is_empty());
    let arrivals = bus.arrivals();
    let sent: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; usize::from(n) * 30]).collect();
    for (number, frame) in (1..).zip(&sent) {
        assert_eq!(put(&bus, 0, frame), StreamSeq(number));
    }
    // An answer comes after the message can be read; the count of arrivals may follow a moment later.
    wait(async {
        let mut arrivals = arrivals;
        arrivals.wait_for(|count| *count >= 100).await.unwrap();
    });
    let info = wait(bus.info(0)).unwrap();
    assert_eq!(info.last, StreamSeq(100));
    for round in 0..3 {
        assert_eq!(frames(&bus, 0), sent, "round {round}");
        assert!(all(&bus, 1).is_empty(), "the other shard is untouched");
        assert!(wait(bus.read(0, StreamSeq(100), 1)).unwrap().is_empty());
        assert!(wait(bus.read(0, StreamSeq(5_000), 1)).unwrap().is_empty());
        assert_eq!(wait(bus.info(0)).unwrap(), info);
        bus = reopen(bus);
    }
    reads_in_pieces(&bus, &sent);
    assert!(matches!(
        wait(bus.read(9, NOTHING, 1)),
        Err(LedgerError::Invalid(_))
    ));
    assert!(matches!(
        wait(bus.publish(9, &name("till"), vec![1])),
        Err(LedgerError::Invalid(_))
    ));
    let long = vec![0; MAX_FRAME_BYTES + 1];
    assert!(matches!(
        wait(bus.publish(0, &name("till"), long)),
        Err(LedgerError::Invalid(_))
    ));
    assert_eq!(put(&bus, 0, b"after"), StreamSeq(101));
}

/// From any place, in steps of any size: in order, without a gap, and at least one message each time.
fn reads_in_pieces(bus: &impl Bus, sent: &[Vec<u8>]) {
    for bytes_max in [0, 1, 3_000, 20_000] {
        let (mut after, mut read) = (NOTHING, Vec::new());
        loop {
            let messages = wait(bus.read(0, after, bytes_max)).unwrap();
            let Some(last) = messages.last() else { break };
            assert_eq!(
                (messages[0].seq.0, last.seq.0),
                (after.0 + 1, after.0 + messages.len() as u64)
            );
            let but_last: usize = messages[..messages.len() - 1]
                .iter()
                .map(|message| message.frame.len())
                .sum();
            assert!(messages.len() == 1 || but_last < bytes_max, "{bytes_max}");
            assert!(messages.iter().all(|message| message.producer == name("till")));
            after = last.seq;
            read.extend(messages.into_iter().map(|message| message.frame));
        }
        assert_eq!(read, sent, "{bytes_max}");
    }
    for after in [98, 3, 50, 0, 99] {
        let messages = wait(bus.read(0, StreamSeq(after), 1)).unwrap();
        assert_eq!(messages[0].frame, sent[usize::try_from(after).unwrap()]);
    }
}

/// Several threads publish at once, and one reads: each frame is acked once, under a number of its own.
fn serves_many<B: Bus>(bus: B, reopen: impl Fn(B) -> B) {
    let shared = &bus;
    let seqs: Vec<Vec<(u64, [u8; 2])>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6_u8)
            .map(|thread| scope.spawn(move || publish_many(shared, thread)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let bus = reopen(bus);
    for shard in 0..2_u8 {
        let read = all(&bus, shard.into());
        assert_eq!(read.len(), 300);
        for (thread, acked) in (0_u8..).zip(&seqs).filter(|(thread, _)| thread % 2 == shard) {
            assert!(acked.is_sorted(), "thread {thread}: its frames keep their order");
            for (seq, frame) in acked {
                assert_eq!(read[usize::try_from(*seq).unwrap() - 1].frame, frame);
            }
        }
        assert!(
            (1..)
                .zip(&read)
                .all(|(seq, message)| message.seq == StreamSeq(seq))
        );
    }
}

fn publish_many(bus: &impl Bus, thread: u8) -> Vec<(u64, [u8; 2])> {
    (0..100)
        .map(|n| (put(bus, u32::from(thread % 2), &[thread, n]).0, [thread, n]))
        .collect()
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
