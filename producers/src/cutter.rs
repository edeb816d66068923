//! Cutting batches: one thread that sees all events in order, so that a repeat is found and numbers rise.
//!
//! In scope: repeats among events on their way, batches by count and bytes; where the bus is durable here, signing and
//! handing to it. Out of scope: waiting for what comes back ([`crate::sealer`]), and the outbox ([`crate::courier`]).
//! Trust: prepared events come from this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sharetrail_ledger::bus::{Bus, BusFuture, StreamSeq};
use sharetrail_ledger::{Chain, Cut};
use sharetrail_proof::batch::MAX_BATCH_ENTRIES;
use sharetrail_proof::entry::EVENT_BYTES;
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::ChainId;

use crate::error::PublishError;
use crate::moving::{Moving, Seen};
use crate::outbox::EventName;
use crate::prepare::{NewEvent, Prepared, Ready};
use crate::tickets::Ticket;

/// Sealed bytes after which a batch is cut: a frame is at most 1 MiB, with note and entries.
const BATCH_BYTES: usize = 900_000;
/// The most that one more event can add to a frame.
const EVENT_MAX: usize = 70_000;

/// An event in a batch.
pub(crate) struct BatchEvent {
    pub(crate) ticket: Ticket,
    pub(crate) name: EventName,
    pub(crate) entry: [u8; EVENT_BYTES],
    pub(crate) sealed: Vec<u8>,
}

/// Which batch of which chain.
#[derive(Clone, Copy)]
pub(crate) struct BatchPlace {
    pub(crate) shard: u32,
    pub(crate) chain: ChainId,
    pub(crate) number: u64,
    /// The hash of its note's text.
    pub(crate) hash: Hash,
    /// How often the chain had been set back when it was cut.
    pub(crate) round: u64,
}

/// A batch that was handed to the bus.
pub(crate) struct InFlight {
    pub(crate) place: BatchPlace,
    pub(crate) events: Vec<BatchEvent>,
    pub(crate) stored: BusFuture<'static, StreamSeq>,
}

/// A chain that cutter and sealer share.
pub(crate) struct SharedChain {
    pub(crate) chain: Chain,
    /// Rises when the chain was set back after a rejection.
    pub(crate) round: u64,
}

/// The chains of all shards and the bus they go to.
pub(crate) struct Chains {
    bus: Arc<dyn Bus>,
    shards: Vec<Mutex<SharedChain>>,
}

impl Chains {
    pub(crate) fn new(bus: Arc<dyn Bus>, chains: Vec<Chain>) -> Self {
        let shards = chains
            .into_iter()
            .map(|chain| Mutex::new(SharedChain { chain, round: 0 }))
            .collect();
        Self { bus, shards }
    }

    pub(crate) fn lock(&self, shard: u32) -> MutexGuard<'_, SharedChain> {
        self.shards[shard as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a batch and hands it to the bus. The chain is held over both, so that numbers reach the bus in order.
    pub(crate) fn send(&self, shard: u32, events: Vec<BatchEvent>) -> InFlight {
        let entries: Vec<&[u8]> = events.iter().map(|event| &event.entry[..]).collect();
        let sealed: Vec<&[u8]> = events.iter().map(|event| event.sealed.as_slice()).collect();
        let mut shared = self.lock(shard);
        let Cut { number, hash, frame } = shared.chain.cut(&entries, &sealed);
        let stored = self.bus.publish(shard, shared.chain.producer(), frame);
        let place = BatchPlace {
            shard,
            chain: shared.chain.id(),
            number,
            hash,
            round: shared.round,
        };
        InFlight {
            place,
            events,
            stored,
        }
    }
}

#[derive(Default)]
struct Open {
    events: Vec<BatchEvent>,
    bytes: usize,
}

/// Where a shard's events go once they make a batch.
pub(crate) enum Way {
    /// Signed and handed to the bus here; what is on the bus is durable.
    Direct {
        chains: Arc<Chains>,
        out: tokio::sync::mpsc::Sender<InFlight>,
    },
    /// To the couriers, one a shard, which keep them in the outbox first.
    Kept(Vec<tokio::sync::mpsc::Sender<Vec<BatchEvent>>>),
}

impl Way {
    fn shards(&self) -> usize {
        match self {
            Self::Direct { chains, .. } => chains.shards.len(),
            Self::Kept(couriers) => couriers.len(),
        }
    }

    /// Gives the events back if nobody takes them any more.
    fn send(&self, shard: u32, events: Vec<BatchEvent>) -> Result<(), Vec<BatchEvent>> {
        match self {
            Self::Direct { chains, out } => {
                let flying = chains.send(shard, events);
                out.blocking_send(flying).map_err(|gone| gone.0.events)
            }
            Self::Kept(couriers) => couriers[shard as usize]
                .blocking_send(events)
                .map_err(|gone| gone.0),
        }
    }
}

/// Cuts batches.
pub(crate) struct Cutter {
    moving: Arc<Moving>,
    open: Vec<Open>,
    cut: u64,
    way: Way,
}

impl Cutter {
    pub(crate) fn new(moving: &Arc<Moving>, way: Way) -> Self {
        Self {
            moving: Arc::clone(moving),
            open: (0..way.shards()).map(|_| Open::default()).collect(),
            cut: 0,
            way,
        }
    }

    /// Takes a prepared chunk; chunks come in the order in which they were handed out.
    pub(crate) fn take(&mut self, prepared: Prepared) {
        let Prepared {
            events,
            sealed,
            flush,
        } = prepared;
        for (ticket, ready) in events {
            match ready {
                Err(error) => ticket.refused(error),
                Ok(Ready::Known(recorded)) => ticket.known(recorded.shard, recorded.index),
                Ok(Ready::New(event)) => self.add(ticket, *event, &sealed),
            }
        }
        if flush {
            for shard in 0..self.open.len() {
                self.send(shard);
            }
        }
        self.cut += 1;
        self.moving.cut(self.cut);
    }

    fn add(&mut self, ticket: Ticket, event: NewEvent, sealed: &[u8]) {
        let NewEvent {
            shard,
            entry,
            named,
            sealed: range,
            name,
        } = event;
        match self.moving.see(named, &ticket) {
            Seen::New => {}
            Seen::Waiting => return,
            Seen::Recorded(recorded) => return ticket.known(recorded.shard, recorded.index),
            Seen::Conflict(recorded) => {
                let leaf: Option<LeafIndex> = recorded.map(|recorded| recorded.index);
                return ticket.refused(PublishError::Conflict {
                    source_uri: name.0,
                    id: name.1,
                    leaf,
                });
            }
        }
        let place = shard as usize;
        let open = &mut self.open[place];
        open.bytes += EVENT_BYTES + 6 + range.len();
        open.events.push(BatchEvent {
            ticket,
            name: named,
            entry,
            sealed: sealed[range].to_vec(),
        });
        if open.events.len() == MAX_BATCH_ENTRIES || open.bytes > BATCH_BYTES - EVENT_MAX {
            self.send(place);
        }
    }

    fn send(&mut self, shard: usize) {
        let open = std::mem::take(&mut self.open[shard]);
        if open.events.is_empty() {
            return;
        }
        let shard = u32::try_from(shard).expect("a ledger has at most 4,096 shards");
        if let Err(events) = self.way.send(shard, open.events) {
            refuse(&self.moving, &events, "the publisher has ended");
        }
    }
}

/// Tells everybody who waits for these events that they are not on record.
pub(crate) fn refuse(moving: &Moving, events: &[BatchEvent], reason: &str) {
    let stopped = || PublishError::Stopped {
        reason: reason.to_owned(),
    };
    for event in events {
        for waiting in moving.refused(&event.name.key) {
            waiting.refused(stopped());
        }
        event.ticket.refused(stopped());
    }
}
