//! One label of the customer: whose it is, its erasure, its events and what they say.
//!
//! In scope: the checks of one generation. Out of scope: how generations follow each other (`verify.rs`), what a shard
//! stands on (`shard.rs`). Trust: the policy.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::check::Check;
use super::shard::{CheckedShard, is_special};
use super::{
    ContentEvidence, EventEvidence, FaultKind, Generation, LeafEvidence, VerifiedContent, VerifiedDossier,
    VerifiedEvent, VerifiedGeneration, VerifiedMap,
};
use crate::customer::commitment;
use crate::entry::{Entry, EventEntry};
use crate::hash::{LeafHash, LeafIndex};
use crate::name::{Label, OPERATOR};

/// What the events of a label stand under.
struct Under {
    generation: u32,
    label: Label,
    /// Whether an erasure entry is shown, be it right or not.
    has_erasure: bool,
    erased_at: Option<LeafIndex>,
}

impl Check<'_> {
    /// A label, and all that is shown under it. `at` leads to it.
    pub(super) fn generation(
        &mut self,
        at: &str,
        evidence: &Generation,
        shards: &mut BTreeMap<u32, CheckedShard>,
        verified: &mut VerifiedDossier,
    ) {
        let prefix = format!("{at}.");
        if let Some(first) = shards.values().next() {
            let Generation {
                generation,
                label,
                proof,
                ..
            } = evidence;
            self.is_the_customers(&prefix, &first.genesis, *generation, label, proof);
        }
        let Some(shard) = self.home(&prefix, &evidence.label, shards) else {
            return;
        };
        let mut leaves = Vec::new();
        let erased_at = evidence.erasure.as_ref().and_then(|leaf| {
            let (here, generation) = (format!("{at}.erasure"), evidence.generation);
            let index = self.erasure(&here, leaf, &evidence.label, generation, shard)?;
            leaves.push((index, LeafHash::of(&leaf.entry.0)));
            Some(index)
        });
        let under = Under {
            generation: evidence.generation,
            label: evidence.label,
            has_erasure: evidence.erasure.is_some(),
            erased_at,
        };
        let mut before = None;
        for (number, event) in evidence.events.iter().enumerate() {
            let here = format!("{at}.events[{number}]");
            let Some(index) = self.leaf(&format!("{here}.leaf"), &event.leaf, shard) else {
                continue;
            };
            leaves.push((index, LeafHash::of(&event.leaf.entry.0)));
            self.rises(here.clone(), before.replace(index).as_ref(), &index);
            verified
                .events
                .extend(self.event(&here, event, index, &under, shard));
        }
        // Where a leaf is not in its place, that was told; what is complete without it cannot be said.
        let all = leaves.len() == evidence.events.len() + usize::from(under.has_erasure);
        if let Some(map) = shard.map.as_ref().filter(|_| all) {
            self.is_complete(&format!("{at}.map"), &evidence.label, &leaves, &evidence.map, map);
        }
        verified.generations.push(VerifiedGeneration {
            generation: evidence.generation,
            label: evidence.label,
            shard: shard.shard.index(),
            erased_at,
            erasure_covered: erased_at.is_some_and(|index| covers(shard, index)),
        });
    }

    /// An erasure entry of this label and generation, signed by the operator.
    pub(super) fn erasure(
        &mut self,
        at: &str,
        leaf: &LeafEvidence,
        label: &Label,
        generation: u32,
        shard: &mut CheckedShard,
    ) -> Option<LeafIndex> {
        let index = self.leaf(at, leaf, shard)?;
        let by = &shard.batch(leaf.batch)?.batch.producer;
        let fits = by.as_str() == OPERATOR
            && matches!(self.holds(at, Entry::parse(&leaf.entry.0))?, Entry::Erasure(entry)
                if entry.label == *label && entry.generation == generation);
        if !fits {
            self.fault(at, FaultKind::Erasure);
        }
        fits.then_some(index)
    }

    fn event(
        &mut self,
        at: &str,
        event: &EventEvidence,
        index: LeafIndex,
        under: &Under,
        shard: &CheckedShard,
    ) -> Option<VerifiedEvent> {
        let here = format!("{at}.leaf.entry");
        let Entry::Event(entry) = self.holds(&here, Entry::parse(&event.leaf.entry.0))? else {
            self.fault(here, FaultKind::Kind);
            return None;
        };
        if entry.label != under.label {
            let (expected, found) = (under.label, entry.label);
            self.fault(here, FaultKind::Label { expected, found });
        }
        let batch = shard.batch(event.leaf.batch)?;
        if under.erased_at.is_some_and(|erased| erased < index) {
            self.fault(at, FaultKind::Erasure);
        }
        if is_special(&batch.batch.producer) {
            self.fault(at, FaultKind::Misplaced);
        }
        let content = self.content(&format!("{at}.content"), &event.content, &entry, under)?;
        Some(VerifiedEvent {
            generation: under.generation,
            index,
            shard: shard.shard.index(),
            producer: batch.batch.producer.clone(),
            key: batch.key,
            key_since: batch.key_since,
            covered: covers(shard, index),
            content,
        })
    }

    fn content(
        &mut self,
        at: &str,
        content: &ContentEvidence,
        entry: &EventEntry,
        under: &Under,
    ) -> Option<VerifiedContent> {
        match content {
            ContentEvidence::Opened { .. } | ContentEvidence::Unreadable {} if under.has_erasure => {
                self.fault(at, FaultKind::Erasure);
                None
            }
            ContentEvidence::Opened { opening, json } => {
                let Ok(opening) = <&[u8; 32]>::try_from(opening.0.as_slice()) else {
                    self.same_number(format!("{at}.opening"), 32, opening.0.len() as u64);
                    return None;
                };
                let (expected, found) = (entry.commitment, commitment(opening, json.as_bytes()));
                if found != expected {
                    self.fault(at, FaultKind::Commitment { expected, found });
                    return None;
                }
                self.about_the_customer(at, json);
                Some(VerifiedContent::Opened(json.clone()))
            }
            ContentEvidence::Erased {} if under.has_erasure => Some(VerifiedContent::Erased),
            ContentEvidence::Erased {} => {
                self.fault(at, FaultKind::NotErased);
                None
            }
            ContentEvidence::Unreadable {} => Some(VerifiedContent::Unreadable),
        }
    }

    fn about_the_customer(&mut self, at: &str, json: &str) {
        #[derive(Deserialize)]
        struct About {
            #[serde(rename = "subject")]
            customer: String,
        }
        // serde reads a list as a struct too; an event is an object.
        let object = json.trim_ascii_start().starts_with('{');
        let found = serde_json::from_str::<About>(json)
            .ok()
            .filter(|_| object)
            .map(|about| about.customer);
        if found.as_deref() != Some(self.customer) {
            self.fault(at, FaultKind::Customer { found });
        }
    }
}

fn covers(shard: &CheckedShard, index: LeafIndex) -> bool {
    let covered = |map: &VerifiedMap| map.covers(index);
    shard.map.as_ref().is_some_and(covered)
}
