//! Leading: sequencing with the lease, and telling everybody what became of what.
//!
//! In scope: taking the lease, the gate before a signature, the stream that is read, heads for the producers.
//! Out of scope: following. Trust: as the post.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sharetrail_proof::hash::{LeafHash, TreeSize};
use tokio::runtime::Runtime;

use super::super::hosts::Hosts;
use super::super::lease::Lease;
use super::{Part, Post, REST, ROUND_BYTES, SIGN_OF_LIFE, held, runtime_for};
use crate::bus::{Bus, StreamId, StreamInfo, StreamSeq};
use crate::error::LedgerError;
use crate::register::{Cursor, Head, IncidentKind};
use crate::sequencer::{Gate, fresh_cursor, message_hash, stated};
use crate::wire::{ChainNumber, Heads, RejectedNote, SealedBatch};

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
        self.hosts.announce(self.shard, size, root);
        if !self.hosts.await_copy(&self.runtime, self.shard, size, root) {
            self.single.store(size.0, Ordering::Release);
        }
        Ok(())
    }
}

/// Leading.
impl Post {
    /// Takes the lease if this archive holds all that was registered, and more than was ever signed here.
    pub(super) fn take_over(&mut self, registered: Option<&Head>) -> Result<bool, LedgerError> {
        let previous = held(&self.lease).holder().cloned();
        let stated_there = registered.and_then(|head| stated(&head.checkpoint));
        let there = stated_there.map_or(TreeSize(0), |(size, _)| size);
        let must_reach = self
            .must_reach
            .max(self.seen)
            .max(self.common.hosts.highest(self.shard));
        let sequencer = self.sequencer()?;
        if there > sequencer.size() || must_reach > sequencer.size() {
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
        self.check_stream()?;
        let gate = LeaderGate {
            shard: self.shard,
            lease: Arc::clone(&self.lease),
            hosts: Arc::clone(&self.common.hosts),
            runtime: runtime_for(&self.common.ledger)?,
            single: Arc::clone(&self.single),
        };
        self.sequencer()?.set_gate(Box::new(gate));
        self.sequencer()?.publish_again()?;
        self.part.send_replace(Part::Leading);
        self.tell_producers()?;
        Ok(true)
    }

    pub(super) fn lead(&mut self) -> Result<bool, LedgerError> {
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
            let (size, root) = self.sequencer()?.tip();
            self.common.hosts.announce(self.shard, size, root);
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
        (self.stream, self.last) = (info.id, info.last);
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
        let view = Arc::clone(&self.view.borrow());
        let genesis = LeafHash::of(&self.common.ledger.genesis(shard).to_bytes()).0;
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
        let standing = answers
            .standing
            .into_iter()
            .map(|(chain, head)| match head {
                Some((number, prev)) => ChainNumber {
                    chain,
                    next: number + 1,
                    prev,
                },
                None => ChainNumber {
                    chain,
                    next: 0,
                    prev: genesis,
                },
            })
            .collect();
        let heads = Heads {
            shard,
            stream: sequencer.full_cursor().stream.clone(),
            seq,
            last: last.max(seq),
            checkpoint: view.note.clone(),
            sealed: sealed.collect(),
            rejected: rejected.collect(),
            heads: standing,
            halted: None,
            holder,
        };
        self.say(heads);
        Ok(())
    }

    /// Sends heads to the producers. Who misses some sends its batch again, and is answered again.
    fn say(&self, heads: Heads) {
        let to = self.common.nats.names().heads(self.shard);
        let until = Instant::now() + REST;
        for message in heads.messages() {
            while self.common.nats.broadcast(&to, message.clone()).is_err() {
                if Instant::now() > until {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Tells the producers that the shard goes no further on this host.
    pub(super) fn tell_halted(&mut self) {
        self.told = Instant::now();
        let (view, Ok(host)) = (Arc::clone(&self.view.borrow()), self.common.ledger.host()) else {
            return;
        };
        if view.note.is_empty() || !matches!(*self.part.borrow(), Part::Halted(_)) {
            return;
        }
        // Another host may lead by now; then its heads are what counts.
        let others = held(&self.lease)
            .look()
            .ok()
            .flatten()
            .and_then(|entry| entry.holder.clone());
        if others.is_some() {
            return;
        }
        self.say(Heads {
            shard: self.shard,
            stream: self.stream.to_string(),
            seq: view.seq,
            last: view.seq.max(self.last),
            checkpoint: view.note.clone(),
            sealed: Vec::new(),
            rejected: Vec::new(),
            heads: Vec::new(),
            halted: view.halted.clone(),
            holder: host.to_string(),
        });
    }
}
