//! Who asks: customers and officers by tokens of the company's OpenID provider, services by tokens of this ledger or by
//! a client's certificate.
//!
//! In scope: what a request shows, and whom it proves; the extractors by which a route says whom it is for. Out of
//! scope: what they get. Trust: nobody is anybody until what they show was checked. A header that shows something
//! counts before a cookie, and where it is no good, nothing else is looked at. A customer's id comes out of a checked
//! token alone, never out of what a request says besides.

mod cookie;
mod csrf;
mod keys;
mod oidc;
mod services;
mod signin;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sharetrail_ledger::Ledger;
use sharetrail_proof::name::Name;
use url::form_urlencoded;

use self::cookie::{Cookie, Found, Sessions};
use self::oidc::{Oidc, Verified, now};
use self::services::{Services, TOKEN_PREFIX};
use self::signin::Seal;
use super::problem::{Problem, ProblemKind};
use super::settings::HttpSettings;
use super::site::Site;
use crate::error::ConsumerError;
use crate::pages::error_page;

pub(crate) use self::cookie::SessionEnd;
pub(crate) use self::csrf::check_csrf;
pub(crate) use self::services::{ClientName, Service};
pub use self::services::{ServiceToken, ServiceTokens};
pub(crate) use self::signin::routes;
pub(super) use self::signin::{challenge, return_url};

/// What is said where nobody can sign in.
const NOT_SET_UP: &str =
    "sign-in is not set up on this server; its operator names an OpenID provider under [oidc] in http.toml";

/// What tells who asks.
pub(crate) struct Auth {
    oidc: Option<Oidc>,
    services: Services,
    sessions: Sessions,
    seal: Seal,
}

impl Auth {
    /// Reads the files that the settings name; asks nobody yet.
    pub(crate) fn new(settings: &HttpSettings, ledger: &Ledger) -> Result<Self, ConsumerError> {
        Ok(Self {
            oidc: settings.oidc.as_ref().map(Oidc::new).transpose()?,
            services: Services::new(ledger.root()),
            sessions: Sessions::default(),
            seal: Seal::new()?,
        })
    }

    fn oidc(&self) -> Result<&Oidc, Problem> {
        let missing = || Problem::new(ProblemKind::Unauthenticated, NOT_SET_UP);
        self.oidc.as_ref().ok_or_else(missing)
    }

    /// Makes a service token that only this run of the server knows.
    pub(super) fn lend(&self, producer: &Name, name: &str) -> Result<String, ConsumerError> {
        self.services.lend(producer, name)
    }

    /// What somebody is told who shows nothing.
    fn stranger(&self) -> Problem {
        let text = if self.oidc.is_some() {
            "sign in with a browser, or send a token of the sign-in provider as `Authorization: Bearer …`"
        } else {
            NOT_SET_UP
        };
        Problem::new(ProblemKind::Unauthenticated, text)
    }
}

/// Somebody signed in at the company's OpenID provider.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    /// The customer they are, if they are one.
    pub(crate) customer: Option<String>,
    pub(crate) is_officer: bool,
    pub(crate) name: Option<String>,
    /// Whether a browser's cookie says so; else a token that came with the request.
    pub(crate) from_cookie: bool,
    /// When what they showed ends, in Unix seconds.
    pub(crate) ends: u64,
    /// Tells when their session has ended; none without one.
    pub(crate) session_end: Option<SessionEnd>,
    /// The provider's own id of them.
    account: String,
    /// What the forms of the session carry; none without a session.
    session: Option<Arc<str>>,
}

impl Person {
    fn by_token(verified: &Verified) -> Self {
        Self {
            customer: verified.customer.clone(),
            is_officer: verified.is_officer,
            name: verified.name.clone(),
            from_cookie: false,
            ends: verified.ends,
            session_end: None,
            account: verified.account.clone(),
            session: None,
        }
    }

    fn by_cookie(found: Found) -> Self {
        Self {
            from_cookie: true,
            ends: found.ends,
            session_end: Some(found.end),
            session: Some(found.csrf),
            ..Self::by_token(&found.who)
        }
    }

    /// What a form of this session carries as `csrf`; empty where no browser is at work.
    pub(crate) fn csrf(&self) -> String {
        self.session.as_deref().unwrap_or_default().to_owned()
    }

    /// Somebody with a session, for tests of pages.
    #[cfg(test)]
    pub(crate) fn for_tests(customer: Option<&str>, is_officer: bool) -> Self {
        Self {
            customer: customer.map(str::to_owned),
            is_officer,
            name: None,
            from_cookie: true,
            ends: u64::from(u32::MAX),
            session_end: None,
            account: customer.unwrap_or("officer").to_owned(),
            session: Some("csrf-of-tests".into()),
        }
    }
}

/// Whom a request proves to come from.
enum Caller {
    Nobody,
    Person(Person),
    Service(Service),
}

async fn caller(parts: &Parts, site: &Site) -> Result<Caller, Problem> {
    if let Some(token) = bearer(&parts.headers)? {
        if token.starts_with(TOKEN_PREFIX) {
            return site.auth.services.find(token).map(Caller::Service);
        }
        let verified = site.auth.oidc()?.bearer(token).await?;
        return Ok(Caller::Person(Person::by_token(&verified)));
    }
    let number = Cookie::session(is_secure(site)).find(&parts.headers);
    let Some(found) = number.and_then(|number| site.auth.sessions.find(number, now())) else {
        return Ok(Caller::Nobody);
    };
    if !csrf::is_safe(&parts.method) {
        csrf::check_origin(&parts.headers, base(site), site.settings.public_url.is_none())?;
    }
    Ok(Caller::Person(Person::by_cookie(found)))
}

/// Whether a request shows something by which it may be known who asks: a header, a client's certificate, or the
/// cookie of a session that there is. Any other cookie shows nothing.
pub(super) fn shows_something(headers: &HeaderMap, has_certificate: bool, site: &Site) -> bool {
    has_certificate || headers.contains_key(header::AUTHORIZATION) || {
        let number = Cookie::session(is_secure(site)).find(headers);
        number.is_some_and(|number| site.auth.sessions.find(number, now()).is_some())
    }
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let refused = |text: &str| Problem::new(ProblemKind::Unauthenticated, text);
    let mut shown = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = shown.next() else {
        return Ok(None);
    };
    if shown.next().is_some() {
        return Err(refused("the request has more than one Authorization header"));
    }
    let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
    match parts {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(refused("the Authorization header is not `Bearer` and a token")),
    }
}

async fn person(parts: &Parts, site: &Site) -> Result<Person, Problem> {
    match caller(parts, site).await? {
        Caller::Nobody => Err(site.auth.stranger()),
        Caller::Person(person) => Ok(person),
        Caller::Service(_) => {
            let text = "this is for people who sign in; a service token is nobody's";
            Err(Problem::new(ProblemKind::Forbidden, text))
        }
    }
}

/// A customer who has proven to be one.
pub(crate) struct Customer {
    pub(crate) id: String,
    pub(crate) person: Person,
}

impl FromRequestParts<Site> for Customer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let person = person(parts, site).await?;
        let Some(id) = person.customer.clone() else {
            let text = "this is for customers, and whoever is signed in is none";
            return Err(Problem::new(ProblemKind::Forbidden, text));
        };
        site.limits.check_customer(&id)?;
        Ok(Self { id, person })
    }
}

/// An officer who has proven to be one.
pub(crate) struct Officer {
    pub(crate) person: Person,
}

impl FromRequestParts<Site> for Officer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let person = person(parts, site).await?;
        if !person.is_officer {
            let text = "this is for officers, and whoever is signed in is none";
            return Err(Problem::new(ProblemKind::Forbidden, text));
        }
        site.limits.check_officer(&person.account)?;
        Ok(Self { person })
    }
}

impl FromRequestParts<Site> for Service {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let service = match caller(parts, site).await? {
            Caller::Service(service) => service,
            Caller::Person(_) => {
                let text = "this is for services; customers and officers record nothing here";
                return Err(Problem::new(ProblemKind::Forbidden, text));
            }
            Caller::Nobody => {
                let Some(names) = parts.extensions.get::<ClientName>() else {
                    let text =
                        "send a service token as `Authorization: Bearer st_…`, or show a client certificate";
                    return Err(Problem::new(ProblemKind::Unauthenticated, text));
                };
                Self::certified(names)?
            }
        };
        site.limits.check_service(&service.producer)?;
        tracing::debug!(target: "http", producer = %service.producer, token = %service.name, "a service asks");
        Ok(service)
    }
}

/// Somebody who may be signed in, for pages that are for all.
pub(crate) struct MaybePerson(pub(crate) Option<Person>);

impl FromRequestParts<Site> for MaybePerson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Problem> {
        let Caller::Person(person) = caller(parts, site).await? else {
            return Ok(Self(None));
        };
        match &person.customer {
            Some(id) => site.limits.check_customer(id)?,
            None if person.is_officer => site.limits.check_officer(&person.account)?,
            None => {}
        }
        Ok(Self(Some(person)))
    }
}

/// A customer on a page: without one, the page leads to the sign-in.
pub(crate) struct PageCustomer(pub(crate) Customer);

impl FromRequestParts<Site> for PageCustomer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        match Customer::from_request_parts(parts, site).await {
            Ok(customer) => Ok(Self(customer)),
            Err(problem) => Err(turn_away(parts, site, &problem).await),
        }
    }
}

/// An officer on a page: without one, the page leads to the sign-in.
pub(crate) struct PageOfficer(pub(crate) Officer);

impl FromRequestParts<Site> for PageOfficer {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        match Officer::from_request_parts(parts, site).await {
            Ok(officer) => Ok(Self(officer)),
            Err(problem) => Err(turn_away(parts, site, &problem).await),
        }
    }
}

/// What a page answers to somebody it is not for.
async fn turn_away(parts: &Parts, site: &Site, problem: &Problem) -> Response {
    // A form is not sent on: browsers hold forms to this server, and what was filled in would be lost without a word.
    let can_sign_in = problem.kind() == ProblemKind::Unauthenticated
        && site.auth.oidc.is_some()
        && csrf::is_safe(&parts.method)
        && !parts.headers.contains_key(header::AUTHORIZATION);
    if can_sign_in {
        let asked = parts.uri.path_and_query();
        let path = sign_in_path(asked.map_or("/", |asked| asked.as_str()));
        if let Ok(location) = HeaderValue::try_from(path) {
            let headers = [
                (header::LOCATION, location),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            ];
            return (StatusCode::SEE_OTHER, headers).into_response();
        }
    }
    let person = match caller(parts, site).await {
        Ok(Caller::Person(person)) => Some(person),
        _ => None,
    };
    error_page(site, person.as_ref(), problem)
}

/// The way to the sign-in that comes back to a path.
fn sign_in_path(to: &str) -> String {
    with_query("/signin", [("to", to)])
}

/// A place with a query.
pub(super) fn with_query<'a>(place: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    format!("{place}?{}", query.finish())
}

/// How browsers reach this server.
fn base(site: &Site) -> &str {
    let settings = site.settings.public_url.as_deref();
    settings
        .or_else(|| site.url.get().map(String::as_str))
        .unwrap_or("http://localhost")
}

/// Whether browsers reach it over TLS: cookies go nowhere else then.
fn is_secure(site: &Site) -> bool {
    base(site).starts_with("https:")
}

/// A parameter of a query or a form that is there once.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Some(value.into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(lines: &[&'static str]) -> Result<Option<String>, ProblemKind> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(line));
        }
        let token = bearer(&headers).map(|token| token.map(str::to_owned));
        token.map_err(|problem| problem.kind())
    }

    /// The fault: a request that shows two things is taken for whichever is read last.
    #[test]
    fn a_request_shows_one_token() {
        assert_eq!(shown(&[]), Ok(None));
        assert_eq!(shown(&["Bearer a.b.c"]), Ok(Some("a.b.c".into())));
        assert_eq!(shown(&["bearer  st_x"]), Ok(Some("st_x".into())));
        for bad in [
            &["Basic YTpi"][..],
            &["Bearer"],
            &["a.b.c"],
            &[""],
            &["Bearer a", "Bearer a"],
            &["Bearer a", "Basic b"],
        ] {
            assert_eq!(shown(bad), Err(ProblemKind::Unauthenticated), "{bad:?}");
        }
    }

    #[test]
    fn a_parameter_is_there_once() {
        let of = |query: &str| parameter(query, "to");
        assert_eq!(of("to=%2Fme%3Fa%3Db&x=y").as_deref(), Some("/me?a=b"));
        assert_eq!(of("to=a&to=b"), None);
        assert_eq!(of("too=a"), None);
        assert_eq!(of(""), None);
    }

    #[test]
    fn the_way_to_the_sign_in_keeps_where_one_was() {
        let path = sign_in_path("/me/timeline?kind=a&to=b");
        assert_eq!(path, "/signin?to=%2Fme%2Ftimeline%3Fkind%3Da%26to%3Db");
        let query = path.split_once('?').unwrap().1;
        assert_eq!(
            parameter(query, "to").as_deref(),
            Some("/me/timeline?kind=a&to=b")
        );
    }
}
