//! What may not enter the log, published on the bus by whoever can reach it; and whose keys count when.
//!
//! In scope: forged, foreign and broken frames through the real engine; keys added, rotated, revoked, in all shards.
//! Out of scope: the pure rules (the proof crate's tests).

use crate::support::sound::{assert_sound, entries, times_on_record};
use crate::support::{Outbox, StopAt, TestLedger, decided, name, publish};
use sharetrail_ledger::{Engine, LedgerError, Step, keys, status};
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::frame::{Frame, encode};
use sharetrail_proof::hash::LeafHash;
use sharetrail_proof::name::{ChainId, Name, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::tree::root_of;

const PRODUCER: &str = "shop.example";

fn stranger(name: &str) -> NoteSigner {
    NoteSigner::from_seed(name, &[7; 32]).unwrap()
}

/// The frame with its note changed and signed anew.
fn resigned(frame: &[u8], signer: &NoteSigner, change: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let parsed = Frame::parse(frame).unwrap();
    let mut batch = parsed.batch.clone();
    change(&mut batch);
    encode(&signer.sign(&batch.to_text()), &parsed.entries, &parsed.sealed)
}

fn rejected(place: &TestLedger) -> u64 {
    status(&place.open())
        .unwrap()
        .shards
        .iter()
        .map(|shard| shard.rejected)
        .sum()
}

/// Publishes frames that must not enter; the log must stay as it is, and each must be kept with its reason.
fn assert_refused(place: &TestLedger, engine: &Engine, by: &Name, frames: &[(&str, Vec<u8>)]) {
    for (what, frame) in frames {
        let (before, kept) = (
            place.open().reader(0).unwrap().checkpoint().clone(),
            rejected(place),
        );
        let seq = publish(engine, 0, by, frame);
        assert!(decided(engine, 0, seq), "{what} halted the shard");
        assert_eq!(*place.open().reader(0).unwrap().checkpoint(), before, "{what}");
        assert_eq!(rejected(place), kept + 1, "{what}");
    }
}

/// The fault: whoever reaches the bus writes into the log, or stops the chain of an honest producer.
#[test]
fn forged_frames_are_refused_and_the_honest_chain_goes_on() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let producer = name(PRODUCER);
    let own = keys::producer_signer(engine.ledger(), &producer).unwrap();
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 1);
    let mut acked = vec![outbox.record(&engine, 5), outbox.record(&engine, 5)];
    let before = place.open().reader(0).unwrap().checkpoint().clone();
    let good = outbox.batch(&engine, 3);
    let parsed = Frame::parse(&good).unwrap();
    let (note, entries, sealed) = (parsed.note_text, &parsed.entries, &parsed.sealed);
    let mut altered = entries[1].to_vec();
    altered[60] ^= 1;
    let altered = [entries[0], &altered, entries[2]];
    let no_content = [sealed[0], &[], sealed[2]];
    let twice_signed = format!(
        "{note}{}",
        note.lines().next_back().map(|line| format!("{line}\n")).unwrap()
    );
    let frames = [
        ("a stranger's key", resigned(&good, &stranger(PRODUCER), |_| ())),
        (
            "another ledger",
            resigned(&good, &own, |batch| batch.ledger = name("other.example")),
        ),
        (
            "another shard",
            resigned(&good, &own, |batch| batch.shard = Shard::new(1, 2).unwrap()),
        ),
        ("a gap", resigned(&good, &own, |batch| batch.number += 1)),
        (
            "a fork of the last",
            resigned(&good, &own, |batch| batch.number -= 1),
        ),
        (
            "a fork of the first",
            resigned(&good, &own, |batch| batch.number -= 2),
        ),
        (
            "a wrong prev",
            resigned(&good, &own, |batch| batch.prev.0[0] ^= 1),
        ),
        (
            "a wrong root",
            resigned(&good, &own, |batch| batch.root.0[0] ^= 1),
        ),
        (
            "a new chain from the middle",
            resigned(&good, &own, |batch| batch.chain = ChainId([1; 16])),
        ),
        ("an altered entry", encode(note, &altered, sealed)),
        ("an event without content", encode(note, entries, &no_content)),
        ("a second signature", encode(&twice_signed, entries, sealed)),
        ("half a frame", good[..good.len() / 2].to_vec()),
        ("a frame and more", [&good[..], &[0]].concat()),
        ("nothing", Vec::new()),
        ("garbage", vec![0xA5; 900]),
    ];
    assert_refused(&place, &engine, &producer, &frames);
    // Under its owner's name on another's bus subject, and a stranger on a chain that is not his.
    assert_refused(
        &place,
        &engine,
        &name("till"),
        &[("another's bus subject", good.clone())],
    );
    let unknown = stranger("till");
    let claimed = resigned(&good, &unknown, |batch| batch.producer = name("till"));
    assert_refused(
        &place,
        &engine,
        &name("till"),
        &[("an unknown producer", claimed)],
    );
    let seq = outbox.publish(&engine, &good);
    assert!(decided(&engine, 0, seq));
    acked.push(good.clone());
    acked.push(outbox.record(&engine, 2));
    engine.stop().unwrap();
    assert_sound(&place.open(), 0, &acked, &before, "after the forgeries");
}

/// The fault: an outbox that sends again what it does not know to be on record doubles it, now or after a restart.
#[test]
fn repeats_are_ignored() {
    let place = TestLedger::new(1);
    let before = place.open().reader(0).unwrap().checkpoint().clone();
    let mut acked = Vec::new();
    for round in 0..3 {
        let engine = place.start();
        let mut outbox = Outbox::open(&engine, PRODUCER, 0, round);
        acked.extend((0..4).map(|_| outbox.record(&engine, 3)));
        for frame in acked.iter().rev().chain(&acked) {
            let seq = outbox.publish(&engine, frame);
            assert!(decided(&engine, 0, seq));
        }
        assert_eq!(rejected(&place), 0, "a repeat is no fault");
        engine.stop().unwrap();
        assert_sound(&place.open(), 0, &acked, &before, &format!("round {round}"));
    }
}

/// The fault: a flood of refused frames fills the disk with their notes.
#[test]
fn refused_notes_are_capped() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let (producer, mut last) = (name("till"), None);
    for n in 0..1_100_u16 {
        last = Some(publish(&engine, 0, &producer, &n.to_be_bytes()));
    }
    assert!(decided(&engine, 0, last.unwrap()));
    assert_eq!(rejected(&place), 1_000);
}

/// The fault: a label is recorded on two shards, so that the trail from one of them looks whole.
#[test]
fn a_label_of_another_shard_is_refused() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let (mut here, mut there) = (
        Outbox::open(&engine, PRODUCER, 0, 1),
        Outbox::open(&engine, PRODUCER, 1, 2),
    );
    let customer = there.customer(&engine);
    let (good, stray) = (here.batch(&engine, 1), there.event(&engine, &customer));
    here.chain.resume();
    let frame = here.cut(&[stray]);
    assert_refused(&place, &engine, &name(PRODUCER), &[("a stray label", frame)]);
    let seq = here.publish(&engine, &good);
    assert!(decided(&engine, 0, seq));
    let reader = place.open().reader(0).unwrap();
    assert_eq!(times_on_record(&entries(&reader), &good), 1);
}

/// The fault: a key that was rotated or revoked still signs, or what it signed before does not count any more.
#[test]
fn keys_count_from_their_entry_to_the_next() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let till = name("till");
    keys::add_producer(&engine, &till).unwrap();
    assert!(matches!(
        keys::add_producer(&engine, &till),
        Err(LedgerError::Invalid(_))
    ));
    let mut old = Outbox::open(&engine, "till", 0, 1);
    let mut acked = vec![old.record(&engine, 2)];
    let before = place.open().reader(0).unwrap().checkpoint().clone();
    keys::rotate(&engine, &till).unwrap();
    let late = old.batch(&engine, 2);
    assert_refused(&place, &engine, &till, &[("the rotated key", late)]);
    let mut new = Outbox::open(&engine, "till", 0, 2);
    acked.push(new.record(&engine, 2));
    keys::revoke(&engine, &till).unwrap();
    let later = new.batch(&engine, 2);
    assert_refused(&place, &engine, &till, &[("the revoked key", later)]);
    assert!(matches!(
        keys::revoke(&engine, &till),
        Err(LedgerError::Invalid(_))
    ));
    // A repeat of what the ended keys signed is on record all the same.
    for frame in &acked {
        let seq = publish(&engine, 0, &till, frame);
        assert!(decided(&engine, 0, seq));
    }
    let periods: Vec<_> = keys::list(engine.ledger())
        .unwrap()
        .into_iter()
        .filter(|key| key.party == till)
        .collect();
    assert!(periods.len() == 2 && periods.iter().all(|key| key.until.is_some()));
    assert_eq!(
        periods.iter().map(|key| key.private_here).collect::<Vec<_>>(),
        [false, true]
    );
    for reserved in ["operator", "recovery"] {
        assert!(matches!(
            keys::add_producer(&engine, &name(reserved)),
            Err(LedgerError::Invalid(_))
        ));
    }
    engine.stop().unwrap();
    assert_sound(&place.open(), 0, &acked, &before, "with keys that ended");
    assert_eq!(registry_entries(&place, 0), registry_entries(&place, 1));
}

fn registry_entries(place: &TestLedger, shard: u32) -> Vec<Vec<u8>> {
    let mut entries = entries(&place.open().reader(shard).unwrap());
    entries.retain(|entry| entry.first() == Some(&sharetrail_proof::entry::REGISTRY));
    entries
}

/// The fault: a crash between two shards leaves a key valid on one and unknown on the other, for ever: the command says
/// that it is done already, and each later entry breaks the other shard's order.
#[test]
fn a_registration_that_was_interrupted_between_shards_can_be_finished() {
    let place = TestLedger::new(2);
    let stop = StopAt::new(0, Step::Published);
    let engine = stop.start(&place.open());
    stop.arm(1);
    assert!(matches!(
        keys::add_producer(&engine, &name("till")),
        Err(LedgerError::Stopped(_))
    ));
    drop(engine);
    let engine = place.start();
    keys::add_producer(&engine, &name("till")).unwrap();
    keys::add_producer(&engine, &name("web")).unwrap();
    for shard in 0..2 {
        Outbox::open(&engine, "till", shard, 1).record(&engine, 2);
    }
    engine.stop().unwrap();
    assert_eq!(registry_entries(&place, 0), registry_entries(&place, 1));
}

/// The fault: the batch that a frame rebuilt by hand stands for is another than the one that the chain cuts; then the
/// forgeries above would be refused for the wrong reason.
#[test]
fn a_frame_resigned_without_a_change_is_the_same_frame() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let own = keys::producer_signer(engine.ledger(), &name(PRODUCER)).unwrap();
    let frame = Outbox::open(&engine, PRODUCER, 0, 1).batch(&engine, 3);
    assert_eq!(resigned(&frame, &own, |_| ()), frame);
    let parsed = Frame::parse(&frame).unwrap();
    let leaves: Vec<_> = parsed.entries.iter().map(|entry| LeafHash::of(entry)).collect();
    assert_eq!(root_of(&leaves), parsed.batch.root);
    assert_eq!(
        parsed.batch.prev,
        LeafHash::of(&place.open().genesis(0).to_bytes()).0
    );
    assert_ne!(parsed.batch.prev, text_hash(parsed.note.text()));
}
