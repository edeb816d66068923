//! The embedded bus: one process, append-only files, one sync for all that waits (group commit).
//!
//! In scope: the writer thread and the promises. Out of scope: the files ([`super::segment`]).
//! Trust: as [`super::segment`].

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::name::Name;
use tokio::sync::{oneshot, watch};

use super::segment::{Stream, StreamReader, View};
use super::{Bus, BusFuture, Message, StreamId, StreamInfo, StreamSeq};
use crate::error::LedgerError;
use crate::files;
use crate::folder::Lock;

/// The most frames that wait for one sync.
const GROUP_MAX: usize = 64;

struct Request {
    shard: u32,
    producer: Name,
    frame: Vec<u8>,
    reply: oneshot::Sender<Result<StreamSeq, LedgerError>>,
}

/// One shard's stream: its writer, what is committed, and a reader that does not wait for the writer's sync.
struct ShardStream {
    writer: Mutex<Stream>,
    view: Mutex<(StreamInfo, View)>,
    reader: Mutex<StreamReader>,
}

impl ShardStream {
    fn new(stream: Stream) -> Self {
        let (view, reader) = (
            Mutex::new((stream.info(), stream.view())),
            Mutex::new(stream.reader()),
        );
        Self {
            writer: Mutex::new(stream),
            view,
            reader,
        }
    }

    fn view(&self) -> (StreamInfo, View) {
        held(&self.view).clone()
    }
}

type Streams = Arc<Vec<ShardStream>>;

/// A thread that panicked while it held one of these left it as it was between two steps.
fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The embedded bus of a ledger's folder.
pub struct EmbeddedBus {
    streams: Streams,
    requests: Option<SyncSender<Request>>,
    writer: Option<JoinHandle<()>>,
    arrivals: watch::Receiver<u64>,
    /// Held as long as somebody can publish, which may be longer than the engine lives.
    lock: Option<Arc<Lock>>,
}

impl EmbeddedBus {
    /// Keeps the ledger's folder held until the last user of this bus is gone.
    pub(crate) fn holding(mut self, lock: &Arc<Lock>) -> Self {
        self.lock = Some(Arc::clone(lock));
        self
    }

    /// Opens the streams of all shards in `folder`, and says what had to be cut off. The caller holds the folder's lock.
    pub fn open(folder: &Path, shards: u32) -> Result<(Self, Vec<String>), LedgerError> {
        let (mut streams, mut notices) = (Vec::new(), Vec::new());
        for shard in 0..shards {
            let (stream, notice) = Stream::open(&folder.join(shard.to_string()), StreamId(files::random()?))?;
            streams.push(ShardStream::new(stream));
            notices.extend(notice);
        }
        let streams = Arc::new(streams);
        let (requests, waiting) = sync_channel(GROUP_MAX);
        let (stored, arrivals) = watch::channel(0);
        let theirs = Arc::clone(&streams);
        let writer = std::thread::Builder::new()
            .name("bus".into())
            .spawn(move || write(&theirs, &waiting, &stored));
        let writer = writer.map_err(|source| LedgerError::File {
            doing: "start a thread for",
            path: folder.to_owned(),
            source,
        })?;
        Ok((
            Self {
                streams,
                requests: Some(requests),
                writer: Some(writer),
                arrivals,
                lock: None,
            },
            notices,
        ))
    }

    fn stream(&self, shard: u32) -> Result<&ShardStream, LedgerError> {
        let stream = self.streams.get(shard as usize);
        stream.ok_or_else(|| LedgerError::Invalid(format!("the bus has no shard {shard}")))
    }
}

impl Drop for EmbeddedBus {
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was told when it happened; there is nothing left to write.
            let _ = writer.join();
        }
    }
}

fn write(streams: &Streams, waiting: &Receiver<Request>, stored: &watch::Sender<u64>) {
    while let Ok(first) = waiting.recv() {
        let mut group = vec![first];
        while group.len() < GROUP_MAX {
            let Ok(next) = waiting.try_recv() else { break };
            group.push(next);
        }
        group.sort_by_key(|request| request.shard);
        let count = group.len() as u64;
        let mut rest = group;
        while let Some(shard) = rest.first().map(|request| request.shard) {
            let later = rest.split_off(rest.partition_point(|request| request.shard == shard));
            commit(&streams[shard as usize], rest);
            rest = later;
        }
        stored.send_modify(|total| *total += count);
    }
}

/// Stores the requests of one shard with one sync and keeps the promises.
fn commit(shard: &ShardStream, group: Vec<Request>) {
    let mut stream = held(&shard.writer);
    let before = stream.info().last;
    let seqs: Vec<StreamSeq> = group
        .iter()
        .map(|request| stream.append(&request.producer, &request.frame))
        .collect();
    let outcome = stream.commit(before);
    *held(&shard.view) = (stream.info(), stream.view());
    drop(stream);
    let text = outcome.as_ref().err().map(ToString::to_string);
    let mut error = outcome.err();
    for (request, seq) in group.into_iter().zip(seqs) {
        let answer = match (&text, error.take()) {
            (None, _) => Ok(seq),
            (Some(_), Some(error)) => Err(error),
            (Some(text), None) => Err(LedgerError::Stopped(text.clone())),
        };
        // Whoever published may have gone; the frame is stored all the same.
        let _ = request.reply.send(answer);
    }
}

impl Bus for EmbeddedBus {
    fn publish(&self, shard: u32, producer: &Name, frame: Vec<u8>) -> BusFuture<'static, StreamSeq> {
        let stopped = || LedgerError::Stopped("the bus is closed".into());
        if shard as usize >= self.streams.len() || frame.len() > MAX_FRAME_BYTES {
            let error = LedgerError::Invalid(format!(
                "the bus has no shard {shard}, or the frame is over 1 MiB"
            ));
            return Box::pin(async { Err(error) });
        }
        let (reply, answer) = oneshot::channel();
        let request = Request {
            shard,
            producer: producer.clone(),
            frame,
            reply,
        };
        // Sent at once, not at the first poll: frames keep the order in which they were published.
        let sent = self
            .requests
            .as_ref()
            .is_some_and(|requests| requests.send(request).is_ok());
        Box::pin(async move {
            if !sent {
                return Err(stopped());
            }
            answer.await.unwrap_or_else(|_| Err(stopped()))
        })
    }

    fn read(&self, shard: u32, after: StreamSeq, bytes_max: usize) -> BusFuture<'_, Vec<Message>> {
        Box::pin(async move {
            let stream = self.stream(shard)?;
            let (_, view) = stream.view();
            held(&stream.reader).read(&view, after, bytes_max)
        })
    }

    fn info(&self, shard: u32) -> BusFuture<'_, StreamInfo> {
        Box::pin(async move { Ok(self.stream(shard)?.view().0) })
    }

    fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.clone()
    }
}
