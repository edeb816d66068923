//! Batches, put together again from leaves.
//!
//! In scope: which leaves were one batch, and the frame it came in. Out of scope: whether a batch may stand where it does
//! (the rules of acceptance). Trust: leaves are untrusted; a number of entries that no batch has does not parse.

use std::ops::ControlFlow;
use std::path::Path;

use sharetrail_proof::batch::Batch;
use sharetrail_proof::entry::BATCH;
use sharetrail_proof::frame;
use sharetrail_proof::hash::{LeafIndex, TreeSize};
use sharetrail_proof::note::Note;

use super::leaves::{Leaf, LeafFiles};
use crate::error::LedgerError;

/// Told of a batch: its own leaf, then those of its entries.
pub(crate) type VisitBatch<'a> = dyn FnMut(&[Leaf]) -> Result<(), LedgerError> + 'a;

/// A leaf that is no batch entry stands where one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoBatch;

/// Leaves in log order, as they become batches.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    group: Vec<Leaf>,
    wanted: usize,
}

impl Batches {
    /// Takes the next leaf; gives the batch that it completes.
    pub(crate) fn take(&mut self, leaf: Leaf) -> Result<Option<Vec<Leaf>>, NoBatch> {
        if self.group.is_empty() {
            let batch = batch_in(&leaf.entry).ok_or(NoBatch)?;
            self.wanted = batch.count as usize + 1;
        }
        self.group.push(leaf);
        Ok((self.group.len() == self.wanted).then(|| std::mem::take(&mut self.group)))
    }

    /// Whether no leaf waits for the rest of its batch.
    pub(crate) fn is_whole(&self) -> bool {
        self.group.is_empty()
    }
}

/// Visits the batches of a shard's leaf files from `from`, which must be a batch entry, up to `to`; whether they end there
/// with a whole one.
pub(crate) fn scan_batches(
    sealed: &Path,
    from: LeafIndex,
    to: TreeSize,
    visit: &mut VisitBatch<'_>,
) -> Result<bool, LedgerError> {
    let (mut batches, mut failed) = (Batches::default(), None);
    let mut each = |index: LeafIndex, entry: &[u8], content: &[u8]| {
        let leaf = Leaf {
            entry: entry.to_vec(),
            sealed: content.to_vec(),
        };
        let visited = match batches.take(leaf) {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => visit(&batch),
            Err(NoBatch) => {
                let what = format!("leaf {index} should be a batch entry");
                Err(LedgerError::damaged(sealed, None, what))
            }
        };
        match visited {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    LeafFiles::new(sealed).scan(from, to, &mut each)?;
    failed.map_or(Ok(batches.is_whole()), Err)
}

/// What a batch entry says; nothing if it is none.
pub(crate) fn batch_in(entry: &[u8]) -> Option<Batch> {
    let (&BATCH, note) = entry.split_first()? else {
        return None;
    };
    let note = Note::parse(std::str::from_utf8(note).ok()?).ok()?;
    Batch::parse(note.text()).ok()
}

/// The frame that a batch came in, made again from its leaves.
pub(crate) fn frame_of(batch: &[Leaf]) -> Vec<u8> {
    let (note, rest) = batch.split_first().map_or((&[][..], batch), |(first, rest)| {
        (first.entry.get(1..).unwrap_or_default(), rest)
    });
    let entries: Vec<&[u8]> = rest.iter().map(|leaf| leaf.entry.as_slice()).collect();
    let sealed: Vec<&[u8]> = rest.iter().map(|leaf| leaf.sealed.as_slice()).collect();
    frame::encode(&String::from_utf8_lossy(note), &entries, &sealed)
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::frame::Frame;
    use sharetrail_proof::hash::{Hash, leaf_hashes};
    use sharetrail_proof::name::{ChainId, Name, Shard};
    use sharetrail_proof::note::NoteSigner;
    use sharetrail_proof::tree::root_of;

    use super::super::leaves::LeafWriter;
    use super::*;

    /// A batch of `count` entries, as leaves.
    fn batch(number: u64, count: u8) -> Vec<Leaf> {
        let shop = Name::new("shop.example").unwrap();
        let signer = NoteSigner::from_seed(shop.as_str(), &[7; 32]).unwrap();
        let entries: Vec<Vec<u8>> = (0..count).map(|n| vec![1, n]).collect();
        let slices: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let batch = Batch {
            ledger: shop.clone(),
            shard: Shard::new(0, 1).unwrap(),
            producer: shop,
            chain: ChainId([3; 16]),
            number,
            count: count.into(),
            root: root_of(&leaf_hashes(&slices)),
            prev: Hash::ZERO,
        };
        let mut note = vec![BATCH];
        note.extend(signer.sign(&batch.to_text()).into_bytes());
        let first = Leaf {
            entry: note,
            sealed: Vec::new(),
        };
        let rest = entries.into_iter().map(|entry| Leaf {
            entry,
            sealed: vec![9; 3],
        });
        std::iter::once(first).chain(rest).collect()
    }

    #[test]
    fn leaves_become_the_batches_they_were_and_the_frames_they_came_in() {
        let (one, two) = (batch(0, 1), batch(1, 200));
        let mut batches = Batches::default();
        let leaves = one.iter().chain(&two).cloned();
        let found: Vec<_> = leaves.filter_map(|leaf| batches.take(leaf).unwrap()).collect();
        assert!(batches.is_whole());
        assert_eq!(found, [one, two.clone()]);
        let bytes = frame_of(&two);
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.batch.number, frame.entries.len()), (1, 200));
        assert!(frame.sealed.iter().all(|sealed| *sealed == [9; 3]));
    }

    /// The fault: a log whose last batch is cut off passes for whole, or one that begins within a batch is taken.
    #[test]
    fn a_batch_that_is_not_whole_is_told_and_one_without_its_note_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = LeafWriter::open(folder.path(), TreeSize(0)).unwrap();
        let leaves: Vec<Leaf> = batch(0, 4).into_iter().chain(batch(1, 4)).collect();
        for leaf in &leaves {
            writer.push(&leaf.entry, &leaf.sealed).unwrap();
        }
        writer.commit().unwrap();
        let scan = |from: u64, to: u64| {
            let mut found = 0;
            let mut count = |_: &[Leaf]| {
                found += 1;
                Ok(())
            };
            let whole = scan_batches(folder.path(), LeafIndex(from), TreeSize(to), &mut count);
            whole.map(|whole| (whole, found))
        };
        assert_eq!(scan(0, 10).unwrap(), (true, 2));
        assert_eq!(scan(5, 10).unwrap(), (true, 1));
        assert_eq!(scan(0, 9).unwrap(), (false, 1));
        assert!(matches!(scan(1, 10), Err(LedgerError::Damaged { .. })));
    }

    #[test]
    fn an_error_of_the_visitor_ends_the_scan() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = LeafWriter::open(folder.path(), TreeSize(0)).unwrap();
        for leaf in batch(0, 2).into_iter().chain(batch(1, 2)) {
            writer.push(&leaf.entry, &leaf.sealed).unwrap();
        }
        writer.commit().unwrap();
        let mut visited = 0;
        let mut refuse = |_: &[Leaf]| {
            visited += 1;
            Err(LedgerError::Rejected("enough".into()))
        };
        let scanned = scan_batches(folder.path(), LeafIndex(0), TreeSize(6), &mut refuse);
        assert!(matches!(scanned, Err(LedgerError::Rejected(_))));
        assert_eq!(visited, 1);
    }
}
