//! Sealing roots: from the map as it stands to a published checkpoint of the map log.
//!
//! In scope: when a root is sealed, and the steps in the order that keeps the promises. Out of scope: healing.
//! Trust: see [`super`].

use std::time::{Duration, Instant};

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::map::MapLeaf;

use super::drive::Pace;
use super::fold::Sealed;
use super::moments::Moment;
use super::record::RecordLog;
use super::{Course, MapRegister, Mapper, REGISTERED_MOMENTS, Registered, lies_in};
use crate::clock::unix_now;
use crate::error::LedgerError;
use crate::files;
use crate::sequencer::Step;

/// Between two roots, at a measured pace.
const BETWEEN_ROOTS: Duration = Duration::from_secs(1);

/// Whether a mapper can go on from where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is level, or waits.
    Level,
    /// Another host was faster: the mapper is ahead of the map log, and is to be taken up anew.
    Overtaken,
}

impl Mapper {
    /// Folds what is new and seals it, until the map is level with the record log. `register`: who must agree before.
    pub(super) fn extend(
        &mut self,
        register: Option<&dyn MapRegister>,
        pace: Pace,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Outcome, LedgerError> {
        let mut goal = None;
        loop {
            // Before the log is looked at: what is on record by then is in this map, or in one of the next few. A time
            // after folding would say so of what was recorded meanwhile.
            let time = self.now();
            let record = self.record()?;
            // What comes while it folds is left to the next turn: else it might never end.
            let goal = *goal.get_or_insert(record.size());
            let is_level = self.fold.size() >= goal.min(record.size());
            if is_level || course.is_to_stop() || self.is_too_soon(pace) {
                return Ok(Outcome::Level);
            }
            self.step(&record, course, notices)?;
            self.done(Step::MapApplied)?;
            let leaf = self.leaf(time);
            if let Some(register) = register
                && !self.propose(register, &leaf)?
            {
                return Ok(Outcome::Overtaken);
            }
            self.log.push(leaf)?;
            self.log.write()?;
            self.done(Step::MapWritten)?;
            self.settle()?;
            self.sealed_at = Some(Instant::now());
        }
    }

    fn is_too_soon(&self, pace: Pace) -> bool {
        pace == Pace::Measured && self.sealed_at.is_some_and(|at| at.elapsed() < BETWEEN_ROOTS)
    }

    /// As far as one root may go. Where the map's own files turn out to be damaged, it is folded anew, once.
    fn step(
        &mut self,
        record: &RecordLog,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        match self.fold.step(record, record.size(), course) {
            Err(error) if lies_in(self.fold.folder(), &error) => {
                self.tell(notices, format!("the customer map is folded anew: {error}"))?;
                self.fold.begin_anew()?;
                self.bring_fold(record, course, notices)?;
                self.fold.step(record, record.size(), course)
            }
            other => other,
        }
    }

    /// The time of the next leaf. A clock that was set back does not make leaves go back.
    fn now(&self) -> u64 {
        let last = self.log.last().map_or(0, |last| last.time);
        unix_now().max(last)
    }

    /// Registers the leaf with all hosts; whether no other was faster.
    fn propose(&self, register: &dyn MapRegister, leaf: &MapLeaf) -> Result<bool, LedgerError> {
        let (size, root) = self.log.with(leaf);
        let checkpoint = Checkpoint::new(self.origin.clone(), size, root).to_text();
        let mut moments = self.moments.last(REGISTERED_MOMENTS - 1)?;
        moments.push(Moment::of(leaf));
        register.register(self.shard, &Registered { checkpoint, moments })
    }

    /// Everything from the written leaf to the committed map. What is level already is not written again, and a map log
    /// that is not decided on is not signed.
    pub(super) fn settle(&mut self) -> Result<(), LedgerError> {
        if self.undecided {
            return Ok(());
        }
        let Some(leaf) = self.log.last().map(MapLeaf::to_text) else {
            return Ok(());
        };
        let text = self.checkpoint();
        if self.decided.as_ref() != Some(&text) {
            self.head.decide(&text)?;
            self.decided = Some(text.clone());
        }
        self.done(Step::MapRegistered)?;
        while self.moments.count() < self.log.size().0 {
            let missing = self.log.moments(self.moments.count())?;
            self.moments.append(&missing)?;
        }
        if self.kept.as_ref() != Some(&text) {
            self.copy.keep(&text)?;
            self.kept = Some(text.clone());
        }
        self.done(Step::MapCopiedOutside)?;
        let note = self.signer.sign(&text);
        self.done(Step::MapSigned)?;
        self.publish(&note)?;
        self.done(Step::MapPublished)?;
        let sealed = Sealed { note, leaf };
        if self.fold.sealed() != Some(&sealed) {
            self.fold.seal(sealed)?;
        }
        self.done(Step::MapCommitted)?;
        self.log.remove_replaced()
    }

    fn publish(&self, note: &str) -> Result<(), LedgerError> {
        let path = self.log.folder().join("checkpoint");
        if files::read_if_there(&path)?.is_some_and(|there| there == note.as_bytes()) {
            return Ok(());
        }
        files::replace_unsynced(&path, note.as_bytes())
    }
}
