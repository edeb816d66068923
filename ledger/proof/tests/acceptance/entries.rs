//! What a batch may hold: which kinds by whom, with which contents, on which shard, until when.

use sharetrail_proof::acceptance::Rejection;
use sharetrail_proof::entry::{BATCH, EntryError, ErasureEntry, RegistryAction};
use sharetrail_proof::frame::encode;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{OPERATOR, RECOVERY};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::registry::RegistryError;

use crate::acceptance::{events, refused};
use crate::support::{Ledger, Log, chain, key_registered, name, operator_replaced, party, signer};

/// Why a batch of one entry is rejected that follows in all else.
fn refused_entry(log: &mut Log, by: &NoteSigner, entry: &[u8]) -> Rejection {
    let bytes = log.next_frame(by, chain(by.verifier().name()), &[entry.to_vec()]);
    refused(log, &bytes)
}

fn erasure(ledger: &Ledger, customer: &str) -> Vec<u8> {
    ErasureEntry {
        label: ledger.label(customer, 0),
        generation: 0,
    }
    .to_bytes()
    .to_vec()
}

#[test]
fn what_is_no_entry_is_rejected_with_its_position() {
    let (mut ledger, till) = Ledger::with_till(1);
    let good = events(&mut ledger, "alice", 0..1).remove(0);
    let log = ledger.log_mut(0);
    let cases = [
        (Vec::new(), EntryError::UnknownKind { found: None }),
        (vec![9], EntryError::UnknownKind { found: Some(9) }),
        (
            good[..80].to_vec(),
            EntryError::Length {
                kind: 1,
                expected: 81,
                found: 80,
            },
        ),
    ];
    for (bad, error) in cases {
        let bytes = log.next_frame(&till, chain("till"), &[good.clone(), bad]);
        assert_eq!(refused(log, &bytes), Rejection::Entry { position: 1, error });
    }
}

#[test]
fn each_producer_writes_its_kinds_of_entry_and_no_others() {
    let (mut ledger, till) = Ledger::with_till(1);
    let (operator, recovery) = (ledger.operator.clone(), ledger.recovery.clone());
    let event = events(&mut ledger, "alice", 0..1).remove(0);
    let (erasure, genesis) = (erasure(&ledger, "alice"), ledger.log(0).entries[0].clone());
    let registry = ledger.log(0).registry_entries(&[("crm", party())]).remove(0);
    let batch = [[BATCH].as_slice(), ledger.log(0).note_at(LeafIndex(1)).as_bytes()].concat();
    let forbidden = [
        (&till, vec![&erasure, &registry, &genesis, &batch]),
        (&operator, vec![&event, &genesis, &batch]),
        (&recovery, vec![&event, &erasure, &genesis, &batch]),
    ];
    for (by, entries) in forbidden {
        for entry in entries {
            let rejection = refused_entry(ledger.log_mut(0), by, entry);
            assert_eq!(
                rejection,
                Rejection::Kind {
                    position: 0,
                    producer: name(by.verifier().name())
                }
            );
        }
    }
}

#[test]
fn an_event_has_a_sealed_content_and_nothing_else_has_one() {
    let (mut ledger, till) = Ledger::with_till(1);
    let operator = ledger.operator.clone();
    let (event, erasure) = (
        events(&mut ledger, "alice", 0..1).remove(0),
        erasure(&ledger, "bob"),
    );
    let log = ledger.log_mut(0);
    for (by, entry, sealed) in [
        (&till, event, b"".as_slice()),
        (&operator, erasure, b"sealed".as_slice()),
    ] {
        let who = by.verifier().name();
        let batch = log.follow(who, chain(who), std::slice::from_ref(&entry));
        let bytes = encode(&by.sign(&batch.to_text()), &[&entry], &[sealed]);
        assert_eq!(refused(log, &bytes), Rejection::Content { position: 0 });
    }
}

#[test]
fn labels_live_on_their_shard() {
    let (mut ledger, till) = Ledger::with_till(2);
    let (here, there) = (ledger.customer_on(&[0]), ledger.customer_on(&[1]));
    let mut entries = events(&mut ledger, &here, 0..1);
    entries.extend(events(&mut ledger, &there, 0..1));
    let (erasure, operator) = (erasure(&ledger, &there), ledger.operator.clone());
    let log = ledger.log_mut(0);
    let bytes = log.next_frame(&till, chain("till"), &entries);
    assert_eq!(
        refused(log, &bytes),
        Rejection::WrongShard {
            position: 1,
            shard: 1
        }
    );
    let rejection = refused_entry(log, &operator, &erasure);
    assert_eq!(
        rejection,
        Rejection::WrongShard {
            position: 0,
            shard: 1
        }
    );
}

#[test]
fn nothing_follows_an_erasure_under_its_label() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    let (operator, twice) = (ledger.operator.clone(), vec![erasure(&ledger, "alice"); 2]);
    let label = ledger.label("alice", 0);
    let log = ledger.log_mut(0);
    let bytes = log.next_frame(&operator, chain("operator"), &twice);
    assert_eq!(refused(log, &bytes), Rejection::ErasedLabel { position: 1 });
    assert_eq!(log.state.erased(&label), None);
    ledger.erase("alice", 0);
    assert_eq!(ledger.log(0).state.erased(&label), Some(0));
    let event = events(&mut ledger, "alice", 5..6).remove(0);
    for (by, entry) in [(&operator, &twice[0]), (&till, &event)] {
        let rejection = refused_entry(ledger.log_mut(0), by, entry);
        assert_eq!(rejection, Rejection::ErasedLabel { position: 0 });
    }
    // The slot stays open, and another generation has another label.
    ledger.record(&till, "alice", 1, 0..1);
    assert_eq!(ledger.log(0).state.events(), 3);
}

#[test]
fn registry_entries_keep_the_rules_of_the_registry_or_the_batch_is_refused_whole() {
    let (mut ledger, _) = Ledger::with_till(1);
    let operator = ledger.operator.clone();
    let log = ledger.log_mut(0);
    let registered = [("crm", party()), ("crm", key_registered(&signer("crm", "crm")))];
    let mut entries = log.registry_entries(&registered);
    entries.push(entries[0].clone());
    let bytes = log.next_frame(&operator, chain("operator"), &entries);
    let error = RegistryError::Order {
        expected: 4,
        found: 2,
    };
    assert_eq!(refused(log, &bytes), Rejection::Registry { position: 2, error });
    assert_eq!(log.state.registry().party(&name("crm")), None);
}

#[test]
fn the_recovery_key_replaces_the_operator_key_and_does_nothing_else() {
    let (mut ledger, _) = Ledger::with_till(1);
    let (operator, recovery) = (ledger.operator.clone(), ledger.recovery.clone());
    let replacement = signer(OPERATOR, "replacement");
    let log = ledger.log_mut(0);
    let registers: [(&str, RegistryAction); 1] = [("crm", party())];
    let forbidden = log.registry_entries(&registers).remove(0);
    let error = RegistryError::Forbidden { by: name(RECOVERY) };
    assert_eq!(
        refused_entry(log, &recovery, &forbidden),
        Rejection::Registry { position: 0, error }
    );
    let replaced = log.registry_entries(&[(OPERATOR, operator_replaced(&replacement))]);
    log.push(&recovery, chain(RECOVERY), &replaced);
    let entries = log.registry_entries(&registers);
    let rejection = refused_entry(log, &operator, &entries[0]);
    assert_eq!(
        rejection,
        Rejection::NoValidKey {
            producer: name(OPERATOR)
        }
    );
    log.push(&replacement, chain(OPERATOR), &entries);
    assert!(log.state.registry().party(&name("crm")).is_some());
}
