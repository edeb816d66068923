//! What can be wrong with a dossier or a certificate, and where.
//!
//! In scope: telling a file that is none from one that does not hold. Out of scope: wording for people.
//! Trust: none needed.

use std::fmt;

use thiserror::Error;

use crate::batch::BatchError;
use crate::customer::OpenError;
use crate::entry::EntryError;
use crate::hash::{Hash, LeafIndex, TreeSize};
use crate::map::{MapError, MapLeafError};
use crate::name::{Label, Name};
use crate::note::NoteError;
use crate::policy::PolicyError;
use crate::registry::RegistryError;
use crate::tree::ProofError;
use crate::vrf::VrfError;

/// Why a file was not verified.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DossierError {
    /// Empty, truncated, not JSON, or JSON of something else: nothing was checked.
    #[error("not a dossier or certificate: {reason}")]
    NotADossier {
        /// What it is instead.
        reason: String,
    },
    /// A dossier or certificate that somebody changed: it is not even in the form of one.
    #[error("altered: {reason}")]
    Altered {
        /// What does not fit, and where.
        reason: String,
    },
    /// A dossier or certificate whose evidence does not hold.
    #[error("{} of the checks failed; the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Disproved(Vec<Fault>),
}

impl DossierError {
    /// Whether the file was checked and does not hold, rather than could not be checked.
    pub fn is_disproof(&self) -> bool {
        !matches!(self, Self::NotADossier { .. })
    }
}

/// One thing that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The place in the file, such as `generations[0].events[3].leaf.path`.
    pub at: String,
    /// What does not hold.
    pub kind: FaultKind,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.kind)
    }
}

/// What does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultKind {
    /// A `format`, a ledger's name or a log's origin that is not the one that belongs there.
    #[error("expected {expected:?}, found {found:?}")]
    Text {
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A number or a position that does not fit.
    #[error("expected {expected}, found {found}")]
    Number {
        /// What it must be, or be below.
        expected: u64,
        /// What it is.
        found: u64,
    },
    /// Indexes, shards, names or the batches of a chain that do not rise, or a chain that goes on by another producer.
    #[error("not in rising order, or twice")]
    Order,
    /// A hash that stands twice in the pool, or that no path names.
    #[error("the hash is pooled twice or never used")]
    Pool,
    /// The customer id breaks its rules.
    #[error("not a customer id")]
    CustomerId,
    /// The policy does not believe the checkpoint.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Not where the path says.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Not an entry, or not of the kind that belongs there.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// An entry of another kind than the place wants.
    #[error("an entry of another kind than belongs here")]
    Kind,
    /// The genesis entry is not this ledger's, or not the same in all shards.
    #[error("the genesis entry is not that of the policy's ledger and of this shard")]
    Genesis,
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not a batch note.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The batch is another ledger's or shard's.
    #[error("the batch was made for another ledger or shard")]
    Elsewhere,
    /// No key of the producer was valid there.
    #[error("no key of {producer} that was valid at index {index} signed the batch")]
    Key {
        /// Who claims to have signed.
        producer: Name,
        /// The batch entry's index.
        index: LeafIndex,
    },
    /// A producer or a party of a registry entry, of which it is not shown that all its registry entries are there.
    #[error("{party} is involved, and the map's path for it is not among the parties")]
    Party {
        /// Who is missing.
        party: Name,
    },
    /// A shard on which no label lives, a generation without a leaf, or a party that signed no batch and stands in no
    /// registry entry: nothing binds what it says.
    #[error("nothing that is shown needs this")]
    Unneeded,
    /// Another shard shows another registry entry under the same `seq`.
    #[error("the registry entry is another one than that of the same number on another shard")]
    Registries,
    /// Not a leaf of a map log.
    #[error(transparent)]
    MapLeaf(#[from] MapLeafError),
    /// Not a path in a customer map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// The leaves shown under a label are not all that the map holds of it, or not those: one was left out, added,
    /// changed or put elsewhere.
    #[error("the leaves shown here are not all, or not those, that the map holds under this label: {0}")]
    Incomplete(MapError),
    /// The map does not show that it holds nothing under a label: something is left out, or the path is another's.
    #[error("the map does not show that it holds nothing under this label: {0}")]
    NotAbsent(MapError),
    /// An entry that the map does not hold yet, where only one that it holds may stand.
    #[error("the entry at index {index} is not covered: the map is that of the first {size} leaves")]
    Uncovered {
        /// Where the entry is.
        index: LeafIndex,
        /// How many leaves of the log the map was built from.
        size: TreeSize,
    },
    /// A rule of the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The label is not the customer's.
    #[error("the label is not shown to be this customer's: {0}")]
    Vrf(#[from] VrfError),
    /// Another label than the one that is proven.
    #[error("expected label {expected}, found {found}")]
    Label {
        /// The label that belongs there.
        expected: Label,
        /// The label that stands there.
        found: Label,
    },
    /// The content is not the one that was committed to.
    #[error("the content is not the one the entry commits to")]
    Commitment {
        /// What the entry says.
        expected: Hash,
        /// What the content gives.
        found: Hash,
    },
    /// A sealed content that does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The content is about somebody else, or says not about whom.
    #[error("the content is about {found:?}, not about this customer")]
    Customer {
        /// The content's `subject`.
        found: Option<String>,
    },
    /// Called erased, without an erasure entry.
    #[error("called erased, and no erasure is on record")]
    NotErased,
    /// An event in the operator's own chain, where only registry and erasure entries may stand.
    #[error("an event that its signer may not write")]
    Misplaced,
    /// An event follows the erasure of its label, a content is shown that was to be erased, or a generation goes on without an erasure before.
    #[error("the erasure entry and what is shown do not fit each other")]
    Erasure,
}
