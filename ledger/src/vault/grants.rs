//! Grants: the labels and keys that a producer records customers' events with.
//!
//! In scope: making a customer's key so that no two hosts make different ones, where a publisher gets its grants from.
//! A new key is shown to the other hosts before it is kept here: one that another host contradicts was never used, so
//! theirs is taken over. Out of scope: how hosts reach each other, who may ask.
//! Trust: other hosts' slots count once they unwrap here.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Instant;

use sharetrail_proof::customer::CustomerKey;
use sharetrail_proof::name::Name;
use sharetrail_proof::vrf::VrfProof;

use super::slots::Slot;
use super::{Grant, Opened, Vault};
use crate::error::LedgerError;
use crate::files;

/// How often hosts that made keys at the same moment try to agree.
const TRIES: usize = 4;
const DISAGREE: &str = "the hosts of the vault do not agree on a new customer's key yet";

/// Shows new slots to the other hosts that live. When it returns, they lie on those hosts' disks; it gives the slots
/// that other hosts hold instead, where they do.
pub type Replicate = dyn Fn(&[u8]) -> Result<Vec<u8>, LedgerError> + Send + Sync;

/// Where a publisher gets labels and keys from: the vault itself, or the vault at the other end of the bus.
pub trait Grants: Send + Sync {
    /// What the producer needs to record events of these customers, in their order.
    fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Leased, LedgerError>;
}

/// Grants, and how long they may be used.
pub struct Leased {
    /// One for each customer, in the order they were asked for.
    pub grants: Vec<Grant>,
    /// When they must be asked for again; none where the vault is in this process.
    pub until: Option<Instant>,
}

impl Grants for Vault {
    fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Leased, LedgerError> {
        Ok(Leased {
            grants: Self::grants(self, producer, customers)?,
            until: None,
        })
    }
}

/// A customer somebody asks about.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) customer: &'a str,
    /// Whether the label is wanted with its proof also where the customer is known here.
    pub(crate) prove: bool,
}

/// A customer's key, with the proof of its label where one was made.
type Found = (Opened, Option<VrfProof>);

impl Vault {
    /// As [`Vault::grants`], with proofs where they are wanted, and with other hosts that must hold a new key first.
    pub(crate) fn grants_shared(
        &self,
        producer: &Name,
        wanted: &[Wanted<'_>],
        replicate: &Replicate,
    ) -> Result<Vec<Grant>, LedgerError> {
        let mut found: Vec<Option<Found>> = Vec::with_capacity(wanted.len());
        let mut new = Vec::new();
        for (position, ask) in wanted.iter().enumerate() {
            let known = self.kept().live_by_lookup(&self.lookup(ask.customer))?;
            if known.is_none() {
                new.push((position, ask.customer));
            }
            found.push(known.map(|known| {
                let proof = ask
                    .prove
                    .then(|| self.prove_label(ask.customer, known.generation).1);
                (known, proof)
            }));
        }
        for ((position, _), made) in new.iter().zip(self.make(&new, replicate)?) {
            found[*position] = Some(made);
        }
        let grants: Vec<Grant> = found
            .into_iter()
            .flatten()
            .map(|(opened, proof)| Grant {
                generation: opened.generation,
                label: opened.label,
                key: opened.key.for_producer(producer),
                proof,
            })
            .collect();
        let mut kept = self.kept();
        // Also a slot that another thread has appended and not synced yet: no event may be durable before its key.
        kept.slots.sync()?;
        // Asked last: what is granted before an erasure is asked for ends with its lease.
        kept.none_is_erasing(grants.iter().map(|grant| &grant.label))?;
        // Where no lease is waited out, a key can have been destroyed since it was read above.
        for grant in &grants {
            let slot = kept.slots.by_label(&grant.label)?;
            if slot.is_none_or(|slot| !slot.is_live()) {
                return Err(LedgerError::Erasing);
            }
        }
        Ok(grants)
    }

    /// Keys for customers' first generations that were not destroyed.
    fn make(&self, new: &[(usize, &str)], replicate: &Replicate) -> Result<Vec<Found>, LedgerError> {
        if new.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..TRIES {
            let proposed = new
                .iter()
                .map(|(_, customer)| self.propose(customer))
                .collect::<Result<Vec<_>, _>>()?;
            self.keep(&proposed, replicate)?;
            // What is kept may be what another thread or host made meanwhile, or even destroyed.
            let kept: Option<Vec<Found>> = {
                let kept = self.kept();
                let live = |(one, proof): &(Opened, VrfProof)| -> Result<Option<Found>, LedgerError> {
                    let live = kept.live_by_label(&one.label)?;
                    Ok(live.map(|opened| (opened, Some(*proof))))
                };
                proposed.iter().map(live).collect::<Result<_, _>>()?
            };
            if let Some(kept) = kept {
                return Ok(kept);
            }
        }
        Err(LedgerError::Bus(DISAGREE.into()))
    }

    /// The key of the customer's first generation that is not destroyed here, or a new one that is not kept yet.
    fn propose(&self, customer: &str) -> Result<(Opened, VrfProof), LedgerError> {
        for generation in 0..=u32::MAX {
            let (label, proof) = self.prove_label(customer, generation);
            let kept = self.kept();
            match kept.slots.by_label(&label)? {
                Some(slot) if slot.is_live() => return Ok((kept.open(&slot)?, proof)),
                Some(_) => {}
                None => {
                    let lookup = self.lookup(customer);
                    let key = CustomerKey(files::random()?);
                    let opened = Opened {
                        generation,
                        label,
                        lookup,
                        key,
                    };
                    return Ok((opened, proof));
                }
            }
        }
        let text = "a customer has used up all generations";
        Err(LedgerError::Vault(text.into()))
    }

    /// Keeps the keys that are new, once the other hosts hold them too; where they hold others, those.
    fn keep(&self, proposed: &[(Opened, VrfProof)], replicate: &Replicate) -> Result<(), LedgerError> {
        // One thread at a time: two that make a key for one customer must not show both to the other hosts.
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..TRIES {
            let new = self.unknown(proposed)?;
            let shown: Vec<Slot> = new
                .iter()
                .map(|one| self.transit.wrap(one))
                .collect::<Result<_, _>>()?;
            let bytes: Vec<u8> = shown.iter().flat_map(Slot::to_bytes).collect();
            let theirs = if new.is_empty() {
                Vec::new()
            } else {
                replicate(&bytes)?
            };
            if !theirs.is_empty() {
                self.adopt_slots(&theirs)?;
                continue;
            }
            // Held over the look and the append: a slot that another host pushed since then stays, and the key that wraps
            // the new one is the one that wraps all others.
            let mut kept = self.kept();
            for one in new {
                if kept.slots.by_label(&one.label)?.is_none() {
                    let slot = kept.kek.wrap(one)?;
                    kept.slots.append(&slot)?;
                }
            }
            return Ok(());
        }
        Err(LedgerError::Bus(DISAGREE.into()))
    }

    /// The keys whose labels are not known here, each label once.
    fn unknown<'a>(&self, proposed: &'a [(Opened, VrfProof)]) -> Result<Vec<&'a Opened>, LedgerError> {
        let (kept, mut met, mut new) = (self.kept(), HashSet::new(), Vec::new());
        for (one, _) in proposed {
            if met.insert(one.label) && kept.slots.by_label(&one.label)?.is_none() {
                new.push(one);
            }
        }
        Ok(new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing;

    /// The fault: a key that is destroyed while somebody waits for other customers' keys is given out all the same.
    #[test]
    fn a_key_that_is_destroyed_meanwhile_is_not_given() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = Arc::new(ledger.open_vault(true).unwrap());
        let till = Name::new("till").unwrap();
        vault.grants(&till, &["gone"]).unwrap();
        let (erasing, label) = (Arc::clone(&vault), vault.label("gone", 0));
        let replicate = move |_: &[u8]| -> Result<Vec<u8>, LedgerError> {
            erasing.destroy(&[(label, 0)], true, &|_| Ok(()))?;
            Ok(Vec::new())
        };
        let wanted = ["gone", "new"].map(|customer| Wanted {
            customer,
            prove: false,
        });
        let refused = vault.grants_shared(&till, &wanted, &replicate);
        assert!(refused.is_err_and(|error| error.is_transient()));
        let granted = vault.grants_shared(&till, &wanted, &replicate).unwrap();
        assert_eq!((granted[0].generation, granted[1].generation), (1, 0));
    }
}
