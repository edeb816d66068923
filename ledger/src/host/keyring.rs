//! How many customers' keys the ledger has, so that a host that lacks some makes none.
//!
//! A host with an incomplete vault would take a known customer for a new one and make a second key for the label. So the
//! number of slots stands in the register on the bus, and rises before a producer gets a new key. In scope: that number.
//! Out of scope: bringing missing slots (the desks). Trust: a register that was lost counts as none; the vault's own number
//! is written into it anew.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sharetrail_proof::name::Name;
use tokio::runtime::Runtime;

use crate::bus::NatsBus;
use crate::error::LedgerError;
use crate::vault::{Grants, Leased, Vault};

const KEY: &str = "vault";

#[derive(Serialize, Deserialize)]
struct VaultEntry {
    slots: u64,
    /// Who wrote it: two hosts' entries must differ.
    host: Name,
}

/// The number in the register, for whoever shows it; none where it was never written.
pub(crate) fn registered_slots(nats: &NatsBus, runtime: &Runtime) -> Result<Option<u64>, LedgerError> {
    let found = runtime.block_on(nats.entry(KEY))?;
    let entry = found.and_then(|found| serde_json::from_slice::<VaultEntry>(&found.value).ok());
    Ok(entry.map(|entry| entry.slots))
}

/// The number of slots, here and in the register.
pub(crate) struct Keyring {
    nats: Arc<NatsBus>,
    vault: Arc<Vault>,
    host: Name,
    runtime: Mutex<Runtime>,
    /// Whether the vault was found to hold all keys, since the lease was taken.
    complete: AtomicBool,
    registered: AtomicU64,
}

impl Keyring {
    pub(crate) fn new(nats: &Arc<NatsBus>, vault: &Arc<Vault>, host: &Name, runtime: Runtime) -> Self {
        Self {
            nats: Arc::clone(nats),
            vault: Arc::clone(vault),
            host: host.clone(),
            runtime: Mutex::new(runtime),
            complete: AtomicBool::new(false),
            registered: AtomicU64::new(0),
        }
    }

    /// Another host may have made keys since: the number is looked up again.
    pub(crate) fn doubt(&self) {
        self.complete.store(false, Ordering::Release);
    }

    /// Whether the vault here holds every key that was ever given out.
    pub(crate) fn check(&self) -> Result<(), LedgerError> {
        if self.complete.load(Ordering::Acquire) {
            return Ok(());
        }
        let (there, _, _) = self.look()?;
        let here = u64::from(self.vault.slot_count());
        if there > here {
            return Err(LedgerError::Vault(format!(
                "{} of {there} customers' keys are missing on this host, so it makes none; start the host that has them, \
                 or bring the vault back from a backup",
                there - here
            )));
        }
        self.registered.store(there, Ordering::Release);
        self.complete.store(true, Ordering::Release);
        Ok(())
    }

    /// The registered number, its revision, and who wrote it.
    fn look(&self) -> Result<(u64, u64, Option<Name>), LedgerError> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let found = runtime.block_on(self.nats.entry(KEY))?;
        let entry = found
            .as_ref()
            .and_then(|found| serde_json::from_slice::<VaultEntry>(&found.value).ok());
        Ok((
            entry.as_ref().map_or(0, |entry| entry.slots),
            found.map_or(0, |found| found.revision),
            entry.map(|entry| entry.host),
        ))
    }

    /// Registers the keys that were made since the last time. They may be given out when this returns.
    pub(crate) fn register(&self) -> Result<(), LedgerError> {
        let here = u64::from(self.vault.slot_count());
        while self.registered.load(Ordering::Acquire) < here {
            let (there, revision, by) = self.look()?;
            if there > self.registered.load(Ordering::Acquire) && by.as_ref() != Some(&self.host) {
                self.doubt();
                let text = "another host made customers' keys meanwhile; asked again";
                return Err(LedgerError::Bus(text.into()));
            }
            if there < here {
                let entry = VaultEntry {
                    slots: here,
                    host: self.host.clone(),
                };
                let value = serde_json::to_vec(&entry).expect("strings and numbers always serialise");
                let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
                if runtime.block_on(self.nats.update(KEY, value, revision))?.is_err() {
                    continue;
                }
            }
            self.registered.fetch_max(here.max(there), Ordering::AcqRel);
        }
        Ok(())
    }
}

/// For a publisher on a host: no key is used that another host could make a second time.
impl Grants for Keyring {
    fn grants(&self, producer: &Name, customers: &[&str]) -> Result<Leased, LedgerError> {
        self.check()?;
        let grants = self.vault.grants(producer, customers)?;
        self.register()?;
        Ok(Leased { grants, until: None })
    }
}
