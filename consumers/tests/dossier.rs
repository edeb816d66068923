//! Dossiers and projections of a real ledger: what is handed out is proven, and the same however it was folded.
//!
//! In scope: verification against the policy, what customer maps cover, both stores, rebuilding, damaged and foreign
//! projections, stale cursors. Out of scope: forged dossiers (the proof crate's tests), erasures (`erased`).

use std::fs;

use crate::support::{TestLedger, consent, copy_tree, customers, files_below, name, story};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Projections, customer_of, dossier, rebuild};
use sharetrail_proof::dossier::{VerifiedContent, VerifiedDossier};
use sharetrail_proof::entry::party_label;
use sharetrail_proof::name::Label;

/// What the dossier of a customer proves.
fn proven(place: &TestLedger, projections: &Projections, customer: &str) -> VerifiedDossier {
    let ledger = place.open();
    let made = dossier(&ledger, projections, &ledger.vault().unwrap(), customer).unwrap();
    let verified = made.verify(&ledger.policy().unwrap());
    verified.unwrap_or_else(|error| panic!("{customer}: {error}"))
}

/// The fault: a dossier that the customer cannot verify, or that proves less than the trail shows.
#[test]
fn every_dossier_verifies_against_the_policy() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        place.record(customers(8).iter().flat_map(|customer| story(customer)));
        place.record(customers(8).iter().map(|customer| consent(customer, "again")));
        let projections = place.project(StoreKind::Sled);
        for customer in customers(8) {
            let verified = proven(&place, &projections, &customer);
            assert_eq!(
                (verified.customer.as_str(), verified.generations.len()),
                (customer.as_str(), 1)
            );
            assert_eq!(verified.events.len(), 6, "{customer} on {shards} shards");
            assert!(
                verified
                    .events
                    .iter()
                    .all(|event| event.producer.as_str() == "shop.example")
            );
            let trail = place.trail(&projections, &customer);
            let mut shown: Vec<_> = trail.events.iter().map(|event| event.index).collect();
            shown.sort_unstable();
            assert!(verified.events.iter().map(|event| event.index).eq(shown));
            let opened = |content: &VerifiedContent| matches!(content, VerifiedContent::Opened { .. });
            assert!(verified.events.iter().all(|event| opened(&event.content)));
            assert!(verified.events.iter().all(|event| event.covered));
            assert_eq!(verified.absence.generation, 1);
            assert!(verified.is_registered(&name("shop.example")));
            assert!(!verified.is_registered(&name("mailhouse.example")));
        }
    }
}

/// The fault: whoever asks for somebody unknown gets an error instead of a proof; or a proof that holds for others too.
#[test]
fn that_there_is_nothing_is_proven() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        place.record(customers(8).iter().flat_map(|customer| story(customer)));
        let projections = place.project(StoreKind::Sled);
        for nobody in ["nobody", "customer-", "Customer-1", "customer-8"] {
            let verified = proven(&place, &projections, nobody);
            assert!(verified.generations.is_empty() && verified.events.is_empty());
            assert_eq!((verified.absence.generation, verified.maps.len()), (0, 1));
            assert!(verified.as_of() > 0);
            // Nobody signed anything here.
            assert_eq!(verified.parties, []);
        }
        let ledger = place.open();
        let mut other = dossier(&ledger, &projections, &ledger.vault().unwrap(), "nobody").unwrap();
        other.customer = "customer-1".to_owned();
        let refused = other.verify(&ledger.policy().unwrap()).unwrap_err();
        assert!(refused.is_disproof());
    }
}

/// The fault: an event that came after the customer map is left out of the dossier, or passes for one that is complete.
#[test]
fn what_came_after_the_map_is_shown_and_told_apart() {
    let place = TestLedger::new(2);
    place.record(customers(4).iter().flat_map(|customer| story(customer)));
    place.record_only(customers(5).iter().map(|customer| consent(customer, "later")));
    let projections = place.project(StoreKind::Fjall);
    for customer in customers(4) {
        let verified = proven(&place, &projections, &customer);
        let covered: Vec<bool> = verified.events.iter().map(|event| event.covered).collect();
        assert_eq!(covered, [true, true, true, true, true, false], "{customer}");
    }
    // Somebody of whom the map knows nothing yet.
    let verified = proven(&place, &projections, "customer-4");
    let covered: Vec<bool> = verified.events.iter().map(|event| event.covered).collect();
    assert_eq!(
        (verified.generations.len(), covered.as_slice()),
        (1, &[false][..])
    );
    place.at_work(crate::support::map);
    let verified = proven(&place, &projections, "customer-4");
    assert!(verified.events.iter().all(|event| event.covered));
}

/// The fault: before anything can be shown to be complete, a dossier is made that says it is.
#[test]
fn without_a_map_there_is_no_dossier() {
    let place = TestLedger::new(1);
    place.record_only(story("customer-1"));
    let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
    for customer in ["customer-1", "nobody"] {
        let refused = dossier(&ledger, &projections, &ledger.vault().unwrap(), customer).unwrap_err();
        assert!(matches!(refused, ConsumerError::NoMap { shard: 0 }), "{refused}");
        assert!(refused.is_not_covered());
    }
}

/// The fault: a projection that is not folded as far as the map makes a dossier that lacks events.
#[test]
fn a_projection_behind_the_map_is_folded_further() {
    let place = TestLedger::new(1);
    place.record(story("customer-1"));
    let projections = place.project(StoreKind::Fjall);
    place.record([consent("customer-1", "later")]);
    let verified = proven(&place, &projections, "customer-1");
    assert_eq!(verified.events.len(), 6);
    assert!(verified.events.iter().all(|event| event.covered));
}

/// The fault: the label that an auditor drew is taken for another customer's, or for nobody's.
#[test]
fn a_label_leads_to_its_customer() {
    let place = TestLedger::new(2);
    place.record(customers(3).iter().flat_map(|customer| story(customer)));
    let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
    let vault = ledger.vault().unwrap();
    for customer in customers(3) {
        let label = vault.label(&customer, 0);
        let found = customer_of(&ledger, &projections, &vault, &label).unwrap();
        assert_eq!(found, customer);
    }
    for label in [
        Label([7; 32]),
        vault.label("customer-1", 1),
        party_label(&name("shop.example")),
    ] {
        let refused = customer_of(&ledger, &projections, &vault, &label).unwrap_err();
        assert!(matches!(refused, ConsumerError::Label { label: told, .. } if told == label));
    }
}

/// The fault: what is answered depends on the engine, or on when and in how many steps it was folded.
#[test]
fn every_way_of_folding_answers_the_same() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        let everybody = customers(12);
        let stepwise = Projections::open(&place.open(), StoreKind::Fjall).unwrap();
        for part in everybody.chunks(2) {
            place.record(part.iter().flat_map(|customer| story(customer)));
            stepwise.catch_up(&|_, _| ()).unwrap();
        }
        let expected = place.answers(&stepwise, &everybody);
        drop(stepwise);
        for kind in StoreKind::ALL {
            let at_once = place.project(kind);
            assert_eq!(place.answers(&at_once, &everybody), expected, "{kind}");
            drop(at_once);
            let anew = rebuild(&place.open(), kind, &|_, _| ()).unwrap();
            assert_eq!(place.answers(&anew, &everybody), expected, "{kind}, rebuilt");
            let done = anew.catch_up(&|_, _| ()).unwrap();
            assert_eq!(done.folded, 0, "{kind}: nothing is left to fold");
        }
        fs::remove_dir_all(place.open().projections()).unwrap();
        assert_eq!(
            place.answers(&place.project(StoreKind::Sled), &everybody),
            expected,
            "deleted"
        );
    }
}

/// The fault: a projection of another ledger, or of a newer state of this one, is believed.
#[test]
fn a_projection_that_does_not_fit_is_dropped_and_told() {
    for kind in StoreKind::ALL {
        let (place, stranger) = (TestLedger::new(1), TestLedger::new(1));
        place.record(story("customer-1"));
        stranger.record(story("customer-1").into_iter().chain(story("customer-2")));
        drop(stranger.project(kind));
        let expected = {
            let projections = place.project(kind);
            assert!(projections.notices().is_empty(), "{kind}");
            place.answers(&projections, &["customer-1".into()])
        };
        fs::remove_dir_all(place.open().projections()).unwrap();
        copy_tree(&stranger.open().projections(), &place.open().projections());
        let projections = place.project(kind);
        assert!(!projections.notices().is_empty(), "{kind}");
        assert_eq!(
            place.answers(&projections, &["customer-1".into()]),
            expected,
            "{kind}"
        );
    }
}

/// The fault: an old copy of a projection put back answers as of then, for ever, or counts events twice.
#[test]
fn a_stale_projection_catches_up() {
    for kind in StoreKind::ALL {
        let place = TestLedger::new(2);
        let everybody = customers(6);
        place.record(everybody[..3].iter().flat_map(|customer| story(customer)));
        drop(place.project(kind));
        let old = place.root.with_extension("old");
        copy_tree(&place.open().projections(), &old);
        place.record(everybody[3..].iter().flat_map(|customer| story(customer)));
        let expected = place.answers(&place.project(kind), &everybody);
        fs::remove_dir_all(place.open().projections()).unwrap();
        copy_tree(&old, &place.open().projections());
        let projections = Projections::open(&place.open(), kind).unwrap();
        let done = projections.catch_up(&|_, _| ()).unwrap();
        assert!(0 < done.folded && done.folded < done.total, "{kind}: {done:?}");
        assert_eq!(place.answers(&projections, &everybody), expected, "{kind}");
    }
}

/// The fault: damaged files of a store make an answer wrong. It is right, or an error that names the store.
#[test]
fn a_damaged_projection_never_lies() {
    for kind in StoreKind::ALL {
        let place = TestLedger::new(1);
        place.record(customers(3).iter().flat_map(|customer| story(customer)));
        let expected = place.answers(&place.project(kind), &customers(3));
        for path in files_below(&place.open().projections()) {
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
        let opened = Projections::open(&place.open(), kind).and_then(|projections| {
            projections.catch_up(&|_, _| ())?;
            Ok(projections)
        });
        match opened {
            Ok(projections) => assert_eq!(place.answers(&projections, &customers(3)), expected, "{kind}"),
            Err(error) => assert!(matches!(error, ConsumerError::Store(_)), "{kind}: {error}"),
        }
    }
}
