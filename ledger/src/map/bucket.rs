//! Buckets: up to 32 labels, each with its count, the compact range over its leaves, and its leaf hash.
//!
//! In scope: records to and from bytes, and [`Leaves`], where new buckets are put together. Out of scope: where they lie.
//! Trust: bytes come from a page whose checksum held; whoever shows a value has it held to the root.

use std::ops::Range;

use sharetrail_proof::hash::{Hash, TreeSize};
use sharetrail_proof::map::{MapValue, leaf_hash, leaf_hashes};
use sharetrail_proof::name::Label;
use sharetrail_proof::tree::CompactRange;

use super::BUCKET_LABELS;
use super::node::Child;
use super::pages::Pages;
use crate::error::LedgerError;

/// A label as it lies in a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) label: Label,
    /// The leaf of the trie, kept so that its neighbours need not hash it again.
    pub(super) leaf: Hash,
    count: u64,
    frontier: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// Splits a record off the front.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (label, rest) = bytes.split_first_chunk()?;
        let (leaf, rest) = rest.split_first_chunk()?;
        let (count, rest) = split_count(rest)?;
        let (frontier, rest) = rest.split_at_checked(count.count_ones() as usize * 32)?;
        let record = Self {
            label: Label(*label),
            leaf: Hash(*leaf),
            count,
            frontier,
            bytes: &bytes[..bytes.len() - rest.len()],
        };
        Some((record, rest))
    }

    /// The compact range over the label's leaves.
    pub(super) fn range(&self) -> Option<CompactRange> {
        let hashes = self.frontier.as_chunks::<32>().0.iter();
        CompactRange::from_parts(TreeSize(self.count), hashes.map(|hash| Hash(*hash)).collect()).ok()
    }

    /// What the map says of the label; none where the record contradicts itself.
    pub(super) fn value(&self) -> Option<MapValue> {
        let value = MapValue {
            count: self.count,
            root: self.range()?.root(),
        };
        (leaf_hash(&self.label, &value.hash()) == self.leaf).then_some(value)
    }
}

/// Reads the count off the front: seven bits a byte, the lowest first, the top bit set where more follow.
fn split_count(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut count = 0_u64;
    for (at, &byte) in bytes.iter().take(9).enumerate() {
        count |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((count, &bytes[at + 1..]));
        }
    }
    None
}

/// Nine bytes at most: no count comes to 2^63.
fn append_count(bytes: &mut Vec<u8>, mut count: u64) {
    while count > 0x7f {
        bytes.push((count & 0x7f).to_le_bytes()[0] | 0x80);
        count >>= 7;
    }
    bytes.push(count.to_le_bytes()[0]);
}

fn parse(mut body: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::with_capacity(BUCKET_LABELS);
    while !body.is_empty() {
        let (record, rest) = Record::split(body)?;
        records.push(record);
        body = rest;
    }
    records
        .is_sorted_by(|one, next| one.label < next.label)
        .then_some(records)
}

/// Reads a bucket: as many records as its parent says, sorted, each label once. `page`: room for its bytes.
pub(super) fn read<'a>(
    pages: &Pages,
    bucket: &Child,
    page: &'a mut Vec<u8>,
) -> Result<Vec<Record<'a>>, LedgerError> {
    pages.read(bucket.at, &bucket.root, page)?;
    parse(page)
        .filter(|records| records.len() as u64 == bucket.labels)
        .ok_or_else(|| pages.damaged(bucket.at, "a page is not the bucket that it must be"))
}

/// Records that are put together to become buckets, sorted by label: any run of them is the body of a page.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    hashes: Vec<(Label, Hash)>,
    /// Records whose leaf hash is still to be made: which, and what it is over.
    fresh: Vec<(usize, MapValue)>,
}

impl Leaves {
    pub(super) fn len(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.hashes.clear();
        self.fresh.clear();
    }

    /// Takes a record over as it is.
    pub(super) fn keep(&mut self, record: &Record<'_>) {
        self.bytes.extend_from_slice(record.bytes);
        self.ends.push(self.bytes.len());
        self.hashes.push((record.label, record.leaf));
    }

    /// Adds a label whose leaves are these now. Its leaf hash is made by [`Leaves::settle`].
    pub(super) fn push(&mut self, label: Label, range: &CompactRange) {
        let value = MapValue {
            count: range.size().0,
            root: range.root(),
        };
        self.bytes.extend(label.0);
        self.bytes.extend(Hash::ZERO.0);
        append_count(&mut self.bytes, value.count);
        for hash in range.hashes() {
            self.bytes.extend(hash.0);
        }
        self.ends.push(self.bytes.len());
        self.fresh.push((self.hashes.len(), value));
        self.hashes.push((label, Hash::ZERO));
    }

    /// Makes the leaf hashes of all labels that were added, side by side.
    pub(super) fn settle(all: &mut [Self]) {
        let fresh: Vec<(Label, MapValue)> = all
            .iter()
            .flat_map(|one| one.fresh.iter().map(|(at, value)| (one.hashes[*at].0, *value)))
            .collect();
        let mut made = leaf_hashes(&fresh).into_iter();
        for one in all {
            for (at, _) in std::mem::take(&mut one.fresh) {
                let leaf = made.next().expect("one for each label that was added");
                let begins = at.checked_sub(1).map_or(0, |before| one.ends[before]);
                one.bytes[begins + 32..begins + 64].copy_from_slice(&leaf.0);
                one.hashes[at].1 = leaf;
            }
        }
    }

    /// Labels and leaf hashes of a run.
    pub(super) fn hashes(&self, run: Range<usize>) -> &[(Label, Hash)] {
        &self.hashes[run]
    }

    /// The bytes of a run.
    pub(super) fn body(&self, run: Range<usize>) -> &[u8] {
        let end_of = |count: usize| count.checked_sub(1).map_or(0, |last| self.ends[last]);
        &self.bytes[end_of(run.start)..end_of(run.end)]
    }
}

#[cfg(test)]
mod tests {
    use sharetrail_proof::hash::LeafHash;

    use super::*;

    fn range(leaves: u64) -> CompactRange {
        let mut range = CompactRange::new();
        for leaf in 0..leaves {
            range.push(LeafHash::of(&leaf.to_be_bytes()));
        }
        range
    }

    fn leaves(counts: &[(u8, u64)]) -> Leaves {
        let mut leaves = Leaves::default();
        for &(byte, count) in counts {
            leaves.push(Label([byte; 32]), &range(count));
        }
        Leaves::settle(std::slice::from_mut(&mut leaves));
        leaves
    }

    #[test]
    fn records_read_as_they_were_written_and_no_shorter() {
        let counts = [(1, 1), (2, 2), (3, 127), (4, 128), (9, 300)];
        let leaves = leaves(&counts);
        let records = parse(leaves.body(0..5)).unwrap();
        for (record, (byte, count)) in records.iter().zip(counts) {
            assert_eq!(record.label, Label([byte; 32]));
            assert_eq!(record.range(), Some(range(count)));
            assert_eq!(record.value().unwrap().root, range(count).root());
            assert_eq!(record.value().unwrap().count, count);
        }
        assert_eq!(records.len(), 5);
        let mut kept = Leaves::default();
        for record in &records[1..3] {
            kept.keep(record);
        }
        assert_eq!(kept.body(0..2), leaves.body(1..3));
        assert_eq!(kept.hashes(0..2), leaves.hashes(1..3));
        let body = leaves.body(0..1);
        assert!((1..body.len()).all(|cut| parse(&body[..cut]).is_none()));
    }

    #[test]
    fn labels_out_of_order_or_twice_are_no_bucket() {
        assert!(parse(leaves(&[(2, 1), (1, 1)]).body(0..2)).is_none());
        assert!(parse(leaves(&[(1, 1), (1, 1)]).body(0..2)).is_none());
    }

    #[test]
    fn counts_of_every_length_are_kept() {
        for count in (0..63).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits]) {
            let mut bytes = Vec::new();
            append_count(&mut bytes, count);
            bytes.push(7);
            assert_eq!(split_count(&bytes), Some((count, &[7][..])));
        }
        assert_eq!(split_count(&[0xff; 20]), None);
        assert_eq!(split_count(&[]), None);
    }

    #[test]
    fn a_record_whose_leaf_hash_is_not_its_own_has_no_value() {
        let leaves = leaves(&[(1, 3)]);
        let mut body = leaves.body(0..1).to_vec();
        assert!(parse(&body).unwrap()[0].value().is_some());
        body[40] ^= 1;
        assert_eq!(parse(&body).unwrap()[0].value(), None);
    }
}
