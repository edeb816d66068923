//! The evidence of one shard: checkpoint, genesis entry, batches, the keys of those who signed them.
//!
//! In scope: what every label of the shard stands on, and where a leaf is. Out of scope: completeness (`maps.rs`), what
//! the leaves of a label say (`generation.rs`). Trust: the policy.

use std::collections::{BTreeMap, BTreeSet};

use super::check::{Check, Tree};
use super::keys::Keys;
use super::{BatchEvidence, FaultKind, LeafEvidence, ShardEvidence, VerifiedMap, VerifiedParty};
use crate::batch::Batch;
use crate::checkpoint::{VerifiedCheckpoint, log_origin};
use crate::entry::{BATCH, Entry, Genesis, RegistryAction, RegistryRecord};
use crate::hash::{LeafHash, LeafIndex, TreeSize};
use crate::name::{ChainId, Name, OPERATOR, RECOVERY, Shard};
use crate::note::{KeyId, Note, NoteError};

/// A shard whose checkpoint and genesis hold.
pub(super) struct CheckedShard {
    /// Where its evidence stands in the file.
    pub(super) at: String,
    pub(super) shard: Shard,
    pub(super) checkpoint: VerifiedCheckpoint,
    pub(super) genesis: Genesis,
    /// Nothing where the map's evidence does not hold.
    pub(super) map: Option<VerifiedMap>,
    /// Per batch: what it says and who signed; nothing where it does not hold.
    batches: Vec<Option<CheckedBatch>>,
    /// Per batch, whether a leaf stands in it.
    pub(super) used: Vec<bool>,
    /// Whether a label that is shown lives here.
    pub(super) needed: bool,
    /// The registry entries that are in their places.
    registry: Vec<Registered>,
    pub(super) parties: Vec<VerifiedParty>,
}

impl CheckedShard {
    /// A batch that holds.
    pub(super) fn batch(&self, position: u32) -> Option<&CheckedBatch> {
        self.batches.get(position as usize)?.as_ref()
    }

    /// Who signed the batches that hold, with their positions.
    pub(super) fn producers(&self) -> impl Iterator<Item = (usize, &Name)> {
        let batches = self.batches.iter().enumerate();
        batches.filter_map(|(position, one)| Some((position, &one.as_ref()?.batch.producer)))
    }

    /// Who belongs among the parties: whoever signed a batch in which a leaf stands, but the recovery key, which the
    /// genesis entry holds, and whomever a registry entry names. To be asked once all leaves were met.
    pub(super) fn involved(&self) -> BTreeSet<&Name> {
        let signers = self
            .producers()
            .filter(|(position, producer)| self.used[*position] && producer.as_str() != RECOVERY)
            .map(|(_, producer)| producer);
        let named = self.registry.iter().map(|one| &one.party);
        signers.chain(named).collect()
    }
}

/// A batch in its place, for this ledger and shard.
pub(super) struct CheckedBatch {
    pub(super) batch: Batch,
    index: LeafIndex,
    pub(super) key: KeyId,
    pub(super) key_since: LeafIndex,
    signed: bool,
}

/// The registry entries of a shard that are in their places.
pub(super) struct Shown {
    pub(super) entries: Vec<Registered>,
    /// Whether that is each that the file holds.
    pub(super) all: bool,
}

/// A registry entry in its place.
pub(super) struct Registered {
    /// Its position in the shard's `registry`.
    pub(super) position: usize,
    /// Its number among the ledger's registry entries.
    seq: u64,
    pub(super) party: Name,
    pub(super) index: LeafIndex,
    pub(super) hash: LeafHash,
    /// Whether it registers the party, rather than a key.
    pub(super) registers: bool,
}

impl Check<'_> {
    /// All that is checked of a shard; `at` leads to its evidence.
    pub(super) fn shard(&mut self, at: &str, evidence: &ShardEvidence) -> Option<CheckedShard> {
        let opened = self.policy.open(&evidence.checkpoint);
        let checkpoint = self.holds(&format!("{at}.checkpoint"), opened)?;
        let genesis = self.genesis(at, evidence, &checkpoint)?;
        let map = self.map(at, &evidence.map, genesis.shard, &checkpoint);
        let mut checked = CheckedShard {
            at: at.to_owned(),
            shard: genesis.shard,
            checkpoint,
            genesis,
            map,
            batches: Vec::new(),
            used: vec![false; evidence.batches.len()],
            needed: false,
            registry: Vec::new(),
            parties: Vec::new(),
        };
        let (mut before, mut chains) = (None, BTreeMap::new());
        for (position, batch) in evidence.batches.iter().enumerate() {
            let here = format!("{at}.batches[{position}]");
            self.rises(
                format!("{here}.index"),
                before.replace(&batch.index),
                &batch.index,
            );
            let found = self.batch(&here, batch, &checked);
            if let Some(found) = &found {
                self.goes_on(&format!("{here}.note"), &found.batch, &mut chains);
            }
            checked.batches.push(found);
        }
        let shown = self.registry(evidence, &mut checked);
        self.parties(evidence, &shown, &mut checked);
        checked.registry = shown.entries;
        Some(checked)
    }

    fn genesis(
        &mut self,
        at: &str,
        evidence: &ShardEvidence,
        checkpoint: &VerifiedCheckpoint,
    ) -> Option<Genesis> {
        let here = format!("{at}.genesis");
        let bytes = &evidence.genesis.0;
        let (path, tree) = (format!("{at}.genesis_path"), Tree::of(checkpoint));
        self.includes(&path, bytes, LeafIndex(0), tree, &evidence.genesis_path)?;
        let Entry::Genesis(genesis) = self.holds(&here, Entry::parse(bytes))? else {
            self.fault(here, FaultKind::Kind);
            return None;
        };
        let origin = log_origin(self.policy.ledger(), genesis.shard);
        let ours = genesis.ledger == *self.policy.ledger() && genesis.id == *self.policy.ledger_id();
        if ours && genesis.shard.index() == evidence.shard && checkpoint.checkpoint().origin == origin {
            return Some(*genesis);
        }
        self.fault(here, FaultKind::Genesis);
        None
    }

    /// That all shards were begun alike.
    pub(super) fn same_genesis(&mut self, shards: &BTreeMap<u32, CheckedShard>) {
        let Some(first) = shards.values().next() else {
            return;
        };
        for other in shards.values() {
            let expected = Genesis {
                shard: other.genesis.shard,
                ..first.genesis.clone()
            };
            if other.genesis != expected || other.shard.count() != first.shard.count() {
                self.fault(format!("{}.genesis", other.at), FaultKind::Genesis);
            }
        }
    }

    /// That the shards show the same registry entry where they show one of the same number.
    pub(super) fn same_registry(&mut self, shards: &BTreeMap<u32, CheckedShard>) {
        let mut known = BTreeMap::<u64, LeafHash>::new();
        for shard in shards.values() {
            for one in &shard.registry {
                if *known.entry(one.seq).or_insert(one.hash) != one.hash {
                    let here = format!("{}.registry[{}]", shard.at, one.position);
                    self.fault(here, FaultKind::Registries);
                }
            }
        }
    }

    /// That a batch stands after those of lower numbers of its chain, and that the chain is one producer's: a note that is
    /// put on record twice counts its entries twice.
    fn goes_on(&mut self, at: &str, batch: &Batch, chains: &mut BTreeMap<ChainId, (Name, u64)>) {
        let before = chains.insert(batch.chain, (batch.producer.clone(), batch.number));
        if before.is_some_and(|(producer, number)| producer != batch.producer || number >= batch.number) {
            self.fault(at, FaultKind::Order);
        }
    }

    /// A batch entry in its place, for this ledger and shard. Its signature is checked once the keys are known.
    fn batch(&mut self, at: &str, evidence: &BatchEvidence, shard: &CheckedShard) -> Option<CheckedBatch> {
        let mut entry = vec![BATCH];
        entry.extend_from_slice(evidence.note.as_bytes());
        let (index, tree) = (LeafIndex(evidence.index), Tree::of(&shard.checkpoint));
        self.includes(&format!("{at}.path"), &entry, index, tree, &evidence.path)?;
        let here = format!("{at}.note");
        let note = self.holds(&here, Note::parse(&evidence.note))?;
        let batch = self.holds(&here, Batch::parse(note.text()))?;
        if batch.ledger != *self.policy.ledger() || batch.shard != shard.shard {
            self.fault(here, FaultKind::Elsewhere);
            return None;
        }
        let [line] = note.signatures() else {
            let reason = "a batch note has one signature line";
            self.fault(here, NoteError::Malformed { reason });
            return None;
        };
        Some(CheckedBatch {
            batch,
            index,
            key: line.id,
            key_since: LeafIndex(0),
            signed: false,
        })
    }

    /// Folds the registry entries in log order and checks each batch's signature under the keys of its time.
    fn registry(&mut self, evidence: &ShardEvidence, shard: &mut CheckedShard) -> Shown {
        let mut keys = Keys::new(&shard.genesis);
        let mut shown = Shown {
            entries: Vec::new(),
            all: true,
        };
        let mut before = None;
        for (position, leaf) in evidence.registry.iter().enumerate() {
            let here = format!("{}.registry[{position}]", shard.at);
            let Some(index) = self.leaf(&here, leaf, shard) else {
                shown.all = false;
                continue;
            };
            self.rises(here.clone(), before.replace(index).as_ref(), &index);
            match self.registered(&here, evidence, leaf, index, shard, &mut keys) {
                Some(record) => shown.entries.push(Registered {
                    position,
                    seq: record.seq,
                    party: record.party,
                    index,
                    hash: LeafHash::of(&leaf.entry.0),
                    registers: matches!(record.action, RegistryAction::PartyRegistered { .. }),
                }),
                None => shown.all = false,
            }
        }
        for batch in 0..shard.batches.len() {
            self.signature(evidence, shard, batch, &keys);
        }
        shown
    }

    /// Applies a registry entry that is in its place; gives what it says.
    fn registered(
        &mut self,
        at: &str,
        evidence: &ShardEvidence,
        leaf: &LeafEvidence,
        index: LeafIndex,
        shard: &mut CheckedShard,
        keys: &mut Keys,
    ) -> Option<RegistryRecord> {
        let special = shard
            .batch(leaf.batch)
            .is_some_and(|one| is_special(&one.batch.producer));
        if !special {
            self.fault(at, FaultKind::Kind);
            return None;
        }
        self.signature(evidence, shard, leaf.batch as usize, keys);
        let Entry::Registry(entry) = self.holds(at, Entry::parse(&leaf.entry.0))? else {
            self.fault(at, FaultKind::Kind);
            return None;
        };
        // A batch whose signature does not hold was told; nothing that stands on it is applied.
        if let Some(one) = shard.batch(leaf.batch).filter(|one| one.signed) {
            let applied = keys.apply(index, &entry, &one.batch.producer);
            self.holds(at, applied);
        }
        Some(entry.record)
    }

    fn signature(
        &mut self,
        evidence: &ShardEvidence,
        shard: &mut CheckedShard,
        position: usize,
        keys: &Keys,
    ) {
        let Some(Some(checked)) = shard.batches.get_mut(position) else {
            return;
        };
        if checked.signed {
            return;
        }
        let here = format!("{}.batches[{position}].note", shard.at);
        let Some((key, since)) = keys.key(&checked.batch.producer, checked.key, checked.index) else {
            // The operator's own batches are checked as its registry entries are met; others once all are folded.
            let (producer, index) = (checked.batch.producer.clone(), checked.index);
            self.fault(here, FaultKind::Key { producer, index });
            shard.batches[position] = None;
            return;
        };
        let verified = Note::parse(&evidence.batches[position].note).and_then(|note| note.verify(key));
        checked.key_since = since;
        checked.signed = verified.is_ok();
        if self.holds(&here, verified).is_none() {
            shard.batches[position] = None;
        }
    }

    /// A leaf in its batch and in the log; gives its index.
    pub(super) fn leaf(
        &mut self,
        at: &str,
        leaf: &LeafEvidence,
        shard: &mut CheckedShard,
    ) -> Option<LeafIndex> {
        let Some(used) = shard.used.get_mut(leaf.batch as usize) else {
            let (expected, found) = (shard.used.len() as u64, leaf.batch.into());
            self.fault(format!("{at}.batch"), FaultKind::Number { expected, found });
            return None;
        };
        *used = true;
        // A batch that does not hold was told already; what stands on it is not told again.
        let batch = shard.batch(leaf.batch)?;
        let position = LeafIndex(leaf.position.into());
        let index = LeafIndex(batch.index.0.checked_add(1 + position.0)?);
        let tree = Tree {
            size: TreeSize(batch.batch.count.into()),
            root: batch.batch.root,
        };
        let (here, entry) = (format!("{at}.batch_path"), &leaf.entry.0);
        self.includes(&here, entry, position, tree, &leaf.batch_path)?;
        let (here, tree) = (format!("{at}.path"), Tree::of(&shard.checkpoint));
        self.includes(&here, entry, index, tree, &leaf.path)?;
        Some(index)
    }
}

/// Whether events may not be signed by this name.
pub(super) fn is_special(producer: &Name) -> bool {
    producer.as_str() == OPERATOR || producer.as_str() == RECOVERY
}
