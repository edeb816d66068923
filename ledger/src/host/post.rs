//! A host's part in one shard: it leads the shard or follows whoever does.
//!
//! A follower reads the same stream up to what the leader registered and must come to the same root; then its archive
//! holds the checkpoint too. A leader decides, registers with its lease, and signs once another archive that keeps up
//! holds it. In scope: changing between the two, healing what the bus lost. Out of scope: the steps of putting frames on
//! record (the sequencer). Trust: the register is compared with the archive, the stream with the register; peers' copies
//! pass the rules of acceptance and must give the registered root.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use sharetrail_proof::hash::TreeSize;
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};

mod follow;
mod lead;

use super::hosts::Hosts;
use super::lease::{Freshness, Lease};
use super::peer::Peer;
use crate::bus::{Bus, Message, NatsBus, StreamId, StreamSeq};
use crate::engine::{Question, held, runtime_for, sources};
use crate::erase::Keeper;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::register::{IncidentKind, Register};
use crate::sequencer::{Observer, Sequencer, ShardView, Sources, recover_behind, recover_quietly};
use crate::vault::Vault;

/// Bytes of frames that are put on record under one checkpoint.
const ROUND_BYTES: usize = 8 << 20;
const IDLE: Duration = Duration::from_millis(250);
/// How often a leader tells how far it is, and looks whether the stream is still the one it reads.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long it rests after the bus, or another host, did not answer.
const REST: Duration = Duration::from_millis(500);
/// How long the same thing is not told again.
const TOLD_AGAIN: Duration = Duration::from_mins(1);
/// Leaves that are sooner copied from a peer than read from the stream.
const FAR_LEAVES: u64 = 200_000;

/// What this host is to a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Not known yet.
    Beginning,
    Leading,
    Following,
    /// Another host leads it, and this one was to lead all.
    HeldElsewhere(String),
    /// Why the shard goes no further here.
    Halted(String),
}

/// What all posts of a host share.
pub(crate) struct Common {
    pub(crate) ledger: Ledger,
    pub(crate) nats: Arc<NatsBus>,
    pub(crate) hosts: Arc<Hosts>,
    pub(crate) vault: Arc<Vault>,
    /// Told of labels that were erased.
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) peers: Vec<String>,
    /// Whether other hosts may lead shards; otherwise that is an error.
    pub(crate) shares: bool,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
    /// What was told lately, and when.
    pub(crate) told: Mutex<HashMap<String, Instant>>,
}

impl Common {
    /// Tells the operator something; the same thing again only after a minute.
    pub(crate) fn notice(&self, text: String) {
        let mut told = held(&self.told);
        told.retain(|_, when| when.elapsed() < TOLD_AGAIN);
        if told.contains_key(&text) {
            return;
        }
        told.insert(text.clone(), Instant::now());
        held(&self.notices).push(text);
    }

    /// Where archives can be copied from.
    pub(super) fn peers(&self) -> Result<Vec<Peer>, LedgerError> {
        let secret = self.vault.peer_secret();
        let alive = self.hosts.alive().into_iter().filter_map(|(_, url)| url);
        let mut urls: Vec<String> = self.peers.iter().cloned().chain(alive).collect();
        urls.dedup();
        urls.iter().map(|url| Peer::new(url, secret.bytes())).collect()
    }
}

/// One shard's thread on this host.
pub(crate) struct Post {
    shard: u32,
    common: Arc<Common>,
    runtime: Runtime,
    lease: Arc<Mutex<Lease>>,
    /// None once the shard has halted here.
    sequencer: Option<Sequencer>,
    view: watch::Sender<Arc<ShardView>>,
    part: watch::Sender<Part>,
    asked: mpsc::Receiver<Question>,
    wake: Arc<Notify>,
    /// The stream that is read, and its end, as far as they are known.
    stream: StreamId,
    last: StreamSeq,
    told: Instant,
    began: Instant,
    /// Leaves of a checkpoint that was let through with one copy; 0 where there is nothing to tell.
    single: Arc<AtomicU64>,
    /// The most leaves that the register was ever seen to state.
    seen: TreeSize,
    /// Since when the register has no entry of the shard.
    none_since: Option<Instant>,
    /// Messages that were read and come after what the leader registered.
    ahead: Vec<Message>,
    /// Whether the stream must be looked at before it is read on.
    stream_is_in_doubt: bool,
    /// What the archive held once, where it is an old copy now: until it holds that again, this host only follows.
    must_reach: TreeSize,
}

/// What a post is made from, besides what all share.
pub(crate) struct PostParts {
    pub(crate) shard: u32,
    pub(crate) view: watch::Sender<Arc<ShardView>>,
    pub(crate) part: watch::Sender<Part>,
    pub(crate) fresh: Arc<Freshness>,
    pub(crate) asked: mpsc::Receiver<Question>,
    pub(crate) wake: Arc<Notify>,
}

impl Post {
    /// Takes the shard's archive up from the disk; the bus is asked later.
    pub(crate) fn new(common: &Arc<Common>, parts: PostParts) -> Result<Self, LedgerError> {
        let PostParts {
            shard,
            view,
            part,
            fresh,
            asked,
            wake,
        } = parts;
        let host = common.ledger.host()?;
        let lease = Lease::new(
            &common.nats,
            runtime_for(&common.ledger)?,
            shard,
            &host,
            &fresh,
            &common.stop,
        );
        let mut post = Self {
            shard,
            common: Arc::clone(common),
            runtime: runtime_for(&common.ledger)?,
            lease: Arc::new(Mutex::new(lease)),
            sequencer: None,
            view,
            part,
            asked,
            wake,
            stream: StreamId([0; 16]),
            last: StreamSeq(0),
            told: Instant::now(),
            began: Instant::now(),
            single: Arc::default(),
            seen: TreeSize(0),
            none_since: None,
            ahead: Vec::new(),
            stream_is_in_doubt: false,
            must_reach: TreeSize(0),
        };
        post.take_up()?;
        Ok(post)
    }

    /// Reads the archive again, and drops what was never registered.
    fn take_up(&mut self) -> Result<(), LedgerError> {
        self.drop_sequencer();
        let mut notices = Vec::new();
        let recovered = recover_quietly(self.sources()?, &mut notices);
        let mut sequencer = match recovered {
            Err(LedgerError::RolledBack {
                shard,
                known,
                have,
                from,
            }) if self.common.shares => {
                notices.push(format!(
                    "shard {shard}: this archive is an old copy: it holds {have} leaves, and {known} were signed (known from \
                     {from}); it follows, and signs nothing before it holds them again"
                ));
                self.must_reach = TreeSize(known);
                recover_behind(self.sources()?, &mut notices)?
            }
            recovered => {
                self.must_reach = TreeSize(0);
                recovered?
            }
        };
        sequencer.pass_gaps();
        self.common.keeper.note(&sequencer.erased())?;
        self.sequencer = Some(sequencer);
        for text in notices {
            self.common.notice(text);
        }
        Ok(())
    }

    /// Lets go of the archive; what was under way is on disk, or dropped when it is next taken up.
    fn drop_sequencer(&mut self) {
        self.ahead.clear();
        if let Some(mut sequencer) = self.sequencer.take() {
            let _ = sequencer.end_snapshot();
        }
    }

    fn sources(&self) -> Result<Sources<'_>, LedgerError> {
        let nowhere = StreamId([0; 16]);
        let view = Some(self.view.clone());
        sources(
            &self.common.ledger,
            self.shard,
            &self.common.observer,
            nowhere,
            view,
        )
    }

    fn sequencer(&mut self) -> Result<&mut Sequencer, LedgerError> {
        let stopped = || LedgerError::Stopped("it halted".into());
        self.sequencer.as_mut().ok_or_else(stopped)
    }

    /// Works until told to stop; then ends cleanly.
    pub(crate) fn run(mut self) -> Result<(), LedgerError> {
        let mut arrivals = self.common.nats.arrivals();
        let mut changes = self.common.hosts.changes();
        let mut halted = None;
        loop {
            arrivals.borrow_and_update();
            changes.borrow_and_update();
            let stopping = self.common.stop.load(Ordering::Acquire);
            let mut worked = false;
            if halted.is_none() {
                match self.round() {
                    Ok(some) => {
                        self.set_trouble(None);
                        self.tell_erased();
                        worked = some;
                    }
                    Err(error) => halted = self.survive(error),
                }
            } else if self.told.elapsed() > SIGN_OF_LIFE {
                self.tell_halted();
            }
            self.answer();
            // What is left on the bus is another host's, or the next start's.
            if stopping && (self.common.shares || !worked || !self.leads()) {
                break;
            }
            if !worked {
                let (wake, leads) = (&self.wake, self.leads());
                self.runtime.block_on(async {
                    tokio::select! {
                        _ = arrivals.changed(), if leads => {}
                        _ = changes.changed() => {}
                        () = wake.notified() => {}
                        () = tokio::time::sleep(IDLE) => {}
                    }
                });
            }
        }
        held(&self.lease).release();
        let closed = match self.sequencer.take() {
            Some(mut sequencer) if halted.is_some() => {
                let _ = sequencer.end_snapshot();
                Ok(())
            }
            Some(sequencer) => sequencer.close(),
            None => Ok(()),
        };
        halted.map_or(closed, Err)
    }

    /// What a published checkpoint came to cover is destroyed, whoever leads.
    fn tell_erased(&mut self) {
        if let Some(sequencer) = &mut self.sequencer {
            self.common.keeper.tell(sequencer.take_erased());
        }
    }

    fn answer(&mut self) {
        while let Ok((_, question)) = self.asked.try_recv() {
            if let Some(sequencer) = &self.sequencer {
                question(sequencer);
            }
        }
    }

    fn leads(&self) -> bool {
        *self.part.borrow() == Part::Leading
    }

    fn round(&mut self) -> Result<bool, LedgerError> {
        if self.sequencer.is_none() {
            self.take_up()?;
        }
        if self.leads() { self.lead() } else { self.follow() }
    }

    /// What to do about an error: go on following, rest, or halt the shard and say why.
    fn survive(&mut self, error: LedgerError) -> Option<LedgerError> {
        match error {
            LedgerError::LeaseLost { .. } => {
                // Every loss counts, however soon after the last.
                held(&self.common.notices).push(error.to_string());
                self.part.send_replace(Part::Following);
                self.drop_sequencer();
                None
            }
            LedgerError::Bus(_) | LedgerError::Peer { .. } | LedgerError::Diverged { .. } => {
                let told = error.to_string();
                self.set_trouble(Some(told.clone()));
                self.common.notice(format!("shard {}: {told}", self.shard));
                self.mend_register();
                self.rest();
                None
            }
            LedgerError::Stream { shard, what } => {
                self.common.notice(format!(
                    "shard {shard}: {what}; the stream is looked at again and read anew"
                ));
                self.stream_is_in_doubt = true;
                self.rest();
                None
            }
            error => Some(self.halt(error)),
        }
    }

    /// What was decided and not signed is decided again; the lease is still this host's.
    fn rest(&mut self) {
        if self.sequencer.as_ref().is_none_or(Sequencer::is_midway) {
            self.drop_sequencer();
            if self.leads() {
                self.part.send_replace(Part::Following);
            }
        }
        std::thread::sleep(REST);
    }

    fn halt(&mut self, error: LedgerError) -> LedgerError {
        let told = error.to_string();
        let part = match &error {
            LedgerError::HeldElsewhere { holder, .. } => Part::HeldElsewhere(holder.clone()),
            _ => Part::Halted(told.clone()),
        };
        if matches!(part, Part::Halted(_)) {
            let register = self.common.ledger.folder().register(self.shard);
            // What halts the shard is told where it cannot be noted.
            let _ = Register::note_incident(&register, IncidentKind::Halted, told.clone());
        }
        self.view.send_modify(|view| {
            let mut halted = (**view).clone();
            halted.halted = Some(told);
            *view = Arc::new(halted);
        });
        held(&self.lease).release();
        self.part.send_replace(part);
        self.tell_halted();
        error
    }

    /// Without its bucket the bus has no register; what it held is put back from the archives.
    fn mend_register(&self) {
        // Whoever has no right, or no bus, to do so is told by what comes next.
        if let Ok(true) = self.runtime.block_on(self.common.nats.mend_register()) {
            self.common
                .notice("the register on the bus was gone; it was made anew".into());
        }
    }

    fn set_trouble(&self, trouble: Option<String>) {
        if self.view.borrow().trouble == trouble {
            return;
        }
        self.view.send_modify(|view| {
            let mut changed = (**view).clone();
            changed.trouble = trouble;
            *view = Arc::new(changed);
        });
    }
}
