//! Several hosts, one map log: what is registered is made again here, and compared.
//!
//! In scope: folding to registered moments, bringing earlier ones, putting a register right that is behind. Out of scope:
//! how the register is kept. Trust: moments from another host are nothing until the map log made from them has the
//! registered root.

use sharetrail_proof::hash::{Hash, TreeSize};

use super::drive::Pace;
use super::moments::Moment;
use super::seal::Outcome;
use super::{Course, MapRegister, Mapper, REGISTERED_MOMENTS, Registered};
use crate::error::LedgerError;
use crate::register::IncidentKind;
use crate::sequencer::stated;

/// Registered checkpoints that are remembered until the record log reaches them.
const AWAITED_MAX: usize = 64;
/// Moments that are asked for at once.
const FETCHED: u64 = 65_536;

/// A registered checkpoint of the map log, and the size of the record log that its last leaf covers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Awaited {
    size: TreeSize,
    root: Hash,
    record: TreeSize,
}

/// Where missing moments come from: the register for the last ones, other hosts for those before.
struct Source<'a> {
    register: &'a dyn MapRegister,
    shard: u32,
    registered: &'a Registered,
    /// The leaf of the first moment that the register holds.
    first: u64,
    /// Moments from another host, and the leaf of the first of them.
    fetched: (u64, Vec<Moment>),
}

impl Source<'_> {
    fn moment(&mut self, index: u64) -> Result<Moment, LedgerError> {
        if let Some(at) = index.checked_sub(self.first) {
            return self.at(&self.registered.moments, at, index);
        }
        let (from, moments) = &self.fetched;
        let is_here = index >= *from && index - from < moments.len() as u64;
        if !is_here {
            let to = self.first.min(index + FETCHED);
            self.fetched = (index, self.register.fetch(self.shard, index, to)?);
        }
        self.at(&self.fetched.1, index - self.fetched.0, index)
    }

    fn at(&self, moments: &[Moment], at: u64, index: u64) -> Result<Moment, LedgerError> {
        let moment = usize::try_from(at).ok().and_then(|at| moments.get(at));
        moment.copied().ok_or_else(|| LedgerError::Diverged {
            shard: self.shard,
            what: format!("no host gave the moment of map leaf {index}"),
        })
    }
}

impl Mapper {
    /// Takes over what is registered, and then adds a root if this host leads the shard.
    pub(super) fn work_with(
        &mut self,
        register: &dyn MapRegister,
        pace: Pace,
        course: &Course<'_>,
        notices: &mut Vec<String>,
    ) -> Result<Outcome, LedgerError> {
        if self.follow(register, course)? && register.may_extend(self.shard) {
            return self.extend(Some(register), pace, course, notices);
        }
        Ok(Outcome::Level)
    }

    /// Takes over what is registered, as far as the record log here reaches. Whether this map log is level with it.
    pub(super) fn follow(
        &mut self,
        register: &dyn MapRegister,
        course: &Course<'_>,
    ) -> Result<bool, LedgerError> {
        let Some(registered) = register.registered(self.shard)? else {
            return self.put_back(register);
        };
        let Some((size, root)) = stated(&registered.checkpoint) else {
            let what = "what is registered of the map log is no checkpoint".into();
            return Err(self.diverged(what));
        };
        if size <= self.log.size() {
            self.is_prefix(size, root)?;
            return if size == self.log.size() {
                Ok(true)
            } else {
                self.put_back(register)
            };
        }
        self.await_it(size, root, &registered);
        let goal = self.catch_up_with(register, &registered, size, course)?;
        Ok(goal == size)
    }

    /// Registers this host's map log where nothing or less is registered, if it leads. Whether they are level then.
    fn put_back(&self, register: &dyn MapRegister) -> Result<bool, LedgerError> {
        if self.log.size().0 == 0 {
            return Ok(true);
        }
        if !register.may_extend(self.shard) {
            return Ok(false);
        }
        let registered = Registered {
            checkpoint: self.checkpoint(),
            moments: self.moments.last(REGISTERED_MOMENTS)?,
        };
        register.register(self.shard, &registered)
    }

    fn is_prefix(&self, size: TreeSize, root: Hash) -> Result<(), LedgerError> {
        if size.0 == 0 || self.log.root_at(size)? == root {
            return Ok(());
        }
        let what = format!(
            "the registered map log has root {root} over {size} leaves, and this host's another: one of them was not \
             made from this record log. Nothing was signed"
        );
        Err(self.diverged(what))
    }

    fn diverged(&self, what: String) -> LedgerError {
        let shard = self.shard;
        self.refused(IncidentKind::Diverged, LedgerError::Diverged { shard, what })
    }

    fn await_it(&mut self, size: TreeSize, root: Hash, registered: &Registered) {
        if self.awaited.back().is_some_and(|known| known.size >= size) {
            // The same again; or the register went back, and what is awaited may never come.
            self.awaited.retain(|known| known.size < size);
        }
        let record = registered
            .moments
            .last()
            .map_or(TreeSize(u64::MAX), |last| last.size);
        // The oldest are reached first.
        self.awaited.truncate(AWAITED_MAX - 1);
        self.awaited.push_back(Awaited { size, root, record });
    }

    /// Makes the leaves up to the last registered checkpoint that the record log here reaches, and signs it if its root is
    /// the registered one. Gives the size of the map log then.
    fn catch_up_with(
        &mut self,
        register: &dyn MapRegister,
        registered: &Registered,
        size: TreeSize,
        course: &Course<'_>,
    ) -> Result<TreeSize, LedgerError> {
        let record = self.record()?;
        let reached = self
            .awaited
            .iter()
            .rev()
            .find(|one| one.record <= record.size())
            .copied();
        let Some(goal) = reached.filter(|goal| goal.size > self.log.size()) else {
            return Ok(self.log.size());
        };
        let mut source = Source {
            register,
            shard: self.shard,
            registered,
            first: size.0.saturating_sub(registered.moments.len() as u64),
            fetched: (0, Vec::new()),
        };
        while self.log.size() < goal.size {
            let moment = source.moment(self.log.size().0)?;
            self.add(&record, moment, course)?;
        }
        self.is_prefix(goal.size, goal.root)?;
        self.log.write()?;
        self.settle()?;
        self.awaited.retain(|one| one.size > goal.size);
        Ok(self.log.size())
    }
}
