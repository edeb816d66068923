//! Putting a dossier together: pools the hashes and keeps the order that the format wants.
//!
//! In scope: layout. Out of scope: where the parts come from, and whether they hold (verify the result).
//! Trust: none needed; a wrong part makes a dossier that does not verify.

use std::collections::{BTreeMap, HashMap};

use super::{
    Base64, BatchEvidence, ContentEvidence, Dossier, EventEvidence, FORMAT, Generation, LeafEvidence, Path,
    ShardEvidence,
};
use crate::hash::{Hash, LeafIndex};
use crate::name::{Label, Name};
use crate::tree::InclusionProof;
use crate::vrf::VrfProof;

/// Where an entry is: in its batch and in the log.
#[derive(Clone, Debug)]
pub struct Place {
    /// The shard.
    pub shard: u32,
    /// The index of the batch entry, which [`Builder::batch`] has been told.
    pub batch: LeafIndex,
    /// The position in the batch, from 0.
    pub position: u32,
    /// The path in the batch.
    pub in_batch: InclusionProof,
    /// The path in the log.
    pub in_log: InclusionProof,
}

#[derive(Default)]
struct ShardParts {
    checkpoint: String,
    genesis: Vec<u8>,
    genesis_path: InclusionProof,
    batches: BTreeMap<LeafIndex, (String, InclusionProof)>,
    registry: BTreeMap<LeafIndex, (Vec<u8>, Place)>,
}

struct Part {
    place: Place,
    entry: Vec<u8>,
    content: ContentEvidence,
}

struct GenerationParts {
    label: Label,
    proof: VrfProof,
    events: BTreeMap<LeafIndex, Part>,
    erasure: Option<(Vec<u8>, Place)>,
}

/// Collects the parts of a dossier, in any order.
pub struct Builder {
    ledger: Name,
    customer: String,
    shards: BTreeMap<u32, ShardParts>,
    generations: Vec<GenerationParts>,
}

impl Builder {
    /// An empty dossier of one customer.
    pub fn new(ledger: Name, customer: &str) -> Self {
        Self {
            ledger,
            customer: customer.to_owned(),
            shards: BTreeMap::new(),
            generations: Vec::new(),
        }
    }

    /// A shard's checkpoint note and genesis entry.
    pub fn shard(&mut self, shard: u32, checkpoint: &str, genesis: &[u8], path: InclusionProof) {
        let parts = self.shards.entry(shard).or_default();
        checkpoint.clone_into(&mut parts.checkpoint);
        genesis.clone_into(&mut parts.genesis);
        parts.genesis_path = path;
    }

    /// Whether this batch is there already.
    pub fn has_batch(&self, shard: u32, index: LeafIndex) -> bool {
        self.shards
            .get(&shard)
            .is_some_and(|parts| parts.batches.contains_key(&index))
    }

    /// A batch that holds entries told below.
    pub fn batch(&mut self, shard: u32, index: LeafIndex, note: &str, path: InclusionProof) {
        self.shards
            .entry(shard)
            .or_default()
            .batches
            .insert(index, (note.to_owned(), path));
    }

    /// A registry entry of a producer involved.
    pub fn registry(&mut self, entry: &[u8], place: Place) {
        let index = index_of(&place);
        self.shards
            .entry(place.shard)
            .or_default()
            .registry
            .insert(index, (entry.to_vec(), place));
    }

    /// The next generation, from 0.
    pub fn generation(&mut self, label: Label, proof: VrfProof) {
        self.generations.push(GenerationParts {
            label,
            proof,
            events: BTreeMap::new(),
            erasure: None,
        });
    }

    /// An event of the generation told last.
    pub fn event(&mut self, entry: &[u8], place: Place, content: ContentEvidence) {
        let generation = self
            .generations
            .last_mut()
            .expect("a generation is told before its events");
        generation.events.insert(
            index_of(&place),
            Part {
                place,
                entry: entry.to_vec(),
                content,
            },
        );
    }

    /// The erasure entry of the generation told last.
    pub fn erasure(&mut self, entry: &[u8], place: Place) {
        let generation = self
            .generations
            .last_mut()
            .expect("a generation is told before its erasure");
        generation.erasure = Some((entry.to_vec(), place));
    }

    /// The dossier.
    pub fn finish(self) -> Dossier {
        let mut pool = Pool::default();
        let batches = |shard: &u32| self.shards[shard].batches.keys().copied().collect::<Vec<_>>();
        let positions: HashMap<u32, Vec<LeafIndex>> =
            self.shards.keys().map(|shard| (*shard, batches(shard))).collect();
        let shards = self
            .shards
            .iter()
            .map(|(number, parts)| shard(*number, parts, &positions, &mut pool))
            .collect();
        let generations = self.generations.into_iter().enumerate();
        let generations = generations
            .map(|(number, parts)| generation(number, parts, &positions, &mut pool))
            .collect();
        Dossier {
            format: FORMAT.into(),
            ledger: self.ledger,
            customer: self.customer,
            hashes: pool.hashes,
            shards,
            generations,
        }
    }
}

fn index_of(place: &Place) -> LeafIndex {
    LeafIndex(place.batch.0 + 1 + u64::from(place.position))
}

fn shard(
    number: u32,
    parts: &ShardParts,
    positions: &HashMap<u32, Vec<LeafIndex>>,
    pool: &mut Pool,
) -> ShardEvidence {
    let genesis_path = pool.path(&parts.genesis_path);
    let batch =
        |(index, (note, path)): (&LeafIndex, &(String, InclusionProof)), pool: &mut Pool| BatchEvidence {
            index: index.0,
            note: note.clone(),
            path: pool.path(path),
        };
    let batches = parts.batches.iter().map(|one| batch(one, pool)).collect();
    let registry = parts
        .registry
        .values()
        .map(|(entry, place)| leaf(entry, place, positions, pool))
        .collect();
    ShardEvidence {
        shard: number,
        checkpoint: parts.checkpoint.clone(),
        genesis: Base64(parts.genesis.clone()),
        genesis_path,
        batches,
        registry,
    }
}

fn generation(
    number: usize,
    parts: GenerationParts,
    positions: &HashMap<u32, Vec<LeafIndex>>,
    pool: &mut Pool,
) -> Generation {
    let events = parts.events.into_values().map(|part| EventEvidence {
        leaf: leaf(&part.entry, &part.place, positions, pool),
        content: part.content,
    });
    let events = events.collect();
    Generation {
        generation: u32::try_from(number).expect("nobody is erased four billion times"),
        label: parts.label,
        proof: Base64(parts.proof.bytes().to_vec()),
        events,
        erasure: parts
            .erasure
            .map(|(entry, place)| leaf(&entry, &place, positions, pool)),
    }
}

fn leaf(
    entry: &[u8],
    place: &Place,
    positions: &HashMap<u32, Vec<LeafIndex>>,
    pool: &mut Pool,
) -> LeafEvidence {
    let batches = positions.get(&place.shard);
    let batch = batches.and_then(|batches| batches.binary_search(&place.batch).ok());
    LeafEvidence {
        entry: Base64(entry.to_vec()),
        // A batch that was never told gets a position that verification will refuse.
        batch: batch
            .and_then(|position| u32::try_from(position).ok())
            .unwrap_or(u32::MAX),
        position: place.position,
        batch_path: pool.path(&place.in_batch),
        path: pool.path(&place.in_log),
    }
}

#[derive(Default)]
struct Pool {
    hashes: Vec<Hash>,
    known: HashMap<Hash, u32>,
}

impl Pool {
    fn path(&mut self, proof: &InclusionProof) -> Path {
        proof.0.iter().map(|hash| self.position(*hash)).collect()
    }

    fn position(&mut self, hash: Hash) -> u32 {
        let next = u32::try_from(self.hashes.len()).expect("a dossier holds fewer than four billion hashes");
        *self.known.entry(hash).or_insert_with(|| {
            self.hashes.push(hash);
            next
        })
    }
}
