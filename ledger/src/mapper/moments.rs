//! The moments of a map log, kept outside of the ledger's folder.
//!
//! 16 bytes a map leaf: with the record log, all that is needed to make the map log again. In scope: the file. Out of
//! scope: what is sealed when. Trust: what is made from moments must give the registered root.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::map::MapLeaf;

use crate::error::{At, LedgerError};
use crate::files;

/// Bytes of a moment: u64 record size ‖ u64 Unix seconds.
const MOMENT_BYTES: u64 = 16;

/// At which size of the record log a map root was sealed, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Leaves of the record log that the map covers.
    pub(crate) size: TreeSize,
    /// Unix seconds.
    pub(crate) time: u64,
}

impl Moment {
    pub(super) fn of(leaf: &MapLeaf) -> Self {
        Self {
            size: leaf.checkpoint.size,
            time: leaf.time,
        }
    }

    fn parse(bytes: [u8; 16]) -> Self {
        let number = |at: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&bytes[at..at + 8]);
            u64::from_be_bytes(part)
        };
        Self {
            size: TreeSize(number(0)),
            time: number(8),
        }
    }

    fn append_to(self, bytes: &mut Vec<u8>) {
        bytes.extend(self.size.0.to_be_bytes());
        bytes.extend(self.time.to_be_bytes());
    }
}

/// The moments of one shard's map log.
#[derive(Debug)]
pub(super) struct Moments {
    path: PathBuf,
    file: File,
    count: u64,
}

impl Moments {
    /// Opens or makes the file; a last record that is not whole was never relied on, and is cut off.
    pub(super) fn open(outside: &Path, shard: u32) -> Result<Self, LedgerError> {
        let folder = outside.join("maps");
        files::make_private_folder(&folder)?;
        let path = folder.join(shard.to_string());
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .at("open", &path)?;
        if is_new {
            files::sync_folder(&folder)?;
        }
        let bytes = file.metadata().at("read", &path)?.len();
        let count = bytes / MOMENT_BYTES;
        let mut moments = Self { path, file, count };
        // A file that grew before its bytes came reads as zeroes.
        while moments.count > 0 && !moments.rises_at_end()? {
            moments.count -= 1;
        }
        if bytes != moments.count * MOMENT_BYTES {
            moments.cut(moments.count)?;
        }
        Ok(moments)
    }

    fn rises_at_end(&self) -> Result<bool, LedgerError> {
        let last = self.get(self.count - 1)?.size;
        let before = match self.count {
            1 => TreeSize(0),
            more => self.get(more - 2)?.size,
        };
        Ok(before < last)
    }

    fn cut(&mut self, count: u64) -> Result<(), LedgerError> {
        let cut = self.file.set_len(count * MOMENT_BYTES);
        cut.and_then(|()| self.file.sync_data())
            .at("shorten", &self.path)?;
        self.count = count;
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The moment of a leaf below the count.
    pub(super) fn get(&self, index: u64) -> Result<Moment, LedgerError> {
        let mut bytes = [0; 16];
        let read = self.file.read_exact_at(&mut bytes, index * MOMENT_BYTES);
        read.at("read", &self.path)?;
        Ok(Moment::parse(bytes))
    }

    /// The last moments, at most `count` of them.
    pub(super) fn last(&self, count: usize) -> Result<Vec<Moment>, LedgerError> {
        let first = self.count.saturating_sub(count as u64);
        (first..self.count).map(|index| self.get(index)).collect()
    }

    /// Adds moments; they last when this returns.
    pub(super) fn append(&mut self, moments: &[Moment]) -> Result<(), LedgerError> {
        let mut bytes = Vec::new();
        for moment in moments {
            moment.append_to(&mut bytes);
        }
        let written = self.file.write_all_at(&bytes, self.count * MOMENT_BYTES);
        written
            .and_then(|()| self.file.sync_data())
            .at("write", &self.path)?;
        self.count += moments.len() as u64;
        Ok(())
    }

    /// Forgets all of them: they are to be read again from the leaves.
    pub(super) fn clear(&mut self) -> Result<(), LedgerError> {
        self.cut(0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn moment(size: u64, time: u64) -> Moment {
        Moment {
            size: TreeSize(size),
            time,
        }
    }

    /// The fault: after a power cut, half a record shifts all that follow, or zeroes pass for a moment.
    #[test]
    fn what_was_synced_is_there_and_a_torn_end_is_cut_off() {
        let outside = tempfile::tempdir().unwrap();
        let all = [moment(3, 100), moment(9, 101), moment(700, 101)];
        let mut moments = Moments::open(outside.path(), 4).unwrap();
        moments.append(&all[..2]).unwrap();
        moments.append(&all[2..]).unwrap();
        let path = outside.path().join("maps/4");
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), 48);
        for (bytes, count) in [
            (whole.clone(), 3),
            (whole[..47].to_vec(), 2),
            (whole[..33].to_vec(), 2),
            ([whole.clone(), vec![0; 16]].concat(), 3),
            ([whole.clone(), vec![0; 21]].concat(), 3),
            (vec![0; 32], 0),
        ] {
            fs::write(&path, bytes).unwrap();
            let mut moments = Moments::open(outside.path(), 4).unwrap();
            assert_eq!(moments.last(9).unwrap(), all[..count]);
            assert_eq!(fs::metadata(&path).unwrap().len(), count as u64 * 16);
            moments.append(&[moment(800, 200)]).unwrap();
            let again = Moments::open(outside.path(), 4).unwrap();
            assert_eq!(again.last(1).unwrap(), [moment(800, 200)]);
        }
    }
}
