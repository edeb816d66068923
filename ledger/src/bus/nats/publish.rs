//! Publishing frames: one at a time for each shard and producer, again until it is acknowledged.
//!
//! In scope: order, acknowledgements, retries. Out of scope: keeping frames beyond this process (the outbox). Trust: an
//! acknowledgement counts if it names the shard's stream; whether the frame lasts is for the outbox to find out.
//!
//! Needs the right to publish on the producer's own bus subjects and to hear its inbox, nothing else. A frame may be
//! stored twice where an acknowledgement was lost: the sequencer ignores repeats.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Request;
use bytes::Bytes;
use serde::Deserialize;
use sharetrail_proof::name::Name;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::api::{Fault, parse};
use super::connect::{Backoff, Link, Trouble};
use super::names::BusNames;
use crate::bus::StreamSeq;
use crate::error::LedgerError;

/// How long one try waits for its acknowledgement.
const TRY: Duration = Duration::from_secs(5);
/// After this long without an acknowledgement the publisher is told.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) type Reply = oneshot::Receiver<Result<StreamSeq, LedgerError>>;

struct Job {
    frame: Bytes,
    reply: oneshot::Sender<Result<StreamSeq, LedgerError>>,
}

/// The queues of all pairs of shard and producer.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Mutex<HashMap<(u32, Name), mpsc::UnboundedSender<Job>>>,
}

impl Lanes {
    /// Queues a frame behind those of the same pair; they are sent in the order of these calls.
    pub(super) fn send(
        &self,
        links: &[Arc<Link>],
        names: &BusNames,
        handle: &Handle,
        shard: u32,
        producer: &Name,
        frame: Vec<u8>,
    ) -> Reply {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            frame: frame.into(),
            reply,
        };
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let jobs = lanes.entry((shard, producer.clone())).or_insert_with(|| {
            let lane = Lane {
                link: Arc::clone(&links[place(shard, producer, links.len())]),
                bus_subject: names.frames(shard, producer),
                shard,
                names: names.clone(),
            };
            let (sender, jobs) = mpsc::unbounded_channel();
            handle.spawn(lane.drive(jobs));
            sender
        });
        // If the bus is closed the job is gone, and with it the other end of `answer`.
        let _ = jobs.send(job);
        answer
    }
}

/// Which connection serves a pair: always the same.
fn place(shard: u32, producer: &Name, links: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    (shard, producer).hash(&mut hasher);
    usize::try_from(hasher.finish() % links as u64).unwrap_or(0)
}

/// What JetStream acknowledges.
#[derive(Deserialize)]
struct Ack {
    stream: String,
    seq: u64,
}

struct Lane {
    link: Arc<Link>,
    bus_subject: String,
    shard: u32,
    names: BusNames,
}

impl Lane {
    async fn drive(self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        while let Some(job) = jobs.recv().await {
            let outcome = self.send(&job.frame).await;
            if let Err(error) = &outcome {
                // Whatever was queued behind it was queued to come after it.
                while let Ok(behind) = jobs.try_recv() {
                    let text = format!("a frame before it was not accepted: {error}");
                    let told = match error {
                        LedgerError::Denied(text) => LedgerError::Denied(text.clone()),
                        _ => LedgerError::Bus(text),
                    };
                    let _ = behind.reply.send(Err(told));
                }
            }
            // Whoever published may have gone; the frame is stored all the same.
            let _ = job.reply.send(outcome);
        }
    }

    async fn send(&self, frame: &Bytes) -> Result<StreamSeq, LedgerError> {
        let (end, mut backoff) = (Instant::now() + PATIENCE, Backoff::new());
        loop {
            let request = Request::new().payload(frame.clone());
            let why = match self.link.ask(&self.bus_subject, request, TRY).await {
                Ok(message) => match parse::<Ack>(&message.payload) {
                    Ok(Ok(ack)) => return self.acked(&ack),
                    Ok(Err(fault)) if fault.is_transient() => fault.description,
                    Ok(Err(fault)) => return Err(self.refused(&fault)),
                    Err(_) => return Err(self.foreign("something that is no JetStream stream")),
                },
                Err(Trouble::Denied(text)) => return Err(LedgerError::Denied(text)),
                Err(Trouble::Unsendable(text)) => {
                    return Err(LedgerError::Invalid(format!(
                        "the bus takes no frame of {} bytes ({text}); set `max_payload: 1MB` or more on the servers",
                        frame.len()
                    )));
                }
                Err(trouble) => trouble.told(),
            };
            if Instant::now() >= end {
                return Err(LedgerError::Bus(format!(
                    "no acknowledgement on {} for {} s: {why}",
                    self.bus_subject,
                    PATIENCE.as_secs()
                )));
            }
            backoff.pause().await;
        }
    }

    fn acked(&self, ack: &Ack) -> Result<StreamSeq, LedgerError> {
        if self.names.stream_number(self.shard, &ack.stream).is_some() && ack.seq > 0 {
            Ok(StreamSeq(ack.seq))
        } else {
            Err(self.foreign(&format!("stream {}", ack.stream)))
        }
    }

    fn refused(&self, fault: &Fault) -> LedgerError {
        fault.unexpected(&self.bus_subject)
    }

    fn foreign(&self, who: &str) -> LedgerError {
        LedgerError::Bus(format!(
            "{} is answered by {who}, not by the ledger's stream; check the streams and responders of this account",
            self.bus_subject
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_always_takes_the_same_connection() {
        let names: Vec<Name> = (0..40)
            .map(|n| Name::new(&format!("till-{n}")).unwrap())
            .collect();
        let places: Vec<usize> = names.iter().map(|name| place(3, name, 4)).collect();
        assert!(
            names
                .iter()
                .zip(&places)
                .all(|(name, found)| place(3, name, 4) == *found)
        );
        assert!((0..4).all(|link| places.contains(&link)));
    }

    #[test]
    fn an_error_in_an_acknowledgement_is_not_taken_for_one() {
        let fault = br#"{"error":{"code":503,"err_code":10008,"description":"later"},"stream":"s","seq":0}"#;
        assert!(matches!(parse::<Ack>(fault), Ok(Err(fault)) if fault.is_transient()));
        assert!(matches!(parse::<Ack>(br#"{"stream":"s","seq":7}"#), Ok(Ok(ack)) if ack.seq == 7));
        assert!(parse::<Ack>(b"hello").is_err());
    }
}
