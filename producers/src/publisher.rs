//! The publisher: takes events, keeps their order, answers when they are accepted and when they are sealed.
//!
//! ```text
//! publish ─ collector ─┐                                                               ┌─ bus ─ sealer (promises)
//!                      ├─ workers (validate, seal; in parallel) ─ cutter (in order) ─ ┤
//! record_lines ────────┘                                                               └─ couriers (outbox, bus, promises)
//! ```
//! In scope: handing in, and the back-pressure between the threads. Out of scope: what each thread does (its module says),
//! putting them together ([`crate::open`]). Trust: as its parts.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sharetrail_ledger::bus::Bus;
use sharetrail_ledger::remote::Remote;
use sharetrail_ledger::{Grants, Ledger, LedgerError};
use sharetrail_schemas::ContentError;
use tokio::sync::watch;

use crate::bulk::{Bulk, RecordProgress, RecordSummary};
use crate::courier::Office;
use crate::cutter::Cutter;
use crate::error::PublishError;
use crate::event::Event;
use crate::index::Index;
use crate::lines::{Line, Lines};
use crate::moving::Moving;
use crate::notices::Notices;
use crate::pending::Pending;
use crate::prepare::{Chunk, Prepared, Workshop};
use crate::tickets::{Ticket, Tickets};

/// Events of a chunk; also the most of a batch.
const CHUNK_EVENTS: usize = 1_024;
/// Bytes of contents after which a chunk is handed out.
const CHUNK_BYTES: usize = 600_000;
/// How long a lone event waits for company.
const LINGER: Duration = Duration::from_millis(3);
const TICK: Duration = Duration::from_millis(20);
/// How often it is looked whether all is done, and whether there is something to tell.
const GLANCE: Duration = Duration::from_millis(2);

pub(crate) struct Submission {
    content: Vec<u8>,
    ticket: Ticket,
}

/// Hands chunks to the workers in turn, so that the cutter can take them back in order.
pub(crate) struct Dispatch {
    workers: Vec<SyncSender<Chunk>>,
    next: usize,
    moving: Arc<Moving>,
}

impl Dispatch {
    pub(crate) fn new(workers: Vec<SyncSender<Chunk>>, moving: Arc<Moving>) -> Self {
        Self {
            workers,
            next: 0,
            moving,
        }
    }

    fn hand_out(&mut self, chunk: Chunk) -> Result<(), PublishError> {
        self.moving.hand_out();
        let stopped = || PublishError::Stopped {
            reason: "its workers have ended".into(),
        };
        if let Err(gone) = self.workers[self.next].send(chunk) {
            gone.0
                .items
                .iter()
                .for_each(|(_, ticket)| ticket.refused(stopped()));
            return Err(stopped());
        }
        self.next = (self.next + 1) % self.workers.len();
        Ok(())
    }
}

/// What everything ends by.
pub(crate) struct Ends {
    /// Tells the couriers to leave what is not sealed in the outbox.
    pub(crate) stop: watch::Sender<bool>,
    /// The same for the workers.
    pub(crate) stopping: Arc<AtomicBool>,
    /// Where an outbox is used.
    pub(crate) office: Option<Arc<Office>>,
}

/// What a publisher leaves behind when it is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Events that an earlier run had left in the outbox and that were rejected in this one: they are not on record, and
    /// whoever handed them in is not there to be told.
    pub left_over_rejected: u64,
}

/// Records events for one producer. [`Publisher::close`] waits until all is sealed. Dropping it waits as well where the bus
/// is durable in this process; where frames lie in an outbox it does not: they are sent when the outbox is next opened.
pub struct Publisher {
    pub(crate) ledger: Option<Ledger>,
    pub(crate) default_source: String,
    pub(crate) dispatch: Arc<Mutex<Dispatch>>,
    pub(crate) collector: Option<SyncSender<Submission>>,
    pub(crate) threads: Vec<JoinHandle<()>>,
    pub(crate) index: Arc<Index>,
    pub(crate) notices: Arc<Notices>,
    pub(crate) ends: Ends,
    /// Where everything goes over the bus: it has something to tell too.
    pub(crate) remote: Option<Arc<Remote>>,
    /// Let go of after the threads have: whoever lets go last may have to wait, which a task of theirs must not.
    pub(crate) _held: (Arc<dyn Bus>, Arc<dyn Grants>),
}

impl Publisher {
    /// Publishes an event. One that names no source gets the producer's, `https://<producer>/`. Waits only while too
    /// many events are on their way.
    pub fn publish(&self, event: Event) -> Result<Pending, PublishError> {
        self.publish_json(event.with_default_source(&self.default_source).build()?)
    }

    /// Publishes a content as a service gave it. It is kept byte for byte.
    pub fn publish_json(&self, content: Vec<u8>) -> Result<Pending, PublishError> {
        let (pending, single) = Pending::new(self.ledger.as_ref());
        let ticket = Ticket {
            owner: single,
            number: 0,
        };
        let stopped = || PublishError::Stopped {
            reason: "it was closed".into(),
        };
        let collector = self.collector.as_ref().ok_or_else(stopped)?;
        collector
            .send(Submission { content, ticket })
            .map_err(|_| stopped())?;
        Ok(pending)
    }

    /// Records an input of one content a line. Every bad line is named in the summary, the good ones are recorded; an
    /// error means that reading or recording stopped. Returns when all is sealed. `progress` is called often.
    pub fn record_lines(
        &self,
        input: impl Read + Send,
        progress: &(dyn Fn(&RecordProgress) + Sync),
    ) -> Result<RecordSummary, PublishError> {
        let began = Instant::now();
        let (bulk, gathered) = (Arc::new(Bulk::default()), Mutex::new(Gathered::new()));
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| self.read_lines(input, &bulk, &gathered));
            while !reader.is_finished() {
                progress(&bulk.progress());
                std::thread::sleep(TICK);
                self.hand_out_stale(&gathered)?;
            }
            reader.join().unwrap_or_else(|_| {
                Err(PublishError::Stopped {
                    reason: "the reading thread panicked".into(),
                })
            })
        });
        self.wait_until_done(&bulk, progress)?;
        self.index.persist()?;
        bulk.stopped()?;
        read.map(|()| bulk.summary(began.elapsed().as_secs_f64()))
    }

    fn wait_until_done(
        &self,
        bulk: &Bulk,
        progress: &(dyn Fn(&RecordProgress) + Sync),
    ) -> Result<(), PublishError> {
        loop {
            let now = bulk.progress();
            progress(&now);
            if now.is_done() {
                return Ok(());
            }
            if self.threads.iter().any(JoinHandle::is_finished) {
                return Err(PublishError::Stopped {
                    reason: "one of its threads has ended".into(),
                });
            }
            std::thread::sleep(GLANCE);
        }
    }

    fn read_lines(
        &self,
        input: impl Read,
        bulk: &Arc<Bulk>,
        gathered: &Mutex<Gathered>,
    ) -> Result<(), PublishError> {
        let owner: Arc<dyn Tickets> = Arc::clone(bulk) as Arc<dyn Tickets>;
        let (mut lines, mut count) = (Lines::new(input), 0);
        let outcome = loop {
            if bulk.has_stopped() {
                // What comes would be refused; why is told with the summary.
                break Ok(());
            }
            match lines.next() {
                Err(error) => break Err(PublishError::Input(error)),
                Ok(None) => break Ok(()),
                Ok(Some(Line::TooLong(number, found))) => {
                    count += 1;
                    bulk.refused(number, too_long(found).into());
                }
                Ok(Some(Line::Whole(number, content))) => {
                    count += 1;
                    let full = lock(gathered).add(
                        content,
                        Ticket {
                            owner: Arc::clone(&owner),
                            number,
                        },
                    );
                    full.map_or(Ok(()), |chunk| lock(&self.dispatch).hand_out(chunk))?;
                }
            }
            bulk.read(lines.bytes_read(), count);
        };
        bulk.read(lines.bytes_read(), count);
        let last = lock(gathered).take(true);
        lock(&self.dispatch).hand_out(last)?;
        outcome
    }

    /// Lines that have waited for company through a whole tick go out alone: a slow pipe must not hold them back.
    fn hand_out_stale(&self, gathered: &Mutex<Gathered>) -> Result<(), PublishError> {
        let stale = lock(gathered).stale();
        stale.map_or(Ok(()), |chunk| lock(&self.dispatch).hand_out(chunk))
    }

    /// What was found in the outbox, what is wrong with what the bus says and who is waited for, a line each; each is given
    /// once. Where the bus or the ledger cannot be reached for long, something is said about it once a minute.
    pub fn notices(&self) -> Vec<String> {
        let mut notices = self.notices.take();
        notices.extend(self.remote.iter().flat_map(|remote| remote.take_notices()));
        notices
    }

    /// Ends the publisher once everything handed in is sealed or refused, and what an earlier run left in the outbox too.
    /// Where the bus takes nothing more for good, an error says why, and what was accepted stays in the outbox.
    pub fn close(self) -> Result<(), PublishError> {
        self.close_telling(&|_| ()).map(|_| ())
    }

    /// As [`Publisher::close`]; tells what [`Publisher::notices`] would give while it waits, which it does for as long as
    /// the bus or the sequencer is away.
    pub fn close_telling(mut self, tell: &dyn Fn(String)) -> Result<Closed, PublishError> {
        self.end(&|publisher: &Self| publisher.notices().into_iter().for_each(tell));
        self.index.persist()?;
        let Some(office) = &self.ends.office else {
            return Ok(Closed::default());
        };
        let left_over_rejected = office.left_over_rejected.load(Ordering::Acquire);
        let closed = Closed { left_over_rejected };
        office.ending().map_or(Ok(closed), |ending| Err(ending.error()))
    }

    /// Waits for all threads; `meanwhile` is called often, and once after the last has ended.
    fn end(&mut self, meanwhile: &dyn Fn(&Self)) {
        drop(self.collector.take());
        // The collector ends first and hands out what it held; only then may the workers' doors close.
        self.end_last_thread(meanwhile);
        lock(&self.dispatch).workers.clear();
        while !self.threads.is_empty() {
            self.end_last_thread(meanwhile);
        }
        meanwhile(self);
    }

    fn end_last_thread(&mut self, meanwhile: &dyn Fn(&Self)) {
        while self.threads.last().is_some_and(|thread| !thread.is_finished()) {
            meanwhile(self);
            std::thread::sleep(GLANCE);
        }
        if let Some(thread) = self.threads.pop() {
            // A thread that panicked has told so; whoever waits for its events sees the publisher stopped.
            let _ = thread.join();
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        if self.ends.office.is_some() {
            self.ends.stopping.store(true, Ordering::Release);
            self.ends.stop.send_replace(true);
        }
        self.end(&|_| ());
    }
}

/// Lines that were read and not handed out yet.
struct Gathered {
    chunk: Chunk,
    /// How many there were at the last tick.
    seen: usize,
}

impl Gathered {
    fn new() -> Self {
        Self {
            chunk: empty_chunk(),
            seen: 0,
        }
    }

    /// Adds a line; gives the chunk once it is full.
    fn add(&mut self, content: &[u8], ticket: Ticket) -> Option<Chunk> {
        add(&mut self.chunk, content, ticket);
        let full = self.chunk.items.len() == CHUNK_EVENTS || self.chunk.buffer.len() > CHUNK_BYTES;
        full.then(|| self.take(false))
    }

    fn take(&mut self, flush: bool) -> Chunk {
        self.seen = 0;
        Chunk {
            flush,
            ..std::mem::replace(&mut self.chunk, empty_chunk())
        }
    }

    /// The chunk, if it holds lines and has not grown since the last time this was asked.
    fn stale(&mut self) -> Option<Chunk> {
        let waiting = self.chunk.items.len();
        let is_stale = waiting > 0 && waiting == self.seen;
        self.seen = waiting;
        is_stale.then(|| self.take(true))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn too_long(found: usize) -> ContentError {
    ContentError::TooLong {
        found,
        limit: sharetrail_schemas::MAX_CONTENT_BYTES,
    }
}

fn empty_chunk() -> Chunk {
    Chunk {
        buffer: Vec::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 4),
        items: Vec::with_capacity(CHUNK_EVENTS),
        flush: false,
    }
}

fn add(chunk: &mut Chunk, content: &[u8], ticket: Ticket) {
    let start = chunk.buffer.len();
    chunk.buffer.extend_from_slice(content);
    chunk.items.push((start..chunk.buffer.len(), ticket));
}

pub(crate) fn start(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, PublishError> {
    let failed = |error: std::io::Error| LedgerError::Stopped(format!("no thread for the {name}: {error}"));
    Ok(std::thread::Builder::new()
        .name(name.into())
        .spawn(work)
        .map_err(failed)?)
}

type Doors = (Vec<SyncSender<Chunk>>, Vec<Receiver<Prepared>>);

pub(crate) fn start_workers(
    workshop: &Arc<Workshop>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<Doors, PublishError> {
    let count = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(1, 8);
    let (mut workers, mut prepared) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (send, chunks) = sync_channel::<Chunk>(2);
        let (ready, take) = sync_channel(2);
        let workshop = Arc::clone(workshop);
        let work = move || {
            while let Ok(chunk) = chunks.recv() {
                if ready.send(workshop.prepare(&chunk)).is_err() {
                    break;
                }
            }
        };
        threads.push(start("worker", work)?);
        workers.push(send);
        prepared.push(take);
    }
    Ok((workers, prepared))
}

/// Starts the cutter and the collector, in this order: the collector is the first to end.
pub(crate) fn start_ends(
    cutter: Cutter,
    prepared: Vec<Receiver<Prepared>>,
    dispatch: &Arc<Mutex<Dispatch>>,
    threads: &mut Vec<JoinHandle<()>>,
) -> Result<SyncSender<Submission>, PublishError> {
    threads.push(start("cutter", move || cut(cutter, &prepared))?);
    let (collector, submissions) = sync_channel(CHUNK_EVENTS);
    let theirs = Arc::clone(dispatch);
    threads.push(start("collector", move || collect(&theirs, &submissions))?);
    Ok(collector)
}

/// Takes prepared chunks from the workers in the order in which they were handed out.
fn cut(mut cutter: Cutter, prepared: &[Receiver<Prepared>]) {
    for worker in prepared.iter().cycle() {
        let Ok(chunk) = worker.recv() else { return };
        cutter.take(chunk);
    }
}

/// Gathers lone events for a few milliseconds, so that a batch holds more than one.
fn collect(dispatch: &Mutex<Dispatch>, submissions: &Receiver<Submission>) {
    while let Ok(first) = submissions.recv() {
        let mut chunk = empty_chunk();
        add(&mut chunk, &first.content, first.ticket);
        let until = Instant::now() + LINGER;
        while chunk.items.len() < CHUNK_EVENTS && chunk.buffer.len() < CHUNK_BYTES {
            match submissions.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(next) => add(&mut chunk, &next.content, next.ticket),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        chunk.flush = true;
        let handed_out = lock(dispatch).hand_out(chunk);
        if handed_out.is_err() {
            return;
        }
    }
}
