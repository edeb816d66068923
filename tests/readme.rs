//! The README does what it says: its example program is the one that is built, its walk can be walked.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::support::server::Server;
use crate::support::{PROGRAM, World, list, run, text_of};

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

/// The commands of the walk with curl.
fn walk_with_curl(readme: &str) -> &str {
    let mut walks = blocks(readme, "sh")
        .into_iter()
        .filter(|block| block.contains("\ncurl "));
    walks.next().expect("the README walks through the API with curl")
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
fn the_lines_of_rust_in_the_readme_are_built() {
    let (readme, example) = (readme(), read("examples/publish.rs"));
    let mut body = String::new();
    for line in example.lines() {
        body.push_str(line.strip_prefix("    ").unwrap_or(line));
        body.push('\n');
    }
    let shown = blocks(&readme, "rust");
    assert!(!shown.is_empty());
    for lines in shown {
        assert!(body.contains(lines), "not in examples/publish.rs:\n{lines}");
    }
}

/// The fault: the picture of the output is of a program that was.
#[test]
fn the_picture_in_the_readme_is_what_the_demonstration_tells() {
    let (readme, world) = (readme(), World::new());
    let told = world.text(&["demo", "--story"]).exits(0).stdout;
    let told: Vec<&str> = told.lines().map(without_leaf).collect();
    let shown = blocks(&readme, "");
    let picture = shown
        .iter()
        .find(|block| block.starts_with("Trail of "))
        .expect("the README shows what is told");
    // The links are told by the server alone, which tests of their own look at.
    for line in picture
        .lines()
        .filter(|line| *line != "…" && !line.starts_with("  as "))
    {
        assert!(told.contains(&without_leaf(line)), "nothing tells: {line}");
    }
}

/// A line without the leaf at its end: which one it is depends on how many batches the events came in.
fn without_leaf(line: &str) -> &str {
    let parts = line.rsplit_once("  leaf ");
    let parts = parts.filter(|(_, leaf)| leaf.bytes().all(|byte| byte.is_ascii_digit()));
    parts.map_or(line, |(line, _)| line)
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
            let words: Vec<&str> = words.collect();
            // Only `keys` has commands of its own.
            let own = words.first().filter(|_| command == "keys");
            let asked: Vec<&str> = [Some(command), own.copied(), Some("--help")]
                .into_iter()
                .flatten()
                .collect();
            let help = world.text(&asked).exits(0).stdout;
            for flag in words
                .iter()
                .filter(|word| word.starts_with("--") || (word.starts_with('-') && word.len() == 2))
            {
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

/// The fault: who reads the README first cannot do what it says.
#[test]
fn the_walk_with_curl_can_be_walked() {
    let (readme, server) = (readme(), Server::demo());
    let walk = walk_with_curl(&readme);
    let usual = "http://127.0.0.1:8433";
    let build = "cargo run --release --";
    assert!(walk.contains(usual) && walk.contains(build), "{walk}");
    let walk = walk
        .replace(usual, server.url())
        .replace(build, &text_of(Path::new(PROGRAM)));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut shell = Command::new("sh");
    shell
        .args(["-euc", &walk])
        .current_dir(folder.path())
        .env_remove("http_proxy")
        .env_remove("SHARETRAIL_LEDGER");
    let walked = run(&mut shell).exits(0);
    assert!(walked.stdout.contains("\"recorded\":1"), "{walked:#?}");
    assert_eq!(server.end(), Some(0));
}
