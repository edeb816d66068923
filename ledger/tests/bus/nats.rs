//! The bus on real nats-servers: the promises of every bus, and what only a distributed one can suffer.
//!
//! In scope: restarts, lost and closed streams, rights, the register, messages between hosts, the monitor, three nodes.
//! Out of scope: what a frame says. Needs a nats-server: `cargo xtask test` brings it; without one these tests fail.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sharetrail_cluster::{Cluster, Options};
use sharetrail_ledger::LedgerError;
use sharetrail_ledger::bus::nats::{BusNames, BusSettings, Conflict, NatsBus};
use sharetrail_ledger::bus::{Bus, Message, StreamSeq};
use sharetrail_proof::name::Name;

use crate::bus::promises::{NOTHING, all, frames, keeps_its_promises, put, serves_many};
use crate::support::{name, wait};

/// For whatever must happen, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(1);

fn start(options: Options) -> Cluster {
    Cluster::start(options).unwrap_or_else(|error| panic!("{error}"))
}

fn settings(cluster: &Cluster) -> BusSettings {
    BusSettings {
        monitor: Some(cluster.monitor()),
        ..BusSettings::new(cluster.url())
    }
}

fn ledger() -> Name {
    name("shop.example")
}

fn open(ledger: &Name, settings: &BusSettings) -> NatsBus {
    NatsBus::connect(ledger, 2, settings, Path::new("/")).unwrap()
}

fn make(ledger: &Name, settings: &BusSettings) -> NatsBus {
    let bus = open(ledger, settings);
    wait(bus.make()).unwrap();
    bus
}

/// As an operator with other tools would ask.
fn ask_jetstream(cluster: &Cluster, what: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = async_nats::connect(cluster.node_url(0)).await.unwrap();
        let answer = client
            .request(format!("$JS.API.{what}"), "".into())
            .await
            .unwrap();
        assert!(String::from_utf8_lossy(&answer.payload).contains("\"success\":true"));
    });
}

/// Tries until it is so.
fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "it never came to pass");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The fault: whatever a bus does otherwise than the sequencer and the publishers rely on, over clean stops and crashes.
#[test]
fn nats_server_keeps_the_promises_of_a_bus() {
    let cluster = RefCell::new(start(Options::always(1)));
    let settings = settings(&cluster.borrow());
    let reopen = |bus: NatsBus, ledger: &Name, crash: bool| {
        drop(bus);
        let mut cluster = cluster.borrow_mut();
        if crash {
            cluster.kill(0);
        } else {
            cluster.stop(0);
        }
        cluster.restart(0);
        cluster.wait_ready();
        open(ledger, &settings)
    };
    let (first, second) = (name("first"), name("second.0"));
    keeps_its_promises(make(&first, &settings), |bus| reopen(bus, &first, false));
    serves_many(make(&second, &settings), |bus| reopen(bus, &second, true));
}

/// The fault: messages that do not fit a pull request are passed over silently; or a queue between server and reader
/// overflows.
#[test]
fn nats_server_gives_every_big_frame() {
    let cluster = start(Options::default());
    let bus = make(&ledger(), &settings(&cluster));
    let frame = |producer: u8, n: u8| {
        let mut frame = vec![n; 300_000];
        frame[0] = producer;
        frame
    };
    std::thread::scope(|scope| {
        for producer in 0..2_u8 {
            let bus = &bus;
            scope.spawn(move || {
                for n in 0..100 {
                    let who = name(&format!("till.{producer}"));
                    wait(bus.publish(0, &who, frame(producer, n))).unwrap();
                }
            });
        }
    });
    let (mut after, mut count, mut next) = (NOTHING, 0, [0_u8; 2]);
    loop {
        let messages = wait(bus.read(0, after, 1_000_000)).unwrap();
        let Some(last) = messages.last() else { break };
        assert!(messages.len() <= 4, "about a million bytes");
        after = last.seq;
        for message in messages {
            count += 1;
            assert_eq!(message.seq, StreamSeq(count));
            let producer = message.frame[0];
            assert_eq!(message.producer, name(&format!("till.{producer}")));
            let n = &mut next[usize::from(producer)];
            assert_eq!(
                message.frame,
                frame(producer, *n),
                "each producer's frames in order"
            );
            *n += 1;
        }
    }
    assert_eq!((count, next), (200, [100, 100]));
}

/// The fault: frames queued at once by one producer overtake each other; or a reader that was abandoned has taken what
/// the next one misses.
#[test]
fn nats_server_keeps_the_order_of_queued_frames_and_loses_nothing_to_an_abandoned_read() {
    let cluster = start(Options::default());
    let bus = make(&ledger(), &settings(&cluster));
    let sent: Vec<Vec<u8>> = (0..200_u8).map(|n| vec![n; 1_000]).collect();
    let answers: Vec<_> = sent
        .iter()
        .map(|frame| bus.publish(0, &name("till"), frame.clone()))
        .collect();
    for (seq, answer) in (1..).zip(answers) {
        assert_eq!(wait(answer).unwrap(), StreamSeq(seq));
    }
    for round in 0..20 {
        let at = StreamSeq(round * 10);
        wait(async {
            tokio::select! {
                biased;
                read = bus.read(0, at, 1_000) => assert_eq!(read.unwrap()[0].seq.0, at.0 + 1),
                () = tokio::time::sleep(Duration::from_micros(round * 200)) => {}
            }
        });
        let read = wait(bus.read(0, at, 1_000)).unwrap();
        assert_eq!(read[0].seq.0, at.0 + 1, "round {round}");
    }
    assert_eq!(frames(&bus, 0), sent);
}

/// The fault: a server dies while a reader waits; afterwards the reader hangs, or misses what came.
#[test]
fn nats_server_may_crash_under_a_reader() {
    let mut cluster = start(Options::always(1));
    let bus = make(&ledger(), &settings(&cluster));
    put(&bus, 0, b"one");
    let before = all(&bus, 0);
    assert_eq!(before.len(), 1);
    for round in 2..5_u64 {
        cluster.kill(0);
        cluster.restart(0);
        cluster.wait_ready();
        assert_eq!(put(&bus, 0, &[7; 100]), StreamSeq(round));
        let mut read: Vec<Message> = Vec::new();
        until(|| {
            read.extend(wait(bus.read(0, StreamSeq(round - 1), 1_000)).unwrap_or_default());
            !read.is_empty()
        });
        assert_eq!(read[0].seq, StreamSeq(round));
    }
    cluster.kill(0);
    until(|| matches!(wait(bus.read(0, NOTHING, 1)), Err(LedgerError::Bus(_))));
}

/// The fault: a stream that was deleted, or made anew under the same name, is read as if it were the old one.
#[test]
fn nats_server_tells_a_stream_that_is_gone() {
    let cluster = start(Options::default());
    let bus = make(&ledger(), &settings(&cluster));
    put(&bus, 0, b"one");
    put(&bus, 0, b"two");
    assert_eq!(all(&bus, 0).len(), 2);
    let before = wait(bus.info(0)).unwrap();
    ask_jetstream(&cluster, &format!("STREAM.DELETE.{}", bus.names().stream(0, 1)));
    assert!(matches!(
        wait(bus.info(0)),
        Err(LedgerError::Stream { shard: 0, .. })
    ));
    until(|| {
        matches!(
            wait(bus.read(0, StreamSeq(2), 1)),
            Err(LedgerError::Stream { shard: 0, .. })
        )
    });
    assert!(wait(bus.mend_stream(0)).unwrap());
    assert!(!wait(bus.mend_stream(0)).unwrap());
    let after = wait(bus.info(0)).unwrap();
    assert_ne!(after.id, before.id);
    assert_eq!(after.last, NOTHING);
    for n in 0..3_u8 {
        put(&bus, 0, &[n]);
    }
    // Position 2 belongs to the stream that is gone.
    assert!(matches!(
        wait(bus.read(0, StreamSeq(2), 1)),
        Err(LedgerError::Stream { shard: 0, .. })
    ));
    assert_eq!(frames(&bus, 0), [[0], [1], [2]]);
    assert!(matches!(wait(bus.make()), Err(LedgerError::Invalid(_))));
}

/// The fault: a stream that was closed takes in frames, or its successor's positions are taken for its own.
#[test]
fn nats_server_closes_a_stream_and_opens_the_next() {
    let cluster = start(Options::default());
    let bus = make(&ledger(), &settings(&cluster));
    put(&bus, 0, b"one");
    assert_eq!(all(&bus, 0).len(), 1);
    let before = wait(bus.info(0)).unwrap();
    let next = wait(bus.next_stream(0)).unwrap();
    assert_ne!(next.id, before.id);
    assert_eq!(wait(bus.info(0)).unwrap(), next);
    assert_eq!(put(&bus, 0, b"first of the next"), StreamSeq(1));
    until(|| {
        matches!(
            wait(bus.read(0, StreamSeq(1), 1)),
            Err(LedgerError::Stream { shard: 0, .. })
        )
    });
    assert_eq!(frames(&bus, 0), [b"first of the next"]);
    assert_eq!(put(&bus, 1, b"the other shard"), StreamSeq(1));
}

/// The fault: two hosts write the same key from the same revision, and both believe they did.
#[test]
fn nats_server_keeps_a_register_that_changes_from_a_known_revision_only() {
    let cluster = start(Options::default());
    let bus = make(&ledger(), &settings(&cluster));
    let other = open(&ledger(), &settings(&cluster));
    let (shard, host) = (BusNames::shard_key(0), BusNames::host_key(&name("a.b")));
    assert_eq!(wait(bus.entry(&shard)).unwrap(), None);
    let first = wait(bus.update(&shard, b"one".to_vec(), 0)).unwrap().unwrap();
    assert_eq!(
        wait(other.update(&shard, b"two".to_vec(), 0)).unwrap(),
        Err(Conflict)
    );
    let second = wait(other.update(&shard, b"two".to_vec(), first))
        .unwrap()
        .unwrap();
    assert_eq!(
        wait(bus.update(&shard, b"three".to_vec(), first)).unwrap(),
        Err(Conflict)
    );
    let found = wait(bus.entry(&shard)).unwrap().unwrap();
    assert_eq!((found.value, found.revision), (b"two".to_vec(), second));
    wait(bus.update(&host, Vec::new(), 0)).unwrap().unwrap();
    assert_eq!(wait(bus.keys("host.")).unwrap(), std::slice::from_ref(&host));
    assert_eq!(wait(bus.keys("")).unwrap(), [host, shard.clone()]);
    let winners: usize = std::thread::scope(|scope| {
        let writers: Vec<_> = [&bus, &other, &bus, &other]
            .into_iter()
            .map(|bus| {
                let shard = &shard;
                scope.spawn(move || wait(bus.update(shard, b"four".to_vec(), second)).unwrap().is_ok())
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| usize::from(writer.join().unwrap()))
            .sum()
    });
    assert_eq!(winners, 1);
    ask_jetstream(
        &cluster,
        &format!("STREAM.DELETE.{}", bus.names().bucket_stream()),
    );
    assert!(wait(bus.mend_register()).unwrap());
    assert_eq!(wait(bus.entry(&shard)).unwrap(), None);
}

/// The fault: servers that acknowledge what is not on disk are taken for safe; or where nobody can look, all is well.
#[test]
fn nats_server_with_the_default_sync_interval_is_a_risk() {
    let careless = start(Options::default());
    let careful = start(Options::always(1));
    let risks = |cluster: &Cluster| {
        let bus = make(&ledger(), &settings(cluster));
        wait(bus.risks()).unwrap().unwrap()
    };
    // The servers of these tests may keep their store where it does not last, which is a risk of its own.
    let (many, few) = (risks(&careless), risks(&careful));
    assert_eq!(many.len(), few.len() + 1, "{many:?} {few:?}");
    assert_eq!(
        few.len(),
        usize::from(careful.store(0).starts_with("/tmp")),
        "{few:?}"
    );
    let unseen = open(&ledger(), &BusSettings::new(careful.url()));
    assert!(wait(unseen.risks()).unwrap().is_err());
    assert!(wait(unseen.agreement(0)).unwrap().is_err());
}

/// What a producer may do, and what an operator may.
fn accounts(producer: &nkeys::KeyPair, operator: &nkeys::KeyPair) -> String {
    format!(
        r#"authorization {{
  users = [
    {{ nkey: {}, permissions: {{
        publish: ["ledger.shop_example.*.till", "vault.shop_example.till"],
        subscribe: ["heads.shop_example.*", "_INBOX_till.>"] }} }}
    {{ nkey: {} }}
  ]
}}
"#,
        producer.public_key(),
        operator.public_key()
    )
}

/// The fault: a right that is missing looks like a bus that does not answer; or a producer needs more than its few.
#[test]
fn nats_server_denies_what_is_not_allowed_and_it_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (producer, operator) = (nkeys::KeyPair::new_user(), nkeys::KeyPair::new_user());
    let path = folder.path().join("accounts.conf");
    fs::write(&path, accounts(&producer, &operator)).unwrap();
    for (file, pair) in [("till.nkey", &producer), ("host.nkey", &operator)] {
        sharetrail_ledger::files::write_private(&folder.path().join(file), &pair.seed().unwrap()).unwrap();
    }
    let cluster = start(Options {
        accounts: Some(path),
        ..Options::default()
    });
    let with = |file: &str, inbox: &str| {
        let settings = BusSettings {
            nkey: Some(file.into()),
            inbox: Some(inbox.into()),
            ..BusSettings::new(cluster.url())
        };
        NatsBus::connect(&ledger(), 2, &settings, folder.path())
    };
    let host = with("host.nkey", "_INBOX_host").unwrap();
    wait(host.make()).unwrap();
    let till = with("till.nkey", "_INBOX_till").unwrap();
    assert_eq!(put(&till, 1, b"allowed"), StreamSeq(1));
    let denied = |outcome: Result<StreamSeq, LedgerError>| matches!(outcome, Err(LedgerError::Denied(_)));
    assert!(denied(wait(till.publish(0, &name("office"), vec![1]))));
    assert!(denied(wait(till.info(0)).map(|info| info.last)));
    assert!(matches!(wait(till.entry("shard.0")), Err(LedgerError::Denied(_))));
    assert!(matches!(
        wait(till.read(0, NOTHING, 1)),
        Err(LedgerError::Denied(_))
    ));
    assert!(wait(till.listen("control.shop_example")).is_ok_and(|mut heard| wait(heard.recv()).is_none()));
    assert!(!till.troubles().is_empty());
    let deaf = with("till.nkey", "_INBOX_office").unwrap();
    assert!(denied(wait(deaf.publish(0, &name("till"), vec![1]))));
    assert!(matches!(
        NatsBus::connect(&ledger(), 2, &settings(&cluster), folder.path()),
        Err(LedgerError::Denied(_))
    ));
    assert_eq!(put(&till, 1, b"allowed"), StreamSeq(2));
}

/// The fault: a wrong address is tried for ever.
#[test]
fn an_address_where_nobody_listens_is_told() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let settings = BusSettings::new(format!("nats://127.0.0.1:{port}"));
    let outcome = NatsBus::connect(&ledger(), 1, &settings, Path::new("/"));
    assert!(matches!(outcome, Err(LedgerError::Bus(_))));
}

/// The fault: a question is answered to somebody else, or hangs where nobody listens; a full queue stops the sender.
#[test]
fn nats_server_carries_messages_between_hosts() {
    let cluster = start(Options::default());
    let (bus, other) = (
        open(&ledger(), &settings(&cluster)),
        open(&ledger(), &settings(&cluster)),
    );
    let mut asked = wait(bus.listen(&bus.names().all_vault())).unwrap();
    let answers = std::thread::spawn(move || {
        while let Some(incoming) = wait(asked.recv()) {
            let producer = BusNames::last(&incoming.bus_subject).unwrap();
            let answer = [producer.as_str().as_bytes(), &incoming.payload].concat();
            incoming.reply.unwrap().send(answer).unwrap();
        }
    });
    let bus_subject = other.names().vault(&name("till.1"));
    let answer = wait(other.request(&bus_subject, b" asks".to_vec(), PATIENCE)).unwrap();
    assert_eq!(answer, b"till.1 asks");
    let nobody = other.request("control.nobody", Vec::new(), Duration::from_millis(300));
    assert!(matches!(wait(nobody), Err(LedgerError::Bus(_))));
    let mut heard = wait(bus.listen(&bus.names().heads(0))).unwrap();
    let mut first = None;
    until(|| {
        other
            .broadcast(&other.names().heads(0), b"head".to_vec())
            .unwrap();
        first = heard.try_recv().ok();
        first.is_some()
    });
    let first = first.unwrap();
    assert_eq!(first.payload, b"head");
    assert!(first.reply.is_none());
    drop(bus);
    answers.join().unwrap();
}

/// The fault: while a cluster chooses another leader, a frame that was acknowledged is not read, or read out of order, or
/// reading stops.
#[test]
fn nats_server_cluster_loses_nothing_when_its_leader_dies() {
    let mut cluster = start(Options::always(3));
    let settings = BusSettings {
        replicas: 3,
        ..settings(&cluster)
    };
    let bus = make(&ledger(), &settings);
    let stream = bus.names().stream(0, 1);
    let mut acked: BTreeSet<u64> = BTreeSet::new();
    let mut read: Vec<Message> = Vec::new();
    for n in 0..40_u8 {
        if n == 20 {
            let leader = cluster.wait_stream_leader(&stream);
            cluster.kill(leader);
            let seq = put(&bus, 0, &[n; 2_000]);
            acked.insert(seq.0);
            cluster.restart(leader);
        } else {
            acked.insert(put(&bus, 0, &[n; 2_000]).0);
        }
        let after = read.last().map_or(NOTHING, |message| message.seq);
        read.extend(wait(bus.read(0, after, 10_000)).unwrap_or_default());
    }
    cluster.wait_ready();
    until(|| {
        let after = read.last().map_or(NOTHING, |message| message.seq);
        read.extend(wait(bus.read(0, after, 10_000)).unwrap_or_default());
        acked
            .iter()
            .all(|seq| read.iter().any(|message| message.seq.0 == *seq))
    });
    assert!(read.is_sorted_by(|one, next| one.seq < next.seq));
    let mut order: Vec<u8> = read.iter().map(|message| message.frame[0]).collect();
    // A frame whose acknowledgement was lost may be there twice.
    order.dedup();
    assert_eq!(order, (0..40).collect::<Vec<u8>>());
    let last = wait(bus.info(0)).unwrap().last.0;
    until(|| {
        let replicas = wait(bus.agreement(0)).unwrap().unwrap_or_default();
        replicas.len() == 3
            && replicas.iter().filter(|replica| replica.leader).count() == 1
            && replicas
                .iter()
                .all(|replica| (replica.first, replica.last, replica.deleted) == (1, last, 0))
    });
}
