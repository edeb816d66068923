//! The [`Store`] on sled 0.34: the embedded default.
//!
//! In scope: sled's settings, its lock, its errors. Out of scope: what the rows mean.
//!
//! Trust: none (see [`crate::store`]). sled's flush does not survive every loss of power, and after one the store may
//! be older than the last flush, or empty; on some damage sled panics instead of returning an error.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ::sled::{Config, Db, Error, Mode};

use super::{Row, Store, StoreError, StoreKind, VisitRow, check_row};

/// sled counts pages, not the heap around them; this keeps a process below about 100 MiB.
const CACHE_BYTES: u64 = 64 * 1_024 * 1_024;

/// After a store is dropped, sled's threads may hold its lock a little longer; an opening waits for them.
const OPEN_ATTEMPTS: u32 = 10;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Rows in sled's default tree.
pub(super) struct SledStore {
    db: Db,
    folder: PathBuf,
}

impl SledStore {
    /// Opens or creates the store in `folder`.
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        let config = Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .mode(Mode::HighThroughput)
            .flush_every_ms(None);
        let db = open_db(&config, folder)?;
        Ok(Self {
            db,
            folder: folder.to_owned(),
        })
    }

    fn failed(&self, doing: &'static str, error: Error) -> StoreError {
        failed(doing, &self.folder, error)
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        check_row(key, &[])?;
        let value = self.db.get(key).map_err(|error| self.failed("read", error))?;
        Ok(value.as_deref().map(<[u8]>::to_vec))
    }

    fn scan(&self, prefix: &[u8], visit: &mut VisitRow<'_>) -> Result<(), StoreError> {
        for row in self.db.scan_prefix(prefix) {
            let (key, value) = row.map_err(|error| self.failed("scan", error))?;
            if visit(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// One insert a row: a batch of sled's holds about 3 KB of memory for each of its rows.
    fn put(&self, rows: &mut dyn Iterator<Item = Row<'_>>) -> Result<(), StoreError> {
        for (key, value) in rows {
            check_row(key, value)?;
            self.db
                .insert(key, value)
                .map_err(|error| self.failed("write", error))?;
        }
        Ok(())
    }

    fn remove(&self, key: &[u8]) -> Result<(), StoreError> {
        check_row(key, &[])?;
        self.db
            .remove(key)
            .map_err(|error| self.failed("remove from", error))?;
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(|error| self.failed("flush", error))?;
        Ok(())
    }

    fn kind(&self) -> StoreKind {
        StoreKind::Sled
    }
}

fn open_db(config: &Config, folder: &Path) -> Result<Db, StoreError> {
    let mut attempt = 1;
    loop {
        match config.open() {
            Ok(db) => return Ok(db),
            Err(error) if !may_be_lock(&error) => return Err(failed("open", folder, error)),
            Err(_) if attempt < OPEN_ATTEMPTS => thread::sleep(OPEN_PAUSE),
            Err(_) if is_held(folder) => {
                return Err(StoreError::Locked {
                    kind: StoreKind::Sled,
                    folder: folder.to_owned(),
                });
            }
            Err(error) => return Err(failed("open", folder, error)),
        }
        attempt += 1;
    }
}

/// sled reports a lock that it did not get as an error without a kind or a number of its own.
fn may_be_lock(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == ErrorKind::Other && error.raw_os_error().is_none())
}

/// Whether somebody holds the lock that sled puts on its data file.
fn is_held(folder: &Path) -> bool {
    File::open(folder.join("db")).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn failed(doing: &'static str, folder: &Path, error: Error) -> StoreError {
    let is_damage = match &error {
        Error::Corruption { .. } | Error::Unsupported(_) => true,
        Error::Io(error) => super::is_damage(error),
        _ => false,
    };
    StoreError::of_engine(StoreKind::Sled, doing, folder, is_damage, error)
}
