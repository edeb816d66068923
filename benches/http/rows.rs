//! The same rows out of `PostgreSQL`, over plain SQL.
//!
//! In scope: a table of the same contents with an index on customer and time, asked by `pgbench` at the same rate with a
//! prepared statement, over as many connections. Out of scope: proving anything; HTTP; deciding who may ask.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::Row;
use crate::database::Server;
use crate::ground::{EVENTS, Ground, content, name};

const TABLE: &str = "CREATE TABLE trail (customer text NOT NULL, at timestamptz NOT NULL, content text NOT NULL);\n\
    COPY trail FROM STDIN;\n";
const INDEX: &str = "CREATE INDEX trail_customer ON trail (customer, at); VACUUM ANALYZE trail";
const CLIENTS: u32 = 32;

/// Fills the table and asks.
pub(crate) fn measure(programs: PathBuf, ground: &Ground, rate: u32, time: Duration) -> Result<Row> {
    eprintln!("PostgreSQL");
    let pgbench = programs.join("pgbench");
    let pgbench = if pgbench.is_file() {
        pgbench
    } else {
        PathBuf::from("pgbench")
    };
    let server = Server::start(programs)?;
    fill(&server, ground)?;
    server.ask("SELECT 1")?;
    for statement in INDEX.split("; ") {
        server.ask(statement)?;
    }
    let folder = tempfile::tempdir()?;
    let script = format!(
        "\\set number random(0, {})\nSELECT at, content FROM trail WHERE customer = 'customer-' || :number ORDER BY at DESC \
         LIMIT {EVENTS};\n",
        ground.customers - 1
    );
    fs::write(folder.path().join("script"), script)?;
    let done = Command::new(pgbench)
        .args([
            "--username=bench",
            "--no-vacuum",
            "--protocol=prepared",
            "--log",
            "--jobs=2",
        ])
        .arg(format!("--host={}", server.folder.path().display()))
        .arg(format!("--client={CLIENTS}"))
        .arg(format!("--rate={rate}"))
        .arg(format!("--time={}", time.as_secs()))
        .args(["--file", "script", "postgres"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .context("starting pgbench")?;
    ensure!(
        done.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    row(folder.path(), time)
}

fn fill(server: &Server, ground: &Ground) -> Result<()> {
    let mut child = server
        .psql()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut input = child.stdin.take().context("psql takes input")?;
    input.write_all(TABLE.as_bytes())?;
    let mut text = String::new();
    for number in 0..ground.customers * EVENTS {
        let event = content(number, ground.customers);
        let at = event["time"].as_str().context("an event has a time")?;
        let json = event.to_string().replace('\\', "\\\\");
        writeln!(text, "{}\t{at}\t{json}", name(number % ground.customers))?;
        if text.len() > 1 << 20 {
            input.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    input.write_all(text.as_bytes())?;
    input.write_all(b"\\.\n")?;
    drop(input);
    ensure!(child.wait()?.success(), "psql cannot fill the table");
    Ok(())
}

/// Out of pgbench's log: client, number, latency in microseconds, script, time, microseconds of it, lag.
fn row(folder: &std::path::Path, time: Duration) -> Result<Row> {
    let mut micros: Vec<u64> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.to_string_lossy().contains("pgbench_log") {
            continue;
        }
        for line in fs::read_to_string(path)?.lines() {
            let latency = line.split(' ').nth(2).context("a line has a latency")?;
            micros.push(latency.parse()?);
        }
    }
    ensure!(!micros.is_empty(), "pgbench logged nothing");
    micros.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let ms = |at: usize| micros.get(at).map(|micros| *micros as f64 / 1_000.0);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_second = micros.len() as f64 / time.as_secs_f64();
    Ok(Row {
        what: "PostgreSQL, the same rows".to_owned(),
        per_second,
        p50_ms: ms(micros.len() / 2),
        p99_ms: ms(micros.len() * 99 / 100),
        note: "over a local socket, prepared, without HTTP, rights or proof".to_owned(),
    })
}
