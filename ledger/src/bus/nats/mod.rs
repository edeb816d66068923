//! The distributed bus: NATS JetStream.
//!
//! In scope: the trait [`Bus`] over a cluster of nats-servers; streams and register of a ledger; messages between hosts.
//! Out of scope: what frames and values say; running servers. Trust: the servers may lose, repeat or roll back what they
//! acknowledged, and a right may be missing: all of it is told, nothing is believed beyond what [`super`] says.
//!
//! A [`NatsBus`] runs tasks of its own on threads of its own; its futures can be awaited anywhere. To connect and to
//! publish it asks nothing of JetStream's interface, so a producer's few rights are enough.

mod api;
mod connect;
mod monitor;
mod names;
mod place;
mod publish;
mod puller;
mod read;
mod register;
mod settings;
mod streams;
mod talk;

pub use self::monitor::ReplicaState;
pub use self::names::{BusNames, escaped, unescaped};
pub use self::register::{Conflict, Registered};
pub use self::settings::BusSettings;
pub use self::talk::{Incoming, Reply};

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::json;
use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::name::Name;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::connect::Link;
use self::publish::Lanes;
use self::read::Reader;
use self::register::Bucket;
use self::streams::{Streams, make_bucket, stream_names};
use self::talk::Outgoing;
use super::{Bus, BusFuture, Message, StreamId, StreamInfo, StreamSeq};
use crate::error::{At, LedgerError};

/// Connections of one process: one alone is slower than the servers.
const LINKS: usize = 4;
/// All of them stand after this long, or connecting has failed.
const CONNECT: Duration = Duration::from_secs(30);

/// What all tasks share.
struct Shared {
    names: BusNames,
    shards: u32,
    settings: BusSettings,
    links: Vec<Arc<Link>>,
    outgoing: Outgoing,
}

impl Shared {
    /// The connection for whatever is neither a frame nor a stream.
    fn link(&self) -> &Arc<Link> {
        &self.links[0]
    }

    fn streams(&self, shard: u32) -> Streams<'_> {
        Streams {
            link: &self.links[shard as usize % self.links.len()],
            names: &self.names,
            shard,
        }
    }

    fn bucket(&self) -> Bucket<'_> {
        Bucket {
            link: self.link(),
            names: &self.names,
        }
    }

    fn monitors(&self) -> Vec<String> {
        self.settings.monitors().into_iter().map(str::to_owned).collect()
    }

    async fn make(&self) -> Result<(), LedgerError> {
        let all = stream_names(self.link(), &json!({})).await?;
        let ours = |name: &&String| {
            **name == self.names.bucket_stream()
                || (0..self.shards).any(|shard| self.names.stream_number(shard, name).is_some())
        };
        if let Some(there) = all.iter().find(ours) {
            return Err(LedgerError::Invalid(format!(
                "the bus holds stream {there} already; take another name for the ledger, or delete that stream"
            )));
        }
        for shard in 0..self.shards {
            self.streams(shard).make(1, self.settings.replicas).await?;
        }
        make_bucket(self.link(), &self.names, self.settings.replicas).await
    }

    async fn mend_stream(&self, shard: u32) -> Result<bool, LedgerError> {
        let streams = self.streams(shard);
        if streams.live_patiently().await?.is_some() {
            return Ok(false);
        }
        // Behind the closed ones: a number is never used for a second stream beside them.
        let newest = streams.numbers().await?.last().copied().unwrap_or(0);
        streams.make(newest + 1, self.settings.replicas).await?;
        Ok(true)
    }
}

/// Ends without waiting, so that it can be dropped anywhere.
struct OwnRuntime(Option<Runtime>);

impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Task<T>(JoinHandle<Result<T, LedgerError>>);

impl<T> Future for Task<T> {
    type Output = Result<T, LedgerError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let joined = Pin::new(&mut self.0).poll(context);
        joined.map(|outcome| outcome.unwrap_or_else(|_| Err(closed())))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn closed() -> LedgerError {
    LedgerError::Stopped("the bus is closed".into())
}

/// The bus of a ledger on nats-servers.
pub struct NatsBus {
    shared: Arc<Shared>,
    readers: Vec<Reader>,
    lanes: Lanes,
    arrivals: watch::Receiver<u64>,
    handle: Handle,
    // Last: whatever stands before it may still need the handle when it is dropped.
    _runtime: OwnRuntime,
}

impl NatsBus {
    /// Opens the connections. `base`: the folder that relative paths of the settings start from. A server that cannot be
    /// reached now is an error; one that is lost later is looked for as long as the bus lives.
    pub fn connect(
        ledger: &Name,
        shards: u32,
        settings: &BusSettings,
        base: &Path,
    ) -> Result<Self, LedgerError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("nats")
            .enable_all()
            .build()
            .at("start a runtime for", base)?;
        let (handle, runtime) = (runtime.handle().clone(), OwnRuntime(Some(runtime)));
        let links = open_links(&handle, settings, base)?;
        let (outgoing, sending) = Outgoing::new(Arc::clone(&links[0]));
        handle.spawn(sending);
        let shared = Shared {
            names: BusNames::new(ledger),
            shards,
            settings: settings.clone(),
            links,
            outgoing,
        };
        let (arrived, arrivals) = watch::channel(0);
        let reader = |shard: u32| {
            let link = Arc::clone(&shared.links[shard as usize % LINKS]);
            Reader::new(link, shared.names.clone(), shard, handle.clone(), arrived.clone())
        };
        Ok(Self {
            readers: (0..shards).map(reader).collect(),
            shared: Arc::new(shared),
            lanes: Lanes::default(),
            arrivals,
            handle,
            _runtime: runtime,
        })
    }

    /// Does the work on this bus's own threads; dropping the answer ends it.
    fn ask<T, F, W>(&self, work: W) -> BusFuture<'static, T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, LedgerError>> + Send + 'static,
        W: FnOnce(Arc<Shared>) -> F,
    {
        Box::pin(Task(self.handle.spawn(work(Arc::clone(&self.shared)))))
    }

    /// Asks the monitor, whose client blocks.
    fn look<T, W>(&self, work: W) -> BusFuture<'static, Result<T, String>>
    where
        T: Send + 'static,
        W: FnOnce(&Shared) -> Result<T, String> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        Box::pin(Task(self.handle.spawn_blocking(move || Ok(work(&shared)))))
    }

    fn no_shard(&self, shard: u32) -> Option<LedgerError> {
        let unknown = shard >= self.shared.shards;
        unknown.then(|| LedgerError::Invalid(format!("the bus has no shard {shard}")))
    }

    /// The names of this ledger's things on the bus.
    pub fn names(&self) -> &BusNames {
        &self.shared.names
    }

    /// Makes streams and register of a new ledger; refuses if any is there already.
    pub fn make(&self) -> BusFuture<'_, ()> {
        self.ask(|shared| async move { shared.make().await })
    }

    /// Makes the shard's stream if it is gone; whether it was.
    pub fn mend_stream(&self, shard: u32) -> BusFuture<'_, bool> {
        if let Some(error) = self.no_shard(shard) {
            return Box::pin(async { Err(error) });
        }
        self.ask(move |shared| async move { shared.mend_stream(shard).await })
    }

    /// Makes the register if it is gone; whether it was.
    pub fn mend_register(&self) -> BusFuture<'_, bool> {
        self.ask(|shared| async move { shared.bucket().mend(shared.settings.replicas).await })
    }

    /// Closes the shard's stream, which keeps what it holds and takes in nothing more, and opens the next.
    pub fn next_stream(&self, shard: u32) -> BusFuture<'_, StreamInfo> {
        if let Some(error) = self.no_shard(shard) {
            return Box::pin(async { Err(error) });
        }
        self.ask(move |shared| async move {
            let told = shared.streams(shard).next(shared.settings.replicas).await?;
            Ok(told.info())
        })
    }

    /// Whether this is a stream of the shard that was closed, and is still there.
    pub fn was_closed(&self, shard: u32, id: StreamId) -> BusFuture<'_, bool> {
        self.ask(move |shared| async move { shared.streams(shard).was_closed(id).await })
    }

    /// Settings of servers and streams that would lose data, one line each; or why that cannot be checked.
    pub fn risks(&self) -> BusFuture<'_, Result<Vec<String>, String>> {
        self.look(|shared| {
            let replicas = shared.settings.replicas;
            monitor::risks(&shared.monitors(), &shared.names, shared.shards, replicas)
        })
    }

    /// What each replica of the shard's stream says it holds; or why that cannot be checked.
    pub fn agreement(&self, shard: u32) -> BusFuture<'_, Result<Vec<ReplicaState>, String>> {
        self.look(move |shared| monitor::agreement(&shared.monitors(), &shared.names, shard))
    }

    /// What the servers said unasked, oldest first: refusals, lost connections, messages dropped.
    pub fn troubles(&self) -> Vec<String> {
        self.shared.links.iter().flat_map(|link| link.told()).collect()
    }

    /// Sends to whoever listens now. Nobody tells whether it was heard.
    pub fn broadcast(&self, bus_subject: &str, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.shared.outgoing.send(bus_subject.to_owned(), bytes)
    }

    /// Listens. What the receiver has no time for is dropped; the channel ends when the server refuses it.
    pub fn listen(&self, bus_subject: &str) -> BusFuture<'_, mpsc::Receiver<Incoming>> {
        let bus_subject = bus_subject.to_owned();
        self.ask(move |shared| {
            let (link, outgoing) = (Arc::clone(shared.link()), shared.outgoing.clone());
            talk::listen(link, outgoing, bus_subject)
        })
    }

    /// Asks whoever listens, and waits for one answer. It is sent again only while nobody can have heard it.
    pub fn request(&self, bus_subject: &str, bytes: Vec<u8>, wait: Duration) -> BusFuture<'_, Vec<u8>> {
        let bus_subject = bus_subject.to_owned();
        self.ask(move |shared| async move { talk::request(shared.link(), &bus_subject, bytes, wait).await })
    }

    /// A value of the register, as the leader of its stream knows it.
    pub fn entry(&self, key: &str) -> BusFuture<'_, Option<Registered>> {
        let key = key.to_owned();
        self.ask(move |shared| async move { shared.bucket().entry(&key).await })
    }

    /// Writes if the key's revision is `expected` (0: it must not exist), and gives the new revision.
    pub fn update(&self, key: &str, value: Vec<u8>, expected: u64) -> BusFuture<'_, Result<u64, Conflict>> {
        let key = key.to_owned();
        self.ask(move |shared| async move { shared.bucket().update(&key, value, expected).await })
    }

    /// The register's keys that begin with `prefix`, sorted.
    pub fn keys(&self, prefix: &str) -> BusFuture<'_, Vec<String>> {
        let prefix = prefix.to_owned();
        self.ask(move |shared| async move { shared.bucket().keys(&prefix).await })
    }
}

fn open_links(handle: &Handle, settings: &BusSettings, base: &Path) -> Result<Vec<Arc<Link>>, LedgerError> {
    let (settings, base) = (settings.clone(), base.to_owned());
    let (sender, opened) = std::sync::mpsc::channel();
    let url = settings.url.clone();
    handle.spawn(async move {
        let opening = async {
            let mut links = Vec::new();
            for _ in 0..LINKS {
                links.push(Arc::new(Link::open(&settings, &base).await?));
            }
            Ok::<_, LedgerError>(links)
        };
        let late = || LedgerError::Bus(format!("{url} does not let us in for {} s", CONNECT.as_secs()));
        let links = tokio::time::timeout(CONNECT, opening).await;
        // Whoever connects waits below.
        let _ = sender.send(links.unwrap_or_else(|_| Err(late())));
    });
    opened.recv().unwrap_or_else(|_| Err(closed()))
}

impl Bus for NatsBus {
    fn publish(&self, shard: u32, producer: &Name, frame: Vec<u8>) -> BusFuture<'static, StreamSeq> {
        if let Some(error) = self.no_shard(shard) {
            return Box::pin(async { Err(error) });
        }
        if frame.len() > MAX_FRAME_BYTES {
            let error = LedgerError::Invalid("the frame is over 1 MiB".into());
            return Box::pin(async { Err(error) });
        }
        let Shared { links, names, .. } = &*self.shared;
        // Queued at once, not at the first poll: frames keep the order in which they were published.
        let answer = self
            .lanes
            .send(links, names, &self.handle, shard, producer, frame);
        Box::pin(async move { answer.await.unwrap_or_else(|_| Err(closed())) })
    }

    fn read(&self, shard: u32, after: StreamSeq, bytes_max: usize) -> BusFuture<'_, Vec<Message>> {
        Box::pin(async move {
            let unknown = || LedgerError::Invalid(format!("the bus has no shard {shard}"));
            let reader = self.readers.get(shard as usize).ok_or_else(unknown)?;
            reader.read(after, bytes_max).await
        })
    }

    fn info(&self, shard: u32) -> BusFuture<'_, StreamInfo> {
        if let Some(error) = self.no_shard(shard) {
            return Box::pin(async { Err(error) });
        }
        self.ask(move |shared| async move { Ok(shared.streams(shard).live_or_gone().await?.info()) })
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.clone()
    }
}
