//! Asking the host that leads to change the registry or a stream.
//!
//! In scope: one command, sent and answered. Out of scope: what it does. Trust: the answer opens under the vault's secret
//! or does not count.

use std::time::Duration;

use super::runtime;
use crate::desk::Commands;
use crate::error::LedgerError;
use crate::ledger::Ledger;
use crate::wire::Control;

/// A change of the registry is sealed in every shard before it is answered.
const ANSWER_WAIT: Duration = Duration::from_mins(1);

/// Has the host that leads carry out a command; returns when it is done.
pub fn command(ledger: &Ledger, control: &Control) -> Result<(), LedgerError> {
    let (nats, vault) = (ledger.connect()?, ledger.vault()?);
    let commands = Commands::new(&vault);
    let asked = commands.ask(control)?;
    let to = nats.names().control();
    let reply = runtime(ledger)?.block_on(nats.request(&to, asked.bytes().to_vec(), ANSWER_WAIT))?;
    commands.read(&asked, &reply)
}
