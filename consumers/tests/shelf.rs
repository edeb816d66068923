//! The projections of a server: opened when somebody asks, folded when there is more, let go of when nobody asks.
//!
//! In scope: one process's shelf beside others that want the store, reading one's own writes. Out of scope: what the
//! projections say (`trail`, `dossier`).

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Projections, Shelf};
use sharetrail_proof::hash::LeafIndex;

use crate::support::{TestLedger, consent, copy_tree, record, story};

/// A bit longer than the projections stay open after they were asked for last.
const A_MOMENT: Duration = Duration::from_millis(2_300);

/// The fault: a server that nobody asks anything keeps commands beside it from reading; or closes what somebody reads.
#[test]
fn what_nobody_asks_for_is_let_go_of() {
    for kind in StoreKind::ALL {
        let place = TestLedger::new(2);
        place.record(story("customer-1"));
        let ledger = place.open();
        let shelf = Shelf::new(&ledger, kind);
        assert_eq!(shelf.folded(), None);
        let done = shelf.catch_up().unwrap();
        let is_level = shelf
            .folded()
            .is_some_and(|folded| folded.iter().sum::<u64>() == done.total);
        assert!(is_level);
        // Nobody has asked: the next one that wants them finds them free.
        shelf.rest();
        assert_eq!(shelf.folded(), None);
        drop(Projections::open(&ledger, kind).unwrap());
        // There is nothing new, so they stay at rest.
        let again = shelf.catch_up().unwrap();
        assert_eq!((again.folded, again.total, shelf.folded()), (0, done.total, None));

        let reading = shelf.projections().unwrap();
        shelf.rest();
        assert!(shelf.folded().is_some());
        thread::sleep(A_MOMENT);
        shelf.rest();
        assert!(shelf.folded().is_some(), "somebody reads still");
        drop(reading);
        shelf.rest();
        assert_eq!(shelf.folded(), None);
    }
}

/// The fault: who comes while another holds the store is sent away, in one direction or the other.
#[test]
fn one_waits_for_the_other() {
    let place = TestLedger::new(1);
    place.record(story("customer-1"));
    let ledger = place.open();
    let shelf = Shelf::new(&ledger, StoreKind::Sled);
    drop(shelf.projections().unwrap());
    let (tell, told) = mpsc::channel();
    let theirs = &ledger;
    thread::scope(|scope| {
        let command = scope.spawn(move || {
            let opened = Projections::open(theirs, StoreKind::Sled).unwrap();
            tell.send(()).unwrap();
            thread::sleep(Duration::from_millis(300));
            drop(opened);
        });
        thread::sleep(A_MOMENT);
        assert!(!command.is_finished());
        shelf.rest();
        told.recv().unwrap();
        assert!(shelf.projections().is_ok());
        command.join().unwrap();
    });
}

/// The fault: who has recorded something does not read it; or many who record at once wait for ever.
#[test]
fn what_was_recorded_is_covered_for_all_who_ask() {
    let place = TestLedger::new(1);
    place.at_work(|engine| {
        let ledger = place.open();
        let shelf = Shelf::new(&ledger, StoreKind::Sled);
        let before = shelf
            .projections()
            .unwrap()
            .leaves(&engine.vault().label("customer-1", 0));
        assert!(before.unwrap().is_empty());
        record(engine, [consent("customer-1", "consent")]);
        let last = LeafIndex(ledger.reader(0).unwrap().size().0 - 1);
        thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| shelf.cover(0, last))).collect();
            for one in all {
                one.join().unwrap().unwrap();
            }
        });
        let leaves = shelf
            .projections()
            .unwrap()
            .leaves(&engine.vault().label("customer-1", 0));
        assert_eq!(leaves.unwrap().len(), 1);
        let ahead = shelf.cover(0, LeafIndex(last.0 + 1));
        assert!(matches!(ahead, Err(ConsumerError::Behind { .. })));
    });
}

/// The fault: that a projection did not fit and was folded anew is not told, or told again and again.
#[test]
fn what_was_healed_is_told_once() {
    let (place, other) = (TestLedger::new(1), TestLedger::new(1));
    for one in [&place, &other] {
        one.record(story("customer-1"));
    }
    drop(other.project(StoreKind::Sled));
    let ledger = place.open();
    copy_tree(&other.open().projections(), &ledger.projections());
    let shelf = Shelf::new(&ledger, StoreKind::Sled);
    assert!(shelf.projections().is_ok());
    assert_eq!(shelf.notices().len(), 1);
    assert!(shelf.notices().is_empty());
}
