//! The documents for programs, held against the server and against the files in `docs/`.
//!
//! In scope: that the files are what the server says, that every described route is there and answers as described. Out
//! of scope: what the answers say.
//!
//! After a change of a route: `SHARETRAIL_REGENERATE=1 cargo test -p sharetrail-consumers --test outside openapi`, and look at
//! the difference before you keep it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use sharetrail_consumers::http::{HttpServer, HttpSettings, ServiceTokens};

use crate::support::hands::TestHands;
use crate::support::http::{Answer, ask};
use crate::support::served::Served;
use crate::support::{SHOP, TestLedger, name};

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
        let Served {
            server,
            hands,
            ledger,
            ..
        } = Served::new(&place, HttpSettings::default(), None);
        Self {
            server,
            token: ServiceTokens::add(ledger.root(), &name(SHOP), "test").unwrap(),
            _hands: hands,
            _place: place,
        }
    }

    /// Asks with a body of JSON, and as the shop's service if wanted.
    fn ask(&self, method: &str, path: &str, is_service: bool) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(is_service.then_some(("Authorization", bearer.as_str())));
        let request = format!("{} {path}", method.to_uppercase());
        let body = if method == "post" { "{}" } else { "" };
        ask(self.server.address(), &request, &headers, body.as_bytes())
    }

    fn document(&self, path: &str) -> Value {
        let answer = self.ask("get", path, false);
        assert_eq!(
            (answer.status, answer.media()),
            (200, "application/json"),
            "{path}"
        );
        answer.json()
    }
}

impl Answer {
    /// The content type without its parameters.
    fn media(&self) -> &str {
        let whole = self.header("content-type").unwrap_or_default();
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
        let told = served.json();
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
                assert!(answer.status < 500 || answer.status == 503, "{place}");
                let told = &operation["responses"][answer.status.to_string()];
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
                (answer.status, answer.media()),
                (405, "application/problem+json"),
                "{place}"
            );
            let allowed = answer.header("allow").unwrap().to_lowercase();
            for method in &told {
                assert!(
                    allowed.split(',').any(|one| one.trim() == *method),
                    "{place}: {allowed}"
                );
            }
        }
    }
}
