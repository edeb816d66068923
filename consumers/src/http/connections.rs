//! Connections: how many there are at once, and how long each may last.
//!
//! In scope: accepting, the limits, ending all of them. Out of scope: what is answered. Trust: whoever connects may be slow,
//! silent or many. Who holds a place longest leaves first when there is none left, so that silence keeps nobody out.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{sleep, timeout};

/// Connections at once.
const CONNECTIONS_MAX: u32 = 256;
/// How long a request may take to come, and how long a connection may be silent between two.
const REQUEST_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may go on with new requests.
const CONNECTION_TIME: Duration = Duration::from_mins(1);
/// How long the last answer may take to be fetched: 8 MiB over a slow line.
const LAST_ANSWER_WAIT: Duration = Duration::from_mins(2);
/// How long the server waits for its last answers to be fetched when it ends.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long somebody who was asked to leave is waited for, before the next is asked too.
const LEAVE_WAIT: Duration = Duration::from_millis(50);
/// How long to wait when the system cannot give another connection.
const SYSTEM_WAIT: Duration = Duration::from_millis(100);

/// Serves until `stop` is told, or is dropped.
pub(super) async fn serve(listener: TcpListener, router: &Router, mut stop: oneshot::Receiver<()>) {
    let mut places = Places::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => break,
        };
        let Ok((stream, _)) = accepted else {
            sleep(SYSTEM_WAIT).await;
            continue;
        };
        let place = tokio::select! {
            place = places.take() => place,
            _ = &mut stop => break,
        };
        let leave = places.enter();
        tokio::spawn(converse(stream, router.clone(), leave, place));
    }
    drop(listener);
    places.close().await;
}

/// Answers one connection's requests until it ends, is silent for too long, or is asked to leave.
async fn converse(
    stream: TcpStream,
    router: Router,
    leave: oneshot::Receiver<()>,
    place: OwnedSemaphorePermit,
) {
    // Answers are written whole; waiting for more to send would only delay them. Without it they are merely slower.
    let _ = stream.set_nodelay(true);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_WAIT)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    // How a connection ends is the other side's affair: it went away, or what it sent was no HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = leave => {}
        () = sleep(CONNECTION_TIME) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(LAST_ANSWER_WAIT, connection).await;
    drop(place);
}

/// The places for connections, and how to ask whoever has one to leave.
struct Places {
    free: Arc<Semaphore>,
    /// Oldest first; some may have left.
    taken: VecDeque<oneshot::Sender<()>>,
}

impl Places {
    fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(CONNECTIONS_MAX as usize)),
            taken: VecDeque::new(),
        }
    }

    /// A place, for which the oldest connections leave after their present request if need be.
    async fn take(&mut self) -> OwnedSemaphorePermit {
        loop {
            if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
                return place;
            }
            while self
                .taken
                .pop_front()
                .is_some_and(|leave| leave.send(()).is_err())
            {}
            if let Ok(Ok(place)) = timeout(LEAVE_WAIT, Arc::clone(&self.free).acquire_owned()).await {
                return place;
            }
        }
    }

    /// Notes a new connection; what it gets tells it to leave.
    fn enter(&mut self) -> oneshot::Receiver<()> {
        if self.taken.len() >= 2 * CONNECTIONS_MAX as usize {
            self.taken.retain(|leave| !leave.is_closed());
        }
        let (leave, told) = oneshot::channel();
        self.taken.push_back(leave);
        told
    }

    /// Asks all to leave, and waits until they have, or for too long.
    async fn close(self) {
        drop(self.taken);
        let _ = timeout(END_WAIT, self.free.acquire_many(CONNECTIONS_MAX)).await;
    }
}
