//! What never changes of a ledger, and is known wherever somebody works on it.
//!
//! In scope: name, id, genesis entries. Out of scope: where the ledger lies. Trust: whoever made these facts checked them
//! against the policy or the archive.

use sharetrail_proof::entry::Genesis;
use sharetrail_proof::name::{LedgerId, Name};

/// A ledger's name, id and genesis entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The name.
    pub name: Name,
    /// The id.
    pub id: LedgerId,
    /// The genesis entry of each shard, shard 0's first.
    pub genesis: Vec<Genesis>,
}

impl Facts {
    /// The number of shards.
    pub fn shards(&self) -> u32 {
        u32::try_from(self.genesis.len()).expect("a ledger has at most 4,096 shards")
    }
}
