//! What an operator with all keys could try, and how it shows.
//!
//! In scope: each kind of fault by itself, with its place. Out of scope: what shows only against an earlier audit (`kept`).

use sharetrail_consumers::audit::{AuditError, FaultKind, LogKind, Source};
use sharetrail_ledger::keys;
use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::{BATCH, EVENT, Entry, REGISTRY};
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::{ChainId, Label};
use sharetrail_proof::note::Cosigner;

use crate::audit::ledger;
use crate::audit::site::{LATER, Site, batch_entry, last_batch, places, root, run, with, write};
use crate::support::name;

/// The first event of the log, and the batch entry before it.
fn first_event(entries: &[Vec<u8>]) -> (usize, usize) {
    let event = entries.iter().position(|entry| entry[0] == EVENT).unwrap();
    let batch = entries[..event]
        .iter()
        .rposition(|entry| entry[0] == BATCH)
        .unwrap();
    (event, batch)
}

/// The label that was erased.
fn erased(entries: &[Vec<u8>]) -> Option<Label> {
    entries.iter().find_map(|entry| match Entry::parse(entry) {
        Ok(Entry::Erasure(erasure)) => Some(erasure.label),
        _ => None,
    })
}

/// A batch of one more event of a customer of the one shard, on a chain of its own.
fn new_batch(entries: &[Vec<u8>]) -> (Batch, Vec<u8>) {
    let erased = erased(entries).unwrap();
    let is_alive = |entry: &&Vec<u8>| entry[0] == EVENT && entry[17..49] != erased.0;
    let mut event = entries.iter().find(is_alive).unwrap().clone();
    event[1] ^= 1;
    let (_, last) = last_batch(entries);
    let batch = Batch {
        producer: name("shop.example"),
        chain: ChainId([9; 16]),
        number: 0,
        count: 1,
        root: root(std::slice::from_ref(&event)),
        prev: LeafHash::of(&entries[0]).0,
        ledger: last.ledger,
        shard: last.shard,
    };
    (batch, event)
}

/// An entry of a bundle that was changed after it was signed for: the entry is named, and the batch that it breaks.
#[test]
fn an_altered_entry_is_named() {
    let place = ledger(1);
    let site = Site::of(&place);
    let entries = site.entries("log", 0);
    let (event, batch) = first_event(&entries);
    assert!(event < 256, "the first bundle holds it");
    let path = site.folder("log", 0).join("tile/entries/000");
    let path = if path.exists() {
        path
    } else {
        path.with_added_extension("p").join(entries.len().to_string())
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let at = bytes
        .windows(entries[event].len())
        .position(|window| window == entries[event])
        .unwrap();
    bytes[at + 80] ^= 1;
    write(&path, &bytes);
    let report = site.audit();
    let found = places(&report.faults);
    assert!(
        found.contains(&(FaultKind::Entry, 0, event as u64)),
        "{:#?}",
        report.faults
    );
    assert!(found.contains(&(FaultKind::BatchRoot, 0, batch as u64)));
    assert!(found.contains(&(FaultKind::Root, 0, entries.len() as u64)));
    // What follows from the altered entry alone is not held against the map log.
    assert!(
        !report
            .faults
            .iter()
            .any(|fault| fault.kind == FaultKind::MapRecord)
    );
}

/// An event is left out of the map, and all that can be recomputed is recomputed and signed.
#[test]
fn a_map_that_leaves_an_event_out_is_found() {
    let place = ledger(1);
    let site = Site::of(&place);
    let (entries, mut leaves) = (site.entries("log", 0), site.map_leaves(0));
    let (event, _) = first_event(&entries);
    let first = leaves
        .iter()
        .position(|leaf| leaf.checkpoint.size.0 > event as u64)
        .unwrap();
    for leaf in &mut leaves[first..] {
        let covered = &entries[..usize::try_from(leaf.checkpoint.size.0).unwrap()];
        *leaf = site.map_leaf(0, covered, leaf.time, |index| index == event);
    }
    site.write_map_log(0, &leaves);
    let report = site.audit();
    assert_eq!(places(&report.faults), [(FaultKind::MapRoot, 0, first as u64)]);
    assert_eq!(report.faults[0].log, Some(LogKind::Map));
}

#[test]
fn a_wrong_number_of_labels_is_found_where_it_begins_and_where_it_begins_again() {
    let place = ledger(1);
    let site = Site::of(&place);
    let honest = site.map_leaves(0);
    assert!(honest.len() >= 4);
    let mut leaves = honest.clone();
    leaves[1].labels += 1;
    leaves[3].labels -= 1;
    site.write_map_log(0, &leaves);
    let expected = [(FaultKind::MapLabels, 0, 1), (FaultKind::MapLabels, 0, 3)];
    assert_eq!(places(&site.audit().faults), expected);
}

/// What is done to a map leaf, and what an audit calls that.
type Change = (fn(&mut MapLeaf), &'static [FaultKind]);

#[test]
fn a_map_leaf_names_a_checkpoint_that_the_record_log_had() {
    let place = ledger(1);
    let site = Site::of(&place);
    let honest = site.map_leaves(0);
    let last = honest.len() - 1;
    let changes: [Change; 5] = [
        (
            |leaf| leaf.checkpoint.root = Hash([7; 32]),
            &[FaultKind::MapRecord],
        ),
        (
            |leaf| leaf.checkpoint.origin = "shop.example/log/1of2".into(),
            &[FaultKind::MapRecord],
        ),
        (|leaf| leaf.time = 1, &[FaultKind::MapOrder]),
        (|leaf| leaf.checkpoint.size.0 = 1, &[FaultKind::MapOrder]),
        (|leaf| leaf.checkpoint.size.0 += 1, &[FaultKind::MapAhead]),
    ];
    for (change, kinds) in changes {
        let mut leaves = honest.clone();
        change(&mut leaves[last]);
        site.write_map_log(0, &leaves);
        let report = site.audit();
        let expected: Vec<_> = kinds.iter().map(|kind| (*kind, 0, last as u64)).collect();
        assert_eq!(places(&report.faults), expected);
    }
    let mut leaves = honest.clone();
    leaves.insert(last, honest[last].clone());
    site.write_map_log(0, &leaves);
    let expected = [(FaultKind::MapOrder, 0, last as u64 + 1)];
    assert_eq!(places(&site.audit().faults), expected);
}

/// The fault: what is sealed is dated years ahead, so that a dossier says "complete up to" a day that is yet to come.
#[test]
fn a_map_leaf_of_a_time_to_come_is_found() {
    let place = ledger(1);
    let site = Site::of(&place);
    let mut leaves = site.map_leaves(0);
    let last = leaves.len() - 1;
    leaves[last - 1].time += 100_000;
    leaves[last].time += 200_000;
    site.write_map_log(0, &leaves);
    let at = |now| {
        let state = tempfile::tempdir().unwrap();
        let report = run(&site.root, &site.policy(), state.path(), now, false).unwrap();
        places(&report.faults)
    };
    // Told where it begins.
    let begins = [(FaultKind::MapOrder, 0, last as u64 - 1)];
    assert_eq!(at(leaves[last - 1].time - 601), begins);
    let later = [(FaultKind::MapOrder, 0, last as u64)];
    assert_eq!(at(leaves[last].time - 601), later);
    assert_eq!(at(leaves[last].time - 600), []);
}

/// The map log's own tree is held to its checkpoint too.
#[test]
fn an_altered_map_leaf_is_named() {
    let place = ledger(1);
    let site = Site::of(&place);
    let count = site.map_leaves(0).len();
    let folder = site.folder("map", 0).join("tile/entries/000.p");
    let path = folder.join(count.to_string());
    let text = std::fs::read(&path).unwrap();
    let head = b"sharetrail.org/map@v1\n";
    let at = text
        .windows(head.len())
        .position(|window| window == head)
        .unwrap();
    let mut bytes = text.clone();
    bytes[at] = b'S';
    write(&path, &bytes);
    let found = places(&site.audit().faults);
    for expected in [
        (FaultKind::MapLeaf, 0, 0),
        (FaultKind::Entry, 0, 0),
        (FaultKind::Root, 0, count as u64),
    ] {
        assert!(found.contains(&expected), "{found:?}");
    }
}

/// A revoked key signs on, and the operator lets it into the log and seals it.
#[test]
fn a_batch_signed_with_a_revoked_key_is_found() {
    let place = ledger(1);
    place.at_work(|engine| keys::revoke(engine, &name("shop.example")).unwrap());
    let site = Site::of(&place);
    let mut entries = site.entries("log", 0);
    let (batch, event) = new_batch(&entries);
    let at = entries.len() as u64;
    let key = site.key("producer-shop.example.key");
    entries.extend([batch_entry(&batch, &key), event]);
    site.replace(0, &entries);
    assert_eq!(places(&site.audit().faults), [(FaultKind::BatchKey, 0, at)]);
}

/// Each rule of the log is held, with the place where it is broken; what follows is judged on.
#[test]
fn batches_that_break_a_rule_are_found_one_by_one() {
    let place = ledger(1);
    let site = Site::of(&place);
    let honest = site.entries("log", 0);
    let key = site.key("producer-shop.example.key");
    let at = honest.len() as u64;
    let (good, event) = new_batch(&honest);
    let of = |label: Label| {
        let mut event = event.clone();
        event[17..49].copy_from_slice(&label.0);
        event
    };
    let cases = [
        (
            FaultKind::BatchChain,
            at,
            event.clone(),
            Batch {
                number: 3,
                ..good.clone()
            },
        ),
        (
            FaultKind::BatchChain,
            at,
            event.clone(),
            Batch {
                prev: Hash([1; 32]),
                ..good.clone()
            },
        ),
        (
            FaultKind::BatchRoot,
            at,
            event.clone(),
            Batch {
                root: Hash([1; 32]),
                ..good.clone()
            },
        ),
        (
            FaultKind::BatchElsewhere,
            at,
            event.clone(),
            Batch {
                ledger: name("other.example"),
                ..good.clone()
            },
        ),
        (
            FaultKind::ErasedLabel,
            at + 1,
            of(erased(&honest).unwrap()),
            good.clone(),
        ),
        (FaultKind::EntryKind, at + 1, event[..80].to_vec(), good.clone()),
        (FaultKind::EntryKind, at + 1, vec![REGISTRY; 40], good.clone()),
    ];
    for (kind, index, event, mut batch) in cases {
        if kind != FaultKind::BatchRoot {
            batch.root = root(std::slice::from_ref(&event));
        }
        let mut entries = honest.clone();
        entries.extend([batch_entry(&batch, &key), event]);
        site.replace(0, &entries);
        assert_eq!(places(&site.audit().faults), [(kind, 0, index)], "{batch:?}");
    }
    let mut entries = honest.clone();
    entries.extend([b"\x03not a note".to_vec(), event.clone(), event.clone()]);
    entries.extend([batch_entry(&good, &key), event.clone()]);
    site.replace(0, &entries);
    assert_eq!(places(&site.audit().faults), [(FaultKind::BatchNote, 0, at)]);

    let mut entries = honest.clone();
    let two = [event.clone(), of(Label([3; 32]))];
    let batch = Batch {
        count: 2,
        root: root(&two),
        ..good
    };
    entries.extend([batch_entry(&batch, &key), event]);
    site.write_log(0, &entries);
    site.write_map_log(0, &[site.map_leaf(0, &honest, 1_800_000_000, |_| false)]);
    assert_eq!(places(&site.audit().faults), [(FaultKind::BatchCut, 0, at)]);
}

/// A batch stands in the log twice: the customer's trail shows everything in it twice.
#[test]
fn a_repeated_batch_is_found() {
    let place = ledger(1);
    let site = Site::of(&place);
    let mut entries = site.entries("log", 0);
    let (at, _) = last_batch(&entries);
    let (again, index) = (entries[at..].to_vec(), entries.len() as u64);
    entries.extend(again);
    site.replace(0, &entries);
    assert_eq!(places(&site.audit().faults), [(FaultKind::BatchChain, 0, index)]);
}

/// The roots that were signed are not those of the entries, and nothing served explains them.
#[test]
fn a_checkpoint_over_nothing_that_is_served_is_found() {
    let place = ledger(1);
    let site = Site::of(&place);
    let entries = site.entries("log", 0);
    let key = site.key("log-0.key");
    let origin = key.verifier().name();
    let text = format!("{origin}\n{}\n{}\n", entries.len(), Hash([1; 32]));
    write(
        &site.folder("log", 0).join("checkpoint"),
        key.sign(&text).as_bytes(),
    );
    let expected = [(FaultKind::Root, 0, entries.len() as u64)];
    assert_eq!(places(&site.audit().faults), expected);
}

/// A revocation is left out of one shard, where the revoked key could then sign on.
#[test]
fn a_registry_entry_that_one_shard_lacks_is_found() {
    let place = ledger(2);
    place.at_work(|engine| keys::revoke(engine, &name("shop.example")).unwrap());
    let site = Site::of(&place);
    let mut entries = site.entries("log", 1);
    let (at, last) = last_batch(&entries);
    assert_eq!((last.producer.as_str(), entries.len() - at), ("operator", 2));
    let Ok(Entry::Registry(revocation)) = Entry::parse(&entries[at + 1]) else {
        panic!("no registry entry")
    };
    entries.truncate(at);
    site.replace(1, &entries);
    let report = site.audit();
    assert_eq!(
        places(&report.faults),
        [(FaultKind::RegistryMissing, 1, at as u64)]
    );

    // The same an instant after it was recorded: it may be on its way, and nothing is cosigned before it is there.
    let (state, now) = (tempfile::tempdir().unwrap(), revocation.record.time + 1);
    let (source, auditor) = (
        Source::folder(&site.root),
        Cosigner::from_seed("auditor.example", &[5; 32]).unwrap(),
    );
    site.write_map_log(1, &[site.map_leaf(1, &entries, now, |_| false)]);
    with(&source, &site.policy(), state.path(), now, false, |audit| {
        assert_eq!(audit.report().faults, []);
        assert_eq!(audit.report().on_its_way, [1]);
        let refused = audit.cosign(&auditor, now, &|_| Vec::new());
        assert!(matches!(refused, Err(AuditError::NotClean(_))));
    })
    .unwrap();
    let state = tempfile::tempdir().unwrap();
    let report = run(&site.root, &site.policy(), state.path(), LATER, false).unwrap();
    assert!(!report.is_clean());
}

/// Two shards tell different stories about a party's keys.
#[test]
fn registries_that_differ_are_found() {
    let place = ledger(2);
    place.at_work(|engine| keys::revoke(engine, &name("shop.example")).unwrap());
    let site = Site::of(&place);
    let mut entries = site.entries("log", 1);
    let (at, last) = last_batch(&entries);
    let Ok(Entry::Registry(mut other)) = Entry::parse(&entries[at + 1]) else {
        panic!("no registry entry")
    };
    other.record.time += 1;
    entries.truncate(at);
    let entry = other.to_bytes();
    let batch = Batch {
        root: root(std::slice::from_ref(&entry)),
        ..last
    };
    entries.extend([batch_entry(&batch, &site.key("producer-operator.key")), entry]);
    site.replace(1, &entries);
    let found = places(&site.audit().faults);
    // Of two shards that differ, either may be the one that is told.
    assert_eq!((found.len(), found[0].0), (1, FaultKind::RegistryDiffers));
}
