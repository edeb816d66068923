//! Dossiers: what a good one says. What is changed in the file, in its bytes or in the log is in the modules.

#[path = "../support/mod.rs"]
mod support;

mod bytes;
mod forged;
mod shards;
mod tampered;

use sharetrail_proof::dossier::{
    ContentEvidence, Dossier, DossierError, Fault, FaultKind, VerifiedContent, VerifiedDossier,
    VerifiedEvent, VerifiedGeneration,
};
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::name::Shard;
use sharetrail_proof::note::NoteSigner;

use support::{LEDGER, Ledger, key_registered, key_rotated, name, party, root, signer};

/// Three events of alice in two batches, at 5, 6 and 12, and three of bob between them.
fn alice_and_bob() -> (Ledger, NoteSigner) {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.record(&till, "bob", 0, 0..3);
    ledger.record(&till, "alice", 0, 2..3);
    (ledger, till)
}

/// A customer who was erased twice, with generations on shards 0, 1 and 0 again.
fn three_generations() -> (Ledger, String) {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[0, 1, 0]);
    for generation in 0..3 {
        ledger.record(&till, &customer, generation, 0..2);
        if generation < 2 {
            ledger.erase(&customer, generation);
        }
    }
    (ledger, customer)
}

fn verified(ledger: &Ledger, dossier: &Dossier) -> VerifiedDossier {
    dossier.verify(&ledger.policy()).unwrap()
}

/// What is wrong with a dossier that must not hold.
fn faults(ledger: &Ledger, dossier: &Dossier) -> Vec<Fault> {
    match dossier.verify(&ledger.policy()) {
        Err(DossierError::Disproved(faults)) => faults,
        other => panic!("expected faults, found {other:?}"),
    }
}

/// What is wrong at a place.
fn fault<'a>(faults: &'a [Fault], at: &str) -> &'a FaultKind {
    let found = faults.iter().find(|fault| fault.at == at);
    &found
        .unwrap_or_else(|| panic!("nothing at {at}: {faults:?}"))
        .kind
}

fn opened(ledger: &Ledger, customer: &str, generation: u32, number: u32) -> VerifiedContent {
    VerifiedContent::Opened(ledger.event(customer, generation, number).content)
}

#[test]
fn a_good_dossier_says_who_signed_what_where_and_with_which_key() {
    let (ledger, till) = alice_and_bob();
    let verified = verified(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(
        (verified.ledger, verified.customer.as_str()),
        (name(LEDGER), "alice")
    );
    let [(shard, checkpoint)] = verified.checkpoints.as_slice() else {
        panic!("one shard")
    };
    assert_eq!(
        (*shard, checkpoint.size()),
        (Shard::new(0, 1).unwrap(), TreeSize(13))
    );
    assert_eq!(*checkpoint.root(), root(&ledger.log(0).entries));
    let generation = VerifiedGeneration {
        generation: 0,
        label: ledger.label("alice", 0),
        erased_at: None,
    };
    assert_eq!(verified.generations, [generation]);
    let expected = [(5, 0), (6, 1), (12, 2)].map(|(index, number)| VerifiedEvent {
        generation: 0,
        index: LeafIndex(index),
        shard: 0,
        producer: name("till"),
        key: till.verifier().id(),
        key_since: LeafIndex(3),
        content: opened(&ledger, "alice", 0, number),
    });
    assert_eq!(verified.events, expected);
}

#[test]
fn a_customer_of_whom_nothing_is_known_has_an_empty_dossier() {
    let (ledger, _) = alice_and_bob();
    let verified = verified(&ledger, &ledger.dossier("carol", 1));
    assert_eq!((verified.events.len(), verified.generations.len()), (0, 1));
}

#[test]
fn generations_live_on_their_shards_and_end_with_their_erasure() {
    let (ledger, customer) = three_generations();
    let dossier = ledger.dossier(&customer, 3);
    let verified = verified(&ledger, &dossier);
    let shards: Vec<Shard> = verified.checkpoints.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards, Shard::all(2).collect::<Vec<_>>());
    let generations: Vec<_> = verified
        .generations
        .iter()
        .map(|one| (one.generation, one.erased_at))
        .collect();
    assert_eq!(
        generations,
        [(0, Some(LeafIndex(8))), (1, Some(LeafIndex(8))), (2, None)]
    );
    let events: Vec<_> = verified
        .events
        .iter()
        .map(|one| (one.generation, one.shard, one.index.0))
        .collect();
    assert_eq!(
        events,
        [(0, 0, 5), (0, 0, 6), (1, 1, 5), (1, 1, 6), (2, 0, 10), (2, 0, 11)]
    );
    for (event, number) in verified.events.iter().zip([0, 1, 0, 1, 0, 1]) {
        let expected = match event.generation {
            2 => opened(&ledger, &customer, 2, number),
            _ => VerifiedContent::Erased,
        };
        assert_eq!(event.content, expected);
    }
}

#[test]
fn a_content_shown_under_a_label_that_was_erased_is_a_fault() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let event = ledger.event("alice", 0, 0);
    ledger.erase("alice", 0);
    ledger.keep(&[event]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(
        *fault(&found, "generations[0].events[0].content"),
        FaultKind::Erasure
    );
}

#[test]
fn a_content_that_is_lost_without_an_erasure_is_unreadable_and_its_signer_is_named() {
    let (mut ledger, _) = alice_and_bob();
    ledger.lose("alice", 0);
    let dossier = ledger.dossier("alice", 1);
    assert_eq!(
        dossier.generations[0].events[0].content,
        ContentEvidence::Unreadable {}
    );
    for event in verified(&ledger, &dossier).events {
        assert_eq!(
            (event.content, event.producer),
            (VerifiedContent::Unreadable, name("till"))
        );
    }
}

#[test]
fn each_event_is_checked_with_the_key_of_its_time_and_of_its_producer() {
    let (mut ledger, till) = Ledger::with_till(1);
    let (second, crm) = (signer("till", "second"), signer("crm", "crm"));
    ledger.record(&till, "alice", 0, 0..1);
    ledger.register(&[
        ("till", key_rotated(&second)),
        ("crm", party()),
        ("crm", key_registered(&crm)),
    ]);
    ledger.record(&second, "alice", 0, 1..2);
    ledger.record(&crm, "alice", 0, 2..3);
    let verified = verified(&ledger, &ledger.dossier("alice", 1));
    let found: Vec<_> = verified
        .events
        .iter()
        .map(|one| (one.producer.as_str(), one.key, one.key_since.0, one.index.0))
        .collect();
    let [first, second, crm] = [&till, &second, &crm].map(|key| key.verifier().id());
    assert_eq!(
        found,
        [
            ("till", first, 3, 5),
            ("till", second, 7, 11),
            ("crm", crm, 9, 13)
        ]
    );
}
