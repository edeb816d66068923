//! Making a ledger: keys, vault, genesis entries, policy, and the first producer on record.
//!
//! In scope: a folder that is whole when this returns, and is not a ledger (no `ledger.toml`) before. Out of scope:
//! anything later. Trust: the operating system's randomness.

use std::path::{Component, Path, PathBuf};

use data_encoding::HEXLOWER;
use sharetrail_proof::checkpoint::{Checkpoint, log_origin, map_origin};
use sharetrail_proof::entry::Genesis;
use sharetrail_proof::hash::LeafHash;
use sharetrail_proof::name::{LedgerId, MAX_SHARDS, Name, OPERATOR, RECOVERY, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::Policy;
use sharetrail_proof::vrf::VrfSecretKey;
use zeroize::Zeroizing;

use crate::archive::{LeafWriter, TreeWriter};
use crate::bus::{BusSettings, NatsBus};
use crate::engine::Engine;
use crate::error::{At, LedgerError};
use crate::files;
use crate::folder::Folder;
use crate::keys;
use crate::ledger::{KEK_FILE, Ledger};
use crate::register::{Head, OutsideCopy, Register};
use crate::settings::Settings;
use crate::vault;

/// The recovery key, which belongs offline.
pub(crate) const RECOVERY_FILE: &str = "recovery.key";

/// What a new ledger is to be.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Its name.
    pub name: Name,
    /// How many shards, 1 to 4,096; never changes.
    pub shards: u32,
    /// The first producer; the ledger's name where none is named.
    pub producer: Option<Name>,
    /// The engine of the projections.
    pub store: String,
    /// See [`Settings::outside`].
    pub outside: Option<PathBuf>,
    /// The distributed bus; none for one in the folder.
    pub bus: Option<BusSettings>,
    /// What this host is called among others; one is made up where none is named and the bus is distributed.
    pub host: Option<Name>,
    /// Whether a bus whose settings may lose data is taken all the same.
    pub accept_risk: bool,
}

impl InitOptions {
    /// One shard, the producer named as the ledger, sled.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            shards: 1,
            producer: None,
            store: "sled".into(),
            outside: None,
            bus: None,
            host: None,
            accept_risk: false,
        }
    }
}

/// A new ledger, and where its secrets lie.
pub struct Initialised {
    /// The ledger.
    pub ledger: Ledger,
    /// The key-encryption key of the vault: back it up apart from the folder.
    pub kek: PathBuf,
    /// The recovery key: take it offline.
    pub recovery_key: PathBuf,
    /// The policy to hand out.
    pub policy: PathBuf,
    /// The folder outside of the ledger's.
    pub outside: PathBuf,
    /// What is to be known of the bus, a line each: risks that were accepted, or that it could not be looked at.
    pub notices: Vec<String>,
}

/// Makes a ledger in a folder that is empty or not there.
pub fn init(root: &Path, options: &InitOptions) -> Result<Initialised, LedgerError> {
    let producer = options.producer.clone().unwrap_or_else(|| options.name.clone());
    check(root, options, &producer)?;
    let settings = Settings {
        name: options.name.clone(),
        id: LedgerId(files::random()?),
        shards: options.shards,
        default_producer: producer.clone(),
        store: options.store.clone(),
        outside: options.outside.clone(),
        host: host_name(options)?,
        bus: options.bus.clone(),
    };
    let outside = settings.outside_folder()?;
    if resolved(&outside)?.starts_with(resolved(root)?) {
        let text = format!(
            "{} lies in the ledger's folder; keys and checkpoint copies must lie outside",
            outside.display()
        );
        return Err(LedgerError::Invalid(text));
    }
    let (nats, notices) = reach_bus(root, &settings, options.accept_risk)?;
    files::make_folder(root)?;
    let folder = Folder::new(root);
    make_folders(&folder, &outside)?;
    make_shards(&folder, &outside, &settings)?;
    TreeWriter::sync(root)?;
    if let Some(nats) = nats {
        wait_for(nats.make())?;
    }
    // From here on the folder is a ledger.
    settings.write(&folder.settings())?;
    let ledger = Ledger::open(root)?;
    let engine = Engine::start(&ledger)?;
    keys::add_producer(&engine, &producer)?;
    engine.stop()?;
    Ok(Initialised {
        ledger,
        kek: outside.join(KEK_FILE),
        recovery_key: outside.join(RECOVERY_FILE),
        policy: folder.policy(),
        outside,
        notices,
    })
}

/// What the host is called: only where there can be others.
fn host_name(options: &InitOptions) -> Result<Option<Name>, LedgerError> {
    if options.bus.is_none() {
        return Ok(None);
    }
    if let Some(host) = &options.host {
        return Ok(Some(host.clone()));
    }
    let made_up = format!("host-{}", HEXLOWER.encode(&files::random::<4>()?));
    Ok(Some(Name::new(&made_up).expect("letters, digits and a hyphen")))
}

/// Connects to the bus, if it is a distributed one, before anything is made; refuses one that may lose data.
fn reach_bus(
    root: &Path,
    settings: &Settings,
    accept_risk: bool,
) -> Result<(Option<NatsBus>, Vec<String>), LedgerError> {
    let Some(bus) = &settings.bus else {
        return Ok((None, Vec::new()));
    };
    let nats = NatsBus::connect(&settings.name, settings.shards, bus, root)?;
    let notices = match wait_for(nats.risks())? {
        Err(why) => vec![format!("cannot check how the bus keeps its data: {why}")],
        Ok(risks) if risks.is_empty() || accept_risk => risks
            .into_iter()
            .map(|risk| format!("risk accepted: {risk}"))
            .collect(),
        Ok(risks) => return Err(LedgerError::Risk(risks.join("; "))),
    };
    Ok((Some(nats), notices))
}

fn wait_for<T>(future: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let failed = |error: std::io::Error| LedgerError::Stopped(format!("no runtime: {error}"));
    runtime.map_err(failed)?.block_on(future)
}

fn check(root: &Path, options: &InitOptions, producer: &Name) -> Result<(), LedgerError> {
    if options.shards == 0 || options.shards > MAX_SHARDS {
        return Err(LedgerError::Invalid(format!(
            "a ledger has 1 to {MAX_SHARDS} shards, not {}",
            options.shards
        )));
    }
    if producer.as_str() == OPERATOR || producer.as_str() == RECOVERY {
        return Err(LedgerError::Invalid(format!(
            "{producer} is a reserved name; choose another for the producer"
        )));
    }
    if holds_anything(root)? {
        Err(LedgerError::NotEmpty(root.to_owned()))
    } else {
        Ok(())
    }
}

/// Whether there is anything in a folder; a folder that is not there holds nothing.
pub(crate) fn holds_anything(folder: &Path) -> Result<bool, LedgerError> {
    match std::fs::read_dir(folder) {
        Ok(mut items) => Ok(items.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", folder),
    }
}

/// Where a path that need not exist leads to: without `..`, and with the links of the part that exists followed.
pub(crate) fn resolved(path: &Path) -> Result<PathBuf, LedgerError> {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).at("find", path)?.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    let there = plain
        .ancestors()
        .find(|above| above.exists())
        .unwrap_or(Path::new("/"))
        .to_owned();
    let rest = plain.strip_prefix(&there).unwrap_or(Path::new(""));
    Ok(there.canonicalize().at("find", &there)?.join(rest))
}

pub(crate) fn make_folders(folder: &Folder, outside: &Path) -> Result<(), LedgerError> {
    for path in [folder.keys(), folder.vault(), folder.bus(), folder.outbox()] {
        files::make_private_folder(&path)?;
    }
    files::make_private_folder(outside)
}

fn make_shards(folder: &Folder, outside: &Path, settings: &Settings) -> Result<(), LedgerError> {
    let seed = Zeroizing::new(files::random::<32>()?);
    files::write_private(&folder.keys().join(keys::VRF_FILE), &vault::vrf_text(&seed))?;
    files::write_private(&outside.join(KEK_FILE), &vault::kek_text()?)?;
    let operator = keys::make(&folder.keys().join(keys::producer_file(OPERATOR)), OPERATOR)?;
    let recovery = keys::make(&outside.join(RECOVERY_FILE), RECOVERY)?;
    let vrf = VrfSecretKey::from_seed(&seed).public();
    let mut logs = Vec::new();
    for shard in Shard::all(settings.shards) {
        let signer = keys::make(
            &folder.keys().join(keys::log_file(shard.index())),
            &log_origin(&settings.name, shard),
        )?;
        logs.push(signer.verifier().clone());
        let mapper = keys::make(
            &folder.keys().join(keys::map_file(shard.index())),
            &map_origin(&settings.name, shard),
        )?;
        logs.push(mapper.verifier().clone());
        let (operator, recovery) = (operator.verifier().clone(), recovery.verifier().clone());
        let genesis = Genesis {
            ledger: settings.name.clone(),
            id: settings.id,
            shard,
            vrf,
            operator,
            recovery,
        };
        first_leaf(folder, outside, &genesis, &signer)?;
    }
    let policy = Policy::new(settings.name.clone(), settings.id, logs);
    files::replace(&folder.policy(), policy.to_string().as_bytes(), 0o644)
}

/// Puts the genesis entry on record, by the same steps as the sequencer's.
pub(crate) fn first_leaf(
    folder: &Folder,
    outside: &Path,
    genesis: &Genesis,
    signer: &NoteSigner,
) -> Result<(), LedgerError> {
    let (shard, entry) = (genesis.shard.index(), genesis.to_bytes());
    let log = folder.log(shard);
    files::make_folder(&log)?;
    let mut leaves = LeafWriter::open(&folder.sealed(shard), sharetrail_proof::hash::TreeSize(0))?;
    leaves.push(&entry, &[])?;
    leaves.commit()?;
    let mut tree = TreeWriter::new(&log);
    tree.extend(&[&entry], &[LeafHash::of(&entry)])?;
    tree.write_partials()?;
    let text = Checkpoint::new(
        log_origin(&genesis.ledger, genesis.shard),
        tree.size(),
        tree.root(),
    )
    .to_text();
    let (mut register, _) = Register::open(&folder.register(shard))?;
    register.decide(&Head {
        checkpoint: text.clone(),
        cursor: None,
    })?;
    OutsideCopy::open(outside, shard)?.0.keep(&text)?;
    files::replace(&folder.checkpoint(shard), signer.sign(&text).as_bytes(), 0o644)
}
