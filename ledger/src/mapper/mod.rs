//! The mapper of a shard: folds the record log into the customer map, and seals the map's roots in the map log.
//!
//! ```text
//! map/<shard>/                       the map log, a C2SP tlog-tiles tree: checkpoint, tile/…; cosigned, where an auditor's
//!                                    note was put
//! mapping/<shard>/                   the customer map (`crate::map`). Its mark: how far the record log is folded, and the
//!                                    signed note and the last leaf of the map log that have this very root; or how far
//!                                    a map log is made that nobody decided on yet
//! mapping/<shard>/sealed/            while versions are committed that nobody sealed: further names for the files of the
//!                                    last one that was, so that it can be read
//! register/<shard>/map               the last decided checkpoint of the map log
//! <outside>/maps/<shard>             a *moment* a map leaf: u64 record size ‖ u64 Unix seconds, big-endian, append-only
//! <outside>/checkpoints/map-<shard>  the last decided checkpoint, where a restored backup of the folder does not reach
//! ```
//! The order of steps is the promise: folded up to a batch boundary, under the published checkpoint of the record log; map
//! log written and synced; its checkpoint registered (on a distributed bus, there first); moment, then checkpoint, copied
//! outside; signed; published; the map committed. So nothing is signed that is not on disk, a moment outside was always
//! decided on, and the map on disk is behind the map log or level with it. A stop anywhere is taken up at what was
//! registered: moments that are missing outside are read from the leaves, leaves that are missing are made again from
//! the moments and the record log, byte for byte, and the map is folded on to the last leaf, whose root it must give. A
//! map that does not is folded anew from nothing; if it still does not, nothing is signed.
//!
//! Many leaves may have to be made until the map log is what was decided on. Now and then what was made lasts: first the
//! leaves, then the map with a mark that says how many of them there are. A stop loses no more than what came after. Such
//! a map log is *undecided*: it must continue all that is known, counts for nothing else, and is not signed until it is
//! compared with what was decided on.
//!
//! In scope: one shard's map and map log, and the register of several hosts as a trait. Out of scope: the trie on disk
//! ([`crate::map`]), that register on a bus (`crate::host`). Trust: the record log under its signed checkpoint; the map's
//! own files are derived and compared with the map log, the map log with every checkpoint of it that is known.

mod drive;
mod fold;
mod follow;
mod heal;
mod known;
mod log;
mod moments;
mod reader;
mod record;
mod remap;
mod restored;
mod seal;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sharetrail_proof::checkpoint::{Checkpoint, log_origin, map_origin};
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::Shard;
use sharetrail_proof::note::{NoteSigner, VerifierKey};

use crate::error::LedgerError;
use crate::keys;
use crate::ledger::Ledger;
use crate::register::{IncidentKind, MapHead, OutsideCopy, Register};
use crate::sequencer::{Observer, Step};

use self::fold::{Fold, Undecided};
use self::follow::Awaited;
use self::known::Known;
use self::log::MapLog;
use self::moments::Moments;
use self::record::RecordLog;

pub(crate) use self::log::last_leaf;
pub(crate) use drive::{Mappers, Pace, Turn};
pub(crate) use moments::Moment;
pub use reader::MapReader;
pub(crate) use reader::cosigned;
pub use remap::{Remapped, remap};
pub(crate) use restored::bring_moments;

/// Events that one root may add at most, when the map is far behind.
const EVENTS_PER_ROOT: usize = 500_000;
/// Moments that stand in a register of several hosts.
const REGISTERED_MOMENTS: usize = 512;

/// What a register of several hosts says of a map log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    /// The text of its checkpoint.
    pub(crate) checkpoint: String,
    /// The moments of its last leaves, the last leaf's at the end.
    pub(crate) moments: Vec<Moment>,
}

/// Where the hosts of a ledger agree on the moments of the map logs.
pub(crate) trait MapRegister: Send + Sync {
    /// What is registered of a shard's map log; none where nothing is.
    fn registered(&self, shard: u32) -> Result<Option<Registered>, LedgerError>;

    /// Registers this in the place of what [`MapRegister::registered`] gave last; false where another host was faster.
    fn register(&self, shard: u32, next: &Registered) -> Result<bool, LedgerError>;

    /// Whether this host leads the shard, and so may add a root.
    fn may_extend(&self, shard: u32) -> bool;

    /// The moments of the leaves `from` to `to`, but not `to`, from another host. Nothing of them is certain.
    fn fetch(&self, shard: u32, from: u64, to: u64) -> Result<Vec<Moment>, LedgerError>;
}

/// What a mapper tells while it works, and whether it is to end.
pub(crate) struct Course<'a> {
    /// Told how many leaves of the shard's record log are folded.
    told: &'a dyn Fn(TreeSize),
    stop: &'a AtomicBool,
}

impl Course<'_> {
    fn folded(&self, size: TreeSize) {
        (self.told)(size);
    }

    fn is_to_stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// An error where it is to end: what was begun is taken up again at the next start.
    fn go_on(&self) -> Result<(), LedgerError> {
        if self.is_to_stop() {
            return Err(LedgerError::Stopped("the mapper was asked to end".into()));
        }
        Ok(())
    }
}

/// One shard's mapper. After an error it is to be dropped, and taken up again from what is on disk.
pub(crate) struct Mapper {
    ledger: Ledger,
    shard: u32,
    /// The origin of the map log.
    origin: String,
    signer: NoteSigner,
    /// The key of the record log, named by its origin.
    record_key: VerifierKey,
    observer: Arc<dyn Observer>,
    head: MapHead,
    /// The text that was registered last in the folder.
    decided: Option<String>,
    copy: OutsideCopy,
    /// The text that was copied outside last.
    kept: Option<String>,
    moments: Moments,
    /// Checkpoints of the map log that are known to have been decided on before.
    known: Known,
    log: MapLog,
    /// Whether the last leaves of the map log are not decided on yet: then nothing is signed.
    undecided: bool,
    /// Whether the moments outside are not those of the map log, and are to be read again from its leaves.
    distrusted: bool,
    fold: Fold,
    sealed_at: Option<Instant>,
    /// Registered checkpoints that the record log here does not reach yet.
    awaited: VecDeque<Awaited>,
}

impl Mapper {
    /// The record log as it is published now.
    fn record(&self) -> Result<RecordLog, LedgerError> {
        RecordLog::open(&self.ledger, self.shard, &self.record_key)
    }

    /// The leaf for the map as it stands, sealed at `time`.
    fn leaf(&self, time: u64) -> MapLeaf {
        let (size, root) = (self.fold.size(), self.fold.record_root());
        MapLeaf {
            root: self.fold.root(),
            labels: self.fold.labels(),
            time,
            checkpoint: Checkpoint::new(self.record_key.name().to_owned(), size, root),
        }
    }

    /// The text of the map log's checkpoint as it stands.
    fn checkpoint(&self) -> String {
        Checkpoint::new(self.origin.clone(), self.log.size(), self.log.root()).to_text()
    }

    /// How far the map log is made, if nobody decided on that.
    fn waypoint(&self) -> Option<Undecided> {
        self.undecided.then(|| Undecided {
            size: self.log.size(),
            root: self.log.root(),
        })
    }

    fn done(&self, step: Step) -> Result<(), LedgerError> {
        self.observer.step(self.shard, step)
    }

    /// Notes for the operator why the map log goes no further, and passes the reason on.
    fn refused(&self, kind: IncidentKind, error: LedgerError) -> LedgerError {
        let folder = self.ledger.folder().register(self.shard);
        // The reason is returned; that it could not be noted as well would only hide it.
        let _ = Register::note_incident(&folder, kind, error.to_string());
        error
    }

    /// Says what was healed, now and in the shard's incidents.
    fn tell(&self, notices: &mut Vec<String>, what: String) -> Result<(), LedgerError> {
        notices.push(format!("shard {}: {what}", self.shard));
        let folder = self.ledger.folder().register(self.shard);
        Register::note_incident(&folder, IncidentKind::Map, what)
    }
}

/// The keys of a shard's two logs: the one that signs the map log, and the public one of the record log.
fn keys_of(ledger: &Ledger, shard: u32) -> Result<(NoteSigner, VerifierKey), LedgerError> {
    let place =
        Shard::new(shard, ledger.shards()).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    let path = ledger.folder().keys().join(keys::map_file(shard));
    if !path.exists() {
        return Err(LedgerError::Invalid(format!(
            "no key for the map log of shard {shard} at {}: bring it back from a backup. A ledger that was made before \
             there were customer maps has none, and cannot get one, since its policy is in other hands",
            path.display()
        )));
    }
    let (signer, policy) = (keys::read(&path)?, ledger.policy()?);
    let origin = map_origin(ledger.name(), place);
    let is_known = signer.verifier().name() == origin && policy.log_key(&origin) == Some(signer.verifier());
    if !is_known {
        let what =
            format!("not the key that the policy names for {origin}. Bring that one back from a backup");
        return Err(LedgerError::damaged(&path, None, what));
    }
    let origin = log_origin(ledger.name(), place);
    let missing = || {
        let what = format!("no key of {origin}. Bring the policy back from a backup");
        LedgerError::damaged(&ledger.folder().policy(), None, what)
    };
    let record_key = policy.log_key(&origin).cloned().ok_or_else(missing)?;
    Ok((signer, record_key))
}

/// Adds what to do about a map log that is damaged.
fn to_be_made_again(folder: &Path, error: LedgerError) -> LedgerError {
    let advice = format!(
        "Move {} away and start `sharetrail serve`: the map log is made again from its moments outside of the folder",
        folder.display()
    );
    advised(error, &advice)
}

/// Adds what to do to an error about a damaged file.
fn advised(error: LedgerError, advice: &str) -> LedgerError {
    match error {
        LedgerError::Damaged { path, at, what } => LedgerError::Damaged {
            path,
            at,
            what: format!("{what}. {advice}"),
        },
        other => other,
    }
}

/// Whether an error is about a file in this folder that is missing or does not say what it must.
fn lies_in(folder: &Path, error: &LedgerError) -> bool {
    match error {
        LedgerError::Damaged { path, .. } => path.starts_with(folder),
        LedgerError::File { path, source, .. } => {
            path.starts_with(folder) && source.kind() == std::io::ErrorKind::NotFound
        }
        _ => false,
    }
}
