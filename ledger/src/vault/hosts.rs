//! The vault between hosts: slots that go from one to another, and the secrets that guard the way.
//!
//! Each host has a key-encryption key of its own. Between hosts a slot has the same form, with its key wrapped under a
//! transit key, which is derived from what all hosts with this vault share. In scope: telling slots by number, taking slots
//! over, deriving the secrets of producers and hosts. Out of scope: carrying them (the desk). Trust: slots come from a host
//! that knows this vault's secret; a key counts once it unwraps under the transit key. A key that was destroyed anywhere
//! does not come back.

use std::collections::BTreeSet;
use std::sync::{MutexGuard, PoisonError};

use data_encoding::BASE64;
use hkdf::Hkdf;
use sha2::Sha256;
use sharetrail_proof::customer::CustomerKey;
use sharetrail_proof::name::{Label, LedgerId, Name};
use sharetrail_proof::note::VerifierKey;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::slots::{SLOT_BYTES, Slot};
use super::{Kek, Kept, Opened, Places, Vault};
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

/// A slot that came from another host.
enum Came {
    /// With the customer's key.
    Live(Opened),
    /// Without: it was destroyed there. Its generation and label.
    Destroyed(u32, Label),
}

/// Slots that were taken over from another host.
pub(crate) struct Taken {
    changed: u32,
    /// In the form that they have between hosts.
    instead: Vec<Slot>,
}

impl Taken {
    /// The slots that stand here in the place of some that came: another key, or none any more.
    pub(crate) fn instead(&self) -> Vec<u8> {
        self.instead.iter().flat_map(Slot::to_bytes).collect()
    }
}

fn derive(from: &[u8; 32], info: &[&[u8]]) -> SharedSecret {
    let mut secret = SharedSecret([0; 32]);
    Hkdf::<Sha256>::new(None, from)
        .expand_multi_info(info, &mut secret.0)
        .expect("32 bytes are within HKDF's limit");
    secret
}

/// What keys are wrapped under between hosts of the vault with this secret.
pub(super) fn transit(id: LedgerId, secret: &[u8; 32]) -> Kek {
    Kek::new(id, derive(secret, &[b"sharetrail slot transit v1\n"]).bytes())
}

impl Kept {
    /// A slot as it is between hosts; none if its key does not open here, so that it is of no use to anybody.
    fn to_transit(&self, slot: Slot, transit: &Kek) -> Result<Option<Slot>, LedgerError> {
        if !slot.is_live() {
            return Ok(Some(slot));
        }
        self.kek
            .unwrap(&slot)
            .map(|opened| transit.wrap(&opened))
            .transpose()
    }

    /// Takes a key over unless it is known here; gives the slot that stands here instead, if another does.
    fn take_key(&mut self, theirs: &Opened, taken: &mut Taken, transit: &Kek) -> Result<(), LedgerError> {
        let ours = self.slots.by_label(&theirs.label)?;
        let opened = ours.as_ref().and_then(|slot| self.kek.unwrap(slot));
        let same = |own: &CustomerKey| own.0 == theirs.key.0;
        match (ours, opened) {
            (Some(ours), _) if !ours.is_live() => taken.instead.push(ours),
            (Some(_), Some(own)) if same(&own.key) => {}
            (Some(_), Some(own)) => taken.instead.push(transit.wrap(&own)?),
            // One that does not open here is from an old copy of the vault.
            _ => {
                let slot = self.kek.wrap(theirs)?;
                self.slots.mend(&slot)?;
                taken.changed += 1;
            }
        }
        Ok(())
    }

    /// A key that was destroyed elsewhere goes here too, and then out of old copies of this vault. Whether that changed
    /// anything.
    fn take_end(&mut self, generation: u32, label: &Label, places: &Places) -> Result<bool, LedgerError> {
        match self.slots.by_label(label)? {
            None => self
                .slots
                .append(&Slot::destroyed(generation, *label))
                .map(|()| true),
            Some(ours) if !ours.is_live() => Ok(false),
            Some(ours) => {
                // One that does not open here is from an old copy, and the newest one must stay readable.
                if self.kek.unwrap(&ours).is_some() {
                    self.mark(places)?;
                }
                self.slots.destroy(label)
            }
        }
    }
}

impl Vault {
    fn derive(&self, info: &[&[u8]]) -> SharedSecret {
        derive(&self.secret, info)
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
        self.kept().slots.count()
    }

    /// At most `max` slots from `number` on, as they are between hosts, and the number after them. One whose key does not
    /// open here is left out: another host has it.
    pub fn slots_from(&self, number: u32, max: u32) -> Result<(Vec<u8>, u32), LedgerError> {
        let kept = self.kept();
        let slots = kept.slots.range(number, max)?;
        let read = u32::try_from(slots.len()).expect("no more than `max` slots were read");
        let mut bytes = Vec::with_capacity(slots.len() * SLOT_BYTES);
        for slot in slots {
            let slot = kept.to_transit(slot, &self.transit)?;
            bytes.extend(slot.iter().flat_map(Slot::to_bytes));
        }
        Ok((bytes, number.saturating_add(read)))
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
        let mut kept = self.kept();
        for one in &theirs {
            match one {
                Came::Live(theirs) => kept.take_key(theirs, &mut taken, &self.transit)?,
                Came::Destroyed(generation, label) => {
                    taken.changed += u32::from(kept.take_end(*generation, label, &self.places)?);
                }
            }
        }
        kept.slots.sync()?;
        Ok(taken)
    }

    /// Each slot as it came, or none at all.
    fn parse_slots(&self, bytes: &[u8]) -> Result<Vec<Came>, LedgerError> {
        let wrong = || LedgerError::Vault("what another host sent is not a row of slots".into());
        let (chunks, rest) = bytes.as_chunks::<SLOT_BYTES>();
        if !rest.is_empty() {
            return Err(wrong());
        }
        let mut slots = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let slot = Slot::parse_strictly(chunk).ok_or_else(wrong)?;
            slots.push(if slot.is_live() {
                let closed = "a customer's key from another host does not unwrap: it keeps another vault";
                let opened = self.transit.unwrap(&slot);
                Came::Live(opened.ok_or_else(|| LedgerError::Vault(closed.into()))?)
            } else {
                Came::Destroyed(slot.generation, slot.label)
            });
        }
        Ok(slots)
    }
}
