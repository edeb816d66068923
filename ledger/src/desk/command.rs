//! The operator's commands to the host that leads, encrypted like everything between hosts.
//!
//! ```text
//! command  u8 3 ‖ u64 Unix seconds ‖ JSON of a `Control`     → JSON of a `ControlReply`
//! ```
//! Only a process with the ledger's keys can make one; the bus cannot, nor say one again: a command is taken once, and
//! only while it is fresh. In scope: both ends. Out of scope: carrying it, carrying it out.
//! Trust: what opens comes from a process with this vault's secret.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::seal::{Asked, Channel, Nonce};
use crate::clock::unix_now;
use crate::error::LedgerError;
use crate::vault::Vault;
use crate::wire::{Control, ControlReply};

const COMMAND: u8 = 3;
/// How far the clocks of two hosts may be apart, and how long a command counts as fresh.
const FRESH_SECONDS: u64 = 60;

/// Makes and takes commands.
pub struct Commands {
    channel: Channel,
    /// Commands taken lately: nonce → when they were made.
    taken: Mutex<BTreeMap<Nonce, u64>>,
}

impl Commands {
    /// For processes with this vault's secret.
    pub fn new(vault: &Vault) -> Self {
        Self {
            channel: Channel::of_hosts(&vault.host_secret(), vault.id()),
            taken: Mutex::new(BTreeMap::new()),
        }
    }

    /// A command, ready to be sent.
    pub fn ask(&self, control: &Control) -> Result<Asked, LedgerError> {
        let mut payload = vec![COMMAND];
        payload.extend(unix_now().to_be_bytes());
        payload.extend(control.to_bytes());
        self.channel.ask(&payload)
    }

    /// Takes a command that is fresh and was not taken before.
    pub fn open(&self, request: &[u8]) -> Option<(Nonce, Control)> {
        let (nonce, payload) = self.channel.open_request(request)?;
        let (time, control) = payload.strip_prefix(&[COMMAND])?.split_first_chunk::<8>()?;
        let (time, now) = (u64::from_be_bytes(*time), unix_now());
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|_, made| made.abs_diff(now) <= FRESH_SECONDS);
        if time.abs_diff(now) > FRESH_SECONDS || taken.insert(nonce, time).is_some() {
            return None;
        }
        Some((nonce, Control::parse(control).ok()?))
    }

    /// Encrypts what came of a command.
    pub fn reply(&self, nonce: &Nonce, outcome: &ControlReply) -> Result<Vec<u8>, LedgerError> {
        self.channel.reply(nonce, &outcome.to_bytes())
    }

    /// Reads what came of a command.
    pub fn read(&self, asked: &Asked, reply: &[u8]) -> Result<(), LedgerError> {
        let altered = || LedgerError::Bus("the reply to the command does not open".into());
        let body = self.channel.open_reply(asked, reply).ok_or_else(altered)?;
        match ControlReply::parse(&body)? {
            ControlReply::Done => Ok(()),
            ControlReply::Failed { why, refused: true } => Err(LedgerError::Refused(why)),
            ControlReply::Failed { why, .. } => Err(LedgerError::Invalid(why)),
        }
    }
}
