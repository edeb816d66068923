//! What an operator commands while hosts are at work: given in a ledger's folder, carried out by the host that leads.
//!
//! In scope: what each command leaves in the log, in folders and on the bus. Out of scope: commands where nobody serves
//! ([`crate::local`]).

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use serde_json::{Deserializer, Value};
use sharetrail_ledger::wire::Control;
use sharetrail_proof::entry::{Entry, RegistryAction};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Name;

use crate::bus::users_in;
use crate::count::each_once;
use crate::process::wait_for;
use crate::site::{Host, Serve, Site, stream};
use crate::support::loyalty::events;
use crate::support::{Run, list, text_of};
use crate::traffic::{deal, tell_again};
use crate::watch::{Watch, become_the_same};

const SHARDS: u32 = 2;

/// What the log says of a party, which every shard must say in the same words.
#[track_caller]
fn on_record(host: &Host, party: &str) -> Vec<RegistryAction> {
    let ledger = host.ledger();
    let of_shard = |shard| {
        let mut found = Vec::new();
        let visit = &mut |_: LeafIndex, entry: &[u8], _: &[u8]| {
            if let Ok(Entry::Registry(entry)) = Entry::parse(entry)
                && entry.record.party.as_str() == party
            {
                found.push(entry.record.action.clone());
            }
            ControlFlow::Continue(())
        };
        let reader = ledger.reader(shard).expect("the shard has an archive");
        reader.scan(LeafIndex(0), visit).expect("the archive can be read");
        found
    };
    let first = of_shard(0);
    for shard in 1..SHARDS {
        assert_eq!(of_shard(shard), first, "shard {shard}");
    }
    first
}

/// How many keys a producer ever had, and the one that is valid now, whose private half must lie in the folder.
#[track_caller]
fn keys(host: &Host, producer: &str) -> (usize, Option<String>) {
    let all = host.run(&["keys", "list"]).exits(0).json();
    let own: Vec<&Value> = list(&all).iter().filter(|key| key["party"] == producer).collect();
    let valid: Vec<&&Value> = own.iter().filter(|key| key["until"].is_null()).collect();
    assert!(valid.len() < 2, "{producer} has several valid keys: {all}");
    let key = valid.first().map(|key| {
        assert_eq!(key["private_here"], true, "{all}");
        key["key"].as_str().expect("a key is a text").to_owned()
    });
    (own.len(), key)
}

/// Waits until a host has said that it carried a command out.
#[track_caller]
fn carries_out(serve: &Serve, command: &Control) {
    let told = command.told();
    let is_told = || serve.process.stderr().contains(&told).then_some(());
    wait_for(&told, || serve.process.tail(), is_told);
}

/// The documents of JSON that a command answered with.
fn documents(run: &Run) -> Vec<Value> {
    let read = Deserializer::from_str(&run.stdout).into_iter::<Value>();
    read.collect::<Result<_, _>>().expect("it answers in JSON")
}

/// The fault: a command that is lost, that is on record in one shard only, or that two hosts carry out.
#[test]
fn nats_server_host_that_leads_carries_out_what_is_commanded_beside_it() {
    let site = Site::new(1, SHARDS);
    let first = site.init();
    let second = site.another_host(&first, "host-b");
    let leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let following = second.serve(&[&leading.url]);
    let watch = Watch::start(&[&first, &second], SHARDS);
    let hands = deal(&events(12, 40), 5);
    let own = first.ledger().settings().default_producer.clone();
    let mailer = Name::new("mailer").expect("a name");
    first.record(&hands[0]).exits(0);

    first.run(&["keys", "add", "mailer"]).exits(0);
    let (count, key) = keys(&first, "mailer");
    let key = key.expect("it was added");
    let name = mailer.to_string();
    let mut expected = vec![
        RegistryAction::PartyRegistered {
            name,
            country: None,
            contact: None,
        },
        RegistryAction::KeyRegistered { key: key.clone() },
    ];
    assert_eq!((count, on_record(&first, "mailer")), (1, expected.clone()));
    first.record_as("mailer", &hands[1]).exits(0);

    first.run(&["keys", "rotate", "mailer"]).exits(0);
    let (count, next) = keys(&first, "mailer");
    let next = next.expect("it was rotated");
    assert_ne!(next, key);
    expected.push(RegistryAction::KeyRotated { key: next.clone() });
    assert_eq!((count, on_record(&first, "mailer")), (2, expected.clone()));
    first.record_as("mailer", &hands[2]).exits(0);

    let unsure = first.run(&["keys", "revoke", "mailer"]).exits(2);
    assert!(unsure.stdout.is_empty() && keys(&first, "mailer").1.is_some());
    first.run(&["keys", "revoke", "mailer", "--yes"]).exits(0);
    expected.push(RegistryAction::KeyRevoked { key: next });
    assert_eq!(keys(&first, "mailer"), (2, None));
    assert_eq!(on_record(&first, "mailer"), expected);
    assert_ne!(first.record_as("mailer", &hands[3]).code, Some(0));

    close_a_stream(&site, &second, (&first, &leading));
    let producer = mailer.clone();
    carries_out(&leading, &Control::Revoke { producer });
    carries_out(&leading, &Control::NextStream { shard: 1 });
    let told = Control::NextStream { shard: 1 }.told();
    assert!(!following.process.stderr().contains(&told), "both carried it out");
    first.record(&hands[4]).exits(0);
    let [one, two, three, _, five] = <[_; 5]>::try_from(hands).expect("there are five");
    let recorded = [
        (own.clone(), one),
        (mailer.clone(), two),
        (mailer, three),
        (own, five),
    ];
    become_the_same((&first, &leading), (&second, &following));
    assert_eq!(on_record(&second, "mailer"), expected);
    each_once("commands beside a host at work", &second, &recorded);
    watch.all_lead_to(&first.ledger());
    following.stop();
    leading.stop();
}

/// Closes the stream of shard 1, by a command on the host that does not lead it.
#[track_caller]
fn close_a_stream(site: &Site, from: &Host, (leads, serve): (&Host, &Serve)) {
    assert!(
        !from
            .run(&["next-stream", "--shard", "7"])
            .exits(2)
            .error()
            .is_empty()
    );
    let done = from.run(&["next-stream", "--shard", "1"]).exits(0).json();
    assert_eq!(
        (&done["shard"], &done["done"]),
        (&Value::from(1), &Value::from(true))
    );
    leads.wait_incident(serve, 1, "stream-closed");
    let detail = |name: &str| site.cluster.stream_detail(0, name);
    let is_sealed = |name: &str| detail(name).map(|detail| detail["config"]["sealed"] == true);
    assert_eq!(is_sealed(&stream(0)), Some(false));
    assert_eq!(is_sealed(&stream(1)), Some(true));
    assert_eq!(is_sealed("ledger_shop_example_1_2"), Some(false));
}

/// The fault: a key that was given up goes on working, or the new one does not.
#[test]
fn nats_server_takes_rotated_credentials_and_refuses_those_before() {
    let site = Site::guarded(SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let till = site.enrol(&host, "till");
    let hands = deal(&events(12, 40), 3);
    till.record_all(&hands[0]);
    let (_, users_before) = users_in(&host.root.join("bus-users/users.conf"));
    let new = site.producer("till", "producer-till-new");
    let rotated = host.run(&["keys", "rotate", "till", "--to", &text_of(&new.folder)]);
    let answers = documents(&rotated.exits(0));
    assert!(answers.iter().any(|answer| answer["done"] == "rotated"));
    let users = answers.iter().find_map(|answer| answer["users"].as_str());
    let users = PathBuf::from(users.expect("the file for the servers is named"));
    let (_, users_now) = users_in(&users);
    assert_eq!((users_before.len(), users_now.len()), (1, 1));
    assert_ne!(users_before, users_now);
    let last = on_record(&host, "till").pop();
    let (count, key) = keys(&host, "till");
    let key = key.expect("it was rotated");
    assert_eq!((count, last), (2, Some(RegistryAction::KeyRotated { key })));

    // The bus still knows the old user alone, and the ledger the new key alone.
    assert_ne!(till.record(&hands[1]).code, Some(0));
    assert!(!new.record(&hands[1]).exits(1).error().is_empty());
    site.tell_servers(&users);
    assert!(!till.record(&hands[1]).exits(1).error().is_empty());
    let recorded = new.record_all(&hands[1]);
    assert_eq!((recorded.new, recorded.known), (hands[1].len() as u64, 0));

    // In the folder that the producer has, they keep its outbox and its index.
    for file in ["producer.key", "access.key", "bus.nkey"] {
        fs::copy(new.folder.join(file), till.folder.join(file)).expect("a file can be copied");
    }
    till.record_all(&hands[2]);
    let [one, two, three] = <[_; 3]>::try_from(hands).expect("there are three");
    let mut recorded = vec![(till.name(), one), (till.name(), three)];
    tell_again(&[till], &recorded);
    recorded.push((new.name(), two));
    each_once("rotated credentials", &host, &recorded);
    for shard in list(&host.status()["shards"]) {
        assert_eq!(shard["rejected"], 0, "{shard}");
    }
    serve.stop();
}
