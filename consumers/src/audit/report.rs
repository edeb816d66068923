//! What an audit says at its end.
//!
//! In scope: numbers, checkpoints, faults, as values. Out of scope: wording for screens. Trust: all of it was computed
//! here from the ledger's files; nothing is repeated on the ledger's word.

use serde::{Deserialize, Serialize};
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{LedgerId, Name};

use super::fault::Fault;

/// How much of a log was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Leaves of the record log.
    pub entries: u64,
    /// Events among them.
    pub events: u64,
    /// Batches.
    pub batches: u64,
    /// Labels in the customer map.
    pub labels: u64,
    /// Leaves of the map log.
    pub map_leaves: u64,
    /// Leaves of the record log that no leaf of the map log covers yet.
    pub unmapped: u64,
}

impl Counts {
    /// Adds those of another shard.
    pub(crate) fn add(&mut self, other: &Self) {
        self.entries += other.entries;
        self.events += other.events;
        self.batches += other.batches;
        self.labels += other.labels;
        self.map_leaves += other.map_leaves;
        self.unmapped += other.unmapped;
    }
}

/// What a checkpoint says, and who cosigned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckpointReport {
    /// Which log.
    pub origin: String,
    /// Leaves.
    pub size: u64,
    /// The root over them, as signed.
    pub root: Hash,
    /// Witnesses of the policy that cosigned, and when, in Unix seconds.
    pub witnesses: Vec<(String, u64)>,
    /// Auditors of the policy that cosigned before.
    pub auditors: Vec<(String, u64)>,
}

impl CheckpointReport {
    pub(crate) fn of(checkpoint: &VerifiedCheckpoint) -> Self {
        Self {
            origin: checkpoint.checkpoint().origin.clone(),
            size: checkpoint.size().0,
            root: *checkpoint.root(),
            witnesses: checkpoint.cosignatures().to_vec(),
            auditors: checkpoint.auditors().to_vec(),
        }
    }
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// Its number.
    pub shard: u32,
    /// What was looked at.
    #[serde(flatten)]
    pub counts: Counts,
    /// The record log's checkpoint; none if the policy does not accept it.
    pub record: Option<CheckpointReport>,
    /// The map log's; none where no root was sealed yet, or the policy does not accept it.
    pub map: Option<CheckpointReport>,
    /// When the last map leaf was sealed, in Unix seconds by the operator's clock.
    pub mapped_at: Option<u64>,
}

/// The whole audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The ledger, as the policy has it.
    pub ledger: Name,
    /// Its id.
    pub id: LedgerId,
    /// Whether it was told to stop before the end.
    pub interrupted: bool,
    /// All shards together.
    #[serde(flatten)]
    pub counts: Counts,
    /// Leaves of the record logs that this run looked at; the others were looked at before.
    pub checked: u64,
    /// Each shard.
    pub shards: Vec<ShardReport>,
    /// What is wrong, by shard.
    pub faults: Vec<Fault>,
    /// Further faults, which are only counted.
    pub more_faults: u64,
    /// Shards that lack a registry entry which is so new that it may be on its way to them: nothing is cosigned yet.
    pub on_its_way: Vec<u32>,
}

impl AuditReport {
    /// Whether everything was looked at, and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        !self.interrupted && self.faults.is_empty()
    }
}
