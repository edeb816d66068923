//! What an audit keeps: going on after an interruption, looking at what is new, and finding that history changed.
//!
//! In scope: the state folder, interrupted, old, another ledger's and damaged. Out of scope: faults that the first look
//! finds (`forged`).

use std::fs;
use std::path::Path;

use sharetrail_consumers::audit::{AuditError, AuditReport, FaultKind};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::EVENT;

use crate::audit::ledger;
use crate::audit::site::{LATER, Site, batch_entry, hash_at, last_batch, places, root, run};
use crate::support::{TestLedger, consent, story};

fn audited(place: &TestLedger, state: &Path, stop: bool) -> AuditReport {
    run(&place.root, &place.open().policy().unwrap(), state, LATER, stop).unwrap()
}

/// What a report says, but for how much of it was looked at in this run.
fn without_effort(report: &AuditReport) -> AuditReport {
    AuditReport {
        checked: 0,
        ..report.clone()
    }
}

/// The fault: an interrupted audit forgets what it saw, or says something else than one that was not.
#[test]
fn an_interrupted_audit_goes_on_and_says_the_same() {
    for shards in [1, 2] {
        let place = ledger(shards);
        let at_once = audited(&place, tempfile::tempdir().unwrap().path(), false);
        let state = tempfile::tempdir().unwrap();
        let mut looked_at = 0;
        for round in 0..3 {
            let part = audited(&place, state.path(), true);
            assert!(part.interrupted && part.checked > 0, "round {round}");
            assert!(!part.is_clean());
            looked_at += part.checked;
        }
        let whole = audited(&place, state.path(), false);
        assert_eq!(without_effort(&whole), without_effort(&at_once));
        assert_eq!(looked_at + whole.checked, at_once.checked, "nothing twice");
        let again = audited(&place, state.path(), false);
        assert_eq!(
            (without_effort(&again), again.checked),
            (without_effort(&at_once), 0)
        );
    }
}

/// The fault: the audit of a grown ledger begins anew, or does not count what is new.
#[test]
fn the_next_audit_looks_at_what_is_new() {
    let place = ledger(2);
    let state = tempfile::tempdir().unwrap();
    let first = audited(&place, state.path(), false);
    place.record(story("newcomer"));
    let second = audited(&place, state.path(), false);
    assert_eq!(second.faults, []);
    assert_eq!(second.checked, second.counts.entries - first.counts.entries);
    let anew = audited(&place, tempfile::tempdir().unwrap().path(), false);
    assert_eq!(without_effort(&second), without_effort(&anew));
}

/// The fault: a fault that was found once is forgotten by the next audit.
#[test]
fn a_fault_stays_told() {
    let place = ledger(1);
    let site = Site::of(&place);
    let mut leaves = site.map_leaves(0);
    leaves[1].labels += 1;
    site.write_map_log(0, &leaves);
    let state = tempfile::tempdir().unwrap();
    let first = site.audit_in(state.path());
    assert_eq!(places(&first.faults), [(FaultKind::MapLabels, 0, 1)]);
    let second = site.audit_in(state.path());
    assert_eq!((second.faults, second.checked), (first.faults, 0));
}

/// The fault: events vanish from the ledger between two audits.
#[test]
fn a_log_that_was_rolled_back_is_found() {
    let place = ledger(1);
    let before = Site::of(&place);
    place.record([consent("customer-1", "one more")]);
    let after = Site::of(&place);
    let state = tempfile::tempdir().unwrap();
    assert_eq!(after.audit_in(state.path()).faults, []);
    let size = before.entries("log", 0).len() as u64;
    let report = before.audit_in(state.path());
    assert_eq!(places(&report.faults), [(FaultKind::RolledBack, 0, size)]);
    // What was known is not forgotten over it.
    assert_eq!(after.audit_in(state.path()).faults, []);

    let rolled = Site::of(&place);
    let leaves = rolled.map_leaves(0);
    rolled.write_map_log(0, &leaves[..leaves.len() - 1]);
    let report = rolled.audit_in(state.path());
    let expected = (FaultKind::RolledBack, 0, leaves.len() as u64 - 1);
    assert_eq!(places(&report.faults), [expected]);
}

/// The fault: the operator shows the auditor another history than before, which keeps every rule by itself.
#[test]
fn a_history_that_was_written_anew_is_found() {
    let place = ledger(1);
    let site = Site::of(&place);
    let honest = site.entries("log", 0);
    let state = tempfile::tempdir().unwrap();
    assert_eq!(site.audit_in(state.path()).faults, []);

    let (at, batch) = last_batch(&honest);
    let mut entries = honest.clone();
    let event = at + 1;
    assert_eq!(entries[event][0], EVENT);
    entries[event][80] ^= 1;
    let batch = Batch {
        root: root(&entries[at + 1..]),
        ..batch
    };
    entries[at] = batch_entry(&batch, &site.key("producer-shop.example.key"));
    site.replace(0, &entries);
    assert_eq!(site.audit().faults, [], "by itself it is in order");
    let report = site.audit_in(state.path());
    let size = honest.len() as u64;
    assert_eq!(places(&report.faults), [(FaultKind::Rewritten, 0, size)]);

    // Also once it has grown.
    let mut longer = entries.clone();
    let more = Batch {
        number: batch.number + 1,
        prev: hash_at(&entries, at),
        ..batch
    };
    let again = entries[at + 1..].to_vec();
    longer.push(batch_entry(&more, &site.key("producer-shop.example.key")));
    longer.extend(again);
    site.replace(0, &longer);
    assert_eq!(site.audit().faults, [], "by itself it is in order");
    let report = site.audit_in(state.path());
    assert_eq!(places(&report.faults), [(FaultKind::Rewritten, 0, size)]);
}

/// The fault: what no map covers yet is written anew, tiles are withheld so that it cannot be shown, and one audit later it
/// is forgotten.
#[test]
fn what_is_not_shown_to_extend_what_was_seen_stays_told() {
    let place = ledger(1);
    place.record_only([consent("customer-9", "unmapped")]);
    let site = Site::of(&place);
    let mut entries = site.entries("log", 0);
    let state = tempfile::tempdir().unwrap();
    assert_eq!(site.audit_in(state.path()).faults, []);

    let (at, batch) = last_batch(&entries);
    entries[at + 1][80] ^= 1;
    let batch = Batch {
        root: root(&entries[at + 1..]),
        ..batch
    };
    entries[at] = batch_entry(&batch, &site.key("producer-shop.example.key"));
    site.write_log(0, &entries);
    assert_eq!(site.audit().faults, [], "by itself it is in order");
    fs::remove_dir_all(site.folder("log", 0).join("tile/0")).unwrap();
    let size = entries.len() as u64;
    for round in 0..2 {
        let report = site.audit_in(state.path());
        assert_eq!(
            places(&report.faults),
            [(FaultKind::Tile, 0, size)],
            "round {round}"
        );
    }
}

/// The fault: an interrupted audit goes on with another history than it began with, and does not notice.
#[test]
fn an_audit_that_goes_on_notices_another_history() {
    let place = ledger(1);
    let site = Site::of(&place);
    let state = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let part = run(&site.root, &site.policy(), state.path(), LATER, true).unwrap();
        assert!(part.interrupted);
    }
    // What was folded so far is another event's now, in a batch that the producer signs anew.
    let mut entries = site.entries("log", 0);
    let first = entries.iter().position(|entry| entry[0] == EVENT).unwrap();
    entries[first][80] ^= 1;
    site.write_log(0, &entries);
    let report = site.audit_in(state.path());
    let found = places(&report.faults);
    assert_eq!(
        (found.len(), found[0].0, found[0].1),
        (1, FaultKind::Rewritten, 0)
    );
    assert!(found[0].2 <= first as u64);
}

#[test]
fn the_state_of_another_ledger_is_refused() {
    let (one, other) = (ledger(1), ledger(1));
    let state = tempfile::tempdir().unwrap();
    assert!(audited(&one, state.path(), false).is_clean());
    let policy = other.open().policy().unwrap();
    let refused = run(&other.root, &policy, state.path(), LATER, false);
    assert!(matches!(refused, Err(AuditError::State { .. })));
    let full = tempfile::tempdir().unwrap();
    fs::write(full.path().join("something"), "else").unwrap();
    let refused = run(&other.root, &policy, full.path(), LATER, false);
    assert!(matches!(refused, Err(AuditError::State { .. })));
}

/// The fault: a damaged state makes the audit wrong. It begins anew instead.
#[test]
fn a_damaged_state_is_dropped() {
    let place = ledger(1);
    let state = tempfile::tempdir().unwrap();
    let whole = audited(&place, state.path(), false);
    let folder = state.path().join("0");
    for item in fs::read_dir(&folder).unwrap() {
        let path = item.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("at-") {
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    let again = audited(&place, state.path(), false);
    assert_eq!(again, whole);
}
