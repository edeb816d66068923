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
use std::sync::{Arc, Mutex, PoisonError};
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
use seal::Channel;
pub use seal::{Asked, Nonce};

pub(crate) use payload::MAX_CUSTOMERS;

/// How long a producer may use what it was granted before it must ask again.
pub const LEASE: Duration = Duration::from_secs(60);
/// The most bytes of a producer's request: every customer with the longest id.
const MAX_REQUEST_BYTES: usize = 29 + 2 + MAX_CUSTOMERS * (3 + 256) + 16;

/// The whole reply to a request that cannot be authenticated.
pub(crate) const DENIED: u8 = 0x00;
/// The whole reply where nothing can be said now, not even encrypted.
pub(crate) const NOT_NOW: u8 = 0xff;

/// Who has a right to ask.
pub trait Rights: Send + Sync {
    /// The producer's signing keys that the registry holds valid now; none for a producer it does not know.
    fn valid_keys(&self, producer: &Name) -> Result<Vec<VerifierKey>, LedgerError>;
}

/// Answers producers and hosts out of a vault.
pub struct Desk {
    vault: Arc<Vault>,
    rights: Arc<dyn Rights>,
    replicate: Box<Replicate>,
    hosts: Channel,
    denied: AtomicU64,
    trouble: Mutex<Option<String>>,
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
            trouble: Mutex::new(None),
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

    /// Why the last request that was authentic could not be answered; none once one was.
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
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
        let id = request.get(1..5).and_then(|id| id.try_into().ok()).map(KeyId);
        let reserved = producer.as_str() == OPERATOR || producer.as_str() == RECOVERY;
        let id = id.filter(|_| !reserved && request.len() <= MAX_REQUEST_BYTES);
        let keys = match self.rights.valid_keys(producer) {
            Ok(keys) => keys,
            Err(error) => {
                self.tell(Some(&error));
                return Err(NOT_NOW);
            }
        };
        let mut keys = keys
            .iter()
            .filter(|key| Some(key.id()) == id && key.kind() == KeyKind::Note);
        let opened = keys.find_map(|key| {
            let secret = self.vault.access_secret(producer, key);
            let channel = Channel::of_producer(&secret, self.vault.id(), producer, key.id());
            let (nonce, payload) = channel.open_request(request)?;
            Some((channel, nonce, payload))
        });
        opened.ok_or_else(|| {
            self.denied.fetch_add(1, Ordering::Relaxed);
            DENIED
        })
    }

    fn decide(&self, producer: &Name, payload: &[u8]) -> Answer {
        let Some(wanted) = payload::parse_customers(payload) else {
            return Answer::Refused("the request does not name 1 to 1,024 customers".into());
        };
        match self.vault.grants_shared(producer, &wanted, &*self.replicate) {
            Ok(grants) => {
                self.tell(None);
                Answer::Granted { lease: LEASE, grants }
            }
            Err(error) => {
                self.tell(Some(&error));
                // What is wrong on the vault's host is for its operator to read.
                Answer::NotNow("the vault's host has a fault; its operator sees which".into())
            }
        }
    }

    fn tell(&self, error: Option<&LedgerError>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = error.map(ToString::to_string);
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
