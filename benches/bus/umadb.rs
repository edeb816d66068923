//! The same contents in `UmaDB`, an event store with an index over tags.
//!
//! In scope: its own server and its own client, 1,000 events an append, each with its customer as a tag; default
//! settings and those that its documentation offers for speed, over one thread and over four; the best counts. Out of
//! scope: its conditions, which cost it more. The client is the one that it ships for Python (`umadb_append.py`), which is
//! Rust inside; events are made before the clock starts.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::results::{Results, Row};
use crate::run::{Limits, Meter, progress};

/// Names the Python that has the package.
const VARIABLE: &str = "SHARETRAIL_UMADB_PYTHON";

const APPEND: usize = 1_000;
const THREADS: [usize; 2] = [1, 4];
const PATIENCE: Duration = Duration::from_secs(30);

/// Names and arguments of the settings.
const SETTINGS: [(&str, &[&str]); 3] = [
    ("default", &[]),
    ("pipelined", &["--pipelined-writer", "true"]),
    (
        "cached",
        &[
            "--read-method",
            "mmap",
            "--page-cache-max-mb",
            "512",
            "--zero-fill-pages",
            "false",
        ],
    ),
];

/// Measures every setting, if `UmaDB` can be had.
pub(crate) fn measure(contents: &[Vec<u8>], limits: Limits, results: &mut Results) -> Result<()> {
    let Some(python) = env::var_os(VARIABLE).filter(|python| !python.is_empty()) else {
        results.missing(format!(
            "cannot bring: UmaDB ({VARIABLE} does not name a Python with the package umadb)"
        ));
        return Ok(());
    };
    let home = tempfile::tempdir()?;
    let input = home.path().join("contents.jsonl");
    fs::write(&input, contents.join(&b'\n'))?;
    for (number, (name, arguments)) in SETTINGS.into_iter().enumerate() {
        for threads in THREADS {
            progress(&format!("UmaDB, {name}, {threads} thread(s)"));
            let folder = home.path().join(format!("{number}-{threads}"));
            fs::create_dir(&folder)?;
            let server = Server::start(&python, &folder, arguments)?;
            let meter = Meter::start(vec![folder.as_path()]);
            let (events, per_second) = append(&python, &server.url, &input, threads, limits)?;
            let mut row = Row::new(&format!("UmaDB, {name}, {threads} thread(s)"));
            row.batch = Some(APPEND);
            row.per_second = per_second;
            meter.read(events, &mut row);
            "its file grows in steps of many megabytes".clone_into(&mut row.note);
            results.umadb(per_second);
            results.push(row);
        }
    }
    Ok(())
}

/// Runs the client: how many events, and how many a second.
fn append(python: &OsStr, url: &str, input: &Path, threads: usize, limits: Limits) -> Result<(u64, f64)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bus/umadb_append.py");
    let output = Command::new(python)
        .arg(script)
        .arg(url)
        .arg(input)
        .args(["--threads", &threads.to_string()])
        .args(["--batch", &APPEND.to_string()])
        .args(["--seconds", &limits.time.as_secs_f64().to_string()])
        .stderr(Stdio::inherit())
        .output()
        .context("starting UmaDB's client")?;
    ensure!(
        output.status.success(),
        "UmaDB's client ended with {}",
        output.status
    );
    let answer: Value = serde_json::from_slice(&output.stdout).context("reading what UmaDB's client says")?;
    let events = answer["events"].as_u64().context("a number of events")?;
    let per_second = answer["per_second"].as_f64().context("a speed")?;
    Ok((events, per_second))
}

/// A running server.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(python: &OsStr, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = fs::File::create(folder.join("log"))?;
        let start = "import umadb.umadb_server_cli as server; server.main()";
        let child = Command::new(python)
            .args(["-c", start, "--listen", &format!("127.0.0.1:{port}"), "--db-path"])
            .arg(folder.join("uma.db"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting UmaDB")?;
        let server = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if began.elapsed() > PATIENCE {
                let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
                bail!("UmaDB does not answer; it says:\n{log}");
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder goes away with it: nothing in it has to be whole.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
