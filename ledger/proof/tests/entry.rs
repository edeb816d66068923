//! Entries: every kind byte by byte against golden values, one way of writing each, and what is no entry.

use serde::Deserialize;
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::entry::{
    BATCH, ERASURE, EVENT, Entry, EntryError, ErasureEntry, EventEntry, GENESIS, Genesis, REGISTRY,
    RegistryAction, RegistryEntry, RegistryRecord, party_label,
};
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::name::{Label, LedgerId, Shard};
use sharetrail_proof::note::{KeyKind, Note, VerifierKey};
use sharetrail_proof::vrf::VrfPublicKey;

use crate::support::{hex, hex32, name};

#[derive(Deserialize)]
struct Golden {
    ledger_id: String,
    genesis: String,
    genesis_leaf_hash: Hash,
    event: String,
    registry: Vec<GoldenRegistry>,
    batch: String,
    batch_text_hash: Hash,
    erasure: String,
    party_labels: Vec<PartyLabel>,
}

#[derive(Deserialize)]
struct GoldenRegistry {
    action: String,
    party: String,
    hex: String,
}

#[derive(Deserialize)]
struct PartyLabel {
    party: String,
    label: Label,
}

#[derive(Deserialize)]
struct Rfc9381 {
    vectors: Vec<Rfc9381Vector>,
}

#[derive(Deserialize)]
struct Rfc9381Vector {
    pk: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/entries-v1.json")).unwrap()
}

/// The public keys of the three vectors of RFC 9381.
fn public(position: usize) -> [u8; 32] {
    let file = include_str!("golden/rfc9381-edwards25519-sha512-tai.json");
    hex32(&serde_json::from_str::<Rfc9381>(file).unwrap().vectors[position].pk)
}

fn key(who: &str, position: usize) -> VerifierKey {
    VerifierKey::new(who, KeyKind::Note, &public(position)).unwrap()
}

/// The bytes `first`, `first` + 1, …
fn rising<const N: usize>(first: u8) -> [u8; N] {
    let mut next = first;
    [(); N].map(|()| {
        next += 1;
        next - 1
    })
}

fn genesis() -> Genesis {
    Genesis {
        ledger: name("shop.example"),
        id: LedgerId(rising(0)),
        shard: Shard::new(1, 2).unwrap(),
        vrf: VrfPublicKey::parse(&public(0)).unwrap(),
        operator: key("operator", 1),
        recovery: key("recovery", 2),
    }
}

fn event() -> EventEntry {
    EventEntry {
        id: rising(0),
        label: Label(rising(32)),
        commitment: Hash(rising(64)),
    }
}

fn actions() -> Vec<(&'static str, RegistryAction)> {
    let named = |name: &str, country: Option<&str>, contact: Option<&str>| RegistryAction::PartyRegistered {
        name: name.into(),
        country: country.map(Into::into),
        contact: contact.map(Into::into),
    };
    let text = |who, position| key(who, position).to_string();
    vec![
        (
            "till",
            named(
                "Till & Söhne \"GmbH\"",
                Some("DE"),
                Some("https://till.example/privacy"),
            ),
        ),
        ("till", named("Till", None, None)),
        ("till", RegistryAction::KeyRegistered { key: text("till", 0) }),
        ("till", RegistryAction::KeyRotated { key: text("till", 2) }),
        ("till", RegistryAction::KeyRevoked { key: text("till", 2) }),
        (
            "operator",
            RegistryAction::OperatorReplaced {
                key: text("operator", 0),
            },
        ),
    ]
}

fn json_error(bytes: &[u8], expected: u8) {
    let found = Entry::parse(bytes);
    assert!(
        matches!(found, Err(EntryError::Json { kind, .. }) if kind == expected),
        "{found:?} in {}",
        String::from_utf8_lossy(bytes)
    );
}

/// The entry with its JSON changed.
fn edited(entry: &[u8], from: &str, to: &str) -> Vec<u8> {
    let start = if entry[0] == REGISTRY { 33 } else { 1 };
    let json = std::str::from_utf8(&entry[start..]).unwrap();
    assert!(json.contains(from), "{json} does not hold {from}");
    [&entry[..start], json.replacen(from, to, 1).as_bytes()].concat()
}

#[test]
fn a_genesis_entry_is_laid_out_as_frozen() {
    let (golden, genesis) = (golden(), genesis());
    assert_eq!(genesis.id.to_string(), golden.ledger_id);
    let bytes = genesis.to_bytes();
    assert_eq!(bytes, hex(&golden.genesis));
    assert_eq!(bytes[..2], [GENESIS, b'{']);
    assert_eq!(LeafHash::of(&bytes).0, golden.genesis_leaf_hash);
    let parsed = Entry::parse(&bytes).unwrap();
    assert_eq!(
        (parsed.label(), parsed),
        (None, Entry::Genesis(Box::new(genesis)))
    );
}

#[test]
fn an_event_entry_is_laid_out_as_frozen() {
    let bytes = event().to_bytes();
    assert_eq!(bytes.as_slice(), hex(&golden().event));
    assert_eq!((bytes.len(), bytes[0]), (81, EVENT));
    assert_eq!(bytes[1..17], rising::<16>(0));
    assert_eq!(bytes[17..49], rising::<32>(32));
    assert_eq!(bytes[49..], rising::<32>(64));
    let parsed = Entry::parse(&bytes).unwrap();
    assert_eq!(
        (parsed.label(), parsed),
        (Some(Label(rising(32))), Entry::Event(event()))
    );
}

#[test]
fn registry_entries_are_laid_out_as_frozen_and_linked() {
    let mut prev = Hash(rising(0));
    for ((seq, golden), (party, action)) in (0..).zip(golden().registry).zip(actions()) {
        let record = RegistryRecord {
            seq,
            prev,
            party: name(party),
            time: 1_767_225_600 + seq,
            action,
        };
        let entry = RegistryEntry::new(record);
        let bytes = entry.to_bytes();
        assert_eq!(bytes, hex(&golden.hex), "{} of {}", golden.action, golden.party);
        assert_eq!(
            (bytes[0], &bytes[1..33], bytes[33]),
            (REGISTRY, party_label(&name(party)).0.as_slice(), b'{')
        );
        let parsed = Entry::parse(&bytes).unwrap();
        assert_eq!(
            (parsed.label(), parsed),
            (Some(entry.label), Entry::Registry(Box::new(entry)))
        );
        prev = LeafHash::of(&bytes).0;
    }
    assert_eq!(golden().registry.len(), actions().len());
}

#[test]
fn a_batch_entry_is_the_whole_note() {
    let golden = golden();
    let bytes = hex(&golden.batch);
    assert_eq!(bytes[0], BATCH);
    let Ok(Entry::Batch(text)) = Entry::parse(&bytes) else {
        panic!("not a batch entry")
    };
    assert_eq!(Entry::Batch(text).label(), None);
    let note = Note::parse(text).unwrap();
    assert_eq!(note.verify(&key("till", 0)), Ok(()));
    assert_eq!(text_hash(note.text()), golden.batch_text_hash);
    let batch = Batch::parse(note.text()).unwrap();
    assert_eq!(batch.to_text(), note.text());
    assert_eq!(
        (batch.number, batch.count, batch.prev),
        (0, 2, golden.genesis_leaf_hash)
    );
}

#[test]
fn an_erasure_entry_is_laid_out_as_frozen() {
    let entry = ErasureEntry {
        label: Label(rising(32)),
        generation: 0x0102_0304,
    };
    let bytes = entry.to_bytes();
    assert_eq!(bytes.as_slice(), hex(&golden().erasure));
    assert_eq!((bytes.len(), bytes[0]), (37, ERASURE));
    assert_eq!(
        (&bytes[1..33], &bytes[33..]),
        (rising::<32>(32).as_slice(), [1, 2, 3, 4].as_slice())
    );
    let parsed = Entry::parse(&bytes).unwrap();
    assert_eq!(
        (parsed.label(), parsed),
        (Some(entry.label), Entry::Erasure(entry))
    );
}

#[test]
fn labels_of_parties_are_as_frozen_and_tell_names_apart() {
    for golden in golden().party_labels {
        assert_eq!(
            party_label(&name(&golden.party)),
            golden.label,
            "{}",
            golden.party
        );
    }
    assert_ne!(party_label(&name("a")), party_label(&name("b")));
}

#[test]
fn a_first_byte_that_no_kind_has_is_refused() {
    assert_eq!(Entry::parse(&[]), Err(EntryError::UnknownKind { found: None }));
    for first in 5..=u8::MAX {
        let bytes = [&[first][..], &event().to_bytes()[1..]].concat();
        assert_eq!(
            Entry::parse(&bytes),
            Err(EntryError::UnknownKind { found: Some(first) })
        );
    }
}

#[test]
fn entries_of_a_fixed_length_have_no_other() {
    for (kind, expected) in [(EVENT, 81), (ERASURE, 37)] {
        for found in (1..200).filter(|&length| length != expected) {
            let mut bytes = vec![7; found];
            bytes[0] = kind;
            assert_eq!(
                Entry::parse(&bytes),
                Err(EntryError::Length {
                    kind,
                    expected,
                    found
                })
            );
        }
    }
}

#[test]
fn a_genesis_entry_that_breaks_a_rule_is_refused() {
    let good = genesis().to_bytes();
    let edits = [
        ("genesis@v1", "genesis@v2"),
        ("\"shop.example\"", "\"Shop\""),
        ("\"id\":\"00", "\"id\":\"0"),
        ("\"shard\":1", "\"shard\":2"),
        ("\"shard\":1", "\"shard\":-1"),
        ("\"shards\":2", "\"shards\":5000"),
        ("\"operator\":\"operator", "\"operator\":\"operator2"),
        ("\"recovery\":\"recovery", "\"recovery\":\"recover"),
        ("{", "{\"more\":1,"),
        ("\"shard\":1,", ""),
        ("\"shard\":1,", "\"shard\":1,\"shard\":1,"),
        ("}", ""),
        ("}", "}}"),
    ];
    for (from, to) in edits {
        json_error(&edited(&good, from, to), GENESIS);
    }
    let mut small_order = Hash::ZERO;
    small_order.0[0] = 1;
    json_error(
        &edited(&good, &Hash(public(0)).to_string(), &small_order.to_string()),
        GENESIS,
    );
    json_error(&[GENESIS], GENESIS);
}

#[test]
fn registry_entries_have_one_way_of_being_written() {
    let golden = golden().registry;
    let edits = [
        ("{", "{ "),
        ("}", "}\n"),
        ("\"seq\":0,", ""),
        ("\"seq\":0", "\"seq\":0.0"),
        ("\"seq\":0", "\"seq\":\"0\""),
        (
            "\"time\":1767225600,\"action\":\"party.registered\"",
            "\"action\":\"party.registered\",\"time\":1767225600",
        ),
        ("\"country\":\"DE\"", "\"country\":null"),
        ("\"country\":\"DE\"", "\"country\":\"DE\",\"more\":1"),
        ("\"country\":\"DE\"", "\"country\":\"DE\",\"country\":\"DE\""),
        ("Söhne", "S\\u00f6hne"),
        ("party.registered", "party.forgotten"),
        ("party.registered", "key.registered"),
        ("\"party\":\"till\"", "\"party\":\"Till\""),
        ("\"party\":\"till\"", "\"party\":\"crm\""),
        ("=\",\"party\"", "\",\"party\""),
        ("{", ""),
    ];
    for (from, to) in edits {
        json_error(&edited(&hex(&golden[0].hex), from, to), REGISTRY);
    }
    let mut other_label = hex(&golden[0].hex);
    other_label[32] ^= 1;
    json_error(&other_label, REGISTRY);
    for length in 1..=33 {
        json_error(&hex(&golden[0].hex)[..length], REGISTRY);
    }
}

#[test]
fn a_batch_entry_is_text() {
    json_error(&[BATCH, 0xff], BATCH);
    assert_eq!(
        Entry::parse(&[BATCH]),
        Ok(Entry::Batch("")),
        "whether it is a note is found out later"
    );
}

#[test]
fn a_genesis_entry_has_one_way_of_being_written() {
    let good = genesis().to_bytes();
    for (from, to) in [
        ("{", "{ "),
        ("}", "}\n"),
        ("\"shard\":1,\"shards\":2", "\"shards\":2,\"shard\":1"),
    ] {
        json_error(&edited(&good, from, to), GENESIS);
    }
}

#[test]
fn the_keys_of_a_genesis_entry_are_the_operators_and_the_recovery_key() {
    let swapped = Genesis {
        operator: key("recovery", 1),
        recovery: key("operator", 2),
        ..genesis()
    };
    json_error(&swapped.to_bytes(), GENESIS);
    let cosigner = VerifierKey::new("operator", KeyKind::Cosignature, &public(1)).unwrap();
    json_error(
        &Genesis {
            operator: cosigner,
            ..genesis()
        }
        .to_bytes(),
        GENESIS,
    );
}
