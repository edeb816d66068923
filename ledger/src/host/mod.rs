//! A host among others that work on one ledger over a distributed bus.
//!
//! ```text
//! post (a thread a shard) ── leads: stream → sequencer → register on the bus → signed, published → heads to the producers
//!                         └─ follows: stream, or a peer's archive, up to what is registered → the same archive
//! hosts (a thread)        ── signs of life, who holds which checkpoint
//! desks (threads)         ── labels and keys for producers, the operator's commands, the vault's slots for other hosts
//! maps                    ── which roots a shard's map log has, for the mapper
//! ```
//! In scope: leases, following, taking over, copying archives, healing what the bus lost. Out of scope: the bus itself
//! ([`crate::bus`]), the steps of putting frames on record. Trust: the hosts of a ledger share its keys and are one party;
//! the bus may lose, repeat, reorder and roll back.

mod command;
mod copy;
mod desks;
mod folder;
mod hosts;
mod keyring;
mod lease;
mod maps;
pub mod peer;
mod post;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};

pub use command::command;
pub use folder::host_folder;
pub(crate) use hosts::HostEntry;
pub(crate) use keyring::registered_slots;
pub(crate) use lease::ShardEntry;

use self::desks::Desks;
use self::hosts::Hosts;
use self::keyring::Keyring;
use self::lease::Freshness;
use self::maps::Maps;
use self::post::{Common, Part, Post, PostParts};
use crate::bus::NatsBus;
use crate::engine::Door;
pub(crate) use crate::engine::runtime_for as runtime;
use crate::erase::Keeper;
use crate::error::{At, LedgerError};
use crate::ledger::Ledger;
use crate::mapper::MapRegister;
use crate::sequencer::{Observer, ShardView, empty_view};

/// How long a process that is to lead all shards waits for the bus.
const PATIENCE: Duration = Duration::from_mins(1);

/// How a host works.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    shares: bool,
    peers: Vec<String>,
}

impl HostOptions {
    /// Leads all shards or none, as a command does that runs for a while.
    pub fn alone() -> Self {
        Self::default()
    }

    /// Shares the shards with other hosts, whose archives can be copied from these addresses and from those that they
    /// announce.
    pub fn shared(peers: Vec<String>) -> Self {
        Self { shares: true, peers }
    }

    pub(crate) fn shares(&self) -> bool {
        self.shares
    }
}

/// What a host is to a shard now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It has just begun.
    Beginning,
    /// It sequences and signs.
    Leading,
    /// It keeps its archive level with the leader's.
    Following,
    /// It goes no further, for this reason.
    Halted(String),
}

/// This host among others.
pub struct Host {
    nats: Arc<NatsBus>,
    hosts: Arc<Hosts>,
    parts: Vec<watch::Receiver<Part>>,
    notices: Arc<Mutex<Vec<String>>>,
    desks: Arc<Desks>,
    keyring: Arc<Keyring>,
    maps: Arc<Maps>,
    /// The lease on shard 0, with which keys are granted.
    vault_lease: Arc<Freshness>,
}

/// A host whose threads are at work.
pub(crate) struct Started {
    pub(crate) host: Host,
    pub(crate) views: Vec<watch::Receiver<Arc<ShardView>>>,
    pub(crate) doors: Vec<Door>,
    pub(crate) threads: Vec<JoinHandle<Result<(), LedgerError>>>,
    pub(crate) notices: Vec<String>,
}

impl Host {
    /// Connects to the bus, takes every shard's archive up, and begins.
    pub(crate) fn start(
        ledger: &Ledger,
        keeper: &Arc<Keeper>,
        observer: &Arc<dyn Observer>,
        options: &HostOptions,
        stop: &Arc<AtomicBool>,
    ) -> Result<Started, LedgerError> {
        let nats = Arc::new(ledger.connect()?);
        let hosts = Arc::new(Hosts::new(&nats, &ledger.host()?));
        let notices = Arc::new(Mutex::new(Vec::new()));
        let common = Arc::new(Common {
            ledger: ledger.clone(),
            nats: Arc::clone(&nats),
            hosts: Arc::clone(&hosts),
            vault: Arc::clone(keeper.vault()),
            keeper: Arc::clone(keeper),
            observer: Arc::clone(observer),
            peers: options.peers.clone(),
            shares: options.shares,
            stop: Arc::clone(stop),
            notices: Arc::clone(&notices),
            told: Mutex::default(),
        });
        let (mut posts, mut views, mut doors) = (Vec::new(), Vec::new(), Vec::new());
        let (mut parts, mut certainties) = (Vec::new(), Vec::new());
        for shard in 0..ledger.shards() {
            let (view, watched) = watch::channel(Arc::new(empty_view("")));
            let (part, known) = watch::channel(Part::Beginning);
            let (questions, asked) = mpsc::channel();
            let wake = Arc::new(Notify::new());
            doors.push(Door {
                questions,
                wake: Arc::clone(&wake),
            });
            let fresh = Arc::new(Freshness::default());
            certainties.push(Arc::clone(&fresh));
            let made = PostParts {
                shard,
                view,
                part,
                fresh,
                asked,
                wake,
            };
            posts.push(Post::new(&common, made)?);
            views.push(watched);
            parts.push(known);
        }
        let mut threads = Vec::new();
        for (shard, post) in (0_u32..).zip(posts) {
            threads.push(start(ledger, &format!("shard-{shard}"), move || post.run())?);
        }
        let keyring = Keyring::new(&nats, keeper.vault(), &ledger.host()?, runtime(ledger)?);
        let keyring = Arc::new(keyring);
        let desks = Arc::new(Desks::default());
        if options.shares {
            let (theirs, until) = (Arc::clone(&hosts), Arc::clone(stop));
            let runtime = runtime(ledger)?;
            threads.push(start(ledger, "hosts", move || {
                theirs.beat(&runtime, &until);
                Ok(())
            })?);
            threads.extend(desks::open(
                &common,
                &certainties[0],
                &doors[0],
                &desks,
                &keyring,
            )?);
        }
        let vault_lease = Arc::clone(&certainties[0]);
        let maps = Arc::new(Maps::new(&common, certainties)?);
        let host = Self {
            nats,
            hosts,
            parts,
            notices,
            desks,
            keyring,
            maps,
            vault_lease,
        };
        let healed = host.take_notices();
        Ok(Started {
            host,
            views,
            doors,
            threads,
            notices: healed,
        })
    }

    /// The bus.
    pub fn nats(&self) -> &Arc<NatsBus> {
        &self.nats
    }

    pub(crate) fn keyring(&self) -> &Arc<Keyring> {
        &self.keyring
    }

    /// How often this host took the lease on shard 0: between two terms another host may have granted keys.
    pub(crate) fn vault_terms(&self) -> u64 {
        self.vault_lease.terms()
    }

    /// The moments of the map logs, as all hosts agree on them.
    pub(crate) fn maps(&self) -> Arc<dyn MapRegister> {
        Arc::clone(&self.maps) as Arc<dyn MapRegister>
    }

    /// Tells the other hosts where this one's archive can be copied from.
    pub fn announce_url(&self, url: String) {
        self.hosts.set_url(url);
    }

    /// What this host is to a shard.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn role(&self, shard: u32) -> Role {
        match &*self.parts[shard as usize].borrow() {
            Part::Beginning => Role::Beginning,
            Part::Leading => Role::Leading,
            Part::Following => Role::Following,
            Part::HeldElsewhere(holder) => Role::Halted(format!("host {holder} leads it")),
            Part::Halted(why) => Role::Halted(why.clone()),
        }
    }

    /// A command of the operator that came over the bus, if one does within `wait`.
    pub(crate) fn take_command(&self, wait: Duration) -> Option<Command> {
        self.desks.take_command(wait)
    }

    /// Waits until this host leads the shard.
    pub(crate) async fn led(&self, shard: u32) -> Result<(), LedgerError> {
        let mut part = self.parts[shard as usize].clone();
        let wait = async {
            loop {
                match &*part.borrow_and_update() {
                    Part::Leading => return Ok(()),
                    Part::HeldElsewhere(holder) => {
                        let holder = holder.clone();
                        return Err(LedgerError::HeldElsewhere { shard, holder });
                    }
                    Part::Halted(why) => return Err(LedgerError::Stopped(why.clone())),
                    Part::Beginning | Part::Following => {}
                }
                if part.changed().await.is_err() {
                    return Err(LedgerError::Stopped("it ended".into()));
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        waited.unwrap_or_else(|_| {
            let notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
            let why = notices.last().cloned();
            Err(LedgerError::Bus(why.unwrap_or_else(|| {
                format!("shard {shard} could not be led within {} s", PATIENCE.as_secs())
            })))
        })
    }

    pub(crate) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub(crate) use desks::Command;

pub(crate) fn start(
    ledger: &Ledger,
    name: &str,
    work: impl FnOnce() -> Result<(), LedgerError> + Send + 'static,
) -> Result<JoinHandle<Result<(), LedgerError>>, LedgerError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(work);
    thread.at("start a thread for", ledger.root())
}
