//! `cargo xtask test`: which checks there are, and in which order.
//!
//! In scope: formatter, linter, tests, what those need, dependencies. Out of scope: how a step is run (see
//! [`crate::step`]) and counted (see [`crate::tally`]). Trust: believes cargo's exit codes and its test summaries.

use std::env;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use crate::interop;
use crate::nats;
use crate::outsiders;
use crate::step;
use crate::tally::{Summary, Tally};

/// Set for the tests when slow ones are to be left out.
const QUICK_VARIABLE: &str = "SHARETRAIL_QUICK";

/// How many tests of a program are at work at a time; read by the test programs.
const THREADS_VARIABLE: &str = "RUST_TEST_THREADS";

/// What `cargo xtask test` can be told.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Leave out slow tests (they see `SHARETRAIL_QUICK=1`) and the check of the dependencies
    #[arg(long)]
    quick: bool,
    /// Run only the tests whose names contain FILTER: no formatter, no linter, no check of the dependencies
    filter: Option<String>,
}

/// A program that some tests need.
struct Need {
    /// Tells them where it is.
    variable: &'static str,
    /// Stands in their names.
    test_name: &'static str,
    found: Option<PathBuf>,
}

/// Runs all checks and prints what came of them; the exit code says whether all is well.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    // What is brought comes over the network, and takes long: the compiler is at work meanwhile.
    let (needs, brought) = thread::scope(|scope| {
        let bringing = scope.spawn(|| {
            let mut tally = Tally::default();
            (bring(&mut tally), tally)
        });
        if args.filter.is_none() {
            read_sources(&mut tally);
        }
        bringing.join().expect("what brings programs does not panic")
    });
    tally.absorb(brought);
    run_tests(args, &needs, &mut tally)?;
    if args.filter.is_none() {
        check_dependencies(args, &mut tally);
    }
    print!("{}", tally.report());
    Ok(if tally.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Finds or brings every program that some tests need.
fn bring(tally: &mut Tally) -> [Need; 6] {
    [
        Need {
            variable: interop::PYTHON_VARIABLE,
            test_name: interop::TEST_NAME,
            found: interop::bring(tally),
        },
        Need {
            variable: nats::VARIABLE,
            test_name: nats::TEST_NAME,
            found: nats::bring(tally),
        },
        Need {
            variable: outsiders::BROWSER_VARIABLE,
            test_name: outsiders::BROWSER_TEST_NAME,
            found: outsiders::bring_browser(tally),
        },
        Need {
            variable: outsiders::FUZZER_VARIABLE,
            test_name: outsiders::FUZZER_TEST_NAME,
            found: outsiders::bring_fuzzer(tally),
        },
        Need {
            variable: outsiders::NODE_VARIABLE,
            test_name: outsiders::NODE_TEST_NAME,
            found: outsiders::bring_node(tally),
        },
        Need {
            variable: outsiders::CURL_VARIABLE,
            test_name: outsiders::CURL_TEST_NAME,
            found: outsiders::bring_curl(tally),
        },
    ]
}

fn read_sources(tally: &mut Tally) {
    step::run("cargo fmt", &mut step::cargo(&["fmt", "--all", "--check"]), tally);
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ];
    step::run("cargo clippy", &mut step::cargo(&clippy), tally);
}

/// Runs the tests of the whole workspace in one profile, so that nothing is built twice.
fn run_tests(args: &Args, needs: &[Need], tally: &mut Tally) -> anyhow::Result<()> {
    step::announce("cargo test");
    let mut command = step::cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(&args.filter).env_remove(QUICK_VARIABLE);
    if args.quick {
        command.env(QUICK_VARIABLE, "1");
    }
    if env::var_os(THREADS_VARIABLE).is_none() {
        command.env(THREADS_VARIABLE, tests_at_a_time().to_string());
    }
    command.arg("--");
    for need in needs {
        match &need.found {
            Some(path) => command.env(need.variable, path),
            // Said when it was sought; left to run, these tests would fail for want of it.
            None => command.args(["--skip", need.test_name]),
        };
    }
    let mut summary = Summary::default();
    let status = step::stream(&mut command, |line| summary.hear(line))?;
    tally.add(&summary);
    if !status.success() && !summary.has_failed() {
        tally.fail(format!(
            "cargo test: did not build, or a test program broke off ({status})"
        ));
    } else if let Some(filter) = &args.filter
        && summary.is_empty()
    {
        tally.fail(format!("cargo test: no test's name contains \"{filter}\""));
    }
    Ok(())
}

/// Twice as many as there are processors, which is the usual number: for much of their time tests wait for disks,
/// servers, browsers and leases.
fn tests_at_a_time() -> usize {
    2 * thread::available_parallelism().map_or(1, NonZero::get)
}

/// Runs cargo-deny where it is installed. Its advisories need a database from the network, so they are a step of
/// their own.
fn check_dependencies(args: &Args, tally: &mut Tally) {
    step::announce("cargo deny");
    if args.quick {
        tally.skip("left out: cargo deny (--quick)");
        return;
    }
    if step::quiet(&mut step::cargo(&["deny", "--version"])).is_err() {
        tally.skip("cannot bring: cargo-deny (cargo install --locked cargo-deny); deny.toml was not checked");
        return;
    }
    let rules = ["deny", "check", "bans", "licenses", "sources"];
    step::run(
        "cargo deny: bans, licenses, sources",
        &mut step::cargo(&rules),
        tally,
    );
    match step::quiet(&mut step::cargo(&["deny", "fetch", "db"])) {
        Ok(()) => {
            let advisories = ["deny", "check", "advisories"];
            step::run("cargo deny: advisories", &mut step::cargo(&advisories), tally);
        }
        Err(error) => {
            tally.skip(format!(
                "cannot bring: the advisory database, so advisories were not checked: {error:#}"
            ));
        }
    }
}
