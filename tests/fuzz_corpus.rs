//! The fuzz targets without a fuzzer: every input that was ever worth keeping, and some thousands that are like it.
//!
//! In scope: replaying `fuzz/corpus/` through the very properties that the fuzzer holds, with seeded mutations. What a
//! fuzzer finds is put into the corpus, and from then on fails here. Out of scope: searching (`cargo xtask fuzz`).

#[path = "../fuzz/targets.rs"]
mod targets;

use std::env;
use std::fs;
use std::ops::Range;
use std::panic;
use std::path::{Path, PathBuf};
use std::thread;

use crate::fuzz_corpus::targets::{TARGETS, Target};
use crate::support::dice::Dice;

/// The longest piece that one mutation repeats, removes or puts in.
const PIECE_BYTES: usize = 64;

/// Bytes that mean something in the formats: ends of numbers, of lines, of lengths, of JSON.
const TELLING: [u8; 20] = *b"\x00\x01\x02\x03\x04\x7f\x80\xff\n\r \"{}[]0+=/";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The names in a folder of `fuzz`.
fn names_in(part: &str) -> Vec<String> {
    let folder = folder().join(part);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The inputs of a target by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let part = format!("corpus/{target}");
    let read = |name: String| {
        let bytes = fs::read(folder().join(&part).join(&name)).unwrap();
        (name, bytes)
    };
    let seeds: Vec<_> = names_in(&part).into_iter().map(read).collect();
    assert!(!seeds.is_empty(), "{part} is empty");
    seeds
}

fn mutations_a_seed() -> usize {
    if env::var_os("SHARETRAIL_QUICK").is_some() {
        50
    } else {
        500
    }
}

fn piece(dice: &mut Dice, length: usize) -> Range<usize> {
    let start = dice.place(length + 1);
    start..start + dice.place((length - start).min(PIECE_BYTES) + 1)
}

/// One change; `other` is another good input.
fn change(dice: &mut Dice, input: &mut Vec<u8>, other: &[u8]) {
    let at = dice.place(input.len() + 1);
    let telling = TELLING[dice.place(TELLING.len())];
    match dice.below(8) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = telling,
        2 => input.truncate(at),
        3 => input.insert(at, telling),
        4 => {
            let copied = piece(dice, input.len());
            let copied = input[copied].to_vec();
            input.splice(at..at, copied);
        }
        5 => {
            let removed = piece(dice, input.len());
            input.drain(removed);
        }
        6 => {
            input.truncate(at);
            input.extend_from_slice(&other[dice.place(other.len() + 1)..]);
        }
        _ => {
            let replaced = piece(dice, input.len());
            let instead = piece(dice, other.len());
            input.splice(replaced, other[instead].iter().copied());
        }
    }
}

/// Runs a target; a failure names the input, so that it can be kept.
fn run(name: &str, target: Target, origin: &str, input: &[u8]) -> bool {
    panic::catch_unwind(|| target(input)).unwrap_or_else(|_| {
        panic!(
            "{name}, {origin}: put this into fuzz/corpus/{name}: b\"{}\"",
            input.escape_ascii()
        )
    })
}

fn replay(name: &str, target: Target, seed: u64) {
    let seeds = seeds(name);
    let taken = seeds
        .iter()
        .filter(|(file, bytes)| run(name, target, file, bytes))
        .count();
    assert!(taken > 0, "fuzz/corpus/{name}: the parser takes none of it");
    let mut dice = Dice::new(seed);
    for (file, bytes) in &seeds {
        for number in 0..mutations_a_seed() {
            let mut input = bytes.clone();
            for _ in 0..=dice.below(3) {
                let other = &seeds[dice.place(seeds.len())].1;
                change(&mut dice, &mut input, other);
            }
            run(name, target, &format!("{file}, mutation {number}"), &input);
        }
    }
}

#[test]
fn what_is_in_the_corpus_and_what_is_like_it_breaks_no_parser() {
    thread::scope(|scope| {
        for ((name, target), seed) in TARGETS.into_iter().zip(0..) {
            scope.spawn(move || replay(name, target, seed));
        }
    });
}

/// A target without a program is never fuzzed, one without a corpus is fuzzed from nothing.
#[test]
fn every_target_has_a_program_and_a_corpus() {
    let targets: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    let programs: Vec<String> = targets.iter().map(|target| format!("{target}.rs")).collect();
    assert_eq!(names_in("fuzz_targets"), programs);
    assert_eq!(names_in("corpus"), targets);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for target in targets {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
            "{target}"
        );
    }
}

#[test]
fn mutations_are_the_same_each_time_and_go_everywhere() {
    let mutate = |seed| {
        let mut input = b"0123456789".to_vec();
        change(&mut Dice::new(seed), &mut input, b"abc");
        input
    };
    let all: Vec<Vec<u8>> = (0..200).map(mutate).collect();
    assert_eq!(all, (0..200).map(mutate).collect::<Vec<_>>());
    assert!(all.iter().any(|input| input.len() < 10) && all.iter().any(|input| input.len() > 10));
    let mut none = Vec::new();
    for seed in 0..200 {
        change(&mut Dice::new(seed), &mut none, b"");
    }
}
