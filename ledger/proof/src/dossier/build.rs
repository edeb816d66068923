//! Putting a dossier or a certificate together: pools the hashes and keeps the order that the format wants.
//!
//! In scope: layout. Out of scope: where the parts come from, and whether they hold (verify the result).
//! Trust: none needed; a wrong part makes a dossier that does not verify.

use std::collections::{BTreeMap, HashMap};

use super::{
    Absence, Base64, BatchEvidence, CERTIFICATE_FORMAT, Certificate, ContentEvidence, Dossier, EventEvidence,
    FORMAT, Generation, LabelPath, LeafEvidence, MapEvidence, PartyEvidence, Path, ShardEvidence,
};
use crate::entry::Entry;
use crate::hash::{Hash, LeafIndex};
use crate::map::MapPath;
use crate::name::{Label, Name};
use crate::tree::{ConsistencyProof, InclusionProof};
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

/// The last leaf of a shard's map log, with what links it to the logs.
#[derive(Clone, Debug, Default)]
pub struct MapPart {
    /// The map log's checkpoint note.
    pub checkpoint: String,
    /// The leaf's text.
    pub leaf: String,
    /// The leaf's path in the map log.
    pub path: InclusionProof,
    /// From the record-log checkpoint in the leaf to the one that [`Builder::shard`] is told.
    pub consistency: ConsistencyProof,
}

#[derive(Default)]
struct ShardParts {
    checkpoint: String,
    genesis: Vec<u8>,
    genesis_path: InclusionProof,
    map: MapPart,
    batches: BTreeMap<LeafIndex, (String, InclusionProof)>,
    registry: BTreeMap<LeafIndex, (Vec<u8>, Place)>,
    parties: BTreeMap<Name, MapPath>,
}

struct Part {
    place: Place,
    entry: Vec<u8>,
    content: ContentEvidence,
}

struct GenerationParts {
    label: Label,
    proof: VrfProof,
    map: MapPath,
    events: BTreeMap<LeafIndex, Part>,
    erasure: Option<(Vec<u8>, Place)>,
}

struct AbsenceParts {
    generation: u32,
    label: Label,
    proof: VrfProof,
    map: MapPath,
}

/// Collects the parts of a dossier, in any order.
pub struct Builder {
    ledger: Name,
    customer: String,
    shards: BTreeMap<u32, ShardParts>,
    generations: Vec<GenerationParts>,
    absence: Option<AbsenceParts>,
}

impl Builder {
    /// An empty dossier of one customer.
    pub fn new(ledger: Name, customer: &str) -> Self {
        Self {
            ledger,
            customer: customer.to_owned(),
            shards: BTreeMap::new(),
            generations: Vec::new(),
            absence: None,
        }
    }

    /// A shard's checkpoint note and genesis entry.
    pub fn shard(&mut self, shard: u32, checkpoint: &str, genesis: &[u8], path: InclusionProof) {
        let parts = self.shards.entry(shard).or_default();
        checkpoint.clone_into(&mut parts.checkpoint);
        genesis.clone_into(&mut parts.genesis);
        parts.genesis_path = path;
    }

    /// A shard's customer map.
    pub fn map(&mut self, shard: u32, part: MapPart) {
        self.shards.entry(shard).or_default().map = part;
    }

    /// A party of a shard, with the path to its label in the shard's map. Its registry entries are told by
    /// [`Builder::registry`]. A dossier does not hold if it lists one that signed no batch told here and has no registry
    /// entry: nothing would bind its name.
    pub fn party(&mut self, shard: u32, party: Name, path: MapPath) {
        self.shards.entry(shard).or_default().parties.insert(party, path);
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

    /// A registry entry of one of the shard's parties.
    pub fn registry(&mut self, entry: &[u8], place: Place) {
        let index = index_of(&place);
        self.shards
            .entry(place.shard)
            .or_default()
            .registry
            .insert(index, (entry.to_vec(), place));
    }

    /// The next generation, from 0, with the path in its shard's map: to the label, or to where it is not yet.
    pub fn generation(&mut self, label: Label, proof: VrfProof, path: MapPath) {
        self.generations.push(GenerationParts {
            label,
            proof,
            map: path,
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

    /// The generation that would follow, with the path in its shard's map to where its label is not.
    pub fn absence(&mut self, generation: u32, label: Label, proof: VrfProof, path: MapPath) {
        self.absence = Some(AbsenceParts {
            generation,
            label,
            proof,
            map: path,
        });
    }

    /// The dossier. Its absence must have been told.
    pub fn finish(self) -> Dossier {
        let absence = self.absence.expect("the absence is told before the end");
        let mut pool = Pool::default();
        let positions = positions(&self.shards);
        let shards = self
            .shards
            .iter()
            .map(|(number, parts)| shard(*number, parts, &positions, &mut pool))
            .collect();
        let generations = self.generations.into_iter().enumerate();
        let generations = generations
            .map(|(number, parts)| generation(number, parts, &positions, &mut pool))
            .collect();
        let absence = Absence {
            generation: absence.generation,
            label: absence.label,
            proof: Base64(absence.proof.bytes().to_vec()),
            map: pool.map(&absence.map),
        };
        Dossier {
            format: FORMAT.into(),
            ledger: self.ledger,
            customer: self.customer,
            hashes: pool.hashes,
            shards,
            generations,
            absence,
        }
    }

    /// The certificate of an erasure, by a builder that was told one shard, and one generation with its erasure and
    /// without events. Which generation of the customer it is, the erasure entry says; its path in the map is not part of
    /// a certificate.
    pub fn certificate(self) -> Certificate {
        let mut pool = Pool::default();
        let positions = positions(&self.shards);
        let (number, parts) = self.shards.iter().next().expect("a shard is told");
        let shard = shard(*number, parts, &positions, &mut pool);
        let generation = self
            .generations
            .into_iter()
            .next_back()
            .expect("a generation is told");
        let (entry, place) = generation.erasure.expect("the erasure is told");
        let erasure = leaf(&entry, &place, &positions, &mut pool);
        // An entry of another kind does not verify, whatever generation stands with it.
        let number = match Entry::parse(&entry) {
            Ok(Entry::Erasure(erasure)) => erasure.generation,
            _ => 0,
        };
        Certificate {
            format: CERTIFICATE_FORMAT.into(),
            ledger: self.ledger,
            customer: self.customer,
            hashes: pool.hashes,
            shard,
            generation: number,
            label: generation.label,
            proof: Base64(generation.proof.bytes().to_vec()),
            erasure,
        }
    }
}

/// The indexes of each shard's batches, in the order in which they stand in the file.
type Positions = HashMap<u32, Vec<LeafIndex>>;

fn positions(shards: &BTreeMap<u32, ShardParts>) -> Positions {
    shards
        .iter()
        .map(|(shard, parts)| (*shard, parts.batches.keys().copied().collect()))
        .collect()
}

fn index_of(place: &Place) -> LeafIndex {
    LeafIndex(place.batch.0 + 1 + u64::from(place.position))
}

fn shard(number: u32, parts: &ShardParts, positions: &Positions, pool: &mut Pool) -> ShardEvidence {
    let genesis_path = pool.path(&parts.genesis_path.0);
    let map = MapEvidence {
        checkpoint: parts.map.checkpoint.clone(),
        leaf: parts.map.leaf.clone(),
        path: pool.path(&parts.map.path.0),
        consistency: pool.path(&parts.map.consistency.0),
    };
    let batches = parts.batches.iter().map(|(index, (note, path))| BatchEvidence {
        index: index.0,
        note: note.clone(),
        path: pool.path(&path.0),
    });
    let batches = batches.collect();
    let registry = parts
        .registry
        .values()
        .map(|(entry, place)| leaf(entry, place, positions, pool))
        .collect();
    let parties = parts.parties.iter().map(|(party, path)| PartyEvidence {
        party: party.clone(),
        map: pool.map(path),
    });
    let parties = parties.collect();
    ShardEvidence {
        shard: number,
        checkpoint: parts.checkpoint.clone(),
        genesis: Base64(parts.genesis.clone()),
        genesis_path,
        map,
        batches,
        registry,
        parties,
    }
}

fn generation(number: usize, parts: GenerationParts, positions: &Positions, pool: &mut Pool) -> Generation {
    let map = pool.map(&parts.map);
    let events = parts.events.into_values().map(|part| EventEvidence {
        leaf: leaf(&part.entry, &part.place, positions, pool),
        content: part.content,
    });
    let events = events.collect();
    Generation {
        generation: u32::try_from(number).expect("nobody is erased four billion times"),
        label: parts.label,
        proof: Base64(parts.proof.bytes().to_vec()),
        map,
        events,
        erasure: parts
            .erasure
            .map(|(entry, place)| leaf(&entry, &place, positions, pool)),
    }
}

fn leaf(entry: &[u8], place: &Place, positions: &Positions, pool: &mut Pool) -> LeafEvidence {
    let batches = positions.get(&place.shard);
    let batch = batches.and_then(|batches| batches.binary_search(&place.batch).ok());
    LeafEvidence {
        entry: Base64(entry.to_vec()),
        // A batch that was never told gets a position that verification will refuse.
        batch: batch
            .and_then(|position| u32::try_from(position).ok())
            .unwrap_or(u32::MAX),
        position: place.position,
        batch_path: pool.path(&place.in_batch.0),
        path: pool.path(&place.in_log.0),
    }
}

#[derive(Default)]
struct Pool {
    hashes: Vec<Hash>,
    known: HashMap<Hash, u32>,
}

impl Pool {
    fn path(&mut self, hashes: &[Hash]) -> Path {
        hashes.iter().map(|hash| self.position(*hash)).collect()
    }

    fn map(&mut self, path: &MapPath) -> LabelPath {
        LabelPath {
            path: self.path(&path.siblings),
            other: path.other,
        }
    }

    fn position(&mut self, hash: Hash) -> u32 {
        let next = u32::try_from(self.hashes.len()).expect("a dossier holds fewer than four billion hashes");
        *self.known.entry(hash).or_insert_with(|| {
            self.hashes.push(hash);
            next
        })
    }
}
