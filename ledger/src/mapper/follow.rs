//! Several hosts, one map log: what is registered is made again here, and compared.
//!
//! In scope: folding to registered moments, bringing earlier ones, putting a register right that is behind. Nothing of it
//! is signed before it has the registered root, also where it is gone on with after a stop. Out of scope: how the
//! register is kept. Trust: moments from another host are nothing until the map log made from them has the
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

/// How a map log stands to what is registered of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    Level,
    /// It is behind, or another host is to put the register right.
    Behind,
    /// What was made was thrown away: the mapper is to be taken up anew.
    Forgotten,
}

/// Where missing moments come from: the register for the last ones, other hosts for those before.
pub(super) struct Source<'a> {
    register: &'a dyn MapRegister,
    shard: u32,
    /// Those that the register holds, and the leaf of the first of them.
    registered: (u64, Vec<Moment>),
    /// Moments from another host, and the leaf of the first of them.
    fetched: (u64, Vec<Moment>),
}

impl<'a> Source<'a> {
    /// Of the leaves below `goal`.
    pub(super) fn new(
        register: &'a dyn MapRegister,
        shard: u32,
        registered: Option<&Registered>,
        goal: u64,
    ) -> Self {
        let stated = registered.and_then(|one| stated(&one.checkpoint));
        let size = stated.map(|(size, _)| size.0);
        let registered = match (registered, size) {
            (Some(one), Some(size)) if size >= goal => {
                (size.saturating_sub(one.moments.len() as u64), one.moments.clone())
            }
            // The register is behind: whoever has these leaves is another host.
            _ => (goal, Vec::new()),
        };
        Self {
            register,
            shard,
            registered,
            fetched: (0, Vec::new()),
        }
    }

    /// The moment of a leaf. Nothing of it is certain.
    pub(super) fn moment(&mut self, index: u64) -> Result<Moment, LedgerError> {
        let (first, registered) = &self.registered;
        if let Some(at) = index.checked_sub(*first) {
            return self.at(registered, at, index);
        }
        let (from, moments) = &self.fetched;
        let is_here = index >= *from && index - from < moments.len() as u64;
        if !is_here {
            let to = (*first).min(index + FETCHED);
            self.fetched = (index, self.register.fetch(self.shard, index, to)?);
        }
        self.at(&self.fetched.1, index - self.fetched.0, index)
    }

    fn at(&self, moments: &[Moment], at: u64, index: u64) -> Result<Moment, LedgerError> {
        let moment = usize::try_from(at).ok().and_then(|at| moments.get(at));
        moment.copied().ok_or_else(|| LedgerError::Diverged {
            shard: self.shard,
            what: format!(
                "no host gave the moment of map leaf {index}. See that a host that has the map log is at work, and is \
                 reached from here"
            ),
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
        match self.follow(register, course)? {
            Stand::Level if register.may_extend(self.shard) => {
                self.extend(Some(register), pace, course, notices)
            }
            Stand::Level | Stand::Behind => Ok(Outcome::Level),
            Stand::Forgotten => Ok(Outcome::Overtaken),
        }
    }

    /// Takes over what is registered, as far as the record log here reaches.
    pub(super) fn follow(
        &mut self,
        register: &dyn MapRegister,
        course: &Course<'_>,
    ) -> Result<Stand, LedgerError> {
        let registered = register.registered(self.shard)?;
        let known = registered.as_ref().and_then(|one| stated(&one.checkpoint));
        let size = known.map_or(TreeSize(0), |(size, _)| size);
        if self.undecided && size < self.log.size() {
            return Ok(self.went_back(register));
        }
        let Some(registered) = registered else {
            return self.put_back(register);
        };
        let Some((size, root)) = stated(&registered.checkpoint) else {
            let what = "what is registered of the map log is no checkpoint. The host that leads the shard registers it \
                        again when it adds a root";
            return Err(self.diverged(what.into()));
        };
        if size < self.log.size() || (size == self.log.size() && !self.undecided) {
            self.is_prefix(size, root)?;
            return if size == self.log.size() {
                Ok(Stand::Level)
            } else {
                self.put_back(register)
            };
        }
        self.await_it(size, root, &registered);
        self.catch_up_with(register, &registered, course)?;
        Ok(if self.log.size() == size && !self.undecided {
            Stand::Level
        } else {
            Stand::Behind
        })
    }

    /// The register went back behind leaves that were made here and are not decided on. Who leads the shard must put it
    /// right with what was, and so makes do without them; all others wait.
    fn went_back(&mut self, register: &dyn MapRegister) -> Stand {
        if !register.may_extend(self.shard) {
            return Stand::Behind;
        }
        self.forget_undecided();
        Stand::Forgotten
    }

    /// Registers this host's map log where nothing or less is registered, if it leads.
    fn put_back(&self, register: &dyn MapRegister) -> Result<Stand, LedgerError> {
        if self.log.size().0 == 0 {
            return Ok(Stand::Level);
        }
        if !register.may_extend(self.shard) {
            return Ok(Stand::Behind);
        }
        let registered = Registered {
            checkpoint: self.checkpoint(),
            moments: self.moments.last(REGISTERED_MOMENTS)?,
        };
        Ok(if register.register(self.shard, &registered)? {
            Stand::Level
        } else {
            Stand::Behind
        })
    }

    fn is_prefix(&self, size: TreeSize, root: Hash) -> Result<(), LedgerError> {
        if size.0 == 0 || self.log.root_at(size)? == root {
            return Ok(());
        }
        let what = format!(
            "the registered map log has root {root} over {size} leaves, and this host's another: one of them was not \
             made from this record log. Nothing was signed. Run `sharetrail rebuild` on each host: where it finds a leaf \
             that the record log does not give, bring that host's folder back with `sharetrail restore --from COPY`"
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
    /// the registered one.
    fn catch_up_with(
        &mut self,
        register: &dyn MapRegister,
        registered: &Registered,
        course: &Course<'_>,
    ) -> Result<(), LedgerError> {
        let record = self.record()?;
        let reached = self
            .awaited
            .iter()
            .rev()
            .find(|one| one.record <= record.size())
            .copied();
        let is_ahead =
            |goal: &Awaited| goal.size > self.log.size() || (goal.size == self.log.size() && self.undecided);
        let Some(goal) = reached.filter(is_ahead) else {
            return Ok(());
        };
        let last = stated(&registered.checkpoint).map_or(goal.size, |(size, _)| size);
        let mut source = Source::new(register, self.shard, Some(registered), last.0);
        while self.log.size() < goal.size {
            let moment = source.moment(self.log.size().0)?;
            self.add(&record, moment, course)?;
            self.keep()?;
        }
        if let Err(error) = self.is_prefix(goal.size, goal.root) {
            self.forget_undecided();
            return Err(error);
        }
        self.finish()?;
        self.settle()?;
        self.awaited.retain(|one| one.size > goal.size);
        Ok(())
    }
}
