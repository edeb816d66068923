//! The registry: which key of which party was valid at which index of a log.
//!
//! In scope: folding registry entries, in log order, into that answer; the rules an entry must keep. It is a function of
//! one shard's log alone. Out of scope: signatures (checked by whoever calls [`Registry::apply`]).
//! Trust: callers apply only entries whose batch was signed as `by` says.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::entry::{Genesis, RegistryAction, RegistryEntry};
use crate::hash::{Hash, LeafHash, LeafIndex};
use crate::name::{Name, OPERATOR, RECOVERY};
use crate::note::{KeyId, KeyKind, VerifierKey};

/// Which rule of the registry an entry breaks.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The entry does not follow the last one.
    #[error("registry entry {found} does not follow: expected {expected} with the hash of the one before")]
    Order {
        /// The next `seq`.
        expected: u64,
        /// The entry's `seq`.
        found: u64,
    },
    /// Written by somebody who may not.
    #[error("{by} may not write this registry entry")]
    Forbidden {
        /// Who signed.
        by: Name,
    },
    /// The party is not registered, or its name is reserved.
    #[error("{party} is not a registered party")]
    UnknownParty {
        /// The party.
        party: Name,
    },
    /// Not a note-signing key with the party's name.
    #[error("not a key of {party}")]
    Key {
        /// The party.
        party: Name,
    },
    /// The key is valid already, or not valid and thus cannot end.
    #[error("the key's state does not allow that")]
    State,
}

/// A key and the indexes at which it is valid: after `from`, before `until`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPeriod {
    /// The key.
    pub key: VerifierKey,
    /// The index of the registry (or genesis) entry that made it valid.
    pub from: LeafIndex,
    /// The index of the entry that ended it.
    pub until: Option<LeafIndex>,
}

impl KeyPeriod {
    /// Whether a batch entry at `index` may be signed with this key.
    pub fn is_valid_at(&self, index: LeafIndex) -> bool {
        self.from < index && self.until.is_none_or(|until| index < until)
    }
}

/// The keys of one party, in the order in which they became valid.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartyKeys {
    /// The party's full name, where one is registered.
    pub name: Option<String>,
    /// All keys it ever had.
    pub keys: Vec<KeyPeriod>,
}

impl PartyKeys {
    /// The key with this id that is valid at `index`.
    pub fn valid_at(&self, id: KeyId, index: LeafIndex) -> Option<&KeyPeriod> {
        self.keys
            .iter()
            .find(|period| period.key.id() == id && period.is_valid_at(index))
    }

    fn end(&mut self, index: LeafIndex, which: impl Fn(&KeyPeriod) -> bool) -> Result<(), RegistryError> {
        let mut ended = false;
        for period in self
            .keys
            .iter_mut()
            .filter(|period| period.until.is_none() && which(period))
        {
            period.until = Some(index);
            ended = true;
        }
        if ended { Ok(()) } else { Err(RegistryError::State) }
    }

    fn begin(&mut self, index: LeafIndex, key: VerifierKey) -> Result<(), RegistryError> {
        if self.keys.iter().any(|period| period.key.public() == key.public()) {
            return Err(RegistryError::State);
        }
        self.keys.push(KeyPeriod {
            key,
            from: index,
            until: None,
        });
        Ok(())
    }

    /// Applies an entry about this party, found at `index`.
    pub fn apply(&mut self, index: LeafIndex, entry: &RegistryEntry) -> Result<(), RegistryError> {
        let party = &entry.record.party;
        match &entry.record.action {
            RegistryAction::PartyRegistered { name, .. } => {
                self.name = Some(name.clone());
                Ok(())
            }
            RegistryAction::KeyRegistered { key } => self.begin(index, key_of(party, key)?),
            RegistryAction::KeyRotated { key } | RegistryAction::OperatorReplaced { key } => {
                let key = key_of(party, key)?;
                self.end(index, |_| true)?;
                self.begin(index, key)
            }
            RegistryAction::KeyRevoked { key } => {
                let key = key_of(party, key)?;
                self.end(index, |period| period.key == key)
            }
        }
    }
}

fn key_of(party: &Name, text: &str) -> Result<VerifierKey, RegistryError> {
    let wrong = || RegistryError::Key { party: party.clone() };
    let key: VerifierKey = text.parse().map_err(|_| wrong())?;
    if key.name() == party.as_str() && key.kind() == KeyKind::Note {
        Ok(key)
    } else {
        Err(wrong())
    }
}

/// The state of the registry after some prefix of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registry {
    next_seq: u64,
    prev: Hash,
    recovery: VerifierKey,
    parties: BTreeMap<Name, PartyKeys>,
}

impl Registry {
    /// The state after the genesis entry at index 0.
    pub fn new(genesis: &Genesis) -> Self {
        let operator = Name::new(OPERATOR).expect("a valid name");
        let first = KeyPeriod {
            key: genesis.operator.clone(),
            from: LeafIndex(0),
            until: None,
        };
        let keys = PartyKeys {
            name: None,
            keys: vec![first],
        };
        Self {
            next_seq: 0,
            prev: Hash(genesis.id.0),
            recovery: genesis.recovery.clone(),
            parties: BTreeMap::from([(operator, keys)]),
        }
    }

    /// The `seq` and `prev` that the next registry entry must have.
    pub fn next(&self) -> (u64, Hash) {
        (self.next_seq, self.prev)
    }

    /// All parties with their keys; the operator is among them.
    pub fn parties(&self) -> impl Iterator<Item = (&Name, &PartyKeys)> {
        self.parties.iter()
    }

    /// A party's keys.
    pub fn party(&self, party: &Name) -> Option<&PartyKeys> {
        self.parties.get(party)
    }

    /// The key of `producer` with this id, if it is valid for a batch entry at `index`.
    pub fn key(&self, producer: &Name, id: KeyId, index: LeafIndex) -> Option<&VerifierKey> {
        if producer.as_str() == RECOVERY {
            return Some(&self.recovery).filter(|key| key.id() == id);
        }
        self.parties
            .get(producer)?
            .valid_at(id, index)
            .map(|period| &period.key)
    }

    /// Applies the entry at `index`, whose batch `by` signed. On an error nothing has changed.
    pub fn apply(&mut self, index: LeafIndex, entry: &RegistryEntry, by: &Name) -> Result<(), RegistryError> {
        let record = &entry.record;
        if record.seq != self.next_seq || record.prev != self.prev {
            return Err(RegistryError::Order {
                expected: self.next_seq,
                found: record.seq,
            });
        }
        allowed(entry, by, self.parties.contains_key(&record.party))?;
        let mut keys = self.parties.get(&record.party).cloned().unwrap_or_default();
        keys.apply(index, entry)?;
        self.parties.insert(record.party.clone(), keys);
        self.next_seq += 1;
        self.prev = LeafHash::of(&entry.to_bytes()).0;
        Ok(())
    }
}

/// Whether `by` may write this entry about a party that is, or is not yet, known.
pub(crate) fn allowed(entry: &RegistryEntry, by: &Name, is_known: bool) -> Result<(), RegistryError> {
    let party = &entry.record.party;
    let replaces = matches!(entry.record.action, RegistryAction::OperatorReplaced { .. });
    let may = by.as_str() == OPERATOR || (by.as_str() == RECOVERY && replaces);
    if !may {
        return Err(RegistryError::Forbidden { by: by.clone() });
    }
    let reserved = party.as_str() == OPERATOR || party.as_str() == RECOVERY;
    let registers = matches!(entry.record.action, RegistryAction::PartyRegistered { .. });
    let fits = if replaces {
        party.as_str() == OPERATOR
    } else {
        !reserved && (registers || is_known)
    };
    if fits {
        Ok(())
    } else {
        Err(RegistryError::UnknownParty { party: party.clone() })
    }
}
