//! Waiting for what becomes of batches that a bus which is durable here holds: stored, sealed, or rejected and cut anew.
//!
//! In scope: the two promises, setting a chain back after a rejection. A rejection changes no state of the log: the slot
//! stays open, the offending event is told, the others are signed again under the same number. Out of scope: cutting in
//! order ([`crate::cutter`]), a bus that may lose what it stored ([`crate::courier`]).
//! Trust: a head counts once its checkpoint is published.

use std::sync::Arc;

use sharetrail_ledger::bus::StreamSeq;
use sharetrail_ledger::{Ledger, LedgerError, RejectedBatch, ShardView};
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use tokio::sync::{mpsc, watch};

use crate::cutter::{BatchEvent, BatchPlace, Chains, InFlight, refuse};
use crate::settle::{SealedAt, Settler, Told};

/// How often a batch is signed again before its events are refused: as often as it could lose one event each, and more.
const TRIES_MAX: usize = 2 * sharetrail_proof::batch::MAX_BATCH_ENTRIES;

/// What the sealing tasks share.
pub(crate) struct Sealer {
    pub(crate) ledger: Ledger,
    pub(crate) chains: Arc<Chains>,
    pub(crate) settler: Settler,
    pub(crate) views: Vec<watch::Receiver<Arc<ShardView>>>,
}

/// What became of a batch.
enum Fate {
    Sealed {
        index: LeafIndex,
        view: Arc<ShardView>,
    },
    Rejected(RejectedBatch),
    /// The chain was set back after it was cut: its number is not its own any more.
    Overtaken,
    Halted(String),
}

impl Sealer {
    /// Runs until the cutter has ended and everything is sealed or refused.
    pub(crate) async fn run(self: Arc<Self>, mut flying: mpsc::Receiver<InFlight>) {
        let mut shards = Vec::new();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in &self.views {
            let (send, stored) = mpsc::channel(64);
            shards.push(send);
            tasks.spawn(Arc::clone(&self).seal_all(stored));
        }
        while let Some(mut batch) = flying.recv().await {
            match (&mut batch.stored).await {
                Ok(seq) => {
                    batch.events.iter().for_each(|event| event.ticket.accepted());
                    let shard = batch.place.shard as usize;
                    if let Err(gone) = shards[shard].send((seq, batch)).await {
                        refuse(&self.settler.moving, &gone.0.1.events, "the publisher has ended");
                    }
                }
                Err(error) => refuse(&self.settler.moving, &batch.events, &error.to_string()),
            }
        }
        drop(shards);
        while tasks.join_next().await.is_some() {}
    }

    /// Sees one shard's batches to their end, in order.
    async fn seal_all(self: Arc<Self>, mut stored: mpsc::Receiver<(StreamSeq, InFlight)>) {
        while let Some((seq, batch)) = stored.recv().await {
            let mut next = Some((seq, batch));
            let mut tries = 0;
            while let Some((seq, batch)) = next.take() {
                tries += 1;
                if tries > TRIES_MAX {
                    refuse(
                        &self.settler.moving,
                        &batch.events,
                        "the sequencer let none of its batches in",
                    );
                    break;
                }
                next = self.see_to(seq, batch).await;
            }
        }
    }

    /// One batch's fate; gives the batch that took its place, if one had to.
    async fn see_to(&self, seq: StreamSeq, batch: InFlight) -> Option<(StreamSeq, InFlight)> {
        match self.fate(seq, batch.place).await {
            Fate::Sealed { index, view } => {
                self.sealed(&batch, index, &view);
                None
            }
            Fate::Rejected(rejected) => {
                let events = self.without_offender(batch.events, &rejected);
                self.set_back(batch.place.shard, batch.place.round);
                self.again(batch.place.shard, events).await
            }
            Fate::Overtaken => {
                self.set_back(batch.place.shard, batch.place.round);
                self.again(batch.place.shard, batch.events).await
            }
            Fate::Halted(reason) => {
                refuse(&self.settler.moving, &batch.events, &reason);
                None
            }
        }
    }

    async fn fate(&self, seq: StreamSeq, batch: BatchPlace) -> Fate {
        let mut view = self.views[batch.shard as usize].clone();
        loop {
            let now = Arc::clone(&view.borrow_and_update());
            if let Some(rejected) = now
                .rejected
                .get(&batch.chain)
                .filter(|rejected| rejected.seq == seq)
            {
                return Fate::Rejected(rejected.clone());
            }
            if now.seq >= seq {
                return self
                    .decided(batch, now)
                    .unwrap_or_else(|error| Fate::Halted(error.to_string()));
            }
            if let Some(reason) = &now.halted {
                return Fate::Halted(reason.clone());
            }
            if view.changed().await.is_err() {
                return Fate::Halted("the sequencer has ended".into());
            }
        }
    }

    /// The sequencer has decided on the batch and did not say that it was rejected: it is on record, or it was passed over
    /// because one before it in the chain was rejected.
    fn decided(&self, batch: BatchPlace, view: Arc<ShardView>) -> Result<Fate, LedgerError> {
        let BatchPlace {
            shard,
            chain,
            number,
            hash,
            ..
        } = batch;
        let reached = view.heads.get(&chain).is_some_and(|head| head.number >= number);
        if !reached {
            return Ok(Fate::Overtaken);
        }
        let found = self.ledger.find_batch(shard, chain, number, &hash)?;
        Ok(found.map_or(Fate::Overtaken, |index| Fate::Sealed { index, view }))
    }

    fn sealed(&self, batch: &InFlight, index: LeafIndex, view: &ShardView) {
        let events = told(&batch.events);
        let end = TreeSize(index.0 + 1 + events.len() as u64);
        // The cursor needs the root at its size, which is at hand where a checkpoint ends with this batch.
        // Once a chain was set back, batches are seen to out of the log's order, and a cursor could pass one by.
        let in_order = batch.place.round == 0 && view.checkpoint.size == end;
        let at = SealedAt {
            shard: batch.place.shard,
            index,
            cursor: in_order.then_some((end, view.checkpoint.root)),
            evidence: None,
        };
        self.settler.sealed(&events, &at);
    }

    /// Refuses the event at fault, or all if the fault is not one event's; gives the others.
    fn without_offender(&self, mut events: Vec<BatchEvent>, rejected: &RejectedBatch) -> Vec<BatchEvent> {
        let refused = match rejected.position {
            Some(position) if position < events.len() => vec![events.remove(position)],
            _ => std::mem::take(&mut events),
        };
        self.settler.rejected(&told(&refused), &rejected.reason);
        events
    }

    /// Sets the chain back to where the log has it, once for all batches of a round.
    fn set_back(&self, shard: u32, round: u64) {
        let mut shared = self.chains.lock(shard);
        if shared.round == round {
            shared.round += 1;
            shared.chain.resume();
        }
    }

    /// Signs events again under the chain's next number.
    async fn again(&self, shard: u32, events: Vec<BatchEvent>) -> Option<(StreamSeq, InFlight)> {
        if events.is_empty() {
            return None;
        }
        let mut batch = self.chains.send(shard, events);
        match (&mut batch.stored).await {
            Ok(seq) => Some((seq, batch)),
            Err(error) => {
                refuse(&self.settler.moving, &batch.events, &error.to_string());
                None
            }
        }
    }
}

fn told(events: &[BatchEvent]) -> Vec<Told<'_>> {
    events
        .iter()
        .map(|event| (event.name, Some(&event.ticket)))
        .collect()
}
