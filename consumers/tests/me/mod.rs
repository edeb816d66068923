//! What customers, officers and anybody ask of the API: pages of a trail, choices that bind, requests and what becomes of
//! them, evidence, being told of what is new. Over real sockets.
//!
//! In scope: what is answered to those who may ask. Out of scope: who may ask (`auth`), the documents (`openapi`).

mod steering;
mod streams;
mod world;

use serde_json::json;
use sharetrail_producers::{Event, Recipient, Role};
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::tree::{ConsistencyProof, verify_consistency};

use self::world::{CUSTOMER, OTHER, World, disclosures, ids, soon};
use crate::support::{at, consent, shared};

/// The fault: whoever reads on meets an event twice, or misses one, because others were recorded meanwhile.
#[test]
fn pages_join_up_while_events_are_added() {
    let world = World::new(disclosures(23));
    for order in ["newest", "oldest"] {
        let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let path = format!("/v1/me/trail?order={order}&limit=4{cursor}");
            let page = world.get_as(CUSTOMER, &path).json();
            assert_eq!(page["customer"], CUSTOMER);
            assert_eq!(page.get("unopened").is_some(), cursor.is_empty());
            let own = ids(&page).into_iter().filter(|id| id.starts_with("share-"));
            found.extend(own);
            // One of now, and one of long ago.
            for time in [soon(0), at(-1_000 - pages)] {
                world.record(shared(CUSTOMER, &format!("{order}-{pages}-{time}")).time(time));
            }
            pages += 1;
            assert!(pages < 60, "it does not end");
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let mut expected: Vec<String> = (0..23).map(|n| format!("share-{n}")).collect();
        if order == "newest" {
            expected.reverse();
        }
        assert_eq!(found, expected, "{order}");
    }
}

#[test]
fn what_was_recorded_is_read_at_once_and_by_nobody_else() {
    let world = World::new(disclosures(2));
    let totals = |customer: &str| world.get_as(customer, "/v1/me/trail").json()["totals"]["events"].clone();
    assert_eq!((totals(CUSTOMER), totals(OTHER)), (json!(2), json!(5)));
    for n in 0..5 {
        world.record(shared(CUSTOMER, &format!("more-{n}")).time(at(n)));
        assert_eq!((totals(CUSTOMER), totals(OTHER)), (json!(n + 3), json!(5)));
    }
    assert_eq!(totals("customer-nobody-knows"), json!(0));
}

#[test]
fn a_filter_shows_what_fits_and_nothing_else() {
    let broker = Recipient::new("broker.example", "Broker", Role::ThirdParty, "US");
    let sold = Event::transferred(CUSTOMER)
        .to(broker)
        .categories(["pd:Purchase"])
        .purpose("dpv:Advertising")
        .source("/shop")
        .id("sold")
        .time(at(500));
    let mut events = disclosures(3);
    events.extend([consent(CUSTOMER, "consent").time(at(5)), sold]);
    let world = World::new(events);
    for (query, expected) in [
        ("recipient=broker.example", vec!["sold"]),
        ("kind=consent.given", vec!["consent"]),
        (
            "category=pd:Name&order=oldest",
            vec!["share-0", "share-1", "share-2"],
        ),
        ("purpose=dpv:Marketing&kind=data.shared&limit=1", vec!["share-2"]),
        ("country=us", vec!["sold"]),
        ("recipient=broker.example&country=IE", vec![]),
        (
            "from=2026-01-31T12:00:05Z&to=2026-01-31T12:00:10Z",
            vec!["share-1", "consent"],
        ),
        ("to=2026-01-30", vec![]),
        ("recipient=&kind=consent.given&from=", vec!["consent"]),
    ] {
        assert_eq!(world.ids(query), expected, "{query}");
    }
    for (query, field) in [
        ("kind=data.shred", "kind"),
        ("country=IRL", "country"),
        ("from=yesterday", "from"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("order=random", "order"),
        ("cursor=AAAA", "cursor"),
        ("customer=customer-7", "customer"),
    ] {
        let answer = world.get_as(CUSTOMER, &format!("/v1/me/trail?{query}"));
        assert_eq!(
            (answer.status, answer.fields()),
            (400, vec![field.to_owned()]),
            "{query}"
        );
    }
    let answer = world.get_as(CUSTOMER, "/v1/me/recipients/broker.example").json();
    assert_eq!(
        (&answer["recipient"]["name"], &answer["received"]["disclosures"]),
        (&json!("Broker"), &json!(1))
    );
    assert_eq!(ids(&answer), ["sold"]);
    assert_eq!(
        world.get_as(OTHER, "/v1/me/recipients/broker.example").status,
        404
    );
    let recipients = world.get_as(CUSTOMER, "/v1/me/recipients").json();
    assert_eq!(recipients["recipients"].as_array().unwrap().len(), 2);
}

/// The fault: a cursor that one customer was given leads into the trail of another.
#[test]
fn a_cursor_is_of_one_customer_and_one_question() {
    let world = World::new(disclosures(5));
    let page = world.get_as(CUSTOMER, "/v1/me/trail?limit=2").json();
    let next = page["next"].as_str().unwrap();
    let go_on = |customer: &str, query: &str| {
        let answer = world.get_as(customer, &format!("/v1/me/trail?cursor={next}{query}"));
        (answer.status, answer.fields())
    };
    assert_eq!(go_on(CUSTOMER, "").0, 200);
    assert_eq!(go_on(CUSTOMER, "&limit=3").0, 200);
    let refused = (400, vec!["cursor".to_owned()]);
    assert_eq!(go_on(OTHER, ""), refused);
    assert_eq!(go_on(CUSTOMER, "&order=oldest"), refused);
    assert_eq!(go_on(CUSTOMER, "&kind=data.shared"), refused);
}

/// The fault: a proof that does not hold, or one for a tree that never was.
#[test]
fn a_log_is_shown_to_have_only_grown() {
    let world = World::new(disclosures(40));
    for shard in 0..2 {
        let reader = world.ledger.reader(shard).unwrap();
        let size = reader.size().0;
        for (from, to) in [
            (0, 1),
            (1, size),
            (size / 3, size - 1),
            (size / 2, size / 2),
            (size, size),
        ] {
            let path = format!("/v1/logs/{shard}/consistency?from={from}&to={to}");
            let answer = world.get_open(&path).json();
            let hashes = answer["hashes"].as_array().unwrap().iter();
            let hashes = hashes.map(|hash| Hash::from_base64(hash.as_str().unwrap()).unwrap());
            let root = |size| reader.root_at(TreeSize(size)).unwrap();
            let proof = ConsistencyProof(hashes.collect());
            let (old, new) = (TreeSize(from), TreeSize(to));
            verify_consistency(old, &root(from), new, &root(to), &proof).unwrap();
        }
        let answer = world
            .get_open(&format!("/v1/logs/{shard}/consistency?from=1"))
            .json();
        let checkpoint = answer["checkpoint"].as_str().unwrap();
        assert_eq!((checkpoint, &answer["to"]), (reader.note(), &json!(size)));
    }
    for (path, status) in [
        ("0/consistency", 400),
        ("0/consistency?from=2&to=1", 400),
        ("0/consistency?from=1&to=99999999", 400),
        ("0/consistency?from=-1", 400),
        ("0/consistency?from=1&form=2", 400),
        ("2/consistency?from=1", 404),
        ("00/consistency?from=1", 404),
    ] {
        assert_eq!(
            world.get_open(&format!("/v1/logs/{path}")).status,
            status,
            "{path}"
        );
    }
}
