//! Recording many events at once, one JSON content a line.
//!
//! In scope: counting, naming every bad line, progress. Out of scope: the work itself ([`crate::publisher`]).
//! Trust: the input is untrusted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::error::PublishError;
use crate::tickets::{OnRecord, Tickets};

/// How far a recording is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordProgress {
    /// Bytes read of the input.
    pub bytes_read: u64,
    /// Lines handed in.
    pub lines: u64,
    /// Events that are durable on the bus.
    pub accepted: u64,
    /// Events that are sealed.
    pub sealed: u64,
    /// Events that were on record already.
    pub skipped: u64,
    /// Lines that were refused.
    pub refused: u64,
}

/// A line that is not on record, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadLine {
    /// Counted from 1.
    pub line: u64,
    /// The field at fault, if it is one.
    pub field: Option<String>,
    /// What is wrong.
    pub reason: String,
    /// Whether the line is well-formed and was refused: another content has its source and id, or its batch was rejected.
    pub refusal: bool,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordSummary {
    /// Lines that were not blank.
    pub lines: u64,
    /// Events recorded and sealed now.
    pub recorded: u64,
    /// Events that were on record already.
    pub skipped: u64,
    /// Lines that are not on record, by number; the first 10,000 of them.
    pub refused: Vec<BadLine>,
    /// How many lines are not on record.
    pub refused_total: u64,
    /// Whether all of them are well-formed, and were refused for another content on record or by the sequencer.
    pub only_refusals: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Bad lines that are kept, so that a bad file of any size fits in memory.
const BAD_LINES_MAX: usize = 10_000;

/// Counts what becomes of lines.
#[derive(Default)]
pub(crate) struct Bulk {
    bytes_read: AtomicU64,
    lines: AtomicU64,
    accepted: AtomicU64,
    sealed: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    malformed: AtomicU64,
    bad: Mutex<Vec<BadLine>>,
    stopped: Mutex<Option<PublishError>>,
    has_stopped: AtomicBool,
}

impl Bulk {
    /// More of the input was read.
    pub(crate) fn read(&self, bytes_read: u64, lines: u64) {
        self.bytes_read.store(bytes_read, Ordering::Relaxed);
        self.lines.store(lines, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> RecordProgress {
        let get = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        RecordProgress {
            bytes_read: get(&self.bytes_read),
            lines: get(&self.lines),
            accepted: get(&self.accepted),
            sealed: get(&self.sealed),
            skipped: get(&self.skipped),
            refused: get(&self.refused),
        }
    }

    fn keep(&self, bad: BadLine) {
        if !bad.refusal {
            self.malformed.fetch_add(1, Ordering::AcqRel);
        }
        let mut kept = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < BAD_LINES_MAX {
            kept.push(bad);
        }
    }

    /// Whether something stopped the recording, so that no more lines need to be read.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped.load(Ordering::Acquire)
    }

    /// What stopped the recording, if something did.
    pub(crate) fn stopped(&self) -> Result<(), PublishError> {
        self.stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .map_or(Ok(()), Err)
    }

    pub(crate) fn summary(&self, seconds: f64) -> RecordSummary {
        let progress = self.progress();
        let mut refused = std::mem::take(&mut *self.bad.lock().unwrap_or_else(PoisonError::into_inner));
        refused.sort_by_key(|bad| bad.line);
        let RecordProgress {
            lines,
            sealed: recorded,
            skipped,
            refused: refused_total,
            ..
        } = progress;
        RecordSummary {
            lines,
            recorded,
            skipped,
            refused,
            refused_total,
            only_refusals: refused_total > 0 && self.malformed.load(Ordering::Acquire) == 0,
            seconds,
        }
    }
}

impl RecordProgress {
    /// Whether every line handed in has come to its end.
    pub(crate) fn is_done(&self) -> bool {
        self.sealed + self.skipped + self.refused == self.lines
    }
}

impl Tickets for Bulk {
    fn refused(&self, line: u64, error: PublishError) {
        if error.is_about_the_event() {
            let field = error.field().map(str::to_owned);
            let bad = BadLine {
                line,
                field,
                reason: error.to_string(),
                refusal: error.is_refusal(),
            };
            self.keep(bad);
        } else {
            // A full disk is not the line's fault, nor worth a report for each line.
            self.stopped
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(error);
            self.has_stopped.store(true, Ordering::Release);
        }
        self.refused.fetch_add(1, Ordering::AcqRel);
    }
    fn accepted(&self, _: u64) {
        self.accepted.fetch_add(1, Ordering::AcqRel);
    }
    fn sealed(&self, _: u64, place: OnRecord) {
        let counter = if place.already {
            &self.skipped
        } else {
            &self.sealed
        };
        counter.fetch_add(1, Ordering::AcqRel);
    }
}
