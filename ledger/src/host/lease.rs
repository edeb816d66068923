//! A shard's entry in the register on the bus: who leads it, and the last decision.
//!
//! One entry holds both, and every write of it names the revision that it replaces. So a host that lost the lease cannot
//! register a checkpoint, and no two hosts can register different ones. A lease ends when its entry has not changed for a
//! while by the watching host's own clock: no two clocks are compared.
//!
//! In scope: reading, taking, writing, giving up. Out of scope: what may be written (the post of the shard).
//! Trust: the register may be lost or rolled back by the bus; whoever reads it compares it with the archive.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sharetrail_proof::name::Name;
use tokio::runtime::Runtime;

use crate::bus::{BusNames, NatsBus};
use crate::error::LedgerError;
use crate::register::Head;

/// How long an entry stands unchanged before its holder counts as gone.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// How often a holder writes its entry at least.
pub(crate) const RENEWAL: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(200);

/// What the register on the bus says of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShardEntry {
    /// Who leads the shard; nobody after a clean stop.
    pub(crate) holder: Option<Name>,
    /// How often the lease was taken.
    pub(crate) term: u64,
    /// Rises with every write of a holder.
    pub(crate) beat: u64,
    /// The last decision.
    pub(crate) head: Head,
}

/// One host's view of a shard's entry.
pub(crate) struct Lease {
    nats: Arc<NatsBus>,
    runtime: Runtime,
    shard: u32,
    host: Name,
    key: String,
    /// What was read or written last, with its revision; 0 where there is none.
    revision: u64,
    entry: Option<ShardEntry>,
    /// When that revision was first met.
    met: Instant,
    /// When the entry was last looked at.
    seen: Instant,
    is_mine: bool,
    fresh: Arc<Freshness>,
    stop: Arc<AtomicBool>,
}

/// Whether a lease is held for certain: whoever answers for a shard asks, as its thread may have been asleep.
#[derive(Debug, Default)]
pub(crate) struct Freshness {
    until: Mutex<Option<Instant>>,
    terms: AtomicU64,
}

impl Freshness {
    fn set(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How often this process took the lease: between two terms another host may have led.
    pub(crate) fn terms(&self) -> u64 {
        self.terms.load(Ordering::Acquire)
    }

    /// Whether no other host can have taken the lease yet.
    pub(crate) fn is_certain(&self) -> bool {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }
}

impl Lease {
    pub(crate) fn new(
        nats: &Arc<NatsBus>,
        runtime: Runtime,
        shard: u32,
        host: &Name,
        fresh: &Arc<Freshness>,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            nats: Arc::clone(nats),
            runtime,
            shard,
            host: host.clone(),
            key: BusNames::shard_key(shard),
            revision: 0,
            entry: None,
            met: Instant::now(),
            seen: Instant::now(),
            is_mine: false,
            fresh: Arc::clone(fresh),
            stop: Arc::clone(stop),
        }
    }

    /// Reads the entry.
    pub(crate) fn look(&mut self) -> Result<Option<&ShardEntry>, LedgerError> {
        let found = self.runtime.block_on(self.nats.entry(&self.key))?;
        let revision = found.as_ref().map_or(0, |found| found.revision);
        self.seen = Instant::now();
        if revision != self.revision {
            // Not what this host wrote last.
            self.set_mine(false);
            (self.revision, self.met) = (revision, Instant::now());
            // What is no entry counts as none: it is put back from the archive, and told.
            self.entry = found.and_then(|found| serde_json::from_slice(&found.value).ok());
        }
        Ok(self.entry.as_ref())
    }

    /// Whether the lease may be taken: nobody holds it, this host held it in an earlier life, or its holder is gone.
    pub(crate) fn is_free(&self) -> bool {
        let holder = self.entry.as_ref().and_then(|entry| entry.holder.as_ref());
        holder.is_none_or(|holder| *holder == self.host) || self.seen.duration_since(self.met) > LEASE
    }

    /// Who holds it, by the last look.
    pub(crate) fn holder(&self) -> Option<&Name> {
        self.entry.as_ref().and_then(|entry| entry.holder.as_ref())
    }

    /// Takes the lease and registers a decision with it; whether that went through.
    pub(crate) fn take(&mut self, head: &Head) -> Result<bool, LedgerError> {
        let (term, beat) = self
            .entry
            .as_ref()
            .map_or((0, 0), |entry| (entry.term, entry.beat));
        let taken = self.put(ShardEntry {
            holder: Some(self.host.clone()),
            term: term + 1,
            beat: beat + 1,
            head: head.clone(),
        })?;
        if taken {
            self.fresh.terms.fetch_add(1, Ordering::AcqRel);
        }
        self.set_mine(taken);
        Ok(taken)
    }

    /// Registers a decision, or the same one again to keep the lease. Goes on trying while the bus does not answer.
    pub(crate) fn write(&mut self, head: &Head) -> Result<(), LedgerError> {
        let lost = LedgerError::LeaseLost { shard: self.shard };
        let Some(entry) = self.entry.clone().filter(|_| self.is_mine) else {
            return Err(lost);
        };
        // After a long sleep the register may have been made anew, with the same revisions.
        if self.met.elapsed() > LEASE && !self.still_says(&entry)? {
            self.set_mine(false);
            return Err(lost);
        }
        let beat = entry.beat + 1;
        if self.put(ShardEntry {
            beat,
            head: head.clone(),
            ..entry
        })? {
            return Ok(());
        }
        self.set_mine(false);
        Err(lost)
    }

    fn still_says(&mut self, entry: &ShardEntry) -> Result<bool, LedgerError> {
        let found = self.runtime.block_on(self.nats.entry(&self.key))?;
        Ok(found.is_some_and(|found| found.value == to_bytes(entry)))
    }

    fn set_mine(&mut self, is_mine: bool) {
        self.is_mine = is_mine;
        if !is_mine {
            self.fresh.set(None);
        }
    }

    /// Whether it is time to write the entry again.
    pub(crate) fn is_due(&self) -> bool {
        self.met.elapsed() > RENEWAL
    }

    /// Gives the lease up, so that another host need not wait.
    pub(crate) fn release(&mut self) {
        if let Some(entry) = self.entry.clone().filter(|_| self.is_mine) {
            let value = to_bytes(&ShardEntry {
                holder: None,
                ..entry
            });
            // The lease ends by itself soon after.
            let _ = self
                .runtime
                .block_on(self.nats.update(&self.key, value, self.revision));
        }
        self.set_mine(false);
    }

    /// Writes the entry if it is still the one that was met last; whether it was.
    fn put(&mut self, entry: ShardEntry) -> Result<bool, LedgerError> {
        let value = to_bytes(&entry);
        loop {
            // Another host counts from when it meets the entry, which is later than this.
            let began = Instant::now();
            let written = self
                .runtime
                .block_on(self.nats.update(&self.key, value.clone(), self.revision));
            match written {
                Ok(Ok(revision)) => {
                    (self.revision, self.met, self.entry) = (revision, Instant::now(), Some(entry));
                    self.fresh.set(Some(began + LEASE));
                    return Ok(true);
                }
                Ok(Err(_)) => return self.is_ours(&value, entry),
                Err(error) if error.is_transient() && !self.stop.load(Ordering::Acquire) => {
                    // A register that is gone does not answer either. In a new one, this entry is nobody's.
                    if self
                        .runtime
                        .block_on(self.nats.mend_register())
                        .is_ok_and(|was_gone| was_gone)
                    {
                        return Ok(false);
                    }
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// After a refusal: an earlier try may have gone through without its answer.
    fn is_ours(&mut self, value: &[u8], entry: ShardEntry) -> Result<bool, LedgerError> {
        let found = self.runtime.block_on(self.nats.entry(&self.key))?;
        let Some(found) = found.filter(|found| found.value == value) else {
            return Ok(false);
        };
        (self.revision, self.met, self.entry) = (found.revision, Instant::now(), Some(entry));
        Ok(true)
    }
}

fn to_bytes(entry: &ShardEntry) -> Vec<u8> {
    serde_json::to_vec(entry).expect("strings and numbers always serialise")
}
