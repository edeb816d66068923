//! The vault: labels, and the one place where customers' keys exist.
//!
//! In scope: a customer's generations, making and wrapping keys, deriving what a producer gets, destroying. The vault
//! knows no customer id: a slot is found by its label, or by a keyed hash of the id that is wiped at an erasure.
//! Out of scope: who may ask over the bus (the desk), the erasure entry in the log. Trust: the vault is trusted; so are
//! its file, the label key and the key-encryption key, which are refused when others can read them.

mod grants;
mod hosts;
mod slots;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use sharetrail_proof::customer::{CustomerKey, ProducerKey, label, prove_label};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{Label, LedgerId, Name};
use sharetrail_proof::vrf::{VrfProof, VrfPublicKey, VrfSecretKey};
use zeroize::Zeroizing;

use crate::error::LedgerError;
use crate::files;
pub(crate) use grants::Wanted;
pub use grants::{Grants, Leased, Replicate};
pub use hosts::SharedSecret;
use slots::{Slot, Slots};

const KEK_PREFIX: &str = "SHARETRAIL+KEK+1+";

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
    kek: XChaCha20Poly1305,
    slots: Mutex<Slots>,
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

impl Vault {
    /// Opens a vault; `writable` once a process, under the ledger's lock.
    pub(crate) fn open(
        ledger: &Name,
        id: LedgerId,
        paths: &VaultPaths<'_>,
        writable: bool,
    ) -> Result<Self, LedgerError> {
        files::check_private(paths.folder)?;
        let kek = Zeroizing::new(files::read_private(paths.kek)?);
        let kek = secret(paths.kek, kek.trim_end().strip_prefix(KEK_PREFIX))?;
        let seed = Zeroizing::new(files::read_private(paths.vrf)?);
        let seed = secret(paths.vrf, seed.trim_end().strip_prefix(VRF_PREFIX))?;
        let lookup = Zeroizing::new(Hash::of(&[b"sharetrail vault lookup v1\n", &seed[..]]).0);
        let secret = Hash::of(&[b"sharetrail vault secret v1\n", &seed[..]]).0;
        Ok(Self {
            ledger: ledger.clone(),
            id,
            vrf: VrfSecretKey::from_seed(&seed),
            lookup: Hmac::new_from_slice(&lookup[..]).expect("HMAC takes keys of any length"),
            secret: Zeroizing::new(secret),
            kek: XChaCha20Poly1305::new(&(*kek).into()),
            slots: Mutex::new(Slots::open(&paths.folder.join("slots"), writable)?),
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

    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generations of a customer, oldest first; empty when the vault has never met the customer.
    pub fn generations(&self, customer: &str) -> Result<Vec<CustomerGeneration>, LedgerError> {
        let mut found = Vec::new();
        for generation in 0.. {
            let label = self.label(customer, generation);
            let Some(slot) = self.slots().by_label(&label)? else {
                break;
            };
            let key = if slot.is_live() {
                Some(self.unwrap(&slot)?)
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

    fn associated(&self, label: &Label, generation: u32) -> Vec<u8> {
        [&self.id.0[..], &label.0, &generation.to_be_bytes()].concat()
    }

    fn wrap(
        &self,
        label: Label,
        generation: u32,
        lookup: [u8; 16],
        key: &[u8; 32],
    ) -> Result<Slot, LedgerError> {
        let nonce = files::random::<24>()?;
        let mut wrapped = *key;
        let aad = self.associated(&label, generation);
        let tag = self
            .kek
            .encrypt_inout_detached(&XNonce::from(nonce), &aad, (&mut wrapped[..]).into());
        let tag = tag.expect("32 bytes are far below the cipher's limit");
        Ok(Slot::live(generation, label, lookup, nonce, wrapped, tag.into()))
    }

    fn unwrap(&self, slot: &Slot) -> Result<CustomerKey, LedgerError> {
        let mut key = CustomerKey(slot.wrapped);
        let aad = self.associated(&slot.label, slot.generation);
        let (nonce, tag) = (XNonce::from(slot.nonce), Tag::from(slot.tag));
        let opened = self
            .kek
            .decrypt_inout_detached(&nonce, &aad, (&mut key.0[..]).into(), &tag);
        let wrong =
            "a customer's key does not unwrap: the key-encryption key is another, or the slot was altered";
        opened.map(|()| key).map_err(|_| LedgerError::Vault(wrong.into()))
    }

    /// Destroys the keys of labels that have an erasure entry; gives how many were still there.
    pub(crate) fn destroy(&self, labels: impl Iterator<Item = Label>) -> Result<u64, LedgerError> {
        let mut slots = self.slots();
        let mut destroyed = 0;
        for label in labels {
            destroyed += u64::from(slots.destroy(&label)?);
        }
        if destroyed > 0 {
            slots.sync()?;
        }
        Ok(destroyed)
    }

    /// Takes over the keys that a copy of this vault has and this one lacks; gives how many.
    pub(crate) fn adopt(&self, copy: &Path) -> Result<u64, LedgerError> {
        let theirs = Slots::open(&copy.join("slots"), false)?;
        let mut ours = self.slots();
        let mut taken = 0;
        theirs.visit(&mut |slot| {
            // A label that is known here stays as it is here: a destroyed key does not come back.
            if slot.is_live() && ours.by_label(&slot.label)?.is_none() && self.unwrap(slot).is_ok() {
                ours.append(slot)?;
                taken += 1;
            }
            Ok(())
        })?;
        ours.sync()?;
        Ok(taken)
    }

    /// What a producer gets of the customer with this label, if the key is here and was not destroyed.
    pub fn producer_key(&self, label: &Label, producer: &Name) -> Result<Option<ProducerKey>, LedgerError> {
        Ok(self.key(label)?.map(|key| key.for_producer(producer)))
    }

    /// The key of the customer with this label, if it is here and was not destroyed.
    pub(crate) fn key(&self, label: &Label) -> Result<Option<CustomerKey>, LedgerError> {
        let slot = self.slots().by_label(label)?.filter(Slot::is_live);
        slot.map(|slot| self.unwrap(&slot)).transpose()
    }

    /// How many customers' keys there are.
    pub fn customers(&self) -> u64 {
        self.slots().live()
    }
}

const VRF_PREFIX: &str = "SHARETRAIL+VRF+1+";

fn secret(path: &Path, text: Option<&str>) -> Result<Zeroizing<[u8; 32]>, LedgerError> {
    let bytes = text
        .and_then(|text| BASE64.decode(text.as_bytes()).ok())
        .map(Zeroizing::new);
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
    bytes
        .map(Zeroizing::new)
        .ok_or_else(|| LedgerError::damaged(path, None, "not a key of 32 bytes"))
}

/// The text of a new key-encryption key.
pub(crate) fn kek_text() -> Result<String, LedgerError> {
    Ok(format!(
        "{KEK_PREFIX}{}\n",
        BASE64.encode(&files::random::<32>()?)
    ))
}

/// The text of a label key.
pub(crate) fn vrf_text(seed: &[u8; 32]) -> String {
    format!("{VRF_PREFIX}{}\n", BASE64.encode(seed))
}
