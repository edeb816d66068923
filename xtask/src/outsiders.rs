//! Brings what looks at the server from outside: a real browser with its driver, a fuzzer of HTTP APIs, and Node.
//!
//! In scope: finding Chromium and Node, the Python packages that steer it and that hold the rules of accessibility (axe-core), the
//! fuzzer. Out of scope: what they look at (`tests/browser.rs`, `tests/api.rs`). Trust: as [`crate::venv`]; the browser is
//! the machine's own, and is never installed from here.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use anyhow::bail;

use crate::step;
use crate::tally::Tally;
use crate::venv::{self, Venv};

/// Tells the tests which Python steers the browser.
pub(crate) const BROWSER_VARIABLE: &str = "SHARETRAIL_BROWSER_PYTHON";

/// Stands in the name of every test that needs the browser.
pub(crate) const BROWSER_TEST_NAME: &str = "chromium";

/// Tells the tests which Python has the fuzzer.
pub(crate) const FUZZER_VARIABLE: &str = "SHARETRAIL_SCHEMATHESIS_PYTHON";

/// Stands in the name of every test that needs the fuzzer.
pub(crate) const FUZZER_TEST_NAME: &str = "schemathesis";

/// Tells the tests where Node is.
pub(crate) const NODE_VARIABLE: &str = "SHARETRAIL_NODE";

/// Stands in the name of every test that needs Node.
pub(crate) const NODE_TEST_NAME: &str = "in_node";

/// Tells the tests where curl is.
pub(crate) const CURL_VARIABLE: &str = "SHARETRAIL_CURL";

/// Stands in the name of every test that needs curl.
pub(crate) const CURL_TEST_NAME: &str = "with_curl";

const BROWSER: Venv = Venv {
    folder: "browser",
    package: "selenium==4.51.0",
    // Its only use is the file axe.min.js; what it depends on is another way to steer a browser.
    file_of: Some("axe-playwright-python==0.1.8"),
    python: (3, 10),
};

const FUZZER: Venv = Venv {
    folder: "schemathesis",
    package: "schemathesis==4.32.5",
    file_of: None,
    python: (3, 10),
};

/// The Python that steers the browser, or nothing if browser or package cannot be had.
pub(crate) fn bring_browser(tally: &mut Tally) -> Option<PathBuf> {
    step::announce("browser (Chromium, selenium, axe-core)");
    found(tally, "the browser's tests", BROWSER_VARIABLE, || {
        for program in ["chromium", "chromedriver"] {
            if step::quiet(Command::new(program).arg("--version")).is_err() {
                bail!("there is no {program} here (Debian: apt install chromium chromium-driver)");
            }
        }
        made(BROWSER, "import selenium")
    })
}

/// The Python that has the fuzzer, or nothing if it cannot be had.
pub(crate) fn bring_fuzzer(tally: &mut Tally) -> Option<PathBuf> {
    step::announce("fuzzer of HTTP APIs (schemathesis)");
    found(tally, FUZZER.package, FUZZER_VARIABLE, || {
        made(FUZZER, "import schemathesis")
    })
}

/// Node, which runs the browser's verifier without a browser, or nothing if it is not here.
pub(crate) fn bring_node(tally: &mut Tally) -> Option<PathBuf> {
    found(
        tally,
        "Node, for the browser's verifier on its own",
        NODE_VARIABLE,
        || {
            let has_what_it_takes = "process.exit(globalThis.crypto?.subtle ? 0 : 1)";
            if step::quiet(Command::new("node").args(["-e", has_what_it_takes])).is_err() {
                bail!("there is no node of version 20 or later here (Debian: apt install nodejs)");
            }
            Ok("node".into())
        },
    )
}

/// curl, with which the README walks through the API, or nothing if it is not here.
pub(crate) fn bring_curl(tally: &mut Tally) -> Option<PathBuf> {
    found(tally, "curl, for the README's walk", CURL_VARIABLE, || {
        if step::quiet(Command::new("curl").arg("--version")).is_err() {
            bail!("there is no curl here (Debian: apt install curl)");
        }
        Ok("curl".into())
    })
}

fn found(
    tally: &mut Tally,
    what: &str,
    variable: &str,
    make: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> Option<PathBuf> {
    match env::var_os(variable).map_or_else(make, |given| Ok(given.into())) {
        Ok(python) => Some(python),
        Err(error) => {
            tally.skip(format!("cannot bring: {what}: {error:#}"));
            None
        }
    }
}

fn made(venv: Venv, probe: &'static str) -> anyhow::Result<PathBuf> {
    let folder = venv.make(|folder| {
        let mut command = Command::new(venv::python(folder));
        command.args(["-c", probe]);
        command
    })?;
    Ok(venv::python(&folder))
}
