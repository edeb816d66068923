//! Copying from honest, short and lying hosts, over real sockets.
//!
//! In scope: what comes, what is refused, what is told. Out of scope: the server that hosts run (consumers).

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use sharetrail_proof::customer::commitment;
use sharetrail_proof::entry::EventEntry;
use sharetrail_proof::name::Name;
use tempfile::TempDir;

use super::*;
use crate::archive::{append_leaf, split_leaf};
use crate::chain::Chain;
use crate::engine::Engine;
use crate::host::folder::host_folder;
use crate::host::peer::{PeerKey, SIZE_HEADER, leaves_from, minute_now};
use crate::keys;
use crate::ledger::Ledger;
use crate::restore::sources;
use crate::sequencer::recover_behind;
use crate::settings::Settings;
use crate::testing;

const SECRET: [u8; 32] = [5; 32];

type Known = (TreeSize, Hash);

fn shop() -> Name {
    Name::new("shop.example").unwrap()
}

/// A ledger on a host that others may copy.
struct Place {
    ledger: Ledger,
    _folder: TempDir,
}

fn made() -> Place {
    let (folder, ledger) = testing::ledger(1);
    Place {
        ledger,
        _folder: folder,
    }
}

/// Puts batches of one event on record, `bytes` long each; gives the checkpoint after them.
fn record(ledger: &Ledger, batches: u8, bytes: usize) -> Known {
    let engine = Engine::start(ledger).unwrap();
    let signer = keys::producer_signer(ledger, &shop()).unwrap();
    let mut chain = Chain::open(&engine, &signer, 0).unwrap();
    for number in 0..batches {
        let grant = engine
            .vault()
            .grants(chain.producer(), &["customer-1"])
            .unwrap()
            .remove(0);
        let (sealer, opening) = (grant.key.sealer(), [number; 32]);
        let content = "x".repeat(bytes);
        let entry = EventEntry {
            id: sealer.entry_id("/till", &number.to_string()),
            label: grant.label,
            commitment: commitment(&opening, content.as_bytes()),
        }
        .to_bytes();
        let mut sealed = Vec::new();
        sealer.seal(&entry, &opening, content.as_bytes(), &[number; 24], &mut sealed);
        let cut = chain.cut(&[&entry[..]], &[&sealed[..]]);
        let seq = engine
            .block_on(engine.bus().publish(0, chain.producer(), cut.frame))
            .unwrap();
        engine.wait_for(0, chain.id(), cut.number, seq).unwrap();
    }
    engine.stop().unwrap();
    let reader = ledger.reader(0).unwrap();
    (reader.size(), reader.checkpoint().root)
}

/// Another host of the ledger, which has its first leaf.
struct NewHost {
    ledger: Ledger,
    _folder: TempDir,
}

impl NewHost {
    fn of(place: &Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The recorded ledger's bus lies in its folder; hosts are made of one that has a cluster.
        let path = place.ledger.root().join("ledger.toml");
        let alone = std::fs::read_to_string(&path).unwrap();
        let cluster = "host = \"host-a\"\n[bus]\nurl = \"nats://127.0.0.1:4222\"\n";
        std::fs::write(&path, format!("{alone}{cluster}")).unwrap();
        let clustered = Ledger::open(place.ledger.root()).unwrap();
        let to = folder.path().join("carried");
        host_folder(&clustered, &to, &Name::new("host-b").unwrap()).unwrap();
        std::fs::write(&path, alone).unwrap();
        let path = to.join("ledger/ledger.toml");
        let settings = Settings {
            outside: Some(to.join("outside")),
            ..Settings::read(&path).unwrap()
        };
        settings.write(&path).unwrap();
        Self {
            ledger: Ledger::open(&to.join("ledger")).unwrap(),
            _folder: folder,
        }
    }

    fn take_up(&self) -> Sequencer {
        recover_behind(sources(&self.ledger, 0).unwrap(), &mut Vec::new()).unwrap()
    }
}

fn leaves(ledger: &Ledger) -> Vec<Leaf> {
    let mut found = Vec::new();
    let mut add = |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
        found.push(Leaf {
            entry: entry.to_vec(),
            sealed: sealed.to_vec(),
        });
        ControlFlow::Continue(())
    };
    ledger.reader(0).unwrap().scan(LeafIndex(0), &mut add).unwrap();
    found
}

/// What a host makes of an answer before it sends it: path and body.
type Lie = fn(&str, Vec<u8>) -> Vec<u8>;

fn truth(_: &str, body: Vec<u8>) -> Vec<u8> {
    body
}

/// A host at a loopback address, one request a connection.
struct Served {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Served {
    fn start(ledger: &Ledger, lie: impl Fn(&str, Vec<u8>) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let (ledger, stopped) = (ledger.clone(), Arc::clone(&stop));
        let work = move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // A client that turned away has got what it wanted.
                let _ = stream.and_then(|stream| answer(stream, &ledger, &lie));
            }
        };
        Self {
            address,
            stop,
            thread: Some(std::thread::spawn(work)),
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn peer(&self) -> Peer {
        Peer::new(&self.url(), &SECRET).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn answer(
    mut stream: TcpStream,
    ledger: &Ledger,
    lie: &impl Fn(&str, Vec<u8>) -> Vec<u8>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let mut authorization = String::new();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("authorization")
        {
            value.trim().clone_into(&mut authorization);
        }
    }
    let reader = ledger.reader(0).unwrap();
    let (status, body) = match path.strip_prefix("/peer/0/leaves?from=") {
        Some(_) if !PeerKey::new(&SECRET).admits(&authorization, path, minute_now()) => (401, Vec::new()),
        Some(from) => (
            200,
            leaves_from(&reader, LeafIndex(from.parse().unwrap())).unwrap(),
        ),
        None => std::fs::read(ledger.root().join(&path[1..])).map_or((404, Vec::new()), |body| (200, body)),
    };
    let body = lie(path, body);
    write!(
        stream,
        "HTTP/1.1 {status} Answer\r\n{SIZE_HEADER}: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        reader.size(),
        body.len()
    )?;
    stream.write_all(&body)
}

/// Alters the leaves in an answer that has some.
fn with_leaves(path: &str, body: Vec<u8>, alter: impl Fn(&mut Vec<Leaf>)) -> Vec<u8> {
    if !path.starts_with("/peer/") || body.is_empty() {
        return body;
    }
    let (mut leaves, mut rest) = (Vec::new(), &body[..]);
    while let Some((entry, sealed, length)) = split_leaf(rest) {
        leaves.push(Leaf {
            entry: entry.to_vec(),
            sealed: sealed.to_vec(),
        });
        rest = &rest[length..];
    }
    alter(&mut leaves);
    let mut altered = Vec::new();
    for leaf in &leaves {
        append_leaf(&mut altered, &leaf.entry, &leaf.sealed);
    }
    altered
}

fn copy(sequencer: &mut Sequencer, peers: &[Peer], known: &[Known]) -> Result<Copied, LedgerError> {
    let wanted = known.iter().map(|(size, _)| *size).max().unwrap();
    copy_from_peers(sequencer, peers, wanted, known, &mut |_, _| ())
}

/// Tiles are asked for only where an answer does not reach the signed checkpoint.
fn other_tiles(path: &str, mut body: Vec<u8>) -> Vec<u8> {
    if path.contains("/tile/") {
        for byte in &mut *body {
            *byte ^= 1;
        }
    }
    body
}

/// The fault: a host that lost its disk cannot come back, or comes back with something else than was signed.
#[test]
fn a_new_host_copies_an_archive_that_is_larger_than_one_answer() {
    let place = made();
    let head = record(&place.ledger, 150, 60_000);
    let (served, crooked) = (
        Served::start(&place.ledger, truth),
        Served::start(&place.ledger, other_tiles),
    );
    let host = NewHost::of(&place);
    let (mut sequencer, mut seen) = (host.take_up(), Vec::new());
    let (peers, known) = ([crooked.peer(), served.peer()], [head]);
    let mut progress = |done, total| seen.push((done, total));
    let copied = copy_from_peers(&mut sequencer, &peers, head.0, &known, &mut progress).unwrap();
    let all = head.0.0 - 1;
    assert_eq!((copied.leaves, copied.told.len()), (all, 1));
    assert_eq!(copied.from, [served.url()]);
    assert!(seen.len() > 1, "one answer held all");
    assert_eq!(seen.last(), Some(&(all, all)));
    sequencer.seal_adopted().unwrap();
    assert_eq!(leaves(&host.ledger), leaves(&place.ledger));
    let (ours, theirs) = (host.ledger.reader(0).unwrap(), place.ledger.reader(0).unwrap());
    assert_eq!(ours.note(), theirs.note());
    for size in [1, 2, all / 2, all, all + 1] {
        assert_eq!(
            ours.root_at(TreeSize(size)).unwrap(),
            theirs.root_at(TreeSize(size)).unwrap()
        );
    }
}

const LIES: [(&str, Lie); 7] = [
    ("a flipped bit in an entry", |path, body| {
        with_leaves(path, body, |leaves| {
            let last = leaves.len() - 1;
            leaves[last].entry[40] ^= 1;
        })
    }),
    ("a missing leaf", |path, body| {
        with_leaves(path, body, |leaves| drop(leaves.remove(5)))
    }),
    ("two batches changed places", |path, body| {
        with_leaves(path, body, |leaves| {
            let end = leaves.len();
            leaves.swap(end - 1, end - 3);
            leaves.swap(end - 2, end - 4);
        })
    }),
    ("a leaf that is cut off", |path, mut body| {
        if path.starts_with("/peer/") {
            body.pop();
        }
        body
    }),
    ("nothing where there are leaves", |path, body| {
        if path.starts_with("/peer/") {
            Vec::new()
        } else {
            body
        }
    }),
    ("the last leaves first", |path, body| {
        with_leaves(path, body, |leaves| leaves.reverse())
    }),
    ("a checkpoint that is none", |path, body| {
        if path.ends_with("/checkpoint") {
            vec![b'x'; 90]
        } else {
            body
        }
    }),
];

/// The fault: a host that lies, or whose disk is damaged, leaves something of it in the archive of another.
#[test]
fn a_host_that_lies_is_passed_over_and_leaves_nothing_behind() {
    let place = made();
    let middle = record(&place.ledger, 10, 20);
    let head = record(&place.ledger, 10, 20);
    let honest = Served::start(&place.ledger, truth);
    for (told, lie) in LIES {
        let (liar, host) = (Served::start(&place.ledger, lie), NewHost::of(&place));
        let mut sequencer = host.take_up();
        let known = [middle, head];
        let copied = copy(&mut sequencer, &[liar.peer()], &known);
        assert!(matches!(copied, Err(LedgerError::Peer { .. })), "{told}");
        assert_eq!(sequencer.size(), TreeSize(1), "{told}");
        let copied = copy(&mut sequencer, &[liar.peer(), honest.peer()], &known).unwrap();
        assert_eq!(
            (copied.from, copied.told.len()),
            (vec![honest.url()], 1),
            "{told}"
        );
        sequencer.seal_adopted().unwrap();
        assert_eq!(leaves(&host.ledger), leaves(&place.ledger), "{told}");
    }
}

/// The fault: contents that a host has lost are taken over as lost, though the next host has them.
#[test]
fn a_host_that_lost_a_content_gives_what_comes_before_it_and_the_next_the_rest() {
    let place = made();
    let head = record(&place.ledger, 6, 20);
    let honest = Served::start(&place.ledger, truth);
    let forgetful = Served::start(&place.ledger, |path, body| {
        with_leaves(path, body, |leaves| {
            let last = leaves.last_mut().unwrap();
            last.sealed.clear();
        })
    });
    let host = NewHost::of(&place);
    let mut sequencer = host.take_up();
    let copied = copy(&mut sequencer, &[forgetful.peer(), honest.peer()], &[head]).unwrap();
    assert_eq!(copied.from, [forgetful.url(), honest.url()]);
    assert_eq!((copied.leaves, copied.told.len()), (head.0.0 - 1, 1));
    sequencer.seal_adopted().unwrap();
    assert_eq!(leaves(&host.ledger), leaves(&place.ledger));
}

/// The fault: leaves of another ledger, or whatever answers at an old address, are taken for this one's.
#[test]
fn another_ledger_a_stranger_and_nobody_are_passed_over() {
    let (place, other) = (made(), made());
    let head = record(&place.ledger, 5, 20);
    assert_eq!(record(&other.ledger, 5, 20).0, head.0);
    let (served, elsewhere) = (
        Served::start(&place.ledger, truth),
        Served::start(&other.ledger, truth),
    );
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let peers = [
        elsewhere.peer(),
        Peer::new(&served.url(), &[6; 32]).unwrap(),
        Peer::new(&format!("http://{nobody}"), &SECRET).unwrap(),
    ];
    let host = NewHost::of(&place);
    let mut sequencer = host.take_up();
    for peers in [&peers[..], &peers[..1], &peers[1..2], &peers[2..], &[]] {
        let copied = copy(&mut sequencer, peers, &[head]);
        assert!(matches!(copied, Err(LedgerError::Peer { .. })));
        assert_eq!(sequencer.size(), TreeSize(1));
    }
    let peers = [&peers[..], &[served.peer()]].concat();
    let copied = copy(&mut sequencer, &peers, &[head]).unwrap();
    assert_eq!((copied.from, copied.told.len()), (vec![served.url()], 3));
}

/// The fault: a host that is behind is taken for whole, or what it has is not made use of.
#[test]
fn a_host_that_is_behind_gives_what_it_can_prove() {
    let place = made();
    let middle = record(&place.ledger, 5, 20);
    let note = place.ledger.reader(0).unwrap().note().to_owned();
    let head = record(&place.ledger, 5, 20);
    let behind = Served::start(&place.ledger, move |path, body| {
        if path.ends_with("/checkpoint") {
            note.clone().into_bytes()
        } else {
            body
        }
    });
    let host = NewHost::of(&place);
    let mut sequencer = host.take_up();
    for (known, size) in [(&[head][..], TreeSize(1)), (&[middle, head][..], middle.0)] {
        let copied = copy(&mut sequencer, &[behind.peer()], known);
        assert!(matches!(copied, Err(LedgerError::Peer { .. })));
        assert_eq!(sequencer.size(), size);
    }
    let honest = Served::start(&place.ledger, truth);
    let copied = copy(&mut sequencer, &[behind.peer(), honest.peer()], &[middle, head]).unwrap();
    assert_eq!(copied.leaves, head.0.0 - middle.0.0);
    assert_eq!((copied.from, copied.told.len()), (vec![honest.url()], 1));
}

#[test]
fn nothing_is_copied_towards_a_root_that_is_unknown_or_contradicts_the_archive() {
    let place = made();
    let head = record(&place.ledger, 2, 20);
    let (served, host) = (Served::start(&place.ledger, truth), NewHost::of(&place));
    let mut sequencer = host.take_up();
    let beyond = TreeSize(head.0.0 + 1);
    let unknown = copy_from_peers(&mut sequencer, &[served.peer()], beyond, &[head], &mut |_, _| ());
    assert!(matches!(unknown, Err(LedgerError::Invalid(_))));
    let wrong = copy(
        &mut sequencer,
        &[served.peer()],
        &[(TreeSize(1), Hash::ZERO), head],
    );
    assert!(matches!(wrong, Err(LedgerError::Forked { size: 1, .. })));
    let another = copy(&mut sequencer, &[served.peer()], &[(head.0, Hash::ZERO)]);
    assert!(matches!(another, Err(LedgerError::Peer { .. })));
    assert_eq!(sequencer.size(), TreeSize(1));
}
