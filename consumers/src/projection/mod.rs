//! The trail projection: which leaves of the log are whose.
//!
//! A label's leaves, in log order, are one prefix scan away instead of a reading of the whole log. Labels and
//! numbers are all that it holds; nothing of it says who a customer is, and nothing of it must last: it is
//! deleted and folded anew whenever it does not fit the log, and tells so.
//!
//! In scope: folding, looking up, replacing a store that does not fit. Out of scope: what the leaves say.
//!
//! Trust: the store is untrusted. Whoever follows a [`LeafRef`] checks that the entry there is the label's
//! and calls for a rebuild if it is not. A store that hides a leaf is not noticed here; only a map, or a
//! rebuild, tells.

mod fold;
mod index;
mod row;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use serde::Serialize;
use sharetrail_ledger::{Ledger, Reader};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use self::index::Index;
use crate::error::ConsumerError;
use crate::store::StoreKind;

/// Where a leaf of a label is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeafRef {
    /// The shard.
    pub shard: u32,
    /// The index in that shard's log.
    pub index: LeafIndex,
    /// The position in its batch; the batch entry is at index − 1 − position.
    pub position: u16,
    /// The first byte of the entry.
    pub kind: u8,
}

/// What a [`Projections::catch_up`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct CaughtUp {
    /// Leaves folded by it.
    pub folded: u64,
    /// Leaves of all shards under their checkpoints.
    pub total: u64,
}

/// The trail projection of all shards of a ledger, in `projections/<kind of store>`. One process holds it at
/// a time; threads may share it.
pub struct Projections {
    ledger: Ledger,
    kind: StoreKind,
    folder: PathBuf,
    /// Nothing while it is replaced, or if that failed.
    index: RwLock<Option<Index>>,
    /// Whoever writes holds this.
    turn: Mutex<()>,
    notices: Mutex<Vec<String>>,
}

impl Projections {
    /// Opens the projection of `ledger`, or an empty one; waits up to ten seconds for another process to let
    /// go of it.
    ///
    /// A store that is damaged, that another version wrote, or that was folded from another history is
    /// dropped, which [`Projections::notices`] tells. Call [`Projections::catch_up`] before asking.
    pub fn open(ledger: &Ledger, kind: StoreKind) -> Result<Self, ConsumerError> {
        let new = Self {
            ledger: ledger.clone(),
            kind,
            folder: ledger.projections().join(kind.name()),
            index: RwLock::new(None),
            turn: Mutex::new(()),
            notices: Mutex::new(Vec::new()),
        };
        make(&ledger.projections())?;
        let logs = new.logs()?;
        let opened = new
            .open_index()
            .and_then(|index| index.check(&logs).map(|()| index));
        let index = match opened {
            Err(error) if error.calls_for_a_rebuild() => {
                new.drop_folder(&error)?;
                new.open_index()?
            }
            other => other?,
        };
        *write(&new.index) = Some(index);
        Ok(new)
    }

    /// Folds what the log has beyond the projection. `progress` gets the leaves folded so far and their
    /// total, often.
    pub fn catch_up(&self, progress: &dyn Fn(u64, u64)) -> Result<CaughtUp, ConsumerError> {
        let _turn = lock(&self.turn);
        let logs = self.logs()?;
        let done = self.with_index(|index| {
            index.check(&logs)?;
            index.catch_up(&logs, progress)
        });
        match done {
            Err(error) if error.calls_for_a_rebuild() => self.replace(&logs, &error, progress),
            other => other,
        }
    }

    /// The leaves of a label as far as the projection is folded, by shard and in log order. A customer's
    /// label has leaves on one shard only, a party's on all.
    pub fn leaves(&self, label: &Label) -> Result<Vec<LeafRef>, ConsumerError> {
        self.with_sound_index(|| self.with_index(|index| index.leaves(label)))
    }

    /// What was found and healed, one line each: to be shown to the user.
    pub fn notices(&self) -> Vec<String> {
        lock(&self.notices).clone()
    }

    /// As [`Projections::notices`]; each is given once.
    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notices))
    }

    /// The leaves of a label on one shard. An error can call for a rebuild.
    pub(crate) fn leaves_on(&self, shard: u32, label: &Label) -> Result<Vec<LeafRef>, ConsumerError> {
        self.with_index(|index| index.leaves_on(shard, label))
    }

    /// How many leaves of each shard are folded, at least: asked before a look-up, it holds for what that finds.
    pub(crate) fn folded(&self) -> Result<Vec<u64>, ConsumerError> {
        self.with_index(|index| Ok(index.folded_sizes()))
    }

    /// Does `work`; if what the projection says turns out wrong, folds it anew and does `work` once more.
    pub(crate) fn with_sound_index<T>(
        &self,
        work: impl Fn() -> Result<T, ConsumerError>,
    ) -> Result<T, ConsumerError> {
        match work() {
            Err(error) if error.calls_for_a_rebuild() => {
                let _turn = lock(&self.turn);
                self.replace(&self.logs()?, &error, &|_, _| ())?;
                work()
            }
            other => other,
        }
    }

    fn with_index<T>(
        &self,
        work: impl FnOnce(&Index) -> Result<T, ConsumerError>,
    ) -> Result<T, ConsumerError> {
        match read(&self.index).as_ref() {
            Some(index) => work(index),
            None => Err(ConsumerError::Gone {
                path: self.folder.clone(),
            }),
        }
    }

    /// Drops the store and folds all leaves into a new one. Readers wait: between the two there is nothing to
    /// read.
    fn replace(
        &self,
        logs: &[Reader],
        why: &ConsumerError,
        progress: &dyn Fn(u64, u64),
    ) -> Result<CaughtUp, ConsumerError> {
        let mut place = write(&self.index);
        *place = None;
        self.drop_folder(why)?;
        let index = self.open_index()?;
        let done = index.catch_up(logs, progress)?;
        *place = Some(index);
        Ok(done)
    }

    fn drop_folder(&self, why: &ConsumerError) -> Result<(), ConsumerError> {
        let notice = format!(
            "{}: {}; dropped, and folded anew from the log",
            self.folder.display(),
            reason(why)
        );
        lock(&self.notices).push(notice);
        delete(&self.folder)
    }

    fn open_index(&self) -> Result<Index, ConsumerError> {
        Index::open(self.kind, &self.folder, self.ledger.shards())
    }

    fn logs(&self) -> Result<Vec<Reader>, ConsumerError> {
        let readers = (0..self.ledger.shards()).map(|shard| self.ledger.reader(shard));
        Ok(readers.collect::<Result<Vec<_>, _>>()?)
    }
}

/// Deletes the projection of this kind and folds it anew, from the first leaf.
pub fn rebuild(
    ledger: &Ledger,
    kind: StoreKind,
    progress: &dyn Fn(u64, u64),
) -> Result<Projections, ConsumerError> {
    let folder = ledger.projections().join(kind.name());
    make(&ledger.projections())?;
    // Opened first: a store that another process holds is not deleted under it.
    match Index::open(kind, &folder, ledger.shards()) {
        Err(error) if !error.calls_for_a_rebuild() => return Err(error),
        opened => drop(opened),
    }
    delete(&folder)?;
    let projections = Projections::open(ledger, kind)?;
    projections.catch_up(progress)?;
    Ok(projections)
}

/// What does not fit, without the advice to rebuild that is being followed.
fn reason(why: &ConsumerError) -> String {
    match why {
        ConsumerError::Index { reason } => reason.clone(),
        other => other.to_string(),
    }
}

fn make(folder: &Path) -> Result<(), ConsumerError> {
    fs::create_dir_all(folder).map_err(|source| {
        let path = folder.to_owned();
        ConsumerError::Folder {
            doing: "make",
            path,
            source,
        }
    })
}

fn delete(folder: &Path) -> Result<(), ConsumerError> {
    match fs::remove_dir_all(folder) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            let path = folder.to_owned();
            Err(ConsumerError::Folder {
                doing: "delete",
                path,
                source,
            })
        }
        _ => Ok(()),
    }
}

// A thread that panicked while it held a lock left rows that a fold overwrites, or no index at all: both are
// told apart.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(place: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    place.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(place: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    place.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
