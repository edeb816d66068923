//! The writer of a customer map.
//!
//! In scope: applying leaves, committing a version, taking up the last one, copying what is live into a new epoch.
//! Out of scope: how a version is built ([`super::worker`]). Trust: see the head of [`crate::map`].

use std::path::{Path, PathBuf};

use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::name::Label;

use super::head::{self, Head};
use super::node::Child;
use super::pages::{self, MAX_FILES, Pages};
use super::worker::{Crew, Written};
use crate::error::{At, LedgerError};
use crate::files;

/// Fewer updates than this are not worth a second thread.
const WORTH_THREADS: usize = 2_048;
/// Garbage is let lie up to here, however little is live.
const GARBAGE_BYTES: u64 = 64 << 20;

/// The writer of the map in one folder.
#[derive(Debug)]
pub struct MapTree {
    folder: PathBuf,
    pages: Pages,
    root: Child,
    /// Bytes of the pages that this version uses.
    live: u64,
    mark: Vec<u8>,
    threads: usize,
    /// Garbage below this is let lie.
    pub(super) garbage_bytes: u64,
}

impl MapTree {
    /// Opens the version that was committed last, an empty one where there is none; makes the folder.
    ///
    /// What was applied and never committed is dropped.
    ///
    /// # Errors
    /// `Damaged` where the head or a page file is not what was committed: [`MapTree::clear`] and fold anew.
    pub fn open(folder: &Path) -> Result<Self, LedgerError> {
        files::make_folder(folder)?;
        let (pages, head) = match Head::read(folder)? {
            Some(head) => {
                let pages = Pages::reopen(folder, head.epoch, &head.ends)?;
                let missing =
                    || LedgerError::damaged(&head::path_in(folder), None, "it names a file that is gone");
                (pages.ok_or_else(missing)?, Some(head))
            }
            None => (Pages::new(folder, first_epoch()?), None),
        };
        pages.remove_others()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            folder: folder.to_owned(),
            pages,
            root: head.as_ref().map_or(Child::EMPTY, |head| head.root),
            live: head.as_ref().map_or(0, |head| head.live),
            mark: head.map(|head| head.mark).unwrap_or_default(),
            threads: threads.min(MAX_FILES),
            garbage_bytes: GARBAGE_BYTES,
        })
    }

    /// Deletes the map in a folder, whatever its state. Readers that have it open keep their version.
    pub fn clear(folder: &Path) -> Result<(), LedgerError> {
        // Made, so that there is no special case where it is not there.
        files::make_folder(folder)?;
        let head = head::path_in(folder);
        match std::fs::remove_file(&head) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.at("remove", &head)?,
        }
        // A head that came back after a power loss would name files that are gone.
        files::sync_folder(folder)?;
        pages::remove_all(folder)
    }

    /// What the last commit was given; empty at first.
    pub fn mark(&self) -> &[u8] {
        &self.mark
    }

    /// Adds leaves to their labels, in the order given, and leaves `updates` empty.
    ///
    /// On an error the map is as before; the updates are there still, sorted by label.
    pub fn apply(&mut self, updates: &mut Vec<(Label, LeafHash)>) -> Result<(), LedgerError> {
        if updates.is_empty() {
            return Ok(());
        }
        // A stable sort: within a label the order stays.
        updates.sort_by_key(|update| update.0);
        let threads = if updates.len() < WORTH_THREADS {
            1
        } else {
            self.threads
        };
        self.pages.make_files(threads)?;
        let written = Crew::new(&self.pages, &self.pages, threads).update(&self.root, updates)?;
        self.pages.advance(&written.ends);
        self.live = (self.live + written.added).saturating_sub(written.superseded);
        self.root = written.root;
        updates.clear();
        Ok(())
    }

    /// The map's root, with all that was applied.
    pub fn root(&self) -> Hash {
        self.root.root
    }

    /// How many labels there are, with all that was applied.
    pub fn labels(&self) -> u64 {
        self.root.labels
    }

    /// Bytes of the page files.
    pub fn disk_bytes(&self) -> u64 {
        self.pages.bytes()
    }

    /// Makes all that was applied last, and `mark` with it; readers see it from here on.
    ///
    /// Now and then what is live is copied into new files first, which takes as long as there are labels.
    pub fn commit(&mut self, mark: &[u8]) -> Result<(), LedgerError> {
        let garbage = self.pages.bytes().saturating_sub(self.live);
        if garbage > self.garbage_bytes && garbage > self.live / 2 * 3 {
            return self.compact(mark);
        }
        self.pages.sync()?;
        let head = head_of(&self.pages, self.root, self.live, mark);
        head.write(&self.folder)?;
        self.mark = head.mark;
        Ok(())
    }

    /// Commits a copy of what is live, in a new epoch, and removes the files of the old one.
    fn compact(&mut self, mark: &[u8]) -> Result<(), LedgerError> {
        let mut fresh = Pages::new(&self.folder, self.pages.epoch() + 1);
        let written = match self.copy_to(&mut fresh) {
            Ok(written) => written,
            Err(error) => {
                // As on a full disk: what was copied in vain must not stay in the way.
                let _ = self.pages.remove_others();
                return Err(error);
            }
        };
        let head = head_of(&fresh, written.root, written.added, mark);
        head.write(&self.folder)?;
        self.pages = fresh;
        (self.root, self.live, self.mark) = (head.root, head.live, head.mark);
        // The commit is done. What cannot be removed now is removed when the map is opened next.
        let _ = self.pages.remove_others();
        Ok(())
    }

    fn copy_to(&self, fresh: &mut Pages) -> Result<Written, LedgerError> {
        fresh.make_files(self.threads)?;
        let written = Crew::new(&self.pages, fresh, self.threads).copy(&self.root)?;
        fresh.advance(&written.ends);
        fresh.sync()?;
        Ok(written)
    }
}

fn head_of(pages: &Pages, root: Child, live: u64, mark: &[u8]) -> Head {
    Head {
        epoch: pages.epoch(),
        root,
        live,
        ends: pages.ends(),
        mark: mark.to_vec(),
    }
}

/// Where epochs begin: at a random number, so that a reader that still holds the head of a map that was cleared finds its
/// files gone, and never those of another map under their names.
fn first_epoch() -> Result<u64, LedgerError> {
    Ok(u32::from_be_bytes(files::random()?).into())
}
