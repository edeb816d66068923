//! A miniature ledger, wholly in memory and from fixed seeds: what the tests of frames, acceptance and dossiers need.
//!
//! In scope: a few shards, producers, customers, erasures, checkpoints, maps, policies, dossiers. What goes in through
//! [`Log::accept`] is accepted by the crate itself; [`Log::force`] puts in what it would refuse.

#![allow(dead_code, reason = "the example that made the golden files uses a part")]

mod ledger;
mod log;
mod maps;
mod random;

use data_encoding::{BASE64, HEXLOWER};
use ed25519_dalek::{Signer, SigningKey};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::{EVENT, RegistryAction};
use sharetrail_proof::frame::encode;
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::name::{ChainId, LedgerId, Name};
use sharetrail_proof::note::{KeyKind, NoteSigner, VerifierKey};
use sharetrail_proof::tree::root_of;

#[allow(unused_imports, reason = "the example that made the golden files uses a part")]
pub(crate) use ledger::{Event, Ledger};
#[allow(unused_imports, reason = "the example that made the golden files uses a part")]
pub(crate) use log::Log;
#[allow(unused_imports, reason = "the example that made the golden files uses a part")]
pub(crate) use maps::Map;
#[allow(unused_imports, reason = "the example that made the golden files uses a part")]
pub(crate) use random::Random;

pub(crate) const LEDGER: &str = "shop.example";
pub(crate) const TIME: u64 = 1_767_225_600;

/// What stands for a sealed content where nobody opens it.
const SEALED: &[u8] = b"sealed";
const NOT_SEALED: &[u8] = &[];

pub(crate) fn hex(digits: &str) -> Vec<u8> {
    HEXLOWER.decode(digits.as_bytes()).unwrap()
}

pub(crate) fn hex32(digits: &str) -> [u8; 32] {
    hex(digits).try_into().unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// 32 bytes that are the same in every run.
pub(crate) fn seed(text: &str) -> [u8; 32] {
    Hash::of(&[b"seed of the tests ", text.as_bytes()]).0
}

pub(crate) fn chain(text: &str) -> ChainId {
    ChainId(*seed(text).first_chunk().unwrap())
}

pub(crate) fn signer(who: &str, key: &str) -> NoteSigner {
    NoteSigner::from_seed(who, &seed(key)).unwrap()
}

pub(crate) fn ledger_id() -> LedgerId {
    LedgerId(seed("ledger id"))
}

pub(crate) fn party() -> RegistryAction {
    party_named("Till GmbH")
}

pub(crate) fn party_named(full_name: &str) -> RegistryAction {
    RegistryAction::PartyRegistered {
        name: full_name.into(),
        country: Some("DE".into()),
        contact: None,
    }
}

pub(crate) fn key_registered(key: &NoteSigner) -> RegistryAction {
    RegistryAction::KeyRegistered {
        key: key.verifier().to_string(),
    }
}

pub(crate) fn key_rotated(key: &NoteSigner) -> RegistryAction {
    RegistryAction::KeyRotated {
        key: key.verifier().to_string(),
    }
}

pub(crate) fn key_revoked(key: &NoteSigner) -> RegistryAction {
    RegistryAction::KeyRevoked {
        key: key.verifier().to_string(),
    }
}

pub(crate) fn operator_replaced(key: &NoteSigner) -> RegistryAction {
    RegistryAction::OperatorReplaced {
        key: key.verifier().to_string(),
    }
}

/// A cosigner of checkpoints; the crate itself only checks cosignatures.
pub(crate) struct Witness {
    key: SigningKey,
    pub(crate) verifier: VerifierKey,
}

impl Witness {
    pub(crate) fn new(who: &str) -> Self {
        let key = SigningKey::from_bytes(&seed(who));
        let verifier = VerifierKey::new(who, KeyKind::Cosignature, key.verifying_key().as_bytes()).unwrap();
        Self { key, verifier }
    }

    /// The signature line over a note's text (C2SP tlog-cosignature).
    pub(crate) fn line(&self, text: &str, time: u64) -> String {
        let signature = self
            .key
            .sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes())
            .to_bytes();
        let id = self.verifier.id().0;
        let bytes = [id.as_slice(), &time.to_be_bytes(), &signature].concat();
        format!("— {} {}\n", self.verifier.name(), BASE64.encode(&bytes))
    }
}

/// The frame of a batch that `signer` signs; events get a sealed content that nobody opens.
pub(crate) fn frame(signer: &NoteSigner, batch: &Batch, entries: &[Vec<u8>]) -> Vec<u8> {
    frame_of(&signer.sign(&batch.to_text()), entries)
}

pub(crate) fn frame_of(note: &str, entries: &[Vec<u8>]) -> Vec<u8> {
    let is_event = |entry: &&[u8]| entry.first() == Some(&EVENT);
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let sealed: Vec<&[u8]> = entries
        .iter()
        .map(|entry| if is_event(entry) { SEALED } else { NOT_SEALED })
        .collect();
    encode(note, &entries, &sealed)
}

pub(crate) fn root(entries: &[Vec<u8>]) -> Hash {
    root_of(&hashes(entries))
}

fn hashes(entries: &[Vec<u8>]) -> Vec<LeafHash> {
    entries.iter().map(|entry| LeafHash::of(entry)).collect()
}
