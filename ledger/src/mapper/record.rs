//! The record log as the mapper reads it: labels and leaf hashes, out of the entry bundles.
//!
//! In scope: reading entries in pieces that end at a batch boundary, and holding what was read to the published
//! checkpoint. Out of scope: sealed contents, what an event says. Trust: the checkpoint once the log's key signed it;
//! bundles and tiles are believed where they lead to its root.

use std::path::{Path, PathBuf};

use sharetrail_proof::entry::{BATCH, ERASURE, ERASURE_BYTES, EVENT, EVENT_BYTES, REGISTRY};
use sharetrail_proof::hash::{LeafHash, TreeSize, leaf_hashes};
use sharetrail_proof::name::Label;
use sharetrail_proof::note::{Note, VerifierKey};
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH, parse_bundle};
use sharetrail_proof::tree::{CompactRange, verify_consistency};

use crate::archive::{Reader, read_bundle};
use crate::error::LedgerError;
use crate::ledger::Ledger;

/// One shard's record log at its published checkpoint.
pub(super) struct RecordLog {
    reader: Reader,
    folder: PathBuf,
}

/// A piece of the record log.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The leaves that stand under a label, in log order.
    pub(super) updates: Vec<(Label, LeafHash)>,
    /// All leaves.
    pub(super) leaves: Vec<LeafHash>,
}

impl Gathered {
    fn cut(mut self, (updates, leaves): (usize, usize)) -> Self {
        self.updates.truncate(updates);
        self.leaves.truncate(leaves);
        self
    }
}

impl RecordLog {
    /// Opens the log. `key`: its own, named by its origin.
    pub(super) fn open(ledger: &Ledger, shard: u32, key: &VerifierKey) -> Result<Self, LedgerError> {
        let reader = ledger.reader(shard)?;
        let note = Note::parse(reader.note());
        let is_signed = note.is_ok_and(|note| note.verify(key).is_ok());
        if !is_signed || reader.checkpoint().origin != key.name() {
            let what = format!(
                "no checkpoint that {} signed. Start `sharetrail serve` again, which publishes it; if that refuses, run \
                 `sharetrail restore --from COPY`",
                key.name()
            );
            return Err(LedgerError::damaged(
                &ledger.folder().checkpoint(shard),
                None,
                what,
            ));
        }
        Ok(Self {
            reader,
            folder: ledger.folder().log(shard),
        })
    }

    pub(super) fn size(&self) -> TreeSize {
        self.reader.size()
    }

    /// Reads on from `from`, a batch boundary, to `to` if that is near: up to the last batch boundary with at most `limit`
    /// labelled leaves before it, and at least one batch.
    pub(super) fn gather(&self, from: TreeSize, to: TreeSize, limit: usize) -> Result<Gathered, LedgerError> {
        if to > self.size() {
            // Whoever folds on until `to` is reached would never end.
            return Err(LedgerError::RolledBack {
                shard: self.reader.shard(),
                known: to.0,
                have: self.size().0,
                from: "the map log".into(),
            });
        }
        let width = u64::from(FULL_WIDTH);
        let (mut found, mut boundary) = (Gathered::default(), None);
        for number in from.0 / width..to.0.div_ceil(width) {
            // As the published checkpoint has it: an unfinished bundle of another width need not be there.
            let Some(bundle) = Bundle::at(number, self.size()) else {
                break;
            };
            let bytes = read_bundle(&self.folder, bundle)?;
            let entries = parse_bundle(&bytes, bundle.width())
                .map_err(|error| self.damaged(&self.folder.join(bundle.to_string()), &error.to_string()))?;
            let within = |size: TreeSize| {
                let at = usize::try_from(size.0.saturating_sub(number * width));
                at.map_or(entries.len(), |at| at.min(entries.len()))
            };
            let entries = &entries[within(from)..within(to)];
            for (entry, hash) in entries.iter().zip(leaf_hashes(entries)) {
                if entry.first() == Some(&BATCH) && !found.leaves.is_empty() {
                    boundary = Some((found.updates.len(), found.leaves.len()));
                    if found.updates.len() >= limit {
                        return Ok(found);
                    }
                }
                if let Some(label) = label_in(entry) {
                    if let Some(boundary) = boundary.filter(|_| found.updates.len() >= limit) {
                        return Ok(found.cut(boundary));
                    }
                    found.updates.push((label, hash));
                }
                found.leaves.push(hash);
            }
        }
        Ok(found)
    }

    /// Refuses what was read so far unless the published checkpoint extends it.
    pub(super) fn check(&self, read: &CompactRange) -> Result<(), LedgerError> {
        let (size, root) = (self.size(), &self.reader.checkpoint().root);
        let proof = self.reader.consistency(read.size())?;
        verify_consistency(read.size(), &read.root(), size, root, &proof).map_err(|error| {
            let what = format!(
                "the first {} entries do not lead to the published checkpoint: {error}",
                read.size()
            );
            self.damaged(&self.folder, &what)
        })
    }

    /// Says what is wrong with what is served of the log, and how it is made again.
    fn damaged(&self, path: &Path, what: &str) -> LedgerError {
        let tiles = self.folder.join("tile");
        let what = format!(
            "{what}. Move {} away and start `sharetrail serve`: tiles and bundles are made again from the leaves",
            tiles.display()
        );
        LedgerError::damaged(path, None, what)
    }
}

/// The label that an entry stands under in the map. What is read here was parsed whole before it was accepted.
fn label_in(entry: &[u8]) -> Option<Label> {
    let at = match (*entry.first()?, entry.len()) {
        (EVENT, EVENT_BYTES) => 17,
        (REGISTRY, _) | (ERASURE, ERASURE_BYTES) => 1,
        _ => return None,
    };
    let label = entry.get(at..at + 32)?;
    label.try_into().ok().map(Label)
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::entry::{Entry, EventEntry};
    use sharetrail_proof::hash::Hash;

    use super::*;

    #[test]
    fn a_label_is_found_where_the_entry_has_it() {
        let event = EventEntry {
            id: [1; 16],
            label: Label([2; 32]),
            commitment: Hash([3; 32]),
        };
        let bytes = event.to_bytes();
        assert_eq!(Entry::parse(&bytes).unwrap(), Entry::Event(event));
        assert_eq!(label_in(&bytes), Some(Label([2; 32])));
        assert_eq!(label_in(&bytes[..80]), None);
        let mut erasure = vec![ERASURE];
        erasure.extend([5; 32]);
        erasure.extend([0; 4]);
        assert_eq!(label_in(&erasure), Some(Label([5; 32])));
        let mut registry = vec![REGISTRY];
        registry.extend([6; 32]);
        registry.extend(b"{}");
        assert_eq!(label_in(&registry), Some(Label([6; 32])));
        for none in [&b""[..], &[BATCH, 1, 2], &[0, b'{', b'}']] {
            assert_eq!(label_in(none), None);
        }
    }
}
