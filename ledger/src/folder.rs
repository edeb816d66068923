//! Where things lie in a ledger's folder, and who holds it.
//!
//! In scope: paths and the lock. Out of scope: what the files say. Trust: none needed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{At, LedgerError};

/// The paths of a ledger's folder.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: PathBuf,
}

impl Folder {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
    pub(crate) fn settings(&self) -> PathBuf {
        self.root.join("ledger.toml")
    }
    pub(crate) fn policy(&self) -> PathBuf {
        self.root.join("policy")
    }
    pub(crate) fn keys(&self) -> PathBuf {
        self.root.join("keys")
    }
    pub(crate) fn vault(&self) -> PathBuf {
        self.root.join("vault")
    }
    pub(crate) fn bus(&self) -> PathBuf {
        self.root.join("bus")
    }
    pub(crate) fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }
    pub(crate) fn log(&self, shard: u32) -> PathBuf {
        self.root.join("log").join(shard.to_string())
    }
    pub(crate) fn checkpoint(&self, shard: u32) -> PathBuf {
        self.log(shard).join("checkpoint")
    }
    pub(crate) fn sealed(&self, shard: u32) -> PathBuf {
        self.root.join("sealed").join(shard.to_string())
    }
    pub(crate) fn register(&self, shard: u32) -> PathBuf {
        self.root.join("register").join(shard.to_string())
    }
    /// The map log of a shard, as it is served.
    pub(crate) fn map(&self, shard: u32) -> PathBuf {
        self.root.join("map").join(shard.to_string())
    }
    /// The customer map of a shard, which is derived.
    pub(crate) fn mapping(&self, shard: u32) -> PathBuf {
        self.root.join("mapping").join(shard.to_string())
    }
    pub(crate) fn projections(&self) -> PathBuf {
        self.root.join("projections")
    }
    fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Holds the folder for this process, or says who does.
    pub(crate) fn lock(&self) -> Result<Lock, LedgerError> {
        let path = self.lock_file();
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        match try_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Locked {
                    path: self.root.clone(),
                    pid: pid_in(&mut file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", &path),
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.at("write", &path)?;
        Ok(Lock { _file: file })
    }

    /// The process that holds the folder, if one does.
    pub(crate) fn holder(&self) -> Holder {
        // A shared lock on a file opened for reading: looking must not get in the way of whoever wants to begin.
        let Ok(mut file) = File::open(self.lock_file()) else {
            return Holder::default();
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Holder {
                held: true,
                pid: pid_in(&mut file),
            },
            _ => Holder::default(),
        }
    }
}

/// Somebody may just be looking who holds it.
fn try_for_a_moment(file: &File) -> Result<(), TryLockError> {
    for _ in 0..10 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(20)),
            other => return other,
        }
    }
    file.try_lock()
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process holds a ledger's folder, and which, where it left its number.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holder {
    pub(crate) held: bool,
    pub(crate) pid: Option<u32>,
}

/// Holds a ledger's folder as long as it lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}
