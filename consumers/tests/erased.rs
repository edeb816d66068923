//! Customers who were erased: what trails, dossiers and certificates say of them, and of everybody else.
//!
//! In scope: a real ledger after an erasure, recording again, what a dossier says about recipients. Out of scope: the steps
//! of an erasure, and what is left on disk (the ledger's and the program's tests).

use crate::support::{TestLedger, consent, customers, map, name, story};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{
    ConsumerError, Disclosure, Projections, Reason, UnopenedState, certificate, customer_of, dossier,
    dossier_about, never_shared,
};
use sharetrail_ledger::keys;
use sharetrail_proof::dossier::{VerifiedContent, VerifiedDossier};
use sharetrail_proof::name::Name;

fn proven(
    place: &TestLedger,
    projections: &Projections,
    customer: &str,
    parties: &[Name],
) -> VerifiedDossier {
    let ledger = place.open();
    let vault = ledger.vault().unwrap();
    let made = dossier_about(&ledger, projections, &vault, customer, parties).unwrap();
    let verified = made.verify(&ledger.policy().unwrap());
    verified.unwrap_or_else(|error| panic!("{customer}: {error}"))
}

/// The fault: what was erased is gone from trail and dossier as if it had never been; or can be read.
#[test]
fn an_erased_generation_is_shown_and_cannot_be_read() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        place.record(customers(4).iter().flat_map(|customer| story(customer)));
        let before: Vec<_> = {
            let projections = place.project(StoreKind::Sled);
            let trail = |customer: &String| place.trail(&projections, customer).events;
            customers(4).iter().map(trail).collect()
        };
        let index = place.erase("customer-1", 0);
        let projections = place.project(StoreKind::Sled);
        let trail = place.trail(&projections, "customer-1");
        let generation = &trail.generations[0];
        assert!(trail.events.is_empty());
        assert_eq!((generation.events, generation.erased_at), (5, Some(index)));
        assert!(generation.erased_by.is_some());
        let is_erased = |state: UnopenedState| state == UnopenedState::Erased;
        assert!(trail.unopened.iter().all(|one| is_erased(one.state)));
        assert_eq!((trail.unopened.len(), trail.totals().erased), (5, 5));

        let verified = proven(&place, &projections, "customer-1", &[]);
        assert_eq!((verified.events.len(), verified.absence.generation), (5, 1));
        let erased = |content: &VerifiedContent| *content == VerifiedContent::Erased;
        assert!(verified.events.iter().all(|event| erased(&event.content)));
        assert_eq!(verified.generations[0].erased_at, Some(index));
        assert!(verified.generations[0].erasure_covered);

        for (customer, events) in customers(4).iter().zip(before) {
            if customer != "customer-1" {
                assert_eq!(place.trail(&projections, customer).events, events);
                let verified = proven(&place, &projections, customer, &[]);
                assert_eq!((verified.events.len(), verified.generations.len()), (5, 1));
            }
        }
    }
}

/// The fault: a certificate that the customer cannot verify, or one of an erasure that never was.
#[test]
fn a_certificate_proves_an_erasure_that_is_on_record() {
    let place = TestLedger::new(2);
    place.record(customers(3).iter().flat_map(|customer| story(customer)));
    let index = place.erase("customer-1", 0);
    let (ledger, projections) = (place.open(), place.project(StoreKind::Fjall));
    let (policy, vault) = (ledger.policy().unwrap(), ledger.vault().unwrap());
    let made = certificate(&ledger, &projections, &vault, "customer-1", 0).unwrap();
    let verified = made.verify(&policy).unwrap();
    assert_eq!((verified.index, verified.generation), (index, 0));
    assert_eq!(verified.label, vault.label("customer-1", 0));
    assert!(verified.map.leaf.time > 0);
    let mut other = made.clone();
    other.customer = "customer-2".to_owned();
    assert!(other.verify(&policy).unwrap_err().is_disproof());
    for (customer, generation) in [("customer-1", 1), ("customer-2", 0), ("nobody", 0)] {
        let refused = certificate(&ledger, &projections, &vault, customer, generation);
        assert!(
            matches!(refused, Err(ConsumerError::NotErased { .. })),
            "{customer}"
        );
    }
}

/// The fault: events of a customer who comes back stand under the old label, or hide what was erased.
#[test]
fn who_comes_back_has_another_label() {
    let place = TestLedger::new(2);
    place.record(story("customer-1"));
    for generation in 0..2 {
        place.erase("customer-1", generation);
        // Its ids differ from those of before: what was recorded once is known by source and id.
        place.record([consent("customer-1", &format!("again-{generation}"))]);
    }
    let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
    let trail = place.trail(&projections, "customer-1");
    assert_eq!((trail.events.len(), trail.unopened.len()), (1, 6));
    let vault = ledger.vault().unwrap();
    for (generation, told) in (0_u32..).zip(&trail.generations) {
        assert_eq!(told.label, vault.label("customer-1", generation));
        assert_eq!(told.erased_at.is_some(), generation < 2);
        assert_eq!(told.events, if generation == 0 { 5 } else { 1 });
    }
    let verified = proven(&place, &projections, "customer-1", &[]);
    assert_eq!(verified.generations.len(), 3);
    assert_eq!((verified.events.len(), verified.absence.generation), (7, 3));
    let label = vault.label("customer-1", 0);
    let nameless = customer_of(&ledger, &projections, &vault, &label);
    assert!(matches!(nameless, Err(ConsumerError::Label { .. })));
}

/// The fault: an erasure that the customer map does not cover passes for one that is proven to be.
#[test]
fn an_erasure_after_the_map_has_no_certificate_yet() {
    let place = TestLedger::new(1);
    place.record(story("customer-1"));
    place.at_work(|engine| {
        let label = engine.vault().label("customer-1", 0);
        engine.erase(&label, 0).unwrap();
    });
    let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
    let vault = ledger.vault().unwrap();
    let refused = certificate(&ledger, &projections, &vault, "customer-1", 0).unwrap_err();
    assert!(refused.is_not_covered(), "{refused}");
    let verified = proven(&place, &projections, "customer-1", &[]);
    let generation = &verified.generations[0];
    assert_eq!(
        (generation.erased_at.is_some(), generation.erasure_covered),
        (true, false)
    );
    assert_eq!(
        place.trail(&projections, "customer-1").generations[0].erased_by,
        None
    );
    place.at_work(map);
    certificate(&ledger, &projections, &vault, "customer-1", 0).unwrap();
    assert!(
        place.trail(&projections, "customer-1").generations[0]
            .erased_by
            .is_some()
    );
}

/// The fault: "never" is said of a party that may stand in an event by another name; or is not said where it could be.
#[test]
fn never_is_said_once_everybody_is_registered() {
    let place = TestLedger::new(2);
    let (broker, house) = (name("broker.example"), name("mailhouse.example"));
    place.record(
        story("customer-1")
            .into_iter()
            .chain([consent("customer-2", "only")]),
    );
    let said = |customer: &str, party: &Name| {
        let projections = place.project(StoreKind::Fjall);
        let verified = proven(&place, &projections, customer, &[broker.clone(), house.clone()]);
        never_shared(&verified, party)
    };
    // Whoever has nothing on record in the registry is not in the dossier, though it was asked for, or named by an event.
    for customer in ["customer-1", "nobody"] {
        let verified = proven(
            &place,
            &place.project(StoreKind::Fjall),
            customer,
            &[broker.clone(), house.clone()],
        );
        let mut parties = verified.parties.iter().map(|one| &one.party);
        assert!(
            parties.all(|party| ![&broker, &house].contains(&party)),
            "{customer}"
        );
    }
    let Disclosure::CannotSay { reasons } = said("customer-1", &broker) else {
        panic!("nobody is registered")
    };
    assert_eq!(reasons[0], Reason::PartyNotRegistered);
    assert_eq!(reasons.len(), 4);
    for party in [&broker, &house] {
        place.at_work(|engine| {
            keys::register_party(engine, party, "A party", Some("IE"), None).unwrap();
            map(engine);
        });
    }
    for customer in ["customer-1", "customer-2", "nobody"] {
        assert!(
            matches!(said(customer, &broker), Disclosure::Never { .. }),
            "{customer}"
        );
    }
    let Disclosure::Shared { events } = said("customer-1", &house) else {
        panic!("three events say so")
    };
    assert_eq!(events.len(), 3);
    assert!(matches!(said("customer-2", &house), Disclosure::Never { .. }));
    place.erase("customer-1", 0);
    let expected = Disclosure::CannotSay {
        reasons: vec![Reason::Erased { generation: 0 }],
    };
    assert_eq!(said("customer-1", &house), expected);
}

/// A dossier that was handed out before the erasure is out in the world, and stays true.
#[test]
fn an_old_dossier_still_verifies() {
    let place = TestLedger::new(1);
    place.record(story("customer-1"));
    let ledger = place.open();
    let old = {
        let projections = place.project(StoreKind::Sled);
        dossier(&ledger, &projections, &ledger.vault().unwrap(), "customer-1").unwrap()
    };
    place.erase("customer-1", 0);
    let verified = old.verify(&ledger.policy().unwrap()).unwrap();
    assert_eq!((verified.events.len(), verified.generations.len()), (5, 1));
}
