//! Writes the golden dossier, absence and erasure certificate of version 1 with their policy into a folder.
//!
//! In scope: what lies in `tests/golden/`, from the fixed seeds of the tests. It was run once; the files are frozen, and
//! no test writes them. So this program refuses to overwrite: it is here to show where they came from.
//! Usage: `cargo run --example golden -- FOLDER`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use support::{Ledger, party_named};

/// Somebody whose generations 0, 1 and 2 live on shards 0, 1 and 0 of two.
const CUSTOMER: &str = "customer-1";

fn main() -> Result<(), Box<dyn Error>> {
    let Some(folder) = std::env::args_os().nth(1) else {
        return Err("name the folder to write into".into());
    };
    let ledger = ledger();
    let others = ["insurer"];
    let dossier = ledger.collect_with(CUSTOMER, 2, &others).finish();
    let absence = ledger.dossier("nobody", 0);
    let certificate = ledger.certificate(CUSTOMER, 0);
    let policy = ledger.policy();
    dossier.verify(&policy)?;
    absence.verify(&policy)?;
    certificate.verify(&policy)?;
    for (name, bytes) in [
        ("dossier-v1.json", dossier.to_bytes()),
        ("absence-v1.json", absence.to_bytes()),
        ("erasure-v1.json", certificate.to_bytes()),
        ("policy-v1", policy.to_string().into_bytes()),
    ] {
        let path = Path::new(&folder).join(name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        file.and_then(|mut file| file.write_all(&bytes))
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// A customer who was erased, came back, and did something more after the last map root; and a recipient that is
/// registered and signs nothing.
fn ledger() -> Ledger {
    let (mut ledger, till) = Ledger::with_till(2);
    ledger.seal();
    ledger.record(&till, CUSTOMER, 0, 0..2);
    ledger.record(&till, "bob", 0, 0..1);
    ledger.erase(CUSTOMER, 0);
    ledger.record(&till, "alice", 0, 0..1);
    ledger.record(&till, CUSTOMER, 1, 2..4);
    ledger.register(&[("insurer", party_named("Insurer AG"))]);
    ledger.seal();
    ledger.record(&till, CUSTOMER, 1, 4..5);
    ledger
}
