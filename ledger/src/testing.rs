//! What the unit tests of this crate have in common.
//!
//! In scope: a ledger in a temporary folder. Out of scope: ledgers at work (`tests/support`). Trust: none needed.

use sharetrail_proof::name::Name;
use tempfile::TempDir;

use crate::init::{InitOptions, init};
use crate::ledger::Ledger;

/// A new ledger called `shop.example`, with what lies outside of it, in a folder that goes away: `ledger` and `outside`.
pub(crate) fn ledger(shards: u32) -> (TempDir, Ledger) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = InitOptions {
        shards,
        outside: Some(folder.path().join("outside")),
        ..InitOptions::new(Name::new("shop.example").expect("a name"))
    };
    let made = init(&folder.path().join("ledger"), &options).expect("a ledger");
    (folder, made.ledger)
}
