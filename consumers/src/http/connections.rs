//! Connections: how many there are at once, how long each may last and be silent.
//!
//! In scope: accepting, TLS, the limits, ending all of them. Out of scope: what is answered. Trust: whoever connects
//! may be slow, silent or many. Whoever has been silent longest leaves first when there is no place left, so that
//! silence keeps nobody out. A stream of server-sent events lasts as long as somebody reads it; the server's end ends
//! it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::auth::ClientName;
use super::metrics::{Counted, Metrics};
use super::tls::{Certificates, client_names};

/// Files that the rest of the program needs, so that connections do not take them.
const FILES_KEPT: u64 = 512;
/// Connections that are served whatever the system's limit is.
const CONNECTIONS_MIN: u64 = 64;
/// How long the two sides may take to agree on keys.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// How long a connection may go on with new requests.
const CONNECTION_TIME: Duration = Duration::from_mins(5);
/// How long a stream may last; whoever reads it connects again by itself.
const STREAM_TIME: Duration = Duration::from_mins(30);
/// How long a part of an answer may take to be fetched, and the last answer in all: 8 MiB over a slow line.
const ANSWER_WAIT: Duration = Duration::from_mins(2);
/// How often it is looked whether a connection's answer is fetched.
const LOOK: Duration = Duration::from_secs(5);
/// How long the server waits for its last answers to be fetched when it ends.
const END_WAIT: Duration = Duration::from_secs(5);
/// How long somebody who was asked to leave is waited for, before others are asked too.
const LEAVE_WAIT: Duration = Duration::from_millis(50);
/// How many are found at once who have been silent longest.
const CANDIDATES: usize = 64;
/// How long to wait when the system cannot give another connection.
const SYSTEM_WAIT: Duration = Duration::from_millis(100);
/// Bytes of a request that are held before it is understood, and so the longest head: all connections can take as much.
const BUFFER_BYTES: usize = 64 << 10;
/// Bytes of an answer that are handed on at once, so that it can be told whether they are fetched.
const PART_BYTES: usize = 64 << 10;

/// Who is at the other end of a request's connection: an extension of every request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Remote(pub(super) SocketAddr);

/// What connections are held to.
pub(super) struct Terms {
    /// Connections at once.
    pub(super) most: usize,
    /// How long a request's head may take to come, and how long a connection may be silent between two requests.
    pub(super) wait: Duration,
    pub(super) tls: Option<Arc<Certificates>>,
    pub(super) metrics: Metrics,
}

/// How many connections there can be of those wanted: the system is asked for as many files as it gives.
pub(super) fn connections_within(wanted: u32) -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX);
    let files = files.or_else(|_| rlimit::Resource::NOFILE.get_soft());
    // A system that tells no limit has none.
    let there = files.map_or(u64::MAX, |files| files.saturating_sub(FILES_KEPT));
    let most = u64::from(wanted).min(there.max(CONNECTIONS_MIN));
    usize::try_from(most)
        .unwrap_or(usize::MAX)
        .min(Semaphore::MAX_PERMITS)
}

struct Shared {
    router: Router,
    terms: Terms,
    began: Instant,
}

/// Serves until `stop` has come.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    terms: Terms,
    stop: impl Future<Output = ()>,
) {
    let mut stop = pin!(stop);
    let began = Instant::now();
    let mut places = Places::new(terms.most);
    let shared = Arc::new(Shared { router, terms, began });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        let Ok((stream, from)) = accepted else {
            sleep(SYSTEM_WAIT).await;
            continue;
        };
        let place = tokio::select! {
            place = places.take() => place,
            () = &mut stop => break,
        };
        let seat = places.enter(began);
        tokio::spawn(converse(stream, from, Arc::clone(&shared), seat, place));
    }
    drop(listener);
    places.close().await;
}

async fn converse(
    stream: TcpStream,
    from: SocketAddr,
    shared: Arc<Shared>,
    seat: Arc<Seat>,
    place: OwnedSemaphorePermit,
) {
    let _counted = shared.terms.metrics.connection();
    // Answers are written whole; waiting for more to send would only delay them. Without it they are merely slower.
    let _ = stream.set_nodelay(true);
    if let Some(tls) = &shared.terms.tls {
        let (mut told, acceptor) = (seat.told(), tls.acceptor());
        let agreed = tokio::select! {
            agreed = timeout(HANDSHAKE_WAIT, acceptor.accept(stream)) => agreed,
            _ = told.wait_for(|is_told| *is_told) => return,
        };
        // Whoever speaks no TLS, or shows a certificate that is not good, gets no answer that could be read.
        if let Ok(Ok(stream)) = agreed {
            let names = client_names(stream.get_ref().1);
            talk(TokioIo::new(stream), from, &names, &shared, &seat).await;
        }
    } else {
        talk(TokioIo::new(stream), from, &[], &shared, &seat).await;
    }
    drop(place);
}

/// Answers one connection's requests until it ends, is silent for too long, or is asked to leave.
async fn talk(
    io: impl Read + Write + Unpin,
    from: SocketAddr,
    names: &[String],
    shared: &Arc<Shared>,
    seat: &Arc<Seat>,
) {
    let router = TowerToHyperService::new(shared.router.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let work = Work::begin(shared, seat);
        request.extensions_mut().insert(Remote(from));
        if !names.is_empty() {
            request.extensions_mut().insert(ClientName(names.to_vec()));
        }
        let answer = router.call(request);
        async move {
            let response = answer.await?;
            Ok::<_, Infallible>(work.carry(response))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.terms.wait)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let mut told = seat.told();
    // How a connection ends is the other side's affair: it went away, or what it sent was no HTTP.
    loop {
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = told.wait_for(|is_told| *is_told) => break,
            () = sleep(LOOK) => if seat.is_stuck(shared.began) {
                return;
            },
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(ANSWER_WAIT, connection).await;
}

/// What is known of one connection.
struct Seat {
    /// When something came or went last, in milliseconds since the server began.
    heard: AtomicU64,
    /// Requests that are not answered in full.
    open: AtomicU32,
    /// When it was taken.
    taken: Instant,
    is_asked: AtomicBool,
    leave: watch::Sender<bool>,
}

impl Seat {
    fn new(began: Instant) -> Self {
        Self {
            heard: AtomicU64::new(now(began)),
            open: AtomicU32::new(0),
            taken: Instant::now(),
            is_asked: AtomicBool::new(false),
            leave: watch::Sender::new(false),
        }
    }

    fn hear(&self, began: Instant) {
        self.heard.store(now(began), Ordering::Relaxed);
    }

    /// Asks to leave; whether it had not been asked before.
    fn ask(&self) -> bool {
        let is_first = !self.is_asked.swap(true, Ordering::Relaxed);
        if is_first {
            self.leave.send_replace(true);
        }
        is_first
    }

    fn told(&self) -> watch::Receiver<bool> {
        self.leave.subscribe()
    }

    /// How much it deserves its place: what is silent less than what is at work, and of those the longest.
    fn claim(&self) -> (bool, u64) {
        let is_at_work = self.open.load(Ordering::Relaxed) > 0;
        (is_at_work, self.heard.load(Ordering::Relaxed))
    }

    /// Whether nobody fetches what is answered. A handler has less time than this.
    fn is_stuck(&self, began: Instant) -> bool {
        let (is_at_work, heard) = self.claim();
        is_at_work && now(began).saturating_sub(heard) > millis(ANSWER_WAIT)
    }
}

fn now(began: Instant) -> u64 {
    millis(began.elapsed())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A request at work, until its answer is fetched.
struct Work {
    shared: Arc<Shared>,
    seat: Arc<Seat>,
}

impl Work {
    fn begin(shared: &Arc<Shared>, seat: &Arc<Seat>) -> Self {
        seat.open.fetch_add(1, Ordering::Relaxed);
        seat.hear(shared.began);
        Self {
            shared: Arc::clone(shared),
            seat: Arc::clone(seat),
        }
    }

    fn carry(self, mut response: Response) -> hyper::Response<Answer> {
        self.seat.hear(self.shared.began);
        let headers = response.headers_mut();
        let is_stream = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
        if self.seat.taken.elapsed() > CONNECTION_TIME {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let stream = is_stream.then(|| {
            let mut told = self.seat.told();
            let end: Ending = Box::pin(async move {
                // Whoever could tell has gone: that is the end too.
                let _ = timeout(STREAM_TIME, told.wait_for(|is_told| *is_told)).await;
            });
            Stream {
                end,
                _counted: self.shared.terms.metrics.stream(),
            }
        });
        response.map(|body| Answer {
            body,
            rest: Bytes::new(),
            stream,
            work: self,
        })
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.seat.hear(self.shared.began);
        self.seat.open.fetch_sub(1, Ordering::Relaxed);
    }
}

type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Stream {
    end: Ending,
    _counted: Counted,
}

/// The body of an answer, in parts that tell by being fetched that somebody is there.
struct Answer {
    body: Body,
    /// What is left of a part that was too large.
    rest: Bytes,
    /// Where it is a stream of server-sent events.
    stream: Option<Stream>,
    work: Work,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        this.work.seat.hear(this.work.shared.began);
        if this.rest.is_empty() {
            if let Some(stream) = &mut this.stream
                && stream.end.as_mut().poll(context).is_ready()
            {
                return Poll::Ready(None);
            }
            let frame = match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(Some(Ok(frame))) => frame,
                other => return other,
            };
            match frame.into_data() {
                Ok(data) => this.rest = data,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            }
        }
        let most = this.rest.len().min(PART_BYTES);
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(most)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, inner) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.saturating_add(inner.lower()));
        if let Some(upper) = inner.upper() {
            hint.set_upper(rest.saturating_add(upper));
        }
        hint
    }
}

/// The places for connections, and who has them.
struct Places {
    free: Arc<Semaphore>,
    most: usize,
    /// Some may have left.
    taken: Vec<Weak<Seat>>,
    /// Whom to ask next, with what they were heard of when they were found.
    candidates: VecDeque<(Weak<Seat>, (bool, u64))>,
}

impl Places {
    fn new(most: usize) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
            taken: Vec::new(),
            candidates: VecDeque::new(),
        }
    }

    /// A place, for which the connections that have been silent longest leave if need be; one that is at work does so
    /// after its present answer.
    async fn take(&mut self) -> OwnedSemaphorePermit {
        let mut asked = 1;
        loop {
            if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
                return place;
            }
            for _ in 0..asked {
                if !self.ask_one() {
                    break;
                }
            }
            if let Ok(Ok(place)) = timeout(LEAVE_WAIT, Arc::clone(&self.free).acquire_owned()).await {
                return place;
            }
            asked = CANDIDATES.min(asked * 2);
        }
    }

    /// Asks the most silent one to leave; whether there was one who had not been asked.
    fn ask_one(&mut self) -> bool {
        if self.candidates.is_empty() {
            self.find_candidates();
        }
        while let Some((seat, found)) = self.candidates.pop_front() {
            // Whoever was heard of since is not the most silent any more.
            if let Some(seat) = seat.upgrade()
                && seat.claim() == found
                && seat.ask()
            {
                return true;
            }
        }
        false
    }

    /// Finds those who have been silent longest, the longest first.
    fn find_candidates(&mut self) {
        let mut found: Vec<_> = self
            .taken
            .iter()
            .filter_map(|seat| {
                let there = seat.upgrade()?;
                let is_asked = there.is_asked.load(Ordering::Relaxed);
                (!is_asked).then(|| (Weak::clone(seat), there.claim()))
            })
            .collect();
        if found.len() > CANDIDATES {
            found.select_nth_unstable_by_key(CANDIDATES, |(_, claim)| *claim);
            found.truncate(CANDIDATES);
        }
        found.sort_by_key(|(_, claim)| *claim);
        self.candidates = found.into();
    }

    /// Notes a new connection.
    fn enter(&mut self, began: Instant) -> Arc<Seat> {
        if self.taken.len() >= 2 * self.most {
            self.taken.retain(|seat| seat.strong_count() > 0);
        }
        let seat = Arc::new(Seat::new(began));
        self.taken.push(Arc::downgrade(&seat));
        seat
    }

    /// Asks all to leave, and waits until they have, or for too long.
    async fn close(self) {
        for seat in self.taken.iter().filter_map(Weak::upgrade) {
            seat.ask();
        }
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        let _ = timeout(END_WAIT, self.free.acquire_many(all)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seat: &Seat) -> bool {
        *seat.told().borrow()
    }

    /// The fault: somebody who is being answered, or asked a moment ago, has to leave for one who says nothing.
    #[test]
    fn whoever_is_silent_longest_is_asked_first() {
        let began = Instant::now();
        let mut places = Places::new(4);
        let seats: Vec<_> = (0..4).map(|_| places.enter(began)).collect();
        for (seat, heard) in seats.iter().zip([5, 3, 9, 1]) {
            seat.heard.store(heard, Ordering::Relaxed);
        }
        seats[3].open.store(1, Ordering::Relaxed);
        places.ask_one();
        assert!(told(&seats[1]));
        // It spoke after it was found.
        seats[0].heard.store(20, Ordering::Relaxed);
        places.ask_one();
        assert_eq!(
            [told(&seats[0]), told(&seats[2]), told(&seats[3])],
            [false, true, false]
        );
        places.ask_one();
        places.ask_one();
        assert!(told(&seats[0]) && told(&seats[3]));
    }

    #[test]
    fn who_has_left_is_forgotten() {
        let began = Instant::now();
        let mut places = Places::new(2);
        for _ in 0..100 {
            drop(places.enter(began));
        }
        assert!(places.taken.len() <= 4);
        places.ask_one();
    }

    #[test]
    fn the_program_keeps_files_for_itself() {
        let all = connections_within(u32::MAX);
        let files = rlimit::Resource::NOFILE.get_soft().unwrap();
        assert!(all as u64 <= files.saturating_sub(FILES_KEPT).max(CONNECTIONS_MIN));
        assert_eq!(connections_within(10), 10);
    }
}
