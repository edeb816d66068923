//! The state of a ledger, read from its files without holding it.
//!
//! In scope: counts, heads, what waits, what is wrong at a glance. Out of scope: proving anything.
//! Trust: the files; a process at work may be one checkpoint ahead of what is told.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;
use sharetrail_proof::acceptance::{ChainHead, LogState};
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::entry::{BATCH, EVENT};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{ChainId, LedgerId, Name};
use sharetrail_proof::note::Note;

use crate::archive::Reader;
use crate::bus::nats::ReplicaState;
use crate::error::LedgerError;
use crate::files;
use crate::ledger::Ledger;
use crate::register::{Incident, IncidentKind, OutsideCopy, Register};
use crate::sequencer::stated;
use crate::vault::pending;

mod far;
mod map;

pub use map::MapStatus;

/// Incidents that are shown of a shard.
const INCIDENTS_SHOWN: usize = 10;

/// A ledger at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// Its name.
    pub ledger: Name,
    /// Its id.
    pub id: LedgerId,
    /// Events on record, in all shards.
    pub events: u64,
    /// Whether a process is at work on it.
    pub held: bool,
    /// That process, where it left its number.
    pub held_by: Option<u32>,
    /// The distributed bus, where there is one.
    pub bus: Option<BusStatus>,
    /// What is under way in the vault.
    pub vault: VaultStatus,
    /// Shard by shard.
    pub shards: Vec<ShardStatus>,
}

/// The vault of this host at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct VaultStatus {
    /// Erasures that were asked for and are not done yet.
    pub erasures_pending: u64,
    /// Whether a key was destroyed since the key-encryption key was last exchanged: old copies of the vault still open.
    pub rotation_due: bool,
}

/// A distributed bus at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct BusStatus {
    /// Where it is.
    pub url: String,
    /// What this host is called.
    pub host: String,
    /// Why nothing more can be said of it, if so.
    pub unreachable: Option<String>,
    /// Settings that may lose data.
    pub risks: Vec<String>,
    /// Why its settings could not be looked at, if so.
    pub cannot_check: Option<String>,
    /// The hosts that gave a sign of life, with whether they have ended.
    pub hosts: Vec<HostStatus>,
    /// How many customers' keys were ever given out, as the register on the bus has it.
    pub keys_registered: Option<u64>,
    /// How many customers' keys the vault here has, destroyed ones too.
    pub keys_here: Option<u64>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// A host at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct HostStatus {
    /// What it is called.
    pub name: String,
    /// Where its archive can be copied from.
    pub url: Option<String>,
    /// Whether it ended cleanly.
    pub ended: bool,
}

/// What the register on the bus says of a shard.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LeaseStatus {
    /// Who leads it; nobody between a clean stop and the next start.
    pub holder: Option<String>,
    /// How often the lease was taken.
    pub term: u64,
    /// Leaves of the registered checkpoint.
    pub leaves: u64,
    /// What the replicas of the stream say of themselves.
    pub replicas: Vec<ReplicaState>,
    /// Why the replicas could not be asked, if so.
    pub cannot_check: Option<String>,
}

/// A shard at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct ShardStatus {
    /// Which.
    pub shard: u32,
    /// Leaves under the published checkpoint.
    pub leaves: u64,
    /// Events among them.
    pub events: u64,
    /// Batches among them.
    pub batches: u64,
    /// The root.
    pub root: Hash,
    /// When the checkpoint was published, Unix seconds.
    pub sealed_at: Option<u64>,
    /// The customer map; none where no root was sealed yet.
    pub map: Option<MapStatus>,
    /// The stream that feeds it.
    pub stream: String,
    /// Messages in the stream.
    pub stream_messages: u64,
    /// Messages that are accepted and not sequenced yet.
    pub waiting: u64,
    /// What the register on the bus says, where the bus is distributed and could be reached.
    pub lease: Option<LeaseStatus>,
    /// What happened that the operator should know of, the newest last; at most ten.
    pub incidents: Vec<Incident>,
    /// Rejected batches that are kept.
    pub rejected: u64,
    /// Its chains.
    pub chains: Vec<ChainStatus>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// A chain at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct ChainStatus {
    /// Whose it is.
    pub producer: Name,
    /// Which.
    pub chain: String,
    /// Batches on record.
    pub batches: u64,
    /// Where the last one is.
    pub head_index: LeafIndex,
}

/// Reads the state of a ledger.
pub fn status(ledger: &Ledger) -> Result<Status, LedgerError> {
    let holder = ledger.folder().holder();
    let (bus, seen) = far::look(ledger)?;
    let shards: Vec<ShardStatus> = (0..ledger.shards())
        .zip(seen)
        .map(|(shard, seen)| shard_status(ledger, shard, holder.held, seen))
        .collect::<Result<_, _>>()?;
    Ok(Status {
        ledger: ledger.name().clone(),
        id: *ledger.id(),
        events: shards.iter().map(|shard| shard.events).sum(),
        held: holder.held,
        held_by: holder.pid,
        bus,
        vault: vault_status(ledger)?,
        shards,
    })
}

fn vault_status(ledger: &Ledger) -> Result<VaultStatus, LedgerError> {
    let (erasing, rotation_due) = pending(&ledger.folder().vault())?;
    Ok(VaultStatus {
        erasures_pending: erasing.len() as u64,
        rotation_due,
    })
}

struct Counts {
    events: u64,
    heads: BTreeMap<ChainId, ChainHead>,
}

fn shard_status(
    ledger: &Ledger,
    shard: u32,
    held: bool,
    seen: far::Seen,
) -> Result<ShardStatus, LedgerError> {
    let folder = ledger.folder();
    let copy = OutsideCopy::peek(&ledger.outside()?, shard)?;
    let reader = ledger.reader(shard)?;
    let counts = count(ledger, shard, &reader)?;
    let head = Register::peek(&folder.register(shard))?;
    let far::Seen {
        stream,
        lease,
        problems: mut troubles,
    } = seen;
    let read = head
        .as_ref()
        .and_then(|head| head.cursor.as_ref())
        .map_or(0, |cursor| cursor.seq.0);
    let modified = std::fs::metadata(folder.checkpoint(shard))
        .and_then(|file| file.modified())
        .ok();
    let sealed_at = modified
        .and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok())
        .map(|time| time.as_secs());
    let chain = |(chain, head): (&ChainId, &ChainHead)| ChainStatus {
        producer: head.producer.clone(),
        chain: chain.to_string(),
        batches: head.number + 1,
        head_index: head.index,
    };
    let chains: Vec<ChainStatus> = counts.heads.iter().map(chain).collect();
    let mut incidents = Register::incidents(&folder.register(shard))?;
    let host = ledger.settings().host.as_ref().map(Name::as_str);
    let holder = lease.as_ref().and_then(|lease| lease.holder.as_deref());
    // A host that halts gives its lease up.
    if holder.is_none() || holder != host {
        troubles.extend(halted(&incidents, sealed_at));
    }
    incidents.drain(..incidents.len().saturating_sub(INCIDENTS_SHOWN));
    troubles.extend(problems(ledger, copy.as_deref(), &reader, held)?);
    Ok(ShardStatus {
        shard,
        leaves: reader.size().0,
        events: counts.events,
        batches: chains.iter().map(|chain| chain.batches).sum(),
        root: reader.checkpoint().root,
        sealed_at,
        map: map::look(ledger, shard, held)?,
        stream: stream.map_or_else(|| "none".into(), |stream| stream.id.to_string()),
        stream_messages: stream.map_or(0, |stream| stream.last.0),
        waiting: stream.map_or(0, |stream| stream.last.0.saturating_sub(read)),
        lease,
        incidents,
        rejected: Register::rejected_total(&folder.register(shard))?,
        chains,
        problems: troubles,
    })
}

/// Counts from the last noted state on, so that the cost does not grow with the ledger.
fn count(ledger: &Ledger, shard: u32, reader: &Reader) -> Result<Counts, LedgerError> {
    let bytes = files::read_if_there(&ledger.folder().register(shard).join("snapshot"))?;
    let state: Option<LogState> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let state = state.filter(|state| state.size() <= reader.size());
    let mut counts = Counts {
        events: 0,
        heads: BTreeMap::new(),
    };
    let mut from = LeafIndex(0);
    if let Some(state) = state {
        counts.events = state.events();
        counts.heads = state.heads().map(|(chain, head)| (chain, head.clone())).collect();
        from = LeafIndex(state.size().0);
    }
    reader.scan(from, &mut |index, entry, _| {
        match entry.split_first() {
            Some((&EVENT, _)) => counts.events += 1,
            Some((&BATCH, note)) => note_head(&mut counts.heads, index, note),
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok(counts)
}

fn note_head(heads: &mut BTreeMap<ChainId, ChainHead>, index: LeafIndex, note: &[u8]) {
    let Some(note) = std::str::from_utf8(note)
        .ok()
        .and_then(|note| Note::parse(note).ok())
    else {
        return;
    };
    let Ok(batch) = Batch::parse(note.text()) else {
        return;
    };
    let hash = text_hash(note.text());
    heads.insert(
        batch.chain,
        ChainHead {
            producer: batch.producer,
            number: batch.number,
            hash,
            index,
        },
    );
}

/// Why a shard goes no further on this host: it halted, and published nothing since.
fn halted(incidents: &[Incident], sealed_at: Option<u64>) -> Option<String> {
    let tells = |one: &&Incident| matches!(one.kind, IncidentKind::Halted | IncidentKind::TakenOver);
    let newest = incidents.iter().rfind(tells)?;
    let is_newer = sealed_at.is_none_or(|sealed| newest.time >= sealed);
    (newest.kind == IncidentKind::Halted && is_newer).then(|| {
        format!(
            "it halted on this host, and nothing was published here since: {}",
            newest.what
        )
    })
}

fn problems(
    ledger: &Ledger,
    copy: Option<&str>,
    reader: &Reader,
    held: bool,
) -> Result<Vec<String>, LedgerError> {
    let mut problems = Vec::new();
    let outside = ledger.outside()?;
    match copy.and_then(stated) {
        None => problems.push(format!("no copy of the last checkpoint in {}", outside.display())),
        // A process at work writes the copy before the checkpoint, and must not look as if it had gone back.
        Some(_) if held => {}
        Some((known, root))
            if known > reader.size() || (known == reader.size() && root != reader.checkpoint().root) =>
        {
            problems.push(format!(
                "a checkpoint of {known} leaves was signed, this folder holds {}: run `sharetrail restore`",
                reader.size()
            ));
        }
        Some(_) => {}
    }
    for path in [ledger.folder().keys(), ledger.folder().vault()] {
        if let Err(error) = files::check_private(&path) {
            problems.push(error.to_string());
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(time: u64, kind: IncidentKind) -> Incident {
        Incident {
            time,
            kind,
            what: format!("what happened at {time}"),
        }
    }

    /// The fault: a shard that has halted looks as if it had nothing to do; or one that goes on again looks halted.
    #[test]
    fn a_halt_is_a_problem_until_the_shard_goes_on() {
        let halt = incident(10, IncidentKind::Halted);
        let gap = incident(12, IncidentKind::Gap);
        let over = incident(12, IncidentKind::TakenOver);
        assert!(halted(&[], Some(5)).is_none());
        assert!(halted(std::slice::from_ref(&gap), Some(5)).is_none());
        for sealed_at in [None, Some(9), Some(10)] {
            let found = halted(&[halt.clone(), gap.clone()], sealed_at).unwrap();
            assert!(found.contains(&halt.what));
        }
        assert!(halted(&[halt.clone(), gap], Some(11)).is_none());
        assert!(halted(&[halt.clone(), over.clone()], Some(9)).is_none());
        assert!(halted(&[over, halt], Some(9)).is_some());
    }
}
