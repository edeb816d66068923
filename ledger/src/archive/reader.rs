//! Reading a shard's archive as it stood at one checkpoint.
//!
//! In scope: leaves, proofs. A reader is pinned: what is appended later does not show. Out of scope: what entries mean.
//! Trust: the disk is not trusted by whoever verifies a proof; the reader itself only reads.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::note::Note;
use sharetrail_proof::tiles::{FULL_WIDTH, ReadError, RecentTiles, Tile, TileReader};
use sharetrail_proof::tree::{
    CompactRange, ConsistencyProof, InclusionProof, ProveError, prove_consistency, prove_inclusion, range_at,
};

use super::leaves::{Leaf, LeafFiles, VisitLeaf};
use super::tiles::read_tile;
use crate::error::{At, LedgerError};

type Fetch = Box<dyn Fn(Tile) -> Result<Arc<[u8]>, LedgerError> + Send + Sync>;

/// One shard's archive at a checkpoint.
pub struct Reader {
    shard: u32,
    note: String,
    checkpoint: Checkpoint,
    leaves: LeafFiles,
    tiles: TileReader<Fetch, Mutex<RecentTiles>>,
    log: PathBuf,
}

/// The tiles of a tree of `size` leaves in a folder.
pub(crate) fn tile_reader(log: &Path, size: TreeSize) -> TileReader<Fetch, Mutex<RecentTiles>> {
    let folder = log.to_owned();
    let fetch: Fetch = Box::new(move |tile| read_tile(&folder, tile).map(Into::into));
    TileReader::with_cache(size, fetch, Mutex::new(RecentTiles::new(256)))
}

impl Reader {
    /// Opens the archive at the checkpoint that is published now. The note's signature is not checked here.
    pub(crate) fn open(shard: u32, log: &Path, sealed: &Path) -> Result<Self, LedgerError> {
        let path = log.join("checkpoint");
        let note = fs::read_to_string(&path).at("read", &path)?;
        let parsed =
            Note::parse(&note).map_err(|error| LedgerError::damaged(&path, None, error.to_string()))?;
        let checkpoint = Checkpoint::parse(parsed.text());
        let checkpoint = checkpoint.map_err(|error| LedgerError::damaged(&path, None, error.to_string()))?;
        let (leaves, tiles) = (LeafFiles::new(sealed), tile_reader(log, checkpoint.size));
        Ok(Self {
            shard,
            note,
            checkpoint,
            leaves,
            tiles,
            log: log.to_owned(),
        })
    }

    /// Which shard it is.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// The signed checkpoint, verbatim.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// What the checkpoint says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The number of leaves.
    pub fn size(&self) -> TreeSize {
        self.checkpoint.size
    }

    /// The leaf at an index below the size.
    pub fn leaf(&self, index: LeafIndex) -> Result<Leaf, LedgerError> {
        self.within(index)?;
        self.leaves.leaf(index)
    }

    /// Visits the leaves from `from` on, in order, until the size is reached or the visitor breaks.
    pub fn scan(&self, from: LeafIndex, visit: &mut VisitLeaf<'_>) -> Result<(), LedgerError> {
        self.leaves.scan(from, self.size(), visit)
    }

    /// The hashes of `count` leaves from `first` on, as the tiles have them; fewer where the log ends before.
    pub fn leaf_hashes(&self, first: LeafIndex, count: usize) -> Result<Vec<LeafHash>, LedgerError> {
        let width = u64::from(FULL_WIDTH);
        let end = self.size().0.min(first.0.saturating_add(count as u64));
        let mut hashes = Vec::with_capacity(count);
        for number in first.0 / width..end.div_ceil(width) {
            let Some(tile) = Tile::at(0, number, self.size()) else {
                break;
            };
            let bytes = read_tile(&self.log, tile)?;
            let from = usize::try_from(first.0.saturating_sub(number * width)).expect("within a tile");
            let to = usize::try_from((end - number * width).min(width)).expect("within a tile");
            let found = bytes.as_chunks::<32>().0.get(from..to);
            let found = found.ok_or_else(|| {
                LedgerError::damaged(&self.log.join(tile.to_string()), None, "the tile is short")
            })?;
            hashes.extend(found.iter().map(|hash| LeafHash(Hash(*hash))));
        }
        Ok(hashes)
    }

    /// The proof that a leaf is in the checkpoint's tree.
    pub fn inclusion(&self, index: LeafIndex) -> Result<InclusionProof, LedgerError> {
        self.within(index)?;
        prove_inclusion(&self.tiles, index, self.size()).map_err(|error| self.unproven(error))
    }

    /// The proof that the checkpoint's tree extends the one of `old` leaves.
    pub fn consistency(&self, old: TreeSize) -> Result<ConsistencyProof, LedgerError> {
        prove_consistency(&self.tiles, old, self.size()).map_err(|error| self.unproven(error))
    }

    /// The proof that the tree of `new` leaves, no more than the checkpoint's, extends the one of `old` leaves.
    pub fn consistency_between(&self, old: TreeSize, new: TreeSize) -> Result<ConsistencyProof, LedgerError> {
        if new > self.size() {
            return Err(LedgerError::Invalid(format!(
                "the log has {} leaves, not {new}",
                self.size()
            )));
        }
        prove_consistency(&self.tiles, old, new).map_err(|error| self.unproven(error))
    }

    /// The root of the first `size` leaves.
    pub fn root_at(&self, size: TreeSize) -> Result<Hash, LedgerError> {
        if size > self.size() {
            return Err(LedgerError::Invalid(format!(
                "the log has {} leaves, not {size}",
                self.size()
            )));
        }
        self.range_at(size).map(|range| range.root())
    }

    pub(crate) fn range_at(&self, size: TreeSize) -> Result<CompactRange, LedgerError> {
        range_at(&self.tiles, size).map_err(|error| self.unproven(error))
    }

    fn within(&self, index: LeafIndex) -> Result<(), LedgerError> {
        if index.0 < self.size().0 {
            return Ok(());
        }
        Err(LedgerError::Invalid(format!(
            "the log has {} leaves; there is no leaf {index}",
            self.size()
        )))
    }

    fn unproven(&self, error: ProveError<ReadError<LedgerError>>) -> LedgerError {
        proving(&self.log, error)
    }
}

pub(crate) fn proving(log: &Path, error: ProveError<ReadError<LedgerError>>) -> LedgerError {
    match error {
        ProveError::Source(ReadError::Fetch { source, .. }) => source,
        ProveError::Source(other) => LedgerError::damaged(log, None, other.to_string()),
        other => LedgerError::Invalid(other.to_string()),
    }
}
