//! Samples by lot, and the dossiers that are asked for them.
//!
//! In scope: what is drawn, what dossiers of it must prove. Out of scope: dossiers by themselves (`dossier`).

use std::fs;
use std::path::Path;

use sharetrail_consumers::audit::{AuditError, FaultKind, Sampled, Source};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{customer_of, dossier};
use sharetrail_proof::name::OPERATOR;

use crate::audit::ledger;
use crate::audit::site::{LATER, Site, places, with};
use crate::support::{TestLedger, consent, customers};

fn sample(place: &TestLedger, state: &Path, count: u64, seed: &str) -> Vec<Sampled> {
    let source = Source::folder(&place.root);
    let policy = place.open().policy().unwrap();
    with(&source, &policy, state, LATER, false, |audit| {
        audit.sample(count, seed).unwrap()
    })
    .unwrap()
}

/// Those that a dossier can be asked for.
fn customers_of(sample: &[Sampled]) -> impl Iterator<Item = &Sampled> {
    sample.iter().filter(|one| one.party.is_none() && !one.erased)
}

/// Writes the dossier of each customer of a sample into a folder.
fn make_dossiers(place: &TestLedger, sample: &[Sampled], folder: &Path) {
    let (ledger, projections) = (place.open(), place.project(StoreKind::Sled));
    let vault = ledger.vault().unwrap();
    for (number, one) in customers_of(sample).enumerate() {
        let customer = customer_of(&ledger, &projections, &vault, &one.label).unwrap();
        let made = dossier(&ledger, &projections, &vault, &customer).unwrap();
        fs::write(folder.join(format!("{number}.dossier")), made.to_bytes()).unwrap();
    }
}

/// The kinds of fault that a folder of dossiers has.
fn faults(site: &Path, place: &TestLedger, dossiers: &Path, sample: &[Sampled]) -> Vec<FaultKind> {
    let (source, policy) = (Source::folder(site), place.open().policy().unwrap());
    let state = tempfile::tempdir().unwrap();
    let report = with(&source, &policy, state.path(), LATER, false, |audit| {
        audit.check_dossiers(dossiers, sample).unwrap();
        audit.report().clone()
    });
    places(&report.unwrap().faults)
        .into_iter()
        .map(|(kind, ..)| kind)
        .collect()
}

#[test]
fn a_sample_can_be_drawn_again_and_has_no_repeats() {
    let place = ledger(3);
    let folder = |()| tempfile::tempdir().unwrap();
    let states = [(); 3].map(folder);
    let first = sample(&place, states[0].path(), 8, "dice of the day");
    assert_eq!(first.len(), 8);
    assert_eq!(sample(&place, states[1].path(), 8, "dice of the day"), first);
    assert_ne!(sample(&place, states[2].path(), 8, "other dice"), first);
    // A party has one label on every shard.
    let mut labels: Vec<_> = first.iter().map(|one| (one.shard, one.label)).collect();
    labels.sort();
    labels.dedup();
    assert_eq!(labels.len(), 8);
    assert!(
        first
            .iter()
            .all(|one| one.shard == one.label.shard(3) || one.party.is_some())
    );

    // All of them: each shard's map holds every party.
    let all = sample(&place, states[2].path(), 10_000, "x");
    let parties: Vec<_> = all.iter().filter_map(|one| one.party.as_ref()).collect();
    assert!(parties.iter().all(|party| party.as_str() != OPERATOR));
    assert_eq!(parties.len(), 3, "the producer, in each shard");
    let leaves: u64 = all.iter().map(|one| one.count).sum();
    let entries = (0..3).flat_map(|shard| Site::of(&place).entries("log", shard));
    let labelled = entries.filter(|entry| matches!(entry[0], 1 | 2 | 4)).count();
    assert_eq!(leaves, labelled as u64);
}

/// The fault: dossiers that are made after the sample was drawn, of a ledger that has grown, fit another sample.
#[test]
fn a_sample_stays_as_it_was_drawn_while_the_ledger_grows() {
    let place = ledger(1);
    let state = tempfile::tempdir().unwrap();
    let first = sample(&place, state.path(), 5, "seed");
    place.record([consent("customer-7", "later")]);
    assert_eq!(sample(&place, state.path(), 5, "seed"), first);
}

#[test]
fn dossiers_of_a_sample_verify_and_others_are_told() {
    let place = ledger(2);
    let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // Of all labels; whoever was erased cannot be found by a label any more, and nobody is blamed for it.
    let drawn = sample(&place, state.path(), 10_000, "seed");
    let erased = place.open().vault().unwrap().label("customer-3", 0);
    assert!(drawn.iter().all(|one| one.erased == (one.label == erased)));
    assert!(drawn.iter().any(|one| one.erased));
    let site = Site::of(&place);
    make_dossiers(&place, &drawn, folder.path());
    assert_eq!(faults(&site.root, &place, folder.path(), &drawn), []);

    // A dossier from before the last event of a label does not stand for the label.
    let mut grown = drawn.clone();
    let one = grown.iter_mut().find(|one| one.party.is_none() && !one.erased);
    one.unwrap().count += 1;
    let stale = faults(&site.root, &place, folder.path(), &grown);
    assert_eq!(stale, [FaultKind::SampleMissing]);

    let first = folder.path().join("0.dossier");
    let bytes = fs::read(&first).unwrap();
    fs::remove_file(&first).unwrap();
    let missing = faults(&site.root, &place, folder.path(), &drawn);
    assert_eq!(missing, [FaultKind::SampleMissing]);

    let mut altered = bytes.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    fs::write(&first, altered).unwrap();
    let found = faults(&site.root, &place, folder.path(), &drawn);
    assert_eq!(found, [FaultKind::Dossier, FaultKind::SampleMissing]);

    // Made from a ledger that has grown since the audited copy was taken.
    place.record(customers(30).iter().map(|customer| consent(customer, "later")));
    let later = tempfile::tempdir().unwrap();
    let one = &drawn[..drawn.len().min(3)];
    make_dossiers(&place, one, later.path());
    let found = faults(&site.root, &place, later.path(), one);
    assert!(!found.is_empty() && found.iter().all(|kind| *kind == FaultKind::DossierLater));
    assert_eq!(faults(&place.root, &place, later.path(), one), []);
}

/// The fault: a customer gets a dossier of a history that was made for them alone.
#[test]
fn a_dossier_of_another_history_is_told() {
    let place = ledger(1);
    let (state, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut drawn = sample(&place, state.path(), 4, "seed");
    drawn.retain(|one| one.party.is_none());
    let erased = place.open().vault().unwrap().label("customer-3", 0);
    drawn.retain(|one| one.label != erased);
    make_dossiers(&place, &drawn, folder.path());
    // What the auditor is shown has the same length, and another map log.
    let site = Site::of(&place);
    let mut leaves = site.map_leaves(0);
    leaves.last_mut().unwrap().time += 1;
    site.write_map_log(0, &leaves);
    let found = faults(&site.root, &place, folder.path(), &drawn);
    assert!(!found.is_empty() && found.iter().all(|kind| *kind == FaultKind::DossierFork));
}

#[test]
fn there_is_no_sample_of_what_was_not_audited() {
    let place = ledger(1);
    let (source, policy) = (Source::folder(&place.root), place.open().policy().unwrap());
    let state = tempfile::tempdir().unwrap();
    with(&source, &policy, state.path(), LATER, true, |audit| {
        assert!(matches!(audit.sample(1, "x"), Err(AuditError::Sample(_))));
    })
    .unwrap();
}
