//! Batches that the sequencer refuses: who is told, and how the others of the batch get on record all the same.
//!
//! In scope: erased customers whose keys are still at hand, revoked keys, the first batch of a chain, many refusals
//! in flight. Out of scope: the rules themselves (the ledger's tests).

use crate::support::{THEN, TestLedger, erase, event, line, name, publisher, record, rounds, wait};
use sharetrail_ledger::keys;
use sharetrail_producers::{PublishError, Publisher};

/// The fault: one erased customer takes the events of all others in the batch down, or is recorded after all.
#[test]
fn only_the_event_at_fault_is_refused() {
    for shards in [1, 2] {
        let place = TestLedger::new(shards);
        let engine = place.start_keeping_keys();
        let publisher = publisher(&engine);
        let first: Vec<u8> = (0..10)
            .flat_map(|n| line(&format!("customer-{n}"), &format!("first-{n}"), THEN))
            .collect();
        assert_eq!(record(&publisher, &first).recorded, 10);
        erase(&engine, "customer-3");
        let second: Vec<u8> = (0..10)
            .flat_map(|n| line(&format!("customer-{n}"), &format!("second-{n}"), THEN))
            .collect();
        let summary = record(&publisher, &second);
        assert_eq!((summary.recorded, summary.skipped), (9, 0));
        let refused: Vec<_> = summary
            .refused
            .iter()
            .map(|bad| (bad.line, bad.refusal))
            .collect();
        assert_eq!(refused, [(4, true)]);
        publisher.close().unwrap();
        assert_eq!(place.events(), 19);
    }
}

/// The fault: a publisher that has an erased customer's key at hand loses their events in silence, records them under the
/// label that was erased, or never gets the next one; or what was erased is recorded a second time.
#[test]
fn who_was_erased_goes_on_as_somebody_new() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    let sealed =
        |customer: &str, id: &str| wait(publisher.publish(event(customer, id, THEN)).unwrap().sealed());
    sealed("customer-1", "e-1").unwrap();
    let label = engine.vault().label("customer-1", 0);
    assert!(engine.erase(&label, 0).unwrap().rotated);
    // Sealed under the key that was at hand: refused, and told.
    assert!(matches!(
        sealed("customer-1", "e-2"),
        Err(PublishError::Rejected { .. })
    ));
    sealed("customer-1", "e-2").unwrap();
    // What was recorded before the erasure, and another customer's event of the same name.
    assert!(matches!(
        sealed("customer-1", "e-1"),
        Err(PublishError::Erased { .. })
    ));
    assert!(matches!(
        sealed("customer-2", "e-1"),
        Err(PublishError::Conflict { .. })
    ));
    assert!(sealed("customer-1", "e-2").is_ok());
    publisher.close().unwrap();
    assert_eq!(place.events(), 2);
    let living = engine.vault().generations("customer-1").unwrap();
    assert!(living.len() == 2 && living[0].key.is_none() && living[1].key.is_some());
    engine.stop().unwrap();
}

/// The fault: a chain that was set back before anything of it was on record goes on with the number after the refused
/// one, which never follows; everybody waits for ever.
#[test]
fn the_first_batch_of_a_chain_can_be_refused() {
    let place = TestLedger::new(1);
    let engine = place.start_keeping_keys();
    let till = name("till");
    keys::add_producer(&engine, &till).unwrap();
    // The vault must know the customer, so that its key is still given out after the erasure is on record.
    engine.vault().grants(&till, &["customer-1"]).unwrap();
    erase(&engine, "customer-1");
    let publisher = Publisher::open(&engine, &till).unwrap();
    let pending: Vec<_> = [1, 2, 3]
        .map(|n| {
            publisher
                .publish(event(&format!("customer-{n}"), &format!("e-{n}"), THEN))
                .unwrap()
        })
        .into();
    let answers: Vec<_> = pending.into_iter().map(|one| wait(one.sealed())).collect();
    assert!(
        matches!(answers[0], Err(PublishError::Rejected { .. })),
        "{:?}",
        answers[0]
    );
    assert!(answers[1].is_ok() && answers[2].is_ok());
    publisher.close().unwrap();
    assert_eq!(place.events(), 2);
}

/// The fault: while a refused batch is signed again, later batches of the chain are cut under numbers that are refused
/// in turn; a batch that waits for its number waits for one that stands behind it in the queue.
#[test]
fn refusals_in_many_batches_in_flight_end() {
    for round in 0..rounds(6) {
        let place = TestLedger::new(1);
        let engine = place.start_keeping_keys();
        let publisher = publisher(&engine);
        let first: Vec<u8> = (0..20)
            .flat_map(|n| line(&format!("customer-{n}"), &format!("first-{n}"), THEN))
            .collect();
        assert_eq!(record(&publisher, &first).recorded, 20);
        erase(&engine, "customer-7");
        let publish = |n: u64| {
            publisher
                .publish(event(&format!("customer-{}", n % 20), &format!("e-{n}"), THEN))
                .unwrap()
        };
        let (mut sealed, mut rejected) = (0, 0);
        // Waves: within one, batches of a few events fly together.
        for wave in 0..8 {
            let pending: Vec<_> = (0..400).map(|n| publish(wave * 400 + n)).collect();
            for one in pending {
                match wait(one.sealed()) {
                    Ok(_) => sealed += 1,
                    Err(PublishError::Rejected { .. }) => rejected += 1,
                    Err(other) => panic!("round {round}: {other}"),
                }
            }
        }
        assert_eq!((sealed, rejected), (8 * 380, 8 * 20), "round {round}");
        publisher.close().unwrap();
        assert_eq!(place.events(), 20 + sealed, "round {round}");
    }
}

/// The fault: after its key has ended a producer goes on as if nothing had happened, or its publisher hangs.
#[test]
fn a_revoked_key_is_told_and_nothing_enters() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let producer = name("shop.example");
    let open = publisher(&engine);
    assert!(wait(open.publish(event("customer-1", "e-1", THEN)).unwrap().sealed()).is_ok());
    keys::revoke(&engine, &producer).unwrap();
    for n in 2..5 {
        let refused = wait(
            open.publish(event("customer-1", &format!("e-{n}"), THEN))
                .unwrap()
                .sealed(),
        );
        assert!(matches!(refused, Err(PublishError::Rejected { .. })));
    }
    open.close().unwrap();
    assert_eq!(place.events(), 1);
}

/// The fault: whoever asks again after a refusal waits for ever, because the answer was given away with the first.
#[test]
fn a_refusal_is_told_however_it_is_asked_for() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    let mut pending = publisher.publish_json(b"{}".to_vec()).unwrap();
    assert!(matches!(wait(pending.accepted()), Err(PublishError::Content(_))));
    assert!(wait(pending.accepted()).is_err());
    assert!(wait(pending.sealed()).is_err());
}
