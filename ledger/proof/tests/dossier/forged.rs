//! Dossiers out of logs that hold what acceptance would have refused: a log that is signed is not yet believed.

use std::collections::BTreeSet;

use sharetrail_proof::acceptance::Verdict;
use sharetrail_proof::customer::commitment;
use sharetrail_proof::dossier::FaultKind;
use sharetrail_proof::entry::ErasureEntry;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{OPERATOR, RECOVERY, Shard};
use sharetrail_proof::note::{NoteError, NoteSigner};
use sharetrail_proof::registry::RegistryError;

use crate::dossier::{alice_and_bob, fault, faults, verified};
use crate::support::{Ledger, chain, key_registered, key_revoked, name, party, signer};

/// Puts a batch into the log that `by` signed, whatever it holds; gives the index of the batch entry.
pub(crate) fn forge(ledger: &mut Ledger, by: &NoteSigner, entries: &[Vec<u8>]) -> LeafIndex {
    let log = ledger.log_mut(0);
    let index = LeafIndex(u64::try_from(log.entries.len()).unwrap());
    let who = by.verifier().name();
    let note = by.sign(&log.follow(who, chain(who), entries).to_text());
    log.force(&note, entries);
    index
}

pub(crate) fn event(ledger: &mut Ledger, number: u32) -> Vec<u8> {
    let event = ledger.event("alice", 0, number);
    ledger.keep(&[event]).remove(0)
}

#[test]
fn a_key_that_was_revoked_signs_nothing_more() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.register(&[("till", key_revoked(&till))]);
    verified(&ledger, &ledger.dossier("alice", 1));
    let entry = event(&mut ledger, 1);
    let index = forge(&mut ledger, &till, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(
        *fault(&found, "shards[0].batches[3].note"),
        FaultKind::Key {
            producer: name("till"),
            index
        }
    );
}

#[test]
fn a_key_that_was_registered_later_signed_nothing_before() {
    let (mut ledger, till) = (Ledger::empty(1), signer("till", "till"));
    let entry = event(&mut ledger, 0);
    let index = forge(&mut ledger, &till, &[entry]);
    ledger.register(&[("till", party()), ("till", key_registered(&till))]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(
        *fault(&found, "shards[0].batches[0].note"),
        FaultKind::Key {
            producer: name("till"),
            index
        }
    );
}

#[test]
fn a_batch_note_is_signed_once_and_rightly_and_for_this_log() {
    let (mut ledger, till) = Ledger::with_till(1);
    let entries = [event(&mut ledger, 0)];
    let batch = ledger.log(0).follow("till", chain("till"), &entries);
    let line = |note: &str| note.lines().last().unwrap().to_owned();
    let good = till.sign(&batch.to_text());
    let stolen = format!("{}\n{}\n", batch.to_text(), line(&till.sign("another text\n")));
    let twice = format!("{good}{}\n", line(&good));
    let mut elsewhere = batch;
    elsewhere.shard = Shard::new(0, 2).unwrap();
    let elsewhere = till.sign(&elsewhere.to_text());
    let kind_of = |note: &str| {
        let (mut ledger, _) = Ledger::with_till(1);
        let entries = [event(&mut ledger, 0)];
        ledger.log_mut(0).force(note, &entries);
        fault(
            &faults(&ledger, &ledger.dossier("alice", 1)),
            "shards[0].batches[1].note",
        )
        .clone()
    };
    assert!(matches!(
        kind_of(&stolen),
        FaultKind::Note(NoteError::BadSignature { .. })
    ));
    assert!(matches!(
        kind_of(&twice),
        FaultKind::Note(NoteError::Malformed { .. })
    ));
    assert_eq!(kind_of(&elsewhere), FaultKind::Elsewhere);
    let accepted = ledger
        .log_mut(0)
        .accept(&crate::support::frame_of(&good, &entries));
    assert!(
        matches!(accepted, Ok(Verdict::Accepted(_))),
        "and the good one is good"
    );
}

#[test]
fn a_producer_registers_nobody() {
    let (mut ledger, till) = Ledger::with_till(1);
    let crm = signer("crm", "crm");
    let entries = ledger
        .log(0)
        .registry_entries(&[("crm", party()), ("crm", key_registered(&crm))]);
    forge(&mut ledger, &till, &entries);
    let entry = event(&mut ledger, 0);
    let index = forge(&mut ledger, &crm, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(*fault(&found, "shards[0].registry[0]"), FaultKind::Kind);
    assert_eq!(
        *fault(&found, "shards[0].batches[1].note"),
        FaultKind::Key {
            producer: name("crm"),
            index
        }
    );
}

#[test]
fn registry_entries_keep_their_rules() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let operator = ledger.operator.clone();
    let twice = ledger.log(0).registry_entries(&[("till", key_registered(&till))]);
    forge(&mut ledger, &operator, &twice);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(
        *fault(&found, "shards[0].registry[2]"),
        FaultKind::Registry(RegistryError::State)
    );
}

#[test]
fn a_producer_erases_nobody() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let entry = ErasureEntry {
        label: ledger.label("alice", 0),
        generation: 0,
    }
    .to_bytes()
    .to_vec();
    forge(&mut ledger, &till, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(*fault(&found, "generations[0].erasure"), FaultKind::Erasure);
}

#[test]
fn an_erasure_states_its_generation() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let operator = ledger.operator.clone();
    let entry = ErasureEntry {
        label: ledger.label("alice", 0),
        generation: 1,
    }
    .to_bytes()
    .to_vec();
    forge(&mut ledger, &operator, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(*fault(&found, "generations[0].erasure"), FaultKind::Erasure);
}

#[test]
fn a_content_says_about_whom_it_is() {
    let contents = [
        ("{\"subject\":\"bob\"}", Some("bob")),
        ("{\"subject\":\"alice\",\"subject\":\"alice\"}", None),
        ("{\"Subject\":\"alice\"}", None),
        ("alice", None),
    ];
    for (content, about) in contents {
        let (mut ledger, till) = Ledger::with_till(1);
        let mut event = ledger.event("alice", 0, 0);
        event.content = content.into();
        event.entry.commitment = commitment(&event.opening, content.as_bytes());
        let entries = ledger.keep(&[event]);
        forge(&mut ledger, &till, &entries);
        let found = faults(&ledger, &ledger.dossier("alice", 1));
        let expected = FaultKind::Customer {
            found: about.map(Into::into),
        };
        assert_eq!(
            *fault(&found, "generations[0].events[0].content"),
            expected,
            "{content}"
        );
    }
}

#[test]
fn an_event_on_another_shard_than_its_labels_is_not_found() {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[1]);
    let stray = ledger.event(&customer, 0, 0);
    let entries = ledger.keep(&[stray]);
    let index = forge(&mut ledger, &till, &entries);
    let mut builder = ledger.collect(&customer, 1);
    ledger.tell_shard(&mut builder, 0, BTreeSet::new());
    ledger.tell(&mut builder, 0, LeafIndex(index.0 + 1));
    let found = faults(&ledger, &builder.finish());
    assert!(
        found
            .iter()
            .any(|one| one.at.starts_with("generations[0].events[0].leaf")),
        "{found:?}"
    );
}

#[test]
fn the_recovery_key_registers_nobody() {
    let mut ledger = Ledger::empty(1);
    let (crm, recovery) = (signer("crm", "crm"), ledger.recovery.clone());
    let entries = ledger
        .log(0)
        .registry_entries(&[("crm", party()), ("crm", key_registered(&crm))]);
    forge(&mut ledger, &recovery, &entries);
    let entry = event(&mut ledger, 0);
    forge(&mut ledger, &crm, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    let expected = FaultKind::Registry(RegistryError::Forbidden { by: name(RECOVERY) });
    assert_eq!(*fault(&found, "shards[0].registry[0]"), expected);
}

#[test]
fn a_second_operator_key_comes_by_replacement_alone() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let operator = ledger.operator.clone();
    let entries = ledger
        .log(0)
        .registry_entries(&[(OPERATOR, key_registered(&signer(OPERATOR, "second")))]);
    forge(&mut ledger, &operator, &entries);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    let expected = FaultKind::Registry(RegistryError::UnknownParty {
        party: name(OPERATOR),
    });
    assert_eq!(*fault(&found, "shards[0].registry[2]"), expected);
}

#[test]
fn nothing_stands_under_a_label_after_its_erasure() {
    let (mut ledger, till) = alice_and_bob();
    ledger.erase("alice", 0);
    verified(&ledger, &ledger.dossier("alice", 1));
    let entry = event(&mut ledger, 3);
    forge(&mut ledger, &till, &[entry]);
    let found = faults(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(*fault(&found, "generations[0].events[3]"), FaultKind::Erasure);
}
