//! Exchanging the key-encryption key, so that what was destroyed cannot be opened from an old copy either.
//!
//! ```text
//! vault/rotate                     an exchange is due; written before a key is destroyed
//! 1  vault.kek.next                the new key, synced
//! 2  vault/slots.next              every live key wrapped under it, destroyed slots as they are; synced
//! 3  slots.next → slots            from here on the new key counts
//! 4  vault.kek                     overwritten with zeros, synced
//! 5  vault.kek.next → vault.kek
//! 6  vault/rotate                  removed
//! ```
//! Whoever opens the vault for writing finishes what was begun, or takes it back where step 3 was not reached: which of
//! the two keys opens the slots tells. Whoever only reads takes the key that opens them, and looks again while both change.
//! In scope: these steps. Out of scope: when it is due ([`super::erasing`]).
//! Trust: this host's own files. A slot that opens under neither key is from an old copy and stays as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sharetrail_proof::name::LedgerId;

use super::kek::{self, Kek};
use super::slots::{Slot, Slots};
use super::{Kept, Places, Vault, erasing};
use crate::error::{At, LedgerError};
use crate::files;
use crate::sequencer::Step;

/// Told of each step before the next; an error ends the work there.
pub(crate) type Done<'a> = dyn Fn(Step) -> Result<(), LedgerError> + 'a;

/// Live slots that a reader tries a key on.
const SAMPLE: usize = 64;
/// How often a reader looks again, and how long it waits in between, while slots and key are exchanged.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

impl Places {
    fn slots(&self) -> PathBuf {
        self.folder.join("slots")
    }

    fn next_slots(&self) -> PathBuf {
        self.folder.join("slots.next")
    }

    fn no_key(&self) -> LedgerError {
        LedgerError::damaged(&self.kek, None, "not a key of 32 bytes")
    }
}

impl Kept {
    /// Opens a vault's files for writing. What was begun of an exchange is finished or taken back.
    pub(super) fn take_up(id: LedgerId, places: &Places) -> Result<Self, LedgerError> {
        let found = kek::read(&places.kek)?;
        let key = found.now.or(found.next).ok_or_else(|| places.no_key())?;
        let (erasing, rotation_is_due) = erasing::pending(&places.folder)?;
        let mut kept = Self {
            slots: Slots::open(&places.slots(), true)?,
            kek: Kek::new(id, &key),
            is_writable: true,
            erasing,
            rotation_is_due,
            told: Vec::new(),
        };
        kept.finish(id, places)?;
        Ok(kept)
    }

    /// Opens a vault's files for reading, also while another process exchanges them.
    pub(super) fn read(id: LedgerId, places: &Places) -> Result<Self, LedgerError> {
        let mut looks = 0;
        loop {
            looks += 1;
            let found = kek::read(&places.kek)?;
            let slots = Slots::open(&places.slots(), false)?;
            let mut fitting = None;
            for key in [&found.now, &found.next].into_iter().flatten() {
                let key = Kek::new(id, key);
                if fitting.is_none() && (slots.live() == 0 || opens_any(&slots, &key, SAMPLE)?) {
                    fitting = Some(key);
                }
            }
            // Nothing is being exchanged: what opens none of the slots is told by whoever needs one.
            let is_settled = found.next.is_none() && found == kek::read(&places.kek)?;
            if fitting.is_none() && (is_settled || looks == LOOKS) {
                fitting = found.now.map(|key| Kek::new(id, &key));
                if fitting.is_none() {
                    return Err(places.no_key());
                }
            }
            let Some(kek) = fitting else {
                std::thread::sleep(PAUSE);
                continue;
            };
            let (erasing, rotation_is_due) = erasing::pending(&places.folder)?;
            return Ok(Self {
                slots,
                kek,
                is_writable: false,
                erasing,
                rotation_is_due,
                told: Vec::new(),
            });
        }
    }

    /// Finishes an exchange that was begun, or takes it back.
    fn finish(&mut self, id: LedgerId, places: &Places) -> Result<(), LedgerError> {
        let found = kek::read(&places.kek)?;
        let Some(next) = found.next.map(|key| Kek::new(id, &key)) else {
            // One that is not whole wraps nothing: the slots come after it.
            return take_back(places);
        };
        let now = found.now.map(|key| Kek::new(id, &key));
        let has_none = self.slots.live() == 0;
        if opens_any(&self.slots, &next, usize::MAX)? || (has_none && now.is_none()) {
            self.kek = next;
            self.replace_key(places, &|_| Ok(()))?;
            return kek::shred(&places.next_slots());
        }
        if let Some(now) = now
            && (has_none || opens_any(&self.slots, &now, usize::MAX)?)
        {
            self.kek = now;
            return take_back(places);
        }
        Err(LedgerError::Vault(format!(
            "an exchange of the key-encryption key was interrupted, and neither {} nor {} opens the vault's keys: it is an \
             old copy; put the one back that lay there before",
            places.kek.display(),
            kek::next_path(&places.kek).display()
        )))
    }

    /// Writes the slots anew under a new key, which counts when this returns.
    fn rewrap(&mut self, id: LedgerId, places: &Places, done: &Done<'_>) -> Result<(), LedgerError> {
        let next = kek::make_next(&places.kek)?;
        let next = Kek::new(id, &next);
        done(Step::KekWritten)?;
        let path = places.next_slots();
        let file = self
            .slots
            .write_anew(&path, &mut |slots| rewrap(&self.kek, &next, slots))?;
        done(Step::SlotsWritten)?;
        fs::rename(&path, places.slots()).at("replace", &places.slots())?;
        self.slots.go_on_in(file)?;
        self.kek = next;
        files::sync_folder(&places.folder)?;
        done(Step::SlotsReplaced)
    }

    /// Overwrites the old key and puts the new one, under which the slots are, in its place.
    fn replace_key(&mut self, places: &Places, done: &Done<'_>) -> Result<(), LedgerError> {
        let next = kek::next_path(&places.kek);
        let link = fs::read_link(&places.kek).ok();
        let wiped = kek::wipe(&places.kek);
        done(Step::KekOverwritten)?;
        fs::rename(&next, &places.kek).at("replace", &places.kek)?;
        files::sync_folder(places.kek.parent().unwrap_or(Path::new(".")))?;
        if let Some(to) = link {
            self.told.push(format!(
                "the key-encryption key was a link to {}; the new one lies in {}. Destroy the old one wherever it came from, \
                 and do not put the link back",
                to.display(),
                places.kek.display()
            ));
        }
        if let Err(error) = wiped {
            self.told.push(format!(
                "the old key-encryption key could not be overwritten, and old backups open with it: {error}"
            ));
        }
        done(Step::KekReplaced)
    }
}

/// Wraps keys that were wrapped under `old` under `new`.
fn rewrap(old: &Kek, new: &Kek, slots: &mut [Slot]) -> Result<(), LedgerError> {
    let mut nonces = vec![[0; 24]; slots.len()];
    getrandom::fill(nonces.as_flattened_mut())
        .map_err(|error| LedgerError::Invalid(format!("no random bytes: {error}")))?;
    for (slot, nonce) in slots.iter_mut().zip(nonces).filter(|(slot, _)| slot.is_live()) {
        // One that does not open came with an old copy, and no key of this host opens it any more.
        if let Some(opened) = old.unwrap(slot) {
            *slot = new.wrap_with(&opened, nonce);
        }
    }
    Ok(())
}

/// Whether the key opens one of the live slots; of at most so many.
fn opens_any(slots: &Slots, key: &Kek, at_most: usize) -> Result<bool, LedgerError> {
    for slot in slots.live_ones().take(at_most) {
        if key.unwrap(&slot?).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn take_back(places: &Places) -> Result<(), LedgerError> {
    kek::shred(&places.next_slots())?;
    kek::shred(&kek::next_path(&places.kek))
}

impl Vault {
    /// Exchanges the key-encryption key. Nobody gets a key meanwhile; it takes a second or two for a million customers. One
    /// that opens none of the keys here is not given up: this is an old copy then, and it may open the newest.
    pub(crate) fn rotate(&self, done: &Done<'_>) -> Result<(), LedgerError> {
        let mut kept = self.kept();
        kept.finish(self.id, &self.places)?;
        if kept.slots.live() > 0 && !opens_any(&kept.slots, &kept.kek, usize::MAX)? {
            let text = "no key here opens under the key-encryption key, which is kept, since it may open a newer copy of \
                        the vault; take keys from that with `sharetrail restore`";
            return Err(LedgerError::Vault(text.into()));
        }
        kept.rewrap(self.id, &self.places, done)?;
        kept.replace_key(&self.places, done)?;
        kept.rotated(&self.places)
    }

    /// Whether any of the keys here opens; where there is none, there is nothing to open.
    pub(crate) fn opens(&self) -> Result<bool, LedgerError> {
        let kept = self.kept();
        Ok(kept.slots.live() == 0 || opens_any(&kept.slots, &kept.kek, SAMPLE)?)
    }

    /// What the operator should know of exchanges since the last call.
    pub(crate) fn take_told(&self) -> Vec<String> {
        std::mem::take(&mut self.kept().told)
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::name::Name;

    use super::*;
    use crate::ledger::Ledger;
    use crate::testing;

    const NOTHING: &Done<'static> = &|_| Ok(());

    const STEPS: [Step; 5] = [
        Step::KekWritten,
        Step::SlotsWritten,
        Step::SlotsReplaced,
        Step::KekOverwritten,
        Step::KekReplaced,
    ];

    fn till() -> Name {
        Name::new("till").unwrap()
    }

    /// The customers' keys, as this vault opens them.
    fn keys(vault: &Vault, customers: &[&str]) -> Vec<Option<[u8; 32]>> {
        let key = |customer: &&str| {
            let first = vault.generations(customer).unwrap().remove(0);
            first.key.as_ref().map(|key| key.0)
        };
        customers.iter().map(key).collect()
    }

    fn kek_of(ledger: &Ledger) -> Vec<u8> {
        fs::read(ledger.outside().unwrap().join("vault.kek")).unwrap()
    }

    fn leftovers(ledger: &Ledger) -> Vec<PathBuf> {
        let outside = ledger.outside().unwrap();
        let left = [
            ledger.folder().vault().join("slots.next"),
            outside.join("vault.kek.next"),
        ];
        left.into_iter().filter(|path| path.exists()).collect()
    }

    fn stop_at(step: Step) -> impl Fn(Step) -> Result<(), LedgerError> {
        move |now| {
            if now == step {
                return Err(LedgerError::Stopped("a power cut".into()));
            }
            Ok(())
        }
    }

    /// The fault: an exchange that was interrupted leaves slots and key that do not fit, and no customer's key opens.
    #[test]
    fn an_exchange_that_is_interrupted_anywhere_loses_no_key() {
        for step in STEPS {
            let (_folder, ledger) = testing::ledger(1);
            let vault = ledger.open_vault(true).unwrap();
            let customers = ["a", "b", "gone", "c"];
            vault.grants(&till(), &customers).unwrap();
            let gone = vault.label("gone", 0);
            vault.destroy(&[(gone, 0)], true, NOTHING).unwrap();
            let (before, old) = (keys(&vault, &customers), kek_of(&ledger));
            assert!(vault.rotate(&stop_at(step)).is_err());
            // The process that goes on, one that only reads, and the next start.
            assert_eq!(keys(&vault, &customers), before, "{step:?}");
            assert_eq!(keys(&ledger.vault().unwrap(), &customers), before, "{step:?}");
            drop(vault);
            let vault = ledger.open_vault(true).unwrap();
            assert_eq!(keys(&vault, &customers), before, "{step:?}");
            assert_eq!(leftovers(&ledger), Vec::<PathBuf>::new(), "{step:?}");
            assert!(vault.rotation_is_due());
            vault.rotate(NOTHING).unwrap();
            assert!(!vault.rotation_is_due() && kek_of(&ledger) != old);
            vault.grants(&till(), &["later"]).unwrap();
            drop(vault);
            let vault = ledger.open_vault(true).unwrap();
            assert_eq!(keys(&vault, &customers), before, "{step:?}");
            assert_eq!((vault.customers(), vault.slot_count()), (4, 5));
            assert!(!vault.rotation_is_due());
        }
    }

    /// The fault: after an error the same process goes on with slots and key that do not fit.
    #[test]
    fn a_process_goes_on_after_an_exchange_failed() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = ledger.open_vault(true).unwrap();
        let customers = ["a", "b"];
        vault.grants(&till(), &customers).unwrap();
        let before = keys(&vault, &customers);
        for step in STEPS {
            assert!(vault.rotate(&stop_at(step)).is_err());
            vault.grants(&till(), &[&format!("after-{step:?}")]).unwrap();
            assert_eq!(keys(&vault, &customers), before, "{step:?}");
            assert!(vault.opens().unwrap());
        }
        vault.rotate(NOTHING).unwrap();
        assert_eq!(keys(&ledger.vault().unwrap(), &customers), before);
        assert_eq!(vault.customers(), 2 + STEPS.len() as u64);
    }

    /// The fault: a copy of the slots from before opens with the key from after; or a wrapped key outlives in a file.
    #[test]
    fn no_old_copy_opens_after_an_exchange_and_what_was_made_since_does() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = ledger.open_vault(true).unwrap();
        vault.grants(&till(), &["a", "b"]).unwrap();
        let (path, old) = (
            ledger.folder().vault().join("slots"),
            ledger.folder().vault().join("old"),
        );
        fs::copy(&path, &old).unwrap();
        vault.rotate(NOTHING).unwrap();
        let new = fs::read(&path).unwrap();
        for wrapped in slots_in(&old) {
            assert!(!new.windows(32).any(|window| window == wrapped));
        }
        vault.grants(&till(), &["c"]).unwrap();
        drop(vault);
        fs::copy(&path, ledger.folder().vault().join("new")).unwrap();
        fs::rename(&old, &path).unwrap();
        let vault = ledger.open_vault(true).unwrap();
        assert!(!vault.opens().unwrap());
        assert!(matches!(vault.generations("a"), Err(LedgerError::Vault(_))));
        // The key that opens a newer copy is not given up, nor does an interruption leave what cannot be told apart.
        let now = kek_of(&ledger);
        assert!(matches!(vault.rotate(NOTHING), Err(LedgerError::Vault(_))));
        assert_eq!((kek_of(&ledger), leftovers(&ledger)), (now, Vec::new()));
        // Keys of others are made and exchanged all the same.
        vault.grants(&till(), &["d"]).unwrap();
        vault.rotate(NOTHING).unwrap();
        assert!(vault.opens().unwrap());
        assert!(matches!(vault.generations("a"), Err(LedgerError::Vault(_))));
    }

    /// The wrapped keys in a file of slots.
    fn slots_in(path: &Path) -> Vec<[u8; 32]> {
        let bytes = fs::read(path).unwrap();
        let (slots, _) = bytes.as_chunks::<160>();
        let wrapped = slots.iter().skip(1).map(|slot| slot[80..112].try_into().unwrap());
        wrapped.collect()
    }

    /// The fault: the key-encryption key that a service manager hands out is put back over the one that counts.
    #[test]
    fn a_key_that_is_a_link_is_replaced_by_a_file_and_told() {
        let (folder, ledger) = testing::ledger(1);
        let (kek, target) = (
            ledger.outside().unwrap().join("vault.kek"),
            folder.path().join("credential"),
        );
        fs::rename(&kek, &target).unwrap();
        std::os::unix::fs::symlink(&target, &kek).unwrap();
        let vault = ledger.open_vault(true).unwrap();
        vault.grants(&till(), &["a"]).unwrap();
        let before = keys(&vault, &["a"]);
        vault.rotate(NOTHING).unwrap();
        assert_eq!(vault.take_told().len(), 1);
        assert!(!kek.is_symlink());
        assert!(fs::read(&target).unwrap().iter().all(|&byte| byte == 0));
        drop(vault);
        assert_eq!(keys(&ledger.open_vault(true).unwrap(), &["a"]), before);
    }

    /// The fault: whoever reads while the key is exchanged meets slots and key that do not fit, or goes on with a file that
    /// is gone and gives out what was destroyed since.
    #[test]
    fn whoever_reads_meanwhile_is_never_refused() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = ledger.open_vault(true).unwrap();
        let customers: Vec<String> = (0..500).map(|n| format!("customer-{n}")).collect();
        let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
        vault.grants(&till(), &customers).unwrap();
        let some = [customers[0], customers[499]];
        let before = keys(&vault, &some);
        let early = ledger.vault().unwrap();
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                for _ in 0..60 {
                    assert_eq!(keys(&ledger.vault().unwrap(), &some), before);
                    assert_eq!(keys(&early, &some), before);
                }
            });
            let mut rounds = 0;
            while !reader.is_finished() || rounds < 5 {
                vault.rotate(NOTHING).unwrap();
                rounds += 1;
            }
            reader.join().unwrap();
        });
        let gone = vault.label(some[0], 0);
        vault.destroy(&[(gone, 0)], true, NOTHING).unwrap();
        assert_eq!(keys(&early, &some), [None, before[1]]);
    }
}
