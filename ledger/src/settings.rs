//! `ledger.toml`: the settings a person may read and edit.
//!
//! In scope: the file. Out of scope: keys and the policy, which stand in files of their own.
//! Trust: the operator wrote it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sharetrail_proof::name::{LedgerId, Name};

use crate::bus::BusSettings;
use crate::error::{At, LedgerError};
use crate::files;

/// The engines a projection may sit on.
pub const STORES: [&str; 2] = ["sled", "fjall"];

/// What `ledger.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The ledger's name.
    pub name: Name,
    /// The ledger's id, as in its genesis entries.
    pub id: LedgerId,
    /// The number of shards; never changes.
    pub shards: u32,
    /// Who signs where no producer is named.
    pub default_producer: Name,
    /// The engine of the projections: `sled` or `fjall`.
    pub store: String,
    /// The folder, outside of this one and of its backups, that holds the key-encryption key and the copy of the last
    /// checkpoints. Where it is not set: `$SHARETRAIL_HOME`, else `$XDG_STATE_HOME/sharetrail`, else
    /// `~/.local/state/sharetrail`; in it, a folder with the ledger's id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outside: Option<PathBuf>,
    /// What this host is called among those that work on the ledger; set where the bus is a cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<Name>,
    /// The distributed bus; none where the bus lies in the folder.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bus: Option<BusSettings>,
}

const HEAD: &str = "# Settings of a Sharetrail ledger. `name`, `id` and `shards` never change.\n";

impl Settings {
    /// Reads `ledger.toml`.
    pub fn read(path: &Path) -> Result<Self, LedgerError> {
        let text = std::fs::read_to_string(path).at("read", path)?;
        let settings: Self =
            toml::from_str(&text).map_err(|error| LedgerError::damaged(path, None, error.message()))?;
        if !STORES.contains(&settings.store.as_str()) {
            return Err(LedgerError::damaged(
                path,
                None,
                format!("store {:?} is neither sled nor fjall", settings.store),
            ));
        }
        Ok(settings)
    }

    /// Writes `ledger.toml` whole.
    pub fn write(&self, path: &Path) -> Result<(), LedgerError> {
        let text = toml::to_string(self).map_err(|error| LedgerError::Invalid(error.to_string()))?;
        files::replace(path, format!("{HEAD}{text}").as_bytes(), 0o644)
    }

    /// The folder outside: see [`Settings::outside`].
    pub fn outside_folder(&self) -> Result<PathBuf, LedgerError> {
        let base = self.outside.clone().map_or_else(default_outside, Ok)?;
        if base.is_relative() {
            let text = format!(
                "the folder for keys must be an absolute path, not {}",
                base.display()
            );
            return Err(LedgerError::Invalid(text));
        }
        Ok(base.join(self.id.to_string()))
    }
}

fn default_outside() -> Result<PathBuf, LedgerError> {
    let from = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(home) = from("SHARETRAIL_HOME") {
        return Ok(home);
    }
    let state = from("XDG_STATE_HOME").or_else(|| std::env::home_dir().map(|home| home.join(".local/state")));
    let missing =
        || LedgerError::Invalid("no home folder is known; set SHARETRAIL_HOME to a folder for keys".into());
    Ok(state.ok_or_else(missing)?.join("sharetrail"))
}
