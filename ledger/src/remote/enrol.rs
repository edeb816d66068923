//! Enrolling: a producer's credentials, and the users that the bus's servers must know.
//!
//! ```text
//! bus-users/producer-<name>.conf   a producer's user with its rights, in the servers' syntax
//! bus-users/host-<name>.conf       a host's (and the operator's) user
//! bus-users/users.conf             HOSTS = [ … ] and PRODUCERS = [ … ] with all of them, for deploy/nats/accounts.conf
//! ```
//! In scope: these files and the credentials folder. Out of scope: registering keys, telling the servers (they read the
//! file at a reload). Trust: the operator runs this on the ledger's folder. The bus's rights keep honest servers from
//! mixing producers up; what keeps a producer from speaking as another are its signing key and its access key.

use std::fs;
use std::path::{Path, PathBuf};

use nkeys::{KeyPair, KeyPairType};
use sharetrail_proof::name::{Name, OPERATOR, RECOVERY};
use sharetrail_proof::note::NoteSigner;
use zeroize::Zeroizing;

use super::credentials::{CA, Credentials, NKEY, Parts};
use crate::bus::nats::{BusNames, BusSettings, escaped};
use crate::error::{At, LedgerError};
use crate::files;
use crate::ledger::Ledger;

const HEAD: &str =
    "# Written by `sharetrail keys`. Put it beside accounts.conf on every node and reload the servers.\n";
/// Where the bus answers hosts.
const HOSTS_INBOX: &str = "_INBOX_host.>";

/// What enrolling made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The credentials folder to take to the producer's host.
    pub credentials: PathBuf,
    /// The file that the bus's servers must include.
    pub users: PathBuf,
    /// The producer's user on the bus.
    pub user: String,
}

/// Writes the credentials folder `to` of a producer whose key is registered and valid, and gives it a user on the bus; a
/// user that it had before has no rights any more once the servers read the new file.
pub fn enrol(
    ledger: &Ledger,
    producer: &Name,
    signer: &NoteSigner,
    to: &Path,
    bus: &BusSettings,
) -> Result<Enrolled, LedgerError> {
    // A producer with the hosts' inbox would hear what the bus answers them.
    let hosts_inbox = format!("{}.>", BusNames::producer_inbox(producer)) == HOSTS_INBOX;
    if producer.as_str() == OPERATOR || producer.as_str() == RECOVERY || hosts_inbox {
        return Err(LedgerError::Invalid(format!("{producer} is a reserved name")));
    }
    if signer.verifier().name() != producer.as_str() {
        let text = format!("the key is {}'s, not {producer}'s", signer.verifier().name());
        return Err(LedgerError::Invalid(text));
    }
    let (user, seed) = new_user()?;
    let ca = bus.tls_ca.as_ref().map(|path| {
        let path = ledger.root().join(path);
        fs::read(&path).at("read", &path)
    });
    let ca = ca.transpose()?;
    let settings = BusSettings {
        monitor: None,
        nkey: Some(NKEY.into()),
        creds: None,
        tls_ca: ca.as_ref().map(|_| CA.into()),
        tls_cert: None,
        tls_key: None,
        inbox: Some(BusNames::producer_inbox(producer)),
        ..bus.clone()
    };
    let parts = Parts {
        facts: ledger.facts(),
        policy: &ledger.policy()?,
        producer,
        signer,
        access: &ledger.vault()?.access_secret(producer, signer.verifier()),
        bus: &settings,
        nkey_seed: &seed,
        ca: ca.as_deref(),
    };
    Credentials::write(to, &parts)?;
    let file = producer_file(ledger, producer);
    let users = write_user(ledger, &file, &producer_user(ledger.name(), producer, &user))?;
    Ok(Enrolled {
        credentials: to.to_owned(),
        users,
        user,
    })
}

/// Takes a producer's user away; whether it had one. The servers must read the file again.
pub fn withdraw(ledger: &Ledger, producer: &Name) -> Result<bool, LedgerError> {
    let path = producer_file(ledger, producer);
    match fs::remove_file(&path) {
        Ok(()) => write_users(ledger).map(|_| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", &path),
    }
}

/// Gives a host, or the operator, a user with every right on the ledger's bus; gives the file of its seed, which is made
/// where there is none yet: for `nkey` in the table `[bus]` of `ledger.toml`.
pub fn host_user(ledger: &Ledger, host: &Name) -> Result<PathBuf, LedgerError> {
    let settings = ledger.settings();
    // This host has a user already, which must go on having its rights.
    let own = settings.bus.as_ref().and_then(|bus| bus.nkey.as_ref());
    let own = own.filter(|_| settings.host.as_ref() == Some(host));
    let path = own.map_or_else(
        || ledger.folder().keys().join(format!("bus-{host}.nkey")),
        |nkey| ledger.root().join(nkey),
    );
    let user = if path.exists() {
        let seed = Zeroizing::new(files::read_private(&path)?);
        KeyPair::from_seed(seed.trim())
            .map_err(|error| LedgerError::damaged(&path, None, error.to_string()))?
            .public_key()
    } else {
        make_nkey(&path)?
    };
    let file = folder(ledger).join(format!("host-{host}.conf"));
    write_user(ledger, &file, &every_right(ledger.name(), &user))?;
    Ok(path)
}

/// Writes the seed of a new user to a private file; gives the public key, which the servers must know.
fn make_nkey(path: &Path) -> Result<String, LedgerError> {
    let (user, seed) = new_user()?;
    files::write_private(path, &Zeroizing::new(format!("{}\n", *seed)))?;
    Ok(user)
}

/// A user with every right on the bus of a ledger that is yet to be made.
pub struct FirstUser {
    /// Its public key.
    pub public: String,
    /// The `users.conf` to begin with.
    pub users: String,
}

/// Makes the first user of a ledger's bus; its seed goes to a private file, for `init --bus-nkey`.
pub fn first_user(path: &Path, ledger: &Name) -> Result<FirstUser, LedgerError> {
    let public = make_nkey(path)?;
    let users = format!(
        "{HEAD}HOSTS = [\n  {}\n]\nPRODUCERS = []\n",
        every_right(ledger, &public)
    );
    Ok(FirstUser { public, users })
}

/// A new user: its public key and its seed.
fn new_user() -> Result<(String, Zeroizing<String>), LedgerError> {
    let wrong = |error: nkeys::error::Error| LedgerError::Invalid(format!("no key for the bus: {error}"));
    let random = Zeroizing::new(files::random::<32>()?);
    let pair = KeyPair::new_from_raw(KeyPairType::User, *random).map_err(wrong)?;
    Ok((pair.public_key(), Zeroizing::new(pair.seed().map_err(wrong)?)))
}

fn producer_user(ledger: &Name, producer: &Name, user: &str) -> String {
    let publish = [
        format!("ledger.{}.*.{}", escaped(ledger), escaped(producer)),
        BusNames::new(ledger).vault(producer),
    ];
    let subscribe = [
        format!("heads.{}.*", escaped(ledger)),
        format!("{}.>", BusNames::producer_inbox(producer)),
    ];
    let (publish, subscribe) = (allow(&publish), allow(&subscribe));
    format!("{{ nkey: \"{user}\", permissions: {{ publish: {publish}, subscribe: {subscribe} }} }}")
}

fn every_right(ledger: &Name, user: &str) -> String {
    let (names, ledger) = (BusNames::new(ledger), escaped(ledger));
    let own =
        ["ledger", "closed", "heads", "held", "vault", "slots"].map(|kind| format!("{kind}.{ledger}.>"));
    let more = [names.control(), names.bucket_key(">"), HOSTS_INBOX.into()];
    let subscribe: Vec<String> = own.into_iter().chain(more).collect();
    let mut publish = subscribe.clone();
    publish.extend(["$JS.API.>", "$JS.ACK.>", "$JS.FC.>"].map(str::to_owned));
    let (publish, subscribe) = (allow(&publish), allow(&subscribe));
    // `allow_responses`: replies go to producers' inboxes, whose names no pattern covers.
    let replies = "allow_responses: { max: 1, expires: \"1m\" }";
    format!(
        "{{ nkey: \"{user}\", permissions: {{ publish: {publish}, subscribe: {subscribe}, {replies} }} }}"
    )
}

fn allow(bus_subjects: &[String]) -> String {
    let quoted: Vec<_> = bus_subjects.iter().map(|text| format!("\"{text}\"")).collect();
    format!("{{ allow: [ {} ] }}", quoted.join(", "))
}

fn folder(ledger: &Ledger) -> PathBuf {
    ledger.root().join("bus-users")
}

fn producer_file(ledger: &Ledger, producer: &Name) -> PathBuf {
    folder(ledger).join(format!("producer-{producer}.conf"))
}

fn write_user(ledger: &Ledger, file: &Path, user: &str) -> Result<PathBuf, LedgerError> {
    files::make_folder(&folder(ledger))?;
    files::replace(file, format!("{user}\n").as_bytes(), 0o644)?;
    write_users(ledger)
}

/// Writes the file of all users anew.
fn write_users(ledger: &Ledger) -> Result<PathBuf, LedgerError> {
    let folder = folder(ledger);
    let mut names = Vec::new();
    for item in fs::read_dir(&folder).at("read", &folder)? {
        let name = item.at("read", &folder)?.file_name();
        names.push(name.to_string_lossy().into_owned());
    }
    names.sort();
    let mut text = HEAD.to_owned();
    for (list, prefix) in [("HOSTS", "host-"), ("PRODUCERS", "producer-")] {
        let mut users = String::new();
        for name in names.iter().filter(|name| {
            name.starts_with(prefix) && Path::new(name).extension().is_some_and(|kind| kind == "conf")
        }) {
            let path = folder.join(name);
            let user = fs::read_to_string(&path).at("read", &path)?;
            users.push_str("\n  ");
            users.push_str(user.trim());
        }
        let end = if users.is_empty() { "" } else { "\n" };
        text.extend([list, " = [", &users, end, "]\n"]);
    }
    let path = folder.join("users.conf");
    files::replace(&path, text.as_bytes(), 0o644)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::{InitOptions, init};
    use crate::keys;
    use std::os::unix::fs::PermissionsExt;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    struct Place {
        ledger: Ledger,
        folder: tempfile::TempDir,
        _outside: tempfile::TempDir,
    }

    fn place() -> Place {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let options = InitOptions {
            shards: 2,
            outside: Some(outside.path().to_owned()),
            ..InitOptions::new(name("shop.example"))
        };
        let ledger = init(&folder.path().join("ledger"), &options).unwrap().ledger;
        Place {
            ledger,
            folder,
            _outside: outside,
        }
    }

    fn settings() -> BusSettings {
        toml::from_str("url = \"nats://127.0.0.1:4222\"\ntls_ca = \"bus-ca.pem\"\n").unwrap()
    }

    fn enrolled(place: &Place, to: &str) -> Result<Enrolled, LedgerError> {
        let producer = name("shop.example");
        let signer = keys::producer_signer(&place.ledger, &producer).unwrap();
        let to = place.folder.path().join(to);
        fs::write(place.ledger.root().join("bus-ca.pem"), "certificates").unwrap();
        enrol(&place.ledger, &producer, &signer, &to, &settings())
    }

    #[test]
    fn credentials_read_back_and_are_private() {
        let place = place();
        let made = enrolled(&place, "till").unwrap();
        let credentials = Credentials::open(&made.credentials).unwrap();
        let producer = name("shop.example");
        let signer = keys::producer_signer(&place.ledger, &producer).unwrap();
        assert_eq!(credentials.facts(), place.ledger.facts());
        assert_eq!(*credentials.policy(), place.ledger.policy().unwrap());
        assert_eq!(*credentials.producer(), producer);
        assert_eq!(credentials.signer().verifier(), signer.verifier());
        let vault = place.ledger.vault().unwrap();
        assert_eq!(
            credentials.access().bytes(),
            vault.access_secret(&producer, signer.verifier()).bytes()
        );
        let bus = credentials.bus_settings();
        assert_eq!(bus.inbox.as_deref(), Some("_INBOX_shop_example"));
        let ca = bus.tls_ca.as_ref().map(|ca| made.credentials.join(ca)).unwrap();
        assert_eq!(fs::read(ca).unwrap(), b"certificates");
        let seed = fs::read_to_string(made.credentials.join(NKEY)).unwrap();
        assert_eq!(KeyPair::from_seed(seed.trim()).unwrap().public_key(), made.user);
        for secret in ["producer.key", "access.key", "bus.nkey"] {
            let path = made.credentials.join(secret);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let refused = Credentials::open(&made.credentials).map(|_| ());
            assert!(matches!(refused, Err(LedgerError::Exposed { .. })), "{secret}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// The fault: files of two ledgers are mixed, and a producer believes the wrong log.
    #[test]
    fn credentials_that_do_not_agree_are_refused() {
        let (place, other) = (place(), self::place());
        let (made, others) = (
            enrolled(&place, "till").unwrap(),
            enrolled(&other, "till").unwrap(),
        );
        for file in ["policy", "genesis"] {
            let path = made.credentials.join(file);
            let whole = fs::read(&path).unwrap();
            fs::copy(others.credentials.join(file), &path).unwrap();
            let refused = Credentials::open(&made.credentials).map(|_| ());
            assert!(matches!(refused, Err(LedgerError::Damaged { .. })), "{file}");
            fs::write(&path, &whole).unwrap();
        }
        let path = made.credentials.join("genesis");
        let first = fs::read_to_string(&path).unwrap();
        fs::write(&path, first.lines().next().unwrap()).unwrap();
        assert!(Credentials::open(&made.credentials).is_err());
        assert!(!Credentials::is_there(place.ledger.root()));
        assert!(matches!(
            Credentials::open(place.ledger.root()).map(|_| ()),
            Err(LedgerError::Invalid(_))
        ));
    }

    #[test]
    fn the_servers_file_lists_each_user_once() {
        let place = place();
        let first = enrolled(&place, "first").unwrap();
        assert!(matches!(
            enrolled(&place, "first").map(|_| ()),
            Err(LedgerError::Invalid(_))
        ));
        let second = enrolled(&place, "second").unwrap();
        let seed = host_user(&place.ledger, &name("operator")).unwrap();
        assert_eq!(host_user(&place.ledger, &name("operator")).unwrap(), seed);
        let seed = fs::read_to_string(seed).unwrap();
        let host = KeyPair::from_seed(seed.trim()).unwrap().public_key();
        let text = fs::read_to_string(&second.users).unwrap();
        let count = |user: &str| text.matches(user).count();
        assert_eq!((count(&first.user), count(&second.user), count(&host)), (0, 1, 1));
        assert!(text.contains("\"ledger.shop_example.*.shop_example\""));
        assert!(text.find("HOSTS = [").unwrap() < text.find(&host).unwrap());
        assert!(text.find("PRODUCERS = [").unwrap() < text.find(&second.user).unwrap());
        assert!(withdraw(&place.ledger, &name("shop.example")).unwrap());
        assert!(!withdraw(&place.ledger, &name("shop.example")).unwrap());
        let text = fs::read_to_string(&second.users).unwrap();
        assert!(text.contains(&host) && !text.contains(&second.user));
    }

    #[test]
    fn reserved_names_and_anothers_key_are_refused() {
        let place = place();
        let to = place.folder.path().join("till");
        let signer = keys::producer_signer(&place.ledger, &name("shop.example")).unwrap();
        let host = NoteSigner::from_seed("host", &[1; 32]).unwrap();
        let refused = enrol(&place.ledger, &name("host"), &host, &to, &settings());
        assert!(matches!(refused, Err(LedgerError::Invalid(_))));
        for producer in ["operator", "web.example"] {
            let refused = enrol(&place.ledger, &name(producer), &signer, &to, &settings());
            assert!(matches!(refused, Err(LedgerError::Invalid(_))));
        }
        assert!(!to.exists());
    }
}
