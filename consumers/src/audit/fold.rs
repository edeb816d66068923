//! The fold of one record log: every batch judged by the rules of acceptance, the tree computed again, in log order.
//!
//! In scope: what depends on what stands before: keys, chains, registry, erasures, the tree. Out of scope: what can be
//! worked out ahead (`chunk`), the customer map (`mapped`), which checkpoint the tree is held to (`shard`).
//! Trust: only what was folded here.
//!
//! Behind a fault it goes on as if what stands in the log might stand there: a batch that breaks a rule continues its
//! chain, and leaves outside of batches are passed over. So one fault is told once, and what follows is still judged.

use sharetrail_proof::acceptance::{LogState, Recorded};
use sharetrail_proof::entry::{EVENT, Entry, Genesis, REGISTRY};
use sharetrail_proof::hash::{Hash, LeafHash};
use sharetrail_proof::name::{OPERATOR, RECOVERY, Shard};
use sharetrail_proof::policy::Policy;
use sharetrail_proof::tree::{CompactRange, root_of};

use super::chunk::{Chunk, Keys, Noted};
use super::fault::{Fault, FaultKind, Faults, LogKind, kind_of};
use super::state::RegistryLeaf;

/// A batch whose entries go on in the next stretch.
struct Open {
    index: u64,
    note: String,
    noted: Noted,
    entries: Vec<Vec<u8>>,
    leaves: Vec<LeafHash>,
}

/// A batch with all its entries.
struct Whole<'a> {
    index: u64,
    note: &'a str,
    noted: &'a Noted,
    entries: &'a [&'a [u8]],
    leaves: &'a [LeafHash],
    root: Hash,
}

/// One record log, folded up to some leaf.
pub(crate) struct Fold<'a> {
    shard: Shard,
    policy: &'a Policy,
    keys: &'a Keys,
    /// The tree over what was folded.
    pub(crate) range: CompactRange,
    /// What decides about the next batch; none where leaf 0 is no genesis entry of this log.
    pub(crate) state: Option<LogState>,
    /// Leaf 0.
    pub(crate) genesis: Option<Genesis>,
    /// All registry entries.
    pub(crate) registry: Vec<RegistryLeaf>,
    pub(crate) events: u64,
    pub(crate) batches: u64,
    pub(crate) faults: Faults,
    open: Option<Open>,
    /// Whether the last leaf belonged to no batch, which was told.
    astray: bool,
}

impl<'a> Fold<'a> {
    /// Nothing is folded yet.
    pub(crate) fn new(shard: Shard, policy: &'a Policy, keys: &'a Keys) -> Self {
        Self {
            shard,
            policy,
            keys,
            range: CompactRange::new(),
            state: None,
            genesis: None,
            registry: Vec::new(),
            events: 0,
            batches: 0,
            faults: Faults::default(),
            open: None,
            astray: false,
        }
    }

    /// How many leaves were folded.
    pub(crate) fn size(&self) -> u64 {
        self.range.size().0
    }

    /// Whether the last leaf is in the middle of a batch.
    pub(crate) fn is_within_batch(&self) -> bool {
        self.open.is_some()
    }

    /// Adds a fault of this log.
    pub(crate) fn tell(&mut self, index: u64, kind: FaultKind, what: impl Into<String>) {
        let fault = Fault::at(self.shard.index(), LogKind::Record, index, kind, what);
        self.faults.add(fault);
    }

    /// Folds the entries of a stretch from one position to before another; `from` is where the fold stands.
    pub(crate) fn take(&mut self, chunk: &Chunk, from: usize, to: usize) {
        let mut at = from;
        while at < to {
            at = self.step(chunk, at, to);
        }
        self.range.extend_with(&chunk.leaves[from..to], &mut |_, _, _| {});
    }

    /// Judges what stands at a position, and says what the next position is.
    fn step(&mut self, chunk: &Chunk, at: usize, to: usize) -> usize {
        let index = chunk.first + at as u64;
        if index == 0 {
            self.begin(chunk.entry(at));
            return at + 1;
        }
        if self.open.is_some() {
            return self.go_on(chunk, at, to);
        }
        match chunk.note(at) {
            Some(Ok(noted)) => {
                self.astray = false;
                self.batch(chunk, at, to, noted)
            }
            Some(Err(why)) => {
                self.stray(index, FaultKind::BatchNote, why);
                at + 1
            }
            None => {
                let what = "a batch entry must stand here, and none of the leaves from here to the next does";
                self.stray(index, FaultKind::NoBatch, what);
                at + 1
            }
        }
    }

    /// Leaf 0.
    fn begin(&mut self, entry: &[u8]) {
        let genesis = match Entry::parse(entry) {
            Ok(Entry::Genesis(genesis)) => genesis,
            Ok(_) => return self.not_genesis("it is an entry of another kind"),
            Err(error) => return self.not_genesis(&error.to_string()),
        };
        let is_ours = genesis.ledger == *self.policy.ledger() && genesis.id == *self.policy.ledger_id();
        if !is_ours || genesis.shard != self.shard {
            let (ledger, id, shard) = (&genesis.ledger, genesis.id, genesis.shard);
            return self.not_genesis(&format!("it is that of {ledger} ({id}), shard {shard}"));
        }
        let state = LogState::new(&genesis);
        self.keys.learn(state.registry());
        (self.state, self.genesis) = (Some(state), Some(*genesis));
    }

    fn not_genesis(&mut self, why: &str) {
        let (ledger, shard) = (self.policy.ledger(), self.shard);
        let what = format!(
            "leaf 0 must be the genesis entry of {ledger}, shard {shard}: {why}; its batches cannot be judged"
        );
        self.tell(0, FaultKind::Genesis, what);
    }

    /// A leaf that belongs to no batch.
    fn stray(&mut self, index: u64, kind: FaultKind, what: &str) {
        if !self.astray || kind == FaultKind::BatchNote {
            self.tell(index, kind, what);
        }
        self.astray = true;
        if let Some(state) = &mut self.state {
            state.concede_leaves(1);
        }
    }

    /// A batch entry and, if they all are in the stretch, its entries.
    fn batch(&mut self, chunk: &Chunk, at: usize, to: usize, noted: &Noted) -> usize {
        let (index, end) = (chunk.first + at as u64, at + 1 + noted.batch.count as usize);
        let note = chunk.entry(at).get(1..).unwrap_or_default();
        let note = std::str::from_utf8(note).unwrap_or_default();
        let Some(root) = noted.root.filter(|_| end <= to) else {
            self.open = Some(Open {
                index,
                note: note.to_owned(),
                noted: noted.clone(),
                entries: Vec::new(),
                leaves: Vec::new(),
            });
            return at + 1;
        };
        self.judge(&Whole {
            index,
            note,
            noted,
            entries: &chunk.entries(at + 1, end),
            leaves: &chunk.leaves[at + 1..end],
            root,
        });
        end
    }

    /// Goes on with the batch that began before.
    fn go_on(&mut self, chunk: &Chunk, at: usize, to: usize) -> usize {
        let Some(mut open) = self.open.take() else {
            return at;
        };
        let count = open.noted.batch.count as usize;
        let end = to.min(at + count - open.entries.len());
        let entries = chunk.entries(at, end).into_iter();
        open.entries.extend(entries.map(<[u8]>::to_vec));
        open.leaves.extend_from_slice(&chunk.leaves[at..end]);
        if open.entries.len() < count {
            self.open = Some(open);
            return end;
        }
        let entries: Vec<&[u8]> = open.entries.iter().map(Vec::as_slice).collect();
        self.judge(&Whole {
            index: open.index,
            note: &open.note,
            noted: &open.noted,
            entries: &entries,
            leaves: &open.leaves,
            root: root_of(&open.leaves),
        });
        end
    }

    fn judge(&mut self, whole: &Whole<'_>) {
        self.batches += 1;
        let is_event = |entry: &&&[u8]| entry.first() == Some(&EVENT);
        self.events += whole.entries.iter().filter(is_event).count() as u64;
        let noted = whole.noted;
        let recorded = Recorded {
            note: whole.note,
            batch: &noted.batch,
            hash: noted.hash,
            entries: whole.entries,
            root: whole.root,
            signed_with: noted.signed_with.as_ref(),
        };
        if let Some(state) = &mut self.state
            && let Err(rejection) = state.accept_recorded(&recorded)
        {
            state.concede(&recorded);
            let behind = rejection.position().map_or(0, |position| 1 + position as u64);
            let (batch, what) = (&noted.batch, rejection.to_string());
            let what = format!("batch {} of {}: {what}", batch.number, batch.producer);
            self.tell(whole.index + behind, kind_of(&rejection), what);
        }
        let producer = noted.batch.producer.as_str();
        if producer == OPERATOR || producer == RECOVERY {
            self.register(whole);
        }
    }

    /// Notes the registry entries of a batch of the operator's, and the keys that it may have made known.
    fn register(&mut self, whole: &Whole<'_>) {
        let before = self.registry.len();
        for ((entry, leaf), index) in whole.entries.iter().zip(whole.leaves).zip(whole.index + 1..) {
            if entry.first() == Some(&REGISTRY)
                && let Ok(Entry::Registry(entry)) = Entry::parse(entry)
            {
                self.registry.push(RegistryLeaf {
                    index,
                    hash: leaf.0,
                    time: entry.record.time,
                });
            }
        }
        // Erasures are the operator's too, and change no key.
        if let Some(state) = self.state.as_ref().filter(|_| self.registry.len() > before) {
            self.keys.learn(state.registry());
        }
    }

    /// Tells of a batch that is not whole when the log ends.
    pub(crate) fn end(&mut self) {
        if let Some(open) = self.open.take() {
            let (found, count) = (open.entries.len(), open.noted.batch.count);
            let what = format!("the checkpoint covers {found} of the batch's {count} entries");
            self.tell(open.index, FaultKind::BatchCut, what);
        }
    }
}
