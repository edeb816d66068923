//! Dossiers: one JSON file that proves one customer's trail to somebody who has only it and a policy.
//!
//! In scope: the file ([`Dossier`], one way of writing each), building it from parts ([`Builder`]), and every check
//! ([`Dossier::verify`]). Out of scope: reading a ledger (the consumers' job) and showing a trail.
//! Trust: nothing in the file; the policy wholly.

mod build;
mod fault;
mod keys;
mod verify;

pub use build::{Builder, Place};
pub use fault::{DossierError, Fault, FaultKind};
pub use verify::{VerifiedContent, VerifiedDossier, VerifiedEvent, VerifiedGeneration};

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hash::Hash;
use crate::name::{Label, Name};

/// The `format` of a dossier.
pub const FORMAT: &str = "sharetrail.org/dossier@v1";
/// The most bytes of a dossier.
pub const MAX_DOSSIER_BYTES: usize = 1 << 30;

/// Bytes, in JSON as standard base64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64
            .decode(text.as_bytes())
            .map(Self)
            .map_err(|_| serde::de::Error::custom("expected base64"))
    }
}

/// Sibling hashes, leaf to root, as positions in [`Dossier::hashes`].
pub type Path = Vec<u32>;

/// A dossier as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    /// Always [`FORMAT`].
    pub format: String,
    /// The ledger's name.
    pub ledger: Name,
    /// The customer id, as the company knows it.
    pub customer: String,
    /// Every hash that a path names, none twice, in the order of first use.
    pub hashes: Vec<Hash>,
    /// What is the same for all events of a shard.
    pub shards: Vec<ShardEvidence>,
    /// From 0, without a gap.
    pub generations: Vec<Generation>,
}

/// Checkpoint, genesis, batches and keys of one shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEvidence {
    /// The shard's index.
    pub shard: u32,
    /// The record log's checkpoint note.
    pub checkpoint: String,
    /// The genesis entry.
    pub genesis: Base64,
    /// Its place, index 0.
    pub genesis_path: Path,
    /// The batches that hold the leaves below, by rising index.
    pub batches: Vec<BatchEvidence>,
    /// All registry entries of the producers involved and of the operator, by rising index.
    pub registry: Vec<LeafEvidence>,
}

/// A batch note and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchEvidence {
    /// The index of the batch entry.
    pub index: u64,
    /// The whole note.
    pub note: String,
    /// Its place in the log.
    pub path: Path,
}

/// An entry, its place in its batch and its place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafEvidence {
    /// The entry's bytes.
    pub entry: Base64,
    /// Which of the shard's batches holds it.
    pub batch: u32,
    /// Its position in the batch; its index is the batch's + 1 + this.
    pub position: u32,
    /// Its place in the batch.
    pub batch_path: Path,
    /// Its place in the log.
    pub path: Path,
}

/// One generation of the customer: one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// How often the customer was erased before.
    pub generation: u32,
    /// The label in the log.
    pub label: Label,
    /// The VRF proof that the label is the customer's: 80 bytes.
    pub proof: Base64,
    /// The events under the label, by rising index.
    pub events: Vec<EventEvidence>,
    /// The erasure entry, where the generation has ended.
    pub erasure: Option<LeafEvidence>,
}

/// An event with what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventEvidence {
    /// The entry and its place.
    pub leaf: LeafEvidence,
    /// What the entry commits to.
    pub content: ContentEvidence,
}

/// A content, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase", deny_unknown_fields)]
pub enum ContentEvidence {
    /// The content, which the entry's commitment binds.
    Opened {
        /// 32 bytes.
        opening: Base64,
        /// The event's JSON, byte for byte.
        json: String,
    },
    /// The customer's key was destroyed; the label has an erasure entry.
    Erased {},
    /// The content cannot be opened though nothing was erased: a fault, and the batch's signer is named with it.
    Unreadable {},
}

impl Dossier {
    /// The bytes of the file. There is one way of writing each dossier: members in this order, no white space outside
    /// of strings, one newline at the end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("strings, numbers and lists always serialise");
        bytes.push(b'\n');
        bytes
    }

    /// Reads a file. A file that is not written in the one way is altered, wherever it differs.
    pub fn parse(bytes: &[u8]) -> Result<Self, DossierError> {
        if bytes.len() > MAX_DOSSIER_BYTES {
            return Err(DossierError::NotADossier {
                reason: format!("more than {MAX_DOSSIER_BYTES} bytes"),
            });
        }
        let dossier: Self =
            serde_json::from_slice(bytes).map_err(|error| fault::unreadable(bytes, &error))?;
        let canonical = dossier.to_bytes();
        match canonical.iter().zip(bytes).position(|(a, b)| a != b) {
            None if canonical.len() == bytes.len() => Ok(dossier),
            None if bytes.len() < canonical.len() => Err(DossierError::NotADossier {
                reason: "the file is truncated".into(),
            }),
            place => {
                let at = place.unwrap_or(canonical.len().min(bytes.len()));
                Err(DossierError::Altered {
                    reason: format!("byte {at} is not as a dossier is written"),
                })
            }
        }
    }
}
