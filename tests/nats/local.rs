//! A ledger on one server: making it, using it in its folder with nobody serving, reading its state.

use std::fs;

use serde_json::Value;

use crate::count::each_once;
use crate::site::{Host, Site, besides_the_place};
use crate::support::loyalty::{customer, events};
use crate::support::{LEDGER, Run, bare, list, run, text_of};

#[track_caller]
fn init(host: &Host, arguments: &[String], more: &[&str]) -> Run {
    let arguments: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    host.run(&arguments)
}

/// Whether the servers' stores lie where files of a moment do, which is a risk of its own.
fn lies_in_passing() -> bool {
    let place = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    ["/tmp", "/var/tmp", "/dev/shm", "/run"]
        .iter()
        .any(|one| place.starts_with(one))
}

/// The fault: a server that acknowledges what is not on its disk is taken without a word, and so is one that nobody could
/// look at.
#[test]
fn nats_server_that_may_lose_data_is_taken_only_where_the_risk_is_accepted() {
    let site = Site::careless(1);
    let host = site.host("host-a");
    let arguments = site.init_arguments(&host);
    let refused = init(&host, &arguments, &[]).exits(2);
    assert!(!refused.error().is_empty() && refused.stdout.is_empty());
    assert!(!host.root.join("ledger.toml").exists());
    let made = init(&host, &arguments, &["--accept-risk"]).exits(0).json();
    assert_eq!(made["ledger"], LEDGER);
    assert_eq!(besides_the_place(&made["notices"]).len(), 1, "{made}");
    assert_eq!(besides_the_place(&host.status()["bus"]["risks"]).len(), 1);

    let unseen = site.host("host-b");
    let (url, other) = (site.cluster.url(), "other.example");
    let made = unseen.run(&["init", other, "--bus", &url]).exits(0).json();
    assert_eq!(
        (&made["ledger"], list(&made["notices"]).len()),
        (&Value::from(other), 1)
    );
    let status = unseen.status();
    assert!(status["bus"]["cannot_check"].is_string(), "{status}");
    assert!(
        status["shards"][0]["lease"]["cannot_check"].is_string(),
        "{status}"
    );
}

/// The fault: a second ledger of the same name writes into the streams of the first.
#[test]
fn nats_server_with_a_ledger_of_that_name_is_left_alone() {
    let site = Site::new(1, 1);
    let host = site.host("host-a");
    let arguments = site.init_arguments(&host);
    let more: &[&str] = if lies_in_passing() {
        &["--accept-risk"]
    } else {
        &[]
    };
    let made = init(&host, &arguments, more).exits(0).json();
    assert!(besides_the_place(&made["notices"]).is_empty(), "{made}");
    let second = site.host("host-b");
    let refused = init(&second, &site.init_arguments(&second), &[]).exits(2);
    assert!(!refused.error().is_empty());
    assert!(!second.root.join("ledger.toml").exists());
}

#[test]
fn nats_server_and_one_folder_are_a_ledger_with_nobody_serving() {
    let site = Site::new(1, 2);
    let host = site.init();
    let all = events(12, 20);
    let summary = host.record(&all).exits(0).json();
    assert_eq!(
        (&summary["lines"], &summary["recorded"]),
        (&Value::from(240), &Value::from(240))
    );
    let again = host.record(&all).exits(0).json();
    assert_eq!(
        (&again["recorded"], &again["skipped"]),
        (&Value::from(0), &Value::from(240))
    );
    let own = host.ledger().settings().default_producer.clone();
    each_once("recorded in the folder", &host, &[(own, all)]);
    state_is_told(&site, &host);
    let name = customer(3);
    let trail = host.run(&["trail", &name]).exits(0).json();
    assert_eq!(list(&trail["events"]).len(), 20);
    assert!(list(&trail["unopened"]).is_empty());
    dossier_verifies(&site, &host, &name, 20);
}

fn state_is_told(site: &Site, host: &Host) {
    let status = host.status();
    assert_eq!(
        (&status["events"], &status["held"]),
        (&Value::from(240), &Value::from(false))
    );
    let bus = &status["bus"];
    assert_eq!(
        (&bus["url"], &bus["host"]),
        (&Value::from(site.cluster.url()), &Value::from("host-a"))
    );
    assert!(
        bus["unreachable"].is_null() && bus["cannot_check"].is_null(),
        "{bus}"
    );
    assert!(besides_the_place(&bus["risks"]).is_empty(), "{bus}");
    let shards = list(&status["shards"]);
    assert_eq!(shards.len(), 2);
    for shard in shards {
        let messages = shard["stream_messages"].as_u64().expect("a number");
        assert!(messages > 0 && shard["waiting"] == 0, "{shard}");
        assert!(
            list(&shard["incidents"]).is_empty() && list(&shard["problems"]).is_empty(),
            "{shard}"
        );
        assert!(!list(&shard["chains"]).is_empty(), "{shard}");
        let lease = &shard["lease"];
        assert!(
            lease["holder"].is_null() && lease["cannot_check"].is_null(),
            "{lease}"
        );
        assert_eq!(lease["leaves"], shard["leaves"]);
        let replica = &list(&lease["replicas"])[0];
        assert!(replica["first"] == 1 && replica["deleted"] == 0, "{replica}");
        assert!(
            replica["messages"] == messages && replica["last"] == messages,
            "{replica}"
        );
    }
}

/// Writes a customer's dossier and has somebody check it who has only that and the policy.
#[track_caller]
pub(crate) fn dossier_verifies(site: &Site, host: &Host, name: &str, count: usize) {
    let folder = site.path(&format!("third-{name}"));
    fs::create_dir(&folder).expect("a folder can be made");
    fs::copy(host.root.join("policy"), folder.join("policy")).expect("there is a policy");
    let file = text_of(&folder.join("customer.dossier"));
    host.run(&["dossier", name, "-o", &file]).exits(0);
    let arguments = ["verify", "customer.dossier", "--policy", "policy"];
    let verdict = run(bare(&folder).args(arguments)).exits(0).json();
    assert_eq!(verdict["customer"], name);
    assert_eq!(list(&verdict["events"]).len(), count, "{name}");
}
