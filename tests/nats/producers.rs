//! A loyalty programme's events from three producers on folders of their own, to four shards over three servers.

use std::thread;

use crate::count::each_once;
use crate::local::dossier_verifies;
use crate::site::{Producer, Site, is_quick};
use crate::support::list;
use crate::support::loyalty::{Event, customer, events};
use crate::traffic::{deal, tell_again};
use crate::watch::Watch;

const SHARDS: u32 = 4;
/// Households and events of each; of these, as many as the programme of the published data set has.
const WHOLE: (usize, usize, usize) = (2_505, 67, 167_809);
const QUICK: (usize, usize, usize) = (240, 25, 6_000);

#[test]
fn nats_server_cluster_carries_three_producers_events_to_four_shards() {
    let (households, each, count) = if is_quick() { QUICK } else { WHOLE };
    let site = Site::new(3, SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let producers = site.enrol_several(&host, 3);
    let watch = Watch::start(&[&host], SHARDS);
    let mut all = events(households, each);
    all.truncate(count);
    let hands = deal(&all, producers.len());
    thread::scope(|scope| {
        for (producer, hand) in producers.iter().zip(&hands) {
            scope.spawn(move || {
                let recorded = producer.record_all(hand);
                assert_eq!((recorded.new, recorded.known), (hand.len() as u64, 0));
            });
        }
    });
    let names = producers.iter().map(Producer::name);
    let recorded: Vec<_> = names.zip(hands).collect();
    each_once("three producers", &host, &recorded);
    tell_again(&producers, &recorded);
    each_once("three producers, told again", &host, &recorded);
    let status = host.status();
    assert_eq!(status["events"], all.len());
    for shard in list(&status["shards"]) {
        assert!(
            shard["events"].as_u64() > Some(0),
            "a shard without a customer: {shard}"
        );
        assert!(
            shard["rejected"] == 0 && list(&shard["problems"]).is_empty(),
            "{shard}"
        );
    }
    // While the host serves, and after it has ended.
    let of = |household: usize| {
        let name = customer(household);
        let count = all.iter().filter(|event: &&Event| event.customer == name).count();
        (name, count)
    };
    for household in [1, 30, 105] {
        let (name, count) = of(household);
        dossier_verifies(&site, &host, &name, count);
    }
    serve.stop();
    for household in [7, 64] {
        let (name, count) = of(household);
        dossier_verifies(&site, &host, &name, count);
    }
    watch.all_lead_to(&host.ledger());
}
