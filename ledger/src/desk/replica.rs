//! Vault slots between hosts that keep one vault.
//!
//! ```text
//! push     u8 1 ‖ slots of 160 bytes          → u8 0 ‖ the slots that stand there instead of some of them
//! pull     u8 2 ‖ u32 number                  → u8 0 ‖ u32 next number ‖ slots
//!                                             → u8 1 ‖ UTF-8 why not
//! ```
//! Numbers are those of the host that is asked: whoever pulls keeps one position a host, and begins at 0. A host that
//! joins lets itself be pushed to first and pulls then, so that no slot falls in between. On the way keys are wrapped under
//! a transit key, since each host has a key-encryption key of its own. In scope: both ends. Out of
//! scope: carrying them, whom to push to. Trust: what opens comes from a host with this vault's secret.

use zeroize::Zeroizing;

use super::payload::Parts;
use super::seal::{Asked, Channel};
use super::{DENIED, NOT_NOW};
use crate::error::LedgerError;
use crate::vault::Vault;

/// The most slots of one message.
pub const SLOTS_MAX: u32 = 4_096;
const SLOT_BYTES: usize = 160;
const PUSH: u8 = 1;
const PULL: u8 = 2;
const DONE: u8 = 0;
const FAILED: u8 = 1;

/// Slots of another host.
pub struct Slots {
    /// The number to pull from next; the same as before where there were no more.
    pub next: u32,
    /// The slots, with their keys wrapped as they are between hosts: for [`Vault::adopt_slots`].
    pub slots: Vec<u8>,
}

/// The asking end, on a host with the same vault.
pub struct Peer {
    channel: Channel,
}

impl Peer {
    /// Asks other hosts with this vault's secret.
    pub fn new(vault: &Vault) -> Self {
        Self {
            channel: Channel::of_hosts(&vault.host_secret(), vault.id()),
        }
    }

    /// A request to take these slots over, at most [`SLOTS_MAX`].
    pub fn push(&self, slots: &[u8]) -> Result<Asked, LedgerError> {
        if !slots.len().is_multiple_of(SLOT_BYTES) || slots.len() / SLOT_BYTES > SLOTS_MAX as usize {
            let text = format!("1 to {SLOTS_MAX} whole slots are pushed at once");
            return Err(LedgerError::Invalid(text));
        }
        self.channel.ask(&[&[PUSH][..], slots].concat())
    }

    /// Reads the reply to [`Peer::push`]: the slots are on that host's disk, but for those it holds instead.
    pub fn pushed(&self, asked: &Asked, reply: &[u8]) -> Result<Vec<u8>, LedgerError> {
        self.done(asked, reply).map(|instead| instead.to_vec())
    }

    /// A request for the slots from a number on.
    pub fn pull(&self, from: u32) -> Result<Asked, LedgerError> {
        self.channel.ask(&[&[PULL][..], &from.to_be_bytes()].concat())
    }

    /// Reads the reply to [`Peer::pull`].
    pub fn pulled(&self, asked: &Asked, reply: &[u8]) -> Result<Slots, LedgerError> {
        let body = self.done(asked, reply)?;
        let mut parts = Parts(&body);
        let next = parts
            .u32()
            .ok_or_else(|| LedgerError::Vault("another host's reply is too short".into()))?;
        Ok(Slots {
            next,
            slots: parts.0.to_vec(),
        })
    }

    fn done(&self, asked: &Asked, reply: &[u8]) -> Result<Zeroizing<Vec<u8>>, LedgerError> {
        match reply {
            [DENIED] => {
                let text = "another host does not know this vault's secret: it keeps another vault";
                return Err(LedgerError::Denied(text.into()));
            }
            [NOT_NOW] => return Err(LedgerError::Bus("another host cannot answer now".into())),
            _ => {}
        }
        let altered = || LedgerError::Bus("another host's reply does not open".into());
        let mut body = self.channel.open_reply(asked, reply).ok_or_else(altered)?;
        match body.first() {
            Some(&DONE) => {
                body.remove(0);
                Ok(body)
            }
            Some(&FAILED) => {
                let why = String::from_utf8_lossy(&body[1..]);
                Err(LedgerError::Vault(format!("another host's: {why}")))
            }
            _ => Err(altered()),
        }
    }
}

/// The answering end: the reply's payload.
pub(super) fn serve(vault: &Vault, payload: &[u8]) -> Zeroizing<Vec<u8>> {
    let answer = answer(vault, payload);
    let (status, body) = match answer {
        Ok(body) => (DONE, body),
        Err(error) => (FAILED, error.to_string().into_bytes()),
    };
    Zeroizing::new([&[status][..], &body].concat())
}

fn answer(vault: &Vault, payload: &[u8]) -> Result<Vec<u8>, LedgerError> {
    let wrong = || LedgerError::Vault("not a request between hosts".into());
    let mut parts = Parts(payload);
    match parts.u8() {
        Some(PUSH) if parts.0.len() / SLOT_BYTES <= SLOTS_MAX as usize => {
            Ok(vault.take_slots(parts.0)?.instead())
        }
        Some(PULL) => {
            let from = parts.u32().filter(|_| parts.0.is_empty()).ok_or_else(wrong)?;
            let (slots, next) = vault.slots_from(from, SLOTS_MAX)?;
            Ok([&next.to_be_bytes()[..], &slots].concat())
        }
        _ => Err(wrong()),
    }
}
