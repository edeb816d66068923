//! What this program writes, read by software that shares no code with it: a log as it lies on disk by the package
//! aics-tlog, dossiers and certificates by `tests/interop/second/verify.py`, which was written from `docs/formats.md`.
//!
//! The first needs a Python with the package; `SHARETRAIL_TLOG_PYTHON` names it, and `cargo xtask test` brings one. The
//! second needs that or any other `python3` of version 3.11, and nothing else.

mod verdicts;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::support::dice::Dice;
use crate::support::loyalty::{customer, events};
use crate::support::{Run, World, bare, list, run, text_of};
use serde_json::Value;

/// Bytes that are changed in each file, one at a time.
const FLIPS: usize = 6;
const SEED: u64 = 9_381;

/// Runs the checker on a shard's log.
fn check(world: &World, shard: u32, old: Option<&Path>) -> Run {
    let python = env::var_os("SHARETRAIL_TLOG_PYTHON");
    let python = python.expect("SHARETRAIL_TLOG_PYTHON must name a Python that has aics-tlog 0.2.1");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/check_tlog.py");
    let mut command = Command::new(python);
    command.arg(script).arg(log(world, shard)).arg(key(world, shard));
    if let Some(old) = old {
        command.arg("--old").arg(old);
    }
    run(&mut command)
}

fn log(world: &World, shard: u32) -> PathBuf {
    world.ledger().join("log").join(shard.to_string())
}

/// The log's verifier key, as the policy has it.
fn key(world: &World, shard: u32) -> String {
    let policy = fs::read_to_string(world.ledger().join("policy")).expect("there is a policy");
    let origin = format!("/log/{shard}of");
    let mut keys = policy.lines().filter_map(|line| line.strip_prefix("log "));
    let key = keys.find(|key| key.contains(&origin));
    key.expect("the policy knows the log").to_owned()
}

#[test]
fn aics_tlog_confirms_a_log_and_that_it_grew_from_an_older_one() {
    let world = World::with_ledger(2);
    let all = events(20, 60);
    world.record(&all[..300]).exits(0);
    let old: Vec<PathBuf> = (0..2).map(|shard| keep_checkpoint(&world, shard)).collect();
    world.record(&all).exits(0);
    let status = world.status();
    for (shard, old) in (0..).zip(&old) {
        let found: Value = check(&world, shard, Some(old)).exits(0).json();
        assert_eq!(found["ok"], true);
        assert_eq!(found["size"], status["shards"][shard as usize]["leaves"]);
        assert_eq!(found["root"], status["shards"][shard as usize]["root"]);
        assert_eq!(found["consistency_proofs"], 1);
    }
}

/// Puts the checkpoint of now aside.
fn keep_checkpoint(world: &World, shard: u32) -> PathBuf {
    let kept = world.path(&format!("checkpoint-{shard}"));
    fs::copy(log(world, shard).join("checkpoint"), &kept).expect("there is a checkpoint");
    kept
}

#[test]
fn aics_tlog_disproves_a_log_with_one_changed_byte() {
    let world = World::with_ledger(1);
    world.record(&events(10, 60)).exits(0);
    check(&world, 0, None).exits(0);
    for name in ["tile/0/000", "tile/entries/000", "checkpoint"] {
        let path = log(&world, 0).join(name);
        let good = fs::read(&path).expect("the log has more than 256 leaves");
        let mut bad = good.clone();
        bad[good.len() / 2] ^= 1;
        fs::write(&path, &bad).expect("a tile can be written");
        check(&world, 0, None).exits(1);
        fs::write(&path, &good).expect("a tile can be written");
    }
    check(&world, 0, None).exits(0);
}

#[test]
fn aics_tlog_disproves_that_a_log_grew_from_another() {
    let (world, other) = (World::with_ledger(1), World::with_ledger(1));
    world.record(&events(4, 20)).exits(0);
    other.record(&events(2, 4)).exits(0);
    check(&world, 0, Some(&keep_checkpoint(&other, 0))).exits(1);
}

/// The Python for the second verifier; nothing where there is none.
fn python() -> Option<PathBuf> {
    let python = env::var_os("SHARETRAIL_TLOG_PYTHON").unwrap_or_else(|| "python3".into());
    let mut probe = Command::new(&python);
    let probe = probe
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if probe.is_ok_and(|status| status.success()) {
        return Some(python.into());
    }
    eprintln!("left out: there is no python3, so the second verifier was not run");
    None
}

/// Runs the second verifier on a file.
fn second(python: &Path, file: &Path, policy: &Path) -> Run {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/second/verify.py");
    let mut command = Command::new(python);
    command
        .arg(script)
        .arg(file)
        .arg("--policy")
        .arg(policy)
        .arg("--json");
    run(&mut command)
}

#[test]
fn the_second_verifier_holds_its_test_vectors_and_confirms_the_golden_files() {
    let Some(python) = python() else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = root.join("tests/interop/second/verify.py");
    run(Command::new(&python).arg(script).arg("--self-test")).exits(0);
    let golden = root.join("ledger/proof/tests/golden");
    for name in ["dossier-v1.json", "absence-v1.json", "erasure-v1.json"] {
        let found = second(&python, &golden.join(name), &golden.join("policy-v1"))
            .exits(0)
            .json();
        assert_eq!(found["verdict"], "holds", "{name}");
    }
}

/// A dossier of a customer who was erased and came back, that there is nothing of another, and a certificate.
fn files_of_every_kind(world: &World) -> [PathBuf; 3] {
    let [dossier, absence, certificate] = ["dossier", "absence", "certificate"].map(|name| world.path(name));
    let all = events(6, 8);
    world.record(&all[..24]).exits(0);
    let erased = customer(3);
    world
        .run(&["erase", &erased, "--yes", "-o", &text_of(&certificate)])
        .exits(0);
    world.record(&all[24..]).exits(0);
    for (file, customer) in [(&dossier, &erased), (&absence, &customer(3_000))] {
        world.run(&["dossier", customer, "-o", &text_of(file)]).exits(0);
    }
    [dossier, absence, certificate]
}

#[test]
fn both_verifiers_confirm_what_the_program_makes_and_disprove_what_was_changed() {
    let Some(python) = python() else { return };
    let world = World::with_ledger(2);
    let files = files_of_every_kind(&world);
    let policy = world.ledger().join("policy");
    let mut dice = Dice::new(SEED);
    for file in &files {
        let found = second(&python, file, &policy).exits(0).json();
        assert_eq!(found["verdict"], "holds", "{}", file.display());
        let good = fs::read(file).expect("the file was made");
        let changed = world.path("changed");
        fs::write(&changed, renamed(&good)).expect("a file can be written");
        second(&python, &changed, &policy).exits(1);
        for _ in 0..FLIPS {
            let at = dice.place(good.len());
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&changed, &bad).expect("a file can be written");
            let arguments = ["verify", &text_of(&changed), "--policy", &text_of(&policy)];
            run(bare(&world.path("work")).args(arguments)).exits(1);
            let found = second(&python, &changed, &policy);
            assert_eq!(found.code, Some(1), "{}, byte {at}: {found:#?}", file.display());
        }
    }
}

/// The same file, about another customer.
fn renamed(good: &[u8]) -> String {
    let text = String::from_utf8(good.to_vec()).expect("JSON is text");
    let other = text.replacen("\"customer\":\"", "\"customer\":\"x", 1);
    assert_ne!(other, text);
    other
}

/// Runs the browser's verifier.
fn browsers(arguments: &[&str]) -> Run {
    let node = env::var_os("SHARETRAIL_NODE").expect("SHARETRAIL_NODE must name Node 20 or later");
    let mut command = Command::new(node);
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg("tests/browser/verify_node.mjs")
        .arg("consumers/assets/verifier");
    run(command.args(arguments))
}

/// What the program and the browser's verifier say about whether anything was shared with a party; asserts that it is the
/// same.
#[track_caller]
fn never_shared(file: &str, policy: &str, party: &str) -> Value {
    let arguments = [file, "--policy", policy, "--never-shared-with", party];
    let theirs = browsers(&[&arguments[..], &["--json"]].concat()).exits(0).json();
    let told = run(bare(Path::new(env!("CARGO_MANIFEST_DIR")))
        .arg("verify")
        .args(arguments))
    .json();
    assert_eq!(theirs["never_shared"], told["never_shared"], "{party} in {file}");
    told["never_shared"].clone()
}

/// The fault: the page says "never" where the program cannot say, or counts another recipient's disclosures.
#[test]
fn the_browsers_verifier_says_of_recipients_what_the_program_says_in_node() {
    let world = World::with_ledger(2);
    world.record(&events(6, 8)).exits(0);
    for party in ["mailhouse-a.example", "mailhouse-c.example", "broker.example"] {
        let arguments = ["keys", "party", party, "--name", "A company", "--country", "IE"];
        world.run(&arguments).exits(0);
    }
    let policy = text_of(&world.ledger().join("policy"));
    let mut answers = Vec::new();
    for household in 1..=6 {
        let file = text_of(&world.path(&format!("{household}.dossier")));
        let customer = customer(household);
        world
            .run(&["dossier", &customer, "-o", &file, "--party", "broker.example"])
            .exits(0);
        let facts = browsers(&[&file, "--policy", &policy, "--json"]).exits(0).json()["facts"].clone();
        let told = world.run(&["trail", &customer]).exits(0).json();
        let fields = |one: &Value| {
            let names = [
                "id",
                "name",
                "role",
                "country",
                "disclosures",
                "categories",
                "purposes",
                "first",
                "last",
            ];
            names.map(|name| one[name].clone())
        };
        let listed = |recipients: &Value| list(recipients).iter().map(fields).collect::<Vec<_>>();
        let expected = listed(&told["recipients"]);
        assert!(!expected.is_empty());
        assert_eq!(listed(&facts["sharing"]["recipients"]), expected, "{customer}");
        for party in ["mailhouse-a.example", "broker.example", "stranger.example"] {
            answers.push(never_shared(&file, &policy, party)["answer"].clone());
        }
    }
    for answer in ["shared", "never", "cannot_say"] {
        assert!(answers.contains(&Value::from(answer)), "{answer}: {answers:?}");
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("ledger/proof/tests/golden");
    let policy = text_of(&golden.join("policy-v1"));
    for name in ["dossier-v1.json", "absence-v1.json"] {
        for party in ["insurer", "till", "stranger.example"] {
            never_shared(&text_of(&golden.join(name)), &policy, party);
        }
    }
}

/// The fault: what runs in browsers was written from another document, or computes something else than its vectors say.
#[test]
fn the_browsers_verifier_holds_the_vectors_and_refuses_what_is_altered_in_node() {
    browsers(&["--self-test"]).exits(0);
    let world = World::with_ledger(2);
    world.record(&events(20, 60)).exits(0);
    let (file, policy) = (
        text_of(&world.path("one.dossier")),
        text_of(&world.ledger().join("policy")),
    );
    world.run(&["dossier", &customer(3), "-o", &file]).exits(0);
    browsers(&[&file, "--policy", &policy]).exits(0);
    let whole = fs::read(&file).expect("the dossier was written");
    let mut dice = Dice::new(SEED);
    for _ in 0..FLIPS {
        let mut altered = whole.clone();
        let at = dice.place(altered.len());
        altered[at] ^= 1;
        fs::write(&file, &altered).expect("the file can be written");
        let told = browsers(&[&file, "--policy", &policy]);
        assert!(matches!(told.code, Some(1 | 2)), "byte {at}: {told:#?}");
    }
}
