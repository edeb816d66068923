//! What the server cannot do by itself: putting something on record, and erasing.
//!
//! In scope: what is asked of whoever can. Out of scope: doing it. This crate reads ledgers; the program that serves
//! hands in something that writes to them. Trust: what is handed in signs in the producers' names, so a caller says
//! which producer only after it is proven who asks.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use thiserror::Error;

use super::metrics::EventCounts;

/// What the API cannot do by itself: record and erase.
pub trait Hands: Send + Sync + 'static {
    /// Records one content for `producer`, in whose name it is signed. Returns at once, and may wait a moment only
    /// while too many events are on their way.
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording;

    /// Erases the customer behind a label; returns when it is on record and the key is gone. May take a minute and
    /// more.
    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError>;
}

/// What comes later, unless it is refused.
pub type Promise<T> = Pin<Box<dyn Future<Output = Result<T, HandsError>> + Send>>;

/// An event on its way. Dropping it does not take the event back. Its promises are kept in this order; a refusal
/// answers both.
pub struct Recording {
    /// Whether it was handed in. Then it may be on record by now or later, also where a promise is broken with
    /// [`HandsError::Stopped`] or [`HandsError::Failed`]: what waits in an outbox goes on at the next start.
    pub is_taken: bool,
    /// It is durable.
    pub accepted: Promise<Accepted>,
    /// It is in the log, under a published checkpoint.
    pub sealed: Promise<Recorded>,
}

impl Recording {
    /// One that is refused before it was handed in: it is not on record, and never will be.
    pub fn refused(error: HandsError) -> Self {
        let again = error.clone();
        Self {
            is_taken: false,
            accepted: Box::pin(async move { Err(error) }),
            sealed: Box::pin(async move { Err(again) }),
        }
    }
}

/// What was promised when an event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// It is durable, and will be on record.
    Accepted,
    /// The same event was on record before, here.
    AlreadyRecorded(LeafIndex),
}

/// Where an event is on record, with its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Where it is.
    pub index: LeafIndex,
    /// Its entry.
    pub entry: Vec<u8>,
    /// That the log holds the entry: a C2SP tlog-proof, as text.
    pub tlog_proof: String,
    /// Whether it had been recorded before.
    pub already_recorded: bool,
}

/// Why something is not on record.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandsError {
    /// The content breaks a rule of its schema.
    #[error("{reason}")]
    Invalid {
        /// The field at fault, where it is one.
        field: Option<String>,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// Another content with the same source and id is on record.
    #[error("{0}")]
    Conflict(String),
    /// The ledger looked at it and refused.
    #[error("{0}")]
    Rejected(String),
    /// Nobody here can sign for the producer.
    #[error("this host does not sign for {0}")]
    UnknownProducer(Name),
    /// Nothing is recorded at the moment. Trying again later may help, unless it was handed in ([`Recording::is_taken`]):
    /// an event of another id would then be on record twice.
    #[error("nothing is recorded at the moment: {0}")]
    Stopped(String),
    /// Something is wrong on this host.
    #[error("{0}")]
    Failed(String),
}

/// Counts what is handed in, whoever does it.
pub(super) struct Counting {
    pub(super) hands: Arc<dyn Hands>,
    pub(super) counts: EventCounts,
}

impl Hands for Counting {
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording {
        let Recording {
            is_taken,
            accepted,
            sealed,
        } = self.hands.record(producer, content);
        let is_counted = Arc::new(AtomicBool::new(false));
        Recording {
            is_taken,
            accepted: self.around(accepted, &is_counted),
            sealed: self.around(sealed, &is_counted),
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        self.hands.erase(label, generation)
    }
}

impl Counting {
    /// The first promise that is kept or broken counts.
    fn around<T: 'static>(&self, promise: Promise<T>, is_counted: &Arc<AtomicBool>) -> Promise<T> {
        let (counts, is_counted) = (self.counts.clone(), Arc::clone(is_counted));
        Box::pin(async move {
            let outcome = promise.await;
            if !is_counted.swap(true, Ordering::Relaxed) {
                counts.count(outcome.is_ok());
            }
            outcome
        })
    }
}
