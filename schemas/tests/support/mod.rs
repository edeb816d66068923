//! The examples of `schemas/examples/`, for the tests that use them.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sharetrail_schemas::{Kind, Timestamp};

/// The examples of one kind.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Examples {
    /// A valid event with every field that the kind has.
    pub(crate) valid: Value,
    /// Events with one fault each.
    pub(crate) invalid: Vec<Fault>,
}

/// An event with one fault.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    /// What is wrong with it.
    pub(crate) why: String,
    /// The field that the error must name.
    pub(crate) field: String,
    /// Whether the JSON Schema refuses it too.
    pub(crate) schema: bool,
    /// The event.
    pub(crate) event: Value,
}

/// The caller's clock in all tests: later than every example.
pub(crate) const NOW: Timestamp = Timestamp::from_unix(1_800_000_000);

/// A file of this crate.
pub(crate) fn path(folder: &str, kind: Kind) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(format!("{kind}.v1.json"))
}

/// The examples of `kind`.
pub(crate) fn examples(kind: Kind) -> Examples {
    let path = path("examples", kind);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
