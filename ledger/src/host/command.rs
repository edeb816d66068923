//! Asking the host that leads to change the registry or a stream, or to erase a customer.
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
/// Before an erasure is put on record, the leases that producers have are waited out.
const ERASURE_WAIT: Duration = Duration::from_mins(3);

/// Has the host that leads carry out a command; returns when it is done.
pub fn command(ledger: &Ledger, control: &Control) -> Result<(), LedgerError> {
    let (nats, vault) = (ledger.connect()?, ledger.vault()?);
    let commands = Commands::new(&vault);
    let asked = commands.ask(control)?;
    let to = nats.names().control();
    let wait = match control {
        Control::Erase { .. } => ERASURE_WAIT,
        _ => ANSWER_WAIT,
    };
    let reply = runtime(ledger)?.block_on(nats.request(&to, asked.bytes().to_vec(), wait))?;
    commands.read(&asked, &reply)
}
