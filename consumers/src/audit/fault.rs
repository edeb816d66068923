//! What an audit finds: faults, each with its place and its kind.
//!
//! In scope: the kinds, which have stable names, and a list that stays bounded however broken a ledger is.
//! Out of scope: finding them, wording for screens. Trust: what a fault quotes out of a log is untrusted.

use std::fmt;

use serde::{Deserialize, Serialize};
use sharetrail_proof::acceptance::Rejection;

/// The most faults of a shard that are kept; further ones are counted.
const FAULTS_MAX: usize = 1_000;
/// The most characters of what is said about a fault: a log may hold long texts, which are quoted.
const WHAT_CHARS_MAX: usize = 1_000;

fn short(what: String) -> String {
    let end = what.char_indices().nth(WHAT_CHARS_MAX).map(|(end, _)| end);
    match end {
        Some(end) => format!("{}…", &what[..end]),
        None => what,
    }
}

/// Which of a shard's two logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogKind {
    /// The record log.
    Record,
    /// The map log.
    Map,
}

impl LogKind {
    /// The folder that its tree is served from, beside those of the other shards.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Record => "log",
            Self::Map => "map",
        }
    }
}

impl fmt::Display for LogKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Record => "record log",
            Self::Map => "map log",
        })
    }
}

/// What is wrong. The names in JSON are the variants' in kebab case, and stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FaultKind {
    /// A checkpoint that the policy does not accept: signature, origin, quorum.
    Checkpoint,
    /// A signed checkpoint covers it, and it is not there.
    Missing,
    /// A bundle that is not made of entries.
    Bundle,
    /// The entries do not give the signed root.
    Root,
    /// An entry is not the one that the checkpoint was signed over.
    Entry,
    /// A tile does not follow from the entries, or from the tiles below it.
    Tile,
    /// Leaf 0 is not the genesis entry of this ledger and shard.
    Genesis,
    /// The genesis entries of two shards do not agree.
    GenesisDiffers,
    /// Leaves that belong to no batch.
    NoBatch,
    /// A batch entry that is no batch note.
    BatchNote,
    /// A batch of which the checkpoint covers a part only.
    BatchCut,
    /// A batch that was meant for another ledger or shard.
    BatchElsewhere,
    /// No key that was valid there signed the batch.
    BatchKey,
    /// The batch's signature is wrong.
    BatchSignature,
    /// The batch is on another producer's chain, does not follow in its chain, or stands there twice.
    BatchChain,
    /// The batch's entries do not give its root.
    BatchRoot,
    /// An entry that is none, or of a kind that its producer may not write.
    EntryKind,
    /// An entry whose label lives on another shard.
    WrongShard,
    /// An entry under a label that was erased before.
    ErasedLabel,
    /// A registry entry that breaks the registry's rules.
    Registry,
    /// Two shards have different registry entries with the same number.
    RegistryDiffers,
    /// A shard lacks registry entries that another one has.
    RegistryMissing,
    /// A leaf of the map log that is no map leaf.
    MapLeaf,
    /// A map leaf names a checkpoint that the record log never had.
    MapRecord,
    /// Sizes or times of map leaves fall, or a time is yet to come.
    MapOrder,
    /// A map leaf covers leaves that the record log's checkpoint does not.
    MapAhead,
    /// The map of the record log's leaves has another root.
    MapRoot,
    /// The map of the record log's leaves has another number of labels.
    MapLabels,
    /// A log is smaller than when it was audited before.
    RolledBack,
    /// A log holds another history than when it was audited before.
    Rewritten,
    /// A dossier that does not verify.
    Dossier,
    /// A dossier under a checkpoint that is later than what was audited.
    DossierLater,
    /// A dossier under a checkpoint of another history than the audited one.
    DossierFork,
    /// A label of the sample that no dossier is about.
    SampleMissing,
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// In which shard; none where it is a file's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shard: Option<u32>,
    /// In which of its logs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub log: Option<LogKind>,
    /// At which leaf; of a whole tree, its size.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub index: Option<u64>,
    /// In which file of dossiers.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// What was expected and what was found.
    pub what: String,
}

impl Fault {
    /// A fault of a log.
    pub(crate) fn at(shard: u32, log: LogKind, index: u64, kind: FaultKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            shard: Some(shard),
            log: Some(log),
            index: Some(index),
            file: None,
            what: short(what.into()),
        }
    }

    /// A fault of a dossier.
    pub(crate) fn of_file(file: &str, kind: FaultKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            shard: None,
            log: None,
            index: None,
            file: Some(file.to_owned()),
            what: short(what.into()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if let Some(shard) = self.shard {
            write!(f, "shard {shard}, ")?;
        }
        if let (Some(log), Some(index)) = (self.log, self.index) {
            write!(f, "{log}, leaf {index}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// The kind of fault that a batch is which may not stand where it stands.
pub(crate) fn kind_of(rejection: &Rejection) -> FaultKind {
    match rejection {
        Rejection::Elsewhere { .. } => FaultKind::BatchElsewhere,
        Rejection::NoValidKey { .. } => FaultKind::BatchKey,
        Rejection::Signature(_) => FaultKind::BatchSignature,
        Rejection::ForeignChain { .. }
        | Rejection::Gap { .. }
        | Rejection::Prev { .. }
        | Rejection::Fork { .. } => FaultKind::BatchChain,
        Rejection::Root { .. } => FaultKind::BatchRoot,
        Rejection::Entry { .. } | Rejection::Kind { .. } => FaultKind::EntryKind,
        Rejection::WrongShard { .. } => FaultKind::WrongShard,
        Rejection::ErasedLabel { .. } => FaultKind::ErasedLabel,
        Rejection::Registry { .. } => FaultKind::Registry,
        _ => FaultKind::BatchNote,
    }
}

/// The faults of a shard, the first thousand of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// In the order in which they were found.
    pub(crate) told: Vec<Fault>,
    /// How many more there are.
    pub(crate) more: u64,
}

impl Faults {
    /// Adds one.
    pub(crate) fn add(&mut self, fault: Fault) {
        if self.told.len() < FAULTS_MAX {
            self.told.push(fault);
        } else {
            self.more += 1;
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_stable_names_and_lists_are_bounded() {
        let name = |kind: FaultKind| serde_json::to_string(&kind).unwrap();
        assert_eq!(name(FaultKind::RolledBack), "\"rolled-back\"");
        assert_eq!(name(FaultKind::MapRoot), "\"map-root\"");
        let mut faults = Faults::default();
        for index in 0..FAULTS_MAX as u64 + 5 {
            faults.add(Fault::at(0, LogKind::Record, index, FaultKind::Entry, "altered"));
        }
        assert_eq!((faults.told.len(), faults.more), (FAULTS_MAX, 5));
        let long = Fault::at(0, LogKind::Map, 0, FaultKind::MapRecord, "é".repeat(60_000));
        assert_eq!(long.what.chars().count(), WHAT_CHARS_MAX + 1);
    }
}
