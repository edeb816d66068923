//! Runs the program as its users do: a process of its own, folders of its own, nothing but what it printed.
//!
//! In scope: folders that go away, arguments, exit codes, JSON. Out of scope: what a run must answer; the tests say
//! that. Nothing here asks the libraries, so that a fault of theirs cannot hide itself.

#![allow(dead_code, reason = "each test program uses a part of this module")]

pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod loyalty;
pub(crate) mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use self::loyalty::{Event, lines};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_sharetrail");

/// The name of every ledger here, and of its first producer.
pub(crate) const LEDGER: &str = "shop.example";

/// How long anything here may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_mins(1);

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// What was answered.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The one error that was told, in one line; what was healed may be told beside it.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        let told: Vec<&str> = self
            .stderr
            .lines()
            .filter(|line| !line.starts_with("note: "))
            .collect();
        assert_eq!(told.len(), 1, "{self:#?}");
        let error: Value = serde_json::from_str(told[0]).unwrap_or_else(|error| panic!("{error}: {self:#?}"));
        error["error"].as_str().expect("an error is a text").to_owned()
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Run {
    Run::of(&command.output().expect("the command starts"))
}

/// The program in `folder`, with JSON for answers and without any ledger.
pub(crate) fn bare(folder: &Path) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .arg("--json")
        .current_dir(folder)
        .env_remove("SHARETRAIL_LEDGER")
        .env_remove("SHARETRAIL_HOME")
        .stdin(Stdio::null());
    command
}

/// The path as an argument.
pub(crate) fn text_of(path: &Path) -> String {
    path.to_str()
        .expect("temporary folders have names in UTF-8")
        .to_owned()
}

/// Folders for one ledger and all that belongs to it; they go away with this.
pub(crate) struct World {
    folder: TempDir,
}

impl World {
    /// Without a ledger.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for name in ["home", "tmp", "work"] {
            fs::create_dir(folder.path().join(name)).expect("a folder can be made");
        }
        Self { folder }
    }

    /// With a new ledger.
    pub(crate) fn with_ledger(shards: u32) -> Self {
        let world = Self::new();
        world.init(shards);
        world
    }

    /// Makes the ledger.
    pub(crate) fn init(&self, shards: u32) -> Value {
        let made = self.run(&["init", LEDGER, "--shards", &shards.to_string()]);
        made.exits(0).json()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.path("ledger")
    }

    /// The program with this ledger, in a folder that is empty at first.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.path("work"))
            .env("SHARETRAIL_HOME", self.path("home"))
            .env("SHARETRAIL_LEDGER", self.ledger())
            .env("TMPDIR", self.path("tmp"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program as a machine does.
    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(self.command().arg("--json").args(arguments))
    }

    /// Runs the program as a person does.
    pub(crate) fn text(&self, arguments: &[&str]) -> Run {
        run(self.command().args(arguments))
    }

    /// Starts `record -`; whoever holds the child feeds it.
    pub(crate) fn recorder(&self) -> Child {
        let mut command = self.command();
        command.args(["--json", "record", "-"]).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("the program starts");
        self.wait_until(|| {
            let holder = fs::read_to_string(self.ledger().join("lock")).unwrap_or_default();
            holder.trim() == child.id().to_string()
        });
        child
    }

    /// Waits until something is so.
    #[track_caller]
    pub(crate) fn wait_until(&self, is_so: impl Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            let place = self.folder.path().display();
            assert!(started.elapsed() < PATIENCE, "it never came to be so, in {place}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Writes a file beside the ledger; its path as an argument.
    pub(crate) fn write(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file can be written");
        text_of(&path)
    }

    /// Runs `record` with a file of these events.
    pub(crate) fn record(&self, events: &[Event]) -> Run {
        let file = self.write("events.jsonl", lines(events).as_bytes());
        self.run(&["record", &file])
    }

    pub(crate) fn status(&self) -> Value {
        self.run(&["status"]).exits(0).json()
    }

    pub(crate) fn trail(&self, customer: &str) -> Value {
        self.run(&["trail", customer]).exits(0).json()
    }

    /// Asserts that these events are on record, each once, and no others of their customers.
    #[track_caller]
    pub(crate) fn holds_each_once(&self, events: &[Event]) {
        assert_eq!(self.status()["events"], events.len());
        let mut expected: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for event in events {
            let name = (event.source.clone(), event.id.clone());
            expected.entry(&event.customer).or_default().push(name);
        }
        for (customer, mut names) in expected {
            let trail = self.trail(customer);
            let mut found: Vec<(String, String)> = list(&trail["events"]).iter().map(name_of).collect();
            names.sort_unstable();
            found.sort_unstable();
            assert_eq!(found, names, "{customer}");
            assert!(list(&trail["unopened"]).is_empty(), "{customer}");
        }
    }
}

/// Source and id of an event in a trail.
fn name_of(event: &Value) -> (String, String) {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&event["source"]), text(&event["id"]))
}

/// The elements of a list.
#[track_caller]
pub(crate) fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("expected a list, found {value}"))
}
