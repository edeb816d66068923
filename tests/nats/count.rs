//! Counting what is in the log against what producers were told is on record.
//!
//! In scope: every event of every producer, by its entry; frames rebuilt from the log. Out of scope: contents, which a
//! trail and a dossier show. Trust: the archive's leaves are taken as they lie; that they are what was signed is checked
//! where checkpoints are ([`crate::watch`]).

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use sharetrail_ledger::Ledger;
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::entry::{BATCH, Entry, EntryId};
use sharetrail_proof::frame::encode;
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::Note;

use crate::site::Host;
use crate::support::loyalty::Event;

type Key = (Label, EntryId);

/// What became of the events that producers were told are on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events that producers were told of.
    pub(crate) accepted: usize,
    /// Events in the log.
    pub(crate) sealed: usize,
    /// Events that producers were told of and that the log lacks.
    pub(crate) lost: usize,
    /// Times that an event is in the log beyond the first.
    pub(crate) doubled: usize,
    /// Events in the log that no producer was told of.
    pub(crate) foreign: usize,
}

/// Counts, prints the counts in one line, and asserts that every event is in the log exactly once, and no other.
#[track_caller]
pub(crate) fn each_once(what: &str, host: &Host, recorded: &[(Name, Vec<Event>)]) -> Counts {
    let counts = count(&host.ledger(), recorded);
    let Counts {
        accepted,
        sealed,
        lost,
        doubled,
        foreign,
    } = counts;
    println!(
        "{what}, on {}: counts: accepted={accepted} sealed={sealed} lost={lost} doubled={doubled}",
        host.name
    );
    assert_eq!((lost, doubled, foreign), (0, 0, 0), "{what}: {counts:?}");
    assert_eq!(sealed, accepted, "{what}");
    counts
}

/// Asserts that each of these entries, which stood in outboxes, is in the log exactly once.
#[track_caller]
pub(crate) fn each_kept_once(what: &str, host: &Host, kept: &[Vec<u8>]) {
    let ledger = host.ledger();
    let mut times: HashMap<&[u8], usize> = kept.iter().map(|entry| (entry.as_slice(), 0)).collect();
    for shard in 0..ledger.shards() {
        let reader = ledger.reader(shard).expect("the shard has an archive");
        let visit = &mut |_: LeafIndex, entry: &[u8], _: &[u8]| {
            if let Some(count) = times.get_mut(entry) {
                *count += 1;
            }
            ControlFlow::Continue(())
        };
        reader.scan(LeafIndex(0), visit).expect("the archive can be read");
    }
    let lost = times.values().filter(|&&count| count == 0).count();
    let doubled = times.values().filter(|&&count| count > 1).count();
    println!(
        "{what}: counts: kept in outboxes at kills={} lost={lost} doubled={doubled}",
        times.len()
    );
    assert_eq!((lost, doubled), (0, 0), "{what}");
}

/// `recorded`: which producer recorded what; an event may stand there several times.
fn count(ledger: &Ledger, recorded: &[(Name, Vec<Event>)]) -> Counts {
    let mut found: HashMap<Key, usize> = HashMap::new();
    for shard in 0..ledger.shards() {
        let reader = ledger.reader(shard).expect("the shard has an archive");
        let visit = &mut |_: LeafIndex, entry: &[u8], _: &[u8]| {
            if let Ok(Entry::Event(event)) = Entry::parse(entry) {
                assert_eq!(
                    event.label.shard(ledger.shards()),
                    shard,
                    "a label on another's shard"
                );
                *found.entry((event.label, event.id)).or_default() += 1;
            }
            ControlFlow::Continue(())
        };
        reader.scan(LeafIndex(0), visit).expect("the archive can be read");
    }
    let (known, keyless) = keys(ledger, recorded);
    let there = known.iter().filter(|key| found.contains_key(key)).count();
    Counts {
        accepted: known.len() + keyless,
        sealed: found.values().sum(),
        lost: known.len() - there + keyless,
        doubled: found.values().map(|times| times - 1).sum(),
        foreign: found.keys().filter(|key| !known.contains(key)).count(),
    }
}

/// The entries that the events must have, and how many events are of customers for whom the vault has no key.
fn keys(ledger: &Ledger, recorded: &[(Name, Vec<Event>)]) -> (HashSet<Key>, usize) {
    let vault = ledger.vault().expect("the host has a vault");
    let (mut known, mut keyless) = (HashSet::new(), HashSet::new());
    for (producer, events) in recorded {
        let mut sealers = HashMap::new();
        for event in events {
            let sealer = sealers.entry(event.customer.as_str()).or_insert_with(|| {
                let label = vault.label(&event.customer, 0);
                let key = vault
                    .producer_key(&label, producer)
                    .expect("the vault can be read");
                key.map(|key| (label, key.sealer()))
            });
            match sealer {
                Some((label, sealer)) => {
                    known.insert((*label, sealer.entry_id(&event.source, &event.id)));
                }
                None => {
                    keyless.insert((producer, &event.source, &event.id));
                }
            }
        }
    }
    (known, keyless.len())
}

/// A batch in the log, as the message that brought it.
pub(crate) struct OnRecord {
    pub(crate) batch: Batch,
    /// The hash of its note's text, which the next batch of the chain names.
    pub(crate) hash: Hash,
    pub(crate) frame: Vec<u8>,
}

/// The batches of a producer on a shard, in the order of the log.
pub(crate) fn batches(ledger: &Ledger, shard: u32, producer: &Name) -> Vec<OnRecord> {
    let reader = ledger.reader(shard).expect("the shard has an archive");
    let mut leaves: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let visit = &mut |_: LeafIndex, entry: &[u8], sealed: &[u8]| {
        leaves.push((entry.to_vec(), sealed.to_vec()));
        ControlFlow::Continue(())
    };
    reader.scan(LeafIndex(0), visit).expect("the archive can be read");
    let mut found = Vec::new();
    for (place, (entry, _)) in leaves.iter().enumerate() {
        let Some((&BATCH, note)) = entry.split_first() else {
            continue;
        };
        let note = std::str::from_utf8(note).expect("a note is text");
        let text = Note::parse(note).expect("a note in the log is one").text();
        let batch = Batch::parse(text).expect("a batch note in the log is one");
        if batch.producer != *producer {
            continue;
        }
        let count = usize::try_from(batch.count).expect("a batch is small");
        let own = &leaves[place + 1..place + 1 + count];
        let entries: Vec<&[u8]> = own.iter().map(|(entry, _)| entry.as_slice()).collect();
        let sealed: Vec<&[u8]> = own.iter().map(|(_, sealed)| sealed.as_slice()).collect();
        found.push(OnRecord {
            hash: text_hash(text),
            frame: encode(note, &entries, &sealed),
            batch,
        });
    }
    found
}
