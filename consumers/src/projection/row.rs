//! The rows of the trail projection, byte by byte.
//!
//! A leaf row says which leaves of one chunk of one shard's log are a label's: key = `l` ‖ label (32) ‖ shard
//! (u32) ‖ chunk (u64), integers big-endian, so that a label's rows lie together and in log order; value =
//! version (1) ‖ bincode list of (offset in the chunk, position in the batch, kind). A cursor row says how
//! far a shard is folded: key = `c` ‖ shard (u32); value = version (1) ‖ bincode of size and root.
//!
//! In scope: this form. Out of scope: when rows are written. Trust: bytes from a store are untrusted; what
//! decodes has the right shape and its numbers are within their bounds, nothing more.

use bincode::config::Config;
use bincode::{Decode, Encode};
use sharetrail_proof::batch::MAX_BATCH_ENTRIES;
use sharetrail_proof::entry::{ERASURE, EVENT, REGISTRY};
use sharetrail_proof::name::Label;

use crate::error::ConsumerError;

/// Leaves of a chunk. More would make fewer rows, and more leaves to fold again after each small addition:
/// this many take some ten milliseconds.
pub(super) const CHUNK_LEAVES: u64 = 16_384;

/// Bytes of a leaf row's key.
pub(super) const LEAF_KEY_BYTES: usize = 1 + 32 + 4 + 8;

/// Changes with the meaning of any row. A store with another one is dropped.
const VERSION: u8 = 1;

/// The most bytes that decoding may claim: far above a chunk that is one label's alone.
const DECODE_BYTES_MAX: usize = 1 << 20;

/// A leaf of a label, within its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Spot {
    /// From the chunk's first leaf.
    pub(super) offset: u16,
    /// In its batch.
    pub(super) position: u16,
    /// The entry's first byte.
    pub(super) kind: u8,
}

/// How far a shard is folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub(super) struct Cursor {
    /// Leaves folded.
    pub(super) size: u64,
    /// The log's root at that size.
    pub(super) root: [u8; 32],
}

/// What all leaf rows of a label begin with.
pub(super) fn label_prefix(label: &Label) -> [u8; 33] {
    let mut prefix = [b'l'; 33];
    prefix[1..].copy_from_slice(&label.0);
    prefix
}

/// What all leaf rows of a label on one shard begin with.
pub(super) fn shard_prefix(label: &Label, shard: u32) -> [u8; 37] {
    let mut prefix = [0; 37];
    prefix[..33].copy_from_slice(&label_prefix(label));
    prefix[33..].copy_from_slice(&shard.to_be_bytes());
    prefix
}

/// The key of a leaf row.
pub(super) fn leaf_key(label: &Label, shard: u32, chunk: u64) -> [u8; LEAF_KEY_BYTES] {
    let mut key = [0; LEAF_KEY_BYTES];
    key[..37].copy_from_slice(&shard_prefix(label, shard));
    key[37..].copy_from_slice(&chunk.to_be_bytes());
    key
}

/// The shard and the chunk that a leaf row's key names.
pub(super) fn parse_leaf_key(key: &[u8]) -> Result<(u32, u64), ConsumerError> {
    let key: &[u8; LEAF_KEY_BYTES] = key
        .try_into()
        .map_err(|_| ConsumerError::index(format!("a key of {} bytes", key.len())))?;
    let (mut shard, mut chunk) = ([0; 4], [0; 8]);
    shard.copy_from_slice(&key[33..37]);
    chunk.copy_from_slice(&key[37..]);
    Ok((u32::from_be_bytes(shard), u64::from_be_bytes(chunk)))
}

/// The value of a leaf row.
pub(super) fn encode_spots(spots: &[Spot]) -> Vec<u8> {
    encode(spots)
}

/// Reads the value of a leaf row: spots in rising order, none twice.
pub(super) fn decode_spots(value: &[u8]) -> Result<Vec<Spot>, ConsumerError> {
    let spots: Vec<Spot> = decode(value)?;
    let in_order = spots.windows(2).all(|pair| pair[0].offset < pair[1].offset);
    if in_order && spots.iter().all(|spot| is_within_bounds(*spot)) {
        Ok(spots)
    } else {
        Err(ConsumerError::index("a row of leaves that no fold writes"))
    }
}

fn is_within_bounds(spot: Spot) -> bool {
    u64::from(spot.offset) < CHUNK_LEAVES
        && usize::from(spot.position) < MAX_BATCH_ENTRIES
        && matches!(spot.kind, EVENT | REGISTRY | ERASURE)
}

/// The key of a shard's cursor.
pub(super) fn cursor_key(shard: u32) -> [u8; 5] {
    let mut key = [b'c'; 5];
    key[1..].copy_from_slice(&shard.to_be_bytes());
    key
}

/// The value of a cursor row.
pub(super) fn encode_cursor(cursor: Cursor) -> Vec<u8> {
    encode(cursor)
}

/// Reads the value of a cursor row.
pub(super) fn decode_cursor(value: &[u8]) -> Result<Cursor, ConsumerError> {
    decode(value)
}

fn config() -> impl Config {
    bincode::config::standard().with_limit::<DECODE_BYTES_MAX>()
}

fn encode(value: impl Encode) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::encode_into_std_write(value, &mut bytes, config())
        .expect("a vector takes all that is written to it");
    bytes
}

fn decode<T: Decode<()>>(value: &[u8]) -> Result<T, ConsumerError> {
    let (&version, body) = value
        .split_first()
        .ok_or_else(|| ConsumerError::index("an empty row"))?;
    if version != VERSION {
        return Err(ConsumerError::index(format!(
            "rows of version {version}, expected {VERSION}"
        )));
    }
    match bincode::decode_from_slice(body, config()) {
        Ok((found, read)) if read == body.len() => Ok(found),
        Ok(_) => Err(ConsumerError::index("bytes after the end of a row")),
        Err(error) => Err(ConsumerError::index(format!(
            "a row that does not decode: {error}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(offset: u16) -> Spot {
        Spot {
            offset,
            position: offset % 1_024,
            kind: EVENT,
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        let spots: Vec<Spot> = (0..16_384).map(spot).collect();
        assert_eq!(decode_spots(&encode_spots(&spots)).unwrap(), spots);
        let cursor = Cursor {
            size: u64::MAX,
            root: [7; 32],
        };
        assert_eq!(decode_cursor(&encode_cursor(cursor)).unwrap(), cursor);
    }

    #[test]
    fn keys_sort_in_log_order_and_read_back() {
        let label = Label([3; 32]);
        let key = leaf_key(&label, 2, 0x0102);
        assert!(key.starts_with(&label_prefix(&label)) && key.starts_with(&shard_prefix(&label, 2)));
        assert!(key < leaf_key(&label, 2, 0x0201) && key < leaf_key(&label, 3, 0));
        assert_eq!(parse_leaf_key(&key).unwrap(), (2, 0x0102));
        assert!(parse_leaf_key(&key[1..]).is_err());
    }

    #[test]
    fn rows_that_no_fold_writes_are_refused() {
        let good = encode_spots(&[spot(1), spot(2)]);
        let mut other_version = good.clone();
        other_version[0] = VERSION + 1;
        let mut longer = good.clone();
        longer.push(0);
        let shorter = &good[..good.len() - 1];
        let mut endless = vec![VERSION, 0xfd];
        endless.extend([0xff; 8]);
        for bad in [&good[..0], shorter, &other_version[..], &longer[..], &endless[..]] {
            assert!(decode_spots(bad).unwrap_err().calls_for_a_rebuild(), "{bad:?}");
        }
        let disorder = [spot(2), spot(1)];
        let twice = [spot(1), spot(1)];
        let outside = [spot(16_384)];
        let far = [Spot {
            position: 1_024,
            ..spot(1)
        }];
        let batch = [Spot { kind: 3, ..spot(1) }];
        for bad in [&disorder[..], &twice, &outside, &far, &batch] {
            assert!(decode_spots(&encode_spots(bad)).is_err(), "{bad:?}");
        }
    }
}
