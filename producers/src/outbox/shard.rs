//! One shard's part of an outbox: the chain's id, its frames in segment files, and what was sealed of them.
//!
//! ```text
//! <outbox>/<shard>                            the chain's id
//! <outbox>/frames/<shard>/<chain>/…seg        frames (drawn in `record`)
//! <outbox>/frames/<shard>/<chain>/sealed      the last sealed batch
//! ```
//! In scope: these files and every crash between two writes. A replacement is one record, so it is there as a whole or
//! not at all; another chain counts once its id is written, and its frames are written before. Out of scope: when to do
//! what ([`crate::courier`]). Trust: the folder is the producer's own.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sharetrail_ledger::{LedgerError, files};
use sharetrail_proof::name::ChainId;

use super::record::{self, HEAD, KeptFrame, Mark, Record};

/// A segment that has reached this is closed and the next begun.
const SEGMENT_BYTES: u64 = 16 << 20;

/// One shard's part of an outbox, opened. Whoever opens it holds the lock of the outbox ([`super::lock`]).
#[derive(Debug)]
pub struct ShardOutbox {
    /// Of all chains of the shard.
    folder: PathBuf,
    id_file: PathBuf,
    chain: ChainId,
    mark: Option<Mark>,
    /// Rising; the last is written to.
    segments: VecDeque<Segment>,
    file: File,
    end: u64,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    /// The highest number of a frame in it.
    top: Option<u64>,
}

/// An outbox, and what was found in it.
#[derive(Debug)]
pub struct Opened {
    /// The outbox.
    pub outbox: ShardOutbox,
    /// Frames that were not seen sealed, in the order in which they must be sent.
    pub unsealed: Vec<KeptFrame>,
    /// Whether the chain was just begun.
    pub is_new: bool,
    /// The highest round of what was kept, also where nothing of it is left.
    pub round: u64,
    /// What was damaged or cut off, a line each.
    pub notices: Vec<String>,
}

impl ShardOutbox {
    /// Opens the part of `shard` in a producer's outbox, or begins it with a new chain.
    pub fn open(outbox: &Path, shard: u32) -> Result<Opened, LedgerError> {
        let (folder, id_file) = (
            outbox.join("frames").join(shard.to_string()),
            outbox.join(shard.to_string()),
        );
        files::make_private_folder(&folder)?;
        let (chain, is_new) = chain_of(&id_file, &folder)?;
        remove_others(&folder, chain)?;
        let own = folder.join(chain.to_string());
        files::make_private_folder(&own)?;
        let mut found = Found::default();
        found.read_mark(&own, chain)?;
        let last = found.read_segments(&own, chain)?;
        let (file, end) = writable(&own, chain, &last)?;
        let Found {
            mark,
            frames,
            segments,
            notices,
            round,
        } = found;
        let sealed = |frame: &KeptFrame| mark.is_some_and(|mark| frame.number <= mark.number);
        let unsealed = frames.into_iter().filter(|frame| !sealed(frame)).collect();
        let segments = if segments.is_empty() {
            VecDeque::from([Segment { number: 1, top: None }])
        } else {
            segments
        };
        Ok(Opened {
            outbox: Self {
                folder,
                id_file,
                chain,
                mark,
                segments,
                file,
                end,
            },
            unsealed,
            is_new,
            round,
            notices,
        })
    }

    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// The last batch that was seen sealed.
    pub fn mark(&self) -> Option<Mark> {
        self.mark
    }

    fn own(&self) -> PathBuf {
        self.folder.join(self.chain.to_string())
    }

    /// Keeps frames that follow those kept before, with one sync. On an error none of them is kept.
    pub fn keep(&mut self, frames: &[KeptFrame]) -> Result<(), LedgerError> {
        let mut buffer = Vec::new();
        for frame in frames {
            record::put(
                &mut buffer,
                frame.round,
                frame.number,
                std::slice::from_ref(frame),
            );
        }
        self.append(&buffer, frames.iter().map(|frame| frame.number).max())
    }

    /// Keeps `frames` instead of all frames with numbers from `from` on; there may be fewer of them, or none. After a
    /// crash either all of them are there or those before. `round` is higher than in every record so far.
    pub fn replace(&mut self, round: u64, from: u64, frames: &[KeptFrame]) -> Result<(), LedgerError> {
        let mut buffer = Vec::new();
        record::put(&mut buffer, round, from, frames);
        self.append(&buffer, frames.iter().map(|frame| frame.number).max())
    }

    /// Begins another chain with `frames` in it; the old chain's frames go. After a crash it is the one or the other.
    pub fn begin_chain(
        &mut self,
        chain: ChainId,
        round: u64,
        frames: &[KeptFrame],
    ) -> Result<(), LedgerError> {
        let own = self.folder.join(chain.to_string());
        files::make_private_folder(&own)?;
        let mut next = Self {
            folder: self.folder.clone(),
            id_file: self.id_file.clone(),
            chain,
            mark: None,
            segments: VecDeque::from([Segment { number: 1, top: None }]),
            file: begin(&own, chain, 1)?,
            end: HEAD as u64,
        };
        next.replace(round, 0, frames)?;
        files::sync_folder(&self.folder)?;
        write_id(&self.id_file, chain)?;
        *self = next;
        remove_others(&self.folder, chain)
    }

    /// Notes that the batch and all before it are covered by a checkpoint, and removes the segments that hold no others.
    pub fn sealed(&mut self, mark: Mark) -> Result<(), LedgerError> {
        let own = self.own();
        let text = record::mark_text(self.chain, &mark);
        files::replace(&own.join("sealed"), text.as_bytes(), 0o600)?;
        self.mark = Some(mark);
        let done = |segment: &Segment| segment.top.is_none_or(|top| top <= mark.number);
        // Oldest first, and never the one that is written to: what takes another's place must not go before it.
        while self.segments.len() > 1 && self.segments.front().is_some_and(done) {
            let path = segment_path(&own, self.segments[0].number);
            fs::remove_file(&path).map_err(|source| failed("remove", &path, source))?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn append(&mut self, buffer: &[u8], top: Option<u64>) -> Result<(), LedgerError> {
        if self.end >= SEGMENT_BYTES {
            let number = self.current().number + 1;
            self.file = begin(&self.own(), self.chain, number)?;
            self.segments.push_back(Segment { number, top: None });
            self.end = HEAD as u64;
        }
        let path = segment_path(&self.own(), self.current().number);
        let written = self
            .file
            .write_all_at(buffer, self.end)
            .and_then(|()| self.file.sync_data());
        if let Err(source) = written {
            // Should this fail too, what was written is not whole, or it is kept and sent at the next start.
            let _ = self.file.set_len(self.end);
            return Err(failed("write", &path, source));
        }
        self.end += buffer.len() as u64;
        let current = self.segments.back_mut().expect("there is always one");
        current.top = current.top.max(top);
        Ok(())
    }

    fn current(&self) -> &Segment {
        self.segments.back().expect("there is always one")
    }
}

/// What lies in a chain's folder.
#[derive(Default)]
struct Found {
    mark: Option<Mark>,
    round: u64,
    frames: Vec<KeptFrame>,
    segments: VecDeque<Segment>,
    notices: Vec<String>,
}

/// The last segment, and where its whole records end.
type Last = Option<(u64, u64)>;

impl Found {
    fn read_mark(&mut self, own: &Path, chain: ChainId) -> Result<(), LedgerError> {
        let path = own.join("sealed");
        let Some(bytes) = files::read_if_there(&path)? else {
            return Ok(());
        };
        self.mark = record::parse_mark(chain, &bytes);
        self.round = self.mark.map_or(0, |mark| mark.round);
        if self.mark.is_none() {
            self.notices.push(format!(
                "outbox: {} is damaged; what is kept is sent again, which does no harm",
                path.display()
            ));
        }
        Ok(())
    }

    fn read_segments(&mut self, own: &Path, chain: ChainId) -> Result<Last, LedgerError> {
        let numbers = segments_in(own)?;
        let mut last = None;
        for (position, &number) in numbers.iter().enumerate() {
            let path = segment_path(own, number);
            if position > 0 && numbers[position - 1] + 1 != number {
                self.notices
                    .push(format!("outbox: segments before {} are missing", path.display()));
            }
            let bytes = fs::read(&path).map_err(|source| failed("read", &path, source))?;
            let end = self.read_segment(&path, &bytes, chain, number, position + 1 == numbers.len());
            last = Some((number, end as u64));
        }
        Ok(last)
    }

    /// Takes in a segment's records; gives where they end.
    fn read_segment(
        &mut self,
        path: &Path,
        bytes: &[u8],
        chain: ChainId,
        number: u64,
        is_last: bool,
    ) -> usize {
        if !record::is_head(bytes, chain, number) {
            self.notices
                .push(format!("outbox: the head of {} is damaged", path.display()));
        }
        let (mut at, mut top) = (HEAD.min(bytes.len()), None);
        while at < bytes.len() {
            if let Some((record, next)) = record::at(bytes, at) {
                top = top.max(record.frames.last().map(|frame| frame.number));
                self.take(record);
                at = next;
                continue;
            }
            let next = record::next_whole(bytes, at + 1);
            if next.is_none() && is_last {
                let torn = bytes.len() - at;
                self.notices.push(format!(
                    "outbox: cut {torn} bytes of an unfinished record off {} (it was never on the bus)",
                    path.display()
                ));
                break;
            }
            let end = next.unwrap_or(bytes.len());
            self.notices.push(format!(
                "outbox: {} is damaged from byte {at} to {end}; the frames there are lost unless the bus has them",
                path.display()
            ));
            at = end;
        }
        self.segments.push_back(Segment { number, top });
        at
    }

    fn take(&mut self, record: Record) {
        if record.round < self.round {
            // Overtaken by a replacement that was sealed since: what it held is there under other numbers.
            return;
        }
        if record.round > self.round {
            self.frames.retain(|frame| frame.number < record.first);
            self.round = record.round;
        }
        self.frames.extend(record.frames);
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> LedgerError {
    LedgerError::File {
        doing,
        path: path.to_owned(),
        source,
    }
}

fn segment_path(own: &Path, number: u64) -> PathBuf {
    own.join(format!("{number:020}.seg"))
}

fn begin(own: &Path, chain: ChainId, number: u64) -> Result<File, LedgerError> {
    let path = segment_path(own, number);
    files::replace(&path, &record::head(chain, number), 0o600)?;
    open(&path)
}

fn open(path: &Path) -> Result<File, LedgerError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|source| failed("open", path, source))
}

/// The segment to write to: the last, without what is not whole at its end, or the first of all.
fn writable(own: &Path, chain: ChainId, last: &Last) -> Result<(File, u64), LedgerError> {
    let Some((number, end)) = *last else {
        return Ok((begin(own, chain, 1)?, HEAD as u64));
    };
    if end < HEAD as u64 {
        return Ok((begin(own, chain, number)?, HEAD as u64));
    }
    let path = segment_path(own, number);
    let file = open(&path)?;
    let length = file.metadata().map(|meta| meta.len());
    if length.map_err(|source| failed("read", &path, source))? > end {
        file.set_len(end)
            .and_then(|()| file.sync_all())
            .map_err(|source| failed("shorten", &path, source))?;
    }
    Ok((file, end))
}

fn segments_in(own: &Path) -> Result<Vec<u64>, LedgerError> {
    let mut numbers: Vec<u64> = names_in(own)?
        .iter()
        .filter_map(|name| name.strip_suffix(".seg")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn names_in(folder: &Path) -> Result<Vec<String>, LedgerError> {
    let list = || {
        let mut names = Vec::new();
        for item in fs::read_dir(folder)? {
            names.extend(item?.file_name().into_string().ok());
        }
        Ok(names)
    };
    list().map_err(|source| failed("read", folder, source))
}

fn write_id(path: &Path, chain: ChainId) -> Result<(), LedgerError> {
    files::replace(path, format!("{chain}\n").as_bytes(), 0o600)
}

/// The chain's id, and whether it was just made. Where the file is lost and the frames of one chain are there, it is that.
fn chain_of(id_file: &Path, folder: &Path) -> Result<(ChainId, bool), LedgerError> {
    let damaged = |what: &str| LedgerError::Damaged {
        path: id_file.to_owned(),
        at: None,
        what: what.to_owned(),
    };
    if let Some(bytes) = files::read_if_there(id_file)? {
        let text = String::from_utf8(bytes).unwrap_or_default();
        let chain = text.trim_end().parse();
        return chain
            .map(|chain| (chain, false))
            .map_err(|_| damaged("not a chain's id"));
    }
    let left: Vec<ChainId> = chains_in(folder)?.into_iter().map(|(chain, _)| chain).collect();
    let (chain, is_new) = match left.as_slice() {
        [] => (ChainId(files::random()?), true),
        [chain] => (*chain, false),
        _ => {
            return Err(damaged(
                "missing, and the frames of several chains are kept; write the id of the one to go on with there",
            ));
        }
    };
    write_id(id_file, chain)?;
    Ok((chain, is_new))
}

fn chains_in(folder: &Path) -> Result<Vec<(ChainId, PathBuf)>, LedgerError> {
    let names = names_in(folder)?;
    Ok(names
        .iter()
        .filter_map(|name| Some((name.parse().ok()?, folder.join(name))))
        .collect())
}

/// Removes what is left of other chains: one that was given up, or one that was never begun.
fn remove_others(folder: &Path, chain: ChainId) -> Result<(), LedgerError> {
    for (_, path) in chains_in(folder)?
        .into_iter()
        .filter(|(other, _)| *other != chain)
    {
        fs::remove_dir_all(&path).map_err(|source| failed("remove", &path, source))?;
    }
    Ok(())
}
