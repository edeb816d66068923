//! What records and erases for a server under test: a publisher on an engine in this process.
//!
//! The program has the real one (`src/hands.rs`). It stands above this crate and cannot be used here; the program's own
//! tests ask it through its API. This one promises the same in the same kinds of refusal, and leaves out what one host
//! with one producer does not need: opening publishers when they are first needed and anew when they have stopped, a
//! bus and a leader elsewhere, proofs out of the archive, handing in again what was rejected because its customer was
//! erased meanwhile.
//!
//! In scope: promises out of the publisher's. Out of scope: which events, when maps are made.

use std::sync::Arc;

use sharetrail_consumers::http::{Accepted, Hands, HandsError, Promise, Recorded, Recording};
use sharetrail_ledger::{Engine, Ledger, LedgerError};
use sharetrail_producers::{Outcome, Pending, PublishError, Publisher, Receipt};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use tokio::sync::oneshot;

use super::SHOP;

/// The shop's publisher at work. It ends before the engine does.
pub(crate) struct TestHands {
    shop: Publisher,
    pub(crate) engine: Engine,
}

impl TestHands {
    /// At work on a ledger that nobody else works on.
    pub(crate) fn new(ledger: &Ledger) -> Arc<Self> {
        let engine = Engine::start(ledger).unwrap();
        let shop = Publisher::open(&engine, &super::name(SHOP)).unwrap();
        Arc::new(Self { shop, engine })
    }

    /// Brings the customer maps level with the logs.
    pub(crate) fn map(&self) {
        super::map(&self.engine);
    }
}

impl Hands for TestHands {
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording {
        if producer.as_str() != SHOP {
            return Recording::refused(HandsError::UnknownProducer(producer.clone()));
        }
        match self.shop.publish_json(content) {
            Ok(pending) => follow(pending),
            Err(error) => Recording::refused(failed(error)),
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        match self.engine.erase(label, generation) {
            Ok(erased) => Ok(erased.index),
            Err(error) if passes(&error) => Err(HandsError::Stopped(error.to_string())),
            Err(error) => Err(HandsError::Failed(error.to_string())),
        }
    }
}

/// Waits for an event on a task of the runtime that this is called in, so that each promise is kept whoever waits.
fn follow(mut pending: Pending) -> Recording {
    let (tell_accepted, accepted) = oneshot::channel();
    let (tell_sealed, sealed) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody may be waiting any more: then there is nobody to tell.
        match pending.accepted().await {
            Ok(outcome) => {
                let _ = tell_accepted.send(Ok(accepted_as(outcome)));
                let _ = tell_sealed.send(pending.sealed().await.map(recorded).map_err(failed));
            }
            Err(error) => {
                let error = failed(error);
                let _ = tell_accepted.send(Err(error.clone()));
                let _ = tell_sealed.send(Err(error));
            }
        }
    });
    Recording {
        is_taken: true,
        accepted: promise(accepted),
        sealed: promise(sealed),
    }
}

fn promise<T: Send + 'static>(told: oneshot::Receiver<Result<T, HandsError>>) -> Promise<T> {
    let ended = || HandsError::Stopped("the server is ending".to_owned());
    Box::pin(async move { told.await.unwrap_or_else(|_| Err(ended())) })
}

fn accepted_as(outcome: Outcome) -> Accepted {
    match outcome {
        Outcome::Accepted => Accepted::Accepted,
        Outcome::AlreadyRecorded(index) => Accepted::AlreadyRecorded(index),
    }
}

fn recorded(receipt: Receipt) -> Recorded {
    Recorded {
        shard: receipt.shard,
        index: receipt.index,
        entry: receipt.entry,
        tlog_proof: receipt.proof.to_string(),
        already_recorded: receipt.already_recorded,
    }
}

fn failed(error: PublishError) -> HandsError {
    let text = error.to_string();
    match error {
        PublishError::Content(_) | PublishError::Event(_) => HandsError::Invalid {
            field: error.field().map(str::to_owned),
            reason: text,
        },
        PublishError::Conflict { .. } | PublishError::Erased { .. } => HandsError::Conflict(text),
        PublishError::Rejected { reason } => HandsError::Rejected(reason),
        PublishError::Stopped { reason } => HandsError::Stopped(reason),
        PublishError::Ledger(inner) if passes(&inner) => HandsError::Stopped(text),
        _ => HandsError::Failed(text),
    }
}

/// Whether the same may go through later.
fn passes(error: &LedgerError) -> bool {
    error.is_transient() || error.is_locked()
}
