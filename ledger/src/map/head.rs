//! The head: which version of the map was committed last, and in which files it lies.
//!
//! In scope: its bytes, reading and replacing it. Trust: none in what is read; it counts where its checksum holds.

use std::path::{Path, PathBuf};

use super::node::{Child, Kind};
use super::pages::MAX_FILES;
use crate::error::LedgerError;
use crate::files;

const MAGIC: &[u8; 8] = b"STMAP001";

/// A committed version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) epoch: u64,
    pub(super) root: Child,
    /// Bytes of the pages that this version uses.
    pub(super) live: u64,
    /// The length of each page file.
    pub(super) ends: Vec<u64>,
    pub(super) mark: Vec<u8>,
}

pub(super) fn path_in(folder: &Path) -> PathBuf {
    folder.join("head")
}

impl Head {
    /// The head of a folder; none where nothing was committed yet.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, LedgerError> {
        let path = path_in(folder);
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(None);
        };
        let head = Self::parse(&bytes);
        let head = head.ok_or_else(|| LedgerError::damaged(&path, None, "not the head of a customer map"))?;
        Ok(Some(head))
    }

    /// Puts this head in the place of the one before; it lasts when this returns.
    pub(super) fn write(&self, folder: &Path) -> Result<(), LedgerError> {
        files::replace(&path_in(folder), &self.to_bytes(), 0o644)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.epoch.to_be_bytes());
        bytes.push(self.root.kind.to_bits());
        self.root.append_entry(&mut bytes);
        bytes.extend(self.live.to_be_bytes());
        bytes.push(u8::try_from(self.ends.len()).expect("there are four page files at most"));
        for end in &self.ends {
            bytes.extend(end.to_be_bytes());
        }
        let length = u32::try_from(self.mark.len()).expect("a mark is a few KiB");
        bytes.extend(length.to_be_bytes());
        bytes.extend_from_slice(&self.mark);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(bytes).to_be_bytes() != *crc {
            return None;
        }
        let rest = bytes.strip_prefix(MAGIC)?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first()?;
        let (root, rest) = Child::split_entry(Kind::from_bits(*kind)?, rest)?;
        let (live, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first()?;
        let count = usize::from(*count);
        let (ends, rest) = rest.split_at_checked(count * 8)?;
        let (length, mark) = rest.split_first_chunk()?;
        let right = count <= MAX_FILES && u32::from_be_bytes(*length) as usize == mark.len();
        right.then(|| Self {
            epoch: u64::from_be_bytes(*epoch),
            root,
            live: u64::from_be_bytes(*live),
            ends: ends
                .as_chunks::<8>()
                .0
                .iter()
                .map(|end| u64::from_be_bytes(*end))
                .collect(),
            mark: mark.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_as_it_was_written_and_no_flipped_or_missing_byte_passes() {
        let head = Head {
            epoch: 7,
            root: Child::EMPTY,
            live: 9,
            ends: vec![10, 0, 11],
            mark: b"mark".to_vec(),
        };
        let bytes = head.to_bytes();
        assert_eq!(Head::parse(&bytes), Some(head));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            assert_eq!(Head::parse(&flipped), None);
            assert_eq!(Head::parse(&bytes[..at]), None);
        }
    }
}
