//! `rebuild`: deletes the projections and the customer maps, and folds both anew from the log.
//!
//! In scope: choosing the engine, which becomes the ledger's default. Out of scope: folding, and comparing the maps with
//! the roots that were sealed.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use serde_json::json;
use sharetrail_consumers::store::StoreKind;
use sharetrail_consumers::{Projections, rebuild};
use sharetrail_ledger::{Ledger, Remapped, STORES, remap};

use crate::answer::Answer;
use crate::bar::{Bar, rate};
use crate::opened;
use crate::output::{Output, counted, note, number};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The engine, from now on; without it, the one in use
    #[arg(long, value_name = "ENGINE", value_parser = PossibleValuesParser::new(STORES))]
    store: Option<String>,
}

/// Rebuilds the projections.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let ledger = opened::sequenced(root)?;
    let store = args.store.as_ref().unwrap_or(&ledger.settings().store);
    let bar = Bar::of_leaves();
    let projections = fold(&ledger, store.parse()?, &bar)?;
    let leaves = projections.catch_up(&|_, _| ())?.total;
    let elapsed = bar.elapsed();
    let maps = fold_maps(&ledger)?;
    if *store != ledger.settings().store {
        ledger.set_store(store)?;
    }
    let summary = json!({
        "store": store,
        "leaves": leaves,
        "seconds": elapsed.as_secs_f64(),
        "maps": maps,
    });
    output.give(&summary, |page| {
        let speed = number(rate(leaves, elapsed));
        let seconds = elapsed.as_secs_f64();
        page.holds(&format!(
            "{} folded anew in {seconds:.1} s ({speed}/s), with {store}",
            counted(leaves, "leaf")
        ));
        for map in maps.iter().flatten() {
            page.holds(&format!(
                "The customer map of shard {} folded anew: each of the {} that were sealed came out again",
                map.shard,
                counted(map.leaves, "root")
            ));
        }
    })?;
    Ok(Answer::Yes)
}

fn fold(ledger: &Ledger, kind: StoreKind, bar: &Bar) -> anyhow::Result<Projections> {
    let rebuilt = rebuild(ledger, kind, &|done, total| bar.leaves(done, total));
    bar.end();
    let projections = rebuilt?;
    for notice in projections.notices() {
        note(&notice);
    }
    Ok(projections)
}

/// Folds the customer maps anew; nothing while another process is at work with them.
fn fold_maps(ledger: &Ledger) -> anyhow::Result<Option<Vec<Remapped>>> {
    let bar = Bar::of_leaves();
    let done = remap(ledger, &|done, total| bar.leaves(done, total));
    bar.end();
    match done {
        Ok(maps) => {
            let notices = maps.iter().flat_map(|map| &map.notices);
            notices.for_each(|notice| note(notice));
            Ok(Some(maps))
        }
        Err(error) if error.is_locked() => {
            note(&format!("the customer maps were not folded anew: {error}"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}
