//! What a dossier or a certificate says once every check of it holds.
//!
//! In scope: the answer, as values. Out of scope: wording for people. Trust: these come from
//! [`Dossier::verify`](super::Dossier::verify) and [`Certificate::verify`](super::Certificate::verify) alone.

use crate::checkpoint::VerifiedCheckpoint;
use crate::hash::LeafIndex;
use crate::map::MapLeaf;
use crate::name::{Label, Name, Shard};
use crate::note::KeyId;

/// A dossier of which every check holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedDossier {
    /// The ledger.
    pub ledger: Name,
    /// The customer.
    pub customer: String,
    /// The checkpoints that everything was found under, by shard.
    pub checkpoints: Vec<(Shard, VerifiedCheckpoint)>,
    /// The customer maps that say which leaves are all, by shard.
    pub maps: Vec<VerifiedMap>,
    /// The labels that are proven to be the customer's. None: nothing was ever on record about them.
    pub generations: Vec<VerifiedGeneration>,
    /// The events, generation by generation, in log order.
    pub events: Vec<VerifiedEvent>,
    /// The label under which there is nothing.
    pub absence: VerifiedAbsence,
    /// Whose registry entries are all there, by shard and name.
    pub parties: Vec<VerifiedParty>,
}

impl VerifiedDossier {
    /// The moment up to which the events are all there, in Unix seconds by the operator's clock: the time of the earliest
    /// map leaf.
    pub fn as_of(&self) -> u64 {
        self.maps.iter().map(|map| map.leaf.time).min().unwrap_or(0)
    }

    /// Whether the dossier shows that this party is registered: on record, and covered by a map.
    pub fn is_registered(&self, party: &Name) -> bool {
        self.parties
            .iter()
            .any(|one| one.party == *party && one.registered)
    }
}

/// The customer map of a shard, as it was when the last leaf of its map log was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedMap {
    /// The shard.
    pub shard: Shard,
    /// The map log's checkpoint; an auditor's cosignature on it says that the map was computed again.
    pub checkpoint: VerifiedCheckpoint,
    /// The last leaf of the map log.
    pub leaf: MapLeaf,
}

impl VerifiedMap {
    /// Whether the map was built from a log that held this index.
    pub fn covers(&self, index: LeafIndex) -> bool {
        index.0 < self.leaf.checkpoint.size.0
    }
}

/// A label that is proven to be the customer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedGeneration {
    /// From 0.
    pub generation: u32,
    /// The label.
    pub label: Label,
    /// The shard on which it lives.
    pub shard: u32,
    /// Where its erasure is on record, if it is.
    pub erased_at: Option<LeafIndex>,
    /// Whether the map covers the erasure.
    pub erasure_covered: bool,
}

/// An event that is on record, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvent {
    /// Which generation of the customer.
    pub generation: u32,
    /// Where it is.
    pub index: LeafIndex,
    /// The shard whose log holds it.
    pub shard: u32,
    /// Who signed its batch.
    pub producer: Name,
    /// With which key.
    pub key: KeyId,
    /// The index at which that key was registered.
    pub key_since: LeafIndex,
    /// Whether the map covers it. Of events that it covers there are no others; of later ones there may be.
    pub covered: bool,
    /// What it says.
    pub content: VerifiedContent,
}

/// A content that its entry commits to, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedContent {
    /// The event's JSON.
    Opened(String),
    /// Erased; the erasure is on record.
    Erased,
    /// Cannot be opened though nothing was erased: a fault.
    Unreadable,
}

/// A label that would be the customer's next, and that no leaf stands under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedAbsence {
    /// One more than the last generation; 0 where there is none.
    pub generation: u32,
    /// The label.
    pub label: Label,
    /// The shard on which it would live.
    pub shard: u32,
}

/// A party of the registry, as one shard has it. All its registry entries that the map covers are in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedParty {
    /// The shard.
    pub shard: u32,
    /// The party.
    pub party: Name,
    /// Whether its registration is on record and covered by the map.
    pub registered: bool,
}

/// An erasure that is on record: the operator declared it. That no copy of anything exists, nobody can prove.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedErasure {
    /// The ledger.
    pub ledger: Name,
    /// Who was erased.
    pub customer: String,
    /// How often the customer was erased before.
    pub generation: u32,
    /// The label that ended.
    pub label: Label,
    /// Where the erasure entry is in the log of the label's shard.
    pub index: LeafIndex,
    /// The operator key that signed it.
    pub key: KeyId,
    /// The index at which that key became valid; 0 for the genesis entry's.
    pub key_since: LeafIndex,
    /// The record log's checkpoint.
    pub checkpoint: VerifiedCheckpoint,
    /// The map that covers the erasure entry.
    pub map: VerifiedMap,
}
