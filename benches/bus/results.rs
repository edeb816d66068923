//! What was measured, and the targets beside it.
//!
//! In scope: rows, ratios, the tables in text and in JSON. Out of scope: judging them.

use std::fmt::Write as _;

use serde::Serialize;

use crate::Setting;

/// The targets of the design, on two cores.
const OF_RAW: f64 = 0.7;
const TIMES_POSTGRES: f64 = 3.0;
const TIMES_UMADB: f64 = 2.0;
const WHOLE_WAY: f64 = 80_000.0;
const SEALED_LOW_MS: f64 = 250.0;
const SEALED_HIGH_MS: f64 = 2_000.0;
/// The batch that a publisher under load sends.
const FULL: usize = 1_024;

/// One speed.
#[derive(Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) nodes: Option<usize>,
    pub(crate) sync: Option<&'static str>,
    /// Events of a message, or rows of a transaction.
    pub(crate) batch: Option<usize>,
    pub(crate) per_second: f64,
    pub(crate) mb_per_second: Option<f64>,
    /// Microseconds of processor time an event, of all programs together.
    pub(crate) cpu_us: Option<f64>,
    /// Bytes on the disk an event, of all nodes together.
    pub(crate) disk_bytes: Option<f64>,
    pub(crate) note: String,
}

impl Row {
    pub(crate) fn new(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            nodes: None,
            sync: None,
            batch: None,
            per_second: 0.0,
            mb_per_second: None,
            cpu_us: None,
            disk_bytes: None,
            note: String::new(),
        }
    }
}

/// How long events waited, in milliseconds.
#[derive(Clone, Copy, Serialize)]
pub(crate) struct Quantiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Quantiles {
    /// `millis`: not empty.
    pub(crate) fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let place = (millis.len() * percent).div_ceil(100).saturating_sub(1);
            millis.get(place).copied().unwrap_or(f64::NAN)
        };
        Self {
            p50: at(50),
            p99: at(99),
        }
    }
}

/// How long events waited at some load.
#[derive(Clone, Serialize)]
pub(crate) struct Wait {
    pub(crate) load: &'static str,
    pub(crate) nodes: usize,
    pub(crate) sync: &'static str,
    pub(crate) per_second: f64,
    pub(crate) samples: usize,
    pub(crate) accepted: Quantiles,
    pub(crate) sealed: Quantiles,
}

/// Durable beside the raw bus at its best.
#[derive(Clone, Copy, Serialize)]
struct OfRaw {
    nodes: usize,
    always: bool,
    batch: usize,
    durable: f64,
    raw: f64,
    share: f64,
}

/// One target.
#[derive(Serialize)]
struct Target {
    what: &'static str,
    measured: f64,
    wanted: f64,
    /// Whether more is better.
    at_least: bool,
    met: bool,
}

/// Everything measured.
#[derive(Default, Serialize)]
pub(crate) struct Results {
    rows: Vec<Row>,
    of_raw: Vec<OfRaw>,
    waits: Vec<Wait>,
    /// From JSON to sealed and projected, on one node, at its best.
    whole_way: Option<f64>,
    /// With one hash chain, thus one connection.
    postgres_one_chain: Option<f64>,
    /// With several chains side by side.
    postgres_chains: Option<f64>,
    umadb: Option<f64>,
    missing: Vec<String>,
}

impl Results {
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn wait(&mut self, wait: Wait) {
        self.waits.push(wait);
    }

    /// What could not be measured, and why.
    pub(crate) fn missing(&mut self, why: String) {
        eprintln!("{why}");
        self.missing.push(why);
    }

    pub(crate) fn durable_beside_raw(&mut self, setting: Setting, batch: usize, durable: f64, raw: f64) {
        self.of_raw.push(OfRaw {
            nodes: setting.nodes,
            always: setting.always,
            batch,
            durable,
            raw,
            share: durable / raw,
        });
    }

    pub(crate) fn whole_way(&mut self, setting: Setting, per_second: f64) {
        if setting.nodes == 1 {
            self.whole_way = Some(self.whole_way.unwrap_or(0.0).max(per_second));
        }
    }

    pub(crate) fn postgres(&mut self, chains: usize, per_second: f64) {
        let best = if chains == 1 {
            &mut self.postgres_one_chain
        } else {
            &mut self.postgres_chains
        };
        *best = Some(best.unwrap_or(0.0).max(per_second));
    }

    pub(crate) fn umadb(&mut self, per_second: f64) {
        self.umadb = Some(self.umadb.unwrap_or(0.0).max(per_second));
    }

    /// One node, `sync_interval: always`, full batches: what the targets are about.
    fn headline(&self) -> Option<OfRaw> {
        let mut found = self.of_raw.iter();
        found
            .find(|one| one.nodes == 1 && one.always && one.batch == FULL)
            .copied()
    }

    fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        let mut push = |what, measured: Option<f64>, target: f64, at_least: bool| {
            if let Some(measured) = measured {
                let met = if at_least {
                    measured >= target
                } else {
                    measured <= target
                };
                targets.push(Target {
                    what,
                    measured,
                    wanted: target,
                    at_least,
                    met,
                });
            }
        };
        let headline = self.headline();
        let times = |other: Option<f64>| Some(headline?.durable / other?);
        let worst = |load: &str| {
            let waits = self
                .waits
                .iter()
                .filter(|wait| wait.load == load && wait.nodes == 1);
            waits.map(|wait| wait.sealed.p99).max_by(f64::total_cmp)
        };
        push("durable / raw bus", headline.map(|one| one.share), OF_RAW, true);
        let (one, several) = (times(self.postgres_one_chain), times(self.postgres_chains));
        push("durable / PostgreSQL, one hash chain", one, TIMES_POSTGRES, true);
        push("durable / PostgreSQL, four chains", several, TIMES_POSTGRES, true);
        push("durable / UmaDB", times(self.umadb), TIMES_UMADB, true);
        push(
            "JSON to sealed and projected, per s",
            self.whole_way,
            WHOLE_WAY,
            true,
        );
        push("sealed p99 at low load, ms", worst("low"), SEALED_LOW_MS, false);
        push(
            "sealed p99 at high load, ms",
            worst("high"),
            SEALED_HIGH_MS,
            false,
        );
        targets
    }

    pub(crate) fn print(&self, as_json: bool) {
        if as_json {
            let mut whole = serde_json::to_value(self).expect("numbers and strings always serialise");
            whole["targets"] = serde_json::json!(self.targets());
            println!("{whole:#}");
            return;
        }
        print!("{}", self.text().expect("a string takes any text"));
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        writeln!(
            text,
            "{:<32} {:>5} {:<8} {:>6} {:>11} {:>8} {:>9} {:>9}  note",
            "what", "nodes", "sync", "batch", "events/s", "MB/s", "CPU us/ev", "disk B/ev"
        )?;
        for row in &self.rows {
            writeln!(
                text,
                "{:<32} {:>5} {:<8} {:>6} {:>11.0} {:>8} {:>9} {:>9}  {}",
                row.what,
                row.nodes.map_or_else(dash, |nodes| nodes.to_string()),
                row.sync.unwrap_or("-"),
                row.batch.map_or_else(dash, |batch| batch.to_string()),
                row.per_second,
                row.mb_per_second.map_or_else(dash, |mb| format!("{mb:.1}")),
                row.cpu_us.map_or_else(dash, |us| format!("{us:.1}")),
                row.disk_bytes.map_or_else(dash, |bytes| format!("{bytes:.0}")),
                row.note
            )?;
        }
        self.write_ratios(&mut text)?;
        self.write_waits(&mut text)?;
        self.write_targets(&mut text)?;
        for missing in &self.missing {
            writeln!(text, "{missing}")?;
        }
        Ok(text)
    }

    fn write_ratios(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{:>5} {:<8} {:>6} {:>11} {:>11} {:>8} {:>14} {:>15} {:>9}",
            "nodes",
            "sync",
            "batch",
            "durable/s",
            "raw best/s",
            "of raw",
            "x PG, 1 chain",
            "x PG, 4 chains",
            "x UmaDB"
        )?;
        for one in &self.of_raw {
            let times =
                |other: Option<f64>| other.map_or_else(dash, |other| format!("{:.2}", one.durable / other));
            writeln!(
                text,
                "{:>5} {:<8} {:>6} {:>11.0} {:>11.0} {:>8.2} {:>14} {:>15} {:>9}",
                one.nodes,
                if one.always { "always" } else { "default" },
                one.batch,
                one.durable,
                one.raw,
                one.share,
                times(self.postgres_one_chain),
                times(self.postgres_chains),
                times(self.umadb)
            )?;
        }
        Ok(())
    }

    fn write_waits(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "\n{:<6} {:>5} {:<8} {:>9} {:>8} {:>13} {:>9} {:>11} {:>9}",
            "load", "nodes", "sync", "events/s", "samples", "accepted p50", "p99 ms", "sealed p50", "p99 ms"
        )?;
        for wait in &self.waits {
            writeln!(
                text,
                "{:<6} {:>5} {:<8} {:>9.0} {:>8} {:>13.1} {:>9.1} {:>11.1} {:>9.1}",
                wait.load,
                wait.nodes,
                wait.sync,
                wait.per_second,
                wait.samples,
                wait.accepted.p50,
                wait.accepted.p99,
                wait.sealed.p50,
                wait.sealed.p99
            )?;
        }
        Ok(())
    }

    fn write_targets(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "\n{:<38} {:>11} {:>12}", "target", "measured", "wanted")?;
        for target in self.targets() {
            let sign = if target.at_least { ">=" } else { "<=" };
            writeln!(
                text,
                "{:<38} {:>11.2} {sign} {:>9.2}  {}",
                target.what,
                target.measured,
                target.wanted,
                if target.met { "met" } else { "not met" }
            )?;
        }
        Ok(())
    }
}

fn dash() -> String {
    "-".to_owned()
}
