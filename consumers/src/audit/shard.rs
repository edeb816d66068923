//! The audit of one shard: its two logs, opened under the policy, folded side by side and held to what was signed.
//!
//! In scope: the order of steps, taking up a saved fold and saving one, when to stop. Out of scope: the steps themselves.
//! Trust: the policy and the state folder.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sharetrail_proof::acceptance::LogState;
use sharetrail_proof::checkpoint::{VerifiedCheckpoint, log_origin, map_origin};
use sharetrail_proof::dossier::Base64;
use sharetrail_proof::entry::{Entry, Genesis};
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::map::EMPTY;
use sharetrail_proof::name::{Label, Name, Shard};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::registry::Registry;
use sharetrail_proof::tiles::FULL_WIDTH;
use sharetrail_proof::tree::CompactRange;

use super::chunk::{BUNDLES, Chunk, Keys};
use super::diagnose::{diagnose, rewritten};
use super::error::{AuditError, Halt};
use super::fault::{Fault, FaultKind, Faults, LogKind};
use super::fold::Fold;
use super::leaves::Leaves;
use super::mapped::Mapped;
use super::pipeline::in_order;
use super::report::Counts;
use super::source::Source;
use super::state::{RegistryLeaf, Saved, Seen, ShardState, StateFolder, Stood};
use super::tree::Tree;

/// How long nothing is saved at most, where map leaves allow it.
const SAVE_EVERY: Duration = Duration::from_secs(30);

/// What the audits of all shards share.
pub(crate) struct Job<'a> {
    pub(crate) source: &'a Source,
    pub(crate) policy: &'a Policy,
    pub(crate) state: &'a StateFolder,
    /// Unix seconds, when the audit began.
    pub(crate) now: u64,
    pub(crate) stop: &'a AtomicBool,
    /// Threads that read and hash for one shard.
    pub(crate) threads: usize,
    /// Leaves after which the fold is saved.
    pub(crate) save_after: u64,
    /// Leaves done, of how many.
    pub(crate) done: AtomicU64,
    pub(crate) total: AtomicU64,
    pub(crate) progress: &'a (dyn Fn(u64, u64) + Sync),
}

impl<'a> Job<'a> {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn moved_on(&self, leaves: u64) {
        let done = self.done.fetch_add(leaves, Ordering::AcqRel) + leaves;
        (self.progress)(done, self.total.load(Ordering::Acquire));
    }

    fn tree(&self, shard: u32, log: LogKind) -> Tree<'a> {
        Tree {
            source: self.source,
            shard,
            log,
        }
    }
}

/// The checkpoints of a shard, as far as the policy accepts them.
pub(crate) struct Opened {
    pub(crate) shard: Shard,
    pub(crate) record: Option<VerifiedCheckpoint>,
    /// With the note.
    pub(crate) map: Option<(String, VerifiedCheckpoint)>,
    pub(crate) faults: Faults,
}

/// Opens both checkpoints of a shard. The map log's first: its last leaf is then covered by the record log's checkpoint,
/// though the ledger be at work.
pub(crate) fn open(source: &Source, policy: &Policy, shard: Shard) -> Result<Opened, AuditError> {
    let mut opened = Opened {
        shard,
        record: None,
        map: None,
        faults: Faults::default(),
    };
    let tree = |log| Tree {
        source,
        shard: shard.index(),
        log,
    };
    if let Some(note) = tree(LogKind::Map).checkpoint()? {
        let origin = map_origin(policy.ledger(), shard);
        let checkpoint = opened.accept(policy, &note, &origin, LogKind::Map);
        opened.map = checkpoint.map(|checkpoint| (note, checkpoint));
    }
    let record = tree(LogKind::Record);
    let note = record.checkpoint()?.ok_or_else(|| AuditError::NotALedger {
        place: source.to_string(),
        path: record.checkpoint_path(),
    })?;
    opened.record = opened.accept(
        policy,
        &note,
        &log_origin(policy.ledger(), shard),
        LogKind::Record,
    );
    Ok(opened)
}

impl Opened {
    fn accept(
        &mut self,
        policy: &Policy,
        note: &str,
        origin: &str,
        log: LogKind,
    ) -> Option<VerifiedCheckpoint> {
        let why = match policy.open(note) {
            Ok(checkpoint) if checkpoint.checkpoint().origin == origin => return Some(checkpoint),
            Ok(checkpoint) => format!(
                "it is that of {}, not of {origin}",
                checkpoint.checkpoint().origin
            ),
            Err(error) => error.to_string(),
        };
        let what = format!("the checkpoint is not accepted: {why}");
        let fault = Fault::at(self.shard.index(), log, 0, FaultKind::Checkpoint, what);
        self.faults.add(fault);
        None
    }
}

/// What the audit of a shard came to.
pub(crate) struct Outcome {
    pub(crate) shard: Shard,
    pub(crate) counts: Counts,
    /// Leaves looked at in this run.
    pub(crate) checked: u64,
    pub(crate) record: Option<VerifiedCheckpoint>,
    pub(crate) map: Option<(String, VerifiedCheckpoint)>,
    pub(crate) mapped_at: Option<u64>,
    /// The root of the map as it was computed here, at the last map leaf.
    pub(crate) map_root: Hash,
    pub(crate) genesis: Option<Genesis>,
    pub(crate) registry: Vec<RegistryLeaf>,
    /// Who is in the registry.
    pub(crate) parties: Vec<Name>,
    /// The labels whose erasure is on record.
    pub(crate) erased: BTreeSet<Label>,
    pub(crate) faults: Faults,
    /// Whether it was told to stop.
    pub(crate) stopped: bool,
    /// Whether both logs were looked at to their ends.
    pub(crate) ended: bool,
}

/// Audits a shard.
pub(crate) fn audit(job: &Job<'_>, opened: Opened) -> Result<Outcome, AuditError> {
    let mut outcome = Outcome {
        shard: opened.shard,
        counts: Counts::default(),
        checked: 0,
        record: opened.record,
        map: opened.map,
        mapped_at: None,
        map_root: EMPTY,
        genesis: None,
        registry: Vec::new(),
        parties: Vec::new(),
        erased: BTreeSet::new(),
        faults: opened.faults,
        stopped: false,
        ended: false,
    };
    match outcome.run(job) {
        Ok(()) => outcome.ended = true,
        Err(Halt::Told) => {}
        Err(Halt::Stopped) => outcome.stopped = true,
        Err(Halt::Error(error)) => return Err(error),
    }
    Ok(outcome)
}

impl Outcome {
    fn tell(&mut self, log: LogKind, index: u64, kind: FaultKind, what: String) {
        let fault = Fault::at(self.shard.index(), log, index, kind, what);
        self.faults.add(fault);
    }

    fn run(&mut self, job: &Job<'_>) -> Result<(), Halt> {
        let Some(record) = self.record.clone() else {
            return Err(Halt::Told);
        };
        let kept = job.state.shard(self.shard.index())?;
        let seen = kept.seen()?;
        let map = self.map.as_ref().map(|(_, checkpoint)| checkpoint.clone());
        // A map log whose checkpoint is refused says nothing, neither of itself nor of what it was before.
        let map_counts = map.is_some() || self.faults.is_empty();
        let mut proven = [true; 2];
        if let Some(before) = &seen.record {
            proven[0] = self.extends(job, LogKind::Record, before, Some(&record))?;
        }
        if let Some(before) = seen.map.as_ref().filter(|_| map_counts) {
            proven[1] = self.extends(job, LogKind::Map, before, map.as_ref())?;
        }
        let (tree, saved) = kept.load()?;
        let keys = Keys::default();
        let (mut fold, ranges) = take_up(job.policy, self.shard, &keys, saved.as_ref());
        self.is_the_same(job, LogKind::Record, &ranges[0], Some(&record))?;
        if map_counts {
            self.is_the_same(job, LogKind::Map, &ranges[1], map.as_ref())?;
        }
        fold.range.clone_from(&ranges[0]);
        let size = map.as_ref().map_or(TreeSize(0), VerifiedCheckpoint::size);
        let [_, map_range] = ranges;
        let leaves = Leaves::new(job.tree(self.shard.index(), LogKind::Map), size, map_range);
        let origin = log_origin(job.policy.ledger(), self.shard);
        let passed = saved.as_ref().map(|saved| saved.passed).unwrap_or_default();
        let mut mapped = Mapped::new(self.shard.index(), origin, tree, leaves, passed, job.now);
        mapped.doubted = saved.map(|saved| saved.doubted).unwrap_or_default();
        let mut walk = Walk {
            job,
            shard: self.shard.index(),
            kept,
            end: record.size().0,
            since: fold.size(),
            saved_at: Instant::now(),
            committed: passed.size,
            fold,
            mapped,
        };
        let from = walk.fold.size();
        job.moved_on(from);
        let walked = walk
            .all(&record, &keys)
            .and_then(|()| walk.finish(&record, map.as_ref()));
        self.checked = walk.fold.size() - from;
        let ended = walked.and_then(|right| {
            walk.commit_map()?;
            // What was not shown to extend what was seen does not take its place: the next audit asks again.
            let right = Right {
                record: right.record.filter(|_| proven[0]),
                map: right.map.filter(|_| proven[1]),
            };
            Ok(walk.kept.set_seen(&Walk::seen(right, &seen))?)
        });
        self.take(walk);
        ended
    }

    /// Whether a log is shown to extend the one that an earlier audit saw; what is wrong is told.
    fn extends(
        &mut self,
        job: &Job<'_>,
        log: LogKind,
        before: &Stood,
        now: Option<&VerifiedCheckpoint>,
    ) -> Result<bool, Halt> {
        let size = now.map_or(0, |now| now.size().0);
        if size < before.size {
            let what = format!(
                "its checkpoint has {size} leaves, and {} were audited before",
                before.size
            );
            self.tell(log, size, FaultKind::RolledBack, what);
            return Err(Halt::Told);
        }
        let Some(now) = now else { return Ok(true) };
        let tree = job.tree(self.shard.index(), log);
        let then = (TreeSize(before.size), &before.root);
        match tree.extends(then, (now.size(), now.root()))? {
            Some(true) => Ok(true),
            Some(false) => {
                let (size, root) = (before.size, before.root);
                let what =
                    format!("its first {size} leaves had the root {root} when they were audited before");
                self.tell(log, size, FaultKind::Rewritten, what);
                Err(Halt::Told)
            }
            None => {
                let size = before.size;
                let what = format!(
                    "the tiles do not show that it extends the {size} leaves that were audited before"
                );
                self.tell(log, size, FaultKind::Tile, what);
                Ok(false)
            }
        }
    }

    /// Whether a log still begins with what was folded before.
    fn is_the_same(
        &mut self,
        job: &Job<'_>,
        log: LogKind,
        range: &CompactRange,
        now: Option<&VerifiedCheckpoint>,
    ) -> Result<(), Halt> {
        let size = now.map_or(0, |now| now.size().0);
        if size < range.size().0 {
            let what = format!(
                "its checkpoint has {size} leaves, and {} were audited before",
                range.size()
            );
            self.tell(log, size, FaultKind::RolledBack, what);
            return Err(Halt::Told);
        }
        let Some(now) = now else { return Ok(()) };
        let Some(index) = rewritten(job.tree(self.shard.index(), log), range, now.checkpoint())? else {
            return Ok(());
        };
        let what = format!(
            "what stands here is not what stood here when {} leaves were audited",
            range.size()
        );
        self.tell(log, index, FaultKind::Rewritten, what);
        Err(Halt::Told)
    }

    fn take(&mut self, walk: Walk<'_>) {
        let (fold, mapped) = (walk.fold, walk.mapped);
        self.counts = Counts {
            entries: fold.size(),
            events: fold.events,
            batches: fold.batches,
            labels: mapped.tree.labels(),
            map_leaves: mapped.leaves.range().size().0,
            unmapped: fold.size().saturating_sub(mapped.passed.size),
        };
        self.mapped_at = (mapped.passed.size > 0).then_some(mapped.passed.time);
        self.map_root = mapped.tree.root();
        let registry = fold.state.as_ref().map(LogState::registry);
        let parties = registry.into_iter().flat_map(Registry::parties);
        self.parties = parties.map(|(name, _)| name.clone()).collect();
        self.erased = fold
            .state
            .iter()
            .flat_map(LogState::erasures)
            .map(|(label, _)| label)
            .collect();
        (self.genesis, self.registry) = (fold.genesis, fold.registry);
        for fault in fold.faults.told {
            self.faults.add(fault);
        }
        self.faults.more += fold.faults.more;
    }
}

/// A fold that goes on from what was saved, and the trees over what it folded of the record log and of the map log.
fn take_up<'a>(
    policy: &'a Policy,
    shard: Shard,
    keys: &'a Keys,
    saved: Option<&Saved>,
) -> (Fold<'a>, [CompactRange; 2]) {
    let mut fold = Fold::new(shard, policy, keys);
    let range = |size, hashes: &[Hash]| CompactRange::from_parts(TreeSize(size), hashes.to_vec()).ok();
    let ranges = saved.and_then(|saved| {
        let record = range(saved.counts.entries, &saved.record)?;
        Some([record, range(saved.counts.map_leaves, &saved.map)?])
    });
    let (Some(saved), Some(ranges)) = (saved, ranges) else {
        return (fold, [CompactRange::new(), CompactRange::new()]);
    };
    let genesis = saved.genesis.as_ref().map(|bytes| Entry::parse(&bytes.0));
    if let Some(Ok(Entry::Genesis(genesis))) = genesis {
        fold.genesis = Some(*genesis);
    }
    if let Some(state) = &saved.state {
        keys.learn(state.registry());
    }
    fold.state.clone_from(&saved.state);
    fold.registry.clone_from(&saved.registry);
    fold.faults.clone_from(&saved.faults);
    (fold.events, fold.batches) = (saved.counts.events, saved.counts.batches);
    (fold, ranges)
}

/// Which of the two roots that were computed are the signed ones.
#[derive(Clone, Copy)]
struct Right {
    record: Option<Stood>,
    map: Option<Stood>,
}

/// Both logs of a shard on the way to their ends.
struct Walk<'a> {
    job: &'a Job<'a>,
    shard: u32,
    kept: ShardState,
    fold: Fold<'a>,
    mapped: Mapped<'a>,
    /// The size of the record log's checkpoint.
    end: u64,
    /// The size and the time of the last save.
    since: u64,
    saved_at: Instant,
    /// The record-log size of the map that was committed last.
    committed: u64,
}

impl Walk<'_> {
    /// Folds the record log to its end, and compares each map leaf on the way.
    fn all(&mut self, record: &VerifiedCheckpoint, keys: &Keys) -> Result<(), Halt> {
        let (job, size) = (self.job, record.size());
        let tree = job.tree(self.shard, LogKind::Record);
        let (from, width) = (self.fold.size(), u64::from(FULL_WIDTH));
        let first = from / width;
        let pieces = if from < size.0 {
            (size.0.div_ceil(width) - first).div_ceil(BUNDLES)
        } else {
            0
        };
        let read = |piece: u64| Chunk::read(tree, first + piece * BUNDLES, size, keys);
        in_order(job.threads, pieces, &read, |mut chunks| {
            chunks.try_for_each(|chunk| self.chunk(&chunk?))
        })
    }

    /// Folds a stretch.
    fn chunk(&mut self, chunk: &Chunk) -> Result<(), Halt> {
        let position = |index: u64| usize::try_from(index - chunk.first).unwrap_or(usize::MAX);
        let mut at = position(self.fold.size());
        let from = self.fold.size();
        while at < chunk.len() {
            let index = chunk.first + at as u64;
            let stop = self.mapped.next_stop(index, self.end, &mut self.fold.faults)?;
            let to = stop.map_or(chunk.len(), |stop| position(stop).min(chunk.len()));
            self.fold.take(chunk, at, to);
            if stop.is_some() {
                for at in at..to {
                    self.mapped.add(chunk.entry(at), chunk.leaves[at])?;
                }
            }
            at = to;
            if stop == Some(self.fold.size()) {
                self.compare()?;
            }
        }
        self.job.moved_on(self.fold.size() - from);
        if let Some(broken) = &chunk.broken {
            self.fold.tell(self.fold.size(), broken.kind, broken.what.clone());
            return Err(Halt::Told);
        }
        if self.job.is_stopped() {
            return Err(Halt::Stopped);
        }
        Ok(())
    }

    /// Compares a map leaf, and saves what was folded where that is due.
    fn compare(&mut self) -> Result<(), Halt> {
        let within_batch = self.fold.is_within_batch();
        self.mapped
            .compare(&self.fold.range, within_batch, &mut self.fold.faults)?;
        let (size, stopped) = (self.fold.size(), self.job.is_stopped());
        let is_last = matches!(self.mapped.leaves.peek()?, Ok(None));
        let is_due = size - self.since >= self.job.save_after || self.saved_at.elapsed() >= SAVE_EVERY;
        if !within_batch && (is_last || is_due || stopped) {
            self.save()?;
        }
        if stopped { Err(Halt::Stopped) } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), AuditError> {
        let (fold, mapped) = (&self.fold, &mut self.mapped);
        let saved = Saved {
            counts: Counts {
                entries: fold.size(),
                events: fold.events,
                batches: fold.batches,
                labels: mapped.tree.labels(),
                map_leaves: mapped.leaves.range().size().0,
                unmapped: 0,
            },
            record: fold.range.hashes().to_vec(),
            state: fold.state.clone(),
            genesis: fold.genesis.as_ref().map(|genesis| Base64(genesis.to_bytes())),
            registry: fold.registry.clone(),
            map: mapped.leaves.range().hashes().to_vec(),
            passed: mapped.passed,
            doubted: mapped.doubted.clone(),
            faults: fold.faults.clone(),
        };
        self.kept.save(&mut mapped.tree, &saved)?;
        (self.since, self.saved_at) = (saved.counts.entries, Instant::now());
        self.committed = mapped.passed.size;
        Ok(())
    }

    /// Makes the map at the last map leaf readable, though no fold could be saved there.
    fn commit_map(&mut self) -> Result<(), AuditError> {
        if self.committed != self.mapped.passed.size {
            self.mapped.tree.commit(&[])?;
        }
        Ok(())
    }

    /// Holds both trees to what was signed.
    fn finish(
        &mut self,
        record: &VerifiedCheckpoint,
        map: Option<&VerifiedCheckpoint>,
    ) -> Result<Right, Halt> {
        self.mapped.next_stop(self.end, self.end, &mut self.fold.faults)?;
        self.fold.end();
        let shard = self.shard;
        let record_tree = self.job.tree(shard, LogKind::Record);
        let ours = Stood {
            size: self.fold.size(),
            root: self.fold.range.root(),
        };
        if ours.size == 0 {
            self.fold
                .tell(0, FaultKind::Genesis, "there is no leaf 0, the genesis entry");
        }
        let record_is_right = ours.root == *record.root();
        if !record_is_right {
            let faults = &mut self.fold.faults;
            diagnose(
                record_tree,
                record.checkpoint(),
                &ours.root,
                self.job.stop,
                faults,
            )?;
        }
        for (index, size, root) in std::mem::take(&mut self.mapped.doubted) {
            // Entries that were altered give wrong roots behind them, which is no fault of the map log's.
            let excused = !record_is_right
                && record_tree.tiles_give(record.size(), record.root())?
                && record_tree.extends((size, &root), (record.size(), record.root()))? == Some(true);
            if !excused {
                let what = format!("the record log's first {size} leaves do not have the root {root}");
                let fault = Fault::at(shard, LogKind::Map, index, FaultKind::MapRecord, what);
                self.fold.faults.add(fault);
            }
        }
        let range = self.mapped.leaves.range();
        let map_ours = Stood {
            size: range.size().0,
            root: range.root(),
        };
        let map_is_right = map.is_some_and(|map| map_ours.root == *map.root());
        if let Some(map) = map.filter(|_| !map_is_right && !self.mapped.over) {
            let tree = self.job.tree(shard, LogKind::Map);
            let faults = &mut self.fold.faults;
            diagnose(tree, map.checkpoint(), &map_ours.root, self.job.stop, faults)?;
        }
        Ok(Right {
            record: record_is_right.then_some(ours),
            map: map_is_right.then_some(map_ours),
        })
    }

    /// What the next audit must find again: what is right now, or else what was right before.
    fn seen(right: Right, before: &Seen) -> Seen {
        Seen {
            record: right.record.or(before.record),
            map: right.map.or(before.map),
        }
    }
}
