//! The evidence of a shard: checkpoint, genesis entry, batches and registry entries, changed or put elsewhere.

use sharetrail_proof::dossier::FaultKind;
use sharetrail_proof::note::NoteError;
use sharetrail_proof::policy::PolicyError;
use sharetrail_proof::tree::ProofError;

use crate::dossier::{alice_and_bob, fault, faults, three_generations, verified};
use crate::support::{Ledger, chain, key_registered, party_named, signer};

#[test]
fn the_evidence_of_a_shard_is_checked() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let log = ledger.log(0);
    let mut forged = good.clone();
    let (text, _) = good.shards[0].checkpoint.split_once("\n\n").unwrap();
    forged.shards[0].checkpoint =
        signer(log.signer.verifier().name(), "another key").sign(&format!("{text}\n"));
    let found = faults(&ledger, &forged);
    assert!(matches!(
        fault(&found, "shards[0].checkpoint"),
        FaultKind::Policy(PolicyError::Note(NoteError::Unsigned { .. }))
    ));
    let mut older = good.clone();
    older.shards[0].checkpoint = Ledger::with_till(1).0.log(0).checkpoint();
    let found = faults(&ledger, &older);
    assert!(matches!(
        fault(&found, "shards[0].genesis_path"),
        FaultKind::Proof(ProofError::WrongLength { .. })
    ));
    let mut other_genesis = good.clone();
    other_genesis.shards[0].genesis.0 = Ledger::empty(2).log(0).entries[0].clone();
    let found = faults(&ledger, &other_genesis);
    assert!(matches!(
        fault(&found, "shards[0].genesis_path"),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
    let mut elsewhere = good.clone();
    elsewhere.shards[0].shard = 1;
    assert_eq!(
        *fault(&faults(&ledger, &elsewhere), "shards[0].genesis"),
        FaultKind::Genesis
    );
    let mut reordered = good.clone();
    reordered.shards[0].batches.swap(0, 1);
    assert_eq!(
        *fault(&faults(&ledger, &reordered), "shards[0].batches[1].index"),
        FaultKind::Order
    );
    let mut other_note = good;
    other_note.shards[0].batches[1].note.push('x');
    let found = faults(&ledger, &other_note);
    assert!(matches!(
        fault(&found, "shards[0].batches[1].path"),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
}

#[test]
fn registry_entries_stand_once_in_order_and_are_none_of_other_kinds() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut reordered = good.clone();
    reordered.shards[0].registry.swap(0, 1);
    assert_eq!(
        *fault(&faults(&ledger, &reordered), "shards[0].registry[1]"),
        FaultKind::Order
    );
    let mut dropped = good.clone();
    dropped.shards[0].registry.clear();
    let found = faults(&ledger, &dropped);
    assert!(matches!(
        fault(&found, "shards[0].batches[1].note"),
        FaultKind::Key { .. }
    ));
    let mut event = good.clone();
    event.shards[0]
        .registry
        .push(good.generations[0].events[0].leaf.clone());
    assert_eq!(
        *fault(&faults(&ledger, &event), "shards[0].registry[2]"),
        FaultKind::Kind
    );
    let mut damaged = good;
    damaged.shards[0].registry[1].entry.0.pop();
    let found = faults(&ledger, &damaged);
    assert!(matches!(
        fault(&found, "shards[0].registry[1].batch_path"),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
}

#[test]
fn shards_stand_in_order_and_each_label_on_its_own() {
    let (ledger, customer) = three_generations();
    let good = ledger.dossier(&customer, 3);
    let mut reordered = good.clone();
    reordered.shards.swap(0, 1);
    assert_eq!(
        *fault(&faults(&ledger, &reordered), "shards[1].shard"),
        FaultKind::Order
    );
    let mut one_left = good.clone();
    one_left.shards.pop();
    let found = faults(&ledger, &one_left);
    assert_eq!(
        *fault(&found, "generations[1].label"),
        FaultKind::Number {
            expected: 1,
            found: 0
        }
    );
    let mut exchanged = good;
    exchanged.shards.swap(0, 1);
    exchanged.shards[0].shard = 0;
    exchanged.shards[1].shard = 1;
    let found = faults(&ledger, &exchanged);
    for at in ["shards[0].genesis", "shards[1].genesis"] {
        assert_eq!(*fault(&found, at), FaultKind::Genesis);
    }
}

/// Caught: a party that is one on this shard and another on that one, each told to the customers who live there.
#[test]
fn shards_do_not_show_two_registries() {
    let registered_as = |names: [&str; 2]| {
        let (mut ledger, till) = (Ledger::empty(2), signer("till", "till"));
        let operator = ledger.operator.clone();
        for (shard, full_name) in (0..).zip(names) {
            let log = ledger.log_mut(shard);
            let actions = [("till", party_named(full_name)), ("till", key_registered(&till))];
            let entries = log.registry_entries(&actions);
            log.push(&operator, chain("operator"), &entries);
        }
        let customer = ledger.customer_on(&[0, 1]);
        ledger.record(&till, &customer, 0, 0..1);
        ledger.erase(&customer, 0);
        ledger.record(&till, &customer, 1, 1..2);
        (ledger, customer)
    };
    let (ledger, customer) = registered_as(["Till GmbH", "Till GmbH"]);
    verified(&ledger, &ledger.dossier(&customer, 2));
    let (ledger, customer) = registered_as(["Till GmbH", "Another GmbH"]);
    let found = faults(&ledger, &ledger.dossier(&customer, 2));
    // The second entry names the first by its hash, so it is another one too.
    assert_eq!(found.len(), 2, "{found:?}");
    for at in ["shards[1].registry[0]", "shards[1].registry[1]"] {
        assert_eq!(*fault(&found, at), FaultKind::Registries);
    }
}
