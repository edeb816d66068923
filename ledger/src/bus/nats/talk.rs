//! Messages that are not kept: broadcasts, questions and answers.
//!
//! In scope: sending without waiting, listening with a bounded queue, one question with one answer. Out of scope: what is
//! said. Trust: anybody with the right may say anything on a bus subject; whoever hears it checks.

use std::sync::Arc;
use std::time::Duration;

use async_nats::Request;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::connect::{Backoff, Link, Trouble};
use crate::error::LedgerError;

/// Messages that wait to be sent; more are refused.
const OUTGOING_MAX: usize = 256;
/// Messages that wait to be heard; more are dropped.
const INCOMING_MAX: usize = 1_024;
const SEND: Duration = Duration::from_secs(5);
/// How often a listener looks whether it was refused.
const LOOK: Duration = Duration::from_millis(250);

/// A message that was heard.
#[derive(Debug)]
pub struct Incoming {
    /// Where it was sent; for a bus subject with `*`, this tells whose it is.
    pub bus_subject: String,
    /// What it says.
    pub payload: Vec<u8>,
    /// Where an answer goes, if one is awaited.
    pub reply: Option<Reply>,
}

/// The way back to whoever asked.
#[derive(Debug)]
pub struct Reply {
    bus_subject: String,
    outgoing: Outgoing,
}

impl Reply {
    /// Answers. Nobody tells whether the answer was heard.
    pub fn send(self, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.outgoing.send(self.bus_subject, bytes)
    }
}

/// What is on its way out, in order.
#[derive(Clone, Debug)]
pub(super) struct Outgoing(mpsc::Sender<(String, Bytes)>);

impl Outgoing {
    /// The queue, and the task that empties it.
    pub(super) fn new(link: Arc<Link>) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, mut receiver) = mpsc::channel::<(String, Bytes)>(OUTGOING_MAX);
        let task = async move {
            while let Some((bus_subject, payload)) = receiver.recv().await {
                // What cannot be sent now is not worth sending later.
                if link.connection().is_some() {
                    let _ = timeout(SEND, link.client().publish(bus_subject, payload)).await;
                }
            }
        };
        (Self(sender), task)
    }

    pub(super) fn send(&self, bus_subject: String, bytes: Vec<u8>) -> Result<(), LedgerError> {
        self.0
            .try_send((bus_subject, bytes.into()))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    LedgerError::Bus(format!("{OUTGOING_MAX} messages wait to be sent"))
                }
                mpsc::error::TrySendError::Closed(_) => LedgerError::Stopped("the bus is closed".into()),
            })
    }
}

/// Listens until the receiver is dropped or the server refuses it; then the channel ends.
pub(super) async fn listen(
    link: Arc<Link>,
    outgoing: Outgoing,
    bus_subject: String,
) -> Result<mpsc::Receiver<Incoming>, LedgerError> {
    let since = link.now();
    let subscribed = timeout(SEND, link.client().subscribe(bus_subject.clone())).await;
    let mut subscriber = subscribed
        .map_err(|_| LedgerError::Bus(format!("cannot listen on {bus_subject}: the connection is stuck")))?
        .map_err(|error| LedgerError::Invalid(format!("cannot listen on {bus_subject}: {error}")))?;
    let (sender, receiver) = mpsc::channel(INCOMING_MAX);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                message = subscriber.next() => {
                    let Some(message) = message else { return };
                    let reply = message.reply.map(|reply| Reply {
                        bus_subject: reply.into_string(),
                        outgoing: outgoing.clone(),
                    });
                    let incoming = Incoming {
                        bus_subject: message.subject.into_string(),
                        payload: message.payload.into(),
                        reply,
                    };
                    // Full: as on any broadcast, what nobody has time for is dropped.
                    let _ = sender.try_send(incoming);
                }
                () = sender.closed() => return,
                () = sleep(LOOK) => {
                    if link.denied_since(&bus_subject, since).is_some() {
                        return;
                    }
                }
            }
        }
    });
    Ok(receiver)
}

/// Asks and waits for one answer. Asks again only while nobody can have heard it.
pub(super) async fn request(
    link: &Link,
    bus_subject: &str,
    bytes: Vec<u8>,
    wait: Duration,
) -> Result<Vec<u8>, LedgerError> {
    let (payload, end) = (Bytes::from(bytes), Instant::now() + wait);
    let mut backoff = Backoff::new();
    loop {
        let request = Request::new().payload(payload.clone());
        let left = end.saturating_duration_since(Instant::now());
        let trouble = match link.ask(bus_subject, request, left).await {
            Ok(message) => return Ok(message.payload.into()),
            Err(trouble) => trouble,
        };
        let told = trouble.told();
        match trouble {
            Trouble::Denied(text) => return Err(LedgerError::Denied(text)),
            Trouble::Unsendable(text) => return Err(LedgerError::Invalid(format!("{bus_subject}: {text}"))),
            Trouble::Away | Trouble::NoResponders if Instant::now() < end => backoff.pause().await,
            _ => return Err(LedgerError::Bus(format!("{bus_subject}: {told}"))),
        }
        if Instant::now() >= end {
            return Err(LedgerError::Bus(format!("{bus_subject}: {told}")));
        }
    }
}
