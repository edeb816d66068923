//! What a courier does with single frames, and why it may end.
//!
//! In scope: telling of the first promise, cutting the same events again, evidence for receipts. Out of scope: the order of
//! things ([`super`]). Trust: frames come from this process or from its outbox, and were parsed before.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use sharetrail_ledger::{Chain, Cut, LedgerError};
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::frame::Frame;
use sharetrail_proof::note::NoteSigner;

use super::line::Waiting;
use super::news::Sealed;
use crate::error::PublishError;
use crate::outbox::KeptFrame;
use crate::tickets::{BatchEvidence, Ticket};

/// Why a courier has ended before its work was done.
#[derive(Clone, Debug)]
pub(crate) enum Ending {
    Denied(String),
    Stopped(String),
}

impl Ending {
    pub(super) fn of(error: LedgerError) -> Self {
        match error {
            LedgerError::Denied(what) => Self::Denied(what),
            other => Self::Stopped(other.to_string()),
        }
    }

    pub(crate) fn error(&self) -> PublishError {
        match self {
            Self::Denied(what) => LedgerError::Denied(what.clone()).into(),
            Self::Stopped(reason) => PublishError::Stopped {
                reason: reason.clone(),
            },
        }
    }
}

/// Tells of the first promise, once.
pub(super) fn accepted(frame: &mut Waiting) {
    if !std::mem::replace(&mut frame.accepted, true) {
        frame.tickets.iter().flatten().for_each(Ticket::accepted);
    }
}

/// What the work came to; nothing if it panicked.
pub(super) async fn unless_it_panics<F: Future>(work: F) -> Option<F::Output> {
    let mut work = std::pin::pin!(work);
    std::future::poll_fn(|context| {
        // Whatever the panic left half done is only told of and given up.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

/// Whether this key signed the frame.
pub(super) fn is_signed_by(frame: &Waiting, signer: &NoteSigner) -> bool {
    let parsed = Frame::parse(&frame.kept.bytes);
    parsed.is_ok_and(|frame| frame.note.verify(signer.verifier()).is_ok())
}

/// The frame's events, but for those, in the chain's next batch; nothing if none is left.
pub(super) fn cut_anew(
    chain: &mut Chain,
    round: u64,
    frame: &Waiting,
    without: &Range<usize>,
) -> Option<Waiting> {
    let parsed = Frame::parse(&frame.kept.bytes).expect("it was parsed when it was put in the line");
    let stays = |position: &usize| !without.contains(position);
    let places: Vec<usize> = (0..parsed.entries.len()).filter(stays).collect();
    if places.is_empty() {
        return None;
    }
    let entries: Vec<&[u8]> = places.iter().map(|&place| parsed.entries[place]).collect();
    let sealed: Vec<&[u8]> = places.iter().map(|&place| parsed.sealed[place]).collect();
    let Cut {
        number, frame: bytes, ..
    } = chain.cut(&entries, &sealed);
    let kept = KeptFrame {
        number,
        round,
        bytes: Arc::new(bytes),
        names: places.iter().map(|&place| frame.kept.names[place]).collect(),
    };
    let tickets = places.iter().map(|&place| frame.tickets[place].clone()).collect();
    let mut anew = Waiting::of(kept, chain.id(), tickets).expect("the chain cuts frames of its own");
    anew.accepted = frame.accepted;
    Some(anew)
}

/// What a receipt needs, where somebody waits for one and no archive is at hand.
pub(super) fn evidence(frame: &Waiting, sealed: &Sealed) -> Option<Arc<BatchEvidence>> {
    let (path, checkpoint) = sealed.proof.as_ref()?;
    if !frame.tickets.iter().flatten().any(Ticket::wants_evidence) {
        return None;
    }
    let parsed = Frame::parse(&frame.kept.bytes).ok()?;
    Some(Arc::new(BatchEvidence {
        entry: [&[BATCH], parsed.note_text.as_bytes()].concat(),
        index: sealed.index,
        path: path.clone(),
        checkpoint: checkpoint.clone(),
        entries: parsed.entries.iter().map(|entry| entry.to_vec()).collect(),
    }))
}
