//! `next-stream`: closes a shard's stream on the bus and opens the next.
//!
//! In scope: arguments and the page. Out of scope: doing it, which the leading host does.

use std::path::Path;

use serde_json::json;
use sharetrail_ledger::wire::Control;
use sharetrail_ledger::{Engine, Ledger, host};

use crate::answer::Answer;
use crate::output::{Output, note};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which shard
    #[arg(long, value_name = "S")]
    shard: u32,
}

/// Closes the stream here, or has the host that leads close it.
pub(crate) fn run(root: &Path, args: &Args, output: &Output) -> anyhow::Result<Answer> {
    let ledger = Ledger::open(root)?;
    match Engine::start(&ledger) {
        Ok(engine) => {
            engine.notices().iter().for_each(|notice| note(notice));
            engine.next_stream(args.shard)?;
            engine.stop()?;
        }
        Err(error) if error.is_locked() && ledger.settings().bus.is_some() => {
            host::command(&ledger, &Control::NextStream { shard: args.shard })?;
        }
        Err(error) => return Err(error.into()),
    }
    let text = format!(
        "Shard {}: the stream is closed and the next one is open. What was not sealed comes again from the outboxes. \
         Remove the old stream once `sharetrail status` shows that nothing waits.",
        args.shard
    );
    output.give(&json!({ "shard": args.shard, "done": true }), |page| {
        page.holds(&text);
    })?;
    Ok(Answer::Yes)
}
