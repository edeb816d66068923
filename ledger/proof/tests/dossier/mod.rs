//! Dossiers: what a good one says. What is changed in the file, in its bytes, in the log or in the map is in the
//! modules.

mod absence;
mod bytes;
mod certificate;
mod coverage;
mod forged;
mod golden;
mod operator;
mod properties;
mod shards;
mod tampered;

use sharetrail_proof::dossier::{
    ContentEvidence, Dossier, DossierError, Fault, FaultKind, LabelPath, PartyEvidence, ShardEvidence,
    VerifiedAbsence, VerifiedContent, VerifiedDossier, VerifiedEvent, VerifiedGeneration, VerifiedParty,
};
use sharetrail_proof::entry::party_label;
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::Shard;
use sharetrail_proof::note::NoteSigner;

use crate::support::{LEDGER, Ledger, Map, key_registered, key_rotated, name, party, root, signer};

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

/// Lists a party with a good path, whether or not the shard needs it. Gives its position.
fn list_party(hashes: &mut Vec<Hash>, shard: &mut ShardEvidence, map: &Map, who: &str) -> usize {
    let found = map.path(&party_label(&name(who)));
    let mut path = Vec::new();
    for hash in found.siblings {
        let known = hashes.iter().position(|one| *one == hash);
        let position = known.unwrap_or_else(|| {
            hashes.push(hash);
            hashes.len() - 1
        });
        path.push(u32::try_from(position).unwrap());
    }
    let (party, other) = (name(who), found.other);
    let place = shard.parties.partition_point(|one| one.party < party);
    let map = LabelPath { path, other };
    shard.parties.insert(place, PartyEvidence { party, map });
    place
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
        shard: 0,
        erased_at: None,
        erasure_covered: false,
    };
    assert_eq!(verified.generations, [generation]);
    let expected = [(5, 0), (6, 1), (12, 2)].map(|(index, number)| VerifiedEvent {
        generation: 0,
        index: LeafIndex(index),
        shard: 0,
        producer: name("till"),
        key: till.verifier().id(),
        key_since: LeafIndex(3),
        covered: true,
        content: opened(&ledger, "alice", 0, number),
    });
    assert_eq!(verified.events, expected);
}

#[test]
fn a_good_dossier_says_that_this_is_all_and_up_to_when() {
    let (ledger, _) = alice_and_bob();
    let verified = verified(&ledger, &ledger.dossier("alice", 1));
    let [map] = verified.maps.as_slice() else {
        panic!("one shard")
    };
    assert_eq!(map.shard, Shard::new(0, 1).unwrap());
    assert_eq!(
        map.checkpoint.size(),
        TreeSize(2),
        "one root of the genesis, one of all"
    );
    assert_eq!((map.leaf.root, map.leaf.labels), (ledger.map(0).root(), 3));
    assert_eq!(map.leaf.checkpoint, *verified.checkpoints[0].1.checkpoint());
    assert!(map.covers(LeafIndex(12)) && !map.covers(LeafIndex(13)));
    assert_eq!(verified.as_of(), Ledger::sealed_at(13));
    let absence = VerifiedAbsence {
        generation: 1,
        label: ledger.label("alice", 1),
        shard: 0,
    };
    assert_eq!(verified.absence, absence);
    let parties = [("operator", false), ("till", true)].map(|(party, registered)| VerifiedParty {
        shard: 0,
        party: name(party),
        registered,
    });
    assert_eq!(verified.parties, parties);
    assert!(verified.is_registered(&name("till")) && !verified.is_registered(&name("operator")));
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
        .map(|one| {
            (
                one.generation,
                one.shard,
                one.erased_at.map(|at| at.0),
                one.erasure_covered,
            )
        })
        .collect();
    assert_eq!(
        generations,
        [(0, 0, Some(8), true), (1, 1, Some(8), true), (2, 0, None, false)]
    );
    assert_eq!(
        (verified.absence.generation, verified.absence.label),
        (3, ledger.label(&customer, 3))
    );
    assert!(verified.events.iter().all(|event| event.covered));
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
