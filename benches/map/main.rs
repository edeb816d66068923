//! The customer map at its full size: how fast it is folded, what it costs, how fast and how large a proof out of it is,
//! and how fast somebody else checks all of it.
//!
//! In scope: ledgers of made-up events, made before the clock starts; events per second with the map growing, memory,
//! disk; the first dossier of a process; an audit of a log, and of a third of it. Each measurement is a process of its
//! own. Out of scope: pass or fail; a machine's speed is not a test. What the targets are stands beside what was measured.

mod audit;
mod generate;
#[path = "../speed/input.rs"]
#[expect(dead_code, reason = "the other measurements use the rest of it")]
mod input;
mod stages;
mod table;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Parser, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sharetrail_proof::batch::MAX_BATCH_ENTRIES;

use crate::audit::Audited;
use crate::generate::{Generated, Plan};
use crate::stages::{Mapped, Projected, Proven};
use crate::table::Results;

/// Events of a batch in the ledger that is audited.
const AUDIT_BATCH: u64 = 256;

#[derive(Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own on the command line"
)]
struct Args {
    /// How many labels the map has at the end
    #[arg(long, default_value_t = 10_000_000)]
    labels: u64,
    /// How many events are mapped
    #[arg(long, default_value_t = 20_000_000)]
    events: u64,
    /// How many labels the ledger has that is audited
    #[arg(long, default_value_t = 100_000)]
    audit_labels: u64,
    /// How many events the ledger has that is audited
    #[arg(long, default_value_t = 3_000_000)]
    audit_events: u64,
    /// Leave out the large map
    #[arg(long)]
    no_map: bool,
    /// Leave out the audit
    #[arg(long)]
    no_audit: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// What `cargo bench` passes on
    #[arg(long, hide = true)]
    bench: bool,
    /// What this process is to do alone
    #[arg(long, hide = true, requires = "home")]
    stage: Option<Stage>,
    /// On which ledger
    #[arg(long, hide = true)]
    home: Option<PathBuf>,
    /// Where the ledger that is audited ends and begins
    #[arg(long, hide = true, default_value_t = 0)]
    from: u64,
    #[arg(long, hide = true, default_value_t = 0)]
    to: u64,
}

/// What one process does.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stage {
    Generate,
    GenerateForAudit,
    Map,
    Project,
    Prove,
    Audit,
}

impl Args {
    /// What is to be made for the large map.
    fn plan(&self) -> Plan {
        Plan {
            spread: self.events,
            labels: self.labels,
            from: 0,
            to: self.events,
            batch: MAX_BATCH_ENTRIES as u64,
            with_customer: true,
        }
    }

    /// What is to be made for the audit: all labels are met in the first third.
    fn audit_plan(&self) -> Plan {
        Plan {
            spread: self.audit_events / 3,
            labels: self.audit_labels,
            from: self.from,
            to: self.to,
            batch: AUDIT_BATCH,
            with_customer: false,
        }
    }

    /// Does one thing and says what it came to.
    fn work(&self, stage: Stage, home: &Path) -> Result<()> {
        match stage {
            Stage::Generate => say(&generate::generate(home, &self.plan())?),
            Stage::GenerateForAudit => say(&generate::generate(home, &self.audit_plan())?),
            Stage::Map => say(&stages::map(home)?),
            Stage::Project => say(&stages::project(home)?),
            Stage::Prove => say(&stages::prove(home)?),
            Stage::Audit => say(&audit::audit(home)?),
        }
    }

    /// Has a process of its own do one thing.
    fn run<T: DeserializeOwned>(&self, what: &str, stage: Stage, home: &Path, range: [u64; 2]) -> Result<T> {
        eprintln!("{what}");
        let name = stage.to_possible_value().context("every stage has a name")?;
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = Command::new(program);
        command
            .args(["--bench", "--stage", name.get_name(), "--home"])
            .arg(home);
        let [from, to] = range;
        for (option, value) in [
            ("--labels", self.labels),
            ("--events", self.events),
            ("--audit-labels", self.audit_labels),
            ("--audit-events", self.audit_events),
            ("--from", from),
            ("--to", to),
        ] {
            command.args([option, &value.to_string()]);
        }
        let done = command.stderr(Stdio::inherit()).output();
        let done = done.with_context(|| format!("{what}: starting a process"))?;
        ensure!(done.status.success(), "{what}: it ended with {}", done.status);
        serde_json::from_slice(&done.stdout).with_context(|| format!("{what}: reading what it says"))
    }
}

fn say(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let (Some(stage), Some(home)) = (args.stage, &args.home) {
        return args.work(stage, home);
    }
    ensure!(
        (1..=args.events).contains(&args.labels) && args.events >= 1_000,
        "there are to be a thousand events at least, and no more labels than events"
    );
    ensure!(
        (1..=args.audit_events / 3).contains(&args.audit_labels),
        "the ledger that is audited is to have three events a label at least"
    );
    let mut results = Results::new(args.events);
    if !args.no_map {
        large_map(&args, &mut results)?;
    }
    if !args.no_audit {
        audits(&args, &mut results)?;
    }
    results.print(args.json)
}

/// A folder on a disk, which goes away with this.
fn scratch() -> Result<tempfile::TempDir> {
    let made = tempfile::Builder::new()
        .prefix("bench-map-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    made.context("making a folder")
}

fn large_map(args: &Args, results: &mut Results) -> Result<()> {
    let scratch = scratch()?;
    let (home, all) = (scratch.path(), [0, 0]);
    let made: Generated = args.run("making the ledger", Stage::Generate, home, all)?;
    let mapped: Mapped = args.run("mapping it", Stage::Map, home, all)?;
    let projected: Projected = args.run("projecting it", Stage::Project, home, all)?;
    let proven: Proven = args.run("the first dossier of a process", Stage::Prove, home, all)?;
    results.map(&made, &mapped, &projected, &proven);
    Ok(())
}

fn audits(args: &Args, results: &mut Results) -> Result<()> {
    let scratch = scratch()?;
    let (home, third, all) = (scratch.path(), args.audit_events / 3, args.audit_events);
    let audit = |range: [u64; 2]| -> Result<Audited> {
        let what = format!("making {} events to audit", range[1]);
        let _: Generated = args.run(&what, Stage::GenerateForAudit, home, range)?;
        let _: Mapped = args.run("mapping them", Stage::Map, home, range)?;
        args.run("auditing", Stage::Audit, home, range)
    };
    let (third, all) = (audit([0, third])?, audit([third, all])?);
    results.audits(&third, &all);
    Ok(())
}
