//! The officer's view out of a real ledger: what is wrong, what is asked for, who received what, over all customers.
//!
//! In scope: every kind of finding, what changes it (events, registrations, erasures, a restart), what cannot be read,
//! reading while events come. Out of scope: what consent means (the trail's own tests), how it is shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use sharetrail_consumers::requests::RequestState;
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Concern, Shelf, Watch, WatchView};
use sharetrail_ledger::{Engine, keys};
use sharetrail_producers::{Event, Recipient, Right, Role};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Field;

use crate::support::{HOUSE, SHOP, TestLedger, at, consent, customers, name, record, shared, story};

const ADS: &str = "ads.example";

/// Nobody tells anybody to stop.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Somebody who watches a ledger that is at work.
fn watch(place: &TestLedger, engine: &Engine) -> Arc<Watch> {
    let ledger = place.open();
    let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
    Watch::new(&ledger, engine.vault(), &shelf)
}

/// Somebody who has watched a ledger that is at rest.
fn watched(place: &TestLedger) -> Arc<Watch> {
    let watch = unread(place);
    watch.look(&NEVER).unwrap();
    watch
}

fn unread(place: &TestLedger) -> Arc<Watch> {
    let ledger = place.open();
    let (vault, shelf) = (ledger.vault().unwrap(), Shelf::new(&ledger, StoreKind::Sled));
    Watch::new(&ledger, &Arc::new(vault), &Arc::new(shelf))
}

fn register(engine: &Engine, party: &str) {
    keys::register_party(engine, &name(party), "A party", Some("US"), None).unwrap();
}

/// A disclosure to a third country.
fn abroad(customer: &str, id: &str) -> Event {
    shared(customer, id)
        .to(Recipient::new(ADS, "Ads", Role::ThirdParty, "US"))
        .time(at(400))
}

/// A request of a customer; the day on which it is due, if the event says so.
fn asked(customer: &str, right: Right, due: Option<&str>) -> Event {
    let mut request = json!({"id": "request", "right": right.name()});
    if let Some(due) = due {
        request["due"] = json!(due);
    }
    let event = Event::request_opened(customer).set(Field::Request, request);
    event.source(format!("/shop/{customer}")).id("asked").time(at(0))
}

fn answered(customer: &str, right: Right, outcome: &str) -> Event {
    let event = Event::request_closed(customer).request("request", right);
    let event = event.outcome(outcome).source(format!("/shop/{customer}"));
    event.id("answered").time(at(1_000))
}

/// The index of an event of a customer.
fn place_of(place: &TestLedger, customer: &str, id: &str) -> LeafIndex {
    let told = place.trail(&place.project(StoreKind::Sled), customer);
    told.events.iter().find(|event| event.id == id).unwrap().index
}

/// Whose each finding is, and its kind; in the order of names.
fn kinds(view: &WatchView) -> Vec<(Option<&str>, &'static str)> {
    let findings = view.findings.iter();
    let mut kinds: Vec<_> = findings
        .map(|finding| (finding.customer.as_deref(), finding.concern.name()))
        .collect();
    kinds.sort_unstable();
    kinds
}

/// The disclosures to a recipient, the customers they are of, and what is the matter with them.
fn sums(view: &WatchView, id: &str) -> (u64, u64, u64, bool) {
    let found = view.recipients.iter().find(|recipient| recipient.id == id);
    found.map_or((0, 0, 0, false), |one| {
        (one.disclosures, one.customers, one.concerns, one.registered)
    })
}

#[track_caller]
fn same(one: &WatchView, other: &WatchView) {
    assert_eq!(one.findings, other.findings);
    assert_eq!(one.requests, other.requests);
    assert_eq!(one.recipients, other.recipients);
}

/// The fault: what an officer must look at is not shown, or is shown where nothing is the matter, or only until a restart.
#[test]
fn every_kind_of_finding_is_seen() {
    let place = TestLedger::new(1);
    place.at_work(|engine| register(engine, ADS));
    let guarded = abroad("customer-2", "guarded").safeguard("eu-gdpr:A46-2-c");
    let others = [
        abroad("customer-2", "open"),
        guarded,
        consent("customer-3", "only").time(at(1)),
        consent("customer-4", "consent").time(at(1)),
        shared("customer-4", "share").time(at(2)),
    ];
    place.record(story("customer-1").into_iter().chain(others));
    // Of one of them nothing opens any more, so that nobody can say whose it is.
    for (customer, id) in [("customer-3", "only"), ("customer-4", "share")] {
        let index = place_of(&place, customer, id);
        let sealed = place.open().reader(0).unwrap().leaf(index).unwrap().sealed;
        place.turn_over(&sealed);
    }
    let watch = watched(&place);
    let view = watch.view();
    let expected = [
        (None, "unreadable"),
        (Some("customer-1"), "consent"),
        (Some("customer-1"), "consent"),
        (Some("customer-1"), "unregistered_recipient"),
        (Some("customer-1"), "unregistered_recipient"),
        (Some("customer-1"), "unregistered_recipient"),
        (Some("customer-2"), "no_safeguard"),
        (Some("customer-4"), "unreadable"),
    ];
    assert_eq!(kinds(&view), expected);
    assert_eq!(watch.count(), expected.len());
    assert!(view.findings.iter().all(|finding| finding.producer == name(SHOP)));
    // What has no time stands first, then the newest.
    let times: Vec<_> = view.findings.iter().map(|finding| finding.time).collect();
    assert_eq!(times[..3], [None, None, Some(at(400))]);
    assert!(times[2..].is_sorted_by(|one, next| one >= next));
    assert_eq!(sums(&view, HOUSE), (3, 1, 5, false));
    assert_eq!(sums(&view, ADS), (2, 1, 1, true));
    assert_eq!(view.recipients[0].id, HOUSE);
    let (read, total) = watch.progress();
    assert_eq!(read, total);
    drop(watch);
    same(&watched(&place).view(), &view);
}

/// The fault: a recipient that was registered since is held against the company until its next disclosure.
#[test]
fn a_recipient_may_be_registered_later() {
    let place = TestLedger::new(2);
    place.at_work(|engine| {
        let watch = watch(&place, engine);
        let shares = customers(8);
        record(engine, shares.iter().map(|customer| shared(customer, "share")));
        watch.look(&NEVER).unwrap();
        assert_eq!(watch.count(), 8);
        assert_eq!(sums(&watch.view(), HOUSE), (8, 8, 8, false));
        register(engine, "other.example");
        watch.look(&NEVER).unwrap();
        assert_eq!(watch.count(), 8);
        register(engine, HOUSE);
        watch.look(&NEVER).unwrap();
        assert!(watch.view().findings.is_empty());
        assert_eq!(sums(&watch.view(), HOUSE), (8, 8, 0, true));
        record(engine, [shared("customer-1", "another")]);
        watch.look(&NEVER).unwrap();
        assert_eq!((watch.count(), sums(&watch.view(), HOUSE).0), (0, 9));
    });
    let view = watched(&place).view();
    assert!(view.findings.is_empty());
    assert_eq!(sums(&view, HOUSE), (9, 8, 0, true));
}

/// The fault: something of a customer is shown or counted after the erasure, or what came after it is not.
#[test]
fn who_is_erased_drops_out_with_their_share() {
    let place = TestLedger::new(2);
    place.at_work(|engine| {
        let watch = watch(&place, engine);
        let look = || {
            watch.look(&NEVER).unwrap();
            watch.view()
        };
        let of_one = story("customer-1")
            .into_iter()
            .chain([asked("customer-1", Right::Erasure, None)]);
        record(engine, of_one.chain(story("customer-2")));
        let before = look();
        assert_eq!(sums(&before, HOUSE), (6, 2, 10, false));
        assert_eq!((before.findings.len(), before.requests.len()), (10, 1));
        assert!(!before.requests[0].is_being_erased);
        watch.mark_erasing("customer-1");
        assert!(watch.requests()[0].is_being_erased);

        engine.erase(&engine.vault().label("customer-1", 0), 0).unwrap();
        let erased = look();
        assert_eq!(sums(&erased, HOUSE), (3, 1, 5, false));
        assert!(erased.requests.is_empty());
        let mut whose = erased.findings.iter().map(|finding| finding.customer.as_deref());
        assert!(whose.all(|customer| customer == Some("customer-2")));
        same(&watch_anew(&place, engine), &erased);

        record(engine, [shared("customer-1", "again")]);
        let back = look();
        assert_eq!(sums(&back, HOUSE), (4, 2, 6, false));
        same(&watch_anew(&place, engine), &back);
    });
}

/// What somebody sees who begins to watch now. Another shelf waits for the store, so this one has a store of its own.
fn watch_anew(place: &TestLedger, engine: &Engine) -> Arc<WatchView> {
    let ledger = place.open();
    let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Fjall));
    let watch = Watch::new(&ledger, engine.vault(), &shelf);
    watch.look(&NEVER).unwrap();
    watch.view()
}

/// The fault: what must be answered soonest stands below; or an erasure that was granted is forgotten before it is done.
#[test]
fn requests_stand_in_the_order_in_which_they_are_due() {
    let place = TestLedger::new(2);
    place.record([
        asked("customer-1", Right::Access, Some("2026-05-01T00:00:00Z")),
        asked("customer-2", Right::Objection, Some("2026-04-01T00:00:00Z")),
        // A month after it was asked for: at the end of February.
        asked("customer-3", Right::Access, None),
        asked("customer-4", Right::Erasure, Some("2026-06-01T00:00:00Z")),
    ]);
    let whose = || {
        let requests = watched(&place).requests();
        let told = requests.into_iter().map(|one| (one.customer, one.request.state));
        told.collect::<Vec<_>>()
    };
    let open = |customer: &str| (customer.to_owned(), RequestState::Open);
    let all = ["customer-3", "customer-2", "customer-1", "customer-4"];
    assert_eq!(whose(), all.map(open));
    place.record([
        answered("customer-2", Right::Objection, "refused: the contract needs it"),
        answered("customer-4", Right::Erasure, "granted"),
    ]);
    let granted = ("customer-4".to_owned(), RequestState::Granted);
    assert_eq!(whose(), [open("customer-3"), open("customer-1"), granted]);
    place.erase("customer-4", 0);
    assert_eq!(whose(), [open("customer-3"), open("customer-1")]);
}

/// The fault: one damaged place of the archive hides from the officer all that came after it.
#[test]
fn what_cannot_be_read_keeps_nothing_else_from_being_read() {
    let place = TestLedger::new(1);
    for customer in ["customer-1", "customer-2"] {
        place.record([shared(customer, "share")]);
    }
    let index = place_of(&place, "customer-1", "share");
    let batch = LeafIndex(index.0 - 1);
    let note = place.open().reader(0).unwrap().leaf(batch).unwrap().entry;
    place.turn_over(&note);
    let watch = unread(&place);
    assert!(watch.look(&NEVER).is_err());
    let view = watch.view();
    assert_eq!(sums(&view, HOUSE), (1, 1, 1, false));
    assert_eq!(view.findings[0].customer.as_deref(), Some("customer-2"));
    let (read, total) = watch.progress();
    assert!(read < total, "it is not all there is");
    // It is not tried again at once.
    watch.look(&NEVER).unwrap();
    drop(watch);

    let mut damaged = note;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    place.turn_over(&damaged);
    let view = watched(&place).view();
    assert_eq!(sums(&view, HOUSE), (2, 2, 2, false));
}

/// The fault: two read the same trail at once and leave the older one; an event is not counted until the next comes.
#[test]
fn nothing_is_lost_between_two_who_read() {
    const SHARES: i64 = 20;
    let place = TestLedger::new(1);
    place.at_work(|engine| {
        let watch = watch(&place, engine);
        let (done, end) = (AtomicBool::new(false), Instant::now() + Duration::from_mins(1));
        let goes_on = || !done.load(Ordering::Acquire) && Instant::now() < end;
        thread::scope(|scope| {
            scope.spawn(|| {
                while goes_on() {
                    watch.look(&NEVER).unwrap();
                }
            });
            scope.spawn(|| {
                while goes_on() {
                    watch.refresh("customer-1").unwrap();
                }
            });
            for n in 0..SHARES {
                record(engine, [shared("customer-1", &format!("share-{n}")).time(at(n))]);
            }
            done.store(true, Ordering::Release);
        });
        watch.look(&NEVER).unwrap();
        let view = watch.view();
        assert_eq!(sums(&view, HOUSE).0, SHARES.unsigned_abs());
        assert_eq!(view.findings.len(), watch.count());
        let is_known = |concern: &Concern| match concern {
            Concern::UnregisteredRecipient { recipient } => recipient == HOUSE,
            _ => false,
        };
        assert!(view.findings.iter().all(|finding| is_known(&finding.concern)));
        let (read, total) = watch.progress();
        assert_eq!(read, total);
    });
}
