//! Hosts that lose their disk, and hosts whose disk is set back.

use std::collections::HashSet;
use std::fs;

use crate::bus::{copy_folder, users_in};
use crate::count::each_once;
use crate::site::{Host, Producer, Serve, Site};
use crate::support::list;
use crate::support::loyalty::events;
use crate::traffic::{deal, tell_again};
use crate::watch::{Watch, are_the_same, become_the_same};

const SHARDS: u32 = 2;

/// The stream of a shard is closed and the next one opened: what went before is in archives only.
#[track_caller]
fn close_streams(host: &Host, serve: &Serve) {
    for shard in 0..SHARDS {
        let done = host.run(&["next-stream", "--shard", &shard.to_string()]);
        assert_eq!(done.exits(0).json()["done"], true);
        host.wait_incident(serve, shard as usize, "stream-closed");
    }
}

/// The fault: a host's disk is gone, and with it what the bus does not hold any more, or the keys of its customers.
#[test]
fn nats_server_a_lost_host_is_copied_from_another() {
    let site = Site::new(3, SHARDS);
    let first = site.init();
    let second = site.another_host(&first, "host-b");
    let leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let producers = site.enrol_several(&first, 2);
    let mut following = second.serve(&[&leading.url]);
    let all = events(40, 60);
    let hands = deal(&all, 4);
    for (producer, hand) in producers.iter().zip(&hands) {
        producer.record_all(hand);
    }
    become_the_same((&first, &leading), (&second, &following));
    close_streams(&first, &leading);
    following.process.kill();
    drop(following);
    fs::remove_dir_all(&second.folder).expect("the folder can be removed");
    for (producer, hand) in producers.iter().zip(&hands[2..]) {
        producer.record_all(hand);
    }
    let second = site.another_host(&first, "host-b");
    assert_eq!(second.leaves(), [1, 1]);
    let watch = Watch::start(&[&first, &second], SHARDS);
    let following = second.serve(&[&leading.url]);
    become_the_same((&first, &leading), (&second, &following));
    // The copy is as good as what it was copied from: it leads on, with the same keys.
    leading.stop();
    second.wait_to_lead(&following);
    let names = producers.iter().map(Producer::name);
    let mut recorded: Vec<_> = names.cycle().zip(hands).collect();
    tell_again(&producers, &recorded);
    let known: HashSet<&str> = all.iter().map(|event| event.customer.as_str()).collect();
    let mut more = events(50, 60);
    more.retain(|event| !known.contains(event.customer.as_str()));
    producers[0].record_all(&more);
    recorded.push((producers[0].name(), more));
    each_once("a lost host", &second, &recorded);
    let leading = first.serve(&[&following.url]);
    become_the_same((&first, &leading), (&second, &following));
    each_once("a lost host", &first, &recorded);
    watch.all_lead_to(&second.ledger());
    following.stop();
    leading.stop();
    are_the_same(&first, &second);
}

/// The fault: a host whose folder is an old backup signs a second history, or never signs again.
#[test]
fn nats_server_an_old_backup_follows_until_it_holds_all_that_was_signed() {
    let site = Site::new(1, SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let producers = site.enrol_several(&host, 2);
    let watch = Watch::start(&[&host], SHARDS);
    let hands = deal(&events(40, 60), 6);
    let both = |hands: &[Vec<_>]| {
        for (producer, hand) in producers.iter().zip(hands) {
            producer.record_all(hand);
        }
    };
    both(&hands[..2]);
    serve.stop();
    let backup = site.path("backup");
    copy_folder(&host.root, &backup);
    let old = host.leaves();
    let serve = host.serve(&[]);
    both(&hands[2..4]);
    serve.stop();
    let signed = host.leaves();
    assert!(old.iter().zip(&signed).all(|(old, signed)| old < signed));
    fs::remove_dir_all(&host.root).expect("the folder can be removed");
    copy_folder(&backup, &host.root);
    for shard in list(&host.status()["shards"]) {
        assert!(
            !list(&shard["problems"]).is_empty(),
            "nobody is told that it is old: {shard}"
        );
    }
    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    let now = host.leaves();
    assert!(
        now.iter().zip(&signed).all(|(now, signed)| now >= signed),
        "{now:?}, {signed:?}"
    );
    both(&hands[4..]);
    let names = producers.iter().map(Producer::name);
    let recorded: Vec<_> = names.cycle().zip(hands).collect();
    tell_again(&producers, &recorded);
    each_once("an old backup", &host, &recorded);
    watch.all_lead_to(&host.ledger());
    serve.stop();
}

/// As above where another host lives and the streams were closed: what is missing is in its archive alone.
#[test]
fn nats_server_an_old_backup_beside_a_host_is_brought_level_from_it() {
    let site = Site::new(1, SHARDS);
    let first = site.init();
    let second = site.another_host(&first, "host-b");
    let leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let producer = site.enrol(&first, "till");
    let following = second.serve(&[&leading.url]);
    let hands = deal(&events(40, 60), 3);
    let watch = Watch::start(&[&first, &second], SHARDS);
    producer.record_all(&hands[0]);
    become_the_same((&first, &leading), (&second, &following));
    following.stop();
    let backup = site.path("backup");
    copy_folder(&second.root, &backup);
    let following = second.serve(&[&leading.url]);
    producer.record_all(&hands[1]);
    become_the_same((&first, &leading), (&second, &following));
    following.stop();
    close_streams(&first, &leading);
    fs::remove_dir_all(&second.root).expect("the folder can be removed");
    copy_folder(&backup, &second.root);
    let following = second.serve(&[&leading.url]);
    producer.record_all(&hands[2]);
    become_the_same((&first, &leading), (&second, &following));
    let recorded = [(producer.name(), hands.concat())];
    each_once("an old backup beside a host", &second, &recorded);
    leading.stop();
    second.wait_to_lead(&following);
    tell_again(&[producer], &recorded);
    watch.all_lead_to(&second.ledger());
    following.stop();
}

/// The fault: a new host that the servers do not let in, one that uses another's user, or whose coming shuts others out.
#[test]
fn nats_server_lets_a_second_host_in_once_its_own_user_is_known() {
    let site = Site::guarded(SHARDS);
    let first = site.init();
    let leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let second = site.another_host(&first, "host-b");
    let users = first.root.join("bus-users/users.conf");
    let (hosts, producers) = users_in(&users);
    assert_eq!((hosts.len(), producers.len()), (2, 0));
    assert_ne!(hosts[0], hosts[1]);
    let refused = second.serve_in_vain().exits(1);
    assert!(refused.stdout.is_empty() && !refused.error().is_empty());
    site.tell_servers(&users);
    let following = second.serve(&[&leading.url]);

    let till = site.enrol(&first, "till");
    let (now, producers) = users_in(&users);
    assert_eq!((now, producers.len()), (hosts, 1));
    let hands = deal(&events(24, 40), 3);
    let watch = Watch::start(&[&first, &second], SHARDS);
    till.record_all(&hands[0]);
    become_the_same((&first, &leading), (&second, &following));
    for shard in list(&second.status()["shards"]) {
        assert_eq!(shard["lease"]["holder"], "host-a", "{shard}");
    }
    leading.stop();
    second.wait_to_lead(&following);
    till.record_all(&hands[1]);
    let back = first.serve(&[&following.url]);
    become_the_same((&first, &back), (&second, &following));
    till.record_all(&hands[2]);
    become_the_same((&first, &back), (&second, &following));
    let recorded = [(till.name(), hands.concat())];
    tell_again(&[till], &recorded);
    each_once("a second host's own user", &first, &recorded);
    each_once("a second host's own user", &second, &recorded);
    watch.all_lead_to(&first.ledger());
    following.stop();
    back.stop();
    are_the_same(&first, &second);
}
