//! The promises of a publisher: accepted, sealed with a proof, exactly once.
//!
//! In scope: single events, repeats in flight and across restarts, two shards, ending. Out of scope: bad input
//! (`lines`), batches that are refused (`rejected`).

use std::collections::BTreeMap;
use std::fs;

use crate::support::{Rng, THEN, TestLedger, event, line, name, publisher, record, rounds, wait};
use sharetrail_ledger::keys;
use sharetrail_producers::{Outcome, PublishError};
use sharetrail_proof::entry::BATCH;

/// The fault: a receipt whose proof does not hold, or is about something else than the event.
#[test]
fn an_event_is_accepted_then_sealed_with_a_proof_that_holds() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        let engine = place.start();
        let publisher = publisher(&engine);
        let policy = place.open().policy().unwrap();
        for number in 0..6 {
            let customer = format!("customer-{number}");
            let mut pending = publisher
                .publish(event(&customer, &format!("e-{number}"), THEN))
                .unwrap();
            assert_eq!(wait(pending.accepted()).unwrap(), Outcome::Accepted);
            let receipt = wait(pending.sealed()).unwrap();
            assert!(!receipt.already_recorded);
            let label = engine.vault().label(&customer, 0);
            assert_eq!(receipt.shard, label.shard(shards));
            assert_eq!(receipt.entry[17..49], label.0);
            let checkpoint = receipt.proof.verify(&receipt.entry, &policy).unwrap();
            assert!(receipt.index.0 < checkpoint.size().0);
            let mut other = receipt.entry.clone();
            other[60] ^= 1;
            assert!(receipt.proof.verify(&other, &policy).is_err());
        }
        publisher.close().unwrap();
        assert_eq!(place.events(), 6);
    }
}

/// The fault: a batch, a signature and a sync for each event. A bulk fills its batches.
#[test]
fn events_share_batches() {
    let place = TestLedger::new(1);
    let before = place.count(BATCH);
    let engine = place.start();
    let publisher = publisher(&engine);
    let input: Vec<u8> = (0..3_000)
        .flat_map(|n| line(&format!("customer-{}", n % 9), &format!("e-{n}"), THEN))
        .collect();
    let summary = record(&publisher, &input);
    assert_eq!(
        (
            summary.lines,
            summary.recorded,
            summary.skipped,
            summary.refused.len()
        ),
        (3_000, 3_000, 0, 0)
    );
    publisher.close().unwrap();
    assert_eq!((place.events(), place.count(BATCH) - before), (3_000, 3));
}

/// The fault: a service that tells an event again after a time-out puts it on record twice; or one that reuses an id
/// for another event overwrites the first, or is told that all is well.
#[test]
fn a_repeat_is_found_and_another_content_is_a_conflict() {
    let place = TestLedger::new(2);
    let mut first = None;
    // At first, in the same publisher, in a new one, after a restart, and without the index.
    for round in 0..5 {
        if round == 4 {
            fs::remove_dir_all(place.open().outbox(&name("shop.example")).join("index")).unwrap();
        }
        let engine = place.start();
        for _ in 0..2 {
            let publisher = publisher(&engine);
            let mut pending = publisher.publish(event("customer-1", "e-1", THEN)).unwrap();
            let outcome = wait(pending.accepted()).unwrap();
            let receipt = wait(pending.sealed()).unwrap();
            let index = *first.get_or_insert(receipt.index);
            assert_eq!(
                (receipt.index, receipt.already_recorded),
                (index, outcome != Outcome::Accepted),
                "round {round}"
            );
            let again = wait(
                publisher
                    .publish(event("customer-1", "e-1", THEN))
                    .unwrap()
                    .accepted(),
            )
            .unwrap();
            assert_eq!(again, Outcome::AlreadyRecorded(index), "round {round}");
            let conflict = wait(
                publisher
                    .publish(event("customer-1", "e-1", THEN + 1))
                    .unwrap()
                    .sealed(),
            );
            match conflict {
                Err(PublishError::Conflict { id, leaf, .. }) => {
                    assert_eq!((id.as_str(), leaf), ("e-1", Some(index)));
                }
                other => panic!("round {round}: {other:?}"),
            }
            publisher.close().unwrap();
        }
        engine.stop().unwrap();
        assert_eq!(place.events(), 1, "round {round}");
    }
}

/// The fault: two copies of an event that are on their way at once, in one chunk or in two, both pass the look into
/// the index and both are recorded; or a waiting copy is never answered.
#[test]
fn repeats_in_flight_are_recorded_exactly_once() {
    for seed in 0..rounds(3) {
        let place = TestLedger::new(1 + u32::try_from(seed % 2).unwrap());
        let mut rng = Rng(seed);
        let (mut input, mut model) = (Vec::new(), BTreeMap::new());
        let (mut skipped, mut conflicts) = (0, Vec::new());
        for number in 1..=10_000_u64 {
            let id = rng.below(4_000);
            let at = if rng.below(20) == 0 { THEN + 1 } else { THEN };
            input.extend(line(&format!("customer-{}", id % 50), &format!("e-{id}"), at));
            match model.get(&id) {
                None => {
                    model.insert(id, at);
                }
                Some(known) if *known == at => skipped += 1,
                Some(_) => conflicts.push(number),
            }
        }
        let engine = place.start();
        let publisher = publisher(&engine);
        let summary = record(&publisher, &input);
        let refused: Vec<u64> = summary.refused.iter().map(|bad| bad.line).collect();
        assert_eq!(
            (summary.recorded, summary.skipped),
            (model.len() as u64, skipped),
            "seed {seed}"
        );
        assert_eq!(refused, conflicts, "seed {seed}");
        assert!(
            summary
                .refused
                .iter()
                .all(|bad| bad.refusal && bad.field.as_deref() == Some("id")),
            "seed {seed}"
        );
        let again = record(&publisher, &input);
        assert_eq!(
            (again.recorded, again.skipped),
            (0, 10_000 - conflicts.len() as u64),
            "seed {seed}"
        );
        assert_eq!(again.refused.len(), conflicts.len(), "seed {seed}");
        publisher.close().unwrap();
        assert_eq!(place.events(), model.len() as u64, "seed {seed}");
    }
}

/// The fault: closing leaves events behind that were handed in, or waits for ever for their answers.
#[test]
fn closing_sees_everything_to_its_end() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let publisher = publisher(&engine);
    let pending: Vec<_> = (0..700)
        .map(|n| {
            publisher
                .publish(event(&format!("customer-{}", n % 30), &format!("e-{n}"), THEN))
                .unwrap()
        })
        .collect();
    publisher.close().unwrap();
    assert_eq!(place.events(), 700);
    for one in pending {
        assert!(!wait(one.sealed()).unwrap().already_recorded);
    }
}

/// The fault: more events than all queues hold, from several threads at once, jam the pipeline.
#[test]
fn many_threads_push_back_and_lose_nothing() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let publisher = publisher(&engine);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let publisher = &publisher;
            scope.spawn(move || {
                let publish = |n| {
                    publisher.publish(event(
                        &format!("customer-{}", n % 7),
                        &format!("{thread}-{n}"),
                        THEN,
                    ))
                };
                let pending: Vec<_> = (0..2_000).map(|n| publish(n).unwrap()).collect();
                for one in pending {
                    wait(one.sealed()).unwrap();
                }
            });
        }
    });
    publisher.close().unwrap();
    assert_eq!(place.events(), 8_000);
}

/// The fault: two publishers of one outbox cut the same numbers. The second is refused while the first is open.
#[test]
fn an_outbox_has_one_user_at_a_time() {
    let place = TestLedger::new(1);
    let engine = place.start();
    keys::add_producer(&engine, &name("till")).unwrap();
    let first = publisher(&engine);
    let second = sharetrail_producers::Publisher::open(&engine, &name("shop.example"));
    assert!(second.is_err());
    let other = sharetrail_producers::Publisher::open(&engine, &name("till")).unwrap();
    assert!(wait(other.publish(event("customer-1", "e-1", THEN)).unwrap().sealed()).is_ok());
    assert!(wait(first.publish(event("customer-1", "e-1", THEN)).unwrap().sealed()).is_ok());
    assert_eq!(place.events(), 2);
}

/// The fault: `source` and `id` identify an event, and the same ones are recorded again because the second time they
/// are about somebody else. Also when the first is on its way, on record, or known from a rebuilt index only.
#[test]
fn an_event_cannot_be_recorded_again_about_another_customer() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let open = publisher(&engine);
    let both = [line("customer-1", "e-1", THEN), line("customer-2", "e-1", THEN)].concat();
    let summary = record(&open, &both);
    assert_eq!((summary.recorded, summary.refused.len()), (1, 1));
    assert!(summary.refused[0].refusal && summary.only_refusals);
    let later = wait(open.publish(event("customer-3", "e-1", THEN)).unwrap().sealed());
    assert!(matches!(later, Err(PublishError::Conflict { leaf: Some(_), .. })));
    open.close().unwrap();
    fs::remove_dir_all(place.open().outbox(&name("shop.example")).join("index")).unwrap();
    let open = publisher(&engine);
    let rebuilt = wait(open.publish(event("customer-4", "e-1", THEN)).unwrap().sealed());
    assert!(matches!(
        rebuilt,
        Err(PublishError::Conflict { leaf: Some(_), .. })
    ));
    assert!(
        wait(open.publish(event("customer-1", "e-1", THEN)).unwrap().sealed())
            .is_ok_and(|one| one.already_recorded)
    );
    assert_eq!(place.events(), 1);
}

/// The fault: the index is damaged by a power loss, and the producer cannot record until somebody deletes it by hand.
#[test]
fn a_damaged_index_is_made_again() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let open = publisher(&engine);
    let input: Vec<u8> = (0..50)
        .flat_map(|n| line("customer-1", &format!("e-{n}"), THEN))
        .collect();
    assert_eq!(record(&open, &input).recorded, 50);
    open.close().unwrap();
    let folder = place.open().outbox(&name("shop.example")).join("index");
    for item in fs::read_dir(&folder).unwrap() {
        let path = item.unwrap().path();
        if path.is_file() {
            fs::write(path, b"damaged").unwrap();
        }
    }
    let open = publisher(&engine);
    let again = record(&open, &input);
    assert_eq!((again.recorded, again.skipped), (0, 50));
}
