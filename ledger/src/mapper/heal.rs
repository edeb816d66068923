//! Taking up a shard's mapper after a stop: what was decided on is made whole, then it goes on.
//!
//! In scope: the tree of the map log, the moments outside, the map itself, each made again from the others where it can be.
//! Out of scope: inventing a moment: a map log whose leaves and moments are both gone is refused. Trust: every checkpoint
//! that is known must be a prefix of what is made, or equal to it.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::map::MapLeaf;

use super::fold::Fold;
use super::known::Known;
use super::log::MapLog;
use super::moments::{Moment, Moments};
use super::record::RecordLog;
use super::{Course, Mapper, keys_of, lies_in};
use crate::archive::TreeWriter;
use crate::error::{At, LedgerError};
use crate::files;
use crate::folder::Folder;
use crate::ledger::Ledger;
use crate::register::{IncidentKind, MapHead, OutsideCopy};
use crate::sequencer::Observer;

/// What a mapper is taken up from.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) shard: u32,
    pub(super) observer: &'a Arc<dyn Observer>,
    /// Events that one root may add at most.
    pub(super) limit: usize,
}

impl Setup<'_> {
    fn mapping(&self) -> PathBuf {
        self.ledger.folder().mapping(self.shard)
    }

    /// The map as it was committed last, or an empty one where that is damaged.
    fn fold(&self, notices: &mut Vec<String>) -> Result<Fold, LedgerError> {
        let folder = self.mapping();
        match Fold::open(&folder, self.limit) {
            Err(error) if lies_in(&folder, &error) => {
                notices.push(format!(
                    "shard {}: {error}; the customer map is folded anew",
                    self.shard
                ));
                Fold::anew(&folder, self.limit)
            }
            other => other,
        }
    }

    /// An empty map.
    pub(super) fn empty_fold(&self) -> Result<Fold, LedgerError> {
        Fold::anew(&self.mapping(), self.limit)
    }
}

/// Where a map log is made again, before it takes the place of what is there.
fn made_again(folder: &Folder, shard: u32) -> PathBuf {
    folder.map(shard).with_added_extension("new")
}

impl Mapper {
    /// Takes a shard up: map log, map, moments, register and copy are level when this returns.
    pub(super) fn open(
        setup: &Setup<'_>,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Self, LedgerError> {
        let fold = setup.fold(notices)?;
        let (mut mapper, goal) = Self::begin(setup, fold, notices)?;
        let record = mapper.record()?;
        mapper.reaches(&record, goal)?;
        mapper.bring_fold(&record, course, notices)?;
        mapper.bring_log(&record, goal, course)?;
        mapper.settle()?;
        Ok(mapper)
    }

    /// The parts as they lie there, and how many leaves the map log must have.
    pub(super) fn begin(
        setup: &Setup<'_>,
        fold: Fold,
        notices: &mut Vec<String>,
    ) -> Result<(Self, u64), LedgerError> {
        let Setup { ledger, shard, .. } = *setup;
        let (folder, outside) = (ledger.folder(), ledger.outside()?);
        let (signer, record_key) = keys_of(ledger, shard)?;
        let (head, decided) = MapHead::open(&folder.register(shard))?;
        let (copy, kept) = OutsideCopy::open_map(&outside, shard)?;
        let published = files::read_if_there(&folder.map(shard).join("checkpoint"))?;
        let published = published.and_then(|note| String::from_utf8(note).ok());
        let mut known = Known::new(shard, signer.verifier());
        known.add("the register", decided.as_deref())?;
        known.add("the copy outside of the folder", kept.as_deref())?;
        known.add_note("the published checkpoint", published.as_deref())?;
        known.add_note("the customer map", fold.sealed().map(|sealed| sealed.note.as_str()))?;
        let moments = Moments::open(&outside, shard)?;
        let goal = known.highest().0.max(moments.count());
        let (log, wrong) = base(folder, shard, &known, goal)?;
        let mut mapper = Self {
            ledger: ledger.clone(),
            shard,
            origin: signer.verifier().name().to_owned(),
            signer,
            record_key,
            observer: Arc::clone(setup.observer),
            head,
            decided,
            copy,
            kept,
            moments,
            known,
            log,
            fold,
            sealed_at: None,
            awaited: VecDeque::new(),
        };
        mapper.hold_known()?;
        let goal = mapper.hold_moments(goal, notices)?;
        if mapper.log.size().0 < goal {
            let why = wrong.unwrap_or_else(|| "the register is behind the moments outside".into());
            mapper.tell(
                notices,
                format!("the map log of {goal} leaves is not all here ({why}); made again from its moments"),
            )?;
        }
        Ok((mapper, goal))
    }

    /// Refuses a map log of which a smaller checkpoint that was decided on is no prefix.
    fn hold_known(&self) -> Result<(), LedgerError> {
        let smaller = self.known.roots().iter().filter(|one| one.size < self.log.size());
        for one in smaller {
            // A tile that is damaged there says nothing; whoever needs it finds that out.
            if let Ok(found) = self.log.root_at(one.size) {
                let held = self.known.check(one.size, found);
                held.map_err(|error| self.refused(IncidentKind::Map, error))?;
            }
        }
        Ok(())
    }

    /// Compares the moments outside with the leaves that are here; gives how many leaves there must be in the end.
    fn hold_moments(&mut self, goal: u64, notices: &mut Vec<String>) -> Result<u64, LedgerError> {
        let (have, known, count) = (self.log.size().0, self.known.highest().0, self.moments.count());
        let is_other = match self.log.last() {
            Some(last) if count >= have => self.moments.get(have - 1)? != Moment::of(last),
            _ => false,
        };
        if known > have && (is_other || count < known) {
            let what = format!(
                "the map log has {known} leaves, {have} of them are here, and the moments of the rest are not. Nothing was \
                 signed. Bring {} or {} back from a backup, or run `sharetrail restore --from COPY`",
                self.moments.path().display(),
                self.ledger.folder().map(self.shard).display()
            );
            let error = LedgerError::damaged(self.moments.path(), None, what);
            return Err(self.refused(IncidentKind::Map, error));
        }
        if is_other {
            self.moments.clear()?;
            let what = "the moments outside are not those of the map log; read again from its leaves";
            self.tell(notices, what.into())?;
            return Ok(have);
        }
        Ok(goal)
    }

    /// Refuses to go on while the record log is shorter than what the map log covers.
    pub(super) fn reaches(&self, record: &RecordLog, goal: u64) -> Result<(), LedgerError> {
        let mut known = self.log.last().map_or(0, |last| last.checkpoint.size.0);
        if goal > self.log.size().0 {
            known = known.max(self.moments.get(goal - 1)?.size.0);
        }
        if known <= record.size().0 {
            return Ok(());
        }
        Err(LedgerError::RolledBack {
            shard: self.shard,
            known,
            have: record.size().0,
            from: "the map log".into(),
        })
    }

    /// Brings the map to the last leaf of the map log; anew from nothing, if it does not give that leaf's root.
    pub(super) fn bring_fold(
        &mut self,
        record: &RecordLog,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<(), LedgerError> {
        let Some(last) = self.log.last().cloned() else {
            if self.fold.size().0 > 0 {
                self.fold.begin_anew()?;
            }
            return Ok(());
        };
        if self.fold.size().0 > 0 {
            let why: String = match self.fold_to(&last, record, course) {
                Ok(true) => return Ok(()),
                Ok(false) => "it does not give the root in the map log".into(),
                Err(error) if lies_in(self.fold.folder(), &error) => error.to_string(),
                Err(error) => return Err(error),
            };
            self.tell(notices, format!("the customer map is folded anew: {why}"))?;
            self.fold.begin_anew()?;
        }
        if self.fold_to(&last, record, course)? {
            return Ok(());
        }
        let index = self.log.size().0 - 1;
        Err(self.not_the_root(index, &last))
    }

    /// Folds to where a leaf was sealed; whether map and record log are what it says.
    pub(super) fn fold_to(
        &mut self,
        leaf: &MapLeaf,
        record: &RecordLog,
        course: &Course<'_>,
    ) -> Result<bool, LedgerError> {
        self.fold.go_to(record, leaf.checkpoint.size, course)?;
        Ok(self.leaf(leaf.time) == *leaf)
    }

    /// The error for a leaf of the map log that the record log does not give.
    pub(super) fn not_the_root(&self, index: u64, leaf: &MapLeaf) -> LedgerError {
        let what = format!(
            "leaf {index} says root {} over {} labels at {} leaves of the record log, which gives {} over {} at {}. \
             Nothing was signed",
            leaf.root,
            leaf.labels,
            leaf.checkpoint.size,
            self.fold.root(),
            self.fold.labels(),
            self.fold.size()
        );
        let error = LedgerError::damaged(self.log.folder(), None, what);
        self.refused(IncidentKind::Map, error)
    }

    /// Makes the leaves that are missing up to `goal` from their moments outside.
    pub(super) fn bring_log(
        &mut self,
        record: &RecordLog,
        goal: u64,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        if self.log.size().0 >= goal {
            return Ok(());
        }
        while self.log.size().0 < goal {
            let moment = self.moments.get(self.log.size().0)?;
            self.add(record, moment, course)?;
        }
        self.log.write()?;
        if self.log.folder() == self.ledger.folder().map(self.shard) {
            return Ok(());
        }
        self.put_in_place()
    }

    /// Makes the next leaf from its moment. What is known of the log at that size must hold.
    pub(super) fn add(
        &mut self,
        record: &RecordLog,
        moment: Moment,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        if moment.size <= self.fold.size() || moment.size > record.size() {
            let what = format!(
                "leaf {} of the map log is said to be sealed at {} leaves of the record log, of which {} are covered before \
                 and {} are here. Nothing was signed",
                self.log.size(),
                moment.size,
                self.fold.size(),
                record.size()
            );
            let error = LedgerError::Diverged {
                shard: self.shard,
                what,
            };
            return Err(self.refused(IncidentKind::Map, error));
        }
        self.fold.go_to(record, moment.size, course)?;
        let leaf = self.leaf(moment.time);
        self.log.push(leaf)?;
        let held = self.known.check(self.log.size(), self.log.root());
        held.map_err(|error| self.refused(IncidentKind::Map, error))
    }

    /// Puts a map log that was made again in the place of the damaged one.
    fn put_in_place(&mut self) -> Result<(), LedgerError> {
        let to = self.ledger.folder().map(self.shard);
        let from = self.log.folder().to_owned();
        if let Some(note) = files::read_if_there(&to.join("cosigned"))? {
            files::replace(&from.join("cosigned"), &note, 0o644)?;
        }
        if to.exists() {
            fs::remove_dir_all(&to).at("remove", &to)?;
        }
        fs::rename(&from, &to).at("replace", &to)?;
        files::sync_folder(to.parent().unwrap_or(&to))?;
        self.log = MapLog::take_up(&to, self.log.size(), self.log.root())?;
        Ok(())
    }
}

/// The longest map log that is known and lies here whole, and what is wrong with the longer ones. An empty one in a folder
/// beside, where none is whole.
fn base(
    folder: &Folder,
    shard: u32,
    known: &Known,
    goal: u64,
) -> Result<(MapLog, Option<String>), LedgerError> {
    let (place, beside) = (folder.map(shard), made_again(folder, shard));
    if beside.exists() {
        fs::remove_dir_all(&beside).at("remove", &beside)?;
    }
    let (mut wrong, mut log): (Option<String>, Option<MapLog>) = (None, None);
    for one in known.roots() {
        match MapLog::take_up(&place, one.size, one.root) {
            Ok(found) => {
                log = Some(found);
                break;
            }
            Err(error) => {
                wrong.get_or_insert_with(|| error.to_string());
            }
        }
    }
    let log = match log {
        Some(log) => log,
        None if goal == 0 => MapLog::empty(&place),
        None => MapLog::empty(&beside),
    };
    // A leaf that was written and never decided on.
    let size = log.size();
    if log.folder() == place {
        TreeWriter::remove_beyond(&place, size, TreeSize(size.0 + 1))?;
    }
    Ok((log, wrong))
}
