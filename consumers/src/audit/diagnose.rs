//! Finding what is wrong with a log whose entries do not give the root that was signed.
//!
//! In scope: comparing entries with tiles, and tiles with each other; comparing with a tree that was audited before.
//! Out of scope: logs in order, which never come here. Trust: tiles that lead to the signed root say what the entries
//! were; others only say that they differ.

use std::sync::atomic::{AtomicBool, Ordering};

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{Hash, LeafHash, TreeSize, leaf_hashes};
use sharetrail_proof::tiles::{Bundle, Tile, tiles_between};
use sharetrail_proof::tree::{CompactRange, root_of};

use super::error::Halt;
use super::fault::{Fault, FaultKind, Faults};
use super::tree::{NoTile, Tree};

/// How many places are named.
const PLACES: usize = 16;

/// Tells why a log's entries, which gave `found`, do not give the root of its checkpoint.
pub(crate) fn diagnose(
    tree: Tree<'_>,
    signed: &Checkpoint,
    found: &Hash,
    stop: &AtomicBool,
    faults: &mut Faults,
) -> Result<(), Halt> {
    let (size, mut tell) = (signed.size, teller(tree, faults));
    let what = format!(
        "the entries give the root {found}, and {} was signed",
        signed.root
    );
    tell(size.0, FaultKind::Root, what);
    let tiles_hold = tree.tiles_give(size, &signed.root)?;
    let differing = entries_unlike_tiles(tree, size, stop)?;
    for &(index, tile) in &differing {
        if tiles_hold {
            let what = "the entry here is not the one that the checkpoint was signed over";
            tell(index, FaultKind::Entry, what.to_owned());
        } else {
            tell(
                index,
                FaultKind::Tile,
                format!("the entry here is not the one of {tile}"),
            );
        }
    }
    if differing.is_empty() || !tiles_hold {
        for (first, tile) in tiles_unlike_tiles(tree, size, stop)? {
            tell(
                first,
                FaultKind::Tile,
                format!("{tile} does not follow from the tiles below it"),
            );
        }
    }
    Ok(())
}

fn teller(tree: Tree<'_>, faults: &mut Faults) -> impl FnMut(u64, FaultKind, String) {
    let (shard, log) = (tree.shard, tree.log);
    move |index, kind, what| faults.add(Fault::at(shard, log, index, kind, what))
}

/// The first leaves whose entries are not those of the tiles; with the tile.
fn entries_unlike_tiles(tree: Tree<'_>, size: TreeSize, stop: &AtomicBool) -> Result<Vec<(u64, Tile)>, Halt> {
    let mut found = Vec::new();
    for number in 0.. {
        let (Some(bundle), Some(tile)) = (Bundle::at(number, size), Tile::at(0, number, size)) else {
            break;
        };
        if stop.load(Ordering::Acquire) {
            return Err(Halt::Stopped);
        }
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        // What is missing there is told, or was.
        let is_read = tree.entries(bundle, &mut bytes, &mut spans)?.is_ok();
        let Some(hashes) = hashes_of(tree, tile)?.filter(|_| is_read) else {
            continue;
        };
        let entries: Vec<&[u8]> = spans.iter().map(|&(start, end)| &bytes[start..end]).collect();
        let pairs = leaf_hashes(&entries).into_iter().zip(hashes);
        let first = number * u64::from(tile.full().width());
        let unlike = (first..).zip(pairs).filter(|(_, (entry, hash))| entry.0 != *hash);
        found.extend(unlike.map(|(index, _)| (index, tile)));
        if found.len() >= PLACES {
            found.truncate(PLACES);
            break;
        }
    }
    Ok(found)
}

/// The first tiles above level 0 with a hash that is not the root over the tile below it; with the first leaf under it.
fn tiles_unlike_tiles(tree: Tree<'_>, size: TreeSize, stop: &AtomicBool) -> Result<Vec<(u64, Tile)>, Halt> {
    let mut found = Vec::new();
    for tile in tiles_between(TreeSize(0), size).filter(|tile| tile.level() > 0) {
        if stop.load(Ordering::Acquire) {
            return Err(Halt::Stopped);
        }
        let Some(hashes) = hashes_of(tree, tile)? else {
            continue;
        };
        let width = u64::from(tile.full().width());
        for (index, hash) in (tile.index() * width..).zip(&hashes) {
            let Some(below) = Tile::at(tile.level() - 1, index, size) else {
                break;
            };
            let Some(hashes) = hashes_of(tree, below)? else {
                continue;
            };
            let hashes: Vec<LeafHash> = hashes.into_iter().map(LeafHash).collect();
            if root_of(&hashes) != *hash {
                found.push((index << (8 * u32::from(tile.level())), tile));
                break;
            }
        }
        if found.len() >= PLACES {
            break;
        }
    }
    Ok(found)
}

/// The hashes of a tile; none if it cannot be used.
fn hashes_of(tree: Tree<'_>, tile: Tile) -> Result<Option<Vec<Hash>>, Halt> {
    match tree.tile(tile) {
        Ok(bytes) if bytes.len() == tile.byte_len() => {
            let (hashes, _) = bytes.as_chunks::<32>();
            Ok(Some(hashes.iter().map(|hash| Hash(*hash)).collect()))
        }
        Ok(_) | Err(NoTile::Missing(_)) => Ok(None),
        Err(NoTile::Audit(error)) => Err(error.into()),
    }
}

/// Where a log that was audited up to `audited` now has another history: the first leaf of the first part that differs.
///
/// None if it has the same, as far as its tiles show, or if they do not lead to the signed root.
pub(crate) fn rewritten(
    tree: Tree<'_>,
    audited: &CompactRange,
    signed: &Checkpoint,
) -> Result<Option<u64>, Halt> {
    let Some(now) = tree.range_at(audited.size(), signed.size)? else {
        return Ok(None);
    };
    let differs = audited
        .hashes()
        .iter()
        .zip(now.hashes())
        .position(|(then, now)| then != now);
    let Some(at) = differs.filter(|_| audited.size() <= signed.size) else {
        return Ok(None);
    };
    if !tree.tiles_give(signed.size, &signed.root)? {
        return Ok(None);
    }
    Ok(Some(start_of(audited.size().0, at)))
}

/// The first leaf of a complete subtree of a tree's frontier, by its place there: one for each set bit, largest first.
fn start_of(size: u64, at: usize) -> u64 {
    let bits = (0..64).rev().map(|bit| size & (1 << bit)).filter(|bit| *bit != 0);
    bits.take(at).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtrees_of_a_frontier_begin_behind_the_larger_ones() {
        let starts: Vec<u64> = (0..3).map(|at| start_of(0b1011, at)).collect();
        assert_eq!(starts, [0, 8, 10]);
    }
}
