//! The mappers of a ledger, shard by shard.
//!
//! In scope: taking each up when it is first needed, letting it work, dropping it after an error. Out of scope: one
//! shard's steps. Trust: as its parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use sharetrail_proof::hash::TreeSize;

use super::heal::Setup;
use super::seal::Outcome;
use super::{Course, EVENTS_PER_ROOT, MapRegister, Mapper};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::sequencer::Observer;

/// How soon after a root the next one is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As soon as there is something new: somebody waits for it.
    AtOnce,
    /// A second later at the soonest.
    Measured,
}

/// What the mappers are to do.
#[derive(Clone, Copy)]
pub(crate) struct Turn<'a> {
    /// Who else must agree; none on the embedded bus.
    pub(crate) register: Option<&'a dyn MapRegister>,
    pub(crate) pace: Pace,
    /// Told how many leaves of all record logs are folded, and how many there are.
    pub(crate) progress: &'a dyn Fn(u64, u64),
    /// Set by whoever wants it to end soon.
    pub(crate) stop: &'a AtomicBool,
}

/// The mappers of a ledger that is at work.
pub(crate) struct Mappers {
    observer: Arc<dyn Observer>,
    limit: usize,
    shards: Mutex<Vec<Option<Mapper>>>,
}

impl Mappers {
    pub(crate) fn new(ledger: &Ledger, observer: &Arc<dyn Observer>) -> Self {
        Self::with_limit(ledger, observer, EVENTS_PER_ROOT)
    }

    /// `limit`: events that one root may add at most.
    pub(super) fn with_limit(ledger: &Ledger, observer: &Arc<dyn Observer>, limit: usize) -> Self {
        Self {
            observer: Arc::clone(observer),
            limit,
            shards: Mutex::new((0..ledger.shards()).map(|_| None).collect()),
        }
    }

    /// Lets each shard's mapper work until it is level. A shard that fails does not keep the others from working; the first
    /// error is given then.
    pub(crate) fn run(
        &self,
        ledger: &Ledger,
        turn: &Turn<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let mut mappers = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        // For the progress alone: what cannot be read is told by its own shard's mapper.
        let size_of = |shard| ledger.reader(shard).map_or(0, |reader| reader.size().0);
        let sizes: Vec<u64> = (0..ledger.shards()).map(size_of).collect();
        let total: u64 = sizes.iter().sum();
        let (mut before, mut first_error) = (0, None);
        for (shard, (slot, size)) in (0_u32..).zip(mappers.iter_mut().zip(sizes)) {
            let told = |folded: TreeSize| (turn.progress)(before + folded.0.min(size), total);
            let course = Course {
                told: &told,
                stop: turn.stop,
            };
            let setup = Setup {
                ledger,
                shard,
                observer: &self.observer,
                limit: self.limit,
            };
            match work(&setup, slot, turn, &course, notices) {
                Ok(()) => {}
                Err(LedgerError::Stopped(_)) if turn.stop.load(Ordering::Acquire) => return Ok(()),
                // Another host has what is missing here, and the archive is being brought level.
                Err(LedgerError::RolledBack { .. }) if turn.register.is_some() => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
            before += size;
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// Lets one shard's mapper work. It stays in its slot only where it can go on from where it is.
fn work(
    setup: &Setup<'_>,
    slot: &mut Option<Mapper>,
    turn: &Turn<'_>,
    course: &Course<'_>,
    notices: &mut Vec<String>,
) -> Result<(), LedgerError> {
    let mut mapper = match slot.take() {
        Some(mapper) => mapper,
        None => Mapper::open(setup, course, notices)?,
    };
    let outcome = match turn.register {
        None => mapper.extend(None, turn.pace, course, notices)?,
        Some(register) => mapper.work_with(register, turn.pace, course, notices)?,
    };
    if outcome == Outcome::Level {
        *slot = Some(mapper);
    }
    Ok(())
}
