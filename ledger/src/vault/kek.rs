//! The key-encryption key: what customers' keys are wrapped under, and the files it lies in.
//!
//! ```text
//! <outside>/vault.kek        the key-encryption key of this host
//! <outside>/vault.kek.next   the one that takes its place, while the slots are being wrapped anew
//! ```
//! In scope: wrapping and opening, reading and replacing these files, overwriting what must be gone. Out of scope: in which
//! order that happens ([`super::rotate`]). Trust: the files are private or refused. That overwritten bytes are gone is the
//! word of the file system and the disk.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use data_encoding::BASE64;
use sharetrail_proof::customer::CustomerKey;
use sharetrail_proof::name::{Label, LedgerId};
use zeroize::Zeroizing;

use super::slots::Slot;
use crate::error::{At, LedgerError};
use crate::files;

const KEK_PREFIX: &str = "SHARETRAIL+KEK+1+";
/// Bytes that are overwritten at once.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// The bytes of a secret key.
pub(super) type Secret = Zeroizing<[u8; 32]>;

/// A customer's key out of its slot, with what is in the slot besides.
pub(super) struct Opened {
    pub(super) generation: u32,
    pub(super) label: Label,
    pub(super) lookup: [u8; 16],
    pub(super) key: CustomerKey,
}

/// A key that customers' keys are wrapped under: on this host's disk, or between hosts.
pub(super) struct Kek {
    id: LedgerId,
    cipher: XChaCha20Poly1305,
}

impl Kek {
    pub(super) fn new(id: LedgerId, key: &[u8; 32]) -> Self {
        Self {
            id,
            cipher: XChaCha20Poly1305::new(&(*key).into()),
        }
    }

    fn associated(&self, label: &Label, generation: u32) -> Vec<u8> {
        [&self.id.0[..], &label.0, &generation.to_be_bytes()].concat()
    }

    /// Wraps a key; never twice with the same nonce.
    pub(super) fn wrap_with(&self, opened: &Opened, nonce: [u8; 24]) -> Slot {
        let mut wrapped = opened.key.0;
        let aad = self.associated(&opened.label, opened.generation);
        let tag = self
            .cipher
            .encrypt_inout_detached(&XNonce::from(nonce), &aad, (&mut wrapped[..]).into());
        let tag = tag.expect("32 bytes are far below the cipher's limit");
        Slot::live(
            opened.generation,
            opened.label,
            opened.lookup,
            nonce,
            wrapped,
            tag.into(),
        )
    }

    /// As [`Kek::wrap_with`], with a nonce of its own.
    pub(super) fn wrap(&self, opened: &Opened) -> Result<Slot, LedgerError> {
        Ok(self.wrap_with(opened, files::random()?))
    }

    /// The key in a live slot, if it was wrapped under this one and not altered since.
    pub(super) fn unwrap(&self, slot: &Slot) -> Option<Opened> {
        let mut key = CustomerKey(slot.wrapped);
        let aad = self.associated(&slot.label, slot.generation);
        let (nonce, tag) = (XNonce::from(slot.nonce), Tag::from(slot.tag));
        let opened = self
            .cipher
            .decrypt_inout_detached(&nonce, &aad, (&mut key.0[..]).into(), &tag);
        opened.ok().map(|()| Opened {
            generation: slot.generation,
            label: slot.label,
            lookup: slot.lookup,
            key,
        })
    }
}

/// What lies in the files of the key-encryption key.
#[derive(PartialEq, Eq)]
pub(super) struct Found {
    /// The key; none where its file was overwritten, because the next one is in use.
    pub(super) now: Option<Secret>,
    /// The key that takes its place, where one is there and whole.
    pub(super) next: Option<Secret>,
}

/// Where the next key-encryption key lies until it takes the other's place.
pub(super) fn next_path(kek: &Path) -> PathBuf {
    kek.with_added_extension("next")
}

/// Reads both files.
pub(super) fn read(kek: &Path) -> Result<Found, LedgerError> {
    Ok(Found {
        now: read_one(kek)?,
        next: read_one(&next_path(kek))?,
    })
}

fn read_one(path: &Path) -> Result<Option<Secret>, LedgerError> {
    let Some(bytes) = files::read_if_there(path)?.map(Zeroizing::new) else {
        return Ok(None);
    };
    match files::check_private(path) {
        // It took the other's place since it was read.
        Err(LedgerError::File { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(()) => Ok(std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| parse_secret(KEK_PREFIX, text))),
    }
}

/// Makes the next key-encryption key; it is on disk when this returns.
pub(super) fn make_next(kek: &Path) -> Result<Secret, LedgerError> {
    let text = Zeroizing::new(kek_text()?);
    files::write_private(&next_path(kek), &text)?;
    Ok(parse_secret(KEK_PREFIX, &text).expect("it was just written so"))
}

/// A secret of 32 bytes out of a key file's text.
pub(super) fn parse_secret(prefix: &str, text: &str) -> Option<Secret> {
    let encoded = text.trim_end().strip_prefix(prefix)?;
    let bytes = Zeroizing::new(BASE64.decode(encoded.as_bytes()).ok()?);
    <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new)
}

/// The text of a new key-encryption key.
pub(crate) fn kek_text() -> Result<String, LedgerError> {
    let key = Zeroizing::new(files::random::<32>()?);
    Ok(format!("{KEK_PREFIX}{}\n", BASE64.encode(&key[..])))
}

/// Overwrites a file with zeros, which last when this returns.
pub(super) fn wipe(path: &Path) -> Result<(), LedgerError> {
    let file = OpenOptions::new().write(true).open(path).at("overwrite", path)?;
    let length = file.metadata().at("read", path)?.len();
    let mut at = 0;
    while at < length {
        let some = usize::try_from(length - at).map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
        file.write_all_at(&ZEROS[..some], at).at("overwrite", path)?;
        at += some as u64;
    }
    file.sync_all().at("sync", path)
}

/// Overwrites a file and removes it, where it is there.
pub(super) fn shred(path: &Path) -> Result<(), LedgerError> {
    if !path.exists() {
        return Ok(());
    }
    wipe(path)?;
    fs::remove_file(path).at("remove", path)?;
    files::sync_folder(path.parent().unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(key: u8) -> Opened {
        Opened {
            generation: 3,
            label: Label([4; 32]),
            lookup: [5; 16],
            key: CustomerKey([key; 32]),
        }
    }

    #[test]
    fn a_key_opens_under_the_key_and_in_the_slot_that_it_was_wrapped_for() {
        let id = LedgerId([1; 32]);
        let (kek, other) = (Kek::new(id, &[7; 32]), Kek::new(id, &[8; 32]));
        let slot = kek.wrap(&opened(9)).unwrap();
        let found = kek.unwrap(&slot).unwrap();
        assert_eq!(
            (found.key.0, found.generation, found.lookup),
            ([9; 32], 3, [5; 16])
        );
        assert!(other.unwrap(&slot).is_none());
        assert!(Kek::new(LedgerId([2; 32]), &[7; 32]).unwrap(&slot).is_none());
        let mut moved = slot;
        moved.generation = 4;
        assert!(kek.unwrap(&moved).is_none());
    }

    /// The fault: what is to be gone is cut off or renamed, and its bytes stay on the disk.
    #[test]
    fn what_is_shredded_is_overwritten_and_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("key"), folder.path().join("link"));
        for length in [0, 1, ZEROS.len(), ZEROS.len() + 9] {
            fs::write(&path, vec![7; length]).unwrap();
            fs::hard_link(&path, &link).unwrap();
            shred(&path).unwrap();
            assert!(!path.exists());
            assert_eq!(fs::read(&link).unwrap(), vec![0; length]);
            fs::remove_file(&link).unwrap();
            shred(&path).unwrap();
        }
    }

    #[test]
    fn a_next_key_that_is_not_whole_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let kek = folder.path().join("vault.kek");
        files::write_private(&kek, &kek_text().unwrap()).unwrap();
        let next = make_next(&kek).unwrap();
        let found = read(&kek).unwrap();
        assert!(found.now.is_some() && found.next.as_ref() == Some(&next) && found.now != found.next);
        assert!(make_next(&kek).is_err());
        wipe(&kek).unwrap();
        let whole = fs::read(next_path(&kek)).unwrap();
        fs::write(next_path(&kek), &whole[..whole.len() - 9]).unwrap();
        let found = read(&kek).unwrap();
        assert!(found.now.is_none() && found.next.is_none());
    }
}
