//! Findings about disclosures that were put right later, out of a real ledger.
//!
//! In scope: that a correction makes findings of each kind and ends none unseen, whose correction counts, what is said of
//! it, that officer and customer count the same. Out of scope: findings as such (`watch`), what corrections do to choices (the library's own tests).

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::{Value, json};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Concern, Finding, NoConsent, Shelf, Watch, WatchView};
use sharetrail_ledger::{Engine, keys};
use sharetrail_producers::{Event, Publisher};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_schemas::Field;

use crate::support::{HOUSE, TestLedger, at, consent, name, shared};

const NOBODY: &str = "nobody.example";
const TILL: &str = "till";

/// Nobody tells anybody to stop.
static NEVER: AtomicBool = AtomicBool::new(false);

/// What an officer sees who begins to watch now.
fn seen(place: &TestLedger) -> Arc<WatchView> {
    let ledger = place.open();
    let (vault, shelf) = (ledger.vault().unwrap(), Shelf::new(&ledger, StoreKind::Sled));
    let watch = Watch::new(&ledger, &Arc::new(vault), &Arc::new(shelf));
    watch.look(&NEVER).unwrap();
    watch.view()
}

/// What is the matter with an event, where that was corrected, and whether it is so only as it was told.
type Found = (Concern, Vec<LeafIndex>, bool);

/// What is the matter with a customer's events.
fn concerns(view: &WatchView, customer: &str) -> Vec<Found> {
    let findings = view.findings.iter();
    let theirs = findings.filter(|finding| finding.customer.as_deref() == Some(customer));
    theirs
        .map(|finding| {
            let concern = finding.concern.clone();
            (concern, finding.corrected_at.clone(), finding.corrected_away)
        })
        .collect()
}

/// Where events of a customer are on record.
fn places_of(place: &TestLedger, customer: &str, ids: &[&str]) -> Vec<LeafIndex> {
    let told = place.trail(&place.project(StoreKind::Sled), customer);
    let index = |id: &&str| told.events.iter().find(|event| event.id == **id).unwrap().index;
    ids.iter().map(index).collect()
}

fn source(customer: &str) -> String {
    format!("/shop/{customer}")
}

fn with(mut event: Event, fields: &[(Field, Value)]) -> Event {
    for (field, value) in fields {
        event = event.set(*field, value.clone());
    }
    event
}

/// The disclosure that is put right.
fn share(customer: &str, fields: &[(Field, Value)]) -> Event {
    with(shared(customer, "share").time(at(50)), fields)
}

fn correction(customer: &str, id: &str, of: &str, seconds: i64, fields: &[(Field, Value)]) -> Event {
    let event = Event::event_corrected(customer).corrects(of);
    let event = event.description("it was told wrongly").source(source(customer));
    with(event.id(id).time(at(seconds)), fields)
}

fn country(code: &str) -> [(Field, Value); 1] {
    [(Field::Country, json!(code))]
}

fn recipient(id: &str) -> Value {
    json!({"id": id, "name": "Somebody", "role": "processor", "country": "IE"})
}

/// Two consents; the first may end by an event of a kind.
fn consents(customer: &str, second: i64, end: Option<Event>) -> Vec<Event> {
    let given = [
        consent(customer, "first").time(at(10)),
        consent(customer, "second").time(at(second)),
    ];
    let end = end.map(|end| {
        end.consent("first")
            .source(source(customer))
            .id("end")
            .time(at(30))
    });
    given.into_iter().chain(end).collect()
}

/// A way in which a disclosure can be wrong, and the same in which nothing is the matter.
struct Case {
    name: &'static str,
    /// What the customer's trail says besides.
    besides: fn(&str) -> Vec<Event>,
    fine: (Field, Value),
    bad: (Field, Value),
    concern: Concern,
}

fn cases() -> Vec<Case> {
    let without = |why| Concern::Consent(Finding::WithoutConsent { why });
    vec![
        Case {
            name: "unregistered",
            besides: |_| Vec::new(),
            fine: (Field::Recipient, recipient(HOUSE)),
            bad: (Field::Recipient, recipient(NOBODY)),
            concern: Concern::UnregisteredRecipient {
                recipient: NOBODY.to_owned(),
            },
        },
        Case {
            name: "no-safeguard",
            besides: |_| Vec::new(),
            fine: (Field::Country, json!("FR")),
            bad: (Field::Country, json!("US")),
            concern: Concern::NoSafeguard {
                country: "US".to_owned(),
            },
        },
        Case {
            name: "before-consent",
            besides: |customer| consents(customer, 100, None),
            fine: (Field::Consent, json!("first")),
            bad: (Field::Consent, json!("second")),
            concern: Concern::Consent(Finding::BeforeConsent { given: at(100) }),
        },
        Case {
            name: "withdrawn",
            besides: |customer| consents(customer, 20, Some(Event::consent_withdrawn(customer))),
            fine: (Field::Consent, json!("second")),
            bad: (Field::Consent, json!("first")),
            concern: Concern::Consent(Finding::AfterWithdrawal { withdrawn: at(30) }),
        },
        Case {
            name: "expired",
            besides: |customer| consents(customer, 20, Some(Event::consent_expired(customer))),
            fine: (Field::Consent, json!("second")),
            bad: (Field::Consent, json!("first")),
            concern: without(NoConsent::Expired),
        },
        Case {
            name: "no-consent",
            besides: |_| Vec::new(),
            fine: (Field::LegalBasis, json!("eu-gdpr:A6-1-b")),
            bad: (Field::LegalBasis, json!("eu-gdpr:A6-1-a")),
            concern: without(NoConsent::NoneOnRecord),
        },
        Case {
            name: "against-choice",
            besides: |customer| {
                let refused = Event::consent_refused(customer).purpose("dpv:Marketing");
                vec![refused.source(source(customer)).id("refused").time(at(10))]
            },
            fine: (Field::Purposes, json!(["dpv:ServiceProvision"])),
            bad: (Field::Purposes, json!(["dpv:Marketing"])),
            concern: Concern::Consent(Finding::AgainstChoice { refused: at(10) }),
        },
    ]
}

fn register(engine: &Engine, party: &str) {
    keys::register_party(engine, &name(party), "A party", Some("IE"), None).unwrap();
}

/// The fault: a company corrects what it did away, and nobody is told; or a slip of the pen that it has put right looks like
/// a fault that it committed; or it tells a disclosure as harmless, puts it right later, and nobody looks at it any more.
#[test]
fn a_correction_makes_every_kind_of_finding_and_ends_none_unseen() {
    let place = TestLedger::new(2);
    place.at_work(|engine| register(engine, HOUSE));
    let cases = cases();
    // Each case both ways: whose it is, how the disclosure was told, and how it was.
    let mut ways = Vec::new();
    for case in &cases {
        let (fine, bad) = ([case.fine.clone()], [case.bad.clone()]);
        ways.push((
            case,
            format!("{}-made", case.name),
            fine.clone(),
            bad.clone(),
            false,
        ));
        ways.push((case, format!("{}-unmade", case.name), bad, fine, true));
    }
    place.record(ways.iter().flat_map(|(case, customer, told, _, _)| {
        let besides = (case.besides)(customer);
        besides.into_iter().chain([share(customer, told)])
    }));
    let before = seen(&place);
    for (case, customer, _, _, is_bad) in &ways {
        let expected: Vec<Found> = is_bad
            .then(|| (case.concern.clone(), Vec::new(), false))
            .into_iter()
            .collect();
        assert_eq!(
            concerns(&before, customer),
            expected,
            "{customer}, as it was told"
        );
    }
    let corrections = ways
        .iter()
        .map(|(_, customer, _, right, _)| correction(customer, "right", "share", 200, right));
    place.record(corrections);
    let after = seen(&place);
    for (case, customer, _, _, was_bad) in &ways {
        let at = places_of(&place, customer, &["right"]);
        let expected: [Found; 1] = [(case.concern.clone(), at, *was_bad)];
        assert_eq!(concerns(&after, customer), expected, "{customer}, put right");
    }
    // The customers are told the same of consent, and all of it is counted.
    let projections = place.project(StoreKind::Sled);
    for (case, customer, _, _, was_bad) in &ways {
        let trail = place.trail(&projections, customer);
        let share = trail.events.iter().find(|event| event.id == "share").unwrap();
        let found: Vec<_> = share
            .findings
            .iter()
            .map(|found| (Concern::Consent(found.finding), found.corrected_away))
            .collect();
        let is_told = matches!(case.concern, Concern::Consent(_));
        let expected: Vec<_> = is_told
            .then(|| (case.concern.clone(), *was_bad))
            .into_iter()
            .collect();
        assert_eq!(found, expected, "{customer}");
        assert_eq!(trail.totals().findings, u64::from(is_told), "{customer}");
        let right = trail.events.iter().find(|event| event.id == "right").unwrap();
        assert_eq!(share.corrected_at, [right.index], "{customer}");
    }
    assert_eq!(after.findings.len(), ways.len());
}

/// That a share with the United States was without a safeguard, corrected by the event named `right`.
fn no_safeguard(place: &TestLedger, corrected_away: bool) -> Found {
    let country = "US".to_owned();
    let at = places_of(place, "customer-1", &["right"]);
    (Concern::NoSafeguard { country }, at, corrected_away)
}

/// The fault: a safeguard that was forgotten and named later looks like one that is missing still.
#[test]
fn what_was_left_out_can_be_added() {
    let place = TestLedger::new(1);
    place.at_work(|engine| register(engine, HOUSE));
    place.record([share("customer-1", &country("US"))]);
    assert_eq!(concerns(&seen(&place), "customer-1").len(), 1);
    let safeguard = [(Field::Safeguard, json!("eu-gdpr:A46-2-c"))];
    place.record([correction("customer-1", "right", "share", 60, &safeguard)]);
    assert_eq!(
        concerns(&seen(&place), "customer-1"),
        [no_safeguard(&place, true)]
    );
}

/// The fault: whoever may record anything at all makes another's faults disappear.
#[test]
fn only_its_own_producer_corrects_an_event_and_only_of_the_same_customer() {
    let place = TestLedger::new(1);
    place.at_work(|engine| {
        register(engine, HOUSE);
        keys::add_producer(engine, &name(TILL)).unwrap();
    });
    place.record([share("customer-1", &country("US"))]);
    let before = seen(&place);
    let without = Concern::NoSafeguard {
        country: "US".to_owned(),
    };
    let expected: [Found; 1] = [(without, Vec::new(), false)];
    assert_eq!(concerns(&before, "customer-1"), expected);

    place.at_work(|engine| {
        let by_till = correction("customer-1", "by-till", "share", 60, &country("FR"));
        let mut line = by_till.build().unwrap();
        line.push(b'\n');
        let publisher = Publisher::open(engine, &name(TILL)).unwrap();
        let summary = publisher.record_lines(&line[..], &|_| ()).unwrap();
        assert_eq!((summary.recorded, summary.refused.len()), (1, 0));
        publisher.close().unwrap();
    });
    let elsewhere = json!({"source": source("customer-1"), "id": "share"});
    let of_another = correction("customer-2", "of-another", "share", 60, &country("FR"));
    place.record([of_another.set(Field::Corrects, elsewhere)]);
    assert_eq!(seen(&place).findings, before.findings);

    place.record([correction("customer-1", "right", "share", 60, &country("FR"))]);
    assert_eq!(
        concerns(&seen(&place), "customer-1"),
        [no_safeguard(&place, true)]
    );
}

/// The fault: a correction that was itself wrong counts for ever; or one that names itself is followed for ever.
#[test]
fn corrections_can_be_corrected_and_the_last_word_counts() {
    let place = TestLedger::new(1);
    place.at_work(|engine| register(engine, HOUSE));
    place.record([share("customer-1", &country("FR"))]);
    let correct = |id: &str, of: &str, seconds: i64, code: &str| {
        place.record([correction("customer-1", id, of, seconds, &country(code))]);
        concerns(&seen(&place), "customer-1")
    };
    let found = |ids: &[&str]| {
        let country = "US".to_owned();
        let found: Found = (
            Concern::NoSafeguard { country },
            places_of(&place, "customer-1", ids),
            false,
        );
        [found]
    };
    assert_eq!(correct("one", "share", 60, "US"), found(&["one"]));
    assert!(correct("two", "one", 80, "FR").is_empty());
    // It comes later, and was told for an earlier time.
    assert!(correct("three", "share", 70, "US").is_empty());
    assert_eq!(
        correct("four", "two", 90, "US"),
        found(&["one", "three", "two", "four"])
    );
    // By its short reference it names the disclosure and itself.
    let itself = correction("customer-1", "share", "share", 100, &country("FR"));
    place.record([itself.source("/desk/customer-1")]);
    assert!(seen(&place).findings.is_empty());
}

/// The fault: the officer counts data for one recipient and the customer reads of another; or whoever was told to have data
/// drops off every list by a correction.
#[test]
fn officer_and_customer_count_recipients_as_put_right_and_as_told() {
    let place = TestLedger::new(1);
    place.record([
        share("customer-1", &country("US")),
        shared("customer-2", "share").time(at(50)),
    ]);
    // Disclosures, those corrected away, customers, what is the matter.
    let sums = |view: &WatchView| -> Vec<(String, [u64; 4])> {
        let recipients = view.recipients.iter();
        recipients
            .map(|one| {
                let sums = [one.disclosures, one.corrected_away, one.customers, one.concerns];
                (one.id.clone(), sums)
            })
            .collect()
    };
    let received = |customer: &str| -> Vec<(String, u64, u64)> {
        let trail = place.trail(&place.project(StoreKind::Sled), customer);
        let recipients = trail.recipients();
        let totals = trail.totals();
        assert_eq!(totals.recipients, recipients.len() as u64);
        assert_eq!(
            totals.disclosures,
            recipients.iter().map(|one| one.disclosures).sum::<u64>()
        );
        recipients
            .into_iter()
            .map(|one| (one.id, one.disclosures, one.corrected_away))
            .collect()
    };
    // Nobody is registered.
    assert_eq!(sums(&seen(&place)), [(HOUSE.to_owned(), [2, 0, 2, 3])]);
    assert_eq!(received("customer-1"), [(HOUSE.to_owned(), 1, 0)]);
    let series = json!({"first": at(10).to_string(), "count": 3, "last": at(20).to_string()});
    let right = [
        (Field::Recipient, recipient(NOBODY)),
        (Field::Categories, json!(["pd:Age"])),
        (Field::Series, series),
    ];
    place.record([correction("customer-1", "right", "share", 60, &right)]);
    assert_eq!(
        received("customer-1"),
        [(HOUSE.to_owned(), 0, 1), (NOBODY.to_owned(), 3, 0)]
    );
    assert_eq!(received("customer-2"), [(HOUSE.to_owned(), 1, 0)]);
    let view = seen(&place);
    let expected = [
        (NOBODY.to_owned(), [3, 0, 1, 2]),
        (HOUSE.to_owned(), [1, 1, 1, 2]),
    ];
    assert_eq!(sums(&view), expected);
    // Each finding is about who it was so of.
    let mut about: Vec<_> = view
        .findings
        .iter()
        .filter(|one| one.customer.as_deref() == Some("customer-1"))
        .map(|one| {
            let recipient = one.recipient.as_ref().unwrap();
            (one.concern.name(), recipient.id.as_str(), one.corrected_away)
        })
        .collect();
    about.sort_unstable();
    assert_eq!(
        about,
        [
            ("no_safeguard", NOBODY, false),
            ("unregistered_recipient", HOUSE, true),
            ("unregistered_recipient", NOBODY, false),
        ]
    );
    // What the right one has is what was put right; what the first one may have is what was told.
    let trail = place.trail(&place.project(StoreKind::Sled), "customer-1");
    let all: Vec<_> = trail
        .recipients()
        .into_iter()
        .map(|one| (one.categories, one.first, one.last))
        .collect();
    let of = |category: &str, first, last| (vec![category.to_owned()], first, last);
    assert_eq!(all, [of("pd:Name", at(50), at(50)), of("pd:Age", at(10), at(20))]);
}

/// The fault: an event that nobody can open is taken to be mended by an event that says what it should have said.
#[test]
fn what_cannot_be_opened_cannot_be_put_right() {
    let place = TestLedger::new(1);
    place.at_work(|engine| register(engine, HOUSE));
    place.record([
        share("customer-1", &country("US")),
        correction("customer-1", "right", "share", 60, &country("FR")),
    ]);
    let index = places_of(&place, "customer-1", &["share"])[0];
    let sealed = place.open().reader(0).unwrap().leaf(index).unwrap().sealed;
    let path = place.root.join("sealed/0/00000000000000000000.leaves");
    let mut archive = fs::read(&path).unwrap();
    let mut windows = archive.windows(sealed.len());
    let start = windows.position(|window| window == &sealed[..]).unwrap();
    archive[start + sealed.len() / 2] ^= 0xff;
    fs::write(&path, archive).unwrap();
    let view = seen(&place);
    let told: Vec<_> = view
        .findings
        .iter()
        .map(|one| (one.concern.name(), one.index))
        .collect();
    assert_eq!(told, [("unreadable", index)]);
    assert!(view.findings[0].corrected_at.is_empty());
}
