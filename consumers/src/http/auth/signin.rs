//! Signing in with a browser: the code flow of OpenID Connect with PKCE, and signing out.
//!
//! ```text
//! GET  /signin?to=<path>   to the provider, with state, nonce and a challenge
//! GET  /signin/return      back from it, with a code; then to <path>
//! POST /signout            ends the session
//! ```
//! In scope: what binds the way there and back to one browser, exchanging the code, where one ends up. Out of scope:
//! checking the token (`oidc`), sessions (`cookie`). Trust: whoever comes back is a stranger until state, code and
//! nonce fit the cookie that was set on the way out. State, nonce and verifier are derived from that cookie under a
//! secret of this process, so nothing is kept for those who never come back, and nobody can finish a sign-in that was
//! begun in another browser.

use std::sync::Arc;

use axum::Form;
use axum::Router;
use axum::extract::rejection::FormRejection;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Response};
use axum::routing::{get, post};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sharetrail_ledger::{LedgerError, files};
use subtle::ConstantTimeEq;
use url::form_urlencoded::byte_serialize;
use url::{Position, Url};

use super::cookie::Cookie;
use super::csrf::{check_csrf, origin_of};
use super::keys::check;
use super::oidc::{Oidc, Purpose, now};
use super::{MaybePerson, base, is_secure, parameter, sign_in_path};
use crate::http::problem::{Problem, ProblemKind};
use crate::http::site::Site;
use crate::pages::error_page;

/// How long somebody may take at the provider.
const UNDERWAY_SECONDS: u64 = 600;
/// Bytes of the path to which one goes on.
const TO_BYTES_MAX: usize = 1_024;
const RETURN_PATH: &str = "/signin/return";

/// The routes of signing in and out.
pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/signin", get(sign_in))
        .route(RETURN_PATH, get(come_back))
        .route("/signout", post(sign_out))
}

/// Where a provider sends browsers back to.
pub(in crate::http) fn return_url(base: &str) -> String {
    format!("{}{RETURN_PATH}", base.trim_end_matches('/'))
}

async fn sign_in(State(site): State<Site>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let begun = begin(&site, query.as_deref().unwrap_or_default(), &headers).await;
    begun.unwrap_or_else(|problem| error_page(&site, None, &problem))
}

async fn begin(site: &Site, query: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let oidc = site.auth.oidc()?;
    let to = parameter(query, "to").as_deref().and_then(local_path);
    let to = to.as_deref().unwrap_or("/");
    let base = base(site);
    if site.settings.public_url.is_none()
        && let Some(url) = elsewhere(base, headers, to)
    {
        return see_other(&url, []);
    }
    let endpoints = oidc.endpoints().await.map_err(|_| unreachable_provider())?;
    let endpoint = endpoints.authorization_endpoint.as_deref();
    let mut url = endpoint
        .filter(|url| check(url).is_ok())
        .and_then(|url| Url::parse(url).ok())
        .ok_or_else(unreachable_provider)?;
    let underway = site.auth.seal.start(to, now())?;
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", oidc.settings.client())
        .append_pair("redirect_uri", &return_url(base))
        .append_pair("scope", &oidc.settings.scopes.join(" "))
        .append_pair("state", &underway.state)
        .append_pair("nonce", &underway.nonce)
        .append_pair("code_challenge", &challenge(&underway.verifier))
        .append_pair("code_challenge_method", "S256");
    let cookie = Cookie::sign_in(is_secure(site)).set(&underway.cookie);
    see_other(url.as_str(), [(header::SET_COOKIE, cookie)])
}

/// Where the sign-in must be begun instead: the provider sends browsers back to one name of this server, and a cookie
/// that was set under another one does not come along.
fn elsewhere(base: &str, headers: &HeaderMap, to: &str) -> Option<String> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let (scheme, _) = base.split_once("://")?;
    let here = origin_of(&format!("{scheme}://{host}"))?;
    let there = origin_of(base)?;
    (here != there).then(|| format!("{there}{}", sign_in_path(to)))
}

async fn come_back(State(site): State<Site>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let done = finish(&site, query.as_deref().unwrap_or_default(), &headers).await;
    done.unwrap_or_else(|problem| {
        let gone = (header::SET_COOKIE, Cookie::sign_in(is_secure(&site)).clear());
        (AppendHeaders([gone]), error_page(&site, None, &problem)).into_response()
    })
}

async fn finish(site: &Site, query: &str, headers: &HeaderMap) -> Result<Response, Problem> {
    let oidc = site.auth.oidc()?;
    let is_secure = is_secure(site);
    let (session_cookie, sign_in_cookie) = (Cookie::session(is_secure), Cookie::sign_in(is_secure));
    let state = parameter(query, "state").ok_or_else(begin_again)?;
    let sent = sign_in_cookie.find(headers).ok_or_else(begin_again)?;
    let underway = site
        .auth
        .seal
        .resume(sent, &state, now())
        .ok_or_else(begin_again)?;
    // RFC 9207: an answer that another provider has given.
    if parameter(query, "iss").is_some_and(|issuer| issuer != oidc.settings.issuer) {
        return Err(begin_again());
    }
    if let Some(error) = parameter(query, "error") {
        return Err(refused(&error));
    }
    let code = parameter(query, "code").ok_or_else(begin_again)?;
    let token = exchange(oidc, &code, &underway.verifier, &return_url(base(site))).await?;
    let nonce = &underway.nonce;
    let person = oidc.verify(&token, Purpose::SignIn { nonce }).await?;
    if let Some(before) = session_cookie.find(headers) {
        site.auth.sessions.end(before);
    }
    let number = site.auth.sessions.begin(person, now())?;
    let set = [
        (header::SET_COOKIE, session_cookie.set(&number)),
        (header::SET_COOKIE, sign_in_cookie.clear()),
    ];
    see_other(&underway.to, set)
}

/// Trades the code for the ID token. The other tokens that come along are not kept.
async fn exchange(oidc: &Oidc, code: &str, verifier: &str, back: &str) -> Result<String, Problem> {
    #[derive(Deserialize)]
    struct Answer {
        id_token: String,
    }
    let endpoints = oidc.endpoints().await.map_err(|_| unreachable_provider())?;
    let endpoint = endpoints
        .token_endpoint
        .clone()
        .ok_or_else(unreachable_provider)?;
    let client_id = oidc.settings.client();
    let basic = oidc.secret().map(|secret| basic(client_id, secret));
    let mut form = vec![
        ("grant_type", "authorization_code".to_owned()),
        ("code", code.to_owned()),
        ("redirect_uri", back.to_owned()),
        ("code_verifier", verifier.to_owned()),
    ];
    if basic.is_none() {
        form.push(("client_id", client_id.to_owned()));
    }
    let client = Arc::clone(oidc.client());
    let place = Arc::clone(&oidc.trades).acquire_owned().await;
    let place = place.map_err(|error| Problem::failed(&error))?;
    let ask = move || {
        let _place = place;
        let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = client.post(&endpoint, &form, basic.as_deref())?;
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|error| format!("{endpoint}: {error}"))?;
        Ok(answer.id_token)
    };
    let told: Result<String, String> = match tokio::task::spawn_blocking(ask).await {
        Ok(told) => told,
        Err(error) => Err(error.to_string()),
    };
    told.map_err(|reason| {
        tracing::warn!(target: "http", %reason, "the sign-in provider did not take a code");
        begin_again()
    })
}

/// What stands after `Basic` (RFC 6749 §2.3.1: both are form-encoded first).
fn basic(client_id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    BASE64.encode(format!("{}:{}", encoded(client_id), encoded(secret)).as_bytes())
}

#[derive(Default, Deserialize)]
struct SignOut {
    #[serde(default)]
    csrf: String,
}

async fn sign_out(
    State(site): State<Site>,
    MaybePerson(person): MaybePerson,
    headers: HeaderMap,
    form: Result<Form<SignOut>, FormRejection>,
) -> Response {
    let Form(form) = form.unwrap_or_default();
    if let Some(person) = &person
        && let Err(problem) = check_csrf(person, &form.csrf)
    {
        return error_page(&site, Some(person), &problem);
    }
    let cookie = Cookie::session(is_secure(&site));
    if let Some(number) = cookie.find(&headers) {
        site.auth.sessions.end(number);
    }
    let left = see_other("/", [(header::SET_COOKIE, cookie.clear())]);
    left.unwrap_or_else(|problem| error_page(&site, None, &problem))
}

/// Goes on elsewhere. Nothing of the way may be kept or told on: the URLs hold what signs somebody in.
fn see_other<const N: usize>(
    url: &str,
    headers: [(header::HeaderName, HeaderValue); N],
) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(url).map_err(|error| Problem::failed(&error))?;
    let fixed = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((StatusCode::SEE_OTHER, fixed, AppendHeaders(headers)).into_response())
}

fn unreachable_provider() -> Problem {
    let text = "the sign-in provider does not answer as it should at the moment";
    Problem::new(ProblemKind::NotReady, text)
}

fn begin_again() -> Problem {
    let text =
        "this sign-in was not begun in this browser, has taken too long or was finished before; begin again";
    Problem::new(ProblemKind::Unauthenticated, text)
}

/// The provider has not signed somebody in. What it calls the reason is a word of a list, or nobody's.
fn refused(error: &str) -> Problem {
    match error {
        "access_denied" => Problem::new(
            ProblemKind::Unauthenticated,
            "you were not signed in, at your own word or the sign-in provider's",
        ),
        "temporarily_unavailable" | "server_error" => unreachable_provider(),
        _ => begin_again(),
    }
}

/// A path of this server to go on to, with its query; none for anything that leads elsewhere or back to signing in.
fn local_path(to: &str) -> Option<String> {
    let looks_local = to.len() <= TO_BYTES_MAX
        && to.starts_with('/')
        && !to.starts_with("//")
        && !to.contains('\\')
        && !to.chars().any(char::is_control);
    if !looks_local {
        return None;
    }
    // As browsers read it: with dots resolved, a path can turn into the name of a host.
    let nowhere = Url::parse("http://nowhere.invalid").ok()?;
    let url = nowhere.join(to).ok()?;
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let is_here = url.origin() == nowhere.origin() && !path.starts_with("//") && !path.starts_with("/sign");
    is_here.then(|| path.to_owned())
}

/// The challenge of a verifier (RFC 7636, S256).
pub(in crate::http) fn challenge(verifier: &str) -> String {
    let hash: [u8; 32] = Sha256::digest(verifier.as_bytes()).into();
    BASE64URL_NOPAD.encode(&hash)
}

/// A sign-in under way.
#[derive(Debug, PartialEq, Eq)]
struct Underway {
    /// What the browser keeps.
    cookie: String,
    state: String,
    nonce: String,
    verifier: String,
    /// Where to go on to.
    to: String,
}

/// Ties a sign-in to the browser it is begun in: a secret of this process.
pub(super) struct Seal([u8; 32]);

impl Seal {
    pub(super) fn new() -> Result<Self, LedgerError> {
        Ok(Self(files::random()?))
    }

    fn start(&self, to: &str, now: u64) -> Result<Underway, LedgerError> {
        let number = BASE64URL_NOPAD.encode(&files::random::<32>()?);
        let to_encoded = BASE64URL_NOPAD.encode(to.as_bytes());
        Ok(self.underway(format!("{number}.{now}.{to_encoded}"), to.to_owned()))
    }

    /// The sign-in that a cookie and the state belong to, if it was begun here and not too long ago.
    fn resume(&self, cookie: &str, state: &str, now: u64) -> Option<Underway> {
        let mut parts = cookie.split('.').skip(1);
        let (begun, to) = (parts.next()?, parts.next()?);
        let to = String::from_utf8(BASE64URL_NOPAD.decode(to.as_bytes()).ok()?).ok()?;
        let underway = self.underway(cookie.to_owned(), to);
        if !bool::from(underway.state.as_bytes().ct_eq(state.as_bytes())) {
            return None;
        }
        let begun: u64 = begun.parse().ok()?;
        (begun <= now && now - begun < UNDERWAY_SECONDS).then_some(underway)
    }

    fn underway(&self, cookie: String, to: String) -> Underway {
        Underway {
            state: self.derive("state", &cookie),
            nonce: self.derive("nonce", &cookie),
            verifier: self.derive("verifier", &cookie),
            cookie,
            to,
        }
    }

    /// What nobody without the secret can tell. Both parts of what is hashed last have one length.
    fn derive(&self, what: &str, cookie: &str) -> String {
        let told = Sha256::digest(format!("sharetrail sign-in v1\n{what}\n{cookie}").as_bytes());
        let derived = Sha256::new().chain_update(self.0).chain_update(told).finalize();
        let derived: [u8; 32] = derived.into();
        BASE64URL_NOPAD.encode(&derived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn seal() -> Seal {
        Seal([7; 32])
    }

    #[test]
    fn a_sign_in_comes_back_to_the_browser_it_was_begun_in() {
        let begun = seal().start("/me?a=b", NOW).unwrap();
        let back = seal().resume(&begun.cookie, &begun.state, NOW + 599).unwrap();
        assert_eq!(back, begun);
        assert_eq!(back.to, "/me?a=b");
        assert_eq!(begun.verifier.len(), 43);
        assert_ne!(begun.nonce, begun.state);
        assert_ne!(begun.verifier, begun.state);
    }

    /// The fault: somebody makes another's browser finish a sign-in that is their own, and reads what is typed there;
    /// or changes where one ends up.
    #[test]
    fn nobody_finishes_another_browsers_sign_in() {
        let (begun, other) = (
            seal().start("/me", NOW).unwrap(),
            seal().start("/me", NOW).unwrap(),
        );
        let resume = |cookie: &str, state: &str, now| seal().resume(cookie, state, now);
        assert!(resume(&other.cookie, &begun.state, NOW).is_none());
        assert!(resume(&begun.cookie, &other.state, NOW).is_none());
        assert!(resume(&begun.cookie, "", NOW).is_none());
        assert!(resume("", &begun.state, NOW).is_none());
        assert!(resume("a.b.c", &begun.state, NOW).is_none());
        let (head, _) = begun.cookie.rsplit_once('.').unwrap();
        let to = BASE64URL_NOPAD.encode(b"//evil.example");
        assert!(resume(&format!("{head}.{to}"), &begun.state, NOW).is_none());
        assert!(resume(&format!("{}.x", begun.cookie), &begun.state, NOW).is_none());
        assert!(resume(&begun.cookie, &begun.state, NOW + 600).is_none());
        assert!(resume(&begun.cookie, &begun.state, NOW - 1).is_none());
        assert!(Seal([8; 32]).resume(&begun.cookie, &begun.state, NOW).is_none());
    }

    /// The fault: a link to this server's sign-in ends on another one, which looks the same and asks for more.
    #[test]
    fn one_goes_on_to_a_path_of_this_server() {
        assert_eq!(local_path("/").as_deref(), Some("/"));
        assert_eq!(
            local_path("/me/timeline?from=2026-01-01&kind=a#b").as_deref(),
            Some("/me/timeline?from=2026-01-01&kind=a")
        );
        assert_eq!(local_path("/me/ä").as_deref(), Some("/me/%C3%A4"));
        for bad in [
            "",
            "me",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/.//evil.example",
            "/a/..//evil.example",
            "/%2e//evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "/signin?to=/signin",
            "/signout",
        ] {
            let path = local_path(bad);
            assert!(path.is_none(), "{bad:?} leads to {path:?}");
        }
        assert_eq!(local_path(&format!("/{}", "a".repeat(2_000))), None);
    }

    #[test]
    fn a_sign_in_is_begun_under_the_name_it_comes_back_to() {
        let headers = |host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            headers
        };
        let base = "http://127.0.0.1:80";
        assert_eq!(elsewhere(base, &headers("127.0.0.1"), "/me"), None);
        assert_eq!(
            elsewhere(base, &headers("localhost"), "/me").as_deref(),
            Some("http://127.0.0.1/signin?to=%2Fme")
        );
        assert_eq!(elsewhere(base, &HeaderMap::new(), "/me"), None);
    }

    /// RFC 7636 appendix B.
    #[test]
    fn challenges_are_as_in_the_rfc() {
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }

    #[test]
    fn a_clients_name_and_secret_may_hold_anything() {
        let decoded = BASE64.decode(basic("a:b", "s%c d").as_bytes()).unwrap();
        assert_eq!(decoded, b"a%3Ab:s%25c+d");
    }
}
