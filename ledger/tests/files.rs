//! The folder and its files: what others can read, who holds it, what lies outside, and keys that must be gone.
//!
//! In scope: permissions, the lock, making a ledger, the copy outside, destroyed keys. Out of scope: the log.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Outbox, TestLedger, copy_tree, name, refusal};
use memchr::memmem;
use sharetrail_ledger::{Engine, InitOptions, Ledger, LedgerError, init, status};
use sharetrail_proof::entry::ErasureEntry;

const PRODUCER: &str = "shop.example";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The fault: keys that anybody on the host can read are used as if they were secret.
#[test]
fn what_others_can_read_is_refused() {
    let place = TestLedger::new(1);
    let private = [
        (place.root.join("keys/log-0.key"), 0o600),
        (place.root.join("keys/vrf.key"), 0o600),
        (place.root.join("vault"), 0o700),
        (place.root.join("vault/slots"), 0o600),
        (place.outside.join("vault.kek"), 0o600),
    ];
    for (path, mode) in &private {
        assert_eq!(
            fs::metadata(path).unwrap().permissions().mode() & 0o777,
            *mode,
            "{}",
            path.display()
        );
        for exposed in [mode | 0o040, mode | 0o004] {
            set_mode(path, exposed);
            let refused = refusal(&place.open());
            assert!(
                matches!(refused, LedgerError::Exposed { mode, .. } if mode == exposed),
                "{refused}"
            );
        }
        set_mode(path, *mode);
    }
    place.start().stop().unwrap();
}

/// The fault: two processes write into one folder.
#[test]
fn a_ledger_is_held_by_one_at_a_time() {
    let place = TestLedger::new(1);
    let engine = place.start();
    assert!(refusal(&place.open()).is_locked());
    assert!(matches!(sharetrail_ledger::catch_up(&place.open()), Ok(None)));
    let held = status(&place.open()).unwrap();
    assert_eq!((held.held, held.held_by), (true, Some(std::process::id())));
    engine.stop().unwrap();
    assert!(!status(&place.open()).unwrap().held);
    place.start().stop().unwrap();
}

fn options(outside: &Path) -> InitOptions {
    InitOptions {
        outside: Some(outside.to_owned()),
        ..InitOptions::new(name(PRODUCER))
    }
}

/// The fault: a ledger is made over somebody's files, or where a backup of it holds the keys that open it.
#[test]
fn a_ledger_is_made_only_where_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("ledger"), folder.path().join("outside"));
    assert!(matches!(Ledger::open(&root), Err(LedgerError::NotALedger(path)) if path == root));
    for inside in [
        root.clone(),
        root.join("outside"),
        folder.path().join("outside/../ledger/outside"),
    ] {
        assert!(
            matches!(init(&root, &options(&inside)), Err(LedgerError::Invalid(_))),
            "{}",
            inside.display()
        );
    }
    for shards in [0, 5_000] {
        assert!(matches!(
            init(
                &root,
                &InitOptions {
                    shards,
                    ..options(&outside)
                }
            ),
            Err(LedgerError::Invalid(_))
        ));
    }
    let reserved = InitOptions {
        producer: Some(name("operator")),
        ..options(&outside)
    };
    assert!(matches!(init(&root, &reserved), Err(LedgerError::Invalid(_))));
    assert!(!root.exists(), "nothing was begun");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("somebody's"), "file").unwrap();
    assert!(matches!(init(&root, &options(&outside)), Err(LedgerError::NotEmpty(path)) if path == root));
    fs::remove_file(root.join("somebody's")).unwrap();
    assert!(init(&root, &options(&outside)).is_ok());
    assert!(matches!(
        init(&root, &options(&outside)),
        Err(LedgerError::NotEmpty(_))
    ));
}

/// The fault: the copy outside is gone, so a rollback would not be noticed, and nobody is told.
#[test]
fn a_missing_copy_outside_is_told_and_made_anew() {
    let place = TestLedger::new(1);
    fs::remove_dir_all(place.outside.join("checkpoints")).unwrap();
    assert!(!status(&place.open()).unwrap().shards[0].problems.is_empty());
    let engine = place.start();
    assert_eq!(engine.notices().len(), 1);
    engine.stop().unwrap();
    let engine = place.start();
    assert!(engine.notices().is_empty());
    assert!(status(&place.open()).unwrap().shards[0].problems.is_empty());
}

/// The wrapped key of a label in the vault's file; nothing where its bytes are gone.
fn wrapped_key(place: &TestLedger, label: &[u8]) -> Option<Vec<u8>> {
    let bytes = fs::read(place.root.join("vault/slots")).unwrap();
    let (slots, rest) = bytes.as_chunks::<160>();
    assert!(rest.is_empty());
    let slot = slots.iter().skip(1).find(|slot| slot[8..40] == *label).unwrap();
    Some(slot[80..112].to_vec()).filter(|key| key.iter().any(|&byte| byte != 0))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    memmem::find(bytes, part).is_some()
}

/// The fault: an erasure is on record and the key still lies in the vault; or an old copy of the vault brings it back.
#[test]
fn an_erasure_on_record_destroys_the_key_for_good() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let (gone, kept) = ("customer-1", "customer-2");
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 1);
    let events = [gone, kept].map(|customer| outbox.event(&engine, customer));
    let frame = outbox.cut(&events);
    outbox.publish(&engine, &frame);
    let labels = [gone, kept].map(|customer| engine.vault().label(customer, 0));
    let key = wrapped_key(&place, &labels[0].0).unwrap();
    let copy = place.beside("vault-copy");
    copy_tree(&place.root.join("vault"), &copy);
    let mut operator = Outbox::open(&engine, "operator", 0, 2);
    let erasure = ErasureEntry {
        label: labels[0],
        generation: 0,
    }
    .to_bytes()
    .to_vec();
    let frame = operator.cut(&[(erasure, Vec::new())]);
    operator.publish(&engine, &frame);
    engine.stop().unwrap();
    for from_copy in [false, true] {
        if from_copy {
            fs::remove_dir_all(place.root.join("vault")).unwrap();
            copy_tree(&copy, &place.root.join("vault"));
        }
        let engine = Engine::start(&place.open()).unwrap();
        // The other keys in the old copy are under a key-encryption key that is gone, which is told too.
        assert_eq!(engine.notices().len(), if from_copy { 2 } else { 0 });
        let generations = engine.vault().generations(gone).unwrap();
        assert!(generations.len() == 1 && generations[0].key.is_none());
        match engine.vault().generations(kept) {
            Ok(generations) => assert!(!from_copy && generations[0].key.is_some()),
            Err(error) => assert!(from_copy && matches!(error, LedgerError::Vault(_))),
        }
        assert_eq!(wrapped_key(&place, &labels[0].0), None);
        assert!(wrapped_key(&place, &labels[1].0).is_some());
        assert!(!contains(
            &fs::read(place.root.join("vault/slots")).unwrap(),
            &key
        ));
        engine.stop().unwrap();
    }
    // Whoever comes back after an erasure is somebody new, under another label.
    let engine = place.start();
    let grant = engine.vault().grants(&name(PRODUCER), &[gone]).unwrap().remove(0);
    assert_eq!(
        (grant.generation, grant.label),
        (1, engine.vault().label(gone, 1))
    );
}

/// The fault: a vault whose file is gone begins anew in silence; customers get other keys under the labels they had.
#[test]
fn a_missing_vault_is_told() {
    let place = TestLedger::new(1);
    let engine = place.start();
    Outbox::open(&engine, PRODUCER, 0, 1).record(&engine, 3);
    engine.stop().unwrap();
    fs::remove_file(place.root.join("vault/slots")).unwrap();
    assert!(matches!(Engine::start(&place.open()), Err(LedgerError::Vault(_))));
}

/// The fault: another label key lies in the folder, every customer's label is another, and whoever asks is told that
/// nothing is on record about them.
#[test]
fn another_label_key_than_the_genesis_names_is_refused() {
    let (place, other) = (TestLedger::new(1), TestLedger::new(1));
    fs::copy(other.root.join("keys/vrf.key"), place.root.join("keys/vrf.key")).unwrap();
    assert!(matches!(
        place.open().vault().map(|_| ()),
        Err(LedgerError::Damaged { .. })
    ));
    assert!(matches!(
        Engine::start(&place.open()).map(|_| ()),
        Err(LedgerError::Damaged { .. })
    ));
}

/// The fault: the process is killed while it makes the offsets of the leaves anew, and the ledger cannot even be opened.
#[test]
fn offsets_that_are_gone_are_made_again() {
    let place = TestLedger::new(1);
    let engine = place.start();
    Outbox::open(&engine, PRODUCER, 0, 1).record(&engine, 3);
    engine.stop().unwrap();
    let path = place.root.join("sealed/0/00000000000000000000.offsets");
    let whole = fs::read(&path).unwrap();
    for left in [0, 12] {
        fs::write(&path, &whole[..left]).unwrap();
        place.start().stop().unwrap();
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
}
