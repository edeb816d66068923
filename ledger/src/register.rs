//! The register: which checkpoint was decided on, and up to where the bus was read. And its copy outside the folder.
//!
//! ```text
//! register/<shard>/head        the last decision: checkpoint text and cursor, as JSON, appended with one sync
//! register/<shard>/snapshot    the log's state at some registered size, from which the rest is folded again at start
//! register/<shard>/chains/<c>  per batch of chain c: u64 index of its batch entry (derived)
//! register/<shard>/rejected    rejected notes with reasons, a JSON line each, capped per producer
//! register/<shard>/map         the last checkpoint text of the map log, appended with one sync
//! <outside>/checkpoints/<shard>, map-<shard>    the same two texts, where a restored backup of the folder does not reach
//! ```
//! In scope: these files. Out of scope: what decides (the sequencer).
//! Trust: the head is compared with the archive, and with the copy outside, at every start.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sharetrail_proof::acceptance::LogState;
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{ChainId, Name};

use crate::bus::StreamSeq;
use crate::clock::unix_now;
use crate::error::{At, LedgerError};
use crate::files::{self, LastRecord};
use crate::sequencer::stated;

/// Bytes after which a register's log of decisions starts anew.
const LOG_BYTES: u64 = 1 << 20;
/// Rejected notes that are kept of one producer.
const REJECTED_MAX: usize = 1_000;

/// How far a stream was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cursor {
    /// Which stream, hexadecimal.
    pub(crate) stream: String,
    /// The last message read.
    pub(crate) seq: StreamSeq,
    /// The hash of that message's length and first bytes: see `sequencer::message_hash`.
    pub(crate) hash: Hash,
}

/// A decision: this is the checkpoint, this much of the bus is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) checkpoint: String,
    pub(crate) cursor: Option<Cursor>,
}

/// What kind of thing happened to a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum IncidentKind {
    /// Messages are missing in the stream.
    Gap,
    /// The stream ends before what was read of it, or holds something else there.
    StreamRolledBack,
    /// Another stream stands in the place of the one that was read.
    StreamReplaced,
    /// The register on the bus was behind what was signed.
    RegisterRolledBack,
    /// This host's archive and the registered checkpoint differed; it was copied from a peer.
    Diverged,
    /// The operator closed the stream and opened the next.
    StreamClosed,
    /// This host took the shard over.
    TakenOver,
    /// No second archive held a checkpoint in time.
    SingleCopy,
    /// The shard went no further on this host.
    Halted,
    /// The customer map, or the map log, was not as it must be: made again, or refused.
    Map,
}

/// Something that happened to a shard and that the operator should know of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// When it was last seen, Unix seconds.
    pub time: u64,
    /// What kind.
    pub kind: IncidentKind,
    /// What exactly, with the place.
    pub what: String,
}

/// Incidents that are kept of a shard.
const INCIDENTS_MAX: usize = 1_000;

/// Held while an incident is added: of two threads that replace the file at once, one would undo what the other did.
static NOTING: Mutex<()> = Mutex::new(());

/// The register of one shard, opened for writing.
#[derive(Debug)]
pub(crate) struct Register {
    folder: PathBuf,
    head: LastRecord,
    rejected: BTreeMap<Name, usize>,
}

impl Register {
    pub(crate) fn open(folder: &Path) -> Result<(Self, Option<Head>), LedgerError> {
        files::make_folder(&folder.join("chains"))?;
        let path = folder.join("head");
        let (head, last) = LastRecord::open(&path, LOG_BYTES)?;
        let last = last.map(|record| parse(&path, &record)).transpose()?;
        let rejected = rejected_counts(&folder.join("rejected"))?;
        Ok((
            Self {
                folder: folder.to_owned(),
                head,
                rejected,
            },
            last,
        ))
    }

    /// The last decision, without opening the register.
    pub(crate) fn peek(folder: &Path) -> Result<Option<Head>, LedgerError> {
        let path = folder.join("head");
        LastRecord::peek(&path)?
            .map(|record| parse(&path, &record))
            .transpose()
    }

    /// How many rejected notes are kept.
    pub(crate) fn rejected_total(folder: &Path) -> Result<u64, LedgerError> {
        Ok(rejected_counts(&folder.join("rejected"))?.values().sum::<usize>() as u64)
    }

    pub(crate) fn decide(&mut self, head: &Head) -> Result<(), LedgerError> {
        self.head
            .append(&serde_json::to_vec(head).expect("strings and numbers always serialise"))
    }

    pub(crate) fn snapshot_path(&self) -> PathBuf {
        self.folder.join("snapshot")
    }

    /// The last snapshot; one that does not parse counts as none, since it is derived.
    pub(crate) fn snapshot(&self) -> Result<Option<LogState>, LedgerError> {
        let bytes = files::read_if_there(&self.snapshot_path())?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn chain_path(&self, chain: ChainId) -> PathBuf {
        self.folder.join("chains").join(chain.to_string())
    }

    /// Notes where the batches of a chain are: (number, index), in one go.
    pub(crate) fn note_batches(
        &self,
        chain: ChainId,
        batches: &[(u64, LeafIndex)],
    ) -> Result<(), LedgerError> {
        let path = self.chain_path(chain);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .at("open", &path)?;
        for (number, index) in batches {
            file.write_all_at(&index.0.to_be_bytes(), number * 8)
                .at("write", &path)?;
        }
        Ok(())
    }

    /// Where batch `number` of a chain is.
    pub(crate) fn batch(&self, chain: ChainId, number: u64) -> Result<LeafIndex, LedgerError> {
        Self::batch_in(&self.folder, chain, number)
    }

    /// As [`Register::batch`], without opening the register.
    pub(crate) fn batch_in(folder: &Path, chain: ChainId, number: u64) -> Result<LeafIndex, LedgerError> {
        let path = folder.join("chains").join(chain.to_string());
        let mut bytes = [0; 8];
        let file = File::open(&path).at("open", &path)?;
        file.read_exact_at(&mut bytes, number * 8).at("read", &path)?;
        Ok(LeafIndex(u64::from_be_bytes(bytes)))
    }

    /// Notes something that the operator should know of; the last 1,000 are kept.
    pub(crate) fn incident(&self, kind: IncidentKind, what: String) -> Result<(), LedgerError> {
        Self::note_incident(&self.folder, kind, what)
    }

    /// As [`Register::incident`], without opening the register.
    pub(crate) fn note_incident(folder: &Path, kind: IncidentKind, what: String) -> Result<(), LedgerError> {
        let path = folder.join("incidents");
        let _turn = NOTING.lock().unwrap_or_else(PoisonError::into_inner);
        let time = unix_now();
        let mut incidents = Self::incidents(folder)?;
        // The same thing met again and again is one incident, with the time at which it was last seen.
        // So is a copy that is late again and again.
        let is_same =
            |known: &Incident| known.kind == kind && (known.what == what || kind == IncidentKind::SingleCopy);
        incidents.retain(|known| !is_same(known));
        incidents.push(Incident { time, kind, what });
        let first = incidents.len().saturating_sub(INCIDENTS_MAX);
        let mut text = Vec::new();
        for incident in &incidents[first..] {
            text.extend(serde_json::to_vec(incident).expect("strings and numbers always serialise"));
            text.push(b'\n');
        }
        files::replace(&path, &text, 0o600)
    }

    /// What was noted for the operator, oldest first.
    pub(crate) fn incidents(folder: &Path) -> Result<Vec<Incident>, LedgerError> {
        let bytes = files::read_if_there(&folder.join("incidents"))?.unwrap_or_default();
        let lines = bytes.split(|&byte| byte == b'\n');
        // A line that does not parse was not written by this version.
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    /// Keeps a rejected note with its reason.
    pub(crate) fn reject(
        &mut self,
        producer: &Name,
        seq: StreamSeq,
        note: &str,
        reason: &str,
    ) -> Result<(), LedgerError> {
        let kept = self.rejected.entry(producer.clone()).or_default();
        if *kept >= REJECTED_MAX {
            return Ok(());
        }
        *kept += 1;
        let path = self.folder.join("rejected");
        let line = serde_json::json!({"producer": producer, "seq": seq, "reason": reason, "note": note});
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .at("open", &path)?;
        writeln!(file, "{line}").at("write", &path)
    }
}

fn parse(path: &Path, record: &[u8]) -> Result<Head, LedgerError> {
    serde_json::from_slice(record).map_err(|error| LedgerError::damaged(path, None, error.to_string()))
}

fn rejected_counts(path: &Path) -> Result<BTreeMap<Name, usize>, LedgerError> {
    #[derive(Deserialize)]
    struct Line {
        producer: Name,
    }
    let mut counts = BTreeMap::new();
    let bytes = files::read_if_there(path)?.unwrap_or_default();
    for line in bytes.split(|&byte| byte == b'\n') {
        if let Ok(line) = serde_json::from_slice::<Line>(line) {
            *counts.entry(line.producer).or_default() += 1;
        }
    }
    Ok(counts)
}

/// The last decided checkpoint of a shard's map log, opened for writing.
#[derive(Debug)]
pub(crate) struct MapHead {
    log: LastRecord,
}

impl MapHead {
    /// Opens the file in a shard's register, and gives the text that was decided on last.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Option<String>), LedgerError> {
        let path = folder.join("map");
        let (log, text) = open_text(&path)?;
        Ok((Self { log }, text))
    }

    pub(crate) fn decide(&mut self, checkpoint: &str) -> Result<(), LedgerError> {
        self.log.append(checkpoint.as_bytes())
    }
}

/// Opens a file of checkpoint texts, and gives the last one.
fn open_text(path: &Path) -> Result<(LastRecord, Option<String>), LedgerError> {
    let (log, last) = LastRecord::open(path, LOG_BYTES)?;
    let text = last.map(String::from_utf8).transpose();
    let text = text.map_err(|_| LedgerError::damaged(path, None, "not a checkpoint"))?;
    Ok((log, text))
}

fn map_file(shard: u32) -> String {
    format!("map-{shard}")
}

/// The copy of the last checkpoint of a log outside the folder.
#[derive(Debug)]
pub(crate) struct OutsideCopy {
    log: LastRecord,
    size: TreeSize,
}

impl OutsideCopy {
    /// Of the record log.
    pub(crate) fn open(outside: &Path, shard: u32) -> Result<(Self, Option<String>), LedgerError> {
        Self::open_file(outside, &shard.to_string())
    }

    /// Of the map log.
    pub(crate) fn open_map(outside: &Path, shard: u32) -> Result<(Self, Option<String>), LedgerError> {
        Self::open_file(outside, &map_file(shard))
    }

    fn open_file(outside: &Path, name: &str) -> Result<(Self, Option<String>), LedgerError> {
        let folder = outside.join("checkpoints");
        files::make_private_folder(&folder)?;
        let path = folder.join(name);
        let (log, text) = open_text(&path)?;
        let size = text
            .as_deref()
            .and_then(stated)
            .map_or(TreeSize(0), |(size, _)| size);
        Ok((Self { log, size }, text))
    }

    pub(crate) fn peek(outside: &Path, shard: u32) -> Result<Option<String>, LedgerError> {
        Self::peek_file(outside, &shard.to_string())
    }

    pub(crate) fn peek_map(outside: &Path, shard: u32) -> Result<Option<String>, LedgerError> {
        Self::peek_file(outside, &map_file(shard))
    }

    fn peek_file(outside: &Path, name: &str) -> Result<Option<String>, LedgerError> {
        let path = outside.join("checkpoints").join(name);
        Ok(LastRecord::peek(&path)?.and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Keeps a checkpoint, unless a larger one is kept: what was signed once stays known.
    pub(crate) fn keep(&mut self, checkpoint: &str) -> Result<(), LedgerError> {
        let size = stated(checkpoint).map_or(TreeSize(0), |(size, _)| size);
        if size < self.size {
            return Ok(());
        }
        self.log.append(checkpoint.as_bytes())?;
        self.size = size;
        Ok(())
    }
}
