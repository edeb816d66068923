//! What is to be erased, and destroying it.
//!
//! ```text
//! vault/erasing   a line for each label whose erasure was asked for and is not done: label, space, generation
//! vault/rotate    the key-encryption key is to be exchanged, because a key was destroyed: see `rotate`
//! ```
//! A label stands in `erasing` from before its erasure is put on record until its key is gone and the key-encryption key
//! was exchanged. Meanwhile no key of it is granted, and a start finds what is to be finished. In scope: these files,
//! overwriting slots. Out of scope: the entry on record, waiting for leases ([`crate::erase`]).
//! Trust: this host's own files. The customer's id stands in neither.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sharetrail_proof::name::Label;

use super::rotate::Done;
use super::slots::Slot;
use super::{Kept, Places, Vault};
use crate::error::{At, LedgerError};
use crate::files;
use crate::sequencer::Step;

const ERASING: &str = "erasing";
const ROTATE: &str = "rotate";

impl Places {
    fn erasing(&self) -> PathBuf {
        self.folder.join(ERASING)
    }

    fn rotate(&self) -> PathBuf {
        self.folder.join(ROTATE)
    }
}

/// The erasures that are not done yet, and whether the key-encryption key is to be exchanged: from a vault's folder.
pub(crate) fn pending(folder: &Path) -> Result<(BTreeMap<Label, u32>, bool), LedgerError> {
    let path = folder.join(ERASING);
    let bytes = files::read_if_there(&path)?.unwrap_or_default();
    let parsed = String::from_utf8(bytes).ok().and_then(|text| parse(&text));
    let erasing = parsed.ok_or_else(|| {
        let what = "not a list of labels that are to be erased; remove it and ask for the erasures again";
        LedgerError::damaged(&path, None, what)
    })?;
    Ok((erasing, folder.join(ROTATE).exists()))
}

fn parse(text: &str) -> Option<BTreeMap<Label, u32>> {
    let line = |line: &str| {
        let (label, generation) = line.split_once(' ')?;
        Some((label.parse().ok()?, generation.parse().ok()?))
    };
    text.lines().map(line).collect()
}

impl Kept {
    /// Writes what is to be erased; it lasts when this returns.
    fn write_erasing(&mut self, places: &Places, erasing: BTreeMap<Label, u32>) -> Result<(), LedgerError> {
        let path = places.erasing();
        if erasing.is_empty() {
            remove(&path)?;
        } else {
            let mut text = String::new();
            for (label, generation) in &erasing {
                writeln!(text, "{label} {generation}").expect("a string takes all that is written to it");
            }
            files::replace(&path, text.as_bytes(), 0o600)?;
        }
        self.erasing = erasing;
        Ok(())
    }

    /// Notes that the key-encryption key is to be exchanged, before a key is destroyed.
    pub(super) fn mark(&mut self, places: &Places) -> Result<(), LedgerError> {
        if !self.rotation_is_due {
            files::replace(&places.rotate(), b"due\n", 0o600)?;
            self.rotation_is_due = true;
        }
        Ok(())
    }

    /// The key-encryption key was exchanged after the last key was destroyed.
    pub(super) fn rotated(&mut self, places: &Places) -> Result<(), LedgerError> {
        remove(&places.rotate())?;
        self.rotation_is_due = false;
        Ok(())
    }

    /// Refuses to give a key of a label that is being erased.
    pub(super) fn none_is_erasing<'a>(
        &self,
        mut labels: impl Iterator<Item = &'a Label>,
    ) -> Result<(), LedgerError> {
        if !self.erasing.is_empty() && labels.any(|label| self.erasing.contains_key(label)) {
            return Err(LedgerError::Erasing);
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), LedgerError> {
    if !path.exists() {
        return Ok(());
    }
    fs::remove_file(path).at("remove", path)?;
    files::sync_folder(path.parent().unwrap_or(path))
}

impl Vault {
    /// Notes that a label is to be erased; from now on no key of it is granted, and that lasts when this returns.
    pub(crate) fn intend(&self, label: &Label, generation: u32) -> Result<(), LedgerError> {
        let mut kept = self.kept();
        let known = kept.slots.by_label(label)?.map(|slot| slot.generation);
        let intended = kept.erasing.get(label).copied();
        if let Some(other) = known.or(intended).filter(|known| *known != generation) {
            return Err(LedgerError::Invalid(format!(
                "label {label} is generation {other} of its customer, not {generation}"
            )));
        }
        if intended.is_some() {
            return Ok(());
        }
        let mut erasing = kept.erasing.clone();
        erasing.insert(*label, generation);
        kept.write_erasing(&self.places, erasing)
    }

    /// Whether the label has, or had, a key here, or is to be erased.
    pub(crate) fn knows(&self, label: &Label) -> Result<bool, LedgerError> {
        let kept = self.kept();
        Ok(kept.erasing.contains_key(label) || kept.slots.by_label(label)?.is_some())
    }

    /// What is to be erased.
    pub(crate) fn intentions(&self) -> Vec<(Label, u32)> {
        let kept = self.kept();
        kept.erasing
            .iter()
            .map(|(label, generation)| (*label, *generation))
            .collect()
    }

    /// These labels are erased, and nothing of it is left to do.
    pub(crate) fn forget(&self, labels: &[(Label, u32)]) -> Result<(), LedgerError> {
        let mut kept = self.kept();
        let mut erasing = kept.erasing.clone();
        erasing.retain(|label, _| !labels.iter().any(|(done, _)| done == label));
        if erasing.len() == kept.erasing.len() {
            return Ok(());
        }
        kept.write_erasing(&self.places, erasing)
    }

    /// Destroys the keys of labels that have an erasure entry; gives how many were still there. A label that was never
    /// known here is noted as destroyed, so that no host brings a key of it and none is made. `is_new`: whether the entry
    /// has just come to be on record. Otherwise a key that does not open here makes no exchange due: then this is an old
    /// copy of the vault, and the key-encryption key that is here may be the one that opens the newest.
    pub(crate) fn destroy(
        &self,
        labels: &[(Label, u32)],
        is_new: bool,
        done: &Done<'_>,
    ) -> Result<u64, LedgerError> {
        let mut kept = self.kept();
        let (mut left, mut is_due) = (Vec::new(), false);
        for (label, generation) in labels {
            let slot = kept.slots.by_label(label)?;
            if slot.as_ref().is_none_or(Slot::is_live) {
                is_due |= is_new || slot.as_ref().is_some_and(|slot| kept.kek.unwrap(slot).is_some());
                left.push((label, *generation, slot.is_some()));
            }
        }
        if left.is_empty() {
            return Ok(0);
        }
        if is_due {
            kept.mark(&self.places)?;
            done(Step::VaultMarked)?;
        }
        let mut destroyed = 0;
        for (label, generation, is_known) in left {
            if is_known {
                destroyed += u64::from(kept.slots.destroy(label)?);
            } else {
                kept.slots.append(&Slot::destroyed(generation, *label))?;
            }
        }
        kept.slots.sync()?;
        done(Step::KeyDestroyed)?;
        Ok(destroyed)
    }

    /// Whether no key of the label is here.
    pub(crate) fn is_gone(&self, label: &Label) -> Result<bool, LedgerError> {
        let slot = self.kept().slots.by_label(label)?;
        Ok(slot.is_none_or(|slot| !slot.is_live()))
    }

    /// Whether a key was destroyed since the key-encryption key was last exchanged.
    pub(crate) fn rotation_is_due(&self) -> bool {
        self.kept().rotation_is_due
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::name::Name;

    use super::*;
    use crate::testing;

    #[test]
    fn what_is_to_be_erased_lasts_and_its_key_is_not_granted() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = ledger.open_vault(true).unwrap();
        let till = Name::new("till").unwrap();
        vault.grants(&till, &["a", "b"]).unwrap();
        let (label, unknown) = (vault.label("a", 0), Label([9; 32]));
        assert!(vault.knows(&label).unwrap() && !vault.knows(&unknown).unwrap());
        let refused = vault.intend(&label, 1);
        assert!(matches!(refused, Err(LedgerError::Invalid(_))));
        for (label, generation) in [(label, 0), (unknown, 3), (label, 0)] {
            vault.intend(&label, generation).unwrap();
            assert!(vault.knows(&label).unwrap());
        }
        drop(vault);
        let vault = ledger.open_vault(true).unwrap();
        let (intended, is_due) = pending(&ledger.folder().vault()).unwrap();
        assert_eq!(intended, vault.intentions().into_iter().collect());
        assert_eq!((intended.len(), intended[&unknown], is_due), (2, 3, false));
        files::check_private(&ledger.folder().vault().join(ERASING)).unwrap();
        // Whoever asks for several customers asks again for all.
        for customers in [&["a"][..], &["b", "a"]] {
            let refused = vault.grants(&till, customers);
            assert!(refused.is_err_and(|error| error.is_transient()));
        }
        vault.grants(&till, &["b", "c"]).unwrap();
        vault.forget(&[(unknown, 3), (Label([8; 32]), 0)]).unwrap();
        assert_eq!(vault.intentions(), [(label, 0)]);
        vault.forget(&[(label, 0)]).unwrap();
        assert!(!ledger.folder().vault().join(ERASING).exists());
        assert_eq!(vault.grants(&till, &["a"]).unwrap()[0].label, label);
    }

    /// The fault: a key of an erased customer comes from another host to one that never knew it; or is made anew.
    #[test]
    fn a_label_that_was_never_known_here_is_noted_as_destroyed() {
        let (_folder, ledger) = testing::ledger(1);
        let vault = ledger.open_vault(true).unwrap();
        let (till, label) = (Name::new("till").unwrap(), vault.label("a", 0));
        let nothing: &Done<'_> = &|_| Ok(());
        let earlier = Label([6; 32]);
        assert_eq!(vault.destroy(&[(earlier, 0)], false, nothing).unwrap(), 0);
        assert!(!vault.rotation_is_due() && vault.is_gone(&earlier).unwrap());
        assert_eq!(vault.destroy(&[(label, 0)], true, nothing).unwrap(), 0);
        assert!(vault.rotation_is_due() && vault.is_gone(&label).unwrap());
        assert_eq!(vault.destroy(&[(label, 0)], true, nothing).unwrap(), 0);
        assert_eq!((vault.slot_count(), vault.customers()), (2, 0));
        let grant = vault.grants(&till, &["a"]).unwrap().remove(0);
        assert_eq!((grant.generation, grant.label), (1, vault.label("a", 1)));
        assert_eq!(vault.generations("a").unwrap().len(), 2);
    }

    #[test]
    fn a_list_that_was_damaged_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let label = Label([7; 32]);
        for bad in [
            "x 0\n",
            &format!("{label}\n"),
            &format!("{label} -1\n"),
            &format!("{label} 0\n\n"),
        ] {
            fs::write(folder.path().join(ERASING), bad).unwrap();
            assert!(matches!(pending(folder.path()), Err(LedgerError::Damaged { .. })));
        }
        fs::write(folder.path().join(ERASING), format!("{label} 4\n")).unwrap();
        fs::write(folder.path().join(ROTATE), "").unwrap();
        assert_eq!(
            pending(folder.path()).unwrap(),
            (BTreeMap::from([(label, 4)]), true)
        );
    }
}
