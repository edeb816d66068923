//! Tickets: how whoever handed in an event learns what became of it.
//!
//! In scope: the trait between the pipeline and its callers. Trust: none needed.

use std::sync::Arc;

use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::tree::InclusionProof;

use crate::error::PublishError;

/// What was proven of a sealed batch where no archive is at hand.
#[derive(Debug)]
pub(crate) struct BatchEvidence {
    /// The batch entry.
    pub(crate) entry: Vec<u8>,
    /// Where it is.
    pub(crate) index: LeafIndex,
    /// Its inclusion path.
    pub(crate) path: InclusionProof,
    /// The checkpoint note that the path leads to.
    pub(crate) checkpoint: String,
    /// The batch's entries.
    pub(crate) entries: Vec<Vec<u8>>,
}

/// One event's part of it.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) batch: Arc<BatchEvidence>,
    pub(crate) position: usize,
}

/// An event that is on record.
#[derive(Clone, Debug)]
pub(crate) struct OnRecord {
    pub(crate) shard: u32,
    pub(crate) index: LeafIndex,
    /// It was there before.
    pub(crate) already: bool,
    pub(crate) evidence: Option<Evidence>,
}

/// Learns what became of events.
pub(crate) trait Tickets: Send + Sync {
    /// Not on record, and will not be.
    fn refused(&self, number: u64, error: PublishError);
    /// Durable on the bus.
    fn accepted(&self, number: u64);
    /// On record at a leaf.
    fn sealed(&self, number: u64, place: OnRecord);
    /// Whether evidence is of use to it.
    fn wants_evidence(&self) -> bool {
        false
    }
}

/// One event's ticket.
#[derive(Clone)]
pub(crate) struct Ticket {
    pub(crate) owner: Arc<dyn Tickets>,
    pub(crate) number: u64,
}

impl Ticket {
    pub(crate) fn refused(&self, error: PublishError) {
        self.owner.refused(self.number, error);
    }
    pub(crate) fn accepted(&self) {
        self.owner.accepted(self.number);
    }
    pub(crate) fn sealed(&self, place: OnRecord) {
        self.owner.sealed(self.number, place);
    }
    /// It was on record before it was handed in.
    pub(crate) fn known(&self, shard: u32, index: LeafIndex) {
        self.sealed(OnRecord {
            shard,
            index,
            already: true,
            evidence: None,
        });
    }
    pub(crate) fn wants_evidence(&self) -> bool {
        self.owner.wants_evidence()
    }
}
