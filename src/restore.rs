//! `restore`: brings back what an old backup or a lost bus lacks.
//!
//! In scope: arguments and the page. Out of scope: deciding what can be trusted.

use std::path::{Path, PathBuf};

use sharetrail_ledger::{Ledger, Restored, RestoredShard, restore};

use crate::answer::Answer;
use crate::output::{Output, Page, counted, note, number};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Another copy of the ledger's folder to take from; can be given several times
    #[arg(long, value_name = "DIR")]
    from: Vec<PathBuf>,
}

/// Restores the ledger.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let ledger = Ledger::open(root)?;
    let restored = restore(&ledger, &args.from, &mut |notice| note(&notice))?;
    output.give(&restored, |page| write(page, &restored))?;
    Ok(if restored.complete {
        Answer::Yes
    } else {
        Answer::No
    })
}

fn write(page: &mut Page, restored: &Restored) {
    for one in &restored.shards {
        shard(page, one);
    }
    if restored.keys_brought_back > 0 {
        page.holds(&format!(
            "{} came back",
            counted(restored.keys_brought_back, "customer key")
        ));
    }
    if restored.frames_sent_again > 0 {
        let batches = counted(restored.frames_sent_again, "accepted batch");
        page.holds(&format!(
            "{batches} that had not been sealed: sent again, and sealed"
        ));
    }
    if !restored.complete {
        page.blank();
        page.text(0, "Nothing was changed where leaves are missing. Name a copy that holds them: sharetrail restore --from DIR");
    }
}

fn shard(page: &mut Page, one: &RestoredShard) {
    let leaves = counted(one.now, "leaf");
    match one.missing {
        Some((from, to)) => {
            let (from, to) = (number(from), number(to));
            page.fails(
                0,
                &format!(
                    "Shard {}: no source holds the leaves {from} up to, not including, {to}",
                    one.shard
                ),
            );
        }
        None if one.now == one.had => page.holds(&format!("Shard {}: all {leaves} were here", one.shard)),
        None => {
            let events = counted(one.events_brought_back, "event");
            page.holds(&format!(
                "Shard {}: {events} brought back; it holds {leaves}, as was signed",
                one.shard
            ));
        }
    }
    if one.unreadable_events > 0 {
        let events = counted(one.unreadable_events, "event");
        page.warns(
            2,
            &format!("{events} cannot be opened: no source had the customer's key"),
        );
    }
}
