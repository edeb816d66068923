//! Cutting frames anew: after a rejection, and where a chain cannot go on.
//!
//! In scope: the same events under the same number, but for the one at fault, so that at most one of two frames can ever
//! enter the log; and, where no number can follow, in another chain. What takes the place of frames is on disk before they
//! are given up. Out of scope: deciding which it is ([`super::line`]). Trust: who leads the shard says what was rejected.

use std::collections::VecDeque;
use std::time::Instant;

use sharetrail_ledger::{Chain, LedgerError, files};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::ChainId;

use super::Courier;
use super::frames::cut_anew;
use super::line::Waiting;
use super::news::Rejected;
use crate::outbox::{EventName, KeptFrame};
use crate::settle::Told;
use crate::tickets::Ticket;

impl Courier {
    /// Cuts all frames anew, the first without what was refused, under the same numbers.
    pub(super) async fn set_back(&mut self, rejected: &Rejected) -> Result<(), LedgerError> {
        if rejected.position.is_none() && self.line.follows_a_hole() {
            return self.begin_anew().await;
        }
        let frames = self.line.take();
        let Some(first) = frames.front() else {
            return Ok(());
        };
        let (from, prev) = (first.kept.number, first.prev);
        let position = rejected
            .position
            .filter(|position| *position < first.tickets.len());
        let at_fault = position.map_or(0..first.tickets.len(), |position| position..position + 1);
        let refused: Vec<(EventName, Option<Ticket>)> = at_fault
            .map(|place| (first.kept.names[place], first.tickets[place].clone()))
            .collect();
        self.chain.resume_at(from, prev);
        let round = self.round + 1;
        let mut anew = Vec::with_capacity(frames.len());
        for (place, frame) in frames.iter().enumerate() {
            let without = match (place, position) {
                (0, None) => continue,
                (0, position) => position,
                _ => None,
            };
            anew.extend(cut_anew(&mut self.chain, round, frame, without));
        }
        let kept: Vec<KeptFrame> = anew.iter().map(|frame: &Waiting| frame.kept.clone()).collect();
        let done = self
            .on_disk(move |outbox| outbox.replace(round, from, &kept))
            .await;
        if let Err(error) = done {
            return self.keep_as_it_is(frames, error);
        }
        let told: Vec<Told<'_>> = refused
            .iter()
            .map(|(name, ticket)| (*name, ticket.as_ref()))
            .collect();
        self.office.settler.rejected(&told, &rejected.reason);
        let left_over = refused.iter().filter(|(_, ticket)| ticket.is_none()).count();
        if left_over > 0 {
            let (shard, reason) = (self.shard, &rejected.reason);
            self.office.notices.say(format!(
                "shard {shard}: {left_over} events of an earlier run were rejected and are not on record: {reason}"
            ));
        }
        (self.round, self.tail) = (round, (from, prev));
        self.line_up(anew, prev);
        Ok(())
    }

    /// Cuts all frames anew in a chain of their own: the old one does not go on from what is here.
    pub(super) async fn begin_anew(&mut self) -> Result<(), LedgerError> {
        let id = ChainId(files::random()?);
        let mut chain = Chain::begin(&self.office.facts, &self.office.signer, self.shard, id)?;
        let (round, frames) = (self.round + 1, self.line.take());
        let anew: Vec<Waiting> = frames
            .iter()
            .filter_map(|frame| cut_anew(&mut chain, round, frame, None))
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
             on record go on in chain {id}. If this happens again, see whether the producer's key is registered"
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
        frames.into_iter().for_each(|frame| self.line.push(frame, now));
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
