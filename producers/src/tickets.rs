//! Tickets: how whoever handed in an event learns what became of it.
//!
//! In scope: the trait between the pipeline and its callers. Trust: none needed.

use std::sync::Arc;

use sharetrail_proof::hash::LeafIndex;

use crate::error::PublishError;

/// Learns what became of events.
pub(crate) trait Tickets: Send + Sync {
    /// Not on record, and will not be.
    fn refused(&self, number: u64, error: PublishError);
    /// Durable on the bus.
    fn accepted(&self, number: u64);
    /// On record at a leaf; `already`: it was there before.
    fn sealed(&self, number: u64, shard: u32, index: LeafIndex, already: bool);
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
    pub(crate) fn sealed(&self, shard: u32, index: LeafIndex, already: bool) {
        self.owner.sealed(self.number, shard, index, already);
    }
}
