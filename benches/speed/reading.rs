//! Projecting, trails, dossiers, verification.
//!
//! In scope: each warm, and the first time. Out of scope: the command line around them.

use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Projections, dossier, rebuild, trail};
use sharetrail_ledger::catch_up_mapped;
use sharetrail_proof::dossier::Dossier;
use sharetrail_proof::hash::LeafIndex;

use crate::floor::per_second;
use crate::input::Input;
use crate::measure::Bench;
use crate::table::Table;

const ROUNDS: u32 = 20;

pub(crate) fn all(bench: &Bench, input: &Input, table: &mut Table) -> Result<()> {
    let floor = read_all(bench)?;
    let mut projections = None;
    for kind in StoreKind::ALL {
        drop(projections.take());
        let began = Instant::now();
        let made = rebuild(&bench.ledger, kind, &|_, _| ())?;
        let speed = per_second(input.len() * 2, began);
        table.speed(
            &format!("project with {kind}"),
            speed,
            Some(floor),
            "floor: reading the log alone",
        );
        projections = Some(made);
    }
    let projections = projections.context("there is a store")?;
    one_customer(bench, input, &projections, table)
}

/// Events per second of only walking over the archive.
fn read_all(bench: &Bench) -> Result<f64> {
    let (began, mut events) = (Instant::now(), 0);
    bench.ledger.reader(0)?.scan(LeafIndex(0), &mut |_, entry, _| {
        events += u64::from(entry.first() == Some(&1));
        ControlFlow::Continue(())
    })?;
    Ok(per_second(events, began))
}

/// The customer whose trail is nearest to 100 events.
fn customer(bench: &Bench, input: &Input, projections: &Projections) -> Result<String> {
    let vault = bench.ledger.vault()?;
    let mut best = (usize::MAX, String::new());
    let mut seen = std::collections::HashSet::new();
    for content in &input.contents {
        let customer = sharetrail_schemas::read(content)?.customer().to_owned();
        if seen.len() < 500 && seen.insert(customer.clone()) {
            let count = projections.leaves(&vault.label(&customer, 0))?.len();
            best = best.min((count.abs_diff(100), customer));
        }
    }
    Ok(best.1)
}

fn one_customer(bench: &Bench, input: &Input, projections: &Projections, table: &mut Table) -> Result<()> {
    let (ledger, vault) = (&bench.ledger, bench.ledger.vault()?);
    let customer = customer(bench, input, projections)?;
    let events = trail(ledger, projections, &vault, &customer)?.events.len();
    let note = format!("{events} events");
    table.millis(
        "trail",
        timed(|| trail(ledger, projections, &vault, &customer))?,
        None,
        note.clone(),
    );
    // A dossier needs a customer map; how fast those are made is measured elsewhere.
    catch_up_mapped(ledger, &|_, _| ())?;
    let cold = Instant::now();
    let made = dossier(ledger, projections, &vault, &customer)?;
    let cold = cold.elapsed().as_secs_f64() * 1e3;
    table.millis("dossier, first", cold, None, note.clone());
    table.millis(
        "dossier",
        timed(|| dossier(ledger, projections, &vault, &customer))?,
        None,
        note.clone(),
    );
    let (bytes, policy) = (made.to_bytes(), ledger.policy()?);
    let size = format!("{events} events, {} bytes", bytes.len());
    let verified = timed(|| Dossier::parse(&bytes).and_then(|dossier| dossier.verify(&policy)))?;
    table.millis("verify", verified, None, size);
    let found = Dossier::parse(&bytes)?.verify(&policy)?.events.len();
    ensure!(found == events, "{found} of {events} events are proven");
    Ok(())
}

/// Milliseconds of one call, on average.
fn timed<T, E: Into<anyhow::Error>>(mut call: impl FnMut() -> Result<T, E>) -> Result<f64> {
    let began = Instant::now();
    for _ in 0..ROUNDS {
        call().map_err(Into::into)?;
    }
    Ok(began.elapsed().as_secs_f64() * 1e3 / f64::from(ROUNDS))
}
