//! One opened store with the trail projection of all shards in it.
//!
//! In scope: opening, checking the cursors against the log, folding, looking up. Out of scope: dropping a
//! store that does not fit (the module above). Trust: the store is untrusted. A reader sees no leaf beyond
//! the size that was folded when it began: all leaves below are in their rows then, however far a fold is at
//! that moment.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use super::fold::{Leaves, fold};
use super::row::{
    CHUNK_LEAVES, Cursor, cursor_key, decode_cursor, decode_spots, label_prefix, parse_leaf_key, shard_prefix,
};
use super::{CaughtUp, LeafRef};
use crate::error::ConsumerError;
use crate::store::{self, Store, StoreError, StoreKind};

/// A reader holds the store for as long as one question takes; another command waits for it.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// An opened store, and how far each shard is folded into it.
pub(super) struct Index {
    store: Box<dyn Store>,
    folded: Vec<AtomicU64>,
}

impl Index {
    /// Opens or makes the store in `folder`; its rows' version is checked, what they say is not.
    pub(super) fn open(kind: StoreKind, folder: &Path, shards: u32) -> Result<Self, ConsumerError> {
        let mut index = Self {
            store: open_patiently(kind, folder)?,
            folded: Vec::new(),
        };
        for shard in 0..shards {
            let size = index.cursor(shard)?.map_or(0, |cursor| cursor.size);
            index.folded.push(AtomicU64::new(size));
        }
        Ok(index)
    }

    fn cursor(&self, shard: u32) -> Result<Option<Cursor>, ConsumerError> {
        let value = self.store.get(&cursor_key(shard))?;
        value.map(|value| decode_cursor(&value)).transpose()
    }

    /// Refuses an index that was folded from another history than these logs'.
    pub(super) fn check(&self, logs: &[impl Leaves]) -> Result<(), ConsumerError> {
        for log in logs {
            let Some(cursor) = self.cursor(log.shard_number())? else {
                continue;
            };
            let (shard, size, count) = (log.shard_number(), cursor.size, log.count());
            if size > count {
                let reason = format!("it has folded {size} leaves of shard {shard}, and the log has {count}");
                return Err(ConsumerError::index(reason));
            }
            if log.root(size)?.0 != cursor.root {
                let reason =
                    format!("it was folded from another history of shard {shard}, up to leaf {size}");
                return Err(ConsumerError::index(reason));
            }
        }
        Ok(())
    }

    /// Folds what the logs have beyond the index. `logs`: one of each shard.
    pub(super) fn catch_up(
        &self,
        logs: &[impl Leaves],
        progress: &dyn Fn(u64, u64),
    ) -> Result<CaughtUp, ConsumerError> {
        let total: u64 = logs.iter().map(Leaves::count).sum();
        let before = self.folded_leaves();
        for log in logs {
            let Some(folded) = self.folded.get(log.shard_number() as usize) else {
                return Err(ConsumerError::index(format!(
                    "no cursor for shard {}",
                    log.shard_number()
                )));
            };
            fold(log, self.store.as_ref(), folded, &mut |_| {
                progress(self.folded_leaves(), total);
            })?;
        }
        Ok(CaughtUp {
            folded: self.folded_leaves() - before,
            total,
        })
    }

    fn folded_leaves(&self) -> u64 {
        self.folded_sizes().iter().sum()
    }

    /// The leaves folded so far, by shard.
    pub(super) fn folded_sizes(&self) -> Vec<u64> {
        self.folded
            .iter()
            .map(|folded| folded.load(Ordering::Acquire))
            .collect()
    }

    /// A label's leaves on all shards, by shard and in log order.
    pub(super) fn leaves(&self, label: &Label) -> Result<Vec<LeafRef>, ConsumerError> {
        self.lookup(&label_prefix(label))
    }

    /// A label's leaves on one shard, in log order.
    pub(super) fn leaves_on(&self, shard: u32, label: &Label) -> Result<Vec<LeafRef>, ConsumerError> {
        self.lookup(&shard_prefix(label, shard))
    }

    fn lookup(&self, prefix: &[u8]) -> Result<Vec<LeafRef>, ConsumerError> {
        // Before the scan: whatever is folded meanwhile is left out, of every row alike.
        let folded = self.folded_sizes();
        let (mut found, mut failed) = (Vec::new(), None);
        self.store.scan(
            prefix,
            &mut |key, value| match read_row(key, value, &folded, &mut found) {
                Ok(()) => ControlFlow::Continue(()),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            },
        )?;
        failed.map_or(Ok(found), Err)
    }
}

/// Adds the leaves of a row that are below the folded size.
fn read_row(key: &[u8], value: &[u8], folded: &[u64], found: &mut Vec<LeafRef>) -> Result<(), ConsumerError> {
    let (shard, chunk) = parse_leaf_key(key)?;
    let size = folded
        .get(shard as usize)
        .ok_or_else(|| ConsumerError::index(format!("there is no shard {shard}")))?;
    let first = chunk
        .checked_mul(CHUNK_LEAVES)
        .ok_or_else(|| ConsumerError::index(format!("there is no chunk {chunk}")))?;
    for spot in decode_spots(value)? {
        let index = first.saturating_add(u64::from(spot.offset));
        if index < *size {
            found.push(LeafRef {
                shard,
                index: LeafIndex(index),
                position: spot.position,
                kind: spot.kind,
            });
        }
    }
    Ok(())
}

fn open_patiently(kind: StoreKind, folder: &Path) -> Result<Box<dyn Store>, StoreError> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match store::open(kind, folder) {
            Err(error) if error.is_locked() && Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}
