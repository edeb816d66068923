//! One stream of the embedded bus: append-only segment files.
//!
//! ```text
//! <first seq, 20 digits>.seg:  "STBUS001" ‖ 16 stream id ‖ u64 first seq ‖ u32 CRC-32 of these 32 bytes ‖ records
//! record:                      u32 length ‖ u32 CRC-32 of the body ‖ body = u64 seq ‖ u8 length ‖ producer ‖ frame
//! acked:                       u64 first seq of a segment ‖ u64 bytes of it that were acknowledged ‖ u32 CRC-32
//! ```
//! In scope: appending, finding the end after a crash, reading. Out of scope: threads and promises (`embedded`).
//! Trust: every record is checked by its CRC; a damaged one in the middle is an error with its place, an unfinished one
//! at the end was never acknowledged and is cut off.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sharetrail_proof::frame::MAX_FRAME_BYTES;
use sharetrail_proof::name::Name;

use super::{Message, StreamId, StreamInfo, StreamSeq};
use crate::error::{At, LedgerError};
use crate::files;

const MAGIC: &[u8; 8] = b"STBUS001";
const HEAD: usize = 36;
const HEAD_BYTES: u64 = HEAD as u64;
/// A segment that has reached this is closed and the next begun.
const SEGMENT_BYTES: u64 = 64 << 20;
const MAX_BODY_BYTES: usize = 8 + 1 + 63 + MAX_FRAME_BYTES;

/// A stream opened for appending and reading.
#[derive(Debug)]
pub(super) struct Stream {
    folder: PathBuf,
    id: StreamId,
    /// First seq of each segment, rising.
    segments: Vec<u64>,
    file: File,
    acked: File,
    end: u64,
    last: u64,
    /// Records written and not yet synced.
    buffer: Vec<u8>,
}

/// What a reader may read: only what was committed.
#[derive(Clone, Debug)]
pub(super) struct View {
    segments: Vec<u64>,
    last: u64,
}

/// Reads a stream beside its writer, without waiting for it.
#[derive(Debug)]
pub(super) struct StreamReader {
    folder: PathBuf,
    /// Where it stands: next seq, segment's first seq, byte, the segment's file.
    position: Option<(u64, u64, u64, File)>,
}

fn segment_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.seg"))
}

fn head(id: StreamId, first: u64) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(id.0);
    bytes.extend(first.to_be_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
    bytes
}

fn parse_head(path: &Path, bytes: &[u8]) -> Result<(StreamId, u64), LedgerError> {
    let wrong = || LedgerError::damaged(path, Some(0), "not the head of a bus segment");
    let bytes = bytes.get(..36).ok_or_else(wrong)?;
    let crc = u32::from_be_bytes(bytes[32..].try_into().map_err(|_| wrong())?);
    if bytes[..8] != *MAGIC || crc32fast::hash(&bytes[..32]) != crc {
        return Err(wrong());
    }
    let id = bytes[8..24].try_into().map_err(|_| wrong())?;
    let first = bytes[24..32].try_into().map_err(|_| wrong())?;
    Ok((StreamId(id), u64::from_be_bytes(first)))
}

impl Stream {
    /// Opens the stream in a folder, or begins one. Also says what had to be cut off.
    pub(super) fn open(folder: &Path, fresh_id: StreamId) -> Result<(Self, Option<String>), LedgerError> {
        files::make_folder(folder)?;
        let mut segments = segments_in(folder)?;
        if segments.is_empty() {
            begin(folder, fresh_id, 1)?;
            segments.push(1);
        }
        let first = *segments.last().expect("one was just begun");
        let path = segment_path(folder, first);
        let bytes = fs::read(&path).at("read", &path)?;
        let (id, stated) = parse_head(&path, &bytes)?;
        if stated != first {
            return Err(LedgerError::damaged(
                &path,
                Some(24),
                "the file's name and its first seq differ",
            ));
        }
        let acked_path = folder.join("acked");
        let acked = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&acked_path);
        let acked = acked.at("open", &acked_path)?;
        let (end, last) = whole_records(&path, &bytes, first)?;
        let promised = read_acked(&acked_path, &acked, first)?;
        if promised > end {
            let what = format!("an acknowledged message is damaged or missing (bytes {end} to {promised})");
            return Err(LedgerError::damaged(&path, Some(end), what));
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .at("open", &path)?;
        let torn = bytes.len() as u64 - end;
        if torn > 0 {
            file.set_len(end).at("shorten", &path)?;
        }
        let notice = (torn > 0).then(|| {
            format!(
                "bus: cut {torn} bytes of an unfinished message off {} (it was never acknowledged)",
                path.display()
            )
        });
        let stream = Self {
            folder: folder.to_owned(),
            id,
            segments,
            file,
            acked,
            end,
            last,
            buffer: Vec::new(),
        };
        Ok((stream, notice))
    }

    pub(super) fn info(&self) -> StreamInfo {
        StreamInfo {
            id: self.id,
            last: StreamSeq(self.last),
        }
    }

    /// Lays a record into the buffer; [`Stream::commit`] makes it durable.
    pub(super) fn append(&mut self, producer: &Name, frame: &[u8]) -> StreamSeq {
        self.last += 1;
        let name = producer.as_str().as_bytes();
        let length = 8 + 1 + name.len() + frame.len();
        let start = self.buffer.len();
        self.buffer.extend(
            u32::try_from(length)
                .expect("a frame is at most 1 MiB")
                .to_be_bytes(),
        );
        self.buffer.extend([0; 4]);
        self.buffer.extend(self.last.to_be_bytes());
        self.buffer
            .push(u8::try_from(name.len()).expect("a name is at most 63 bytes"));
        self.buffer.extend_from_slice(name);
        self.buffer.extend_from_slice(frame);
        let crc = crc32fast::hash(&self.buffer[start + 8..]);
        self.buffer[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
        StreamSeq(self.last)
    }

    /// Writes and syncs what was appended. On an error nothing of it counts, and the file is as it was.
    pub(super) fn commit(&mut self, before: StreamSeq) -> Result<(), LedgerError> {
        if self.end >= SEGMENT_BYTES
            && let Err(error) = self.roll(before.0 + 1)
        {
            self.buffer.clear();
            self.last = before.0;
            return Err(error);
        }
        let path = segment_path(&self.folder, *self.segments.last().expect("there is always one"));
        let written = self
            .file
            .write_all_at(&self.buffer, self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.buffer.clear();
            self.last = before.0;
            // Should this fail too, the next start finds the unfinished record and cuts it off.
            let _ = self.file.set_len(self.end);
            return Err(error).at("write", &path);
        }
        self.end += self.buffer.len() as u64;
        self.buffer.clear();
        let first = *self.segments.last().expect("there is always one");
        let mut note = first.to_be_bytes().to_vec();
        note.extend(self.end.to_be_bytes());
        note.extend(crc32fast::hash(&note).to_be_bytes());
        // The frames are durable: a note that cannot be written is no reason to say otherwise.
        let _ = self.acked.write_all_at(&note, 0);
        Ok(())
    }

    fn roll(&mut self, first: u64) -> Result<(), LedgerError> {
        self.file = begin(&self.folder, self.id, first)?;
        self.segments.push(first);
        self.end = HEAD_BYTES;
        Ok(())
    }

    /// What is committed now.
    pub(super) fn view(&self) -> View {
        View {
            segments: self.segments.clone(),
            last: self.last,
        }
    }

    /// A reader of this stream.
    pub(super) fn reader(&self) -> StreamReader {
        StreamReader {
            folder: self.folder.clone(),
            position: None,
        }
    }
}

impl StreamReader {
    /// Messages after `after`, at least one if there is one, about `bytes_max`.
    pub(super) fn read(
        &mut self,
        view: &View,
        after: StreamSeq,
        bytes_max: usize,
    ) -> Result<Vec<Message>, LedgerError> {
        let mut found = Vec::new();
        let (mut wanted, mut size) = (after.0 + 1, 0);
        while wanted <= view.last && (found.is_empty() || size < bytes_max) {
            let message = self.read_one(view, wanted)?;
            size += message.frame.len();
            found.push(message);
            wanted += 1;
        }
        Ok(found)
    }

    fn read_one(&mut self, view: &View, seq: u64) -> Result<Message, LedgerError> {
        let place = view
            .segments
            .partition_point(|&first| first <= seq)
            .saturating_sub(1);
        let first = view.segments[place];
        let path = segment_path(&self.folder, first);
        let (mut at_seq, mut at, file) = match self.position.take() {
            Some((at_seq, segment, at, file)) if segment == first && at_seq <= seq => (at_seq, at, file),
            _ => (first, HEAD_BYTES, File::open(&path).at("open", &path)?),
        };
        loop {
            let record = read_record(&path, &file, at)?;
            let next = at + 8 + record.len() as u64;
            if at_seq == seq {
                self.position = Some((seq + 1, first, next, file));
                return parse_body(&path, at, &record, seq);
            }
            (at, at_seq) = (next, at_seq + 1);
        }
    }
}

/// Bytes of the last segment that were acknowledged, as far as that was noted. A damaged note says nothing.
fn read_acked(path: &Path, file: &File, last: u64) -> Result<u64, LedgerError> {
    let mut bytes = [0; 20];
    if file.read_exact_at(&mut bytes, 0).is_err()
        || crc32fast::hash(&bytes[..16]).to_be_bytes() != bytes[16..]
    {
        return Ok(0);
    }
    let (segment, end) = bytes[..16].split_at(8);
    let number = |part: &[u8]| u64::from_be_bytes(part.try_into().expect("eight bytes"));
    if number(segment) > last {
        let what = format!(
            "the segment from message {} on is missing, and messages in it were acknowledged",
            number(segment)
        );
        return Err(LedgerError::damaged(path, None, what));
    }
    Ok(if number(segment) == last { number(end) } else { 0 })
}

fn segments_in(folder: &Path) -> Result<Vec<u64>, LedgerError> {
    let mut segments = Vec::new();
    for item in fs::read_dir(folder).at("read", folder)? {
        let name = item.at("read", folder)?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_suffix(".seg"))
            .and_then(|digits| digits.parse::<u64>().ok());
        segments.extend(number);
    }
    segments.sort_unstable();
    Ok(segments)
}

fn begin(folder: &Path, id: StreamId, first: u64) -> Result<File, LedgerError> {
    let path = segment_path(folder, first);
    files::replace(&path, &head(id, first), 0o600)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .at("open", &path)
}

/// The end of the last whole record, and its seq. A damaged record with whole ones after it is an error.
fn whole_records(path: &Path, bytes: &[u8], first: u64) -> Result<(u64, u64), LedgerError> {
    let (mut at, mut last) = (HEAD, first - 1);
    while let Some(length) = record_length(bytes, at) {
        if !is_whole(bytes, at, length) {
            let next = at + 8 + length;
            if record_length(bytes, next).is_some_and(|length| is_whole(bytes, next, length)) {
                return Err(LedgerError::damaged(
                    path,
                    Some(at as u64),
                    "a message does not have its checksum",
                ));
            }
            break;
        }
        at += 8 + length;
        last += 1;
    }
    Ok((at as u64, last))
}

fn record_length(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize;
    (length > 9 && length <= MAX_BODY_BYTES && at + 8 + length <= bytes.len()).then_some(length)
}

fn is_whole(bytes: &[u8], at: usize, length: usize) -> bool {
    let crc = u32::from_be_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]);
    crc32fast::hash(&bytes[at + 8..at + 8 + length]) == crc
}

fn read_record(path: &Path, file: &File, at: u64) -> Result<Vec<u8>, LedgerError> {
    let mut head = [0; 8];
    file.read_exact_at(&mut head, at).at("read", path)?;
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if length > MAX_BODY_BYTES {
        return Err(LedgerError::damaged(
            path,
            Some(at),
            "a message's length is over the limit",
        ));
    }
    let mut body = vec![0; length];
    file.read_exact_at(&mut body, at + 8).at("read", path)?;
    if crc32fast::hash(&body).to_be_bytes() == head[4..] {
        return Ok(body);
    }
    Err(LedgerError::damaged(
        path,
        Some(at),
        "a message does not have its checksum",
    ))
}

fn parse_body(path: &Path, at: u64, body: &[u8], seq: u64) -> Result<Message, LedgerError> {
    let wrong = |what: &str| LedgerError::damaged(path, Some(at), what);
    let (found, rest) = body.split_first_chunk::<8>().ok_or_else(|| wrong("too short"))?;
    if u64::from_be_bytes(*found) != seq {
        return Err(wrong("a message out of order"));
    }
    let (&length, rest) = rest.split_first().ok_or_else(|| wrong("too short"))?;
    let name = rest
        .get(..length.into())
        .and_then(|name| std::str::from_utf8(name).ok())
        .and_then(|name| Name::new(name).ok());
    let producer = name.ok_or_else(|| wrong("no producer's name"))?;
    Ok(Message {
        seq: StreamSeq(seq),
        producer,
        frame: rest[usize::from(length)..].to_vec(),
    })
}

/// Which stream lies in a folder and where it ends, without opening it; nothing where there is none.
pub(super) fn peek(folder: &Path) -> Result<Option<StreamInfo>, LedgerError> {
    let Some(&first) = segments_if_there(folder)?.last() else {
        return Ok(None);
    };
    let path = segment_path(folder, first);
    let bytes = fs::read(&path).at("read", &path)?;
    let (id, _) = parse_head(&path, &bytes)?;
    let (_, last) = whole_records(&path, &bytes, first)?;
    Ok(Some(StreamInfo {
        id,
        last: StreamSeq(last),
    }))
}

/// Visits every frame of a stream that nobody writes to, in order; stops at the first damage and says where.
pub(super) fn visit(
    folder: &Path,
    each: &mut dyn FnMut(Message) -> Result<(), LedgerError>,
) -> Result<u64, LedgerError> {
    let mut damaged = 0;
    for first in segments_if_there(folder)? {
        let path = segment_path(folder, first);
        let bytes = fs::read(&path).at("read", &path)?;
        let (mut at, mut seq) = (HEAD, first);
        while let Some(length) = record_length(&bytes, at) {
            let body = &bytes[at + 8..at + 8 + length];
            match parse_body(&path, at as u64, body, seq) {
                Ok(message) if is_whole(&bytes, at, length) => each(message)?,
                _ => damaged += 1,
            }
            (at, seq) = (at + 8 + length, seq + 1);
        }
        damaged += u64::from(at < bytes.len());
    }
    Ok(damaged)
}

fn segments_if_there(folder: &Path) -> Result<Vec<u64>, LedgerError> {
    if folder.exists() {
        segments_in(folder)
    } else {
        Ok(Vec::new())
    }
}
