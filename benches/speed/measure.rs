//! Recording, beside its floor.
//!
//! In scope: events handed in until they are sealed. Out of scope: making the events.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use sharetrail_ledger::{Engine, InitOptions, Ledger, init};
use sharetrail_producers::Publisher;
use sharetrail_proof::name::Name;

use crate::floor::{Floor, per_second};
use crate::input::Input;
use crate::table::Table;

/// The ledger that everything is measured on.
pub(crate) struct Bench {
    pub(crate) ledger: Ledger,
    pub(crate) producer: Name,
}

/// Records the input into a new ledger: every customer is new once. Then the same events under other ids.
pub(crate) fn record(scratch: &Path, input: &Input, table: &mut Table) -> Result<Bench> {
    let renamed = input.renamed()?;
    let mut floor = Floor::new()?;
    let floor_new = floor.run(input, &scratch.join("floor-new"))?;
    let floor_known = floor.run(&renamed, &scratch.join("floor-known"))?;
    let producer = Name::new("shop.example")?;
    let options = InitOptions {
        outside: Some(scratch.join("outside")),
        ..InitOptions::new(producer.clone())
    };
    let ledger = init(&scratch.join("ledger"), &options)?.ledger;
    let mib = input.bytes() >> 20;
    let new = once(&ledger, &producer, input, input.len())?;
    table.speed(
        "record, new customers",
        new,
        Some(floor_new),
        format!("{} events, {mib} MiB, sealed", input.len()),
    );
    let known = once(&ledger, &producer, &renamed, renamed.len())?;
    table.speed(
        "record, known customers",
        known,
        Some(floor_known),
        "the same customers, other ids",
    );
    Ok(Bench { ledger, producer })
}

/// Records what is on record: nothing new is sealed.
pub(crate) fn known_again(bench: &Bench, input: &Input, table: &mut Table) -> Result<()> {
    let again = once(&bench.ledger, &bench.producer, input, 0)?;
    table.speed(
        "record, all repeats",
        again,
        None,
        "each compared with what is on record",
    );
    Ok(())
}

fn once(ledger: &Ledger, producer: &Name, input: &Input, recorded: u64) -> Result<f64> {
    let lines = input.lines();
    let engine = Engine::start(ledger)?;
    let publisher = Publisher::open(&engine, producer)?;
    let began = Instant::now();
    let summary = publisher.record_lines(&lines[..], &|_| ())?;
    let speed = per_second(input.len(), began);
    publisher.close()?;
    engine.stop()?;
    ensure!(
        summary.recorded == recorded,
        "{} of {recorded} were recorded",
        summary.recorded
    );
    Ok(speed)
}
