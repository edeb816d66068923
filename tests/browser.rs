//! The pages in a real Chromium, as each role: what they look like to people, and whether the proof is one.
//!
//! The demonstration's server runs as it does for anybody; `tests/browser/pages.py` looks at it. It needs a Python with
//! selenium; `SHARETRAIL_BROWSER_PYTHON` names it, and `cargo xtask test` brings one where Chromium is installed.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::support::run;
use crate::support::server::Server;

/// Runs one check of `pages.py` against a demonstration of its own.
#[track_caller]
fn look(check: &str) {
    let python = env::var_os("SHARETRAIL_BROWSER_PYTHON");
    let python = python.expect("SHARETRAIL_BROWSER_PYTHON must name a Python that has selenium");
    let server = Server::demo();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/pages.py");
    let mut command = Command::new(python);
    command.arg(script).args([server.url(), check]);
    command.arg("--folder").arg(server.folder());
    let found = run(&mut command);
    assert_eq!(found.code, Some(0), "{check}: {}\n{}", found.stdout, found.stderr);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn chromium_finds_every_page_accessible_in_light() {
    look("light");
}

#[test]
fn chromium_finds_every_page_accessible_in_dark() {
    look("dark");
}

#[test]
fn chromium_without_scripts_can_do_all_but_prove() {
    look("without_scripts");
}

/// The fault: a customer's choice is a picture of one.
#[test]
fn chromium_sees_a_withdrawn_choice_block_the_next_share() {
    look("choices");
}

#[test]
fn chromium_sees_a_deletion_asked_for_decided_and_proven() {
    look("deletion");
}

/// The fault: the proof is the server's word.
#[test]
fn chromium_sees_a_byte_that_was_changed_on_the_disk() {
    look("proof");
}

#[test]
fn chromium_checks_a_dossier_from_disk_without_a_network() {
    look("offline");
}

/// The fault: the browser's verifier accepts what was altered, or refuses what every other one accepts.
#[test]
fn chromium_refuses_every_altered_golden_file() {
    look("golden");
}
