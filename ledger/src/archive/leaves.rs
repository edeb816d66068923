//! Leaf files: entries with their sealed contents, by leaf index.
//!
//! ```text
//! <first index, 20 digits>.leaves:   per leaf: u16 length ‖ entry ‖ u32 length ‖ sealed content (or length 0)
//! <first index, 20 digits>.offsets:  per leaf: u64, where it begins in the file beside
//! ```
//! A file holds 65,536 leaves. Offsets are derived. In scope: append, cut, read. Out of scope: hashes.
//! Trust: entries are checked by the tree over them, sealed contents by their authentication tags.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sharetrail_proof::hash::{LeafIndex, TreeSize};

use crate::error::{At, LedgerError};
use crate::files;

/// Leaves a file holds.
pub(crate) const LEAVES_PER_FILE: u64 = 65_536;
const READ_AHEAD: usize = 1 << 20;

/// A leaf as it lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The entry's bytes.
    pub entry: Vec<u8>,
    /// The sealed content; empty where the entry is no event.
    pub sealed: Vec<u8>,
}

fn leaves_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.leaves"))
}

fn offsets_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.offsets"))
}

/// Appends a leaf in the form of the leaf files.
pub(crate) fn append_leaf(bytes: &mut Vec<u8>, entry: &[u8], sealed: &[u8]) {
    let length = u16::try_from(entry.len()).expect("an entry is at most 65,535 bytes");
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(entry);
    let length = u32::try_from(sealed.len()).expect("a sealed content is under 66 KiB");
    bytes.extend(length.to_be_bytes());
    bytes.extend_from_slice(sealed);
}

/// Splits one leaf off the front; nothing if the bytes end within it.
pub(crate) fn split_leaf(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (entry, rest) = rest.split_at_checked(length)?;
    let (sealed_length, rest) = rest.split_first_chunk::<4>()?;
    let sealed_length = u32::from_be_bytes(*sealed_length) as usize;
    Some((entry, rest.get(..sealed_length)?, 6 + length + sealed_length))
}

/// Appends leaves.
#[derive(Debug)]
pub(crate) struct LeafWriter {
    folder: PathBuf,
    size: u64,
    first: u64,
    files: Option<(File, File)>,
    end: u64,
    data: Vec<u8>,
    offsets: Vec<u8>,
}

impl LeafWriter {
    /// Opens the files of a shard, cut to `size` leaves; leaves beyond were never registered.
    pub(crate) fn open(folder: &Path, size: TreeSize) -> Result<Self, LedgerError> {
        files::make_folder(folder)?;
        let size = size.0;
        let first = size / LEAVES_PER_FILE * LEAVES_PER_FILE;
        let within = usize::try_from(size - first).expect("below 65,536");
        let (end, offsets) = walk(folder, first, within)?;
        let mut writer = Self {
            folder: folder.to_owned(),
            size,
            first,
            files: None,
            end,
            data: Vec::new(),
            offsets: Vec::new(),
        };
        writer.remove_beyond()?;
        if size > first {
            writer.mend_offsets(&offsets)?;
            writer.files()?.0.set_len(end).at("shorten", folder)?;
        }
        Ok(writer)
    }

    /// Replaces the offsets whole where they are not as they should be: whoever reads, and a kill in between, must not meet
    /// a file that is half written.
    fn mend_offsets(&self, offsets: &[u8]) -> Result<(), LedgerError> {
        let path = offsets_path(&self.folder, self.first);
        if files::read_if_there(&path)?.is_some_and(|there| there == offsets) {
            return Ok(());
        }
        files::replace_unsynced(&path, offsets)
    }

    fn remove_beyond(&self) -> Result<(), LedgerError> {
        let mut first = if self.size > self.first {
            self.first + LEAVES_PER_FILE
        } else {
            self.first
        };
        while leaves_path(&self.folder, first).exists() {
            for path in [
                leaves_path(&self.folder, first),
                offsets_path(&self.folder, first),
            ] {
                if path.exists() {
                    fs::remove_file(&path).at("remove", &path)?;
                }
            }
            first += LEAVES_PER_FILE;
        }
        Ok(())
    }

    fn files(&mut self) -> Result<&(File, File), LedgerError> {
        if self.files.is_none() {
            let open = |path: PathBuf| {
                let mut options = OpenOptions::new();
                options
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(false)
                    .mode(0o644)
                    .open(&path)
                    .at("open", &path)
            };
            let fresh = !leaves_path(&self.folder, self.first).exists();
            let pair = (
                open(leaves_path(&self.folder, self.first))?,
                open(offsets_path(&self.folder, self.first))?,
            );
            if fresh {
                files::sync_folder(&self.folder)?;
            }
            self.files = Some(pair);
        }
        Ok(self.files.as_ref().expect("opened above"))
    }

    /// Lays a leaf into the buffer.
    pub(crate) fn push(&mut self, entry: &[u8], sealed: &[u8]) -> Result<(), LedgerError> {
        if self.size > self.first && self.size - self.first == LEAVES_PER_FILE {
            self.commit()?;
            // A start makes only the last file's offsets anew.
            let folder = self.folder.clone();
            self.files()?.1.sync_data().at("sync", &folder)?;
            (self.first, self.end, self.files) = (self.size, 0, None);
        }
        self.offsets
            .extend((self.end + self.data.len() as u64).to_be_bytes());
        append_leaf(&mut self.data, entry, sealed);
        self.size += 1;
        Ok(())
    }

    /// Writes and syncs what was pushed.
    pub(crate) fn commit(&mut self) -> Result<(), LedgerError> {
        if self.data.is_empty() {
            return Ok(());
        }
        let (path, end) = (leaves_path(&self.folder, self.first), self.end);
        let place = (self.size - self.first) * 8 - self.offsets.len() as u64;
        let (data, offsets) = (std::mem::take(&mut self.data), std::mem::take(&mut self.offsets));
        let (leaves, index) = self.files()?;
        index.write_all_at(&offsets, place).at("write", &path)?;
        leaves
            .write_all_at(&data, end)
            .and_then(|()| leaves.sync_data())
            .at("write", &path)?;
        self.end += data.len() as u64;
        (self.data, self.offsets) = (data, offsets);
        self.data.clear();
        self.offsets.clear();
        Ok(())
    }
}

/// Where the first `count` leaves of a file end, and the offsets of each.
fn walk(folder: &Path, first: u64, count: usize) -> Result<(u64, Vec<u8>), LedgerError> {
    let (mut end, mut offsets) = (0, Vec::with_capacity(count * 8));
    if count == 0 {
        return Ok((0, offsets));
    }
    let path = leaves_path(folder, first);
    let file = File::open(&path).at("open", &path)?;
    let mut visit = |at: u64, _: &[u8], _: &[u8], length: usize| {
        offsets.extend(at.to_be_bytes());
        end = at + length as u64;
        if offsets.len() == count * 8 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    walk_file(&path, &file, 0, &mut visit)?;
    if offsets.len() == count * 8 {
        return Ok((end, offsets));
    }
    let what = format!("it holds {} leaves, {count} are registered", offsets.len() / 8);
    Err(LedgerError::damaged(&path, Some(end), what))
}

type Visit<'a> = dyn FnMut(u64, &[u8], &[u8], usize) -> ControlFlow<()> + 'a;

/// Visits the leaves of one file from a byte on, until the visitor breaks or the file ends; whether it ended.
fn walk_file(path: &Path, file: &File, from: u64, visit: &mut Visit<'_>) -> Result<bool, LedgerError> {
    let (mut at, mut buffer, mut wanted) = (from, Vec::new(), READ_AHEAD);
    loop {
        buffer.resize(wanted, 0);
        let read = read_up_to(file, &mut buffer, at).at("read", path)?;
        let mut rest = &buffer[..read];
        let before = at;
        while let Some((entry, sealed, length)) = split_leaf(rest) {
            if visit(at, entry, sealed, length).is_break() {
                return Ok(false);
            }
            at += length as u64;
            rest = &rest[length..];
        }
        if read < wanted {
            return Ok(true);
        }
        // Not one whole leaf in a full buffer: a leaf is at most 131 KiB, so this is damage, and a larger buffer ends it.
        wanted = if at == before { wanted * 2 } else { READ_AHEAD };
        if wanted > 4 * READ_AHEAD {
            return Err(LedgerError::damaged(
                path,
                Some(at),
                "a leaf's length is over the limit",
            ));
        }
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Told of a leaf: its index, entry and sealed content.
pub type VisitLeaf<'a> = dyn FnMut(LeafIndex, &[u8], &[u8]) -> ControlFlow<()> + 'a;

type Pair = Arc<(File, File)>;

/// Reads leaves; may do so while a [`LeafWriter`] appends.
#[derive(Debug)]
pub(crate) struct LeafFiles {
    folder: PathBuf,
    open: Mutex<HashMap<u64, Pair>>,
}

impl LeafFiles {
    /// How many whole leaves lie beyond `size`: written, and never registered.
    pub(crate) fn count_beyond(folder: &Path, size: TreeSize) -> Result<u64, LedgerError> {
        let mut first = size.0 / LEAVES_PER_FILE * LEAVES_PER_FILE;
        let mut count = 0;
        loop {
            let path = leaves_path(folder, first);
            if !path.exists() {
                return Ok(count - (size.0 % LEAVES_PER_FILE).min(count));
            }
            let file = File::open(&path).at("open", &path)?;
            walk_file(&path, &file, 0, &mut |_, _, _, _| {
                count += 1;
                ControlFlow::Continue(())
            })?;
            first += LEAVES_PER_FILE;
        }
    }

    pub(crate) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            open: Mutex::new(HashMap::new()),
        }
    }

    fn pair(&self, first: u64) -> Result<Pair, LedgerError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = open.get(&first) {
            return Ok(Arc::clone(pair));
        }
        if open.len() >= 32 {
            open.clear();
        }
        let file = |path: PathBuf| File::open(&path).at("open", &path);
        let pair = Arc::new((
            file(leaves_path(&self.folder, first))?,
            file(offsets_path(&self.folder, first))?,
        ));
        open.insert(first, Arc::clone(&pair));
        Ok(pair)
    }

    /// Leaf 0, read without the offsets: it is looked at before anything could have mended them.
    pub(crate) fn genesis(&self) -> Result<Leaf, LedgerError> {
        let path = leaves_path(&self.folder, 0);
        let file = File::open(&path).at("open", &path)?;
        let mut found = None;
        walk_file(&path, &file, 0, &mut |_, entry, sealed, _| {
            found = Some(Leaf {
                entry: entry.to_vec(),
                sealed: sealed.to_vec(),
            });
            ControlFlow::Break(())
        })?;
        found.ok_or_else(|| LedgerError::damaged(&path, Some(0), "leaf 0 is not whole"))
    }

    fn offset(&self, pair: &Pair, first: u64, index: u64) -> Result<u64, LedgerError> {
        let mut bytes = [0; 8];
        let path = offsets_path(&self.folder, first);
        pair.1
            .read_exact_at(&mut bytes, (index - first) * 8)
            .at("read", &path)?;
        Ok(u64::from_be_bytes(bytes))
    }

    /// The leaf at an index that is on record.
    pub(crate) fn leaf(&self, index: LeafIndex) -> Result<Leaf, LedgerError> {
        let first = index.0 / LEAVES_PER_FILE * LEAVES_PER_FILE;
        let pair = self.pair(first)?;
        let at = self.offset(&pair, first, index.0)?;
        let path = leaves_path(&self.folder, first);
        let mut wanted = 2_048;
        loop {
            let mut buffer = vec![0; wanted];
            let read = read_up_to(&pair.0, &mut buffer, at).at("read", &path)?;
            if let Some((entry, sealed, _)) = split_leaf(&buffer[..read]) {
                return Ok(Leaf {
                    entry: entry.to_vec(),
                    sealed: sealed.to_vec(),
                });
            }
            if read < wanted || wanted > READ_AHEAD {
                return Err(LedgerError::damaged(
                    &path,
                    Some(at),
                    format!("leaf {index} is not whole"),
                ));
            }
            wanted *= 16;
        }
    }

    /// Visits the leaves from `from` up to, not including, `to`.
    pub(crate) fn scan(
        &self,
        from: LeafIndex,
        to: TreeSize,
        visit: &mut VisitLeaf<'_>,
    ) -> Result<(), LedgerError> {
        let mut index = from.0;
        while index < to.0 {
            let first = index / LEAVES_PER_FILE * LEAVES_PER_FILE;
            let pair = self.pair(first)?;
            let at = self.offset(&pair, first, index)?;
            let path = leaves_path(&self.folder, first);
            let end = to.0.min(first + LEAVES_PER_FILE);
            let before = index;
            let mut stopped = false;
            let mut each = |_: u64, entry: &[u8], sealed: &[u8], _: usize| {
                stopped = visit(LeafIndex(index), entry, sealed).is_break();
                index += 1;
                if stopped || index == end {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let ended = walk_file(&path, &pair.0, at, &mut each)?;
            if stopped {
                return Ok(());
            }
            if ended && index < end {
                let what = format!("leaves {index} to {} are missing (read from {before})", end - 1);
                return Err(LedgerError::damaged(&path, None, what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(n: u64) -> Leaf {
        let sealed = vec![
            7;
            if n.is_multiple_of(3) {
                0
            } else {
                usize::try_from(n % 900).unwrap() * 30
            }
        ];
        Leaf {
            entry: format!("entry {n}").into_bytes(),
            sealed,
        }
    }

    fn fill(folder: &Path, from: u64, to: u64) {
        let mut writer = LeafWriter::open(folder, TreeSize(from)).unwrap();
        for n in from..to {
            writer.push(&leaf(n).entry, &leaf(n).sealed).unwrap();
            if n % 1_000 == 0 {
                writer.commit().unwrap();
            }
        }
        writer.commit().unwrap();
    }

    #[test]
    fn what_was_pushed_is_read_across_files() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 0, 65_540);
        let files = LeafFiles::new(folder.path());
        for n in [0, 1, 899, 65_535, 65_536, 65_539] {
            assert_eq!(files.leaf(LeafIndex(n)).unwrap(), leaf(n));
        }
        let mut seen = Vec::new();
        let mut visit = |index: LeafIndex, entry: &[u8], sealed: &[u8]| {
            assert_eq!(
                (entry, sealed),
                (&leaf(index.0).entry[..], &leaf(index.0).sealed[..])
            );
            seen.push(index.0);
            ControlFlow::Continue(())
        };
        files
            .scan(LeafIndex(65_000), TreeSize(65_538), &mut visit)
            .unwrap();
        assert_eq!(seen, (65_000..65_538).collect::<Vec<_>>());
    }

    #[test]
    fn what_was_not_registered_is_cut_off_and_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 0, 70_000);
        for size in [65_600, 65_536, 100, 0] {
            drop(LeafWriter::open(folder.path(), TreeSize(size)).unwrap());
            fill(folder.path(), size, size + 10);
            let files = LeafFiles::new(folder.path());
            assert_eq!(files.leaf(LeafIndex(size + 9)).unwrap(), leaf(size + 9));
            assert!(files.leaf(LeafIndex(size + 10)).is_err());
        }
    }

    #[test]
    fn a_missing_leaf_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), 0, 10);
        assert!(matches!(
            LeafWriter::open(folder.path(), TreeSize(11)),
            Err(LedgerError::Damaged { .. })
        ));
    }
}
