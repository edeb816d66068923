//! What may not enter the log, and what the bus does not let through, with the accounts of `deploy/nats`.
//!
//! In scope: users without a right, what is said in a host's place, answers that are to go where a producer may not write,
//! revoked keys, frames that are forged, foreign or replayed. Out of scope: all rules of acceptance one by one, which the
//! crates below test.

use std::fs;

use serde_json::Value;
use sharetrail_ledger::bus::{Bus, NatsBus};
use sharetrail_ledger::remote::Credentials;
use sharetrail_ledger::{Chain, LedgerError};
use sharetrail_proof::acceptance::Rejection;
use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::frame::{Frame, encode};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{ChainId, Label, Name, Shard};
use sharetrail_proof::note::NoteSigner;
use tokio::runtime::{Builder, Runtime};

use crate::bus::{Intruder, registered};
use crate::count::{OnRecord, batches, each_once};
use crate::process::wait_for;
use crate::site::{Host, Producer, Serve, Site, stream};
use crate::support::list;
use crate::support::loyalty::events;
use crate::traffic::deal;
use crate::watch::Watch;

const SHARDS: u32 = 2;

/// Somebody with a producer's credentials and frames of his own making.
struct Forger {
    runtime: Runtime,
    credentials: Credentials,
    bus: NatsBus,
}

impl Forger {
    fn with(producer: &Producer) -> Self {
        let credentials = Credentials::open(&producer.folder).expect("they are whole");
        let bus = Self::connect(&credentials).expect("the servers let a producer in");
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime can be made"),
            credentials,
            bus,
        }
    }

    fn connect(credentials: &Credentials) -> Result<NatsBus, LedgerError> {
        let facts = credentials.facts();
        NatsBus::connect(
            &facts.name,
            facts.shards(),
            credentials.bus_settings(),
            credentials.folder(),
        )
    }

    /// A batch that could follow: of some customer's label on the shard, and of contents that nobody can open.
    fn frame(&self, shard: u32, id: ChainId, follows: Option<(u64, Hash)>) -> Vec<u8> {
        let mut chain = Chain::begin(self.credentials.facts(), self.credentials.signer(), shard, id)
            .expect("the shard is there");
        if let Some((number, prev)) = follows {
            chain.resume_at(number + 1, prev);
        }
        let entries: Vec<Vec<u8>> = (0..3).map(|number| entry(shard, number)).collect();
        let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        chain.cut(&entries, &[&[7; 200][..]; 3]).frame
    }

    fn publish(&self, shard: u32, whose: &Name, frame: &[u8]) -> Result<u64, LedgerError> {
        let stored = self.bus.publish(shard, whose, frame.to_vec());
        self.runtime.block_on(stored).map(|seq| seq.0)
    }
}

fn entry(shard: u32, number: u8) -> Vec<u8> {
    let mut label = [number; 32];
    // The first 8 bytes say where a label lives.
    label[..8].copy_from_slice(&u64::from(shard).to_be_bytes());
    let entry = EventEntry {
        id: [number; 16],
        label: Label(label),
        commitment: Hash([number; 32]),
    };
    entry.to_bytes().to_vec()
}

/// The frame with its note changed and signed anew.
fn resigned(frame: &[u8], signer: &NoteSigner, change: impl FnOnce(&mut Batch)) -> Vec<u8> {
    let parsed = Frame::parse(frame).expect("it is one");
    let mut batch = parsed.batch.clone();
    change(&mut batch);
    encode(&signer.sign(&batch.to_text()), &parsed.entries, &parsed.sealed)
}

/// What is kept of a message that was not let in.
#[track_caller]
fn kept(host: &Host, serve: &Serve, shard: u32, seq: u64) -> Value {
    let path = host.root.join(format!("register/{shard}/rejected"));
    wait_for(
        "the message is kept among the rejected",
        || serve.process.tail(),
        || {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let mut lines = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["seq"] == seq)
        },
    )
}

/// A forged frame: what it is, where it goes, and why it is refused where that is one reason alone.
struct Forgery {
    what: &'static str,
    shard: u32,
    frame: Vec<u8>,
    reason: Option<Rejection>,
}

fn forgery(what: &'static str, frame: Vec<u8>, reason: Option<Rejection>) -> Forgery {
    Forgery {
        what,
        shard: 0,
        frame,
        reason,
    }
}

/// Forgeries by somebody who has all that a producer has, in the place of the next batch of its chain.
fn forgeries(forger: &Forger, own: &Name, other: &Name, chain: ChainId, head: (u64, Hash)) -> Vec<Forgery> {
    let (signer, good) = (forger.credentials.signer(), forger.frame(0, chain, Some(head)));
    let stranger = NoteSigner::from_seed(own.as_str(), &[7; 32]).expect("a name");
    let no_key = |producer: &Name| {
        let producer = producer.clone();
        Some(Rejection::NoValidKey { producer })
    };
    let (expected, found) = (Hash::ZERO, Hash::ZERO);
    let (root, prev) = (
        Rejection::Root { expected, found },
        Rejection::Prev { expected, found },
    );
    let gap = Rejection::Gap {
        expected: head.0 + 1,
        found: head.0 + 2,
    };
    let changed = |change: &dyn Fn(&mut Batch)| resigned(&good, signer, change);
    vec![
        forgery(
            "a stranger's key",
            resigned(&good, &stranger, |_| ()),
            no_key(own),
        ),
        forgery("a wrong root", changed(&|batch| batch.root.0[0] ^= 1), Some(root)),
        forgery("a wrong prev", changed(&|batch| batch.prev.0[0] ^= 1), Some(prev)),
        forgery("a wrong count", changed(&|batch| batch.count -= 1), None),
        forgery("a gap", changed(&|batch| batch.number += 1), Some(gap)),
        forgery(
            "a fork of the last",
            changed(&|batch| batch.number -= 1),
            Some(Rejection::Fork { number: head.0 }),
        ),
        forgery(
            "another's name",
            changed(&|batch| batch.producer = other.clone()),
            no_key(own),
        ),
        forgery(
            "another ledger",
            changed(&|batch| batch.ledger = Name::new("other.example").expect("a name")),
            None,
        ),
        forgery(
            "another shard's batch",
            changed(&|batch| batch.shard = Shard::new(1, SHARDS).expect("a shard")),
            None,
        ),
        Forgery {
            shard: 1,
            ..forgery("a replay into another shard", good.clone(), None)
        },
        forgery("half a frame", good[..good.len() / 2].to_vec(), None),
        forgery("nothing", Vec::new(), None),
    ]
}

#[test]
fn nats_server_carries_forged_frames_and_none_enters_the_log() {
    let site = Site::guarded(SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let (till, web) = (site.enrol(&host, "till"), site.enrol(&host, "web"));
    let watch = Watch::start(&[&host], SHARDS);
    let hands = deal(&events(24, 50), 4);
    till.record_all(&hands[0]);
    web.record_all(&hands[1]);
    let forger = Forger::with(&till);
    let on_record = batches(&host.ledger(), 0, &till.name());
    let last = on_record.last().expect("it has recorded");
    let head = (last.batch.number, last.hash);
    let before = host.status();
    let all = forgeries(&forger, &till.name(), &web.name(), last.batch.chain, head);
    let count = all.len();
    for Forgery {
        what,
        shard,
        frame,
        reason,
    } in all
    {
        let seq = forger.publish(shard, &till.name(), &frame);
        let seq = seq.expect("it is a producer's own bus subject");
        let kept = kept(&host, &serve, shard, seq);
        assert_eq!(kept["producer"], "till", "{what}");
        let why = kept["reason"].as_str().expect("a text");
        assert!(!why.is_empty(), "{what}");
        if let Some(reason) = reason {
            assert_eq!(why, reason.to_string(), "{what}");
        }
    }
    let after = host.status();
    for (shard, (before, after)) in list(&before["shards"])
        .iter()
        .zip(list(&after["shards"]))
        .enumerate()
    {
        assert_eq!(
            (&before["leaves"], &before["root"]),
            (&after["leaves"], &after["root"]),
            "shard {shard}"
        );
    }
    let rejected = list(&after["shards"])
        .iter()
        .filter_map(|shard| shard["rejected"].as_u64());
    assert_eq!(rejected.sum::<u64>(), count as u64);
    // Again and in another order: what is on record stays as it is, and is no fault.
    for batch in on_record.iter().rev().chain(&on_record) {
        forger
            .publish(0, &till.name(), &batch.frame)
            .expect("it is the producer's own");
    }
    drop(forger);
    till.record_all(&hands[2]);
    web.record_all(&hands[3]);
    let recorded = [till.name(), web.name(), till.name(), web.name()];
    let recorded: Vec<_> = recorded.into_iter().zip(hands).collect();
    each_once("forged frames", &host, &recorded);
    let status = host.status();
    let rejected = list(&status["shards"])
        .iter()
        .filter_map(|shard| shard["rejected"].as_u64());
    assert_eq!(rejected.sum::<u64>(), count as u64, "{status}");
    watch.all_lead_to(&host.ledger());
    serve.stop();
}

/// The fault: whoever may reach the bus may use another's part of it, read streams, or change them.
#[test]
fn nats_server_lets_a_producer_do_its_own_and_nothing_else() {
    let site = Site::guarded(SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let (till, web) = (site.enrol(&host, "till"), site.enrol(&host, "web"));
    let hands = deal(&events(12, 20), 2);
    till.record_all(&hands[0]);
    let forger = Forger::with(&till);
    let own = forger.frame(0, ChainId([9; 16]), None);
    let denied = forger.publish(0, &web.name(), &own);
    assert!(matches!(denied, Err(LedgerError::Denied(_))), "{denied:?}");
    let read = forger.runtime.block_on(forger.bus.info(0));
    assert!(read.is_err(), "a producer reads streams");
    let written = forger
        .runtime
        .block_on(forger.bus.update("shard.0", b"mine".to_vec(), 0));
    assert!(written.is_err(), "a producer writes the register");
    let asked = forger.bus.names().vault(&web.name());
    let wait = std::time::Duration::from_secs(2);
    let answer = forger
        .runtime
        .block_on(forger.bus.request(&asked, b"keys".to_vec(), wait));
    assert!(answer.is_err(), "a producer asks in another's name");
    web.record_all(&hands[1]);
    let recorded: Vec<_> = [till.name(), web.name()].into_iter().zip(hands).collect();
    each_once("a producer's rights", &host, &recorded);
    assert!(host.incidents(0).is_empty());
    serve.stop();
}

/// First the ledger refuses a revoked key, though the bus still carries it; then the bus does not let its user in.
#[test]
fn nats_server_and_ledger_refuse_a_revoked_producer() {
    let site = Site::guarded(SHARDS);
    let host = site.init();
    let serve = host.serve(&[]);
    let (till, web) = (site.enrol(&host, "till"), site.enrol(&host, "web"));
    let hands = deal(&events(12, 30), 3);
    till.record_all(&hands[0]);
    web.record_all(&hands[1]);
    let forger = Forger::with(&web);
    host.run(&["keys", "revoke", "web", "--yes"]).exits(0);
    let frame = forger.frame(0, ChainId([9; 16]), None);
    let seq = forger
        .publish(0, &web.name(), &frame)
        .expect("the bus still knows the user");
    let kept = kept(&host, &serve, 0, seq);
    let reason = Rejection::NoValidKey { producer: web.name() };
    assert_eq!(kept["producer"], "web");
    assert_eq!(kept["reason"], reason.to_string());
    assert_ne!(web.record(&hands[2]).code, Some(0));
    site.tell_servers(&host.root.join("bus-users/users.conf"));
    assert!(
        Forger::connect(&forger.credentials).is_err(),
        "the servers let a revoked producer in"
    );
    till.record_all(&hands[2]);
    let recorded: Vec<_> = [till.name(), web.name(), till.name()]
        .into_iter()
        .zip(hands)
        .collect();
    each_once("a revoked producer", &host, &recorded);
    let keys = host.run(&["keys", "list"]).exits(0).json();
    let valid = |party: &str| {
        let of = list(&keys).iter().filter(|key| key["party"] == party);
        of.filter(|key| key["until"].is_null()).count()
    };
    assert_eq!((valid("till"), valid("web")), (1, 0));
    serve.stop();
}

/// Bus subjects on which hosts, operators, other producers and JetStream itself are believed.
const OTHERS: [&str; 11] = [
    "heads.shop_example.0",
    "held.shop_example.0",
    "control.shop_example",
    "slots.shop_example.host-a",
    "vault.shop_example.web",
    "ledger.shop_example.0.web",
    "closed.shop_example.0.1",
    "$KV.sharetrail_shop_example.shard.0",
    "$JS.API.STREAM.DELETE.ledger_shop_example_0_1",
    "$JS.API.STREAM.PURGE.ledger_shop_example_0_1",
    "$JS.API.INFO",
];

/// What is meant for others: frames, questions to the vault and its answers, slots, commands, the register.
const OTHERS_EARS: [&str; 9] = [
    ">",
    "ledger.>",
    "ledger.shop_example.0.web",
    "vault.shop_example.*",
    "slots.>",
    "control.shop_example",
    "$KV.>",
    "_INBOX_host.>",
    "_INBOX_web.>",
];

/// The fault: whoever holds a producer's user speaks or listens in a host's place, or deletes a stream.
#[test]
fn nats_server_denies_a_producer_the_bus_subjects_of_others() {
    let site = Site::guarded(1);
    let host = site.init();
    let serve = host.serve(&[]);
    let (till, web) = (site.enrol(&host, "till"), site.enrol(&host, "web"));
    let hands = deal(&events(12, 30), 3);
    till.record_all(&hands[0]);
    let before = site.last_in_stream(0);
    let intruder = Intruder::with(&till, &site.cluster);
    for bus_subject in OTHERS {
        intruder.publish(bus_subject, None, b"{}");
        intruder.is_refused("Publish to", bus_subject);
    }
    for bus_subject in OTHERS_EARS {
        intruder.listen(bus_subject);
        intruder.is_refused("Subscription to", bus_subject);
    }
    assert_eq!(site.last_in_stream(0), before);
    let detail = site.cluster.stream_detail(0, &stream(0)).expect("it is there");
    assert_eq!(detail["state"]["messages"], before);
    till.record_all(&hands[1]);
    web.record_all(&hands[2]);
    let recorded = [till.name(), till.name(), web.name()];
    let recorded: Vec<_> = recorded.into_iter().zip(hands).collect();
    each_once("the bus subjects of others", &host, &recorded);
    assert!(host.incidents(0).is_empty());
    serve.stop();
}

/// Sends frames of a producer's own again, each with the register's entry as the place for the acknowledgement.
#[track_caller]
fn answer_to_the_register(site: &Site, intruder: &Intruder, frames: &[OnRecord]) {
    let (own, entry) = (
        "ledger.shop_example.0.till",
        "$KV.sharetrail_shop_example.shard.0",
    );
    let before = site.last_in_stream(0);
    for batch in frames {
        intruder.publish(own, Some(entry), &batch.frame);
    }
    // What is sent after these is stored and answered after them.
    let stored = intruder.store(own, &frames[0].frame);
    assert_eq!(stored, before + frames.len() as u64 + 1);
}

/// The attack of docs/adr/0013: an acknowledgement is a write where the reply address is the register's.
#[test]
fn nats_server_never_answers_a_producer_over_the_register() {
    let site = Site::guarded(1);
    let host = site.init();
    let serve = host.serve(&[]);
    let till = site.enrol(&host, "till");
    let hands = deal(&events(12, 20), 2);
    till.record_all(&hands[0]);
    // Nobody writes the entry while nobody serves.
    serve.stop();
    let frames = batches(&host.ledger(), 0, &till.name());
    let intruder = Intruder::with(&till, &site.cluster);
    let before = registered(&host, 0);
    answer_to_the_register(&site, &intruder, &frames);
    assert!(registered(&host, 0) == before, "the register was written over");

    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    let lease = |field: &str| host.status()["shards"][0]["lease"][field].clone();
    let term = lease("term");
    answer_to_the_register(&site, &intruder, &frames);
    till.record_all(&hands[1]);
    assert_eq!((lease("term"), lease("holder")), (term, Value::from("host-a")));
    assert!(host.incidents(0).is_empty());
    let recorded = [(till.name(), hands.concat())];
    each_once("answers to the register", &host, &recorded);
    serve.stop();
}

/// Why there are two accounts: with one for all, the same messages write over the entry. It is put back, and told.
#[test]
fn nats_server_with_one_account_answers_over_the_register_and_it_is_put_back() {
    let site = Site::new(1, 1);
    let host = site.init();
    let serve = host.serve(&[]);
    let till = site.enrol(&host, "till");
    let watch = Watch::start(&[&host], 1);
    let hands = deal(&events(12, 20), 2);
    till.record_all(&hands[0]);
    serve.stop();
    let frames = batches(&host.ledger(), 0, &till.name());
    let intruder = Intruder::with(&till, &site.cluster);
    let (entry, revision) = registered(&host, 0);
    answer_to_the_register(&site, &intruder, &frames);
    let (now, later) = registered(&host, 0);
    assert!(
        now != entry && later > revision,
        "the servers have changed: see docs/adr/0013"
    );

    let serve = host.serve(&[]);
    host.wait_to_lead(&serve);
    host.wait_incident(&serve, 0, "register-rolled-back");
    till.record_all(&hands[1]);
    let recorded = [(till.name(), hands.concat())];
    each_once("an overwritten register", &host, &recorded);
    watch.all_lead_to(&host.ledger());
    serve.stop();
}
