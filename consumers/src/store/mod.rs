//! Ordered rows of bytes on disk, for what is folded from the log and can be folded again.
//!
//! In scope: the [`Store`] trait, its two engines and their errors. Out of scope: what the rows mean, the schema's
//! version, the cursor's place in the log (the callers' business); anything that cannot be rebuilt, keys above all.
//!
//! Trust: the projection store is untrusted. It may lose rows, come back older than it was, or be edited by hand:
//! whatever is read from it is checked against the log, and what the log does not confirm is thrown away.

mod fjall;
mod sled;

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest key a store takes, in bytes. Keys have at least one byte.
pub const MAX_KEY_BYTES: usize = 1_024;

/// The longest value a store takes, in bytes. Both engines are at their best below 4 KiB.
pub const MAX_VALUE_BYTES: usize = 16 * 1_024 * 1_024;

/// A row as it is handed over: its key, then its value.
pub type Row<'a> = (&'a [u8], &'a [u8]);

/// Told of a row: its key and its value.
pub type VisitRow<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Ordered rows of bytes that one process holds open at a time.
///
/// Keys have 1 to [`MAX_KEY_BYTES`] bytes and are ordered as bytes; values have 0 to [`MAX_VALUE_BYTES`].
/// Threads may share a store. Dropping it flushes, but only [`Store::flush`] tells whether that worked.
pub trait Store: Send + Sync {
    /// The value of `key`, if there is one.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Shows `visit` all rows whose key starts with `prefix`, in key order, until it breaks.
    ///
    /// An empty prefix means every row. Rows that are written during the scan may or may not be shown.
    fn scan(&self, prefix: &[u8], visit: &mut VisitRow<'_>) -> Result<(), StoreError>;

    /// Writes the rows; of two with one key, the later wins.
    ///
    /// Not atomic: after an error or a crash any of the rows may be there, so callers replay idempotently and write
    /// their cursor last, after a flush. Rows that come sorted by key are written faster.
    fn put(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<(), StoreError>;

    /// Writes one row.
    fn put_one(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.put(&mut std::iter::once((key, value)))
    }

    /// Removes the row of `key`; it is no error if there is none.
    fn remove(&self, key: &[u8]) -> Result<(), StoreError>;

    /// Makes everything that was written before durable, as far as the engine can.
    fn flush(&self) -> Result<(), StoreError>;

    /// The engine behind this store.
    fn kind(&self) -> StoreKind;
}

/// Opens the store in `folder`, and creates both if they are missing.
///
/// Waits up to half a second for another opening of the folder to end. The engines don't know each other's files:
/// a folder belongs to the engine that made it.
///
/// # Errors
/// [`StoreError::is_locked`] if the folder is open elsewhere, in this process or another;
/// [`StoreError::is_corrupt`] if its content can't be read.
pub fn open(kind: StoreKind, folder: &Path) -> Result<Box<dyn Store>, StoreError> {
    Ok(match kind {
        StoreKind::Sled => Box::new(self::sled::SledStore::open(folder)?),
        StoreKind::Fjall => Box::new(self::fjall::FjallStore::open(folder)?),
    })
}

/// The engines a store can run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// A B-tree that reads a warm row in microseconds: the default.
    #[default]
    Sled,
    /// A log-structured merge tree that takes writes several times faster: for large ledgers.
    Fjall,
}

impl StoreKind {
    /// Every engine, the default first.
    pub const ALL: [Self; 2] = [Self::Sled, Self::Fjall];

    /// The name that settings and the command line use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Fjall => "fjall",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StoreKind {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| StoreError::UnknownKind {
            found: text.to_owned(),
        })
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder is open elsewhere, in this process or another.
    #[error("the {kind} store in {} is in use: stop the process that holds it", .folder.display())]
    Locked {
        /// The engine that was to open it.
        kind: StoreKind,
        /// The store's folder.
        folder: PathBuf,
    },
    /// The folder holds what the engine can't read: damage, another version's format, a creation cut short.
    #[error("cannot {doing} the {kind} store in {}: it is damaged, rebuild it from the log", .folder.display())]
    Corrupt {
        /// The engine that reported it.
        kind: StoreKind,
        /// What the store was to do: open, read, scan, write, remove from or flush.
        doing: &'static str,
        /// The store's folder.
        folder: PathBuf,
        /// The engine's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The engine failed for a reason that a rebuild does not cure: no space, no right, a broken disk.
    #[error("cannot {doing} the {kind} store in {}", .folder.display())]
    Engine {
        /// The engine that failed.
        kind: StoreKind,
        /// What the store was to do: open, read, scan, write, remove from or flush.
        doing: &'static str,
        /// The store's folder.
        folder: PathBuf,
        /// The engine's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key or a value has a length that stores don't take.
    #[error(
        "a row of {key_bytes} and {value_bytes} bytes fits no store: keys have 1 to {}, values at most {}",
        MAX_KEY_BYTES,
        MAX_VALUE_BYTES
    )]
    RowSize {
        /// The key's length; 1 to [`MAX_KEY_BYTES`] was expected.
        key_bytes: usize,
        /// The value's length; at most [`MAX_VALUE_BYTES`] was expected. Zero where only a key was given.
        value_bytes: usize,
    },
    /// A text names no engine.
    #[error("`{found}` is no kind of store: use sled or fjall")]
    UnknownKind {
        /// The text.
        found: String,
    },
}

impl StoreError {
    /// Whether the folder is open elsewhere: the same call can succeed once that has ended.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Locked { .. })
    }

    /// Whether the folder's content can't be read: deleting and rebuilding it helps, trying again does not.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }

    /// An engine's error, sorted by whether a rebuild would cure it.
    fn of_engine(
        kind: StoreKind,
        doing: &'static str,
        folder: &Path,
        is_damage: bool,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let folder = folder.to_owned();
        let source = Box::new(source);
        if is_damage {
            Self::Corrupt {
                kind,
                doing,
                folder,
                source,
            }
        } else {
            Self::Engine {
                kind,
                doing,
                folder,
                source,
            }
        }
    }
}

/// Whether an engine's input or output error speaks of its files' content: one that should be there is missing, one
/// that should not be there exists (a creation that was cut short), or one is too short or makes no sense.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidData, NotFound, UnexpectedEof};
    matches!(
        error.kind(),
        AlreadyExists | InvalidData | NotFound | UnexpectedEof
    )
}

/// Refuses lengths on which an engine would panic, and that the other one might take.
fn check_row(key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || value.len() > MAX_VALUE_BYTES {
        return Err(StoreError::RowSize {
            key_bytes: key.len(),
            value_bytes: value.len(),
        });
    }
    Ok(())
}
