//! Runs one program of the many that a check consists of.
//!
//! In scope: starting it in the workspace's root, passing on what it prints. Out of scope: what its output means.
//! An interrupt from the keyboard reaches the programs and this one alike, so nothing is left running.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

use crate::tally::Tally;

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the folder of the workspace")
}

/// The cargo that started this program, in the workspace's root.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(arguments);
    // `cargo run` describes xtask in these; inherited, they make build scripts of dependencies run again.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Prints the heading of a step.
pub(crate) fn announce(name: &str) {
    println!("\n== {name}");
}

/// Runs `command` as one step: it counts as one passed or one failed.
pub(crate) fn run(name: &str, command: &mut Command, tally: &mut Tally) {
    announce(name);
    match command.status() {
        Ok(status) if status.success() => tally.pass(),
        Ok(status) => tally.fail(format!("{name}: {status}")),
        Err(error) => tally.fail(format!("{name}: cannot start it: {error}")),
    }
}

/// Runs `command`; each line that it prints is passed on at once and given to `hear`.
pub(crate) fn stream(command: &mut Command, hear: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let heard = child
        .stdout
        .take()
        .map_or(Ok(()), |pipe| pass_on(pipe, &mut io::stdout(), hear));
    let status = child.wait().context("cannot wait for cargo")?;
    heard.context("cannot pass on what cargo printed")?;
    Ok(status)
}

fn pass_on(from: impl Read, to: &mut impl Write, mut hear: impl FnMut(&str)) -> io::Result<()> {
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        hear(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    Ok(())
}

/// Runs `command` without showing what it prints; the error is the last line of it.
pub(crate) fn quiet(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output().context("cannot start it")?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match said.lines().map(str::trim).rfind(|line| !line.is_empty()) {
        Some(line) => bail!("{line}"),
        None => bail!("{}", output.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_passed_on_unchanged_and_heard_without_their_ends() {
        let (mut shown, mut heard) = (Vec::new(), Vec::new());
        pass_on(&b"one\r\ntwo \xff\nlast"[..], &mut shown, |line| {
            heard.push(line.to_owned());
        })
        .unwrap();
        assert_eq!(shown, b"one\r\ntwo \xff\nlast");
        assert_eq!(heard, ["one", "two \u{fffd}", "last"]);
    }

    #[test]
    fn the_root_holds_the_workspace() {
        assert!(root().join("xtask/src/step.rs").is_file());
    }

    #[test]
    fn a_quiet_failure_is_told_by_its_last_line() {
        let error = quiet(&mut cargo(&["no-such-subcommand-of-cargo"])).unwrap_err();
        assert_eq!(error.to_string().lines().count(), 1);
        quiet(&mut cargo(&["--version"])).unwrap();
    }
}
