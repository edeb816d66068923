//! Copying what an archive lacks from other hosts.
//!
//! In scope: leaves up to a signed checkpoint, each answer proven to belong to that checkpoint's tree before any of it is
//! taken over, then batch by batch by the rules of acceptance. Out of scope: sealing what came (the caller does), customers'
//! keys (the vault's own replication). Trust: a peer is not trusted. Its leaves count only with a consistency proof from
//! them to the signed root, made from its tiles; so a lie leaves nothing behind, and the next peer is asked. Sealed contents
//! are bound by nothing but their keys: who opens one notices another's.

use sharetrail_proof::hash::{Hash, LeafIndex, TreeSize, leaf_hashes};
use sharetrail_proof::tiles::{ReadError, TileReader};
use sharetrail_proof::tree::{CompactRange, NodeSource, ProveError, prove_consistency, verify_consistency};

use super::peer::Peer;
use crate::archive::{Batches, Leaf, NoBatch, frame_of};
use crate::error::LedgerError;
use crate::sequencer::{Sequencer, note_text, stated};

/// What came from other hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Copied {
    /// How many leaves came.
    pub(crate) leaves: u64,
    /// The peers that gave some, in the order in which they were asked.
    pub(crate) from: Vec<String>,
    /// What was wrong with those that gave none, or not all.
    pub(crate) told: Vec<String>,
}

/// Brings the leaves that the archive lacks, up to `wanted`, from the first peer that has them; what one lacks, the next is
/// asked for. `known`: signed checkpoints, the one of size `wanted` among them. `progress` is told how many of how many
/// leaves came. What came counts once the caller seals it.
///
/// [`LedgerError::Peer`] where it does not reach `wanted`: it names the leaves that no peer gave, and why. What did come is
/// the signed history all the same, but ends where no checkpoint may be signed; asking again goes on from there.
pub(crate) fn copy_from_peers(
    sequencer: &mut Sequencer,
    peers: &[Peer],
    wanted: TreeSize,
    known: &[(TreeSize, Hash)],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Copied, LedgerError> {
    if !known.iter().any(|(size, _)| *size == wanted) {
        let text = format!("no signed checkpoint of {wanted} leaves is known to copy up to");
        return Err(LedgerError::Invalid(text));
    }
    // Where the archive itself is at fault, no peer could be proven right.
    sequencer.gives(known)?;
    let (shard, first) = (sequencer.shard(), sequencer.size().0);
    let total = wanted.0.saturating_sub(first);
    let mut copied = Copied::default();
    for peer in peers {
        let before = sequencer.size();
        if before >= wanted {
            break;
        }
        let mut each = |now: TreeSize| progress(now.0 - first, total);
        match copy_from(sequencer, peer, wanted, known, &mut each) {
            Ok(()) => {}
            Err(error @ LedgerError::Peer { .. }) => copied.told.push(error.to_string()),
            Err(error) => return Err(error),
        }
        if sequencer.size() > before {
            copied.from.push(peer.url().to_owned());
        }
    }
    let now = sequencer.size();
    sequencer.gives(known)?;
    copied.leaves = now.0 - first;
    if now >= wanted {
        return Ok(copied);
    }
    let last = wanted.0 - 1;
    let what = format!(
        "shard {shard}: leaves {now} to {last} are missing: {}",
        copied.told.join("; ")
    );
    let urls: Vec<&str> = peers.iter().map(Peer::url).collect();
    let url = if urls.is_empty() {
        "none is known".into()
    } else {
        urls.join(", ")
    };
    Err(LedgerError::Peer { url, what })
}

/// Takes over what one peer can prove. What it cannot is an error of the kind [`LedgerError::Peer`].
fn copy_from(
    sequencer: &mut Sequencer,
    peer: &Peer,
    wanted: TreeSize,
    known: &[(TreeSize, Hash)],
    progress: &mut dyn FnMut(TreeSize),
) -> Result<(), LedgerError> {
    let shard = sequencer.shard();
    let note = peer.checkpoint(shard)?;
    let holds = note_text(&note).as_deref().and_then(stated);
    let (holds, _) = holds.ok_or_else(|| peer.wrong("its checkpoint does not parse".into()))?;
    let short = || peer.wrong(format!("it holds {holds} leaves, and {wanted} are wanted"));
    // A peer that has not got so far may prove an earlier checkpoint.
    let provable = known
        .iter()
        .filter(|(size, _)| *size <= wanted.min(holds) && *size > sequencer.size());
    let &(target, root) = provable.max_by_key(|(size, _)| *size).ok_or_else(short)?;
    let tiles = TileReader::new(holds, |tile| peer.tile(shard, tile));
    while sequencer.size() < target {
        let batches = whole_batches(peer, shard, sequencer.size(), target)?;
        let mut range = sequencer.range().clone();
        for batch in &batches {
            extend(&mut range, batch);
        }
        proven(peer, &tiles, &range, target, &root)?;
        for batch in &batches {
            match sequencer.adopt(&frame_of(batch)) {
                // What was proven breaks no rule; a content that is missing is the peer's fault.
                Err(LedgerError::Damaged { what, .. }) => return Err(peer.wrong(what)),
                taken => taken?,
            }
        }
        progress(sequencer.size());
    }
    if target < wanted { Err(short()) } else { Ok(()) }
}

/// The whole batches in the peer's next answer that end at `target` or before; at least one.
fn whole_batches(
    peer: &Peer,
    shard: u32,
    from: TreeSize,
    target: TreeSize,
) -> Result<Vec<Vec<Leaf>>, LedgerError> {
    let leaves = peer.leaves(shard, LeafIndex(from.0))?;
    let (mut open, mut whole) = (Batches::default(), Vec::new());
    for (index, leaf) in (from.0..target.0).zip(leaves) {
        let no_batch = |NoBatch| peer.wrong(format!("leaf {index} should be a batch entry"));
        whole.extend(open.take(leaf).map_err(no_batch)?);
    }
    if whole.is_empty() {
        return Err(peer.wrong(format!("it gives no whole batch from leaf {from} on")));
    }
    Ok(whole)
}

fn extend(range: &mut CompactRange, batch: &[Leaf]) {
    let entries: Vec<&[u8]> = batch.iter().map(|leaf| leaf.entry.as_slice()).collect();
    range.extend_with(&leaf_hashes(&entries), &mut |_, _, _| ());
}

/// Checks that the tree which `range` is the frontier of is the beginning of the one with `root`, by the peer's tiles.
fn proven(
    peer: &Peer,
    tiles: &impl NodeSource<Error = ReadError<LedgerError>>,
    range: &CompactRange,
    target: TreeSize,
    root: &Hash,
) -> Result<(), LedgerError> {
    let size = range.size();
    let proof = prove_consistency(tiles, size, target).map_err(|error| match error {
        ProveError::Source(ReadError::Fetch { source, .. }) => source,
        other => peer.wrong(other.to_string()),
    })?;
    let verified = verify_consistency(size, &range.root(), target, root, &proof);
    verified.map_err(|error| {
        peer.wrong(format!(
            "its leaves up to {size} do not belong to the signed checkpoint of {target} leaves: {error}"
        ))
    })
}

#[cfg(test)]
mod tests;
