//! What this producer has recorded: a keyed hash of source and id → leaf. On disk, of bounded memory, and made again from
//! the log and the vault when it is lost.
//!
//! In scope: finding a repeat, following the log, telling two events apart that are on their way. Out of scope:
//! comparing contents. Trust: whoever finds a leaf here reads it and compares; a wrong row costs a repeat or a refusal,
//! never a false record.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions, TryLockError};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sharetrail_ledger::{Ledger, LedgerError, Reader, Vault, files};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::customer::Sealer;
use sharetrail_proof::entry::{BATCH, Entry};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::Note;

use crate::error::PublishError;
use crate::tickets::Ticket;

const CACHE_BYTES: u64 = 16 << 20;
/// Small enough for the processor's cache: every new event is looked for in it and not found.
const MEMTABLE_BYTES: u64 = 2 << 20;
const JOURNALS_BYTES: u64 = 128 << 20;
/// Customers whose keys are held while the log is followed.
const SEALERS_MAX: usize = 10_000;
/// Ids that are put in one batch while following the log.
const ROWS: usize = 8_192;

/// Where a recorded event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) shard: u32,
    pub(crate) index: LeafIndex,
}

/// A keyed hash of an event's source and id. Unlike an entry id it does not depend on the customer, so the same event
/// under another customer is found as well.
pub(crate) type EventKey = [u8; 16];

/// The index on disk.
pub(crate) struct Index {
    folder: PathBuf,
    rows: Keyspace,
    db: Database,
    /// Whether events are missing from it, so that its cursor must not move.
    broken: AtomicBool,
    keys: Hmac<Sha256>,
    /// Held as long as the outbox has a user.
    #[expect(dead_code, reason = "held, never read")]
    lock: Arc<File>,
}

/// What the index is made again from.
#[derive(Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) vault: &'a Vault,
    pub(crate) producer: &'a Name,
}

impl Index {
    /// Opens the index of a producer and follows the log to its end. One that is damaged, or does not fit the log, is made
    /// anew.
    pub(crate) fn open(sources: Sources<'_>) -> Result<Self, PublishError> {
        let outbox = sources.ledger.outbox(sources.producer);
        files::make_private_folder(&outbox)?;
        let lock = Arc::new(outbox_lock(&outbox)?);
        let folder = outbox.join("index");
        let (key, is_new) = index_key(&outbox.join("index.key"))?;
        if !is_new
            && let Ok(index) = Self::open_folder(&folder, &key, &lock)
            && index.fits(sources.ledger).unwrap_or(false)
            && index.follow(sources).is_ok()
        {
            return Ok(index);
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| failed(&folder, &error))?;
        }
        let index = Self::open_folder(&folder, &key, &lock)?;
        index.follow(sources)?;
        Ok(index)
    }

    fn open_folder(folder: &Path, key: &[u8; 32], lock: &Arc<File>) -> Result<Self, PublishError> {
        let open = || {
            let db = Database::builder(folder)
                .cache_size(CACHE_BYTES)
                .max_journaling_size(JOURNALS_BYTES)
                .worker_threads(1)
                .manual_journal_persist(true)
                .open()?;
            let options = || {
                KeyspaceCreateOptions::default()
                    .max_memtable_size(MEMTABLE_BYTES)
                    .manual_journal_persist(true)
            };
            let rows = db.keyspace("recorded", options)?;
            Ok((db, rows))
        };
        let (db, rows) = open().map_err(|error: fjall::Error| failed(folder, &error))?;
        let keys = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Ok(Self {
            folder: folder.to_owned(),
            rows,
            db,
            broken: AtomicBool::new(false),
            keys,
            lock: Arc::clone(lock),
        })
    }

    /// The key under which an event stands.
    pub(crate) fn key(&self, source: &str, id: &str) -> EventKey {
        let mut mac = self.keys.clone();
        mac.update(&(source.len() as u64).to_be_bytes());
        mac.update(source.as_bytes());
        mac.update(id.as_bytes());
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut key = [0; 16];
        key.copy_from_slice(&tag[..16]);
        key
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> PublishError {
        failed(&self.folder, error)
    }

    pub(crate) fn get(&self, id: &EventKey) -> Result<Option<Recorded>, PublishError> {
        let value = self.rows.get(id).map_err(|error| self.failed(&error))?;
        Ok(value.and_then(|value| parse_recorded(&value)))
    }

    /// The size and root up to which a shard's log is in the index.
    fn cursor(&self, shard: u32) -> Result<(TreeSize, Hash), PublishError> {
        let value = self
            .rows
            .get(shard_key(shard))
            .map_err(|error| self.failed(&error))?;
        let nothing = (TreeSize(0), Hash::empty_root());
        Ok(value.and_then(|value| parse_cursor(&value)).unwrap_or(nothing))
    }

    fn fits(&self, ledger: &Ledger) -> Result<bool, PublishError> {
        for shard in 0..ledger.shards() {
            let (size, root) = self.cursor(shard)?;
            let reader = ledger.reader(shard)?;
            if size > reader.size() || (size.0 > 0 && reader.root_at(size)? != root) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn follow(&self, sources: Sources<'_>) -> Result<(), PublishError> {
        for shard in 0..sources.ledger.shards() {
            let reader = sources.ledger.reader(shard)?;
            let (from, _) = self.cursor(shard)?;
            if from < reader.size() {
                self.follow_shard(&reader, from, sources)?;
            }
        }
        Ok(())
    }

    /// Opens each event of this producer from `from` on, to learn its source and id. What cannot be opened (erased, or
    /// damaged) is left out: it can be recorded again.
    fn follow_shard(
        &self,
        reader: &Reader,
        from: TreeSize,
        sources: Sources<'_>,
    ) -> Result<(), PublishError> {
        let (shard, mut ours, mut found, mut failure) = (reader.shard(), false, Vec::new(), None);
        let mut opener = Opener {
            sources,
            sealers: HashMap::new(),
        };
        reader.scan(LeafIndex(from.0), &mut |index, entry, sealed| {
            match entry.split_first() {
                Some((&BATCH, note)) => ours = signed_by(note, sources.producer),
                _ if ours => found.extend(
                    opener
                        .name(entry, sealed)
                        .map(|(source, id)| (self.key(&source, &id), index)),
                ),
                _ => {}
            }
            if found.len() < ROWS {
                return ControlFlow::Continue(());
            }
            failure = self.insert(shard, &found, None).err();
            found.clear();
            if failure.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })?;
        match failure {
            Some(error) => Err(error),
            None => self.insert(shard, &found, Some((reader.size(), reader.checkpoint().root))),
        }
    }

    /// Notes events of a shard, and how far the log is in the index now.
    pub(crate) fn insert(
        &self,
        shard: u32,
        events: &[(EventKey, LeafIndex)],
        cursor: Option<(TreeSize, Hash)>,
    ) -> Result<(), PublishError> {
        let mut batch = self.db.batch();
        for (id, index) in events {
            let mut value = shard.to_be_bytes().to_vec();
            value.extend(index.0.to_be_bytes());
            batch.insert(&self.rows, id, value);
        }
        if let Some((size, root)) = cursor.filter(|_| !self.broken.load(Ordering::Acquire)) {
            let mut value = size.0.to_be_bytes().to_vec();
            value.extend(root.0);
            batch.insert(&self.rows, shard_key(shard), value);
        }
        batch.commit().map_err(|error| {
            self.broken.store(true, Ordering::Release);
            self.failed(&error)
        })
    }

    /// Hands everything to the operating system; a power loss costs following the log again, nothing else.
    pub(crate) fn persist(&self) -> Result<(), PublishError> {
        self.db
            .persist(PersistMode::Buffer)
            .map_err(|error| self.failed(&error))
    }
}

/// Opens contents to learn what they are called.
struct Opener<'a> {
    sources: Sources<'a>,
    sealers: HashMap<Label, Option<Sealer>>,
}

impl Opener<'_> {
    fn name(&mut self, entry: &[u8], sealed: &[u8]) -> Option<(String, String)> {
        let Ok(Entry::Event(event)) = Entry::parse(entry) else {
            return None;
        };
        if self.sealers.len() >= SEALERS_MAX {
            self.sealers.clear();
        }
        let Sources { vault, producer, .. } = self.sources;
        let sealer = self.sealers.entry(event.label).or_insert_with(|| {
            let key = vault.producer_key(&event.label, producer).ok().flatten();
            key.map(|key| key.sealer())
        });
        let opened = sealer.as_ref()?.open(&event, sealed).ok()?;
        let content = sharetrail_schemas::read(&opened.content).ok()?;
        Some((content.source().to_owned(), content.id().to_owned()))
    }
}

/// An outbox has one user: two would cut the same numbers.
fn outbox_lock(outbox: &Path) -> Result<File, PublishError> {
    let path = outbox.join("lock");
    let failed = |source| LedgerError::File {
        doing: "lock",
        path: path.clone(),
        source,
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LedgerError::Locked {
            path: outbox.to_owned(),
            pid: None,
        }
        .into()),
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

/// The key of the index, and whether it had to be made: then there is no index for it.
fn index_key(path: &Path) -> Result<([u8; 32], bool), PublishError> {
    if let Ok(bytes) = std::fs::read(path)
        && let Ok(key) = bytes.as_slice().try_into()
    {
        return Ok((key, false));
    }
    let key = files::random::<32>()?;
    files::replace(path, &key, 0o600)?;
    Ok((key, true))
}

fn failed(folder: &Path, error: &dyn std::fmt::Display) -> PublishError {
    PublishError::Index {
        folder: folder.to_owned(),
        reason: error.to_string(),
    }
}

/// Longer than an entry id, so that no event has it.
fn shard_key(shard: u32) -> Vec<u8> {
    let mut key = b"cursor of the shard ".to_vec();
    key.extend(shard.to_be_bytes());
    key
}

fn parse_recorded(value: &[u8]) -> Option<Recorded> {
    let (shard, index) = value.split_first_chunk::<4>()?;
    Some(Recorded {
        shard: u32::from_be_bytes(*shard),
        index: LeafIndex(u64::from_be_bytes(index.try_into().ok()?)),
    })
}

fn parse_cursor(value: &[u8]) -> Option<(TreeSize, Hash)> {
    let (size, root) = value.split_first_chunk::<8>()?;
    Some((TreeSize(u64::from_be_bytes(*size)), Hash(root.try_into().ok()?)))
}

fn signed_by(note: &[u8], producer: &Name) -> bool {
    let note = std::str::from_utf8(note)
        .ok()
        .and_then(|note| Note::parse(note).ok());
    note.and_then(|note| Batch::parse(note.text()).ok())
        .is_some_and(|batch| batch.producer == *producer)
}

/// An event on its way, or sealed so lately that a chunk prepared before may not have seen it in the index.
struct OnItsWay {
    /// A keyed hash of the content, with a key that lives as long as the process.
    digest: u64,
    sealed: Option<Recorded>,
    waiting: Vec<Ticket>,
}

/// Events that are on their way, by key.
#[derive(Default)]
pub(crate) struct Moving {
    state: Mutex<MovingState>,
}

#[derive(Default)]
struct MovingState {
    events: HashMap<EventKey, OnItsWay>,
    /// Sealed and in the index: may go once all chunks handed out before were cut.
    done: VecDeque<(u64, Vec<EventKey>)>,
    handed_out: u64,
}

/// What is known of an event that was handed in.
pub(crate) enum Seen {
    /// Nothing: it is new, and from now on it is on its way.
    New,
    /// The same content is on its way; the ticket is kept.
    Waiting,
    /// The same content is on record.
    Recorded(Recorded),
    /// Another content has the same source and id.
    Conflict(Option<Recorded>),
}

impl Moving {
    fn state(&self) -> std::sync::MutexGuard<'_, MovingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk goes to the workers.
    pub(crate) fn hand_out(&self) {
        self.state().handed_out += 1;
    }

    /// The chunk with this number (from 1) was cut.
    pub(crate) fn cut(&self, chunk: u64) {
        let mut state = self.state();
        while state.done.front().is_some_and(|(after, _)| *after <= chunk) {
            let (_, ids) = state.done.pop_front().expect("looked at above");
            for id in ids {
                state.events.remove(&id);
            }
        }
    }

    /// Notes an event, or says what is known of it.
    pub(crate) fn see(&self, id: EventKey, digest: u64, ticket: &Ticket) -> Seen {
        let mut state = self.state();
        let Some(known) = state.events.get_mut(&id) else {
            state.events.insert(
                id,
                OnItsWay {
                    digest,
                    sealed: None,
                    waiting: Vec::new(),
                },
            );
            return Seen::New;
        };
        match (known.digest == digest, known.sealed) {
            (false, sealed) => Seen::Conflict(sealed),
            (true, Some(recorded)) => Seen::Recorded(recorded),
            (true, None) => {
                known.waiting.push(ticket.clone());
                Seen::Waiting
            }
        }
    }

    /// Events were sealed; gives the tickets that waited for them. Those that do not stand in the index stay here.
    pub(crate) fn sealed(
        &self,
        shard: u32,
        events: &[(EventKey, LeafIndex)],
        indexed: bool,
    ) -> Vec<(Ticket, LeafIndex)> {
        let mut state = self.state();
        let mut tickets = Vec::new();
        for (id, index) in events {
            if let Some(event) = state.events.get_mut(id) {
                event.sealed = Some(Recorded { shard, index: *index });
                tickets.extend(event.waiting.drain(..).map(|ticket| (ticket, *index)));
            }
        }
        let after = state.handed_out;
        if indexed {
            state
                .done
                .push_back((after, events.iter().map(|(id, _)| *id).collect()));
        }
        tickets
    }

    /// An event was refused; gives the tickets that waited for it.
    pub(crate) fn refused(&self, id: &EventKey) -> Vec<Ticket> {
        self.state()
            .events
            .remove(id)
            .map(|event| event.waiting)
            .unwrap_or_default()
    }
}
