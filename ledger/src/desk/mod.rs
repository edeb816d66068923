//! The desk: the vault at one end of the bus.
//!
//! In scope: who may have which keys, granting them, the bytes in between, and slots between hosts that keep one vault.
//! Whoever has a valid signing key has an access secret that goes with it; rotating or revoking the key takes the access
//! away. Out of scope: carrying requests (the bus), who leads, making keys (the vault).
//! Trust: requests are untrusted until they open under a secret that only a producer's host, or a host, has. Nothing of
//! a request, a customer or a key is ever written down or logged.

mod access;
mod command;
mod payload;
mod replica;
mod seal;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sharetrail_proof::name::{Name, OPERATOR, RECOVERY};
use sharetrail_proof::note::{KeyId, KeyKind, VerifierKey};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::vault::{Grants, Leased, Vault, Wanted};
pub use crate::vault::{Replicate, SharedSecret};
pub use access::Access;
pub use command::Commands;
use payload::Answer;
pub use replica::{Peer, SLOTS_MAX, Slots};
pub use seal::{Asked, Nonce};
use seal::{Channel, MIN_REQUEST_BYTES, VERSION};

pub(crate) use payload::MAX_CUSTOMERS;

/// How long a producer may use what it was granted before it must ask again.
pub const LEASE: Duration = Duration::from_mins(1);
/// The most bytes of a producer's request: every customer with the longest id.
const MAX_REQUEST_BYTES: usize = 29 + 2 + MAX_CUSTOMERS * (3 + 256) + 16;

/// What a producer hears where a customer's key cannot be read: asking again does not help.
const DAMAGED: &str =
    "a customer's key is damaged on the host that leads shard 0; look at the journal and the vault there";

/// The whole reply to a request that cannot be authenticated.
pub(crate) const DENIED: u8 = 0x00;
/// The whole reply where nothing can be said now, not even encrypted.
pub(crate) const NOT_NOW: u8 = 0xff;

/// Who has a right to ask.
pub trait Rights: Send + Sync {
    /// The producer's signing keys that the registry holds valid now; none for a producer it does not know.
    fn valid_keys(&self, producer: &Name) -> Result<Vec<VerifierKey>, LedgerError>;
}

/// Why requests that were authentic could not be answered. It names no customer and no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The last reason.
    pub what: String,
    /// How many requests met trouble of its sort.
    pub times: u64,
}

/// Trouble that ends with the next good answer, and trouble that only whoever looks after the host can end.
#[derive(Default)]
struct Troubles {
    passing: Option<Trouble>,
    lasting: Option<Trouble>,
}

/// Answers producers and hosts out of a vault.
pub struct Desk {
    vault: Arc<Vault>,
    rights: Arc<dyn Rights>,
    replicate: Box<Replicate>,
    hosts: Channel,
    denied: AtomicU64,
    troubles: Mutex<Troubles>,
}

impl Desk {
    /// A desk of a vault that was opened for writing. `replicate` is called with new slots before anybody gets a key of
    /// theirs: see [`Replicate`].
    pub fn new(vault: Arc<Vault>, rights: Arc<dyn Rights>, replicate: Box<Replicate>) -> Self {
        Self {
            hosts: Channel::of_hosts(&vault.host_secret(), vault.id()),
            vault,
            rights,
            replicate,
            denied: AtomicU64::new(0),
            troubles: Mutex::default(),
        }
    }

    /// The vault.
    pub fn vault(&self) -> &Arc<Vault> {
        &self.vault
    }

    /// How many requests were denied since the start: no right, another's name, altered bytes.
    pub fn denied(&self) -> u64 {
        self.denied.load(Ordering::Relaxed)
    }

    /// Why requests that were authentic could not be answered. Where the bus or another host did not answer, none once
    /// one was; a fault of this host's vault stays until the host is started anew.
    pub fn trouble(&self) -> Option<Trouble> {
        let troubles = self.troubles();
        troubles.lasting.clone().or_else(|| troubles.passing.clone())
    }

    fn troubles(&self) -> MutexGuard<'_, Troubles> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers a request that came on this producer's bus subject. A request that is not authentic gets one byte.
    pub fn answer(&self, producer: &Name, request: &[u8]) -> Vec<u8> {
        match self.open(producer, request) {
            Ok((channel, nonce, payload)) => {
                let answer = self.decide(producer, &payload);
                let payload = payload::encode_answer(&answer);
                channel.reply(&nonce, &payload).unwrap_or_else(|_| vec![NOT_NOW])
            }
            Err(answer) => vec![answer],
        }
    }

    /// The request's payload and the channel to answer on; else the one byte to answer.
    fn open(&self, producer: &Name, request: &[u8]) -> Result<(Channel, Nonce, Zeroizing<Vec<u8>>), u8> {
        // The registry is slow to ask: what cannot be a request is denied without it.
        let reserved = producer.as_str() == OPERATOR || producer.as_str() == RECOVERY;
        let fits = (MIN_REQUEST_BYTES..=MAX_REQUEST_BYTES).contains(&request.len());
        let id = match request {
            [VERSION, a, b, c, d, ..] if fits && !reserved => KeyId([*a, *b, *c, *d]),
            _ => return Err(self.deny()),
        };
        let keys = match self.rights.valid_keys(producer) {
            Ok(keys) => keys,
            Err(error) => {
                self.pass(&error);
                return Err(NOT_NOW);
            }
        };
        let mut keys = keys
            .iter()
            .filter(|key| key.id() == id && key.kind() == KeyKind::Note);
        let opened = keys.find_map(|key| {
            let secret = self.vault.access_secret(producer, key);
            let channel = Channel::of_producer(&secret, self.vault.id(), producer, key.id());
            let (nonce, payload) = channel.open_request(request)?;
            Some((channel, nonce, payload))
        });
        opened.ok_or_else(|| self.deny())
    }

    fn deny(&self) -> u8 {
        self.denied.fetch_add(1, Ordering::Relaxed);
        DENIED
    }

    fn decide(&self, producer: &Name, payload: &[u8]) -> Answer {
        let Some(wanted) = payload::parse_customers(payload) else {
            return Answer::Refused("the request does not name 1 to 1,024 customers".into());
        };
        match self.vault.grants_shared(producer, &wanted, &*self.replicate) {
            Ok(grants) => {
                self.troubles().passing = None;
                Answer::Granted { lease: LEASE, grants }
            }
            // No trouble: it is over in a minute or two.
            Err(LedgerError::Erasing) => Answer::NotNow(LedgerError::Erasing.to_string()),
            Err(error) if error.is_transient() => {
                self.pass(&error);
                Answer::NotNow("the vault's host cannot reach the others now; its journal says which".into())
            }
            // What is wrong on the vault's host is for its operator to read.
            Err(error) => {
                note(&mut self.troubles().lasting, &error);
                if matches!(error, LedgerError::Damaged { .. }) {
                    Answer::Refused(DAMAGED.into())
                } else {
                    Answer::NotNow("the vault's host has a fault; its journal says which".into())
                }
            }
        }
    }

    fn pass(&self, error: &LedgerError) {
        note(&mut self.troubles().passing, error);
    }

    /// Answers another host: see [`Peer`]. What came is on disk when this returns.
    pub fn answer_host(&self, request: &[u8]) -> Vec<u8> {
        let Some((nonce, payload)) = self.hosts.open_request(request) else {
            self.denied.fetch_add(1, Ordering::Relaxed);
            return vec![DENIED];
        };
        let reply = replica::serve(&self.vault, &payload);
        self.hosts.reply(&nonce, &reply).unwrap_or_else(|_| vec![NOT_NOW])
    }
}

fn note(trouble: &mut Option<Trouble>, error: &LedgerError) {
    let times = trouble.as_ref().map_or(0, |trouble| trouble.times) + 1;
    let what = error.to_string();
    *trouble = Some(Trouble { what, times });
}

/// For a publisher in the vault's own process: other hosts hold new keys first, as for producers elsewhere.
impl Grants for Desk {
    fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Leased, LedgerError> {
        let wanted: Vec<_> = customers
            .iter()
            .map(|&customer| Wanted {
                customer,
                prove: false,
            })
            .collect();
        Ok(Leased {
            grants: self.vault.grants_shared(producer, &wanted, &*self.replicate)?,
            until: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use std::time::Instant;

    use sharetrail_proof::note::NoteSigner;

    use super::*;
    use crate::ledger::Ledger;
    use crate::testing;
    use crate::wire::{Control, ControlReply};

    /// A registry that counts how often it is asked.
    struct Counting {
        keys: BTreeMap<Name, VerifierKey>,
        asked: Arc<AtomicU64>,
    }

    impl Rights for Counting {
        fn valid_keys(&self, producer: &Name) -> Result<Vec<VerifierKey>, LedgerError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            Ok(self.keys.get(producer).cloned().into_iter().collect())
        }
    }

    struct Place {
        ledger: Ledger,
        desk: Desk,
        producers: BTreeMap<Name, Access>,
        asked: Arc<AtomicU64>,
        _folder: tempfile::TempDir,
    }

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// A desk that producers `till` and `web` have a right to ask.
    fn place() -> Place {
        let (folder, ledger) = testing::ledger(1);
        let vault = Arc::new(ledger.open_vault(true).unwrap());
        let asked = Arc::new(AtomicU64::new(0));
        let (mut keys, mut producers) = (BTreeMap::new(), BTreeMap::new());
        for (producer, seed) in [(name("till"), 1), (name("web"), 2)] {
            let signer = NoteSigner::from_seed(producer.as_str(), &[seed; 32]).unwrap();
            let key = signer.verifier().clone();
            let secret = vault.access_secret(&producer, &key);
            let access = Access::new(ledger.facts(), &producer, key.id(), &secret);
            producers.insert(producer.clone(), access);
            keys.insert(producer, key);
        }
        let rights = Arc::new(Counting {
            keys,
            asked: Arc::clone(&asked),
        });
        Place {
            desk: Desk::new(vault, rights, Box::new(|_| Ok(Vec::new()))),
            ledger,
            producers,
            asked,
            _folder: folder,
        }
    }

    impl Place {
        fn granted(&self, producer: &str, customer: &str) -> Result<(), LedgerError> {
            let producer = name(producer);
            let access = &self.producers[&producer];
            let asked = access.ask(&[customer]).unwrap();
            let reply = self.desk.answer(&producer, asked.bytes());
            access
                .read(&asked, &[customer], &reply, Instant::now())
                .map(|_| ())
        }
    }

    /// The fault: whoever reaches the bus keeps the registry busy with what cannot be a request.
    #[test]
    fn what_cannot_be_a_request_is_denied_without_asking_the_registry() {
        let place = place();
        let till = name("till");
        let good = place.producers[&till].ask(&["customer-1"]).unwrap();
        let good = good.bytes();
        let mut other_version = good.to_vec();
        other_version[0] ^= 1;
        let mut long = good.to_vec();
        long.resize(MAX_REQUEST_BYTES + 1, 0);
        let short = &good[..MIN_REQUEST_BYTES - 1];
        for bad in [&[][..], &[VERSION], short, &long[..], &other_version[..]] {
            assert_eq!(place.desk.answer(&till, bad), [DENIED]);
        }
        for reserved in [OPERATOR, RECOVERY] {
            assert_eq!(place.desk.answer(&name(reserved), good), [DENIED]);
        }
        assert_eq!((place.asked.load(Ordering::Relaxed), place.desk.denied()), (0, 7));
        place.granted("till", "customer-1").unwrap();
        assert_eq!((place.asked.load(Ordering::Relaxed), place.desk.denied()), (1, 7));
    }

    /// The fault: one customer's key is damaged, and nobody hears of it because other customers' are not; or a producer
    /// asks again and again for what will not come.
    #[test]
    fn a_damaged_key_is_refused_and_stays_told() {
        let place = place();
        let (damaged, sound) = ("customer-damaged", "customer-sound");
        place.granted("till", damaged).unwrap();
        place.granted("till", sound).unwrap();
        assert_eq!(place.desk.trouble(), None);
        let path = place.ledger.folder().vault().join("slots");
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // The first slot comes after a head of its size.
        let (mut byte, at) = ([0], 160 + 100);
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        for times in 1..3 {
            let refused = place.granted("till", damaged);
            assert!(matches!(refused, Err(LedgerError::Denied(_))));
            place.granted("web", sound).unwrap();
            let trouble = place.desk.trouble().unwrap();
            assert_eq!(trouble.times, times);
            assert!(trouble.what.contains(&path.display().to_string()));
            assert!(!trouble.what.contains("customer-"));
        }
    }

    /// The fault: what the log refuses looks at the other end like bad usage.
    #[test]
    fn a_command_that_is_refused_is_told_from_one_that_failed() {
        let place = place();
        let commands = Commands::new(place.desk.vault());
        let carried_out = |outcome: Result<(), LedgerError>| {
            let asked = commands.ask(&Control::NextStream { shard: 0 }).unwrap();
            let (nonce, _) = commands.open(asked.bytes()).unwrap();
            let reply = commands.reply(&nonce, &ControlReply::of(&outcome)).unwrap();
            commands.read(&asked, &reply)
        };
        let refused = carried_out(Err(LedgerError::Rejected("its key has ended".into())));
        assert!(matches!(refused, Err(LedgerError::Refused(_))));
        let failed = carried_out(Err(LedgerError::Invalid("no such shard".into())));
        assert!(matches!(failed, Err(LedgerError::Invalid(_))));
        carried_out(Ok(())).unwrap();
    }
}
