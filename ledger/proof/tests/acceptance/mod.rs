//! Acceptance: each reason for a rejection, through real frames, and that a rejection changes nothing.

mod entries;
mod recorded;
mod replay;

use sharetrail_proof::acceptance::{Accepted, LogState, Rejection, Verdict};
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::frame::FrameError;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::name::{ChainId, Shard};
use sharetrail_proof::note::{Note, NoteError, NoteSigner};

use crate::support::{
    Ledger, Log, chain, frame, frame_of, key_registered, key_revoked, key_rotated, name, party, root, signer,
};

/// Why a frame is rejected, and that nothing changes by it.
fn refused(log: &mut Log, bytes: &[u8]) -> Rejection {
    let before = log.state.clone();
    let rejection = log.accept(bytes).unwrap_err();
    assert_eq!(log.state, before);
    rejection
}

/// A batch of events of `till` whose note is changed before it is signed.
fn changed(log: &Log, by: &NoteSigner, entries: &[Vec<u8>], change: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let mut batch = log.follow("till", chain("till"), entries);
    change(&mut batch);
    frame(by, &batch, entries)
}

fn events(ledger: &mut Ledger, customer: &str, numbers: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    let events: Vec<_> = numbers.map(|number| ledger.event(customer, 0, number)).collect();
    ledger.keep(&events)
}

#[test]
fn accepted_batches_move_the_log_on() {
    let (mut ledger, till) = Ledger::with_till(1);
    let state = &ledger.log(0).state;
    assert_eq!(
        (state.size(), state.events()),
        (TreeSize(4), 0),
        "genesis, batch, party, key"
    );
    assert_eq!(state.genesis_hash(), LeafHash::of(&ledger.log(0).entries[0]).0);
    assert_eq!(state.head(chain("till")), None);
    let Accepted {
        batch,
        index,
        batch_entry,
        leaves,
    } = ledger.record(&till, "alice", 0, 0..3);
    let log = ledger.log(0);
    assert_eq!(
        (batch.number, batch.count, batch.prev, index),
        (0, 3, log.state.genesis_hash(), LeafIndex(4))
    );
    assert_eq!(batch_entry, log.entries[4]);
    assert_eq!(
        leaves,
        log.entries[4..]
            .iter()
            .map(|entry| LeafHash::of(entry))
            .collect::<Vec<_>>()
    );
    assert_eq!((log.state.size(), log.state.events()), (TreeSize(8), 3));
    let note = Note::parse(std::str::from_utf8(&batch_entry[1..]).unwrap()).unwrap();
    let head = log.state.head(chain("till")).unwrap();
    assert_eq!(
        (head.producer.as_str(), head.number, head.index),
        ("till", 0, LeafIndex(4))
    );
    assert_eq!((head.hash, batch_entry[0]), (text_hash(note.text()), BATCH));
    let next = ledger.record(&till, "bob", 0, 0..1);
    assert_eq!((next.batch.number, next.index), (1, LeafIndex(8)));
    assert_eq!(next.batch.prev, text_hash(note.text()));
    let heads: Vec<_> = ledger
        .log(0)
        .state
        .heads()
        .map(|(chain, head)| (chain, head.number))
        .collect();
    assert_eq!(heads.len(), 2);
    assert!(heads.contains(&(chain("till"), 1)) && heads.contains(&(chain("operator"), 0)));
}

#[test]
fn what_is_no_frame_is_rejected() {
    let (mut ledger, _) = Ledger::with_till(1);
    let rejection = refused(ledger.log_mut(0), b"\x02");
    assert_eq!(rejection, Rejection::Frame(FrameError::Version));
}

#[test]
fn a_batch_for_another_ledger_or_shard_is_rejected() {
    let (mut ledger, till) = Ledger::with_till(2);
    let alice = ledger.customer_on(&[0]);
    let entries = events(&mut ledger, &alice, 0..1);
    let log = ledger.log_mut(0);
    let changes: [fn(&mut Batch); 4] = [
        |batch| batch.ledger = name("other.example"),
        |batch| batch.shard = Shard::new(1, 2).unwrap(),
        |batch| batch.shard = Shard::new(0, 1).unwrap(),
        |batch| batch.shard = Shard::new(0, 3).unwrap(),
    ];
    for change in changes {
        let bytes = changed(log, &till, &entries, change);
        assert!(matches!(refused(log, &bytes), Rejection::Elsewhere { .. }));
    }
}

#[test]
fn only_a_key_that_is_valid_here_signs() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let no_key = Rejection::NoValidKey {
        producer: name("till"),
    };
    let log = ledger.log_mut(0);
    for by in [signer("till", "another key"), signer("crm", "till")] {
        let bytes = changed(log, &by, &entries, |_| {});
        assert_eq!(refused(log, &bytes), no_key);
    }
    let crm = signer("crm", "crm");
    let bytes = log.next_frame(&crm, chain("crm"), &entries);
    assert_eq!(
        refused(log, &bytes),
        Rejection::NoValidKey {
            producer: name("crm")
        }
    );
    let before = log.next_frame(&till, chain("till"), &entries);
    ledger.register(&[("till", key_revoked(&till))]);
    assert_eq!(
        refused(ledger.log_mut(0), &before),
        no_key,
        "signed before, offered after the revocation"
    );
}

#[test]
fn a_key_that_is_registered_later_or_rotated_opens_the_slot_again() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let second = signer("till", "second");
    let early = ledger.log(0).next_frame(&second, chain("till"), &entries);
    let late = ledger.log(0).next_frame(&till, chain("till"), &entries);
    let no_key = Rejection::NoValidKey {
        producer: name("till"),
    };
    assert_eq!(refused(ledger.log_mut(0), &early), no_key);
    ledger.register(&[("till", key_rotated(&second))]);
    assert_eq!(refused(ledger.log_mut(0), &late), no_key);
    let accepted = ledger.log_mut(0).accept(&early).unwrap();
    assert!(matches!(
        accepted,
        Verdict::Accepted(Accepted {
            index: LeafIndex(6),
            ..
        })
    ));
}

#[test]
fn a_wrong_signature_and_a_second_line_are_rejected() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let log = ledger.log_mut(0);
    let batch = log.follow("till", chain("till"), &entries);
    let good = till.sign(&batch.to_text());
    let line = |note: &str| note.lines().last().unwrap().to_owned();
    let stolen = format!("{}\n{}\n", batch.to_text(), line(&till.sign("another text\n")));
    let rejection = refused(log, &frame_of(&stolen, &entries));
    assert!(matches!(
        rejection,
        Rejection::Signature(NoteError::BadSignature { .. })
    ));
    for more in [line(&good), line(&signer("crm", "crm").sign(&batch.to_text()))] {
        let rejection = refused(log, &frame_of(&format!("{good}{more}\n"), &entries));
        assert!(matches!(
            rejection,
            Rejection::Signature(NoteError::Malformed { .. })
        ));
    }
    assert!(matches!(
        log.accept(&frame_of(&good, &entries)),
        Ok(Verdict::Accepted(_))
    ));
}

#[test]
fn a_chain_belongs_to_whoever_began_it() {
    let (mut ledger, till) = Ledger::with_till(1);
    let crm = signer("crm", "crm");
    ledger.register(&[("crm", party()), ("crm", key_registered(&crm))]);
    ledger.record(&till, "alice", 0, 0..1);
    let entries = events(&mut ledger, "bob", 0..1);
    let bytes = ledger.log(0).next_frame(&crm, chain("till"), &entries);
    let rejection = refused(ledger.log_mut(0), &bytes);
    assert_eq!(rejection, Rejection::ForeignChain { owner: name("till") });
}

#[test]
fn numbers_follow_without_a_gap() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let log = ledger.log_mut(0);
    for found in [1, 7, u64::MAX] {
        let bytes = changed(log, &till, &entries, |batch| batch.number = found);
        assert_eq!(refused(log, &bytes), Rejection::Gap { expected: 0, found });
    }
    ledger.record(&till, "alice", 0, 5..6);
    let log = ledger.log_mut(0);
    let bytes = changed(log, &till, &entries, |batch| batch.number = 2);
    assert_eq!(
        refused(log, &bytes),
        Rejection::Gap {
            expected: 1,
            found: 2
        }
    );
}

#[test]
fn prev_names_the_batch_before() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    for _ in 0..2 {
        let log = ledger.log_mut(0);
        let expected = log.follow("till", chain("till"), &entries).prev;
        for found in [Hash::ZERO, Hash(expected.0.map(|byte| !byte))] {
            let bytes = changed(log, &till, &entries, |batch| batch.prev = found);
            assert_eq!(refused(log, &bytes), Rejection::Prev { expected, found });
        }
        ledger.record(&till, "alice", 0, 5..6);
    }
}

#[test]
fn a_repeat_is_told_as_earlier_and_another_batch_in_its_place_as_a_fork() {
    let (mut ledger, till) = Ledger::with_till(1);
    for numbers in [0..1, 1..2, 2..3] {
        ledger.record(&till, "alice", 0, numbers);
    }
    let entries = events(&mut ledger, "alice", 9..10);
    let log = ledger.log_mut(0);
    let (before, frames) = (log.state.clone(), log.frames.clone());
    for (number, bytes) in (0..3).zip(&frames[1..]) {
        let expected = Verdict::Earlier {
            chain: chain("till"),
            number,
        };
        assert_eq!(log.accept(bytes), Ok(expected));
    }
    let fork = changed(log, &till, &entries, |batch| batch.number = 2);
    assert_eq!(log.accept(&fork), Err(Rejection::Fork { number: 2 }));
    let older = changed(log, &till, &entries, |batch| batch.number = 0);
    let expected = Verdict::Earlier {
        chain: chain("till"),
        number: 0,
    };
    assert_eq!(
        log.accept(&older),
        Ok(expected),
        "whoever has the notes compares them"
    );
    assert_eq!(log.state, before);
}

#[test]
fn entries_give_the_root() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..2);
    let swapped = vec![entries[1].clone(), entries[0].clone()];
    let log = ledger.log_mut(0);
    let note = till.sign(&log.follow("till", chain("till"), &entries).to_text());
    let rejection = refused(log, &frame_of(&note, &swapped));
    assert_eq!(
        rejection,
        Rejection::Root {
            expected: root(&entries),
            found: root(&swapped)
        }
    );
}

#[test]
fn a_repeat_is_earlier_even_when_its_key_has_ended() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let repeat = ledger.log(0).frames[1].clone();
    ledger.register(&[("till", key_rotated(&signer("till", "second")))]);
    let expected = Verdict::Earlier {
        chain: chain("till"),
        number: 0,
    };
    assert_eq!(ledger.log_mut(0).accept(&repeat), Ok(expected));
}

#[test]
fn a_state_is_stored_and_read_back() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.erase("alice", 0);
    let state = &ledger.log(0).state;
    let stored = serde_json::to_vec(state).unwrap();
    assert_eq!(serde_json::from_slice::<LogState>(&stored).unwrap(), *state);
    assert_eq!(state.head(ChainId([0; 16])), None);
}
