//! Producers that record one small file after the other, as long as a test does harm to what they rely on.
//!
//! In scope: keeping them at it, killing them too, and what they were told is on record. Out of scope: the harm.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use sharetrail_proof::name::Name;

use crate::process::wait_for;
use crate::site::Producer;
use crate::support::dice::Dice;
use crate::support::loyalty::{Event, events};

/// Events of a file.
const PART: usize = 120;
/// The longest that a producer lives that is to be killed.
const LIFE_MS: u64 = 1_500;
const SEED: u64 = 2_017;
/// More shards than any ledger here has.
const SHARDS_MAX: u32 = 8;

/// Deals events out to so many producers.
pub(crate) fn deal(all: &[Event], producers: usize) -> Vec<Vec<Event>> {
    let mut hands = vec![Vec::new(); producers];
    for (number, event) in all.iter().enumerate() {
        hands[number % producers].push(event.clone());
    }
    hands
}

/// Producers at work.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    /// Files that are on record.
    done: Arc<AtomicUsize>,
    /// Entries that stood in outboxes when their producers were killed.
    kept: Kept,
    threads: Vec<JoinHandle<(Name, Vec<Event>)>>,
}

type Kept = Arc<Mutex<Vec<Vec<u8>>>>;

impl Traffic {
    /// Starts producers that nobody kills.
    pub(crate) fn start(producers: &[Producer]) -> Self {
        Self::begin(producers, false)
    }

    /// Starts producers each of which is killed at a random moment of every second file or so, and records it again.
    pub(crate) fn start_mortal(producers: &[Producer]) -> Self {
        Self::begin(producers, true)
    }

    fn begin(producers: &[Producer], mortal: bool) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let kept = Kept::default();
        let hands = deal(&events(240, 150), producers.len());
        let mut threads = Vec::new();
        for ((seed, producer), hand) in (SEED..).zip(producers.iter().cloned()).zip(hands) {
            let (stop, done, kept) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&kept));
            let dice = mortal.then(|| Dice::new(seed));
            threads.push(thread::spawn(move || {
                let told = record(&producer, &hand, dice, &stop, &done, &kept);
                (producer.name(), told)
            }));
        }
        Self {
            stop,
            done,
            kept,
            threads,
        }
    }

    /// Waits until so many more files are on record, or some producer has no more.
    #[track_caller]
    pub(crate) fn wait_for_more(&self, files: usize) {
        self.wait_beside(files, String::new);
    }

    /// As [`Traffic::wait_for_more`]; `told`: what those say who should let the producers get on.
    #[track_caller]
    pub(crate) fn wait_beside(&self, files: usize, told: impl Fn() -> String) {
        let due = self.done.load(Ordering::Acquire) + files;
        wait_for("producers get on", told, || {
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            (ended || self.done.load(Ordering::Acquire) >= due).then_some(())
        });
    }

    /// What stood in outboxes when their producers were killed; asked for once all have ended.
    pub(crate) fn kept(&self) -> Kept {
        Arc::clone(&self.kept)
    }

    /// Lets every producer end the file it is at, and gives what each was told is on record.
    #[track_caller]
    pub(crate) fn end(mut self) -> Vec<(Name, Vec<Event>)> {
        self.stop.store(true, Ordering::Release);
        let ended = |thread: JoinHandle<_>| thread.join().expect("a producer's file comes to be on record");
        std::mem::take(&mut self.threads).into_iter().map(ended).collect()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        // After a test that failed nobody waits for them.
        self.stop.store(true, Ordering::Release);
    }
}

fn record(
    producer: &Producer,
    hand: &[Event],
    mut dice: Option<Dice>,
    stop: &AtomicBool,
    done: &AtomicUsize,
    kept: &Mutex<Vec<Vec<u8>>>,
) -> Vec<Event> {
    let mut taken = 0;
    while taken < hand.len() && !stop.load(Ordering::Acquire) {
        // Half of each file was told before: whoever was killed does not know how far it got.
        let from = taken - taken.min(PART / 2);
        taken = hand.len().min(taken + PART);
        if let Some(dice) = &mut dice
            && dice.below(2) == 0
        {
            let mut process = producer.start(&hand[from..taken]);
            thread::sleep(Duration::from_millis(dice.below(LIFE_MS)));
            if !process.has_ended() {
                process.kill();
                // Not handed in again yet: only the outbox can bring these to the log.
                let entries = producer.kept_entries(SHARDS_MAX);
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(entries);
                producer.record_all(&[]);
            }
        }
        producer.record_all(&hand[from..taken]);
        done.fetch_add(1, Ordering::AcqRel);
    }
    hand[..taken].to_vec()
}

/// Has every producer tell all again: nothing of it is new.
#[track_caller]
pub(crate) fn tell_again(producers: &[Producer], recorded: &[(Name, Vec<Event>)]) {
    for producer in producers {
        for (_, events) in recorded.iter().filter(|(name, _)| *name == producer.name()) {
            let known = producer.record_all(events);
            assert_eq!(
                (known.new, known.known),
                (0, events.len() as u64),
                "{}",
                producer.name
            );
        }
    }
}
