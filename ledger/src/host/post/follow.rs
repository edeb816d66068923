//! Following: an archive that is kept level with what is registered.
//!
//! In scope: reading the stream as the leader did, copying where that does not lead there, going back where something was
//! decided that nobody signed. Out of scope: leading. Trust: as the post.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sharetrail_proof::hash::{Hash, TreeSize};

use super::super::copy::copy_from_peers;
use super::super::lease::LEASE;
use super::{FAR_LEAVES, Part, Post, ROUND_BYTES, SIGN_OF_LIFE, held, runtime_for};
use crate::bus::{Bus, StreamId, StreamSeq};
use crate::error::LedgerError;
use crate::register::{Cursor, Head, IncidentKind};
use crate::sequencer::{Alone, note_text, stated};

/// How long messages that the leader read may take to come here.
const DELIVERY: Duration = Duration::from_secs(2);

/// Following.
impl Post {
    pub(super) fn follow(&mut self) -> Result<bool, LedgerError> {
        self.sequencer()?.set_gate(Box::new(Alone));
        let entry = held(&self.lease).look()?.cloned();
        let mut worked = false;
        match &entry {
            Some(entry) => {
                self.none_since = None;
                let stated = stated(&entry.head.checkpoint).map_or(TreeSize(0), |(size, _)| size);
                self.seen = self.seen.max(stated);
            }
            None if !self.may_begin_anew()? => return Ok(false),
            None => {}
        }
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
            return self.take_over(entry.as_ref().map(|entry| &entry.head));
        }
        if *self.part.borrow() == Part::Beginning
            && (self.common.shares || self.began.elapsed() > LEASE + SIGN_OF_LIFE)
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

    /// Whether the shard's entry may be made anew: nobody else is heard who signed more than is here.
    fn may_begin_anew(&mut self) -> Result<bool, LedgerError> {
        if !self.common.shares {
            return Ok(true);
        }
        let since = *self.none_since.get_or_insert_with(Instant::now);
        if since.elapsed() < LEASE + SIGN_OF_LIFE {
            return Ok(false);
        }
        let have = self.sequencer()?.size();
        for peer in self.common.peers()? {
            // A peer that does not answer is not waited for: it may be gone for good.
            let there = peer.checkpoint(self.shard).ok().as_deref().and_then(note_text);
            if there
                .as_deref()
                .and_then(stated)
                .is_some_and(|(size, _)| size > have)
            {
                return Ok(false);
            }
        }
        Ok(true)
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
            // Nothing is signed before it is registered: the register went back, and whoever knows more goes first.
            Some(true) if sequencer.published_size()? > size => self.take_over(Some(head)),
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
                let sequencer = self.sequencer()?;
                if sequencer.size() > sequencer.published_size()? {
                    self.forget_unsigned("what was decided here last is not in the registered history")?;
                    return Ok(true);
                }
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
            self.view.send_modify(|view| {
                let mut moved = (**view).clone();
                moved.seq = cursor.seq;
                *view = Arc::new(moved);
            });
        }
        if !is_published {
            self.sequencer()?.publish_again()?;
        }
        if !is_published || self.told.elapsed() > SIGN_OF_LIFE {
            self.told = Instant::now();
            self.common.hosts.announce(self.shard, size, root);
        }
        Ok(!is_published)
    }

    /// Reads the stream up to where the leader read it.
    fn follow_stream(&mut self, head: &Head, size: TreeSize, root: Hash) -> Result<(), LedgerError> {
        let (shard, nats) = (self.shard, Arc::clone(&self.common.nats));
        let diverged = |what: String| LedgerError::Diverged { shard, what };
        let cursor = head.cursor.clone();
        let cursor = cursor.ok_or_else(|| diverged("the leader has read no stream yet".into()))?;
        let (runtime, stop) = (runtime_for(&self.common.ledger)?, Arc::clone(&self.common.stop));
        let mut ahead = std::mem::take(&mut self.ahead);
        let sequencer = self.sequencer()?;
        let never_read = sequencer.full_cursor().stream == StreamId([0; 16]).to_string();
        if sequencer.full_cursor().stream != cursor.stream && (sequencer.size().0 <= 1 || never_read) {
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
        let mut until = Instant::now() + DELIVERY;
        while sequencer.cursor() < cursor.seq {
            let due = StreamSeq(sequencer.cursor().0 + 1);
            let mut messages = match ahead.first() {
                Some(first) if first.seq == due => std::mem::take(&mut ahead),
                _ => runtime.block_on(nats.read(shard, sequencer.cursor(), ROUND_BYTES))?,
            };
            let came = !messages.is_empty();
            ahead = messages.split_off(messages.partition_point(|message| message.seq <= cursor.seq));
            if messages.is_empty() {
                // The leader may have been served before this host is.
                if !came && Instant::now() < until && !stop.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                }
                return Err(diverged(format!(
                    "the stream holds nothing of messages {} to {}, which the leader read",
                    sequencer.cursor().0 + 1,
                    cursor.seq.0
                )));
            }
            sequencer.take_along(&messages)?;
            until = Instant::now() + DELIVERY;
        }
        let found = sequencer.size();
        if found == size && sequencer.has(size, &root)? == Some(true) {
            sequencer.seal_now()?;
            self.ahead = ahead;
            self.common.hosts.announce(shard, size, root);
            return Ok(());
        }
        Err(diverged(format!(
            "the stream gives {found} leaves with another root than the registered checkpoint of {size}"
        )))
    }

    /// Copies what is missing from another host. `differed`: whether the stream, or what was here, led elsewhere.
    fn copy(&mut self, head: &Head, size: TreeSize, root: Hash, differed: bool) -> Result<bool, LedgerError> {
        let peers = self.common.peers()?;
        let shard = self.shard;
        let sequencer = self.sequencer()?;
        let had = sequencer.size();
        let copied = copy_from_peers(sequencer, &peers, size, &[(size, root)], &mut |_, _| ());
        if copied.is_err() && sequencer.size() > had {
            // What came is proven to be of this history: the next try goes on from there.
            sequencer.note_progress()?;
        }
        let copied = copied?;
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
        self.common.hosts.announce(shard, size, root);
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
