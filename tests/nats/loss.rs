//! A bus that loses what it acknowledged: damaged blocks, deleted streams, a register that is gone or old.
//!
//! After each: what happened is told by its kind, every event that a producer was told of is in the log once, and no two
//! signed checkpoints contradict each other.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use sharetrail_proof::name::Name;

use crate::bus::{Operator, copy_folder, flip_bit, truncate};
use crate::count::each_once;
use crate::process::{Process, wait_for};
use crate::site::{Host, Producer, REGISTER, Serve, Site, stream};
use crate::support::loyalty::{Event, events, lines};
use crate::traffic::{Traffic, deal, tell_again};
use crate::watch::Watch;

/// One host at work on one shard, two producers, and what they have told.
struct Scene {
    // Before the site, so that it ends before its folder goes.
    serve: Option<Serve>,
    host: Host,
    producers: Vec<Producer>,
    site: Site,
    watch: Watch,
    hands: Vec<Vec<Event>>,
    recorded: Vec<(Name, Vec<Event>)>,
}

impl Scene {
    fn new(nodes: usize) -> Self {
        let site = Site::new(nodes, 1);
        let host = site.init();
        let serve = host.serve(&[]);
        let producers = site.enrol_several(&host, 2);
        let watch = Watch::start(&[&host], 1);
        Self {
            serve: Some(serve),
            host,
            producers,
            site,
            watch,
            // The last ones are taken first.
            hands: deal(&events(30, 120), 12),
            recorded: Vec::new(),
        }
    }

    /// Each producer records some more.
    #[track_caller]
    fn record(&mut self) {
        for producer in &self.producers {
            let hand = self.hands.pop().expect("there are enough events");
            // Small files make several messages.
            for some in hand.chunks(100) {
                producer.record_all(some);
            }
            self.recorded.push((producer.name(), hand));
        }
    }

    #[track_caller]
    fn stop_serving(&mut self) {
        self.serve.take().expect("it serves").stop();
    }

    #[track_caller]
    fn serve_again(&mut self) {
        self.serve = Some(self.host.serve(&[]));
    }

    fn serving(&self) -> &Serve {
        self.serve.as_ref().expect("it serves")
    }

    /// Waits until what happened is told.
    #[track_caller]
    fn is_told(&self, kind: &str) {
        self.host.wait_incident(self.serving(), 0, kind);
    }

    /// The first file of the stream's messages on a node.
    #[track_caller]
    fn block(&self, node: usize) -> PathBuf {
        let blocks = self.site.cluster.blocks(node, &stream(0));
        blocks.into_iter().next().expect("the node holds messages")
    }

    /// Starts all servers; gives the last message that the stream's leader knows of.
    #[track_caller]
    fn start_servers(&mut self) -> u64 {
        self.site.cluster.restart_all();
        self.site.cluster.wait_ready();
        self.site.last_in_stream(0)
    }

    /// Records more, and looks at what came of it all.
    #[track_caller]
    fn holds(mut self, what: &str) {
        self.record();
        tell_again(&self.producers, &self.recorded);
        each_once(what, &self.host, &self.recorded);
        println!("{what}: told: {}", self.host.incidents(0).join(", "));
        self.watch.all_lead_to(&self.host.ledger());
        self.serve.take().expect("it serves").stop();
    }
}

/// One flipped bit on one server and on all three, between a crash and the next start.
#[test]
fn nats_server_nodes_with_a_flipped_bit_lose_nothing_that_was_accepted() {
    let mut scene = Scene::new(3);
    for damaged in [1, 3] {
        scene.record();
        scene.stop_serving();
        let before = scene.site.last_in_stream(0);
        scene.site.cluster.kill_all();
        for node in 0..damaged {
            flip_bit(&scene.block(node));
        }
        let after = scene.start_servers();
        println!("a flipped bit on {damaged} of 3: the stream ends at {after}, and held {before} messages");
        scene.serve_again();
        if after < before {
            scene.is_told("stream-rolled-back");
        }
    }
    scene.holds("flipped bits");
}

/// On the only server, where nothing can make up for it: the stream must end earlier, or lack messages.
#[test]
fn nats_server_alone_with_a_flipped_bit_is_found_out() {
    let mut scene = Scene::new(1);
    scene.record();
    scene.stop_serving();
    let before = scene.site.last_in_stream(0);
    scene.site.cluster.kill(0);
    flip_bit(&scene.block(0));
    let after = scene.start_servers();
    let detail = scene.site.cluster.stream_detail(0, &stream(0));
    let detail = detail.expect("the server holds the stream");
    let is_whole = detail["state"]["messages"] == before;
    println!(
        "a flipped bit: the stream ends at {after}, and held {before} messages: {}",
        detail["state"]
    );
    scene.serve_again();
    if after < before {
        scene.is_told("stream-rolled-back");
    } else if !is_whole {
        let status = scene.host.status();
        let replica = &status["shards"][0]["lease"]["replicas"][0];
        assert_ne!(replica["messages"], before, "{status}");
    }
    scene.holds("a flipped bit on the only server");
}

/// The fault: what was acknowledged and not sequenced yet is gone from the bus, and its producer has forgotten it.
#[test]
fn nats_server_that_loses_what_waits_gets_it_again_from_the_outboxes() {
    let mut scene = Scene::new(1);
    scene.record();
    let told = scene.hands.pop().expect("there are enough events");
    // Customers whom the producer has met: for others it would have to ask the host that is to sleep.
    let mut met = HashSet::new();
    let (known, waiting): (Vec<Event>, Vec<Event>) = told
        .iter()
        .cloned()
        .partition(|event| met.insert(event.customer.clone()));
    let mut recorder = scene.producers[0].start_fed();
    recorder.feed(&lines(&known));
    let sequenced = settled(&scene, &recorder, known.len());
    let length = fs::metadata(scene.block(0)).expect("the block is there").len();
    // The sequencer sleeps; what comes now is accepted and no more.
    scene.serve.as_mut().expect("it serves").process.pause();
    recorder.feed(&lines(&waiting));
    let accepted = wait_for(
        "something was accepted",
        || recorder.tail(),
        || {
            let last = scene.site.last_in_stream(0);
            (last > sequenced).then_some(last)
        },
    );
    scene.site.cluster.kill(0);
    truncate(&scene.block(0), length / 2);
    let after = scene.start_servers();
    println!("a cut block: {sequenced} messages were sequenced, {accepted} accepted, {after} are left");
    scene.serve.as_mut().expect("it serves").process.resume();
    let summary = recorder.wait().exits(0).json();
    assert_eq!(summary["recorded"], told.len(), "{summary}");
    scene.recorded.push((scene.producers[0].name(), told));
    scene.is_told("stream-rolled-back");
    scene.holds("a cut block");
}

/// Waits until so many events that were fed are in the log; gives the last message of the stream.
#[track_caller]
fn settled(scene: &Scene, recorder: &Process, fed: usize) -> u64 {
    let told: usize = scene.recorded.iter().map(|(_, events)| events.len()).sum();
    wait_for(
        "what was fed is in the log",
        || recorder.tail(),
        || {
            let status = scene.host.status();
            (status["events"] == told + fed && status["shards"][0]["waiting"] == 0)
                .then(|| status["shards"][0]["stream_messages"].as_u64().expect("a number"))
        },
    )
}

#[test]
fn nats_server_a_deleted_stream_is_made_anew_and_told() {
    let mut scene = Scene::new(3);
    scene.record();
    let traffic = Traffic::start(&scene.producers);
    traffic.wait_for_more(2);
    let operator = Operator::connect(&scene.site.cluster);
    operator.delete_stream(&stream(0));
    scene.is_told("stream-replaced");
    traffic.wait_for_more(4);
    scene.recorded.extend(traffic.end());
    scene.holds("a deleted stream");
}

/// As an operator does who puts a stream in the place of another by hand: it begins at a later message.
#[test]
fn nats_server_a_stream_with_a_gap_is_told_by_position() {
    let mut scene = Scene::new(1);
    scene.record();
    let operator = Operator::connect(&scene.site.cluster);
    operator.make_anew(&stream(0), 100);
    scene.is_told("stream-replaced");
    scene.record();
    scene.is_told("gap");
    let status = scene.host.status();
    let incidents = crate::support::list(&status["shards"][0]["incidents"]);
    let gap = incidents
        .iter()
        .find(|one| one["kind"] == "gap")
        .expect("it was told");
    let what = gap["what"].as_str().expect("a text");
    assert!(what.contains(" 1 ") && what.contains(" 99 "), "{what}");
    scene.holds("a gap");
}

/// The register is deleted while a host works, and once more while nobody does.
#[test]
fn nats_server_a_deleted_register_is_put_back_from_the_archive() {
    let mut scene = Scene::new(3);
    let operator = Operator::connect(&scene.site.cluster);
    scene.record();
    operator.delete_stream(REGISTER);
    scene.is_told("register-rolled-back");
    scene.record();
    scene.stop_serving();
    operator.delete_stream(REGISTER);
    scene.serve_again();
    scene.host.wait_to_lead(scene.serving());
    scene.holds("a deleted register");
}

/// The server's whole store is set back to an older copy: streams and register know less than was signed.
#[test]
fn nats_server_set_back_to_an_older_copy_is_told_and_catches_up() {
    let mut scene = Scene::new(1);
    let copy = scene.site.path("older-store");
    scene.record();
    scene.site.cluster.stop(0);
    copy_folder(scene.site.cluster.store(0), &copy);
    scene.start_servers();
    scene.record();
    scene.stop_serving();
    scene.site.cluster.stop(0);
    let store = scene.site.cluster.store(0).to_owned();
    fs::remove_dir_all(&store).expect("the store can be removed");
    copy_folder(&copy, &store);
    scene.start_servers();
    scene.serve_again();
    scene.is_told("register-rolled-back");
    scene.is_told("stream-rolled-back");
    scene.holds("an older copy of the bus");
}

/// All three servers lose their disks, with a host at work and producers that go on.
#[test]
fn nats_server_nodes_that_lose_all_their_disks_are_filled_again() {
    let mut scene = Scene::new(3);
    scene.record();
    let traffic = Traffic::start(&scene.producers);
    traffic.wait_for_more(2);
    scene.site.cluster.kill_all();
    for node in 0..3 {
        fs::remove_dir_all(scene.site.cluster.store(node)).expect("the store can be removed");
    }
    scene.site.cluster.restart_all();
    scene.site.cluster.wait_ready();
    scene.is_told("stream-replaced");
    scene.is_told("register-rolled-back");
    traffic.wait_for_more(4);
    scene.recorded.extend(traffic.end());
    scene.holds("lost disks");
}
