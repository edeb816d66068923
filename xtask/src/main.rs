//! The workspace's own tooling: `cargo xtask test`, `cargo xtask ci`, `cargo xtask bench`, `cargo xtask fuzz`.
//!
//! In scope: running every check there is and summing what they said; measuring; fuzzing. Out of scope: anything that
//! somebody who uses Sharetrail needs. Trust: runs on the machine of whoever changes the code, with their rights.

mod bench;
mod checks;
mod fuzz;
mod interop;
mod nats;
mod outsiders;
mod step;
mod tally;
mod venv;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks and measures the Sharetrail workspace
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What can be asked for.
#[derive(Subcommand)]
enum Command {
    /// Run every check: formatting, lints, all tests, the independent verifier, a real bus, dependencies
    ///
    /// Goes on after a fault, so that all of them are seen at once. The last line is "N passed, N failed, N skipped";
    /// the exit code is 0 only if nothing failed. What the machine lacks is named in a line that starts with
    /// "cannot bring:".
    Test(checks::Args),
    /// Run what the build server runs: `test` without options
    Ci,
    /// Measure how fast things are: here alone, or over a real nats-server (`bus`), or with millions of labels (`map`)
    Bench(bench::Args),
    /// Fuzz the parsers of untrusted bytes, from the corpus in `fuzz/`
    Fuzz(fuzz::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Test(args) => checks::run(&args),
        Command::Ci => checks::run(&checks::Args::default()),
        Command::Bench(args) => bench::run(args).map(|()| ExitCode::SUCCESS),
        Command::Fuzz(args) => fuzz::run(&args),
    }
}
