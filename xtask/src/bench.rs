//! `cargo xtask bench`: builds the measurements in release mode and runs them.
//!
//! In scope: passing the options on. Out of scope: what is measured (`benches/speed`).

use std::process::Command;

use anyhow::{Context, ensure};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Record this file, one event a line, instead of made-up events
    #[arg(long, value_name = "FILE")]
    input: Option<std::path::PathBuf>,
    /// How many made-up events
    #[arg(long, default_value_t = 150_000)]
    events: u32,
}

/// Runs the measurements.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args([
        "bench",
        "--quiet",
        "--locked",
        "--bench",
        "speed",
        "--",
        "--events",
        &args.events.to_string(),
    ]);
    if args.json {
        command.arg("--json");
    }
    if let Some(input) = args.input {
        command
            .arg("--input")
            .arg(std::path::absolute(&input).context("finding the input")?);
    }
    let status = command.status().context("running cargo bench")?;
    ensure!(status.success(), "the measurements ended with {status}");
    Ok(())
}
