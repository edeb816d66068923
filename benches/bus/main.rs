//! The ledger over a real nats-server, beside the raw bus, `PostgreSQL` and `UmaDB`, all in one run.
//!
//! In scope: events per second as the bus takes them, durable, sealed and projected; how long one event waits; what each
//! costs in processor time and bytes on the disk. One and three nodes, with the server's default sync and with
//! `sync_interval: always`. Out of scope: pass or fail; a machine's speed is not a test. What the targets are stands
//! beside what was measured.

#[path = "../shared/postgres.rs"]
mod database;
mod frames;
#[path = "../speed/input.rs"]
#[expect(dead_code, reason = "the other measurements use the rest of it")]
mod input;
mod latency;
mod live;
mod postgres;
mod raw;
mod results;
mod run;
mod umadb;

use anyhow::{Context, Result};
use clap::Parser;
use sharetrail_cluster::{Cluster, Options};
use tokio::runtime::Runtime;

use crate::frames::Mill;
use crate::input::Input;
use crate::live::Live;
use crate::results::{Results, Row};
use crate::run::Limits;

#[derive(Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own on the command line"
)]
struct Args {
    /// How many made-up events there are to send
    #[arg(long, default_value_t = 150_000)]
    events: u32,
    /// How long each measurement goes on at most
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Leave out `PostgreSQL`
    #[arg(long)]
    no_postgres: bool,
    /// Leave out `UmaDB`
    #[arg(long)]
    no_umadb: bool,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
}

/// A kind of cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) nodes: usize,
    pub(crate) always: bool,
    /// Events of a message, as many measurements as there are.
    pub(crate) batches: &'static [usize],
}

const SETTINGS: [Setting; 4] = [
    Setting {
        nodes: 1,
        always: true,
        batches: &[1, 64, 256, 1_024],
    },
    Setting {
        nodes: 1,
        always: false,
        batches: &[1, 64, 256, 1_024],
    },
    Setting {
        nodes: 3,
        always: true,
        batches: &[256, 1_024],
    },
    Setting {
        nodes: 3,
        always: false,
        batches: &[256, 1_024],
    },
];

impl Setting {
    pub(crate) fn start(self) -> Result<Cluster> {
        let options = Options {
            nodes: self.nodes,
            sync_always: self.always,
            ..Options::default()
        };
        Cluster::start(options).context("starting nats-servers")
    }

    pub(crate) fn sync(self) -> &'static str {
        if self.always { "always" } else { "default" }
    }

    /// A row of this setting.
    pub(crate) fn row(self, what: &str, batch: usize) -> Row {
        Row {
            nodes: Some(self.nodes),
            sync: Some(self.sync()),
            batch: Some(batch),
            ..Row::new(what)
        }
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    let limits = Limits::new(args.seconds, args.events)?;
    let input = Input::made_up(limits.made_up());
    let runtime = Runtime::new().context("starting a runtime")?;
    let mut results = Results::default();
    {
        run::progress("sealing events");
        let mill_home = tempfile::tempdir()?;
        let (engine, mut mill) = Mill::beside(mill_home.path(), &input.contents[..limits.events])?;
        for setting in SETTINGS {
            raw::measure(setting, &mut mill, limits, &runtime, &mut results)?;
        }
        drop(mill);
        engine.stop()?;
    }
    for setting in SETTINGS {
        let mut live = Live::start(setting, &input.contents[..limits.events])?;
        live.sealed(limits, &runtime, &mut results)?;
        live.whole_way(&input, limits, &runtime, &mut results)?;
        live.stop()?;
    }
    let sample = &input.contents[..limits.events.min(50_000)];
    if !args.no_postgres {
        postgres::measure(sample, limits, &mut results)?;
    }
    if !args.no_umadb {
        umadb::measure(sample, limits, &mut results)?;
    }
    results.print(args.json);
    Ok(())
}
