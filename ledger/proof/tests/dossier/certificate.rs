//! Erasure certificates: what a good one says, and what is no certificate of an erasure.

use sharetrail_proof::batch::Batch;
use sharetrail_proof::dossier::{Certificate, DossierError, Fault, FaultKind};
use sharetrail_proof::entry::ErasureEntry;
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::name::RECOVERY;
use sharetrail_proof::vrf::VrfError;

use crate::dossier::forged::forge;
use crate::dossier::{fault, list_party};
use crate::support::{Ledger, chain, name, operator_replaced, signer};

/// Alice was erased; bob was not.
fn erased() -> Ledger {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..2);
    ledger.record(&till, "bob", 0, 0..2);
    ledger.erase("alice", 0);
    ledger
}

fn faults(ledger: &Ledger, certificate: &Certificate) -> Vec<Fault> {
    match certificate.verify(&ledger.policy()) {
        Err(DossierError::Disproved(faults)) => faults,
        other => panic!("expected faults, found {other:?}"),
    }
}

#[test]
fn a_good_certificate_says_who_was_erased_where_and_by_which_key() {
    let ledger = erased();
    let certificate = ledger.certificate("alice", 0);
    let verified = certificate.verify(&ledger.policy()).unwrap();
    assert_eq!(
        (
            verified.customer.as_str(),
            verified.generation,
            verified.label,
            verified.index
        ),
        ("alice", 0, ledger.label("alice", 0), LeafIndex(11))
    );
    assert_eq!(
        (verified.key, verified.key_since),
        (ledger.operator.verifier().id(), LeafIndex(0))
    );
    assert_eq!(verified.checkpoint.size(), TreeSize(12));
    assert!(verified.map.covers(verified.index));
    assert_eq!(verified.map.leaf.time, Ledger::sealed_at(12));
}

/// Each later generation has a certificate of its own, on its own shard.
#[test]
fn a_later_generation_is_certified_too() {
    let (mut ledger, till) = Ledger::with_till(2);
    let customer = ledger.customer_on(&[0, 1]);
    for generation in 0..2 {
        ledger.record(&till, &customer, generation, 0..1);
        ledger.erase(&customer, generation);
    }
    for generation in 0..2 {
        let certificate = ledger.certificate(&customer, generation);
        assert_eq!(certificate.generation, generation);
        assert_eq!(certificate.shard.shard, generation);
        let verified = certificate.verify(&ledger.policy()).unwrap();
        assert_eq!(verified.label, ledger.label(&customer, generation));
    }
}

/// Whoever replaced the operator is shown by the recovery key, which needs no evidence of its own.
#[test]
fn an_erasure_by_a_second_operator_key_is_shown_with_how_that_came_to_be() {
    let mut ledger = erased();
    let second = signer("operator", "second");
    let entries = ledger
        .log(0)
        .registry_entries(&[("operator", operator_replaced(&second))]);
    let recovery = ledger.recovery.clone();
    let replaced = ledger.log_mut(0).push(&recovery, chain(RECOVERY), &entries).index;
    ledger.operator = second;
    let till = signer("till", "till");
    ledger.record(&till, "carol", 0, 0..1);
    ledger.erase("carol", 0);
    let verified = ledger.certificate("carol", 0).verify(&ledger.policy()).unwrap();
    assert_eq!(
        (verified.key, verified.key_since),
        (ledger.operator.verifier().id(), LeafIndex(replaced.0 + 1))
    );
    let mut without = ledger.certificate("carol", 0);
    without.shard.registry.clear();
    let found = faults(&ledger, &without);
    assert!(matches!(
        fault(&found, "shard.parties[0].map"),
        FaultKind::NotAbsent(_) | FaultKind::Map(_)
    ));
}

/// Caught: a certificate of an erasure that no map will ever hold.
#[test]
fn an_erasure_that_the_map_does_not_cover_yet_is_not_certified() {
    let mut ledger = erased();
    ledger.seal();
    ledger.erase("bob", 0);
    let found = faults(&ledger, &ledger.certificate("bob", 0));
    let expected = FaultKind::Uncovered {
        index: LeafIndex(13),
        size: TreeSize(12),
    };
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "erasure"), expected);
    ledger.seal();
    ledger.certificate("bob", 0).verify(&ledger.policy()).unwrap();
}

#[test]
fn a_certificate_is_of_its_customer_generation_and_label() {
    let ledger = erased();
    let good = ledger.certificate("alice", 0);
    let mut bobs = good.clone();
    bobs.customer = "bob".into();
    let mismatch = FaultKind::Vrf(VrfError::Mismatch);
    assert_eq!(*fault(&faults(&ledger, &bobs), "proof"), mismatch);
    let mut later = good.clone();
    later.generation = 1;
    let found = faults(&ledger, &later);
    assert_eq!(*fault(&found, "proof"), mismatch);
    assert_eq!(*fault(&found, "erasure"), FaultKind::Erasure);
    let mut relabelled = good.clone();
    relabelled.label = ledger.label("bob", 0);
    let found = faults(&ledger, &relabelled);
    assert!(matches!(fault(&found, "label"), FaultKind::Label { .. }));
    assert_eq!(*fault(&found, "erasure"), FaultKind::Erasure);
    let mut reformed = good.clone();
    reformed.format = sharetrail_proof::dossier::FORMAT.into();
    assert!(matches!(
        fault(&faults(&ledger, &reformed), "format"),
        FaultKind::Text { .. }
    ));
    let mut elsewhere = good;
    elsewhere.ledger = name("other.example");
    assert!(matches!(
        fault(&faults(&ledger, &elsewhere), "ledger"),
        FaultKind::Text { .. }
    ));
}

/// Caught: calling somebody erased by showing something else that is on record, or an entry that a producer wrote.
#[test]
fn nothing_but_the_operators_erasure_entry_is_one() {
    let ledger = erased();
    let mut event = ledger.certificate("alice", 0);
    event.erasure = ledger.dossier("alice", 1).generations[0].events[0].leaf.clone();
    assert!(!faults(&ledger, &event).is_empty());
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let entry = ErasureEntry {
        label: ledger.label("alice", 0),
        generation: 0,
    };
    forge(&mut ledger, &till, &[entry.to_bytes().to_vec()]);
    let found = faults(&ledger, &ledger.certificate("alice", 0));
    assert!(matches!(
        fault(&found, "shard.batches[0].note"),
        FaultKind::Key { .. }
    ));
}

#[test]
fn the_operator_is_among_the_parties_and_nothing_is_unread() {
    let ledger = erased();
    let good = ledger.certificate("alice", 0);
    let mut nobody = good.clone();
    nobody.shard.parties.clear();
    let expected = FaultKind::Party {
        party: name("operator"),
    };
    assert_eq!(*fault(&faults(&ledger, &nobody), "shard.batches[0]"), expected);
    let mut pooled = good.clone();
    pooled.hashes.push(sharetrail_proof::hash::Hash([9; 32]));
    let at = format!("hashes[{}]", good.hashes.len());
    assert_eq!(*fault(&faults(&ledger, &pooled), &at), FaultKind::Pool);
}

/// The rules of a dossier's shard are those of a certificate's.
#[test]
fn a_certificate_lists_only_parties_that_something_binds() {
    let ledger = erased();
    let good = ledger.certificate("alice", 0);
    assert_eq!(ledger.certificate_with("alice", 0, &["insurer"]), good);
    let with_till = ledger.certificate_with("alice", 0, &["till"]);
    assert_eq!(with_till.shard.parties.len(), 2, "the till is registered");
    with_till.verify(&ledger.policy()).unwrap();
    let mut listed = good;
    let position = list_party(&mut listed.hashes, &mut listed.shard, &ledger.map(0), "insurer");
    let found = faults(&ledger, &listed);
    assert_eq!(found.len(), 1, "{found:?}");
    let at = format!("shard.parties[{position}]");
    assert_eq!(*fault(&found, &at), FaultKind::Unneeded);
}

/// The operator's batch 0 registered the till; a second batch 0 of that chain holds the erasure.
#[test]
fn a_certificate_shows_no_chain_that_goes_back() {
    let (mut ledger, till) = Ledger::with_till(1);
    ledger.record(&till, "alice", 0, 0..1);
    let (label, generation) = (ledger.label("alice", 0), 0);
    let entries = [ErasureEntry { label, generation }.to_bytes().to_vec()];
    let batch = Batch {
        number: 0,
        ..ledger.log(0).follow("operator", chain("operator"), &entries)
    };
    let note = ledger.operator.sign(&batch.to_text());
    ledger.log_mut(0).force(&note, &entries);
    let found = faults(&ledger, &ledger.certificate_with("alice", 0, &["till"]));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(*fault(&found, "shard.batches[1].note"), FaultKind::Order);
}
