//! One published event, and the promises its publisher can wait for.
//!
//! In scope: accepted, sealed with a receipt. Trust: a receipt holds the proof; verify it against a policy.

use std::sync::{Arc, Mutex, PoisonError};

use sharetrail_ledger::Ledger;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tlog_proof::TlogProof;
use tokio::sync::Notify;

use crate::error::PublishError;
use crate::tickets::Tickets;

/// What was promised when an event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable on the bus.
    Accepted,
    /// The same event was on record before, here.
    AlreadyRecorded(LeafIndex),
}

/// The proof that an event is on record.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Where it is.
    pub index: LeafIndex,
    /// The entry's bytes, which the proof is about.
    pub entry: Vec<u8>,
    /// The proof, under a checkpoint that covers it.
    pub proof: TlogProof,
    /// Whether it had been recorded before.
    pub already_recorded: bool,
}

#[derive(Default)]
struct State {
    accepted: bool,
    sealed: Option<(u32, LeafIndex, bool)>,
    refused: Option<PublishError>,
    told: bool,
}

/// The shared half of a [`Pending`].
#[derive(Default)]
pub(crate) struct Single {
    state: Mutex<State>,
    changed: Notify,
}

impl Single {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_waiters();
        self.changed.notify_one();
    }
}

impl Tickets for Single {
    fn refused(&self, _: u64, error: PublishError) {
        self.change(|state| state.refused = Some(error));
    }
    fn accepted(&self, _: u64) {
        self.change(|state| state.accepted = true);
    }
    fn sealed(&self, _: u64, shard: u32, index: LeafIndex, already: bool) {
        self.change(|state| state.sealed = Some((shard, index, already)));
    }
}

/// A published event: its fate can be waited for. Dropping it does not take the event back.
#[must_use = "an event may be refused; wait for `accepted` or `sealed`"]
pub struct Pending {
    single: Arc<Single>,
    ledger: Ledger,
}

impl Pending {
    pub(crate) fn new(ledger: &Ledger) -> (Self, Arc<Single>) {
        let single = Arc::new(Single::default());
        (
            Self {
                single: Arc::clone(&single),
                ledger: ledger.clone(),
            },
            single,
        )
    }

    async fn wait<T>(&self, ready: impl Fn(&State) -> Option<T>) -> Result<T, PublishError> {
        loop {
            let changed = self.single.changed.notified();
            {
                let mut state = self.single.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = ready(&state) {
                    return Ok(answer);
                }
                if let Some(error) = state.refused.take() {
                    state.told = true;
                    return Err(error);
                }
                if state.told {
                    return Err(PublishError::Stopped {
                        reason: "it was refused, and the reason was told before".into(),
                    });
                }
            }
            changed.await;
        }
    }

    /// Waits until the event is durable on the bus, or was found on record.
    pub async fn accepted(&mut self) -> Result<Outcome, PublishError> {
        self.wait(|state| match state.sealed {
            Some((_, index, true)) => Some(Outcome::AlreadyRecorded(index)),
            Some(_) => Some(Outcome::Accepted),
            None => state.accepted.then_some(Outcome::Accepted),
        })
        .await
    }

    /// Waits until a published checkpoint covers the event, and gives the proof.
    pub async fn sealed(self) -> Result<Receipt, PublishError> {
        let (shard, index, already_recorded) = self.wait(|state| state.sealed).await?;
        let reader = self.ledger.reader(shard)?;
        let (entry, path) = (reader.leaf(index)?.entry, reader.inclusion(index)?);
        let proof = TlogProof {
            extra: None,
            index,
            path,
            checkpoint: reader.note().to_owned(),
        };
        Ok(Receipt {
            shard,
            index,
            entry,
            proof,
            already_recorded,
        })
    }
}
