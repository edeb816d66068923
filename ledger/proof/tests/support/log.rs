//! One shard in memory.

use sharetrail_proof::acceptance::{Accepted, LogState, Rejection, Verdict};
use sharetrail_proof::batch::Batch;
use sharetrail_proof::checkpoint::{Checkpoint, log_origin};
use sharetrail_proof::dossier::Place;
use sharetrail_proof::entry::{BATCH, Entry, Genesis, RegistryAction, RegistryEntry, RegistryRecord};
use sharetrail_proof::frame::Frame;
use sharetrail_proof::hash::{LeafHash, LeafIndex, TreeSize};
use sharetrail_proof::name::ChainId;
use sharetrail_proof::note::{Note, NoteSigner};
use sharetrail_proof::tree::{InclusionProof, inclusion_proof};

use super::{LEDGER, TIME, frame, hashes, name, root, signer};

fn at(index: LeafIndex) -> usize {
    usize::try_from(index.0).unwrap()
}

/// One shard: its genesis, what was accepted, and the key that signs its checkpoints.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) genesis: Genesis,
    pub(crate) signer: NoteSigner,
    pub(crate) state: LogState,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) frames: Vec<Vec<u8>>,
}

impl Log {
    pub(crate) fn new(genesis: Genesis) -> Self {
        let origin = log_origin(&genesis.ledger, genesis.shard);
        let (state, entries) = (LogState::new(&genesis), vec![genesis.to_bytes()]);
        Self {
            signer: signer(&origin, &origin),
            genesis,
            state,
            entries,
            frames: Vec::new(),
        }
    }

    /// Offers a frame, as a sequencer does.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> Result<Verdict, Rejection> {
        let frame = Frame::parse(bytes)?;
        let verdict = self.state.accept(&frame)?;
        if let Verdict::Accepted(accepted) = &verdict {
            self.entries.push(accepted.batch_entry.clone());
            self.entries
                .extend(frame.entries.iter().map(|entry| entry.to_vec()));
            self.frames.push(bytes.to_vec());
        }
        Ok(verdict)
    }

    /// Puts a batch into the log that nobody accepted. The state knows nothing of it; dossiers do.
    pub(crate) fn force(&mut self, note: &str, entries: &[Vec<u8>]) {
        self.entries.push([[BATCH].as_slice(), note.as_bytes()].concat());
        self.entries.extend_from_slice(entries);
    }

    /// The batch that would follow; tests change what they want to be wrong before they have it signed.
    pub(crate) fn follow(&self, producer: &str, chain: ChainId, entries: &[Vec<u8>]) -> Batch {
        let head = self.state.head(chain);
        Batch {
            ledger: name(LEDGER),
            shard: self.genesis.shard,
            producer: name(producer),
            chain,
            number: head.map_or(0, |head| head.number + 1),
            count: u32::try_from(entries.len()).unwrap(),
            root: root(entries),
            prev: head.map_or(self.state.genesis_hash(), |head| head.hash),
        }
    }

    /// The frame that would follow on the chain of `signer` of this name.
    pub(crate) fn next_frame(&self, signer: &NoteSigner, chain: ChainId, entries: &[Vec<u8>]) -> Vec<u8> {
        frame(
            signer,
            &self.follow(signer.verifier().name(), chain, entries),
            entries,
        )
    }

    /// Signs and offers the next batch of a chain, which must be accepted.
    pub(crate) fn push(&mut self, signer: &NoteSigner, chain: ChainId, entries: &[Vec<u8>]) -> Accepted {
        match self.accept(&self.next_frame(signer, chain, entries)) {
            Ok(Verdict::Accepted(accepted)) => accepted,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Registry entries that follow those in the log.
    pub(crate) fn registry_entries(&self, actions: &[(&str, RegistryAction)]) -> Vec<Vec<u8>> {
        let (mut seq, mut prev) = self.state.registry().next();
        let mut entries = Vec::new();
        for (party, action) in actions {
            let record = RegistryRecord {
                seq,
                prev,
                party: name(party),
                time: TIME,
                action: action.clone(),
            };
            let entry = RegistryEntry::new(record).to_bytes();
            (seq, prev) = (seq + 1, LeafHash::of(&entry).0);
            entries.push(entry);
        }
        entries
    }

    pub(crate) fn proof(&self, index: LeafIndex) -> InclusionProof {
        inclusion_proof(&hashes(&self.entries), index).unwrap()
    }

    /// The signed checkpoint over all that is in the log.
    pub(crate) fn checkpoint(&self) -> String {
        let size = TreeSize(u64::try_from(self.entries.len()).unwrap());
        let origin = self.signer.verifier().name().to_owned();
        self.signer
            .sign(&Checkpoint::new(origin, size, root(&self.entries)).to_text())
    }

    /// The index of the batch entry before an entry, and what its note says.
    pub(crate) fn batch_of(&self, index: LeafIndex) -> (LeafIndex, Batch) {
        let before = self.entries[..at(index)]
            .iter()
            .rposition(|entry| entry.first() == Some(&BATCH))
            .unwrap();
        let before = LeafIndex(u64::try_from(before).unwrap());
        (
            before,
            Batch::parse(Note::parse(self.note_at(before)).unwrap().text()).unwrap(),
        )
    }

    pub(crate) fn entry(&self, index: LeafIndex) -> &[u8] {
        &self.entries[at(index)]
    }

    pub(crate) fn note_at(&self, index: LeafIndex) -> &str {
        let Ok(Entry::Batch(note)) = Entry::parse(self.entry(index)) else {
            panic!("no batch entry at {index}")
        };
        note
    }

    pub(crate) fn place(&self, index: LeafIndex) -> Place {
        let (before, batch) = self.batch_of(index);
        let first = at(before) + 1;
        let entries = &self.entries[first..first + usize::try_from(batch.count).unwrap()];
        let position = index.0 - before.0 - 1;
        Place {
            shard: self.genesis.shard.index(),
            batch: before,
            position: u32::try_from(position).unwrap(),
            in_batch: inclusion_proof(&hashes(entries), LeafIndex(position)).unwrap(),
            in_log: self.proof(index),
        }
    }

    /// The entries that `picks` picks, with their indexes.
    pub(crate) fn pick<'a>(
        &'a self,
        picks: impl Fn(&Entry<'_>) -> bool + 'a,
    ) -> impl Iterator<Item = (LeafIndex, &'a Vec<u8>)> + 'a {
        let indexed = (0..).map(LeafIndex).zip(&self.entries);
        indexed.filter(move |(_, entry)| Entry::parse(entry).is_ok_and(|entry| picks(&entry)))
    }
}
