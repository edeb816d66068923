//! `init`: makes a ledger, and says where its secrets lie and what to do with them.
//!
//! In scope: arguments and the page. Out of scope: making anything.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::json;
use sharetrail_ledger::bus::BusSettings;
use sharetrail_ledger::{InitOptions, Initialised, STORES, init};
use sharetrail_proof::name::{MAX_SHARDS, Name};

use crate::answer::Answer;
use crate::output::{Output, Page, counted, note};

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
    #[command(flatten)]
    bus: BusArgs,
}

/// Where the bus is, if it is a NATS cluster; without, it lies in the ledger's folder.
#[derive(clap::Args)]
#[command(next_help_heading = "A NATS JetStream cluster as the bus")]
struct BusArgs {
    /// The cluster: nats:// or tls:// URLs, separated by commas
    #[arg(long, value_name = "URL")]
    bus: Option<String>,
    /// Replicas of each stream: 1, 3 or 5
    #[arg(long, value_name = "N", default_value_t = 1, requires = "bus")]
    replicas: u8,
    /// The servers' monitoring, to check how they keep data: http:// URLs, separated by commas
    #[arg(long, value_name = "URL", requires = "bus")]
    bus_monitor: Option<String>,
    /// The operator's nkey file: see `sharetrail keys nkey`
    #[arg(long, value_name = "FILE", requires = "bus", conflicts_with = "bus_creds")]
    bus_nkey: Option<PathBuf>,
    /// The operator's .creds file
    #[arg(long, value_name = "FILE", requires = "bus")]
    bus_creds: Option<PathBuf>,
    /// The authority that signed the servers' certificates
    #[arg(long, value_name = "FILE", requires = "bus")]
    bus_tls_ca: Option<PathBuf>,
    /// This host's certificate
    #[arg(long, value_name = "FILE", requires_all = ["bus", "bus_tls_key"])]
    bus_tls_cert: Option<PathBuf>,
    /// The key of this host's certificate
    #[arg(long, value_name = "FILE", requires_all = ["bus", "bus_tls_cert"])]
    bus_tls_key: Option<PathBuf>,
    /// What this host is called among others; a name is made up without it
    #[arg(long, value_name = "NAME", requires = "bus")]
    host: Option<Name>,
    /// Use the cluster though its settings may lose data that it acknowledged
    #[arg(long, requires = "bus")]
    accept_risk: bool,
}

impl BusArgs {
    fn settings(&self) -> anyhow::Result<Option<BusSettings>> {
        // Written down whole: the ledger is used from other working folders.
        let whole = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
        let Some(url) = &self.bus else { return Ok(None) };
        Ok(Some(BusSettings {
            url: url.clone(),
            replicas: self.replicas,
            monitor: self.bus_monitor.clone(),
            nkey: whole(&self.bus_nkey)?,
            creds: whole(&self.bus_creds)?,
            tls_ca: whole(&self.bus_tls_ca)?,
            tls_cert: whole(&self.bus_tls_cert)?,
            tls_key: whole(&self.bus_tls_key)?,
            inbox: None,
        }))
    }
}

/// Makes a ledger.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let options = InitOptions {
        shards: args.shards,
        producer: args.producer.clone(),
        store: args.store.clone(),
        bus: args.bus.settings()?,
        host: args.bus.host.clone(),
        accept_risk: args.bus.accept_risk,
        ..InitOptions::new(args.name.clone())
    };
    let made = init(root, &options)?;
    made.notices.iter().for_each(|notice| note(notice));
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
        "bus": made.ledger.settings().bus.as_ref().map(|bus| &bus.url),
        "host": made.ledger.settings().host,
        "notices": made.notices,
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
    match &ledger.settings().bus {
        None => page.text(0, "Next: sharetrail record FILE, with one event a line."),
        Some(bus) => {
            page.field(2, "bus", &bus.url);
            page.blank();
            page.text(0, "Next: sharetrail serve on this host, and sharetrail keys enrol NAME --to DIR for each producer.");
        }
    }
}
