//! A year of a loyalty programme, made up: ten thousand events on four shards, and every count is right.

use std::fs;

use crate::support::loyalty::{customer, events, has_redeemed, was_mailed_early};
use crate::support::{World, bare, list, run, text_of};

const HOUSEHOLDS: usize = 400;
const EACH: usize = 25;
const SHARDS: u32 = 4;

#[test]
fn ten_thousand_events_are_all_there_and_proven() {
    let world = World::with_ledger(SHARDS);
    let all = events(HOUSEHOLDS, EACH);
    let summary = world.record(&all).exits(0).json();
    assert_eq!(summary["recorded"], HOUSEHOLDS * EACH);
    assert!(list(&summary["refused"]).is_empty());
    let status = world.status();
    assert_eq!(status["events"], all.len());
    let shards = list(&status["shards"]);
    for shard in shards {
        assert!(
            shard["events"].as_u64() > Some(0),
            "a shard without a customer: {shard}"
        );
    }
    let sum: u64 = shards.iter().filter_map(|shard| shard["events"].as_u64()).sum();
    assert_eq!(sum, all.len() as u64);
    for household in (1..=HOUSEHOLDS).step_by(21) {
        counts_are_right(&world, household);
    }
    for household in (100..=HOUSEHOLDS).step_by(100) {
        dossier_verifies(&world, household);
    }
}

fn counts_are_right(world: &World, household: usize) {
    let trail = world.trail(&customer(household));
    let shown = list(&trail["events"]);
    let count = |kind: &str| shown.iter().filter(|event| event["kind"] == kind).count();
    let (early, redeemed) = (
        usize::from(was_mailed_early(household)),
        usize::from(has_redeemed(household)),
    );
    assert_eq!(count("consent.given"), 1);
    assert_eq!(count("data.shared"), 1 + early);
    assert_eq!(count("data.transferred"), redeemed);
    assert_eq!(count("data.collected"), EACH - 2 - early - redeemed);
    let findings: usize = shown.iter().map(|event| list(&event["findings"]).len()).sum();
    assert_eq!(findings, early);
    assert!(list(&trail["unopened"]).is_empty());
}

fn dossier_verifies(world: &World, household: usize) {
    let (folder, name) = (world.path(&format!("third-{household}")), customer(household));
    fs::create_dir(&folder).expect("a folder can be made");
    fs::copy(world.ledger().join("policy"), folder.join("policy")).expect("there is a policy");
    let file = text_of(&folder.join("customer.dossier"));
    world.run(&["dossier", &name, "-o", &file]).exits(0);
    let arguments = ["verify", "customer.dossier", "--policy", "policy"];
    let verdict = run(bare(&folder).args(arguments)).exits(0).json();
    assert_eq!(verdict["customer"], name);
    assert_eq!(list(&verdict["events"]).len(), EACH);
}
