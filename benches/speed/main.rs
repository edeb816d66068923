//! How fast things are, each beside its floor in the same run.
//!
//! In scope: record (publish to sealed; customers known and new), project with each store, trail, dossier, verify.
//! A floor is the same work done in the simplest way that could be: what remains is the price of the promises.
//! Out of scope: pass or fail; a machine's speed is not a test.

mod floor;
mod input;
mod measure;
mod reading;
mod table;

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;

use crate::input::Input;
use crate::measure::{known_again, record};
use crate::table::Table;

#[derive(Parser)]
struct Args {
    /// How many made-up events
    #[arg(long, default_value_t = 150_000)]
    events: u32,
    /// Record this file, one event a line, instead of made-up events
    #[arg(long)]
    input: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let input = match &args.input {
        Some(path) => Input::read(path)?,
        None => Input::made_up(args.events),
    };
    let scratch = tempfile::tempdir()?;
    let mut table = Table::default();
    let bench = record(scratch.path(), &input, &mut table)?;
    known_again(&bench, &input, &mut table)?;
    reading::all(&bench, &input, &mut table)?;
    table.print(args.json);
    Ok(())
}
