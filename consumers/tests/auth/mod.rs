//! Who may do what: every route with every role, and signing in with a browser, over real sockets.
//!
//! In scope: who is let in, who is turned away and how, that nobody gets another customer's bytes. Out of scope: what
//! those who are let in get; the checks of tokens one by one (`http::auth`).

mod signin;
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::support::hands::TestHands;
use crate::support::{SECRET, TestLedger, name, shared};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use serde_json::{Value, json};
use sharetrail_consumers::http::{
    DemoIssuer, DemoPerson, HttpOptions, HttpServer, HttpSettings, LimitSettings, OidcSettings, ServiceTokens,
};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Shelf, Watch};
use sharetrail_producers::{Event, Recipient, Role};

const ISSUER: &str = "https://login.shop.example";
const AUDIENCE: &str = "sharetrail";
/// The customers.
const A: &str = "alder-17";
const B: &str = "birch-42";
/// What stands in B's contents and nowhere else.
const WORDS_OF_B: [&str; 4] = [B, "whalebone-fan", "fanhouse.example", "Fan house of B"];
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A ledger with two customers, and its server. The server ends first.
struct Host {
    server: HttpServer,
    _hands: Arc<TestHands>,
    place: TestLedger,
}

impl Host {
    fn new(oidc: impl FnOnce(&TestLedger) -> Option<OidcSettings>, demo: Option<DemoIssuer>) -> Self {
        let place = TestLedger::new(2);
        let fan_house = Recipient::new("fanhouse.example", "Fan house of B", Role::Processor, "IE");
        let of_b = Event::shared(B)
            .to(fan_house)
            .categories(["pd:Name"])
            .purpose("dpv:Marketing")
            .description("whalebone-fan")
            .source("/shop")
            .id("of-b");
        place.record([shared(A, "of-a"), of_b]);
        let settings = HttpSettings {
            oidc: oidc(&place),
            limits: LimitSettings {
                customer_per_second: 100_000,
                stranger_per_second: 100_000,
                ..LimitSettings::default()
            },
            ..HttpSettings::default()
        };
        let ledger = place.open();
        let hands = TestHands::new(&ledger, &["shop.example"]);
        let vault = Arc::clone(hands.engine.vault());
        let shelf = Arc::new(Shelf::new(&ledger, StoreKind::Sled));
        let watch = Watch::new(&ledger, &vault, &shelf);
        watch.look(&AtomicBool::new(false)).unwrap();
        let options = HttpOptions {
            ledger,
            vault,
            shelf,
            watch,
            hands: hands.clone(),
            settings,
            listen: ANY_PORT,
            secret: [8; 32],
            demo,
        };
        Self {
            server: HttpServer::open(options).unwrap(),
            _hands: hands,
            place,
        }
    }

    /// With a provider whose keys the operator has put there.
    fn with_keys(signer: &Signer) -> Self {
        let oidc = |place: &TestLedger| {
            let keys = place.root.join("jwks.json");
            fs::write(&keys, signer.jwks()).unwrap();
            Some(OidcSettings {
                jwks_file: Some(keys),
                customer_claim: "customer_id".into(),
                officer_claim: Some("roles".into()),
                officer_value: Some("privacy-officer".into()),
                ..OidcSettings::new(ISSUER, AUDIENCE)
            })
        };
        Self::new(oidc, None)
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "")
    }

    /// Sends a request with this very path.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let address = self.server.address();
        let own = address.to_string();
        let mut lines = vec![
            format!("{method} {path} HTTP/1.1"),
            "Connection: close".to_owned(),
            format!("Content-Length: {}", body.len()),
        ];
        let host = headers.iter().all(|(name, _)| *name != "Host");
        let host = host.then_some(("Host", own.as_str()));
        let all = headers.iter().copied().chain(host);
        lines.extend(all.map(|(name, value)| format!("{name}: {value}")));
        let head = lines.join("\r\n");
        let mut stream = TcpStream::connect(address).unwrap();
        // A stream of events has no end: what came in this time is all of it.
        let wait = if path.starts_with("/v1/me/stream") { 1 } else { 60 };
        stream.set_read_timeout(Some(Duration::from_secs(wait))).unwrap();
        stream
            .write_all(format!("{head}\r\n\r\n{body}").as_bytes())
            .unwrap();
        Answer::read(stream)
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    /// Head and body.
    bytes: Vec<u8>,
    body: String,
}

impl Answer {
    fn read(mut stream: TcpStream) -> Self {
        let (mut bytes, mut part) = (Vec::new(), [0; 8192]);
        while let Ok(count @ 1..) = stream.read(&mut part) {
            bytes.extend_from_slice(&part[..count]);
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        Self {
            status,
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned(),
            bytes,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Where it leads.
    fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.header("location").unwrap()
    }

    /// `name=value` of the cookies that it sets.
    fn cookies(&self) -> BTreeMap<String, String> {
        let set = self.headers.iter().filter(|(name, _)| name == "set-cookie");
        let pair = |(_, value): &(String, String)| {
            let (name, value) = value.split(';').next().unwrap().split_once('=').unwrap();
            (name.to_owned(), value.to_owned())
        };
        set.map(pair).collect()
    }

    fn holds(&self, text: &str) -> bool {
        self.bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

/// Signs tokens as a provider does.
struct Signer(EncodingKey);

impl Signer {
    fn new(seed: u8) -> Self {
        let head = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
        ];
        Self(EncodingKey::from_ed_der(&[&head[..], &[seed; 32]].concat()))
    }

    fn jwks(&self) -> String {
        let mut jwk = Jwk::from_encoding_key(&self.0, Algorithm::EdDSA).unwrap();
        jwk.common.key_id = Some("key".into());
        json!({ "keys": [jwk] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("key".into());
        encode(&header, claims, &self.0).unwrap()
    }
}

fn claims(of: &Value) -> Value {
    let now = get_current_timestamp();
    let mut claims =
        json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "someone", "iat": now, "exp": now + 600 });
    for (claim, value) in of.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    claims
}

/// Whom a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Anybody,
    Customers,
    Officers,
    Services,
}

/// What a route shows those it is not for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Api,
    Page,
}

struct Route {
    whom: For,
    kind: Kind,
    method: &'static str,
    /// As the server writes it, with `{}` for what is given.
    template: &'static str,
    path: &'static str,
}

const fn route(whom: For, kind: Kind, method: &'static str, place: (&'static str, &'static str)) -> Route {
    let (template, path) = place;
    Route {
        whom,
        kind,
        method,
        template,
        path,
    }
}

const fn same(path: &'static str) -> (&'static str, &'static str) {
    (path, path)
}

/// Every route of the server.
const ROUTES: &[Route] = &[
    route(For::Anybody, Kind::Api, "GET", same("/healthz")),
    route(For::Anybody, Kind::Api, "GET", same("/readyz")),
    route(For::Anybody, Kind::Api, "GET", same("/metrics")),
    route(For::Anybody, Kind::Api, "GET", same("/policy")),
    route(For::Anybody, Kind::Api, "GET", same("/openapi.json")),
    route(For::Anybody, Kind::Api, "GET", same("/asyncapi.json")),
    route(For::Anybody, Kind::Api, "GET", same("/log/0/checkpoint")),
    route(For::Anybody, Kind::Api, "GET", same("/map/0/checkpoint")),
    route(
        For::Anybody,
        Kind::Api,
        "GET",
        (
            "/v1/logs/{shard}/consistency",
            "/v1/logs/0/consistency?from=1&to=1",
        ),
    ),
    route(For::Anybody, Kind::Page, "GET", same("/")),
    route(For::Anybody, Kind::Page, "GET", same("/auditor")),
    route(For::Anybody, Kind::Page, "GET", same("/verifier.html")),
    route(For::Services, Kind::Api, "POST", same("/v1/events")),
    route(For::Services, Kind::Api, "POST", same("/v1/authorize")),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/trail")),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/recipients")),
    route(
        For::Customers,
        Kind::Api,
        "GET",
        ("/v1/me/recipients/{id}", "/v1/me/recipients/mailhouse.example"),
    ),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/choices")),
    route(For::Customers, Kind::Api, "POST", same("/v1/me/choices")),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/requests")),
    route(For::Customers, Kind::Api, "POST", same("/v1/me/requests")),
    route(
        For::Customers,
        Kind::Api,
        "GET",
        ("/v1/me/requests/{shard}/{index}", "/v1/me/requests/0/2"),
    ),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/dossier")),
    route(
        For::Customers,
        Kind::Api,
        "GET",
        ("/v1/me/certificates/{generation}", "/v1/me/certificates/0"),
    ),
    route(For::Customers, Kind::Api, "GET", same("/v1/me/stream")),
    route(For::Officers, Kind::Api, "GET", same("/v1/officer/requests")),
    route(
        For::Officers,
        Kind::Api,
        "POST",
        ("/v1/officer/requests/{shard}/{index}", "/v1/officer/requests/0/2"),
    ),
    route(For::Officers, Kind::Api, "GET", same("/v1/officer/findings")),
    route(For::Officers, Kind::Api, "GET", same("/v1/officer/recipients")),
    route(For::Customers, Kind::Page, "GET", same("/me")),
    route(For::Customers, Kind::Page, "GET", same("/me/sharing")),
    route(For::Customers, Kind::Page, "GET", same("/me/timeline")),
    route(
        For::Customers,
        Kind::Page,
        "GET",
        same("/me/recipients/mailhouse.example"),
    ),
    route(For::Customers, Kind::Page, "GET", same("/me/choices")),
    route(For::Customers, Kind::Page, "POST", same("/me/choices")),
    route(For::Customers, Kind::Page, "GET", same("/me/requests")),
    route(For::Customers, Kind::Page, "POST", same("/me/requests")),
    route(For::Customers, Kind::Page, "GET", same("/me/proof")),
    route(
        For::Customers,
        Kind::Page,
        "GET",
        same("/me/download/dossier.json"),
    ),
    route(For::Customers, Kind::Page, "GET", same("/me/download/trail.csv")),
    route(For::Customers, Kind::Page, "GET", same("/me/download/trail.json")),
    route(For::Customers, Kind::Page, "GET", same("/me/download/report")),
    route(
        For::Customers,
        Kind::Page,
        "GET",
        same("/me/download/certificate-0.json"),
    ),
    route(For::Officers, Kind::Page, "GET", same("/officer")),
    route(For::Officers, Kind::Page, "GET", same("/officer/findings")),
    route(For::Officers, Kind::Page, "GET", same("/officer/recipients")),
    route(For::Officers, Kind::Page, "POST", same("/officer/requests/0/2")),
];

impl Route {
    /// Asks for it with a header that says who asks, if anything does.
    fn ask(&self, host: &Host, authorization: Option<&str>) -> Answer {
        let kind = match self.kind {
            Kind::Api => JSON,
            Kind::Page => FORM,
        };
        let mut headers = vec![("Content-Type", kind)];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        let body = match (self.method, self.kind) {
            ("GET", _) => "",
            (_, Kind::Api) => "{}",
            (_, Kind::Page) => "csrf=",
        };
        host.ask(self.method, self.path, &headers, body)
    }
}

/// Somebody who asks.
struct Caller {
    who: &'static str,
    authorization: Option<String>,
    /// What they are, if what they show is good.
    is: Option<For>,
}

fn callers(host: &Host, signer: &Signer) -> Vec<Caller> {
    let token = |of: Value| Some(format!("Bearer {}", signer.token(&claims(&of))));
    let now = get_current_timestamp();
    let unsigned = {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let head = part(&json!({ "alg": "none", "typ": "JWT", "kid": "key" }));
        format!("Bearer {head}.{}.", part(&claims(&json!({ "customer_id": A }))))
    };
    let forged = Signer::new(9).token(&claims(&json!({ "customer_id": A, "roles": "privacy-officer" })));
    let service = ServiceTokens::add(&host.place.root, &name("shop.example"), "till").unwrap();
    let caller = |who, authorization, is| Caller {
        who,
        authorization,
        is,
    };
    let both = json!({ "customer_id": A, "roles": ["privacy-officer"] });
    let with = |claim: &str, value: Value| {
        let mut of = both.clone();
        of[claim] = value;
        of
    };
    vec![
        caller("nobody", None, None),
        caller("A", token(json!({ "customer_id": A })), Some(For::Customers)),
        caller("B", token(json!({ "customer_id": B })), Some(For::Customers)),
        caller(
            "officer",
            token(json!({ "roles": ["privacy-officer"] })),
            Some(For::Officers),
        ),
        caller("service", Some(format!("Bearer {service}")), Some(For::Services)),
        caller("somebody without a role", token(json!({})), Some(For::Anybody)),
        caller("expired", token(with("exp", json!(now - 3_600))), None),
        caller(
            "other issuer",
            token(with("iss", json!("https://login.mail.example"))),
            None,
        ),
        caller("other audience", token(with("aud", json!("mail"))), None),
        caller("no signature", Some(unsigned), None),
        caller("another's signature", Some(format!("Bearer {forged}")), None),
        caller(
            "unknown service",
            Some(format!("Bearer st_{}", "A".repeat(43))),
            None,
        ),
        caller("password", Some("Basic YWxkZXItMTc6".into()), None),
        caller("rubbish", Some("Bearer rubbish".into()), None),
    ]
}

/// What a caller must get, in statuses.
fn is_right(route: &Route, caller: &Caller, answer: &Answer) -> bool {
    let is_let_in = !matches!(answer.status, 401 | 403) && answer.status < 500 && !leads_to_sign_in(answer);
    let shows = caller.authorization.is_some();
    match (route.whom, caller.is) {
        // Nothing may be ready that soon; and a page that is for all may still refuse what is no good.
        (For::Anybody, None) if shows => is_let_in || matches!(answer.status, 401 | 503),
        (For::Anybody, _) => is_let_in || (route.path == "/readyz" && answer.status == 503),
        (whom, Some(is)) if whom == is => is_let_in,
        (_, Some(_)) => answer.status == 403,
        (_, None) if route.kind == Kind::Page && route.method == "GET" && !shows => leads_to_sign_in(answer),
        (_, None) => answer.status == 401,
    }
}

fn leads_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303
        && answer
            .header("location")
            .is_some_and(|place| place.starts_with("/signin?to="))
}

/// The fault: a route that was added last is open to somebody it is not for; or one customer gets another's bytes.
#[test]
fn every_route_lets_in_whom_it_is_for_and_nobody_else() {
    let signer = Signer::new(1);
    let host = Host::with_keys(&signer);
    let callers = callers(&host, &signer);
    let mut wrong = Vec::new();
    for route in ROUTES {
        for caller in &callers {
            let answer = route.ask(&host, caller.authorization.as_deref());
            let place = format!("{} {} by {}", route.method, route.path, caller.who);
            if !is_right(route, caller, &answer) {
                wrong.push(format!("{place}: {}", answer.status));
            }
            let may_see_b = caller.who == "B" || caller.is == Some(For::Officers);
            if !may_see_b && WORDS_OF_B.iter().any(|word| answer.holds(word)) {
                wrong.push(format!("{place}: holds words of B"));
            }
            if caller.who == "B" && (answer.holds(A) || answer.holds(SECRET)) {
                wrong.push(format!("{place}: holds words of A"));
            }
            let token = caller
                .authorization
                .as_deref()
                .and_then(|value| value.split_once(' '));
            if token.is_some_and(|(_, token)| token.len() > 20 && answer.holds(token)) {
                wrong.push(format!("{place}: repeats the token"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The fault: the tests above pass because nobody sees anything.
#[test]
fn each_customer_sees_their_own() {
    let signer = Signer::new(1);
    let host = Host::with_keys(&signer);
    let seen = |customer: &str, path: &str, word: &str| {
        let token = signer.token(&claims(&json!({ "customer_id": customer })));
        let answer = host.get(path, &[("Authorization", &format!("Bearer {token}"))]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.holds(word)
    };
    for path in ["/v1/me/trail", "/v1/me/dossier", "/me/download/trail.json"] {
        assert!(seen(A, path, SECRET), "{path}");
        assert!(seen(B, path, "whalebone-fan"), "{path}");
    }
    for path in ["/me/timeline", "/v1/me/recipients"] {
        assert!(seen(B, path, "Fan house of B"), "{path}");
    }
}

/// The fault: what a request says besides its token changes whose trail it is about.
#[test]
fn nothing_but_the_token_says_who_asks() {
    let signer = Signer::new(1);
    let host = Host::with_keys(&signer);
    let token = signer.token(&claims(&json!({ "customer_id": A })));
    let bearer = format!("Bearer {token}");
    let cookie = format!("sharetrail={B}; customer={B}");
    for path in [
        "/v1/me/trail?customer=birch-42",
        "/v1/me/trail?customer_id=birch-42&subject=birch-42",
        "/v1/me/trail?recipient=fanhouse.example",
        "/v1/me/recipients/fanhouse.example",
        "/v1/me/../birch-42/trail",
        "/v1/me/dossier?customer=birch-42",
        "/v1/me/dossier?recipient=fanhouse.example",
        "/me/timeline?customer=birch-42",
        "/me/recipients/fanhouse.example",
        "/me/download/..%2fbirch-42%2fdossier.json",
        "/v1/me/certificates/0?customer=birch-42",
    ] {
        let headers = [
            ("Authorization", bearer.as_str()),
            ("X-Customer", B),
            ("X-Forwarded-User", B),
            ("Cookie", cookie.as_str()),
        ];
        let answer = host.get(path, &headers);
        for word in ["whalebone-fan", "Fan house of B"] {
            assert!(!answer.holds(word), "{path} holds {word}");
        }
    }
    for twice in ["Bearer rubbish", bearer.as_str()] {
        let headers = [("Authorization", bearer.as_str()), ("Authorization", twice)];
        assert_eq!(host.get("/v1/me/trail", &headers).status, 401);
    }
}

/// The fault: a route of the API is in no test of roles.
#[test]
fn the_table_of_routes_has_every_route_of_the_api() {
    let host = Host::with_keys(&Signer::new(1));
    let document: Value = serde_json::from_str(&host.get("/openapi.json", &[]).body).unwrap();
    let mut missing = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations.as_object().unwrap().keys() {
            let method = method.to_ascii_uppercase();
            let is_known = |route: &Route| route.template == path && route.method == method;
            if ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method.as_str())
                && !ROUTES.iter().any(is_known)
            {
                missing.push(format!("{method} {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// The fault: a token that was taken back records on until the server is started anew.
#[test]
fn a_service_token_that_was_taken_back_is_refused_at_once() {
    let host = Host::with_keys(&Signer::new(1));
    let root = &host.place.root;
    let token = ServiceTokens::add(root, &name("shop.example"), "till").unwrap();
    let ask = || {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", JSON)];
        host.ask("POST", "/v1/authorize", &headers, "{}").status
    };
    assert!(!matches!(ask(), 401 | 403));
    ServiceTokens::revoke(root, "till").unwrap();
    assert_eq!(ask(), 401);
}

/// The fault: without a provider, a route for customers is open, or the server does not start.
#[test]
fn without_a_provider_nobody_signs_in() {
    let host = Host::new(|_| None, None);
    let token = Signer::new(1).token(&claims(&json!({ "customer_id": A })));
    let bearer = format!("Bearer {token}");
    for path in [
        "/v1/me/trail",
        "/v1/officer/requests",
        "/me",
        "/officer",
        "/signin",
    ] {
        assert_eq!(host.get(path, &[]).status, 401, "{path}");
        let shown = host.get(path, &[("Authorization", &bearer)]);
        assert_eq!(shown.status, 401, "{path}");
    }
    assert_eq!(host.get("/", &[]).status, 200);
    for path in [
        "/demo/token/alder-17",
        "/demo/service-token",
        "/demo/issuer/jwks",
        "/demo/issuer/authorize",
    ] {
        assert_eq!(host.get(path, &[]).status, 404, "{path}");
    }
}
