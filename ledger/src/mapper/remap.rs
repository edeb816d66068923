//! Folding the customer map anew, and holding it to every root that the map log has.
//!
//! In scope: the whole check, leaf by leaf. Out of scope: changing the map log, which is archive. Trust: the record log
//! under its checkpoint; the map log is what is checked.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use sharetrail_proof::hash::{LeafHash, TreeSize};
use sharetrail_proof::tree::CompactRange;

use super::heal::Setup;
use super::moments::Moment;
use super::record::RecordLog;
use super::{Course, EVENTS_PER_ROOT, Mapper, to_be_made_again};
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::sequencer::{Observer, Unobserved};

/// What folding a shard's customer map anew gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remapped {
    /// Which.
    pub shard: u32,
    /// Leaves of the map log, each of whose roots was computed again.
    pub leaves: u64,
    /// Labels in the map.
    pub labels: u64,
    /// Leaves of the record log that the map covers.
    pub covered: u64,
    /// What was healed on the way, a line each.
    pub notices: Vec<String>,
}

/// Deletes the customer map of every shard and folds it anew from the record log; every root in the map log must come out
/// again, and the first that does not is named in the error. Nobody else may be at work on the ledger.
pub fn remap(ledger: &Ledger, progress: &dyn Fn(u64, u64)) -> Result<Vec<Remapped>, LedgerError> {
    let _lock = ledger.folder().lock()?;
    remap_held(ledger, EVENTS_PER_ROOT, progress)
}

/// As [`remap`], by whoever holds the folder.
pub(super) fn remap_held(
    ledger: &Ledger,
    limit: usize,
    progress: &dyn Fn(u64, u64),
) -> Result<Vec<Remapped>, LedgerError> {
    let observer: Arc<dyn Observer> = Arc::new(Unobserved);
    let sizes = (0..ledger.shards()).map(|shard| Ok(ledger.reader(shard)?.size().0));
    let sizes: Vec<u64> = sizes.collect::<Result<_, LedgerError>>()?;
    let total: u64 = sizes.iter().sum();
    let (stop, mut before) = (AtomicBool::new(false), 0);
    let mut done = Vec::new();
    for (shard, size) in (0_u32..).zip(sizes) {
        let told = |folded: TreeSize| progress(before + folded.0.min(size), total);
        let course = Course {
            told: &told,
            stop: &stop,
        };
        let setup = Setup {
            ledger,
            shard,
            observer: &observer,
            limit,
            register: None,
        };
        done.push(anew(&setup, &course)?);
        before += size;
    }
    Ok(done)
}

fn anew(setup: &Setup<'_>, course: &Course<'_>) -> Result<Remapped, LedgerError> {
    let mut notices = Vec::new();
    let (mut mapper, goal) = Mapper::begin(setup, setup.empty_fold()?, &mut notices)?;
    let record = mapper.record()?;
    mapper.reaches(&record, goal)?;
    mapper.check_leaves(&record, course, &mut notices)?;
    mapper.bring_log(&record, goal, None, course)?;
    mapper.settle()?;
    Ok(Remapped {
        shard: setup.shard,
        leaves: mapper.log.size().0,
        labels: mapper.fold.labels(),
        covered: mapper.fold.size().0,
        notices,
    })
}

impl Mapper {
    /// Folds to every leaf of the map log in turn, and compares; the moments outside too.
    fn check_leaves(
        &mut self,
        record: &RecordLog,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let (mut leaves, mut is_other, mut range) = (Vec::new(), false, CompactRange::new());
        for index in 0..self.log.size().0 {
            if leaves.is_empty() {
                leaves = self.log.leaves_from(index)?;
                leaves.reverse();
            }
            let Some(leaf) = leaves.pop() else { break };
            let is_next = leaf.checkpoint.size > self.fold.size();
            if !is_next || !self.fold_to(&leaf, record, course)? {
                return Err(self.not_the_root(index, &leaf));
            }
            range.push(LeafHash::of(leaf.to_text().as_bytes()));
            is_other |= index < self.moments.count() && self.moments.get(index)? != Moment::of(&leaf);
        }
        if range.root() != self.log.root() {
            let what = "its leaves do not give its root";
            let error = LedgerError::damaged(self.log.folder(), None, what);
            return Err(to_be_made_again(self.log.folder(), error));
        }
        // Beyond the leaves that are here, the moments are all there is.
        if is_other && self.moments.count() <= self.log.size().0 {
            self.moments.clear()?;
            let what = "the moments outside are not those of the map log; read again from its leaves";
            self.tell(notices, what.into())?;
        }
        Ok(())
    }
}
