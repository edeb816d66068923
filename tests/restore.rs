//! `restore`: an old backup is refused, what it lacks is named, and a newer copy brings it back.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::loyalty::events;
use crate::support::{World, list, run, text_of};

/// Copies a folder with its modes, as a backup does.
fn copy(from: &Path, to: &Path) {
    let copied = run(Command::new("cp").arg("-a").args([from, to]));
    assert_eq!(copied.code, Some(0), "{copied:#?}");
}

#[test]
fn an_old_backup_is_refused_until_the_rest_is_back() {
    let world = World::with_ledger(2);
    let all = events(8, 60);
    let (ledger, old, newer) = (world.ledger(), world.path("old"), world.path("newer"));
    world.record(&all[..200]).exits(0);
    copy(&ledger, &old);
    world.record(&all[..400]).exits(0);
    copy(&ledger, &newer);
    fs::remove_dir_all(&ledger).expect("the ledger is there");
    fs::rename(&old, &ledger).expect("the backup is there");

    assert!(!world.record(&all).exits(1).error().is_empty());
    let told = world.run(&["restore"]).exits(1).json();
    assert_eq!(told["complete"], false);
    let missing = list(&told["shards"])
        .iter()
        .filter(|shard| !shard["missing"].is_null());
    assert!(missing.count() > 0, "{told}");
    assert!(!world.record(&all).exits(1).error().is_empty());

    let restored = world
        .run(&["restore", "--from", &text_of(&newer)])
        .exits(0)
        .json();
    assert_eq!(restored["complete"], true);
    let back: u64 = list(&restored["shards"])
        .iter()
        .filter_map(|shard| shard["events_brought_back"].as_u64())
        .sum();
    assert_eq!(back, 200);
    for shard in list(&restored["shards"]) {
        assert_eq!(shard["now"], shard["known"]);
        assert_eq!(shard["unreadable_events"], 0);
    }
    let summary = world.record(&all).exits(0).json();
    assert_eq!(summary["skipped"], 400);
    assert_eq!(summary["recorded"], all.len() - 400);
    world.holds_each_once(&all);
}

#[test]
fn a_copy_of_another_ledger_brings_nothing_back() {
    let (world, other) = (World::with_ledger(1), World::with_ledger(1));
    world.record(&events(2, 4)).exits(0);
    let from = text_of(&other.ledger());
    assert!(
        !world
            .run(&["restore", "--from", &from])
            .exits(2)
            .error()
            .is_empty()
    );
    world.holds_each_once(&events(2, 4));
}

#[test]
fn a_whole_ledger_has_nothing_to_restore() {
    let world = World::with_ledger(1);
    let all = events(3, 10);
    world.record(&all[..20]).exits(0);
    let restored = world.run(&["restore"]).exits(0).json();
    assert_eq!(restored["complete"], true);
    assert_eq!(restored["shards"][0]["now"], restored["shards"][0]["had"]);
    world.record(&all).exits(0);
    world.holds_each_once(&all);
}
