//! Brings the independent verifier: a Python package that knows the C2SP formats and shares no code with us.
//!
//! In scope: finding a Python, a virtual environment under `target/`, and showing that the verifier finds faults
//! at all. Out of scope: what it verifies (see `tests/interop/check_tlog.py`). Trust: the package's version is
//! pinned, its own dependencies are not.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::step;
use crate::tally::Tally;

/// Tells the tests which Python has the package.
pub(crate) const PYTHON_VARIABLE: &str = "SHARETRAIL_TLOG_PYTHON";

/// Stands in the name of every test that needs the package, so that those can be left out where it cannot be had.
pub(crate) const TEST_NAME: &str = "aics_tlog";

const PACKAGE: &str = "aics-tlog==0.2.1";

/// The Python that has the package, or nothing if it cannot be had. The verifier's test of itself counts as a step.
pub(crate) fn bring(tally: &mut Tally) -> Option<PathBuf> {
    step::announce("independent verifier (Python)");
    let python = match given_or_made() {
        Ok(python) => python,
        Err(error) => {
            tally.skip(format!(
                "cannot bring: the independent verifier {PACKAGE}: {error:#}"
            ));
            return None;
        }
    };
    let mut command = Command::new(&python);
    command
        .current_dir(step::root())
        .args(["tests/interop/check_tlog.py", "--self-test"]);
    step::run("check_tlog.py --self-test", &mut command, tally);
    Some(python)
}

fn given_or_made() -> anyhow::Result<PathBuf> {
    match env::var_os(PYTHON_VARIABLE) {
        Some(given) => Ok(given.into()),
        None => make(&step::root().join("target/xtask/venv")),
    }
}

/// Makes the virtual environment, or finds it complete. One whose making was interrupted lacks the stamp and is
/// made anew.
fn make(folder: &Path) -> anyhow::Result<PathBuf> {
    let python = folder.join("bin/python");
    let stamp = folder.join("complete");
    let stamped = fs::read_to_string(&stamp).is_ok_and(|text| text == PACKAGE);
    if stamped && step::quiet(Command::new(&python).args(["-c", "import aics_tlog"])).is_ok() {
        return Ok(python);
    }
    let base = find_python().context("no Python of version 3.12 or later, with venv, was found")?;
    println!("making {} with {}", folder.display(), base.display());
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    step::quiet(Command::new(base).args(["-m", "venv"]).arg(folder)).context("python -m venv failed")?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--retries",
        "1",
    ];
    step::quiet(
        Command::new(&python)
            .args(install)
            .args(["--timeout", "20", PACKAGE]),
    )
    .context("pip install failed")?;
    fs::write(&stamp, PACKAGE).with_context(|| format!("cannot write {}", stamp.display()))?;
    Ok(python)
}

/// The first Python that is new enough and can make a virtual environment.
fn find_python() -> Option<PathBuf> {
    let probe = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))";
    candidates()
        .into_iter()
        .find(|python| step::quiet(Command::new(python).args(["-c", probe])).is_ok())
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
