//! A `PostgreSQL` server of its own in a temporary folder, reached by a socket there.
//!
//! In scope: finding the newest server's programs, starting and ending it, asking. Out of scope: what is measured with it.
//! Trust: it listens on no network.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

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

/// The folder of the newest server's programs.
pub(crate) fn find() -> Option<PathBuf> {
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

/// A running server.
pub(crate) struct Server {
    pub(crate) programs: PathBuf,
    child: Child,
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start(programs: PathBuf) -> Result<Self> {
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

    pub(crate) fn psql(&self) -> Command {
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

    pub(crate) fn ask(&self, question: &str) -> Result<String> {
        let output = self.psql().args(["--command", question]).output()?;
        ensure!(
            output.status.success(),
            "psql: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The folder goes away with it: nothing in it has to be whole.
        let _ = self.child.kill();
        let _ = self.child.wait();
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
