//! The HTTP API under load, beside `PostgreSQL` that answers the same rows over plain SQL, all in one run.
//!
//! In scope: a customer's trail of 20 events at a steady rate of requests, how long each waits, from the moment it is due;
//! tiles as fast as they come; many idle connections beside. The load comes from this process, on the same cores. Out of
//! scope: pass or fail; a machine's speed is not a test. What the targets are stands beside what was measured.

#[path = "../shared/postgres.rs"]
mod database;
mod ground;
mod load;
mod rows;

use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use serde::Serialize;
use tokio::runtime::Builder;

use crate::ground::{Ground, Serving};
use crate::load::{Latencies, Load};

#[derive(Parser)]
struct Args {
    /// Events on record
    #[arg(long, default_value_t = 1_000_000)]
    events: u32,
    /// Requests a second for trails
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// How long each measurement goes on
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Connections that stay idle beside
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Leave out `PostgreSQL`
    #[arg(long)]
    no_postgres: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
}

/// One result.
#[derive(Serialize)]
struct Row {
    what: String,
    per_second: f64,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    note: String,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let time = Duration::from_secs(args.seconds);
    let ground = Ground::make(args.events)?;
    let mut rows = Vec::new();
    eprintln!("questions before a share");
    let micros = ground.authorize_micros()?;
    rows.push(Row {
        what: "authorize, at hand".to_owned(),
        per_second: 1e6 / micros,
        p50_ms: None,
        p99_ms: None,
        note: format!("{micros:.1} µs each on one thread; target: microseconds"),
    });
    {
        let serving = Serving::start(&ground)?;
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let trails = Load::trails(&serving, &ground)?;
        eprintln!("trails, to warm up");
        runtime.block_on(trails.steady(args.rate, Duration::from_secs(5)))?;
        eprintln!("trails at {} requests a second", args.rate);
        let told = runtime.block_on(trails.steady(args.rate, time))?;
        rows.push(row(
            "trail of 20 events",
            &told,
            "target: p99 under 10 ms at 2,000 a second",
        ));
        eprintln!("tiles");
        let tiles = Load::tiles(&serving, &ground)?;
        let told = runtime.block_on(tiles.flat_out(time))?;
        rows.push(row("tile", &told, "as fast as they come; target 20,000 a second"));
        eprintln!("{} idle connections", args.idle);
        let told = runtime.block_on(trails.beside_idle(args.idle, args.rate / 4, time / 2))?;
        let note = format!(
            "{} connections of {} still open in the end",
            told.idle_left, args.idle
        );
        rows.push(row("trail, beside idle connections", &told.latencies, &note));
    }
    if !args.no_postgres {
        match database::find() {
            None => eprintln!("cannot bring: PostgreSQL (apt-get install postgresql)"),
            Some(programs) => rows.push(rows::measure(programs, &ground, args.rate, time)?),
        }
    }
    print(&rows, args.json)
}

fn row(what: &str, told: &Latencies, note: &str) -> Row {
    Row {
        what: what.to_owned(),
        per_second: told.per_second(),
        p50_ms: Some(told.quantile_ms(0.5)),
        p99_ms: Some(told.quantile_ms(0.99)),
        note: note.to_owned(),
    }
}

fn print(rows: &[Row], as_json: bool) -> Result<()> {
    if as_json {
        let text = serde_json::to_string_pretty(rows).context("writing the results")?;
        println!("{text}");
        return Ok(());
    }
    println!(
        "{:<36} {:>10} {:>9} {:>9}  note",
        "what", "per s", "p50 ms", "p99 ms"
    );
    for row in rows {
        let ms = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.2}"));
        let (p50, p99) = (ms(row.p50_ms), ms(row.p99_ms));
        println!(
            "{:<36} {:>10.0} {p50:>9} {p99:>9}  {}",
            row.what, row.per_second, row.note
        );
    }
    Ok(())
}
