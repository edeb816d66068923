//! The keys of the producers in a dossier, folded from its genesis and registry entries, shard by shard.
//!
//! In scope: which key was valid at which index. Out of scope: that no registry entry was left out; the map proves
//! that (`maps.rs`). Trust: entries are applied once their place and their batch's signature were checked.

use std::collections::BTreeMap;

use crate::entry::{Genesis, RegistryEntry};
use crate::hash::{Hash, LeafHash, LeafIndex};
use crate::name::{Name, OPERATOR, RECOVERY};
use crate::note::{KeyId, VerifierKey};
use crate::registry::{KeyPeriod, PartyKeys, RegistryError, allowed};

/// The keys known so far on one shard.
pub(super) struct Keys {
    recovery: VerifierKey,
    parties: BTreeMap<Name, PartyKeys>,
    /// The `seq` and leaf hash of the entry applied last.
    last: Option<(u64, Hash)>,
}

impl Keys {
    /// What the genesis entry says.
    pub(super) fn new(genesis: &Genesis) -> Self {
        let first = KeyPeriod {
            key: genesis.operator.clone(),
            from: LeafIndex(0),
            until: None,
        };
        let operator = Name::new(OPERATOR).expect("a valid name");
        let parties = BTreeMap::from([(
            operator,
            PartyKeys {
                name: None,
                keys: vec![first],
            },
        )]);
        Self {
            recovery: genesis.recovery.clone(),
            parties,
            last: None,
        }
    }

    /// The key of `producer` with this id that was valid for a batch entry at `index`, and since when.
    pub(super) fn key(
        &self,
        producer: &Name,
        id: KeyId,
        index: LeafIndex,
    ) -> Option<(&VerifierKey, LeafIndex)> {
        if producer.as_str() == RECOVERY {
            return Some((&self.recovery, LeafIndex(0))).filter(|(key, _)| key.id() == id);
        }
        self.parties
            .get(producer)?
            .valid_at(id, index)
            .map(|period| (&period.key, period.from))
    }

    /// Applies an entry that a valid key of `by` signed. Entries of other parties may lie between two that are shown, so
    /// `seq` rises; where it rises by one, `prev` must name the entry before.
    pub(super) fn apply(
        &mut self,
        index: LeafIndex,
        entry: &RegistryEntry,
        by: &Name,
    ) -> Result<(), RegistryError> {
        let record = &entry.record;
        if let Some((seq, hash)) = self.last {
            let follows = record.seq > seq && (record.seq != seq + 1 || record.prev == hash);
            if !follows {
                return Err(RegistryError::Order {
                    expected: seq + 1,
                    found: record.seq,
                });
            }
        }
        allowed(entry, by, self.parties.contains_key(&record.party))?;
        self.parties
            .entry(record.party.clone())
            .or_default()
            .apply(index, entry)?;
        self.last = Some((record.seq, LeafHash::of(&entry.to_bytes()).0));
        Ok(())
    }
}
