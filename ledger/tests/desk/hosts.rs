//! Hosts that keep one vault: slots go from one to another, and each is at work on a copy of the ledger's folder.
//!
//! In scope: that two hosts never hold different keys without telling, nor bring a destroyed one back. Out of scope: as
//! in the tests above.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use sharetrail_ledger::desk::{Desk, Peer, Replicate, Rights, SLOTS_MAX};
use sharetrail_ledger::{Engine, Grants, Ledger, LedgerError, Settings, keys};
use sharetrail_proof::entry::ErasureEntry;

use super::{Registered, access, alone, granted, refusal, signer};
use crate::support::{Outbox, TestLedger, copy_tree, decided, name};

const PRODUCER: &str = "shop.example";
const SLOT_BYTES: usize = 160;

/// Two hosts with one vault, each at work on a copy of the ledger's folder and with a key-encryption key of its own.
struct Hosts {
    first: Engine,
    second: Engine,
    ledger: TestLedger,
}

fn hosts() -> Hosts {
    let ledger = TestLedger::new(1);
    let copy = ledger.copy("second");
    move_outside(&ledger, &copy);
    Hosts {
        first: ledger.start(),
        second: Engine::start(&Ledger::open(&copy).unwrap()).unwrap(),
        ledger,
    }
}

/// Gives the copy of a ledger's folder a folder outside of its own, with another key-encryption key.
fn move_outside(ledger: &TestLedger, copy: &Path) {
    let settings = copy.join("ledger.toml");
    let mut of_copy = Settings::read(&settings).unwrap();
    of_copy.outside = Some(ledger.beside("second-outside"));
    of_copy.write(&settings).unwrap();
    let outside = of_copy.outside_folder().unwrap();
    copy_tree(&ledger.outside, &outside);
    let kek = format!("SHARETRAIL+KEK+1+{}\n", BASE64.encode(&[7; 32]));
    fs::write(outside.join("vault.kek"), kek).unwrap();
}

fn host_desk(engine: &Engine, replicate: Box<Replicate>) -> Desk {
    let rights: Arc<dyn Rights> = Arc::new(Registered::default());
    Desk::new(Arc::clone(engine.vault()), rights, replicate)
}

/// Shows new slots to another host, over the bytes that would go over the bus.
fn to_host(from: &Engine, to: &Engine) -> Box<Replicate> {
    let (peer, desk) = (Peer::new(from.vault()), host_desk(to, alone()));
    Box::new(move |slots| {
        let asked = peer.push(slots)?;
        peer.pushed(&asked, &desk.answer_host(asked.bytes()))
    })
}

/// Pulls everything that `from` has.
fn pull(to: &Engine, from: &Engine) -> u32 {
    let (peer, desk) = (Peer::new(to.vault()), host_desk(from, alone()));
    let (mut next, mut changed) = (0, 0);
    loop {
        let asked = peer.pull(next).unwrap();
        let got = peer.pulled(&asked, &desk.answer_host(asked.bytes())).unwrap();
        changed += to.vault().adopt_slots(&got.slots).unwrap();
        if got.next == next {
            return changed;
        }
        next = got.next;
    }
}

/// The generation, and the key where there is one, of each customer.
fn state(engine: &Engine, customers: &[&str]) -> Vec<Vec<Option<[u8; 32]>>> {
    let keys = |customer: &&str| {
        let generations = engine.vault().generations(customer).unwrap();
        let keys = generations.iter().map(|one| one.key.as_ref().map(|key| key.0));
        keys.collect()
    };
    customers.iter().map(keys).collect()
}

#[test]
fn a_new_key_lies_on_the_other_host_before_anybody_gets_it() {
    let hosts = hosts();
    let key = signer("till", 1);
    let registered = Registered::default();
    registered.set("till", &[&key]);
    let till = access(hosts.first.ledger(), hosts.first.vault(), &key);
    let desk = Desk::new(
        Arc::clone(hosts.first.vault()),
        Arc::new(registered),
        to_host(&hosts.first, &hosts.second),
    );
    let customers = ["a", "b", "a", "c"];
    granted(&desk, "till", &till, &customers).unwrap();
    assert_eq!(hosts.second.vault().customers(), 3);
    assert_eq!(state(&hosts.first, &customers), state(&hosts.second, &customers));
    assert_eq!(pull(&hosts.second, &hosts.first), 0);
}

/// The fault: what goes between hosts is what lies on a disk, so that it opens with a stolen key-encryption key, and the
/// other way round; or a host cannot exchange its own while the others keep theirs.
#[test]
fn a_slot_between_hosts_is_not_the_one_on_either_disk() {
    let hosts = hosts();
    let customers = ["a", "b"];
    hosts.first.vault().grants(&name(PRODUCER), &customers).unwrap();
    assert_eq!(pull(&hosts.second, &hosts.first), 2);
    let (sent, _) = hosts.first.vault().slots_from(0, SLOTS_MAX).unwrap();
    let (again, _) = hosts.first.vault().slots_from(0, SLOTS_MAX).unwrap();
    let second = hosts.second.ledger().root().to_owned();
    let on_disk = [hosts.ledger.root.clone(), second].map(|root| fs::read(root.join("vault/slots")).unwrap());
    let wrapped = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let slots = bytes.chunks(SLOT_BYTES).filter(|slot| slot[0] == 1);
        slots.map(|slot| slot[80..112].to_vec()).collect()
    };
    let all = [&sent, &again, &on_disk[0], &on_disk[1]].map(|bytes| wrapped(bytes));
    assert!(all.iter().all(|keys| keys.len() == customers.len()));
    let distinct: BTreeSet<&Vec<u8>> = all.iter().flatten().collect();
    assert_eq!(distinct.len(), 4 * customers.len());
    // One host erases somebody and exchanges its key-encryption key; slots still go to and fro.
    let label = hosts.first.vault().label("a", 0);
    assert!(hosts.first.erase(&label, 0).unwrap().rotated);
    hosts.first.vault().grants(&name(PRODUCER), &["c"]).unwrap();
    assert_eq!(pull(&hosts.second, &hosts.first), 2);
    let both = ["a", "b", "c"];
    assert_eq!(state(&hosts.first, &both), state(&hosts.second, &both));
    assert_eq!(state(&hosts.second, &["a"]), vec![vec![None]]);
    assert_eq!(pull(&hosts.first, &hosts.second), 0);
}

#[test]
fn hosts_that_pull_from_each_other_end_up_the_same() {
    let hosts = hosts();
    let names: Vec<String> = (0..SLOTS_MAX + 10).map(|n| format!("customer-{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let (ours, theirs) = all.split_at(SLOTS_MAX as usize + 3);
    hosts.first.vault().grants(&name(PRODUCER), ours).unwrap();
    hosts.second.vault().grants(&name(PRODUCER), theirs).unwrap();
    assert_eq!(pull(&hosts.first, &hosts.second) as usize, theirs.len());
    assert_eq!(pull(&hosts.second, &hosts.first) as usize, ours.len());
    assert_eq!(
        pull(&hosts.first, &hosts.second) + pull(&hosts.second, &hosts.first),
        0
    );
    let some = [all[0], all[SLOTS_MAX as usize], all[all.len() - 1]];
    assert_eq!(state(&hosts.first, &some), state(&hosts.second, &some));
    assert_eq!(hosts.first.vault().customers(), hosts.second.vault().customers());
    // They last.
    let copy = hosts.ledger.beside("second");
    hosts.second.stop().unwrap();
    let vault = Ledger::open(&copy).unwrap().vault().unwrap();
    assert_eq!(vault.customers(), all.len() as u64);
}

/// The fault: two hosts make different keys for one customer, and what is sealed under one opens nowhere else.
#[test]
fn the_key_that_another_host_holds_already_is_taken_over() {
    let hosts = hosts();
    let producer = name(PRODUCER);
    hosts.second.vault().grants(&producer, &["a", "b"]).unwrap();
    let desk = host_desk(&hosts.first, to_host(&hosts.first, &hosts.second));
    let customers = ["new", "b", "a"];
    let grants = desk.grants(&producer, &customers).unwrap();
    assert_eq!(grants.grants.len(), 3);
    assert_eq!(state(&hosts.first, &customers), state(&hosts.second, &customers));
    assert_eq!(hosts.first.vault().contradictions(), 0);
    // Keys that were given out on both sides, which only hosts that did not show them to each other can do, are told.
    for engine in [&hosts.first, &hosts.second] {
        engine.vault().grants(&producer, &["torn"]).unwrap();
    }
    assert_eq!(pull(&hosts.first, &hosts.second), 0);
    assert_eq!(hosts.first.vault().contradictions(), 1);
}

/// The fault: a host that was away brings a destroyed key back, or keeps it for ever.
#[test]
fn a_destroyed_key_stays_destroyed_and_is_destroyed_everywhere() {
    let Hosts {
        first,
        second,
        ledger,
    } = hosts();
    let mut outbox = Outbox::open(&first, PRODUCER, 0, 1);
    let events = ["gone", "kept"].map(|customer| outbox.event(&first, customer));
    let frame = outbox.cut(&events);
    let seq = outbox.publish(&first, &frame);
    assert!(decided(&first, 0, seq));
    pull(&second, &first);
    let before = first.vault().slots_from(0, 10).unwrap().0;
    let key = signer("till", 1);
    let registered = Arc::new(Registered::default());
    registered.set("till", &[&key]);
    let till = access(first.ledger(), first.vault(), &key);
    let desk_of = |engine: &Engine| {
        let rights: Arc<dyn Rights> = Arc::<Registered>::clone(&registered);
        Desk::new(Arc::clone(engine.vault()), rights, alone())
    };
    granted(&desk_of(&first), "till", &till, &["gone"]).unwrap();
    let mut operator = Outbox::open(&first, "operator", 0, 2);
    let erasure = ErasureEntry {
        label: first.vault().label("gone", 0),
        generation: 0,
    };
    let frame = operator.cut(&[(erasure.to_bytes().to_vec(), Vec::new())]);
    let seq = operator.publish(&first, &frame);
    assert!(decided(&first, 0, seq));
    first.stop().unwrap();
    let first = ledger.start();
    let destroyed = vec![vec![None]];
    assert_eq!(state(&first, &["gone"]), destroyed);
    // Neither pulled from a host that still has it, nor pushed by one.
    assert_eq!(pull(&first, &second), 0);
    assert_eq!(first.vault().adopt_slots(&before).unwrap(), 0);
    assert_eq!(state(&first, &["gone"]), destroyed);
    assert_eq!(pull(&second, &first), 1);
    assert_eq!(state(&second, &["gone"]), destroyed);
    assert_eq!(pull(&second, &first), 0);
    assert_eq!((first.vault().customers(), second.vault().customers()), (1, 1));
    // Who comes back is somebody new: the producer does not take the new label without its proof, then with it.
    let desk = desk_of(&first);
    first.vault().grants(&name(PRODUCER), &["gone"]).unwrap();
    assert!(matches!(
        refusal(&desk, "till", &till, &["gone"]),
        LedgerError::Bus(_)
    ));
    let grants = granted(&desk, "till", &till, &["gone"]).unwrap();
    assert_eq!(
        (grants[0].generation, grants[0].label),
        (1, first.vault().label("gone", 1))
    );
}

/// The fault: slots from the bus are believed as they come.
#[test]
fn slots_that_are_altered_or_of_another_vault_are_refused_whole() {
    let (hosts, other) = (hosts(), TestLedger::new(1));
    let customers = ["a", "b", "c"];
    hosts.first.vault().grants(&name(PRODUCER), &customers).unwrap();
    let (good, next) = hosts.first.vault().slots_from(0, SLOTS_MAX).unwrap();
    assert_eq!((good.len(), next), (3 * SLOT_BYTES, 3));
    let (vault, peer) = (hosts.second.vault(), Peer::new(hosts.first.vault()));
    for bit in 2 * SLOT_BYTES * 8..3 * SLOT_BYTES * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(vault.adopt_slots(&bad), Err(LedgerError::Vault(_))));
    }
    assert!(matches!(
        vault.adopt_slots(&good[1..]),
        Err(LedgerError::Vault(_))
    ));
    let stranger = other.start();
    let (strange, _) = {
        stranger.vault().grants(&name(PRODUCER), &["a"]).unwrap();
        stranger.vault().slots_from(0, 1).unwrap()
    };
    assert!(matches!(vault.adopt_slots(&strange), Err(LedgerError::Vault(_))));
    assert_eq!(vault.slot_count(), 0);
    // The same over the desk: another vault's host is denied, a flipped bit too.
    let desk = host_desk(&hosts.second, alone());
    let asked = Peer::new(stranger.vault()).push(&strange).unwrap();
    assert_eq!(desk.answer_host(asked.bytes()).len(), 1);
    let asked = peer.push(&good).unwrap();
    for bit in 0..asked.bytes().len() * 8 {
        let mut bytes = asked.bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let reply = desk.answer_host(&bytes);
        assert!(matches!(peer.pushed(&asked, &reply), Err(LedgerError::Denied(_))));
    }
    assert_eq!(vault.slot_count(), 0);
    let reply = desk.answer_host(asked.bytes());
    assert_eq!(peer.pushed(&asked, &reply).unwrap(), Vec::<u8>::new());
    assert_eq!(state(&hosts.first, &customers), state(&hosts.second, &customers));
    // A reply to a pull does not answer a push.
    let pulled = peer.pull(0).unwrap();
    let reply = desk.answer_host(pulled.bytes());
    assert!(matches!(peer.pushed(&asked, &reply), Err(LedgerError::Bus(_))));
}

#[test]
fn hosts_with_one_vault_derive_the_same_secrets_and_others_do_not() {
    let (hosts, other) = (hosts(), TestLedger::new(1));
    let stranger = other.start();
    let secret = |engine: &Engine| *engine.vault().peer_secret().bytes();
    assert_eq!(secret(&hosts.first), secret(&hosts.second));
    assert_ne!(secret(&hosts.first), secret(&stranger));
    let producer = name(PRODUCER);
    let key = keys::producer_signer(hosts.first.ledger(), &producer).unwrap();
    let access = hosts.first.vault().access_secret(&producer, key.verifier());
    assert_ne!(secret(&hosts.first), *access.bytes());
}
