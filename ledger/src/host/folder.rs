//! What the operator carries to a new host of the ledger.
//!
//! ```text
//! <to>/ledger/                 a ledger's folder: settings, policy, keys, and the first leaf of every shard
//! <to>/outside/<ledger id>/    a key-encryption key of its own, and what else lies outside; never the recovery key
//! ```
//! In scope: making that folder. Out of scope: the rest of the archive and the customers' keys, which the new host gets from
//! another one. Trust: it holds every key that this host signs with, so it is private and must be carried so.

use std::fs;
use std::path::{Component, Path};

use sharetrail_proof::name::Name;
use zeroize::Zeroizing;

use crate::archive::TreeWriter;
use crate::bus::BusSettings;
use crate::error::{At, LedgerError};
use crate::files;
use crate::folder::Folder;
use crate::init::{RECOVERY_FILE, first_leaf, holds_anything, make_folders, resolved};
use crate::keys;
use crate::ledger::{KEK_FILE, KEK_NEXT_FILE, Ledger};
use crate::settings::Settings;
use crate::vault::kek_text;

/// What stays where it is: the key-encryption key is exchanged by each host for itself.
const NOT_CARRIED: [&str; 3] = [RECOVERY_FILE, KEK_FILE, KEK_NEXT_FILE];

/// Makes the folder `to`, which is new or empty, to carry to a host that is to be called `name`. There, `SHARETRAIL_HOME` is
/// set to `outside` in it.
///
/// Files of the bus' credentials that are named by an absolute path are not taken along: they belong to this host.
pub fn host_folder(ledger: &Ledger, to: &Path, name: &Name) -> Result<(), LedgerError> {
    let bus = may_have_another(ledger, name)?;
    if resolved(to)?.starts_with(resolved(ledger.root())?) {
        return Err(LedgerError::Invalid(format!(
            "{} lies in the ledger's folder, where backups would take the keys along; choose another place",
            to.display()
        )));
    }
    if holds_anything(to)? {
        return Err(LedgerError::Invalid(format!(
            "{} is not empty; name a folder that is new or empty",
            to.display()
        )));
    }
    files::make_private_folder(to)?;
    files::check_private(to)?;
    let folder = Folder::new(&to.join("ledger"));
    let outside = to.join("outside").join(ledger.id().to_string());
    make_folders(&folder, &outside)?;
    carry_private(&ledger.folder().keys(), &folder.keys(), &[])?;
    carry_private(&ledger.outside()?, &outside, &NOT_CARRIED)?;
    let kek = Zeroizing::new(kek_text()?);
    files::write_private(&outside.join(KEK_FILE), &kek)?;
    carry_credentials(bus, ledger.root(), folder.root())?;
    let policy = ledger.folder().policy();
    files::replace(&folder.policy(), &fs::read(&policy).at("read", &policy)?, 0o644)?;
    for shard in 0..ledger.shards() {
        let signer = keys::read(&folder.keys().join(keys::log_file(shard)))?;
        first_leaf(&folder, &outside, ledger.genesis(shard), &signer)?;
    }
    TreeWriter::sync(to)?;
    // From here on the folder is a ledger.
    let mut settings = Settings {
        host: Some(name.clone()),
        outside: None,
        ..ledger.settings().clone()
    };
    let nkey = Path::new("keys").join(format!("bus-{name}.nkey"));
    if let Some(bus) = settings
        .bus
        .as_mut()
        .filter(|_| folder.root().join(&nkey).exists())
    {
        bus.nkey = Some(nkey);
    }
    settings.write(&folder.settings())
}

/// The bus over which another host can work, if there is one; a host's name is nobody else's.
fn may_have_another<'a>(ledger: &'a Ledger, name: &Name) -> Result<&'a BusSettings, LedgerError> {
    let settings = ledger.settings();
    if settings.host.as_ref() == Some(name) {
        return Err(LedgerError::Invalid(format!(
            "{name} is what this host is called; choose another name"
        )));
    }
    // Two folders that do not know of each other would sign two histories.
    settings.bus.as_ref().ok_or_else(|| {
        LedgerError::Invalid(format!(
            "the bus of {} lies in its folder, so it has one host; only a ledger on nats-servers can have more",
            ledger.name()
        ))
    })
}

/// Copies the files of a folder, which must be private, but for those that are `left`.
fn carry_private(from: &Path, to: &Path, left: &[&str]) -> Result<(), LedgerError> {
    for item in fs::read_dir(from).at("read", from)? {
        let path = item.at("read", from)?.path();
        let name = path.file_name().unwrap_or_default();
        if path.is_file() && !left.iter().any(|one| name == *one) {
            let text = Zeroizing::new(files::read_private(&path)?);
            files::write_private(&to.join(name), &text)?;
        }
    }
    Ok(())
}

/// Copies the files that `[bus]` names by a path within the ledger's folder.
fn carry_credentials(bus: &BusSettings, from: &Path, to: &Path) -> Result<(), LedgerError> {
    let named = [&bus.nkey, &bus.creds, &bus.tls_ca, &bus.tls_cert, &bus.tls_key];
    for path in named.into_iter().flatten().filter(|path| path.is_relative()) {
        if path
            .components()
            .any(|part| !matches!(part, Component::Normal(_)))
        {
            return Err(LedgerError::Invalid(format!(
                "[bus] names {}, which leads out of the ledger's folder; give it as an absolute path",
                path.display()
            )));
        }
        let (source, target) = (from.join(path), to.join(path));
        // Two settings may name one file, and those in `keys` came with the keys.
        if target.exists() {
            continue;
        }
        let text = Zeroizing::new(fs::read_to_string(&source).at("read", &source)?);
        files::make_private_folder(target.parent().unwrap_or(to))?;
        files::write_private(&target, &text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::testing;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A ledger of two shards as it is on a host of a cluster; the folder is a temporary one.
    fn clustered() -> (TempDir, Ledger) {
        let (folder, ledger) = testing::ledger(2);
        let root = folder.path().join("ledger");
        files::make_private_folder(&root.join("bus-files")).unwrap();
        files::write_private(&root.join("bus-files/host.nkey"), "a seed").unwrap();
        fs::write(root.join("ca.pem"), "a certificate").unwrap();
        let settings = Settings {
            host: Some(name("host-a")),
            bus: Some(BusSettings {
                nkey: Some("bus-files/host.nkey".into()),
                tls_ca: Some("ca.pem".into()),
                tls_cert: Some("/etc/sharetrail/host.pem".into()),
                ..BusSettings::new("nats://127.0.0.1:4222")
            }),
            ..ledger.settings().clone()
        };
        settings.write(&root.join("ledger.toml")).unwrap();
        (folder, Ledger::open(&root).unwrap())
    }

    fn files_in(folder: &Path) -> Vec<PathBuf> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|item| item.unwrap().path())
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        found
    }

    /// The fault: the new host's folder is no ledger, or another one, or lacks a key.
    #[test]
    fn the_folder_is_the_ledger_with_its_first_leaves_and_all_keys_but_one() {
        let (folder, ledger) = clustered();
        let to = folder.path().join("carried");
        host_folder(&ledger, &to, &name("host-b")).unwrap();
        let carried = Ledger::open(&to.join("ledger")).unwrap();
        assert_eq!(carried.facts(), ledger.facts());
        assert_eq!(carried.settings().host, Some(name("host-b")));
        assert_eq!(carried.settings().outside, None);
        assert_eq!(carried.settings().bus, ledger.settings().bus);
        let policy = carried.policy().unwrap();
        assert_eq!(policy.to_string(), ledger.policy().unwrap().to_string());
        for shard in 0..2 {
            let reader = carried.reader(shard).unwrap();
            assert_eq!(policy.open(reader.note()).unwrap().size().0, 1);
            let genesis = reader.leaf(sharetrail_proof::hash::LeafIndex(0)).unwrap();
            assert_eq!(genesis.entry, ledger.genesis(shard).to_bytes());
        }
        let outside = to.join("outside").join(ledger.id().to_string());
        let pairs = [
            (ledger.folder().keys(), carried.folder().keys()),
            (ledger.outside().unwrap(), outside.clone()),
        ];
        let mut missing = Vec::new();
        for (from, to) in pairs {
            for path in files_in(&from) {
                let name = path.file_name().unwrap().to_owned();
                match fs::read(to.join(&name)) {
                    // Each host has a key-encryption key of its own.
                    Ok(bytes) if name == KEK_FILE => assert_ne!(bytes, fs::read(&path).unwrap()),
                    Ok(bytes) => assert_eq!(bytes, fs::read(&path).unwrap()),
                    Err(_) => missing.push(name),
                }
            }
        }
        assert_eq!(missing, [RECOVERY_FILE]);
        let seed = files::read_private(&to.join("ledger/bus-files/host.nkey")).unwrap();
        assert_eq!(seed, "a seed");
        assert!(to.join("ledger/ca.pem").exists());
        files::check_private(&outside.join(KEK_FILE)).unwrap();
    }

    #[test]
    fn nobody_else_can_read_what_is_carried() {
        let (folder, ledger) = clustered();
        let to = folder.path().join("carried");
        host_folder(&ledger, &to, &name("host-b")).unwrap();
        let outside = to.join("outside").join(ledger.id().to_string());
        for folder in [&to, &to.join("ledger/keys"), &to.join("ledger/vault"), &outside] {
            let mode = fs::metadata(folder).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o700, "{}", folder.display());
        }
        for path in files_in(&to.join("ledger/keys"))
            .iter()
            .chain(&files_in(&outside))
        {
            files::check_private(path).unwrap();
        }
        assert_eq!(files_in(&to.join("ledger/vault")), Vec::<PathBuf>::new());
    }

    /// The fault: keys are written over or beside something else, into the ledger's own backups, or for a second host of a
    /// ledger that can have but one.
    #[test]
    fn a_place_or_a_name_that_does_not_fit_is_refused() {
        let (folder, ledger) = clustered();
        let refused = |ledger: &Ledger, to: &Path, host: &str| {
            let made = host_folder(ledger, to, &name(host));
            assert!(matches!(made, Err(LedgerError::Invalid(_))), "{}", to.display());
        };
        let (full, new) = (folder.path().join("full"), folder.path().join("new"));
        fs::create_dir(&full).unwrap();
        fs::write(full.join("file"), "").unwrap();
        refused(&ledger, &full, "host-b");
        refused(&ledger, &ledger.root().join("carried"), "host-b");
        refused(&ledger, &new, "host-a");
        let alone = Settings {
            host: None,
            bus: None,
            ..ledger.settings().clone()
        };
        alone.write(&ledger.root().join("ledger.toml")).unwrap();
        refused(&Ledger::open(ledger.root()).unwrap(), &new, "host-b");
        assert!(!new.exists());
    }

    #[test]
    fn an_open_folder_is_refused_and_so_is_a_credential_outside_of_the_ledger() {
        let (folder, ledger) = clustered();
        let open = folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let made = host_folder(&ledger, &open, &name("host-b"));
        assert!(matches!(made, Err(LedgerError::Exposed { mode: 0o755, .. })));
        let mut settings = ledger.settings().clone();
        settings.bus.as_mut().unwrap().creds = Some("../host.creds".into());
        settings.write(&ledger.root().join("ledger.toml")).unwrap();
        let ledger = Ledger::open(ledger.root()).unwrap();
        let made = host_folder(&ledger, &folder.path().join("new"), &name("host-b"));
        assert!(matches!(made, Err(LedgerError::Invalid(_))));
        assert!(!folder.path().join("new/ledger/ledger.toml").exists());
    }
}
