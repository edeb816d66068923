//! Which hosts are at work, and which checkpoints their archives hold.
//!
//! In scope: this host's sign of life in the register, the others', what they announce to hold. Out of scope: leases.
//! Trust: hosts share the ledger's keys and are trusted as one; the bus keeps strangers off these bus subjects.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::name::Name;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::bus::{BusNames, NatsBus};
use crate::error::LedgerError;
use crate::wire::Held;

/// How often a host gives a sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// How long a host counts as at work after its last sign of life.
const ALIVE: Duration = Duration::from_secs(4);
/// How long before now a host counts as heard that is met for the first time: it may be gone.
const JUST_MET: Duration = Duration::from_secs(2);
/// How far an archive may be behind to be waited for.
const BEHIND_MAX: Duration = Duration::from_secs(3);
/// How long a checkpoint waits for a second archive that kept up until then.
const COPY_WAIT: Duration = Duration::from_secs(2);

/// What a host says of itself in the register.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HostEntry {
    /// Where its archive can be copied from.
    pub(crate) url: Option<String>,
    /// Rises with every sign of life.
    pub(crate) beat: u64,
    /// Whether it has ended.
    pub(crate) gone: bool,
}

struct Other {
    revision: u64,
    met: Instant,
    entry: HostEntry,
}

#[derive(Default)]
struct State {
    others: BTreeMap<Name, Other>,
    /// What each host announced to hold of each shard.
    holds: BTreeMap<(u32, Name), (TreeSize, Hash)>,
    /// What was registered lately here, with the time.
    registered: BTreeMap<u32, VecDeque<(Instant, TreeSize)>>,
}

/// The hosts of a ledger, as this one sees them.
pub(crate) struct Hosts {
    nats: Arc<NatsBus>,
    me: Name,
    url: Mutex<Option<String>>,
    state: Mutex<State>,
    tick: watch::Sender<u64>,
}

impl Hosts {
    pub(crate) fn new(nats: &Arc<NatsBus>, me: &Name) -> Self {
        Self {
            nats: Arc::clone(nats),
            me: me.clone(),
            url: Mutex::new(None),
            state: Mutex::new(State::default()),
            tick: watch::channel(0).0,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where this host's archive can be copied from.
    pub(crate) fn set_url(&self, url: String) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = Some(url);
    }

    /// Changes whenever a host announced something.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.tick.subscribe()
    }

    /// The other hosts at work, and where their archives can be copied from.
    pub(crate) fn alive(&self) -> Vec<(Name, Option<String>)> {
        let state = self.state();
        let alive = state
            .others
            .iter()
            .filter(|(_, other)| !other.entry.gone && other.met.elapsed() < ALIVE);
        alive
            .map(|(name, other)| (name.clone(), other.entry.url.clone()))
            .collect()
    }

    /// Announces that this host's archive holds a checkpoint, or has registered it.
    pub(crate) fn announce(&self, shard: u32, size: TreeSize, root: Hash) {
        let held = Held {
            host: self.me.clone(),
            shard,
            size,
            root,
        };
        // What is not heard now is said again in a second.
        let _ = self
            .nats
            .broadcast(&self.nats.names().held(shard), held.to_bytes());
    }

    /// The most leaves of a shard that any other host was heard to hold.
    pub(crate) fn highest(&self, shard: u32) -> TreeSize {
        let state = self.state();
        let holds = state.holds.iter().filter(|((of, _), _)| *of == shard);
        holds.map(|(_, (size, _))| *size).max().unwrap_or(TreeSize(0))
    }

    /// Another host's announcement.
    pub(crate) fn heard(&self, held: Held) {
        if held.host == self.me {
            return;
        }
        self.state()
            .holds
            .insert((held.shard, held.host), (held.size, held.root));
        self.tick.send_modify(|count| *count += 1);
    }

    /// Waits until another archive that keeps up holds a checkpoint. Whether one does, or none was to be waited for.
    pub(crate) fn await_copy(&self, runtime: &Runtime, shard: u32, size: TreeSize, root: Hash) -> bool {
        let until = Instant::now() + COPY_WAIT;
        let mut changes = self.changes();
        let waited_for = self.note_registered(shard, size);
        if waited_for.is_empty() {
            return true;
        }
        loop {
            changes.borrow_and_update();
            let held = |name: &Name| {
                let state = self.state();
                state
                    .holds
                    .get(&(shard, name.clone()))
                    .is_some_and(|(has, of)| *has > size || (*has == size && *of == root))
            };
            if waited_for.iter().any(held) {
                return true;
            }
            let alive = self.alive();
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero()
                || !waited_for
                    .iter()
                    .any(|name| alive.iter().any(|(one, _)| one == name))
            {
                return false;
            }
            let pause = left.min(Duration::from_millis(250));
            runtime.block_on(async { drop(tokio::time::timeout(pause, changes.changed()).await) });
        }
    }

    /// Notes a registered checkpoint; gives the hosts whose archives have kept up until now.
    fn note_registered(&self, shard: u32, size: TreeSize) -> Vec<Name> {
        let alive = self.alive();
        let mut state = self.state();
        let lately = state.registered.entry(shard).or_default();
        while lately.len() > 1 && lately[1].0.elapsed() > BEHIND_MAX {
            lately.pop_front();
        }
        let due = lately.front().map_or(size, |(_, size)| *size);
        if lately.back().is_none_or(|(_, last)| *last < size) {
            lately.push_back((Instant::now(), size));
        }
        let keeps_up = |name: &Name| {
            let holds = state.holds.get(&(shard, name.clone()));
            holds.is_some_and(|(has, _)| *has >= due)
        };
        alive.into_iter().map(|(name, _)| name).filter(keeps_up).collect()
    }

    /// Gives signs of life and looks for the others' until told to stop.
    pub(crate) fn beat(&self, runtime: &Runtime, stop: &AtomicBool) {
        let key = BusNames::host_key(&self.me);
        let mut beat = 0;
        while !stop.load(Ordering::Acquire) {
            beat += 1;
            // A bus that does not answer is told by the shards; here it means that nobody is seen for a while.
            let _ = self.sign(runtime, &key, beat, false);
            let _ = self.look(runtime);
            let until = Instant::now() + BEAT;
            while Instant::now() < until && !stop.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        let _ = self.sign(runtime, &key, beat + 1, true);
    }

    fn sign(&self, runtime: &Runtime, key: &str, beat: u64, gone: bool) -> Result<(), LedgerError> {
        let url = self.url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let value =
            serde_json::to_vec(&HostEntry { url, beat, gone }).expect("strings and numbers always serialise");
        let there = runtime.block_on(self.nats.entry(key))?;
        let revision = there.map_or(0, |there| there.revision);
        // Nobody else writes this key; a conflict means that the next beat is soon enough.
        let _ = runtime.block_on(self.nats.update(key, value, revision))?;
        Ok(())
    }

    /// Looks for the other hosts' signs of life.
    pub(crate) fn look(&self, runtime: &Runtime) -> Result<(), LedgerError> {
        for key in runtime.block_on(self.nats.keys("host."))? {
            let Some(name) = BusNames::last(&key).filter(|name| *name != self.me) else {
                continue;
            };
            let Some(found) = runtime.block_on(self.nats.entry(&key))? else {
                continue;
            };
            let Ok(entry) = serde_json::from_slice::<HostEntry>(&found.value) else {
                continue;
            };
            let mut state = self.state();
            let known = state.others.get(&name);
            // A host that was gone before this one began must not look alive.
            let is_first = known.is_none();
            if known.is_none_or(|known| known.revision != found.revision) {
                let met = if is_first {
                    Instant::now().checked_sub(JUST_MET).unwrap_or_else(Instant::now)
                } else {
                    Instant::now()
                };
                state.others.insert(
                    name,
                    Other {
                        revision: found.revision,
                        met,
                        entry,
                    },
                );
            }
        }
        Ok(())
    }
}
