//! `init`: makes a ledger, and says where its secrets lie and what to do with them.
//!
//! In scope: arguments and the page. Out of scope: making anything.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use serde_json::json;
use sharetrail_ledger::{InitOptions, Initialised, STORES, init};
use sharetrail_proof::name::{MAX_SHARDS, Name};

use crate::answer::Answer;
use crate::output::{Output, Page, counted};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The ledger's name: 1 to 63 of a-z, 0-9, '.' and '-', such as shop.example
    name: Name,
    /// How many shards; never changes
    #[arg(long, value_name = "P", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_SHARDS)))]
    shards: u32,
    /// The first producer; without it, one with the ledger's name
    #[arg(long, value_name = "NAME")]
    producer: Option<Name>,
    /// The engine of the projections
    #[arg(long, value_name = "ENGINE", default_value = "sled", value_parser = PossibleValuesParser::new(STORES))]
    store: String,
}

/// Makes a ledger.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let options = InitOptions {
        shards: args.shards,
        producer: args.producer.clone(),
        store: args.store.clone(),
        ..InitOptions::new(args.name.clone())
    };
    let made = init(root, &options)?;
    output.give(&summary(&made), |page| write(page, &made))?;
    Ok(Answer::Yes)
}

fn summary(made: &Initialised) -> serde_json::Value {
    json!({
        "ledger": made.ledger.name(),
        "id": made.ledger.id(),
        "shards": made.ledger.shards(),
        "producer": made.ledger.settings().default_producer,
        "folder": made.ledger.root().display().to_string(),
        "policy": made.policy.display().to_string(),
        "kek": made.kek.display().to_string(),
        "recovery_key": made.recovery_key.display().to_string(),
        "outside": made.outside.display().to_string(),
    })
}

fn write(page: &mut Page, made: &Initialised) {
    let ledger = &made.ledger;
    let shards = counted(u64::from(ledger.shards()), "shard");
    page.heading(&format!(
        "The ledger {} is ready: {shards}, in {}",
        ledger.name(),
        ledger.root().display()
    ));
    page.blank();
    page.field(
        2,
        "policy",
        &format!("{}: hand it to whoever is to verify", made.policy.display()),
    );
    page.field(
        2,
        "key of keys",
        &format!("{}: back it up, apart from the folder", made.kek.display()),
    );
    page.field(
        2,
        "recovery",
        &format!("{}: take it offline", made.recovery_key.display()),
    );
    page.field(
        2,
        "producer",
        &format!(
            "{} signs where no other is named",
            ledger.settings().default_producer
        ),
    );
    page.blank();
    page.text(0, "Next: sharetrail record FILE, with one event a line.");
}
