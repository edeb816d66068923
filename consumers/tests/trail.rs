//! Trails out of a real ledger: what they tell, what they find wrong, what they say where something does not open.
//!
//! In scope: a ledger with producers at work, both stores. Out of scope: dossiers and projections (`dossier`).

use std::fs;

use crate::support::{SECRET, TestLedger, at, customers, files_below, story};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Finding, UnopenedState};
use sharetrail_proof::hash::LeafIndex;

/// The fault: a disclosure that rested on no consent is shown like any other; or one that was fine is accused.
#[test]
fn disclosures_are_held_against_the_consent_of_their_time() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        place.record(customers(4).iter().flat_map(|customer| story(customer)));
        let projections = place.project(StoreKind::Sled);
        for customer in customers(4) {
            let trail = place.trail(&projections, &customer);
            let told: Vec<(&str, Vec<Finding>)> = trail
                .events
                .iter()
                .map(|event| {
                    let findings = event.findings.iter();
                    (event.id.as_str(), findings.map(|found| found.finding).collect())
                })
                .collect();
            let expected = [
                ("early", vec![Finding::BeforeConsent { given: at(100) }]),
                ("consent", Vec::new()),
                ("fine", Vec::new()),
                ("withdrawn", Vec::new()),
                ("late", vec![Finding::AfterWithdrawal { withdrawn: at(200) }]),
            ];
            assert_eq!(told, expected, "{customer} on {shards} shards");
            assert!(trail.unopened.is_empty());
            let totals = trail.totals();
            assert_eq!(
                (
                    totals.events,
                    totals.disclosures,
                    totals.recipients,
                    totals.findings
                ),
                (5, 3, 1, 2)
            );
            assert!(
                trail
                    .events
                    .iter()
                    .all(|event| event.producer.as_str() == "shop.example")
            );
        }
    }
}

/// The fault: a trail that mixes two customers up, or invents something about one whom nobody knows.
#[test]
fn a_trail_is_about_one_customer() {
    let place = TestLedger::new(1);
    place.record(story("customer-1").into_iter().chain(story("customer-11")));
    let projections = place.project(StoreKind::Fjall);
    let trail = place.trail(&projections, "customer-1");
    assert_eq!((trail.events.len(), trail.generations.len()), (5, 1));
    assert!(
        trail
            .events
            .iter()
            .all(|event| event.content.contains("\"customer-1\""))
    );
    for unknown in ["customer-2", "Customer-1", "customer-1 "] {
        let trail = place.trail(&projections, unknown);
        assert!(
            trail.events.is_empty() && trail.generations.is_empty(),
            "{unknown}"
        );
    }
}

/// The fault: a content that was damaged or deleted drops out of the trail as if it had never been; it must be named,
/// with who signed it, and nothing may be concluded from what is missing.
#[test]
fn a_damaged_content_is_shown_as_unreadable() {
    let place = TestLedger::new(1);
    place.record(story("customer-1"));
    let (trail, sealed) = {
        let trail = place.trail(&place.project(StoreKind::Sled), "customer-1");
        let reader = place.open().reader(0).unwrap();
        let index = trail
            .events
            .iter()
            .find(|event| event.id == "consent")
            .unwrap()
            .index;
        (trail, (index, reader.leaf(index).unwrap().sealed))
    };
    place.turn_over(&sealed.1);
    let after = place.trail(&place.project(StoreKind::Sled), "customer-1");
    assert_eq!(after.events.len(), trail.events.len() - 1);
    let unopened: Vec<(LeafIndex, UnopenedState, &str)> = after
        .unopened
        .iter()
        .map(|one| (one.index, one.state, one.producer.as_str()))
        .collect();
    assert_eq!(unopened, [(sealed.0, UnopenedState::Unreadable, "shop.example")]);
    assert_eq!(after.generations[0].events, 5);
}

/// The fault: a projection keeps in clear what only the vault and the sealed contents may hold.
#[test]
fn no_customer_and_no_word_stands_in_a_projection() {
    let place = TestLedger::new(2);
    place.record(customers(20).iter().flat_map(|customer| story(customer)));
    for kind in StoreKind::ALL {
        let projections = place.project(kind);
        assert_eq!(place.trail(&projections, "customer-7").events.len(), 5);
    }
    let files = files_below(&place.open().projections());
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path).unwrap();
        for word in ["customer-", SECRET, "mailhouse", "Marketing"] {
            assert!(
                !bytes.windows(word.len()).any(|window| window == word.as_bytes()),
                "{word} in {}",
                path.display()
            );
        }
    }
}
