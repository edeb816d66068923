//! The outbox: what a producer has signed stays on its own disk until a checkpoint covers it.
//!
//! In scope: keeping frames, replacing rejected ones, finding them again after a crash, one user at a time.
//! Out of scope: sending them ([`crate::publisher`]), what the frames say. On the embedded bus nothing is kept here: its
//! segments are the outbox.
//! Trust: every record is checked by its CRC; a damaged one is told with its place and the others go on; an unfinished one
//! at the end was never on the bus and is cut off.

mod record;
mod shard;

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use sharetrail_ledger::{LedgerError, files};

pub use record::{ContentMac, EventKey, EventName, KeptFrame, Mark};
pub use shard::{Opened, ShardOutbox};

/// Holds a producer's outbox as long as the file lives: two users would cut the same numbers.
///
/// # Errors
/// [`LedgerError::Locked`] if somebody has it already.
pub fn lock(outbox: &Path) -> Result<File, LedgerError> {
    files::make_private_folder(outbox)?;
    let path = outbox.join("lock");
    let failed = |source| LedgerError::File {
        doing: "lock",
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked {
            path: outbox.to_owned(),
            pid: None,
        }),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}
