//! The documents for programs, held against the server and against the files in `docs/`.
//!
//! In scope: that the files are what the server says, that every described route is there and answers as described. Out
//! of scope: what the answers say.
//!
//! After a change of a route: `SHARETRAIL_REGENERATE=1 cargo test -p sharetrail-consumers --test outside openapi`, and look at
//! the difference before you keep it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::hands::TestHands;
use crate::support::{TestLedger, name};
use serde_json::Value;
use sharetrail_consumers::http::{Hands, HttpOptions, HttpServer, HttpSettings, ServiceTokens};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Shelf, Watch};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const REGENERATE: &str = "SHARETRAIL_REGENERATE";
const METHODS: [&str; 7] = ["get", "post", "put", "patch", "delete", "options", "trace"];

/// A server at work. What is dropped first stands first.
struct Host {
    server: HttpServer,
    token: String,
    _hands: Arc<TestHands>,
    _place: TestLedger,
}

impl Host {
    fn new() -> Self {
        let place = TestLedger::new(2);
        let ledger = place.open();
        let hands = TestHands::new(&ledger, &["shop.example"]);
        let vault = Arc::new(ledger.vault().unwrap());
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let options = HttpOptions {
            watch: Watch::new(&ledger, &vault, &shelf),
            vault,
            shelf,
            hands: Arc::clone(&hands) as Arc<dyn Hands>,
            settings: HttpSettings::default(),
            listen: ANY_PORT,
            secret: [8; 32],
            demo: None,
            ledger: ledger.clone(),
        };
        Self {
            server: HttpServer::open(options).unwrap(),
            token: ServiceTokens::add(ledger.root(), &name("shop.example"), "test").unwrap(),
            _hands: hands,
            _place: place,
        }
    }

    /// Asks with a body of JSON, and as the shop's service if wanted.
    fn ask(&self, method: &str, path: &str, is_service: bool) -> Answer {
        let mut stream = TcpStream::connect(self.server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let token = if is_service {
            format!("Authorization: Bearer {}\r\n", self.token)
        } else {
            String::new()
        };
        let body = if method == "post" { "{}" } else { "" };
        let request = format!(
            "{} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{token}\r\n{body}",
            method.to_uppercase(),
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().to_owned();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        Answer {
            status,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: bytes[end + 4..].to_vec(),
        }
    }

    fn document(&self, path: &str) -> Value {
        let answer = self.ask("get", path, false);
        assert_eq!(
            (answer.status.as_str(), answer.media()),
            ("200", "application/json"),
            "{path}"
        );
        serde_json::from_slice(&answer.body).unwrap()
    }
}

struct Answer {
    status: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    /// The content type without its parameters.
    fn media(&self) -> &str {
        let whole = self.headers.get("content-type").map_or("", String::as_str);
        whole.split(';').next().unwrap_or_default().trim()
    }
}

/// Every path of a document, with its methods.
fn routes(document: &Value) -> Vec<(&str, Vec<(&str, &Value)>)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            let methods = methods.map(|(method, operation)| (method.as_str(), operation));
            (path.as_str(), methods.collect())
        })
        .collect()
}

/// The path with something in the place of every parameter.
fn filled(path: &str) -> String {
    let parts = path.split('/');
    let parts = parts.map(|part| if part.starts_with('{') { "0" } else { part });
    parts.collect::<Vec<_>>().join("/")
}

/// The fault: who builds on the files in `docs/` builds on another API than the server's.
#[test]
fn the_documents_are_those_in_docs() {
    let host = Host::new();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    for file in ["openapi.json", "asyncapi.json"] {
        let served = host.ask("get", &format!("/{file}"), false);
        let path = docs.join(file);
        if std::env::var_os(REGENERATE).is_some() {
            fs::write(&path, &served.body).unwrap();
        }
        let told: Value = serde_json::from_slice(&served.body).unwrap();
        let kept = fs::read(&path).unwrap_or_default();
        let kept: Option<Value> = serde_json::from_slice(&kept).ok();
        assert!(
            kept.as_ref() == Some(&told),
            "docs/{file} is not what the server says; run `{REGENERATE}=1 cargo test -p sharetrail-consumers \
             --test outside openapi` and look at the difference"
        );
    }
}

/// The fault: an answer that the document does not know, or a fault of the host for a request that is merely bad.
#[test]
fn every_described_route_answers_as_described() {
    let host = Host::new();
    let document = host.document("/openapi.json");
    for (path, methods) in routes(&document) {
        for (method, operation) in methods {
            for is_service in [false, true] {
                let answer = host.ask(method, &filled(path), is_service);
                let place = format!("{method} {path}: {}", answer.status);
                assert!(
                    !answer.status.starts_with('5') || answer.status == "503",
                    "{place}"
                );
                let told = &operation["responses"][&answer.status];
                assert!(told.is_object(), "{place}");
                if let Some(content) = told.get("content").and_then(Value::as_object) {
                    assert!(
                        content.contains_key(answer.media()),
                        "{place}: {}",
                        answer.media()
                    );
                }
            }
        }
    }
}

/// The fault: a route that nobody described, or a method that is not told of.
#[test]
fn described_routes_take_no_other_method() {
    let host = Host::new();
    let document = host.document("/openapi.json");
    for (path, methods) in routes(&document) {
        let told: Vec<&str> = methods.iter().map(|(method, _)| *method).collect();
        for method in METHODS.iter().filter(|method| !told.contains(method)) {
            let answer = host.ask(method, &filled(path), true);
            let place = format!("{method} {path}");
            assert_eq!(
                (answer.status.as_str(), answer.media()),
                ("405", "application/problem+json"),
                "{place}"
            );
            let allowed = answer.headers["allow"].to_lowercase();
            for method in &told {
                assert!(
                    allowed.split(',').any(|one| one.trim() == *method),
                    "{place}: {allowed}"
                );
            }
        }
    }
}
