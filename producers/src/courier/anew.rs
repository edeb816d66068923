//! Cutting frames anew: after a rejection, and where a chain cannot go on.
//!
//! In scope: the same events under the same number, but for the one at fault, so that at most one of two frames can ever
//! enter the log; all of them where an earlier key of the producer had signed; and, where no number can follow, in another
//! chain. What takes the place of frames is on disk before they are given up. Out of scope: deciding which it is
//! ([`super::line`]). Trust: who leads the shard says what was rejected.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use sharetrail_ledger::{Chain, LedgerError, files};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::ChainId;

use super::Courier;
use super::frames::{cut_anew, is_signed_by};
use super::line::Waiting;
use super::news::Rejected;
use crate::outbox::{EventName, KeptFrame};
use crate::settle::Told;
use crate::tickets::Ticket;

impl Courier {
    /// Cuts all frames anew, the first without what was refused, under the same numbers.
    pub(super) async fn set_back(&mut self, rejected: &Rejected) -> Result<(), LedgerError> {
        let is_ours = self
            .line
            .first()
            .is_none_or(|first| is_signed_by(first, &self.office.signer));
        // An earlier key signed it: as long as the present one has not, no event of it is at fault.
        let is_outdated = rejected.position.is_none() && !is_ours;
        if rejected.position.is_none() && is_ours && self.line.follows_a_hole() {
            return self.begin_anew().await;
        }
        let frames = self.line.take();
        let Some(first) = frames.front() else {
            return Ok(());
        };
        let (from, prev) = (first.kept.number, first.prev);
        let at_fault: Range<usize> = match rejected.position.filter(|place| *place < first.tickets.len()) {
            Some(place) => place..place + 1,
            None if is_outdated => 0..0,
            None => 0..first.tickets.len(),
        };
        let refused: Vec<(EventName, Option<Ticket>)> = at_fault
            .clone()
            .map(|place| (first.kept.names[place], first.tickets[place].clone()))
            .collect();
        self.chain.resume_at(from, prev);
        let round = self.round + 1;
        let mut anew = Vec::with_capacity(frames.len());
        for (place, frame) in frames.iter().enumerate() {
            let without = if place == 0 { at_fault.clone() } else { 0..0 };
            anew.extend(cut_anew(&mut self.chain, round, frame, &without));
        }
        let kept: Vec<KeptFrame> = anew.iter().map(|frame: &Waiting| frame.kept.clone()).collect();
        let done = self
            .on_disk(move |outbox| outbox.replace(round, from, &kept))
            .await;
        if let Err(error) = done {
            return self.keep_as_it_is(frames, error);
        }
        if is_outdated {
            let (shard, count) = (self.shard, anew.len());
            self.office.notices.say(format!(
                "shard {shard}: {count} batches in the outbox were signed with an earlier key and are signed again with \
                 the present one"
            ));
        } else {
            self.tell_rejected(&refused, &rejected.reason);
        }
        (self.round, self.tail) = (round, (from, prev));
        self.line_up(anew, prev);
        Ok(())
    }

    fn tell_rejected(&self, refused: &[(EventName, Option<Ticket>)], reason: &str) {
        let told: Vec<Told<'_>> = refused
            .iter()
            .map(|(name, ticket)| (*name, ticket.as_ref()))
            .collect();
        self.office.settler.rejected(&told, reason);
        let left_over = refused.iter().filter(|(_, ticket)| ticket.is_none()).count();
        if left_over > 0 {
            let shard = self.shard;
            self.office
                .left_over_rejected
                .fetch_add(left_over as u64, Ordering::AcqRel);
            self.office.notices.say(format!(
                "shard {shard}: {left_over} events of an earlier run were rejected and are not on record: {reason}"
            ));
        }
    }

    /// Cuts all frames anew in a chain of their own: the old one does not go on from what is here.
    pub(super) async fn begin_anew(&mut self) -> Result<(), LedgerError> {
        let id = ChainId(files::random()?);
        let mut chain = Chain::begin(&self.office.facts, &self.office.signer, self.shard, id)?;
        let (round, frames) = (self.round + 1, self.line.take());
        let anew: Vec<Waiting> = frames
            .iter()
            .filter_map(|frame| cut_anew(&mut chain, round, frame, &(0..0)))
            .collect();
        let kept: Vec<KeptFrame> = anew.iter().map(|frame| frame.kept.clone()).collect();
        let done = self
            .on_disk(move |outbox| outbox.begin_chain(id, round, &kept))
            .await;
        if let Err(error) = done {
            return self.keep_as_it_is(frames, error);
        }
        let (shard, old, count) = (self.shard, self.chain.id(), anew.len());
        self.office.notices.say(format!(
            "shard {shard}: the log does not go on from what this outbox has of chain {old}; {count} batches that are not \
             on record go on in chain {id}. Was an old copy of the outbox put back, or is it used on two hosts?"
        ));
        let genesis = chain.genesis();
        (self.round, self.tail, self.chain) = (round, (0, genesis), chain);
        (self.mark, self.unnoted) = (None, 0);
        self.line_up(anew, genesis);
        Ok(())
    }

    /// The outbox could not be written to: who waits for the frames is told when the courier ends of it.
    fn keep_as_it_is(&mut self, frames: VecDeque<Waiting>, error: LedgerError) -> Result<(), LedgerError> {
        let now = Instant::now();
        for frame in frames {
            self.line.push(frame, now);
        }
        Err(error)
    }

    fn line_up(&mut self, frames: Vec<Waiting>, base: Hash) {
        let now = Instant::now();
        self.line.go_on(self.chain.id(), base, now);
        for frame in frames {
            self.line.push(frame, now);
        }
    }
}
