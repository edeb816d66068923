//! The server of a host, asked over real sockets.
//!
//! In scope: files as they lie, what is not there, who is let in, many connections. Out of scope: the client that hosts use
//! (`peer`).

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::Duration;

use sharetrail_consumers::ConsumerError;
use sharetrail_consumers::http::HttpServer;
use sharetrail_ledger::host::peer::{PeerKey, minute_now};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tiles::FULL_WIDTH;
use support::{TestLedger, customers, files_below, story};

const SECRET: [u8; 32] = [8; 32];
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A ledger of one shard with a full tile and more, and the server of its host.
struct Host {
    place: TestLedger,
    server: HttpServer,
}

impl Host {
    fn new() -> Self {
        let place = TestLedger::new(1);
        place.record(customers(80).iter().flat_map(|customer| story(customer)));
        let server = HttpServer::start(&place.open(), ANY_PORT, SECRET).unwrap();
        Self { place, server }
    }

    fn get(&self, path: &str) -> Answer {
        ask(self.server.address(), "GET", path, None)
    }

    fn get_with(&self, path: &str, authorization: &str) -> Answer {
        ask(self.server.address(), "GET", path, Some(authorization))
    }
}

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

/// Sends a request with this very path.
fn ask(address: SocketAddr, method: &str, path: &str, authorization: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n{}\r\n",
        authorization.unwrap_or_default()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    Answer {
        status,
        headers: headers
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
        body: bytes[end + 4..].to_vec(),
    }
}

/// The fault: what is served is not what was signed, or is kept by caches longer than it is true.
#[test]
fn every_file_of_the_tree_is_served_as_it_lies() {
    let host = Host::new();
    let (full, partial) = served(&host, "log/0");
    assert!(
        full >= 2 && partial >= 3,
        "{full} full and {partial} partial files"
    );
    assert_eq!(served(&host, "map/0"), (0, 2));
    assert_eq!(host.get("/healthz").status, 200);
}

/// Asks for every file of a tree; how many were full and partial ones.
fn served(host: &Host, tree: &str) -> (usize, usize) {
    let folder = host.place.root.join(tree);
    let (mut full, mut partial) = (0, 0);
    for path in files_below(&folder) {
        let name = path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned();
        let answer = host.get(&format!("/{tree}/{name}"));
        assert_eq!(
            (answer.status, &answer.body),
            (200, &fs::read(&path).unwrap()),
            "{name}"
        );
        let (content, caching) = (&answer.headers["content-type"], &answer.headers["cache-control"]);
        if name == "checkpoint" {
            assert_eq!(
                (content.as_str(), caching.as_str()),
                ("text/plain; charset=utf-8", "no-cache")
            );
            continue;
        }
        assert_eq!(content, "application/octet-stream");
        assert_eq!(caching.contains("immutable"), !name.contains(".p/"), "{name}");
        if name.contains(".p/") {
            partial += 1;
        } else {
            full += 1;
        }
    }
    (full, partial)
}

/// The fault: a path leads out of the tree, to keys or contents.
#[test]
fn what_is_no_file_of_a_tree_is_not_there() {
    let host = Host::new();
    let not_there = [
        "/",
        "/log",
        "/log/",
        "/log/0",
        "/log/0/",
        "/log/1/checkpoint",
        "/log/00/checkpoint",
        "/log/+0/checkpoint",
        "/log/-1/checkpoint",
        "/log/4294967296/checkpoint",
        "/log/99999999999999999999/checkpoint",
        "/log/0/checkpoint/",
        "/log/0/checkpoint.new",
        "/log/0/Checkpoint",
        "/log/0/%63heckpoint",
        "/log/0/tile/0/999",
        "/log/0/tile/0/0",
        "/log/0/tile/00/000",
        "/log/0/tile/0/000.p/0",
        "/log/0/tile/0/000.p/256",
        "/log/0/tile/0/001.p/255",
        "/log/0/tile/64/000",
        "/log/0/tile/0/x018/x446/x744/x073/x709/x551/615",
        "/log/0/tile/0/x018/x446/x744/x073/x709/x551/616",
        "/log/0/tile/entries/18446744073709551616",
        "/log/0/tile/../checkpoint",
        "/log/0/../0/checkpoint",
        "/log/0/../../ledger.toml",
        "/log/0/..%2f..%2fledger.toml",
        "/log/0/%2e%2e/%2e%2e/ledger.toml",
        "/log/0/..\\..\\ledger.toml",
        "/log/..%2f..%2fpolicy/checkpoint",
        "//log/0/checkpoint",
        "/log//0/checkpoint",
        "/log/0//checkpoint",
        "/log/0/tile//0/000",
        "/log/0//etc/passwd",
        "/log/0/tile/0/000%00",
        "/map/1/checkpoint",
        "/map/0/../../log/0/checkpoint",
        "/map/0/cosigned",
        "/map/0/tile/0/001",
        "/mapping/0/head",
        "/ledger.toml",
        "/keys/vrf.key",
        "/sealed/0/00000000000000000000.leaves",
        "/etc/passwd",
        "/peer/0",
        "/peer/0/leaves/1",
    ];
    for path in not_there {
        assert_eq!(host.get(path).status, 404, "{path}");
    }
    let long = format!("/log/0/tile/0/{}000", "x000/".repeat(2_000));
    assert_eq!(host.get(&long).status, 404);
    let posted = ask(host.server.address(), "POST", "/log/0/checkpoint", None);
    assert_eq!(posted.status, 405);
}

/// The fault: a tile is served while it is being written, and a cache keeps half of it for a year.
#[test]
fn a_file_that_the_published_checkpoint_does_not_cover_is_not_there() {
    let host = Host::new();
    let size = host.place.open().reader(0).unwrap().size().0;
    let next = size / u64::from(FULL_WIDTH) + 1;
    for kind in ["tile/0", "tile/entries"] {
        let name = format!("{kind}/{next:03}");
        fs::write(host.place.root.join("log/0").join(&name), "half of it").unwrap();
        assert_eq!(host.get(&format!("/log/0/{name}")).status, 404, "{name}");
    }
}

/// The leaves from `from` on, as they are sent.
fn expected(host: &Host, from: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut add = |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
        bytes.extend(u16::try_from(entry.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(entry);
        bytes.extend(u32::try_from(sealed.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(sealed);
        ControlFlow::Continue(())
    };
    let reader = host.place.open().reader(0).unwrap();
    reader.scan(LeafIndex(from), &mut add).unwrap();
    bytes
}

#[test]
fn a_host_that_knows_the_secret_gets_leaves() {
    let host = Host::new();
    let (key, size) = (
        PeerKey::new(&SECRET),
        host.place.open().reader(0).unwrap().size().0,
    );
    for from in [0, 1, 100, size - 1, size, size + 1, u64::MAX] {
        let path = format!("/peer/0/leaves?from={from}");
        let answer = host.get_with(&path, &key.authorization(&path, minute_now()));
        assert_eq!(
            (answer.status, answer.body == expected(&host, from)),
            (200, true),
            "{from}"
        );
        assert_eq!(answer.headers["sharetrail-size"], size.to_string());
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
}

/// The fault: sealed contents go to somebody who is no host of the ledger, or who replays what a host once sent.
#[test]
fn nobody_else_gets_leaves() {
    let host = Host::new();
    let (key, now) = (PeerKey::new(&SECRET), minute_now());
    let path = "/peer/0/leaves?from=0";
    let refused = [
        String::new(),
        "Sharetrail".into(),
        "Basic aG9zdDpob3N0".into(),
        format!("Sharetrail {now}."),
        format!("Sharetrail {now}.{}", "0".repeat(64)),
        PeerKey::new(&[9; 32]).authorization(path, now),
        key.authorization(path, now - 10),
        key.authorization(path, now + 10),
        key.authorization("/peer/0/leaves?from=1", now),
        key.authorization("/peer/1/leaves?from=0", now),
        key.authorization("/peer/0/leaves", now),
    ];
    for authorization in refused {
        let answer = host.get_with(path, &authorization);
        assert_eq!(answer.status, 401, "{authorization}");
        assert!(answer.headers.contains_key("www-authenticate"));
        assert_eq!(answer.body, b"");
    }
    assert_eq!(host.get(path).status, 401);
    assert_eq!(host.get("/peer/9/leaves?from=0").status, 401);
}

#[test]
fn a_question_of_a_host_that_does_not_parse_is_told() {
    let host = Host::new();
    let key = PeerKey::new(&SECRET);
    let status = |path: &str| host.get_with(path, &key.authorization(path, minute_now())).status;
    let bad = [
        "",
        "?",
        "?from=",
        "?from=+1",
        "?from=01",
        "?from=1&to=2",
        "?from=18446744073709551616",
    ];
    for query in bad {
        assert_eq!(status(&format!("/peer/0/leaves{query}")), 400, "{query}");
    }
    for shard in ["1", "00", "x", "..%2f0"] {
        assert_eq!(status(&format!("/peer/{shard}/leaves?from=0")), 404, "{shard}");
    }
}

/// The fault: a stranger who opens connections and says nothing keeps everybody else out.
#[test]
fn silent_connections_keep_nobody_out() {
    let host = Host::new();
    let mut silent = Vec::new();
    for round in 0..300 {
        let mut stream = TcpStream::connect(host.server.address()).unwrap();
        if round % 3 == 0 {
            // Some have asked once and are kept open.
            stream
                .write_all(b"GET /healthz HTTP/1.1\r\nHost: host\r\n\r\n")
                .unwrap();
        }
        silent.push(stream);
    }
    for _ in 0..5 {
        assert_eq!(host.get("/log/0/checkpoint").status, 200);
    }
    drop(silent);
}

/// The fault: a request that never ends holds its connection for ever.
#[test]
fn a_request_that_does_not_come_is_not_waited_for() {
    let host = Host::new();
    let mut stream = TcpStream::connect(host.server.address()).unwrap();
    stream.write_all(b"GET /log/0/check").unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(2))).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn a_port_that_is_taken_is_told_and_one_that_was_left_is_free() {
    let place = TestLedger::new(1);
    let taken = TcpListener::bind(ANY_PORT).unwrap();
    let address = taken.local_addr().unwrap();
    match HttpServer::start(&place.open(), address, SECRET) {
        Err(ConsumerError::Serve { address: told, .. }) => assert_eq!(told, address),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("two listen on one port"),
    }
    drop(taken);
    let server = HttpServer::start(&place.open(), ANY_PORT, SECRET).unwrap();
    let address = server.address();
    let open = TcpStream::connect(address).unwrap();
    assert_eq!(ask(address, "GET", "/healthz", None).status, 200);
    server.stop();
    assert!(TcpStream::connect(address).is_err());
    drop(open);
}
