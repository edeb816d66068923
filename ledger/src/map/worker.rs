//! Building a new version of the trie from an old one, on several threads.
//!
//! In scope: one descent that reads each touched page once and writes it once; copying what is live; the threads, one
//! page file each. Out of scope: what becomes of the new version ([`super::tree`]). Trust: pages are checked as they are
//! read.

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::map::{subtree_root, subtree_roots};
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::CompactRange;

use super::BUCKET_LABELS;
use super::bucket::{self, Leaves};
use super::node::{self, Child, Children, Kind, STEP, WIDTH, parts};
use super::pages::{PageWriter, Pages};
use crate::error::LedgerError;

/// A further leaf of a label.
pub(super) type Update = (Label, LeafHash);

/// From so many new leaves of one label on, they are hashed level by level.
const LONG_RUN: usize = 8;
/// How often what workers wrote is sent to the disk while they work on.
const SYNC_EVERY: Duration = Duration::from_millis(200);

/// Writes subtrees to one page file.
#[derive(Debug)]
pub(super) struct Worker<'a> {
    pages: &'a Pages,
    out: PageWriter<'a>,
    page: Vec<u8>,
    body: Vec<u8>,
    leaves: Leaves,
    /// Room that was used before.
    spare: Vec<Leaves>,
    written: u64,
    superseded: u64,
}

impl Worker<'_> {
    /// The subtree with these updates, which are sorted by label.
    fn update(&mut self, depth: usize, old: &Child, updates: &[Update]) -> Result<Child, LedgerError> {
        if updates.is_empty() {
            return Ok(*old);
        }
        self.superseded += old.at.length();
        if old.kind == Kind::Node {
            let mut children = node::read(self.pages, old, &mut self.page)?;
            self.update_children(depth + STEP, &mut children, updates, parts(updates, depth))?;
            return self.write_node(&children);
        }
        self.merge(old, updates)?;
        let leaves = self.settled();
        let new = self.build(depth, &leaves, 0..leaves.len());
        self.leaves = leaves;
        new
    }

    /// The subtrees of a node. Its buckets are put together first and hashed then, all side by side.
    fn update_children(
        &mut self,
        depth: usize,
        children: &mut Children,
        updates: &[Update],
        parts: [Range<usize>; WIDTH],
    ) -> Result<(), LedgerError> {
        let (mut places, mut buckets) = (Vec::new(), Vec::new());
        for (place, part) in parts.into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            let child = children[place];
            if child.kind == Kind::Node {
                children[place] = self.update(depth, &child, &updates[part])?;
                continue;
            }
            self.superseded += child.at.length();
            self.merge(&child, &updates[part])?;
            if self.leaves.len() > BUCKET_LABELS {
                let leaves = self.settled();
                children[place] = self.build(depth, &leaves, 0..leaves.len())?;
                self.leaves = leaves;
            } else {
                places.push(place);
                let spare = self.spare.pop().unwrap_or_default();
                buckets.push(std::mem::replace(&mut self.leaves, spare));
            }
        }
        Leaves::settle(&mut buckets);
        let all: Vec<_> = buckets
            .iter()
            .map(|leaves| (depth, leaves.hashes(0..leaves.len())))
            .collect();
        let roots = subtree_roots(&all);
        for ((place, leaves), root) in places.into_iter().zip(buckets).zip(roots) {
            children[place] = self.write_known_bucket(&leaves, 0..leaves.len(), root)?;
            self.spare.push(leaves);
        }
        Ok(())
    }

    /// Takes what was merged, with all its leaf hashes.
    fn settled(&mut self) -> Leaves {
        let mut leaves = [std::mem::take(&mut self.leaves)];
        Leaves::settle(&mut leaves);
        let [leaves] = leaves;
        leaves
    }

    /// Lays what a bucket holds, if it is not empty, and the updates into `self.leaves`.
    fn merge(&mut self, old: &Child, updates: &[Update]) -> Result<(), LedgerError> {
        self.leaves.clear();
        let records = match old.kind {
            Kind::Bucket => bucket::read(self.pages, old, &mut self.page)?,
            _ => Vec::new(),
        };
        let mut records = records.into_iter().peekable();
        for run in updates.chunk_by(|one, next| one.0 == next.0) {
            let label = run[0].0;
            while let Some(before) = records.next_if(|record| record.label < label) {
                self.leaves.keep(&before);
            }
            let mut range = match records.next_if(|record| record.label == label) {
                Some(record) => record
                    .range()
                    .ok_or_else(|| self.pages.damaged(old.at, "a label's leaves cannot be counted"))?,
                None => CompactRange::new(),
            };
            extend(&mut range, run);
            self.leaves.push(label, &range);
        }
        for after in records {
            self.leaves.keep(&after);
        }
        Ok(())
    }

    /// Writes a subtree that is wholly new.
    fn build(&mut self, depth: usize, leaves: &Leaves, run: Range<usize>) -> Result<Child, LedgerError> {
        if run.is_empty() {
            return Ok(Child::EMPTY);
        }
        if run.len() <= BUCKET_LABELS {
            return self.write_bucket(depth, leaves, run);
        }
        let mut children = [Child::EMPTY; WIDTH];
        let parts = parts(leaves.hashes(run.clone()), depth);
        for (child, part) in children.iter_mut().zip(parts) {
            *child = self.build(depth + STEP, leaves, within(&run, &part))?;
        }
        self.write_node(&children)
    }

    fn write_bucket(
        &mut self,
        depth: usize,
        leaves: &Leaves,
        run: Range<usize>,
    ) -> Result<Child, LedgerError> {
        let root = subtree_root(depth, leaves.hashes(run.clone()));
        self.write_known_bucket(leaves, run, root)
    }

    fn write_known_bucket(
        &mut self,
        leaves: &Leaves,
        run: Range<usize>,
        root: Hash,
    ) -> Result<Child, LedgerError> {
        let labels = run.len() as u64;
        let at = self.out.append(leaves.body(run), &root)?;
        self.written += at.length();
        Ok(Child {
            kind: Kind::Bucket,
            labels,
            root,
            at,
        })
    }

    fn write_node(&mut self, children: &Children) -> Result<Child, LedgerError> {
        let (labels, root) = node::fold(children);
        self.write_known_node(children, labels, root)
    }

    fn write_known_node(
        &mut self,
        children: &Children,
        labels: u64,
        root: Hash,
    ) -> Result<Child, LedgerError> {
        node::encode(children, &mut self.body);
        let at = self.out.append(&self.body, &root)?;
        self.written += at.length();
        Ok(Child {
            kind: Kind::Node,
            labels,
            root,
            at,
        })
    }

    /// Copies a subtree page by page, in the order of the labels.
    fn copy(&mut self, old: &Child) -> Result<Child, LedgerError> {
        match old.kind {
            Kind::Empty => Ok(*old),
            Kind::Bucket => {
                self.pages.read(old.at, &old.root, &mut self.page)?;
                let at = self.out.append(&self.page, &old.root)?;
                self.written += at.length();
                Ok(Child { at, ..*old })
            }
            Kind::Node => {
                let mut children = node::read(self.pages, old, &mut self.page)?;
                for child in &mut children {
                    *child = self.copy(child)?;
                }
                self.write_known_node(&children, old.labels, old.root)
            }
        }
    }
}

fn within(run: &Range<usize>, part: &Range<usize>) -> Range<usize> {
    run.start + part.start..run.start + part.end
}

fn extend(range: &mut CompactRange, run: &[Update]) {
    if run.len() < LONG_RUN {
        for (_, leaf) in run {
            range.push(*leaf);
        }
        return;
    }
    let leaves: Vec<LeafHash> = run.iter().map(|(_, leaf)| *leaf).collect();
    range.extend_with(&leaves, &mut |_, _, _| {});
}

/// What a crew wrote.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) root: Child,
    /// Where the files end now, those that it wrote to.
    pub(super) ends: Vec<u64>,
    /// Bytes of new pages.
    pub(super) added: u64,
    /// Bytes of old pages that the new version does not use.
    pub(super) superseded: u64,
}

/// Some workers, which share out the subtrees under the root.
#[derive(Debug)]
pub(super) struct Crew<'a> {
    workers: Vec<Worker<'a>>,
    out: &'a Pages,
}

/// Subtrees that a worker made, by their place under the root.
type Made = Result<Vec<(usize, Child)>, LedgerError>;

impl<'a> Crew<'a> {
    /// Reads `pages` and writes to the first `count` files of `out`, which are there.
    pub(super) fn new(pages: &'a Pages, out: &'a Pages, count: usize) -> Self {
        let workers = (0..count).map(|number| Worker {
            pages,
            out: out.writer(number),
            page: Vec::new(),
            body: Vec::new(),
            leaves: Leaves::default(),
            spare: Vec::new(),
            written: 0,
            superseded: 0,
        });
        Self {
            workers: workers.collect(),
            out,
        }
    }

    /// Writes the version with these updates, which are sorted by label.
    pub(super) fn update(mut self, old: &Child, updates: &[Update]) -> Result<Written, LedgerError> {
        let first = &mut self.workers[0];
        let root = if old.kind == Kind::Node {
            let children = node::read(first.pages, old, &mut first.page)?;
            first.superseded += old.at.length();
            let parts = parts(updates, 0);
            let children = self.share(&|worker, nibble| {
                worker.update(STEP, &children[nibble], &updates[parts[nibble].clone()])
            })?;
            self.workers[0].write_node(&children)?
        } else {
            first.merge(old, updates)?;
            first.superseded += old.at.length();
            let leaves = first.settled();
            if leaves.len() <= BUCKET_LABELS {
                first.build(0, &leaves, 0..leaves.len())?
            } else {
                let parts = parts(leaves.hashes(0..leaves.len()), 0);
                let children =
                    self.share(&|worker, nibble| worker.build(STEP, &leaves, parts[nibble].clone()))?;
                self.workers[0].write_node(&children)?
            }
        };
        self.finish(root)
    }

    /// Copies all pages that a version uses.
    pub(super) fn copy(mut self, old: &Child) -> Result<Written, LedgerError> {
        let first = &mut self.workers[0];
        let root = if old.kind == Kind::Node {
            let children = node::read(first.pages, old, &mut first.page)?;
            let children = self.share(&|worker, nibble| worker.copy(&children[nibble]))?;
            self.workers[0].write_known_node(&children, old.labels, old.root)?
        } else {
            first.copy(old)?
        };
        self.finish(root)
    }

    /// Has each subtree under the root made by whichever worker is free.
    fn share(
        &mut self,
        job: &(impl Fn(&mut Worker<'a>, usize) -> Result<Child, LedgerError> + Sync),
    ) -> Result<Children, LedgerError> {
        let next = AtomicUsize::new(0);
        let work = |worker: &mut Worker<'a>| -> Made {
            let mut made = Vec::new();
            loop {
                let nibble = next.fetch_add(1, Ordering::Relaxed);
                if nibble >= WIDTH {
                    return Ok(made);
                }
                made.push((nibble, job(worker, nibble)?));
            }
        };
        let made = if let [alone] = self.workers.as_mut_slice() {
            vec![work(alone)]
        } else {
            at_once(self.out, &mut self.workers, &work)?
        };
        let mut children = [Child::EMPTY; WIDTH];
        for made in made {
            for (nibble, child) in made? {
                children[nibble] = child;
            }
        }
        Ok(children)
    }

    fn finish(mut self, root: Child) -> Result<Written, LedgerError> {
        let ends: Result<Vec<u64>, LedgerError> =
            self.workers.iter_mut().map(|worker| worker.out.flush()).collect();
        Ok(Written {
            root,
            ends: ends?,
            added: self.workers.iter().map(|worker| worker.written).sum(),
            superseded: self.workers.iter().map(|worker| worker.superseded).sum(),
        })
    }
}

/// Has all workers work at once. A batch may write hundreds of MiB: they go to the disk meanwhile, so that the commit
/// does not wait for all of them.
fn at_once<'a>(
    out: &Pages,
    workers: &mut [Worker<'a>],
    work: &(impl Fn(&mut Worker<'a>) -> Made + Sync),
) -> Result<Vec<Made>, LedgerError> {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let syncing = scope.spawn(|| sync_until(&done, out));
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        // All are joined before a panic goes on: else the thread that syncs would never be told to end.
        let made: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        syncing.thread().unpark();
        outcome(syncing.join())?;
        Ok(made.into_iter().map(outcome).collect())
    })
}

fn outcome<T>(joined: thread::Result<T>) -> T {
    match joined {
        Ok(outcome) => outcome,
        Err(panic) => resume_unwind(panic),
    }
}

fn sync_until(done: &AtomicBool, out: &Pages) -> Result<(), LedgerError> {
    loop {
        thread::park_timeout(SYNC_EVERY);
        if done.load(Ordering::Relaxed) {
            return Ok(());
        }
        out.sync_written()?;
    }
}
