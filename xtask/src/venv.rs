//! Programs that come as Python packages: each in a virtual environment of its own under `target/xtask/`.
//!
//! In scope: finding a Python, making the environment, finding it complete the next time. Out of scope: what the packages
//! do. Trust: a package's version is pinned, its own dependencies are not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::step;

/// A virtual environment with one package.
#[derive(Clone, Copy)]
pub(crate) struct Venv {
    /// Its name under `target/xtask/`.
    pub(crate) folder: &'static str,
    /// The package with its version, as pip takes it.
    pub(crate) package: &'static str,
    /// Another that is wanted for a file in it alone, without what it depends on.
    pub(crate) file_of: Option<&'static str>,
    /// The oldest Python that will do.
    pub(crate) python: (u8, u8),
}

impl Venv {
    /// Makes the environment, or finds it complete, and gives its folder. `probe`: a command that succeeds where the
    /// package works. An environment whose making was interrupted lacks the stamp and is made anew.
    pub(crate) fn make(&self, probe: impl Fn(&Path) -> Command) -> anyhow::Result<PathBuf> {
        let folder = step::root().join("target/xtask").join(self.folder);
        let stamp = folder.join("complete");
        let wanted = format!("{} {}", self.package, self.file_of.unwrap_or_default());
        let stamped = fs::read_to_string(&stamp).is_ok_and(|text| text == wanted);
        if stamped && step::quiet(&mut probe(&folder)).is_ok() {
            return Ok(folder);
        }
        let (major, minor) = self.python;
        let base = find_python(self.python).with_context(|| {
            format!("no Python of version {major}.{minor} or later, with venv, was found")
        })?;
        eprintln!("making {} with {}", folder.display(), base.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
        step::quiet(Command::new(base).args(["-m", "venv"]).arg(&folder)).context("python -m venv failed")?;
        install(&folder, &[self.package]).context("pip install failed")?;
        if let Some(package) = self.file_of {
            install(&folder, &["--no-deps", package]).context("pip install failed")?;
        }
        step::quiet(&mut probe(&folder)).with_context(|| format!("{} does not work here", self.package))?;
        fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))?;
        Ok(folder)
    }
}

fn install(folder: &Path, what: &[&str]) -> anyhow::Result<()> {
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        // Most of what comes is never imported.
        "--no-compile",
        "--retries",
        "1",
        "--timeout",
        "20",
    ];
    step::quiet(Command::new(python(folder)).args(install).args(what))
}

/// The Python of an environment.
pub(crate) fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}

/// The first Python that is new enough and can make a virtual environment.
fn find_python((major, minor): (u8, u8)) -> Option<PathBuf> {
    let probe = format!("import sys, venv, ensurepip; sys.exit(sys.version_info < ({major}, {minor}))");
    candidates()
        .into_iter()
        .find(|python| step::quiet(Command::new(python).args(["-c", &probe])).is_ok())
}

/// Pythons by name on the path, then those that pyenv keeps.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::from(["python3.14", "python3.13", "python3.12", "python3"].map(PathBuf::from));
    let versions = env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv/versions"));
    if let Some(entries) = versions.and_then(|folder| fs::read_dir(folder).ok()) {
        found.extend(
            entries
                .flatten()
                .map(|entry| entry.path().join("bin/python3"))
                .filter(|path| path.is_file()),
        );
    }
    found
}
