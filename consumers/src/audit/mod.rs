//! The audit: a whole ledger checked from nothing but the files that everybody can have, and a policy.
//!
//! For each shard, side by side: both checkpoints opened under the policy, every entry hashed into the record log's tree,
//! every batch judged by the rules of acceptance, the customer map computed again and held to each leaf of the map log.
//! Then the shards are held to each other. What is found are [`Fault`]s, with shard, log, index and kind; behind a fault
//! the audit goes on where it can. Who finds none may cosign the map logs' checkpoints ([`Audit::cosign`]).
//!
//! In scope: that, going on from a state folder, samples, dossiers made for them. Out of scope: sealed contents, and
//! anything else that is not public. Memory: a few stretches of each log that is read at a time, one batch of map updates,
//! and what the rules of acceptance need (chains, keys, erased labels); the map lies on disk.
//! Trust: the policy wholly, the state folder as the program itself; nothing in the files.

mod across;
mod chunk;
mod cosigned;
mod diagnose;
mod dossiers;
mod error;
mod fault;
mod fold;
mod leaves;
mod mapped;
mod pipeline;
mod report;
mod sample;
mod shard;
mod source;
mod state;
mod tree;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use sharetrail_ledger::map::MapSnapshot;
use sharetrail_proof::checkpoint::{VerifiedCheckpoint, log_origin, map_origin};
use sharetrail_proof::entry::party_label;
use sharetrail_proof::name::{Label, Name, Shard};
use sharetrail_proof::note::Cosigner;
use sharetrail_proof::policy::Policy;

use self::shard::{Job, Opened, Outcome};
use self::state::{Drawn, StateFolder};

pub use self::error::AuditError;
pub use self::fault::{Fault, FaultKind, LogKind};
pub use self::report::{AuditReport, CheckpointReport, Counts, ShardReport};
pub use self::sample::Sampled;
pub use self::source::Source;

/// How an audit is run.
pub struct AuditOptions<'a> {
    /// Where it keeps what it goes on from; a new or empty folder begins anew.
    pub state: &'a Path,
    /// Unix seconds: what was put on record just now may still be on its way to all shards, and no map is of later.
    pub now: u64,
    /// Ends the audit soon after it is set.
    pub stop: &'a AtomicBool,
    /// Told now and then: leaves of the record logs that are done, of how many.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// Leaves of a shard after which it is saved how far the audit is.
    pub save_after: u64,
}

impl<'a> AuditOptions<'a> {
    /// Saves every two million leaves.
    pub fn new(
        state: &'a Path,
        now: u64,
        stop: &'a AtomicBool,
        progress: &'a (dyn Fn(u64, u64) + Sync),
    ) -> Self {
        Self {
            state,
            now,
            stop,
            progress,
            save_after: 2_000_000,
        }
    }
}

/// A finished audit, or one that was told to stop.
pub struct Audit<'a> {
    source: &'a Source,
    policy: &'a Policy,
    state: StateFolder,
    outcomes: Vec<Outcome>,
    report: AuditReport,
}

/// Audits the ledger of a policy.
///
/// # Errors
/// If it could not be done; faults of the ledger are no error, see [`Audit::report`].
pub fn audit<'a>(
    source: &'a Source,
    policy: &'a Policy,
    options: &AuditOptions<'_>,
) -> Result<Audit<'a>, AuditError> {
    let shards = shards_of(policy)?;
    let count = u32::try_from(shards.len()).unwrap_or(u32::MAX);
    let state = StateFolder::open(options.state, policy.ledger(), *policy.ledger_id(), count)?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let readers = source.readers(cores);
    let opened = open_all(source, policy, &shards, readers)?;
    let lanes = cores.min(shards.len()).max(1);
    let sizes = opened
        .iter()
        .filter_map(|one| Some(one.record.as_ref()?.size().0));
    let job = Job {
        source,
        policy,
        state: &state,
        now: options.now,
        stop: options.stop,
        threads: readers.div_ceil(lanes),
        save_after: options.save_after,
        done: AtomicU64::new(0),
        // A lying checkpoint may have any size.
        total: AtomicU64::new(sizes.fold(0, u64::saturating_add)),
        progress: options.progress,
    };
    let mut outcomes = audit_all(&job, opened, lanes)?;
    let on_its_way = if outcomes.iter().any(|one| one.stopped) {
        Vec::new()
    } else {
        across::compare(&mut outcomes, options.now)
    };
    let report = report_of(policy, &outcomes, on_its_way);
    Ok(Audit {
        source,
        policy,
        state,
        outcomes,
        report,
    })
}

/// The shards whose logs the policy names: all of some number, each with both logs.
fn shards_of(policy: &Policy) -> Result<Vec<Shard>, AuditError> {
    let prefix = format!("{}/log/", policy.ledger());
    let of_log = |origin: &str| origin.strip_prefix(&prefix)?.parse::<Shard>().ok();
    let named: Vec<Shard> = policy.logs().filter_map(|key| of_log(key.name())).collect();
    let Some(first) = named.first() else {
        return Err(AuditError::Policy(format!("names no log {prefix}…")));
    };
    let shards: Vec<Shard> = Shard::all(first.count()).collect();
    for shard in &shards {
        for origin in [
            log_origin(policy.ledger(), *shard),
            map_origin(policy.ledger(), *shard),
        ] {
            if policy.log_key(&origin).is_none() {
                return Err(AuditError::Policy(format!("does not name the log {origin}")));
            }
        }
    }
    if named.len() == shards.len() {
        Ok(shards)
    } else {
        Err(AuditError::Policy(
            "names logs of different numbers of shards".into(),
        ))
    }
}

/// Opens the checkpoints of all shards as nearly at once as can be.
fn open_all(
    source: &Source,
    policy: &Policy,
    shards: &[Shard],
    readers: usize,
) -> Result<Vec<Opened>, AuditError> {
    let open = |number: u64| {
        let shard = usize::try_from(number).ok().and_then(|at| shards.get(at));
        shard.map(|shard| shard::open(source, policy, *shard))
    };
    pipeline::in_order(readers, shards.len() as u64, &open, |opened| {
        opened.flatten().collect()
    })
}

/// Audits all shards, as many at once as there are lanes. The first error ends all of it.
fn audit_all(job: &Job<'_>, opened: Vec<Opened>, lanes: usize) -> Result<Vec<Outcome>, AuditError> {
    let count = opened.len();
    let waiting: Vec<Mutex<Option<Opened>>> = opened.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let done: Vec<Mutex<Option<Result<Outcome, AuditError>>>> =
        (0..count).map(|_| Mutex::new(None)).collect();
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let lane = || {
        while let Some(turn) = waiting.get(next.fetch_add(1, Ordering::AcqRel)) {
            let Some(opened) = held(turn).take() else { continue };
            if failed.load(Ordering::Acquire) {
                continue;
            }
            let number = opened.shard.index() as usize;
            let outcome = shard::audit(job, opened);
            failed.fetch_or(outcome.is_err(), Ordering::AcqRel);
            if let Some(place) = done.get(number) {
                *held(place) = Some(outcome);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(lane);
        }
    });
    let done = done
        .into_iter()
        .map(|one| one.into_inner().unwrap_or_else(PoisonError::into_inner));
    // Where a shard was not begun, another one failed, and its error comes out.
    let (mut outcomes, mut errors) = (Vec::new(), Vec::new());
    for one in done.flatten() {
        match one {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => errors.push(error),
        }
    }
    match errors.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(outcomes),
    }
}

fn held<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn report_of(policy: &Policy, outcomes: &[Outcome], on_its_way: Vec<u32>) -> AuditReport {
    let mut report = AuditReport {
        ledger: policy.ledger().clone(),
        id: *policy.ledger_id(),
        interrupted: outcomes.iter().any(|one| one.stopped),
        counts: Counts::default(),
        checked: 0,
        shards: Vec::new(),
        faults: Vec::new(),
        more_faults: 0,
        on_its_way,
    };
    for one in outcomes {
        report.counts.add(&one.counts);
        report.checked += one.checked;
        report.faults.extend(one.faults.told.iter().cloned());
        report.more_faults += one.faults.more;
        report.shards.push(ShardReport {
            shard: one.shard.index(),
            counts: one.counts,
            record: one.record.as_ref().map(CheckpointReport::of),
            map: one.map.as_ref().map(|(_, map)| CheckpointReport::of(map)),
            mapped_at: one.mapped_at,
        });
    }
    report
}

impl Audit<'_> {
    /// What was looked at, and what is wrong.
    pub fn report(&self) -> &AuditReport {
        &self.report
    }

    /// The checkpoint of a log that was audited to its end.
    fn checkpoint(&self, log: LogKind, shard: u32) -> Option<&VerifiedCheckpoint> {
        let mut outcomes = self.outcomes.iter();
        let outcome = outcomes.find(|one| one.shard.index() == shard && one.ended)?;
        match log {
            LogKind::Record => outcome.record.as_ref(),
            LogKind::Map => outcome.map.as_ref().map(|(_, map)| map),
        }
    }

    /// Cosigns the checkpoint of each map log: whoever believes the key may believe that the maps were computed again. By
    /// shard, the whole note; a shard without a map log has none.
    ///
    /// `time`: now, in Unix seconds. `earlier`: the notes of a shard's map log that were cosigned before. What this key
    /// cosigned must be extended: where it is not, the faults are added to the report, and nothing is cosigned. Otherwise
    /// the first of them that is of the same checkpoint is added to.
    ///
    /// # Errors
    /// [`AuditError::NotClean`] unless all shards were audited to their ends, nothing is wrong, and nothing is on its way.
    pub fn cosign(
        &mut self,
        cosigner: &Cosigner,
        time: u64,
        earlier: &dyn Fn(u32) -> Vec<String>,
    ) -> Result<Vec<(u32, String)>, AuditError> {
        if self.report.interrupted {
            return Err(AuditError::NotClean("the audit was interrupted"));
        }
        if !self.report.is_clean() {
            return Err(AuditError::NotClean("there are faults"));
        }
        if !self.report.on_its_way.is_empty() {
            return Err(AuditError::NotClean(
                "a registry entry may be on its way to a shard; audit again in ten minutes",
            ));
        }
        let (mut cosigned, mut faults) = (Vec::new(), Vec::<Fault>::new());
        for outcome in &self.outcomes {
            let shard = outcome.shard.index();
            let origin = map_origin(self.policy.ledger(), outcome.shard);
            let notes = earlier(shard);
            for note in &notes {
                let fault = cosigned::fault(self.source, outcome, &origin, cosigner.verifier(), note)?;
                faults.extend(fault.filter(|fault| !faults.contains(fault)));
            }
            let Some((note, _)) = &outcome.map else { continue };
            // Only what the policy accepts is built upon; a wrong cosignature beside would spoil the note.
            let mut others = notes.iter();
            let others = others
                .find(|other| cosigned::is_of_the_same_text(note, other) && self.policy.open(other).is_ok());
            cosigned.push((shard, cosigner.cosign(others.unwrap_or(note), time)?));
        }
        if !faults.is_empty() {
            self.report.faults.extend(faults);
            cosigned.clear();
        }
        Ok(cosigned)
    }

    /// Draws `count` labels by lot. With the same state folder, count and seed it is the sample that was drawn first,
    /// though the ledger has grown since; otherwise it follows from the seed and the maps' roots.
    ///
    /// # Errors
    /// [`AuditError::Sample`] if there are no labels, or a map was not computed to its end.
    pub fn sample(&self, count: u64, seed: &str) -> Result<Vec<Sampled>, AuditError> {
        let name = sample::name_of(count, seed);
        let drawn = if let Some(drawn) = self.state.sample(&name)? {
            drawn
        } else {
            let drawn = self.draw(count, seed)?;
            self.state.keep_sample(&name, &drawn)?;
            drawn
        };
        let parties = self.parties();
        let sampled = drawn.into_iter().map(|one| Sampled {
            party: parties
                .iter()
                .find(|(label, _)| *label == one.label)
                .map(|(_, name)| name.clone()),
            erased: self.outcomes.iter().any(|of| of.erased.contains(&one.label)),
            label: one.label,
            shard: one.shard,
            count: one.count,
            rank: one.rank,
        });
        Ok(sampled.collect())
    }

    fn draw(&self, count: u64, seed: &str) -> Result<Vec<Drawn>, AuditError> {
        let unfinished = "a map was not computed to its end";
        if !self.outcomes.iter().all(|one| one.ended) {
            return Err(AuditError::Sample(unfinished));
        }
        let total = self.report.counts.labels;
        if total == 0 {
            return Err(AuditError::Sample("there are no labels"));
        }
        let mut maps = Vec::new();
        for one in &self.outcomes {
            let folder = self.state.shard(one.shard.index())?.map_folder();
            let map = MapSnapshot::open(&folder)?.filter(|map| map.root() == one.map_root);
            if map.is_none() && one.counts.labels > 0 {
                return Err(AuditError::Sample(unfinished));
            }
            maps.push((one.shard.index(), map));
        }
        let roots: Vec<_> = self.outcomes.iter().map(|one| one.map_root).collect();
        let mut drawn = Vec::new();
        for rank in sample::ranks(count, total, seed, &roots) {
            drawn.push(find(&maps, rank)?.ok_or(AuditError::Sample(unfinished))?);
        }
        Ok(drawn)
    }

    /// The labels of all parties, in whatever shard.
    fn parties(&self) -> Vec<(Label, Name)> {
        let states = self.outcomes.iter().flat_map(|one| &one.parties);
        let mut parties: Vec<_> = states.map(|name| (party_label(name), name.clone())).collect();
        parties.sort();
        parties.dedup();
        parties
    }

    /// Checks every file of a folder as a dossier: that it verifies under the policy, that it is of the audited history,
    /// and that each customer of the sample is shown by one. The faults are added to the report; the number of files.
    pub fn check_dossiers(&mut self, folder: &Path, sample: &[Sampled]) -> Result<u64, AuditError> {
        let (faults, count) = dossiers::check(self, folder, sample)?;
        self.report.faults.extend(faults);
        Ok(count)
    }
}

/// The label of a rank among those of all shards.
fn find(maps: &[(u32, Option<MapSnapshot>)], rank: u64) -> Result<Option<Drawn>, AuditError> {
    let mut within = rank;
    for (shard, map) in maps {
        let Some(map) = map else { continue };
        if within >= map.labels() {
            within -= map.labels();
            continue;
        }
        let found = map.nth(within)?;
        return Ok(found.map(|(label, value)| Drawn {
            rank,
            shard: *shard,
            label,
            count: value.count,
        }));
    }
    Ok(None)
}
