//! What an auditor's key cosigned before, held to what it is about to cosign.
//!
//! In scope: that a map log extends an earlier checkpoint of its own with this key's cosignature. Out of scope: reading
//! such notes, signing. Trust: a note counts where the key's cosignature is right; whoever keeps the notes may withhold
//! them, so only a place of the auditor's own says that there was none.

use sharetrail_proof::checkpoint::{Checkpoint, VerifiedCheckpoint};
use sharetrail_proof::hash::TreeSize;
use sharetrail_proof::note::{Note, VerifierKey};

use super::error::AuditError;
use super::fault::{Fault, FaultKind, LogKind};
use super::shard::Outcome;
use super::source::Source;
use super::tree::Tree;

/// What is wrong if this key cosigned `note`, and the shard's map log, whose root was computed here, does not extend it.
///
/// `origin`: that of the map log. A note without this key's cosignature says nothing.
pub(crate) fn fault(
    source: &Source,
    outcome: &Outcome,
    origin: &str,
    key: &VerifierKey,
    note: &str,
) -> Result<Option<Fault>, AuditError> {
    let note = Note::parse(note).ok();
    let Some(note) = note.filter(|note| note.cosigned(key).is_ok()) else {
        return Ok(None);
    };
    let Ok(before) = Checkpoint::parse(note.text()) else {
        return Ok(None);
    };
    if before.origin != origin {
        return Err(AuditError::NotClean(
            "where the note of a map log belongs lies another log's, which this key cosigned; move it away, or name \
             another folder",
        ));
    }
    let map = outcome.map.as_ref().map(|(_, map)| map);
    let size = map.map_or(TreeSize(0), VerifiedCheckpoint::size);
    let (shard, log) = (outcome.shard.index(), LogKind::Map);
    let told = |index: TreeSize, kind, what: &str| {
        let what = format!(
            "{what} the {} leaves with the root {} that this key cosigned before; keep that note and this checkpoint",
            before.size, before.root
        );
        Ok(Some(Fault::at(shard, log, index.0, kind, what)))
    };
    if size < before.size {
        let what = format!("its checkpoint has {size} leaves, which cannot extend");
        return told(size, FaultKind::RolledBack, &what);
    }
    let Some(map) = map else { return Ok(None) };
    let tree = Tree { source, shard, log };
    match tree.extends((before.size, &before.root), (size, map.root()))? {
        Some(true) => Ok(None),
        Some(false) => told(before.size, FaultKind::Rewritten, "it does not extend"),
        None => told(
            before.size,
            FaultKind::Tile,
            "the tiles do not show that it extends",
        ),
    }
}

/// Whether two notes say the same, whoever signed them.
pub(crate) fn is_of_the_same_text(note: &str, other: &str) -> bool {
    match (Note::parse(note), Note::parse(other)) {
        (Ok(note), Ok(other)) => note.text() == other.text(),
        _ => false,
    }
}
