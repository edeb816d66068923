//! What the map covers and what it does not cover yet: the evidence of the map log, and events after its last leaf.

use sharetrail_proof::dossier::{DossierError, FaultKind, VerifiedContent};
use sharetrail_proof::map::MapLeafError;
use sharetrail_proof::name::{OPERATOR, RECOVERY};
use sharetrail_proof::note::NoteError;
use sharetrail_proof::policy::{Policy, PolicyError};
use sharetrail_proof::tree::ProofError;

use crate::dossier::{alice_and_bob, fault, faults, list_party, three_generations, verified};
use crate::support::{LEDGER, Ledger, Witness, ledger_id, name, party, signer};

#[test]
fn events_after_the_map_leaf_are_on_record_and_not_covered() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.seal();
    let sealed = ledger.log(0).entries.len();
    ledger.record(&till, "alice", 0, 2..5);
    let dossier = ledger.dossier("alice", 1);
    let verdict = verified(&ledger, &dossier);
    let covered: Vec<bool> = verdict.events.iter().map(|event| event.covered).collect();
    assert_eq!(covered, [true, true, false, false, false]);
    assert_eq!(verdict.as_of(), Ledger::sealed_at(sealed));
    assert_ne!(dossier.shards[0].map.consistency, Vec::<u32>::new());
    ledger.seal();
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    assert!(verdict.events.iter().all(|event| event.covered));
}

/// The label's path then ends where the label is not yet; its events are listed all the same.
#[test]
fn a_customer_of_whom_only_later_events_are_known_is_shown_to_be_absent_before() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.seal();
    ledger.record(&till, "alice", 0, 0..2);
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    assert_eq!(verdict.events.len(), 2);
    assert!(verdict.events.iter().all(|event| !event.covered));
}

/// The erasure is on record, so the events count as erased; that there are no others, the next map root will say.
#[test]
fn an_erasure_after_the_map_leaf_holds_and_is_not_covered() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.seal();
    let index = ledger.erase("alice", 0).index.0 + 1;
    let verdict = verified(&ledger, &ledger.dossier("alice", 1));
    let [generation] = verdict.generations.as_slice() else {
        panic!("one generation")
    };
    assert_eq!(
        (generation.erased_at.map(|at| at.0), generation.erasure_covered),
        (Some(index), false)
    );
    assert!(
        verdict
            .events
            .iter()
            .all(|event| event.covered && event.content == VerifiedContent::Erased)
    );
    ledger.seal();
    assert!(verified(&ledger, &ledger.dossier("alice", 1)).generations[0].erasure_covered);
}

/// Each label is held to the map of its own shard; the dossier is as old as the oldest of them.
#[test]
fn shards_are_covered_each_by_its_own_map() {
    let (mut ledger, customer) = three_generations();
    ledger.seal();
    let sealed: Vec<usize> = ledger.logs.iter().map(|log| log.entries.len()).collect();
    let till = signer("till", "till");
    ledger.record(&till, &customer, 2, 2..3);
    let verdict = verified(&ledger, &ledger.dossier(&customer, 3));
    let covered: Vec<bool> = verdict.events.iter().map(|event| event.covered).collect();
    assert_eq!(covered, [true, true, true, true, true, true, false]);
    let oldest = sealed.into_iter().min().unwrap();
    assert_eq!(verdict.as_of(), Ledger::sealed_at(oldest));
}

/// A recipient is shown with its registry entries, whether the map covers them or not; it needs no key. One that has none
/// is not listed.
#[test]
fn recipients_are_shown_to_be_registered() {
    let (mut ledger, _) = alice_and_bob();
    ledger.register(&[("insurer", party())]);
    ledger.seal();
    ledger.register(&[("broker", party())]);
    let builder = ledger.collect_with("alice", 1, &["broker", "insurer", "nobody"]);
    let dossier = builder.finish();
    let verdict = verified(&ledger, &dossier);
    let registered: Vec<_> = verdict
        .parties
        .iter()
        .map(|one| (one.party.as_str(), one.registered))
        .collect();
    assert_eq!(
        registered,
        [
            ("broker", false),
            ("insurer", true),
            ("operator", false),
            ("till", true)
        ],
        "the broker's registration is on record, and not covered yet"
    );
    for (who, is_registered) in [("insurer", true), ("broker", false), ("nobody", false)] {
        assert_eq!(verdict.is_registered(&name(who)), is_registered, "{who}");
    }
}

/// Caught: a name that nothing binds. The path on which "insurer" is not would do for "insurez" as well, so the name could
/// be changed unseen. The recovery key signs batches, but has no registry entries; the operator is no exception.
#[test]
fn a_party_that_signed_nothing_and_stands_in_no_registry_entry_is_not_listed() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    assert_eq!(ledger.collect_with("alice", 1, &["insurer"]).finish(), good);
    let empty = Ledger::empty(1);
    let nothing = empty.dossier("alice", 0);
    assert!(nothing.shards[0].parties.is_empty());
    for (ledger, good, who) in [
        (&ledger, &good, "insurer"),
        (&ledger, &good, RECOVERY),
        (&empty, &nothing, OPERATOR),
    ] {
        let mut listed = good.clone();
        let position = list_party(&mut listed.hashes, &mut listed.shards[0], &ledger.map(0), who);
        let found = faults(ledger, &listed);
        assert_eq!(found.len(), 1, "{found:?}");
        let at = format!("shards[0].parties[{position}]");
        assert_eq!(*fault(&found, &at), FaultKind::Unneeded, "{who}");
    }
}

#[test]
fn parties_stand_in_order_and_are_all_who_are_involved() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let mut reordered = good.clone();
    reordered.shards[0].parties.swap(0, 1);
    assert_eq!(
        *fault(&faults(&ledger, &reordered), "shards[0].parties[1].party"),
        FaultKind::Order
    );
    let mut no_operator = good.clone();
    no_operator.shards[0].parties.remove(0);
    let expected = FaultKind::Party {
        party: name("operator"),
    };
    assert_eq!(
        *fault(&faults(&ledger, &no_operator), "shards[0].batches[0]"),
        expected
    );
    let mut no_till = good.clone();
    no_till.shards[0].parties.pop();
    let found = faults(&ledger, &no_till);
    let expected = FaultKind::Party { party: name("till") };
    for at in [
        "shards[0].batches[1]",
        "shards[0].batches[2]",
        "shards[0].registry[0]",
    ] {
        assert_eq!(*fault(&found, at), expected);
    }
    let mut swapped = good;
    let [operator, till] = swapped.shards[0].parties.as_mut_slice() else {
        panic!("two parties")
    };
    std::mem::swap(&mut operator.map, &mut till.map);
    let found = faults(&ledger, &swapped);
    for at in ["shards[0].parties[0].map", "shards[0].parties[1].map"] {
        assert!(matches!(
            fault(&found, at),
            FaultKind::Incomplete(_) | FaultKind::NotAbsent(_) | FaultKind::Map(_)
        ));
    }
}

#[test]
fn the_evidence_of_a_map_is_checked() {
    let (ledger, _) = alice_and_bob();
    let good = ledger.dossier("alice", 1);
    let at = "shards[0].map";
    let mut unsigned = good.clone();
    let text = good.shards[0].map.checkpoint.split_once("\n\n").unwrap().0;
    let origin = ledger.maps[0].verifier().name();
    unsigned.shards[0].map.checkpoint = signer(origin, "another key").sign(&format!("{text}\n"));
    assert!(matches!(
        fault(&faults(&ledger, &unsigned), &format!("{at}.checkpoint")),
        FaultKind::Policy(PolicyError::Note(NoteError::Unsigned { .. }))
    ));
    let mut of_the_log = good.clone();
    of_the_log.shards[0].map.checkpoint = good.shards[0].checkpoint.clone();
    let expected = FaultKind::Text {
        expected: origin.to_owned(),
        found: ledger.log(0).signer.verifier().name().to_owned(),
    };
    assert_eq!(
        *fault(&faults(&ledger, &of_the_log), &format!("{at}.checkpoint")),
        expected
    );
    let mut no_leaf = good.clone();
    no_leaf.shards[0].map.leaf = good.shards[0].map.leaf.replace("@v1", "@v2");
    assert!(matches!(
        fault(&faults(&ledger, &no_leaf), &format!("{at}.leaf")),
        FaultKind::MapLeaf(MapLeafError::Line { line: 1, .. })
    ));
    let mut more_labels = good.clone();
    more_labels.shards[0].map.leaf = good.shards[0].map.leaf.replacen("\n3\n", "\n4\n", 1);
    assert!(matches!(
        fault(&faults(&ledger, &more_labels), &format!("{at}.path")),
        FaultKind::Proof(ProofError::RootMismatch { .. })
    ));
    let mut longer = good.clone();
    longer.shards[0].map.consistency = vec![0];
    let expected = FaultKind::Proof(ProofError::WrongLength {
        expected: 0,
        found: 1,
    });
    assert_eq!(
        *fault(&faults(&ledger, &longer), &format!("{at}.consistency")),
        expected
    );
    let mut too_long = good;
    too_long.absence.map.path = vec![0; 257];
    assert!(matches!(
        fault(&faults(&ledger, &too_long), "absence.map"),
        FaultKind::Map(_)
    ));
}

/// A policy that does not know the map logs believes no map, and so no dossier.
#[test]
fn a_policy_without_the_map_logs_believes_no_dossier() {
    let (ledger, _) = alice_and_bob();
    let logs = ledger.logs.iter().map(|log| log.signer.verifier().clone());
    let policy = Policy::new(name(LEDGER), ledger_id(), logs);
    let Err(DossierError::Disproved(found)) = ledger.dossier("alice", 1).verify(&policy) else {
        panic!("believed")
    };
    assert!(matches!(
        fault(&found, "shards[0].map.checkpoint"),
        FaultKind::Policy(PolicyError::UnknownLog { .. })
    ));
}

/// On whose word it is complete: an auditor's cosignature on the map log, under a policy that names the auditor.
#[test]
fn an_auditors_cosignature_is_told() {
    let (ledger, _) = alice_and_bob();
    let auditor = Witness::new("auditor.example");
    let mut dossier = ledger.dossier("alice", 1);
    let note = &mut dossier.shards[0].map.checkpoint;
    let (text, _) = note.split_once("\n\n").unwrap();
    let line = auditor.line(&format!("{text}\n"), 1_800_000_000);
    note.push_str(&line);
    let verdict = verified(&ledger, &dossier);
    assert!(
        verdict.maps[0].checkpoint.auditors().is_empty(),
        "the policy knows no auditor"
    );
    let policy: Policy = ledger
        .policy()
        .to_string()
        .replace(
            "quorum none",
            &format!("#sharetrail auditor {}\nquorum none", auditor.verifier),
        )
        .parse()
        .unwrap();
    let verdict = dossier.verify(&policy).unwrap();
    assert_eq!(
        verdict.maps[0].checkpoint.auditors().to_vec(),
        vec![("auditor.example".to_owned(), 1_800_000_000_u64)]
    );
}
