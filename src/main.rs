//! `sharetrail`: the command line of an event-sourced data-sharing ledger.
//!
//! In scope: reading arguments, choosing the command, the exit code. Each command has a file of its own, which calls a
//! library and prints what it answers.
//!
//! Out of scope: everything that a ledger does. Trust: whoever runs this may do what the files' permissions allow.

mod answer;
mod audit;
mod authorize;
mod bar;
mod demo;
mod dossier;
mod erase;
mod hands;
mod init;
mod interrupt;
mod journal;
mod keys;
mod next_stream;
mod opened;
mod output;
mod rebuild;
mod record;
mod restore;
mod serve;
mod status;
mod story;
mod tokens;
mod trail;
mod verify;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::answer::Answer;
use crate::output::Output;

const EXIT_CODES: &str = "\
Exit codes: 0 yes; 1 disproved or refused; 2 could not be checked, bad usage or bad input; 130 interrupted.
Without a command: a demonstration in a temporary folder, with a server to look at. It leaves nothing behind.";

/// Keeps a ledger of who received what of a customer's data, and proves it.
#[derive(Parser)]
#[command(name = "sharetrail", version, after_help = EXIT_CODES, max_term_width = 100)]
struct Cli {
    /// The ledger's folder
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SHARETRAIL_LEDGER",
        default_value = "./sharetrail-data"
    )]
    ledger: PathBuf,
    /// Print JSON, for machines; errors too, on the standard error
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a ledger: its keys, its vault, its trust policy and its first producer
    Init(init::Args),
    /// Record events, one JSON object a line; what is on record already is passed over
    ///
    /// Good lines are recorded, each bad one is named by line, field and reason. Exit code 2 if a line was refused; 1
    /// if all that was refused has the source and id of another event that is on record, or was rejected.
    Record(record::Args),
    /// Show one customer's trail: what happened to their data, who received it, why and on what basis
    Trail(trail::Args),
    /// Write the file that proves a customer's trail, or that there is none, to somebody who has only it and the policy
    Dossier(dossier::Args),
    /// Say whether a customer's choices allow to share data with a recipient for a purpose; exit code 1 if they do not
    Authorize(authorize::Args),
    /// Check a dossier or an erasure certificate against a trust policy; no ledger is needed
    Verify(verify::Args),
    /// Erase a customer: the key is destroyed, so that nothing recorded can be read again, and every proof still holds
    ///
    /// Without --yes, only what would be erased is told, and the exit code is 2. Asked again, it writes the certificate;
    /// once new events are on record, --generation does. What is recorded later stands under another label.
    Erase(erase::Args),
    /// Check a whole ledger from its public files and the policy alone
    Audit(audit::Args),
    /// Delete the projections and the customer maps, and fold them anew from the log
    Rebuild(rebuild::Args),
    /// Bring back what an old backup or a lost bus lacks, from other copies of the folder
    Restore(restore::Args),
    /// Show the state of the ledger
    Status,
    /// List, add, rotate and revoke keys; register parties; enrol producers and hosts
    Keys(keys::Args),
    /// Work on the ledger until told to stop: sequence and project the shards that no other host leads
    ///
    /// Several hosts may serve one ledger over a NATS bus; each shard is led by one of them, the others keep its archive
    /// level and take over within seconds. Ctrl-C, or a TERM signal, ends cleanly.
    Serve(serve::Args),
    /// The demonstration that `sharetrail` alone gives, with options
    Demo(demo::Args),
    /// Close a shard's stream on a NATS bus and open the next, so that the old one can be removed
    NextStream(next_stream::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.json);
    let answer = run(&cli, &output).unwrap_or_else(|error| {
        output.error(&error);
        Answer::of_error(&error)
    });
    answer.into()
}

fn run(cli: &Cli, output: &Output) -> anyhow::Result<Answer> {
    let root = cli.ledger.as_path();
    match &cli.command {
        None => demo::run(&demo::Args::default(), output),
        Some(Command::Demo(args)) => demo::run(args, output),
        Some(Command::Authorize(args)) => authorize::run(root, args, output),
        Some(Command::Init(args)) => init::run(root, args, output),
        Some(Command::Record(args)) => record::run(root, args, output),
        Some(Command::Trail(args)) => trail::run(root, args, output),
        Some(Command::Dossier(args)) => dossier::run(root, args, output),
        Some(Command::Verify(args)) => verify::run(root, args, output),
        Some(Command::Erase(args)) => erase::run(root, args, output),
        Some(Command::Audit(args)) => audit::run(root, args, output),
        Some(Command::Rebuild(args)) => rebuild::run(root, args, output),
        Some(Command::Restore(args)) => restore::run(root, args, output),
        Some(Command::Status) => status::run(root, output),
        Some(Command::Keys(args)) => keys::run(root, args, output),
        Some(Command::Serve(args)) => serve::run(root, args, output),
        Some(Command::NextStream(args)) => next_stream::run(root, args, output),
    }
}

/// Help and version go to the standard output and are no error; anything else is bad usage.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        Output::new(true).error(&anyhow::Error::msg(
            text.trim().trim_start_matches("error: ").to_owned(),
        ));
    } else {
        // A reader that went away is nobody to tell.
        let _ = error.print();
    }
    if error.use_stderr() {
        Answer::Unknown.into()
    } else {
        Answer::Yes.into()
    }
}
