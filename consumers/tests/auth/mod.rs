//! Who may do what: every route with every role, and signing in with a browser, over real sockets.
//!
//! In scope: who is let in, who is turned away and how, that nobody gets another customer's bytes. Out of scope: what
//! those who are let in get; the checks of tokens one by one (the library's `http::auth`).

mod signin;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::get_current_timestamp;
use serde_json::{Value, json};
use sharetrail_consumers::http::{DemoIssuer, HttpServer, HttpSettings, OidcSettings, ServiceTokens};
use sharetrail_producers::{Event, Recipient, Role};

use crate::support::hands::TestHands;
use crate::support::http::{Answer, ask, listen};
use crate::support::served::{Served, wide_limits};
use crate::support::tokens::{KEY_ID, OFFICER, Tokens, claims};
use crate::support::{SECRET, SHOP, TestLedger, name, shared};

/// The customers.
const A: &str = "alder-17";
const B: &str = "birch-42";
/// What stands in B's contents and nowhere else.
const WORDS_OF_B: [&str; 4] = [B, "whalebone-fan", "fanhouse.example", "Fan house of B"];
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// A ledger with two customers, and its server. The server ends first.
struct Host {
    server: HttpServer,
    _hands: Arc<TestHands>,
    place: TestLedger,
}

impl Host {
    fn new(oidc: Option<OidcSettings>, demo: Option<DemoIssuer>) -> Self {
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
            oidc,
            limits: wide_limits(),
            ..HttpSettings::default()
        };
        let Served {
            server, hands, watch, ..
        } = Served::new(&place, settings, demo);
        watch.look(&AtomicBool::new(false)).unwrap();
        Self {
            server,
            _hands: hands,
            place,
        }
    }

    /// With a provider whose keys the operator has put there.
    fn with_keys(tokens: &Tokens) -> Self {
        Self::new(Some(tokens.settings()), None)
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", path, headers, "")
    }

    /// Sends a request with this very path.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let (address, request) = (self.server.address(), format!("{method} {path}"));
        // A stream of events has no end.
        if path.starts_with("/v1/me/stream") {
            return listen(
                address,
                &request,
                headers,
                body.as_bytes(),
                Duration::from_secs(1),
            );
        }
        ask(address, &request, headers, body.as_bytes())
    }
}

impl Answer {
    /// Whether a text stands anywhere in it, head or body.
    fn holds(&self, text: &str) -> bool {
        let mut lines = self.headers.iter();
        lines.any(|(name, value)| name.contains(text) || value.contains(text))
            || self
                .body
                .windows(text.len())
                .any(|window| window == text.as_bytes())
    }
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

fn callers(host: &Host, tokens: &Tokens) -> Vec<Caller> {
    let token = |of: Value| Some(format!("Bearer {}", tokens.sign(&of)));
    let now = get_current_timestamp();
    let unsigned = {
        let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let head = part(&json!({ "alg": "none", "typ": "JWT", "kid": KEY_ID }));
        format!("Bearer {head}.{}.", part(&claims(&json!({ "customer": A }))))
    };
    let forged = Tokens::new().sign(&json!({ "customer": A, "roles": OFFICER }));
    let service = ServiceTokens::add(&host.place.root, &name(SHOP), "till").unwrap();
    let caller = |who, authorization, is| Caller {
        who,
        authorization,
        is,
    };
    let both = json!({ "customer": A, "roles": [OFFICER] });
    let with = |claim: &str, value: Value| {
        let mut of = both.clone();
        of[claim] = value;
        of
    };
    vec![
        caller("nobody", None, None),
        caller("A", token(json!({ "customer": A })), Some(For::Customers)),
        caller("B", token(json!({ "customer": B })), Some(For::Customers)),
        caller(
            "officer",
            token(json!({ "roles": [OFFICER] })),
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
    let tokens = Tokens::new();
    let host = Host::with_keys(&tokens);
    let callers = callers(&host, &tokens);
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
    let tokens = Tokens::new();
    let host = Host::with_keys(&tokens);
    let seen = |customer: &str, path: &str, word: &str| {
        let bearer = format!("Bearer {}", tokens.customer(customer));
        let answer = host.get(path, &[("Authorization", &bearer)]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
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
    let tokens = Tokens::new();
    let host = Host::with_keys(&tokens);
    let bearer = format!("Bearer {}", tokens.customer(A));
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
    let host = Host::with_keys(&Tokens::new());
    let document = host.get("/openapi.json", &[]).json();
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
    let host = Host::with_keys(&Tokens::new());
    let root = &host.place.root;
    let token = ServiceTokens::add(root, &name(SHOP), "till").unwrap();
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
    let host = Host::new(None, None);
    let bearer = format!("Bearer {}", Tokens::new().customer(A));
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
