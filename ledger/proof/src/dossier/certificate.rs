//! Erasure certificates: a file that proves that a customer's erasure is on record, and the map covers it.
//!
//! In scope: the file and its checks. What it shows is that the operator declared the erasure, when the log had how many
//! leaves; that no copy of a key or a content exists, nobody can prove. Out of scope: the events that were erased (a
//! dossier shows how many there are). Trust: nothing in the file; the policy wholly.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::Check;
use super::{Base64, DossierError, FaultKind, FileKind, LeafEvidence, ShardEvidence, VerifiedErasure, file};
use crate::hash::Hash;
use crate::name::{Label, Name};
use crate::policy::Policy;

/// An erasure certificate as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Always [`CERTIFICATE_FORMAT`](super::CERTIFICATE_FORMAT).
    pub format: String,
    /// The ledger's name.
    pub ledger: Name,
    /// The customer id, as the company knew it.
    pub customer: String,
    /// Every hash that a path names, none twice, in the order of first use.
    pub hashes: Vec<Hash>,
    /// The shard on which the label lives; the operator is among its parties.
    pub shard: ShardEvidence,
    /// How often the customer was erased before.
    pub generation: u32,
    /// The label that ended.
    pub label: Label,
    /// The VRF proof that the label was the customer's: 80 bytes.
    pub proof: Base64,
    /// The erasure entry and its place.
    pub erasure: LeafEvidence,
}

impl Certificate {
    /// The bytes of the file; there is one way of writing it, as with a [`Dossier`](super::Dossier).
    pub fn to_bytes(&self) -> Vec<u8> {
        file::write(self)
    }

    /// Reads a file. A file that is not written in the one way is altered, wherever it differs.
    pub fn parse(bytes: &[u8]) -> Result<Self, DossierError> {
        file::read(bytes, FileKind::Certificate)
    }

    /// Checks everything against a policy. All faults are told, not only the first.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedErasure, DossierError> {
        let mut check = Check::new(policy, &self.customer, &self.hashes);
        check.head(FileKind::Certificate, &self.format, &self.ledger);
        let verified = self.check(&mut check);
        check.finish(verified)
    }

    fn check(&self, check: &mut Check<'_>) -> Option<VerifiedErasure> {
        let checked = check.shard("shard", &self.shard)?;
        check.is_the_customers("", &checked.genesis, self.generation, &self.label, &self.proof);
        let mut shards = BTreeMap::from([(self.shard.shard, checked)]);
        let shard = check.home("", &self.label, &mut shards)?;
        let index = check.erasure("erasure", &self.erasure, &self.label, self.generation, shard)?;
        let batch = shard.batch(self.erasure.batch)?;
        let map = shard.map.clone()?;
        if !map.covers(index) {
            let size = map.leaf.checkpoint.size;
            check.fault("erasure", FaultKind::Uncovered { index, size });
        }
        let verified = VerifiedErasure {
            ledger: self.ledger.clone(),
            customer: self.customer.clone(),
            generation: self.generation,
            label: self.label,
            index,
            key: batch.key,
            key_since: batch.key_since,
            checkpoint: shard.checkpoint.clone(),
            map,
        };
        check.nothing_unused(&shards);
        Some(verified)
    }
}
