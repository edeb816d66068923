//! Backups put back on a ledger's only host, as `docs/operations.md` says: the ledger's folder and, apart from it, the
//! folder outside.
//!
//! In scope: what is refused before they are back, and that nothing is missing after. Out of scope: hosts that are brought
//! level by another one ([`crate::hosts`]).

use std::collections::{BTreeMap, HashSet};
use std::fs;

use serde_json::Value;

use crate::bus::{copy_folder, registered};
use crate::count::each_once;
use crate::process::wait_for;
use crate::site::{Host, Site};
use crate::support::loyalty::{Event, events, lines};
use crate::support::{list, text_of};
use crate::traffic::tell_again;
use crate::watch::Watch;

const SHARDS: u32 = 2;

/// Asserts that the trail of each customer opens these events, and holds no other.
#[track_caller]
fn opens_all(host: &Host, events: &[Event]) {
    let mut expected: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    for event in events {
        let name = (event.source.as_str(), event.id.as_str());
        expected.entry(&event.customer).or_default().push(name);
    }
    for (customer, mut names) in expected {
        let trail = host.run(&["trail", customer]).exits(0).json();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let name = |event: &Value| (text(&event["source"]), text(&event["id"]));
        let mut found: Vec<(String, String)> = list(&trail["events"]).iter().map(name).collect();
        found.sort_unstable();
        names.sort_unstable();
        let found: Vec<(&str, &str)> = found.iter().map(|(source, id)| (&**source, &**id)).collect();
        assert_eq!(found, names, "{customer}");
        assert!(list(&trail["unopened"]).is_empty(), "{customer}: {trail}");
    }
}

/// What each shard has published.
fn checkpoints(host: &Host) -> Vec<Vec<u8>> {
    let read = |shard| fs::read(host.root.join(format!("log/{shard}/checkpoint")));
    let all: Result<Vec<_>, _> = (0..SHARDS).map(read).collect();
    all.expect("every shard has a checkpoint")
}

/// Messages in the streams of all shards.
fn messages(site: &Site) -> u64 {
    (0..SHARDS).map(|shard| site.last_in_stream(shard)).sum()
}

/// The fault: an empty vault in the place of a lost one, and second keys for customers who have one.
#[test]
fn nats_server_a_lost_vault_is_refused_until_a_backup_brings_its_keys_back() {
    let site = Site::new(1, SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let producer = site.enrol(&host, "till");
    let watch = Watch::start(&[&host], SHARDS);
    // Ordered by time: the first half has every customer's enrolment.
    let all = events(12, 20);
    let (before, after) = all.split_at(all.len() / 2);
    producer.record_all(before);
    serve.stop();
    let backup = site.path("backup");
    copy_folder(&host.root, &backup);
    let customers = || host.ledger().vault().expect("there is a vault").customers();
    assert_eq!(customers(), 12);

    let slots = host.root.join("vault/slots");
    fs::remove_file(&slots).expect("there is a vault");
    let refused = host.serve_in_vain().exits(2);
    assert!(refused.stdout.is_empty() && refused.error().contains(&text_of(&slots)));
    assert!(!slots.exists(), "an empty vault lies in its place");

    let from = text_of(&backup);
    let restored = host.run(&["restore", "--from", &from]).exits(0).json();
    assert_eq!(restored["complete"], true, "{restored}");
    assert_eq!(restored["keys_brought_back"], 12, "{restored}");
    for shard in list(&restored["shards"]) {
        assert_eq!(shard["now"], shard["had"], "{shard}");
        assert_eq!(shard["unreadable_events"], 0, "{shard}");
    }
    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    let while_serving = host.run(&["restore", "--from", &from]).exits(2);
    assert!(while_serving.stdout.is_empty() && !while_serving.error().is_empty());
    opens_all(&host, before);
    producer.record_all(after);
    assert_eq!(customers(), 12);
    opens_all(&host, &all);
    let recorded = [(producer.name(), all)];
    tell_again(&[producer], &recorded);
    each_once("a lost vault", &host, &recorded);
    watch.all_lead_to(&host.ledger());
    serve.stop();
}

/// The fault: with its only host, all that was sealed since the backup is lost, or what was accepted and not sealed yet;
/// or the backup signs a second history.
#[test]
fn nats_server_an_old_backup_of_the_only_host_signs_nothing_before_it_is_level() {
    let site = Site::new(1, SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let producer = site.enrol(&host, "till");
    let watch = Watch::start(&[&host], SHARDS);
    let all = events(20, 40);
    let (before, later) = all.split_at(200);
    let (sealed, waiting) = later.split_at(300);
    producer.record_all(before);
    serve.stop();
    let backup = site.path("backup");
    copy_folder(&host.root, &backup);
    let old = host.leaves();

    let mut serve = host.serve(&[]);
    producer.record_all(sealed);
    // Customers whom this run has met: for others it would have to ask the host that is to sleep.
    let mut met = HashSet::new();
    let (known, unsealed): (Vec<Event>, Vec<Event>) = waiting
        .iter()
        .cloned()
        .partition(|event| met.insert(event.customer.clone()));
    let mut recorder = producer.start_fed();
    recorder.feed(&lines(&known));
    let due = before.len() + sealed.len() + known.len();
    wait_for(
        "what was fed is in the log",
        || recorder.tail(),
        || (host.status()["events"] == due).then_some(()),
    );
    let sequenced = messages(&site);
    serve.process.pause();
    recorder.feed(&lines(&unsealed));
    wait_for(
        "something was accepted",
        || recorder.tail(),
        || (messages(&site) > sequenced).then_some(()),
    );
    serve.process.kill();
    let signed = host.leaves();
    assert!(old.iter().zip(&signed).all(|(old, signed)| old < signed));
    fs::remove_dir_all(&host.root).expect("the folder can be removed");
    copy_folder(&backup, &host.root);

    nothing_is_signed(&host, &old, &signed, &unsealed);
    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    let now = host.leaves();
    assert!(
        now.iter().zip(&signed).all(|(now, signed)| now >= signed),
        "{now:?}, {signed:?}"
    );
    let summary = recorder.wait().exits(0).json();
    assert_eq!(summary["recorded"], waiting.len(), "{summary}");
    opens_all(&host, &all);
    let recorded = [(producer.name(), all)];
    tell_again(&[producer], &recorded);
    each_once("an old backup of the only host", &host, &recorded);
    watch.all_lead_to(&host.ledger());
    serve.stop();
    for shard in list(&host.status()["shards"]) {
        assert!(list(&shard["problems"]).is_empty(), "{shard}");
    }
}

/// Asserts that a folder which is older than what was signed refuses to go on, says what it lacks, and changes nothing.
#[track_caller]
fn nothing_is_signed(host: &Host, old: &[u64], signed: &[u64], events: &[Event]) {
    let state = || {
        let register: Vec<_> = (0..SHARDS).map(|shard| registered(host, shard)).collect();
        (checkpoints(host), register)
    };
    let before = state();
    assert!(!host.record(events).exits(1).error().is_empty());
    let told = host.run(&["restore"]).exits(1).json();
    assert_eq!(told["complete"], false, "{told}");
    for (shard, (&old, &signed)) in list(&told["shards"]).iter().zip(old.iter().zip(signed)) {
        assert_eq!(shard["missing"][0], old, "{shard}");
        assert!(shard["missing"][1].as_u64() >= Some(signed), "{shard}");
        assert_eq!(shard["now"], old, "{shard}");
    }
    assert!(state() == before, "something was signed or registered");
    for shard in list(&host.status()["shards"]) {
        assert!(!list(&shard["problems"]).is_empty(), "nobody is told: {shard}");
    }
}

/// The fault: without the folder outside nothing opens; with an old one, an old ledger's folder passes for the present.
#[test]
fn nats_server_a_lost_outside_folder_is_refused_until_its_backup_is_back() {
    let site = Site::new(1, SHARDS);
    let host = site.init();
    let mut serve = host.serve(&[]);
    let producer = site.enrol(&host, "till");
    let watch = Watch::start(&[&host], SHARDS);
    let all = events(12, 30);
    let parts: Vec<&[Event]> = all.chunks(all.len() / 3).collect();
    producer.record_all(parts[0]);
    serve.stop();
    let backup = site.path("outside-backup");
    copy_folder(&host.home, &backup);
    serve = host.serve(&[]);
    producer.record_all(parts[1]);
    serve.stop();
    let kek = host.ledger().outside().expect("there is one").join("vault.kek");
    fs::remove_dir_all(&host.home).expect("the folder can be removed");
    let refused = host.serve_in_vain().exits(2);
    assert!(refused.stdout.is_empty() && refused.error().contains(&text_of(&kek)));
    assert!(!kek.exists(), "another key lies in its place");

    // It knows an older checkpoint than the ledger's folder, which is no reason to refuse.
    copy_folder(&backup, &host.home);
    let older = site.path("older-ledger");
    copy_folder(&host.root, &older);
    serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    opens_all(&host, &all[..parts[0].len() + parts[1].len()]);
    producer.record_all(parts[2]);
    serve.stop();

    // From then on it knows again what was signed.
    let (present, signed) = (site.path("present-ledger"), checkpoints(&host));
    fs::rename(&host.root, &present).expect("the folder can be moved");
    copy_folder(&older, &host.root);
    assert!(!host.record(parts[2]).exits(1).error().is_empty());
    fs::remove_dir_all(&host.root).expect("the folder can be removed");
    fs::rename(&present, &host.root).expect("the folder can be moved");
    assert_eq!(checkpoints(&host), signed);

    serve = host.serve(&[]);
    opens_all(&host, &all);
    let recorded = [(producer.name(), all)];
    tell_again(&[producer], &recorded);
    each_once("a lost outside folder", &host, &recorded);
    watch.all_lead_to(&host.ledger());
    serve.stop();
}
