//! Frames: golden bytes, and everything that is cut off, altered or too long.

use serde::Deserialize;
use sharetrail_proof::batch::{Batch, BatchError, MAX_BATCH_ENTRIES};
use sharetrail_proof::customer::MAX_SEALED_BYTES;
use sharetrail_proof::entry::{EVENT, EventEntry};
use sharetrail_proof::frame::{Frame, FrameError, MAX_FRAME_BYTES, encode};
use sharetrail_proof::hash::Hash;
use sharetrail_proof::name::{ChainId, Label, Shard};
use sharetrail_proof::note::{MAX_NOTE_BYTES, NoteError};

use crate::support::{LEDGER, frame_of, hex, name, root, signer};

#[derive(Deserialize)]
struct Golden {
    note: String,
    entries: Vec<String>,
    sealed: Vec<String>,
    frame: String,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("golden/frame-v1.json")).unwrap()
}

fn slices(parts: &[Vec<u8>]) -> Vec<&[u8]> {
    parts.iter().map(Vec::as_slice).collect()
}

fn events(count: u8) -> Vec<Vec<u8>> {
    let event = |n| EventEntry {
        id: [n; 16],
        label: Label([n; 32]),
        commitment: Hash([n; 32]),
    };
    (0..count).map(|n| event(n).to_bytes().to_vec()).collect()
}

fn note(count: usize, root: Hash) -> String {
    let batch = Batch {
        ledger: name(LEDGER),
        shard: Shard::new(0, 1).unwrap(),
        producer: name("till"),
        chain: ChainId([7; 16]),
        number: 0,
        count: u32::try_from(count).unwrap(),
        root,
        prev: Hash::ZERO,
    };
    signer("till", "till").sign(&batch.to_text())
}

/// A frame of two events.
fn small() -> Vec<u8> {
    let entries = events(2);
    frame_of(&note(2, root(&entries)), &entries)
}

#[test]
fn a_frame_is_laid_out_as_frozen() {
    let golden = golden();
    let entries: Vec<Vec<u8>> = golden.entries.iter().map(|entry| hex(entry)).collect();
    let sealed: Vec<Vec<u8>> = golden.sealed.iter().map(|sealed| hex(sealed)).collect();
    let bytes = encode(&golden.note, &slices(&entries), &slices(&sealed));
    assert_eq!(bytes, hex(&golden.frame));
    let frame = Frame::parse(&bytes).unwrap();
    assert_eq!(frame.note_text, golden.note);
    assert_eq!(
        (frame.entries.as_slice(), frame.sealed.as_slice()),
        (slices(&entries).as_slice(), slices(&sealed).as_slice())
    );
    assert_eq!(
        (frame.batch.number, frame.batch.count, frame.batch.root),
        (7, 2, root(&entries))
    );
    assert_eq!(frame.batch.to_text(), frame.note.text());
    assert_eq!(frame.misplaced_content(), None);
}

#[test]
fn a_frame_of_the_most_entries_reads_back() {
    let entries = vec![events(1).remove(0); MAX_BATCH_ENTRIES];
    let bytes = frame_of(&note(MAX_BATCH_ENTRIES, root(&entries)), &entries);
    let frame = Frame::parse(&bytes).unwrap();
    assert_eq!(frame.entries, slices(&entries));
    assert_eq!(frame.sealed.len(), MAX_BATCH_ENTRIES);
}

#[test]
fn a_frame_that_is_cut_off_anywhere_is_refused() {
    let bytes = small();
    assert!(Frame::parse(&bytes).is_ok());
    for length in 0..bytes.len() {
        let found = Frame::parse(&bytes[..length]);
        assert!(
            matches!(found, Err(FrameError::Length { at, .. }) if at <= length),
            "{length} bytes: {found:?}"
        );
    }
}

#[test]
fn a_frame_with_any_bit_flipped_is_another_frame_or_none() {
    let bytes = small();
    let good = Frame::parse(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(frame) = Frame::parse(&flipped) else {
            continue;
        };
        let same =
            (frame.note_text, &frame.entries, &frame.sealed) == (good.note_text, &good.entries, &good.sealed);
        assert!(!same, "bit {bit}");
    }
}

#[test]
fn a_frame_has_a_largest_size() {
    let too_long = vec![1; MAX_FRAME_BYTES + 1];
    assert!(
        matches!(Frame::parse(&too_long), Err(FrameError::TooLong { found }) if found == MAX_FRAME_BYTES + 1)
    );
    // 16 contents of the largest size do not fit, 15 and a smaller one just do.
    let (entries, note) = (events(16), note(16, root(&events(16))));
    let mut sealed = vec![vec![0; MAX_SEALED_BYTES]; 15];
    sealed.push(Vec::new());
    let room = MAX_FRAME_BYTES - encode(&note, &slices(&entries), &slices(&sealed)).len();
    sealed[15] = vec![0; room];
    let bytes = encode(&note, &slices(&entries), &slices(&sealed));
    assert_eq!(bytes.len(), MAX_FRAME_BYTES);
    assert_eq!(Frame::parse(&bytes).unwrap().sealed[15].len(), room);
}

#[test]
fn lengths_over_their_limits_are_refused_where_they_stand() {
    let mut long_note = small();
    long_note[1..5].copy_from_slice(&u32::try_from(MAX_NOTE_BYTES + 1).unwrap().to_be_bytes());
    assert!(matches!(
        Frame::parse(&long_note),
        Err(FrameError::Length { at: 1, .. })
    ));
    let entries = events(1);
    let note = note(1, root(&entries));
    let content = vec![0; MAX_SEALED_BYTES + 1];
    let bytes = encode(&note, &slices(&entries), &[&content]);
    let start = 5 + note.len() + 2 + entries[0].len();
    assert!(matches!(Frame::parse(&bytes), Err(FrameError::Length { at, .. }) if at == start));
    let bytes = encode(&note, &slices(&entries), &[&content[1..]]);
    assert!(Frame::parse(&bytes).is_ok());
}

#[test]
fn what_is_no_frame_is_refused_by_kind() {
    let bytes = small();
    for version in (0..=u8::MAX).filter(|&version| version != 1) {
        let other = [&[version][..], &bytes[1..]].concat();
        assert!(matches!(Frame::parse(&other), Err(FrameError::Version)));
    }
    let longer = [bytes.as_slice(), &[0; 3]].concat();
    assert!(matches!(
        Frame::parse(&longer),
        Err(FrameError::Trailing { found: 3 })
    ));
    let mut not_text = bytes.clone();
    not_text[5] = 0xff;
    assert!(matches!(Frame::parse(&not_text), Err(FrameError::Utf8)));
    let no_note = encode("hello", &[], &[]);
    assert!(matches!(
        Frame::parse(&no_note),
        Err(FrameError::Note(NoteError::Malformed { .. }))
    ));
    let no_batch = encode(&signer("till", "till").sign("hello\n"), &[], &[]);
    assert!(matches!(
        Frame::parse(&no_batch),
        Err(FrameError::Batch(BatchError::Checkpoint(_)))
    ));
    for count in [0, MAX_BATCH_ENTRIES + 1] {
        let bytes = encode(&note(count, Hash::ZERO), &[], &[]);
        let expected = u64::try_from(count).unwrap();
        let found = Frame::parse(&bytes);
        assert!(matches!(found, Err(FrameError::Batch(BatchError::Count { found })) if found == expected));
    }
}

#[test]
fn a_content_belongs_to_an_event_and_an_event_has_one() {
    let (event, other) = (events(1).remove(0), vec![4; 37]);
    assert_eq!(event[0], EVENT);
    let cases: [(&[u8], &[u8], Option<usize>); 5] = [
        (&event, b"sealed", None),
        (&event, b"", Some(1)),
        (&other, b"", None),
        (&other, b"sealed", Some(1)),
        (b"", b"sealed", Some(1)),
    ];
    for (entry, sealed, expected) in cases {
        let bytes = encode(&note(2, Hash::ZERO), &[&event, entry], &[b"sealed", sealed]);
        assert_eq!(Frame::parse(&bytes).unwrap().misplaced_content(), expected);
    }
}
