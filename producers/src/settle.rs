//! What follows once a batch's fate is known: the index is brought up to date, and everybody who waits is told.
//!
//! In scope: sealed and refused events, with and without somebody who waits (events left over from an earlier run have
//! nobody but repeats of them). Out of scope: learning the fate ([`crate::sealer`], [`crate::courier`]).
//! Trust: whoever calls has checked the fate.

use std::sync::Arc;

use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};

use crate::error::PublishError;
use crate::index::{Index, Row};
use crate::moving::Moving;
use crate::outbox::EventName;
use crate::prepare::Workshop;
use crate::tickets::{BatchEvidence, Evidence, OnRecord, Ticket};

/// An event whose fate is known, and who waits for it.
pub(crate) type Told<'a> = (EventName, Option<&'a Ticket>);

/// A batch that is on record.
pub(crate) struct SealedAt {
    pub(crate) shard: u32,
    /// Where its batch entry is.
    pub(crate) index: LeafIndex,
    /// How far the index knows the log with it, where that is known.
    pub(crate) cursor: Option<(TreeSize, Hash)>,
    pub(crate) evidence: Option<Arc<BatchEvidence>>,
}

/// Tells of fates.
pub(crate) struct Settler {
    pub(crate) moving: Arc<Moving>,
    pub(crate) index: Arc<Index>,
    pub(crate) workshop: Arc<Workshop>,
}

impl Settler {
    /// All events of a batch are on record.
    pub(crate) fn sealed(&self, events: &[Told<'_>], at: &SealedAt) {
        let row = |(position, (name, _)): (usize, &Told<'_>)| Row {
            name: *name,
            index: LeafIndex(at.index.0 + 1 + position as u64),
        };
        let rows: Vec<Row> = events.iter().enumerate().map(row).collect();
        // The index can be made again from the log where there is one, so an event does not fail because of it; but what is
        // not in the index must stay in memory, or a repeat would be recorded twice.
        let indexed = self.index.insert(at.shard, &rows, at.cursor).is_ok();
        let waiting = self.moving.sealed(at.shard, &rows, indexed);
        let place = |index: LeafIndex, already: bool| OnRecord {
            shard: at.shard,
            index,
            already,
            evidence: at.evidence.as_ref().map(|batch| Evidence {
                batch: Arc::clone(batch),
                position: usize::try_from(index.0 - at.index.0 - 1).expect("a position in a batch"),
            }),
        };
        for ((_, ticket), row) in events.iter().zip(&rows) {
            if let Some(ticket) = ticket {
                ticket.sealed(place(row.index, false));
            }
        }
        for (ticket, index) in waiting {
            ticket.sealed(place(index, true));
        }
    }

    /// Events are not on record and will not be.
    pub(crate) fn refused(&self, events: &[Told<'_>], why: &dyn Fn() -> PublishError) {
        for (name, ticket) in events {
            for waiting in self.moving.refused(&name.key) {
                waiting.refused(why());
            }
            if let Some(ticket) = ticket {
                ticket.refused(why());
            }
        }
    }

    /// The sequencer refused these events.
    pub(crate) fn rejected(&self, events: &[Told<'_>], reason: &str) {
        // A customer may have been erased: whoever comes next gets a label that is valid now.
        self.workshop.forget_customers();
        self.refused(events, &|| PublishError::Rejected {
            reason: reason.to_owned(),
        });
    }
}
