//! The [`Store`] on fjall 3: for large ledgers.
//!
//! In scope: fjall's settings, its batches, its errors. Out of scope: what the rows mean.
//!
//! Trust: none (see [`crate::store`]).

use std::path::{Path, PathBuf};

use ::fjall::{Database, Error, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode};

use super::{Row, Store, StoreError, StoreKind, VisitRow, check_row};

const KEYSPACE: &str = "rows";

/// Blocks read from disk.
const CACHE_BYTES: u64 = 32 * 1_024 * 1_024;

/// Rows written and not yet in a table. One table of them fills while another is written out, so that with the cache
/// a process stays below about 100 MiB; fjall stops writers when four wait to be written out.
const MEMTABLE_BYTES: u64 = 16 * 1_024 * 1_024;

/// Disk space of the journals; fjall takes at least 64 MiB and turns to a new journal at about that size.
const JOURNALS_BYTES: u64 = 128 * 1_024 * 1_024;

/// One thread writes tables out while the other merges them.
const WORKERS: usize = 2;

/// Far below the usual limit of 1,024 open files, which sockets share.
const OPEN_FILES: usize = 256;

/// A batch takes the journal's lock once and holds its rows in memory until then: whichever limit comes first.
const BATCH_ROWS: usize = 1_000;
const BATCH_BYTES: usize = 1_024 * 1_024;

/// Rows in one keyspace. The keyspace comes first, so that it lets go of the lock before the database does.
pub(super) struct FjallStore {
    rows: Keyspace,
    db: Database,
    folder: PathBuf,
}

impl FjallStore {
    /// Opens or creates the store in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let (db, rows) = open_rows(folder).map_err(|error| failed("open", folder, error))?;
        Ok(Self {
            rows,
            db,
            folder: folder.to_owned(),
        })
    }

    fn failed(&self, doing: &'static str, error: Error) -> StoreError {
        failed(doing, &self.folder, error)
    }
}

impl Store for FjallStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_row(key, &[])?;
        let value = self.rows.get(key).map_err(|error| self.failed("read", error))?;
        Ok(value.as_deref().map(<[u8]>::to_vec))
    }

    fn scan(&self, prefix: &[u8], visit: &mut VisitRow<'_>) -> Result<(), StoreError> {
        for row in self.rows.prefix(prefix) {
            let (key, value) = row.into_inner().map_err(|error| self.failed("scan", error))?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn put(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<(), StoreError> {
        let mut batch = self.db.batch();
        let mut batch_bytes = 0;
        for (key, value) in rows {
            check_row(key, value)?;
            batch.insert(&self.rows, key, value);
            batch_bytes += key.len() + value.len();
            if batch.len() >= BATCH_ROWS || batch_bytes >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, self.db.batch());
                full.commit().map_err(|error| self.failed("write", error))?;
                batch_bytes = 0;
            }
        }
        batch.commit().map_err(|error| self.failed("write", error))
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        check_row(key, &[])?;
        self.rows
            .remove(key)
            .map_err(|error| self.failed("remove from", error))
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db
            .persist(PersistMode::SyncAll)
            .map_err(|error| self.failed("flush", error))
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Fjall
    }
}

/// The journal is persisted by our flush only: neither a batch nor a removal waits for the disk.
fn open_rows(folder: &Path) -> Result<(Database, Keyspace), Error> {
    let db = Database::builder(folder)
        .cache_size(CACHE_BYTES)
        .max_journaling_size(JOURNALS_BYTES)
        .max_cached_files(Some(OPEN_FILES))
        .worker_threads(WORKERS)
        .manual_journal_persist(true)
        .open()?;
    let rows = db.keyspace(KEYSPACE, || {
        KeyspaceCreateOptions::default()
            .max_memtable_size(MEMTABLE_BYTES)
            .manual_journal_persist(true)
    })?;
    Ok((db, rows))
}

fn failed(doing: &'static str, folder: &Path, error: Error) -> StoreError {
    let is_damage = match &error {
        Error::Locked => {
            return StoreError::Locked {
                kind: StoreKind::Fjall,
                folder: folder.to_owned(),
            };
        }
        Error::Io(error) | Error::Storage(LsmError::Io(error)) => super::is_damage(error),
        Error::Storage(_)
        | Error::JournalRecovery(_)
        | Error::InvalidVersion(_)
        | Error::Decompress(_)
        | Error::InvalidTrailer
        | Error::InvalidTag(_)
        | Error::Unrecoverable => true,
        _ => false,
    };
    StoreError::of_engine(StoreKind::Fjall, doing, folder, is_damage, error)
}
