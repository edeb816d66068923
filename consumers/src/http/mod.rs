//! What a host serves over HTTP.
//!
//! ```text
//! GET /healthz, /readyz, /metrics       whether the server answers, and how well
//! GET /log/<shard>/checkpoint, tile/…   the record log, a C2SP tlog-tiles tree, open to all
//! GET /map/<shard>/checkpoint, tile/…   the map log, likewise
//! GET /peer/<shard>/leaves?from=<n>     leaves with their sealed contents, for the ledger's other hosts
//! /v1/…                                 the API: services, customers, officers; see `/openapi.json`
//! everything else                       pages
//! ```
//! In scope: the server's life, its routes put together. Out of scope: what is in the files, what each route answers.
//! Trust: whoever connects is a stranger until a token, a certificate or a signature says who it is. Nothing of a
//! request becomes a path: what it names is parsed and written anew.

pub(crate) mod api;
pub(crate) mod auth;
mod connections;
mod demo;
pub(crate) mod filter;
pub(crate) mod given;
mod hands;
mod health;
mod limits;
mod metrics;
mod observe;
pub(crate) mod paging;
mod peers;
pub(crate) mod problem;
mod proxies;
pub(crate) mod reading;
mod settings;
pub(crate) mod site;
pub(crate) mod steering;
pub(crate) mod streams;
mod tls;
mod tree;

use std::future::{Ready, ready};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{JoinHandle, available_parallelism};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sharetrail_ledger::Ledger;
use sharetrail_ledger::host::peer::PeerKey;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::sleep;

pub use self::auth::{ServiceToken, ServiceTokens};
pub use self::demo::{DemoIssuer, DemoPerson};
pub use self::hands::{Accepted, Hands, HandsError, Promise, Recorded, Recording};
pub use self::proxies::ProxyNetwork;
pub use self::settings::{HttpSettings, LimitSettings, OidcSettings, TlsSettings};
pub use self::site::HttpOptions;

use self::connections::{Terms, connections_within};
use self::limits::Limits;
use self::metrics::Metrics;
use self::observe::{Bounds, Numbers, Rules, around};
use self::problem::{Problem, ProblemKind};
use self::site::{Site, blocking};
use self::tls::Certificates;
use crate::error::ConsumerError;
use crate::pages;

/// Threads that read files for requests, where files are all that is served.
const FILE_READERS: usize = 8;
/// Threads that read files for requests. More wait for each other only where the disk is slow.
const READERS: usize = 32;
/// Connections at once where files are all that is served.
const FILE_CONNECTIONS: usize = 256;
/// How long a request may take to come, and how long a connection may be silent between two, where only files are
/// served.
const FILE_WAIT: Duration = Duration::from_secs(10);
/// The same where people's browsers and services keep connections for their next request.
const WAIT: Duration = Duration::from_secs(30);
/// How long a file may take to be read.
const FILE_TIME: Duration = Duration::from_secs(30);
/// Bytes of a body that nobody reads.
const FILE_BODY: u64 = 64 << 10;
/// Connections that the system keeps until they are looked at.
const BACKLOG: u32 = 4_096;
/// How long what is still read when the server ends may take.
const END_WAIT: Duration = Duration::from_secs(3);
/// How often it is forgotten who asked long ago.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// A server at work, on threads of its own; it ends when this is dropped.
pub struct HttpServer {
    address: SocketAddr,
    /// None where it speaks plain HTTP.
    certificates: Option<Arc<Certificates>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Serves the logs, the maps and the ledger's other hosts, and nothing else. Listens when this returns. `secret`:
    /// what the ledger's hosts share.
    pub fn start(ledger: &Ledger, listen: SocketAddr, secret: [u8; 32]) -> Result<Self, ConsumerError> {
        let failed = |source: io::Error| ConsumerError::Serve {
            address: listen,
            source,
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(FILE_READERS)
            .build()
            .map_err(failed)?;
        let (listener, address) = bind(&runtime, listen).map_err(failed)?;
        let metrics = Metrics::new();
        let bounds = Bounds {
            metrics: metrics.clone(),
            site: None,
            body_bytes: FILE_BODY,
            time: FILE_TIME,
            is_tls: false,
            numbers: Numbers::new(),
        };
        let router = files(Logs::new(ledger, &secret))
            .route("/healthz", get(health::healthz))
            .layer(from_fn_with_state(Rules(Arc::new(bounds)), around));
        let terms = Terms {
            most: FILE_CONNECTIONS,
            wait: FILE_WAIT,
            tls: None,
            metrics,
        };
        let (stop, stopped) = oneshot::channel();
        let ended = async move {
            let _ = stopped.await;
        };
        let work = move || {
            runtime.block_on(connections::serve(listener, router, terms, ended));
            // A read that hangs in a broken disk must not keep the process.
            runtime.shutdown_background();
        };
        Self::run(address, None, stop, work).map_err(failed)
    }

    /// Serves everything: what [`HttpServer::start`] does, the API and the pages. Listens when this returns.
    pub fn open(mut options: HttpOptions) -> Result<Self, ConsumerError> {
        let (listen, secret, demo) = (options.listen, options.secret, options.demo.take());
        let failed = |source: io::Error| ConsumerError::Serve {
            address: listen,
            source,
        };
        let certificates = options.settings.tls.clone().map(Certificates::read).transpose()?;
        let certificates = certificates.map(Arc::new);
        let is_tls = certificates.is_some();
        let runtime = workers().map_err(failed)?;
        let (listener, address) = bind(&runtime, listen).map_err(failed)?;
        let own = || own_url(address, is_tls);
        let url = options.settings.public_url.clone().unwrap_or_else(own);
        if let Some(demo) = &demo {
            demo::check_address(address)?;
            options.settings.oidc = Some(demo.settings(&url)?);
        }
        let site = Site::new(options, demo.is_some())?;
        // Nobody else sets it.
        let _ = site.url.set(url);
        let terms = Terms {
            most: connections_within(site.settings.limits.connections),
            wait: WAIT,
            tls: certificates.clone(),
            metrics: site.metrics.clone(),
        };
        let logs = Logs::new(&site.ledger, &secret);
        let router = whole(&site, logs, demo.as_ref(), is_tls);
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(forget(site.limits.clone()));
        let ended = async move {
            let _ = stopped.await;
            site.streams.close();
        };
        let work = move || {
            runtime.block_on(connections::serve(listener, router, terms, ended));
            // When this returns, nothing here holds the ledger any more; unless a read hangs.
            runtime.shutdown_timeout(END_WAIT);
        };
        Self::run(address, certificates, stop, work).map_err(failed)
    }

    fn run(
        address: SocketAddr,
        certificates: Option<Arc<Certificates>>,
        stop: oneshot::Sender<()>,
        work: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let thread = std::thread::Builder::new().name("http".into()).spawn(work)?;
        Ok(Self {
            address,
            certificates,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens; with the port that was found if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How it is reached from this machine, such as `http://127.0.0.1:8433`.
    pub fn url(&self) -> String {
        own_url(self.address, self.certificates.is_some())
    }

    /// Reads the files of TLS again; whether they have changed. Whoever connects from then on gets what they say.
    ///
    /// # Errors
    /// Where a file cannot be read, or does not fit the others. Then those that were read before stay in force.
    pub fn renew_certificates(&self) -> Result<bool, ConsumerError> {
        self.certificates
            .as_ref()
            .map_or(Ok(false), |files| files.renew())
    }

    /// Answers what was asked, and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic was told where it happened; the server is gone either way.
            let _ = thread.join();
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn workers() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(2, NonZero::get);
    Builder::new_multi_thread()
        .worker_threads(cores.clamp(2, 4))
        .max_blocking_threads(READERS)
        .thread_name("http-worker")
        .enable_all()
        .build()
}

fn bind(runtime: &Runtime, listen: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let _within = runtime.enter();
    let socket = match listen {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A port is free again at once when its server has ended.
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    let listener = socket.listen(BACKLOG)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// How a browser on this machine reaches the server.
fn own_url(mut address: SocketAddr, is_tls: bool) -> String {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = if is_tls { "https" } else { "http" };
    format!("{scheme}://{address}")
}

async fn forget(limits: Limits) {
    loop {
        sleep(FORGET_EVERY).await;
        limits.forget();
    }
}

/// What files are served from.
#[derive(Clone)]
struct Logs {
    ledger: Ledger,
    key: PeerKey,
    kept: Arc<tree::Kept>,
}

impl Logs {
    fn new(ledger: &Ledger, secret: &[u8; 32]) -> Self {
        Self {
            ledger: ledger.clone(),
            key: PeerKey::new(secret),
            kept: Arc::new(tree::kept()),
        }
    }
}

/// The logs, the maps, and what the ledger's other hosts ask for.
fn files<S: Clone + Send + Sync + 'static>(logs: Logs) -> Router<S> {
    Router::new()
        .route("/log/{shard}/{*file}", get(tree::file))
        .route("/map/{shard}/{*file}", get(tree::file))
        .route("/peer/{shard}/leaves", get(peers::leaves))
        .with_state(logs)
}

fn whole(site: &Site, logs: Logs, demo: Option<&DemoIssuer>, is_tls: bool) -> Router {
    let limits = &site.settings.limits;
    let bounds = Bounds {
        metrics: site.metrics.clone(),
        site: Some(site.clone()),
        body_bytes: limits.body_bytes as u64,
        time: Duration::from_secs(limits.request_seconds),
        is_tls,
        numbers: Numbers::new(),
    };
    let (api, _) = api::routes().split_for_parts();
    let mut router = Router::new()
        .merge(api)
        .merge(pages::routes())
        .merge(auth::routes())
        .merge(files(logs));
    if let Some(demo) = demo {
        router = router.merge(demo.router());
    }
    router
        .method_not_allowed_fallback(not_like_that)
        .fallback(nowhere)
        .layer(from_fn_with_state(Rules(Arc::new(bounds)), around))
        .with_state(site.clone())
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "axum hands over what it has taken apart"
)]
fn nowhere(State(site): State<Site>, uri: Uri) -> Ready<Response> {
    ready(refuse(&site, &uri, nothing_here()))
}

#[allow(
    clippy::needless_pass_by_value,
    reason = "axum hands over what it has taken apart"
)]
fn not_like_that(State(site): State<Site>, uri: Uri) -> Ready<Response> {
    let detail = "there is something here, but not with this method; the header Allow says with which";
    let problem = Problem::new(ProblemKind::MethodNotAllowed, detail);
    ready(refuse(&site, &uri, problem))
}

/// Programs get a problem, people a page.
fn refuse(site: &Site, uri: &Uri, problem: Problem) -> Response {
    if is_for_programs(uri.path()) {
        problem.into_response()
    } else {
        pages::error_page(site, None, &problem)
    }
}

fn is_for_programs(path: &str) -> bool {
    let folders = ["v1", "log", "map", "peer", "demo"];
    let files = [
        "/healthz",
        "/readyz",
        "/metrics",
        "/policy",
        "/openapi.json",
        "/asyncapi.json",
    ];
    let first = path.trim_start_matches('/').split('/').next();
    first.is_some_and(|first| folders.contains(&first)) || files.contains(&path)
}

fn nothing_here() -> Problem {
    Problem::new(
        ProblemKind::NotFound,
        "nothing has this address; check its spelling",
    )
}

/// A shard of the ledger by its number, which has one spelling.
fn shard(ledger: &Ledger, text: &str) -> Option<u32> {
    number(text)
        .and_then(|shard| u32::try_from(shard).ok())
        .filter(|shard| *shard < ledger.shards())
}

fn number(text: &str) -> Option<u64> {
    text.parse()
        .ok()
        .filter(|number: &u64| number.to_string() == text)
}

/// Answers with what reads files, on a thread that may wait for them.
async fn read_files(
    work: impl FnOnce() -> Result<Option<Response>, ConsumerError> + Send + 'static,
) -> Response {
    let read = blocking(move || work()?.ok_or_else(nothing_here)).await;
    read.unwrap_or_else(IntoResponse::into_response)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fault: a program gets a page, or a person's browser shows them JSON.
    #[test]
    fn programs_get_problems_and_people_pages() {
        for path in [
            "/v1/me/nothing",
            "/v1",
            "/log/7/x",
            "/policy",
            "/healthz",
            "//v1/x",
        ] {
            assert!(is_for_programs(path), "{path}");
        }
        for path in ["/", "/me/nothing", "/v10/x", "/policy/x", "/nothing", ""] {
            assert!(!is_for_programs(path), "{path}");
        }
    }

    #[test]
    fn a_browser_on_this_machine_reaches_a_server_that_listens_everywhere() {
        let url = |address: &str, is_tls| own_url(address.parse().unwrap(), is_tls);
        assert_eq!(url("0.0.0.0:80", false), "http://127.0.0.1:80");
        assert_eq!(url("[::]:443", true), "https://[::1]:443");
        assert_eq!(url("10.1.2.3:8080", false), "http://10.1.2.3:8080");
    }
}
