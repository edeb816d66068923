//! The vault: labels, and the one place where customers' keys exist.
//!
//! In scope: a customer's generations, making and wrapping keys, deriving what a producer gets, destroying keys and
//! exchanging what the others are wrapped under. The vault knows no customer id: a slot is found by its label, or by a
//! keyed hash of the id that is wiped at an erasure.
//! Out of scope: who may ask over the bus (the desk), the erasure entry in the log. Trust: the vault is trusted; so are
//! its file, the label key and the key-encryption key, which are refused when others can read them.

mod erasing;
mod grants;
mod hosts;
mod kek;
mod rotate;
mod slots;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sharetrail_proof::customer::{CustomerKey, ProducerKey, label, prove_label};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, LedgerId, Name};
use sharetrail_proof::vrf::{VrfProof, VrfPublicKey, VrfSecretKey};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::files;
pub(crate) use erasing::pending;
pub(crate) use grants::Wanted;
pub use grants::{Grants, Leased, Replicate};
pub use hosts::SharedSecret;
pub(crate) use kek::kek_text;
use kek::{Kek, Opened, parse_secret};

use slots::{Slot, Slots};

/// What a producer gets to record a customer's events.
#[derive(Clone)]
pub struct Grant {
    /// The customer's living generation.
    pub generation: u32,
    /// Its label.
    pub label: Label,
    /// The producer's key of the customer.
    pub key: ProducerKey,
    /// The proof that the label is the customer's, when it is given for the first time.
    pub proof: Option<VrfProof>,
}

/// One generation of a customer, as the vault knows it.
#[derive(Clone)]
pub struct CustomerGeneration {
    /// How often the customer was erased before.
    pub generation: u32,
    /// The label.
    pub label: Label,
    /// The key; none once it was destroyed.
    pub key: Option<CustomerKey>,
}

/// Labels and keys of a ledger's customers.
pub struct Vault {
    ledger: Name,
    id: LedgerId,
    vrf: VrfSecretKey,
    lookup: Hmac<Sha256>,
    /// What the secrets of producers and hosts are derived from.
    secret: Zeroizing<[u8; 32]>,
    /// What keys are wrapped under on their way between hosts.
    transit: Kek,
    places: Places,
    kept: Mutex<Kept>,
    /// Whoever makes new keys holds it, from showing them to other hosts until they are kept.
    making: Mutex<()>,
    /// Labels whose keys another host has otherwise.
    contradicted: Mutex<BTreeSet<Label>>,
}

/// Where a vault's parts lie.
pub(crate) struct VaultPaths<'a> {
    pub(crate) folder: &'a Path,
    pub(crate) kek: &'a Path,
    pub(crate) vrf: &'a Path,
}

/// Where the vault's files lie.
struct Places {
    folder: PathBuf,
    kek: PathBuf,
}

/// What changes in a vault: the slots, always together with the key that they are wrapped under.
struct Kept {
    slots: Slots,
    kek: Kek,
    is_writable: bool,
    /// Labels whose erasure was asked for and is not done yet, with their generations: no key of them is granted.
    erasing: BTreeMap<Label, u32>,
    /// Whether keys were destroyed since the key-encryption key was last exchanged.
    rotation_is_due: bool,
    /// What the operator should know of an exchange, a line each.
    told: Vec<String>,
}

impl Kept {
    fn open(&self, slot: &Slot) -> Result<Opened, LedgerError> {
        let wrong =
            "a customer's key does not unwrap: the key-encryption key is another, or the slot was altered";
        self.kek
            .unwrap(slot)
            .ok_or_else(|| LedgerError::Vault(wrong.into()))
    }

    fn live_by_label(&self, label: &Label) -> Result<Option<Opened>, LedgerError> {
        let slot = self.slots.by_label(label)?.filter(Slot::is_live);
        slot.map(|slot| self.open(&slot)).transpose()
    }

    fn live_by_lookup(&self, lookup: &[u8; 16]) -> Result<Option<Opened>, LedgerError> {
        let slot = self.slots.by_lookup(lookup)?;
        slot.map(|slot| self.open(&slot)).transpose()
    }
}

/// What came of taking keys over from a copy of the vault.
pub(crate) struct Adopted {
    /// Keys that were taken over.
    pub(crate) taken: u64,
    /// Keys that are missing here and did not open: the copy is older than the key-encryption key.
    pub(crate) unopened: u64,
}

impl Vault {
    /// Opens a vault; `writable` once a process, under the ledger's lock. An exchange of the key-encryption key that was
    /// interrupted is finished or taken back then. Otherwise nothing is written, and another process may write.
    pub(crate) fn open(
        ledger: &Name,
        id: LedgerId,
        paths: &VaultPaths<'_>,
        writable: bool,
    ) -> Result<Self, LedgerError> {
        files::check_private(paths.folder)?;
        let seed = Zeroizing::new(files::read_private(paths.vrf)?);
        let seed = parse_secret(VRF_PREFIX, &seed)
            .ok_or_else(|| LedgerError::damaged(paths.vrf, None, "not a key of 32 bytes"))?;
        let lookup = Zeroizing::new(Hash::of(&[b"sharetrail vault lookup v1\n", &seed[..]]).0);
        let secret = Zeroizing::new(Hash::of(&[b"sharetrail vault secret v1\n", &seed[..]]).0);
        let places = Places {
            folder: paths.folder.to_owned(),
            kek: paths.kek.to_owned(),
        };
        let kept = if writable {
            Kept::take_up(id, &places)?
        } else {
            Kept::read(id, &places)?
        };
        Ok(Self {
            ledger: ledger.clone(),
            id,
            vrf: VrfSecretKey::from_seed(&seed),
            lookup: Hmac::new_from_slice(&lookup[..]).expect("HMAC takes keys of any length"),
            transit: hosts::transit(id, &secret),
            secret,
            places,
            kept: Mutex::new(kept),
            making: Mutex::new(()),
            contradicted: Mutex::new(BTreeSet::new()),
        })
    }

    /// The ledger's id.
    pub fn id(&self) -> &LedgerId {
        &self.id
    }

    /// The public half of the label key.
    pub fn vrf(&self) -> VrfPublicKey {
        self.vrf.public()
    }

    /// A customer's label in some generation.
    pub fn label(&self, customer: &str, generation: u32) -> Label {
        label(&self.vrf, &self.ledger, customer, generation)
    }

    /// A customer's label with its proof.
    pub fn prove_label(&self, customer: &str, generation: u32) -> (Label, VrfProof) {
        prove_label(&self.vrf, &self.ledger, customer, generation)
    }

    fn lookup(&self, customer: &str) -> [u8; 16] {
        let mut mac = self.lookup.clone();
        mac.update(customer.as_bytes());
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let mut short = [0; 16];
        short.copy_from_slice(&tag[..16]);
        short
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Vault::kept`]; where another process writes, and has written the slots anew, what lies there now.
    fn kept_now(&self) -> Result<MutexGuard<'_, Kept>, LedgerError> {
        let mut kept = self.kept();
        if !kept.is_writable && kept.slots.is_replaced() {
            *kept = Kept::read(self.id, &self.places)?;
        }
        Ok(kept)
    }

    /// The generations of a customer, oldest first; empty when the vault has never met the customer.
    pub fn generations(&self, customer: &str) -> Result<Vec<CustomerGeneration>, LedgerError> {
        let mut found = Vec::new();
        for generation in 0.. {
            let label = self.label(customer, generation);
            let kept = self.kept_now()?;
            let Some(slot) = kept.slots.by_label(&label)? else {
                break;
            };
            let key = if slot.is_live() {
                Some(kept.open(&slot)?.key)
            } else {
                None
            };
            found.push(CustomerGeneration {
                generation,
                label,
                key,
            });
        }
        Ok(found)
    }

    /// What a producer needs to record events of these customers, in their order. Customers the vault has not met get a
    /// key, which is on disk when this returns.
    pub fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Vec<Grant>, LedgerError> {
        let wanted: Vec<_> = customers
            .iter()
            .map(|&customer| Wanted {
                customer,
                prove: false,
            })
            .collect();
        self.grants_shared(producer, &wanted, &|_| Ok(Vec::new()))
    }

    /// Takes over the keys that a copy of this vault has and this one lacks, or has and cannot open.
    pub(crate) fn adopt(&self, copy: &Path) -> Result<Adopted, LedgerError> {
        let theirs = Slots::open(&copy.join("slots"), false)?;
        let mut kept = self.kept();
        let mut adopted = Adopted {
            taken: 0,
            unopened: 0,
        };
        theirs.visit(&mut |slot| {
            let ours = kept.slots.by_label(&slot.label)?;
            // A label that is known here stays as it is here: a destroyed key does not come back.
            let lacks = ours.is_none_or(|ours| ours.is_live() && kept.kek.unwrap(&ours).is_none());
            if !slot.is_live() || !lacks {
                return Ok(());
            }
            if kept.kek.unwrap(slot).is_some() {
                kept.slots.mend(slot)?;
                adopted.taken += 1;
            } else {
                adopted.unopened += 1;
            }
            Ok(())
        })?;
        kept.slots.sync()?;
        Ok(adopted)
    }

    /// What a producer gets of the customer with this label, if the key is here and was not destroyed.
    pub fn producer_key(&self, label: &Label, producer: &Name) -> Result<Option<ProducerKey>, LedgerError> {
        Ok(self.key(label)?.map(|key| key.for_producer(producer)))
    }

    /// The key of the customer with this label, if it is here and was not destroyed.
    pub(crate) fn key(&self, label: &Label) -> Result<Option<CustomerKey>, LedgerError> {
        Ok(self.kept_now()?.live_by_label(label)?.map(|opened| opened.key))
    }

    /// How many customers' keys there are.
    pub fn customers(&self) -> u64 {
        self.kept().slots.live()
    }
}

const VRF_PREFIX: &str = "SHARETRAIL+VRF+1+";

/// The text of a label key.
pub(crate) fn vrf_text(seed: &[u8; 32]) -> String {
    format!("{VRF_PREFIX}{}\n", BASE64.encode(seed))
}
