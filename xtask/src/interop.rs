//! Brings the independent verifier: a Python package that knows the C2SP formats and shares no code with us.
//!
//! In scope: the package, and showing that the verifier finds faults at all. Out of scope: how it is installed
//! ([`crate::venv`]), and what it verifies (see `tests/interop/check_tlog.py`). Trust: as [`crate::venv`].

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::step;
use crate::tally::Tally;
use crate::venv::{self, Venv};

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
        None => make(),
    }
}

fn make() -> anyhow::Result<PathBuf> {
    let venv = Venv {
        folder: "venv",
        package: PACKAGE,
        file_of: None,
        python: (3, 12),
    };
    let folder = venv.make(|folder| {
        let mut command = Command::new(venv::python(folder));
        command.args(["-c", "import aics_tlog"]);
        command
    })?;
    Ok(venv::python(&folder))
}
