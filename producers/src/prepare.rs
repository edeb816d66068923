//! Preparing events, in parallel: validate, find the customer's keys, look for a repeat, commit, seal.
//!
//! In scope: everything about an event that does not depend on its neighbours; asking again for keys where the vault is at
//! the other end of the bus and cannot be reached, and where a lease has ended. Out of scope: order, batches,
//! signatures. Trust: contents are untrusted; a label that is given for the first time is checked by its proof.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quick_cache::sync::Cache;
use sharetrail_ledger::{Facts, Grant, Grants, Leased, Ledger, LedgerError, Reader, Vault};
use sharetrail_proof::customer::{Sealer, commitments, verify_label};
use sharetrail_proof::entry::{EVENT_BYTES, Entry, EventEntry};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, Name};
use sharetrail_schemas::{Content, Timestamp, parse};

use crate::error::PublishError;
use crate::index::{Index, Recorded};
use crate::notices::Notices;
use crate::outbox::{ContentMac, EventName};
use crate::tickets::Ticket;

/// Customers whose keys are at hand; each takes some 700 bytes.
const CUSTOMERS_AT_HAND: usize = 50_000;
const NONCE_BYTES: usize = 24;
/// How long a worker waits before it asks for keys again: twice as long each time, between these.
const PATIENCE: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// Events handed in together. Contents lie in one buffer.
pub(crate) struct Chunk {
    pub(crate) buffer: Vec<u8>,
    pub(crate) items: Vec<(Range<usize>, Ticket)>,
    /// Whether batches are to be cut after it even if they are not full.
    pub(crate) flush: bool,
}

/// A chunk whose events are ready to be batched, or refused.
pub(crate) struct Prepared {
    pub(crate) events: Vec<(Ticket, Result<Ready, PublishError>)>,
    /// Sealed contents, one after the other.
    pub(crate) sealed: Vec<u8>,
    pub(crate) flush: bool,
}

/// An event that may enter a batch.
pub(crate) enum Ready {
    /// It is on record with this very content.
    Known(Recorded),
    /// It is new, as far as the index knows.
    New(Box<NewEvent>),
}

pub(crate) struct NewEvent {
    pub(crate) shard: u32,
    pub(crate) entry: [u8; EVENT_BYTES],
    pub(crate) named: EventName,
    pub(crate) sealed: Range<usize>,
    /// The event's source and id, for telling of a conflict.
    pub(crate) name: (String, String),
}

/// What is random about an event, and the commitment it leads to.
struct Salt<'a> {
    opening: &'a [u8; 32],
    nonce: &'a [u8; NONCE_BYTES],
    commitment: Hash,
}

type Drawn = (Vec<[u8; 32]>, Vec<[u8; NONCE_BYTES]>);

/// Openings and nonces for a chunk, in one go.
fn draw(count: usize) -> Result<Drawn, String> {
    let (mut openings, mut nonces) = (vec![[0; 32]; count], vec![[0; NONCE_BYTES]; count]);
    let drawn = getrandom::fill(openings.as_flattened_mut())
        .and_then(|()| getrandom::fill(nonces.as_flattened_mut()));
    drawn
        .map(|()| (openings, nonces))
        .map_err(|error| format!("no random bytes: {error}"))
}

fn refuse_all(chunk: &Chunk, reason: &str) -> Prepared {
    let refuse = |(_, ticket): &(Range<usize>, Ticket)| {
        (
            ticket.clone(),
            Err(PublishError::Stopped {
                reason: reason.to_owned(),
            }),
        )
    };
    Prepared {
        events: chunk.items.iter().map(refuse).collect(),
        sealed: Vec::new(),
        flush: chunk.flush,
    }
}

struct Customer {
    label: Label,
    /// How often the customer was erased before.
    generation: u32,
    sealer: Sealer,
    /// When its keys must be asked for again.
    until: Option<Instant>,
}

impl Customer {
    fn is_leased(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Whether this was the customer's label before an erasure.
    fn had(&self, label: &Label, customer: &str, vault: &Vault) -> bool {
        (0..self.generation).any(|generation| vault.label(customer, generation) == *label)
    }
}

/// Where a repeat is compared with what is on record.
pub(crate) enum Repeats {
    /// With the content in the archive; the vault knows the labels that a customer had before.
    Archive(Ledger, Arc<Vault>),
    /// With the content's MAC in the index; there is no archive here.
    Index,
}

/// What the workers need of their surroundings.
pub(crate) struct Surroundings {
    pub(crate) facts: Arc<Facts>,
    pub(crate) producer: Name,
    pub(crate) grants: Arc<dyn Grants>,
    pub(crate) repeats: Repeats,
    pub(crate) notices: Arc<Notices>,
    /// Set once nobody waits for events that are not kept yet.
    pub(crate) stopping: Arc<AtomicBool>,
}

/// What the workers share.
pub(crate) struct Workshop {
    around: Surroundings,
    index: Arc<Index>,
    customers: Cache<String, Arc<Customer>>,
    digests: RandomState,
}

impl Workshop {
    pub(crate) fn new(around: Surroundings, index: &Arc<Index>) -> Self {
        Self {
            around,
            index: Arc::clone(index),
            customers: Cache::new(CUSTOMERS_AT_HAND),
            digests: RandomState::new(),
        }
    }

    /// Asks the vault anew for every customer.
    pub(crate) fn forget_customers(&self) {
        self.customers.clear();
    }

    /// Prepares a chunk. An event that is at fault is refused alone; what stops all is an error of each.
    pub(crate) fn prepare(&self, chunk: &Chunk) -> Prepared {
        let now = now();
        let contents: Vec<_> = chunk
            .items
            .iter()
            .map(|(range, _)| parse(&chunk.buffer[range.clone()], now))
            .collect();
        let customers = self.customers(&contents);
        if let Err(reason) = &customers {
            self.around.notices.say_once_a_minute(reason, || {
                format!("customers' keys are not given, so their events are not recorded: {reason}")
            });
        }
        let (openings, nonces) = match draw(chunk.items.len()) {
            Ok(drawn) => drawn,
            Err(reason) => return refuse_all(chunk, &reason),
        };
        let bytes: Vec<&[u8]> = chunk
            .items
            .iter()
            .map(|(range, _)| &chunk.buffer[range.clone()])
            .collect();
        let commitments = commitments(&openings, &bytes);
        let mut sealed = Vec::with_capacity(chunk.buffer.len() + chunk.items.len() * 200);
        let mut events = Vec::with_capacity(chunk.items.len());
        for (position, (content, (_, ticket))) in contents.into_iter().zip(&chunk.items).enumerate() {
            let salt = Salt {
                opening: &openings[position],
                nonce: &nonces[position],
                commitment: commitments[position],
            };
            let ready = match (content, &customers) {
                (Err(error), _) => Err(error.into()),
                (_, Err(reason)) => Err(PublishError::Stopped {
                    reason: reason.clone(),
                }),
                (Ok(content), Ok(customers)) => self.event(&content, customers, &salt, &mut sealed),
            };
            events.push((ticket.clone(), ready));
        }
        Prepared {
            events,
            sealed,
            flush: chunk.flush,
        }
    }

    /// The keys of all customers of a chunk; those that are not at hand are asked for at once.
    fn customers<E>(
        &self,
        contents: &[Result<Content<'_>, E>],
    ) -> Result<HashMap<String, Arc<Customer>>, String> {
        let mut found: HashMap<String, Arc<Customer>> = HashMap::new();
        let mut missing: Vec<&str> = Vec::new();
        for content in contents.iter().flatten() {
            let customer = content.customer();
            if found.contains_key(customer) || missing.contains(&customer) {
                continue;
            }
            match self.customers.get(customer).filter(|known| known.is_leased()) {
                Some(known) => {
                    found.insert(customer.to_owned(), known);
                }
                None => missing.push(customer),
            }
        }
        let Leased { grants, until } = self.ask(&missing).map_err(|error| error.to_string())?;
        for (customer, grant) in missing.into_iter().zip(grants) {
            let known = Arc::new(
                self.believe(customer, &grant, until)
                    .map_err(|error| error.to_string())?,
            );
            self.customers.insert(customer.to_owned(), Arc::clone(&known));
            found.insert(customer.to_owned(), known);
        }
        Ok(found)
    }

    /// Asks for keys, again and again while whoever has them cannot be reached and somebody waits for the answer.
    fn ask(&self, customers: &[&str]) -> Result<Leased, LedgerError> {
        let [mut patience, most] = PATIENCE;
        loop {
            let error = match self.around.grants.grants(&self.around.producer, customers) {
                Err(error) if error.is_transient() => error,
                other => return other,
            };
            if self.around.stopping.load(Ordering::Acquire) {
                return Err(error);
            }
            self.around.notices.say_once_a_minute("vault", || {
                format!("waiting for the vault to give customers' keys: {error}")
            });
            std::thread::sleep(patience);
            patience = (patience * 2).min(most);
        }
    }

    fn believe(
        &self,
        customer: &str,
        grant: &Grant,
        until: Option<Instant>,
    ) -> Result<Customer, PublishError> {
        if let Some(proof) = &grant.proof {
            let facts = &self.around.facts;
            let vrf = &facts.genesis[0].vrf;
            let label = verify_label(vrf, &facts.name, customer, grant.generation, proof);
            if label != Ok(grant.label) {
                return Err(PublishError::Label);
            }
        }
        Ok(Customer {
            label: grant.label,
            generation: grant.generation,
            sealer: grant.key.sealer(),
            until,
        })
    }

    /// What two contents are told apart by: in the index where it holds that, or as long as this process lives.
    fn mac(&self, content: &[u8]) -> ContentMac {
        if self.index.holds_macs() {
            return self.index.content_mac(content);
        }
        let mut mac = ContentMac::default();
        mac[..8].copy_from_slice(&self.digests.hash_one(content).to_be_bytes());
        mac
    }

    fn event(
        &self,
        content: &Content<'_>,
        customers: &HashMap<String, Arc<Customer>>,
        salt: &Salt<'_>,
        sealed: &mut Vec<u8>,
    ) -> Result<Ready, PublishError> {
        let customer = customers
            .get(content.customer())
            .expect("all customers of the chunk were found");
        let key = self.index.key(content.source(), content.id());
        let named = EventName {
            key,
            mac: self.mac(content.bytes()),
        };
        if let Some(recorded) = self.index.get(&key)? {
            return self.known(content, customer, recorded, named.mac);
        }
        let id = customer.sealer.entry_id(content.source(), content.id());
        let entry = EventEntry {
            id,
            label: customer.label,
            commitment: salt.commitment,
        }
        .to_bytes();
        let start = sealed.len();
        customer
            .sealer
            .seal(&entry, salt.opening, content.bytes(), salt.nonce, sealed);
        Ok(Ready::New(Box::new(NewEvent {
            shard: customer.label.shard(self.around.facts.shards()),
            entry,
            named,
            sealed: start..sealed.len(),
            name: (content.source().to_owned(), content.id().to_owned()),
        })))
    }

    /// The index knows the source and id: the same content of the same customer, or another one?
    fn known(
        &self,
        content: &Content<'_>,
        customer: &Customer,
        recorded: Recorded,
        mac: ContentMac,
    ) -> Result<Ready, PublishError> {
        let is_same = match &self.around.repeats {
            Repeats::Archive(ledger, vault) => {
                let leaf = reader(ledger, recorded)?.leaf(recorded.index)?;
                match Entry::parse(&leaf.entry) {
                    Ok(Entry::Event(entry)) if entry.label == customer.label => {
                        let opened = customer.sealer.open(&entry, &leaf.sealed);
                        opened.is_ok_and(|opened| opened.content == content.bytes())
                    }
                    Ok(Entry::Event(entry)) if customer.had(&entry.label, content.customer(), vault) => {
                        return Err(PublishError::Erased {
                            source_uri: content.source().to_owned(),
                            id: content.id().to_owned(),
                            leaf: recorded.index,
                        });
                    }
                    _ => false,
                }
            }
            // A row without a MAC says nothing of the content: refusing is safe, passing over would lose an event.
            Repeats::Index => recorded.mac == Some(mac),
        };
        if is_same {
            return Ok(Ready::Known(recorded));
        }
        let (source_uri, id) = (content.source().to_owned(), content.id().to_owned());
        Err(PublishError::Conflict {
            source_uri,
            id,
            leaf: Some(recorded.index),
        })
    }
}

fn reader(ledger: &Ledger, recorded: Recorded) -> Result<Arc<Reader>, LedgerError> {
    READERS.with_borrow_mut(|readers| {
        let key = (ledger.root().to_owned(), recorded.shard);
        if let Some(reader) = readers
            .get(&key)
            .filter(|reader| recorded.index.0 < reader.size().0)
        {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(ledger.reader(recorded.shard)?);
        readers.insert(key, Arc::clone(&reader));
        Ok(reader)
    })
}

thread_local! {
    /// A worker's readers: opening one for each repeat would cost more than reading it.
    static READERS: std::cell::RefCell<HashMap<(std::path::PathBuf, u32), Arc<Reader>>> = std::cell::RefCell::default();
}

fn now() -> Timestamp {
    let seconds = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    Timestamp::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX))
}
