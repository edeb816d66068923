//! Pulling one shard's stream into a buffer, across whatever breaks.
//!
//! In scope: the consumer, pull requests, noticing what was lost on the way. Out of scope: handing messages out
//! ([`super::read`]). Trust: a consumer is not trusted to deliver all it counts; the stream may have gaps, which are
//! the reader's business.
//!
//! The consumer asks for no acknowledgements, so the server takes for delivered what it has sent. Its deliveries are
//! numbered without a gap: where a number is missing, or a heartbeat tells of a later one, a message was lost between
//! server and buffer, and a new consumer begins behind the last message that is in the buffer. A gap in the *stream's*
//! numbers with no gap in the deliveries' is handed on: what stood there is lost. A new consumer is given the last
//! message once more: where it is another, the stream was rolled back. Every wait ends: heartbeats come each second, and
//! their absence ends a session as an error does.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, Message as BusMessage, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::api::{PATIENCE, STREAM_NOT_FOUND};
use super::connect::{Backoff, Link};
use super::names::BusNames;
use super::place::Place;
use super::read::Buffer;
use super::streams::{GONE_AFTER, Streams, Told};
use crate::bus::{Message, StreamId, StreamSeq};
use crate::error::LedgerError;
use crate::files;

/// Bytes asked for at once. Far over a message's 1 MiB: a request too small for the next message gives nothing.
pub(super) const PULL_BYTES: usize = 8 << 20;
/// Messages asked for at once: below what the client holds for a subscription before it drops.
const PULL_MESSAGES: u64 = 8_192;
/// A request that waits for new messages is made again after this long.
const EXPIRES: Duration = Duration::from_secs(10);
const HEARTBEAT: Duration = Duration::from_secs(1);
/// No message and no heartbeat for this long: the consumer is gone.
const SILENCE: Duration = Duration::from_secs(4);
/// How often a wait looks whether the connection still stands.
const LOOK: Duration = Duration::from_millis(100);
/// The server removes a consumer that nobody asked for this long.
const INACTIVE: Duration = Duration::from_secs(30);
/// Trouble that lasts longer is told to whoever reads.
const TOLD_AFTER: Duration = Duration::from_secs(5);

/// The stream that positions belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) name: String,
    pub(super) id: StreamId,
}

/// Why a session with a consumer ended.
enum Broken {
    /// A new session may go on.
    ForNow(String),
    /// The stream is not there, or ends too early, which must be believed after a while.
    Gone(String),
    /// Nothing will come any more.
    ForGood(LedgerError),
}

impl From<LedgerError> for Broken {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Bus(text) => Self::ForNow(text),
            other => Self::ForGood(other),
        }
    }
}

/// What a pull request has come to.
enum Next {
    /// More will come on it.
    More,
    /// It is used up.
    Over,
    /// It waited in vain.
    Idle,
    /// The next message is larger than what was asked for.
    TooSmall,
}

#[derive(Deserialize)]
struct ConsumerAnswer {
    num_pending: u64,
}

/// Fills one buffer.
pub(super) struct Puller {
    pub(super) link: Arc<Link>,
    pub(super) names: BusNames,
    pub(super) shard: u32,
    pub(super) buffer: Arc<Mutex<Buffer>>,
    /// Ticks when the buffer changed; its end tells that this puller is no more.
    pub(super) changed: watch::Sender<()>,
    /// Ticks when there is room in the buffer.
    pub(super) room: watch::Receiver<()>,
    pub(super) arrivals: watch::Sender<u64>,
    pub(super) bound: Arc<Mutex<Option<Bound>>>,
    /// The last message in the buffer, or where reading began.
    pub(super) last: u64,
    /// The last message that came.
    pub(super) tail: Option<Tail>,
}

/// Enough of a message to know it again: where a stream was rolled back and filled anew, another stands in its place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail {
    seq: u64,
    crc: u32,
}

/// One consumer, removed when its session ends.
struct Consumer {
    client: Client,
    stream: String,
    name: String,
    subscriber: Subscriber,
    inbox: String,
    connection: u64,
    delivered: u64,
    /// What must come first.
    expected: Option<Tail>,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let bus_subject = format!("$JS.API.CONSUMER.DELETE.{}.{}", self.stream, self.name);
        let client = self.client.clone();
        // The server removes it by itself where this does not get through.
        if let Ok(handle) = tokio::runtime::Handle::try_current() {
            handle.spawn(async move {
                let deleted = client.publish(bus_subject, bytes::Bytes::new());
                let _ = timeout(SILENCE, deleted).await;
            });
        }
    }
}

impl Puller {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, how: impl FnOnce(&mut Buffer)) {
        how(&mut self.buffer());
        self.changed.send_replace(());
    }

    /// Pulls until the stream is lost for good.
    pub(super) async fn run(mut self) {
        let mut trouble = Some(Instant::now());
        let mut gone: Option<Instant> = None;
        let mut backoff = Backoff::new();
        loop {
            let Err(broken) = self.session(&mut trouble, &mut gone).await;
            let since = trouble.get_or_insert_with(|| {
                backoff = Backoff::new();
                Instant::now()
            });
            let failure = match broken {
                Broken::ForGood(error) => {
                    return self.change(|buffer| buffer.fail(error));
                }
                Broken::Gone(what) if gone.get_or_insert_with(Instant::now).elapsed() >= GONE_AFTER => {
                    let error = self.lost(&what);
                    return self.change(|buffer| buffer.fail(error));
                }
                Broken::Gone(_) => None,
                Broken::ForNow(text) => {
                    gone = None;
                    (since.elapsed() >= TOLD_AFTER).then_some(text)
                }
            };
            self.change(|buffer| buffer.trouble(failure.map(LedgerError::Bus)));
            backoff.pause().await;
        }
    }

    fn lost(&self, what: &str) -> LedgerError {
        LedgerError::Stream {
            shard: self.shard,
            what: what.to_owned(),
        }
    }

    fn streams(&self) -> Streams<'_> {
        Streams {
            link: &self.link,
            names: &self.names,
            shard: self.shard,
        }
    }

    /// The stream to go on with: the one that positions belong to, even when it is closed.
    async fn stream(&self) -> Result<Told, Broken> {
        let missing = || Broken::Gone("its stream is gone from the bus".into());
        let bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(bound) = bound.filter(|_| self.last > 0) else {
            let told = self.streams().live().await?.ok_or_else(missing)?;
            self.bind(&told);
            return Ok(told);
        };
        match self.streams().look(&bound.name).await? {
            Some(told) if told.id == bound.id => match &self.tail {
                Some(tail) if told.last < tail.seq => Err(Broken::Gone(format!(
                    "its stream ends at message {}, and message {} was read",
                    told.last, tail.seq
                ))),
                _ => Ok(told),
            },
            Some(_) => Err(Broken::ForGood(
                self.lost("its stream was deleted and another made in its place"),
            )),
            None => Err(missing()),
        }
    }

    fn bind(&self, told: &Told) {
        let bound = Bound {
            name: told.name.clone(),
            id: told.id,
        };
        *self.bound.lock().unwrap_or_else(PoisonError::into_inner) = Some(bound);
    }

    /// Whether all of the stream is read and no more will ever come.
    fn ended(&self, told: &Told) -> Result<(), Broken> {
        if told.live || told.last > self.last {
            return Ok(());
        }
        if self.last == 0 {
            return Err(Broken::ForNow("its stream was closed".into()));
        }
        Err(Broken::ForGood(
            self.lost("its stream was closed and all of it is read"),
        ))
    }

    async fn session(
        &mut self,
        trouble: &mut Option<Instant>,
        gone: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, Broken> {
        let told = self.stream().await?;
        *gone = None;
        self.ended(&told)?;
        let (mut consumer, pending) = self.consumer(&told.name).await?;
        *trouble = None;
        self.change(|buffer| buffer.connected(pending == 0));
        let mut bytes_max = PULL_BYTES;
        loop {
            self.wait_for_room(&consumer).await?;
            let messages = if bytes_max == 0 { 1 } else { PULL_MESSAGES };
            pull(&consumer, messages, bytes_max).await?;
            bytes_max = PULL_BYTES;
            match self.receive(&mut consumer, messages).await? {
                Next::More | Next::Over => {}
                Next::TooSmall => bytes_max = 0,
                Next::Idle => {
                    // Nothing tells a consumer that its stream was closed and another takes its place.
                    let now = self.stream().await?;
                    if now.id != told.id {
                        return Err(Broken::ForNow(
                            "another stream took the place of an empty one".into(),
                        ));
                    }
                    self.ended(&now)?;
                }
            }
        }
    }

    /// A consumer that begins behind the last message in the buffer, or with it where it is to be known again; and how
    /// many messages wait for it.
    async fn consumer(&self, stream: &str) -> Result<(Consumer, u64), Broken> {
        let away = || Broken::ForNow("no server is reached".into());
        let connection = self.link.connection().ok_or_else(away)?;
        let client = self.link.client().clone();
        let inbox = client.new_inbox();
        let subscribed = timeout(SILENCE, client.subscribe(inbox.clone())).await;
        let subscriber = subscribed
            .map_err(|_| away())?
            .map_err(|error| Broken::ForNow(error.to_string()))?;
        let name = format!(
            "sharetrail_{}",
            data_encoding::HEXLOWER.encode(&files::random::<8>()?)
        );
        let what = format!("CONSUMER.CREATE.{stream}.{name}");
        let body = json!({
            "stream_name": stream,
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": self.tail.map_or(self.last + 1, |tail| tail.seq),
                "ack_policy": "none",
                "replay_policy": "instant",
                "inactive_threshold": nanoseconds(INACTIVE),
                "mem_storage": true,
                "num_replicas": 1,
            },
        });
        let answer = self.link.api::<ConsumerAnswer>(&what, &body, PATIENCE).await?;
        let answer = answer.map_err(|fault| match fault.err_code {
            STREAM_NOT_FOUND => Broken::Gone("its stream is gone from the bus".into()),
            _ => fault.unexpected(&what).into(),
        })?;
        let consumer = Consumer {
            client,
            stream: stream.to_owned(),
            name,
            subscriber,
            inbox,
            connection,
            delivered: 0,
            expected: self.tail,
        };
        Ok((consumer, answer.num_pending))
    }

    async fn wait_for_room(&mut self, consumer: &Consumer) -> Result<(), Broken> {
        loop {
            self.room.borrow_and_update();
            if self.buffer().has_room() {
                return Ok(());
            }
            if matches!(timeout(HEARTBEAT, self.room.changed()).await, Ok(Err(_))) {
                return Err(Broken::ForGood(LedgerError::Stopped("nobody reads".into())));
            }
            self.stands(consumer)?;
        }
    }

    fn stands(&self, consumer: &Consumer) -> Result<(), Broken> {
        if self.link.connection() == Some(consumer.connection) {
            Ok(())
        } else {
            Err(Broken::ForNow("the connection broke".into()))
        }
    }

    /// Takes in what comes on one pull request.
    async fn receive(&mut self, consumer: &mut Consumer, messages: u64) -> Result<Next, Broken> {
        let (mut left, mut alive) = (messages, Instant::now());
        while left > 0 {
            tokio::select! {
                biased;
                message = consumer.subscriber.next() => {
                    let message = message.ok_or_else(|| Broken::ForNow("the subscription ended".into()))?;
                    alive = Instant::now();
                    if let Some(status) = message.status {
                        match said(consumer, status, &message)? {
                            Next::More => {}
                            other => return Ok(other),
                        }
                    } else {
                        self.message(consumer, message)?;
                        left -= 1;
                    }
                }
                () = sleep(LOOK) => {
                    self.stands(consumer)?;
                    if alive.elapsed() >= SILENCE {
                        return Err(Broken::ForNow("the consumer fell silent".into()));
                    }
                }
            }
        }
        Ok(Next::Over)
    }

    fn message(&mut self, consumer: &mut Consumer, message: BusMessage) -> Result<(), Broken> {
        let reply = message.reply.as_ref().map_or("", |reply| reply.as_str());
        let place = Place::parse(reply)
            .filter(|place| place.consumer == consumer.name)
            .ok_or_else(|| Broken::ForNow("a message without its place came".into()))?;
        if place.delivery != consumer.delivered + 1 {
            return Err(Broken::ForNow("messages were lost on the way".into()));
        }
        consumer.delivered = place.delivery;
        let (seq, current) = (place.seq, place.pending == 0);
        let tail = Tail {
            seq,
            crc: crc32fast::hash(&message.payload),
        };
        if let Some(expected) = consumer.expected.take() {
            if tail != expected {
                let what = format!("message {} is not the one that was read", expected.seq);
                return Err(Broken::ForGood(self.lost(&what)));
            }
            self.change(|buffer| buffer.push(None, current));
            return Ok(());
        }
        if seq <= self.last {
            return Ok(());
        }
        let frame = Vec::from(message.payload);
        let found = BusNames::last(&message.subject).map(|producer| Message {
            seq: StreamSeq(seq),
            producer,
            frame,
        });
        // What is not a producer's name cannot have come through the servers' permissions; the reader sees a gap.
        (self.last, self.tail) = (seq, Some(tail));
        self.change(|buffer| buffer.push(found, current));
        self.arrivals.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Asks the consumer for the next messages; `bytes_max` 0: however large they are.
async fn pull(consumer: &Consumer, messages: u64, bytes_max: usize) -> Result<(), Broken> {
    let mut body = json!({
        "batch": messages,
        "expires": nanoseconds(EXPIRES),
        "idle_heartbeat": nanoseconds(HEARTBEAT),
    });
    if bytes_max > 0 {
        body["max_bytes"] = json!(bytes_max);
    }
    let bus_subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", consumer.stream, consumer.name);
    let payload = body.to_string().into();
    let sent = consumer
        .client
        .publish_with_reply(bus_subject, consumer.inbox.clone(), payload);
    let sent = timeout(SILENCE, sent).await;
    sent.map_err(|_| Broken::ForNow("the connection is stuck".into()))?
        .map_err(|error| Broken::ForNow(error.to_string()))
}

fn nanoseconds(duration: Duration) -> Value {
    json!(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

/// What a message without content says of the pull.
fn said(consumer: &Consumer, status: StatusCode, message: &BusMessage) -> Result<Next, Broken> {
    let description = message.description.as_deref().unwrap_or_default();
    match status {
        StatusCode::IDLE_HEARTBEAT => {
            let told = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Last-Consumer"));
            let sent = told.and_then(|value| value.as_str().parse::<u64>().ok());
            if sent.is_some_and(|sent| sent != consumer.delivered) {
                return Err(Broken::ForNow("messages were lost on the way".into()));
            }
            Ok(Next::More)
        }
        StatusCode::TIMEOUT => Ok(Next::Idle),
        StatusCode::NOT_FOUND => Ok(Next::Over),
        StatusCode::REQUEST_TERMINATED if description.contains("Exceeds MaxBytes") => {
            let full = message
                .headers
                .as_ref()
                .and_then(|headers| headers.get("Nats-Pending-Bytes"));
            let full = full.and_then(|value| value.as_str().parse::<usize>().ok());
            let nothing_came = full.is_some_and(|bytes| bytes >= PULL_BYTES);
            Ok(if nothing_came { Next::TooSmall } else { Next::Over })
        }
        StatusCode::REQUEST_TERMINATED if description.contains("Batch Completed") => Ok(Next::Over),
        other => Err(Broken::ForNow(format!(
            "the consumer ended: {other} {description}"
        ))),
    }
}
