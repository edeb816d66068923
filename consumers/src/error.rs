//! What can go wrong while a ledger is read, told so that a person can act.
//!
//! In scope: one error for the whole crate, with predicates for what a caller decides on. Out of scope:
//! wording for screens. Trust: an error can hold a customer id; logs of these errors are as confidential as
//! that.

use std::io;
use std::path::PathBuf;

use sharetrail_ledger::LedgerError;
use sharetrail_proof::name::Label;
use thiserror::Error;

use crate::store::StoreError;

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConsumerError {
    /// The logs cannot be served at an address.
    #[error("cannot serve at {address}: {source}; choose another address with --listen")]
    Serve {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The ledger's folder, archive or vault.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store of a projection.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused something about a projection's folder.
    #[error("cannot {doing} {}: {source}; projections can be deleted and are folded anew", .path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A projection could not be replaced and is gone; the error before this one said why.
    #[error("there is no trail index in {}: run the command again", .path.display())]
    Gone {
        /// The folder.
        path: PathBuf,
    },
    /// A projection holds what the log does not confirm, even after it was folded anew.
    #[error("the trail index contradicts the log: {reason}; run `sharetrail rebuild`")]
    Index {
        /// What does not fit, and where.
        reason: String,
    },
    /// The archive holds something that no log can hold.
    #[error("shard {shard}, leaf {index}: {reason}; run `sharetrail audit`")]
    Log {
        /// The shard.
        shard: u32,
        /// The leaf.
        index: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The trail index is folded less far than what it was held against; folding it further helps.
    #[error(
        "shard {shard}: the trail index has folded {folded} leaves, and {wanted} are needed; run the command again"
    )]
    Behind {
        /// The shard.
        shard: u32,
        /// Leaves that are folded.
        folded: u64,
        /// Leaves that must be.
        wanted: u64,
    },
    /// No root of the customer map was sealed yet, so nothing can be shown to be complete.
    #[error(
        "no customer map of shard {shard} is sealed yet: run `sharetrail dossier` where the ledger can be sequenced, or \
         wait a moment for `sharetrail serve`"
    )]
    NoMap {
        /// The shard.
        shard: u32,
    },
    /// The customer map that was sealed last is older than what is to be shown.
    #[error(
        "shard {shard}: the customer map that was sealed last covers {covered} leaves, and leaf {index} is to be shown: run \
         the command where the ledger can be sequenced, or wait a moment for `sharetrail serve`"
    )]
    NotCovered {
        /// The shard.
        shard: u32,
        /// The leaf.
        index: u64,
        /// Leaves that the map covers.
        covered: u64,
    },
    /// A certificate was asked for, and no erasure is on record.
    #[error("no erasure of {customer:?} is on record in generation {generation}; `sharetrail erase` erases")]
    NotErased {
        /// The customer id, as asked for.
        customer: String,
        /// The generation.
        generation: u32,
    },
    /// Another server was asked, and did not answer as it should.
    #[error("{url}: {reason}")]
    Remote {
        /// What was asked.
        url: String,
        /// The status of its answer, where it gave one.
        status: Option<u16>,
        /// What is wrong.
        reason: String,
    },
    /// It cannot be said whose a label is.
    #[error("label {label}: {reason}")]
    Label {
        /// The label.
        label: Label,
        /// Why not.
        reason: &'static str,
    },
    /// Nothing in the log belongs to the customer.
    #[error("there is nothing on record about {customer:?}: check the spelling of the customer id")]
    NothingOnRecord {
        /// The customer id, as asked for.
        customer: String,
    },
}

impl ConsumerError {
    /// Whether another process holds what is needed: trying again later may help.
    pub fn is_locked(&self) -> bool {
        match self {
            Self::Ledger(error) => error.is_locked(),
            Self::Store(error) => error.is_locked(),
            _ => false,
        }
    }

    /// Whether the ledger was checked and the answer is no: an old or another history.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Ledger(error) if error.is_refusal())
    }

    /// Whether the question is about a customer that the log knows nothing of.
    pub fn is_nothing_on_record(&self) -> bool {
        matches!(self, Self::NothingOnRecord { .. })
    }

    /// Whether what is asked for needs a customer map that is sealed later: trying again in a moment may help.
    pub fn is_not_covered(&self) -> bool {
        matches!(self, Self::NoMap { .. } | Self::NotCovered { .. })
    }

    /// Whether a projection that is deleted and folded anew would not say this.
    pub(crate) fn calls_for_a_rebuild(&self) -> bool {
        match self {
            Self::Index { .. } => true,
            Self::Store(error) => error.is_corrupt(),
            _ => false,
        }
    }

    /// A projection does not fit the log.
    pub(crate) fn index(reason: impl Into<String>) -> Self {
        Self::Index {
            reason: reason.into(),
        }
    }
}
