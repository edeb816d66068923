//! Frames: one bus message, a batch note with its entries and sealed contents.
//!
//! ```text
//! 0x01 ‖ u32 note length ‖ note ‖ per entry: u16 length ‖ entry ‖ per entry: u32 length ‖ sealed content
//! ```
//! Integers are big-endian. The number of entries stands in the note; an entry without content has a sealed content of
//! length 0. In scope: taking a frame apart without copying. Out of scope: everything it claims.
//! Trust: none; a frame comes from the bus.

use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::customer::MAX_SEALED_BYTES;
use crate::entry::{EVENT, MAX_ENTRY_BYTES};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};

/// The most bytes of a frame.
pub const MAX_FRAME_BYTES: usize = 1 << 20;

const VERSION: u8 = 0x01;

/// What is wrong with a frame.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// More than [`MAX_FRAME_BYTES`].
    #[error("a frame has at most {MAX_FRAME_BYTES} bytes, not {found}")]
    TooLong {
        /// Bytes it has.
        found: usize,
    },
    /// A first byte that is not the version.
    #[error("not a frame of version 1")]
    Version,
    /// A length points past the end, or over its limit.
    #[error("the frame's {what} at byte {at} does not fit")]
    Length {
        /// Which part.
        what: &'static str,
        /// Where, from the frame's start.
        at: usize,
    },
    /// Bytes after the last part.
    #[error("{found} bytes follow the frame's last part")]
    Trailing {
        /// How many.
        found: usize,
    },
    /// The note is not UTF-8.
    #[error("the frame's note is not UTF-8")]
    Utf8,
    /// The note is not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// The note is not a batch note.
    #[error(transparent)]
    Batch(#[from] BatchError),
}

/// A frame taken apart; borrows from its bytes.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// The whole note as text.
    pub note_text: &'a str,
    /// The note taken apart; its signature is not checked.
    pub note: Note<'a>,
    /// What the note says.
    pub batch: Batch,
    /// As many entries as the note says.
    pub entries: Vec<&'a [u8]>,
    /// One sealed content an entry; empty where the entry is no event.
    pub sealed: Vec<&'a [u8]>,
}

/// Lays out a frame. `entries` and `sealed` have the note's number of items.
pub fn encode(note: &str, entries: &[&[u8]], sealed: &[&[u8]]) -> Vec<u8> {
    let bytes = entries.iter().map(|e| e.len() + 2).sum::<usize>()
        + sealed.iter().map(|s| s.len() + 4).sum::<usize>();
    let mut frame = Vec::with_capacity(5 + note.len() + bytes);
    frame.push(VERSION);
    frame.extend(
        u32::try_from(note.len())
            .expect("a note is under 60,000 bytes")
            .to_be_bytes(),
    );
    frame.extend_from_slice(note.as_bytes());
    for entry in entries {
        frame.extend(
            u16::try_from(entry.len())
                .expect("an entry is at most 65,535 bytes")
                .to_be_bytes(),
        );
        frame.extend_from_slice(entry);
    }
    for one in sealed {
        frame.extend(
            u32::try_from(one.len())
                .expect("a sealed content is under 66 KiB")
                .to_be_bytes(),
        );
        frame.extend_from_slice(one);
    }
    frame
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], FrameError> {
        let end = self.at.checked_add(length).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or(FrameError::Length { what, at: self.at })?;
        let part = &self.bytes[self.at..end];
        self.at = end;
        Ok(part)
    }

    fn u16(&mut self, what: &'static str) -> Result<usize, FrameError> {
        let bytes = self.take(2, what)?;
        Ok(usize::from(u16::from_be_bytes([bytes[0], bytes[1]])))
    }

    fn u32(&mut self, what: &'static str, limit: usize) -> Result<usize, FrameError> {
        let at = self.at;
        let bytes = self.take(4, what)?;
        let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        usize::try_from(length)
            .ok()
            .filter(|&n| n <= limit)
            .ok_or(FrameError::Length { what, at })
    }
}

impl<'a> Frame<'a> {
    /// Takes a frame apart. Lengths, the note's syntax and the number of entries are checked, nothing else.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        if bytes.len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong { found: bytes.len() });
        }
        let mut cursor = Cursor { bytes, at: 0 };
        if cursor.take(1, "version")? != [VERSION] {
            return Err(FrameError::Version);
        }
        let length = cursor.u32("note length", MAX_NOTE_BYTES)?;
        let note_text = std::str::from_utf8(cursor.take(length, "note")?).map_err(|_| FrameError::Utf8)?;
        let note = Note::parse(note_text)?;
        let batch = Batch::parse(note.text())?;
        let count = batch.count as usize;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let length = cursor.u16("entry length")?;
            debug_assert!(length <= MAX_ENTRY_BYTES);
            entries.push(cursor.take(length, "entry")?);
        }
        let mut sealed = Vec::with_capacity(count);
        for _ in 0..count {
            let length = cursor.u32("sealed content length", MAX_SEALED_BYTES)?;
            sealed.push(cursor.take(length, "sealed content")?);
        }
        match bytes.len() - cursor.at {
            0 => Ok(Self {
                note_text,
                note,
                batch,
                entries,
                sealed,
            }),
            found => Err(FrameError::Trailing { found }),
        }
    }

    /// The first entry that has a sealed content without being an event, or is an event without one.
    pub fn misplaced_content(&self) -> Option<usize> {
        let is_event = |entry: &&[u8]| entry.first() == Some(&EVENT);
        self.entries
            .iter()
            .zip(&self.sealed)
            .position(|(entry, sealed)| is_event(entry) == sealed.is_empty())
    }
}
