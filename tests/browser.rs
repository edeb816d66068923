//! The pages in a real Chromium, as each role: what they look like to people, and whether the proof is one.
//!
//! The demonstration's server runs as it does for anybody; `tests/browser/pages.py` looks at it. It needs a Python with
//! selenium; `SHARETRAIL_BROWSER_PYTHON` names it, and `cargo xtask test` brings one where Chromium is installed.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::support::server::Server;
use crate::support::{PROGRAM, run};

/// One check of `pages.py`, to be run.
fn pages(url: &str, check: &str) -> Command {
    let python = env::var_os("SHARETRAIL_BROWSER_PYTHON");
    let python = python.expect("SHARETRAIL_BROWSER_PYTHON must name a Python that has selenium");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/pages.py");
    let mut command = Command::new(python);
    command.arg(script).args([url, check]);
    command
}

#[track_caller]
fn finds_nothing(command: &mut Command) {
    let found = run(command);
    assert_eq!(found.code, Some(0), "{}\n{}", found.stdout, found.stderr);
}

/// Runs one check of `pages.py` against a demonstration of its own.
#[track_caller]
fn look(check: &str) {
    let server = Server::demo();
    finds_nothing(pages(server.url(), check).arg("--folder").arg(server.folder()));
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

/// The fault: whoever starts the demonstration again is told that their data was altered; or what prevents that hides a
/// rewritten history, or another ledger where no demonstration is.
#[test]
fn chromium_takes_a_second_demonstration_for_a_new_one() {
    // It starts two, one after the other at one port.
    finds_nothing(pages("none", "again").args(["--program", PROGRAM]));
}

/// The fault: whether somebody received data is known from the server's pages alone; or "never" is said of a party that the
/// dossier does not show.
#[test]
fn chromium_answers_who_received_data_from_the_dossier_alone() {
    look("asking");
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
