//! The frames of one shard that wait to be sealed, in the order of their chain: what to send next, and what news means.
//!
//! In scope: decisions, without disk, bus or clock (callers pass the time). A frame is sent again, with all behind it,
//! when its stream is not the one it was acknowledged on, ends before it, was decided on past it without a word about it,
//! or when nothing moves. A chain is given up only if the log is said, again and again, to stand where nothing of this line
//! follows: what silence hides may be on record, and would be there twice. Out of scope: doing it ([`super`]).
//! Trust: news was checked ([`super::news`]).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sharetrail_ledger::LedgerError;
use sharetrail_ledger::bus::StreamSeq;
use sharetrail_proof::batch::text_hash;
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::name::ChainId;

use super::news::{Answer, Asked, News, Rejected, Sealed, Standing};
use crate::outbox::KeptFrame;
use crate::settle::Told;
use crate::tickets::Ticket;

/// Frames and bytes that wait at the most before no more are taken in.
const FRAMES_MAX: usize = 64;
const BYTES_MAX: usize = 16 << 20;
/// Answers to one round of the sequencer may come in several messages.
const ANSWER_GRACE: Duration = Duration::from_millis(500);
/// News may have been written before the frame came to the stream's end.
const LAST_GRACE: Duration = Duration::from_secs(3);
/// Nothing moved for so long, while there is news: all is sent again.
const STALL: Duration = Duration::from_secs(30);
/// How often the log must be told to stand where nothing follows, each time about what was sent again, before a chain is
/// given up: an answer may be about what came before, and that of a batch which is on record may have been lost.
const DOUBTS_MAX: u32 = 3;

/// A frame that waits to be sealed.
pub(crate) struct Waiting {
    pub(crate) kept: KeptFrame,
    /// The hash of its note's text.
    pub(crate) hash: Hash,
    /// The hash that it names as the one before.
    pub(crate) prev: Hash,
    leaf: LeafHash,
    /// One for each event; none where it is left over from an earlier run.
    pub(crate) tickets: Vec<Option<Ticket>>,
    /// Whether the bus has acknowledged it once.
    pub(crate) accepted: bool,
    acked: Option<Acked>,
    overdue: Option<Instant>,
    sealed: Option<Sealed>,
}

struct Acked {
    seq: StreamSeq,
    stream: Option<String>,
    at: Instant,
}

impl Waiting {
    /// A frame of this chain; nothing if it is none.
    pub(crate) fn of(kept: KeptFrame, chain: ChainId, tickets: Vec<Option<Ticket>>) -> Option<Self> {
        let (hash, prev, leaf) = {
            let frame = Frame::parse(&kept.bytes).ok()?;
            let events = frame.entries.len();
            let fits = frame.batch.chain == chain
                && frame.batch.number == kept.number
                && kept.names.len() == events
                && tickets.len() == events;
            if !fits {
                return None;
            }
            let entry = [&[BATCH], frame.note_text.as_bytes()].concat();
            (
                text_hash(frame.note.text()),
                frame.batch.prev,
                LeafHash::of(&entry),
            )
        };
        Some(Self {
            kept,
            hash,
            prev,
            leaf,
            tickets,
            accepted: false,
            acked: None,
            overdue: None,
            sealed: None,
        })
    }

    /// Its events and who waits for them.
    pub(crate) fn told(&self) -> Vec<Told<'_>> {
        let tickets = self.tickets.iter().map(Option::as_ref);
        self.kept.names.iter().copied().zip(tickets).collect()
    }

    fn asked(&self, chain: ChainId) -> Asked<'_> {
        Asked {
            chain,
            number: self.kept.number,
            hash: &self.hash,
            leaf: &self.leaf,
            entries: self.kept.names.len(),
        }
    }

    fn forget_bus(&mut self) {
        (self.acked, self.overdue) = (None, None);
    }
}

/// A frame to hand to the bus.
pub(crate) struct Outgoing {
    pub(crate) pass: u64,
    pub(crate) number: u64,
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// What news leads to.
pub(crate) struct Step {
    /// Frames that are on record, in order; they are out of the line.
    pub(crate) settled: Vec<(Waiting, Sealed)>,
    pub(crate) then: Then,
}

/// What is to be done next.
pub(crate) enum Then {
    GoOn,
    /// All frames go again, from the first.
    SendAgain(&'static str),
    /// The first frame was rejected: it and all behind it are to be cut anew.
    SetBack(Rejected),
    /// The chain cannot go on: all frames are to be cut anew in another one.
    BeginAnew,
}

/// The frames of one shard that wait to be sealed.
pub(crate) struct Line {
    chain: ChainId,
    frames: VecDeque<Waiting>,
    bytes: usize,
    /// Frames before this one were handed to the bus in this pass.
    to_send: usize,
    /// Rises whenever sending starts over.
    pass: u64,
    /// What the first frame must name as the one before; nothing where that is not known.
    base: Option<Hash>,
    /// The stream that was last heard of.
    stream: Option<String>,
    moved: Instant,
    /// Where the log has the chain, as it was last told in this pass.
    standing: Option<Standing>,
    doubts: u32,
}

impl Line {
    pub(crate) fn new(chain: ChainId, base: Option<Hash>, now: Instant) -> Self {
        Self {
            chain,
            frames: VecDeque::new(),
            bytes: 0,
            to_send: 0,
            pass: 0,
            base,
            stream: None,
            moved: now,
            standing: None,
            doubts: 0,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.frames.len() < FRAMES_MAX && self.bytes < BYTES_MAX
    }

    pub(crate) fn first(&self) -> Option<&Waiting> {
        self.frames.front()
    }

    pub(crate) fn last(&self) -> Option<&Waiting> {
        self.frames.back()
    }

    pub(crate) fn push(&mut self, frame: Waiting, now: Instant) {
        if self.frames.is_empty() {
            self.moved = now;
        }
        self.bytes += frame.kept.bytes.len();
        self.frames.push_back(frame);
    }

    /// Takes all frames out.
    pub(crate) fn take(&mut self) -> VecDeque<Waiting> {
        (self.bytes, self.to_send, self.standing) = (0, 0, None);
        self.pass += 1;
        std::mem::take(&mut self.frames)
    }

    /// Goes on with a chain whose next batch names `base`; there are no frames in the line then.
    pub(crate) fn go_on(&mut self, chain: ChainId, base: Hash, now: Instant) {
        (self.chain, self.base) = (chain, Some(base));
        (self.moved, self.standing, self.doubts) = (now, None, 0);
    }

    /// The next frame to hand to the bus, if there is one that was not handed to it in this pass.
    pub(crate) fn next(&mut self) -> Option<Outgoing> {
        while self
            .frames
            .get(self.to_send)
            .is_some_and(|frame| frame.sealed.is_some())
        {
            self.to_send += 1;
        }
        let frame = self.frames.get(self.to_send)?;
        self.to_send += 1;
        Some(Outgoing {
            pass: self.pass,
            number: frame.kept.number,
            bytes: Arc::clone(&frame.kept.bytes),
        })
    }

    fn place(&self, pass: u64, number: u64) -> Option<usize> {
        let is_it = |frame: &Waiting| frame.kept.number == number;
        self.frames.iter().position(is_it).filter(|_| pass == self.pass)
    }

    /// The bus has stored a frame; gives it, unless it is out of the line or sending has started over.
    pub(crate) fn stored(
        &mut self,
        pass: u64,
        number: u64,
        seq: StreamSeq,
        now: Instant,
    ) -> Option<&mut Waiting> {
        let place = self.place(pass, number)?;
        self.moved = now;
        let frame = &mut self.frames[place];
        frame.acked = Some(Acked {
            seq,
            stream: self.stream.clone(),
            at: now,
        });
        Some(frame)
    }

    /// The bus has not stored a frame: it is the next again.
    pub(crate) fn not_stored(&mut self, pass: u64, number: u64) {
        if let Some(place) = self.place(pass, number) {
            self.to_send = place;
        }
    }

    fn send_again(&mut self, now: Instant) {
        (self.to_send, self.moved, self.standing) = (0, now, None);
        self.pass += 1;
        self.frames.iter_mut().for_each(Waiting::forget_bus);
    }

    /// Whether a frame that was before the first one is lost here.
    pub(crate) fn follows_a_hole(&self) -> bool {
        let first = self.frames.front().map(|frame| frame.prev);
        self.base.is_some() && first.is_some() && first != self.base
    }

    /// What news of the shard means.
    pub(crate) fn hear(&mut self, news: &News, now: Instant) -> Result<Step, LedgerError> {
        self.stream = Some(news.stream.clone());
        self.standing = news.answers.standing(self.chain).or(self.standing);
        let mut answers = Vec::with_capacity(self.frames.len());
        for frame in &mut self.frames {
            let answer = match &frame.sealed {
                Some(_) => Answer::Nothing,
                None => news.answers.about(&frame.asked(self.chain))?,
            };
            if let Answer::Sealed(sealed) = answer {
                frame.sealed = Some(sealed);
                answers.push(Answer::Nothing);
            } else {
                answers.push(answer);
            }
        }
        let settled = self.settle(now);
        let first = answers.into_iter().nth(settled.len());
        let then = first.map_or(Then::GoOn, |answer| self.then(answer, news, now));
        Ok(Step { settled, then })
    }

    /// Takes what is on record off the line's front: in the chain's order, also where one is told of before another.
    fn settle(&mut self, now: Instant) -> Vec<(Waiting, Sealed)> {
        let mut settled = Vec::new();
        while let Some(sealed) = self.frames.front().and_then(|frame| frame.sealed.clone()) {
            let frame = self.frames.pop_front().expect("looked at above");
            self.bytes -= frame.kept.bytes.len();
            self.to_send = self.to_send.saturating_sub(1);
            (self.base, self.moved) = (Some(frame.hash), now);
            (self.standing, self.doubts) = (None, 0);
            settled.push((frame, sealed));
        }
        settled
    }

    fn then(&mut self, first: Answer, news: &News, now: Instant) -> Then {
        // Where one behind it is on record the first is too: what else is said of it is out of date.
        let overtaken = self.frames.iter().any(|frame| frame.sealed.is_some());
        let was_unproven = matches!(first, Answer::Unproven);
        match first {
            Answer::Rejected(rejected) if !overtaken && self.is_about_this(&rejected, news) => {
                return Then::SetBack(rejected);
            }
            Answer::Taken if !overtaken => return Then::BeginAnew,
            _ => {}
        }
        let Some(why) = self.is_lost(news, now) else {
            return Then::GoOn;
        };
        if why == PASSED_OVER && !was_unproven && !overtaken && self.nothing_follows() {
            self.doubts += 1;
            if self.doubts >= DOUBTS_MAX {
                return Then::BeginAnew;
            }
        }
        self.send_again(now);
        Then::SendAgain(why)
    }

    /// Whether a rejection is of the first frame as it is now. One that names no entry may be of the same note under an
    /// earlier key, of which a copy is still on the bus: it counts once these very bytes were decided on.
    fn is_about_this(&self, rejected: &Rejected, news: &News) -> bool {
        let acked = self.frames.front().and_then(|frame| frame.acked.as_ref());
        let seq = rejected.seq.unwrap_or(news.seq);
        rejected.position.is_some() || acked.is_some_and(|acked| acked.seq <= seq)
    }

    /// Whether the log, as it was told, stands where no frame of this line can follow.
    fn nothing_follows(&self) -> bool {
        let (Some(Standing { next, prev }), Some(last)) = (self.standing, self.frames.back()) else {
            return false;
        };
        if last.kept.number + 1 == next {
            return prev != Some(last.hash);
        }
        let due = self.frames.iter().find(|frame| frame.kept.number == next);
        // What number 0 names is the genesis entry, always.
        due.is_none_or(|due| prev.is_some_and(|prev| prev != due.prev))
    }

    /// Why the first frame must be taken for lost, if it must.
    fn is_lost(&mut self, news: &News, now: Instant) -> Option<&'static str> {
        let stalled = now.duration_since(self.moved) >= STALL;
        let first = self.frames.front_mut()?;
        let acked = first.acked.as_mut()?;
        if acked.stream.get_or_insert_with(|| news.stream.clone()) != &news.stream {
            return Some("another stream took the place of the one it was stored in");
        }
        if news.last < acked.seq && now.duration_since(acked.at) >= LAST_GRACE {
            return Some("the stream ends before it");
        }
        if news.seq >= acked.seq {
            let since = *first.overdue.get_or_insert(now);
            if now.duration_since(since) >= ANSWER_GRACE {
                return Some(PASSED_OVER);
            }
        }
        stalled.then_some("nothing moved for half a minute")
    }
}

const PASSED_OVER: &str = "the sequencer is past it and did not let it in, or its answer was lost. If this goes on, see \
                           whether the producer's key is registered";
