//! The mappers of a ledger, as many at a time as there are cores.
//!
//! In scope: taking each up when it is first needed, letting it work, dropping it after an error; the threads, which end
//! with the call. Out of scope: one shard's steps. Trust: as its parts.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

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

    /// Lets each shard's mapper work until it is level. A shard that fails does not keep the others from working; the error
    /// of the first one is given then. Notices come shard by shard.
    pub(crate) fn run(
        &self,
        ledger: &Ledger,
        turn: &Turn<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let mut mappers = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = Progress::new(ledger, turn.progress);
        let told = |shard, folded| progress.tell(shard, folded);
        let orders = Orders {
            ledger,
            observer: &self.observer,
            limit: self.limit,
            register: turn.register,
            pace: turn.pace,
            stop: turn.stop,
        };
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = cores.min(mappers.len());
        let slots = Mutex::new((0_u32..).zip(mappers.iter_mut()));
        let mut done = if count <= 1 {
            orders.work_off(&slots, &told)
        } else {
            orders.work_off_at_once(&slots, count, &told)
        };
        done.sort_by_key(|one| one.shard);
        let mut first_error = None;
        for one in done {
            notices.extend(one.notices);
            if let Err(error) = one.outcome {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }
}

/// What one shard's turn came to.
struct Done {
    shard: u32,
    notices: Vec<String>,
    outcome: Result<(), LedgerError>,
}

/// Told how far a shard's record log is folded; none where its turn is over.
type Told<'a> = &'a dyn Fn(u32, Option<TreeSize>);

/// What every thread is told.
#[derive(Clone, Copy)]
struct Orders<'a> {
    ledger: &'a Ledger,
    observer: &'a Arc<dyn Observer>,
    limit: usize,
    register: Option<&'a dyn MapRegister>,
    pace: Pace,
    stop: &'a AtomicBool,
}

impl Orders<'_> {
    /// Lets the mappers in these slots work, one after the other.
    fn work_off<'s>(
        &self,
        slots: &Mutex<impl Iterator<Item = (u32, &'s mut Option<Mapper>)>>,
        told: Told<'_>,
    ) -> Vec<Done> {
        let mut done = Vec::new();
        // Who is asked to end takes up no further shard.
        while !self.is_to_stop() {
            // Not held while the mapper works: others are to take the next slot.
            let next = slots.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((shard, slot)) = next else { break };
            let mut notices = Vec::new();
            let outcome = self.work(shard, slot, told, &mut notices);
            told(shard, None);
            done.push(Done {
                shard,
                notices,
                outcome,
            });
        }
        done
    }

    /// As [`Orders::work_off`], on `count` threads. `told` is called by this one.
    fn work_off_at_once<'s>(
        &self,
        slots: &Mutex<impl Iterator<Item = (u32, &'s mut Option<Mapper>)> + Send>,
        count: usize,
        told: Told<'_>,
    ) -> Vec<Done> {
        let (tell, heard) = mpsc::channel();
        thread::scope(|scope| {
            let threads: Vec<_> = (0..count)
                .map(|_| {
                    let tell = tell.clone();
                    scope.spawn(move || {
                        self.work_off(slots, &|shard, folded| {
                            // Whoever listens does so until all threads have ended.
                            let _ = tell.send((shard, folded));
                        })
                    })
                })
                .collect();
            drop(tell);
            for (shard, folded) in heard {
                told(shard, folded);
            }
            let mut done = Vec::new();
            for thread in threads {
                match thread.join() {
                    Ok(one) => done.extend(one),
                    Err(panic) => resume_unwind(panic),
                }
            }
            done
        })
    }

    /// Lets one shard's mapper work.
    fn work(
        &self,
        shard: u32,
        slot: &mut Option<Mapper>,
        told: Told<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let folded = |size: TreeSize| told(shard, Some(size));
        let course = Course {
            told: &folded,
            stop: self.stop,
        };
        let setup = Setup {
            ledger: self.ledger,
            shard,
            observer: self.observer,
            limit: self.limit,
            register: self.register,
        };
        match work(&setup, slot, self.pace, &course, notices) {
            Err(LedgerError::Stopped(_)) if self.is_to_stop() => Ok(()),
            // Another host has what is missing here, and the archive is being brought level.
            Err(LedgerError::RolledBack { .. }) if self.register.is_some() => Ok(()),
            other => other,
        }
    }

    fn is_to_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// How far all shards are together.
struct Progress<'a> {
    sizes: Vec<u64>,
    folded: RefCell<Vec<u64>>,
    told: &'a dyn Fn(u64, u64),
}

impl<'a> Progress<'a> {
    fn new(ledger: &Ledger, told: &'a dyn Fn(u64, u64)) -> Self {
        // For the progress alone: what cannot be read is told by its own shard's mapper.
        let size_of = |shard| ledger.reader(shard).map_or(0, |reader| reader.size().0);
        let sizes: Vec<u64> = (0..ledger.shards()).map(size_of).collect();
        let folded = RefCell::new(vec![0; sizes.len()]);
        Self { sizes, folded, told }
    }

    /// `folded`: none where the shard's turn is over, which counts as all of it and is not passed on.
    fn tell(&self, shard: u32, folded: Option<TreeSize>) {
        let size = self.sizes[shard as usize];
        self.folded.borrow_mut()[shard as usize] = folded.map_or(size, |folded| folded.0.min(size));
        if folded.is_some() {
            let (sum, total): (u64, u64) = (self.folded.borrow().iter().sum(), self.sizes.iter().sum());
            (self.told)(sum, total);
        }
    }
}

/// Lets one shard's mapper work. It stays in its slot only where it can go on from where it is.
fn work(
    setup: &Setup<'_>,
    slot: &mut Option<Mapper>,
    pace: Pace,
    course: &Course<'_>,
    notices: &mut Vec<String>,
) -> Result<(), LedgerError> {
    let mut mapper = match slot.take() {
        Some(mapper) => mapper,
        None => Mapper::open(setup, course, notices)?,
    };
    let outcome = match setup.register {
        None => mapper.extend(None, pace, course, notices)?,
        Some(register) => mapper.work_with(register, pace, course, notices)?,
    };
    if outcome == Outcome::Level {
        *slot = Some(mapper);
    }
    Ok(())
}
