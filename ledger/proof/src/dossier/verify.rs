//! Verifying a dossier: every check, each fault with its place.
//!
//! In scope: authenticity (who signed, with a key valid then) and presence (where in the log). Out of scope, until a
//! dossier carries a map path: completeness. Trust: the policy.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;

use super::keys::Keys;
use super::{
    ContentEvidence, Dossier, DossierError, EventEvidence, FORMAT, Fault, FaultKind, Generation,
    LeafEvidence, Path, ShardEvidence,
};
use crate::batch::Batch;
use crate::checkpoint::{VerifiedCheckpoint, log_origin};
use crate::customer::{MAX_CUSTOMER_BYTES, commitment, verify_label};
use crate::entry::{BATCH, Entry, EventEntry, Genesis};
use crate::hash::{Hash, LeafHash, LeafIndex, TreeSize};
use crate::name::{Label, Name, OPERATOR, RECOVERY, Shard};
use crate::note::{KeyId, Note};
use crate::policy::Policy;
use crate::tree::{InclusionProof, verify_inclusion};
use crate::vrf::VrfProof;

/// A dossier of which every check holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VerifiedDossier {
    /// The ledger.
    pub ledger: Name,
    /// The customer.
    pub customer: String,
    /// The checkpoints that everything was found under, by shard.
    pub checkpoints: Vec<(Shard, VerifiedCheckpoint)>,
    /// The labels that are proven to be the customer's.
    pub generations: Vec<VerifiedGeneration>,
    /// The events, generation by generation, in log order.
    pub events: Vec<VerifiedEvent>,
}

/// A label that is proven to be the customer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedGeneration {
    /// From 0.
    pub generation: u32,
    /// The label.
    pub label: Label,
    /// Where its erasure is on record, if it is.
    pub erased_at: Option<LeafIndex>,
}

/// An event that is on record, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedEvent {
    /// Which generation of the customer.
    pub generation: u32,
    /// Where it is.
    pub index: LeafIndex,
    /// The shard whose log holds it.
    pub shard: u32,
    /// Who signed its batch.
    pub producer: Name,
    /// With which key.
    pub key: KeyId,
    /// The index at which that key was registered.
    pub key_since: LeafIndex,
    /// What it says.
    pub content: VerifiedContent,
}

/// A content that its entry commits to, or why there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedContent {
    /// The event's JSON.
    Opened(String),
    /// Erased; the erasure is on record.
    Erased,
    /// Cannot be opened though nothing was erased: a fault.
    Unreadable,
}

impl Dossier {
    /// Checks everything against a policy. All faults are told, not only the first.
    pub fn verify(&self, policy: &Policy) -> Result<VerifiedDossier, DossierError> {
        let mut check = Check {
            dossier: self,
            policy,
            faults: Vec::new(),
            used: vec![false; self.hashes.len()],
        };
        let verified = check.all();
        if check.faults.is_empty() {
            Ok(verified)
        } else {
            Err(DossierError::Disproved(check.faults))
        }
    }
}

struct Check<'a> {
    dossier: &'a Dossier,
    policy: &'a Policy,
    faults: Vec<Fault>,
    used: Vec<bool>,
}

/// A shard whose checkpoint and genesis hold.
struct CheckedShard {
    shard: Shard,
    checkpoint: VerifiedCheckpoint,
    genesis: Genesis,
    /// Per batch: what it says and who signed; nothing where it does not hold.
    batches: Vec<Option<CheckedBatch>>,
    used: Vec<bool>,
}

#[derive(Clone)]
struct CheckedBatch {
    batch: Batch,
    index: LeafIndex,
    key: KeyId,
    key_since: LeafIndex,
    signed: bool,
}

impl<'a> Check<'a> {
    fn all(&mut self) -> VerifiedDossier {
        self.head();
        let mut shards = BTreeMap::new();
        for (position, evidence) in self.dossier.shards.iter().enumerate() {
            let at = format!("shards[{position}]");
            if position > 0 && self.dossier.shards[position - 1].shard >= evidence.shard {
                self.fault(format!("{at}.shard"), FaultKind::Order);
            }
            if let Some(checked) = self.shard(&at, evidence) {
                shards.insert(evidence.shard, checked);
            }
        }
        self.same_genesis(&shards);
        let mut verified = VerifiedDossier {
            ledger: self.dossier.ledger.clone(),
            customer: self.dossier.customer.clone(),
            checkpoints: Vec::new(),
            generations: Vec::new(),
            events: Vec::new(),
        };
        let last = self.dossier.generations.len().saturating_sub(1);
        for (position, generation) in self.dossier.generations.iter().enumerate() {
            self.generation(position, position == last, generation, &mut shards, &mut verified);
        }
        self.nothing_unused(&shards);
        verified.checkpoints = shards
            .into_values()
            .map(|one| (one.shard, one.checkpoint))
            .collect();
        verified
    }

    fn fault(&mut self, at: impl Into<String>, kind: impl Into<FaultKind>) {
        self.faults.push(Fault {
            at: at.into(),
            kind: kind.into(),
        });
    }

    /// Notes a failed check and goes on with what remains.
    fn holds<T, E: Into<FaultKind>>(&mut self, at: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.fault(at, error)).ok()
    }

    fn head(&mut self) {
        let dossier = self.dossier;
        if dossier.format != FORMAT {
            self.fault(
                "format",
                FaultKind::Text {
                    expected: FORMAT.into(),
                    found: dossier.format.clone(),
                },
            );
        }
        if dossier.ledger != *self.policy.ledger() {
            let (expected, found) = (self.policy.ledger().to_string(), dossier.ledger.to_string());
            self.fault("ledger", FaultKind::Text { expected, found });
        }
        if !is_customer_id(&dossier.customer) {
            self.fault("customer", FaultKind::CustomerId);
        }
        if dossier.generations.is_empty() {
            self.fault(
                "generations",
                FaultKind::Number {
                    expected: 1,
                    found: 0,
                },
            );
        }
        let mut seen = HashSet::new();
        for (position, hash) in dossier.hashes.iter().enumerate() {
            if !seen.insert(hash) {
                self.fault(format!("hashes[{position}]"), FaultKind::Pool);
            }
        }
    }

    fn path(&mut self, at: &str, path: &Path) -> Option<InclusionProof> {
        let mut proof = Vec::with_capacity(path.len());
        for &position in path {
            let Some(hash) = self.dossier.hashes.get(position as usize) else {
                let expected = self.dossier.hashes.len() as u64;
                self.fault(
                    at,
                    FaultKind::Number {
                        expected,
                        found: position.into(),
                    },
                );
                return None;
            };
            self.used[position as usize] = true;
            proof.push(*hash);
        }
        Some(InclusionProof(proof))
    }

    fn includes(
        &mut self,
        at: &str,
        entry: &[u8],
        index: LeafIndex,
        size: TreeSize,
        root: &Hash,
        path: &Path,
    ) -> Option<()> {
        let proof = self.path(at, path)?;
        let result = verify_inclusion(&LeafHash::of(entry), index, size, &proof, root);
        self.holds(at, result)
    }

    fn shard(&mut self, at: &str, evidence: &'a ShardEvidence) -> Option<CheckedShard> {
        let opened = self.policy.open(&evidence.checkpoint);
        let checkpoint = self.holds(&format!("{at}.checkpoint"), opened)?;
        let genesis = self.genesis(at, evidence, &checkpoint)?;
        let shard = genesis.shard;
        let mut checked = CheckedShard {
            shard,
            checkpoint,
            genesis,
            batches: Vec::new(),
            used: Vec::new(),
        };
        for (position, batch) in evidence.batches.iter().enumerate() {
            if position > 0 && evidence.batches[position - 1].index >= batch.index {
                self.fault(format!("{at}.batches[{position}].index"), FaultKind::Order);
            }
            let found = self.batch(&format!("{at}.batches[{position}]"), batch, &checked);
            checked.batches.push(found);
            checked.used.push(false);
        }
        self.keys(at, evidence, &mut checked);
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
        let path = format!("{at}.genesis_path");
        self.includes(
            &path,
            bytes,
            LeafIndex(0),
            checkpoint.size(),
            checkpoint.root(),
            &evidence.genesis_path,
        )?;
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

    fn same_genesis(&mut self, shards: &BTreeMap<u32, CheckedShard>) {
        let Some(first) = shards.values().next() else {
            return;
        };
        for (number, other) in shards {
            let expected = Genesis {
                shard: other.genesis.shard,
                ..first.genesis.clone()
            };
            if other.genesis != expected || other.shard.count() != first.shard.count() {
                self.fault(format!("shards (index {number})"), FaultKind::Genesis);
            }
        }
    }

    /// A batch entry in its place, for this ledger and shard. Its signature is checked once the keys are known.
    fn batch(
        &mut self,
        at: &str,
        evidence: &super::BatchEvidence,
        shard: &CheckedShard,
    ) -> Option<CheckedBatch> {
        let mut entry = vec![BATCH];
        entry.extend_from_slice(evidence.note.as_bytes());
        let index = LeafIndex(evidence.index);
        let (size, root) = (shard.checkpoint.size(), *shard.checkpoint.root());
        self.includes(&format!("{at}.path"), &entry, index, size, &root, &evidence.path)?;
        let here = format!("{at}.note");
        let note = self.holds(&here, Note::parse(&evidence.note))?;
        let batch = self.holds(&here, Batch::parse(note.text()))?;
        if batch.ledger != *self.policy.ledger() || batch.shard != shard.shard {
            self.fault(here, FaultKind::Elsewhere);
            return None;
        }
        let [line] = note.signatures() else {
            self.fault(
                here,
                crate::note::NoteError::Malformed {
                    reason: "a batch note has one signature line",
                },
            );
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
    fn keys(&mut self, at: &str, evidence: &ShardEvidence, shard: &mut CheckedShard) {
        let mut keys = Keys::new(&shard.genesis);
        let mut last = None;
        for (position, leaf) in evidence.registry.iter().enumerate() {
            let here = format!("{at}.registry[{position}]");
            let Some(index) = self.leaf(&here, leaf, shard) else {
                continue;
            };
            if last.replace(index).is_some_and(|last| last >= index) {
                self.fault(here.clone(), FaultKind::Order);
            }
            let batch = leaf.batch as usize;
            if !shard.batches[batch]
                .as_ref()
                .is_some_and(|one| is_special(&one.batch.producer))
            {
                self.fault(here, FaultKind::Kind);
                continue;
            }
            self.signature(at, evidence, shard, batch, &keys);
            let Some(Entry::Registry(entry)) = self.holds(&here, Entry::parse(&leaf.entry.0)) else {
                self.fault(here, FaultKind::Kind);
                continue;
            };
            // A batch whose signature does not hold was told; nothing that stands on it is applied.
            if let Some(by) = shard.batches[batch]
                .as_ref()
                .filter(|one| one.signed)
                .map(|one| one.batch.producer.clone())
            {
                let applied = keys.apply(index, &entry, &by);
                self.holds(&here, applied);
            }
        }
        for batch in 0..shard.batches.len() {
            self.signature(at, evidence, shard, batch, &keys);
        }
    }

    fn signature(
        &mut self,
        at: &str,
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
        let here = format!("{at}.batches[{position}].note");
        let Some((key, since)) = keys.key(&checked.batch.producer, checked.key, checked.index) else {
            // The operator's own batches are checked as its registry entries are met; others once all are folded.
            self.fault(
                here,
                FaultKind::Key {
                    producer: checked.batch.producer.clone(),
                    index: checked.index,
                },
            );
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
    fn leaf(&mut self, at: &str, leaf: &LeafEvidence, shard: &mut CheckedShard) -> Option<LeafIndex> {
        let batches = shard.batches.len() as u64;
        let Some(slot) = shard.batches.get(leaf.batch as usize) else {
            self.fault(
                format!("{at}.batch"),
                FaultKind::Number {
                    expected: batches,
                    found: leaf.batch.into(),
                },
            );
            return None;
        };
        shard.used[leaf.batch as usize] = true;
        // A batch that does not hold was told already; what stands on it is not told again.
        let batch = slot.as_ref()?;
        let (count, position) = (u64::from(batch.batch.count), u64::from(leaf.position));
        let index = LeafIndex(batch.index.0.checked_add(1 + position)?);
        let (root, size) = (batch.batch.root, TreeSize(count));
        let here = format!("{at}.batch_path");
        self.includes(
            &here,
            &leaf.entry.0,
            LeafIndex(position),
            size,
            &root,
            &leaf.batch_path,
        )?;
        let (size, root) = (shard.checkpoint.size(), *shard.checkpoint.root());
        self.includes(
            &format!("{at}.path"),
            &leaf.entry.0,
            index,
            size,
            &root,
            &leaf.path,
        )?;
        Some(index)
    }

    fn generation(
        &mut self,
        position: usize,
        is_last: bool,
        generation: &Generation,
        shards: &mut BTreeMap<u32, CheckedShard>,
        verified: &mut VerifiedDossier,
    ) {
        let at = format!("generations[{position}]");
        if generation.generation as usize != position {
            let (expected, found) = (position as u64, generation.generation.into());
            self.fault(format!("{at}.generation"), FaultKind::Number { expected, found });
        }
        let Some(count) = shards.values().next().map(|one| one.shard.count()) else {
            self.fault(format!("{at}.label"), FaultKind::Genesis);
            return;
        };
        self.label(&at, generation, shards);
        let number = generation.label.shard(count);
        let Some(shard) = shards.get_mut(&number) else {
            let found = self
                .dossier
                .shards
                .first()
                .map_or(u64::MAX, |one| one.shard.into());
            self.fault(
                format!("{at}.label"),
                FaultKind::Number {
                    expected: number.into(),
                    found,
                },
            );
            return;
        };
        let erased_at = generation
            .erasure
            .as_ref()
            .and_then(|leaf| self.erasure(&at, leaf, generation, shard));
        if generation.erasure.is_none() && !is_last {
            self.fault(format!("{at}.erasure"), FaultKind::Erasure);
        }
        let mut last = None;
        for (number, event) in generation.events.iter().enumerate() {
            let here = format!("{at}.events[{number}]");
            let Some(found) = self.event(&here, event, generation, erased_at, shard) else {
                continue;
            };
            if last.replace(found.index).is_some_and(|last| last >= found.index) {
                self.fault(here, FaultKind::Order);
            }
            verified.events.push(found);
        }
        verified.generations.push(VerifiedGeneration {
            generation: generation.generation,
            label: generation.label,
            erased_at,
        });
    }

    fn label(&mut self, at: &str, generation: &Generation, shards: &BTreeMap<u32, CheckedShard>) {
        let Some(genesis) = shards.values().next().map(|one| &one.genesis) else {
            return;
        };
        let here = format!("{at}.proof");
        if !is_customer_id(&self.dossier.customer) {
            return;
        }
        let Some(proof) = self.holds(&here, VrfProof::parse(&generation.proof.0)) else {
            return;
        };
        let (ledger, customer) = (self.policy.ledger(), &self.dossier.customer);
        let found = verify_label(&genesis.vrf, ledger, customer, generation.generation, &proof);
        let Some(expected) = self.holds(&here, found) else {
            return;
        };
        if expected != generation.label {
            self.fault(
                format!("{at}.label"),
                FaultKind::Label {
                    expected,
                    found: generation.label,
                },
            );
        }
    }

    fn erasure(
        &mut self,
        at: &str,
        leaf: &LeafEvidence,
        generation: &Generation,
        shard: &mut CheckedShard,
    ) -> Option<LeafIndex> {
        let here = format!("{at}.erasure");
        let index = self.leaf(&here, leaf, shard)?;
        let by = &shard.batches[leaf.batch as usize].as_ref()?.batch.producer;
        let fits = by.as_str() == OPERATOR
            && matches!(self.holds(&here, Entry::parse(&leaf.entry.0))?, Entry::Erasure(entry)
                if entry.label == generation.label && entry.generation == generation.generation);
        if !fits {
            self.fault(here, FaultKind::Erasure);
        }
        fits.then_some(index)
    }

    fn event(
        &mut self,
        at: &str,
        event: &EventEvidence,
        generation: &Generation,
        erased_at: Option<LeafIndex>,
        shard: &mut CheckedShard,
    ) -> Option<VerifiedEvent> {
        let index = self.leaf(&format!("{at}.leaf"), &event.leaf, shard)?;
        let Entry::Event(entry) =
            self.holds(&format!("{at}.leaf.entry"), Entry::parse(&event.leaf.entry.0))?
        else {
            self.fault(format!("{at}.leaf.entry"), FaultKind::Kind);
            return None;
        };
        if entry.label != generation.label {
            let kind = FaultKind::Label {
                expected: generation.label,
                found: entry.label,
            };
            self.fault(format!("{at}.leaf.entry"), kind);
        }
        let batch = shard.batches[event.leaf.batch as usize].clone()?;
        if erased_at.is_some_and(|erased| erased < index) {
            self.fault(at, FaultKind::Erasure);
        }
        if is_special(&batch.batch.producer) {
            self.fault(at, FaultKind::Misplaced);
        }
        let content = self.content(&format!("{at}.content"), &event.content, &entry, generation)?;
        Some(VerifiedEvent {
            generation: generation.generation,
            index,
            shard: shard.shard.index(),
            producer: batch.batch.producer.clone(),
            key: batch.key,
            key_since: batch.key_since,
            content,
        })
    }

    fn content(
        &mut self,
        at: &str,
        content: &ContentEvidence,
        entry: &EventEntry,
        generation: &Generation,
    ) -> Option<VerifiedContent> {
        match content {
            ContentEvidence::Opened { .. } | ContentEvidence::Unreadable {}
                if generation.erasure.is_some() =>
            {
                self.fault(at, FaultKind::Erasure);
                None
            }
            ContentEvidence::Opened { opening, json } => {
                let Ok(opening) = <&[u8; 32]>::try_from(opening.0.as_slice()) else {
                    let kind = FaultKind::Number {
                        expected: 32,
                        found: opening.0.len() as u64,
                    };
                    self.fault(format!("{at}.opening"), kind);
                    return None;
                };
                let found = commitment(opening, json.as_bytes());
                if found != entry.commitment {
                    self.fault(
                        at,
                        FaultKind::Commitment {
                            expected: entry.commitment,
                            found,
                        },
                    );
                    return None;
                }
                self.about_the_customer(at, json);
                Some(VerifiedContent::Opened(json.clone()))
            }
            ContentEvidence::Erased {} if generation.erasure.is_some() => Some(VerifiedContent::Erased),
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
        if found.as_ref() != Some(&self.dossier.customer) {
            self.fault(at, FaultKind::Customer { found });
        }
    }

    /// Bytes that no check reads could be changed unseen, so there are none.
    fn nothing_unused(&mut self, shards: &BTreeMap<u32, CheckedShard>) {
        if !self.faults.is_empty() {
            return;
        }
        let unused: Vec<usize> = self
            .used
            .iter()
            .enumerate()
            .filter(|(_, used)| !**used)
            .map(|(n, _)| n)
            .collect();
        for position in unused {
            self.fault(format!("hashes[{position}]"), FaultKind::Pool);
        }
        for (number, shard) in shards {
            if let Some(position) = shard.used.iter().position(|used| !used) {
                self.fault(format!("shard {number}: batches[{position}]"), FaultKind::Pool);
            }
        }
    }
}

fn is_special(producer: &Name) -> bool {
    producer.as_str() == OPERATOR || producer.as_str() == RECOVERY
}

fn is_customer_id(text: &str) -> bool {
    (1..=MAX_CUSTOMER_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}
