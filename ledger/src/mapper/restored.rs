//! Bringing back moments of a map log that are lost outside of the folder, from copies of the folder.
//!
//! In scope: reading them out of a copy's map leaves. Out of scope: making the map log again, which the mapper does when it
//! is next taken up. Trust: none in a copy: its map log counts only whole, under a checkpoint that the map log's key signed.

use std::path::Path;

use sharetrail_proof::checkpoint::{Checkpoint, log_origin, map_origin};
use sharetrail_proof::hash::{LeafHash, TreeSize};
use sharetrail_proof::map::MapLeaf;
use sharetrail_proof::name::Shard;
use sharetrail_proof::note::{Note, VerifierKey};
use sharetrail_proof::tiles::FULL_WIDTH;
use sharetrail_proof::tree::CompactRange;

use super::log::texts_in;
use super::moments::{Moment, Moments};
use crate::error::LedgerError;
use crate::files;
use crate::folder::Folder;
use crate::ledger::Ledger;
use crate::register::OutsideCopy;

/// Adds to a shard's moments outside those that only copies of the folder still have.
pub(crate) fn bring_moments(
    ledger: &Ledger,
    copies: &[Folder],
    shard: u32,
    notice: &mut dyn FnMut(String),
) -> Result<(), LedgerError> {
    let place =
        Shard::new(shard, ledger.shards()).map_err(|error| LedgerError::Invalid(error.to_string()))?;
    let (policy, record) = (ledger.policy()?, log_origin(ledger.name(), place));
    let Some(key) = policy.log_key(&map_origin(ledger.name(), place)) else {
        return Ok(());
    };
    for copy in copies {
        let folder = copy.map(shard);
        let Some(checkpoint) = signed(&folder, key)? else {
            continue;
        };
        let mut moments = Moments::open(&ledger.outside()?, shard)?;
        if checkpoint.size.0 <= moments.count() {
            continue;
        }
        match moments_of(&folder, &checkpoint, &record, &moments) {
            Ok(missing) => {
                moments.append(&missing)?;
                OutsideCopy::open_map(&ledger.outside()?, shard)?
                    .0
                    .keep(&checkpoint.to_text())?;
                notice(format!(
                    "shard {shard}: {} moments of the map log came from {}",
                    missing.len(),
                    folder.display()
                ));
            }
            Err(error) => notice(format!(
                "shard {shard}: {error}; that map log is passed over: name another copy with --from"
            )),
        }
    }
    Ok(())
}

/// The published checkpoint of a copy's map log, if the log's key signed it.
fn signed(folder: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, LedgerError> {
    let note = files::read_if_there(&folder.join("checkpoint"))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    let note = note.as_deref().and_then(|note| Note::parse(note).ok());
    let note = note.filter(|note| note.verify(key).is_ok());
    let checkpoint = note.and_then(|note| Checkpoint::parse(note.text()).ok());
    Ok(checkpoint.filter(|one| one.origin == key.name()))
}

/// The moments of a copy's map log beyond those that are here, once all its leaves gave the signed root and those that are
/// here are among them.
fn moments_of(
    folder: &Path,
    checkpoint: &Checkpoint,
    record: &str,
    here: &Moments,
) -> Result<Vec<Moment>, LedgerError> {
    let wrong = |what: String| LedgerError::damaged(folder, None, what);
    let (mut range, mut missing) = (CompactRange::new(), Vec::new());
    let mut covered = TreeSize(0);
    for number in 0..checkpoint.size.0.div_ceil(u64::from(FULL_WIDTH)) {
        for text in texts_in(folder, checkpoint.size, number)? {
            let index = range.size().0;
            range.push(LeafHash::of(text.as_bytes()));
            let leaf = MapLeaf::parse(&text).map_err(|error| wrong(error.to_string()))?;
            let moment = Moment::of(&leaf);
            if leaf.checkpoint.origin != record || moment.size <= covered {
                return Err(wrong(format!("leaf {index} does not follow the one before")));
            }
            covered = moment.size;
            if index >= here.count() {
                missing.push(moment);
            } else if here.get(index)? != moment {
                return Err(wrong(format!(
                    "leaf {index} is not the one whose moment is in {}",
                    here.path().display()
                )));
            }
        }
    }
    if (range.size(), range.root()) != (checkpoint.size, checkpoint.root) {
        return Err(wrong("its leaves do not give the root that was signed".into()));
    }
    Ok(missing)
}
