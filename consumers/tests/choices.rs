//! Choices out of a real ledger: what a service is answered before it shares, and how soon a choice binds.
//!
//! In scope: the cache of answers beside events that come to be on record, erasure, what a change records. Out of scope:
//! what words mean (the library's own tests), asking over HTTP.

use std::fs;
use std::sync::Arc;
use std::thread;

use sharetrail_consumers::choices::{
    Authorizer, ChoiceChange, ChoiceOf, Choices, Decision, DecisionReason, Origin, Question,
};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Finding, Shelf, trail};
use sharetrail_ledger::Engine;
use sharetrail_schemas::Timestamp;

use crate::support::{
    HOUSE, SHOP, TestLedger, at, consent, customers, name, record, record_contents, shared, story,
};

const CUSTOMER: &str = "customer-1";
const MARKETING: &str = "dpv:Marketing";

fn ask_about(authorizer: &Authorizer, customer: &str) -> Decision {
    let question = Question {
        customer,
        recipient: HOUSE,
        purpose: MARKETING,
        categories: &[],
    };
    authorizer.authorize(&question).unwrap()
}

/// What `change` records, by the choices as they are on record.
fn contents(engine: &Engine, shelf: &Shelf, change: &ChoiceChange) -> Vec<Vec<u8>> {
    let projections = shelf.projections().unwrap();
    let told = trail(engine.ledger(), &projections, engine.vault(), CUSTOMER).unwrap();
    let producer = name(SHOP);
    let mut count = told.events.len();
    let mut ids = || {
        count += 1;
        format!("choice-{count}")
    };
    let mut origin = Origin {
        producer: &producer,
        time: at(10_000),
        id: &mut ids,
    };
    Choices::of(&told)
        .contents(CUSTOMER, change, &mut origin)
        .unwrap()
}

/// The fault: a service is answered out of a memory that no longer holds; or an answer claims to know more than it does.
#[test]
fn a_choice_binds_as_soon_as_it_is_folded() {
    for kind in StoreKind::ALL {
        let place = TestLedger::new(3);
        place.at_work(|engine| {
            let ledger = place.open();
            let shelf = Arc::new(Shelf::new(&ledger, kind));
            let authorizer = Authorizer::new(&ledger, engine.vault(), &shelf);
            let ask = || ask_about(&authorizer, CUSTOMER);
            let unknown = ask();
            assert_eq!((unknown.reason, unknown.last), (DecisionReason::NoConsent, None));

            record(engine, [consent(CUSTOMER, "consent").time(at(1))]);
            // What is not folded yet is not in the answer, which says so.
            assert_eq!(ask(), unknown);
            shelf.catch_up().unwrap();
            let allowed = ask();
            assert!(allowed.allowed);
            assert_eq!(allowed.by.as_ref().map(|by| by.id.as_str()), Some("consent"));
            assert_eq!(allowed.since, Some(at(1)));
            assert_eq!(allowed.shard, unknown.shard);
            let last = allowed.last.unwrap();
            assert!(unknown.current_to <= last.0 && last.0 < allowed.current_to);

            // Other customers' events make it newer, and change nothing else.
            record(
                engine,
                customers(40).iter().skip(2).flat_map(|other| story(other)),
            );
            shelf.catch_up().unwrap();
            let newer = ask();
            assert!(newer.current_to > allowed.current_to);
            assert_eq!((newer.allowed, newer.last), (allowed.allowed, allowed.last));

            let off = ChoiceChange {
                of: ChoiceOf::Purpose(MARKETING.to_owned()),
                allowed: false,
            };
            record_contents(engine, contents(engine, &shelf, &off));
            shelf.catch_up().unwrap();
            let withdrawn = ask();
            assert_eq!(withdrawn.reason, DecisionReason::Withdrawn);
            assert!(withdrawn.last > newer.last);

            let label = engine.vault().label(CUSTOMER, 0);
            engine.erase(&label, 0).unwrap();
            shelf.catch_up().unwrap();
            let erased = ask();
            assert_eq!((erased.reason, erased.last), (DecisionReason::Erased, None));
            let next = engine.vault().label(CUSTOMER, 1);
            assert_eq!(erased.shard, next.shard(3));
            record(engine, [consent(CUSTOMER, "again").time(at(20))]);
            shelf.catch_up().unwrap();
            assert!(ask().allowed);
        });
    }
}

/// The fault: every question costs the reading of a trail.
#[test]
fn a_second_question_reads_no_archive() {
    let place = TestLedger::new(1);
    place.record([consent(CUSTOMER, "consent"), consent("customer-2", "consent")]);
    let ledger = place.open();
    let vault = Arc::new(ledger.vault().unwrap());
    let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
    let authorizer = Authorizer::new(&ledger, &vault, &shelf);
    let first = ask_about(&authorizer, CUSTOMER);
    assert!(first.allowed);
    let (sealed, aside) = (place.root.join("sealed"), place.root.join("aside"));
    fs::rename(&sealed, &aside).unwrap();
    let again = thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ask_about(&authorizer, CUSTOMER)))
            .collect();
        let answers = threads.into_iter().map(|thread| thread.join().unwrap());
        answers.collect::<Vec<_>>()
    });
    assert!(again.iter().all(|answer| *answer == first));
    // Of whom nothing is known yet, the archive is needed.
    let question = Question {
        customer: "customer-2",
        recipient: HOUSE,
        purpose: MARKETING,
        categories: &[],
    };
    assert!(authorizer.authorize(&question).is_err());
    // What was let go of is read again.
    authorizer.forget(CUSTOMER);
    let own = Question {
        customer: CUSTOMER,
        ..question
    };
    assert!(authorizer.authorize(&own).is_err());
    fs::rename(&aside, &sealed).unwrap();
    assert!(ask_about(&authorizer, "customer-2").allowed);
}

/// The fault: a choice for one recipient does not come to be on record as such; or a share against it is hidden.
#[test]
fn a_share_against_a_choice_is_recorded_and_found() {
    let place = TestLedger::new(1);
    place.at_work(|engine| {
        let ledger = place.open();
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let authorizer = Authorizer::new(&ledger, engine.vault(), &shelf);
        let before = [
            consent(CUSTOMER, "consent").time(at(1)),
            shared(CUSTOMER, "early").time(at(2)),
        ];
        record(engine, before);
        shelf.catch_up().unwrap();
        assert!(ask_about(&authorizer, CUSTOMER).allowed);
        let off = ChoiceChange {
            of: ChoiceOf::Recipient(HOUSE.to_owned()),
            allowed: false,
        };
        let made = contents(engine, &shelf, &off);
        assert_eq!(made.len(), 1);
        record_contents(engine, made);
        record(engine, [shared(CUSTOMER, "late").time(at(20_000))]);
        shelf.catch_up().unwrap();
        assert_eq!(ask_about(&authorizer, CUSTOMER).reason, DecisionReason::Withdrawn);
        let other = Question {
            customer: CUSTOMER,
            recipient: "other.example",
            purpose: MARKETING,
            categories: &[],
        };
        assert!(authorizer.authorize(&other).unwrap().allowed);
        let projections = shelf.projections().unwrap();
        let told = trail(&ledger, &projections, engine.vault(), CUSTOMER).unwrap();
        let found: Vec<(&str, Finding, bool)> = told
            .events
            .iter()
            .flat_map(|event| event.findings.iter().map(|found| (event.id.as_str(), found)))
            .map(|(id, found)| (id, found.finding, found.corrected_away))
            .collect();
        let refused: Timestamp = at(10_000);
        assert_eq!(found, [("late", Finding::AgainstChoice { refused }, false)]);
    });
}
