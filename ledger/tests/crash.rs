//! The sequencer is stopped at each of its steps, and taken up again from what lies on disk.
//!
//! In scope: process crashes at every step, power cuts that lose what was not synced, many of them in one ledger.
//! Out of scope: old copies put back (`rollback`), damage of what was synced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use crate::support::sound::{assert_archive, assert_sound};
use crate::support::{Outbox, Rng, StopAt, TestLedger, decided, files_in, rounds};
use sharetrail_ledger::{Engine, Observer, Step};
use sharetrail_proof::checkpoint::Checkpoint;

const PRODUCER: &str = "shop.example";
const STEPS: [Step; 7] = [
    Step::Decided,
    Step::LeavesSynced,
    Step::TilesWritten,
    Step::Registered,
    Step::CopiedOutside,
    Step::Signed,
    Step::Published,
];

/// Publishes batches until the shard has stopped and one more was accepted after that. Gives what was acked.
fn publish_until_stopped(
    engine: &Engine,
    outbox: &mut Outbox,
    sizes: &mut dyn FnMut() -> usize,
) -> Vec<Vec<u8>> {
    let mut acked = Vec::new();
    loop {
        let frame = outbox.batch(engine, sizes());
        let seq = outbox.publish(engine, &frame);
        acked.push(frame);
        if !decided(engine, outbox.shard, seq) {
            break;
        }
        assert!(acked.len() < 50, "it never stopped");
    }
    let late = outbox.batch(engine, 2);
    outbox.publish(engine, &late);
    acked.push(late);
    acked
}

fn published(place: &TestLedger) -> Checkpoint {
    place.open().reader(0).unwrap().checkpoint().clone()
}

/// The fault: a checkpoint that is signed before its leaves, tiles or registration last leaves, after a crash at the
/// wrong moment, a signed root that nobody can recompute, or an acknowledged batch that is lost or doubled.
#[test]
fn a_crash_at_any_step_loses_and_doubles_nothing() {
    for step in STEPS {
        for nth in 1..=3 {
            let told = format!("stopped at {step:?}, time {nth}");
            let place = TestLedger::new(1);
            let stop = StopAt::new(0, step);
            let engine = stop.start(&place.open());
            let mut outbox = Outbox::open(&engine, PRODUCER, 0, 7);
            stop.arm(nth);
            // Together over 256 leaves, so that full tiles and bundles are among what is healed.
            let mut acked = publish_until_stopped(&engine, &mut outbox, &mut || 150);
            drop(engine);
            let before = published(&place);
            let engine = place.start();
            assert_sound(&place.open(), 0, &acked, &before, &told);
            let mut outbox = Outbox::open(&engine, PRODUCER, 0, 8);
            acked.push(outbox.record(&engine, 3));
            engine.stop().unwrap();
            assert_sound(&place.open(), 0, &acked, &before, &told);
        }
    }
}

/// The fault: the state is noted while tiles are still on their way to the disk; whoever takes up from the note finds
/// tiles missing. The step is reached after 65,536 leaves.
#[test]
fn a_crash_while_the_state_is_noted_is_healed() {
    let place = TestLedger::new(1);
    let stop = StopAt::new(0, Step::Snapshot);
    let engine = stop.start(&place.open());
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 9);
    stop.arm(1);
    let customer = outbox.customer(&engine);
    let mut acked = Vec::new();
    // One event, repeated: what the entries say does not matter here, their number does.
    let event = outbox.event(&engine, &customer);
    for _ in 0..66 {
        let frame = outbox.cut(&vec![event.clone(); 1_024]);
        outbox.publish(&engine, &frame);
        acked.push(frame);
    }
    drop(engine);
    let before = published(&place);
    let engine = place.start();
    assert_sound(&place.open(), 0, &acked, &before, "stopped at Snapshot");
    engine.stop().unwrap();
}

/// The fault: a start that takes up from the noted state wants the unfinished bundle of that size, which was removed
/// when the full one replaced it; so each unclean stop folds the whole log again and tells of damage that is none.
#[test]
fn a_crash_long_after_the_state_was_noted_is_no_damage() {
    let place = TestLedger::new(1);
    let stop = StopAt::new(0, Step::Published);
    let engine = stop.start(&place.open());
    let mut outbox = Outbox::open(&engine, PRODUCER, 0, 10);
    for _ in 0..4 {
        outbox.record(&engine, 100);
    }
    stop.arm(1);
    let frame = outbox.batch(&engine, 1);
    let seq = outbox.publish(&engine, &frame);
    assert!(!decided(&engine, 0, seq));
    drop(engine);
    let engine = place.start();
    assert!(
        engine.notices().is_empty(),
        "nothing was damaged: {:?}",
        engine.notices()
    );
}

/// What a power cut may take back: files that are written without a sync, because they can be made again.
fn is_derived(path: &Path) -> bool {
    let text = path.to_str().unwrap();
    text.starts_with("log/") || text.contains("/chains/") || text.ends_with(".offsets")
}

/// Takes back some of what was not synced since `synced` was all on disk: each file is lost, old, short or untouched.
fn power_cut(root: &Path, synced: &BTreeMap<PathBuf, Vec<u8>>, rng: &mut Rng) {
    for (path, bytes) in files_in(root) {
        if !is_derived(&path) || synced.get(&path) == Some(&bytes) {
            continue;
        }
        let old = synced.get(&path);
        let kept = old.map_or(0, |old| {
            old.iter().zip(&bytes).take_while(|(old, new)| old == new).count()
        });
        match (rng.below(4), old) {
            (0, _) => {}
            (1, _) => fs::write(
                root.join(&path),
                &bytes[..kept + rng.below(bytes.len() - kept + 1)],
            )
            .unwrap(),
            (_, Some(old)) => fs::write(root.join(&path), old).unwrap(),
            (_, None) => fs::remove_file(root.join(&path)).unwrap(),
        }
    }
}

/// The fault: something that is written without a sync is relied on after a power cut.
#[test]
fn a_power_cut_that_takes_unsynced_files_is_healed() {
    for seed in 0..u64::from(rounds(24)) {
        let mut rng = Rng(seed);
        let place = TestLedger::new(1);
        let engine = place.start();
        let mut outbox = Outbox::open(&engine, PRODUCER, 0, seed);
        let mut acked = vec![outbox.record(&engine, 1 + rng.below(300))];
        engine.stop().unwrap();
        let synced = files_in(&place.root);
        let step = STEPS[rng.below(STEPS.len())];
        let told = format!("seed {seed}, stopped at {step:?}");
        let stop = StopAt::new(0, step);
        let engine = stop.start(&place.open());
        let mut outbox = Outbox::open(&engine, PRODUCER, 0, seed + 1_000);
        stop.arm(1 + u32::try_from(rng.below(3)).unwrap());
        acked.extend(publish_until_stopped(&engine, &mut outbox, &mut || {
            1 + rng.below(300)
        }));
        drop(engine);
        let before = published(&place);
        power_cut(&place.root, &synced, &mut rng);
        let engine = Engine::start(&place.open()).unwrap_or_else(|error| panic!("{error}; {told}"));
        assert_archive(&place.open(), 0, &acked, &before, &told);
        // A repeat of everything: the list of a chain's batches must have been healed too.
        for frame in &acked {
            let seq = Outbox::open(&engine, PRODUCER, 0, 0).publish(&engine, frame);
            assert!(decided(&engine, 0, seq), "{told}");
        }
        engine.stop().unwrap();
        assert_archive(&place.open(), 0, &acked, &before, &told);
    }
}

/// The fault: a crash during the healing of a crash. Each start may itself be stopped.
#[test]
fn many_crashes_in_one_ledger_add_up_to_nothing() {
    let seed = 20;
    let mut rng = Rng(seed);
    let place = TestLedger::new(1);
    let mut acked: Vec<Vec<u8>> = Vec::new();
    let mut checkpoints = vec![published(&place)];
    for round in 0..rounds(40) {
        let step = STEPS[rng.below(STEPS.len())];
        let told = format!("seed {seed}, round {round}, stopped at {step:?}");
        if rng.below(4) == 0 {
            crash_at_start(&place, &mut rng);
        }
        let stop = StopAt::new(0, step);
        let engine = stop.start(&place.open());
        let mut outbox = Outbox::open(&engine, PRODUCER, 0, u64::from(round));
        stop.arm(1 + u32::try_from(rng.below(2)).unwrap());
        acked.extend(publish_until_stopped(&engine, &mut outbox, &mut || {
            1 + rng.below(40)
        }));
        drop(engine);
        let now = published(&place);
        assert!(
            checkpoints.last().is_some_and(|before| before.size <= now.size),
            "{told}"
        );
        checkpoints.push(now);
    }
    let engine = place.start();
    let (first, last) = (&checkpoints[0], checkpoints.last().unwrap());
    for before in [first, &checkpoints[checkpoints.len() / 2], last] {
        assert_sound(&place.open(), 0, &acked, before, &format!("seed {seed}"));
    }
    engine.stop().unwrap();
}

/// A start that is stopped at a step of its own; which one it reaches depends on what waits.
fn crash_at_start(place: &TestLedger, rng: &mut Rng) {
    let stop = StopAt::new(0, STEPS[rng.below(STEPS.len())]);
    stop.arm(1);
    let observer: Arc<dyn Observer> = stop;
    drop(Engine::start_observed(&place.open(), &observer));
}
