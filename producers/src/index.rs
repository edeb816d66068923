//! What this producer has recorded: a keyed hash of source and id → leaf. On disk, of bounded memory. Where the log and
//! the vault are at hand it is made again from them when it is lost; where they are not, it is all that is known here of
//! what was recorded, and a row also holds a keyed hash of the content.
//!
//! ```text
//! row: 16 event key → u32 shard ‖ u64 leaf index [‖ 16 content MAC]
//! ```
//! In scope: finding a repeat, following the log. Out of scope: events on their way ([`crate::moving`]), comparing
//! contents. Trust: whoever finds a leaf here compares the content; a wrong row costs a repeat or a refusal,
//! never a false record.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sharetrail_ledger::{Ledger, Reader, Vault, files};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::customer::Sealer;
use sharetrail_proof::entry::{BATCH, Entry};
use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize};
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::Note;

use crate::error::PublishError;
use crate::outbox::{ContentMac, EventKey, EventName};

/// Beside the index.
const KEY_FILE: &str = "index.key";
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
    /// Of its content, where that was noted.
    pub(crate) mac: Option<ContentMac>,
}

/// An event that is on record, for the index.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: EventName,
    pub(crate) index: LeafIndex,
}

/// The index on disk.
pub(crate) struct Index {
    folder: PathBuf,
    rows: Keyspace,
    db: Database,
    /// Whether events are missing from it, so that its cursor must not move.
    broken: AtomicBool,
    keys: Hmac<Sha256>,
    kind: Kind,
    /// Held as long as the outbox has a user.
    #[expect(dead_code, reason = "held, never read")]
    lock: Arc<File>,
}

/// What an index holds and hangs on.
#[derive(Clone, Copy)]
struct Kind {
    /// Whether rows hold the content's MAC.
    macs: bool,
    /// Whether it can be made again from a log.
    is_derived: bool,
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
    /// anew. `macs`: whether rows hold the content's MAC, for whoever cannot read the archive.
    pub(crate) fn open(sources: Sources<'_>, lock: &Arc<File>, macs: bool) -> Result<Self, PublishError> {
        let outbox = sources.ledger.outbox(sources.producer);
        let folder = outbox.join("index");
        let kind = Kind {
            macs,
            is_derived: true,
        };
        let known = read_key(&outbox, kind)?;
        let is_new = known.is_none();
        let key = known.map_or_else(|| make_key(&outbox), Ok)?;
        if !is_new
            && let Ok(index) = Self::open_folder(&folder, &key, lock, kind)
            && index.fits(sources.ledger).unwrap_or(false)
            && index.follow(sources).is_ok()
        {
            return Ok(index);
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|error| failed(&folder, &error, kind))?;
        }
        let index = Self::open_folder(&folder, &key, lock, kind)?;
        index.follow(sources)?;
        Ok(index)
    }

    /// Opens the index of a producer where there is no log to follow, and says whether one had to be made: only where none
    /// is there. One that cannot be read is left as it is, because nothing else tells what was recorded.
    pub(crate) fn open_alone(outbox: &Path, lock: &Arc<File>) -> Result<(Self, bool), PublishError> {
        let folder = outbox.join("index");
        let kind = Kind {
            macs: true,
            is_derived: false,
        };
        let is_there = folder
            .try_exists()
            .map_err(|error| failed(&folder, &error, kind))?;
        let key = match read_key(outbox, kind)? {
            Some(key) => key,
            None if is_there => {
                return Err(failed(&folder, &"its key, index.key beside it, is missing", kind));
            }
            None => make_key(outbox)?,
        };
        Ok((Self::open_folder(&folder, &key, lock, kind)?, !is_there))
    }

    fn open_folder(
        folder: &Path,
        key: &[u8; 32],
        lock: &Arc<File>,
        kind: Kind,
    ) -> Result<Self, PublishError> {
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
        let (db, rows) = open().map_err(|error: fjall::Error| failed(folder, &error, kind))?;
        let keys = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Ok(Self {
            folder: folder.to_owned(),
            rows,
            db,
            broken: AtomicBool::new(false),
            keys,
            kind,
            lock: Arc::clone(lock),
        })
    }

    /// Whether rows hold the content's MAC.
    pub(crate) fn holds_macs(&self) -> bool {
        self.kind.macs
    }

    /// The key under which an event stands.
    pub(crate) fn key(&self, source: &str, id: &str) -> EventKey {
        let mut mac = self.keys.clone();
        mac.update(&(source.len() as u64).to_be_bytes());
        mac.update(source.as_bytes());
        mac.update(id.as_bytes());
        first_half(mac)
    }

    /// Tells a content from another. No source is so long that a key could be hashed from the same bytes.
    pub(crate) fn content_mac(&self, content: &[u8]) -> ContentMac {
        let mut mac = self.keys.clone();
        mac.update(b"content");
        mac.update(content);
        first_half(mac)
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> PublishError {
        failed(&self.folder, error, self.kind)
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
                _ if ours => found.extend(opener.name(self, entry, sealed).map(|name| Row { name, index })),
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
        events: &[Row],
        cursor: Option<(TreeSize, Hash)>,
    ) -> Result<(), PublishError> {
        let mut batch = self.db.batch();
        for Row { name, index } in events {
            let mut value = shard.to_be_bytes().to_vec();
            value.extend(index.0.to_be_bytes());
            if self.kind.macs {
                value.extend(name.mac);
            }
            batch.insert(&self.rows, &name.key[..], value);
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

    /// Makes all rows last, also over a power loss: where there is no log to make them again from.
    pub(crate) fn persist_on_disk(&self) -> Result<(), PublishError> {
        self.db
            .persist(PersistMode::SyncData)
            .map_err(|error| self.failed(&error))
    }
}

fn first_half(mac: Hmac<Sha256>) -> [u8; 16] {
    let tag: [u8; 32] = mac.finalize().into_bytes().into();
    let mut half = [0; 16];
    half.copy_from_slice(&tag[..16]);
    half
}

/// Opens contents to learn what they are called.
struct Opener<'a> {
    sources: Sources<'a>,
    sealers: HashMap<Label, Option<Sealer>>,
}

impl Opener<'_> {
    fn name(&mut self, index: &Index, entry: &[u8], sealed: &[u8]) -> Option<EventName> {
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
        let mac = if index.kind.macs {
            index.content_mac(&opened.content)
        } else {
            ContentMac::default()
        };
        Some(EventName {
            key: index.key(content.source(), content.id()),
            mac,
        })
    }
}

/// The key of the index; nothing if it was never made. What else is wrong is told: under another key, nothing that was
/// recorded would be found, nor what still waits in the outbox.
fn read_key(outbox: &Path, kind: Kind) -> Result<Option<[u8; 32]>, PublishError> {
    let path = outbox.join(KEY_FILE);
    let wrong = |what: &dyn std::fmt::Display| {
        let what = format!("its key {} {what}; move that away too", path.display());
        failed(&outbox.join("index"), &what, kind)
    };
    match std::fs::read(&path) {
        Ok(bytes) => match bytes.as_slice().try_into() {
            Ok(key) => Ok(Some(key)),
            Err(_) => Err(wrong(&format!("has {} bytes where 32 are due", bytes.len()))),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&format!("cannot be read: {error}"))),
    }
}

fn make_key(outbox: &Path) -> Result<[u8; 32], PublishError> {
    let key = files::random::<32>()?;
    files::replace(&outbox.join(KEY_FILE), &key, 0o600)?;
    Ok(key)
}

fn failed(folder: &Path, error: &dyn std::fmt::Display, kind: Kind) -> PublishError {
    PublishError::Index {
        folder: folder.to_owned(),
        reason: error.to_string(),
        is_derived: kind.is_derived,
    }
}

/// Longer than an entry id, so that no event has it.
fn shard_key(shard: u32) -> Vec<u8> {
    let mut key = b"cursor of the shard ".to_vec();
    key.extend(shard.to_be_bytes());
    key
}

fn parse_recorded(value: &[u8]) -> Option<Recorded> {
    let (shard, rest) = value.split_first_chunk::<4>()?;
    let (index, mac) = rest.split_first_chunk::<8>()?;
    let mac = match mac {
        [] => None,
        mac => Some(mac.try_into().ok()?),
    };
    Some(Recorded {
        shard: u32::from_be_bytes(*shard),
        index: LeafIndex(u64::from_be_bytes(*index)),
        mac,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(outbox: &Path) -> Result<(Index, bool), PublishError> {
        let lock = Arc::new(crate::outbox::lock(outbox).unwrap());
        Index::open_alone(outbox, &lock)
    }

    fn is_left_alone(opened: &Result<(Index, bool), PublishError>) -> bool {
        matches!(
            opened,
            Err(PublishError::Index {
                is_derived: false,
                ..
            })
        )
    }

    /// The fault: an index that cannot be read just now is deleted, and with it all that tells a repeat.
    #[test]
    fn an_index_without_a_log_is_made_only_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (outbox, key_file) = (folder.path(), folder.path().join(KEY_FILE));
        let (index, was_made) = open(outbox).unwrap();
        let key = index.key("https://shop.example/", "e-1");
        let name = EventName { key, mac: [7; 16] };
        let index_of = LeafIndex(5);
        index
            .insert(
                0,
                &[Row {
                    name,
                    index: index_of,
                }],
                None,
            )
            .unwrap();
        index.persist_on_disk().unwrap();
        drop(index);
        assert!(was_made);
        let whole = std::fs::read(&key_file).unwrap();
        for wrong in [&b"short"[..], b"", &[1; 33]] {
            std::fs::write(&key_file, wrong).unwrap();
            assert!(is_left_alone(&open(outbox)));
            assert_eq!(std::fs::read(&key_file).unwrap(), wrong);
        }
        std::fs::remove_file(&key_file).unwrap();
        assert!(is_left_alone(&open(outbox)) && !key_file.exists());
        std::fs::write(&key_file, whole).unwrap();
        let (index, was_made) = open(outbox).unwrap();
        let found = index.get(&key).unwrap().unwrap();
        assert_eq!(
            (found.index, found.mac, was_made),
            (index_of, Some([7; 16]), false)
        );
        drop(index);
        std::fs::remove_dir_all(outbox.join("index")).unwrap();
        std::fs::write(outbox.join("index"), b"no folder").unwrap();
        assert!(is_left_alone(&open(outbox)));
        assert_eq!(std::fs::read(outbox.join("index")).unwrap(), b"no folder");
        std::fs::remove_file(outbox.join("index")).unwrap();
        assert!(open(outbox).unwrap().1);
    }
}
