//! A process of the program whose output goes to files, so that it can be looked at while it runs and after its end.
//!
//! In scope: starting, feeding, signals, waiting with an end to patience. Out of scope: what it is told to do. Ends only
//! processes that it started.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Run;

/// How long something may take to come to be so.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// How long a process may run: it may wait for a bus that is away, more than once.
const RUN: Duration = Duration::from_mins(4);
const TICK: Duration = Duration::from_millis(25);
/// Lines of a log that a panic tells.
const TAIL: usize = 30;

static STARTED: AtomicU32 = AtomicU32::new(0);

/// A number that nothing else of this test program has.
pub(crate) fn unique() -> u32 {
    STARTED.fetch_add(1, Ordering::Relaxed)
}

/// A running process, killed when it goes out of scope.
pub(crate) struct Process {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts it without an input.
    pub(crate) fn start(name: &str, command: &mut Command, logs: &Path) -> Self {
        Self::start_with(name, command.stdin(Stdio::null()), logs)
    }

    /// Starts it with an input that [`Process::feed`] writes to.
    pub(crate) fn start_fed(name: &str, command: &mut Command, logs: &Path) -> Self {
        Self::start_with(name, command.stdin(Stdio::piped()), logs)
    }

    fn start_with(name: &str, command: &mut Command, logs: &Path) -> Self {
        let place = |kind: &str| logs.join(format!("{name}-{}.{kind}", unique()));
        let (out, err) = (place("out"), place("err"));
        let file = |path: &Path| File::create(path).expect("a log can be made");
        let child = command.stdout(file(&out)).stderr(file(&err)).spawn();
        Self {
            name: name.to_owned(),
            child: child.expect("the program starts"),
            out,
            err,
        }
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.out)
    }

    pub(crate) fn stderr(&self) -> String {
        read(&self.err)
    }

    /// The last it said, for whoever wonders why something is not so.
    pub(crate) fn tail(&self) -> String {
        let (out, err) = (self.stdout(), self.stderr());
        let lines: Vec<&str> = out.lines().chain(err.lines()).collect();
        let end = &lines[lines.len().saturating_sub(TAIL)..];
        format!("{} says:\n{}\n", self.name, end.join("\n"))
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_some()
    }

    /// Writes to its input.
    #[track_caller]
    pub(crate) fn feed(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("its input is a pipe");
        let fed = input.write_all(text.as_bytes());
        assert!(fed.is_ok(), "it does not read on; {}", self.tail());
    }

    /// Freezes it (SIGSTOP).
    pub(crate) fn pause(&mut self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub(crate) fn resume(&mut self) {
        self.signal("CONT");
    }

    /// It cannot have become somebody else's number: its end was not waited for.
    #[track_caller]
    fn signal(&mut self, signal: &str) {
        assert!(!self.has_ended(), "it has ended; {}", self.tail());
        let script = format!("kill -{signal} {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &script]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{script} is refused");
    }

    /// Ends it as a crash does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("its end can be waited for");
    }

    /// Ends it as an operator does (SIGTERM).
    #[track_caller]
    pub(crate) fn stop(mut self) -> Run {
        self.signal("TERM");
        self.wait()
    }

    /// Closes its input and waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Run {
        drop(self.child.stdin.take());
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked for") {
                return Run {
                    code: status.code(),
                    stdout: self.stdout(),
                    stderr: self.stderr(),
                };
            }
            assert!(began.elapsed() < RUN, "it does not end; {}", self.tail());
            thread::sleep(TICK / 5);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; nobody is left to be told.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until there is an answer. `told`: what the panic says of whoever should have brought it about.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, told: impl Fn() -> String, mut answer: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "it never came to be so: {what}\n{}",
            told()
        );
        thread::sleep(TICK);
    }
}
