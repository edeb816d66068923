//! Around every request: its limits of rate, size and time, its number, its line in the log, the headers every answer
//! has.
//!
//! In scope: what is the same for all routes; that a handler which panics is answered for. Out of scope: who may ask
//! what. Trust: the log may be read by people who may not read trails. It holds the template of the route and never the
//! path or the query, no id of anybody, no token, no address.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tokio::time::timeout;

use super::auth::{ClientName, shows_something};
use super::connections::Remote;
use super::limits::{Asked, Limits};
use super::metrics::{Metrics, method_label};
use super::problem::{Look, Problem, ProblemKind};
use super::proxies::caller;
use super::site::Site;

/// The header of the answer that carries the request's number.
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How much of a body that is too large is taken in before that is told: whoever is still sending does not read an
/// answer.
const DRAINED_MAX: u64 = 64 << 20;
const DRAIN_WAIT: Duration = Duration::from_secs(10);
/// Where events are sent, which may be many in one body.
const EVENTS_PATH: &str = "/v1/events";
/// Where it is asked whether data may be shared, which changes nothing.
const AUTHORIZE_PATH: &str = "/v1/authorize";
/// Bytes of the body of any other request: what people write, and a switch for each of a thousand recipients.
const OTHER_BYTES_MAX: u64 = 256 << 10;
/// What a route is called where there is none.
const NO_ROUTE: &str = "none";

/// What every answer has, unless it says otherwise itself.
///
/// The referrer stays on this host. It is not kept from it: without one, a browser does not say either where a form was
/// sent from, and that is what keeps other sites from sending forms in a customer's name.
static ALWAYS: [(HeaderName, HeaderValue); 6] = [
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Who asks, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Anybody,
    Customer,
    Officer,
    Service,
    Host,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Anybody => "anybody",
            Self::Customer => "customer",
            Self::Officer => "officer",
            Self::Service => "service",
            Self::Host => "host",
        }
    }
}

tokio::task_local! {
    static ROLE: Cell<Role>;
}

/// Notes who asks, for the log. Outside of a request there is nobody to note.
pub(super) fn note_role(role: Role) {
    let _ = ROLE.try_with(|noted| noted.set(role));
}

/// What requests are held to.
#[derive(Clone)]
pub(super) struct Rules(pub(super) Arc<Bounds>);

pub(super) struct Bounds {
    pub(super) metrics: Metrics,
    /// None where only files are served.
    pub(super) site: Option<Site>,
    /// Bytes of a body with events.
    pub(super) body_bytes: u64,
    pub(super) time: Duration,
    pub(super) is_tls: bool,
    pub(super) numbers: Numbers,
}

/// Numbers for requests, which nobody can guess or trace back.
pub(super) struct Numbers {
    hasher: RandomState,
    next: AtomicU64,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            next: AtomicU64::new(0),
        }
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:016x}", self.hasher.hash_one(number))
    }
}

/// Answers a request, whatever its handler does.
pub(super) async fn around(State(rules): State<Rules>, request: Request, next: Next) -> Response {
    let (bounds, began) = (&*rules.0, Instant::now());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let number = bounds.numbers.next();
    let noted = Cell::new(Role::Anybody);
    let (mut response, role) = ROLE
        .scope(noted, async {
            let response = bounds.answer(request, next).await;
            (response, ROLE.with(Cell::get))
        })
        .await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let (status, took) = (response.status(), began.elapsed());
    bounds.metrics.answered(route, &method, status, took);
    tell(&number, &method, route, status, took, role);
    dress(response.headers_mut(), &number, bounds.is_tls);
    response
}

impl Bounds {
    async fn answer(&self, mut request: Request, next: Next) -> Response {
        let (from, uri) = (self.caller(&request), request.uri().clone());
        let asked = Asked::new(uri.path(), self.shows_something(&request));
        if let (Some(limits), Some(from)) = (self.limits(), from)
            && let Err(problem) = limits.admit(from, asked)
        {
            return self.refuse(&uri, problem);
        }
        let length = declared(request.headers()).unwrap_or_default();
        let most = self.body_bytes_at(uri.path());
        if length > most {
            return self.refuse_body(length, most, request).await;
        }
        // A body whose length is not declared is cut off there by whatever reads it.
        DefaultBodyLimit::max(usize::try_from(most).unwrap_or(usize::MAX)).apply(&mut request);
        let has_body = !request.body().is_end_stream();
        let is_change = is_change(request.method(), uri.path());
        let answered = timeout(self.time, caught(next.run(request))).await;
        let is_known = ROLE.try_with(Cell::get).is_ok_and(|role| role != Role::Anybody);
        // Whoever was not known by then has changed nothing.
        let answered = answered.unwrap_or_else(|_| Err(late(is_change && is_known, has_body, uri.path())));
        let response = answered.unwrap_or_else(|problem| self.refuse(&uri, problem));
        if let (Some(limits), Some(from)) = (self.limits(), from)
            && let Err(problem) = limits.answered(from, asked, is_known, response.status())
        {
            return self.refuse(&uri, problem);
        }
        response
    }

    /// Programs get a problem, and people a page where there are any.
    fn refuse(&self, uri: &Uri, problem: Problem) -> Response {
        match &self.site {
            Some(site) => super::refuse(site, uri, problem),
            None => problem.into_response(),
        }
    }

    /// Whom a request counts as coming from.
    fn caller(&self, request: &Request) -> Option<IpAddr> {
        let Remote(peer) = request.extensions().get::<Remote>()?;
        let trusted = &self.site.as_ref()?.settings.trusted_proxies;
        Some(caller(peer.ip(), request.headers(), trusted))
    }

    fn limits(&self) -> Option<&Limits> {
        self.site.as_ref().map(|site| &site.limits)
    }

    fn shows_something(&self, request: &Request) -> bool {
        let has_certificate = request.extensions().get::<ClientName>().is_some();
        let site = self.site.as_ref();
        site.is_some_and(|site| shows_something(request.headers(), has_certificate, site))
    }

    fn body_bytes_at(&self, path: &str) -> u64 {
        if path == EVENTS_PATH {
            self.body_bytes
        } else {
            self.body_bytes.min(OTHER_BYTES_MAX)
        }
    }

    async fn refuse_body(&self, length: u64, most: u64, request: Request) -> Response {
        let uri = request.uri().clone();
        if length <= DRAINED_MAX && !request.headers().contains_key(header::EXPECT) {
            let _ = timeout(DRAIN_WAIT.min(self.time), drain(request.into_body())).await;
        }
        let detail = format!("the body has {length} bytes, and at most {most} are taken; send it in parts");
        let mut response = self.refuse(&uri, Problem::new(ProblemKind::TooLarge, detail));
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

async fn drain(body: Body) {
    let mut bytes = body.into_data_stream();
    while let Some(Ok(_)) = bytes.next().await {}
}

/// Whether a request may have changed something that a second one like it changes again. Events are known by their ids.
fn is_change(method: &Method, path: &str) -> bool {
    !method.is_safe() && ![EVENTS_PATH, AUTHORIZE_PATH].contains(&path)
}

/// A request to `path` that was not done in its time. Of one with a body it is not known whether all of it came.
fn late(is_change: bool, has_body: bool, path: &str) -> Problem {
    if is_change {
        let detail = "this took too long, and it is not known whether it is done: look at what it was to change, and \
                      ask for it again only where it has not";
        Problem::new(ProblemKind::OutcomeUnknown, detail).with_look(Look::of(path))
    } else if has_body {
        let detail = "the request did not come, or was not done, in its time; send it again";
        Problem::new(ProblemKind::Timeout, detail)
    } else {
        let detail = "this host has too much to do; ask again in a moment";
        Problem::new(ProblemKind::NotReady, detail)
    }
}

/// What a handler answers; if it panics, that this host is at fault. Where it panicked was told by then.
async fn caught(answer: impl Future<Output = Response>) -> Result<Response, Problem> {
    let mut answer = pin!(answer);
    // What the handler was changing when it panicked is dropped with it; what it shares is behind locks that bear that.
    let polled = std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(response)) => Poll::Ready(Some(response)),
            Err(_) => Poll::Ready(None),
        }
    });
    polled.await.ok_or_else(|| Problem::failed(&"a handler panicked"))
}

/// Files by the thousand and health checks are no news; whatever this host is at fault for is.
fn tell(number: &str, method: &Method, route: &str, status: StatusCode, took: Duration, role: Role) {
    let (method, role) = (method_label(method), role.name());
    let (status, duration_ms) = (status.as_u16(), took.as_secs_f64() * 1_000.0);
    let is_quiet = ["/log/", "/map/", "/assets/", "/healthz", "/readyz", "/metrics"]
        .iter()
        .any(|quiet| route.starts_with(quiet));
    if status >= 500 && status != StatusCode::SERVICE_UNAVAILABLE.as_u16() {
        tracing::warn!(target: "http", request = number, method, route, status, duration_ms, role, "request");
    } else if is_quiet {
        tracing::debug!(target: "http", request = number, method, route, status, duration_ms, role, "request");
    } else {
        tracing::info!(target: "http", request = number, method, route, status, duration_ms, role, "request");
    }
}

fn dress(headers: &mut HeaderMap, number: &str, is_tls: bool) {
    for (name, value) in &ALWAYS {
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
    if is_tls {
        let value = HeaderValue::from_static("max-age=31536000");
        headers.entry(header::STRICT_TRANSPORT_SECURITY).or_insert(value);
    }
    if let Ok(value) = HeaderValue::from_str(number) {
        headers.insert(REQUEST_ID.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    /// The fault: a handler's bug drops the connection, and whoever asked cannot tell it from a network that failed.
    #[test]
    fn a_panic_is_answered() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let answered = runtime.block_on(caught(async {
            tokio::task::yield_now().await;
            let nothing: Vec<u8> = Vec::new();
            let first = nothing.first().copied().expect("the test panics here");
            [first].into_response()
        }));
        assert_eq!(answered.unwrap_err().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    /// The fault: somebody is told to send again what is being done, and asks for two deletions; or a service, whose
    /// events are known by their ids, is kept from it.
    #[test]
    fn a_change_that_took_too_long_is_not_to_be_repeated_blindly() {
        let kind =
            |method: Method, path: &str, has_body| late(is_change(&method, path), has_body, path).kind();
        for path in [
            "/v1/me/choices",
            "/v1/me/requests",
            "/v1/officer/requests/0/7",
            "/me/choices",
        ] {
            assert_eq!(
                kind(Method::POST, path, true),
                ProblemKind::OutcomeUnknown,
                "{path}"
            );
            assert_eq!(
                kind(Method::POST, path, false),
                ProblemKind::OutcomeUnknown,
                "{path}"
            );
            assert_eq!(kind(Method::GET, path, false), ProblemKind::NotReady, "{path}");
        }
        assert_eq!(kind(Method::POST, "/v1/events", true), ProblemKind::Timeout);
        assert_eq!(kind(Method::POST, "/v1/authorize", true), ProblemKind::Timeout);
    }

    /// The fault: a page tells somebody to look, and leads them nowhere, or to what is not theirs.
    #[test]
    fn a_change_that_took_too_long_on_a_page_leads_to_where_it_is_seen() {
        for (path, look) in [
            ("/me/choices", Some(Look::Choices)),
            ("/me/requests", Some(Look::Requests)),
            ("/officer/requests/0/7", Some(Look::OfficerRequests)),
            ("/signout", None),
        ] {
            assert_eq!(late(true, true, path).look(), look, "{path}");
            assert_eq!(late(false, true, path).look(), None, "{path}");
        }
    }

    #[test]
    fn numbers_do_not_repeat() {
        let numbers = Numbers::new();
        let mut given: Vec<String> = (0..1_000).map(|_| numbers.next()).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 1_000);
        assert!(given.iter().all(|number| number.len() == 16));
    }

    /// The fault: an answer that may be kept for ever is kept by nobody, or one about a customer by everybody.
    #[test]
    fn what_an_answer_says_itself_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        dress(&mut headers, "1", false);
        assert_eq!(headers[header::CACHE_CONTROL], "public");
        assert!(!headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
        let mut headers = HeaderMap::new();
        dress(&mut headers, "1", true);
        assert_eq!(headers[header::CACHE_CONTROL], "no-store");
        assert_eq!(headers[&REQUEST_ID], "1");
        assert!(headers.contains_key(header::STRICT_TRANSPORT_SECURITY));
    }
}
