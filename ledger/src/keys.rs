//! Keys: the files they lie in, and the registry commands that say which are valid.
//!
//! In scope: key files, listing, adding, rotating, revoking producers' keys. Out of scope: what a valid key may do (the
//! rules of acceptance). Trust: key files are private or refused.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sharetrail_proof::entry::RegistryAction;
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Name, OPERATOR, RECOVERY};
use sharetrail_proof::note::{KeyId, NoteSigner, VerifierKey};
use sharetrail_proof::registry::{KeyPeriod, Registry};

use crate::engine::Engine;
use crate::error::{At, LedgerError};
use crate::files;
use crate::ledger::Ledger;
use crate::operator;

pub(crate) const VRF_FILE: &str = "vrf.key";
/// The most characters of a party's name or contact.
const PARTY_CHARACTERS: usize = 300;

pub(crate) fn log_file(shard: u32) -> String {
    format!("log-{shard}.key")
}

/// The key of a shard's map log.
pub(crate) fn map_file(shard: u32) -> String {
    format!("map-{shard}.key")
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
        found.extend(keys.keys.iter().map(|period| KeyStatus {
            party: party.clone(),
            key: period.key.to_string(),
            id: period.key.id().to_string(),
            from: period.from,
            until: period.until,
            private_here: lies_here(ledger, party, &period.key),
        }));
    }
    Ok(found)
}

/// Whether the private half of a key lies in the ledger's folder, put away or not.
fn lies_here(ledger: &Ledger, party: &Name, key: &VerifierKey) -> bool {
    let places = [producer_path(ledger, party), ended_path(ledger, party, key.id())];
    places
        .iter()
        .any(|path| read(path).is_ok_and(|signer| signer.verifier() == key))
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

/// The producer's key in the ledger's folder, made if there is none or it has ended.
pub fn own_key(ledger: &Ledger, producer: &Name) -> Result<NoteSigner, LedgerError> {
    not_reserved(producer)?;
    usable(ledger, producer, &producer_path(ledger, producer))
}

/// The key in a file, if it can still become valid; otherwise one that is made there.
fn usable(ledger: &Ledger, producer: &Name, path: &Path) -> Result<NoteSigner, LedgerError> {
    if path.exists() {
        let signer = read(path)?;
        if !has_ended(&ledger.registry()?, producer, signer.verifier()) {
            return Ok(signer);
        }
        put_away(ledger, producer, path, &signer)?;
    }
    make(path, producer.as_str())
}

/// Whether a key is on record as ended; such a key never becomes valid again.
fn has_ended(registry: &Registry, producer: &Name, key: &VerifierKey) -> bool {
    let ended = |period: &KeyPeriod| period.until.is_some() && period.key == *key;
    registry
        .party(producer)
        .is_some_and(|keys| keys.keys.iter().any(ended))
}

/// Where the key of a producer lies once it has ended.
fn ended_path(ledger: &Ledger, producer: &Name, id: KeyId) -> PathBuf {
    producer_path(ledger, producer).with_added_extension(format!("ended-{id}"))
}

fn put_away(ledger: &Ledger, producer: &Name, path: &Path, signer: &NoteSigner) -> Result<(), LedgerError> {
    let to = ended_path(ledger, producer, signer.verifier().id());
    std::fs::rename(path, to).at("put away", path)?;
    files::sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Puts the producer's key in the ledger's folder away after all its keys were revoked, so that the next one is another.
/// A key that cannot be read stays where it is.
pub fn put_revoked_away(ledger: &Ledger, producer: &Name) -> Result<(), LedgerError> {
    not_reserved(producer)?;
    let path = producer_path(ledger, producer);
    match read(&path) {
        Ok(signer) => put_away(ledger, producer, &path, &signer),
        Err(_) => Ok(()),
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
    let is_valid = |period: &KeyPeriod| period.until.is_none();
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

/// Registers a party that records nothing, such as a recipient, or what is to be known of a party from now on: its name as
/// people read it, its country (two capital letters) and how to reach it about privacy. It gets no key. Returns when that
/// is sealed in every shard. Whether there was anything to do.
pub fn register_party(
    engine: &Engine,
    party: &Name,
    name: &str,
    country: Option<&str>,
    contact: Option<&str>,
) -> Result<bool, LedgerError> {
    not_reserved(party)?;
    fits_a_party(name, country, contact)?;
    let _turn = engine.registry_turn();
    let finished = operator::even_out(engine)?;
    let action = RegistryAction::PartyRegistered {
        name: name.to_owned(),
        country: country.map(str::to_owned),
        contact: contact.map(str::to_owned),
    };
    if engine.registry()?.party(party).is_some()
        && operator::registered(engine, party)?.as_ref() == Some(&action)
    {
        return Ok(finished);
    }
    operator::record(engine, party, &[action]).map(|()| true)
}

fn fits_a_party(name: &str, country: Option<&str>, contact: Option<&str>) -> Result<(), LedgerError> {
    let is_text = |text: &str| {
        !text.trim().is_empty()
            && text.chars().count() <= PARTY_CHARACTERS
            && !text.chars().any(char::is_control)
    };
    if ![Some(name), contact].into_iter().flatten().all(is_text) {
        return Err(LedgerError::Invalid(format!(
            "a party's name and contact are texts of 1 to {PARTY_CHARACTERS} characters"
        )));
    }
    let is_country =
        |country: &str| country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    if country.is_none_or(is_country) {
        return Ok(());
    }
    let text = "a country is its two capital letters of ISO 3166-1, such as IE";
    Err(LedgerError::Invalid(text.into()))
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
/// up the same, unless it has ended since.
pub fn next_key(ledger: &Ledger, producer: &Name) -> Result<NoteSigner, LedgerError> {
    not_reserved(producer)?;
    let new = producer_path(ledger, producer).with_added_extension("new");
    usable(ledger, producer, &new)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A ledger at work in a temporary folder.
    fn at_work() -> (tempfile::TempDir, Engine) {
        let (folder, ledger) = testing::ledger(1);
        let engine = Engine::start(&ledger).unwrap();
        (folder, engine)
    }

    /// The producer's keys on record: whether each is valid, and whether its private half is here.
    fn told(engine: &Engine, producer: &Name) -> Vec<(bool, bool)> {
        let all = list(engine.ledger()).unwrap();
        all.iter()
            .filter(|key| key.party == *producer)
            .map(|key| (key.until.is_none(), key.private_here))
            .collect()
    }

    /// The fault: a producer whose key was revoked can never be given another, since the file holds the one that ended.
    #[test]
    fn a_revoked_producer_is_given_another_key() {
        let (_folder, engine) = at_work();
        for (till, is_interrupted) in [(name("till"), false), (name("web"), true)] {
            add_producer(&engine, &till).unwrap();
            let first = producer_signer(engine.ledger(), &till).unwrap();
            revoke(&engine, &till).unwrap();
            if !is_interrupted {
                put_revoked_away(engine.ledger(), &till).unwrap();
                assert!(!producer_path(engine.ledger(), &till).exists());
                put_revoked_away(engine.ledger(), &till).unwrap();
            }
            assert_eq!(told(&engine, &till), [(false, true)]);
            add_producer(&engine, &till).unwrap();
            assert_eq!(told(&engine, &till), [(false, true), (true, true)]);
            let away = ended_path(engine.ledger(), &till, first.verifier().id());
            assert_eq!(read(&away).unwrap().verifier(), first.verifier());
            files::check_private(&away).unwrap();
            let second = valid_signer(&engine, &till).unwrap();
            assert_ne!(second.verifier(), first.verifier());
        }
        engine.stop().unwrap();
    }

    /// The fault: a recipient can act as a producer; or each time it is named again there is one entry more.
    #[test]
    fn a_party_is_registered_once_and_without_a_key() {
        let (_folder, engine) = at_work();
        let courier = name("courier.example");
        let registered = |text, country, contact| register_party(&engine, &courier, text, country, contact);
        assert!(registered("Courier Ltd", Some("IE"), Some("privacy@courier.example")).unwrap());
        assert!(!registered("Courier Ltd", Some("IE"), Some("privacy@courier.example")).unwrap());
        let seq = || engine.registry().unwrap().next().0;
        let before = seq();
        assert!(registered("Courier Ltd", Some("FR"), None).unwrap());
        assert!(!registered("Courier Ltd", Some("FR"), None).unwrap());
        assert_eq!(seq(), before + 1);
        let registry = engine.registry().unwrap();
        let party = registry.party(&courier).unwrap();
        assert_eq!(
            (party.name.as_deref(), party.keys.len()),
            (Some("Courier Ltd"), 0)
        );
        let long = "x".repeat(PARTY_CHARACTERS + 1);
        for (text, country) in [
            ("", None),
            (&long[..], None),
            ("a\nb", None),
            ("a", Some("ie")),
            ("a", Some("IRL")),
        ] {
            assert!(matches!(
                registered(text, country, None),
                Err(LedgerError::Invalid(_))
            ));
        }
        for reserved in [OPERATOR, RECOVERY] {
            let refused = register_party(&engine, &name(reserved), "Somebody", None, None);
            assert!(matches!(refused, Err(LedgerError::Invalid(_))));
        }
        // One that has keys keeps them, and one that is registered can get a key.
        let till = name("till");
        add_producer(&engine, &till).unwrap();
        assert!(register_party(&engine, &till, "The till", None, None).unwrap());
        assert_eq!(told(&engine, &till), [(true, true)]);
        add_producer(&engine, &courier).unwrap();
        assert_eq!(told(&engine, &courier), [(true, true)]);
        engine.stop().unwrap();
    }

    /// The fault: a rotation that was interrupted, and its key revoked since, puts the revoked key into the place of the
    /// valid one.
    #[test]
    fn a_rotation_never_leads_to_a_key_that_has_ended() {
        let (_folder, engine) = at_work();
        let till = name("till");
        add_producer(&engine, &till).unwrap();
        let left = next_key(engine.ledger(), &till).unwrap();
        let again = next_key(engine.ledger(), &till).unwrap();
        assert_eq!(again.verifier(), left.verifier());
        rotate_to(&engine, &till, left.verifier()).unwrap();
        revoke(&engine, &till).unwrap();
        add_producer(&engine, &till).unwrap();
        rotate(&engine, &till).unwrap();
        let valid = valid_signer(&engine, &till).unwrap();
        assert_ne!(valid.verifier(), left.verifier());
        engine.stop().unwrap();
    }
}
