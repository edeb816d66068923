//! Bringing back what an old backup, or a lost bus, does not hold.
//!
//! In scope: copies of the ledger's folder as sources; adopting their history only as a whole, when it gives the root
//! that was signed; a new stream where the old one is lost; frames that were accepted and not sealed; customers' keys.
//! Out of scope: inventing anything. What no source holds is told, and nothing is changed.
//! Trust: sources are untrusted; every batch passes the rules of acceptance, the result must give the signed root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sharetrail_proof::entry::{EVENT, Entry};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{ChainId, Name};

use crate::archive::{Leaf, LeafFiles, frame_of, scan_batches};
use crate::bus::{self, StreamId};
use crate::engine::{self, Engine};
use crate::error::{At, LedgerError};
use crate::files;
use crate::folder::Folder;
use crate::ledger::Ledger;
use crate::mapper;
use crate::register::{OutsideCopy, Register};
use crate::sequencer::{
    Observer, Sequencer, Sources, Unobserved, fresh_cursor, message_hash, note_text, recover_behind, stated,
};
use crate::vault::Vault;

/// What a restore did.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// Whether every shard holds all that was ever signed.
    pub complete: bool,
    /// Customers' keys that came from the sources.
    pub keys_brought_back: u64,
    /// Frames that had been accepted and not sealed, and were sent again.
    pub frames_sent_again: u64,
    /// Shard by shard.
    pub shards: Vec<RestoredShard>,
}

/// What a restore did for a shard.
#[derive(Clone, Debug, Serialize)]
pub struct RestoredShard {
    /// Which.
    pub shard: u32,
    /// Leaves before.
    pub had: u64,
    /// Leaves of the highest checkpoint known to have been signed.
    pub known: u64,
    /// Leaves now.
    pub now: u64,
    /// Events that came back.
    pub events_brought_back: u64,
    /// Events among them that cannot be opened, because no source had their customer's key.
    pub unreadable_events: u64,
    /// Leaves that no source holds: from, and up to but not including.
    pub missing: Option<(u64, u64)>,
}

/// Brings back, from copies of the ledger's folder, what this folder lacks.
pub fn restore(
    ledger: &Ledger,
    from: &[PathBuf],
    notice: &mut dyn FnMut(String),
) -> Result<Restored, LedgerError> {
    let lock = ledger.folder().lock()?;
    let copies: Vec<Folder> = from.iter().map(|path| Folder::new(path)).collect();
    for (copy, path) in copies.iter().zip(from) {
        is_a_copy(ledger, copy, path)?;
    }
    let keys = bring_keys(ledger, &copies, notice)?;
    let shards = (0..ledger.shards()).map(|shard| restore_shard(ledger, &copies, shard, notice));
    let (shards, nexts): (Vec<_>, Vec<_>) = shards.collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let complete = shards.iter().all(|shard: &RestoredShard| shard.missing.is_none());
    if complete {
        // The mapper makes the map logs again from their moments when it is next at work.
        (0..ledger.shards()).try_for_each(|shard| mapper::bring_moments(ledger, &copies, shard, notice))?;
    }
    let mut frames = Vec::new();
    // On a distributed bus the streams are not in the folder, and frames that were not sealed come from the outboxes.
    if complete && ledger.settings().bus.is_none() {
        for (shard, nexts) in shards.iter().zip(&nexts) {
            frames.extend(unsealed_frames(ledger, &copies, shard.shard, nexts, notice));
        }
        // Streams are renewed once all frames are in hand; those put aside are looked through again next time.
        for shard in shards
            .iter()
            .filter(|shard| shard.now > shard.had || !stream_fits(ledger, shard.shard))
        {
            renew_stream(ledger, shard.shard, notice)?;
        }
    }
    drop(lock);
    let sent = if complete && ledger.settings().bus.is_none() {
        send_again(ledger, &frames, notice)?
    } else {
        0
    };
    Ok(Restored {
        complete,
        keys_brought_back: keys,
        frames_sent_again: sent,
        shards,
    })
}

fn is_a_copy(ledger: &Ledger, copy: &Folder, path: &Path) -> Result<(), LedgerError> {
    for shard in 0..ledger.shards() {
        let leaf = LeafFiles::new(&copy.sealed(shard)).genesis();
        let same = leaf.is_ok_and(|leaf| leaf.entry == ledger.genesis(shard).to_bytes());
        if !same {
            let text = format!(
                "{} is not a copy of the ledger {} (shard {shard} has another genesis entry, or none)",
                path.display(),
                ledger.name()
            );
            return Err(LedgerError::Invalid(text));
        }
    }
    Ok(())
}

fn bring_keys(
    ledger: &Ledger,
    copies: &[Folder],
    notice: &mut dyn FnMut(String),
) -> Result<u64, LedgerError> {
    let vault = ledger.open_vault(true)?;
    let mut brought = 0;
    for copy in copies.iter().filter(|copy| copy.vault().join("slots").exists()) {
        let adopted = vault.adopt(&copy.vault())?;
        brought += adopted.taken;
        if adopted.unopened > 0 {
            notice(format!(
                "vault: {} keys in {} are missing here and do not open: that copy is older than the key-encryption key, which \
                 is exchanged at each erasure; or it is another host's folder, and each host has a key-encryption key of its \
                 own",
                adopted.unopened,
                copy.vault().display()
            ));
        }
    }
    Ok(brought)
}

/// All checkpoints known to have been decided on, size and root.
fn known_checkpoints(
    ledger: &Ledger,
    copies: &[Folder],
    shard: u32,
) -> Result<Vec<(TreeSize, Hash)>, LedgerError> {
    let policy = ledger.policy()?;
    let mut known = Vec::new();
    known.extend(
        OutsideCopy::peek(&ledger.outside()?, shard)?
            .as_deref()
            .and_then(stated),
    );
    let folders = std::iter::once(ledger.folder()).chain(copies);
    for folder in folders {
        let note =
            files::read_if_there(&folder.checkpoint(shard))?.and_then(|note| String::from_utf8(note).ok());
        // What a copy calls a checkpoint counts only if the log's key signed it.
        let signed = note.filter(|note| policy.open(note).is_ok());
        known.extend(signed.as_deref().and_then(note_text).as_deref().and_then(stated));
    }
    Ok(known)
}

/// The number that each chain's next batch will have; a chain that is not there begins with 0.
type NextNumbers = BTreeMap<ChainId, u64>;

fn restore_shard(
    ledger: &Ledger,
    copies: &[Folder],
    shard: u32,
    notice: &mut dyn FnMut(String),
) -> Result<(RestoredShard, NextNumbers), LedgerError> {
    let mut notices = Vec::new();
    let mut sequencer = recover_behind(sources(ledger, shard)?, &mut notices)?;
    notices.into_iter().for_each(&mut *notice);
    let (had, events) = (sequencer.size(), sequencer.state().events());
    let signed = known_checkpoints(ledger, copies, shard)?;
    let known = signed.iter().map(|(size, _)| *size).max().unwrap_or(had).max(had);
    let mut tally = Tally::default();
    for folder in std::iter::once(ledger.folder()).chain(copies) {
        if sequencer.size() < known {
            adopt_stream(&mut sequencer, ledger, folder, known, &mut tally, notice)?;
        }
    }
    for copy in copies {
        if sequencer.size() < known
            && let Err(error) = adopt(ledger, &mut sequencer, copy, shard, known, &mut tally)
        {
            notice(format!(
                "shard {shard}: {error}; what follows in that copy is not taken"
            ));
        }
    }
    let now = sequencer.size();
    let mut done = RestoredShard {
        shard,
        had: had.0,
        known: known.0,
        now: now.0,
        events_brought_back: sequencer.state().events() - events,
        unreadable_events: tally.unreadable,
        missing: None,
    };
    if now < known {
        done.missing = Some((now.0, known.0));
        (done.now, done.events_brought_back, done.unreadable_events) = (had.0, 0, 0);
        return Ok((done, NextNumbers::new()));
    }
    sequencer.gives(&signed)?;
    let heads = sequencer.state().heads();
    let nexts = heads.map(|(chain, head)| (chain, head.number + 1)).collect();
    if now > had {
        sequencer.seal_adopted()?;
    }
    Ok((done, nexts))
}

/// What a shard is taken up from to bring back what it lacks; nobody watches, and the stream is another.
pub(crate) fn sources(ledger: &Ledger, shard: u32) -> Result<Sources<'_>, LedgerError> {
    let nobody: Arc<dyn Observer> = Arc::new(Unobserved);
    engine::sources(ledger, shard, &nobody, StreamId(files::random()?), None)
}

#[derive(Default)]
struct Tally {
    unreadable: u64,
}

/// Takes over what the ledger's stream holds beyond the cursor, from here or from a copy of it: the same messages give
/// the same log.
fn adopt_stream(
    sequencer: &mut Sequencer,
    ledger: &Ledger,
    folder: &Folder,
    known: TreeSize,
    tally: &mut Tally,
    notice: &mut dyn FnMut(String),
) -> Result<(), LedgerError> {
    let vault = ledger.vault()?;
    let shard = sequencer.shard();
    let path = folder.bus().join(shard.to_string());
    let cursor = Register::peek(&ledger.folder().register(shard))
        .ok()
        .flatten()
        .and_then(|head| head.cursor);
    let stream = bus::peek(&path).ok().flatten().map(|info| info.id.to_string());
    let Some(cursor) = cursor.filter(|cursor| Some(&cursor.stream) == stream.as_ref()) else {
        return Ok(());
    };
    let visited = bus::visit(&path, &mut |message| {
        if message.seq > cursor.seq && sequencer.size() < known {
            // Rejected or repeated then, rejected or repeated now.
            if sequencer.adopt(&message.frame).is_ok() {
                tally.count_frame(&vault, &message.frame)?;
            }
        }
        Ok(())
    });
    tell_damage(shard, &path, visited, notice);
    Ok(())
}

/// Says what could not be read of a stream: frames that were accepted and not sealed may have been among it.
fn tell_damage(shard: u32, path: &Path, visited: Result<u64, LedgerError>, notice: &mut dyn FnMut(String)) {
    match visited {
        Ok(0) => {}
        Ok(damaged) => notice(format!(
            "shard {shard}: {damaged} messages in {} are damaged and passed over",
            path.display()
        )),
        Err(error) => notice(format!("shard {shard}: {error}; that stream is passed over")),
    }
}

/// Whether the stream in the folder is the one the archive was read from, and holds what was read.
fn stream_fits(ledger: &Ledger, shard: u32) -> bool {
    let path = ledger.folder().bus().join(shard.to_string());
    let (Ok(Some(head)), Ok(Some(stream))) =
        (Register::peek(&ledger.folder().register(shard)), bus::peek(&path))
    else {
        return false;
    };
    let Some(cursor) = head.cursor else { return true };
    let mut same = cursor.seq.0 == 0;
    let visited = bus::visit(&path, &mut |message| {
        same |= message.seq == cursor.seq && message_hash(&message) == cursor.hash;
        Ok(())
    });
    visited.is_ok_and(|damaged| damaged == 0)
        && same
        && stream.id.to_string() == cursor.stream
        && stream.last >= cursor.seq
}

/// Takes over the batches that a copy holds beyond what is here, up to the known checkpoint.
fn adopt(
    ledger: &Ledger,
    sequencer: &mut Sequencer,
    copy: &Folder,
    shard: u32,
    known: TreeSize,
    tally: &mut Tally,
) -> Result<(), LedgerError> {
    let vault = ledger.vault()?;
    let sealed_folder = copy.sealed(shard);
    let have = LeafFiles::count_beyond(&sealed_folder, sequencer.size())?;
    let to = TreeSize(known.0.min(sequencer.size().0 + have));
    let from = LeafIndex(sequencer.size().0);
    let mut each = |batch: &[Leaf]| {
        let frame = frame_of(batch);
        sequencer.adopt(&frame)?;
        tally.count_frame(&vault, &frame)
    };
    // A last batch that is cut off is left: what is missing then is told.
    scan_batches(&sealed_folder, from, to, &mut each).map(drop)
}

impl Tally {
    /// Counts the events of an adopted frame that cannot be opened.
    fn count_frame(&mut self, vault: &Vault, frame: &[u8]) -> Result<(), LedgerError> {
        let Ok(frame) = Frame::parse(frame) else {
            return Ok(());
        };
        let events = frame
            .entries
            .iter()
            .zip(&frame.sealed)
            .filter(|(entry, _)| entry.first() == Some(&EVENT));
        for (entry, sealed) in events {
            if let Ok(Entry::Event(event)) = Entry::parse(entry) {
                let key = vault
                    .key(&event.label)?
                    .map(|key| key.for_producer(&frame.batch.producer));
                let opens = key.is_some_and(|key| key.sealer().open(&event, sealed).is_ok());
                self.unreadable += u64::from(!opens);
            }
        }
        Ok(())
    }
}

struct Unsealed {
    shard: u32,
    producer: Name,
    frame: Vec<u8>,
}

/// Frames on the old streams that the log does not hold: accepted, and never sealed.
fn unsealed_frames(
    ledger: &Ledger,
    copies: &[Folder],
    shard: u32,
    nexts: &NextNumbers,
    notice: &mut dyn FnMut(String),
) -> Vec<Unsealed> {
    let mut found: Vec<Unsealed> = Vec::new();
    for path in std::iter::once(ledger.folder())
        .chain(copies)
        .flat_map(|folder| streams_of(folder, shard))
    {
        let visited = bus::visit(&path, &mut |message| {
            let Ok(frame) = Frame::parse(&message.frame) else {
                return Ok(());
            };
            let next = nexts.get(&frame.batch.chain).copied().unwrap_or(0);
            let fresh = frame.batch.number >= next && !found.iter().any(|one| one.frame == message.frame);
            if fresh {
                found.push(Unsealed {
                    shard,
                    producer: message.producer,
                    frame: message.frame,
                });
            }
            Ok(())
        });
        tell_damage(shard, &path, visited, notice);
    }
    found
}

/// The stream of a shard in a folder, and those that were put aside before.
fn streams_of(folder: &Folder, shard: u32) -> Vec<PathBuf> {
    let aside = (1..)
        .map(|number| folder.bus().join(format!("{shard}.old-{number}")))
        .take_while(|path| path.exists());
    std::iter::once(folder.bus().join(shard.to_string()))
        .chain(aside)
        .collect()
}

/// Puts a stream aside that is not the one the archive was read from, and begins another.
fn renew_stream(ledger: &Ledger, shard: u32, notice: &mut dyn FnMut(String)) -> Result<(), LedgerError> {
    let path = ledger.folder().bus().join(shard.to_string());
    if path.exists() {
        let mut number = 1;
        let aside = loop {
            let aside = ledger.folder().bus().join(format!("{shard}.old-{number}"));
            if !aside.exists() {
                break aside;
            }
            number += 1;
        };
        fs::rename(&path, &aside).at("put aside", &path)?;
        notice(format!(
            "shard {shard}: the old stream is put aside as {}",
            aside.display()
        ));
    }
    let id = StreamId(files::random()?);
    bus::begin(&path, id)?;
    let (mut register, head) = Register::open(&ledger.folder().register(shard))?;
    if let Some(mut head) = head {
        head.cursor = Some(fresh_cursor(id));
        register.decide(&head)?;
    }
    Ok(())
}

fn send_again(
    ledger: &Ledger,
    frames: &[Unsealed],
    notice: &mut dyn FnMut(String),
) -> Result<u64, LedgerError> {
    let engine = Engine::start(ledger)?;
    engine.notices().iter().cloned().for_each(notice);
    for one in frames {
        engine.block_on(engine.bus().publish(one.shard, &one.producer, one.frame.clone()))?;
    }
    engine.stop()?;
    Ok(frames.len() as u64)
}
