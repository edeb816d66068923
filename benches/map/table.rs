//! The table of results, with the targets beside them.
//!
//! In scope: speeds out of samples, rows, units. Out of scope: judging.

use anyhow::Result;
use serde::Serialize;

use crate::audit::Audited;
use crate::generate::Generated;
use crate::stages::{Mapped, Projected, Proven, Sample};

/// Events a second that are wanted of the mapper at the end.
const MAPPED_PER_SECOND: f64 = 100_000.0;
/// How much slower it may be then than at the first mark.
const SLOWER_MAX: f64 = 3.0;
/// Entries a second that are wanted of the audit.
const AUDITED_PER_SECOND: f64 = 500_000.0;
const FIRST_DOSSIER_MS: f64 = 20.0;

/// One result.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    value: f64,
    unit: &'static str,
    note: String,
}

/// All results.
#[derive(Debug)]
pub(crate) struct Results {
    events: u64,
    rows: Vec<Row>,
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Results {
    /// `events`: of the large map.
    pub(crate) fn new(events: u64) -> Self {
        Self {
            events,
            rows: Vec::new(),
        }
    }

    fn row(&mut self, what: impl Into<String>, value: f64, unit: &'static str, note: impl Into<String>) {
        self.rows.push(Row {
            what: what.into(),
            value,
            unit,
            note: note.into(),
        });
    }

    /// What the large map came to.
    pub(crate) fn map(&mut self, made: &Generated, mapped: &Mapped, projected: &Projected, proven: &Proven) {
        let events_per_leaf = float(made.events) / float(made.leaves);
        let note = format!("{} events, {} leaves, sealed", made.events, made.leaves);
        self.row(
            "record made-up frames",
            float(made.events) / made.seconds,
            "per s",
            note,
        );
        self.speeds(mapped, events_per_leaf);
        let labels = mapped.labels;
        self.row(
            "map, peak memory",
            mib(mapped.peak_bytes),
            "MiB",
            "VmHWM of the mapping process",
        );
        let note = format!(
            "mapping/, {labels} labels; the map log has {} roots",
            mapped.roots
        );
        self.row("map on disk", mib(mapped.mapping_bytes), "MiB", note);
        let each = float(mapped.mapping_bytes) / float(labels.max(1));
        self.row("map on disk, a label", each, "bytes", "garbage included");
        self.row("map log on disk", mib(mapped.map_bytes), "MiB", "map/");
        let note = "bus, archive, tiles, map and all";
        self.row("the whole ledger on disk", mib(mapped.ledger_bytes), "MiB", note);
        let note = format!("fjall; peak memory {:.0} MiB", mib(projected.peak_bytes));
        let speed = float(projected.leaves) / projected.seconds;
        self.row("project", speed, "per s", note);
        self.dossier(proven);
    }

    /// The mapper's speed around some marks, and at the end.
    fn speeds(&mut self, mapped: &Mapped, events_per_leaf: f64) {
        let events = float(self.events);
        let mut first = None;
        for part in [0.05, 0.25, 0.5, 1.0] {
            let mark = events * part;
            let leaves = |events: f64| events / events_per_leaf;
            let window = (leaves(mark - events * 0.05), leaves(mark));
            let speed = speed(&mapped.samples, window) * events_per_leaf;
            let first = *first.get_or_insert(speed);
            let note = format!(
                "over the {:.1} million before; {:.2} times as long an event as at the first mark (target \
                 {SLOWER_MAX})",
                events * 0.05 / 1e6,
                first / speed
            );
            self.row(
                format!("map, at {:.1} million events", mark / 1e6),
                speed,
                "per s",
                note,
            );
        }
        let note = format!("target at the end: {MAPPED_PER_SECOND:.0}");
        let speed = float(mapped.leaves) * events_per_leaf / mapped.seconds;
        self.row("map, all of it", speed, "per s", note);
    }

    fn dossier(&mut self, proven: &Proven) {
        let note = format!(
            "{} events, after {:.1} ms of opening; target {FIRST_DOSSIER_MS}",
            proven.events, proven.open_ms
        );
        self.row("dossier, first of a process", proven.first_ms, "ms", note);
        self.row("dossier, again", proven.warm_ms, "ms", "");
        let target = (6 << 10) + (2 << 10) * proven.events;
        let note = format!("beside {} of contents; target {target}", proven.content_bytes);
        self.row("dossier", float(proven.evidence_bytes()), "bytes", note);
        self.row("verify", proven.verify_ms, "ms", "");
    }

    /// What the audits of a third of a log and of all of it came to.
    pub(crate) fn audits(&mut self, third: &Audited, all: &Audited) {
        let [first, last] = [third, all].map(|one| float(one.entries) / one.seconds);
        let note = |one: &Audited| {
            let (entries, labels, peak) = (one.entries, one.labels, mib(one.peak_bytes));
            format!("{entries} entries, {labels} labels; peak memory {peak:.0} MiB")
        };
        self.row("audit, a third of the log", first, "per s", note(third));
        let text = format!(
            "{}; {:.2} times as long an entry; target {AUDITED_PER_SECOND:.0}",
            note(all),
            first / last
        );
        self.row("audit", last, "per s", text);
    }

    pub(crate) fn print(&self, as_json: bool) -> Result<()> {
        if as_json {
            println!("{}", serde_json::to_string_pretty(&self.rows)?);
            return Ok(());
        }
        println!("{:<32} {:>12} {:<6}  note", "what", "measured", "");
        for row in &self.rows {
            let value = if row.value >= 1_000.0 {
                format!("{:.0}", row.value)
            } else {
                format!("{:.2}", row.value)
            };
            println!("{:<32} {value:>12} {:<6}  {}", row.what, row.unit, row.note);
        }
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    float(bytes) / f64::from(1 << 20)
}

/// Leaves a second between two places.
fn speed(samples: &[Sample], (from, to): (f64, f64)) -> f64 {
    let took = reached(samples, to) - reached(samples, from);
    (to - from) / took
}

/// When a place was reached, in seconds; between two samples as if all had gone on evenly.
fn reached(samples: &[Sample], place: f64) -> f64 {
    let mut before = (0.0, 0.0);
    for sample in samples {
        let now = (float(sample.leaves), sample.seconds);
        if now.0 >= place {
            let part = if now.0 > before.0 {
                (place - before.0) / (now.0 - before.0)
            } else {
                1.0
            };
            return before.1 + part * (now.1 - before.1);
        }
        before = now;
    }
    before.1
}
