//! What can be wrong with a dossier, and where.
//!
//! In scope: telling a file that is no dossier from a dossier that does not hold. Out of scope: wording for people.
//! Trust: none needed.

use std::fmt;

use serde_json::error::Category;
use thiserror::Error;

use crate::batch::BatchError;
use crate::customer::OpenError;
use crate::entry::EntryError;
use crate::hash::{Hash, LeafIndex};
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
    #[error("not a dossier: {reason}")]
    NotADossier {
        /// What it is instead.
        reason: String,
    },
    /// A dossier that somebody changed: it is not even in the form of one.
    #[error("altered: {reason}")]
    Altered {
        /// What does not fit, and where.
        reason: String,
    },
    /// A dossier whose evidence does not hold.
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
    /// Another `format` than this one.
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
    /// Indexes, shards or generations that do not rise.
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

/// Sorts out why JSON did not parse as a dossier: a damaged dossier is evidence of a change, other files are not.
pub(super) fn unreadable(bytes: &[u8], error: &serde_json::Error) -> DossierError {
    let reason = if bytes.is_empty() {
        "the file is empty".to_owned()
    } else {
        error.to_string()
    };
    if error.classify() == Category::Eof || !resembles_a_dossier(bytes) || !is_ended(bytes) {
        return DossierError::NotADossier { reason };
    }
    DossierError::Altered { reason }
}

/// Whether the file goes to its end: `}` and a newline, one of which may be the byte that was changed.
fn is_ended(bytes: &[u8]) -> bool {
    let [.., brace, newline] = bytes else { return false };
    *brace == b'}' || (*newline == b'\n' && bytes[..bytes.len() - 2].ends_with(b"]"))
}

/// Whether most of what every dossier holds is there. A single changed byte can hit one marker, not three.
fn resembles_a_dossier(bytes: &[u8]) -> bool {
    let markers: [&[u8]; 4] = [
        b"\"sharetrail.org/dossier@v1\"",
        b"\"hashes\":[",
        b"\"generations\":[",
        b"\"shards\":[",
    ];
    let found = |marker: &&&[u8]| bytes.windows(marker.len()).any(|window| window == **marker);
    markers.iter().filter(found).count() >= 3
}
