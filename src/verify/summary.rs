//! A verdict for machines, as JSON. Times are Unix seconds.
//!
//! In scope: which members there are. Out of scope: what holds. Trust: none needed.

use serde_json::{Value, json};
use sharetrail_consumers::{Disclosure, Reason};
use sharetrail_proof::checkpoint::VerifiedCheckpoint;
use sharetrail_proof::dossier::{
    DossierError, Fault, VerifiedContent, VerifiedDossier, VerifiedErasure, VerifiedEvent,
    VerifiedGeneration, VerifiedMap, VerifiedParty,
};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::Shard;

use super::Reading;

/// A dossier of which every check holds; `is_in_order` unless an event cannot be read.
pub(super) fn dossier(verified: &VerifiedDossier, is_in_order: bool) -> Value {
    let logs = verified.checkpoints.iter();
    let absence = &verified.absence;
    json!({
        "verdict": if is_in_order { "verified" } else { "unreadable" },
        "kind": "dossier",
        "ledger": verified.ledger,
        "customer": verified.customer,
        "complete": { "up_to": verified.as_of(), "on_the_word_of": word(&verified.maps) },
        "not_covered": verified.events.iter().filter(|event| !event.covered).count(),
        "checkpoints": logs.map(|(shard, one)| checkpoint(*shard, one)).collect::<Vec<_>>(),
        "maps": verified.maps.iter().map(map).collect::<Vec<_>>(),
        "generations": verified.generations.iter().map(|one| generation(verified, one)).collect::<Vec<_>>(),
        "absence": { "generation": absence.generation, "label": absence.label, "shard": absence.shard },
        "parties": verified.parties.iter().map(party).collect::<Vec<_>>(),
        "events": verified.events.iter().map(event).collect::<Vec<_>>(),
    })
}

/// A certificate of which every check holds.
pub(super) fn erasure(verified: &VerifiedErasure) -> Value {
    let maps = std::slice::from_ref(&verified.map);
    json!({
        "verdict": "verified",
        "kind": "erasure",
        "ledger": verified.ledger,
        "customer": verified.customer,
        "generation": verified.generation,
        "label": verified.label,
        "shard": verified.map.shard.index(),
        "index": verified.index,
        "key": verified.key.to_string(),
        "key_since": verified.key_since,
        "erased_by": verified.map.leaf.time,
        "on_the_word_of": word(maps),
        "checkpoints": [checkpoint(verified.map.shard, &verified.checkpoint)],
        "maps": maps.iter().map(map).collect::<Vec<_>>(),
    })
}

/// A file of which a check does not hold.
pub(super) fn faults(error: &DossierError) -> Value {
    let faults: Vec<Value> = match error {
        DossierError::Disproved(faults) => faults.iter().map(fault).collect(),
        other => vec![json!({ "at": "$", "what": other.to_string() })],
    };
    json!({ "verdict": "disproved", "faults": faults })
}

fn fault(fault: &Fault) -> Value {
    json!({ "at": fault.at, "what": fault.kind.to_string() })
}

/// What a dossier says about one party.
pub(super) fn reading(reading: &Reading) -> Value {
    let party = &reading.party;
    match &reading.disclosure {
        Disclosure::Never { up_to, mentions } => {
            json!({ "party": party, "answer": "never", "up_to": up_to, "mentions": places(mentions) })
        }
        Disclosure::Shared { events } => {
            json!({ "party": party, "answer": "shared", "events": places(events) })
        }
        Disclosure::CannotSay { reasons } => {
            json!({ "party": party, "answer": "cannot_say", "reasons": reasons.iter().map(why).collect::<Vec<_>>() })
        }
    }
}

fn why(reason: &Reason) -> Value {
    match reason {
        Reason::PartyNotRegistered => json!({ "reason": "party_not_registered" }),
        Reason::Erased { generation } => json!({ "reason": "erased", "generation": generation }),
        Reason::Unreadable { shard, index } => {
            json!({ "reason": "unreadable", "shard": shard, "index": index })
        }
        Reason::Malformed { shard, index } => {
            json!({ "reason": "malformed", "shard": shard, "index": index })
        }
        Reason::RecipientNotRegistered {
            shard,
            index,
            recipient,
        } => {
            json!({ "reason": "recipient_not_registered", "shard": shard, "index": index, "recipient": recipient })
        }
        _ => json!({ "reason": "other" }),
    }
}

fn places(places: &[(u32, LeafIndex)]) -> Vec<Value> {
    let place = |(shard, index): &(u32, LeafIndex)| json!({ "shard": shard, "index": index });
    places.iter().map(place).collect()
}

/// An auditor's, where one recomputed every map.
fn word(maps: &[VerifiedMap]) -> &'static str {
    if maps.iter().all(|map| !map.checkpoint.auditors().is_empty()) {
        "auditor"
    } else {
        "operator"
    }
}

fn checkpoint(shard: Shard, one: &VerifiedCheckpoint) -> Value {
    json!({
        "shard": shard.index(),
        "size": one.size(),
        "root": one.root(),
        "cosignatures": named(one.cosignatures(), "witness"),
    })
}

fn map(one: &VerifiedMap) -> Value {
    json!({
        "shard": one.shard.index(),
        "covered": one.leaf.checkpoint.size,
        "time": one.leaf.time,
        "labels": one.leaf.labels,
        "root": one.leaf.root,
        "size": one.checkpoint.size(),
        "auditors": named(one.checkpoint.auditors(), "auditor"),
        "cosignatures": named(one.checkpoint.cosignatures(), "witness"),
    })
}

fn named(cosignatures: &[(String, u64)], role: &str) -> Vec<Value> {
    let one = |(name, time): &(String, u64)| json!({ role: name, "time": time });
    cosignatures.iter().map(one).collect()
}

fn generation(verified: &VerifiedDossier, one: &VerifiedGeneration) -> Value {
    let of_it = |event: &&VerifiedEvent| event.generation == one.generation;
    json!({
        "generation": one.generation,
        "label": one.label,
        "shard": one.shard,
        "events": verified.events.iter().filter(of_it).count(),
        "erased_at": one.erased_at,
        "erasure_covered": one.erasure_covered,
    })
}

fn party(one: &VerifiedParty) -> Value {
    json!({ "shard": one.shard, "party": one.party, "registered": one.registered })
}

fn event(one: &VerifiedEvent) -> Value {
    let (state, content) = match &one.content {
        VerifiedContent::Opened(json) => ("opened", Some(json)),
        VerifiedContent::Erased => ("erased", None),
        VerifiedContent::Unreadable => ("unreadable", None),
    };
    json!({
        "generation": one.generation,
        "shard": one.shard,
        "index": one.index,
        "producer": one.producer,
        "key": one.key.to_string(),
        "key_since": one.key_since,
        "covered": one.covered,
        "state": state,
        "content": content,
    })
}
