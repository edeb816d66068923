//! The registry: which key is valid where, and every rule an entry can break. What breaks one changes nothing.

use sharetrail_proof::entry::{RegistryAction, RegistryEntry, RegistryRecord};
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex};
use sharetrail_proof::name::{OPERATOR, RECOVERY};
use sharetrail_proof::note::{NoteSigner, VerifierKey};
use sharetrail_proof::registry::{KeyPeriod, Registry, RegistryError};

use crate::support::{
    Ledger, TIME, Witness, key_registered, key_revoked, key_rotated, ledger_id, name, operator_replaced,
    party, signer,
};

fn registry() -> Registry {
    Registry::new(&Ledger::empty(1).log(0).genesis)
}

fn till() -> NoteSigner {
    signer("till", "till")
}

/// The entry that follows.
fn next(registry: &Registry, about: &str, action: RegistryAction) -> RegistryEntry {
    let (seq, prev) = registry.next();
    RegistryEntry::new(RegistryRecord {
        seq,
        prev,
        party: name(about),
        time: TIME,
        action,
    })
}

fn apply(registry: &mut Registry, index: u64, about: &str, action: RegistryAction) {
    let entry = next(registry, about, action);
    assert_eq!(registry.apply(LeafIndex(index), &entry, &name(OPERATOR)), Ok(()));
}

/// The error of an entry that follows, and that nothing changes by it.
fn refused(registry: &mut Registry, by: &str, about: &str, action: RegistryAction) -> RegistryError {
    let (before, entry) = (registry.clone(), next(registry, about, action));
    let error = registry.apply(LeafIndex(90), &entry, &name(by)).unwrap_err();
    assert_eq!(*registry, before);
    error
}

/// A registry that knows `till` since index 2 and its key since index 3.
fn with_till() -> Registry {
    let mut registry = registry();
    apply(&mut registry, 2, "till", party());
    apply(&mut registry, 3, "till", key_registered(&till()));
    registry
}

/// At which of the indexes 0 to 29 the key is valid, first and last.
fn valid(registry: &Registry, key: &VerifierKey) -> Option<(u64, u64)> {
    let who = name(key.name());
    let found = |index: &u64| registry.key(&who, key.id(), LeafIndex(*index)) == Some(key);
    let indexes: Vec<u64> = (0..30).filter(found).collect();
    let (first, last) = (*indexes.first()?, *indexes.last()?);
    assert_eq!(indexes, (first..=last).collect::<Vec<_>>(), "without a gap");
    Some((first, last))
}

#[test]
fn genesis_makes_the_operator_and_the_recovery_key_valid() {
    let (registry, ledger) = (registry(), Ledger::empty(1));
    assert_eq!(registry.next(), (0, Hash(ledger_id().0)));
    assert_eq!(valid(&registry, ledger.operator.verifier()), Some((1, 29)));
    assert_eq!(valid(&registry, ledger.recovery.verifier()), Some((0, 29)));
    assert_eq!(
        registry
            .parties()
            .map(|(party, _)| party.as_str())
            .collect::<Vec<_>>(),
        [OPERATOR]
    );
    assert_eq!(registry.party(&name(RECOVERY)), None);
    assert_eq!(valid(&registry, till().verifier()), None);
}

#[test]
fn a_key_is_valid_after_it_was_registered_and_until_it_is_revoked() {
    let mut registry = with_till();
    assert_eq!(
        registry.party(&name("till")).unwrap().name.as_deref(),
        Some("Till GmbH")
    );
    assert_eq!(valid(&registry, till().verifier()), Some((4, 29)));
    apply(&mut registry, 10, "till", key_revoked(&till()));
    assert_eq!(valid(&registry, till().verifier()), Some((4, 9)));
}

#[test]
fn a_rotation_ends_all_keys_and_begins_one() {
    let (second, third) = (signer("till", "second"), signer("till", "third"));
    let mut registry = with_till();
    apply(&mut registry, 5, "till", key_registered(&second));
    assert_eq!(
        valid(&registry, till().verifier()),
        Some((4, 29)),
        "two keys at once"
    );
    apply(&mut registry, 12, "till", key_rotated(&third));
    let periods = [&till(), &second, &third].map(|key| valid(&registry, key.verifier()));
    assert_eq!(periods, [Some((4, 11)), Some((6, 11)), Some((13, 29))]);
    let keys = &registry.party(&name("till")).unwrap().keys;
    let bounds: Vec<_> = keys.iter().map(|period| (period.from, period.until)).collect();
    let ended = Some(LeafIndex(12));
    assert_eq!(
        bounds,
        [
            (LeafIndex(3), ended),
            (LeafIndex(5), ended),
            (LeafIndex(12), None)
        ]
    );
}

#[test]
fn a_period_begins_after_and_ends_before_the_entries_that_bound_it() {
    let key = till().verifier().clone();
    let open = KeyPeriod {
        key,
        from: LeafIndex(5),
        until: None,
    };
    let closed = KeyPeriod {
        until: Some(LeafIndex(7)),
        ..open.clone()
    };
    let at = |period: &KeyPeriod| [4, 5, 6, 7, u64::MAX].map(|index| period.is_valid_at(LeafIndex(index)));
    assert_eq!(at(&open), [false, false, true, true, true]);
    assert_eq!(at(&closed), [false, false, true, false, false]);
}

#[test]
fn the_recovery_key_replaces_the_operator_key_and_stays() {
    let ledger = Ledger::empty(1);
    let mut registry = registry();
    let replacement = signer(OPERATOR, "replacement");
    let entry = next(&registry, OPERATOR, operator_replaced(&replacement));
    assert_eq!(registry.apply(LeafIndex(6), &entry, &name(RECOVERY)), Ok(()));
    let keys = [
        ledger.operator.verifier(),
        replacement.verifier(),
        ledger.recovery.verifier(),
    ];
    let periods = keys.map(|key| valid(&registry, key));
    assert_eq!(periods, [Some((1, 5)), Some((7, 29)), Some((0, 29))]);
}

#[test]
fn entries_are_one_chain() {
    let mut registry = with_till();
    let good = next(&registry, "crm", party());
    let last = registry.next();
    assert_eq!(last.0, 2);
    for (seq, prev) in [
        (1, last.1),
        (3, last.1),
        (2, Hash::ZERO),
        (0, Hash(ledger_id().0)),
    ] {
        let entry = RegistryEntry::new(RegistryRecord {
            seq,
            prev,
            ..good.record.clone()
        });
        let found = registry.clone().apply(LeafIndex(9), &entry, &name(OPERATOR));
        assert_eq!(
            found,
            Err(RegistryError::Order {
                expected: 2,
                found: seq
            })
        );
    }
    assert_eq!(registry.apply(LeafIndex(9), &good, &name(OPERATOR)), Ok(()));
    assert_eq!(registry.next(), (3, LeafHash::of(&good.to_bytes()).0));
}

#[test]
fn nobody_else_writes_registry_entries() {
    let mut registry = with_till();
    for by in ["till", "crm"] {
        let error = refused(&mut registry, by, "crm", party());
        assert_eq!(error, RegistryError::Forbidden { by: name(by) });
    }
    let crm = signer("crm", "crm");
    for action in [
        party(),
        key_registered(&crm),
        key_rotated(&crm),
        key_revoked(&crm),
    ] {
        let error = refused(&mut registry, RECOVERY, "till", action);
        assert_eq!(error, RegistryError::Forbidden { by: name(RECOVERY) });
    }
}

#[test]
fn keys_belong_to_parties_that_are_registered() {
    let mut registry = with_till();
    let crm = signer("crm", "crm");
    for action in [key_registered(&crm), key_rotated(&crm), key_revoked(&crm)] {
        let error = refused(&mut registry, OPERATOR, "crm", action);
        assert_eq!(error, RegistryError::UnknownParty { party: name("crm") });
    }
}

#[test]
fn the_names_of_the_operator_and_of_the_recovery_key_are_reserved() {
    let mut registry = with_till();
    for reserved in [OPERATOR, RECOVERY] {
        let key = signer(reserved, "another key");
        for action in [
            party(),
            key_registered(&key),
            key_rotated(&key),
            key_revoked(&key),
        ] {
            let error = refused(&mut registry, OPERATOR, reserved, action);
            assert_eq!(
                error,
                RegistryError::UnknownParty {
                    party: name(reserved)
                }
            );
        }
    }
    for about in ["till", RECOVERY] {
        let action = operator_replaced(&signer(about, "another key"));
        let error = refused(&mut registry, OPERATOR, about, action);
        assert_eq!(error, RegistryError::UnknownParty { party: name(about) });
    }
}

#[test]
fn what_is_no_key_of_the_party_is_refused() {
    let mut registry = with_till();
    let other_name = signer("crm", "crm").verifier().to_string();
    let cosigner = Witness::new("till").verifier.to_string();
    for key in [other_name, cosigner, "till".to_owned(), String::new()] {
        let actions = [
            RegistryAction::KeyRegistered { key: key.clone() },
            RegistryAction::KeyRotated { key: key.clone() },
            RegistryAction::KeyRevoked { key: key.clone() },
        ];
        for action in actions {
            let error = refused(&mut registry, OPERATOR, "till", action);
            assert_eq!(error, RegistryError::Key { party: name("till") }, "{key:?}");
        }
        let error = refused(
            &mut registry,
            RECOVERY,
            OPERATOR,
            RegistryAction::OperatorReplaced { key },
        );
        assert_eq!(
            error,
            RegistryError::Key {
                party: name(OPERATOR)
            }
        );
    }
}

#[test]
fn a_key_begins_once_and_ends_once() {
    let mut registry = with_till();
    let other = signer("till", "other");
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_registered(&till())),
        RegistryError::State
    );
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_rotated(&till())),
        RegistryError::State
    );
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_revoked(&other)),
        RegistryError::State
    );
    apply(&mut registry, 8, "till", key_revoked(&till()));
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_revoked(&till())),
        RegistryError::State
    );
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_registered(&till())),
        RegistryError::State
    );
    assert_eq!(
        refused(&mut registry, OPERATOR, "till", key_rotated(&other)),
        RegistryError::State
    );
    let operator = Ledger::empty(1).operator;
    assert_eq!(
        refused(&mut registry, RECOVERY, OPERATOR, operator_replaced(&operator)),
        RegistryError::State
    );
}

/// Two keys of `till` with one id, as whoever tries for a minute can make them.
fn twins() -> [NoteSigner; 2] {
    let twins = [10_356, 63_729].map(|number| {
        let seed = Hash::of(&[format!("collision {number}").as_bytes()]).0;
        NoteSigner::from_seed("till", &seed).unwrap()
    });
    let [one, two] = twins.each_ref().map(NoteSigner::verifier);
    assert!(one.id() == two.id() && one.public() != two.public());
    twins
}

/// The fault: verifiers try the keys of one id in different orders, or all of them, and differ over who signed.
#[test]
fn of_two_keys_of_one_id_the_one_that_was_registered_first_counts() {
    let [one, two] = twins();
    let mut registry = registry();
    apply(&mut registry, 2, "till", party());
    apply(&mut registry, 3, "till", key_registered(&one));
    apply(&mut registry, 4, "till", key_registered(&two));
    apply(&mut registry, 9, "till", key_revoked(&one));
    assert_eq!(valid(&registry, one.verifier()), Some((4, 8)));
    assert_eq!(valid(&registry, two.verifier()), Some((9, 29)));
}

#[test]
fn a_party_may_be_described_anew() {
    let mut registry = with_till();
    let renamed = RegistryAction::PartyRegistered {
        name: "Till AG".into(),
        country: None,
        contact: None,
    };
    apply(&mut registry, 9, "till", renamed);
    assert_eq!(
        registry.party(&name("till")).unwrap().name.as_deref(),
        Some("Till AG")
    );
    assert_eq!(valid(&registry, till().verifier()), Some((4, 29)));
}

#[test]
fn a_registry_is_stored_and_read_back() {
    let mut registry = with_till();
    apply(&mut registry, 9, "till", key_rotated(&signer("till", "second")));
    let stored = serde_json::to_vec(&registry).unwrap();
    assert_eq!(serde_json::from_slice::<Registry>(&stored).unwrap(), registry);
}
