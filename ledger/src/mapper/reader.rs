//! Reading a shard's customer map and map log as they stood at one root.
//!
//! In scope: what a dossier needs: paths, the last map leaf with its proof, when a leaf came to be covered. A reader is
//! pinned: what is sealed later does not show. While the mapper catches up, that is the last root that was sealed before.
//! Out of scope: whether it is right, which whoever verifies finds out. Trust: the map's pages are checked as they are
//! read; the log's own note is taken as it is, a cosigned one only where it opens under the policy.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::map::{MapLeaf, MapValue};
use sharetrail_proof::name::Label;
use sharetrail_proof::tiles::FULL_WIDTH;
use sharetrail_proof::tree::{InclusionProof, prove_inclusion};

use super::fold::{Mark, Sealed, sealed_in};
use super::log::leaves_in;
use super::moments::Moment;
use super::{advised, to_be_made_again};
use crate::archive::{proving, tile_reader};
use crate::error::LedgerError;
use crate::files;
use crate::ledger::Ledger;
use crate::map::{Found, MapSnapshot};
use crate::sequencer::note_text;

/// Bundles of the map log whose moments are remembered.
const REMEMBERED: usize = 64;

/// One shard's customer map at a root, with the map log that ends with it.
pub struct MapReader {
    log: PathBuf,
    snapshot: MapSnapshot,
    note: String,
    leaf: MapLeaf,
    leaf_text: String,
    size: TreeSize,
    remembered: Mutex<VecDeque<(u64, Arc<[Moment]>)>>,
}

impl MapReader {
    /// Opens the map at the last root that was sealed; none where none was, or the map is being folded anew.
    pub(crate) fn open(ledger: &Ledger, shard: u32) -> Result<Option<Self>, LedgerError> {
        let mapping = ledger.folder().mapping(shard);
        let Some((
            snapshot,
            Sealed {
                note,
                leaf: leaf_text,
            },
        )) = last_sealed(&mapping)?
        else {
            return Ok(None);
        };
        let wrong = |what: String| damaged(&mapping, &what);
        let leaf = MapLeaf::parse(&leaf_text).map_err(|error| wrong(error.to_string()))?;
        let text = note_text(&note).ok_or_else(|| wrong("its mark holds no note".into()))?;
        let size = Checkpoint::parse(&text)
            .map_err(|error| wrong(error.to_string()))?
            .size;
        if size.0 == 0 || (leaf.root, leaf.labels) != (snapshot.root(), snapshot.labels()) {
            return Err(wrong("its root is not the one in its mark".into()));
        }
        Ok(Some(Self {
            log: ledger.folder().map(shard),
            snapshot,
            note: cosigned(ledger, shard, &text)?.unwrap_or(note),
            leaf,
            leaf_text,
            size,
            remembered: Mutex::default(),
        }))
    }

    /// The map log's checkpoint as a note; with an auditor's cosignature, where one was put beside it.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The last leaf of the map log: the root of this map.
    pub fn leaf(&self) -> &MapLeaf {
        &self.leaf
    }

    /// The last leaf, byte for byte.
    pub fn leaf_text(&self) -> &str {
        &self.leaf_text
    }

    /// Leaves of the map log.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The proof that the last leaf is in the map log's tree.
    pub fn inclusion(&self) -> Result<InclusionProof, LedgerError> {
        let tiles = tile_reader(&self.log, self.size);
        let proof = prove_inclusion(&tiles, LeafIndex(self.size.0 - 1), self.size);
        proof.map_err(|error| to_be_made_again(&self.log, proving(&self.log, error)))
    }

    /// What the map says of a label, with the path that shows it.
    pub fn find(&self, label: &Label) -> Result<Found, LedgerError> {
        self.snapshot.find(label).map_err(to_be_folded_anew)
    }

    /// The label of this rank, from 0, with its value; none where there are fewer.
    pub fn nth(&self, n: u64) -> Result<Option<(Label, MapValue)>, LedgerError> {
        self.snapshot.nth(n).map_err(to_be_folded_anew)
    }

    /// When the first map leaf that covers an index of the record log was sealed, in Unix seconds; none where none does.
    pub fn covered_at(&self, index: LeafIndex) -> Result<Option<u64>, LedgerError> {
        if index.0 >= self.leaf.checkpoint.size.0 {
            return Ok(None);
        }
        let (mut low, mut high) = (0, self.size.0 - 1);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.moment(middle)?.size.0 > index.0 {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(Some(self.moment(low)?.time))
    }

    fn moment(&self, index: u64) -> Result<Moment, LedgerError> {
        let (number, at) = (index / u64::from(FULL_WIDTH), index % u64::from(FULL_WIDTH));
        let moments = self.moments(number)?;
        let moment = usize::try_from(at).ok().and_then(|at| moments.get(at));
        let none = || {
            let error = LedgerError::damaged(&self.log, None, format!("there is no leaf {index}"));
            to_be_made_again(&self.log, error)
        };
        moment.copied().ok_or_else(none)
    }

    /// The moments in a bundle; a search looks at the same few again and again.
    fn moments(&self, number: u64) -> Result<Arc<[Moment]>, LedgerError> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, moments)) = remembered.iter().find(|(known, _)| *known == number) {
            return Ok(Arc::clone(moments));
        }
        let leaves = leaves_in(&self.log, self.size, number);
        let leaves = leaves.map_err(|error| to_be_made_again(&self.log, error))?;
        let moments: Arc<[Moment]> = leaves.iter().map(Moment::of).collect();
        remembered.truncate(REMEMBERED - 1);
        remembered.push_front((number, Arc::clone(&moments)));
        Ok(moments)
    }
}

/// The last version of the map that was sealed: the newest, or the one that is kept while newer ones are not sealed.
fn last_sealed(mapping: &Path) -> Result<Option<(MapSnapshot, Sealed)>, LedgerError> {
    let kept = sealed_in(mapping);
    // What is kept goes away when a newer one is sealed, which is there then.
    for folder in [mapping, kept.as_path(), mapping] {
        let Some(snapshot) = MapSnapshot::open(folder).map_err(to_be_folded_anew)? else {
            continue;
        };
        let mark = Mark::parse(snapshot.mark()).map_err(|what| damaged(folder, &what))?;
        if let Some(sealed) = mark.sealed {
            return Ok(Some((snapshot, sealed)));
        }
    }
    Ok(None)
}

/// The cosigned note of a shard's map log, where one lies beside the log: of this very text, and if the policy opens it. A
/// rotten line in it must not spoil what the log's own note proves.
pub(crate) fn cosigned(ledger: &Ledger, shard: u32, text: &str) -> Result<Option<String>, LedgerError> {
    let note = files::read_if_there(&ledger.folder().map(shard).join("cosigned"))?;
    let note = note.and_then(|note| String::from_utf8(note).ok());
    let Some(note) = note.filter(|note| note_text(note).as_deref() == Some(text)) else {
        return Ok(None);
    };
    let opens = ledger.policy()?.open(&note).is_ok();
    Ok(opens.then_some(note))
}

fn damaged(mapping: &Path, what: &str) -> LedgerError {
    to_be_folded_anew(LedgerError::damaged(mapping, None, what))
}

fn to_be_folded_anew(error: LedgerError) -> LedgerError {
    advised(error, "Run `sharetrail rebuild`")
}
