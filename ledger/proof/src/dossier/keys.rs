//! The keys of the producers in a dossier, folded from its genesis and registry entries, shard by shard.
//!
//! In scope: which key was valid at which index. Out of scope: that no registry entry was left out; only a map proves
//! that. Trust: entries are applied once their place and their batch's signature were checked.

use std::collections::BTreeMap;

use crate::entry::{Genesis, RegistryEntry};
use crate::hash::LeafIndex;
use crate::name::{Name, OPERATOR, RECOVERY};
use crate::note::{KeyId, VerifierKey};
use crate::registry::{KeyPeriod, PartyKeys, RegistryError};

/// The keys known so far on one shard.
pub(super) struct Keys {
    recovery: VerifierKey,
    parties: BTreeMap<Name, PartyKeys>,
}

impl Keys {
    /// What the genesis entry says.
    pub(super) fn new(genesis: &Genesis) -> Self {
        let first = KeyPeriod { key: genesis.operator.clone(), from: LeafIndex(0), until: None };
        let operator = Name::new(OPERATOR).expect("a valid name");
        let parties = BTreeMap::from([(operator, PartyKeys { name: None, keys: vec![first] })]);
        Self { recovery: genesis.recovery.clone(), parties }
    }

    /// The key of `producer` with this id that was valid for a batch entry at `index`, and since when.
    pub(super) fn key(&self, producer: &Name, id: KeyId, index: LeafIndex) -> Option<(&VerifierKey, LeafIndex)> {
        if producer.as_str() == RECOVERY {
            return Some((&self.recovery, LeafIndex(0))).filter(|(key, _)| key.id() == id);
        }
        self.parties.get(producer)?.valid_at(id, index).map(|period| (&period.key, period.from))
    }

    /// Applies an entry that a valid operator (or recovery) key signed.
    pub(super) fn apply(&mut self, index: LeafIndex, entry: &RegistryEntry) -> Result<(), RegistryError> {
        self.parties.entry(entry.record.party.clone()).or_default().apply(index, entry)
    }
}
