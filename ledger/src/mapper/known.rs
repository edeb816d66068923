//! Checkpoints of a map log that are known to have been decided on.
//!
//! In scope: comparing them with each other and with the map log at hand. Out of scope: where they are kept.
//! Trust: the register and the copy outside are the operator's; a published note counts only with the log's signature.

use sharetrail_proof::checkpoint::Checkpoint;
use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::note::{Note, VerifierKey};

use crate::error::LedgerError;

/// A size and a root, and where they are known from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownRoot {
    pub(super) size: TreeSize,
    pub(super) root: Hash,
    pub(super) from: &'static str,
}

/// All that is known of one map log.
#[derive(Debug)]
pub(super) struct Known {
    shard: u32,
    key: VerifierKey,
    /// The largest first.
    roots: Vec<KnownRoot>,
}

impl Known {
    /// Nothing yet. `key`: the map log's, named by its origin.
    pub(super) fn new(shard: u32, key: &VerifierKey) -> Self {
        Self {
            shard,
            key: key.clone(),
            roots: Vec::new(),
        }
    }

    /// Takes a checkpoint's text in. Refuses one that contradicts another of the same size; one of another log says nothing.
    pub(super) fn add(&mut self, from: &'static str, text: Option<&str>) -> Result<(), LedgerError> {
        let checkpoint = text.and_then(|text| Checkpoint::parse(text).ok());
        let of_this_log = |one: &Checkpoint| one.origin == self.key.name() && one.size.0 > 0;
        let Some(checkpoint) = checkpoint.filter(of_this_log) else {
            return Ok(());
        };
        let Checkpoint { size, root, .. } = checkpoint;
        self.check(size, root)?;
        self.roots.push(KnownRoot { size, root, from });
        self.roots.sort_by_key(|known| std::cmp::Reverse(known.size));
        Ok(())
    }

    /// As [`Known::add`], of a note, if the log's key signed it.
    pub(super) fn add_note(&mut self, from: &'static str, note: Option<&str>) -> Result<(), LedgerError> {
        let note = note.and_then(|note| Note::parse(note).ok());
        let note = note.filter(|note| note.verify(&self.key).is_ok());
        self.add(from, note.as_ref().map(Note::text))
    }

    /// The largest first.
    pub(super) fn roots(&self) -> &[KnownRoot] {
        &self.roots
    }

    /// Leaves of the largest.
    pub(super) fn highest(&self) -> TreeSize {
        self.roots.first().map_or(TreeSize(0), |known| known.size)
    }

    /// Refuses another root than the one that is known at this size, if one is.
    pub(super) fn check(&self, size: TreeSize, found: Hash) -> Result<(), LedgerError> {
        let other = |known: &&KnownRoot| known.size == size && known.root != found;
        let Some(known) = self.roots.iter().find(other) else {
            return Ok(());
        };
        Err(LedgerError::Forked {
            shard: self.shard,
            size: size.0,
            known: known.root,
            found,
            from: format!("{}, of the map log", known.from),
        })
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::note::NoteSigner;

    use super::*;

    const ORIGIN: &str = "shop.example/map/0of1";

    fn text(size: u64, root: u8) -> String {
        Checkpoint::new(ORIGIN.into(), TreeSize(size), Hash([root; 32])).to_text()
    }

    #[test]
    fn the_largest_is_first_and_what_contradicts_is_refused() {
        let signer = NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
        let mut known = Known::new(0, signer.verifier());
        assert_eq!(known.highest(), TreeSize(0));
        known.add("a", Some(&text(2, 2))).unwrap();
        known.add("b", Some(&text(7, 7))).unwrap();
        known.add("c", Some(&text(7, 7))).unwrap();
        known.add("d", None).unwrap();
        known
            .add("e", Some(&text(9, 9).replace("/map/", "/log/")))
            .unwrap();
        known.add("f", Some(&text(0, 9))).unwrap();
        assert_eq!((known.highest(), known.roots().len()), (TreeSize(7), 3));
        assert!(matches!(
            known.add("g", Some(&text(2, 3))),
            Err(LedgerError::Forked { size: 2, .. })
        ));
        known.check(TreeSize(7), Hash([7; 32])).unwrap();
        known.check(TreeSize(8), Hash([0; 32])).unwrap();
        assert!(known.check(TreeSize(7), Hash([0; 32])).is_err());
    }

    #[test]
    fn a_note_counts_only_with_the_signature() {
        let signer = NoteSigner::from_seed(ORIGIN, &[1; 32]).unwrap();
        let stranger = NoteSigner::from_seed(ORIGIN, &[2; 32]).unwrap();
        let mut known = Known::new(0, signer.verifier());
        known.add_note("a", Some(&stranger.sign(&text(5, 5)))).unwrap();
        known.add_note("a", Some("no note")).unwrap();
        assert!(known.roots().is_empty());
        known.add_note("a", Some(&signer.sign(&text(5, 5)))).unwrap();
        assert_eq!(known.highest(), TreeSize(5));
    }
}
