//! Completeness: that the leaves shown under a label are all that its shard's customer map holds of it.
//!
//! In scope: the map log's last leaf, paths in its map, and the registry entries of the parties involved, which must be
//! complete too, or a revocation could be left out. Out of scope: that the map was built from the log. That is the
//! operator's word, or that of an auditor who built it again and cosigned.
//! Trust: the policy; a root counts once it stands in the last leaf of a map log that the policy believes.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Tree};
use super::shard::{CheckedShard, Registered, Shown};
use super::{FaultKind, LabelPath, MapEvidence, ShardEvidence, VerifiedMap, VerifiedParty};
use crate::checkpoint::{VerifiedCheckpoint, map_origin};
use crate::entry::party_label;
use crate::hash::{LeafHash, LeafIndex};
use crate::map::{MapError, MapLeaf, MapPath, MapValue, verify_absent, verify_present};
use crate::name::{Label, Name, RECOVERY, Shard};
use crate::tree::{ConsistencyProof, root_of, verify_consistency};

impl Check<'_> {
    /// The map of a shard: the last leaf of a map log that the policy believes, built from this record log.
    pub(super) fn map(
        &mut self,
        at: &str,
        evidence: &MapEvidence,
        shard: Shard,
        log: &VerifiedCheckpoint,
    ) -> Option<VerifiedMap> {
        let here = format!("{at}.map.checkpoint");
        let opened = self.policy.open(&evidence.checkpoint);
        let checkpoint = self.holds(&here, opened)?;
        let origin = map_origin(self.policy.ledger(), shard);
        if !self.same_text(&here, &origin, &checkpoint.checkpoint().origin) {
            return None;
        }
        let here = format!("{at}.map.leaf");
        let leaf = self.holds(&here, MapLeaf::parse(&evidence.leaf))?;
        // The last leaf, not any: an older one would hide what came since. An empty map log has none.
        let last = LeafIndex(checkpoint.size().0.saturating_sub(1));
        let (path, bytes) = (format!("{at}.map.path"), evidence.leaf.as_bytes());
        self.includes(&path, bytes, last, Tree::of(&checkpoint), &evidence.path)?;
        if !self.same_text(&here, &log.checkpoint().origin, &leaf.checkpoint.origin) {
            return None;
        }
        self.grew(at, evidence, &leaf, log)?;
        Some(VerifiedMap {
            shard,
            checkpoint,
            leaf,
        })
    }

    /// That the record log only grew from what the map was built from to what is shown: no fork of it.
    fn grew(
        &mut self,
        at: &str,
        evidence: &MapEvidence,
        leaf: &MapLeaf,
        log: &VerifiedCheckpoint,
    ) -> Option<()> {
        let here = format!("{at}.map.consistency");
        let proof = ConsistencyProof(self.hashes(&here, &evidence.consistency)?);
        let old = &leaf.checkpoint;
        let held = verify_consistency(old.size, &old.root, log.size(), log.root(), &proof);
        self.holds(&here, held)
    }

    /// That of all leaves of a label these are the ones that the map covers. `at` leads to the path; the leaves may
    /// stand in any order, and later ones among them.
    pub(super) fn is_complete(
        &mut self,
        at: &str,
        label: &Label,
        leaves: &[(LeafIndex, LeafHash)],
        path: &LabelPath,
        map: &VerifiedMap,
    ) {
        let mut covered: Vec<_> = leaves
            .iter()
            .filter(|(index, _)| map.covers(*index))
            .copied()
            .collect();
        if covered.is_empty() {
            return self.is_absent(at, label, path, map);
        }
        covered.sort_unstable_by_key(|(index, _)| *index);
        let hashes: Vec<LeafHash> = covered.into_iter().map(|(_, hash)| hash).collect();
        let value = MapValue {
            count: hashes.len() as u64,
            root: root_of(&hashes),
        };
        let Some(path) = self.map_path(at, path) else {
            return;
        };
        if let Err(error) = verify_present(label, &value, &path, &map.leaf.root) {
            self.fault(at, wrong(error, FaultKind::Incomplete));
        }
    }

    /// That the map holds nothing of a label.
    pub(super) fn is_absent(&mut self, at: &str, label: &Label, path: &LabelPath, map: &VerifiedMap) {
        let Some(path) = self.map_path(at, path) else {
            return;
        };
        if let Err(error) = verify_absent(label, &path, &map.leaf.root) {
            self.fault(at, wrong(error, FaultKind::NotAbsent));
        }
    }

    fn map_path(&mut self, at: &str, evidence: &LabelPath) -> Option<MapPath> {
        Some(MapPath {
            siblings: self.hashes(at, &evidence.path)?,
            other: evidence.other,
        })
    }

    /// That whoever is involved in a shard is among its parties, and each party's registry entries are complete.
    pub(super) fn parties(&mut self, evidence: &ShardEvidence, shown: &Shown, shard: &mut CheckedShard) {
        let names: BTreeSet<&Name> = evidence.parties.iter().map(|one| &one.party).collect();
        for (position, producer) in shard.producers() {
            if producer.as_str() != RECOVERY && !names.contains(producer) {
                let party = producer.clone();
                self.fault(
                    format!("{}.batches[{position}]", shard.at),
                    FaultKind::Party { party },
                );
            }
        }
        for one in &shown.entries {
            if !names.contains(&one.party) {
                let (at, party) = (
                    format!("{}.registry[{}]", shard.at, one.position),
                    one.party.clone(),
                );
                self.fault(at, FaultKind::Party { party });
            }
        }
        let mut by_party = BTreeMap::<&Name, Vec<&Registered>>::new();
        for one in &shown.entries {
            by_party.entry(&one.party).or_default().push(one);
        }
        let mut before = None;
        for (position, party) in evidence.parties.iter().enumerate() {
            let here = format!("{}.parties[{position}]", shard.at);
            self.rises(
                format!("{here}.party"),
                before.replace(&party.party),
                &party.party,
            );
            let own = by_party.get(&party.party);
            let own = own.map(Vec::as_slice).unwrap_or_default();
            let Some(map) = &shard.map else { continue };
            // Where a registry entry is not in its place, that was told; what is complete without it cannot be said.
            if shown.all {
                let leaves: Vec<_> = own.iter().map(|one| (one.index, one.hash)).collect();
                let label = party_label(&party.party);
                self.is_complete(&format!("{here}.map"), &label, &leaves, &party.map, map);
            }
            shard.parties.push(VerifiedParty {
                shard: shard.shard.index(),
                party: party.party.clone(),
                registered: own.iter().any(|one| one.registers && map.covers(one.index)),
            });
        }
    }
}

/// A path that leads elsewhere says something about the leaves shown; any other fault is one of the path itself.
fn wrong(error: MapError, elsewhere: fn(MapError) -> FaultKind) -> FaultKind {
    match error {
        MapError::RootMismatch { .. } => elsewhere(error),
        other => FaultKind::Map(other),
    }
}
