//! `record`: puts a file of events on record, in a ledger's folder or over the bus.
//!
//! In scope: opening the file, choosing the way, progress, the page. Out of scope: reading lines, sealing, signing.
//! Nothing is projected here: whoever reads does that.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::json;
use sharetrail_ledger::remote::{Credentials, Remote};
use sharetrail_ledger::{Engine, Ledger, LedgerError};
use sharetrail_producers::{BadLine, Publisher, RecordProgress, RecordSummary};
use sharetrail_proof::name::Name;

use crate::answer::Answer;
use crate::bar::{Bar, rate};
use crate::interrupt::{UntilInterrupted, watch};
use crate::output::{Output, Page, Style, counted, note, number};

/// How long to wait for another command to let go of the ledger's folder; whoever serves does not.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// One JSON event a line; - is the standard input
    file: PathBuf,
    /// Who signs; without it, the ledger's first producer
    #[arg(long, value_name = "NAME")]
    producer: Option<Name>,
}

/// What was done, and whether all of it.
struct Recorded {
    summary: RecordSummary,
    /// Events of an earlier run that waited in the outbox and were rejected.
    left_over_rejected: u64,
    interrupted: bool,
}

/// Records a file.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let (input, length) = open(&args.file)?;
    let recorded = if Credentials::is_there(root) {
        let remote = Remote::connect(root)?;
        is_whose(&remote, args.producer.as_ref())?;
        over_the_bus(remote, input, length)?
    } else {
        let ledger = Ledger::open(root)?;
        let producer = args
            .producer
            .as_ref()
            .unwrap_or(&ledger.settings().default_producer);
        record(&ledger, producer, input, length)?
    };
    output.give(&summary(&recorded), |page| write(page, &recorded))?;
    Ok(recorded.answer())
}

/// The input, and its length where that is known.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let meta = file
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?;
    if meta.is_dir() {
        bail!(
            "cannot read {}: it is a folder; name a file with one event a line",
            path.display()
        );
    }
    let length = meta.is_file().then_some(meta.len());
    Ok((Box::new(file), length))
}

fn record(
    ledger: &Ledger,
    producer: &Name,
    input: Box<dyn Read + Send>,
    length: Option<u64>,
) -> anyhow::Result<Recorded> {
    let engine = match start(ledger) {
        Err(error) if ledger.settings().bus.is_some() && is_at_work_elsewhere(&error) => {
            return over_the_bus(Remote::of_ledger(ledger, producer)?, input, length);
        }
        started => started?,
    };
    for notice in engine.notices() {
        note(&notice);
    }
    let recorded = record_with(Publisher::open(&engine, producer)?, input, length);
    for notice in engine.notices() {
        note(&notice);
    }
    let recorded = recorded?;
    engine.stop()?;
    Ok(recorded)
}

/// Takes the ledger up. On a bus that others reach too, whoever is at work in the folder is waited for a moment: only one
/// that stays may be recorded beside.
fn start(ledger: &Ledger) -> Result<Engine, LedgerError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Engine::start(ledger) {
            Err(LedgerError::Locked { .. }) if ledger.settings().bus.is_some() && Instant::now() < until => {
                std::thread::sleep(PAUSE);
            }
            started => return started,
        }
    }
}

/// Somebody sequences already: on a bus that others reach too, that is no reason not to record.
fn is_at_work_elsewhere(error: &LedgerError) -> bool {
    error.is_locked() || matches!(error, LedgerError::HeldElsewhere { .. })
}

/// Credentials are one producer's.
fn is_whose(remote: &Remote, producer: Option<&Name>) -> anyhow::Result<()> {
    match producer.filter(|producer| *producer != remote.producer()) {
        Some(other) => bail!(
            "{} holds the credentials of {}, not of {other}; leave --producer out",
            remote.folder().display(),
            remote.producer()
        ),
        None => Ok(()),
    }
}

fn over_the_bus(
    remote: Remote,
    input: Box<dyn Read + Send>,
    length: Option<u64>,
) -> anyhow::Result<Recorded> {
    record_with(Publisher::open_remote(&Arc::new(remote))?, input, length)
}

fn record_with(
    publisher: Publisher,
    input: Box<dyn Read + Send>,
    length: Option<u64>,
) -> anyhow::Result<Recorded> {
    let interrupted = watch()?;
    let input = UntilInterrupted::new(input, Arc::clone(&interrupted));
    let bar = Bar::of_bytes(length);
    let tell = || {
        for notice in publisher.notices() {
            note(&notice);
        }
    };
    let summary = publisher.record_lines(input, &|done: &RecordProgress| {
        tell();
        progress(&bar, done);
    });
    bar.end();
    tell();
    let summary = summary?;
    let closed = publisher.close_telling(&|notice| note(&notice))?;
    Ok(Recorded {
        summary,
        left_over_rejected: closed.left_over_rejected,
        interrupted: interrupted.load(Ordering::Acquire),
    })
}

fn progress(bar: &Bar, done: &RecordProgress) {
    bar.at(done.bytes_read, None, || {
        let speed = number(rate(done.sealed, bar.elapsed()));
        format!("{} sealed ({speed}/s)", counted(done.sealed, "event"))
    });
}

impl Recorded {
    fn answer(&self) -> Answer {
        if self.interrupted {
            Answer::Interrupted
        } else if self.summary.refused_total > 0 && !self.summary.only_refusals {
            Answer::Unknown
        } else if self.summary.refused_total > 0 || self.left_over_rejected > 0 {
            Answer::No
        } else {
            Answer::Yes
        }
    }
}

fn summary(recorded: &Recorded) -> serde_json::Value {
    let summary = &recorded.summary;
    json!({
        "lines": summary.lines,
        "recorded": summary.recorded,
        "skipped": summary.skipped,
        "refused": summary.refused,
        "refused_total": summary.refused_total,
        "left_over_rejected": recorded.left_over_rejected,
        "seconds": summary.seconds,
        "interrupted": recorded.interrupted,
    })
}

fn write(page: &mut Page, recorded: &Recorded) {
    let summary = &recorded.summary;
    match summary.recorded {
        0 => page.text(0, "Nothing new was sealed."),
        _ => page.holds(&sealed(summary)),
    }
    if summary.skipped > 0 {
        let verb = if summary.skipped == 1 { "was" } else { "were" };
        page.text(
            2,
            &format!(
                "{} {verb} on record already, and not recorded again",
                counted(summary.skipped, "event")
            ),
        );
    }
    if recorded.interrupted {
        page.warns(
            0,
            "Interrupted: what was read until then is sealed. Run the same command again to go on.",
        );
    }
    if recorded.left_over_rejected > 0 {
        let events = counted(recorded.left_over_rejected, "event");
        page.text_at(
            0,
            Style::Red,
            &format!("✗ {events} that an earlier run had left in the outbox rejected, and not on record"),
        );
    }
    if summary.refused_total > 0 {
        let lines = counted(summary.refused_total, "line");
        page.text_at(0, Style::Red, &format!("✗ {lines} refused:"));
    }
    for bad in &summary.refused {
        page.text(2, &format!("line {}: {}", bad.line, told(bad)));
    }
    let untold = summary.refused_total - summary.refused.len() as u64;
    if untold > 0 {
        page.text(
            2,
            &format!(
                "and {} more: mend these, then run the same command again",
                number(untold)
            ),
        );
    }
}

fn sealed(summary: &RecordSummary) -> String {
    let elapsed = Duration::try_from_secs_f64(summary.seconds).unwrap_or_default();
    let speed = number(rate(summary.recorded, elapsed));
    format!(
        "{} sealed in {:.1} s ({speed}/s)",
        counted(summary.recorded, "event"),
        summary.seconds
    )
}

/// The field and the reason; most reasons begin with the field.
fn told(bad: &BadLine) -> String {
    match &bad.field {
        Some(field) if !bad.reason.starts_with(field.as_str()) => format!("{field}: {}", bad.reason),
        _ => bad.reason.clone(),
    }
}
