//! Batches as they stand in a log: judged by the same rules as frames, with what the caller worked out beforehand.

use sharetrail_proof::acceptance::{LogState, Recorded, Rejection};
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafHash, TreeSize};
use sharetrail_proof::note::{NoteError, NoteSigner, VerifierKey};
use sharetrail_proof::tree::root_of;

use crate::acceptance::{changed, events};
use crate::support::{
    Ledger, Log, chain, frame_of, key_revoked, key_rotated, name, operator_replaced, signer,
};

/// Judges what a frame would put into the log; `with`: the key that is said to have signed it.
fn judge(state: &mut LogState, bytes: &[u8], with: Option<&VerifierKey>) -> Result<(), Rejection> {
    recorded(bytes, with, |recorded| state.accept_recorded(recorded))
}

fn recorded<T>(bytes: &[u8], with: Option<&VerifierKey>, look: impl FnOnce(&Recorded<'_>) -> T) -> T {
    let frame = Frame::parse(bytes).unwrap();
    let leaves: Vec<LeafHash> = frame.entries.iter().map(|entry| LeafHash::of(entry)).collect();
    look(&Recorded {
        note: frame.note_text,
        batch: &frame.batch,
        hash: text_hash(frame.note.text()),
        entries: &frame.entries,
        root: root_of(&leaves),
        signed_with: with,
    })
}

fn whole_ledger() -> (Ledger, NoteSigner) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..3);
    ledger.record(&till, "bob", 0, 0..1);
    ledger.erase("bob", 0);
    let second = signer("till", "second");
    ledger.register(&[("till", key_rotated(&second))]);
    ledger.register(&[("operator", operator_replaced(&signer("operator", "next")))]);
    (ledger, till)
}

/// The fault: an auditor comes to another state than the sequencer.
#[test]
fn a_log_is_judged_as_its_frames_were() {
    let (ledger, till) = whole_ledger();
    let log = ledger.log(0);
    for with in [None, Some(till.verifier())] {
        let mut state = LogState::new(&log.genesis);
        for bytes in &log.frames {
            // A key that is of no use here, as the till's is for the operator's batches, is passed over.
            judge(&mut state, bytes, with).unwrap();
        }
        assert_eq!(state, log.state);
    }
}

/// The fault: what somebody says about a signature is believed of a key that was not valid there.
#[test]
fn a_key_that_signed_counts_only_where_it_is_valid() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let log = ledger.log_mut(0);
    let before = log.next_frame(&till, chain("till"), &entries);
    let other = signer("till", "another");
    let forged = changed(log, &other, &entries, |_| {});
    let no_key = Err(Rejection::NoValidKey {
        producer: name("till"),
    });
    let mut state = log.state.clone();
    assert_eq!(judge(&mut state, &forged, Some(other.verifier())), no_key);
    assert_eq!(state, log.state, "nothing changed");
    assert_eq!(judge(&mut state, &before, Some(till.verifier())), Ok(()));

    ledger.register(&[("till", key_revoked(&till))]);
    let mut state = ledger.log(0).state.clone();
    let after = changed(ledger.log(0), &till, &entries, |_| {});
    assert_eq!(judge(&mut state, &after, Some(till.verifier())), no_key);
}

/// The fault: without anybody's word on it, the signature is not looked at.
#[test]
fn a_signature_that_nobody_checked_is_checked() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..1);
    let log = ledger.log_mut(0);
    let text = log.follow("till", chain("till"), &entries).to_text();
    let good = till.sign(&text);
    let other = till.sign("another text\n");
    let stolen = format!("{text}\n{}\n", other.lines().last().unwrap());
    let mut state = log.state.clone();
    let rejection = judge(&mut state, &frame_of(&stolen, &entries), None);
    assert!(matches!(
        rejection,
        Err(Rejection::Signature(NoteError::BadSignature { .. }))
    ));
    let bytes = frame_of(&good, &entries);
    assert_eq!(judge(&mut state, &bytes, None), Ok(()));
}

/// The fault: a batch stands in the log twice, which the sequencer would have passed over.
#[test]
fn a_repeat_has_no_place_in_a_log() {
    let (ledger, till) = whole_ledger();
    let log = ledger.log(0);
    let mut state = log.state.clone();
    for bytes in &log.frames {
        let refused = judge(&mut state, bytes, Some(till.verifier())).unwrap_err();
        assert!(matches!(
            refused,
            Rejection::Gap { .. } | Rejection::NoValidKey { .. }
        ));
    }
    assert_eq!(state, log.state);
}

/// The fault: the root is taken from the note.
#[test]
fn the_root_is_that_of_the_entries() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = events(&mut ledger, "alice", 0..2);
    let log = ledger.log_mut(0);
    let bytes = changed(log, &till, &entries, |batch| batch.root = Hash::ZERO);
    let mut state = log.state.clone();
    let refused = judge(&mut state, &bytes, None).unwrap_err();
    assert!(matches!(refused, Rejection::Root { expected, .. } if expected == Hash::ZERO));
}

fn conceded(log: &Log, bytes: &[u8]) -> LogState {
    let mut state = log.state.clone();
    recorded(bytes, None, |recorded| {
        assert!(state.accept_recorded(recorded).is_err());
        state.concede(recorded);
    });
    state
}

/// The fault: one bad batch makes every batch behind it look bad, or turns a chain back.
#[test]
fn behind_a_batch_that_may_not_stand_there_the_chain_goes_on() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let entries = events(&mut ledger, "bob", 0..2);
    let log = ledger.log(0);
    let before = log.state.size();
    let gap = changed(log, &till, &entries, |batch| batch.number = 5);
    let state = conceded(log, &gap);
    assert_eq!(state.size(), TreeSize(before.0 + 3));
    assert_eq!(
        (state.head(chain("till")).unwrap().number, state.events()),
        (5, 3)
    );

    let again = log.frames.last().unwrap();
    let state = conceded(log, again);
    assert_eq!(state.head(chain("till")).unwrap().number, 0);
    assert_eq!(state.size(), TreeSize(before.0 + 2));

    let last = changed(log, &till, &entries, |batch| batch.number = u64::MAX);
    let mut state = conceded(log, &last);
    let next = changed(log, &till, &entries, |batch: &mut Batch| batch.number = 0);
    assert!(
        judge(&mut state, &next, None).is_err(),
        "no number follows the last"
    );

    let foreign = log.next_frame(&ledger.operator, chain("till"), &entries);
    let state = conceded(log, &foreign);
    assert_eq!(state.head(chain("till")), log.state.head(chain("till")));
    assert_eq!(
        state.events(),
        log.state.events(),
        "the operator records no events"
    );

    let mut state = log.state.clone();
    state.concede_leaves(4);
    assert_eq!(state.size(), TreeSize(before.0 + 4));
}
