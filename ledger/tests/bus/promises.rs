//! What every bus promises.
//!
//! In scope: order, durability, reading from any place in steps of any size, many publishers at once. Out of scope: what
//! only one of them can suffer.

use sharetrail_ledger::LedgerError;
use sharetrail_ledger::bus::{Bus, Message, StreamSeq};
use sharetrail_proof::frame::MAX_FRAME_BYTES;

use crate::support::{name, wait};

/// Before the first message.
pub(crate) const NOTHING: StreamSeq = StreamSeq(0);

pub(crate) fn put(bus: &impl Bus, shard: u32, frame: &[u8]) -> StreamSeq {
    wait(bus.publish(shard, &name("till"), frame.to_vec())).unwrap()
}

/// Everything that a shard's stream holds.
pub(crate) fn all(bus: &impl Bus, shard: u32) -> Vec<Message> {
    let mut read: Vec<Message> = Vec::new();
    loop {
        let after = read.last().map_or(NOTHING, |message| message.seq);
        let more = wait(bus.read(shard, after, usize::MAX)).unwrap();
        if more.is_empty() {
            return read;
        }
        read.extend(more);
    }
}

pub(crate) fn frames(bus: &impl Bus, shard: u32) -> Vec<Vec<u8>> {
    all(bus, shard).into_iter().map(|message| message.frame).collect()
}

/// What any bus must do. `reopen` ends a bus and opens the same streams again.
pub(crate) fn keeps_its_promises<B: Bus>(mut bus: B, reopen: impl Fn(B) -> B) {
    assert!(all(&bus, 0).is_empty());
    let arrivals = bus.arrivals();
    let sent: Vec<Vec<u8>> = (0..100_u8).map(|n| vec![n; usize::from(n) * 30]).collect();
    for (number, frame) in (1..).zip(&sent) {
        assert_eq!(put(&bus, 0, frame), StreamSeq(number));
    }
    // What was accepted can be read a moment later, and whoever has read the shard before hears of it.
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
pub(crate) fn serves_many<B: Bus>(bus: B, reopen: impl Fn(B) -> B) {
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
