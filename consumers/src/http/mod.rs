//! What a host serves over HTTP.
//!
//! ```text
//! GET /healthz                          whether the server answers
//! GET /log/<shard>/checkpoint, tile/…   the record log, a C2SP tlog-tiles tree, open to all
//! GET /map/<shard>/checkpoint, tile/…   the map log, likewise
//! GET /peer/<shard>/leaves?from=<n>     leaves with their sealed contents, for the ledger's other hosts
//! ```
//! In scope: the server's life, its routes. Out of scope: what is in the files, who may ask what beyond these routes.
//! Trust: whoever connects is a stranger. Nothing of a request becomes a path: what it names is parsed and written anew.

mod connections;
mod peers;
mod tree;

use std::io;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sharetrail_ledger::Ledger;
use sharetrail_ledger::host::peer::PeerKey;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::error::ConsumerError;

/// Threads that read files for requests.
const READERS: usize = 8;

/// A server at work, on a thread of its own; it ends when this is dropped.
pub struct HttpServer {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Listens when this returns. `secret`: what the ledger's hosts share.
    pub fn start(ledger: &Ledger, listen: SocketAddr, secret: [u8; 32]) -> Result<Self, ConsumerError> {
        let failed = |source: io::Error| ConsumerError::Serve {
            address: listen,
            source,
        };
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(READERS)
            .build()
            .map_err(failed)?;
        let listener = std::net::TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listener = {
            let _within = runtime.enter();
            TcpListener::from_std(listener).map_err(failed)?
        };
        let router = router(Site {
            ledger: ledger.clone(),
            key: PeerKey::new(&secret),
        });
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            runtime.block_on(connections::serve(listener, &router, stopped));
            // A read that hangs in a broken disk must not keep the process.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("http".into()).spawn(work);
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread.map_err(failed)?),
        })
    }

    /// Where it listens; with the port that was found if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
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

/// What requests are answered from.
#[derive(Clone)]
struct Site {
    ledger: Ledger,
    key: PeerKey,
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/log/{shard}/{*file}", get(tree::file))
        .route("/map/{shard}/{*file}", get(tree::file))
        .route("/peer/{shard}/leaves", get(peers::leaves))
        .with_state(site)
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
async fn reading(
    work: impl FnOnce() -> Result<Option<Response>, ConsumerError> + Send + 'static,
) -> Response {
    let respond = move || match work() {
        Ok(Some(response)) => response,
        Ok(None) => StatusCode::NOT_FOUND.into_response(),
        Err(_) => unreadable(),
    };
    let response = tokio::task::spawn_blocking(respond).await;
    response.unwrap_or_else(|_| unreadable())
}

/// The reason may name paths of this host, and whoever asked can do nothing about it.
fn unreadable() -> Response {
    let text = "this host cannot read its archive; `sharetrail status` on it tells more\n";
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}
