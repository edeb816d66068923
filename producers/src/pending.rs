//! One published event, and the promises its publisher can wait for.
//!
//! In scope: accepted, sealed with a receipt. Trust: a receipt holds the proof; verify it against a policy.

use std::sync::{Arc, Mutex, PoisonError};

use sharetrail_ledger::Ledger;
use sharetrail_proof::batch::{Batch, BatchError};
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::entry::{Entry, EntryError};
use sharetrail_proof::hash::{LeafHash, LeafIndex, TreeSize, leaf_hashes};
use sharetrail_proof::note::{Note, NoteError};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tlog_proof::{TlogProof, TlogProofError};
use sharetrail_proof::tree::{InclusionProof, ProofError, inclusion_proof, verify_inclusion};
use thiserror::Error;
use tokio::sync::Notify;

use crate::error::PublishError;
use crate::tickets::{Evidence, OnRecord, Tickets};

/// What was promised when an event was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable on the bus.
    Accepted,
    /// The same event was on record before, here.
    AlreadyRecorded(LeafIndex),
}

/// That an event is on record, and what proves it.
///
/// Where the ledger's folder is at hand, `proof` is about the event's own `entry`. Where everything went over the bus, no
/// archive is at hand to prove a single leaf from: then `proof` is about the entry of the *batch* that holds the event, and
/// `batch` shows the event's entry in it. An event that had been recorded by an earlier run comes back from the bus
/// with nothing but its place: `entry` is empty, and [`Receipt::verify`] says so.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The shard whose log holds it.
    pub shard: u32,
    /// Where it is.
    pub index: LeafIndex,
    /// The event's entry; empty where nothing but its place is known.
    pub entry: Vec<u8>,
    /// The proof, under a checkpoint that covers it: of `entry`, or of the batch's entry where `batch` is there.
    pub proof: TlogProof,
    /// How the event's entry hangs on the batch's, where the proof is about that.
    pub batch: Option<InBatch>,
    /// Whether it had been recorded before.
    pub already_recorded: bool,
}

/// An entry in a batch whose own entry is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InBatch {
    /// The batch's entry: the note that the producer signed.
    pub entry: Vec<u8>,
    /// The inclusion path of the event's entry under the root that the note states.
    pub path: InclusionProof,
}

/// Why a receipt proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// It holds no proof: the event was recorded earlier, and no archive is at hand here.
    #[error("the receipt says where the event is and proves nothing; ask where the ledger's folder is")]
    Unproven,
    /// The proof of the event's or of the batch's entry.
    #[error(transparent)]
    Proof(#[from] TlogProofError),
    /// What stands for the batch's entry is none.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The batch's entry is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The batch's entry is no batch note.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The event's entry is not in the batch, or not there.
    #[error("the event's entry in its batch: {0}")]
    InBatch(#[from] ProofError),
    /// The batch's entry is proven to be a batch's, and of no batch that can hold the event's index.
    #[error("leaf {index} is not in the batch at leaf {batch}")]
    Place {
        /// Where the event is said to be.
        index: LeafIndex,
        /// Where the batch's entry is.
        batch: LeafIndex,
    },
}

impl Receipt {
    /// Checks that the log that `policy` knows holds the event's entry at `index`.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedCheckpoint, ReceiptError> {
        if self.entry.is_empty() {
            return Err(ReceiptError::Unproven);
        }
        let misplaced = || ReceiptError::Place {
            index: self.index,
            batch: self.proof.index,
        };
        let Some(batch) = &self.batch else {
            if self.proof.index != self.index {
                return Err(misplaced());
            }
            return Ok(self.proof.verify(&self.entry, policy)?);
        };
        let Entry::Batch(note) = Entry::parse(&batch.entry)? else {
            return Err(misplaced());
        };
        let stated = Batch::parse(Note::parse(note)?.text())?;
        // The entries follow the batch's own entry.
        let behind = self.index.0.checked_sub(self.proof.index.0);
        let position = behind
            .and_then(|behind| behind.checked_sub(1))
            .ok_or_else(misplaced)?;
        verify_inclusion(
            &LeafHash::of(&self.entry),
            LeafIndex(position),
            TreeSize(u64::from(stated.count)),
            &batch.path,
            &stated.root,
        )?;
        Ok(self.proof.verify(&batch.entry, policy)?)
    }
}

#[derive(Default)]
struct State {
    accepted: bool,
    sealed: Option<OnRecord>,
    refused: Option<PublishError>,
    told: bool,
}

/// The shared half of a [`Pending`].
pub(crate) struct Single {
    state: Mutex<State>,
    changed: Notify,
    /// Whether no archive is at hand, so that evidence must come with the answer.
    is_remote: bool,
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
    fn sealed(&self, _: u64, place: OnRecord) {
        self.change(|state| state.sealed = Some(place));
    }
    fn wants_evidence(&self) -> bool {
        self.is_remote
    }
}

/// A published event: its fate can be waited for. Dropping it does not take the event back.
#[must_use = "an event may be refused; wait for `accepted` or `sealed`"]
pub struct Pending {
    single: Arc<Single>,
    ledger: Option<Ledger>,
}

impl Pending {
    /// `ledger`: where its folder is at hand.
    pub(crate) fn new(ledger: Option<&Ledger>) -> (Self, Arc<Single>) {
        let single = Arc::new(Single {
            state: Mutex::default(),
            changed: Notify::new(),
            is_remote: ledger.is_none(),
        });
        (
            Self {
                single: Arc::clone(&single),
                ledger: ledger.cloned(),
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
        self.wait(|state| match &state.sealed {
            Some(place) if place.already => Some(Outcome::AlreadyRecorded(place.index)),
            Some(_) => Some(Outcome::Accepted),
            None => state.accepted.then_some(Outcome::Accepted),
        })
        .await
    }

    /// Waits until a published checkpoint covers the event, and gives the proof; [`Receipt`] says what is proven.
    pub async fn sealed(self) -> Result<Receipt, PublishError> {
        let place = self.wait(|state| state.sealed.clone()).await?;
        let OnRecord {
            shard,
            index,
            already: already_recorded,
            evidence,
        } = place;
        let Some(ledger) = &self.ledger else {
            return Ok(remote_receipt(shard, index, already_recorded, evidence.as_ref()));
        };
        let reader = ledger.reader(shard)?;
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
            batch: None,
            already_recorded,
        })
    }
}

fn remote_receipt(
    shard: u32,
    index: LeafIndex,
    already_recorded: bool,
    evidence: Option<&Evidence>,
) -> Receipt {
    let proven = evidence.and_then(|Evidence { batch, position }| {
        let entries: Vec<&[u8]> = batch.entries.iter().map(Vec::as_slice).collect();
        let path = inclusion_proof(&leaf_hashes(&entries), LeafIndex(*position as u64))?;
        let in_batch = InBatch {
            entry: batch.entry.clone(),
            path,
        };
        let proof = TlogProof {
            extra: None,
            index: batch.index,
            path: batch.path.clone(),
            checkpoint: batch.checkpoint.clone(),
        };
        Some((batch.entries[*position].clone(), proof, in_batch))
    });
    match proven {
        Some((entry, proof, in_batch)) => Receipt {
            shard,
            index,
            entry,
            proof,
            batch: Some(in_batch),
            already_recorded,
        },
        None => Receipt {
            shard,
            index,
            entry: Vec::new(),
            proof: TlogProof {
                extra: None,
                index,
                path: InclusionProof::default(),
                checkpoint: String::new(),
            },
            batch: None,
            already_recorded,
        },
    }
}
