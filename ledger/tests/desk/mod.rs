//! The desk and a producer at its other end.
//!
//! In scope: rights, bytes that were altered, limits. Out of scope: hosts that keep one vault ([`hosts`]); the bus:
//! requests and replies are handed over directly.

mod hosts;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::support::{TestLedger, name};
use sharetrail_ledger::desk::{Access, Desk, LEASE, Replicate, Rights};
use sharetrail_ledger::{Engine, Grant, Ledger, LedgerError, Vault};
use sharetrail_proof::customer::commitment;
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::name::Name;
use sharetrail_proof::note::{NoteSigner, VerifierKey};

/// A registry that a test writes into.
#[derive(Default)]
struct Registered(Mutex<BTreeMap<Name, Vec<VerifierKey>>>);

impl Registered {
    fn set(&self, producer: &str, keys: &[&NoteSigner]) {
        let keys = keys.iter().map(|signer| signer.verifier().clone()).collect();
        self.0.lock().unwrap().insert(name(producer), keys);
    }
}

impl Rights for Registered {
    fn valid_keys(&self, producer: &Name) -> Result<Vec<VerifierKey>, LedgerError> {
        Ok(self.0.lock().unwrap().get(producer).cloned().unwrap_or_default())
    }
}

/// A registry that cannot be read.
struct Unreadable;

impl Rights for Unreadable {
    fn valid_keys(&self, _: &Name) -> Result<Vec<VerifierKey>, LedgerError> {
        Err(LedgerError::Stopped("a test".into()))
    }
}

fn signer(producer: &str, seed: u8) -> NoteSigner {
    NoteSigner::from_seed(producer, &[seed; 32]).unwrap()
}

fn alone() -> Box<Replicate> {
    Box::new(|_| Ok(Vec::new()))
}

fn access(ledger: &Ledger, vault: &Vault, signer: &NoteSigner) -> Access {
    let (producer, key) = (name(signer.verifier().name()), signer.verifier());
    Access::new(
        ledger.facts(),
        &producer,
        key.id(),
        &vault.access_secret(&producer, key),
    )
}

/// A ledger at work with a desk, and a producer that is registered.
struct Place {
    engine: Engine,
    registered: Arc<Registered>,
    desk: Desk,
    till: Access,
    _ledger: TestLedger,
}

fn place() -> Place {
    let ledger = TestLedger::new(1);
    let engine = ledger.start();
    let registered = Arc::new(Registered::default());
    let key = signer("till", 1);
    registered.set("till", &[&key]);
    let rights: Arc<dyn Rights> = Arc::<Registered>::clone(&registered);
    Place {
        desk: Desk::new(Arc::clone(engine.vault()), rights, alone()),
        till: access(engine.ledger(), engine.vault(), &key),
        registered,
        engine,
        _ledger: ledger,
    }
}

/// Asks and reads the answer.
fn granted(
    desk: &Desk,
    producer: &str,
    access: &Access,
    customers: &[&str],
) -> Result<Vec<Grant>, LedgerError> {
    let (asked, since) = (access.ask(customers).unwrap(), Instant::now());
    let reply = desk.answer(&name(producer), asked.bytes());
    let leased = access.read(&asked, customers, &reply, since)?;
    assert_eq!(leased.until, Some(since + LEASE));
    Ok(leased.grants)
}

/// The kind of what was refused.
fn refusal(desk: &Desk, producer: &str, access: &Access, customers: &[&str]) -> LedgerError {
    match granted(desk, producer, access, customers) {
        Err(error) => error,
        Ok(_) => panic!("it was granted"),
    }
}

#[test]
fn a_producer_gets_the_labels_and_keys_that_the_vault_holds() {
    let place = place();
    let vault = place.engine.vault();
    vault.grants(&name("till"), &["known"]).unwrap();
    let customers = ["known", "new", "known", "é"];
    let grants = granted(&place.desk, "till", &place.till, &customers).unwrap();
    let own = vault.grants(&name("till"), &customers).unwrap();
    for (remote, own) in grants.iter().zip(&own) {
        assert_eq!((remote.generation, remote.label), (own.generation, own.label));
        let (opening, nonce, content) = ([7; 32], [8; 24], b"what was bought");
        let entry = EventEntry {
            id: remote.key.sealer().entry_id("/till", "1"),
            label: remote.label,
            commitment: commitment(&opening, content),
        };
        let mut sealed = Vec::new();
        let bytes = entry.to_bytes();
        remote
            .key
            .sealer()
            .seal(&bytes, &opening, content, &nonce, &mut sealed);
        assert_eq!(own.key.sealer().open(&entry, &sealed).unwrap().content, content);
    }
    assert_eq!(vault.customers(), 3);
    // Asked again, the labels come without proofs and count because they were proved before.
    let again = granted(&place.desk, "till", &place.till, &customers).unwrap();
    assert!(
        again
            .iter()
            .zip(&own)
            .all(|(again, own)| again.label == own.label && again.key.0 == own.key.0)
    );
    // Another producer's key of the same customer is another.
    let web = signer("web", 2);
    place.registered.set("web", &[&web]);
    let web = access(place.engine.ledger(), vault, &web);
    let others = granted(&place.desk, "web", &web, &customers).unwrap();
    assert!(others[0].label == own[0].label && others[0].key.0 != own[0].key.0);
}

/// The fault: whoever reaches the bus gets customers' keys.
#[test]
fn nobody_without_a_right_gets_a_key() {
    let place = place();
    let (ledger, vault) = (place.engine.ledger(), place.engine.vault());
    let denied = |producer: &str, access: &Access| {
        assert!(matches!(
            refusal(&place.desk, producer, access, &["a"]),
            LedgerError::Denied(_)
        ));
    };
    // Not registered; another's bus subject; the operator, whose key is in the registry.
    denied("web", &access(ledger, vault, &signer("web", 2)));
    place.registered.set("web", &[&signer("web", 2)]);
    denied("web", &place.till);
    place.registered.set("operator", &[&signer("operator", 3)]);
    denied("operator", &access(ledger, vault, &signer("operator", 3)));
    // A secret that goes with another key, and one of another ledger's vault.
    let (first, second) = (signer("till", 1), signer("till", 9));
    let (till, facts) = (name("till"), ledger.facts());
    let secret = vault.access_secret(&till, second.verifier());
    denied("till", &Access::new(facts, &till, first.verifier().id(), &secret));
    let elsewhere = self::place();
    denied("till", &access(ledger, elsewhere.engine.vault(), &first));
    // Rotated: the new key's access is good, the old one's is not; revoked: neither.
    let rotated = access(ledger, vault, &second);
    place.registered.set("till", &[&second]);
    denied("till", &place.till);
    granted(&place.desk, "till", &rotated, &["a"]).unwrap();
    place.registered.set("till", &[]);
    denied("till", &rotated);
    assert_eq!((place.desk.denied(), vault.customers()), (7, 1));
}

/// The fault: a request is altered on its way, and the vault makes keys for somebody else's customers.
#[test]
fn a_request_with_any_bit_flipped_is_denied() {
    let place = place();
    let asked = place.till.ask(&["customer-1"]).unwrap();
    let till = name("till");
    let mut altered: Vec<Vec<u8>> = (0..asked.bytes().len() * 8)
        .map(|bit| {
            let mut bytes = asked.bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        })
        .collect();
    altered.extend((0..asked.bytes().len()).map(|length| asked.bytes()[..length].to_vec()));
    altered.push([asked.bytes(), &[0]].concat());
    altered.push([asked.bytes(), &vec![0; 1 << 20][..]].concat());
    for bytes in &altered {
        let reply = place.desk.answer(&till, bytes);
        let read = place.till.read(&asked, &["customer-1"], &reply, Instant::now());
        assert!(reply.len() == 1 && matches!(read, Err(LedgerError::Denied(_))));
    }
    assert_eq!(place.desk.denied(), altered.len() as u64);
    assert_eq!(place.engine.vault().customers(), 0);
    // The same bytes again are answered again, to whoever can open the answer.
    for _ in 0..2 {
        let reply = place.desk.answer(&till, asked.bytes());
        let read = place.till.read(&asked, &["customer-1"], &reply, Instant::now());
        assert_eq!(read.unwrap().grants.len(), 1);
    }
    assert_eq!(place.engine.vault().customers(), 1);
}

/// The fault: an old reply, or another's, is played to a producer, which then seals under keys of other customers.
#[test]
fn a_reply_answers_its_request_alone() {
    let place = place();
    let till = name("till");
    let (first, second) = (place.till.ask(&["a"]).unwrap(), place.till.ask(&["b"]).unwrap());
    let reply = place.desk.answer(&till, first.bytes());
    let read = |asked, reply: &[u8]| place.till.read(asked, &["a"], reply, Instant::now()).map(|_| ());
    assert!(matches!(read(&second, &reply), Err(LedgerError::Bus(_))));
    assert!(matches!(read(&first, first.bytes()), Err(LedgerError::Bus(_))));
    for bit in 0..reply.len() * 8 {
        let mut altered = reply.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(read(&first, &altered), Err(LedgerError::Bus(_))));
    }
    read(&first, &reply).unwrap();
}

#[test]
fn batches_have_a_limit() {
    let place = place();
    let customers: Vec<String> = (0..1_025).map(|n| format!("customer-{n}")).collect();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let long = "x".repeat(257);
    for bad in [&customers[..], &[], &[&long[..]], &[""]] {
        assert!(matches!(place.till.ask(bad), Err(LedgerError::Invalid(_))));
    }
    let most = &customers[..1_024];
    let grants = granted(&place.desk, "till", &place.till, most).unwrap();
    assert_eq!(grants.len(), 1_024);
    assert_eq!(place.engine.vault().customers(), 1_024);
}

/// The fault: a registry that cannot be read, or hosts that cannot be reached, count as "no right", or as "never mind".
#[test]
fn what_cannot_be_answered_now_is_told_so_and_leaves_no_key() {
    let place = place();
    let vault = Arc::clone(place.engine.vault());
    let blind = Desk::new(Arc::clone(&vault), Arc::new(Unreadable), alone());
    assert!(matches!(
        refusal(&blind, "till", &place.till, &["a"]),
        LedgerError::Bus(_)
    ));
    let cut_off: Box<Replicate> = Box::new(|_| Err(LedgerError::Bus("a test".into())));
    let rights: Arc<dyn Rights> = Arc::<Registered>::clone(&place.registered);
    let cut_off = Desk::new(Arc::clone(&vault), rights, cut_off);
    assert!(matches!(
        refusal(&cut_off, "till", &place.till, &["a"]),
        LedgerError::Bus(_)
    ));
    assert!(blind.trouble().is_some() && cut_off.trouble().is_some());
    assert_eq!((vault.customers(), vault.slot_count()), (0, 0));
    // Keys that lie on every host are given out all the same.
    granted(&place.desk, "till", &place.till, &["a"]).unwrap();
    granted(&cut_off, "till", &place.till, &["a"]).unwrap();
    assert!(cut_off.trouble().is_none());
}
