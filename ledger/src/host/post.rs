//! A host's part in one shard: it leads the shard or follows whoever does.
//!
//! A follower reads the same stream up to what the leader registered and must come to the same root; then its archive
//! holds the checkpoint too. A leader decides, registers with its lease, and signs once another archive that keeps up
//! holds it. In scope: changing between the two, healing what the bus lost. Out of scope: the steps of putting frames on
//! record (the sequencer). Trust: the register is compared with the archive, the stream with the register; peers' copies
//! pass the rules of acceptance and must give the registered root.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use sharetrail_proof::hash::{Hash, TreeSize};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

use super::copy::copy_from_peers;
use super::hosts::Hosts;
use super::lease::{Freshness, Lease};
use super::peer::Peer;
use crate::bus::{Bus, NatsBus, StreamId, StreamInfo, StreamSeq};
use crate::engine::{Question, destroy_erased, sources};
use crate::error::{At, LedgerError};
use crate::ledger::Ledger;
use crate::register::{Cursor, Head, IncidentKind};
use crate::sequencer::{
    Gate, Observer, Sequencer, ShardView, Sources, fresh_cursor, message_hash, recover_behind,
    recover_quietly, stated,
};
use crate::vault::Vault;
use crate::wire::{Heads, RejectedNote, SealedBatch};

/// Bytes of frames that are put on record under one checkpoint.
const ROUND_BYTES: usize = 8 << 20;
const IDLE: Duration = Duration::from_millis(250);
/// How often a leader tells how far it is, and looks whether the stream is still the one it reads.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// How long it rests after the bus, or another host, did not answer.
const REST: Duration = Duration::from_millis(500);
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
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) peers: Vec<String>,
    /// Whether other hosts may lead shards; otherwise that is an error.
    pub(crate) shares: bool,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) notices: Arc<Mutex<Vec<String>>>,
}

impl Common {
    pub(crate) fn notice(&self, text: String) {
        let mut notices = held(&self.notices);
        if notices.last() != Some(&text) {
            notices.push(text);
        }
    }

    /// Where archives can be copied from.
    fn peers(&self) -> Result<Vec<Peer>, LedgerError> {
        let secret = self.vault.peer_secret();
        let alive = self.hosts.alive().into_iter().filter_map(|(_, url)| url);
        let mut urls: Vec<String> = self.peers.iter().cloned().chain(alive).collect();
        urls.dedup();
        urls.iter().map(|url| Peer::new(url, secret.bytes())).collect()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A leader's gate: registered with the lease, and held by another archive that keeps up.
struct LeaderGate {
    shard: u32,
    lease: Arc<Mutex<Lease>>,
    hosts: Arc<Hosts>,
    runtime: Runtime,
    /// Leaves of a checkpoint that was let through with one copy; 0 where there is nothing to tell.
    single: Arc<AtomicU64>,
}

impl Gate for LeaderGate {
    fn pass(&mut self, head: &Head) -> Result<(), LedgerError> {
        held(&self.lease).write(head)?;
        let Some((size, root)) = stated(&head.checkpoint) else {
            return Ok(());
        };
        self.hosts.announce(self.shard, size, root)?;
        if !self.hosts.await_copy(&self.runtime, self.shard, size, root) {
            self.single.store(size.0, Ordering::Release);
        }
        Ok(())
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
    /// The end of the stream, as far as it is known.
    last: StreamSeq,
    told: Instant,
    began: Instant,
    /// See [`LeaderGate`].
    single: Arc<AtomicU64>,
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
        let lease = Lease::new(&common.nats, runtime(common)?, shard, &host, &fresh, &common.stop);
        let mut post = Self {
            shard,
            common: Arc::clone(common),
            runtime: runtime(common)?,
            lease: Arc::new(Mutex::new(lease)),
            sequencer: None,
            view,
            part,
            asked,
            wake,
            last: StreamSeq(0),
            told: Instant::now(),
            began: Instant::now(),
            single: Arc::default(),
            stream_is_in_doubt: false,
            must_reach: TreeSize(0),
        };
        post.take_up()?;
        Ok(post)
    }

    /// Reads the archive again, and drops what was never registered.
    fn take_up(&mut self) -> Result<(), LedgerError> {
        if let Some(mut sequencer) = self.sequencer.take() {
            // What was under way is on disk or dropped below.
            let _ = sequencer.end_snapshot();
        }
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
        destroy_erased(&self.common.vault, sequencer.erased_labels(), &mut notices)?;
        self.sequencer = Some(sequencer);
        notices.into_iter().for_each(|text| self.common.notice(text));
        Ok(())
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
                        worked = some;
                    }
                    Err(error) => halted = self.survive(error)?,
                }
            }
            self.answer();
            if stopping && (!worked || !self.leads()) {
                break;
            }
            if !worked {
                let wake = &self.wake;
                self.runtime.block_on(async {
                    tokio::select! {
                        _ = arrivals.changed() => {}
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
    fn survive(&mut self, error: LedgerError) -> Result<Option<LedgerError>, LedgerError> {
        match error {
            LedgerError::LeaseLost { .. } => {
                self.common.notice(error.to_string());
                self.part.send_replace(Part::Following);
                self.take_up()?;
                Ok(None)
            }
            LedgerError::Bus(_) | LedgerError::Peer { .. } | LedgerError::Diverged { .. } => {
                let told = error.to_string();
                self.set_trouble(Some(told.clone()));
                self.common.notice(format!("shard {}: {told}", self.shard));
                self.mend_register();
                // What was decided and not signed is decided again; the lease is still this host's.
                if self.sequencer.as_ref().is_none_or(Sequencer::is_midway) {
                    self.sequencer = None;
                    if self.leads() {
                        self.part.send_replace(Part::Following);
                    }
                }
                std::thread::sleep(REST);
                Ok(None)
            }
            // A stream that went away while it was read is looked at again when the shard is next led.
            LedgerError::Stream { .. } => {
                self.common.notice(error.to_string());
                self.stream_is_in_doubt = true;
                std::thread::sleep(REST);
                Ok(None)
            }
            error => {
                let part = match &error {
                    LedgerError::HeldElsewhere { holder, .. } => Part::HeldElsewhere(holder.clone()),
                    other => Part::Halted(other.to_string()),
                };
                if let Some(sequencer) = &mut self.sequencer {
                    sequencer.halt(&error);
                    if !matches!(error, LedgerError::HeldElsewhere { .. }) {
                        // What halts the shard is told where it cannot be noted.
                        let _ = sequencer.incident(IncidentKind::Halted, error.to_string());
                    }
                }
                held(&self.lease).release();
                self.part.send_replace(part);
                Ok(Some(error))
            }
        }
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

/// Following.
impl Post {
    fn follow(&mut self) -> Result<bool, LedgerError> {
        let entry = held(&self.lease).look()?.cloned();
        let mut worked = false;
        if let Some(entry) = &entry {
            worked = self.come_level(&entry.head)?;
            if self.must_reach.0 > 0 && self.sequencer()?.size() >= self.must_reach {
                self.take_up()?;
                self.common.notice(format!(
                    "shard {}: this archive holds all that was signed again",
                    self.shard
                ));
            }
        }
        let (is_free, holder) = {
            let lease = held(&self.lease);
            (lease.is_free(), lease.holder().cloned())
        };
        if is_free {
            return self.take_over(entry.map(|entry| entry.head));
        }
        if *self.part.borrow() == Part::Beginning
            && (self.common.shares || self.began.elapsed() > super::lease::LEASE + SIGN_OF_LIFE)
        {
            let holder = holder.map_or_else(|| "another".to_owned(), |holder| holder.to_string());
            if !self.common.shares {
                return Err(LedgerError::HeldElsewhere {
                    shard: self.shard,
                    holder,
                });
            }
            self.part.send_replace(Part::Following);
        }
        Ok(worked)
    }

    /// Brings this archive to what was registered. Whether there was anything to do.
    fn come_level(&mut self, head: &Head) -> Result<bool, LedgerError> {
        let shard = self.shard;
        let diverged = |what: String| LedgerError::Diverged { shard, what };
        let (size, root) =
            stated(&head.checkpoint).ok_or_else(|| diverged("no checkpoint is registered".into()))?;
        let sequencer = self.sequencer()?;
        match sequencer.has(size, &root)? {
            Some(true) if sequencer.size() == size => self.hold(head, size, root),
            // What is here and not registered came from the same stream; whoever leads will get there.
            Some(true) => Ok(false),
            Some(false) => {
                let what =
                    format!("the registered checkpoint of {size} leaves is not the one of this archive");
                self.forget_unsigned(&what)?;
                if self.sequencer()?.has(size, &root)? == Some(false) {
                    return Err(LedgerError::Forked {
                        shard,
                        size: size.0,
                        known: root,
                        found: self.view.borrow().checkpoint.root,
                        from: "the register on the bus".into(),
                    });
                }
                self.copy(head, size, root, true)
            }
            None => self.go_on_to(head, size, root),
        }
    }

    /// Brings what is missing: from the stream, or from a peer where that is shorter or the stream lacks it.
    fn go_on_to(&mut self, head: &Head, size: TreeSize, root: Hash) -> Result<bool, LedgerError> {
        let have = self.sequencer()?.size();
        let is_far = have.0 <= 1 || size.0 - have.0 > FAR_LEAVES;
        if is_far && !self.common.peers()?.is_empty() {
            match self.copy(head, size, root, false) {
                Err(LedgerError::Peer { url, what }) => {
                    self.common
                        .notice(format!("shard {}: peer {url}: {what}", self.shard));
                    self.take_up()?;
                }
                other => return other,
            }
        }
        match self.follow_stream(head, size, root) {
            Err(LedgerError::Diverged { shard, what }) => {
                self.take_up()?;
                self.copy(head, size, root, true).map_err(|error| match error {
                    LedgerError::Peer { .. } => LedgerError::Diverged {
                        shard,
                        what: format!("{what}; {error}"),
                    },
                    other => other,
                })
            }
            other => other.map(|()| true),
        }
    }

    /// The archive holds what is registered: published here too, and announced.
    fn hold(&mut self, head: &Head, size: TreeSize, root: Hash) -> Result<bool, LedgerError> {
        let is_published = self.view.borrow().checkpoint.size == size && !self.view.borrow().note.is_empty();
        let sequencer = self.sequencer()?;
        if let Some(cursor) = head
            .cursor
            .as_ref()
            .filter(|cursor| *cursor != sequencer.full_cursor())
        {
            sequencer.move_cursor(cursor.clone())?;
        }
        if !is_published {
            sequencer.publish_again()?;
        }
        if !is_published || self.told.elapsed() > SIGN_OF_LIFE {
            self.told = Instant::now();
            self.common.hosts.announce(self.shard, size, root)?;
        }
        Ok(!is_published)
    }

    /// Reads the stream up to where the leader read it.
    fn follow_stream(&mut self, head: &Head, size: TreeSize, root: Hash) -> Result<(), LedgerError> {
        let (shard, nats) = (self.shard, Arc::clone(&self.common.nats));
        let diverged = |what: String| LedgerError::Diverged { shard, what };
        let cursor = head.cursor.clone();
        let cursor = cursor.ok_or_else(|| diverged("the leader has read no stream yet".into()))?;
        let runtime = self.new_runtime()?;
        let sequencer = self.sequencer()?;
        if sequencer.size().0 <= 1 && sequencer.full_cursor().stream != cursor.stream {
            sequencer.move_cursor(Cursor {
                seq: StreamSeq(0),
                ..cursor.clone()
            })?;
        }
        if sequencer.full_cursor().stream != cursor.stream {
            return Err(diverged(format!(
                "stream {} was read here, and the leader reads {}",
                sequencer.full_cursor().stream,
                cursor.stream
            )));
        }
        while sequencer.cursor() < cursor.seq {
            let mut messages = runtime.block_on(nats.read(shard, sequencer.cursor(), ROUND_BYTES))?;
            messages.retain(|message| message.seq <= cursor.seq);
            if messages.is_empty() {
                return Err(diverged(format!(
                    "the stream holds nothing of messages {} to {}, which the leader read",
                    sequencer.cursor().0 + 1,
                    cursor.seq.0
                )));
            }
            sequencer.take_along(&messages)?;
        }
        if sequencer.size() == size && sequencer.has(size, &root)? == Some(true) {
            sequencer.seal_now()?;
            return self.common.hosts.announce(shard, size, root);
        }
        Err(diverged(format!(
            "the stream gives {} leaves with another root than the registered checkpoint of {size}",
            sequencer.size()
        )))
    }

    /// Copies what is missing from another host. `differed`: whether the stream, or what was here, led elsewhere.
    fn copy(&mut self, head: &Head, size: TreeSize, root: Hash, differed: bool) -> Result<bool, LedgerError> {
        let peers = self.common.peers()?;
        let shard = self.shard;
        let sequencer = self.sequencer()?;
        let had = sequencer.size();
        let copied = copy_from_peers(sequencer, &peers, size, &[(size, root)], &mut |_, _| ())?;
        if let Some(cursor) = &head.cursor {
            sequencer.set_cursor(cursor.clone());
        }
        sequencer.seal_now()?;
        let what = format!(
            "leaves {} to {} were copied from {}",
            had.0,
            size.0 - 1,
            copied.from.join(", ")
        );
        if differed {
            sequencer.incident(IncidentKind::Diverged, what.clone())?;
        }
        self.common.notice(format!("shard {shard}: {what}"));
        self.common.hosts.announce(shard, size, root)?;
        Ok(true)
    }

    /// Goes back to the last checkpoint that was signed: what came after it was decided here and registered nowhere.
    fn forget_unsigned(&mut self, why: &str) -> Result<(), LedgerError> {
        let sequencer = self.sequencer.take();
        let Some(sequencer) = sequencer else { return Ok(()) };
        let size = sequencer.size();
        let back = sequencer.back_to_published()?;
        self.common.notice(format!(
            "shard {}: {why}; {} leaves that were never signed are dropped",
            self.shard,
            size.0 - back.0
        ));
        self.take_up()
    }
}

/// Leading.
impl Post {
    /// Takes the lease if this archive holds all that was registered, and more than was ever signed here.
    fn take_over(&mut self, registered: Option<Head>) -> Result<bool, LedgerError> {
        let previous = held(&self.lease).holder().cloned();
        let stated_there = registered.as_ref().and_then(|head| stated(&head.checkpoint));
        let there = stated_there.map_or(TreeSize(0), |(size, _)| size);
        let must_reach = self.must_reach;
        let sequencer = self.sequencer()?;
        if there > sequencer.size() {
            return Ok(false);
        }
        if sequencer.size() < must_reach {
            return Ok(false);
        }
        let signed = sequencer.published_size()?;
        let head = sequencer.head();
        if !held(&self.lease).take(&head)? {
            return Ok(true);
        }
        if there < signed && signed.0 > 1 {
            let what = format!(
                "the register on the bus stood at {there} leaves, and a checkpoint of {signed} was signed; put back from \
                 this archive"
            );
            self.tell(IncidentKind::RegisterRolledBack, what)?;
        }
        let host = self.common.ledger.host()?;
        if let Some(previous) = previous.filter(|previous| *previous != host) {
            self.tell(
                IncidentKind::TakenOver,
                format!("taken over from host {previous}, which was gone"),
            )?;
        }
        let gate = LeaderGate {
            shard: self.shard,
            lease: Arc::clone(&self.lease),
            hosts: Arc::clone(&self.common.hosts),
            runtime: self.new_runtime()?,
            single: Arc::clone(&self.single),
        };
        self.sequencer()?.set_gate(Box::new(gate));
        self.check_stream()?;
        self.sequencer()?.publish_again()?;
        self.part.send_replace(Part::Leading);
        self.tell_producers()?;
        Ok(true)
    }

    fn lead(&mut self) -> Result<bool, LedgerError> {
        let (shard, nats) = (self.shard, Arc::clone(&self.common.nats));
        if self.stream_is_in_doubt {
            self.check_stream()?;
        }
        let after = self.sequencer()?.cursor();
        let messages = self.runtime.block_on(nats.read(shard, after, ROUND_BYTES))?;
        if let Some(last) = messages.last() {
            self.last = self.last.max(last.seq);
            self.sequencer()?.take(&messages)?;
            self.tell_producers()?;
            self.tell_single_copy()?;
            return Ok(true);
        }
        if held(&self.lease).is_due() {
            let head = self.sequencer()?.head();
            held(&self.lease).write(&head)?;
        }
        if self.told.elapsed() > SIGN_OF_LIFE {
            let info = self.stream_info()?;
            let cursor = self.sequencer()?.full_cursor().clone();
            if info.id.to_string() != cursor.stream || info.last < cursor.seq {
                self.check_stream()?;
            }
            self.last = info.last;
            self.tell_producers()?;
        }
        Ok(false)
    }

    /// The stream of the shard, made anew if it is gone.
    fn stream_info(&mut self) -> Result<StreamInfo, LedgerError> {
        let (shard, nats) = (self.shard, Arc::clone(&self.common.nats));
        match self.runtime.block_on(nats.info(shard)) {
            Err(LedgerError::Stream { .. }) => {
                if self.runtime.block_on(nats.mend_stream(shard))? {
                    self.common
                        .notice(format!("shard {shard}: the stream was gone; it was made anew"));
                }
                self.runtime.block_on(nats.info(shard))
            }
            other => other,
        }
    }

    /// The stream must be the one that was read, and hold at the cursor what was read there. Where it does not, it is read
    /// again from its beginning: what is on record is passed over, and what is lost comes again from the outboxes.
    fn check_stream(&mut self) -> Result<(), LedgerError> {
        let info = self.stream_info()?;
        self.stream_is_in_doubt = false;
        self.last = info.last;
        let cursor = self.sequencer()?.full_cursor().clone();
        let never_read = cursor.stream == StreamId([0; 16]).to_string();
        let found = if info.id.to_string() != cursor.stream {
            let what = format!(
                "stream {} stands where {} was read up to message {}",
                info.id, cursor.stream, cursor.seq.0
            );
            Some((self.how_replaced(&cursor)?, what))
        } else if info.last < cursor.seq {
            let what = format!(
                "stream {} ends at message {}, and message {} was read",
                info.id, info.last.0, cursor.seq.0
            );
            Some((IncidentKind::StreamRolledBack, what))
        } else if self.holds_cursor(&cursor)? {
            None
        } else {
            let what = format!(
                "stream {}: message {} is not the one that was read",
                info.id, cursor.seq.0
            );
            Some((IncidentKind::StreamRolledBack, what))
        };
        let Some((kind, what)) = found else { return Ok(()) };
        let fresh = fresh_cursor(info.id);
        self.sequencer()?.move_cursor(fresh)?;
        if never_read {
            return Ok(());
        }
        let healed = "it is read from its beginning; what was not sealed comes again from the outboxes";
        self.tell(kind, format!("{what}; {healed}"))
    }

    /// Whether the operator closed the stream that was read, or it is gone.
    fn how_replaced(&self, cursor: &Cursor) -> Result<IncidentKind, LedgerError> {
        let closed = self.common.nats.was_closed(self.shard, cursor.stream.parse()?);
        Ok(if self.runtime.block_on(closed)? {
            IncidentKind::StreamClosed
        } else {
            IncidentKind::StreamReplaced
        })
    }

    fn holds_cursor(&mut self, cursor: &Cursor) -> Result<bool, LedgerError> {
        if cursor.seq.0 == 0 {
            return Ok(true);
        }
        let (shard, nats) = (self.shard, Arc::clone(&self.common.nats));
        let before = StreamSeq(cursor.seq.0 - 1);
        let until = Instant::now() + SIGN_OF_LIFE * 5;
        loop {
            let messages = match self.runtime.block_on(nats.read(shard, before, 1)) {
                // The stream does not go on where it was read: it is another, or was cut short.
                Err(LedgerError::Stream { .. }) => return Ok(false),
                read => read?,
            };
            match messages.first() {
                Some(message) => {
                    return Ok(message.seq == cursor.seq && message_hash(message) == cursor.hash);
                }
                // The first answer of a stream takes a moment.
                None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
                None => return Ok(false),
            }
        }
    }

    fn tell_single_copy(&mut self) -> Result<(), LedgerError> {
        match self.single.swap(0, Ordering::AcqRel) {
            0 => Ok(()),
            size => {
                let what = format!(
                    "no second archive held the checkpoint of {size} leaves in time; it was published with one copy"
                );
                self.tell(IncidentKind::SingleCopy, what)
            }
        }
    }

    fn tell(&mut self, kind: IncidentKind, what: String) -> Result<(), LedgerError> {
        self.common.notice(format!("shard {}: {what}", self.shard));
        self.sequencer()?.incident(kind, what)
    }

    /// Tells the producers what became of their batches, with proofs; without any, that this shard is at work.
    fn tell_producers(&mut self) -> Result<(), LedgerError> {
        self.told = Instant::now();
        let (shard, last) = (self.shard, self.last);
        let holder = self.common.ledger.host()?.to_string();
        let nats = Arc::clone(&self.common.nats);
        let view = Arc::clone(&self.view.borrow());
        let sequencer = self.sequencer()?;
        let answers = sequencer.take_answers();
        let indexes: Vec<_> = answers.sealed.iter().map(|(_, _, index)| *index).collect();
        let proofs = sequencer.inclusions(&indexes)?;
        let sealed = answers.sealed.into_iter().zip(proofs);
        let sealed = sealed.map(|((chain, number, index), proof)| SealedBatch {
            chain,
            number,
            index,
            proof,
        });
        let rejected = answers.rejected.into_iter().map(|(chain, batch)| RejectedNote {
            chain,
            number: batch.number,
            hash: batch.hash,
            position: batch.position,
            reason: batch.reason,
        });
        let seq = sequencer.cursor();
        let heads = Heads {
            shard,
            stream: sequencer.full_cursor().stream.clone(),
            seq,
            last: last.max(seq),
            checkpoint: view.note.clone(),
            sealed: sealed.collect(),
            rejected: rejected.collect(),
            halted: None,
            holder,
        };
        let to = nats.names().heads(shard);
        heads
            .messages()
            .into_iter()
            .try_for_each(|message| nats.broadcast(&to, message))
    }

    fn new_runtime(&self) -> Result<Runtime, LedgerError> {
        runtime(&self.common)
    }
}

fn runtime(common: &Common) -> Result<Runtime, LedgerError> {
    let runtime = Builder::new_current_thread().enable_time().build();
    runtime.at("start a runtime for", common.ledger.root())
}
