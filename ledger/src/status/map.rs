//! The customer map and the map log of a shard at a glance.
//!
//! In scope: the published checkpoint, what it covers, what is wrong. Out of scope: proving anything.
//! Trust: the files; a process at work may be one root ahead of what is told.

use serde::Serialize;
use sharetrail_proof::hash::Hash;

use crate::error::LedgerError;
use crate::files;
use crate::keys;
use crate::ledger::Ledger;
use crate::mapper::{cosigned, last_leaf};
use crate::register::OutsideCopy;
use crate::sequencer::{note_text, stated};

/// A shard's customer map at a glance.
#[derive(Clone, Debug, Serialize)]
pub struct MapStatus {
    /// Leaves of the map log: roots that were sealed.
    pub leaves: u64,
    /// Labels in the map.
    pub labels: u64,
    /// Leaves of the record log that the map covers.
    pub covered: u64,
    /// When the last root was sealed, Unix seconds.
    pub sealed_at: Option<u64>,
    /// The root of the map.
    pub root: Option<Hash>,
    /// What is wrong, a line each.
    pub problems: Vec<String>,
}

/// Looks at a shard's map log; none where no root was ever sealed. `held`: whether a process is at work on the ledger.
pub(super) fn look(ledger: &Ledger, shard: u32, held: bool) -> Result<Option<MapStatus>, LedgerError> {
    let folder = ledger.folder().map(shard);
    let note = files::read_if_there(&folder.join("checkpoint"))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    let text = note.as_deref().and_then(note_text);
    let published = text.as_deref().and_then(stated);
    let copy = OutsideCopy::peek_map(&ledger.outside()?, shard)?;
    let copy = copy.as_deref().and_then(stated);
    if published.is_none() && copy.is_none() {
        return Ok(None);
    }
    let mut problems = Vec::new();
    let path = ledger.folder().keys().join(keys::map_file(shard));
    if !path.exists() {
        problems.push(format!(
            "no key for the map log at {}: bring it back from a backup",
            path.display()
        ));
    }
    let leaves = published.map_or(0, |(size, _)| size.0);
    match copy {
        None => problems.push(
            "no copy of the map log's last checkpoint outside of the folder: it is written when the maps are next brought \
             level"
                .into(),
        ),
        // A process at work writes the copy before the checkpoint, and must not look as if it had gone back.
        Some((known, _)) if !held && known.0 > leaves => problems.push(format!(
            "a map log of {known} leaves was signed, this folder holds {leaves}: it is made again when the maps are next \
             brought level"
        )),
        Some((known, root)) if published.is_some_and(|(size, here)| size == known && here != root) => problems
            .push(format!(
                "another map log of {known} leaves was signed than the one in this folder: one of them is forged, or not \
                 of this ledger. Compare both with a backup or another host, and bring the right one back before anything \
                 is added"
            )),
        Some(_) => {}
    }
    if let Some(text) = &text
        && has_rotten_cosignature(ledger, shard, text)?
    {
        problems.push(format!(
            "{} does not open under the policy, and dossiers do without it: have the auditor cosign again",
            folder.join("cosigned").display()
        ));
    }
    let last = published.map(|(size, _)| last_leaf(&folder, size)).transpose();
    let last = last.unwrap_or_else(|error| {
        problems.push(error.to_string());
        None
    });
    let last = last.flatten();
    Ok(Some(MapStatus {
        leaves,
        labels: last.as_ref().map_or(0, |leaf| leaf.labels),
        covered: last.as_ref().map_or(0, |leaf| leaf.checkpoint.size.0),
        sealed_at: last.as_ref().map(|leaf| leaf.time),
        root: last.map(|leaf| leaf.root),
        problems,
    }))
}

/// Whether a cosigned note of this checkpoint lies beside it that cannot be given to anybody.
fn has_rotten_cosignature(ledger: &Ledger, shard: u32, text: &str) -> Result<bool, LedgerError> {
    let note = files::read_if_there(&ledger.folder().map(shard).join("cosigned"))?;
    // An empty line ends the text. What comes after it may be anything.
    let is_of_it = note.is_some_and(|note| note.starts_with(format!("{text}\n").as_bytes()));
    Ok(is_of_it && cosigned(ledger, shard, text)?.is_none())
}
