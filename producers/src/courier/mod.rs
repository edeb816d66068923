//! The courier of a shard: what is signed goes into the outbox, from there to the bus, and leaves it once it is proven to
//! be on record.
//!
//! ```text
//! events ─ cut, keep (one sync) ─ line ─ bus, one frame in flight ─ acknowledged: accepted
//!                                  └─ news: proven → sealed; rejected → cut anew under the same number; lost → sent again
//! ```
//! At most 64 frames or 16 MiB of them a shard wait in the line, on disk. What is beyond waits in memory, a few batches, and
//! then in whoever hands it in: while the bus is away, publishing stands still once the line is full.
//!
//! In scope: doing this in order, and going on after whatever the bus does. Out of scope: what news means ([`line`]),
//! files ([`crate::outbox`]). A frame that was acknowledged once is never given up: if the bus ends for good, it stays in
//! the outbox. Trust: as its parts.

mod anew;
mod frames;
mod line;
mod news;
#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sharetrail_ledger::bus::{Bus, StreamSeq};
use sharetrail_ledger::{Chain, Cut, Facts, LedgerError};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{ChainId, Name};
use sharetrail_proof::note::NoteSigner;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub(crate) use self::frames::Ending;
use self::frames::{accepted, evidence, unless_it_panics};
use self::line::{Line, Step, Then, Waiting};
use self::news::Sealed;
pub(crate) use self::news::{News, from_bus, from_view};
use crate::cutter::BatchEvent;
use crate::error::PublishError;
use crate::notices::Notices;
use crate::outbox::{KeptFrame, Mark, Opened, ShardOutbox};
use crate::settle::{SealedAt, Settler};

const TICK: Duration = Duration::from_millis(200);
/// Between tries to hand a frame to a bus that does not take it: twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// What was sealed is noted after so many frames or so long, and at the end. What is not noted yet is sent again after a
/// crash, which does no harm.
const NOTE_FRAMES: u32 = 64;
const NOTE_AFTER: Duration = Duration::from_secs(1);
/// Without news for so long somebody should know.
const SILENCE: Duration = Duration::from_secs(20);

/// What the couriers of all shards share.
pub(crate) struct Office {
    pub(crate) facts: Arc<Facts>,
    pub(crate) producer: Name,
    pub(crate) signer: NoteSigner,
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) settler: Settler,
    pub(crate) notices: Arc<Notices>,
    /// Whether the index cannot be made again, so that it must last before a frame leaves the outbox.
    pub(crate) index_is_alone: bool,
    /// What ended a courier, if one has ended early.
    pub(crate) ended: Mutex<Option<Ending>>,
    /// Events that an earlier run left in the outbox and that were rejected since.
    pub(crate) left_over_rejected: AtomicU64,
}

impl Office {
    /// What ended a courier, if one has ended early.
    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The courier of one shard.
pub(crate) struct Courier {
    office: Arc<Office>,
    shard: u32,
    chain: Chain,
    outbox: Arc<Mutex<ShardOutbox>>,
    line: Line,
    /// Batches that are being cut and are not in the line yet.
    taken: Vec<Vec<BatchEvent>>,
    /// Number and `prev` of the next batch where the line is empty.
    tail: (u64, Hash),
    round: u64,
    /// The last sealed batch, and how many were not noted in the outbox.
    mark: Option<Mark>,
    unnoted: u32,
    noted: Instant,
    pause: Duration,
    pause_until: Option<Instant>,
    heard: Instant,
    ended: Option<Ending>,
}

struct Flight {
    pass: u64,
    number: u64,
    answer: JoinHandle<Result<StreamSeq, LedgerError>>,
}

/// Waits for the frame in flight; for ever where there is none.
async fn landing(flight: &mut Option<Flight>) -> Result<StreamSeq, LedgerError> {
    match flight {
        Some(flight) => (&mut flight.answer).await.unwrap_or_else(|error| {
            Err(LedgerError::Stopped(format!(
                "handing a frame to the bus: {error}"
            )))
        }),
        None => std::future::pending().await,
    }
}

impl Courier {
    /// Takes up a shard's part of the outbox. `head`: where the log has the chain, where that is known here.
    pub(crate) fn new(
        office: &Arc<Office>,
        shard: u32,
        opened: Opened,
        head: impl Fn(ChainId) -> Option<(u64, Hash)>,
    ) -> Result<Self, LedgerError> {
        let Opened {
            outbox,
            unsealed,
            mut round,
            notices,
            ..
        } = opened;
        for notice in notices {
            office.notices.say(notice);
        }
        let (id, mark, now) = (outbox.chain(), outbox.mark(), Instant::now());
        let chain = Chain::begin(&office.facts, &office.signer, shard, id)?;
        let noted = mark.map(|mark| (mark.number, mark.hash));
        let known = match head(id).filter(|_| unsealed.is_empty()) {
            Some(head) if noted.is_none_or(|(number, _)| number < head.0) => Some(head),
            _ => noted,
        };
        let base = known.map(|(_, hash)| hash);
        let begins = unsealed.first().is_none_or(|first| first.number == 0);
        let tail = known.map_or((0, chain.genesis()), |(number, hash)| (number + 1, hash));
        let mut line = Line::new(id, base.or(begins.then(|| chain.genesis())), now);
        for kept in unsealed {
            round = round.max(kept.round);
            let (number, tickets) = (kept.number, vec![None; kept.names.len()]);
            match Waiting::of(kept, id, tickets) {
                Some(mut waiting) => {
                    office.settler.moving.still_on_their_way(&waiting.kept.names);
                    waiting.accepted = true;
                    line.push(waiting, now);
                }
                None => office.notices.say(format!(
                    "outbox: what is kept as batch {number} of chain {id} on shard {shard} is no such batch, and is not sent"
                )),
            }
        }
        Ok(Self {
            office: Arc::clone(office),
            shard,
            chain,
            outbox: Arc::new(Mutex::new(outbox)),
            line,
            taken: Vec::new(),
            tail,
            round,
            mark,
            unnoted: 0,
            noted: now,
            pause: FIRST_PAUSE,
            pause_until: None,
            heard: now,
            ended: None,
        })
    }

    /// Runs until nobody brings batches any more and all are sealed, or until `stop` says so: then what is not sealed stays
    /// in the outbox.
    pub(crate) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Vec<BatchEvent>>,
        news: mpsc::Receiver<News>,
        stop: watch::Receiver<bool>,
    ) {
        let worked = unless_it_panics(self.work(&mut batches, news, stop)).await;
        if worked.is_none() {
            self.end(Ending::Stopped(
                "its courier panicked, which is a fault of this program".into(),
            ));
        }
        batches.close();
        let ending = self.ended.clone().unwrap_or_else(|| {
            Ending::Stopped(
                "it ended before it heard that the event is on record; what was accepted is in the outbox and goes on \
                 at the next start"
                    .into(),
            )
        });
        self.let_go(&ending);
        while let Some(batch) = batches.recv().await {
            self.refuse(&batch, &ending);
        }
    }

    async fn work(
        &mut self,
        batches: &mut mpsc::Receiver<Vec<BatchEvent>>,
        mut news: mpsc::Receiver<News>,
        mut stop: watch::Receiver<bool>,
    ) {
        let (mut flight, mut is_open) = (None, true);
        while !*stop.borrow() && (is_open || !self.line.is_empty()) {
            self.launch(&mut flight);
            let takes = is_open && (self.line.has_room() || self.ended.is_some());
            tokio::select! {
                answer = landing(&mut flight) => {
                    if let Some(flight) = flight.take() {
                        self.landed(&flight, answer);
                    }
                }
                heard = news.recv(), if self.ended.is_none() => match heard {
                    Some(heard) => self.hear(&heard).await,
                    None => self.end(Ending::Stopped("nothing is heard of the ledger any more".into())),
                },
                batch = batches.recv(), if takes => match batch {
                    Some(batch) => self.take_in(batch, batches).await,
                    None => is_open = false,
                },
                changed = stop.changed() => if changed.is_err() { break },
                () = tokio::time::sleep(TICK) => self.tell_of_silence(),
            }
            self.note_sealed(false).await;
        }
        self.note_sealed(true).await;
    }

    fn launch(&mut self, flight: &mut Option<Flight>) {
        let is_paused = self.pause_until.is_some_and(|until| Instant::now() < until);
        if flight.is_some() || is_paused || self.ended.is_some() {
            return;
        }
        if let Some(out) = self.line.next() {
            let office = &self.office;
            let stored = office
                .bus
                .publish(self.shard, &office.producer, out.bytes.to_vec());
            *flight = Some(Flight {
                pass: out.pass,
                number: out.number,
                // A task of its own: it goes on while this one waits for the disk.
                answer: tokio::spawn(stored),
            });
        }
    }

    fn landed(&mut self, flight: &Flight, answer: Result<StreamSeq, LedgerError>) {
        let now = Instant::now();
        match answer {
            Ok(seq) => {
                (self.pause, self.pause_until) = (FIRST_PAUSE, None);
                if let Some(frame) = self.line.stored(flight.pass, flight.number, seq, now) {
                    accepted(frame);
                }
            }
            // A stream that is gone is made anew by whoever leads the shard.
            Err(error) if error.is_transient() || matches!(error, LedgerError::Stream { .. }) => {
                self.line.not_stored(flight.pass, flight.number);
                self.pause_until = Some(now + self.pause);
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                let shard = self.shard;
                self.office.notices.say_once_a_minute("bus", || {
                    format!("shard {shard}: waiting for the bus ({error}); what was recorded is safe in the outbox")
                });
            }
            Err(error) => self.end(Ending::of(error)),
        }
    }

    /// Signs batches, keeps them with one sync, and puts them in the line.
    async fn take_in(&mut self, first: Vec<BatchEvent>, more: &mut mpsc::Receiver<Vec<BatchEvent>>) {
        if let Some(ending) = self.ended.clone() {
            self.refuse(&first, &ending);
            return;
        }
        let now = Instant::now();
        self.taken.push(first);
        while self.taken.len() < 8
            && let Ok(next) = more.try_recv()
        {
            self.taken.push(next);
        }
        let tail = self.line.last().map(|last| (last.kept.number + 1, last.hash));
        let (next, prev) = tail.unwrap_or(self.tail);
        self.chain.resume_at(next, prev);
        let (chain, round) = (self.chain.id(), self.round);
        let cut = |batch: &Vec<BatchEvent>| {
            let entries: Vec<&[u8]> = batch.iter().map(|event| &event.entry[..]).collect();
            let sealed: Vec<&[u8]> = batch.iter().map(|event| event.sealed.as_slice()).collect();
            let Cut { number, frame, .. } = self.chain.cut(&entries, &sealed);
            let kept = KeptFrame {
                number,
                round,
                bytes: Arc::new(frame),
                names: batch.iter().map(|event| event.name).collect(),
            };
            let tickets = batch.iter().map(|event| Some(event.ticket.clone())).collect();
            Waiting::of(kept, chain, tickets).expect("the chain cuts frames of its own")
        };
        let frames: Vec<Waiting> = self.taken.iter().map(cut).collect();
        self.taken.clear();
        let kept: Vec<KeptFrame> = frames.iter().map(|frame| frame.kept.clone()).collect();
        let done = self.on_disk(move |outbox| outbox.keep(&kept)).await;
        match done {
            Ok(()) => frames.into_iter().for_each(|frame| self.line.push(frame, now)),
            Err(error) => {
                let reason = error.to_string();
                let why = || PublishError::Stopped {
                    reason: reason.clone(),
                };
                for frame in &frames {
                    self.office.settler.refused(&frame.told(), &why);
                }
            }
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut ShardOutbox) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let outbox = Arc::clone(&self.outbox);
        let work = move || work(&mut outbox.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(LedgerError::Stopped(format!("writing to the outbox: {error}"))))
    }

    async fn hear(&mut self, news: &News) {
        self.heard = Instant::now();
        let shard = self.shard;
        let Step { settled, then } = match self.line.hear(news, self.heard) {
            Ok(step) => step,
            Err(error) => return self.end(Ending::of(error)),
        };
        for (frame, sealed) in settled {
            self.settled(frame, &sealed);
        }
        if let Some(reason) = &news.halted {
            self.office
                .notices
                .say_once_a_minute(&format!("halted {shard}"), || {
                    format!("shard {shard} has halted: {reason}")
                });
            if matches!(news.answers, news::Answers::Seen { .. }) && !self.line.is_empty() {
                return self.end(Ending::Stopped(reason.clone()));
            }
        }
        let done = match then {
            Then::GoOn => Ok(()),
            Then::SendAgain(why) => {
                self.office
                    .notices
                    .say_once_a_minute(&format!("again {shard}"), || {
                        format!("shard {shard}: what is not sealed is sent again: {why}")
                    });
                Ok(())
            }
            Then::SetBack(rejected) => self.set_back(&rejected).await,
            Then::BeginAnew => self.begin_anew().await,
        };
        if let Err(error) = done {
            self.end(Ending::of(error));
        }
    }

    fn settled(&mut self, mut frame: Waiting, sealed: &Sealed) {
        // Proven before the bus had answered.
        accepted(&mut frame);
        let at = SealedAt {
            shard: self.shard,
            index: sealed.index,
            cursor: sealed.cursor,
            evidence: evidence(&frame, sealed),
        };
        self.office.settler.sealed(&frame.told(), &at);
        let number = frame.kept.number;
        self.tail = (number + 1, frame.hash);
        self.mark = Some(Mark {
            number,
            hash: frame.hash,
            round: self.round,
        });
        self.unnoted += 1;
    }

    /// Notes in the outbox what was sealed, so that it leaves it.
    async fn note_sealed(&mut self, at_once: bool) {
        let is_due = at_once || self.unnoted >= NOTE_FRAMES || self.noted.elapsed() >= NOTE_AFTER;
        let Some(mark) = self.mark.filter(|_| self.unnoted > 0 && is_due) else {
            return;
        };
        let office = Arc::clone(&self.office);
        let noted = self.on_disk(move |outbox| {
            if office.index_is_alone {
                let persisted = office.settler.index.persist_on_disk();
                persisted.map_err(|error| LedgerError::Stopped(error.to_string()))?;
            }
            outbox.sealed(mark)
        });
        let noted = noted.await;
        match noted {
            Ok(()) => self.unnoted = 0,
            // It stays in the outbox and is sent again after the next start, which does no harm.
            Err(error) => self
                .office
                .notices
                .say_once_a_minute("outbox", || format!("the outbox does not get shorter: {error}")),
        }
        self.noted = Instant::now();
    }

    fn tell_of_silence(&self) {
        if self.line.is_empty() || self.heard.elapsed() < SILENCE {
            return;
        }
        let (shard, seconds) = (self.shard, self.heard.elapsed().as_secs());
        self.office
            .notices
            .say_once_a_minute(&format!("silence {shard}"), || {
                format!(
                    "shard {shard}: nothing was heard of its sequencer for {seconds} s; it is waited for. If no host \
                     serves the ledger, start `sharetrail serve`"
                )
            });
    }

    /// The bus takes nothing more: all who wait are told, and the frames stay in the outbox.
    fn end(&mut self, ending: Ending) {
        self.let_go(&ending);
        let error = ending.error();
        self.office
            .notices
            .say_once_a_minute(&format!("ended {error}"), || {
                format!("{error}. What was accepted is in the outbox and goes on at the next start")
            });
        let mut ended = self.office.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.get_or_insert_with(|| ending.clone());
        drop(ended);
        self.ended.get_or_insert(ending);
    }

    fn let_go(&mut self, ending: &Ending) {
        for batch in std::mem::take(&mut self.taken) {
            self.refuse(&batch, ending);
        }
        for frame in self.line.take() {
            self.office.settler.refused(&frame.told(), &|| ending.error());
        }
    }

    fn refuse(&self, batch: &[BatchEvent], ending: &Ending) {
        let told: Vec<_> = batch
            .iter()
            .map(|event| (event.name, Some(&event.ticket)))
            .collect();
        self.office.settler.refused(&told, &|| ending.error());
    }
}
