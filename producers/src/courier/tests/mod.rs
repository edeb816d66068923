//! The courier against a bus that loses, repeats and fails, and a sequencer that is told in a few lines.
//!
//! In scope: every accepted event on record exactly once and in order, the same bytes after a restart, rejections, a stream
//! that is made anew, a hole in the outbox, silence, a rotated key, a number that is another's, a panic. Out of scope: the
//! outbox's files (`tests/outbox`), a real bus.

mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use sharetrail_ledger::LedgerError;

use self::world::{Fault, World};
use crate::error::PublishError;

/// The fault: a frame that the bus acknowledged and lost is never sent again; one that it stored twice is on record twice; one
/// that it stored and did not acknowledge too.
#[test]
fn every_event_is_on_record_once_whatever_the_bus_does() {
    for seed in 0..4_u64 {
        let world = World::new();
        let faults = [
            Fault::Lose,
            Fault::Twice,
            Fault::Fail,
            Fault::StoreAndFail,
            Fault::Older,
        ];
        for place in 0..8_u64 {
            let fault = faults[usize::try_from((seed * 7 + place * 3) % 5).unwrap()];
            world.fault(5 * place + seed, fault);
        }
        world.lose_news(3 + seed);
        let batches: Vec<Vec<u64>> = (0..40).map(|n| vec![3 * n, 3 * n + 1, 3 * n + 2]).collect();
        let told = world.run(&batches);
        assert_eq!(world.on_record(), (0..120).collect::<Vec<u64>>(), "seed {seed}");
        assert_eq!(told.sealed(), (0..120).collect::<Vec<u64>>(), "seed {seed}");
        assert_eq!((told.accepted(), told.refused().len()), (120, 0), "seed {seed}");
        assert!(world.outbox_is_empty(), "seed {seed}");
    }
}

/// The fault: a receipt's evidence that does not lead to the checkpoint, or is another event's.
#[test]
fn what_is_told_as_sealed_is_where_the_log_has_it() {
    let world = World::new();
    let told = world.run(&[vec![1, 2], vec![3]]);
    for (event, place) in told.places() {
        assert_eq!(world.event_at(place.index), Some(event));
        let evidence = place.evidence.unwrap();
        assert_eq!(
            world.entry_at(place.index),
            evidence.batch.entries[evidence.position]
        );
        assert!(world.proves(&evidence.batch));
    }
}

/// The fault: after a restart frames are cut anew, or new ones overtake those that wait.
#[test]
fn a_restart_sends_the_same_bytes_in_the_same_order_first() {
    let world = World::new();
    world.go_deaf();
    let told = world.run_until_sent(&[vec![1], vec![2, 3], vec![4]], 3);
    assert_eq!((told.sealed().len(), told.accepted()), (0, 4));
    assert!(
        told.refused()
            .values()
            .all(|error| matches!(error, PublishError::Stopped { .. }))
    );
    let before = world.sent();
    assert_eq!(before.len(), 3);
    world.forget_stream();
    world.hear_again();
    world.run(&[vec![5]]);
    let after = world.sent();
    assert_eq!(after[3..6], before[..]);
    assert_eq!(world.on_record(), [1, 2, 3, 4, 5]);
}

/// The fault: one event that is refused takes others with it, or those behind it wait for ever; also where it was left over
/// from an earlier run and nobody waits for it.
#[test]
fn an_offender_goes_alone() {
    for restart in [false, true] {
        let world = World::new();
        world.refuse_events(&[2, 5, 6]);
        let batches = [vec![1, 2, 3], vec![4, 5], vec![6], vec![7]];
        if restart {
            world.go_deaf();
            world.run_until_sent(&batches, 4);
            world.hear_again();
            world.run(&[vec![8]]);
            assert_eq!(world.on_record(), [1, 3, 4, 7, 8]);
            assert!(world.notices() >= 3);
            assert_eq!(world.left_over_rejected(), 3);
        } else {
            let told = world.run(&batches);
            assert_eq!(world.on_record(), [1, 3, 4, 7]);
            assert_eq!(told.sealed(), [1, 3, 4, 7]);
            let refused = told.refused();
            assert_eq!(refused.keys().copied().collect::<Vec<u64>>(), [2, 5, 6]);
            assert_eq!(world.left_over_rejected(), 0);
            assert!(
                refused
                    .values()
                    .all(|error| matches!(error, PublishError::Rejected { .. }))
            );
        }
        assert!(world.outbox_is_empty());
    }
}

/// The fault: a stream that was deleted and made anew takes acknowledged frames with it.
#[test]
fn what_a_lost_stream_held_is_sent_again() {
    let world = World::new();
    world.go_deaf();
    world.run_until_sent(&[vec![1], vec![2]], 2);
    world.forget_stream();
    world.hear_again();
    let told = world.run(&[vec![3]]);
    assert_eq!(world.on_record(), [1, 2, 3]);
    assert_eq!(told.sealed(), [3]);
}

/// The fault: a right that is missing is waited for, for ever and in silence, or what was kept is thrown away.
#[test]
fn a_missing_right_is_told_and_what_is_kept_stays() {
    let world = World::new();
    world.deny(true);
    let told = world.run(&[vec![1, 2], vec![3]]);
    let denied = |error: &PublishError| matches!(error, PublishError::Ledger(LedgerError::Denied(_)));
    let refused = told.refused();
    assert_eq!(refused.keys().copied().collect::<Vec<u64>>(), [1, 2, 3]);
    assert!(refused.values().all(denied));
    assert!(!world.outbox_is_empty());
    world.deny(false);
    world.run(&[vec![4]]);
    let on_record = world.on_record();
    let kept: BTreeSet<u64> = on_record.iter().copied().collect();
    assert!(kept.is_superset(&BTreeSet::from([1, 2, 4])));
    assert_eq!(on_record.len(), kept.len());
}

/// The fault: a record that the disk damaged stops the producer for good, because nothing follows the lost number.
#[test]
fn a_hole_in_the_outbox_does_not_stop_what_is_behind_it() {
    let world = World::new();
    world.go_deaf();
    world.run_until_sent(&[vec![1], vec![2], vec![3]], 3);
    world.forget_stream();
    world.damage_second_record();
    world.hear_again();
    let told = world.run(&[vec![4]]);
    assert_eq!((world.on_record(), told.sealed()), (vec![1, 3, 4], vec![4]));
    assert_eq!(world.chains(), 2);
}

/// The fault: a chain is given up because nothing is heard of it, and what was on record all the time is recorded again.
#[test]
fn silence_never_begins_another_chain() {
    let world = World::new();
    world.go_mute_until(12);
    let told = world.run(&[vec![1, 2]]);
    assert_eq!((world.on_record(), told.sealed()), (vec![1, 2], vec![1, 2]));
    let sent = world.sent();
    assert!(sent.len() >= 12 && sent.iter().all(|frame| *frame == sent[0]));
    assert!(world.notices() > 0);
}

/// The fault: where another batch took the number, nothing is recorded any more, and nobody is told.
#[test]
fn a_number_that_is_anothers_begins_another_chain() {
    let world = World::new();
    world.run(&[vec![1]]);
    world.use_up_a_number();
    let told = world.run(&[vec![2], vec![3]]);
    assert_eq!((world.on_record(), told.sealed()), (vec![1, 2, 3], vec![2, 3]));
    assert_eq!((world.chains(), world.outbox_is_empty()), (2, true));
    assert!(world.notices() > 0);
}

/// The fault: what was accepted before the key was rotated is refused for good after it.
#[test]
fn what_an_earlier_key_signed_is_signed_again() {
    let mut world = World::new();
    world.go_deaf();
    world.run_until_sent(&[vec![1], vec![2, 3], vec![4]], 3);
    world.rotate_key();
    world.hear_again();
    let told = world.run(&[vec![5]]);
    assert_eq!((world.on_record(), told.sealed()), (vec![1, 2, 3, 4, 5], vec![5]));
    assert_eq!((world.left_over_rejected(), world.chains()), (0, 1));
    assert!(world.outbox_is_empty());
}

/// The fault: where no key of the producer is valid any more, its events are signed again and again, and nobody is told.
#[test]
fn what_the_present_key_signed_is_refused_if_that_has_ended() {
    let world = World::new();
    world.revoke_key();
    let refused = world.run(&[vec![1, 2], vec![3]]).refused();
    assert_eq!(refused.keys().copied().collect::<Vec<u64>>(), [1, 2, 3]);
    assert!(
        refused
            .values()
            .all(|error| matches!(error, PublishError::Rejected { .. }))
    );
    assert!(world.on_record().is_empty() && world.outbox_is_empty());
}

/// The fault: a courier that panics leaves all who gave it events waiting for ever, and the publisher closes as if nothing
/// had happened.
#[test]
fn a_panic_is_told_to_all_who_wait() {
    let world = World::new();
    world.let_bus_panic();
    let refused = world.run(&[vec![1, 2]]).refused();
    assert_eq!(refused.keys().copied().collect::<Vec<u64>>(), [1, 2]);
    assert!(
        refused
            .values()
            .all(|error| matches!(error, PublishError::Stopped { .. }))
    );
    assert!(world.has_ended_early() && !world.outbox_is_empty());
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_mins(2);
