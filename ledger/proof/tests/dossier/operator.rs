//! A malicious operator's tries: whoever holds all keys of the logs and can compute anew whatever follows from them.
//!
//! Each try is caught at its place by [`Dossier::verify`], or the test says what it takes to catch it.

use std::collections::BTreeSet;

use sharetrail_proof::batch::Batch;
use sharetrail_proof::customer::prove_label;
use sharetrail_proof::dossier::{
    Base64, Builder, ContentEvidence, Dossier, FaultKind, MapPart, VerifiedContent,
};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tree::ProofError;
use sharetrail_proof::vrf::VrfError;

use crate::dossier::forged::{event, forge};
use crate::dossier::{alice_and_bob, fault, faults, three_generations, verified};
use crate::support::{LEDGER, Ledger, chain, key_registered, key_revoked, name, party, signer};

/// Left out of the dossier, with every path made for what remains: the map's value of the label is another.
#[test]
fn an_event_left_out_is_missed_by_the_map() {
    for index in [5, 6, 12] {
        let (mut ledger, _) = alice_and_bob();
        ledger.left_out.insert((0, LeafIndex(index)));
        let found = faults(&ledger, &ledger.dossier("alice", 1));
        assert_eq!(found.len(), 1, "all else was computed anew: {found:?}");
        assert!(matches!(
            fault(&found, "generations[0].map"),
            FaultKind::Incomplete(_)
        ));
    }
}

/// Left out of the map too, which the operator then signs: the dossier holds, and no verifier of it can know. It says
/// "complete by the operator's word"; an audit, which builds the map from the log, finds that the root is another, and
/// no auditor cosigns.
#[test]
fn an_event_left_out_of_the_map_itself_is_for_an_audit_to_find() {
    let (mut ledger, _) = alice_and_bob();
    let honest = ledger.map(0).root();
    ledger.left_out.insert((0, LeafIndex(6)));
    ledger.unmapped.insert((0, LeafIndex(6)));
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(verdict.events.len(), 2);
    assert_eq!(verdict.maps[0].checkpoint.auditors().len(), 0);
    assert_ne!(verdict.maps[0].leaf.root, honest, "what an audit would find");
}

/// The path of a label that is indeed absent, shown for one that is not.
#[test]
fn the_absence_of_another_label_is_not_ones_own() {
    let (ledger, _) = alice_and_bob();
    let map = ledger.map(0);
    let (carols, proof) = prove_label(&ledger.vrf, &name(LEDGER), "carol", 0);
    let alices = prove_label(&ledger.vrf, &name(LEDGER), "alice", 0);
    let shown = |label, proof, path| {
        let mut builder = Builder::new(name(LEDGER), "alice");
        builder.absence(0, label, proof, path);
        ledger.tell_shard(&mut builder, 0, BTreeSet::new());
        faults(&ledger, &builder.finish())
    };
    let found = shown(carols, proof, map.path(&carols));
    assert_eq!(
        *fault(&found, "absence.proof"),
        FaultKind::Vrf(VrfError::Mismatch)
    );
    let found = shown(carols, alices.1, map.path(&carols));
    let expected = FaultKind::Label {
        expected: alices.0,
        found: carols,
    };
    assert_eq!(*fault(&found, "absence.label"), expected);
    let found = shown(alices.0, alices.1, map.path(&carols));
    assert!(matches!(
        fault(&found, "absence.map"),
        FaultKind::NotAbsent(_) | FaultKind::Map(_)
    ));
}

/// In another shard's map the label is absent indeed.
#[test]
fn an_absence_in_the_wrong_shard_is_none() {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[1]);
    ledger.record(&till, &customer, 0, 0..1);
    let (label, proof) = prove_label(&ledger.vrf, &name(LEDGER), &customer, 0);
    let shown = |shards: &[u32]| {
        let mut builder = Builder::new(name(LEDGER), &customer);
        builder.absence(0, label, proof, ledger.map(0).path(&label));
        for shard in shards {
            ledger.tell_shard(&mut builder, *shard, BTreeSet::new());
        }
        faults(&ledger, &builder.finish())
    };
    let expected = FaultKind::Number {
        expected: 1,
        found: 0,
    };
    assert_eq!(*fault(&shown(&[0]), "absence.label"), expected);
    assert!(matches!(
        fault(&shown(&[0, 1]), "absence.map"),
        FaultKind::NotAbsent(_) | FaultKind::Map(_)
    ));
}

/// "You were erased, and nothing came after": the generation after the last one shown is absent nowhere.
#[test]
fn a_hidden_generation_is_not_absent() {
    let (ledger, customer) = three_generations();
    for shown in 0..3 {
        let found = faults(&ledger, &ledger.dossier(&customer, shown));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(matches!(fault(&found, "absence.map"), FaultKind::NotAbsent(_)));
    }
}

#[test]
fn an_unwelcome_event_is_not_erased_by_calling_it_so() {
    let (mut ledger, _) = alice_and_bob();
    let mut dossier = ledger.dossier("alice", 1);
    dossier.generations[0].events[1].content = ContentEvidence::Erased {};
    let found = faults(&ledger, &dossier);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        *fault(&found, "generations[0].events[1].content"),
        FaultKind::NotErased
    );
    // With somebody else's erasure beside it.
    let bobs = ledger.erase("bob", 0).index.0 + 1;
    let mut builder = ledger.collect("alice", 1);
    ledger.tell(&mut builder, 0, LeafIndex(bobs));
    let mut dossier = builder.finish();
    dossier.generations[0].events[1].content = ContentEvidence::Erased {};
    assert_eq!(
        *fault(&faults(&ledger, &dossier), "generations[0].erasure"),
        FaultKind::Erasure
    );
}

/// Two map roots, an event between them; the dossier shows the map log of both with its first leaf.
#[test]
fn a_map_leaf_that_is_not_the_last_is_refused() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.seal();
    let unwelcome = LeafIndex(ledger.record(&till, "alice", 0, 2..3).index.0 + 1);
    ledger.seal();
    let stale = ledger.map_part_of(0, 0);
    ledger.left_out.insert((0, unwelcome));
    ledger.map_leaves = Some(1);
    let mut builder = ledger.collect("alice", 1);
    let consistency = ledger.map_part(0).consistency;
    builder.map(0, MapPart { consistency, ..stale });
    let found = faults(&ledger, &builder.finish());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(matches!(
        fault(&found, "shards[0].map.path"),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
}

/// An older checkpoint of the map log was signed once, so it verifies: the dossier says as of when it is complete, which
/// is the reader's to judge (a witness that cosigns the newest one helps), and what it shows besides is not covered.
#[test]
fn an_old_map_is_told_by_its_time() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.seal();
    let old = ledger.log(0).entries.len();
    ledger.record(&till, "alice", 0, 2..3);
    ledger.seal();
    let new = ledger.log(0).entries.len();
    ledger.map_leaves = Some(1);
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(verdict.as_of(), Ledger::sealed_at(old));
    let covered: Vec<bool> = verdict.events.iter().map(|event| event.covered).collect();
    assert_eq!(covered, [true, true, false]);
    ledger.map_leaves = None;
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(verdict.as_of(), Ledger::sealed_at(new));
}

/// The key was revoked, then signed; without the revocation the signature would look valid.
#[test]
fn a_revocation_left_out_is_missed_by_the_map() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.register(&[("till", key_revoked(&till))]);
    let revocation = LeafIndex(7);
    let entry = event(&mut ledger, 1);
    let index = forge(&mut ledger, &till, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    let expected = FaultKind::Key {
        producer: name("till"),
        index,
    };
    assert_eq!(*fault(&found, "shards[0].batches[3].note"), expected);
    ledger.left_out.insert((0, revocation));
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(found.len(), 1, "all else was computed anew: {found:?}");
    assert!(matches!(
        fault(&found, "shards[0].parties[1].map"),
        FaultKind::Incomplete(_)
    ));
}

/// The log holds the commitment, so another content under it is seen; another entry is not in the log.
#[test]
fn a_content_replaced_after_the_fact_is_not_the_one_committed_to() {
    let (ledger, _) = alice_and_bob();
    let other = ledger.event("alice", 0, 99);
    let good = ledger.dossier("alice", 1);
    let mut content = good.clone();
    content.generations[0].events[0].content = ContentEvidence::Opened {
        opening: Base64(other.opening.to_vec()),
        json: other.content.clone(),
    };
    let found = faults(&ledger, &content);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(matches!(
        fault(&found, "generations[0].events[0].content"),
        FaultKind::Commitment { .. }
    ));
    let mut entry = content;
    entry.generations[0].events[0].leaf.entry = Base64(other.entry.to_bytes().to_vec());
    assert!(matches!(
        fault(
            &faults(&ledger, &entry),
            "generations[0].events[0].leaf.batch_path"
        ),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
}

/// Bob's label and events under alice's name; and bob's contents under alice's label.
#[test]
fn two_customers_cannot_be_swapped() {
    let (ledger, _) = alice_and_bob();
    let mut of_bob = ledger.dossier("bob", 1);
    of_bob.customer = "alice".into();
    let found = faults(&ledger, &of_bob);
    let mismatch = FaultKind::Vrf(VrfError::Mismatch);
    assert_eq!(*fault(&found, "generations[0].proof"), mismatch);
    assert_eq!(*fault(&found, "absence.proof"), mismatch);
    let mut contents = ledger.dossier("alice", 1);
    contents.generations[0].events[0].content =
        ledger.dossier("bob", 1).generations[0].events[0].content.clone();
    assert!(matches!(
        fault(&faults(&ledger, &contents), "generations[0].events[0].content"),
        FaultKind::Commitment { .. }
    ));
}

/// With the keys of two customers swapped in the vault nothing opens. That may be shown, but not as an erasure.
#[test]
fn swapped_keys_make_events_unreadable_and_not_erased() {
    let (mut ledger, _) = alice_and_bob();
    ledger.lose("alice", 0);
    let mut dossier = ledger.dossier("alice", 1);
    let verdict = verified(&ledger, &dossier);
    assert!(
        verdict
            .events
            .iter()
            .all(|one| one.content == VerifiedContent::Unreadable)
    );
    for event in &mut dossier.generations[0].events {
        event.content = ContentEvidence::Erased {};
    }
    assert_eq!(faults(&ledger, &dossier).len(), 3);
}

/// The record log was forked for one customer: the map of the other branch does not go with the log that is shown.
#[test]
fn a_map_of_a_fork_is_not_this_logs() {
    let (mut shown, till) = Ledger::with_till(1);
    shown.record(&till, "alice", 0, 0..2);
    let with_map_of = |fork: &Ledger| -> Dossier {
        let mut builder = shown.collect("alice", 1);
        builder.map(0, fork.map_part(0));
        builder.finish()
    };
    let (mut as_long, _) = Ledger::with_till(1);
    as_long.record(&till, "alice", 0, 1..3);
    let found = faults(&shown, &with_map_of(&as_long));
    assert!(matches!(
        fault(&found, "shards[0].map.consistency"),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
    let (mut longer, _) = Ledger::with_till(1);
    longer.record(&till, "alice", 0, 0..2);
    longer.record(&till, "alice", 0, 2..3);
    let found = faults(&shown, &with_map_of(&longer));
    assert!(matches!(
        fault(&found, "shards[0].map.consistency"),
        FaultKind::Proof(ProofError::Shrunk { .. })
    ));
}

/// Another shard's map, and a map leaf that names another log.
#[test]
fn a_map_of_another_shard_is_not_this_ones() {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[0, 0]);
    ledger.record(&till, &customer, 0, 0..1);
    let mut builder = ledger.collect(&customer, 1);
    builder.map(0, ledger.map_part(1));
    let found = faults(&ledger, &builder.finish());
    let expected = FaultKind::Text {
        expected: ledger.maps[0].verifier().name().to_owned(),
        found: ledger.maps[1].verifier().name().to_owned(),
    };
    assert_eq!(*fault(&found, "shards[0].map.checkpoint"), expected);
    // The map log of shard 0 holds a leaf that was made for shard 1: signed by the right key, and wrong.
    let mut part = ledger.map_part(1);
    let renamed = part.checkpoint.replace("/map/1of2", "/map/0of2");
    let text = format!("{}\n", renamed.split_once("\n\n").unwrap().0);
    part.checkpoint = ledger.maps[0].sign(&text);
    let mut builder = ledger.collect(&customer, 1);
    builder.map(0, part);
    let found = faults(&ledger, &builder.finish());
    let expected = FaultKind::Text {
        expected: ledger.log(0).signer.verifier().name().to_owned(),
        found: ledger.log(1).signer.verifier().name().to_owned(),
    };
    assert_eq!(*fault(&found, "shards[0].map.leaf"), expected);
}

/// Producers were given the label of generation 1 though nothing was erased. All that a dossier shows is true, and the
/// event is not in it: nobody knows which generations there are but who was given their labels.
#[test]
fn a_generation_that_begins_without_an_erasure_is_for_its_producers_to_miss() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 1, 0..1);
    let verdict = verified(&ledger, &ledger.dossier("alice", 0));
    assert!(verdict.generations.is_empty() && verdict.events.is_empty());
    assert_eq!(verdict.absence.generation, 0);
}

/// The note is the producer's, the places are right, the map counts both: but the chain does not go on.
#[test]
fn a_batch_put_on_record_twice_is_seen() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = [event(&mut ledger, 0)];
    let index = forge(&mut ledger, &till, &entries);
    let note = ledger.log(0).note_at(index).to_owned();
    verified(&ledger, &ledger.dossier("alice", 1));
    ledger.log_mut(0).force(&note, &entries);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "shards[0].batches[2].note"), FaultKind::Order);
}

/// Batches 0 and 1 of the till are on record, then this one on the same chain: signed, in its place, counted by the map.
fn after_two_batches(by: &str, number: u64) -> (Ledger, Dossier) {
    let (mut ledger, till) = Ledger::with_till(1);
    let crm = signer("crm", "crm");
    ledger.register(&[("crm", party()), ("crm", key_registered(&crm))]);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.record(&till, "alice", 0, 1..2);
    let entries = [event(&mut ledger, 2)];
    let batch = Batch {
        number,
        ..ledger.log(0).follow(by, chain("till"), &entries)
    };
    let key = if by == "till" { &till } else { &crm };
    let note = key.sign(&batch.to_text());
    ledger.log_mut(0).force(&note, &entries);
    let dossier = ledger.dossier("alice", 1);
    (ledger, dossier)
}

/// A dossier shows some batches of a chain, so numbers may be missing between them; no number comes back, and no other
/// producer goes on with a chain.
#[test]
fn a_chain_goes_up_and_stays_with_its_producer() {
    for number in [2, 7] {
        let (ledger, dossier) = after_two_batches("till", number);
        assert_eq!(verified(&ledger, &dossier).events.len(), 3);
    }
    for (by, number) in [("till", 1), ("till", 0), ("crm", 2), ("crm", 0)] {
        let (ledger, dossier) = after_two_batches(by, number);
        let found = faults(&ledger, &dossier);
        assert_eq!(found.len(), 1, "{by} {number}: {found:?}");
        let last = dossier.shards[0].batches.len() - 1;
        let at = format!("shards[0].batches[{last}].note");
        assert_eq!(*fault(&found, &at), FaultKind::Order, "{by} {number}");
    }
}
