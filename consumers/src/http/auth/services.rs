//! Services: which producer somebody records for, by a token or by a client's certificate.
//!
//! In scope: `keys/services` in the ledger's folder, which holds hashes of tokens alone; looking a token up; the names
//! in a certificate. Out of scope: what a service may do, checking certificates (the TLS layer). Trust: the file must
//! be private, and is read anew whenever it has changed, so that a token that was taken back is refused at once. A
//! token is looked up by its hash, so the time it takes says nothing about another one.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fs, io};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};
use sharetrail_ledger::{LedgerError, files};
use sharetrail_proof::name::Name;
use sharetrail_schemas::Timestamp;

use crate::error::ConsumerError;
use crate::http::problem::{Problem, ProblemKind};

/// What every service token begins with; no token of a provider does.
pub(super) const TOKEN_PREFIX: &str = "st_";
const FOLDER: &str = "keys";
const FILE: &str = "services";
const LOCK: &str = "services.lock";
/// The most characters of a token's name.
const NAME_CHARACTERS: usize = 80;

/// The names (DNS) in the certificate that a client has shown; an extension of the request, put there by the TLS layer
/// once the certificate is checked.
#[derive(Clone, Debug)]
pub(crate) struct ClientName(pub(crate) Vec<String>);

/// A service token as it is known here: not the token itself, which is told once and kept nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceToken {
    /// Whom it may record for.
    pub producer: Name,
    /// When it was made.
    pub made: Timestamp,
    /// What it is called.
    pub name: String,
    hash: [u8; 32],
}

/// The service tokens of a ledger, in `keys/services` of its folder.
pub struct ServiceTokens;

impl ServiceTokens {
    /// Makes a token with which a service records for `producer`. What is returned is kept nowhere.
    pub fn add(folder: &Path, producer: &Name, name: &str) -> Result<String, ConsumerError> {
        let fits = !name.is_empty()
            && name.trim() == name
            && name.chars().count() <= NAME_CHARACTERS
            && !name.chars().any(char::is_control);
        if !fits {
            let text = format!(
                "{name:?} is not a name for a token: 1 to {NAME_CHARACTERS} characters, no space around them"
            );
            return Err(LedgerError::Invalid(text).into());
        }
        change(folder, |tokens| {
            if tokens.iter().any(|token| token.name == name) {
                let text = format!(
                    "there is a token {name:?} already; choose another name, or run `sharetrail keys untoken` first"
                );
                return Err(LedgerError::Invalid(text));
            }
            let token = new_token()?;
            tokens.push(ServiceToken {
                producer: producer.clone(),
                made: Timestamp::from_unix(jiff::Timestamp::now().as_second()),
                name: name.to_owned(),
                hash: hash(&token),
            });
            Ok(token)
        })
    }

    /// All tokens, oldest first.
    pub fn list(folder: &Path) -> Result<Vec<ServiceToken>, ConsumerError> {
        Ok(read(&place(folder))?)
    }

    /// Takes a token back; a server that is at work refuses it from then on.
    pub fn revoke(folder: &Path, name: &str) -> Result<ServiceToken, ConsumerError> {
        change(folder, |tokens| {
            let at = tokens.iter().position(|token| token.name == name);
            let missing = || {
                LedgerError::Invalid(format!(
                    "there is no token {name:?}; `sharetrail keys tokens` lists them"
                ))
            };
            at.map(|at| tokens.remove(at)).ok_or_else(missing)
        })
    }
}

fn place(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(FILE)
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn new_token() -> Result<String, LedgerError> {
    let secret = files::random::<32>()?;
    Ok(format!("{TOKEN_PREFIX}{}", BASE64URL_NOPAD.encode(&secret)))
}

/// Changes the file while no other process does.
fn change<T>(
    folder: &Path,
    work: impl FnOnce(&mut Vec<ServiceToken>) -> Result<T, LedgerError>,
) -> Result<T, ConsumerError> {
    let lock = folder.join(FOLDER).join(LOCK);
    let failed = |doing| {
        let path = lock.clone();
        move |source: io::Error| LedgerError::File { doing, path, source }
    };
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let held = options.open(&lock).map_err(failed("open"))?;
    held.lock().map_err(failed("lock"))?;
    let path = place(folder);
    let mut tokens = read(&path)?;
    let done = work(&mut tokens)?;
    let text: String = tokens.iter().map(line).collect();
    files::replace(&path, text.as_bytes(), 0o600)?;
    Ok(done)
}

fn line(token: &ServiceToken) -> String {
    let hash = HEXLOWER.encode(&token.hash);
    format!("{hash} {} {} {}\n", token.producer, token.made, token.name)
}

/// The tokens in a file; none where there is no file.
fn read(path: &Path) -> Result<Vec<ServiceToken>, LedgerError> {
    match fs::exists(path) {
        Ok(false) => return Ok(Vec::new()),
        Ok(true) => {}
        Err(source) => {
            let path = path.to_owned();
            return Err(LedgerError::File {
                doing: "read",
                path,
                source,
            });
        }
    }
    let text = files::read_private(path)?;
    let parsed = (1..).zip(text.lines()).map(|(number, line)| {
        parse(line).ok_or_else(|| {
            let what = format!(
                "{}, line {number}: not `<sha256> <producer> <time> <name>`; nothing in the file is believed",
                path.display()
            );
            LedgerError::Invalid(what)
        })
    });
    parsed.collect()
}

fn parse(line: &str) -> Option<ServiceToken> {
    let mut parts = line.splitn(4, ' ');
    let hash = HEXLOWER.decode(parts.next()?.as_bytes()).ok()?;
    let hash = hash.try_into().ok()?;
    let producer = Name::new(parts.next()?).ok()?;
    let made = parts.next()?.parse().ok()?;
    let name = parts.next()?.to_owned();
    Some(ServiceToken {
        producer,
        made,
        name,
        hash,
    })
}

/// A service that has shown who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Whom it records for.
    pub(crate) producer: Name,
    /// The name of its token or of its certificate, for the operator's eyes.
    pub(crate) name: String,
}

impl Service {
    /// The service whose certificate has these names. Its only name is the producer's; with several, it would choose
    /// itself whom it records for.
    pub(super) fn certified(names: &ClientName) -> Result<Self, Problem> {
        let refused = |detail: &str| Err(Problem::new(ProblemKind::Forbidden, detail));
        let [name] = names.0.as_slice() else {
            return refused("the client's certificate must hold one DNS name, the producer's");
        };
        match Name::new(name) {
            Ok(producer) => Ok(Self {
                producer,
                name: format!("certificate of {name}"),
            }),
            Err(_) => refused("the DNS name in the client's certificate is not a producer's name"),
        }
    }
}

/// The services that a server at work lets in.
pub(super) struct Services {
    path: PathBuf,
    known: RwLock<Known>,
    /// Tokens of this run alone, by hash; none but the demo lends any.
    lent: RwLock<Table>,
}

type Table = HashMap<[u8; 32], Service>;

/// What the file said when it was read last.
#[derive(Default)]
struct Known {
    stamp: Option<Stamp>,
    services: Arc<Table>,
}

/// Tells one state of a file from another: when it was written, its length, its inode. Replacing it changes the last.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp((i64, i64), u64, u64);

impl Services {
    /// Of a ledger's folder.
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            path: place(folder),
            known: RwLock::default(),
            lent: RwLock::default(),
        }
    }

    /// The service that a token is.
    pub(super) fn find(&self, token: &str) -> Result<Service, Problem> {
        let hash = hash(token);
        let lent = self.lent.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(service) = lent.get(&hash) {
            return Ok(service.clone());
        }
        drop(lent);
        let known = self.table().map_err(|error| Problem::failed(&error))?;
        let unknown = || {
            Problem::new(
                ProblemKind::Unauthenticated,
                "this service token is not known here",
            )
        };
        known.get(&hash).cloned().ok_or_else(unknown)
    }

    /// Makes a token that this run of the server knows and no file holds.
    pub(super) fn lend(&self, producer: &Name, name: &str) -> Result<String, ConsumerError> {
        let token = new_token()?;
        let service = Service {
            producer: producer.clone(),
            name: name.to_owned(),
        };
        let mut lent = self.lent.write().unwrap_or_else(PoisonError::into_inner);
        lent.insert(hash(&token), service);
        Ok(token)
    }

    /// What the file says now.
    fn table(&self) -> Result<Arc<Table>, LedgerError> {
        let stamp = self.stamp()?;
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            if known.stamp == stamp {
                return Ok(Arc::clone(&known.services));
            }
        }
        let services = read(&self.path)?.into_iter().map(|token| {
            let service = Service {
                producer: token.producer,
                name: token.name,
            };
            (token.hash, service)
        });
        let services: Arc<Table> = Arc::new(services.collect());
        // The stamp from before reading: what changed meanwhile is read again next time.
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Known {
            stamp,
            services: Arc::clone(&services),
        };
        Ok(services)
    }

    fn stamp(&self) -> Result<Option<Stamp>, LedgerError> {
        match fs::metadata(&self.path) {
            Ok(facts) => Ok(Some(Stamp(
                (facts.mtime(), facts.mtime_nsec()),
                facts.len(),
                facts.ino(),
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LedgerError::File {
                doing: "read",
                path: self.path.clone(),
                source,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        files::make_private_folder(&folder.path().join(FOLDER)).unwrap();
        folder
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn kind<T>(result: Result<T, Problem>) -> Option<ProblemKind> {
        result.err().map(|problem| problem.kind())
    }

    /// The fault: a token that was taken back is let in until the server is started anew, or the file gives tokens
    /// away.
    #[test]
    fn a_token_counts_from_when_it_is_made_until_it_is_taken_back() {
        let folder = folder();
        let services = Services::new(folder.path());
        assert_eq!(kind(services.find("st_none")), Some(ProblemKind::Unauthenticated));
        let shop = ServiceTokens::add(folder.path(), &name("shop.example"), "till 1").unwrap();
        let mail = ServiceTokens::add(folder.path(), &name("mail.example"), "mail").unwrap();
        assert_eq!((shop.len(), shop.starts_with(TOKEN_PREFIX)), (46, true));
        assert_eq!(services.find(&shop).unwrap().producer, name("shop.example"));
        assert_eq!(services.find(&mail).unwrap().producer, name("mail.example"));
        let listed = ServiceTokens::list(folder.path()).unwrap();
        let names: Vec<_> = listed.iter().map(|token| token.name.as_str()).collect();
        assert_eq!(names, ["till 1", "mail"]);
        let text = fs::read_to_string(place(folder.path())).unwrap();
        assert!(!text.contains(&shop[TOKEN_PREFIX.len()..]));
        assert_eq!(
            ServiceTokens::revoke(folder.path(), "till 1").unwrap().name,
            "till 1"
        );
        assert_eq!(kind(services.find(&shop)), Some(ProblemKind::Unauthenticated));
        assert!(services.find(&mail).is_ok());
        assert!(ServiceTokens::revoke(folder.path(), "till 1").is_err());
    }

    /// The fault: two tokens of one name, of which taking back takes one; or a name that makes a second line of the
    /// file.
    #[test]
    fn a_tokens_name_is_its_own_and_one_line() {
        let folder = folder();
        let producer = name("shop.example");
        ServiceTokens::add(folder.path(), &producer, "till").unwrap();
        for bad in ["till", "", " till", "a\nb", &"x".repeat(81)] {
            assert!(
                ServiceTokens::add(folder.path(), &producer, bad).is_err(),
                "{bad:?}"
            );
        }
        assert_eq!(ServiceTokens::list(folder.path()).unwrap().len(), 1);
    }

    /// The fault: a file that anybody can write to says who may record, or half of a damaged one is believed.
    #[test]
    fn a_file_that_is_open_to_others_or_damaged_lets_nobody_in() {
        let folder = folder();
        let token = ServiceTokens::add(folder.path(), &name("shop.example"), "till").unwrap();
        let path = place(folder.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let services = Services::new(folder.path());
        assert_eq!(kind(services.find(&token)), Some(ProblemKind::Failed));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(services.find(&token).is_ok());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{text}and more\n")).unwrap();
        assert_eq!(kind(services.find(&token)), Some(ProblemKind::Failed));
    }

    #[test]
    fn a_lent_token_is_in_no_file() {
        let folder = folder();
        let services = Services::new(folder.path());
        let token = services.lend(&name("shop.example"), "demo").unwrap();
        assert_eq!(services.find(&token).unwrap().name, "demo");
        assert!(ServiceTokens::list(folder.path()).unwrap().is_empty());
        assert!(Services::new(folder.path()).find(&token).is_err());
    }

    /// The fault: a certificate with several names records for whichever the service likes.
    #[test]
    fn a_certificate_has_one_name_which_is_the_producers() {
        let of = |names: &[&str]| {
            Service::certified(&ClientName(names.iter().map(|name| (*name).to_owned()).collect()))
        };
        assert_eq!(of(&["shop.example"]).unwrap().producer, name("shop.example"));
        let none: &[&str] = &[];
        for bad in [
            none,
            &["shop.example", "mail.example"],
            &["*.shop.example"],
            &["Shop.example"],
        ] {
            assert_eq!(kind(of(bad)), Some(ProblemKind::Forbidden), "{bad:?}");
        }
    }
}
