//! The work on a stretch of the record log that needs nothing but the stretch: done on all cores, ahead of the fold.
//!
//! In scope: reading bundles, leaf hashes, batch notes, the roots of batches that lie whole in the stretch, signatures
//! under keys that are known by then. Out of scope: everything that depends on what stands before (`fold`).
//! Trust: none in the files. A signature is found right here with a key that the fold has met; whether the key was valid
//! at that leaf is the fold's to say.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use sharetrail_proof::batch::{Batch, text_hash};
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::hash::{Hash, LeafHash, TreeSize, leaf_hashes};
use sharetrail_proof::note::{KeyId, Note, VerifierKey};
use sharetrail_proof::registry::Registry;
use sharetrail_proof::tiles::{Bundle, FULL_WIDTH};
use sharetrail_proof::tree::root_of;

use super::error::AuditError;
use super::tree::{Broken, Tree};

/// Bundles of a stretch.
pub(crate) const BUNDLES: u64 = 16;

/// Keys by name and id.
type KeyMap = HashMap<(String, KeyId), VerifierKey>;

/// The keys that the fold has met so far, ended ones too.
#[derive(Default)]
pub(crate) struct Keys(RwLock<Arc<KeyMap>>);

impl Keys {
    /// Makes the keys of a registry known.
    pub(crate) fn learn(&self, registry: &Registry) {
        let periods = registry.parties().flat_map(|(_, keys)| &keys.keys);
        let keys = periods.map(|period| {
            let key = &period.key;
            ((key.name().to_owned(), key.id()), key.clone())
        });
        let keys = Arc::new(keys.collect());
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    fn now(&self) -> Arc<KeyMap> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A batch note, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) batch: Batch,
    /// The hash of its text.
    pub(crate) hash: Hash,
    /// The key that its only signature was found right with.
    pub(crate) signed_with: Option<VerifierKey>,
    /// The root over its entries, if they all lie in the stretch.
    pub(crate) root: Option<Hash>,
}

/// A stretch of the record log.
pub(crate) struct Chunk {
    /// The index of its first entry.
    pub(crate) first: u64,
    bytes: Vec<u8>,
    spans: Vec<(usize, usize)>,
    /// The leaf hashes of its entries.
    pub(crate) leaves: Vec<LeafHash>,
    /// The batch entries among them by their positions: what their notes say, or why they say nothing.
    notes: HashMap<usize, Result<Noted, String>>,
    /// Why it ends before it should.
    pub(crate) broken: Option<Broken>,
}

impl Chunk {
    /// Works on the stretch that begins with this bundle, of a log of `size` leaves.
    pub(crate) fn read(tree: Tree<'_>, bundle: u64, size: TreeSize, keys: &Keys) -> Result<Self, AuditError> {
        let (mut bytes, mut spans, mut broken) = (Vec::new(), Vec::new(), None);
        for bundle in (bundle..bundle + BUNDLES).map_while(|index| Bundle::at(index, size)) {
            if let Err(why) = tree.entries(bundle, &mut bytes, &mut spans)? {
                broken = Some(why);
                break;
            }
        }
        let entries: Vec<&[u8]> = spans.iter().map(|&(start, end)| &bytes[start..end]).collect();
        let leaves = leaf_hashes(&entries);
        let keys = keys.now();
        let is_batch = |(_, entry): &(usize, &&[u8])| entry.first() == Some(&BATCH);
        let notes = entries.iter().enumerate().filter(is_batch);
        let notes = notes.map(|(at, entry)| (at, noted(entry, &leaves[at + 1..], &keys)));
        let notes = notes.collect();
        Ok(Self {
            first: bundle * u64::from(FULL_WIDTH),
            notes,
            bytes,
            spans,
            leaves,
            broken,
        })
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    /// An entry, by its position in the stretch.
    pub(crate) fn entry(&self, at: usize) -> &[u8] {
        let (start, end) = self.spans[at];
        &self.bytes[start..end]
    }

    /// The entries from one position to before another.
    pub(crate) fn entries(&self, from: usize, to: usize) -> Vec<&[u8]> {
        (from..to).map(|at| self.entry(at)).collect()
    }

    /// What the batch entry at a position says, if a batch entry stands there.
    pub(crate) fn note(&self, at: usize) -> Option<&Result<Noted, String>> {
        self.notes.get(&at)
    }
}

/// Takes a batch entry apart. `after`: the leaf hashes behind it in the stretch.
fn noted(entry: &[u8], after: &[LeafHash], keys: &KeyMap) -> Result<Noted, String> {
    let text = entry.get(1..).and_then(|note| std::str::from_utf8(note).ok());
    let text = text.ok_or("the batch note is not UTF-8")?;
    let note = Note::parse(text).map_err(|error| error.to_string())?;
    let batch = Batch::parse(note.text()).map_err(|error| error.to_string())?;
    Ok(Noted {
        hash: text_hash(note.text()),
        signed_with: signed_with(&note, keys),
        root: after.get(..batch.count as usize).map(root_of),
        batch,
    })
}

/// The known key that the note's only signature is right with.
fn signed_with(note: &Note<'_>, keys: &KeyMap) -> Option<VerifierKey> {
    let [line] = note.signatures() else { return None };
    let key = keys.get(&(line.name.clone(), line.id))?;
    note.verify(key).is_ok().then(|| key.clone())
}
