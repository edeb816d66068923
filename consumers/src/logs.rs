//! Reading what an index points at: a customer's leaves, their entries and the batches that hold them.
//!
//! In scope: pinned readers, checking that an entry is the label's, finding its batch. Out of scope: opening
//! contents.
//! Trust: the archive under its checkpoint; an index is not trusted, and what it says wrongly calls for a
//! rebuild of it.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use sharetrail_ledger::{Leaf, Ledger, Reader, Vault};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::customer::CustomerKey;
use sharetrail_proof::entry::{ERASURE, Entry};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Label;
use sharetrail_proof::note::Note;

use crate::error::ConsumerError;
use crate::projection::{LeafRef, Projections};

/// A generation of a customer, with what the index says of its label.
pub(crate) struct Past {
    pub(crate) generation: u32,
    pub(crate) label: Label,
    pub(crate) shard: u32,
    /// Nothing once it is destroyed.
    pub(crate) key: Option<CustomerKey>,
    /// In log order.
    pub(crate) leaves: Vec<LeafRef>,
}

impl Past {
    /// Where the index says that the label's erasure is.
    pub(crate) fn erasure(&self) -> Option<LeafIndex> {
        self.leaves
            .iter()
            .find(|leaf| leaf.kind == ERASURE)
            .map(|leaf| leaf.index)
    }

    /// Whether the key is gone and the index does not name the erasure that must have gone before.
    pub(crate) fn lacks_its_erasure(&self) -> bool {
        self.key.is_none() && self.erasure().is_none()
    }
}

/// How often an index that is behind is folded further before whoever asked is told.
const TRIES: u32 = 5;

/// Does `work`, which is told how often it was tried before. Where that finds the index behind what it is held against, the
/// index is folded further and the work done again.
pub(crate) fn with_level_index<T>(
    projections: &Projections,
    work: impl Fn(u32) -> Result<T, ConsumerError>,
) -> Result<T, ConsumerError> {
    let mut tries = 0;
    loop {
        match projections.with_sound_index(|| work(tries)) {
            Err(ConsumerError::Behind { .. }) if tries < TRIES => {
                projections.catch_up(&|_, _| ())?;
                tries += 1;
            }
            other => return other,
        }
    }
}

/// All generations of a customer that vault or index know of, oldest first. Nothing for a customer whom neither has met.
///
/// To be called before any reader is opened: a reader opened later covers all leaves that the index names.
pub(crate) fn pasts(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
) -> Result<Vec<Past>, ConsumerError> {
    // Before the index: a key that is found destroyed has its erasure in the log by now.
    let mut slots = vault.generations(customer)?;
    let mut found = Vec::new();
    for generation in 0.. {
        let known = slots.iter().position(|slot| slot.generation == generation);
        let slot = known.map(|at| slots.swap_remove(at));
        let label = slot
            .as_ref()
            .map_or_else(|| vault.label(customer, generation), |slot| slot.label);
        let shard = label.shard(ledger.shards());
        let leaves = projections.leaves_on(shard, &label)?;
        if slot.is_none() && leaves.is_empty() {
            break;
        }
        found.push(Past {
            generation,
            label,
            shard,
            key: slot.and_then(|slot| slot.key),
            leaves,
        });
    }
    Ok(found)
}

/// A batch that holds leaves of interest.
pub(crate) struct SignedBatch {
    /// The index of the batch entry.
    pub(crate) index: LeafIndex,
    /// The whole note.
    pub(crate) note: String,
    /// What it says.
    pub(crate) batch: Batch,
}

/// The logs of a ledger, each pinned at the checkpoint that was published when it was first asked for.
pub(crate) struct Logs<'a> {
    ledger: &'a Ledger,
    logs: BTreeMap<u32, Log>,
}

impl<'a> Logs<'a> {
    /// No log is opened yet.
    pub(crate) fn new(ledger: &'a Ledger) -> Self {
        Self {
            ledger,
            logs: BTreeMap::new(),
        }
    }

    /// The log of a shard.
    pub(crate) fn log(&mut self, shard: u32) -> Result<&mut Log, ConsumerError> {
        match self.logs.entry(shard) {
            Slot::Occupied(slot) => Ok(slot.into_mut()),
            Slot::Vacant(slot) => {
                let reader = self.ledger.reader(shard)?;
                Ok(slot.insert(Log {
                    reader,
                    batches: HashMap::new(),
                }))
            }
        }
    }

    /// Refuses an index in which a customer's erasure may be missing only because it is not folded yet. `folded`: of the
    /// customer's shard, before the index was asked.
    pub(crate) fn check_level(&mut self, past: &Past, folded: u64) -> Result<(), ConsumerError> {
        let wanted = self.log(past.shard)?.reader().size().0;
        if past.lacks_its_erasure() && folded < wanted {
            let shard = past.shard;
            return Err(ConsumerError::Behind {
                shard,
                folded,
                wanted,
            });
        }
        Ok(())
    }

    /// The logs opened so far, by shard.
    pub(crate) fn opened(&self) -> impl Iterator<Item = &Log> {
        self.logs.values()
    }
}

/// One shard's log, with the batches read from it.
pub(crate) struct Log {
    reader: Reader,
    batches: HashMap<LeafIndex, Rc<SignedBatch>>,
}

impl Log {
    /// The reader.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The leaf that the index says is the label's, if it is.
    pub(crate) fn leaf(&self, at: &LeafRef, label: &Label) -> Result<Leaf, ConsumerError> {
        if at.index.0 >= self.reader.size().0 {
            return Err(wrong(at, "the log ends before it"));
        }
        let leaf = self.reader.leaf(at.index)?;
        let fits = leaf.entry.first() == Some(&at.kind)
            && Entry::parse(&leaf.entry).is_ok_and(|entry| entry.label() == Some(*label));
        if fits {
            Ok(leaf)
        } else {
            Err(wrong(at, "the entry there is another label's"))
        }
    }

    /// The batch that holds the leaf.
    pub(crate) fn batch_of(&mut self, at: &LeafRef) -> Result<Rc<SignedBatch>, ConsumerError> {
        let index = at.index.0.checked_sub(1 + u64::from(at.position)).map(LeafIndex);
        let index = index.ok_or_else(|| wrong(at, "no batch can stand before it"))?;
        let found = match self.batches.get(&index) {
            Some(known) => Rc::clone(known),
            None => self.read_batch(at, index)?,
        };
        if u32::from(at.position) < found.batch.count {
            Ok(found)
        } else {
            Err(wrong(at, "the batch ends before it"))
        }
    }

    fn read_batch(&mut self, at: &LeafRef, index: LeafIndex) -> Result<Rc<SignedBatch>, ConsumerError> {
        let leaf = self.reader.leaf(index)?;
        let Ok(Entry::Batch(note)) = Entry::parse(&leaf.entry) else {
            return Err(wrong(at, "no batch is where its batch should be"));
        };
        let log_error = |reason: String| ConsumerError::Log {
            shard: at.shard,
            index: index.0,
            reason,
        };
        let text = Note::parse(note)
            .map_err(|error| log_error(error.to_string()))?
            .text();
        let batch = Batch::parse(text).map_err(|error| log_error(error.to_string()))?;
        let found = Rc::new(SignedBatch {
            index,
            note: note.to_owned(),
            batch,
        });
        self.batches.insert(index, Rc::clone(&found));
        Ok(found)
    }
}

/// The index says something of this leaf that is not so.
pub(crate) fn wrong(at: &LeafRef, reason: &str) -> ConsumerError {
    ConsumerError::index(format!("shard {}, leaf {}: {reason}", at.shard, at.index))
}
