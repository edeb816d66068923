//! Servers, hosts and producers that are killed or freeze while producers record.
//!
//! After each: every event that a producer was told of is in the log once, no two signed checkpoints contradict each
//! other, and the hosts' archives are the same.

use std::thread;
use std::time::Duration;

use sharetrail_ledger::LedgerError;

use crate::count::{each_kept_once, each_once};
use crate::process::wait_for;
use crate::site::{Host, Producer, Serve, Site, is_quick, stream};
use crate::support::list;
use crate::traffic::{Traffic, tell_again};
use crate::watch::{Watch, become_the_same};

const SHARDS: u32 = 2;
/// Files that get on record between one harm and the next.
const BETWEEN: usize = 3;

/// Three servers, two hosts at work, three producers.
struct Scene {
    // Before the site, so that they end before their folders go.
    serves: [Serve; 2],
    /// The first one leads at the beginning.
    hosts: [Host; 2],
    producers: Vec<Producer>,
    site: Site,
}

impl Scene {
    fn new() -> Self {
        let site = Site::new(3, SHARDS);
        let first = site.init();
        let second = site.another_host(&first, "host-b");
        let leading = first.serve(&[]);
        first.wait_to_lead(&leading);
        let producers = site.enrol_several(&first, 3);
        let following = second.serve(&[&leading.url]);
        Self {
            serves: [leading, following],
            hosts: [first, second],
            producers,
            site,
        }
    }

    fn watch(&self) -> Watch {
        Watch::start(&[&self.hosts[0], &self.hosts[1]], SHARDS)
    }

    /// Ends the traffic and looks at what came of it.
    #[track_caller]
    fn holds(self, what: &str, traffic: Traffic, watch: Watch) {
        let kept = traffic.kept();
        let recorded = traffic.end();
        let kept = std::mem::take(&mut *kept.lock().expect("all producers have ended"));
        tell_again(&self.producers, &recorded);
        let [first, second] = &self.hosts;
        become_the_same((first, &self.serves[0]), (second, &self.serves[1]));
        each_once(what, first, &recorded);
        each_once(what, second, &recorded);
        each_kept_once(what, second, &kept);
        watch.all_lead_to(&first.ledger());
        for serve in self.serves {
            serve.stop();
        }
        for host in [first, second] {
            for shard in list(&host.status()["shards"]) {
                assert!(list(&shard["problems"]).is_empty(), "{}: {shard}", host.name);
            }
        }
    }
}

#[test]
fn nats_server_nodes_killed_one_by_one_and_all_at_once_lose_nothing() {
    let mut scene = Scene::new();
    let watch = scene.watch();
    let traffic = Traffic::start(&scene.producers);
    for shard in 0..SHARDS {
        traffic.wait_for_more(BETWEEN);
        let leader = scene.site.cluster.wait_stream_leader(&stream(shard));
        scene.site.cluster.kill(leader);
        traffic.wait_for_more(BETWEEN);
        scene.site.cluster.restart(leader);
        scene.site.cluster.wait_ready();
    }
    let rounds = if is_quick() { 1 } else { 3 };
    for _ in 0..rounds {
        traffic.wait_for_more(BETWEEN);
        scene.site.cluster.kill_all();
        thread::sleep(Duration::from_secs(1));
        scene.site.cluster.restart_all();
        scene.site.cluster.wait_ready();
    }
    traffic.wait_for_more(BETWEEN);
    scene.holds("killed servers", traffic, watch);
}

#[test]
fn nats_server_that_freezes_stops_nobody_and_loses_nothing() {
    let scene = Scene::new();
    let watch = scene.watch();
    let traffic = Traffic::start(&scene.producers);
    traffic.wait_for_more(BETWEEN);
    let leader = scene.site.cluster.wait_stream_leader(&stream(0));
    scene.site.cluster.pause(leader);
    thread::sleep(Duration::from_secs(if is_quick() { 5 } else { 30 }));
    traffic.wait_for_more(BETWEEN);
    scene.site.cluster.resume(leader);
    scene.site.cluster.wait_ready();
    traffic.wait_for_more(BETWEEN);
    scene.holds("a frozen server", traffic, watch);
}

/// The host that leads dies; the other takes over from its own archive; the first comes back and follows. Producers die
/// all the while.
#[test]
fn nats_server_outlives_killed_hosts_and_producers() {
    let mut scene = Scene::new();
    let watch = scene.watch();
    let traffic = Traffic::start_mortal(&scene.producers);
    let rounds = if is_quick() { 2 } else { 4 };
    for round in 0..rounds {
        let (leads, follows) = (round % 2, 1 - round % 2);
        traffic.wait_for_more(BETWEEN);
        scene.serves[leads].process.kill();
        scene.hosts[follows].wait_to_lead(&scene.serves[follows]);
        scene.hosts[follows].wait_incident(&scene.serves[follows], 0, "taken-over");
        traffic.wait_for_more(BETWEEN);
        let back = scene.hosts[leads].serve(&[&scene.serves[follows].url]);
        scene.serves[leads] = back;
    }
    traffic.wait_for_more(BETWEEN);
    scene.holds("killed hosts and producers", traffic, watch);
}

/// The fault: a host that slept through the loss of its lease wakes up and signs what another decided differently.
#[test]
fn nats_server_has_one_leader_however_long_the_other_slept() {
    let mut scene = Scene::new();
    let watch = scene.watch();
    let traffic = Traffic::start(&scene.producers);
    let rounds = if is_quick() { 1 } else { 3 };
    for round in 0..rounds {
        let (sleeps, wakes) = (round % 2, 1 - round % 2);
        traffic.wait_for_more(BETWEEN);
        let before = leases_lost(&scene.serves[sleeps]);
        scene.serves[sleeps].process.pause();
        thread::sleep(Duration::from_secs(6));
        scene.hosts[wakes].wait_to_lead(&scene.serves[wakes]);
        traffic.wait_beside(BETWEEN, || scene.serves[wakes].process.tail());
        scene.serves[sleeps].process.resume();
        let tail = || scene.serves[sleeps].process.tail();
        wait_for("it says that it lost its leases", tail, || {
            let now = leases_lost(&scene.serves[sleeps]);
            let told = now.iter().zip(&before).all(|(now, before)| now > before);
            told.then_some(())
        });
        traffic.wait_for_more(BETWEEN);
        for shard in list(&scene.hosts[sleeps].status()["shards"]) {
            assert_eq!(shard["lease"]["holder"], scene.hosts[wakes].name.as_str());
        }
    }
    scene.holds("a host that slept", traffic, watch);
}

/// How often a host has said, shard by shard, that it lost the lease.
fn leases_lost(serve: &Serve) -> Vec<usize> {
    let log = serve.process.stderr();
    let told = |shard| LedgerError::LeaseLost { shard }.to_string();
    (0..SHARDS)
        .map(|shard| log.matches(&told(shard)).count())
        .collect()
}
