//! A bus with faults, a sequencer in a few lines, and somebody who waits for each event.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sharetrail_ledger::bus::{Bus, BusFuture, Message, StreamInfo, StreamSeq};
use sharetrail_ledger::wire::{ChainNumber, RejectedNote, SealedBatch};
use sharetrail_ledger::{Facts, Grants, Leased, LedgerError};
use sharetrail_proof::batch::text_hash;
use sharetrail_proof::entry::{BATCH, EVENT, EVENT_BYTES, Genesis};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize, leaf_hashes};
use sharetrail_proof::name::{ChainId, LedgerId, Name, Shard};
use sharetrail_proof::note::{NoteSigner, VerifierKey};
use sharetrail_proof::tree::{inclusion_proof, root_of, verify_inclusion};
use sharetrail_proof::vrf::VrfSecretKey;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};

use super::super::news::Answers;
use super::super::{Courier, News, Office};
use super::PATIENCE;
use crate::cutter::BatchEvent;
use crate::error::PublishError;
use crate::index::Index;
use crate::moving::Moving;
use crate::notices::Notices;
use crate::outbox::{EventName, ShardOutbox};
use crate::prepare::{Repeats, Surroundings, Workshop};
use crate::settle::Settler;
use crate::tickets::{BatchEvidence, OnRecord, Ticket, Tickets};

/// What the bus does wrong with a frame.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Acknowledges and does not store.
    Lose,
    /// Stores twice.
    Twice,
    /// Does not store, and says that it may later.
    Fail,
    /// Stores, and says that it did not.
    StoreAndFail,
    /// Stores an older frame behind it once more.
    Older,
}

#[derive(Default)]
struct State {
    /// Messages; one that is lost leaves its position empty.
    stream: Vec<Option<Vec<u8>>>,
    stream_number: u64,
    decided: usize,
    /// Entries of the log.
    log: Vec<Vec<u8>>,
    heads: HashMap<ChainId, (u64, Hash)>,
    batches: HashMap<(ChainId, u64), (LeafIndex, Hash)>,
    sent: Vec<Vec<u8>>,
    faults: HashMap<u64, Fault>,
    refused_events: BTreeSet<u64>,
    is_deaf: bool,
    is_denied: bool,
    lose_every: Option<u64>,
    rounds: u64,
    /// Nothing is told of batches before so many frames were sent.
    mute_until: usize,
    /// The only key that is valid, where not every key is.
    valid_key: Option<VerifierKey>,
    panics: bool,
    notices: usize,
    left_over_rejected: u64,
    /// Couriers that ended before their work was done.
    endings: usize,
}

/// What is told of batches.
#[derive(Default)]
struct Decided {
    sealed: Vec<(ChainId, u64, LeafIndex)>,
    rejected: Vec<RejectedNote>,
    heads: Vec<ChainNumber>,
}

/// The world outside of a courier.
pub(super) struct World {
    state: Arc<Mutex<State>>,
    folder: TempDir,
    facts: Arc<Facts>,
    signer: NoteSigner,
}

/// Who waits for events, by number.
#[derive(Default)]
pub(super) struct Told {
    state: Mutex<ToldState>,
}

#[derive(Default)]
struct ToldState {
    accepted: Vec<u64>,
    sealed: BTreeMap<u64, OnRecord>,
    refused: BTreeMap<u64, PublishError>,
}

impl Tickets for Told {
    fn refused(&self, number: u64, error: PublishError) {
        assert!(self.state.lock().unwrap().refused.insert(number, error).is_none());
    }
    fn accepted(&self, number: u64) {
        self.state.lock().unwrap().accepted.push(number);
    }
    fn sealed(&self, number: u64, place: OnRecord) {
        assert!(self.state.lock().unwrap().sealed.insert(number, place).is_none());
    }
    fn wants_evidence(&self) -> bool {
        true
    }
}

impl Told {
    pub(super) fn accepted(&self) -> usize {
        self.state.lock().unwrap().accepted.len()
    }
    pub(super) fn sealed(&self) -> Vec<u64> {
        self.state.lock().unwrap().sealed.keys().copied().collect()
    }
    pub(super) fn places(&self) -> Vec<(u64, OnRecord)> {
        let state = self.state.lock().unwrap();
        state
            .sealed
            .iter()
            .map(|(event, place)| (*event, place.clone()))
            .collect()
    }
    pub(super) fn refused(&self) -> BTreeMap<u64, PublishError> {
        std::mem::take(&mut self.state.lock().unwrap().refused)
    }
}

/// Nobody asks it.
struct NoGrants;

impl Grants for NoGrants {
    fn grants(&self, _: &Name, _: &[&str]) -> Result<Leased, LedgerError> {
        Err(LedgerError::Vault("not in these tests".into()))
    }
}

struct FaultyBus(Arc<Mutex<State>>);

impl Bus for FaultyBus {
    fn publish(&self, _: u32, _: &Name, frame: Vec<u8>) -> BusFuture<'static, StreamSeq> {
        let panics = self.0.lock().unwrap().panics;
        assert!(!panics, "this bus panics");
        let answer = self.0.lock().unwrap().store(frame);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            answer
        })
    }
    fn read(&self, _: u32, _: StreamSeq, _: usize) -> BusFuture<'_, Vec<Message>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn info(&self, _: u32) -> BusFuture<'_, StreamInfo> {
        Box::pin(async { Err(LedgerError::Bus("not in these tests".into())) })
    }
    fn arrivals(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }
}

/// An entry that names the event by its number.
fn entry(event: u64) -> [u8; EVENT_BYTES] {
    let mut entry = [7; EVENT_BYTES];
    entry[0] = EVENT;
    entry[1..9].copy_from_slice(&event.to_be_bytes());
    entry
}

fn event_of(entry: &[u8]) -> Option<u64> {
    let is_event = entry.first() == Some(&EVENT);
    is_event.then(|| u64::from_be_bytes(entry[1..9].try_into().unwrap()))
}

fn name_of(event: u64) -> EventName {
    let mut key = [0; 16];
    key[..8].copy_from_slice(&event.to_be_bytes());
    EventName { key, mac: key }
}

impl State {
    fn store(&mut self, frame: Vec<u8>) -> Result<StreamSeq, LedgerError> {
        if self.is_denied {
            return Err(LedgerError::Denied("publishing".into()));
        }
        let fault = self.faults.remove(&(self.sent.len() as u64));
        self.sent.push(frame.clone());
        let failed = || Err(LedgerError::Bus("not now".into()));
        match fault {
            None => self.stream.push(Some(frame)),
            Some(Fault::Lose) => self.stream.push(None),
            Some(Fault::Twice) => self.stream.extend([Some(frame.clone()), Some(frame)]),
            Some(Fault::Fail) => return failed(),
            Some(Fault::StoreAndFail) => {
                self.stream.push(Some(frame));
                return failed();
            }
            Some(Fault::Older) => {
                let older = self.sent[self.sent.len() / 2].clone();
                self.stream.extend([Some(frame), Some(older)]);
            }
        }
        Ok(StreamSeq(self.stream.len() as u64))
    }

    /// Decides on what is new in the stream; gives what to tell of it.
    fn decide(&mut self, genesis: &Genesis) -> News {
        let mut decided = Decided::default();
        if self.log.is_empty() {
            self.log.push(genesis.to_bytes());
        }
        while self.decided < self.stream.len() {
            let message = self.stream[self.decided].clone();
            self.decided += 1;
            let Some(bytes) = message else { continue };
            let frame = Frame::parse(&bytes).unwrap();
            let (chain, number) = (frame.batch.chain, frame.batch.number);
            let hash = text_hash(frame.note.text());
            let first = (0, LeafHash::of(&genesis.to_bytes()).0);
            let (next, prev) = self
                .heads
                .get(&chain)
                .map_or(first, |(head, hash)| (head + 1, *hash));
            if number < next {
                let (index, known) = self.batches[&(chain, number)];
                if known == hash {
                    decided.sealed.push((chain, number, index));
                    continue;
                }
            }
            if number != next {
                decided.heads.push(ChainNumber { chain, next, prev });
                continue;
            }
            let at_fault =
                |entry: &&[u8]| event_of(entry).is_some_and(|event| self.refused_events.contains(&event));
            let position = frame.entries.iter().position(at_fault);
            let key = self.valid_key.as_ref();
            let has_key = key.is_none_or(|key| frame.note.verify(key).is_ok());
            if position.is_some() || !has_key || frame.batch.prev != prev {
                decided.rejected.push(RejectedNote {
                    chain,
                    number,
                    hash,
                    position: position.filter(|_| has_key),
                    reason: "refused in this test".into(),
                });
                continue;
            }
            let index = LeafIndex(self.log.len() as u64);
            self.log.push([&[BATCH], frame.note_text.as_bytes()].concat());
            self.log.extend(frame.entries.iter().map(|entry| entry.to_vec()));
            self.heads.insert(chain, (number, hash));
            self.batches.insert((chain, number), (index, hash));
            decided.sealed.push((chain, number, index));
        }
        if self.sent.len() < self.mute_until {
            decided = Decided::default();
        }
        self.news(decided)
    }

    fn news(&self, decided: Decided) -> News {
        let entries: Vec<&[u8]> = self.log.iter().map(Vec::as_slice).collect();
        let leaves = leaf_hashes(&entries);
        let prove = |(chain, number, index): &(ChainId, u64, LeafIndex)| SealedBatch {
            chain: *chain,
            number: *number,
            index: *index,
            proof: inclusion_proof(&leaves, *index).unwrap().0,
        };
        let seq = StreamSeq(self.decided as u64);
        let root = root_of(&leaves);
        News {
            stream: format!("{:032x}", self.stream_number),
            seq,
            last: StreamSeq(self.stream.len() as u64),
            halted: None,
            answers: Answers::Told {
                size: TreeSize(leaves.len() as u64),
                root,
                note: format!("{} {root}", leaves.len()),
                sealed: decided.sealed.iter().map(prove).collect(),
                rejected: decided.rejected,
                heads: decided.heads,
            },
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let name = |text: &str| Name::new(text).unwrap();
        let key = |who: &str, seed: u8| NoteSigner::from_seed(who, &[seed; 32]).unwrap();
        let genesis = Genesis {
            ledger: name("test.example"),
            id: LedgerId([9; 32]),
            shard: Shard::new(0, 1).unwrap(),
            vrf: VrfSecretKey::from_seed(&[4; 32]).public(),
            operator: key("operator", 1).verifier().clone(),
            recovery: key("recovery", 2).verifier().clone(),
        };
        let facts = Facts {
            name: genesis.ledger.clone(),
            id: genesis.id,
            genesis: vec![genesis],
        };
        Self {
            state: Arc::default(),
            folder: tempfile::tempdir().unwrap(),
            facts: Arc::new(facts),
            signer: key("till", 3),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// What goes wrong with the frame that is sent as this one, from 0.
    pub(super) fn fault(&self, place: u64, fault: Fault) {
        self.state().faults.insert(place, fault);
    }
    pub(super) fn lose_news(&self, every: u64) {
        self.state().lose_every = Some(every);
    }
    pub(super) fn go_deaf(&self) {
        self.state().is_deaf = true;
    }
    pub(super) fn hear_again(&self) {
        self.state().is_deaf = false;
    }
    pub(super) fn deny(&self, deny: bool) {
        self.state().is_denied = deny;
    }
    pub(super) fn refuse_events(&self, events: &[u64]) {
        self.state().refused_events.extend(events);
    }
    /// Loses what is told of batches until so many frames were sent.
    pub(super) fn go_mute_until(&self, sent: usize) {
        self.state().mute_until = sent;
    }
    /// The producer signs with another key from now on, and no other is valid.
    pub(super) fn rotate_key(&mut self) {
        self.signer = NoteSigner::from_seed("till", &[5; 32]).unwrap();
        self.state().valid_key = Some(self.signer.verifier().clone());
    }
    /// No key of the producer is valid from now on.
    pub(super) fn revoke_key(&self) {
        let nobody = NoteSigner::from_seed("till", &[6; 32]).unwrap();
        self.state().valid_key = Some(nobody.verifier().clone());
    }
    pub(super) fn let_bus_panic(&self) {
        self.state().panics = true;
    }
    /// Puts a batch of somebody else's under the next number of every chain.
    pub(super) fn use_up_a_number(&self) {
        let mut state = self.state();
        let (other, heads) = (Hash([5; 32]), state.heads.clone());
        for (chain, (number, _)) in heads {
            state.heads.insert(chain, (number + 1, other));
            state.batches.insert((chain, number + 1), (LeafIndex(0), other));
        }
    }
    pub(super) fn left_over_rejected(&self) -> u64 {
        self.state().left_over_rejected
    }
    pub(super) fn has_ended_early(&self) -> bool {
        self.state().endings > 0
    }
    pub(super) fn forget_stream(&self) {
        let mut state = self.state();
        state.stream.clear();
        (state.decided, state.stream_number) = (0, state.stream_number + 1);
    }
    pub(super) fn sent(&self) -> Vec<Vec<u8>> {
        self.state().sent.clone()
    }
    pub(super) fn notices(&self) -> usize {
        self.state().notices
    }
    pub(super) fn chains(&self) -> usize {
        self.state().heads.len()
    }
    pub(super) fn on_record(&self) -> Vec<u64> {
        self.state()
            .log
            .iter()
            .filter_map(|entry| event_of(entry))
            .collect()
    }
    pub(super) fn entry_at(&self, index: LeafIndex) -> Vec<u8> {
        self.state().log[usize::try_from(index.0).unwrap()].clone()
    }
    pub(super) fn event_at(&self, index: LeafIndex) -> Option<u64> {
        event_of(&self.entry_at(index))
    }

    /// Whether the batch's entry is proven under the checkpoint that it came with.
    pub(super) fn proves(&self, evidence: &BatchEvidence) -> bool {
        let size: usize = evidence.checkpoint.split_once(' ').unwrap().0.parse().unwrap();
        let state = self.state();
        let entries: Vec<&[u8]> = state.log[..size].iter().map(Vec::as_slice).collect();
        let (leaf, root) = (LeafHash::of(&evidence.entry), root_of(&leaf_hashes(&entries)));
        verify_inclusion(
            &leaf,
            evidence.index,
            TreeSize(size as u64),
            &evidence.path,
            &root,
        )
        .is_ok()
    }

    pub(super) fn outbox_is_empty(&self) -> bool {
        ShardOutbox::open(self.folder.path(), 0)
            .unwrap()
            .unsealed
            .is_empty()
    }

    /// Flips a bit in the second frame that is kept.
    pub(super) fn damage_second_record(&self) {
        let frames = self.folder.path().join("frames/0");
        let own = std::fs::read_dir(frames).unwrap().next().unwrap().unwrap().path();
        let path = own.join(format!("{:020}.seg", 1));
        let mut bytes = std::fs::read(&path).unwrap();
        let starts: Vec<usize> = (0..bytes.len())
            .filter(|at| bytes[*at..].starts_with(b"STRC"))
            .collect();
        bytes[starts[1] + 60] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// Runs a courier until all is sealed or refused.
    pub(super) fn run(&self, batches: &[Vec<u64>]) -> Arc<Told> {
        self.run_with(batches, None)
    }

    /// Runs a courier until the bus has got so many frames and has answered, then stops it as it is.
    pub(super) fn run_until_sent(&self, batches: &[Vec<u64>], frames: usize) -> Arc<Told> {
        self.run_with(batches, Some(frames))
    }

    fn run_with(&self, batches: &[Vec<u64>], stop_after: Option<usize>) -> Arc<Told> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let told = Arc::new(Told::default());
        let (office, notices) = self.office();
        let opened = ShardOutbox::open(self.folder.path(), 0).unwrap();
        let courier = Courier::new(&office, 0, opened, |_| None).unwrap();
        let events: usize = batches.iter().map(Vec::len).sum();
        runtime.block_on(async {
            let (door, taken) = mpsc::channel(4);
            let (tell, news) = mpsc::channel(16);
            let (stop, stopped) = watch::channel(false);
            let courier = tokio::spawn(courier.run(taken, news, stopped));
            let sequencer = tokio::spawn(sequence(Arc::clone(&self.state), Arc::clone(&self.facts), tell));
            for batch in batches {
                door.send(batch_of(batch, &told)).await.unwrap();
                tokio::task::yield_now().await;
            }
            if let Some(frames) = stop_after {
                let all = async {
                    while self.sent().len() < frames || told.accepted() < events {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                tokio::time::timeout(PATIENCE, all).await.unwrap();
                stop.send_replace(true);
            }
            drop(door);
            tokio::time::timeout(PATIENCE, courier).await.unwrap().unwrap();
            sequencer.abort();
        });
        let mut state = self.state();
        state.notices += notices.take().len();
        state.left_over_rejected += office.left_over_rejected.load(Ordering::Acquire);
        state.endings += usize::from(office.ending().is_some());
        drop(state);
        told
    }

    fn office(&self) -> (Arc<Office>, Arc<Notices>) {
        let (notices, moving) = (Arc::new(Notices::default()), Arc::new(Moving::default()));
        let lock = Arc::new(crate::outbox::lock(self.folder.path()).unwrap());
        let index = Arc::new(Index::open_alone(self.folder.path(), &lock).unwrap().0);
        let producer = Name::new("till").unwrap();
        let around = Surroundings {
            facts: Arc::clone(&self.facts),
            producer: producer.clone(),
            grants: Arc::new(NoGrants),
            repeats: Repeats::Index,
            notices: Arc::clone(&notices),
            stopping: Arc::new(AtomicBool::new(false)),
        };
        let settler = Settler {
            moving,
            workshop: Arc::new(Workshop::new(around, &index)),
            index,
        };
        let office = Office {
            facts: Arc::clone(&self.facts),
            producer,
            signer: self.signer.clone(),
            bus: Arc::new(FaultyBus(Arc::clone(&self.state))),
            settler,
            notices: Arc::clone(&notices),
            index_is_alone: true,
            ended: Mutex::default(),
            left_over_rejected: AtomicU64::new(0),
        };
        (Arc::new(office), notices)
    }
}

fn batch_of(events: &[u64], told: &Arc<Told>) -> Vec<BatchEvent> {
    let one = |&event: &u64| BatchEvent {
        ticket: Ticket {
            owner: Arc::clone(told) as Arc<dyn Tickets>,
            number: event,
        },
        name: name_of(event),
        entry: entry(event),
        sealed: vec![1; 40],
    };
    events.iter().map(one).collect()
}

/// Decides again and again, and tells of it unless nobody is to hear.
async fn sequence(state: Arc<Mutex<State>>, facts: Arc<Facts>, tell: mpsc::Sender<News>) {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let news = {
            let mut state = state.lock().unwrap();
            state.rounds += 1;
            let is_lost = state
                .lose_every
                .is_some_and(|every| state.rounds.is_multiple_of(every));
            let deaf = state.is_deaf;
            (!deaf)
                .then(|| state.decide(&facts.genesis[0]))
                .filter(|_| !is_lost)
        };
        if let Some(news) = news
            && tell.send(news).await.is_err()
        {
            return;
        }
    }
}
