//! Signals: what was begun is finished, nothing is cut in two.
//!
//! In scope: a flag, and a reader that ends at the end of a line once it is set. Out of scope: what is done with the
//! lines.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use crate::output::note;

/// The exit code of a process that a Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// A flag that the first Ctrl-C sets. A second one ends the process at once, which loses nothing that was accepted.
pub(crate) fn watch() -> anyhow::Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot watch for Ctrl-C")?;
    let wait = move || {
        runtime.block_on(async {
            while tokio::signal::ctrl_c().await.is_ok() {
                if flag.swap(true, Ordering::AcqRel) {
                    std::process::exit(INTERRUPTED);
                }
                note("stopping: what was read is being sealed; Ctrl-C again ends at once");
            }
        });
    };
    std::thread::Builder::new()
        .name("interrupt".into())
        .spawn(wait)
        .context("cannot watch for Ctrl-C")?;
    Ok(interrupted)
}

/// A flag that Ctrl-C, or a TERM signal, sets. A second one ends the process at once.
pub(crate) fn until_told_to_stop() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot watch for signals")?;
    let mut term = {
        let _inside = runtime.enter();
        signal(SignalKind::terminate()).context("cannot watch for signals")?
    };
    let wait = move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    heard = tokio::signal::ctrl_c() => if heard.is_err() { return },
                    heard = term.recv() => if heard.is_none() { return },
                }
                if flag.swap(true, Ordering::AcqRel) {
                    std::process::exit(INTERRUPTED);
                }
                note("stopping: what is under way is being finished; again ends at once");
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .context("cannot watch for signals")?;
    Ok(stop)
}

/// A reader that ends after the line it is in once a flag is set.
pub(crate) struct UntilInterrupted<R> {
    input: R,
    interrupted: Arc<AtomicBool>,
    at_line_start: bool,
    ended: bool,
}

impl<R: Read> UntilInterrupted<R> {
    /// Reads `input` until `interrupted` is set.
    pub(crate) fn new(input: R, interrupted: Arc<AtomicBool>) -> Self {
        Self {
            input,
            interrupted,
            at_line_start: true,
            ended: false,
        }
    }
}

impl<R: Read> Read for UntilInterrupted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let interrupted = self.interrupted.load(Ordering::Acquire);
        if self.ended || (interrupted && self.at_line_start) {
            self.ended = true;
            return Ok(0);
        }
        let count = self.input.read(into)?;
        let read = &into[..count];
        let line_end = read.iter().position(|byte| *byte == b'\n');
        if let (true, Some(end)) = (interrupted, line_end) {
            self.ended = true;
            return Ok(end + 1);
        }
        self.at_line_start = read.last().map_or(self.at_line_start, |byte| *byte == b'\n');
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_with_interruption_after(reads: usize, chunk: usize) -> String {
        let flag = Arc::new(AtomicBool::new(false));
        let mut reader = UntilInterrupted::new(&b"one\ntwo\nthree\n"[..], Arc::clone(&flag));
        let (mut text, mut buffer) = (Vec::new(), vec![0; chunk]);
        for number in 0.. {
            flag.store(number >= reads, Ordering::Release);
            match reader.read(&mut buffer).unwrap() {
                0 => break,
                count => text.extend_from_slice(&buffer[..count]),
            }
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn an_interruption_cuts_no_line_in_two() {
        assert_eq!(read_with_interruption_after(usize::MAX, 5), "one\ntwo\nthree\n");
        assert_eq!(read_with_interruption_after(0, 5), "");
        assert_eq!(read_with_interruption_after(1, 4), "one\n");
        assert_eq!(read_with_interruption_after(1, 2), "one\n");
        assert_eq!(read_with_interruption_after(1, 6), "one\ntwo\n");
        assert_eq!(read_with_interruption_after(4, 3), "one\ntwo\nthree\n");
    }
}
