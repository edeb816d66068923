//! Dossiers whose parts were changed, dropped, added or put elsewhere: each is found out, and at its place.

use sharetrail_proof::dossier::{ContentEvidence, FaultKind};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::tree::ProofError;
use sharetrail_proof::vrf::VrfError;

use crate::dossier::{alice_and_bob, fault, faults, three_generations};
use crate::support::Ledger;

#[test]
fn the_head_is_checked() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut dossier = good.clone();
    dossier.format = "sharetrail.org/dossier@v2".into();
    assert!(matches!(
        fault(&faults(&ledger, &dossier), "format"),
        FaultKind::Text { .. }
    ));
    let mut dossier = good.clone();
    dossier.ledger = crate::dossier::name("other.example");
    assert!(matches!(
        fault(&faults(&ledger, &dossier), "ledger"),
        FaultKind::Text { .. }
    ));
    let mut dossier = good.clone();
    dossier.generations.clear();
    let expected = FaultKind::Number {
        expected: 0,
        found: 1,
    };
    assert_eq!(*fault(&faults(&ledger, &dossier), "absence.generation"), expected);
    let mut dossier = good;
    dossier.shards.clear();
    let found = faults(&ledger, &dossier);
    let expected = FaultKind::Number {
        expected: 1,
        found: 0,
    };
    assert_eq!(*fault(&found, "shards"), expected);
    assert_eq!(*fault(&found, "generations[0].label"), FaultKind::Genesis);
}

#[test]
fn a_dossier_is_about_its_customer_alone() {
    let (ledger, _) = alice_and_bob();
    let mut dossier = ledger.dossier("alice", 1);
    dossier.customer = "bob".into();
    let found = faults(&ledger, &dossier);
    assert_eq!(
        *fault(&found, "generations[0].proof"),
        FaultKind::Vrf(VrfError::Mismatch)
    );
    let about_alice = FaultKind::Customer {
        found: Some("alice".into()),
    };
    assert_eq!(*fault(&found, "generations[0].events[0].content"), about_alice);
    for id in [String::new(), "x".repeat(257)] {
        dossier.customer = id;
        assert_eq!(
            *fault(&faults(&ledger, &dossier), "customer"),
            FaultKind::CustomerId
        );
    }
}

#[test]
fn events_stand_once_and_in_order() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut doubled = good.clone();
    doubled.generations[0]
        .events
        .push(good.generations[0].events[2].clone());
    assert_eq!(
        *fault(&faults(&ledger, &doubled), "generations[0].events[3]"),
        FaultKind::Order
    );
    let mut reordered = good.clone();
    reordered.generations[0].events.swap(0, 1);
    assert_eq!(
        *fault(&faults(&ledger, &reordered), "generations[0].events[1]"),
        FaultKind::Order
    );
    let mut dropped = good.clone();
    dropped.generations[0].events.remove(0);
    let found = faults(&ledger, &dropped);
    assert!(matches!(
        fault(&found, "generations[0].map"),
        FaultKind::Incomplete(_)
    ));
    assert_eq!(found.len(), 1, "and nothing else: {found:?}");
}

#[test]
fn an_event_of_somebody_else_does_not_belong() {
    let (ledger, _) = alice_and_bob();
    let mut builder = ledger.collect("alice", 1);
    ledger.tell(&mut builder, 0, LeafIndex(8));
    let found = faults(&ledger, &builder.finish());
    let (expected, bob) = (ledger.label("alice", 0), ledger.label("bob", 0));
    let at = "generations[0].events[2]";
    assert_eq!(
        *fault(&found, &format!("{at}.leaf.entry")),
        FaultKind::Label { expected, found: bob }
    );
    let about_bob = FaultKind::Customer {
        found: Some("bob".into()),
    };
    assert_eq!(*fault(&found, &format!("{at}.content")), about_bob);
}

#[test]
fn an_event_is_where_its_paths_say() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let at = "generations[0].events[0].leaf";
    let mut moved = good.clone();
    moved.generations[0].events[0].leaf.position = 1;
    let found = faults(&ledger, &moved);
    assert!(matches!(
        fault(&found, &format!("{at}.batch_path")),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
    let mut outside = good.clone();
    outside.generations[0].events[0].leaf.position = 2;
    let found = faults(&ledger, &outside);
    assert!(matches!(
        fault(&found, &format!("{at}.batch_path")),
        FaultKind::Proof(ProofError::IndexOutOfRange { .. })
    ));
    let mut no_batch = good.clone();
    no_batch.generations[0].events[0].leaf.batch = 9;
    let found = faults(&ledger, &no_batch);
    assert_eq!(
        *fault(&found, &format!("{at}.batch")),
        FaultKind::Number {
            expected: 3,
            found: 9
        }
    );
    let mut shorter = good.clone();
    shorter.generations[0].events[0].leaf.path.pop();
    let found = faults(&ledger, &shorter);
    assert!(matches!(
        fault(&found, &format!("{at}.path")),
        FaultKind::Proof(ProofError::WrongLength { .. })
    ));
    let mut nowhere = good.clone();
    nowhere.generations[0].events[0].leaf.path[0] = u32::MAX;
    let expected = FaultKind::Number {
        expected: u64::try_from(good.hashes.len()).unwrap(),
        found: u32::MAX.into(),
    };
    assert_eq!(
        *fault(&faults(&ledger, &nowhere), &format!("{at}.path")),
        expected
    );
}

#[test]
fn hashes_are_pooled_once_and_used() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let at = format!("hashes[{}]", good.hashes.len());
    for hash in [Hash([9; 32]), good.hashes[0]] {
        let mut dossier = good.clone();
        dossier.hashes.push(hash);
        assert_eq!(*fault(&faults(&ledger, &dossier), &at), FaultKind::Pool);
    }
    let mut builder = ledger.collect("alice", 1);
    let (log, index) = (ledger.log(0), LeafIndex(7));
    builder.batch(0, index, log.note_at(index), log.proof(index));
    let found = faults(&ledger, &builder.finish());
    assert_eq!(
        found.iter().map(|one| &one.kind).collect::<Vec<_>>(),
        [&FaultKind::Pool],
        "bob's batch"
    );
}

#[test]
fn contents_are_those_of_their_entries() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut swapped = good.clone();
    let [first, second, _] = swapped.generations[0].events.as_mut_slice() else {
        panic!("three events")
    };
    std::mem::swap(&mut first.content, &mut second.content);
    let found = faults(&ledger, &swapped);
    for at in [
        "generations[0].events[0].content",
        "generations[0].events[1].content",
    ] {
        assert!(matches!(fault(&found, at), FaultKind::Commitment { .. }));
    }
    let mut short = good.clone();
    let ContentEvidence::Opened { opening, .. } = &mut short.generations[0].events[0].content else {
        panic!("opened")
    };
    opening.0.pop();
    let expected = FaultKind::Number {
        expected: 32,
        found: 31,
    };
    assert_eq!(
        *fault(
            &faults(&ledger, &short),
            "generations[0].events[0].content.opening"
        ),
        expected
    );
    let mut erased = good;
    erased.generations[0].events[0].content = ContentEvidence::Erased {};
    assert_eq!(
        *fault(&faults(&ledger, &erased), "generations[0].events[0].content"),
        FaultKind::NotErased
    );
}

#[test]
fn labels_are_proven() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let (expected, bob) = (ledger.label("alice", 0), ledger.label("bob", 0));
    let mut dossier = good.clone();
    dossier.generations[0].label = bob;
    let found = faults(&ledger, &dossier);
    assert_eq!(
        *fault(&found, "generations[0].label"),
        FaultKind::Label { expected, found: bob }
    );
    let mut dossier = good;
    dossier.generations[0].proof.0.pop();
    let expected = FaultKind::Vrf(VrfError::ProofLength { found: 79 });
    assert_eq!(
        *fault(&faults(&ledger, &dossier), "generations[0].proof"),
        expected
    );
}

#[test]
fn generations_are_told_without_a_gap() {
    let (ledger, customer) = three_generations();
    let mut hidden = ledger.dossier(&customer, 3);
    hidden.generations.remove(1);
    let found = faults(&ledger, &hidden);
    assert_eq!(
        *fault(&found, "generations[1].generation"),
        FaultKind::Number {
            expected: 1,
            found: 2
        }
    );
    hidden.generations[1].generation = 1;
    let found = faults(&ledger, &hidden);
    assert_eq!(
        *fault(&found, "generations[1].proof"),
        FaultKind::Vrf(VrfError::Mismatch)
    );
    let mut first_hidden = ledger.dossier(&customer, 3);
    first_hidden.generations.remove(0);
    let found = faults(&ledger, &first_hidden);
    assert_eq!(
        *fault(&found, "generations[0].generation"),
        FaultKind::Number {
            expected: 0,
            found: 1
        }
    );
}

#[test]
fn a_generation_goes_on_after_an_erasure_alone() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.record(&till, "alice", 1, 0..1);
    let found = faults(&ledger, &ledger.dossier("alice", 2));
    assert_eq!(*fault(&found, "generations[0].erasure"), FaultKind::Erasure);
}

#[test]
fn an_erasure_is_of_its_label() {
    let (mut ledger, _) = alice_and_bob();
    let bob = ledger.erase("bob", 0).index;
    let mut builder = ledger.collect("alice", 1);
    ledger.tell(&mut builder, 0, LeafIndex(bob.0 + 1));
    let found = faults(&ledger, &builder.finish());
    assert_eq!(*fault(&found, "generations[0].erasure"), FaultKind::Erasure);
    ledger.erase("alice", 0);
    let mut no_erasure = ledger.dossier("alice", 1);
    no_erasure.generations[0].erasure = None;
    let found = faults(&ledger, &no_erasure);
    assert_eq!(
        *fault(&found, "generations[0].events[0].content"),
        FaultKind::NotErased
    );
    let mut as_event = ledger.dossier("alice", 1);
    let leaf = as_event.generations[0].erasure.take().unwrap();
    as_event.generations[0].events[2].leaf = leaf;
    let found = faults(&ledger, &as_event);
    assert_eq!(
        *fault(&found, "generations[0].events[2].leaf.entry"),
        FaultKind::Kind
    );
}

#[test]
fn a_customer_id_of_any_length_is_refused_without_a_panic() {
    let (ledger, _) = alice_and_bob();
    let mut dossier = ledger.dossier("alice", 1);
    for length in [65_535, 65_536, 1 << 20] {
        dossier.customer = "x".repeat(length);
        assert_eq!(
            *fault(&faults(&ledger, &dossier), "customer"),
            FaultKind::CustomerId
        );
    }
}
