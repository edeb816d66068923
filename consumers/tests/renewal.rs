//! What is exchanged or ended under a server at work: its certificates, a session with its streams; and what it says of a
//! change of which it does not know the end.
//!
//! In scope: all of it over real sockets. Out of scope: who gets in (`auth`, `tls`), how often files are looked at (the
//! program that serves).

use std::fs;
use std::future::pending;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sharetrail_consumers::http::{
    DemoIssuer, DemoPerson, Hands, HandsError, HttpOptions, HttpServer, HttpSettings, LimitSettings,
    Recording, TlsSettings,
};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{ConsumerError, Shelf, Watch};
use sharetrail_ledger::LedgerError;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use tempfile::TempDir;

use crate::support::hands::TestHands;
use crate::support::http::{Answer, ask, send};
use crate::support::served::Served;
use crate::support::tokens::Tokens;
use crate::support::{ANY_PORT, TestLedger, at, consent, story};

const CUSTOMER: &str = "customer-0";
const CERTIFICATE: &str = "cert.pem";
const KEY: &str = "key.pem";
const CLIENTS: &str = "clients.pem";
const WAIT: Duration = Duration::from_secs(30);
/// Within this nothing is sent to keep a stream alive.
const SOON: Duration = Duration::from_secs(10);

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "tls", name]
        .iter()
        .collect()
}

/// The files of a server's TLS, where somebody renews them.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.put("server.pem", CERTIFICATE);
        files.put("server.key", KEY);
        files.put("ca.pem", CLIENTS);
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, from: &str, to: &str) {
        self.write(to, &fs::read(fixture(from)).unwrap());
    }

    fn write(&self, to: &str, bytes: &[u8]) {
        fs::write(self.path(to), bytes).unwrap();
    }

    fn settings(&self) -> HttpSettings {
        HttpSettings {
            tls: Some(TlsSettings {
                certificate: self.path(CERTIFICATE),
                key: self.path(KEY),
                client_ca: Some(self.path(CLIENTS)),
            }),
            ..HttpSettings::default()
        }
    }
}

type Line = StreamOwned<ClientConnection, TcpStream>;

/// A connection of somebody who trusts this authority, and shows a certificate or none.
fn line(address: SocketAddr, authority: &str, shown: Option<&str>) -> Line {
    let certificate = |name: &str| CertificateDer::from_pem_file(fixture(name)).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match shown {
        None => builder.with_no_client_auth(),
        Some(who) => {
            let key = PrivateKeyDer::from_pem_file(fixture(&format!("{who}.key"))).unwrap();
            let chain = vec![certificate(&format!("{who}.pem"))];
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let server = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), server).unwrap();
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(WAIT)).unwrap();
    StreamOwned::new(connection, socket)
}

/// Whether a request over a connection is answered. It stays open.
fn is_answered(line: &mut Line) -> bool {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    if line.write_all(request).is_err() {
        return false;
    }
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    while !bytes.ends_with(b"\r\n\r\nok\n") {
        match line.read(&mut part) {
            Ok(count @ 1..) => bytes.extend_from_slice(&part[..count]),
            _ => return false,
        }
    }
    bytes.starts_with(b"HTTP/1.1 200 ")
}

/// The fault: a certificate that was renewed runs out in a server at work; an authority that was taken out still lets its
/// services in; or whoever is connected is cut off.
#[test]
fn whoever_connects_gets_the_renewed_files() {
    let (place, files) = (TestLedger::new(1), Files::new());
    let served = Served::new(&place, files.settings(), None);
    let address = served.server.address();
    let answers = |authority, shown| is_answered(&mut line(address, authority, shown));
    let renew = || served.server.renew_certificates().unwrap();
    let mut open = line(address, "ca.pem", Some("client"));
    assert!(is_answered(&mut open));
    assert!(answers("ca.pem", None) && !answers("next-ca.pem", None));
    assert!(!renew());

    files.put("next.pem", CERTIFICATE);
    files.put("next.key", KEY);
    assert!(answers("ca.pem", None), "nobody has read them yet");
    assert!(renew());
    assert!(answers("next-ca.pem", None) && !answers("ca.pem", None));
    assert!(answers("next-ca.pem", Some("client")) && !answers("next-ca.pem", Some("other")));

    files.put("other-ca.pem", CLIENTS);
    assert!(renew());
    assert!(answers("next-ca.pem", Some("other")) && !answers("next-ca.pem", Some("client")));
    assert!(!renew());
    assert!(is_answered(&mut open));
}

/// The fault: a file that is half written, or was put there by mistake, ends the server's TLS; or nobody learns which
/// file it is.
#[test]
fn files_that_are_not_good_leave_the_old_ones_in_force() {
    let (place, files) = (TestLedger::new(1), Files::new());
    let served = Served::new(&place, files.settings(), None);
    let address = served.server.address();
    let answers = |authority| is_answered(&mut line(address, authority, Some("client")));
    let check = |named: &str| {
        match served.server.renew_certificates() {
            Err(ConsumerError::Ledger(
                LedgerError::Damaged { path, .. } | LedgerError::File { path, .. },
            )) => assert_eq!(path, files.path(named)),
            other => panic!("{named}: {other:?}"),
        }
        assert!(answers("ca.pem"), "{named}");
    };
    // The certificate is there, its key not yet.
    files.put("next.pem", CERTIFICATE);
    check(KEY);
    let half = fs::read(fixture("next.pem")).unwrap();
    files.write(CERTIFICATE, &half[..half.len() / 2]);
    check(CERTIFICATE);
    files.write(CERTIFICATE, b"");
    check(CERTIFICATE);
    files.put("server.pem", CERTIFICATE);
    files.put("server.pem", KEY);
    check(KEY);
    fs::remove_file(files.path(KEY)).unwrap();
    check(KEY);
    files.put("server.key", KEY);
    files.write(CLIENTS, b"nobody");
    check(CLIENTS);
    files.put("ca.pem", CLIENTS);
    assert!(!served.server.renew_certificates().unwrap());
    files.put("next.pem", CERTIFICATE);
    files.put("next.key", KEY);
    assert!(served.server.renew_certificates().unwrap());
    assert!(answers("next-ca.pem"));
}

/// `name=value` of a cookie that an answer sets.
#[track_caller]
fn cookie_of(answer: &Answer, name: &str) -> String {
    let start = format!("{name}=");
    let mut set = answer.headers.iter().filter(|(header, _)| header == "set-cookie");
    let (_, line) = set.find(|(_, line)| line.starts_with(&start)).unwrap();
    line.split(';').next().unwrap().to_owned()
}

/// Signs in as a browser does, and gives the session's cookie.
fn sign_in(server: &HttpServer) -> String {
    let own = server.url();
    let go = |place: &str, cookie: &str| {
        let path = place.strip_prefix(own.as_str()).unwrap_or(place);
        let answer = ask(
            server.address(),
            &format!("GET {path}"),
            &[("Cookie", cookie)],
            b"",
        );
        assert_eq!(answer.status, 303, "{path}: {}", answer.text());
        answer
    };
    let begun = go("/signin?to=/me", "none=yet");
    let cookie = cookie_of(&begun, "sharetrail-signin");
    let choice = format!("{}&who={CUSTOMER}", begun.header("location").unwrap());
    let chosen = go(&choice, &cookie);
    let back = go(chosen.header("location").unwrap(), &cookie);
    cookie_of(&back, "sharetrail")
}

fn sign_out(server: &HttpServer, cookie: &str) {
    let (address, own) = (server.address(), server.url());
    let page = ask(address, "GET /me/choices", &[("Cookie", cookie)], b"");
    let text = page.text();
    let (_, rest) = text.split_once("name=\"csrf\" value=\"").unwrap();
    let body = format!("csrf={}", rest.split('"').next().unwrap());
    let headers = [
        ("Cookie", cookie),
        ("Origin", own.as_str()),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let answer = ask(address, "POST /signout", &headers, body.as_bytes());
    assert_eq!(answer.status, 303, "{}", answer.text());
}

/// A stream that has begun.
fn stream(server: &HttpServer, shown: &[(&str, &str)]) -> TcpStream {
    let mut stream = send(server.address(), "GET /v1/me/stream", shown, b"");
    let (mut text, mut part) = (String::new(), [0; 4096]);
    while !text.contains(": listening") {
        let count = stream.read(&mut part).unwrap();
        assert!(count > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..count]));
    }
    stream
}

/// Whether the server ends a stream in this time.
fn ends(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (until, mut part) = (Instant::now() + time, [0; 4096]);
    while Instant::now() < until {
        match stream.read(&mut part) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
                "{error}"
            ),
        }
    }
    false
}

/// The fault: somebody signs out at a shared machine, and a window that was left open goes on telling what is new; or
/// signing out in one browser ends what another one, or a program, listens to.
#[test]
fn signing_out_ends_the_streams_of_that_session_alone() {
    let place = TestLedger::new(1);
    place.record(story(CUSTOMER));
    let person = DemoPerson {
        id: CUSTOMER.into(),
        name: "Ada".into(),
        told: "has a comb".into(),
        is_officer: false,
    };
    let demo = DemoIssuer::new(vec![person]).unwrap();
    let served = Served::new(&place, HttpSettings::default(), Some(demo));
    let server = &served.server;
    let (cookie, other) = (sign_in(server), sign_in(server));
    let token = ask(server.address(), &format!("GET /demo/token/{CUSTOMER}"), &[], b"").text();
    let bearer = format!("Bearer {token}");
    let mut own = [
        stream(server, &[("Cookie", cookie.as_str())]),
        stream(server, &[("Cookie", cookie.as_str())]),
    ];
    let mut others = [
        stream(server, &[("Cookie", other.as_str())]),
        stream(server, &[("Authorization", bearer.as_str())]),
        // What is shown counts, not the cookie that comes along.
        stream(
            server,
            &[("Authorization", bearer.as_str()), ("Cookie", cookie.as_str())],
        ),
    ];
    for stream in &mut own {
        assert!(!ends(stream, Duration::from_millis(300)));
    }
    sign_out(server, &cookie);
    for stream in &mut own {
        assert!(ends(stream, SOON));
    }
    for stream in &mut others {
        assert!(!ends(stream, Duration::from_millis(300)));
    }
    let again = ask(
        server.address(),
        "GET /v1/me/stream",
        &[("Cookie", cookie.as_str())],
        b"",
    );
    assert_eq!(again.status, 401);
    sign_out(server, &other);
    let [other, by_token, ..] = &mut others;
    assert!(ends(other, SOON));
    assert!(!ends(by_token, Duration::from_millis(300)));
}

/// A server over these hands, and its projections, which nobody folds beside it.
fn with_hands(
    place: &TestLedger,
    settings: HttpSettings,
    hands: impl FnOnce(Arc<TestHands>) -> Arc<dyn Hands>,
) -> (HttpServer, Arc<Shelf>) {
    let ledger = place.open();
    let own = TestHands::new(&ledger);
    let vault = Arc::clone(own.engine.vault());
    let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
    let options = HttpOptions {
        watch: Watch::new(&ledger, &vault, &shelf),
        ledger,
        vault,
        shelf: Arc::clone(&shelf),
        hands: hands(own),
        settings,
        listen: ANY_PORT,
        secret: [8; 32],
        demo: None,
    };
    (HttpServer::open(options).unwrap(), shelf)
}

/// Takes what is handed in, and never says what became of it.
struct Silent(Arc<TestHands>);

impl Hands for Silent {
    fn record(&self, _: &Name, _: Vec<u8>) -> Recording {
        Recording {
            is_taken: true,
            accepted: Box::pin(pending()),
            sealed: Box::pin(pending()),
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        self.0.erase(label, generation)
    }
}

/// The fault: a program whose request is being recorded is told to try again later, does so by itself, and asks twice; or
/// a person is shown what programs are told, and no way to where they see what became of it.
#[test]
fn a_change_of_unknown_outcome_is_not_to_be_tried_later() {
    let (place, tokens) = (TestLedger::new(1), Tokens::new());
    place.record(story(CUSTOMER));
    let settings = HttpSettings {
        oidc: Some(tokens.settings()),
        limits: LimitSettings {
            request_seconds: 3,
            ..LimitSettings::default()
        },
        ..HttpSettings::default()
    };
    let (server, _shelf) = with_hands(&place, settings, |hands| Arc::new(Silent(hands)));
    let bearer = format!("Bearer {}", tokens.customer(CUSTOMER));
    let ask_for = |request: &str, media: &str, body: &str| {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", media)];
        let asked = ask(server.address(), request, &headers, body.as_bytes());
        assert_eq!(asked.status, 504, "{}", asked.text());
        assert_eq!(asked.header("retry-after"), None);
        asked
    };
    let asked = ask_for(
        "POST /v1/me/requests",
        "application/json",
        r#"{"right":"access"}"#,
    );
    let problem = asked.json();
    assert_eq!(problem["type"], "https://sharetrail.org/problems/outcome-unknown");
    // Whoever looks, as they are told to, is answered though the change has no end.
    let shown = [("Authorization", bearer.as_str())];
    let looked = ask(server.address(), "GET /v1/me/requests", &shown, b"");
    assert_eq!(looked.status, 200, "{}", looked.text());

    let page = ask_for(
        "POST /me/requests",
        "application/x-www-form-urlencoded",
        "right=portability",
    );
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let text = page.text();
    assert!(
        text.contains("href=\"/me/requests\"") && !text.contains("/v1/"),
        "{text}"
    );
}

/// Takes so many contents, which are recorded, and says of each that it has stopped: as a courier says it of frames that
/// wait in its outbox. All others are refused before they are handed in.
struct Stopping {
    hands: Arc<TestHands>,
    takes: usize,
    handed_in: AtomicUsize,
}

impl Hands for Stopping {
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording {
        let stopped = HandsError::Stopped("the bus is away".to_owned());
        if self.handed_in.fetch_add(1, Ordering::Relaxed) >= self.takes {
            return Recording::refused(stopped);
        }
        // To drop it does not take it back.
        drop(self.hands.record(producer, content));
        Recording {
            is_taken: true,
            ..Recording::refused(stopped)
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        self.hands.erase(label, generation)
    }
}

/// The fault: a program is told to try later what lies in an outbox and will be recorded, or of which the first half is
/// recorded; or it is not told so of what was never taken.
#[test]
fn only_what_was_never_taken_may_be_tried_again() {
    for (takes, status) in [(0, 503), (1, 504), (2, 504)] {
        let (place, tokens) = (TestLedger::new(1), Tokens::new());
        place.record([
            consent(CUSTOMER, "one").time(at(0)),
            consent(CUSTOMER, "two").time(at(1)),
        ]);
        let settings = HttpSettings {
            oidc: Some(tokens.settings()),
            ..HttpSettings::default()
        };
        let (server, shelf) = with_hands(&place, settings, |hands| {
            Arc::new(Stopping {
                hands,
                takes,
                handed_in: AtomicUsize::new(0),
            })
        });
        shelf.catch_up().unwrap();
        let bearer = format!("Bearer {}", tokens.customer(CUSTOMER));
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/json"),
        ];
        // Each of the two consents is withdrawn by an event of its own.
        let off = br#"{"purpose":"dpv:Marketing","allowed":false}"#;
        let answer = ask(server.address(), "POST /v1/me/choices", &headers, off);
        assert_eq!(answer.status, status, "{takes}: {}", answer.text());
        assert_eq!(answer.header("retry-after").is_some(), status == 503, "{takes}");

        let withdrawn = || {
            shelf.catch_up().unwrap();
            let path = "GET /v1/me/trail?kind=consent.withdrawn";
            let trail = ask(server.address(), path, &headers[..1], b"").json();
            trail["events"].as_array().unwrap().len()
        };
        let until = Instant::now() + WAIT;
        while withdrawn() < takes && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(withdrawn(), takes);
    }
}
