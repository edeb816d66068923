//! Publishes one event, waits until it is sealed, and checks the proof: `cargo run --example publish -- FOLDER`

use std::path::PathBuf;

use sharetrail_ledger::{Engine, InitOptions, Ledger, init};
use sharetrail_producers::{Event, Publisher, Recipient, Role};
use sharetrail_proof::name::Name;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("which folder?")?.into();
    let ledger = if folder.join("ledger.toml").exists() {
        Ledger::open(&folder)?
    } else {
        init(&folder, &InitOptions::new(Name::new("shop.example")?))?.ledger
    };
    let engine = Engine::start(&ledger)?;
    let publisher = Publisher::open(&engine, &ledger.settings().default_producer)?;
    let house = Recipient::new("mailhouse.example", "Mail house", Role::Processor, "IE");
    let mut pending = publisher.publish(
        Event::shared("customer-42")
            .to(house)
            .categories(["pd:Name", "pd:PhysicalAddress"])
            .purpose("dpv:DirectMarketing")
            .legal_basis("eu-gdpr:A6-1-f"),
    )?;
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(pending.accepted())?;
    let receipt = runtime.block_on(pending.sealed())?;
    let checkpoint = receipt.proof.verify(&receipt.entry, &ledger.policy()?)?;
    println!(
        "{outcome:?}; proven: leaf {} of {}",
        receipt.index,
        checkpoint.size()
    );
    publisher.close()?;
    Ok(engine.stop()?)
}
