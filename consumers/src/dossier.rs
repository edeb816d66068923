//! Putting together the dossier of one customer, out of a ledger.
//!
//! In scope: all generations with the proofs of their labels, all leaves with their paths, the contents that
//! open, the batches, and the registry entries of whoever signed them. Out of scope: the file's form and
//! every check of it ([`sharetrail_proof::dossier`]).
//!
//! Trust: none is asked for; a dossier that was put together from wrong parts does not verify. That the index
//! names all leaves is not proven until a dossier carries a map path.

use std::collections::{BTreeMap, BTreeSet};

use sharetrail_ledger::{Ledger, Vault};
use sharetrail_proof::dossier::{Base64, Builder, ContentEvidence, Dossier, Place};
use sharetrail_proof::entry::{Entry, party_label};
use sharetrail_proof::hash::LeafIndex;
use sharetrail_proof::name::{Label, Name, OPERATOR};
use sharetrail_proof::tree::{InclusionProof, Levels, prove_inclusion};

use crate::error::ConsumerError;
use crate::logs::{Logs, Past, SignedBatch, pasts, wrong};
use crate::opening::{Opener, Reading};
use crate::projection::{LeafRef, Projections};

/// The dossier of a customer, as far as the projection is folded.
///
/// # Errors
/// [`ConsumerError::NothingOnRecord`] if no leaf is the customer's.
pub fn dossier(
    ledger: &Ledger,
    projections: &Projections,
    vault: &Vault,
    customer: &str,
) -> Result<Dossier, ConsumerError> {
    projections.with_sound_index(|| {
        let pasts = pasts(ledger, projections, vault, customer)?;
        if pasts.iter().all(|past| past.leaves.is_empty()) {
            return Err(ConsumerError::NothingOnRecord {
                customer: customer.to_owned(),
            });
        }
        let mut gathering = Gathering::new(ledger, projections, customer);
        for past in &pasts {
            gathering.generation(vault, past)?;
        }
        gathering.registries()?;
        Ok(gathering.builder.finish())
    })
}

struct Gathering<'a> {
    customer: &'a str,
    projections: &'a Projections,
    logs: Logs<'a>,
    builder: Builder,
    /// By shard, whose registry entries belong in.
    parties: BTreeMap<u32, BTreeSet<Name>>,
    /// The leaf hashes of the batch looked at last: leaves come in log order, so each batch is read once.
    hashes: Option<BatchHashes>,
}

struct BatchHashes {
    shard: u32,
    batch: LeafIndex,
    levels: Levels,
}

impl<'a> Gathering<'a> {
    fn new(ledger: &'a Ledger, projections: &'a Projections, customer: &'a str) -> Self {
        Self {
            customer,
            projections,
            logs: Logs::new(ledger),
            builder: Builder::new(ledger.name().clone(), customer),
            parties: BTreeMap::new(),
            hashes: None,
        }
    }

    fn generation(&mut self, vault: &Vault, past: &Past) -> Result<(), ConsumerError> {
        self.shard(past.shard)?;
        let (label, proof) = vault.prove_label(self.customer, past.generation);
        self.builder.generation(label, proof);
        let mut opener = Opener::new(self.customer, past);
        for at in &past.leaves {
            self.leaf(past, at, &mut opener)?;
        }
        Ok(())
    }

    /// Genesis and checkpoint of a shard, once.
    fn shard(&mut self, shard: u32) -> Result<(), ConsumerError> {
        if self.parties.contains_key(&shard) {
            return Ok(());
        }
        let reader = self.logs.log(shard)?.reader();
        let genesis = reader.leaf(LeafIndex(0))?.entry;
        let path = reader.inclusion(LeafIndex(0))?;
        self.builder.shard(shard, reader.note(), &genesis, path);
        // The operator signs registry and erasure entries, so its keys are always asked for.
        let operator = Name::new(OPERATOR).expect("a valid name");
        self.parties.insert(shard, BTreeSet::from([operator]));
        Ok(())
    }

    fn leaf(&mut self, past: &Past, at: &LeafRef, opener: &mut Opener<'_>) -> Result<(), ConsumerError> {
        let log = self.logs.log(at.shard)?;
        let leaf = log.leaf(at, &past.label)?;
        let batch = log.batch_of(at)?;
        let place = self.place(at, &batch)?;
        let producer = &batch.batch.producer;
        match Entry::parse(&leaf.entry) {
            Ok(Entry::Event(event)) => {
                let content = evidence(opener.open(producer, &event, &leaf.sealed));
                self.builder.event(&leaf.entry, place, content);
            }
            Ok(Entry::Erasure(_)) => self.builder.erasure(&leaf.entry, place),
            _ => return Err(wrong(at, "neither an event nor an erasure")),
        }
        self.parties.entry(at.shard).or_default().insert(producer.clone());
        Ok(())
    }

    /// The registry entries of all parties involved, each shard's from its own log.
    fn registries(&mut self) -> Result<(), ConsumerError> {
        for (shard, parties) in self.parties.clone() {
            let labels: Vec<Label> = parties.iter().map(party_label).collect();
            for label in labels {
                self.registry(shard, &label)?;
            }
        }
        Ok(())
    }

    fn registry(&mut self, shard: u32, label: &Label) -> Result<(), ConsumerError> {
        let size = self.logs.log(shard)?.reader().size();
        for at in self.projections.leaves_on(shard, label)? {
            // Folded since the log was pinned: later than this dossier's checkpoint.
            if at.index.0 >= size.0 {
                continue;
            }
            let log = self.logs.log(shard)?;
            let leaf = log.leaf(&at, label)?;
            let batch = log.batch_of(&at)?;
            let place = self.place(&at, &batch)?;
            self.builder.registry(&leaf.entry, place);
        }
        Ok(())
    }

    /// Where a leaf is; tells the builder its batch.
    fn place(&mut self, at: &LeafRef, batch: &SignedBatch) -> Result<Place, ConsumerError> {
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
        let known = self
            .hashes
            .take()
            .filter(|known| known.shard == at.shard && known.batch == batch.index);
        let known = match known {
            Some(known) => known,
            None => self.read_hashes(at.shard, batch)?,
        };
        let path = prove_inclusion(
            &known.levels,
            LeafIndex(u64::from(at.position)),
            known.levels.size(),
        );
        self.hashes = Some(known);
        path.map_err(|_| wrong(at, "its batch is cut short"))
    }

    fn read_hashes(&mut self, shard: u32, batch: &SignedBatch) -> Result<BatchHashes, ConsumerError> {
        let reader = self.logs.log(shard)?.reader();
        let hashes = reader.leaf_hashes(LeafIndex(batch.index.0 + 1), batch.batch.count as usize)?;
        Ok(BatchHashes {
            shard,
            batch: batch.index,
            levels: Levels::new(&hashes),
        })
    }
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
