//! The bus: durable streams of frames, one per shard.
//!
//! In scope: the trait that the embedded bus and the one on nats-servers fulfil, and its words. Out of scope: what a
//! frame says. Trust: a bus may lose, repeat, reorder or alter what it was given; whoever reads checks.

mod embedded;
pub mod nats;
mod segment;

pub use embedded::EmbeddedBus;
pub use nats::{BusNames, BusSettings, Incoming, NatsBus, ReplicaState, Reply, escaped};

use std::fmt;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use sharetrail_proof::name::Name;

use crate::error::LedgerError;

/// The position of a message in a stream, from 1; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StreamSeq(pub u64);

/// Tells a stream from another that took its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub [u8; 16]);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::str::FromStr for StreamId {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok()).map(Self);
        bytes.ok_or_else(|| LedgerError::Invalid(format!("{text:?} is not a stream's id")))
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it is.
    pub seq: StreamSeq,
    /// On whose bus subject it came. The frame says who signed.
    pub producer: Name,
    /// The frame.
    pub frame: Vec<u8>,
}

/// Which stream it is, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream's id.
    pub id: StreamId,
    /// The last message; 0 in an empty stream.
    pub last: StreamSeq,
}

/// What a bus answers, later.
pub type BusFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LedgerError>> + Send + 'a>>;

/// Durable streams of frames, one per shard.
pub trait Bus: Send + Sync {
    /// Stores a frame. When the answer is there, the frame is durable: *accepted*. Frames that one caller publishes
    /// one after the other on a shard keep their order. A frame may be stored more than once, and one whose answer is an
    /// error may be stored all the same.
    fn publish(&self, shard: u32, producer: &Name, frame: Vec<u8>) -> BusFuture<'static, StreamSeq>;

    /// Messages after a position, their positions rising, up to about `bytes_max`, at least one if there is one. None:
    /// there is nothing more now; what was accepted a moment ago may come a moment later. Does not wait for new ones.
    ///
    /// A gap between positions means that the stream has lost what stood there. A position belongs to one stream: where
    /// another took its place, or it is gone, that is [`LedgerError::Stream`], until somebody reads from 0.
    fn read(&self, shard: u32, after: StreamSeq, bytes_max: usize) -> BusFuture<'_, Vec<Message>>;

    /// Which stream serves the shard; one that is gone is [`LedgerError::Stream`].
    fn info(&self, shard: u32) -> BusFuture<'_, StreamInfo>;

    /// Changes whenever there is something new to read on a shard that was read before.
    fn arrivals(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Which embedded stream lies in a folder and where it ends, without opening it.
pub(crate) fn peek(folder: &std::path::Path) -> Result<Option<StreamInfo>, LedgerError> {
    segment::peek(folder)
}

/// Visits the messages of an embedded stream that nobody writes to; passes over damaged ones and says how many.
pub(crate) fn visit(
    folder: &std::path::Path,
    each: &mut dyn FnMut(Message) -> Result<(), LedgerError>,
) -> Result<u64, LedgerError> {
    segment::visit(folder, each)
}

/// Begins an embedded stream with a stated id.
pub(crate) fn begin(folder: &std::path::Path, id: StreamId) -> Result<(), LedgerError> {
    segment::Stream::open(folder, id).map(|_| ())
}
