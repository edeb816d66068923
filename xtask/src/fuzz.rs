//! `cargo xtask fuzz`: builds the fuzz targets with coverage on the stable compiler and runs them.
//!
//! In scope: the flags that cargo-fuzz would set, without its sanitizers, which need a nightly compiler: there is no
//! `unsafe` code here for them to watch. Out of scope: what the targets hold (`fuzz/targets.rs`), replaying the corpus
//! (the test `fuzz_corpus`). Trust: believes a target's exit code.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};

use crate::step;
use crate::tally::Tally;

/// Counters at every edge and comparison, as libFuzzer reads them.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1";
/// Named, so that the flags hold for the targets and not for build scripts.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";
/// A parser that takes longer over one input has lost its way.
const TIMEOUT_SECONDS: u32 = 10;

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each target is fuzzed
    #[arg(long, value_name = "N", default_value_t = 120)]
    seconds: u32,
    /// Which targets; all of them if none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

/// Fuzzes each target in turn; goes on after a fault, so that all are seen.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let known = targets()?;
    for target in &args.targets {
        ensure!(
            known.contains(target),
            "there is no fuzz target {target:?}; there are: {}",
            known.join(", ")
        );
    }
    let chosen = if args.targets.is_empty() {
        &known
    } else {
        &args.targets
    };
    build(chosen)?;
    let mut tally = Tally::default();
    for target in chosen {
        fuzz(target, args.seconds, &mut tally)?;
    }
    print!("{}", tally.report());
    Ok(if tally.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn folder() -> PathBuf {
    step::root().join("fuzz")
}

/// The names of all targets.
fn targets() -> anyhow::Result<Vec<String>> {
    let folder = folder().join("fuzz_targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .path();
        if let (Some("rs"), Some(name)) = (path.extension().and_then(|kind| kind.to_str()), path.file_stem())
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn build(targets: &[String]) -> anyhow::Result<()> {
    step::announce("cargo build: fuzz targets");
    let mut command = step::cargo(&["build", "--release", "--target", TRIPLE]);
    command.current_dir(folder());
    command
        .arg("--target-dir")
        .arg(folder().join("target"))
        .env("RUSTFLAGS", FLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    for target in targets {
        command.args(["--bin", target]);
    }
    let status = command.status().context("cannot start cargo")?;
    ensure!(status.success(), "the fuzz targets did not build: {status}");
    Ok(())
}

/// Fuzzes one target from the corpus. What it finds on the way stays in the target folder; what breaks it, in
/// `fuzz/artifacts`.
fn fuzz(target: &str, seconds: u32, tally: &mut Tally) -> anyhow::Result<()> {
    let found = folder().join("target/corpus").join(target);
    let artifacts = folder().join("artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let program = folder().join("target").join(TRIPLE).join("release").join(target);
    let mut command = Command::new(program);
    command
        .current_dir(step::root())
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg("-print_final_stats=1")
        .arg(&found)
        .arg(folder().join("corpus").join(target));
    step::run(&format!("fuzz {target}: {seconds} s"), &mut command, tally);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_found_and_others_refused_before_anything_is_built() {
        let known = targets().unwrap();
        assert!(known.contains(&"note".to_owned()) && known.is_sorted());
        let args = Args {
            seconds: 1,
            targets: vec!["no-such-target".into()],
        };
        assert!(run(&args).is_err());
    }
}
