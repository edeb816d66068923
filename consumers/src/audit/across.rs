//! What must be the same in all shards: the genesis entries but for the shard's number, and the registry.
//!
//! In scope: comparing what the shards' audits found. Out of scope: the rules within a shard. Trust: those audits.

use super::fault::{Fault, FaultKind, LogKind};
use super::shard::Outcome;

/// Seconds within which a registry entry may still be on its way to the other shards.
const ON_ITS_WAY_SECONDS: u64 = 600;

/// Compares all shards with each other; `now`: Unix seconds. The shards to which a registry entry may be on its way.
pub(crate) fn compare(outcomes: &mut [Outcome], now: u64) -> Vec<u32> {
    genesis(outcomes);
    registries(outcomes, now)
}

fn genesis(outcomes: &mut [Outcome]) {
    let Some((of, first)) = outcomes
        .iter()
        .find_map(|one| Some((one.shard.index(), one.genesis.clone()?)))
    else {
        return;
    };
    for one in outcomes {
        let Some(genesis) = &one.genesis else { continue };
        let is_equal = genesis.shard.count() == first.shard.count()
            && (genesis.vrf.bytes(), &genesis.operator, &genesis.recovery)
                == (first.vrf.bytes(), &first.operator, &first.recovery);
        if !is_equal {
            let what = format!(
                "the genesis entry names other keys, or another number of shards, than that of shard {of}"
            );
            tell(one, 0, FaultKind::GenesisDiffers, what);
        }
    }
}

/// Every shard is compared with the one that has most: entries of the same number are the same, and none lacks any.
/// The shards that lack one, but so new a one that it is no fault.
fn registries(outcomes: &mut [Outcome], now: u64) -> Vec<u32> {
    let ended = outcomes.iter().filter(|one| one.ended);
    let Some(longest) = ended.max_by_key(|one| one.registry.len()) else {
        return Vec::new();
    };
    let mut on_its_way = Vec::new();
    let (of, longest) = (longest.shard.index(), longest.registry.clone());
    for one in outcomes.iter_mut().filter(|one| one.ended) {
        let pairs = one.registry.iter().zip(&longest);
        let differs = pairs
            .enumerate()
            .find(|(_, (here, there))| here.hash != there.hash);
        if let Some((number, (here, there))) = differs {
            let (index, there) = (here.index, there.index);
            let what = format!("registry entry {number} is another one than in shard {of}, leaf {there}");
            tell(one, index, FaultKind::RegistryDiffers, what);
            continue;
        }
        let Some(missing) = longest.get(one.registry.len()) else {
            continue;
        };
        if missing.time.abs_diff(now) > ON_ITS_WAY_SECONDS {
            let (number, there, size) = (one.registry.len(), missing.index, one.counts.entries);
            let what = format!(
                "registry entry {number} and any after it are missing; it is in shard {of}, leaf {there}"
            );
            tell(one, size, FaultKind::RegistryMissing, what);
        } else {
            on_its_way.push(one.shard.index());
        }
    }
    on_its_way
}

fn tell(one: &mut Outcome, index: u64, kind: FaultKind, what: String) {
    let fault = Fault::at(one.shard.index(), LogKind::Record, index, kind, what);
    one.faults.add(fault);
}
