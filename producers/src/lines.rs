//! Cutting an input into lines, without holding more of it than a chunk.
//!
//! In scope: line ends (LF or CRLF), a byte order mark, blank lines, lines of any length. Out of scope: what a line
//! says. Trust: the input is untrusted; a line over the limit is counted and passed over, not held.

use std::io::{self, Read};

/// Bytes that are kept of one line; no content may be that long.
pub(crate) const LINE_MAX: usize = 1 << 17;
const READ_BYTES: usize = 1 << 18;

/// Reads an input line by line.
pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    ended: bool,
    number: u64,
    read: u64,
}

/// One line.
pub(crate) enum Line<'a> {
    /// Its bytes, without the line end.
    Whole(u64, &'a [u8]),
    /// It has this many bytes, more than any content may have.
    TooLong(u64, usize),
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            ended: false,
            number: 0,
            read: 0,
        }
    }

    /// Bytes taken from the input so far.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.read - (self.end - self.start) as u64
    }

    /// The next line that is not blank. Numbers count from 1 and count blank lines too.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let Some((from, to, skipped)) = self.take_line()? else {
                return Ok(None);
            };
            self.number += 1;
            if skipped > 0 {
                return Ok(Some(Line::TooLong(self.number, skipped + (to - from))));
            }
            let (from, to) = self.trimmed(from, to);
            if self.buffer[from..to]
                .iter()
                .any(|byte| !byte.is_ascii_whitespace())
            {
                return Ok(Some(Line::Whole(self.number, &self.buffer[from..to])));
            }
        }
    }

    fn trimmed(&self, mut from: usize, mut to: usize) -> (usize, usize) {
        if self.number == 1 && self.buffer[from..to].starts_with(b"\xef\xbb\xbf") {
            from += 3;
        }
        if to > from && self.buffer[to - 1] == b'\r' {
            to -= 1;
        }
        (from, to)
    }

    /// Where the next line lies in the buffer, and how many of its first bytes were passed over.
    fn take_line(&mut self) -> io::Result<Option<(usize, usize, usize)>> {
        let (mut searched, mut skipped) = (0, 0);
        loop {
            let found = self.buffer[self.start + searched..self.end]
                .iter()
                .position(|&byte| byte == b'\n');
            if let Some(length) = found {
                let (from, to) = (self.start, self.start + searched + length);
                self.start = to + 1;
                return Ok(Some((from, to, skipped)));
            }
            searched = self.end - self.start;
            if self.ended {
                let (from, to) = (self.start, self.end);
                self.start = self.end;
                return Ok((to > from || skipped > 0).then_some((from, to, skipped)));
            }
            if searched > LINE_MAX {
                (skipped, searched) = (skipped + searched, 0);
                self.start = self.end;
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    (self.end, self.ended, self.read) = (self.end + read, read == 0, self.read + read as u64);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as a pipe does.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let take = self.1.min(self.0.len()).min(buffer.len());
            buffer[..take].copy_from_slice(&self.0[..take]);
            self.0 = &self.0[take..];
            Ok(take)
        }
    }

    fn lines(input: &[u8], drip: usize) -> Vec<(u64, Result<Vec<u8>, usize>)> {
        let mut lines = Lines::new(Drip(input, drip));
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(number, bytes) => (number, Ok(bytes.to_vec())),
                Line::TooLong(number, length) => (number, Err(length)),
            });
        }
        assert_eq!(lines.bytes_read(), input.len() as u64);
        found
    }

    #[test]
    fn lines_end_as_files_end_them() {
        for drip in [1, 2, 7, 1 << 20] {
            let found = lines(b"\xef\xbb\xbfa\r\n\n  \nb\nlast", drip);
            assert_eq!(
                found,
                [
                    (1, Ok(b"a".to_vec())),
                    (4, Ok(b"b".to_vec())),
                    (5, Ok(b"last".to_vec()))
                ]
            );
        }
        assert!(lines(b"", 9).is_empty());
    }

    #[test]
    fn a_line_without_end_is_counted_and_not_held() {
        let mut input = b"a\n".to_vec();
        input.extend(vec![b'x'; 3_000_000]);
        input.extend(b"\nb\n");
        let found = lines(&input, 100_000);
        assert_eq!(
            found,
            [
                (1, Ok(b"a".to_vec())),
                (2, Err(3_000_000)),
                (3, Ok(b"b".to_vec()))
            ]
        );
    }
}
