//! One map log, whoever signs it: hosts go on with it, come to it late, and put it back where the bus has lost it.
//!
//! In scope: the map logs in the hosts' folders, leaf by leaf, and every checkpoint of them that was published; a dossier
//! from a host that only follows. Out of scope: the map itself, which has tests of its own.

use std::fs;

use sharetrail_proof::dossier::{Dossier, VerifiedDossier};
use sharetrail_proof::hash::{LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH, bundles_between, parse_bundle};
use sharetrail_proof::tree::root_of;

use crate::bus::{Operator, forget_moments, registered_map};
use crate::count::each_once;
use crate::process::wait_for;
use crate::site::{Host, Producer, REGISTER, Serve, Site};
use crate::support::loyalty::{Event, customer, events};
use crate::support::text_of;
use crate::traffic::deal;
use crate::watch::{Watch, become_the_same};

const SHARDS: u32 = 2;
/// Events of each household.
const EACH: usize = 40;

/// A shard's map log as it lies in a host's folder, under its published checkpoint.
#[derive(Debug, PartialEq, Eq)]
struct MapLog {
    note: String,
    leaves: Vec<String>,
}

impl MapLog {
    /// None where no root was sealed yet.
    #[track_caller]
    fn read(host: &Host, shard: u32) -> Option<Self> {
        let folder = host.root.join(format!("map/{shard}"));
        let note = fs::read_to_string(folder.join("checkpoint")).ok()?;
        let policy = host.ledger().policy().expect("it has a policy");
        let opened = policy.open(&note).expect("every checkpoint is signed");
        let mut leaves = Vec::new();
        for bundle in bundles_between(TreeSize(0), opened.size()) {
            // The full one may have replaced it meanwhile.
            let full = Bundle::new(bundle.index(), FULL_WIDTH).expect("it has a width");
            let read = |place: &Bundle| Some((fs::read(folder.join(place.to_string())).ok()?, place.width()));
            let (bytes, width) = [bundle, full].iter().find_map(read)?;
            let entries = parse_bundle(&bytes, width).expect("a bundle holds entries");
            for entry in entries.iter().take(usize::from(bundle.width())) {
                leaves.push(String::from_utf8(entry.to_vec()).expect("a map leaf is text"));
            }
        }
        let hashes: Vec<LeafHash> = leaves.iter().map(|leaf| LeafHash::of(leaf.as_bytes())).collect();
        assert_eq!(root_of(&hashes), *opened.root(), "{}, shard {shard}", host.name);
        Some(Self { note, leaves })
    }

    fn last(&self) -> MapLeaf {
        let last = self.leaves.last().expect("a root was sealed");
        MapLeaf::parse(last).expect("a map leaf was signed")
    }
}

/// The map logs of all shards, if they cover all that is on record.
#[track_caller]
fn level(host: &Host, shards: u32) -> Option<Vec<MapLog>> {
    let ledger = host.ledger();
    let of_shard = |shard| {
        let size = ledger.reader(shard).expect("the shard has an archive").size();
        MapLog::read(host, shard).filter(|map| map.last().checkpoint.size == size)
    };
    (0..shards).map(of_shard).collect()
}

/// Waits until both hosts' map logs cover all that is on record and are the same, byte for byte.
#[track_caller]
fn maps_become_the_same(one: (&Host, &Serve), other: (&Host, &Serve), shards: u32) -> Vec<MapLog> {
    become_the_same(one, other);
    let told = || format!("{}{}", one.1.process.tail(), other.1.process.tail());
    let maps = wait_for("both hosts have the same map log", told, || {
        let ours = level(one.0, shards)?;
        (level(other.0, shards)? == ours).then_some(ours)
    });
    for host in [one.0, other.0] {
        for (shard, map) in (0..shards).zip(&maps) {
            // What is published is made ready for proofs a moment later.
            wait_for("what is published can be proven", told, || {
                let reader = host.ledger().map_reader(shard).expect("the map can be read")?;
                (*reader.leaf() == map.last()).then_some(())
            });
        }
    }
    maps
}

/// Records file after file, each of which is mapped before the next one comes.
#[track_caller]
fn record_in_steps(producer: &Producer, host: (&Host, &Serve), hand: &[Event], shards: u32) {
    for some in hand.chunks(hand.len().div_ceil(4)) {
        producer.record_all(some);
        let told = || host.1.process.tail();
        wait_for("what is sealed is mapped", told, || level(host.0, shards));
    }
}

/// The dossier of a household that a host writes, checked.
#[track_caller]
fn dossier(site: &Site, host: &Host, household: usize) -> VerifiedDossier {
    let file = site.path(&format!("{}-{household}.dossier", host.name));
    host.run(&["dossier", &customer(household), "-o", &text_of(&file)])
        .exits(0);
    let bytes = fs::read(&file).expect("the dossier is there");
    let policy = host.ledger().policy().expect("it has a policy");
    let dossier = Dossier::parse(&bytes).expect("a dossier was written");
    dossier.verify(&policy).expect("it proves what it says")
}

/// Asserts that a dossier holds all events of a household, and that a map root covers each.
#[track_caller]
fn is_complete(dossier: &VerifiedDossier) {
    assert_eq!(dossier.events.len(), EACH);
    assert!(dossier.events.iter().all(|event| event.covered));
    assert!(!dossier.maps.is_empty());
}

/// The fault: each host seals roots at moments of its own, and after a change of leaders two map logs are signed.
#[test]
fn nats_server_hosts_sign_one_map_log_and_go_on_with_it_when_the_leader_is_killed() {
    let site = Site::new(1, SHARDS);
    let first = site.init();
    let second = site.another_host(&first, "host-b");
    let mut leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let following = second.serve(&[&leading.url]);
    let till = site.enrol(&first, "till");
    let watch = Watch::start(&[&first, &second], SHARDS);
    let maps = Watch::start_maps(&[&first, &second], SHARDS);
    let hands = deal(&events(12, EACH), 3);
    record_in_steps(&till, (&first, &leading), &hands[0], SHARDS);
    let before = maps_become_the_same((&first, &leading), (&second, &following), SHARDS);

    leading.process.kill();
    drop(leading);
    till.record_all(&hands[1]);
    second.wait_to_lead(&following);
    wait_for(
        "the other host maps on",
        || following.process.tail(),
        || level(&second, SHARDS),
    );
    let back = first.serve(&[&following.url]);
    record_in_steps(&till, (&second, &following), &hands[2], SHARDS);
    let after = maps_become_the_same((&first, &back), (&second, &following), SHARDS);
    for (before, after) in before.iter().zip(&after) {
        assert!(after.leaves.starts_with(&before.leaves) && after.leaves.len() > before.leaves.len());
    }
    for household in [1, 2] {
        is_complete(&dossier(&site, &first, household));
        is_complete(&dossier(&site, &second, household));
    }
    each_once(
        "a killed leader's map log",
        &first,
        &[(till.name(), hands.concat())],
    );
    watch.all_lead_to(&first.ledger());
    maps.all_lead_to(&first.ledger());
    following.stop();
    back.stop();
}

/// The faults: a host that lacks more moments than are registered makes some up, or stands still; where the register is
/// lost, the map log begins anew.
#[test]
fn nats_server_a_host_that_was_away_for_long_gets_the_map_log_and_a_deleted_register_is_put_back() {
    let site = Site::new(1, 1);
    let first = site.init();
    let leading = first.serve(&[]);
    first.wait_to_lead(&leading);
    let till = site.enrol(&first, "till");
    let hands = deal(&events(12, EACH), 2);
    let maps = Watch::start_maps(&[&first], 1);
    record_in_steps(&till, (&first, &leading), &hands[0], 1);
    let before = level(&first, 1).expect("all of it is mapped");
    assert!(before[0].leaves.len() > 3);
    forget_moments(&first, 0);

    let second = site.another_host(&first, "host-b");
    assert_eq!(MapLog::read(&second, 0), None);
    let following = second.serve(&[&leading.url]);
    let copied = maps_become_the_same((&first, &leading), (&second, &following), 1);
    assert!(copied[0].leaves.starts_with(&before[0].leaves));

    Operator::connect(&site.cluster).delete_stream(REGISTER);
    record_in_steps(&till, (&first, &leading), &hands[1], 1);
    let after = maps_become_the_same((&first, &leading), (&second, &following), 1);
    assert!(after[0].leaves.starts_with(&copied[0].leaves) && after[0].leaves.len() > copied[0].leaves.len());
    let told = || format!("{}{}", leading.process.tail(), following.process.tail());
    wait_for("the register says so again", told, || {
        let checkpoint = registered_map(&first, 0)?["checkpoint"].as_str()?.to_owned();
        after[0]
            .note
            .starts_with(&format!("{checkpoint}\n"))
            .then_some(())
    });
    is_complete(&dossier(&site, &second, 1));
    each_once("a host that was away", &second, &[(till.name(), hands.concat())]);
    maps.all_lead_to(&second.ledger());
    following.stop();
    leading.stop();
}
