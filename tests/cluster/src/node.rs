//! One nats-server process.
//!
//! In scope: starting, signals, waiting for its end, its log, the processor time it used. Out of scope: its configuration
//! ([`crate::config`]) and what it says over HTTP ([`crate::monitor`]).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::{FILE, Ports, STORE};
use crate::usage;

const LOG: &str = "log";

/// A node, running or not.
pub(crate) struct Node {
    program: PathBuf,
    home: PathBuf,
    store: PathBuf,
    ports: Ports,
    environment: Vec<(String, String)>,
    /// The process, until its end was waited for.
    child: Mutex<Option<Child>>,
    paused: AtomicBool,
    /// Processor seconds of the processes before this one.
    spent: f64,
}

impl Node {
    pub(crate) fn new(program: &Path, home: PathBuf, ports: Ports, environment: &[(String, String)]) -> Self {
        Self {
            program: program.to_owned(),
            store: home.join(STORE),
            home,
            ports,
            environment: environment.to_vec(),
            child: Mutex::new(None),
            paused: AtomicBool::new(false),
            spent: 0.0,
        }
    }

    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Everything logged so far, by all processes of this node.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(self.home.join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(crate) fn spawn(&mut self) -> io::Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.home.join(LOG))?;
        let mut command = Command::new(&self.program);
        command
            .arg("--config")
            .arg(self.home.join(FILE))
            .current_dir(&self.home)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        *self.child() = Some(command.spawn()?);
        self.paused.store(false, Ordering::Release);
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is a process that has not ended.
    pub(crate) fn runs(&self) -> bool {
        self.child()
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Whether a process was started and ended by itself.
    pub(crate) fn has_ended(&self) -> bool {
        self.child()
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Acquire)
    }

    /// Sends a signal to the process, if it has not ended. The number cannot have gone to somebody else: it is ours until
    /// its end was waited for, which needs the same lock.
    fn signal(&self, signal: Signal) -> io::Result<bool> {
        let mut child = self.child();
        let Some(child) = child.as_mut() else {
            return Ok(false);
        };
        if child.try_wait()?.is_some() {
            return Ok(false);
        }
        kill_process(Pid::from_child(child), signal)?;
        Ok(true)
    }

    fn must_run(sent: bool) -> io::Result<()> {
        if sent {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "the node does not run"))
    }

    pub(crate) fn pause(&self) -> io::Result<()> {
        self.paused.store(true, Ordering::Release);
        self.signal(Signal::STOP).and_then(Self::must_run)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT).and_then(Self::must_run)?;
        self.paused.store(false, Ordering::Release);
        Ok(())
    }

    pub(crate) fn reload(&self) -> io::Result<()> {
        self.signal(Signal::HUP).and_then(Self::must_run)
    }

    /// Kills without waiting.
    pub(crate) fn send_kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL).map(drop)
    }

    /// Kills, and waits until it is gone; nothing to do where nothing runs.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.spent += self.process_seconds();
        self.send_kill()?;
        if let Some(mut child) = self.child().take() {
            child.wait()?;
        }
        Ok(())
    }

    /// Asks it to end, and waits; one that has not ended by then is killed, which is an error.
    pub(crate) fn stop(&mut self, patience: Duration) -> io::Result<()> {
        // A paused process hears nothing.
        self.signal(Signal::CONT)?;
        self.signal(Signal::TERM)?;
        let (began, mut last) = (Instant::now(), 0.0_f64);
        while self.runs() {
            if began.elapsed() > patience {
                self.kill()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end"));
            }
            last = last.max(self.process_seconds());
            thread::sleep(Duration::from_millis(5));
        }
        drop(self.child().take());
        self.spent += last;
        Ok(())
    }

    /// Processor seconds of the process there is now.
    fn process_seconds(&self) -> f64 {
        let process = self.child().as_ref().map(Child::id);
        process.map_or(0.0, usage::cpu_seconds)
    }

    pub(crate) fn cpu_seconds(&self) -> f64 {
        self.spent + self.process_seconds()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Nobody is left to be told; a process that cannot be killed is a zombie that the system cleans up.
        let _ = self.kill();
    }
}
