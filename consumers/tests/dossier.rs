//! Dossiers and projections of a real ledger: what is handed out is proven, and the same however it was folded.
//!
//! In scope: verification against the policy, both stores, rebuilding, damaged and foreign projections, stale cursors.
//! Out of scope: forged dossiers (the proof crate's tests).

mod support;

use std::fs;

use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Projections, dossier, rebuild};
use sharetrail_proof::dossier::VerifiedContent;
use support::{TestLedger, consent, copy_tree, customers, files_below, story};

/// The fault: a dossier that the customer cannot verify, or that proves less than the trail shows.
#[test]
fn every_dossier_verifies_against_the_policy() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        place.record(customers(8).iter().flat_map(|customer| story(customer)));
        place.record(customers(8).iter().map(|customer| consent(customer, "again")));
        let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
        let (policy, vault) = (ledger.policy().unwrap(), ledger.vault().unwrap());
        for customer in customers(8) {
            let dossier = dossier(&ledger, &projections, &vault, &customer).unwrap();
            let verified = dossier
                .verify(&policy)
                .unwrap_or_else(|error| panic!("{customer}: {error}"));
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
        }
        let nothing = dossier(&ledger, &projections, &vault, "nobody");
        assert!(nothing.is_err_and(|error| error.is_nothing_on_record()));
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
