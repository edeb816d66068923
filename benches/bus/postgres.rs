//! The same contents in an append-only audit table of `PostgreSQL`, with a hash chain and an index on the customer.
//!
//! In scope: a server of its own in a temporary folder, reached by a socket there; 1,000 rows a transaction, each
//! transaction on the disk before the next begins on its connection; rows by `COPY` and by one `INSERT` of many rows, over
//! one connection and over four. A chain has one writer, so four connections make four chains: the two are told apart.
//! Out of scope: rights, replication.
//!
//! The client is `psql`, fed through a pipe: it comes with the server, costs no dependency, and adds next to nothing to
//! the server's own work.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use sharetrail_proof::hash::Hash;
use tempfile::TempDir;

use crate::results::{Results, Row};
use crate::run::{Limits, Meter, progress, ratio};

const ROWS: usize = 1_000;
const CONNECTIONS: [usize; 2] = [1, 4];
const PATIENCE: Duration = Duration::from_secs(30);

const TABLE: &str = "SET client_min_messages = warning;
DROP TABLE IF EXISTS audit;
CREATE TABLE audit (id bigserial PRIMARY KEY, customer text NOT NULL, at timestamptz NOT NULL, content text NOT NULL,
    prev_hash bytea NOT NULL, hash bytea NOT NULL);
CREATE INDEX audit_customer ON audit (customer);
CHECKPOINT;
";

/// What makes it fast without giving up durability.
const SETTINGS: [&str; 12] = [
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "listen_addresses=",
    "shared_buffers=512MB",
    "wal_buffers=64MB",
    "max_wal_size=8GB",
    "checkpoint_timeout=30min",
    "wal_level=minimal",
    "max_wal_senders=0",
    "autovacuum=off",
    "jit=off",
];

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
    let (records, server) = (records?, Server::start(programs)?);
    for way in [Way::Copy, Way::Insert] {
        for connections in CONNECTIONS {
            let row = server.run(&records, way, connections, limits)?;
            results.postgres(connections, row.per_second);
            results.push(row);
        }
    }
    Ok(())
}

/// The folder of the newest server's programs.
fn find() -> Option<PathBuf> {
    let on_path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&on_path).collect();
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let mut versions: Vec<(u32, PathBuf)> = installed
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .collect();
    versions.sort_unstable();
    folders.extend(versions.into_iter().rev().map(|(_, folder)| folder));
    folders.into_iter().find(|folder| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| folder.join(name).is_file())
    })
}

fn record(content: &[u8]) -> Result<Record> {
    let parsed: Value = serde_json::from_slice(content)?;
    Ok(Record {
        customer: sharetrail_schemas::read(content)?.customer().to_owned(),
        at: parsed["time"].as_str().context("an event has a time")?.to_owned(),
        content: String::from_utf8(content.to_vec())?,
    })
}

/// A running server.
struct Server {
    programs: PathBuf,
    child: Child,
    folder: TempDir,
}

impl Server {
    fn start(programs: PathBuf) -> Result<Self> {
        progress("PostgreSQL");
        let folder = tempfile::Builder::new().prefix("sharetrail-pg-").tempdir()?;
        let data = folder.path().join("data");
        if is_root()? {
            // The server refuses to run as root.
            let given = Command::new("chown")
                .arg("nobody:nogroup")
                .arg(folder.path())
                .status()?;
            ensure!(given.success(), "chown nobody:nogroup: {given}");
        }
        let made = unprivileged(&programs.join("initdb"), folder.path())?
            .args([
                "--username=bench",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .context("starting initdb")?;
        ensure!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let mut command = unprivileged(&programs.join("postgres"), folder.path())?;
        command.arg("-D").arg(&data).arg("-k").arg(folder.path());
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let log = fs::File::create(folder.path().join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting postgres")?;
        let server = Self {
            programs,
            child,
            folder,
        };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Result<()> {
        let began = Instant::now();
        while self.ask("SELECT 1").is_err() {
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
                bail!("PostgreSQL does not answer; it says:\n{log}");
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    fn psql(&self) -> Command {
        let mut command = Command::new(self.programs.join("psql"));
        command
            .args([
                "--no-psqlrc",
                "--quiet",
                "--set=ON_ERROR_STOP=1",
                "--username=bench",
            ])
            .args(["--dbname=postgres", "--no-align", "--tuples-only"])
            .arg("--host")
            .arg(self.folder.path());
        command
    }

    fn ask(&self, question: &str) -> Result<String> {
        let output = self.psql().args(["--command", question]).output()?;
        ensure!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Fills a new table until the time is up.
    fn run(&self, records: &[Record], way: Way, connections: usize, limits: Limits) -> Result<Row> {
        let mut psql = self.psql();
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
        let answer = self.ask("SELECT count(*), pg_total_relation_size('audit') FROM audit")?;
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
        let mut psql = self.psql();
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

impl Drop for Server {
    fn drop(&mut self) {
        // The folder goes away with it: nothing in it has to be whole.
        let _ = self.child.kill();
        let _ = self.child.wait();
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

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self").context("reading /proc")?.uid() == 0)
}

/// The program as somebody who is not root, in a folder that is theirs.
fn unprivileged(program: &Path, folder: &Path) -> Result<Command> {
    let mut command = if is_root()? {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(folder);
    Ok(command)
}
