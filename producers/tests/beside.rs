//! Recording over the bus beside a process that serves the ledger's folder, on a real server.
//!
//! In scope: what the folder's archive holds is known to be on record, also where the index was lost or never was; what
//! is wrong with it is a conflict. Out of scope: producers without an archive, hosts among each other (`tests/nats`).

use std::fs;
use std::sync::Arc;

use crate::support::{THEN, TestLedger, line, name, publisher, record};
use sharetrail_cluster::{Cluster, Options};
use sharetrail_ledger::bus::BusSettings;
use sharetrail_ledger::remote::Remote;
use sharetrail_ledger::{Engine, HostOptions};
use sharetrail_producers::{Closed, Publisher};

/// The fault: what an engine recorded, and a power loss took from the index, is recorded again by whoever records beside the
/// process that serves the same folder.
#[test]
fn nats_server_and_an_archive_at_hand_tell_what_is_on_record() {
    let cluster = Cluster::start(Options::always(1)).unwrap_or_else(|error| panic!("{error}"));
    let place = TestLedger::over(2, Some(BusSettings::new(cluster.url())));
    let input: Vec<u8> = (0..20)
        .flat_map(|n| line(&format!("customer-{n}"), &format!("e-{n}"), THEN))
        .collect();
    let engine = place.start();
    let first = publisher(&engine);
    assert_eq!(record(&first, &input).recorded, 20);
    first.close().unwrap();
    engine.stop().unwrap();

    let own = name("shop.example");
    fs::remove_dir_all(place.open().outbox(&own).join("index")).unwrap();
    let served = Engine::serve(&place.open(), &HostOptions::shared(Vec::new())).unwrap();
    let remote = Arc::new(Remote::of_ledger(&place.open(), &own).unwrap());
    let beside = Publisher::open_remote(&remote).unwrap();
    let again = record(&beside, &input);
    assert_eq!((again.recorded, again.skipped), (0, 20));
    let altered = record(&beside, &line("customer-3", "e-3", THEN + 1));
    assert!(altered.refused.len() == 1 && altered.only_refusals);
    assert_eq!(record(&beside, &line("customer-3", "e-20", THEN)).recorded, 1);
    assert_eq!(beside.close_telling(&|_| ()).unwrap(), Closed::default());
    drop(remote);
    served.stop().unwrap();
    assert_eq!(place.events(), 21);
}
