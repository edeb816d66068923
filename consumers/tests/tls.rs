//! The server over TLS: certificates of services, and what browsers keep.
//!
//! In scope: whom a client's certificate makes of a request, which certificates count, that sessions stay on TLS.
//! Out of scope: what is recorded (`events`), signing in as such (`auth`).

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use serde_json::json;
use sharetrail_consumers::http::{HttpServer, HttpSettings, LimitSettings, OidcSettings, TlsSettings};
use sharetrail_consumers::store::StoreKind;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::support::hands::TestHands;
use crate::support::http::Answer;
use crate::support::served::Served;
use crate::support::tokens::Tokens;
use crate::support::{ANY_PORT, HOUSE, SHOP, TestLedger, customers, name, story};

const NEW_CUSTOMER: &str = "customer-of-tls";
const EVENT: &str = "Content-Type: application/cloudevents+json\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "tls", name]
        .iter()
        .collect()
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(file(name)).unwrap()
}

/// A server with a certificate. It ends before what it works on.
struct Host {
    server: HttpServer,
    _hands: Arc<TestHands>,
    place: TestLedger,
}

impl Host {
    /// `client_ca`: whose certificates of services it takes.
    fn new(client_ca: &str, settings: HttpSettings) -> Self {
        let place = TestLedger::new(1);
        place.record(customers(3).iter().flat_map(|customer| story(customer)));
        let settings = HttpSettings {
            tls: Some(TlsSettings {
                certificate: file("server.pem"),
                key: file("server.key"),
                client_ca: Some(file(client_ca)),
            }),
            ..settings
        };
        let Served { server, hands, .. } = Served::new(&place, settings, None);
        Self {
            server,
            _hands: hands,
            place,
        }
    }

    fn client(&self, shown: Option<&str>) -> Client {
        Client::new(self.server.address(), shown, &TLS13)
    }

    fn get(&self, path: &str, lines: &str) -> Answer {
        self.client(None).ask("GET", path, lines, "").unwrap()
    }
}

/// Somebody who asks over TLS, each time over a connection of its own.
struct Client {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Client {
    fn new(address: SocketAddr, shown: Option<&str>, version: &'static SupportedProtocolVersion) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let config = match shown {
            None => builder.with_no_client_auth(),
            Some(who) => {
                let key = PrivateKeyDer::from_pem_file(file(&format!("{who}.key"))).unwrap();
                let chain = vec![certificate(&format!("{who}.pem"))];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self {
            address,
            connector: TlsConnector::from(Arc::new(config)),
        }
    }

    /// The answer; none where the server does not want to talk. `lines`: of the head, each with its end.
    fn ask(&self, method: &str, path: &str, lines: &str, body: &str) -> Option<Answer> {
        let (address, length) = (self.address, body.len());
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n");
        let whole = format!("{head}Connection: close\r\n{lines}\r\n{body}");
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let talk = self.talk(whole.as_bytes());
        let bytes = runtime.block_on(async { timeout(Duration::from_mins(1), talk).await.unwrap() });
        bytes
            .ok()
            .filter(|bytes| !bytes.is_empty())
            .map(|bytes| Answer::parse(&bytes))
    }

    async fn talk(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let socket = TcpStream::connect(self.address).await?;
        let server = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(server, socket).await?;
        write_all(&mut stream, request).await?;
        let mut answer = Vec::new();
        // The server may end without a word of farewell.
        while let Ok(1..) = read(&mut stream, &mut answer).await {}
        Ok(answer)
    }
}

async fn write_all(stream: &mut TlsStream<TcpStream>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await?;
        bytes = &bytes[count..];
    }
    poll_fn(|context| Pin::new(&mut *stream).poll_flush(context)).await
}

async fn read(stream: &mut TlsStream<TcpStream>, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut part = [0; 8192];
    let mut buffer = ReadBuf::new(&mut part);
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut buffer)).await?;
    into.extend_from_slice(buffer.filled());
    Ok(buffer.filled().len())
}

impl Answer {
    /// The value of a cookie that it sets, which must be for this host alone and never go without TLS.
    #[track_caller]
    fn secure_cookie(&self, cookie: &str) -> String {
        let start = format!("{cookie}=");
        let mut set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let (_, line) = set.find(|(_, line)| line.starts_with(&start)).unwrap();
        let (value, attributes) = line[start.len()..].split_once("; ").unwrap();
        let attributes: Vec<&str> = attributes.split("; ").collect();
        for wanted in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
            assert!(attributes.contains(&wanted), "{line}");
        }
        assert!(!line.to_ascii_lowercase().contains("domain="), "{line}");
        value.to_owned()
    }
}

fn event(id: &str) -> String {
    json!({
        "specversion": "1.0",
        "id": id,
        "source": "/till",
        "type": "org.sharetrail.consent.withdrawn.v1",
        "subject": NEW_CUSTOMER,
        "time": "2026-01-31T12:00:00Z",
        "data": { "consent": "enrol-42" },
    })
    .to_string()
}

/// The fault: what a service records under its certificate stands under nobody's name, or another's; or it is believed
/// on its first connection only.
#[test]
fn a_certificate_names_the_producer() {
    let host = Host::new("ca.pem", HttpSettings::default());
    for version in [&TLS13, &TLS12] {
        let client = Client::new(host.server.address(), Some("client"), version);
        // The second connection may go on with the keys of the first.
        for round in 0..2 {
            let body = event(&format!("{:?}-{round}", version.version));
            let answer = client
                .ask("POST", "/v1/events?wait=sealed", EVENT, &body)
                .unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["recorded"], 1);
        }
    }
    drop(host.server);
    let trail = host
        .place
        .trail(&host.place.project(StoreKind::Sled), NEW_CUSTOMER);
    assert_eq!(trail.events.len(), 4);
    assert!(trail.events.iter().all(|event| event.producer == name(SHOP)));
}

/// The fault: whoever shows nothing records, or a certificate opens what is for people.
#[test]
fn without_a_certificate_a_service_is_nobody_and_with_one_it_is_no_person() {
    let host = Host::new("ca.pem", HttpSettings::default());
    let nobody = host.client(None).ask("POST", "/v1/events", EVENT, &event("1"));
    assert_eq!(nobody.unwrap().status, 401);
    let service = host.client(Some("client"));
    for path in ["/v1/me/trail", "/v1/officer/requests"] {
        assert_eq!(service.ask("GET", path, "", "").unwrap().status, 401, "{path}");
    }
    // What a request shows in its head counts before the certificate, good or not.
    let lines = format!("{EVENT}Authorization: Bearer st_{}\r\n", "A".repeat(43));
    let both = service.ask("POST", "/v1/events", &lines, &event("1"));
    assert_eq!(both.unwrap().status, 401);
}

/// The fault: anybody makes a certificate with a producer's name and records for it.
#[test]
fn a_certificate_of_another_authority_is_refused() {
    let host = Host::new("ca.pem", HttpSettings::default());
    for version in [&TLS13, &TLS12] {
        let stranger = Client::new(host.server.address(), Some("other"), version);
        let answer = stranger.ask("POST", "/v1/events", EVENT, &event("1"));
        assert_eq!(answer.map(|answer| answer.status), None);
    }
    // Of the right authority, but a server's.
    let server = host.client(Some("server"));
    assert!(server.ask("GET", "/healthz", "", "").is_none());
    assert_eq!(host.get("/healthz", "").status, 200);
    // The same certificate is good where its authority is the one that was named, and ours is not there.
    let other = Host::new("other-ca.pem", HttpSettings::default());
    let answer = other
        .client(Some("other"))
        .ask("POST", "/v1/events", EVENT, &event("1"));
    assert_eq!(answer.unwrap().status, 202);
    assert!(
        other
            .client(Some("client"))
            .ask("GET", "/healthz", "", "")
            .is_none()
    );
}

/// The fault: a service with a certificate is held to what a stranger may ask, since it sends no token.
#[test]
fn a_service_with_a_certificate_is_no_stranger() {
    let limits = LimitSettings {
        stranger_per_second: 1,
        ..LimitSettings::default()
    };
    let settings = HttpSettings {
        limits,
        ..HttpSettings::default()
    };
    let host = Host::new("ca.pem", settings);
    let service = host.client(Some("client"));
    let asked = json!({ "customer": "customer-1", "recipient": HOUSE, "purpose": "dpv:Marketing" });
    for round in 0..40 {
        let answer = service.ask("POST", "/v1/authorize", JSON, &asked.to_string());
        let answer = answer.unwrap();
        assert_eq!(answer.status, 200, "{round}: {}", answer.text());
    }
    let refused = (0..40).any(|_| host.get("/auditor", "").status == 429);
    assert!(refused, "a stranger is held to nothing");
    // A cookie that stands for nobody, or a token that is none, is no way around it.
    for lines in ["Cookie: __Host-sharetrail=x\r\n", "Authorization: Bearer x\r\n"] {
        let refused = (0..40).any(|_| host.get("/policy", lines).status == 429);
        assert!(refused, "{lines}");
    }
}

/// A sign-in provider on this machine that is asked twice: where it is, and for a token.
struct Provider {
    url: String,
    /// What the token is to carry.
    nonce: Arc<Mutex<String>>,
    thread: JoinHandle<()>,
}

impl Provider {
    fn new(tokens: Arc<Tokens>) -> Self {
        let listener = TcpListener::bind(ANY_PORT).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (issuer, nonce) = (url.clone(), Arc::new(Mutex::new(String::new())));
        let wanted = Arc::clone(&nonce);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let body = if request(&mut stream).starts_with("POST /token ") {
                    let nonce = wanted.lock().unwrap().clone();
                    let claims = json!({ "iss": issuer, "customer": "customer-1", "nonce": nonce });
                    json!({ "id_token": tokens.sign(&claims) })
                } else {
                    json!({
                        "issuer": issuer,
                        "jwks_uri": format!("{issuer}/keys"),
                        "authorization_endpoint": format!("{issuer}/authorize"),
                        "token_endpoint": format!("{issuer}/token"),
                    })
                };
                let body = body.to_string();
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                stream.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        Self { url, nonce, thread }
    }
}

/// Head and body of a request.
fn request(stream: &mut std::net::TcpStream) -> String {
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut part).unwrap();
        bytes.extend_from_slice(&part[..count]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        let is_whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
        });
        if is_whole || count == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
    }
}

/// The fault: a session's cookie goes over a connection that others read, or another host of the domain plants one.
#[test]
fn a_session_stays_on_tls() {
    let tokens = Arc::new(Tokens::new());
    let provider = Provider::new(Arc::clone(&tokens));
    let settings = HttpSettings {
        oidc: Some(OidcSettings {
            issuer: provider.url.clone(),
            ..tokens.settings()
        }),
        ..HttpSettings::default()
    };
    let host = Host::new("ca.pem", settings);
    let own = format!("https://{}", host.server.address());
    assert_eq!(host.server.url(), own);

    let begun = host.get("/signin?to=/me/choices", "");
    assert_eq!(begun.status, 303, "{}", begun.text());
    let way = Url::parse(begun.header("location").unwrap()).unwrap();
    let told = |wanted: &str| {
        let mut pairs = way.query_pairs();
        pairs.find(|(name, _)| name == wanted).unwrap().1.into_owned()
    };
    assert_eq!(told("redirect_uri"), format!("{own}/signin/return"));
    *provider.nonce.lock().unwrap() = told("nonce");
    let cookie = begun.secure_cookie("__Host-sharetrail-signin");
    let back = format!("/signin/return?code=c&state={}", told("state"));
    let done = host.get(&back, &format!("Cookie: __Host-sharetrail-signin={cookie}\r\n"));
    assert_eq!((done.status, done.header("location")), (303, Some("/me/choices")));
    let session = done.secure_cookie("__Host-sharetrail");
    provider.thread.join().unwrap();

    let page = host.get("/me/choices", &format!("Cookie: __Host-sharetrail={session}\r\n"));
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    assert!(page.header("strict-transport-security").is_some());
    assert!(page.header("content-security-policy").is_some());
    // Under the name that any host of the domain, and any connection without TLS, could set it is nothing.
    let planted = host.get("/me/choices", &format!("Cookie: sharetrail={session}\r\n"));
    assert_eq!(planted.header("location"), Some("/signin?to=%2Fme%2Fchoices"));
}

/// The fault: a request without TLS is answered, or keeps the server from answering others; or a browser is not told to
/// stay on TLS by whatever it asks first.
#[test]
fn without_tls_there_is_no_answer() {
    let host = Host::new("ca.pem", HttpSettings::default());
    let mut plain = std::net::TcpStream::connect(host.server.address()).unwrap();
    plain.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    plain
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes);
    assert!(!bytes.starts_with(b"HTTP/"));
    let answer = host.get("/healthz", "");
    assert_eq!(answer.status, 200);
    assert!(answer.header("strict-transport-security").is_some());
}
