//! A ledger's folder, opened.
//!
//! In scope: finding the parts. Opening writes nothing and holds nothing; several processes may.
//! Out of scope: sequencing ([`crate::Engine`]). Trust: settings, keys and policy are the operator's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sharetrail_proof::batch::text_hash;
use sharetrail_proof::entry::{Entry, Genesis};
use sharetrail_proof::hash::{Hash, LeafIndex};
use sharetrail_proof::name::{ChainId, LedgerId, Name};
use sharetrail_proof::note::Note;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::registry::Registry;

use crate::archive::{LeafFiles, Reader};
use crate::bus::NatsBus;
use crate::error::{At, LedgerError};
use crate::facts::Facts;
use crate::folder::Folder;
use crate::keys;
use crate::mapper::MapReader;
use crate::register::Register;
use crate::sequencer::state_at;
use crate::settings::Settings;
use crate::vault::{Vault, VaultPaths};

struct Inner {
    folder: Folder,
    settings: Settings,
    facts: Arc<Facts>,
}

/// A ledger's folder, opened; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

impl Ledger {
    /// Opens a folder that [`crate::init`] made.
    pub fn open(root: &Path) -> Result<Self, LedgerError> {
        let folder = Folder::new(root);
        if !folder.settings().exists() {
            return Err(LedgerError::NotALedger(root.to_owned()));
        }
        let settings = Settings::read(&folder.settings())?;
        let genesis = (0..settings.shards)
            .map(|shard| genesis(&folder, shard, &settings))
            .collect::<Result<_, _>>()?;
        let facts = Arc::new(Facts {
            name: settings.name.clone(),
            id: settings.id,
            genesis,
        });
        Ok(Self {
            inner: Arc::new(Inner {
                folder,
                settings,
                facts,
            }),
        })
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.inner.folder
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        self.inner.folder.root()
    }

    /// What `ledger.toml` says.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// Writes `ledger.toml` with another engine for the projections.
    pub fn set_store(&self, store: &str) -> Result<(), LedgerError> {
        let settings = Settings {
            store: store.to_owned(),
            ..self.settings().clone()
        };
        settings.write(&self.folder().settings())
    }

    /// The ledger's name.
    pub fn name(&self) -> &Name {
        &self.inner.settings.name
    }

    /// The ledger's id.
    pub fn id(&self) -> &LedgerId {
        &self.inner.settings.id
    }

    /// The number of shards.
    pub fn shards(&self) -> u32 {
        self.inner.settings.shards
    }

    /// What never changes of the ledger.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.inner.facts
    }

    /// The genesis entry of a shard that exists.
    ///
    /// # Panics
    /// If `shard` is not below [`Ledger::shards`].
    pub fn genesis(&self, shard: u32) -> &Genesis {
        &self.inner.facts.genesis[shard as usize]
    }

    /// What this host is called among others that work on the ledger.
    pub(crate) fn host(&self) -> Result<Name, LedgerError> {
        let missing = || {
            LedgerError::Invalid(
                "ledger.toml does not say what this host is called; add `host = \"…\"`".into(),
            )
        };
        self.settings().host.clone().ok_or_else(missing)
    }

    /// Connects to the distributed bus that `ledger.toml` names.
    pub fn connect(&self) -> Result<NatsBus, LedgerError> {
        let missing = || {
            LedgerError::Invalid(
                "the bus of this ledger lies in its folder; there is none to connect to".into(),
            )
        };
        let bus = self.settings().bus.as_ref().ok_or_else(missing)?;
        NatsBus::connect(self.name(), self.shards(), bus, self.root())
    }

    /// The trust policy to hand out.
    pub fn policy(&self) -> Result<Policy, LedgerError> {
        let path = self.folder().policy();
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        text.parse()
            .map_err(|error: sharetrail_proof::policy::PolicyError| {
                LedgerError::damaged(&path, None, error.to_string())
            })
    }

    /// Where projections lie.
    pub fn projections(&self) -> PathBuf {
        self.folder().projections()
    }

    /// A shard's archive at the checkpoint that is published now.
    pub fn reader(&self, shard: u32) -> Result<Reader, LedgerError> {
        Reader::open(shard, &self.folder().log(shard), &self.folder().sealed(shard))
    }

    /// A shard's customer map at the last root that was sealed; none where none was yet.
    pub fn map_reader(&self, shard: u32) -> Result<Option<MapReader>, LedgerError> {
        MapReader::open(self, shard)
    }

    /// The registry as shard 0's log has it at its published checkpoint.
    pub fn registry(&self) -> Result<Registry, LedgerError> {
        let size = self.reader(0)?.size();
        Ok(state_at(self.folder(), 0, size)?.registry().clone())
    }

    /// Where batch `number` of a chain is, once it is on record.
    pub fn batch_index(&self, shard: u32, chain: ChainId, number: u64) -> Result<LeafIndex, LedgerError> {
        Register::batch_in(&self.folder().register(shard), chain, number)
    }

    /// Where batch `number` of a chain is, if what the log holds there is the note whose text has this hash.
    pub fn find_batch(
        &self,
        shard: u32,
        chain: ChainId,
        number: u64,
        hash: &Hash,
    ) -> Result<Option<LeafIndex>, LedgerError> {
        let index = self.batch_index(shard, chain, number)?;
        let leaf = LeafFiles::new(&self.folder().sealed(shard)).leaf(index)?;
        let note = leaf
            .entry
            .get(1..)
            .and_then(|note| std::str::from_utf8(note).ok());
        let note = note.and_then(|note| Note::parse(note).ok());
        Ok(note.filter(|note| text_hash(note.text()) == *hash).map(|_| index))
    }

    /// The folder of a producer's outbox.
    pub fn outbox(&self, producer: &Name) -> PathBuf {
        self.folder().outbox().join(producer.as_str())
    }

    /// The vault, for reading; also while another process writes to it.
    pub fn vault(&self) -> Result<Vault, LedgerError> {
        self.open_vault(false)
    }

    pub(crate) fn open_vault(&self, writable: bool) -> Result<Vault, LedgerError> {
        let (folder, kek) = (self.folder().vault(), self.outside()?.join(KEK_FILE));
        let vrf = self.folder().keys().join(keys::VRF_FILE);
        let paths = VaultPaths {
            folder: &folder,
            kek: &kek,
            vrf: &vrf,
        };
        if !kek.exists() {
            let text = format!(
                "no key-encryption key at {}; if it lies elsewhere, set SHARETRAIL_HOME",
                kek.display()
            );
            return Err(LedgerError::Vault(text));
        }
        let vault = Vault::open(self.name(), *self.id(), &paths, writable)?;
        if vault.vrf() == self.genesis(0).vrf {
            return Ok(vault);
        }
        Err(LedgerError::damaged(
            &vrf,
            None,
            "not the label key that the genesis entry names",
        ))
    }

    /// The folder outside of this one: key-encryption key, recovery key, copies of the last checkpoints.
    pub fn outside(&self) -> Result<PathBuf, LedgerError> {
        self.settings().outside_folder()
    }
}

pub(crate) const KEK_FILE: &str = "vault.kek";
/// Beside it while it is being exchanged.
pub(crate) const KEK_NEXT_FILE: &str = "vault.kek.next";

fn genesis(folder: &Folder, shard: u32, settings: &Settings) -> Result<Genesis, LedgerError> {
    let path = folder.sealed(shard);
    let leaf = LeafFiles::new(&path).genesis()?;
    match Entry::parse(&leaf.entry) {
        Ok(Entry::Genesis(genesis)) if genesis.ledger == settings.name && genesis.id == settings.id => {
            Ok(*genesis)
        }
        _ => Err(LedgerError::damaged(
            &path,
            Some(0),
            "leaf 0 is not the genesis entry that ledger.toml names",
        )),
    }
}
