//! What binds a customer to the log: labels, keys, commitments and sealed contents against golden values, and every
//! sealed content that must not open.

use serde::Deserialize;
use sharetrail_proof::customer::{
    CustomerKey, MAX_CONTENT_BYTES, MAX_SEALED_BYTES, OpenError, Opened, ProducerKey, Sealer, commitment,
    label, prove_label, verify_label,
};
use sharetrail_proof::entry::{Entry, EventEntry};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::vrf::{VrfError, VrfSecretKey};

use crate::support::{hex, hex32, name, seed};

#[derive(Deserialize)]
struct Golden {
    ledger: Name,
    vrf_seed: String,
    labels: Vec<GoldenLabel>,
    customer_key: String,
    producer: Name,
    producer_key: String,
    other_producer_key: String,
    entry_ids: Vec<GoldenEntryId>,
    opening: String,
    nonce: String,
    commitments: Vec<GoldenCommitment>,
    sealed: Vec<GoldenSealed>,
    unpadded: Vec<String>,
}

#[derive(Deserialize)]
struct GoldenLabel {
    customer: String,
    generation: u32,
    label: Label,
    proof: String,
}

#[derive(Deserialize)]
struct GoldenEntryId {
    source: String,
    id: String,
    entry_id: String,
}

#[derive(Deserialize)]
struct GoldenCommitment {
    content: String,
    commitment: Hash,
}

#[derive(Deserialize)]
struct GoldenSealed {
    content: String,
    entry: String,
    sealed: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/customer-v1.json")).unwrap()
}

impl Golden {
    fn vrf(&self) -> VrfSecretKey {
        VrfSecretKey::from_seed(&hex32(&self.vrf_seed))
    }

    fn sealer(&self) -> Sealer {
        ProducerKey(hex32(&self.producer_key)).sealer()
    }

    fn nonce(&self) -> [u8; 24] {
        hex(&self.nonce).try_into().unwrap()
    }
}

const NONCE: [u8; 24] = [9; 24];
const OPENING: [u8; 32] = [8; 32];
const NOT_THE_OPENING: [u8; 32] = [7; 32];

fn sealer(of: &str) -> Sealer {
    CustomerKey(seed(of)).for_producer(&name("till")).sealer()
}

fn entry(content: &[u8]) -> EventEntry {
    EventEntry {
        id: [1; 16],
        label: Label([2; 32]),
        commitment: commitment(&OPENING, content),
    }
}

/// An entry for a content, and the content sealed for it.
fn sealed(content: &[u8]) -> (EventEntry, Vec<u8>) {
    let (entry, mut out) = (entry(content), Vec::new());
    sealer("alice").seal(&entry.to_bytes(), &OPENING, content, &NONCE, &mut out);
    (entry, out)
}

fn opened(content: &[u8]) -> Opened {
    Opened {
        opening: OPENING,
        content: content.to_vec(),
    }
}

#[test]
fn labels_are_as_frozen_and_their_proofs_hold() {
    let golden = golden();
    let (secret, public) = (golden.vrf(), golden.vrf().public());
    for one in &golden.labels {
        let (customer, generation) = (one.customer.as_str(), one.generation);
        assert_eq!(label(&secret, &golden.ledger, customer, generation), one.label);
        let (found, proof) = prove_label(&secret, &golden.ledger, customer, generation);
        assert_eq!(
            (found, proof.bytes().as_slice()),
            (one.label, hex(&one.proof).as_slice())
        );
        assert_eq!(
            verify_label(&public, &golden.ledger, customer, generation, &proof),
            Ok(one.label)
        );
        let others = [
            verify_label(&public, &name("shop.exampl"), customer, generation, &proof),
            verify_label(&public, &golden.ledger, &customer[1..], generation, &proof),
            verify_label(&public, &golden.ledger, customer, generation ^ 1, &proof),
        ];
        assert_eq!(others, [Err(VrfError::Mismatch); 3]);
    }
}

#[test]
fn keys_and_entry_ids_are_as_frozen() {
    let golden = golden();
    let customer_key = CustomerKey(hex32(&golden.customer_key));
    assert_eq!(
        customer_key.for_producer(&golden.producer).0,
        hex32(&golden.producer_key)
    );
    assert_eq!(
        customer_key.for_producer(&name("crm")).0,
        hex32(&golden.other_producer_key)
    );
    for one in &golden.entry_ids {
        let found = golden.sealer().entry_id(&one.source, &one.id);
        assert_eq!(found.as_slice(), hex(&one.entry_id), "{} {}", one.source, one.id);
    }
}

#[test]
fn entry_ids_tell_customers_producers_sources_and_ids_apart() {
    let id = |key: &str, producer: &str, source: &str, id: &str| {
        CustomerKey(seed(key))
            .for_producer(&name(producer))
            .sealer()
            .entry_id(source, id)
    };
    let base = id("alice", "till", "ab", "c");
    assert_eq!(base, id("alice", "till", "ab", "c"));
    let others = [
        id("bob", "till", "ab", "c"),
        id("alice", "crm", "ab", "c"),
        id("alice", "till", "a", "bc"),
        id("alice", "till", "", "abc"),
        id("alice", "till", "abc", ""),
    ];
    assert!(!others.contains(&base));
}

#[test]
fn commitments_are_as_frozen_and_bind_opening_and_content() {
    let golden = golden();
    let opening = hex32(&golden.opening);
    for one in &golden.commitments {
        assert_eq!(commitment(&opening, &hex(&one.content)), one.commitment);
    }
    assert_ne!(commitment(&OPENING, b"a"), commitment(&OPENING, b"b"));
    assert_ne!(commitment(&OPENING, b"a"), commitment(&NOT_THE_OPENING, b"a"));
}

#[test]
fn contents_sealed_by_another_implementation_open_and_are_sealed_the_same() {
    let golden = golden();
    for one in &golden.sealed {
        let (content, bytes) = (hex(&one.content), hex(&one.entry));
        let Ok(Entry::Event(entry)) = Entry::parse(&bytes) else {
            panic!("not an event: {}", one.entry)
        };
        let expected = Opened {
            opening: hex32(&golden.opening),
            content: content.clone(),
        };
        assert_eq!(golden.sealer().open(&entry, &hex(&one.sealed)), Ok(expected));
        let mut out = vec![0xee];
        golden.sealer().seal(
            &entry.to_bytes(),
            &hex32(&golden.opening),
            &content,
            &golden.nonce(),
            &mut out,
        );
        assert_eq!(out, [vec![0xee], hex(&one.sealed)].concat());
    }
}

#[test]
fn contents_of_every_length_are_padded_and_open() {
    for length in 0..=200 {
        // What looks like padding is content all the same.
        for last in [0x00, 0x80, b'x'] {
            let content = vec![last; length];
            let (entry, bytes) = sealed(&content);
            assert_eq!(bytes.len(), 1 + 24 + (32 + length + 1).div_ceil(64) * 64 + 16);
            assert_eq!((bytes[0], &bytes[1..25]), (0, NONCE.as_slice()));
            assert_eq!(
                sealer("alice").open(&entry, &bytes),
                Ok(opened(&content)),
                "{length} bytes"
            );
        }
    }
}

#[test]
fn the_longest_content_fits_the_largest_sealed_content() {
    let content = vec![b'x'; MAX_CONTENT_BYTES];
    let (entry, bytes) = sealed(&content);
    assert!(bytes.len() <= MAX_SEALED_BYTES);
    assert_eq!(sealer("alice").open(&entry, &bytes), Ok(opened(&content)));
    let longer = [bytes.as_slice(), &[0; 64]].concat();
    assert!(matches!(
        sealer("alice").open(&entry, &longer),
        Err(OpenError::Malformed { .. })
    ));
}

#[test]
fn a_sealed_content_with_any_bit_flipped_does_not_open() {
    let (entry, bytes) = sealed(b"{\"subject\":\"alice\"}");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let found = sealer("alice").open(&entry, &flipped);
        let fits = if bit < 8 {
            matches!(found, Err(OpenError::Malformed { .. }))
        } else {
            found == Err(OpenError::Wrong)
        };
        assert!(fits, "bit {bit}: {found:?}");
    }
}

#[test]
fn a_sealed_content_opens_for_its_entry_alone() {
    let (entry, sealed) = sealed(b"{}");
    let bytes = entry.to_bytes();
    for bit in 8..bytes.len() * 8 {
        let mut flipped = bytes;
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(Entry::Event(other)) = Entry::parse(&flipped) else {
            panic!("still an event")
        };
        assert_eq!(
            sealer("alice").open(&other, &sealed),
            Err(OpenError::Wrong),
            "bit {bit}"
        );
    }
}

#[test]
fn a_sealed_content_opens_with_its_key_alone() {
    let (entry, sealed) = sealed(b"{}");
    let other_producer = CustomerKey(seed("alice")).for_producer(&name("crm")).sealer();
    for key in [sealer("bob"), other_producer, ProducerKey(seed("alice")).sealer()] {
        assert_eq!(key.open(&entry, &sealed), Err(OpenError::Wrong));
    }
}

#[test]
fn a_shortened_or_lengthened_sealed_content_does_not_open() {
    let (entry, sealed) = sealed(&[b'x'; 100]);
    for length in 0..sealed.len() {
        assert!(
            sealer("alice").open(&entry, &sealed[..length]).is_err(),
            "{length} bytes"
        );
    }
    for more in [1, 16, 64] {
        let longer = [sealed.as_slice(), &vec![0; more]].concat();
        assert!(
            sealer("alice").open(&entry, &longer).is_err(),
            "{more} bytes more"
        );
    }
    for length in [0, 1, 24, 25, 41, 42, 104] {
        let found = sealer("alice").open(&entry, &sealed[..length]);
        assert!(
            matches!(found, Err(OpenError::Malformed { .. })),
            "{length} bytes"
        );
    }
}

#[test]
fn an_entry_that_commits_to_something_else_is_found_out() {
    let lie = EventEntry {
        commitment: commitment(&OPENING, b"another content"),
        ..entry(b"{}")
    };
    let mut out = Vec::new();
    sealer("alice").seal(&lie.to_bytes(), &OPENING, b"{}", &NONCE, &mut out);
    let expected = OpenError::Commitment {
        expected: lie.commitment,
        found: commitment(&OPENING, b"{}"),
    };
    assert_eq!(sealer("alice").open(&lie, &out), Err(expected));
}

#[test]
fn what_decrypts_without_an_opening_or_padding_is_malformed() {
    let golden = golden();
    let entry = EventEntry {
        id: [0; 16],
        label: Label([0; 32]),
        commitment: Hash::ZERO,
    };
    for one in &golden.unpadded {
        let found = golden.sealer().open(&entry, &hex(one));
        assert!(matches!(found, Err(OpenError::Malformed { .. })), "{found:?}");
    }
}
