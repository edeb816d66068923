//! Bringing back what an old backup, or a lost bus, does not hold.
//!
//! In scope: copies of the ledger's folder as sources; adopting their history only as a whole, when it gives the root
//! that was signed; a new stream where the old one is lost; frames that were accepted and not sealed; customers' keys.
//! Out of scope: inventing anything. What no source holds is told, and nothing is changed.
//! Trust: sources are untrusted; every batch passes the rules of acceptance, the result must give the signed root.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use sharetrail_proof::batch::Batch;
use sharetrail_proof::checkpoint::log_origin;
use sharetrail_proof::entry::{BATCH, EVENT, Entry};
use sharetrail_proof::frame::{self, Frame};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{Name, Shard};
use sharetrail_proof::note::Note;

use crate::archive::LeafFiles;
use crate::bus::{self, Bus, StreamId};
use crate::engine::Engine;
use crate::error::{At, LedgerError};
use crate::files;
use crate::folder::Folder;
use crate::keys;
use crate::ledger::Ledger;
use crate::register::{OutsideCopy, Register};
use crate::sequencer::{Sequencer, Sources, Unobserved, fresh_cursor, note_text, recover_behind, stated};

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
pub fn restore(ledger: &Ledger, from: &[PathBuf], notice: &mut dyn FnMut(String)) -> Result<Restored, LedgerError> {
    let lock = ledger.folder().lock()?;
    let copies: Vec<Folder> = from.iter().map(|path| Folder::new(path)).collect();
    for (copy, path) in copies.iter().zip(from) {
        is_a_copy(ledger, copy, path)?;
    }
    let mut shards = Vec::new();
    let keys = bring_keys(ledger, &copies)?;
    let mut frames = Vec::new();
    for shard in 0..ledger.shards() {
        let done = restore_shard(ledger, &copies, shard, notice)?;
        let complete = done.missing.is_none();
        shards.push(done);
        if complete {
            frames.extend(unsealed_frames(ledger, &copies, shard, notice)?);
            renew_stream(ledger, shard, notice)?;
        }
    }
    drop(lock);
    let complete = shards.iter().all(|shard| shard.missing.is_none());
    let sent = if complete { send_again(ledger, &frames, notice)? } else { 0 };
    Ok(Restored { complete, keys_brought_back: keys, frames_sent_again: sent, shards })
}

fn is_a_copy(ledger: &Ledger, copy: &Folder, path: &Path) -> Result<(), LedgerError> {
    for shard in 0..ledger.shards() {
        let leaf = LeafFiles::new(&copy.sealed(shard)).leaf(LeafIndex(0));
        let same = leaf.is_ok_and(|leaf| leaf.entry == ledger.genesis(shard).to_bytes());
        if !same {
            let text = format!("{} is not a copy of the ledger {} (shard {shard} has another genesis entry, or none)", path.display(), ledger.name());
            return Err(LedgerError::Invalid(text));
        }
    }
    Ok(())
}

fn bring_keys(ledger: &Ledger, copies: &[Folder]) -> Result<u64, LedgerError> {
    let vault = ledger.open_vault(true)?;
    let mut brought = 0;
    for copy in copies.iter().filter(|copy| copy.vault().join("slots").exists()) {
        brought += vault.adopt(&copy.vault())?;
    }
    Ok(brought)
}

/// The highest checkpoint known to have been decided on: size, root, and where it is known from.
fn highest(ledger: &Ledger, copies: &[Folder], shard: u32) -> Result<Option<(TreeSize, Hash)>, LedgerError> {
    let policy = ledger.policy()?;
    let mut known = Vec::new();
    known.extend(OutsideCopy::peek(&ledger.outside()?, shard)?.as_deref().and_then(stated));
    let folders = std::iter::once(ledger.folder()).chain(copies);
    for folder in folders {
        let note = files::read_if_there(&folder.checkpoint(shard))?.and_then(|note| String::from_utf8(note).ok());
        // What a copy calls a checkpoint counts only if the log's key signed it.
        let signed = note.filter(|note| policy.open(note).is_ok());
        known.extend(signed.as_deref().and_then(note_text).as_deref().and_then(stated));
    }
    Ok(known.into_iter().max_by_key(|(size, _)| *size))
}

fn restore_shard(ledger: &Ledger, copies: &[Folder], shard: u32, notice: &mut dyn FnMut(String)) -> Result<RestoredShard, LedgerError> {
    let mut notices = Vec::new();
    let mut sequencer = recover_behind(sources(ledger, shard)?, &mut notices)?;
    notices.into_iter().for_each(&mut *notice);
    let had = sequencer.size();
    let (known, root) = highest(ledger, copies, shard)?.unwrap_or((had, sequencer.root()));
    let mut tally = Tally::default();
    for copy in copies {
        if sequencer.size() < known {
            adopt(ledger, &mut sequencer, copy, shard, known, &mut tally)?;
        }
    }
    let now = sequencer.size();
    let mut done = RestoredShard {
        shard,
        had: had.0,
        known: known.0,
        now: now.0,
        events_brought_back: tally.events,
        unreadable_events: tally.unreadable,
        missing: None,
    };
    if now < known {
        done.missing = Some((now.0, known.0));
        done.now = had.0;
        return Ok(done);
    }
    if now == known && sequencer.root() != root {
        let found = sequencer.root();
        return Err(LedgerError::Forked { shard, size: now.0, known: root, found, from: "the highest known checkpoint".into() });
    }
    if now > had {
        sequencer.seal_adopted()?;
    }
    Ok(done)
}

fn sources(ledger: &Ledger, shard: u32) -> Result<Sources<'_>, LedgerError> {
    let place = Shard::new(shard, ledger.shards()).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    Ok(Sources {
        folder: ledger.folder(),
        outside: ledger.outside()?,
        shard,
        origin: log_origin(ledger.name(), place),
        signer: keys::read(&ledger.folder().keys().join(keys::log_file(shard)))?,
        observer: Arc::new(Unobserved),
        stream: StreamId(files::random()?),
    })
}

#[derive(Default)]
struct Tally {
    events: u64,
    unreadable: u64,
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
    let mut group: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let (mut wanted, mut failed) = (0, None);
    LeafFiles::new(&sealed_folder).scan(LeafIndex(sequencer.size().0), to, &mut |_, entry, sealed| {
        if group.is_empty() {
            wanted = batch_count(entry).map_or(1, |count| count + 1);
        }
        group.push((entry.to_vec(), sealed.to_vec()));
        if group.len() < wanted {
            return ControlFlow::Continue(());
        }
        let taken = sequencer.adopt(&frame_of(&group)).and_then(|()| tally.count(&vault, &group));
        group.clear();
        match taken {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}

impl Tally {
    fn count(&mut self, vault: &crate::vault::Vault, group: &[(Vec<u8>, Vec<u8>)]) -> Result<(), LedgerError> {
        for (entry, _) in group.iter().filter(|(entry, _)| entry.first() == Some(&EVENT)) {
            self.events += 1;
            if let Ok(Entry::Event(event)) = Entry::parse(entry) {
                self.unreadable += u64::from(!vault.has_key(&event.label)?);
            }
        }
        Ok(())
    }
}

fn batch_count(entry: &[u8]) -> Option<usize> {
    let (&BATCH, note) = entry.split_first()? else { return None };
    let note = Note::parse(std::str::from_utf8(note).ok()?).ok()?;
    Some(Batch::parse(note.text()).ok()?.count as usize)
}

/// The frame that a batch came in, made again from the archive.
fn frame_of(group: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let note = String::from_utf8_lossy(group[0].0.get(1..).unwrap_or_default());
    let entries: Vec<&[u8]> = group[1..].iter().map(|(entry, _)| entry.as_slice()).collect();
    let sealed: Vec<&[u8]> = group[1..].iter().map(|(_, sealed)| sealed.as_slice()).collect();
    frame::encode(&note, &entries, &sealed)
}

struct Unsealed {
    shard: u32,
    producer: Name,
    frame: Vec<u8>,
}

/// Frames on the old streams that the log does not hold: accepted, and never sealed.
fn unsealed_frames(ledger: &Ledger, copies: &[Folder], shard: u32, notice: &mut dyn FnMut(String)) -> Result<Vec<Unsealed>, LedgerError> {
    let mut notices = Vec::new();
    let sequencer = recover_behind(sources(ledger, shard)?, &mut notices)?;
    let mut found: Vec<Unsealed> = Vec::new();
    for folder in std::iter::once(ledger.folder()).chain(copies) {
        let path = folder.bus().join(shard.to_string());
        let visited = bus::visit(&path, &mut |message| {
            let Ok(frame) = Frame::parse(&message.frame) else { return Ok(()) };
            let next = sequencer.state().head(frame.batch.chain).map_or(0, |head| head.number + 1);
            let fresh = frame.batch.number >= next && !found.iter().any(|one| one.frame == message.frame);
            if fresh {
                found.push(Unsealed { shard, producer: message.producer, frame: message.frame });
            }
            Ok(())
        });
        if let Err(error) = visited {
            notice(format!("shard {shard}: {error}; frames behind that place are not looked for"));
        }
    }
    Ok(found)
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
        notice(format!("shard {shard}: the old stream is put aside as {}", aside.display()));
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

fn send_again(ledger: &Ledger, frames: &[Unsealed], notice: &mut dyn FnMut(String)) -> Result<u64, LedgerError> {
    let engine = Engine::start(ledger)?;
    engine.notices().iter().cloned().for_each(notice);
    for one in frames {
        engine.block_on(engine.bus().publish(one.shard, &one.producer, one.frame.clone()))?;
    }
    engine.stop()?;
    Ok(frames.len() as u64)
}
