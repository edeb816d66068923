//! A producer's credentials: the folder that the operator writes and a person takes to the producer's host.
//!
//! ```text
//! producer.toml   ledger, id, shards, producer, and the table [bus]
//! producer.key    the signing key (0600)      access.key   the way to the vault (0600)
//! bus.nkey        the user on the bus (0600)  ca.pem       who vouches for the bus's servers, where the settings say so
//! policy          which keys are trusted      genesis      one genesis entry a line, shard 0's first
//! outbox/         what is not sealed yet; made by the publisher
//! ```
//! In scope: these files. Out of scope: what they are used for. Trust: the operator wrote them; the folder and its secret
//! files are refused when others can read them. The genesis entries, the policy and `producer.toml` must agree.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sharetrail_proof::entry::{Entry, GENESIS, Genesis};
use sharetrail_proof::name::{LedgerId, Name, Shard};
use sharetrail_proof::note::NoteSigner;
use sharetrail_proof::policy::{Policy, PolicyError};
use zeroize::Zeroizing;

use crate::bus::BusSettings;
use crate::error::{At, LedgerError};
use crate::facts::Facts;
use crate::files;
use crate::keys;
use crate::ledger::Ledger;
use crate::vault::SharedSecret;

const SETTINGS: &str = "producer.toml";
const SIGNING_KEY: &str = "producer.key";
const ACCESS_KEY: &str = "access.key";
const POLICY: &str = "policy";
const GENESES: &str = "genesis";
/// The file of the nkey seed.
pub(super) const NKEY: &str = "bus.nkey";
/// The file of the certificates that vouch for the bus's servers.
pub(super) const CA: &str = "ca.pem";
const HEAD: &str =
    "# A producer's credentials. Keep this folder private: it holds the producer's signing key.\n";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    ledger: Name,
    id: LedgerId,
    shards: u32,
    producer: Name,
    bus: BusSettings,
}

/// A producer's credentials.
pub struct Credentials {
    folder: PathBuf,
    facts: Arc<Facts>,
    policy: Policy,
    producer: Name,
    signer: NoteSigner,
    access: SharedSecret,
    bus: BusSettings,
}

/// What goes into a credentials folder.
pub(super) struct Parts<'a> {
    pub(super) facts: &'a Facts,
    pub(super) policy: &'a Policy,
    pub(super) producer: &'a Name,
    pub(super) signer: &'a NoteSigner,
    pub(super) access: &'a SharedSecret,
    /// With paths as they are to stand in `producer.toml`.
    pub(super) bus: &'a BusSettings,
    pub(super) nkey_seed: &'a str,
    pub(super) ca: Option<&'a [u8]>,
}

impl Credentials {
    /// Whether a folder holds credentials.
    pub fn is_there(folder: &Path) -> bool {
        folder.join(SETTINGS).exists()
    }

    /// Writes credentials into a folder that is empty or not there; they are whole once `producer.toml` is there.
    pub(super) fn write(folder: &Path, parts: &Parts<'_>) -> Result<(), LedgerError> {
        if files::read_if_there(&folder.join(SETTINGS))?.is_some() || is_used(folder)? {
            let text = format!(
                "{} is not empty; choose another folder for the credentials",
                folder.display()
            );
            return Err(LedgerError::Invalid(text));
        }
        files::make_private_folder(folder)?;
        files::check_private(folder)?;
        let secret = Zeroizing::new(parts.signer.to_secret_text());
        let secret = Zeroizing::new(format!("{}\n", *secret));
        files::write_private(&folder.join(SIGNING_KEY), &secret)?;
        files::write_private(&folder.join(ACCESS_KEY), &parts.access.to_text())?;
        let seed = Zeroizing::new(format!("{}\n", parts.nkey_seed));
        files::write_private(&folder.join(NKEY), &seed)?;
        if let Some(ca) = parts.ca {
            files::replace(&folder.join(CA), ca, 0o644)?;
        }
        files::replace(&folder.join(POLICY), parts.policy.to_string().as_bytes(), 0o644)?;
        let mut geneses = Vec::new();
        for genesis in &parts.facts.genesis {
            geneses.extend_from_slice(&genesis.to_bytes()[1..]);
            geneses.push(b'\n');
        }
        files::replace(&folder.join(GENESES), &geneses, 0o644)?;
        let settings = Settings {
            ledger: parts.facts.name.clone(),
            id: parts.facts.id,
            shards: parts.facts.shards(),
            producer: parts.producer.clone(),
            bus: parts.bus.clone(),
        };
        let text = toml::to_string(&settings).map_err(|error| LedgerError::Invalid(error.to_string()))?;
        files::replace(&folder.join(SETTINGS), format!("{HEAD}{text}").as_bytes(), 0o600)
    }

    /// What a producer whose key lies in a ledger's folder has there: for recording beside a process that holds the folder.
    pub(super) fn of_ledger(ledger: &Ledger, producer: &Name) -> Result<Self, LedgerError> {
        let missing = || LedgerError::Invalid("the bus of this ledger lies in its folder".into());
        let signer = keys::producer_signer(ledger, producer)?;
        let access = ledger.vault()?.access_secret(producer, signer.verifier());
        Ok(Self {
            folder: ledger.root().to_owned(),
            facts: Arc::clone(ledger.facts()),
            policy: ledger.policy()?,
            producer: producer.clone(),
            signer,
            access,
            bus: ledger.settings().bus.clone().ok_or_else(missing)?,
        })
    }

    /// Opens a credentials folder.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        let path = folder.join(SETTINGS);
        if !Self::is_there(folder) {
            let text = format!(
                "{} holds no producer's credentials; `sharetrail keys enrol PRODUCER` writes them",
                folder.display()
            );
            return Err(LedgerError::Invalid(text));
        }
        files::check_private(folder)?;
        let text = std::fs::read_to_string(&path).at("read", &path)?;
        let settings: Settings =
            toml::from_str(&text).map_err(|error| LedgerError::damaged(&path, None, error.message()))?;
        let signer = keys::read(&folder.join(SIGNING_KEY))?;
        if signer.verifier().name() != settings.producer.as_str() {
            let what = format!("not a key of {}", settings.producer);
            return Err(LedgerError::damaged(&folder.join(SIGNING_KEY), None, what));
        }
        if let Some(nkey) = &settings.bus.nkey {
            files::check_private(&folder.join(nkey))?;
        }
        let genesis = read_geneses(&folder.join(GENESES), &settings)?;
        Ok(Self {
            folder: folder.to_owned(),
            policy: read_policy(&folder.join(POLICY), &settings)?,
            access: read_access(&folder.join(ACCESS_KEY))?,
            facts: Arc::new(Facts {
                name: settings.ledger,
                id: settings.id,
                genesis,
            }),
            producer: settings.producer,
            signer,
            bus: settings.bus,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What never changes of the ledger.
    pub fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Which keys are trusted.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whose credentials they are.
    pub fn producer(&self) -> &Name {
        &self.producer
    }

    /// The producer's signing key.
    pub fn signer(&self) -> &NoteSigner {
        &self.signer
    }

    /// The producer's way to the vault.
    pub fn access(&self) -> &SharedSecret {
        &self.access
    }

    /// How to reach the bus; relative paths start from the folder.
    pub fn bus_settings(&self) -> &BusSettings {
        &self.bus
    }
}

fn is_used(folder: &Path) -> Result<bool, LedgerError> {
    match std::fs::read_dir(folder) {
        Ok(mut items) => Ok(items.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("read", folder),
    }
}

fn read_access(path: &Path) -> Result<SharedSecret, LedgerError> {
    let text = Zeroizing::new(files::read_private(path)?);
    SharedSecret::parse(&text).ok_or_else(|| LedgerError::damaged(path, None, "not an access key"))
}

fn read_policy(path: &Path, settings: &Settings) -> Result<Policy, LedgerError> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let policy: Policy = text
        .parse()
        .map_err(|error: PolicyError| LedgerError::damaged(path, None, error.to_string()))?;
    let fits = *policy.ledger() == settings.ledger
        && *policy.ledger_id() == settings.id
        && Shard::all(settings.shards).all(|shard| policy.has_shard(shard));
    if fits {
        Ok(policy)
    } else {
        let what = "it does not name the ledger and the shards that producer.toml names";
        Err(LedgerError::damaged(path, None, what))
    }
}

fn read_geneses(path: &Path, settings: &Settings) -> Result<Vec<Genesis>, LedgerError> {
    let text = std::fs::read_to_string(path).at("read", path)?;
    let mut geneses: Vec<Genesis> = Vec::new();
    for line in text.lines() {
        let entry = [&[GENESIS][..], line.as_bytes()].concat();
        let number = geneses.len();
        let genesis = match Entry::parse(&entry) {
            Ok(Entry::Genesis(genesis)) => Some(*genesis),
            _ => None,
        };
        let fits = |genesis: &Genesis| {
            genesis.ledger == settings.ledger
                && genesis.id == settings.id
                && genesis.shard.index() as usize == number
                && genesis.shard.count() == settings.shards
                && geneses.first().is_none_or(|first| first.vrf == genesis.vrf)
        };
        let genesis = genesis.filter(fits).ok_or_else(|| {
            let what = format!("line {} is not the genesis entry of shard {number}", number + 1);
            LedgerError::damaged(path, None, what)
        })?;
        geneses.push(genesis);
    }
    if geneses.is_empty() || geneses.len() != settings.shards as usize {
        let what = format!(
            "{} genesis entries where {} are due",
            geneses.len(),
            settings.shards
        );
        return Err(LedgerError::damaged(path, None, what));
    }
    Ok(geneses)
}
