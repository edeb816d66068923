//! The operator's chain: putting registry entries on record, the same ones in every shard, and erasures, each in the shard
//! of its label.
//!
//! In scope: making the entries continue the registry's own chain, signing, waiting until they are sealed, finding them
//! again. Out of scope: what they mean, what comes before and after an erasure. Trust: the operator's key file.

use std::ops::ControlFlow;

use sharetrail_proof::entry::{Entry, ErasureEntry, REGISTRY, RegistryAction, RegistryEntry, RegistryRecord};
use sharetrail_proof::hash::{LeafHash, LeafIndex};
use sharetrail_proof::name::{ChainId, Name, OPERATOR};

use crate::archive::batch_in;
use crate::chain::Chain;
use crate::clock::unix_now;
use crate::engine::Engine;
use crate::error::LedgerError;
use crate::keys;

/// How often a batch is published before whoever asked is told that it does not come to be on record.
const TRIES: u32 = 4;

/// Puts entries about one party on record in every shard. The caller holds [`Engine::registry_turn`].
pub(crate) fn record(engine: &Engine, party: &Name, actions: &[RegistryAction]) -> Result<(), LedgerError> {
    let mut next = engine.registry()?.next();
    let mut entries = Vec::new();
    for action in actions {
        let record = RegistryRecord {
            seq: next.0,
            prev: next.1,
            party: party.clone(),
            // Informative: nothing is decided by it.
            time: unix_now(),
            action: action.clone(),
        };
        let entry = RegistryEntry::new(record).to_bytes();
        next = (next.0 + 1, LeafHash::of(&entry).0);
        entries.push(entry);
    }
    (0..engine.ledger().shards()).try_for_each(|shard| send(engine, shard, &entries))
}

/// Puts the erasure of a label on record. The caller holds [`Engine::registry_turn`].
pub(crate) fn erase(engine: &Engine, shard: u32, erasure: &ErasureEntry) -> Result<(), LedgerError> {
    send(engine, shard, &[erasure.to_bytes().to_vec()])
}

/// Visits what operators put on record in a shard until told to stop: chain by chain, the last batch of each first.
pub(crate) fn visit(
    engine: &Engine,
    shard: u32,
    each: &mut dyn FnMut(LeafIndex, &[u8]) -> ControlFlow<()>,
) -> Result<(), LedgerError> {
    let view = engine.view(shard);
    let chains: Vec<(ChainId, u64)> = view
        .borrow()
        .heads
        .iter()
        .filter(|(_, head)| head.producer.as_str() == OPERATOR)
        .map(|(chain, head)| (*chain, head.number))
        .collect();
    let (ledger, reader) = (engine.ledger(), engine.ledger().reader(shard)?);
    for (chain, last) in chains {
        for number in (0..=last).rev() {
            let index = ledger.batch_index(shard, chain, number)?;
            let batch = batch_in(&reader.leaf(index)?.entry);
            let count = batch.map_or(0, |batch| u64::from(batch.count));
            for entry in (index.0 + 1..=index.0 + count).map(LeafIndex) {
                if each(entry, &reader.leaf(entry)?.entry).is_break() {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// What was put on record last about who a party is, as shard 0's log has it.
pub(crate) fn registered(engine: &Engine, party: &Name) -> Result<Option<RegistryAction>, LedgerError> {
    let mut last: Option<RegistryRecord> = None;
    visit(engine, 0, &mut |_, entry| {
        if let Ok(Entry::Registry(parsed)) = Entry::parse(entry)
            && parsed.record.party == *party
            && matches!(parsed.record.action, RegistryAction::PartyRegistered { .. })
            && last.as_ref().is_none_or(|last| last.seq < parsed.record.seq)
        {
            last = Some(parsed.record);
        }
        ControlFlow::Continue(())
    })?;
    Ok(last.map(|record| record.action))
}

fn send(engine: &Engine, shard: u32, entries: &[Vec<u8>]) -> Result<(), LedgerError> {
    let operator = Name::new(OPERATOR).expect("a valid name");
    let signer = keys::producer_signer(engine.ledger(), &operator)?;
    let mut chain = Chain::open(engine, &signer, shard)?;
    let all: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let nothing: Vec<&[u8]> = entries.iter().map(|_| &[][..]).collect();
    let cut = chain.cut(&all, &nothing);
    let mut tries = 0;
    loop {
        tries += 1;
        engine.block_on(engine.bus().publish(shard, &operator, cut.frame.clone()))?;
        match engine.wait_for_cut(shard, chain.id(), (cut.number, cut.hash)) {
            // The bus may have lost it; a repeat is passed over.
            Err(error) if error.is_transient() && tries < TRIES => {}
            other => return other,
        }
    }
}

/// Finishes what an interruption between two shards left: the registry is the same in all of them. Whether there was
/// anything to finish.
pub(crate) fn even_out(engine: &Engine) -> Result<bool, LedgerError> {
    let nexts: Vec<u64> = engine
        .registries()?
        .iter()
        .map(|registry| registry.next().0)
        .collect();
    let (ahead, most) = (0_u32..)
        .zip(&nexts)
        .max_by_key(|(_, next)| **next)
        .map_or((0, 0), |(shard, next)| (shard, *next));
    for (shard, next) in (0_u32..).zip(&nexts).filter(|(_, next)| **next < most) {
        let missing = registry_entries(engine, ahead, *next)?;
        send(engine, shard, &missing)?;
    }
    Ok(nexts.iter().any(|next| *next < most))
}

/// The registry entries of a shard from number `from` on.
fn registry_entries(engine: &Engine, shard: u32, from: u64) -> Result<Vec<Vec<u8>>, LedgerError> {
    let mut found = Vec::new();
    engine
        .ledger()
        .reader(shard)?
        .scan(LeafIndex(0), &mut |_, entry, _| {
            if let [REGISTRY, ..] = entry
                && let Ok(Entry::Registry(parsed)) = Entry::parse(entry)
                && parsed.record.seq >= from
            {
                found.push(entry.to_vec());
            }
            ControlFlow::Continue(())
        })?;
    Ok(found)
}
