//! Opening a ledger to read it: what waits is sequenced, then the customer maps and the projections are folded.
//!
//! In scope: what all commands that read have in common. Out of scope: what they read.

use std::path::Path;

use sharetrail_consumers::Projections;
use sharetrail_consumers::store::StoreKind;
use sharetrail_ledger::{Ledger, LedgerError, Vault, catch_up, catch_up_mapped};

use crate::bar::Bar;
use crate::output::note;

/// A ledger that is up to date, and what is read out of it.
pub(crate) struct Opened {
    /// The ledger.
    pub(crate) ledger: Ledger,
    /// The trail projection.
    pub(crate) projections: Projections,
    /// The vault.
    pub(crate) vault: Vault,
}

/// Opens the ledger in `root` and brings its logs up to date; where another process is at work, that one does.
pub(crate) fn sequenced(root: &Path) -> anyhow::Result<Ledger> {
    let ledger = Ledger::open(root)?;
    told(catch_up(&ledger))?;
    Ok(ledger)
}

/// As [`sequenced`]; the customer maps cover the logs then.
fn mapped(root: &Path) -> anyhow::Result<Ledger> {
    let ledger = Ledger::open(root)?;
    let bar = Bar::of_leaves();
    let done = catch_up_mapped(&ledger, &|done, total| bar.leaves(done, total));
    bar.end();
    told(done)?;
    Ok(ledger)
}

/// Tells what was found and healed, or who is at work instead.
fn told(done: Result<Option<Vec<String>>, LedgerError>) -> anyhow::Result<()> {
    match done {
        Ok(Some(notices)) => notices.iter().for_each(|notice| note(notice)),
        Ok(None) => note("another process is at work on the ledger; this is shown as of its last checkpoint"),
        // Nothing is signed by reading: what is here is shown, and what is wrong with it is said.
        Err(error) if error.is_refusal() => note(&error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// The engine of a ledger's projections.
pub(crate) fn store_kind(ledger: &Ledger) -> anyhow::Result<StoreKind> {
    Ok(ledger.settings().store.parse()?)
}

/// The ledger in `root`, up to date, with its customer maps and its projections.
pub(crate) fn open(root: &Path) -> anyhow::Result<Opened> {
    let ledger = mapped(root)?;
    let projections = Projections::open(&ledger, store_kind(&ledger)?)?;
    let bar = Bar::of_leaves();
    let caught_up = projections.catch_up(&|done, total| bar.leaves(done, total));
    bar.end();
    for notice in projections.notices() {
        note(&notice);
    }
    caught_up?;
    let vault = ledger.vault()?;
    Ok(Opened {
        ledger,
        projections,
        vault,
    })
}
