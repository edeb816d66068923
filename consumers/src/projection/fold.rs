//! Folding a shard's log into rows, chunk by chunk.
//!
//! A row a leaf would be one insert a leaf; a row a label and chunk is one insert for all of the label's
//! leaves in 16,384. A chunk is always folded whole, from its first leaf: what is there of it already is
//! overwritten by itself or by more, so a fold that was cut short is repeated without harm. The cursor is
//! written after a flush of the rows it covers.
//!
//! In scope: reading leaves in order, writing rows and cursors. Out of scope: which store, and when to start
//! anew. At most one chunk is in memory. Trust: the log's leaves under its checkpoint; nothing of the store
//! but its cursor's size, which the caller has checked.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use sharetrail_ledger::Reader;
use sharetrail_proof::batch::MAX_BATCH_ENTRIES;
use sharetrail_proof::entry::{BATCH, Entry};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::Label;

use super::row::{
    CHUNK_LEAVES, Cursor, LEAF_KEY_BYTES, Spot, cursor_key, encode_cursor, encode_spots, leaf_key,
};
use crate::error::ConsumerError;
use crate::store::Store;

/// An entry's batch entry stands at most this many leaves before it: a fold that starts within a batch begins
/// to read there, and need not trust a note about it.
const LOOKBACK_LEAVES: u64 = MAX_BATCH_ENTRIES as u64;

/// A flush every so many chunks: often enough that a fold cut short repeats a few seconds of work.
const CHUNKS_A_FLUSH: u64 = 16;

/// The leaves of one shard, pinned at one size.
pub(super) trait Leaves {
    /// The shard's number.
    fn shard_number(&self) -> u32;
    /// How many leaves there are.
    fn count(&self) -> u64;
    /// The root over the first `size` leaves.
    fn root(&self, size: u64) -> Result<Hash, ConsumerError>;
    /// Shows entries in order, from leaf `from` on, until `visit` breaks.
    fn each(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ConsumerError>;
}

impl Leaves for Reader {
    fn shard_number(&self) -> u32 {
        self.shard()
    }

    fn count(&self) -> u64 {
        self.size().0
    }

    fn root(&self, size: u64) -> Result<Hash, ConsumerError> {
        Ok(self.root_at(TreeSize(size))?)
    }

    fn each(
        &self,
        from: u64,
        visit: &mut dyn FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), ConsumerError> {
        self.scan(LeafIndex(from), &mut |index, entry, _| visit(index.0, entry))?;
        Ok(())
    }
}

/// Folds what `leaves` has beyond `folded`, and tells `told` and `folded` the size after each chunk.
pub(super) fn fold(
    leaves: &dyn Leaves,
    store: &dyn Store,
    folded: &AtomicU64,
    told: &mut dyn FnMut(u64),
) -> Result<(), ConsumerError> {
    let before = folded.load(Ordering::Acquire);
    if before >= leaves.count() {
        return Ok(());
    }
    let start = before - before % CHUNK_LEAVES;
    let mut walk = Walk {
        leaves,
        store,
        folded,
        told,
        start,
        next: start,
        batch: None,
        spots: Vec::new(),
    };
    let mut failed = None;
    leaves.each(
        start.saturating_sub(LOOKBACK_LEAVES),
        &mut |index, entry| match walk.leaf(index, entry) {
            Ok(flow) => flow,
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or_else(|| walk.finish(), Err)
}

struct Walk<'a> {
    leaves: &'a dyn Leaves,
    store: &'a dyn Store,
    folded: &'a AtomicU64,
    told: &'a mut dyn FnMut(u64),
    /// Leaves before this one are read only to find the batch that it belongs to.
    start: u64,
    /// The leaf that comes next.
    next: u64,
    /// The last batch entry seen.
    batch: Option<u64>,
    /// Of the chunk that is being read, in log order.
    spots: Vec<(Label, Spot)>,
}

impl Walk<'_> {
    fn leaf(&mut self, index: u64, entry: &[u8]) -> Result<ControlFlow<()>, ConsumerError> {
        if index >= self.leaves.count() {
            return Ok(ControlFlow::Break(()));
        }
        let is_batch = entry.first() == Some(&BATCH);
        if is_batch {
            self.batch = Some(index);
        }
        if index < self.start {
            return Ok(ControlFlow::Continue(()));
        }
        if index != self.next {
            return Err(self.contradiction(index, format!("expected leaf {}", self.next)));
        }
        if !is_batch && let Some(label) = self.label(index, entry)? {
            let spot = self.spot(index, entry[0])?;
            self.spots.push((label, spot));
        }
        self.next += 1;
        if self.next.is_multiple_of(CHUNK_LEAVES) {
            self.write()?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn label(&self, index: u64, entry: &[u8]) -> Result<Option<Label>, ConsumerError> {
        let parsed = Entry::parse(entry).map_err(|error| self.contradiction(index, error.to_string()))?;
        Ok(parsed.label())
    }

    fn spot(&self, index: u64, kind: u8) -> Result<Spot, ConsumerError> {
        let position = self
            .batch
            .map(|batch| index - batch - 1)
            .filter(|&position| position < LOOKBACK_LEAVES);
        let position =
            position.ok_or_else(|| self.contradiction(index, "no batch entry before it".to_owned()))?;
        Ok(Spot {
            offset: u16::try_from(index % CHUNK_LEAVES).expect("a chunk has fewer leaves than u16 counts"),
            position: u16::try_from(position).expect("a batch has at most 1,024 entries"),
            kind,
        })
    }

    /// Writes the rows of the chunk that ends before `next`.
    fn write(&mut self) -> Result<(), ConsumerError> {
        let (shard, chunk) = (self.leaves.shard_number(), (self.next - 1) / CHUNK_LEAVES);
        // Stable: a label's leaves stay in log order.
        self.spots.sort_by_key(|(label, _)| *label);
        let rows: Vec<_> = self
            .spots
            .chunk_by(|a, b| a.0 == b.0)
            .map(|run| row(shard, chunk, run))
            .collect();
        self.store
            .put(&mut rows.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))?;
        self.spots.clear();
        self.folded.store(self.next, Ordering::Release);
        (self.told)(self.next);
        if (chunk + 1).is_multiple_of(CHUNKS_A_FLUSH) {
            self.save()
        } else {
            Ok(())
        }
    }

    /// Makes the rows durable, then says so.
    fn save(&mut self) -> Result<(), ConsumerError> {
        self.store.flush()?;
        let cursor = Cursor {
            size: self.next,
            root: self.leaves.root(self.next)?.0,
        };
        self.store
            .put_one(&cursor_key(self.leaves.shard_number()), &encode_cursor(cursor))?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), ConsumerError> {
        if self.next < self.leaves.count() {
            let reason = format!(
                "the archive ends here, its checkpoint covers {}",
                self.leaves.count()
            );
            return Err(self.contradiction(self.next, reason));
        }
        if !self.next.is_multiple_of(CHUNK_LEAVES) {
            self.write()?;
        }
        self.save()?;
        self.store.flush()?;
        Ok(())
    }

    fn contradiction(&self, index: u64, reason: String) -> ConsumerError {
        ConsumerError::Log {
            shard: self.leaves.shard_number(),
            index,
            reason,
        }
    }
}

/// The row of one label, whose spots these are.
fn row(shard: u32, chunk: u64, run: &[(Label, Spot)]) -> ([u8; LEAF_KEY_BYTES], Vec<u8>) {
    let spots: Vec<Spot> = run.iter().map(|(_, spot)| *spot).collect();
    (leaf_key(&run[0].0, shard, chunk), encode_spots(&spots))
}
