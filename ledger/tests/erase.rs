//! Erasing a customer on one host: what is on record, what is gone, and that it is finished wherever it was interrupted.
//!
//! In scope: the engine's side of an erasure, the bytes that are left on disk, old copies put back. Out of scope: hosts on a
//! bus, who asks for an erasure, what a dossier shows of it.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Outbox, StopAt, TestLedger, copy_tree, decided, files_in, name};
use memchr::memmem;
use sharetrail_ledger::{Engine, LedgerError, Step, restore, status};
use sharetrail_proof::entry::{ERASURE, ErasureEntry};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

const PRODUCER: &str = "shop.example";
const GONE: &str = "customer-gone-4711";
const KEPT: &str = "customer-kept";
const SLOT_BYTES: usize = 160;

/// Every step at which an erasure can be interrupted.
const STEPS: [Step; 15] = [
    Step::ErasureIntended,
    Step::Decided,
    Step::LeavesSynced,
    Step::TilesWritten,
    Step::Registered,
    Step::CopiedOutside,
    Step::Signed,
    Step::Published,
    Step::VaultMarked,
    Step::KeyDestroyed,
    Step::KekWritten,
    Step::SlotsWritten,
    Step::SlotsReplaced,
    Step::KekOverwritten,
    Step::KekReplaced,
];

/// Puts an event of each customer on record.
fn record(engine: &Engine, customers: &[&str]) {
    let shards = engine.ledger().shards();
    for shard in 0..shards {
        let here = |customer: &&&str| engine.vault().label(customer, 0).shard(shards) == shard;
        let mut outbox = Outbox::open(engine, PRODUCER, shard, 1);
        let events: Vec<_> = customers
            .iter()
            .filter(here)
            .map(|customer| outbox.event(engine, customer))
            .collect();
        if !events.is_empty() {
            let frame = outbox.cut(&events);
            let seq = outbox.publish(engine, &frame);
            assert!(decided(engine, shard, seq));
        }
    }
}

/// The key of each generation of a customer.
fn keys(engine: &Engine, customer: &str) -> Vec<Option<[u8; 32]>> {
    let generations = engine.vault().generations(customer).unwrap();
    let key = |one: &sharetrail_ledger::CustomerGeneration| one.key.as_ref().map(|key| key.0);
    generations.iter().map(key).collect()
}

/// The slot of a label in the vault's file.
fn slot(place: &TestLedger, label: &Label) -> Vec<u8> {
    let bytes = fs::read(place.root.join("vault/slots")).unwrap();
    let mut slots = bytes.chunks(SLOT_BYTES).skip(1);
    slots.find(|slot| slot[8..40] == label.0).unwrap().to_vec()
}

fn kek(place: &TestLedger) -> Vec<u8> {
    fs::read(place.outside.join("vault.kek")).unwrap()
}

/// The files of the ledger, in its folder and outside of it, that hold one of these.
fn files_with(place: &TestLedger, wanted: &[&[u8]]) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| {
        let is_in = |part: &&[u8]| memmem::find(bytes, part).is_some();
        wanted.iter().any(is_in)
    };
    let all = files_in(&place.root).into_iter().chain(files_in(&place.outside));
    all.filter(|(_, bytes)| holds(bytes))
        .map(|(path, _)| path)
        .collect()
}

/// Where erasures of a label are on record.
fn erasures(place: &TestLedger, label: &Label) -> Vec<(u32, LeafIndex)> {
    let (ledger, mut found) = (place.open(), Vec::new());
    for shard in 0..ledger.shards() {
        let reader = ledger.reader(shard).unwrap();
        let visit = &mut |index: LeafIndex, entry: &[u8], _: &[u8]| {
            if entry[0] == ERASURE && entry[1..33] == label.0 {
                found.push((shard, index));
            }
            ControlFlow::Continue(())
        };
        reader.scan(LeafIndex(0), visit).unwrap();
    }
    found
}

/// What an erasure or an exchange leaves while it is under way.
fn leftovers(place: &TestLedger) -> Vec<&'static str> {
    let all = [
        "vault/erasing",
        "vault/rotate",
        "vault/slots.next",
        "vault.kek.next",
    ];
    let is_there = |file: &&str| place.root.join(file).exists() || place.outside.join(file).exists();
    all.into_iter().filter(is_there).collect()
}

#[track_caller]
fn put_back(copy: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy_tree(copy, to);
}

/// The fault: the key, its wrapped form, or what finds it, outlives the erasure in some file; or others are erased too.
#[test]
fn an_erasure_is_on_record_and_leaves_nothing_of_the_key() {
    for shards in [1, 3] {
        let place = TestLedger::new(shards);
        let engine = place.start();
        record(&engine, &[KEPT, GONE, "customer-third"]);
        let label = engine.vault().label(GONE, 0);
        let (key, kept) = (keys(&engine, GONE)[0].unwrap(), keys(&engine, KEPT));
        let (slot, old) = (slot(&place, &label), kek(&place));
        let (lookup, wrapped) = (&slot[40..56], &slot[80..112]);
        assert!(!files_with(&place, &[lookup]).is_empty() && !files_with(&place, &[wrapped]).is_empty());

        let erased = engine.erase(&label, 0).unwrap();
        assert!(erased.rotated);
        assert_eq!(erasures(&place, &label), [(erased.shard, erased.index)]);
        let entry = ErasureEntry { label, generation: 0 }.to_bytes();
        let leaf = place.open().reader(erased.shard).unwrap().leaf(erased.index);
        assert_eq!(leaf.unwrap().entry, entry);
        assert_eq!(
            (keys(&engine, GONE), keys(&engine, KEPT)),
            (vec![None], kept.clone())
        );
        assert_ne!(kek(&place), old);
        assert_eq!(leftovers(&place), Vec::<&str>::new());
        let found = files_with(
            &place,
            &[&key, wrapped, lookup, GONE.as_bytes(), old.trim_ascii()],
        );
        assert_eq!(found, Vec::<PathBuf>::new());

        // Asked again, nothing is done twice.
        assert_eq!(engine.erase(&label, 0).unwrap(), erased);
        assert!(matches!(engine.erase(&label, 1), Err(LedgerError::Invalid(_))));
        assert_eq!(erasures(&place, &label).len(), 1);
        // Whoever comes back is somebody new.
        let grant = engine.vault().grants(&name(PRODUCER), &[GONE]).unwrap().remove(0);
        assert_eq!(
            (grant.generation, grant.label),
            (1, engine.vault().label(GONE, 1))
        );
        engine.stop().unwrap();
        let engine = place.start();
        assert_eq!(engine.notices(), Vec::<String>::new());
        assert_eq!((keys(&engine, GONE)[0], keys(&engine, KEPT)), (None, kept));
        assert_eq!(
            files_with(&place, &[&key, GONE.as_bytes()]),
            Vec::<PathBuf>::new()
        );
        engine.stop().unwrap();
    }
}

/// The fault: after a power cut the customer is half erased for ever, or erased twice, or everybody's keys are gone.
#[test]
fn an_erasure_that_is_interrupted_anywhere_is_finished_at_the_next_start() {
    for step in STEPS {
        let place = TestLedger::new(1);
        let stop = StopAt::new(0, step);
        let engine = stop.start(&place.open());
        record(&engine, &[KEPT, GONE]);
        let label = engine.vault().label(GONE, 0);
        let (key, kept, old) = (keys(&engine, GONE)[0].unwrap(), keys(&engine, KEPT), kek(&place));
        let wrapped = slot(&place, &label)[80..112].to_vec();
        stop.arm(1);
        assert!(engine.erase(&label, 0).is_err(), "{step:?}");
        drop(engine);
        let pending = status(&place.open()).unwrap().vault;
        assert!(pending.erasures_pending == 1, "{step:?}: {pending:?}");
        let engine = place.start();
        assert_eq!(leftovers(&place), Vec::<&str>::new(), "{step:?}");
        assert_eq!(erasures(&place, &label).len(), 1, "{step:?}");
        assert_eq!(
            (keys(&engine, GONE), keys(&engine, KEPT)),
            (vec![None], kept),
            "{step:?}"
        );
        assert_ne!(kek(&place), old, "{step:?}");
        let found = files_with(&place, &[&key, &wrapped, GONE.as_bytes(), old.trim_ascii()]);
        assert_eq!(found, Vec::<PathBuf>::new(), "{step:?}");
        let grant = engine.vault().grants(&name(PRODUCER), &[GONE]).unwrap().remove(0);
        assert_eq!(grant.generation, 1, "{step:?}");
        let done = status(&place.open()).unwrap().vault;
        assert!(
            done.erasures_pending == 0 && !done.rotation_due,
            "{step:?}: {done:?}"
        );
        engine.stop().unwrap();
    }
}

/// The fault: while a customer is being erased, keys of theirs are still given out, and events recorded meanwhile are lost.
#[test]
fn no_key_is_given_of_who_is_being_erased() {
    let place = TestLedger::new(1);
    let stop = StopAt::new(0, Step::ErasureIntended);
    let engine = stop.start(&place.open());
    record(&engine, &[KEPT, GONE]);
    let (label, till) = (engine.vault().label(GONE, 0), name(PRODUCER));
    stop.arm(1);
    assert!(engine.erase(&label, 0).is_err());
    for customers in [&[GONE][..], &[KEPT, GONE]] {
        let refused = engine.vault().grants(&till, customers);
        assert!(refused.is_err_and(|error| error.is_transient()));
    }
    assert_eq!(
        engine
            .vault()
            .grants(&till, &[KEPT, "customer-new"])
            .unwrap()
            .len(),
        2
    );
    drop(engine);
    let engine = place.start();
    let granted = engine.vault().grants(&till, &[KEPT, GONE]).unwrap();
    assert_eq!((granted[0].generation, granted[1].generation), (0, 1));
    engine.stop().unwrap();
}

/// The fault: a label is erased under another generation, which no dossier of the customer would show.
#[test]
fn a_generation_that_is_not_the_labels_is_refused() {
    let place = TestLedger::new(1);
    let engine = place.start();
    record(&engine, &[GONE]);
    let label = engine.vault().label(GONE, 0);
    assert!(matches!(engine.erase(&label, 1), Err(LedgerError::Invalid(_))));
    assert_eq!(leftovers(&place), Vec::<&str>::new());
    assert!(erasures(&place, &label).is_empty());
    engine.stop().unwrap();
}

/// The fault: a mistyped label is erased for ever, and the customer who gets it one day has no first generation.
#[test]
fn a_label_that_never_had_a_key_is_refused() {
    let place = TestLedger::new(1);
    let engine = place.start();
    record(&engine, &[KEPT]);
    let unknown = engine.vault().label("customer-unknown", 0);
    assert!(matches!(engine.erase(&unknown, 0), Err(LedgerError::Invalid(_))));
    assert_eq!(leftovers(&place), Vec::<&str>::new());
    assert!(erasures(&place, &unknown).is_empty());
    let grant = engine.vault().grants(&name(PRODUCER), &["customer-unknown"]);
    assert_eq!(grant.unwrap()[0].generation, 0);
    engine.stop().unwrap();
}

/// The fault: an entry that another host put on record is not acted on before the next start.
#[test]
fn an_erasure_that_comes_over_the_bus_destroys_the_key_too() {
    let place = TestLedger::new(1);
    let engine = place.start();
    record(&engine, &[KEPT, GONE]);
    let (label, old) = (engine.vault().label(GONE, 0), kek(&place));
    let mut operator = Outbox::open(&engine, "operator", 0, 2);
    let entry = ErasureEntry { label, generation: 0 }.to_bytes();
    let frame = operator.cut(&[(entry.to_vec(), Vec::new())]);
    operator.publish(&engine, &frame);
    let until = Instant::now() + Duration::from_secs(20);
    while keys(&engine, GONE)[0].is_some() || kek(&place) == old || !leftovers(&place).is_empty() {
        assert!(Instant::now() < until, "the key is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(keys(&engine, KEPT)[0].is_some());
    engine.stop().unwrap();
}

/// The fault: an old copy of the vault brings the customer back; or what was erased can be opened from it.
#[test]
fn no_old_copy_of_the_vault_brings_a_key_back() {
    let place = TestLedger::new(1);
    let engine = place.start();
    record(&engine, &[KEPT, GONE]);
    let (vault, outside) = (place.beside("old-vault"), place.beside("old-outside"));
    copy_tree(&place.root.join("vault"), &vault);
    copy_tree(&place.outside, &outside);
    let (label, kept, old) = (engine.vault().label(GONE, 0), keys(&engine, KEPT), kek(&place));
    engine.erase(&label, 0).unwrap();
    engine.stop().unwrap();
    let newer = place.copy("newer");

    // The vault alone: under the key-encryption key of today none of it opens.
    put_back(&vault, &place.root.join("vault"));
    let engine = place.start();
    assert_eq!(keys(&engine, GONE), [None]);
    let others = engine.vault().generations(KEPT);
    assert!(matches!(others, Err(LedgerError::Vault(_))));
    assert_eq!(engine.notices().len(), 2);
    engine.stop().unwrap();

    // A key-encryption key that opens newer copies is not given up for that.
    let restored = restore(&place.open(), &[newer], &mut |_| ()).unwrap();
    assert_eq!(restored.keys_brought_back, 1);
    let engine = place.start();
    assert_eq!(
        (keys(&engine, GONE), keys(&engine, KEPT)),
        (vec![None], kept.clone())
    );
    engine.stop().unwrap();

    // With its key-encryption key: the erased key goes again, and the key-encryption key with it; the others stay.
    put_back(&vault, &place.root.join("vault"));
    put_back(&outside, &place.outside);
    let engine = place.start();
    assert_eq!((keys(&engine, GONE), keys(&engine, KEPT)), (vec![None], kept));
    assert_ne!(kek(&place), old);
    engine.stop().unwrap();
}

/// The fault: keys that an old copy of the vault lacks, or has under a key-encryption key that is gone, do not come back
/// from a newer copy; or erased ones do.
#[test]
fn a_newer_copy_brings_back_what_an_old_vault_cannot_open() {
    let place = TestLedger::new(1);
    let engine = place.start();
    record(&engine, &[KEPT, GONE]);
    let vault = place.beside("old-vault");
    copy_tree(&place.root.join("vault"), &vault);
    let label = engine.vault().label(GONE, 0);
    engine.erase(&label, 0).unwrap();
    record(&engine, &["customer-later"]);
    let kept = [KEPT, "customer-later"].map(|customer| keys(&engine, customer));
    engine.stop().unwrap();
    let newer = place.copy("newer");
    put_back(&vault, &place.root.join("vault"));
    let restored = restore(&place.open(), &[newer], &mut |_| ()).unwrap();
    assert_eq!(restored.keys_brought_back, 2);
    let engine = place.start();
    assert_eq!(
        [KEPT, "customer-later"].map(|customer| keys(&engine, customer)),
        kept
    );
    assert_eq!(keys(&engine, GONE), [None]);
    engine.stop().unwrap();
}

/// The fault: a process that only reads meets slots and key-encryption key that do not fit, and says that keys are damaged.
#[test]
fn whoever_reads_while_customers_are_erased_is_never_refused() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let names: Vec<String> = (0..12).map(|n| format!("customer-{n}")).collect();
    let customers: Vec<&str> = names.iter().map(String::as_str).chain([KEPT]).collect();
    record(&engine, &customers);
    let (kept, is_done, ledger) = (keys(&engine, KEPT)[0], AtomicBool::new(false), place.open());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let early = ledger.vault().unwrap();
            let mut looks = 0;
            while !is_done.load(Ordering::Acquire) || looks == 0 {
                for vault in [&early, &ledger.vault().unwrap()] {
                    let found = vault.generations(KEPT).unwrap().remove(0);
                    assert_eq!(found.key.map(|key| key.0), kept);
                }
                looks += 1;
            }
            // A handle that was open all the time gives out nothing that was destroyed since.
            for customer in &names {
                assert!(early.generations(customer).unwrap()[0].key.is_none());
            }
        });
        for customer in &names {
            let label = engine.vault().label(customer, 0);
            assert!(engine.erase(&label, 0).unwrap().rotated);
        }
        is_done.store(true, Ordering::Release);
        reader.join().unwrap();
    });
    engine.stop().unwrap();
}
