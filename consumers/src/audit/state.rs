//! What an audit keeps between two runs, so that an interrupted one goes on and the next looks only at what is new.
//!
//! ```text
//! audit.json        which ledger this is about
//! lock              held by the audit at work
//! <shard>/map/      the customer map, as far as it was computed
//! <shard>/at-…      the fold of the record log up to the same leaf; the map's mark names the file, and its hash
//! <shard>/seen      the checkpoints that were found right when the shard was last audited to its end
//! samples/<hash>    samples that were drawn
//! ```
//! In scope: saving and loading these so that they fit together after any interruption. Out of scope: what is in them.
//! Trust: the folder is the auditor's own, and is believed like the program.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sharetrail_ledger::files;
use sharetrail_ledger::map::MapTree;
use sharetrail_proof::acceptance::LogState;
use sharetrail_proof::dossier::Base64;
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::name::{Label, LedgerId, Name};

use super::error::{At, AuditError};
use super::fault::Faults;
use super::mapped::Passed;
use super::report::Counts;

const FORMAT: &str = "sharetrail.org/audit@v1";
const MODE: u32 = 0o600;

/// Whose audit this is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: String,
    ledger: Name,
    id: LedgerId,
    shards: u32,
}

/// Size and root of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stood {
    pub(crate) size: u64,
    pub(crate) root: Hash,
}

/// The checkpoints of a shard that an audit found right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) record: Option<Stood>,
    pub(crate) map: Option<Stood>,
}

/// A registry entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryLeaf {
    pub(crate) index: u64,
    pub(crate) hash: Hash,
    /// When it was written, by the operator's clock.
    pub(crate) time: u64,
}

/// The fold of a shard at the end of a batch, where the map is level with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) counts: Counts,
    pub(crate) record: Vec<Hash>,
    /// None where leaf 0 is no genesis entry.
    pub(crate) state: Option<LogState>,
    /// The bytes of leaf 0, where they are a genesis entry.
    pub(crate) genesis: Option<Base64>,
    pub(crate) registry: Vec<RegistryLeaf>,
    pub(crate) map: Vec<Hash>,
    pub(crate) passed: Passed,
    /// See `Mapped::doubted`.
    pub(crate) doubted: Vec<(u64, TreeSize, Hash)>,
    pub(crate) faults: Faults,
}

/// A label of a sample, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Drawn {
    pub(crate) rank: u64,
    pub(crate) shard: u32,
    pub(crate) label: Label,
    pub(crate) count: u64,
}

/// The state folder, held by this process.
#[derive(Debug)]
pub(crate) struct StateFolder {
    root: PathBuf,
    _lock: File,
}

impl StateFolder {
    /// Opens or makes the folder for the audits of one ledger.
    ///
    /// # Errors
    /// [`AuditError::State`] if it is another ledger's, or in use.
    pub(crate) fn open(root: &Path, ledger: &Name, id: LedgerId, shards: u32) -> Result<Self, AuditError> {
        files::make_folder(root)?;
        let lock = lock(root)?;
        let about = About {
            format: FORMAT.into(),
            ledger: ledger.clone(),
            id,
            shards,
        };
        let path = root.join("audit.json");
        match read::<About>(&path)? {
            Some(found) if found != about => {
                let what = format!(
                    "is of the ledger {} ({}), not {ledger} ({id}); name another folder",
                    found.ledger, found.id
                );
                return Err(wrong(root, what));
            }
            Some(_) => {}
            None => {
                nothing_else_in(root)?;
                write(&path, &about)?;
            }
        }
        Ok(Self {
            root: root.to_owned(),
            _lock: lock,
        })
    }

    /// The part of a shard.
    pub(crate) fn shard(&self, shard: u32) -> Result<ShardState, AuditError> {
        let folder = self.root.join(shard.to_string());
        files::make_folder(&folder)?;
        Ok(ShardState { folder })
    }

    fn sample_path(&self, name: &Hash) -> PathBuf {
        self.root.join("samples").join(HEXLOWER.encode(&name.0))
    }

    /// A sample that was drawn before.
    pub(crate) fn sample(&self, name: &Hash) -> Result<Option<Vec<Drawn>>, AuditError> {
        read(&self.sample_path(name))
    }

    /// Keeps a sample.
    pub(crate) fn keep_sample(&self, name: &Hash, sample: &[Drawn]) -> Result<(), AuditError> {
        files::make_folder(&self.root.join("samples"))?;
        write(&self.sample_path(name), &sample)
    }
}

/// What is kept of one shard.
#[derive(Debug)]
pub(crate) struct ShardState {
    folder: PathBuf,
}

impl ShardState {
    /// Where the shard's customer map is computed.
    pub(crate) fn map_folder(&self) -> PathBuf {
        self.folder.join("map")
    }

    /// Map and fold of the last save. What does not fit together is dropped: the audit then begins anew.
    pub(crate) fn load(&self) -> Result<(MapTree, Option<Saved>), AuditError> {
        let map = self.map_folder();
        if let Ok(tree) = MapTree::open(&map)
            && let Some(saved) = self.saved(tree.mark())
        {
            return Ok((tree, Some(saved)));
        }
        MapTree::clear(&map)?;
        Ok((MapTree::open(&map)?, None))
    }

    fn saved(&self, mark: &[u8]) -> Option<Saved> {
        let name = std::str::from_utf8(mark).ok().filter(|name| !name.is_empty())?;
        let bytes = fs::read(self.folder.join(name)).ok()?;
        let saved: Saved = serde_json::from_slice(&bytes).ok()?;
        (name == name_of(&saved, &bytes)).then_some(saved)
    }

    /// Saves the fold, and the map that is level with it.
    pub(crate) fn save(&self, tree: &mut MapTree, saved: &Saved) -> Result<(), AuditError> {
        let bytes = serde_json::to_vec(saved).map_err(|error| wrong(&self.folder, error.to_string()))?;
        let name = name_of(saved, &bytes);
        files::replace(&self.folder.join(&name), &bytes, MODE)?;
        // From here on the map names this fold.
        tree.commit(name.as_bytes())?;
        let items = fs::read_dir(&self.folder).at("read", &self.folder)?;
        for item in items.filter_map(Result::ok) {
            let other = item.file_name();
            if other.to_string_lossy().starts_with("at-") && other != name.as_str() {
                fs::remove_file(item.path()).at("remove", &item.path())?;
            }
        }
        Ok(())
    }

    /// The checkpoints that the last audit found right.
    pub(crate) fn seen(&self) -> Result<Seen, AuditError> {
        Ok(read(&self.folder.join("seen"))?.unwrap_or_default())
    }

    /// Keeps the checkpoints that this audit found right.
    pub(crate) fn set_seen(&self, seen: &Seen) -> Result<(), AuditError> {
        write(&self.folder.join("seen"), seen)
    }
}

/// The file that a fold is saved in: its size, and the hash of its bytes.
fn name_of(saved: &Saved, bytes: &[u8]) -> String {
    let hash = HEXLOWER.encode(&Hash::of(&[bytes]).0);
    format!("at-{}-{hash}", saved.counts.entries)
}

fn wrong(path: &Path, what: impl Into<String>) -> AuditError {
    AuditError::State {
        path: path.to_owned(),
        what: what.into(),
    }
}

/// A folder that is used for something else is not filled with files by mistake.
fn nothing_else_in(root: &Path) -> Result<(), AuditError> {
    let items = fs::read_dir(root).at("read", root)?;
    let is_other = |item: &fs::DirEntry| item.file_name() != "lock";
    if items.filter_map(Result::ok).any(|item| is_other(&item)) {
        return Err(wrong(
            root,
            "is none of an audit, and not empty; name another folder",
        ));
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, AuditError> {
    let path = root.join("lock");
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(&path);
    let file = file.at("open", &path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(wrong(root, "is in use by another audit; wait until it ends")),
        Err(TryLockError::Error(error)) => Err(error).at("lock", &path),
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, AuditError> {
    let Some(bytes) = files::read_if_there(path)? else {
        return Ok(None);
    };
    let value = serde_json::from_slice(&bytes);
    value
        .map(Some)
        .map_err(|error| wrong(path, format!("cannot be read ({error}); delete it to begin anew")))
}

fn write(path: &Path, value: &impl Serialize) -> Result<(), AuditError> {
    let bytes = serde_json::to_vec(value).map_err(|error| wrong(path, error.to_string()))?;
    Ok(files::replace(path, &bytes, MODE)?)
}
