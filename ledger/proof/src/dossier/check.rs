//! What every check of a dossier or a certificate stands on: the pool of hashes, the faults found, places in trees.
//!
//! In scope: resolving paths, inclusion, whose label it is, that nothing in the file is unread. Out of scope: what is
//! checked in which order (see `verify.rs` and `certificate.rs`). Trust: the policy.

use std::collections::{BTreeMap, HashSet};

use super::shard::CheckedShard;
use super::{Base64, DossierError, Fault, FaultKind, FileKind};
use crate::checkpoint::VerifiedCheckpoint;
use crate::customer::{MAX_CUSTOMER_BYTES, verify_label};
use crate::entry::Genesis;
use crate::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use crate::name::{Label, Name};
use crate::policy::Policy;
use crate::tree::{InclusionProof, verify_inclusion};
use crate::vrf::VrfProof;

/// One verification under way.
pub(super) struct Check<'a> {
    pub(super) policy: &'a Policy,
    pub(super) customer: &'a str,
    hashes: &'a [Hash],
    /// Per pooled hash, whether a path named it.
    used: Vec<bool>,
    faults: Vec<Fault>,
}

/// A size and a root that were signed together.
#[derive(Clone, Copy)]
pub(super) struct Tree {
    pub(super) size: TreeSize,
    pub(super) root: Hash,
}

impl Tree {
    /// The tree of a log.
    pub(super) fn of(checkpoint: &VerifiedCheckpoint) -> Self {
        Self {
            size: checkpoint.size(),
            root: *checkpoint.root(),
        }
    }
}

impl<'a> Check<'a> {
    /// Begins with the pool, in which each hash stands once.
    pub(super) fn new(policy: &'a Policy, customer: &'a str, hashes: &'a [Hash]) -> Self {
        let mut check = Self {
            policy,
            customer,
            hashes,
            used: vec![false; hashes.len()],
            faults: Vec::new(),
        };
        let mut seen = HashSet::new();
        for (position, hash) in hashes.iter().enumerate() {
            if !seen.insert(hash) {
                check.fault(format!("hashes[{position}]"), FaultKind::Pool);
            }
        }
        check
    }

    /// What was verified, unless something does not hold.
    pub(super) fn finish<T>(self, verified: Option<T>) -> Result<T, DossierError> {
        match verified {
            Some(verified) if self.faults.is_empty() => Ok(verified),
            _ => Err(DossierError::Disproved(self.faults)),
        }
    }

    pub(super) fn fault(&mut self, at: impl Into<String>, kind: impl Into<FaultKind>) {
        self.faults.push(Fault {
            at: at.into(),
            kind: kind.into(),
        });
    }

    /// Notes a failed check and goes on with what remains.
    pub(super) fn holds<T, E: Into<FaultKind>>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fault(at, error)).ok()
    }

    pub(super) fn same_text(&mut self, at: &str, expected: &str, found: &str) -> bool {
        if expected != found {
            let (expected, found) = (expected.to_owned(), found.to_owned());
            self.fault(at, FaultKind::Text { expected, found });
            return false;
        }
        true
    }

    pub(super) fn same_number(&mut self, at: impl Into<String>, expected: u64, found: u64) -> bool {
        if expected != found {
            self.fault(at, FaultKind::Number { expected, found });
            return false;
        }
        true
    }

    /// Notes where something does not follow what stands before it.
    pub(super) fn rises<T: PartialOrd>(&mut self, at: impl Into<String>, before: Option<&T>, this: &T) {
        if before.is_some_and(|before| before >= this) {
            self.fault(at, FaultKind::Order);
        }
    }

    /// What stands at the head of each file.
    pub(super) fn head(&mut self, kind: FileKind, format: &str, ledger: &Name) {
        self.same_text("format", kind.format(), format);
        let policy = self.policy;
        self.same_text("ledger", policy.ledger().as_str(), ledger.as_str());
        if !is_customer_id(self.customer) {
            self.fault("customer", FaultKind::CustomerId);
        }
    }

    /// The hashes that a path names.
    pub(super) fn hashes(&mut self, at: &str, path: &[u32]) -> Option<Vec<Hash>> {
        let mut hashes = Vec::with_capacity(path.len());
        for &position in path {
            let Some(hash) = self.hashes.get(position as usize) else {
                let (expected, found) = (self.hashes.len() as u64, position.into());
                self.fault(at, FaultKind::Number { expected, found });
                return None;
            };
            self.used[position as usize] = true;
            hashes.push(*hash);
        }
        Some(hashes)
    }

    /// That an entry is where its path says.
    pub(super) fn includes(
        &mut self,
        at: &str,
        entry: &[u8],
        index: LeafIndex,
        tree: Tree,
        path: &[u32],
    ) -> Option<()> {
        let proof = InclusionProof(self.hashes(at, path)?);
        let result = verify_inclusion(&LeafHash::of(entry), index, tree.size, &proof, &tree.root);
        self.holds(at, result)
    }

    /// That a label is the customer's in this generation. `prefix` leads to the members `label` and `proof`.
    pub(super) fn is_the_customers(
        &mut self,
        prefix: &str,
        genesis: &Genesis,
        generation: u32,
        label: &Label,
        proof: &Base64,
    ) {
        // An id that is none was told at the head.
        if !is_customer_id(self.customer) {
            return;
        }
        let here = format!("{prefix}proof");
        let Some(proof) = self.holds(&here, VrfProof::parse(&proof.0)) else {
            return;
        };
        let (ledger, customer) = (self.policy.ledger(), self.customer);
        let found = verify_label(&genesis.vrf, ledger, customer, generation, &proof);
        let Some(expected) = self.holds(&here, found) else {
            return;
        };
        if expected != *label {
            let found = *label;
            self.fault(format!("{prefix}label"), FaultKind::Label { expected, found });
        }
    }

    /// The shard on which a label lives, if its evidence holds. From here on it is needed.
    pub(super) fn home<'s>(
        &mut self,
        prefix: &str,
        label: &Label,
        shards: &'s mut BTreeMap<u32, CheckedShard>,
    ) -> Option<&'s mut CheckedShard> {
        let first = shards.iter().next();
        let Some((first, count)) = first.map(|(number, one)| (*number, one.shard.count())) else {
            self.fault(format!("{prefix}label"), FaultKind::Genesis);
            return None;
        };
        let number = label.shard(count);
        if !shards.contains_key(&number) {
            let (expected, found) = (number.into(), first.into());
            self.fault(format!("{prefix}label"), FaultKind::Number { expected, found });
        }
        let shard = shards.get_mut(&number)?;
        shard.needed = true;
        Some(shard)
    }

    /// Bytes that no check reads could be changed unseen, so there are none. Where something does not hold, much is
    /// unread: then nothing more is told.
    pub(super) fn nothing_unused(&mut self, shards: &BTreeMap<u32, CheckedShard>) {
        if !self.faults.is_empty() {
            return;
        }
        for position in unused(&self.used) {
            self.fault(format!("hashes[{position}]"), FaultKind::Pool);
        }
        for shard in shards.values() {
            if !shard.needed {
                self.fault(shard.at.clone(), FaultKind::Unneeded);
                continue;
            }
            for position in unused(&shard.used) {
                self.fault(format!("{}.batches[{position}]", shard.at), FaultKind::Pool);
            }
            // The absence of a name that nothing else holds could be shown of any other name as well.
            let involved = shard.involved();
            for (position, one) in shard.parties.iter().enumerate() {
                if !involved.contains(&one.party) {
                    let here = format!("{}.parties[{position}]", shard.at);
                    self.fault(here, FaultKind::Unneeded);
                }
            }
        }
    }
}

fn unused(used: &[bool]) -> Vec<usize> {
    (0..)
        .zip(used)
        .filter(|(_, used)| !**used)
        .map(|(n, _)| n)
        .collect()
}

fn is_customer_id(text: &str) -> bool {
    (1..=MAX_CUSTOMER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
