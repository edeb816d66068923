//! The vault between hosts: slots that go from one to another, and the secrets that guard the way.
//!
//! In scope: telling slots by number, taking slots over, deriving the secrets of producers and hosts. Out of scope:
//! carrying them (the desk). Trust: slots come from a host that knows this vault's secret; a key counts once it unwraps
//! under the key-encryption key here. A key that was destroyed anywhere does not come back.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use data_encoding::BASE64;
use hkdf::Hkdf;
use sha2::Sha256;
use sharetrail_proof::name::{Label, Name};
use sharetrail_proof::note::VerifierKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Vault;
use super::slots::{SLOT_BYTES, Slot};
use crate::error::LedgerError;

const ACCESS_PREFIX: &str = "SHARETRAIL+ACCESS+1+";

/// A secret that two ends of the bus share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SharedSecret([u8; 32]);

impl SharedSecret {
    /// The 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The text of an `access.key` file, which is the secret itself.
    pub fn to_text(&self) -> Zeroizing<String> {
        let encoded = Zeroizing::new(BASE64.encode(&self.0));
        Zeroizing::new(format!("{ACCESS_PREFIX}{}\n", *encoded))
    }

    /// Reads the text of an `access.key` file.
    pub fn parse(text: &str) -> Option<Self> {
        let encoded = text.trim_end().strip_prefix(ACCESS_PREFIX)?;
        let bytes = Zeroizing::new(BASE64.decode(encoded.as_bytes()).ok()?);
        bytes.as_slice().try_into().ok().map(Self)
    }
}

/// Slots that were taken over from another host.
pub(crate) struct Taken {
    changed: u32,
    instead: Vec<Slot>,
}

impl Taken {
    /// The slots that stand here in the place of some that came: another key, or none any more.
    pub(crate) fn instead(&self) -> Vec<u8> {
        self.instead.iter().flat_map(Slot::to_bytes).collect()
    }
}

impl Vault {
    fn derive(&self, info: &[&[u8]]) -> SharedSecret {
        let mut secret = SharedSecret([0; 32]);
        Hkdf::<Sha256>::new(None, &self.secret[..])
            .expand_multi_info(info, &mut secret.0)
            .expect("32 bytes are within HKDF's limit");
        secret
    }

    /// What a producer proves itself to the vault with, as long as its signing key `key` is valid.
    pub fn access_secret(&self, producer: &Name, key: &VerifierKey) -> SharedSecret {
        self.derive(&[
            b"sharetrail vault access v1\n",
            producer.as_str().as_bytes(),
            b"\n",
            &key.id().0,
            key.public(),
        ])
    }

    /// What hosts with this vault encrypt slots under.
    pub(crate) fn host_secret(&self) -> SharedSecret {
        self.derive(&[b"sharetrail host v1\n"])
    }

    /// What hosts with this vault know each other by when they copy archives.
    pub fn peer_secret(&self) -> SharedSecret {
        self.derive(&[b"sharetrail peer v1\n"])
    }

    /// How many slots there are, those of destroyed keys too.
    pub fn slot_count(&self) -> u32 {
        self.slots().count()
    }

    /// At most `max` slots from `number` on, with their keys wrapped, and the number after them.
    pub fn slots_from(&self, number: u32, max: u32) -> Result<(Vec<u8>, u32), LedgerError> {
        let bytes = self.slots().bytes_from(number, max)?;
        let taken = u32::try_from(bytes.len() / SLOT_BYTES).expect("no more than `max` slots were read");
        Ok((bytes, number.saturating_add(taken)))
    }

    /// Takes over slots of another host; gives how many changed something here. They last when this returns. A label
    /// that is known here stays as it is, unless its key was destroyed there: then it is destroyed here too. Where one
    /// slot is refused, none is taken.
    pub fn adopt_slots(&self, bytes: &[u8]) -> Result<u32, LedgerError> {
        let taken = self.take_slots(bytes)?;
        let mut contradicted = self.contradicted();
        contradicted.extend(
            taken
                .instead
                .iter()
                .filter(|slot| slot.is_live())
                .map(|slot| slot.label),
        );
        Ok(taken.changed)
    }

    /// How many customers have one key here and another in the vault of a host whose slots were adopted. What was sealed
    /// under the other one opens there alone: it must never be more than none.
    pub fn contradictions(&self) -> usize {
        self.contradicted().len()
    }

    fn contradicted(&self) -> MutexGuard<'_, BTreeSet<Label>> {
        self.contradicted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Vault::adopt_slots`]; also tells what stands here instead.
    pub(crate) fn take_slots(&self, bytes: &[u8]) -> Result<Taken, LedgerError> {
        let theirs = self.parse_slots(bytes)?;
        let mut taken = Taken {
            changed: 0,
            instead: Vec::new(),
        };
        let mut slots = self.slots();
        for slot in &theirs {
            match slots.by_label(&slot.label)? {
                None => {
                    slots.append(slot)?;
                    taken.changed += 1;
                }
                Some(_) if !slot.is_live() => taken.changed += u32::from(slots.destroy(&slot.label)?),
                Some(ours) if self.is_same_key(&ours, slot)? => {}
                Some(ours) => taken.instead.push(ours),
            }
        }
        slots.sync()?;
        Ok(taken)
    }

    fn parse_slots(&self, bytes: &[u8]) -> Result<Vec<Slot>, LedgerError> {
        let wrong = || LedgerError::Vault("what another host sent is not a row of slots".into());
        let (chunks, rest) = bytes.as_chunks::<SLOT_BYTES>();
        if !rest.is_empty() {
            return Err(wrong());
        }
        let mut slots = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let slot = Slot::parse_strictly(chunk).ok_or_else(wrong)?;
            if slot.is_live() {
                self.unwrap(&slot)?;
            }
            slots.push(slot);
        }
        Ok(slots)
    }

    /// Whether two slots of one label hold one key, however it is wrapped.
    fn is_same_key(&self, ours: &Slot, theirs: &Slot) -> Result<bool, LedgerError> {
        if !ours.is_live() || !theirs.is_live() {
            return Ok(false);
        }
        Ok(ours.is_as(theirs) || self.unwrap(ours)?.0 == self.unwrap(theirs)?.0)
    }
}
