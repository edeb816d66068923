//! The README does what it says: its example program is the one that is built, its walk can be walked.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use support::{PROGRAM, World, list, run};

const LINES_MAX: usize = 120;

fn readme() -> String {
    read("README.md")
}

/// A file of the repository.
fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The contents of the fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let open = format!("```{language}\n");
    let after = text.split(open.as_str()).skip(1);
    after.filter_map(|rest| rest.split("```").next()).collect()
}

/// The commands of the walk: the block of the shell that begins with `sharetrail`.
fn walk(readme: &str) -> &str {
    let mut walks = blocks(readme, "sh")
        .into_iter()
        .filter(|block| block.starts_with("sharetrail "));
    walks.next().expect("the README walks through the commands")
}

/// The folder of the programs that are tested.
fn programs() -> &'static Path {
    Path::new(PROGRAM).parent().expect("a program lies in a folder")
}

#[test]
fn the_readme_is_short() {
    let count = readme().lines().count();
    assert!(count <= LINES_MAX, "{count} lines");
}

#[test]
fn the_example_in_the_readme_is_the_one_that_is_built() {
    let (readme, example) = (readme(), read("examples/publish.rs"));
    assert_eq!(blocks(&readme, "rust"), [example.as_str()]);
    assert!(example.lines().count() < 40);
}

#[test]
fn the_example_publishes_an_event_and_verifies_its_receipt() {
    let example: PathBuf = programs().join("examples/publish");
    assert!(
        example.is_file(),
        "{} is not built: run `cargo test` for the whole package",
        example.display()
    );
    let world = World::new();
    for count in 1..=2_usize {
        let mut command = Command::new(&example);
        command.arg(world.ledger()).current_dir(world.path("work"));
        let told = run(command.env("SHARETRAIL_HOME", world.path("home"))).exits(0);
        assert_eq!(world.status()["events"], count);
        let trail = world.trail("customer-42");
        let index = trail["events"][count - 1]["index"].to_string();
        let numbers: Vec<&str> = told.stdout.split(|c: char| !c.is_ascii_digit()).collect();
        assert!(numbers.contains(&index.as_str()), "{told:#?}");
    }
    assert_eq!(
        list(&world.trail("customer-42")["events"])[0]["kind"],
        "data.shared"
    );
}

#[test]
fn the_commands_in_the_readme_exist() {
    let (readme, world) = (readme(), World::new());
    let mut count = 0;
    for line in walk(&readme).lines() {
        for part in line.split(['|', '>']) {
            let mut words = part.split_whitespace();
            if words.next() != Some("sharetrail") {
                continue;
            }
            let command = words.next().expect("a command");
            let help = world.text(&[command, "--help"]).exits(0).stdout;
            for flag in words.filter(|word| word.starts_with('-') && word.len() > 1) {
                assert!(help.contains(flag), "{command} has no {flag}");
            }
            count += 1;
        }
    }
    assert!(count >= 5, "{count} commands");
}

#[test]
fn the_walk_in_the_readme_can_be_walked() {
    let (readme, world) = (readme(), World::new());
    let folders = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [programs().to_owned()]
            .into_iter()
            .chain(env::split_paths(&folders)),
    );
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", walk(&readme)])
        .current_dir(world.path("work"))
        .env("PATH", path.expect("paths without a separator"))
        .env("SHARETRAIL_HOME", world.path("home"))
        .env_remove("SHARETRAIL_LEDGER");
    let walked = run(&mut shell).exits(0);
    assert!(!walked.stdout.is_empty());
    let dossier = world.path("work").join("customer-42.dossier");
    assert!(dossier.is_file(), "{walked:#?}");
}
