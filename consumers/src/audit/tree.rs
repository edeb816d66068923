//! The files of one log: checkpoint, bundles, tiles (C2SP tlog-tiles).
//!
//! In scope: their paths, their greatest lengths, the full file where a partial one is gone. Out of scope: whether what is
//! in them is true. Trust: none; tiles are used only for what a signed root confirms.

use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::note::MAX_NOTE_BYTES;
use sharetrail_proof::tiles::{
    Bundle, FULL_WIDTH, MAX_ENTRY_BYTES, ReadError, Tile, TileReader, parse_bundle,
};
use sharetrail_proof::tree::{CompactRange, ProveError, prove_consistency, range_at, verify_consistency};
use thiserror::Error;

use super::error::AuditError;
use super::fault::{FaultKind, LogKind};
use super::source::Source;

/// The most bytes of a bundle: 256 entries, each with its length.
const BUNDLE_BYTES_MAX: usize = 256 * (MAX_ENTRY_BYTES + 2);

/// Why something of a log cannot be used, told as a fault of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) kind: FaultKind,
    pub(crate) what: String,
}

/// Why a hash could not be had from the tiles.
#[derive(Debug, Error)]
pub(crate) enum NoTile {
    #[error("{0} is not there")]
    Missing(String),
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// One log of one shard.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) source: &'a Source,
    pub(crate) shard: u32,
    pub(crate) log: LogKind,
}

impl Tree<'_> {
    fn path(&self, file: impl std::fmt::Display) -> String {
        format!("{}/{}/{file}", self.log.folder(), self.shard)
    }

    /// Where the checkpoint is, for words.
    pub(crate) fn checkpoint_path(&self) -> String {
        self.path("checkpoint")
    }

    /// The published checkpoint, a note or whatever lies there.
    pub(crate) fn checkpoint(&self) -> Result<Option<String>, AuditError> {
        let bytes = self.source.get(&self.checkpoint_path(), MAX_NOTE_BYTES)?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Appends the entries of a bundle to `bytes`, and where each begins and ends to `spans`.
    pub(crate) fn entries(
        &self,
        bundle: Bundle,
        bytes: &mut Vec<u8>,
        spans: &mut Vec<(usize, usize)>,
    ) -> Result<Result<(), Broken>, AuditError> {
        let at = bytes.len();
        let Some(width) = self.append_bundle(bundle, bytes)? else {
            let what = format!("{} is not there", self.path(bundle));
            let kind = FaultKind::Missing;
            return Ok(Err(Broken { kind, what }));
        };
        let read = &bytes[at..];
        match parse_bundle(read, width) {
            Ok(entries) => {
                // Each entry stands behind its length of two bytes.
                let mut next = at;
                for entry in entries.iter().take(bundle.width().into()) {
                    let start = next + 2;
                    next = start + entry.len();
                    spans.push((start, next));
                }
                Ok(Ok(()))
            }
            Err(error) => {
                let what = format!("{}: {error}", self.path(bundle));
                bytes.truncate(at);
                let kind = FaultKind::Bundle;
                Ok(Err(Broken { kind, what }))
            }
        }
    }

    /// The width of what was appended: the full bundle may have replaced the partial one meanwhile.
    fn append_bundle(&self, bundle: Bundle, bytes: &mut Vec<u8>) -> Result<Option<u16>, AuditError> {
        let path = self.path(bundle);
        if self.source.append(&path, BUNDLE_BYTES_MAX, bytes)? {
            return Ok(Some(bundle.width()));
        }
        let Ok(full) = Bundle::new(bundle.index(), FULL_WIDTH) else {
            return Ok(None);
        };
        let is_there = full != bundle && self.source.append(&self.path(full), BUNDLE_BYTES_MAX, bytes)?;
        Ok(is_there.then_some(FULL_WIDTH))
    }

    /// The hashes of a tile, as it is in a tree of some size, or in a later one.
    pub(crate) fn tile(&self, tile: Tile) -> Result<Vec<u8>, NoTile> {
        for place in [tile, tile.full()] {
            if let Some(mut bytes) = self.source.get(&self.path(place), place.byte_len())? {
                if bytes.len() == place.byte_len() {
                    bytes.truncate(tile.byte_len());
                }
                return Ok(bytes);
            }
        }
        Err(NoTile::Missing(self.path(tile)))
    }

    /// What the tiles say of the tree when it had `size` leaves, as part of the tree of `of` leaves; none if they say
    /// nothing that can be read.
    pub(crate) fn range_at(&self, size: TreeSize, of: TreeSize) -> Result<Option<CompactRange>, AuditError> {
        let reader = TileReader::new(of, |tile| self.tile(tile));
        match range_at(&reader, size) {
            Ok(range) => Ok(Some(range)),
            Err(ProveError::Source(ReadError::Fetch {
                source: NoTile::Audit(error),
                ..
            })) => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// Whether the tiles lead to this root.
    pub(crate) fn tiles_give(&self, size: TreeSize, root: &Hash) -> Result<bool, AuditError> {
        let range = self.range_at(size, size)?;
        Ok(range.is_some_and(|range| range.root() == *root))
    }

    /// Whether the tree of `size` leaves with `root` extends the one of `old` leaves with `old_root`: proven out of the
    /// tiles, which need not be true for that. None where they prove neither that nor the contrary.
    pub(crate) fn extends(
        &self,
        (old, old_root): (TreeSize, &Hash),
        (size, root): (TreeSize, &Hash),
    ) -> Result<Option<bool>, AuditError> {
        let Some(stood) = self.range_at(old, size)? else {
            return Ok(None);
        };
        let reader = TileReader::new(size, |tile| self.tile(tile));
        let proof = match prove_consistency(&reader, old, size) {
            Ok(proof) => proof,
            Err(ProveError::Source(ReadError::Fetch {
                source: NoTile::Audit(error),
                ..
            })) => return Err(error),
            Err(_) => return Ok(None),
        };
        let holds = |old_root: &Hash| verify_consistency(old, old_root, size, root, &proof).is_ok();
        if holds(old_root) {
            return Ok(Some(true));
        }
        // It is disproven only by showing which root the tree had then.
        let stood = stood.root();
        Ok((stood != *old_root && holds(&stood)).then_some(false))
    }
}
