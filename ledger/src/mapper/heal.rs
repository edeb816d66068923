//! Taking up a shard's mapper after a stop: what was decided on is made whole, then it goes on.
//!
//! In scope: the tree of the map log, the moments outside, the map itself, each made again from the others where it can be;
//! going on with a map log that was being made when it stopped. Out of scope: inventing a moment: a map log whose leaves
//! and moments are both gone, and whose moments no other host gives, is refused. Trust: every checkpoint that is known
//! must be a prefix of what is made, or equal to it.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::map::MapLeaf;

use super::fold::{Fold, Undecided};
use super::follow::Source;
use super::known::{Known, KnownRoot};
use super::log::MapLog;
use super::moments::{Moment, Moments};
use super::record::RecordLog;
use super::{Course, MapRegister, Mapper, keys_of, lies_in};
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
    /// Who else may know what is missing here; none on the embedded bus.
    pub(super) register: Option<&'a dyn MapRegister>,
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
        mapper.bring_log(&record, goal, setup.register, course)?;
        mapper.read_moments_again(notices)?;
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
        known.add_note(
            "the customer map",
            fold.sealed().map(|sealed| sealed.note.as_str()),
        )?;
        let moments = Moments::open(&outside, shard)?;
        let goal = known.highest().0.max(moments.count());
        let mut base = Base::new(folder, shard);
        let undecided = fold.undecided();
        // Alone, what outside does not have the moments of was never decided on, and never will be.
        let undecided = undecided.filter(|one| setup.register.is_some() || one.size.0 <= goal);
        base.look(&known, undecided, &moments);
        let is_undecided = base.is_undecided;
        let (log, wrong) = base.take(goal)?;
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
            undecided: is_undecided,
            distrusted: false,
            fold,
            sealed_at: None,
            awaited: VecDeque::new(),
        };
        mapper.hold_known()?;
        let goal = mapper.hold_moments(goal, setup.register.is_some(), notices)?;
        // Where it is gone on with, that was told when it was begun.
        if mapper.log.size().0 < goal && !is_undecided {
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
    /// `shared`: whether other hosts can be asked for moments.
    fn hold_moments(
        &mut self,
        goal: u64,
        shared: bool,
        notices: &mut Vec<String>,
    ) -> Result<u64, LedgerError> {
        let (have, known, count) = (self.log.size().0, self.known.highest().0, self.moments.count());
        let is_other = match self.log.last() {
            Some(last) if count >= have => self.moments.get(have - 1)? != Moment::of(last),
            _ => false,
        };
        if known > have && (is_other || count < known) {
            if shared {
                // They stay until the map log is whole: if nobody has it, a person may want them.
                self.distrusted = is_other;
                return Ok(known);
            }
            return Err(self.no_moments(known, "and there is no other host to ask"));
        }
        if is_other {
            self.distrusted = true;
            self.read_moments_again(notices)?;
            return Ok(have);
        }
        Ok(goal)
    }

    /// The error where neither the leaves of a map log of `known` leaves nor their moments are here.
    fn no_moments(&self, known: u64, why: &str) -> LedgerError {
        let what = format!(
            "the map log has {known} leaves, {} of them are here, and the moments of the rest are not: {why}. Nothing was \
             signed. Bring {} or {} back from a backup, or run `sharetrail restore --from COPY`",
            self.log.size(),
            self.moments.path().display(),
            self.ledger.folder().map(self.shard).display()
        );
        let error = LedgerError::damaged(self.moments.path(), None, what);
        self.refused(IncidentKind::Map, error)
    }

    /// Forgets moments that are not those of the map log. They are written again when it is settled.
    fn read_moments_again(&mut self, notices: &mut Vec<String>) -> Result<(), LedgerError> {
        if !self.distrusted {
            return Ok(());
        }
        self.moments.clear()?;
        self.distrusted = false;
        let what = "the moments outside are not those of the map log; read again from its leaves";
        self.tell(notices, what.into())
    }

    /// Whether the moment of this leaf is outside, and can be relied on.
    fn is_outside(&self, index: u64) -> bool {
        !self.distrusted && index < self.moments.count()
    }

    /// Refuses to go on while the record log is shorter than what the map log covers.
    pub(super) fn reaches(&self, record: &RecordLog, goal: u64) -> Result<(), LedgerError> {
        let mut known = self.log.last().map_or(0, |last| last.checkpoint.size.0);
        if goal > self.log.size().0 && self.is_outside(goal - 1) {
            known = known.max(self.moments.get(goal - 1)?.size.0);
        }
        self.covers(record, TreeSize(known))
    }

    /// Refuses to go on where the record log is shorter than `known`, which the map log covers.
    fn covers(&self, record: &RecordLog, known: TreeSize) -> Result<(), LedgerError> {
        if known <= record.size() {
            return Ok(());
        }
        Err(LedgerError::RolledBack {
            shard: self.shard,
            known: known.0,
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
        let error = self.not_the_root(index, &last);
        self.forget_undecided();
        Err(error)
    }

    /// Folds to where a leaf was sealed; whether map and record log are what it says.
    pub(super) fn fold_to(
        &mut self,
        leaf: &MapLeaf,
        record: &RecordLog,
        course: &Course<'_>,
    ) -> Result<bool, LedgerError> {
        let undecided = self.waypoint();
        self.fold
            .go_far(record, leaf.checkpoint.size, undecided, course)?;
        Ok(self.leaf(leaf.time) == *leaf)
    }

    /// The error for a leaf of the map log that the record log does not give.
    pub(super) fn not_the_root(&self, index: u64, leaf: &MapLeaf) -> LedgerError {
        let what = format!(
            "leaf {index} says root {} over {} labels at {} leaves of the record log, which gives {} over {} at {}. \
             Nothing was signed. Run `sharetrail rebuild`; if it says the same, bring the archive or the map log that was \
             signed back with `sharetrail restore --from COPY`",
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

    /// Makes the leaves that are missing up to `goal` from their moments: those outside, or else other hosts'.
    pub(super) fn bring_log(
        &mut self,
        record: &RecordLog,
        goal: u64,
        register: Option<&dyn MapRegister>,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        let is_level = self.log.size().0 == goal && !self.undecided;
        if is_level || self.log.size().0 > goal {
            return Ok(());
        }
        let mut elsewhere: Option<Source<'_>> = None;
        while self.log.size().0 < goal {
            let index = self.log.size().0;
            let moment = if self.is_outside(index) {
                self.moments.get(index)?
            } else {
                let source = match elsewhere.take() {
                    Some(source) => source,
                    None => self.others(register, goal)?,
                };
                let moment = elsewhere.insert(source).moment(index);
                let moment = moment.map_err(|error| self.nobody_gave(goal, error))?;
                self.covers(record, moment.size)?;
                moment
            };
            self.add(record, moment, course)?;
            self.keep()?;
        }
        self.finish()
    }

    /// Whom to ask for the moments of a map log of `known` leaves.
    fn others<'a>(
        &self,
        register: Option<&'a dyn MapRegister>,
        known: u64,
    ) -> Result<Source<'a>, LedgerError> {
        let nobody = || self.no_moments(known, "and there is no other host to ask");
        let register = register.ok_or_else(nobody)?;
        let registered = register.registered(self.shard)?;
        Ok(Source::new(register, self.shard, registered.as_ref(), known))
    }

    /// The error where no other host gave moments that are not here.
    fn nobody_gave(&self, known: u64, error: LedgerError) -> LedgerError {
        match error {
            LedgerError::Peer { .. } | LedgerError::Diverged { .. } => {
                self.no_moments(known, &error.to_string())
            }
            // That the bus does not answer, or that it is to end, says nothing of the moments.
            other => other,
        }
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
                 and {} are here. Nothing was signed. {}",
                self.log.size(),
                moment.size,
                self.fold.size(),
                record.size(),
                self.whose_moments()
            );
            let error = LedgerError::Diverged {
                shard: self.shard,
                what,
            };
            self.forget_undecided();
            return Err(self.refused(IncidentKind::Map, error));
        }
        self.fold.go_to(record, moment.size, course)?;
        let leaf = self.leaf(moment.time);
        self.log.push(leaf)?;
        self.undecided = true;
        let held = self.known.check(self.log.size(), self.log.root());
        held.map_err(|error| {
            self.forget_undecided();
            self.refused(IncidentKind::Map, error)
        })
    }

    /// What to do about moments that do not give the map log.
    fn whose_moments(&self) -> String {
        format!(
            "If {} holds that moment, bring that file back from a backup; if another host gave it, look at that host with \
             `sharetrail status`",
            self.moments.path().display()
        )
    }

    /// Lets what was made last, where that is worth the time: the leaves first, then the map that says how many there are.
    pub(super) fn keep(&mut self) -> Result<(), LedgerError> {
        if !self.fold.is_due() {
            return Ok(());
        }
        self.log.write()?;
        let undecided = self.waypoint();
        self.fold.keep(undecided)
    }

    /// What was made is what was decided on: it lasts, and lies where it belongs.
    pub(super) fn finish(&mut self) -> Result<(), LedgerError> {
        self.log.write()?;
        self.undecided = false;
        if self.log.folder() == self.ledger.folder().map(self.shard) {
            return Ok(());
        }
        self.put_in_place()
    }

    /// Throws away work that lasts and was made of moments that turned out to be wrong: taken up again, it would be wrong
    /// for ever. The mapper is to be dropped then.
    pub(super) fn forget_undecided(&mut self) {
        if self.fold.undecided().is_some() {
            // The reason why is told. What cannot be thrown away now is met again, and thrown away then.
            let _ = self.fold.begin_anew();
        }
    }

    /// Puts a map log that was made again in the place of the damaged one.
    fn put_in_place(&mut self) -> Result<(), LedgerError> {
        let to = self.ledger.folder().map(self.shard);
        let from = self.log.folder().to_owned();
        self.log.remove_replaced()?;
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

/// The map log that is gone on with.
struct Base {
    /// Where it belongs, and where one is made again.
    place: PathBuf,
    beside: PathBuf,
    log: Option<MapLog>,
    /// Whether its last leaves are not decided on.
    is_undecided: bool,
    /// What is wrong with the longest one that is known.
    wrong: Option<String>,
}

impl Base {
    fn new(folder: &Folder, shard: u32) -> Self {
        Self {
            place: folder.map(shard),
            beside: made_again(folder, shard),
            log: None,
            is_undecided: false,
            wrong: None,
        }
    }

    /// Finds the longest map log that lies here whole: one that is known, or one that was being made.
    fn look(&mut self, known: &Known, undecided: Option<Undecided>, moments: &Moments) {
        let (longer, shorter): (Vec<&KnownRoot>, Vec<&KnownRoot>) = known
            .roots()
            .iter()
            .partition(|one| undecided.is_none_or(|undecided| one.size >= undecided.size));
        self.look_for(&longer);
        if let Some(one) = undecided {
            self.look_for_undecided(one, known, moments);
        }
        self.look_for(&shorter);
    }

    fn look_for(&mut self, known: &[&KnownRoot]) {
        for one in known {
            if self.log.is_some() {
                return;
            }
            match MapLog::take_up(&self.place, one.size, one.root) {
                Ok(found) => self.log = Some(found),
                Err(error) => {
                    self.wrong.get_or_insert_with(|| error.to_string());
                }
            }
        }
    }

    fn look_for_undecided(&mut self, one: Undecided, known: &Known, moments: &Moments) {
        if self.log.is_some() || one.size.0 == 0 {
            return;
        }
        let found = [&self.place, &self.beside]
            .into_iter()
            .filter_map(|folder| MapLog::take_up(folder, one.size, one.root).ok())
            .find(|log| continues(log, known, moments));
        self.is_undecided = found.is_some();
        self.log = found;
    }

    /// The log, and what was wrong with the longest one; an empty one, where none is whole: in a folder beside, if one is to
    /// be made again.
    fn take(self, goal: u64) -> Result<(MapLog, Option<String>), LedgerError> {
        let is_beside = self.log.as_ref().is_some_and(|log| log.folder() == self.beside);
        if !is_beside && self.beside.exists() {
            fs::remove_dir_all(&self.beside).at("remove", &self.beside)?;
        }
        let log = match self.log {
            Some(log) => log,
            None if goal == 0 => MapLog::empty(&self.place),
            None => MapLog::empty(&self.beside),
        };
        // A leaf that was written and never decided on.
        let size = log.size();
        if log.folder() == self.place {
            TreeWriter::remove_beyond(&self.place, size, TreeSize(size.0 + 1))?;
        }
        Ok((log, self.wrong))
    }
}

/// Whether a map log that nobody decided on continues all that is known, and its last leaf has the moment that is outside,
/// where one is.
fn continues(log: &MapLog, known: &Known, moments: &Moments) -> bool {
    let mut smaller = known.roots().iter().filter(|one| one.size < log.size());
    let last = log.size().0.saturating_sub(1);
    let has_its_moment = last >= moments.count() || moments.get(last).ok() == log.last().map(Moment::of);
    has_its_moment
        && known.check(log.size(), log.root()).is_ok()
        && smaller.all(|one| log.root_at(one.size).is_ok_and(|root| root == one.root))
}
