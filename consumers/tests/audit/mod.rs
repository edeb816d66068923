//! The audit, over ledgers in order and over those of an operator who has all the keys and lies.
//!
//! In scope: what is found, with its kind and its place; going on; samples, dossiers, cosignatures. Out of scope: the
//! rules of acceptance one by one (the proof crate's tests), the map's trie (the ledger's).

mod forged;
mod kept;
mod sampled;
mod site;

use std::fmt::Write;
use std::fs;

use sharetrail_consumers::audit::{AuditError, FaultKind, Source};
use sharetrail_consumers::http::HttpServer;
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::note::Cosigner;
use sharetrail_proof::policy::Policy;

use self::site::{LATER, Site, places, run, with};
use crate::support::{ANY_PORT, TestLedger, consent, customers, story};

/// A ledger with several map roots: two rounds of events, an erasure, and what came after.
fn ledger(shards: u32) -> TestLedger {
    let place = TestLedger::new(shards);
    let everybody = customers(30);
    place.record(everybody.iter().flat_map(|customer| story(customer)));
    place.record(everybody.iter().map(|customer| consent(customer, "again")));
    place.erase("customer-3", 0);
    place.record(everybody[..2].iter().map(|customer| consent(customer, "at last")));
    place
}

/// The fault: a ledger in order is accused, or is not looked at.
#[test]
fn a_ledger_in_order_is_clean_from_its_folder_and_from_its_server() {
    for shards in [1, 3] {
        let place = ledger(shards);
        let policy = place.open().policy().unwrap();
        let state = tempfile::tempdir().unwrap();
        let report = run(&place.root, &policy, state.path(), LATER, false).unwrap();
        assert_eq!(report.faults, [], "{shards} shards");
        assert!(report.is_clean());
        assert_eq!((report.counts.events, report.counts.unmapped), (30 * 6 + 2, 0));
        assert_eq!(report.checked, report.counts.entries);
        // Each customer's label, the second one of who was erased if anything was recorded again, and the producer's.
        assert!(report.counts.labels > 30 && report.counts.map_leaves >= 4);
        let ledger = place.open();
        let sizes = (0..shards).map(|shard| ledger.reader(shard).unwrap().size().0);
        assert_eq!(report.counts.entries, sizes.sum::<u64>());

        let server = HttpServer::start(&ledger, ANY_PORT, [8; 32]).unwrap();
        let source = Source::web(&format!("http://{}/", server.address())).unwrap();
        let state = tempfile::tempdir().unwrap();
        let served = with(&source, &policy, state.path(), LATER, false, |audit| {
            audit.report().clone()
        });
        assert_eq!(served.unwrap(), report);
    }
}

/// The fault: leaves that no map covers yet are called a fault, or are passed over in silence.
#[test]
fn what_is_not_mapped_yet_is_counted() {
    let place = ledger(1);
    place.record_only([consent("customer-9", "unmapped")]);
    let site = Site::of(&place);
    let entries = site.entries("log", 0).len() as u64;
    let mapped = site.map_leaves(0).last().unwrap().checkpoint.size.0;
    let report = site.audit();
    assert_eq!(report.faults, []);
    assert_eq!(report.counts.unmapped, entries - mapped);
    assert!(mapped < entries);
}

#[test]
fn what_cannot_be_audited_is_an_error_and_no_fault() {
    let place = ledger(1);
    let (site, policy) = (Site::of(&place), place.open().policy().unwrap());
    let state = tempfile::tempdir().unwrap();
    let nowhere = site.root.join("nowhere");
    let missing = run(&nowhere, &policy, state.path(), LATER, false);
    assert!(matches!(missing, Err(AuditError::NotALedger { .. })));

    let unmapped = Policy::new(
        policy.ledger().clone(),
        *policy.ledger_id(),
        policy.logs().filter(|key| key.name().contains("/log/")).cloned(),
    );
    let missing = run(&site.root, &unmapped, state.path(), LATER, false);
    assert!(matches!(missing, Err(AuditError::Policy(_))));

    let silent = Source::web("http://127.0.0.1:9").unwrap();
    let unreachable = with(&silent, &policy, state.path(), LATER, false, |_| ());
    assert!(matches!(unreachable, Err(AuditError::Web { .. })));
}

/// The fault: a file that was signed for is not served, and nobody says so.
#[test]
fn what_is_missing_is_told_with_its_place() {
    let place = ledger(1);
    let site = Site::of(&place);
    fs::remove_dir_all(site.folder("log", 0).join("tile/entries")).unwrap();
    let report = site.audit();
    assert_eq!(places(&report.faults), [(FaultKind::Missing, 0, 0)]);

    let site = Site::of(&place);
    fs::remove_dir_all(site.folder("map", 0).join("tile/entries")).unwrap();
    let report = site.audit();
    assert_eq!(places(&report.faults), [(FaultKind::Missing, 0, 0)]);
    // The record log is judged all the same.
    assert_eq!(report.counts.entries, site.entries("log", 0).len() as u64);
}

/// The fault: a checkpoint that somebody else signed is audited as the ledger's.
#[test]
fn a_checkpoint_that_the_policy_does_not_accept_is_a_fault() {
    let place = ledger(2);
    let site = Site::of(&place);
    let other = fs::read(site.folder("log", 1).join("checkpoint")).unwrap();
    site::write(&site.folder("log", 0).join("checkpoint"), &other);
    let report = site.audit();
    assert_eq!(places(&report.faults), [(FaultKind::Checkpoint, 0, 0)]);
    let unaudited = &report.shards[0];
    assert!(unaudited.record.is_none() && report.shards[1].record.is_some());
}

/// The fault: a ledger with faults is cosigned, or a cosignature does not verify.
#[test]
fn a_clean_audit_cosigns_every_map_log_and_any_other_none() {
    let place = ledger(2);
    let site = Site::of(&place);
    let auditor = Cosigner::from_seed("auditor.example", &[5; 32]).unwrap();
    let second = Cosigner::from_seed("second.example", &[6; 32]).unwrap();
    let mut text = fs::read_to_string(site.root.join("policy")).unwrap();
    for key in [&auditor, &second] {
        writeln!(text, "#sharetrail auditor {}", key.verifier()).unwrap();
    }
    let policy: Policy = text.parse().unwrap();
    let state = tempfile::tempdir().unwrap();
    let source = Source::folder(&site.root);
    let names = |checkpoint: &VerifiedCheckpoint| -> Vec<String> {
        checkpoint
            .auditors()
            .iter()
            .map(|(name, _)| name.clone())
            .collect()
    };
    with(&source, &policy, state.path(), LATER, false, |audit| {
        let first = audit.cosign(&auditor, 1_800_000_000, &|_| Vec::new()).unwrap();
        assert_eq!(first.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [0, 1]);
        let both = audit.cosign(&second, 1_800_000_001, &|shard| {
            vec![first[shard as usize].1.clone()]
        });
        for ((_, one), (_, both)) in first.iter().zip(both.unwrap()) {
            assert_eq!(names(&policy.open(one).unwrap()), ["auditor.example"]);
            let opened = policy.open(&both).unwrap();
            assert_eq!(opened.auditors().len(), 2);
            assert!(opened.checkpoint().origin.starts_with("shop.example/map/"));
        }
        // The note of another checkpoint is not added to.
        let swapped = audit.cosign(&second, 1_800_000_001, &|shard| {
            vec![first[1 - shard as usize].1.clone()]
        });
        assert_eq!(
            names(&policy.open(&swapped.unwrap()[0].1).unwrap()),
            ["second.example"]
        );
    })
    .unwrap();

    let mut leaves = site.map_leaves(0);
    leaves.last_mut().unwrap().labels += 1;
    site.write_map_log(0, &leaves);
    let state = tempfile::tempdir().unwrap();
    with(&source, &policy, state.path(), LATER, false, |audit| {
        let refused = audit.cosign(&auditor, 1_800_000_000, &|_| Vec::new());
        assert!(matches!(refused, Err(AuditError::NotClean(_))));
    })
    .unwrap();
}

/// The fault: an auditor that keeps no state cosigns a history that what it cosigned before contradicts.
#[test]
fn what_a_key_cosigned_before_must_be_extended() {
    let place = ledger(1);
    let (site, auditor) = (
        Site::of(&place),
        Cosigner::from_seed("auditor.example", &[5; 32]).unwrap(),
    );
    let other = Cosigner::from_seed("second.example", &[6; 32]).unwrap();
    let source = Source::folder(&site.root);
    // The cosigned notes, if the earlier note is this one, and the faults.
    let cosign = |earlier: &[String]| {
        let state = tempfile::tempdir().unwrap();
        with(&source, &site.policy(), state.path(), LATER, false, |audit| {
            let cosigned = audit.cosign(&auditor, 1_800_000_000, &|_| earlier.to_vec());
            let notes: Vec<String> = cosigned.unwrap().into_iter().map(|(_, note)| note).collect();
            (notes, places(&audit.report().faults))
        })
        .unwrap()
    };
    let honest = site.map_leaves(0);
    let (first, faults) = cosign(&[]);
    assert_eq!((first.len(), faults), (1, vec![]));
    assert_eq!(cosign(&first), (first.clone(), vec![]));

    let mut leaves = honest.clone();
    leaves.last_mut().unwrap().time += 1;
    site.write_map_log(0, &leaves);
    let size = honest.len() as u64;
    let rewritten = vec![(FaultKind::Rewritten, 0, size)];
    assert_eq!(cosign(&first), (vec![], rewritten.clone()));
    let twice = [first.clone(), first.clone()].concat();
    assert_eq!(cosign(&twice), (vec![], rewritten));
    // What another key cosigned binds nobody else.
    let note = fs::read_to_string(place.root.join("map/0/checkpoint")).unwrap();
    let of_other = other.cosign(&note, 1_800_000_000).unwrap();
    assert_eq!(cosign(&[of_other]).1, vec![]);

    site.write_map_log(0, &honest[..honest.len() - 1]);
    let rolled = vec![(FaultKind::RolledBack, 0, size - 1)];
    assert_eq!(cosign(&first), (vec![], rolled));

    // What was cosigned early is extended by what came later.
    let (short, _) = cosign(&[]);
    site.write_map_log(0, &honest);
    assert_eq!(cosign(&short).1, vec![]);
}
