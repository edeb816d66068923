//! How an outbox's records lie in a segment file.
//!
//! ```text
//! <number, 20 digits>.seg:  "STOBX001" ‖ 16 chain id ‖ u64 number of the segment ‖ u32 CRC-32 of these 32 bytes ‖ records
//! record:                   "STRC" ‖ u32 length of the body ‖ u32 CRC-32 of length and body ‖ body
//! body:                     u64 round ‖ u64 first number ‖ u32 frames ‖ per frame:
//!                           u32 length ‖ frame ‖ u16 events ‖ per event: 16 event key ‖ 16 content MAC
//! sealed:                   text: the last sealed batch's chain, number and note hash, the round, a CRC-32
//! ```
//! In scope: these bytes, to and fro, and finding the next whole record behind a damaged one. Out of scope: files
//! ([`super::shard`]). Trust: a record counts if its CRC holds; what the frame says is for whoever sends it to check.

use std::fmt::Write as _;
use std::sync::Arc;

use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::ChainId;

/// A keyed hash of an event's source and id. Unlike an entry id it does not depend on the customer, so the same event
/// under another customer is found as well.
pub type EventKey = [u8; 16];

/// A keyed hash of an event's content: tells whether two contents are the same, and nothing else.
pub type ContentMac = [u8; 16];

/// What is remembered of an event beside its sealed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventName {
    /// Of its source and id.
    pub key: EventKey,
    /// Of its content.
    pub mac: ContentMac,
}

/// A frame that is kept until a checkpoint covers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFrame {
    /// Its number in the chain.
    pub number: u64,
    /// How often the chain had been set back when it was cut.
    pub round: u64,
    /// The frame.
    pub bytes: Arc<Vec<u8>>,
    /// One for each of its events.
    pub names: Vec<EventName>,
}

/// The last batch of a chain that was seen sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its number.
    pub number: u64,
    /// The hash of its note's text.
    pub hash: Hash,
    /// How often the chain had been set back by then.
    pub round: u64,
}

const MAGIC: &[u8; 8] = b"STOBX001";
const RECORD: &[u8; 4] = b"STRC";
/// Bytes of a segment's head.
pub(super) const HEAD: usize = 36;
const RECORD_HEAD: usize = 12;
const BODY_HEAD: usize = 20;
/// A replacement holds all frames that were on their way, each with its events' names.
const MAX_BODY_BYTES: usize = 1 << 28;
const EVENT_BYTES: usize = 32;

/// One record: frames that are kept from `first` on. One of a higher round than those before it takes the place of all
/// frames with numbers from `first` on, also if it holds none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) round: u64,
    pub(super) first: u64,
    pub(super) frames: Vec<KeptFrame>,
}

pub(super) fn head(chain: ChainId, number: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(chain.0);
    bytes.extend(number.to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

/// Lays out a record at the end of a buffer.
pub(super) fn put(buffer: &mut Vec<u8>, round: u64, first: u64, frames: &[KeptFrame]) {
    let start = buffer.len();
    buffer.extend_from_slice(RECORD);
    buffer.extend([0; 8]);
    buffer.extend(round.to_be_bytes());
    buffer.extend(first.to_be_bytes());
    buffer.extend(count(frames.len()).to_be_bytes());
    for frame in frames {
        buffer.extend(count(frame.bytes.len()).to_be_bytes());
        buffer.extend_from_slice(&frame.bytes);
        let events = u16::try_from(frame.names.len()).expect("a batch has at most 1,024 entries");
        buffer.extend(events.to_be_bytes());
        for name in &frame.names {
            buffer.extend(name.key);
            buffer.extend(name.mac);
        }
    }
    let length = count(buffer.len() - start - RECORD_HEAD);
    buffer[start + 4..start + 8].copy_from_slice(&length.to_be_bytes());
    let crc = record_crc(&buffer[start + 4..start + 8], &buffer[start + RECORD_HEAD..]);
    buffer[start + 8..start + RECORD_HEAD].copy_from_slice(&crc.to_be_bytes());
}

fn count(length: usize) -> u32 {
    u32::try_from(length).expect("a record is far below 4 GiB")
}

fn record_crc(length: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(body);
    hasher.finalize()
}

/// Whether these are the first bytes of segment `number` of the chain.
pub(super) fn is_head(bytes: &[u8], chain: ChainId, number: u64) -> bool {
    bytes.get(..HEAD) == Some(&head(chain, number)[..])
}

/// The whole record at `at`, and where the next begins.
pub(super) fn at(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let head = bytes.get(at..at + RECORD_HEAD)?;
    let length = u32::from_be_bytes(head[4..8].try_into().ok()?) as usize;
    if head[..4] != *RECORD || !(BODY_HEAD..=MAX_BODY_BYTES).contains(&length) {
        return None;
    }
    let end = at + RECORD_HEAD + length;
    let body = bytes.get(at + RECORD_HEAD..end)?;
    if record_crc(&head[4..8], body).to_be_bytes() != head[8..] {
        return None;
    }
    Some((parse_body(body)?, end))
}

/// Where the next whole record begins at or after `from`.
pub(super) fn next_whole(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at_byte = from;
    while let Some(found) = bytes.get(at_byte..).and_then(|rest| {
        rest.windows(RECORD.len())
            .position(|window| window == RECORD.as_slice())
    }) {
        if at(bytes, at_byte + found).is_some() {
            return Some(at_byte + found);
        }
        at_byte += found + 1;
    }
    None
}

fn parse_body(body: &[u8]) -> Option<Record> {
    let mut rest = body;
    let round = u64::from_be_bytes(take(&mut rest)?);
    let first = u64::from_be_bytes(take(&mut rest)?);
    let frames = u32::from_be_bytes(take(&mut rest)?);
    let mut record = Record {
        round,
        first,
        frames: Vec::new(),
    };
    for position in 0..u64::from(frames) {
        let length = u32::from_be_bytes(take(&mut rest)?) as usize;
        if length > MAX_FRAME_BYTES {
            return None;
        }
        let bytes = Arc::new(rest.split_off(..length)?.to_vec());
        let events = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let names = rest.split_off(..events * EVENT_BYTES)?;
        record.frames.push(KeptFrame {
            number: first.checked_add(position)?,
            round,
            bytes,
            names: names.chunks_exact(EVENT_BYTES).map(name).collect(),
        });
    }
    rest.is_empty().then_some(record)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn name(bytes: &[u8]) -> EventName {
    let (mut key, mut mac) = ([0; 16], [0; 16]);
    key.copy_from_slice(&bytes[..16]);
    mac.copy_from_slice(&bytes[16..]);
    EventName { key, mac }
}

/// The text of the file that says what was sealed.
pub(super) fn mark_text(chain: ChainId, mark: &Mark) -> String {
    let Mark { number, hash, round } = mark;
    let mut text = format!("chain {chain}\nnumber {number}\nhash {hash}\nround {round}\n");
    let crc = crc32fast::hash(text.as_bytes());
    writeln!(text, "crc {crc:08x}").expect("writing to a string does not fail");
    text
}

/// Reads it back; nothing if it is another chain's or damaged.
pub(super) fn parse_mark(chain: ChainId, bytes: &[u8]) -> Option<Mark> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines().skip(1);
    let mut value = || Some(lines.next()?.split_once(' ')?.1);
    let mark = Mark {
        number: value()?.parse().ok()?,
        hash: Hash::from_base64(value()?)?,
        round: value()?.parse().ok()?,
    };
    // The words, the chain and the CRC are compared as a whole.
    (mark_text(chain, &mark) == text).then_some(mark)
}
