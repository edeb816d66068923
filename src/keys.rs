//! `keys`: the producers' keys, as the registry in the log has them.
//!
//! In scope: arguments, the page, asking before a revocation. Out of scope: the registry's rules.

use std::path::Path;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;
use sharetrail_ledger::keys::{self, KeyStatus};
use sharetrail_ledger::{Engine, Ledger, LedgerError};
use sharetrail_proof::name::Name;

use crate::answer::Answer;
use crate::output::{Output, Page, note, number};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List all keys, ended ones too
    List,
    /// Make a key for a new producer, and put both on record
    Add {
        /// The producer
        name: Name,
    },
    /// Give a producer a new key; the old one ends
    Rotate {
        /// The producer
        name: Name,
    },
    /// End all keys of a producer: nothing that it signs is accepted from then on
    Revoke {
        /// The producer
        name: Name,
        /// Do it: a revocation is on record for ever
        #[arg(long)]
        yes: bool,
    },
}

/// Lists or changes keys.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    if let Action::Revoke { name, yes: false } = &args.action {
        bail!("revoking the keys of {name} is on record for ever; say so with --yes");
    }
    let ledger = Ledger::open(root)?;
    let engine = Engine::start(&ledger)?;
    for notice in engine.notices() {
        note(notice);
    }
    match &args.action {
        Action::List => list(&engine, output)?,
        Action::Add { name } => change(&engine, name, "added", keys::add_producer, output)?,
        Action::Rotate { name } => change(&engine, name, "rotated", keys::rotate, output)?,
        Action::Revoke { name, .. } => change(&engine, name, "revoked", keys::revoke, output)?,
    }
    engine.stop()?;
    Ok(Answer::Yes)
}

fn list(engine: &Engine, output: &Output) -> anyhow::Result<()> {
    let keys = keys::list(engine)?;
    output.give(&keys, |page| keys.iter().for_each(|key| write(page, key)))
}

fn write(page: &mut Page, key: &KeyStatus) {
    page.heading(key.party.as_str());
    page.verbatim(2, &key.key);
    let from = format!("valid from leaf {}", number(key.from.0));
    let span = match key.until {
        Some(until) => format!("{from}, ended at leaf {}", number(until.0)),
        None => from,
    };
    page.text(
        2,
        &format!(
            "{span}; {}",
            if key.private_here {
                "its private half is here"
            } else {
                "its private half is not here"
            }
        ),
    );
}

fn change(
    engine: &Engine,
    name: &Name,
    done: &str,
    act: fn(&Engine, &Name) -> Result<(), LedgerError>,
    output: &Output,
) -> anyhow::Result<()> {
    act(engine, name)?;
    let text = format!("{name}: key {done}, on record in every shard");
    output.give(&json!({ "producer": name, "done": done }), |page| {
        page.holds(&text);
    })
}
