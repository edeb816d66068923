//! The operator's chain: putting registry entries on record, the same ones in every shard.
//!
//! In scope: making the entries continue the registry's own chain, signing, waiting until they are sealed.
//! Out of scope: what they mean. Trust: the operator's key file.

use std::time::{SystemTime, UNIX_EPOCH};

use sharetrail_proof::entry::{RegistryAction, RegistryEntry, RegistryRecord};
use sharetrail_proof::hash::LeafHash;
use sharetrail_proof::name::{Name, OPERATOR};

use crate::bus::Bus;
use crate::chain::Chain;
use crate::engine::Engine;
use crate::error::LedgerError;
use crate::keys;

/// Puts entries about one party on record in every shard.
pub(crate) fn record(engine: &Engine, party: &Name, actions: &[RegistryAction]) -> Result<(), LedgerError> {
    let ledger = engine.ledger();
    let operator = Name::new(OPERATOR).expect("a valid name");
    let signer = keys::producer_signer(ledger, &operator)?;
    let (seq, prev) = engine.registry()?.next();
    let mut next = (seq, prev);
    let mut entries = Vec::new();
    for action in actions {
        let record = RegistryRecord { seq: next.0, prev: next.1, party: party.clone(), time: now(), action: action.clone() };
        let entry = RegistryEntry::new(record).to_bytes();
        next = (next.0 + 1, LeafHash::of(&entry).0);
        entries.push(entry);
    }
    for shard in 0..ledger.shards() {
        let mut chain = Chain::open(engine, &signer, shard)?;
        let all: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
        let nothing: Vec<&[u8]> = entries.iter().map(|_| &[][..]).collect();
        let (number, frame) = chain.cut(&all, &nothing);
        let seq = engine.block_on(engine.bus().publish(shard, &operator, frame))?;
        engine.wait_for(shard, chain.id(), number, seq)?;
    }
    Ok(())
}

fn now() -> u64 {
    // A clock before 1970 gives 0: the time is informative, nothing is decided by it.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
