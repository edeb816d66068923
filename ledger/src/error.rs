//! What can go wrong with a ledger's folder, told so that a person can act.
//!
//! In scope: one error for the whole crate, with predicates for what a caller decides on. Trust: none needed.

use std::io;
use std::path::{Path, PathBuf};

use sharetrail_proof::hash::Hash;
use thiserror::Error;

/// What went wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The operating system refused.
    #[error("cannot {doing} {}: {source}{}", path.display(), hint(source))]
    File {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no ledger there.
    #[error("{} is not a ledger's folder; make one with `sharetrail init NAME --ledger {}`", .0.display(), .0.display())]
    NotALedger(PathBuf),
    /// There is something there already.
    #[error("{} is not empty; choose another folder with --ledger", .0.display())]
    NotEmpty(PathBuf),
    /// Another process holds the ledger.
    #[error("another process{} is at work on {}; wait until it ends", pid.map(|pid| format!(" ({pid})")).unwrap_or_default(), path.display())]
    Locked {
        /// The ledger's folder.
        path: PathBuf,
        /// The process, where it left its number.
        pid: Option<u32>,
    },
    /// A file that must be private is not.
    #[error("others can read {} (mode {mode:03o}); run `chmod {} {}`", path.display(), if path.is_dir() { "700" } else { "600" }, path.display())]
    Exposed {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file of the ledger does not say what it must.
    #[error("{} is damaged{}: {what}", path.display(), at.map(|at| format!(" at byte {at}")).unwrap_or_default())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, if that is known.
        at: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// The folder holds less than a checkpoint that is known to have been signed: an old copy of it was put back.
    #[error(
        "shard {shard} holds {have} leaves, and a checkpoint of {known} was signed (known from {from}): this folder is \
         older than the ledger. Nothing was signed. Bring the rest back with `sharetrail restore --from COPY`"
    )]
    RolledBack {
        /// The shard.
        shard: u32,
        /// Leaves of the highest known checkpoint.
        known: u64,
        /// Leaves in the archive.
        have: u64,
        /// Where the checkpoint is known from.
        from: String,
    },
    /// The folder holds another history than one that was signed.
    #[error(
        "shard {shard}: the first {size} leaves give {found}, and {known} was signed (known from {from}): this folder \
         holds another history. Nothing was signed"
    )]
    Forked {
        /// The shard.
        shard: u32,
        /// The size at which they differ.
        size: u64,
        /// The signed root.
        known: Hash,
        /// The root of what is here.
        found: Hash,
        /// Where the checkpoint is known from.
        from: String,
    },
    /// The bus does not hold what the archive read from it.
    #[error(
        "shard {shard}: {what}. What is sealed is safe in the archive; run `sharetrail restore` to go on with a new stream"
    )]
    Stream {
        /// The shard.
        shard: u32,
        /// What is missing or different.
        what: String,
    },
    /// The bus cannot be reached, or does not answer: trying again may help.
    #[error("the bus: {0}")]
    Bus(String),
    /// A customer's key is asked for whose erasure is being put on record; asking again gives the next one.
    #[error("a customer is being erased; keys are given again once that is on record")]
    Erasing,
    /// The bus refuses what was tried: a right is missing.
    #[error("the bus refuses: {0}")]
    Denied(String),
    /// The bus does not keep what it was given as it must; see `--accept-risk`.
    #[error("the bus may lose what it acknowledged: {0}. Mend its configuration, or say --accept-risk")]
    Risk(String),
    /// Another host leads the shard.
    #[error("shard {shard} is led by host {holder}, which is at work")]
    HeldElsewhere {
        /// The shard.
        shard: u32,
        /// The host.
        holder: String,
    },
    /// The lease on the shard was lost to another host.
    #[error("shard {shard}: the lease was lost; another host goes on")]
    LeaseLost {
        /// The shard.
        shard: u32,
    },
    /// This host's archive and what was registered differ.
    #[error("shard {shard}: {what}")]
    Diverged {
        /// The shard.
        shard: u32,
        /// What differs.
        what: String,
    },
    /// Another host gave no archive, or a wrong one.
    #[error("peer {url}: {what}")]
    Peer {
        /// Where it is.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// A batch that this process signed was refused.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The host that leads refuses a command; in its words.
    #[error("{0}")]
    Refused(String),
    /// The vault cannot do what was asked.
    #[error("vault: {0}")]
    Vault(String),
    /// A name, key or argument that does not fit.
    #[error("{0}")]
    Invalid(String),
    /// The sequencer has stopped; the reason was told where it stopped.
    #[error("the sequencer has stopped: {0}")]
    Stopped(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => "; free some space and run the command again, nothing accepted is lost",
        io::ErrorKind::PermissionDenied => "; check who owns the folder",
        io::ErrorKind::ReadOnlyFilesystem => "; it is mounted read-only",
        _ => "",
    }
}

impl LedgerError {
    /// Whether another process holds what is needed: trying again later may help.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. } | Self::HeldElsewhere { .. })
    }

    /// Whether the bus did not answer, or a customer is being erased: the same thing may go through later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Bus(_) | Self::Erasing)
    }

    /// Whether it was looked at and the answer is no: an old or another history, a batch refused, a right missing.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::RolledBack { .. }
                | Self::Forked { .. }
                | Self::Rejected(_)
                | Self::Refused(_)
                | Self::Denied(_)
        )
    }

    pub(crate) fn damaged(path: &Path, at: Option<u64>, what: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            at,
            what: what.into(),
        }
    }
}

/// Says what was tried on which path.
pub(crate) trait At<T> {
    /// Names the deed and the path.
    fn at(self, doing: &'static str, path: &Path) -> Result<T, LedgerError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, doing: &'static str, path: &Path) -> Result<T, LedgerError> {
        self.map_err(|source| LedgerError::File {
            doing,
            path: path.to_owned(),
            source,
        })
    }
}
