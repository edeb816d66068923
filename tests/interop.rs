//! A log as it lies on disk, read by software that shares no code with this one.
//!
//! Needs a Python with the package aics-tlog; `SHARETRAIL_TLOG_PYTHON` names it. `cargo xtask test` brings one.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;
use support::loyalty::events;
use support::{Run, World, run};

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
