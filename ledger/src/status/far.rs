//! What the bus says of a ledger: streams, leases, replicas, hosts.
//!
//! In scope: asking, and saying plainly what could not be asked. Out of scope: what lies in the folder.
//! Trust: none; it is shown beside what the archive says.

use sharetrail_proof::name::Name;
use tokio::runtime::Runtime;

use super::{BusStatus, HostStatus, LeaseStatus};
use crate::bus::nats::ReplicaState;
use crate::bus::{self, Bus, BusNames, NatsBus, StreamInfo};
use crate::error::LedgerError;
use crate::host::{HostEntry, ShardEntry, registered_slots, runtime};
use crate::ledger::Ledger;
use crate::sequencer::stated;

/// What the bus says of a shard.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) stream: Option<StreamInfo>,
    pub(super) lease: Option<LeaseStatus>,
    pub(super) problems: Vec<String>,
}

/// Looks at the bus of a ledger: the files of the embedded one, or the distributed one if it answers.
pub(super) fn look(ledger: &Ledger) -> Result<(Option<BusStatus>, Vec<Seen>), LedgerError> {
    let Some(settings) = &ledger.settings().bus else {
        let near = |shard: u32| {
            let stream = bus::peek(&ledger.folder().bus().join(shard.to_string()))?;
            Ok(Seen {
                stream,
                ..Seen::default()
            })
        };
        let seen: Result<Vec<_>, LedgerError> = (0..ledger.shards()).map(near).collect();
        return Ok((None, seen?));
    };
    let mut status = BusStatus {
        url: settings.url.clone(),
        host: ledger.host()?.to_string(),
        unreachable: None,
        risks: Vec::new(),
        cannot_check: None,
        hosts: Vec::new(),
        keys_registered: None,
        keys_here: None,
        problems: Vec::new(),
    };
    let looked = ledger
        .connect()
        .and_then(|nats| look_far(ledger, &nats, &mut status));
    let seen = looked.unwrap_or_else(|error| {
        status.unreachable = Some(error.to_string());
        (0..ledger.shards()).map(|_| Seen::default()).collect()
    });
    Ok((Some(status), seen))
}

fn look_far(ledger: &Ledger, nats: &NatsBus, status: &mut BusStatus) -> Result<Vec<Seen>, LedgerError> {
    let runtime = runtime(ledger)?;
    match runtime.block_on(nats.risks())? {
        Ok(risks) => status.risks = risks,
        Err(why) => status.cannot_check = Some(why),
    }
    for key in runtime.block_on(nats.keys("host."))? {
        let name: Option<Name> = BusNames::last(&key);
        let found = runtime.block_on(nats.entry(&key))?;
        let entry = found.and_then(|found| serde_json::from_slice::<HostEntry>(&found.value).ok());
        if let (Some(name), Some(entry)) = (name, entry) {
            status.hosts.push(HostStatus {
                name: name.to_string(),
                url: entry.url,
                ended: entry.gone,
            });
        }
    }
    look_at_keys(ledger, nats, &runtime, status)?;
    (0..ledger.shards())
        .map(|shard| {
            let mut seen = Seen::default();
            match runtime.block_on(nats.info(shard)) {
                Ok(info) => seen.stream = Some(info),
                Err(error) => seen.problems.push(error.to_string()),
            }
            let key = BusNames::shard_key(shard);
            let entry = runtime.block_on(nats.entry(&key))?;
            let entry = entry.and_then(|entry| serde_json::from_slice::<ShardEntry>(&entry.value).ok());
            let mut lease = entry.map_or_else(LeaseStatus::default, |entry| LeaseStatus {
                holder: entry.holder.map(|holder| holder.to_string()),
                term: entry.term,
                leaves: stated(&entry.head.checkpoint).map_or(0, |(size, _)| size.0),
                ..LeaseStatus::default()
            });
            match runtime.block_on(nats.agreement(shard))? {
                Ok(replicas) => {
                    seen.problems.extend(disagreement(&replicas));
                    lease.replicas = replicas;
                }
                Err(why) => lease.cannot_check = Some(why),
            }
            seen.lease = Some(lease);
            Ok(seen)
        })
        .collect()
}

/// Whether the vault here holds every key that was ever given out.
fn look_at_keys(
    ledger: &Ledger,
    nats: &NatsBus,
    runtime: &Runtime,
    status: &mut BusStatus,
) -> Result<(), LedgerError> {
    // Before the vault is read: hosts hold a key before it is registered.
    let registered = registered_slots(nats, runtime)?.unwrap_or_default();
    status.keys_registered = Some(registered);
    let here = match ledger.vault() {
        Ok(vault) => u64::from(vault.slot_count()),
        Err(error) => {
            status.problems.push(error.to_string());
            return Ok(());
        }
    };
    status.keys_here = Some(here);
    if here < registered {
        status.problems.push(format!(
            "{} of {registered} customers' keys are missing on this host; start the host that has them",
            registered - here
        ));
    }
    Ok(())
}

/// What the replicas of a stream do not agree on. One that lags says so itself and is no alarm.
fn disagreement(replicas: &[ReplicaState]) -> Option<String> {
    let current: Vec<_> = replicas.iter().filter(|one| one.current).collect();
    let first = current.first()?;
    let same = |one: &&&ReplicaState| {
        (one.first, one.messages, one.deleted) == (first.first, first.messages, first.deleted)
            || one.last != first.last
    };
    let other = current.iter().find(|one| !same(one))?;
    Some(format!(
        "the replicas of the stream disagree: {} holds {} messages from {} ({} deleted), {} holds {} from {} ({} deleted)",
        first.node,
        first.messages,
        first.first,
        first.deleted,
        other.node,
        other.messages,
        other.first,
        other.deleted
    ))
}
