//! Servers, hosts and producers that are killed or freeze while producers record.
//!
//! After each: every event that a producer was told of is in the log once, no two signed checkpoints contradict each
//! other, and the hosts' archives are the same.

use std::thread;
use std::time::Duration;

use crate::count::each_once;
use crate::site::{Host, Producer, Serve, Site, is_quick, stream};
use crate::traffic::{Traffic, tell_again};
use crate::watch::{Watch, become_the_same};

const SHARDS: u32 = 2;
/// Files that get on record between one harm and the next.
const BETWEEN: usize = 3;

/// Three servers, two hosts at work, three producers.
struct Scene {
    // Before the site, so that they end before their folders go.
    serves: [Serve; 2],
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
        let recorded = traffic.end();
        tell_again(&self.producers, &recorded);
        let [(first, second), (leading, following)] = pairs(&self.hosts, &self.serves);
        become_the_same((first, leading), (second, following));
        each_once(what, first, &recorded);
        each_once(what, second, &recorded);
        watch.all_lead_to(&first.ledger());
        for serve in self.serves {
            serve.stop();
        }
        for host in &self.hosts {
            let problems = &host.status()["shards"][0]["problems"];
            assert!(crate::support::list(problems).is_empty(), "{}: {problems}", host.name);
        }
        drop(self.site);
    }
}

#[test]
fn nats_servers_killed_one_by_one_and_all_at_once_lose_nothing() {
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
    for _ in 0..if is_quick() { 1 } else { 3 } {
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
    for round in 0..if is_quick() { 2 } else { 4 } {
        traffic.wait_for_more(BETWEEN);
        let (leads, follows) = (round % 2, 1 - round % 2);
        let [hosts, serves] = [&scene.hosts, &scene.hosts].map(|_| ()).map(|()| 0);
        let _ = (hosts, serves);
        scene.kill_and_revive(leads, follows, &traffic);
    }
    scene.holds("killed hosts and producers", traffic, watch);
}
