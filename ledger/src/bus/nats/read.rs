//! Handing out what a shard's puller brought.
//!
//! In scope: the buffer between puller and reader, positions, when to wait and when to say "nothing now". Out of scope:
//! getting messages ([`super::puller`]). Trust: as there.
//!
//! A read that is abandoned takes nothing: messages leave the buffer in the same step in which they are handed over. A
//! read from a position other than the one after the last hand-over starts a new puller there.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::connect::Link;
use super::names::BusNames;
use super::puller::{Bound, PULL_BYTES, Puller};
use crate::bus::{Message, StreamSeq};
use crate::error::LedgerError;

/// Bytes that lie in a buffer at most; one request more is never under way.
const BUFFER_BYTES: usize = 16 << 20;

/// What a puller brought and nobody has read yet.
#[derive(Default)]
pub(super) struct Buffer {
    messages: VecDeque<Message>,
    bytes: usize,
    /// All that the stream held is here, as far as is known.
    current: bool,
    /// That was so once since reading began.
    synced: bool,
    /// The stream cannot be reached at the moment.
    troubled: bool,
    failure: Option<LedgerError>,
}

/// What a buffer has for a reader.
enum Taken {
    Messages(Vec<Message>),
    Nothing,
    Failed(LedgerError),
    /// The puller will tell.
    Wait,
}

impl Buffer {
    pub(super) fn has_room(&self) -> bool {
        self.bytes + PULL_BYTES <= BUFFER_BYTES
    }

    pub(super) fn push(&mut self, message: Option<Message>, current: bool) {
        self.current = current;
        self.synced |= current;
        if let Some(message) = message {
            self.bytes += message.frame.len();
            self.messages.push_back(message);
        }
    }

    pub(super) fn connected(&mut self, current: bool) {
        (self.troubled, self.failure) = (false, None);
        self.current = current;
        self.synced |= current;
    }

    pub(super) fn trouble(&mut self, failure: Option<LedgerError>) {
        (self.troubled, self.current) = (true, false);
        if failure.is_some() {
            self.failure = failure;
        }
    }

    pub(super) fn fail(&mut self, failure: LedgerError) {
        (self.troubled, self.current) = (true, false);
        self.failure = Some(failure);
    }

    fn take(&mut self, bytes_max: usize) -> Taken {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(message) = self
            .messages
            .pop_front_if(|_| taken.is_empty() || bytes < bytes_max)
        {
            bytes += message.frame.len();
            taken.push(message);
        }
        self.bytes -= bytes;
        if !taken.is_empty() {
            return Taken::Messages(taken);
        }
        if let Some(failure) = self.failure.take() {
            return Taken::Failed(failure);
        }
        // A reader that is up to date is not held up by a cluster that chooses a leader; it hears when that lasts.
        if self.current || (self.troubled && self.synced) {
            Taken::Nothing
        } else {
            Taken::Wait
        }
    }
}

/// A puller at work, seen from the reader.
struct Pulling {
    buffer: Arc<Mutex<Buffer>>,
    changed: watch::Receiver<()>,
    room: watch::Sender<()>,
    task: AbortHandle,
}

impl Drop for Pulling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Default)]
struct State {
    /// The last message that was handed over, or where reading began.
    position: u64,
    pulling: Option<Pulling>,
}

/// Reads one shard's stream.
pub(super) struct Reader {
    link: Arc<Link>,
    names: BusNames,
    shard: u32,
    handle: Handle,
    arrivals: watch::Sender<u64>,
    bound: Arc<Mutex<Option<Bound>>>,
    /// Held during a read: two readers take turns.
    state: tokio::sync::Mutex<State>,
}

impl Reader {
    pub(super) fn new(
        link: Arc<Link>,
        names: BusNames,
        shard: u32,
        handle: Handle,
        arrivals: watch::Sender<u64>,
    ) -> Self {
        Self {
            link,
            names,
            shard,
            handle,
            arrivals,
            bound: Arc::default(),
            state: tokio::sync::Mutex::default(),
        }
    }

    fn start(&self, after: u64) -> Pulling {
        let buffer = Arc::new(Mutex::new(Buffer::default()));
        let (changed_sender, changed) = watch::channel(());
        let (room, room_receiver) = watch::channel(());
        if after == 0 {
            // Nothing was read that belongs to a certain stream.
            *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        let puller = Puller {
            link: Arc::clone(&self.link),
            names: self.names.clone(),
            shard: self.shard,
            buffer: Arc::clone(&buffer),
            changed: changed_sender,
            room: room_receiver,
            arrivals: self.arrivals.clone(),
            bound: Arc::clone(&self.bound),
            last: after,
            tail: None,
        };
        Pulling {
            buffer,
            changed,
            room,
            task: self.handle.spawn(puller.run()).abort_handle(),
        }
    }

    /// See [`crate::bus::Bus::read`].
    pub(super) async fn read(&self, after: StreamSeq, bytes_max: usize) -> Result<Vec<Message>, LedgerError> {
        let mut state = self.state.lock().await;
        if state.pulling.is_none() || state.position != after.0 {
            // The old puller ends before the new one begins.
            state.pulling = None;
            state.pulling = Some(self.start(after.0));
            state.position = after.0;
        }
        loop {
            let State { position, pulling } = &mut *state;
            let Some(at_work) = pulling else {
                return Err(LedgerError::Bus("the reader stopped".into()));
            };
            at_work.changed.borrow_and_update();
            let taken = at_work
                .buffer
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(bytes_max);
            match taken {
                Taken::Messages(messages) => {
                    at_work.room.send_replace(());
                    *position = messages.last().map_or(*position, |message| message.seq.0);
                    return Ok(messages);
                }
                Taken::Nothing => return Ok(Vec::new()),
                Taken::Failed(error) => {
                    if !error.is_transient() {
                        *pulling = None;
                    }
                    return Err(error);
                }
                Taken::Wait => {
                    if at_work.changed.changed().await.is_err() {
                        // It told why before it ended, or the bus is closed.
                        let mut buffer = at_work.buffer.lock().unwrap_or_else(PoisonError::into_inner);
                        let told = buffer.failure.take();
                        drop(buffer);
                        *pulling = None;
                        return Err(told.unwrap_or_else(|| LedgerError::Stopped("the bus is closed".into())));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::name::Name;

    use super::*;

    fn message(seq: u64) -> Message {
        Message {
            seq: StreamSeq(seq),
            producer: Name::new("till").unwrap(),
            frame: vec![0; 100],
        }
    }

    #[test]
    fn a_buffer_gives_at_least_one_message_and_about_as_many_bytes_as_asked() {
        let mut buffer = Buffer::default();
        for seq in 1..=6 {
            buffer.push(Some(message(seq)), seq == 6);
        }
        for (bytes_max, expected) in [(0, 1), (100, 1), (101, 2), (10_000, 2)] {
            assert!(
                matches!(buffer.take(bytes_max), Taken::Messages(taken) if taken.len() == expected),
                "{bytes_max}"
            );
        }
        assert!(matches!(buffer.take(1), Taken::Nothing));
        assert_eq!(buffer.bytes, 0);
    }

    #[test]
    fn nothing_is_said_only_where_it_is_known() {
        let mut buffer = Buffer::default();
        assert!(
            matches!(buffer.take(1), Taken::Wait),
            "before the stream was seen"
        );
        buffer.trouble(None);
        assert!(matches!(buffer.take(1), Taken::Wait), "and while it cannot be");
        buffer.trouble(Some(LedgerError::Bus("away".into())));
        assert!(matches!(buffer.take(1), Taken::Failed(_)));
        buffer.connected(true);
        assert!(matches!(buffer.take(1), Taken::Nothing));
        buffer.trouble(None);
        assert!(
            matches!(buffer.take(1), Taken::Nothing),
            "up to date before the trouble"
        );
        buffer.connected(false);
        assert!(matches!(buffer.take(1), Taken::Wait), "more is on its way");
        buffer.push(Some(message(1)), false);
        buffer.fail(LedgerError::Stopped("over".into()));
        assert!(
            matches!(buffer.take(1), Taken::Messages(_)),
            "what came first is read first"
        );
        assert!(matches!(buffer.take(1), Taken::Failed(_)));
    }
}
