//! A recording that is killed at any moment loses nothing, doubles nothing, and never takes back a checkpoint.
//!
//! In scope: `kill -9` of the process. Out of scope: power loss, which a test of the sequencer's steps covers.

use std::process::Stdio;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use crate::support::dice::Dice;
use crate::support::loyalty::{Event, events, lines};
use crate::support::{Run, World, list};
use sharetrail_ledger::Ledger;
use sharetrail_proof::tree::verify_consistency;

const SEED: u64 = 2_017;

#[test]
fn a_killed_recording_loses_and_doubles_nothing() {
    let rounds: usize = if env::var_os("SHARETRAIL_QUICK").is_some() {
        5
    } else {
        25
    };
    let all = events(20, 400);
    let part = all.len() / rounds;
    let world = World::with_ledger(1);
    let mut killing = Killing {
        world: &world,
        dice: Dice::new(SEED),
        limit: 2 * usual_time(&all[..2 * part]),
        checkpoints: Vec::new(),
    };
    for round in 0..rounds {
        // Each round tells a part again that the round before may not have put on record.
        let from = round.saturating_sub(1) * part;
        killing.round(round, &all[from..(round + 1) * part]);
    }
    let checkpoints = killing.checkpoints;
    let summary = world.record(&all).exits(0).json();
    let counts = [&summary["recorded"], &summary["skipped"]].map(|count| count.as_u64().expect("a number"));
    assert_eq!(counts.iter().sum::<u64>(), all.len() as u64);
    assert!(list(&summary["refused"]).is_empty());
    world.holds_each_once(&all);
    assert!(list(&world.status()["shards"][0]["problems"]).is_empty());
    assert!(
        checkpoints.len() > 1,
        "no round lived long enough to seal anything"
    );
    all_lead_to_the_last(&world, &checkpoints);
}

/// How long it takes to record these events, the start of the program included.
fn usual_time(events: &[Event]) -> Duration {
    let world = World::with_ledger(1);
    let started = Instant::now();
    world.record(events).exits(0);
    started.elapsed()
}

struct Killing<'a> {
    world: &'a World,
    dice: Dice,
    /// The longest that a round may live.
    limit: Duration,
    /// Every checkpoint that was seen published, in order.
    checkpoints: Vec<String>,
}

impl Killing<'_> {
    fn round(&mut self, round: usize, events: &[Event]) {
        let file = self.world.write("part.jsonl", lines(events).as_bytes());
        let limit = u64::try_from(self.limit.as_micros()).expect("a test is not that long");
        let delay = Duration::from_micros(self.dice.below(limit));
        let mut command = self.world.command();
        command.args(["--json", "record", file.as_str()]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        while started.elapsed() < delay {
            self.look();
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().expect("it can be killed");
        let run = Run::of(&child.wait_with_output().expect("it ends"));
        self.look();
        // It was killed, or it had ended before, and then well.
        assert!(
            run.code.is_none_or(|code| code == 0),
            "seed {SEED}, round {round}, after {delay:?}: {run:#?}"
        );
    }

    fn look(&mut self) {
        let path = self.world.ledger().join("log/0/checkpoint");
        let note = fs::read_to_string(path).expect("a checkpoint is replaced, never taken away");
        if self.checkpoints.last() != Some(&note) {
            self.checkpoints.push(note);
        }
    }
}

/// Asserts that the log as it is now extends the log of each of these checkpoints.
fn all_lead_to_the_last(world: &World, checkpoints: &[String]) {
    let ledger = Ledger::open(&world.ledger()).expect("it is a ledger");
    let policy = ledger.policy().expect("it has a policy");
    let reader = ledger.reader(0).expect("it has a shard");
    let last = policy.open(reader.note()).expect("the last checkpoint is signed");
    for note in checkpoints {
        let old = policy.open(note).expect("every checkpoint is signed");
        let proof = reader.consistency(old.size()).expect("the log is not shorter");
        verify_consistency(old.size(), old.root(), last.size(), last.root(), &proof)
            .expect("the log only grew");
    }
}
