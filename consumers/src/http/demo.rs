//! An OpenID provider at which everybody may be anybody: for the demo, and nothing else.
//!
//! ```text
//! GET  /demo/issuer/.well-known/openid-configuration, /demo/issuer/jwks
//! GET  /demo/issuer/authorize    the page to choose whom to be
//! POST /demo/issuer/token        code and verifier for an ID token
//! GET  /demo/token/<id>          a token of a customer, or of somebody in the list, for curl
//! GET  /demo/service-token       a token of a service, for curl
//! ```
//! In scope: a true provider, but that it asks for no password: discovery, keys, code flow with PKCE. Out of scope:
//! what checks its tokens, which is what checks any provider's. Trust: it signs for whoever asks. So it is there only
//! where a program has handed it in, its key lasts as long as the process, the server must listen on this machine
//! alone, and requests that were not made to this machine by name are refused: a page of another site whose name leads
//! here gets nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, RawQuery, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use maud::{DOCTYPE, Markup, html};
use serde_json::{Value, json};
use sharetrail_ledger::{LedgerError, files};
use sharetrail_schemas::check_customer_id;
use subtle::ConstantTimeEq;
use url::{Host, Url};

use super::auth::{challenge, parameter, return_url, with_query};
use super::problem::{Problem, ProblemKind};
use super::settings::{OidcSettings, is_loopback};
use super::site::Site;
use crate::error::ConsumerError;
use crate::pages::assets;

const ISSUER: &str = "/demo/issuer";
/// The audience and the client id.
const CLIENT: &str = "sharetrail-demo";
const KEY_ID: &str = "demo";
const CUSTOMER_CLAIM: &str = "customer_id";
const OFFICER_CLAIM: &str = "roles";
const OFFICER_VALUE: &str = "privacy-officer";
/// How long a token lasts: longer than somebody who tries things looks at one page.
const TOKEN_SECONDS: u64 = 3_600;
/// How long a code lasts.
const CODE_WAIT: Duration = Duration::from_mins(1);
/// Codes at once.
const CODES_MAX: usize = 1_000;
/// PKCS #8 of an Ed25519 key (RFC 8410), up to the key itself.
const ED25519_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What a sign-in carries from here to the page and back.
const CARRIED: [&str; 8] = [
    "response_type",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
];
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Somebody one can be in the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DemoPerson {
    /// The customer id; of an officer, the name of the account.
    pub id: String,
    /// The name that is shown.
    pub name: String,
    /// One line that says who that is.
    pub told: String,
    /// Whether this is an officer, who is no customer then.
    pub is_officer: bool,
}

/// An OpenID provider at which everybody may be anybody. Never on outside of the demo.
pub struct DemoIssuer(Arc<Demo>);

struct Demo {
    people: Vec<DemoPerson>,
    key: EncodingKey,
    jwks: Value,
    /// Where the server is reached; set once it listens.
    url: OnceLock<String>,
    codes: Mutex<HashMap<String, Grant>>,
    service: Mutex<Option<String>>,
}

/// What a code stands for, once.
struct Grant {
    who: DemoPerson,
    nonce: Option<String>,
    challenge: String,
    until: Instant,
}

impl DemoIssuer {
    /// A provider for these people, and for every other customer by their id, with a new key.
    pub fn new(people: Vec<DemoPerson>) -> Result<Self, ConsumerError> {
        let key = ed25519_key(&files::random()?);
        let refused = |what: String| LedgerError::Invalid(format!("the demo's sign-in: {what}"));
        let odd = people
            .iter()
            .find(|person| check_customer_id(&person.id).is_err());
        if let Some(odd) = odd {
            return Err(refused(format!("{:?} is no customer id", odd.id)).into());
        }
        let jwk = Jwk::from_encoding_key(&key, Algorithm::EdDSA);
        let mut jwk = jwk.map_err(|error| refused(error.to_string()))?;
        jwk.common.key_id = Some(KEY_ID.into());
        Ok(Self(Arc::new(Demo {
            people,
            key,
            jwks: json!({ "keys": [jwk] }),
            url: OnceLock::new(),
            codes: Mutex::default(),
            service: Mutex::default(),
        })))
    }

    /// What `http.toml` would say to use this provider. `url`: where the server is reached, which must be on this
    /// machine and stays the same.
    pub(super) fn settings(&self, url: &str) -> Result<OidcSettings, ConsumerError> {
        let url = url.trim_end_matches('/');
        let parsed = Url::parse(url).ok();
        let is_here = parsed.is_some_and(|url| url.host().is_some_and(|host| is_loopback(&host)));
        if !is_here || self.0.url.get_or_init(|| url.to_owned()) != url {
            let text = format!(
                "the demo lets everybody be anybody, so it is served on this machine alone, not at {url}: choose a \
                 loopback address, such as 127.0.0.1:0"
            );
            return Err(LedgerError::Invalid(text).into());
        }
        Ok(OidcSettings {
            customer_claim: CUSTOMER_CLAIM.into(),
            officer_claim: Some(OFFICER_CLAIM.into()),
            officer_value: Some(OFFICER_VALUE.into()),
            ..OidcSettings::new(self.0.issuer(), CLIENT)
        })
    }

    /// The provider's routes.
    pub(super) fn router(&self) -> Router<Site> {
        type Shared = Extension<Arc<Demo>>;
        let configuration = |Extension(demo): Shared| async move { Json(demo.configuration()) };
        let keys = |Extension(demo): Shared| async move { Json(demo.jwks.clone()) };
        let authorize = |State(site): State<Site>, Extension(demo): Shared, RawQuery(query): RawQuery| async move {
            demo.authorize(&site, query.as_deref().unwrap_or_default())
        };
        let exchange = |Extension(demo): Shared, form: String| async move { demo.exchange(&form) };
        let token = |Extension(demo): Shared, Path(who): Path<String>| async move { demo.token_of(&who) };
        let service =
            |State(site): State<Site>, Extension(demo): Shared| async move { demo.service_token(&site) };
        Router::new()
            .route(
                "/demo/issuer/.well-known/openid-configuration",
                get(configuration),
            )
            .route("/demo/issuer/jwks", get(keys))
            .route("/demo/issuer/authorize", get(authorize))
            .route("/demo/issuer/token", post(exchange))
            .route("/demo/token/{who}", get(token))
            .route("/demo/service-token", get(service))
            .layer(Extension(Arc::clone(&self.0)))
            .layer(from_fn(only_here))
    }
}

/// Refuses to serve the demo where others than this machine reach it, by whatever name.
pub(super) fn check_address(address: SocketAddr) -> Result<(), ConsumerError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let text = format!(
        "the demo lets everybody be anybody, so it listens on this machine alone, not at {address}: choose a loopback \
         address, such as 127.0.0.1:0"
    );
    Err(LedgerError::Invalid(text).into())
}

/// The key that 32 secret bytes are.
pub(super) fn ed25519_key(seed: &[u8; 32]) -> EncodingKey {
    EncodingKey::from_ed_der(&[&ED25519_HEAD[..], seed].concat())
}

/// Lets requests pass that were made to this machine by name or address, and keeps the answers out of caches.
async fn only_here(request: Request, next: Next) -> Response {
    if !is_to_this_machine(request.headers()) {
        let text = "the demo answers on this machine alone: open it as http://127.0.0.1 with its port";
        return Problem::new(ProblemKind::Forbidden, text).into_response();
    }
    let mut response = next.run(request).await;
    let kept = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    response
}

fn is_to_this_machine(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<Authority>().ok());
    host.and_then(|authority| Host::parse(authority.host()).ok())
        .is_some_and(|host| is_loopback(&host))
}

/// A sign-in that a browser came with, all of it as it must be.
struct Asked {
    state: String,
    nonce: Option<String>,
    challenge: String,
}

impl Demo {
    fn base(&self) -> &str {
        self.url.get().map(String::as_str).unwrap_or_default()
    }

    fn issuer(&self) -> String {
        format!("{}{ISSUER}", self.base())
    }

    fn configuration(&self) -> Value {
        let issuer = self.issuer();
        json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "scopes_supported": ["openid", "profile"],
            "id_token_signing_alg_values_supported": ["EdDSA"],
            "token_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    /// Whoever is called that: somebody in the list, else the customer with that id.
    fn person(&self, who: &str) -> Option<DemoPerson> {
        let listed = self.people.iter().find(|person| person.id == who).cloned();
        listed.or_else(|| {
            check_customer_id(who).ok()?;
            Some(DemoPerson {
                id: who.to_owned(),
                name: who.to_owned(),
                told: String::new(),
                is_officer: false,
            })
        })
    }

    fn sign(&self, who: &DemoPerson, nonce: Option<&str>) -> Result<String, Problem> {
        let now = jsonwebtoken::get_current_timestamp();
        let mut claims = json!({
            "iss": self.issuer(),
            "aud": CLIENT,
            "sub": who.id,
            "name": who.name,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        });
        if who.is_officer {
            claims[OFFICER_CLAIM] = json!([OFFICER_VALUE]);
        } else {
            claims[CUSTOMER_CLAIM] = json!(who.id);
        }
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        let mut head = Header::new(Algorithm::EdDSA);
        head.kid = Some(KEY_ID.into());
        encode(&head, &claims, &self.key).map_err(|error| Problem::failed(&error))
    }

    fn token_of(&self, who: &str) -> Result<String, Problem> {
        let missing = || {
            Problem::new(
                ProblemKind::NotFound,
                "this is no customer id, and nobody in the list",
            )
        };
        self.sign(&self.person(who).ok_or_else(missing)?, None)
    }

    /// One token for this run of the server.
    fn service_token(&self, site: &Site) -> Result<String, Problem> {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*service {
            return Ok(token.clone());
        }
        let producer = site.settings.signing_producer(&site.ledger);
        let token = site.auth.lend(&producer, "the demo")?;
        *service = Some(token.clone());
        Ok(token)
    }

    /// Checks what a browser comes with: this server's own sign-in, or nothing.
    fn asked(&self, query: &str) -> Option<Asked> {
        let given = |name| parameter(query, name);
        let is = |name, value: &str| given(name).is_some_and(|given| given == value);
        let challenge = given("code_challenge").filter(|text| text.len() == 43);
        let scope = given("scope").filter(|scope| scope.split(' ').any(|word| word == "openid"));
        let is_ours = is("client_id", CLIENT)
            && is("redirect_uri", &return_url(self.base()))
            && is("response_type", "code")
            && is("code_challenge_method", "S256")
            && scope.is_some();
        if !is_ours {
            return None;
        }
        Some(Asked {
            state: given("state")?,
            nonce: given("nonce"),
            challenge: challenge?,
        })
    }

    /// The page to choose whom to be; once that is chosen, the way back with a code.
    fn authorize(&self, site: &Site, query: &str) -> Response {
        let Some(asked) = self.asked(query) else {
            let text = "this is where this server's own sign-in leads; begin at /signin";
            return Problem::new(ProblemKind::BadRequest, text).into_response();
        };
        let chosen = parameter(query, "who");
        match chosen.as_deref().map(|who| self.person(who)) {
            Some(Some(who)) => self.send_back(asked, who).unwrap_or_else(Problem::into_response),
            Some(None) => self.page(site, query, true),
            None => self.page(site, query, false),
        }
    }

    fn send_back(&self, asked: Asked, who: DemoPerson) -> Result<Response, Problem> {
        let code = BASE64URL_NOPAD.encode(&files::random::<32>()?);
        let issuer = self.issuer();
        let way = with_query(
            &return_url(self.base()),
            [
                ("code", code.as_str()),
                ("state", asked.state.as_str()),
                ("iss", issuer.as_str()),
            ],
        );
        let location = HeaderValue::try_from(way).map_err(|error| Problem::failed(&error))?;
        let now = Instant::now();
        let mut codes = self.codes();
        codes.retain(|_, grant| grant.until > now);
        if codes.len() >= CODES_MAX {
            let text = "too many sign-ins are under way in the demo";
            return Err(Problem::new(ProblemKind::TooManyRequests, text));
        }
        let grant = Grant {
            who,
            nonce: asked.nonce,
            challenge: asked.challenge,
            until: now + CODE_WAIT,
        };
        codes.insert(code, grant);
        Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
    }

    /// A code for an ID token, once, by whoever knows the verifier.
    fn exchange(&self, form: &str) -> Response {
        match self.trade(form) {
            Ok(token) => Json(json!({
                "access_token": token,
                "id_token": token,
                "token_type": "Bearer",
                "expires_in": TOKEN_SECONDS,
            }))
            .into_response(),
            // RFC 6749 §5.2.
            Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
        }
    }

    fn trade(&self, form: &str) -> Result<String, &'static str> {
        let given = |name| parameter(form, name).ok_or("invalid_request");
        if given("grant_type")? != "authorization_code" {
            return Err("unsupported_grant_type");
        }
        if given("client_id")? != CLIENT {
            return Err("invalid_client");
        }
        let (code, verifier, back) = (given("code")?, given("code_verifier")?, given("redirect_uri")?);
        // Whatever else is wrong, the code was shown and is gone.
        let grant = self.codes().remove(&code).ok_or("invalid_grant")?;
        let fits = challenge(&verifier).as_bytes().ct_eq(grant.challenge.as_bytes());
        if grant.until <= Instant::now() || back != return_url(self.base()) || !bool::from(fits) {
            return Err("invalid_grant");
        }
        self.sign(&grant.who, grant.nonce.as_deref())
            .map_err(|_| "server_error")
    }

    fn codes(&self) -> MutexGuard<'_, HashMap<String, Grant>> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn page(&self, site: &Site, query: &str, was_odd: bool) -> Response {
        let company = site.settings.company_name(&site.ledger);
        let markup = self.document(company, &carried(query), was_odd);
        let policy = (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        ([policy], Html(markup.into_string())).into_response()
    }

    fn document(&self, company: &str, carried: &[(&'static str, String)], was_odd: bool) -> Markup {
        let place = format!("{ISSUER}/authorize");
        let way = |who: &str| {
            let pairs = carried.iter().map(|(name, value)| (*name, value.as_str()));
            with_query(&place, pairs.chain([("who", who)]))
        };
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { "Whom do you want to be? – demonstration" }
                    link rel="stylesheet" href=(assets::url("style.css"));
                }
                body {
                    main.stack id="main" {
                        h1 { "Whom do you want to be?" }
                        p.notice.notice-warn {
                            "This is a demonstration. Everybody may be anybody here, without a password. "
                            "At a real company, its own sign-in page stands in this place."
                        }
                        @if was_odd {
                            p.notice.notice-bad role="alert" {
                                "That is no customer id: 1 to 256 bytes, without spaces around it."
                            }
                        }
                        ul.cards {
                            @for person in &self.people {
                                li.card.stack {
                                    h2 { (person.name) }
                                    p { (person.told) }
                                    p.muted {
                                        @if person.is_officer { "Officer of " (company) }
                                        @else { "Customer " (person.id) }
                                    }
                                    p { a.btn href=(way(&person.id)) { "Be " (person.name) } }
                                }
                            }
                        }
                        h2 { "Somebody else" }
                        form.stack method="get" action=(place) {
                            @for (name, value) in carried {
                                input type="hidden" name=(name) value=(value);
                            }
                            div.field {
                                label for="who" { "Customer id" }
                                input id="who" name="who" required autocomplete="off";
                            }
                            p { button.btn.btn-quiet type="submit" { "Be this customer" } }
                        }
                    }
                }
            }
        }
    }
}

/// What of a query goes with the next one.
fn carried(query: &str) -> Vec<(&'static str, String)> {
    CARRIED
        .iter()
        .filter_map(|name| Some((*name, parameter(query, name)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://127.0.0.1:8433";
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

    fn demo() -> Arc<Demo> {
        let people = vec![
            DemoPerson {
                id: "ada".into(),
                name: "Ada <i>".into(),
                told: "bought a comb".into(),
                is_officer: false,
            },
            DemoPerson {
                id: "olga".into(),
                name: "Olga".into(),
                told: "decides requests".into(),
                is_officer: true,
            },
        ];
        let issuer = DemoIssuer::new(people).unwrap();
        issuer.settings(URL).unwrap();
        issuer.0
    }

    fn query(changes: &[(&str, &str)]) -> String {
        let challenge = challenge(VERIFIER);
        let back = format!("{URL}/signin/return");
        let mut pairs = vec![
            ("response_type", "code"),
            ("client_id", CLIENT),
            ("redirect_uri", back.as_str()),
            ("scope", "openid profile"),
            ("state", "s t"),
            ("nonce", "n"),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        for change in changes {
            pairs.retain(|(name, _)| *name != change.0);
            pairs.push(*change);
        }
        with_query("", pairs).split_off(1)
    }

    /// The code in the address that somebody is sent back to.
    fn code(demo: &Demo, who: &str) -> String {
        let asked = demo.asked(&query(&[])).unwrap();
        let response = demo.send_back(asked, demo.person(who).unwrap()).unwrap();
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        let location = response.headers()[header::LOCATION].to_str().unwrap();
        let (place, query) = location.split_once('?').unwrap();
        assert_eq!(place, format!("{URL}/signin/return"));
        assert_eq!(parameter(query, "state").as_deref(), Some("s t"));
        parameter(query, "code").unwrap()
    }

    fn form(code: &str, changes: &[(&str, &str)]) -> String {
        let back = format!("{URL}/signin/return");
        let mut pairs = vec![
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("redirect_uri", back.as_str()),
            ("code", code),
            ("code_verifier", VERIFIER),
        ];
        for change in changes {
            pairs.retain(|(name, _)| *name != change.0);
            pairs.push(*change);
        }
        with_query("", pairs).split_off(1)
    }

    fn claims(token: &str) -> Value {
        let part = token.split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
    }

    /// The fault: a server that strangers reach lets them be anybody.
    #[test]
    fn it_is_for_this_machine_alone() {
        let issuer = DemoIssuer::new(Vec::new()).unwrap();
        for bad in [
            "http://0.0.0.0:8433",
            "https://trail.shop.example",
            "http://10.0.0.1",
            "",
        ] {
            assert!(issuer.settings(bad).is_err(), "{bad}");
        }
        assert!(issuer.settings("http://[::1]:8433").is_ok());
        assert!(issuer.settings(URL).is_err());
        let listens = |address: &str| check_address(address.parse().unwrap()).is_ok();
        assert!(listens("127.0.0.1:1") && listens("[::1]:1"));
        assert!(!listens("0.0.0.0:1") && !listens("[::]:1") && !listens("10.0.0.1:1"));
        let is_to = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            is_to_this_machine(&headers)
        };
        for good in ["127.0.0.1:8433", "localhost", "[::1]:8433", "LOCALHOST:1"] {
            assert!(is_to(good), "{good}");
        }
        for bad in [
            "evil.example:8433",
            "localhost.evil.example",
            "",
            "0.0.0.0",
            "10.0.0.1",
        ] {
            assert!(!is_to(bad), "{bad}");
        }
        assert!(!is_to_this_machine(&HeaderMap::new()));
    }

    #[test]
    fn a_code_is_good_for_one_token() {
        let demo = demo();
        let shown = code(&demo, "ada");
        let token = demo.trade(&form(&shown, &[])).unwrap();
        let held = claims(&token);
        assert_eq!(
            (&held["customer_id"], &held["nonce"], &held["aud"]),
            (&json!("ada"), &json!("n"), &json!(CLIENT))
        );
        assert_eq!(held["iss"], format!("{URL}/demo/issuer"));
        assert_eq!(demo.trade(&form(&shown, &[])), Err("invalid_grant"));
    }

    /// The fault: a code that somebody else has seen is a token in their hands.
    #[test]
    fn a_code_needs_its_verifier_its_client_and_its_place() {
        let demo = demo();
        let refused = |changes: &[(&str, &str)]| {
            let shown = code(&demo, "ada");
            let refusal = demo.trade(&form(&shown, changes)).unwrap_err();
            (refusal, demo.trade(&form(&shown, &[])).is_err())
        };
        assert_eq!(refused(&[("code_verifier", "another")]), ("invalid_grant", true));
        assert_eq!(
            refused(&[("redirect_uri", "http://127.0.0.1/else")]),
            ("invalid_grant", true)
        );
        assert_eq!(refused(&[("client_id", "other")]).0, "invalid_client");
        assert_eq!(refused(&[("grant_type", "password")]).0, "unsupported_grant_type");
        assert_eq!(demo.trade(""), Err("invalid_request"));
    }

    #[test]
    fn only_this_servers_own_sign_in_is_taken() {
        let demo = demo();
        assert!(demo.asked(&query(&[])).is_some());
        for change in [
            ("client_id", "other"),
            ("redirect_uri", "https://evil.example/signin/return"),
            ("response_type", "token"),
            ("code_challenge_method", "plain"),
            ("code_challenge", "short"),
            ("scope", "profile"),
        ] {
            assert!(demo.asked(&query(&[change])).is_none(), "{change:?}");
        }
        let twice = format!("{}&redirect_uri=https://evil.example", query(&[]));
        assert!(demo.asked(&twice).is_none());
    }

    #[test]
    fn everybody_may_be_a_customer_and_an_officer_is_none() {
        let demo = demo();
        let held = claims(&demo.token_of("somebody-new").unwrap());
        assert_eq!(held["customer_id"], "somebody-new");
        let held = claims(&demo.token_of("olga").unwrap());
        assert_eq!(
            (&held["customer_id"], &held["roles"]),
            (&Value::Null, &json!([OFFICER_VALUE]))
        );
        let refused = demo.token_of(" ").unwrap_err();
        assert_eq!(refused.kind(), ProblemKind::NotFound);
    }

    /// The fault: what comes with a link becomes markup.
    #[test]
    fn the_page_shows_texts_as_texts() {
        let demo = demo();
        let query = query(&[("state", "\"><script>")]);
        let html = demo.document("Shop & Co", &carried(&query), true).into_string();
        assert!(!html.contains("<script>") && !html.contains("<i>"));
        assert!(html.contains("Ada &lt;i&gt;") && html.contains("Shop &amp; Co"));
        assert!(html.contains("who=ada") && html.contains("who=olga"));
    }
}
