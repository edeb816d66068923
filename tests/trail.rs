//! `trail`, `status`, `rebuild`: a customer sees every event with every field, and the same whatever it is read from.

use std::io::Write;

use crate::support::loyalty::{
    EARLY, ENROLLED, Event, customer, events, has_redeemed, lines, was_mailed_early,
};
use crate::support::{LEDGER, Run, World, list};
use serde_json::{Value, json};

/// Fields that a trail shows as the content has them.
const PLAIN: [&str; 10] = [
    "categories",
    "purposes",
    "legal_basis",
    "origin",
    "notice",
    "description",
    "benefit",
    "country",
    "safeguard",
    "sale",
];

/// What this event's content says, as JSON.
fn content(event: &Value) -> Value {
    let text = event["content"].as_str().expect("a content is a text");
    serde_json::from_str(text).expect("a content is JSON")
}

/// The events of one customer.
fn of<'a>(customer: &str, events: &'a [Event]) -> Vec<&'a Event> {
    events.iter().filter(|event| event.customer == customer).collect()
}

#[test]
fn a_trail_has_every_field_of_every_event() {
    let world = World::with_ledger(2);
    let all = events(15, 20);
    world.record(&all).exits(0);
    // Every kind of event there is: this household was mailed to twice, and redeemed a coupon.
    let household = customer(15);
    let trail = world.trail(&household);
    let (shown, recorded) = (list(&trail["events"]), of(&household, &all));
    assert_eq!(trail["customer"], household);
    assert_eq!(shown.len(), recorded.len());
    assert_eq!(list(&trail["generations"]).len(), 1);
    assert_eq!(trail["generations"][0]["events"], recorded.len());
    for (event, expected) in shown.iter().zip(recorded) {
        shows(event, expected);
        assert_eq!(event["shard"], trail["generations"][0]["shard"]);
    }
    let mut places: Vec<u64> = shown.iter().filter_map(|event| event["index"].as_u64()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), shown.len());
}

fn shows(event: &Value, expected: &Event) {
    assert_eq!(event["content"], expected.line);
    assert_eq!(event["source"], expected.source);
    assert_eq!(event["id"], expected.id);
    assert_eq!(event["time"], expected.time);
    assert_eq!(event["producer"], LEDGER);
    assert_eq!(event["failed"], false);
    let content = content(event);
    let kind = event["kind"].as_str().expect("a kind is a text");
    assert_eq!(content["type"], format!("org.sharetrail.{kind}.v1"));
    let data = &content["data"];
    for field in PLAIN {
        assert_eq!(event[field], data[field], "{field} of {}", expected.id);
    }
    assert_eq!(event["method"], data["method"]);
    assert_eq!(event["consent"]["id"], data["consent"]);
    for member in ["id", "name", "role", "country", "contact"] {
        assert_eq!(event["recipient"][member], data["recipient"][member]);
    }
}

#[test]
fn what_was_shared_before_the_consent_is_a_finding() {
    let world = World::with_ledger(1);
    let all = events(4, 8);
    world.record(&all).exits(0);
    for household in 1..=4 {
        let trail = world.trail(&customer(household));
        let found: Vec<(&Value, &Value)> = list(&trail["events"])
            .iter()
            .flat_map(|event| {
                list(&event["findings"])
                    .iter()
                    .map(move |finding| (&event["time"], finding))
            })
            .collect();
        let finding = json!({ "finding": "before_consent", "given": ENROLLED });
        let time = json!(EARLY);
        let expected: Vec<(&Value, &Value)> = if was_mailed_early(household) {
            vec![(&time, &finding)]
        } else {
            Vec::new()
        };
        assert_eq!(found, expected, "household {household}");
    }
}

#[test]
fn people_see_who_received_what_and_what_was_wrong() {
    let world = World::with_ledger(1);
    world.record(&events(15, 8)).exits(0);
    let both = world.text(&["trail", &customer(15)]).exits(0).stdout;
    assert!(was_mailed_early(15) && has_redeemed(15));
    for word in [
        "Campaign mail house A",
        "Campaign mail house C",
        "Coupon clearing house",
        "2016-11-14",
        "IE",
        "0.90 off",
    ] {
        assert!(both.contains(word), "{word} is missing:\n{both}");
    }
    let one = world.text(&["trail", &customer(1)]).exits(0).stdout;
    assert!(one.contains("Campaign mail house A"), "{one}");
    assert!(!one.contains("Campaign mail house C"), "{one}");
    let marks = |page: &str| page.matches('✗').count();
    assert!(marks(&both) > 0, "{both}");
    assert_eq!(marks(&one), 0, "{one}");
}

#[test]
fn of_an_unknown_customer_there_is_nothing() {
    let world = World::with_ledger(1);
    world.record(&events(2, 4)).exits(0);
    let trail = world.trail("household-3000");
    assert!(list(&trail["events"]).is_empty() && list(&trail["unopened"]).is_empty());
    assert!(list(&trail["generations"]).is_empty());
}

#[test]
fn the_status_counts_what_is_on_record() {
    let world = World::with_ledger(3);
    assert_eq!(world.status()["events"], 0);
    let all = events(9, 12);
    world.record(&all).exits(0);
    let status = world.status();
    assert_eq!(status["ledger"], LEDGER);
    assert_eq!(status["events"], all.len());
    assert_eq!(status["held"], false);
    let shards = list(&status["shards"]);
    assert_eq!(shards.len(), 3);
    let sum = |field: &str| -> u64 { shards.iter().filter_map(|shard| shard[field].as_u64()).sum() };
    assert_eq!(sum("events"), all.len() as u64);
    assert_eq!((sum("waiting"), sum("rejected")), (0, 0));
    for shard in shards {
        assert!(list(&shard["problems"]).is_empty(), "{shard}");
        assert!(shard["leaves"].as_u64() > shard["events"].as_u64(), "{shard}");
        assert!(shard["map"].is_null(), "{shard}");
    }
    world.text(&["status"]).exits(0);
    world.trail(&customer(1));
    for shard in list(&world.status()["shards"]) {
        assert_eq!(shard["map"]["covered"], shard["leaves"], "{shard}");
        assert!(list(&shard["map"]["problems"]).is_empty(), "{shard}");
    }
    world.text(&["status"]).exits(0);
}

#[test]
fn a_trail_is_the_same_to_the_byte_after_a_rebuild_with_either_store() {
    let world = World::with_ledger(2);
    let all = events(6, 15);
    world.record(&all).exits(0);
    let trails = || {
        let trail = |household| world.run(&["trail", &customer(household)]).exits(0).stdout;
        (1..=6).map(trail).collect::<Vec<String>>()
    };
    let before = trails();
    for store in ["fjall", "sled", "fjall"] {
        let rebuilt = world.run(&["rebuild", "--store", store]).exits(0).json();
        assert_eq!(rebuilt["store"], store);
        let maps = list(&rebuilt["maps"]);
        assert_eq!(maps.len(), 2);
        assert!(maps.iter().all(|map| map["leaves"].as_u64() > Some(0)));
        assert_eq!(trails(), before, "{store}");
    }
    std::fs::remove_dir_all(world.ledger().join("projections")).expect("projections can be deleted");
    assert_eq!(trails(), before, "deleted");
    world.run(&["rebuild", "--store", "paper"]).exits(2);
}

#[test]
fn a_trail_can_be_read_while_events_are_recorded() {
    let world = World::with_ledger(1);
    let all = events(10, 300);
    let mut recorder = world.recorder();
    let mut input = recorder.stdin.take().expect("its input is a pipe");
    input
        .write_all(lines(&all).as_bytes())
        .expect("it reads its input");
    // The input stays open: it waits for more events, and holds the ledger.
    world.wait_until(|| world.status()["events"].as_u64() > Some(0));
    assert_eq!(world.status()["held_by"], recorder.id());
    for household in [1, 3, 10] {
        let trail = world.trail(&customer(household));
        let recorded = of(&customer(household), &all);
        let shown = list(&trail["events"]);
        assert!(!shown.is_empty() && shown.len() <= recorded.len());
        for (event, expected) in shown.iter().zip(recorded) {
            shows(event, expected);
        }
    }
    drop(input);
    let summary = Run::of(&recorder.wait_with_output().expect("it ends"))
        .exits(0)
        .json();
    assert_eq!(summary["recorded"], all.len());
    world.holds_each_once(&all);
}
