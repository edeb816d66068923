//! Opening a ledger to read it: what waits is sequenced, then the projections are folded.
//!
//! In scope: what all commands that read have in common. Out of scope: what they read.

use std::path::Path;

use sharetrail_consumers::Projections;
use sharetrail_consumers::store::StoreKind;
use sharetrail_ledger::{Ledger, Vault, catch_up};

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

/// Opens the ledger in `root` and brings it up to date; where another process is at work, that one does.
pub(crate) fn sequenced(root: &Path) -> anyhow::Result<Ledger> {
    let ledger = Ledger::open(root)?;
    match catch_up(&ledger) {
        Ok(Some(notices)) => notices.iter().for_each(|notice| note(notice)),
        Ok(None) => note("another process is at work on the ledger; this is shown as of its last checkpoint"),
        // Nothing is signed by reading: what is here is shown, and what is wrong with it is said.
        Err(error) if error.is_refusal() => note(&error.to_string()),
        Err(error) => return Err(error.into()),
    }
    Ok(ledger)
}

/// The engine of a ledger's projections.
pub(crate) fn store_kind(ledger: &Ledger) -> anyhow::Result<StoreKind> {
    Ok(ledger.settings().store.parse()?)
}

/// The ledger in `root`, up to date, with its projections.
pub(crate) fn open(root: &Path) -> anyhow::Result<Opened> {
    let ledger = sequenced(root)?;
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
