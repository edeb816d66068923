//! Page files: append-only, each page with a checksum that also covers the root its parent names.
//!
//! So a page that is whole, and not the one that was meant, is found out too. In scope: where pages lie, reading and
//! appending them, making them last. Out of scope: what is in them. Trust: none in what is read.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sharetrail_proof::hash::Hash;

use crate::error::{At, LedgerError};
use crate::files;

/// Bytes of a [`Location`] as it is written.
pub(super) const LOCATION_BYTES: usize = 12;
/// The most page files of an epoch: one for each thread that writes.
pub(super) const MAX_FILES: usize = 4;
/// Far above the largest page: 32 records with 62 hashes each are about 67 KiB.
const MAX_PAGE_BYTES: u32 = 1 << 20;
const CRC_BYTES: usize = 4;
/// Pages are written to their file when so many bytes of them wait.
const BUFFER_BYTES: usize = 4 << 20;
const PREFIX: &str = "pages-";

/// Where a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Location {
    file: u8,
    offset: u64,
    length: u32,
}

impl Location {
    /// Of what has no page.
    pub(super) const NONE: Self = Self {
        file: 0,
        offset: 0,
        length: 0,
    };

    /// Bytes of the page.
    pub(super) fn length(self) -> u64 {
        self.length.into()
    }

    pub(super) fn to_bytes(self) -> [u8; LOCATION_BYTES] {
        let mut bytes = [0; LOCATION_BYTES];
        bytes[..8].copy_from_slice(&self.offset.to_be_bytes());
        // A file is far below 2^56 bytes, so that the first byte of its offsets is free.
        bytes[0] = self.file;
        bytes[8..].copy_from_slice(&self.length.to_be_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; LOCATION_BYTES]) -> Self {
        let (mut offset, mut length) = ([0; 8], [0; 4]);
        offset[1..].copy_from_slice(&bytes[1..8]);
        length.copy_from_slice(&bytes[8..]);
        Self {
            file: bytes[0],
            offset: u64::from_be_bytes(offset),
            length: u32::from_be_bytes(length),
        }
    }
}

/// The page files of one epoch.
#[derive(Debug)]
pub(super) struct Pages {
    folder: PathBuf,
    epoch: u64,
    files: Vec<PageFile>,
    /// Whether a file was made that the folder may forget in a power loss.
    made: bool,
}

#[derive(Debug)]
struct PageFile {
    path: PathBuf,
    /// None where nothing was written to it in this epoch.
    file: Option<File>,
    end: u64,
    synced: u64,
}

fn path_of(folder: &Path, epoch: u64, number: usize) -> PathBuf {
    folder.join(format!("{PREFIX}{epoch}-{number}"))
}

fn checksum(body: &[u8], root: &Hash) -> [u8; CRC_BYTES] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(body);
    crc.update(&root.0);
    crc.finalize().to_be_bytes()
}

impl Pages {
    /// An epoch of which nothing is written.
    pub(super) fn new(folder: &Path, epoch: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            epoch,
            files: Vec::new(),
            made: false,
        }
    }

    /// Opens the files of an epoch, which must have these lengths at least; none where one of them is gone.
    pub(super) fn open(folder: &Path, epoch: u64, ends: &[u64]) -> Result<Option<Self>, LedgerError> {
        Self::open_with(folder, epoch, ends, OpenOptions::new().read(true))
    }

    /// Opens the files for writing. What lies beyond these lengths was never committed, and is cut off.
    pub(super) fn reopen(folder: &Path, epoch: u64, ends: &[u64]) -> Result<Option<Self>, LedgerError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let Some(pages) = Self::open_with(folder, epoch, ends, &options)? else {
            return Ok(None);
        };
        for page_file in &pages.files {
            if let Some(file) = &page_file.file {
                file.set_len(page_file.end).at("shorten", &page_file.path)?;
            }
        }
        Ok(Some(pages))
    }

    fn open_with(
        folder: &Path,
        epoch: u64,
        ends: &[u64],
        options: &OpenOptions,
    ) -> Result<Option<Self>, LedgerError> {
        let mut pages = Self::new(folder, epoch);
        for (number, &end) in ends.iter().enumerate() {
            let path = path_of(folder, epoch, number);
            let mut page_file = PageFile {
                path,
                file: None,
                end,
                synced: end,
            };
            if end > 0 {
                let file = match options.open(&page_file.path) {
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    opened => opened.at("open", &page_file.path)?,
                };
                let length = file.metadata().at("read", &page_file.path)?.len();
                if length < end {
                    let what = format!("it ends here, and {end} bytes of it were committed");
                    return Err(LedgerError::damaged(&page_file.path, Some(length), what));
                }
                page_file.file = Some(file);
            }
            pages.files.push(page_file);
        }
        Ok(Some(pages))
    }

    /// Makes the first `count` files, so that as many threads can write.
    pub(super) fn make_files(&mut self, count: usize) -> Result<(), LedgerError> {
        for number in 0..count {
            if self.files.len() == number {
                self.files.push(PageFile {
                    path: path_of(&self.folder, self.epoch, number),
                    file: None,
                    end: 0,
                    synced: 0,
                });
            }
            let page_file = &mut self.files[number];
            if page_file.file.is_none() {
                // What a commit that failed may have left behind is no part of this epoch.
                let file = OpenOptions::new()
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(&page_file.path)
                    .at("make", &page_file.path)?;
                page_file.file = Some(file);
                self.made = true;
            }
        }
        Ok(())
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The length of each file.
    pub(super) fn ends(&self) -> Vec<u64> {
        self.files.iter().map(|page_file| page_file.end).collect()
    }

    /// Bytes of all files together.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|page_file| page_file.end).sum()
    }

    /// Takes note of how far writers came; their files are the first ones.
    pub(super) fn advance(&mut self, ends: &[u64]) {
        for (page_file, &end) in self.files.iter_mut().zip(ends) {
            page_file.end = end;
        }
    }

    /// Reads the body of a page. `root`: what its parent says of it.
    pub(super) fn read(&self, at: Location, root: &Hash, body: &mut Vec<u8>) -> Result<(), LedgerError> {
        let page_file = self.files.get(usize::from(at.file));
        let Some((path, file)) = page_file.and_then(|found| Some((&found.path, found.file.as_ref()?))) else {
            return Err(self.damaged(at, "a page names a file that there is not"));
        };
        if at.length > MAX_PAGE_BYTES {
            return Err(self.damaged(at, "a page's length is over the limit"));
        }
        body.resize(at.length as usize, 0);
        match file.read_exact_at(body, at.offset) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(self.damaged(at, "the file ends within a page"));
            }
            read => read.at("read", path)?,
        }
        let whole = body
            .split_last_chunk::<CRC_BYTES>()
            .is_some_and(|(body, crc)| checksum(body, root) == *crc);
        if !whole {
            return Err(self.damaged(at, "a page is not the one that was written"));
        }
        body.truncate(body.len() - CRC_BYTES);
        Ok(())
    }

    /// Says that a page is not what it must be.
    pub(super) fn damaged(&self, at: Location, what: &str) -> LedgerError {
        let path = path_of(&self.folder, self.epoch, at.file.into());
        LedgerError::damaged(&path, Some(at.offset), what)
    }

    /// Appends to a file that [`Pages::make_files`] made. Files of other writers are not touched.
    pub(super) fn writer(&self, number: usize) -> PageWriter<'_> {
        let page_file = &self.files[number];
        PageWriter {
            number: u8::try_from(number).expect("there are four page files at most"),
            path: &page_file.path,
            file: page_file.file.as_ref().expect("made before there are writers"),
            end: page_file.end,
            buffer: Vec::new(),
        }
    }

    /// Makes all that was written last.
    pub(super) fn sync(&mut self) -> Result<(), LedgerError> {
        for page_file in &mut self.files {
            if let Some(file) = &page_file.file
                && page_file.end > page_file.synced
            {
                file.sync_data().at("sync", &page_file.path)?;
                page_file.synced = page_file.end;
            }
        }
        if self.made {
            files::sync_folder(&self.folder)?;
            self.made = false;
        }
        Ok(())
    }

    /// Sends what writers wrote so far to the disk, so that [`Pages::sync`] finds less to do.
    pub(super) fn sync_written(&self) -> Result<(), LedgerError> {
        for page_file in &self.files {
            if let Some(file) = &page_file.file {
                // An error is told once and never again, so it must not be passed over here.
                file.sync_data().at("sync", &page_file.path)?;
            }
        }
        Ok(())
    }

    /// Removes every page file of the folder that is not in use here.
    pub(super) fn remove_others(&self) -> Result<(), LedgerError> {
        remove_but(&self.folder, |path| {
            self.files
                .iter()
                .any(|used| used.file.is_some() && used.path == *path)
        })
    }
}

/// Removes every page file of a folder.
pub(super) fn remove_all(folder: &Path) -> Result<(), LedgerError> {
    remove_but(folder, |_| false)
}

fn remove_but(folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<(), LedgerError> {
    for entry in fs::read_dir(folder).at("read", folder)? {
        let entry = entry.at("read", folder)?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(PREFIX) && !keep(&path) {
            fs::remove_file(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// Appends pages to one file.
#[derive(Debug)]
pub(super) struct PageWriter<'a> {
    number: u8,
    path: &'a Path,
    file: &'a File,
    /// Where the buffer belongs.
    end: u64,
    buffer: Vec<u8>,
}

impl PageWriter<'_> {
    /// Appends a page. `root`: what its parent will say of it.
    pub(super) fn append(&mut self, body: &[u8], root: &Hash) -> Result<Location, LedgerError> {
        let at = Location {
            file: self.number,
            offset: self.end + self.buffer.len() as u64,
            length: u32::try_from(body.len() + CRC_BYTES).expect("a page is far below 4 GiB"),
        };
        self.buffer.extend_from_slice(body);
        self.buffer.extend(checksum(body, root));
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(at)
    }

    /// Writes what waits, and says where the file ends. It lasts only after [`Pages::sync`].
    pub(super) fn flush(&mut self) -> Result<u64, LedgerError> {
        self.file
            .write_all_at(&self.buffer, self.end)
            .at("write", self.path)?;
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(self.end)
    }
}
