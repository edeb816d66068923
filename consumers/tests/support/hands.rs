//! What records and erases for a server under test: publishers on an engine in this process.
//!
//! In scope: promises out of the publisher's, one publisher a producer. Out of scope: which events, when maps are made.

use std::collections::HashMap;
use std::sync::Arc;

use sharetrail_consumers::http::{Accepted, Hands, HandsError, Recorded, Recording};
use sharetrail_ledger::{Engine, Ledger, LedgerError};
use sharetrail_producers::{Outcome, Pending, PublishError, Publisher};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use tokio::sync::Mutex;

/// Publishers at work. They end before the engine does.
pub(crate) struct TestHands {
    publishers: HashMap<Name, Publisher>,
    pub(crate) engine: Engine,
}

impl TestHands {
    /// At work on a ledger that nobody else works on, for these producers, whose keys lie in its folder.
    pub(crate) fn new(ledger: &Ledger, producers: &[&str]) -> Arc<Self> {
        let engine = Engine::start(ledger).unwrap();
        let open = |producer: &&str| {
            let name = super::name(producer);
            let publisher = Publisher::open(&engine, &name).unwrap();
            (name, publisher)
        };
        let publishers = producers.iter().map(open).collect();
        Arc::new(Self { publishers, engine })
    }

    /// Brings the customer maps level with the logs.
    pub(crate) fn map(&self) {
        super::map(&self.engine);
    }
}

impl Hands for TestHands {
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording {
        let fate = match self.publishers.get(producer) {
            None => Fate::refused(HandsError::UnknownProducer(producer.clone())),
            Some(publisher) => match publisher.publish_json(content) {
                Ok(pending) => Fate {
                    pending: Some(pending),
                    refused: None,
                },
                Err(error) => Fate::refused(told(&error)),
            },
        };
        let first = Arc::new(Mutex::new(fate));
        let second = Arc::clone(&first);
        Recording {
            accepted: Box::pin(async move { first.lock().await.accepted().await }),
            sealed: Box::pin(async move { second.lock().await.sealed().await }),
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        match self.engine.erase(label, generation) {
            Ok(erased) => Ok(erased.index),
            Err(LedgerError::Rejected(reason)) => Err(HandsError::Rejected(reason)),
            Err(error) if error.is_transient() => Err(HandsError::Stopped(error.to_string())),
            Err(error) => Err(HandsError::Failed(error.to_string())),
        }
    }
}

/// What becomes of an event. The publisher tells a refusal once; here it is kept for whoever asks second.
struct Fate {
    pending: Option<Pending>,
    refused: Option<HandsError>,
}

impl Fate {
    fn refused(error: HandsError) -> Self {
        Self {
            pending: None,
            refused: Some(error),
        }
    }

    fn known(&self) -> HandsError {
        let gone = || HandsError::Stopped("it was asked for before".into());
        self.refused.clone().unwrap_or_else(gone)
    }

    async fn accepted(&mut self) -> Result<Accepted, HandsError> {
        let Some(pending) = &mut self.pending else {
            return Err(self.known());
        };
        match pending.accepted().await {
            Ok(Outcome::Accepted) => Ok(Accepted::Accepted),
            Ok(Outcome::AlreadyRecorded(index)) => Ok(Accepted::AlreadyRecorded(index)),
            Err(error) => {
                *self = Self::refused(told(&error));
                Err(self.known())
            }
        }
    }

    async fn sealed(&mut self) -> Result<Recorded, HandsError> {
        let Some(pending) = self.pending.take() else {
            return Err(self.known());
        };
        match pending.sealed().await {
            Ok(receipt) => Ok(Recorded {
                shard: receipt.shard,
                index: receipt.index,
                entry: receipt.entry,
                tlog_proof: receipt.proof.to_string(),
                already_recorded: receipt.already_recorded,
            }),
            Err(error) => {
                *self = Self::refused(told(&error));
                Err(self.known())
            }
        }
    }
}

fn told(error: &PublishError) -> HandsError {
    let reason = error.to_string();
    match error {
        PublishError::Content(_) | PublishError::Event(_) => HandsError::Invalid {
            field: error.field().map(str::to_owned),
            reason,
        },
        PublishError::Conflict { .. } => HandsError::Conflict(reason),
        PublishError::Erased { .. } | PublishError::Rejected { .. } => HandsError::Rejected(reason),
        PublishError::Stopped { .. } => HandsError::Stopped(reason),
        PublishError::Ledger(inner) if inner.is_transient() => HandsError::Stopped(reason),
        _ => HandsError::Failed(reason),
    }
}
