//! Choices, requests and decisions, and what becomes of them.
//!
//! In scope: what customers and officers do. Out of scope: reading trails (`me`), which words make a consent (`choices`).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sharetrail_consumers::http::ServiceTokens;
use sharetrail_producers::Event;
use sharetrail_proof::dossier::{Certificate, Dossier, VerifiedContent};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::policy::Policy;

use crate::me::world::{CUSTOMER, OTHER, World, disclosures, ids, soon, until};
use crate::support::{HOUSE, SHOP, at, consent, name, shared};

fn resting(id: &str) -> Event {
    shared(CUSTOMER, id)
        .legal_basis("eu-gdpr:A6-1-a")
        .consent("consent")
}

/// The fault: a checkbox that nothing hangs on, or one that hides what was done against it.
#[test]
fn a_choice_binds_and_what_is_done_against_it_is_found() {
    let world = World::new([
        consent(CUSTOMER, "consent").time(at(0)),
        resting("fine").time(at(10)),
    ]);
    let service = ServiceTokens::add(world.ledger.root(), &name(SHOP), "test").unwrap();
    let question = json!({
        "customer": CUSTOMER,
        "recipient": HOUSE,
        "purpose": "dpv:Marketing",
        "categories": ["pd:Name"],
    });
    let may = || world.post("/v1/authorize", &service, &question).json()["allowed"].clone();
    let state = |json: &Value| {
        let choices = json["purposes"].as_array().unwrap().iter();
        let mut found = choices.filter(|choice| choice["purpose"] == "dpv:Marketing");
        found.next().unwrap()["state"].clone()
    };
    assert_eq!(may(), true);
    assert_eq!(state(&world.get_as(CUSTOMER, "/v1/me/choices").json()), "allowed");

    let off = json!({ "purpose": "dpv:Marketing", "allowed": false });
    let answer = world.post_as(CUSTOMER, "/v1/me/choices", &off);
    assert_eq!(
        (answer.status, state(&answer.json()["choices"])),
        (200, json!("refused"))
    );
    assert!(!answer.json()["receipts"].as_array().unwrap().is_empty());
    assert_eq!(may(), false);
    // It is so already.
    let again = world.post_as(CUSTOMER, "/v1/me/choices", &off).json();
    assert_eq!(again["receipts"], json!([]));

    let against = world.record(resting("against").time(soon(5)));
    let page = world
        .get_as(CUSTOMER, "/v1/me/trail?kind=data.shared&limit=1")
        .json();
    assert_eq!(ids(&page), ["against"]);
    assert_ne!(page["events"][0]["findings"], json!([]));
    let officer = world.tokens.officer();
    let found = until("the finding", || {
        let page = world.get("/v1/officer/findings", &officer).json();
        let mut all = page["findings"].as_array()?.iter();
        all.find(|one| one["index"] == against.index.0 && one["shard"] == against.shard)
            .cloned()
    });
    assert_eq!(found["customer"], CUSTOMER);

    let on = json!({ "purpose": "dpv:Marketing", "allowed": true });
    assert_eq!(world.post_as(CUSTOMER, "/v1/me/choices", &on).status, 200);
    assert_eq!(may(), true);
    let recipient = json!({ "recipient": HOUSE, "allowed": false });
    assert_eq!(world.post_as(CUSTOMER, "/v1/me/choices", &recipient).status, 200);
    assert_eq!(may(), false);
    let unknown = json!({ "recipient": "nobody.example", "allowed": false });
    assert_eq!(world.post_as(CUSTOMER, "/v1/me/choices", &unknown).status, 400);
}

/// The fault: findings come twice or never while an officer turns pages.
#[test]
fn findings_come_page_by_page() {
    let world = World::new((0..7).map(|n| resting(&format!("share-{n}")).time(at(n))));
    let officer = world.tokens.officer();
    let count = |page: &Value| page["findings"].as_array().unwrap().len();
    until("the findings", || {
        let page = world.get("/v1/officer/findings?limit=200", &officer).json();
        // Without consent, and to somebody who is not registered.
        (count(&page) == 14).then_some(())
    });
    let (mut found, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world
            .get(&format!("/v1/officer/findings?limit=3{cursor}"), &officer)
            .json();
        found.extend(page["findings"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let distinct: BTreeSet<String> = found.iter().map(Value::to_string).collect();
    assert_eq!((found.len(), distinct.len()), (14, 14));
    assert!(found.is_sorted_by(|newer, older| newer["time"].as_str() >= older["time"].as_str()));
    let recipients = world.get("/v1/officer/recipients", &officer).json();
    assert_eq!(recipients["recipients"][0]["disclosures"], 7);
}

/// The fault: a deletion is granted and nothing is deleted, or the dossier does not show that it was.
#[test]
fn a_granted_erasure_is_carried_out_and_proven() {
    let world = World::new(disclosures(3));
    let officer = world.tokens.officer();
    let wish = json!({ "right": "erasure", "description": "Please delete my data." });
    let opened = world.post_as(CUSTOMER, "/v1/me/requests", &wish);
    assert_eq!(
        (opened.status, &opened.json()["request"]["state"]),
        (201, &json!("open"))
    );
    let place = opened.header("location").unwrap().to_owned();
    assert_eq!(world.get_as(CUSTOMER, &place).json(), opened.json()["request"]);
    assert_eq!(world.get_as(OTHER, &place).status, 404);
    assert_eq!(world.post_as(CUSTOMER, "/v1/me/requests", &wish).status, 409);

    let listed = world.get("/v1/officer/requests", &officer).json();
    assert_eq!(listed["requests"][0]["customer"], CUSTOMER);
    let decision = place.replace("/v1/me/", "/v1/officer/");
    let refusal = world.post(&decision, &officer, &json!({ "granted": false }));
    assert_eq!(
        (refusal.status, refusal.fields()),
        (400, vec!["description".to_owned()])
    );
    let granted = world.post(&decision, &officer, &json!({ "granted": true }));
    assert_eq!(
        (granted.status, &granted.json()["state"]),
        (202, &json!("erasing"))
    );

    let trail = until("the erasure", || {
        let trail = world.get_as(CUSTOMER, "/v1/me/trail").json();
        (!trail["generations"][0]["erased_by"].is_null()).then_some(trail)
    });
    assert_eq!(trail["events"], json!([]));
    let states: BTreeSet<&str> = trail["unopened"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, BTreeSet::from(["erased"]));
    assert_eq!(
        world.get_as(CUSTOMER, "/v1/me/requests").json()["requests"],
        json!([])
    );

    let policy: Policy = world.get_open("/policy").text().parse().unwrap();
    let dossier = world.get_as(CUSTOMER, "/v1/me/dossier?recipient=shop.example");
    assert_eq!(dossier.status, 200);
    let verified = Dossier::parse(&dossier.body).unwrap().verify(&policy).unwrap();
    assert_eq!(verified.customer, CUSTOMER);
    assert!(verified.generations[0].erased_at.is_some());
    assert!(
        verified
            .events
            .iter()
            .all(|event| matches!(event.content, VerifiedContent::Erased))
    );
    let certificate = world.get_as(CUSTOMER, "/v1/me/certificates/0");
    let verified = Certificate::parse(&certificate.body)
        .unwrap()
        .verify(&policy)
        .unwrap();
    assert_eq!((verified.customer.as_str(), verified.generation), (CUSTOMER, 0));
    for generation in ["1", "-1", "00", "x"] {
        assert_eq!(
            world
                .get_as(CUSTOMER, &format!("/v1/me/certificates/{generation}"))
                .status,
            404
        );
    }

    // What comes now begins anew, and can be asked for anew.
    world.record(shared(CUSTOMER, "after").time(at(900)));
    assert_eq!(world.ids(""), ["after"]);
    assert_eq!(world.post_as(CUSTOMER, "/v1/me/requests", &wish).status, 201);
    assert_eq!(
        world
            .post(&decision, &officer, &json!({ "granted": true }))
            .status,
        404
    );
}

#[test]
fn a_request_is_answered_once_and_the_customer_reads_why() {
    let world = World::new(disclosures(1));
    let officer = world.tokens.officer();
    for (bad, status) in [
        (json!({}), 400),
        (json!({ "right": "revenge" }), 400),
        (json!({ "right": "access", "customer": OTHER }), 400),
        (json!({ "right": "access", "description": "a\u{0}b" }), 400),
        (
            json!({ "right": "access", "description": "x".repeat(2_001) }),
            400,
        ),
    ] {
        assert_eq!(
            world.post_as(CUSTOMER, "/v1/me/requests", &bad).status,
            status,
            "{bad}"
        );
    }
    let wish = json!({ "right": "rectification", "description": "My street is Hill Road 7.\r\nNot 8." });
    let opened = world.post_as(CUSTOMER, "/v1/me/requests", &wish);
    assert_eq!(
        opened.json()["request"]["description"],
        "My street is Hill Road 7.\nNot 8."
    );
    let place = opened.header("location").unwrap().to_owned();
    let decision = place.replace("/v1/me/", "/v1/officer/");
    let refusal = json!({ "granted": false, "description": "The bill says 8." });
    let closed = world.post(&decision, &officer, &refusal);
    assert_eq!((closed.status, &closed.json()["state"]), (200, &json!("closed")));
    let request = world.get_as(CUSTOMER, &place).json();
    assert_eq!(
        (&request["state"], &request["answer"]),
        (&json!("refused"), &json!("The bill says 8."))
    );
    assert_eq!(world.post(&decision, &officer, &refusal).status, 409);
    for place in ["0/99999", "9/1", "0/0", "0/1", "00/1", "x/y", "4294967296/1"] {
        let answer = world.post(&format!("/v1/officer/requests/{place}"), &officer, &refusal);
        assert_eq!(answer.status, 404, "{place}");
    }
}

/// The fault: what is said of a leaf is another leaf's.
#[test]
fn receipts_of_choices_name_the_customers_own_leaves() {
    let world = World::new([consent(CUSTOMER, "consent").time(at(0))]);
    let off = json!({ "purpose": "dpv:Marketing", "allowed": false });
    let answer = world.post_as(CUSTOMER, "/v1/me/choices", &off).json();
    let receipt = &answer["receipts"][0];
    let trail = world
        .get_as(CUSTOMER, "/v1/me/trail?kind=consent.withdrawn")
        .json();
    let event = &trail["events"][0];
    assert_eq!(
        (&receipt["shard"], &receipt["index"]),
        (&event["shard"], &event["index"])
    );
    assert_eq!(
        (&event["producer"], &event["generation"]),
        (&json!(SHOP), &json!(0))
    );
    let index = LeafIndex(receipt["index"].as_u64().unwrap());
    let shard = u32::try_from(receipt["shard"].as_u64().unwrap()).unwrap();
    assert!(index.0 < world.ledger.reader(shard).unwrap().size().0);
    assert!(receipt["tlog_proof"].as_str().unwrap().contains("tlog-proof"));
}
