//! The three verifiers on the files of `tests/interop/second/cases.py`: each broken or odd in one way that the document
//! decides, and most of them signed, so that no flipped byte reaches what they differ in.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{browsers, python};
use crate::support::{World, bare, run, text_of};

/// The fault: the document leaves something open, so that a file holds for one verifier, is altered for another and is
/// unknown to the third; or one of them reads what the others refuse.
#[test]
fn all_verifiers_say_what_the_document_says_of_broken_and_odd_files_as_the_browsers_does_in_node() {
    let Some(python) = python() else { return };
    let second = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/second");
    let world = World::with_ledger(1);
    let folder = world.path("cases");
    fs::create_dir(&folder).expect("the folder is new");
    run(Command::new(&python).arg(second.join("cases.py")).arg(&folder)).exits(0);
    run(Command::new(&python)
        .arg(second.join("verify.py"))
        .arg("--cases")
        .arg(&folder))
    .exits(0);
    let cases = text_of(&folder);
    browsers(&["--cases", &cases]).exits(0);
    let table = fs::read(folder.join("table.json")).expect("the table was written");
    let table: Vec<Value> = serde_json::from_slice(&table).expect("the table is JSON");
    assert!(table.len() > 200, "only {} cases", table.len());
    let wrong = table.iter().filter_map(|case| differs(&folder, case));
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What the program says of a case, if that is not what the table says.
fn differs(folder: &Path, case: &Value) -> Option<String> {
    let path = |member: &str| text_of(&folder.join(case[member].as_str().expect("a file's name")));
    let arguments = [
        "verify".to_owned(),
        path("file"),
        "--policy".to_owned(),
        path("policy"),
    ];
    let program = run(bare(folder).args(arguments));
    let expected = case["exit"].as_i64().and_then(|code| i32::try_from(code).ok());
    (program.code != expected).then(|| {
        let (name, code) = (&case["name"], program.code);
        format!(
            "{name}: expected {expected:?}, not {code:?}\n{}{}",
            program.stdout, program.stderr
        )
    })
}
