//! Whether a trail that was read is still all there is of its customer.
//!
//! In scope: under which label the customer's next leaf comes, and whether one has come. It costs a look at how far the
//! projection is folded; where the shard has grown, at the customer's leaves too. No label is computed and no archive is
//! read. Out of scope: what is kept of the trail, and for how long (whoever keeps it). Trust: as the projection's.

use std::sync::atomic::{AtomicU64, Ordering};

use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;

use crate::error::ConsumerError;
use crate::projection::Projections;
use crate::trail::Trail;

/// Where a customer's next leaf comes: under the label of the last generation or, where that one is erased or there is
/// none, under the next.
pub(crate) struct Living {
    pub(crate) shard: u32,
    label: Label,
    /// The label's last leaf.
    pub(crate) last: Option<LeafIndex>,
    /// How many leaves of the shard are taken into account.
    folded: AtomicU64,
}

impl Living {
    /// Of a trail. `folded`: how many leaves of each shard were folded before it was read.
    pub(crate) fn of(trail: &Trail, ledger: &Ledger, vault: &Vault, folded: &[u64]) -> Self {
        let (label, shard, last) = match trail.generations.last() {
            Some(lives) if lives.erased_at.is_none() => {
                (lives.label, lives.shard, last_leaf(trail, lives.generation))
            }
            erased => {
                let generation = erased.map_or(0, |erased| erased.generation.saturating_add(1));
                let label = vault.label(&trail.customer, generation);
                (label, label.shard(ledger.shards()), None)
            }
        };
        Self {
            shard,
            label,
            last,
            folded: AtomicU64::new(size_of(folded, shard)),
        }
    }

    /// How many leaves of the shard are taken into account.
    pub(crate) fn folded(&self) -> u64 {
        self.folded.load(Ordering::Acquire)
    }

    /// Whether nothing came since, each shard being folded so far. An erasure is a leaf of the label that lives, and a new
    /// generation begins under the label that is watched after one.
    pub(crate) fn is_current(
        &self,
        projections: &Projections,
        folded: &[u64],
    ) -> Result<bool, ConsumerError> {
        let size = size_of(folded, self.shard);
        // Another thread may have looked further meanwhile.
        if size <= self.folded() {
            return Ok(true);
        }
        let leaves = projections.with_sound_index(|| projections.leaves_on(self.shard, &self.label))?;
        let is_current = leaves.last().map(|leaf| leaf.index) == self.last;
        if is_current {
            self.folded.fetch_max(size, Ordering::AcqRel);
        }
        Ok(is_current)
    }
}

fn size_of(folded: &[u64], shard: u32) -> u64 {
    folded.get(shard as usize).copied().unwrap_or_default()
}

/// The last event of a generation.
fn last_leaf(trail: &Trail, generation: u32) -> Option<LeafIndex> {
    let opened = trail.events.iter().map(|event| (event.generation, event.index));
    let unopened = trail.unopened.iter().map(|one| (one.generation, one.index));
    let all = opened.chain(unopened).filter(|(of, _)| *of == generation);
    all.map(|(_, index)| index).max()
}
