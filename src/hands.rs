//! What the HTTP API has done for it: recording and erasing.
//!
//! In scope: one publisher a producer, opened when it is first needed; having a customer erased here or by the host that
//! leads. Out of scope: who may ask (the API), how a publisher or an erasure works. Trust: whoever holds this acts with the
//! rights of the process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use sharetrail_consumers::Shelf;
use sharetrail_consumers::http::{Accepted, Hands, HandsError, Recorded, Recording};
use sharetrail_ledger::remote::Remote;
use sharetrail_ledger::wire::Control;
use sharetrail_ledger::{Engine, Ledger, LedgerError, host};
use sharetrail_producers::{Outcome, Pending, PublishError, Publisher, Receipt};
use sharetrail_proof::entry::ERASURE;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::tlog_proof::TlogProof;
use tokio::sync::oneshot;

use crate::output::note;

/// How long an erasure that another host carried out may take to come to this folder's log.
const LOG_WAIT: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(200);

/// Records and erases through one engine.
pub(crate) struct EngineHands {
    engine: Arc<Engine>,
    shelf: Arc<Shelf>,
    /// None once they were closed.
    publishers: Mutex<Option<HashMap<Name, Arc<Publisher>>>>,
}

impl EngineHands {
    pub(crate) fn new(engine: &Arc<Engine>, shelf: &Arc<Shelf>) -> Self {
        Self {
            engine: Arc::clone(engine),
            shelf: Arc::clone(shelf),
            publishers: Mutex::new(Some(HashMap::new())),
        }
    }

    /// Waits until all that was handed in is sealed or kept in its outbox. Nothing is recorded from then on.
    pub(crate) fn close(&self) {
        let taken = self
            .publishers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for publisher in taken.into_iter().flat_map(HashMap::into_values) {
            // A request that still holds it lets go of it within its time; then it closes itself.
            let Ok(publisher) = Arc::try_unwrap(publisher) else {
                continue;
            };
            let closed = publisher.close_telling(&|text| note(&text));
            if let Err(error) = closed {
                note(&format!("closing a producer's outbox: {error}"));
            }
        }
    }

    fn publisher(&self, producer: &Name) -> Result<Arc<Publisher>, HandsError> {
        let mut publishers = self.publishers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = publishers.as_mut() else {
            return Err(HandsError::Stopped("the server is ending".to_owned()));
        };
        if let Some(publisher) = known.get(producer) {
            return Ok(Arc::clone(publisher));
        }
        let opened = self.open(producer).map_err(|error| match error {
            // No valid key of the producer lies here: a client's certificate may name anybody.
            PublishError::Ledger(LedgerError::Invalid(reason)) => {
                tracing::warn!(target: "http", %producer, %reason, "nobody signs for a producer here");
                HandsError::UnknownProducer(producer.clone())
            }
            error => failed(error),
        })?;
        let opened = Arc::new(opened);
        known.insert(producer.clone(), Arc::clone(&opened));
        Ok(opened)
    }

    /// On a bus in the folder by the engine; on any other as a producer elsewhere does, whichever host leads.
    fn open(&self, producer: &Name) -> Result<Publisher, PublishError> {
        if self.engine.ledger().settings().bus.is_none() {
            return Publisher::open(&self.engine, producer);
        }
        let remote = Remote::of_ledger(self.engine.ledger(), producer)?;
        Publisher::open_remote(&Arc::new(remote))
    }

    /// Lets go of a publisher that has stopped, unless another one has taken its place.
    fn forget(&self, producer: &Name, stopped: &Arc<Publisher>) {
        let mut publishers = self.publishers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = publishers.as_mut()
            && known
                .get(producer)
                .is_some_and(|found| Arc::ptr_eq(found, stopped))
        {
            known.remove(producer);
        }
    }

    /// Where the erasure of a label is, once this folder's log shows it.
    fn on_record(&self, label: &Label) -> Result<LeafIndex, HandsError> {
        let until = Instant::now() + LOG_WAIT;
        loop {
            self.shelf.catch_up().map_err(told)?;
            let projections = self.shelf.projections().map_err(told)?;
            let leaves = projections.leaves(label).map_err(told)?;
            if let Some(erasure) = leaves.iter().find(|leaf| leaf.kind == ERASURE) {
                return Ok(erasure.index);
            }
            if Instant::now() >= until {
                let text =
                    "the host that leads has erased the customer, and this host's log does not show it yet";
                return Err(HandsError::Failed(text.to_owned()));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

impl Hands for EngineHands {
    fn record(&self, producer: &Name, content: Vec<u8>) -> Recording {
        let publisher = match self.publisher(producer) {
            Ok(publisher) => publisher,
            Err(error) => return Recording::refused(error),
        };
        match publisher.publish_json(content.clone()) {
            Ok(pending) => {
                let ledger = self.engine.ledger().clone();
                follow(ledger, Arc::downgrade(&publisher), content, pending)
            }
            Err(error) => {
                // One that has stopped does not start again; the next event gets another.
                self.forget(producer, &publisher);
                Recording::refused(failed(error))
            }
        }
    }

    fn erase(&self, label: &Label, generation: u32) -> Result<LeafIndex, HandsError> {
        let ledger = self.engine.ledger();
        if ledger.settings().bus.is_none() {
            let erased = self.engine.erase(label, generation).map_err(told)?;
            return Ok(erased.index);
        }
        let (label, control) = (
            *label,
            Control::Erase {
                label: *label,
                generation,
            },
        );
        host::command(ledger, &control).map_err(told)?;
        self.on_record(&label)
    }
}

/// Waits for an event on a task of the runtime that this is called in, so that it goes on when nobody waits any more.
///
/// One that is rejected is handed in once more: a producer that knows a customer from before an erasure learns by a
/// rejection that they have another label since, and whoever was told "accepted" does not wait for that.
fn follow(ledger: Ledger, publisher: Weak<Publisher>, content: Vec<u8>, mut pending: Pending) -> Recording {
    let (tell_accepted, accepted) = oneshot::channel();
    let (tell_sealed, sealed) = oneshot::channel();
    tokio::spawn(async move {
        // Nobody may be waiting any more: then there is nobody to tell.
        match pending.accepted().await {
            Ok(outcome) => {
                let _ = tell_accepted.send(Ok(accepted_as(&outcome)));
                let mut sealed = pending.sealed().await;
                if let Err(PublishError::Rejected { .. }) = &sealed
                    && let Some(again) = again(&publisher, content).await
                {
                    sealed = again;
                }
                let done = match sealed {
                    Ok(receipt) => proven(ledger, receipt).await,
                    Err(error) => Err(failed(error)),
                };
                let _ = tell_sealed.send(done);
            }
            Err(error) => {
                let error = failed(error);
                let _ = tell_accepted.send(Err(error.clone()));
                let _ = tell_sealed.send(Err(error));
            }
        }
    });
    let stopped = || HandsError::Stopped("the server is ending".to_owned());
    Recording {
        is_taken: true,
        accepted: Box::pin(async move { accepted.await.unwrap_or_else(|_| Err(stopped())) }),
        sealed: Box::pin(async move { sealed.await.unwrap_or_else(|_| Err(stopped())) }),
    }
}

/// Hands a content in once more; nothing where the server is ending.
async fn again(publisher: &Weak<Publisher>, content: Vec<u8>) -> Option<Result<Receipt, PublishError>> {
    let publisher = publisher.upgrade()?;
    let handed_in = tokio::task::spawn_blocking(move || publisher.publish_json(content)).await;
    match handed_in.ok()? {
        Ok(pending) => Some(pending.sealed().await),
        Err(error) => Some(Err(error)),
    }
}

fn accepted_as(outcome: &Outcome) -> Accepted {
    match outcome {
        Outcome::Accepted => Accepted::Accepted,
        Outcome::AlreadyRecorded(index) => Accepted::AlreadyRecorded(*index),
    }
}

/// A receipt that proves the event's own entry. One that came over the bus is about its batch, or says no more than the
/// place: then this host's archive gives the proof, once it has the leaf.
async fn proven(ledger: Ledger, receipt: Receipt) -> Result<Recorded, HandsError> {
    let Receipt {
        shard,
        index,
        already_recorded,
        ..
    } = receipt;
    if receipt.batch.is_none() && !receipt.entry.is_empty() {
        return Ok(Recorded {
            shard,
            index,
            tlog_proof: receipt.proof.to_string(),
            entry: receipt.entry,
            already_recorded,
        });
    }
    let until = Instant::now() + LOG_WAIT;
    loop {
        let theirs = ledger.clone();
        let read = tokio::task::spawn_blocking(move || from_archive(&theirs, shard, index)).await;
        let read = read.map_err(|error| HandsError::Failed(error.to_string()))?;
        if let Some((entry, tlog_proof)) = read.map_err(told)? {
            return Ok(Recorded {
                shard,
                index,
                entry,
                tlog_proof,
                already_recorded,
            });
        }
        if Instant::now() >= until {
            let text =
                format!("leaf {index} of shard {shard} is on record, and this host's archive lacks it still");
            return Err(HandsError::Failed(text));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A leaf's entry and the proof of it; nothing while the archive lacks it.
fn from_archive(
    ledger: &Ledger,
    shard: u32,
    index: LeafIndex,
) -> Result<Option<(Vec<u8>, String)>, LedgerError> {
    let reader = ledger.reader(shard)?;
    if reader.size().0 <= index.0 {
        return Ok(None);
    }
    let proof = TlogProof {
        extra: None,
        index,
        path: reader.inclusion(index)?,
        checkpoint: reader.note().to_owned(),
    };
    Ok(Some((reader.leaf(index)?.entry, proof.to_string())))
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

fn told(error: impl Into<Told>) -> HandsError {
    error.into().0
}

/// What an error comes to.
struct Told(HandsError);

impl From<LedgerError> for Told {
    fn from(error: LedgerError) -> Self {
        let text = error.to_string();
        Self(if passes(&error) {
            HandsError::Stopped(text)
        } else {
            HandsError::Failed(text)
        })
    }
}

impl From<sharetrail_consumers::ConsumerError> for Told {
    fn from(error: sharetrail_consumers::ConsumerError) -> Self {
        Self(HandsError::Failed(error.to_string()))
    }
}
