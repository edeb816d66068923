//! The public files of a ledger in a folder of their own, to be forged by whoever has the ledger's keys.
//!
//! In scope: reading and writing both logs of a shard as an operator can, honest or not: trees, maps, signatures. Out of
//! scope: what an audit says about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use sharetrail_consumers::audit::{
    Audit, AuditError, AuditOptions, AuditReport, Fault, FaultKind, Source, audit,
};
use sharetrail_ledger::map::MapTree;
use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::checkpoint::{Checkpoint, log_origin, map_origin};
use sharetrail_proof::entry::{BATCH, Entry};
use sharetrail_proof::hash::{Hash, LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::Shard;
use sharetrail_proof::note::{Note, NoteSigner};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tiles::{Bundle, append_entry, bundles_between, parse_bundle, tiles_between};
use sharetrail_proof::tree::{CompactRange, root_of};
use tempfile::TempDir;

use crate::support::{TestLedger, copy_tree, name};

/// Long after anything that a test puts on record.
pub(crate) const LATER: u64 = 4_000_000_000;

/// A copy of what a ledger serves, with its keys beside.
pub(crate) struct Site {
    pub(crate) root: PathBuf,
    keys: PathBuf,
    shards: u32,
    _folder: TempDir,
}

impl Site {
    pub(crate) fn of(place: &TestLedger) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("site");
        for part in ["log", "map"] {
            copy_tree(&place.root.join(part), &root.join(part));
        }
        fs::copy(place.root.join("policy"), root.join("policy")).unwrap();
        Self {
            root,
            keys: place.root.join("keys"),
            shards: place.open().shards(),
            _folder: folder,
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        fs::read_to_string(self.root.join("policy"))
            .unwrap()
            .parse()
            .unwrap()
    }

    pub(crate) fn key(&self, file: &str) -> NoteSigner {
        NoteSigner::parse(&fs::read_to_string(self.keys.join(file)).unwrap()).unwrap()
    }

    pub(crate) fn folder(&self, log: &str, shard: u32) -> PathBuf {
        self.root.join(log).join(shard.to_string())
    }

    /// The entries of a log.
    pub(crate) fn entries(&self, log: &str, shard: u32) -> Vec<Vec<u8>> {
        let folder = self.folder(log, shard);
        let note = fs::read_to_string(folder.join("checkpoint")).unwrap();
        let size = Checkpoint::parse(Note::parse(&note).unwrap().text())
            .unwrap()
            .size;
        let mut entries = Vec::new();
        for bundle in bundles_between(TreeSize(0), size) {
            let bytes = fs::read(folder.join(bundle.to_string())).unwrap();
            let parsed = parse_bundle(&bytes, bundle.width()).unwrap();
            entries.extend(parsed.into_iter().map(<[u8]>::to_vec));
        }
        entries
    }

    /// The leaves of a map log.
    pub(crate) fn map_leaves(&self, shard: u32) -> Vec<MapLeaf> {
        let entries = self.entries("map", shard).into_iter();
        let leaf = |entry: Vec<u8>| MapLeaf::parse(std::str::from_utf8(&entry).unwrap()).unwrap();
        entries.map(leaf).collect()
    }

    /// Puts a whole record log in the place of the shard's, signed.
    pub(crate) fn write_log(&self, shard: u32, entries: &[Vec<u8>]) {
        let origin = log_origin(&name("shop.example"), Shard::new(shard, self.shards).unwrap());
        let key = self.key(&format!("log-{shard}.key"));
        write_tree(&self.folder("log", shard), entries, &origin, &key);
    }

    /// Puts a whole map log in the place of the shard's, signed.
    pub(crate) fn write_map_log(&self, shard: u32, leaves: &[MapLeaf]) {
        let origin = map_origin(&name("shop.example"), Shard::new(shard, self.shards).unwrap());
        let key = self.key(&format!("map-{shard}.key"));
        let entries: Vec<Vec<u8>> = leaves.iter().map(|leaf| leaf.to_text().into_bytes()).collect();
        write_tree(&self.folder("map", shard), &entries, &origin, &key);
    }

    /// The map leaf of the record log's first `size` entries, of which the map leaves out what `hides` says.
    pub(crate) fn map_leaf(
        &self,
        shard: u32,
        entries: &[Vec<u8>],
        time: u64,
        hides: impl Fn(usize) -> bool,
    ) -> MapLeaf {
        let folder = tempfile::tempdir().unwrap();
        let mut map = MapTree::open(folder.path()).unwrap();
        let mut updates = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            let label = Entry::parse(entry).ok().and_then(|entry| entry.label());
            if let Some(label) = label.filter(|_| !hides(index)) {
                updates.push((label, LeafHash::of(entry)));
            }
        }
        map.apply(&mut updates).unwrap();
        let origin = log_origin(&name("shop.example"), Shard::new(shard, self.shards).unwrap());
        MapLeaf {
            root: map.root(),
            labels: map.labels(),
            time,
            checkpoint: Checkpoint::new(origin, TreeSize(entries.len() as u64), root(entries)),
        }
    }

    /// Puts another record log and a map log of one leaf over all of it in the place of the shard's.
    pub(crate) fn replace(&self, shard: u32, entries: &[Vec<u8>]) {
        self.write_log(shard, entries);
        self.write_map_log(shard, &[self.map_leaf(shard, entries, 1_800_000_000, |_| false)]);
    }

    /// Audits in a state folder.
    pub(crate) fn audit_in(&self, state: &Path) -> AuditReport {
        run(&self.root, &self.policy(), state, LATER, false).unwrap()
    }

    /// Audits from nothing.
    pub(crate) fn audit(&self) -> AuditReport {
        self.audit_in(tempfile::tempdir().unwrap().path())
    }
}

/// Audits a folder, saving wherever that is possible.
pub(crate) fn run(
    folder: &Path,
    policy: &Policy,
    state: &Path,
    now: u64,
    stop: bool,
) -> Result<AuditReport, AuditError> {
    let source = Source::folder(folder);
    with(&source, policy, state, now, stop, |audit| audit.report().clone())
}

/// Audits, and looks at what came of it. `stop`: tells it to stop before it has begun.
pub(crate) fn with<T>(
    source: &Source,
    policy: &Policy,
    state: &Path,
    now: u64,
    stop: bool,
    look: impl FnOnce(&mut Audit<'_>) -> T,
) -> Result<T, AuditError> {
    let flag = AtomicBool::new(stop);
    let progress = |done: u64, total: u64| assert!(done <= total, "{done} of {total}");
    let mut options = AuditOptions::new(state, now, &flag, &progress);
    options.save_after = 1;
    let mut audited = audit(source, policy, &options)?;
    Ok(look(&mut audited))
}

/// Kind, shard and index of each fault.
pub(crate) fn places(faults: &[Fault]) -> Vec<(FaultKind, u32, u64)> {
    let place = |fault: &Fault| {
        (
            fault.kind,
            fault.shard.unwrap_or(u32::MAX),
            fault.index.unwrap_or(u64::MAX),
        )
    };
    faults.iter().map(place).collect()
}

pub(crate) fn root(entries: &[Vec<u8>]) -> Hash {
    root_of(
        &entries
            .iter()
            .map(|entry| LeafHash::of(entry))
            .collect::<Vec<_>>(),
    )
}

/// The index of the last batch entry, and what its note says.
pub(crate) fn last_batch(entries: &[Vec<u8>]) -> (usize, Batch) {
    let at = entries.iter().rposition(|entry| entry[0] == BATCH).unwrap();
    (at, batch_at(entries, at))
}

pub(crate) fn batch_at(entries: &[Vec<u8>], at: usize) -> Batch {
    let note = std::str::from_utf8(&entries[at][1..]).unwrap();
    Batch::parse(Note::parse(note).unwrap().text()).unwrap()
}

/// The hash that the next batch of the chain must name.
pub(crate) fn hash_at(entries: &[Vec<u8>], at: usize) -> Hash {
    let note = std::str::from_utf8(&entries[at][1..]).unwrap();
    text_hash(Note::parse(note).unwrap().text())
}

/// The batch entry of a batch that `key` signs.
pub(crate) fn batch_entry(batch: &Batch, key: &NoteSigner) -> Vec<u8> {
    [[BATCH].as_slice(), key.sign(&batch.to_text()).as_bytes()].concat()
}

fn write_tree(folder: &Path, entries: &[Vec<u8>], origin: &str, key: &NoteSigner) {
    fs::remove_dir_all(folder).unwrap();
    let mut levels: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut range = CompactRange::new();
    for entry in entries {
        range.push_with(LeafHash::of(entry), &mut |level, _, hash| {
            if level % 8 == 0 {
                levels.entry(level / 8).or_default().extend(hash.0);
            }
        });
    }
    let size = range.size();
    for tile in tiles_between(TreeSize(0), size) {
        let start = usize::try_from(tile.index()).unwrap() * 256 * 32;
        let bytes = &levels[&tile.level()][start..start + tile.byte_len()];
        write(&folder.join(tile.to_string()), bytes);
    }
    for bundle in bundles_between(TreeSize(0), size) {
        write(&folder.join(bundle.to_string()), &bundle_of(entries, bundle));
    }
    let text = Checkpoint::new(origin.to_owned(), size, range.root()).to_text();
    write(&folder.join("checkpoint"), key.sign(&text).as_bytes());
}

fn bundle_of(entries: &[Vec<u8>], bundle: Bundle) -> Vec<u8> {
    let first = usize::try_from(bundle.index()).unwrap() * 256;
    let mut bytes = Vec::new();
    for entry in &entries[first..first + usize::from(bundle.width())] {
        append_entry(&mut bytes, entry).unwrap();
    }
    bytes
}

pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}
