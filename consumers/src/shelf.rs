//! The projections of a ledger, open for as long as somebody asks for them.
//!
//! A projection's store is one process's at a time. Whoever serves would hold it for ever, and no command beside it could
//! read; so it is opened when somebody asks, and let go of when nobody has for a moment.
//!
//! In scope: opening, folding what is new, letting go. Out of scope: what the projections say, when to call this (whoever
//! serves). Trust: as [`Projections`]. A question that comes while another process holds the store waits for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sharetrail_ledger::Ledger;
use sharetrail_proof::hash::LeafIndex;

use crate::error::ConsumerError;
use crate::projection::{CaughtUp, Projections};
use crate::store::StoreKind;

/// How long the projections stay open after they were asked for last.
const REST_AFTER: Duration = Duration::from_secs(2);

/// The projections of one ledger, shared by all threads of a process.
pub struct Shelf {
    ledger: Ledger,
    kind: StoreKind,
    held: Mutex<Held>,
    /// Whoever folds so that something is covered holds this.
    covering: Mutex<()>,
}

#[derive(Default)]
struct Held {
    projections: Option<Arc<Projections>>,
    /// When somebody asked last.
    asked: Option<Instant>,
    /// What the last fold found.
    last: Option<CaughtUp>,
    notices: Vec<String>,
}

impl Shelf {
    /// Of a ledger, in a store of this kind. Nothing is opened yet.
    pub fn new(ledger: &Ledger, kind: StoreKind) -> Self {
        Self {
            ledger: ledger.clone(),
            kind,
            held: Mutex::default(),
            covering: Mutex::default(),
        }
    }

    /// The projections. Ones that are opened by this are folded first, so that they are as new as the published
    /// checkpoints; ones that were open are as new as the last [`Shelf::catch_up`].
    pub fn projections(&self) -> Result<Arc<Projections>, ConsumerError> {
        let mut held = self.held();
        held.asked = Some(Instant::now());
        self.open(&mut held)
    }

    /// The same for whoever works beside the server, which keeps no other process from them for longer than that takes.
    pub(crate) fn beside(&self) -> Result<Arc<Projections>, ConsumerError> {
        let mut held = self.held();
        self.open(&mut held)
    }

    /// Folds what the logs have beyond the projections; opens them only if there is something.
    pub fn catch_up(&self) -> Result<CaughtUp, ConsumerError> {
        let total = self.leaves()?;
        let open = {
            let mut held = self.held();
            if let Some(last) = held.last
                && last.total == total
            {
                return Ok(CaughtUp { folded: 0, ..last });
            }
            self.open(&mut held)?
        };
        // Not under the lock: whoever asks meanwhile reads what is folded so far.
        let done = open.catch_up(&|_, _| ());
        let mut held = self.held();
        take_notices(&mut held, &open);
        let done = done?;
        held.last = Some(done);
        Ok(done)
    }

    /// Folds until a leaf that is under a published checkpoint is covered: whoever has recorded something reads it.
    pub fn cover(&self, shard: u32, index: LeafIndex) -> Result<(), ConsumerError> {
        let open = self.projections()?;
        let folded = || -> Result<u64, ConsumerError> {
            Ok(open.folded()?.get(shard as usize).copied().unwrap_or_default())
        };
        if folded()? > index.0 {
            return Ok(());
        }
        // One at a time: a fold reads up to 16,384 leaves again, and covers what all who wait for it have recorded.
        let _turn = self.covering.lock().unwrap_or_else(PoisonError::into_inner);
        if folded()? > index.0 {
            return Ok(());
        }
        let done = open.catch_up(&|_, _| ())?;
        self.held().last = Some(done);
        match folded()? {
            covered if covered > index.0 => Ok(()),
            covered => Err(ConsumerError::Behind {
                shard,
                folded: covered,
                wanted: index.0.saturating_add(1),
            }),
        }
    }

    /// How many leaves of each shard are folded; nothing while the projections are not open.
    pub fn folded(&self) -> Option<Vec<u64>> {
        let open = self.held().projections.clone()?;
        open.folded().ok()
    }

    /// Lets go of the projections where nobody has asked for a moment, so that other processes can read them.
    pub fn rest(&self) {
        let mut held = self.held();
        let is_wanted = held.asked.is_some_and(|asked| asked.elapsed() < REST_AFTER);
        if is_wanted {
            return;
        }
        if let Some(open) = held.projections.take() {
            match Arc::try_unwrap(open) {
                // Closed under the lock: whoever opens them next finds them free.
                Ok(projections) => {
                    take_notices(&mut held, &projections);
                    drop(projections);
                }
                Err(in_use) => held.projections = Some(in_use),
            }
        }
    }

    /// What was found and healed since the last call, one line each: to be shown to the operator.
    pub fn notices(&self) -> Vec<String> {
        let mut held = self.held();
        // What was healed while somebody read is told too, though nothing has come since.
        if let Some(open) = held.projections.clone() {
            take_notices(&mut held, &open);
        }
        std::mem::take(&mut held.notices)
    }

    fn open(&self, held: &mut Held) -> Result<Arc<Projections>, ConsumerError> {
        if let Some(open) = &held.projections {
            return Ok(Arc::clone(open));
        }
        let opened = Projections::open(&self.ledger, self.kind)?;
        let done = opened.catch_up(&|_, _| ());
        let opened = Arc::new(opened);
        take_notices(held, &opened);
        held.last = Some(done?);
        held.projections = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// The leaves of all shards under their published checkpoints.
    fn leaves(&self) -> Result<u64, ConsumerError> {
        let sizes = (0..self.ledger.shards()).map(|shard| Ok(self.ledger.reader(shard)?.size().0));
        sizes.sum()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // What a thread that panicked left behind is a projection, which is checked when it is read.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Each notice is told once, however long the projections stay open.
fn take_notices(held: &mut Held, projections: &Projections) {
    held.notices.extend(projections.take_notices());
}
