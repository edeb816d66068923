//! The same contents in an append-only audit table of `PostgreSQL`, with a hash chain and an index on the customer.
//!
//! In scope: a server of its own in a temporary folder, reached by a socket there; 1,000 rows a transaction, each
//! transaction on the disk before the next begins on its connection; rows by `COPY` and by one `INSERT` of many rows, over
//! one connection and over four. A chain has one writer, so four connections make four chains: the two are told apart.
//! Out of scope: rights, replication.
//!
//! The client is `psql`, fed through a pipe: it comes with the server, costs no dependency, and adds next to nothing to
//! the server's own work.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sharetrail_proof::hash::Hash;

use crate::database::{Server, find};
use crate::results::{Results, Row};
use crate::run::{Limits, Meter, progress, ratio};

const ROWS: usize = 1_000;
const CONNECTIONS: [usize; 2] = [1, 4];

const TABLE: &str = "SET client_min_messages = warning;
DROP TABLE IF EXISTS audit;
CREATE TABLE audit (id bigserial PRIMARY KEY, customer text NOT NULL, at timestamptz NOT NULL, content text NOT NULL,
    prev_hash bytea NOT NULL, hash bytea NOT NULL);
CREATE INDEX audit_customer ON audit (customer);
CHECKPOINT;
";

/// How rows are handed over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Copy,
    Insert,
}

struct Record {
    customer: String,
    at: String,
    content: String,
}

/// Measures every way, if `PostgreSQL` can be had.
pub(crate) fn measure(contents: &[Vec<u8>], limits: Limits, results: &mut Results) -> Result<()> {
    let Some(programs) = find() else {
        results.missing("cannot bring: PostgreSQL (apt-get install postgresql)".to_owned());
        return Ok(());
    };
    let records: Result<Vec<Record>> = contents.iter().map(|content| record(content)).collect();
    progress("PostgreSQL");
    let (records, server) = (records?, Measured(Server::start(programs)?));
    for way in [Way::Copy, Way::Insert] {
        for connections in CONNECTIONS {
            let row = server.run(&records, way, connections, limits)?;
            results.postgres(connections, row.per_second);
            results.push(row);
        }
    }
    Ok(())
}

fn record(content: &[u8]) -> Result<Record> {
    let parsed: Value = serde_json::from_slice(content)?;
    Ok(Record {
        customer: sharetrail_schemas::read(content)?.customer().to_owned(),
        at: parsed["time"].as_str().context("an event has a time")?.to_owned(),
        content: String::from_utf8(content.to_vec())?,
    })
}

/// What is measured of a server.
struct Measured(Server);

impl Measured {
    /// Fills a new table until the time is up.
    fn run(&self, records: &[Record], way: Way, connections: usize, limits: Limits) -> Result<Row> {
        let mut psql = self.0.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = psql.spawn().context("starting psql")?;
        child
            .stdin
            .take()
            .context("psql takes input")?
            .write_all(TABLE.as_bytes())?;
        ensure!(child.wait()?.success(), "psql cannot make the table");
        let (meter, began) = (Meter::start(Vec::new()), Instant::now());
        let events = thread::scope(|scope| {
            let writers: Vec<_> = (0..connections)
                .map(|_| scope.spawn(|| self.write(records, way, began, limits.time)))
                .collect();
            let mut events = 0;
            for writer in writers {
                events += writer
                    .join()
                    .map_err(|_| anyhow::anyhow!("a writer panicked"))??;
            }
            anyhow::Ok(events)
        })?;
        let seconds = began.elapsed().as_secs_f64();
        let name = if way == Way::Copy { "COPY" } else { "INSERT" };
        let mut row = Row::new(&format!("PostgreSQL, {name}, {connections} connection(s)"));
        row.batch = Some(ROWS);
        row.per_second = ratio(events, seconds);
        meter.read(events, &mut row);
        let answer = self
            .0
            .ask("SELECT count(*), pg_total_relation_size('audit') FROM audit")?;
        let (count, bytes) = answer.trim().split_once('|').context("two numbers")?;
        ensure!(
            count.parse() == Ok(events),
            "{events} rows were sent, and {count} are there"
        );
        row.disk_bytes = Some(ratio(bytes.parse()?, ratio(events.max(1), 1.0)));
        "fsync on; disk: table and indexes, without the write-ahead log".clone_into(&mut row.note);
        Ok(row)
    }

    /// One connection with a chain of its own.
    fn write(&self, records: &[Record], way: Way, began: Instant, time: Duration) -> Result<u64> {
        let mut psql = self.0.psql();
        psql.stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = psql.spawn().context("starting psql")?;
        let mut input = child.stdin.take().context("psql takes input")?;
        let (mut text, mut prev, mut events) = (String::new(), Hash([0; 32]), 0);
        for chunk in records.chunks(ROWS).cycle() {
            if began.elapsed() >= time {
                break;
            }
            text.clear();
            transaction(&mut text, chunk, way, &mut prev).expect("a string takes any text");
            input.write_all(text.as_bytes()).context("psql has ended")?;
            events += chunk.len() as u64;
        }
        drop(input);
        let status = child.wait()?;
        ensure!(status.success(), "psql ended with {status}");
        Ok(events)
    }
}

/// The text of one transaction: a single statement is one.
fn transaction(text: &mut String, records: &[Record], way: Way, prev: &mut Hash) -> std::fmt::Result {
    let columns = "audit (customer, at, content, prev_hash, hash)";
    match way {
        Way::Copy => writeln!(text, "COPY {columns} FROM STDIN;")?,
        Way::Insert => write!(text, "INSERT INTO {columns} VALUES ")?,
    }
    for (
        place,
        Record {
            customer,
            at,
            content,
        },
    ) in records.iter().enumerate()
    {
        let hash = Hash::of(&[
            &prev.0[..],
            customer.as_bytes(),
            at.as_bytes(),
            content.as_bytes(),
        ]);
        match way {
            Way::Copy => {
                escape(text, customer, '\\', "\\\\");
                write!(text, "\t{at}\t")?;
                escape(text, content, '\\', "\\\\");
                text.push_str("\t\\\\x");
                hex(text, &prev.0);
                text.push_str("\t\\\\x");
                hex(text, &hash.0);
                text.push('\n');
            }
            Way::Insert => {
                text.push_str(if place == 0 { "('" } else { ",\n('" });
                escape(text, customer, '\'', "''");
                write!(text, "', '{at}', '")?;
                escape(text, content, '\'', "''");
                text.push_str("', '\\x");
                hex(text, &prev.0);
                text.push_str("', '\\x");
                hex(text, &hash.0);
                text.push_str("')");
            }
        }
        *prev = hash;
    }
    text.push_str(if way == Way::Copy { "\\.\n" } else { ";\n" });
    Ok(())
}

/// Adds `value` with each `special` written as `instead`. JSON on one line holds no tab or line end.
fn escape(text: &mut String, value: &str, special: char, instead: &str) {
    for (place, part) in value.split(special).enumerate() {
        if place > 0 {
            text.push_str(instead);
        }
        text.push_str(part);
    }
}

fn hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}
