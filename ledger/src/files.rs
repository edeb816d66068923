//! Files: private ones, ones that are replaced whole, and small logs of records.
//!
//! In scope: what makes a write last, and what makes a half-written one harmless. Out of scope: what is in them.
//! Trust: the operating system keeps what it said it synced.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::{At, LedgerError};

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<(), LedgerError> {
    fs::create_dir_all(path).at("make the folder", path)
}

/// Makes a folder that only its owner can enter.
pub fn make_private_folder(path: &Path) -> Result<(), LedgerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .at("make the folder", path)
}

/// Syncs a folder, so that what was made or renamed in it lasts.
pub fn sync_folder(path: &Path) -> Result<(), LedgerError> {
    // The folder of a bare file name is the present one.
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .at("sync the folder", path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Replaces a file whole: whoever reads sees the old or the new one, also after a power loss.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
    replace_unsynced_with(path, bytes, mode, true)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Replaces a file whole for readers, without making it last: for what can be derived again.
pub fn replace_unsynced(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    replace_unsynced_with(path, bytes, 0o644, false)
}

fn replace_unsynced_with(path: &Path, bytes: &[u8], mode: u32, sync: bool) -> Result<(), LedgerError> {
    let new = beside(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&new)
        .at("write", &new)?;
    file.write_all(bytes).at("write", &new)?;
    if sync {
        file.sync_all().at("sync", &new)?;
    }
    fs::rename(&new, path).at("replace", path)
}

/// Refuses a file or folder that anybody but its owner can read.
pub fn check_private(path: &Path) -> Result<(), LedgerError> {
    let mode = fs::metadata(path).at("read", path)?.permissions().mode() & 0o777;
    let others = mode & 0o077;
    if others == 0 {
        Ok(())
    } else {
        Err(LedgerError::Exposed {
            path: path.to_owned(),
            mode,
        })
    }
}

/// Reads a private file as text.
pub fn read_private(path: &Path) -> Result<String, LedgerError> {
    check_private(path)?;
    fs::read_to_string(path).at("read", path)
}

/// Writes a new private file that lasts; refuses to write over another.
pub fn write_private(path: &Path, text: &str) -> Result<(), LedgerError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .at("write", path)?;
    file.write_all(text.as_bytes()).at("write", path)?;
    file.sync_all().at("sync", path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// A file, or nothing where there is none.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// A small log of which only the last whole record counts: `u32 length ‖ u32 CRC-32 ‖ record`, appended with one sync.
///
/// Appending costs a tenth of replacing a file. A half-written record at the end is passed over. The file starts anew
/// when it has grown past a limit.
#[derive(Debug)]
pub struct LastRecord {
    path: PathBuf,
    file: File,
    end: u64,
    limit: u64,
}

impl LastRecord {
    /// Opens or makes the log, and gives the last whole record. `limit`: bytes after which it starts anew.
    pub fn open(path: &Path, limit: u64) -> Result<(Self, Option<Vec<u8>>), LedgerError> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .at("open", path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).at("read", path)?;
        let (end, last) = last_record(&bytes);
        let last = last.map(<[u8]>::to_vec);
        Ok((
            Self {
                path: path.to_owned(),
                file,
                end: end as u64,
                limit,
            },
            last,
        ))
    }

    /// Reads the last whole record without opening the log for writing.
    pub fn peek(path: &Path) -> Result<Option<Vec<u8>>, LedgerError> {
        Ok(read_if_there(path)?.and_then(|bytes| last_record(&bytes).1.map(<[u8]>::to_vec)))
    }

    /// Appends a record that lasts when this returns.
    pub fn append(&mut self, record: &[u8]) -> Result<(), LedgerError> {
        let framed = framed(record);
        if self.end > 0 && self.end + framed.len() as u64 > self.limit {
            replace(&self.path, &framed, 0o600)?;
            self.file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&self.path)
                .at("open", &self.path)?;
            self.end = framed.len() as u64;
            return Ok(());
        }
        self.file
            .write_all_at(&framed, self.end)
            .at("write", &self.path)?;
        self.file.sync_data().at("sync", &self.path)?;
        self.end += framed.len() as u64;
        Ok(())
    }
}

fn framed(record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).expect("records are far below 4 GiB");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(crc32fast::hash(record).to_be_bytes());
    bytes.extend_from_slice(record);
    bytes
}

fn last_record(bytes: &[u8]) -> (usize, Option<&[u8]>) {
    let (mut at, mut last) = (0, None);
    while let Some((head, rest)) = bytes[at..].split_first_chunk::<8>() {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let crc = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        let Some(record) = rest.get(..length).filter(|record| crc32fast::hash(record) == crc) else {
            break;
        };
        at += 8 + length;
        last = Some(record);
    }
    (at, last)
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> Result<[u8; N], LedgerError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| LedgerError::Invalid(format!("no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_record_counts_and_a_torn_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let (mut log, none) = LastRecord::open(&path, 100).unwrap();
        assert_eq!(none, None);
        for round in 0..50_u8 {
            log.append(&[round; 20]).unwrap();
            assert_eq!(LastRecord::peek(&path).unwrap(), Some(vec![round; 20]));
        }
        assert!(fs::metadata(&path).unwrap().len() <= 100);
        let whole = fs::read(&path).unwrap();
        for cut in 1..28 {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (mut log, last) = LastRecord::open(&path, 100).unwrap();
            assert_ne!(last, Some(vec![49; 20]));
            log.append(b"after").unwrap();
            assert_eq!(LastRecord::peek(&path).unwrap(), Some(b"after".to_vec()));
        }
    }

    #[test]
    fn a_private_file_is_refused_once_others_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_private(&path, "secret").unwrap();
        assert_eq!(read_private(&path).unwrap(), "secret");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_private(&path),
            Err(LedgerError::Exposed { mode: 0o640, .. })
        ));
        assert!(matches!(write_private(&path, "x"), Err(LedgerError::File { .. })));
    }
}
