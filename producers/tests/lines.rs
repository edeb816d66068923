//! Recording an input by the line: the good lines are on record, each bad one is named by its number.
//!
//! In scope: every sort of bad line, line ends, an input that breaks off, or goes on when the ledger has ended. Out of
//! scope: repeats (`publisher`).

use std::io::{self, Read};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{THEN, TestLedger, line, publisher, record};
use sharetrail_ledger::Engine;
use sharetrail_producers::{PublishError, RecordProgress};

fn good(n: usize) -> Vec<u8> {
    line(&format!("customer-{}", n % 5), &format!("good-{n}"), THEN)
}

/// A good line with something replaced in it.
fn spoilt(n: usize, what: &str, by: &str) -> Vec<u8> {
    let text = String::from_utf8(good(n)).unwrap();
    let spoilt = text.replacen(what, by, 1);
    assert_ne!(text, spoilt, "{what}");
    spoilt.into_bytes()
}

fn with_long_id(bytes: usize) -> Vec<u8> {
    spoilt(0, "good-0", &"x".repeat(bytes))
}

fn bad_lines() -> Vec<Vec<u8>> {
    vec![
        b"{\"specversion\":\n".to_vec(),
        b"no JSON at all\n".to_vec(),
        b"[]\n".to_vec(),
        b"\xff\xfe\x00\x01\n".to_vec(),
        spoilt(0, "consent.given", "consent.guessed"),
        spoilt(0, "purposes", "porpoises"),
        spoilt(0, "dpv:Marketing", "dpv:Marketting"),
        spoilt(0, "2026-", "9026-"),
        spoilt(0, "customer-0", ""),
        with_long_id(70 * 1_024),
        with_long_id(3_000_000),
    ]
}

/// The fault: one bad line stops an import half-way, is passed over in silence, or shifts the numbers of all others.
#[test]
fn bad_lines_are_named_and_good_ones_recorded() {
    let place = TestLedger::new(2);
    let engine = place.start();
    let publisher = publisher(&engine);
    let (mut input, mut expected, mut number, mut goods) = (b"\xef\xbb\xbf".to_vec(), Vec::new(), 0, 0);
    for bad in bad_lines() {
        let mut crlf = good(goods);
        crlf.pop();
        crlf.extend(b"\r\n");
        for one in [crlf, b"\n".to_vec(), b"  \t\r\n".to_vec(), bad, good(goods + 1)] {
            number += 1;
            input.extend(one);
        }
        expected.push(number - 1);
        goods += 2;
    }
    // The last line need not end.
    input.pop();
    let summary = record(&publisher, &input);
    let refused: Vec<u64> = summary.refused.iter().map(|bad| bad.line).collect();
    assert_eq!(refused, expected);
    assert!(
        summary
            .refused
            .iter()
            .all(|bad| !bad.refusal && !bad.reason.is_empty())
    );
    let (recorded, bad) = (u64::try_from(goods).unwrap(), expected.len() as u64);
    assert_eq!((summary.recorded, summary.lines), (recorded, recorded + bad));
    publisher.close().unwrap();
    assert_eq!(place.events(), recorded);
}

/// The fault: an input without a single event never ends.
#[test]
fn an_empty_input_ends_at_once() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    for input in [&b""[..], b"\n", b"\r\n\n  \n"] {
        let summary = record(&publisher, input);
        assert_eq!(
            (summary.lines, summary.recorded, summary.refused.len()),
            (0, 0, 0)
        );
    }
}

struct BreaksOff<'a>(&'a [u8]);

impl Read for BreaksOff<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.0.read(buffer)
    }
}

/// The fault: an input that breaks off is taken for a whole one, or what was read of it is lost.
#[test]
fn an_input_that_breaks_off_is_told_and_what_was_read_is_recorded() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    let input: Vec<u8> = (0..50).flat_map(good).collect();
    let outcome = publisher.record_lines(BreaksOff(&input), &|_| ());
    assert!(matches!(outcome, Err(PublishError::Input(error)) if error.kind() == io::ErrorKind::BrokenPipe));
    assert_eq!(record(&publisher, &input).skipped, 50);
    publisher.close().unwrap();
    assert_eq!(place.events(), 50);
}

/// Lines that are given before the input ends after all.
const LINES_MAX: usize = 20_000;

/// Gives good lines, one at a time, and stops the engine after the first.
struct GoesOn<'a> {
    engine: Option<Engine>,
    given: &'a AtomicUsize,
}

impl Read for GoesOn<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let given = self.given.fetch_add(1, Ordering::AcqRel);
        if given == 1 {
            self.engine.take().unwrap().stop().unwrap();
        }
        if given == LINES_MAX {
            return Ok(0);
        }
        std::thread::sleep(Duration::from_millis(1));
        let line = good(given);
        buffer[..line.len()].copy_from_slice(&line);
        Ok(line.len())
    }
}

/// The fault: a producer whose ledger has ended for good reads its input to the end, if it has one, and refuses every line.
#[test]
fn no_more_is_read_once_the_recording_has_stopped() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    let given = AtomicUsize::new(0);
    let input = GoesOn {
        engine: Some(engine),
        given: &given,
    };
    let outcome = publisher.record_lines(input, &|_| ());
    assert!(matches!(outcome, Err(PublishError::Stopped { .. })));
    assert!(given.load(Ordering::Acquire) < LINES_MAX);
}

/// The fault: progress that runs backwards, or ends on another sum than the summary.
#[test]
fn progress_adds_up_to_the_summary() {
    let place = TestLedger::new(1);
    let engine = place.start();
    let publisher = publisher(&engine);
    let input: Vec<u8> = (0..5_000).flat_map(good).collect();
    let seen: Mutex<Vec<RecordProgress>> = Mutex::default();
    let summary = publisher
        .record_lines(&input[..], &|now| seen.lock().unwrap().push(*now))
        .unwrap();
    let seen = seen.into_inner().unwrap();
    let rises = |of: fn(&RecordProgress) -> u64| seen.is_sorted_by_key(of);
    assert!(rises(|now| now.sealed) && rises(|now| now.lines) && rises(|now| now.bytes_read));
    let last = seen.last().unwrap();
    assert_eq!(
        (last.lines, last.sealed, last.skipped, last.refused),
        (summary.lines, summary.recorded, 0, 0)
    );
    assert_eq!((last.bytes_read, last.accepted), (input.len() as u64, 5_000));
}
