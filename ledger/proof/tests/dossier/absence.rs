//! That nothing is on record: of somebody nobody ever knew, and of the generation after the last.

use sharetrail_proof::dossier::FaultKind;
use sharetrail_proof::map::MapError;
use sharetrail_proof::vrf::VrfError;

use crate::dossier::{alice_and_bob, fault, faults, verified};
use crate::support::{Ledger, name};

#[test]
fn of_somebody_whom_nobody_knows_it_is_proven_that_there_is_nothing() {
    let (ledger, _) = alice_and_bob();
    let verified = verified(&ledger, &ledger.dossier("carol", 0));
    assert_eq!((verified.events.len(), verified.generations.len()), (0, 0));
    assert_eq!(
        (verified.absence.generation, verified.absence.label),
        (0, ledger.label("carol", 0))
    );
    assert_eq!(verified.as_of(), Ledger::sealed_at(13));
}

/// Of whom nothing is on record, no generation is shown: the absence says that there is none. An erasure alone makes one.
#[test]
fn a_generation_without_leaves_is_none() {
    let (mut ledger, _) = alice_and_bob();
    let found = faults(&ledger, &ledger.dossier("carol", 1));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "generations[0]"), FaultKind::Unneeded);
    ledger.erase("carol", 0);
    let erased = verified(&ledger, &ledger.dossier("carol", 1));
    assert_eq!((erased.events.len(), erased.generations.len()), (0, 1));
    let found = faults(&ledger, &ledger.dossier("carol", 2));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "generations[1]"), FaultKind::Unneeded);
}

#[test]
fn in_a_ledger_where_nothing_ever_happened_there_is_nothing_of_anybody() {
    for shards in [1, 3] {
        let ledger = Ledger::empty(shards);
        let verified = verified(&ledger, &ledger.dossier("alice", 0));
        assert_eq!(verified.absence.shard, ledger.shard_of("alice", 0));
        assert_eq!(verified.maps[0].leaf.labels, 0);
    }
}

/// The map of one label is that label's leaf, so the path of any other is empty and ends there.
#[test]
fn beside_a_single_label_another_is_absent() {
    let mut ledger = Ledger::empty(1);
    ledger.erase("alice", 0);
    let dossier = ledger.dossier("carol", 0);
    assert_eq!(dossier.absence.map.path, Vec::<u32>::new());
    assert_eq!(
        dossier.absence.map.other.map(|other| other.label),
        Some(ledger.label("alice", 0))
    );
    verified(&ledger, &dossier);
    let mut elsewhere = dossier;
    elsewhere.absence.map.other.as_mut().unwrap().label = ledger.label("carol", 0);
    assert!(matches!(
        fault(&faults(&ledger, &elsewhere), "absence.map"),
        FaultKind::Map(MapError::Label { .. })
    ));
}

/// Caught: "we hold nothing about you", said to a customer of whom something is on record.
#[test]
fn of_a_customer_who_is_known_no_absence_can_be_shown() {
    let (ledger, _) = alice_and_bob();
    let found = faults(&ledger, &ledger.dossier("alice", 0));
    assert!(matches!(
        fault(&found, "absence.map"),
        FaultKind::NotAbsent(MapError::RootMismatch { .. })
    ));
}

#[test]
fn the_absence_is_that_of_the_next_generation_and_of_this_customer() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut later = good.clone();
    later.absence = ledger.dossier("alice", 2).absence;
    let expected = FaultKind::Number {
        expected: 1,
        found: 2,
    };
    assert_eq!(*fault(&faults(&ledger, &later), "absence.generation"), expected);
    let mut renumbered = later;
    renumbered.absence.generation = 1;
    assert_eq!(
        *fault(&faults(&ledger, &renumbered), "absence.proof"),
        FaultKind::Vrf(VrfError::Mismatch)
    );
    let mut anothers = good.clone();
    anothers.absence.label = ledger.label("carol", 1);
    let expected = FaultKind::Label {
        expected: ledger.label("alice", 1),
        found: ledger.label("carol", 1),
    };
    assert_eq!(*fault(&faults(&ledger, &anothers), "absence.label"), expected);
    let mut cut = good;
    cut.absence.proof.0.pop();
    let expected = FaultKind::Vrf(VrfError::ProofLength { found: 79 });
    assert_eq!(*fault(&faults(&ledger, &cut), "absence.proof"), expected);
}

/// Caught: a shard's evidence that no label needs, which could hold anything.
#[test]
fn a_shard_on_which_no_label_lives_does_not_belong() {
    let (ledger, _) = Ledger::with_till(2);
    let carol = ledger.customer_on(&[1]);
    let mut builder = ledger.collect(&carol, 0);
    ledger.tell_shard(&mut builder, 0, [name("till")].into());
    let found = faults(&ledger, &builder.finish());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "shards[0]"), FaultKind::Unneeded);
}

/// The shard of the next generation must be shown, though nothing is in it.
#[test]
fn an_absence_is_shown_on_its_own_shard() {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[0, 1]);
    ledger.record(&till, &customer, 0, 0..1);
    let mut dossier = ledger.dossier(&customer, 1);
    verified(&ledger, &dossier);
    dossier.shards.pop();
    let expected = FaultKind::Number {
        expected: 1,
        found: 0,
    };
    assert_eq!(*fault(&faults(&ledger, &dossier), "absence.label"), expected);
}
