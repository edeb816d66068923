//! What services put on record over HTTP, asked over real sockets.
//!
//! In scope: every form of a body, what is refused and how, repeats, receipts, who may. Out of scope: the parts by
//! themselves (their modules test them), what customers and officers ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use serde_json::{Value, json};
use sharetrail_consumers::Shelf;
use sharetrail_consumers::http::{HttpServer, HttpSettings, LimitSettings, ServiceTokens};
use sharetrail_ledger::Ledger;
use sharetrail_proof::entry::Entry;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tlog_proof::TlogProof;

use crate::support::hands::TestHands;
use crate::support::http::{Answer, ask, send};
use crate::support::served::Served;
use crate::support::tokens::Tokens;
use crate::support::{HOUSE, SHOP, TestLedger, name};

const CUSTOMER: &str = "customer-42";

const ONE: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
const LINES: &str = "application/x-ndjson";

/// A server at work, with a token of the shop's service. What is dropped first stands first.
struct Host {
    server: HttpServer,
    hands: Arc<TestHands>,
    shelf: Arc<Shelf>,
    ledger: Ledger,
    token: String,
    _place: TestLedger,
}

impl Host {
    fn new() -> Self {
        Self::with(HttpSettings::default())
    }

    fn with(settings: HttpSettings) -> Self {
        let place = TestLedger::new(1);
        let Served {
            server,
            hands,
            shelf,
            ledger,
            ..
        } = Served::new(&place, settings, None);
        Self {
            token: ServiceTokens::add(ledger.root(), &name(SHOP), "till").unwrap(),
            server,
            hands,
            shelf,
            ledger,
            _place: place,
        }
    }

    fn ask(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        ask(self.server.address(), request, headers, body.as_bytes())
    }

    /// Posts events as the shop's service.
    fn post(&self, query: &str, media: &str, body: &str) -> Answer {
        self.post_with(query, &[("Content-Type", media)], body)
    }

    fn post_with(&self, query: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut all = vec![("Authorization", bearer.as_str())];
        all.extend_from_slice(headers);
        self.ask(&format!("POST /v1/events{query}"), &all, body)
    }

    fn authorize(&self, asked: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        self.ask("POST /v1/authorize", &headers, &asked.to_string())
    }

    fn leaves(&self) -> u64 {
        self.ledger.reader(0).unwrap().size().0
    }

    /// The bytes that are on record at a leaf.
    fn content_at(&self, index: u64) -> Vec<u8> {
        let vault = self.ledger.vault().unwrap();
        let key = vault.generations(CUSTOMER).unwrap().remove(0).key.unwrap();
        let leaf = self.ledger.reader(0).unwrap().leaf(LeafIndex(index)).unwrap();
        let Entry::Event(entry) = Entry::parse(&leaf.entry).unwrap() else {
            panic!("leaf {index} is no event")
        };
        let sealer = key.for_producer(&name(SHOP)).sealer();
        sealer.open(&entry, &leaf.sealed).unwrap().content
    }
}

impl Answer {
    /// The end of a problem's type, and its status twice.
    #[track_caller]
    fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let told = self.json();
        assert_eq!(told["status"], self.status);
        let kind = told["type"].as_str().unwrap();
        kind.strip_prefix("https://sharetrail.org/problems/")
            .unwrap()
            .to_owned()
    }
}

/// An event in a spelling of its own.
fn event(id: &str) -> String {
    let what = r#" "type" : "org.sharetrail.consent.given.v1", "data":{"purposes":["dpv:Marketing"] ,"#;
    let how = r#""method":"caf\u00e9"}}"#;
    format!(r#"{{ "id":"{id}",  "specversion": "1.0", "source":"/shop", "subject":"{CUSTOMER}","#)
        + r#""time":"2026-01-31T12:00:00Z","#
        + what
        + how
}

fn other_content(id: &str) -> String {
    event(id).replace("dpv:Marketing", "dpv:DirectMarketing")
}

/// The fault: what is committed to and signed are not the bytes that the service sent.
#[test]
fn every_form_of_a_body_is_recorded_byte_for_byte() {
    let host = Host::new();
    let spaced = format!(" {}\n", event("json"));
    let array = format!("[{} ,\n {}]", event("first"), event("second"));
    let lines = format!("\n{}\r\n\n {} ", event("third"), event("fourth"));
    let bodies = [
        (ONE, event("one"), vec![event("one")]),
        ("application/json; charset=utf-8", spaced.clone(), vec![spaced]),
        (BATCH, array, vec![event("first"), event("second")]),
        (
            LINES,
            lines,
            vec![event("third"), format!(" {} ", event("fourth"))],
        ),
        ("application/jsonl", event("fifth"), vec![event("fifth")]),
    ];
    for (media, body, expected) in bodies {
        let answer = host.post("?wait=sealed", media, &body);
        assert_eq!(answer.status, 200, "{media}: {}", answer.json());
        let told = answer.json();
        assert_eq!(
            (&told["recorded"], &told["already_recorded"]),
            (&json!(expected.len()), &json!(0))
        );
        let events = told["events"].as_array().unwrap();
        for (receipt, content) in events.iter().zip(&expected) {
            let found = host.content_at(receipt["index"].as_u64().unwrap());
            assert_eq!(String::from_utf8(found).unwrap(), *content, "{media}");
        }
    }
}

#[test]
fn places_are_told_as_the_service_counts() {
    let host = Host::new();
    let places = |media: &str, body: &str, place: &str| -> Vec<Value> {
        let told = host.post("", media, body).json();
        let events = told["events"].as_array().unwrap().iter();
        events.map(|event| event[place].clone()).collect()
    };
    let array = format!("[{},{}]", event("a"), event("b"));
    assert_eq!(places(BATCH, &array, "position"), [0, 1]);
    let lines = format!("\n{}\n\n{}\n", event("c"), event("d"));
    assert_eq!(places(LINES, &lines, "line"), [2, 4]);
    assert_eq!(places(ONE, &event("e"), "line"), [Value::Null]);
}

/// The fault: a receipt that proves nothing, or that nobody can check because it does not say against what.
#[test]
fn a_receipt_verifies_against_the_policy() {
    let host = Host::new();
    let answer = host.post("?wait=sealed", ONE, &event("1"));
    let receipt = &answer.json()["events"][0];
    let text = |member: &str| receipt[member].as_str().unwrap().to_owned();
    let proof: TlogProof = text("tlog_proof").parse().unwrap();
    let entry = BASE64.decode(text("entry").as_bytes()).unwrap();
    let address = host.server.address();
    assert_eq!(text("policy"), format!("http://{address}/policy"));
    let policy: Policy = ask(address, "GET /policy", &[], b"").text().parse().unwrap();
    proof.verify(&entry, &policy).unwrap();
    assert_eq!(proof.checkpoint.lines().next(), Some(text("origin").as_str()));
    assert_eq!(
        (proof.index.0, text("ledger")),
        (receipt["index"].as_u64().unwrap(), SHOP.to_owned())
    );
    let mut altered = entry;
    altered[40] ^= 1;
    assert!(proof.verify(&altered, &policy).is_err());
}

#[test]
fn an_event_that_comes_again_is_on_record_once() {
    let host = Host::new();
    let first = host.post("", ONE, &event("1"));
    assert_eq!(first.status, 202);
    let told = first.json();
    assert_eq!(
        (&told["accepted"], &told["already_recorded"]),
        (&json!(1), &json!(0))
    );
    assert_eq!(
        told["events"][0],
        json!({ "source": "/shop", "id": "1", "state": "accepted" })
    );
    let sealed = host.post("?wait=sealed", ONE, &event("1")).json();
    assert_eq!(
        (&sealed["recorded"], &sealed["already_recorded"]),
        (&json!(0), &json!(1))
    );
    let leaves = host.leaves();
    let again = host.post("?wait=accepted", ONE, &event("1"));
    assert_eq!(
        (again.status, &again.json()["events"][0]["state"]),
        (202, &json!("already_recorded"))
    );
    assert_eq!(host.leaves(), leaves);
}

/// The fault: of a batch of which one event is refused nobody can say which is on record.
#[test]
fn a_conflict_is_told_with_what_is_on_record_all_the_same() {
    let host = Host::new();
    assert_eq!(host.post("?wait=sealed", ONE, &event("1")).status, 200);
    let alone = host.post("", ONE, &other_content("1"));
    assert_eq!((alone.status, alone.problem()), (409, "conflict".to_owned()));
    assert_eq!(alone.json()["errors"][0]["field"], "id");
    for query in ["", "?wait=sealed"] {
        let new = format!("new{}", query.len());
        let body = [event(&new), other_content("1"), event("1")].join("\n");
        let answer = host.post(query, LINES, &body);
        assert_eq!(
            (answer.status, answer.problem()),
            (409, "conflict".to_owned()),
            "{query}"
        );
        let told = answer.json();
        assert_eq!(told["errors"].as_array().unwrap().len(), 1);
        assert_eq!(told["errors"][0]["line"], 2);
        let state = if query.is_empty() { "accepted" } else { "recorded" };
        let expected = json!([
            { "line": 1, "source": "/shop", "id": new, "state": state },
            { "line": 3, "source": "/shop", "id": "1", "state": "already_recorded" },
        ]);
        assert_eq!(told["events"], expected, "{query}");
    }
}

/// The fault: the good half of a request is recorded, and the service that mends and repeats it does not know.
#[test]
fn one_bad_event_and_nothing_is_taken() {
    let host = Host::new();
    let leaves = host.leaves();
    let bad = [
        event("2").replace("dpv:Marketing", "dpv:Marketin"),
        event("3").replace("customer-42", " customer-42"),
        event("4").replace("consent.given.v1", "consent.givn.v1"),
        "{\"id\":".to_owned(),
    ];
    let fields = ["data.purposes[0]", "subject", "type", ""];
    let body = format!("{}\n\n{}\n", event("1"), bad.join("\n"));
    let answer = host.post("?wait=sealed", LINES, &body);
    assert_eq!(
        (answer.status, answer.problem()),
        (422, "invalid-event".to_owned())
    );
    let told = answer.json();
    let errors = told["errors"].as_array().unwrap();
    assert_eq!(errors.len(), bad.len());
    for ((error, field), line) in errors.iter().zip(fields).zip(3..) {
        assert_eq!((&error["line"], &error["field"]), (&json!(line), &json!(field)));
        assert!(!error["reason"].as_str().unwrap().is_empty());
    }
    assert_eq!(told.get("events"), None);
    let array = format!("[{},{},{}]", event("1"), event("5"), bad[1]);
    let told = host.post("", BATCH, &array).json();
    assert_eq!(told["errors"][0]["position"], 2);
    assert_eq!(host.post("", ONE, &bad[0]).json()["errors"][0].get("line"), None);
    assert_eq!(host.leaves(), leaves);
    assert_eq!(host.post("", ONE, &event("1")).json()["accepted"], 1);
}

#[test]
fn what_is_no_request_of_events_is_told_apart() {
    let host = Host::new();
    let text = event("1");
    let good = text.as_str();
    let refused = [
        ("", "text/plain", good, "unsupported-media-type"),
        (
            "",
            "application/json; charset=latin1",
            good,
            "unsupported-media-type",
        ),
        (
            "",
            "application/x-www-form-urlencoded",
            good,
            "unsupported-media-type",
        ),
        ("", ONE, "", "bad-request"),
        ("", LINES, "\n \r\n", "bad-request"),
        ("", BATCH, good, "bad-request"),
        ("", ONE, "[]", "bad-request"),
        ("?wait=forever", ONE, good, "bad-request"),
        ("?wait=sealed&wait=sealed", ONE, good, "bad-request"),
        ("?async=1", ONE, good, "bad-request"),
        ("", ONE, "{}", "invalid-event"),
        ("", ONE, "null", "invalid-event"),
    ];
    for (query, media, body, kind) in refused {
        assert_eq!(
            host.post(query, media, body).problem(),
            kind,
            "{query} {media} {body}"
        );
    }
    let json = ("Content-Type", "application/json");
    let binary = host.post_with("", &[json, ("ce-id", "1"), ("ce-type", "x")], good);
    assert_eq!(binary.problem(), "bad-request");
    let none = host.post_with("", &[], good);
    assert_eq!(none.problem(), "unsupported-media-type");
    let zipped = host.post_with("", &[json, ("Content-Encoding", "gzip")], good);
    assert_eq!(zipped.problem(), "unsupported-media-type");
    let key = host.post_with("", &[json, ("Idempotency-Key", "a b")], good);
    assert_eq!(key.problem(), "bad-request");
    let other = host.ask("DELETE /v1/events", &[], "");
    assert_eq!((other.status, other.header("allow")), (405, Some("POST")));
}

#[test]
fn requests_have_a_size() {
    let limits = LimitSettings {
        body_bytes: 100_000,
        ..LimitSettings::default()
    };
    let host = Host::with(HttpSettings {
        limits,
        ..HttpSettings::default()
    });
    let long = host.post("", LINES, &"\n".repeat(100_001));
    assert_eq!((long.status, long.problem()), (413, "too-large".to_owned()));
    let many = format!("[{}]", vec!["1"; 1_025].join(","));
    assert_eq!(host.post("", BATCH, &many).problem(), "too-large");
    let content = event("1").replace("caf", &"x".repeat(70_000));
    assert_eq!(host.post("", ONE, &content).problem(), "invalid-event");
}

#[test]
fn so_many_receipts_come_in_one_answer() {
    let host = Host::new();
    let lines = |count: usize| {
        (0..count)
            .map(|n| event(&n.to_string()) + "\n")
            .collect::<String>()
    };
    assert_eq!(
        host.post("?wait=sealed", LINES, &lines(1_025)).problem(),
        "too-large"
    );
    let many = host.post("?wait=sealed", LINES, &lines(1_024));
    assert_eq!(
        (many.status, many.json()["recorded"].as_u64()),
        (200, Some(1_024))
    );
    let more = host.post("", LINES, &lines(1_500)).json();
    assert_eq!(
        (&more["accepted"], &more["already_recorded"]),
        (&json!(476), &json!(1_024))
    );
}

/// The fault: a service that asks again because the answer got lost is told something else than the first time.
#[test]
fn the_same_key_gets_the_same_answer() {
    let host = Host::new();
    let post = |key: &str, query: &str, body: &str| {
        host.post_with(query, &[("Content-Type", ONE), ("Idempotency-Key", key)], body)
    };
    let first = post("\"k-1\"", "", &event("1"));
    let again = post("k-1", "", &event("1"));
    assert_eq!((first.status, again.status), (202, 202));
    assert_eq!(first.body, again.body);
    assert_eq!(again.json()["events"][0]["state"], "accepted");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(first.header("idempotency-replayed"), None);
    for (query, body) in [("", event("2")), ("?wait=sealed", event("1"))] {
        assert_eq!(post("k-1", query, &body).problem(), "idempotency-key-reused");
    }
    let refused = post("k-2", "", "{}");
    let repeated = post("k-2", "", "{}");
    assert_eq!((refused.status, repeated.status), (422, 422));
    assert_eq!(refused.body, repeated.body);
    assert_eq!(repeated.header("content-type"), Some("application/problem+json"));
    assert_eq!(repeated.header("idempotency-replayed"), Some("true"));
}

/// The fault: a request whose sender went away keeps its key for ever, or is done twice.
#[test]
fn a_request_goes_on_when_its_sender_has_gone() {
    let host = Host::new();
    let bearer = format!("Bearer {}", host.token);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", ONE),
        ("Idempotency-Key", "gone"),
    ];
    let body = event("1");
    drop(send(
        host.server.address(),
        "POST /v1/events?wait=sealed",
        &headers,
        body.as_bytes(),
    ));
    let began = Instant::now();
    let answer = loop {
        let answer = host.ask("POST /v1/events?wait=sealed", &headers, &body);
        if answer.status != 409 {
            break answer;
        }
        assert_eq!(answer.problem(), "idempotency-key-in-use");
        assert!(began.elapsed() < Duration::from_secs(30), "it is never answered");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(answer.status, 200);
    assert_eq!(
        host.post("?wait=sealed", ONE, &body).json()["already_recorded"],
        1
    );
}

/// The fault: somebody who is no service records in a producer's name, or asks what a customer chose.
#[test]
fn nobody_but_a_service_may() {
    let tokens = Tokens::new();
    let host = Host::with(HttpSettings {
        oidc: Some(tokens.settings()),
        ..HttpSettings::default()
    });
    let leaves = host.leaves();
    let stolen = format!("st_{}", "A".repeat(43));
    let (customer, officer) = (tokens.customer(CUSTOMER), tokens.officer());
    let revoked = ServiceTokens::add(host.ledger.root(), &name(SHOP), "old").unwrap();
    ServiceTokens::revoke(host.ledger.root(), "old").unwrap();
    let shown = [
        (None, 401),
        (Some(format!("Bearer {stolen}")), 401),
        (Some(format!("Bearer {revoked}")), 401),
        (Some(format!("Basic {}", host.token)), 401),
        (Some("Bearer".to_owned()), 401),
        (Some(format!("Bearer {customer}x")), 401),
        (Some(format!("Bearer {customer}")), 403),
        (Some(format!("Bearer {officer}")), 403),
    ];
    for (authorization, status) in &shown {
        for path in ["/v1/events", "/v1/events?wait=sealed", "/v1/authorize"] {
            let mut headers = vec![("Content-Type", "application/json")];
            headers.extend(
                authorization
                    .iter()
                    .map(|value| ("Authorization", value.as_str())),
            );
            let answer = host.ask(&format!("POST {path}"), &headers, &event("1"));
            assert_eq!(answer.status, *status, "{path}: {authorization:?}");
            let kind = if *status == 401 {
                "unauthenticated"
            } else {
                "forbidden"
            };
            assert_eq!(answer.problem(), kind);
            assert_eq!(answer.header("www-authenticate").is_some(), *status == 401);
        }
    }
    assert_eq!(host.leaves(), leaves);
    let me = format!("Bearer {}", host.token);
    for path in ["/v1/me/trail", "/v1/officer/findings"] {
        let answer = host.ask(&format!("GET {path}"), &[("Authorization", &me)], "");
        assert_eq!(
            (answer.status, answer.problem()),
            (403, "forbidden".to_owned()),
            "{path}"
        );
    }
}

/// The fault: a token of one producer signs as another.
#[test]
fn a_service_records_for_its_own_producer_alone() {
    let host = Host::new();
    let token = ServiceTokens::add(host.ledger.root(), &name("mail.example"), "mail").unwrap();
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", ONE)];
    let answer = host.ask("POST /v1/events", &headers, &event("1"));
    assert_eq!((answer.status, answer.problem()), (403, "forbidden".to_owned()));
}

/// The fault: a withdrawal does not stop the next share, or a yes is given that nobody consented to.
#[test]
fn a_service_asks_before_it_shares() {
    let host = Host::new();
    let asked = json!({
        "customer": CUSTOMER,
        "recipient": HOUSE,
        "purpose": "dpv:Marketing",
        "categories": ["pd:Name"],
    });
    let decided = |asked: &Value| {
        let answer = host.authorize(asked);
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
        answer.json()
    };
    assert_eq!(
        (&decided(&asked)["allowed"], &decided(&asked)["reason"]),
        (&json!(false), &json!("no_consent"))
    );
    let record = |body: &str| {
        let told = host.post("?wait=sealed", ONE, body).json();
        let index = told["events"][0]["index"].as_u64().unwrap();
        host.shelf.cover(0, LeafIndex(index)).unwrap();
        index
    };
    let given = record(&event("consent"));
    let yes = decided(&asked);
    assert_eq!(
        (&yes["allowed"], &yes["reason"]),
        (&json!(true), &json!("consented"))
    );
    assert!(yes["current_to"].as_u64().unwrap() > given);
    let mut other = asked.clone();
    other["purpose"] = json!("https://w3id.org/dpv#DirectMarketing");
    assert_eq!(decided(&other)["allowed"], json!(false));
    let withdrawal = event("withdrawal")
        .replace("consent.given.v1", "consent.withdrawn.v1")
        .replace(r#""purposes":["dpv:Marketing"]"#, r#""consent":"consent""#)
        .replace("T12:00", "T13:00");
    record(&withdrawal);
    let no = decided(&asked);
    assert_eq!(
        (&no["allowed"], &no["reason"]),
        (&json!(false), &json!("withdrawn"))
    );
    let mut bad = asked.clone();
    bad["purpose"] = json!("marketing");
    let answer = host.authorize(&bad);
    assert_eq!(answer.problem(), "bad-request");
    assert_eq!(answer.json()["errors"][0]["field"], "purpose");
    bad["who"] = json!("me");
    assert_eq!(host.authorize(&bad).problem(), "bad-request");
}

/// The fault: an event that was accepted and not waited for is not on record in the end.
#[test]
fn what_is_accepted_comes_to_be_on_record() {
    let host = Host::new();
    let ids: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    let lines: String = ids.iter().map(|id| event(id) + "\n").collect();
    assert_eq!(host.post("", LINES, &lines).json()["accepted"], 50);
    let sealed = host.post("?wait=sealed", LINES, &lines).json();
    assert_eq!(sealed["already_recorded"], 50);
    host.hands.map();
    let projections = host.shelf.projections().unwrap();
    let vault = host.ledger.vault().unwrap();
    let trail = sharetrail_consumers::trail(&host.ledger, &projections, &vault, CUSTOMER).unwrap();
    assert_eq!(trail.events.len(), 50);
}
