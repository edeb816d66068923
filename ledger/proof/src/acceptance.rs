//! Acceptance: whether a batch may follow the log so far. A pure function, so a replay gives the same log.
//!
//! In scope: every rule a batch must keep (name, key, chain, shard, root, kinds of entry, registry, erasure). The
//! sequencer decides with it about frames ([`LogState::accept`]), and an auditor checks with it what stands in a log
//! ([`LogState::accept_recorded`]). Out of scope: where frames come from and go to, and the tree of the log.
//! Trust: frames are untrusted; the state is what it was folded from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::batch::{Batch, text_hash};
use crate::entry::{Entry, EntryError, ErasureEntry, Genesis, RegistryEntry};
use crate::frame::{Frame, FrameError};
use crate::hash::{Hash, LeafHash, LeafIndex, TreeSize, leaf_hashes};
use crate::name::{ChainId, Label, Name, OPERATOR, RECOVERY, Shard};
use crate::note::{Note, NoteError, VerifierKey};
use crate::registry::{Registry, RegistryError};
use crate::tree::root_of;

/// Why a batch may not enter the log. Nothing has changed; the chain waits for another batch of the same number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    /// Not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Meant for another ledger or shard.
    #[error("the batch is for {found}, this is {expected}")]
    Elsewhere {
        /// Ledger and shard of this log.
        expected: String,
        /// What the note says.
        found: String,
    },
    /// No valid key of that producer has the id in the signature line.
    #[error("{producer} has no valid key that signed this batch")]
    NoValidKey {
        /// Who claims to have signed.
        producer: Name,
    },
    /// The signature is wrong.
    #[error(transparent)]
    Signature(#[from] NoteError),
    /// The chain is another producer's.
    #[error("the chain belongs to {owner}")]
    ForeignChain {
        /// Whose it is.
        owner: Name,
    },
    /// A number after the next one: a batch in between is missing.
    #[error("batch number {found} does not follow: expected {expected}")]
    Gap {
        /// The number that would follow.
        expected: u64,
        /// The batch's number.
        found: u64,
    },
    /// The number is right and `prev` is not.
    #[error("prev does not name the batch before")]
    Prev {
        /// The hash of the batch before.
        expected: Hash,
        /// What the note says.
        found: Hash,
    },
    /// Another note with this number is in the log.
    #[error("the log holds another batch number {number} of this chain")]
    Fork {
        /// The number.
        number: u64,
    },
    /// The entries do not give the note's root.
    #[error("the entries do not give the batch's root")]
    Root {
        /// What the note says.
        expected: Hash,
        /// What the entries give.
        found: Hash,
    },
    /// An entry that is none.
    #[error("entry {position}: {error}")]
    Entry {
        /// Its position in the batch, from 0.
        position: usize,
        /// What is wrong.
        error: EntryError,
    },
    /// A kind of entry that this producer may not write, or not in a batch.
    #[error("entry {position} is of a kind that {producer} may not write")]
    Kind {
        /// Its position in the batch, from 0.
        position: usize,
        /// Who signed.
        producer: Name,
    },
    /// An event without sealed content, or a sealed content without an event.
    #[error("entry {position} has a sealed content where none belongs, or lacks one")]
    Content {
        /// Its position in the batch, from 0.
        position: usize,
    },
    /// A label that lives on another shard.
    #[error("the label of entry {position} lives on shard {shard}")]
    WrongShard {
        /// Its position in the batch, from 0.
        position: usize,
        /// Where the label lives.
        shard: u32,
    },
    /// The label was erased.
    #[error("the label of entry {position} was erased")]
    ErasedLabel {
        /// Its position in the batch, from 0.
        position: usize,
    },
    /// A rule of the registry.
    #[error("entry {position}: {error}")]
    Registry {
        /// Its position in the batch, from 0.
        position: usize,
        /// Which rule.
        error: RegistryError,
    },
}

impl Rejection {
    /// The one entry without which the batch might be let in, if it is one.
    pub fn position(&self) -> Option<usize> {
        match self {
            Self::Entry { position, .. }
            | Self::Kind { position, .. }
            | Self::Content { position }
            | Self::WrongShard { position, .. }
            | Self::ErasedLabel { position }
            | Self::Registry { position, .. } => Some(*position),
            _ => None,
        }
    }
}

/// The last accepted batch of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainHead {
    /// Whose chain it is.
    pub producer: Name,
    /// The number of the last accepted batch.
    pub number: u64,
    /// The hash of its note's text.
    pub hash: Hash,
    /// Where its batch entry is.
    pub index: LeafIndex,
}

/// What a frame means for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It follows. The leaf hashes are those of the batch entry and of the entries, in this order.
    Accepted(Accepted),
    /// It has the number of an earlier batch of its chain. The caller compares the notes: the same is a repeat and is
    /// ignored, another is a [`Rejection::Fork`].
    Earlier {
        /// The chain.
        chain: ChainId,
        /// The number.
        number: u64,
    },
}

/// An accepted batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What the note said.
    pub batch: Batch,
    /// The index of the batch entry; entry k is at this + 1 + k.
    pub index: LeafIndex,
    /// The bytes of the batch entry.
    pub batch_entry: Vec<u8>,
    /// Leaf hashes of the batch entry and of each entry.
    pub leaves: Vec<LeafHash>,
}

/// A batch as it stands in a log: its note, the entries behind it, and what the caller worked out of both, in whatever
/// order and on however many cores suits it.
#[derive(Clone, Copy, Debug)]
pub struct Recorded<'a> {
    /// The whole note: the batch entry without its first byte.
    pub note: &'a str,
    /// What the note's text says.
    pub batch: &'a Batch,
    /// The hash of that text.
    pub hash: Hash,
    /// As many entries as the note says.
    pub entries: &'a [&'a [u8]],
    /// The RFC 6962 root over them.
    pub root: Hash,
    /// The key of the note's only signature line, if the caller found that it signed. Whether it may is decided here.
    pub signed_with: Option<&'a VerifierKey>,
}

/// Everything that decides about the next batch, after some prefix of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogState {
    ledger: Name,
    shard: Shard,
    genesis: Hash,
    size: TreeSize,
    events: u64,
    registry: Registry,
    chains: BTreeMap<String, ChainHead>,
    erased: BTreeMap<Label, u32>,
}

impl LogState {
    /// The state after the genesis entry.
    pub fn new(genesis: &Genesis) -> Self {
        Self {
            ledger: genesis.ledger.clone(),
            shard: genesis.shard,
            genesis: LeafHash::of(&genesis.to_bytes()).0,
            size: TreeSize(1),
            events: 0,
            registry: Registry::new(genesis),
            chains: BTreeMap::new(),
            erased: BTreeMap::new(),
        }
    }

    /// The number of leaves so far.
    pub fn size(&self) -> TreeSize {
        self.size
    }

    /// The number of event entries so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The registry so far.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The head of a chain.
    pub fn head(&self, chain: ChainId) -> Option<&ChainHead> {
        self.chains.get(&chain.to_string())
    }

    /// The heads of all chains.
    pub fn heads(&self) -> impl Iterator<Item = (ChainId, &ChainHead)> {
        self.chains
            .iter()
            .filter_map(|(chain, head)| Some((chain.parse().ok()?, head)))
    }

    /// The generation under which a label was erased, if it was.
    pub fn erased(&self, label: &Label) -> Option<u32> {
        self.erased.get(label).copied()
    }

    /// The labels that have an erasure entry, with the generations that were erased under them.
    pub fn erasures(&self) -> impl Iterator<Item = (Label, u32)> {
        self.erased
            .iter()
            .map(|(label, generation)| (*label, *generation))
    }

    /// The leaf hash of the genesis entry: `prev` of every chain's batch number 0.
    pub fn genesis_hash(&self) -> Hash {
        self.genesis
    }

    /// Decides about a frame and, if it follows, becomes the state after it.
    pub fn accept(&mut self, frame: &Frame<'_>) -> Result<Verdict, Rejection> {
        let batch = &frame.batch;
        self.is_for_here(batch)?;
        let index = LeafIndex(self.size.0);
        let hash = text_hash(frame.note.text());
        // Before the signature: a batch that is on record and comes again is a repeat, also once its key has ended.
        if self.is_earlier(batch, hash) {
            return Ok(Verdict::Earlier {
                chain: batch.chain,
                number: batch.number,
            });
        }
        self.is_signed(&frame.note, &batch.producer, index)?;
        self.follows(batch, hash)?;
        let leaves = leaf_hashes(&frame.entries);
        let root = root_of(&leaves);
        if root != batch.root {
            return Err(Rejection::Root {
                expected: batch.root,
                found: root,
            });
        }
        if let Some(position) = frame.misplaced_content() {
            return Err(Rejection::Content { position });
        }
        let changes = self.entries(&batch.producer, &frame.entries, index)?;
        Ok(Verdict::Accepted(self.take(frame, index, hash, leaves, changes)))
    }

    /// Decides about a batch that stands next in a log, by the same rules as [`LogState::accept`] but for sealed contents,
    /// which no log holds; if it may stand there, becomes the state after it.
    ///
    /// # Errors
    /// The rule that it breaks; then nothing has changed. A batch that stands in the log already is a
    /// [`Rejection::Gap`].
    pub fn accept_recorded(&mut self, recorded: &Recorded<'_>) -> Result<(), Rejection> {
        let (batch, index) = (recorded.batch, LeafIndex(self.size.0));
        self.is_for_here(batch)?;
        if !self.may_have_signed(recorded.signed_with, &batch.producer, index) {
            self.is_signed(&Note::parse(recorded.note)?, &batch.producer, index)?;
        }
        self.follows(batch, recorded.hash)?;
        if recorded.root != batch.root || recorded.entries.len() != batch.count as usize {
            return Err(Rejection::Root {
                expected: batch.root,
                found: recorded.root,
            });
        }
        let changes = self.entries(&batch.producer, recorded.entries, index)?;
        self.go_on(batch, recorded.hash, index);
        self.apply(changes, 1 + recorded.entries.len() as u64);
        Ok(())
    }

    /// Goes on behind a batch that stands in the log though it may not, so that what follows can be judged: its chain goes
    /// on with it, unless that would turn the chain back or hand it to another producer, and its entries count if each
    /// of them might stand there.
    pub fn concede(&mut self, recorded: &Recorded<'_>) {
        let (batch, index) = (recorded.batch, LeafIndex(self.size.0));
        let changes = self.entries(&batch.producer, recorded.entries, index);
        let goes_on = self
            .head(batch.chain)
            .is_none_or(|head| head.producer == batch.producer && head.number < batch.number);
        if goes_on {
            self.go_on(batch, recorded.hash, index);
        }
        self.apply(changes.unwrap_or_default(), 1 + recorded.entries.len() as u64);
    }

    /// Goes on behind leaves that belong to no batch, though every leaf must.
    pub fn concede_leaves(&mut self, count: u64) {
        self.size = TreeSize(self.size.0 + count);
    }

    fn is_for_here(&self, batch: &Batch) -> Result<(), Rejection> {
        let here = self.shard;
        if batch.ledger == self.ledger && batch.shard == here {
            return Ok(());
        }
        Err(Rejection::Elsewhere {
            expected: format!("{} {here}", self.ledger),
            found: format!("{} {}", batch.ledger, batch.shard),
        })
    }

    /// Whether this key, which signed, is one of the producer's that is valid here.
    fn may_have_signed(&self, key: Option<&VerifierKey>, producer: &Name, index: LeafIndex) -> bool {
        key.is_some_and(|key| self.registry.key(producer, key.id(), index) == Some(key))
    }

    fn is_signed(&self, note: &Note<'_>, producer: &Name, index: LeafIndex) -> Result<(), Rejection> {
        let mut lines = note
            .signatures()
            .iter()
            .filter(|line| line.name == producer.as_str());
        let key = lines.find_map(|line| self.registry.key(producer, line.id, index));
        note.verify(key.ok_or_else(|| Rejection::NoValidKey {
            producer: producer.clone(),
        })?)?;
        // One signature, no more: whatever else stood there would be on record without having been checked.
        if note.signatures().len() == 1 {
            return Ok(());
        }
        Err(NoteError::Malformed {
            reason: "a batch note has one signature line",
        }
        .into())
    }

    fn is_earlier(&self, batch: &Batch, hash: Hash) -> bool {
        self.head(batch.chain)
            .filter(|head| head.producer == batch.producer)
            .is_some_and(|head| {
                batch.number < head.number || (batch.number == head.number && hash == head.hash)
            })
    }

    /// Checks the signature of a frame as if it were to follow now.
    pub fn check_signature(&self, frame: &Frame<'_>) -> Result<(), Rejection> {
        self.is_signed(&frame.note, &frame.batch.producer, LeafIndex(self.size.0))
    }

    fn follows(&self, batch: &Batch, hash: Hash) -> Result<(), Rejection> {
        let (expected, prev) = match self.head(batch.chain) {
            Some(head) if head.producer != batch.producer => {
                return Err(Rejection::ForeignChain {
                    owner: head.producer.clone(),
                });
            }
            Some(head) if head.number == batch.number && head.hash != hash => {
                return Err(Rejection::Fork { number: batch.number });
            }
            // A conceded number may be the last one there is.
            Some(head) => (head.number.saturating_add(1), head.hash),
            None => (0, self.genesis),
        };
        if batch.number != expected {
            return Err(Rejection::Gap {
                expected,
                found: batch.number,
            });
        }
        if batch.prev != prev {
            return Err(Rejection::Prev {
                expected: prev,
                found: batch.prev,
            });
        }
        Ok(())
    }

    fn entries(&self, producer: &Name, entries: &[&[u8]], index: LeafIndex) -> Result<Changes, Rejection> {
        let special = producer.as_str() == OPERATOR || producer.as_str() == RECOVERY;
        let mut changes = Changes::default();
        for (position, bytes) in entries.iter().enumerate() {
            let entry = Entry::parse(bytes).map_err(|error| Rejection::Entry { position, error })?;
            let at = LeafIndex(index.0 + 1 + position as u64);
            match entry {
                Entry::Event(event) if !special => {
                    self.lives_here(&event.label, position)?;
                    if self.erased(&event.label).is_some() {
                        return Err(Rejection::ErasedLabel { position });
                    }
                    changes.events += 1;
                }
                Entry::Registry(entry) if special => {
                    self.registry_entry(&mut changes, at, &entry, producer, position)?;
                }
                Entry::Erasure(erasure) if producer.as_str() == OPERATOR => {
                    self.lives_here(&erasure.label, position)?;
                    if self.erased(&erasure.label).is_some()
                        || changes.erased.iter().any(|e| e.label == erasure.label)
                    {
                        return Err(Rejection::ErasedLabel { position });
                    }
                    changes.erased.push(erasure);
                }
                _ => {
                    return Err(Rejection::Kind {
                        position,
                        producer: producer.clone(),
                    });
                }
            }
        }
        Ok(changes)
    }

    fn registry_entry(
        &self,
        changes: &mut Changes,
        at: LeafIndex,
        entry: &RegistryEntry,
        by: &Name,
        position: usize,
    ) -> Result<(), Rejection> {
        let registry = changes.registry.get_or_insert_with(|| self.registry.clone());
        registry
            .apply(at, entry, by)
            .map_err(|error| Rejection::Registry { position, error })
    }

    fn lives_here(&self, label: &Label, position: usize) -> Result<(), Rejection> {
        let shard = label.shard(self.shard.count());
        if shard == self.shard.index() {
            Ok(())
        } else {
            Err(Rejection::WrongShard { position, shard })
        }
    }

    fn take(
        &mut self,
        frame: &Frame<'_>,
        index: LeafIndex,
        hash: Hash,
        leaves: Vec<LeafHash>,
        changes: Changes,
    ) -> Accepted {
        let batch = frame.batch.clone();
        let mut batch_entry = vec![crate::entry::BATCH];
        batch_entry.extend_from_slice(frame.note_text.as_bytes());
        let mut all = Vec::with_capacity(leaves.len() + 1);
        all.push(LeafHash::of(&batch_entry));
        all.extend(leaves);
        self.go_on(&batch, hash, index);
        self.apply(changes, all.len() as u64);
        Accepted {
            batch,
            index,
            batch_entry,
            leaves: all,
        }
    }

    /// The chain goes on with this batch.
    fn go_on(&mut self, batch: &Batch, hash: Hash, index: LeafIndex) {
        let head = ChainHead {
            producer: batch.producer.clone(),
            number: batch.number,
            hash,
            index,
        };
        self.chains.insert(batch.chain.to_string(), head);
    }

    fn apply(&mut self, changes: Changes, leaves: u64) {
        self.events += changes.events;
        if let Some(registry) = changes.registry {
            self.registry = registry;
        }
        let erased = changes.erased.iter();
        self.erased.extend(erased.map(|one| (one.label, one.generation)));
        self.size = TreeSize(self.size.0 + leaves);
    }
}

#[derive(Default)]
struct Changes {
    events: u64,
    registry: Option<Registry>,
    erased: Vec<ErasureEntry>,
}
