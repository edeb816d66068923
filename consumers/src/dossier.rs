//! Putting together the dossier of one customer, out of a ledger.
//!
//! In scope: all generations with the proofs of their labels, all leaves with their paths, the contents that
//! open, the batches, the registry entries of whoever signed them, the customer maps that say that this is all, and that
//! there is no further generation. Out of scope: the file's form and every check of it ([`sharetrail_proof::dossier`]).
//!
//! Trust: none is asked for; a dossier that was put together from wrong parts does not verify. An index that names other
//! leaves than a map has counted is folded anew.

use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;

use sharetrail_ledger::{Ledger, MapReader, Reader, Vault};
use sharetrail_proof::dossier::{Base64, Builder, ContentEvidence, Dossier, MapPart, Place};
use sharetrail_proof::entry::{Entry, party_label};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::map::MapPath;
use sharetrail_proof::name::{Label, Name, RECOVERY};
use sharetrail_proof::tree::{InclusionProof, Levels, prove_inclusion};

use crate::error::ConsumerError;
use crate::logs::{Logs, Past, SignedBatch, pasts, with_level_index, wrong};
use crate::opening::{Opener, Reading};
use crate::projection::{LeafRef, Projections};

/// Leaves whose batches are hashed together.
const WINDOW: usize = 64;

/// The dossier of a customer. It shows all that the customer maps cover, and what the log has beyond them. A customer of
/// whom nothing is on record has a dossier too: it proves that.
///
/// # Errors
/// [`ConsumerError::NoMap`] if nothing can be shown to be complete yet.
pub fn dossier(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
) -> Result<Dossier, ConsumerError> {
    dossier_about(ledger, projections, vault, customer, &[])
}

/// As [`dossier`], and it shows these parties too, where they are registered, whatever the events say. Whoever wants to read
/// out of it that nothing was shared with a party needs that party in it.
///
/// # Errors
/// As [`dossier`].
pub fn dossier_about(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
    parties: &[Name],
) -> Result<Dossier, ConsumerError> {
    with_level_index(projections, |tries| {
        let mut gathering = Gathering::new(ledger, projections, customer)?;
        let pasts = pasts(ledger, projections, vault, customer)?;
        // A key without leaves is no generation yet: that it has none is what the absence shows.
        let told: Vec<&Past> = pasts.iter().take_while(|past| !past.leaves.is_empty()).collect();
        for past in &told {
            gathering.shard(past.shard)?;
            if tries == 0 {
                gathering.check_level(past)?;
            }
            gathering.generation(vault, past)?;
        }
        let next = u32::try_from(told.len()).expect("nobody is erased four billion times");
        gathering.absence(vault, next, parties)?;
        gathering.parties()?;
        Ok(gathering.builder.finish())
    })
}

/// The parts of a dossier, or of a certificate, as they are found.
pub(crate) struct Gathering<'a> {
    ledger: &'a Ledger,
    customer: &'a str,
    projections: &'a Projections,
    /// Leaves that the index had folded before it was asked for anything.
    folded: Vec<u64>,
    maps: BTreeMap<u32, MapReader>,
    logs: Logs<'a>,
    pub(crate) builder: Builder,
    /// Of which the builder has checkpoint and map.
    shards: BTreeSet<u32>,
    /// Recipients, and others that were asked for, of whom it is settled whether they are shown.
    named: BTreeSet<(u32, Name)>,
    /// Whose registry entries belong in, by shard, and are not told yet.
    waiting: BTreeSet<(u32, Name)>,
    told: BTreeSet<(u32, Name)>,
    /// The trees of the batches that hold the leaves looked at now: leaves come in log order, so each batch is read once.
    hashes: Vec<BatchHashes>,
}

struct BatchHashes {
    shard: u32,
    batch: LeafIndex,
    levels: Levels,
}

impl<'a> Gathering<'a> {
    /// Nothing is gathered yet. To be made before the index is asked for anything.
    pub(crate) fn new(
        ledger: &'a Ledger,
        projections: &'a Projections,
        customer: &'a str,
    ) -> Result<Self, ConsumerError> {
        Ok(Self {
            ledger,
            customer,
            projections,
            folded: projections.folded()?,
            maps: BTreeMap::new(),
            logs: Logs::new(ledger),
            builder: Builder::new(ledger.name().clone(), customer),
            shards: BTreeSet::new(),
            named: BTreeSet::new(),
            waiting: BTreeSet::new(),
            told: BTreeSet::new(),
            hashes: Vec::new(),
        })
    }

    fn generation(&mut self, vault: &Vault, past: &Past) -> Result<(), ConsumerError> {
        self.label(vault, past)?;
        let mut opener = Opener::new(self.customer, past);
        for window in past.leaves.chunks(WINDOW) {
            self.hash_batches(window)?;
            for at in window {
                self.leaf(past, at, &mut opener)?;
            }
        }
        Ok(())
    }

    /// Hashes the trees of the batches that hold these leaves of one shard, on all cores: most of a dossier's work, as a path
    /// in a batch wants all other entries of it.
    fn hash_batches(&mut self, leaves: &[LeafRef]) -> Result<(), ConsumerError> {
        let Some(shard) = leaves.first().map(|at| at.shard) else {
            return Ok(());
        };
        let log = self.logs.log(shard)?;
        let mut batches: Vec<(LeafIndex, u32)> = Vec::new();
        for at in leaves {
            let batch = log.batch_of(at)?;
            if batches.last().is_none_or(|(index, _)| *index != batch.index) {
                batches.push((batch.index, batch.batch.count));
            }
        }
        let reader = log.reader();
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let hash = |part: &[(LeafIndex, u32)]| -> Result<Vec<BatchHashes>, ConsumerError> {
            let hashes = part
                .iter()
                .map(|(index, count)| read_hashes(reader, *index, *count));
            hashes.collect()
        };
        let hashed: Result<Vec<_>, _> = std::thread::scope(|scope| {
            let parts = batches.chunks(batches.len().div_ceil(cores));
            let threads: Vec<_> = parts.map(|part| scope.spawn(move || hash(part))).collect();
            let ends = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
            ends.map(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        self.hashes = hashed?.into_iter().flatten().collect();
        Ok(())
    }

    /// The label of a generation: that it is the customer's, and what the map says of it.
    pub(crate) fn label(&mut self, vault: &Vault, past: &Past) -> Result<(), ConsumerError> {
        let path = self.all_of(past.shard, &past.label, &past.leaves)?;
        let (label, proof) = vault.prove_label(self.customer, past.generation);
        self.builder.generation(label, proof, path);
        Ok(())
    }

    /// That there is nothing under the label of this generation, and who these parties are, of whom the shard knows.
    fn absence(&mut self, vault: &Vault, generation: u32, parties: &[Name]) -> Result<(), ConsumerError> {
        let (label, proof) = vault.prove_label(self.customer, generation);
        let shard = label.shard(self.ledger.shards());
        self.shard(shard)?;
        let path = self.all_of(shard, &label, &[])?;
        self.builder.absence(generation, label, proof, path);
        parties
            .iter()
            .try_for_each(|party| self.involve_if_on_record(shard, party))
    }

    /// The map of a shard, pinned before its log is opened, so that the log covers what the map names.
    fn map(&mut self, shard: u32) -> Result<&MapReader, ConsumerError> {
        let folded = self.folded_on(shard);
        match self.maps.entry(shard) {
            Slot::Occupied(slot) => Ok(slot.into_mut()),
            Slot::Vacant(slot) => {
                let map = self.ledger.map_reader(shard)?;
                let map = map.ok_or(ConsumerError::NoMap { shard })?;
                let wanted = map.leaf().checkpoint.size.0;
                if folded < wanted {
                    return Err(ConsumerError::Behind {
                        shard,
                        folded,
                        wanted,
                    });
                }
                Ok(slot.insert(map))
            }
        }
    }

    fn folded_on(&self, shard: u32) -> u64 {
        self.folded.get(shard as usize).copied().unwrap_or_default()
    }

    fn check_level(&mut self, past: &Past) -> Result<(), ConsumerError> {
        let folded = self.folded_on(past.shard);
        self.logs.check_level(past, folded)
    }

    /// Leaves that the map of a shard covers.
    pub(crate) fn covered(&mut self, shard: u32) -> Result<u64, ConsumerError> {
        Ok(self.map(shard)?.leaf().checkpoint.size.0)
    }

    /// Genesis, checkpoint and map of a shard, once.
    pub(crate) fn shard(&mut self, shard: u32) -> Result<(), ConsumerError> {
        if !self.shards.insert(shard) {
            return Ok(());
        }
        let map = self.map(shard)?;
        let (checkpoint, leaf) = (map.note().to_owned(), map.leaf_text().to_owned());
        let (covered, path) = (map.leaf().checkpoint.size, map.inclusion()?);
        let reader = self.logs.log(shard)?.reader();
        let consistency = reader.consistency(covered)?;
        let part = MapPart {
            checkpoint,
            leaf,
            path,
            consistency,
        };
        let genesis = reader.leaf(LeafIndex(0))?.entry;
        let genesis_path = reader.inclusion(LeafIndex(0))?;
        self.builder.shard(shard, reader.note(), &genesis, genesis_path);
        self.builder.map(shard, part);
        Ok(())
    }

    /// The map path of a label whose leaves, as the index has them, are these.
    fn all_of(&mut self, shard: u32, label: &Label, leaves: &[LeafRef]) -> Result<MapPath, ConsumerError> {
        let covered = self.covered(shard)?;
        let found = self.map(shard)?.find(label)?;
        let named = leaves.iter().filter(|leaf| leaf.index.0 < covered).count() as u64;
        let counted = found.value.map_or(0, |value| value.count);
        if named == counted {
            return Ok(found.path);
        }
        Err(ConsumerError::index(format!(
            "shard {shard}: it names {named} leaves of label {label} below leaf {covered}, and the customer map counts \
             {counted}"
        )))
    }

    /// A leaf of the generation told last.
    pub(crate) fn leaf(
        &mut self,
        past: &Past,
        at: &LeafRef,
        opener: &mut Opener<'_>,
    ) -> Result<(), ConsumerError> {
        let log = self.logs.log(at.shard)?;
        let leaf = log.leaf(at, &past.label)?;
        let batch = log.batch_of(at)?;
        let place = self.place(at, &batch)?;
        match Entry::parse(&leaf.entry) {
            Ok(Entry::Event(event)) => {
                let content = evidence(opener.open(&batch.batch.producer, &event, &leaf.sealed));
                self.recipient(at.shard, &content)?;
                self.builder.event(&leaf.entry, place, content);
            }
            Ok(Entry::Erasure(_)) => self.builder.erasure(&leaf.entry, place),
            _ => return Err(wrong(at, "neither an event nor an erasure")),
        }
        Ok(())
    }

    /// Whoever a content names as recipient is shown to be registered, where that is so.
    fn recipient(&mut self, shard: u32, content: &ContentEvidence) -> Result<(), ConsumerError> {
        let ContentEvidence::Opened { json, .. } = content else {
            return Ok(());
        };
        match recipient_of(json) {
            Some(recipient) => self.involve_if_on_record(shard, &recipient),
            None => Ok(()),
        }
    }

    /// Shows a party that need not have signed anything, if the shard's log has registry entries of it. There is nothing to
    /// show of any other: it is not registered.
    fn involve_if_on_record(&mut self, shard: u32, party: &Name) -> Result<(), ConsumerError> {
        if !self.named.insert((shard, party.clone())) {
            return Ok(());
        }
        let label = party_label(party);
        // Both are asked: where the index lacks what the map counts, that is told once the entries are gathered.
        let is_on_record = self.map(shard)?.find(&label)?.value.is_some()
            || !self.registry_entries(shard, &label)?.is_empty();
        if is_on_record {
            self.involve(shard, party);
        }
        Ok(())
    }

    /// Whoever signed a batch that is shown, or has registry entries.
    fn involve(&mut self, shard: u32, party: &Name) {
        let one = (shard, party.clone());
        // The recovery key stands in the genesis entry and has no registry entries.
        if party.as_str() != RECOVERY && !self.told.contains(&one) {
            self.waiting.insert(one);
        }
    }

    /// The registry entries of all parties involved, each shard's from its own log. Who signed those is involved too.
    pub(crate) fn parties(&mut self) -> Result<(), ConsumerError> {
        while let Some((shard, party)) = self.waiting.pop_first() {
            self.told.insert((shard, party.clone()));
            self.party(shard, party)?;
        }
        Ok(())
    }

    fn party(&mut self, shard: u32, party: Name) -> Result<(), ConsumerError> {
        let label = party_label(&party);
        let leaves = self.registry_entries(shard, &label)?;
        let path = self.all_of(shard, &label, &leaves)?;
        for at in &leaves {
            let log = self.logs.log(shard)?;
            let leaf = log.leaf(at, &label)?;
            let batch = log.batch_of(at)?;
            let place = self.place(at, &batch)?;
            self.builder.registry(&leaf.entry, place);
        }
        self.builder.party(shard, party, path);
        Ok(())
    }

    /// A party's registry entries under this dossier's checkpoint of the shard.
    fn registry_entries(&mut self, shard: u32, label: &Label) -> Result<Vec<LeafRef>, ConsumerError> {
        let size = self.logs.log(shard)?.reader().size();
        let mut leaves = self.projections.leaves_on(shard, label)?;
        // Folded since the log was pinned: later than that.
        leaves.retain(|at| at.index.0 < size.0);
        Ok(leaves)
    }

    /// Where a leaf is; tells the builder its batch, and asks for the keys of whoever signed that.
    fn place(&mut self, at: &LeafRef, batch: &SignedBatch) -> Result<Place, ConsumerError> {
        self.involve(at.shard, &batch.batch.producer);
        let in_batch = self.path_in_batch(at, batch)?;
        let reader = self.logs.log(at.shard)?.reader();
        if !self.builder.has_batch(at.shard, batch.index) {
            self.builder
                .batch(at.shard, batch.index, &batch.note, reader.inclusion(batch.index)?);
        }
        let in_log = reader.inclusion(at.index)?;
        Ok(Place {
            shard: at.shard,
            batch: batch.index,
            position: u32::from(at.position),
            in_batch,
            in_log,
        })
    }

    fn path_in_batch(&mut self, at: &LeafRef, batch: &SignedBatch) -> Result<InclusionProof, ConsumerError> {
        let is_it = |known: &BatchHashes| known.shard == at.shard && known.batch == batch.index;
        if !self.hashes.iter().any(is_it) {
            let reader = self.logs.log(at.shard)?.reader();
            self.hashes = vec![read_hashes(reader, batch.index, batch.batch.count)?];
        }
        let position = LeafIndex(u64::from(at.position));
        let known = self.hashes.iter().find(|known| is_it(known));
        let path = known.and_then(|known| prove_inclusion(&known.levels, position, known.levels.size()).ok());
        path.ok_or_else(|| wrong(at, "its batch is cut short"))
    }
}

fn read_hashes(reader: &Reader, batch: LeafIndex, count: u32) -> Result<BatchHashes, ConsumerError> {
    let hashes = reader.leaf_hashes(LeafIndex(batch.0 + 1), count as usize)?;
    Ok(BatchHashes {
        shard: reader.shard(),
        batch,
        levels: Levels::new(&hashes),
    })
}

fn evidence(reading: Reading) -> ContentEvidence {
    match reading {
        Reading::Opened { opening, json } => ContentEvidence::Opened {
            opening: Base64(opening.to_vec()),
            json,
        },
        Reading::Erased => ContentEvidence::Erased {},
        Reading::Unreadable { .. } => ContentEvidence::Unreadable {},
    }
}

/// The recipient that a content names, where its id is one that a registry can hold.
fn recipient_of(json: &str) -> Option<Name> {
    let content = sharetrail_schemas::read(json.as_bytes()).ok()?;
    Name::new(&content.data().recipient()?.id).ok()
}
