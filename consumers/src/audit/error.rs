//! Why an audit could not be done, as against what it found.
//!
//! In scope: what keeps an auditor from looking. Out of scope: faults of the ledger (`fault`). Trust: none needed.

use std::io;
use std::path::{Path, PathBuf};

use sharetrail_ledger::LedgerError;
use sharetrail_proof::note::NoteError;
use thiserror::Error;

/// What kept an audit from being done. Nothing is said about the ledger by it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server does not answer, or not with what was asked for.
    #[error("{url}: {what}; run the audit again, with --state it goes on where it was")]
    Web {
        /// What was asked for.
        url: String,
        /// What came instead.
        what: String,
    },
    /// No URL that logs can be read from.
    #[error("{url:?} is not an address to read logs from; write http://HOST/PATH or https://HOST/PATH")]
    Address {
        /// As given.
        url: String,
    },
    /// There is no checkpoint where a log must be.
    #[error("{place} holds no {path}: name a ledger's folder, or the URL where log/ and map/ are served")]
    NotALedger {
        /// Where was looked.
        place: String,
        /// What for.
        path: String,
    },
    /// The policy does not say what an audit needs to know.
    #[error("the policy {0}; get the ledger's present policy")]
    Policy(String),
    /// The state folder is not one that this audit can go on from.
    #[error("the state in {} {what}", path.display())]
    State {
        /// The folder.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// The audit's own map, or another part of the ledger's machinery.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A note that cannot be cosigned.
    #[error("cannot cosign: {0}")]
    Note(#[from] NoteError),
    /// Something that only a finished audit without faults allows.
    #[error("nothing is cosigned: {0}")]
    NotClean(&'static str),
    /// A sample out of nothing, or out of a map that was not recomputed to its end.
    #[error("no sample can be drawn: {0}")]
    Sample(&'static str),
}

/// Says what was tried on which path.
pub(crate) trait At<T> {
    /// Names the deed and the path.
    fn at(self, doing: &'static str, path: &Path) -> Result<T, AuditError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, AuditError> {
        self.map_err(|source| AuditError::File {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}

/// Why the audit of a shard does not go on.
#[derive(Debug)]
pub(crate) enum Halt {
    /// A fault, told already, behind which nothing can be judged.
    Told,
    /// Whoever runs the audit told it to stop.
    Stopped,
    /// It could not be done.
    Error(AuditError),
}

impl From<AuditError> for Halt {
    fn from(error: AuditError) -> Self {
        Self::Error(error)
    }
}

impl From<LedgerError> for Halt {
    fn from(error: LedgerError) -> Self {
        Self::Error(error.into())
    }
}
