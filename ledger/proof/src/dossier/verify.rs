//! Verifying a dossier: every check, each fault with its place.
//!
//! In scope: authenticity (who signed, with a key valid then), presence (where in the log), completeness (that the map
//! holds nothing else of the customer, in any generation). Out of scope: whether the map was built from the log, which is
//! the operator's word unless an auditor cosigned; a split view, which witnesses exclude. Trust: the policy.

use std::collections::BTreeMap;

use super::check::Check;
use super::shard::CheckedShard;
use super::{
    Absence, Dossier, DossierError, FaultKind, FileKind, ShardEvidence, VerifiedAbsence, VerifiedDossier,
};
use crate::policy::Policy;

impl Dossier {
    /// Checks everything against a policy. All faults are told, not only the first.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedDossier, DossierError> {
        let mut check = Check::new(policy, &self.customer, &self.hashes);
        check.head(FileKind::Dossier, &self.format, &self.ledger);
        let verified = self.check(&mut check);
        check.finish(Some(verified))
    }

    fn check(&self, check: &mut Check<'_>) -> VerifiedDossier {
        if self.shards.is_empty() {
            let (expected, found) = (1, 0);
            check.fault("shards", FaultKind::Number { expected, found });
        }
        let mut shards = check.shards(&self.shards);
        let mut verified = VerifiedDossier {
            ledger: self.ledger.clone(),
            customer: self.customer.clone(),
            checkpoints: Vec::new(),
            maps: Vec::new(),
            generations: Vec::new(),
            events: Vec::new(),
            absence: VerifiedAbsence {
                generation: self.absence.generation,
                label: self.absence.label,
                shard: 0,
            },
            parties: Vec::new(),
        };
        let last = self.generations.len().saturating_sub(1);
        for (position, generation) in self.generations.iter().enumerate() {
            let at = format!("generations[{position}]");
            let (expected, found) = (position as u64, generation.generation.into());
            check.same_number(format!("{at}.generation"), expected, found);
            // That nothing is on record under a label, the absence says; a generation begins with its first leaf.
            if generation.events.is_empty() && generation.erasure.is_none() {
                check.fault(at.clone(), FaultKind::Unneeded);
            }
            if generation.erasure.is_none() && position != last {
                check.fault(format!("{at}.erasure"), FaultKind::Erasure);
            }
            check.generation(&at, generation, &mut shards, &mut verified);
        }
        let (expected, found) = (self.generations.len() as u64, self.absence.generation.into());
        check.same_number("absence.generation", expected, found);
        verified.absence.shard = check.absence(&self.absence, &mut shards).unwrap_or(0);
        check.nothing_unused(&shards);
        for one in shards.into_values() {
            verified.checkpoints.push((one.shard, one.checkpoint));
            verified.maps.extend(one.map);
            verified.parties.extend(one.parties);
        }
        verified
    }
}

impl Check<'_> {
    /// The shards whose evidence holds, by their numbers.
    fn shards(&mut self, evidence: &[ShardEvidence]) -> BTreeMap<u32, CheckedShard> {
        let mut shards = BTreeMap::new();
        let mut before = None;
        for (position, one) in evidence.iter().enumerate() {
            let at = format!("shards[{position}]");
            self.rises(format!("{at}.shard"), before.replace(&one.shard), &one.shard);
            if let Some(checked) = self.shard(&at, one) {
                shards.insert(one.shard, checked);
            }
        }
        self.same_genesis(&shards);
        self.same_registry(&shards);
        shards
    }

    /// That there is nothing under the label that would come next; gives its shard.
    fn absence(&mut self, evidence: &Absence, shards: &mut BTreeMap<u32, CheckedShard>) -> Option<u32> {
        let prefix = "absence.";
        if let Some(first) = shards.values().next() {
            let Absence {
                generation,
                label,
                proof,
                ..
            } = evidence;
            self.is_the_customers(prefix, &first.genesis, *generation, label, proof);
        }
        let shard = self.home(prefix, &evidence.label, shards)?;
        if let Some(map) = &shard.map {
            self.is_absent("absence.map", &evidence.label, &evidence.map, map);
        }
        Some(shard.shard.index())
    }
}
