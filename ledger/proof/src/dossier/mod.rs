//! Dossiers and erasure certificates: one JSON file that proves one customer's trail, or one erasure, to somebody who
//! has only it and a policy.
//!
//! In scope: the files ([`Dossier`], [`Certificate`], one way of writing each), building them from parts
//! ([`Builder`]), and every check ([`Dossier::verify`], [`Certificate::verify`]). Out of scope: reading a ledger (the
//! consumers' job) and showing a trail. Trust: nothing in the file; the policy wholly.
//!
//! What a dossier proves, up to the last leaf of each map log: these are *all* events of the customer, in generations
//! 0 to g, and of generation g + 1 there is nothing. Events that the map does not cover yet are on record and signed;
//! that there are no others like them is not proven.

mod build;
mod certificate;
mod check;
mod fault;
mod file;
mod generation;
mod keys;
mod maps;
mod shard;
mod verified;
mod verify;

pub use build::{Builder, MapPart, Place};
pub use certificate::Certificate;
pub use fault::{DossierError, Fault, FaultKind};
pub use file::{CERTIFICATE_FORMAT, FORMAT, FileKind, MAX_DOSSIER_BYTES, kind_of};
pub use verified::{
    VerifiedAbsence, VerifiedContent, VerifiedDossier, VerifiedErasure, VerifiedEvent, VerifiedGeneration,
    VerifiedMap, VerifiedParty,
};

use data_encoding::BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base64;
use crate::hash::Hash;
use crate::map::OtherLeaf;
use crate::name::{Label, Name};

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
        base64::decode(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("expected base64"))
    }
}

/// A member that may be `null` and must be there all the same; without this, serde takes its absence for `null`.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// Hashes of a proof, in its order, as positions in the file's `hashes`.
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
    /// What is the same for all events of a shard; one for each shard on which a label below lives.
    pub shards: Vec<ShardEvidence>,
    /// From 0, without a gap, each with an event or its erasure. None where the customer was never known.
    pub generations: Vec<Generation>,
    /// That nothing is on record under the generation that would follow.
    pub absence: Absence,
}

/// Checkpoint, genesis, map, batches and keys of one shard.
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
    /// The customer map that says which leaves are all.
    pub map: MapEvidence,
    /// The batches that hold the leaves below, by rising index.
    pub batches: Vec<BatchEvidence>,
    /// All registry entries of the parties below, by rising index.
    pub registry: Vec<LeafEvidence>,
    /// Whoever signed a batch (but the recovery key) or stands in a registry entry here, and nobody else; by rising name.
    pub parties: Vec<PartyEvidence>,
}

/// The map of a shard: the last leaf of its map log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapEvidence {
    /// The map log's checkpoint note.
    pub checkpoint: String,
    /// The text of its last leaf.
    pub leaf: String,
    /// The leaf's place in the map log, which is the last.
    pub path: Path,
    /// That the record log only grew from the checkpoint in the leaf to the shard's; empty where they are one.
    pub consistency: Path,
}

/// A path in a shard's customer map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelPath {
    /// The siblings, the deepest first.
    pub path: Path,
    /// The other label that stands where this one would, if one does.
    #[serde(deserialize_with = "or_null")]
    pub other: Option<OtherLeaf>,
}

/// A party of the registry, and that all its registry entries are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyEvidence {
    /// Its name.
    pub party: Name,
    /// The path to the party's label.
    pub map: LabelPath,
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
    /// The label in the map: that what follows is all that the map covers.
    pub map: LabelPath,
    /// The events under the label, by rising index.
    pub events: Vec<EventEvidence>,
    /// The erasure entry, where the generation has ended.
    #[serde(deserialize_with = "or_null")]
    pub erasure: Option<LeafEvidence>,
}

/// The generation that would follow, and that there is nothing under its label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Absence {
    /// One more than the last generation shown; 0 where none is.
    pub generation: u32,
    /// The label that it would have.
    pub label: Label,
    /// The VRF proof that the label would be the customer's: 80 bytes.
    pub proof: Base64,
    /// The way in the map to where the label is not.
    pub map: LabelPath,
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
        file::write(self)
    }

    /// Reads a file. A file that is not written in the one way is altered, wherever it differs.
    pub fn parse(bytes: &[u8]) -> Result<Self, DossierError> {
        file::read(bytes, FileKind::Dossier)
    }
}
