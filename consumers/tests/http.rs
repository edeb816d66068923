//! The server of a host, asked over real sockets.
//!
//! In scope: files as they lie, what is not there, who is let in, many connections, the limits, TLS. Out of scope: the
//! client that hosts use (`peer`), what the API and the pages say.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::support::hands::TestHands;
use crate::support::{TestLedger, customers, files_below, name, story};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sharetrail_consumers::http::{
    HttpOptions, HttpServer, HttpSettings, LimitSettings, ServiceTokens, TlsSettings,
};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Shelf, Watch};
use sharetrail_ledger::host::peer::{PeerKey, minute_now};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tiles::FULL_WIDTH;

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
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n"));
    send(address, method, path, &authorization.unwrap_or_default(), b"")
}

/// Sends a request with these lines in its head.
fn send(address: SocketAddr, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(head(method, path, lines).as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    parse(&bytes)
}

fn head(method: &str, path: &str, lines: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n{lines}\r\n")
}

fn parse(bytes: &[u8]) -> Answer {
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

/// What is in no tree, or in none that is served.
const NOT_THERE: [&str; 49] = [
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

/// The fault: a path leads out of the tree, to keys or contents.
#[test]
fn what_is_no_file_of_a_tree_is_not_there() {
    let host = Host::new();
    for path in NOT_THERE {
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

/// A ledger at work and the server of everything.
struct Whole {
    server: HttpServer,
    place: TestLedger,
}

impl Whole {
    fn new(limits: LimitSettings) -> Self {
        Self::with(HttpSettings {
            limits,
            ..HttpSettings::default()
        })
    }

    fn with(settings: HttpSettings) -> Self {
        let place = TestLedger::new(1);
        place.record(customers(80).iter().flat_map(|customer| story(customer)));
        let ledger = place.open();
        let hands = TestHands::new(&ledger, &["shop.example"]);
        let vault = Arc::clone(hands.engine.vault());
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let options = HttpOptions {
            watch: Watch::new(&ledger, &vault, &shelf),
            ledger,
            vault,
            shelf,
            hands,
            settings,
            listen: ANY_PORT,
            secret: SECRET,
            demo: None,
        };
        let server = HttpServer::open(options).unwrap();
        Self { server, place }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    fn ask(&self, method: &str, path: &str, lines: &str) -> Answer {
        send(self.server.address(), method, path, lines, b"")
    }

    /// The line with which a service shows that it may record for the shop.
    fn token(&self) -> String {
        let token = ServiceTokens::add(&self.place.root, &name("shop.example"), "test").unwrap();
        format!("Authorization: Bearer {token}\r\n")
    }
}

/// The fault: with the API, the trees lead where they did not lead alone, or a program is shown a page.
#[test]
fn what_is_not_there_is_told_in_a_form_that_is_read() {
    let host = Whole::new(LimitSettings::default());
    let trees = NOT_THERE.into_iter().filter(|path| {
        ["/log/", "/map/", "/peer/", "//log/", "/v1"]
            .iter()
            .any(|tree| path.starts_with(tree))
    });
    for path in trees.chain(["/v1", "/v1/", "/v1/nothing", "/v1/me/trail/../nothing"]) {
        let answer = host.get(path);
        let content = answer.headers["content-type"].as_str();
        assert_eq!(
            (answer.status, content),
            (404, "application/problem+json"),
            "{path}"
        );
        let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(problem["type"], "https://sharetrail.org/problems/not-found");
        assert_eq!(problem["status"], 404);
    }
    for path in [
        "/nothing",
        "/me/nothing",
        "/keys/vrf.key",
        "/ledger.toml",
        "/../ledger.toml",
    ] {
        let answer = host.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.headers["content-type"].starts_with("text/html"), "{path}");
    }
}

/// The fault: an answer cannot be found in the log, can be shown inside of another site, or is kept by a browser.
#[test]
fn every_answer_has_a_number_and_says_what_browsers_may_do() {
    let host = Whole::new(LimitSettings::default());
    let mut numbers = Vec::new();
    for path in [
        "/healthz",
        "/nothing",
        "/v1/nothing",
        "/log/0/checkpoint",
        "/v1/me/trail",
    ] {
        let answer = host.get(path);
        assert_eq!(answer.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(answer.headers["x-frame-options"], "DENY", "{path}");
        assert!(answer.headers.contains_key("referrer-policy"), "{path}");
        assert!(answer.headers.contains_key("cache-control"), "{path}");
        numbers.push(answer.headers["x-request-id"].clone());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_method_that_is_not_taken_is_told_with_those_that_are() {
    let host = Whole::new(LimitSettings::default());
    for path in ["/healthz", "/readyz", "/log/0/checkpoint", "/policy"] {
        let answer = host.ask("DELETE", path, "");
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.headers["allow"].contains("GET"), "{path}");
        assert_eq!(
            answer.headers["content-type"], "application/problem+json",
            "{path}"
        );
    }
    let (whole, head) = (
        host.get("/log/0/tile/0/000"),
        host.ask("HEAD", "/log/0/tile/0/000", ""),
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.headers["content-length"], whole.body.len().to_string());
}

/// The fault: what is sent to `/v1/events` fills the memory, or somebody who sends a byte a minute holds a handler for
/// ever.
#[test]
fn a_body_that_is_too_large_or_does_not_come_is_not_waited_for() {
    let limits = LimitSettings {
        body_bytes: 10_000,
        request_seconds: 2,
        ..LimitSettings::default()
    };
    let host = Whole::new(limits);
    let token = host.token();
    let sent = |length: usize, body: &[u8]| {
        let lines =
            format!("{token}Content-Type: application/cloudevents+json\r\nContent-Length: {length}\r\n");
        send(host.server.address(), "POST", "/v1/events", &lines, body)
    };
    let large = sent(1_000_000, &vec![b' '; 1_000_000]);
    assert_eq!(large.status, 413);
    let began = Instant::now();
    let slow = sent(5_000, b"{\"specversion\":");
    assert_eq!(slow.status, 408);
    assert!(began.elapsed() < Duration::from_secs(20));
    let whole = sent(2, b"{}");
    assert!([400, 422].contains(&whole.status), "{}", whole.status);
}

/// The fault: ten thousand who connect and say nothing take every file or every thread.
#[test]
fn many_idle_connections_are_held_and_keep_nobody_out() {
    let host = Whole::new(LimitSettings::default());
    // This process holds both ends.
    let files = rlimit::Resource::NOFILE.get_soft().unwrap();
    let count = files.saturating_sub(700).min(4_000) / 2;
    let request = b"GET /healthz HTTP/1.1\r\nHost: host\r\n\r\n";
    let mut idle = Vec::new();
    for round in 0..count {
        let mut stream = TcpStream::connect(host.server.address()).unwrap();
        if round % 4 == 0 {
            stream.write_all(request).unwrap();
        }
        idle.push(stream);
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(host.get("/log/0/checkpoint").status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    // They are held: the last one that has not asked yet is answered.
    let last = idle.last_mut().unwrap();
    last.write_all(request).unwrap();
    last.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut first = [0; 12];
    last.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let began = Instant::now();
    host.server.stop();
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// The fault: where all places are taken, nobody gets one until somebody goes.
#[test]
fn whoever_is_silent_longest_makes_room() {
    let limits = LimitSettings {
        connections: 50,
        ..LimitSettings::default()
    };
    let host = Whole::new(limits);
    let silent: Vec<TcpStream> = (0..150)
        .map(|_| TcpStream::connect(host.server.address()).unwrap())
        .collect();
    for _ in 0..5 {
        assert_eq!(host.get("/healthz").status, 200);
    }
    drop(silent);
}

/// The fault: a proxy on this machine hands the operator's numbers to everybody.
#[test]
fn the_numbers_are_for_this_machine() {
    let host = Whole::new(LimitSettings::default());
    assert_eq!(host.get("/healthz").status, 200);
    let answer = host.get("/metrics");
    assert_eq!(answer.status, 200);
    assert!(answer.headers["content-type"].starts_with("application/openmetrics-text"));
    let text = String::from_utf8(answer.body).unwrap();
    let size = host.place.open().reader(0).unwrap().size().0;
    for line in [
        "sharetrail_http_requests_total{route=\"/healthz\",method=\"GET\",status=\"2xx\"} 1".to_owned(),
        format!("sharetrail_log_leaves{{shard=\"0\"}} {size}"),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    assert_eq!(
        host.ask("GET", "/metrics", "X-Forwarded-For: 192.0.2.1\r\n")
            .status,
        404
    );
    let ready = host.get("/readyz");
    assert_eq!(ready.status, 200);
    let ready: serde_json::Value = serde_json::from_slice(&ready.body).unwrap();
    assert_eq!(
        (&ready["ready"], &ready["shards"][0]["leaves"]),
        (&true.into(), &size.into())
    );
}

/// The fault: one stranger keeps the server busy, or one who checks a whole log is taken for such a stranger.
#[test]
fn a_stranger_who_asks_too_much_waits() {
    let limits = LimitSettings {
        stranger_per_second: 1,
        ..LimitSettings::default()
    };
    let host = Whole::new(limits);
    let refused = (0..100)
        .map(|_| host.get("/v1/nothing"))
        .find(|answer| answer.status == 429);
    let refused = refused.unwrap();
    assert!(refused.headers["retry-after"].parse::<u32>().unwrap() > 0);
    let wrong = "Authorization: Bearer st_wrong\r\n";
    let is_refused = |_| host.ask("POST", "/v1/events", wrong).status == 429;
    assert!((0..100).any(is_refused));
    for _ in 0..100 {
        assert_eq!(host.get("/log/0/checkpoint").status, 200);
    }
}

/// The fault: an auditor who reads a log makes the server read its disk for each file that never changes.
#[test]
fn a_full_tile_is_answered_from_memory_and_a_checkpoint_never() {
    let host = Whole::new(LimitSettings::default());
    let (tile, checkpoint) = ("/log/0/tile/0/000", "/log/0/checkpoint");
    let first = host.get(tile);
    assert_eq!((first.status, host.get(checkpoint).status), (200, 200));
    let copy = host.place.root.join("log/0/tile/0/000");
    fs::remove_file(&copy).unwrap();
    assert_eq!(host.get(tile).body, first.body);
    let published = host.place.root.join("log/0/checkpoint");
    let aside = host.place.root.join("log/0/aside");
    fs::rename(&published, &aside).unwrap();
    assert_eq!(host.get(checkpoint).status, 404);
    fs::rename(&aside, &published).unwrap();
    fs::write(&copy, &first.body).unwrap();
}

fn tls_file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "tls", name]
        .iter()
        .collect()
}

/// Asks over TLS, with a certificate of its own or without; nothing where the server does not want to talk.
fn ask_over_tls(address: SocketAddr, shown: Option<&str>, head: &str) -> Option<Answer> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = |name: &str| CertificateDer::from_pem_file(tls_file(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.pem")).unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let key = PrivateKeyDer::from_pem_file(tls_file(&format!("{who}.key"))).unwrap();
            let chain = vec![certificate(&format!("{who}.pem"))];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let server = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), server).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let mut stream = StreamOwned::new(connection, socket);
    stream.write_all(head.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // The server may end without a word of farewell.
    let _ = stream.read_to_end(&mut bytes);
    (!bytes.is_empty()).then(|| parse(&bytes))
}

/// The fault: a service that shows a certificate is taken for nobody, or one that shows none, or a wrong one, for a
/// service.
#[test]
fn a_certificate_shows_who_a_service_is() {
    let host = Whole::with(HttpSettings {
        tls: Some(TlsSettings {
            certificate: tls_file("server.pem"),
            key: tls_file("server.key"),
            client_ca: Some(tls_file("ca.pem")),
        }),
        ..HttpSettings::default()
    });
    let address = host.server.address();
    let answer = ask_over_tls(address, None, &head("GET", "/healthz", "")).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.headers.contains_key("strict-transport-security"));
    let lines = "Content-Type: application/cloudevents+json\r\nContent-Length: 2\r\n";
    let record = format!("{}{{}}", head("POST", "/v1/events", lines));
    let nobody = ask_over_tls(address, None, &record).unwrap();
    assert_eq!(nobody.status, 401);
    let service = ask_over_tls(address, Some("client"), &record).unwrap();
    assert!([400, 422].contains(&service.status), "{}", service.status);
    // A certificate of the same authority that is not a client's.
    assert!(ask_over_tls(address, Some("server"), &record).is_none());
}
