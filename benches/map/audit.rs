//! An audit of all that is served of a ledger, from nothing.
//!
//! In scope: how long it takes, and that it finds nothing. Out of scope: what it looks at.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sharetrail_consumers::audit::{AuditOptions, Source, audit as audit_all};

use crate::generate::open;
use crate::stages::peak_bytes;

/// What an audit came to.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Audited {
    pub(crate) entries: u64,
    pub(crate) labels: u64,
    pub(crate) seconds: f64,
    pub(crate) peak_bytes: u64,
}

/// Audits the ledger in a folder.
pub(crate) fn audit(home: &Path) -> Result<Audited> {
    let ledger = open(home)?;
    let (source, policy) = (Source::folder(ledger.root()), ledger.policy()?);
    let state = tempfile::tempdir_in(home).context("making a folder")?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let (stop, told) = (AtomicBool::new(false), Mutex::new(0));
    let progress = |done: u64, all: u64| {
        let mut told = told.lock().expect("nobody panics here");
        if done / 1_000_000 > *told {
            *told = done / 1_000_000;
            eprintln!("  {done} of {all} leaves");
        }
    };
    let began = Instant::now();
    let audit = audit_all(
        &source,
        &policy,
        &AuditOptions::new(state.path(), now, &stop, &progress),
    )?;
    let seconds = began.elapsed().as_secs_f64();
    let report = audit.report();
    ensure!(
        report.is_clean() && report.counts.unmapped == 0,
        "the audit finds faults: {:?}",
        report.faults
    );
    Ok(Audited {
        entries: report.counts.entries,
        labels: report.counts.labels,
        seconds,
        peak_bytes: peak_bytes()?,
    })
}
