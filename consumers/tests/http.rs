//! The server of a host, asked over real sockets.
//!
//! In scope: files as they lie, what is not there, who is let in, many connections, the limits, which server says that it is a
//! demonstration. Out of scope: the client that hosts use (`peer`), what the API and the pages say else, TLS (`tls`).

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::json;
use sharetrail_consumers::ConsumerError;
use sharetrail_consumers::http::{
    DemoIssuer, HttpServer, HttpSettings, LimitSettings, OidcSettings, ServiceTokens,
};
use sharetrail_ledger::host::peer::{PeerKey, minute_now};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tiles::FULL_WIDTH;

use crate::support::http::{Answer, ask, send_raw};
use crate::support::served::Served;
use crate::support::tokens::Tokens;
use crate::support::{ANY_PORT, SHOP, TestLedger, customers, files_below, name, story};

const SECRET: [u8; 32] = [8; 32];

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
        self.ask("GET", path, &[])
    }

    fn get_with(&self, path: &str, authorization: &str) -> Answer {
        self.ask("GET", path, &[("Authorization", authorization)])
    }

    /// Sends a request with this very path.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.server.address(), &format!("{method} {path}"), headers, b"")
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
        let [content, caching] =
            ["content-type", "cache-control"].map(|header| answer.header(header).unwrap());
        if name == "checkpoint" {
            assert_eq!((content, caching), ("text/plain; charset=utf-8", "no-cache"));
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
    assert_eq!(host.ask("POST", "/log/0/checkpoint", &[]).status, 405);
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
        assert_eq!(answer.header("sharetrail-size"), Some(size.to_string().as_str()));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
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
        assert!(answer.header("www-authenticate").is_some());
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
    assert_eq!(ask(address, "GET /healthz", &[], b"").status, 200);
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
        let settings = HttpSettings {
            limits,
            ..HttpSettings::default()
        };
        let place = TestLedger::new(1);
        place.record(customers(80).iter().flat_map(|customer| story(customer)));
        let Served { server, .. } = Served::new(&place, settings, None);
        Self { server, place }
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        ask(self.server.address(), &format!("{method} {path}"), headers, b"")
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
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("application/problem+json")),
            "{path}"
        );
        let problem = answer.json();
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
        assert!(
            answer.header("content-type").unwrap().starts_with("text/html"),
            "{path}"
        );
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
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{path}");
        assert!(answer.header("referrer-policy").is_some(), "{path}");
        assert!(answer.header("cache-control").is_some(), "{path}");
        numbers.push(answer.header("x-request-id").unwrap().to_owned());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 5);
}

#[test]
fn a_method_that_is_not_taken_is_told_with_those_that_are() {
    let host = Whole::new(LimitSettings::default());
    for path in ["/healthz", "/readyz", "/log/0/checkpoint", "/policy"] {
        let answer = host.ask("DELETE", path, &[]);
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.header("allow").unwrap().contains("GET"), "{path}");
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json"),
            "{path}"
        );
    }
    let (whole, head) = (
        host.get("/log/0/tile/0/000"),
        host.ask("HEAD", "/log/0/tile/0/000", &[]),
    );
    assert_eq!((head.status, head.body.len()), (200, 0));
    let length = whole.body.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
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
    let token = ServiceTokens::add(&host.place.root, &name(SHOP), "test").unwrap();
    // `length` is what the head promises, which need not come.
    let sent = |length: usize, body: &[u8]| {
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nHost: host\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/cloudevents+json\r\nContent-Length: {length}\r\n\r\n"
        );
        Answer::read(send_raw(host.server.address(), &[head.as_bytes(), body].concat()))
    };
    let large = sent(1_000_000, &vec![b' '; 1_000_000]);
    assert_eq!(large.status, 413);
    let began = Instant::now();
    let slow = sent(5_000, b"{\"specversion\":");
    assert_eq!(slow.status, 408);
    assert!(began.elapsed() < Duration::from_secs(20));
    // A stranger changes nothing: it is their fault, and no alarm of this host.
    let left = b"POST /signout HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ncsrf=";
    let left = Answer::read(send_raw(host.server.address(), left));
    assert_eq!(left.status, 408);
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
    let content = answer.header("content-type").unwrap();
    assert!(content.starts_with("application/openmetrics-text"));
    let text = answer.text();
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
    let passed_on = host.ask("GET", "/metrics", &[("X-Forwarded-For", "192.0.2.1")]);
    assert_eq!(passed_on.status, 404);
    let ready = host.get("/readyz");
    assert_eq!(ready.status, 200);
    let ready = ready.json();
    assert_eq!(
        (&ready["ready"], &ready["shards"][0]["leaves"]),
        (&true.into(), &size.into())
    );
}

/// The fault: one stranger keeps the server busy, or one who checks a whole log is taken for such a stranger; or a person is
/// shown what programs are told.
#[test]
fn a_stranger_who_asks_too_much_waits() {
    let limits = LimitSettings {
        stranger_per_second: 1,
        ..LimitSettings::default()
    };
    let host = Whole::new(limits);
    for (path, media) in [
        ("/v1/nothing", "application/problem+json"),
        ("/auditor", "text/html; charset=utf-8"),
    ] {
        let refused = (0..100)
            .map(|_| host.get(path))
            .find(|answer| answer.status == 429);
        let refused = refused.unwrap();
        assert_eq!(refused.header("content-type"), Some(media), "{path}");
        assert!(refused.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    }
    let wrong = [("Authorization", "Bearer st_wrong")];
    let is_refused = |_| host.ask("POST", "/v1/events", &wrong).status == 429;
    assert!((0..100).any(is_refused));
    for _ in 0..100 {
        assert_eq!(host.get("/log/0/checkpoint").status, 200);
    }
}

/// The fault: a true server behind a proxy on its own machine, whose provider has the address that the demonstration's
/// would have, passes for a demonstration, and browsers let go of what they remember of its ledger.
#[test]
fn only_a_server_with_the_demonstrations_provider_bears_its_mark() {
    const ISSUER: &str = "http://127.0.0.1:8433/demo/issuer";
    let customer = "customer-0";
    let tokens = Tokens::new();
    let oidc = OidcSettings {
        issuer: ISSUER.into(),
        ..tokens.settings()
    };
    let alike = HttpSettings {
        public_url: Some("http://127.0.0.1:8433".into()),
        oidc: Some(oidc),
        ..HttpSettings::default()
    };
    let demo = DemoIssuer::new(Vec::new()).unwrap();
    for (settings, demo) in [(alike, None), (HttpSettings::default(), Some(demo))] {
        let is_demo = demo.is_some();
        let place = TestLedger::new(1);
        place.record(story(customer));
        let served = Served::new(&place, settings, demo);
        let address = served.server.address();
        let token = if is_demo {
            ask(address, &format!("GET /demo/token/{customer}"), &[], b"").text()
        } else {
            tokens.sign(&json!({ "iss": ISSUER, "customer": customer }))
        };
        let bearer = format!("Bearer {token}");
        let page = ask(address, "GET /me/proof", &[("Authorization", &bearer)], b"");
        assert_eq!(page.status, 200, "{}", page.text());
        assert_eq!(page.text().contains(" data-demo="), is_demo);
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
