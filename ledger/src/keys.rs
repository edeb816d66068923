//! Keys: the files they lie in, and the registry commands that say which are valid.
//!
//! In scope: key files, listing, adding, rotating, revoking producers' keys. Out of scope: what a valid key may do (the
//! rules of acceptance). Trust: key files are private or refused.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sharetrail_proof::entry::RegistryAction;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Name, OPERATOR, RECOVERY};
use sharetrail_proof::note::{NoteSigner, VerifierKey};

use crate::engine::Engine;
use crate::error::{At, LedgerError};
use crate::files;
use crate::ledger::Ledger;
use crate::operator;

pub(crate) const VRF_FILE: &str = "vrf.key";

pub(crate) fn log_file(shard: u32) -> String {
    format!("log-{shard}.key")
}

pub(crate) fn producer_file(producer: &str) -> String {
    format!("producer-{producer}.key")
}

/// Makes a key and writes it to a private file.
pub(crate) fn make(path: &Path, name: &str) -> Result<NoteSigner, LedgerError> {
    let signer = NoteSigner::from_seed(name, &files::random()?)
        .map_err(|error| LedgerError::Invalid(error.to_string()))?;
    files::write_private(path, &format!("{}\n", signer.to_secret_text()))?;
    Ok(signer)
}

/// Reads a private key file.
pub(crate) fn read(path: &Path) -> Result<NoteSigner, LedgerError> {
    let text = zeroize::Zeroizing::new(files::read_private(path)?);
    NoteSigner::parse(&text).map_err(|error| LedgerError::damaged(path, None, error.to_string()))
}

/// Where a producer's key lies in a ledger's folder.
pub fn producer_path(ledger: &Ledger, producer: &Name) -> PathBuf {
    ledger.folder().keys().join(producer_file(producer.as_str()))
}

/// The signing key of a producer, from the ledger's folder.
pub fn producer_signer(ledger: &Ledger, producer: &Name) -> Result<NoteSigner, LedgerError> {
    let path = producer_path(ledger, producer);
    if path.exists() {
        return read(&path);
    }
    Err(LedgerError::Invalid(format!(
        "no key of {producer} here; `sharetrail keys add {producer}` makes one"
    )))
}

/// The signing key of a producer that may record events: its key lies in the ledger's folder and is valid now.
pub fn valid_signer(engine: &Engine, producer: &Name) -> Result<NoteSigner, LedgerError> {
    not_reserved(producer)?;
    let signer = producer_signer(engine.ledger(), producer)?;
    let registry = engine.registry()?;
    let keys = registry
        .party(producer)
        .map(|keys| keys.keys.as_slice())
        .unwrap_or_default();
    if keys
        .iter()
        .any(|period| period.until.is_none() && period.key == *signer.verifier())
    {
        return Ok(signer);
    }
    let text = format!("the key of {producer} in this folder is not valid; see `sharetrail keys list`");
    Err(LedgerError::Invalid(text))
}

/// A key as the registry knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyStatus {
    /// Whose it is.
    pub party: Name,
    /// The key, as a vkey.
    pub key: String,
    /// Its id.
    pub id: String,
    /// The index at which it became valid.
    pub from: LeafIndex,
    /// The index at which it ended.
    pub until: Option<LeafIndex>,
    /// Whether its private half lies in this folder.
    pub private_here: bool,
}

/// All keys that shard 0's log knows, ended ones too.
pub fn list(ledger: &Ledger) -> Result<Vec<KeyStatus>, LedgerError> {
    let registry = ledger.registry()?;
    let mut found = Vec::new();
    for (party, keys) in registry.parties() {
        let private = producer_signer(ledger, party)
            .ok()
            .map(|signer| signer.verifier().clone());
        found.extend(keys.keys.iter().map(|period| KeyStatus {
            party: party.clone(),
            key: period.key.to_string(),
            id: period.key.id().to_string(),
            from: period.from,
            until: period.until,
            private_here: private.as_ref() == Some(&period.key),
        }));
    }
    Ok(found)
}

fn not_reserved(name: &Name) -> Result<(), LedgerError> {
    if name.as_str() == OPERATOR || name.as_str() == RECOVERY {
        return Err(LedgerError::Invalid(format!("{name} is a reserved name")));
    }
    Ok(())
}

/// Makes a producer's key and registers party and key in every shard. Returns when that is sealed everywhere. Asked again
/// after an interruption, it finishes what was begun.
pub fn add_producer(engine: &Engine, producer: &Name) -> Result<(), LedgerError> {
    let signer = own_key(engine.ledger(), producer)?;
    if register(engine, producer, signer.verifier())? {
        return Ok(());
    }
    Err(has_a_key(producer))
}

fn has_a_key(producer: &Name) -> LedgerError {
    LedgerError::Invalid(format!(
        "{producer} has a valid key already; `sharetrail keys rotate {producer}` gives it another"
    ))
}

/// The producer's key in the ledger's folder, made if there is none.
pub fn own_key(ledger: &Ledger, producer: &Name) -> Result<NoteSigner, LedgerError> {
    not_reserved(producer)?;
    let path = producer_path(ledger, producer);
    if path.exists() {
        read(&path)
    } else {
        make(&path, producer.as_str())
    }
}

/// Registers a producer with a key whose private half may lie anywhere. Returns when that is sealed in every shard. Asked
/// again with the same key, it finishes what was begun. Whether there was anything to do.
pub fn register(engine: &Engine, producer: &Name, key: &VerifierKey) -> Result<bool, LedgerError> {
    not_reserved(producer)?;
    let _turn = engine.registry_turn();
    let finished = operator::even_out(engine)?;
    let registry = engine.registry()?;
    let known = registry.party(producer);
    let is_valid = |period: &sharetrail_proof::registry::KeyPeriod| period.until.is_none();
    if known.is_some_and(|keys| {
        keys.keys
            .iter()
            .any(|period| is_valid(period) && period.key == *key)
    }) {
        return Ok(finished);
    }
    if known.is_some_and(|keys| keys.keys.iter().any(is_valid)) {
        return Err(has_a_key(producer));
    }
    let mut actions = Vec::new();
    if known.is_none() {
        actions.push(RegistryAction::PartyRegistered {
            name: producer.to_string(),
            country: None,
            contact: None,
        });
    }
    actions.push(RegistryAction::KeyRegistered { key: key.to_string() });
    operator::record(engine, producer, &actions).map(|()| true)
}

/// Gives a producer a new key; the old one ends with the same entry. Returns when that is sealed everywhere.
pub fn rotate(engine: &Engine, producer: &Name) -> Result<(), LedgerError> {
    let registry = engine.registry()?;
    if registry
        .party(producer)
        .is_none_or(|keys| keys.keys.iter().all(|period| period.until.is_some()))
    {
        return Err(no_key_to_rotate(producer));
    }
    let new = next_key(engine.ledger(), producer)?;
    rotate_to(engine, producer, new.verifier())?;
    put_next_key(engine.ledger(), producer)
}

fn no_key_to_rotate(producer: &Name) -> LedgerError {
    LedgerError::Invalid(format!(
        "{producer} has no valid key to rotate; `sharetrail keys add {producer}` gives it one"
    ))
}

/// The key that a rotation leads to. One that an interrupted rotation left is used, so that the registry and the file end
/// up the same.
pub fn next_key(ledger: &Ledger, producer: &Name) -> Result<NoteSigner, LedgerError> {
    not_reserved(producer)?;
    let new = producer_path(ledger, producer).with_added_extension("new");
    if new.exists() {
        read(&new)
    } else {
        make(&new, producer.as_str())
    }
}

/// Puts the key that a rotation led to in the place of the one before, once it is registered.
pub fn put_next_key(ledger: &Ledger, producer: &Name) -> Result<(), LedgerError> {
    let path = producer_path(ledger, producer);
    std::fs::rename(path.with_added_extension("new"), &path).at("replace", &path)?;
    files::sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Registers a new key of a producer; the old one ends with the same entry. Returns when that is sealed everywhere.
pub fn rotate_to(engine: &Engine, producer: &Name, key: &VerifierKey) -> Result<(), LedgerError> {
    not_reserved(producer)?;
    let _turn = engine.registry_turn();
    operator::even_out(engine)?;
    let registry = engine.registry()?;
    let known = registry
        .party(producer)
        .map(|keys| keys.keys.as_slice())
        .unwrap_or_default();
    if known.iter().any(|period| period.key == *key) {
        return Ok(());
    }
    if !known.iter().any(|period| period.until.is_none()) {
        return Err(no_key_to_rotate(producer));
    }
    let action = RegistryAction::KeyRotated { key: key.to_string() };
    operator::record(engine, producer, &[action])
}

/// Ends all keys of a producer. Returns when that is sealed everywhere. Nothing it signs is accepted from then on.
pub fn revoke(engine: &Engine, producer: &Name) -> Result<(), LedgerError> {
    not_reserved(producer)?;
    let _turn = engine.registry_turn();
    operator::even_out(engine)?;
    let registry = engine.registry()?;
    let keys = registry
        .party(producer)
        .map(|keys| keys.keys.clone())
        .unwrap_or_default();
    let valid = keys.into_iter().filter(|period| period.until.is_none());
    let actions: Vec<_> = valid
        .map(|period| RegistryAction::KeyRevoked {
            key: period.key.to_string(),
        })
        .collect();
    if actions.is_empty() {
        return Err(LedgerError::Invalid(format!("{producer} has no valid key")));
    }
    operator::record(engine, producer, &actions)
}
