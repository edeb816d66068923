//! `cargo xtask bench`: builds the measurements in release mode and runs them.
//!
//! In scope: passing the options on, bringing what the bus is measured beside. Out of scope: what is measured
//! (`benches/speed`, `benches/bus`, `benches/http`, `benches/map`).

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::nats;
use crate::step;
use crate::venv::{self, Venv};

/// Tells the measurements which Python has the client and the server of `UmaDB`.
const UMADB_VARIABLE: &str = "SHARETRAIL_UMADB_PYTHON";

const UMADB: &str = "umadb==0.7.8";

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Record this file, one event a line, instead of made-up events
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// How many made-up events
    #[arg(long, default_value_t = 150_000)]
    events: u32,
}

/// What is measured other than recording and reading on this machine alone.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Measure the ledger over a real nats-server, beside the raw bus, `PostgreSQL` and `UmaDB`
    Bus(BusArgs),
    /// Measure the HTTP API under load with a million events, beside `PostgreSQL`
    Http(Options),
    /// Measure the customer map with millions of labels, a dossier out of it, and an audit
    ///
    /// Takes about 400 bytes of the disk an event, in `target/`; they are freed in the end.
    Map(Options),
}

/// Options of `cargo xtask bench bus`.
#[derive(Debug, clap::Args)]
struct BusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// How long each measurement goes on at most
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many made-up events there are to send
    #[arg(long, default_value_t = 150_000)]
    events: u32,
    /// Leave out `PostgreSQL`
    #[arg(long)]
    no_postgres: bool,
    /// Leave out `UmaDB`
    #[arg(long)]
    no_umadb: bool,
}

/// Options of `cargo xtask bench map` and `http`: those of the measurement itself, which also tells them.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
struct Options {
    /// Options of the measurement; --help lists them
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<OsString>,
}

/// Runs the measurements.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.what {
        Some(What::Bus(args)) => bus(&args),
        Some(What::Http(args)) => finish(bench("http").args(&args.options)),
        Some(What::Map(args)) => finish(bench("map").args(&args.options)),
        None => speed(args),
    }
}

fn speed(args: Args) -> anyhow::Result<()> {
    let mut command = bench("speed");
    command.args(["--events", &args.events.to_string()]);
    if args.json {
        command.arg("--json");
    }
    if let Some(input) = args.input {
        command
            .arg("--input")
            .arg(std::path::absolute(&input).context("finding the input")?);
    }
    finish(&mut command)
}

fn bus(args: &BusArgs) -> anyhow::Result<()> {
    let server = nats::given_or_made().context("cannot bring: nats-server")?;
    let mut command = bench("bus");
    command.env(nats::VARIABLE, server);
    command.args(["--events", &args.events.to_string()]);
    command.args(["--seconds", &args.seconds.to_string()]);
    if args.json {
        command.arg("--json");
    }
    if args.no_postgres {
        command.arg("--no-postgres");
    }
    if args.no_umadb {
        command.arg("--no-umadb");
    } else {
        match umadb() {
            Ok(python) => {
                command.env(UMADB_VARIABLE, python);
            }
            Err(error) => eprintln!("cannot bring: {UMADB}: {error:#}"),
        }
    }
    finish(&mut command)
}

/// The Python that has `UmaDB`'s server and client.
fn umadb() -> anyhow::Result<PathBuf> {
    let venv = Venv {
        folder: "umadb",
        package: UMADB,
        file_of: None,
        python: (3, 10),
    };
    let folder = venv.make(|folder| {
        let mut command = Command::new(venv::python(folder));
        command.args(["-c", "import umadb"]);
        command
    })?;
    Ok(venv::python(&folder))
}

/// The measurements of this name; what is added are their own options.
fn bench(name: &str) -> Command {
    step::cargo(&["bench", "--quiet", "--locked", "--bench", name, "--"])
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().context("running cargo bench")?;
    ensure!(status.success(), "the measurements ended with {status}");
    Ok(())
}
